"""The text encoder: which words are hidden and asked for, who sees whom, what can be known."""
import math

import pytest
import torch
import torch.nn.functional as F

from minidalle.textonly import NOTHING, TextConfig, TextEncoder, doubt, hide
from minidalle.tokenizer import Tokenizer

GAP = 30


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def encoder(**changes) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TextConfig(**{"vocab": 30, "context": 8, "width": 16, "depth": 2, "heads": 2,
                                     **changes}))


def captions(B: int = 4, T: int = 8, lengths=(8, 6, 4, 8)) -> torch.Tensor:
    """Start, words, end, pads."""
    ids = torch.randint(3, 30, (B, T), generator=seed(1))
    ids[:, 0] = 1
    for row, n in zip(ids, lengths, strict=True):
        row[n - 1], row[n:] = 2, 0
    return ids


# ---- gaps and targets -----------------------------------------------------------------------

@pytest.mark.parametrize("share", [0.15, 0.5])
def test_targets_stand_exactly_where_a_word_is_hidden_and_all_else_is_seen_as_it_is(share):
    ids = captions(400, lengths=[8, 6, 5, 3] * 100)
    seen, targets = hide(ids, share, GAP, 3, seed())
    hidden = targets != NOTHING
    assert torch.equal(targets[hidden], ids[hidden]) and (seen[hidden] == GAP).all()
    assert torch.equal(seen[~hidden], ids[~hidden]) and hidden.any()


def test_start_end_and_pads_are_never_hidden_even_if_every_word_is():
    ids = captions()
    seen, targets = hide(ids, 1.0, GAP, 3, seed())
    assert torch.equal(targets != NOTHING, ids >= 3)
    assert torch.equal(seen, torch.where(ids >= 3, GAP, ids))
    assert (hide(ids, 0.0, GAP, 3, seed())[1] == NOTHING).all()


def test_the_stated_share_of_words_is_hidden_each_by_a_coin_of_its_own():
    """Of 20,000 words within five deviations; and a word's neighbour tells nothing of it."""
    ids = torch.full((2000, 10), 7)
    hidden = (hide(ids, 0.3, GAP, 3, seed())[1] != NOTHING).float()
    assert hidden.mean().item() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 20_000))
    both = (hidden[:, :-1] * hidden[:, 1:]).mean().item()
    assert both == pytest.approx(0.09, abs=5 * math.sqrt(0.09 * 0.91 / 9_000))
    assert hidden.mean(dim=0).min() > 0.2 and hidden.mean(dim=0).max() < 0.4


def test_the_gaps_are_the_generators_and_the_callers_ids_stay():
    ids = captions()
    kept = ids.clone()
    a, b, c = (hide(ids, 0.5, GAP, 3, seed(n))[0] for n in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and torch.equal(ids, kept)


def test_an_ignored_target_is_the_one_that_pytorch_ignores():
    logits = torch.randn(3, 5, generator=seed())
    some, all_ = (F.cross_entropy(logits[:n], torch.tensor([1, 4, NOTHING])[:n]) for n in (2, 3))
    assert torch.equal(some, all_)


# ---- gaps that show a word all the same ------------------------------------------------------

def test_a_tenth_of_the_gaps_shows_its_word_a_tenth_any_word_and_all_that_is_seen_stays():
    """Of 20,000 gaps within five deviations; of the wrong words each is as frequent as another."""
    ids = torch.full((2000, 20), 7)
    seen, targets = hide(ids, 0.5, GAP, 3, seed())
    hidden, before = targets != NOTHING, seen.clone()
    doubted = doubt(seen, targets, 0.1, range(3, 13), seed(1))
    assert torch.equal(doubted[~hidden], ids[~hidden]) and torch.equal(seen, before)
    found = doubted[hidden]
    gaps, wrong = (found == GAP).float().mean().item(), found[(found != GAP) & (found != 7)]
    assert gaps == pytest.approx(0.8, abs=5 * math.sqrt(0.16 / hidden.sum()))
    share = len(wrong) / hidden.sum().item()                   # one in ten happens to be right
    assert share == pytest.approx(0.09, abs=5 * math.sqrt(0.09 * 0.91 / hidden.sum()))
    assert set(wrong.tolist()) == {*range(3, 13)} - {7}
    assert wrong.bincount(minlength=13)[3:].float().sort().values[1:].min() > 150


def test_without_doubt_every_gap_is_a_gap():
    seen, targets = hide(captions(), 1.0, GAP, 3, seed())
    assert torch.equal(doubt(seen, targets, 0.0, range(3, 30), seed(1)), seen)


def test_with_doubt_a_state_says_the_word_it_stands_on_as_surely_as_bayes_rule_allows():
    """Of the captions "start, k, end", k one of 4: of the words that are asked for and not gaps, a
    half is shown and a half is any of 4, so what is seen is right with 1/2 + 1/2 1/4."""
    model = encoder(vocab=7, context=3, share=0.5, doubt=0.2)
    ids = torch.tensor([[1, k, 2] for k in range(3, 7)]).repeat(16, 1)
    learn(model, ids, 200)
    said = model(ids[:4])[:, 1].softmax(dim=-1)[range(4), range(3, 7)]
    assert said.mean().item() == pytest.approx(0.625, abs=0.08)


# ---- the loss -------------------------------------------------------------------------------

def test_the_loss_is_pytorchs_cross_entropy_of_the_hidden_words_alone():
    model, ids = encoder(), captions()
    g, config = seed(5), model.config
    seen, targets = hide(ids, config.share, model.gap, config.first, g)
    seen = doubt(seen, targets, config.doubt, range(config.first, config.vocab), g)
    expected = F.cross_entropy(model(seen).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model.loss(ids, seed(5)), expected)


def test_nothing_that_is_hidden_can_be_seen():
    """Captions that differ in a hidden word give the same answers; in a seen one, others."""
    model, ids = encoder(), captions()
    hidden = hide(ids, 0.5, model.gap, 3, seed(5))[1] != NOTHING
    other, third = torch.where(hidden, ids % 27 + 3, ids), torch.where(hidden, ids, ids % 27 + 3)
    third[ids < 3] = ids[ids < 3]
    assert not torch.equal(other, ids) and not torch.equal(third, ids)
    answers = [model(hide(x, 0.5, model.gap, 3, seed(5))[0]) for x in (ids, other, third)]
    assert torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])


