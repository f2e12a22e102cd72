r"""The exercises of lesson 10: noise in one leap, and the ways back.

in -> out   EXERCISES: add_noise, posterior, velocity, ddim_step, guided
idea        A wrong weight still gives a picture with noise on it, so every check has both ends of
            the schedule, and batches as long as a picture is wide: there a weight that lands on
            the rows or columns in place of the samples raises no error.
"""
from dataclasses import replace

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.transformer import between
from minidalle.diffusion import V, mix

LESSON = "10_diffusion"


def in_section(section: int, *mistakes: Mistake) -> tuple[Mistake, ...]:
    """The mistakes, and behind each message the section of the lesson to read again."""
    return tuple(replace(one, message=f"{one.message[:-1]} (section {section} of the lesson)"
                         f"{one.message[-1]}") for one in mistakes)


def wide(weight: Tensor, x: Tensor) -> Tensor:
    """weight (B,) -> (B,1,...), one for each sample of x (B,...)."""
    return weight.view(-1, *[1] * (x.dim() - 1))


def table(g: Generator, T: int, last: float | None = None, gentle: bool = False) -> Tensor:
    """alpha_bar (T,) with steps of unequal size; the last one can have a beta of its own. A gentle
    one begins as real ones do: two tiny betas, powers of two, so that float32 divides exactly."""
    beta = 0.05 + 0.35 * torch.rand(T, generator=g)
    if gentle:
        beta[:2] = 2.0 ** -10
    if last is not None:
        beta[-1] = last
    return (1 - beta).cumprod(dim=0)


def steps(g: Generator, B: int, T: int) -> Tensor:
    """t (B,) in random order: the last step, the first two, and any others."""
    t = torch.randint(T, (B,), generator=g)
    known = torch.tensor([T - 1, 1 % T, 0])[:B]
    t[:len(known)] = known
    return t[torch.randperm(B, generator=g)]


def normal(g: Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=g)


def noised_batch(g: Generator, *shape: int, T: int = 9, scale: float = 1.0,
                 last: float | None = None, gentle: bool = False) -> tuple:
    """x_0, t, eps, alpha_bar. The data of the first step reaches far: nothing may be clipped."""
    x_0, t = normal(g, *shape, scale=scale), steps(g, shape[0], T)
    x_0[t.argmin()] += 100 * (torch.arange(x_0[0].numel()) == 0).view(x_0[0].shape)
    return x_0, t, normal(g, *shape), table(g, T, last, gentle)


# ---- noise in one leap

