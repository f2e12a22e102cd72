r"""The exercises of lesson 14: into the latent, among the words, and away from what is not wanted.

in -> out   EXERCISES: encode, multiply_adds, word_maps, dropped, guided, noisy_start
idea        A picture from a wrong weight is still a picture, so what is asked for here is compared
            as numbers: captions of every length, strengths at both ends and between, scales far
            from one, clouds as narrow as a VAE makes them, scores that no exponential can hold.
"""
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import latent
from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.course.checks import Exercise, Mistake, Result, hunt
from minidalle.course.checks.diffusion import in_section
from minidalle.course.checks.transformer import between
from minidalle.diffusion import cosine_schedule, mix
from minidalle.latent import no_words
from minidalle.vae import Vae, VaeConfig

LESSON = "14_latent"


# ---- into the latent

def encode(mean: Tensor, log_variance: Tensor, eps: Tensor, scale: float) -> Tensor:
    """mean, log_variance and eps (B,C,h,w), all of a picture's cloud; scale, 1 / the latents'
    standard deviation -> (B,C,h,w): a draw of the cloud, scaled."""
    return scale * (mean + (log_variance / 2).exp() * eps)


def clouds(size, scale):
    """Draws of clouds, size(g) -> B, C, h, w, narrow ones and wide ones; scale(random number) is
    far from one."""
    def draw(g):
        mean, log_variance, eps = torch.randn(3, *size(g), generator=g)
        return 2 * mean, 1.5 * log_variance - 1, eps, scale(torch.rand((), generator=g).item())
    return draw


def narrow_clouds(g: Generator) -> tuple:
    """Of a VAE whose latents are ten thousandths: the variances lie about 1e-8, and the scale
    makes them as large as all others."""
    mean, log_variance, eps = torch.randn(3, between(2, 3, g), 2, 3, 2, generator=g)
    log_variance = 2 * math.log(1e-4) + 0.7 * log_variance.clamp(-2, 2)
    return 1e-4 * mean, log_variance, eps, 5e3 + 5e3 * torch.rand((), generator=g).item()


def cloud(draw):
    """draw(mean, log_variance, eps), scaled as it should be."""
    return lambda mean, log_variance, eps, scale: scale * draw(mean, log_variance, eps)


def with_noise(deviation):
    """A draw with another standard deviation, deviation(log_variance)."""
    return cloud(lambda mean, log_variance, eps: mean + deviation(log_variance) * eps)


def scaled(factor):
    """The right draw, times factor(scale)."""
    return lambda mean, log_variance, eps, scale: encode(mean, log_variance, eps, factor(scale))


def brought_to_one(**dims):
    """The right draw over its own standard deviation."""
    def answer(mean, log_variance, eps, scale):
        z = encode(mean, log_variance, eps, 1.0)
        return z / z.std(**dims)
    return answer


ENCODE = Exercise(
    "latent.encode", LESSON, 1, encode,
    (clouds(lambda g: (between(2, 3, g), 4, 3, 3), lambda r: 0.2 + 0.3 * r),
     clouds(lambda g: (1, between(2, 4, g), 2, 5), lambda r: 2.6 + 0.3 * r),
     clouds(lambda g: (4, 4, 4, 4), lambda r: 0.05 + 0.1 * r),
     clouds(lambda g: (between(2, 5, g), 1, 6, 2), lambda r: 5.1 + 5 * r),
     narrow_clouds), in_section(1,
        Mistake(
            "noise not scaled",
            "You scale the middle of the cloud and then add its noise as it is. The scale belongs "
            "to the whole draw.",
            lambda mean, log_variance, eps, scale: scale * mean + (log_variance / 2).exp() * eps),
        Mistake(
            "mean not scaled",
            "You scale the noise of the cloud, and not its middle. The scale belongs to the whole "
            "draw.",
            lambda mean, log_variance, eps, scale: mean + scale * (log_variance / 2).exp() * eps),
        Mistake(
            "not scaled",
            "Your draw is right, but the latents are still as wide as the VAE has made them: "
            "multiply by the scale.",
            scaled(lambda scale: 1.0)),
        Mistake(
            "divided by the scale",
            "You divide by the scale. It is 1 / the standard deviation already: multiply, and "
            "divide only on the way back.",
            scaled(lambda scale: 1 / scale)),
        Mistake(
            "the scale squared",
            "You multiply by the scale twice. Once makes the variance 1.",
            scaled(lambda scale: scale ** 2)),
        Mistake(
            "the root of the scale",
            "You take the root of the scale. It is one over a standard deviation, and no variance: "
            "multiply by it as it is.",
            scaled(lambda scale: scale ** 0.5)),
        Mistake(
            "the scale cut to a whole number",
            "You cut the scale to a whole number, and most scales lie below 1. It is a float.",
            scaled(int)),
        Mistake(
            "the scale rounded",
            "You round the scale to a whole number. It is a float.",
            scaled(round)),
        Mistake(
            "Stable Diffusion's scale",
            "You multiply by 0.18215, the scale of Stable Diffusion's VAE. Each VAE has its own: "
            "it is given as `scale`.",
            scaled(lambda scale: 0.18215)),
        Mistake(
            "the scale added",
            "You add the scale. It is a factor.",
            lambda mean, log_variance, eps, scale: scale + encode(mean, log_variance, eps, 1.0)),
        Mistake(
            "by this batch's own deviation",
            "You divide by the standard deviation of this batch. The scale was measured once, over "
            "training pictures, and is the same for every batch: use it.",
            brought_to_one()),
        Mistake(
            "by each picture's own deviation",
            "You divide each latent by its own standard deviation, and how strong it was is lost. "
            "The scale is one number for all pictures: use it.",
            brought_to_one(dim=(1, 2, 3), keepdim=True)),
        Mistake(
            "the mean of the latents taken out",
            "You shift the latents, so that their mean is 0. The scale is all that is done to "
            "them.",
            cloud(lambda mean, v, eps: (z := mean + (v / 2).exp() * eps) - z.mean())),
        Mistake(
            "log-variance as the standard deviation",
            "You multiply the noise by the log-variance itself. Its exponential is the variance, "
            "and the root of that is the standard deviation.",
            with_noise(lambda v: v)),
        Mistake(
            "half of the log-variance as the standard deviation",
            "You multiply the noise by half of the log-variance, the logarithm of the standard "
            "deviation. Take its exponential.",
            with_noise(lambda v: v / 2)),
        Mistake(
            "the root of the log-variance",
            "You take the root of the logarithm, NaN where the variance is below 1. First the "
            "exponential, then the root; or the exponential of half.",
            with_noise(torch.sqrt)),
        Mistake(
            "variance as the standard deviation",
            "You multiply the noise by the variance, exp(log_variance). The standard deviation is "
            "its root: take half of the logarithm.",
            with_noise(torch.exp)),
        Mistake(
            "the half outside of the exponential",
            "You take half of the variance. The root of it is exp of HALF the logarithm: the half "
            "stands inside.",
            with_noise(lambda v: v.exp() / 2)),
        Mistake(
            "the variance squared",
            "You double the logarithm, and that squares the variance. The root needs half of it.",
            with_noise(lambda v: (2 * v).exp())),
        Mistake(
            "one over the standard deviation",
            "Your noise is large where the cloud is narrow: a sign is turned in the exponential.",
            with_noise(lambda v: (-v / 2).exp())),
        Mistake(
            "softplus in place of exp",
            "You take softplus. What the encoder says is the logarithm of the variance: exp undoes "
            "it.",
            with_noise(F.softplus)),
        Mistake(
            "expm1 in place of exp",
            "You take exp less 1, and a cloud of variance 1 has no noise. Take exp.",
            with_noise(lambda v: (v / 2).expm1())),
        *(Mistake(
            f"{eps:g} added to the variance",
            f"You add {eps:g} to the variance. It is an exponential and never 0, and our latents "
            "may be far narrower than that: the scale makes your addition large.",
            with_noise(lambda v, eps=eps: (v.exp() + eps).sqrt()))
          for eps in (1e-6, 1e-8)),
        *(Mistake(
            f"the log-variance clamped at {-limit}",
            f"You keep the log-variance within {limit}. A cloud may well be narrower: the scale "
            "makes such latents as wide as all others.",
            with_noise(lambda v, limit=limit: (v.clamp(-limit, limit) / 2).exp()))
          for limit in (1, 5, 10)),
        Mistake(
            "the noise as wide as one",
            "You add eps as it is. Its width is the cloud's standard deviation.",
            with_noise(torch.ones_like)),
        Mistake(
            "the first cloud's width for all",
            "You take the first picture's log-variance for the whole batch. Each has its own.",
            with_noise(lambda v: (v[:1] / 2).exp())),
        Mistake(
            "the scale in the log-variance too",
            "You scale the log-variance as well. A logarithm is not scaled: multiply the draw.",
            lambda mean, log_variance, eps, scale: scale * mean + (
                scale * log_variance / 2).exp() * eps),
        Mistake(
            "the scale in the log-variance alone",
            "You scale the log-variance, and nothing else. A logarithm is not scaled: multiply the "
            "draw.",
            lambda mean, log_variance, eps, scale: encode(mean, scale * log_variance, eps, 1.0)),
        Mistake(
            "the middle of the cloud",
            "You return the middle of the cloud, scaled. Asked for is a draw of it: eps is "
            "missing.",
            cloud(lambda mean, v, eps: mean)),
        Mistake(
            "the middle of the cloud, not scaled",
            "You return the mean as it is. Asked for is a draw, mean and noise, times the scale.",
            lambda mean, log_variance, eps, scale: mean.clone()),
        Mistake(
            "the noise alone",
            "You return how far the draw lies from the middle. Add the mean.",
            cloud(lambda mean, v, eps: (v / 2).exp() * eps)),
        Mistake(
            "the deviation added, without eps",
            "You add the standard deviation itself, always the same way. Multiply it by eps.",
            cloud(lambda mean, v, eps: mean + (v / 2).exp())),
        Mistake(
            "noise taken away",
            "You subtract the noise. That would be as good a draw, but it is that of -eps.",
            with_noise(lambda v: -(v / 2).exp())),
        Mistake(
            "noise without its sign",
            "Your noise is never negative, as if eps had been squared under a root. It keeps its "
            "sign.",
            cloud(lambda mean, v, eps: mean + (v / 2).exp() * eps.abs())),
        Mistake(
            "mean and eps exchanged",
            "You multiply the mean by the standard deviation and add eps. It is the noise that is "
            "spread, and the mean that is added.",
            lambda mean, log_variance, eps, scale: encode(eps, log_variance, mean, scale)),
        Mistake(
            "mean and log-variance exchanged",
            "You take the mean for the log-variance, and the other way round.",
            lambda mean, log_variance, eps, scale: encode(log_variance, mean, eps, scale)),
        Mistake(
            "the latent clamped",
            "You clamp the latent to [-1, 1]. It is no picture: its variance is 1, so a third of "
            "it lies outside.",
            lambda *given: encode(*given).clamp(-1, 1)),
    ), "a draw of the cloud, middle and noise scaled")


