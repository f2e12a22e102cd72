"""Pairs: captions and factors are inverse, sides right, `unseen` is fair, binding is measured."""
import itertools

import pytest
import torch

from minidalle.data import COLOURS, DIGITS, DigitsConfig
from minidalle.metrics import JudgeConfig, binding
from minidalle.pairs import NAMES, TEMPLATES, Pairs, is_unseen_pair, pairs
from minidalle.tokenizer import Tokenizer

INKS = list(COLOURS)
PLAIN = DigitsConfig(jitter=0, colour_jitter=0.0, noise=0.0)
PALETTE = torch.tensor(list(COLOURS.values())) / 127.5 - 1


@pytest.fixture(scope="module")
def world() -> Pairs:
    return pairs()


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def row(left: str, right: str, paper: str) -> tuple[int, ...]:
    """row("red three", "blue seven", "white") in numbers, written out."""
    parts = [part.split() for part in (left, right)]
    return (*(i for ink, digit in parts for i in (DIGITS.index(digit), INKS.index(ink))),
            INKS.index(paper))


# ---- captions -------------------------------------------------------------------------------

def test_parse_is_the_inverse_of_caption_for_every_template_over_random_factors(world):
    for factors in world.factors(300, "every", seed()).tolist():
        for t in range(len(TEMPLATES)):
            assert world.grammar.parse(world.grammar.caption(factors, t)) == tuple(factors)


def test_two_templates_never_say_different_pictures_in_the_same_words(world):
    captions = [world.grammar.caption(factors, t) for t in range(len(TEMPLATES))
                for factors in world.factors(500, "every", seed()).unique(dim=0).tolist()]
    assert len(set(captions)) == len(captions)


@pytest.mark.parametrize("caption", [
    "a red three left of a blue seven on white",
    "a blue seven right of a red three on white",
    "on white, left of a blue seven, a red three",
    "white paper, a red 3 and right of it a blue 7",
    "the digits 3 in red and 7 in blue, white background"])
def test_each_template_says_which_digit_is_on_which_side_by_hand(world, caption):
    assert world.grammar.parse(caption) == row("red three", "blue seven", "white")


def test_right_of_puts_the_one_named_second_on_the_left(world):
    """The same words in the same order but for one, and the digits change sides."""
    left, right = (world.grammar.parse(f"a red three {word} of a blue seven on white")
                   for word in ("left", "right"))
    assert left == row("red three", "blue seven", "white")
    assert right == row("blue seven", "red three", "white")


def test_the_tokenizer_learns_from_few_texts_every_word_and_no_caption_is_cut(world):
    """Each word of each caption one piece, as if all 256,000 captions had been read."""
    texts = world.grammar.texts()
    assert len(texts) < 5000 and texts == pairs().grammar.texts()
    tokenizer = Tokenizer.train(texts)
    for t in range(len(TEMPLATES)):
        for k in range(10):
            caption = world.grammar.caption([k, k % 8, 9 - k, (k + 3) % 8, (k + 5) % 8], t)
            words = caption.replace(",", " ,").split()
            assert len(tokenizer.encode(caption)) == len(words) <= tokenizer.context - 2
            assert world.grammar.known_words(caption) == caption


# ---- splits ---------------------------------------------------------------------------------

def test_unseen_is_exactly_a_tenth_by_the_rule_and_never_trained_on(world):
    parts = {split: set(map(tuple, world.combinations[split].tolist()))
             for split in ("train", "test", "unseen", "every")}
    every = {f for f in itertools.product(*map(range, (10, 8, 10, 8, 8)))
             if f[1] != f[4] and f[3] != f[4]}
    assert parts["every"] == every and len(every) == 10 * 10 * 8 * 7 * 7
    assert parts["unseen"] == {f for f in every if sum(f[:4]) % 10 == 0}
    assert len(parts["unseen"]) == len(every) / 10 and parts["train"] == parts["test"]
    assert not parts["train"] & parts["unseen"] and parts["train"] | parts["unseen"] == every
    assert not is_unseen_pair(world.factors(2000, "train", seed())).any()
    assert is_unseen_pair(world.factors(2000, "unseen", seed())).all()


@pytest.mark.parametrize("some", [s for n in (1, 2, 3) for s in itertools.combinations(NAMES, n)
                                  if s != ("digit_l", "digit_r")
                                  and not {"digit_l", "digit_r"} <= set(s)])
def test_unseen_is_a_tenth_of_every_choice_of_up_to_three_factors_by_counting(world, some):
    """All but those with both digits: a digit in its ink on its paper, two inks and a digit, ..."""
    columns = [NAMES.index(name) for name in some]

    def count(split):
        values, times = world.combinations[split][:, columns].unique(dim=0, return_counts=True)
        return dict(zip(map(tuple, values.tolist()), times.tolist(), strict=True))
    unseen, every = count("unseen"), count("every")
    assert unseen == {key: n / 10 for key, n in every.items()}


