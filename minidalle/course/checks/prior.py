r"""The exercises of lesson 12: from the vectors of captions to those of pictures.

in -> out   EXERCISES: gap, to_unit_variance, better_of_two, reconstruct, quantise
idea        Each mistake is the right function with one line changed. One vector and many, squares,
            crowds that meet and crowds that are far apart take turns, so that none stays unseen.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import ar_prior, prior
from minidalle.clip import unit
from minidalle.course.checks import Exercise, Mistake
from minidalle.course.checks.transformer import between

LESSON = "12_prior"


def uniform(shape, low: float, high: float, g: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g)


# ---- the gap between two crowds

def gap(text: Tensor, image: Tensor) -> float:
    """text (n,E), image (n,E), rows of length one -> the distance of their mean vectors."""
    return (means(text) - means(image)).norm().item()


def means(vectors: Tensor) -> Tensor:
    return vectors.mean(dim=0)


def crowds(low: int, high: int, spread: float, square: bool = False):
    """Two crowds of low to high vectors, each round a direction of its own: at spread 0.3 both are
    narrow."""
    def draw(g: Generator) -> tuple:
        n = between(low, high, g)
        E = n if square else between(4, 16, g)
        centres = unit(torch.randn(2, 1, E, generator=g))
        return tuple(unit(centres + spread * torch.randn(2, n, E, generator=g)))
    return draw


def same_crowd(g: Generator) -> tuple:
    """The same vectors in another order: no gap, and yet each pair is far apart."""
    n = between(5, 9, g)
    text = unit(torch.randn(n, 4, generator=g))
    return text, text.roll(between(1, n - 1, g), dims=0)


def facing(g: Generator) -> tuple:
    """Two narrow crowds on opposite sides, of unequal entries: a gap near 2, the largest."""
    n, E = between(2, 9, g), between(3, 8, g)
    centre = unit(torch.randn(1, E, generator=g))
    text, image = unit(torch.stack([centre, -centre]) + 0.05 * torch.randn(2, n, E, generator=g))
    return text, image


def of_means(distance):
    """Another distance of the two means: distance(mean, mean)."""
    return lambda text, image: distance(means(text), means(image)).item()


GAP = Exercise(
    "prior.gap", LESSON, 1, gap,
    (crowds(8, 12, 0.3), crowds(4, 6, 0.5, square=True), same_crowd, crowds(1, 1, 0.5), facing), (
        Mistake(
            "the mean distance of the pairs",
            "You average the distances of the pairs. Those are far from 0 even where the two "
            "crowds lie on each other: take the means first, then one distance.",
            lambda text, image: (text - image).norm(dim=1).mean().item()),
        Mistake(
            "the mean distance of all with all",
            "You average the distances of every text vector to every image vector. Take the means "
            "first, then one distance.",
            lambda text, image: (text[:, None] - image).norm(dim=2).mean().item()),
        Mistake(
            "squared",
            "This is the square of the distance: the root is missing.",
            of_means(lambda x, y: (x - y).square().sum())),
        Mistake(
            "one minus the cosine",
            "You compare the directions of the means by their cosine. The gap is the length of "
            "what lies between them.",
            of_means(lambda x, y: 1 - F.cosine_similarity(x, y, dim=0))),
        Mistake(
            "the means brought to length one",
            "You bring the means to length one first. Crowds that spread have short means, and "
            "that is part of the gap: leave them as they are.",
            of_means(lambda x, y: (unit(x) - unit(y)).norm())),
        Mistake(
            "means over the wrong dimension",
            "You average the entries of each vector. The mean vector of a crowd is the average of "
            "its vectors, dim=0.",
            lambda text, image: (text.mean(dim=1) - image.mean(dim=1)).norm().item()),
        Mistake(
            "the sum of the sizes",
            "You add up the sizes of the differences. The distance as the crow flies is the root "
            "of the sum of their squares.",
            of_means(lambda x, y: (x - y).abs().sum())),
        Mistake(
            "the mean of the sizes",
            "You average the sizes of the differences. A distance is the root of the sum of their "
            "squares.",
            of_means(lambda x, y: (x - y).abs().mean())),
        Mistake(
            "divided by the root of E",
            "You take the mean of the squares before the root. A distance has their sum.",
            of_means(lambda x, y: (x - y).square().mean().sqrt())),
        Mistake(
            "sums in place of means",
            "You add up the vectors of a crowd and do not divide: twice as many would have twice "
            "the gap.",
            lambda text, image: len(text) * gap(text, image)),
        Mistake(
            "the mean of everything",
            "You average all entries of all vectors into one number a crowd. The mean vector has "
            "E entries, dim=0: the formula of section 2 averages vectors.",
            of_means(lambda x, y: (x.mean() - y.mean()).abs())),
        Mistake(
            "the difference of the lengths",
            "You compare how LONG the two means are. Two means of one length can lie far apart: "
            "subtract the vectors first, then take the length (section 2).",
            of_means(lambda x, y: (x.norm() - y.norm()).abs())),
        Mistake(
            "the largest difference",
            "You take the largest of the E differences. The distance of section 2 is the root of "
            "the sum of all squares.",
            of_means(lambda x, y: (x - y).abs().max())),
    ), "the distance of the two means, 0 for equal crowds")


# ---- entries of variance one

def to_unit_variance(z: Tensor) -> Tensor:
    """z (B,E), rows of length one -> sqrt(E) z, whose entries have variance about one."""
    return math.sqrt(z.shape[1]) * z


def unit_inputs(most: int, low: int, high: int, centre: float = 0.0):
    """At most so many vectors of low to high entries. They lie round one of them, if centre is not
    0: as those of a CLIP do."""
    def draw(g: Generator) -> tuple:
        B, E = between((most + 1) // 2, most, g), between(low, high, g)
        middle = centre * torch.randn(1, E, generator=g)
        return (unit(middle + torch.randn(B, E, generator=g)),)
    return draw


def square_of_vectors(g: Generator) -> tuple:
    n = between(3, 5, g)
    return (unit(torch.randn(n, n, generator=g)),)


def spiky(g: Generator) -> tuple:
    """Most of each vector lies in one entry, which becomes 5 or more: nothing is cut off."""
    B, E = between(2, 4, g), between(60, 70, g)
    return (unit(torch.eye(E)[torch.randperm(E, generator=g)[:B]] * torch.tensor([1.0, -1.0])[
        torch.arange(B) % 2, None] + 0.1 * torch.randn(B, E, generator=g)),)


def spread(z: Tensor, dim: int) -> Tensor:
    """The standard deviation; of one alone it is 0 / 0."""
    return ((z - z.mean(dim, keepdim=True)).square().sum(dim, keepdim=True)
            / (z.shape[dim] - 1)).sqrt()


VARIANCE = Exercise(
    "prior.to_unit_variance", LESSON, 1, to_unit_variance,
    (unit_inputs(3, 5, 7, 1.0), square_of_vectors, unit_inputs(1, 10, 14), unit_inputs(9, 2, 3),
     spiky), (
        Mistake(
            "as they are",
            "Your vectors come back as they were. A vector of length one has entries of variance "
            "about 1 / E, which drown in noise of variance 1.",
            lambda z: z),
        Mistake(
            "times E",
            "You multiply by E. The variance is a square: what multiplies an entry is the root of "
            "what should multiply its variance.",
            lambda z: z.shape[1] * z),
        Mistake(
            "divided",
            "You divide by the root of E, and make the entries smaller still. They should grow.",
            lambda z: z / math.sqrt(z.shape[1])),
        Mistake(
            "the root of the batch",
            "You multiply by the root of how many vectors there are. A vector does not change with "
            "the batch: the root of E, how many entries it has.",
            lambda z: math.sqrt(len(z)) * z),
        Mistake(
            "divided by the deviation of the table",
            "You divide by the standard deviation of this batch. Another batch would be scaled "
            "otherwise, and the way back would be lost: the factor is fixed, the root of E.",
            lambda z: z / spread(z.flatten(), 0)),
        Mistake(
            "each entry by its own deviation",
            "You divide each entry by its standard deviation over the batch, which turns the "
            "vectors, and is NaN for a single one. One factor for all, the root of E.",
            lambda z: z / spread(z, 0)),
        Mistake(
            "each vector by its own deviation",
            "You divide each vector by the standard deviation of its entries. That is near and not "
            "the same: one factor for all, the root of E.",
            lambda z: z / spread(z, 1)),
        Mistake(
            "each entry standardised",
            "You take away the mean of each entry over the batch and divide by its standard "
            "deviation. That turns the vectors: only one factor is wanted, the root of E.",
            lambda z: (z - z.mean(dim=0)) / spread(z, 0)),
        Mistake(
            "each vector standardised",
            "You take away the mean of each vector and divide by its standard deviation, as a norm "
            "layer does. That turns the vector: only one factor is wanted, the root of E.",
            lambda z: (z - z.mean(dim=1, keepdim=True)) / spread(z, 1)),
        Mistake(
            "the root of E - 1",
            "You multiply by the root of E - 1. The mean of the squares of a unit vector is 1 / E, "
            "and nothing was taken away from them: the root of E (section 4).",
            lambda z: math.sqrt(z.shape[1] - 1) * z),
        Mistake(
            "the root of B times E",
            "You count the entries of the whole table. A vector does not change with the batch: "
            "the root of E, how many entries one vector has (section 4).",
            lambda z: math.sqrt(z.numel()) * z),
        Mistake(
            "the factor for E = 128",
            "You multiply by 11.3, the factor of our CLIP. Vectors of another length have another: "
            "read E off z.shape (section 4).",
            lambda z: math.sqrt(128) * z),
    ), "the same factor for every vector, so that there is a way back")


# ---- the better of two

def better_of_two(a: Tensor, b: Tensor, text: Tensor) -> Tensor:
    """a, b, text (B,E) -> (B,E): in each row a or b, whichever has the larger dot product."""
    return prior.better_of_two(a, b, text)


def two_inputs(low: int, high: int, size: float = 1.0, square: bool = False):
    """Some rows with a and some with b, and none where the two are level. Row 0 has a short vector
    straight along the text, and a long one across it that has the larger dot product."""
    def draw(g: Generator) -> tuple:
        B = between(low, high, g)
        E = B if square else between(3, 8, g)
        a, b, text = torch.randn(3, B, E, generator=g)
        across = b[0] - dots(b, text)[0] / dots(text, text)[0] * text[0]
        if B > 1:
            a[0], b[0] = 0.4 * text[0], 0.8 * text[0] + 3 * text[0].norm() * unit(across)
        wins = torch.arange(B) % 2 == between(0, 1, g)
        flip = (dots(a, text) > dots(b, text)) != wins
        a, b = torch.where(flip[:, None], b, a), torch.where(flip[:, None], a, b)
        a = a + torch.where(wins, 0.1, -0.1)[:, None] * text
        return size * a, size * b, text
    return draw


CLOSE = ((0.5, 0.4995), (-0.5, -0.4995), (0.001, -0.001), (2.0, 1.9), (-2.0, -2.1), (0.3, -3.0))


def close_inputs(g: Generator) -> tuple:
    """In each row the dot products are known, and most lie close together; either may be larger,
    and both may lie on one side of 0. In one row a and b are equal, and so is the better one."""
    E = between(5, 9, g)
    fits = torch.tensor([*CLOSE, *(pair[::-1] for pair in CLOSE),
                         (1.5, -0.2), (0.7, 0.7)])                          # (14, 2)
    text = unit(torch.randn(len(fits), E, generator=g))
    aside = torch.randn(2, len(fits), E, generator=g)
    aside = aside - (aside * text).sum(dim=2, keepdim=True) * text          # across the text
    a, b = aside + fits.T[:, :, None] * text
    b[-1] = a[-1]
    order = torch.randperm(len(fits), generator=g)
    return a[order], b[order], text[order]


def dots(x: Tensor, y: Tensor) -> Tensor:
    """Row by row (B,)."""
    return (x * y).sum(dim=1)


def larger(score):
    """Row by row the one with the larger score(vectors, text) (B,)."""
    return lambda a, b, text: torch.where((score(a, text) >= score(b, text))[:, None], a, b)


def better_batch(a: Tensor, b: Tensor, text: Tensor) -> Tensor:
    return a + 0 if dots(a, text).sum() >= dots(b, text).sum() else b + 0


BETTER = Exercise(
    "prior.better_of_two", LESSON, 2, better_of_two,
    (two_inputs(6, 9), two_inputs(4, 6, square=True), two_inputs(1, 1),
     two_inputs(7, 9, size=100.0), close_inputs), (
        Mistake(
            "one choice for the batch",
            "You compare two sums over the whole batch, and all rows come from the same side. Each "
            "row has a choice of its own: sum over the entries only.",
            better_batch),
        Mistake(
            "the worse one",
            "You take the one with the SMALLER dot product. The larger one fits the caption "
            "better.",
            lambda a, b, text: better_of_two(b, a, -text)),
        Mistake(
            "entry by entry the larger one",
            "You take the maximum of the two entry by entry, which makes a third vector. A row is "
            "wholly a or wholly b.",
            lambda a, b, text: torch.maximum(a, b)),
        Mistake(
            "entry by entry the larger product",
            "You compare the products entry by entry and mix the two vectors. Sum the products "
            "first: one comparison a row.",
            lambda a, b, text: torch.where(a * text >= b * text, a, b)),
        Mistake(
            "summed over the batch",
            "You sum the products over the batch, dim=0, and choose anew for each column. Sum over "
            "the entries, and choose for each row.",
            lambda a, b, text: torch.where((a * text).sum(dim=0) >= (b * text).sum(dim=0), a, b)),
        Mistake(
            "the choice laid along the entries",
            "Your choice has the shape (B,) and is laid along the entries of (B,E), the last "
            "dimension. Give it one more dimension, (B,1).",
            lambda a, b, text: torch.where(dots(a, text) >= dots(b, text), a, b)),
        Mistake(
            "the larger cosine",
            "You compare cosines, which forget how long the vectors are. Asked for is the larger "
            "dot product.",
            larger(lambda x, text: F.cosine_similarity(x, text))),
        Mistake(
            "the nearer one",
            "You compare distances. For vectors of length one that is the same choice, here it is "
            "not: take the larger dot product.",
            larger(lambda x, text: -(x - text).norm(dim=1))),
        Mistake(
            "the size of the dot product",
            "You compare the dot products without their signs. A large negative one points away "
            "from the caption.",
            larger(lambda x, text: dots(x, text).abs())),
        Mistake(
            "the mean of the two",
            "You average the two vectors, and the mean of two pictures is no picture. Choose one "
            "of them.",
            lambda a, b, text: (a + b) / 2),
        Mistake(
            "the dot product in place of the vector",
            "You return the larger dot product, (B,). Asked for is the vector that has it, (B,E).",
            lambda a, b, text: torch.maximum(dots(a, text), dots(b, text))),
        Mistake(
            "nothing where they are level",
            "Where the two are equal your answer is 0: neither is larger. Then either will do, so "
            "let one of the two comparisons be >=, or use torch.where (section 4).",
            lambda a, b, text: ((dots(a, text) > dots(b, text))[:, None] * a
                                + (dots(a, text) < dots(b, text))[:, None] * b)),
        Mistake(
            "a wherever it points the caption's way",
            "You take a wherever its dot product is above 0, and never look at b's. Compare the "
            "two with each other (section 4).",
            lambda a, b, text: torch.where((dots(a, text) > 0)[:, None], a, b)),
        Mistake(
            "the longer one",
            "You take the LONGER vector. Asked for is the larger dot product with the text "
            "(section 4).",
            larger(lambda x, text: x.norm(dim=1))),
        Mistake(
            "the text of the first row",
            "You compare all rows with the text of the first. Each row has its own caption "
            "(section 4).",
            lambda a, b, text: better_of_two(a, b, text[:1])),
    ), "row by row the vector that fits the caption better")


# ---- the first axes

def reconstruct(vectors: Tensor, m: int) -> Tensor:
    """vectors (n,E), n > E -> (n,E): what is left of them on the m axes of largest variance."""
    return onto(*ar_prior.pca(vectors.double(), m), vectors)


def onto(mean: Tensor, axes: Tensor, vectors: Tensor) -> Tensor:
    """mean (E,), axes (m,E): the mean, and what vectors (n,E) are along the axes."""
    return (mean + (vectors.double() - mean) @ axes.mT @ axes).to(vectors)


def cloud(n: int, widths: Tensor, V: Tensor, g: Generator) -> Tensor:
    """n vectors (n, E), as wide as widths (k,) says along the rows of V (k, E), away from 0. The
    widths are exact, for the columns of Q are at right angles to each other and to ones."""
    x = torch.randn(n, len(widths), generator=g, dtype=torch.float64)
    Q = torch.linalg.qr(x - x.mean(dim=0)).Q                                # (n, k)
    return Q * (2 * math.sqrt(n) * widths) @ V + 3 * unit(torch.randn(V.shape[1], generator=g))


def turn(E: int, g: Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(E, E, generator=g, dtype=torch.float64)).Q


def cloud_inputs(more: int, E: int, m: int, size: float = 1.0, ratio: float = 0.5):
    """A cloud turned at random, of E + 1 to E + more vectors; each axis is `ratio` as wide as the
    one before."""
    def draw(g: Generator) -> tuple:
        n = E + between(1, more, g)
        return (size * cloud(n, ratio ** torch.arange(E), turn(E, g), g)).float(), m
    return draw


def flat_cloud(g: Generator) -> tuple:
    """Three of five axes hold all there is: what divides by the others' widths finds 0 there. Four
    are asked for, and give the vectors back as they are."""
    widths = 0.5 ** torch.arange(3)
    return cloud(between(7, 12, g), widths, turn(5, g)[:3], g).float(), 4


def straight_cloud(g: Generator) -> tuple:
    """Along the axes of the table, the widest neither first nor last: nothing is sorted yet."""
    widths = torch.tensor([0.5, 4.0, 0.25, 2.0, 1.0], dtype=torch.float64)
    vectors = cloud(between(7, 12, g), widths, torch.eye(5, dtype=torch.float64), g)
    return vectors.float(), between(1, 3, g)


def directions(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (E,) and all axes (E,E) in float64, the largest variance first."""
    return ar_prior.pca(vectors.double(), vectors.shape[1])


