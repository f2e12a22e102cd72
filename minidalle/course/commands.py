"""The command line of the course, checks | grade, and with it the whole one."""
import errno
import json
import os
import sys
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter

from minidalle.train import Lasting
from minidalle.workshop import commands

BARE = ": what the students' code may do to this machine, only limits and your eyes keep from it"


def list_checks(args) -> None:
    """The exercises by lesson, each with its mistakes."""
    from minidalle.course.checks import listing

    if args.json:
        print(json.dumps(listing(), indent=1))
        return
    for lesson, exercises in groupby(listing(), itemgetter("lesson")):
        print(lesson)
        for one in exercises:
            print(f"  {one['name']}, {one['points']} point{'s' * (one['points'] != 1)}")
            for name in one["mistakes"]:
                print(f"      {name}")


def run_grade(args) -> int:
    """A report for each file, as soon as it is there; so is its row of the table. 2 if some file
    could not be graded."""
    from minidalle.course.grade import (
        Limits,
        chosen_lesson,
        graded,
        isolation,
        read_all,
        report,
        write_csv,
    )

    if args.csv:
        if args.csv.suffix.lower() != ".csv":
            raise ValueError(f"--csv is {args.csv}; name a file that ends in .csv, so that no "
                             "notebook is written over")
        commands.check_writable(args.csv, "--csv")
    lesson = chosen_lesson(args.lesson) if args.lesson else ""
    used = isolation(args.isolate)
    print(f"isolation: {used}{'' if used != 'none' else BARE}", file=sys.stderr)
    grades, texts = [], read_all(args.files)
    for file in args.files:
        try:
            grades.append(graded(file, args.budget, Limits(total=args.seconds), lesson,
                                 texts.get(file), used))
        except KeyboardInterrupt:
            print(f"minidalle: stopped; {len(grades)} of {len(args.files)} files were graded",
                  file=sys.stderr)
            return 130
        print(report(grades[-1], args.verbose), flush=True)
        if args.csv:
            write_csv(args.csv, grades)
    return 0 if all(grade.ran for grade in grades) else 2


class Noting(Lasting):
    """It also keeps what went wrong; that nobody reads on (`| head -1`) is not wrong."""
    lost: OSError | None = None

    @contextmanager
    def _whatever_comes(self):
        with super()._whatever_comes():
            try:
                yield
            except OSError as error:
                if error.errno != errno.EPIPE:
                    self.lost = error
                raise


COMMANDS = {"checks": list_checks, "grade": run_grade}


def main(arguments: list[str] | None = None) -> int:
    """Any command; its exit code, as in workshop/commands.py."""
    return commands.main(arguments, COMMANDS)


def start() -> None:
    """As `python -m minidalle` calls it: main(), in a terminal that may lack Chinese, break off
    (`| head -1`), or not be there at all (`>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Noting(stream))
    try:
        code = main()
    except SystemExit as end:                  # --help, and words that cannot be read
        code = end.code
    sys.stdout.flush()
    if lost := sys.stdout.lost:
        print(f"minidalle: what is printed could not be written ({lost.strerror}) and is lost; "
              "print it where there is room", file=sys.stderr)
        code = code or 1
    sys.stderr.flush()
    sys.exit(code)
