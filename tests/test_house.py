"""The three floors of the house: who may import from whom."""
import ast
import re
from pathlib import Path

import pytest

import minidalle

ROOM = Path(minidalle.__file__).parent
FLOORS = ("", "workshop", "course")        # an arrow goes from a later one to an earlier one
FILES = sorted(path for path in ROOM.rglob("*.py") if path != ROOM / "__main__.py")


def floor(parts: tuple[str, ...]) -> int:
    """Which floor a module below minidalle/ belongs to, by the parts of its name."""
    return FLOORS.index(parts[0]) if parts and parts[0] in FLOORS else 0


def imported(tree: ast.AST) -> list[tuple[str, ...]]:
    """The modules of this package that a file imports, without the package's own name."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [tuple(name.split("."))[1:] for name in names if name.split(".")[0] == "minidalle"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOM)))
def test_no_file_imports_from_a_later_floor(path):
    here = floor(path.relative_to(ROOM).parts)
    later = [parts for parts in imported(ast.parse(path.read_text())) if floor(parts) > here]
    assert not later, f"{path.name} imports from {'.'.join(later[0])}, a later floor"


def test_the_rule_finds_an_arrow_that_goes_back():
    tree = ast.parse("from minidalle.course import check\nimport minidalle.workshop.demo")
    assert [floor(parts) for parts in imported(tree)] == [2, 1]


def test_the_oldest_packages_are_promised_alike_wherever_they_are_named():
    """requirements.txt, what pip reads of the package, and the torch that make takes."""
    root, oldest = ROOM.parent, re.compile(r"^([a-z]+>=[0-9.]+)", re.MULTILINE)
    asked = oldest.findall((root / "requirements.txt").read_text())
    project = re.findall(r'"([a-z]+>=[0-9.]+)"', (root / "pyproject.toml").read_text())
    assert set(project) - set(asked) == {"setuptools>=77"} and asked[0] in project
    assert asked[:len(project) - 1] == project[1:]
    assert f"$(chosen),{asked[0]})" in (root / "Makefile").read_text()


def test_no_text_of_a_figure_is_smaller_than_nine_points():
    """In the package, the tools and the lessons, by their words."""
    root = ROOM.parent
    files = [*FILES, *root.glob("tools/*.py"), *root.glob("bench/*.py"),
             *root.glob("lessons/*.ipynb")]
    size = re.compile(r"\b(?:font|label|title|legend\.font)\.?size[\"']?\s*[=:]\s*([0-9.]+)")
    found = [(float(points), path.name) for path in files
             for points in size.findall(path.read_text(encoding="utf8"))]
    assert len(found) > 20 and min(found)[0] >= 9, min(found)
