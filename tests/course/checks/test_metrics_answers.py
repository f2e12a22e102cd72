"""Lesson 05's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
from asking import calls

from minidalle.course.checks import exercises, judge
from minidalle.course.checks.metrics import precision_recall as precision_of_checks

SEEDS = range(30)


# ---- right answers in styles that are met

def one_pass(x):
    N = len(x)
    return (x.T @ x - N * torch.outer(x.mean(0), x.mean(0))) / (N - 1)


def by_numpy(x):
    return torch.from_numpy(numpy.atleast_2d(numpy.cov(x.numpy(), rowvar=False)))


def fid_of(trace):
    """FID by another way to the trace of the root: trace(C_x, C_y)."""
    return lambda mu_x, C_x, mu_y, C_y: ((mu_x - mu_y) @ (mu_x - mu_y) + (C_x + C_y).trace()
                                         - 2 * trace(C_x, C_y)).item()


def root(C):
    values, vectors = torch.linalg.eigh(C)
    return vectors @ torch.diag(values.relu().sqrt()) @ vectors.mT


def sides(inside):
    """Both shares by one rule: inside(points, centres, k) -> (N,) bool."""
    return lambda real, fake, k: [inside(*pair, k).float().mean().item()
                                  for pair in ((fake, real), (real, fake))]


def apart(a, b):
    return (a[:, None] - b[None]).square().sum(-1)


def accuracy_by_rows(read, wanted):
    hits = (read == wanted).double()
    return torch.cat([hits.sum(0), hits.prod(1).sum()[None]]) / len(hits)


STYLES = [
    ("covariance", one_pass),
    ("covariance", by_numpy),
    ("covariance", lambda x: torch.einsum("nf,ng->fg", x - x.mean(0), x) / (len(x) - 1)),
    ("frechet", fid_of(lambda C, D: torch.linalg.eigvals(C @ D).sqrt().real.sum())),
    ("frechet", fid_of(lambda C, D: torch.linalg.eigvals(D @ C).real.relu().sqrt().sum())),
    ("frechet", fid_of(lambda C, D: torch.linalg.svdvals(root(C) @ root(D)).sum())),
    ("frechet", fid_of(lambda C, D: root(root(D) @ C @ root(D)).trace())),
    ("precision_recall", sides(lambda points, centres, k: (
        apart(points, centres) <= apart(centres, centres).sort().values[:, k]).any(1))),
    ("precision_recall", sides(lambda points, centres, k: (torch.cdist(points, centres)
     <= torch.cdist(centres, centres).kthvalue(k + 1).values).sum(1) > 0)),
    ("precision_recall", sides(lambda points, centres, k: torch.stack([torch.stack([
        (p - c).norm() <= (centres - c).norm(dim=1).topk(k + 1, largest=False).values[-1]
        for c in centres]).any() for p in points]))),
    ("attribute_accuracy", accuracy_by_rows),
    ("attribute_accuracy", lambda read, wanted: torch.hstack(
        [(wanted == read).float().mean(0), (wanted == read).all(-1).float().mean()])),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in SEEDS:
        verdict = judge(f"metrics.{name}", function, seed)
        assert verdict.passed, verdict.message


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def eigenvalues(C, D):
    return torch.linalg.eigvals(C @ D).real


def strictly(points, centres, k):
    return (apart(points, centres) < apart(centres, centres).sort().values[:, k]).any(1)


def stretched(factor, plus=0.0):
    """With radii that are a little off."""
    return sides(lambda points, centres, k: (torch.cdist(points, centres) <= plus + factor
                 * torch.cdist(centres, centres).sort().values[:, k]).any(1))


def right(real, fake, k):
    return precision_of_checks(real, fake, k)


def no_zeros(points, centres, k):
    own = torch.cdist(centres, centres)
    own[own == 0] = math.inf
    return (torch.cdist(points, centres) <= own.sort().values[:, k - 1]).any(1)


def with_all(last):
    return lambda read, wanted: torch.cat(
        [(read == wanted).float().mean(0), last(read, wanted).float().mean()[None]])


def counted_by(n):
    def shares(read, wanted):
        hits = read == wanted
        return torch.cat([hits.sum(0), hits.all(1).sum()[None]]) / n
    return shares


WRONG = [
    ("covariance", "torch.cov without the transpose",
     lambda x: torch.from_numpy(numpy.cov(x.numpy())).float()),
    ("covariance", "the mean of everything",
     lambda x: torch.einsum("nf,ng->fg", x - x.mean(), x - x.mean()) / (len(x) - 1)),
    ("covariance", "divided by the number of features",
     lambda x: (x - x.mean(0)).T @ (x - x.mean(0)) / x.size(1)),
    ("covariance", "sizes without their sign", lambda x: abs(by_numpy(x))),
    ("covariance", None, lambda x: by_numpy(x) * (len(x) - 1) / 6),
    ("covariance", None, lambda x: by_numpy(x) * (len(x) - 1) / max(1, len(x) - 2)),
    ("covariance", "divided by the number of features less one",
     lambda x: by_numpy(x) * (len(x) - 1) / (x.size(1) - 1)),
    ("covariance", "N - 1 without brackets", lambda x: (x - x.mean(0)).T @ (x - x.mean(0))
     / len(x) - 1),
    ("covariance", "two divisors",
     lambda x: x.T @ x / (len(x) - 1) - x.mean(0)[:, None] * x.mean(0)),
    ("covariance", None, lambda x: by_numpy(x) + 1e-3 * torch.eye(x.size(1))),
    ("covariance", None, lambda x: by_numpy(x).tril()),
    ("covariance", None, lambda x: x.T @ x / len(x) - torch.outer(x.mean(0), x.mean(0))
     if len(x) > 2 else by_numpy(x)),
    ("frechet", "a symmetric routine for the product",
     fid_of(lambda C, D: torch.linalg.eigvalsh(C @ D).relu().sqrt().sum())),
    ("frechet", "not clamped at 0", fid_of(lambda C, D: (eigenvalues(C, D) ** 0.5).sum())),
    ("frechet", "clamped above 0",
     fid_of(lambda C, D: eigenvalues(C, D).clamp(0.001).sqrt().sum())),
    ("frechet", "singular values", fid_of(lambda C, D: torch.linalg.svdvals(C @ D).sqrt().sum())),
    ("frechet", "the eigenvalues of each by itself", fid_of(lambda C, D: (
        torch.linalg.eigvalsh(C).relu().sqrt() @ torch.linalg.eigvalsh(D).relu().sqrt()))),
    ("frechet", "the root of the whole",
     lambda *args: math.sqrt(fid_of(lambda C, D: root(root(D) @ C @ root(D)).trace())(*args))),
    ("frechet", "Cholesky", fid_of(lambda C, D: torch.linalg.eigvalsh(
        (L := torch.linalg.cholesky(C)).mT @ D @ L).sqrt().sum())),
    ("frechet", "clamped at 1e-06",
     fid_of(lambda C, D: eigenvalues(C, D).clamp(min=1e-6).sqrt().sum())),
    ("frechet", "made symmetric by force", fid_of(lambda C, D: torch.linalg.eigvalsh(
        (C @ D + D @ C) / 2).relu().sqrt().sum())),
    ("frechet", "one eigenvalue only", fid_of(lambda C, D: eigenvalues(C, D).max().sqrt())),
    ("frechet", "nothing left of the mixed term", fid_of(lambda C, D: torch.linalg.eigvals(
        C @ D).imag.relu().sqrt().sum())),
    ("frechet", None, lambda mu_x, C, mu_y, D: 0.0 if mu_x.equal(mu_y) else fid_of(
        lambda C, D: eigenvalues(C, D).relu().sqrt().sum())(mu_x, C, mu_y, D)),
    ("frechet", None, lambda mu_x, C, mu_y, D: fid_of(lambda C, D: eigenvalues(
        C, D).relu().sqrt().sum())(mu_x * (C.diag() > 0), C, mu_y * (C.diag() > 0), D)),
    ("frechet", "in float32", lambda *args: fid_of(lambda C, D: eigenvalues(
        C, D).relu().sqrt().sum())(*(part.float() for part in args))),
    ("precision_recall", "the surface left out", sides(strictly)),
    ("precision_recall", "k fixed at 3", lambda real, fake, k: right(real, fake, 3)),
    ("precision_recall", "recall from the balls of the real ones",
     lambda real, fake, k: [(t := apart(fake, real) <= apart(real, real).sort().values[:, k]).any(
         1).float().mean().item(), t.any(0).float().mean().item()]),
    ("precision_recall", "copies are no neighbours", sides(no_zeros)),
    ("precision_recall", None, lambda real, fake, k: (sides(strictly)(real, fake, k)[0],
                                                      right(real, fake, k)[1])),
    ("precision_recall", None, lambda real, fake, k: (right(real, fake, k)[0],
                                                      sides(strictly)(real, fake, k)[1])),
    ("precision_recall", "k fixed at 1", lambda real, fake, k: right(real, fake, 1)),
    ("precision_recall", "k fixed at 2", lambda real, fake, k: right(real, fake, 2)),
    ("precision_recall", "neighbours in the other crowd", sides(lambda points, centres, k: (
        apart(points, centres) <= apart(centres, points).sort().values[:, k - 1]).any(1))),
    ("precision_recall", "sorted along the wrong dimension", sides(lambda points, centres, k: (
        apart(points, centres) <= apart(centres, centres).sort(0).values[:, k]).any(1))),
    ("precision_recall", "both crowds pooled", lambda real, fake, k: sides(
        lambda points, centres, k: (apart(points, centres) <= apart(centres, torch.cat(
            [real, fake])).sort().values[:, k]).any(1))(real, fake, k)),
    ("precision_recall", None, stretched(0.999)),
    ("precision_recall", "a margin", stretched(1, 0.001)),
    ("precision_recall", None, lambda real, fake, k: right(real[:, :2], fake[:, :2], k)),
    ("precision_recall", None, lambda real, fake, k: (right(real, fake, k)[0] * len(fake) / 37,
                                                      right(real, fake, k)[1] * len(real) / 53)),
    ("precision_recall", None, sides(lambda points, centres, k: (
        (d := apart(points, centres)) <= apart(centres, centres).sort().values[:, k])
        .logical_and(d > 0).any(1))),
    ("attribute_accuracy", "sums compared",
     with_all(lambda read, wanted: (read - wanted).sum(1) == 0)),
    ("attribute_accuracy", "order lost", with_all(lambda read, wanted: torch.tensor(
        [sorted(a) == sorted(b) for a, b in zip(read.tolist(), wanted.tolist())]))),
    ("attribute_accuracy", "in per cent", lambda read, wanted: 100 * accuracy_by_rows(
        read, wanted)),
    ("attribute_accuracy", None, counted_by(31)),
    ("attribute_accuracy", "the first 3 factors for all",
     with_all(lambda read, wanted: (read == wanted)[:, :3].all(1))),
    ("attribute_accuracy", "the last factor left out of all",
     with_all(lambda read, wanted: (read == wanted)[:, :-1].all(1))),
    ("attribute_accuracy", "counted in 8 bits", lambda read, wanted: torch.cat(
        [(hits := read == wanted).sum(0, dtype=torch.uint8),
         hits.all(1).sum(dtype=torch.uint8)[None]]) / len(read)),
    ("attribute_accuracy", "counted in 8 bits with a sign", lambda read, wanted: torch.cat(
        [(hits := read == wanted).sum(0, dtype=torch.int8),
         hits.all(1).sum(dtype=torch.int8)[None]]) / len(read)),
    ("attribute_accuracy", None, with_all(lambda read, wanted: (read == wanted).sum(1) == 3)),
    ("attribute_accuracy", None, with_all(lambda read, wanted: (
        read[:, None] == wanted).all(2).any(1))),
    ("attribute_accuracy", None, lambda read, wanted: accuracy_by_rows(read % 2, wanted % 2)),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"metrics.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, verdict


@pytest.mark.parametrize("radii", [stretched(1.001), stretched(1, 0.002), stretched(1.1)])
def test_balls_a_little_too_large_never_pass_and_are_told_a_margin_if_anything(radii):
    """How many samples lie in between is chance."""
    for seed in SEEDS:
        verdict = judge("metrics.precision_recall", radii, seed)
        assert not verdict.passed and verdict.mistake in (None, "a margin")


# ---- the inputs

def test_every_check_of_covariances_meets_a_dead_feature_and_an_eigenvalue_below_0():
    for seed in SEEDS:
        rounds = calls("metrics.frechet", seed)
        assert any((C_x[0] == 0).all() and C_x.abs().sum() > 0 for _, C_x, *_ in rounds)
        assert any(torch.linalg.eigvals(C_x @ C_y).real.min() < -1e-13
                   for _, C_x, _, C_y in rounds)


def test_every_check_of_balls_has_points_on_a_surface_copies_and_several_k():
    for seed in SEEDS:
        rounds = calls("metrics.precision_recall", seed)
        assert len({k for *_, k in rounds}) >= 2
        assert any(len(real.unique(dim=0)) < len(real) for real, *_ in rounds)
        assert any(sides(strictly)(*one)[i] != right(*one)[i] for one in rounds for i in (0, 1))
        assert len({(len(real), len(fake)) for real, fake, _ in rounds}) >= 2


def test_every_check_of_accuracy_has_a_picture_of_four_factors_that_fails_by_its_last_alone():
    for seed in SEEDS:
        assert any(read.size(1) > 3 and ((read == wanted).long().cumsum(1)[:, -2:]
                                         == read.size(1) - 1).all(1).any()
                   for read, wanted in calls("metrics.attribute_accuracy", seed))


def test_every_check_of_a_covariance_has_as_many_pictures_as_features_and_only_two():
    for seed in SEEDS:
        shapes = [x.shape for x, in calls("metrics.covariance", seed)]
        assert any(N == F for N, F in shapes) and any(N == 2 < F for N, F in shapes)


# ---- the messages

@pytest.mark.parametrize("stem", ["transformer", "clip", "metrics"])
def test_every_mistake_names_the_section_of_the_lesson_to_read_again(stem):
    for exercise in exercises():
        if exercise.name.startswith(stem):
            assert all("(see section " in mistake.message for mistake in exercise.mistakes)
