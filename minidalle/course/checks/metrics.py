r"""The exercises of lesson 05: how far apart are two crowds of pictures?

in -> out   EXERCISES: covariance, frechet, precision_recall, attribute_accuracy
idea        Every number here can be wrong and still look like a number, so the inputs are far from
            the cases in which mistakes cancel: means away from 0, matrices that do not commute,
            crowds of unequal size.
"""
import torch
from torch import Generator, Tensor

from minidalle import metrics
from minidalle.course.checks import Exercise, Mistake

LESSON = "05_metrics"


# ---- covariance

def covariance(x: Tensor) -> Tensor:
    """Features (N,F) -> (F,F), divided by N - 1."""
    return x.T.cov()


def covariance_inputs(g: Generator) -> tuple:
    """Few samples, far from 0, with features that depend on each other."""
    F = int(torch.randint(3, 6, (), generator=g))
    return (1 + torch.randn(7, F, generator=g) @ torch.randn(F, F, generator=g),)


COVARIANCE = Exercise(
    "metrics.covariance", LESSON, 2, covariance, (covariance_inputs,), (
        Mistake(
            "not centred",
            "You multiply the features as they are. Take away the mean of each feature first, or "
            "you measure how far the crowd is from 0.",
            lambda x: x.T @ x / (len(x) - 1)),
        Mistake(
            "divided by N",
            "You divide by N. The mean was taken from the same samples and lies too near to them, "
            "which N - 1 makes up for.",
            lambda x: x.T.cov() * (len(x) - 1) / len(x)),
        Mistake(
            "not divided",
            "You add up over the samples and do not divide: twice as many pictures would give "
            "twice the covariance.",
            lambda x: x.T.cov() * (len(x) - 1)),
        Mistake(
            "samples in place of features",
            "Your table is (N,N), picture by picture. It should be (F,F), feature by feature: "
            "which of the two matrices is transposed?",
            lambda x: (x - x.mean(dim=0)) @ (x - x.mean(dim=0)).T / (len(x) - 1)),
        Mistake(
            "variances only",
            "You return variances only. The places beside the diagonal say how two features move "
            "together.",
            lambda x: torch.diag(x.var(dim=0))),
        Mistake(
            "centred along the wrong dimension",
            "You take from each picture the mean of its own features. Take from each feature its "
            "mean over the pictures, dim=0.",
            lambda x: (d := x - x.mean(dim=1, keepdim=True)).T @ d / (len(x) - 1)),
        Mistake(
            "correlation",
            "These are correlations: your diagonal is 1. Do not divide by the standard deviations.",
            lambda x: x.T.corrcoef()),
    ), "centred, over N - 1, feature by feature")


# ---- the Frechet distance of two Gaussians

def root(C: Tensor) -> Tensor:
    """The matrix whose product with itself is C."""
    values, vectors = torch.linalg.eigh(C)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def cross(C_x: Tensor, C_y: Tensor) -> Tensor:
    """The trace of (C_x C_y)^(1/2)."""
    half = root(C_x)
    return root(half @ C_y @ half).trace()


def frechet(mu_x: Tensor, C_x: Tensor, mu_y: Tensor, C_y: Tensor) -> float:
    """Means (F,) and covariances (F,F) of two Gaussians -> FID."""
    return assembled((mu_x - mu_y).square().sum(), C_x, C_y, cross(C_x, C_y))


def assembled(means: Tensor, C_x: Tensor, C_y: Tensor, mixed: Tensor) -> float:
    return (means + C_x.trace() + C_y.trace() - 2 * mixed).item()


def frechet_inputs(g: Generator) -> tuple:
    """Two covariances of different size and direction; float64, as every FID should be."""
    F = int(torch.randint(3, 5, (), generator=g))
    A, B = torch.randn(2, F, F, generator=g, dtype=torch.float64)
    mu_x, mu_y = torch.randn(2, F, generator=g, dtype=torch.float64)
    eye = torch.eye(F, dtype=torch.float64)
    return mu_x, A @ A.T + eye, mu_y + 1, 3 * B @ B.T + eye


