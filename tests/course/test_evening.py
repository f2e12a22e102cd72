"""Many notebooks: jobs that fall, evenings that are cut off, and what other systems are given.

Jobs are processes and cost seconds, so one evening here holds all that may happen to one.
"""
import csv
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from staged import MARK, staged
from test_grade import HEAD, RIGHT, notebook

from minidalle.course import evening, grade
from minidalle.course.checks import Verdict
from minidalle.course.commands import main
from minidalle.course.evening import FELL, Book, Task, grade_all, keep, kept
from minidalle.course.grade import Grade, nothing
from minidalle.course.reports import (
    FORMATS,
    Student,
    one_each,
    reader,
    translated,
    write_csv,
)
from minidalle.course.sandbox import Limits

SCORED = {"clip.unit": 1, "clip.logits": 2, "clip.contrastive_loss": 3}


def alive() -> bool:
    return MARK in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_a_job_that_is_killed_or_hangs_costs_its_own_notebook_and_no_other(monkeypatch):
    """Five notebooks on two jobs; what the killed one has left behind is ended, too."""
    tasks = staged("a", "kill", "hang", "b", "c")
    tasks[2] = replace(tasks[2], limits=Limits(total=-1000))           # its time is over at once
    monkeypatch.setattr(evening, "GRACE", 0.2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(evening, "cores", lambda: 4)
    done = {task.file.stem: found for task, found in grade_all(tasks, 2)}
    assert len(done) == 5
    for name, found in done.items():
        fell = name in ("04_kill", "04_hang")
        assert (found.ran, found.note) == (not fell, FELL if fell else "2"), name
    assert done["04_kill"].total == 0 and done["04_kill"].lesson == "04_clip"
    assert not alive()


def test_what_stops_the_grading_itself_stops_the_evening():
    with pytest.raises(OSError, match="the files have changed"):
        list(grade_all(staged("stop", "a"), 1))


# ---- on from where it was cut off

def scored(file: str, points: dict = SCORED, lesson: str = "04_clip", **rest) -> Grade:
    verdicts = {**nothing(lesson), **{name: Verdict(name, "passed", None, "well done")
                                      for name in points}}
    verdicts["clip.repeats"] = Verdict("clip.repeats", "crashed", None, "It fell.", ("line 2",))
    verdicts["clip.test_it"] = Verdict("clip.test_it", "some", None, "You caught 7 of 10 mistakes.",
                                       later="One that slipped through: x.", part=(7, 10))
    return Grade(Path(file), lesson, verdicts, 12.3, eye=("cell 2 has gc",), **rest)


def test_a_grade_comes_back_as_it_was_kept_and_a_torn_line_is_passed_over(tmp_path):
    file = tmp_path / "grades.jsonl"
    keep(file, "a", scored("a.ipynb"))
    with open(file, "a") as out:
        out.write('["b", {"file": "b.ip')                # the evening was cut off here
        for odd in ('["d", {"file": "d", "verdicts": []}]', '["d", null]', "7", '[["d"], {}]',
                    '["d", {"verdicts": {"clip.unit": null}}]', "\0" * 9):
            out.write(f"\n{odd}\n")
    keep(file, "c", scored("c.ipynb", {}, note="x"))
    assert kept(file) == {"a": scored("a.ipynb"), "c": scored("c.ipynb", {}, note="x")}
    assert kept(None) == kept(tmp_path / "none") == {}


def test_a_road_that_is_too_large_is_not_read_when_the_evening_begins(tmp_path):
    notebook(tmp_path / "08_dalle.ipynb", "pass")
    task = Task(tmp_path / "08_dalle.ipynb", b"")
    file = tmp_path / "08_dalle.pt"
    assert task.road == ""
    file.write_bytes(b"small")
    small = task.road
    with open(file, "ab") as out:
        out.truncate(2 ** 42)                  # four million MB, and none of them on the disk
    assert len({small, task.road, ""}) == 3


def test_what_was_graded_is_taken_and_what_has_changed_is_graded_anew(tmp_path, monkeypatch):
    graded = []
    monkeypatch.setattr(evening, "grade_all", lambda tasks, jobs: (
        (task, graded.append(task.file.name) or scored(task.file)) for task in tasks))
    file = tmp_path / "grades.jsonl"
    tasks = [Task(tmp_path / name, data) for name, data in (("a", b"1"), ("b", b"2"), ("c", None))]
    assert len([*Book(tasks, file).go(1)]) == 3 and graded == ["a", "b", "c"]
    moved = replace(tasks[0], file=tmp_path / "new" / "a")
    again = Book([moved, replace(tasks[1], data=b"3"), replace(tasks[2], budget="cpu")], file)
    assert again.taken == 1 and [one.file for one in again.done()] == [moved.file]
    assert [one.file.name for one in again.go(1)] == ["a", "b", "c"] and graded[3:] == ["b", "c"]
    assert [one.file.name for one in again.done()] == ["a", "b", "c"]
    monkeypatch.setattr(grade, "AT_START", "another package")
    assert Book(tasks, file).taken == 0 and Book(tasks, None).taken == 0


# ---- who wrote it

@pytest.mark.parametrize("path, name, number", [
    ("w3/Anna Muster_4711_assignsubmission_file_/03_transformer.ipynb", "Anna Muster", "4711"),
    ("w3/Anna Muster_4711_assignsubmission_file/03_transformer.ipynb", "Anna Muster", "4711"),
    ("Ann_B_4711_assignsubmission_file_03_transformer.ipynb", "Ann_B", "4711"),
    ("w3/musteranna_4711_99_03_transformer.ipynb", "musteranna", "4711"),
    ("w3/musteranna_LATE_4711_99_03_transformer-1.ipynb", "musteranna", "4711"),
    ("w3/03_transformer_anna.ipynb", "anna", ""), ("w3/03_anna_b.ipynb", "anna_b", ""),
    ("w3/03-anna.ipynb", "anna", ""), ("anna/03_transformer.ipynb", "anna", ""),
    ("anna/03.ipynb", "anna", ""), ("anna/work.ipynb", "anna", "")])
def test_the_student_is_read_from_the_names_that_are_usual(path, name, number):
    assert reader(None)(Path(path)) == Student(name, number)


@pytest.mark.parametrize("pattern, path, name, number", [
    ("{student}/03_*.ipynb", "w3/anna.b/03_x.ipynb", "anna.b", ""),
    ("{student}-{id}/*/?3.ipynb", "w3/anna-12/a/03.ipynb", "anna", "12"),
    ("hw_{student}.ipynb", "w3/hw_anna.ipynb", "anna", ""),
    ("hw_{id}.ipynb", "w3/hw_12.ipynb", "", "12"),
    ("hw_{student}.ipynb", "w3/other.ipynb", "other", ""),      # does not fit: its own name
    ("{student}/a.ipynb", "w3/axipynb", "axipynb", "")])
def test_a_pattern_says_where_the_student_stands(pattern, path, name, number):
    assert reader(pattern)(Path(path)) == Student(name, number), translated(pattern)


def test_a_pattern_without_a_student_is_refused_before_anything_is_graded(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "a.ipynb"), "--student", "*.ipynb"]) == 2
    assert "does not say where the student's name is; write {student}" in capsys.readouterr().err


