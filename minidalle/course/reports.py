r"""Reports: what an instructor reads of the grades, and what other systems take of them.

in -> out   Grades -> lines for the terminal; a table with a row for each student and notebook; and
            the files that Moodle, Canvas and Gradescope read
left out    feedback files, one for each student
"""
import csv
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from minidalle.checkpoint import write
from minidalle.course.checks import WIDTH, Verdict, exercises
from minidalle.course.grade import Grade, points_of

WORDS = {"unwritten": "not written yet", "type": "returns the wrong type",
         "shape": "returns the wrong shape", "dtype": "returns the wrong dtype",
         "wrong": "returns wrong values", "mutates": "changes its input", "crashed": "crashes",
         "arguments": "takes other arguments", "timeout": "does not come to an end",
         "detached": "lets no gradient through", "imported": "is the package's own function",
         "strict": "rejects a right answer",
         "alone": "passes only with the rest of the notebook: read it by eye"}


class Student(NamedTuple):
    name: str
    number: str = ""           # by which another system knows them


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
           "some": verdict.message.partition(",")[0]}
    return own.get(verdict.state) or WORDS[verdict.state]


def printable(text: object) -> str:
    """On one line, and without the codes by which a terminal can be told other things."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


# ---- who wrote it

# of a name in a path, in the order in which they are tried: folders of Moodle, files of Canvas,
# 03_transformer_anna.ipynb, anna/03.ipynb
PLACES = (
    r"(^|/)(?P<student>[^/]+)_(?P<id>\d+)_assignsubmission_file_?(/|_)",
    r"(^|/)(?P<student>[^/_]+)(_LATE)?_(?P<id>\d+)_\d+_[^/]*$",
    r"(^|/)\d\d(_(LESSONS))?[_ -]+(?!(LESSONS)\W)(?P<student>[^\W\d_][^/]*)\.ipynb$",
    r"(^|/)(?P<student>[^/]+)/[^/]*$")


def reader(pattern: str | None) -> Callable[[Path], Student]:
    """path -> the student; by --student, or by the names that are usual. ValueError if the pattern
    names no place for the student."""
    if pattern is None:
        stems = "|".join(dict.fromkeys(one.lesson.partition("_")[2] for one in exercises()))
        places = [re.compile(place.replace("LESSONS", stems)) for place in PLACES]
    elif "{student}" in pattern or "{id}" in pattern:
        places = [re.compile(f"(^|/){translated(pattern)}$")]
    else:
        raise ValueError(f"--student is {pattern}, and does not say where the student's name is; "
                         "write {student} in its place, as in '{student}/03_*.ipynb'")

    def read(path: Path) -> Student:
        for place in places:
            if found := place.search(path.absolute().as_posix()):
                named = found.groupdict()
                return Student(named.get("student") or "", named.get("id") or "")
        return Student(path.stem)
    return read


def check_pattern(pattern: str, files: list[Path]) -> list[Path]:
    """The files that --student does not fit: each is called by its own name. ValueError if it fits
    none, for then many would be called the same."""
    place = re.compile(f"(^|/){translated(pattern)}$")
    lost = [file for file in files if not place.search(file.absolute().as_posix())]
    if lost == files:
        raise ValueError(f"--student is {pattern}, and fits none of {len(files)} files, such as "
                         f"{printable(files[0])}; * stands for a part of one folder's name")
    return lost


def translated(pattern: str) -> str:
    """A pattern of --student as a regular expression: * and ? stay within one folder's name."""
    words = {"{student}": "(?P<student>[^/]+?)", "{id}": r"(?P<id>\d+)", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\{student\}|\{id\}|[*?])", pattern)
    return "".join(words.get(part) or re.escape(part) for part in parts)


# ---- tables

def write_csv(path: Path, grades: list[Grade], read: Callable[[Path], Student]) -> None:
    """A row for each file; a column for each exercise of the lessons that were graded: what came
    of it, and in another one its points."""
    lessons = {grade.lesson for grade in grades}
    names = [one.name for one in exercises() if one.lesson in lessons]
    rows = [["student", "lesson", "points", "total", *names, *(f"{name} points" for name in names),
             "messages", "seconds", "by eye", "note", "file"]]
    for grade in grades:
        states = [grade.verdicts[name].mistake or grade.verdicts[name].state
                  if name in grade.verdicts else "" for name in names]
        points = [grade.points(name) if name in grade.verdicts else "" for name in names]
        rows.append([read(grade.file).name, grade.lesson, grade.total, grade.out_of, *states,
                     *points, messages(grade), f"{grade.seconds:.1f}", "; ".join(grade.eye),
                     grade.note, grade.file])
    write_rows(path, rows)


