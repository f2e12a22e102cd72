"""Tests as exercises: tests of every kind that students write, and what is said of each.

A toy whose ways to be right and wrong can be counted by hand stands in, except where a lesson does.
"""
import re
import socket
import time
from pathlib import Path

import pytest
import torch
from test_grade import HEAD, RIGHT, SHORT, notebook, states

from minidalle.course import checks
from minidalle.course.checks import Exercise, Hunt, Mistake, Verdict, check, hunt, judge, shown
from minidalle.course.checks.apart import Far, error_of
from minidalle.course.checks.hunting import STYLES, suspects
from minidalle.course.checks.messages import Line
from minidalle.course.grade import earned, graded
from minidalle.course.reports import label, report
from minidalle.course.sandbox import Apart

LESSONS = Path(__file__).parents[2] / "lessons"
HUNTS = [one for one in checks.exercises() if isinstance(one, Hunt)]
BOTH = Exercise(
    "toy.both", "99_toy", 1, lambda x, times: (times * x, x.sum()),
    (lambda g: (torch.randn(2, 3, generator=g), 2.0),), (
        Mistake("squared", "You square.", lambda x, times: (x * x, x.sum())),
        Mistake("transposed", "You transpose.", lambda x, times: (times * x.T, x.sum())),
        Mistake("doubled", "You double.", lambda x, times: (2 * x, x.sum())),
        Mistake("falls", "You look behind the end.", lambda x, times: [x][1]),
        Mistake("mean", "You average.", lambda x, times: (times * x, x.mean()))),
    "twice as much")
TOY = hunt(BOTH, "squared", "transposed", "doubled", "falls", "mean")
x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(checks, "exercises", lambda: (BOTH, TOY))
    monkeypatch.setattr(checks, "TRIED", checks.Counter())


def verdict(test, seed=0, seconds=10.0) -> Verdict:
    return judge("toy.test_it", test, seed, seconds)


# ---- tests that students write: (test, state, words or the number caught)

def good(f):
    y, total = f(x, 3.0)
    assert torch.allclose(y.float(), 3 * x) and abs(float(total) - 21) < 1e-3


def by_names(f):
    y, total = f(times=3.0, x=x)
    assert torch.allclose(y.float(), 3 * x) and abs(float(total) - 21) < 1e-3


def greedy(f):
    mine = x.clone()
    y, total = f(mine, 3.0)
    mine.zero_()
    y.sub_(3 * x)
    assert y.abs().max() < 1e-3 and abs(float(total) - 21) < 1e-3


@pytest.mark.parametrize("test", [good, by_names, greedy])
def test_a_test_that_catches_all_and_lets_all_styles_through_passes_for_every_order(test):
    for seed in range(20):
        said = verdict(test, seed)
        assert said.passed and said.part == (1, 1), shown(said)
    assert said.message == "5 of 5 mistakes caught, and right answers of every style let through"


def at_two(f):
    """In the toy 2 times is what doubles, and nothing looks at the total."""
    assert torch.allclose(f(x, 2.0)[0].float(), 2 * x)


def a_shape(f):
    assert f(x, 3.0)[0].shape == (2, 3)


def asks_only(f):
    f(x, 3.0)


@pytest.mark.parametrize("test, caught, first", [
    (at_two, 3, "doubled"), (a_shape, 2, "squared"), (asks_only, 1, "squared")])
def test_a_weak_test_is_told_how_many_it_caught_as_counted_by_hand(test, caught, first):
    said = verdict(test)
    assert (said.state, said.part) == ("some", (caught, 5))
    assert said.message.startswith(f"You caught {caught} of 5 mistakes, and")
    assert said.later == f"One that slipped through: {first}."
    assert label(said) == f"You caught {caught} of 5 mistakes"


def typed(f):
    good(f)
    assert f(x, 3.0)[0].dtype == torch.float32


def equal(f):
    good(f)
    assert torch.equal(f(x, 3.0)[0].float(), 3 * x)


def a_tuple(f):
    good(f)
    assert isinstance(f(x, 3.0), tuple)


def wrong(f):
    assert f(x, 3.0)[1] == 20


