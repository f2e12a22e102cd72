r"""Diffusion: learn to take a little noise away, then start from pure noise.

in -> out   x_0 (B, ...) of any shape, a vector or a picture -> a new sample (B, ...)
idea        Mixing data with noise is easy: x_0 at one end, pure noise at the other. A network
            that sees a mixture and guesses what is in it can be walked backwards: guess x_0,
            step to a mixture with slightly less noise, guess again. The network may answer with
            the noise, the data, or v, a blend of both; each answer holds the other two. DDPM
            walks every step and adds fresh noise; DDIM leaps over many and needs none. Guidance
            exaggerates what the condition changes in the guess.
equation    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps,   eps ~ N(0, I)
paper       DDPM: Ho et al. 2020, arXiv:2006.11239, equations 4 to 7, algorithms 1 and 2;
            DDIM: Song et al. 2020, arXiv:2010.02502, equations 12 and 16;
            cosine schedule: Nichol and Dhariwal 2021, arXiv:2102.09672, section 3.2;
            v: Salimans and Ho 2022, arXiv:2202.00512, section 4 and appendix D;
            guidance: Ho and Salimans 2022, arXiv:2207.12598; thresholding: Saharia et al. 2022
            (Imagen), arXiv:2205.11487, section 2.3; where in t one trains: Esser et al. 2024,
            arXiv:2403.03206, section 3.1; capped weights: Hang et al. 2023, arXiv:2303.09556;
            second order: Lu et al. 2022 (DPM-Solver++), arXiv:2211.01095, algorithm 2
left out    learned variances, solvers of third order

The model is any callable `model(x_t, t, condition, keep) -> like x_t`: t (B,) counts from 0 (hardly
any noise) to T - 1 (hardly anything else); condition is None, a tensor with the batch first, or a
tuple of such; where keep (B,) is False the model answers as if it had no condition; keep=None
keeps all.
"""
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from minidalle.train import rand, randn

# ---- schedules: how much of the data is left after each step ----

def linear_schedule(steps: int = 1000) -> Tensor:
    """DDPM section 4 -> alpha_bar (steps,) float64. Below some 50 steps the cosine is better."""
    # 1e-4 and 0.02 belong to 1000 steps; fewer steps must each take more, to end as noisy
    beta = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
    return torch.cumprod(1 - beta.clamp(max=0.999), dim=0)


def cosine_schedule(steps: int = 1000) -> Tensor:
    """Equation 17 of arXiv:2102.09672 -> alpha_bar (steps,) float64; the last one at 1000 steps
    is 2.4e-9, which is why the table is built in float64."""
    s = 0.008                        # so that the first steps are not too small to notice
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((time + s) / (1 + s) * math.pi / 2) ** 2          # (steps + 1,)
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)                    # f ends at 0, where beta is 1
    return torch.cumprod(1 - beta, dim=0)


# ---- three things a network may answer, with alpha_bar (B, 1, ...) ----