def frechet_with(mixed):
    """FID with another third term: mixed(C_x, C_y)."""
    return lambda mu_x, C_x, mu_y, C_y: assembled((mu_x - mu_y).square().sum(), C_x, C_y,
                                                  mixed(C_x, C_y))


def frechet_means(distance):
    """FID with another distance of the means."""
    return lambda mu_x, C_x, mu_y, C_y: assembled(distance(mu_x - mu_y), C_x, C_y,
                                                  cross(C_x, C_y))


FRECHET = Exercise(
    "metrics.frechet", LESSON, 3, frechet, (frechet_inputs,), (
        Mistake(
            "the square root element by element",
            "You take the root of each entry of C_x C_y. What is meant is the matrix that, "
            "multiplied with itself, gives C_x C_y; its trace is the sum of the roots of the "
            "eigenvalues.",
            frechet_with(lambda C_x, C_y: (C_x @ C_y).sqrt().trace())),
        Mistake(
            "the diagonals only",
            "You use only the variances, the diagonals of C_x and C_y. That is right where "
            "features are independent, and here they are not.",
            frechet_with(lambda C_x, C_y: (C_x.diag() * C_y.diag()).sqrt().sum())),
        Mistake(
            "the roots multiplied",
            "You multiply the root of C_x with the root of C_y. Unless the two commute, that is "
            "not the root of their product.",
            frechet_with(lambda C_x, C_y: (root(C_x) @ root(C_y)).trace())),
        Mistake(
            "the root forgotten",
            "You subtract the trace of C_x C_y itself: the root is missing.",
            frechet_with(lambda C_x, C_y: (C_x @ C_y).trace())),
        Mistake(
            "once in place of twice",
            "You subtract the mixed term once. With 2 in front of it, two equal Gaussians have "
            "the distance 0: try that.",
            frechet_with(lambda C_x, C_y: cross(C_x, C_y) / 2)),
        Mistake(
            "the distance of the means not squared",
            "You add the distance of the means, and the formula has its square.",
            frechet_means(lambda d: d.norm())),
        Mistake(
            "the means averaged over the features",
            "You average the squared differences of the means over the features. The formula has "
            "their sum, |mu_x - mu_y|^2.",
            frechet_means(lambda d: d.square().mean())),
        Mistake(
            "the means forgotten",
            "You compare only the covariances. Two crowds of the same shape can lie far apart: "
            "add the squared distance of the means.",
            frechet_means(lambda d: 0 * d.sum())),
    ), "the closed form, for covariances that do not commute")


# ---- precision and recall

def precision_recall(real: Tensor, fake: Tensor, k: int) -> tuple[float, float]:
    """Features (N,F) and (M,F) -> shares: fakes inside a real ball, reals inside a fake ball."""
    return metrics.precision_recall(real, fake, k)


def crowds(g: Generator) -> tuple:
    """A wide real crowd; most fakes huddle in a part of it, some are far away."""
    real = torch.randn(53, 2, generator=g)
    fake = 0.35 * torch.randn(37, 2, generator=g) + torch.tensor([0.6, 0.0])
    fake[:13] = 2.2 * torch.randn(13, 2, generator=g)
    return real, fake, int(torch.randint(2, 4, (), generator=g))


def share(inside: Tensor) -> float:
    return inside.double().mean().item()


def radii(centres: Tensor, k: int) -> Tensor:
    """The distance of each to its k-th neighbour; itself is number 0."""
    return torch.cdist(centres, centres).sort(dim=1).values[:, k]


def both(inside):
    """Precision and recall by another rule: inside(distances (N,M), points, centres, k)."""
    return lambda real, fake, k: (share(inside(torch.cdist(fake, real), fake, real, k)),
                                  share(inside(torch.cdist(real, fake), real, fake, k)))


