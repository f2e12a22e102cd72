r"""The exercises of lesson 14: into the latent, among the words, and away from what is not wanted.

in -> out   EXERCISES: encode, multiply_adds, word_maps, dropped, guided, noisy_start
idea        A picture from a wrong weight is still a picture, so what is asked for here is compared
            as numbers: captions of every length, strengths at both ends and between, scales far
            from one.
"""
import math

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake
from minidalle.course.checks.transformer import between
from minidalle.diffusion import mix
from minidalle.latent import no_words

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


ENCODE = Exercise(
    "latent.encode", LESSON, 1, encode,
    (clouds(lambda g: (between(2, 3, g), 4, 3, 3), lambda r: 0.2 + 0.3 * r),
     clouds(lambda g: (1, between(2, 4, g), 2, 5), lambda r: 2 + 2 * r),
     clouds(lambda g: (4, 4, 4, 4), lambda r: 0.1 + 0.1 * r),
     clouds(lambda g: (between(2, 5, g), 1, 6, 2), lambda r: 5 + 5 * r),
     clouds(lambda g: (2, 3, 4, 3), lambda r: 0.3 + 0.3 * r)), (
        Mistake(
            "noise not scaled",
            "You scale the middle of the cloud and then add its noise as it is. The scale belongs "
            "to the whole draw (section 1).",
            lambda mean, log_variance, eps, scale: scale * mean + (log_variance / 2).exp() * eps),
        Mistake(
            "mean not scaled",
            "You scale the noise of the cloud, and not its middle. The scale belongs to the whole "
            "draw (section 1).",
            lambda mean, log_variance, eps, scale: mean + scale * (log_variance / 2).exp() * eps),
        Mistake(
            "not scaled",
            "Your draw is right, but the latents are still as wide as the VAE has made them: "
            "multiply by the scale.",
            lambda mean, log_variance, eps, scale: encode(mean, log_variance, eps, 1.0)),
        Mistake(
            "divided by the scale",
            "You divide by the scale. It is 1 / the standard deviation already: multiply, and "
            "divide only on the way back (section 1).",
            lambda mean, log_variance, eps, scale: encode(mean, log_variance, eps, 1 / scale)),
        Mistake(
            "the scale squared",
            "You multiply by the scale twice. Once makes the variance 1.",
            lambda mean, log_variance, eps, scale: encode(mean, log_variance, eps, scale ** 2)),
        Mistake(
            "log-variance as the standard deviation",
            "You multiply the noise by the log-variance itself. Its exponential is the variance, "
            "and the root of that is the standard deviation.",
            lambda mean, log_variance, eps, scale: scale * (mean + log_variance * eps)),
        Mistake(
            "variance as the standard deviation",
            "You multiply the noise by the variance, exp(log_variance). The standard deviation is "
            "its root: take half of the logarithm.",
            lambda mean, log_variance, eps, scale: encode(mean, 2 * log_variance, eps, scale)),
        Mistake(
            "the half outside of the exponential",
            "You take half of the variance. The root of it is exp of HALF the logarithm: the half "
            "stands inside.",
            lambda mean, log_variance, eps, scale: scale * (mean + log_variance.exp() / 2 * eps)),
        Mistake(
            "the variance squared",
            "You double the logarithm, and that squares the variance. The root needs half of it.",
            lambda mean, log_variance, eps, scale: encode(mean, 4 * log_variance, eps, scale)),
        Mistake(
            "one over the standard deviation",
            "Your noise is large where the cloud is narrow: a sign is turned in the exponential.",
            lambda mean, log_variance, eps, scale: encode(mean, -log_variance, eps, scale)),
        Mistake(
            "the middle of the cloud",
            "You return the middle of the cloud, scaled. Asked for is a draw of it: eps is missing "
            "(section 1).",
            lambda mean, log_variance, eps, scale: scale * mean),
        Mistake(
            "the noise alone",
            "You return how far the draw lies from the middle. Add the mean (section 1).",
            lambda mean, log_variance, eps, scale: scale * (log_variance / 2).exp() * eps),
        Mistake(
            "noise taken away",
            "You subtract the noise. That would be as good a draw, but it is that of -eps.",
            lambda mean, log_variance, eps, scale: encode(mean, log_variance, -eps, scale)),
    ), "a draw of the cloud, middle and noise scaled")


# ---- what a convolution costs