def projected(taken: int, added: int):
    """The mean is taken away and added so many times."""
    def answer(vectors: Tensor, m: int) -> Tensor:
        mean, axes = directions(vectors)
        return (added * mean + (vectors - taken * mean) @ axes[:m].mT @ axes[:m]).to(vectors)
    return answer


def on_axes(choose):
    """The projection on other axes: choose(all axes, m)."""
    def answer(vectors: Tensor, m: int) -> Tensor:
        mean, axes = directions(vectors)
        return onto(mean, choose(axes, m), vectors)
    return answer


def coordinates(vectors: Tensor, m: int) -> Tensor:
    mean, axes = directions(vectors)
    return ((vectors - mean) @ axes[:m].mT).to(vectors)


def first_entries(vectors: Tensor, m: int) -> Tensor:
    return torch.where(torch.arange(vectors.shape[1]) < m, vectors, torch.zeros(()))


def about_0(vectors: Tensor, m: int) -> Tensor:
    """The axes of the vectors as they are, and no mean anywhere."""
    axes = torch.linalg.svd(vectors.double(), full_matrices=False).Vh[:m]
    return (vectors.double() @ axes.mT @ axes).to(vectors)


def rows_for_columns(vectors: Tensor, m: int) -> Tensor:
    """eigh returns axes as columns, the smallest first; its last rows are something else."""
    axes = torch.linalg.eigh(vectors.T.cov()).eigenvectors[-m:]
    return onto(vectors.mean(dim=0).double(), axes.double(), vectors)


