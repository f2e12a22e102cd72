r"""The exercises of lesson 05: how far apart are two crowds of pictures?

in -> out   EXERCISES: covariance, frechet, precision_recall, attribute_accuracy
idea        Every number here can be wrong and still look like a number, so the inputs are far from
            the cases in which mistakes cancel: means away from 0, matrices that do not commute,
            crowds of unequal size. Beside the random ones stand a few that never change: what lies
            exactly on an edge, what has no extent, what rounding has pushed below 0.
"""
import torch
from torch import Generator, Tensor
from torch.nn.functional import cosine_similarity

from minidalle import metrics
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.transformer import between, of_section

LESSON = "05_metrics"


# ---- covariance

def covariance(x: Tensor) -> Tensor:
    """Features (N,F) -> (F,F), divided by N - 1."""
    d = x - x.mean(dim=0)                                                   # (N, F)
    return d.T @ d / (len(x) - 1)


def covariance_inputs(g: Generator) -> tuple:
    """Far from 0, with features that depend on each other."""
    N, F = between(6, 15, g), between(3, 5, g)
    return (1 + torch.randn(N, F, generator=g) @ torch.randn(F, F, generator=g),)


def square_inputs(g: Generator) -> tuple:
    """As many samples as features: the shape does not say which is which."""
    N = between(3, 5, g)
    return (torch.randn(N, N, generator=g) - 2,)


def two_samples(g: Generator) -> tuple:
    """The fewest there can be, and fewer than features."""
    return (torch.randn(2, between(3, 5, g), generator=g) + 3,)


def divided(divisor):
    """The covariance with another divisor: divisor(N, F)."""
    return lambda x: covariance(x) * (len(x) - 1) / divisor(*x.shape)


