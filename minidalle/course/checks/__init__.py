r"""Checks: write the heart of a lesson yourself, and be told which mistake it was.

in -> out   the name of an exercise and your function -> a short verdict, printed

    >>> check("clip.contrastive_loss", contrastive_loss)
    clip.contrastive_loss: not yet.
      Only the pictures look for their captions. Let the captions look for their pictures too, ...

idea        Your function and the package's own are called with the same random inputs, drawn
            afresh each time. Where the answers differ, yours is compared with each mistake that
            people really make here, which is again a function; one that agrees with yours on all
            inputs is what you wrote. Otherwise you are told what differs first.
            In a Hunt it is the other way round: you write the test, and it must catch them.
left out    marks for style and speed

The exercises of lesson stem.py lie in checks/stem.py; answers.py compares, running.py runs,
gradients.py asks whether anything could be learnt, hunting.py asks what a test catches; apart.py
and messages.py let a grader ask a function in another process.
"""
import difflib
import inspect
import os
import secrets
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Generator

from minidalle.course.checks.answers import Difference, describe, difference
from minidalle.course.checks.gradients import gradients_of, is_learnt, missing
from minidalle.course.checks.running import Outcome, Reply, ask, call, packages_own

ROUNDS = 5                     # random inputs a check, or one of each kind where there are more
SECONDS = 10.0                 # for all rounds; a right answer takes a few milliseconds
WIDTH = 92                     # columns of a message
SLACK = 1e-4                   # between gradients that are the same


@dataclass(frozen=True)
class Mistake:
    name: str                  # short, for lists of results: "divided by d"
    message: str               # what it does and where to look, at most three sentences
    function: Callable         # the wrong function


@dataclass(frozen=True)
class Exercise:
    name: str                                   # stem.what, as in check("clip.unit", unit)
    lesson: str                                 # number and stem: "04_clip"
    points: int
    function: Callable                          # the right answer
    inputs: tuple[Callable[[Generator], tuple], ...]    # each draws one call; each has its turn
    mistakes: tuple[Mistake, ...]
    verified: str                               # half a sentence: what a pass has shown
    tolerance: float = 1e-5                     # what float32 needs after a dozen operations
    compare: Callable[..., Difference | None] = difference
    learns: bool = False                        # a model is trained through it: gradients pass
    felt: Callable = lambda gradient, *args: gradient      # what of a gradient counts: all of it

    def calls(self, generator: Generator, rounds: int = 0) -> list[tuple]:
        """Fresh arguments, for so many calls that no kind of input is left out; or for `rounds`."""
        rounds = rounds or max(ROUNDS, len(self.inputs))
        return [self.inputs[i % len(self.inputs)](generator) for i in range(rounds)]


def a_test(f):
    """What a Hunt asks for: it lets a right f pass, and raises (assert does) on a wrong one."""


@dataclass(frozen=True)
class Hunt:
    """An exercise of another kind: the student writes the test, for mistakes that it must catch."""
    exercise: Exercise                          # whose right answers the test lets pass
    mistakes: tuple[Mistake, ...]               # of its bank
    points: int = 3                             # one for each third of them that is caught
    function: Callable = a_test

    @property
    def name(self) -> str:
        return f"{self.exercise.name.partition('.')[0]}.test_it"

    @property
    def lesson(self) -> str:
        return self.exercise.lesson


def hunt(exercise: Exercise, *names: str) -> Hunt:
    """A Hunt for these mistakes of an exercise. KeyError if it knows no such mistake."""
    known = {mistake.name: mistake for mistake in exercise.mistakes}
    return Hunt(exercise, tuple(known[name] for name in names))


def a_result():
    """What a Result asks for: a name, and the models of a road by theirs."""


