"""dalle.py against whole passes without a cache, brute force over tiny alphabets, masks by hand."""
import copy
import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidalle.dalle import (
    Dalle,
    DalleConfig,
    DalleRoad,
    caption_to_picture,
    column,
    complete,
    convolution,
    draw,
    full,
    rerank,
    row,
    top_k_logits,
    top_p_logits,
)
from minidalle.tokenizer import Tokenizer

close = torch.testing.assert_close
TINY = DalleConfig(vocab=12, context=4, codes=5, grid=3, width=16, depth=2, heads=2)
SPARSE = pytest.mark.parametrize("patterns", [(full,), (row, column), (convolution, full)])


def tiny(patterns=(full,), **changes) -> Dalle:
    """Weights so large that every token matters to every later one."""
    torch.manual_seed(0)
    model = Dalle(replace(TINY, **changes), patterns)
    for p in model.parameters():
        nn.init.normal_(p, std=0.4)
    return model.eval()


def rng(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sentence(model: Dalle, B=3):
    c = model.config
    ids = torch.randint(1, c.vocab, (B, c.context), generator=rng(1))
    ids[0, c.context // 2:] = c.pad
    return ids, torch.randint(c.codes, (B, c.grid ** 2), generator=rng(2))


def every_picture(model: Dalle):
    """All pictures (K^N, N) that the codes can write."""
    return torch.tensor(list(product(range(model.config.codes), repeat=model.config.grid ** 2)))


# ---- patterns

def code_to_code(mask, context=2):
    """The part of a mask that is between codes; around it the caption is seen, the future not."""
    T, size = context, len(mask)
    assert mask[:, :T].equal(torch.ones(size, T).tril().bool())
    assert not mask[:T, T:].any() and mask.shape == (size, size)
    return mask[T:, T:].int().tolist()


def test_full_is_no_mask():
    assert full(2, 3) is None


def test_row_equals_3x3_by_hand():
    assert code_to_code(row(2, 3)) == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 1]]


def test_column_equals_3x3_by_hand():
    assert code_to_code(column(2, 3)) == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 1, 0, 0, 1]]


def test_convolution_equals_3x3_by_hand_wrapping_around():
    """The last code: itself, left; above left, above, above right (which is two places back)."""
    assert code_to_code(convolution(2, 3)) == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("kernel, grid", [(1, 3), (3, 5), (5, 5), (5, 2)])
