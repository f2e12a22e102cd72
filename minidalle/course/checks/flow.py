r"""The exercises of lesson 18: straight lines, steps along their field, and patches.

in -> out   EXERCISES: interpolate, matching_loss, euler_step, straighten, patchify, unpatchify,
            adaln, logit_normal; a test of euler_step
idea        A line with wrong ends still mixes, and a step in the wrong direction still moves; so
            both ends of time are asked for, steps back as well as forth, batches as long as a
            picture is wide, pictures that are not square, and tokens in which all is equal.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import dit, flow
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.diffusion import in_section, wide
from minidalle.course.checks.transformer import between

LESSON = "18_flow"


def spread_times(g: Generator, B: int, ends: bool = True) -> Tensor:
    """t (B,) in random order; both ends of time among them where there is room."""
    t = 0.1 + 0.8 * torch.rand(B, generator=g)
    if ends and B > 2:
        t[:2] = torch.tensor([0.0, 1.0])
    return t[torch.randperm(B, generator=g)]


# ---- the line

def interpolate(x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_0 and eps (B,...), t (B,) from 0, the data, to 1, the noise -> x_t like x_0."""
    return flow.interpolate(x_0, eps, wide(t, x_0))


def lines(shape, ends: bool = True):
    """Draws of lines, shape(g) -> B, ...; the data reaches far: nothing may be clipped."""
    def draw(g):
        x_0, eps = torch.randn(2, *shape(g), generator=g)
        return 4 * x_0, eps, spread_times(g, len(x_0), ends)
    return draw


def square(g: Generator) -> tuple:
    """As long a batch as a picture is high and wide: a weight on the wrong side raises no error.
    In every input of such weights the last side is as long as the batch, or the batch has one."""
    B = between(3, 5, g)
    return B, 2, B, B


def not_the_latest_first(g: Generator) -> tuple:
    """The first time is neither the latest nor the earliest, nor their mean."""
    x_0, eps = torch.randn(2, 3, 3, generator=g)
    return x_0, eps, torch.tensor([0.4, 0.9, 0.1])


def weighed(data, noise):
    """x_t with other weights, data(t) and noise(t)."""
    return lambda x_0, eps, t: wide(data(t), x_0) * x_0 + wide(noise(t), x_0) * eps


def at_times(change):
    """The right mixture at other times, change(t)."""
    return lambda x_0, eps, t: interpolate(x_0, eps, change(t))


INTERPOLATE = Exercise(
    "flow.interpolate", LESSON, 1, interpolate,
    (lines(square), lines(lambda g: (2, 2)),
     lines(lambda g: (1, 3, 2, 5)), lines(lambda g: (6, 6)),
     lines(lambda g: (3, 3, 3, 3)), not_the_latest_first), in_section(1,
        Mistake(
            "data and noise exchanged",
            "At t = 0 you return the noise, and at t = 1 the data. Time is the share of noise.",
            at_times(lambda t: 1 - t)),
        Mistake(
            "the roots of a diffusion",
            "You take the roots of the weights, so that their squares sum to 1, as a diffusion "
            "does. Then the way from data to noise is an arc. Here it is a straight line.",
            weighed(lambda t: (1 - t).sqrt(), lambda t: t.sqrt())),
        Mistake(
            "on a circle",
            "You weigh the data with sqrt(1 - t^2). That is a point on a circle; on a straight "
            "line the two weights sum to 1.",
            weighed(lambda t: (1 - t.square()).sqrt(), lambda t: t)),
        Mistake(
            "cosine and sine",
            "You go along an arc, with cosine and sine of a right angle. On a straight line the "
            "two weights sum to 1.",
            weighed(lambda t: (math.pi / 2 * t).cos(), lambda t: (math.pi / 2 * t).sin())),
        Mistake(
            "the time squared",
            "You square the time. Half way, at t = 1/2, half should be noise.",
            at_times(torch.square)),
        Mistake(
            "the root of the time",
            "You take the root of the time. Half way, at t = 1/2, half should be noise.",
            at_times(torch.sqrt)),
        Mistake(
            "noise on top",
            "You leave the data whole and add noise to it. At t = 1 nothing of the data should be "
            "left.",
            weighed(torch.ones_like, lambda t: t)),
        Mistake(
            "all of the noise",
            "You add all of the noise at every time. At t = 0 there should be none.",
            weighed(lambda t: 1 - t, torch.ones_like)),
        Mistake(
            "noise subtracted",
            "You subtract the noise. That is a line as well, but to -eps.",
            weighed(lambda t: 1 - t, lambda t: -t)),
        Mistake(
            "away from the noise",
            "Your line leaves the data in the direction away from the noise. Which difference "
            "leads from x_0 to eps?",
            weighed(lambda t: 1 + t, lambda t: -t)),
        Mistake(
            "from the noise onwards",
            "Your line begins at the noise. t = 0 is the data.",
            weighed(lambda t: -t, lambda t: 1 + t)),
        Mistake(
            "both weighed with t",
            "You weigh data and noise alike with t. What one gains the other loses.",
            weighed(lambda t: t, lambda t: t)),
        Mistake(
            "both weighed with 1 - t",
            "You weigh data and noise alike with 1 - t. What one gains the other loses.",
            weighed(lambda t: 1 - t, lambda t: 1 - t)),
        Mistake(
            "brackets forgotten",
            "You subtract t from the picture in place of from 1: (1 - t) needs its brackets.",
            lambda x_0, eps, t: x_0 - wide(t, x_0) + wide(t, x_0) * eps),
        Mistake(
            "times along the width",
            "Your times lie along the last dimension, the width. They belong to the samples: give "
            "t a 1 for each dimension behind the first.",
            lambda x_0, eps, t: (1 - t) * x_0 + t * eps),
        Mistake(
            "times along the height",
            "Your times have two dimensions, whatever the data have: for pictures they lie along "
            "the height. Give t a 1 for each dimension behind the first.",
            lambda x_0, eps, t: (1 - t[:, None]) * x_0 + t[:, None] * eps),
        Mistake(
            "times rounded to the nearest end",
            "You round the times, and only the two ends are left.",
            at_times(torch.round)),
        Mistake(
            "the latest time for all",
            "You take the largest time for the whole batch. Each sample has its own.",
            at_times(lambda t: t.max().expand(len(t)))),
        Mistake(
            "data alone",
            "You weigh the data, and the noise is missing.",
            weighed(lambda t: 1 - t, torch.zeros_like)),
        Mistake(
            "noise alone",
            "You weigh the noise, and the data are missing.",
            weighed(torch.zeros_like, lambda t: t)),
        Mistake(
            "half way, whatever t is",
            "You return the point half way. Each sample has its own time.",
            at_times(lambda t: torch.full_like(t, 0.5))),
        Mistake(
            "the direction returned",
            "You return where the line leads, eps - x_0. Asked for is the place on it.",
            lambda x_0, eps, t: eps - x_0),
        Mistake(
            "divided by the length of the weights",
            "You bring the mixture to variance 1, by the root of the sum of the weights' squares. "
            "A flow leaves it as it is: its variance falls on the way and rises again.",
            lambda x_0, eps, t: interpolate(x_0, eps, t) / wide(
                ((1 - t).square() + t.square()).sqrt(), x_0)),
        Mistake(
            "times counted to 1000",
            "You divide the times by 1000. They run from 0 to 1 already.",
            at_times(lambda t: t / 1000)),
        Mistake(
            "times rounded",
            "You make whole numbers of the times, and only the two ends are left.",
            at_times(lambda t: t.long().to(t))),
        Mistake(
            "the first time for all",
            "You take the first sample's time for the whole batch. Each has its own.",
            at_times(lambda t: t[:1].expand(len(t)))),
        Mistake(
            "the mean time for all",
            "You take the mean of all times for the whole batch. Each sample has its own.",
            at_times(lambda t: t.mean().expand(len(t)))),
        Mistake(
            "the first noise for all",
            "You give the whole batch the first sample's noise. Each has its own.",
            lambda x_0, eps, t: interpolate(x_0, eps[:1].expand_as(eps), t)),
        Mistake(
            "cut to [-1, 1]",
            "You cut the mixture to [-1, 1]. It is no picture yet: noise reaches further.",
            lambda x_0, eps, t: interpolate(x_0, eps, t).clamp(-1, 1)),
        Mistake(
            "data cut to [-1, 1]",
            "You cut the data to [-1, 1]. They may be anything: points, latents.",
            lambda x_0, eps, t: interpolate(x_0.clamp(-1, 1), eps, t)),
    ), "the right place on the line, both ends included")


# ---- what the network is asked

def matching_loss(answer: Tensor, x_0: Tensor, eps: Tensor) -> Tensor:
    """answer of a network, x_0 and eps (B,...) -> a number, a tensor without dimensions: the mean
    squared error of the velocity. Gradients pass to the answer; the line learns nothing."""
    return F.mse_loss(answer, (eps - x_0).detach())


def answers(shape, near: float = 1.0):
    """Draws of answers that are off by `near` or so."""
    def draw(g):
        x_0, eps, off = torch.randn(3, *shape(g), generator=g)
        x_0 = 2 * x_0 + 0.5
        return eps - x_0 + near * (off + 0.3), x_0, eps
    return draw


def against(target):
    """The mean squared error against target(x_0, eps)."""
    return lambda answer, x_0, eps: (answer - target(x_0, eps)).square().mean()


def of_error(measure):
    """measure(answer - the right velocity)."""
    return lambda answer, x_0, eps: measure(answer - (eps - x_0).detach())


def of_each(x: Tensor) -> Tensor:
    return x.flatten(1)


