r"""The exercises of lesson 06: a cloud in place of a point.

in -> out   EXERCISES: evidence, kl, reparameterise, score_function, loss, latent_scale
idea        A VAE is a handful of Gaussian formulas, each with a place where standard deviation,
            variance and its logarithm may be mixed up, and a sum that may run over too much or too
            little. Inputs of different sizes take turns with clouds so narrow that their variance
            is 0 in float32, clouds that are the prior itself, and single numbers; one weight lies
            far above the others, and latents lie far from 0 or close together.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import vae
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.dvae import uniform
from minidalle.course.checks.transformer import between, of_section

LESSON = "06_vae"


# ---- sizes, of which each check sees all

def grids(g: Generator) -> tuple[int, ...]:
    """B, C, h, w, no two alike."""
    return between(2, 3, g), between(4, 5, g), between(6, 7, g), between(8, 9, g)


def cubes(g: Generator) -> tuple[int, ...]:
    return 4 * (between(2, 3, g),)


def vectors(g: Generator) -> tuple[int, ...]:
    """(B, D): a latent need not be a grid."""
    return between(3, 4, g), between(5, 7, g)


def single(g: Generator) -> tuple[int, ...]:
    return 1, 1


def cloud_inputs(sizes, low: float, high: float):
    """mean, log-variance between low and high."""
    def draw(g: Generator) -> tuple:
        shape = sizes(g)
        return 1.5 * torch.randn(shape, generator=g), uniform(shape, low, high, g)
    return draw


def narrow_inputs(g: Generator) -> tuple:
    """Log-variances of -200 beside usual ones: e^-200 is 0 in float32, and -200 is not infinite.
    Two more: what is added to 1e-6 or 1e-8 is another number than what is kept above it."""
    mean, log_variance = cloud_inputs(grids, -2, 2)(g)
    log_variance[:, 0], log_variance[:, 1], log_variance[:, 2] = -200, -14, -18
    return mean, log_variance


def prior_inputs(g: Generator) -> tuple:
    """The first picture's cloud is the prior, those of the others are not."""
    mean, log_variance = cloud_inputs(vectors, -3, 4)(g)
    mean[0], log_variance[0] = 0, 0
    return mean, log_variance


# ---- the evidence

def evidence(log_joint: Tensor, log_q: Tensor) -> Tensor:
    """log_joint, log_q (B,S), of S draws for each picture -> estimates of ln p(x) (B,)."""
    weights = log_joint - log_q                            # their logarithms, (B,S)
    return weights.logsumexp(dim=1) - math.log(weights.shape[1])


def draws_inputs(sizes, *levels: float):
    """Pictures take the levels in turns: how probable they are, as logarithms."""
    def draw(g: Generator) -> tuple:
        B, S = sizes(g)
        level = torch.tensor(levels).repeat(B)[:B, None]
        return (level + 2 * torch.randn(B, S, generator=g), 2 * torch.randn(B, S, generator=g) - 3)
    return draw


def few_pictures(g: Generator) -> tuple[int, int]:
    return between(2, 3, g), between(5, 7, g)


def as_many_draws(g: Generator) -> tuple[int, int]:
    return 2 * (between(4, 5, g),)


def one_picture_of_few(g: Generator) -> tuple[int, int]:
    return 1, between(5, 7, g)


def wide_inputs(g: Generator) -> tuple:
    """One weight of each picture lies far above its others, so that what is no maximum will not do
    in its place; clouds of many numbers, whose densities are far from 1."""
    S, k = between(5, 7, g), between(1, 3, g)
    log_w = torch.tensor([[-300.0], [-600.0], [-300.0]]) + 0.3 * torch.randn(3, S, generator=g)
    log_w[0, k] += 300
    log_w[1, k] += 95          # e^95 overflows, and at most e^82 is left of it by a row's mean
    log_w[2, 0] += 95
    log_q = torch.tensor([[400.0], [-400.0], [0.0]]) + 2 * torch.randn(3, S, generator=g)
    return log_w + log_q, log_q


def rarer_inputs(g: Generator) -> tuple:
    """One draw for each of 17 pictures, each e^5 times less probable than the one before: whatever
    small number is added to a weight, one of them is about as large."""
    log_joint, log_q = draws_inputs(lambda g: (17, 1), 0.0)(g)
    return log_joint - 5 * torch.arange(17)[:, None], log_q


def of_weights(answer):
    """A function of the logarithms of the weights, (B,S), alone."""
    return lambda log_joint, log_q: answer(log_joint - log_q)


def below_one_maximum(w: Tensor) -> Tensor:
    return (w - w.max()).exp().mean(dim=1).log() + w.max()


EVIDENCE = Exercise(
    "vae.evidence", LESSON, 2, evidence,
    (draws_inputs(few_pictures, -5.0), draws_inputs(as_many_draws, 3.0),
     draws_inputs(few_pictures, -2000.0, 700.0, 10.0), rarer_inputs, wide_inputs,
     draws_inputs(one_picture_of_few, -2000.0)),
    of_section(2,
        Mistake(
            "mean of the logarithms",
            "You average the logarithms of the weights: that is the ELBO, which lies below. "
            "Average the weights, and take the logarithm of the mean.",
            of_weights(lambda w: w.mean(dim=1))),
        Mistake(
            "exp overflows or vanishes",
            "The formula is right, but e^-2000 is 0 and e^700 is infinite in a computer. "
            "torch.logsumexp takes the largest of a row out before exp.",
            of_weights(lambda w: w.exp().mean(dim=1).log())),
        Mistake(
            "one maximum for all pictures",
            "You take one maximum out for the whole batch, and a picture far below it has weights "
            "of 0. Each row needs its own.",
            of_weights(below_one_maximum)),
        Mistake(
            "sum in place of the mean",
            "You sum the weights. Their mean estimates p(x): take ln S away.",
            of_weights(lambda w: w.logsumexp(dim=1))),
        Mistake(
            "ln S added",
            "You add ln S. To divide by S inside the logarithm is to take ln S away.",
            of_weights(lambda w: w.logsumexp(dim=1) + math.log(w.shape[1]))),
        Mistake(
            "divided by S outside the logarithm",
            "You divide the logarithm by S. The mean is taken inside it: ln(sum / S) is ln sum - "
            "ln S.",
            of_weights(lambda w: w.logsumexp(dim=1) / w.shape[1])),
        Mistake(
            "ln B in place of ln S",
            "You divide by the number of pictures. The mean runs over the S draws of one picture, "
            "the last dimension.",
            of_weights(lambda w: w.logsumexp(dim=1) - math.log(len(w)))),
        Mistake(
            "ln (S - 1)",
            "You divide by S - 1. That belongs to a variance; this is a mean.",
            of_weights(lambda w: w.logsumexp(dim=1) - (math.log(w.shape[1] - 1)
                                                       if w.shape[1] > 1 else -math.inf))),
        Mistake(
            "over the pictures",
            "You average over the pictures, the first dimension. Each picture has S draws of its "
            "own, in the last.",
            of_weights(lambda w: w.logsumexp(dim=0) - math.log(len(w)))),
        Mistake(
            "over everything",
            "You average over draws and pictures together and return one number. Each picture has "
            "its own evidence, (B,).",
            of_weights(lambda w: w.flatten().logsumexp(dim=0) - math.log(w.numel()))),
        Mistake(
            "q left out",
            "log_q does not occur in your answer. The draws came from q and not from the prior: "
            "each is weighted with p(x, z) / q(z | x).",
            lambda log_joint, log_q: log_joint.logsumexp(dim=1) - math.log(log_joint.shape[1])),
        Mistake(
            "q added",
            "You add log_q. The weights are p(x, z) / q(z | x), so its logarithm is subtracted.",
            lambda log_joint, log_q: evidence(log_joint, -log_q)),
        Mistake(
            "the ratio turned round",
            "Your weights are q / p. They are p(x, z) / q(z | x).",
            lambda log_joint, log_q: evidence(log_q, log_joint)),
        Mistake(
            "the means divided",
            "You divide the mean of p by the mean of q. Each draw has its own weight p / q; the "
            "mean is taken of these.",
            lambda log_joint, log_q: log_joint.logsumexp(dim=1) - log_q.logsumexp(dim=1)),
        Mistake(
            "the best draw only",
            "You take the largest weight of each row. The evidence is the mean of all.",
            of_weights(lambda w: w.amax(dim=1))),
        Mistake(
            "logarithms weighted by their weights",
            "You average the logarithms, each with its weight. Average the weights themselves, and "
            "take the logarithm at the end.",
            of_weights(lambda w: (w.softmax(dim=1) * w).sum(dim=1))),
        Mistake(
            "without the logarithm",
            "You return p(x) itself, which for real pictures is 0 or infinite in float32. Asked "
            "for is its logarithm.",
            of_weights(lambda w: (w.logsumexp(dim=1) - math.log(w.shape[1])).exp())),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: asked for is ln p(x), and not what is "
            "minimised.",
            lambda log_joint, log_q: -evidence(log_joint, log_q)),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            lambda log_joint, log_q: evidence(log_joint, log_q) / math.log(2)),
        Mistake(
            "exp overflows or vanishes, of p and q apart",
            "The formula is right, but e^-2000 is 0 in a computer, and 0 / 0 is NaN. Subtract the "
            "logarithms first; torch.logsumexp takes the largest of a row out before exp.",
            lambda log_joint, log_q: (log_joint.exp() / log_q.exp()).mean(dim=1).log()),
        Mistake(
            "the first picture's maximum for all",
            "You take the first picture's maximum out for the whole batch. Each row needs its own.",
            of_weights(lambda w: (w - w[0].max()).exp().mean(dim=1).log() + w[0].max())),
        Mistake(
            "exp overflows or vanishes in float64",
            "The formula is right, but e^-2000 is 0 in float64 too, which ends at e^-745. "
            "torch.logsumexp takes the largest of a row out before exp.",
            of_weights(lambda w: w.double().exp().mean(dim=1).log())),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} so that the logarithm is finite. Then no picture is less probable "
            "than that, and most are. Take the largest of a row out before exp.",
            of_weights(lambda w, eps=eps: (w.exp().mean(dim=1) + eps).log()))
          for eps in (1e-6, 1e-8, 1e-10, 1e-12, 1e-20, 1e-30)),
        *(Mistake(
            f"weights kept above {eps:g}",
            f"You keep the weights above {eps:g} so that the logarithm is finite. Most pictures "
            "are less probable than that. Take the largest of a row out before exp.",
            of_weights(lambda w, eps=eps: w.exp().clamp(min=eps).mean(dim=1).log()))
          for eps in (1e-8, 1e-10, 1e-12, 1e-20, 1e-30)),
        *(Mistake(
            f"logarithms clamped at {-limit}",
            f"You keep the logarithms within {limit}, where exp is safe. A picture of -2000 is "
            "then another one. Take the largest of a row out before exp.",
            of_weights(lambda w, limit=limit: evidence(w.clamp(-limit, limit), 0 * w)))
          for limit in (20, 50, 80, 88, 100)),
        Mistake(
            "the maximum not added back",
            "You take the largest logarithm of a row out before exp, and forget to add it again at "
            "the end.",
            of_weights(lambda w: evidence(w - w.amax(dim=1, keepdim=True), 0 * w))),
        Mistake(
            "the maximum subtracted twice",
            "You take the largest logarithm of a row out before exp, and subtract it again at the "
            "end. It is added there.",
            of_weights(lambda w: evidence(w, 0 * w) - 2 * w.amax(dim=1))),
        *(Mistake(
            f"the {what} of a row taken out",
            f"You take the {what} of a row out before exp. A weight that lies 300 above it "
            "overflows all the same: it must be the largest.",
            of_weights(lambda w, of=of: (w - of(w)).exp().mean(dim=1).log() + of(w)[:, 0]))
          for what, of in (("mean", lambda w: w.mean(dim=1, keepdim=True)),
                           ("smallest", lambda w: w.amin(dim=1, keepdim=True)),
                           ("first", lambda w: w[:, :1]))),
        Mistake(
            "the maximum of the joint taken out",
            "You take the largest log_joint out before exp. The weights are p / q, and q may be as "
            "large or as small: take the largest of their difference.",
            lambda log_joint, log_q: (log_joint - log_q - log_joint.amax(dim=1, keepdim=True)).exp(
                ).mean(dim=1).log() + log_joint.amax(dim=1)),
        *(Mistake(
            f"log{base} of S",
            f"You take the logarithm of S to the base {base}. All others are natural: math.log.",
            of_weights(lambda w, base=base: w.logsumexp(dim=1) - math.log(w.shape[1], base)))
          for base in (2, 10)),
        Mistake(
            "S in place of ln S",
            "You take S away. To divide by S inside the logarithm is to take ln S away.",
            of_weights(lambda w: w.logsumexp(dim=1) - w.shape[1])),
        Mistake(
            "ln S taken away twice",
            "You take ln S away twice: the mean divides by S once.",
            of_weights(lambda w: w.logsumexp(dim=1) - 2 * math.log(w.shape[1]))),
        Mistake(
            "ln 10 in place of ln S",
            "You divide by 10. S is the number of draws that come, log_joint.shape[1].",
            of_weights(lambda w: w.logsumexp(dim=1) - math.log(10))),
        Mistake(
            "ln (S - 1), and S where that is 0",
            "You divide by S - 1. That belongs to a variance; this is a mean.",
            of_weights(lambda w: w.logsumexp(dim=1) - math.log(max(w.shape[1] - 1, 1)))),
        Mistake(
            "the first draw only",
            "You take the first weight of each row. The evidence is the mean of all.",
            of_weights(lambda w: w[:, 0])),
        Mistake(
            "the middle draw",
            "You take the median of each row. The evidence is the mean of the weights.",
            of_weights(lambda w: w.median(dim=1).values)),
        Mistake(
            "the logarithms divided",
            "You divide the logarithms by each other. ln(p / q) is ln p - ln q.",
            lambda log_joint, log_q: evidence(log_joint / log_q, 0 * log_q)),
        Mistake(
            "q averaged first",
            "You average log_q over the draws. Each draw has its own weight: subtract it draw by "
            "draw.",
            lambda log_joint, log_q: evidence(log_joint, log_q.mean(dim=1, keepdim=True))),
        Mistake(
            "mean of the normalised weights' logarithms",
            "log_softmax makes the weights of a row sum to 1, and what they summed to before is "
            "lost. That is what is asked: torch.logsumexp.",
            of_weights(lambda w: w.log_softmax(dim=1).mean(dim=1))),
        Mistake(
            "ln of 1 more",
            "You take log1p, ln of 1 + the mean: no picture is that probable. Take ln of the mean.",
            of_weights(lambda w: w.exp().mean(dim=1).log1p())),
    ), "the logarithm of the mean weight, even where each weight is 0 or infinite",
    tolerance=2e-5)