def test_convolution_equals_a_walk_over_the_square(kernel, grid):
    mask, N = torch.zeros(grid ** 2, grid ** 2, dtype=torch.bool), grid ** 2
    reach = range(-(kernel // 2), kernel // 2 + 1)
    for i, up, left in product(range(N), reach, reach):
        if 0 <= i - up * grid - left <= i:
            mask[i, i - up * grid - left] = True
    assert convolution(3, grid, kernel)[3:, 3:].equal(mask)


def test_block_i_uses_pattern_i_modulo_their_number():
    model, masks = Dalle(replace(TINY, depth=5), (row, full)), []
    for block in model.transformer.blocks:
        block.register_forward_pre_hook(lambda m, args: masks.append(args[1]))
    model(*sentence(model))
    assert [mask.equal(row(4, 3)[:-1, :-1]) for mask in masks] == [True, False] * 2 + [True]


# ---- one sentence

def test_forward_equals_a_sentence_put_together_by_hand():
    """Word and code embeddings, places, row + column, the transformer, two heads."""
    model = tiny()
    ids, codes = sentence(model)
    words = [[i if i else 12 + t for t, i in enumerate(line)] for line in ids.tolist()]
    x = [model.text(torch.tensor(words)) + model.text_place]
    x += [(model.code(codes[:, n]) + model.row[n // 3, 0] + model.column[n % 3])[:, None]
          for n in range(8)]
    x = model.transformer(torch.cat(x, dim=1))
    text, image = model(ids, codes)
    close(text, model.text_head(x[:, :3]))
    close(image, model.code_head(x[:, 3:]))


def test_two_heads_equal_one_masked_head():
    """One head over words and codes, the other kind at -inf: the same probabilities."""
    model, states = tiny(), []
    model.transformer.register_forward_hook(lambda m, args, out: states.append(out))
    text, image = model(*sentence(model))
    weight = torch.cat([model.text_head.weight, model.code_head.weight])
    logits = F.linear(states[0], weight, torch.cat([model.text_head.bias, model.code_head.bias]))
    is_word, follows_word = torch.arange(16 + 5) < 16, torch.arange(4 + 8) < 3
    log_p = logits.masked_fill(is_word != follows_word[:, None], -math.inf).log_softmax(dim=-1)
    close(log_p[:, :3, :16], text.log_softmax(dim=-1))
    close(log_p[:, 3:, 16:], image.log_softmax(dim=-1))


@SPARSE
def test_no_look_into_the_future_across_text_and_codes(patterns):
    """Changing token t leaves every logit that is said before t has been read."""
    model = tiny(patterns)
    ids, codes = sentence(model)
    before = torch.cat([F.pad(x, (0, 16 - x.shape[-1])) for x in model(ids, codes)], dim=1)
    for t in range(4 + 9):
        other = ids.clone(), codes.clone()
        if t < 4:
            other[0][:, t] = (ids[:, t] + 1) % 12
        else:
            other[1][:, t - 4] = (codes[:, t - 4] + 1) % 5
        after = torch.cat([F.pad(x, (0, 16 - x.shape[-1])) for x in model(*other)], dim=1)
        assert after[:, :t].equal(before[:, :t])
        assert t == 12 or ((after[:, t] - before[:, t]).abs().amax(dim=-1) > 1e-3).all()


def test_weights_lie_column_by_column_also_when_copied_and_loaded():
    """The layout that makes sampling fast; the numbers are those of the usual one."""
    model = tiny()
    model.load_state_dict({name: x.contiguous() for name, x in model.state_dict().items()})
    for linear in (m for m in copy.deepcopy(model).modules() if isinstance(m, nn.Linear)):
        assert linear.weight.t().is_contiguous() and linear.weight.shape[1] == linear.in_features


def test_every_word_reaches_every_code():
    model = tiny((row, column))
    ids, codes = sentence(model)
    for t in range(4):
        other = ids.clone()
        other[:, t] = (ids[:, t] + 1) % 12
        change = (model(other, codes)[1] - model(ids, codes)[1]).abs().amax(dim=-1)
        assert (change > 1e-3).all()


def test_padding_is_another_token_at_each_place():
    """Oracle: the ids 12, 13, 14, 15 themselves; other ids stay."""
    model = tiny()
    ids = torch.tensor([[0, 0, 0, 0], [1, 5, 2, 0]])
    assert model.words(ids).tolist() == [[12, 13, 14, 15], [1, 5, 2, 15]]
    bare = model.embed_text(ids)[0] - model.text_place
    close(bare, model.text.weight[12:])


# ---- loss

def test_loss_is_one_eighth_text_and_seven_eighths_codes_by_hand():
    """Heads that know only biases: every word costs a, every code b, whatever is read."""
    model = tiny()
    ids, codes = sentence(model)
    for head in (model.text_head, model.code_head):
        nn.init.zeros_(head.weight)
    model.config = replace(TINY, drop=0.0)
    a = -model.text_head.bias.log_softmax(dim=0)[model.words(ids)[:, 1:]].mean()
    b = -model.code_head.bias.log_softmax(dim=0)[codes].mean()
    close(model.loss((ids, codes)), a / 8 + b * 7 / 8)


def test_loss_targets_are_the_next_tokens():
    """Oracle: the log-probability of each next token, one by one."""
    model = tiny(drop=0.0)
    ids, codes = sentence(model)
    text, image = (x.log_softmax(dim=-1) for x in model(ids, codes))
    words = model.words(ids)
    a = [text[b, t, words[b, t + 1]] for b in range(3) for t in range(3)]
    b = [image[b, n, codes[b, n]] for b in range(3) for n in range(9)]
    close(model.loss((ids, codes)), -torch.stack(a).mean() / 8 - torch.stack(b).mean() * 7 / 8)


def test_loss_at_the_start_is_near_and_with_zeroed_heads_exactly_that_of_a_guess():
    torch.manual_seed(0)
    model = Dalle(TINY)
    batch, guess = sentence(model), math.log(12 + 4) / 8 + math.log(5) * 7 / 8
    assert model.loss(batch).item() == pytest.approx(guess, abs=0.05)
    for head in (model.text_head, model.code_head):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    assert model.loss(batch).item() == pytest.approx(guess, abs=1e-6)


def test_dropping_replaces_the_whole_caption_of_a_tenth_of_the_pictures():
    model, read = tiny(), []
    model.forward = lambda ids, codes: read.append(ids) or (torch.zeros(len(ids), 3, 16),
                                                            torch.zeros(len(ids), 9, 5))
    ids = torch.full((20000, 4), 7)
    model.loss((ids, torch.zeros(20000, 9, dtype=torch.long)), rng())
    kept = (read[0] == 7).sum(dim=1)
    assert set(kept.tolist()) == {0, 4} and (ids == 7).all()
    assert (read[0][kept == 0] == 0).all()
    assert (kept == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_same_seed_same_captions_dropped_whatever_the_global_one():
    """Of eight captions that differ, half are dropped: other ones, another loss."""
    model, losses = tiny(drop=0.5), []
    batch = sentence(model, B=8)
    for seed, elsewhere in ((0, 1), (0, 2), (5, 1)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss(batch, rng(seed)))
    assert losses[0].equal(losses[1]) and not losses[0].equal(losses[2])


def test_a_dropped_caption_trains_what_guidance_calls_null():
    """drop = 1: the loss is that of captions that are all padding."""
    model = tiny(drop=1.0)
    ids, codes = sentence(model)
    null, never = torch.zeros_like(ids), tiny(drop=0.0)
    close(model.loss((ids, codes), rng()), never.loss((null, codes)))


# ---- likelihood

def test_log_likelihood_is_the_sum_over_single_steps():
    """Each step asked alone: cached, after the codes before it."""
    model = tiny()
    ids, codes = sentence(model)
    total = torch.zeros(3)
    for n in range(9):
        cache = model.transformer.cache()
        x = torch.cat([model.embed_text(ids), model.embed_codes(codes[:, :n])], dim=1)
        log_p = model.code_head(model.read(x, cache)[:, -1]).log_softmax(dim=-1)
        total += log_p[torch.arange(3), codes[:, n]]
    close(model.log_likelihood(ids, codes), total, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("K, grid", [(2, 1), (2, 2), (1, 2), (3, 1)])
def test_likelihoods_of_all_pictures_sum_to_one(K, grid):
    model = tiny(codes=K, grid=grid)
    codes = every_picture(model)
    ids = torch.tensor([[1, 5, 2, 0]]).expand(len(codes), -1)
    close(model.log_likelihood(ids, codes).exp().sum(), torch.tensor(1.0))


def test_samples_are_as_frequent_as_their_likelihood():
    """Chi-square over the 16 pictures of two codes on a 2 x 2 grid; 15 degrees of freedom."""
    model = tiny(codes=2, grid=2)
    ids = torch.tensor([[1, 5, 2, 0]])
    drawn = model.sample(ids.expand(4000, -1), generator=rng())
    counts = torch.bincount(drawn @ torch.tensor([8, 4, 2, 1]), minlength=16)
    expected = 4000 * model.log_likelihood(ids.expand(16, -1), every_picture(model)).exp()
    assert ((counts - expected) ** 2 / expected).sum() < 37.7      # one in a thousand is above


# ---- sampling

def uncached(model: Dalle, ids, guidance, given):
    """The likeliest codes, by a whole pass for each of them."""
    B, n = given.shape
    codes = F.pad(given, (0, 9 - n))
    for i in range(n, 9):
        logits = model(ids, codes)[1][:, i]
        null = model(torch.zeros_like(ids), codes)[1][:, i]
        codes[:, i] = ((1 - guidance) * null + guidance * logits).argmax(dim=-1)
    return codes


def spied_logits(model: Dalle, ids, **knobs):
    """What the code head said at each step (B or 2B, N, K), and the codes."""
    said = []
    hook = model.code_head.register_forward_hook(lambda m, args, out: said.append(out))
    codes = model.sample(ids, generator=rng(), **knobs)
    hook.remove()
    return torch.stack(said, dim=1), codes


@SPARSE
@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("n", [0, 4])
def test_cached_sampling_equals_a_whole_pass_for_each_code(patterns, guidance, n):
    model = tiny(patterns)
    ids, codes = sentence(model)
    got = model.sample(ids, guidance, temperature=0, given=codes[:, :n])
    assert got.equal(uncached(model, ids, guidance, codes[:, :n]))


@SPARSE
def test_cached_logits_equal_those_of_one_pass_at_every_place(patterns):
    """With guidance: the first half has the caption, the second the null caption."""
    model = tiny(patterns)
    ids, _ = sentence(model)
    said, codes = spied_logits(model, ids, guidance=2.0)
    whole = model(torch.cat([ids, torch.zeros_like(ids)]), codes.repeat(2, 1))[1]
    close(said, whole, atol=1e-5, rtol=1e-4)


def test_the_caption_still_conditions_the_last_code_when_cached():
    model = tiny()
    ids, codes = sentence(model)
    other = ids.clone()
    other[:, 0] += 1
    cache, cache_other = model.transformer.cache(), model.transformer.cache()
    for x, held in ((ids, cache), (other, cache_other)):
        model.read(model.embed_text(x), held)
    for n in range(8):                         # from here on both read the same codes
        x = model.embed_codes(codes[:, n:n + 1], first=n)
        said, said_other = (model.code_head(model.read(x, c)) for c in (cache, cache_other))
        assert ((said - said_other).abs().amax(dim=-1) > 1e-3).all()


def test_guidance_1_never_reads_the_null_caption_and_0_never_heeds_the_caption():
    model = tiny()
    ids, _ = sentence(model)
    said, _ = spied_logits(model, ids)
    assert said.shape[0] == 3                                       # and not 6
    null = torch.zeros_like(ids)
    assert model.sample(ids, 0.0, generator=rng()).equal(model.sample(null, generator=rng()))


@pytest.mark.parametrize("n", [0, 1, 8, 9])
def test_given_codes_stay_and_no_tensor_of_the_caller_changes(n):
    model = tiny()
    ids, codes = sentence(model)
    given = codes[:, :n].clone()
    kept = ids.clone(), given.clone()
    out = model.sample(ids, 2.0, top_k=3, top_p=0.9, given=given, generator=rng())
    assert out[:, :n].equal(kept[1]) and out.shape == (3, 9)
    out += 1
    assert ids.equal(kept[0]) and given.equal(kept[1])


def test_same_seed_same_codes():
    model = tiny()
    ids, _ = sentence(model)
    a, b, c = (model.sample(ids, generator=rng(s)) for s in (0, 0, 1))
    assert a.equal(b) and not a.equal(c)


@pytest.mark.parametrize("changes", [dict(codes=1), dict(grid=1), dict(codes=1, grid=1)])
def test_one_code_one_place_one_caption_an_empty_one(changes):
    model = tiny(**changes)
    ids = Tokenizer([], context=4).batch([""])
    codes = model.sample(ids, 2.0, top_k=5, top_p=0.5, generator=rng())
    assert codes.shape == (1, model.config.grid ** 2)
    assert 0 <= codes.min() and codes.max() < model.config.codes
    assert model.loss((ids, codes), rng()).isfinite()


def test_no_captions_no_codes():
    assert tiny().sample(torch.zeros(0, 4, dtype=torch.long), 2.0).shape == (0, 9)


# ---- top-k, top-p, temperature

def logits_with_ties(seed):
    return torch.randint(-3, 4, (50, 7), generator=rng(seed)) / 2


@pytest.mark.parametrize("k", [1, 2, 4, 7, 20])
def test_top_k_equals_its_definition_by_brute_force(k):
    logits = logits_with_ties(k)
    for x, got in zip(logits.tolist(), top_k_logits(logits, k).tolist()):
        least = sorted(x, reverse=True)[:k][-1]
        assert got == [v if v >= least else -math.inf for v in x]


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.5, 0.9, 0.999, 1.0])
def test_top_p_equals_its_definition_by_brute_force(p):
    logits = logits_with_ties(int(10 * p))
    for x, got in zip(logits.tolist(), top_p_logits(logits, p).tolist()):
        weight = [math.exp(v) for v in x]
        above = [sum(w for w, u in zip(weight, x) if u > v) / sum(weight) for v in x]
        assert got == [v if a < p else -math.inf for v, a in zip(x, above)]


def test_top_p_by_hand_keeps_the_one_that_crosses_and_its_equals():
    """At p = 1/2 the first is enough: the sum before the second is not less than p."""
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for p, kept in ((0.4, 1), (0.5, 1), (0.6, 2), (0.7, 2), (0.8, 4), (1.0, 4)):
        assert top_p_logits(logits, p).isfinite().sum() == kept, p


def test_top_p_1_keeps_even_what_rounding_would_cut():
    logits = torch.tensor([[0.0, -30.0, -60.0]])
    assert top_p_logits(logits, 1.0).equal(logits)


@pytest.mark.parametrize("knobs, expected", [
    (dict(temperature=1.0), [0.4, 0.3, 0.2, 0.1]),
    (dict(temperature=0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
    (dict(temperature=1.0, top_k=2), [4 / 7, 3 / 7, 0, 0]),
    (dict(temperature=1.0, top_p=0.75), [4 / 9, 3 / 9, 2 / 9, 0]),
    (dict(temperature=0.5, top_p=0.75), [16 / 25, 9 / 25, 0, 0]),       # temperature comes first
    (dict(temperature=1.0, top_k=3, top_p=0.75), [4 / 7, 3 / 7, 0, 0]),  # top-k before top-p
])
def test_frequencies_follow_the_formula(knobs, expected):
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(20000, 4)
    drawn = draw(logits, **knobs, generator=rng()).flatten()
    share = torch.bincount(drawn, minlength=4) / 20000
    close(share, torch.tensor(expected), atol=0.015, rtol=0)           # four standard deviations
    assert all(s == 0 for s, e in zip(share, expected) if e == 0)


def test_draw_never_takes_what_is_forbidden_even_where_u_is_0_or_nearly_1(monkeypatch):
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 1.0, -math.inf]])
    for u, code in ((0.0, 1), (1 - 2 ** -24, 3)):
        monkeypatch.setattr(torch, "rand", lambda *size, u=u, **rest: torch.full(size, u))
        assert draw(logits, 1.0).item() == code


def test_draw_stays_in_the_alphabet_where_rounded_chances_sum_to_less_than_1(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **rest: torch.full(size, 1 - 2 ** -24))
    logits = torch.randn(200, 50, generator=rng())
    assert (logits.softmax(dim=-1).cumsum(dim=-1)[:, -1] < 1 - 2 ** -24).any()
    assert (draw(logits, 1.0) < 50).all()


def test_temperature_0_takes_the_largest():
    logits = torch.randn(20, 7, generator=rng())
    assert draw(logits, 0)[:, 0].equal(logits.argmax(dim=-1))


# ---- the road, with a discrete VAE whose codes are the red of a pixel in each patch

@dataclass(frozen=True)
class FakeConfig:
    grid: int = 3
    codes: int = 5
    size: int = 6


class FakeDvae(nn.Module):
    config = FakeConfig()

    def encode(self, images):
        assert images.shape[1:] == (3, 6, 6)
        return (images[:, 0, ::2, ::2] * 2 + 2).round().long().flatten(1)

    def decode(self, codes):
        red = (codes.view(-1, 1, 3, 3) - 2) / 2
        return red.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


class FakeClip:
    """The image vector is the red of the first two pixels in the row; the text vector (1, 0) or
    (0, 1) as the first letter is a or not."""

    def encode_image(self, images):
        return images[:, 0, 0, [0, 2]]

    def encode_text(self, ids):
        a = (ids[:, 1] == ord("a") + 3).float()
        return torch.stack([a, 1 - a], dim=1)


def road() -> DalleRoad:
    dalle = tiny(vocab=259)
    nn.init.normal_(dalle.text.weight, std=3)           # one letter makes another picture
    return DalleRoad(Tokenizer([], context=4), FakeClip(), FakeDvae(), dalle)


def test_reranking_picks_the_largest_dot_product_for_each_caption():
    images = torch.randn(2, 4, 3, 6, 6, generator=rng())
    best = rerank(FakeClip(), Tokenizer([], context=4).batch(["a", "b"]), images)
    assert best[0].equal(images[0, images[0, :, 0, 0, 0].argmax()])
    assert best[1].equal(images[1, images[1, :, 0, 0, 2].argmax()])


def test_reranking_takes_the_first_where_all_fit_alike():
    images = torch.randn(1, 4, 3, 6, 6, generator=rng())
    images[:, :, 0, 0, 0] = torch.tensor([0.0, 1, 1, 1])
    best = rerank(FakeClip(), Tokenizer([], context=4).batch(["a"]), images)
    assert best[0].equal(images[0, 1])


def test_completion_shows_the_encoder_a_whole_picture_of_repeated_last_rows(monkeypatch):
    seen, r = [], road()
    encode = r.dvae.encode
    monkeypatch.setattr(r.dvae, "encode", lambda images: seen.append(images) or encode(images))
    upper = torch.rand(1, 3, 2, 6, generator=rng())
    complete(r, ["a"], upper, rng())
    assert seen[0].equal(upper[:, :, [0, 1, 1, 1, 1, 1]])


def test_best_of_1_is_a_decoded_sample_and_best_of_3_the_best_of_three():
    r, captions = road(), ["a", "b"]
    ids = r.tokenizer.batch(captions)
    one = caption_to_picture(r, captions, rng(), guidance=3.0)
    assert one.equal(r.dvae.decode(r.dalle.sample(ids, 3.0, top_p=0.9, generator=rng())))
    three = r.dvae.decode(r.dalle.sample(ids[[0, 0, 0, 1, 1, 1]], 3.0, top_p=0.9,
                                         generator=rng()))
    best = caption_to_picture(r, captions, rng(), guidance=3.0, best_of=3)
    assert best[0].equal(three[three[:3, 0, 0, 0].argmax()])
    assert best[1].equal(three[3 + three[3:, 0, 0, 2].argmax()])


@pytest.mark.parametrize("best_of", [1, 3])
def test_no_captions_give_no_pictures(best_of):
    assert caption_to_picture(road(), [], rng(), best_of=best_of).shape == (0, 3, 6, 6)


@pytest.mark.parametrize("h", [2, 4])
def test_completion_keeps_the_given_pixels_and_goes_on_from_their_codes(h):
    """Oracle: a sample whose first codes are those of the whole picture."""
    r, captions = road(), ["a", "b"]
    picture = r.dvae.decode(torch.randint(5, (2, 9), generator=rng(3)))
    upper = (picture + 0.1)[:, :, :h]                      # not what a decoder would say
    kept, n = upper.clone(), h // 2 * 3
    out = complete(r, captions, upper, rng(), guidance=1.0, top_p=0.5)
    codes = r.dalle.sample(r.tokenizer.batch(captions), top_p=0.5, generator=rng(),
                           given=r.dvae.encode(picture)[:, :n])
    assert out[:, :, :h].equal(kept) and upper.equal(kept)
    assert out[:, :, h:].equal(r.dvae.decode(codes)[:, :, h:])


# ---- learning

def test_the_first_weights_of_all_places_are_small():
    model = Dalle(replace(TINY, width=512))
    for part in (model.text_place, model.row, model.column):
        assert part.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("seed", [0, 1000])
def test_overfits_one_batch_and_then_says_it_by_heart(seed):
    """The last steps are small ones, so that no thread's rounding decides where they end."""
    torch.manual_seed(seed)
    model = Dalle(replace(TINY, width=32, drop=0.0))
    ids, codes = sentence(model, B=4)
    ids[:, 1] = torch.arange(3, 7)                                  # four different captions
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    calm = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, total_iters=80)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss((ids, codes))
        loss.backward()
        optimizer.step()
        calm.step()
    assert model.sample(ids, temperature=0).equal(codes)
    assert loss < 0.1 * (math.log(16) / 8 + math.log(5) * 7 / 8) + math.log(4) / 8


# ---- errors say what came and what was expected

IDS, CODES = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
UPPER = torch.zeros(1, 3, 6, 6)


def sick() -> Dalle:
    """As a training leaves it whose loss was NaN."""
    model = tiny()
    nn.init.constant_(model.code_head.bias, math.nan)
    return model


ERRORS = {
    "ids too short": (lambda: tiny().sample(IDS[:, :3]), r"ids has shape \(2, 3\).*\(2, 4\)"),
    "ids flat": (lambda: tiny()(IDS[0], CODES[:1].expand(4, -1)), r"ids has shape \(4,\)"),
    "codes": (lambda: tiny()(IDS, CODES[:, 1:]), r"codes has shape \(2, 8\).*\(2, 9\)"),
    "batch": (lambda: tiny().loss((IDS, CODES[:1])), r"codes has shape \(1, 9\).*\(2, 9\)"),
    "temperature": (lambda: tiny().sample(IDS, temperature=-1), "temperature is -1"),
    "temperature NaN": (lambda: tiny().sample(IDS, temperature=math.nan), "temperature is nan"),
    "temperature inf": (lambda: tiny().sample(IDS, temperature=math.inf), "temperature is inf"),
    "NaN": (lambda: draw(torch.tensor([[0.0, 1], [math.nan, 1]]), 1.0), "row of logits has NaN"),
    "NaN, likeliest": (lambda: draw(torch.tensor([[math.nan, 1]]), 0), "row of logits has NaN"),
    "infinite": (lambda: draw(torch.tensor([[math.inf, 1]]), 1.0), "row of logits has NaN, inf"),
    "all forbidden": (lambda: draw(torch.full((1, 3), -math.inf), 0), "nothing but -inf"),
    "sick model": (lambda: sick().sample(IDS), "row of logits has NaN"),
    "top_k": (lambda: tiny().sample(IDS, top_k=0), "top_k is 0"),
    "top_p 0": (lambda: tiny().sample(IDS, top_p=0.0), "top_p is 0.0"),
    "top_p 2": (lambda: tiny().sample(IDS, top_p=2.0), "top_p is 2.0"),
    "given large": (lambda: tiny().sample(IDS, given=CODES * 5), r"from 5 to 5.*0\.\.4"),
    "given negative": (lambda: tiny().sample(IDS, given=CODES - 2), "from -1 to -1"),
    "given too many": (lambda: tiny().sample(IDS, given=CODES.repeat(1, 2)), r"\(2, 18\)"),
    "given batch": (lambda: tiny().sample(IDS, given=CODES[:1]), r"\(1, 9\).*\(2, 9\)"),
    "best_of": (lambda: caption_to_picture(road(), ["a"], best_of=0), "best_of is 0"),
    "upper whole": (lambda: complete(road(), ["a"], UPPER), "6 rows"),
    "upper odd": (lambda: complete(road(), ["a"], UPPER[:, :, :3]), "3 rows.*steps of 2"),
    "upper none": (lambda: complete(road(), ["a"], UPPER[:, :, :0]), "0 rows"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input_is_a_value_error_in_one_sentence(name):
    call, says = ERRORS[name]
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("temperature", [1e-300, 1e-46, 1e-40, 1e-37, 1e-3])
def test_a_tiny_temperature_takes_the_likeliest_as_zero_does(temperature):
    logits = torch.randn(50, 7, generator=rng()) * 20
    for knobs in ({}, {"top_k": 5}, {"top_p": 0.9}):
        assert draw(logits, temperature, generator=rng(), **knobs).equal(draw(logits, 0))