def messages(grade: Grade) -> str:
    """What the student may be told, exercise by exercise."""
    told = [f"{name}: {grade.points(name)} of {points_of()[name]}"
            + ("." if one.passed else f". {told_of(one)}") for name, one in grade.verdicts.items()]
    note = [f"({grade.note})"] if grade.note else []
    return " ".join([*told, *note] if grade.ran else [grade.note])


def told_of(verdict: Verdict) -> str:
    words = label(verdict) if verdict.message in label(verdict) else verdict.message
    return f"{words.rstrip('.')}. {verdict.later}".strip()


def write_rows(path: Path, rows: list[list]) -> None:
    def save(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file).writerows([[harmless(cell) for cell in row] for row in rows])
    write(path, save)


def harmless(cell: object) -> str:
    """A spreadsheet takes what begins with these signs for a formula, and runs it."""
    text = printable(cell)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


# ---- for other systems: each writes a file, and returns what has to be known about it

def write_moodle(path: Path, grades: list[Grade], read: Callable[[Path], Student]) -> list[str]:
    """An offline grading worksheet, as the assignment takes it back (its importer asks for the
    columns Identifier, Grade and Last modified (grade))."""
    best, notes = one_each(grades, read)
    rows = [["Identifier", "Full name", "Grade", "Maximum grade", "Last modified (grade)",
             "Feedback comments"]]
    for student, grade in best.items():
        rows.append([f"Participant {student.number}" if student.number else "", student.name,
                     grade.total, grade.out_of, "-", messages(grade)])
    write_rows(path, rows)
    return notes


def write_canvas(path: Path, grades: list[Grade], read: Callable[[Path], Student]) -> list[str]:
    """A gradebook: its first columns are Canvas's own, its second row are the points possible."""
    best, notes = one_each(grades, read)
    lesson = next((grade.lesson for grade in grades), "")
    most = max((grade.out_of for grade in grades), default=0)
    rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", lesson],
            ["    Points Possible", "", "", "", "", most]]
    rows += [[student.name, student.number, "", "", "", grade.total]
             for student, grade in best.items()]
    write_rows(path, rows)
    return notes


def one_each(grades: list[Grade], read: Callable[[Path], Student]
             ) -> tuple[dict[Student, Grade], list[str]]:
    """The best of each student, and notes on what is doubtful. ValueError if the files are of
    several lessons."""
    if len(lessons := sorted({grade.lesson for grade in grades if grade.lesson})) > 1:
        raise ValueError(f"these notebooks are of {' and '.join(lessons)}, and one assignment is "
                         "of one lesson: grade them one lesson at a time")
    best, notes = {}, []
    for grade in grades:
        student = read(grade.file)
        if student in best:
            notes.append(f"{printable(student.name)} handed in several notebooks; the best counts")
        best[student] = max(grade, best.get(student, grade), key=lambda one: one.total)
    if lost := [student.name for student in best if not student.number]:
        notes.append(f"without a number: {printable(', '.join(lost))}. Moodle and Canvas know "
                     "students by their number; leave the names of folders and files as they "
                     "came, or say with --student where {id} stands")
    return best, notes


def write_gradescope(path: Path, grades: list[Grade], read: Callable[[Path], Student]) -> list[str]:
    """results.json: a test for each exercise; what is to be read by eye, no student sees."""
    first, *others = grades
    tests = [] if others else [test_of(first, name) for name in first.verdicts]
    number = len(grades) if others else "" if first.file.exists() or first.ran else "none"
    said = f"Hand in one notebook: there {'are' if others else 'is'} {number}." if number else \
        first.note or f"{first.total} of {first.out_of} points"
    results = {"output": said, "execution_time": round(sum(one.seconds for one in grades)),
               "stdout_visibility": "hidden", "extra_data": {"read by eye": list(first.eye)},
               **({"tests": tests} if tests else {"score": 0})}
    write(path, lambda temporary: temporary.write_text(json.dumps(results, indent=1)))
    return []


def test_of(grade: Grade, name: str) -> dict:
    verdict = grade.verdicts[name]
    code = "".join(f"\n  {line}" for line in verdict.lines)
    return {"name": name, "score": grade.points(name), "max_score": points_of()[name],
            "status": "passed" if verdict.passed else "failed", "visibility": "visible",
            "output": "" if verdict.passed else told_of(verdict) + code}


FORMATS = {"moodle": write_moodle, "canvas": write_canvas, "gradescope": write_gradescope}
