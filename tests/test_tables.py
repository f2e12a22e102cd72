"""README.md and INSTRUCTOR.md quote the lessons, and quote them as they are now."""
import importlib.util
import json
import re
from pathlib import Path

import pytest

from minidalle.course.checks import exercises

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables_tool", ROOT / "tools" / "tables.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.mark.parametrize("name", ["README.md", "INSTRUCTOR.md"])
def test_what_stands_between_the_marks_is_what_the_lessons_say(tables, name, tmp_path):
    copy = tmp_path / name
    copy.write_text((ROOT / name).read_text(encoding="utf8"), encoding="utf8")
    table = {"README.md": tables.readme, "INSTRUCTOR.md": tables.instructor}[name]
    tables.put(copy, table(tables.lessons()))
    assert copy.read_text(encoding="utf8") == (ROOT / name).read_text(encoding="utf8"), \
        "run `make tables`"


def test_every_lesson_and_every_mistake_of_every_exercise_is_named(tables):
    known = tables.lessons()
    text = tables.instructor(known)
    there = {path.stem for path in (ROOT / "lessons").glob("[0-9]*.ipynb")}
    assert {one.name for one in known} == there
    for exercise in exercises():
        line = next(line for line in text.splitlines() if f"`{exercise.name}`" in line)
        assert all(mistake.name in line for mistake in exercise.mistakes)


def test_objectives_are_read_line_by_line(tables):
    head = ("# 03. The transformer: how?\n\n**After this lesson you can**\n- do this\n  and that;\n"
            "- say why.\n\n**Know first:** nothing. About 60 minutes to read and write.\n")
    known = tables.Known("03_transformer", head, {}, [])
    assert known.objectives == ["do this and that", "say why"]
    assert (known.title, known.question, known.reading) == ("03. The transformer", "How?", 60)


def test_minutes_and_results_come_from_what_was_measured(tables):
    measured = json.loads((ROOT / "lessons" / "expected.json").read_text())
    for one in tables.lessons():
        seconds = measured[one.name]["cpu"]["seconds"]
        assert one.running("cpu") == f"{max(1, round(seconds / 60))} min"
        value = next(iter(measured[one.name]["cpu"]["metrics"].values()))["value"]
        assert float(re.search(r"([-\d.]+)$", one.result)[1]) == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize("minutes, hours", [(60, 1.5), (50, 1.25), (70, 1.75), (51, 1.5)])
def test_hours_are_half_as_much_again_in_quarters(tables, minutes, hours):
    assert tables.quarters(minutes) == hours
