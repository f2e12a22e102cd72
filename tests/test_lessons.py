"""The lessons as files: each has its place, its form, and outputs that a clean run made."""
import json
import re
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

from minidalle.course.checks import exercises

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "lessons").glob("[0-9]*.ipynb"))
BUDGETS = {"cpu", "gpu"}
ABSOLUTE = re.compile(r"(?<![\w.:/])/(home|root|tmp|usr|work|Users|mnt|var)/|[A-Z]:\\\\")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


# ---- the house: file, lesson and test ----

def test_file_lesson_and_test_are_paired(path):
    """lessons/NN_stem.ipynb, minidalle/stem.py, course/checks/stem.py, tests/test_stem.py; where
    no model is built, the file is one of the workshop."""
    stem = path.stem.split("_", 1)[1]
    module = {"map": "__init__", "scale": "parallel"}.get(stem, stem)
    floor = next((one for one in ("", "workshop") if (
        ROOT / "minidalle" / one / f"{module}.py").exists()), None)
    assert floor is not None
    assert (ROOT / "minidalle" / "course" / "checks" / f"{stem}.py").exists()
    assert stem == "map" or (ROOT / "tests" / floor / f"test_{module}.py").exists()


def test_every_exercise_has_its_lesson():
    assert {one.lesson for one in exercises()} == {path.stem for path in PATHS}


def test_lesson_says_its_own_name(path, notebook):
    assert notebook.metadata["minidalle"]["lesson"] == path.stem
    assert f'Lesson("{path.stem}")' in "\n".join(cell.source for cell in code(notebook))
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]}. ")


# ---- the form ----

def test_lesson_has_30_to_70_cells_and_never_more_than_three_of_code_in_a_row(notebook):
    assert 30 <= len(notebook.cells) <= 70
    runs = [len(list(run)) for kind, run in groupby(notebook.cells, lambda cell: cell.cell_type)
            if kind == "code"]
    assert max(runs) <= 3


def test_every_part_of_a_lesson_is_there(notebook):
    text = prose(notebook)
    for part in ("The question", "you can", "Know first", "### Heard elsewhere", "### Break it",
                 "### Drag it", "Open exercise", "References", "Next"):
        assert part in text, part
    assert text.count("**Predict") >= 5
    assert "| what you see |" in text
    lines = "\n".join(cell.source for cell in code(notebook))
    assert "interact(" in lines and "lesson.card(" in lines and "# NBVAL_CHECK_OUTPUT" in lines


def test_each_exercise_is_defined_once_and_checked_in_the_next_cell(path, notebook):
    cells = code(notebook)
    here = [one.name for one in exercises() if one.lesson == path.stem]
    assert len(here) >= 3
    for name in here:
        function = name.split(".")[1]
        defined = [i for i, cell in enumerate(cells) if "### BEGIN SOLUTION" in cell.source
                   and f"def {function}(" in cell.source]
        assert len(defined) == 1, name
        if function == "result":               # it is drawn with where it is defined
            assert cells[defined[0]].source.endswith(f'hand_in("{name}", {function})')
        else:
            assert cells[defined[0] + 1].source == f'check("{name}", {function})'


def test_code_is_ascii_in_lines_of_at_most_100(notebook):
    for cell in code(notebook):
        for line in cell.source.splitlines():
            assert len(line) <= 100, line
            # captions in other alphabets are the subject of the tokenizer's lesson
            assert line.isascii() or '"' in line, line


def test_checked_cells_have_no_widget(notebook):
    for cell in code(notebook):
        assert not ("NBVAL_CHECK_OUTPUT" in cell.source and "interact" in cell.source)


def test_no_control_is_a_menu(notebook):
    """JupyterLab takes its arrow keys to walk from cell to cell; a SelectionSlider keeps them."""
    for cell in code(notebook):
        assert not re.search(r"interact\([^;]*=\s*(list\(|\[|\{|\()|Dropdown|Select\(", cell.source)


# ---- the stored outputs ----

def test_outputs_come_from_one_run_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_error_and_no_failed_check_is_stored(notebook):
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert "not yet." not in output.get("text", "")
        assert "not written yet" not in output.get("text", "")


