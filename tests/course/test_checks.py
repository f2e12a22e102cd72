"""The check machine: what it says of answers that are wrong in every way, and that it never falls.

Its exercises have their own tests in tests/checks/test_exercises.py. Here a few small exercises of
our own stand in, so that each rule is seen on an answer that can be worked out by hand.
"""
import io
import json
import math
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import numpy
import pytest
import torch

from minidalle.course import checks
from minidalle.course.checks import (
    Exercise,
    Mistake,
    Verdict,
    check,
    find,
    judge,
    judged,
    learnable,
    listing,
    shown,
)
from minidalle.course.checks.answers import difference, frozen
from minidalle.course.checks.gradients import gradients_of
from minidalle.course.checks.running import Failure, Outcome, Reply, ask

DOUBLE = Exercise(
    "toy.double", "99_toy", 1, lambda x: 2 * x,
    (lambda g: (torch.randn(2, 3, generator=g),),), (
        Mistake("squared", "You square.", lambda x: x * x),
        Mistake("transposed", "You transpose.", lambda x: 2 * x.T),
        Mistake("index too large", "You look behind the end.", lambda x: [2 * x][7])),
    "twice as much")
COUNT = Exercise("toy.count", "99_toy", 1, lambda ids: len(ids),
                 (lambda g: ([3, 1, 4],),), (), "counted")
NOTHING = Exercise("toy.sum", "99_toy", 1, lambda x, y: x + y,
                   (lambda g: (torch.rand((), generator=g), 1.0),), (), "added")


LEARNT = Exercise("toy.scaled", "99_toy", 1, lambda ids, x, s: x[ids] * s, (
    lambda g: (torch.tensor([1, 0]), torch.randn(2, generator=g), torch.rand((), generator=g)),),
    (Mistake("cancelled", "You cancel.", lambda ids, x, s: (x[ids] * s).detach() + 0 * x[ids] * s),
     Mistake("turned", "You turn.", lambda ids, x, s: 2 * (x[ids] * s).detach() - x[ids] * s)),
    "scaled", learns=True)
SHARES = Exercise("toy.shares", "99_toy", 1, lambda p: p.square(), (
    lambda g: (torch.rand(4, generator=g) / 4,),), (), "squared", learns=True,
    felt=lambda gradient, p: gradient - gradient.mean())


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(checks, "exercises", lambda: (DOUBLE, COUNT, NOTHING, LEARNT, SHARES))


def verdict(function, seconds=10.0) -> Verdict:
    return judge("toy.double", function, 0, seconds)


# ---- gradients

def test_the_gradients_are_those_by_hand_and_none_where_none_arrives():
    """f = (x1 s, 4 x0) with the weights sin 1 and sin 2: df/dx0, df/dx1 and df/ds."""
    def f(ids, x, s, unused):
        return torch.stack([x[1] * s, 4 * x[0]])
    x, s = torch.tensor([5.0, 7.0]), torch.tensor(3.0)
    of_x, of_s, of_unused = gradients_of(f)(torch.tensor([1]), x, s, torch.tensor(1.0))
    assert of_x.tolist() == pytest.approx([4 * math.sin(2), 3 * math.sin(1)])
    assert of_s.item() == pytest.approx(7 * math.sin(1)) and of_unused is None


def test_the_gradients_of_an_answer_in_parts_are_those_of_its_parts_one_after_the_other():
    """f = (x0 s, [x1, 4 x0]) with the weights sin 1, sin 2 and sin 3, as a tuple or as a list."""
    x, s = torch.tensor([5.0, 7.0]), torch.tensor(3.0)
    for kind in (tuple, list):
        of_x, of_s = gradients_of(lambda x, s, kind=kind: kind(
            (x[0] * s, torch.stack([x[1], 4 * x[0]]))))(x.clone(), s.clone())
        assert of_x.tolist() == pytest.approx([3 * math.sin(1) + 4 * math.sin(3), math.sin(2)])
        assert of_s.item() == pytest.approx(5 * math.sin(1))