def of_correlations(vectors: Tensor, m: int) -> Tensor:
    """The axes of the standardised cloud, used on the cloud as it is."""
    x = vectors.double() - vectors.double().mean(dim=0)
    axes = torch.linalg.eigh(x.mT.corrcoef().nan_to_num()).eigenvectors[:, -m:]
    return onto(vectors.double().mean(dim=0), axes.mT, vectors)


def standardised(vectors: Tensor, m: int) -> Tensor:
    """Projected as a standardised cloud, and stretched again."""
    x, mean, std = vectors.double(), vectors.double().mean(dim=0), vectors.double().std(dim=0)
    axes = torch.linalg.eigh(((x - mean) / std).mT.cov()).eigenvectors[:, -m:]
    return (mean + (x - mean) / std @ axes @ axes.mT * std).to(vectors)


def one_mean(vectors: Tensor, m: int) -> Tensor:
    """One number taken away from all entries, and added again."""
    x = vectors.double() - vectors.double().mean()
    axes = torch.linalg.svd(x, full_matrices=False).Vh[:m]
    return (x @ axes.mT @ axes + vectors.double().mean()).to(vectors)


def one_mean_later(vectors: Tensor, m: int) -> Tensor:
    """Right axes, as torch.cov finds them, and one number in place of the mean."""
    return onto(vectors.double().mean().expand(vectors.shape[1]), directions(vectors)[1][:m],
                vectors)


