r"""The exercises of lesson 07: codes for pictures, and how a gradient gets past a choice.

in -> out   EXERCISES: kl_to_uniform, gumbel_softmax, straight_through, nearest, perplexity
idea        Each mistake is the right function with one line changed. Tables of different sizes
            and square ones, warm and cold, take turns, so that no mistake stays unseen.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import dvae
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.transformer import between, of_section

LESSON = "07_dvae"


# ---- sizes, of which each check sees all

def several(g: Generator) -> tuple[int, int, int]:
    """B < N < K, so that no two of them can be mixed up."""
    return between(2, 3, g), between(4, 5, g), between(6, 7, g)


def square(g: Generator) -> tuple[int, int, int]:
    return 3 * (between(3, 4, g),)


def places(g: Generator) -> tuple[int, int]:
    """A table without pictures: (N,K)."""
    return several(g)[1:]


def alone(g: Generator) -> tuple[int, int, int]:
    """One picture with one place, and two codes to choose from."""
    return 1, 1, 2


# ---- the KL to the uniform distribution

def kl_to_uniform(log_q: Tensor) -> Tensor:
    """log_q (B,N,K), logarithms of probabilities -> KL of each picture in nats (B,)."""
    return dvae.kl_to_uniform(log_q)


def kl_inputs(sizes, *sharpness: float):
    """Pictures take the sharpnesses in turns: 0 is uniform, at 200 most probabilities are 0."""
    def draw(g: Generator) -> tuple:
        B, N, K = sizes(g)
        scale = torch.tensor(sharpness).repeat(B)[:B, None, None]
        return ((scale * torch.randn(B, N, K, generator=g)).log_softmax(dim=-1),)
    return draw


def negative_entropy(log_q: Tensor) -> Tensor:
    return (log_q.exp() * log_q).sum(dim=(1, 2))


def weighted(log_q: Tensor, log_p: float, weights=Tensor.exp) -> Tensor:
    """Each share of the sum, (B,N,K), before it is added up: weights(ln q) (ln q - ln p)."""
    return weights(log_q) * (log_q - log_p)


def ln_K(log_q: Tensor) -> float:
    return math.log(log_q.shape[2])


def of_logits(gradient: Tensor, log_q: Tensor) -> Tensor:
    """The gradient that reaches the logits, behind a log_softmax. N ln K and sum q ln K are equal
    and their gradients are not; there they are."""
    return gradient - log_q.exp() * gradient.sum(dim=-1, keepdim=True)


KL = Exercise(
    "dvae.kl_to_uniform", LESSON, 2, kl_to_uniform,
    (kl_inputs(several, 2.0, 0.0, 8.0), kl_inputs(square, 1.0), kl_inputs(several, 200.0, 1.0),
     kl_inputs(lambda g: (1, between(4, 6, g), 2), 1.0), kl_inputs(alone, 2.0)),
    of_section(4,
        Mistake(
            "summed over the batch",
            "You add up over the whole batch and return one number. Each picture has a KL of its "
            "own: sum over the places and the codes, and keep the first dimension.",
            lambda log_q: kl_to_uniform(log_q).sum()),
        Mistake(
            "mean over the batch",
            "You average over the batch and return one number. Each picture has a KL of its own, "
            "(B,).",
            lambda log_q: kl_to_uniform(log_q).mean()),
        Mistake(
            "one number a place",
            "You return a KL for each place, (B,N). The places of a picture are chosen "
            "independently, so its KL is their sum.",
            lambda log_q: (log_q.exp() * log_q).sum(dim=2) + math.log(log_q.shape[2])),
        Mistake(
            "mean over the places",
            "You average over the places. They are chosen independently, so the KL of a picture "
            "is their sum.",
            lambda log_q: kl_to_uniform(log_q) / log_q.shape[1]),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: no KL is ever below 0.",
            lambda log_q: -kl_to_uniform(log_q)),
        Mistake(
            "the entropy with a plus",
            "You add the entropy to N ln K. The surer q is, the farther from uniform: take the "
            "entropy away, or add q ln q.",
            lambda log_q: log_q.shape[1] * math.log(log_q.shape[2]) - negative_entropy(log_q)),
        Mistake(
            "log K with a minus",
            "You take N ln K away. The logarithm of 1/K is -ln K, and it is subtracted: ln q + "
            "ln K.",
            lambda log_q: negative_entropy(log_q) - log_q.shape[1] * math.log(log_q.shape[2])),
        Mistake(
            "mean over everything",
            "You average over all places and codes. q already holds the weights of the mean: sum "
            "over codes and places, and keep the pictures apart.",
            lambda log_q: (log_q.exp() * (log_q + math.log(log_q.shape[2]))).mean()),
        Mistake(
            "mean over the codes and the places",
            "You average over the codes. q already holds the weights of that mean: sum over codes "
            "and places.",
            lambda log_q: (log_q.exp() * (log_q + math.log(log_q.shape[2]))).mean(dim=(1, 2))),
        Mistake(
            "the entropy itself",
            "This is the entropy of q: it is largest where q is uniform, and the KL is 0 there. "
            "Take it away from N ln K.",
            lambda log_q: -negative_entropy(log_q)),
        Mistake(
            "log K forgotten",
            "This is minus the entropy of q: the uniform distribution does not occur in it. Its "
            "logarithm is -ln K at each place, and a KL has ln q - ln p.",
            negative_entropy),
        Mistake(
            "log K once in place of N times",
            "You add ln K once for a picture. Each of its N places has its own uniform "
            "distribution.",
            lambda log_q: negative_entropy(log_q) + math.log(log_q.shape[2])),
        Mistake(
            "log K added to each code",
            "You add ln K for each of the K codes. It belongs to a place once: inside the bracket "
            "that q weights, q (ln q + ln K), or behind the sum over the codes.",
            lambda log_q: negative_entropy(log_q)
            + log_q[0].numel() * ln_K(log_q)),
        Mistake(
            "ln N in place of ln K",
            "You compare with a uniform choice among the N places. At each place there are K codes "
            "to choose from, the last dimension.",
            lambda log_q: weighted(log_q, -math.log(log_q.shape[1])).sum(dim=(1, 2))),
        *(Mistake(
            f"K fixed at {K}",
            f"You take {K} codes whatever comes. K is the length of the last dimension.",
            lambda log_q, K=K: weighted(log_q, -math.log(K)).sum(dim=(1, 2))) for K in (64, 2)),
        Mistake(
            "64 places whatever N is",
            "You take 64 places whatever comes. N is the length of the second dimension.",
            lambda log_q: negative_entropy(log_q) + 64 * ln_K(log_q)),
        Mistake(
            "1/K without its logarithm",
            "You take 1/K from ln q. A KL has the logarithms of both: ln q - ln(1/K).",
            lambda log_q: weighted(log_q, 1 / log_q.shape[2]).sum(dim=(1, 2))),
        Mistake(
            "K without its logarithm",
            "You add K. A KL has logarithms only: ln q + ln K.",
            lambda log_q: weighted(log_q, -log_q.shape[2]).sum(dim=(1, 2))),
        Mistake(
            "two kinds of logarithms",
            "You add log2 K to natural logarithms. Asked for are nats: ln K.",
            lambda log_q: weighted(log_q, -math.log2(log_q.shape[2])).sum(dim=(1, 2))),
        Mistake(
            "N and K exchanged",
            "You add K ln N. There are N places with K codes to choose from: which of the two is "
            "counted, and which stands in the logarithm?",
            lambda log_q: negative_entropy(log_q) + log_q.shape[2] * math.log(log_q.shape[1])),
        Mistake(
            "KL(uniform || q)",
            "You weight with the uniform distribution: that is the other KL, which is huge "
            "wherever q never takes a code. The weights are the probabilities q.",
            lambda log_q: -log_q.mean(dim=2).sum(dim=1)
            - log_q.shape[1] * math.log(log_q.shape[2])),
        Mistake(
            "bits",
            "These are bits. Asked for are nats: take natural logarithms, also of K.",
            lambda log_q: kl_to_uniform(log_q) / math.log(2)),
        Mistake(
            "q in place of log q",
            "You sum q * q. In a KL the probability q weights its LOGARITHM, and that is what you "
            "were given.",
            lambda log_q: log_q.exp().square().sum(dim=(1, 2))
            + log_q.shape[1] * math.log(log_q.shape[2])),
        Mistake(
            "log q as the weights",
            "You take log_q as it is for the weights. It holds logarithms: make probabilities of "
            "them first.",
            lambda log_q: log_q.square().sum(dim=(1, 2))
            + log_q.shape[1] * math.log(log_q.shape[2])),
        Mistake(
            "log q as the weights of the difference",
            "You weight the difference with log_q as it is. It holds logarithms: the weights are "
            "the probabilities, its exp.",
            lambda log_q: weighted(log_q, -ln_K(log_q), lambda x: x).sum(dim=(1, 2))),
        Mistake(
            "no weights",
            "You add up ln q + ln K without weights. Each code counts as often as it is chosen: "
            "with its probability q.",
            lambda log_q: weighted(log_q, -ln_K(log_q), torch.ones_like).sum(dim=(1, 2))),
        Mistake(
            "mean over the codes",
            "You average over the codes. q already holds the weights of that mean: sum over them.",
            lambda log_q: weighted(log_q, -ln_K(log_q)).mean(dim=2).sum(dim=1)),
        Mistake(
            "divided by the batch",
            "You divide by the number of pictures. The KL of a picture must not depend on how many "
            "others are measured with it.",
            lambda log_q: kl_to_uniform(log_q) / len(log_q)),
        Mistake(
            "what is below 0 left out",
            "You leave out what is below 0. A code less likely than 1/K takes something away, and "
            "the sum of all is the KL.",
            lambda log_q: weighted(log_q, -ln_K(log_q)).relu().sum(dim=(1, 2))),
        Mistake(
            "sizes without their sign",
            "You add up sizes. A code less likely than 1/K takes something away, and the sum of "
            "all is the KL.",
            lambda log_q: weighted(log_q, -ln_K(log_q)).abs().sum(dim=(1, 2))),
        Mistake(
            "the weights detached",
            "Your numbers are right, but you detach the weights q, and what is left has no slope: "
            "let the gradient pass through q too.",
            lambda log_q: weighted(log_q, -ln_K(log_q), lambda x: x.detach().exp()).sum(
                dim=(1, 2))),
        Mistake(
            "logarithm of a probability that is 0",
            "You make probabilities of log_q and take their logarithm again. e^-200 is 0 in "
            "float32, its logarithm is infinite, and 0 times infinite is NaN: use log_q itself.",
            lambda log_q: (log_q.exp() * log_q.exp().log()).sum(dim=(1, 2))
            + log_q.shape[1] * math.log(log_q.shape[2])),
    ), "in nats, summed over the places of each picture",
    tolerance=2e-5,            # sums of 30 logarithms, and loops round at each of them
    learns=True, felt=of_logits)


# ---- Gumbel-softmax

def gumbel_softmax(logits: Tensor, u: Tensor, tau: float) -> Tensor:
    """logits (...,K), u (...,K) uniform in (0,1), tau the temperature -> a soft draw (...,K).
    Nothing is learnt through the noise."""
    return ((logits + gumbel(u.detach())) / tau).softmax(dim=-1)


def gumbel(u: Tensor) -> Tensor:
    return -(-u.log()).log()


def uniform(shape, low: float, high: float, g: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g)


def gumbel_inputs(sizes, low: float, high: float):
    """A temperature between low and high; u stays where all ways of writing agree."""
    def draw(g: Generator) -> tuple:
        shape = sizes(g)
        tau = uniform((), low, high, g).item()
        return 2 * torch.randn(shape, generator=g), uniform(shape, 0.01, 0.99, g), tau
    return draw


def cold_inputs(g: Generator) -> tuple:
    """Logits of 6 and more at a temperature of 1/20: their exp would be infinite. Of the first row
    two lie far above the others and near each other."""
    logits, u, _ = gumbel_inputs(several, 1, 1)(g)
    logits[:, 0, 1] = 6 + logits[:, 0, 1].abs()
    logits[0, 0, :2], u[0, 0, :2] = torch.tensor([14.05, 14.0]), 0.5
    return logits, u, 0.05


def edge_inputs(g: Generator) -> tuple:
    """A table without pictures, with a number near 1 and one near 0 in u, which decide their row:
    cut off at 1/100000, or with as much added, the noise would be another."""
    logits, u, _ = gumbel_inputs(places, 1, 1)(g)
    logits[0], u[0] = 0, 0.5
    logits[0, :2], u[0, :2] = torch.tensor([-8.0, 8.5]), torch.tensor([1 - 2.0 ** -20, 2.0 ** -20])
    return logits, u, 1.0


def drawn_with(noise):
    """A draw with other noise: noise(u)."""
    return lambda logits, u, tau: ((logits + noise(u)) / tau).softmax(dim=-1)


def without_dim(x: Tensor) -> Tensor:
    """What F.softmax takes, for old times' sake, where no dim is given."""
    return x.softmax(dim=0 if x.ndim in (1, 3) else 1)