# ---- the KL

def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """mean, log_variance (B,...) -> KL to N(0, 1) of each picture in nats (B,)."""
    return vae.kl(mean, log_variance)


def summed(each):
    """Half the sum of each(mean, log_variance) over the latent of a picture."""
    return lambda mean, log_variance: each(mean, log_variance).flatten(1).sum(dim=1) / 2


def excess(variance: Tensor) -> Tensor:
    return variance - 1 - variance.log()


KL = Exercise(
    "vae.kl", LESSON, 2, kl,
    (cloud_inputs(grids, -3, 2), cloud_inputs(cubes, -1, 1), narrow_inputs, prior_inputs,
     cloud_inputs(single, 0.5, 2)),
    of_section(3,
        Mistake(
            "summed over the batch",
            "You add up over the whole batch and return one number. Each picture has a KL of its "
            "own: flatten(1), then sum over what is left.",
            lambda mean, log_variance: kl(mean, log_variance).sum()),
        Mistake(
            "mean over the batch",
            "You average over the batch and return one number. Each picture has a KL of its own, "
            "(B,).",
            lambda mean, log_variance: kl(mean, log_variance).mean()),
        Mistake(
            "mean over the latent",
            "You average over the numbers of the latent. They are independent, so the KL of a "
            "picture is their sum; averaged, it weighs next to nothing beside the pixels.",
            lambda mean, log_variance: kl(mean, log_variance) / mean[0].numel()),
        Mistake(
            "mean over everything",
            "You average over the whole tensor. Sum over the numbers of each picture's latent, and "
            "keep the pictures apart.",
            lambda mean, log_variance: kl(mean, log_variance).mean() / mean[0].numel()),
        Mistake(
            "one number for each entry",
            "You return a KL for each number of the latent. Sum over all dimensions but the first.",
            lambda mean, log_variance: (mean.square() + log_variance.exp() - 1 - log_variance) / 2),
        Mistake(
            "summed over one dimension",
            "You sum over the second dimension alone. All but the first belong to the picture.",
            lambda mean, log_variance: (
                mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2),
        Mistake(
            "divided by the batch",
            "You divide by the number of pictures. The KL of a picture must not depend on how many "
            "others are measured with it.",
            lambda mean, log_variance: kl(mean, log_variance) / len(mean)),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: no KL is ever below 0.",
            lambda mean, log_variance: -kl(mean, log_variance)),
        Mistake(
            "one half forgotten",
            "Your answer is twice as large: the half before the sum is missing.",
            lambda mean, log_variance: 2 * kl(mean, log_variance)),
        Mistake(
            "log-variance as the logarithm of the standard deviation",
            "You take log_variance for ln of the standard deviation, and square once too often. "
            "Its exp is the variance already.",
            lambda mean, log_variance: kl(mean, 2 * log_variance)),
        Mistake(
            "exp forgotten",
            "You put log_variance where the variance belongs. Take its exp there.",
            summed(lambda mean, log_variance: mean.square() - 1 + 0 * log_variance)),
        Mistake(
            "standard deviation in place of the variance",
            "exp(log_variance / 2) is the standard deviation. The KL has the variance, exp of the "
            "whole.",
            summed(lambda mean, log_variance:
                   mean.square() + (log_variance / 2).exp() - 1 - log_variance)),
        Mistake(
            "ln of the standard deviation in place of the variance",
            "You take half of log_variance away. The KL, with its half before the sum, has ln of "
            "the variance.",
            summed(lambda mean, log_variance:
                   mean.square() + log_variance.exp() - 1 - log_variance / 2)),
        Mistake(
            "mean not squared",
            "You add the mean as it is. Its square is what counts: a cloud to the left is as far "
            "as one to the right.",
            summed(lambda mean, log_variance: mean + log_variance.exp() - 1 - log_variance)),
        Mistake(
            "size of the mean",
            "You add the size of the mean. Its square belongs there.",
            summed(lambda mean, log_variance: mean.abs() + log_variance.exp() - 1 - log_variance)),
        Mistake(
            "the mean left out",
            "The mean does not occur in your answer. A cloud far from 0 is far from the prior, "
            "however wide it is.",
            summed(lambda mean, log_variance: log_variance.exp() - 1 - log_variance)),
        Mistake(
            "1 forgotten",
            "Your cloud at 0 with variance 1, the prior itself, does not have the KL 0: the -1 is "
            "missing.",
            summed(lambda mean, log_variance: mean.square() + log_variance.exp() - log_variance)),
        Mistake(
            "1 subtracted once a picture",
            "You subtract 1 once for a picture. Each number of the latent has its own: put it "
            "inside the sum.",
            lambda mean, log_variance: (
                mean.square() + log_variance.exp() - log_variance).flatten(1).sum(dim=1) / 2 - 0.5),
        Mistake(
            "log-variance added",
            "You add log_variance. It is subtracted: a narrow cloud, with a log-variance far below "
            "0, says much and costs much.",
            summed(lambda mean, log_variance:
                   mean.square() + log_variance.exp() - 1 + log_variance)),
        Mistake(
            "the log-variance left out",
            "The term - log_variance is missing. Without it a cloud of no width at all would cost "
            "nothing.",
            summed(lambda mean, log_variance: mean.square() + log_variance.exp() - 1)),
        Mistake(
            "the other KL",
            "This is KL(prior || cloud), which divides by the variance of the cloud. Asked for is "
            "the other direction: the draws come from the cloud.",
            summed(lambda mean, log_variance:
                   (1 + mean.square()) * (-log_variance).exp() - 1 + log_variance)),
        Mistake(
            "logarithm of a variance that is 0",
            "You take the logarithm of the variance again. e^-200 is 0 in float32 and its "
            "logarithm infinite: log_variance is what you were given.",
            summed(lambda mean, log_variance: mean.square() + excess(log_variance.exp()))),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} to the variance before its logarithm, and a narrow cloud costs too "
            "little. log_variance is what you were given.",
            summed(lambda mean, log_variance, eps=eps: mean.square() + log_variance.exp() - 1
                   - (log_variance.exp() + eps).log())) for eps in (1e-6, 1e-8, 1e-10)),
        *(Mistake(
            f"log-variance clamped at {-low}",
            f"You keep log_variance above {-low}. The clamp belongs into the network; the KL is to "
            "be right for what it is given.",
            lambda mean, log_variance, low=low: kl(mean, log_variance.clamp(-low, low)))
          for low in (10, 20, 30, 50, 80, 100)),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            lambda mean, log_variance: kl(mean, log_variance) / math.log(2)),
        Mistake(
            "the variance detached",
            "Your numbers are right, but you detach the variance, and nothing keeps a cloud from "
            "growing: let the gradient pass through exp too.",
            summed(lambda mean, log_variance:
                   mean.square() + log_variance.detach().exp() - 1 - log_variance)),
        Mistake(
            "mean over the latent, twice as large",
            "You average over the numbers of the latent, and the half before the sum is missing. "
            "They are independent: the KL of a picture is half of their sum.",
            lambda mean, log_variance: 2 * kl(mean, log_variance) / mean[0].numel()),
        *(Mistake(
            f"mean over the {what}",
            f"You sum over one part of the latent and average over the {what}. All its numbers are "
            "independent: sum over all dimensions but the first.",
            lambda mean, log_variance, of=of: kl(mean, log_variance) / of(mean))
          for what, of in (("positions", lambda mean: mean[0, 0].numel()),
                           ("channels", lambda mean: mean.shape[1] if mean.ndim > 2 else 1))),
        Mistake(
            "log-variance as the variance",
            "You take log_variance for the variance, and its logarithm again, which is NaN below "
            "0. It is ln of the variance: its exp is the variance.",
            summed(lambda mean, log_variance: mean.square() + excess(log_variance))),
        Mistake(
            "the variance squared",
            "You square the variance. exp(log_variance) is the variance already, and stands in the "
            "KL as it is.",
            summed(lambda mean, log_variance:
                   mean.square() + (2 * log_variance).exp() - 1 - log_variance)),
        Mistake(
            "mean square subtracted",
            "You subtract the square of the mean. A cloud far from 0 costs more: add it. Check "
            "where the minus in front of the bracket reaches.",
            summed(lambda mean, log_variance:
                   log_variance.exp() - mean.square() - 1 - log_variance)),
        Mistake(
            "the mean alone",
            "log_variance does not occur in your answer. How wide the cloud is costs too.",
            summed(lambda mean, log_variance: mean.square())),
        Mistake(
            "1 added",
            "You add 1. Your cloud at 0 with variance 1, the prior itself, does not have the KL 0: "
            "subtract it.",
            summed(lambda mean, log_variance:
                   mean.square() + log_variance.exp() + 1 - log_variance)),
        Mistake(
            "half of the first term alone",
            "The half reaches the square of the mean alone. It stands before the whole sum: put "
            "brackets.",
            summed(lambda mean, log_variance:
                   mean.square() + 2 * (log_variance.exp() - 1 - log_variance))),
        Mistake(
            "half of the last term alone",
            "The half reaches the logarithm alone. It stands before the whole sum: put brackets.",
            summed(lambda mean, log_variance:
                   2 * (mean.square() + log_variance.exp() - 1) - log_variance)),
        Mistake(
            "1 subtracted once a picture, after the half",
            "You subtract 1 once for a picture. Each number of the latent has its own: put it "
            "inside the sum.",
            lambda mean, log_variance: (
                mean.square() + log_variance.exp() - log_variance).flatten(1).sum(dim=1) / 2 - 1),
        Mistake(
            "logarithm of a standard deviation",
            "You take the logarithm of exp(log_variance / 2) again. Where that is all but 0, "
            "digits are lost: half of log_variance is what you want.",
            summed(lambda mean, log_variance: mean.square() + log_variance.exp() - 1
                   - 2 * (log_variance / 2).exp().log())),
        *(Mistake(
            f"standard deviation kept above {eps:g}",
            f"You keep the standard deviation above {eps:g}, and a narrow cloud costs too little. "
            "log_variance is what you were given: no logarithm is needed.",
            lambda mean, log_variance, eps=eps: kl(
                mean, log_variance.clamp(min=2 * math.log(eps)))) for eps in (1e-3, 1e-6, 1e-8)),
        Mistake(
            "mean and log-variance swapped",
            "You take mean for log_variance and the other way round. The mean comes first.",
            lambda mean, log_variance: kl(log_variance, mean)),
        Mistake(
            "the mean divided by the variance",
            "You divide the square of the mean by the cloud's own variance. It is measured in "
            "units of the prior's, which is 1.",
            summed(lambda mean, log_variance: mean.square() / log_variance.exp()
                   + log_variance.exp() - 1 - log_variance)),
        Mistake(
            "the means summed before the square",
            "You square the sum of the means. Each number has its own square; then sum.",
            lambda mean, log_variance: kl(0 * mean, log_variance)
            + mean.flatten(1).sum(dim=1).square() / 2),
    ), "in nats, summed over the latent of each picture",
    tolerance=2e-5,            # sums of 300 numbers, and loops round at each of them
    learns=True)


