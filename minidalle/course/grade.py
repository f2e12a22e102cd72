r"""Grading: what passes in a student's notebook, exercise by exercise.

in -> out   notebook files -> a Grade each: lesson, points, and a Verdict for every exercise
idea        Each notebook runs afresh in a process of its own (checks/apart.py), cell by cell. Only
            a function that the notebook itself makes counts. Right behind its cell the grader
            draws inputs, has them answered over there, and judges the answers here. What passes
            is asked again in a second process, in which none of the other code has run. The last
            definition in a notebook is the one that counts. At the end all that it has started
            is ended, and what else can be kept out, is (checks/walls.py).
left out    a container of its own for each notebook, Windows, marks for style; and a function
            that calls the package's own answer passes: what looks so is to be read by eye
"""
import csv
import difflib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
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
    Hunt,
    Verdict,
    exercises,
    judged,
    learnable,
    walls,
)
from minidalle.course.checks.hunting import hunted, sought, suspects
from minidalle.course.checks.messages import LONG, Line, plain, unpacked
from minidalle.course.checks.running import Reply

ROOT = Path(minidalle.__file__).resolve().parent.parent
PACKAGE = Path(minidalle.__file__).resolve().parent
PASSED = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
          "GOMP_SPINCOUNT")
LARGEST = 10 * 2 ** 20         # bytes of a notebook; a lesson with all its pictures has 0.5 MB
CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")
WORDS = {"unwritten": "not written yet", "type": "returns the wrong type",
         "shape": "returns the wrong shape", "dtype": "returns the wrong dtype",
         "wrong": "returns wrong values", "mutates": "changes its input", "crashed": "crashes",
         "arguments": "takes other arguments", "timeout": "does not come to an end",
         "detached": "lets no gradient through", "imported": "is the package's own function",
         "strict": "rejects a right answer",
         "alone": "passes only with the rest of the notebook: read it by eye"}


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


class Stopped(Exception):
    """The notebook's process does not answer any more; says why."""


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
        what = "is no JSON" if data else "is empty"
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


# ---- the process ----------------------------------------------------------------------------

