r"""The exercises of lesson 13: turn a vector, fill a hole, and count what an edit hit.

in -> out   EXERCISES: slerp, direction, keep_known, flip_share, small_mask
idea        A picture from a slightly wrong vector is still a picture, so what is asked for here is
            compared as numbers: vectors far apart and equal ones, masks of one pixel and of all,
            factors that are right and wrong together.
"""
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import manipulate, unclip
from minidalle.clip import Clip, ClipConfig, ConvTower, unit
from minidalle.course.checks import Exercise, Mistake, Result, hunt
from minidalle.course.checks.transformer import between
from minidalle.diffusion import mix
from minidalle.prior import Prior, PriorConfig

LESSON = "13_unclip"


# ---- on the arc between two vectors

def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Unit vectors a and b (B,E), t (B,1) from 0 to 1 -> (B,E) on the arc: a at 0, b at 1. Rows of
    a and b may be equal, and never are opposite."""
    return manipulate.slerp(a, b, t)


def turned(a: Tensor, angle: Tensor, g: Generator) -> Tensor:
    """Unit vectors at these angles (B,1) from the unit vectors a (B,E)."""
    side = torch.randn(a.shape, generator=g)
    side = unit(side - (side * a).sum(dim=1, keepdim=True) * a)
    return unit(angle.cos() * a + angle.sin() * side)


def fractions(g: Generator, B: int) -> Tensor:
    """t (B,1): 0 and 1 if there is room, else not one half, where straight lines are right too."""
    t = 0.1 + 0.3 * torch.rand(B, 1, generator=g)
    t[::2] = 1 - t[::2]
    if B > 3:
        t[:2] = torch.tensor([[0.0], [1.0]])
    return t


def arcs(g: Generator, B: int, E: int, low: float = 0.4, high: float = 2.5) -> tuple:
    """Angles from low up to high (a right angle is 1.57), one in each B-th of that range."""
    a = unit(torch.randn(B, E, generator=g))
    place = (torch.randperm(B, generator=g) + torch.rand(B, generator=g)) / B
    return a, turned(a, low + (high - low) * place[:, None], g), fractions(g, B)


def shared(E: int, g: Generator) -> Tensor:
    """Two unit vectors (2,E) that are equal in one or two of their entries, and only there."""
    n, angle = between(1, 2, g), 1 + torch.rand(1, 1, generator=g)
    left = unit(torch.randn(1, E - n, generator=g))
    rest = torch.cat([left, turned(left, angle, g)])                        # (2, E-n)
    both = torch.cat([torch.full((2, n), 0.5), (1 - n / 4) ** 0.5 * rest], dim=1)
    return both[:, torch.randperm(E, generator=g)]


def equal_arcs(g: Generator) -> tuple:
    """Behind others a pair that is nearly equal and two that are equal. The dot product of the
    first of these is exactly 1, and that of the second 1.0000001, where acos is nan. Before them
    two pairs in which single entries are equal and the vectors differ, and one at an angle of
    0.12, where the arc is no straight line yet."""
    B, E = between(5, 6, g), between(4, 5, g)
    a, b, t = arcs(g, B + 3, E)
    for row in (2, 3):                  # t is neither 0 nor 1 there
        a[row], b[row] = shared(E, g)
    b[4] = turned(a[4:5], torch.tensor([[0.12]]), g)[0]
    b[B] = turned(a[B:B + 1], torch.tensor([[0.003]]), g)[0]
    a[B + 1:] = 0
    a[B + 1, between(0, E - 1, g)] = 1
    a[B + 2, 1:3] = 0.70710683         # rounded up: such a sum of squares is met in every batch
    b[B + 1:] = a[B + 1:]
    order = torch.randperm(B + 3, generator=g)
    return a[order], b[order], t[order]


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """(B,1), and never nan."""
    return (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()


def bare_slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The formula as it stands."""
    angle = (a * b).sum(dim=1, keepdim=True).acos()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def clamped_slerp(a: Tensor, b: Tensor, t: Tensor, low: float) -> Tensor:
    """The cosine kept between low and a little below 1."""
    angle = (a * b).sum(dim=1, keepdim=True).clamp(low, 1 - 1e-6).acos()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def slerp_in_degrees(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    angle = angle_between(a, b).rad2deg()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def cosine_as_angle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    cosine = (a * b).sum(dim=1, keepdim=True)
    return (((1 - t) * cosine).sin() * a + (t * cosine).sin() * b) / cosine.sin()


SLERP = Exercise(
    "unclip.slerp", LESSON, 3, slerp,
    (equal_arcs,
     lambda g: arcs(g, 1, between(5, 7, g), low=2.15),           # obtuse
     lambda g: arcs(g, *2 * (between(3, 5, g),)),
     lambda g: arcs(g, between(2, 3, g), between(60, 70, g), high=1.5),
     equal_arcs), (
        Mistake(
            "a straight line",
            "You go along the straight line, and in the middle your vectors are too short. The "
            "weights on the arc are not 1 - t and t, but sines of these shares of the angle.",
            lambda a, b, t: torch.lerp(a, b, t)),
        Mistake(
            "a straight line, then normalised",
            "You go along the straight line and then bring the vectors to length one. They lie on "
            "the arc, but too near to the ends early and late: turn by t times the ANGLE.",
            lambda a, b, t: unit(torch.lerp(a, b, t))),
        Mistake(
            "t reversed",
            "At t = 0 your answer is b, and it should be a: the weights are exchanged, or t counts "
            "from the other end.",
            lambda a, b, t: slerp(a, b, 1 - t)),
        Mistake(
            "the cosine used as the angle",
            "You put the dot product into the sines. It is the COSINE of the angle: the angle "
            "itself is its acos.",
            cosine_as_angle),
        Mistake(
            "not divided by the sine",
            "Your weights are sin((1 - t) w) and sin(t w), and at t = 0 the answer is not a. "
            "Divide both by sin(w).",
            lambda a, b, t: ((1 - t) * angle_between(a, b)).sin() * a
                + (t * angle_between(a, b)).sin() * b),
        Mistake(
            "b not at right angles",
            "You compute cos(t w) a + sin(t w) b, and that is right only if b stands at right "
            "angles to a. Take from b its part along a first, or use the two sines.",
            lambda a, b, t: (t * angle_between(a, b)).cos() * a
                + (t * angle_between(a, b)).sin() * b),
        Mistake(
            "one t for the whole batch",
            "You use the t of the first row for all rows. Each row has its own.",
            lambda a, b, t: slerp(a, b, t[:1])),
        Mistake(
            "nan where a equals b",
            "The formula is right, but where a equals b your answer is nan: the angle is 0, and "
            "0 / 0 is nan (so is the acos of 1.0000001). Keep the cosine a little below 1, or "
            "return a there.",
            bare_slerp),
        Mistake(
            "zeros where a equals b",
            "Where a equals b your answer is 0 in all places, and there the arc is a itself. "
            "Return a there; nan_to_num only hides the 0 / 0.",
            lambda a, b, t: slerp(a, b, t) * (a != b).any(dim=1, keepdim=True)),
        Mistake(
            "degrees in place of radians",
            "You turn the angle into degrees, and sin takes radians, as acos returns them. Leave "
            "the angle as it is.",
            lambda a, b, t: torch.where((a == b).all(dim=1, keepdim=True), a,
                                        slerp_in_degrees(a, b, t))),
        Mistake(
            "degrees, and nan where a equals b",
            "You turn the angle into degrees, and sin takes radians, as acos returns them. And "
            "where a equals b your answer is nan, a 0 / 0: return a there.",
            slerp_in_degrees),
        Mistake(
            "obtuse angles taken for right ones",
            "Where the dot product is below 0 you take it for 0, so an obtuse angle becomes a "
            "right one. A cosine goes down to -1: clamp to [-1, 1], as in section 4.",
            lambda a, b, t: clamped_slerp(a, b, t, 0.0)),
        Mistake(
            "t where a equals b",
            "Where a equals b your answer is not a. Each weight is 0 / 0 there: return a, or keep "
            "the cosine a little below 1 (section 4).",
            lambda a, b, t: torch.where((a == b).all(dim=1, keepdim=True), t * a, slerp(a, b, t))),
        Mistake(
            "a line where the angle is not small",
            "You go along a straight line where a and b are rather near, and it can be told from "
            "the arc there. Do so only where the cosine is above 0.9995 (section 4).",
            lambda a, b, t: torch.where((a * b).sum(dim=1, keepdim=True) > 0.95,
                                        torch.lerp(a, b, t), slerp(a, b, t))),
    ), "the arc at an even pace, also where both ends are one")


# ---- the direction of an edit

def direction(before: Tensor, after: Tensor) -> Tensor:
    """Vectors of captions (B,E) of any length -> (B,E): unit vectors along after - before."""
    return unit(after - before)


def captions(size, scale: float = 1.0):
    """Draws of two tables (B,E), size(g), far from 0, with rows of very unequal lengths."""
    def draw(g):
        B, E = size(g)
        length = scale * 2 ** torch.linspace(-1, 2, B)[torch.randperm(B, generator=g), None]
        before = 1 + torch.randn(B, E, generator=g)
        return length * before, 1.5 * length * (before + torch.randn(B, E, generator=g))
    return draw


DIRECTION = Exercise(
    "unclip.direction", LESSON, 1, direction,
    (captions(lambda g: (between(2, 4, g), between(5, 7, g))),
     captions(lambda g: (1, between(2, 4, g))),
     captions(lambda g: (between(3, 5, g),) * 2),
     captions(lambda g: (between(5, 7, g), 3), 1000.0),
     captions(lambda g: (3, 32), 0.01)), (
        Mistake(
            "not normalised",
            "You return the difference as it is. How far to go is decided later: bring it to "
            "length one.",
            lambda before, after: after - before),
        Mistake(
            "reversed",
            "Your vectors point from `after` to `before`. The edit goes the other way.",
            lambda before, after: direction(after, before)),
        Mistake(
            "each normalised before",
            "You bring both to length one before you subtract them, and that is another direction. "
            "Subtract first.",
            lambda before, after: unit(unit(after) - unit(before))),
        Mistake(
            "each normalised, the difference not",
            "You bring both to length one and then subtract: the difference has another direction, "
            "and another length. Subtract first, then normalise.",
            lambda before, after: unit(after) - unit(before)),
        Mistake(
            "one length for the whole table",
            "You divide by the length of the whole table, one number. Each row gets the length "
            "one: give the norm a dim, and keepdim=True.",
            lambda before, after: (after - before) / (after - before).norm()),
        Mistake(
            "along the batch",
            "You bring the columns to length one. Each direction is a row: look at dim.",
            lambda before, after: (after - before) / (after - before).norm(dim=0)),
        Mistake(
            "divided by the squared length",
            "You divide by the sum of the squares. The length is its square root.",
            lambda before, after: (after - before)
                / (after - before).square().sum(dim=1, keepdim=True)),
        Mistake(
            "the sum",
            "You add the two, and that is what they have in COMMON. What changes is the "
            "difference.",
            lambda before, after: unit(before + after)),
        Mistake(
            "after alone",
            "You normalise `after` and leave `before` out: that is the whole caption, and not what "
            "is to change in it.",
            lambda before, after: unit(after)),
        Mistake(
            "divided by the length of after",
            "You divide by the length of `after`. By the formula of section 6 it is the DIFFERENCE "
            "that gets the length one.",
            lambda before, after: (after - before) / after.norm(dim=1, keepdim=True)),
        Mistake(
            "divided by the sum of the sizes",
            "You divide by the sum of the sizes, p=1. The length is the root of the sum of the "
            "squares (section 6).",
            lambda before, after: F.normalize(after - before, p=1)),
        Mistake(
            "one direction for the whole batch",
            "You average the differences over the batch, so that every picture gets the same "
            "edit. Each row has a direction of its own.",
            lambda before, after: unit((after - before).mean(dim=0)).expand_as(after)),
    ), "the difference, row by row at length one")


# ---- what is known stays, as noisy as the rest

def keep_known(x_t: Tensor, known: Tensor, mask: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    """x_t, known and eps (B,3,h,w), mask (B,1,h,w) bool, alpha_bar of this level -> (B,3,h,w): x_t
    where mask is True, there is drawn; elsewhere known, noised with eps to this level."""
    return torch.where(mask, x_t, noised(known, eps, alpha_bar))


def noised(known: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    return mix(known, eps, torch.tensor(alpha_bar))


def holes(size, level):
    """Draws of pictures, size(g) -> B, h, w: a hole in each, in the first nothing but holes if
    there are several, in the second none. The last of two or more has a hole in the corner, which
    no other hole reaches. level(random number) is alpha_bar."""
    def draw(g):
        B, h, w = size(g)
        x_t, known, eps = torch.randn(3, B, 3, h, w, generator=g)
        mask = torch.zeros(B, 1, h, w, dtype=torch.bool)
        for picture in mask[:, 0]:
            top, left = between(0, h - 2, g), between(0, w - 2, g)
            picture[top:between(top + 1, h - 1, g), left:between(left + 1, w - 1, g)] = True
        if B > 1:
            mask[-1, :, -1, -1] = True
        if B > 3:
            mask[0], mask[1] = True, False
        return x_t, 2 * known, mask, eps, level(torch.rand((), generator=g).item())
    return draw


KEEP_KNOWN = Exercise(
    "unclip.keep_known", LESSON, 2, keep_known,
    (holes(lambda g: (between(4, 5, g), 4, 6), lambda r: 0.2 + 0.2 * r),
     holes(lambda g: (3, 3, 3), lambda r: 0.7 + 0.2 * r),
     holes(lambda g: (1, 5, 2), lambda r: 0.01 + 0.01 * r),
     holes(lambda g: (2, 4, 4), lambda r: 1.0),                   # the picture itself
     holes(lambda g: (4, 8, 3), lambda r: 0.99 + 0.005 * r)), (
        Mistake(
            "clean pixels pasted",
            "You paste the known pixels as they are. The network expects a picture that is noisy "
            "everywhere: noise them to the level alpha_bar first.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(mask, x_t, known)),
        Mistake(
            "the mask turned round",
            "You keep what is to be drawn and draw what is known. The mask is True where to DRAW: "
            "there x_t stays.",
            lambda x_t, known, mask, eps, alpha_bar: keep_known(x_t, known, ~mask, eps, alpha_bar)),
        Mistake(
            "roots forgotten",
            "You mix with alpha_bar and 1 - alpha_bar themselves: both stand under a root.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar * known + (1 - alpha_bar) * eps)),
        Mistake(
            "the root of the known part forgotten",
            "The noise has the right weight. The known pixels are multiplied by alpha_bar itself, "
            "and its square root is meant.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar * known + (1 - alpha_bar) ** 0.5 * eps)),
        Mistake(
            "the noise added everywhere",
            "You add the noise to the whole picture, and x_t has this level's noise already: it "
            "belongs to the known pixels alone. Is it outside the brackets of torch.where?",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar ** 0.5 * known) + (1 - alpha_bar) ** 0.5 * eps),
        Mistake(
            "the weights exchanged",
            "You weigh the known pixels with 1 - alpha_bar and the noise with alpha_bar: they are "
            "exchanged. At alpha_bar = 1 the known pixels must come out as they are.",
            lambda x_t, known, mask, eps, alpha_bar: keep_known(x_t, known, mask, eps,
                                                                1 - alpha_bar)),
        Mistake(
            "noise at full strength",
            "You add the noise as it is, without its weight. Near the end hardly any is left.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar ** 0.5 * known + eps)),
        Mistake(
            "shrunk, but no noise",
            "You multiply the known pixels by the root of alpha_bar, and the noise of this level "
            "is missing.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar ** 0.5 * known)),
        Mistake(
            "x_t noised once more",
            "You noise the whole picture. x_t has this level's noise already: only the known "
            "pixels get any.",
            lambda x_t, known, mask, eps, alpha_bar: noised(torch.where(mask, x_t, known), eps,
                                                            alpha_bar)),
        Mistake(
            "blended half and half",
            "Outside the mask you take the mean of x_t and what is known. Nothing of x_t stays "
            "there.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, (x_t + noised(known, eps, alpha_bar)) / 2)),
        Mistake(
            "added in place of replaced",
            "Outside the mask you ADD the known pixels to x_t. They take its place.",
            lambda x_t, known, mask, eps, alpha_bar: x_t + ~mask * noised(known, eps, alpha_bar)),
        Mistake(
            "one mask for the whole batch",
            "You use the mask of the first picture for all. Each has its own.",
            lambda x_t, known, mask, eps, alpha_bar: keep_known(x_t, known, mask[:1], eps,
                                                                alpha_bar)),
        Mistake(
            "the masks of all pictures joined",
            "You draw in each picture wherever any of them has a hole. Each has a mask of its own: "
            "no any over the batch.",
            lambda x_t, known, mask, eps, alpha_bar: keep_known(
                x_t, known, mask.any(0, keepdim=True), eps, alpha_bar)),
        Mistake(
            "the known pixels not shrunk",
            "The noise has the right weight, and the known pixels have none. Multiply them by the "
            "root of alpha_bar (section 7).",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, known + (1 - alpha_bar) ** 0.5 * eps)),
        Mistake(
            "the noise's root forgotten",
            "The known pixels have the right weight. The noise is multiplied by 1 - alpha_bar "
            "itself, and its square root is meant (section 7).",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar ** 0.5 * known + (1 - alpha_bar) * eps)),
        Mistake(
            "1 - the root of alpha_bar",
            "You weigh the noise with 1 - sqrt(alpha_bar). By section 7 the root stands round the "
            "whole of 1 - alpha_bar, so that the variances add up to one.",
            lambda x_t, known, mask, eps, alpha_bar: torch.where(
                mask, x_t, alpha_bar ** 0.5 * known + (1 - alpha_bar ** 0.5) * eps)),
    ), "x_t in the hole, the known pixels as noisy around it")


# ---- what an edit hit, and what else it changed

def flip_share(read: Tensor, wanted: Tensor, which: int) -> tuple[float, float, float]:
    """What the judge read and what was wanted, (n,F) whole numbers, and the factor that was to
    change, counted from 0 -> shares of pictures: `which` is right, all others are, both."""
    return shares()(read, wanted, which)


def share(right: Tensor) -> float:
    return right.float().mean().item()


def shares(hit=lambda right, which: right[:, which],
           kept=lambda right, which: others(right, which).all(dim=1), both=None):
    """With other rules: each of right (n,F) bool and which, -> bool; both of hit and kept (n,)."""
    def answer(read, wanted, which):
        right = read == wanted                                              # (n, F)
        first, second = hit(right, which), kept(right, which)
        third = both(first, second) if both else share(right.all(dim=1))
        return share(first), share(second), third
    return answer


def others(right: Tensor, which: int) -> Tensor:
    """right (n,F) -> (n,F-1) without that factor."""
    return right[:, torch.arange(right.shape[1]) != which]


def readings(least: int, F: int, which: int):
    """Draws of what was read, in which pictures are easy or hard: right and wrong together. At the
    end one picture of each kind: hit or not, and none, one or all of the other factors wrong."""
    def draw(g):
        n = least + between(0, 9, g)
        wanted = torch.randint(4, (n, F), generator=g)
        hard = torch.rand(n, 1, generator=g)
        off = torch.rand(n, F, generator=g) < hard * torch.linspace(0.5, 0.9, F)
        rest = torch.arange(F) != which
        one = rest & (rest.cumsum(0) == between(1, F - 1, g))
        kinds = torch.stack([0 * rest, one, rest]).bool()                   # (3, F)
        off[-6:] = torch.cat([kinds, kinds | ~rest])
        return (wanted + off * torch.randint(1, 4, (n, F), generator=g)) % 4, wanted, which
    return draw


def lone_reading(g: Generator) -> tuple:
    """One picture in which the edit hit, and changed something else as well."""
    wanted = torch.randint(4, (1, 3), generator=g)
    read = wanted.clone()
    read[0, 2] = (read[0, 2] + 1) % 4
    return read, wanted, 1


FLIP_SHARE = Exercise(
    "unclip.flip_share", LESSON, 2, flip_share,
    (readings(35, 3, 0), readings(19, 4, 3), lone_reading, readings(27, 2, 1), readings(31, 5, 2)),
    (
        Mistake(
            "kept counts the changed factor too",
            "For \"kept\" you ask that ALL factors are right, `which` too. It says what else the "
            "edit changed: leave that factor out.",
            shares(kept=lambda right, which: right.all(dim=1))),
        Mistake(
            "kept among the hits only",
            "For \"kept\" you count only among the pictures that were hit. Count among all: what "
            "else changed is asked of every picture.",
            lambda read, wanted, which: (lambda hit, kept, both: (hit, both / hit, both))(
                *flip_share(read, wanted, which))),
        Mistake(
            "any in place of all",
            "For \"kept\" you count the pictures in which ANY other factor is right. All of them "
            "must be.",
            shares(kept=lambda right, which: others(right, which).any(dim=1))),
        Mistake(
            "the mean of the other shares",
            "For \"kept\" you take the mean over the other factors. Count the pictures in which "
            "all of them are right at once.",
            shares(kept=others)),
        Mistake(
            "the shares multiplied",
            "For \"both\" you multiply the two shares, as if they were independent. A picture that "
            "is hard to read fails both: count the pictures in which both hold.",
            shares(both=lambda hit, kept: share(hit) * share(kept))),
        Mistake(
            "the smaller of the two",
            "For \"both\" you take the smaller share. The two need not fail in the same pictures: "
            "count those in which both hold.",
            shares(both=lambda hit, kept: min(share(hit), share(kept)))),
        Mistake(
            "one or the other",
            "For \"both\" you count the pictures in which one OR the other holds.",
            shares(both=lambda hit, kept: share(hit | kept))),
        Mistake(
            "hit over all factors",
            "For \"hit\" you count all the factors. Only the one that was to change is asked "
            "about.",
            shares(hit=lambda right, which: right)),
        Mistake(
            "the factor counted from 1",
            "You look at the factor before `which`. Factors are counted from 0.",
            lambda read, wanted, which: flip_share(read, wanted, which - 1)),
        Mistake(
            "hit and kept exchanged",
            "The three shares are right, and the first two are exchanged: first the factor that "
            "was to change, then the others.",
            lambda read, wanted, which: (lambda hit, kept, both: (kept, hit, both))(
                *flip_share(read, wanted, which))),
        Mistake(
            "counts in place of shares",
            "You return how many, not which share. Divide by the number of pictures.",
            lambda read, wanted, which: tuple(
                len(read) * one for one in flip_share(read, wanted, which))),
        Mistake(
            "kept where anything else is wrong",
            "For \"kept\" you count the pictures in which another factor is WRONG. Count those in "
            "which all the others are right (section 6).",
            shares(kept=lambda right, which: ~others(right, which).all(dim=1))),
        Mistake(
            "the factor of the end",
            "You always look at the last factor. `which` says which one was to change "
            "(section 6).",
            lambda read, wanted, which: flip_share(read, wanted, read.shape[1] - 1)),
        Mistake(
            "the first factor always",
            "You always look at the first factor. `which` says which one was to change "
            "(section 6).",
            lambda read, wanted, which: flip_share(read, wanted, 0)),
        Mistake(
            "shares in percent",
            "You return percent. A share lies between 0 and 1 (section 6).",
            lambda read, wanted, which: tuple(
                100 * one for one in flip_share(read, wanted, which))),
    ), "hit, kept and both, picture by picture")


# ---- a mask for the small picture

def small_mask(mask: Tensor, factor: int) -> Tensor:
    """mask (B,1,H,W) bool, True where to draw; factor divides H and W -> (B,1,H/factor,W/factor)
    bool: True where any of the pixels that a small one stands for is."""
    return F.max_pool2d(mask.float(), factor) > 0


def kinds(factor: int, g: Generator) -> Tensor:
    """One block of each kind (7,factor,factor): none of its pixels is True, or one, all but one,
    all; a row, a column, a diagonal."""
    n, line = factor ** 2, torch.arange(factor) == between(0, factor - 1, g)
    few = torch.rand(4, n, generator=g).argsort(dim=1) < torch.tensor([[0], [1], [n - 1], [n]])
    row = line[:, None].expand(factor, factor)
    diagonal = torch.eye(factor).bool()[torch.randperm(factor, generator=g)]
    return torch.cat([few.view(4, factor, factor), torch.stack([row, row.T, diagonal])])


def blocks(size, factor: int):
    """Draws of a mask, size(g) -> B, H / factor, W / factor, of blocks of every kind, each drawn
    anew."""
    def draw(g):
        B, h, w = size(g)
        some = torch.cat([kinds(factor, g) for _ in range(B * h * w // 7 + 1)])[:B * h * w]
        some = some[torch.randperm(len(some), generator=g)]
        mask = some.view(B, 1, h, w, factor, factor).transpose(3, 4)
        return mask.reshape(B, 1, h * factor, w * factor), factor
    return draw


def mean_of(mask: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(mask.float(), factor)


def in_blocks(mask: Tensor, factor: int) -> Tensor:
    """(B,1,H/factor,factor,W/factor,factor)"""
    return mask.unflatten(3, (-1, factor)).unflatten(2, (-1, factor))


SMALL_MASK = Exercise(
    "unclip.small_mask", LESSON, 1, small_mask,
    (blocks(lambda g: (between(2, 3, g), 4, 3), 2),
     blocks(lambda g: (1, 2, between(3, 5, g)), 3),
     blocks(lambda g: (between(5, 7, g), 1, 1), 4),      # the whole picture becomes one pixel
     blocks(lambda g: (2, 3, 3), 1),                     # nothing becomes smaller
     blocks(lambda g: (2, 4, 4), 2)), (
        Mistake(
            "all in place of any",
            "Your small pixel is drawn only if ALL of its pixels are. Then pixels that are to be "
            "drawn count as known: any one of them is enough.",
            lambda mask, factor: mean_of(mask, factor) == 1),
        Mistake(
            "more than half",
            "You ask whether more than half of the pixels are to be drawn. Any one is enough: a "
            "small pixel is known only if all that it stands for is.",
            lambda mask, factor: mean_of(mask, factor) > 0.5),
        Mistake(
            "half or more",
            "You ask whether half of the pixels or more are to be drawn. Any one is enough: a "
            "small pixel is known only if all that it stands for is.",
            lambda mask, factor: mean_of(mask, factor) >= 0.5),
        Mistake(
            "any in a row, all rows",
            "Within a row of the block any pixel is enough for you, but then you ask it of ALL "
            "rows. Any one of the whole block is enough: any both times.",
            lambda mask, factor: in_blocks(mask, factor).any(dim=5).all(dim=3)),
        Mistake(
            "any in a column, all columns",
            "Within a column of the block any pixel is enough for you, but then you ask it of ALL "
            "columns. Any one of the whole block is enough: any both times.",
            lambda mask, factor: in_blocks(mask, factor).any(dim=3).all(dim=4)),
        Mistake(
            "all in a row, any row",
            "You look for a ROW of the block that is to be drawn throughout. Any one pixel of the "
            "whole block is enough: any both times.",
            lambda mask, factor: in_blocks(mask, factor).all(dim=5).any(dim=3)),
        Mistake(
            "all in a column, any column",
            "You look for a COLUMN of the block that is to be drawn throughout. Any one pixel of "
            "the whole block is enough: any both times.",
            lambda mask, factor: in_blocks(mask, factor).all(dim=3).any(dim=4)),
        Mistake(
            "every factor-th pixel",
            "You look at one pixel of each block, the first (so does F.interpolate). The others "
            "count as well.",
            lambda mask, factor: mask[..., ::factor, ::factor]),
        Mistake(
            "the middle pixel",
            "You look at one pixel of each block, in its middle. The others count as well.",
            lambda mask, factor: mask[..., factor // 2::factor, factor // 2::factor]),
        Mistake(
            "turned round",
            "Your small mask is True where the picture is known. It should be True where to draw, "
            "as the large one is.",
            lambda mask, factor: ~small_mask(mask, factor)),
        Mistake(
            "where any pixel is known",
            "Your small mask is True where ANY pixel is known. It should be True where any is to "
            "be drawn: the mask is turned round before the pooling.",
            lambda mask, factor: small_mask(~mask, factor)),
        Mistake(
            "pixels from far apart",
            "You group pixels that do not lie beside each other. A row of W is cut into W / factor "
            "groups of factor, so in view the number of blocks comes before the factor.",
            lambda mask, factor: mask.unflatten(3, (factor, -1)).unflatten(2, (factor, -1)).any(
                dim=4).any(dim=2)),
        Mistake(
            "pixels that follow each other",
            "You group factor * factor pixels that follow each other in memory: they lie in one "
            "row. A block has factor rows and factor columns: split H and W each by itself.",
            lambda mask, factor: mask.reshape(
                len(mask), 1, mask.shape[2] // factor, mask.shape[3] // factor, -1).any(dim=4)),
        Mistake(
            "factor as the size",
            "Your mask has the size factor x factor. factor says how many times SMALLER it gets.",
            lambda mask, factor: F.adaptive_max_pool2d(mask.float(), factor) > 0),
        Mistake(
            "numbers in place of bool",
            "The places are right, and your answer holds 0 and 1 as numbers. A mask is bool: "
            "compare with 0.",
            lambda mask, factor: F.max_pool2d(mask.float(), factor)),
        Mistake(
            "the share of each block",
            "You return the share of each block that is to be drawn. A mask says True or False: is "
            "the share above 0?",
            mean_of),
    ), "drawn where any pixel of the block is")


TEST = hunt(SLERP, "a straight line", "a straight line, then normalised", "t reversed",
    "the cosine used as the angle", "not divided by the sine", "b not at right angles",
    "one t for the whole batch", "nan where a equals b", "zeros where a equals b",
    "obtuse angles taken for right ones")
RESULT = Result(
    "unclip.result", LESSON, {
        "clip": (ClipConfig, lambda config: Clip(config, ConvTower(32, config.embed))),
        "prior": (PriorConfig, Prior), "decoder": (unclip.DecoderConfig, unclip.Decoder),
        "upsampler": (unclip.UpsamplerConfig, unclip.Upsampler)},
    lambda words, models: partial(unclip.caption_to_picture, unclip.Unclip(words, **models)),
    chance=1 / 560, broken=0.0)                # broken: a decoder that forgets the vector
EXERCISES = (SLERP, DIRECTION, KEEP_KNOWN, FLIP_SHARE, SMALL_MASK, RESULT, TEST)
