r"""The exercises of lesson 00: what a picture is, what guessing scores, how large a model is.

in -> out   EXERCISES: to_pixels, chance, count_parameters
idea        Warm-ups: a few lines each, and every one of them is used in all lessons to come.
"""
import math

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake

LESSON = "00_map"


# ---- from numbers to bytes

def to_pixels(images: Tensor) -> Tensor:
    """images (B,3,H,W), mostly in [-1,1] -> pixels (B,H,W,3) uint8, 0 to 255."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def to_pixels_inputs(g: Generator) -> tuple:
    """B, 3, H and W all differ; some values lie beyond [-1, 1], and none halfway between two
    pixels, where another order of the same operations would round to the other side."""
    level = torch.randint(-60, 316, (2, 3, 5, 4), generator=g)
    level[0, :, 0, 0], level[1, :, 4, 3] = -40, 300
    off = 0.8 * torch.rand(level.shape, generator=g) - 0.4
    return ((level + off) / 127.5 - 1,)


def bytes_of(images: Tensor) -> Tensor:
    """All but the order of the dimensions: (B,3,H,W) uint8."""
    return to_pixels(images).permute(0, 3, 1, 2)


TO_PIXELS = Exercise(
    "map.to_pixels", LESSON, 1, to_pixels, (to_pixels_inputs,), (
        Mistake(
            "not clamped",
            "What lies beyond [-1, 1] wraps round: a white that is a little too bright becomes "
            "black, since 256 is 0 as a byte. Clamp before you convert.",
            lambda images: ((images + 1) * 127.5).round().to(torch.int64).byte()
            .permute(0, 2, 3, 1)),
        Mistake(
            "cut off in place of rounded",
            "Your pixels are one too dark nearly everywhere: to convert to bytes cuts off what "
            "stands behind the point. Round first.",
            lambda images: ((images.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1)),
        Mistake(
            "not shifted",
            "You multiply by 255, as if black were 0. Here black is -1: all of the darker half "
            "comes out black. Shift [-1, 1] to [0, 2] first.",
            lambda images: (images * 255).clamp(0, 255).round().byte().permute(0, 2, 3, 1)),
        Mistake(
            "times 255 after the shift",
            "After the shift white is 2, and 2 times 255 is too much: all that is brighter than "
            "the middle comes out white. Multiply by 127.5.",
            lambda images: ((images + 1) * 255).clamp(0, 255).round().byte()
            .permute(0, 2, 3, 1)),
        Mistake(
            "colours left in front",
            "Your shape is (B,3,H,W). Pillow and matplotlib want the colours last: (B,H,W,3).",
            bytes_of),
        Mistake(
            "viewed in place of permuted",
            "The shape is right, but the pixels are scrambled: a view (or reshape) keeps the order "
            "in memory, in which all of the red comes before the green. Move the dimension "
            "instead.",
            lambda images: bytes_of(images).reshape(to_pixels(images).shape)),
        Mistake(
            "height and width exchanged",
            "Your pictures lie on their side, (B,W,H,3). Only the colours move; height stays "
            "before width.",
            lambda images: bytes_of(images).permute(0, 3, 2, 1)),
        Mistake(
            "still floats",
            "Your numbers are right, but they are floats. A file holds whole bytes: end with "
            ".byte(), after rounding.",
            lambda images: to_pixels(images).float()),
    ), "rounded, clamped, colours last")


# ---- what guessing scores

def chance(n: int) -> float:
    """n choices, all alike to whoever guesses -> the loss -ln p of the right one, in nats."""
    return math.log(n)


def chance_inputs(g: Generator) -> tuple:
    return (int(torch.randint(3, 1000, (), generator=g)),)


CHANCE = Exercise(
    "map.chance", LESSON, 1, chance, (chance_inputs,), (
        Mistake(
            "the probability",
            "You return 1/n, the probability of the right choice. The loss is minus its logarithm.",
            lambda n: 1 / n),
        Mistake(
            "how often it is wrong",
            "You return the share of wrong guesses, 1 - 1/n. The loss asks how little probability "
            "the right choice was given: -ln(1/n).",
            lambda n: 1 - 1 / n),
        Mistake(
            "the sign",
            "Your loss is negative. ln(1/n) is below 0, and the loss is minus that: who knows "
            "less loses more.",
            lambda n: -math.log(n)),
        Mistake(
            "bits",
            "You measure in bits, with the logarithm to base 2. PyTorch's losses are in nats: "
            "take math.log.",
            math.log2),
        Mistake(
            "logarithm to base 10",
            "You use the logarithm to base 10. ln is the one to base e: math.log.",
            math.log10),
        Mistake(
            "divided by n",
            "You divide by n. The loss is that of the one right choice, and no mean over all n.",
            lambda n: math.log(n) / n),
        Mistake(
            "the number of choices",
            "You return n itself. That is the perplexity, e to the loss; the loss is its "
            "logarithm.",
            lambda n: n),
        Mistake(
            "only the wrong choices",
            "You take ln(n - 1), as if one choice were already ruled out. Whoever guesses may "
            "guess the right one too: there are n.",
            lambda n: math.log(n - 1)),
    ), "ln n, in nats")


# ---- how large a model is

def count_parameters(parameters: list[Tensor]) -> int:
    """Tensors of any shapes, as list(model.parameters()) gives -> how many numbers they hold.

    They come as a list and not as a model, since `grade` sends inputs to another process as data.
    """
    return sum(p.numel() for p in parameters)


def parameters_inputs(g: Generator) -> tuple:
    """As of a small network: a temperature without a side, a convolution, a norm, a matrix. Values
    are eighths, so that their sum is the same in any order."""
    a, b, c, d = (torch.randperm(6, generator=g)[:4] + 2).tolist()
    shapes = ((), (a, 3, b, b), (a,), (a,), (c, d), (c,))
    order = torch.randperm(len(shapes), generator=g).tolist()
    return ([torch.randint(-8, 9, shapes[i], generator=g) / 8 for i in order],)


COUNT_PARAMETERS = Exercise(
    "map.count_parameters", LESSON, 1, count_parameters, (parameters_inputs,), (
        Mistake(
            "tensors in place of numbers",
            "You count the tensors. A matrix (3,4) is one tensor, but 12 numbers.",
            len),
        Mistake(
            "only the matrices",
            "You leave out tensors with fewer than two sides. Biases and the weights of norms are "
            "learnt too.",
            lambda parameters: sum(p.numel() for p in parameters if p.dim() >= 2)),
        Mistake(
            "sides added",
            "You add the sides of a tensor. Multiply them: a matrix (3,4) has 12 numbers, not 7.",
            lambda parameters: sum(sum(p.shape) for p in parameters)),
        Mistake(
            "only the first side",
            "You count only along the first side. A matrix (3,4) has 12 numbers, not 3.",
            lambda parameters: sum(p.shape[0] if p.dim() else 1 for p in parameters)),
        Mistake(
            "len of each",
            "len(p) is only the first side of a tensor, and one without sides has none, so len "
            "stops. p.numel() counts the numbers.",
            lambda parameters: sum(len(p) for p in parameters)),
        Mistake(
            "a single number not counted",
            "You leave out the tensor of shape (). It has no sides and holds one number: CLIP's "
            "temperature is such a one.",
            lambda parameters: sum(p.numel() for p in parameters if p.dim())),
        Mistake(
            "bytes",
            "You count bytes: a float32 takes four of them. Count the numbers.",
            lambda parameters: sum(p.numel() * p.element_size() for p in parameters)),
        Mistake(
            "only the first tensor",
            "You count the first tensor and stop. A return inside the loop ends it; add up, and "
            "return behind it.",
            lambda parameters: parameters[0].numel()),
        Mistake(
            "the numbers added",
            "You add up the values of the parameters. The question is how many there are.",
            lambda parameters: sum(p.sum().item() for p in parameters)),
    ), "all numbers of all shapes, single ones included")


EXERCISES = (TO_PIXELS, CHANCE, COUNT_PARAMETERS)
