"""Roads: one entry, and a new one stands in every command, table, figure and help."""
import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minidalle.course.commands import main
from minidalle.train import seeded
from minidalle.workshop import compare, recipes
from minidalle.workshop.commands import roads_with
from minidalle.workshop.recipes import ROADS, Knob, Road, Workshop, guidance

pytestmark = pytest.mark.usefixtures("quick")
SEVEN = "a red seven on blue"


def toy_pictures(clip, captions, generator, grey=0.5):
    return torch.full((len(captions), 3, 32, 32), float(grey))


def toy_making(workshop, paint, captions, which):
    images = paint(captions, seeded(workshop.seed))
    return images, ("all at once", [(images[which], "grey")])


TOY = Road("nobody", "a toy", ("clip",), Workshop.clip, toy_pictures, toy_making, seconds=0.001,
           knobs=(Knob("grey", "SHADE", "how bright the picture is", -1, 1),), best_of=2)


@pytest.fixture
def toy(monkeypatch) -> None:
    """One road more: this one entry is all that is done for it."""
    monkeypatch.setitem(ROADS, "toy", TOY)


def call(command: str, *words, out) -> int:
    return main([command, *map(str, words), "--budget", "smoke", "--device", "cpu",
                 "--out", str(out)])


@pytest.fixture
def runs(smoke, tmp_path, monkeypatch) -> Path:
    """Where the small demo's models lie, as links; nothing more may be trained."""
    (tmp_path / "runs").mkdir()
    for models in smoke.folder.glob("drawn-*"):                # those of the other seed too
        (tmp_path / "runs" / models.name).symlink_to(models, target_is_directory=True)
    for loop in ("fit", "play"):
        monkeypatch.setattr(recipes, loop, None)
    return tmp_path / "runs"


def test_the_help_names_a_new_road_its_stages_and_its_knobs(toy, capsys):
    for words in (["--help"], ["draw", "--help"], ["demo", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
    said = " ".join(capsys.readouterr().out.split())
    assert "toy, that of nobody (stages clip)." in said
    assert "only with --model toy: --grey SHADE how bright the picture is" in said
    assert " or ".join(ROADS).replace("unclip", "unclip (default)") in said


def test_what_every_road_takes_is_said_of_all_and_what_some_take_of_those(monkeypatch, capsys):
    """The same knob on two of all roads, another on all of them, once that without it is gone."""
    monkeypatch.delitem(ROADS, "gan")
    monkeypatch.setitem(ROADS, "toy", Road("nobody", "a toy", ("clip",), Workshop.clip,
                                           toy_pictures, toy_making, 0.001,
                                           (guidance(2), ROADS["dalle"].knobs[1])))
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    options, *groups = re.split(r"\n\n(?=only with )", capsys.readouterr().out)
    assert "\n  --guidance G" in options and "\n  --temperature" not in options
    assert groups[0].startswith("only with --model dalle or toy:\n  --temperature T")
    assert groups[1].startswith("only with --model dalle:\n  --top-k K")


def test_what_the_help_says_of_guidance_is_what_each_road_takes_when_it_is_left_alone(capsys):
    """As their painters' signatures have it."""
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    said = re.search(r"1 is as learnt \(default (.*?)\)", text)[1]
    told = {model: float(part.split(" with ")[0]) for part in said.split("; ")
            for model in part.split(" with ")[1].split(", ")}
    painters = {model: inspect.signature(road.paint).parameters for model, road in ROADS.items()}
    assert told == {model: takes["guidance"].default for model, takes in painters.items()
                    if "guidance" in takes}


def test_draw_draws_along_a_new_road_and_its_knob_is_that_of_its_painter(toy, runs):
    for words, grey in (([], 191), (["--grey", "-1"], 0)):
        assert call("draw", SEVEN, "--model", "toy", *words, out=runs) == 0
        with Image.open(runs / "smoke" / "draw.png") as picture:
            assert picture.convert("RGB").getcolors() == [(256 * 256, (grey,) * 3)]


@pytest.mark.parametrize("words, said", [
    (["--grey", "1"], "--grey is of no use to unclip; add --model toy, or leave that out"),
    (["--model", "toy", "--top-k", "3"],
     "--top-k is of no use to toy; add --model dalle, or leave that out"),
    (["--model", "toy", "--guidance", "3"],
     f"of no use to toy; add --model {' or '.join(roads_with({'guidance'}))}, or"),
    (["--grey", "1", "--top-p", "1"], "--grey and --top-p are of no use to unclip; leave that out"),
    (["--grey", "2"], "'2' is not a number from -1 to 1")])
def test_a_knob_of_another_road_is_told_with_the_roads_that_have_it(toy, runs, capsys, words, said):
    try:
        assert call("draw", SEVEN, *words, out=runs) == 2
    except SystemExit as end:                                  # argparse's own way to say so
        assert end.code == 2
    assert said in capsys.readouterr().err


def test_demo_and_score_measure_a_new_road_and_its_figure_has_its_strip_and_its_name(
        toy, runs, monkeypatch, capsys):
    pages, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: pages.append(self)
                        or save(self, *args, **options))
    assert call("demo", "--model", "toy", out=runs) == 0
    result = json.loads((runs / "smoke" / "demo-toy.json").read_text())
    assert result["model"] == "toy" and list(result["parameters"]) == ["judge", "clip"]
    texts = [text.get_text() for text in pages[0].texts]
    assert texts[0].startswith("a toy draws ") and any(t.endswith("all at once") for t in texts)
    assert len(pages[0].axes) == 4 * 10 + 1
    capsys.readouterr()
    assert call("score", "--model", "toy", out=runs) == 0
    assert f"FID {result['fid']:.3f}" in capsys.readouterr().out


def test_train_makes_the_stages_of_a_new_road(toy, runs, capsys):
    assert call("train", "--model", "toy", out=runs) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[-2:]] \
        == ["judge", "clip"]


