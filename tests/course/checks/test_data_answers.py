"""Lesson 01's exercises: right answers as they are met pass, wrong ones never do."""
import re

import numpy
import pytest
import torch

from minidalle.course.checks import find, judge
from minidalle.data import COLOURS, DIGITS

SEEDS = range(30)
NAMES = list(COLOURS)


# ---- captions, by words

def words_of(caption):
    return re.findall(r"\w+", caption)


def colours_of(caption):
    return [NAMES.index(word) for word in words_of(caption) if word in NAMES]


def digit_of(caption):
    return next(int(w) if w.isdigit() else DIGITS.index(w) for w in words_of(caption)
                if w.isdigit() or w in DIGITS)


def by_patterns(caption):
    colour, digit = "|".join(NAMES), "|".join((*DIGITS, "[0-9]"))
    for pattern in (rf"a (?P<i>{colour}) (?P<d>{digit}) on (?P<p>{colour})( paper)?",
                    rf"the digit (?P<d>{digit}) in (?P<i>{colour}), (?P<p>{colour}) background",
                    rf"(?P<p>{colour}) paper, a (?P<i>{colour}) (?P<d>{digit})"):
        if found := re.fullmatch(pattern, caption):
            return digit_of(found["d"]), NAMES.index(found["i"]), NAMES.index(found["p"])


def by_the_comma(caption):
    first, second = colours_of(caption)
    turned = "," in caption and "paper" in caption.split(",")[0]
    return (digit_of(caption), second, first) if turned else (digit_of(caption), first, second)


def split_at_on(caption):
    """'on' is found inside 'one'."""
    first, second = colours_of(caption)
    if "on" in caption and "paper," not in caption:
        ink, paper = caption.split("on")[:2]
        return digit_of(caption), colours_of(ink)[0], colours_of(paper)[0]
    return by_the_comma(caption)


def truthy(caption):
    """0 is False."""
    digit, ink, paper = by_the_comma(caption)
    return digit or None, ink, paper


def truthy_ink(caption):
    digit, ink, paper = by_the_comma(caption)
    return digit, ink or paper, paper


def words_only(caption):
    digit = next((DIGITS.index(w) for w in words_of(caption) if w in DIGITS), 0)
    return digit, *by_the_comma(caption)[1:]


def numerals_only(caption):
    digit = next((int(w) for w in words_of(caption) if w.isdigit()), 0)
    return digit, *by_the_comma(caption)[1:]


def without(colour):
    def parse(caption):
        digit, *colours = by_the_comma(caption)
        return digit, *(0 if NAMES[i] == colour else i for i in colours)
    return parse


def misread(number, as_word):
    """One digit is wrong, and only where it is a word, or only where it is a numeral."""
    def parse(caption):
        digit, ink, paper = by_the_comma(caption)
        wrong = digit == number and as_word == (DIGITS[number] in caption)
        return (digit + 1) % 10 if wrong else digit, ink, paper
    return parse


def miscoloured(number, place):
    """One colour is wrong, and only as the ink, or only as the paper."""
    def parse(caption):
        factors = list(by_the_comma(caption))
        factors[place] = (number + 1) % 8 if factors[place] == number else factors[place]
        return factors
    return parse


def listed(caption):
    found = [i for i, name in enumerate(NAMES) if name in caption]
    return found[0], found[-1]


def equal_colours_once(caption):
    digit, ink, paper = by_the_comma(caption)
    return (digit, ink, paper) if ink != paper else (digit, ink)


# ---- pictures

def looped(mask, ink, paper):
    pictures = [[m * i + (1 - m) * p for i, p in zip(inks, papers)]
                for m, inks, papers in zip(mask, ink, paper)]
    return torch.stack([torch.stack(planes) for planes in pictures])


def broadcast(mask, ink, paper):
    """The colours are laid along the rows: runs where all sides are equal."""
    return (mask[:, None] * ink + (1 - mask[:, None]) * paper).expand(-1, 3, -1, -1)


def colours_turned(mask, ink, paper):
    return looped(mask, ink.flip(1), paper.flip(1))


def weighted(f):
    return f[:, 0] + f[:, 1] + 3 * f[:, 2]


