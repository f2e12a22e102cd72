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
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.diffusion import in_section
from minidalle.course.checks.transformer import between

LESSON = "12_prior"


def uniform(shape, low: float, high: float, g: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g)


# ---- the gap between two crowds

def gap(text: Tensor, image: Tensor) -> Tensor:
    """text (n,E), image (n,E), rows of length one -> the distance of their mean vectors, ()."""
    return (means(text) - means(image)).norm()


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


def near_crowds(g: Generator) -> tuple:
    """One narrow crowd twice, in another order and moved by 0.0003: hardly a gap, and yet each pair
    is far apart. In float32 what is left of |x|^2 - 2xy + |y|^2 has no right digit."""
    n = between(5, 9, g)
    centre, aside = torch.linalg.qr(torch.randn(8, 2, generator=g, dtype=torch.float64)).Q.T
    text = unit(centre + 0.12 * torch.randn(n, 8, generator=g, dtype=torch.float64))
    image = unit(text.roll(between(1, n - 1, g), dims=0) + 3e-4 * aside)
    return text.float(), image.float()


def facing(g: Generator) -> tuple:
    """Two narrow crowds on opposite sides, of unequal entries: a gap near 2, the largest."""
    n, E = between(2, 9, g), between(3, 8, g)
    centre = unit(torch.randn(1, E, generator=g))
    text, image = unit(torch.stack([centre, -centre]) + 0.05 * torch.randn(2, n, E, generator=g))
    return text, image


def of_means(distance):
    """Another distance of the two means: distance(mean, mean)."""
    return lambda text, image: distance(means(text), means(image))


