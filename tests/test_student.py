"""The students' copies: solutions are gone, the rest is there, and nothing is written over."""
import importlib.util
import json
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from minidalle.course.checks import exercises, judge
from minidalle.course.grade import lesson_of, read_notebook

TOOL = Path(__file__).parent.parent / "tools" / "student.py"
FUNCTIONS = [one.name.partition(".")[2] for one in exercises() if one.lesson == "04_clip"]
BODY = """def {name}(*given):
    \"\"\"What it should do.\"\"\"
    kept = len(given)
    ### BEGIN SOLUTION
    secret_{name} = 7        # a remark

    if kept:
        secret_{name} += (
            1
        )
    return secret_{name}
    ### END SOLUTION"""


@pytest.fixture(scope="module")
def student():
    spec = importlib.util.spec_from_file_location("student_tool", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def cells_of(bodies: dict[str, str] | None = None) -> list:
    """A lesson of CLIP: an exercise and its check, for each function, with outputs."""
    cells = [new_markdown_cell("# CLIP\nSee [the map](figures/map.svg).", id="head")]
    for i, name in enumerate(FUNCTIONS):
        body = (bodies or {}).get(name, BODY.format(name=name))
        output = new_output("stream", text=f"secret_{name} = 7")
        cells += [new_code_cell(body, id=f"cell{i}", execution_count=3, outputs=[output],
                                metadata={"execution": {"iopub.status.idle": "now"},
                                          "tags": ["exercise"]}),
                  new_code_cell(f"check('clip.{name}', {name})", id=f"check{i}")]
    return cells


def lesson(folder: Path, cells: list | None = None, name: str = "04_clip.ipynb") -> Path:
    folder.mkdir(exist_ok=True)
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "secret_unit = 7"}}}
    page = new_notebook(cells=cells or cells_of(), metadata={"widgets": widgets})
    nbformat.write(page, folder / name)
    return folder / name


def says(capsys) -> str:
    """The one sentence of a refusal."""
    error = capsys.readouterr().err
    assert re.fullmatch(r"student\.py: [^\n]+\n", error)
    return error


# ---- what is written

def test_a_copy_has_a_raise_for_each_solution_and_everything_else(student, tmp_path):
    path = lesson(tmp_path / "lessons")
    assert student.main([str(path), "--out", str(tmp_path / "out")]) == 0
    copy, source = nbformat.read(tmp_path / "out" / path.name, 4), nbformat.read(path, 4)
    nbformat.validate(copy)
    assert [cell.id for cell in copy.cells] == [cell.id for cell in source.cells]
    assert copy.cells[1].source == ('def unit(*given):\n    """What it should do."""\n'
                                    "    kept = len(given)\n    raise NotImplementedError")
    assert copy.cells[0] == source.cells[0] and copy.cells[2].source == source.cells[2].source
    assert copy.cells[1].metadata == {"tags": ["exercise"]} and "widgets" not in copy.metadata
    assert all(not cell.outputs and cell.execution_count is None for cell in copy.cells[1:])
    assert "secret" not in (tmp_path / "out" / path.name).read_text()


