"""What passes in the notebooks named with --notebook: a test for each exercise."""
import pytest

from minidalle.course.reports import label, printable


def test_exercise(notebook, exercise, grade):
    found = grade(notebook)
    if not found.ran:
        pytest.fail(f"{notebook.name}: {found.note}", pytrace=False)
    verdict = found.verdicts.get(exercise)
    if verdict and not verdict.passed:
        said = label(verdict)
        more = [] if verdict.message in said else [verdict.message]
        lines = [f"{exercise}: {said}", *more, *verdict.lines, found.note]
        pytest.fail("\n".join(printable(line) for line in lines if line), pytrace=False)