class Apart:
    """A process with a notebook's cells in it, and one with its functions alone; ended, with all
    that they started, on leaving."""

    def __init__(self, path: Path, data: bytes, budget: str, limits: Limits, isolate: str = "none"):
        self.limits, self.isolate = limits, isolate
        self.temporary = TemporaryDirectory(prefix="minidalle-", ignore_cleanup_errors=True)
        home = os.path.realpath(self.temporary.name)
        folder = Path(home) / "work"
        folder.mkdir()
        (folder / path.name).write_bytes(data)
        self.before = walls.descendants(os.getpid())
        walls.prctl(walls.SUBREAPER, 1)        # what hides from its parent becomes ours
        walls.prctl(walls.DUMPABLE, 0)         # and looks into none of our files
        pairs = [socket.socketpair() for _ in range(3)]
        self.line, self.alone, self.bank = (Line(ours) for ours, _ in pairs)
        theirs = [end.fileno() for _, end in pairs]
        plan = {"sockets": theirs, "folder": str(folder), "cpu": cpu_seconds(limits),
                "walls": room(home, path) if isolate == "unshare" else None}
        words = [sys.executable, "-m", "minidalle.course.checks.apart", json.dumps(plan)]
        try:
            self.process = subprocess.Popen(
                [*prefix(isolate, room(home, path)), *words], cwd=folder,
                env=environment(home, budget), pass_fds=theirs, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        finally:
            for _, end in pairs:
                end.close()
        self.until = time.monotonic() + limits.start

    def __enter__(self) -> "Apart":
        try:
            self.line.receive(self.limits.start)
        except BaseException as error:         # Ctrl-C too: no process may be left behind
            self.__exit__()
            if not isinstance(error, OSError):
                raise
            raise OSError("no process could be started to run notebooks in (--isolate "
                          f"{self.isolate})") from error
        self.until = time.monotonic() + self.limits.total
        return self

    def __exit__(self, *error) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        walls.end_all(self.before)
        walls.prctl(walls.SUBREAPER, 0)
        walls.prctl(walls.DUMPABLE, 1)
        for line in (self.line, self.alone, self.bank):
            line.end.close()
        self.temporary.cleanup()

    def say(self, request: dict, seconds: float, line: Line | None = None,
            called: Callable | None = None) -> dict:
        """The answer to this request, and to no other. Meanwhile there may be calls."""
        line = line or self.line
        token = secrets.token_hex(8)
        until = min(self.until, time.monotonic() + seconds + self.limits.grace)
        try:
            line.send({**request, "seconds": seconds, "id": token},
                           max(until - time.monotonic(), 0.001))
            while True:
                answer = line.receive(until - time.monotonic())
                if answer.get("id") != token:
                    continue
                if "call" not in answer:
                    return answer
                if called:
                    line.send({"token": answer.get("token"), **called(answer)},
                              max(until - time.monotonic(), 0.001))
        except TimeoutError as error:
            late = time.monotonic() >= self.until
            raise Stopped(f"its {self.limits.total:g} seconds were over" if late else
                          "it could not be interrupted") from error
        except OSError as error:
            raise Stopped("its process ended") from error

    def read(self, sources: list[str], names: list[str]) -> dict:
        """What the cells bind. Asked first, so that nobody can have changed the answer."""
        found = self.say({"read": sources, "names": names}, self.limits.cell)
        if found.get("late"):
            raise Stopped(f"its code could not be read in {self.limits.cell:g} seconds")
        return found

    def run(self, source: str) -> str | None:
        """Run a cell: what it stopped with, or None."""
        error = self.say({"cell": source}, self.limits.cell).get("error")
        return None if error is None else str(error)[:LONG]

    def define(self, sources: list[str], names: list[str]) -> None:
        """In the second process: these statements, and nothing else of the notebook."""
        self.until = max(self.until, time.monotonic() + self.limits.cell)
        self.alone.receive(self.limits.start)
        self.say({"define": sources, "names": names}, self.limits.cell, self.alone)

    def judge(self, exercise: Exercise | Hunt, alone: bool = False) -> Verdict:
        line = self.alone if alone else self.line
        if isinstance(exercise, Hunt):
            return self.hunt(exercise, line)
        calls = exercise.calls(Generator().manual_seed(secrets.randbits(32)))
        verdict = self.judge_by(judged, exercise, calls, line)
        if verdict.passed and exercise.learns:
            return self.judge_by(learnable, exercise, calls[:1], line, gradients=True)
        return verdict

    def judge_by(self, judge: Callable, exercise: Exercise, calls: list[tuple], line: Line,
                 gradients: bool = False) -> Verdict:
        """Inputs go over, answers or gradients come back, and are judged here."""
        seconds = self.limits.function
        request = {"function": last_name(exercise), "calls": [plain(args) for args in calls],
                   "gradients": gradients}
        reply = reply_in(self.say(request, seconds, line), len(calls))
        try:
            return judge(exercise, calls, reply, seconds)
        except Exception as error:             # one odd answer must not stop the grading of others
            return Verdict(exercise.name, "type", None, "Your answer cannot be compared with the "
                           f"right one ({type(error).__name__}).")

    def hunt(self, exercise: Hunt, line: Line) -> Verdict:
        """A test is run over there, and what it calls is answered by a process of our own."""
        seed, seconds = secrets.randbits(32), self.limits.function
        self.say({"hunt": exercise.name, "seed": seed}, self.limits.start, self.bank)
        found = suspects(exercise, seed)
        until = time.monotonic() + seconds
        request = {"function": last_name(exercise), "suspects": len(found),
                   "answer": sought(exercise)}
        answer = self.say(request, seconds, line, lambda one: self.called(one, found, until))
        return hunted(exercise, found, reply_in(answer, len(found)), seconds)

    def called(self, message: dict, found: list, until: float) -> dict:
        """What the bank answers to a call that a test has made."""
        number, left = message["call"], until - time.monotonic()
        if type(number) is not int or not 0 <= number < len(found) or left <= 0:
            return {"error": ["TimeoutError", "the time was over"]}
        found[number].asked.append(1)
        token = secrets.token_hex(8)
        try:
            self.bank.send({"call": number, "args": message.get("args"), "id": token,
                            "names": message.get("names"), "seconds": left}, left)
            answer = {}
            while answer.get("id") != token:
                answer = self.bank.receive(until - time.monotonic())
        except OSError:                        # TimeoutError is one of them
            return {"error": ["RuntimeError", "f was given more than it can do"]}
        return {name: answer[name] for name in ("answer", "error") if name in answer}


def reply_in(answer: dict, number: int) -> Reply:
    """With so many outcomes, or a reason why not."""
    try:
        reply = unpacked(answer["reply"])
        if reply.reason or len(reply.outcomes) == number:
            return reply
    except Exception as error:                 # nothing of ours would answer so
        raise Stopped("its process sent nonsense") from error
    raise Stopped("its process sent nonsense")


def environment(home: str, budget: str) -> dict[str, str]:
    """That of the child, and nothing more: it draws nothing, is silent, keeps its files out of the
    user's, and learns no secret that the user has there."""
    ours = {name: value for name, value in os.environ.items()
            if name in PASSED or name.startswith(("MINIDALLE_", "OMP_", "MKL_", "LC_", "CUDA_"))}
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    fonts = Path(home) / "matplotlib"
    fonts.mkdir()
    for file in known_fonts():                 # to find them again would take seconds
        with suppress(OSError):
            shutil.copy(file, fonts)
    return {**ours, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths)), "HOME": home,
            "TMPDIR": home, "MPLCONFIGDIR": str(fonts), "MPLBACKEND": "Agg",
            "PYTHONDONTWRITEBYTECODE": "1", "MINIDALLE_QUIET": "1", "MINIDALLE_BUDGET": budget,
            "MINIDALLE_RUNS": f"{home}/runs", "IPYTHONDIR": f"{home}/ipython"}


