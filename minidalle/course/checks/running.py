r"""Running: somebody else's function, called with care.

in -> out   a function and the arguments of several calls -> a Reply: an Outcome each, or why not
idea        Nothing that a student writes may take the notebook down, and nothing may reach back
            to us: each call gets its own copy of the arguments, its answer is copied, what it
            raises is caught (exit() too), and a loop that never ends is stopped by an alarm.
left out    a sandbox. The function runs in this process and may do what the process may: whoever
            grades strangers gives them a process and a machine of their own.
"""
import ctypes
import functools
import inspect
import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import minidalle
from minidalle.course.checks.answers import frozen

AGAIN = 0.1                    # seconds from one alarm to the next, if the first was swallowed
PATIENCE = 5                   # alarms for a thread that swallows them
LONG = 160                     # letters of what an error says
FRAMES = 4                     # of a traceback; a recursion without an end has a thousand
# none; no function; it takes others; too slow; not the student's own; a test that calls the answer
REASONS = ("", "type", "arguments", "timeout", "imported", "answer")
HERE = str(Path(minidalle.__file__).parent)
LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class TimeUp(BaseException):
    """Not an Exception, so that `except Exception` in the student's loop does not swallow it."""


@dataclass(frozen=True)
class Failure:
    """What a call raised, in words. The same kind with the same text is the same failure."""
    kind: str                                                   # the name of its type
    text: str
    lines: tuple[str, ...] = field(default=(), compare=False)   # where in the student's code
    unwritten: bool = field(default=False, compare=False)

    def short(self) -> str:
        """On one line of at most LONG letters, which ends at a word, without a full stop."""
        what = (self.text.splitlines() or [""])[0]
        if len(what) > LONG:
            what = what[:LONG + 1].rpartition(" ")[0] or what[:LONG]    # or a word without an end
        return f"{self.kind}: {what}".rstrip(" .:")

    def functions(self) -> list[str]:
        """The names of the student's, from the one that was called to the one that raised."""
        return [line.rpartition(", in ")[2] for line in self.lines if line.startswith("line ")]


@dataclass(frozen=True)
class Outcome:
    answer: object = None
    error: Failure | None = None
    given: tuple = ()               # the arguments as the call left them


@dataclass(frozen=True)
class Reply:
    """An outcome for each call; or a reason, which is the state of a Verdict, and its words."""
    outcomes: tuple[Outcome, ...] = ()
    reason: str = ""                # one of REASONS
    text: str = ""                  # what it takes, or how it was stopped
    lines: tuple[str, ...] = ()     # where it was stopped


def ask(function: Callable, calls: Sequence[tuple], seconds: float,
        limit: Callable | None = None) -> Reply:
    """What comes of calling the function with each tuple of arguments. The limit is by_alarm
    where that is possible; by_thread also ends the wait for what will not be stopped."""
    if not callable(function):
        return Reply(reason="type")
    if takes := misfit(function, calls[0]):
        return Reply(reason="arguments", text=takes)
    try:
        return Reply(tuple(outcomes(function, calls, seconds, limit)))
    except TimeUp as error:
        return Reply((), "timeout", str(error), tuple(their_lines(error)))


def packages_own(function) -> Reply | None:
    """The refusal of what was only imported, or bound to another name."""
    while isinstance(function, functools.partial):
        function = function.func
    home = str(getattr(function, "__module__", ""))
    if callable(function) and home.startswith("minidalle."):
        return Reply(reason="imported", text=home)
    return None


def misfit(function: Callable, args: tuple) -> str | None:
    """What the function takes, if it cannot be called with so many arguments; None if it can."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return str(inspect.signature(function))
    except ValueError:         # a function written in C does not tell what it takes
        return None
    return None


def outcomes(function: Callable, calls: Sequence[tuple], seconds: float,
             limit: Callable | None = None) -> list[Outcome]:
    """One Outcome for each tuple of arguments; TimeUp if all together take longer."""
    main = threading.current_thread() is threading.main_thread()
    limit = limit or (by_alarm if main and hasattr(signal, "setitimer") else by_thread)
    return limit(lambda: [call(function, args) for args in calls], seconds)


def call(function: Callable, args: tuple) -> Outcome:
    given = frozen(args)
    try:
        answer = frozen(function(*given))
        return Outcome(answer, given=frozen(given))
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:          # exit() raises SystemExit, which is no Exception
        return Outcome(error=failure(error))


def failure(error: BaseException) -> Failure:
    try:
        text = str(error)
    except Exception:                       # an exception of the student's own, with a flaw
        text = ""
    return Failure(type(error).__name__, text, tuple(their_lines(error)), is_unwritten(error))


def by_alarm(work: Callable, seconds: float):
    """work(), stopped by a signal: on Linux and macOS, in the main thread."""
    def ring(number, frame):
        raise TimeUp("It was stopped")

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, *timer)    # somebody else's alarm goes on


def by_thread(work: Callable, seconds: float):
    """work() in a thread of its own, stopped when time is up, or given up on if it does not let
    itself be stopped: Windows, another thread, and what must not hold up a notebook."""
    done, stopped = [], []

    def worker():
        try:
            done.append(work())
        except TimeUp as error:
            stopped.append(error)

    thread = threading.Thread(target=worker, daemon=True)
    thread.start()
    thread.join(seconds)
    for _ in range(PATIENCE):
        if thread.is_alive():                  # it may swallow the first, as an alarm
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident),
                                                       ctypes.py_object(TimeUp))
            thread.join(AGAIN)
    if done:
        return done[0]
    if stopped:
        raise TimeUp("It was stopped").with_traceback(stopped[0].__traceback__)
    raise TimeUp("It still runs in the background until you restart the kernel")


def their_lines(error: BaseException) -> list[str]:
    """The traceback without our frames and those of libraries: two lines for each of theirs."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((HERE, "<frozen", *LIBRARIES))]
    lines = []
    for frame in theirs[:1] + theirs[1:][-FRAMES:]:
        lines.append(f"line {frame.lineno}, in {frame.name}")
        lines += [f"    {frame.line}"] if frame.line else []
    return lines


def is_unwritten(error: BaseException) -> bool:
    """Raised by the student's own `raise NotImplementedError`, not by PyTorch, which has it too."""
    lines = their_lines(error) if isinstance(error, NotImplementedError) else []
    return bool(lines) and (lines[-1].startswith("line ") or "raise" in lines[-1])