MATCHING_LOSS = Exercise(
    "flow.matching_loss", LESSON, 2, matching_loss,
    (answers(lambda g: (between(3, 5, g), 2, 4, 3)), answers(lambda g: (between(5, 8, g), 2), 0.3),
     answers(lambda g: (1, 3, 4, 4), 3.0), answers(square), answers(lambda g: (2, 7), 0.01)),
    in_section(1,
        Mistake(
            "the way back",
            "Your target leads from the noise to the data. x_t = (1 - t) x_0 + t eps: what comes "
            "of it if you differentiate by t?",
            against(lambda x_0, eps: x_0 - eps)),
        Mistake(
            "the noise as the target",
            "You ask for the noise, as DDPM does. Here the network answers with the velocity of "
            "the line.",
            against(lambda x_0, eps: eps)),
        Mistake(
            "the data as the target",
            "You ask for the data. A network may well answer so, but what is asked for here is the "
            "velocity of the line.",
            against(lambda x_0, eps: x_0)),
        Mistake(
            "the sum as the target",
            "Your target is the sum of data and noise. The velocity is a difference: where the "
            "line ends, less where it begins.",
            against(lambda x_0, eps: x_0 + eps)),
        Mistake(
            "half of the way",
            "Your target is half as long as the way from data to noise. It takes time 1.",
            against(lambda x_0, eps: (eps - x_0) / 2)),
        Mistake(
            "the middle of the line",
            "Your target is a place, the middle of the line. A velocity is a direction.",
            against(lambda x_0, eps: (eps + x_0) / 2)),
        Mistake(
            "the direction alone",
            "You bring the target to length 1. How long the way is belongs to the velocity.",
            against(lambda x_0, eps: wide(1 / of_each(eps - x_0).norm(dim=1), x_0) * (eps - x_0))),
        Mistake(
            "nothing as the target",
            "You take the mean square of the answer itself: the target is missing.",
            against(lambda x_0, eps: 0)),
        Mistake(
            "not squared",
            "You take the mean of the errors with their signs, and they cancel. Square them.",
            of_error(lambda error: error.mean())),
        Mistake(
            "sizes in place of squares",
            "You take absolute values. Then the best answer is the median of the lines that pass, "
            "and the field is their mean: square.",
            of_error(lambda error: error.abs().mean())),
        Mistake(
            "a loss that is rounded at 0",
            "Your loss is square near 0 and straight further off (Huber). Its best answer is no "
            "longer the mean of the lines that pass: square everywhere.",
            of_error(lambda error: F.smooth_l1_loss(error, torch.zeros_like(error)))),
        Mistake(
            "the square of the mean",
            "You square the mean of the errors. Square each, then take the mean.",
            of_error(lambda error: error.mean().square())),
        Mistake(
            "the root of the mean",
            "You take the root at the end. The loss is the mean square itself.",
            of_error(lambda error: error.square().mean().sqrt())),
        Mistake(
            "half of it",
            "You halve the loss. It is the mean square as it is.",
            of_error(lambda error: error.square().mean() / 2)),
        Mistake(
            "the sum",
            "You sum over everything. Then the loss grows with the batch and with the picture: "
            "take the mean.",
            of_error(lambda error: error.square().sum())),
        Mistake(
            "summed over a sample",
            "You sum over the numbers of a sample, and take the mean of the samples alone. It is "
            "the mean over all numbers.",
            of_error(lambda error: of_each(error).square().sum(dim=1).mean())),
        Mistake(
            "summed over the batch",
            "You take the mean over the numbers of a sample, and sum over the batch. It is the "
            "mean over all numbers.",
            of_error(lambda error: of_each(error).square().mean(dim=1).sum())),
        Mistake(
            "the mean of the lengths",
            "You take the mean of the lengths of the errors. Their squares, over all numbers, are "
            "asked for.",
            of_error(lambda error: of_each(error).norm(dim=1).mean())),
        Mistake(
            "the length of all errors",
            "You take the length of all errors together. It is the root of a sum: take the mean "
            "of the squares.",
            of_error(lambda error: error.norm())),
        Mistake(
            "the variance of the errors",
            "You take the variance of the errors, so an answer that is off by the same everywhere "
            "costs nothing. Take the mean of their squares.",
            of_error(lambda error: error.var(correction=0))),
        Mistake(
            "the variance of the errors, with n - 1",
            "You take the variance of the errors, so an answer that is off by the same everywhere "
            "costs nothing. Take the mean of their squares.",
            of_error(lambda error: error.var())),
        Mistake(
            "the root for each sample",
            "You take the root of each sample's mean square. The loss has no root.",
            of_error(lambda error: of_each(error).square().mean(dim=1).sqrt().mean())),
        Mistake(
            "summed over the last dimension",
            "You sum over the last dimension, and take the mean over the others alone. It is the "
            "mean over all numbers.",
            of_error(lambda error: error.square().sum(dim=-1).mean())),
        Mistake(
            "summed over the channels",
            "You sum over the second dimension, and take the mean over the others alone. It is the "
            "mean over all numbers.",
            of_error(lambda error: error.square().sum(dim=1).mean())),
        Mistake(
            "lengths along the last dimension",
            "You take lengths along the last dimension, and their mean. Squares are asked for, "
            "without a root.",
            of_error(lambda error: error.norm(dim=-1).mean())),
        Mistake(
            "the largest error",
            "You take the largest square. It is the mean that is asked for.",
            of_error(lambda error: error.square().max())),
        Mistake(
            "squares subtracted",
            "You square both and then subtract. Subtract first.",
            lambda answer, x_0, eps: (answer.square() - (eps - x_0).square()).mean()),
        Mistake(
            "one number a sample",
            "You return a loss for each sample. One number is asked for: their mean.",
            of_error(lambda error: of_each(error).square().mean(dim=1))),
        Mistake(
            "a table of errors",
            "You return the squares themselves. One number is asked for: their mean.",
            of_error(torch.square)),
        Mistake(
            "the first sample only",
            "You look at the first sample alone.",
            of_error(lambda error: error[:1].square().mean())),
        Mistake(
            "sign turned",
            "Your loss is negative, and falls the worse the answer is.",
            of_error(lambda error: -error.square().mean())),
        Mistake(
            "the middle of the errors",
            "You take the middle of the squared errors. The mean hears the large ones too.",
            of_error(lambda error: error.square().median())),
        Mistake(
            "divided by one less",
            "You divide by one number less. That is for a variance; a mean divides by all.",
            of_error(lambda error: error.square().sum() / (error.numel() - 1))),
        Mistake(
            "a row of one number",
            "You return a tensor of one number. Asked for is one without dimensions, as .mean() "
            "gives it.",
            of_error(lambda error: error.square().mean()[None])),
        Mistake(
            "errors cut to [-1, 1]",
            "You cut the errors to [-1, 1], and large ones no longer teach. Leave them so.",
            of_error(lambda error: error.clamp(-1, 1).square().mean())),
        Mistake(
            "in parts of the target",
            "You divide each square by that of the target. The mean of the squares is asked for.",
            lambda answer, x_0, eps: ((answer - (eps - x_0)).square()
                                      / (eps - x_0).square().clamp(min=1e-6)).mean()),
        Mistake(
            "1 less the cosine",
            "You compare directions alone. How fast the line is walked counts too: the mean of the "
            "squared errors.",
            lambda answer, x_0, eps: 1 - F.cosine_similarity(
                answer.flatten(1), (eps - x_0).flatten(1)).mean()),
    ), "the mean square of the velocity's error, and the answer learns through it",
    tolerance=2e-5,            # sums of a hundred squares, and loops round at each of them
    learns=True)


# ---- a step

def euler_step(x_t: Tensor, v: Tensor, t: Tensor, then: Tensor) -> Tensor:
    """x_t (B,...) at times t (B,), v like x_t, the velocity there -> x at times then (B,)."""
    return x_t + wide(then - t, x_t) * v


def steps_of(shape, back: bool = False):
    """Draws of steps towards the data, the last one all the way; or of some that lead back."""
    def draw(g):
        x_t, v = torch.randn(2, *shape(g), generator=g)
        t = spread_times(g, len(x_t), ends=False)
        then = t * torch.rand(len(t), generator=g)
        if back:
            then[0] = t[0] + 0.5 * (1 - t[0])
        else:
            then[-1], t[0] = 0.0, 1.0
        return x_t, 3 * v, t, then
    return draw


def little_time(g: Generator) -> tuple:
    """Hardly any time passes; three sides, as tokens have them."""
    x_t, v = torch.randn(2, 3, 4, 5, generator=g)
    t = 0.2 + 0.6 * torch.rand(3, generator=g)
    return x_t, 3 * v, t, t + torch.tensor([-0.008, 0.005, -0.012])


def stepped(size):
    """x_t and so many times the velocity, size(t, then)."""
    return lambda x_t, v, t, then: x_t + wide(size(t, then), x_t) * v