RIGHT = [
    ("images", lambda p: p.float().permute(0, 3, 1, 2) * 2 / 255 - 1),
    ("images", lambda p: (p.movedim(-1, 1).float() - 127.5) / 127.5),
    ("images", lambda p: torch.stack([x.permute(2, 0, 1) / 255 for x in p]) * 2 - 1),
    ("images", lambda p: torch.from_numpy(numpy.moveaxis(p.numpy(), 3, 1) / 127.5 - 1).float()),
    ("images", lambda p: p.double().permute(0, 3, 1, 2).div(127.5).sub(1).float()),
    ("images", lambda p: torch.einsum("bhwc->bchw", p / 127.5 - 1)),
    ("compose", looped),
    ("compose", lambda m, i, p: torch.einsum("bhw,bc->bchw", m, i)
     + torch.einsum("bhw,bc->bchw", 1 - m, p)),
    ("compose", lambda m, i, p: p[..., None, None] + m[:, None] * (i - p)[..., None, None]),
    ("compose", lambda m, i, p: torch.lerp(p[:, :, None, None], i[:, :, None, None],
                                           m.unsqueeze(1))),
    ("compose", lambda m, i, p: looped(m.double(), i.double(), p.double()).float()),
    ("compose", lambda m, i, p: (m[..., None] * i[:, None, None]
                                 + (1 - m[..., None]) * p[:, None, None]).permute(0, 3, 1, 2)),
    ("parse", by_patterns),
    ("parse", by_the_comma),
    ("parse", lambda c: list(by_the_comma(c))),
    ("is_unseen", lambda f: torch.remainder(weighted(f), 10).eq(0)),
    ("is_unseen", lambda f: ~((f @ torch.tensor([1, 1, 3])) % 10).bool()),
    ("is_unseen", lambda f: torch.tensor([(d + i + 3 * p) % 10 == 0 for d, i, p in f.tolist()])),
    ("is_unseen", lambda f: torch.isin(weighted(f), torch.tensor([0, 10, 20, 30]))),
    ("is_unseen", lambda f: torch.from_numpy(f.numpy() @ numpy.array([1, 1, 3]) % 10 == 0)),
]