def test_a_pattern_that_fits_no_file_is_refused_and_files_that_it_does_not_fit_are_named(
        tmp_path, capsys):
    """Or all would be called 03, and the best of them would be everybody's grade."""
    files = [tmp_path / name / "03.ipynb" for name in ("anna", "ben")]
    for file in files:
        file.parent.mkdir()
        file.write_text("no notebook")
    words = ["grade", str(tmp_path), "--isolate", "none", "--student"]
    assert main([*words, "hw_{student}.ipynb"]) == 2
    assert f"--student is hw_{{student}}.ipynb, and fits none of 2 files, such as {files[0]}" \
        in capsys.readouterr().err
    assert main([*words, "ann{student}/*.ipynb"]) == 2          # for neither is a notebook
    said = capsys.readouterr()
    assert f"--student does not fit {files[1]}" in said.err and "is no JSON" in said.out


def test_folders_in_which_there_is_no_notebook_are_named(tmp_path, capsys):
    for name in ("anna/03.ipynb", "anna/figures/a.png", "ben/03.py", "cleo/work/03.txt", ".git/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    main(["grade", str(tmp_path), "--isolate", "none"])
    assert f"no notebook is in {tmp_path / 'ben'}, {tmp_path / 'cleo'}\n" \
        in capsys.readouterr().err
    main(["grade", str(tmp_path / "anna"), "--isolate", "none"])
    assert "no notebook is in" not in capsys.readouterr().err


# ---- what is written

ANNA, BEN = "Anna_1_assignsubmission_file_/04.ipynb", "=Ben_2_assignsubmission_file_/04.ipynb"


def rows(file: Path) -> list[dict]:
    return list(csv.DictReader(file.open(encoding="utf-8")))


def test_the_table_has_student_points_total_and_what_the_student_may_be_told(tmp_path):
    write_csv(tmp_path / "a.csv", [scored(ANNA), scored(BEN, {})], reader(None))
    anna, ben = rows(tmp_path / "a.csv")
    total = sum(one.points for one in grade.exercises() if one.lesson == "04_clip")
    assert (anna["student"], anna["lesson"], anna["points"], anna["total"]) == (
        "Anna", "04_clip", str(1 + 2 + 3 + 2), str(total))
    assert anna["clip.unit"] == "passed" and anna["clip.test_it points"] == "2"
    assert "clip.unit: 1 of 1. clip.logits: 2 of 2." in anna["messages"]
    assert "clip.repeats: 0 of 2. It fell." in anna["messages"]
    assert "2 of 3. You caught 7 of 10 mistakes. One that slipped through: x." in anna["messages"]
    write_csv(tmp_path / "a.csv", [scored(ANNA, {}, note="it was stopped")], reader(None))
    said = rows(tmp_path / "a.csv")[0]["messages"]
    assert said.endswith("slipped through: x. (it was stopped)")       # why some was not reached
    assert "not defined: no cell defines unit. clip.logits: 0" in said
    assert ben["student"] == "'=Ben" and "gc" not in ben["messages"]      # no formula, no suspicion


def test_moodle_gets_the_columns_that_its_importer_asks_for(tmp_path):
    assert FORMATS["moodle"](tmp_path / "m.csv", [scored(ANNA)], reader(None)) == []
    row, = rows(tmp_path / "m.csv")
    assert list(row)[:5] == ["Identifier", "Full name", "Grade", "Maximum grade",
                             "Last modified (grade)"]
    assert (row["Identifier"], row["Full name"], row["Grade"]) == ("Participant 1", "Anna", "8")


def test_canvas_gets_its_own_first_columns_and_the_points_possible(tmp_path):
    files = ["anna_11_99_04_clip.ipynb", "ben_LATE_12_98_04_clip.ipynb"]
    assert FORMATS["canvas"](tmp_path / "c.csv", [*map(scored, files)], reader(None)) == []
    first, second, anna, ben = csv.reader((tmp_path / "c.csv").open())
    assert first == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "04_clip"]
    assert second[0] == "    Points Possible" and int(second[5]) == scored("a").out_of
    assert anna == ["anna", "11", "", "", "", "8"] and ben[:2] == ["ben", "12"]