def rows_as_variables(vectors: Tensor, m: int) -> Tensor:
    """torch.cov takes rows for variables: axes (n, m), which do not fit (n, E)."""
    x = vectors - vectors.mean(dim=0)
    axes = torch.linalg.eigh(torch.cov(x)).eigenvectors[:, -m:]
    return x @ axes @ axes.mT + vectors.mean(dim=0)


def whitened(vectors: Tensor, m: int) -> Tensor:
    mean, axes = directions(vectors)
    along = (vectors - mean) @ axes[:m].mT
    return (mean + along / along.std(dim=0) @ axes[:m]).to(vectors)


RECONSTRUCT = Exercise(
    "prior.reconstruct", LESSON, 3, reconstruct,
    (cloud_inputs(9, 5, 2), cloud_inputs(1, 6, 3, size=30.0), straight_cloud, flat_cloud,
     cloud_inputs(30, 8, 5, size=0.3, ratio=0.6)), (
        Mistake(
            "not centred",
            "You never take away the mean, so the first axis points to where the cloud lies and "
            "not along which it is wide. Take the mean away first, and add it at the end.",
            about_0),
        Mistake(
            "the mean not added back",
            "Your cloud lies round 0. You took the mean away before the projection: add it again "
            "at the end.",
            projected(1, 0)),
        Mistake(
            "the mean taken away from the axes only",
            "Your axes are right, but you project the vectors with their mean, and add it once "
            "more. Take it away, project, add it.",
            projected(0, 1)),
        Mistake(
            "the mean never added nor taken away",
            "Your axes are right, but you project the vectors together with their mean, and lose a "
            "part of it. Take it away, project, add it.",
            projected(0, 0)),
        Mistake(
            "the smallest axes",
            "You keep the axes of the SMALLEST variance. eigh sorts upwards: the largest come "
            "last.",
            on_axes(lambda axes, m: axes[-m:])),
        Mistake(
            "the first entries",
            "You keep the first m entries of the vectors and set the others to 0. The cloud is "
            "turned: find the axes along which it is wide.",
            first_entries),
        Mistake(
            "one axis too many",
            "You keep m + 1 axes.",
            on_axes(lambda axes, m: axes[:m + 1])),
        Mistake(
            "one axis too few",
            "You keep m - 1 axes.",
            on_axes(lambda axes, m: axes[:m - 1])),
        Mistake(
            "rows in place of columns",
            "You take rows of the table of eigenvectors. eigh writes them as COLUMNS: the last m "
            "columns are the axes.",
            rows_for_columns),
        Mistake(
            "divided by the deviations",
            "You divide by the standard deviation along each axis and never multiply by it again. "
            "Then every axis is equally wide: leave it out.",
            whitened),
        Mistake(
            "numbers along the axes",
            "You return the m numbers along the axes, (n,m). Go back into the space of the "
            "vectors: multiply by the axes, and add the mean.",
            coordinates),
        Mistake(
            "the axes of the correlations",
            "You divide each entry by its deviation before you look for axes (or use corrcoef). "
            "Then all entries count alike: section 5 asks where the cloud itself is wide.",
            of_correlations),
        Mistake(
            "standardised and stretched again",
            "You standardise each entry, project, and stretch it again. These are the axes of "
            "another cloud: section 5 asks where this one is wide.",
            standardised),
        Mistake(
            "one mean for all entries",
            "You take away the mean of everything, one number. The mean of a cloud is a vector "
            "(E,), mean(dim=0), as in section 5.",
            one_mean),
        Mistake(
            "right axes, one mean for all entries",
            "Your axes are right (torch.cov centres by itself), but you take away and add the mean "
            "of everything, one number. The mean of a cloud is a vector (E,), mean(dim=0).",
            one_mean_later),
        Mistake(
            "rows taken for variables",
            "Your covariance is (n,n): torch.cov takes ROWS for variables. Section 5 wants that of "
            "the entries, (E,E): torch.cov(vectors.mT), or x.mT @ x.",
            rows_as_variables),
    ), "what the widest axes keep, round the mean",
    tolerance=1e-4)            # eigenvectors in float32


