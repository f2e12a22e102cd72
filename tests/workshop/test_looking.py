"""Looking: what is read off pictures is what a CLIP that is known by hand sees in them."""
from types import SimpleNamespace

import pytest
import torch

from minidalle.tokenizer import Tokenizer
from minidalle.workshop.looking import (
    SAID,
    WRONG,
    changed,
    hidden,
    lead,
    near,
    read,
    right_strength,
    wrong_before,
)
from minidalle.workshop.recipes import WORLDS

GRAMMAR = WORLDS["drawn"]().grammar
SEVEN, NINE = "a red seven on blue", "a red nine on blue"


def vector(sentence: str, grammar=GRAMMAR) -> torch.Tensor:
    """Ones where its values stand, divided by the root of their number."""
    parts = [torch.eye(len(values))[factor]
             for values, factor in zip(grammar.values, grammar.parse(sentence), strict=True)]
    return torch.cat(parts) / len(parts) ** 0.5


@pytest.fixture(scope="module")
def shop():
    """Its CLIP reads a caption by the grammar, and of a picture takes the pixels for its vector:
    of two sentences that differ in k of three factors the cosine is 1 - k / 3, and with its scale
    of 30 the logit is 30 - 10 k."""
    words = Tokenizer.train(GRAMMAR.texts(), plain=True)

    def clip(images, ids):
        texts = torch.stack([vector(words.decode(row.tolist())) for row in ids])
        return 30 * images[:, 0, 0] @ texts.mT
    return SimpleNamespace(world=SimpleNamespace(grammar=GRAMMAR), tokenizer=words,
                           clip=lambda: clip)


def picture(vector: torch.Tensor) -> torch.Tensor:
    """(3, 1, 26), whose pixels are the vector."""
    return vector.expand(3, 1, 26)


def test_changed_are_all_sentences_that_differ_in_one_factor():
    """Nine other digits, seven other inks, seven other papers."""
    texts = changed(SEVEN, GRAMMAR)
    assert texts[0] == SEVEN and len(texts) == len(set(texts)) == 1 + 9 + 7 + 7


def test_near_a_sentence_are_all_that_differ_in_one_factor_and_could_be_seen():
    """Nine other digits, six other inks (not the paper's), six other papers."""
    texts = near("the digit 7 in red, blue background", GRAMMAR)
    assert texts[0] == SEVEN and len(texts) == len(set(texts)) == 1 + 9 + 6 + 6
    changed = [sum(a != b for a, b in zip(GRAMMAR.parse(text), GRAMMAR.parse(SEVEN)))
               for text in texts]
    assert changed == [0] + 21 * [1] and not any(hidden(text, GRAMMAR) for text in texts)


def test_lead_is_ten_nats_for_each_factor_by_hand(shop):
    """A picture of the sentence leads by 10; one of another digit trails by 10."""
    images = torch.stack([picture(vector(text)) for text in (SEVEN, NINE)])
    torch.testing.assert_close(lead(shop, images, SEVEN), torch.tensor([10.0, -10.0]))


@pytest.mark.parametrize("text", [SEVEN, NINE, "a green two on white", "a blue zero on red"])
def test_read_finds_what_is_there_however_far_from_where_it_begins(shop, text):
    assert read(shop, picture(vector(text)), SEVEN) == text


def test_a_wrong_before_is_told_with_what_is_there_and_a_right_one_is_not(shop):
    told = wrong_before(shop, picture(vector(NINE)), "blue paper, a red seven", "x.png")
    assert told.startswith(f"CLIP reads {NINE!r} off x.png, and not 'blue paper, a red seven';")
    assert wrong_before(shop, picture(vector(SEVEN)), SEVEN, "x.png") == ""
    assert wrong_before(shop, picture(vector(SEVEN)), "seven", "x.png") == ""      # no sentence


@pytest.mark.parametrize("share, told", [
    (0.5 + 0.045 * WRONG, False), (0.5 + 0.055 * WRONG, True)])
def test_only_a_before_that_is_surely_wrong_is_told(shop, share, told):
    """share of the way from seven to nine: nine leads by 10 (2 share - 1)."""
    image = picture((1 - share) * vector(SEVEN) + share * vector(NINE))
    assert bool(wrong_before(shop, image, SEVEN, "x.png")) == told


def test_the_first_strength_at_which_the_wanted_is_surely_read_is_marked(shop):
    """At 0.5 seven and nine are equal; at 0.5 + x nine leads by 20 x."""
    strengths = [0.2, 0.4, 0.5 + 0.045 * SAID, 0.5 + 0.055 * SAID, 0.8]
    images = torch.stack([picture((1 - s) * vector(SEVEN) + s * vector(NINE)) for s in strengths])
    assert right_strength(shop, images, NINE, strengths) == \
        f"from strength 0.62 on (picture 4) CLIP reads {NINE!r}"
    few = right_strength(shop, images[:3], NINE, strengths[:3])
    assert few == f"CLIP reads {NINE!r} off none of them; try a larger --strength"
    assert right_strength(shop, images[:1], NINE, [1.0]).endswith("off none of them")
    assert right_strength(shop, images, "nine", strengths) == ""
