r"""Grading: what passes in a student's notebook, exercise by exercise.

in -> out   notebook files -> a Grade each: lesson, points, and a Verdict for every exercise
idea        Each notebook runs afresh in a process of its own (checks/apart.py), cell by cell. Only
            a function that the notebook itself defines counts. Right behind its cell the grader
            draws inputs, has them answered over there, and judges the answers here, where nothing
            that a student writes can reach. The last definition in a notebook is the one that
            counts. A notebook that cannot be stopped otherwise is ended with all its processes.
left out    a sandbox (use a container), limits on memory and disk, Windows, marks for style; and a
            function that calls the package's own answer passes: glance at the code
"""
import ast
import csv
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Generator

import minidalle
from minidalle.checkpoint import write
from minidalle.course.checks import (
    SECONDS,
    WIDTH,
    Exercise,
    Verdict,
    exercises,
    judged,
    learnable,
)
from minidalle.course.checks.messages import LONG, Line, plain, unpacked

ROOT = Path(minidalle.__file__).resolve().parent.parent
TIMED = re.compile(r"\A\s*%%(time|capture)\b.*\n")       # magics whose cell still defines names
CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")
WORDS = {"unwritten": "not written yet", "type": "returns the wrong type",
         "shape": "returns the wrong shape", "dtype": "returns the wrong dtype",
         "wrong": "returns wrong values", "mutates": "changes its input", "crashed": "crashes",
         "arguments": "takes other arguments", "timeout": "does not come to an end",
         "detached": "lets no gradient through"}


@dataclass(frozen=True)
class Limits:
    total: float = 300.0       # seconds of a notebook, from its first cell
    cell: float = 60.0         # a cell is stopped after them, and the next one runs
    function: float = SECONDS  # an exercise's function, for all rounds
    grace: float = 5.0         # what cannot be stopped is ended, and with it the notebook
    start: float = 120.0       # until a process has loaded PyTorch


@dataclass(frozen=True)
class Grade:
    file: Path
    lesson: str = ""           # empty if the file could not be graded
    verdicts: dict[str, Verdict] = field(default_factory=dict)     # in the order of the lesson
    seconds: float = 0.0
    note: str = ""             # why it could not be graded, or where it was stopped

    def points(self, name: str) -> int:
        return points_of()[name] if self.verdicts[name].passed else 0

    @property
    def total(self) -> int:
        return sum(map(self.points, self.verdicts))

    @property
    def out_of(self) -> int:
        return sum(points_of()[name] for name in self.verdicts)


class Stopped(Exception):
    """The notebook's process does not answer any more; says why."""


@cache
def points_of() -> dict[str, int]:
    return {one.name: one.points for one in exercises()}


# ---- the notebook as a file -----------------------------------------------------------------

def read_notebook(path: Path) -> dict:
    """The notebook as plain data, checked as far as we use it. ValueError says what it is."""
    if not os.path.exists(path):
        raise ValueError("there is no such file")
    if not os.path.isfile(path):
        raise ValueError("it is a folder, or another thing that is no file")
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        what = "is no JSON" if os.path.getsize(path) else "is empty"
        raise ValueError(f"it is not a notebook: the file {what}") from error
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
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
    """From the notebook's metadata, or the start of its name, or the exercises that it checks."""
    lessons = {one.name: one.lesson for one in exercises()}
    ours = notebook.get("metadata") or {}
    ours = ours.get("minidalle") if isinstance(ours, dict) else None
    named = ours.get("lesson") if isinstance(ours, dict) else None
    if named in lessons.values():
        return named
    if found := [one for one in lessons.values() if path.name.startswith(one)]:
        return found[0]
    checked = CHECKED.findall("\n".join(code_cells(notebook)))
    if found := Counter(lessons[name] for name in checked if name in lessons):
        return found.most_common(1)[0][0]
    if isinstance(named, str) and re.fullmatch(r"\d\d_\w+", named):
        return named                           # a lesson without exercises
    raise ValueError("which lesson it is cannot be told; let its name begin with that of the "
                     f"lesson, such as {next(iter(lessons.values()))}")


