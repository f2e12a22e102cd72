"""Captioned pictures: captions and factors are inverse, splits are disjoint, colours are right."""
import math
from functools import partial

import pytest
import torch

from minidalle import data
from minidalle.data import (
    CIFAR_TEMPLATES,
    CLASSES,
    COLOURS,
    PLACES,
    Cifar,
    Digits,
    DigitsConfig,
    Grammar,
    drawn,
    drawn_masks,
    is_unseen,
)


@pytest.fixture(scope="module")
def world() -> Digits:
    return drawn()


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def square_masks(split: str):
    """A world by hand: every digit is a full square, so a picture is ink but for its rim."""
    return torch.full((20, 28, 28), 255, dtype=torch.uint8), torch.arange(20) % 10


def plain(**changes) -> DigitsConfig:
    return DigitsConfig(jitter=0, colour_jitter=0.0, noise=0.0, **changes)


@pytest.mark.parametrize("place", [False, True])
def test_parse_is_the_inverse_of_caption_for_every_factor_and_template(place):
    world = Digits(square_masks, plain(place=place))
    for row in world.combinations["train"][::7].tolist():
        for t in range(len(world.grammar.templates)):
            assert world.grammar.parse(world.grammar.caption(row, t)) == tuple(row)


def test_parse_of_cifar_captions_is_the_inverse_with_the_right_article():
    grammar = Grammar(("class",), (CLASSES,), CIFAR_TEMPLATES)
    assert grammar.caption([0]) == "a photo of an airplane"
    assert grammar.caption([7]) == "a photo of a horse"
    assert all(grammar.parse(grammar.caption([c], t)) == (c,) for c in range(10) for t in range(3))


@pytest.mark.parametrize("factors", [[7, 2], [7, 2, 4, 0]])
def test_a_caption_of_too_few_or_too_many_factors_is_refused(world, factors):
    with pytest.raises(ValueError):
        world.grammar.caption(factors)


def test_parse_reads_words_written_by_a_person(world):
    colours = list(COLOURS)
    expected = (7, colours.index("red"), colours.index("blue"))
    assert world.grammar.parse("  A red SEVEN  on blue ") == expected
    assert world.grammar.parse("the digit 7 in red, blue background") == expected


def test_parse_refuses_what_no_template_says_and_names_an_example(world):
    with pytest.raises(ValueError, match="fits no template; write for example 'a "):
        world.grammar.parse("seven reds on a blue")


def test_unknown_words_are_those_that_no_caption_contains(world):
    known = set(" ".join(world.grammar.every()).replace(",", " ,").split())
    caption = "a violet seven on blue, \u732b \U0001f600 violet"
    assert world.grammar.unknown_words(caption) == ["violet", "\u732b", "\U0001f600"]
    assert not any(world.grammar.unknown_words(word) for word in known)


def test_without_its_unknown_words_a_caption_of_this_world_is_itself_again(world):
    for caption in world.grammar.every()[::37]:
        noisy = "\U0001f600 " + caption.upper().replace(" ", " \u732b very ") + "!"
        assert world.grammar.known_words(noisy) == caption
    assert world.grammar.known_words("hello?") == ""


def test_every_is_each_combination_in_each_template_and_with_a_step_each_so_many_th(world):
    """Counted: 10 digits, 8 inks, 8 papers, 4 templates; from the first on."""
    every = world.grammar.every()
    assert len(every) == len(set(every)) == 10 * 8 * 8 * 4
    assert world.grammar.every(3) == [caption for i, caption in enumerate(every) if i // 4 % 3 == 0]


def test_captions_of_a_batch_say_its_factors(world):
    for split in world.splits:
        batch = world.batch(50, split, seed())
        assert [world.grammar.parse(c) for c in batch.captions] == [
            tuple(row) for row in batch.factors.tolist()]


def test_every_template_occurs_equally_often_within_chance(world):
    captions = world.grammar.captions(torch.tensor([[3, 3, 1]]).expand(4000, 3), seed())
    counts = torch.tensor([captions.count(c) for c in sorted(set(captions))])
    assert len(counts) == len(world.grammar.templates)
    assert (counts - 1000).abs().max() < 5 * (4000 * 0.25 * 0.75) ** 0.5     # five deviations


def test_unseen_is_a_tenth_of_all_combinations_by_the_rule_and_never_trained_on(world):
    seen = {tuple(row) for row in world.combinations["train"].tolist()}
    unseen = {tuple(row) for row in world.combinations["unseen"].tolist()}
    assert len(seen) == 504 and len(unseen) == 56 and not seen & unseen
    assert all((d + i + 3 * p) % 10 == 0 and i != p for d, i, p in unseen)
    assert not is_unseen(world.factors(2000, "train", seed())).any()
    assert is_unseen(world.factors(2000, "unseen", seed())).all()


def test_unseen_is_balanced_over_digits_inks_and_papers_by_counting(world):
    unseen = world.combinations["unseen"]
    for colour in range(8):
        assert len(unseen[unseen[:, 1] == colour, 0].unique()) == 7     # each ink: seven digits
        assert len(unseen[unseen[:, 2] == colour, 0].unique()) == 7     # each paper: seven digits
    assert len({tuple(row) for row in unseen[:, 1:].tolist()}) == 56    # each pair: one digit
    times = unseen[:, 0].bincount(minlength=10)
    assert times.min() >= 4 and times.max() <= 7


# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color
# vision deficiency", table of severity 1.0: linear RGB -> linear RGB as it is seen.
SIGHT = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]]}


