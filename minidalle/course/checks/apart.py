r"""Apart: the process in which a student's notebook runs.

in -> out   requests from the grader -> what a cell stopped with, what a function answered
idea        The grader (course/grade.py) keeps the notebook, the inputs, the right answers and
            the verdicts to itself. Here cells run as they would in a notebook, and functions are
            called with the arguments that the grader sends. What passes is asked once more in
            a second process, where none of the notebook's other code has run: nothing of ours
            can have been replaced there. The functions that a student's test is tried on run in a
            third one: here there is nothing of them to be seen but answers. walls.py says what
            else is kept out.
left out    a sandbox of our own: how much is walled off depends on the system
"""
import builtins
import json
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from minidalle.course.checks import walls
from minidalle.course.checks.gradients import gradients_of
from minidalle.course.checks.hunting import asked, known, suspects
from minidalle.course.checks.messages import LIMIT, LONG, Line, packed, plain, rebuilt
from minidalle.course.checks.reading import read_cells
from minidalle.course.checks.running import (
    Outcome,
    Reply,
    TimeUp,
    ask,
    by_alarm,
    call,
    failure,
    packages_own,
)


def main(plan: dict) -> None:
    """Three processes with one start: in the one the notebook runs, in the other nothing but its
    imports and functions, in the last what its test is tried on. Each answers until the grader
    hangs up."""
    way, told = plan["walls"]
    if way == "unshare":
        walls.build(told["scratch"], told["hidden"], told["kept"])
    if way != "none" and walls.landlock():
        walls.fence(told["scratch"], told["kept"], told["listed"], told["files"])
    walls.limit(plan["cpu"])
    os.chdir(plan["folder"])
    sys.path.insert(0, plan["folder"])
    walls.prctl(walls.DUMPABLE, 0)             # it holds all ends: nobody takes one from it
    ends = [socket.socket(fileno=number) for number in plan["sockets"]]
    one = forked(lambda line: serve(Notebook(), line), ends, 0)
    two = forked(lambda line: serve(Alone(one), line), ends, 1)
    three = forked(lambda line: serve(Bank(), line), ends, 2)
    left = dict(zip((one, two, three), ends))
    while left:                                # in a room it also sees off what lost its parent
        gone, _ = os.wait()
        if end := left.pop(gone, None):        # the grader shall know, though `unshare` and what
            with suppress(OSError):            # the notebook has started may hold this end too
                end.shutdown(socket.SHUT_RDWR)


def forked(work, ends: list[socket.socket], own: int) -> int:
    """The number of a child that does this with its own end, and nothing else."""
    if child := os.fork():
        return child
    for number, end in enumerate(ends):
        if number != own:
            end.close()
    with suppress(ConnectionError):
        work(Line(ends[own]))
    os._exit(0)


def serve(room, line: Line) -> None:
    me = os.getpid()
    line.send({"id": "ready"})
    while True:
        request = line.receive()
        if "suspects" in request:
            answer = {"reply": tried(room.names.get(request["function"]), line, request)}
        elif "function" in request:
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
        walls.prctl(walls.DUMPABLE, 1)         # or it could not look into itself either
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


class Bank:
    """The functions that a student's test is tried on. None of the student's code runs here."""

    def __init__(self):
        walls.prctl(walls.DUMPABLE, 0)
        self.names, self.suspects = {}, []

    def answer(self, request: dict) -> dict:
        if "result" in request:
            return drawn_and_read(request)
        if "hunt" in request:
            self.suspects = suspects(known(request["hunt"]), request["seed"])
            return {}
        try:
            function = self.suspects[request["call"]].function
            args, names = rebuilt(request["args"]), rebuilt(request["names"])
            outcome = by_alarm(lambda: call(partial(function, **names), args), request["seconds"])
            error, answer = outcome.error, plain(outcome.answer)
            if error is None and len(json.dumps(answer)) < LIMIT:
                return {"answer": answer}
        except (Exception, TimeUp) as stop:
            error = failure(stop)
        return {"error": [error.kind, error.text[:LONG]] if error else
                ["ValueError", "the answer is too large"]}


def drawn_and_read(request: dict) -> dict:
    """What came of a road that was handed in, or why nothing did."""
    from minidalle.course import results  # it brings all that trains

    try:
        found = by_alarm(lambda: results.read_for(request["result"], Path(request["hand_in.pt"]),
                                                  Path(request["judge.pt"])), request["seconds"])
    except TimeUp:
        return {"error": f"it was not done after {request['seconds']:g} seconds"}
    except Exception as stop:
        return {"error": failure(stop).short()}
    return {"name": found.name, "right": found.right, "of": found.of}


class Far:
    """A function in another process, of which nothing can be seen but its answers."""

    def __init__(self, line: Line, asked: str, number: int):
        self.line, self.asked, self.number = line, asked, number

    def __call__(self, *args, **names):
        token = secrets.token_hex(8)
        self.line.send({"id": self.asked, "call": self.number, "token": token,
                        "args": plain(args), "names": plain(names)})
        answer = {}
        while answer.get("token") != token:    # what belongs to a call that was stopped, is left
            answer = self.line.receive()
        if "error" in answer:
            raise error_of(*answer["error"])
        return rebuilt(answer["answer"])


def error_of(kind: str, text: str) -> Exception:
    """An exception of the same kind, where it is one of Python's own."""
    made = getattr(builtins, kind, None)
    with suppress(TypeError):
        if issubclass(made, Exception):
            return made(text)
    return RuntimeError(f"{kind}: {text}")


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
    return sent(answer)


def tried(test, line: Line, request: dict) -> list:
    """What came of running a test on functions far away."""
    functions = [Far(line, request["id"], number) for number in range(request["suspects"])]
    try:
        answer = packages_own(test) or asked(request["answer"], test, functions,
                                             request["seconds"])
    except BaseException as error:
        answer = Reply(tuple(Outcome(error=failure(error)) for _ in functions))
    return sent(answer)


def sent(answer: Reply) -> list:
    """A reply as plain data."""
    try:
        data = packed(answer)
        if len(json.dumps(data)) < LIMIT:
            return data
        error = ValueError("the answer is too large")
    except Exception as stop:
        error = stop
    crash = replace(failure(error), lines=())
    return packed(Reply(tuple(Outcome(error=crash) for _ in answer.outcomes)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