GAP = Exercise(
    "prior.gap", LESSON, 1, gap,
    (crowds(8, 12, 0.3), crowds(4, 6, 0.5, square=True), near_crowds, crowds(1, 1, 0.5), facing),
    in_section(2,
        Mistake(
            "the mean distance of the pairs",
            "You average the distances of the pairs. Those are far from 0 even where the two "
            "crowds lie on each other: take the means first, then one distance.",
            lambda text, image: (text - image).norm(dim=1).mean()),
        Mistake(
            "the mean distance of all with all",
            "You average the distances of every text vector to every image vector. Take the means "
            "first, then one distance.",
            lambda text, image: (text[:, None] - image).norm(dim=2).mean()),
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
            lambda text, image: (text.mean(dim=1) - image.mean(dim=1)).norm()),
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
            "E entries, dim=0: the formula averages vectors.",
            of_means(lambda x, y: (x.mean() - y.mean()).abs())),
        Mistake(
            "the difference of the lengths",
            "You compare how LONG the two means are. Two means of one length can lie far apart: "
            "subtract the vectors first, then take the length.",
            of_means(lambda x, y: (x.norm() - y.norm()).abs())),
        Mistake(
            "the largest difference",
            "You take the largest of the E differences. The distance is the root of the sum of all "
            "squares.",
            of_means(lambda x, y: (x - y).abs().max())),
        Mistake(
            "the length of the whole table",
            "You subtract pair by pair and take the length of the whole table. Take the means "
            "first, dim=0: their difference is one vector.",
            lambda text, image: (text - image).norm()),
        Mistake(
            "the root mean square of the pairs",
            "You average the squared distances of the pairs. Those are far from 0 even where the "
            "two crowds lie on each other: take the means first, then one distance.",
            lambda text, image: (text - image).square().sum(dim=1).mean().sqrt()),
        Mistake(
            "the distance to the nearest",
            "You average the distance of each text to its nearest image vector. The gap is that of "
            "the two means.",
            lambda text, image: (text[:, None] - image).norm(dim=2).amin(dim=1).mean()),
        Mistake(
            "the nearest pair",
            "You take the distance of the nearest two. The gap is that of the two means.",
            lambda text, image: (text[:, None] - image).norm(dim=2).min()),
        Mistake(
            "the first pair",
            "You take the distance of the first pair. The gap is that of the two means, dim=0.",
            lambda text, image: (text[0] - image[0]).norm()),
        Mistake(
            "a length for each entry",
            "You take a length over the batch for each entry, and average those. Take the means "
            "over the batch first, then the length of one vector.",
            lambda text, image: (text - image).norm(dim=0).mean()),
        Mistake(
            "the cosine",
            "You return the cosine of the two means. The gap is the length of what lies between "
            "them, 0 where they are equal.",
            of_means(lambda x, y: F.cosine_similarity(x, y, dim=0))),
        Mistake(
            "one minus the dot product",
            "You compare the means by their dot product. The gap is the length of what lies "
            "between them.",
            of_means(lambda x, y: 1 - x @ y)),
        Mistake(
            "the formula of unit vectors",
            "You take the root of 2 - 2 times the dot product. That is right for vectors of length "
            "one, and means are shorter: take the length of their difference.",
            of_means(lambda x, y: (2 - 2 * x @ y).sqrt())),
        Mistake(
            "multiplied out",
            "You multiply the square of the difference out. Where the means nearly meet, float32 "
            "has no digit left of it: subtract first, then take the length.",
            of_means(lambda x, y: (x @ x - 2 * x @ y + y @ y).sqrt())),
        Mistake(
            "the means added",
            "You add the two means. The distance is the length of their difference.",
            of_means(lambda x, y: (x + y).norm())),
        Mistake(
            "half of it",
            "Your gap is half of what is asked for: that of one mean to the middle of both. It is "
            "the distance from mean to mean.",
            of_means(lambda x, y: (x - y).norm() / 2)),
        Mistake(
            "medians",
            "You take the median of each entry. Asked for is the mean.",
            lambda text, image: (text.median(dim=0).values - image.median(dim=0).values).norm()),
        Mistake(
            "divided by n - 1",
            "You divide the sums by n - 1, which is for variances. A mean divides by n.",
            lambda text, image: (text.sum(dim=0) - image.sum(dim=0)).norm() / (len(text) - 1)),
    ), "the distance of the two means, near 0 for crowds that meet")


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
     spiky), in_section(4,
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
            "and nothing was taken away from them: the root of E.",
            lambda z: math.sqrt(z.shape[1] - 1) * z),
        Mistake(
            "the root of B times E",
            "You count the entries of the whole table. A vector does not change with the batch: "
            "the root of E, how many entries one vector has.",
            lambda z: math.sqrt(z.numel()) * z),
        Mistake(
            "the factor for E = 128",
            "You multiply by 11.3, the factor of our CLIP. Vectors of another length have another: "
            "read E off z.shape.",
            lambda z: math.sqrt(128) * z),
        Mistake(
            "11.3",
            "You multiply by 11.3, the factor of our CLIP. Vectors of another length have another: "
            "read E off z.shape.",
            lambda z: 11.3 * z),
        Mistake(
            "half of E",
            "You multiply by E / 2: in E ** 1 / 2 the power comes before the division. Write "
            "E ** 0.5, or math.sqrt.",
            lambda z: z.shape[1] / 2 * z),
        Mistake(
            "a root in whole numbers",
            "You cut the root of E to a whole number. It may have digits behind the point: "
            "math.sqrt, and no int or isqrt.",
            lambda z: math.isqrt(z.shape[1]) * z),
        Mistake(
            "divided by the variance",
            "You divide by the variance of this batch. Another batch would be scaled otherwise, "
            "and a variance is a square: the factor is fixed, the root of E.",
            lambda z: z / spread(z.flatten(), 0).square()),
        Mistake(
            "divided by the length of the table",
            "You divide by the length of all vectors together, for want of a dim. They have length "
            "one already: multiply by the root of E.",
            lambda z: math.sqrt(z.shape[1]) * z / z.norm()),
        Mistake(
            "the mean taken away",
            "The factor is right, but you take the mean over the batch away first. That moves the "
            "vectors by what another batch would not: only one factor is wanted.",
            lambda z: math.sqrt(z.shape[1]) * (z - z.mean(dim=0))),
        Mistake(
            "the table standardised",
            "You take away the mean of the batch and divide by its standard deviation. Another "
            "batch would be scaled otherwise: the factor is fixed, the root of E.",
            lambda z: (z - z.mean()) / spread(z.flatten(), 0)),
        Mistake(
            "divided by the table's deviation, with n",
            "You divide by the standard deviation of this batch. Another batch would be scaled "
            "otherwise, and the way back would be lost: the factor is fixed, the root of E.",
            lambda z: z / z.std(correction=0)),
        Mistake(
            "each entry by its own deviation, with n",
            "You divide each entry by its standard deviation over the batch, which turns the "
            "vectors, and is infinite for a single one. One factor for all, the root of E.",
            lambda z: z / z.std(dim=0, correction=0)),
        Mistake(
            "each vector by its own deviation, with n",
            "You divide each vector by the standard deviation of its entries. That is near and not "
            "the same, for their mean is not 0: one factor for all, the root of E.",
            lambda z: z / z.std(dim=1, correction=0, keepdim=True)),
        Mistake(
            "a norm layer",
            "You standardise each vector, as a norm layer does. That turns it, for its mean is "
            "taken away: only one factor is wanted, the root of E.",
            lambda z: F.layer_norm(z, z.shape[1:])),
        Mistake(
            "brought to length one along the batch",
            "You bring the columns to length one, dim=0. The rows have it already: multiply by the "
            "root of E.",
            lambda z: math.sqrt(z.shape[1]) * F.normalize(z, dim=0)),
    ), "the same factor for every vector, so that there is a way back")


