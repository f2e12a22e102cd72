r"""Flow: noise goes to data along straight lines; learn the velocity, then go it in few steps.

in -> out   noise (B, ...) of any shape, a vector or a picture -> a sample (B, ...)
idea        Lay a straight line from each picture to a noise, and let a network learn, at every
            place and time, the mean velocity of the lines that pass there. Whoever follows that
            field backwards turns noise into pictures. No schedule is left: time is the share of
            noise. Each line is straight, but where lines cross, the field is their mean, and so
            its own paths bend: one step would miss. Reflow draws the lines anew, each from a noise
            to the picture where its path ended. These hardly cross, so a second network that learns
            them goes straighter, and needs few steps, or one. A shortcut model is told, beside the
            time, where it shall arrive, and learns that one leap ends where two of half its length
            do. A diffusion is such a flow after a change of time and scale, and DDIM Euler's step.
equation    x_t = (1 - t) x_0 + t eps,   dx_t / dt = v(x_t, t) = E[eps - x_0 | x_t]
paper       Lipman et al. 2022, arXiv:2210.02747, section 4; Liu et al. 2022 (rectified flow and
            reflow), arXiv:2209.03003, algorithm 1; logit-normal times: Esser et al. 2024,
            arXiv:2403.03206, section 3.1; shortcut models: Frans et al. 2024, arXiv:2410.12557,
            section 3; answering with x_0: Li & He 2025, arXiv:2511.13720
tried       in one step, on two moons, after about the same seconds (energy distance; 0.001 is real
            against real, 0.45 the flow itself): shortcut 0.010, reflow 0.012, both as good as the
            flow in twelve steps, 0.011; MeanFlow (arXiv:2505.13447) 0.05 to 0.11, from nothing and
            from the flow. On pictures reflow is enough: see `Student` in dit.py
left out    other paths than straight ones, pairing noises with near data, likelihoods

The model is any callable `model(x_t, t, condition, keep) -> like x_t`, as in diffusion.py, but t
(B,) runs from 0, the data, to 1, pure noise.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from minidalle.diffusion import (
    Diffusion,
    check_shape,
    eps_from_x0,
    even_weight,
    guided,
    middle_times,
    rand,
)
from minidalle.train import randn

# ---- the line, and two things a network may answer; t (B, 1, ...) ----

def like(t: Tensor, x: Tensor) -> Tensor:
    """Times (B,), shaped (B, 1, ...) like x."""
    return t.view(-1, *[1] * (x.dim() - 1))


def interpolate(x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_t: the equation at the top of this file."""
    return (1 - t) * x_0 + t * eps


