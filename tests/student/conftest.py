"""pytest tests/student --notebook FILE [--notebook FILE ...]: students' notebooks, graded as tests.

The same verdicts as those of python -m minidalle grade, and the same warning: this runs the
students' code on this machine, with your rights.
"""
from functools import cache
from pathlib import Path

import pytest

from minidalle.course.checks import exercises
from minidalle.course.grade import Grade, graded, lesson_of, read_notebook


def pytest_addoption(parser):
    parser.addoption("--notebook", action="append", default=[], metavar="FILE",
                     help="a student's notebook to grade; may be given several times")


def pytest_generate_tests(metafunc):
    """A test for each exercise of each notebook; for a file that is none, one test that fails."""
    if "notebook" not in metafunc.fixturenames:
        return
    config = metafunc.config
    # subtle: the option is unknown where pytest was started on a folder above this one
    names = config.getoption("--notebook", default=[])
    files = {name: config.invocation_params.dir / name for name in names}
    tests = [pytest.param(file, exercise, id=f"{name}-{exercise}")
             for name, file in files.items() for exercise in asked_in(file)]
    none = pytest.param(None, None, id="none", marks=pytest.mark.skip(
        reason="no notebook named: pytest tests/student --notebook FILE"))
    metafunc.parametrize("notebook, exercise", tests or [none])


def asked_in(file: Path) -> list[str]:
    try:
        lesson = lesson_of(read_notebook(file), file)
    except ValueError:
        return ["notebook"]
    return [one.name for one in exercises() if one.lesson == lesson] or ["notebook"]


@pytest.fixture(scope="session")
def grade():
    """notebook -> its Grade; each notebook runs once."""
    @cache
    def run(notebook: Path) -> Grade:
        return graded(notebook)
    return run