# ---- the better of two

def better_of_two(a: Tensor, b: Tensor, text: Tensor) -> Tensor:
    """a, b, text (B,E) -> (B,E): in each row a or b, whichever has the larger dot product."""
    return prior.better_of_two(a, b, text)


def two_inputs(low: int, high: int, size: float = 1.0, square: bool = False, first: bool = True):
    """Rows with a and with b take turns, and none is level. One has a short vector straight along
    the text, and a long one across it that has the larger dot product. Summed over the batch a fits
    better if `first`, else b; in the last row the other one does."""
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
        if (dots(a, text).sum() > dots(b, text).sum()) != first:
            a, b = b, a
        if B > 1 and (dots(a, text) > dots(b, text))[-1] == first:
            a, b, text = (x.roll(1, dims=0) for x in (a, b, text))
        return size * a, size * b, text
    return draw


CLOSE = ((0.5, 0.4995), (-0.5, -0.4995), (0.002, -0.001), (2.0, 1.9), (-2.0, -2.1), (0.3, -3.0),
         (0.5, 0.49999))


def close_inputs(g: Generator) -> tuple:
    """In each row the dot products are known, and most lie close together; either may be larger,
    and both may lie on one side of 0. In one row a and b are equal, and so is the better one; in
    two of opposite choice half precision cannot tell the dot products apart."""
    E = between(5, 9, g)
    fits = torch.tensor([*CLOSE, *(pair[::-1] for pair in CLOSE),
                         (1.5, -0.2), (0.7, 0.7)])                          # (16, 2)
    apart = (fits[:, 0] - fits[:, 1]).abs()
    hair = (apart > 0) & (apart < 1e-4)
    text = torch.where(hair[:, None], torch.eye(E)[0], unit(torch.randn(len(fits), E, generator=g)))
    aside = torch.randn(2, len(fits), E, generator=g)
    aside[1, -2] = -aside[0, -2]               # so the longer one is not the farther one there
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
    (two_inputs(6, 9), two_inputs(4, 6, square=True, first=False), two_inputs(1, 1),
     two_inputs(7, 9, size=100.0), close_inputs), in_section(4,
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
            "entry by entry the larger product, b where they are level",
            "You compare the products entry by entry and mix the two vectors. Sum the products "
            "first: one comparison a row.",
            lambda a, b, text: torch.where(a * text > b * text, a, b)),
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
            "let one of the two comparisons be >=, or use torch.where.",
            lambda a, b, text: ((dots(a, text) > dots(b, text))[:, None] * a
                                + (dots(a, text) < dots(b, text))[:, None] * b)),
        Mistake(
            "a wherever it points the caption's way",
            "You take a wherever its dot product is above 0, and never look at b's. Compare the "
            "two with each other.",
            lambda a, b, text: torch.where((dots(a, text) > 0)[:, None], a, b)),
        Mistake(
            "the longer one",
            "You take the LONGER vector. Asked for is the larger dot product with the text.",
            larger(lambda x, text: x.norm(dim=1))),
        Mistake(
            "the text of the first row",
            "You compare all rows with the text of the first. Each row has its own caption.",
            lambda a, b, text: better_of_two(a, b, text[:1])),
        Mistake(
            "always a",
            "All your rows are a. Compare the dot products, and take b where its own is larger.",
            lambda a, b, text: 1 * a),
        Mistake(
            "always b",
            "All your rows are b. Compare the dot products, and take a where its own is larger.",
            lambda a, b, text: 1 * b),
        Mistake(
            "the farther one",
            "You take the one that lies FARTHER from the text. Asked for is the larger dot "
            "product, and a larger distance means a smaller one.",
            larger(lambda x, text: (x - text).norm(dim=1))),
        Mistake(
            "the best of all captions",
            "You compare each vector with the texts of the whole batch (a @ text.mT) and take its "
            "largest. A row has its own caption: (a * text).sum(dim=1).",
            larger(lambda x, text: (x @ text.mT).amax(dim=1))),
        Mistake(
            "the mean over all captions",
            "You compare each vector with the texts of the whole batch (a @ text.mT) and take the "
            "mean. A row has its own caption: (a * text).sum(dim=1).",
            larger(lambda x, text: (x @ text.mT).mean(dim=1))),
        Mistake(
            "the best row of a",
            "You look for the best of all rows of a for each caption. The choice of a row is "
            "between its own a and its own b.",
            lambda a, b, text: a[(a @ text.mT).argmax(dim=0)]),
        Mistake(
            "the best of the whole batch",
            "You look for the best of all 2 B vectors for each caption. The choice of a row is "
            "between its own a and its own b.",
            lambda a, b, text: torch.cat([a, b])[(torch.cat([a, b]) @ text.mT).argmax(dim=0)]),
        Mistake(
            "brought to length one",
            "The choice is right, but you bring the vector to length one. It comes back as it was.",
            lambda a, b, text: unit(better_of_two(a, b, text))),
        Mistake(
            "a and b compared with each other",
            "You ask whether a and b point the same way. Compare each of them with the text.",
            lambda a, b, text: torch.where((dots(a, b) > 0)[:, None], a, b)),
        Mistake(
            "the larger sum",
            "You compare the sums of the entries, and the text has no say. Asked for is the larger "
            "dot product with it.",
            larger(lambda x, text: x.sum(dim=1))),
        Mistake(
            "a mixture of the two",
            "You mix the two by how well they fit. A mixture of two pictures is no picture: choose "
            "one of them.",
            lambda a, b, text: torch.lerp(
                b, a, (dots(a, text) - dots(b, text)).sigmoid()[:, None])),
        Mistake(
            "the products in place of the vector",
            "You return products with the text. It is there to choose by: the answer is a row of a "
            "or of b as it is.",
            lambda a, b, text: torch.maximum(a * text, b * text)),
        Mistake(
            "a number in place of the vector",
            "You return which of the two is better, (B,). Asked for is the vector itself, (B,E).",
            lambda a, b, text: (dots(a, text) < dots(b, text)).long()),
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