def definitions(source: str) -> set[str]:
    """The functions that a cell defines at its top level; magics may stand around them."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")    # those of the student's strings
            tree = ast.parse(TransformerManager().transform_cell(TIMED.sub("", source)))
    except Exception:                          # it will not run, and is found to have been meant
        return set(re.findall(r"^def (\w+)", source, re.MULTILINE))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# ---- the process ----------------------------------------------------------------------------

class Apart:
    """A process with a notebook's cells in it; ended, with all that it started, on leaving."""

    def __init__(self, folder: Path, budget: str, limits: Limits):
        self.limits, self.temporary = limits, TemporaryDirectory(
            prefix="minidalle-", ignore_cleanup_errors=True)
        ours, theirs = socket.socketpair()
        self.line, home = Line(ours), self.temporary.name
        words = [sys.executable, "-m", "minidalle.course.checks.apart", str(theirs.fileno()),
                 str(folder)]
        with theirs:
            self.process = subprocess.Popen(
                words, cwd=home, env=environment(home, budget), pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True)
        self.until = time.monotonic() + limits.start

    def __enter__(self) -> "Apart":
        try:
            self.line.receive(self.limits.start)
        except BaseException as error:         # Ctrl-C too: no process may be left behind
            self.__exit__()
            if not isinstance(error, OSError):
                raise
            raise OSError("no process could be started to run notebooks in; python -m "
                          "minidalle.course.checks.apart says why") from error
        self.until = time.monotonic() + self.limits.total
        return self

    def __exit__(self, *error) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.line.end.close()
        self.temporary.cleanup()

    def say(self, request: dict, seconds: float) -> dict:
        """The answer to this request, and to no other."""
        token = secrets.token_hex(8)
        until = min(self.until, time.monotonic() + seconds + self.limits.grace)
        try:
            self.line.send({**request, "seconds": seconds, "id": token},
                           max(until - time.monotonic(), 0.001))
            while True:
                answer = self.line.receive(until - time.monotonic())
                if answer.get("id") == token:
                    return answer
        except TimeoutError as error:
            late = time.monotonic() >= self.until
            raise Stopped(f"its {self.limits.total:g} seconds were over" if late else
                          "it could not be interrupted") from error
        except OSError as error:
            raise Stopped("its process ended") from error

    def run(self, source: str) -> str | None:
        """Run a cell: what it stopped with, or None."""
        error = self.say({"cell": source}, self.limits.cell).get("error")
        return None if error is None else str(error)[:LONG]

    def judge(self, exercise: Exercise) -> Verdict:
        calls = exercise.calls(Generator().manual_seed(secrets.randbits(32)))
        verdict = self.judge_by(judged, exercise, calls)
        if verdict.passed and exercise.learns:
            return self.judge_by(learnable, exercise, calls[:1], gradients=True)
        return verdict

    def judge_by(self, judge: Callable, exercise: Exercise, calls: list[tuple],
                 gradients: bool = False) -> Verdict:
        """Inputs go over, answers or gradients come back, and are judged here."""
        seconds = self.limits.function
        request = {"function": last_name(exercise), "calls": [plain(args) for args in calls],
                   "gradients": gradients}
        answer = self.say(request, seconds)
        try:
            reply = unpacked(answer["reply"])
        except Exception as error:             # nothing of ours would answer so
            raise Stopped("its process sent nonsense") from error
        if not reply.reason and len(reply.outcomes) != len(calls):
            raise Stopped("its process sent nonsense")
        try:
            return judge(exercise, calls, reply, seconds)
        except Exception as error:             # one odd answer must not stop the grading of others
            return Verdict(exercise.name, "type", None, "Your answer cannot be compared with the "
                           f"right one ({type(error).__name__}).")


