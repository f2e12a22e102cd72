"""Compare: all roads get the same captions, and its table, file and figure say the same."""
import json

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from minidalle.course.commands import main
from minidalle.train import seeded
from minidalle.workshop import compare, demo
from minidalle.workshop.compare import figure, seconds_for, table
from minidalle.workshop.pictures import RED, show_captions, to_pixels
from minidalle.workshop.recipes import ROADS, WORLDS, Workshop

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def result(compared) -> dict:
    return json.loads((compared.folder / "tables" / "both.json").read_text())


@pytest.fixture
def shop(smoke) -> Workshop:
    return Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=lambda line: None)


# ---- the command ----------------------------------------------------------------------------

def test_compare_writes_the_agreed_json_in_a_new_folder_and_a_large_picture(compared, result):
    assert compared.code == 0 and compared.trained == set()    # all were there
    assert {"roads", "samples", "seed", "data", "budget", "judge", "machine"} <= result.keys()
    assert list(result["roads"]) == list(ROADS)
    for road in result["roads"].values():
        assert {"fid", "fid_floor", "recall", "recall_floor", "clip_score", "clip_score_other",
                "said", "parameters", "multiply_adds_to_train", "seconds_to_train",
                "seconds_for_64"} <= road.keys()
        assert set(road["test"]) == set(road["unseen"]) == {"digit", "ink", "paper", "all"}
    best = result["roads"]["dalle"]["best_of_8"]
    assert set(best["test"]) == set(best["unseen"]) == {"digit", "ink", "paper", "all"}
    assert "best_of_8" not in result["roads"]["unclip"]
    with Image.open(compared.folder / "smoke" / "compare.png") as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) >= 900


def test_parameters_and_seconds_are_the_sums_of_the_stages_that_a_road_passes_through(
        shop, result):
    for model, stages in ((model, road.stages) for model, road in ROADS.items()):
        shop.make(stages)
        count = sum(p.numel() for stage in stages for p in shop.models[stage].parameters())
        assert result["roads"][model]["parameters"] == count
        assert result["roads"][model]["seconds_to_train"] == pytest.approx(
            sum(shop.seconds[stage] for stage in stages), abs=0.051)
        assert result["roads"][model]["multiply_adds_to_train"] == sum(
            1e12 * len(stage) for stage in stages)             # as conftest.py has it


def test_each_road_is_its_own_score_and_the_judge_reads_the_same_real_pictures(shop, result):
    for model in ROADS:
        alone, road = demo.score(shop, model, result["samples"]), result["roads"][model]
        same = ("test", "unseen", "fid", "fid_floor", "clip_score", "precision", "recall")
        assert {name: road[name] for name in same} == {name: alone[name] for name in same}
        assert result["judge"] == alone["judge"]


def test_all_roads_and_the_best_of_eight_draw_the_captions_that_they_are_asked_for(
        shop, tmp_path, monkeypatch):
    """Noted as they are asked for: all roads the same ones, in the figure too, and the best of
    eight half as many."""
    drawn = []

    def noting(workshop, paint, captions, seed, best_of=1):
        drawn.append((captions, best_of))
        return torch.rand(len(captions), 3, 32, 32, generator=seeded(seed)) * 2 - 1
    for module in (demo, compare):
        monkeypatch.setattr(module, "draw_many", noting)
    monkeypatch.setattr(compare, "seconds_for", lambda workshop, paint, n: 1.0)
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: path.touch())
    line = compare.compare(shop, tmp_path / "x.png", tmp_path / "x.json", 10)
    n = len(ROADS)
    roads, best, shown = drawn[:2 * n], drawn[2 * n:2 * n + 2], drawn[2 * n + 2:]
    assert roads == roads[:2] * n and shown == [shown[0]] * n
    assert [(len(captions), n) for captions, n in best] == [(5, 8), (5, 8)]
    assert line["roads"]["dalle"]["best_of_8"]["samples"] == 5 and line["samples"] == 10
    assert len(roads[0][0]) == 10 and shown[0][0][::4] == show_captions(shop.world)[0]


