r"""Grading: what passes in a student's notebook, exercise by exercise.

in -> out   notebook files -> a Grade each: lesson, points, and a Verdict for every exercise
idea        Each notebook runs afresh in a process of its own (checks/apart.py), cell by cell. Only
            a function that the notebook itself makes counts. Right behind its cell the grader
            draws inputs, has them answered over there, and judges the answers here. What passes
            is asked again in a second process, in which none of the other code has run. The last
            definition in a notebook is the one that counts. sandbox.py runs it, evening.py many at
            once, and reports.py says what came of it.
left out    marks for style; and a function that calls the package's own answer passes: what looks
            so is to be read by eye
"""
import difflib
import hashlib
import json
import os
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import minidalle
from minidalle.course.checks import Exercise, Result, Verdict, exercises
from minidalle.course.sandbox import Apart, Limits, Stopped, isolation, last_name

PACKAGE = Path(minidalle.__file__).resolve().parent
LARGEST = 10 * 2 ** 20         # bytes of a notebook; a lesson with all its pictures has 0.5 MB
CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")


@dataclass(frozen=True)
class Grade:
    file: Path
    lesson: str = ""           # empty if it cannot be told
    verdicts: dict[str, Verdict] = field(default_factory=dict)     # in the order of the lesson
    seconds: float = 0.0
    note: str = ""             # why it could not be graded, or where it was stopped
    ran: bool = True           # False if it could not be graded
    eye: tuple[str, ...] = ()  # what in it should be read by a person

    def points(self, name: str) -> int:
        return earned(self.verdicts[name])

    @property
    def total(self) -> int:
        return sum(map(self.points, self.verdicts))

    @property
    def out_of(self) -> int:
        return sum(points_of()[name] for name in self.verdicts)


def earned(verdict: Verdict) -> int:
    """All points, or for a part of what was asked a part of them, rounded down."""
    got, of = (1, 1) if verdict.passed else verdict.part
    return points_of()[verdict.name] * got // of


@cache
def points_of() -> dict[str, int]:
    return {one.name: one.points for one in exercises()}


# ---- the notebook as a file -----------------------------------------------------------------

def contents(path: Path) -> bytes:
    """ValueError says why there are none."""
    if not os.path.exists(path):
        raise ValueError("there is no such file")
    if not os.path.isfile(path):
        raise ValueError("it is a folder, or another thing that is no file")
    try:
        if os.path.getsize(path) > LARGEST:
            raise ValueError(f"it has {os.path.getsize(path) / 2 ** 20:.0f} MB, and "
                             f"{LARGEST // 2 ** 20} are the most: clear its outputs")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error


def read_all(paths: list[Path]) -> dict[Path, bytes]:
    """Before the first of them runs, so that none can change another."""
    texts = {}
    for path in paths:
        with suppress(ValueError):             # said when its turn comes
            texts[path] = contents(path)
    return texts


def read_notebook(path: Path) -> dict:
    """The notebook as plain data, checked as far as we use it. ValueError says what it is."""
    return notebook_of(contents(path))


def notebook_of(data: bytes) -> dict:
    try:
        notebook = json.loads(data.decode("utf-8-sig"))        # an editor may put a mark in front
    except (ValueError, RecursionError) as error:
        what = "is empty" if not data else "is no JSON" if not isinstance(
            error, UnicodeDecodeError) else "is not in UTF-8: open it in Jupyter and save it"
        raise ValueError(f"it is not a notebook: the file {what}") from error
    version = notebook.get("nbformat") if isinstance(notebook, dict) else None
    if type(version) is int and version != 4:
        raise ValueError(f"it is a notebook of format {version}, and 4 is needed: open it in "
                         "Jupyter and save it")
    if version != 4 or not isinstance(notebook.get("cells"), list) \
            or not all(map(is_cell, notebook["cells"])):
        raise ValueError("it is JSON, but not a notebook")
    return notebook


def is_cell(cell) -> bool:
    source = cell.get("source") if isinstance(cell, dict) else None
    lines = source if isinstance(source, list) else [source]
    return all(isinstance(line, str) for line in lines)


def source_of(cell: dict) -> str:
    return "".join(cell["source"])


def code_cells(notebook: dict) -> list[str]:
    return [source_of(cell) for cell in notebook["cells"] if cell.get("cell_type") == "code"]


def lesson_of(notebook: dict, path: Path) -> str:
    """From the start of the file's name, or the notebook's metadata, or the exercises that it
    checks: a name is seen by everybody, and the other two by nobody."""
    if found := lesson_named(path.name):
        return found
    lessons = {one.name: one.lesson for one in exercises()}
    named = said_lesson(notebook)
    if named in lessons.values():
        return named
    checked = CHECKED.findall("\n".join(code_cells(notebook)))
    if found := Counter(lessons[name] for name in checked if name in lessons):
        return found.most_common(1)[0][0]
    if isinstance(named, str) and re.fullmatch(r"\d\d_\w+", named):
        return named                           # a lesson without exercises
    raise ValueError("which lesson it is cannot be told; let its name begin with that of the "
                     f"lesson, such as {next(iter(lessons.values()))}, or give --lesson")


