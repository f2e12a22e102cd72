r"""The exercises of lesson 17: counts before clocks, a batch for many, a line through losses.

in -> out   EXERCISES: block_parameters, training_flops, training_bytes, part_of, all_reduce, plan,
            fit_power; a test of part_of
idea        Counts are whole numbers and compared to the last digit, with sizes of which no two are
            equal and products that neither 32 nor 64 bits hold. Batches that do not divide tell
            apart who takes the rest; processes with unequal parts tell a mean from a mean of means;
            points beside the line tell a fit from a ruler laid through two of them.
"""
import functools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.diffusion import in_section
from minidalle.course.checks.transformer import between

LESSON = "17_scale"


# ---- the weights of a block

def block_parameters(width: int, widen: int) -> int:
    """Of a transformer block: attention with four layers, an MLP `widen` times as wide inside, two
    norms; each with its bias."""
    attention = 4 * (width * width + width)
    mlp = 2 * widen * width * width + widen * width + width
    return attention + mlp + 2 * 2 * width


def widths(low: int, high: int, *widens: int):
    def draw(g):
        return between(low, high, g), widens[between(0, len(widens) - 1, g)]
    return draw


def wide_one(g: Generator) -> tuple:
    """An odd number of weights, and more of them than float32 can tell apart."""
    return 2 * between(1000, 1900, g) + 1, 6


def parts(attention=lambda D: 4 * (D * D + D), mlp=lambda D, w: 2 * w * D * D + w * D + D,
          norms=lambda D: 4 * D):
    """A count with one of its parts replaced."""
    return lambda width, widen: attention(width) + mlp(width, widen) + norms(width)


def times(factor):
    """The right count, times a number."""
    return lambda width, widen: factor * block_parameters(width, widen)


BLOCK_PARAMETERS = Exercise(
    "scale.block_parameters", LESSON, 1, block_parameters,
    (widths(5, 12, 2, 3), widths(13, 40, 3, 5), widths(50, 90, 6), wide_one,
     widths(7, 9, 1)), in_section(1,
        Mistake(
            "matrices alone",
            "You count the matrices and nothing else. Each layer has a bias, and each norm a "
            "weight and a bias for each of D numbers.",
            parts(lambda D: 4 * D * D, lambda D, w: 2 * w * D * D, lambda D: 0)),
        Mistake(
            "12 D squared",
            "You count 12 D squared, the rule for large blocks that are four times as wide "
            "inside. Asked for are all weights, and how wide it is was given as `widen`.",
            lambda width, widen: 12 * width * width),
        Mistake(
            "no biases in the layers",
            "Your layers have no bias. Each of the six has as many as it has outputs.",
            parts(lambda D: 4 * D * D, lambda D, w: 2 * w * D * D)),
        Mistake(
            "4 D too few",
            "You are 4 D short: either the four layers of the attention have no bias, D each, or "
            "the two norms are missing, which have a weight and a bias for each of D numbers.",
            parts(attention=lambda D: 4 * D * D)),
        Mistake(
            "no biases in the MLP",
            "The two layers of your MLP have no bias: the first has widen x D, the second D.",
            parts(mlp=lambda D, w: 2 * w * D * D)),
        Mistake(
            "2 D too few",
            "You are 2 D short: either the norms count half, and there are two of them, each with "
            "a weight and a bias, or queries, keys and values share one bias, where each has its "
            "own.",
            parts(norms=lambda D: 2 * D)),
        Mistake(
            "3 D too few",
            "You are 3 D short: queries, keys and values have a bias each.",
            parts(attention=lambda D: 4 * D * D + D)),
        Mistake(
            "D too few",
            "You are D short: one of the layers has no bias. That of the attention's output and "
            "the second one of the MLP are easily forgotten.",
            parts(attention=lambda D: 4 * D * D + 3 * D)),
        Mistake(
            "the norms as one number each",
            "You count one number for each weight and bias of a norm. Each has D.",
            parts(norms=lambda D: 4)),
        Mistake(
            "three norms",
            "You count three norms. A block has two; the third one stands behind the last block.",
            parts(norms=lambda D: 6 * D)),
        Mistake(
            "three layers in the attention",
            "You count three layers in the attention. Queries, keys and values have one each, D x "
            "D, and what the heads have heard goes through a fourth.",
            parts(attention=lambda D: 3 * (D * D + D))),
        Mistake(
            "one layer for queries, keys and values",
            "You count one layer for queries, keys and values. Each of them has its own, D x D.",
            parts(attention=lambda D: 2 * (D * D + D))),
        Mistake(
            "queries, keys and values without the rest of it",
            "You count one layer of D x D for the whole of the attention. It has four.",
            parts(attention=lambda D: D * D + D)),
        Mistake(
            "an attention more",
            "You count two attentions. A block without a context has one.",
            parts(attention=lambda D: 8 * (D * D + D))),
        Mistake(
            "attention forgotten",
            "Your count has no attention: four layers of D x D, and their biases.",
            parts(attention=lambda D: 0)),
        Mistake(
            "MLP forgotten",
            "Your count has no MLP, where most of the weights are.",
            parts(mlp=lambda D, w: 0)),
        Mistake(
            "four times as wide, whatever was given",
            "Your MLP is four times as wide inside. How wide it is was given as `widen`.",
            parts(mlp=lambda D, w: 8 * D * D + 5 * D)),
        Mistake(
            "MLP not widened",
            "Your MLP is as wide inside as outside. It is `widen` times as wide.",
            parts(mlp=lambda D, w: 2 * D * D + 2 * D)),
        Mistake(
            "the way into the MLP alone",
            "You count the layer into the MLP, and not the one back: as many weights again, and D "
            "biases.",
            parts(mlp=lambda D, w: w * D * D + w * D)),
        Mistake(
            "the way out of the MLP alone",
            "You count the layer out of the MLP, and not the one into it: as many weights again, "
            "and widen x D biases.",
            parts(mlp=lambda D, w: w * D * D + D)),
        Mistake(
            "from wide to wide",
            "You count a layer from the wide inside to itself, (widen D) x (widen D). The two "
            "layers go from D to widen x D, and back.",
            parts(mlp=lambda D, w: 2 * w * D * D + w * D + D + w * w * D * D)),
        Mistake(
            "the inside of the MLP squared",
            "You square the width of the inside. A layer has inputs x outputs weights: D x widen "
            "D.",
            parts(mlp=lambda D, w: 2 * w * w * D * D + w * D + D)),
        Mistake(
            "both biases of the MLP as wide as its inside",
            "You count widen x D biases for both layers of the MLP. The second one has D outputs, "
            "and so D biases.",
            parts(mlp=lambda D, w: 2 * w * D * D + 2 * w * D)),
        Mistake(
            "both biases of the MLP as narrow as its outside",
            "You count D biases for both layers of the MLP. The first one has widen x D outputs, "
            "and so as many biases.",
            parts(mlp=lambda D, w: 2 * w * D * D + 2 * D)),
        Mistake(
            "width ^ 2",
            "You write width ^ 2, which in Python compares bits. A power is width ** 2.",
            parts(lambda D: 4 * ((D ^ 2) + D), lambda D, w: 2 * w * (D ^ 2) + w * D + D)),
        Mistake(
            "the MLP not squared",
            "Your MLP grows with D alone. A layer has inputs x outputs weights: D x widen D.",
            parts(mlp=lambda D, w: 2 * w * D + w * D + D)),
        Mistake(
            "the attention not squared",
            "Your attention grows with D alone. Each of its layers has D x D weights.",
            parts(attention=lambda D: 4 * (D + D))),
        Mistake(
            "an MLP of three layers",
            "You count three layers of widen x D in the MLP, as where a gate is. Here there are "
            "two.",
            parts(mlp=lambda D, w: 3 * w * D * D + 2 * w * D + D)),
        Mistake(
            "width doubled",
            "You double the width where it should be squared.",
            parts(lambda D: 4 * (2 * D + D), lambda D, w: 2 * w * 2 * D + w * D + D)),
        Mistake(
            "bytes",
            "You count bytes. Asked for is how many weights there are.",
            times(4)),
        Mistake(
            "multiply-adds as two",
            "Your count is twice as large: two operations a weight is the arithmetic of a token. "
            "Here weights are counted.",
            times(2)),
        Mistake(
            "width and widen exchanged",
            "You take the width for `widen`, and the other way round.",
            lambda width, widen: block_parameters(widen, width)),
        Mistake(
            "no bias inside the MLP",
            "The first layer of your MLP has no bias. It has widen x D outputs, and so as many.",
            parts(mlp=lambda D, w: 2 * w * D * D + D)),
        Mistake(
            "one bias a layer",
            "You count one bias for each layer. It has one for each of its outputs.",
            parts(lambda D: 4 * (D * D + 1), lambda D, w: 2 * w * D * D + 2)),
        Mistake(
            "one matrix in the MLP",
            "You count one matrix in the MLP, and two biases. There is one there, and one back.",
            parts(mlp=lambda D, w: w * D * D + w * D + D)),
        Mistake(
            "norms as layers",
            "You count a norm as a layer of D x D. It has a weight and a bias for each of D "
            "numbers.",
            parts(norms=lambda D: 2 * (D * D + D))),
        Mistake(
            "rounded to float32",
            "You count in float32, which holds seven digits. Python's own whole numbers hold all.",
            lambda width, widen: int(torch.tensor(float(block_parameters(width, widen))))),
        Mistake(
            "`widen` as the width inside",
            "You take `widen` for the width of the inside. It says how many times as wide that is: "
            "widen x D.",
            parts(mlp=lambda D, w: 2 * w * D + w + D)),
        Mistake(
            "from wide to wide in the place of the way back",
            "You count the MLP's matrices as (widen D) x (widen D) and D x widen D. They go from D "
            "to widen x D, and back.",
            parts(mlp=lambda D, w: w * D * D + w * D + (w * D) ** 2 + D)),
    ), "attention, MLP and norms, each with its bias", tolerance=0)


