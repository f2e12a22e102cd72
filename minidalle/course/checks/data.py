r"""The exercises of lesson 01: pictures as tensors, captions as factors.

in -> out   EXERCISES: images, compose, parse, is_unseen
idea        The slips here are those of layout and range (colour last, 0 to 255), and they give
            pictures that look nearly right.
"""
import re

import torch
from torch import Generator, Tensor

from minidalle import data
from minidalle.course.checks import Exercise, Mistake
from minidalle.data import COLOURS, DIGIT_TEMPLATES, DIGITS, Grammar

LESSON = "01_data"
WORDS = Grammar(("digit", "ink", "paper"), (DIGITS, tuple(COLOURS), tuple(COLOURS)),
                DIGIT_TEMPLATES)


# ---- from bytes to numbers

def images(pixels: Tensor) -> Tensor:
    """pixels (B,H,W,3) uint8, 0 to 255 -> images (B,3,H,W) in [-1,1]."""
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


def images_inputs(g: Generator) -> tuple:
    """Twice as high as wide, with black and white among the pixels."""
    pixels = torch.randint(256, (2, 6, 4, 3), generator=g, dtype=torch.uint8)
    pixels[0, 0, 0], pixels[1, 5, 3] = 0, 255
    return (pixels,)


IMAGES = Exercise(
    "data.images", LESSON, 1, images, (images_inputs,), (
        Mistake(
            "from 0 to 1",
            "Your picture lies in [0, 1]. Our models are fed numbers round zero: black is -1 and "
            "white is 1.",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 255),
        Mistake(
            "from -0.5 to 0.5",
            "Your picture lies in [-0.5, 0.5]. Stretch it to twice the range, so that black is -1 "
            "and white is 1.",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 255 - 0.5),
        Mistake(
            "divided by 128",
            "You divide by 128, so that white becomes 0.992 and not 1. The middle of 0 to 255 is "
            "127.5.",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 128 - 1),
        Mistake(
            "viewed in place of permuted",
            "The shape is right, but the pixels are scrambled: a view (or reshape) keeps the "
            "order in memory, in which red, green and blue take turns. Move the dimension "
            "instead.",
            lambda pixels: pixels.reshape(len(pixels), 3, *pixels.shape[1:3]) / 127.5 - 1),
        Mistake(
            "colour left in the last place",
            "Your shape is (B,H,W,3). PyTorch's layers want the colours before height and width.",
            lambda pixels: pixels / 127.5 - 1),
        Mistake(
            "height and width exchanged",
            "Your pictures lie on their side, (B,3,W,H). Only the colours move; height stays "
            "before width.",
            lambda pixels: pixels.permute(0, 3, 2, 1) / 127.5 - 1),
        Mistake(
            "computed in bytes",
            "You subtract while the pixels are still uint8, where 3 - 128 is 131: dark places "
            "turn bright. Make them float first.",
            lambda pixels: (pixels.permute(0, 3, 1, 2) - 128) / 127.5),
    ), "colours first, black at -1 and white at 1")


# ---- ink on paper

def compose(mask: Tensor, ink: Tensor, paper: Tensor) -> Tensor:
    """mask (B,H,W) in [0,1], ink and paper (B,3) -> images (B,3,H,W)."""
    return torch.lerp(paper[:, :, None, None], ink[:, :, None, None], mask[:, None])


def compose_inputs(g: Generator) -> tuple:
    """B, H, W and 3 all differ; much of the mask is 0 or 1, as in a glyph."""
    mask = (2 * torch.rand(2, 5, 4, generator=g) - 0.5).clamp(0, 1)
    ink, paper = 2 * torch.rand(2, 2, 3, generator=g) - 1
    return mask, ink, paper


COMPOSE = Exercise(
    "data.compose", LESSON, 2, compose, (compose_inputs,), (
        Mistake(
            "ink and paper exchanged",
            "Your digit has the colour of the paper, on paper of ink. Where the mask is 1, ink is "
            "seen.",
            lambda mask, ink, paper: compose(1 - mask, ink, paper)),
        Mistake(
            "paper shines through",
            "You add ink to the paper and leave all of the paper there. Where the mask is 1, none "
            "of the paper is seen: its share is 1 - mask.",
            lambda mask, ink, paper: paper[:, :, None, None]
            + mask[:, None] * ink[:, :, None, None]),
        Mistake(
            "no paper",
            "You paint the ink, and leave the rest at 0, which is grey here. Paper takes what the "
            "mask leaves, 1 - mask.",
            lambda mask, ink, paper: mask[:, None] * ink[:, :, None, None]),
        Mistake(
            "mask turned into yes or no",
            "You round the mask to 0 or 1, and the edges of the digit become stairs. A mask of "
            "0.3 gives 0.3 ink and 0.7 paper.",
            lambda mask, ink, paper: compose((mask > 0.5).float(), ink, paper)),
        Mistake(
            "one colour for the whole batch",
            "You paint every picture in the colours of the first one. Picture b has ink[b] and "
            "paper[b].",
            lambda mask, ink, paper: compose(mask, ink[:1].expand_as(ink),
                                             paper[:1].expand_as(paper))),
        Mistake(
            "colour in the last place",
            "Your shape is (B,H,W,3). Put the colours in front: ink as (B,3,1,1), mask as "
            "(B,1,H,W).",
            lambda mask, ink, paper: compose(mask, ink, paper).permute(0, 2, 3, 1)),
    ), "ink through the mask, paper elsewhere, soft edges kept")