def delta_e(colours, sight: str) -> torch.Tensor:
    """CIE 1976 Delta-E between all pairs of sRGB colours (N, 3), bytes, as that sight sees them."""
    rgb = torch.tensor(colours).double() / 255
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ torch.tensor(SIGHT[sight]).double().T).clamp(0, 1)
    xyz = torch.tensor([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                        [0.0193339, 0.1191920, 0.9503041]]).double()     # sRGB, white D65
    x = seen @ xyz.T / xyz.sum(dim=1)
    f = torch.where(x > (6 / 29) ** 3, x ** (1 / 3), x / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    return torch.pdist(lab)


def test_delta_e_agrees_with_a_worked_example():
    """Black to white is 100 by definition; sRGB red has L, a, b = 53.24, 80.09, 67.20."""
    assert delta_e([(0, 0, 0), (255, 255, 255)], "normal").item() == pytest.approx(100, abs=0.01)
    red = math.hypot(53.24, 80.09, 67.20)
    assert delta_e([(0, 0, 0), (255, 0, 0)], "normal").item() == pytest.approx(red, abs=0.02)


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_can_be_told_apart_by_every_kind_of_sight(sight):
    assert delta_e(list(COLOURS.values()), sight).min() >= 30


def test_each_value_and_each_pair_of_colours_is_still_trained_on(world):
    train = world.combinations["train"]
    assert len({tuple(row) for row in train[:, 1:].tolist()}) == 8 * 7
    assert len({tuple(row) for row in train[:, :2].tolist()}) == 10 * 8
    assert all(train[:, 0].eq(d).any() for d in range(10))


def spread(turn: float, shear: float, wide: float, high: float) -> torch.Tensor:
    """Centre and covariance (x, x), (y, y), (x, y) of a nought drawn with these four draws."""
    mask = data._draw("DejaVuSans", 0, torch.tensor([turn, shear, wide, high])).double()
    y, x = torch.meshgrid(*[torch.arange(28.0) - 13.5] * 2, indexing="ij")
    x, y = x - (x * mask).sum() / mask.sum(), y - (y * mask).sum() / mask.sum()
    return torch.stack([(mask * term).sum() / mask.sum() for term in (x * x, y * y, x * y)])


def test_a_digit_is_turned_sheared_and_stretched_by_its_draws_as_covariances_say():
    """Stretched by a tenth, lengths grow by it and squares by 1.1 ** 2; 0.15 radians mix the axes;
    a slope of 0.15 moves x by that share of y. The nought stands upright."""
    x, y, mixed = spread(0, 0, 0, 0).tolist()
    assert abs(mixed) < 0.01
    for sign in (1, -1):
        stretch, slope = (1 + 0.1 * sign) ** 2, 0.15 * sign
        turned = (x - y) * math.sin(slope) * math.cos(slope)
        close = partial(torch.testing.assert_close, check_dtype=False, rtol=0.01, atol=0.03)
        close(spread(0, 0, sign, 0), torch.tensor([x * stretch, y, 0]))
        close(spread(0, 0, 0, sign), torch.tensor([x, y * stretch, 0]))
        close(spread(sign, 0, 0, 0)[2], torch.tensor(turned))
        close(spread(0, sign, 0, 0), torch.tensor([x + slope ** 2 * y, y, -slope * y]))


def test_a_digit_keeps_its_place_however_it_is_turned_and_stretched():
    y, x = torch.meshgrid(*[torch.arange(28.0) - 13.5] * 2, indexing="ij")
    for draws in torch.tensor([[1.0, 1, 1, 1], [-1, 1, -1, 1], [0, 0, 0, 0]]):
        mask = data._draw("DejaVuSans", 0, draws).double()
        assert max(abs((mask * axis).sum() / mask.sum()) for axis in (x, y)) < 0.15


def test_no_test_mask_is_a_train_mask():
    train, test = ({m.numpy().tobytes() for m in drawn_masks(s)[0]} for s in ("train", "test"))
    assert not train & test


def test_composition_equals_the_formula_pixel_by_pixel():
    """image = (1 - mask) paper + mask ink, on a picture worked by hand."""
    world = Digits(square_masks, plain())
    image = world.render(torch.tensor([[7, 2, 4]]), "train", seed())[0]
    red, blue = (torch.tensor(COLOURS[c]) / 127.5 - 1 for c in ("red", "blue"))
    expected = blue[:, None, None].expand(3, 32, 32).clone()
    expected[:, 2:30, 2:30] = red[:, None, None]
    torch.testing.assert_close(image, expected)


def test_noise_and_colour_jitter_have_the_stated_deviation():
    world = Digits(square_masks, DigitsConfig(jitter=0, colour_jitter=0.04, noise=0.02))
    yellow_on_green = torch.tensor([[3, 5, 3]]).expand(3000, 3)    # green is far from both ends
    images = world.render(yellow_on_green, "train", seed())[:, :, 0, :]       # (B, 3, W) of paper
    assert images.std(dim=-1).mean().item() == pytest.approx(0.02, rel=0.05)
    assert images[:, 2].mean(dim=-1).std().item() == pytest.approx(0.04, rel=0.05)


def test_jitter_reaches_every_neighbouring_place_and_no_other():
    world = Digits(square_masks, DigitsConfig(jitter=1, colour_jitter=0.0, noise=0.0))
    images = world.render(torch.tensor([[0, 1, 0]]).expand(200, 3), "train", seed())[:, 0] > 0
    corners = {(int(m.any(1).int().argmax()), int(m.any(0).int().argmax())) for m in images}
    assert corners == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}
    assert all(m.sum() == 28 * 28 for m in images)


