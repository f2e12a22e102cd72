r"""Running: somebody else's function, called with care.

in -> out   a function and the arguments of several calls -> an Outcome each
idea        Nothing that a student writes may take the notebook down, and nothing may reach back
            to us: each call gets its own copy of the arguments, its answer is copied, what it
            raises is caught (exit() too), and a loop that never ends is stopped by an alarm.
left out    a sandbox. The function runs in this process and may do what the process may: whoever
            grades strangers gives them a process and a machine of their own.
"""
import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import minidalle
from minidalle.checks.answers import difference, frozen

AGAIN = 0.1                    # seconds from one alarm to the next, if the first was swallowed
FRAMES = 4                     # of a traceback; a recursion without an end has a thousand
HERE = str(Path(minidalle.__file__).parent)
LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class TimeUp(BaseException):
    """Not an Exception, so that `except Exception` in the student's loop does not swallow it."""


@dataclass(frozen=True)
class Outcome:
    answer: object = None
    error: BaseException | None = None      # what the call raised
    changed: int | None = None              # the first argument that it changed in place


def outcomes(function: Callable, calls: Sequence[tuple], seconds: float) -> list[Outcome]:
    """One Outcome for each tuple of arguments; TimeUp if all together take longer."""
    main = threading.current_thread() is threading.main_thread()
    limit = by_alarm if main and hasattr(signal, "setitimer") else by_thread
    return limit(lambda: [call(function, args) for args in calls], seconds)


def call(function: Callable, args: tuple) -> Outcome:
    given = frozen(args)
    try:
        answer = frozen(function(*given))
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:          # exit() raises SystemExit, which is no Exception
        return Outcome(error=error)
    changed = (i for i, (now, before) in enumerate(zip(given, args)) if difference(now, before, 0))
    return Outcome(answer, changed=next(changed, None))


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
    """work() in a thread of its own, given up on when time is up: Windows, or another thread."""
    done = []
    worker = threading.Thread(target=lambda: done.append(work()), daemon=True)
    worker.start()
    worker.join(seconds)
    if not done:
        raise TimeUp("It still runs in the background until you restart the kernel")
    return done[0]


def their_lines(error: BaseException) -> list[str]:
    """The traceback without our frames and those of libraries: two lines for each of theirs."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((HERE, "<frozen", *LIBRARIES))]
    lines = []
    for frame in theirs[:1] + theirs[1:][-FRAMES:]:
        lines.append(f"line {frame.lineno}, in {frame.name}")
        lines += [f"    {frame.line}"] if frame.line else []
    return lines


def is_unwritten(error: BaseException | None) -> bool:
    """Raised by the student's own `raise NotImplementedError`, not by PyTorch, which has it too."""
    lines = their_lines(error) if isinstance(error, NotImplementedError) else []
    return bool(lines) and (lines[-1].startswith("line ") or "raise" in lines[-1])