# ---- what a convolution costs

def multiply_adds(c_in: int, c_out: int, kernel: int, height: int, width: int) -> int:
    """Of a convolution with kernel x kernel weights from c_in to c_out channels, that keeps the
    size height x width (stride 1, padded), for one picture; its bias is left out."""
    return c_in * c_out * kernel ** 2 * height * width


def sizes(kernel, widens: bool = False):
    """Draws of sizes of which no two are equal; from fewer channels to more, or the reverse."""
    def draw(g):
        *channels, height, width = (torch.randperm(20, generator=g)[:4] + 6).tolist()
        c_in, c_out = sorted(channels, reverse=not widens)
        return c_in, c_out, kernel, height, width
    return draw


def large_sizes(g: Generator) -> tuple:
    """More than 32 bits can count, and a product of odd numbers, which float32 cannot hold."""
    c_in, c_out = (2 * torch.randperm(64, generator=g)[:2] + 601).tolist()
    height, width = (2 * torch.randperm(8, generator=g)[:2] + 33).tolist()
    return c_in, c_out, 3, height, width


def in_32_bits(count: int) -> int:
    return (count + 2 ** 31) % 2 ** 32 - 2 ** 31


def inside(size: int, kernel: int) -> int:
    """How many of the kernel's places, over all its stops on one side, lie on the picture."""
    return sum(0 <= stop + place - kernel // 2 < size
               for stop in range(size) for place in range(kernel))


def per_place(weights):
    """weights(c_in, c_out, kernel) at every place."""
    return lambda c_in, c_out, kernel, height, width: weights(c_in, c_out, kernel) * height * width


def at_places(places):
    """Each weight at places(height, width, kernel)."""
    return lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2 * places(
        height, width, kernel)