def test_the_words_of_a_place_mean_what_they_say_of_rows_and_columns():
    """Down and to the right: rows are counted from the top, columns from the left."""
    means = {"top": (-1, 0), "bottom": (1, 0), "left": (0, -1), "right": (0, 1), "centre": (0, 0)}
    assert len(PLACES) == 5
    for place, (down, right) in PLACES.items():
        words = [means[word] for word in place.split()]
        assert (down, right) == tuple(map(sum, zip(*words, strict=True)))


def test_places_put_the_digit_where_the_word_says():
    world = Digits(square_masks, plain(place=True))
    rows = torch.tensor([[0, 1, 0, place] for place in range(5)])
    images = world.render(rows, "train", seed())[:, 0] > 0
    for (down, right), mask in zip(PLACES.values(), images, strict=True):
        where = mask.nonzero().float().mean(dim=0)
        assert where.tolist() == [15.5 + 8 * down, 15.5 + 8 * right]


@pytest.mark.parametrize("size", [16, 32, 48])
def test_a_digit_that_has_a_place_is_half_as_large_as_one_without_by_counting(size):
    """Of a full square: 7 / 8 of the side alone, 7 / 16 of it where it may stand elsewhere."""
    for place, share in ((False, 7 / 8), (True, 7 / 16)):
        digits = Digits(square_masks, plain(place=place, size=size))
        row = torch.tensor([[0, 1, 0, 0][:3 + place]])
        inked = (digits.render(row, "train", seed())[0, 0] > 0).sum().item()
        assert inked == (size * share) ** 2


@pytest.mark.parametrize("size", [16, 32, 48])
def test_the_size_is_a_setting_and_pictures_stay_in_range(size):
    images = drawn().batch(4).images if size == 32 else \
        Digits(drawn_masks, DigitsConfig(size=size)).batch(4, "train", seed()).images
    assert images.shape == (4, 3, size, size) and images.abs().max() <= 1