CUT_OFF = ("You keep u away from 0 and 1, or its logarithm from 0, and so you change the noise. u "
           "lies inside (0, 1); against a u that is rounded to 0, 1e-20 is enough.")


GUMBEL = Exercise(
    "dvae.gumbel_softmax", LESSON, 3, gumbel_softmax,
    (gumbel_inputs(several, 0.3, 0.8), gumbel_inputs(square, 2.3, 4.0), cold_inputs,
     edge_inputs, gumbel_inputs(alone, 0.4, 0.8)),
    of_section(3,
        Mistake(
            "noise subtracted",
            "Your noise has the wrong sign. Gumbel noise is -ln(-ln u), with a minus before EACH "
            "logarithm, and it is added.",
            lambda logits, u, tau: ((logits - gumbel(u)) / tau).softmax(dim=-1)),
        Mistake(
            "one logarithm only",
            "Your noise is -ln u, which is exponential noise. Gumbel noise takes the logarithm "
            "twice, with a minus before each.",
            lambda logits, u, tau: ((logits - u.log()) / tau).softmax(dim=-1)),
        Mistake(
            "one logarithm with a plus",
            "Your noise is ln u. Gumbel noise takes the logarithm twice, with a minus before each.",
            drawn_with(torch.log)),
        Mistake(
            "u itself added",
            "You add u as it is. Uniform noise does not make an honest draw: u must become Gumbel "
            "noise first, -ln(-ln u).",
            lambda logits, u, tau: ((logits + u) / tau).softmax(dim=-1)),
        Mistake(
            "no noise",
            "Your noise has no effect: u does not occur in your answer, or each row adds one "
            "number to all its codes, which a softmax takes out. Each code needs its own noise.",
            lambda logits, u, tau: (logits / tau).softmax(dim=-1)),
        Mistake(
            "the logits forgotten",
            "The logits do not occur in your answer: every code is drawn alike. Add the noise to "
            "them.",
            lambda logits, u, tau: (gumbel(u) / tau).softmax(dim=-1)),
        Mistake(
            "noise outside the softmax",
            "You add the noise to the shares, after the softmax. It is added to the logits, and "
            "the softmax comes last.",
            lambda logits, u, tau: (logits / tau).softmax(dim=-1) + gumbel(u)),
        *(Mistake(f"u clamped at {low:g}", CUT_OFF,
                  drawn_with(lambda u, low=low: gumbel(u.clamp(low, 1 - low))))
          for low in (1e-2, 1e-3, 1e-4, 1e-5)),
        *(Mistake(f"{eps:g} added to u", CUT_OFF,
                  drawn_with(lambda u, eps=eps: -(eps - (u + eps).log()).log()))
          for eps in (1e-3, 1e-4, 1e-5, 1e-6)),
        *(Mistake(
            f"noise clamped at {most}",
            f"You cut the noise off at {most}. Gumbel noise has no largest value, and a rare code "
            "needs large ones.",
            drawn_with(lambda u, most=most: gumbel(u).clamp(-most, most))) for most in (3, 5, 10)),
        Mistake(
            "temperature outside the softmax",
            "You divide by tau after the softmax, so your rows no longer sum to 1. The temperature "
            "belongs inside.",
            lambda logits, u, tau: (logits + gumbel(u)).softmax(dim=-1) / tau),
        Mistake(
            "temperature on the noise only",
            "You divide the noise alone by tau. The sum of logits and noise is divided: brackets "
            "round it.",
            lambda logits, u, tau: (logits + gumbel(u) / tau).softmax(dim=-1)),
        Mistake(
            "temperature on the logits only",
            "You divide the logits alone by tau, and so a cold draw would always be the likeliest "
            "code. The noise is divided as well.",
            lambda logits, u, tau: (logits / tau + gumbel(u)).softmax(dim=-1)),
        Mistake(
            "multiplied by the temperature",
            "You multiply by tau. The colder, the nearer to one-hot: a small tau must make the "
            "differences larger.",
            lambda logits, u, tau: ((logits + gumbel(u)) * tau).softmax(dim=-1)),
        Mistake(
            "temperature forgotten",
            "tau does not occur in your answer, so it stays equally soft all the time. Divide by "
            "it before the softmax.",
            lambda logits, u, tau: (logits + gumbel(u)).softmax(dim=-1)),
        Mistake(
            "divided by the square of the temperature",
            "You divide by tau twice. Once is enough, for logits and noise together.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau ** 2).softmax(dim=-1)),
        Mistake(
            "temperature fixed at 1/2",
            "You take 1/2 whatever tau is. Take the tau that is given.",
            lambda logits, u, tau: gumbel_softmax(logits, u, 0.5)),
        *(Mistake(
            f"temperature never below {least:g}",
            f"You keep tau at {least:g} or above. Take the tau that is given: it is meant to fall "
            "lower.",
            lambda logits, u, tau, least=least: gumbel_softmax(logits, u, max(tau, least)))
          for least in (0.1, 0.5)),
        Mistake(
            "a power without a new sum",
            "You raise the shares to the power 1 / tau, and they no longer sum to 1. Divide them "
            "by their sum, or divide by tau inside the softmax.",
            lambda logits, u, tau: (logits + gumbel(u)).softmax(dim=-1) ** (1 / tau)),
        Mistake(
            "not divided by the sum",
            "You take exp and do not divide by the sum of a row, so the shares do not sum to 1.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).exp()),
        Mistake(
            "softmax twice",
            "You take the softmax of a softmax, which is nearly even. Once is enough.",
            lambda logits, u, tau: gumbel_softmax(logits, u, tau).softmax(dim=-1)),
        Mistake(
            "softmax over the whole table",
            "Your softmax shares 1 out among all codes of all places. Each row of K codes sums to "
            "1: dim=-1.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).flatten().softmax(dim=0).view_as(
                logits)),
        Mistake(
            "F.softmax without a dim",
            "You give no dim, and F.softmax guesses one: the first of three dimensions, the second "
            "of two. The codes are the last: dim=-1.",
            lambda logits, u, tau: without_dim((logits + gumbel(u)) / tau)),
        Mistake(
            "softmax over the first dimension",
            "Your softmax shares 1 out among the pictures, dim=0. The codes compete with each "
            "other, and they are the last dimension.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).softmax(dim=0)),
        Mistake(
            "softmax over the places",
            "Your softmax shares 1 out among the places, dim=1. The codes compete with each "
            "other, and they are the last dimension, whatever stands before it.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).softmax(dim=1)),
        Mistake(
            "softmax over the last dimension but one",
            "Your softmax has dim=-2, which are the places. The codes compete with each other, and "
            "they are the last dimension.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).softmax(dim=-2)),
        Mistake(
            "noise of 1 - u",
            "You take -ln(-ln(1 - u)). That is an honest draw too, but of other noise than asked "
            "for: -ln(-ln u).",
            lambda logits, u, tau: ((logits + gumbel(1 - u)) / tau).softmax(dim=-1)),
        Mistake(
            "softmax of the logits first",
            "You make probabilities of the logits and add the noise to those. It is added to the "
            "logits themselves.",
            lambda logits, u, tau: ((logits.softmax(dim=-1) + gumbel(u)) / tau).softmax(dim=-1)),
        Mistake(
            "logarithm of a softmax",
            "Your answer is the logarithm of the draw: log_softmax. Asked for are the shares "
            "themselves, which sum to 1.",
            lambda logits, u, tau: ((logits + gumbel(u)) / tau).log_softmax(dim=-1)),
        Mistake(
            "made hard",
            "You return a hard draw, one-hot. A soft draw is asked for: the softmax, through which "
            "something can be learnt.",
            lambda logits, u, tau: one_hot(logits + gumbel(u))),
        Mistake(
            "exp overflows",
            "The formula is right, but at tau = 1/20 a logit of 6 becomes 120, and exp(120) is "
            "infinite in float32. softmax subtracts the largest of a row first.",
            lambda logits, u, tau: (e := ((logits + gumbel(u)) / tau).exp())
            / e.sum(dim=-1, keepdim=True)),
    ), "an honest draw, at warm and at cold temperatures",
    tolerance=5e-5, learns=True)    # what float32 loses of logits + noise, divided by 1/20


# ---- straight through

def straight_through(soft: Tensor) -> Tensor:
    """soft (...,K), rows sum to 1 -> one-hot of the largest, (...,K), with the gradient of soft."""
    return one_hot(soft) + soft - soft.detach()


def one_hot(soft: Tensor) -> Tensor:
    return F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)


def along(dim: int):
    """One-hot along another dimension."""
    return lambda soft: torch.zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)


def soft_inputs(sizes, *sharpness: float):
    """Rows take the sharpnesses in turns: at 0.3 no code has one half, at 20 one has nearly all.
    In the first row the two largest are nearly equal, the second one 1/1000 below."""
    def draw(g: Generator) -> tuple:
        shape = sizes(g)
        scale = torch.tensor(sharpness).repeat(shape[-2])[:shape[-2], None]
        logits = scale * torch.randn(shape, generator=g)
        row = logits.view(-1, shape[-1])[0]
        (top, _), (_, second) = row.topk(2)
        row[second] = top - 1e-3
        return (logits.softmax(dim=-1),)
    return draw


STRAIGHT = Exercise(
    "dvae.straight_through", LESSON, 2, straight_through,
    (soft_inputs(several, 0.3, 3.0), soft_inputs(square, 1.0), soft_inputs(several, 20.0, 0.3),
     soft_inputs(places, 0.3, 5.0), soft_inputs(alone, 2.0)),
    of_section(3,
        Mistake(
            "soft returned",
            "Your answer is the soft mixture as it came. Forward each row is one-hot: 1 at its "
            "largest number and 0 elsewhere.",
            lambda soft: soft),
        Mistake(
            "soft added and not taken away",
            "You add the soft mixture to the hard one, and your rows sum to 2. Take away the same "
            "numbers again, in a way that leaves the gradient: detach.",
            lambda soft: one_hot(soft) + soft),
        Mistake(
            "the number of the code",
            "You return which code is the largest. Asked for is a row with K places, with 1 at "
            "that code.",
            lambda soft: soft.argmax(dim=-1)),
        Mistake(
            "one-hot of whole numbers",
            "Your one-hot rows are right, but they are whole numbers, and those never have a "
            "gradient. Make them of the dtype of soft, then let its gradient pass.",
            lambda soft: F.one_hot(soft.argmax(dim=-1), soft.shape[-1])),
        Mistake(
            "rounded",
            "You round, or ask what is above 1/2. A row whose largest number is below 1/2 becomes "
            "all 0: put 1 at the largest, however small it is.",
            lambda soft: soft.round()),
        Mistake(
            "the largest keeps its share",
            "You set the others to 0 and leave the largest number as it was. One-hot means 1 "
            "there.",
            lambda soft: one_hot(soft) * soft),
        Mistake(
            "one for the whole table",
            "You compare with the largest number of the whole table, so that most rows have no 1 "
            "at all. Each row has a largest number of its own: dim=-1.",
            lambda soft: (soft == soft.max()).to(soft)),
        Mistake(
            "one-hot along the first dimension",
            "You put the 1 along dim=0: the pictures compete for each code. The codes compete, and "
            "they are the last dimension.",
            along(0)),
        Mistake(
            "one-hot along the places",
            "You put the 1 along dim=1: the places compete for each code. The codes compete, and "
            "they are the last dimension, whatever stands before it.",
            along(1)),
        Mistake(
            "one-hot along the last dimension but one",
            "You put the 1 along dim=-2: the places compete for each code. The codes compete, and "
            "they are the last dimension.",
            along(-2)),
        Mistake(
            "detach forgotten",
            "Your numbers are right, but what you take away from soft brings its gradient along, "
            "and the two cancel: nothing arrives. Detach the soft that is subtracted.",
            lambda soft: one_hot(soft) + (soft - soft)),
        Mistake(
            "the wrong one detached",
            "Your numbers are right, but the gradient is turned round: you detach the soft that is "
            "added. Detach the one that is subtracted.",
            lambda soft: one_hot(soft) + (soft.detach() - soft)),
        Mistake(
            "the winner's gradient only",
            "Your numbers are right, but the gradient reaches the largest number of a row alone: "
            "you multiply with the one-hot row. Add soft minus its detached self instead.",
            lambda soft: one_hot(soft) * (1 + soft - soft.detach())),
        Mistake(
            "the smallest",
            "You choose the smallest number of each row. The likeliest code is the largest.",
            lambda soft: one_hot(-soft)),
    ), "one-hot forward, and backward the gradient of the soft mixture", learns=True)


# ---- the nearest code

def nearest(z: Tensor, book: Tensor) -> Tensor:
    """z (n,D), book (K,D) -> for each row of z the number of the nearest row of book, (n,)."""
    return dvae.nearest(z, book)


def nearest_inputs(n: int, K: int, D: int, size: float = 1.0, away: float = 0.0):
    """Codes of unequal lengths, times size, all of them away from 0; no vector is halfway between
    two. Where there is room, some lie exactly on the first and the last code."""
    def draw(g: Generator) -> tuple:
        book = torch.randn(K, D, generator=g) * uniform((K, 1), 0.3, 3.0, g)
        z = 2 * torch.randn(9 * n + 30, D, generator=g)
        first, second = torch.cdist(z, book).topk(2, largest=False).values.unbind(dim=1)
        z = z[second > 1.05 * first + 0.01][:n]
        if n > K:
            z[:2] = book[[0, -1]]
        return size * (z + away), size * (book + away)
    return draw


def hard_vectors(g: Generator) -> tuple:
    """Of each pair of codes the second is nearer as the crow flies and the first by another power
    (along an axis or slanting), with other weights for the two entries, or after the spread is
    divided out. One pair is told apart by more digits than bf16 has; two vectors are 20 and 40
    away from their codes; and the last code, the others far away, is somebody's nearest."""
    far = 60 + torch.tensor([3.0, 60.0]) * torch.randn(33, 2, generator=g).clamp(-2.5, 2.5)
    pairs = torch.tensor([[0.74, 0.74], [1.0, 0.0], [-20.0, 1.0], [-20.67, 0.67],
                          [-7.955, -8.0], [-8.04, -8.0], [-9.0, 30.0], [-10.0, 30.9],
                          [-30.0, 61.0], [-29.1, 60.0], [-59.05, -60.95], [-61.0, -60.0],
                          [-80.0, 0.0], [-100.0, -160.0], [0.0, -30.0]])
    z = torch.tensor([[0.0, 0.0], [-20.0, 0.0], [-8.0, -8.0], [-10.0, 30.0], [-30.0, 60.0],
                      [-60.0, -60.0], [-100.0, 0.0], [-100.0, -200.0], [0.5, -30.0]])
    return z[torch.randperm(len(z), generator=g)], torch.cat([far, pairs])


def nearest_below(z: Tensor, book: Tensor, start: float) -> Tensor:
    """As a loop finds it whose best distance starts at a number: 0 where none is smaller."""
    best, at = differences(z, book).square().sum(dim=2).min(dim=1)
    return at * (best < start)


def nearest_by(distances):
    """The nearest by other distances (n,K): distances(z, book)."""
    return lambda z, book: distances(z, book).argmin(dim=1)


def squares(x: Tensor) -> Tensor:
    return x.square().sum(dim=-1)


def differences(z: Tensor, book: Tensor) -> Tensor:
    return z[:, None] - book                                                # (n, K, D)


NEAREST = Exercise(
    "dvae.nearest", LESSON, 1, nearest,
    (nearest_inputs(20, 6, 4), nearest_inputs(5, 13, 3, size=1000.0), nearest_inputs(5, 5, 5),
     nearest_inputs(1, 3, 1, size=0.001, away=5.0), hard_vectors),
    of_section(7,
        Mistake(
            "farthest",
            "You choose the code that is farthest away. The smallest distance wins.",
            lambda z, book: torch.cdist(z, book).argmax(dim=1)),
        Mistake(
            "the largest dot product",
            "You choose by the dot product, which a long code nearly always wins. Compare "
            "distances.",
            lambda z, book: (z @ book.mT).argmax(dim=1)),
        Mistake(
            "the smallest dot product",
            "You choose the smallest dot product, the vector that points away. Compare distances.",
            lambda z, book: (z @ book.mT).argmin(dim=1)),
        Mistake(
            "the nearest in angle",
            "You choose by the cosine, which does not see how long a vector is. Compare distances.",
            lambda z, book: F.cosine_similarity(z[:, None], book, dim=2).argmax(dim=1)),
        Mistake(
            "sizes summed in place of squares",
            "You add up the sizes of the differences, |a - b|, which is the way round the blocks. "
            "The distance as the crow flies has their squares.",
            lambda z, book: differences(z, book).abs().sum(dim=2).argmin(dim=1)),
        Mistake(
            "the largest entry of the difference",
            "You compare the largest difference of any entry. The distance as the crow flies has "
            "the sum of their squares.",
            nearest_by(lambda z, book: differences(z, book).abs().amax(dim=2))),
        Mistake(
            "squared after the sum",
            "You add up the differences and square, or take the size of, their sum: far above and "
            "far below make 0. Square each, then add.",
            nearest_by(lambda z, book: differences(z, book).sum(dim=2).square())),
        Mistake(
            "sums in place of differences",
            "You square the sums z + e. In |z|^2 - 2 z e + |e|^2, the square of the difference, "
            "the middle term is subtracted.",
            nearest_by(lambda z, book: squares(z[:, None] + book))),
        Mistake(
            "2 forgotten",
            "In |z|^2 - 2 z e + |e|^2 the dot product stands twice.",
            nearest_by(lambda z, book: squares(book) - z @ book.mT)),
        Mistake(
            "lengths compared",
            "You compare how long the vectors are. Two of one length can point in any direction: "
            "square the differences, then add.",
            nearest_by(lambda z, book: (z.norm(dim=1)[:, None] - book.norm(dim=1)).abs())),
        Mistake(
            "the last entry left out",
            "The last entry of the vectors does not count for you. All D do.",
            nearest_by(lambda z, book: torch.cdist(z[:, :-1], book[:, :-1]))),
        Mistake(
            "the first entry only",
            "You compare the first entries alone. All D count.",
            nearest_by(lambda z, book: torch.cdist(z[:, :1], book[:, :1]))),
        Mistake(
            "rounded first",
            "You round the vectors to whole numbers, and those that are near each other become "
            "one.",
            nearest_by(lambda z, book: squares(z.round()[:, None] - book.round()))),
        Mistake(
            "the last code left out",
            "You never choose the last code: range(K - 1) ends before it.",
            lambda z, book: nearest(z, book[:-1])),
        Mistake(
            "the first code left out",
            "You never choose the first code, number 0: range(1, K) begins behind it.",
            lambda z, book: nearest(z, book[1:]) + 1),
        Mistake(
            "exact hits skipped",
            "You skip distances of 0. A vector that lies on a code is nearest to that code.",
            nearest_by(lambda z, book: (d := squares(differences(z, book))).masked_fill(
                d == 0, torch.inf))),
        Mistake(
            "the second nearest",
            "You take the second nearest. No vector is compared with itself here: the smallest "
            "distance wins.",
            lambda z, book: torch.cdist(z, book).argsort(dim=1)[:, 1]),
        *(Mistake(
            f"a best distance that starts at {start}",
            f"Your best distance starts at {start}, and where all codes are farther away you keep "
            "number 0. Start at infinity.",
            lambda z, book, start=start: nearest_below(z, book, start))
          for start in (1, 100, 1000)),
        Mistake(
            "differences not squared",
            "You add up the differences with their signs, so that far above and far below make 0. "
            "Square them before the sum.",
            lambda z, book: differences(z, book).sum(dim=2).argmin(dim=1)),
        Mistake(
            "the nearest vector for each code",
            "You ask each code for its nearest vector, and have K answers. Each of the n vectors "
            "asks for its nearest code: along which dimension of the distances (n,K) is the "
            "smallest?",
            lambda z, book: torch.cdist(z, book).argmin(dim=0)),
        Mistake(
            "summed over the codes",
            "You sum the squared differences (n,K,D) over the codes. A distance is the sum over "
            "the D entries, the last dimension.",
            lambda z, book: differences(z, book).square().sum(dim=1).argmin(dim=1)),
        Mistake(
            "the vector in place of its number",
            "You return the nearest vector itself, (n,D). Asked for is its number in the book, "
            "(n,).",
            lambda z, book: book[nearest(z, book)]),
        Mistake(
            "the distance in place of the number",
            "You return how far away the nearest code is. Asked for is which one it is: argmin in "
            "place of min.",
            lambda z, book: torch.cdist(z, book).amin(dim=1)),
        Mistake(
            "counted from 1",
            "Your numbers are all one too large: the first code is number 0.",
            lambda z, book: nearest(z, book) + 1),
    ), "the number of the nearest code, as the crow flies")


# ---- perplexity

def perplexity(codes: Tensor, K: int) -> float:
    """codes of any shape, whole numbers 0..K-1 -> exp of the entropy of their shares."""
    return math.exp(entropy(codes, K))


def counts(codes: Tensor, K: int) -> Tensor:
    return codes.flatten().bincount(minlength=K).double()


def entropy(codes: Tensor, K: int) -> float:
    """In nats; a code that is never used adds 0."""
    return torch.special.entr(counts(codes, K) / codes.numel()).sum().item()


def uneven_codes(g: Generator) -> tuple:
    """Small numbers more often than large ones; the first and the last codes are never used."""
    K = between(11, 13, g)
    codes = uniform((between(3, 4, g), 9), 0, 1, g).square() * (K - 3)
    return 1 + codes.long(), K


def all_codes(g: Generator) -> tuple:
    """Each at least once, two of them hundreds of times: many rare ones are a choice as well. What
    stands in front is not like the rest."""
    K = between(26, 30, g)                                  # one of the two more than 255 times
    return torch.cat([torch.arange(K), torch.randint(2, (20 * K,), generator=g)]), K


def grids_of_codes(g: Generator) -> tuple:
    """As many grids as they are high and wide; code 0 and code K - 1 occur."""
    side = between(3, 4, g)
    codes = torch.randint(37, (side, side, side), generator=g)
    codes[0, 0, 0], codes[1, 2, 1] = 0, 36
    return codes, 37


def even_codes(g: Generator) -> tuple:
    """Each exactly twice: as many as there are."""
    K = between(7, 9, g)
    return torch.randperm(2 * K, generator=g).view(2, K) % K, K


def single_code(g: Generator) -> tuple:
    """One code, the last of 64: no choice at all."""
    return torch.tensor([63]), 64


def with_shares(codes: Tensor, K: int, whole: int) -> float:
    """The perplexity, if the counts are divided by another whole."""
    return torch.special.entr(counts(codes, K) / whole).sum().exp().item()


def of_shares(measure):
    """A measure of the shares (K,) in place of the perplexity."""
    return lambda codes, K: float(measure(counts(codes, K) / codes.numel(), K))


def exp_entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum().exp()


def of_counts(n: Tensor) -> float:
    return exp_entropy(n / n.sum()).item()


def row_by_row(codes: Tensor, K: int) -> float:
    rows = codes.reshape(-1, codes.shape[-1])
    return sum(perplexity(row, K) for row in rows) / len(rows)


PERPLEXITY = Exercise(
    "dvae.perplexity", LESSON, 2, perplexity,
    (uneven_codes, all_codes, grids_of_codes, even_codes, single_code),
    of_section(5,
        Mistake(
            "the entropy itself",
            "This is the entropy in nats. The perplexity is its exp: as many codes, used evenly, "
            "would be as much of a choice.",
            entropy),
        Mistake(
            "the entropy in bits",
            "This is the entropy in bits. The perplexity is 2 to that power.",
            lambda codes, K: entropy(codes, K) / math.log(2)),
        Mistake(
            "2 to the power of nats",
            "You raise 2 to the power of an entropy in nats. Two belongs to bits: take exp, or "
            "logarithms of base 2.",
            lambda codes, K: 2 ** entropy(codes, K)),
        Mistake(
            "10 to the power of nats",
            "You raise 10 to the power of an entropy in nats. Nats belong to exp.",
            lambda codes, K: 10 ** entropy(codes, K)),
        Mistake(
            "exp of bits",
            "You take exp of an entropy in bits. exp belongs to natural logarithms: take those, "
            "or raise 2 to that power.",
            lambda codes, K: math.exp(entropy(codes, K) / math.log(2))),
        Mistake(
            "sign turned",
            "Your answer is one divided by the perplexity: the minus of the entropy is missing. "
            "It is never below 1.",
            lambda codes, K: math.exp(-entropy(codes, K))),
        Mistake(
            "the number of codes in use",
            "You count how many codes occur. A code that occurs once in a thousand times adds "
            "little to the choice: weigh them by their shares.",
            lambda codes, K: float((counts(codes, K) > 0).sum())),
        Mistake(
            "the share of codes in use",
            "You return which share of the alphabet occurs. Weigh the codes by their shares: the "
            "exponential of the entropy.",
            of_shares(lambda p, K: (p > 0).double().mean())),
        Mistake(
            "K itself",
            "You return K whatever the codes are. It is the perplexity only where all are used "
            "equally often.",
            lambda codes, K: float(K)),
        Mistake(
            "K divided by it",
            "You return exp of the KL to the uniform distribution, K divided by the perplexity. "
            "Take exp of the entropy alone.",
            lambda codes, K: K / perplexity(codes, K)),
        Mistake(
            "NaN replaced after the sum",
            "You turn NaN into 0 after the sum, and one unused code takes all the others with it. "
            "Leave it out before.",
            of_shares(lambda p, K: (-p * p.log()).sum().nan_to_num().exp())),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} inside the logarithm, and every rare code is counted wrong. 1e-10 is "
            "enough against the logarithm of 0, and entr needs none.",
            of_shares(lambda p, K, eps=eps: (-p * (p + eps).log()).sum().exp()))
          for eps in (1e-2, 1e-3)),
        Mistake(
            "1 added to each count",
            "You count each code once more than it occurs, the unused ones too. They count as 0.",
            lambda codes, K: of_counts(counts(codes, K) + 1)),
        Mistake(
            "NaN for unused codes",
            "A code that never occurs has the share 0, and 0 * ln 0 is NaN on a computer. In an "
            "entropy it counts 0: leave such codes out before the logarithm.",
            lambda codes, K: (-(p := counts(codes, K) / codes.numel()) * p.log()).sum().exp().item()
        ),
        Mistake(
            "counts in place of shares",
            "You put counts into the entropy. Divide them by how many codes there are in all, so "
            "that the shares sum to 1.",
            lambda codes, K: with_shares(codes, K, 1)),
        Mistake(
            "divided by K",
            "You divide the counts by K. Shares sum to 1: divide by how many codes were written.",
            lambda codes, K: with_shares(codes, K, K)),
        Mistake(
            "divided by the number of rows",
            "You divide by len(codes), which is the number of rows. Shares sum to 1: divide by how "
            "many codes there are in all, numel().",
            lambda codes, K: with_shares(codes, K, len(codes))),
        Mistake(
            "divided by the length of a row",
            "You divide by the length of a row. Shares sum to 1: divide by how many codes there "
            "are in all, numel().",
            lambda codes, K: with_shares(codes, K, codes.shape[-1])),
        Mistake(
            "row by row",
            "You take the perplexity of each row, and their mean. Count all codes together, in "
            "whatever shape they come: flatten.",
            row_by_row),
        Mistake(
            "code 0 left out of the sum",
            "Code 0 is left out of your sum. It is a code as any other.",
            of_shares(lambda p, K: exp_entropy(p[1:]))),
        Mistake(
            "code 0 not counted",
            "You do not count code 0. It is a code as any other.",
            lambda codes, K: of_counts(counts(codes, K)[1:]) if codes.any() else 1.0),
        Mistake(
            "the last code left out",
            "The last code, K - 1, is left out: range(K - 1) ends before it.",
            of_shares(lambda p, K: exp_entropy(p[:-1]))),
        Mistake(
            "softmax of the counts",
            "You make shares of the counts by a softmax. Shares are counts divided by their sum.",
            lambda codes, K: exp_entropy(counts(codes, K).softmax(dim=0)).item()),
        Mistake(
            "counted in 8 bits",
            "You count in uint8, where 256 is 0 again. Leave the counts in int64.",
            lambda codes, K: of_counts(counts(codes, K) % 256)),
        Mistake(
            "rounded",
            "You round. Between two whole numbers there are perplexities too.",
            lambda codes, K: float(round(perplexity(codes, K)))),
        Mistake(
            "rounded to two places",
            "You round to two places. Leave that to whoever prints it.",
            lambda codes, K: round(perplexity(codes, K), 2)),
        Mistake(
            "one over the largest share",
            "You return one over the largest share. That is another measure of variety: a "
            "perplexity comes from the entropy.",
            of_shares(lambda p, K: 1 / p.max())),
        Mistake(
            "one over the sum of squares",
            "You return one over the sum of the squared shares. That is another measure of "
            "variety: a perplexity comes from the entropy.",
            lambda codes, K: 1 / (counts(codes, K) / codes.numel()).square().sum().item()),
        Mistake(
            "mean over the codes",
            "You average -p ln p over the K codes. An entropy is their sum.",
            lambda codes, K: math.exp(entropy(codes, K) / K)),
        Mistake(
            "as a share of K",
            "You divide by K at the end. Asked for is the perplexity itself, between 1 and K.",
            lambda codes, K: perplexity(codes, K) / K),
    ), "between 1 and K, and an unused code counts 0")


TEST = hunt(KL, "summed over the batch", "one number a place", "sign turned", "the entropy itself",
    "log K once in place of N times", "ln N in place of ln K", "KL(uniform || q)", "bits",
    "mean over the codes", "logarithm of a probability that is 0")
EXERCISES = (KL, GUMBEL, STRAIGHT, NEAREST, PERPLEXITY, TEST)