MULTIPLY_ADDS = Exercise(
    "latent.multiply_adds", LESSON, 1, multiply_adds,
    (sizes(3), sizes(5, widens=True), sizes(1), sizes(4, widens=True), large_sizes), in_section(2,
        Mistake(
            "kernel not squared",
            "You count one row of the kernel. It has kernel x kernel weights for each pair of "
            "channels.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * kernel)),
        Mistake(
            "kernel ^ 2",
            "You write kernel ^ 2, which in Python compares bits: 3 ^ 2 is 1. A power is "
            "kernel ** 2.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * (kernel ^ 2))),
        Mistake(
            "kernel doubled",
            "You double the kernel. It has kernel x kernel weights for each pair of channels.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * 2 * kernel)),
        Mistake(
            "two to the kernel",
            "You take 2 ** kernel. The square is kernel ** 2.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * 2 ** kernel)),
        Mistake(
            "kernel to the third",
            "You take the third power of the kernel. It has two sides, and channels are counted "
            "by c_in.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * kernel ** 3)),
        Mistake(
            "a kernel of 3 x 3, whatever was given",
            "You count nine weights for each pair of channels. The size of the kernel is given as "
            "`kernel`.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out * 9)),
        Mistake(
            "the kernel forgotten",
            "You count a kernel of one weight. Each output looks at kernel x kernel places.",
            per_place(lambda c_in, c_out, kernel: c_in * c_out)),
        Mistake(
            "input channels forgotten",
            "You count one channel of the input. Each output looks at ALL of them.",
            per_place(lambda c_in, c_out, kernel: c_out * kernel ** 2)),
        Mistake(
            "output channels forgotten",
            "You count one channel of the output. Each of the c_out has weights of its own.",
            per_place(lambda c_in, c_out, kernel: c_in * kernel ** 2)),
        Mistake(
            "input channels twice",
            "You count c_in twice, and c_out not at all.",
            per_place(lambda c_in, c_out, kernel: c_in * c_in * kernel ** 2)),
        Mistake(
            "output channels twice",
            "You count c_out twice, and c_in not at all.",
            per_place(lambda c_in, c_out, kernel: c_out * c_out * kernel ** 2)),
        Mistake(
            "channels added",
            "You add the numbers of channels. Every input channel meets every output channel: "
            "multiply.",
            per_place(lambda c_in, c_out, kernel: (c_in + c_out) * kernel ** 2)),
        Mistake(
            "the larger number of channels",
            "You count the larger of the two numbers of channels. Every input channel meets every "
            "output channel: multiply.",
            per_place(lambda c_in, c_out, kernel: max(c_in, c_out) * kernel ** 2)),
        Mistake(
            "the weights alone",
            "That is the number of weights. Each of them is used once at every place of the "
            "picture.",
            at_places(lambda *sizes: 1)),
        Mistake(
            "the weights and biases alone",
            "That is the number of weights and biases. Each weight is used once at every place of "
            "the picture, and the bias is left out.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2 + c_out),
        Mistake(
            "height squared",
            "You take the picture for a square of its height. It has height x width places.",
            at_places(lambda height, width, kernel: height ** 2)),
        Mistake(
            "width squared",
            "You take the picture for a square of its width. It has height x width places.",
            at_places(lambda height, width, kernel: width ** 2)),
        Mistake(
            "height and width added",
            "You add height and width. The places of the picture are height x width.",
            at_places(lambda height, width, kernel: height + width)),
        Mistake(
            "the width forgotten",
            "You count one column. The places of the picture are height x width.",
            at_places(lambda height, width, kernel: height)),
        Mistake(
            "the height forgotten",
            "You count one row. The places of the picture are height x width.",
            at_places(lambda height, width, kernel: width)),
        Mistake(
            "sixteen places, whatever was given",
            "You count 4 x 4 places, those of the example. They are height x width.",
            at_places(lambda height, width, kernel: 16)),
        Mistake(
            "the example's answer",
            "You return 864, the answer of the example. Others have other sizes.",
            lambda *sizes: 864),
        Mistake(
            "without padding",
            "You leave out the places at the edge. The picture is padded, so that its size stays: "
            "every place counts.",
            at_places(lambda height, width, kernel: (height - kernel + 1) * (width - kernel + 1))),
        Mistake(
            "half of the edge left out",
            "You leave out kernel // 2 rows and columns. The picture is padded, so that its size "
            "stays: every place counts.",
            at_places(lambda height, width, kernel: (height - kernel // 2) * (
                width - kernel // 2))),
        Mistake(
            "the padding's places counted",
            "You count the places of the padding as well. The kernel reads them, but the output is "
            "as large as the picture was without them.",
            at_places(lambda height, width, kernel: (height + kernel // 2 * 2) * (
                width + kernel // 2 * 2))),
        Mistake(
            "products with the padding left out",
            "You leave out the products with the zeros of the padding. They are computed like all "
            "others: every weight counts at every place.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * inside(height, kernel)
                * inside(width, kernel)),
        Mistake(
            "multiplications and additions counted apart",
            "You count twice as many: a multiplication and the addition that follows it are ONE "
            "multiply-add.",
            lambda *sizes: 2 * multiply_adds(*sizes)),
        Mistake(
            "one addition fewer than products",
            "You count additions and products apart, and of the additions one fewer. The first "
            "product is added to 0, and both together are ONE multiply-add.",
            per_place(lambda c_in, c_out, kernel: c_out * (2 * c_in * kernel ** 2 - 1))),
        Mistake(
            "the additions between products alone",
            "You count one fewer than there are products. The first is added to 0, so there are as "
            "many as products.",
            per_place(lambda c_in, c_out, kernel: c_out * (c_in * kernel ** 2 - 1))),
        Mistake(
            "the bias counted too",
            "You count the bias as well. That is an addition without a multiplication, and is left "
            "out here.",
            per_place(lambda c_in, c_out, kernel: c_out * (c_in * kernel ** 2 + 1))),
        Mistake(
            "the biases counted once each",
            "You add the number of biases. They are left out here.",
            lambda c_in, c_out, *sizes: multiply_adds(c_in, c_out, *sizes) + c_out),
        Mistake(
            "in millions",
            "You divide by a million. Asked for is the number itself, a whole one.",
            lambda *sizes: multiply_adds(*sizes) / 1e6),
        Mistake(
            "in 32 bits",
            "Your numbers have 32 bits, and a large layer needs more: they start again from below. "
            "Python's own whole numbers have no end.",
            lambda *sizes: in_32_bits(multiply_adds(*sizes))),
    ), "each weight once a place", tolerance=0)


# ---- which word a place looks at

def word_maps(q: Tensor, k: Tensor, heard: Tensor) -> Tensor:
    """Queries of N places q (B,N,d), keys of T words k (B,T,d), heard (B,T) bool -> (B,N,T): how
    much each place takes from each word; 1 in all, and nothing from a word that is not heard."""
    return spread(q, k, heard).softmax(dim=2)


def spread(q: Tensor, k: Tensor, heard: Tensor, scale: float | None = None,
           silent: float = -math.inf) -> Tensor:
    """Scores, -inf where nothing is heard, or `silent`."""
    return raw(q, k, scale).masked_fill(~heard[:, None], silent)


def raw(q: Tensor, k: Tensor, scale: float | None = None) -> Tensor:
    return q @ k.mT * (scale or 1 / math.sqrt(q.shape[-1]))


def captioned(size, full: int = 0):
    """Draws of places and words, size(g) -> B, N, T: caption `full` fills its table, if there are
    several, the others end before, one of them after its start. d is no number whose root is that
    of another size."""
    def draw(g):
        (B, N, T), d = size(g), between(9, 11, g)
        q, k = torch.randn(B, N, d, generator=g), torch.randn(B, T, d, generator=g)
        length = torch.randint(2, T, (B, 1), generator=g)
        if B > 1:
            length[full] = T
        if B > 2:
            length[1] = 1
        return 1.5 * q, 1.5 * k, torch.arange(T) < length
    return draw


def eighths(size: tuple, g: Generator) -> Tensor:
    """Numbers from -2 to 2 of which float32 rounds no product, nor a sum of these."""
    return torch.randint(-16, 17, size, generator=g) / 8


def far_off(g: Generator) -> tuple:
    """Scores of the heard words near 2048, 16, -16 and -2048, one place each: only their
    differences count, and no exponential holds them. Padding may be louder than all words."""
    q, k = eighths((3, 4, 16), g), eighths((3, 6, 16), g)
    q[..., 0], k[..., 0] = torch.tensor([128.0, 1, -1, -128]), 64
    k[0, 3:, 0] = 68
    return q, k, torch.arange(6) < torch.tensor([[3], [6], [4]])


def normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=2, keepdim=True)


def heard_until(change):
    """With captions whose lengths (B,1) are change(lengths)."""
    return lambda q, k, heard: word_maps(
        q, k, torch.arange(heard.shape[1]) < change(heard.sum(dim=1, keepdim=True)))


def of_scores(answer):
    """answer(scores with -inf where nothing is heard)."""
    return lambda *given: answer(spread(*given))


def silenced(answer):
    """answer(scores of all words, heard (B,1,T))."""
    return lambda q, k, heard: answer(raw(q, k), heard[:, None])


def causal(scores: Tensor) -> Tensor:
    later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf)


WORD_MAPS = Exercise(
    "latent.word_maps", LESSON, 3, word_maps,
    (captioned(lambda g: (between(2, 3, g), between(4, 5, g), between(6, 7, g))),
     captioned(lambda g: (2, 6, 6), full=1),
     captioned(lambda g: (1, between(7, 8, g), 5)),
     captioned(lambda g: (between(3, 4, g), 1, 4), full=-1),
     far_off), in_section(4,
        Mistake(
            "normalised over the places",
            "Your maps sum to 1 over the places: each word shares itself out. It is each PLACE "
            "that takes 1 in all, of the words: look at the dim of the softmax.",
            of_scores(lambda scores: scores.softmax(dim=1))),
        Mistake(
            "normalised over the batch",
            "Your maps sum to 1 over the captions of the batch. It is each PLACE that takes 1 in "
            "all, of the words: look at the dim of the softmax.",
            of_scores(lambda scores: scores.softmax(dim=0))),
        Mistake(
            "normalised over places and words together",
            "All numbers of a picture sum to 1 together. Each place takes 1 in all.",
            of_scores(lambda scores: scores.flatten(1).softmax(dim=1).view_as(scores))),
        Mistake(
            "not divided by the root of d",
            "Your scores are as large as the sum of d products makes them. Divide by the root of "
            "d.",
            lambda *given: spread(*given, 1.0).softmax(dim=2)),
        Mistake(
            "divided by d",
            "You divide the scores by d. It is its root.",
            lambda q, k, heard: spread(q, k, heard, 1 / q.shape[-1]).softmax(dim=2)),
        Mistake(
            "multiplied by the root of d",
            "You multiply the scores by the root of d. They are divided by it.",
            lambda q, k, heard: spread(q, k, heard, q.shape[-1] ** 0.5).softmax(dim=2)),
        Mistake(
            "divided by the fourth root of d",
            "You divide by the root of the root of d. That would do for q and for k, each; for "
            "their product it is the root.",
            lambda q, k, heard: spread(q, k, heard, q.shape[-1] ** -0.25).softmax(dim=2)),
        Mistake(
            "divided by twice the root of d",
            "You divide by twice the root of d. Once.",
            lambda q, k, heard: spread(q, k, heard, 0.5 * q.shape[-1] ** -0.5).softmax(dim=2)),
        Mistake(
            "divided by the root of the number of words",
            "You divide by the root of T. What grows is the sum of d products: the root of d.",
            lambda q, k, heard: spread(q, k, heard, k.shape[1] ** -0.5).softmax(dim=2)),
        Mistake(
            "divided by the root of the number of places",
            "You divide by the root of N. What grows is the sum of d products: the root of d.",
            lambda q, k, heard: spread(q, k, heard, q.shape[1] ** -0.5).softmax(dim=2)),
        Mistake(
            "divided after the softmax",
            "You divide the shares by the root of d, so what a place takes is less than 1. Divide "
            "the scores, before the softmax.",
            lambda q, k, heard: spread(q, k, heard, 1.0).softmax(dim=2) / q.shape[-1] ** 0.5),
        Mistake(
            "the scores' sign turned",
            "Your scores are turned round: a place takes most of the word that suits it least.",
            lambda q, k, heard: word_maps(-q, k, heard)),
        Mistake(
            "padding heard as well",
            "You let a place take from what stands behind the caption's end. Give those scores "
            "-inf before the softmax.",
            lambda q, k, heard: word_maps(q, k, torch.ones_like(heard))),
        Mistake(
            "the mask turned round",
            "You hear the padding, and not the words. `heard` is True where something is said.",
            lambda q, k, heard: word_maps(q, k, ~heard)),
        Mistake(
            "masked after the softmax",
            "You set the padding to 0 AFTER the softmax, so what a place takes is less than 1. "
            "Mask the scores, with -inf, before it.",
            silenced(lambda scores, heard: scores.softmax(dim=2) * heard)),
        Mistake(
            "-inf after the softmax",
            "You set the SHARES of the padding to -inf. The scores get it, before the softmax, and "
            "the share of it is 0.",
            silenced(lambda scores, heard: scores.softmax(dim=2).masked_fill(~heard, -math.inf))),
        Mistake(
            "weighed with the padding, masked, and brought to the sum 1",
            "On paper it is right. But where the padding is far louder than all words, nothing is "
            "left of them, 0 / 0. Give the scores of the padding -inf before the softmax.",
            silenced(lambda scores, heard: normalised(scores.softmax(dim=2) * heard))),
        Mistake(
            "exp overflows or vanishes",
            "On paper it is right, but e^2000 is infinite in a computer, and e^-2000 is 0. softmax "
            "takes the largest score out before exp.",
            silenced(lambda scores, heard: normalised(scores.exp() * heard))),
        Mistake(
            "exp overflows or vanishes, behind -inf",
            "On paper it is right, but e^2000 is infinite in a computer, and inf / inf is NaN. "
            "softmax takes the largest score out before exp.",
            of_scores(lambda scores: normalised(scores.exp()))),
        Mistake(
            "scores clamped",
            "You keep the scores near 0, where exp is safe. Scores that lie farther out are then "
            "all the same. softmax takes the largest out before exp.",
            silenced(lambda scores, heard: scores.clamp(-50, 50).masked_fill(
                ~heard, -math.inf).softmax(dim=2))),
        Mistake(
            "masked with 0 before the softmax",
            "You give the padding the score 0, and exp(0) is 1: it still takes its share. The "
            "score of nothing is -inf.",
            silenced(lambda scores, heard: (scores * heard).softmax(dim=2))),
        *(Mistake(
            f"masked with {name}",
            f"You give the padding the score {name}, and where all words have less, it takes "
            "everything. The score of nothing is -inf.",
            lambda q, k, heard, low=low: spread(q, k, heard, silent=low).softmax(dim=2))
          for name, low in (("-1", -1), ("-10", -10), ("-20", -20),
                            ("a number that is not low enough", -100))),
        Mistake(
            "masked with +inf",
            "You give the padding the score +inf: it takes all, and inf - inf is NaN. The score of "
            "nothing is -inf.",
            lambda *given: spread(*given, silent=math.inf).softmax(dim=2)),
        Mistake(
            "the mask added",
            "You add the mask to the scores, and that is 1 more for a word that is heard. What is "
            "not heard gets -inf.",
            silenced(lambda scores, heard: (scores + heard).softmax(dim=2))),
        Mistake(
            "a causal mask as well",
            "You let place n look at the first n + 1 words alone, as in lesson 03. Places and "
            "words stand in no common order: every place asks all words that are heard.",
            of_scores(lambda scores: causal(scores).softmax(dim=2))),
        Mistake(
            "the end not heard",
            "You leave the last heard token out, the end. `heard` says all that is heard.",
            heard_until(lambda length: length - 1)),
        Mistake(
            "one token too many",
            "You hear one token behind the end. `heard` says all that is heard.",
            heard_until(lambda length: length + 1)),
        Mistake(
            "the start not heard",
            "You leave the start token out. It is heard like all others.",
            lambda q, k, heard: word_maps(q, k, heard & (torch.arange(heard.shape[1]) > 0))),
        Mistake(
            "scores in place of shares",
            "You return the scores. The softmax over the words makes shares of them.",
            spread),
        Mistake(
            "scores, and 0 for the padding",
            "You return the scores. The padding gets -inf, and the softmax over the words makes "
            "shares of them.",
            silenced(lambda scores, heard: scores * heard)),
        Mistake(
            "logarithms of the shares",
            "You return the logarithms of the shares, log_softmax. Asked for are the shares.",
            of_scores(lambda scores: scores.log_softmax(dim=2))),
        Mistake(
            "softmax twice",
            "You take the softmax of the shares again, and the padding has its share after all. "
            "Once.",
            lambda *given: word_maps(*given).softmax(dim=2)),
        Mistake(
            "sigmoid in place of softmax",
            "Each of your words is weighed by itself, by a sigmoid. Words compete for a place: "
            "softmax.",
            of_scores(torch.sigmoid)),
        Mistake(
            "sigmoids brought to the sum 1",
            "You take sigmoids and bring them to the sum 1. The softmax takes exponentials.",
            silenced(lambda scores, heard: normalised(scores.sigmoid() * heard))),
        Mistake(
            "words and places exchanged",
            "Your maps are (B,T,N): a row for each word. Asked for is a row for each place.",
            lambda *given: word_maps(*given).mT),
        Mistake(
            "words and places exchanged, and normalised over the places",
            "Your maps are (B,T,N), a row for each word, which sums to 1. Asked for is a row for "
            "each place: q @ k.mT.",
            of_scores(lambda scores: scores.softmax(dim=1).mT)),
        Mistake(
            "keys viewed in place of transposed",
            "You give the keys another shape, and their numbers lie where they lay. A transpose "
            "exchanges the dims: k.mT.",
            lambda q, k, heard: word_maps(q, k.reshape(len(k), k.shape[2], -1).mT, heard)),
        Mistake(
            "the first caption's mask for all",
            "You use the mask of the first caption for the whole batch. Each has its own length.",
            lambda q, k, heard: word_maps(q, k, heard[:1].expand_as(heard))),
        Mistake(
            "the longest caption's mask for all",
            "You hear in every caption as many tokens as the longest of the batch has. Each has "
            "its own length.",
            lambda q, k, heard: word_maps(q, k, heard.any(dim=0).expand_as(heard))),
        Mistake(
            "every heard word the same",
            "You share each place out equally among the words that are heard. The scores of "
            "queries and keys say how much of each.",
            lambda q, k, heard: word_maps(0 * q, k, heard)),
        Mistake(
            "cosines",
            "You bring queries and keys to length one. Attention takes their products as they are, "
            "divided by the root of d.",
            lambda q, k, heard: spread(F.normalize(q, dim=2), F.normalize(k, dim=2), heard,
                                       1.0).softmax(dim=2)),
        Mistake(
            "cosines, divided too",
            "You bring queries and keys to length one, and divide as well. Attention takes their "
            "products as they are, divided by the root of d.",
            lambda q, k, heard: word_maps(F.normalize(q, dim=2), F.normalize(k, dim=2), heard)),
        Mistake(
            "distances in place of products",
            "You take how near query and key lie. Attention takes their products, divided by the "
            "root of d.",
            lambda q, k, heard: (-torch.cdist(q, k) / q.shape[-1] ** 0.5).masked_fill(
                ~heard[:, None], -math.inf).softmax(dim=2)),
        Mistake(
            "the loudest word alone",
            "You give all to the word with the largest score. Softmax gives each a share.",
            of_scores(lambda scores: F.one_hot(scores.argmax(dim=2), scores.shape[2]).float())),
    ), "shares over the heard words, place by place", learns=True)


# ---- a caption that is dropped

def dropped(heard: Tensor, keep: Tensor) -> Tensor:
    """heard (B,T) bool, the first of each row True; keep (B,) bool -> (B,T): as it was where keep
    is True, elsewhere the start token alone."""
    none = no_words((heard, heard))[1]
    return torch.where(keep[:, None], heard, none)


def first(heard: Tensor) -> Tensor:
    return (torch.arange(heard.shape[1]) == 0).expand_as(heard)


def last(heard: Tensor) -> Tensor:
    return torch.arange(heard.shape[1]) == heard.sum(dim=1, keepdim=True) - 1


def lengths(size, begin: bool, end: bool):
    """Draws of captions, size(g) -> B, T, the first of them kept or not, and the last; of those
    between, where these two differ, some."""
    def draw(g):
        B, T = size(g)
        length = torch.randint(3, T, (B, 1), generator=g)
        keep = torch.rand(B, generator=g) < 0.5
        keep[0], keep[-1] = begin, end
        return torch.arange(T) < length, keep if begin != end else torch.full((B,), begin)
    return draw


def as_in_training(g: Generator) -> tuple:
    """A batch of which few are dropped. Of the kept ones and of the dropped ones, one fills its
    row, and one says nothing between its start and its end."""
    B, T = between(40, 50, g), between(7, 9, g)
    length = torch.randint(3, T, (B, 1), generator=g)
    keep = torch.rand(B, generator=g) > 0.1
    length[:4, 0], keep[:4] = torch.tensor([T, 2, T, 2]), torch.tensor([True, True, False, False])
    return torch.arange(T) < length, keep


def instead(other):
    """Of a dropped caption other(heard)."""
    return lambda heard, keep: torch.where(keep[:, None], heard, other(heard))


def kept(other):
    """Of a kept caption other(heard), of a dropped one its start."""
    return lambda heard, keep: torch.where(keep[:, None], other(heard), first(heard))


DROPPED = Exercise(
    "latent.dropped", LESSON, 2, dropped,
    (lengths(lambda g: (between(4, 6, g), between(8, 9, g)), True, False),
     lengths(lambda g: (2, 6), False, True),
     lengths(lambda g: (between(2, 3, g), 6), True, True),
     lengths(lambda g: (1, between(5, 7, g)), False, False),
     lengths(lambda g: (5, 5), False, True), as_in_training), in_section(4,
        Mistake(
            "nothing at all is heard",
            "Of a dropped caption nothing is heard, not even its start: attention has nothing to "
            "choose from, 0 / 0. Leave the start token.",
            instead(torch.zeros_like)),
        Mistake(
            "everything of a dropped caption heard",
            "Of a dropped caption all is heard, even its padding. Leave the start token alone.",
            instead(torch.ones_like)),
        Mistake(
            "kept and dropped exchanged",
            "You drop the captions that are to be kept. keep is True where all is heard.",
            lambda heard, keep: dropped(heard, ~keep)),
        Mistake(
            "the end left in place of the start",
            "Of a dropped caption you leave the END. That has seen all words, and so it says them "
            "all: leave the start, which has seen none.",
            instead(last)),
        Mistake(
            "the last place left",
            "Of a dropped caption you leave the last place of the row, mostly padding. The start "
            "is the first.",
            instead(lambda heard: first(heard).flip(1))),
        Mistake(
            "the second token left",
            "Of a dropped caption you leave its first word. The start token stands before it, at "
            "0.",
            instead(lambda heard: first(heard).roll(1, dims=1))),
        Mistake(
            "start and end left",
            "Of a dropped caption you leave start and end. The end has seen all words, and says "
            "them: leave the start alone.",
            instead(lambda heard: first(heard) | last(heard))),
        Mistake(
            "the words left, the start dropped",
            "Of a dropped caption you hear everything BUT its start. Turn the inner mask round.",
            instead(lambda heard: heard & ~first(heard))),
        Mistake(
            "the words left, the end dropped",
            "Of a dropped caption you leave out its end alone. The words say what they say "
            "without it: leave the start alone.",
            instead(lambda heard: heard & ~last(heard))),
        Mistake(
            "two tokens left",
            "Of a dropped caption you leave two tokens, and the second says its first word. Leave "
            "one.",
            instead(lambda heard: torch.arange(heard.shape[1]) < 2)),
        Mistake(
            "half of a dropped caption left",
            "Of a dropped caption you leave the first half. Its words say what they say: leave the "
            "start alone.",
            instead(lambda heard: torch.arange(heard.shape[1])
                    < heard.sum(dim=1, keepdim=True) // 2)),
        Mistake(
            "the start only where the row has an end",
            "You look for the start where heard begins, and in a row that is heard to its end you "
            "find none. The start is the token at 0.",
            instead(lambda heard: heard & ~heard.roll(1, dims=1))),
        Mistake(
            "all or none of the batch",
            "You drop all captions as soon as one is to be dropped. Each has its own keep: give it "
            "a dimension with keep[:, None].",
            lambda heard, keep: dropped(heard, keep.all().expand_as(keep))),
        Mistake(
            "all kept as soon as one is",
            "You keep all captions as soon as one is to be kept. Each has its own keep: give it a "
            "dimension with keep[:, None].",
            lambda heard, keep: dropped(heard, keep.any().expand_as(keep))),
        Mistake(
            "the first keep for all",
            "You use the first keep for the whole batch. Each caption has its own.",
            lambda heard, keep: dropped(heard, keep[:1].expand_as(keep))),
        Mistake(
            "nothing dropped",
            "You return what came: a caption that is not kept still says all its words.",
            lambda heard, keep: heard.clone()),
        Mistake(
            "everything dropped",
            "You leave the start alone everywhere, and drop the captions that are to be kept too.",
            lambda heard, keep: first(heard).clone()),
        Mistake(
            "the dropped rows left out",
            "You leave the rows of dropped captions out. They stay in the batch, and hear their "
            "start.",
            lambda heard, keep: heard[keep]),
        Mistake(
            "keep or heard",
            "You join the two with `or`: kept captions hear their padding, and dropped ones stay "
            "as they were.",
            lambda heard, keep: heard | keep[:, None]),
        Mistake(
            "padding of kept captions heard",
            "In kept captions you hear the padding too. They should be as they were.",
            kept(torch.ones_like)),
        Mistake(
            "the start of kept captions lost",
            "In kept captions you have lost the start token. They should be as they were.",
            kept(lambda heard: heard & ~first(heard))),
        Mistake(
            "the end of kept captions lost",
            "In kept captions you have lost the end, which has read all words. They should be as "
            "they were.",
            kept(lambda heard: heard & ~last(heard))),
        Mistake(
            "short captions dropped",
            "You drop a kept caption of two tokens. Start and end are a caption too: as it was.",
            lambda heard, keep: dropped(heard, keep & (heard.sum(dim=1) > 2))),
        Mistake(
            "the first caption's start alone",
            "You index a row in place of a column: the start of every caption is [:, 0].",
            lambda heard, keep: heard & keep[:, None]
                | first(heard) & (torch.arange(len(heard)) == 0)[:, None]),
        Mistake(
            "numbers in place of bool",
            "The places are right, and your answer holds 0 and 1 as numbers. A mask is bool.",
            lambda heard, keep: dropped(heard, keep).float()),
        Mistake(
            "whole numbers in place of bool",
            "The places are right, and your answer holds 0 and 1 as whole numbers. A mask is bool.",
            lambda heard, keep: dropped(heard, keep).long()),
    ), "the start alone where a caption is dropped")


# ---- away from a negative prompt

def guided(yes: Tensor, none: Tensor, no: Tensor, scale: float) -> Tensor:
    """The network's answers (B,C,h,w) for the caption, for no caption and for the negative one ->
    the answer that guidance makes of them: from that for the negative caption through that for the
    caption, scale times as far."""
    return no + scale * (yes - no)


def answers(size, scale):
    def draw(g):
        yes, none, no = torch.randn(3, *size(g), generator=g)
        return yes, none, no, scale(torch.rand((), generator=g).item())
    return draw


def with_scale(change):
    """Guidance by change(scale)."""
    return lambda yes, none, no, scale: guided(yes, none, no, change(scale))


def unless(shortcut, otherwise):
    """otherwise(yes, none, no) where shortcut(scale), and right elsewhere."""
    return lambda yes, none, no, scale: (otherwise(yes, none, no).clone() if shortcut(scale)
                                         else guided(yes, none, no, scale))


GUIDED = Exercise(
    "latent.guided", LESSON, 2, guided,
    (answers(lambda g: (between(2, 3, g), 4, 2, 2), lambda r: 2.2 + 2 * r),
     answers(lambda g: (1, 2, 3, 3), lambda r: 1.0),
     answers(lambda g: (3, between(2, 4, g), 2, 1), lambda r: 0.0),
     answers(lambda g: (2, 4, 1, 3), lambda r: 5.1 + 5 * r),
     answers(lambda g: (between(2, 4, g), 1, 2, 2), lambda r: 0.3 + 0.4 * r)), in_section(6,
        Mistake(
            "added in place of replacing",
            "You push towards the caption from no caption, and ADD a push from the negative one. "
            "The negative answer takes the place of none: two answers are enough.",
            lambda yes, none, no, scale: none + scale * (yes - none) + scale * (no - none)),
        Mistake(
            "subtracted beside none",
            "You start from the answer for no caption, and push towards the one caption and away "
            "from the other. That is a form of its own; here the negative answer takes the PLACE "
            "of none.",
            lambda yes, none, no, scale: none + scale * (yes - no)),
        Mistake(
            "a push of strength one beside guidance",
            "You guide from no caption, and subtract how the negative answer differs from it, "
            "once. The negative answer takes the PLACE of none.",
            lambda yes, none, no, scale: none + scale * (yes - none) - (no - none)),
        Mistake(
            "away from the negative caption alone",
            "You push away from the negative caption, and the caption itself does not occur. The "
            "push leads from the one to the other.",
            lambda yes, none, no, scale: none - scale * (no - none)),
        Mistake(
            "the negative caption ignored",
            "That is guidance without a negative caption. Its answer takes the place of none.",
            lambda yes, none, no, scale: none + scale * (yes - none)),
        Mistake(
            "none in the difference",
            "You start from the negative answer, but take the difference to that for no caption. "
            "Both places are the negative one's.",
            lambda yes, none, no, scale: no + scale * (yes - none)),
        Mistake(
            "towards no caption",
            "You push towards the answer for no caption. The push leads to that for the caption.",
            lambda yes, none, no, scale: no + scale * (none - no)),
        Mistake(
            "scale counted from 0",
            "You start from the caption's answer, and go scale times further. Here 1 is as learnt: "
            "start from the negative one.",
            lambda yes, none, no, scale: yes + scale * (yes - no)),
        Mistake(
            "scale less one",
            "You go one step less than scale. At 1 the answer is the caption's.",
            with_scale(lambda scale: scale - 1)),
        Mistake(
            "turned round",
            "You push towards the negative caption, away from the caption. Exchange the two.",
            lambda yes, none, no, scale: guided(no, none, yes, scale)),
        Mistake(
            "the difference alone",
            "You return the push alone. It starts from the negative answer.",
            lambda yes, none, no, scale: scale * (yes - no)),
        Mistake(
            "the difference's sign turned",
            "Your difference is turned round: it leads from the caption to the negative one.",
            lambda yes, none, no, scale: no + scale * (no - yes)),
        Mistake(
            "half from none, half from the negative",
            "You start from the middle between none and the negative answer. Only the negative one "
            "counts.",
            lambda yes, none, no, scale: guided(yes, none, (none + no) / 2, scale)),
        Mistake(
            "the negative answer subtracted from the guided one",
            "You guide without the negative caption and then subtract its answer. It takes the "
            "place of none in the guidance itself.",
            lambda yes, none, no, scale: none + scale * (yes - none) - no),
        Mistake(
            "scale on one answer only",
            "You multiply the caption's answer alone. The scale belongs to the DIFFERENCE, so set "
            "brackets.",
            lambda yes, none, no, scale: no + scale * yes - no),
        Mistake(
            "scale on the caption's answer, less the negative one",
            "You multiply the caption's answer and subtract the negative one. The scale belongs to "
            "their difference, which starts from the negative answer.",
            lambda yes, none, no, scale: scale * yes - no),
        Mistake(
            "the negative answer subtracted scale times",
            "You subtract the negative answer scale times. It is the start, and the scale belongs "
            "to the difference from it.",
            lambda yes, none, no, scale: yes - scale * no),
        Mistake(
            "the start in brackets",
            "You add the scale to the negative answer. It is a factor of the difference: no "
            "brackets round the start.",
            lambda yes, none, no, scale: (no + scale) * (yes - no)),
        Mistake(
            "the answer of the caption",
            "You return the caption's answer as it is. That is right at scale 1 alone.",
            lambda yes, none, no, scale: yes.clone()),
        Mistake(
            "the answer of the negative caption",
            "You return the negative caption's answer as it is. That is right at scale 0 alone.",
            lambda yes, none, no, scale: no.clone()),
        Mistake(
            "divided by the scale",
            "You divide the difference by the scale. It is multiplied.",
            lambda yes, none, no, scale: no + (yes - no) / scale),
        Mistake(
            "scale squared",
            "You multiply by the scale twice.",
            with_scale(lambda scale: scale ** 2)),
        Mistake(
            "the root of the scale",
            "You take the root of the scale. It is multiplied as it is.",
            with_scale(lambda scale: scale ** 0.5)),
        Mistake(
            "the scale cut to a whole number",
            "You cut the scale to a whole number. It is a float.",
            with_scale(int)),
        *(Mistake(
            f"the scale {number:g}, whatever was given",
            f"You guide by {number:g}. How far is given as `scale`.",
            with_scale(lambda scale, number=number: number)) for number in (2, 7.5)),
        Mistake(
            "scale kept below 1",
            "You keep the scale below 1. Guidance goes beyond the caption's answer.",
            with_scale(lambda scale: min(scale, 1.0))),
        Mistake(
            "not guided up to scale 1",
            "Up to scale 1 you return the caption's answer. Below 1 the answer lies between the "
            "two, and at 0 it is the negative one.",
            unless(lambda scale: scale <= 1, lambda yes, none, no: yes)),
        Mistake(
            "the caption's answer at scale 0",
            "At scale 0 you return the caption's answer. There it is the negative one.",
            unless(lambda scale: not scale, lambda yes, none, no: yes)),
        Mistake(
            "no caption's answer at scale 0",
            "At scale 0 you return the answer for no caption. The negative one has taken its "
            "place.",
            unless(lambda scale: not scale, lambda yes, none, no: none)),
        Mistake(
            "no caption's answer at scale 1",
            "At scale 1 you return the answer for no caption. There it is the caption's.",
            unless(lambda scale: scale == 1, lambda yes, none, no: none)),
        Mistake(
            "the answer clamped",
            "You clamp to [-1, 1]. These are answers of a network over latents, and no colours.",
            lambda *given: guided(*given).clamp(-1, 1)),
    ), "from the negative answer through the caption's, scale times as far")


# ---- from a picture

def noisy_start(z: Tensor, eps: Tensor, alpha_bar: Tensor, strength: float) -> tuple[Tensor, int]:
    """A latent z and noise eps (B,C,h,w), alpha_bar (T,) from nearly 1 down to nearly 0, strength
    from 0 to 1 -> the noisy latent, and the step at which it stands: the share `strength` of the
    way from 0 to T - 1, rounded to the nearest."""
    step = at_step(alpha_bar, strength)
    return mix(z, eps, alpha_bar[step]), step


def at_step(alpha_bar: Tensor, strength: float) -> int:
    return round(strength * (len(alpha_bar) - 1))


def falling(g: Generator, T: int) -> Tensor:
    """A table that falls from nearly 1 to nearly 0, never twice the same, and at no inner step is
    near 1 less the share of the way."""
    steps = 0.2 + torch.rand(T + 1, generator=g)
    return (1 - steps.cumsum(0)[:-1] / steps.sum() * 0.999) ** 2


def real(g: Generator, T: int) -> Tensor:
    """The table of the lesson: nearer to 1 at its start, and to 0 at its end."""
    return cosine_schedule(1000).float()


def latents(size, strength, off: float = 0.0, table=falling):
    """Draws of latents, size(g) -> B, C, h, w, and of a table of some 40 steps; strength(random
    number) lies `off` a step, to be rounded away."""
    def draw(g):
        alpha_bar = table(g, between(35, 45, g))
        (z, eps), T = torch.randn(2, *size(g), generator=g), len(alpha_bar)
        step = round(strength(torch.rand((), generator=g).item()) * (T - 1))
        return 2 * z, eps, alpha_bar, (step + off) / (T - 1)
    return draw


def started(weights):
    """At the right step, with weights(alpha_bar there, strength) of latent and noise."""
    def start(z, eps, alpha_bar, strength):
        step = at_step(alpha_bar, strength)
        of_z, of_eps = weights(alpha_bar[step], strength)
        return of_z * z + of_eps * eps, step
    return start


def stepped(step):
    """Noised as of step(T, strength), which is also what is said; beyond the table at its end."""
    def start(z, eps, alpha_bar, strength):
        at = min(max(step(len(alpha_bar), strength), 0), len(alpha_bar) - 1)
        return mix(z, eps, alpha_bar[at]), at
    return start


def unguarded(step):
    """The same, and an error beyond the table."""
    def start(z, eps, alpha_bar, strength):
        at = step(len(alpha_bar), strength)
        return mix(z, eps, alpha_bar[at]), at
    return start


def of_table(other):
    """The right step of another table, other(alpha_bar)."""
    return lambda z, eps, alpha_bar, strength: noisy_start(z, eps, other(alpha_bar), strength)


def said(other):
    """Noised as it should be, and other(step, alpha_bar, strength) said in place of the step."""
    def start(z, eps, alpha_bar, strength):
        z_t, step = noisy_start(z, eps, alpha_bar, strength)
        return z_t, other(step, alpha_bar, strength)
    return start


def nearest_to_strength(z, eps, alpha_bar, strength):
    step = (alpha_bar - (1 - strength)).abs().argmin().item()
    return mix(z, eps, alpha_bar[step]), step


NOISY_START = Exercise(
    "latent.noisy_start", LESSON, 2, noisy_start,
    (latents(lambda g: (between(2, 3, g), 4, 2, 2), lambda r: 0.65 + 0.2 * r, 0.35),
     latents(lambda g: (1, 2, 3, 3), lambda r: 0.15 + 0.2 * r, -0.35),
     latents(lambda g: (2, 4, 2, 1), lambda r: 0.0),
     latents(lambda g: (2, 1, 2, 4), lambda r: 1.0),
     latents(lambda g: (between(2, 4, g), 3, 2, 2), lambda r: 0.75 + 0.15 * r, -0.2),
     latents(lambda g: (3, 2, 2, 2), lambda r: 0.1 + 0.3 * r, 0.2),
     latents(lambda g: (2, 4, 2, 2), lambda r: 0.0, table=real),
     latents(lambda g: (2, 4, 2, 2), lambda r: 1.0, table=real)), in_section(7,
        Mistake(
            "strength counted from the wrong end",
            "Your strength 1 gives the picture back, and 0 forgets it. Steps count from 0, hardly "
            "any noise, to T - 1: the share is the strength, not 1 - strength.",
            stepped(lambda T, s: round((1 - s) * (T - 1)))),
        Mistake(
            "the table read from its end",
            "You read alpha_bar from its end, and the step you say is right. It begins near 1, at "
            "step 0.",
            of_table(lambda alpha_bar: alpha_bar.flip(0))),
        Mistake(
            "the roots forgotten",
            "You mix with alpha_bar and 1 - alpha_bar. The weights are their roots, so that the "
            "variance stays.",
            started(lambda a, s: (a, 1 - a))),
        Mistake(
            "the latent's root forgotten",
            "You shrink the latent by alpha_bar. It is its root, so that the variance stays.",
            started(lambda a, s: (a, (1 - a).sqrt()))),
        Mistake(
            "the noise's root forgotten",
            "You give the noise the weight 1 - alpha_bar, its variance. The weight is the root of "
            "that.",
            started(lambda a, s: (a.sqrt(), 1 - a))),
        Mistake(
            "one less the root",
            "You give the noise the weight 1 - sqrt(alpha_bar). It is sqrt(1 - alpha_bar): the "
            "variances sum to 1, and not the weights.",
            started(lambda a, s: (a.sqrt(), 1 - a.sqrt()))),
        Mistake(
            "alpha_bar as its own root",
            "You take alpha_bar for the weight of the latent, and square it for the variance. It "
            "is the variance: take its root.",
            started(lambda a, s: (a, (1 - a ** 2).sqrt()))),
        Mistake(
            "the weights exchanged",
            "You give the noise the weight of the latent, and the other way round.",
            started(lambda a, s: ((1 - a).sqrt(), a.sqrt()))),
        Mistake(
            "the strength as the weight",
            "You mix with 1 - strength and strength. The strength says at which STEP to start; the "
            "weights are those of that step, in alpha_bar.",
            started(lambda a, s: (1 - s, s))),
        Mistake(
            "the root of the strength as the weight",
            "You mix with the roots of 1 - strength and strength. The weights are those of the "
            "step, in alpha_bar.",
            started(lambda a, s: ((1 - s) ** 0.5, s ** 0.5))),
        Mistake(
            "the latent not shrunk",
            "You add noise to the latent as it is. It is shrunk too, by the root of alpha_bar, so "
            "that the variance stays.",
            started(lambda a, s: (1.0, (1 - a).sqrt()))),
        Mistake(
            "the latent not shrunk, the noise enlarged",
            "You leave the latent as it is, and enlarge the noise in its place. The ratio is "
            "right, but the network expects the variance 1: shrink the latent.",
            started(lambda a, s: (1.0, ((1 - a) / a).sqrt()))),
        Mistake(
            "noise not scaled",
            "You shrink the latent and add the whole noise. Its weight is the root of "
            "1 - alpha_bar.",
            started(lambda a, s: (a.sqrt(), 1.0))),
        Mistake(
            "noise subtracted",
            "You subtract the noise. That would be as good a draw, but it is that of -eps.",
            started(lambda a, s: (a.sqrt(), -(1 - a).sqrt()))),
        Mistake(
            "the noise taken out",
            "You solve for the latent behind a noisy one. Here z is the clean latent, and the "
            "noisy one is asked.",
            lambda z, eps, alpha_bar, strength: (
                (z - (1 - (a := alpha_bar[(t := at_step(alpha_bar, strength))])).sqrt() * eps)
                / a.sqrt(), t)),
        Mistake(
            "the velocity",
            "That is the velocity of lesson 10, the noise less the latent. Asked for is the noisy "
            "latent.",
            started(lambda a, s: (-(1 - a).sqrt(), a.sqrt()))),
        Mistake(
            "the latent without noise",
            "You return the latent as it is. The network expects it as noisy as its step says.",
            started(lambda a, s: (1.0, 0.0))),
        Mistake(
            "shrunk, and without noise",
            "You shrink the latent and add nothing. The network expects it as noisy as its step "
            "says: add sqrt(1 - alpha_bar) eps.",
            started(lambda a, s: (a.sqrt(), 0.0))),
        Mistake(
            "noise alone",
            "You start from pure noise, whatever the strength: nothing of the picture is left.",
            started(lambda a, s: (0.0, 1.0))),
        Mistake(
            "the latent itself at strength 0",
            "At strength 0 you return the latent as it is. Step 0 has some noise already: mix as "
            "at every other step.",
            lambda z, eps, alpha_bar, strength: noisy_start(
                z, eps, alpha_bar, strength) if strength else (z.clone(), 0)),
        Mistake(
            "pure noise at strength 1",
            "At strength 1 you return the noise as it is. The last step has some of the latent "
            "left: mix as at every other step.",
            lambda z, eps, alpha_bar, strength: noisy_start(
                z, eps, alpha_bar, strength) if strength < 1 else (eps.clone(),
                                                                   len(alpha_bar) - 1)),
        Mistake(
            "the noisy latent clamped",
            "You clamp the noisy latent to [-1, 1]. It is no picture: its variance is 1, so a "
            "third of it lies outside.",
            lambda *given: ((start := noisy_start(*given))[0].clamp(-1, 1), start[1])),
        Mistake(
            "alpha_bar kept from its ends",
            "You keep alpha_bar between 0.01 and 0.99. At the ends of a real table it is nearer to "
            "1 and to 0, and nothing here divides by it.",
            of_table(lambda alpha_bar: alpha_bar.clamp(0.01, 0.99))),
        Mistake(
            "alpha of one step",
            "You mix with the ratio of alpha_bar to that of the step before: the noise of one "
            "step. From the clean latent it is alpha_bar, of all steps together.",
            of_table(lambda alpha_bar: torch.cat([alpha_bar[:1], alpha_bar[1:]
                                                  / alpha_bar[:-1]]))),
        Mistake(
            "alpha_bar multiplied up again",
            "You multiply the table up with cumprod. alpha_bar is that product already.",
            of_table(lambda alpha_bar: alpha_bar.cumprod(0))),
        Mistake(
            "the step whose alpha_bar is 1 - strength",
            "You look for the step at which 1 - strength of the variance is picture. The strength "
            "is a share of the STEPS: round(strength (T - 1)).",
            nearest_to_strength),
        Mistake(
            "a share of T in place of T - 1",
            "You take the share of T. The last step is T - 1, and strength 1 should be that one.",
            stepped(lambda T, s: round(s * T))),
        Mistake(
            "a share of T, beyond the table",
            "You take the share of T, and strength 1 lies behind the table. The last step is "
            "T - 1.",
            unguarded(lambda T, s: round(s * T))),
        Mistake(
            "a share of T, rounded down",
            "You take the share of T, rounded down. The last step is T - 1, and it is the nearest "
            "that is asked: round(strength (T - 1)).",
            stepped(lambda T, s: int(s * T))),
        Mistake(
            "a table of 1000 steps, whatever was given",
            "You take the share of 999. The table says how many steps there are: "
            "len(alpha_bar) - 1.",
            unguarded(lambda T, s: round(s * 999))),
        Mistake(
            "rounded down",
            "You round the step down. Asked for is the nearest one: round.",
            stepped(lambda T, s: int(s * (T - 1)))),
        Mistake(
            "rounded up",
            "You round the step up. Asked for is the nearest one: round.",
            stepped(lambda T, s: math.ceil(s * (T - 1)))),
        Mistake(
            "one step too far",
            "You start one step later. Strength 0 is step 0, and 1 is T - 1.",
            stepped(lambda T, s: round(s * (T - 1)) + 1)),
        Mistake(
            "one step too few",
            "You start one step earlier. Strength 0 is step 0, and 1 is T - 1.",
            stepped(lambda T, s: round(s * (T - 1)) - 1)),
        Mistake(
            "one step too few, and the last before the first",
            "You start one step earlier, and at strength 0 that is -1, the END of the table. "
            "Strength 0 is step 0, and 1 is T - 1.",
            unguarded(lambda T, s: round(s * (T - 1)) - 1)),
        Mistake(
            "the strength rounded first",
            "You round the strength, to 0 or to 1, and then take the share. Round the step.",
            stepped(lambda T, s: round(s) * (T - 1))),
        Mistake(
            "the step counted from 1",
            "Your noise is right, and the step you say is one too many: steps count from 0.",
            said(lambda step, alpha_bar, strength: step + 1)),
        Mistake(
            "the steps counted from the end",
            "Your noise is right, and you say how many steps lie behind. The network is asked with "
            "the step itself.",
            said(lambda step, alpha_bar, strength: len(alpha_bar) - 1 - step)),
        Mistake(
            "the strength said in place of the step",
            "Your noise is right, but you return the strength. The network is asked with the step.",
            said(lambda step, alpha_bar, strength: strength)),
        Mistake(
            "the step not rounded",
            "Your noise is right, but the step you say is not rounded. Return the whole number "
            "that you looked up.",
            said(lambda step, alpha_bar, strength: strength * (len(alpha_bar) - 1))),
        Mistake(
            "the step as a float",
            "All is right but the kind of the step: it is a float. int() makes a whole number of "
            "it.",
            said(lambda step, alpha_bar, strength: float(step))),
        Mistake(
            "alpha_bar said in place of the step",
            "Your noise is right, but you return alpha_bar there. The network is asked with the "
            "step.",
            said(lambda step, alpha_bar, strength: alpha_bar[step])),
        Mistake(
            "step and latent exchanged",
            "You return the step first. Asked for are the noisy latent, and then the step.",
            lambda *given: noisy_start(*given)[::-1]),
    ), "as noisy as the step that the strength says")


TEST = hunt(GUIDED, "added in place of replacing", "subtracted beside none",
    "the negative caption ignored", "none in the difference", "scale counted from 0",
    "turned round", "the difference alone", "scale on one answer only", "scale squared",
    "the answer clamped")
RESULT = Result(
    "latent.result", LESSON, {
        "clip": (ClipConfig, lambda config: Clip(config, ConvTower(32, config.embed))),
        "vae": (VaeConfig, Vae), "denoiser": (latent.LatentConfig, latent.Denoiser)},
    lambda words, models: partial(latent.caption_to_picture, latent.LatentRoad(words, **models)),
    chance=1 / 560, broken=0.0)                # broken: a denoiser that has learnt nothing
EXERCISES = (ENCODE, MULTIPLY_ADDS, WORD_MAPS, DROPPED, GUIDED, NOISY_START, RESULT, TEST)
