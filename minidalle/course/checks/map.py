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
    """Sizes differ from call to call; some values lie beyond [-1, 1], and none halfway between two
    pixels, where another order of the same operations would round to the other side."""
    B, H, W = (int(torch.randint(low, low + 4, (), generator=g)) for low in (1, 2, 3))
    level = torch.randint(-60, 316, (B, 3, H, W), generator=g)
    level[0, :, 0, 0], level[-1, :, -1, -1] = -40, 300
    off = 0.8 * torch.rand(level.shape, generator=g) - 0.4
    return ((level + off) / 127.5 - 1,)


def pixels_on_the_edge(g: Generator) -> tuple:
    """Black and white exactly, just inside and just beyond, and levels near the halves; the same
    each time. Three of everything, so that no shape gives a wrong order away."""
    near = [0, 255, -0.4, 255.4, 0.6, 254.4, 1, 254, 99.45, 99.55, 127.55, 128.45, 300, -45]
    level = torch.tensor((near * 6)[:81]).view(3, 3, 3, 3)
    return (level / 127.5 - 1,)


def pixels_in_range(g: Generator) -> tuple:
    """A dull picture, which never comes near black or white: nothing is there to stretch."""
    return ((100 + 60 * torch.rand(1, 3, 4, 2, generator=g)).floor().add(0.2) / 127.5 - 1,)


def bytes_of(images: Tensor) -> Tensor:
    """All but the order of the dimensions: (B,3,H,W) uint8."""
    return to_pixels(images).permute(0, 3, 1, 2)


