"""Lesson 15's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls
from torch import nn

from minidalle import imagen, textonly
from minidalle.course.checks import find, judge
from minidalle.diffusion import cosine_schedule

SEEDS = range(20)


# ---- right answers in styles that are met

def hidden_by_copy(ids, draws, share, gap):
    given = ids.clone()
    hidden = torch.logical_and(draws < share, ids > 2)
    given[hidden] = gap
    return given, hidden


def hidden_by_arithmetic(ids, draws, share, gap):
    hidden = (draws < share) * (ids != 0) * (ids != 1) * (ids != 2)
    return ids * ~hidden + gap * hidden, hidden


def loss_by_ignoring(logits, ids, hidden):
    targets = ids.masked_fill(~hidden, -100)
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / max(1, int(hidden.sum()))


def loss_if_any(logits, ids, hidden):
    if not hidden.any():
        return 0 * logits.sum()
    return F.cross_entropy(logits[hidden], ids[hidden])


def loss_place_by_place(logits, ids, hidden):
    total = logits.new_zeros(())
    for b, t in hidden.nonzero():
        total = total + logits[b, t].logsumexp(0) - logits[b, t, ids[b, t]]
    return total / max(1, len(hidden.nonzero()))


def loss_by_one_hot(logits, ids, hidden):
    right = F.one_hot(ids, logits.size(2)).float()
    costs = -(logits.log_softmax(-1) * right).sum(-1)
    return (costs * hidden).sum() / hidden.sum().clamp(1)


def pooled_by_matmul(states, heard):
    share = heard / heard.sum(1, keepdim=True)
    return (share[:, None] @ states)[:, 0]


def threshold_by_sorting(x, percentile):
    sizes = x.flatten(1).abs().sort(dim=1).values
    place = percentile * (sizes.size(1) - 1)
    low = min(int(place), sizes.size(1) - 2)
    s = torch.lerp(sizes[:, low], sizes[:, low + 1], place - low).clamp(min=1)
    return (x / s[:, None, None, None]).clamp(-1, 1)


def threshold_by_numpy(x, percentile):
    s = numpy.percentile(numpy.abs(x.numpy().reshape(len(x), -1)), 100 * percentile, axis=1)
    s = numpy.maximum(s, 1).reshape(-1, 1, 1, 1)
    return torch.from_numpy(numpy.clip(x.numpy(), -s, s) / s).float()


def threshold_one_by_one(x, percentile):
    out = []
    for picture in x:
        s = torch.quantile(picture.abs(), percentile).item()
        out.append(picture.clamp(-s, s) / s if s > 1 else picture.clamp(-1, 1))
    return torch.stack(out)


def guess_of_two_pictures(x_t, yes, none, alpha_bar, scale):
    """Guidance is linear, so the pictures may be guided in place of the noise."""
    a = alpha_bar[:, None, None, None]
    one, other = ((x_t - (1 - a) ** 0.5 * eps) / a ** 0.5 for eps in (yes, none))
    return torch.lerp(other, one, scale).clamp(-1, 1)


STYLES = [
    ("hide_words", hidden_by_copy), ("hide_words", hidden_by_arithmetic),
    ("hide_words", lambda ids, draws, share, gap: (ids.masked_fill(
        h := (share > draws) & (ids >= 3), gap), h)),
    ("masked_loss", loss_by_ignoring), ("masked_loss", loss_if_any),
    ("masked_loss", loss_place_by_place), ("masked_loss", loss_by_one_hot),
    ("masked_loss", lambda logits, ids, hidden: (F.cross_entropy(
        logits.transpose(1, 2), ids, reduction="none") * hidden).sum() / (hidden.sum() + 1e-9)),
    ("masked_loss", lambda logits, ids, hidden: F.cross_entropy(
        logits[hidden], ids[hidden]).nan_to_num(0.0)),
    ("pooled", pooled_by_matmul),
    ("pooled", lambda states, heard: torch.stack([x[h].mean(0) for x, h in zip(states, heard)])),
    ("pooled", lambda states, heard: torch.einsum("btd,bt->bd", states, heard.float())
     / heard.sum(1)[:, None]),
    ("pooled", lambda states, heard: states.masked_fill(~heard.unsqueeze(-1), math.nan).nanmean(1)),
    ("pooled", lambda states, heard: (states * heard[..., None]).mean(1)
     / heard.float().mean(1, keepdim=True)),
    ("guess", guess_of_two_pictures),
    ("guess", lambda x_t, yes, none, a, s: torch.clip(torch.stack([
        (x - (1 - k).sqrt() * (s * y + (1 - s) * n)) / k.sqrt()
        for x, y, n, k in zip(x_t, yes, none, a)]), -1, 1)),
    ("dynamic_threshold", threshold_by_sorting), ("dynamic_threshold", threshold_by_numpy),
    ("dynamic_threshold", threshold_one_by_one),
    ("augment", lambda small, level, eps: torch.stack([
        math.cos(s * math.pi / 2) * x + math.sin(s * math.pi / 2) * e
        for x, s, e in zip(small, level.tolist(), eps)])),
    ("augment", lambda small, level, eps: (a := (level * math.pi / 2).cos().view(-1, 1, 1, 1))
     * small + (1 - a.double() ** 2).clamp(min=0).sqrt() * eps),
    ("told", lambda x_t, noisy, level, text: (
        torch.cat((x_t, F.interpolate(noisy, size=x_t.shape[-2:], mode="bilinear")), 1),
        torch.hstack([text, level.unsqueeze(1)]))),
    ("told", lambda x_t, noisy, level, text: (
        torch.cat([x_t, nn.Upsample(x_t.shape[2:], mode="bilinear")(noisy)], 1),
        torch.column_stack([text, level]))),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"imagen.{name}", function, seed).passed


# ---- the oracles and the package

def test_the_oracles_agree_with_the_files_that_the_lesson_is_about():
    g = torch.Generator().manual_seed(0)
    ids = torch.tensor([[1, 7, 9, 8, 2, 0], [1, 5, 2, 0, 0, 0]])
    draws = torch.rand(ids.numel(), generator=torch.Generator().manual_seed(1)).view(ids.shape)
    seen, targets = textonly.hide(ids, 0.5, 20, 3, torch.Generator().manual_seed(1))
    given, hidden = find("imagen.hide_words").function(ids, draws, 0.5, 20)
    assert torch.equal(seen, given) and torch.equal(targets != textonly.NOTHING, hidden)
    states, heard = torch.randn(2, 6, 4, generator=g), ids != 0
    torch.testing.assert_close(find("imagen.pooled").function(states, heard),
                               imagen.pool((states, heard)))
    small, eps = torch.randn(2, 2, 3, 4, 4, generator=g)
    level = torch.tensor([0.0, 0.7])
    torch.testing.assert_close(find("imagen.augment").function(small, level, eps),
                               imagen.augment(small, level, eps))


def test_a_guess_is_what_the_sampler_makes_of_the_two_answers():
    from minidalle.diffusion import Diffusion, Eps, clip_static
    process = Diffusion(cosine_schedule(), Eps, clip_static)
    g = torch.Generator().manual_seed(0)
    x_t, yes, none = torch.randn(3, 2, 3, 4, 4, generator=g)
    t = torch.tensor([300, 600])

    def model(x, t, condition, keep):
        return torch.where(keep[:, None, None, None], yes.repeat(2, 1, 1, 1),
                           none.repeat(2, 1, 1, 1))
    expected = process.guess_x0(model, x_t, t, x_t, 3.0)
    own = find("imagen.guess").function(x_t, yes, none, process.alpha_bar[t], 3.0)
    torch.testing.assert_close(own, expected)


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def guided_then(then):
    """The answer without its last step, and then(x_0)."""
    def answer(x_t, yes, none, alpha_bar, scale):
        a = alpha_bar[:, None, None, None]
        return then((x_t - (1 - a).sqrt() * (none + scale * (yes - none))) / a.sqrt())
    return answer


def sized(x, s):
    return torch.where(x.abs() > s, s * x.sign(), x) / s


def spread_of(x, percentile):
    return x.flatten(1).abs().quantile(percentile, 1).view(-1, 1, 1, 1)


WRONG = [
    ("hide_words", "1 less the share", lambda ids, draws, share, gap: hidden_by_copy(
        ids, draws, 1 - share, gap)),
    ("hide_words", "the first low draw alone", lambda ids, draws, share, gap: (
        lambda hidden: (ids.masked_fill(hidden, gap), hidden))(
            (low := (draws < share) & (ids > 2)) & (low.long().cumsum(1) <= 1))),
    ("masked_loss", "a small number inside the logarithm", lambda x, ids, h: F.nll_loss(
        (x[h].softmax(-1) + 1e-9).log(), ids[h], reduction="sum") / h.sum().clamp(1)),
    ("pooled", "the first place left out", lambda x, h: (
        lambda m: (x * m[..., None]).sum(1) / m.sum(1, keepdim=True).clamp(1))(
            h & (torch.arange(h.shape[1]) > 0))),
    ("pooled", "a softmax of the mask", lambda x, h: torch.einsum(
        "btd,bt->bd", x, torch.softmax(h.float(), 1))),
    ("hide_words", "padding hidden too", lambda ids, u, s, gap: (torch.where(
        h := (u < s) & ~((ids == 1) | (ids == 2)), gap, ids), h)),
    ("hide_words", "the end hidden too", lambda ids, u, s, gap: (torch.where(
        h := (u < s) & (ids > 1), gap, ids), h)),
    ("hide_words", "start and end hidden too", lambda ids, u, s, gap: (torch.where(
        h := (u < s) & (ids > 0), gap, ids), h)),
    ("hide_words", "every kind of token hidden", lambda ids, u, s, gap: (
        ids.masked_fill(u < s, gap), u < s)),
    ("hide_words", "a draw that equals the share", lambda ids, u, s, gap: (
        ids.masked_fill(h := (u <= s) & (ids > 2), gap), h)),
    ("hide_words", "padding in place of the gap", lambda ids, u, s, gap: (
        ids * ~(h := (u < s) & (ids > 2)), h)),
    ("hide_words", "numbers in place of bool", lambda ids, u, s, gap: (
        ids.masked_fill(h := (u < s) & (ids > 2), gap), h.int().long())),
    ("hide_words", "the first word spared", lambda ids, u, s, gap: (ids.masked_fill(
        h := F.pad(((u < s) & (ids > 2))[:, 2:], (2, 0)), gap), h)),
    ("hide_words", "the smallest word spared", lambda ids, u, s, gap: (ids.masked_fill(
        h := (u < s) & (ids > 3), gap), h)),
    ("hide_words", "0.15 whatever comes", lambda ids, u, s, gap: (ids.masked_fill(
        h := (u < 0.15) & (ids >= 3), gap), h)),
    ("hide_words", "truths wherever a draw is low", lambda ids, u, s, gap: (ids.masked_fill(
        (h := u < s) & (ids >= 3), gap), h)),
    ("hide_words", None, lambda ids, u, s, gap: (ids.masked_fill(
        h := (u.half() < s) & (ids >= 3), gap), h)),
    ("hide_words", None, lambda ids, u, s, gap: (ids.masked_fill(
        h := (u < s) & (ids > 2) & (u > 0.3), gap), h)),
    ("masked_loss", "nothing hidden is 0 / 0", lambda x, ids, h: F.cross_entropy(
        x.flatten(0, 1), ids.masked_fill(~h, -100).flatten())),
    ("masked_loss", "all places counted", lambda x, ids, h: F.cross_entropy(
        x.transpose(1, 2), ids)),
    ("masked_loss", "the seen places counted", lambda x, ids, h: F.cross_entropy(x[~h], ids[~h])),
    ("masked_loss", "sum in place of the mean", lambda x, ids, h: F.cross_entropy(
        x[h], ids[h], reduction="sum")),
    ("masked_loss", "divided by all places", lambda x, ids, h: F.cross_entropy(
        x[h], ids[h], reduction="sum") / h.numel()),
    ("masked_loss", "softmax twice", lambda x, ids, h: F.cross_entropy(
        x.softmax(2)[h], ids[h], reduction="sum") / h.sum().clamp(1)),
    ("masked_loss", "softmax over the places", lambda x, ids, h: F.nll_loss(
        x.log_softmax(1)[h], ids[h], reduction="sum") / h.sum().clamp(1)),
    ("masked_loss", "the softmax forgotten", lambda x, ids, h: F.nll_loss(
        x[h], ids[h], reduction="sum") / h.sum().clamp(1)),
    ("masked_loss", "the logarithm of a softmax", lambda x, ids, h: F.nll_loss(
        x.softmax(2).log()[h], ids[h], reduction="sum") / h.sum().clamp(1)),
    ("masked_loss", "seen words as padding", lambda x, ids, h: F.cross_entropy(
        x.flatten(0, 1), (ids * h).flatten())),
    ("masked_loss", "one number for each place", lambda x, ids, h: F.cross_entropy(
        x[h], ids[h], reduction="none")),
    ("masked_loss", None, lambda x, ids, h: loss_if_any(x, ids, h)[None]),
    ("masked_loss", None, lambda x, ids, h: loss_if_any(x, ids, h).clamp(max=20)),
    ("masked_loss", None, lambda x, ids, h: loss_if_any(x.half(), ids, h)),
    ("masked_loss", "labels smoothed", lambda x, ids, h: F.cross_entropy(
        x[h], ids[h], label_smoothing=0.1).nan_to_num(0.0)),
    ("pooled", "padding counted", lambda x, h: x.sum(1) / x.size(1)),
    ("pooled", "divided by all tokens", lambda x, h: x.masked_fill(~h[..., None], 0).mean(1)),
    ("pooled", "the padding alone", lambda x, h: torch.stack([
        a[~b].mean(0) for a, b in zip(x, h)])),
    ("pooled", "the last token heard", lambda x, h: torch.stack([
        a[b][-1] for a, b in zip(x, h)])),
    ("pooled", "the start left out", lambda x, h: torch.stack([
        a[b][1:].mean(0) for a, b in zip(x, h)])),
    ("pooled", "the end left out", lambda x, h: torch.stack([
        a[b][:-1].mean(0) for a, b in zip(x, h)])),
    ("pooled", "divided by the root of the number", lambda x, h: torch.stack([
        a[b].sum(0) / len(a[b]) ** 0.5 for a, b in zip(x, h)])),
    ("pooled", "the first so many places", lambda x, h: torch.stack([
        a[:n].mean(0) for a, n in zip(x, h.sum(1))])),
    ("pooled", "states of zeros not counted", lambda x, h: x.masked_fill(~h[..., None], 0).sum(1)
     / x.masked_fill(~h[..., None], 0).count_nonzero(1)),
    ("pooled", "states of zeros not counted", lambda x, h: pooled_by_matmul(
        x, h & (x.abs().sum(2) > 0))),
    ("pooled", "the kept dimension forgotten", lambda x, h: x.masked_fill(
        ~h[..., None], 0).sum(1) / h.sum(1)),
    ("pooled", "the mask without its last dimension", lambda x, h: (x * h).sum(1)
     / h.sum(1)[:, None]),
    ("pooled", None, lambda x, h: pooled_by_matmul(x, h).clamp(-0.5, 0.5)),
    ("pooled", None, lambda x, h: pooled_by_matmul(x, h).half()),
    ("guess", "not cut", guided_then(lambda x: x)),
    ("guess", "cut to [0, 1]", guided_then(lambda x: x.clamp(0, 1))),
    ("guess", "squeezed by tanh", guided_then(torch.tanh)),
    ("guess", "the roots forgotten", lambda x_t, yes, none, a, s: torch.stack([
        (x - (1 - k) * (n + s * (y - n))) / k
        for x, y, n, k in zip(x_t, yes, none, a)]).clamp(-1, 1)),
    ("guess", "scale counted from 0", lambda x_t, yes, none, a, s: find("imagen.guess").function(
        x_t, yes, none, a, s + 1)),
    ("guess", "turned round", lambda x_t, yes, none, a, s: find("imagen.guess").function(
        x_t, none, yes, a, s)),
    ("guess", None, guided_then(lambda x: x.clamp(-1.5, 1.5))),
    ("guess", "cut above alone", guided_then(lambda x: x.clamp(max=1))),
    ("guess", "cut below alone", guided_then(lambda x: x.clamp(min=-1))),
    ("guess", "brackets forgotten", lambda x_t, yes, none, a, s: torch.stack([
        x - (1 - k).sqrt() * (n + s * (y - n)) / k.sqrt()
        for x, y, n, k in zip(x_t, yes, none, a)]).clamp(-1, 1)),
    ("guess", "the root never below 0.1", lambda x_t, yes, none, a, s: torch.stack([
        (x - (1 - k).sqrt() * (n + s * (y - n))) / max(k.sqrt(), 0.1)
        for x, y, n, k in zip(x_t, yes, none, a)]).clamp(-1, 1)),
    ("guess", None, lambda x_t, yes, none, a, s: torch.stack([
        (x - (1 - k).sqrt() * (n + s * (y - n))) / max(k.sqrt(), 0.02)
        for x, y, n, k in zip(x_t, yes, none, a)]).clamp(-1, 1)),
    ("dynamic_threshold", "a static threshold", lambda x, p: x.clip(-1, 1)),
    ("dynamic_threshold", "s below 1", lambda x, p: sized(x, spread_of(x, p))),
    ("dynamic_threshold", "cut and not divided", lambda x, p: sized(
        x, s := spread_of(x, p).clamp(min=1)) * s),
    ("dynamic_threshold", "divided and not cut", lambda x, p: x / spread_of(x, p).clamp(min=1)),
    ("dynamic_threshold", "one s for the whole batch", lambda x, p: sized(
        x, torch.quantile(x.abs(), p).clamp(min=1))),
    ("dynamic_threshold", "the largest value", lambda x, p: sized(
        x, spread_of(x, 1.0).clamp(min=1))),
    ("dynamic_threshold", "without absolute values", lambda x, p: sized(
        x, x.flatten(1).quantile(p, 1).clamp(min=1).view(-1, 1, 1, 1))),
    ("dynamic_threshold", "0.995 whatever comes", lambda x, p: sized(
        x, spread_of(x, 0.995).clamp(min=1))),
    ("dynamic_threshold", None, lambda x, p: sized(x, spread_of(x, p).clamp(1, 3))),
    ("dynamic_threshold", None, lambda x, p: sized(x, spread_of(x, p).clamp(min=2))),
    ("dynamic_threshold", None, lambda x, p: sized(x, spread_of(x, min(p, 0.99)).clamp(min=1))),
    ("dynamic_threshold", None, lambda x, p: sized(x, spread_of(x, p).clamp(min=1)).half()),
    ("augment", "level times the noise on top", lambda small, s, eps: torch.stack(
        [x + k * e for x, k, e in zip(small, s, eps)])),
    ("augment", "the level as the noise's weight", lambda small, s, eps: torch.stack(
        [(1 - k * k) ** 0.5 * x + k * e for x, k, e in zip(small, s, eps)])),
    ("augment", "1 - level and level", lambda small, s, eps: torch.lerp(
        small, eps, s[:, None, None, None])),
    ("augment", "pi / 2 forgotten", lambda small, s, eps: torch.stack(
        [k.cos() * x + k.sin() * e for x, k, e in zip(small, s, eps)])),
    ("augment", "squares of cosine and sine", lambda small, s, eps: torch.lerp(
        small, eps, ((s * math.pi / 2).sin() ** 2)[:, None, None, None])),
    ("augment", None, lambda small, s, eps: find("imagen.augment").function(
        small, s, torch.randn_like(eps))),
    ("augment", None, lambda small, s, eps: find("imagen.augment").function(
        small, s.clamp(max=0.9), eps)),
    ("augment", None, lambda small, s, eps: find("imagen.augment").function(
        small, s.clamp(min=0.1), eps)),
    ("told", "the nearest pixel", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.shape[2:], mode="nearest")], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", "the level not told", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.shape[2:], mode="bilinear")], 1), text)),
    ("told", "the small picture first", lambda x_t, small, s, text: (torch.cat(
        [F.interpolate(small, x_t.shape[2:], mode="bilinear"), x_t], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", "twice as large, whatever x_t is", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, scale_factor=2.0, mode="bilinear")], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", "the width in the height's place", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.shape[-1], mode="bilinear")], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", "the height in the width's place", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.size(2), mode="bilinear")], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", "the enlarged picture cut", lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.shape[2:], mode="bilinear").clip(-1, 1)], 1),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", None, lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, scale_factor=2.0, mode="bilinear")], 1)
        if x_t.size(2) == 2 * small.size(2) else torch.zeros(len(x_t), 6, *x_t.shape[2:]),
        torch.cat([text, s.view(-1, 1)], 1))),
    ("told", None, lambda x_t, small, s, text: (torch.cat(
        [x_t, F.interpolate(small, x_t.shape[2:], mode="bilinear")], 1),
        torch.cat([text, s.view(-1, 1).clamp(max=0.5)], 1))),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"imagen.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- right numbers, and nothing can be learnt

CUT = [
    ("masked_loss", lambda x, ids, h: loss_if_any(x, ids, h).detach()),
    ("masked_loss", lambda x, ids, h: torch.tensor(loss_if_any(x, ids, h).item())),
    ("pooled", lambda x, h: pooled_by_matmul(x, h).detach()),
    ("pooled", torch.no_grad()(pooled_by_matmul)),
    ("pooled", lambda x, h: torch.from_numpy(pooled_by_matmul(x, h).detach().numpy())),
]


@pytest.mark.parametrize("name, function", CUT)
def test_right_numbers_through_which_nothing_is_learnt_are_told_so(name, function):
    for seed in range(5):
        assert judge(f"imagen.{name}", function, seed).state == "detached"


def test_a_loss_whose_logits_alone_are_detached_has_a_name():
    for seed in range(5):
        assert judge("imagen.masked_loss", lambda x, ids, h: loss_if_any(x.detach(), ids, h)
                     + 0 * x.sum(), seed).mistake == "the logits detached"


# ---- the inputs

def test_every_check_of_the_words_meets_a_tie_all_of_them_none_and_a_caption_without_any():
    for seed in SEEDS:
        rounds = calls("imagen.hide_words", seed)
        assert any(((draws == share) & (ids > 2)).any() for ids, draws, share, _ in rounds)
        assert {share for *_, share, _ in rounds} >= {0.0, 1.0}
        assert any((ids <= 2).all(dim=1).any() for ids, *_ in rounds)
        assert any(len(ids) == 1 for ids, *_ in rounds)


def test_every_check_of_the_loss_meets_nothing_hidden_all_hidden_and_one_place():
    for seed in SEEDS:
        shares = [hidden.float().mean().item() for *_, hidden in calls("imagen.masked_loss", seed)]
        counts = [hidden.sum().item() for *_, hidden in calls("imagen.masked_loss", seed)]
        assert 0.0 in shares and 1.0 in shares and 1 in counts


def test_every_check_of_the_mean_meets_one_heard_all_heard_and_gaps_between():
    for seed in SEEDS:
        rounds = [heard for _, heard in calls("imagen.pooled", seed)]
        assert any((heard.sum(dim=1) == 1).all() for heard in rounds)
        assert any(heard.all() for heard in rounds) and all(heard.any(1).all() for heard in rounds)
        assert any((heard.int().diff(dim=1) > 0).any() for heard in rounds)


def test_every_check_of_the_threshold_meets_a_percentile_of_1_an_s_of_1_and_a_tame_picture():
    for seed in SEEDS:
        rounds = calls("imagen.dynamic_threshold", seed)
        assert any(p == 1 for _, p in rounds)
        spreads = [spread_of(x, p) for x, p in rounds]
        assert any((s == 1).all() for s in spreads)
        assert any((s < 1).any() and (s > 1).any() for s in spreads)
        assert any(x.abs().max() >= 1e6 for x, _ in rounds)


def test_every_check_of_the_noise_meets_none_nothing_else_and_as_many_columns_as_pictures():
    for seed in SEEDS:
        rounds = calls("imagen.augment", seed)
        assert any({0.0, 1.0} <= set(level.tolist()) for _, level, _ in rounds)
        assert any(len(small) == small.shape[3] for small, *_ in rounds)


def test_every_check_of_a_guess_meets_the_scales_0_and_1_and_values_inside_and_outside():
    for seed in SEEDS:
        rounds = calls("imagen.guess", seed)
        assert {0.0, 1.0} <= {scale for *_, scale in rounds}
        cut = [find("imagen.guess").function(*args).abs() for args in rounds]
        assert all((x < 1).float().mean() > 0.1 for x in cut)
        assert sum((x == 1).any().item() for x in cut) >= 3


def test_every_check_of_a_guess_meets_a_step_with_hardly_any_picture_left():
    for seed in SEEDS:
        assert any((alpha_bar < 1e-3).all() for *_, alpha_bar, _ in calls("imagen.guess", seed))


def test_every_check_of_the_second_stage_meets_pictures_twice_thrice_and_four_times_as_large():
    for seed in SEEDS:
        assert {x_t.shape[2] // small.shape[2] for x_t, small, *_ in calls("imagen.told", seed)
                } == {2, 3, 4}


def test_every_check_of_the_mean_meets_a_state_of_zeros_that_is_heard():
    for seed in SEEDS:
        assert any((heard & (states == 0).all(dim=2)).any()
                   for states, heard in calls("imagen.pooled", seed))