@pytest.mark.parametrize("function, words", [
    (lambda ids, x, s: x[ids] * s.item(), "no gradient reaches s. Then nothing can be learnt"),
    (lambda ids, x, s: x[ids] * float(s), "no gradient reaches s."),
    (lambda ids, x, s: x[ids].detach() * s, "no gradient reaches x."),
    (lambda ids, x, s: torch.tensor([x[1] * s, x[0] * s]), "no gradient reaches x and s."),
    (lambda ids, x, s: torch.stack([x[1], x[0].detach()]) * s, "that reaches x is wrong or lacks"),
    (lambda ids, x, s: x[ids] * s + 0 * (x - x).abs().sqrt().sum(), "that reaches x is wrong"),
    (lambda ids, x, s: torch.from_numpy(x[ids].numpy()) * s, "stops with RuntimeError: Can't call"),
])
def test_right_numbers_through_which_nothing_can_be_learnt_do_not_pass(function, words):
    said = judge("toy.scaled", function, 0)
    assert said.state == "detached" and words in said.message and said.mistake is None
    assert said.message.startswith("Your numbers are right, but ") and "not yet." in shown(said)


@pytest.mark.parametrize("mistake, function", [
    ("cancelled", lambda ids, x, s: (x[ids] * s).detach() + (x[ids] - x[ids]) * s),
    ("turned", lambda ids, x, s: (x[ids] * s).detach() * 2 - s * x[ids]),
    (None, lambda ids, x, s: (x[ids] * s).detach()),        # no gradient is not one of zeros
    (None, lambda ids, x, s: (x[ids] * s).detach() * 3 - 2 * s * x[ids])])
def test_a_mistake_with_right_numbers_is_told_by_the_gradients_that_arrive(mistake, function):
    said = judge("toy.scaled", function, 0)
    assert (said.state, said.mistake) == ("mistake" if mistake else "detached", mistake)


@pytest.mark.parametrize("state, function", [
    ("passed", lambda p: p.square()),
    ("passed", lambda p: p.square() + p.sum() - p.sum().detach()),
    ("detached", lambda p: p.square().detach() + p.sum() - p.sum().detach()),
    ("detached", lambda p: 2 * p.square() - p.square().detach()),
    ("detached", lambda p: p.square().detach())])
def test_what_of_a_gradient_is_not_felt_may_be_any(state, function):
    """Felt is what differs from place to place; a sum adds 1 at each."""
    assert judge("toy.shares", function, 0).state == state


def test_a_gradient_is_asked_for_only_of_right_numbers_and_where_a_model_learns():
    assert judge("toy.scaled", lambda ids, x, s: x[ids] * s, 0).passed
    assert judge("toy.scaled", lambda ids, x, s: x[ids].detach() * s + 1, 0).state == "wrong"
    assert verdict(lambda x: torch.tensor((2 * x).tolist())).passed


def test_a_function_that_never_ends_where_a_gradient_is_asked_for_is_stopped():
    def waits(ids, x, s):
        while x.requires_grad:
            pass
        return x[ids] * s
    assert judge("toy.scaled", waits, 0, seconds=0.3).state == "timeout"


@pytest.mark.parametrize("forged", [
    [None], 3, None, [torch.zeros(()).expand(10 ** 6, 10 ** 6), torch.ones(())], ["a", {}],
    [torch.empty(2, device="meta"), torch.ones(())]])
def test_forged_gradients_never_pass_and_take_no_memory(forged):
    """They come from another process: an error is refused by the grader."""
    calls = LEARNT.calls(torch.Generator().manual_seed(0), 1)
    try:
        assert not learnable(LEARNT, calls, Reply((Outcome(forged),)), 1).passed
    except (ValueError, TypeError, RuntimeError):
        pass


def test_a_gradient_of_another_shape_does_not_pass_by_broadcasting():
    calls = LEARNT.calls(torch.Generator().manual_seed(0), 1)
    of_x, of_s = gradients_of(LEARNT.function)(*frozen(calls[0]))
    assert learnable(LEARNT, calls, Reply((Outcome([of_x, of_s]),)), 1).passed
    assert not learnable(LEARNT, calls, Reply((Outcome([of_x[None], of_s]),)), 1).passed


# ---- a right answer

def test_a_right_answer_passes_in_one_line_that_says_what_was_shown(capsys):
    assert check("toy.double", lambda number: number + number) is None
    assert capsys.readouterr().out == "\N{CHECK MARK} toy.double: passed, twice as much.\n"