def environment(home: str, budget: str) -> dict[str, str]:
    """That of the child: it draws nothing, is silent, and keeps its files out of the user's."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths)),
            "MPLBACKEND": "Agg", "MINIDALLE_QUIET": "1", "MINIDALLE_BUDGET": budget,
            "MINIDALLE_RUNS": str(Path(home) / "runs"), "IPYTHONDIR": str(Path(home) / "ipython")}


# ---- a grade --------------------------------------------------------------------------------

def graded(path: Path, budget: str = "smoke", limits: Limits = Limits()) -> Grade:  # noqa: B008
    """Run the notebook and judge its exercises. A file that is no notebook gets only a note."""
    if not hasattr(os, "killpg"):
        raise OSError("grading needs Linux or macOS: on Windows, use WSL")
    start = time.monotonic()
    try:
        notebook = read_notebook(path)
        lesson = lesson_of(notebook, path)
    except ValueError as error:
        return Grade(path, note=str(error))
    cells = code_cells(notebook)
    tasks = {last_name(one): one for one in exercises() if one.lesson == lesson}
    made = [tasks.keys() & definitions(source) for source in cells]
    verdicts = {one.name: absent(one) for one in tasks.values()}
    note = ""
    if any(made):
        with Apart(path.resolve().parent, budget, limits) as apart:
            note = run_cells(apart, cells, made, tasks, verdicts)
    return Grade(path, lesson, verdicts, time.monotonic() - start, note)


def run_cells(apart: Apart, cells: list[str], made: list[set[str]], tasks: dict[str, Exercise],
              verdicts: dict[str, Verdict]) -> str:
    """Fill in the verdicts, cell by cell. Returns where the notebook was stopped, if it was."""
    for number, (source, names) in enumerate(zip(cells, made), 1):
        asked = None
        try:
            error = apart.run(source)
            for name in sorted(names):
                asked = tasks[name]
                verdicts[asked.name] = broken(asked, error) if error else apart.judge(asked)
        except Stopped as stop:
            note = f"the notebook was stopped in code cell {number}: {stop}"
            if asked:
                verdicts[asked.name] = ended(asked, str(stop))
            for name in set().union(*made[number - 1:]):
                if verdicts[tasks[name].name].state == "undefined":
                    verdicts[tasks[name].name] = unreached(tasks[name], number)
            return note
    return ""


def last_name(exercise: Exercise) -> str:
    """What the function is called in the notebook."""
    return exercise.name.rpartition(".")[2]


def absent(exercise: Exercise) -> Verdict:
    return Verdict(exercise.name, "undefined", None, f"no cell has def {last_name(exercise)}")


def broken(exercise: Exercise, error: str) -> Verdict:
    return Verdict(exercise.name, "broken", None, f"its cell stopped with {error}")


def unreached(exercise: Exercise, number: int) -> Verdict:
    return Verdict(exercise.name, "unreached", None,
                   f"the notebook was stopped in code cell {number}")


def ended(exercise: Exercise, why: str) -> Verdict:
    """The notebook came to its end while this function was at work."""
    state = "crashed" if why.startswith("its process") else "timeout"
    return Verdict(exercise.name, state, None, f"The notebook was stopped while this function was "
                   f"at work: {why}.")


# ---- the report -----------------------------------------------------------------------------

def report(grade: Grade, verbose: bool = False) -> str:
    """A line for the file and one for each exercise; with verbose, what the student is told."""
    if not grade.lesson:
        return f"{printable(grade.file)}: 0 points, {printable(grade.note)}"
    lines = [f"{printable(grade.file)}: {grade.total} of {grade.out_of} "
             f"point{'s'[:grade.out_of != 1]}" + ("" if grade.verdicts else
                                                  f", {grade.lesson} has no exercises")]
    wide = max(map(len, grade.verdicts), default=0)
    for name, verdict in grade.verdicts.items():
        lines.append(f"  {grade.points(name)} of {points_of()[name]}  {name:{wide}}  "
                     f"{printable(label(verdict))}")
        if verbose and verdict.message not in label(verdict) and not verdict.passed:
            lines += textwrap.wrap(printable(verdict.message), WIDTH, initial_indent=" " * 10,
                                   subsequent_indent=" " * 10)
            lines += [" " * 12 + printable(line) for line in verdict.lines]
    return "\n".join([*lines, f"  {printable(grade.note)}"] if grade.note else lines)


def label(verdict: Verdict) -> str:
    """A verdict in a few words."""
    own = {"passed": "passed", "mistake": verdict.mistake, "broken": verdict.message,
           "undefined": f"not defined: {verdict.message}",
           "unreached": f"not reached: {verdict.message}"}
    return own.get(verdict.state) or WORDS[verdict.state]


def printable(text: object) -> str:
    """On one line, and without the codes by which a terminal can be told other things."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def write_csv(path: Path, grades: list[Grade]) -> None:
    """A row for each file; a column for each exercise of the lessons that were graded."""
    lessons = {grade.lesson for grade in grades}
    names = [one.name for one in exercises() if one.lesson in lessons]
    rows = [["file", "lesson", "points", "out_of", *names, "seconds", "note"]]
    for grade in grades:
        states = [grade.verdicts[name].mistake or grade.verdicts[name].state
                  if name in grade.verdicts else "" for name in names]
        rows.append([grade.file, grade.lesson, grade.total, grade.out_of, *states,
                     f"{grade.seconds:.1f}", grade.note])

    def save(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file).writerows([[harmless(cell) for cell in row] for row in rows])
    write(path, save)


def harmless(cell: object) -> str:
    """A spreadsheet takes what begins with these signs for a formula, and runs it."""
    text = printable(cell)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