def test_the_best_of_a_student_counts_and_what_is_doubtful_is_said():
    one, two = scored(ANNA, {}), scored(ANNA.replace("04", "04_b"))
    best, notes = one_each([one, two, scored("ben/04.ipynb")], reader(None))
    assert best[Student("Anna", "1")] is two
    assert notes[0] == "Anna handed in several notebooks; the best counts"
    assert notes[1].startswith("without a number: ben.")
    with pytest.raises(ValueError, match="of 03_transformer and 04_clip, and one assignment"):
        one_each([one, Grade(Path("x"), "03_transformer")], reader(None))


def test_gradescope_gets_a_test_for_each_exercise_and_no_suspicion(tmp_path):
    FORMATS["gradescope"](tmp_path / "results.json", [scored(ANNA)], reader(None))
    text = (tmp_path / "results.json").read_text()
    results = json.loads(text)
    tests = {one["name"]: one for one in results["tests"]}
    assert sum(one["score"] for one in tests.values()) == 8
    assert sum(one["max_score"] for one in tests.values()) == scored("a").out_of
    assert tests["clip.unit"]["status"] == "passed" and tests["clip.unit"]["output"] == ""
    assert tests["clip.repeats"]["output"] == "It fell.\n  line 2"
    assert results["execution_time"] == 12 and results["stdout_visibility"] == "hidden"
    assert "gc" not in json.dumps(results["tests"]) + results["output"]
    FORMATS["gradescope"](tmp_path / "results.json", [scored(ANNA), scored(BEN)], reader(None))
    results = json.loads((tmp_path / "results.json").read_text())
    gone = Grade(Path("no.ipynb"), "04_clip", nothing("04_clip"), note="it is not there", ran=False)
    FORMATS["gradescope"](tmp_path / "none.json", [gone], reader(None))
    none = json.loads((tmp_path / "none.json").read_text())
    assert none["output"] == "Hand in one notebook: there is none."
    assert results["score"] == 0 and "Hand in one notebook: there are 2." in results["output"]