def known_fonts() -> list[Path]:
    home = Path.home()
    folders = [os.environ.get("MPLCONFIGDIR", ""), home / ".cache/matplotlib", home / ".matplotlib",
               Path(os.environ.get("XDG_CACHE_HOME", ".")) / "matplotlib"]
    return [file for folder in folders if folder for file in Path(folder).glob("fontlist-*.json")]


def cpu_seconds(limits: Limits) -> int:
    return int((limits.total + limits.start) * (os.cpu_count() or 1)) + 1


# ---- isolation

def room(home: str, notebook: Path | None = None) -> dict:
    """What walls.build is told: where the user lives, and the other submissions, are hidden; what
    Python needs is not."""
    kept = {os.path.realpath(path) for path in (ROOT, sys.prefix, sys.base_prefix, *sys.path)
            if os.path.isdir(path)}
    folders = [Path.home()] if notebook is None else [Path.home(), *notebook.resolve().parents[:2]]
    hidden = [str(folder.resolve()) for folder in folders if fit_to_hide(folder.resolve(), kept)]
    return {"scratch": home, "hidden": hidden, "kept": sorted(kept)}


def fit_to_hide(folder: Path, kept: set[str]) -> bool:
    """No folder of the system's, nor one that is needed or lies in what is."""
    system = map(Path, ("/usr", "/etc", "/dev", "/proc", "/sys", "/tmp"))
    return folder.is_dir() and not any(one.is_relative_to(folder) for one in system) \
        and not any(folder.is_relative_to(one) for one in kept)


def prefix(isolate: str, told: dict) -> list[str]:
    """The words before a command that shut it in."""
    if isolate == "unshare":
        return list(walls.UNSHARE)
    if isolate == "bwrap":
        hidden = [word for path in told["hidden"] for word in ("--tmpfs", path)]
        kept = [word for path in told["kept"] for word in ("--ro-bind", path, path)]
        return ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind",
                "/", "/", "--dev", "/dev", "--proc", "/proc", *hidden, *kept, "--bind",
                told["scratch"], told["scratch"]]
    return []


@cache
def isolation(wanted: str) -> str:
    """Which of bwrap, unshare, none is used where this was asked for. OSError if it cannot be."""
    for one in ("bwrap", "unshare") if wanted == "auto" else (wanted,):
        if one == "none" or works(one):
            return one
    if wanted == "auto":
        return "none"
    raise OSError(f"--isolate is {wanted}, and {wanted} cannot be used here; choose auto or none, "
                  "and grade the work of strangers in a container")