COVARIANCE = Exercise(
    "metrics.covariance", LESSON, 2, covariance,
    (covariance_inputs, square_inputs, two_samples),
    of_section(3,
        Mistake(
            "torch.cov without the transpose",
            "torch.cov takes a row for each FEATURE, and you hand it a row for each picture: your "
            "table compares pictures. Transpose x first.",
            lambda x: torch.cov(x)),
        Mistake(
            "the mean of everything",
            "You take away one mean of the whole table. Each feature has a mean of its own: take "
            "it over the pictures, dim=0.",
            lambda x: (d := x - x.mean()).T @ d / (len(x) - 1)),
        Mistake(
            "divided by the number of features",
            "You divide by the number of features. What is averaged are the pictures: divide by "
            "N - 1.",
            divided(lambda N, F: F)),
        Mistake(
            "divided by the number of features less one",
            "You divide by F - 1. What is averaged are the pictures: divide by N - 1.",
            divided(lambda N, F: F - 1)),
        Mistake(
            "sizes without their sign",
            "Your table has no negative entries. Where one feature falls as another one rises, "
            "their covariance is negative.",
            lambda x: covariance(x).abs()),
        Mistake(
            "not centred",
            "You multiply the features as they are. Take away the mean of each feature first, or "
            "you measure how far the crowd is from 0.",
            lambda x: x.T @ x / (len(x) - 1)),
        Mistake(
            "divided by N",
            "You divide by N. The mean was taken from the same samples and lies too near to them, "
            "which N - 1 makes up for.",
            divided(lambda N, F: N)),
        Mistake(
            "not divided",
            "You add up over the samples and do not divide: twice as many pictures would give "
            "twice the covariance.",
            divided(lambda N, F: 1)),
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
            "neither centred nor N - 1",
            "You take the mean of x x^T as it is. Take away the mean of each feature first, and "
            "divide by N - 1.",
            lambda x: x.T @ x / len(x)),
        Mistake(
            "divided by N - 2",
            "You divide by N - 2. One mean was taken from the samples, and costs one: N - 1.",
            divided(lambda N, F: N - 2)),
        Mistake(
            "divided by N + 1",
            "You divide by N + 1. It is one less than N, because the mean was taken from the "
            "same samples.",
            divided(lambda N, F: N + 1)),
        Mistake(
            "divided twice",
            "You divide by N - 1 twice. Once is enough, if nothing was averaged before.",
            divided(lambda N, F: (N - 1) ** 2)),
        Mistake(
            "N - 1 without brackets",
            "You divide by N and then take 1 away from every entry. Put brackets round N - 1.",
            lambda x: divided(lambda N, F: N)(x) - 1),
        Mistake(
            "the sign turned",
            "Your variances are below 0: the sign is turned round.",
            lambda x: -covariance(x)),
        Mistake(
            "two divisors",
            "You divide the squares by N - 1 and the means by N, and the two no longer fit. Centre "
            "first, then there is one sum to divide.",
            lambda x: x.T @ x / (len(x) - 1) - torch.outer(x.mean(dim=0), x.mean(dim=0))),
        Mistake(
            "the means added",
            "You add the product of the means, and it is taken away: what is left is how far each "
            "sample is from the middle.",
            lambda x: x.T @ x / len(x) + torch.outer(x.mean(dim=0), x.mean(dim=0))),
        Mistake(
            "one half of the table",
            "One half of your table is 0. Features i and j move together as j and i do.",
            lambda x: covariance(x).triu()),
        Mistake(
            "the spreads multiplied",
            "You multiply standard deviations with each other, as if all features moved together. "
            "Multiply what the two features are in the same picture, then average.",
            lambda x: torch.outer(x.std(dim=0), x.std(dim=0))),
        Mistake(
            "the last picture left out",
            "The last picture is left out of your sum: range(N - 1) ends before it.",
            lambda x: (d := (x - x.mean(dim=0))[:-1]).T @ d / (len(x) - 1)),
        Mistake(
            "the first picture for the mean",
            "You take away the first picture. Take away the mean of all.",
            lambda x: (d := x - x[0]).T @ d / (len(x) - 1)),
        Mistake(
            "centred along both dimensions",
            "You take away means along both dimensions. Take from each feature its mean over the "
            "pictures, dim=0, and nothing else.",
            lambda x: covariance(x - x.mean(dim=1, keepdim=True))),
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
    F = between(3, 6, g)
    A, B = torch.randn(2, F, F, generator=g, dtype=torch.float64)
    mu_x, mu_y = torch.randn(2, F, generator=g, dtype=torch.float64)
    eye = torch.eye(F, dtype=torch.float64)
    return mu_x, A @ A.T + eye, mu_y + 1, 3 * B @ B.T + eye


def dead_features(g: Generator) -> tuple:
    """A feature that is 0 in every picture has a row and a column of zeros: no full rank."""
    mu_x, C_x, mu_y, C_y = frechet_inputs(g)
    C_x[0], C_x[:, 0], C_y[-1], C_y[:, -1] = 0, 0, 0, 0
    mu_x[0], mu_y[0], mu_x[-1], mu_y[-1] = 0, 1.5, -2, 0
    return mu_x, C_x, mu_y, C_y


def pushed_below_zero(g: Generator) -> tuple:
    """Always the same: features that go together but for rounding, which has pushed the smallest
    eigenvalue to -1e-12; and means so far from 0 that float32 would not tell them apart."""
    off = 1 + 1e-12
    C_x = torch.tensor([[1, off], [off, 1]], dtype=torch.float64)
    mu = torch.tensor([20000.0, -20000.0], dtype=torch.float64)
    return mu, C_x, mu + 0.3001, torch.eye(2, dtype=torch.float64).mul(2)


def same_place(g: Generator) -> tuple:
    """Equal means: all that is left of the distance is the spread."""
    mu, C_x, _, C_y = frechet_inputs(g)
    return mu, C_x, mu.clone(), C_y


def frechet_with(mixed):
    """FID with another third term: mixed(C_x, C_y)."""
    return lambda mu_x, C_x, mu_y, C_y: assembled((mu_x - mu_y).square().sum(), C_x, C_y,
                                                  mixed(C_x, C_y))


def frechet_means(distance):
    """FID with another distance of the means."""
    return lambda mu_x, C_x, mu_y, C_y: assembled(distance(mu_x - mu_y), C_x, C_y,
                                                  cross(C_x, C_y))


def of_product(values):
    """The sum of the roots of what is taken for the eigenvalues of C_x C_y."""
    return lambda C_x, C_y: values(C_x @ C_y).sqrt().sum()


def own_values(C: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(C).clamp(min=0)


def eigenvalues(C: Tensor) -> Tensor:
    return torch.linalg.eigvals(C).real


def in_float32(*args) -> float:
    mu_x, C_x, mu_y, C_y = (part.float() for part in args)
    return assembled((mu_x - mu_y).square().sum(), C_x, C_y,
                     eigenvalues(C_x @ C_y).clamp(min=0).sqrt().sum())


def doubled(*args) -> float:
    return 2 * cross(args[1], args[3]).item()


FRECHET = Exercise(
    "metrics.frechet", LESSON, 3, frechet,
    (frechet_inputs, dead_features, pushed_below_zero, same_place),
    of_section(3,
        Mistake(
            "a symmetric routine for the product",
            "eigvalsh and eigh read only one half of a matrix and take the other for its mirror "
            "image. C_x C_y is not symmetric: use eigvals, which returns complex numbers.",
            frechet_with(of_product(lambda C: torch.linalg.eigvalsh(C).clamp(min=0)))),
        Mistake(
            "not clamped at 0",
            "Your formula is right, and one of your answers is NaN: rounding had pushed an "
            "eigenvalue a hair below 0, and that has no root. Clamp at 0 before it.",
            frechet_with(of_product(eigenvalues))),
        Mistake(
            "clamped above 0",
            "You raise small eigenvalues to a number above 0. A feature that is 0 in every "
            "picture has the eigenvalue 0, and its root adds nothing: clamp at 0.",
            frechet_with(of_product(lambda C: eigenvalues(C).clamp(min=1e-3)))),
        *(Mistake(
            f"clamped at {least:g}",
            f"You raise small eigenvalues to {least:g}. A feature that is 0 in every picture has "
            "the eigenvalue 0, and its root adds nothing: clamp at 0.",
            frechet_with(of_product(lambda C, least=least: eigenvalues(C).clamp(min=least))))
          for least in (1e-6, 1)),
        Mistake(
            "Cholesky",
            "You take the Cholesky factor, which stops at a feature that is 0 in every picture. It "
            "is no root either: use the eigenvalues.",
            frechet_with(lambda C_x, C_y: torch.linalg.svdvals(
                torch.linalg.cholesky(C_x).mT @ torch.linalg.cholesky(C_y)).sum())),
        Mistake(
            "made symmetric by force",
            "You average C_x C_y with its mirror image to make it symmetric. That has other "
            "eigenvalues: use eigvals on the product as it is.",
            frechet_with(of_product(lambda C: own_values((C + C.mT) / 2)))),
        Mistake(
            "entry by entry multiplied",
            "You multiply C_x and C_y entry by entry, *. A product of matrices is @.",
            frechet_with(lambda C_x, C_y: eigenvalues(C_x * C_y).clamp(min=0).sqrt().sum())),
        Mistake(
            "one eigenvalue only",
            "You take the largest eigenvalue only. The trace of the root is the sum over all of "
            "them.",
            frechet_with(lambda C_x, C_y: eigenvalues(C_x @ C_y).max().sqrt())),
        Mistake(
            "the mean of the roots",
            "You average the roots of the eigenvalues. A trace is their sum.",
            frechet_with(lambda C_x, C_y: cross(C_x, C_y) / len(C_x))),
        Mistake(
            "the entries compared",
            "You add up squared differences of the entries of C_x and C_y. The formula has traces "
            "and a root.",
            lambda mu_x, C_x, mu_y, C_y: ((mu_x - mu_y).square().sum()
                                          + (C_x - C_y).square().sum()).item()),
        Mistake(
            "singular values",
            "You take the singular values of C_x C_y. They are not its eigenvalues, because the "
            "product is not symmetric.",
            frechet_with(of_product(torch.linalg.svdvals))),
        Mistake(
            "the eigenvalues of each by itself",
            "You multiply eigenvalues of C_x with eigenvalues of C_y. Unless the two lean in the "
            "same directions, those are not the eigenvalues of the product C_x C_y.",
            frechet_with(lambda C_x, C_y: (own_values(C_x) * own_values(C_y)).sqrt().sum())),
        Mistake(
            "the trace before the root",
            "You take the root of the trace. The root comes first: it is the trace of a root, the "
            "sum of the roots of the eigenvalues.",
            frechet_with(lambda C_x, C_y: (C_x @ C_y).trace().sqrt())),
        Mistake(
            "the mixed term added",
            "You add the mixed term. It is subtracted, or two equal Gaussians would be far apart: "
            "try that.",
            lambda *args: frechet(*args) + 2 * doubled(*args)),
        Mistake(
            "the traces forgotten",
            "The traces of C_x and C_y are missing: two equal Gaussians would get a number below "
            "0.",
            lambda mu_x, C_x, mu_y, C_y: ((mu_x - mu_y).square().sum()
                                          - 2 * cross(C_x, C_y)).item()),
        Mistake(
            "nothing left of the mixed term",
            "Your mixed term is 0, so two equal Gaussians are far apart: try that. Is it missing, "
            "or is it .imag in place of .real?",
            frechet_with(lambda C_x, C_y: torch.tensor(0.0))),
        Mistake(
            "one trace forgotten",
            "The trace of C_y is missing. Both crowds have a spread.",
            lambda mu_x, C_x, mu_y, C_y: assembled((mu_x - mu_y).square().sum(), C_x, 0 * C_y,
                                                   cross(C_x, C_y))),
        Mistake(
            "divided by the number of features",
            "You divide by the number of features. FID is a sum over them.",
            lambda *args: frechet(*args) / len(args[0])),
        Mistake(
            "squared once more",
            "You square the whole. What the formula gives is a square already.",
            lambda *args: frechet(*args) ** 2),
        Mistake(
            "in float32",
            "You compute in float32, which has too few digits for means far from 0. What you are "
            "given is float64: leave it so.",
            in_float32),
        Mistake(
            "rounded",
            "You round to two places. Leave that to whoever prints it.",
            lambda *args: round(frechet(*args), 2)),
        Mistake(
            "cut to a whole number",
            "You cut off what stands behind the point: int. A float is asked for.",
            lambda *args: float(int(frechet(*args)))),
        Mistake(
            "the root of the whole",
            "You take the root at the end. What the formula gives, and everybody calls FID, is the "
            "SQUARE of a distance.",
            lambda *args: frechet(*args) ** 0.5),
        Mistake(
            "differences added before they are squared",
            "You add up the differences of the means and square their sum, in which differences "
            "up and down cancel. Square each, then add.",
            frechet_means(lambda d: d.sum().square())),
        Mistake(
            "differences without squares",
            "You add up the sizes of the differences of the means. The formula has their squares.",
            frechet_means(lambda d: d.abs().sum())),
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
            "the means added",
            "You add the means up and square. How far they are apart is their difference.",
            lambda mu_x, C_x, mu_y, C_y: frechet(mu_x, C_x, -mu_y, C_y)),
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
    # subtle: up to 25, torch.cdist takes differences; beyond, products, which are less exact
    N, M, F = between(20, 25, g), between(15, 19, g), between(3, 4, g)
    real, fake = torch.randn(N, F, generator=g), 0.35 * torch.randn(M, F, generator=g)
    fake[:, 0] += 0.6
    fake[:M // 3] = 2.2 * torch.randn(M // 3, F, generator=g)
    return real, fake, (1, 4, 5)[between(0, 2, g)]      # 3, or 2 + 1, would hide a mistake


def on_the_surface(g: Generator) -> tuple:
    """Always the same, in whole numbers, so that distances can be equal: points exactly on the
    surface of a ball in both directions, and two that lie 1/1024 from others."""
    near = 1 / 1024
    real = [[6, 2], [-2, 2], [-2, -3], [-1, 1], [-2, -5], [5, 1], [6 + near, 2]]
    fake = [[5, 3], [4, 2], [2, -5], [2, -2], [2, 5], [5, 3 + near]]
    return torch.tensor(real), torch.tensor(fake), 2


def copies(g: Generator) -> tuple:
    """Always the same: some stand there several times, and round those the ball has no extent."""
    real = [[0, 0], [0, 0], [0, 0], [9, 9], [9, 9], [40, 0], [40, 1]]
    fake = [[0, 0], [1, 0], [9, 9], [9, 9], [10, 9], [-10, 0]]
    return torch.tensor(real).float(), torch.tensor(fake).float(), 1


def in_a_row(g: Generator) -> tuple:
    """Always the same: two crowds in a row, each with a sample beyond every ball of the other."""
    real = [[0, 0], [2, 0], [4, 0], [6, 0], [8, 0], [40, 0]]
    fake = [[-5, 0], [13, 0], [-1, 0], [9, 1], [80, 0], [82, 0], [10, 3]]
    return torch.tensor(real).float(), torch.tensor(fake).float(), 1


def share(inside: Tensor) -> float:
    return inside.double().mean().item()


def radii(centres: Tensor, k: int) -> Tensor:
    """The distance of each to its k-th neighbour; itself is number 0."""
    return torch.cdist(centres, centres).sort(dim=1).values[:, k]


def both(inside):
    """Precision and recall by another rule: inside(distances (N,M), points, centres, k)."""
    return lambda real, fake, k: (share(inside(torch.cdist(fake, real), fake, real, k)),
                                  share(inside(torch.cdist(real, fake), real, fake, k)))


def within(radius):
    """Precision and recall with other radii: radius(centres, points, k)."""
    return both(lambda d, points, centres, k: (d <= radius(centres, points, k)).any(dim=1))


def without_copies(centres: Tensor, points: Tensor, k: int) -> Tensor:
    d = torch.cdist(centres, centres)
    return d.masked_fill(d == 0, torch.inf).sort(dim=1).values[:, k - 1]


def apart_by(distance):
    """Precision and recall by another distance of two tables: distance(a, b) -> (N,M)."""
    return both(lambda d, points, centres, k: (distance(points, centres) <= distance(
        centres, centres).sort(dim=1).values[:, k]).any(dim=1))


def turned_away(a: Tensor, b: Tensor) -> Tensor:
    return 1 - cosine_similarity(a[:, None], b, dim=2)


def scaled(factor):
    """Other numbers of the same question: factor(N, M) for precision and for recall."""
    def answer(real, fake, k):
        precision, recall = precision_recall(real, fake, k)
        return (precision * factor(len(fake), len(real)), recall * factor(len(real), len(fake)))
    return answer


def pooled(real: Tensor, fake: Tensor, k: int) -> tuple[float, float]:
    crowd = torch.cat([real, fake])
    return within(lambda centres, points, k: torch.cdist(
        centres, crowd, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values[:, k])(
            real, fake, k)


def of_one_table(real: Tensor, fake: Tensor, k: int) -> tuple[float, float]:
    inside = torch.cdist(fake, real) <= radii(real, k)
    return share(inside.any(dim=1)), share(inside.any(dim=0))


PRECISION = Exercise(
    "metrics.precision_recall", LESSON, 3, precision_recall,
    (crowds, on_the_surface, copies, in_a_row),
    of_section(6,
        Mistake(
            "the surface left out",
            "A point exactly on the surface of a ball is outside for you, and it is inside: <= in "
            "place of <.",
            both(lambda d, points, centres, k: (d < radii(centres, k)).any(dim=1))),
        *(Mistake(
            f"k fixed at {n}",
            f"You use {n} {'neighbours' if n > 1 else 'neighbour'} whatever k is. Take the k that "
            "is given.",
            lambda real, fake, k, n=n: precision_recall(real, fake, n)) for n in (1, 2, 3)),
        Mistake(
            "recall from the balls of the real ones",
            "Your recall is the share of real balls that hold a fake. Recall draws new balls, "
            "round the fakes, and asks which real ones lie in them.",
            of_one_table),
        Mistake(
            "mean over the whole table",
            "You average over all pairs of a sample and a ball. Ask of each sample first whether "
            "ANY ball holds it, and average over the samples.",
            both(lambda d, points, centres, k: d <= radii(centres, k))),
        *(Mistake(
            f"one radius for all{name}",
            "You give all balls one radius. Each ball reaches to the k-th neighbour of its own "
            "centre.",
            within(lambda centres, points, k, of=of: of(radii(centres, k))))
          for name, of in (("", Tensor.mean), (", the largest", Tensor.max),
                           (", the median", Tensor.median), (", the smallest", Tensor.min))),
        Mistake(
            "precision twice",
            "You return precision twice. For recall the crowds change places: balls round the "
            "fakes, and real ones that are asked about.",
            lambda *args: precision_recall(*args)[:1] * 2),
        Mistake(
            "recall twice",
            "You return recall twice. For precision the balls lie round the real ones, and the "
            "fakes are asked about.",
            lambda *args: precision_recall(*args)[1:] * 2),
        Mistake(
            "how many in place of which share",
            "You return how many samples are inside. Divide by how many there are.",
            scaled(lambda points, centres: points)),
        Mistake(
            "in per cent",
            "These are per cent. Shares lie between 0 and 1.",
            scaled(lambda points, centres: 100)),
        Mistake(
            "divided by the number of balls",
            "You divide by the number of balls. Of all samples that are asked about, which share "
            "is inside?",
            scaled(lambda points, centres: points / centres)),
        Mistake(
            "the balls that hold a sample",
            "You ask of each ball whether it holds a sample. Ask of each sample whether a ball "
            "holds it: any along the other dimension.",
            both(lambda d, points, centres, k: (d <= radii(centres, k)).any(dim=0))),
        Mistake(
            "squares beside a radius",
            "You compare a squared distance with a radius that is not squared. Square both, or "
            "none.",
            both(lambda d, points, centres, k: (d.square() <= radii(centres, k)).any(dim=1))),
        Mistake(
            "a squared radius",
            "You compare a distance with a squared radius. Square both, or none.",
            within(lambda centres, points, k: radii(centres, k).square())),
        Mistake(
            "round the blocks",
            "You add up the sizes of the differences. The distance as the crow flies is the root "
            "of the sum of their squares.",
            apart_by(lambda a, b: torch.cdist(a, b, p=1))),
        Mistake(
            "the largest difference of any feature",
            "You take the largest difference of any feature. The distance as the crow flies is the "
            "root of the sum of the squares.",
            apart_by(lambda a, b: torch.cdist(a, b, p=torch.inf))),
        Mistake(
            "angles in place of distances",
            "You compare angles, the cosine, which does not see how long a vector is. Compare "
            "distances.",
            apart_by(turned_away)),
        Mistake(
            "the first feature only",
            "You compare the first features alone. All F count.",
            apart_by(lambda a, b: torch.cdist(a[:, :1], b[:, :1]))),
        Mistake(
            "not sorted",
            "You take the distance to sample number k, wherever it lies. Sort the distances first: "
            "then number k is the k-th nearest.",
            within(lambda centres, points, k: torch.cdist(centres, centres)[:, k])),
        Mistake(
            "sorted along the wrong dimension",
            "You sort along dim=0 and then take column k. The distances of a centre to its own "
            "crowd are a row: sort along dim=1.",
            within(lambda centres, points, k: torch.cdist(centres, centres).sort(dim=0).values[
                :, k])),
        Mistake(
            "the farthest neighbours",
            "You sort from the largest down, and your balls reach nearly to the other end of the "
            "crowd. The nearest come first.",
            within(lambda centres, points, k: torch.cdist(centres, centres).sort(
                dim=1, descending=True).values[:, k])),
        Mistake(
            "the mean of k neighbours",
            "Your radius is the mean distance of the k nearest. It reaches to the k-th of them.",
            within(lambda centres, points, k: torch.cdist(centres, centres).sort(dim=1).values[
                :, 1:k + 1].mean(dim=1))),
        Mistake(
            "both crowds pooled",
            "Your balls reach to the k-th neighbour among both crowds together. A ball reaches to "
            "the k-th neighbour of its centre in its own crowd.",
            pooled),
        Mistake(
            "neighbour number k + 1 in the other crowd",
            "Your balls reach to a neighbour in the OTHER crowd. A ball reaches to the k-th "
            "neighbour of its centre in its own crowd, where place 0 is itself.",
            within(lambda centres, points, k: torch.cdist(centres, points).sort(dim=1).values[
                :, k])),
        Mistake(
            "a margin",
            "You make the balls a little larger, or compute too roughly to say what lies on a "
            "surface. It is inside, and the least bit farther is outside: <= alone.",
            within(lambda centres, points, k: radii(centres, k) + 1e-3)),
        Mistake(
            "neighbours in the other crowd",
            "Your balls reach to the k-th neighbour in the OTHER crowd. A ball reaches to the k-th "
            "neighbour of its centre in its own crowd.",
            within(lambda centres, points, k: torch.cdist(centres, points).sort(dim=1).values[
                :, k - 1])),
        Mistake(
            "copies are no neighbours",
            "You throw out all distances that are 0. That is meant for the sample itself, and "
            "throws out its copies too: they are neighbours at distance 0. Skip one place only.",
            within(without_copies)),
        Mistake(
            "precision and recall exchanged",
            "Both numbers are right, and in the wrong order. Precision asks of the FAKES whether "
            "they look real; recall asks of the real ones whether they are covered.",
            lambda real, fake, k: precision_recall(fake, real, k)),
        Mistake(
            "itself counted as a neighbour",
            "Your balls are too small: each sample is its own nearest at distance 0, and you "
            "count it. The k-th neighbour is number k + 1 in the sorted distances.",
            within(lambda centres, points, k: radii(centres, k - 1))),
        Mistake(
            "one neighbour too many",
            "Your balls are too large: you sort the distances and take one neighbour too far. "
            "With itself at place 0, the k-th neighbour is at place k.",
            within(lambda centres, points, k: radii(centres, min(k + 1, len(centres) - 1)))),
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
    """Each factor right in about three quarters of the pictures; mistakes up and down. The first
    picture is right but for its last factor."""
    N, F = between(20, 40, g), between(4, 6, g)
    wanted = torch.randint(10, (N, F), generator=g)
    off = torch.rand(N, F, generator=g) < torch.tensor([0.2, 0.3, 0.4, 0.2, 0.3, 0.2])[:F]
    off[0] = torch.arange(F) == F - 1
    return (wanted + off * torch.randint(1, 10, (N, F), generator=g)) % 10, wanted


def treacherous_readings(g: Generator) -> tuple:
    """Always the same: two values exchanged, two mistakes that add up to 0, one that is even, two
    pictures in which all is right, three that show what another should, two that fail by the last
    factor alone and one by the first."""
    wanted = torch.tensor([[1, 2, 3], [2, 2, 5], [7, 8, 9], [4, 5, 6], [0, 3, 0], [1, 1, 1],
                           [5, 5, 5], [6, 6, 6], [4, 4, 4], [5, 3, 1], [3, 3, 3]])
    read = torch.tensor([[2, 1, 3], [2, 4, 3], [7, 8, 7], [4, 5, 6], [0, 3, 0], [1, 2, 3],
                         [7, 8, 9], [7, 8, 9], [4, 4, 5], [5, 3, 2], [2, 3, 3]])
    return read, wanted


def many_pictures(g: Generator) -> tuple:
    """More than 256 + 128 right ones, which 8 bits cannot count, with a sign or without."""
    wanted = torch.randint(8, (between(400, 420, g), 3), generator=g)
    read = wanted.clone()
    read[:7] = (read[:7] + torch.tensor([1, 0, 2])) % 8
    return read, wanted


def one_picture(g: Generator) -> tuple:
    """One picture, right but for one factor."""
    wanted = torch.randint(1, 8, (1, between(2, 4, g)), generator=g)
    read = wanted.clone()
    read[0, 0] += 1
    return read, wanted


def with_all(last):
    """The shares, and another number for "all": last(right (N,F), shares (F,))."""
    def accuracy(read, wanted):
        right = read == wanted
        shares = right.float().mean(dim=0)
        return torch.cat([shares, last(right, shares)[None]])
    return accuracy


def of_rights(count):
    """Each share by another way of counting: count(right (N,)), for "all" too."""
    def accuracy(read, wanted):
        right = read == wanted
        columns = [*right.unbind(dim=1), right.all(dim=1)]
        return torch.stack([count(column) for column in columns]).float()
    return accuracy


def rounded(read: Tensor, wanted: Tensor, digits: int) -> Tensor:
    return (attribute_accuracy(read, wanted) * 10 ** digits).round() / 10 ** digits


ACCURACY = Exercise(
    "metrics.attribute_accuracy", LESSON, 1, attribute_accuracy,
    (accuracy_inputs, treacherous_readings, one_picture, many_pictures),
    of_section(2,
        Mistake(
            "sums compared",
            "For \"all\" you compare the sums of the factors, and two mistakes can cancel there. "
            "Compare factor by factor, then ask whether all are right.",
            lambda read, wanted: torch.cat([
                (read == wanted).float().mean(dim=0),
                (read.sum(dim=1) == wanted.sum(dim=1)).float().mean()[None]])),
        Mistake(
            "order lost",
            "For \"all\" you compare which values occur, and not where. A 1 for a 2 and a 2 for a "
            "1 are two mistakes.",
            lambda read, wanted: torch.cat([
                (read == wanted).float().mean(dim=0),
                (read.sort().values == wanted.sort().values).all(dim=1).float().mean()[None]])),
        Mistake(
            "all but one",
            "For \"all\" you count the pictures in which all factors but one are right. Every one "
            "must be.",
            with_all(lambda right, shares: (
                right.sum(dim=1) >= right.shape[1] - 1).float().mean())),
        Mistake(
            "every picture in place of every factor",
            "For \"all\" you ask of each factor whether every picture is right: all(dim=0). Ask of "
            "each picture whether every factor is: dim=1.",
            with_all(lambda right, shares: right.all(dim=0).float().mean())),
        Mistake(
            "the whole table at once",
            "For \"all\" you ask whether the whole table is right. It is a share of pictures: "
            "all(dim=1), then the mean.",
            with_all(lambda right, shares: right.all().float())),
        Mistake(
            "the last factor left out of all",
            "For \"all\" you leave the last factor out. Every one must be right.",
            with_all(lambda right, shares: right[:, :-1].all(dim=1).float().mean())),
        *(Mistake(
            f"the first {n} factors for all",
            f"For \"all\" you look at the first {n} factors, and F may be any number. Every one "
            "must be right.",
            with_all(lambda right, shares, n=n: right[:, :n].all(dim=1).float().mean()))
          for n in (2, 3)),
        Mistake(
            "one after the other",
            "A factor counts for you only if those before it are right too. Each has a share of "
            "its own; only the last number asks for all at once.",
            lambda read, wanted: torch.cat([
                (read == wanted).float().cumprod(dim=1).mean(dim=0),
                attribute_accuracy(read, wanted)[-1:]])),
        Mistake(
            "divided by N - 1",
            "You divide by N - 1. No mean was taken from the samples here: a share of N pictures "
            "is divided by N.",
            of_rights(lambda right: right.sum() / (len(right) - 1))),
        Mistake(
            "divided by the number of factors",
            "You divide by the number of factors. A share of pictures is divided by N, how many "
            "pictures there are.",
            lambda read, wanted: attribute_accuracy(read, wanted) * len(read) / read.shape[1]),
        Mistake(
            "counted in 8 bits",
            "You count in uint8, where 256 is 0 again. Count in int64, or take the mean of floats.",
            of_rights(lambda right: right.sum() % 256 / len(right))),
        Mistake(
            "counted in 8 bits with a sign",
            "You count in int8, which ends at 127. Count in int64, or take the mean of floats.",
            of_rights(lambda right: ((right.sum() + 128) % 256 - 128) / len(right))),
        Mistake(
            "divided without a rest",
            "You divide whole numbers with //, and every share below 1 becomes 0. Divide with /.",
            of_rights(lambda right: right.sum() // len(right))),
        *(Mistake(
            f"rounded to {digits} places",
            "You round. Leave that to whoever prints it.",
            lambda read, wanted, digits=digits: rounded(read, wanted, digits))
          for digits in (2, 3)),
        Mistake(
            "the last picture left out",
            "The last picture is left out: range(N - 1) ends before it.",
            lambda read, wanted: attribute_accuracy(read[:-1], wanted[:-1])),
        Mistake(
            "beside the next caption",
            "You compare each picture with the caption of another one. Rows of the same number "
            "belong together.",
            lambda read, wanted: attribute_accuracy(read, wanted.roll(1, dims=0))),
        Mistake(
            "different in place of equal",
            "You count where the two differ, in each column and in all at once. Accuracy counts "
            "where they are equal.",
            lambda read, wanted: attribute_accuracy(read == wanted, torch.zeros_like(read) > 0)),
        Mistake(
            "one number for all factors",
            "You average over pictures and factors, one number. Each factor has a share of its "
            "own: mean over dim=0.",
            lambda read, wanted: (read == wanted).float().mean()),
        Mistake(
            "all alone",
            "You return the last number alone. The share of each factor comes before it.",
            lambda read, wanted: attribute_accuracy(read, wanted)[-1]),
        Mistake(
            "all in front",
            "Your numbers are right, in another order: \"all\" comes last.",
            lambda read, wanted: attribute_accuracy(read, wanted).roll(1)),
        Mistake(
            "in per cent",
            "These are per cent. Shares lie between 0 and 1.",
            lambda read, wanted: 100 * attribute_accuracy(read, wanted)),
        Mistake(
            "the share of each picture",
            "You average over the factors, and so get a number for each picture. Average over the "
            "pictures, dim=0, for a number for each factor.",
            lambda read, wanted: (read == wanted).float().mean(dim=1)),
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


TEST = hunt(FRECHET, "entry by entry multiplied", "the mean of the roots", "the traces forgotten",
    "nothing left of the mixed term", "one trace forgotten", "the square root element by element",
    "the root forgotten", "once in place of twice", "the distance of the means not squared",
    "the means forgotten")
EXERCISES = (COVARIANCE, FRECHET, PRECISION, ACCURACY, TEST)