def test_a_batch_in_which_no_word_is_hidden_costs_nothing_and_is_finite():
    model = encoder(share=0.0)
    loss = model.loss(captions(), seed())
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_loss_depends_on_its_generator_and_on_no_global_one():
    model, losses = encoder(), []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss(captions(), seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


# ---- who sees whom --------------------------------------------------------------------------

def test_every_word_changes_the_state_of_every_other_those_before_it_too():
    model, ids = encoder().eval(), captions(1, lengths=[8])
    states = model.states(ids)
    for i in range(1, 7):
        other = ids.clone()
        other[0, i] = ids[0, i] % 27 + 3
        assert ((model.states(other) - states)[0].abs().amax(dim=1) > 1e-6).all(), i


def test_padding_never_changes_the_states_that_are_heard():
    """Captions of one length, as they are and with pads behind them, whatever a pad looks like."""
    model, ids = encoder().eval(), captions(2, lengths=[5, 5])
    short, heard = model.encode(ids[:, :5])
    long, also = model.encode(ids)
    assert heard.all() and also.sum(dim=1).tolist() == [5, 5]
    torch.testing.assert_close(long[:, :5], short)
    with torch.no_grad():
        model.token.weight[0] += 1
    torch.testing.assert_close(model.states(ids)[:, :5], short)


def test_the_id_of_a_gap_is_none_of_the_tokenizers():
    words = Tokenizer.train(["a red seven on blue"] * 2, vocab_size=270, context=8)
    model = encoder(vocab=words.vocab_size)
    assert model.gap not in range(words.vocab_size) and words.first_byte == model.config.first
    assert {words.pad, words.start, words.end} == set(range(model.config.first))
    assert words.pad == model.config.pad


# ---- learning -------------------------------------------------------------------------------

def learn(model: TextEncoder, ids: torch.Tensor, steps: int) -> None:
    g, optimizer = seed(), torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = model.loss(ids, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_it_learns_what_can_be_known_and_of_a_word_drawn_by_chance_only_how_many_it_may_be():
    """Of the captions "start, k, k + 4, end", k one of 4: whichever is hidden, the other tells it.
    If both are, each is one of four: ln 4 is the best that anyone can do."""
    model = encoder(vocab=11, context=4, share=0.5, doubt=0.0)
    k = torch.arange(3, 7).repeat(16)
    ids = torch.stack([torch.ones_like(k), k, k + 4, torch.full_like(k, 2)], dim=1)     # (64, 4)
    learn(model, ids, 150)
    one, both = ids[:4].clone(), ids[:4].clone()
    one[:, 2] = both[:, 1] = both[:, 2] = model.gap
    known, unknown = (F.cross_entropy(model(seen)[:, 2], ids[:4, 2]).item() for seen in (one, both))
    assert known < 0.05 and unknown == pytest.approx(math.log(4), abs=0.1)
