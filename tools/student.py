r"""The students' copies of the lessons: with the solutions cut out.

    python tools/student.py [--out student] [--force] [NOTEBOOK ...]       default: lessons/*.ipynb
    python tools/student.py --lab           copies to work in, and a page to start from: `make lab`

in -> out   lessons/03_transformer.ipynb -> student/03_transformer.ipynb, and what lies beside it
            that a lesson needs to be opened there: expected.json and figures/
idea        In code cells the lines from ### BEGIN SOLUTION to ### END SOLUTION become one
            `raise NotImplementedError`. Outputs, execution counts and widgets are dropped, since
            they show what the solution gives. All copies are made and proved before one is written.
            A copy that is still as it was written is written anew when its lesson has changed; any
            other holds somebody's work, and stays.
proof       Of every copy: its cells are those of the lesson, each with the text outside its marks
            and a `raise` for each pair of them; no output is left; and no line of a solution,
            whatever comment stands behind it, is in any text of the file (sources, markdown,
            metadata, attachments). Excused are lines without a name or a number in them (")",
            "else:"), and those that the lesson itself shows outside its solutions: its author
            wrote them there, and a note names them, to be looked at.
left out    solutions in figures, or told in other words
"""
import argparse
import ast
import hashlib
import json
import re
import sys
from pathlib import Path

from minidalle.checkpoint import write
from minidalle.course.checks import exercises
from minidalle.course.grade import lesson_of, read_notebook, source_of

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
MEANT = re.compile(r"\b(begin|end)[ _-]*solution", re.IGNORECASE)      # a mark, perhaps mistyped
EMPTY_WORDS = re.compile(r"\b(else|try|finally|pass|return|break|continue)\b|\W")
REMARK = re.compile(r"\s+# ")  # a line is the same with another comment, or without
LONG = 12                      # letters; a shorter line may stand anywhere by chance
BESIDE = ("expected.json", "figures")
START = "start_here.ipynb"
PLAY = "playground.ipynb"      # no lesson: nothing is asked in it
WRITTEN = ".written.json"      # sha256 of each copy when it was written: name -> digits


def main(arguments: list[str] | None = None) -> int:
    """0: written. 2: refused, in one sentence, and nothing was written."""
    line = argparse.ArgumentParser(description="Copy the lessons without their solutions.")
    line.add_argument("notebooks", nargs="*", type=Path, help="default: all of lessons/")
    line.add_argument("--out", type=Path, default=Path("student"), help="default: student")
    line.add_argument("--force", action="store_true",
                      help="write over copies that differ, and so over what students did there")
    line.add_argument("--lab", action="store_true",
                      help="leave copies that were changed as they are, say which, and write a "
                           f"page to start from, {START}")
    args = line.parse_args(arguments)
    try:
        if args.lab:
            lab(args.out)
        else:
            make(args.notebooks or sorted(LESSONS.glob("*.ipynb")), args.out, args.force)
    except (ValueError, OSError) as error:
        print(f"student.py: {error}", file=sys.stderr)
        return 2
    return 0


def make(notebooks: list[Path], out: Path, force: bool) -> None:
    """All copies, or none."""
    if not notebooks:
        raise ValueError(f"there is no notebook in {LESSONS}; name one")
    texts, notes = copies_of(notebooks, out)
    if not force:
        refuse_to_spoil(texts, out)
    put(texts, out)
    put_beside(notebooks, out)
    print(*texts, sep="\n")
    print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)