def add_noise(x_0: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_0 (B,...), t (B,) counted from 0, eps like x_0, alpha_bar (T,) -> x_t like x_0.
    Gradients pass to x_0 and eps; the table learns nothing."""
    return mix(x_0, eps, wide(alpha_bar.detach()[t], x_0))


def mixed_with(data, noise, number=lambda t: t):
    """x_t with other weights: data(alpha_bar (B,)), noise(alpha_bar (B,)), and number(t)."""
    def mixed(x_0, t, eps, alpha_bar):
        now = alpha_bar[number(t)]
        return wide(data(now), x_0) * x_0 + wide(noise(now), x_0) * eps
    return mixed


def one_step(alpha_bar: Tensor) -> Tensor:
    """alpha (T,) of the single steps."""
    return alpha_bar / torch.cat([torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]])


def noise_inputs(g: Generator) -> tuple:
    """Pictures as high and as wide as the batch is long; bright data."""
    B = between(3, 5, g)
    return noised_batch(g, B, 2, B, B, scale=5.0, gentle=True)


def square_noise_inputs(g: Generator) -> tuple:
    """B = C = H = W, and a schedule that ends in nothing but noise."""
    B = between(3, 4, g)
    return noised_batch(g, B, B, B, B, last=1.0)


def vector_noise_inputs(g: Generator) -> tuple:
    B = between(4, 6, g)
    return noised_batch(g, B, B, T=4)


def single_noise_inputs(g: Generator) -> tuple:
    """One sample, of another width than B, at the last step of many."""
    return noised_batch(g, 1, 3, 5, T=12, scale=30.0)


def number_noise_inputs(g: Generator) -> tuple:
    """A sample is a single number; a batch longer than the schedule."""
    return noised_batch(g, 8, T=3, scale=0.3)


ADD_NOISE = Exercise(
    "diffusion.add_noise", LESSON, 2, add_noise,
    (noise_inputs, square_noise_inputs, vector_noise_inputs, single_noise_inputs,
     number_noise_inputs), in_section(1,
        Mistake(
            "the single step's formula",
            "You use alpha (or 1 - beta) of the single step t: that is what one step does to "
            "x_{t-1}. From x_0 to x_t in one leap all steps up to t count, and their product is "
            "alpha_bar.",
            lambda x_0, t, eps, alpha_bar: add_noise(x_0, t, eps, one_step(alpha_bar))),
        Mistake(
            "both roots forgotten",
            "You mix with alpha_bar and 1 - alpha_bar themselves. These are shares of the "
            "VARIANCE: what multiplies is their square root.",
            mixed_with(lambda now: now, lambda now: 1 - now)),
        Mistake(
            "the root of the data's weight forgotten",
            "The noise has the right weight. The data is multiplied by alpha_bar itself, and its "
            "square root is meant.",
            mixed_with(lambda now: now, lambda now: (1 - now).sqrt())),
        Mistake(
            "the root of the noise's weight forgotten",
            "The data has the right weight. The noise is multiplied by 1 - alpha_bar itself, and "
            "its square root is meant.",
            mixed_with(lambda now: now.sqrt(), lambda now: 1 - now)),
        Mistake(
            "one minus the root",
            "You weigh the noise with 1 - sqrt(alpha_bar). The minus stands under the root: the "
            "SQUARES of both weights sum to 1.",
            mixed_with(lambda now: now.sqrt(), lambda now: 1 - now.sqrt())),
        Mistake(
            "noise at full strength",
            "You add the noise as it is, with no weight of its own. At late steps x_t would be "
            "fine, at early ones nothing of the picture could be seen.",
            mixed_with(lambda now: now.sqrt(), lambda now: torch.ones_like(now))),
        Mistake(
            "t counted from 1",
            "You look up alpha_bar[t - 1], one entry too early, and at t = 0 the last entry of the "
            "table. Steps are counted from 0 here.",
            mixed_with(lambda now: now.sqrt(), lambda now: (1 - now).sqrt(), lambda t: t - 1)),
        Mistake(
            "data and noise exchanged",
            "The weights of data and noise are exchanged. alpha_bar is how much of the DATA is "
            "left: nearly 1 at first, nearly 0 at last.",
            mixed_with(lambda now: (1 - now).sqrt(), lambda now: now.sqrt())),
        Mistake(
            "one step for the whole batch",
            "You noise the whole batch to the step of its first sample. Each sample has a t of its "
            "own.",
            lambda x_0, t, eps, alpha_bar: mix(x_0, eps, alpha_bar[t[0]])),
        Mistake(
            "weights along the last dimension",
            "Your weights (B,) meet the LAST dimension of x_0, the columns of a picture. Each "
            "belongs to a sample: give them the shape (B, 1, ...) with as many dimensions as x_0.",
            lambda x_0, t, eps, alpha_bar: mix(x_0, eps, alpha_bar[t])),
        Mistake(
            "one dimension more, whatever x_0 has",
            "You give the weights one dimension more, as [:, None] does, and that fits points "
            "(B,D) only. The number of 1s in (B, 1, ...) depends on x_0.dim().",
            lambda x_0, t, eps, alpha_bar: mix(x_0, eps, alpha_bar[t][:, None])),
        Mistake(
            "three dimensions more, whatever x_0 has",
            "You give the weights the shape (B, 1, 1, 1), and that fits pictures (B,C,H,W) only. "
            "The number of 1s in (B, 1, ...) depends on x_0.dim().",
            lambda x_0, t, eps, alpha_bar: mix(x_0, eps, alpha_bar[t].view(-1, 1, 1, 1))),
        Mistake(
            "data at full strength",
            "You leave the data as it is and only add noise. The mixture would grow, and the last "
            "step would still show the picture: the data is weighed with sqrt(alpha_bar).",
            mixed_with(torch.ones_like, lambda now: (1 - now).sqrt())),
        Mistake(
            "noise taken away",
            "You take the noise away from the data. It is added: with a minus, eps would be the "
            "wrong answer for the network to learn.",
            mixed_with(lambda now: now.sqrt(), lambda now: -(1 - now).sqrt())),
        Mistake(
            "one step too late",
            "You look up alpha_bar[t + 1], one entry too late. Steps are counted from 0 here, and "
            "alpha_bar[0] belongs to step 0.",
            lambda x_0, t, eps, alpha_bar: add_noise(x_0, (t + 1).clamp(max=len(alpha_bar) - 1),
                                                     eps, alpha_bar)),
        Mistake(
            "the table from behind",
            "You read the table from behind: your step 0 is the noisiest. alpha_bar[t] is nearly 1 "
            "at t = 0 and nearly 0 at the last step.",
            lambda x_0, t, eps, alpha_bar: add_noise(x_0, t, eps, alpha_bar.flip(0))),
        Mistake(
            "multiplied up again",
            "You take the cumulative product of alpha_bar. It is that product already: look it up "
            "as it is.",
            lambda x_0, t, eps, alpha_bar: add_noise(x_0, t, eps, alpha_bar.cumprod(0))),
        Mistake(
            "the mean level for the whole batch",
            "You noise every sample to the mean alpha_bar of the batch. Each sample has a t, and a "
            "level, of its own.",
            lambda x_0, t, eps, alpha_bar: mix(x_0, eps, alpha_bar[t].mean())),
        Mistake(
            "clipped",
            "You cut x_t off at -1 and 1. Noise has no bounds, and neither has the mixture: only a "
            "guess of x_0 is clipped, and later.",
            lambda x_0, t, eps, alpha_bar: add_noise(x_0, t, eps, alpha_bar).clamp(-1, 1)),
    ), "each sample noised to its own step, in any shape",
    learns=True)


# ---- a step back, as a distribution

def posterior(x_0: Tensor, x_t: Tensor, t: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """x_0 and x_t (B,...), t (B,), alpha_bar (T,) -> mean like x_0 and variance (B,) of
    q(x_{t-1} | x_t, x_0). Before t = 0 alpha_bar is 1."""
    return posterior_with()(x_0, x_t, t, alpha_bar)


def before(t: Tensor, alpha_bar: Tensor) -> Tensor:
    """alpha_bar at step t - 1, (B,); that of the data itself is 1."""
    return torch.where(t > 0, alpha_bar[t - 1], 1.0)


def of_data(now: Tensor, earlier: Tensor, beta: Tensor) -> Tensor:
    return earlier.sqrt() * beta / (1 - now)


def of_noisy(now: Tensor, earlier: Tensor, beta: Tensor) -> Tensor:
    return (now / earlier).sqrt() * (1 - earlier) / (1 - now)


def of_variance(now: Tensor, earlier: Tensor, beta: Tensor) -> Tensor:
    return (1 - earlier) / (1 - now) * beta


def posterior_with(data=of_data, noisy=of_noisy, variance=of_variance, before=before):
    """The posterior with other weights, another variance, each of alpha_bar at t, at t - 1 and
    beta, all (B,); or with another look into the table at t - 1."""
    def answer(x_0, x_t, t, alpha_bar):
        now, earlier = alpha_bar[t], before(t, alpha_bar)
        given = now, earlier, (earlier - now) / earlier
        mean = wide(data(*given), x_0) * x_0 + wide(noisy(*given), x_0) * x_t
        return mean, variance(*given)
    return answer


def posterior_batch(g: Generator, *shape: int, T: int = 9, scale: float = 1.0,
                    last: float | None = None, gentle: bool = False) -> tuple:
    """x_0, x_t, t, alpha_bar."""
    x_0, t, eps, alpha_bar = noised_batch(g, *shape, T=T, scale=scale, last=last, gentle=gentle)
    return x_0, 2 * eps, t, alpha_bar


def posterior_inputs(g: Generator) -> tuple:
    return posterior_batch(g, between(4, 6, g), 2, 3, 5, gentle=True)


def square_posterior_inputs(g: Generator) -> tuple:
    B = between(3, 4, g)
    return posterior_batch(g, B, B, B, B, T=12, scale=5.0)


def single_posterior_inputs(g: Generator) -> tuple:
    """One sample at the only step of a schedule: the mean is x_0."""
    return posterior_batch(g, 1, 4, T=1)


def vector_posterior_inputs(g: Generator) -> tuple:
    B = between(4, 6, g)
    return posterior_batch(g, B, B, T=3, scale=0.2)


def number_posterior_inputs(g: Generator) -> tuple:
    """The last step leaves less than the 0.001 at which some code stops beta."""
    return posterior_batch(g, 8, T=6, last=0.9995)


POSTERIOR = Exercise(
    "diffusion.posterior", LESSON, 3, posterior,
    (posterior_inputs, square_posterior_inputs, single_posterior_inputs, vector_posterior_inputs,
     number_posterior_inputs), in_section(6,
        Mistake(
            "beta as the variance",
            "The mean is right. Your variance is beta_t, that of a step FORWARDS; whoever knows "
            "x_0 is surer than that: look at beta with a tilde in equation 7 of DDPM.",
            posterior_with(variance=lambda now, earlier, beta: beta)),
        Mistake(
            "the standard deviation as the variance",
            "The mean is right. You return the standard deviation, and the variance is asked for: "
            "do not take its root here.",
            posterior_with(variance=lambda *given: of_variance(*given).sqrt())),
        Mistake(
            "1 - alpha_bar as the variance",
            "The mean is right. Your variance is 1 - alpha_bar_t, that of all the noise in x_t; "
            "one step back is uncertain about far less.",
            posterior_with(variance=lambda now, earlier, beta: 1 - now)),
        Mistake(
            "noise left at t = 0",
            "All is right but the variance at t = 0. There alpha_bar of the step before is 1, so "
            "the formula itself gives 0: no noise is added at the last step of the way back.",
            posterior_with(variance=lambda now, earlier, beta: torch.where(
                earlier == 1, beta, of_variance(now, earlier, beta)))),
        Mistake(
            "the weights exchanged",
            "The weights of x_0 and x_t in the mean are exchanged. At t = 0 the mean must be x_0 "
            "itself, and late in the schedule it stays near x_t.",
            posterior_with(data=of_noisy, noisy=of_data)),
        Mistake(
            "alpha_bar of t in the weight of x_0",
            "In the weight of x_0 stands the root of alpha_bar at t - 1, and you take the one at "
            "t. Look at the indices in equation 7 of DDPM.",
            posterior_with(data=lambda now, earlier, beta: now.sqrt() * beta / (1 - now))),
        Mistake(
            "alpha_bar in place of alpha in the weight of x_t",
            "In the weight of x_t stands the root of alpha_t, of the single step, without a bar: "
            "alpha_bar_t divided by alpha_bar at t - 1. You take alpha_bar_t.",
            posterior_with(noisy=lambda now, earlier, beta:
                           now.sqrt() * (1 - earlier) / (1 - now))),
        Mistake(
            "roots forgotten",
            "In the mean you multiply by alpha_bar at t - 1 and by alpha_t themselves: both stand "
            "under a root in equation 7 of DDPM.",
            posterior_with(lambda now, earlier, beta: earlier * beta / (1 - now),
                           lambda now, earlier, beta: now / earlier * (1 - earlier) / (1 - now))),
        Mistake(
            "the end of the table before t = 0",
            "At t = 0 you look up alpha_bar[-1], and that is the LAST entry of the table. Before "
            "the first step there is no noise at all, so alpha_bar is 1 there.",
            posterior_with(before=lambda t, alpha_bar: alpha_bar[t - 1])),
        Mistake(
            "the first entry again before t = 0",
            "At t = 0 your mean is x_t as it came; that is so, too, with alpha_bar[0] for the step "
            "before. Before the first step there is no noise at all: alpha_bar is 1 there, and "
            "the mean is x_0.",
            posterior_with(before=lambda t, alpha_bar: alpha_bar[(t - 1).clamp(min=0)])),
        Mistake(
            "alpha_bar in place of alpha throughout",
            "You take alpha_bar_t for alpha_t, and beta_t from it. Both belong to the single "
            "step: alpha_t is alpha_bar_t divided by alpha_bar at t - 1.",
            posterior_with(lambda now, earlier, beta: earlier.sqrt(),
                           lambda now, earlier, beta: now.sqrt() * (1 - earlier) / (1 - now),
                           lambda now, earlier, beta: 1 - earlier)),
        Mistake(
            "1 - alpha_bar in place of beta",
            "You take 1 - alpha_bar_t for beta_t. That is all the noise so far; beta_t is that of "
            "the single step, 1 - alpha_t, where alpha_t is alpha_bar_t divided by alpha_bar at "
            "t - 1.",
            posterior_with(data=lambda now, earlier, beta: earlier.sqrt(),
                           variance=lambda now, earlier, beta: 1 - earlier)),
        Mistake(
            "only the mean returned",
            "Your mean is right, and the variance is missing. Return both: mean, variance.",
            lambda x_0, x_t, t, alpha_bar: posterior(x_0, x_t, t, alpha_bar)[0]),
        Mistake(
            "the prior's variance",
            "The mean is right. Your variance is 1 - alpha_bar at t - 1, what x_0 alone leaves "
            "open; x_t is a second witness, and together they are surer.",
            posterior_with(variance=lambda now, earlier, beta: 1 - earlier)),
        Mistake(
            "the likelihood's variance",
            "The mean is right. Your variance is beta / alpha, what x_t alone leaves open; x_0 is "
            "a second witness, and together they are surer.",
            posterior_with(variance=lambda now, earlier, beta: beta / (1 - beta))),
        Mistake(
            "beta forgotten in the variance",
            "The mean is right. In the variance the factor beta_t is missing, behind the "
            "fraction.",
            posterior_with(variance=lambda now, earlier, beta: (1 - earlier) / (1 - now))),
        Mistake(
            "not divided in the variance",
            "The mean is right. The variance is beta_t times a fraction, and you leave out what "
            "it is divided by: 1 - alpha_bar_t.",
            posterior_with(variance=lambda now, earlier, beta: (1 - earlier) * beta)),
        Mistake(
            "the root forgotten in the weight of x_0",
            "The weight of x_t and the variance are right. In the weight of x_0, alpha_bar at "
            "t - 1 stands under a root.",
            posterior_with(data=lambda now, earlier, beta: earlier * beta / (1 - now))),
        Mistake(
            "the root forgotten in the weight of x_t",
            "The weight of x_0 and the variance are right. In the weight of x_t, alpha_t stands "
            "under a root.",
            posterior_with(noisy=lambda now, earlier, beta:
                           now / earlier * (1 - earlier) / (1 - now))),
        Mistake(
            "the prior's mean",
            "Your variance is right. Your mean is sqrt(alpha_bar) at t - 1 times x_0, what x_0 "
            "alone says; x_t is a second witness, and belongs to the mean.",
            posterior_with(data=lambda now, earlier, beta: earlier.sqrt(),
                           noisy=lambda now, earlier, beta: 0 * now)),
        Mistake(
            "the likelihood's mean",
            "Your variance is right. Your mean is x_t / sqrt(alpha_t), what x_t alone says; x_0 is "
            "a second witness, and belongs to the mean.",
            posterior_with(data=lambda now, earlier, beta: 0 * now,
                           noisy=lambda now, earlier, beta: (earlier / now).sqrt())),
    ), "mean and variance at every step, none left at t = 0")


# ---- velocity

def velocity(x_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_0 and eps (B,...), alpha_bar (B,) of their steps -> v like x_0.
    Gradients pass to x_0 and eps; the schedule learns nothing."""
    return V.target(x_0, eps, wide(alpha_bar.detach(), x_0))


def velocity_with(noise, data):
    """Other weights, each of alpha_bar (B,1,...): noise times eps plus data times x_0."""
    def answer(x_0, eps, alpha_bar):
        now = wide(alpha_bar, x_0)
        return noise(now) * eps + data(now) * x_0
    return answer


def velocity_batch(g: Generator, *shape: int, scale: float = 1.0) -> tuple:
    """x_0, eps and alpha_bar (B,) with hardly any noise, hardly anything else, and between."""
    alpha_bar = 0.05 + 0.9 * torch.rand(shape[0], generator=g)
    known = torch.tensor([0.3, 0.99, 0.01])[:len(alpha_bar)]
    alpha_bar[:len(known)] = known
    order = torch.randperm(len(alpha_bar), generator=g)
    return normal(g, *shape, scale=scale), normal(g, *shape), alpha_bar[order]


def velocity_inputs(g: Generator) -> tuple:
    B = between(3, 5, g)
    return velocity_batch(g, B, 3, B, B)


def square_velocity_inputs(g: Generator) -> tuple:
    B = between(3, 4, g)
    return velocity_batch(g, B, B, B, B, scale=2.0)


def single_velocity_inputs(g: Generator) -> tuple:
    return velocity_batch(g, 1, 2, 6, scale=0.3)


def number_velocity_inputs(g: Generator) -> tuple:
    return velocity_batch(g, 6, scale=5.0)


def end_velocity_inputs(g: Generator) -> tuple:
    """Nothing but noise, where v is minus the data, and no noise at all, where it is the noise;
    numbers so large that no clip and no small number under a root goes unseen."""
    x_0, eps = normal(g, 2, 2, 2)
    large = torch.tensor([40.0, -40.0])
    return x_0 + large, eps - large, torch.tensor([0.0, 1.0])


VELOCITY = Exercise(
    "diffusion.velocity", LESSON, 1, velocity,
    (velocity_inputs, square_velocity_inputs, single_velocity_inputs, number_velocity_inputs,
     end_velocity_inputs), in_section(5,
        Mistake(
            "the sign turned",
            "Your v has the other sign: it points from the noise to the data. Without noise, "
            "where alpha_bar is 1, v must be +eps.",
            velocity_with(lambda now: -now.sqrt(), lambda now: (1 - now).sqrt())),
        Mistake(
            "plus in place of minus",
            "You add the data, and v takes it away. A sum of the two would not point at right "
            "angles to x_t.",
            velocity_with(lambda now: now.sqrt(), lambda now: (1 - now).sqrt())),
        Mistake(
            "the weights exchanged",
            "You weigh the noise with sqrt(1 - alpha_bar) and the data with sqrt(alpha_bar), as in "
            "x_t. In v it is the other way round: noise where there is little of it.",
            velocity_with(lambda now: (1 - now).sqrt(), lambda now: -now.sqrt())),
        Mistake(
            "data and noise exchanged",
            "You exchanged data and noise: the root of alpha_bar belongs to the noise, and minus "
            "the root of 1 - alpha_bar to the data.",
            velocity_with(lambda now: -(1 - now).sqrt(), lambda now: now.sqrt())),
        Mistake(
            "x_t itself",
            "This is x_t, the mixture of data and noise. v is x_t turned by a right angle: the "
            "weights change places, and one of them its sign.",
            velocity_with(lambda now: (1 - now).sqrt(), lambda now: now.sqrt())),
        Mistake(
            "roots forgotten",
            "You weigh with alpha_bar and 1 - alpha_bar themselves: both stand under a root.",
            velocity_with(lambda now: now, lambda now: now - 1)),
        Mistake(
            "no weights",
            "This is eps - x_0, the velocity of another family of models (flow matching), which "
            "mix along a straight line. Here x_t moves on a circle: both parts have weights.",
            velocity_with(torch.ones_like, lambda now: -torch.ones_like(now))),
        Mistake(
            "divided by a root",
            "You divide by the root of alpha_bar, as one does to get x_0 out of x_t. In v nothing "
            "is divided.",
            lambda x_0, eps, alpha_bar: (
                eps - (1 - (now := wide(alpha_bar, x_0))).sqrt() * x_0) / now.sqrt()),
        Mistake(
            "weights along the last dimension",
            "Your weights (B,) meet the LAST dimension of the picture. Each belongs to a sample: "
            "give them the shape (B, 1, ...) with as many dimensions as x_0.",
            lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar)),
        Mistake(
            "one dimension more, whatever x_0 has",
            "You give the weights one dimension more, as [:, None] does, and that fits points "
            "(B,D) only. The number of 1s in (B, 1, ...) depends on x_0.dim().",
            lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar[:, None])),
        Mistake(
            "three dimensions more, whatever x_0 has",
            "You give the weights the shape (B, 1, 1, 1), and that fits pictures (B,C,H,W) only. "
            "The number of 1s in (B, 1, ...) depends on x_0.dim().",
            lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar.view(-1, 1, 1, 1))),
        Mistake(
            "one minus the root",
            "You weigh the data with 1 - sqrt(alpha_bar). The minus stands under the root: the "
            "SQUARES of both weights sum to 1.",
            velocity_with(lambda now: now.sqrt(), lambda now: now.sqrt() - 1)),
        Mistake(
            "the root of the noise's weight forgotten",
            "The data has the right weight. The noise is multiplied by alpha_bar itself, and its "
            "square root is meant.",
            velocity_with(lambda now: now, lambda now: -(1 - now).sqrt())),
        Mistake(
            "the root of the data's weight forgotten",
            "The noise has the right weight. The data is multiplied by 1 - alpha_bar itself, and "
            "its square root is meant.",
            velocity_with(lambda now: now.sqrt(), lambda now: now - 1)),
        Mistake(
            "the same weight for both",
            "You weigh data and noise with the same root. v is x_t turned by a right angle: the "
            "noise gets sqrt(alpha_bar), the data sqrt(1 - alpha_bar).",
            velocity_with(lambda now: now.sqrt(), lambda now: -now.sqrt())),
        Mistake(
            "the first sample's level for all",
            "You take the alpha_bar of the first sample for the whole batch. Each sample has its "
            "own.",
            lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar[0])),
        Mistake(
            "the mean level for the whole batch",
            "You take the mean alpha_bar of the batch for all samples. Each has its own.",
            lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar.mean())),
        Mistake(
            "only the noise",
            "You return the noise, which is the answer of another kind of network. v blends it "
            "with the data.",
            lambda x_0, eps, alpha_bar: 1 * eps),
        Mistake(
            "clipped",
            "You cut v off at -1 and 1. v is partly noise and may be larger; only a guess of x_0 "
            "is clipped, and later.",
            lambda x_0, eps, alpha_bar: velocity(x_0, eps, alpha_bar).clamp(-1, 1)),
    ), "v at every noise level, from pure noise to none",
    learns=True)