EULER_STEP = Exercise(
    "flow.euler_step", LESSON, 1, euler_step,
    (steps_of(square), steps_of(square, back=True), steps_of(lambda g: (2, 2)),
     steps_of(lambda g: (3, 3, 3, 3)), steps_of(lambda g: (1, 2, 3, 4)),
     steps_of(lambda g: (5, 5), back=True), steps_of(lambda g: (3, 2, 3)), little_time),
    in_section(3,
        Mistake(
            "sign of time turned",
            "You go from t in the direction of the velocity, and so away from the data. Time "
            "falls here: is the step then - t, or t - then?",
            stepped(lambda t, then: t - then)),
        Mistake(
            "never towards the noise",
            "You take the size of the step without its sign, and always go against the velocity. "
            "A step to a later time goes with it.",
            stepped(lambda t, then: -(then - t).abs())),
        Mistake(
            "always towards the noise",
            "You take the size of the step without its sign, and always go with the velocity. "
            "Towards the data, time falls.",
            stepped(lambda t, then: (then - t).abs())),
        Mistake(
            "steps to a later time left out",
            "Where the new time is later, you stay where you are. The same formula leads back.",
            stepped(lambda t, then: (then - t).clamp(max=0))),
        Mistake(
            "all the way to the data",
            "You go to the data in one step, whatever the new time is. Go as far as from t to "
            "`then`.",
            stepped(lambda t, then: -t)),
        Mistake(
            "as far as the new time",
            "You go as far as `then` says. It is a time, not a way: how much time passes from t?",
            stepped(lambda t, then: -then)),
        Mistake(
            "with the velocity, as far as the new time",
            "You add `then` times the velocity. It is a time, not a way: how much time passes "
            "from t?",
            stepped(lambda t, then: then)),
        Mistake(
            "with the velocity, as far as the old time",
            "You add t times the velocity, and so go away from the data, however short the step "
            "is.",
            stepped(lambda t, then: t)),
        Mistake(
            "the whole velocity subtracted",
            "You subtract the velocity as it is, as if the step took time 1.",
            stepped(lambda t, then: -torch.ones_like(t))),
        Mistake(
            "the whole velocity added",
            "You add the velocity as it is, as if the step took time 1, and away from the data.",
            stepped(lambda t, then: torch.ones_like(t))),
        Mistake(
            "the times added",
            "Your step is t + then. What passes between two times is their difference.",
            stepped(lambda t, then: -(t + then))),
        Mistake(
            "the times divided",
            "Your step is a quotient of the times. What passes between two times is their "
            "difference.",
            stepped(lambda t, then: then / t)),
        Mistake(
            "a step of the time's share",
            "You take the step in parts of the time that is left, as if the velocity were given "
            "for all of it. The step is the time that passes itself.",
            stepped(lambda t, then: then / t - 1)),
        Mistake(
            "divided by the time",
            "You divide the velocity by the time that passes. The longer a step, the further it "
            "goes.",
            stepped(lambda t, then: 1 / (then - t))),
        Mistake(
            "all the way to the noise",
            "You go to the end of the line, to the noise at t = 1. Go as far as from t to `then`.",
            stepped(lambda t, then: 1 - t)),
        Mistake(
            "the velocity taken for the noise",
            "You mix the guess of the data with the velocity, as if it were the noise.",
            lambda x_t, v, t, then: flow.interpolate(x_t - wide(t, x_t) * v, v, wide(then, x_t))),
        *(Mistake(
            f"a step of 1/{steps}, whatever the times",
            "Your steps all take the same time. How much passes is said by t and `then`.",
            stepped(lambda t, then, steps=steps: torch.full_like(t, -1 / steps)))
          for steps in (10, 12)),
        Mistake(
            "times along the width",
            "Your times lie along the last dimension, the width. They belong to the samples: give "
            "them a 1 for each dimension behind the first.",
            lambda x_t, v, t, then: x_t + (then - t) * v),
        Mistake(
            "times along the height",
            "Your times have two dimensions, whatever the data have: for pictures they lie along "
            "the height. Give them a 1 for each dimension behind the first.",
            lambda x_t, v, t, then: x_t + (then - t)[:, None] * v),
        Mistake(
            "place and velocity exchanged",
            "You add the place to the velocity. It is the velocity that is multiplied by the time.",
            lambda x_t, v, t, then: v + wide(then - t, x_t) * x_t),
        Mistake(
            "half a step",
            "You go half of the way.",
            stepped(lambda t, then: (then - t) / 2)),
        Mistake(
            "two steps",
            "You go twice as far as the time that passes.",
            stepped(lambda t, then: 2 * (then - t))),
        Mistake(
            "a step squared",
            "You square the time that passes. Euler's step is proportional to it.",
            stepped(lambda t, then: -(then - t).square())),
        Mistake(
            "the root of a step",
            "You take the root of the time that passes, as one does where noise is added. Euler's "
            "step is proportional to it.",
            stepped(lambda t, then: -(t - then).abs().sqrt())),
        Mistake(
            "the velocity subtracted from the old place, shrunk",
            "You shrink the old place by then / t. That is a step towards 0, and not along the "
            "velocity.",
            lambda x_t, v, t, then: wide(then / t, x_t) * x_t - wide(t - then, x_t) * v),
        Mistake(
            "mixed with the velocity",
            "You mix place and velocity, as data and noise are mixed. A step adds to the place.",
            lambda x_t, v, t, then: (1 - wide(then, x_t)) * x_t + wide(then, x_t) * v),
        Mistake(
            "mixed with the guess of the data",
            "You mix the guess of the data with x_t. x_t is no pure noise: at its own time there "
            "is data in it already.",
            lambda x_t, v, t, then: flow.interpolate(x_t - wide(t, x_t) * v, x_t, wide(then, x_t))),
        Mistake(
            "only the way",
            "You return how far it goes. Add it to where you stand.",
            lambda x_t, v, t, then: wide(then - t, x_t) * v),
        Mistake(
            "nowhere",
            "You stay where you are.",
            stepped(lambda t, then: torch.zeros_like(t))),
        Mistake(
            "the first step for all",
            "You take the first sample's times for the whole batch. Each has its own.",
            stepped(lambda t, then: (then - t)[:1].expand(len(t)))),
        Mistake(
            "the mean step for all",
            "You take the mean of all steps for the whole batch. Each sample has its own.",
            stepped(lambda t, then: (then - t).mean().expand(len(t)))),
        Mistake(
            "cut to [-1, 1]",
            "You cut the result to [-1, 1]. On the way there is noise in it, which reaches "
            "further.",
            lambda *given: euler_step(*given).clamp(-1, 1)),
        Mistake(
            "the mean time for all",
            "You begin at the mean of the times. Each sample has its own.",
            stepped(lambda t, then: then - t.mean())),
        Mistake(
            "the first time for all",
            "You begin at the time of the first sample. Each has its own.",
            stepped(lambda t, then: then - t[0])),
        Mistake(
            "brackets forgotten before the minus",
            "You add the new time, and scale the velocity with the old one alone. Put brackets "
            "round then - t.",
            lambda x_t, v, t, then: x_t + wide(then, x_t) - wide(t, x_t) * v),
        Mistake(
            "brackets forgotten behind the minus",
            "You scale the velocity with the new time, and subtract the old time itself. Put "
            "brackets round then - t.",
            lambda x_t, v, t, then: x_t + wide(then, x_t) * v - wide(t, x_t)),
        Mistake(
            "roots of the times",
            "You take roots of the times, as in a diffusion. The line is straight: then - t.",
            stepped(lambda t, then: then.sqrt() - t.sqrt())),
        Mistake(
            "a step squared, without its sign",
            "You square the time that passes, and lose its sign. Euler's step is proportional to "
            "it.",
            stepped(lambda t, then: (then - t).square())),
        Mistake(
            "steps rounded",
            "You round the time that passes, and nearly all of it is 0. Leave it as it is.",
            stepped(lambda t, then: (then - t).round())),
        Mistake(
            "the velocity brought to length one",
            "You bring the velocity to length one. Its length says how fast to walk.",
            lambda x_t, v, t, then: x_t + wide(then - t, x_t) * F.normalize(
                v.flatten(1), dim=1).view_as(v)),
        Mistake(
            "small steps left out",
            "You leave out steps that are small. However little time passes, the velocity may be "
            "large.",
            stepped(lambda t, then: torch.where((then - t).abs() < 0.02, 0.0, then - t))),
    ), "towards the data and back, as far as the time says")


# ---- a diffusion, seen as a flow