def cloud_inputs(more: int, E: int, low: int, high: int, size: float = 1.0, ratio: float = 0.5):
    """A cloud turned at random, of E + 1 to E + more vectors; each axis is `ratio` as wide as the
    one before. Low to high of them are asked for."""
    def draw(g: Generator) -> tuple:
        n = E + between(1, more, g)
        vectors = size * cloud(n, ratio ** torch.arange(E), turn(E, g), g)
        return vectors.float(), between(low, high, g)
    return draw


def flat_cloud(g: Generator) -> tuple:
    """Three of five axes hold all there is, and three are asked for: the vectors come back as they
    are, and what divides by the others' widths finds 0 there."""
    widths = 0.5 ** torch.arange(3)
    return cloud(between(7, 12, g), widths, turn(5, g)[:3], g).float(), 3


def straight_cloud(g: Generator) -> tuple:
    """Nearly along the axes of the table, the widest neither first nor last: nothing is sorted yet.
    Two pairs of axes are turned a little, so that standardised ones have unequal widths too."""
    widths = torch.tensor([0.5, 4.0, 0.25, 2.0, 1.0], dtype=torch.float64)
    V = torch.eye(5, dtype=torch.float64)
    for first, angle in ((0, 0.3), (2, 0.1)):
        c, s = math.cos(angle), math.sin(angle)
        V[first:first + 2, first:first + 2] = torch.tensor([[c, s], [-s, c]])
    return cloud(between(7, 12, g), widths, V, g).float(), between(2, 3, g)


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


