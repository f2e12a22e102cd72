"""The command line of the course, checks | grade, and with it the whole one."""
import errno
import json
import os
import sys
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

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
    from minidalle.course import evening, reports, sandbox
    from minidalle.course.grade import chosen_lesson, read_all

    check_outputs(args)
    read = reports.reader(args.student)
    lesson = chosen_lesson(args.lesson) if args.lesson else ""
    used = sandbox.isolation(args.isolate)
    print(f"isolation: {sandbox.described(used)}{'' if used != 'none' else BARE}", file=sys.stderr)
    files = [one for file in args.files for one in notebooks_in(file)]
    say_what_is_lost(args, files)
    texts = read_all(files)
    tasks = [evening.Task(file, texts.get(file), args.budget, sandbox.Limits(total=args.seconds),
                          lesson, used) for file in files]
    book = evening.Book(tasks, args.csv and not args.fresh and args.csv.with_suffix(".jsonl"))
    if book.taken:
        print(f"{book.taken} of {len(tasks)} files were graded before; what changed since, and "
              "--fresh, are graded anew", file=sys.stderr)
    if any(task.road for task in tasks):
        from minidalle.course.results import judge_file  # it brings all that trains

        judge_file()                           # before several jobs want to train it
    code = 0
    try:
        for grade in book.go(int(args.jobs or evening.cores())):
            print(reports.report(grade, args.verbose), flush=True)
            if args.csv:
                reports.write_csv(args.csv, book.done(), read)
    except KeyboardInterrupt:
        print(f"minidalle: stopped; {len(book.done())} of {len(tasks)} files were graded",
              file=sys.stderr)
        code = 130
    if args.format:
        for note in reports.FORMATS[args.format](args.out, book.done(), read):
            print(f"minidalle: {note}", file=sys.stderr)
    return code or (0 if all(grade.ran for grade in book.done()) else 2)


def notebooks_in(path: Path) -> list[Path]:
    """A folder stands for all notebooks in it."""
    found = sorted(file for file in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts
                   ) if path.is_dir() else []
    return found or [path]


def say_what_is_lost(args, files: list[Path]) -> None:
    """Who would be missing from the table, or in it by an odd name."""
    from minidalle.course.reports import check_pattern, printable

    bare = [folder for path in args.files for folder in folders_without(path)]
    odd = check_pattern(args.student, files) if args.student else []
    for words, paths in (("no notebook is in", bare), ("--student does not fit", odd)):
        if paths:
            print(f"minidalle: {words} {printable(', '.join(map(str, paths)))}", file=sys.stderr)


def folders_without(path: Path) -> list[Path]:
    """Of a folder with one for each student those in which there is no notebook."""
    inside = path.iterdir() if path.is_dir() and not any(path.glob("*.ipynb")) else ()
    return sorted(folder for folder in inside if folder.is_dir() and folder.name[0] != "."
                  and not any(folder.rglob("*.ipynb")))


def check_outputs(args) -> None:
    """Before anything is graded. ValueError if a notebook could be written over."""
    if args.csv and args.csv.suffix.lower() != ".csv":
        raise ValueError(f"--csv is {args.csv}; name a file that ends in .csv, so that no "
                         "notebook is written over")
    ending = ".json" if args.format == "gradescope" else ".csv"
    if bool(args.format) != bool(args.out):
        raise ValueError("--format and --out belong together: name a file with --out, and with "
                         "--format the system that reads it")
    if args.out and args.out.suffix.lower() != ending:
        raise ValueError(f"--out is {args.out}; name a file that ends in {ending}, so that no "
                         "notebook is written over")
    for file, option in ((args.csv, "--csv"), (args.out, "--out")):
        if file:
            commands.check_writable(file, option)


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