def multiply_adds(c_in: int, c_out: int, kernel: int, height: int, width: int) -> int:
    """Of a convolution with kernel x kernel weights from c_in to c_out channels, that keeps the
    size height x width (stride 1, padded), for one picture; its bias is left out."""
    return c_in * c_out * kernel ** 2 * height * width


def sizes(kernel):
    """Draws of sizes of which no two are equal."""
    def draw(g):
        c_in, c_out, height, width = (torch.randperm(20, generator=g)[:4] + 6).tolist()
        return c_in, c_out, kernel, height, width
    return draw


MULTIPLY_ADDS = Exercise(
    "latent.multiply_adds", LESSON, 1, multiply_adds,
    (sizes(3), sizes(5), sizes(1), sizes(4), sizes(3)), (
        Mistake(
            "kernel not squared",
            "You count one row of the kernel. It has kernel x kernel weights for each pair of "
            "channels.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel * height * width),
        Mistake(
            "input channels forgotten",
            "You count one channel of the input. Each output looks at ALL of them.",
            lambda c_in, c_out, kernel, height, width: c_out * kernel ** 2 * height * width),
        Mistake(
            "output channels forgotten",
            "You count one channel of the output. Each of the c_out has weights of its own.",
            lambda c_in, c_out, kernel, height, width: c_in * kernel ** 2 * height * width),
        Mistake(
            "channels added",
            "You add the numbers of channels. Every input channel meets every output channel: "
            "multiply.",
            lambda c_in, c_out, kernel, height, width: (c_in + c_out) * kernel ** 2
                * height * width),
        Mistake(
            "the weights alone",
            "That is the number of weights. Each of them is used once at every place of the "
            "picture (section 2).",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2),
        Mistake(
            "the kernel forgotten",
            "You count a kernel of one weight. Each output looks at kernel x kernel places.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * height * width),
        Mistake(
            "height squared",
            "You take the picture for a square of its height. It has height x width places.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2 * height ** 2),
        Mistake(
            "width squared",
            "You take the picture for a square of its width. It has height x width places.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2 * width ** 2),
        Mistake(
            "height and width added",
            "You add height and width. The places of the picture are height x width.",
            lambda c_in, c_out, kernel, height, width: c_in * c_out * kernel ** 2
                * (height + width)),
        Mistake(
            "multiplications and additions counted apart",
            "You count twice as many: a multiplication and the addition that follows it are ONE "
            "multiply-add (section 2).",
            lambda *sizes: 2 * multiply_adds(*sizes)),
        Mistake(
            "without padding",
            "You leave out the places at the edge. The picture is padded, so that its size stays: "
            "every place counts.",
            lambda c_in, c_out, kernel, height, width: multiply_adds(
                c_in, c_out, kernel, height - kernel + 1, width - kernel + 1)),
        Mistake(
            "the bias counted too",
            "You count the bias as well. That is an addition without a multiplication, and is left "
            "out here.",
            lambda c_in, c_out, kernel, height, width: c_out * height * width
                * (c_in * kernel ** 2 + 1)),
    ), "each weight once a place")


# ---- which word a place looks at

def word_maps(q: Tensor, k: Tensor, heard: Tensor) -> Tensor:
    """Queries of N places q (B,N,d), keys of T words k (B,T,d), heard (B,T) bool -> (B,N,T): how
    much each place takes from each word; 1 in all, and nothing from a word that is not heard."""
    return spread(q, k, heard).softmax(dim=2)


def spread(q: Tensor, k: Tensor, heard: Tensor, scale: float | None = None) -> Tensor:
    """Scores, -inf where nothing is heard."""
    scores = q @ k.mT * (scale or 1 / math.sqrt(q.shape[-1]))
    return scores.masked_fill(~heard[:, None], -math.inf)


def captioned(size):
    """Draws of places and words, size(g) -> B, N, T: the first caption fills its table, if there
    are several, the others end before. d is no number whose root is that of another size."""
    def draw(g):
        (B, N, T), d = size(g), between(9, 11, g)
        q, k = torch.randn(B, N, d, generator=g), torch.randn(B, T, d, generator=g)
        length = torch.randint(2, T, (B, 1), generator=g)
        if B > 1:
            length[0] = T
        return 1.5 * q, 1.5 * k, torch.arange(T) < length
    return draw


def renormalised_without_exp(scores: Tensor, heard: Tensor) -> Tensor:
    weights = scores.sigmoid() * heard[:, None]
    return weights / weights.sum(dim=2, keepdim=True)


WORD_MAPS = Exercise(
    "latent.word_maps", LESSON, 3, word_maps,
    (captioned(lambda g: (between(2, 3, g), between(3, 4, g), between(5, 7, g))),
     captioned(lambda g: (2, 6, 6)),
     captioned(lambda g: (1, between(7, 8, g), 5)),
     captioned(lambda g: (between(3, 4, g), 1, 4)),
     captioned(lambda g: (3, 4, 3))), (
        Mistake(
            "normalised over the places",
            "Your maps sum to 1 over the places: each word shares itself out. It is each PLACE "
            "that takes 1 in all, of the words: look at the dim of the softmax.",
            lambda q, k, heard: spread(q, k, heard).softmax(dim=1)),
        Mistake(
            "normalised over places and words together",
            "All numbers of a picture sum to 1 together. Each place takes 1 in all.",
            lambda q, k, heard: spread(q, k, heard).flatten(1).softmax(dim=1).view(
                len(q), q.shape[1], -1)),
        Mistake(
            "not divided by the root of d",
            "Your scores are as large as the sum of d products makes them. Divide by the root of d "
            "(section 4).",
            lambda q, k, heard: spread(q, k, heard, 1.0).softmax(dim=2)),
        Mistake(
            "divided by d",
            "You divide the scores by d. It is its root.",
            lambda q, k, heard: spread(q, k, heard, 1 / q.shape[-1]).softmax(dim=2)),
        Mistake(
            "divided by the root of the number of words",
            "You divide by the root of T. What grows is the sum of d products: the root of d.",
            lambda q, k, heard: spread(q, k, heard, k.shape[1] ** -0.5).softmax(dim=2)),
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
            lambda q, k, heard: word_maps(q, k, torch.ones_like(heard)) * heard[:, None]),
        Mistake(
            "masked with 0 before the softmax",
            "You give the padding the score 0, and exp(0) is 1: it still takes its share. The "
            "score of nothing is -inf.",
            lambda q, k, heard: (spread(q, k, torch.ones_like(heard)) * heard[:, None]).softmax(
                dim=2)),
        Mistake(
            "scores in place of shares",
            "You return the scores. The softmax over the words makes shares of them (section 4).",
            spread),
        Mistake(
            "sigmoid in place of softmax",
            "Each of your words is weighed by itself, by a sigmoid. Words compete for a place: "
            "softmax.",
            lambda q, k, heard: torch.sigmoid(spread(q, k, heard))),
        Mistake(
            "sigmoids brought to the sum 1",
            "You take sigmoids and bring them to the sum 1. The softmax takes exponentials.",
            lambda q, k, heard: renormalised_without_exp(
                spread(q, k, torch.ones_like(heard)), heard)),
        Mistake(
            "words and places exchanged",
            "Your maps are (B,T,N): a row for each word. Asked for is a row for each place.",
            lambda q, k, heard: word_maps(q, k, heard).mT),
        Mistake(
            "the first caption's mask for all",
            "You use the mask of the first caption for the whole batch. Each has its own length.",
            lambda q, k, heard: word_maps(q, k, heard[:1].expand_as(heard))),
        Mistake(
            "cosines",
            "You bring queries and keys to length one. Attention takes their products as they are, "
            "divided by the root of d (section 4).",
            lambda q, k, heard: spread(torch.nn.functional.normalize(q, dim=2),
                                       torch.nn.functional.normalize(k, dim=2), heard, 1.0).softmax(
                                           dim=2)),
        Mistake(
            "the loudest word alone",
            "You give all to the word with the largest score. Softmax gives each a share.",
            lambda q, k, heard: torch.nn.functional.one_hot(
                spread(q, k, heard).argmax(dim=2), k.shape[1]).float()),
    ), "shares over the heard words, place by place")


# ---- a caption that is dropped

def dropped(heard: Tensor, keep: Tensor) -> Tensor:
    """heard (B,T) bool, the first of each row True; keep (B,) bool -> (B,T): as it was where keep
    is True, elsewhere the start token alone."""
    none = no_words((heard, heard))[1]
    return torch.where(keep[:, None], heard, none)


def first(heard: Tensor) -> Tensor:
    return (torch.arange(heard.shape[1]) == 0).expand_as(heard)


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


def last(heard: Tensor) -> Tensor:
    return torch.arange(heard.shape[1]) == heard.sum(dim=1, keepdim=True) - 1


DROPPED = Exercise(
    "latent.dropped", LESSON, 2, dropped,
    (lengths(lambda g: (between(4, 6, g), between(8, 9, g)), True, False),
     lengths(lambda g: (2, 6), False, True),
     lengths(lambda g: (between(2, 3, g), 6), True, True),
     lengths(lambda g: (1, between(5, 7, g)), False, False),
     lengths(lambda g: (5, 5), False, True)), (
        Mistake(
            "nothing at all is heard",
            "Of a dropped caption nothing is heard, not even its start: attention has nothing to "
            "choose from, 0 / 0. Leave the start token.",
            lambda heard, keep: heard & keep[:, None]),
        Mistake(
            "kept and dropped exchanged",
            "You drop the captions that are to be kept. keep is True where all is heard.",
            lambda heard, keep: dropped(heard, ~keep)),
        Mistake(
            "the end left in place of the start",
            "Of a dropped caption you leave the END. That has seen all words, and so it says them "
            "all: leave the start, which has seen none.",
            lambda heard, keep: torch.where(keep[:, None], heard, last(heard))),
        Mistake(
            "start and end left",
            "Of a dropped caption you leave start and end. The end has seen all words, and says "
            "them: leave the start alone.",
            lambda heard, keep: torch.where(keep[:, None], heard, first(heard) | last(heard))),
        Mistake(
            "the words left, the start dropped",
            "Of a dropped caption you hear everything BUT its start. Turn the inner mask round.",
            lambda heard, keep: torch.where(keep[:, None], heard, heard & ~first(heard))),
        Mistake(
            "all or none of the batch",
            "You drop all captions as soon as one is to be dropped. Each has its own keep: give it "
            "a dimension with keep[:, None].",
            lambda heard, keep: dropped(heard, keep.all().expand_as(keep))),
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
            "padding of kept captions heard",
            "In kept captions you hear the padding too. They should be as they were.",
            lambda heard, keep: keep[:, None] | first(heard)),
        Mistake(
            "the start of kept captions lost",
            "In kept captions you have lost the start token. They should be as they were.",
            lambda heard, keep: torch.where(keep[:, None], heard & ~first(heard), first(heard))),
        Mistake(
            "two tokens left",
            "Of a dropped caption you leave two tokens, and the second says its first word. Leave "
            "one.",
            lambda heard, keep: torch.where(keep[:, None], heard,
                                            torch.arange(heard.shape[1]) < 2)),
        Mistake(
            "numbers in place of bool",
            "The places are right, and your answer holds 0 and 1 as numbers. A mask is bool.",
            lambda heard, keep: dropped(heard, keep).float()),
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


GUIDED = Exercise(
    "latent.guided", LESSON, 2, guided,
    (answers(lambda g: (between(2, 3, g), 4, 2, 2), lambda r: 2 + 2 * r),
     answers(lambda g: (1, 2, 3, 3), lambda r: 1.0),
     answers(lambda g: (3, between(2, 4, g), 2, 1), lambda r: 0.0),
     answers(lambda g: (2, 4, 1, 3), lambda r: 5 + 5 * r),
     answers(lambda g: (between(2, 4, g), 1, 2, 2), lambda r: 0.3 + 0.4 * r)), (
        Mistake(
            "added in place of replacing",
            "You push towards the caption from no caption, and ADD a push from the negative one. "
            "The negative answer takes the place of none: two answers are enough (section 6).",
            lambda yes, none, no, scale: none + scale * (yes - none) + scale * (no - none)),
        Mistake(
            "subtracted beside none",
            "You start from the answer for no caption, and push towards the one caption and away "
            "from the other. That is a form of its own; here the negative answer takes the PLACE "
            "of none (section 6).",
            lambda yes, none, no, scale: none + scale * (yes - no)),
        Mistake(
            "the negative caption ignored",
            "That is guidance without a negative caption. Its answer takes the place of none.",
            lambda yes, none, no, scale: none + scale * (yes - none)),
        Mistake(
            "none in the difference",
            "You start from the negative answer, but take the difference to that for no caption. "
            "Both places are the negative one's (section 6).",
            lambda yes, none, no, scale: no + scale * (yes - none)),
        Mistake(
            "scale counted from 0",
            "You start from the caption's answer, and go scale times further. Here 1 is as learnt: "
            "start from the negative one.",
            lambda yes, none, no, scale: yes + scale * (yes - no)),
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
            "counts (section 6).",
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
    """A table that falls from nearly 1 to nearly 0, never twice the same."""
    steps = 0.2 + torch.rand(T + 1, generator=g)
    return 1 - steps.cumsum(0)[:-1] / steps.sum() * 0.999


def latents(size, strength, off: float = 0.0):
    """Draws of latents, size(g) -> B, C, h, w, and of a table of some 40 steps; strength(random
    number) lies `off` a step, to be rounded away."""
    def draw(g):
        T, (z, eps) = between(35, 45, g), torch.randn(2, *size(g), generator=g)
        step = round(strength(torch.rand((), generator=g).item()) * (T - 1))
        return 2 * z, eps, falling(g, T), (step + off) / (T - 1)
    return draw


def started(weights):
    """At the right step, with weights(alpha_bar there, strength) of latent and noise."""
    def start(z, eps, alpha_bar, strength):
        step = at_step(alpha_bar, strength)
        of_z, of_eps = weights(alpha_bar[step], strength)
        return of_z * z + of_eps * eps, step
    return start


def stepped(step):
    """Noised as of the right step or of step(T, strength), which is also what is said."""
    def start(z, eps, alpha_bar, strength):
        at = min(max(step(len(alpha_bar), strength), 0), len(alpha_bar) - 1)
        return mix(z, eps, alpha_bar[at]), at
    return start


NOISY_START = Exercise(
    "latent.noisy_start", LESSON, 2, noisy_start,
    (latents(lambda g: (between(2, 3, g), 4, 2, 2), lambda r: 0.65 + 0.2 * r, 0.35),
     latents(lambda g: (1, 2, 3, 3), lambda r: 0.15 + 0.2 * r, -0.35),
     latents(lambda g: (2, 4, 2, 1), lambda r: 0.0),
     latents(lambda g: (2, 1, 2, 4), lambda r: 1.0),
     latents(lambda g: (between(2, 4, g), 3, 2, 2), lambda r: 0.75 + 0.15 * r, -0.2),
     latents(lambda g: (3, 2, 2, 2), lambda r: 0.1 + 0.3 * r, 0.2)), (
        Mistake(
            "strength counted from the wrong end",
            "Your strength 1 gives the picture back, and 0 forgets it. Steps count from 0, hardly "
            "any noise, to T - 1: the share is the strength, not 1 - strength.",
            stepped(lambda T, s: round((1 - s) * (T - 1)))),
        Mistake(
            "the roots forgotten",
            "You mix with alpha_bar and 1 - alpha_bar. The weights are their roots, so that the "
            "variance stays (section 7).",
            started(lambda a, s: (a, 1 - a))),
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
            "noise not scaled",
            "You shrink the latent and add the whole noise. Its weight is the root of "
            "1 - alpha_bar.",
            started(lambda a, s: (a.sqrt(), 1.0))),
        Mistake(
            "the latent without noise",
            "You return the latent as it is. The network expects it as noisy as its step says.",
            started(lambda a, s: (1.0, 0.0))),
        Mistake(
            "noise alone",
            "You start from pure noise, whatever the strength: nothing of the picture is left.",
            started(lambda a, s: (0.0, 1.0))),
        Mistake(
            "a share of T in place of T - 1",
            "You take the share of T. The last step is T - 1, and strength 1 should be that one.",
            stepped(lambda T, s: round(s * T))),
        Mistake(
            "rounded down",
            "You round the step down. Asked for is the nearest one: round.",
            stepped(lambda T, s: int(s * (T - 1)))),
        Mistake(
            "rounded up",
            "You round the step up. Asked for is the nearest one: round.",
            stepped(lambda T, s: math.ceil(s * (T - 1)))),
        Mistake(
            "the step counted from 1",
            "Your noise is right, and the step you say is one too many: steps count from 0.",
            lambda *given: (noisy_start(*given)[0], noisy_start(*given)[1] + 1)),
        Mistake(
            "the strength said in place of the step",
            "Your noise is right, but you return the strength. The network is asked with the step.",
            lambda z, eps, alpha_bar, strength: (noisy_start(z, eps, alpha_bar, strength)[0],
                                                 strength)),
    ), "as noisy as the step that the strength says")


EXERCISES = (ENCODE, MULTIPLY_ADDS, WORD_MAPS, DROPPED, GUIDED, NOISY_START)
