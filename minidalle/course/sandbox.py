r"""The sandbox: the processes in which a student's notebook runs, and what they are kept from.

in -> out   a notebook file -> Apart, which runs its cells and judges its functions from outside
idea        The notebook gets a process of its own (checks/apart.py), one in which nothing but its
            functions are, and one for what its test is tried on. The grader sends inputs and
            judges answers; nothing of the judging is over there. What else can be kept out, is
            (checks/walls.py): each layer that the system has is used, and LAYERS names them.
left out    a container of its own for each notebook (see Containerfile), Windows
"""
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Generator

import minidalle
from minidalle.course.checks import (
    SECONDS,
    Exercise,
    Hunt,
    Result,
    Verdict,
    judged,
    learnable,
    valued,
    walls,
)
from minidalle.course.checks.hunting import hunted, sought, suspects
from minidalle.course.checks.messages import LONG, Line, plain, unpacked
from minidalle.course.checks.running import Reply
from minidalle.download import data_folder

PACKAGE = Path(minidalle.__file__).resolve().parent
ROOT = PACKAGE.parent
PASSED = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
          "GOMP_SPINCOUNT")

LARGEST = 16 * 2 ** 20         # bytes of a road that is handed in; that of DALL-E 2 has 6 MB
ALL = ("bwrap", "unshare", "landlock", "none")
LAYERS = {                     # what keeps a notebook from harm -> by which ways it is had
    "its own process group": ALL,
    "limits on memory, files, processes and time": ALL,
    "read-only but for its own folder": ALL[:3],
    "other submissions out of sight": ALL[:3],
    "no signal to other processes": ALL[:3],
    "no network": ALL[:2]}


@dataclass(frozen=True)
class Limits:
    total: float = 300.0       # seconds of a notebook, from its first cell
    cell: float = 60.0         # a cell is stopped after them, and the next one runs
    function: float = SECONDS  # an exercise's function, for all rounds
    grace: float = 5.0         # what cannot be stopped is ended, and with it the notebook
    start: float = 120.0       # until a process has loaded PyTorch


class Stopped(Exception):
    """The notebook's process does not answer any more; says why."""


def last_name(exercise: Exercise) -> str:
    """What the function is called in the notebook."""
    return exercise.name.rpartition(".")[2]


class Apart:
    """A process with a notebook's cells in it, and one with its functions alone; ended, with all
    that they started, on leaving."""

    def __init__(self, path: Path, data: bytes, budget: str, limits: Limits,
                 isolate: str = "none", beside: dict[str, Path] | None = None):
        self.limits, self.isolate = limits, isolate
        self.temporary = TemporaryDirectory(prefix="minidalle-", ignore_cleanup_errors=True)
        home = os.path.realpath(self.temporary.name)
        folder = Path(home) / "work"
        folder.mkdir()
        (folder / path.name).write_bytes(data)
        self.beside = {name: os.path.join(home, name) for name in beside or {}}
        for name, file in (beside or {}).items():
            if file.stat().st_size <= 2 * LARGEST:     # else nothing is there, and it is said
                shutil.copy(file, self.beside[name])
        self.before = walls.descendants(os.getpid())
        walls.prctl(walls.SUBREAPER, 1)        # what hides from its parent becomes ours
        walls.prctl(walls.DUMPABLE, 0)         # and looks into none of our files
        pairs = [socket.socketpair() for _ in range(3)]
        self.line, self.alone, self.bank = (Line(ours) for ours, _ in pairs)
        theirs = [end.fileno() for _, end in pairs]
        plan = {"sockets": theirs, "folder": str(folder), "cpu": cpu_seconds(limits),
                "walls": [isolate, room(home, path)]}
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

    def result(self, exercise: Result) -> Verdict:
        """A road that was handed in draws over there. None of the notebook's code may have run."""
        try:
            answer = self.say({"result": exercise.name, **self.beside}, self.limits.cell, self.bank)
        except Stopped as stop:                # the notebook itself may be as good as any
            answer = {"error": str(stop)}
        name, right, of = (answer.get(key) for key in ("name", "right", "of"))
        if type(right) is int and type(of) is int and 0 <= right <= of and of:
            return valued(exercise, str(name)[:LONG], right, of)
        return Verdict(exercise.name, "crashed", None, "The file that was handed in could not be "
                       f"drawn with: {str(answer.get('error'))[:LONG]}.")

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
    """What walls.py is told: where the user lives, and the other submissions, are hidden; what
    Python needs is not, and of the repository nothing but the package and the data."""
    here = {str(ROOT), os.getcwd()}            # where submissions may lie
    kept = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path)
            if os.path.isdir(path)} - here
    kept |= {str(path) for path in (PACKAGE, ROOT / "data", data_folder().resolve())
             if path.is_dir()}
    folders = [Path.home()] if notebook is None else [Path.home(), *notebook.resolve().parents[:2]]
    hidden = [str(folder.resolve()) for folder in folders if fit_to_hide(folder.resolve(), kept)]
    return {"scratch": home, "hidden": hidden, "kept": sorted(kept), "listed": [str(ROOT)],
            "files": [str(ROOT / "lessons" / "expected.json")]}


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
    for one in ALL[:3] if wanted == "auto" else (wanted,):
        if one == "none" or works(one):
            return one
    if wanted == "auto":
        return "none"
    raise OSError(f"--isolate is {wanted}, and {wanted} cannot be used here; choose auto or none, "
                  "and grade the work of strangers in a container")


def described(isolate: str) -> str:
    """The layers that are used, and those that are not had."""
    have = [name for name, ways in LAYERS.items() if isolate in ways]
    lack = [name for name in LAYERS if name not in have]
    return f"{isolate}: {', '.join(have)}" + (f"; not had: {', '.join(lack)}" if lack else "")


def works(isolate: str) -> bool:
    """Whether a room can be built here, tried with a process that does nothing in it."""
    with TemporaryDirectory(prefix="minidalle-") as home:
        home = os.path.realpath(home)
        told = room(home)
        act = [walls.__file__, json.dumps([isolate, told])]
        words = [*prefix(isolate, told), sys.executable, *act]
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(words, capture_output=True, timeout=20).returncode == 0
    return False