def test_kinds_of_inputs_take_turns():
    kinds = Exercise("toy.kinds", "99_toy", 1, abs, (lambda g: (1,), lambda g: (2,)), (), "")
    assert kinds.calls(torch.Generator()) == [(1,), (2,), (1,), (2,), (1,)]


def test_each_kind_of_input_is_asked_and_judged_in_every_check_however_many_there_are():
    many = tuple(lambda g, i=i: (i,) for i in range(2 * checks.ROUNDS))
    kinds = Exercise("toy.kinds", "99_toy", 1, abs, many, (), "")
    calls = kinds.calls(torch.Generator())
    assert calls == [(i,) for i in range(2 * checks.ROUNDS)]
    for i, _ in enumerate(many):
        reply = ask(lambda x, i=i: x + (x == i), calls, 1)
        assert not judged(kinds, calls, reply, 1).passed


def test_inputs_are_drawn_afresh_and_repeat_with_a_seed():
    seen = []

    def spy(x):
        seen.append(x.clone())
        return 2 * x

    for seed in (None, None, 5, 5):
        judge("toy.double", spy, seed)
    runs = [torch.stack(seen[i:i + checks.ROUNDS]) for i in range(0, len(seen), checks.ROUNDS)]
    assert not torch.equal(runs[0], runs[1]) and torch.equal(runs[2], runs[3])
    assert len({x.sum().item() for x in runs[2]}) == checks.ROUNDS


def test_what_the_student_prints_is_seen(capsys):
    check("toy.count", lambda ids: print("here", ids) or 3)
    assert capsys.readouterr().out.count("here [3, 1, 4]") == checks.ROUNDS


# ---- known mistakes

@pytest.mark.parametrize("mistake", DOUBLE.mistakes, ids=lambda mistake: mistake.name)
def test_a_mistake_in_value_shape_or_by_a_crash_is_told_by_name(mistake):
    said = verdict(mistake.function)
    assert (said.state, said.mistake) == ("mistake", mistake.name)
    assert said.message == mistake.message and not said.passed


def test_a_mistake_counts_only_if_it_agrees_on_all_rounds():
    calls = []

    def squares_at_first(x):
        calls.append(x)
        return x * x if len(calls) < checks.ROUNDS else 3 * x

    assert verdict(squares_at_first).state == "wrong"


def test_one_wrong_round_is_enough_to_fail():
    calls = []

    def wrong_at_last(x):
        calls.append(x)
        return 2 * x if len(calls) < checks.ROUNDS else 3 * x

    assert verdict(wrong_at_last).state == "wrong"


def test_an_answer_shared_between_calls_is_judged_as_it_was_when_it_came():
    """A buffer that is reused: each answer was right when it was returned."""
    buffer = torch.empty(2, 3)
    assert verdict(lambda x: buffer.copy_(2 * x)).passed


# ---- answers that are no known mistake: (answer, state, words of the message)

@pytest.mark.parametrize("answer, state, words", [
    (lambda x: None, "type", "is None: did you forget return?"),
    (lambda x: 3.0, "type", "is a number, and a tensor was expected: keep the tensor"),
    (lambda x: (2 * x,), "type", "is a tuple, and a tensor was expected: is there a comma too "
     "many?"),
    (lambda x: (2 * x, x), "type", "is a tuple, and a tensor was expected: return the one that "
     "was asked for, or make one of all with torch.stack"),
    (lambda x: (2 * x).tolist(), "type", "is a list, and a tensor"),
    (lambda x: (2 * x).numpy(), "type", "is a numpy array, and a tensor"),
    (lambda x: verdict, "type", "is an object of type function"),
    (lambda x: (2 * x).to_sparse(), "type", "a tensor was expected"),
    (lambda x: (2 * x)[None], "shape", "the shape (1, 2, 3), and (2, 3) was expected"),
    (lambda x: (2 * x).long(), "dtype", "the dtype int64, and float32 was expected"),
    (lambda x: x > 0, "dtype", "the dtype bool, and float32 was expected"),
    (lambda x: (2 * x).to(torch.complex64), "dtype", "complex64"),
    (lambda x: 3 * x.double(), "wrong", "was expected (in float64); 6 of 6 places differ"),
    (lambda x: 2 * x.half(), "dtype", "the dtype float16, and float32 was expected"),
    (lambda x: 2 * x * math.nan, "wrong", "6 of 6 places are NaN: look for a 0 / 0, a 0 * inf"),
    (lambda x: (-x.abs()).log(), "wrong", "or the logarithm or root of a number below 0"),
    (lambda x: 2 * x * math.inf, "wrong", "6 of 6 places are infinite"),
    (lambda x: x.new_tensor([[1], [2]]), "shape", "(2, 1), and (2, 3)"),
])
def test_type_shape_dtype_and_value_are_told_apart(answer, state, words):
    said = verdict(answer)
    assert said.state == state and words in said.message
    assert said.message.endswith("Given: x (2, 3) float32.") and said.mistake is None


