"""What lessons share: budget, seed, small trainings, the card, and the band of what is expected."""
import base64
import importlib.util
import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from torch import nn

from minidalle.course import lesson as lessons
from minidalle.course.lesson import Lesson, number, see, show, table
from minidalle.train import FitConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A lesson's world: an empty folder to stand in, runs of its own, the smoke budget."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, "ROOT", tmp_path / "nowhere")
    monkeypatch.setenv("MINIDALLE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    monkeypatch.setenv("MINIDALLE_QUIET", "1")
    monkeypatch.delenv("MINIDALLE_SEED", raising=False)
    with plt.rc_context():
        yield tmp_path


def tool():
    spec = importlib.util.spec_from_file_location("lessons_tool", ROOT / "tools" / "lessons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expect(folder: Path, seconds=100, band=(0.8, 0.9)) -> None:
    known = {"03_transformer": {"smoke": {"seconds": seconds, "machine": "a machine", "metrics": {
        "accuracy": {"value": 0.85, "band": list(band)}}}}}
    (folder / "expected.json").write_text(json.dumps(known))


@pytest.mark.parametrize("budget, value", [("smoke", 1), ("cpu", 2), ("gpu", 3)])
def test_pick_gives_the_value_of_the_budget(here, monkeypatch, budget, value):
    monkeypatch.setenv("MINIDALLE_BUDGET", budget)
    assert Lesson("x").pick(1, 2, 3) == value
    assert Lesson("x").pick(1, 2) == min(value, 2)


def test_seed_and_runs_come_from_the_environment(here, monkeypatch):
    monkeypatch.setenv("MINIDALLE_SEED", "7")
    one = Lesson("x")
    assert (one.seed, one.runs) == (7, here / "runs")


def test_train_gives_the_same_curve_twice_and_keeps_no_file(here):
    """So a cell that was run again trains anew, from the same start to the same end."""
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.zeros(1))

        def loss(self, x, generator=None):
            return (self.slope * x - 3 * x).square().mean()

    one = Lesson("x")
    config = FitConfig(steps=30, batch=8, lr=0.3, decay=0)
    curves = [one.train(model, lambda n, g: torch.randn(n, generator=g), config)
              for model in (Line(), Line())]
    assert curves[0] == curves[1] and [step for step, _ in curves[0]] == [10, 20, 30]
    assert curves[0][-1][1] < curves[0][0][1]
    assert not (here / "runs").exists()


def test_card_shows_the_band_and_marks_what_is_outside(here, capsys):
    expect(here)
    Lesson("03_transformer").card({"accuracy": 0.85}, {"accuracy": 0.1}, {"accuracy": 0.3})
    inside = capsys.readouterr().out
    assert "0.800 to 0.900" in inside and "outside" not in inside
    assert "0.100" in inside and "0.300" in inside and "mean nothing" in inside
    Lesson("03_transformer").card({"accuracy": 0.95})
    assert "<- outside" in capsys.readouterr().out


def test_card_keeps_what_came_out_as_json(here):
    Lesson("03_transformer").card({"accuracy": 0.5, "steps": 3}, broken={"accuracy": 0.2})
    card = json.loads((here / "runs" / "cards" / "03_transformer-smoke-0.json").read_text())
    assert card["metrics"] == {"accuracy": 0.5, "steps": 3}
    assert card["reference"] == {"chance": {}, "broken": {"accuracy": 0.2}}
    assert card["seconds"] >= 0 and "cores" in card["machine"]


def test_a_lesson_says_how_long_it_takes_only_if_that_was_measured(here, capsys, monkeypatch):
    monkeypatch.delenv("MINIDALLE_QUIET")
    Lesson("03_transformer")
    assert "measured" not in capsys.readouterr().out
    expect(here, seconds=95)
    Lesson("03_transformer")
    assert "measured: 2 min (a machine)" in capsys.readouterr().out
    monkeypatch.setenv("MINIDALLE_QUIET", "1")
    Lesson("03_transformer")
    assert "min" not in capsys.readouterr().out.removeprefix("03_transformer")


@pytest.mark.parametrize("name", ["BLUE", "RED", "GOLD", "GREY"])
def test_colours_stand_out_from_white_as_text_must(name):
    """The contrast of WCAG 2, by its formula: 4.5 or more; and 100 dots an inch or more."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in to_rgb(getattr(lessons, name))]
    light = sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear))
    assert 1.05 / (light + 0.05) >= 4.5 and lessons.FIGURES["figure.dpi"] >= 100


@pytest.mark.parametrize("names, said", [
    (("01_a", "02_b", "05_c"), "03 and 04 are still to come."),
    (("02_a", "05_b", "06_c", "08_d"), "01, 03, 04 and 07 are still to come."),
    (("01_a", "03_b"), "02 is still to come."), (("01_a", "02_b"), "")])
def test_the_map_says_which_lessons_are_still_to_come(here, seen, monkeypatch, names, said):
    """In the figure, and in its words."""
    monkeypatch.setattr(lessons, "ROWS", {"a row": names[:1], "another": names[1:]})
    Lesson("01_a").map()
    [(map_, words)] = seen
    written = [text.get_text() for text in map_.axes[0].texts if "to come" in text.get_text()]
    assert words.endswith(f"{names[-1]}. {said}".rstrip()) and written == [said] * bool(said)


def test_every_lesson_has_its_place_on_the_map_or_is_still_to_come():
    """All but the first, which is the map itself."""
    names = {path.stem for path in (ROOT / "lessons").glob("[0-9]*.ipynb")} - {"00_map"}
    assert names == {name for row in lessons.ROWS.values() for name in row}


@pytest.mark.parametrize("value, text", [(None, "-"), (3, "3"), (0.12345, "0.123"),
                                         (12.345, "12.3")])
def test_numbers_have_three_digits_behind_the_point_below_ten(value, text):
    assert number(value) == text


def test_table_says_that_nothing_is_expected_yet():
    assert "not measured yet" in table({"loss": 1.0}, {}, {}, {})[1]


@pytest.fixture
def seen(monkeypatch):
    """What is displayed: pairs of figure and alternative text."""
    pairs = []
    monkeypatch.setattr("minidalle.course.lesson.display", lambda figure, metadata: pairs.append(
        (figure, metadata["image/png"]["alt"])))
    return pairs


def test_map_and_show_draw_without_a_screen_and_say_what_is_to_be_seen(here, seen):
    Lesson("03_transformer").map()
    show(torch.zeros(5, 3, 8, 8), list("abcde"), columns=3, title="Letters")
    (map_, words), (pictures, letters) = seen
    assert any(text.get_text() == "03 transformer" and text.get_color() == "white"
               for text in map_.axes[0].texts)
    assert "mark on 03_transformer" in words and "07_dvae, 08_dalle" in words
    low, high = map_.axes[0].get_ylim()
    assert all(low < box.get_y() < box.get_y() + 0.34 < high for box in map_.axes[0].patches)
    assert [one.get_title() for one in pictures.axes] == ["a", "b", "c", "d", "e", ""]
    assert len(pictures.axes[4].images) == 1 and not pictures.axes[5].images
    assert letters == "Letters. a, b, c, d, e"
    assert not plt.get_fignums()                       # nothing stays open


def test_a_row_of_pictures_without_captions_takes_no_room_for_them_by_hand(seen):
    """Two rows of side 1 under a title of one line; a row of captions takes 0.05,
    and 0.16 for each of its lines."""
    for captions, high in ((["a\nb", "c"], 0.37), (["", "", "d"], 0.21), (None, 0),
                           (["a"] * 4, 0.42)):
        show(torch.zeros(4, 3, 8, 8), captions, columns=2, title="Letters", side=1)
        assert seen[-1][0].get_size_inches().tolist() == pytest.approx([2, 2 + 0.28 + high])


def test_the_end_of_white_paper_is_seen_and_no_frame_stands_round_nothing(seen):
    show(torch.ones(3, 3, 8, 8), columns=2, alt="White.")
    figure, _ = seen[-1]
    shown = [[spine.get_visible() for spine in axes.spines.values()] for axes in figure.axes]
    assert shown == [[True] * 4] * 3 + [[False] * 4]
    assert figure.axes[0].spines["top"].get_edgecolor()[0] < 0.9


def test_words_for_a_picture_stand_in_one_line(seen):
    show(torch.zeros(2, 3, 8, 8), ["a\nb", "c"], title="Two\nlines")
    assert seen[-1][1] == "Two lines. a b, c"


def test_a_lesson_that_is_no_box_of_the_map_claims_no_mark(here, seen):
    Lesson("00_map").map()
    figure, words = seen[0]
    assert "mark" not in words and "01_data" in words
    assert not any(text.get_color() == "white" for text in figure.axes[0].texts)


def test_a_figure_without_alternative_text_is_refused(seen):
    plt.figure()
    with pytest.raises(ValueError, match="no alternative text"):
        see(" ")
    with pytest.raises(ValueError, match="no alternative text"):
        show(torch.zeros(1, 3, 8, 8))
    plt.close("all")
    assert not seen


def test_band_is_as_wide_again_as_the_seeds_spread_and_shares_stay_shares():
    band = tool().band
    assert band([2.0, 2.2, 2.4]) == [1.6, 2.8]
    assert band([0.98, 1.0, 0.96]) == [0.92, 1.0]
    assert band([16.0, 16.0, 16.0]) == [15.68, 16.32]     # no narrower than a fiftieth each way
    assert band([16, 16, 16]) == [16, 16] and band([15, 16]) == [14, 17]
    assert band([2e-5, 0.0]) == [0.0, 0.0001]             # what is all but nothing lies in it too


def test_clean_leaves_no_widget_and_no_version():
    notebook = tool().nbformat.v4.new_notebook(metadata={"widgets": {}, "language_info": {
        "name": "python", "version": "3.11.7"}})
    widget, text = ({"output_type": "display_data", "metadata": {}, "data": {kind: "x"}}
                    for kind in (tool().WIDGET, "text/plain"))
    notebook.cells = [tool().nbformat.v4.new_code_cell("x", outputs=[widget, text],
                                                       metadata={"execution": {}})]
    clean = tool().clean(notebook)
    assert [list(one["data"]) for one in clean.cells[0].outputs] == [["text/plain"]]
    assert "widgets" not in clean.metadata and clean.metadata.language_info == {"name": "python"}
    assert clean.cells[0].metadata == {}


def test_refresh_stores_maps_and_what_checks_say_and_leaves_what_was_trained(here, monkeypatch):
    tools = tool()
    make = tools.nbformat.v4

    def notebook(*outputs):
        sources = ("x = 1\nlesson.map()", "train()", 'check("a.b", f)', "print(check)")
        cells = [make.new_code_cell(source, execution_count=len(outputs[0]), outputs=[
            make.new_output("stream", text=text),
            make.new_output("display_data", {"image/png": text})])
            for source, text in zip(sources, outputs)]
        return make.new_notebook(cells=cells)

    monkeypatch.setattr(tools, "LESSONS", here)
    monkeypatch.setattr(tools, "run", lambda name, budget, seed: (notebook(
        *4 * [f"{budget} {seed}"]), {}))
    tools.nbformat.write(notebook("cpu", "long trained", "not yet", "c"), here / "03_x.ipynb")
    tools.refresh("03_x")
    cells = tools.nbformat.read(here / "03_x.ipynb", 4).cells
    assert [cell.execution_count for cell in cells] == 4 * [len("smoke 0")]
    outputs = [[one.get("text", one.get("data")) for one in cell.outputs] for cell in cells]
    assert outputs == [["cpu", {"image/png": "smoke 0"}],
                       ["long trained", {"image/png": "long trained"}],
                       ["smoke 0", {"image/png": "smoke 0"}], ["c", {"image/png": "c"}]]


def test_pictures_are_stored_in_256_colours_and_never_larger():
    def encoded(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    def opened(picture):
        return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    smaller = tool().smaller
    noisy = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8)
    flat = numpy.full((8, 8, 3), 200, dtype=numpy.uint8)
    for array in (noisy, flat):
        before = encoded(array)
        after = smaller(before)
        assert len(after) <= len(before) and opened(after).size == array.shape[1::-1]
    assert len(smaller(encoded(noisy))) < 0.7 * len(encoded(noisy))
    # few colours stay what they are
    assert (numpy.asarray(opened(smaller(encoded(flat)))) == flat).all()


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "", str(2 ** 70), str(2 ** 32)])
def test_a_seed_that_is_none_is_told_in_one_sentence(monkeypatch, text):
    monkeypatch.setenv("MINIDALLE_SEED", text)
    with pytest.raises(ValueError, match="MINIDALLE_SEED is .*; set it to a whole number from 0"):
        Lesson("04_clip")
