r"""Hunting: the student writes the test, and the mistakes of the bank are what it must catch.

in -> out   a Hunt and a student's test_it(f) -> a Verdict: let right answers pass? caught how many?
idea        The test is run once with each of the suspects, in an order that nobody can foresee:
            right answers in several styles, and the wrong ones. To raise is to reject, as in
            pytest. A test that rejects what is right, is wrong; else its catch is counted. What it
            is handed shows nothing of itself but its answers.
left out    wrong answers that only gradients show; who wrote which line of the test
"""
import importlib
import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType, FunctionType

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Hunt, Mistake, Result, Verdict, judged, not_written
from minidalle.course.checks.answers import frozen
from minidalle.course.checks.running import Failure, Reply, ask, by_thread

FINE = 1e-6                    # of a number: what two right answers in float32 differ by


@dataclass(frozen=True)
class Style:
    """A way to be right."""
    name: str
    advice: str                # for the author of a test that rejects it
    change: Callable           # of an answer: (answer, generator) -> the same, in this style


def mapped(change: Callable, answer):
    """Each number and tensor of an answer changed."""
    if isinstance(answer, (list, tuple)):
        return type(answer)(mapped(change, part) for part in answer)
    return change(answer)


def in_double(answer, generator: Generator):
    return mapped(lambda x: x.double() if is_float(x) else x, answer)


def rounded(answer, generator: Generator):
    def moved(x):
        if not is_float(x):
            return x * (1 + FINE / 2) if isinstance(x, float) else x
        return x * (1 + FINE * (torch.rand(x.shape, generator=generator).to(x) - 0.5))
    return mapped(moved, answer)


def listed(answer, generator: Generator):
    return list(answer) if isinstance(answer, tuple) else answer


def is_float(x) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


STYLES = (
    Style("the course's own answer", "Is the case right, and are floats compared with a tolerance?",
          lambda answer, generator: answer),
    Style("a right answer in float64", "Compare the numbers alone, for example .double() of both "
          "sides.", in_double),
    Style("a right answer that is rounded otherwise", "Float32 is sure of six digits: compare with "
          "a tolerance, as torch.allclose does.", rounded),
    Style("a right answer that comes as a list", "A list of the same parts is as good as a tuple.",
          listed))


@dataclass
class Suspect:
    function: Callable
    style: Style | None = None         # of a right one
    mistake: Mistake | None = None     # of a wrong one
    asked: list[int] = field(default_factory=list)      # an entry for each call


def suspects(hunt: Hunt, seed: int) -> list[Suspect]:
    """All of them in an order of their own; the same again for the same seed."""
    generator = Generator().manual_seed(seed)
    right, found = hunt.exercise.function, []
    for style in STYLES:
        found.append(suspect(right, right, style=style, generator=generator))
    for mistake in hunt.mistakes:
        found.append(suspect(mistake.function, right, mistake=mistake))
    random.Random(seed).shuffle(found)
    return found


def suspect(function: Callable, right: Callable, style: Style | None = None,
            mistake: Mistake | None = None, generator: Generator | None = None) -> Suspect:
    """Arguments may come by the names of the right function, and nobody changes the other's."""
    def f(*args, **names):
        made.asked.append(1)
        args = inspect.signature(right).bind(*args, **names).args
        answer = frozen(function(*frozen(args)))
        return style.change(answer, generator) if style else answer

    made = Suspect(f, style, mistake)
    return made


def caught(hunt: Hunt, test: Callable, seed: int, seconds: float) -> Verdict:
    """The verdict on a test in this process."""
    found = suspects(hunt, seed)
    reply = asked(sought(hunt), test, [one.function for one in found], seconds, by_thread)
    return hunted(hunt, found, reply, seconds)


def sought(hunt: Hunt) -> str:
    """What the function is called in the notebook for which the test is written."""
    return hunt.exercise.name.rpartition(".")[2]


def known(name: str) -> Hunt | Result:
    """That of this name. Imports one file of checks, and not all of them."""
    bank = importlib.import_module(f"minidalle.course.checks.{name.partition('.')[0]}")
    return next(one for one in bank.EXERCISES if one.name == name)