def lab(out: Path) -> None:
    """What `make lab` opens. Where the lessons were not handed out, the copies that lie there."""
    notebooks = sorted(LESSONS.glob("*.ipynb"))
    texts, _ = copies_of(notebooks, out)
    written = digests(out)
    changed = [target for target in texts if holds_work(target, texts[target], written)]
    put({target: text for target, text in texts.items() if target not in changed}, out)
    put_beside(notebooks, out)
    copies = sorted(path for path in out.glob("*.ipynb") if path.name != START)
    if not copies:
        raise ValueError(f"there is no notebook in {LESSONS}, nor in {out}; take one of them from "
                         "whoever gave you the course")
    save(out / START, start_page(copies).encode())     # always: to open it may be to change it
    print(f"your copies of the lessons, without solutions, are in {out}")
    if changed:
        print(f"as you left them: {', '.join(target.name for target in changed)} (to begin one "
              "anew, rename it, and run this again)")


def copies_of(notebooks: list[Path], out: Path) -> tuple[dict[Path, str], list[str]]:
    """Where each copy belongs, its text, and notes on lines of solutions that lessons show."""
    texts, notes = {}, []
    for path in notebooks:
        target = out / path.name
        if target in texts:
            raise ValueError(f"two of the notebooks are called {path.name}; copy them one by one")
        if target.exists() and target.samefile(path):
            raise ValueError(f"{target} is the lesson itself, and its solutions would be lost; "
                             "name another folder with --out")
        try:
            texts[target], shown = copy_of(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        notes += [f"note: {path}: {one}" for one in shown]
    return texts, notes


def refuse_to_spoil(texts: dict[Path, str], out: Path) -> None:
    """Never write over a student's work unless told to."""
    written = digests(out)
    for target, text in texts.items():
        if holds_work(target, text, written):
            raise ValueError(f"{target} is there and differs from what would be written, so it "
                             "may hold a student's work; name another folder with --out, or write "
                             "over it with --force")


def holds_work(target: Path, text: str, written: dict[str, str]) -> bool:
    """Whether there is a copy that is neither this text nor what was once written there."""
    if not target.exists():
        return False
    data = target.read_bytes()
    return data != text.encode() and digest(data) != written.get(target.name)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digests(out: Path) -> dict[str, str]:
    """Of the copies in a folder, when they were written."""
    try:
        return dict(json.loads((out / WRITTEN).read_text()))
    except (OSError, ValueError, TypeError):   # then every copy that differs is somebody's work
        return {}


def put(texts: dict[Path, str], out: Path) -> None:
    """Into their files, with a note of what was written."""
    for target, text in texts.items():
        save(target, text.encode())
    written = digests(out) | {target.name: digest(text.encode()) for target, text in texts.items()}
    save(out / WRITTEN, json.dumps(written, indent=1, sort_keys=True).encode())


def put_beside(notebooks: list[Path], out: Path) -> None:
    for target, file in {out / file.relative_to(path.parent): file
                         for path in notebooks for file in files_beside(path)}.items():
        if not (target.exists() and target.samefile(file)):
            save(target, file.read_bytes())


def files_beside(path: Path) -> list[Path]:
    found = [path.parent / name for name in BESIDE]
    return [file for one in found for file in sorted((one, *one.rglob("*"))) if file.is_file()]


def save(target: Path, data: bytes) -> None:
    write(target, lambda temporary: temporary.write_bytes(data))


# ---- one copy -------------------------------------------------------------------------------

def copy_of(path: Path) -> tuple[str, list[str]]:
    """The student's copy as text, and notes on lines of solutions that the lesson shows."""
    lesson = read_notebook(path)
    cells = lesson["cells"]
    blocks = [find_blocks(cell, number) for number, cell in enumerate(cells, 1)]
    copy = json.loads(json.dumps(lesson))
    for cell, found in zip(copy["cells"], blocks):
        strip(cell, cut(source_of(cell), found))
    name = name_of(lesson, path)
    refuse_unmarked(name, copy["cells"])
    metadata = copy.setdefault("metadata", {})
    metadata.pop("widgets", None)
    if name:
        metadata.setdefault("minidalle", {})["lesson"] = name      # a copy may be renamed
    text = json.dumps(copy, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return text, prove(text, cells)


def name_of(lesson: dict, path: Path) -> str:
    """The name of the lesson; of one without exercises, that of its file."""
    try:
        return lesson_of(lesson, path)
    except ValueError:
        return path.stem if re.fullmatch(r"\d\d_\w+", path.stem) else ""


def find_blocks(cell: dict, number: int) -> list[tuple[int, int]]:
    """The lines of each pair of marks in a cell, counted from 0; ValueError if not in pairs."""
    blocks, begun = [], None
    for i, line in enumerate(source_of(cell).splitlines()):
        mark = line.strip()
        if not MEANT.search(line):
            continue
        if mark not in (BEGIN, END):
            raise ValueError(f"cell {number} has the line {mark[:60]!r}; write the mark as {BEGIN} "
                             f"or {END}, alone on its line")
        if cell.get("cell_type") != "code":
            raise ValueError(f"cell {number} has {mark}, but is no code cell; solutions stand in "
                             "code cells only")
        if (mark == BEGIN) != (begun is None):
            raise ValueError(f"cell {number} has {mark} " + (
                f"without a {BEGIN} before it" if begun is None else
                "inside another solution; end that one first"))
        if mark == END:
            blocks.append((begun, i))
        begun = i if mark == BEGIN else None
    if begun is not None:
        raise ValueError(f"cell {number} has {BEGIN} without an {END} behind it")
    return blocks


def cut(source: str, blocks: list[tuple[int, int]]) -> str:
    """The source with each block replaced by a raise, as far to the right as its first mark."""
    lines = source.splitlines(keepends=True)
    for first, last in reversed(blocks):
        indent = lines[first][:len(lines[first]) - len(lines[first].lstrip())]
        ending = lines[last][len(lines[last].rstrip("\r\n")):]
        lines[first:last + 1] = [f"{indent}raise NotImplementedError{ending}"]
    return "".join(lines)


def strip(cell: dict, source: str) -> None:
    """Give the cell its new source, as a list of lines, and take away what running it left."""
    cell["source"] = source.splitlines(keepends=True)
    if cell.get("cell_type") == "code":
        cell["outputs"], cell["execution_count"] = [], None
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.get("metadata", {}).pop(key, None)


def refuse_unmarked(name: str, cells: list[dict]) -> None:
    """Each exercise of the lesson is defined, and wherever it is, something was cut from it."""
    defined = [(number, node) for number, cell in enumerate(cells, 1)
               if cell.get("cell_type") == "code" for node in functions(source_of(cell), number)]
    for exercise in (one for one in exercises() if one.lesson == name):
        function = exercise.name.rpartition(".")[2]
        places = [(number, node) for number, node in defined if node.name == function]
        if not places:
            raise ValueError(f"no cell defines {function}, which {exercise.name} asks for")
        for number, node in places:
            if not any(map(is_cut, ast.walk(node))):
                raise ValueError(f"cell {number} defines {function} without {BEGIN} and {END} in "
                                 "its body, so the students would be given the solution")


def functions(source: str, number: int) -> list[ast.FunctionDef]:
    """The functions at the top level of a cell, from which the solutions are cut."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        raise ValueError(f"cell {number} is no Python without its solution ({error.msg}); give "
                         "the marks the indentation of what stands between them") from error
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def is_cut(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) \
        and node.exc.id == "NotImplementedError"


# ---- where to start --------------------------------------------------------------------------

PAGE = """# Start here

The lessons below are your own copies: the solutions are cut out, and you write them. What you
write stays. `make lab` never writes over a copy that was changed; to begin one anew, rename it, and
run `make lab` again.

- Run the cells from top to bottom, each with Shift + Enter.
- At **Predict**, stop and commit yourself to an answer before you run the next cell.
- An exercise ends in `raise NotImplementedError`. Put your code in its place, run the cell, and
  then the cell with `check` below it: it says whether your function is right and, if it is a known
  mistake, which one.
- What is trained lies in `runs/` and is loaded the next time. `make demo`, run once before, saves
  waiting in some lessons.
- If a cell hangs, take *Kernel*, *Restart Kernel* from the menu.

| lesson | the question |
| --- | --- |
"""


def start_page(copies: list[Path]) -> str:
    """A notebook of one cell, since JupyterLab shows its text as a page, and its links lead on."""
    lines = [f"| [{path.stem}]({path.name}) | {question_of(path)} |" for path in copies
             if path.name != PLAY]
    numbers = {int(path.stem[:2]) for path in copies if path.stem[:2].isdecimal()}
    gaps = [f"{number:02}" for number in range(max(numbers, default=0)) if number not in numbers]
    end = f"\nNot here: {', '.join(gaps)}. No other lesson needs them.\n" if gaps else ""
    if any(path.name == PLAY for path in copies):
        end += f"\nAnd to play with all that is trained: the [playground]({PLAY}).\n"
    cell = {"cell_type": "markdown", "id": "start", "metadata": {},
            "source": (PAGE + "\n".join(lines) + "\n" + end).splitlines(keepends=True)}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4,
                       "nbformat_minor": 5}, indent=1) + "\n"


def question_of(path: Path) -> str:
    """From the title of a lesson: "# 03. Attention: how do words look at each other?"."""
    try:
        heads = [source_of(cell) for cell in read_notebook(path)["cells"][:1]]
    except ValueError:                         # whatever was done to it, it can be opened
        heads = []
    found = re.match(r"# \d\d\. [^:\n]*: (.)(.*)", heads[0]) if heads else None
    return found[1].upper() + found[2] if found else ""


# ---- the proof ------------------------------------------------------------------------------

def prove(text: str, lesson: list[dict]) -> list[str]:
    """ValueError if a solution is left in the copy. Returns the lines that the lesson shows.

    The text outside the marks is found anew here, by another way than that of `cut`.
    """
    copy = json.loads(text)
    mark = re.compile(rf"^([ \t]*){BEGIN}[ \t]*$.*?^[ \t]*{END}[ \t]*$", re.DOTALL | re.MULTILINE)
    outside = [mark.sub(r"\1raise NotImplementedError", source_of(cell)) for cell in lesson]
    for number, (cell, source) in enumerate(zip(copy["cells"], outside, strict=True), 1):
        if source_of(cell) != source:
            raise ValueError(f"cell {number} of the copy is not the lesson's without its solution")
        if cell.get("outputs") or cell.get("execution_count") is not None:
            raise ValueError(f"cell {number} of the copy still has outputs")
    lines = {line.strip() for cell in lesson for block in mark.finditer(source_of(cell))
             for line in block[0].splitlines()[1:-1]}
    secrets = {REMARK.split(line)[0] for line in lines if EMPTY_WORDS.sub("", line)}
    shown = {secret: [number for number, source in enumerate(outside, 1) if holds(source, secret)]
             for secret in sorted(secrets)}
    everything = "\n".join(texts_in(copy))
    for secret, cells in shown.items():
        if not cells and holds(everything, secret):
            raise ValueError(f"the copy still holds this line of a solution: {secret[:80]!r}")
    return [f"cell {cells[0]} shows a line of a solution: {secret}"
            for secret, cells in shown.items() if cells and len(secret) >= LONG]


def holds(text: str, secret: str) -> bool:
    """Whether it stands there; a short one as a line of its own, since "x" is in every text."""
    return secret in text if len(secret) >= LONG else \
        secret in (line.strip() for line in text.splitlines())


def texts_in(value) -> list[str]:
    """Every text in plain data, keys too; a list of lines as one text. Numbers are none."""
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts_in(part)]
    if isinstance(value, list):
        return ["".join(value)] if all(isinstance(part, str) for part in value) else \
            [text for part in value for text in texts_in(part)]
    return [value] if isinstance(value, str) else []


if __name__ == "__main__":
    sys.exit(main())