# ---- the draw

def reparameterise(mean: Tensor, log_variance: Tensor, eps: Tensor) -> Tensor:
    """mean, log_variance and noise eps from N(0, 1), of one shape -> a draw, of the same shape.
    Nothing is learnt through the noise."""
    return mean + (log_variance / 2).exp() * eps.detach()


def noisy(inputs):
    def draw(g: Generator) -> tuple:
        mean, log_variance = inputs(g)
        return mean, log_variance, torch.randn(mean.shape, generator=g)
    return draw


def scaled_by(width):
    """mean + width(log_variance) * eps"""
    return lambda mean, log_variance, eps: mean + width(log_variance) * eps


REPARAMETERISE = Exercise(
    "vae.reparameterise", LESSON, 1, reparameterise,
    (noisy(cloud_inputs(grids, -3, 2)), noisy(cloud_inputs(cubes, 1, 5)), noisy(narrow_inputs),
     noisy(prior_inputs), noisy(cloud_inputs(single, 0.5, 2))),
    of_section(4,
        Mistake(
            "log-variance as the standard deviation",
            "You multiply the noise with log_variance as it is. It holds logarithms, some below 0: "
            "the standard deviation is exp of half of it.",
            scaled_by(lambda log_variance: log_variance)),
        Mistake(
            "variance as the standard deviation",
            "exp(log_variance) is the variance. The noise is multiplied with its root, the "
            "standard deviation: exp of half of log_variance.",
            scaled_by(torch.exp)),
        Mistake(
            "squared in place of the root",
            "You square the variance, exp(2 log_variance). The standard deviation is its root: "
            "halve the logarithm.",
            scaled_by(lambda log_variance: (2 * log_variance).exp())),
        Mistake(
            "root of the log-variance",
            "You take the root of log_variance, which is NaN below 0. It is a logarithm: first "
            "exp, then the root; or exp of half of it.",
            scaled_by(torch.sqrt)),
        Mistake(
            "half of the log-variance without exp",
            "Half of log_variance is the logarithm of the standard deviation. Its exp is missing.",
            scaled_by(lambda log_variance: log_variance / 2)),
        Mistake(
            "half of the variance",
            "You halve the variance. Halve its logarithm, then take exp: that is the root.",
            scaled_by(lambda log_variance: log_variance.exp() / 2)),
        Mistake(
            "softplus in place of exp",
            "softplus would make a width of any number, but here it is agreed that the number is "
            "ln of the variance: exp of half of it.",
            scaled_by(F.softplus)),
        Mistake(
            "sign of the exponent turned",
            "You multiply with 1 / standard deviation: there is a minus too many in the exponent.",
            scaled_by(lambda log_variance: (-log_variance / 2).exp())),
        Mistake(
            "noise not scaled",
            "You add the noise as it is, so all clouds are equally wide. Multiply it with the "
            "standard deviation.",
            scaled_by(torch.ones_like)),
        Mistake(
            "no noise",
            "Your answer is the mean, whatever eps is. That is the middle of the cloud, and no "
            "draw of it.",
            lambda mean, log_variance, eps: mean.clone()),
        Mistake(
            "the mean left out",
            "Your draws lie round 0. The mean moves them to where the cloud is.",
            lambda mean, log_variance, eps: (log_variance / 2).exp() * eps),
        Mistake(
            "the mean scaled too",
            "You multiply the mean with the standard deviation as well. Scale the noise, then add "
            "the mean.",
            lambda mean, log_variance, eps: (mean + eps) * (log_variance / 2).exp()),
        Mistake(
            "width added",
            "You add the standard deviation to the noise. It is a factor.",
            lambda mean, log_variance, eps: mean + (log_variance / 2).exp() + eps),
        Mistake(
            "without the noise's sign",
            "You take the size of the noise, and draw from one half of the cloud alone.",
            lambda mean, log_variance, eps: reparameterise(mean, log_variance, eps.abs())),
        Mistake(
            "noise subtracted",
            "You subtract the noise. As a draw it is as good, but another than asked: add it.",
            lambda mean, log_variance, eps: mean - (log_variance / 2).exp() * eps),
        Mistake(
            "noise shared over the batch",
            "All pictures get the noise of the first. Each needs its own: eps has a row for each.",
            lambda mean, log_variance, eps: reparameterise(mean, log_variance, eps[:1])),
        Mistake(
            "noise shared over the latent",
            "All numbers of a picture get the same noise. eps has one for each entry.",
            lambda mean, log_variance, eps: reparameterise(
                mean, log_variance, eps.flatten(1)[:, 0].view(-1, *[1] * (eps.ndim - 1)))),
        Mistake(
            "the mean detached",
            "Your numbers are right, but no gradient reaches mean: the encoder would never learn "
            "where to put its cloud. Detach nothing.",
            lambda mean, log_variance, eps: mean.detach() + (log_variance / 2).exp() * eps),
        Mistake(
            "the width detached",
            "Your numbers are right, but no gradient reaches log_variance: the encoder would never "
            "learn how wide its cloud may be. Detach nothing.",
            scaled_by(lambda log_variance: (log_variance.detach() / 2).exp())),
        Mistake(
            "the noise alone",
            "You return the noise. Scale it with the standard deviation and add the mean.",
            lambda mean, log_variance, eps: eps.clone()),
        Mistake(
            "the width without noise",
            "You add the standard deviation itself. eps does not occur in your answer, so there is "
            "nothing random in it: multiply the two.",
            lambda mean, log_variance, eps: mean + (log_variance / 2).exp()),
        Mistake(
            "the mean multiplied",
            "You multiply with the mean. It moves the cloud: add it.",
            lambda mean, log_variance, eps: mean * (log_variance / 2).exp() * eps),
        Mistake(
            "root of the log-variance's size",
            "You take the root of the size of log_variance. It is a logarithm, and below 0 where "
            "the cloud is narrow: exp of half of it.",
            scaled_by(lambda log_variance: log_variance.abs().sqrt())),
        Mistake(
            "exp of the root",
            "You take the root first and then exp. The root of e^x is e^(x / 2): halve.",
            scaled_by(lambda log_variance: log_variance.abs().sqrt().exp())),
        Mistake(
            "logarithm of the log-variance",
            "You take the logarithm of a logarithm. Its exp is the variance; exp of half of it the "
            "standard deviation.",
            scaled_by(lambda log_variance: log_variance.abs().log())),
        *(Mistake(
            f"{base} in place of e",
            f"You raise {base} to the power. The logarithm is natural: exp.",
            scaled_by(lambda log_variance, base=base: base ** (log_variance / 2)))
          for base in (2, 10)),
        Mistake(
            "1 added under the root",
            "You add 1 to the variance before the root, so that no cloud is narrower than the "
            "prior. exp is never below 0: add nothing.",
            scaled_by(lambda log_variance: (log_variance.exp() + 1).sqrt())),
        *(Mistake(
            f"{eps:g} under the root",
            f"You add {eps:g} to the variance before the root, and a narrow cloud becomes wide. "
            "exp is never below 0: add nothing, or halve the logarithm.",
            scaled_by(lambda log_variance, eps=eps: (log_variance.exp() + eps).sqrt()))
          for eps in (1e-4, 1e-5, 1e-6, 1e-8)),
        *(Mistake(
            f"{eps:g} added to the width",
            f"You add {eps:g} to the standard deviation, and a narrow cloud becomes wide. exp is "
            "never below 0: add nothing.",
            scaled_by(lambda log_variance, eps=eps: (log_variance / 2).exp() + eps))
          for eps in (1e-2, 1e-3, 1e-4)),
        *(Mistake(
            f"log-variance clamped at {-low}",
            f"You keep log_variance within {low}. The clamp belongs into the network; a draw is to "
            "be right for what it is given.",
            lambda mean, log_variance, eps, low=low: reparameterise(
                mean, log_variance.clamp(-low, low), eps)) for low in (2, 4, 5, 6, 8, 10, 20)),
        *(Mistake(
            f"standard deviation kept above {eps:g}",
            f"You keep the standard deviation above {eps:g}, and a narrow cloud becomes wide. exp "
            "is never below 0: keep it as it is.",
            scaled_by(lambda log_variance, eps=eps: (log_variance / 2).exp().clamp(min=eps)))
          for eps in (1e-2, 1e-3, 1e-4)),
        Mistake(
            "one noise for everything",
            "All entries get the same noise, the first of eps. eps has one for each entry.",
            lambda mean, log_variance, eps: reparameterise(
                mean, log_variance, eps.flatten()[0])),
        Mistake(
            "noise averaged",
            "You average the noise: what is left of it is next to 0. eps has one for each entry.",
            lambda mean, log_variance, eps: reparameterise(mean, log_variance, eps.mean())),
        Mistake(
            "noise shared over the second dimension",
            "All channels get the noise of the first. eps has one for each entry.",
            lambda mean, log_variance, eps: reparameterise(mean, log_variance, eps[:, :1])),
        Mistake(
            "noise squared",
            "You square the noise, and draw from one half of the cloud alone. It is the standard "
            "deviation that may be squared, and not here.",
            lambda mean, log_variance, eps: reparameterise(mean, log_variance, eps.square())),
        Mistake(
            "one width for everything",
            "You average the standard deviation. Each number of the latent has its own.",
            scaled_by(lambda log_variance: (log_variance / 2).exp().mean())),
        Mistake(
            "standardised, the other way round",
            "You subtract the mean and divide by the standard deviation: that makes N(0, 1) of a "
            "draw. Asked for is the way back: multiply, then add.",
            lambda mean, log_variance, eps: (eps - mean) / (log_variance / 2).exp()),
        Mistake(
            "mean and log-variance swapped",
            "You take mean for log_variance and the other way round. The mean comes first.",
            lambda mean, log_variance, eps: reparameterise(log_variance, mean, eps)),
        Mistake(
            "noise and log-variance swapped",
            "You take eps for log_variance and the other way round. eps comes last.",
            lambda mean, log_variance, eps: mean + (eps / 2).exp() * log_variance),
        Mistake(
            "noise first",
            "You take the arguments as eps, mean, log_variance. They come as mean, log_variance, "
            "eps.",
            lambda mean, log_variance, eps: eps + (mean / 2).exp() * log_variance),
    ), "a draw of the cloud, through which both learn", learns=True)


