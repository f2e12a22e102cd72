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
    """Sizes differ from call to call; black and white are among the pixels."""
    B, H, W = (int(torch.randint(low, low + 4, (), generator=g)) for low in (1, 2, 3))
    pixels = torch.randint(256, (B, H, W, 3), generator=g, dtype=torch.uint8)
    pixels[0, 0, 0], pixels[-1, -1, -1] = 0, 255
    return (pixels,)


def dull_pixels(g: Generator) -> tuple:
    """Neither black nor white: nothing is there to stretch the range by. Three of everything, so
    that no shape gives a wrong order away."""
    return (torch.randint(60, 201, (3, 3, 3, 3), generator=g, dtype=torch.uint8),)


def every_byte(g: Generator) -> tuple:
    """One picture in which each byte occurs, in each colour; the same each time."""
    return (torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3).clone(),)


def stretched(pixels: Tensor) -> Tensor:
    x = pixels.permute(0, 3, 1, 2).float()
    return 2 * (x - x.min()) / (x.max() - x.min()) - 1


IMAGES = Exercise(
    "data.images", LESSON, 1, images, (images_inputs, dull_pixels, every_byte), (
        Mistake(
            "from 0 to 1",
            "Your picture lies in [0, 1]. Our models are fed numbers round zero: black is -1 and "
            "white is 1 (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 255),
        Mistake(
            "from -0.5 to 0.5",
            "Your picture lies in [-0.5, 0.5]. Stretch it to twice the range, so that black is -1 "
            "and white is 1 (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 255 - 0.5),
        Mistake(
            "divided by 128",
            "You divide by 128, so that white becomes 0.992 and not 1. The middle of 0 to 255 is "
            "127.5 (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 128 - 1),
        Mistake(
            "viewed in place of permuted",
            "The shape is right, but the pixels are scrambled: a view (or reshape) keeps the "
            "order in memory, in which red, green and blue take turns. Move the dimension "
            "instead (section 1).",
            lambda pixels: pixels.reshape(len(pixels), 3, *pixels.shape[1:3]) / 127.5 - 1),
        Mistake(
            "colour left in the last place",
            "Your shape is (B,H,W,3). PyTorch's layers want the colours before height and width "
            "(section 1).",
            lambda pixels: pixels / 127.5 - 1),
        Mistake(
            "height and width exchanged",
            "Your pictures lie on their side, (B,3,W,H). Only the colours move; height stays "
            "before width (section 1).",
            lambda pixels: pixels.permute(0, 3, 2, 1) / 127.5 - 1),
        Mistake(
            "computed in bytes",
            "You subtract while the pixels are still uint8, where 3 - 128 is 131: dark places "
            "turn bright. Make them float first (section 1).",
            lambda pixels: (pixels.permute(0, 3, 1, 2) - 128) / 127.5),
        Mistake(
            "doubled in bytes",
            "You double while the pixels are still uint8, where 2 * 200 is 144: bright places "
            "turn dark. Divide first, or make them float (section 1).",
            lambda pixels: 2 * pixels.permute(0, 3, 1, 2) / 255 - 1),
        Mistake(
            "the middle at 128",
            "You subtract 128: black becomes -1.004, white 0.996. The middle of 0 to 255 is "
            "127.5 (section 1).",
            lambda pixels: (pixels.permute(0, 3, 1, 2).float() - 128) / 127.5),
        Mistake(
            "divided by 127",
            "You divide by 127, so that white becomes 1.008. The middle of 0 to 255 is 127.5 "
            "(section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / 127 - 1),
        Mistake(
            "red and blue exchanged",
            "Your red is blue: the order of the colours is turned round (BGR). It stays red, "
            "green, blue (section 1).",
            lambda pixels: images(pixels.flip(3))),
        Mistake(
            "stretched",
            "You stretch each batch so that its darkest byte becomes -1 and its brightest 1. Only "
            "0 is -1 and only 255 is 1, also in a picture that holds neither (section 1).",
            stretched),
        Mistake(
            "dark turned bright",
            "Your sign is turned: black comes out as 1 and white as -1, a negative (section 1).",
            lambda pixels: -images(pixels)),
    ), "colours first, black at -1 and white at 1")


# ---- ink on paper

def compose(mask: Tensor, ink: Tensor, paper: Tensor) -> Tensor:
    """mask (B,H,W) in [0,1], ink and paper (B,3) -> images (B,3,H,W)."""
    return torch.lerp(paper[:, :, None, None], ink[:, :, None, None], mask[:, None])


def compose_inputs(g: Generator) -> tuple:
    """Sizes differ from call to call; much of the mask is 0 or 1, as in a glyph."""
    B, H, W = (int(torch.randint(low, low + 4, (), generator=g)) for low in (2, 3, 4))
    mask = (2 * torch.rand(B, H, W, generator=g) - 0.5).clamp(0, 1)
    ink, paper = 2 * torch.rand(2, B, 3, generator=g) - 1
    return mask, ink, paper


def faint_mask(g: Generator) -> tuple:
    """One picture in which no ink is full, none is missing and none is just half."""
    mask = torch.tensor([[0.1, 0.3, 0.45], [0.6, 0.7, 0.8]])
    ink, paper = 2 * torch.rand(2, 1, 3, generator=g) - 1
    return mask[None], ink, paper


def compose_threes(g: Generator) -> tuple:
    """Three pictures of 3 x 3 pixels: every wrong broadcast fits, and only the values tell."""
    ink, paper = 2 * torch.rand(2, 3, 3, generator=g) - 1
    return torch.rand(3, 3, 3, generator=g), ink, paper


COMPOSE = Exercise(
    "data.compose", LESSON, 2, compose, (
        compose_inputs, faint_mask, compose_threes), (
        Mistake(
            "ink and paper exchanged",
            "Your digit has the colour of the paper, on paper of ink. Where the mask is 1, ink is "
            "seen (section 2).",
            lambda mask, ink, paper: compose(1 - mask, ink, paper)),
        Mistake(
            "paper shines through",
            "You add ink to the paper and leave all of the paper there. Where the mask is 1, none "
            "of the paper is seen: its share is 1 - mask (section 2).",
            lambda mask, ink, paper: paper[:, :, None, None]
            + mask[:, None] * ink[:, :, None, None]),
        Mistake(
            "no paper",
            "You paint the ink, and leave the rest at 0, which is grey here. Paper takes what the "
            "mask leaves, 1 - mask (section 2).",
            lambda mask, ink, paper: mask[:, None] * ink[:, :, None, None]),
        Mistake(
            "mask turned into yes or no",
            "You round the mask to 0 or 1, and the edges of the digit become stairs. A mask of "
            "0.3 gives 0.3 ink and 0.7 paper (section 2).",
            lambda mask, ink, paper: compose((mask > 0.5).float(), ink, paper)),
        Mistake(
            "any ink is full ink",
            "You paint full ink wherever there is any. A mask of 0.3 gives 0.3 ink and 0.7 paper "
            "(section 2).",
            lambda mask, ink, paper: compose((mask > 0).float(), ink, paper)),
        Mistake(
            "ink everywhere",
            "You add all of the ink everywhere, and paper where the mask is 0. Ink has a share, "
            "too: it is the mask (section 2).",
            lambda mask, ink, paper: ink[:, :, None, None]
            + (1 - mask[:, None]) * paper[:, :, None, None]),
        Mistake(
            "no ink",
            "You paint the paper through the mask, and ink nowhere. Add mask times ink "
            "(section 2).",
            lambda mask, ink, paper: (1 - mask[:, None]) * paper[:, :, None, None]),
        Mistake(
            "the mask ignored",
            "You halve: each of ink and paper has the same share everywhere. The mask says how "
            "much of which (section 2).",
            lambda mask, ink, paper: ((ink + paper) / 2)[:, :, None, None].expand(
                -1, -1, *mask.shape[1:])),
        Mistake(
            "height and width exchanged",
            "Your pictures lie on their side. mask[:, None] puts the colours in front and leaves "
            "height before width (section 2).",
            lambda mask, ink, paper: compose(mask, ink, paper).mT),
        Mistake(
            "clamped to [0, 1]",
            "You clamp to [0, 1], and all that is darker than grey is lost. Here black is -1 "
            "(section 2).",
            lambda mask, ink, paper: compose(mask, ink, paper).clamp(0, 1)),
        Mistake(
            "one colour for the whole batch",
            "You paint every picture in the colours of the first one. Picture b has ink[b] and "
            "paper[b] (section 2).",
            lambda mask, ink, paper: compose(mask, ink[:1].expand_as(ink),
                                             paper[:1].expand_as(paper))),
        Mistake(
            "colour in the last place",
            "Your shape is (B,H,W,3). Put the colours in front: ink as (B,3,1,1), mask as "
            "(B,1,H,W) (section 2).",
            lambda mask, ink, paper: compose(mask, ink, paper).permute(0, 2, 3, 1)),
    ), "ink through the mask, paper elsewhere, soft edges kept")


# ---- captions

def parse(caption: str) -> tuple[int, int, int]:
    """A caption of any template -> digit, ink, paper as numbers, in the order of COLOURS."""
    return WORDS.parse(caption)


def caption_inputs(template: int, digits: range, colours: tuple[str, str]):
    """Captions of one template, with one of these digits, and these colours in either order."""
    def inputs(g: Generator) -> tuple:
        two = [list(COLOURS).index(name) for name in colours]
        ink, paper = (two[i] for i in torch.randperm(2, generator=g).tolist())
        digit = digits[int(torch.randint(len(digits), (), generator=g))]
        return (WORDS.caption((digit, ink, paper), template),)
    return inputs


def said(caption: str):
    """This caption, each time."""
    return lambda g: (caption,)


# Each check holds every colour, zero as a word and as a numeral, black as ink and as paper (whose
# numbers are 0, and so False), and "one", in which there is an "on".
CAPTIONS = (
    caption_inputs(0, range(10), ("red", "green")),
    caption_inputs(1, range(1, 10), ("blue", "yellow")),
    caption_inputs(2, range(1), ("pink", "cyan")),
    said("a black 0 on white paper"),
    said("a white one on black"))


def parse_with(change):
    """Parse, then change(caption, digit, ink, paper)."""
    return lambda caption: change(caption, *parse(caption))


def colours_in_order(caption):
    names = [word for word in re.findall(r"\w+", caption) if word in COLOURS]
    return [list(COLOURS).index(name) for name in names]


def paper_first_if_named(caption, digit, ink, paper):
    first, second = colours_in_order(caption)
    return (digit, second, first) if "paper" in caption else (digit, first, second)


def first_colour_is_ink(caption, digit, ink, paper):
    return digit, *colours_in_order(caption)


def alphabetical(colour: int) -> int:
    return sorted(COLOURS).index(list(COLOURS)[colour])


PARSE = Exercise(
    "data.parse", LESSON, 2, parse, CAPTIONS, (
        Mistake(
            "the first colour is the ink",
            "You take the first colour for the ink. In \"blue paper, a red seven\" the paper "
            "comes first: what stands around a colour says which it is (section 3).",
            parse_with(first_colour_is_ink)),
        Mistake(
            "ink and paper exchanged",
            "You exchange ink and paper, perhaps only in the answer: its order is digit, ink, "
            "paper (section 3).",
            parse_with(lambda caption, digit, ink, paper: (digit, paper, ink))),
        Mistake(
            "the word paper taken for paper first",
            "You take the first colour for the paper wherever the word paper occurs. In \"a red 7 "
            "on blue paper\" it stands last: look at what it stands beside (section 3).",
            parse_with(paper_first_if_named)),
        Mistake(
            "colours counted from 1",
            "Your colours are one too large. Their numbers begin at 0, as in a list "
            "(section 3).",
            parse_with(lambda caption, digit, ink, paper: (digit, ink + 1, paper + 1))),
        Mistake(
            "factors in another order",
            "You give the colours first and the digit last. The order is digit, ink, paper "
            "(section 3).",
            parse_with(lambda caption, digit, ink, paper: (ink, paper, digit))),
        Mistake(
            "the digit as text",
            "Your digit is a text. Number words by their place in DIGITS, and int(\"7\") is 7 "
            "(section 3).",
            parse_with(lambda caption, digit, ink, paper: (
                DIGITS[digit] if DIGITS[digit] in caption else str(digit), ink, paper))),
        Mistake(
            "digits counted from 1",
            "Your digits are one too large. Zero is a digit, and its number is 0 (section 3).",
            parse_with(lambda caption, digit, ink, paper: (digit + 1, ink, paper))),
        Mistake(
            "colours in alphabetical order",
            "You number the colours by the alphabet. Their numbers follow the order of COLOURS "
            "(section 3).",
            parse_with(lambda caption, digit, ink, paper:
                       (digit, alphabetical(ink), alphabetical(paper)))),
        Mistake(
            "words in place of numbers",
            "You return the words. The answer is three numbers: the place of each word in DIGITS "
            "or COLOURS (section 3).",
            parse_with(lambda caption, digit, ink, paper:
                       (DIGITS[digit], list(COLOURS)[ink], list(COLOURS)[paper]))),
    ), "the factors of every template, whichever colour comes first")


# ---- what is held out

def is_unseen(factors: Tensor) -> Tensor:
    """factors (N,3), digit, ink, paper -> (N,) bool: digit + ink + 3 paper divisible by ten."""
    return data.is_unseen(factors)


def unseen_inputs(g: Generator) -> tuple:
    """Many rows, of which a tenth is held out; how many differs from call to call."""
    rows = int(torch.randint(80, 160, (), generator=g))
    return ((torch.rand(rows, 3, generator=g) * torch.tensor([10, 8, 8])).long(),)


def every_combination(g: Generator) -> tuple:
    """All 640 rows that can be written, in random order: no wrong rule hides among them."""
    rows = torch.cartesian_prod(torch.arange(10), torch.arange(8), torch.arange(8))
    return (rows[torch.randperm(len(rows), generator=g)],)


def three_rows(g: Generator) -> tuple:
    """As many rows as columns, one of them held out, one with equal colours: rows and columns can
    be mistaken for each other."""
    return (torch.tensor([[7, 0, 1], [2, 5, 0], [2, 2, 2]]),)


def rule(*weights: int):
    return lambda factors: (factors * torch.tensor(weights)).sum(dim=-1) % 10 == 0


def weighted(factors: Tensor) -> Tensor:
    return (factors * torch.tensor([1, 1, 3])).sum(dim=-1)


UNSEEN = Exercise(
    "data.is_unseen", LESSON, 1, is_unseen, (
        unseen_inputs, every_combination, three_rows), (
        Mistake(
            "seen in place of unseen",
            "Your answer is turned round: nine tenths are held out. The rule names the unseen "
            "ones, and a remainder of 0 is False as a bool (section 5).",
            lambda factors: ~data.is_unseen(factors)),
        Mistake(
            "ink and paper exchanged",
            "You give ink and paper each other's weight. The columns are digit, ink, paper, and "
            "the weights 1, 1, 3 (section 5).",
            rule(1, 3, 1)),
        Mistake(
            "without weights",
            "You add the factors as they are. The weights 1, 1 and 3 spread the holes over all "
            "digits and colours (section 5).",
            rule(1, 1, 1)),
        Mistake(
            "the first rule of this course",
            "You take the weights 1, 3 and 4, with which each ink has either only even digits held "
            "out or only odd ones. The weights are 1, 1 and 3 (section 5).",
            rule(1, 3, 4)),
        Mistake(
            "the weight on the digit",
            "You multiply the digit by 3. The weight 3 belongs to the paper, the last column "
            "(section 5).",
            rule(3, 1, 1)),
        Mistake(
            "only the sum ten",
            "You ask whether the sum is 10. All multiples of ten count: 0, 10, 20 and 30 "
            "(section 5).",
            lambda factors: weighted(factors) == 10),
        Mistake(
            "the sum 0 forgotten",
            "You leave out the sum 0. It is divisible by ten too: 0 % 10 is 0 (section 5).",
            lambda factors: data.is_unseen(factors) & (weighted(factors) > 0)),
        Mistake(
            "equal colours left out",
            "You leave out rows whose ink is the paper. There are none in the data, and the rule "
            "says nothing of them: ask for the sum alone (section 5).",
            lambda factors: data.is_unseen(factors) & (factors[:, 1] != factors[:, 2])),
        Mistake(
            "divisible by five",
            "You hold out a fifth: sums that end in 5 as well. The rule says divisible by 10 "
            "(section 5).",
            lambda factors: weighted(factors) % 5 == 0),
        Mistake(
            "rows in place of columns",
            "You add the first three rows. A row is one combination; its digit is factors[:, 0] "
            "(section 5).",
            lambda factors: data.is_unseen(factors.T[:, :3])),
        Mistake(
            "the digit forgotten",
            "You leave out the digit, and so whole pairs of colours are held out. Only the "
            "combination of all three may be missing (section 5).",
            rule(0, 1, 3)),
        Mistake(
            "the remainder itself",
            "You return the remainder, a number from 0 to 9. Ask whether it is 0 (section 5).",
            lambda factors: weighted(factors) % 10),
    ), "a tenth of all combinations, by the rule")


EXERCISES = (IMAGES, COMPOSE, PARSE, UNSEEN)
