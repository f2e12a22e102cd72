"""The right answers of checks/scale.py again, with loops and Python's own numbers."""
import math

import torch


def block_parameters(width, widen):
    """Layer by layer: inputs x outputs, and a bias for each output."""
    layers = [(width, width)] * 4 + [(width, widen * width), (widen * width, width)]
    count = sum(inputs * outputs + outputs for inputs, outputs in layers)
    for _norm in range(2):
        count += width + width
    return count


def training_flops(weights, pictures, tokens):
    count = 0
    for products in (1, 2):                    # there; back: by what came in, and by the weights
        count += products * 2 * weights * tokens * pictures
    return count


def training_bytes(weights, average, pieces):
    piece = next(n for n in range(weights // pieces, weights + 1) if n * pieces >= weights)
    numbers = ["weight", "gradient", "mean", "mean square"] + ["average"] * bool(average)
    return sum(4 * piece for _ in numbers)


def part_of(rows, rank, processes):
    """Sizes dealt like cards, then counted off."""
    sizes = [0] * processes
    for i in range(len(rows)):
        sizes[i % processes] += 1
    start = sum(sizes[:rank])
    return torch.tensor(rows.tolist()[start:start + sizes[rank]]).view(sizes[rank], rows.shape[1])


def all_reduce(gradients, rows):
    """As if each row had the gradient of its process."""
    total = [0.0] * gradients[0].numel()
    for gradient, n in zip(gradients, rows):
        for _ in range(n):
            total = [t + g for t, g in zip(total, gradient.flatten().tolist())]
    return torch.tensor([t / sum(rows) for t in total]).view(gradients[0].shape)


def plan(rows, micro, processes, pictures):
    batch = sum(rows for _ in range(micro) for _ in range(processes))
    steps, seen = 0, 0
    while seen < pictures:
        steps, seen = steps + 1, seen + batch
    return batch, steps


def fit_power(sizes, losses):
    """The normal equations, solved by hand."""
    x, y = ([math.log(value) for value in values.tolist()] for values in (sizes, losses))
    n, sx, sy = len(x), sum(x), sum(y)
    sxx, sxy = sum(v * v for v in x), sum(v * w for v, w in zip(x, y))
    slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
    return math.exp((sy - slope * sx) / n), -slope


OTHER_STYLE = {
    "scale.block_parameters": block_parameters,
    "scale.training_flops": training_flops,
    "scale.training_bytes": training_bytes,
    "scale.part_of": part_of,
    "scale.all_reduce": all_reduce,
    "scale.plan": plan,
    "scale.fit_power": fit_power}
