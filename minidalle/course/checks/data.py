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
    """Sizes differ from call to call, and none is square or three; black and white are among the
    pixels."""
    B, H, wider = (int(torch.randint(n, (), generator=g)) for n in (4, 3, 3))
    pixels = torch.randint(256, (1 + B, 4 + H, 5 + H + wider, 3), generator=g, dtype=torch.uint8)
    pixels[0, 0, 0], pixels[-1, -1, -1] = 0, 255
    return (pixels,)


def dull_pixels(g: Generator) -> tuple:
    """Neither black nor white: nothing is there to stretch the range by. Three of everything, so
    that no shape gives a wrong order away."""
    return (torch.randint(60, 201, (3, 3, 3, 3), generator=g, dtype=torch.uint8),)


def every_byte(g: Generator) -> tuple:
    """One picture in which each byte occurs, in each colour; the same each time."""
    return (torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3).clone(),)


def in_order(name: str, shape: str, *order: int) -> Mistake:
    """The dimensions put in this order."""
    return Mistake(
        name, f"Your shape is {shape}. permute takes, for each place of the answer, the dimension "
        "of pixels that comes there: batch, colours, height, width (section 1).",
        lambda pixels: pixels.permute(order) / 127.5 - 1)


def stretched(pixels: Tensor) -> Tensor:
    x = pixels.permute(0, 3, 1, 2).float()
    return 2 * (x - x.min()) / (x.max() - x.min()) - 1