def test_same_seed_same_batch_and_another_seed_another(world):
    a, b, c = (world.batch(8, "train", seed(s)) for s in (0, 0, 1))
    assert torch.equal(a.images, b.images) and a.captions == b.captions
    assert not torch.equal(a.images, c.images)


def test_no_picture_repeats(world):
    images = world.render(torch.tensor([[3, 3, 1]]).expand(64, 3), "train", seed())
    assert torch.cdist(images.flatten(1), images.flatten(1)).fill_diagonal_(9).min() > 0


def test_an_unknown_split_is_named_with_the_choices(world):
    with pytest.raises(ValueError, match="split is 'valid'; choose one of train, test, unseen"):
        world.batch(4, "valid")
    with pytest.raises(ValueError, match="split is 'unseen'; CIFAR-10 has train and test"):
        Cifar().batch(4, "unseen")


def test_cifar_batches_carry_their_own_label_and_mirror_only_training_pictures():
    """Pictures by hand: the value of the left column is the label, the rest is zero."""
    world = Cifar()
    pictures = torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    pictures[:, :, :, 0] = 20 * torch.arange(10)[:, None, None]
    labels = torch.arange(10)
    world.photos = {"train": (pictures, labels), "test": (pictures, labels)}
    for split, sides in (("train", {0, 31}), ("test", {0})):
        batch = world.batch(200, split, seed())
        left, right = (batch.images[:, 0, 0, x].add(1).mul(127.5).round() for x in (0, 31))
        assert torch.equal(torch.maximum(left, right), 20.0 * batch.factors[:, 0])
        assert {0 if a > b else 31 for a, b in zip(left, right, strict=True) if a != b} == sides
        assert [world.grammar.parse(c)[0] for c in batch.captions] == batch.factors[:, 0].tolist()


def test_cifar_shows_other_photographs_of_the_classes_that_are_asked_for():
    """Labels out of order, three of one class and one of another: each as often as the others."""
    world, labels = Cifar(), torch.tensor([7, 2, 7, 7])
    pictures = (50 + torch.arange(4)).byte()[:, None, None, None].expand(4, 3, 32, 32)
    order = labels.argsort(stable=True)
    world.photos = {"test": (pictures[order], labels[order])}
    asked = torch.tensor([[7], [2]]).repeat(600, 1)
    shown = world.render(asked, "test", seed())[:, 0, 0, 0].add(1).mul(127.5).round().long() - 50
    assert torch.equal(labels[shown], asked[:, 0])
    counts = shown.bincount()
    assert counts[1] == 600 and (counts[[0, 2, 3]] > 150).all()


def test_cifar_of_another_size_shows_the_mean_of_each_block_of_pixels():
    world = Cifar(16)
    photos = torch.randint(256, (10, 3, 32, 32), generator=seed(), dtype=torch.uint8)
    world.photos = {"test": (photos, torch.arange(10))}
    batch = world.batch(20, "test", seed())
    blocks = photos[batch.factors[:, 0]].double().unflatten(3, (16, 2)).unflatten(2, (16, 2))
    expected = (blocks.mean(dim=(3, 5)) / 127.5 - 1).float()
    torch.testing.assert_close(batch.images, expected, atol=1e-6, rtol=0)


def test_a_picture_shows_a_mask_of_its_own_digit_and_of_its_own_split():
    """Masks by hand, out of order: grey value 20 + 10 digit + copy, and 120 more in test."""
    digits = torch.arange(30).flip(0) % 10
    values = 20 + 10 * digits + torch.arange(30) // 10

    def masks(split):
        grey = values + (120 if split == "test" else 0)
        return grey.byte()[:, None, None].expand(30, 28, 28).contiguous(), digits
    world, wanted = Digits(masks, plain()), torch.arange(10).repeat(50)
    factors = torch.stack([wanted, torch.ones(500).long(), torch.zeros(500).long()], dim=1)
    black, white = (torch.tensor(COLOURS[c]) / 127.5 - 1 for c in ("black", "white"))
    for split, more in (("train", 0), ("every", 0), ("test", 120), ("unseen", 120)):
        pixel = world.render(factors, split, seed())[:, 0, 16, 16]
        grey = ((pixel - black[0]) / (white[0] - black[0]) * 255).round().long() - more - 20
        assert torch.equal(grey // 10, wanted) and set((grey % 10).tolist()) == {0, 1, 2}