def works(isolate: str) -> bool:
    """Whether a room can be built here, tried with a process that does nothing in it."""
    with TemporaryDirectory(prefix="minidalle-") as home:
        home = os.path.realpath(home)
        told = room(home)
        act = [walls.__file__, json.dumps(told)] if isolate == "unshare" else ["-c", ""]
        words = [*prefix(isolate, told), sys.executable, *act]
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(words, capture_output=True, timeout=20).returncode == 0
    return False


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
    tasks = {last_name(one): one for one in exercises() if one.lesson == lesson}
    note, eye = otherwise(notebook, lesson), ()
    if any(re.search(rf"\b{name}\b", source) for name in tasks for source in cells):
        with Apart(path, data, budget, limits, isolation(isolate)) as apart:
            try:
                found = apart.read(cells, list(tasks))
                eye = tuple(by_eye(found))
                absent_ones(found["cells"], tasks, verdicts)
                note = run_cells(apart, cells, found["cells"], tasks, verdicts) or note
                confirm(apart, found["alone"], tasks, verdicts)
            except Stopped as stop:
                note = f"the notebook was stopped before its first cell: {stop}"
        check_package()
    return Grade(path, lesson, verdicts, time.monotonic() - start, note, eye=eye)


def otherwise(notebook: dict, lesson: str) -> str:
    """A note, if the notebook itself says that it is another lesson."""
    said = said_lesson(notebook)
    known = {one.lesson for one in exercises()} - {lesson}
    return f"graded as {lesson}, and the notebook says that it is {said}" if said in known else ""


def nothing(lesson: str) -> dict[str, Verdict]:
    """The verdicts on a notebook without a function."""
    return {one.name: absent(one) for one in exercises() if one.lesson == lesson}


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


def last_name(exercise: Exercise) -> str:
    """What the function is called in the notebook."""
    return exercise.name.rpartition(".")[2]


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


# ---- the report -----------------------------------------------------------------------------

def report(grade: Grade, verbose: bool = False) -> str:
    """A line for the file and one for each exercise; with verbose, what the student is told."""
    if not grade.ran:
        of = f" of {grade.out_of}" if grade.lesson else ""
        return f"{printable(grade.file)}: 0{of} points, {printable(grade.note)}"
    lines = [f"{printable(grade.file)}: {grade.total} of {grade.out_of} "
             f"point{'s'[:grade.out_of != 1]}" + ("" if grade.verdicts else
                                                  f", {grade.lesson} has no exercises")]
    wide = max(map(len, grade.verdicts), default=0)
    for name, verdict in grade.verdicts.items():
        lines.append(f"  {grade.points(name)} of {points_of()[name]}  {name:{wide}}  "
                     f"{printable(label(verdict))}")
        if verbose and verdict.message not in label(verdict) and not verdict.passed:
            words = printable(f"{verdict.message} {verdict.later}".strip())
            lines += textwrap.wrap(words, WIDTH, initial_indent=" " * 10,
                                   subsequent_indent=" " * 10)
            lines += [" " * 12 + printable(line) for line in verdict.lines]
    lines += [f"  read this by eye: {printable(one)}" for one in grade.eye]
    return "\n".join([*lines, f"  {printable(grade.note)}"] if grade.note else lines)


def label(verdict: Verdict) -> str:
    """A verdict in a few words."""
    own = {"passed": "passed", "mistake": verdict.mistake, "broken": verdict.message,
           "undefined": f"not defined: {verdict.message}",
           "unreached": f"not reached: {verdict.message}",
           "some": "caught {} of {}".format(*verdict.part)}
    return own.get(verdict.state) or WORDS[verdict.state]


def printable(text: object) -> str:
    """On one line, and without the codes by which a terminal can be told other things."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def write_csv(path: Path, grades: list[Grade]) -> None:
    """A row for each file; a column for each exercise of the lessons that were graded."""
    lessons = {grade.lesson for grade in grades}
    names = [one.name for one in exercises() if one.lesson in lessons]
    rows = [["file", "lesson", "points", "out_of", *names, *(f"{name} points" for name in names),
             "seconds", "by eye", "note"]]
    for grade in grades:
        states = [grade.verdicts[name].mistake or grade.verdicts[name].state
                  if name in grade.verdicts else "" for name in names]
        points = [grade.points(name) if name in grade.verdicts else "" for name in names]
        rows.append([grade.file, grade.lesson, grade.total, grade.out_of, *states, *points,
                     f"{grade.seconds:.1f}", "; ".join(grade.eye), grade.note])

    def save(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file).writerows([[harmless(cell) for cell in row] for row in rows])
    write(path, save)


def harmless(cell: object) -> str:
    """A spreadsheet takes what begins with these signs for a formula, and runs it."""
    text = printable(cell)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