def said_lesson(notebook: dict):
    """What its metadata say."""
    ours = notebook.get("metadata") or {}
    ours = ours.get("minidalle") if isinstance(ours, dict) else None
    return ours.get("lesson") if isinstance(ours, dict) else None


def lesson_named(name: str) -> str:
    """The lesson that a file's name begins with, whole or by its number; empty if none."""
    number = re.match(r"\d\d(?!\d)", name)
    return next((one.lesson for one in exercises()
                 if number and one.lesson.startswith(number[0])), "")


def chosen_lesson(text: str) -> str:
    """--lesson 03, or 03_transformer."""
    if not (found := lesson_named(text)) or not found.startswith(text):
        known = ", ".join(dict.fromkeys(one.lesson for one in exercises()))
        raise ValueError(f"--lesson is {text}; choose from {known}")
    return found


# ---- the files that judge -----------------------------------------------------------------

def package_digest() -> str:
    """Of all files that judge. A student's code could change them where there are no walls."""
    whole = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        whole.update(f"{file}\0".encode() + file.read_bytes() + b"\0")
    return whole.hexdigest()


def check_package() -> None:
    if package_digest() != AT_START:
        raise OSError(f"the files in {PACKAGE} have changed since the grading began, perhaps by a "
                      "notebook that was graded: put them right (git status), and grade again, "
                      "one notebook at a time or in a container")


AT_START = package_digest()


# ---- a grade --------------------------------------------------------------------------------

def graded(path: Path, budget: str = "smoke", limits: Limits = Limits(),  # noqa: B008
           lesson: str = "", data: bytes | None = None, isolate: str = "none") -> Grade:
    """Run the notebook and judge its exercises. A file that is no notebook gets no points and a
    note. `data` is what stood in the file, where it was read before."""
    if not hasattr(os, "killpg"):
        raise OSError("grading needs Linux or macOS: on Windows, use WSL")
    check_package()
    start = time.monotonic()
    try:
        data = contents(path) if data is None else data
        notebook = notebook_of(data)
        lesson = lesson or lesson_of(notebook, path)
    except ValueError as error:
        lesson = lesson or lesson_named(path.name)
        return Grade(path, lesson, nothing(lesson), note=str(error), ran=False)
    cells, verdicts = code_cells(notebook), nothing(lesson)
    here = [one for one in exercises() if one.lesson == lesson]
    tasks = {last_name(one): one for one in here if not isinstance(one, Result)}
    road = next((one for one in here if isinstance(one, Result)), None)
    file = handed_in(path, lesson) if road else None
    note, eye = otherwise(notebook, lesson), ()
    if file or any(re.search(rf"\b{name}\b", source) for name in tasks for source in cells):
        with Apart(path, data, budget, limits, isolation(isolate), beside_of(file)) as apart:
            try:
                if file:                       # first, while nothing of the student's has run
                    verdicts[road.name] = said = apart.result(road)
                    eye = () if said.state == "crashed" else (f"{road.name}: {said.message}",)
                found = apart.read(cells, list(tasks))
                eye += tuple(by_eye(found))
                absent_ones(found["cells"], tasks, verdicts)
                note = run_cells(apart, cells, found["cells"], tasks, verdicts) or note
                confirm(apart, found["alone"], tasks, verdicts)
            except Stopped as stop:
                note = f"the notebook was stopped before its first cell: {stop}"
        check_package()
    elif tasks:
        note = note or (f"it has none of the functions of {lesson}: is it that lesson's notebook?")
    return Grade(path, lesson, verdicts, time.monotonic() - start, note, eye=eye)


def otherwise(notebook: dict, lesson: str) -> str:
    """A note, if the notebook itself says that it is another lesson."""
    said = said_lesson(notebook)
    known = {one.lesson for one in exercises()} - {lesson}
    return f"graded as {lesson}, and the notebook says that it is {said}" if said in known else ""


def nothing(lesson: str) -> dict[str, Verdict]:
    """The verdicts on a notebook without a function."""
    return {one.name: Verdict(one.name, "undefined", None, f"no {one.lesson}.pt lies beside the "
                              "notebook") if isinstance(one, Result) else absent(one)
            for one in exercises() if one.lesson == lesson}