# ---- a leap back, without noise

def ddim_step(x_t: Tensor, eps: Tensor, alpha_bar: float, previous: float) -> Tensor:
    """x_t and the guessed eps (B,...) at the level alpha_bar -> x (B,...) at the less noisy level
    `previous`, at most 1. No noise is added (eta = 0)."""
    return ddim_with()(x_t, eps, alpha_bar, previous)


def guess(x_t: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    """x_0 (B,...)."""
    return (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar ** 0.5


def ddim_with(x_0=lambda x_t, eps, now, to: guess(x_t, eps, now),
              data=lambda now, to: to ** 0.5, noise=lambda now, to: (1 - to) ** 0.5):
    """A step with another guess of x_0, or other weights at its end."""
    return lambda x_t, eps, now, to: (data(now, to) * x_0(x_t, eps, now, to)
                                      + noise(now, to) * eps)


def leap(low: float, high: float, shape, scale: float = 1.0, strength: float = 1.0):
    """Draws of a step from about `low` to about `high`; 1 stays 1. x_t is shape(g) data times
    `scale`, truly noised to its level with noise times `strength`."""
    def draw(g):
        near = 1 + 0.1 * torch.rand(2, generator=g)
        size = shape(g)
        x_0, eps = normal(g, *size, scale=scale), normal(g, *size, scale=strength)
        now, to = low * near[0].item(), 1 - (1 - high) * near[1].item()
        return mix(x_0, eps, torch.tensor(now)), eps, now, to
    return draw


DDIM_STEP = Exercise(
    "diffusion.ddim_step", LESSON, 2, ddim_step,
    (leap(0.3, 0.7, lambda g: (between(2, 4, g), 3, 4, 5)),
     leap(2e-3, 0.2, lambda g: (3, 3, 3, 3)),                # hardly anything but noise
     leap(0.6, 1.0, lambda g: (between(2, 4, g), 5)),        # the last step: x_0 itself
     leap(0.85, 0.99, lambda g: (1, 7), scale=20.0),         # hardly any noise
     # one leap all the way: the guess is divided by 0.01, and so is float32's rounding of x_t;
     # faint noise keeps it below the tolerance
     leap(1e-4, 1.0, lambda g: (4,), strength=0.1)), in_section(7,
        Mistake(
            "x_0 returned at once",
            "You return the guess of x_0. One step goes only as far as the level `previous`: mix "
            "the guess with as much noise as belongs there.",
            ddim_with(data=lambda now, to: 1, noise=lambda now, to: 0)),
        Mistake(
            "the noise keeps its old weight",
            "You give the noise the weight of the level you come from. After the step there must "
            "be less of it: take the weight of `previous`.",
            ddim_with(noise=lambda now, to: (1 - now) ** 0.5)),
        Mistake(
            "roots forgotten throughout",
            "You use alpha_bar and 1 - alpha_bar where their square roots belong, in the guess of "
            "x_0 and in the mixture.",
            ddim_with(lambda x_t, eps, now, to: (x_t - (1 - now) * eps) / now,
                      lambda now, to: to, lambda now, to: 1 - to)),
        Mistake(
            "roots forgotten in the mixture",
            "Your guess of x_0 is right. You mix it with the noise along a straight line, with the "
            "weights `previous` and 1 - `previous`: both stand under a root.",
            ddim_with(data=lambda now, to: to, noise=lambda now, to: 1 - to)),
        Mistake(
            "noise added in the guess",
            "In the guess of x_0 you add the noise to x_t. x_t has noise in it: take it away.",
            ddim_with(lambda x_t, eps, now, to: (x_t + (1 - now) ** 0.5 * eps) / now ** 0.5)),
        Mistake(
            "noise taken away in the mixture",
            "Your guess of x_0 is right. Then you take noise away once more; to reach the level "
            "`previous` it is added, with that level's weight.",
            ddim_with(noise=lambda now, to: -(1 - to) ** 0.5)),
        Mistake(
            "no noise in the mixture",
            "Your guess of x_0 is right, and you shrink it as the level `previous` asks. The noise "
            "of that level is missing.",
            ddim_with(noise=lambda now, to: 0)),
        Mistake(
            "one level for both halves",
            "x_t comes back as it was: you guess x_0 and mix again at the same level. Guess it "
            "with alpha_bar, where you are, and mix with `previous`, where you go.",
            lambda x_t, eps, now, to: 1 * x_t),
        Mistake(
            "the levels exchanged",
            "The two levels are exchanged. x_t is at alpha_bar, so x_0 is guessed with that; the "
            "mixture has the level `previous`.",
            lambda x_t, eps, now, to: ddim_step(x_t, eps, to, now)),
        Mistake(
            "not divided in the guess",
            "You take the noise out of x_t and stop there. What is left is x_0 times the root of "
            "alpha_bar: divide by it.",
            ddim_with(lambda x_t, eps, now, to: x_t - (1 - now) ** 0.5 * eps)),
        Mistake(
            "only the noise divided in the guess",
            "In the guess of x_0 only the noise is divided by the root of alpha_bar. x_t is "
            "divided too: put x_t minus the noise in brackets.",
            ddim_with(lambda x_t, eps, now, to: x_t - (1 - now) ** 0.5 * eps / now ** 0.5)),
        Mistake(
            "divided by alpha_bar, not by its root",
            "You divide the guess of x_0 by alpha_bar itself. In x_t the data is multiplied by "
            "the root of alpha_bar: divide by that.",
            ddim_with(lambda x_t, eps, now, to: (x_t - (1 - now) ** 0.5 * eps) / now)),
        Mistake(
            "x_t in place of x_0",
            "You mix x_t with the noise, and it is noisy already. Guess x_0 first, and mix that.",
            ddim_with(lambda x_t, eps, now, to: x_t)),
        Mistake(
            "the guess clipped",
            "You cut the guess of x_0 off at -1 and 1. The sampler does that where data is known "
            "to lie there; this step is for data of any size.",
            ddim_with(lambda x_t, eps, now, to: guess(x_t, eps, now).clamp(-1, 1))),
        Mistake(
            "one minus the root",
            "Your guess of x_0 is right. In the mixture you weigh the noise with 1 - "
            "sqrt(previous): the minus stands under the root.",
            ddim_with(noise=lambda now, to: 1 - to ** 0.5)),
        Mistake(
            "the posterior's mean",
            "This is the mean of DDPM's posterior, with room for fresh noise, as for eta = 1. "
            "Here nothing is added later, so eps has its whole weight, sqrt(1 - previous).",
            lambda x_t, eps, now, to: (to ** 0.5 * (1 - now / to) * guess(x_t, eps, now)
                                       + (now / to) ** 0.5 * (1 - to) * x_t) / (1 - now)),
    ), "a step to any less noisy level, down to none")


# ---- guidance

def guided(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """cond and uncond (B,...): the answers with and without the condition -> like them. Scale 1
    is cond itself, 0 is uncond; any number is possible."""
    return uncond + scale * (cond - uncond)


def answers(scales: tuple[float, ...], shape, size: float = 1.0):
    """Draws of two answers that are alike, but far from 0 on average; shape(g) of both."""
    def draw(g):
        both = 1 + normal(g, *shape(g))
        other = both + normal(g, *both.shape)
        for one, far in ((both, 300.0), (other, 290.0)):    # so far out that no clip goes unseen
            one.view(-1)[0], one.view(-1)[-1] = far, -far
        return size * both, size * other, scales[between(0, len(scales) - 1, g)]
    return draw


GUIDED = Exercise(
    "diffusion.guided", LESSON, 1, guided,
    (answers((1.5, 2.5, 3.5), lambda g: (between(2, 4, g), 3, 4, 5)),
     answers((1.0,), lambda g: (3, 3, 3, 3)),
     answers((20.0,), lambda g: (between(2, 4, g), 6), 0.1),
     answers((0.0,), lambda g: (1, 5)),
     answers((-1.0,), lambda g: (4,), 50.0)), in_section(8,     # away from the condition
        Mistake(
            "the scale counted from 0",
            "You begin at cond: your scale 1 is what is called 2 here. With scale 1 the answer "
            "must be cond itself, so the push starts at uncond.",
            lambda cond, uncond, scale: cond + scale * (cond - uncond)),
        Mistake(
            "one step too few",
            "You take scale - 1 steps from uncond, so that your scale 1 gives uncond. It must "
            "give cond: take scale steps from uncond, or scale - 1 from cond.",
            lambda cond, uncond, scale: uncond + (scale - 1) * (cond - uncond)),
        Mistake(
            "the two exchanged",
            "cond and uncond are exchanged (or their weights are): your scale pushes away from "
            "the condition. With scale 1 the answer must be cond.",
            lambda cond, uncond, scale: guided(uncond, cond, scale)),
        Mistake(
            "the sign turned",
            "You start at uncond and go the wrong way: the difference has the other sign. It "
            "points from uncond to cond.",
            lambda cond, uncond, scale: uncond - scale * (cond - uncond)),
        Mistake(
            "uncond not added",
            "You return only the scaled difference. It is a push, and uncond is where it starts.",
            lambda cond, uncond, scale: scale * (cond - uncond)),
        Mistake(
            "uncond not taken away",
            "You add the whole of cond, scaled. What is to be strengthened is only what the "
            "condition CHANGES: the difference from uncond.",
            lambda cond, uncond, scale: uncond + scale * cond),
        Mistake(
            "cond alone, scaled",
            "What you return is scale * cond: that makes everything larger, not only what comes "
            "from the condition. Either uncond is left out, or brackets round the difference are.",
            lambda cond, uncond, scale: scale * cond),
        Mistake(
            "the mean",
            "You take the mean of the two. The scale says how far to go from uncond towards cond, "
            "and beyond.",
            lambda cond, uncond, scale: (cond + uncond) / 2),
        Mistake(
            "divided by the scale",
            "You divide by the scale in the end. The weights of the two, scale and 1 - scale, sum "
            "to 1 as they are.",
            lambda cond, uncond, scale: guided(cond, uncond, scale) / scale),
        Mistake(
            "clipped",
            "You cut the result off at -1 and 1. This is an answer of the network, perhaps noise, "
            "which may be larger; only a guess of x_0 is clipped, and later.",
            lambda cond, uncond, scale: guided(cond, uncond, scale).clamp(-1, 1)),
        Mistake(
            "uncond taken away whole",
            "You take away the whole of uncond, once. The weights of the two, scale and 1 - scale, "
            "sum to 1: with scale 1 nothing of uncond is left, with 0 all of it.",
            lambda cond, uncond, scale: scale * cond - uncond),
        Mistake(
            "cond unscaled",
            "You scale only uncond. What is scaled is the difference cond - uncond, and uncond is "
            "where it starts.",
            lambda cond, uncond, scale: cond - scale * uncond),
        Mistake(
            "negative scales cut off",
            "You take a negative scale for 0. It is allowed, and leads away from the condition: no "
            "max, no clamp.",
            lambda cond, uncond, scale: guided(cond, uncond, max(scale, 0.0))),
        Mistake(
            "cond itself up to 1",
            "For every scale up to 1 you return cond. Only 1 gives cond; 0 gives uncond, and the "
            "formula holds for all of them.",
            lambda cond, uncond, scale: guided(cond, uncond, max(scale, 1.0))),
        Mistake(
            "the scale without its sign",
            "You take the scale without its sign. A negative one leads away from the condition.",
            lambda cond, uncond, scale: guided(cond, uncond, abs(scale))),
        Mistake(
            "0 taken for no scale",
            "A scale of 0 is falsy in Python, and you take it for 1 (`scale or 1`, `if scale`). "
            "Scale 0 is uncond.",
            lambda cond, uncond, scale: guided(cond, uncond, scale or 1.0)),
        Mistake(
            "the scale rounded down",
            "You make a whole number of the scale. 1.5 lies between 1 and 2, and any number is "
            "possible.",
            lambda cond, uncond, scale: guided(cond, uncond, int(scale))),
    ), "from uncond through cond and beyond, in any shape",
    learns=True)


TEST = hunt(POSTERIOR, "beta as the variance", "the standard deviation as the variance",
    "1 - alpha_bar as the variance", "noise left at t = 0", "the weights exchanged",
    "alpha_bar of t in the weight of x_0", "roots forgotten", "the prior's variance",
    "only the mean returned", "the likelihood's mean")
EXERCISES = (ADD_NOISE, POSTERIOR, VELOCITY, DDIM_STEP, GUIDED, TEST)
