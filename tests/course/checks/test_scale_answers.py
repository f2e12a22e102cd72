"""Lesson 17: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import torch
from asking import calls
from torch import nn

from minidalle.course.checks import find, judge

SEEDS = range(5)


# ---- right answers in other styles

def counted_by_pytorch(width, widen):
    """Nothing is laid out in memory."""
    with torch.device("meta"):
        parts = nn.ModuleList([
            nn.MultiheadAttention(width, 1), nn.Linear(width, widen * width),
            nn.Linear(widen * width, width), nn.LayerNorm(width), nn.LayerNorm(width)])
    return sum(weight.numel() for weight in parts.parameters())


def from_bounds(rows, rank, processes):
    ends = [math.ceil((len(rows) - i) / processes) for i in range(processes)]
    ends = numpy.cumsum([0, *ends])
    return rows[ends[rank]:ends[rank + 1]]


def in_place(gradients, rows):
    total = torch.zeros_like(gradients[0])
    for n, gradient in zip(rows, gradients):
        total += gradient * n
    return total.div_(sum(rows))


def by_polyfit(sizes, losses):
    slope, height = numpy.polyfit(numpy.log(sizes.numpy()), numpy.log(losses.numpy()), 1)
    return numpy.exp(height), -slope


def by_lstsq(sizes, losses):
    x = torch.stack([torch.ones_like(sizes), sizes.log()], dim=1)
    height, slope = torch.linalg.lstsq(x, losses.log()[:, None]).solution.flatten()
    return height.exp(), -slope


def in_base_ten(sizes, losses):
    x, y = sizes.log10(), losses.log10()
    slope = torch.stack([x, y]).cov()[0, 1] / x.var()
    return float(10 ** (y.mean() - slope * x.mean())), float(-slope)


def by_formula(sizes, losses):
    x, y = sizes.log(), losses.log()
    slope = ((x * y).mean() - x.mean() * y.mean()) / ((x * x).mean() - x.mean() ** 2)
    return torch.exp(y.mean() - slope * x.mean()), -slope


STYLES = [
    ("block_parameters", lambda D, w: (4 + 2 * w) * D ** 2 + (9 + w) * D),
    ("block_parameters", counted_by_pytorch),
    ("block_parameters", lambda D, w: numpy.int64((4 + 2 * w) * D * D + D * (w + 9))),
    ("training_flops", lambda n, pictures, tokens: 3 * (2 * n) * (pictures * tokens)),
    ("training_flops", lambda *given: 6 * math.prod(given)),
    ("training_bytes", lambda n, average, pieces: math.ceil(n / pieces) * (20 if average else 16)),
    ("training_bytes", lambda n, average, pieces: 4 * (4 + int(average)) * (
        (n + pieces - 1) // pieces)),
    ("part_of", lambda rows, rank, many: torch.tensor_split(rows, many)[rank]),
    ("part_of", lambda rows, rank, many: torch.from_numpy(
        numpy.array_split(rows.numpy(), many)[rank])),
    ("part_of", from_bounds),
    ("all_reduce", in_place),
    ("all_reduce", lambda gs, rows: torch.einsum(
        "r,r...->...", torch.tensor(rows) / sum(rows), torch.stack(gs))),
    ("all_reduce", lambda gs, rows: sum(g.double() * n for g, n in zip(gs, rows)) / sum(rows)),
    ("plan", lambda rows, micro, many, pictures: [
        rows * micro * many, math.ceil(pictures / (rows * micro * many))]),
    ("plan", lambda rows, micro, many, pictures: (
        (b := math.prod((rows, micro, many))), (pictures + b - 1) // b)),
    ("fit_power", by_polyfit), ("fit_power", by_lstsq), ("fit_power", in_base_ten),
    ("fit_power", by_formula)]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"scale.{name}", function, seed).passed, seed


# ---- wrong ones, each with the name that it is told

def told(name, function, seed):
    verdict = judge(f"scale.{name}", function, seed)
    return verdict.mistake or verdict.state


def a_zero_dim_sum(gradients, rows):
    gradients[0].mul_(rows[0])
    for n, gradient in zip(rows[1:], gradients[1:]):
        gradients[0].add_(gradient * n)
    return gradients[0] / sum(rows)


def in_doubles(n, pictures, tokens):
    return int(6 * float(n) * pictures * tokens)


NAMED = [
    ("block_parameters", "rounded to float32", lambda D, w: int(torch.tensor(
        [(4 + 2 * w) * D * D + D * (9 + w)], dtype=torch.float32))),
    ("block_parameters", "one matrix in the MLP", lambda D, w: (4 + w) * D * D + D * (9 + w)),
    ("training_flops", "in floating point", in_doubles),
    ("training_flops", "in floating point", lambda *given: int(numpy.prod([6.0, *given]))),
    ("training_flops", "in float32",
     lambda *given: int(torch.tensor([6, *given]).float().prod())),
    ("training_flops", "a token less", lambda n, p, t: 6 * n * p * (t - 1)),
    ("training_bytes", "1 added before the division",
     lambda n, average, k: (n + 1) // k * 4 * (4 + average)),
    ("part_of", "a single row without its side",
     lambda rows, r, n: rows.tensor_split(n)[r].squeeze(0) if len(
         rows.tensor_split(n)[r]) == 1 else rows.tensor_split(n)[r]),
    ("part_of", "type", lambda rows, r, n: rows.tensor_split(n)[r] if r < len(rows) else None),
    ("part_of", "an empty part without features",
     lambda rows, r, n: rows.tensor_split(n)[r] if r < len(rows) else torch.tensor([])),
    ("part_of", "a row where there is none",
     lambda rows, r, n: rows.tensor_split(n)[r] if r < len(rows) else rows[0:1]),
    ("part_of", "numbers of rows",
     lambda rows, r, n: torch.from_numpy(numpy.array_split(numpy.arange(len(rows)), n)[r])),
    ("part_of", "every so many rows, some twice", lambda rows, r, n: torch.cat([rows] * n)[
        :math.ceil(len(rows) / n) * n][r::n]),
    ("all_reduce", "a mean of those that had rows",
     lambda gs, rows: torch.stack([g for g, n in zip(gs, rows) if n]).mean(0)),
    ("all_reduce", "one over each share",
     lambda gs, rows: sum(sum(rows) / n * g for g, n in zip(gs, rows))),
    ("plan", "rounded down for each process",
     lambda r, m, n, p: (r * m * n, math.ceil(p // n / (r * m)))),
    ("fit_power", "slope and height exchanged", lambda x, y: (lambda h, s: (
        math.exp(h), -s))(*numpy.polyfit(x.log().numpy(), y.log().numpy(), 1))),
    ("fit_power", "1 added to the losses", lambda x, y: by_polyfit(x, 1 + y)),
    ("block_parameters", "matrices alone", lambda D, w: (4 + 2 * w) * D * D),
    ("block_parameters", "4 D too few", lambda D, w: (4 + 2 * w) * D * D + D * (5 + w)),
    ("block_parameters", "2 D too few", lambda D, w: (4 + 2 * w) * D * D + D * (7 + w)),
    ("block_parameters", "four times as wide, whatever was given",
     lambda D, w: 12 * D * D + 13 * D),
    ("block_parameters", "three layers in the attention",
     lambda D, w: (3 + 2 * w) * D * D + D * (8 + w)),
    ("block_parameters", "width doubled", lambda D, w: (4 + 2 * w) * 2 * D + D * (9 + w)),
    ("training_flops", "tokens forgotten", lambda n, p, t: 6 * p * n),
    ("training_flops", "multiply-adds", lambda n, p, t: 3 * n * p * t),
    ("training_flops", "4 for each weight and token", lambda n, p, t: n * p * t * 2 * 2),
    ("training_flops", "in 64 bits", lambda n, p, t: int(torch.tensor(6) * n * p * t)),
    ("training_bytes", "a number too few",
     lambda n, average, k: 4 * math.ceil(n / k) * (3 + average)),
    ("training_bytes", "average forgotten", lambda n, average, k: 16 * math.ceil(n / k)),
    ("training_bytes", "the rest dropped",
     lambda n, average, k: (n // k) * (20 if average else 16)),
    ("training_bytes", "not cut into pieces", lambda n, average, k: n * 4 * (4 + average)),
    ("training_bytes", "rounded up at the end",
     lambda n, average, k: math.ceil(4 * n * (4 + average) / k)),
    ("part_of", "every so many rows", lambda rows, r, n: rows[r::n]),
    ("part_of", "the rest dropped",
     lambda rows, r, n: rows[r * (len(rows) // n):(r + 1) * (len(rows) // n)]),
    ("part_of", "rounded bounds",
     lambda rows, r, n: rows[int(len(rows) * r / n):int(len(rows) * (r + 1) / n)]),
    ("part_of", "chunk",
     lambda rows, r, n: rows[r * math.ceil(len(rows) / n):(r + 1) * math.ceil(len(rows) / n)]),
    ("all_reduce", "sum", lambda gs, rows: torch.stack(gs).sum(0)),
    ("all_reduce", "a mean of means", lambda gs, rows: torch.stack(gs).mean(0)),
    ("all_reduce", "weighted, divided by the processes",
     lambda gs, rows: torch.stack([g * n for g, n in zip(gs, rows)]).mean(0)),
    ("all_reduce", "mutates", a_zero_dim_sum),
    ("plan", "the rest dropped", lambda r, m, n, p: (r * m * n, p // (r * m * n))),
    ("plan", "steps without the parts in turn",
     lambda r, m, n, p: (r * m * n, math.ceil(p / (r * n)))),
    ("plan", "all added", lambda r, m, n, p: (r + m + n, math.ceil(p / (r + m + n)))),
    ("fit_power", "the sign of b turned",
     lambda x, y: (by_polyfit(x, y)[0], -by_polyfit(x, y)[1])),
    ("fit_power", "the logarithm of a",
     lambda x, y: (math.log(by_polyfit(x, y)[0]), by_polyfit(x, y)[1])),
    ("fit_power", "no logarithms", lambda x, y: (lambda s, h: (h, -s))(
        *numpy.polyfit(x.numpy(), y.numpy(), 1))),
    ("fit_power", "through the first and the last point", lambda x, y: (
        lambda s: (float(y[0] / x[0] ** s), float(-s)))(
        (y[-1] / y[0]).log() / (x[-1] / x[0]).log()))]


@pytest.mark.parametrize("name, mistake, function", NAMED)
def test_wrong_answers_in_other_styles_are_told_by_the_mistake_they_are(name, mistake, function):
    for seed in SEEDS:
        assert told(name, function, seed) == mistake, seed


# ---- what the inputs must hold

def test_every_check_of_the_bytes_has_pieces_that_are_and_are_not_full_with_and_without_average():
    for seed in range(20):
        found = {(average, pieces > 1, weights % pieces > 0)
                 for weights, average, pieces in calls("scale.training_bytes", seed)}
        assert {(a, True, True) for a in (False, True)} | {(a, False, False)
                for a in (False, True)} <= found


def test_every_check_of_the_parts_has_a_rest_of_none_of_one_of_all_but_one_and_too_few_rows():
    for seed in range(20):
        rounds = calls("scale.part_of", seed)
        rest = {min(2, len(rows) % n) for rows, _, n in rounds}
        assert rest == {0, 1, 2} and any(len(rows) < n for rows, _, n in rounds)


def test_every_check_of_the_parts_has_an_empty_one_and_one_of_a_single_row():
    for seed in range(20):
        sizes = {len(find("scale.part_of").function(*one)) for one in calls("scale.part_of", seed)}
        assert {0, 1} <= sizes


def test_the_largest_count_is_held_by_no_float_nor_the_widest_block_by_one_of_32_bits():
    for seed in range(20):
        largest = max(6 * math.prod(one) for one in calls("scale.training_flops", seed))
        widest = max(find("scale.block_parameters").function(*one)
                     for one in calls("scale.block_parameters", seed))
        assert int(float(largest)) != largest and int(torch.tensor(float(widest))) != widest


def test_no_pair_of_operations_is_out_of_64_bits_but_the_largest():
    for seed in range(20):
        assert [6 * math.prod(one) > 2 ** 63 for one in calls("scale.training_flops", seed)] == \
            [False, False, False, True, False]