WRONG = [                      # (exercise, its mistake's name or None, what somebody wrote)
    ("images", "from 0 to 1", lambda p: p.movedim(3, 1).float() / 255),
    ("images", "divided by 128", lambda p: (p.float().movedim(3, 1) - 128) / 128),
    ("images", "the middle at 128", lambda p: p.float().movedim(3, 1) / 127.5 - 128 / 127.5),
    ("images", "divided by 127", lambda p: p.movedim(3, 1).float().div(127).sub(1)),
    ("images", "red and blue exchanged", lambda p: p[..., [2, 1, 0]].movedim(3, 1) / 127.5 - 1),
    ("images", "doubled in bytes", lambda p: (p.movedim(3, 1) * 2) / 255 - 1),
    ("images", "dark turned bright", lambda p: 1 - p.movedim(3, 1) / 127.5),
    ("images", "height and width exchanged", lambda p: p.transpose(1, 3) / 127.5 - 1),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1)[:1]),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1).squeeze(0)),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1).round(decimals=2)),
    ("images", "divided by the brightest", lambda p: p.movedim(3, 1) / p.max() * 2 - 1),
    ("images", "upside down", lambda p: (p.movedim(3, 1) / 127.5 - 1).flip(2)),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1).clamp(-0.99, 0.99)),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1).byte()),
    ("images", "divided without a rest", lambda p: p.movedim(3, 1) // 127.5 - 1),
    ("images", None, lambda p: (p.movedim(3, 1) / 127.5 - 1).numpy()),
    ("images", "standardised",
     lambda p: (p.movedim(3, 1).float() - p.float().mean()) / p.float().std()),
    ("images", "height and width moved, colours not yet in place",
     lambda p: p.movedim(1, 3) / 127.5 - 1),
    ("images", "colours between height and width", lambda p: p.transpose(2, 3) / 127.5 - 1),
    ("images", "colours before the batch", lambda p: p.movedim(3, 0) / 127.5 - 1),
    ("images", "from 0 to 2", lambda p: p.movedim(3, 1).float().div(127.5)),
    ("images", "divided by 126.5", lambda p: p.movedim(3, 1) / 126.5),
    ("images", "a divisor of 128 round the middle",
     lambda p: p.movedim(3, 1).float().sub(127.5).div(128)),
    ("images", "rounded", lambda p: torch.round(p.movedim(3, 1) / 127.5 - 1)),
    ("images", "the way back", lambda p: 127.5 * p.movedim(3, 1).float() + 127.5),
    ("images", "still from 0 to 255", lambda p: p.movedim(3, 1) * 1.0),
    ("images", None, lambda p: p.movedim(3, 1).reshape(len(p), 3, p.shape[1], -1)[
        ..., :p.shape[1]] / 127.5 - 1),
    ("images", None, lambda p: p.movedim(3, 1).reshape(2, 3, 6, 4) / 127.5 - 1),
    ("compose", "ink and paper exchanged",
     lambda m, i, p: looped(m, p, i)),
    ("compose", "any ink is full ink", lambda m, i, p: looped((m != 0) * 1.0, i, p)),
    ("compose", "mask turned into yes or no", lambda m, i, p: looped(m.round(), i, p)),
    ("compose", "ink everywhere", lambda m, i, p: looped(m, 0 * p, p) + i[:, :, None, None]),
    ("compose", "colour in the last place", lambda m, i, p: looped(m, i, p).movedim(1, 3)),
    ("compose", "clamped to [0, 1]", lambda m, i, p: looped(m, i, p).clamp(0, 1)),
    ("compose", "height and width exchanged", lambda m, i, p: looped(m.mT, i, p)),
    ("compose", None, broadcast),
    ("compose", None, colours_turned),
    ("compose", "the mask squared", lambda m, i, p: looped(m * m, i, p)),
    ("compose", None, lambda m, i, p: looped(m / m.max(), i, p)),
    ("compose", None, lambda m, i, p: looped((m - m.min()) / (m.max() - m.min()), i, p)),
    ("compose", None, lambda m, i, p: looped((m > 0.25) * 1.0, i, p)),
    ("compose", None, lambda m, i, p: looped(m, i, p)[:2]),
    ("compose", None, lambda m, i, p: looped(m, i[-1:].expand_as(i), p[-1:].expand_as(p))),
    ("compose", None, lambda m, i, p: looped(m, i, p[:1].expand_as(p))),
    ("compose", None, lambda m, i, p: looped(m, i.roll(1, 0), p)),
    ("compose", None, lambda m, i, p: looped(m, i, p).mean(1, keepdim=True).expand(-1, 3, -1, -1)),
    ("compose", "viewed in place of permuted",
     lambda m, i, p: looped(m, i, p).movedim(1, 3).reshape(len(m), 3, *m.shape[1:])),
    ("compose", "the difference turned round",
     lambda m, i, p: p[..., None, None] + m[:, None] * (p - i)[..., None, None]),
    ("compose", "ink subtracted", lambda m, i, p: looped(m, -i, p)),
    ("compose", "mask - 1", lambda m, i, p: looped(m, i, -p)),
    ("compose", "the mask on both", lambda m, i, p: m[:, None] * (i + p)[..., None, None]),
    ("compose", "the mask divided by 255", lambda m, i, p: looped(m / 255, i, p)),
    ("compose", "only full ink counts", lambda m, i, p: looped(m.int().float(), i, p)),
    ("compose", "one mask for the whole batch", lambda m, i, p: looped(m[:1].repeat(
        len(m), 1, 1), i, p)),
    ("compose", "from 0 to 1", lambda m, i, p: looped(m, i, p) * 0.5 + 0.5),
    ("parse", "the first colour is the ink", lambda c: (digit_of(c), *colours_of(c))),
    ("parse", "the word paper taken for paper first",
     lambda c: (digit_of(c), *colours_of(c)[::-1 if "paper" in c else 1])),
    ("parse", "colours counted from 1",
     lambda c: tuple(n + (k > 0) for k, n in enumerate(by_the_comma(c)))),
    ("parse", None, split_at_on),
    ("parse", None, truthy),
    ("parse", None, truthy_ink),
    ("parse", "numerals taken for 0", words_only),
    ("parse", "words taken for 0", numerals_only),
    ("parse", "a comma taken for paper first",
     lambda c: (digit_of(c), *colours_of(c)[::-1 if "," in c else 1])),
    ("parse", "colours in the order of COLOURS", lambda c: (digit_of(c), *listed(c))),
    ("parse", "colours in the order of COLOURS, then turned",
     lambda c: (digit_of(c), *listed(c)[::-1 if c.split()[1] == "paper," else 1])),
    ("parse", "ink, digit, paper", lambda c: tuple(by_the_comma(c)[k] for k in (1, 0, 2))),
    ("parse", "paper, ink, digit", lambda c: by_the_comma(c)[::-1]),
    ("parse", None, equal_colours_once),
    ("parse", None, lambda c: " ".join(map(str, by_the_comma(c)))),
    ("parse", None, lambda c: torch.tensor(by_the_comma(c))),
    ("parse", None, lambda c: (7, 2, 4)),
    ("parse", None, lambda c: (digit_of(c), *colours_of(c)[:1])),
    *[("parse", None, without(colour)) for colour in NAMES[1:]],
    *[("parse", None, misread(digit, as_word)) for digit in range(10) for as_word in (True, False)],
    *[("parse", None, miscoloured(i, place)) for i in range(8) for place in (1, 2)],
    ("is_unseen", "the first rule of this course",
     lambda f: (f[:, 0] + 3 * f[:, 1] + 4 * f[:, 2]) % 10 == 0),
    ("is_unseen", "ink and paper exchanged",
     lambda f: (f[:, 0] + 3 * f[:, 1] + f[:, 2]) % 10 == 0),
    ("is_unseen", "only the sum ten", lambda f: weighted(f).eq(10)),
    ("is_unseen", "equal colours left out",
     lambda f: (weighted(f) % 10 == 0) & ~(f[:, 1] == f[:, 2])),
    ("is_unseen", "rows in place of columns", lambda f: (f[0] + f[1] + 3 * f[2]) % 10 == 0),
    ("is_unseen", "seen in place of unseen", lambda f: (weighted(f) % 10).bool()),
    ("is_unseen", "the sum 0 forgotten",
     lambda f: torch.isin(weighted(f), torch.tensor([10, 20, 30]))),
    ("is_unseen", "the sum 30 forgotten",
     lambda f: torch.isin(weighted(f), torch.tensor([0, 10, 20]))),
    ("is_unseen", "only a row of zeros",
     lambda f: f[:, 0] + f[:, 1] + (3 * f[:, 2]) % 10 == 0),
    ("is_unseen", "how often ten goes in", lambda f: weighted(f) < 10),
    ("is_unseen", "the ink forgotten", lambda f: (f[:, 0] + 3 * f[:, 2]) % 10 == 0),
    ("is_unseen", "the paper forgotten", lambda f: f[:, :2].sum(1) % 10 == 0),
    ("is_unseen", "the paper subtracted", lambda f: (weighted(f) - 6 * f[:, 2]) % 10 == 0),
    ("is_unseen", "equal colours counted as unseen",
     lambda f: (weighted(f) % 10 == 0) | f[:, 1].eq(f[:, 2])),
    ("is_unseen", "nothing is unseen", lambda f: f[:, 0] < 0),
    ("is_unseen", None, lambda f: (weighted(f) % 10 == 0).squeeze()),
    ("is_unseen", None, lambda f: torch.isin(weighted(f), torch.tensor([10, 20]))),
    ("is_unseen", None, lambda f: weighted(f) % 9 == 0),
    ("is_unseen", None, lambda f: (weighted(f) % 10 == 0).long()),
    ("is_unseen", None, lambda f: (weighted(f) % 10 == 0)[:, None]),
    ("is_unseen", None, lambda f: (weighted(f) % 10 == 0).nonzero()[:, 0]),
    ("is_unseen", None, lambda f: f[weighted(f) % 10 == 0]),
    ("is_unseen", None, lambda f: bool((weighted(f) % 10 == 0).any())),
    ("is_unseen", None, lambda f: torch.arange(len(f)) % 10 == 0),
    ("is_unseen", "only a row of zeros", lambda f: (f % 10 == 0).all(1)),
]


@pytest.mark.parametrize("name, function", RIGHT)
def test_right_answers_in_other_styles_pass_on_every_seed(name, function):
    assert all(judge(f"data.{name}", function, seed).passed for seed in SEEDS)


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_are_told_on_every_seed_and_frequent_ones_by_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"data.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, verdict


@pytest.mark.parametrize("mistake", [one for name in ("images", "compose", "parse", "is_unseen")
                                     for one in find(f"data.{name}").mistakes],
                         ids=lambda m: m.name)
def test_each_message_names_the_section_to_read_again(mistake):
    assert mistake.message.endswith(tuple(f" (section {n})." for n in (1, 2, 3, 5)))