def test_every_function_of_a_copy_is_unwritten_in_the_words_of_its_check(student, tmp_path):
    student.main([str(lesson(tmp_path)), "--out", str(tmp_path / "out")])
    scope = {"check": lambda name, function: verdicts.append(judge(name, function))}
    verdicts = []
    for cell in nbformat.read(tmp_path / "out" / "04_clip.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
    assert [one.state for one in verdicts] == len(FUNCTIONS) * ["unwritten"]


def test_a_copy_under_another_name_still_knows_its_lesson(student, tmp_path):
    cells = [cell for cell in cells_of() if not cell.source.startswith("check")]
    student.main([str(lesson(tmp_path, cells)), "--out", str(tmp_path / "out")])
    copy = tmp_path / "out" / "04_clip.ipynb"
    renamed = copy.rename(tmp_path / "anna.ipynb")
    assert lesson_of(read_notebook(renamed), renamed) == "04_clip"


def test_the_same_again_is_byte_identical_and_not_refused(student, tmp_path):
    path, copy = lesson(tmp_path / "lessons"), tmp_path / "out" / "04_clip.ipynb"
    assert student.main([str(path), "--out", str(copy.parent)]) == 0
    first = copy.read_bytes()
    assert student.main([str(path), "--out", str(copy.parent)]) == 0
    again = tmp_path / "again" / "04_clip.ipynb"
    student.main([str(path), "--out", str(again.parent)])
    assert copy.read_bytes() == first == again.read_bytes()


def test_what_lies_beside_a_lesson_is_copied_so_that_links_still_work(student, tmp_path):
    path = lesson(tmp_path / "lessons")
    (path.parent / "figures" / "deep").mkdir(parents=True)
    (path.parent / "figures" / "deep" / "map.svg").write_bytes(b"<svg/>")
    (path.parent / "expected.json").write_text("{}")
    (path.parent / "notes.txt").write_text("not this")
    student.main([str(path), "--out", str(tmp_path / "out")])
    assert sorted(str(file.relative_to(tmp_path / "out")) for file in
                  (tmp_path / "out").rglob("*") if file.is_file()) == [
        ".written.json", "04_clip.ipynb", "expected.json", "figures/deep/map.svg"]


# ---- a student's work is never written over

def test_a_copy_that_differs_is_refused_and_nothing_at_all_is_written(student, tmp_path, capsys):
    other = lesson(tmp_path / "lessons", [new_markdown_cell("nothing")], "98_none.ipynb")
    path, out = lesson(tmp_path / "lessons"), tmp_path / "out"
    out.mkdir()
    (out / "04_clip.ipynb").write_text("a student's work")
    assert student.main([str(other), str(path), "--out", str(out)]) == 2
    assert "--force" in says(capsys)
    assert [file.name for file in out.iterdir()] == ["04_clip.ipynb"]
    assert (out / "04_clip.ipynb").read_text() == "a student's work"
    assert student.main([str(other), str(path), "--out", str(out), "--force"]) == 0
    assert len([*out.glob("*.ipynb")]) == 2 and "cells" in (out / "04_clip.ipynb").read_text()


def test_a_copy_that_nobody_changed_follows_its_lesson_and_is_not_refused(student, tmp_path):
    path, copy = lesson(tmp_path / "lessons"), tmp_path / "out" / "04_clip.ipynb"
    assert student.main([str(path), "--out", str(copy.parent)]) == 0
    lesson(path.parent, [*cells_of(), new_markdown_cell("a new section")])
    assert student.main([str(path), "--out", str(copy.parent)]) == 0
    assert "a new section" in copy.read_text()
    copy.write_text(copy.read_text() + " ")
    lesson(path.parent, [*cells_of(), new_markdown_cell("and another")])
    assert student.main([str(path), "--out", str(copy.parent)]) == 2
    assert "a new section" in copy.read_text()


def test_the_lesson_itself_is_not_written_over_even_by_force(student, tmp_path, capsys):
    path = lesson(tmp_path)
    before = path.read_bytes()
    assert student.main([str(path), "--out", str(tmp_path), "--force"]) == 2
    assert "is the lesson itself" in says(capsys) and path.read_bytes() == before


# ---- what make lab opens

@pytest.fixture
def lab(student, tmp_path, monkeypatch, capsys):
    """`make lab` with lessons of its own -> what it prints, and the folder that it opens."""
    monkeypatch.setattr(student, "LESSONS", tmp_path / "lessons")
    lesson(tmp_path / "lessons", [new_markdown_cell("# 04. CLIP: how do they meet?"), *cells_of()])
    lesson(tmp_path / "lessons", [new_markdown_cell("# 98. None: why not?")], "98_none.ipynb")

    def run():
        assert student.main(["--lab", "--out", str(tmp_path / "out")]) == 0
        return capsys.readouterr()
    run.out = tmp_path / "out"
    return run


def test_lab_has_blank_copies_and_a_page_whose_links_lead_to_all_of_them(lab):
    said = lab()
    page = nbformat.read(lab.out / "start_here.ipynb", 4)
    nbformat.validate(page)
    links = re.findall(r"\[(\w+)\]\((\S+)\) \| (.*) \|", page.cells[0].source)
    assert links == [("04_clip", "04_clip.ipynb", "How do they meet?"),
                     ("98_none", "98_none.ipynb", "Why not?")]
    assert "Not here: 00, 01, 02, 03, 05, " in page.cells[0].source
    copies = "".join((lab.out / name).read_text() for _, name, _ in links)
    assert "secret" not in copies + said.out + said.err and "NotImplementedError" in copies


def test_lab_leaves_work_as_it_is_says_so_and_brings_what_is_new(student, lab):
    """The student writes into one copy; both lessons change; the other copy follows."""
    lab()
    work = (lab.out / "04_clip.ipynb").read_text().replace("raise NotImplementedError", "return 7")
    (lab.out / "04_clip.ipynb").write_text(work)
    for name in ("04_clip.ipynb", "98_none.ipynb"):
        text = (student.LESSONS / name).read_text()
        (student.LESSONS / name).write_text(text.replace("# ", "# New. ", 1))
    assert "as you left them: 04_clip.ipynb (" in lab().out
    assert (lab.out / "04_clip.ipynb").read_text() == work
    assert "# New. 98" in (lab.out / "98_none.ipynb").read_text()
    (lab.out / "04_clip.ipynb").rename(lab.out / "mine.ipynb")
    assert "as you left them" not in lab().out
    assert "# New. " in (lab.out / "04_clip.ipynb").read_text()
    assert (lab.out / "mine.ipynb").read_text() == work


def test_the_page_to_start_from_follows_the_lessons_though_jupyter_has_saved_it(student, lab):
    lab()
    page = lab.out / "start_here.ipynb"
    page.write_text(page.read_text().replace('"nbformat_minor": 5', '"nbformat_minor": 4'))
    lesson(student.LESSONS, [new_markdown_cell("# 99. More: what else?")], "99_more.ipynb")
    lab()
    assert "[99_more](99_more.ipynb) | What else? |" in page.read_text()


def test_the_page_to_start_from_keeps_the_playground_out_of_the_table_of_lessons(student, lab):
    lesson(student.LESSONS, [new_markdown_cell("# Playground\n\nPlay.")], "playground.ipynb")
    lab()
    text = (lab.out / "start_here.ipynb").read_text()
    assert "[playground](playground.ipynb)" in text and "| [playground]" not in text
    assert (lab.out / "playground.ipynb").exists()


def test_lab_opens_what_was_handed_out_where_the_lessons_were_not(student, lab, monkeypatch):
    lab()
    before = {file.name: file.read_bytes() for file in lab.out.glob("*.ipynb")}
    monkeypatch.setattr(student, "LESSONS", lab.out / "nowhere")
    (lab.out / "start_here.ipynb").unlink()
    lab()
    assert {file.name: file.read_bytes() for file in lab.out.glob("*.ipynb")} == before


def test_lab_without_any_lesson_or_copy_says_so(student, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(student, "LESSONS", tmp_path)
    assert student.main(["--lab", "--out", str(tmp_path / "out")]) == 2
    assert "there is no notebook in" in says(capsys)


@pytest.mark.parametrize("place", ["student", "week3", "submissions"])
def test_git_and_the_linter_pass_over_what_a_course_makes(place):
    """As git itself and the linter's own pattern say."""
    root = TOOL.parent.parent
    project = (root / "pyproject.toml").read_text()
    patterns = re.findall(r'"([^"]+)"', re.search(r"extend-exclude = \[(.*)\]", project)[1])
    assert any(fnmatch(place, pattern) for pattern in patterns)
    if not (root / ".git").exists():
        pytest.skip("not a git repository")
    asked = ["git", "-C", str(root), "check-ignore", f"{place}/03_transformer.ipynb"]
    assert subprocess.run(asked, capture_output=True).returncode == 0


def test_make_lab_opens_the_copies_and_make_sources_the_lessons():
    text = (TOOL.parent.parent / "Makefile").read_text()
    lab, sources = (re.search(rf"^{name}: .*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]
                    for name in ("lab", "sources"))
    assert "student.py --lab" in lab and "cd student &&" in lab and "start_here.ipynb" in lab
    assert "cd lessons &&" in sources and "lessons" not in lab


# ---- refusals

BEGIN, END = "    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"
HEAD = "def unit(x):\n"


@pytest.mark.parametrize("source, words", [
    (HEAD + BEGIN + "    return 1", "without an ### END SOLUTION behind it"),
    (HEAD + "    return 1\n" + END, "without a ### BEGIN SOLUTION before it"),
    (HEAD + END + "    return 1\n" + BEGIN, "without a ### BEGIN SOLUTION before it"),
    (HEAD + BEGIN + BEGIN + "    return 1\n" + END + END, "inside another solution"),
    (HEAD + BEGIN + "    x = 1\n" + END + END, "without a ### BEGIN SOLUTION before it"),
    (HEAD + "    ## BEGIN SOLUTION\n    return 1\n" + END, "write the mark as"),
    (HEAD + "    ### begin solution\n    return 1\n" + END, "write the mark as"),
    (HEAD + BEGIN + "    x = 1    ### END SOLUTION\n    return x", "write the mark as"),
    (HEAD + "    return 1", "defines unit without ### BEGIN SOLUTION"),
    (HEAD + "    return 1\n\n" + BEGIN.strip() + "\nx = 1\n" + END.strip(), "defines unit without"),
    (BODY.format(name="other"), "no cell defines unit, which clip.unit asks for"),
    ("class A:\n    " + HEAD + "        pass", "no cell defines unit"),
    (HEAD + BEGIN.strip() + "\n    return 1\n" + END, "is no Python without its solution")])
def test_what_is_wrong_in_a_cell_is_said_in_one_sentence(student, tmp_path, capsys, source, words):
    path = lesson(tmp_path, cells_of({"unit": source}))
    assert student.main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = says(capsys)
    assert words in said and str(path) in said and not (tmp_path / "out").exists()


def test_a_second_definition_without_marks_is_refused(student, tmp_path, capsys):
    cells = [*cells_of(), new_code_cell("def logits(x):\n    return x")]
    assert student.main([str(lesson(tmp_path, cells)), "--out", str(tmp_path / "out")]) == 2
    assert f"cell {2 * len(FUNCTIONS) + 2} defines logits without" in says(capsys)


@pytest.mark.parametrize("text", ["### BEGIN SOLUTION\n### END SOLUTION", "the ### END SOLUTION"])
def test_marks_outside_code_are_refused(student, tmp_path, capsys, text):
    cells = [*cells_of(), new_markdown_cell(text)]
    assert student.main([str(lesson(tmp_path, cells)), "--out", str(tmp_path / "out")]) == 2
    assert f"cell {2 * len(FUNCTIONS) + 2} has " in says(capsys)


@pytest.mark.parametrize("name, text, words", [
    ("04_clip.ipynb", "{", "is no JSON"), ("gone.ipynb", None, "there is no such file")])
def test_what_is_no_notebook_is_refused(student, tmp_path, capsys, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert student.main([str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    assert words in says(capsys)


def test_two_of_the_same_name_are_refused(student, tmp_path, capsys):
    paths = [str(lesson(tmp_path / folder)) for folder in "ab"]
    assert student.main([*paths, "--out", str(tmp_path / "out")]) == 2
    assert "two of the notebooks are called 04_clip.ipynb" in says(capsys)


def test_without_any_lesson_it_says_so(student, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(student, "LESSONS", tmp_path)
    assert student.main(["--out", str(tmp_path / "out")]) == 2
    assert "there is no notebook in" in says(capsys)


# ---- the proof

@pytest.mark.parametrize("place", ["metadata", "attachment", "notebook"])
def test_a_solution_told_outside_the_cells_text_is_found(student, tmp_path, capsys, place):
    cells = cells_of()
    if place == "metadata":
        cells[3].metadata["answer"] = ["x\n", "secret_unit  = 7", "\n    secret_unit = 7\n"]
    if place == "attachment":
        cells[0]["attachments"] = {"a.txt": {"text/plain": "secret_unit = 7"}}
    path = lesson(tmp_path, cells)
    if place == "notebook":
        page = json.loads(path.read_text())
        path.write_text(json.dumps({**page, "metadata": {"jupytext": "secret_unit = 7"}}))
    assert student.main([str(path), "--out", str(tmp_path / "out")]) == 2
    assert "still holds this line of a solution: 'secret_unit = 7'" in says(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", [
    lambda text: text.replace("raise NotImplementedError", "return 7", 1),
    lambda text: text.replace("# CLIP", "# CLOP", 1),
    lambda text: text.replace('"outputs": []', '"outputs": [{"text": "7"}]', 1),
    lambda text: text.replace('"execution_count": null', '"execution_count": 3', 1)])
def test_a_copy_made_wrongly_is_not_proved(student, tmp_path, spoil):
    path = lesson(tmp_path)
    text, _ = student.copy_of(path)
    cells = read_notebook(path)["cells"]
    assert student.prove(text, cells) == [] and spoil(text) != text
    with pytest.raises(ValueError, match="of the copy"):
        student.prove(spoil(text), cells)


def test_a_line_that_the_lesson_itself_shows_is_only_noted(student, tmp_path, capsys):
    cells = [*cells_of(), new_markdown_cell("Try `secret_unit = 7` first.")]
    assert student.main([str(lesson(tmp_path, cells)), "--out", str(tmp_path / "out")]) == 0
    assert re.fullmatch(rf"note: \S+: cell {2 * len(FUNCTIONS) + 2} shows a line of a solution: "
                        r"secret_unit = 7\n", capsys.readouterr().err)


def test_the_lessons_of_the_course_can_all_be_copied(student, tmp_path):
    """Those that are there; every one of them passes the proof."""
    paths = sorted(student.LESSONS.glob("*.ipynb"))
    if not paths:
        pytest.skip("there are no lessons yet")
    assert student.main(["--out", str(tmp_path / "out")]) == 0
    text = "".join(file.read_text() for file in (tmp_path / "out").glob("*.ipynb"))
    assert "SOLUTION" not in text and len(list((tmp_path / "out").glob("*.ipynb"))) == len(paths)
    written = [one for one in exercises() if any(one.lesson == path.stem for path in paths)]
    assert text.count("raise NotImplementedError") >= len(written)
