r"""Pairs: two digits in one picture, so that each ink must be bound to its own digit.

in -> out   n, split -> images (B, 3, H, W) in [-1, 1], captions list[str], factors (B, 5)
idea        "a red three left of a blue seven on white": a model that only knows which words occur
            draws a three and a seven, red and blue, and may still give the red to the seven. One
            digit cannot show that mistake; two can. The picture is composed as in data.py, once
            more: paper, ink through the mask of the left digit, ink through that of the right.
            Two digits, or two inks, may be the same; then there is nothing to exchange, and
            `binding` in metrics.py, which measures the mistake, leaves those captions out.
equation    image = (1 - right) ((1 - left) paper + left ink_l) + right ink_r + noise
papers      binding as a weakness: Ramesh et al. 2022, arXiv:2204.06125, section 7;
            in benchmarks: Huang et al. 2023, arXiv:2307.06350 (T2I-CompBench)
left out    three or more things, things on top of each other, sizes

Splits as in data.py; what `unseen` holds out is pairs of coloured digits, on every paper.
"""
from torch import Tensor

from minidalle.data import COLOURS, DIGITS, Digits, DigitsConfig, Grammar, drawn

INKS = tuple(COLOURS)
NAMES = ("digit_l", "ink_l", "digit_r", "ink_r", "paper")      # l: the left one, r: the right one
TEMPLATES = (                  # which is named first, and by which word, says nothing alone
    "a {ink_l} {digit_l} left of a {ink_r} {digit_r} on {paper}",
    "a {ink_r} {digit_r} right of a {ink_l} {digit_l} on {paper}",
    "on {paper}, left of a {ink_r} {digit_r}, a {ink_l} {digit_l}",
    "{paper} paper, a {ink_l} {digit_l#} and right of it a {ink_r} {digit_r#}",
    "the digits {digit_l#} in {ink_l} and {digit_r#} in {ink_r}, {paper} background")


def is_unseen_pair(factors: Tensor) -> Tensor:
    """The rule of the `unseen` split: both digits + both inks divisible by ten. (..., 5) -> (...)

    Beside each digit in its ink it holds out, for each other ink, exactly one other digit, so that
    every digit in every ink is trained on in both places and on every paper; only the two
    together are not. And neither are their mirror image and the same digits with their inks
    exchanged, whose sums are the same: nothing that was trained on pulls the picture to either.
    """
    return factors[..., :4].sum(dim=-1) % 10 == 0


class Pairs(Digits):
    """Two captioned digits side by side, each in its own ink, on one paper."""

    slots = ((0, 1), (2, 3))
    unseen = staticmethod(is_unseen_pair)

    def __init__(self, masks, config: DigitsConfig = DigitsConfig(), device="cpu"):  # noqa: B008
        super().__init__(masks, config, device)
        if config.place:
            raise ValueError("place is True, but two digits have their places, left and right; "
                             "leave it out of DigitsConfig")
        self.grammar = Grammar(NAMES, (DIGITS, INKS, DIGITS, INKS, INKS), TEMPLATES)
        self.box = self.size * 7 // 8, self.size * 9 // 16     # as high as one alone, but narrow
        self.far = self.size // 4

    def _places(self, factors: Tensor) -> list[Tensor]:
        return [factors.new_tensor([0, -self.far]), factors.new_tensor([0, self.far])]


def pairs(device="cpu") -> Pairs:
    """Pairs of digits drawn from fonts; needs no download."""
    return Pairs(drawn().masks, device=device)
