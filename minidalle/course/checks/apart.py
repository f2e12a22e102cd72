r"""Apart: the process in which a student's notebook runs.

in -> out   requests from the grader -> what a cell stopped with, what a function answered
idea        The grader (course/grade.py) keeps the notebook, the inputs, the right answers and
            the verdicts to itself. Here cells run as they would in a notebook, and functions are
            called with the arguments that the grader sends. What passes is asked once more in
            a second process, where none of the notebook's other code has run: nothing of ours
            can have been replaced there. walls.py says what else is kept out.
left out    a sandbox of our own: how much is walled off depends on the system
"""
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from types import ModuleType

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from minidalle.course.checks import walls
from minidalle.course.checks.gradients import gradients_of
from minidalle.course.checks.messages import LIMIT, Line, packed, rebuilt
from minidalle.course.checks.reading import read_cells
from minidalle.course.checks.running import (
    Outcome,
    Reply,
    TimeUp,
    ask,
    by_alarm,
    failure,
    packages_own,
)


def main(plan: dict) -> None:
    """Two processes with one start: in the one the notebook runs, in the other nothing but its
    imports and functions. Each answers until the grader hangs up."""
    if plan["walls"]:
        walls.build(**plan["walls"])
    walls.limit(plan["cpu"])
    os.chdir(plan["folder"])
    sys.path.insert(0, plan["folder"])
    first, second = (socket.socket(fileno=number) for number in plan["sockets"])
    one = forked(lambda: serve(Notebook(), Line(first)), second)
    two = forked(lambda: serve(Alone(one), Line(second)), first)
    first.close()
    second.close()
    for child in (one, two):
        os.waitpid(child, 0)


def forked(work, other: socket.socket) -> int:
    """The number of a child that does this and nothing else."""
    if child := os.fork():
        return child
    other.close()
    with suppress(ConnectionError):
        work()
    os._exit(0)


def serve(room, line: Line) -> None:
    me = os.getpid()
    line.send({"id": "ready"})
    while True:
        request = line.receive()
        if "function" in request:
            answer = {"reply": reply(room.names.get(request["function"]),
                                     rebuilt(request["calls"]), request["seconds"],
                                     request["gradients"])}
        else:
            answer = room.answer(request)
        if os.getpid() != me:      # the notebook has forked, and this is not the one that is asked
            os._exit(0)
        line.send({"id": request["id"], **answer})


class Notebook:
    """The whole notebook, cell by cell."""

    def __init__(self):
        self.shell = quiet_shell()
        self.names = self.shell.user_ns

    def answer(self, request: dict) -> dict:
        if "read" in request:      # first, while nothing of the student's has run here
            return read(request["read"], request["names"], request["seconds"])
        return {"error": run_cell(self.shell, request["cell"], request["seconds"])}


class Alone:
    """Only imports, functions and plain values; and of the checks only a check that does nothing.
    What a cell did to the other process, it did not do here."""

    def __init__(self, other: int):
        walls.prctl(walls.DUMPABLE, 0)         # so that no other process looks into this one
        self.other, self.names = other, {"__name__": "__main__"}

    def answer(self, request: dict) -> dict:
        with suppress(OSError):
            os.kill(self.other, signal.SIGKILL)
        for name in [name for name in sys.modules if name.startswith("minidalle.course.checks")]:
            del sys.modules[name]
        empty = sys.modules["minidalle.course.checks"] = ModuleType("minidalle.course.checks")
        empty.check = lambda *anything: None
        with suppress(TimeUp):
            by_alarm(lambda: self.define(request["define"], request["names"]), request["seconds"])
        return {}

    def define(self, sources: list[str], wanted: list[str]) -> None:
        for source in sources:
            before = {name: self.names.get(name) for name in wanted}
            with suppress(Exception, SystemExit):
                exec(compile(source, "<notebook>", "exec"), self.names)
            self.names.update({name: old for name, old in before.items()
                               if callable(old) and not is_own(self.names.get(name))})


def is_own(value) -> bool:
    """A function of the student's: neither a result of its name nor the package's, shown later."""
    return callable(value) and packages_own(value) is None


def quiet_shell() -> InteractiveShell:
    """What runs cells, magics and all. It shows no traceback: nobody is looking."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **options: None
    return shell


def read(sources: list[str], names: list[str], seconds: float) -> dict:
    """What the cells bind, or that they cannot be read in time."""
    try:
        return by_alarm(lambda: read_cells(sources, names), seconds)
    except TimeUp:
        return {"late": True}


def run_cell(shell: InteractiveShell, source: str, seconds: float) -> str | None:
    """What the cell stopped with, in a line; None if it ran to its end."""
    try:
        done = by_alarm(lambda: shell.run_cell(source, store_history=True), seconds)
        error = done.error_before_exec or done.error_in_exec
    except BaseException as stop:
        error = stop
    if error is None:
        return None
    if isinstance(error, TimeUp):
        return f"the end of the {seconds:g} seconds that a cell may take"
    found = failure(error)
    return f"{found.kind}: {(found.text.splitlines() or [''])[0][:120]}".rstrip(" :")


def reply(function, calls: list[tuple], seconds: float, gradients: bool) -> list:
    """What came of asking, as plain data; what cannot be sent counts as a crash."""
    try:
        asked = gradients_of(function) if gradients else function
        answer = packages_own(function) or ask(asked, calls, seconds)
    except BaseException as error:             # KeyboardInterrupt, or an alarm that rang late
        answer = Reply(tuple(Outcome(error=failure(error)) for _ in calls))
    try:
        data = packed(answer)
        if len(json.dumps(data)) < LIMIT:
            return data
        error = ValueError("the answer is too large")
    except Exception as stop:
        error = stop
    crash = replace(failure(error), lines=())
    return packed(Reply(tuple(Outcome(error=crash) for _ in calls)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