class Eps:
    """The noise. Subtle: to_x0 divides by sqrt(alpha_bar), so at the last step of the cosine
    schedule the network's error grows twenty-thousandfold; clip it, or take V."""
    @staticmethod
    def target(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
        return eps

    @staticmethod
    def to_x0(x_t: Tensor, prediction: Tensor, alpha_bar: Tensor) -> Tensor:
        return (x_t - (1 - alpha_bar).sqrt() * prediction) / alpha_bar.sqrt()


class X0:
    """The data."""
    @staticmethod
    def target(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
        return x_0

    @staticmethod
    def to_x0(x_t: Tensor, prediction: Tensor, alpha_bar: Tensor) -> Tensor:
        return prediction


class V:
    """The velocity: x_t turned by a right angle. Noise where there is little, minus the
    data where there is much noise, so the answer is never trivial, and to_x0 never divides."""
    @staticmethod
    def target(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
        return alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x_0

    @staticmethod
    def to_x0(x_t: Tensor, prediction: Tensor, alpha_bar: Tensor) -> Tensor:
        return alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * prediction


def mix(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t, DDPM equation 4: the equation at the top of this file."""
    return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps


def eps_from_x0(x_t: Tensor, x_0: Tensor, alpha_bar: Tensor) -> Tensor:
    """The same equation, solved for the noise."""
    return (x_t - alpha_bar.sqrt() * x_0) / (1 - alpha_bar).sqrt()


# ---- thresholds: what a guess of x_0 may be, for data in [-1, 1] ----

def clip_static(x_0: Tensor) -> Tensor:
    """Pixels outside [-1, 1] do not exist. Strong guidance saturates many of them."""
    return x_0.clamp(-1, 1)


def clip_dynamic(x_0: Tensor, percentile: float = 0.995) -> Tensor:
    """Imagen section 2.3: shrink a picture whose brightest 0.5 % leave [-1, 1], rather than cut."""
    s = x_0.abs().reshape(len(x_0), -1).quantile(percentile, dim=1).clamp(min=1)  # (B,)
    s = s.view(-1, *[1] * (x_0.dim() - 1))                          # (B, 1, ...)
    return torch.maximum(torch.minimum(x_0, s), -s) / s             # (B, ...)


# ---- where in t one trains -> times (n,) in [0, 1): 0 is hardly any noise ----

def uniform_times(n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """DDPM: every step as often as any other."""
    return rand(n, device, generator)


def middle_times(n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Logit-normal: seldom near both ends, where there is little to learn. Near 0 the noise is
    nearly gone, near 1 nothing can be seen; what becomes of a picture is decided between."""
    return randn((n,), device, generator).sigmoid()


def early_times(n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """The squares of uniform times: mostly little noise, where what differs but slightly is told
    apart, as the vectors of two pictures of one caption."""
    return rand(n, device, generator).square()


# ---- how an error at a noise counts: alpha_bar (B, 1, ...) -> weights of that shape ----

def even_weight(alpha_bar: Tensor) -> Tensor:
    """DDPM equation 14: everywhere the same."""
    return torch.ones_like(alpha_bar)


def fine_weight(alpha_bar: Tensor, power: float = 0.5) -> Tensor:
    """For a guess of x_0: (1 + SNR)^power, where 1 + SNR = 1 / (1 - alpha_bar) is at most 100. At
    little noise a guess is off by little, and counted plainly nobody would work on it: sharpness
    is at stake, and variety."""
    return (1 - alpha_bar).clamp(min=0.01) ** -power


# ---- little helpers ----

def twice(value):
    """[value; value] along the batch, inside tuples too; None stays None."""
    if isinstance(value, tuple):
        return tuple(twice(part) for part in value)
    return None if value is None else torch.cat([value, value])


def check_shape(name: str, tensor: Tensor, shape: tuple) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)} and should have {tuple(shape)}.")


def guided(model: Callable, x_t: Tensor, t: Tensor, condition,
           guidance: float | Tensor) -> Tensor:
    """The model's answer, pushed from the unconditional one through the conditional one;
    `guidance` is a number or (B, 1, ...), a scale for each sample."""
    if not isinstance(guidance, Tensor) and guidance == 1:              # nothing to push
        return model(x_t, t, condition, None)
    if condition is None:
        raise ValueError(f"guidance={guidance} has no condition to strengthen: pass "
                         "condition=, or leave guidance at 1.")
    keep = torch.arange(2 * len(x_t), device=x_t.device) < len(x_t)     # (2B,): kept; dropped
    answer = model(twice(x_t), twice(t), twice(condition), keep)        # (2B, ...)
    cond, uncond = answer.to(x_t.dtype).chunk(2)                        # (B, ...) each, not half
    # On the raw answer: to_x0 is linear in it and the two weights sum to 1, so guiding
    # eps, x_0 or v gives the same picture.
    return uncond + guidance * (cond - uncond)


class Diffusion(nn.Module):
    """The process around a model. It has no weights; T is the length of alpha_bar."""

    def __init__(self, alpha_bar: Tensor, predict: type = V,
                 threshold: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        # float32 is enough from here: it shifts alpha_bar by 6e-8 at most, and every formula below
        # takes 1 - alpha_bar from the same rounded table (a subtraction without error near 1)
        table = alpha_bar.float()                                       # (T,)
        if table.dim() != 1 or not (table.diff() < 0).all() or table[0] >= 1 or table[-1] < 0:
            raise ValueError(f"alpha_bar {tuple(table.shape)} must be one row that falls from "
                             "below 1 to 0 or more: take linear_schedule() or cosine_schedule().")
        self.register_buffer("alpha_bar", table, persistent=False)
        self.predict, self.threshold = predict, threshold

    def within(self, threshold: Callable[[Tensor], Tensor] | None) -> "Diffusion":
        """The same process with another threshold, or with none."""
        return Diffusion(self.alpha_bar, self.predict, threshold)

    def at(self, t: Tensor, x: Tensor) -> Tensor:
        """alpha_bar at steps t (B,), shaped (B, 1, ...) like x. Step -1 is the data itself: 1."""
        alpha_bar = torch.where(t < 0, 1.0, self.alpha_bar[t.clamp(min=0)])
        return alpha_bar.view(-1, *[1] * (x.dim() - 1))

    def check_steps(self, t: Tensor, x: Tensor) -> None:
        check_shape("t, one step per sample,", t, x.shape[:1])
        if t.min() < 0 or t.max() >= len(self.alpha_bar):
            raise ValueError(f"steps t run from {t.min()} to {t.max()} and should lie between 0 "
                             f"and {len(self.alpha_bar) - 1}.")

    # ---- forwards: noising and the loss ----

    def add_noise(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """q(x_t | x_0) at steps t (B,), in one go, for the given noise."""
        self.check_steps(t, x_0)
        check_shape("eps", eps, x_0.shape)
        return mix(x_0, eps, self.at(t, x_0))

    def loss(self, model: Callable, x_0: Tensor, condition=None, drop: float = 0.0,
             generator: torch.Generator | None = None, times: Callable = uniform_times,
             weight: Callable = even_weight) -> Tensor:
        """Algorithm 1 -> scalar. Each sample has its own noise and step, 0 and T - 1 included, and
        loses its condition with probability `drop`. `times` draws where in t is trained, `weight`
        says how much an error there counts; as they stand, this is DDPM's loss."""
        if not 0 <= drop <= 1:
            raise ValueError(f"drop={drop} is a probability and should lie between 0 and 1.")
        device, T = x_0.device, len(self.alpha_bar)
        # subtle: just below 1, a float32 rounds up to T itself
        t = (times(len(x_0), device, generator) * T).long().clamp(max=T - 1)    # (B,)
        keep = rand(len(x_0), device, generator) >= drop                # (B,)
        eps = randn(x_0.shape, device, generator)                       # (B, ...)
        alpha_bar = self.at(t, x_0)                                     # (B, 1, ...)
        prediction = model(mix(x_0, eps, alpha_bar), t, condition, keep)  # (B, ...)
        check_shape("the model's answer", prediction, x_0.shape)        # or it would broadcast
        target = self.predict.target(x_0, eps, alpha_bar)
        return (weight(alpha_bar) * (prediction.float() - target.float()).square()).mean()

    # ---- backwards: what every sampler shares ----

    def guided(self, model: Callable, x_t: Tensor, t: Tensor, condition,
               guidance: float | Tensor) -> Tensor:
        """The model's answer, pushed as far as the guidance says."""
        return guided(model, x_t, t, condition, guidance)

    def guess_x0(self, model: Callable, x_t: Tensor, t: Tensor, condition,
                 guidance: float | Tensor):
        """The answer turned into x_0 (B, ...), within the threshold."""
        answer = self.guided(model, x_t, t, condition, guidance)
        x_0 = self.predict.to_x0(x_t, answer.to(x_t.dtype), self.at(t, x_t))
        return x_0 if self.threshold is None else self.threshold(x_0)

    # ---- DDPM: every step, with fresh noise ----

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """q(x_{t-1} | x_t, x_0) -> mean (B, ...), variance (B, 1, ...), 0 at t = 0. Equation 7."""
        self.check_steps(t, x_t)
        alpha_bar, alpha_bar_prev = self.at(t, x_t), self.at(t - 1, x_t)
        alpha = alpha_bar / alpha_bar_prev
        beta = (alpha_bar_prev - alpha_bar) / alpha_bar_prev            # 1 - alpha, exactly
        mean = (alpha_bar_prev.sqrt() * beta / (1 - alpha_bar) * x_0    # t = 0: exactly x_0
                + alpha.sqrt() * (1 - alpha_bar_prev) / (1 - alpha_bar) * x_t)
        return mean, (1 - alpha_bar_prev) / (1 - alpha_bar) * beta

    @torch.no_grad()
    def sample_ddpm(self, model: Callable, shape: tuple, condition=None, guidance: float = 1.0,
                    generator: torch.Generator | None = None) -> Tensor:
        """Algorithm 2 -> x_0 of the given shape, batch first. T calls of the model."""
        device = self.alpha_bar.device
        x_t = randn(shape, device, generator)                           # (B, ...)
        for step in reversed(range(len(self.alpha_bar))):
            t = torch.full(shape[:1], step, device=device)              # (B,)
            x_0 = self.guess_x0(model, x_t, t, condition, guidance)
            mean, variance = self.posterior(x_0, x_t, t)
            x_t = mean + variance.sqrt() * randn(shape, device, generator)  # t = 0: variance 0
        return x_t

    # ---- DDIM: a few long steps, with as much noise as you like ----

    def times(self, steps: int, order: int = 1) -> list[int]:
        """T - 1, ..., 0: so many steps, both ends included, evenly spread; of order 2 as the
        squares of evenly spread numbers (DDIM, appendix D.2), closer where there is little noise.
        """
        if not 1 <= steps <= len(self.alpha_bar):
            raise ValueError(f"steps={steps} should lie between 1 and {len(self.alpha_bar)}, the "
                             "number of steps in the schedule.")
        even = torch.linspace(1, 0, steps, dtype=torch.float64) ** order
        steps = torch.arange(steps).flip(0)                     # no two alike: the last three are
        return ((len(self.alpha_bar) - 1) * even).round().long().maximum(steps).tolist()  # 2, 1, 0

    def ddim_step(self, x_t: Tensor, x_0: Tensor, t: Tensor, previous: Tensor,
                  eta: float) -> tuple[Tensor, Tensor]:
        """From step t to step previous -> mean (B, ...), sigma (B, 1, ...). Equations 12 and 16.
        With eta = 0 no noise is added; with eta = 1 and previous = t - 1 it is DDPM's posterior."""
        alpha_bar, alpha_bar_prev = self.at(t, x_t), self.at(previous, x_t)
        beta = (alpha_bar_prev - alpha_bar) / alpha_bar_prev            # of the whole leap
        sigma = eta * ((1 - alpha_bar_prev) / (1 - alpha_bar) * beta).sqrt()
        eps = eps_from_x0(x_t, x_0, alpha_bar)
        # subtle: in a long leap sigma^2 can round above 1 - alpha_bar_prev; its root would be nan
        towards_x_t = (1 - alpha_bar_prev - sigma ** 2).clamp(min=0).sqrt()
        return alpha_bar_prev.sqrt() * x_0 + towards_x_t * eps, sigma

    def lean(self, older: int, step: int, previous: int) -> float:
        """How far to carry on the change of the guess since the step before, to have it as it will
        be half way to the next: DPM-Solver++ (2M), arXiv:2211.01095, algorithm 2. On the way to the
        data itself, where no way is half, not at all."""
        if previous < 0:
            return 0.0
        at = self.alpha_bar[[older, step, previous]].double()           # (3,)
        before, now, then = (at / (1 - at)).log().tolist()              # log SNR; -inf is no harm
        return (then - now) / (now - before) / 2

    @torch.no_grad()
    def sample(self, model: Callable, shape: tuple, condition=None, steps: int = 25,
               eta: float = 0.0, guidance: float = 1.0, generator: torch.Generator | None = None,
               noise: Tensor | None = None, trace: list | None = None, order: int = 1) -> Tensor:
        """x_0 of the given shape, batch first, from `noise` or from noise drawn here; `steps` calls
        of the model (of twice the batch under guidance). A list passed as `trace` receives a pair
        (x_t, guess of x_0) per step: the first x_t is the noise, the last guess the result.

        With few steps DDIM draws too little variety: along a direction in which the data have a
        fifth of the deviation of the noise, 12 steps leave 0.74 of it. With order=2, for eta=0, it
        also uses the guess before the last, and leaves 1.08."""
        if not 0 <= eta <= 1:
            raise ValueError(f"eta={eta} should lie between 0 (DDIM) and 1 (DDPM).")
        if order not in (1, 2) or order == 2 and eta > 0:
            raise ValueError(f"order={order} with eta={eta}: order is 1, or 2 where eta is 0.")
        if noise is not None:
            check_shape("noise", noise, shape)
        device = self.alpha_bar.device
        x_t = randn(shape, device, generator) if noise is None else noise.to(device)  # (B, ...)
        times, older, last = self.times(steps, order), None, None
        for step, previous in zip(times, times[1:] + [-1]):             # -1: the data itself
            t = torch.full(shape[:1], step, device=device)              # (B,)
            x_0 = guess = self.guess_x0(model, x_t, t, condition, guidance)
            if trace is not None:
                trace.append((x_t.clone(), x_0.clone()))
            if order == 2 and last is not None:
                x_0 = guess + self.lean(older, step, previous) * (guess - last)
            older, last = step, guess
            x_t, sigma = self.ddim_step(x_t, x_0, t, torch.full_like(t, previous), eta)
            if eta > 0:                                                 # at the end sigma is 0,
                x_t = x_t + sigma * randn(shape, device, generator)     # and x_t is x_0 itself
        return x_t