@dataclass(frozen=True)
class Result:
    """An exercise whose answer is a trained road: course/results.py draws with it, and reads."""
    name: str                                   # stem.result
    lesson: str
    parts: dict[str, tuple]                     # name -> the class of its config, config -> model
    painter: Callable                           # (tokenizer, models) -> (captions, g) -> images
    chance: float                               # what guessing scores, and what the planted bug
    broken: float
    colours: int = 8                            # of the palette, in the lesson's world
    bands: tuple[float, ...] = (0.3, 0.6, 0.9)  # shares of right pictures; a point for each
    mistakes: tuple = ()                        # no wrong answer has a name here
    function: Callable = a_result

    @property
    def points(self) -> int:
        return len(self.bands)


@dataclass(frozen=True)
class Verdict:
    name: str                  # of the exercise
    state: str                 # passed, mistake, wrong, type, shape, dtype, mutates, unwritten,
    #                            crashed, arguments, timeout, imported, detached, strict or some
    mistake: str | None        # its name, where the state is "mistake": one of the exercise's, or
    #                            that it calls a function which is not written yet
    message: str
    lines: tuple[str, ...] = ()     # where in the student's code a crash or a loop was
    later: str = ""            # told from the second try on
    part: tuple[int, int] = (0, 1)  # of what was asked, where a part of it is worth points

    @property
    def passed(self) -> bool:
        return self.state == "passed"


TRIED = Counter()              # how often each exercise was checked since this process began


def exercises() -> tuple[Exercise | Hunt | Result, ...]:
    """All of them in lesson order. Imported only here: each brings its file of the package."""
    from minidalle.course.checks import (
        clip,
        compare,
        dalle,
        data,
        diffusion,
        dvae,
        flow,
        gan,
        imagen,
        latent,
        map,
        metrics,
        prior,
        scale,
        tokenizer,
        transformer,
        unclip,
        unet,
        vae,
    )
    banks = (map, data, tokenizer, transformer, clip, metrics,          # what all roads share
             vae,                                                       # of Stable Diffusion's road
             dvae, dalle,                                               # the road of DALL-E
             gan,                                                       # the road of the GAN
             diffusion, unet, prior, unclip,                            # the road of DALL-E 2
             latent,                                                    # and the rest of that
             imagen,                                                    # the road of Imagen
             compare,                                                   # all of them side by side
             scale,                                                     # behind all roads
             flow)                                                      # and after the papers
    return tuple(exercise for bank in banks for exercise in bank.EXERCISES)


def find(name: str) -> Exercise | Hunt | Result:
    known = {exercise.name: exercise for exercise in exercises()}
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1) or [next(iter(known))]
        raise ValueError(f"there is no exercise {name!r}; did you mean {near[0]!r}?")
    return known[name]


def listing() -> list[dict]:
    """The exercises as plain data: name, lesson, points and the names of the mistakes."""
    return [{"name": one.name, "lesson": one.lesson, "points": one.points,
             "mistakes": [mistake.name for mistake in one.mistakes]} for one in exercises()]


def check(name: str, function: Callable) -> None:
    """Print what comes of your function on fresh random inputs: a line, or a few that help."""
    refused = packages_own(function)
    verdict = judged(find(name), [()], refused, 0) if refused else judge(name, function)
    TRIED[name] += 1
    text = shown(verdict, in_colour(), again=TRIED[name] > 1)
    coding = getattr(sys.stdout, "encoding", None) or "utf-8"       # a terminal may lack emoji
    print(text.encode(coding, "backslashreplace").decode(coding))


def judge(name: str, function: Callable, seed: int | None = None, seconds: float = SECONDS
          ) -> Verdict:
    """The verdict as data, for grading and tests. The inputs are fresh unless a seed is given."""
    exercise = find(name)
    seed = secrets.randbits(32) if seed is None else seed
    if isinstance(exercise, Hunt):
        from minidalle.course.checks.hunting import caught  # it needs this file first

        return caught(exercise, function, seed, seconds)
    calls = exercise.calls(Generator().manual_seed(seed))
    verdict = judged(exercise, calls, ask(function, calls, seconds), seconds)
    if verdict.passed and exercise.learns:
        return learnable(exercise, calls[:1], ask(gradients_of(function), calls[:1], seconds),
                         seconds)
    return verdict