def test_the_first_place_that_differs_is_named_with_what_came_and_what_was_expected():
    def off(x):
        answer = 2 * x
        answer[0, 2] = 9
        answer[1, 0] = 9
        return answer

    x = DOUBLE.calls(torch.Generator().manual_seed(0))[0][0]
    assert verdict(off).message.startswith(f"Your answer[0, 2] is 9, and {2 * x[0, 2].item():.5g} "
                                           "was expected; 2 of 6 places differ.")


ODD = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, *(
    getattr(torch, name) for name in ("float8_e8m0fnu", "uint16") if hasattr(torch, name))]


def test_float64_passes_where_float32_is_asked_and_within_the_precision_of_float32():
    assert verdict(lambda x: (2 * x).double()).passed
    assert verdict(lambda x: 2.1 * x.double()).state == "wrong"


@pytest.mark.parametrize("dtype", ODD)
def test_coarser_floats_are_told_their_dtype_and_no_dtype_makes_the_check_fall(dtype, capsys):
    said = verdict(lambda x: (2 * x).to(dtype))
    name = str(dtype).removeprefix("torch.")
    assert said.state == "dtype"
    assert f"the dtype {name}, and float32 was expected" in said.message
    check("toy.double", lambda x: torch.full_like(x, math.nan).to(dtype))
    assert "not yet" in capsys.readouterr().out


@pytest.mark.parametrize("got, want, tolerance", [
    (torch.float16, torch.float16, 0), (torch.float32, torch.float16, 2e-3),
    (torch.float64, torch.bfloat16, 0.0157), (torch.bfloat16, torch.float16, 0.0157)])
def test_where_half_is_right_all_floats_are_within_its_rounding_and_never_more(
        got, want, tolerance):
    """2 * eps by hand: 2 / 1024 and 2 / 128, of (1 + |want|) = 2; a cap of 0.02 is never met."""
    one = torch.ones(3, dtype=want)
    assert difference(one.to(got), one, 0) is None
    off = one.double() + 2 * tolerance + 0.04
    assert difference(off.to(got), one, 0).state == "wrong"


@pytest.mark.parametrize("got, words", [
    (3.0, "Your answer is a number, and a tensor without dimensions was expected: keep the tensor"),
    (torch.ones(1), "the shape (1,), and a tensor without dimensions, (), was expected")])
def test_a_number_is_no_tensor_without_dimensions_and_the_message_says_which_is_asked(got, words):
    assert words in difference(got, torch.tensor(3.0), 1e-5).message


def test_a_tensor_without_dimensions_is_a_number_and_one_with_some_is_told_so():
    assert difference(torch.tensor(3.0), 3.0, 1e-5) is None
    assert difference(torch.tensor([3.0]), 3.0, 1e-5).message == (
        "Your answer is a tensor of the shape (1,), and a number was expected: one without "
        "dimensions counts.")


def test_float32_is_held_to_its_own_precision():
    assert verdict(lambda x: 2 * x * (1 + 1e-6)).passed
    assert verdict(lambda x: 2 * x * (1 + 1e-3)).state == "wrong"


def test_gradients_and_parameters_do_no_harm():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    assert verdict(lambda x: weight * x).passed


def test_whole_numbers_that_no_double_tells_apart_are_told_apart():
    """2^53 + 1 is the first that a double rounds."""
    assert difference(2 ** 53, 2 ** 53 + 1, 0).state == "wrong"
    assert difference(10 ** 6 + 1, 10 ** 6, 1e-5).state == "wrong"
    assert difference(2 ** 53 + 1, 2 ** 53 + 1, 0) is None