class Velocity:
    """Where the line leads: from the data to the noise."""
    @staticmethod
    def target(x_0: Tensor, eps: Tensor) -> Tensor:
        return eps - x_0

    @staticmethod
    def to_velocity(x_t: Tensor, answer: Tensor, t: Tensor) -> Tensor:
        return answer

    @staticmethod
    def answer(x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return v


class Data:
    """Where it comes from. A network whose patches have fewer numbers than its width can say this,
    but not noise: pictures lie on a thin sheet, and noise is everywhere."""
    @staticmethod
    def target(x_0: Tensor, eps: Tensor) -> Tensor:
        return x_0

    @staticmethod
    def to_velocity(x_t: Tensor, answer: Tensor, t: Tensor) -> Tensor:
        return (x_t - answer) / t              # x_t - x_0 = t (eps - x_0)

    @staticmethod
    def answer(x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return x_t - t * v


# ---- where in t one trains ----

def logit_normal(t: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """The density of t = sigmoid(normal), equation 19 of arXiv:2403.03206; that of `middle_times`
    as it stands. 0 at both ends."""
    z = (t.logit() - mean) / std
    return (-z.square() / 2).exp() / (std * math.sqrt(2 * math.pi) * t * (1 - t))


def few_times(n: int, device: torch.device, generator: Generator | None = None) -> Tensor:
    """Where one, two or four steps ask: the first half of them at 1, the others at 3/4, 1/2, 1/4.
    """
    quarter = (1 + 3 * rand(n, device, generator)).floor().clamp(max=3) / 4     # (n,)
    return torch.where(torch.arange(n, device=device) < n / 2, 1.0, quarter)


# ---- the process around a model ----

@dataclass(frozen=True)
class Flow:
    """It has no weights and no schedule. `threshold` holds each guess of x_0, for data in [-1, 1].
    """
    predict: type = Velocity
    threshold: Callable[[Tensor], Tensor] | None = None

    def loss(self, model: Callable, x_0: Tensor, condition=None, drop: float = 0.0,
             generator: Generator | None = None, times: Callable = middle_times,
             weight: Callable = even_weight, eps: Tensor | None = None) -> Tensor:
        """Flow matching -> scalar. Each sample has its own time, and loses its condition with
        probability `drop`; `weight` is one of those in diffusion.py. With `eps`, the noises that
        these x_0 came of, it is reflow."""
        if not 0 <= drop <= 1:
            raise ValueError(f"drop={drop} is a probability and should lie between 0 and 1.")
        t = times(len(x_0), x_0.device, generator)                      # (B,)
        keep = rand(len(x_0), x_0.device, generator) >= drop            # (B,)
        if eps is None:
            eps = randn(x_0.shape, x_0.device, generator)               # (B, ...)
        check_shape("eps", eps, x_0.shape)
        answer = model(interpolate(x_0, eps, like(t, x_0)), t, condition, keep)     # (B, ...)
        check_shape("the model's answer", answer, x_0.shape)            # or it would broadcast
        error = answer.float() - self.predict.target(x_0, eps).float()
        return (weight(alpha_bar_of(like(t, x_0))) * error.square()).mean()

    def velocity(self, model: Callable, x_t: Tensor, t: Tensor, condition=None,
                 guidance: float | Tensor = 1.0) -> Tensor:
        """v at x_t (B, ...) and times t (B,), all above 0."""
        answer = guided(model, x_t, t, condition, guidance).to(x_t.dtype)
        return self.held(x_t, self.predict.to_velocity(x_t, answer, like(t, x_t)), t)

    def held(self, x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """The velocity v (B, ...) whose guess of x_0 lies within the threshold."""
        if self.threshold is None:
            return v
        return (x_t - self.threshold(x_t - like(t, x_t) * v)) / like(t, x_t)

    @torch.no_grad()
    def follow(self, model: Callable, x_t: Tensor, times: Sequence[float], condition=None,
               guidance: float = 1.0, order: int = 1, trace: list | None = None) -> Tensor:
        """From x_t (B, ...) at the first of these falling times to the last, a call of the model a
        step (of twice the batch under guidance). A list passed as `trace` receives a pair (x_t,
        guess of x_0) per step. Order 1 is Euler's step; order 2 also uses the velocity before the
        last, and needs no call more (Adams & Bashforth, two steps)."""
        if order not in (1, 2):
            raise ValueError(f"order={order} should be 1 (Euler's step) or 2.")
        last, ago = None, 0.0
        for t, then in pairwise(times):
            now = torch.full(x_t.shape[:1], t, device=x_t.device)       # (B,)
            v = slope = self.velocity(model, x_t, now, condition, guidance)     # (B, ...)
            if trace is not None:
                trace.append((x_t.clone(), x_t - t * v))
            if order == 2 and last is not None and then > 0:            # the data itself as guessed
                slope = v + (then - t) / ago * (v - last) / 2
            # subtle: time falls, so the step is negative, and goes against the velocity
            x_t, last, ago = x_t + (then - t) * slope, v, then - t
        return x_t

    def sample(self, model: Callable, shape: tuple, condition=None, steps: int = 12,
               guidance: float = 1.0, generator: Generator | list[Generator] | None = None,
               noise: Tensor | None = None, trace: list | None = None, order: int = 1,
               device: torch.device | str = "cpu") -> Tensor:
        """x_0 of the given shape, batch first, from `noise` or from noise drawn here, in so many
        even steps; the rest as in `follow`."""
        if steps < 1:
            raise ValueError(f"steps={steps} should be 1 or more.")
        if noise is not None:
            check_shape("noise", noise, shape)
        x_t = randn(shape, torch.device(device), generator) if noise is None else noise
        return self.follow(model, x_t, torch.linspace(1, 0, steps + 1).tolist(), condition,
                           guidance, order, trace)

    def pairs(self, model: Callable, shape: tuple, condition=None, steps: int = 12,
              guidance: float = 1.0, generator: Generator | None = None, order: int = 1,
              device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """What reflow learns from: noises, and the x_0 at the other ends of their paths."""
        eps = randn(shape, torch.device(device), generator)             # (B, ...)
        return eps, self.sample(model, shape, condition, steps=steps, guidance=guidance, noise=eps,
                                order=order)


# ---- leaps: a model that is also told where it shall arrive ----

def leap(flow: Flow, model: Callable, x_t: Tensor, t: Tensor, to: Tensor,
         condition=None) -> Tensor:
    """From times t (B,) to earlier ones in one call, model(x_t, t, condition, None, to): such a
    model answers with the mean velocity on the way, and not with that at its beginning."""
    answer = model(x_t, t, condition, None, to).to(x_t.dtype)
    v = flow.held(x_t, flow.predict.to_velocity(x_t, answer, like(t, x_t)), t)
    return x_t + like(to - t, x_t) * v


def shortcut_loss(flow: Flow, model: Callable, teacher: Callable, x_0: Tensor, condition=None,
                  guidance: float = 1.0, levels: int = 3,
                  generator: Generator | None = None) -> Tensor:
    """A leap should arrive where two of half its length do: arXiv:2410.12557, equation 5. Leaps
    are 1, 1/2, 1/4, ... long; those of half the shortest are Euler's steps along the flow of the
    teacher, whose guidance so finds its way into all of them."""
    n = len(x_0)
    # the shortest come last, so that the teacher has them in one piece
    d = 0.5 ** (torch.arange(n, device=x_0.device) * levels // n).float()   # (n,)
    t = d * (rand(n, x_0.device, generator) / d).floor() + d                # (n,) d, 2d, ... 1
    x_t = interpolate(x_0, randn(x_0.shape, x_0.device, generator), like(t, x_0))
    own = int((d > 0.5 ** (levels - 1)).sum())
    with torch.no_grad():
        x, middle, end = x_t, t - d / 2, t - d
        for now, then in ((t, middle), (middle, end)):
            v = flow.velocity(teacher, x[own:], now[own:], part(condition, own, n), guidance)
            x = torch.cat([leap(flow, model, x[:own], now[:own], then[:own],
                                part(condition, 0, own)),
                           x[own:] + like(then - now, x)[own:] * v])
    v = (x_t - x) / like(d, x_t)                                            # from t to t - d
    answer = model(x_t, t, condition, None, end)
    check_shape("the model's answer", answer, x_0.shape)
    return (answer.float() - flow.predict.answer(x_t, v, like(t, x_t)).float()).square().mean()


def part(condition, first: int, end: int):
    """Some rows of a condition, inside tuples too; None stays None."""
    if isinstance(condition, tuple):
        return tuple(part(one, first, end) for one in condition)
    return None if condition is None else condition[first:end]


@torch.no_grad()
def leaps(flow: Flow, model: Callable, noise: Tensor, steps: int, condition=None) -> Tensor:
    """noise (B, ...) -> x_0 in so many leaps of the same length."""
    x_t = noise
    for t, to in pairwise(torch.linspace(1, 0, steps + 1, device=noise.device)):
        x_t = leap(flow, model, x_t, t.expand(len(x_t)), to.expand(len(x_t)), condition)
    return x_t


# ---- the same path as that of a diffusion, after a change of time and scale ----

def alpha_bar_of(t: Tensor) -> Tensor:
    """Of the diffusion that has as much noise beside as much data at this time."""
    return (1 - t).square() / ((1 - t).square() + t.square())


def time_of(alpha_bar: Tensor) -> Tensor:
    """The inverse of alpha_bar_of: noise / (data + noise)."""
    return (1 - alpha_bar).sqrt() / scale_of(alpha_bar)


def scale_of(alpha_bar: Tensor) -> Tensor:
    """A diffusion's x_t is so many times a flow's: its two weights sum to this, a flow's to 1."""
    return alpha_bar.sqrt() + (1 - alpha_bar).sqrt()


def as_flow(diffusion: Diffusion, model: Callable) -> Callable:
    """A model of a diffusion as one that answers with velocities, at the step whose time is next.
    Euler's steps along it are those of DDIM."""
    times = time_of(diffusion.alpha_bar.double())                       # (T,), rising

    def velocity(x_t: Tensor, t: Tensor, condition, keep) -> Tensor:
        step = (times - t[:, None].double()).abs().argmin(dim=1)        # (B,)
        alpha_bar = diffusion.at(step, x_t)                             # (B, 1, ...)
        turned = scale_of(alpha_bar) * x_t
        answer = model(turned, step, condition, keep).to(x_t.dtype)
        x_0 = diffusion.predict.to_x0(turned, answer, alpha_bar)
        return eps_from_x0(turned, x_0, alpha_bar) - x_0
    return velocity


def as_diffusion(flow: Flow, model: Callable, diffusion: Diffusion) -> Callable:
    """A model of a flow as one that answers what this diffusion asks at its steps."""
    def answer(x_t: Tensor, step: Tensor, condition, keep) -> Tensor:
        alpha_bar = diffusion.at(step, x_t)                             # (B, 1, ...)
        t, straight = time_of(alpha_bar), x_t / scale_of(alpha_bar)
        said = model(straight, t.flatten(), condition, keep).to(x_t.dtype)
        v = flow.predict.to_velocity(straight, said, t)
        return diffusion.predict.target(straight - t * v, straight + (1 - t) * v, alpha_bar)
    return answer