@pytest.mark.parametrize("words, said", [
    (["--format", "moodle"], "--format and --out belong together"),
    (["--out", "a.csv"], "--format and --out belong together"),
    (["--format", "gradescope", "--out", "a.csv"], "--out is a.csv; name a file that ends in .j"),
    (["--format", "canvas", "--out", "a.ipynb"], "name a file that ends in .csv")])
def test_no_format_is_written_over_a_notebook(capsys, words, said):
    assert main(["grade", "a.ipynb", *words]) == 2
    assert said in capsys.readouterr().err


# ---- as on Gradescope's machine

def test_the_zip_runs_as_gradescope_would_run_it_and_leaves_results(tmp_path):
    """Unpacked into source, run_autograder copied up beside submission and results, and started
    there; the package that grades is the one in the zip."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import gradescope
    sys.path.pop(0)
    base = tmp_path / "autograder"
    packed = tmp_path / "03.zip"
    assert gradescope.main(["03", "--out", str(packed)]) == 0
    with zipfile.ZipFile(packed) as archive:
        assert {"setup.sh", "run_autograder"} <= {*archive.namelist()}
        assert archive.getinfo("run_autograder").external_attr >> 16 == 0o755
        archive.extractall(base / "source")
    run = base / "run_autograder"
    run.write_bytes((base / "source" / "run_autograder").read_bytes())
    run.chmod(0o755)
    for script in (run, base / "source" / "setup.sh"):
        assert subprocess.run(["bash", "-n", script]).returncode == 0
    notebook(base / "submission" / "my work.ipynb", HEAD, RIGHT["softmax"])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([run], cwd=base, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PATH": path, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((base / "results" / "results.json").read_text())
    tests = {one["name"]: one for one in results["tests"]}
    assert tests["transformer.softmax"]["score"] == 1 and tests["transformer.softmax"]["status"] \
        == "passed"
    assert tests["transformer.attention"]["score"] == 0 and len(tests) == 7


def test_the_container_copies_what_is_there():
    root = Path(__file__).parents[2]
    names = [name for line in (root / "Containerfile").read_text().splitlines()
             if line.startswith("COPY") for name in line.split()[1:-1]]
    # the rest of it cannot be written to, so the judge of 08, 13 and 14 is trained elsewhere
    assert "MINIDALLE_RUNS=/tmp/runs" in (root / "Containerfile").read_text()
    assert "minidalle" in names and all((root / name).exists() for name in names)