@pytest.mark.parametrize("got, want, state", [
    (3, 3, None), (numpy.int64(3), 3, None), (torch.tensor(3), 3, None), (3.0, 3, "type"),
    (True, 1, "type"), (1, True, "type"), (numpy.bool_(True), True, None), ("3", 3, "type"),
    (4, 3, "wrong"), (1, 1.0, None), (1 + 1e-7, 1.0, None), (1.001, 1.0, "wrong"),
    (math.nan, 1.0, "wrong"), (1.0, math.nan, "wrong"), (math.nan, math.nan, None),
    (math.inf, math.inf, None), (torch.tensor([1.0]), 1.0, "type"), (2 ** 70, 2 ** 70, None),
    ([1, 2], [1, 2], None), ((1, 2), [1, 2], None), ([1, 3], [1, 2], "wrong"),
    ([1], [1, 2], "shape"), ([1, 2, 3], [1, 2], "shape"), ([1, 2.0], [1, 2], "type"),
    ([torch.tensor(1)], [1], None), (torch.tensor([1, 2]), [1, 2], "type"), ([], [], None),
    ("ab", "ab", None), ("ab", "ac", "wrong"), (b"ab", "ab", "type"), (b"ab", b"ab", None),
    ({(1, 2): 3}, {(1, 2): 3}, None), ({(1, 2): 4}, {(1, 2): 3}, "wrong"),
    ({}, {1: 2}, "wrong"), ({1: 2, 3: 4}, {1: 2}, "wrong"), ([(1, 2)], {1: 2}, "type"),
    ((1.0, [True, "a"]), (1.0, [True, "a"]), None),
    ((1.0, [True, "b"]), (1.0, [True, "a"]), "wrong"),
    (torch.ones(0, 3), torch.ones(0, 3), None), (torch.ones(0, 3), torch.ones(3, 0), "shape"),
    (torch.tensor(1, dtype=torch.int32), torch.tensor(1), "dtype"), (None, None, None),
    (torch.tensor(1), torch.tensor(1).byte(), "dtype"), (torch.tensor(1.0), 1, "type"),
    (torch.tensor([math.nan, 1.0]), torch.tensor([math.nan, 1.0]), None),
    (torch.tensor([math.nan, 1.0]), torch.tensor([1.0, math.nan]), "wrong"),
])
def test_numbers_texts_lists_dicts_and_empty_tensors_by_hand(got, want, state):
    found = difference(got, want, 1e-5)
    assert (found.state if found else None) == state


@pytest.mark.parametrize("got, words", [
    ([5, 6, 9], "Your answer[2] is 9, and 7 was expected."),
    ([5, 9], "Your answer has 2 parts, and 3 were expected; and your answer[1] is 9, and 6 was "
             "expected."),
    ([5, 6, None], "Your answer[2] is None: a value is missing there."),
])
def test_the_first_wrong_part_of_a_list_is_named(got, words):
    assert difference(got, [5, 6, 7], 0).message == words


def test_inner_brackets_are_told_from_a_comma_too_many():
    x = torch.ones(2)
    said = difference((x, (x, x)), (x, x, x), 0).message
    assert said == ("Your answer has 2 parts, and 3 were expected; and your answer[1] is a tuple, "
                    "and a tensor was expected: are there brackets too many round its parts?")
    assert "a comma too many?" in difference((x, (x,), x), (x, x, x), 0).message


def test_infinity_is_told_as_an_overflow_only_where_the_answer_is_finite():
    inf, x = -torch.inf, torch.tensor([1.0, 2.0, 3.0])
    spoilt = torch.tensor([inf, 2.0, 3.0])
    assert "overflow" in difference(spoilt, x, 1e-5).message
    masked = difference(spoilt, torch.tensor([1.0, 2.0, inf]), 1e-5).message
    assert "overflow" not in masked and "2 of 3 places differ" in masked


def test_frozen_copies_what_later_calls_could_change():
    x, row = torch.ones(2, requires_grad=True), [1, 2]
    copy = frozen({"x": x, "row": (row,), "array": numpy.ones(2)})
    with torch.no_grad():
        x.add_(1)
    row.append(3)
    assert copy["x"].tolist() == [1, 1] and copy["row"] == ([1, 2],)
    assert not copy["x"].requires_grad


# ---- crashes, endless loops, changed inputs