@pytest.mark.parametrize("test, words", [
    (typed, "rejects a right answer in float64, with AssertionError"),
    (equal, "rejects a right answer that is rounded otherwise"),
    (a_tuple, "rejects a right answer that comes as a list"),
    (wrong, "rejects the course's own answer"),
    (wrong, "Is the case right, and are floats compared with a tolerance?"),
    (lambda f: f(x), "the course's own answer, with TypeError: missing a required argument"),
    (lambda f: f(x), "Is f called as f(x, times), with inputs of the kinds that the lesson names?"),
    (lambda f: exit(), "with SystemExit")])
def test_a_test_that_rejects_what_is_right_is_told_which_style_and_earns_nothing(test, words):
    said = verdict(test)
    assert said.state == "strict" and words in said.message and said.part == (0, 1)
    assert said.lines[0].startswith("line ")


def unwritten(f):
    raise NotImplementedError


def calls_the_answer(f):
    def inner():
        return both(x, 3.0)  # noqa: F821
    assert f(x, 3.0) == inner()


def helper(rows):
    return both(rows, 3.0)  # noqa: F821


def calls_a_helper(f):
    assert f(x, 3.0) == helper(x)


def around(rows, deep):
    return around(rows, deep - 1) if deep else helper(rows)


def calls_a_helper_of_a_helper(f):
    assert f(x, 3.0) == around(x, 2)


@pytest.mark.parametrize("test, state, words", [
    (calls_a_helper, "calls the answer", "Your test calls both"),
    (calls_a_helper_of_a_helper, "calls the answer", "Your test calls both"),
    (unwritten, "unwritten", "still raises NotImplementedError"),
    (lambda f: None, "never calls f", "Call it with inputs of your own"),
    (lambda f: torch.allclose(f(x, 3.0)[0], 3 * x) if 0 else bool(f), "never calls f", ""),
    (lambda f: _caught(f), "returns in place of asserting", "write assert in place of return"),
    (calls_the_answer, "calls the answer", "Your test calls both: whoever has"),
    (lambda: None, "arguments", "Your test takes (), and is called with 1 argument: f."),
    (3, "type", "the function")])
def test_what_is_no_test_is_told_as_what_it_is(test, state, words):
    said = verdict(test)
    assert state in (said.state, said.mistake) and words in said.message, shown(said)


def _caught(f):
    try:
        return len(f(x, 3.0)) == 2
    except Exception:
        return False


def test_who_counts_the_calls_cannot_tell_right_from_wrong():
    """In each of many orders: the first four are never the right ones again and again."""
    passed = 0
    for seed in range(30):
        met = []

        def counting(f, met=met):
            met.append(f(x[:1, :2], 2.0) if 0 else 1)
            assert len(met) <= len(STYLES)
        passed += verdict(counting, seed).passed
    assert passed == 0
    orders = {tuple(one.style is None for one in suspects(TOY, seed)) for seed in range(30)}
    assert len(orders) > 15


def test_the_suspects_of_a_seed_are_the_same_in_every_process():
    first, again = (suspects(TOY, 5) for _ in range(2))
    assert [(one.style, one.mistake) for one in first] == [(o.style, o.mistake) for o in again]
    assert len(first) == len(TOY.mistakes) + len(STYLES)


def deaf(f):
    while True:
        try:
            while True:
                time.sleep(0.001)
        except BaseException:
            if time.monotonic() > deaf.until:
                raise


def endless(f):
    while True:
        pass


@pytest.mark.parametrize("test, words", [
    (endless, "It was stopped."), (deaf, "It still runs in the background")])
def test_a_test_without_an_end_holds_up_no_notebook(test, words):
    start = time.monotonic()
    deaf.until = start + 3
    said = verdict(test, seconds=0.2)
    assert said.state == "timeout" and words in said.message
    assert "Your test was still at work after 0.2 seconds for all 9 that it is tried on" \
        in said.message
    assert time.monotonic() - start < 3 + 2


def test_an_alias_of_the_answer_is_the_answer(monkeypatch):
    def mine(rows, times):
        return times * rows, rows.sum()
    monkeypatch.setitem(globals(), "both", mine)
    monkeypatch.setitem(globals(), "other", mine)
    said = verdict(lambda f: other(x, 3.0) == f(x, 3.0))  # noqa: F821
    assert said.mistake == "calls the answer"