def test_each_two_digits_lose_six_to_eight_of_their_64_pairs_of_inks(world):
    pairs_of_digits = world.combinations["unseen"][:, :4].unique(dim=0)[:, [0, 2]]
    times = pairs_of_digits.unique(dim=0, return_counts=True)[1]
    assert len(times) == 100 and times.min() == 6 and times.max() == 8


def test_what_is_unseen_is_unseen_with_its_inks_exchanged_and_in_the_mirror(world):
    unseen = world.combinations["unseen"]
    assert is_unseen_pair(unseen[:, [0, 3, 2, 1, 4]]).all()
    assert is_unseen_pair(unseen[:, [2, 3, 0, 1, 4]]).all()


def test_the_rule_of_pairs_is_that_of_its_docstring_for_one_pair_and_for_tables_of_them():
    """Both digits and both inks: 3 + 2 + 4 + 1 is ten, whatever the paper. (..., 5) -> (...)"""
    one = torch.tensor([3, 2, 4, 1, 7])
    other = torch.tensor([3, 2, 4, 2, 7])
    assert is_unseen_pair(one).item() and not is_unseen_pair(other).item()
    table = torch.stack([one, other, one]).expand(2, 3, 5)
    assert is_unseen_pair(table).tolist() == [[True, False, True]] * 2


# ---- pictures -------------------------------------------------------------------------------

def bars(split: str):
    """A world by hand: a digit is the number after it in four bars, the ones at the top."""
    bits = (torch.arange(1, 11)[:, None] >> torch.arange(4)) & 1            # (10, 4)
    return (255 * bits.byte()).repeat_interleave(7, 1)[:, :, None].expand(10, 28, 28).clone(), \
        torch.arange(10)


def read_bars(images: torch.Tensor) -> torch.Tensor:
    """What stands in pictures (B, 3, 32, 32) of bars, by looking: (B, 5)."""
    index = (images[:, None] - PALETTE[:, :, None, None]).abs().sum(dim=2).argmin(dim=1)
    paper, rows = index[:, 0, 0], [2 + 3, 2 + 10, 2 + 17, 2 + 24]           # the middle of each bar
    out = []
    for column in (8, 24):
        seen = index[:, rows, column]                                       # (B, 4)
        on = seen != paper[:, None]
        out.append((on * 2 ** torch.arange(4)).sum(dim=1) - 1)
        out.append(seen[torch.arange(len(seen)), on.int().argmax(dim=1)])
    return torch.stack([*out, paper], dim=1)


def test_composition_equals_the_formula_on_a_picture_composed_by_hand():
    """Half transparent squares: the right one lies over the left one where they touch."""
    squares = torch.full((10, 28, 28), 153, dtype=torch.uint8), torch.arange(10)
    image = Pairs(lambda split: squares, PLAIN).render(
        torch.tensor([row("red three", "blue seven", "white")]), "train", seed())[0]
    red, blue, white = (PALETTE[INKS.index(c)][:, None, None] for c in ("red", "blue", "white"))
    expected = white.expand(3, 32, 32).clone()
    for ink, columns in ((red, slice(0, 17)), (blue, slice(15, 32))):       # boxes 18 wide
        expected[:, 2:30, columns] = 0.4 * expected[:, 2:30, columns] + 0.6 * ink
    torch.testing.assert_close(image, expected)


def test_what_is_rendered_is_read_back_from_the_pixels_in_all_five_factors():
    world = Pairs(bars, PLAIN)
    factors = world.factors(500, "every", seed())
    assert torch.equal(read_bars(world.render(factors, "test", seed())), factors)


def test_a_caption_its_picture_and_its_factors_say_the_same_in_every_split():
    world = Pairs(bars)                                        # with jitter and noise, as it is
    for split in world.splits:
        batch = world.batch(100, split, seed())
        assert [world.grammar.parse(c) for c in batch.captions] \
            == [tuple(f) for f in batch.factors.tolist()]
        assert torch.equal(read_bars(batch.images), batch.factors)


@pytest.mark.parametrize("split", ["train", "test"])
def test_drawn_digits_keep_to_their_own_half_and_do_not_reach_the_rim(world, split):
    """A thousand on white, each black on its side alone: 99.5 % of the ink; 0.5 % at the rim."""
    white = INKS.index("white")
    for side, half, rim in ((0, slice(0, 16), 0), (1, slice(16, 32), 31)):
        factors = torch.full((1000, 5), white)
        factors[:, [0, 2]] = torch.arange(10).repeat(100)[:, None]
        factors[:, 2 * side + 1] = INKS.index("black")
        ink = (world.render(factors, split, seed()).mean(dim=1) < 0).float()    # (B, H, W)
        assert ink[:, :, half].sum() > 0.995 * ink.sum()
        assert ink[:, :, rim].sum() < 0.005 * ink.sum()