def standardised(pixels: Tensor) -> Tensor:
    x = pixels.permute(0, 3, 1, 2).float()
    return (x - x.mean()) / x.std()


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
        in_order("height and width moved, colours not yet in place", "(B,W,3,H)", 0, 2, 3, 1),
        in_order("colours between height and width", "(B,H,3,W)", 0, 1, 3, 2),
        in_order("colours before the batch", "(3,B,H,W)", 3, 0, 1, 2),
        Mistake(
            "from 0 to 2",
            "Your picture lies in [0, 2]. Subtract 1, so that black is -1 and white is 1 "
            "(section 1).",
            lambda pixels: images(pixels) + 1),
        Mistake(
            "divided by 126.5",
            "You subtract from the divisor, p / (127.5 - 1). Divide by 127.5 first, and subtract 1 "
            "from what comes out (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / (127.5 - 1)),
        Mistake(
            "a divisor of 128 round the middle",
            "You subtract 127.5 and divide by 128, so that black is -0.996 and not -1. Divide by "
            "127.5, too (section 1).",
            lambda pixels: (pixels.permute(0, 3, 1, 2) - 127.5) / 128),
        Mistake(
            "divided without a rest",
            "You divide by //, and only -1, 0 and 1 are left. / keeps what lies between them "
            "(section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) // 127.5 - 1),
        Mistake(
            "rounded",
            "You round to whole numbers, and only -1, 0 and 1 are left. The numbers stay floats "
            "(section 1).",
            lambda pixels: images(pixels).round()),
        Mistake(
            "the way back",
            "You compute 127.5 (x + 1), which makes bytes of numbers. Here bytes come in: "
            "p / 127.5 - 1 (section 1).",
            lambda pixels: 127.5 * (pixels.permute(0, 3, 1, 2) + 1.0)),
        Mistake(
            "still from 0 to 255",
            "You only move the colours. The numbers are still those of the bytes: bring them to "
            "[-1, 1] (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2).float()),
        Mistake(
            "standardised",
            "You subtract the mean of these pixels and divide by their spread, so that a byte "
            "means something else in each batch. Black is always -1, white always 1 (section 1).",
            standardised),
        Mistake(
            "divided by the brightest",
            "You divide by the brightest byte of the batch. Only 255 is 1, also in a batch that "
            "does not hold it (section 1).",
            lambda pixels: pixels.permute(0, 3, 1, 2) / pixels.max() * 2 - 1),
        Mistake(
            "upside down",
            "Your picture stands on its head. Height stays as it is: the first row is the top one "
            "(section 1).",
            lambda pixels: images(pixels.flip(1))),
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


def painted(paper_share, ink_share):
    """Paper and ink, each with a share of its own that is computed from the mask."""
    return lambda mask, ink, paper: (paper_share(mask[:, None]) * paper[:, :, None, None]
                                     + ink_share(mask[:, None]) * ink[:, :, None, None])


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
        Mistake(
            "viewed in place of permuted",
            "You paint with the colours last, and a view (or reshape) then scrambles them: it "
            "keeps the order in memory. Move the dimension with permute, or begin with (B,3,1,1) "
            "(section 2).",
            lambda mask, ink, paper: compose(mask, ink, paper).permute(0, 2, 3, 1).reshape(
                len(mask), 3, *mask.shape[1:])),
        Mistake(
            "the difference turned round",
            "You move from the paper away from the ink: paper + mask * (paper - ink). The way "
            "leads to the ink, ink - paper (section 2).",
            painted(lambda m: 1 + m, lambda m: -m)),
        Mistake(
            "ink subtracted",
            "You subtract the ink. Both are added, each with its share: mask, and 1 - mask "
            "(section 2).",
            painted(lambda m: 1 - m, lambda m: -m)),
        Mistake(
            "mask - 1",
            "Your paper has the share mask - 1, which is negative, and its colours are turned "
            "round. It is 1 - mask (section 2).",
            painted(lambda m: m - 1, lambda m: m)),
        Mistake(
            "the mask on both",
            "Ink and paper both get the mask, and where it is 0 nothing is painted. The share of "
            "the paper is 1 - mask (section 2).",
            painted(lambda m: m, lambda m: m)),
        Mistake(
            "the mask divided by 255",
            "You divide the mask by 255, but it lies in [0, 1] already: your ink is hardly seen "
            "(section 2).",
            lambda mask, ink, paper: compose(mask / 255, ink, paper)),
        Mistake(
            "the mask squared",
            "The mask comes in twice, as if squared, and soft edges get too thin. A mask of 0.5 is "
            "half ink and half paper (section 2).",
            lambda mask, ink, paper: compose(mask ** 2, ink, paper)),
        Mistake(
            "only full ink counts",
            "You turn the mask into whole numbers, and only where it is 1 is there ink. A mask of "
            "0.3 gives 0.3 ink and 0.7 paper (section 2).",
            lambda mask, ink, paper: compose(mask.floor(), ink, paper)),
        Mistake(
            "one mask for the whole batch",
            "You paint every picture through the mask of the first one. Picture b has mask[b] "
            "(section 2).",
            lambda mask, ink, paper: compose(mask[:1].expand_as(mask), ink, paper)),
        Mistake(
            "from 0 to 1",
            "You bring the picture to [0, 1]. The colours come in [-1, 1], and so does the answer "
            "(section 2).",
            lambda mask, ink, paper: (compose(mask, ink, paper) + 1) / 2),
    ), "ink through the mask, paper elsewhere, soft edges kept")


# ---- captions

def parse(caption: str) -> tuple[int, int, int]:
    """A caption of any template -> digit, ink, paper as numbers, in the order of COLOURS."""
    return WORDS.parse(caption)


def word_and_numeral(digit: int) -> tuple:
    """Two kinds of captions: with this digit as a word, and as a numeral. Over all digits, each
    colour is an ink and a paper, and each template has its turn."""
    def inputs(template, place, colour):
        def one(g: Generator) -> tuple:
            colours = drawn_colours(place, colour % len(COLOURS), g)
            return (WORDS.caption((digit, *colours), template),)
        return one
    return inputs(digit % 2 * 2, 0, digit), inputs(3 - digit % 2 * 2, 1, digit + 3)


def drawn_colours(place: int, colour: int, g: Generator) -> list[int]:
    """Ink and paper: this colour in the one place, and another in the other."""
    colours = 2 * [colour]
    colours[1 - place] = (colour + int(torch.randint(1, 8, (), generator=g))) % len(COLOURS)
    return colours


def said(caption: str):
    """This caption, each time."""
    return lambda g: (caption,)


# Each check holds every digit as a word and as a numeral, every colour as ink and as paper, black
# among them (whose number is 0, and so False), "one", in which there is an "on", and equal colours.
CAPTIONS = (
    *(inputs for digit in range(10) for inputs in word_and_numeral(digit)),
    said("a black 0 on white paper"),
    said("a white one on black"),
    said("a red seven on red"))


def parse_with(change):
    """Parse, then change(caption, digit, ink, paper)."""
    return lambda caption: change(caption, *parse(caption))


def colours_in_order(caption):
    names = [word for word in re.findall(r"\w+", caption) if word in COLOURS]
    return [list(COLOURS).index(name) for name in names]


def paper_first_if_named(caption, digit, ink, paper):
    first, second = colours_in_order(caption)
    return (digit, second, first) if "paper" in caption else (digit, first, second)


def paper_first_if_comma(caption, digit, ink, paper):
    first, second = colours_in_order(caption)
    return (digit, second, first) if "," in caption else (digit, first, second)


def colours_as_in_the_list(caption):
    """Whichever of COLOURS occur, in the order of COLOURS: the first and the last of them."""
    found = sorted(colours_in_order(caption))
    return found[0], found[-1]


def turned_if_paper_first(caption, digit, ink, paper):
    first, second = colours_as_in_the_list(caption)
    turned = caption.split()[1] == "paper,"
    return (digit, second, first) if turned else (digit, first, second)


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
        Mistake(
            "a comma taken for paper first",
            "You take the first colour for the paper wherever there is a comma. In \"the digit 7 "
            "in red, blue background\" it is the ink (section 3).",
            parse_with(paper_first_if_comma)),
        Mistake(
            "colours in the order of COLOURS",
            "You go through COLOURS and ask which of them occur, so that they come in the order of "
            "that list. Go through the words of the caption (section 3).",
            parse_with(lambda caption, digit, ink, paper:
                       (digit, *colours_as_in_the_list(caption)))),
        Mistake(
            "colours in the order of COLOURS, then turned",
            "You go through COLOURS and ask which of them occur, so that they come in the order of "
            "that list. Go through the words of the caption (section 3).",
            parse_with(turned_if_paper_first)),
        Mistake(
            "ink, digit, paper",
            "You give ink, digit, paper, as they stand in \"a red seven on blue\". The order of "
            "the answer is digit, ink, paper (section 3).",
            parse_with(lambda caption, digit, ink, paper: (ink, digit, paper))),
        Mistake(
            "paper, ink, digit",
            "You give the factors from the last to the first. The order is digit, ink, paper "
            "(section 3).",
            parse_with(lambda caption, digit, ink, paper: (paper, ink, digit))),
        Mistake(
            "numerals taken for 0",
            "You know the digits as words only, and take every numeral for 0. Two of the templates "
            "write \"7\": int(word) where word.isdigit() (section 3).",
            parse_with(lambda caption, digit, ink, paper:
                       (digit if DIGITS[digit] in caption.split() else 0, ink, paper))),
        Mistake(
            "words taken for 0",
            "You know the digits as numerals only, and take every word for 0. Two of the templates "
            "write \"seven\": its place in DIGITS is 7 (section 3).",
            parse_with(lambda caption, digit, ink, paper:
                       (digit if str(digit) in caption.split() else 0, ink, paper))),
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


def one_row(g: Generator) -> tuple:
    """A single row, held out: the answer is still a row of answers."""
    return (torch.tensor([[4, 3, 1]]),)


def rule(*weights: int):
    return lambda factors: (factors * torch.tensor(weights)).sum(dim=-1) % 10 == 0


def weighted(factors: Tensor) -> Tensor:
    return (factors * torch.tensor([1, 1, 3])).sum(dim=-1)


UNSEEN = Exercise(
    "data.is_unseen", LESSON, 1, is_unseen, (
        unseen_inputs, every_combination, three_rows, one_row), (
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
            "All three factors weigh the same with you. The weights are 1, 1 and 3, and the 3 "
            "belongs to the paper alone (section 5).",
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
            lambda factors: (factors[0] + factors[1] + 3 * factors[2]) % 10 == 0),
        Mistake(
            "the digit forgotten",
            "You leave out the digit, and so whole pairs of colours are held out. Only the "
            "combination of all three may be missing (section 5).",
            rule(0, 1, 3)),
        Mistake(
            "the remainder itself",
            "You return the remainder, a number from 0 to 9. Ask whether it is 0 (section 5).",
            lambda factors: weighted(factors) % 10),
        Mistake(
            "only a row of zeros",
            "You hold out nothing but 0, 0, 0. In digit + ink + 3 * paper % 10 the remainder is "
            "that of the last part alone: put brackets round the whole sum, then % (section 5).",
            lambda factors: factors[:, 0] + factors[:, 1] + 3 * factors[:, 2] % 10 == 0),
        Mistake(
            "how often ten goes in",
            "You ask whether ten goes into the sum 0 times (//): that holds for all sums below "
            "ten. Ask whether nothing is left, with % (section 5).",
            lambda factors: weighted(factors) // 10 == 0),
        Mistake(
            "the ink forgotten",
            "You leave out the ink. The sum is digit + ink + 3 paper (section 5).",
            rule(1, 0, 3)),
        Mistake(
            "the paper forgotten",
            "You leave out the paper. The sum is digit + ink + 3 paper (section 5).",
            rule(1, 1, 0)),
        Mistake(
            "the paper subtracted",
            "You subtract the paper. The sum is digit + ink + 3 paper (section 5).",
            rule(1, 1, -3)),
        Mistake(
            "equal colours counted as unseen",
            "You also hold out rows whose ink is the paper. The rule says nothing of them: ask for "
            "the sum alone (section 5).",
            lambda factors: data.is_unseen(factors) | (factors[:, 1] == factors[:, 2])),
        Mistake(
            "the sum 30 forgotten",
            "You leave out the sum 30. Sums reach 37, and 30 is divisible by ten, too "
            "(section 5).",
            lambda factors: data.is_unseen(factors) & (weighted(factors) < 30)),
        Mistake(
            "nothing is unseen",
            "You say False of every row. That is right nine times in ten, and of no unseen one "
            "(section 5).",
            lambda factors: torch.zeros(len(factors), dtype=torch.bool)),
    ), "a tenth of all combinations, by the rule")


EXERCISES = (IMAGES, COMPOSE, PARSE, UNSEEN)