def test_the_seconds_are_those_of_the_second_time(shop, monkeypatch):
    """A clock that the painter itself turns: ten seconds to warm up, then two."""
    clock, took = [0.0], [10.0, 2.0]

    def paint(captions, generator):
        assert len(captions) == 64
        clock[0] += took.pop(0)
        return torch.zeros(1)
    monkeypatch.setattr(compare.time, "perf_counter", lambda: clock[0])
    assert seconds_for(shop, paint, 64) == 2.0 and took == []


def test_the_table_on_the_screen_is_that_of_the_file(compared, result):
    assert table(result) in compared.out
    lines = [line.split() for line in table(result).splitlines()]
    for split in ("test", "unseen"):
        for road in (*result["roads"].values(), result["roads"]["dalle"]["best_of_8"]):
            numbers = [f"{value:.3f}" for value in road[split].values()]
            assert numbers in [line[-4:] for line in lines]
    roads = result["roads"].values()
    rows = [line[-len(roads):] for line in lines]
    for name, digits in (("fid", 3), ("recall", 3), ("clip_score_other", 3),
                         ("seconds_for_64", 2)):
        assert [f"{road[name]:.{digits}f}" for road in roads] in rows
    assert [f"{road['said']['all']:.3f}" for road in roads] in rows
    assert [f"{road['multiply_adds_to_train'] / 1e12:.1f}" for road in roads] in rows
    assert [f"{road['parameters'] / 1e6:.2f}" for road in roads] in rows
    assert max(map(len, table(result).splitlines())) <= 100
    assert table(result).endswith("no number counts") and "no number" in compare.subtitle(result)
    assert f"(floor {result['roads']['unclip']['fid_floor']:.3f})" in table(result)


def test_a_table_without_unseen_combinations_leaves_their_rows_out(result):
    for road in (*result["roads"].values(), result["roads"]["dalle"]["best_of_8"]):
        del road["unseen"]
    assert "unseen" not in table(result) + compare.title(result) + compare.subtitle(result)