def judged(exercise: Exercise | Hunt, calls: list[tuple], reply: Reply, seconds: float) -> Verdict:
    """The verdict on what a function replied to these calls."""
    name, args = exercise.name, calls[0]
    if reply.reason == "imported":
        return Verdict(name, "imported", None, f"This function is the package's own, from "
                       f"{reply.text}: an exercise wants yours. Write it in the notebook.")
    if reply.reason == "type":
        return Verdict(name, "type", None, f"Pass the function itself, and not what it returns: "
                       f"check({name!r}, my_function), without brackets behind my_function.")
    if reply.reason == "arguments":
        return Verdict(name, "arguments", None, f"Your function takes {reply.text}, and is called "
                       f"with {len(args)} argument{'s'[:len(args) != 1]}: "
                       f"{', '.join(names_of(exercise, args))}.")
    if reply.reason == "timeout":
        return Verdict(name, "timeout", None, f"Your function was still at work after {seconds:g} "
                       f"seconds: look for a loop that never ends. {reply.text}.", reply.lines)
    return compared(exercise, calls, reply.outcomes)


def learnable(exercise: Exercise, calls: list[tuple], reply: Reply, seconds: float) -> Verdict:
    """The verdict on a right answer, after one call for the gradients (gradients_of)."""
    if reply.reason:
        return judged(exercise, calls, reply, seconds)
    args, = calls
    theirs, right = reply.outcomes[0], call(gradients_of(exercise.function), args)
    names = [name for name, arg in zip(names_of(exercise, args), args) if is_learnt(arg)]
    if lost := missing(theirs, right, names, lambda gradient: exercise.felt(gradient, *args)):
        if mistake := of_gradients(exercise, args, theirs):
            return Verdict(exercise.name, "mistake", mistake.name, mistake.message)
        return Verdict(exercise.name, "detached", None, f"Your numbers are right, but {lost}. "
                       "Then nothing can be learnt through your function: .item(), float(), "
                       "math.exp, torch.tensor, numpy, .detach(), no_grad and changes in place cut "
                       "gradients off.")
    return Verdict(exercise.name, "passed", None, exercise.verified)


def of_gradients(exercise: Exercise, args: tuple, theirs: Outcome) -> Mistake | None:
    """The mistake with the right numbers and these gradients. A gradient of zeros and none at all
    are told apart: the one was cancelled, the other cut off."""
    right = call(exercise.function, args)
    for mistake in exercise.mistakes:
        own = call(gradients_of(mistake.function), args)
        if (alike(exercise, call(mistake.function, args), right) and not theirs.error
                and not own.error and difference(theirs.answer, own.answer, SLACK) is None):
            return mistake
    return None


def compared(exercise: Exercise, calls: list[tuple], theirs: Sequence[Outcome]) -> Verdict:
    """The student's outcomes beside the right ones, and if need be beside every mistake."""
    if unwritten := [one.error for one in theirs if one.error and one.error.unwritten]:
        return not_written(exercise, unwritten[0].functions())
    right = [call(exercise.function, args) for args in calls]
    wrong = [i for i in range(len(calls)) if not alike(exercise, theirs[i], right[i])]
    if wrong:
        for mistake in exercise.mistakes:
            if all(alike(exercise, one, call(mistake.function, args))
                   for one, args in zip(theirs, calls)):
                return Verdict(exercise.name, "mistake", mistake.name, mistake.message)
    changed = [i for one, args in zip(theirs, calls) for i, before in enumerate(args)
               if one.given and difference(one.given[i], before, 0)]
    if changed and all(one.error is None for one in theirs):
        name = names_of(exercise, calls[0])[changed[0]]
        return Verdict(exercise.name, "mutates", None, f"Your function changes its input {name} in "
                       "place, and whoever called it still needs that. Work on a copy, or use "
                       "operations that make a new one (x + y, not x += y or x.add_(y)).")
    if wrong:
        return explained(exercise, calls[wrong[0]], theirs[wrong[0]], right[wrong[0]])
    return Verdict(exercise.name, "passed", None, exercise.verified)