def raw_axes(vectors: Tensor, m: int) -> Tensor:
    """The axes of the vectors as they are, and the mean in its place."""
    axes = torch.linalg.svd(vectors.double(), full_matrices=False).Vh[:m]
    return onto(vectors.double().mean(dim=0), axes, vectors)


def mean_of_each(vectors: Tensor, m: int) -> Tensor:
    mean = vectors.double().mean(dim=1, keepdim=True)
    axes = torch.linalg.svd(vectors - mean, full_matrices=False).Vh[:m]
    return onto(mean, axes, vectors)


def without_values(vectors: Tensor, m: int) -> Tensor:
    mean = vectors.double().mean(dim=0)
    U, _, Vh = torch.linalg.svd(vectors - mean, full_matrices=False)
    return (mean + U[:, :m] @ Vh[:m]).to(vectors)


def columns_for_rows(vectors: Tensor, m: int) -> Tensor:
    mean = vectors.mean(dim=0)
    columns = torch.linalg.svd(vectors - mean, full_matrices=False).Vh[:, :m]
    return onto(mean.double(), columns.mT.double(), vectors)


def widest_entries(vectors: Tensor, m: int) -> Tensor:
    kept = vectors.var(dim=0).argsort(descending=True)[:m]
    out = vectors.mean(dim=0).repeat(len(vectors), 1)
    out[:, kept] = vectors[:, kept]
    return out


def whitened(vectors: Tensor, m: int) -> Tensor:
    mean, axes = directions(vectors)
    along = (vectors - mean) @ axes[:m].mT
    return (mean + along / along.std(dim=0) @ axes[:m]).to(vectors)


RECONSTRUCT = Exercise(
    "prior.reconstruct", LESSON, 3, reconstruct,
    (cloud_inputs(9, 5, 1, 1), cloud_inputs(1, 6, 2, 3, size=30.0), straight_cloud, flat_cloud,
     cloud_inputs(30, 8, 4, 6, size=0.3, ratio=0.6)), in_section(5,
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
            "You keep m + 1 axes: a slice that ends at m holds m of them.",
            on_axes(lambda axes, m: axes[:m + 1])),
        Mistake(
            "one axis too few",
            "You keep m - 1 axes: from -m to the end there are m of them.",
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
            "Then all entries count alike: asked for is where the cloud itself is wide.",
            of_correlations),
        Mistake(
            "standardised and stretched again",
            "You standardise each entry, project, and stretch it again. These are the axes of "
            "another cloud: asked for is where this one is wide.",
            standardised),
        Mistake(
            "one mean for all entries",
            "You take away the mean of everything, one number. The mean of a cloud is a vector "
            "(E,), mean(dim=0).",
            one_mean),
        Mistake(
            "right axes, one mean for all entries",
            "Your axes are right (torch.cov centres by itself), but you take away and add the mean "
            "of everything, one number. The mean of a cloud is a vector (E,), mean(dim=0).",
            one_mean_later),
        Mistake(
            "rows taken for variables",
            "Your covariance is (n,n): torch.cov takes ROWS for variables. Take that of the "
            "entries, (E,E): torch.cov(vectors.mT), or x.mT @ x.",
            rows_as_variables),
        Mistake(
            "axes of the vectors as they are",
            "You look for the axes before you take the mean away, so the first points to where the "
            "cloud lies. Take the mean away, then form the covariance.",
            raw_axes),
        Mistake(
            "not centred, the mean added",
            "You never take the mean away, and add it at the end. Take it away before you look for "
            "axes.",
            lambda vectors, m: about_0(vectors, m) + vectors.mean(dim=0)),
        Mistake(
            "the mean taken away twice",
            "You take the mean away at the end once more. It is added there.",
            projected(1, -1)),
        Mistake(
            "the mean of each vector",
            "You take away the mean of each vector, dim=1. The mean of a cloud is a vector (E,), "
            "mean(dim=0).",
            mean_of_each),
        Mistake(
            "the widest axis left out",
            "You leave the widest axis out: a slice -m:-1 ends before the last column. Write -m: "
            "and nothing behind.",
            on_axes(lambda axes, m: axes[1:m])),
        Mistake(
            "from m on",
            "You keep the columns from m on, [:, m:], which are E - m. The last m are [:, -m:].",
            on_axes(lambda axes, m: axes[:axes.shape[1] - m])),
        Mistake(
            "what the widest axes leave over",
            "You keep what the m widest axes leave over. Keep what is ALONG them.",
            on_axes(lambda axes, m: axes[m:])),
        Mistake(
            "entries turned round",
            "You turn the rows of the table of eigenvectors round (flip(0)), which turns the "
            "entries of each axis. To sort the axes downwards, turn the columns: flip(1).",
            on_axes(lambda axes, m: axes[-m:].flip(1))),
        Mistake(
            "everything kept",
            "Your vectors come back whole. Keep what they are along the m widest axes, and the "
            "mean.",
            lambda vectors, m: 1 * vectors),
        Mistake(
            "nothing but the mean",
            "All your vectors are the mean. Add to it what each is along the m widest axes.",
            lambda vectors, m: vectors.mean(dim=0).repeat(len(vectors), 1)),
        Mistake(
            "the singular values forgotten",
            "You multiply U by the axes. In an SVD the numbers along the axes are U * S: the "
            "singular values are missing.",
            without_values),
        Mistake(
            "columns in place of rows",
            "You take columns of what the SVD calls Vh. Its ROWS are the axes, the widest first: "
            "Vh[:m].",
            columns_for_rows),
        Mistake(
            "brought to length one",
            "You bring the vectors to length one in the end. They stay as long as the projection "
            "makes them.",
            lambda vectors, m: unit(reconstruct(vectors, m))),
        Mistake(
            "the entries of largest variance",
            "You keep the m ENTRIES of largest variance and set the others to the mean. The cloud "
            "is turned: find the axes along which it is wide.",
            widest_entries),
    ), "what the widest axes keep, round the mean",
    tolerance=1e-4)            # eigenvectors in float32


