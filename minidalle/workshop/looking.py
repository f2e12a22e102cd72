r"""Looking: which sentence of a world CLIP reads off a picture.

in -> out   a workshop, pictures and a sentence -> whether it is that which CLIP reads, or which is
idea        CLIP gives every pair of sentence and picture a likeness. The sentence is compared with
            those that differ from it in one factor: a world of pairs has too many for all. What
            is read otherwise is found by changing one factor after the other, as long as the
            likeness grows.
left out    certainty: it is as wrong as CLIP is, and a picture of another world looks like
            something too
"""
import math
from pathlib import Path

import torch
from torch import Tensor

from minidalle.data import Grammar

# in nats: of 700 pictures of drawn digits, true sentences trailed by 0.6 at most, and false ones by
# 1.3 at least; of 250 of handwriting one true sentence trailed by more than ln 3, as all false did
WRONG = math.log(3)            # another sentence is three times as likely
SAID = math.log(9)             # with that lead the judge read the same off 24 of 25 edits


def hidden(sentence: str, grammar: Grammar) -> bool:
    """Whether an ink is that of the paper."""
    factors = dict(zip(grammar.names, grammar.parse(sentence), strict=True))
    return any(factors[name] == factors.get("paper") for name in factors if name.startswith("ink"))


def changed(sentence: str, grammar: Grammar) -> list[str]:
    """The sentence, then all that differ from it in one factor."""
    factors = grammar.parse(sentence)
    return [grammar.caption(factors)] + [
        grammar.caption((*factors[:i], value, *factors[i + 1:]))
        for i, values in enumerate(grammar.values) for value in range(len(values))
        if value != factors[i]]


def near(sentence: str, grammar: Grammar) -> list[str]:
    """The sentence, then those of the others that could be seen."""
    first, *others = changed(sentence, grammar)
    return [first, *(text for text in others if not hidden(text, grammar))]


@torch.no_grad()
def likeness(workshop, images: Tensor, sentences: list[str]) -> Tensor:
    """Of pictures (B, 3, H, W) and S sentences (B, S): CLIP's logits, whose differences are
    logarithms of how many times as likely one is."""
    return workshop.clip()(images, workshop.tokenizer.batch(sentences).to(images.device))


def lead(workshop, images: Tensor, sentence: str) -> Tensor:
    """By how many nats (B,) the sentence is likelier than the likeliest of those near it."""
    likely = likeness(workshop, images, near(sentence, workshop.world.grammar))
    return likely[:, 0] - likely[:, 1:].max(dim=1).values


def read(workshop, image: Tensor, sentence: str) -> str:
    """What CLIP reads off a picture (3, H, W), beginning with this sentence."""
    grammar = workshop.world.grammar
    for _ in range(2 * len(grammar.names)):    # more than it takes, should two be equally like
        texts = changed(sentence, grammar)     # to change places, two colours must first be equal
        sentence = texts[likeness(workshop, image[None], texts)[0].argmax().item()]
        if sentence == texts[0]:
            break
    return sentence


def wrong_before(workshop, image: Tensor, sentence: str, file: Path) -> str:
    """A note, if CLIP is sure that the picture is not what the sentence says; or nothing."""
    try:
        sure = lead(workshop, image[None], sentence)[0] < -WRONG
    except ValueError:                         # no sentence of this world, which was told
        return ""
    return (f"CLIP reads {read(workshop, image, sentence)!r} off {file}, and not {sentence!r}; the "
            "change begins at the first caption, so let that say what is there") if sure else ""


def right_strength(workshop, images: Tensor, sentence: str, strengths: list[float]) -> str:
    """A note on how far to go: just so far that CLIP surely reads what is wanted off the picture,
    for further on more of it is lost. Nothing, if that is no sentence of this world."""
    try:
        sure = lead(workshop, images, sentence) > SAID
    except ValueError:
        return ""
    if sure.any():
        number = sure.int().argmax().item()
        return (f"from strength {strengths[number]:.2g} on (picture {number + 1}) CLIP reads "
                f"{sentence!r}")
    further = "; try a larger --strength" * (max(strengths) < 1)
    return f"CLIP reads {sentence!r} off none of them{further}"