TO_PIXELS = Exercise(
    "map.to_pixels", LESSON, 1, to_pixels, (
        to_pixels_inputs, pixels_on_the_edge, pixels_in_range), (
        Mistake(
            "not clamped",
            "What lies beyond [-1, 1] wraps round: a white that is a little too bright becomes "
            "black, since 256 is 0 as a byte. Clamp before you convert (section 2).",
            lambda images: ((images + 1) * 127.5).round().to(torch.int64).byte()
            .permute(0, 2, 3, 1)),
        Mistake(
            "cut off in place of rounded",
            "Your pixels are one too dark nearly everywhere: to convert to bytes cuts off what "
            "stands behind the point. Round first (section 2).",
            lambda images: ((images.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1)),
        Mistake(
            "not shifted",
            "You multiply by 255, as if black were 0. Here black is -1: all of the darker half "
            "comes out black. Shift [-1, 1] to [0, 2] first (section 2).",
            lambda images: (images * 255).clamp(0, 255).round().byte().permute(0, 2, 3, 1)),
        Mistake(
            "times 255 after the shift",
            "After the shift white is 2, and 2 times 255 is too much: all that is brighter than "
            "the middle comes out white. Multiply by 127.5 (section 2).",
            lambda images: ((images + 1) * 255).clamp(0, 255).round().byte()
            .permute(0, 2, 3, 1)),
        Mistake(
            "colours left in front",
            "Your shape is (B,3,H,W). Pillow and matplotlib want the colours last: (B,H,W,3) "
            "(section 2).",
            bytes_of),
        Mistake(
            "viewed in place of permuted",
            "The shape is right, but the pixels are scrambled: a view (or reshape) keeps the order "
            "in memory, in which all of the red comes before the green. Move the dimension "
            "instead (section 2).",
            lambda images: bytes_of(images).reshape(to_pixels(images).shape)),
        Mistake(
            "height and width exchanged",
            "Your pictures lie on their side, (B,W,H,3). Only the colours move; height stays "
            "before width (section 2).",
            lambda images: bytes_of(images).permute(0, 3, 2, 1)),
        Mistake(
            "rounded up",
            "You round every level up (ceil, or + 1). The nearest whole number is asked for: "
            ".round() (section 2).",
            lambda images: ((images.clamp(-1, 1) + 1) * 127.5).ceil().byte().permute(0, 2, 3, 1)),
        Mistake(
            "times 128",
            "You multiply by 128, and white, which is 1, would become 256. The middle between 0 "
            "and 255 is 127.5 (section 2).",
            lambda images: ((images + 1) * 128).clamp(0, 255).round().byte().permute(0, 2, 3, 1)),
        Mistake(
            "clamped to [0, 1]",
            "You clamp to [0, 1], as if black were 0: the darker half becomes one grey. Here black "
            "is -1: clamp to [-1, 1] (section 2).",
            lambda images: to_pixels(images.clamp(0, 1))),
        Mistake(
            "stretched",
            "You stretch each batch so that its darkest value becomes 0 and its brightest 255. A "
            "dull picture must stay dull: only what lies beyond [-1, 1] is cut (section 2).",
            lambda images: ((images - images.min()) / (images.max() - images.min()) * 255).round()
            .byte().permute(0, 2, 3, 1)),
        Mistake(
            "red and blue exchanged",
            "Your red is blue: the order of the colours is turned round (BGR). It stays red, "
            "green, blue (section 2).",
            lambda images: to_pixels(images.flip(1))),
        Mistake(
            "still floats",
            "Your numbers are right, but they are floats. A file holds whole bytes: end with "
            ".byte(), after rounding (section 2).",
            lambda images: to_pixels(images).float()),
    ), "rounded, clamped, colours last")


# ---- what guessing scores

def chance(n: int) -> float:
    """n choices, all alike to whoever guesses -> the loss -ln p of the right one, in nats."""
    return math.log(n)


def chance_inputs(g: Generator) -> tuple:
    return (int(torch.randint(3, 1000, (), generator=g)),)


def chance_few(g: Generator) -> tuple:
    """Two choices, each time: ln 2 has no round digits, so a rounded answer shows."""
    return (2,)


def chance_many(g: Generator) -> tuple:
    """A million choices, each time: what was added to 1/n, so that no logarithm fails, shows."""
    return (10 ** 6,)


CHANCE = Exercise(
    "map.chance", LESSON, 1, chance, (chance_inputs, chance_few, chance_many), (
        Mistake(
            "the probability",
            "You return 1/n, the probability of the right choice. The loss is minus its logarithm "
            "(section 3).",
            lambda n: 1 / n),
        Mistake(
            "how often it is wrong",
            "You return the share of wrong guesses, 1 - 1/n. The loss asks how little probability "
            "the right choice was given: -ln(1/n) (section 3).",
            lambda n: 1 - 1 / n),
        Mistake(
            "the sign",
            "Your loss is negative. ln(1/n) is below 0, and the loss is minus that: who knows "
            "less loses more (section 3).",
            lambda n: -math.log(n)),
        Mistake(
            "bits",
            "You measure in bits, with the logarithm to base 2. PyTorch's losses are in nats: "
            "take math.log (section 3).",
            math.log2),
        Mistake(
            "logarithm to base 10",
            "You use the logarithm to base 10. ln is the one to base e: math.log (section 3).",
            math.log10),
        Mistake(
            "divided by n",
            "You divide by n. The loss is that of the one right choice, and no mean over all n "
            "(section 3).",
            lambda n: math.log(n) / n),
        Mistake(
            "the number of choices",
            "You return n itself. That is the perplexity, e to the loss; the loss is its "
            "logarithm (section 3).",
            lambda n: n),
        Mistake(
            "only the wrong choices",
            "You take ln(n - 1), as if one choice were already ruled out. Whoever guesses may "
            "guess the right one too: there are n (section 3).",
            lambda n: math.log(n - 1)),
        Mistake(
            "one choice too many",
            "You take ln(n + 1), perhaps by log1p. There are n choices, and the first is among "
            "them (section 3).",
            lambda n: math.log(n + 1)),
        Mistake(
            "the other choices' loss",
            "You take -ln(1 - 1/n), the loss of a guess that must only not be one certain choice. "
            "The right one was given 1/n (section 3).",
            lambda n: -math.log(1 - 1 / n)),
        Mistake(
            "rounded",
            "You round. The check compares to five digits, and a loss is not rounded: return it "
            "as it comes (section 3).",
            lambda n: round(math.log(n), 2)),
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
    return (in_eighths(shapes, g),)


def parameters_that_look_small(g: Generator) -> tuple:
    """Sides of 1, three sides, a single number of the shape (1,), and biases of nothing but 0."""
    a, b = (torch.randperm(6, generator=g)[:2] + 2).tolist()
    zeros = [torch.zeros(b), torch.zeros(b), torch.zeros(())]
    return ([*in_eighths(((1, a, b), (1,), (b, 1), (a, b)), g), *zeros],)


def parameters_of_one_layer(g: Generator) -> tuple:
    """Not float32: a number may take two bytes, or eight. The first tensor is not the largest."""
    a, b = (torch.randperm(6, generator=g)[:2] + 3).tolist()
    return ([torch.ones(b, dtype=torch.float64), torch.ones(a, b, dtype=torch.float16)],)


def in_eighths(shapes, g: Generator) -> list[Tensor]:
    """Tensors of these shapes, in random order."""
    order = torch.randperm(len(shapes), generator=g).tolist()
    return [torch.randint(-8, 9, shapes[i], generator=g) / 8 for i in order]


COUNT_PARAMETERS = Exercise(
    "map.count_parameters", LESSON, 1, count_parameters, (
        parameters_inputs, parameters_that_look_small, parameters_of_one_layer), (
        Mistake(
            "tensors in place of numbers",
            "You count the tensors. A matrix (3,4) is one tensor, but 12 numbers (section 7).",
            len),
        Mistake(
            "only the matrices",
            "You leave out tensors with fewer than two sides. Biases and the weights of norms are "
            "learnt too (section 7).",
            lambda parameters: sum(p.numel() for p in parameters if p.dim() >= 2)),
        Mistake(
            "sides added",
            "You add the sides of a tensor. Multiply them: a matrix (3,4) has 12 numbers, not 7 "
            "(section 7).",
            lambda parameters: sum(sum(p.shape) for p in parameters)),
        Mistake(
            "only the first side",
            "You count only along the first side. A matrix (3,4) has 12 numbers, not 3 "
            "(section 7).",
            lambda parameters: sum(p.shape[0] if p.dim() else 1 for p in parameters)),
        Mistake(
            "len of each",
            "len(p) is only the first side of a tensor, and one without sides has none, so len "
            "stops. p.numel() counts the numbers (section 7).",
            lambda parameters: sum(len(p) for p in parameters)),
        Mistake(
            "a single number not counted",
            "You leave out the tensor of shape (). It has no sides and holds one number: CLIP's "
            "temperature is such a one (section 7).",
            lambda parameters: sum(p.numel() for p in parameters if p.dim())),
        Mistake(
            "bytes",
            "You count bytes: a float32 takes four of them. Count the numbers (section 7).",
            lambda parameters: sum(p.numel() * p.element_size() for p in parameters)),
        Mistake(
            "four bytes each",
            "You multiply by four, the bytes of a float32. Count the numbers (section 7).",
            lambda parameters: 4 * sum(p.numel() for p in parameters)),
        Mistake(
            "only those that ask for a gradient",
            "Your answer is 0: none of these tensors asks for a gradient. Count all in the list, "
            "frozen ones too (or did you forget to add up?) (section 7).",
            lambda parameters: sum(p.numel() for p in parameters if p.requires_grad)),
        Mistake(
            "zeros not counted",
            "You leave out the numbers that are 0, and a bias is nothing but zeros at first. The "
            "question is how many places there are (section 7).",
            lambda parameters: sum(int(p.count_nonzero()) for p in parameters)),
        Mistake(
            "each shape once",
            "You count tensors of equal shape only once (a set, or a dictionary by shape?). Two "
            "biases are two tensors (section 7).",
            lambda parameters: sum(math.prod(shape) for shape in {p.shape for p in parameters})),
        Mistake(
            "single numbers not counted",
            "You leave out the tensors that hold a single number. They are learnt too "
            "(section 7).",
            lambda parameters: sum(p.numel() for p in parameters if p.numel() > 1)),
        Mistake(
            "only two sides",
            "You multiply the first side and the last and pass over those between them, and a "
            "tensor with one side is no square. Multiply all sides, each once (section 7).",
            lambda parameters: sum(p.shape[0] * p.shape[-1] if p.dim() else 1
                                   for p in parameters)),
        Mistake(
            "the largest tensor",
            "You return the size of the largest tensor. Add up all of them (section 7).",
            lambda parameters: max(p.numel() for p in parameters)),
        Mistake(
            "only the first tensor",
            "You count the first tensor and stop. A return inside the loop ends it; add up, and "
            "return behind it (section 7).",
            lambda parameters: parameters[0].numel()),
        Mistake(
            "the numbers added",
            "You add up the values of the parameters. The question is how many there are "
            "(section 7).",
            lambda parameters: sum(p.sum().item() for p in parameters)),
    ), "all numbers of all shapes, single ones included")


EXERCISES = (TO_PIXELS, CHANCE, COUNT_PARAMETERS)