# ---- captions

def parse(caption: str) -> tuple[int, int, int]:
    """A caption of any template -> digit, ink, paper as numbers, in the order of COLOURS."""
    return WORDS.parse(caption)


def caption_inputs(template: int):
    """Captions of one template."""
    def inputs(g: Generator) -> tuple:
        ink, paper = torch.randperm(len(COLOURS), generator=g)[:2].tolist()
        digit = int(torch.randint(10, (), generator=g))
        return (WORDS.caption((digit, ink, paper), template),)
    return inputs


def parse_with(change):
    """Parse, then change(caption, digit, ink, paper)."""
    return lambda caption: change(caption, *parse(caption))


def first_colour_is_ink(caption, digit, ink, paper):
    names = [word for word in re.findall(r"\w+", caption) if word in COLOURS]
    return digit, *(list(COLOURS).index(name) for name in names)


def alphabetical(colour: int) -> int:
    return sorted(COLOURS).index(list(COLOURS)[colour])


PARSE = Exercise(
    "data.parse", LESSON, 2, parse, tuple(map(caption_inputs, range(len(DIGIT_TEMPLATES)))), (
        Mistake(
            "the first colour is the ink",
            "You take the first colour for the ink. In \"blue paper, a red seven\" the paper "
            "comes first: what stands around a colour says which it is.",
            parse_with(first_colour_is_ink)),
        Mistake(
            "ink and paper exchanged",
            "You exchange ink and paper, perhaps only in the answer: its order is digit, ink, "
            "paper.",
            parse_with(lambda caption, digit, ink, paper: (digit, paper, ink))),
        Mistake(
            "digits counted from 1",
            "Your digits are one too large. Zero is a digit, and its number is 0.",
            parse_with(lambda caption, digit, ink, paper: (digit + 1, ink, paper))),
        Mistake(
            "colours in alphabetical order",
            "You number the colours by the alphabet. Their numbers follow the order of COLOURS.",
            parse_with(lambda caption, digit, ink, paper:
                       (digit, alphabetical(ink), alphabetical(paper)))),
        Mistake(
            "words in place of numbers",
            "You return the words. The answer is three numbers: the place of each word in DIGITS "
            "or COLOURS.",
            parse_with(lambda caption, digit, ink, paper:
                       (DIGITS[digit], list(COLOURS)[ink], list(COLOURS)[paper]))),
    ), "the factors of every template, whichever colour comes first")


# ---- what is held out

def is_unseen(factors: Tensor) -> Tensor:
    """factors (N,3), digit, ink, paper -> (N,) bool: digit + ink + 3 paper divisible by ten."""
    return data.is_unseen(factors)


def unseen_inputs(g: Generator) -> tuple:
    """Many rows, of which a tenth is held out."""
    highest = torch.tensor([10, 8, 8])
    return ((torch.rand(150, 3, generator=g) * highest).long(),)


def rule(*weights: int):
    return lambda factors: (factors * torch.tensor(weights)).sum(dim=-1) % 10 == 0


UNSEEN = Exercise(
    "data.is_unseen", LESSON, 1, is_unseen, (unseen_inputs,), (
        Mistake(
            "seen in place of unseen",
            "Your answer is turned round: nine tenths are held out. The rule names the unseen "
            "ones, and a remainder of 0 is False as a bool.",
            lambda factors: ~data.is_unseen(factors)),
        Mistake(
            "ink and paper exchanged",
            "You give ink and paper each other's weight. The columns are digit, ink, paper, and "
            "the weights 1, 1, 3.",
            rule(1, 3, 1)),
        Mistake(
            "without weights",
            "You add the factors as they are. The weights 1, 1 and 3 spread the holes over all "
            "digits and colours.",
            rule(1, 1, 1)),
        Mistake(
            "the digit forgotten",
            "You leave out the digit, and so whole pairs of colours are held out. Only the "
            "combination of all three may be missing.",
            rule(0, 1, 3)),
        Mistake(
            "the remainder itself",
            "You return the remainder, a number from 0 to 9. Ask whether it is 0.",
            lambda factors: (factors * torch.tensor([1, 1, 3])).sum(dim=-1) % 10),
    ), "a tenth of all combinations, by the rule")


EXERCISES = (IMAGES, COMPOSE, PARSE, UNSEEN)
