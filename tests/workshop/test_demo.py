"""The demo: its numbers are those of the pictures, its figure is whole, its pixels are right."""
import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minidalle import dalle
from minidalle.data import COLOURS, is_unseen
from minidalle.metrics import clip_score, diversity, frechet_distance
from minidalle.train import seeded, seeded_each
from minidalle.unclip import caption_to_picture
from minidalle.workshop import demo
from minidalle.workshop.demo import (
    draw_many,
    figure,
    machine,
    paper_error,
    peak_memory,
    score,
    table,
    with_total,
)
from minidalle.workshop.pictures import show_captions, to_pixels
from minidalle.workshop.recipes import ROADS, Workshop

pytestmark = pytest.mark.usefixtures("quick")

RESULT = {
    "data": "drawn", "model": "unclip", "seed": 5, "budget": "cpu", "samples": 1234,
    "judge": {"digit": 0.996, "ink": 1.0, "paper": 1.0, "all": 0.995},
    "test": {"digit": 0.987, "ink": 0.998, "paper": 0.999, "all": 0.9764},
    "unseen": {"digit": 0.965, "ink": 0.975, "paper": 0.985, "all": 0.9512},
    "fid": 0.1234, "fid_floor": 0.0123, "precision": 0.71, "precision_floor": 0.92,
    "recall": 0.63, "recall_floor": 0.93, "clip_score": 0.456,
    "diversity": 3.456, "diversity_floor": 7.891, "paper_error": 13.14, "paper_error_floor": 12.94,
    "seconds": {"clip": 31.0, "total": 310.0},
    "parameters": {"clip": 1_200_000, "prior": 900_000}, "peak_memory_bytes": 1_530_000_000,
    "machine": "a machine of two cores"}


@pytest.fixture
def shop(smoke) -> Workshop:
    return Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=lambda line: None)


BINDING = {"left": 0.91, "right": 0.92, "both": 0.85, "product": 0.81, "swapped": 0.02,
           "swap_chance": 0.5}


# ---- the numbers ----------------------------------------------------------------------------

@pytest.mark.parametrize("model", ROADS)
def test_score_equals_a_recount_of_the_pictures_that_were_drawn(shop, monkeypatch, model):
    """Each caption parsed, each picture read by the judge, counted one by one."""
    drawn = []

    def noting(workshop, paint, captions, seed, best_of):
        drawn.append((captions, draw_many(workshop, paint, captions, seed, best_of)))
        alone = shop.painter(model)(captions, seeded_each(0, range(len(captions))))
        assert torch.equal(drawn[-1][1], alone)
        return drawn[-1][1]
    monkeypatch.setattr(demo, "draw_many", noting)
    result, judge, road = score(shop, model, 12), shop.judge(), shop.unclip()
    assert result["samples"] == 12 and len(drawn) == 2
    for split, (captions, images) in zip(("test", "unseen"), drawn, strict=True):
        said = torch.tensor([shop.world.grammar.parse(caption) for caption in captions])
        assert len(said) == 12 and is_unseen(said).all() == (split == "unseen")
        right = [[a == b for a, b in zip(*rows, strict=True)]
                 for rows in zip(said.tolist(), judge.read(images).tolist(), strict=True)]
        assert result[split]["all"] == sum(map(all, right)) / 12
        for i, name in enumerate(("digit", "ink", "paper")):
            assert result[split][name] == pytest.approx(sum(row[i] for row in right) / 12)
    captions, images = drawn[0]
    vectors = road.clip.encode_image(images), road.clip.encode_text(road.tokenizer.batch(captions))
    assert result["clip_score"] == pytest.approx(clip_score(*vectors))
    assert result["parameters"] == {stage: sum(p.numel() for p in shop.models[stage].parameters())
                                    for stage in ("judge", *ROADS[model].stages)}
    assert list(result["seconds"]) == ["judge", *ROADS[model].stages, "score", "total"]