def test_a_crash_is_shown_as_the_student_s_with_their_line_and_none_of_ours():
    def helper(x):
        return x @ x            # 2x3 times 2x3 does not fit

    said = verdict(lambda x: helper(x))
    assert said.state == "crashed"
    assert "Your function stopped with RuntimeError: mat1 and mat2 shapes" in said.message
    assert "Given: x (2, 3) float32." in said.message
    assert said.lines[-1].strip().startswith("return x @ x") and len(said.lines) == 4
    assert "in helper" in said.lines[2] and "running" not in "".join(said.lines)


def test_a_crash_inside_a_library_ends_at_the_student_s_own_line():
    said = verdict(lambda x: torch.nn.functional.cross_entropy(x, "labels"))
    assert said.state == "crashed" and len(said.lines) == 2 and "labels" in said.lines[1]


def test_an_endless_recursion_is_a_crash_of_few_lines():
    def again(x):
        return again(x)

    said = verdict(again)
    assert said.state == "crashed" and "RecursionError" in said.message and len(said.lines) <= 10


@pytest.mark.parametrize("leave", [sys.exit, lambda: exec("raise BaseException")])
def test_leaving_the_program_is_only_a_crash(leave):
    assert verdict(lambda x: leave()).state == "crashed"


def test_ctrl_c_is_not_swallowed():
    def stopped(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verdict(stopped)


def test_unwritten_is_told_from_an_operation_that_torch_lacks():
    def unwritten(x):
        raise NotImplementedError("your turn")

    def lacking(x):
        return torch.ones(2, dtype=torch.bool).abs()

    assert verdict(unwritten).state == "unwritten"
    assert verdict(lacking).state == "crashed"


def test_an_unwritten_function_without_its_source_at_hand_is_still_unwritten():
    scope = {}
    exec("def unwritten(x):\n    raise NotImplementedError", scope)
    assert verdict(scope["unwritten"]).state == "unwritten"


def test_an_unwritten_helper_is_not_blamed_on_the_function_that_calls_it():
    """Nor on one between the two; and a function that calls itself is the one to write."""
    def helper(x):
        raise NotImplementedError

    def between(x):
        return [helper(part) for part in x]

    def itself(x, deep=0):
        if deep < 9:
            return itself(x, deep + 1)
        raise NotImplementedError

    for function in (lambda x: helper(x), between, lambda x: between(x)):
        said = verdict(function)
        assert (said.state, said.mistake) == ("mistake", "calls helper, which is not written yet")
        assert said.message.startswith("Your function calls helper, which is not written yet")
        assert "not yet.\n" in shown(said) and "not written yet.\n" not in shown(said)
    assert verdict(itself).state == verdict(helper).state == "unwritten"
    assert "Your function still raises" in verdict(helper).message


@pytest.mark.parametrize("lines", [
    (), ("    raise",), ("line 1, in f", "line 2, in =1+1"),
    ("line 1, in f", "line 2, in <lambda>")])
def test_without_the_name_of_a_helper_the_function_itself_is_unwritten(lines):
    reply = Reply(checks.ROUNDS * (Outcome(error=Failure("", "", lines, unwritten=True)),))
    assert judged(DOUBLE, DOUBLE.calls(torch.Generator()), reply, 1).state == "unwritten"


def loops(x):
    while True:
        pass


def deaf_to_exceptions(x):
    for _ in range(3):
        try:
            loops(x)
        except Exception:
            pass


def deaf_once(x):
    try:
        loops(x)
    except:  # noqa: E722, the student's own
        loops(x)


@pytest.mark.parametrize("function", [loops, deaf_to_exceptions, deaf_once])
def test_an_endless_loop_is_stopped_and_shown(function):
    start = time.monotonic()
    said = verdict(function, seconds=0.1)
    assert said.state == "timeout" and "still at work after 0.1 seconds" in said.message
    assert said.lines and "was stopped" in said.message and time.monotonic() - start < 5


def test_an_endless_loop_in_another_thread_is_given_up_on():
    said, done = [], threading.Event()
    thread = threading.Thread(
        target=lambda: said.append(verdict(lambda x: done.wait(), seconds=0.05)))
    thread.start()
    thread.join(2)
    done.set()
    assert said[0].state == "timeout" and "restart the kernel" in said[0].message


def test_in_another_thread_everything_else_is_the_same():
    said = []

    def judge_all():
        said.extend(verdict(f).state for f in (lambda x: 2 * x, lambda x: x * x, lambda x: x[9]))

    thread = threading.Thread(target=judge_all)
    thread.start()
    thread.join(5)
    assert said == ["passed", "mistake", "crashed"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarm to keep")
def test_somebody_else_s_alarm_and_handler_are_kept():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        verdict(lambda x: 2 * x)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
        signal.raise_signal(signal.SIGALRM)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_a_changed_input_is_told_even_if_the_answer_is_right():
    said = verdict(lambda x: x.mul_(2))
    assert said.state == "mutates" and "changes its input x in place" in said.message


def test_a_changed_list_is_told_too():
    assert judge("toy.count", lambda ids: len(ids) + ids.clear(), 0).state == "crashed"
    assert judge("toy.count", lambda ids: [len(ids), ids.sort()][0], 0).state == "mutates"


def test_a_known_mistake_comes_before_a_changed_input():
    assert verdict(lambda x: x.mul_(x)).state == "mistake"


def test_the_oracle_never_sees_what_the_student_changed():
    """Were the arguments shared, x - x would be right after the student set x to 0."""
    assert verdict(lambda x: x.zero_()).state == "mutates"


# ---- how it is called

def test_a_result_in_place_of_the_function_is_told():
    said = judge("toy.double", torch.ones(2, 3))
    assert said.state == "type" and "Pass the function itself" in said.message


def test_the_package_s_own_function_is_no_answer(capsys):
    from minidalle.transformer import attention
    for own in (attention, partial(attention, None)):
        check("toy.double", own)
        assert "the package's own, from minidalle.transformer" in capsys.readouterr().out


def test_the_wrong_number_of_arguments_is_told_with_their_names():
    said = judge("toy.sum", lambda x: x)
    assert said.state == "arguments"
    assert said.message == "Your function takes (x), and is called with 2 arguments: x, y."


def test_a_function_written_in_c_can_be_checked():
    assert judge("toy.sum", torch.add).passed and judge("toy.count", len).passed


def test_an_unknown_name_proposes_the_nearest():
    with pytest.raises(ValueError, match="'toy.dubble'; did you mean 'toy.double'"):
        check("toy.dubble", len)


# ---- how it looks

def test_a_failed_check_is_a_headline_and_indented_lines_of_bounded_width(capsys):
    check("toy.double", lambda x: x @ x)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "toy.double: not yet." and len(rest) >= 2
    assert all(line.startswith("  ") and len(line) <= checks.WIDTH for line in rest)


def test_an_unwritten_one_is_called_so():
    said = shown(Verdict("toy.double", "unwritten", None, "Write it."))
    assert said == "toy.double: not written yet.\n  Write it."


@pytest.mark.parametrize("terminal, no_colour, coloured", [
    (True, "", True), (True, "1", False), (False, "", False)])
def test_colour_in_a_terminal_unless_no_color(monkeypatch, terminal, no_colour, coloured):
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert checks.in_colour() is coloured
    assert ("\033[" in shown(Verdict("a", "wrong", None, "b"), checks.in_colour())) is coloured


def test_a_terminal_without_a_tick_gets_ok(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    assert shown(Verdict("a", "passed", None, "b")) == "ok a: passed, b."


def test_a_terminal_that_lacks_a_letter_gets_its_number(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", out)
    check("toy.double", lambda x: "\u4e03"[x])
    check("toy.double", lambda x: {}["\u4e03"])
    out.seek(0)
    assert "KeyError: '\\u4e03'" in out.read()


def test_the_listing_is_plain_data():
    assert json.loads(json.dumps(listing()))[0] == {
        "name": "toy.double", "lesson": "99_toy", "points": 1,
        "mistakes": ["squared", "transposed", "index too large"]}
    assert find("toy.double") is DOUBLE


def test_importing_the_checks_loads_no_exercise_and_no_model():
    """What is already loaded with torch costs nothing; the files of the package would."""
    code = ("import sys, minidalle.course.checks; "
            "print(*(name for name in sys.modules if name.startswith('minidalle.')))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) == {
        "minidalle.course", "minidalle.course.checks", *(
            f"minidalle.course.checks.{name}" for name in ("answers", "gradients", "running"))}
