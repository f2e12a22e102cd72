"""caption.py against whole passes without a cache, sentences put together by hand, its parent."""
import copy
import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from minidalle.caption import TwoWay, TwoWayConfig, picture_to_caption, said_right, sentence
from minidalle.dalle import Dalle, DalleConfig, DalleRoad, convolution, full
from minidalle.data import drawn
from minidalle.tokenizer import Tokenizer

close = torch.testing.assert_close
TINY = TwoWayConfig(vocab=12, context=4, codes=5, grid=3, width=16, depth=2, heads=2)


def rng(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(**changes) -> TwoWay:
    """Weights so large that every token matters to every later one."""
    torch.manual_seed(0)
    model = TwoWay(replace(TINY, **changes))
    for p in model.parameters():
        nn.init.normal_(p, std=0.4)
    return model.eval()


def batch_of(model: TwoWay, B=5):
    c = model.config
    ids = torch.randint(1, c.vocab, (B, c.context), generator=rng(1))
    ids[0, c.context // 2:] = c.pad
    return ids, torch.randint(c.codes, (B, c.grid ** 2), generator=rng(2))


def parent(model: TwoWay) -> Dalle:
    """A Dalle with the same weights."""
    sizes = {name: value for name, value in vars(model.config).items() if name != "every"}
    plain = Dalle(DalleConfig(**sizes))
    plain.load_state_dict({name: value for name, value in model.state_dict().items()
                           if name != "telling"})
    return plain.eval()


# ---- one sentence, the codes first

def test_tell_equals_a_sentence_put_together_by_hand():
    """Codes with row + column, then words with their places, on all of them the one vector."""
    model = tiny()
    ids, codes = batch_of(model)
    words = [[i if i else 12 + t for t, i in enumerate(line)] for line in ids.tolist()]
    x = [(model.code(codes[:, n]) + model.row[n // 3, 0] + model.column[n % 3])[:, None]
         for n in range(9)]
    x += [model.text(torch.tensor(words))[:, :3] + model.text_place[:3]]
    x = model.transformer(torch.cat(x, dim=1) + model.telling)
    close(model.tell(codes, ids), model.text_head(x[:, 8:]))


def test_drawing_is_that_of_a_dalle_with_the_same_weights():
    """Forward, likelihood and samples, bit for bit: the new vector is not in that order."""
    model = tiny()
    ids, codes = batch_of(model)
    plain = parent(model)
    for mine, other in zip(model(ids, codes), plain(ids, codes), strict=True):
        assert mine.equal(other)
    assert model.sample(ids, 2.0, generator=rng()).equal(plain.sample(ids, 2.0, generator=rng()))


def test_patterns_hide_codes_in_drawing_and_none_in_captioning():
    """The first code of all reaches the caption through one block, in which it is far off."""
    torch.manual_seed(0)
    model = TwoWay(replace(TINY, depth=1), (convolution,)).eval()
    free = TwoWay(replace(TINY, depth=1), (full,)).eval()
    free.load_state_dict(model.state_dict())
    ids, codes = batch_of(model)
    assert not model(ids, codes)[1].equal(free(ids, codes)[1])
    close(model.tell(codes, ids), free.tell(codes, ids))


def test_no_look_into_the_future_with_the_codes_first():
    """Changing token t, of codes and then words, leaves every word said before t has been read."""
    model = tiny()
    ids, codes = batch_of(model)
    before = model.tell(codes, ids)                            # word j is said by place 8 + j
    for t in range(9 + 4):
        other = codes.clone(), ids.clone()
        if t < 9:
            other[0][:, t] = (codes[:, t] + 1) % 5
        else:
            other[1][:, t - 9] = (ids[:, t - 9] + 1) % 12
        after, said = model.tell(*other), max(0, t - 8)        # so many words come before
        assert after[:, :said].equal(before[:, :said])
        assert t == 12 or ((after[:, said:] - before[:, said:]).abs().amax(-1) > 1e-3).all()


def test_every_code_reaches_every_word():
    model = tiny()
    ids, codes = batch_of(model)
    for n in range(9):
        other = codes.clone()
        other[:, n] = (codes[:, n] + 1) % 5
        change = (model.tell(other, ids) - model.tell(codes, ids)).abs().amax(dim=-1)
        assert change.shape == (5, 4) and (change > 1e-3).all()


# ---- a loss for each order

def test_the_loss_by_hand_is_that_of_all_captions_and_of_every_fourth_drawing():
    """Heads that know only biases: every word has its cost, every code its own, whatever is read;
    of five pictures the first and the last are drawn, by the loss of dalle.py."""
    model = tiny(drop=0.0)
    ids, codes = batch_of(model)
    for head in (model.text_head, model.code_head):
        nn.init.zeros_(head.weight)
    words = -model.text_head.bias.log_softmax(dim=0)[model.words(ids)]      # (5, 4)
    page = -model.code_head.bias.log_softmax(dim=0)[codes[[0, 4]]].mean()
    drawn = words[[0, 4], 1:].mean() / 8 + page * 7 / 8
    close(model.loss((ids, codes)), 2 * words.mean() + drawn)


def test_the_targets_of_the_new_loss_are_all_words_one_after_the_other():
    """Oracle: the log-probability of each word, one by one, beside the loss of the parent."""
    model = tiny(drop=0.0, every=2)
    ids, codes = batch_of(model)
    log_p, words = model.tell(codes, ids).log_softmax(dim=-1), model.words(ids)
    told = -torch.stack([log_p[b, t, words[b, t]] for b in range(5) for t in range(4)]).mean()
    close(model.loss((ids, codes)), 2 * told + parent(model).loss((ids[::2], codes[::2])))
    assert model.watch() == {"told": pytest.approx(told.item(), rel=1e-5)}


def test_a_caption_that_is_dropped_in_drawing_is_told_all_the_same():
    """drop = 1: the parent reads null captions only, and the new loss is of the true ones."""
    model = tiny(drop=1.0, every=1)
    ids, codes = batch_of(model)
    told = model.loss((ids, codes), rng()) - parent(tiny(drop=0.0)).loss((0 * ids, codes))
    expected = 2 * nn.functional.cross_entropy(model.tell(codes, ids).mT, model.words(ids))
    close(told, expected, atol=1e-5, rtol=1e-5)


def test_both_losses_reach_the_same_tables_places_blocks_and_words():
    """One transformer: whatever the new order uses, the old one does too, but for its vector."""
    model = tiny(every=1)
    ids, codes = batch_of(model)
    reached = []
    for loss in (model.tell(codes, ids).square().mean(), parent_loss(model, ids, codes)):
        model.zero_grad()
        loss.backward()
        reached.append({name for name, p in model.named_parameters() if p.grad is not None})
    assert reached[0] - reached[1] == {"telling"}
    assert reached[1] - reached[0] == {"code_head.weight", "code_head.bias"}


def parent_loss(model: TwoWay, ids, codes):
    """Of the drawing alone."""
    return Dalle.loss(model, (ids, codes))


def test_what_begins_with_a_dalle_draws_as_that_does_and_leaves_it_as_it_was():
    torch.manual_seed(5)
    plain, model = parent(tiny()), TwoWay(TINY).eval()
    vector, kept = model.telling.detach().clone(), copy.deepcopy(plain.state_dict())
    model.begin_with(plain)
    ids, codes = batch_of(model)
    for mine, other in zip(model(ids, codes), plain(ids, codes), strict=True):
        assert mine.equal(other)
    assert model.telling.equal(vector) and model.telling.requires_grad
    nn.init.zeros_(model.text.weight)
    assert all(value.equal(kept[name]) for name, value in plain.state_dict().items())


# ---- captions

def test_cached_logits_equal_those_of_one_pass_at_every_word():
    """Drawn words, not padding: they differ from caption to caption."""
    model, said = tiny(), []
    model.text_head.bias.data[[0, 12, 13, 14, 15]] = -math.inf
    _, codes = batch_of(model, B=40)
    hook = model.text_head.register_forward_hook(lambda m, args, out: said.append(out))
    ids = model.caption(codes, temperature=1.5, generator=rng())
    hook.remove()
    close(torch.stack(said, dim=1), model.tell(codes, ids), atol=1e-5, rtol=1e-4)
    assert len(ids.unique(dim=0)) > 20


def test_temperature_0_takes_the_likeliest_word_each_time():
    model = tiny()
    model.text_head.bias.data[[0, 12, 13, 14, 15]] = -math.inf
    _, codes = batch_of(model, B=40)
    ids = model.caption(codes)
    assert model.tell(codes, ids).argmax(dim=-1).equal(ids) and len(ids.unique(dim=0)) > 1


def test_padding_of_any_place_comes_back_as_padding():
    model = tiny()
    nn.init.zeros_(model.text_head.weight)
    nn.init.zeros_(model.text_head.bias)
    model.text_head.bias.data[14] = 9.0                        # the padding of place 2, everywhere
    assert model.caption(batch_of(model)[1]).eq(model.config.pad).all()


def test_captioning_leaves_the_codes_as_they_were_and_needs_no_more_than_one():
    model = tiny()
    _, codes = batch_of(model)
    kept = codes.clone()
    one = model.caption(codes[3:4])
    assert one.equal(model.caption(codes)[3:4]) and codes.equal(kept)
    assert model.caption(codes[:0]).shape == (0, 4)


def test_drawn_words_are_as_frequent_as_their_chance():
    """The first word: 4000 draws at temperature 2; within four standard errors each."""
    model = tiny()
    _, codes = batch_of(model, B=1)
    words = model.caption(codes.expand(4000, -1), temperature=2.0, generator=rng())[:, 0]
    p = (model.tell(codes, torch.zeros(1, 4, dtype=torch.long))[0, 0] / 2).softmax(dim=0)
    p = torch.cat([p[:1] + p[12:].sum(), p[1:12]])             # all padding is id 0
    share = torch.bincount(words, minlength=12) / 4000
    assert ((share - p).abs() < 4 * (p * (1 - p) / 4000).sqrt() + 1e-4).all()


@pytest.mark.parametrize("seed", [0, 1000])
def test_overfits_one_batch_and_then_draws_and_captions_it_by_heart(seed):
    """The round trip: captions to codes and back, by one transformer."""
    torch.manual_seed(seed)
    model = TwoWay(replace(TINY, width=32, drop=0.0, every=1))
    ids, codes = batch_of(model, B=4)
    ids[:, 1] = torch.arange(3, 7)                             # four different captions
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    calm = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, total_iters=100)
    for _ in range(100):
        optimizer.zero_grad()
        model.loss((ids, codes)).backward()
        optimizer.step()
        calm.step()
    assert model.sample(ids, temperature=0).equal(codes)
    assert model.caption(codes).equal(ids)


# ---- the road, with a discrete VAE whose codes are the red of a pixel in each patch

@dataclass(frozen=True)
class FakeConfig:
    grid: int = 3
    codes: int = 5
    size: int = 6


class FakeDvae(nn.Module):
    config = FakeConfig()

    def encode(self, images):
        return (images[:, 0, ::2, ::2] * 2 + 2).round().long().flatten(1)

    def decode(self, codes):
        red = (codes.view(-1, 1, 3, 3) - 2) / 2
        return red.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


GRAMMAR = drawn().grammar
WORDS = Tokenizer.train(GRAMMAR.texts(), plain=True)


def road() -> DalleRoad:
    return DalleRoad(WORDS, None, FakeDvae(), tiny(vocab=WORDS.vocab_size, context=16))


def pages(n=6):
    return torch.randint(5, (n, 9), generator=rng(4))


def test_of_one_caption_a_picture_gets_the_likeliest_words_by_way_of_its_codes():
    """Oracle: the ids of the very codes, read by the tokenizer."""
    r, codes = road(), pages()
    rows = r.dalle.caption(codes).tolist()
    assert picture_to_caption(r, FakeDvae().decode(codes), best_of=1) == \
        [sentence(WORDS, row) for row in rows]


def test_of_several_captions_the_one_stays_with_which_it_would_have_drawn_the_picture():
    """Oracle: each caption of each picture alone, and the sum of the log-chances of its codes."""
    r, codes = road(), pages()
    ids = r.dalle.caption(codes.repeat_interleave(3, dim=0), 1.0, rng(7))
    best = []
    for i, page in enumerate(codes):
        log_p = [r.dalle(row[None], page[None])[1].log_softmax(-1)[0, range(9), page].sum().item()
                 for row in ids[3 * i:3 * i + 3]]
        best.append(sentence(WORDS, ids[3 * i + log_p.index(max(log_p))].tolist()))
    images = FakeDvae().decode(codes)
    assert picture_to_caption(r, images, rng(7), best_of=3) == best
    assert picture_to_caption(r, images, rng(8), best_of=3) != best
    assert len(set(best)) > 1


def test_no_pictures_get_no_captions():
    assert picture_to_caption(road(), torch.zeros(0, 3, 6, 6)) == []


def test_with_a_generator_for_each_caption_no_picture_depends_on_its_company():
    r, images = road(), FakeDvae().decode(pages())
    each = [picture_to_caption(r, images[i:i + 1], [rng(10 * i), rng(10 * i + 1)], 2)[0]
            for i in range(6)]
    every = [rng(10 * i + k) for i in range(6) for k in range(2)]
    assert picture_to_caption(r, images, every, 2) == each


@pytest.mark.parametrize("text", GRAMMAR.texts()[::97])
def test_a_sentence_is_what_its_ids_were_made_of_and_nothing_after_the_end_counts(text):
    row = WORDS.batch([text])[0].tolist()
    assert sentence(WORDS, row) == text
    junk = [i or WORDS.first_byte + ord("x") for i in row]     # in place of the padding
    assert sentence(WORDS, junk) == text
    assert sentence(WORDS, WORDS.encode(text)) == text         # one that has no end


def test_the_share_said_right_by_hand():
    """Right, another ink, another order of words, no sentence."""
    texts = ["a red seven on blue", "a pink seven on blue", "the digit 7 in red, blue background",
             "a red seven seven on blue"]
    factors = torch.tensor([GRAMMAR.parse(texts[0])] * 4)
    assert said_right(GRAMMAR, texts, factors) == {"digit": 0.75, "ink": 0.5, "paper": 0.75,
                                                   "all": 0.5}


def test_said_right_of_the_captions_themselves_is_one():
    texts = GRAMMAR.texts()[::31]
    factors = torch.tensor([GRAMMAR.parse(text) for text in texts])
    assert set(said_right(GRAMMAR, texts, factors).values()) == {1.0}


# ---- errors say what came and what was expected

IDS, CODES = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
ERRORS = {
    "codes too few": (lambda: tiny().caption(CODES[:, 1:]), r"codes has shape \(2, 8\).*\(2, 9\)"),
    "told too few": (lambda: tiny().tell(CODES[:, 1:], IDS), r"codes has shape \(2, 8\).*\(2, 9\)"),
    "another batch": (lambda: tiny().tell(CODES[:1], IDS), r"codes has shape \(1, 9\).*\(2, 9\)"),
    "ids too short": (lambda: tiny().tell(CODES, IDS[:, 1:]), r"ids has shape \(2, 3\).*\(2, 4\)"),
    "no codes at all": (lambda: tiny().caption(CODES[0]), r"codes has shape \(9,\)"),
    "best_of": (lambda: picture_to_caption(road(), torch.zeros(1, 3, 6, 6), best_of=0),
                "best_of is 0"),
    "temperature": (lambda: tiny().caption(CODES, temperature=-1), "temperature is -1"),
    "nothing said": (lambda: said_right(GRAMMAR, [], torch.zeros(0, 3)), "got 0 captions for 0"),
    "one factor row": (lambda: said_right(GRAMMAR, ["a"], torch.zeros(2, 3)), "got 1 captions for"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input_is_a_value_error_in_one_sentence(name):
    call, says = ERRORS[name]
    with pytest.raises(ValueError, match=says):
        call()


def test_weights_lie_column_by_column_also_when_copied():
    """As those of a Dalle: the layout that makes sampling fast."""
    for linear in (m for m in copy.deepcopy(tiny()).modules() if isinstance(m, nn.Linear)):
        assert linear.weight.t().is_contiguous()