def test_only_the_roads_that_are_named_are_compared_in_that_order(smoke, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(compare, "score", lambda workshop, model, n, also: asked.append(model)
                        or demo.score(workshop, model, n, also))
    arguments = ["compare", "--budget", "smoke", "--device", "cpu", "--out", str(smoke.folder),
                 "--json", str(tmp_path / "two.json"), "--roads", "latent, unclip"]
    assert main(arguments) == 0
    assert asked == ["latent", "unclip"]
    result = json.loads((tmp_path / "two.json").read_text())
    assert list(result["roads"]) == asked
    # and without DALL-E nobody says what is drawn
    assert "said" not in result["real"] and "said" not in result["roads"]["latent"]
    assert "said again" not in table(result)


# ---- who else looks -------------------------------------------------------------------------

def pictures_and_batch(shop, n=12):
    batch = shop.world.batch(n, "test", seeded(shop.seed + 1))
    return batch.images, batch


def test_the_other_clip_is_that_of_the_next_seed_and_its_score_a_mean_of_cosines(shop, smoke):
    """The same checkpoint, loaded by hand, picture by picture; it is none that the roads have."""
    other = Workshop(seed=1, budget="smoke", folder=smoke.folder, device="cpu", say=str).clip()
    clip = compare.stranger(shop)
    assert all(a.equal(b) for a, b in zip(clip.parameters(), other.parameters(), strict=True))
    assert not clip.log_scale.requires_grad if hasattr(clip, "log_scale") else True
    images, batch = pictures_and_batch(shop)
    seen = compare.looking(shop, clip, telling=False)(images, batch)
    ids = shop.tokenizer.batch(batch.captions)
    cosines = [torch.cosine_similarity(other.encode_image(images[i:i + 1]),
                                       other.encode_text(ids[i:i + 1])).item() for i in range(12)]
    assert seen == {"clip_score_other": pytest.approx(sum(cosines) / 12, abs=1e-5)}
    own = shop.clip()
    assert not own.encode_image(images).allclose(clip.encode_image(images))


def test_the_other_clip_is_trained_once_where_it_is_missing(tmp_path):
    shop = Workshop(seed=5, budget="smoke", folder=tmp_path, device="cpu", say=lambda line: None)
    compare.stranger(shop)
    assert [path.parent.name for path in tmp_path.rglob("*.pt")] == ["drawn-smoke-6"]
    before = (tmp_path / "drawn-smoke-6" / "clip.pt").read_bytes()
    compare.stranger(shop)
    assert (tmp_path / "drawn-smoke-6" / "clip.pt").read_bytes() == before


def test_what_is_said_again_is_that_of_the_captioner_over_the_first_pictures(shop, monkeypatch):
    """It is right of all but two of the first ten, which come in three parts; the rest is too many.
    """
    images, batch = pictures_and_batch(shop)
    wrong = [*batch.captions[:8], "a red red", "no sentence"]
    monkeypatch.setattr(compare, "CHUNK", 10)
    monkeypatch.setattr(compare, "PART", 4)
    parts = iter([wrong[:4], wrong[4:8], wrong[8:]])
    monkeypatch.setattr(compare, "picture_to_caption", lambda road, part, g: next(parts))
    seen = compare.looking(shop, compare.stranger(shop), telling=True)(images, batch)
    assert seen["said"] == {name: 8 / 10 for name in ("digit", "ink", "paper", "all")}


def test_real_pictures_are_looked_at_as_the_drawn_ones_are(shop, result):
    """The floor: the real pictures of `measure`, drawn again."""
    images, batch = pictures_and_batch(shop, result["samples"])
    seen = compare.looking(shop, compare.stranger(shop), telling=True)(images, batch)
    assert result["real"] == seen
    assert f"CLIP score (real {seen['clip_score_other']:.3f})" in table(result)
    assert f"said again (real {seen['said']['all']:.3f})" in table(result)


PAIRS = {"digit_l": 0.999, "ink_l": 1.0, "digit_r": 0.998, "ink_r": 1.0, "paper": 1.0, "all": 0.997}
BOUND = {"left": 0.999, "right": 0.998, "both": 0.997, "product": 0.996, "swapped": 0.001,
         "swap_chance": 0.499}


def test_a_table_of_pairs_holds_both_slots_and_what_is_bound_road_by_road(result):
    roads = {}
    for i, (model, road) in enumerate(result["roads"].items()):
        bound = {split: {**BOUND, "swapped": (1 + i + 10 * (split == "unseen")) / 1000}
                 for split in ("test", "unseen")}
        roads[model] = road | {"test": PAIRS, "unseen": PAIRS, "binding": bound}
        if best := road.get("best_of_8"):
            roads[model]["best_of_8"] = best | {"test": PAIRS, "unseen": PAIRS}
    text = table(result | {"judge": PAIRS, "roads": roads})
    lines = [line.split() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0].split() == list(PAIRS)
    assert [line[-6:] for line in lines].count(list(demo.BOUND)) == 2
    for model, road in roads.items():
        for split in ("test", "unseen"):
            assert [model, *(f"{v:.3f}" for v in road["binding"][split].values())] in lines


def test_pairs_along_one_road_are_compared_with_the_two_slot_judge(tmp_path, capsys):
    """From nothing, at the smoke budget: the command of the README."""
    assert main(["compare", "--data", "pairs", "--roads", "latent", "--budget", "smoke", "--device",
                 "cpu", "--samples", "6", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    road = json.loads((tmp_path / "smoke" / "compare-pairs.json").read_text())["roads"]["latent"]
    assert list(road["test"]) == list(PAIRS) and list(road["binding"]["test"]) == list(BOUND)
    assert "swapped" in out and out.count("\n  latent ") == 4
    assert (tmp_path / "pairs-smoke-1" / "clip.pt").exists()


@pytest.mark.parametrize("roads", ["", "unclip,", "unclip,dall", "gan,gan"])
def test_roads_that_there_are_not_are_told_with_those_there_are(roads, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "--roads", roads])
    said = " ".join(capsys.readouterr().err.split())
    assert f"{roads!r} does not name roads" in said and ", ".join(ROADS) in said


# ---- what cannot work -----------------------------------------------------------------------

@pytest.mark.parametrize("file", ["file/x.json", "folder", "x.png"])
def test_a_json_file_that_cannot_be_written_is_told_before_any_training(
        tmp_path, monkeypatch, capsys, file):
    monkeypatch.setattr("minidalle.workshop.recipes.fit", None)         # so nothing can be trained
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    assert main(["compare", "--budget", "smoke", "--out", str(tmp_path / "x.png"), "--json",
                 str(tmp_path / file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minidalle: ") and error.count("\n") == 1 and "--json" in error
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_a_json_file_is_written_whole_or_not_at_all(result, tmp_path):
    demo.write_json(tmp_path / "x.json", result)
    before = (tmp_path / "x.json").read_text()
    with pytest.raises(TypeError):
        demo.write_json(tmp_path / "x.json", {**result, "machine": object()})
    assert (tmp_path / "x.json").read_text() == before and json.loads(before) == result


# ---- the figure -----------------------------------------------------------------------------

@pytest.fixture
def page(monkeypatch):
    """The page that is saved. Every picture on it is of one colour, and no two are of the same."""
    pages = []

    def noting(self, path, **options):
        pages.append(self)
        path.touch()

    def painter(self, model):
        shades = torch.linspace(-1, 1, 40) * (0.1 + list(ROADS).index(model) / 7)
        return lambda captions, generator: shades[:, None, None, None].expand(-1, 3, 32, 32)
    monkeypatch.setattr(Figure, "savefig", noting)
    monkeypatch.setattr(Workshop, "painter", painter)
    return pages


def test_figure_has_the_same_captions_in_rows_and_a_group_of_columns_for_each_road(
        shop, result, tmp_path, page):
    """By the boxes: pictures of one caption lie at one height, and no box lies on another, even
    where the numbers are as long as they get."""
    roads = result["roads"]
    for road in (*roads.values(), roads["dalle"]["best_of_8"]):
        road["test"]["all"] = road["unseen"]["all"] = 1.0
        road["samples"] = result["samples"] = 10_000
    figure(shop, result, tmp_path / "x.png")
    renderer = FigureCanvasAgg(page[0]).get_renderer()
    words = [text.get_window_extent(renderer) for text in page[0].texts if text.get_text()]
    pictures = [axes.get_window_extent(renderer) for axes in page[0].axes]
    for i, box in enumerate(words + pictures):
        assert 0 < box.x0 and box.x1 < page[0].bbox.width, i
        assert 0 < box.y0 and box.y1 < page[0].bbox.height, i
        assert not any(box.overlaps(other) for other in (words + pictures)[i + 1:]), i
    assert len(pictures) == 40 * len(ROADS)
    for row in range(10):
        mine = [pictures[i + 4 * row + k] for i in range(0, len(pictures), 40) for k in range(4)]
        assert len({round(box.y0) for box in mine}) == 1
        assert [box.x0 for box in mine] == sorted(box.x0 for box in mine)
    images = [shop.painter(model)([], None) for model in ROADS]
    for axes, image in zip(page[0].axes, torch.cat(images), strict=True):
        assert np.array_equal(axes.images[0].get_array(), to_pixels(image))


def test_figure_frames_exactly_the_unseen_rows_and_says_the_finding(shop, result, tmp_path, page):
    result["roads"]["unclip"]["test"]["all"] = 0.9921
    result["roads"]["dalle"]["test"]["all"] = 0.8614
    result["roads"]["dalle"]["best_of_8"]["test"]["all"] = 0.9306
    figure(shop, result, tmp_path / "x.png")
    texts = [" ".join(text.get_text().split()) for text in page[0].texts]
    captions, unseen = show_captions(WORLDS["drawn"]())
    assert all(caption in texts for caption in captions)
    frames = [to_hex(axes.spines["left"].get_edgecolor()) for axes in page[0].axes]
    assert [frame == RED for frame in frames] == [u for u in unseen for _ in range(4)] \
        * len(ROADS)
    assert texts.count("unseen combination") == sum(unseen)
    assert all(share in texts[0] for share in ("99.2 %", "86.1 %", "93.1 %"))