PRECISION = Exercise(
    "metrics.precision_recall", LESSON, 3, precision_recall, (crowds,), (
        Mistake(
            "precision and recall exchanged",
            "Both numbers are right, and in the wrong order. Precision asks of the FAKES whether "
            "they look real; recall asks of the real ones whether they are covered.",
            lambda real, fake, k: precision_recall(fake, real, k)),
        Mistake(
            "itself counted as a neighbour",
            "Your balls are too small: each sample is its own nearest at distance 0, and you "
            "count it. The k-th neighbour is number k + 1 in the sorted distances.",
            lambda real, fake, k: precision_recall(real, fake, k - 1)),
        Mistake(
            "one neighbour too many",
            "Your balls are too large: you sort the distances and take one neighbour too far. "
            "With itself at place 0, the k-th neighbour is at place k.",
            lambda real, fake, k: precision_recall(real, fake, k + 1)),
        Mistake(
            "inside all balls",
            "You ask whether a sample lies inside ALL balls of the other crowd. Inside any one of "
            "them is enough.",
            both(lambda d, points, centres, k: (d <= radii(centres, k)).all(dim=1))),
        Mistake(
            "the nearest centre only",
            "You look only into the ball of the nearest centre. Another one, a little farther "
            "away, may have a larger ball.",
            both(lambda d, points, centres, k:
                 d.min(dim=1).values <= radii(centres, k)[d.argmin(dim=1)])),
        Mistake(
            "the balls of the wrong crowd",
            "You draw the balls round the samples that are asked about. For precision they lie "
            "round the real ones, for recall round the fakes.",
            both(lambda d, points, centres, k: (d <= radii(points, k)[:, None]).any(dim=1))),
    ), "the share inside the balls of the other crowd, in both directions")


# ---- attribute accuracy

def attribute_accuracy(read: Tensor, wanted: Tensor) -> Tensor:
    """What was read and what was wanted, (N,F) -> (F+1,): the share of each, and of all at once."""
    right = read == wanted                                                  # (N, F)
    return torch.cat([right.float().mean(dim=0), right.all(dim=1).float().mean()[None]])


def accuracy_inputs(g: Generator) -> tuple:
    """Each factor right in about two thirds of the pictures."""
    wanted = torch.randint(4, (31, 3), generator=g)
    off = torch.rand(31, 3, generator=g) < torch.tensor([0.2, 0.3, 0.5])
    return (wanted + off) % 4, wanted


def with_all(last):
    """The shares, and another number for "all": last(right (N,F), shares (F,))."""
    def accuracy(read, wanted):
        right = read == wanted
        shares = right.float().mean(dim=0)
        return torch.cat([shares, last(right, shares)[None]])
    return accuracy


ACCURACY = Exercise(
    "metrics.attribute_accuracy", LESSON, 1, attribute_accuracy, (accuracy_inputs,), (
        Mistake(
            "the shares multiplied",
            "For \"all\" you multiply the shares, as if mistakes were independent. A picture with "
            "a bad digit often has bad ink too: count the pictures in which everything is right.",
            with_all(lambda right, shares: shares.prod())),
        Mistake(
            "the mean of the shares",
            "For \"all\" you take the mean of the shares. Count the pictures in which every "
            "factor is right at once.",
            with_all(lambda right, shares: shares.mean())),
        Mistake(
            "any in place of all",
            "For \"all\" you count the pictures in which ANY factor is right. Every factor must "
            "be.",
            with_all(lambda right, shares: right.any(dim=1).float().mean())),
        Mistake(
            "the worst share",
            "For \"all\" you take the smallest share. A picture fails if any factor fails, so the "
            "share is smaller still: count pictures.",
            with_all(lambda right, shares: shares.min())),
        Mistake(
            "counts in place of shares",
            "You return how many, not which share. Divide by the number of pictures.",
            lambda read, wanted: len(read) * attribute_accuracy(read, wanted)),
        Mistake(
            "mistakes in place of hits",
            "You return the share that is wrong. Accuracy counts what is right.",
            lambda read, wanted: 1 - attribute_accuracy(read, wanted)),
        Mistake(
            "all forgotten",
            "Your shares are right. The last number is missing, the share of pictures in which "
            "every factor is right.",
            lambda read, wanted: attribute_accuracy(read, wanted)[:-1]),
    ), "each share, and pictures right in everything")


EXERCISES = (COVARIANCE, FRECHET, PRECISION, ACCURACY)
