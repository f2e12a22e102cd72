r"""Captioned pictures: one small world in which every caption can be checked.

in -> out   n, split -> images (B, 3, H, W) in [-1, 1], captions list[str], factors (B, F)
idea        A digit is a mask: how much ink lies on each pixel. A picture is paper, with ink laid
            over it through the mask. Digit, ink and paper are the *factors* of the picture; the
            caption says them in words, and `parse` reads them back. Pictures are composed afresh
            for every batch, so none repeats and nothing but the masks is stored.
equation    image = (1 - mask) paper + mask ink + noise
source      MNIST: LeCun, Bottou, Bengio, Haffner 1998; CIFAR-10: Krizhevsky 2009
left out    two digits in one picture, where a colour must be bound to its digit: pairs.py

Splits: `train`; `test` has masks never trained on; `unseen` has combinations of digit, ink and
paper never trained on (a tenth of them, by the rule in `is_unseen`), drawn with the test masks.
For the judge alone, which must read whatever is drawn, `every` has all combinations.
"""
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle.download import read_cifar10, read_mnist

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {                    # far apart for every kind of sight: Delta-E of 31 (test_data.py)
    "black": (28, 28, 32), "white": (248, 249, 243), "red": (178, 0, 15),
    "green": (67, 151, 92), "blue": (26, 61, 183), "yellow": (250, 206, 50),
    "pink": (216, 89, 164), "cyan": (56, 214, 255)}
PLACES = {"centre": (0, 0), "top left": (-1, -1), "top right": (-1, 1),
          "bottom left": (1, -1), "bottom right": (1, 1)}       # (down, right)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FACES = (                      # the text faces that matplotlib installs and a child could read
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
    "cmr10", "cmb10", "cmss10", "cmtt10")


# ---- captions and factors: each other's inverse ---------------------------------------------