def not_written(exercise: Exercise | Hunt | Result, functions: list[str]) -> Verdict:
    """It raised NotImplementedError itself, or a function did that it calls: the last one."""
    helper = functions[-1] if functions else ""
    if functions[:1] == [helper] or not helper.isidentifier():      # also a name that was forged
        return Verdict(exercise.name, "unwritten", None,
                       "Your function still raises NotImplementedError: write it, and run its "
                       "cell before this one.")
    return Verdict(exercise.name, "mistake", f"calls {helper}, which is not written yet",
                   f"Your function calls {helper}, which is not written yet: it still raises "
                   f"NotImplementedError. Write {helper} first, and run its cell before this one.")


def alike(exercise: Exercise, one: Outcome, other: Outcome) -> bool:
    """The same answer, or the same error with the same words."""
    if one.error or other.error:
        return one.error == other.error
    return exercise.compare(one.answer, other.answer, exercise.tolerance) is None


def explained(exercise: Exercise, args: tuple, theirs: Outcome, right: Outcome) -> Verdict:
    """A wrong answer that is no known mistake: where it crashed, or what differs first."""
    names = names_of(exercise, args)
    given = ", ".join(f"{name} {describe(arg)}" for name, arg in zip(names, args))
    if theirs.error:
        return Verdict(exercise.name, "crashed", None, f"Your function stopped with "
                       f"{theirs.error.short()}. Given: {given}.", theirs.error.lines)
    found = exercise.compare(theirs.answer, right.answer, exercise.tolerance)
    return Verdict(exercise.name, found.state, None, f"{found.message} Given: {given}.")


def valued(result: Result, name: str, right: int, of: int) -> Verdict:
    """A point for each band that so many right pictures reach."""
    share = right / of
    reached = sum(share >= band for band in result.bands)
    said = (f"right in {right} of {of} pictures, for the captions of {name} (chance "
            f"{result.chance:.3f}, broken {result.broken:.2f})")
    if reached == len(result.bands):
        return Verdict(result.name, "passed", None, said, part=(1, 1))
    return Verdict(result.name, "some", None, f"{said[0].upper()}{said[1:]}. The next point is "
                   f"given from {result.bands[reached]:.2f} on, and yours is {share:.2f}: train "
                   "longer, or find what holds it back.", part=(reached, len(result.bands)))


def names_of(exercise: Exercise | Hunt, args: tuple) -> list[str]:
    """What the lesson calls the arguments."""
    return list(inspect.signature(exercise.function).parameters)[:len(args)]


def shown(verdict: Verdict, colour: bool = False, again: bool = False) -> str:
    """A verdict as text: one line if it passed, else a headline and indented sentences, and some
    more to whom it is shown again."""
    green, red, plain = ("\033[32m", "\033[31m", "\033[0m") if colour else ("", "", "")
    if verdict.passed:
        return f"{green}{tick()} {verdict.name}: passed{plain}, {verdict.message}."
    headline = "not written yet." if verdict.state == "unwritten" else "not yet."
    words = f"{verdict.message} {verdict.later}" if again else verdict.message
    text = textwrap.fill(words.strip(), WIDTH, initial_indent="  ", subsequent_indent="  ")
    code = [f"    {line}" for line in verdict.lines]
    return "\n".join([f"{red}{verdict.name}: {headline}{plain}", text, *code])


def tick() -> str:
    try:
        "\N{CHECK MARK}".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return "ok"
    return "\N{CHECK MARK}"


def in_colour() -> bool:
    """In a terminal or a notebook, unless NO_COLOR is set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