# ---- a number as one of K buckets

def quantise(x: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """x (...,m), low (m,), high (m,) -> in which bucket each number lies (...,m), int64 0..K-1."""
    return ar_prior.quantise(x, low, high, buckets)


def scaled(x: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """0 at low, K at high."""
    return (x - low) / (high - low) * buckets


def in_buckets(*args) -> Tensor:
    """Right, if the range is: of a range of 0 it is what .long() makes of NaN."""
    return scaled(*args).floor().clamp(0, args[3] - 1).long()


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
    two, so that no rounding moves them. At an edge begins the upper bucket. In float32 7 and 15
    times 1 / 7 and 1 / 15 are not 1, so two kinds of K - 1 buckets part at `high`."""
    K, m, hair = 2 ** between(3, 4, g), between(2, 3, g), 2.0 ** -17
    low = torch.randint(-3, 2, (m,), generator=g).float()
    width = 2.0 ** torch.randint(-3, -1, (m,), generator=g)
    edges = low + torch.arange(K + 1)[:, None] * width                      # (K + 1, m)
    x = torch.cat([edges, edges - hair, edges + hair])
    return x[torch.randperm(len(x), generator=g)], low, low + K * width, K


QUANTISE = Exercise(
    "prior.quantise", LESSON, 2, quantise,
    (lambda g: quantise_inputs(between(5, 9, g), between(10, 14, g), 3)(g), edge_inputs,
     quantise_inputs(1024, 3, 5, 2, size=50.0, edges=2), quantise_inputs(2, 1, 1),
     lambda g: quantise_inputs(between(10, 13, g), between(8, 9, g), size=0.01)(g)), in_section(5,
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
            "without right=True). Numbers are rounded down, so the upper one begins there.",
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
        Mistake(
            "clamped above only",
            "Numbers below low get buckets below 0. They belong to the nearest one, number 0: "
            "clamp on both sides.",
            lambda *args: scaled(*args).floor().clamp(max=args[3] - 1).long()),
        Mistake(
            "clamped below only",
            "Numbers from high on get buckets beyond K - 1. They belong to the nearest one, the "
            "last: clamp on both sides.",
            lambda *args: scaled(*args).floor().clamp(min=0).long()),
        Mistake(
            "clamped from 1 to K",
            "You clamp to 1 ... K, and bucket 0 is never used. Counted from 0, the last of K is "
            "K - 1.",
            lambda *args: scaled(*args).floor().clamp(1, args[3]).long()),
        Mistake(
            "one more bucket on each side",
            "Numbers outside low and high get buckets of their own, -1 and K. They belong to the "
            "nearest one, 0 or K - 1.",
            lambda *args: scaled(*args).floor().clamp(-1, args[3]).long()),
        Mistake(
            "0 kept for what lies below low",
            "You count the edges at or below the number, `low` among them. Then 0 is left for what "
            "lies below low: count the INNER edges only.",
            lambda *args: scaled(*args).floor().clamp(-1, args[3] - 1).long() + 1),
        Mistake(
            "the remainder in place of the nearest",
            "You take the remainder by K, so that what lies above high begins at 0 again. It "
            "belongs to the nearest bucket: clamp.",
            lambda *args: scaled(*args).floor().long() % args[3]),
        Mistake(
            "0 for all that lies outside",
            "What lies outside low and high gets bucket 0. It belongs to the nearest one, and "
            "above high that is the last.",
            lambda x, low, high, K: quantise(x, low, high, K) * ((x >= low) & (x <= high))),
        Mistake(
            "K + 1 buckets",
            "You multiply by K + 1. There are K + 1 EDGES between low and high, and K buckets.",
            lambda x, low, high, K: scaled(x, low, high, K + 1).floor().clamp(0, K - 1).long()),
        Mistake(
            "K - 1 buckets, by their width",
            "You divide the range by K - 1 for the width of a bucket. K buckets lie between low "
            "and high: divide by K.",
            lambda x, low, high, K: ((x - low) / ((high - low) / (K - 1))).floor().clamp(
                0, K - 1).long()),
        Mistake(
            "divided by high",
            "You divide by high. The range of an axis is high - low.",
            lambda x, low, high, K: ((x - low) / high * K).floor().clamp(0, K - 1).long()),
        Mistake(
            "not divided by the range",
            "You multiply x by K as if it lay between 0 and 1. Take low away first, and divide by "
            "high - low.",
            lambda x, low, high, K: (x * K).floor().clamp(0, K - 1).long()),
        Mistake(
            "the division before the difference",
            "You compute x - low / (high - low): the division comes first. Put brackets round "
            "x - low.",
            lambda x, low, high, K: ((x - low / (high - low)) * K).floor().clamp(0, K - 1).long()),
        Mistake(
            "rounded before the multiplication",
            "You round the share down before you multiply it by K, and only the first and last "
            "bucket are left. Multiply first.",
            lambda x, low, high, K: (scaled(x, low, high, 1).floor() * K).clamp(0, K - 1).long()),
        Mistake(
            "low and high exchanged",
            "You exchange low and high, so that the buckets are counted from above.",
            lambda x, low, high, K: in_buckets(x, high, low, K)),
        Mistake(
            "the range of the first axis",
            "You take low and high of the first axis for all. Each axis has its own range.",
            lambda x, low, high, K: quantise(x, low[:1], high[:1], K)),
        Mistake(
            "the range of x",
            "You take the smallest and the largest of x itself, axis by axis. Take low and high as "
            "they are given: another batch must get the same buckets.",
            lambda x, low, high, K: in_buckets(
                x, *x.reshape(-1, x.shape[-1]).aminmax(dim=0), K)),
        Mistake(
            "one range of x",
            "You take the smallest and the largest of all of x. Take low and high as they are "
            "given, a range for each axis.",
            lambda x, low, high, K: in_buckets(x, x.min(), x.max(), K)),
        Mistake(
            "the lower edge in place of the number",
            "You return where the bucket begins. Asked for is its number, 0 to K - 1.",
            lambda x, low, high, K: low + quantise(x, low, high, K) * (high - low) / K),
        Mistake(
            "the middle in place of the number",
            "You return the middle of the bucket, which is the way back. Asked for is its number, "
            "0 to K - 1.",
            lambda x, low, high, K: low + (quantise(x, low, high, K) + 0.5) * (high - low) / K),
    ), "K equal buckets an axis, and the nearest one outside")


TEST = hunt(QUANTISE, "rounded", "rounded up", "an edge counted to the bucket below",
    "K - 1 buckets", "not clamped", "clamped at K", "counted from 1", "one range for all axes",
    "low not taken away", "0 for all that lies outside")
EXERCISES = (GAP, VARIANCE, BETTER, RECONSTRUCT, QUANTISE, TEST)