def asked(answer: str, test: Callable, functions: Sequence[Callable], seconds: float,
          limit: Callable | None = None) -> Reply:
    """What comes of running the test on each of them. It may not call the answer."""
    if calls(answer, test):
        return Reply(reason="answer", text=answer)
    return ask(test, [(f,) for f in functions], seconds, limit)


def calls(answer: str, test: Callable) -> bool:
    """Whether its lines name the answer, or those of a function of the same notebook that it
    calls, under whatever name."""
    left, known = [test], {id(test)}
    while left:
        one = left.pop()
        home, names = getattr(one, "__globals__", {}), names_in(getattr(one, "__code__", None))
        met = [home[name] for name in names if isinstance(home.get(name), FunctionType)
               and home[name].__globals__ is home]
        if answer in names or home.get(answer) in met:
            return True
        left += [function for function in met if id(function) not in known]
        known |= set(map(id, met))
    return False


def names_in(code: CodeType | None) -> set[str]:
    """What a function's lines look up outside of it."""
    if code is None:
        return set()
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*map(names_in, inner))


def hunted(hunt: Hunt, found: Sequence[Suspect], reply: Reply, seconds: float) -> Verdict:
    """The verdict on what a test replied to the suspects."""
    if reply.reason == "answer":
        return Verdict(hunt.name, "mistake", "calls the answer", f"Your test calls {reply.text}: "
                       "whoever has the right answer needs no test. Ask for what you can work out "
                       "by hand, or for what must be true of any right answer.")
    if reply.reason == "timeout":
        return Verdict(hunt.name, "timeout", None, f"Your test was still at work after {seconds:g} "
                       f"seconds for all {len(found)} that it is tried on: take smaller inputs, or "
                       f"look for a loop that never ends. {reply.text}.", reply.lines)
    if reply.reason:
        said = judged(hunt, [(a_function,)], reply, seconds)
        return replace(said, message=said.message.replace("Your function", "Your test"))
    pairs = list(zip(found, reply.outcomes, strict=True))
    unwritten = [out.error for one, out in pairs if one.style and out.error and out.error.unwritten]
    if unwritten:
        return not_written(hunt, unwritten[0].functions())
    for style in STYLES:
        for one, out in pairs:
            if one.style is style and out.error:
                return Verdict(hunt.name, "strict", None, f"Your test rejects {style.name}, with "
                               f"{out.error.short()}. {advice(hunt, style, out.error)}",
                               out.error.lines)
    return counted(hunt, pairs)


def advice(hunt: Hunt, style: Style, error: Failure) -> str:
    """Where even the course's own answer could give none, f was called with something odd."""
    if style is STYLES[0] and error.kind != "AssertionError":
        names = ", ".join(inspect.signature(hunt.exercise.function).parameters)
        return f"Is f called as f({names}), with inputs of the kinds that the lesson names?"
    return style.advice


def a_function(*anything):
    """Stands for what a test is called with."""


def counted(hunt: Hunt, pairs: list[tuple]) -> Verdict:
    """The verdict on a test that rejects nothing that is right."""
    if not any(one.asked for one, _ in pairs):
        return Verdict(hunt.name, "mistake", "never calls f", "Your test never calls f. Call it "
                       "with inputs of your own, and say with assert what must be true of what "
                       "comes back.")
    missed = {one.mistake.name for one, out in pairs if one.mistake and not out.error}
    all_of, caught = len(hunt.mistakes), len(hunt.mistakes) - len(missed)
    if caught == 0 and all(out.answer is not None for _, out in pairs):
        return Verdict(hunt.name, "mistake", "returns in place of asserting", "Your test returns "
                       "what it finds, and nobody reads that. A test speaks by raising: write "
                       "assert in place of return.")
    if not missed:
        return Verdict(hunt.name, "passed", None, f"{all_of} of {all_of} mistakes caught, and "
                       "right answers of every style let through", part=(1, 1))
    first = next(mistake.name for mistake in hunt.mistakes if mistake.name in missed)
    return Verdict(hunt.name, "some", None, f"You caught {caught} of {all_of} mistakes, and "
                   "rejected nothing that is right.", later=f"One that slipped through: {first}.",
                   part=(caught, all_of))