def test_every_check_passed_in_the_stored_run(notebook):
    for cell in code(notebook):
        if cell.source.startswith("check("):
            assert "passed" in cell.outputs[0]["text"], cell.source


def test_no_widget_no_warning_and_no_progress_bar_is_stored(path, notebook):
    assert "widgets" not in notebook.metadata
    for output in outputs(notebook):
        assert not any("widget" in kind for kind in output.get("data", {}))
        assert output.get("name") != "stderr", output.get("text")


def test_every_stored_picture_says_in_words_what_it_shows(notebook):
    pictures = [output for output in outputs(notebook) if "image/png" in output.get("data", {})]
    words = [output.metadata.get("image/png", {}).get("alt", "") for output in pictures]
    assert pictures and all(len(text) >= 20 for text in words), words
    assert len(set(words)) == len(words)               # and no two of them the same


def test_text_in_figures_has_at_least_9_points_and_no_lesson_shrinks_its_figures(notebook):
    """At 100 dots an inch; at 72, as one lesson had it, 9 points are read as 7."""
    lines = "\n".join(cell.source for cell in code(notebook))
    assert "figure.dpi" not in lines
    assert all(int(size) >= 9 for size in re.findall(r"(?:font|label)_?size[=(]+(\d+)", lines))


def test_no_figure_is_shown_without_words(notebook):
    assert not any("plt.show()" in cell.source for cell in code(notebook))


def test_no_absolute_path_is_stored(path):
    """In text, not in pictures: base64 may spell anything."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        texts = [cell.source, *(output.get("text", "") for output in cell.get("outputs", []))]
        assert not any(ABSOLUTE.search(text) for text in texts)


def test_nothing_is_loaded_from_the_network(notebook):
    for cell in code(notebook):
        assert not re.search(r"https?://|urllib|requests|%pip|!pip", cell.source), cell.source
    assert not re.search(r"!\[[^]]*\]\(http|<img[^>]+http", prose(notebook))


def test_every_paper_that_is_named_by_its_number_is_a_link_to_it(notebook):
    """Each arXiv:1234.56789 of the text; a number alone would have to be typed into a browser."""
    named = re.findall(r"arXiv:(\d{4}\.\d{4,5})", prose(notebook))
    links = re.findall(r"\[arXiv:(\d{4}\.\d{4,5})\]\(https://arxiv\.org/abs/\1\)", prose(notebook))
    assert links == named


def test_a_stored_notebook_is_below_500_kilobytes(path):
    assert path.stat().st_size < 500_000


def test_the_card_that_is_stored_has_every_expected_value_inside_its_band(path, notebook):
    card = next(cell for cell in code(notebook) if "lesson.card(" in cell.source)
    text = card.outputs[0]["text"]
    assert "outside" not in text and "not measured yet" not in text and "smoke" not in text


def test_expected_values_have_seed_seconds_machine_and_a_band_that_holds_them():
    expected = json.loads((ROOT / "lessons" / "expected.json").read_text())
    assert set(expected) == {path.stem for path in PATHS}
    for name, budgets in expected.items():
        assert "cpu" in budgets and set(budgets) <= BUDGETS
        for one in budgets.values():
            assert one["seeds"][0] == one["seed"] and one["seconds"] > 0 and one["machine"]
            assert set(one["reference"]) == {"chance", "broken"} and one["reference"]["broken"]
            for metric, entry in one["metrics"].items():
                assert entry["band"][0] <= entry["value"] <= entry["band"][1], (name, metric)


# ---- what a student opens ----

def test_a_lesson_runs_up_to_its_first_exercise(path, notebook, monkeypatch, tmp_path, capsys):
    """With the solution cut out: the check says that the function is not written."""
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("MINIDALLE_RUNS", str(tmp_path))
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    monkeypatch.setenv("MINIDALLE_QUIET", "1")
    names = {"__name__": "__main__"}
    with plt.rc_context():
        for cell in code(notebook):
            source = re.sub(r"(\s*)### BEGIN SOLUTION.*### END SOLUTION",
                            r"\1raise NotImplementedError", cell.source, flags=re.S)
            exec(compile(source, f"<{path.stem}>", "exec"), names)
            if source.startswith("check("):
                break
    assert "not written yet" in capsys.readouterr().out
