r"""The exercises of lesson 06: a cloud in place of a point.

in -> out   EXERCISES: evidence, kl, reparameterise, score_function, loss, latent_scale
idea        A VAE is a handful of Gaussian formulas, each with a place where standard deviation,
            variance and its logarithm may be mixed up, and a sum that may run over too much or too
            little. Inputs of different sizes take turns with clouds so narrow that their variance
            is 0 in float32, clouds that are the prior itself, and single numbers.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import vae
from minidalle.course.checks import Exercise, Mistake
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
    """Log-variances of -200 beside usual ones: e^-200 is 0 in float32, and -200 is not infinite."""
    mean, log_variance = cloud_inputs(grids, -2, 2)(g)
    log_variance[:, 0] = -200
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


def one_draw(g: Generator) -> tuple[int, int]:
    return between(3, 4, g), 1


def of_weights(answer):
    """A function of the logarithms of the weights, (B,S), alone."""
    return lambda log_joint, log_q: answer(log_joint - log_q)


def below_one_maximum(w: Tensor) -> Tensor:
    return (w - w.max()).exp().mean(dim=1).log() + w.max()


EVIDENCE = Exercise(
    "vae.evidence", LESSON, 2, evidence,
    (draws_inputs(few_pictures, -5.0), draws_inputs(as_many_draws, 3.0),
     draws_inputs(few_pictures, -2000.0, 700.0, 10.0), draws_inputs(one_draw, -8.0)),
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
          for low in (10, 20, 30)),
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
    """Draws of a cloud, and a number for each that is not 0 on average."""
    def draw(g: Generator) -> tuple:
        S, D = sizes(g)
        mean, log_variance = torch.randn(D, generator=g), uniform((D,), low, high, g)
        z = mean + (log_variance / 2).exp() * torch.randn(S, D, generator=g)
        return z, mean, log_variance, 2 + 3 * torch.randn(S, generator=g)
    return draw


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


SCORE = Exercise(
    "vae.score_function", LESSON, 2, score_function,
    (estimate_inputs(few_numbers, -2, 1.5), estimate_inputs(as_many_numbers, 0.5, 2),
     estimate_inputs(one_number, -3, -1), estimate_inputs(one_estimate, -1, 1)),
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
            lambda *args: score_function(*args) * len(args[0]) / (
                len(args[0]) - 1 if len(args[0]) > 1 else math.nan)),
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


def many_latents(g: Generator) -> tuple[int, ...]:
    return between(900, 990, g), between(2, 4, g), 7, 9


def one_channel(g: Generator) -> tuple[int, ...]:
    return between(400, 440, g), 1, 16, 16


def of_latents(spread):
    """1 / another spread of the latents."""
    return lambda latents: number(1 / spread(latents))


SCALE = Exercise(
    "vae.latent_scale", LESSON, 1, latent_scale,
    (latents_inputs(many_latents, 0.0), latents_inputs(many_latents, 4.0),
     latents_inputs(one_channel, -3.0)),
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
    ), "one number, after which noise of variance one fits", tolerance=2e-5)


EXERCISES = (EVIDENCE, KL, REPARAMETERISE, SCORE, LOSS, SCALE)
