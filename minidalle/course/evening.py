r"""An evening's work: many notebooks, several at once, and on from where it was cut off.

in -> out   notebook files -> a Grade each, as soon as it is there
idea        Each job is a process of its own that grades one notebook after the other (grade.py).
            One that falls is replaced, and only the notebook that it held is lost. What was graded
            is kept line by line, under a digest of all that the grade depends on: the same command
            again takes it from there, and grades what is new or has changed.
left out    several machines
"""
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from minidalle.course import grade as grading
from minidalle.course.checks import Verdict, walls
from minidalle.course.grade import Grade, graded, handed_in, lesson_named, nothing
from minidalle.course.sandbox import LARGEST, Limits

SLACK = 60.0                   # seconds that a job may take for what is not the notebook's own
GRACE = 10.0                   # and that it has to tidy up
FELL = "the process that graded it was ended while it ran: read it by eye, and grade it by itself"


@dataclass(frozen=True)
class Task:
    """One notebook, and all that its grade depends on."""
    file: Path
    data: bytes | None         # what stood in it when the evening began
    budget: str = "smoke"
    limits: Limits = Limits()
    lesson: str = ""
    isolate: str = "none"

    @property
    def road(self) -> str:
        """A digest of what was handed in beside the notebook; empty if nothing was. What is too
        large is refused unread, so its size will do."""
        file = handed_in(self.file, self.lesson or lesson_named(self.file.name))
        if file is None:
            return ""
        size = file.stat().st_size
        return hashlib.sha256(file.read_bytes()).hexdigest() if size <= LARGEST else str(size)

    @property
    def key(self) -> str:
        parts = (grading.AT_START, self.budget, self.lesson, self.isolate, asdict(self.limits),
                 self.file.name, hashlib.sha256(self.data or b"").hexdigest(), self.road)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def graded(self) -> Grade:
        return graded(self.file, self.budget, self.limits, self.lesson, self.data, self.isolate)


# ---- what was graded before

def kept(file: Path | None) -> dict[str, Grade]:
    """By key. What cannot be read was cut off in the middle, and is graded again."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file and file.exists() else []:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            key, parts = json.loads(line)
            found[key] = as_grade(parts)
    return found


def keep(file: Path, key: str, grade: Grade) -> None:
    """Behind the others, on the disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as out:
        out.write(f"\n{json.dumps([key, asdict(grade)], default=str)}\n")      # ends a torn line
        out.flush()
        os.fsync(out.fileno())


def as_grade(parts: dict) -> Grade:
    verdicts = {name: Verdict(**{**one, "lines": tuple(one["lines"]), "part": tuple(one["part"])})
                for name, one in parts["verdicts"].items()}
    return Grade(**{**parts, "file": Path(parts["file"]), "verdicts": verdicts,
                    "eye": tuple(parts["eye"])})


class Book:
    """What is to be graded, what was graded before, and the grades that there are."""

    def __init__(self, tasks: list[Task], file: Path | None):
        self.tasks, self.file, before = tasks, file, kept(file)
        self.grades = [replace(before[task.key], file=task.file) if task.key in before else None
                       for task in tasks]
        self.taken = len(self.done())

    def done(self) -> list[Grade]:
        """In the order of the files."""
        return [grade for grade in self.grades if grade]

    def go(self, jobs: int) -> Iterator[Grade]:
        """Those of before, and then each as soon as it is there."""
        yield from self.done()
        places = {id(task): place for place, task in enumerate(self.tasks)}
        left = [task for task, grade in zip(self.tasks, self.grades) if not grade]
        for task, grade in grade_all(left, jobs):
            self.grades[places[id(task)]] = grade
            if self.file and grade.ran:
                keep(self.file, task.key, grade)
            yield grade


# ---- the jobs

def grade_all(tasks: list[Task], jobs: int) -> Iterator[tuple[Task, Grade]]:
    """In the order in which they are done. A single one needs no job of its own."""
    if len(tasks) < 2:
        yield from ((task, task.graded()) for task in tasks)
        return
    jobs = min(jobs, len(tasks))
    waiting, crew = deque(tasks), [Job(max(1, cores() // jobs)) for _ in range(jobs)]
    walls.prctl(walls.SUBREAPER, 1)            # what a fallen job leaves behind becomes ours
    try:
        for job in crew:
            job.begin(waiting.popleft())
        while busy := [job for job in crew if job.task]:
            ready = wait([job.line for job in busy], 1.0)
            for job in (job for job in busy if job.line in ready or job.late()):
                yield job.task, job.end()
                if waiting:
                    job.begin(waiting.popleft())
    finally:
        for job in crew:
            job.stop()
        walls.prctl(walls.SUBREAPER, 0)


class Job:
    """A process that grades, one notebook after the other; a new one if it falls."""

    def __init__(self, threads: int):
        self.threads, self.task, self.process, self.until = threads, None, None, 0.0

    def begin(self, task: Task) -> None:
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.line, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs, grading.AT_START,
                                                              self.threads))
            self.process.start()
            theirs.close()
        self.task = task
        self.until = time.monotonic() + task.limits.total + 3 * task.limits.start + SLACK
        with suppress(OSError):                # it has fallen already: end() will see
            self.line.send(task)

    def late(self) -> bool:
        return time.monotonic() > self.until

    def end(self) -> Grade:
        """The grade of its notebook. OSError if the grading itself has to stop."""
        task, self.task = self.task, None
        answer = self.answer()
        if isinstance(answer, OSError):
            raise answer
        if answer is None:
            self.stop(busy=True)
            lesson = task.lesson or lesson_named(task.file.name)
            return Grade(task.file, lesson, nothing(lesson), note=FELL, ran=False)
        return answer

    def answer(self) -> Grade | OSError | None:
        with suppress(EOFError, OSError):
            return self.line.recv() if self.line.poll(0) else None
        return None

    def stop(self, busy: bool = False) -> None:
        """Who waits for a notebook ends by itself. Who has one is stopped first as Ctrl-C does, so
        that it ends what it has started; then without asking."""
        if self.process is None:
            return
        self.line.close()
        if (busy or self.task) and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)
        self.process.join(GRACE)
        self.process.kill()
        self.process.join()
        self.process = None
        walls.end_orphans()


def work(line: Connection, at_start: str, threads: int) -> None:
    """In the process of a job. It ends when nobody asks any more."""
    grading.AT_START = at_start                # not that of today, if a notebook has changed it
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            task = line.recv()
            try:
                answer = task.graded()
            except OSError as error:
                answer = error
            line.send(answer)
    os._exit(0)                                # it holds nothing that would have to be saved


def cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