def test_the_place_of_one_digit_is_refused_for_two():
    with pytest.raises(ValueError, match="two digits have their places, left and right"):
        Pairs(bars, DigitsConfig(place=True))


@pytest.mark.parametrize("size", [16, 32, 48])
def test_the_size_is_a_setting_and_pictures_stay_in_range(size):
    images = Pairs(bars, DigitsConfig(size=size)).batch(4, "train", seed()).images
    assert images.shape == (4, 3, size, size) and images.abs().max() <= 1


def test_the_judge_has_two_slots_named_as_the_grammar_names_them(world):
    config = JudgeConfig(tuple(map(len, world.grammar.values)), world.grammar.names)
    assert config.factors == (10, 8, 10, 8, 8)
    assert config.names == ("digit_l", "ink_l", "digit_r", "ink_r", "paper")


# ---- binding --------------------------------------------------------------------------------

def bound(order, n: int = 2000) -> dict[str, float]:
    """Binding of pictures of captions whose factors were put in another order, row by row."""
    world = Pairs(bars)
    said = world.factors(n, "test", seed())
    return binding(read_bars(world.render(order(said), "test", seed())), said)


def exchanged(factors: torch.Tensor) -> torch.Tensor:
    return factors[:, [0, 3, 2, 1, 4]]


def test_of_right_pictures_none_is_swapped_and_everything_is_one():
    assert bound(lambda said: said) == {"left": 1, "right": 1, "both": 1, "product": 1,
                                        "swapped": 0, "swap_chance": 0.5}


def test_of_pictures_with_exchanged_inks_all_are_swapped():
    result = bound(exchanged)
    assert result["swapped"] == 1 and result["swap_chance"] == 0.5
    assert result["left"] == result["right"] == result["both"] < 0.25      # where inks are the same


def test_with_inks_in_random_order_as_many_are_swapped_as_chance_says():
    def unbound(said):
        coin = torch.rand(len(said), 1, generator=seed(1)) < 0.5
        return torch.where(coin, said, exchanged(said))
    result = bound(unbound)
    assert result["swap_chance"] == 0.5 and result["swapped"] == pytest.approx(0.5, abs=0.05)
    assert result["both"] > result["product"] + 0.2            # two are spoilt at once, or none


def test_things_that_changed_sides_are_bound_and_not_swapped():
    result = bound(lambda said: said[:, [2, 3, 0, 1, 4]])
    assert result["swapped"] == 0 == result["swap_chance"] and result["both"] < 0.05


def test_binding_of_five_pictures_counted_by_hand():
    said = torch.tensor([[1, 2, 3, 4, 0]] * 4 + [[1, 2, 1, 4, 0]])     # the last: one digit twice
    read = torch.tensor([[1, 2, 3, 4, 0],                              # right
                         [1, 4, 3, 2, 5],                              # swapped, whatever the paper
                         [1, 2, 3, 5, 0],                              # a wrong ink
                         [7, 4, 3, 2, 0],                              # a wrong digit
                         [1, 4, 1, 2, 0]])                             # not counted: no exchange
    result = binding(read, said)
    assert result == {"left": 2 / 5, "right": 1 / 5, "both": 1 / 5,
                      "product": pytest.approx(4 / 5 * 2 / 5 * 5 / 5 * 1 / 5),
                      "swapped": 1 / 4, "swap_chance": 2 / 4 / 2}


def test_where_no_exchange_can_be_seen_none_is_counted():
    said = torch.tensor([[1, 2, 1, 4, 0], [1, 2, 3, 2, 0]])
    assert binding(exchanged(said), said)["swapped"] == 0


def test_binding_of_one_digit_is_refused_with_what_came():
    with pytest.raises(ValueError, match=r"got \(4, 3\) read and \(4, 3\) said, .* both \(B, 5\)"):
        binding(torch.zeros(4, 3), torch.zeros(4, 3))


def test_binding_of_one_row_is_that_row_and_of_none_is_refused():
    row = torch.tensor([[3, 2, 4, 1, 7]])
    assert binding(row, row)["both"] == 1.0
    for read, said in ((row[:0], row[:0]), (row[:, :4], row[:, :4]), (row, row.expand(2, 5)),
                       (row[0], row[0])):
        with pytest.raises(ValueError, match="at least one row"):
            binding(read, said)


def test_a_coin_dealt_inks_only_where_both_said_inks_are_read_in_either_order_by_hand():
    """Both digits right in all four rows: inks as said; exchanged; the left one foreign; the right
    one. Half of the first two is the chance of an exchange, a quarter of all; one is exchanged."""
    said = torch.tensor([[3, 2, 4, 1, 7]] * 4)
    read = said.clone()
    read[:, [1, 3]] = torch.tensor([[2, 1], [1, 2], [5, 1], [2, 5]])
    result = binding(read, said)
    assert result["swapped"] == 0.25 and result["swap_chance"] == 0.25