def handed_in(path: Path, lesson: str) -> Path | None:
    """The file of a Result that belongs to a notebook: of its name, of the lesson's where the
    folder has one notebook only, or of the same number in Canvas's names."""
    mine = re.match(r"[^_]+(_LATE)?_\d+_", path.name)
    alone = len(list(path.parent.glob("*.ipynb"))) == 1
    found = [path.with_suffix(".pt"), *([path.parent / f"{lesson}.pt"] if alone else []),
             *(sorted(path.parent.glob(f"{mine[0]}*{lesson}*.pt")) if mine else [])]
    return next((file for file in found if file.is_file()), None)


def beside_of(file: Path | None) -> dict[str, Path]:
    """What a road is drawn and read with: copied to where the notebook's processes find it."""
    if file is None:
        return {}
    from minidalle.course.results import judge_file  # it brings all that trains

    return {"hand_in.pt": file, "judge.pt": judge_file()}


def by_eye(found: dict) -> list[str]:
    """What to look at, in half sentences."""
    odd = [f"code cell {number} has {', '.join(cell['marks'])}"
           for number, cell in enumerate(found["cells"], 1) if cell["marks"]]
    return odd + [f"{name} uses {', '.join(parts)}" for name, parts in found["borrowed"].items()]


def absent_ones(cells: list[dict], tasks: dict[str, Exercise], verdicts: dict[str, Verdict]
                ) -> None:
    """Say which name was perhaps meant."""
    made = sorted({name for cell in cells for name in cell["made"] + cell["bound"]} - tasks.keys())
    for name, exercise in tasks.items():
        if near := difflib.get_close_matches(name, made, n=1, cutoff=0.8):
            verdicts[exercise.name] = absent(exercise, f"; is {near[0]} meant for it?")


def run_cells(apart: Apart, cells: list[str], found: list[dict], tasks: dict[str, Exercise],
              verdicts: dict[str, Verdict]) -> str:
    """Fill in the verdicts, cell by cell. Returns where the notebook was stopped, if it was."""
    for number, (source, cell) in enumerate(zip(cells, found), 1):
        asked = None
        try:
            error = apart.run(source)
            for name in sorted(tasks.keys() & {*cell["made"], *cell["bound"]}):
                asked = tasks[name]
                verdict = broken(asked, number, error) if error else apart.judge(asked)
                if counts(verdict, name in cell["made"], verdicts[asked.name]):
                    verdicts[asked.name] = verdict
        except Stopped as stop:
            note = f"the notebook was stopped in code cell {number}: {stop}"
            if asked:
                verdicts[asked.name] = ended(asked, str(stop))
            for name in tasks.keys() & {one for cell in found[number - 1:] for one in cell["made"]}:
                if verdicts[tasks[name].name].state == "undefined":
                    verdicts[tasks[name].name] = unreached(tasks[name], number)
            return note
    return ""


def confirm(apart: Apart, sources: list[str], tasks: dict[str, Exercise],
            verdicts: dict[str, Verdict]) -> None:
    """What passed must pass again where nothing has run but imports and functions."""
    left = [one for one in tasks.values() if earned(verdicts[one.name])]
    try:
        if left:
            apart.define(sources, list(tasks))
        while left:
            again = apart.judge(left[0], alone=True)
            if earned(again) < earned(verdicts[again.name]):
                # a test that draws its inputs may catch less the second time: that counts
                verdicts[again.name] = again if again.state == "some" else \
                    not_alone(left[0], again.message)
            left.pop(0)
    except (Stopped, OSError) as error:
        for one in left:
            verdicts[one.name] = not_alone(one, str(error))


def not_alone(exercise: Exercise, why: str) -> Verdict:
    return Verdict(exercise.name, "alone", None, "It passes in the notebook, but not where only "
                   f"the notebook's imports, functions and plain values are. There: {why}")


def counts(verdict: Verdict, made: bool, before: Verdict) -> bool:
    """Whether it takes the place of the one before. A result may be called as the function that
    it comes from: logits = logits(images, texts) takes no point away."""
    return made or before.state == "undefined" or verdict.state not in ("type", "broken")


def absent(exercise: Exercise, more: str = "") -> Verdict:
    return Verdict(exercise.name, "undefined", None,
                   f"no cell defines {last_name(exercise)}{more}")


def broken(exercise: Exercise, number: int, error: str) -> Verdict:
    return Verdict(exercise.name, "broken", None, f"code cell {number} stopped with {error}")


def unreached(exercise: Exercise, number: int) -> Verdict:
    return Verdict(exercise.name, "unreached", None,
                   f"the notebook was stopped in code cell {number}")


def ended(exercise: Exercise, why: str) -> Verdict:
    """The notebook came to its end while this function was at work."""
    state = "crashed" if why.startswith("its process") else "timeout"
    return Verdict(exercise.name, state, None, f"The notebook was stopped while this function was "
                   f"at work: {why}.")