# ---- a number as one of K buckets

def quantise(x: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """x (...,m), low (m,), high (m,) -> in which bucket each number lies (...,m), int64 0..K-1."""
    return ar_prior.quantise(x, low, high, buckets)


def scaled(x: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """0 at low, K at high."""
    return (x - low) / (high - low) * buckets


def quantise_inputs(K: int, *shape: int, size: float = 1.0, edges: int = 0):
    """Nothing near the edge of a bucket, unless with edges: low and high themselves, where K is a
    power of two and all roundings agree. Some numbers lie far outside, some in the buckets at the
    ends; axes have unequal ranges, one of them below 0."""
    def draw(g: Generator) -> tuple:
        m, n = shape[-1], math.prod(shape)
        low = size * (uniform((m,), -2, 1, g) - 3 * (torch.arange(m) == m // 2))
        high = low + size * uniform((m,), 0.5, 4, g)
        ends = torch.tensor([0, K - 1, -1, K, -3 * K, 3 * K])[torch.randperm(6, generator=g)]
        place = torch.cat([ends, torch.randint(-2, K + 2, (n,), generator=g)])[:n]
        place = place[torch.randperm(n, generator=g)] + uniform((n,), 0.15, 0.85, g)
        x = low + place.view(shape) / K * (high - low)
        x.view(-1, m)[:edges] = torch.stack([low, high])[:edges]
        return x, low, high, K
    return draw


def edge_inputs(g: Generator) -> tuple:
    """Every edge of every bucket, and numbers a hair below and above; all lengths are powers of
    two, so that no rounding moves them. At an edge begins the upper bucket."""
    K, m, hair = 2 ** between(2, 4, g), between(2, 3, g), 2.0 ** -17
    low = torch.randint(-3, 2, (m,), generator=g).float()
    width = 2.0 ** torch.randint(-3, -1, (m,), generator=g)
    edges = low + torch.arange(K + 1)[:, None] * width                      # (K + 1, m)
    x = torch.cat([edges, edges - hair, edges + hair])
    return x[torch.randperm(len(x), generator=g)], low, low + K * width, K


QUANTISE = Exercise(
    "prior.quantise", LESSON, 2, quantise,
    (lambda g: quantise_inputs(between(5, 9, g), between(10, 14, g), 3)(g), edge_inputs,
     quantise_inputs(64, 3, 5, 2, size=50.0, edges=2), quantise_inputs(2, 1, 1),
     lambda g: quantise_inputs(between(10, 13, g), between(8, 9, g), size=0.01)(g)), (
        Mistake(
            "rounded",
            "You round to the nearest whole number, which moves every edge by half a bucket. A "
            "number belongs to the bucket in which it LIES: round down.",
            lambda *args: scaled(*args).round().clamp(0, args[3] - 1).long()),
        Mistake(
            "rounded up",
            "You round up, so that your buckets are counted from 1. Round down.",
            lambda *args: scaled(*args).ceil().clamp(0, args[3] - 1).long()),
        Mistake(
            "an edge counted to the bucket below",
            "A number exactly on an edge falls into the bucket BELOW it (ceil - 1, or bucketize "
            "without right=True). By section 5 it is rounded down, so there the upper one begins.",
            lambda *args: (scaled(*args).ceil() - 1).clamp(0, args[3] - 1).long()),
        Mistake(
            "K - 1 buckets",
            "You multiply by K - 1 and round down, so the last bucket is hit by `high` alone. "
            "Between low and high there are K buckets.",
            lambda x, low, high, K: scaled(x, low, high, K - 1).floor().clamp(0, K - 1).long()),
        Mistake(
            "rounded to K levels",
            "You multiply by K - 1 and round: these are levels from low to high, and the buckets "
            "at the two ends are half as wide. Multiply by K and round down.",
            lambda x, low, high, K: scaled(x, low, high, K - 1).round().clamp(0, K - 1).long()),
        Mistake(
            "not clamped",
            "Numbers outside low and high get buckets below 0 or beyond K - 1. They belong to the "
            "nearest one.",
            lambda *args: scaled(*args).floor().long()),
        Mistake(
            "cut off and not clamped",
            "Numbers outside low and high get buckets below 0 or beyond K - 1. They belong to the "
            "nearest one; and .long() cuts off towards 0, which below 0 is not down.",
            lambda *args: scaled(*args).long()),
        Mistake(
            "clamped at K",
            "You clamp at K, and there is no bucket K: counted from 0, the last is K - 1. Even "
            "`high` itself falls into that.",
            lambda *args: scaled(*args).floor().clamp(0, args[3]).long()),
        Mistake(
            "counted from 1",
            "Your buckets are counted from 1. The first is number 0.",
            lambda *args: quantise(*args) + 1),
        Mistake(
            "one range for all axes",
            "You take the smallest low and the largest high for all axes, so that narrow ones use "
            "only a few buckets. Each axis has its own range.",
            lambda x, low, high, K: quantise(x, low.min(), high.max(), K)),
        Mistake(
            "low not taken away",
            "You divide by the width without taking low away first. Buckets are counted from low.",
            lambda x, low, high, K: quantise(x, 0 * low, high - low, K)),
        Mistake(
            "numbers with a point",
            "Your buckets are right, but they are floats. A bucket is a number in a table: make "
            "them whole numbers, .long().",
            lambda *args: quantise(*args).float()),
    ), "K equal buckets an axis, and the nearest one outside")


EXERCISES = (GAP, VARIANCE, BETTER, RECONSTRUCT, QUANTISE)
