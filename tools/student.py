r"""The students' copies of the lessons: with the solutions cut out.

    python tools/student.py [--out student] [--force] [NOTEBOOK ...]       default: lessons/*.ipynb

in -> out   lessons/03_transformer.ipynb -> student/03_transformer.ipynb, and what lies beside it
            that a lesson needs to be opened there: expected.json and figures/
idea        In code cells the lines from ### BEGIN SOLUTION to ### END SOLUTION become one
            `raise NotImplementedError`. Outputs, execution counts and widgets are dropped, since
            they show what the solution gives. All copies are made and proved before one is written.
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


def main(arguments: list[str] | None = None) -> int:
    """0: written. 2: refused, in one sentence, and nothing was written."""
    line = argparse.ArgumentParser(description="Copy the lessons without their solutions.")
    line.add_argument("notebooks", nargs="*", type=Path, help="default: all of lessons/")
    line.add_argument("--out", type=Path, default=Path("student"), help="default: student")
    line.add_argument("--force", action="store_true",
                      help="write over copies that differ, and so over what students did there")
    args = line.parse_args(arguments)
    try:
        make(args.notebooks or sorted(LESSONS.glob("*.ipynb")), args.out, args.force)
    except (ValueError, OSError) as error:
        print(f"student.py: {error}", file=sys.stderr)
        return 2
    return 0


def make(notebooks: list[Path], out: Path, force: bool) -> None:
    """All copies, or none."""
    if not notebooks:
        raise ValueError(f"there is no notebook in {LESSONS}; name one")
    texts, notes = {}, []
    for path in notebooks:
        target = out / path.name
        if target in texts:
            raise ValueError(f"two of the notebooks are called {path.name}; copy them one by one")
        try:
            texts[target], shown = copy_of(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        notes += [f"note: {path}: {one}" for one in shown]
        refuse_to_spoil(target, path, texts[target], force)
    beside = {out / file.relative_to(path.parent): file
              for path in notebooks for file in files_beside(path)}
    for target, text in texts.items():
        save(target, text.encode())
        print(target)
    for target, file in beside.items():
        if not (target.exists() and target.samefile(file)):
            save(target, file.read_bytes())
    print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)


def refuse_to_spoil(target: Path, path: Path, text: str, force: bool) -> None:
    """Never write over the lesson itself, nor over a student's work unless told to."""
    if target.exists() and target.samefile(path):
        raise ValueError(f"{target} is the lesson itself, and its solutions would be lost; name "
                         "another folder with --out")
    if target.exists() and not force and target.read_bytes() != text.encode():
        raise ValueError(f"{target} is there and differs from what would be written, so it may "
                         "hold a student's work; name another folder with --out, or write over it "
                         "with --force")


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