def test_what_slipped_through_is_told_from_the_second_try_on(capsys):
    for told in (False, True, True):
        check("toy.test_it", at_two)
        said = " ".join(capsys.readouterr().out.split())
        assert "You caught 3 of 5 mistakes" in said
        assert ("slipped through: doubled." in said) is told


# ---- points

@pytest.mark.parametrize("caught, points", [
    (0, 0), (3, 0), (4, 1), (6, 1), (7, 2), (9, 2), (10, 3)])
def test_each_third_of_the_mistakes_is_worth_a_point(caught, points):
    said = Verdict("transformer.test_it", "some", None, "", part=(caught, 10))
    assert earned(said) == points


def test_a_mistake_that_the_bank_does_not_know_is_no_mistake_of_a_hunt():
    with pytest.raises(KeyError, match="cubed"):
        hunt(BOTH, "squared", "cubed")


# ---- the lessons

def test_every_lesson_from_03_on_has_a_test_to_write():
    lessons = sorted(path.stem for path in LESSONS.glob("*.ipynb"))
    assert {one.lesson for one in HUNTS} >= {name for name in lessons if "03" <= name < "16"}


@pytest.mark.parametrize("one", HUNTS, ids=lambda one: one.name)
def test_each_style_is_a_right_answer_to_the_check_itself(one, monkeypatch):
    """The oracle is the other exercise: the one that the test is written for."""
    monkeypatch.setattr(checks, "exercises", lambda: (one.exercise,))
    for suspect in suspects(one, 0):
        if suspect.style:
            assert judge(one.exercise.name, suspect.function, 1).state in ("passed", "detached")


# ---- the grader

PEEK = """
def test_it(f):
    assert not any(hasattr(f, name) for name in ("__code__", "__closure__", "__wrapped__"))
    shown = repr(vars(f)) + repr(f)
    assert not any(word in shown for word in ("lambda", "checks.transformer", "Mistake"))
    new, held = torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 2, 2)
    seen, keys, values = f(new, new, 5 * new, held, values=held)
    assert keys.shape == (1, 1, 3, 2) and 1.9 < keys[0, 0, 2].sum() < 2.1"""


def test_the_grader_shows_a_test_nothing_but_answers_and_gives_points_for_a_part(tmp_path):
    """By hand: four of the ten return other keys than these."""
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, RIGHT["softmax"], PEEK))
    assert states(done)["test_it"] == "some", report(done, verbose=True)
    assert done.verdicts["transformer.test_it"].part == (4, 10)
    assert done.total == 1 + 1 and "  1 of 3  transformer.test_it" in report(done)
    assert "slipped through: positions counted from 0." in " ".join(
        report(done, verbose=True).split())


HUGE = """
def test_it(f):
    x = torch.zeros(1, 1, 1, 1).expand(1, 1, 200000, 1)
    f(x, x, x, x, x)"""


def test_a_test_that_asks_for_more_than_a_machine_has_harms_nobody(tmp_path):
    """A mask of 40 gigabytes; the function before it keeps its point."""
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, RIGHT["softmax"], HUGE),
                  limits=SHORT)
    assert states(done)["softmax"] == "passed" and not done.note
    assert states(done)["test_it"] in ("strict", "timeout")


def test_a_call_that_never_was_or_a_bank_that_is_gone_is_an_error_over_there():
    apart, (ours, theirs) = Apart.__new__(Apart), socket.socketpair()
    apart.bank = Line(ours)
    until = time.monotonic() + 5
    for number in (-1, 7, 2 ** 70, "0", None, True, [0]):
        assert "error" in apart.called({"call": number}, [], until)
    theirs.close()
    assert "given more than it can do" in apart.called(
        {"call": 0, "args": [], "names": {}}, suspects(TOY, 0), until)["error"][1]


def test_an_error_far_away_is_raised_here_as_the_same_kind_if_it_is_python_s_own():
    ours, theirs = socket.socketpair()
    line = Line(theirs)
    for kind, known in (("IndexError", IndexError), ("SystemExit", RuntimeError),
                        ("UnicodeDecodeError", RuntimeError), ("Odd", RuntimeError)):
        assert type(error_of(kind, "words")) is known
    assert re.match("<.*Far object", repr(Far(line, "a", 0)))
    ours.close()