# ---- the score function

def score_function(z: Tensor, mean: Tensor, log_variance: Tensor, f: Tensor) -> Tensor:
    """S draws z (S,D) from N(mean, exp(log_variance)), both (D,), and f (S,), a number for each
    draw -> the estimate (D,) of the gradient of E[f(z)] with respect to mean."""
    return (f[:, None] * score(z, mean, log_variance)).mean(dim=0)


def score(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The gradient of ln q(z) with respect to the mean, (S,D)."""
    return (z - mean) / log_variance.exp()


def estimate_inputs(sizes, low: float, high: float):
    """Draws of a cloud, and a number for each that is not 0 on average; the first is below 0."""
    def draw(g: Generator) -> tuple:
        S, D = sizes(g)
        mean, log_variance = torch.randn(D, generator=g), uniform((D,), low, high, g)
        z = mean + (log_variance / 2).exp() * torch.randn(S, D, generator=g)
        f = 2 + 3 * torch.randn(S, generator=g)
        f[0] = -1 - f[0].abs()
        return z, mean, log_variance, f
    return draw


def narrow_estimate_inputs(g: Generator) -> tuple:
    """A variance below a millionth, to which nothing may be added; f as large as an error in nats.
    Large f go with large distances and all have one sign, so that nothing cancels."""
    (S, D), sigma = few_numbers(g), math.exp(-between(7, 8, g))
    mean, log_variance = 0.001 * torch.randn(D, generator=g), torch.full((D,), 2 * math.log(sigma))
    apart = torch.randn(S, D, generator=g).abs().sort(dim=0).values
    f = 200 + 100 * torch.randn(S, generator=g).abs().sort().values
    return mean + sigma * (apart + 0.1), mean, log_variance, f


def few_numbers(g: Generator) -> tuple[int, int]:
    return between(6, 9, g), between(2, 4, g)


def as_many_numbers(g: Generator) -> tuple[int, int]:
    return 2 * (between(4, 5, g),)


def one_number(g: Generator) -> tuple[int, int]:
    return between(4, 6, g), 1


def one_estimate(g: Generator) -> tuple[int, int]:
    return 1, between(3, 4, g)


def estimated_by(each):
    """The mean over draws of f times each(z - mean, log_variance)."""
    return lambda z, mean, log_variance, f: (f[:, None] * each(z - mean, log_variance)).mean(dim=0)


def scatter(x: Tensor, of) -> Tensor:
    """of(x), torch.var or torch.std over the first dimension; NaN of one row, without a warning."""
    return of(x, dim=0) if len(x) > 1 else torch.full_like(x[0], math.nan)


SCORE = Exercise(
    "vae.score_function", LESSON, 2, score_function,
    (estimate_inputs(few_numbers, -2, 1.5), estimate_inputs(as_many_numbers, 0.5, 2),
     estimate_inputs(one_number, -3, -1), estimate_inputs(one_estimate, -1, 1),
     narrow_estimate_inputs),
    of_section(4,
        Mistake(
            "divided by the standard deviation",
            "You divide by the standard deviation. The gradient of ln q = -(z - mean)^2 / (2 "
            "variance) has the variance itself.",
            estimated_by(lambda d, log_variance: d / (log_variance / 2).exp())),
        Mistake(
            "not divided by the variance",
            "You do not divide by the variance. In a narrow cloud a small move of the mean changes "
            "ln q much.",
            estimated_by(lambda d, log_variance: d)),
        Mistake(
            "divided by the log-variance",
            "You divide by log_variance as it is. It is a logarithm: the variance is its exp.",
            estimated_by(lambda d, log_variance: d / log_variance)),
        Mistake(
            "log-variance as the logarithm of the standard deviation",
            "You divide by exp(2 log_variance), the square of the variance. exp of log_variance is "
            "the variance already.",
            estimated_by(lambda d, log_variance: d / (2 * log_variance).exp())),
        Mistake(
            "multiplied with the variance",
            "You multiply with the variance. It divides.",
            estimated_by(lambda d, log_variance: d * log_variance.exp())),
        Mistake(
            "twice as large",
            "Your answer is twice as large: the 2 of the square and the 1/2 before it cancel.",
            estimated_by(lambda d, log_variance: 2 * d / log_variance.exp())),
        Mistake(
            "sign turned",
            "The sign is turned: q grows where the mean comes nearer to z, so it is z - mean.",
            estimated_by(lambda d, log_variance: -d / log_variance.exp())),
        Mistake(
            "the mean not subtracted",
            "You use z as it is. The gradient of ln q has z - mean.",
            lambda z, mean, log_variance, f: (f[:, None] * z / log_variance.exp()).mean(dim=0)),
        Mistake(
            "sum over the draws",
            "You sum over the draws. An expectation is estimated by their mean.",
            lambda *args: score_function(*args) * len(args[0])),
        Mistake(
            "divided by S - 1",
            "You divide by S - 1. That belongs to a variance; this is a mean.",
            lambda z, mean, log_variance, f: (
                f[:, None] * score(z, mean, log_variance)).sum(dim=0) / (len(z) - 1)),
        Mistake(
            "divided by S - 1, and by 1 where that is 0",
            "You divide by S - 1. That belongs to a variance; this is a mean.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f) * len(z) / max(len(z) - 1, 1)),
        Mistake(
            "one estimate for each draw",
            "You return an estimate for each draw, (S,D). Average over the draws.",
            lambda z, mean, log_variance, f: f[:, None] * score(z, mean, log_variance)),
        Mistake(
            "mean over everything",
            "You average over the D numbers too. Each has its own slope, (D,).",
            lambda *args: score_function(*args).mean()),
        Mistake(
            "f left out",
            "f does not occur in your answer. Without it the mean is 0 whatever f is: draws with a "
            "large f pull the mean towards them.",
            lambda z, mean, log_variance, f: score(z, mean, log_variance).mean(dim=0)),
        Mistake(
            "f averaged first",
            "You average f and the rest by themselves, then multiply. The mean is taken of their "
            "product.",
            lambda z, mean, log_variance, f: f.mean() * score(z, mean, log_variance).mean(dim=0)),
        Mistake(
            "ln f in place of f",
            "You take the logarithm of f, which may be negative. The logarithm is that of q; f "
            "stands as it is.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f.log())),
        Mistake(
            "with a baseline",
            "You take the mean of f away first. That is a good idea, as it scatters less, but "
            "another estimate; with the mean of the same draws it is also biased.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f - f.mean())),
        Mistake(
            "f standardised",
            "You shift and scale f. Its size is part of the slope.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, (f - f.mean()) / f.std(correction=len(f) > 1))),
        Mistake(
            "weights that sum to 1",
            "You divide by the sum of f. f is no weight: divide by S.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f) * len(f) / f.sum()),
        Mistake(
            "the slope of the log-variance",
            "This is the slope with respect to log_variance. Asked for is that of the mean.",
            estimated_by(lambda d, log_variance: (d.square() / log_variance.exp() - 1) / 2)),
        Mistake(
            "the square of the distance",
            "You multiply with (z - mean)^2 / variance. Take the derivative of -(z - mean)^2 / (2 "
            "variance) with respect to mean.",
            estimated_by(lambda d, log_variance: d.square() / log_variance.exp())),
        Mistake(
            "ln q in place of its slope",
            "You multiply f with ln q. Asked for is how ln q changes with the mean: take the "
            "derivative of -(z - mean)^2 / (2 variance).",
            estimated_by(lambda d, log_variance: -d.square() / (2 * log_variance.exp()))),
        Mistake(
            "q in place of ln q",
            "You take the slope of q, which has q as a factor. The draws come from q already, so "
            "it is the slope of ln q.",
            estimated_by(lambda d, log_variance: (-d.square() / (2 * log_variance.exp())).exp()
                         * d / log_variance.exp())),
        Mistake(
            "divided by twice the variance",
            "Your answer is half as large: the derivative of the square brings a 2, which cancels "
            "the 2 below.",
            estimated_by(lambda d, log_variance: d / (2 * log_variance.exp()))),
        Mistake(
            "divided by the root of the standard deviation",
            "You take the root twice. The slope of ln q has the variance itself below, exp of "
            "log_variance.",
            estimated_by(lambda d, log_variance: d / (log_variance / 4).exp())),
        Mistake(
            "divided by the draws' own variance",
            "You divide by the variance of the draws. The cloud's is known: exp of log_variance.",
            lambda z, mean, log_variance, f: (
                f[:, None] * (z - mean) / scatter(z, torch.var)).mean(dim=0)),
        Mistake(
            "one variance for all",
            "You divide all by the average of the variances. Each number has its own.",
            estimated_by(lambda d, log_variance: d / log_variance.exp().mean())),
        *(Mistake(
            f"{eps:g} added to the variance",
            f"You add {eps:g} to the variance. exp is never below 0, and of a narrow cloud's "
            "variance that is no small part: add nothing.",
            estimated_by(lambda d, log_variance, eps=eps: d / (log_variance.exp() + eps)))
          for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)),
        *(Mistake(
            f"variance kept above {eps:g}",
            f"You keep the variance above {eps:g}. exp is never below 0, and a narrow cloud has a "
            "steep ln q: keep it as it is.",
            estimated_by(lambda d, log_variance, eps=eps: d / log_variance.exp().clamp(min=eps)))
          for eps in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)),
        *(Mistake(
            f"{eps:g} added to the standard deviation",
            f"You add {eps:g} to the standard deviation. exp is never below 0, and of a narrow "
            "cloud's width that is no small part: add nothing.",
            estimated_by(lambda d, log_variance, eps=eps:
                         d / ((log_variance / 2).exp() + eps).square()))
          for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)),
        Mistake(
            "with a baseline of the other draws",
            "You take from each f the mean of the others. That is unbiased and scatters less, but "
            "another estimate than asked.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f - f.mean()) * len(f) / max(len(f) - 1, 1)),
        *(Mistake(
            f"the {what} f taken away",
            f"You take the {what} f away first. A baseline scatters less, but this is another "
            "estimate than asked, and a biased one.",
            lambda z, mean, log_variance, f, of=of: score_function(
                z, mean, log_variance, f - of(f)))
          for what, of in (("smallest", torch.min), ("largest", torch.max))),
        Mistake(
            "f in parts of the largest",
            "You divide by the largest f. Its size is part of the slope.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f / f.abs().max())),
        Mistake(
            "size of f",
            "You take the size of f. Its sign says whether a draw pulls or pushes.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f.abs())),
        Mistake(
            "f below 0 left out",
            "You count only draws whose f is above 0. The others push the mean away: they count as "
            "much.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f.relu())),
        Mistake(
            "f squared",
            "You square f. It stands as it is.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f.square())),
        Mistake(
            "ln of f's size in place of f",
            "You take the logarithm of f. The logarithm is that of q; f stands as it is.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f.abs().log())),
        Mistake(
            "softmax of f",
            "You make weights of f that sum to 1. f is no weight: multiply with it, divide by S.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f.softmax(dim=0)) * len(f)),
        Mistake(
            "divided by D too",
            "You divide by the number of numbers too. Each of the D slopes is a mean over the S "
            "draws.",
            lambda z, mean, log_variance, f: score_function(z, mean, log_variance, f) / len(mean)),
        Mistake(
            "divided by D in place of S",
            "You divide by the number of numbers, D. The mean runs over the S draws, the first "
            "dimension.",
            lambda z, mean, log_variance, f: (
                f[:, None] * score(z, mean, log_variance)).sum(dim=0) / len(mean)),
        Mistake(
            "divided by 10",
            "You divide by 10. S is the number of draws that come, len(z).",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f) * len(z) / 10),
        Mistake(
            "the middle in place of the mean",
            "You take the median over the draws. An expectation is estimated by their mean.",
            lambda z, mean, log_variance, f: (
                f[:, None] * score(z, mean, log_variance)).median(dim=0).values),
        Mistake(
            "one slope for all",
            "You sum over the D numbers. Each has its own slope.",
            lambda z, mean, log_variance, f: score_function(
                z, mean, log_variance, f).sum().expand_as(mean)),
        Mistake(
            "mean and log-variance swapped",
            "You take mean for log_variance and the other way round. They come as z, mean, "
            "log_variance, f.",
            lambda z, mean, log_variance, f: score_function(z, log_variance, mean, f)),
    ), "unbiased, though it never asks how f changes",
    tolerance=5e-5)            # narrow clouds: differences a hundredth of what is subtracted


# ---- the loss

def loss(painted: Tensor, images: Tensor, kl: Tensor, sigma: float, beta: float) -> Tensor:
    """painted, images (B,3,H,W), kl (B,), the standard deviation sigma of the decoder's Gaussian,
    and beta -> a tensor without dimensions: nats for a picture, averaged over the batch. Nothing
    is learnt through the images."""
    return (errors(painted, images, sigma) + beta * kl).mean()


def errors(painted: Tensor, images: Tensor, sigma: float) -> Tensor:
    """-ln p(x | z) of each picture, (B,)."""
    return vae.gaussian_nll(painted, images.detach(), sigma).flatten(1).sum(dim=1)


def painted_inputs(sizes, sigma: tuple[float, float], beta: tuple[float, float]):
    def draw(g: Generator) -> tuple:
        shape = sizes(g)
        images = uniform(shape, -1, 1, g)
        painted = images + sigma[1] * torch.randn(shape, generator=g)
        costs = 0.1 * images[0].numel() * uniform((shape[0],), 0.5, 3, g)
        return painted, images, costs, uniform((), *sigma, g).item(), uniform((), *beta, g).item()
    return draw


def pictures(g: Generator) -> tuple[int, ...]:
    return between(4, 5, g), 3, between(6, 7, g), between(8, 9, g)


def one_picture(g: Generator) -> tuple[int, ...]:
    return 1, 3, 2, 2


def exact_inputs(g: Generator) -> tuple:
    """Painted without an error, and a cloud that costs nothing: the constant is left, and here it
    is below 0."""
    painted, images, costs, sigma, beta = painted_inputs(pictures, (0.05, 0.1), (1, 2))(g)
    return images.clone(), images, 0 * costs, sigma, beta


def error_by(each):
    """The loss with another error: each((painted - images), sigma) for each colour value."""
    return lambda painted, images, kl, sigma, beta: (
        each(painted - images, sigma).flatten(1).sum(dim=1) + beta * kl).mean()


def combined(how):
    """how(errors (B,), kl (B,), beta)"""
    return lambda painted, images, kl, sigma, beta: how(errors(painted, images, sigma), kl, beta)


LOSS = Exercise(
    "vae.loss", LESSON, 2, loss,
    (painted_inputs(pictures, (0.3, 0.8), (0.2, 0.8)), painted_inputs(pictures, (1.5, 3), (2, 5)),
     painted_inputs(one_picture, (0.1, 0.2), (1, 1)), exact_inputs,
     painted_inputs(pictures, (0.5, 0.9), (0, 0))),
    of_section(5,
        Mistake(
            "beta on the wrong term",
            "You multiply the error with beta. It is the price of a nat: it multiplies the KL.",
            combined(lambda e, k, beta: (beta * e + k).mean())),
        Mistake(
            "beta on both",
            "You multiply both terms with beta, which changes nothing but the step size. It "
            "multiplies the KL alone.",
            combined(lambda e, k, beta: beta * (e + k).mean())),
        Mistake(
            "beta left out",
            "beta does not occur in your answer. It multiplies the KL.",
            combined(lambda e, k, beta: (e + k).mean())),
        Mistake(
            "beta and 1 - beta",
            "You mix the terms with beta and 1 - beta. The error has the weight 1.",
            combined(lambda e, k, beta: ((1 - beta) * e + beta * k).mean())),
        Mistake(
            "KL subtracted",
            "You subtract the KL, and the loss would reward clouds far from the prior. -ELBO is "
            "the error PLUS the KL.",
            combined(lambda e, k, beta: (e - beta * k).mean())),
        Mistake(
            "KL left out",
            "The KL does not occur in your answer: this is a plain autoencoder with noise.",
            combined(lambda e, k, beta: e.mean())),
        Mistake(
            "sign turned",
            "This is the ELBO, which is to grow. A loss falls: turn the sign.",
            combined(lambda e, k, beta: -(e + beta * k).mean())),
        Mistake(
            "summed over the batch",
            "You sum over the pictures. Average, or the step would grow with the batch.",
            combined(lambda e, k, beta: (e + beta * k).sum())),
        Mistake(
            "KL summed over the batch",
            "You sum the KL over the pictures and average the errors: beta would grow with the "
            "batch. Average both.",
            combined(lambda e, k, beta: e.mean() + beta * k.sum())),
        Mistake(
            "one number for each picture",
            "You return a loss for each picture, (B,). Average over the batch.",
            combined(lambda e, k, beta: e + beta * k)),
        Mistake(
            "mean over the colour values",
            "You average the error over the colour values, and the KL is a sum: then it outweighs "
            "the picture, and everything collapses. Sum the error of a picture as well.",
            lambda painted, images, kl, sigma, beta: (
                errors(painted, images, sigma) / images[0].numel() + beta * kl).mean()),
        Mistake(
            "both divided by the colour values",
            "You divide by the number of colour values. That is how the package trains, for one "
            "learning rate at all sizes; asked for are nats for a picture.",
            lambda painted, images, kl, sigma, beta: loss(
                painted, images, kl, sigma, beta) / images[0].numel()),
        Mistake(
            "the constant left out",
            "The constant of the Gaussian is missing: ln sigma + ln(2 pi) / 2 for each colour "
            "value. Without it the number is no -ln p.",
            error_by(lambda d, sigma: (d / sigma).square() / 2)),
        Mistake(
            "ln sigma left out",
            "ln sigma is missing: a wide Gaussian is lower in the middle.",
            error_by(lambda d, sigma: (d / sigma).square() / 2 + math.log(2 * math.pi) / 2)),
        Mistake(
            "ln sigma with a minus",
            "You subtract ln sigma. The density of a Gaussian has 1 / sigma, so -ln of it has a "
            "plus.",
            error_by(lambda d, sigma: (d / sigma).square() / 2 - math.log(sigma)
                     + math.log(2 * math.pi) / 2)),
        Mistake(
            "2 pi left out",
            "ln(2 pi) / 2 is missing for each colour value.",
            error_by(lambda d, sigma: (d / sigma).square() / 2 + math.log(sigma))),
        Mistake(
            "the whole of ln 2 pi",
            "You add ln(2 pi). The density has its root, so half of it.",
            error_by(lambda d, sigma: (d / sigma).square() / 2 + math.log(2 * math.pi * sigma))),
        Mistake(
            "the constant once a picture",
            "You add the constant once for a picture. Each colour value has its own Gaussian.",
            lambda painted, images, kl, sigma, beta: (
                ((painted - images) / sigma).square().flatten(1).sum(dim=1) / 2 + math.log(sigma)
                + math.log(2 * math.pi) / 2 + beta * kl).mean()),
        Mistake(
            "one half left out",
            "The squared error counts double: -ln of a Gaussian has (x - painted)^2 / (2 sigma^2).",
            error_by(lambda d, sigma: (d / sigma).square() + math.log(sigma)
                     + math.log(2 * math.pi) / 2)),
        Mistake(
            "sigma not squared",
            "You divide the squared error by sigma. It is sigma^2.",
            error_by(lambda d, sigma: d.square() / sigma / 2 + math.log(sigma)
                     + math.log(2 * math.pi) / 2)),
        Mistake(
            "sigma left out",
            "You do not divide the squared error. An error counts in units of sigma.",
            error_by(lambda d, sigma: d.square() / 2 + math.log(sigma)
                     + math.log(2 * math.pi) / 2)),
        Mistake(
            "sigma as the variance",
            "You take sigma for the variance. It is the standard deviation: square it.",
            error_by(lambda d, sigma: d.square() / sigma / 2
                     + math.log(2 * math.pi * sigma) / 2)),
        Mistake(
            "the plain squared error",
            "You add the squared error as it is. That is the -ln of a Gaussian of variance 1/2, "
            "but for a constant; ours has sigma.",
            error_by(lambda d, sigma: d.square())),
        Mistake(
            "size in place of the square",
            "You take the size of the error. A Gaussian has its square.",
            error_by(lambda d, sigma: d.abs() / sigma + math.log(sigma)
                     + math.log(2 * math.pi) / 2)),
        Mistake(
            "painted detached",
            "Your numbers are right, but no gradient reaches painted: the decoder would learn "
            "nothing. Detach nothing.",
            lambda painted, images, kl, sigma, beta: (vae.gaussian_nll(
                painted.detach(), images, sigma).flatten(1).sum(dim=1) + beta * kl).mean()),
        Mistake(
            "the KL detached",
            "Your numbers are right, but no gradient reaches kl: the clouds would not be pulled "
            "anywhere. Detach nothing.",
            lambda painted, images, kl, sigma, beta: (vae.gaussian_nll(
                painted, images, sigma).flatten(1).sum(dim=1) + beta * kl.detach()).mean()),
        *(Mistake(
            name, message,
            error_by(lambda d, sigma, of=of: of(d, sigma) + math.log(2 * math.pi) / 2
                     + math.log(sigma)))
          for name, message, of in (
              ("sigma in place of 2 sigma^2",
               "You divide the squared error by sigma. Below it stands 2 sigma^2.",
               lambda d, sigma: d.square() / sigma),
              ("the 2 squared too",
               "You divide by (2 sigma)^2. The square reaches sigma alone: 2 * sigma ** 2.",
               lambda d, sigma: d.square() / (2 * sigma) ** 2),
              ("multiplied with sigma squared",
               "You divide by 2 and multiply with sigma^2: x / 2 * s is (x / 2) * s. Put brackets "
               "round 2 * sigma ** 2.",
               lambda d, sigma: d.square() / 2 * sigma ** 2),
              ("error not squared",
               "You add the error as it is, above 0 or below. A Gaussian has its square.",
               lambda d, sigma: -d / (2 * sigma ** 2)),
              ("size in place of the square, over 2 sigma^2",
               "You take the size of the error. A Gaussian has its square.",
               lambda d, sigma: d.abs() / (2 * sigma ** 2)),
              ("sign of the squared error turned",
               "You subtract the squared error, and the loss would reward a bad painting. -ln p "
               "grows with it.",
               lambda d, sigma: -d.square() / (2 * sigma ** 2)))),
        *(Mistake(
            name, message,
            error_by(lambda d, sigma, of=of: (d / sigma).square() / 2 + of(sigma)))
          for name, message, of in (
              ("ln sigma twice",
               "You add ln of sigma^2. The density has 1 / sigma, so ln sigma.",
               lambda s: math.log(s ** 2) + math.log(2 * math.pi) / 2),
              ("half of ln sigma",
               "You add half of ln sigma. The half belongs to ln(2 pi); or to ln of the variance, "
               "sigma^2.",
               lambda s: math.log(s) / 2 + math.log(2 * math.pi) / 2),
              ("ln pi in place of ln 2 pi",
               "The 2 of ln(2 pi) / 2 is missing.",
               lambda s: math.log(s) + math.log(math.pi) / 2),
              ("the half inside the logarithm",
               "You take the logarithm of half of 2 pi. The half stands before the logarithm.",
               lambda s: math.log(s) + math.log(math.pi)),
              ("pi outside the logarithm",
               "You take ln 2 and multiply with pi. It is ln of 2 pi: math.log(2 * math.pi).",
               lambda s: math.log(s) + math.log(2) * math.pi / 2),
              ("ln 2 pi with a minus",
               "You subtract ln(2 pi) / 2. The density is divided by the root of 2 pi, so -ln of "
               "it has a plus.",
               lambda s: math.log(s) - math.log(2 * math.pi) / 2),
              ("the constant with a minus",
               "You subtract the constant. It belongs to -ln p: add it.",
               lambda s: -math.log(s) - math.log(2 * math.pi) / 2),
              ("log2 of sigma",
               "You take the logarithm of sigma to the base 2. Asked for are nats: math.log.",
               lambda s: math.log2(s) + math.log(2 * math.pi) / 2),
              ("sigma itself in place of ln sigma",
               "You add sigma. Its logarithm belongs there.",
               lambda s: s + math.log(2 * math.pi) / 2))),
        *(Mistake(
            name, message,
            lambda painted, images, kl, sigma, beta, of=of: (
                ((painted - images) / sigma).square().flatten(1).sum(dim=1) / 2
                + of(images, math.log(sigma), math.log(2 * math.pi) / 2) + beta * kl).mean())
          for name, message, of in (
              ("ln sigma once a picture",
               "You add ln sigma once for a picture. Each colour value has its own Gaussian.",
               lambda x, sigma, pi: sigma + x[0].numel() * pi),
              ("ln 2 pi once a picture",
               "You add ln(2 pi) / 2 once for a picture. Each colour value has its own Gaussian.",
               lambda x, sigma, pi: x[0].numel() * sigma + pi),
              ("the constant once a pixel",
               "You add the constant once for a pixel. A pixel has three colour values.",
               lambda x, sigma, pi: x[0, 0].numel() * (sigma + pi)),
              ("the constant 3072 times",
               "You add the constant 3072 times. Count the colour values of what comes: "
               "images[0].numel().",
               lambda x, sigma, pi: 3072 * (sigma + pi)),
              ("the constant of the whole batch",
               "You add the constant of the whole batch to each picture. A picture has "
               "images[0].numel() colour values.",
               lambda x, sigma, pi: x.numel() * (sigma + pi)))),
        Mistake(
            "the mean squared error",
            "You take the mean squared error. The picture's -ln p is a sum over its colour values, "
            "in units of sigma, with the constant.",
            lambda painted, images, kl, sigma, beta: F.mse_loss(painted, images)
            + beta * kl.mean()),
        Mistake(
            "sigma squared as the standard deviation",
            "You take sigma^2 for the standard deviation, of which the Gaussian takes the square "
            "once more. sigma is the standard deviation.",
            lambda painted, images, kl, sigma, beta: loss(painted, images, kl, sigma ** 2, beta)),
        Mistake(
            "sigma 0.2 whatever comes",
            "You use 0.2. sigma is given.",
            lambda painted, images, kl, sigma, beta: loss(painted, images, kl, 0.2, beta)),
        *(Mistake(
            f"sigma kept above {low:g}",
            f"You keep sigma above {low:g}. It is given as a number above 0: use it as it is.",
            lambda painted, images, kl, sigma, beta, low=low: loss(
                painted, images, kl, max(sigma, low), beta)) for low in (0.1, 0.5, 1)),
        Mistake(
            "sigma and beta swapped",
            "You take sigma for beta and the other way round. They come as painted, images, kl, "
            "sigma, beta.",
            lambda painted, images, kl, sigma, beta: (
                (painted - images).square() / (2 * beta ** 2) + math.log(beta)
                + math.log(2 * math.pi) / 2).flatten(1).sum(dim=1).mean() + sigma * kl.mean()),
        Mistake(
            "painted clamped",
            "You clamp what is painted to [-1, 1]. Beyond that no gradient tells the decoder to "
            "come back: take the error as it is.",
            lambda painted, images, kl, sigma, beta: loss(
                painted.clamp(-1, 1), images, kl, sigma, beta)),
        Mistake(
            "error summed over the batch",
            "You sum the errors over the pictures and average the KL. Average both.",
            combined(lambda e, k, beta: e.sum() + beta * k.mean())),
        *(Mistake(
            f"mean over the {what}",
            f"You average over the {what}. The error of a picture is the sum over all its colour "
            "values.",
            lambda painted, images, kl, sigma, beta, of=of: (
                errors(painted, images, sigma) / of(images) + beta * kl).mean())
          for what, of in (("pixels", lambda x: x[0, 0].numel()),
                           ("channels", lambda x: x.shape[1]))),
        Mistake(
            "KL divided by the colour values",
            "You divide the KL by the number of colour values. Both terms are nats for a picture.",
            lambda painted, images, kl, sigma, beta: (
                errors(painted, images, sigma) + beta * kl / images[0].numel()).mean()),
        Mistake(
            "KL once for each colour value",
            "You add the KL to each colour value, and then sum. A picture has one KL: add it after "
            "the sum.",
            lambda painted, images, kl, sigma, beta: (
                errors(painted, images, sigma) + images[0].numel() * beta * kl).mean()),
        Mistake(
            "averaged twice",
            "You divide by the number of pictures twice.",
            combined(lambda e, k, beta: (e + beta * k).mean() / len(e))),
        Mistake(
            "the middle in place of the mean",
            "You take the median over the pictures. Average them.",
            combined(lambda e, k, beta: (e + beta * k).median())),
        Mistake(
            "divided by beta",
            "You divide the KL by beta. It is a price: multiply.",
            combined(lambda e, k, beta: e.mean() + k.mean() / torch.tensor(float(beta)))),
        Mistake(
            "beta squared",
            "You square beta. The KL has the weight beta.",
            combined(lambda e, k, beta: (e + beta ** 2 * k).mean())),
        Mistake(
            "1 + beta",
            "You add the KL once more than beta says. Its weight is beta, and 1 only in the ELBO.",
            combined(lambda e, k, beta: (e + (1 + beta) * k).mean())),
        Mistake(
            "sign of the error turned",
            "You add ln p(x | z). The loss has -ln p: turn the sign of the error.",
            combined(lambda e, k, beta: (beta * k - e).mean())),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            lambda *args: loss(*args) / math.log(2)),
        Mistake(
            "root of the squared errors",
            "You take the root of the sum of squares, a distance. A Gaussian has the sum of "
            "squares itself.",
            lambda painted, images, kl, sigma, beta: (
                (painted - images).flatten(1).norm(dim=1) / (2 * sigma ** 2)
                + errors(images, images, sigma) + beta * kl).mean()),
        Mistake(
            "summed before the square",
            "You sum the errors and square the sum, where those above 0 and below cancel. Square "
            "each, then sum.",
            lambda painted, images, kl, sigma, beta: (
                (painted - images).flatten(1).sum(dim=1).square() / (2 * sigma ** 2)
                + errors(images, images, sigma) + beta * kl).mean()),
        Mistake(
            "colours from 0 to 1",
            "You scale the colours to [0, 1] first, and the errors are half as large. They are "
            "given from -1 to 1, and sigma is meant for these.",
            lambda painted, images, kl, sigma, beta: loss(
                painted / 2, images / 2, kl, sigma, beta)),
    ), "nats for a picture, with beta as the price of a nat in the latent",
    tolerance=2e-5,            # sums of 200 squares, and loops round at each of them
    learns=True)


# ---- the scale

def latent_scale(latents: Tensor) -> float:
    """latents (N,C,h,w) -> a number: times it, all entries together have standard deviation 1."""
    return 1 / latents.std().item()


def number(x: Tensor) -> Tensor | float:
    """Where it is one."""
    return x if x.ndim else x.item()


def latents_inputs(sizes, centre: float):
    """So many that N and N - 1 make no difference; channels of different width and centre."""
    def draw(g: Generator) -> tuple:
        N, C, h, w = sizes(g)
        width = uniform((C, 1, 1), 0.3, 6, g)
        middle = centre + torch.randn(C, 1, 1, generator=g)
        own = uniform((N, 1, 1, 1), 0.5, 1.5, g)           # each picture has its own width too
        return (middle + own * width * torch.randn(N, C, h, w, generator=g),)
    return draw


def narrow_latents(g: Generator) -> tuple:
    """A standard deviation of 0.00083, to which nothing may be added that is not far below it."""
    latents, = latents_inputs(one_channel, 0.5)(g)
    return (8.3e-4 * latents / latents.std(),)


def two_values(g: Generator) -> tuple:
    """As many of 2049 as of 2051. float16 makes 2048 and 2052 of them, twice as far apart; the
    squares lose some of it too in float32, but never that."""
    N, C, h, w = one_channel(g)
    values = 2049 + 2 * (torch.randperm(N * C * h * w, generator=g) % 2)
    return (values.view(N, C, h, w).float(),)


def many_latents(g: Generator) -> tuple[int, ...]:
    return between(450, 490, g), between(2, 4, g), 7, 9


def one_channel(g: Generator) -> tuple[int, ...]:
    return between(400, 440, g), 1, 16, 16


def of_latents(spread):
    """1 / another spread of the latents."""
    return lambda latents: number(1 / spread(latents))


SCALE = Exercise(
    "vae.latent_scale", LESSON, 1, latent_scale,
    (latents_inputs(many_latents, 0.0), latents_inputs(many_latents, 4.0),
     latents_inputs(one_channel, -3.0), latents_inputs(one_channel, 1e4),
     narrow_latents, two_values),
    of_section(6,
        Mistake(
            "the standard deviation itself",
            "This is the standard deviation. What makes it 1 is one divided by it.",
            lambda latents: latents.std().item()),
        Mistake(
            "the variance",
            "This is the variance. Asked for is the factor: one divided by its root.",
            lambda latents: latents.var().item()),
        Mistake(
            "one over the variance",
            "You divide by the variance. A factor s makes the variance s^2 times as large: take "
            "its root.",
            of_latents(torch.var)),
        Mistake(
            "one over the root of the standard deviation",
            "You take the root once too often: std is the root of the variance already.",
            of_latents(lambda z: z.std().sqrt())),
        Mistake(
            "the mean not subtracted",
            "You divide by the root of the mean square. A standard deviation is measured from the "
            "mean; where that is not 0, yours is too large.",
            of_latents(lambda z: z.square().mean().sqrt())),
        Mistake(
            "one for each channel",
            "You return a scale for each channel. One number is asked for all entries together: "
            "channels may then differ.",
            of_latents(lambda z: z.std(dim=(0, 2, 3)))),
        Mistake(
            "one for each picture",
            "You return a scale for each picture. Then the decoder would have to know which: one "
            "number for all.",
            of_latents(lambda z: z.flatten(1).std(dim=1))),
        Mistake(
            "one for each entry",
            "You return a scale for each entry of the latent. One number is asked.",
            of_latents(lambda z: z.std(dim=0))),
        Mistake(
            "mean of the channels' standard deviations",
            "You average the standard deviations of the channels. All entries together have "
            "another: how far the channels lie apart counts too.",
            of_latents(lambda z: z.std(dim=(0, 2, 3)).mean())),
        Mistake(
            "mean of the pictures' standard deviations",
            "You average the standard deviations of the pictures. Take that of all entries "
            "together.",
            of_latents(lambda z: z.flatten(1).std(dim=1).mean())),
        Mistake(
            "standard deviation of the pictures' means",
            "You average each picture first. Every entry counts by itself.",
            of_latents(lambda z: z.flatten(1).mean(dim=1).std())),
        Mistake(
            "centred channel by channel",
            "You subtract each channel's own mean. One mean of all entries, as the scale is one "
            "number.",
            of_latents(lambda z: (z - z.mean(dim=(0, 2, 3), keepdim=True)).square().mean().sqrt())),
        Mistake(
            "the first picture only",
            "You measure the first picture alone. Measure all.",
            of_latents(lambda z: z[0].std())),
        Mistake(
            "the mean size",
            "You divide by the mean size of the entries. For a Gaussian that is 0.8 of the "
            "standard deviation.",
            of_latents(lambda z: z.abs().mean())),
        Mistake(
            "the largest size",
            "You divide by the largest entry, so that all lie in [-1, 1]. Noise is added with "
            "standard deviation 1: that is what the latents are to be brought to.",
            of_latents(lambda z: z.abs().max())),
        Mistake(
            "the span",
            "You divide by largest minus smallest. Two wild entries would set the scale.",
            of_latents(lambda z: z.max() - z.min())),
        Mistake(
            "the scaled latents",
            "You return the latents, scaled. Asked for is the factor alone.",
            lambda latents: latents / latents.std()),
        Mistake(
            "0.18215 whatever comes",
            "That is the factor of Stable Diffusion's autoencoder, measured on its latents. "
            "Measure yours.",
            lambda latents: 0.18215),
        Mistake(
            "1 whatever comes",
            "You return 1. Only latents whose standard deviation is 1 already need no scale: "
            "measure them.",
            lambda latents: 1.0),
        Mistake(
            "in half precision",        # before the next: both may find no spread at all at 10000
            "You go through float16. Near 10000 its numbers lie 8 apart, and what is narrower is "
            "lost: measure in float32.",
            of_latents(lambda z: z.half().float().std())),
        Mistake(
            "mean of squares minus square of the mean",
            "On paper it is right, but where the mean is far from 0 two large numbers cancel, and "
            "float32 has no digits left. Subtract the mean first, then square; or use std.",
            of_latents(lambda z: (z.square().mean() - z.mean().square()).sqrt())),
        Mistake(
            "mean of squares plus square of the mean",
            "You add the square of the mean. A variance is measured from the mean: subtract it "
            "from each entry before you square.",
            of_latents(lambda z: (z.square().mean() + z.mean().square()).sqrt())),
        *(Mistake(
            f"{eps:g} added to the standard deviation",
            f"You add {eps:g} to the standard deviation, which is no small part of that of narrow "
            "latents. Divide by it as it is.",
            of_latents(lambda z, eps=eps: z.std() + eps))
          for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)),
        *(Mistake(
            f"{eps:g} added to the variance",
            f"You add {eps:g} to the variance, which is no small part of that of narrow latents. "
            "Take its root as it is.",
            of_latents(lambda z, eps=eps: (z.var() + eps).sqrt()))
          for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)),
        *(Mistake(
            f"the scale kept {what} 1",
            f"You keep the scale {what} 1. Narrow latents need one above, wide ones below: return "
            "it as it is.",
            lambda latents, of=of: of(1 / latents.std().item(), 1.0))
          for what, of in (("below", min), ("above", max))),
        Mistake(
            "the mean square",
            "You divide by the mean of the squares. Subtract the mean first, and take the root at "
            "the end.",
            of_latents(lambda z: z.square().mean())),
        Mistake(
            "the mean",
            "You divide by the mean. Asked for is what brings the standard deviation to 1.",
            of_latents(torch.mean)),
        Mistake(
            "mean and standard deviation together",
            "You divide by the mean plus the standard deviation. The mean is left alone: only how "
            "wide the entries scatter counts.",
            of_latents(lambda z: z.mean() + z.std())),
        Mistake(
            "the sum of squares",
            "You sum the squares. A variance is their mean.",
            of_latents(lambda z: (z - z.mean()).norm())),
        Mistake(
            "the norm",
            "You divide by the norm, the root of the sum of squares. Subtract the mean first, and "
            "take the mean of the squares in place of their sum.",
            of_latents(torch.norm)),
        Mistake(
            "mean distance from the mean",
            "You divide by the mean distance from the mean. For a Gaussian that is 0.8 of the "
            "standard deviation: square, average, take the root.",
            of_latents(lambda z: (z - z.mean()).abs().mean())),
        Mistake(
            "middle distance from the middle",
            "You divide by the median distance from the median. Asked for is the standard "
            "deviation.",
            of_latents(lambda z: (z - z.median()).abs().median())),
        Mistake(
            "standard deviation of the sizes",
            "You take the size of the entries first. Those below 0 lie on the other side of the "
            "mean: keep the sign.",
            of_latents(lambda z: z.abs().std())),
        Mistake(
            "mean of the channels' scales",
            "You average one scale for each channel. Take that of all entries together.",
            lambda latents: (1 / latents.std(dim=(0, 2, 3))).mean().item()),
        Mistake(
            "mean of the pictures' scales",
            "You average one scale for each picture. Take that of all entries together.",
            lambda latents: (1 / latents.flatten(1).std(dim=1)).mean().item()),
        Mistake(
            "mean over the entries' standard deviations",
            "You measure each entry of the latent over the pictures and average. Take the standard "
            "deviation of all entries together.",
            of_latents(lambda z: z.std(dim=0).mean())),
        Mistake(
            "mean over the rows' standard deviations",
            "You measure each row of the grid by itself and average. Take the standard deviation "
            "of all entries together.",
            of_latents(lambda z: z.std(dim=-1).mean())),
        Mistake(
            "centred picture by picture",
            "You subtract each picture's own mean. One mean of all entries, as the scale is one "
            "number.",
            of_latents(lambda z: (z - z.mean(dim=(1, 2, 3), keepdim=True)).square().mean().sqrt())),
        Mistake(
            "the first channel only",
            "You measure the first channel alone. Measure all.",
            of_latents(lambda z: z[:, 0].std())),
        Mistake(
            "positions averaged first",
            "You average over the positions first. Every entry counts by itself.",
            of_latents(lambda z: z.mean(dim=(2, 3)).std())),
        Mistake(
            "standard deviation of the channels' means",
            "You average each channel first. Every entry counts by itself.",
            of_latents(lambda z: scatter(z.mean(dim=(0, 2, 3)), torch.std))),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: a scale is above 0.",
            lambda latents: -latent_scale(latents)),
        Mistake(
            "twice as large",
            "Your answer is twice as large: after it the standard deviation is 2.",
            lambda latents: 2 * latent_scale(latents)),
        *(Mistake(
            f"rounded to {digits} digits",
            f"You round to {digits} digits. The scale is to be kept with the model: round what is "
            "printed.",
            lambda latents, digits=digits: round(latent_scale(latents), digits))
          for digits in (1, 2)),
        Mistake(
            "cut to a whole number",
            "You cut or round to a whole number. The scale is to be kept with the model as it is.",
            lambda latents: int(latent_scale(latents))),
        *(Mistake(
            f"standard deviation kept above {eps:g}",
            f"You keep the standard deviation above {eps:g}. Narrow latents need a large scale: "
            "divide by it as it is.",
            of_latents(lambda z, eps=eps: z.std().clamp(min=eps))) for eps in (1e-3, 1e-2, 1e-1)),
        Mistake(
            "root of the pictures' mean variance",
            "You average the variances of the pictures, each round its own mean. Take the standard "
            "deviation of all entries together.",
            of_latents(lambda z: z.flatten(1).var(dim=1).mean().sqrt())),
    ), "one number, after which noise of variance one fits", tolerance=2e-5)


TEST = hunt(KL, "summed over the batch", "mean over the latent", "sign turned",
    "one half forgotten", "log-variance as the logarithm of the standard deviation",
    "exp forgotten", "mean not squared", "1 forgotten", "the other KL",
    "logarithm of a variance that is 0")
EXERCISES = (EVIDENCE, KL, REPARAMETERISE, SCORE, LOSS, SCALE, TEST)
