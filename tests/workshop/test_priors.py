"""The comparison of priors: the same captions for each, and a table that says what was measured."""
import pytest
import torch

from minidalle.train import seeded
from minidalle.unclip import caption_to_picture
from minidalle.workshop import demo, priors
from minidalle.workshop.priors import NoPrior, compare_priors, table
from minidalle.workshop.recipes import Workshop

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def shop(smoke) -> Workshop:
    return Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=lambda line: None)


def test_without_a_prior_the_decoder_gets_the_text_vectors_themselves(shop, monkeypatch):
    seen, decoder = [], shop.decoder()
    monkeypatch.setattr(decoder, "sample", lambda z, *args, **rest: seen.append(z)
                        or torch.zeros(len(z), 3, 16, 16))
    captions = ["a red seven on blue", "a pink 3 on black paper"]
    caption_to_picture(shop.unclip(NoPrior), captions, seeded(0))
    assert torch.equal(seen[0], shop.clip().encode_text(shop.tokenizer.batch(captions)))


def test_each_prior_is_measured_as_alone_and_gets_the_same_captions(shop, monkeypatch):
    """Beside `measure` of the road as the demo paints it; captions are noted as they are drawn."""
    drawn, draw_many = [], demo.draw_many

    def noting(workshop, paint, captions, *args):
        drawn.append((paint.args[0].prior, captions))
        return draw_many(workshop, paint, captions, *args)
    monkeypatch.setattr(demo, "draw_many", noting)
    result = compare_priors(shop, 8)
    asked = [captions for _, captions in drawn]
    assert asked[:2] == asked[2:4] == asked[4:] and list(map(len, asked)) == [8] * 6
    assert isinstance(drawn[0][0], NoPrior)
    assert [prior for prior, _ in drawn[2::2]] == [shop.arprior(), shop.prior()]
    monkeypatch.undo()
    alone = demo.measure(shop, shop.painter("unclip"), 8)
    assert result["priors"]["diffusion"].keys() == alone.keys() and result["samples"] == 8


def test_the_table_says_the_numbers_beside_those_of_real_pictures():
    def row(x):
        return {"judge": {"digit": 1.0, "all": 0.997}, "test": {"digit": 0.9, "all": x},
                "unseen": {"digit": 0.8, "all": x + 0.01}, "fid": x + 0.02, "fid_floor": 0.111,
                "recall": x + 0.03, "recall_floor": 0.222, "clip_score": x + 0.04,
                "diversity_floor": 0.333}
    result = {"samples": 50, "seed": 3, "budget": "cpu", "machine": "a machine",
              "priors": {"no prior": row(0.5), "diffusion": row(0.6) | {"diversity": 0.7}}}
    lines = [line.split() for line in table(result).splitlines()]
    assert lines[0] == ["test", "unseen", "FID", "recall", "CLIP", "diverse"]
    assert lines[1] == ["real", "pictures", "0.997", "-", "0.111", "0.222", "-", "0.333"]
    assert lines[2] == ["no", "prior", "0.500", "0.510", "0.520", "0.530", "0.540", "-"]
    assert lines[3] == ["diffusion", "0.600", "0.610", "0.620", "0.630", "0.640", "0.700"]
    assert "50 pictures" in table(result) and "seed 3" in table(result)
    assert max(map(len, table(result).splitlines())) <= 100
    for one in result["priors"].values():
        del one["unseen"]
    assert "unseen" not in table(result).splitlines()[0]
    assert priors.notes({"budget": "smoke"})[0] in table({**result, "budget": "smoke"})