def test_fid_of_real_pictures_given_as_drawn_is_their_distance_and_all_are_judged_alike(
        shop, monkeypatch):
    """A perfect painter: the factors of the caption, rendered."""
    def paint(workshop, painter, captions, seed, best_of):
        factors = torch.tensor([workshop.world.grammar.parse(caption) for caption in captions])
        images.append(workshop.world.render(factors, "test", seeded(seed)))
        return images[-1]
    images = []
    monkeypatch.setattr(demo, "draw_many", paint)
    result, judge = score(shop, "unclip", 12), shop.judge()
    real = shop.world.batch(12, "test", seeded(shop.seed + 1)).images
    expected = frechet_distance(judge.features(real), judge.features(images[0]))
    assert result["fid"] == pytest.approx(expected) and result["fid"] != result["fid_floor"]


def test_score_of_captions_that_never_repeat_leaves_diversity_out(shop, monkeypatch):
    rows = shop.world.combinations["test"][:4]
    monkeypatch.setattr(type(shop.world), "factors", lambda self, n, split, generator: rows)
    assert "diversity" not in score(shop, "dalle", 4)
    monkeypatch.setattr(type(shop.world), "factors", lambda self, n, split, generator:
                        rows[[0, 1, 1, 2]])
    assert score(shop, "dalle", 4)["diversity"] > 0


def test_beside_real_pictures_of_the_same_captions_the_drawn_ones_are_measured_alike(
        shop, monkeypatch):
    """Oracles: the batch's own pictures, measured by hand, are the floor; given as drawn, they make
    both numbers that of their floor, and other pictures change the numbers and not the floors."""
    made, batch = [], type(shop.world).batch

    def noting(self, n, split="train", generator=None):
        made.append(batch(self, n, split, generator))
        return made[-1]
    monkeypatch.setattr(type(shop.world), "batch", noting)
    monkeypatch.setattr(demo, "draw_many", lambda *args: made[-1].images)
    result = demo.measure(shop, None, 300)
    real = made[2]                             # after those of the floor of FID
    groups = [shop.world.grammar.parse(caption) for caption in real.captions]
    groups = [sorted(set(groups)).index(group) for group in groups]
    expected = diversity(shop.judge().features(real.images), groups)
    assert result["diversity"] == result["diversity_floor"] == pytest.approx(expected)
    assert result["paper_error"] == result["paper_error_floor"]
    assert 2 < result["paper_error_floor"] < 6     # mean size of the jitter of colours: 127.5 / 25
    other = demo.beside_real(shop, real.images.flip(0), real)
    for name in ("diversity", "paper_error"):
        assert other[f"{name}_floor"] == pytest.approx(result[f"{name}_floor"])
        assert other[name] > 1.01 * result[name]


def test_the_error_of_the_papers_colour_by_hand():
    """Two pictures: one whose paper is 10, 0 and 5 of 255 away; one right, with a stroke that
    reaches the edge. The mean over six channels is 15 / 6; the middle is not asked."""
    papers = torch.tensor([list(COLOURS).index("blue"), list(COLOURS).index("green")])
    palette = torch.tensor(list(COLOURS.values())).float()
    shown = palette[papers] + torch.tensor([[10.0, 0, -5], [0, 0, 0]])
    images = (shown / 127.5 - 1)[:, :, None, None].repeat(1, 1, 32, 32)
    images[:, :, 4:28, 4:28] = torch.rand(2, 3, 24, 24)
    images[1, :, 10:20, :4] = 1
    assert paper_error(images, papers) == pytest.approx(15 / 6, abs=1e-4)


def test_photographs_have_no_paper_and_few_captions_no_diversity(shop, monkeypatch):
    batch = shop.world.batch(2, "test", seeded(0))
    photos = dataclasses.replace(shop.world.grammar, names=("class", "light", "hour"))
    monkeypatch.setattr(shop.world, "grammar", photos)
    alone = dataclasses.replace(batch, factors=torch.tensor([[1, 2, 3], [3, 2, 1]]))
    assert demo.beside_real(shop, batch.images, alone) == {}