# ---- the arithmetic of a training

def training_flops(weights: int, pictures: int, tokens: int) -> int:
    """6 N D: a multiply and an add for each weight and token on the way forward, and twice as much
    on the way back."""
    return 6 * weights * pictures * tokens


def runs(low: int, high: int):
    """Draws of three numbers of which no two are equal; odd ones, which doubles could not hold."""
    def draw(g):
        size = high - low
        weights, pictures, tokens = (2 * torch.randperm(size // 2, generator=g)[:3] + low).tolist()
        return weights, pictures, tokens
    return draw


def huge_run(g: Generator) -> tuple:
    """As large as DALL-E's: no 64 bits hold the product. Odd, so that no float does."""
    return (12 * 10 ** 9 + 2 * between(1, 9 ** 8, g) + 1, 440_320_000 + 2 * between(1, 49, g) + 1,
            1279 + 2 * between(1, 9, g))


def per_weight(factor: int):
    """So many operations for each weight and token."""
    return lambda weights, pictures, tokens: factor * weights * pictures * tokens


def wrapped(bits: int):
    def answer(weights, pictures, tokens):
        half = 2 ** (bits - 1)
        return (training_flops(weights, pictures, tokens) + half) % (2 * half) - half
    return answer


TRAINING_FLOPS = Exercise(
    "scale.training_flops", LESSON, 1, training_flops,
    (runs(3, 41), runs(101, 401), runs(1001, 9001), huge_run, runs(30001, 60001)), in_section(2,
        Mistake(
            "the way forward alone",
            "You count the way forward, 2 for each weight and token. The way back costs twice as "
            "much again: the gradient of what came in, and that of the weights.",
            per_weight(2)),
        Mistake(
            "4 for each weight and token",
            "You count 4 for each weight and token: the way back alone, or as much back as "
            "forward. It is 2 forward and twice as much back.",
            per_weight(4)),
        Mistake(
            "multiply-adds",
            "You count multiply-adds, 3 for each weight and token. A multiply-add is two "
            "operations, a product and a sum.",
            per_weight(3)),
        Mistake(
            "one for each weight and token",
            "You multiply the three numbers, and that is one operation for each weight and token. "
            "It takes six: two forward, four back.",
            per_weight(1)),
        Mistake(
            "with recomputing",
            "You count 8 for each weight and token: that is a training which computes its forward "
            "pass again. This one keeps it: 6.",
            per_weight(8)),
        Mistake(
            "two operations counted twice",
            "You count 12 for each weight and token. 6 has the product and the sum in it already.",
            per_weight(12)),
        Mistake(
            "three times the way back",
            "You count 7 or more for each weight and token. It is 2 forward and 4 back.",
            per_weight(7)),
        Mistake(
            "tokens forgotten",
            "You count 6 for each weight and picture. A picture has `tokens` tokens, and each "
            "meets every weight.",
            lambda weights, pictures, tokens: 6 * weights * pictures),
        Mistake(
            "pictures forgotten",
            "You count one picture. The training sees `pictures` of them.",
            lambda weights, pictures, tokens: 6 * weights * tokens),
        Mistake(
            "weights forgotten",
            "You count 6 for each token. Each token meets every weight.",
            lambda weights, pictures, tokens: 6 * pictures * tokens),
        Mistake(
            "pictures and tokens added",
            "You add pictures and tokens. Each picture has so many: multiply.",
            lambda weights, pictures, tokens: 6 * weights * (pictures + tokens)),
        Mistake(
            "all added",
            "You add the three numbers. Each weight meets each token of each picture: multiply.",
            lambda weights, pictures, tokens: 6 * (weights + pictures + tokens)),
        Mistake(
            "weights added",
            "You add the weights to the tokens. Each weight meets each token: multiply.",
            lambda weights, pictures, tokens: 6 * (weights + pictures * tokens)),
        Mistake(
            "tokens squared",
            "You square the tokens. That is attention between tokens; 6 N D counts each weight "
            "once a token.",
            lambda weights, pictures, tokens: 6 * weights * pictures * tokens ** 2),
        Mistake(
            "weights squared",
            "You square the weights. A token meets each of them once.",
            lambda weights, pictures, tokens: 6 * weights ** 2 * pictures * tokens),
        Mistake(
            "divided by the tokens",
            "You divide by the tokens of a picture. There are so many times as many tokens as "
            "pictures: multiply.",
            lambda weights, pictures, tokens: 6 * weights * pictures // tokens),
        Mistake(
            "in 32 bits",
            "Your product has run over 32 bits. Python's own whole numbers have no end; numpy's "
            "and torch's have.",
            wrapped(32)),
        Mistake(
            "in 64 bits",
            "Your product has run over 64 bits, as those of torch do. Python's own whole numbers "
            "have no end.",
            wrapped(64)),
        Mistake(
            "5 for each weight and token",
            "You count 5 for each weight and token. It is 2 forward, and twice as much back.",
            per_weight(5)),
        Mistake(
            "a token less",
            "You count a token less for each picture. Each of them meets every weight.",
            lambda weights, pictures, tokens: 6 * weights * pictures * (tokens - 1)),
        Mistake(
            "a token more",
            "You count a token more for each picture. There are `tokens` of them.",
            lambda weights, pictures, tokens: 6 * weights * pictures * (tokens + 1)),
        Mistake(
            "in floating point",
            "You multiply floats, which hold 16 digits. An exact number is asked for: multiply "
            "whole numbers, 6 and not 6.0.",
            lambda weights, pictures, tokens: int(6.0 * weights * pictures * tokens)),
        Mistake(
            "in float32",
            "You multiply in float32, which holds seven digits. Multiply Python's whole numbers.",
            lambda weights, pictures, tokens: int(torch.tensor(
                [6.0, weights, pictures, tokens]).prod())),
        Mistake(
            "in billions",
            "You return billions. Asked for are operations.",
            lambda *given: training_flops(*given) // 10 ** 9),
        Mistake(
            "1280 tokens, whatever was given",
            "You take DALL-E's 1280 tokens. How many there are was given as `tokens`.",
            lambda weights, pictures, tokens: 6 * weights * pictures * 1280),
    ), "two forward, four back, for each weight and token", tolerance=0)


# ---- what lies in memory

def training_bytes(weights: int, average: bool, pieces: int) -> int:
    """In each of so many processes that share them out: weights, gradients and AdamW's two moments,
    and where asked for an average of the weights, all in float32."""
    piece = -(-weights // pieces)
    return 4 * piece * (4 + average)


def models(low: int, high: int, average: bool, pieces: tuple[int, int]):
    """Draws of a number of weights that does not divide, where there are pieces."""
    def draw(g):
        many = between(*pieces, g)
        return many * between(low, high, g) + (many > 1) * between(1, max(1, many - 1), g), \
            average, many
    return draw


def numbers(count, size: int = 4):
    """count(average) numbers for each weight of a piece."""
    return lambda weights, average, pieces: size * -(-weights // pieces) * count(average)


def shared_out(whole, cut):
    """whole(average) numbers a weight are in every process, cut(average) are shared out."""
    return lambda weights, average, pieces: 4 * (
        whole(average) * weights + cut(average) * -(-weights // pieces))


TRAINING_BYTES = Exercise(
    "scale.training_bytes", LESSON, 1, training_bytes,
    (models(3, 30, False, (1, 1)), models(3, 30, True, (1, 1)), models(20, 99, False, (3, 8)),
     models(20, 99, True, (4, 9)), models(900, 9000, True, (2, 3)),
     models(10 ** 9, 10 ** 10, False, (7, 64)),
     lambda g: (8 * between(3, 9, g) + 1, True, 8),
     lambda g: (8 * between(3, 9, g) + 7, False, 8)), in_section(3,
        Mistake(
            "a number too few",
            "You count three numbers for each weight. There are four: the weight, its gradient, "
            "and TWO moments, the mean of the gradient and that of its square.",
            numbers(lambda average: 3 + average)),
        Mistake(
            "weights alone",
            "You count the weights alone. A training holds for each a gradient and two moments as "
            "well.",
            numbers(lambda average: 1)),
        Mistake(
            "weights and average",
            "You count weights and their average. A training holds for each weight a gradient and "
            "two moments as well.",
            numbers(lambda average: 1 + average)),
        Mistake(
            "weights and gradients",
            "You count weights and gradients. AdamW keeps two moments for each weight.",
            numbers(lambda average: 2 + average)),
        Mistake(
            "the moments alone",
            "You count AdamW's moments alone. Add weights and gradients.",
            numbers(lambda average: 2)),
        Mistake(
            "three moments",
            "You count five numbers for each weight without an average. AdamW has two moments.",
            numbers(lambda average: 5 + average)),
        Mistake(
            "average forgotten",
            "You count no average. Where `average` is true, there is one number more for each "
            "weight.",
            numbers(lambda average: 4)),
        Mistake(
            "always an average",
            "You count an average where none is kept: look at `average`.",
            numbers(lambda average: 5)),
        Mistake(
            "an average only",
            "You count five where there is no average, and four where there is one.",
            numbers(lambda average: 5 - average)),
        Mistake(
            "the average twice",
            "You count two numbers for the average. It is one more for each weight.",
            numbers(lambda average: 4 + 2 * average)),
        Mistake(
            "an average of everything",
            "You average moments and gradients as well. It is an average of the weights.",
            numbers(lambda average: 4 * (1 + average))),
        Mistake(
            "numbers, and no bytes",
            "You count numbers. Each has four bytes in float32.",
            numbers(lambda average: 4 + average, 1)),
        Mistake(
            "two bytes",
            "You count two bytes for each number. float32 has four.",
            numbers(lambda average: 4 + average, 2)),
        Mistake(
            "eight bytes",
            "You count eight bytes for each number. float32 has four.",
            numbers(lambda average: 4 + average, 8)),
        Mistake(
            "bits",
            "You count bits. A byte has eight of them: float32 has four bytes.",
            numbers(lambda average: 4 + average, 32)),
        Mistake(
            "not cut into pieces",
            "You count all weights in each process. They are shared out: each holds one of "
            "`pieces` pieces.",
            lambda weights, average, pieces: 4 * weights * (4 + average)),
        Mistake(
            "times the pieces",
            "You multiply by the number of pieces. Each process holds one of them: divide.",
            lambda weights, average, pieces: 4 * weights * pieces * (4 + average)),
        Mistake(
            "only the moments shared out",
            "You share out the moments alone (ZeRO calls that its first stage). Here weights and "
            "gradients, and the average, are shared out too.",
            shared_out(lambda average: 2 + average, lambda average: 2)),
        Mistake(
            "one thing not shared out",
            "You share out everything but the weights, or the gradients. Here both are cut into "
            "pieces too, and weights put together only when a block needs them.",
            shared_out(lambda average: 1, lambda average: 3 + average)),
        Mistake(
            "weights and gradients not shared out",
            "You share out the moments and the average alone. Here weights and gradients are "
            "shared out too.",
            shared_out(lambda average: 2, lambda average: 2 + average)),
        Mistake(
            "the average not shared out",
            "You keep the whole average in each process. It is shared out as the weights are.",
            shared_out(lambda average: 1 * average, lambda average: 4)),
        Mistake(
            "the rest dropped",
            "Your pieces are rounded down, and the last weights are in none of them. A piece that "
            "is not full is rounded up.",
            lambda weights, average, pieces: 4 * (weights // pieces) * (4 + average)),
        Mistake(
            "always one more",
            "You add one to each piece, also where the weights divide evenly.",
            lambda weights, average, pieces: 4 * (weights // pieces + 1) * (4 + average)),
        Mistake(
            "pieces rounded to the nearest",
            "You round the pieces to the nearest number. All weights must find room: round up.",
            lambda weights, average, pieces: 4 * ((2 * weights + pieces) // (2 * pieces))
            * (4 + average)),
        Mistake(
            "rounded up at the end",
            "You divide all the bytes, and round up at the end. A number cannot be cut: round up "
            "the weights of a piece, and then multiply.",
            lambda weights, average, pieces: -(-4 * weights * (4 + average) // pieces)),
        Mistake(
            "rounded down at the end",
            "You divide all the bytes, and round down at the end. Round up the weights of a "
            "piece, and then multiply.",
            lambda weights, average, pieces: 4 * weights * (4 + average) // pieces),
        Mistake(
            "rounded up with the numbers",
            "You round up the numbers of a process. Its weights are rounded up, and for each "
            "there are four or five numbers.",
            lambda weights, average, pieces: 4 * -(-weights * (4 + average) // pieces)),
        Mistake(
            "kilobytes",
            "You divide by 1024. Asked for are bytes.",
            lambda *given: training_bytes(*given) // 1024),
        Mistake(
            "1 added before the division",
            "You add 1 to the weights before you divide with //. To round up, add pieces - 1.",
            lambda weights, average, pieces: 4 * ((weights + 1) // pieces) * (4 + average)),
        Mistake(
            "all pieces together",
            "You count the bytes of all pieces together. Asked for are those of one process.",
            lambda *given: training_bytes(*given) * given[2]),
        Mistake(
            "one piece fewer",
            "You divide by one piece fewer. Everything is cut into `pieces`.",
            lambda weights, average, pieces: 4 * -(-weights // max(1, pieces - 1)) * (
                4 + average)),
    ), "weight, gradient, two moments, and the average, in each piece", tolerance=0)


# ---- the batch of a process

def part_of(rows: Tensor, rank: int, processes: int) -> Tensor:
    """rows (B, F) -> those of process `rank`, 0..processes - 1: one after the other, no two parts
    differing by more than a row, the first ones larger."""
    return rows.tensor_split(processes)[rank]


def batches(size, least: int = 2, rank=lambda g, many: between(0, many - 1, g)):
    """Draws of a batch of size(g, processes) rows."""
    def draw(g):
        many = between(least, least + 3, g)
        return torch.randn(size(g, many), 3, generator=g), rank(g, many), many
    return draw


def last(g: Generator, many: int) -> int:
    return many - 1


def from_to(bounds):
    """rows[start:end] of bounds(B, rank, processes)."""
    def answer(rows, rank, processes):
        start, end = bounds(len(rows), rank, processes)
        return rows[max(0, start):max(0, end)]
    return answer


def evenly(B: int, rank: int, processes: int) -> tuple[int, int]:
    """Where the part of a process starts and ends."""
    base, extra = divmod(B, processes)
    start = rank * base + min(rank, extra)
    return start, start + base + (rank < extra)


def chunked(rows: Tensor, rank: int, processes: int) -> Tensor:
    """What torch.chunk gives; nothing where it gives fewer parts."""
    found = rows.chunk(processes)
    return found[rank] if rank < len(found) else rows[:0]


def padded(rows: Tensor, rank: int, processes: int) -> Tensor:
    """Equal parts; what is missing is taken from the front again."""
    each = -(-len(rows) // processes)
    places = torch.arange(rank * each, (rank + 1) * each) % len(rows)
    return rows[places]


PART_OF = Exercise(
    "scale.part_of", LESSON, 1, part_of,
    (batches(lambda g, many: many * between(2, 4, g)),
     batches(lambda g, many: many * between(2, 4, g) + 1),
     batches(lambda g, many: many * between(2, 4, g) + many - 1, 3),
     batches(lambda g, many: many * between(1, 3, g) + 2, 4, last),
     batches(lambda g, many: many * between(2, 3, g) + 1, 3, lambda g, many: 0),
     batches(lambda g, many: many * between(2, 3, g) + 2, 4, lambda g, many: 1),
     batches(lambda g, many: between(1, many - 1, g), 4),
     batches(lambda g, many: between(1, many - 1, g), 4, last),
     batches(lambda g, many: many),
     batches(lambda g, many: many * between(2, 4, g), 2, last),
     lambda g: (torch.randn(7, 3, generator=g), 1, 3),
     lambda g: (torch.randn(10, 3, generator=g), 1, 4),
     lambda g: (torch.randn(10, 3, generator=g), 2, 4)), in_section(5,
        Mistake(
            "every so many rows",
            "You take every `processes`-th row. The parts lie one after the other, so that put "
            "below each other they are the batch again.",
            lambda rows, rank, processes: rows[rank::processes]),
        Mistake(
            "chunk",
            "Your parts are as large as can be, and the last ones get what is left, or nothing, "
            "as torch.chunk does it. No two should differ by more than a row.",
            chunked),
        Mistake(
            "padded with the first rows",
            "Your parts are all equally large, because some rows are given out twice. Each row "
            "belongs to one process.",
            padded),
        Mistake(
            "the rest dropped",
            "You drop the rows that are left over. They go to the first processes, one each.",
            from_to(lambda B, rank, n: (rank * (B // n), (rank + 1) * (B // n)))),
        Mistake(
            "the rest to the last",
            "The last process gets all that is left over. The first ones get a row more each.",
            from_to(lambda B, rank, n: (rank * (B // n),
                                        B if rank == n - 1 else (rank + 1) * (B // n)))),
        Mistake(
            "the rest to the first",
            "The first process gets all that is left over. The first ones get a row more each.",
            from_to(lambda B, rank, n: ((rank * (B // n) + B % n) * (rank > 0),
                                        (rank + 1) * (B // n) + B % n))),
        Mistake(
            "the larger parts at the end",
            "The last processes get the rows that are left over. Let the first ones have them, as "
            "was asked for.",
            from_to(lambda B, rank, n: (B - evenly(B, n - 1 - rank, n)[1],
                                        B - evenly(B, n - 1 - rank, n)[0]))),
        Mistake(
            "rounded bounds",
            "You round down where each part begins, rank x B / processes, and the larger parts "
            "lie anywhere. The first ones are to be the larger ones.",
            from_to(lambda B, rank, n: (rank * B // n, (rank + 1) * B // n))),
        Mistake(
            "bounds rounded to the nearest",
            "You round where each part begins, rank x B / processes, to the nearest row, and the "
            "larger parts lie anywhere. The first ones are to be the larger ones.",
            from_to(lambda B, rank, n: (round(rank * B / n), round((rank + 1) * B / n)))),
        Mistake(
            "bounds rounded up",
            "You round up where each part begins, rank x B / processes, and the larger parts lie "
            "anywhere. The first ones are to be the larger ones.",
            from_to(lambda B, rank, n: (-(-rank * B // n), -(-(rank + 1) * B // n)))),
        Mistake(
            "the extra rows counted for the size, not for the start",
            "Your first parts are larger, but those behind them begin where they would if none "
            "were: rows are given out twice, and others not at all.",
            from_to(lambda B, rank, n: (rank * (B // n),
                                        (rank + 1) * (B // n) + (rank < B % n)))),
        Mistake(
            "the extra rows counted for the start, not for the size",
            "Your parts begin where they should and are all equally small: the rows that are left "
            "over are in none.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0],
                                        evenly(B, rank, n)[0] + B // n))),
        Mistake(
            "one larger part too many",
            "You give a row more to one process too many: those with rank < extra get one, and "
            "that is `extra` of them, counted from 0.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0],
                                        evenly(B, rank, n)[0] + B // n + (rank <= B % n)))),
        Mistake(
            "a row more for all",
            "You give a row more to every process. Only the first ones get one, as many as rows "
            "are left over.",
            from_to(lambda B, rank, n: (rank * (B // n + 1), (rank + 1) * (B // n + 1)))),
        Mistake(
            "ranks from 1",
            "You count ranks from 1. The first process is number 0.",
            from_to(lambda B, rank, n: evenly(B, rank - 1, n) if rank else (0, 0))),
        Mistake(
            "the next one's rows",
            "You take the rows of the next process: ranks count from 0.",
            from_to(lambda B, rank, n: evenly(B, rank + 1, n) if rank + 1 < n else (B, B))),
        Mistake(
            "ranks from the end",
            "Your first process has the last rows. Part 0 begins at row 0.",
            from_to(lambda B, rank, n: evenly(B, n - 1 - rank, n))),
        Mistake(
            "the first part for all",
            "Each of your processes has the first rows: the rank is not used.",
            from_to(lambda B, rank, n: evenly(B, 0, n))),
        Mistake(
            "the whole batch",
            "Each of your processes has all rows, and nothing is gained by having several.",
            lambda rows, rank, processes: rows.clone()),
        Mistake(
            "all up to the end of the part",
            "Your parts begin at row 0, all of them.",
            from_to(lambda B, rank, n: (0, evenly(B, rank, n)[1]))),
        Mistake(
            "all from the start of the part",
            "Your parts go on to the end of the batch, all of them.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0], B))),
        Mistake(
            "a row into the next part",
            "Your parts take the first row of the next one as well. The end of a slice is not in "
            "it.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0], evenly(B, rank, n)[1] + 1))),
        Mistake(
            "a row short",
            "The last row of each part is missing. The end of a slice is not in it already.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0], evenly(B, rank, n)[1] - 1))),
        Mistake(
            "the second row first",
            "Your parts begin a row too late.",
            from_to(lambda B, rank, n: (evenly(B, rank, n)[0] + 1, evenly(B, rank, n)[1]))),
        Mistake(
            "columns",
            "You cut the columns. The batch is the first dimension.",
            lambda rows, rank, processes: rows.tensor_split(processes, dim=1)[rank]),
        Mistake(
            "so many rows a process",
            "You take `processes` rows for each process. There are `processes` parts.",
            from_to(lambda B, rank, n: (rank * n, (rank + 1) * n))),
        Mistake(
            "the rows in reverse",
            "The rows of your part stand in reverse.",
            lambda *given: part_of(*given).flip(0)),
        Mistake(
            "the part left out",
            "You return the rows of all the others.",
            lambda rows, rank, processes: torch.cat([
                part for i, part in enumerate(rows.tensor_split(processes)) if i != rank])),
        Mistake(
            "numbers of rows",
            "You return the numbers of the rows. Asked for are the rows: rows[...].",
            lambda rows, rank, processes: part_of(torch.arange(len(rows)), rank, processes)),
        Mistake(
            "chunk, and its missing parts",
            "torch.chunk makes fewer parts than you ask for where that fits it, and then there is "
            "none for the last ones. tensor_split makes as many as you ask for.",
            lambda rows, rank, processes: rows.chunk(processes)[rank]),
        Mistake(
            "a row skipped for each rank",
            "You begin as many rows late as the rank says, also where the parts before have no row "
            "more. That is min(rank, extra).",
            from_to(lambda B, rank, n: (rank * (B // n) + rank,
                                        rank * (B // n) + rank + B // n + (rank < B % n)))),
        Mistake(
            "all rows that are left over skipped",
            "You begin as late as if all rows that are left over stood before each part. Before "
            "part `rank` stand min(rank, extra) of them.",
            from_to(lambda B, rank, n: (rank * (B // n) + B % n, (rank + 1) * (B // n) + B % n))),
        Mistake(
            "the batch in reverse",
            "You turn the batch round before you cut it. Part 0 begins at row 0.",
            lambda rows, rank, processes: part_of(rows.flip(0), rank, processes)),
        Mistake(
            "a single row without its side",
            "You squeeze: a part of one row has lost a dimension. It is (1,F).",
            lambda *given: part_of(*given).squeeze()),
        Mistake(
            "the first feature alone",
            "You return the first number of each row. Asked for are whole rows.",
            lambda *given: part_of(*given)[:, 0]),
        Mistake(
            "every so many rows, some twice",
            "You take every `processes`-th row, and begin again at the front where none is left. "
            "The parts lie one after the other, and each row belongs to one.",
            lambda rows, rank, processes: rows[torch.arange(
                rank, processes * -(-len(rows) // processes), processes) % len(rows)]),
        Mistake(
            "filled up with zeros",
            "You fill the smaller parts up with zeros, and the mean over them is another one. Let "
            "them be smaller.",
            lambda rows, rank, processes: F.pad(part := part_of(rows, rank, processes), (
                0, 0, 0, -(-len(rows) // processes) - len(part)))),
        Mistake(
            "four processes, whatever was given",
            "You cut into four parts. There are `processes`.",
            from_to(lambda B, rank, n: evenly(B, rank, 4))),
        Mistake(
            "a row where there is none",
            "A part without rows gets the first one from you. With fewer rows than processes some "
            "parts are empty.",
            lambda rows, rank, processes: part if len(
                part := part_of(rows, rank, processes)) else rows[:1]),
        Mistake(
            "an empty part without features",
            "An empty part is (0,) from you. It is (0,F): a slice keeps the features.",
            lambda rows, rank, processes: part if len(
                part := part_of(rows, rank, processes)) else torch.empty(0)),
        Mistake(
            "rank and processes exchanged",
            "You take the rank for the number of processes, and the other way round.",
            from_to(lambda B, rank, n: evenly(B, n, rank))),
    ), "each row in one part, in order, none more than a row larger")


# ---- one gradient of several

def all_reduce(gradients: list[Tensor], rows: list[int]) -> Tensor:
    """The gradient of the mean over all rows, from those of the means over each process's rows."""
    total = sum(rows)
    return sum(n / total * gradient for n, gradient in zip(rows, gradients))


def processes(least: int, most: int, unequal: bool, shape: tuple[int, ...] = (3, 2)):
    """Draws of a gradient for each process."""
    def draw(g):
        many = between(least, most, g)
        rows = (torch.randperm(9, generator=g)[:many] + 1).tolist() if unequal else \
            [between(2, 9, g)] * many
        return [torch.randn(shape, generator=g) for _ in rows], rows
    return draw


def an_idle_one(g: Generator) -> tuple:
    """A process without any row: its gradient is 0."""
    gradients, rows = processes(3, 4, True)(g)
    return [torch.zeros(3, 2), *gradients], [0, *rows]


def weighted(weight):
    """The sum of the gradients, each times weight(n, rows)."""
    return lambda gradients, rows: sum(
        weight(n, rows) * gradient for n, gradient in zip(rows, gradients))


def unmatched(order):
    """The right mean with the rows of other processes."""
    return lambda gradients, rows: all_reduce(gradients, order(rows))


ALL_REDUCE = Exercise(
    "scale.all_reduce", LESSON, 1, all_reduce,
    (processes(2, 4, False), processes(2, 3, True), processes(4, 6, True, (5,)),
     processes(1, 1, False, (2, 2)), an_idle_one, processes(3, 5, True, (2, 1, 2)),
     lambda g: ([torch.randn(2, generator=g) for _ in range(2)], [1, 8]),
     lambda g: ([3 + torch.rand(2, generator=g), 5 + torch.rand(2, generator=g)], [2, 3])),
    in_section(5,
        Mistake(
            "sum",
            "You add the gradients up, and the step is as many times too long as there are "
            "processes. Each is that of a mean: their mean, weighted by the rows, is that of the "
            "whole.",
            weighted(lambda n, rows: 1.0)),
        Mistake(
            "a mean of means",
            "You take the plain mean. That is right where all have as many rows; where one has "
            "fewer, its rows count for more. Weight each gradient by its rows.",
            weighted(lambda n, rows: 1 / len(rows))),
        Mistake(
            "weighted, not divided",
            "You weight by the rows, and do not divide by all of them. The mean over all rows is "
            "asked for.",
            weighted(lambda n, rows: float(n))),
        Mistake(
            "weighted, divided by the processes",
            "You weight by the rows, and divide by the number of processes. Divide by all rows.",
            weighted(lambda n, rows: n / len(rows))),
        Mistake(
            "divided twice",
            "You weight by the shares of the rows, which sum to 1, and divide by the number of "
            "processes on top. Once is enough.",
            weighted(lambda n, rows: n / sum(rows) / len(rows))),
        Mistake(
            "times the processes",
            "You multiply the mean by the number of processes. That would be the sum.",
            weighted(lambda n, rows: n / sum(rows) * len(rows))),
        Mistake(
            "as if they were sums",
            "You add the gradients and divide by all rows, as if each were that of a sum. Each is "
            "that of a mean over its own rows: multiply by these first.",
            weighted(lambda n, rows: 1 / sum(rows))),
        Mistake(
            "divided by its own rows",
            "You divide each gradient by its rows. It is the gradient of a mean, where that was "
            "done: multiply.",
            weighted(lambda n, rows: 1 / max(n, 1))),
        Mistake(
            "few rows count for more",
            "Your weights are one over the rows: who saw fewer counts for more. It is the other "
            "way round.",
            weighted(lambda n, rows: (1 / n if n else 0) / sum(1 / m for m in rows if m))),
        Mistake(
            "by the largest part",
            "You divide by the rows of the largest part. Divide by all rows.",
            weighted(lambda n, rows: n / max(rows))),
        Mistake(
            "divided by one row less",
            "You divide by all rows less 1. That is for variances; a mean divides by all.",
            lambda gradients, rows: all_reduce(gradients, rows) * (
                sum(rows) / max(1, sum(rows) - 1))),
        Mistake(
            "without their signs",
            "You average the sizes of the gradients, without their signs. Where two pull in "
            "opposite directions, little is left.",
            lambda gradients, rows: all_reduce([gradient.abs() for gradient in gradients], rows)),
        Mistake(
            "the root of the rows",
            "You weight by the root of the rows. Errors shrink so; a mean weights by the rows.",
            weighted(lambda n, rows: n ** 0.5 / sum(m ** 0.5 for m in rows))),
        Mistake(
            "the rows squared",
            "You weight by the squares of the rows. Each row counts once.",
            weighted(lambda n, rows: n ** 2 / sum(m ** 2 for m in rows))),
        Mistake(
            "softmax of the rows",
            "You weight by a softmax of the rows. A mean weights by the rows themselves.",
            lambda gradients, rows: sum(w * gradient for w, gradient in zip(
                torch.tensor(rows, dtype=torch.float).softmax(0).tolist(), gradients))),
        Mistake(
            "whole shares",
            "Your shares are whole numbers: n // total is 0. Divide with /.",
            weighted(lambda n, rows: n // sum(rows))),
        Mistake(
            "the first one's",
            "You return the gradient of the first process, as each does that has never heard of "
            "the others.",
            lambda gradients, rows: gradients[0].clone()),
        Mistake(
            "the last one's",
            "You return the gradient of the last process.",
            lambda gradients, rows: gradients[-1].clone()),
        Mistake(
            "that of the largest part",
            "You return the gradient of the process with the most rows. The others have seen "
            "something too.",
            lambda gradients, rows: gradients[rows.index(max(rows))].clone()),
        Mistake(
            "the largest entries",
            "You take the largest entry of all processes, place by place. Take their weighted "
            "mean.",
            lambda gradients, rows: torch.stack(gradients).amax(dim=0)),
        Mistake(
            "the middle entries",
            "You take the middle entry of all processes, place by place. Take their weighted mean.",
            lambda gradients, rows: torch.stack(gradients).median(dim=0).values),
        Mistake(
            "one number",
            "You average over the places as well. The gradient keeps its shape.",
            lambda gradients, rows: all_reduce(gradients, rows).mean()),
        Mistake(
            "below each other",
            "You lay the gradients below each other. They belong to the same weights: average "
            "them.",
            lambda gradients, rows: torch.cat(gradients)),
        Mistake(
            "a list with the mean for each",
            "You return the mean once for each process. Once is enough: all get the same.",
            lambda gradients, rows: [all_reduce(gradients, rows) for _ in rows]),
        Mistake(
            "of length one",
            "You bring the mean to length one. How long it is decides how far the step goes.",
            lambda gradients, rows: (z := all_reduce(gradients, rows)) / z.norm()),
        Mistake(
            "the sign turned",
            "Your gradient points downhill. Asked for is the gradient itself; the optimizer "
            "subtracts it.",
            lambda gradients, rows: -all_reduce(gradients, rows)),
        Mistake(
            "the rows in reverse",
            "You weight the first gradient by the last number of rows. They stand in the same "
            "order.",
            unmatched(lambda rows: rows[::-1])),
        Mistake(
            "the rows sorted",
            "You sort the rows, and they no longer belong to their gradients.",
            unmatched(sorted)),
        Mistake(
            "a mean of those that had rows",
            "You take the plain mean of those that had rows. Where one has fewer, its rows count "
            "for more: weight each gradient by its rows.",
            weighted(lambda n, rows: (n > 0) / sum(m > 0 for m in rows))),
        Mistake(
            "rounded down at the end",
            "You divide the sum with //, which rounds down. Divide with /.",
            lambda gradients, rows: sum(
                n * gradient for n, gradient in zip(rows, gradients)) // sum(rows)),
        Mistake(
            "the first two alone",
            "You hear two processes. There may be more, or a single one: go over all of them.",
            lambda gradients, rows: (gradients[0] * rows[0] + gradients[1 % len(rows)]
                                     * rows[1 % len(rows)]) / sum(rows)),
        Mistake(
            "the last process left out",
            "You leave out the gradient of the last process, and count its rows.",
            lambda gradients, rows: sum((n * gradient for n, gradient in zip(
                rows[:-1], gradients)), torch.zeros_like(gradients[0])) / sum(rows)),
        Mistake(
            "divided by one row more",
            "You divide by all rows and 1. A mean divides by all rows.",
            lambda gradients, rows: all_reduce(gradients, rows) * (sum(rows) / (sum(rows) + 1))),
        Mistake(
            "a row at least for each",
            "You give a process without rows the weight of one. It has seen nothing: its weight is "
            "0.",
            lambda gradients, rows: all_reduce(gradients, [max(1, n) for n in rows])),
        Mistake(
            "cut to [-1, 1]",
            "You cut the gradient to [-1, 1]. Asked for is the gradient itself.",
            lambda gradients, rows: all_reduce(gradients, rows).clamp(-1, 1)),
        Mistake(
            "shares rounded to hundredths",
            "You round the shares of the rows, and they no longer sum to 1.",
            weighted(lambda n, rows: round(n / sum(rows), 2))),
        Mistake(
            "one over each share",
            "You multiply by one over the share of the rows. It is the share itself, and a process "
            "without rows has 0.",
            weighted(lambda n, rows: sum(rows) / n)),
        Mistake(
            "half of what came, again and again",
            "You average the first two, then that with the third, and so on: the last one counts "
            "for half. Weight each gradient by its rows.",
            lambda gradients, rows: functools.reduce(lambda x, y: (x + y) / 2, gradients) + 0),
    ), "a mean over rows, whoever saw them")


# ---- how many rows, how many steps

def plan(rows: int, micro: int, processes: int, pictures: int) -> tuple[int, int]:
    """rows of a part, parts in turn, processes side by side -> the batch of a step, and the steps
    in which all pictures are seen, the last one perhaps with fewer."""
    batch = rows * micro * processes
    return batch, -(-pictures // batch)


def plans(divides: bool, micro: tuple[int, int] = (2, 5), processes: tuple[int, int] = (6, 9),
          few: bool = True):
    """Draws with pictures for a few steps, evenly or with some left over, few or many."""
    def draw(g):
        rows, turns, many = between(10, 14, g), between(*micro, g), between(*processes, g)
        batch = rows * turns * many
        over = between(1, batch // 2 - 1, g) if few else between(batch // 2 + 1, batch - 1, g)
        return rows, turns, many, batch * between(3, 9, g) + (not divides) * over
    return draw


def planned(batch, per_step=None):
    """batch(rows, micro, processes), and the steps with batches of per_step(...)."""
    def answer(rows, micro, processes, pictures):
        found = batch(rows, micro, processes)
        many = (per_step or batch)(rows, micro, processes)
        return found, -(-pictures // many)
    return answer


def whole(rows: int, micro: int, processes: int) -> int:
    return rows * micro * processes


def stepped(steps):
    """The right batch, and steps(pictures, batch)."""
    return lambda rows, micro, processes, pictures: (
        whole(rows, micro, processes), steps(pictures, whole(rows, micro, processes)))


PLAN = Exercise(
    "scale.plan", LESSON, 1, plan,
    (plans(True), plans(False), plans(False, few=False), plans(True, micro=(1, 1)),
     plans(False, processes=(1, 1)),
     lambda g: (4, 2, 256, 2048 * 1000 + between(1, 255, g)),
     lambda g: (11, 3, 7, between(2, 100, g))), in_section(6,
        Mistake(
            "parts in turn forgotten",
            "Your batch has no parts in turn. A step is taken after `micro` of them: they belong "
            "to one batch.",
            planned(lambda rows, micro, processes: rows * processes)),
        Mistake(
            "processes forgotten",
            "Your batch is that of one process. All processes take the same step together.",
            planned(lambda rows, micro, processes: rows * micro)),
        Mistake(
            "rows alone",
            "Your batch is one part. There are `micro` of them in turn, in each of `processes` "
            "processes.",
            planned(lambda rows, micro, processes: rows)),
        Mistake(
            "rows forgotten",
            "Your batch counts parts. Each has `rows` rows.",
            planned(lambda rows, micro, processes: micro * processes)),
        Mistake(
            "all added",
            "You add the three numbers. Each process has `micro` parts of `rows` rows: multiply.",
            planned(lambda rows, micro, processes: rows + micro + processes)),
        Mistake(
            "micro and processes added",
            "You add parts in turn and processes. Each process has so many parts: multiply.",
            planned(lambda rows, micro, processes: rows * (micro + processes))),
        Mistake(
            "divided by the parts in turn",
            "You divide by `micro`, as if `rows` were cut once more. `rows` is what one part has.",
            planned(lambda rows, micro, processes: rows * processes // micro)),
        Mistake(
            "divided by the processes",
            "You divide by the processes, as if `rows` were shared out once more. `rows` is what "
            "one part of one process has.",
            planned(lambda rows, micro, processes: max(1, rows * micro // processes))),
        Mistake(
            "steps without the parts in turn",
            "Your batch is right, but you count a step for each part in turn. The weights change "
            "once after all of them.",
            planned(whole, lambda rows, micro, processes: rows * processes)),
        Mistake(
            "steps of one process",
            "Your batch is right, but your steps are those of one process alone. The others see "
            "pictures at the same time.",
            planned(whole, lambda rows, micro, processes: rows * micro)),
        Mistake(
            "steps of a part",
            "Your batch is right, but you count a step for each part. The weights change once "
            "after all of them.",
            planned(whole, lambda rows, micro, processes: rows)),
        Mistake(
            "steps for each part added",
            "You multiply the steps by the parts in turn. A step is taken after all of them.",
            lambda rows, micro, processes, pictures: (
                whole(rows, micro, processes),
                micro * -(-pictures // whole(rows, micro, processes)))),
        Mistake(
            "steps for each process added",
            "You multiply the steps by the processes. They take them side by side.",
            lambda rows, micro, processes, pictures: (
                whole(rows, micro, processes),
                processes * -(-pictures // whole(rows, micro, processes)))),
        Mistake(
            "the rest dropped",
            "You round the steps down, and the last pictures are never seen. Round up.",
            stepped(lambda pictures, batch: pictures // batch)),
        Mistake(
            "always one more",
            "You add a step, also where the pictures fill all batches.",
            stepped(lambda pictures, batch: pictures // batch + 1)),
        Mistake(
            "rounded to the nearest",
            "You round the steps to the nearest number, and the last pictures may never be seen. "
            "Round up.",
            stepped(lambda pictures, batch: (2 * pictures + batch) // (2 * batch))),
        Mistake(
            "pictures as steps",
            "You return the pictures as the steps. A step sees a whole batch.",
            stepped(lambda pictures, batch: pictures)),
        Mistake(
            "batches times pictures",
            "You multiply pictures and batch. A step sees a batch: divide.",
            stepped(lambda pictures, batch: pictures * batch)),
        Mistake(
            "a step too few",
            "You count steps as numbers from 0: the last one's number, and not how many there are.",
            stepped(lambda pictures, batch: -(-pictures // batch) - 1)),
        Mistake(
            "steps first",
            "You return the steps first. Asked for are the batch, and then the steps.",
            lambda *given: plan(*given)[::-1]),
        Mistake(
            "the batch alone",
            "You return the batch alone. Asked for are the batch and the steps.",
            lambda *given: plan(*given)[0]),
        Mistake(
            "the steps alone",
            "You return the steps alone. Asked for are the batch and the steps.",
            lambda *given: plan(*given)[1]),
        Mistake(
            "rounded down, but a step at least",
            "You round the steps down, and the last pictures are never seen. Round up.",
            stepped(lambda pictures, batch: max(1, pictures // batch))),
        Mistake(
            "parts in turn in the steps alone",
            "Your steps are right, but the batch has no parts in turn. All of them make one batch.",
            planned(lambda rows, micro, processes: rows * processes, whole)),
        Mistake(
            "processes in the steps alone",
            "Your steps are right, but the batch is that of one process. All of them make one "
            "batch.",
            planned(lambda rows, micro, processes: rows * micro, whole)),
        Mistake(
            "rounded down for each process",
            "You share the pictures out with //, and those that are left over are never seen. "
            "Round up, and once.",
            lambda rows, micro, processes, pictures: (
                whole(rows, micro, processes), -(-(pictures // processes) // (rows * micro)))),
        Mistake(
            "no larger than what there is to see",
            "You cut the batch to the number of pictures. The batch of a step is what was planned; "
            "the last one may be smaller.",
            lambda rows, micro, processes, pictures: (
                min(pictures, whole(rows, micro, processes)),
                plan(rows, micro, processes, pictures)[1])),
        Mistake(
            "the last batch",
            "You return the size of the last batch. Asked for is that of a step.",
            lambda rows, micro, processes, pictures: (
                pictures % (batch := whole(rows, micro, processes)) or batch,
                -(-pictures // batch))),
    ), "parts in turn and side by side make one batch", tolerance=0)


# ---- a line through losses

def fit_power(sizes: Tensor, losses: Tensor) -> tuple[float, float]:
    """sizes (n,), losses (n,) -> a, b: losses ~ a sizes^-b, by least squares of the logarithms."""
    x, y = sizes.double().log(), losses.double().log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return (y.mean() - slope * x.mean()).exp().item(), -slope.item()


def laws(n: tuple[int, int], low: float, high: float, noise: float, slope: tuple[float, float]):
    """Draws of sizes between 10^low and 10^high, and losses near a power law of them, each by so
    much beside it; unevenly placed, and with a random number for its height."""
    def draw(g):
        many = between(*n, g)
        even = torch.linspace(low, high, many, dtype=torch.float64)
        jitter = 0.3 * (high - low) / many * (torch.rand(many, generator=g).double() - 0.5)
        u = torch.rand(2, generator=g).double()
        b = slope[0] + (slope[1] - slope[0]) * u[0]
        beside = noise * (1 + torch.rand(many, generator=g).double())
        beside = beside * torch.tensor([(-1.0) ** i for i in range(many)])
        x = 10 ** (even + jitter)
        return x, (0.5 + 4 * u[1]) * x ** -b * beside.exp()
    return draw


def by_logs(answer):
    """answer(x, y) of the logarithms -> a, b, as two numbers."""
    def found(sizes, losses):
        a, b = answer(sizes.double().log(), losses.double().log())
        return float(a), float(b)
    return found


def line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Height at 0 and slope of the line by least squares."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return y.mean() - slope * x.mean(), slope


def changed(how):
    """The right a and b, changed."""
    def answer(sizes, losses):
        a, b = how(*fit_power(sizes, losses))
        return float(a), float(b)
    return answer


def through(i: int, j: int):
    """The line through two of the points."""
    def answer(x, y):
        slope = (y[j] - y[i]) / (x[j] - x[i])
        return (y[i] - slope * x[i]).exp(), -slope
    return by_logs(answer)


def through_origin(x: Tensor, y: Tensor) -> tuple[float, Tensor]:
    return 1.0, -(x * y).sum() / (x * x).sum()


def of_neighbours(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    slope = (y.diff() / x.diff()).mean()
    return (y.mean() - slope * x.mean()).exp(), -slope


def with_slope(of):
    """The line of another slope, of(x, y), through the means."""
    def answer(x, y):
        slope = of(x, y)
        return (y.mean() - slope * x.mean()).exp(), -slope
    return by_logs(answer)


def other_way(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    slope = 1 / line(y, x)[1]
    return (y.mean() - slope * x.mean()).exp(), -slope


def one_too_few(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A covariance by n - 1 over a variance by n."""
    slope = line(x, y)[1] * len(x) / (len(x) - 1)
    return (y.mean() - slope * x.mean()).exp(), -slope


def raw(x_of, y_of, a_of=lambda height: height):
    """A line through other things than the two logarithms."""
    def answer(sizes, losses):
        height, slope = line(x_of(sizes.double()), y_of(losses.double()))
        return float(a_of(height)), float(-slope)
    return answer


def at_first(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    slope = line(x, y)[1]
    return (y[0] - slope * x[0]).exp(), -slope


def at_last(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    slope = line(x, y)[1]
    return (y[-1] - slope * x[-1]).exp(), -slope


def without(part):
    """Fitted to some of the points."""
    return lambda sizes, losses: fit_power(sizes[part], losses[part])


FIT_POWER = Exercise(
    "scale.fit_power", LESSON, 2, fit_power,
    (laws((4, 6), 3, 6, 0.05, (0.1, 0.3)), laws((5, 8), 2, 4, 0.1, (0.3, 0.8)),
     laws((3, 3), 4, 6, 0.08, (0.05, 0.2)), laws((6, 9), 0.2, 2, 0.1, (0.4, 1.2)),
     laws((4, 5), 7, 9, 0.05, (0.02, 0.1)), laws((5, 6), 1, 3, 0.1, (-0.4, -0.2))), in_section(7,
        Mistake(
            "the sign of b turned",
            "Your b is the slope of the line. The law is a x^-b, so b is minus the slope: "
            "positive where the loss falls.",
            changed(lambda a, b: (a, -b))),
        Mistake(
            "b without its sign",
            "Your b is never negative. Where the numbers rise, it is.",
            changed(lambda a, b: (a, abs(b)))),
        Mistake(
            "the logarithm of a",
            "Your a is still a logarithm: take its exponential.",
            changed(lambda a, b: (math.log(a), b))),
        Mistake(
            "a of 10 for a natural logarithm",
            "You took natural logarithms, and came back with 10 to the power. exp belongs to log.",
            changed(lambda a, b: (10 ** math.log(a), b))),
        Mistake(
            "exp of a logarithm to the base 10",
            "You took logarithms to the base 10, and came back with exp. Come back with 10 to the "
            "power.",
            changed(lambda a, b: (math.exp(math.log10(a)), b))),
        Mistake(
            "exp of a logarithm to the base 2",
            "You took logarithms to the base 2, and came back with exp. Come back with 2 to the "
            "power.",
            changed(lambda a, b: (math.exp(math.log2(a)), b))),
        Mistake(
            "two kinds of logarithm",
            "You took logarithms to the base 10 of the sizes and natural ones of the losses. Take "
            "the same for both.",
            by_logs(lambda x, y: (line(x, y)[0].exp(), -line(x, y)[1] * math.log(10)))),
        Mistake(
            "b first",
            "You return b first. Asked for are a, and then b.",
            changed(lambda a, b: (b, a))),
        Mistake(
            "the exponential of b",
            "You take the exponential of the slope as well. It is no logarithm: only the height "
            "is.",
            changed(lambda a, b: (a, math.exp(b)))),
        Mistake(
            "one over a",
            "Your a is one over what it should be: a sign in the height of the line is turned.",
            changed(lambda a, b: (1 / a, b))),
        Mistake(
            "through the first and the last point",
            "You lay the line through the first and the last point. Least squares hears all of "
            "them.",
            through(0, -1)),
        Mistake(
            "through the first two points",
            "You lay the line through the first two points. Least squares hears all of them.",
            through(0, 1)),
        Mistake(
            "through the last two points",
            "You lay the line through the last two points. Least squares hears all of them.",
            through(-2, -1)),
        Mistake(
            "the mean of the slopes between neighbours",
            "You average the slopes between neighbours, and points that lie close count as much "
            "as others. Take least squares.",
            by_logs(of_neighbours)),
        Mistake(
            "through the origin",
            "Your line goes through 0, so a is 1. The law has a height of its own: centre both "
            "logarithms first, or fit both numbers.",
            by_logs(through_origin)),
        Mistake(
            "slope through the origin",
            "Your slope is that of a line through 0: the means were not taken off before the "
            "products.",
            by_logs(lambda x, y: ((y.mean() + through_origin(x, y)[1] * x.mean()).exp(),
                                  through_origin(x, y)[1]))),
        Mistake(
            "sizes by losses",
            "You fit the sizes as a law of the losses and turn it round. The errors are in the "
            "losses: fit these.",
            by_logs(other_way)),
        Mistake(
            "sizes and losses exchanged",
            "You fit the sizes as a law of the losses. It is the losses that depend on the sizes.",
            lambda sizes, losses: fit_power(losses, sizes)),
        Mistake(
            "n - 1 over n",
            "You divide the covariance by n - 1, and the variance by n. Divide both by the same.",
            by_logs(one_too_few)),
        Mistake(
            "n over n - 1",
            "You divide the covariance by n, and the variance by n - 1. Divide both by the same.",
            by_logs(lambda x, y: (
                (y.mean() - (s := line(x, y)[1] * (len(x) - 1) / len(x)) * x.mean()).exp(), -s))),
        Mistake(
            "no logarithm of the sizes",
            "You took the logarithm of the losses alone: that is an exponential law, a e^-bx. "
            "Take both.",
            raw(lambda x: x, torch.log, torch.exp)),
        Mistake(
            "no logarithm of the losses",
            "You took the logarithm of the sizes alone. Take both.",
            raw(torch.log, lambda y: y)),
        Mistake(
            "no logarithms",
            "You lay a straight line through the numbers themselves. A power law is straight "
            "where both are logarithms.",
            raw(lambda x: x, lambda y: y)),
        Mistake(
            "no logarithm of the losses, and exp",
            "You took the logarithm of the sizes alone, and an exponential of the height. Take "
            "both logarithms.",
            raw(torch.log, lambda y: y, torch.exp)),
        Mistake(
            "a by the first point",
            "Your slope is right, but the line goes through the first point. Let it go through "
            "the mean of all.",
            by_logs(at_first)),
        Mistake(
            "a by the last point",
            "Your slope is right, but the line goes through the last point. Let it go through the "
            "mean of all.",
            by_logs(at_last)),
        Mistake(
            "a as the first loss",
            "Your a is the loss of the smallest size. It is what the law says at size 1.",
            lambda sizes, losses: (losses[0].item(), fit_power(sizes, losses)[1])),
        Mistake(
            "a as the mean of the losses",
            "Your a is the mean of the losses. It is what the law says at size 1: take the slope "
            "off.",
            by_logs(lambda x, y: (y.mean().exp(), -line(x, y)[1]))),
        Mistake(
            "the mean added in place of taken off",
            "You add the slope times the mean size to the mean loss. The height of a line is "
            "mean(y) - slope mean(x).",
            by_logs(lambda x, y: ((y.mean() + line(x, y)[1] * x.mean()).exp(), -line(x, y)[1]))),
        Mistake(
            "b halved",
            "Your b is half of what it should be.",
            changed(lambda a, b: (a, b / 2))),
        Mistake(
            "correlation in place of the slope",
            "You divide by both standard deviations: that is the correlation. The slope divides "
            "by the variance of the sizes.",
            by_logs(lambda x, y: (
                (y.mean() - (s := line(x, y)[1] * x.std() / y.std()) * x.mean()).exp(), -s))),
        Mistake(
            "divided by the deviation, not its square",
            "You divide by the standard deviation of the sizes. The slope divides by their "
            "variance.",
            by_logs(lambda x, y: (
                (y.mean() - (s := line(x, y)[1] * x.std(correction=0)) * x.mean()).exp(), -s))),
        Mistake(
            "the last point left out",
            "You leave out the last point. Each was measured: use all.",
            without(slice(0, -1))),
        Mistake(
            "the first point left out",
            "You leave out the first point. Each was measured: use all.",
            without(slice(1, None))),
        Mistake(
            "the slope between first and last",
            "Your slope is that between the first and the last point. Least squares hears all of "
            "them.",
            with_slope(lambda x, y: (y[-1] - y[0]) / (x[-1] - x[0]))),
        Mistake(
            "the slope between the first two",
            "Your slope is that between the first two points. Least squares hears all of them.",
            with_slope(lambda x, y: (y[1] - y[0]) / (x[1] - x[0]))),
        Mistake(
            "b first, and the logarithm of a",
            "You return b first, and a is still a logarithm. Asked for are a, and then b.",
            changed(lambda a, b: (b, math.log(a)))),
        Mistake(
            "slope and height exchanged",
            "You take the height of the line for its slope: polyfit returns the slope first.",
            changed(lambda a, b: (math.exp(-b), -math.log(a)))),
        Mistake(
            "divided by the variance of the losses",
            "You divide the covariance by the variance of the losses. The slope divides by that of "
            "the sizes.",
            with_slope(lambda x, y: line(x, y)[1] * x.var() / y.var())),
        Mistake(
            "one deviation over the other",
            "Your slope is one deviation over the other. That would be right if all points lay on "
            "the line: take the covariance over the variance.",
            with_slope(lambda x, y: -y.std() / x.std())),
        Mistake(
            "the covariance not centred",
            "You did not take the means off before the products: that is no covariance.",
            with_slope(lambda x, y: (x * y).sum() / ((x - x.mean()) ** 2).sum())),
        Mistake(
            "the variance not centred",
            "You did not take the mean off the sizes before the squares: that is no variance.",
            with_slope(lambda x, y: line(x, y)[1] * ((x - x.mean()) ** 2).sum() / (x * x).sum())),
        Mistake(
            "logarithms to the base 10 of the losses",
            "You took logarithms to the base 10 of the losses and natural ones of the sizes. Take "
            "the same for both.",
            by_logs(lambda x, y: ((line(x, y)[0] / math.log(10)).exp(),
                                  -line(x, y)[1] / math.log(10)))),
        Mistake(
            "1 added to the sizes",
            "You take the logarithm of 1 + sizes. A power law has that of the sizes.",
            lambda sizes, losses: fit_power(sizes + 1, losses)),
        Mistake(
            "1 added to the losses",
            "You take the logarithm of 1 + losses. A power law has that of the losses.",
            lambda sizes, losses: fit_power(sizes, losses + 1)),
        Mistake(
            "a as a mean of what each point says",
            "You average a over the points, after exp. Least squares averages the logarithms.",
            by_logs(lambda x, y: ((y - line(x, y)[1] * x).exp().mean(), -line(x, y)[1]))),
        Mistake(
            "rounded",
            "You round. Return the numbers as they are.",
            changed(lambda a, b: (round(a, 3), round(b, 3)))),
    ), "least squares of the logarithms, over all points", tolerance=1e-4)


TEST = hunt(PART_OF, "every so many rows", "chunk", "padded with the first rows",
    "the rest dropped", "the rest to the last", "the larger parts at the end", "rounded bounds",
    "the extra rows counted for the size, not for the start", "one larger part too many",
    "ranks from 1")
EXERCISES = (BLOCK_PARAMETERS, TRAINING_FLOPS, TRAINING_BYTES, PART_OF, ALL_REDUCE, PLAN, FIT_POWER,
             TEST)