def straighten(z: Tensor, eps: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z of a diffusion and a guess of the noise in it (B,...), alpha_bar (B,) above 0 -> the same
    as a flow: x (B,...), its time t (B,), its velocity v (B,...)."""
    a = wide(alpha_bar, z)
    x_0 = (z - (1 - a).sqrt() * eps) / a.sqrt()
    return z / flow.scale_of(a), flow.time_of(alpha_bar), eps - x_0


def diffused(shape, low: float = 0.05, high: float = 0.97):
    """Draws of noisy samples with a guess of the noise that is not quite right."""
    def draw(g):
        x_0, eps, off = torch.randn(3, *shape(g), generator=g)
        alpha_bar = low + (high - low) * torch.rand(len(x_0), generator=g)
        a = wide(alpha_bar, x_0)
        return a.sqrt() * 2 * x_0 + (1 - a).sqrt() * eps, eps + 0.3 * off, alpha_bar
    return draw


def parts(x=None, t=None, v=None):
    """The right three with some of them changed: x(z, a), t(alpha_bar), v(z, eps, a)."""
    def answer(z, eps, alpha_bar):
        given, a = straighten(z, eps, alpha_bar), wide(alpha_bar, z)
        return (given[0] if x is None else x(z, a), given[1] if t is None else t(alpha_bar),
                given[2] if v is None else v(z, eps, a))
    return answer


def at_the_ends(g: Generator) -> tuple:
    """One without any noise, one with hardly any, one with hardly any data; three sides, as tokens
    have them. The guess is well beside the noise, so that no velocity is small where data is."""
    x_0, eps, off = torch.randn(3, 3, 2, 3, generator=g)
    alpha_bar = torch.tensor([1.0, 0.9999, 5e-5 + 4e-5 * torch.rand((), generator=g)])
    a = wide(alpha_bar, x_0)
    return (a.sqrt() * x_0 + (1 - a).sqrt() * eps, eps + off.sign() * (1 + off.abs()), alpha_bar)


def data_in(z: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    return (z - (1 - a).sqrt() * eps) / a.sqrt()


def everywhere(change):
    """The right answer to another alpha_bar, change(alpha_bar)."""
    return lambda z, eps, alpha_bar: straighten(z, eps, change(alpha_bar))


STRAIGHTEN = Exercise(
    "flow.straighten", LESSON, 3, straighten,
    (diffused(square), diffused(lambda g: (2, 2)),
     diffused(lambda g: (1, 3, 2, 5), 0.3, 0.6), diffused(lambda g: (4, 4, 4, 4)),
     diffused(lambda g: (5, 5), 0.01, 0.1), at_the_ends), in_section(4,
        Mistake(
            "x not scaled",
            "Your x is the diffusion's. Its two weights do not sum to 1, and those of a flow do: "
            "by what must you divide?",
            parts(x=lambda z, a: z)),
        Mistake(
            "x multiplied",
            "You multiply z by the sum of its weights. Then they sum to the square of that.",
            parts(x=lambda z, a: z * flow.scale_of(a))),
        Mistake(
            "x divided by the data's weight",
            "You divide z by the weight of its data. Then the data are whole, and noise lies on "
            "top: the two weights should sum to 1.",
            parts(x=lambda z, a: z / a.sqrt())),
        Mistake(
            "x divided by the noise's weight",
            "You divide z by the weight of its noise. The two weights should sum to 1.",
            parts(x=lambda z, a: z / (1 - a).sqrt())),
        Mistake(
            "x divided by the root of 2",
            "You divide by the root of 2. The sum of the weights is that only where they are "
            "equal.",
            parts(x=lambda z, a: z / 2 ** 0.5)),
        Mistake(
            "1 - alpha_bar as the time",
            "Your time is the noise's share of the variance. A flow's time is its share of the "
            "weights: of their sum, not of the sum of their squares.",
            parts(t=lambda a: 1 - a)),
        Mistake(
            "the noise's weight as the time",
            "Your time is the weight of the noise as it stands in the diffusion. Divide it by what "
            "you divide z by.",
            parts(t=lambda a: (1 - a).sqrt())),
        Mistake(
            "1 less the data's weight as the time",
            "Your time is 1 less the weight of the data, as it stands in the diffusion. Divide the "
            "weights by their sum first.",
            parts(t=lambda a: 1 - a.sqrt())),
        Mistake(
            "the data's share as the time",
            "Your time is 1 where there is no noise. It is the share of noise.",
            parts(t=lambda a: 1 - flow.time_of(a))),
        Mistake(
            "alpha_bar as the time",
            "You return alpha_bar itself as the time. It is 1 at the data, and the share of "
            "variance, not of weight.",
            parts(t=lambda a: a)),
        Mistake(
            "noise divided by data",
            "Your time is noise divided by data, and grows beyond 1. It is noise divided by both.",
            parts(t=lambda a: ((1 - a) / a).sqrt())),
        Mistake(
            "the angle as the time",
            "Your time is the angle between data and noise, as a share of a right angle: that of "
            "a path along an arc.",
            parts(t=lambda a: 2 / math.pi * ((1 - a) / a).sqrt().atan())),
        Mistake(
            "one time too wide",
            "Your times have a dimension for each of the picture's. Asked for is t (B,).",
            parts(t=lambda a: flow.time_of(a)[:, None])),
        Mistake(
            "the velocity turned round",
            "Your velocity leads from the noise to the data.",
            parts(v=lambda z, eps, a: data_in(z, eps, a) - eps)),
        Mistake(
            "the velocity of a diffusion",
            "Your velocity is the v of lesson 10, on an arc: sqrt(alpha_bar) eps - sqrt(1 - "
            "alpha_bar) x_0. On a straight line none of the two is weighed.",
            parts(v=lambda z, eps, a: a.sqrt() * eps - (1 - a).sqrt() * data_in(z, eps, a))),
        Mistake(
            "from z to the noise",
            "Your velocity is eps - z. The line begins at the data: which picture is in z, if "
            "eps is the noise in it?",
            parts(v=lambda z, eps, a: eps - z)),
        Mistake(
            "the noise as the velocity",
            "You return the noise as the velocity. It is where the line ends; subtract where it "
            "begins.",
            parts(v=lambda z, eps, a: eps)),
        Mistake(
            "the data as the velocity",
            "You return the data as the velocity. It leads from them to the noise.",
            parts(v=data_in)),
        Mistake(
            "the data not divided",
            "For x_0 you subtract the noise, and do not divide by the weight of the data.",
            parts(v=lambda z, eps, a: eps - (z - (1 - a).sqrt() * eps))),
        Mistake(
            "roots forgotten in the data",
            "For x_0 you take 1 - alpha_bar and alpha_bar without their roots.",
            parts(v=lambda z, eps, a: eps - (z - (1 - a) * eps) / a)),
        Mistake(
            "the data out of the scaled x",
            "For x_0 you take the x that is scaled already, with the weights of the diffusion. "
            "Either z with these weights, or x with 1 - t and t.",
            parts(v=lambda z, eps, a: eps - data_in(z / flow.scale_of(a), eps, a))),
        Mistake(
            "from x to the noise",
            "Your velocity is eps - x. The line begins at the data, and x is somewhere on it.",
            parts(v=lambda z, eps, a: eps - z / flow.scale_of(a))),
        Mistake(
            "noise added in the data",
            "For x_0 you add the noise. It was added before: take it away.",
            parts(v=lambda z, eps, a: eps - (z + (1 - a).sqrt() * eps) / a.sqrt())),
        Mistake(
            "the root of the data's weight forgotten",
            "For x_0 you divide by alpha_bar without its root.",
            parts(v=lambda z, eps, a: eps - (z - (1 - a).sqrt() * eps) / a)),
        Mistake(
            "the root of the noise's weight forgotten",
            "For x_0 you take 1 - alpha_bar without its root.",
            parts(v=lambda z, eps, a: eps - (z - (1 - a) * eps) / a.sqrt())),
        Mistake(
            "alpha_bar along the width",
            "Your alpha_bar lies along the last dimension, the width. It belongs to the samples: "
            "give it a 1 for each dimension behind the first.",
            lambda z, eps, a: (z / flow.scale_of(a), flow.time_of(a),
                               eps - data_in(z, eps, a))),
        Mistake(
            "the velocity scaled as well",
            "You divide the velocity by the sum of the weights, too. It goes from the data to the "
            "noise, and both are what they were.",
            parts(v=lambda z, eps, a: (eps - data_in(z, eps, a)) / flow.scale_of(a))),
        Mistake(
            "the data cut to [-1, 1]",
            "You cut the data to [-1, 1]. They may be anything: points, latents.",
            parts(v=lambda z, eps, a: eps - data_in(z, eps, a).clamp(-1, 1))),
        Mistake(
            "roots forgotten everywhere",
            "You take alpha_bar and 1 - alpha_bar as the weights. They are shares of variance: the "
            "weights are their roots.",
            everywhere(torch.square)),
        Mistake(
            "alpha_bar counted from the noise",
            "You exchange alpha_bar and 1 - alpha_bar. alpha_bar is what is left of the data.",
            everywhere(lambda a: 1 - a)),
        Mistake(
            "the first alpha_bar for all",
            "You take the first sample's alpha_bar for the whole batch. Each has its own.",
            everywhere(lambda a: a[:1].expand(len(a)))),
        Mistake(
            "the time first",
            "You return the time first. The order is x, t, v.",
            lambda *given: ((a := straighten(*given))[1], a[0], a[2])),
        Mistake(
            "the velocity before the time",
            "You return the velocity before the time. The order is x, t, v.",
            lambda *given: ((a := straighten(*given))[0], a[2], a[1])),
        Mistake(
            "the order turned round",
            "You return the velocity first and the place last. The order is x, t, v.",
            lambda *given: straighten(*given)[::-1]),
        Mistake(
            "x and t alone",
            "You return place and time. The velocity is missing.",
            lambda *given: straighten(*given)[:2]),
        Mistake(
            "data and noise added in the velocity",
            "You add data and noise. The line leads from the one to the other: subtract.",
            parts(v=lambda z, eps, a: eps + data_in(z, eps, a))),
        Mistake(
            "the velocity multiplied",
            "You multiply the velocity by the sum of the weights. Data and noise are the same as "
            "before: their difference is the velocity.",
            parts(v=lambda z, eps, a: flow.scale_of(a) * (eps - data_in(z, eps, a)))),
        Mistake(
            "x divided by the root of the sum",
            "You divide by the root of the sum of the weights. Then they do not sum to 1: divide "
            "by the sum itself.",
            parts(x=lambda z, a: z / flow.scale_of(a).sqrt())),
        Mistake(
            "1 - alpha_bar over the sum of the weights",
            "Your time is 1 - alpha_bar over the sum of the weights. The noise's weight is the "
            "root of that.",
            parts(t=lambda a: (1 - a) / flow.scale_of(a))),
        Mistake(
            "weights exchanged in the data",
            "You take the noise's weight for the data's where you solve for the data. z = "
            "sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps.",
            parts(v=lambda z, eps, a: eps - (z - a.sqrt() * eps) / (1 - a).sqrt())),
        Mistake(
            "roots forgotten, so that the sum is 1",
            "You take alpha_bar and 1 - alpha_bar as the weights, so that they sum to 1 already. "
            "The weights are their roots.",
            lambda z, eps, alpha_bar: (z.clone(), 1 - alpha_bar, eps - (
                z - (1 - wide(alpha_bar, z)) * eps) / wide(alpha_bar, z))),
        Mistake(
            "the way from the data, over the time",
            "Your velocity is the way from the data to x over the time. At time 0 that is 0 / 0: "
            "eps - x_0 is the same, and always a number.",
            parts(v=lambda z, eps, a: (z / flow.scale_of(a) - data_in(z, eps, a))
                  / ((1 - a).sqrt() / flow.scale_of(a)))),
        Mistake(
            "alpha_bar kept above 0.01",
            "You keep alpha_bar above a small number. It is above 0 by itself, and near the end of "
            "a schedule very small.",
            everywhere(lambda a: a.clamp(min=0.01))),
        Mistake(
            "alpha_bar kept below 0.999",
            "You keep alpha_bar away from 1. There the noise has no weight and the time is 0.",
            everywhere(lambda a: a.clamp(max=0.999))),
        Mistake(
            "the mean alpha_bar for all",
            "You take the mean of alpha_bar for all. Each sample has its own.",
            everywhere(lambda a: a.mean().expand_as(a))),
    ), "place, time and velocity of the same mixture on a straight line",
    tolerance=5e-5)            # x_0 is what is left of a difference, divided by a tenth


# ---- patches, and back

def patchify(x: Tensor, patch: int) -> Tensor:
    """x (B,C,H,W) with H and W multiples of patch -> tokens (B,N,C*patch*patch): patches row by row
    from the upper left, in each of them channel by channel, in each of these row by row."""
    return dit.patchify(x, patch)


def pictures(draw):
    """Draws of pictures, draw(g) -> (B, C, rows, columns), patch. Height and width are multiples of
    4 whatever the patch is, so that one of another size fits, too."""
    def drawn(g):
        (B, C, rows, columns), patch = draw(g)
        return torch.randn(B, C, rows * patch, columns * patch, generator=g), patch
    return drawn


def cut(x: Tensor, patch: int) -> Tensor:
    """(B, C, rows, p, columns, p)."""
    return x.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))


def arranged(*order: int):
    """The cut picture with its six sides in another order; the first three are B and N then."""
    return lambda x, patch: cut(x, patch).permute(order).flatten(3).flatten(1, 2)


def sliced(x: Tensor, patch: int) -> Tensor:
    """Every so manieth pixel, from each place of the first patch on."""
    rows, columns = (n // patch for n in x.shape[2:])
    return x.unflatten(3, (patch, columns)).unflatten(2, (patch, rows)).permute(
        0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2)


def exchanged_sides(x: Tensor, patch: int) -> Tensor:
    """Height and width split by each other's number of patches."""
    rows, columns = (n // patch for n in x.shape[2:])
    return x.reshape(*x.shape[:2], columns, patch, rows, patch).permute(
        0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def of_size(size: int):
    """Patches of this size, whatever is asked."""
    return lambda x, patch: patchify(x, size)


PATCHIFY = Exercise(
    "flow.patchify", LESSON, 2, patchify,
    (pictures(lambda g: ((between(2, 3, g), 3, 2, 3), 4)),
     pictures(lambda g: ((2, between(1, 4, g), 4, 2), 2)),
     pictures(lambda g: ((1, 1, 4, 8), 3)), pictures(lambda g: ((2, 3, 2, 6), 2)),
     pictures(lambda g: ((3, 4, 4, 8), 1)), pictures(lambda g: ((2, 3, 4, 4), 4))),
    in_section(6,
        Mistake(
            "cut where memory falls",
            "You reshape the picture as its numbers lie in memory, so a token holds a piece of a "
            "row. A patch takes `patch` numbers of each of `patch` rows: move the dims first.",
            lambda x, patch: x.reshape(len(x), -1, x.shape[1] * patch ** 2)),
        Mistake(
            "numbers beside patches",
            "Your tokens hold one number of every patch. Exchange the last two dims, N before the "
            "numbers of a patch.",
            lambda x, patch: patchify(x, patch).mT),
        Mistake(
            "numbers beside patches, reshaped",
            "You have the numbers of a patch before the patches, and reshape to exchange the two. "
            "A reshape moves nothing: transpose.",
            lambda x, patch: (y := patchify(x, patch)).mT.reshape(y.shape)),
        Mistake(
            "pixel by pixel",
            "In a patch you go pixel by pixel, with the channels of a pixel side by side. Asked "
            "for is channel by channel.",
            arranged(0, 2, 4, 3, 5, 1)),
        Mistake(
            "channel in the middle",
            "In a patch you go row by row, and in each row channel by channel. The channel comes "
            "first.",
            arranged(0, 2, 4, 3, 1, 5)),
        Mistake(
            "patches lying on their side",
            "In each patch rows and columns are exchanged.",
            arranged(0, 2, 4, 1, 5, 3)),
        Mistake(
            "patches column by column",
            "Your patches follow each other down the columns. They should follow each other along "
            "the rows, as one reads.",
            arranged(0, 4, 2, 1, 3, 5)),
        Mistake(
            "the picture on its side",
            "You exchange rows and columns of the whole picture.",
            arranged(0, 4, 2, 1, 5, 3)),
        Mistake(
            "place in the patch, and the column of patches, exchanged",
            "You mix the row in a patch with the column of patches: look at the order of the six "
            "dims before you put them together.",
            lambda x, patch: cut(x, patch).permute(0, 2, 3, 1, 4, 5).reshape(
                len(x), -1, x.shape[1] * patch ** 2)),
        Mistake(
            "six dims, not put in order",
            "You split height and width, and then flatten as the six dims stand. Which of them "
            "number the patches, and which are inside of one? First bring them into order.",
            lambda x, patch: cut(x, patch).flatten(3).flatten(1, 2)),
        Mistake(
            "patches of one channel after the other",
            "You put the channels before the patches, and so each token holds patches of one "
            "channel. All channels of a place belong to one token.",
            lambda x, patch: cut(x, patch).permute(0, 1, 2, 4, 3, 5).reshape(
                len(x), -1, x.shape[1] * patch ** 2)),
        Mistake(
            "channels turned round",
            "You turn the order of the channels round.",
            lambda x, patch: patchify(x.flip(1), patch)),
        Mistake(
            "every so manieth pixel",
            "Your tokens hold pixels from all over the picture, a whole stride apart. In (rows, "
            "patch) it is the second that runs inside of a patch.",
            sliced),
        Mistake(
            "a token for each channel",
            "You make a token of each channel of a patch. All channels of a place belong to one "
            "token.",
            lambda x, patch: cut(x, patch).permute(0, 2, 4, 1, 3, 5).flatten(4).flatten(1, 3)),
        Mistake(
            "a token for each pixel",
            "You make a token of each pixel. A patch has patch x patch of them.",
            lambda x, patch: x.flatten(2).mT),
        Mistake(
            "patches of the whole batch in one row",
            "You lay the patches of all pictures in one row. The batch stays in front.",
            lambda x, patch: patchify(x, patch).flatten(0, 1)),
        Mistake(
            "rows and columns of patches apart",
            "You leave rows and columns of patches apart. A transformer wants one row of tokens: "
            "(B,N,...).",
            lambda x, patch: patchify(x, patch).unflatten(1, (-1, x.shape[3] // patch))),
        Mistake(
            "a patch not laid flat",
            "Your patches are still pictures. Each becomes one row of numbers.",
            lambda x, patch: cut(x, patch).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)),
        Mistake(
            "overlapping patches",
            "Your patches overlap: they begin at every pixel. Step by `patch`.",
            lambda x, patch: F.unfold(x, patch).mT),
        Mistake(
            "the mean of a patch",
            "You take the mean of each patch. All of its numbers are kept.",
            lambda x, patch: F.avg_pool2d(x, patch).flatten(2).mT),
        Mistake(
            "the first pixel of a patch",
            "You take one pixel of each patch. All of its numbers are kept.",
            lambda x, patch: x[:, :, ::patch, ::patch].flatten(2).mT),
        Mistake(
            "the first channel only",
            "You take the first channel alone.",
            lambda x, patch: patchify(x[:, :1], patch)),
        Mistake(
            "patches of 4, whatever is asked",
            "You cut patches of 4 x 4. Their size is given as `patch`.",
            of_size(4)),
        Mistake(
            "patches of 2, whatever is asked",
            "You cut patches of 2 x 2. Their size is given as `patch`.",
            of_size(2)),
        Mistake(
            "from below upwards",
            "Your first tokens are those at the bottom. One reads from the upper left.",
            lambda x, patch: patchify(cut(x, patch).flip(2).flatten(4, 5).flatten(2, 3), patch)),
        Mistake(
            "from right to left",
            "Your first token is that of the upper right. One reads from the left.",
            lambda x, patch: patchify(cut(x, patch).flip(4).flatten(4, 5).flatten(2, 3), patch)),
        Mistake(
            "the last patches left out",
            "You leave out the last row and column of patches: a range that ends at H - patch does "
            "not hold H - patch itself.",
            lambda x, patch: patchify(
                x[:, :, :-patch, :-patch], patch) if min(x.shape[2:]) > patch else x[
                    :, :, :patch, :patch].flatten(1)[:, None]),
        Mistake(
            "tokens before pictures",
            "You return (N,B,...). The batch is the first dimension.",
            lambda x, patch: patchify(x, patch).transpose(0, 1)),
        Mistake(
            "tokens of several pictures in one",
            "You laid the patches of all pictures one after the other, and cut them as if a "
            "picture's lay together. Stack them along dim 1.",
            lambda x, patch: patchify(x, patch).transpose(0, 1).reshape(patchify(x, patch).shape)),
        Mistake(
            "patches a pixel apart",
            "Your patches begin a pixel apart. They lie side by side: steps of `patch`.",
            lambda x, patch: torch.stack([x[:, :, i:i + patch, j:j + patch].flatten(1)
                                          for i in range(x.shape[2] // patch)
                                          for j in range(x.shape[3] // patch)], dim=1)),
        Mistake(
            "as many rows of patches as columns, and the other way round",
            "You split the height by the columns of patches, and the width by their rows. (rows, "
            "patch) belong to H, (columns, patch) to W.",
            exchanged_sides),
    ), "each patch a token, nothing lost, in the right order")


def unpatchify(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """tokens (B,N,C*patch*patch) of `rows` rows of patches -> (B,C,H,W), the inverse of patchify.
    """
    return dit.unpatchify(tokens, patch, rows)


def rows_of_tokens(draw):
    """Draws of tokens whose number is a square, so that a square picture could be made of them;
    draw(g) -> (B, C, rows, columns), patch."""
    def drawn(g):
        (B, C, rows, columns), patch = draw(g)
        return torch.randn(B, rows * columns, C * patch ** 2, generator=g), patch, rows
    return drawn


def laid_out(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """(B, rows, columns, C, p, p)."""
    return tokens.view(len(tokens), rows, -1, tokens.shape[2] // patch ** 2, patch, patch)


def as_picture(x: Tensor) -> Tensor:
    """(B, C, rows, p, columns, p) -> (B, C, H, W)."""
    return x.flatten(4, 5).flatten(2, 3)


def put_together(*order: int):
    """The six sides in another order, as if it were B, C, rows, p, columns, p."""
    return lambda tokens, patch, rows: laid_out(tokens, patch, rows).permute(order).reshape(
        unpatchify(tokens, patch, rows).shape)


def pixels_first(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """The numbers of a token read pixel by pixel."""
    C = tokens.shape[2] // patch ** 2
    return as_picture(tokens.view(len(tokens), rows, -1, patch, patch, C).permute(
        0, 5, 1, 3, 2, 4))


def columns_first(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """The tokens read down the columns."""
    columns = tokens.shape[1] // rows
    return unpatchify(tokens.unflatten(1, (columns, rows)).transpose(1, 2).flatten(1, 2), patch,
                      rows)


def by_wrong_rows(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """Token i in row i // rows, as far as there are rows, and column i % columns."""
    columns, x = tokens.shape[1] // rows, torch.zeros_like(unpatchify(tokens, patch, rows))
    for i, token in enumerate(tokens.unbind(1)):
        top, left = i // rows % rows * patch, i % columns * patch
        x[:, :, top:top + patch, left:left + patch] = token.view(len(x), -1, patch, patch)
    return x


def in_rows(count):
    """The right picture of count(N, rows) rows."""
    return lambda tokens, patch, rows: unpatchify(tokens, patch, count(tokens.shape[1], rows))


UNPATCHIFY = Exercise(
    "flow.unpatchify", LESSON, 2, unpatchify,
    (rows_of_tokens(lambda g: ((between(2, 3, g), 3, 2, 8), 4)),
     rows_of_tokens(lambda g: ((2, between(2, 4, g), 9, 4), 2)),
     rows_of_tokens(lambda g: ((1, 4, 8, 2), 3)), rows_of_tokens(lambda g: ((2, 3, 4, 4), 2)),
     rows_of_tokens(lambda g: ((3, 2, 2, 2), 5))), in_section(6,
        Mistake(
            "laid where memory falls",
            "You reshape the tokens as they lie in memory, so a patch becomes a piece of a row. "
            "Its numbers belong into `patch` rows: move the dims first.",
            lambda tokens, patch, rows: tokens.reshape(unpatchify(tokens, patch, rows).shape)),
        Mistake(
            "transposed, then laid where memory falls",
            "You exchange tokens and numbers, and then reshape. The pixels of a patch do not lie "
            "side by side yet: all six dims have to be put in order.",
            lambda tokens, patch, rows: tokens.mT.reshape(unpatchify(tokens, patch, rows).shape)),
        Mistake(
            "row in a patch before the row of patches",
            "You put the row inside of a patch before the row of patches. First which patch, then "
            "where in it.",
            put_together(0, 3, 4, 1, 5, 2)),
        Mistake(
            "rows of patches, columns of patches, then their pixels",
            "You put rows and columns of patches side by side, and then the pixels of a patch. "
            "H is rows times patch: the two belong side by side.",
            put_together(0, 3, 1, 2, 4, 5)),
        Mistake(
            "patches lying on their side",
            "In each patch rows and columns are exchanged.",
            put_together(0, 3, 1, 5, 2, 4)),
        Mistake(
            "columns of patches in the rows' place",
            "You put the columns of patches where their rows belong.",
            put_together(0, 3, 2, 4, 1, 5)),
        Mistake(
            "pixel by pixel",
            "You read a token pixel by pixel, the channels side by side. It was written channel by "
            "channel.",
            pixels_first),
        Mistake(
            "patches column by column",
            "You fill the picture down its columns. The patches came row by row.",
            columns_first),
        Mistake(
            "a square picture",
            "You take the root of the number of tokens for the number of rows. Not every picture "
            "is square: it is given as `rows`.",
            in_rows(lambda N, rows: math.isqrt(N))),
        Mistake(
            "rows taken for columns",
            "You take `rows` for the number of patches in a row. It is the number of rows.",
            in_rows(lambda N, rows: N // rows)),
        Mistake(
            "rows taken for pixels",
            "You take `rows` for the height in pixels. It counts rows of patches.",
            lambda tokens, patch, rows: tokens.reshape(
                len(tokens), tokens.shape[2] // patch ** 2, rows, -1)),
        Mistake(
            "the picture on its side",
            "You exchange height and width of the picture.",
            lambda *given: unpatchify(*given).mT),
        Mistake(
            "channels last",
            "Your channels stand behind the pixels. PyTorch wants them before: (B,C,H,W).",
            lambda *given: unpatchify(*given).permute(0, 2, 3, 1)),
        Mistake(
            "mirrored",
            "Your picture is mirrored: left and right are exchanged.",
            lambda *given: unpatchify(*given).flip(3)),
        Mistake(
            "upside down",
            "Your picture is upside down. The first patches are those above.",
            lambda *given: unpatchify(*given).flip(2)),
        Mistake(
            "tokens as they came",
            "You return the tokens as they came.",
            lambda tokens, patch, rows: tokens.clone()),
        Mistake(
            "patches not put together",
            "Your patches are still apart: rows and the rows inside of them have to become one "
            "dim, and the columns too.",
            lambda *given: laid_out(*given).permute(0, 3, 1, 4, 2, 5)),
        Mistake(
            "from below upwards",
            "Your first tokens are laid at the bottom. One reads from the upper left.",
            lambda tokens, patch, rows: unpatchify(
                tokens.unflatten(1, (rows, -1)).flip(1).flatten(1, 2), patch, rows)),
        Mistake(
            "the last column of patches left out",
            "You leave out the last column of patches: the end of a slice is not in it.",
            lambda tokens, patch, rows: unpatchify(tokens, patch, rows)[..., :-patch]),
        Mistake(
            "the last patch left out",
            "You leave out the last patch: a range up to N - 1 does not hold N - 1.",
            lambda tokens, patch, rows: unpatchify(torch.cat([
                tokens[:, :-1], torch.zeros_like(tokens[:, -1:])], dim=1), patch, rows)),
        Mistake(
            "channels before tokens",
            "You read the numbers as if all tokens of a channel came first. They lie token by "
            "token: (rows, columns, C, patch, patch).",
            lambda tokens, patch, rows: tokens.view(
                len(tokens), -1, rows, tokens.shape[1] // rows, patch, patch).transpose(
                    3, 4).reshape(unpatchify(tokens, patch, rows).shape)),
        Mistake(
            "reshaped where it should be transposed",
            "You reshape (N, numbers) to (numbers, N), and nothing moves. Exchange the two dims "
            "with .mT.",
            lambda tokens, patch, rows: F.pixel_shuffle(tokens.reshape(
                len(tokens), tokens.shape[2], rows, -1), patch)),
        Mistake(
            "channel in the middle",
            "You read a token as row, channel, column. It is channel by channel, and in each "
            "channel row by row.",
            lambda tokens, patch, rows: as_picture(tokens.view(
                len(tokens), rows, -1, patch, tokens.shape[2] // patch ** 2, patch).permute(
                    0, 4, 1, 3, 2, 5))),
        Mistake(
            "patch and rows exchanged",
            "You take the rows for the patch, and the other way round. The patch comes first.",
            lambda tokens, patch, rows: unpatchify(tokens, rows, patch)),
        Mistake(
            "squeezed by a sigmoid",
            "You squeeze the numbers. Laid back they are what they were.",
            lambda *given: unpatchify(*given).sigmoid()),
        Mistake(
            "cut to [-1, 1]",
            "You cut the numbers to [-1, 1]. Laid back they are what they were.",
            lambda *given: unpatchify(*given).clamp(-1, 1)),
        Mistake(
            "the first picture alone",
            "You return the first picture. Asked for are all.",
            lambda tokens, patch, rows: unpatchify(tokens[:1], patch, rows)),
        Mistake(
            "as many columns as rows",
            "You take as many columns of patches as there are rows, and the channels swallow the "
            "rest. There are N / rows columns.",
            lambda tokens, patch, rows: as_picture(tokens.reshape(
                len(tokens), rows, rows, -1, patch, patch).permute(0, 3, 1, 4, 2, 5))),
        Mistake(
            "patches of 2, whatever is asked",
            "You lay patches of 2. How large they are was given as `patch`.",
            lambda tokens, patch, rows: unpatchify(tokens, 2, rows)),
        Mistake(
            "rows in the place of columns, token by token",
            "You find the row of a token by i // rows. It is i // columns, and the column i % "
            "columns.",
            by_wrong_rows),
    ), "the picture that the patches were cut from, square or not", learns=True)


# ---- time and text scale, shift and gate

def adaln(x: Tensor, weight: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
    """x (B,N,D); weight (D,D), the part of a block; shift, scale, gate (B,D) -> (B,N,D):
    x + gate * (((1 + scale) * norm(x) + shift) @ weight), with the norm of each token over its D
    numbers, 1e-5 added to the variance. Everything learns."""
    h = dit.modulate(F.layer_norm(x, x.shape[2:]), shift[:, None], scale[:, None])
    return x + gate[:, None] * (h @ weight)


def tokens_of(size, flat: bool = False):
    """Draws of tokens far from mean 0 and variance 1, size(g) -> B, N, D; in the first one, or in
    none, all numbers are nearly equal, so that what is added to the variance is seen."""
    def draw(g):
        B, N, D = size(g)
        x = 2 * torch.randn(B, N, D, generator=g) + 3 * torch.randn(B, N, 1, generator=g)
        if flat:
            x[0, 0] = 0.004 * torch.randn(D, generator=g)
        weight = torch.randn(D, D, generator=g) / D ** 0.5
        return x, weight, *torch.randn(3, B, D, generator=g)
    return draw


def layer(x: Tensor, eps: float = 1e-5, dims=(2,), correction: int = 0) -> Tensor:
    """Mean 0 and variance 1 over these dims."""
    off = x - x.mean(dim=dims, keepdim=True)
    return off / (x.var(dim=dims, keepdim=True, correction=correction) + eps).sqrt()


def normed(norm):
    """The step with another norm, norm(x)."""
    return lambda x, weight, shift, scale, gate: x + gate[:, None] * (
        dit.modulate(norm(x), shift[:, None], scale[:, None]) @ weight)


def modulated(change):
    """The step with another way to modulate: change(normed x, shift (B,1,D), scale (B,1,D))."""
    return lambda x, weight, shift, scale, gate: x + gate[:, None] * (
        change(layer(x), shift[:, None], scale[:, None]) @ weight)


def gated(change):
    """The step with another end: change(x, what comes of the part, gate (B,1,D))."""
    return lambda x, weight, shift, scale, gate: change(
        x, dit.modulate(layer(x), shift[:, None], scale[:, None]) @ weight, gate[:, None])


def handed(order):
    """The step with its three vectors in other roles: order(shift, scale, gate)."""
    return lambda x, weight, *vectors: adaln(x, weight, *order(*vectors))


ADALN = Exercise(
    "flow.adaln", LESSON, 2, adaln,
    (tokens_of(lambda g: (2, between(3, 5, g), 8)), tokens_of(lambda g: (3, 3, 3), flat=True),
     tokens_of(lambda g: (between(2, 4, g), 6, 6)), tokens_of(lambda g: (4, 4, 4)),
     tokens_of(lambda g: (1, 5, 12), flat=True)), in_section(6,
        Mistake(
            "1 + forgotten",
            "You multiply by the scale itself, so a scale of 0 leaves nothing. Where the network "
            "says nothing, all should stay as it is.",
            modulated(lambda h, shift, scale: scale * h + shift)),
        Mistake(
            "shift and scale exchanged",
            "You shift by the scale, and scale by the shift.",
            handed(lambda shift, scale, gate: (scale, shift, gate))),
        Mistake(
            "gate and scale exchanged",
            "You gate with the scale, and scale with the gate.",
            handed(lambda shift, scale, gate: (shift, gate, scale))),
        Mistake(
            "gate and shift exchanged",
            "You gate with the shift, and shift with the gate.",
            handed(lambda shift, scale, gate: (gate, scale, shift))),
        Mistake(
            "shift forgotten",
            "You scale, and do not shift.",
            modulated(lambda h, shift, scale: (1 + scale) * h)),
        Mistake(
            "scale forgotten",
            "You shift, and do not scale.",
            modulated(lambda h, shift, scale: h + shift)),
        Mistake(
            "shift scaled as well",
            "You shift first, and then scale, the shift as well. First scale, then shift.",
            modulated(lambda h, shift, scale: (1 + scale) * (h + shift))),
        Mistake(
            "1 + on the shift",
            "You add 1 to the shift too. Only to the scale: a shift of 0 shifts nothing.",
            modulated(lambda h, shift, scale: (1 + scale) * h + 1 + shift)),
        Mistake(
            "1 less the scale",
            "You take 1 - scale.",
            modulated(lambda h, shift, scale: (1 - scale) * h + shift)),
        Mistake(
            "exp of the scale",
            "You take exp(scale). It is 1 + scale: both begin at 1, but only at 0 are they alike.",
            modulated(lambda h, shift, scale: scale.exp() * h + shift)),
        Mistake(
            "shift subtracted",
            "You subtract the shift.",
            modulated(lambda h, shift, scale: (1 + scale) * h - shift)),
        Mistake(
            "gate forgotten",
            "You add all that comes out of the part. How much of it, the gate says.",
            gated(lambda x, out, gate: x + out)),
        Mistake(
            "1 + on the gate",
            "You add 1 to the gate. Then a gate of 0 lets all through, and the block does not "
            "begin as the identity.",
            gated(lambda x, out, gate: x + (1 + gate) * out)),
        Mistake(
            "gate on the shortcut",
            "You gate the sum, the shortcut as well. With a gate of 0 nothing of x would be left.",
            gated(lambda x, out, gate: gate * (x + out))),
        Mistake(
            "gate on the shortcut alone",
            "You gate the shortcut, and add all of the part. It is the part that is gated.",
            gated(lambda x, out, gate: gate * x + out)),
        Mistake(
            "tanh of the gate",
            "You put the gate through a tanh. It is taken as it is.",
            gated(lambda x, out, gate: x + gate.tanh() * out)),
        Mistake(
            "a norm at the end",
            "You take the norm of the sum. Only what enters the part is normed.",
            gated(lambda x, out, gate: layer(x + gate * out))),
        Mistake(
            "a norm behind the part",
            "You take the norm of what comes out of the part, too. Only what enters it is normed.",
            gated(lambda x, out, gate: x + gate * layer(out))),
        Mistake(
            "the first picture's gate for all",
            "You take the first picture's gate for the whole batch. Each has its own.",
            handed(lambda shift, scale, gate: (shift, scale, gate[:1].expand_as(gate)))),
        Mistake(
            "gate squeezed",
            "You put the gate through a sigmoid. It is taken as it is, and begins at 0.",
            gated(lambda x, out, gate: x + gate.sigmoid() * out)),
        Mistake(
            "gate between two",
            "You take so much of the one and the rest of the other. x stays whole: the part is "
            "added.",
            gated(lambda x, out, gate: (1 - gate) * x + gate * out)),
        Mistake(
            "gate before the part",
            "You gate what enters the part. It belongs on what comes out.",
            lambda x, weight, shift, scale, gate: x + (gate[:, None] * dit.modulate(
                layer(x), shift[:, None], scale[:, None])) @ weight),
        Mistake(
            "shortcut forgotten",
            "You return what the part says, without x. A gate of 0 should leave x as it is.",
            gated(lambda x, out, gate: gate * out)),
        Mistake(
            "shortcut from behind the norm",
            "You add to the norm of x. The shortcut is x as it came.",
            gated(lambda x, out, gate: layer(x) + gate * out)),
        Mistake(
            "the part subtracted",
            "You subtract what the part says.",
            gated(lambda x, out, gate: x - gate * out)),
        Mistake(
            "norm forgotten",
            "You modulate x as it came. First each token gets mean 0 and variance 1.",
            normed(lambda x: x)),
        Mistake(
            "norm over the tokens",
            "You take mean and variance over the tokens. Each token has its own, over its D "
            "numbers.",
            normed(lambda x: layer(x, dims=(1,)))),
        Mistake(
            "norm over the whole picture",
            "You take one mean and one variance for a picture. Each token has its own.",
            normed(lambda x: layer(x, dims=(1, 2)))),
        Mistake(
            "norm over the batch",
            "You take mean and variance over the pictures. Each token has its own.",
            normed(lambda x: layer(x, dims=(0,)))),
        Mistake(
            "the mean left",
            "You divide by the root mean square, and leave the mean (RMSNorm). Take it away first.",
            normed(lambda x: x / (x.square().mean(dim=2, keepdim=True) + 1e-5).sqrt())),
        Mistake(
            "mean left, divided by the deviation",
            "You divide by the deviation, and leave the mean. Take it away first.",
            normed(lambda x: x / (x.var(dim=2, keepdim=True, correction=0) + 1e-5).sqrt())),
        Mistake(
            "the deviation left",
            "You take the mean away, and do not divide.",
            normed(lambda x: x - x.mean(dim=2, keepdim=True))),
        Mistake(
            "divided by the variance",
            "You divide by the variance. The deviation is its root.",
            normed(lambda x: (x - x.mean(dim=2, keepdim=True))
                   / (x.var(dim=2, keepdim=True, correction=0) + 1e-5))),
        Mistake(
            "variance with D - 1",
            "Your variance divides by D - 1. A norm divides by D: correction=0.",
            normed(lambda x: layer(x, correction=1))),
        Mistake(
            "nothing added to the variance",
            "You add nothing to the variance. A token in which all is nearly equal is blown up; "
            "the text says how much to add.",
            normed(lambda x: layer(x, eps=0.0))),
        *(Mistake(
            f"{eps:g} added to the variance",
            f"You add {eps:g} to the variance. The text asks for another number, and in a token in "
            "which all is nearly equal it matters.",
            normed(lambda x, eps=eps: layer(x, eps=eps))) for eps in (1e-3, 1e-4, 1e-6, 1e-8)),
        *(Mistake(
            f"the deviation with D - 1{' and more' * bool(eps)}",
            "Your deviation divides by D - 1, as torch.std does unless it is told otherwise. A "
            "norm divides by D, and adds to the variance under the root.",
            normed(lambda x, eps=eps: (x - x.mean(dim=2, keepdim=True))
                   / (x.std(dim=2, keepdim=True) + eps))) for eps in (0.0, 1e-5)),
        Mistake(
            "1e-5 added to the deviation",
            "You add 1e-5 to the deviation. It belongs to the variance, under the root.",
            normed(lambda x: (x - x.mean(dim=2, keepdim=True))
                   / (x.std(dim=2, keepdim=True, correction=0) + 1e-5))),
        Mistake(
            "unit length",
            "You bring each token to length 1. Its variance should be 1, so its length is about "
            "the root of D.",
            normed(lambda x: F.normalize(x, dim=2))),
        Mistake(
            "norm after the modulation",
            "You modulate first and take the norm then, which undoes it in part.",
            lambda x, weight, shift, scale, gate: x + gate[:, None] * (layer(dit.modulate(
                x, shift[:, None], scale[:, None])) @ weight)),
        Mistake(
            "modulated after the part",
            "You modulate what comes out of the part. Scale and shift belong before it.",
            lambda x, weight, shift, scale, gate: x + gate[:, None] * dit.modulate(
                layer(x) @ weight, shift[:, None], scale[:, None])),
        Mistake(
            "the part left out",
            "You leave the part out: multiply by `weight`.",
            lambda x, weight, shift, scale, gate: x + gate[:, None] * dit.modulate(
                layer(x), shift[:, None], scale[:, None])),
        Mistake(
            "the part transposed",
            "You multiply by the transpose of `weight`.",
            lambda x, weight, *vectors: adaln(x, weight.mT, *vectors)),
        Mistake(
            "the first picture's time for all",
            "You take the first picture's vectors for the whole batch. Each picture has its own "
            "time and text.",
            handed(lambda *vectors: tuple(v[:1].expand_as(v) for v in vectors))),
        Mistake(
            "x cut off",
            "Your norm is right, and nothing can be learnt through it: its gradient is cut off. "
            "Leave .detach() and no_grad out.",
            normed(lambda x: layer(x.detach()))),
        Mistake(
            "the branch alone",
            "You return the part without gate and shortcut. x + gate f(...).",
            lambda x, weight, shift, scale, gate: ((1 + scale[:, None]) * F.layer_norm(
                x, x.shape[2:]) + shift[:, None]) @ weight),
    ), "scaled, shifted, gated, and everything learns",
    tolerance=2e-5,            # a nearly equal token is made three hundred times as large
    learns=True)


# ---- where in time one trains

def logit_normal(t: Tensor, mean: float, std: float) -> Tensor:
    """t of any shape, between 0 and 1; mean and std of its logit -> the density there."""
    return flow.logit_normal(t, mean, std)


def times_between(shape, mean, std):
    """Draws of times, some near both ends; mean(random number) and std(random number)."""
    def draw(g):
        t = 0.02 + 0.96 * torch.rand(*shape(g), generator=g)
        t.view(-1)[:2] = torch.tensor([0.002, 0.998])[:t.numel()]
        u = torch.rand(2, generator=g).tolist()
        return t, mean(u[0]), std(u[1])
    return draw


def near_the_data(g: Generator) -> tuple:
    """Times within a thousandth of 0, in a bell so wide that they matter."""
    return 10 ** (-3.2 - torch.rand(4, generator=g)), -0.3, 2.5


def logit_of(t: Tensor) -> Tensor:
    return (t / (1 - t)).log()


def bell(z: Tensor, std: float = 1.0) -> Tensor:
    """The normal density."""
    return (-z.square() / 2).exp() / (std * math.sqrt(2 * math.pi))


def with_slope(slope):
    """The density with another derivative of the logit, slope(t)."""
    return lambda t, mean, std: bell((logit_of(t) - mean) / std, std) * slope(t)


def of_logit(place):
    """The density with another place(logit, mean, std) under the bell."""
    return lambda t, mean, std: bell(place(logit_of(t), mean, std), std) / (t * (1 - t))


def times_constant(factor):
    """The right density times factor(std)."""
    return lambda t, mean, std: logit_normal(t, mean, std) * factor(std)


LOGIT_NORMAL = Exercise(
    "flow.logit_normal", LESSON, 2, logit_normal,
    (times_between(lambda g: (between(5, 9, g),), lambda u: 0.5 + u, lambda u: 0.6 + 0.3 * u),
     times_between(lambda g: (3, 4), lambda u: -1 + 0.5 * u, lambda u: 1.2 + u),
     times_between(lambda g: (between(6, 8, g),), lambda u: 0.3 + 0.1 * u, lambda u: 1.5 + u),
     times_between(lambda g: (1,), lambda u: 0.8, lambda u: 0.7),
     times_between(lambda g: (2, 1, 3), lambda u: -0.4, lambda u: 2.5), near_the_data),
    in_section(8,
        Mistake(
            "the slope forgotten",
            "You return the normal density of the logit. Near the ends the logit runs through much "
            "while t hardly moves: a density gains the derivative of the logit.",
            with_slope(torch.ones_like)),
        Mistake(
            "multiplied by t (1 - t)",
            "You multiply by t (1 - t). That is the derivative of the sigmoid; the density of t "
            "gains the derivative of the logit.",
            with_slope(lambda t: t * (1 - t))),
        Mistake(
            "the slope of log t",
            "You divide by t alone, the derivative of the logarithm. The logit has another.",
            with_slope(lambda t: 1 / t)),
        Mistake(
            "the slope of log (1 - t)",
            "You divide by 1 - t alone. The logit has another derivative.",
            with_slope(lambda t: 1 / (1 - t))),
        Mistake(
            "the slopes subtracted",
            "You subtract the derivatives of the two logarithms. log(1 - t) falls: its derivative "
            "is negative already, and two minus signs make a plus.",
            with_slope(lambda t: 1 / t - 1 / (1 - t))),
        Mistake(
            "divided by t, multiplied by 1 - t",
            "You divide by t, and multiply by 1 - t. Both are divided by: brackets, perhaps?",
            with_slope(lambda t: (1 - t) / t)),
        Mistake(
            "the root of the slope",
            "You take the root of t (1 - t). The derivative has none.",
            with_slope(lambda t: (t * (1 - t)).rsqrt())),
        Mistake(
            "the slope of an inverse square",
            "You divide by t (1 - t) twice. Once is the derivative of the logit.",
            with_slope(lambda t: (t * (1 - t)) ** -2)),
        Mistake(
            "the normal density of t",
            "You take the normal density at t itself. It is the logit of t that is normal.",
            lambda t, mean, std: bell((t - mean) / std, std)),
        Mistake(
            "t in place of its logit",
            "Under the exponential you take t. It is the logit of t that is normal.",
            lambda t, mean, std: bell((t - mean) / std, std) / (t * (1 - t))),
        Mistake(
            "the logarithm in place of the logit",
            "You take log t. That is the log-normal density; the logit is log(t / (1 - t)).",
            lambda t, mean, std: bell((t.log() - mean) / std, std) / (t * (1 - t))),
        Mistake(
            "log-normal",
            "You return the log-normal density, with log t and 1 / t. The logit is "
            "log(t / (1 - t)).",
            lambda t, mean, std: bell((t.log() - mean) / std, std) / t),
        Mistake(
            "the sigmoid in place of the logit",
            "You take the sigmoid of t. Its inverse, the logit, is normal.",
            lambda t, mean, std: bell((t.sigmoid() - mean) / std, std) / (t * (1 - t))),
        Mistake(
            "mean added",
            "You add the mean to the logit, or take the logit of 1 - t, and then the most likely "
            "times lie on the other side of 1/2. Subtract it.",
            of_logit(lambda z, mean, std: (z + mean) / std)),
        Mistake(
            "mean forgotten",
            "You leave the mean out.",
            of_logit(lambda z, mean, std: z / std)),
        Mistake(
            "mean taken for a time",
            "You take the logit of the mean, or its sigmoid. It is the mean of the logit already.",
            of_logit(lambda z, mean, std: (z - 1 / (1 + math.exp(-mean))) / std)),
        Mistake(
            "std forgotten under the exponential",
            "Under the exponential you do not divide by the deviation.",
            of_logit(lambda z, mean, std: z - mean)),
        Mistake(
            "std taken for the variance",
            "Under the exponential you divide by 2 std. It is 2 std^2: std is a deviation.",
            of_logit(lambda z, mean, std: (z - mean) / std ** 0.5)),
        Mistake(
            "std and mean forgotten",
            "You leave out mean and deviation: that is the density for 0 and 1.",
            lambda t, mean, std: logit_normal(t, 0.0, 1.0)),
        Mistake(
            "std forgotten everywhere",
            "You leave out the deviation.",
            lambda t, mean, std: logit_normal(t, mean, 1.0)),
        Mistake(
            "std taken for the variance everywhere",
            "You take the root of std. It is the deviation already.",
            lambda t, mean, std: logit_normal(t, mean, std ** 0.5)),
        Mistake(
            "std squared everywhere",
            "You square std where the deviation itself is meant.",
            lambda t, mean, std: logit_normal(t, mean, std ** 2)),
        Mistake(
            "std multiplied",
            "Under the exponential you multiply by the deviation. Divide.",
            of_logit(lambda z, mean, std: (z - mean) * std)),
        Mistake(
            "std squared twice",
            "Under the exponential you divide by the deviation once too often.",
            of_logit(lambda z, mean, std: (z - mean) / std ** 2)),
        Mistake(
            "not halved",
            "Under the exponential you do not halve the square.",
            of_logit(lambda z, mean, std: 2 ** 0.5 * (z - mean) / std)),
        Mistake(
            "not squared",
            "Under the exponential you do not square.",
            lambda t, mean, std: ((mean - logit_of(t)) / std / 2).exp() / (
                std * math.sqrt(2 * math.pi) * t * (1 - t))),
        Mistake(
            "sign forgotten",
            "Your exponential grows: its sign is negative.",
            lambda t, mean, std: (((logit_of(t) - mean) / std).square() / 2).exp() / (
                std * math.sqrt(2 * math.pi) * t * (1 - t))),
        Mistake(
            "not divided by std",
            "Before the exponential you do not divide by the deviation, so the whole is not 1.",
            times_constant(lambda std: std)),
        Mistake(
            "divided by the variance",
            "Before the exponential you divide by the square of the deviation. Divide by itself.",
            times_constant(lambda std: 1 / std)),
        Mistake(
            "the root of std",
            "Before the exponential you divide by the root of the deviation. It is the variance "
            "that stands under the root.",
            times_constant(lambda std: std ** 0.5)),
        Mistake(
            "2 pi forgotten",
            "The factor sqrt(2 pi) is missing, so the whole is not 1.",
            times_constant(lambda std: math.sqrt(2 * math.pi))),
        Mistake(
            "2 pi without its root",
            "You divide by 2 pi. It stands under a root.",
            times_constant(lambda std: 1 / math.sqrt(2 * math.pi))),
        Mistake(
            "the root of 2, times pi",
            "You divide by sqrt(2) pi: pi stands under the root, too.",
            times_constant(lambda std: 1 / math.sqrt(math.pi))),
        Mistake(
            "pi in place of 2 pi",
            "You divide by sqrt(pi). It is sqrt(2 pi).",
            times_constant(lambda std: 2 ** 0.5)),
        Mistake(
            "multiplied by sqrt(2 pi)",
            "You multiply by sqrt(2 pi). Divide.",
            times_constant(lambda std: 2 * math.pi)),
        Mistake(
            "the logarithm of the density",
            "You return the logarithm of the density.",
            lambda *given: logit_normal(*given).log()),
        Mistake(
            "the share below t",
            "You return the share of times below t, the distribution function. Asked for is the "
            "density, its derivative.",
            lambda t, mean, std: (1 + ((logit_of(t) - mean) / std / 2 ** 0.5).erf()) / 2),
        Mistake(
            "the highest is 1",
            "You divide by the largest of the given densities. It may be any number, above 1 too.",
            lambda *given: (d := logit_normal(*given)) / d.max()),
        Mistake(
            "summed to 1",
            "You divide by the sum over the given times. A density is no list of shares: its "
            "integral is 1, wherever you look.",
            lambda *given: (d := logit_normal(*given)) / d.sum()),
        Mistake(
            "the mean of the density is 1",
            "You divide by the mean over the given times. They may lie anywhere.",
            lambda *given: (d := logit_normal(*given)) / d.mean()),
        Mistake(
            "mean and std exchanged",
            "You take the mean for the deviation and the other way round.",
            lambda t, mean, std: logit_normal(t, std, mean)),
        Mistake(
            "logarithm to base 10",
            "You take logarithms to base 10. The sigmoid has e in it.",
            of_logit(lambda z, mean, std: (z / math.log(10) - mean) / std)),
        Mistake(
            "logarithm to base 2",
            "You take logarithms to base 2. The sigmoid has e in it.",
            of_logit(lambda z, mean, std: (z / math.log(2) - mean) / std)),
    ), "the density of a sigmoid of normal numbers, for any mean and deviation",
    tolerance=2e-5)            # near 1, 1 - t has lost some digits, and exp makes it more


TEST = hunt(EULER_STEP, "sign of time turned", "never towards the noise",
    "steps to a later time left out", "all the way to the data", "as far as the new time",
    "the times divided", "half a step", "a step squared", "the first step for all",
    "cut to [-1, 1]")
EXERCISES = (INTERPOLATE, MATCHING_LOSS, EULER_STEP, STRAIGHTEN, PATCHIFY, UNPATCHIFY, ADALN,
             LOGIT_NORMAL, TEST)
