r"""Apart: the process in which a student's notebook runs.

in -> out   requests from the grader -> what a cell stopped with, what a function answered
idea        The grader (course/grade.py) keeps the notebook, the inputs, the right answers and
            the verdicts to itself. Here cells run as they would in a notebook, and functions are
            called with the arguments that the grader sends. Whatever a student does to this
            process is done to nothing but this process, so a verdict cannot be forged here.
left out    a sandbox: files and network are open to the student's code
"""
import json
import os
import socket
import sys
from dataclasses import replace

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

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


def main(number: int, folder: str) -> None:
    """Answer until the grader hangs up. `number` is that of the socket to it."""
    line, shell, me = Line(socket.socket(fileno=number)), quiet_shell(), os.getpid()
    os.chdir(folder)
    sys.path.insert(0, folder)
    line.send({"id": "ready"})
    while True:
        request = line.receive()
        if "read" in request:      # first, while nothing of the student's has run here
            answer = read(request["read"], request["names"], request["seconds"])
        elif "cell" in request:
            answer = {"error": run_cell(shell, request["cell"], request["seconds"])}
        else:
            function = shell.user_ns.get(request["function"])
            answer = {"reply": reply(function, rebuilt(request["calls"]), request["seconds"],
                                     request["gradients"])}
        if os.getpid() != me:      # the notebook has forked, and this is not the one that is asked
            os._exit(0)
        line.send({"id": request["id"], **answer})


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
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except ConnectionError:
        pass