def test_compare_puts_a_new_road_beside_the_others_in_table_file_and_figure(
        toy, runs, monkeypatch, capsys):
    pages = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: pages.append(self)
                        or path.touch())
    monkeypatch.setattr(compare, "SAMPLES", {"smoke": 4})
    assert call("compare", out=runs) == 0
    file = runs / "smoke" / "compare.json"
    result, said = json.loads(file.read_text()), capsys.readouterr().out
    assert list(result["roads"]) == list(ROADS)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert " ".join(ROADS) in lines
    assert f"captions along {compare.listed(ROADS)}" in said
    toys = result["roads"]["toy"]
    for label, row in (("toy", toys), ("toy, best of 2 by CLIP", toys["best_of_2"])):
        for split in ("test", "unseen"):
            assert " ".join([label, *(f"{v:.3f}" for v in row[split].values())]) in lines
    with_clip = [model for model, one in ROADS.items() if "clip" in one.stages]
    assert {"unclip", "toy"} < set(with_clip) and "imagen" not in with_clip
    assert f"CLIP is part of {compare.listed(with_clip)}, in parameters" in said
    assert "4 pictures a row (best of 8: 4, best of 2: 4), seed 0" in said
    assert len(pages[0].axes) == len(ROADS) * 40 and "toy" in pages[0].texts[0].get_text()


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 7])
def test_the_comparison_of_any_number_of_roads_is_a_figure_in_which_no_text_is_cut_or_covered(
        smoke, monkeypatch, tmp_path, number):
    """By the boxes of the texts, with numbers as long as they get."""
    pages = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: pages.append(self)
                        or path.touch())
    monkeypatch.setattr(Workshop, "painter", lambda self, model: lambda captions, generator:
                        torch.zeros(len(captions), 3, 32, 32))
    for i in range(len(ROADS), number):
        monkeypatch.setitem(ROADS, f"toy{i}", TOY)
    line = {"test": {"all": 1.0}, "unseen": {"all": 1.0}, "seconds_for_64": 10.0, "samples": 10_000}
    names = list(ROADS)[:number]
    result = {"samples": 10_000, "budget": "cpu", "roads": {
        name: line | {f"best_of_{n}": line for n in (2, 8)} for name in names}}
    shop = Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=lambda line: None)
    compare.figure(shop, result, tmp_path / "x.png", samples=4)
    renderer = FigureCanvasAgg(pages[0]).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in pages[0].texts if text.get_text()]
    assert len(pages[0].axes) == number * 40
    for i, box in enumerate(boxes):
        assert 0 < box.x0 and box.x1 < pages[0].bbox.width, (i, pages[0].texts[i].get_text())
        assert not any(box.overlaps(other) for other in boxes[i + 1:]), i


def test_the_best_of_n_needs_clip_on_a_road_that_draws_without_it():
    road = Road("nobody", "a toy", ("dvae",), Workshop.dvae, toy_pictures, toy_making, 0.001)
    assert road.needs(1) == ["dvae"] and road.needs(2) == ["clip", "dvae"]
    assert ROADS["dalle"].needs(1) == ["dvae", "dalle"]
    assert ROADS["dalle"].needs(2) == ["clip", "dvae", "dalle"]
    assert ROADS["unclip"].needs(1) == ROADS["unclip"].needs(8) == list(ROADS["unclip"].stages)


def test_the_bench_measures_a_new_road_and_says_whose_it_is(toy):
    spec = importlib.util.spec_from_file_location(
        "bench_with_toy", Path(__file__).parents[2] / "bench" / "bench.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert "road-toy" in bench.PARTS and "that of nobody" in bench.HELP
    line = bench.measure(bench.parse(["--inside", "road-toy", "--device", "cpu", "--samples", "2",
                                      "--repeats", "1"]))
    assert list(line["config"])[0] == "clip" and line["sample_seconds"] >= 0