def test_draw_many_in_chunks_keeps_order_and_seed(shop, monkeypatch):
    """The first chunk is what the road draws alone; the whole repeats with the seed."""
    monkeypatch.setattr(demo, "CHUNK", 2)
    captions = ["a red seven on blue", "a pink 3 on black paper", "white paper, a green zero"]
    paint = shop.painter("unclip")
    images = draw_many(shop, paint, captions, seed=4)
    first = caption_to_picture(shop.unclip(), captions[:2], seeded_each(4, [0, 1]))
    assert images.shape == (3, 3, 32, 32) and torch.equal(images[:2], first)
    assert torch.equal(images, draw_many(shop, paint, captions, seed=4))
    assert not torch.equal(images, draw_many(shop, paint, captions, seed=5))


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference of two pictures; 1/255 of brightness is 8e-3."""
    return (a - b).abs().max().item()


@pytest.mark.parametrize("model", ROADS)
def test_a_picture_alone_in_company_in_another_place_and_chunk_is_the_same_up_to_rounding(
        shop, monkeypatch, model):
    """By its number alone: other captions, their order, their number and the chunk change no pixel
    by more than rounding does; another number or seed changes many."""
    paint, others = shop.painter(model), ["a pink 3 on black paper", "white paper, a green zero"]
    [alone] = draw_many(shop, paint, ["a red seven on blue"], seed=4)
    first = draw_many(shop, paint, ["a red seven on blue", *others], seed=4)[0]
    last = draw_many(shop, paint, [*others, "a red seven on blue"], 4, numbers=[7, 8, 0])[2]
    monkeypatch.setattr(demo, "CHUNK", 2)
    chunked = draw_many(shop, paint, [*others, "a red seven on blue"], 4, numbers=[7, 8, 0])[2]
    assert max(apart(alone, other) for other in (first, last, chunked)) < 1e-4
    [second] = draw_many(shop, paint, ["a red seven on blue"], 4, numbers=[1])
    [third] = draw_many(shop, paint, ["a red seven on blue"], seed=5)
    assert apart(alone, second) > 1e-3 and apart(alone, third) > 1e-3


@pytest.mark.parametrize("model", ROADS)
def test_every_number_that_is_drawn_for_a_picture_is_its_own_bit_for_bit(
        shop, monkeypatch, model):
    """All noise of a picture, noted where it is drawn, alone and as the second of three."""
    paint = shop.painter(model)

    def noise(captions, numbers):
        kept = []
        for name in ("randn", "rand"):
            plain = getattr(torch, name)
            monkeypatch.setattr(torch, name, lambda *shape, plain=plain, **rest: kept.append(
                (rest["generator"].initial_seed(), plain(*shape, **rest))) or kept[-1][1])
        draw_many(shop, paint, captions, 4, numbers=numbers)
        monkeypatch.undo()
        return [drawn for seed, drawn in kept if seed == seeded_each(4, [7])[0].initial_seed()]
    alone = noise(["a red seven on blue"], [7])
    among = noise(["a pink 3 on black paper", "a red seven on blue", "white paper, a 0"], [1, 7, 0])
    assert len(alone) == len(among) > 0
    assert all(torch.equal(a, b) for a, b in zip(alone, among, strict=True))


def test_the_best_of_n_of_dalle_are_those_that_its_own_caption_to_picture_keeps(shop):
    captions = ["a red seven on blue", "a pink 3 on black paper"]
    best = draw_many(shop, shop.painter("dalle"), captions, seed=4, best_of=3)
    expected = dalle.caption_to_picture(shop.dalle_road(), captions, seeded_each(4, range(6)),
                                        best_of=3)
    assert torch.equal(best, expected)


def test_the_best_of_n_of_unclip_is_the_one_of_n_nearest_to_its_caption_in_a_loop(
        shop, monkeypatch):
    """All are drawn by hand, a chunk of two captions after the other, and compared one by one."""
    monkeypatch.setattr(demo, "CHUNK", 7)                      # 7 // 3 = 2 captions at a time
    captions = ["a red seven on blue", "a pink 3 on black paper", "white paper, a green zero"]
    best, sources = draw_many(shop, shop.painter("unclip"), captions, 4, best_of=3), seeded_each(
        4, range(9))
    some = [shop.painter("unclip")([c for c in chunk for _ in range(3)], own)
            for chunk, own in ((captions[:2], sources[:6]), (captions[2:], sources[6:]))]
    for caption, three, kept in zip(captions, torch.cat(some).split(3), best, strict=True):
        text = shop.clip().encode_text(shop.tokenizer.batch([caption]))[0]
        fits = [float(shop.clip().encode_image(image[None])[0] @ text) for image in three]
        assert torch.equal(kept, three[fits.index(max(fits))])


def test_total_is_the_sum_of_the_parts_by_hand():
    seconds = with_total({"clip": 1.23, "score": 2.0})
    assert seconds == {"clip": 1.2, "score": 2.0, "total": 3.2}
    assert with_total({**seconds, "figure": 1.0}) \
        == {"clip": 1.2, "score": 2.0, "figure": 1.0, "total": 4.2}


def test_table_holds_every_figure_and_fits_a_terminal():
    text = table(RESULT)
    for split in ("judge", "test", "unseen"):
        for value in RESULT[split].values():
            assert f"{value:.3f}" in text
    for part in ("FID 0.123 (floor 0.012)", "precision 0.710 (0.920)", "recall 0.630 (0.930)",
                 "clip 31, total 310", "1234 pictures", "seed 5", "2.1 M parameters", "1.53 GB",
                 "a machine of two cores", "diversity within a caption 3.46 (real 7.89), "
                 "error of the paper's colour 13.1 of 255 (real 12.9)"):
        assert part in text
    widths = [len(line) for line in text.splitlines()]
    assert widths[0] == widths[1] == widths[2] == widths[3] and max(widths) <= 100


def test_table_of_pairs_holds_every_figure_of_binding_below_its_head_and_fits():
    result = RESULT | {"binding": {"test": BINDING, "unseen": BINDING | {"swapped": 0.123}}}
    lines = table(result).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("each digit in its ink"))
    assert lines[head].split()[5:] == ["left", "right", "both", "product", "swapped", "chance"]
    assert lines[head + 1].split()[2:] == [f"{value:.3f}" for value in BINDING.values()]
    assert lines[head + 2].split()[-2:] == ["0.123", "0.500"]
    assert len(lines[head]) == len(lines[head + 1]) == len(lines[head + 2]) <= 80
    assert "each digit" not in table(RESULT)


def test_a_table_of_few_pictures_says_what_they_cannot_tell():
    assert "say little" not in table(RESULT)
    assert table(RESULT | {"samples": 499}).endswith("recall of fewer than 500 pictures say little")
    assert table(RESULT | {"samples": 8, "budget": "smoke"}).endswith("so no number counts")


def test_table_where_memory_or_unseen_are_not_known():
    without = {k: v for k, v in RESULT.items() if k != "unseen"} | {"peak_memory_bytes": None}
    assert "unseen" not in table(without) and "0.976" in table(without)
    for name in ("diversity", "paper_error"):
        del without[name]
    assert "caption" not in table(without).split("FID")[1] and "paper's" not in table(without)


def test_peak_memory_is_in_bytes_and_the_machine_is_named():
    """A Python that has loaded torch holds some hundred megabytes: in other units far off."""
    assert 50e6 < peak_memory() < 50e9
    cpu = machine(torch.device("cpu"))
    assert f"torch {torch.__version__}" in cpu and " CPU, " in cpu


# ---- the figure -----------------------------------------------------------------------------

STRIP, IMAGES = torch.rand(5, 40, 3, 16, 16) * 2 - 1, torch.rand(40, 3, 32, 32) * 2 - 1


@pytest.fixture
def page(monkeypatch):
    """The page that is saved, with known pictures on it: five steps STRIP, then IMAGES."""
    pages, save = [], Figure.savefig

    def noting(self, *args, **options):
        pages.append(self)
        return save(self, *args, **options)

    def known(captions, generator, trace=None):
        if trace is not None:                                  # which unclip has, and dalle not
            trace += [(x, STRIP[-1]) for x in STRIP]
        return IMAGES
    monkeypatch.setattr(Figure, "savefig", noting)
    monkeypatch.setattr(Workshop, "painter", lambda self, model: known)
    return pages


def longest(world) -> tuple[list[str], list[bool]]:
    """The longest captions of this world, all of them marked."""
    return sorted(world.grammar.every(), key=len)[-10:], [True] * 10


@pytest.mark.parametrize("captions, model, strip", [
    (show_captions, "unclip", 11), (longest, "unclip", 11), (longest, "dalle", 9),
    (longest, "gan", 11)])
def test_figure_is_a_png_in_which_no_text_is_cut_or_lies_on_another(
        shop, tmp_path, monkeypatch, page, captions, model, strip):
    """By the boxes that matplotlib says each text and each picture takes up."""
    monkeypatch.setattr(demo, "show_captions", captions)
    figure(shop, {**RESULT, "model": model}, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        picture.load()
        assert picture.format == "PNG"
    renderer = FigureCanvasAgg(page[-1]).get_renderer()
    words = [text.get_window_extent(renderer) for text in page[-1].texts if text.get_text()]
    boxes = words + [axes.get_window_extent(renderer) for axes in page[-1].axes]
    assert len(page[-1].axes) == 4 * 10 + strip
    for i, box in enumerate(boxes):
        assert 0 < box.x0 and box.x1 < page[-1].bbox.width, i
        assert 0 < box.y0 and box.y1 < page[-1].bbox.height, i
        assert not any(box.overlaps(other) for other in boxes[i + 1:]), i


def test_figure_says_the_captions_the_accuracy_and_which_are_unseen(shop, tmp_path, page):
    figure(shop, RESULT, tmp_path / "x.png")
    texts = [" ".join(text.get_text().split()) for text in page[-1].texts]
    captions, unseen = show_captions(shop.world)
    assert all(caption in texts for caption in captions)
    assert texts.count("unseen combination") == sum(unseen)
    assert "97.6 %" in texts[0] and "95.1 %" in texts[0] and "1234 pictures" in texts[1]


def test_figure_shows_four_samples_a_caption_in_order_and_in_the_strip_the_way_to_one_of_them(
        shop, tmp_path, page):
    figure(shop, RESULT, tmp_path / "x.png")
    shown = [axes.images[0].get_array() for axes in page[-1].axes]
    for picture, image in zip(shown[:40], IMAGES, strict=True):
        assert np.array_equal(picture, to_pixels(image))
    which = next(i for i in range(40) if np.array_equal(shown[-1], to_pixels(IMAGES[i])))
    assert which % 4 == 0 and show_captions(shop.world)[1][which // 4]           # an unseen one
    for picture, step in zip(shown[40:-1], [0, 0, 1, 2, 2, 2, 3, 4, 4, 4], strict=True):
        assert np.array_equal(picture, to_pixels(STRIP[step, which]))


def test_the_strip_of_dalle_shows_rows_of_codes_as_they_come_and_ends_with_the_picture(
        shop, tmp_path, page):
    """Of 8 rows of codes each is 4 rows of pixels: above the picture, below it one grey."""
    figure(shop, {**RESULT, "model": "dalle"}, tmp_path / "x.png")
    strip = [axes.images[0].get_array() for axes in page[-1].axes][40:]
    picture = to_pixels(IMAGES[len(IMAGES) // 2])
    for rows, shown in enumerate(strip):
        assert np.array_equal(shown[:4 * rows], picture[:4 * rows])
        assert (shown[4 * rows:] == strip[0][0, 0]).all()
    assert len(strip) == 9 and page[-1].texts[0].get_text().startswith("minidalle's DALL-E draws")


def test_the_strip_of_the_flow_begins_at_the_noise_of_that_picture_and_ends_with_it(shop):
    """The noise is drawn again by hand."""
    paint, captions = shop.painter("flow"), ["a red seven on blue", "a pink 3 on black"]
    images, (text, strip) = ROADS["flow"].making(shop, paint, captions, 1)
    noise = torch.randn(images.shape, generator=seeded(0))
    assert len(strip) == 11 and torch.equal(images, paint(captions, seeded(0)))
    assert torch.equal(strip[0][0], noise[1].clamp(-1, 1))
    assert torch.equal(strip[-1][0], images[1]) and text.endswith("in 3 steps")


def test_the_strip_of_the_gan_goes_from_no_noise_to_the_picture_with_its_own(shop):
    """Painted by hand with a tenth more of that noise from one to the next."""
    paint, captions = shop.painter("gan"), ["a red seven on blue", "a pink 3 on black"]
    images, (_, strip) = ROADS["gan"].making(shop, paint, captions, 1)
    z, text = shop.gan().noise(2, seeded(0)), shop.tokenizer.batch(captions)
    assert len(strip) == 11 and torch.equal(images, paint(captions, seeded(0)))
    torch.testing.assert_close(strip[-1][0], images[1], atol=1e-5, rtol=1e-4)
    for k, (picture, _) in enumerate(strip):
        by_hand = shop.gan().painter(k / 10 * z[1:], shop.clip().encode_text(text)[1:])[0]
        torch.testing.assert_close(picture, by_hand, atol=1e-5, rtol=1e-4)