@dataclass(frozen=True)
class Grammar:
    """Sentences over factors. `names[i]` takes one of `values[i]`; a template names each once.

    `{digit}` is written as a word, `{digit#}` as its number ("seven", "7").

    >>> Grammar(("ink",), (("red", "blue"),), ("{ink} paint",)).parse("blue paint")
    (1,)
    """
    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]

    def caption(self, factors: Sequence[int], template: int = 0) -> str:
        """The sentence that template number `template` makes of the factors."""
        text = self.templates[template]
        for name, values, i in zip(self.names, self.values, factors, strict=True):
            text = text.replace(f"{{{name}}}", values[i]).replace(f"{{{name}#}}", str(int(i)))
        return re.sub(r"\ba (?=[aeiou])", "an ", text)

    def captions(self, factors: Tensor, generator: Generator | None = None) -> list[str]:
        """One caption for each row of factors (B, F), each from a template drawn at random."""
        drawn = torch.randint(len(self.templates), (len(factors),), generator=generator,
                              device=factors.device)
        return [self._sentence(tuple(row), t)
                for row, t in zip(factors.tolist(), drawn.tolist(), strict=True)]

    def parse(self, caption: str) -> tuple[int, ...]:
        """The factors that a caption says; the inverse of `caption` for every template."""
        text = re.sub(r"\ban ", "a ", plain_text(caption))
        for pattern in self._patterns:
            if found := pattern.fullmatch(text):
                return tuple(self._index(i, found[name]) for i, name in enumerate(self.names))
        raise ValueError(f"the caption {caption[:80]!r} fits no template; write for example "
                         f"{self.example()!r}")

    def example(self) -> str:
        """A caption that this world understands, for messages."""
        return self.caption([len(v) // 2 - i for i, v in enumerate(self.values)])

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that no caption of this world contains, in their order."""
        return list(dict.fromkeys(w for w in split_words(caption) if w not in self._words))

    def known_words(self, caption: str) -> str:
        """What is left of a caption without its unknown words: "a red, shiny 7!" -> "a red, 7"."""
        return " ".join(w for w in split_words(caption) if w in self._words).replace(" ,", ",")

    def every(self, step: int = 1) -> list[str]:
        """Every caption of this world, or those of each `step`-th combination of values."""
        choices = itertools.product(*(range(len(v)) for v in self.values))
        return [self.caption(c, t) for c in itertools.islice(choices, 0, None, step)
                for t in range(len(self.templates))]

    def texts(self) -> list[str]:
        """What the tokenizer is trained on. Of tens of thousands of combinations each 101st is
        enough: a prime, so every value of every factor is among them, about equally often."""
        return self.every(1 if math.prod(map(len, self.values)) < 10_000 else 101)

    def _sentence(self, factors: tuple[int, ...], template: int) -> str:
        key = (factors, template)
        if key not in self._sentences:
            self._sentences[key] = self.caption(factors, template)
        return self._sentences[key]

    def _index(self, i: int, word: str) -> int:
        return int(word) if word.isdigit() else self.values[i].index(word)

    @cached_property
    def _sentences(self) -> dict:
        return {}

    @cached_property
    def _patterns(self) -> list[re.Pattern]:
        patterns = []
        for template in self.templates:
            text = re.escape(template).replace(r"\#", "#")
            for name, values in zip(self.names, self.values, strict=True):
                words = "|".join(values)
                text = text.replace(rf"\{{{name}\}}", f"(?P<{name}>{words})")
                text = text.replace(rf"\{{{name}#\}}", f"(?P<{name}>[0-9])")
            patterns.append(re.compile(text.replace(r"\ ", " ")))
        return patterns

    @cached_property
    def _words(self) -> set[str]:
        return set(split_words(" ".join(self.texts())))


def plain_text(text: str) -> str:
    """In small letters, with one space between words: all that our captions do not care about.

    >>> plain_text(" A Red  Seven")
    'a red seven'
    """
    return " ".join(text.lower().split())


def split_words(text: str) -> list[str]:
    """Words in lower case, and each sign that is neither a letter nor a space."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


DIGIT_TEMPLATES = (
    "a {ink} {digit} on {paper}",
    "the digit {digit#} in {ink}, {paper} background",
    "{paper} paper, a {ink} {digit}",
    "a {ink} {digit#} on {paper} paper")
CIFAR_TEMPLATES = ("a photo of a {class}", "a small picture of a {class}", "{class}")


@dataclass(frozen=True)
class Batch:
    images: Tensor             # (B, 3, H, W) in [-1, 1]
    captions: list[str]        # B sentences
    factors: Tensor            # (B, F) indices


# ---- worlds ---------------------------------------------------------------------------------

def is_unseen(factors: Tensor) -> Tensor:
    """The rule of the `unseen` split: digit + ink + 3 paper divisible by ten. (..., F) -> (...)

    For each pair of ink and paper it holds out exactly one digit, so no digit, no colour and no
    pair of colours is missing from training; only the combination is. And it is fair: each ink, and
    each paper, has seven different digits held out, and each digit is held out four to seven times.
    """
    return (factors[..., 0] + factors[..., 1] + 3 * factors[..., 2]) % 10 == 0


@dataclass(frozen=True)
class DigitsConfig:
    size: int = 32             # height and width of a picture
    place: bool = False        # five places with smaller digits: learnt several times more slowly
    jitter: int = 1            # pixels by which a digit strays from its place
    colour_jitter: float = 0.04  # standard deviation; colours span [-1, 1]
    noise: float = 0.02        # standard deviation of the pixel noise


class Digits:
    """Captioned digits. `masks` maps a split, train or test, to (masks (N, h, h) uint8, digits)."""

    splits = ("train", "test", "unseen")
    slots = ((0, 1),)          # of each digit in the picture: the factors that are digit and ink
    unseen = staticmethod(is_unseen)

    def __init__(self, masks, config: DigitsConfig = DigitsConfig(), device="cpu"):  # noqa: B008
        self.masks, self.config, self.device, self.size = masks, config, device, config.size
        names, values = ("digit", "ink", "paper"), (DIGITS, tuple(COLOURS), tuple(COLOURS))
        templates = DIGIT_TEMPLATES
        if config.place:
            names, values = (*names, "place"), (*values, tuple(PLACES))
            templates = tuple(template + ", {place}" for template in templates)
        self.grammar = Grammar(names, values, templates)
        side = self.size * 7 // 16 if config.place else self.size * 7 // 8
        self.box = side, side                              # height and width of a mask, pixels
        self.far = self.size // 4 if config.place else 0   # from the middle to a digit's place
        self.banks = {}        # split -> masks ready to be cut out, made when first asked for

    @cached_property
    def combinations(self) -> dict[str, Tensor]:
        """The factors (N, F) that a split draws from; no ink is ever that of the paper."""
        every = torch.cartesian_prod(*(torch.arange(len(values), device=self.device)
                                       for values in self.grammar.values))
        *inks, paper = self._colours()
        every = every[(every[:, inks] != every[:, paper, None]).all(dim=1)]
        unseen = self.unseen(every)
        return {"train": every[~unseen], "test": every[~unseen], "unseen": every[unseen],
                "every": every}

    def factors(self, n: int, split: str, generator: Generator | None = None) -> Tensor:
        """n rows of factors (n, F), drawn evenly from those of the split."""
        if split not in self.combinations:
            raise ValueError(f"split is {split!r}; choose one of {', '.join(self.combinations)}")
        choices = self.combinations[split]
        return choices[torch.randint(len(choices), (n,), generator=generator, device=self.device)]

    def batch(self, n: int, split: str = "train", generator: Generator | None = None) -> Batch:
        """n fresh pictures of a split with their captions and factors."""
        factors = self.factors(n, split, generator)
        images = self.render(factors, split, generator)
        return Batch(images, self.grammar.captions(factors, generator), factors)

    def render(self, factors: Tensor, split: str, generator: Generator | None = None) -> Tensor:
        """Pictures (B, 3, H, W) of the factors (B, F), with masks of the split."""
        rng = dict(generator=generator, device=self.device)
        masks = [self._mask(factors[:, digit], place, split, rng)[:, None]  # (B, 1, H, W) each
                 for (digit, _), place in zip(self.slots, self._places(factors), strict=True)]
        palette = torch.tensor(list(COLOURS.values()), device=self.device) / 127.5 - 1
        colours = palette[factors[:, self._colours()]]                      # (B, 2, 3) ink, paper
        colours = colours + self.config.colour_jitter * torch.randn(colours.shape, **rng)
        *inks, images = colours[..., None, None].unbind(1)                  # (B, 3, 1, 1) each
        for ink, mask in zip(inks, masks, strict=True):
            images = torch.lerp(images, ink, mask)                          # (B, 3, H, W)
        images += self.config.noise * torch.randn(images.shape, **rng)
        return images.clamp_(-1, 1)

    def _colours(self) -> list[int]:
        """The factors that are colours: the ink of each digit, then the paper."""
        return [*(ink for _, ink in self.slots), self.grammar.names.index("paper")]

    def _places(self, factors: Tensor) -> list[Tensor]:
        """How far from the middle each digit stands: down and right, (2,) or (B, 2), in pixels."""
        if not self.config.place:
            return [torch.zeros(2, dtype=torch.long, device=self.device)]
        places = torch.tensor(list(PLACES.values()), device=self.device)
        return [places[factors[:, 3]] * self.far]

    def _mask(self, digit: Tensor, place: Tensor, split: str, rng: dict) -> Tensor:
        """One mask of each digit (B,) at its place, shifted by the jitter: (B, H, W) in [0, 1]."""
        bank, start, count, reach = self._bank("train" if split in ("train", "every") else "test")
        n, jitter = len(digit), self.config.jitter
        which = start[digit] + (torch.rand(n, **rng) * count[digit]).long()     # (B,)
        shift = torch.randint(-jitter, jitter + 1, (n, 2), **rng) + place       # down, right
        line = reach - shift[..., None] + torch.arange(self.size, device=self.device)  # (B, 2, H)
        cut = bank[which[:, None, None], line[:, 0, :, None], line[:, 1, None, :]]     # (B, H, W)
        return cut / 255

    def _bank(self, split: str):
        """Masks of a split in the order of their digits, with a rim wide enough for any shift."""
        if split not in self.banks:
            masks, digits = self.masks(split)
            order = digits.argsort(stable=True)
            if masks.shape[-2:] != self.box:
                masks = F.interpolate(masks[:, None].float(), self.box, mode="area")[:, 0]
                masks = masks.round().byte()
            reach = self.config.jitter + self.far
            top, left = ((self.size - side) // 2 + reach for side in self.box)
            bottom, right = (self.size + 2 * reach - side - before
                             for side, before in zip(self.box, (top, left), strict=True))
            bank = F.pad(masks[order], (left, right, top, bottom)).to(self.device)
            count = digits.long().bincount(minlength=10).to(self.device)
            self.banks[split] = bank, count.cumsum(0) - count, count, reach
        return self.banks[split]


def drawn_masks(split: str) -> tuple[Tensor, Tensor]:
    """Digits drawn from the text faces, each turned, sheared and scaled a little: masks, digits.

    The draws come from a seed that belongs to the split, so the world is the same in every run.
    """
    draws = 16 if split == "train" else 3          # of each digit in each face
    g = torch.Generator().manual_seed(0 if split == "train" else 1)
    pairs = [(face, digit) for face in FACES for digit in range(10)]
    masks = [_draw(face, digit, torch.rand(4, generator=g) * 2 - 1)
             for face, digit in pairs for _ in range(draws)]
    digits = torch.tensor([digit for _, digit in pairs for _ in range(draws)])
    return torch.stack(masks), digits


def _draw(face: str, digit: int, u: Tensor, box: int = 28, fine: int = 4) -> Tensor:
    """One digit (box, box) uint8, drawn `fine` times larger, then made small; u in [-1, 1]^4."""
    import matplotlib
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    side, middle = box * fine, box * fine / 2
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")
    font = ImageFont.truetype(str(path), int(side * 1.02))
    left, top, right, bottom = font.getbbox(str(digit))
    image = Image.new("L", (side, side))
    corner = (middle - (left + right) / 2, middle - (top + bottom) / 2)
    ImageDraw.Draw(image).text(corner, str(digit), fill=255, font=font)
    turn, shear = (u[0] * 0.15).item(), (u[1] * 0.15).item()                # radians, slope
    wide, high = 1 + 0.1 * u[2].item(), 1 + 0.1 * u[3].item()
    cos, sin = np.cos(turn), np.sin(turn)                   # output pixel -> input pixel
    a, b, c, d = cos / wide, sin / wide + shear, -sin / high, cos / high
    affine = (a, b, middle - a * middle - b * middle, c, d, middle - c * middle - d * middle)
    image = image.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image.reduce(fine)))


class Cifar:
    """Captioned CIFAR-10: real photographs, and one factor, the class."""

    splits = ("train", "test")
    slots = ()                 # no digits

    def __init__(self, size: int = 32, device="cpu"):
        self.size, self.device = size, device
        self.grammar = Grammar(("class",), (CLASSES,), CIFAR_TEMPLATES)
        self.photos = {}       # split -> (images uint8, labels), read when first asked for

    def batch(self, n: int, split: str = "train", generator: Generator | None = None) -> Batch:
        """n photographs of a split with their captions and classes."""
        factors = self.factors(n, split, generator)
        images = self.render(factors, split, generator)
        return Batch(images, self.grammar.captions(factors, generator), factors)

    def factors(self, n: int, split: str, generator: Generator | None = None) -> Tensor:
        """The classes (n, 1) of n photographs, drawn evenly."""
        _, labels = self._photos(split)
        return labels[torch.randint(len(labels), (n,), generator=generator, device=self.device),
                      None]

    def render(self, factors: Tensor, split: str, generator: Generator | None = None) -> Tensor:
        """A photograph (B, 3, H, W) of each class (B, 1); of `train` mirrored half of the time."""
        images, labels = self._photos(split)
        rng = dict(generator=generator, device=self.device)
        count = labels.bincount(minlength=len(CLASSES))
        place = (torch.rand(len(factors), **rng) * count[factors[:, 0]]).long()     # (B,)
        which = (count.cumsum(0) - count)[factors[:, 0]] + place    # they lie class by class
        pictures = images[which] / 127.5 - 1                                # (B, 3, 32, 32)
        if split in ("train", "every"):
            mirror = torch.rand(len(factors), **rng) < 0.5
            pictures = torch.where(mirror[:, None, None, None], pictures.flip(-1), pictures)
        if self.size != pictures.shape[-1]:
            pictures = F.interpolate(pictures, (self.size, self.size), mode="area")
        return pictures

    def _photos(self, split: str) -> tuple[Tensor, Tensor]:
        """Photographs uint8 and their classes, in the order of the classes. `every` is `train`:
        there are no combinations to leave out."""
        split = "train" if split == "every" else split
        if split not in self.splits:
            raise ValueError(f"split is {split!r}; CIFAR-10 has {' and '.join(self.splits)}")
        if split not in self.photos:
            images, labels = read_cifar10(split)
            order = labels.argsort(stable=True)
            self.photos[split] = (images[order].to(self.device),
                                  labels[order].long().to(self.device))
        return self.photos[split]


def drawn(device="cpu") -> Digits:
    """Captioned digits drawn from fonts; needs no download."""
    return Digits(drawn_masks, device=device)


def mnist(device="cpu") -> Digits:
    """Captioned digits over MNIST's handwriting; downloads 12 MB when they are not there."""
    return Digits(read_mnist, device=device)


def cifar10(device="cpu") -> Cifar:
    """Captioned CIFAR-10; downloads 170 MB when it is not there."""
    return Cifar(device=device)
