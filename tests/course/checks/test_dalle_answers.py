"""Lesson 08's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course.checks import judge

SEEDS = range(20)


# ---- right answers in styles that are met

def sentence_in_place(ids, codes, vocab):
    tokens = torch.empty(len(ids), ids.size(1) + codes.size(1), dtype=torch.long)
    tokens[:, :ids.size(1)] = ids
    tokens[:, ids.size(1):] = codes
    tokens[:, ids.size(1):] += vocab
    return tokens[:, :-1].clone(), tokens[:, 1:].clone()


def surprise(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets)


def loss_by_gather(text_logits, text, code_logits, codes):
    def nats(logits, targets):
        return -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).mean()
    return nats(text_logits, text) / 8 + 0.875 * nats(code_logits, codes)


def loss_by_logsumexp(text_logits, text, code_logits, codes):
    lost = [x.logsumexp(2) - torch.einsum("bnk,bnk->bn", x, F.one_hot(y, x.size(2)).to(x))
            for x, y in ((text_logits, text), (code_logits, codes))]
    return torch.stack([lost[0].mean(), lost[1].mean()]) @ torch.tensor([1.0, 7.0]) / 8


def top_k_by_scatter(logits, k):
    values, places = torch.topk(logits, min(k, logits.size(-1)), dim=-1)
    return torch.full_like(logits, float("-inf")).scatter_(-1, places, values)


def top_k_by_sort(logits, k):
    out = logits.clone()
    for row in out:
        row[row.argsort(descending=True)[k:]] = -torch.inf
    return out


def removed_and_shifted(logits, p):
    """As most libraries write it: the first removed place is shifted by one."""
    ordered, places = torch.sort(logits, descending=True)
    removed = torch.cumsum(F.softmax(ordered, dim=-1), dim=-1) > p
    removed[..., 1:] = removed[..., :-1].clone()
    removed[..., 0] = False
    return logits.masked_fill(removed.scatter(1, places, removed), float("-inf"))


def top_p_upwards(logits, p):
    """Sorted upwards: whoever has 1 - p or less with all below it goes."""
    ordered, places = logits.sort(dim=-1)
    gone = ordered.softmax(-1).cumsum(-1) <= 1 - p
    return logits.masked_fill(gone.scatter(1, places, gone), -math.inf)


def top_p_by_numpy(logits, p):
    out = numpy.full(logits.shape, -numpy.inf)
    for b, row in enumerate(logits.double().numpy()):
        share = numpy.exp(row - row.max()) / numpy.exp(row - row.max()).sum()
        order = numpy.argsort(-share)
        count = 1 + int((numpy.cumsum(share[order])[:-1] < p).sum())
        out[b, order[:count]] = row[order[:count]]
    return torch.from_numpy(out).float()


STYLES = [
    ("inputs_and_targets", sentence_in_place),
    ("inputs_and_targets", lambda ids, codes, vocab: (
        torch.cat((ids, codes[:, :-1] + vocab), 1), torch.cat((ids[:, 1:], codes + vocab), 1))),
    ("inputs_and_targets", lambda ids, codes, vocab: [
        F.pad(torch.hstack([ids, codes + vocab]), pad) for pad in ((0, -1), (-1, 0))]),
    ("weighted_loss", loss_by_gather),
    ("weighted_loss", loss_by_logsumexp),
    ("weighted_loss", lambda x, text, y, codes: (surprise(x, text) + 7 * surprise(y, codes)) / 8),
    ("weighted_loss", lambda x, text, y, codes: torch.lerp(
        surprise(x, text), surprise(y, codes), 7 / 8)),
    ("top_k_logits", top_k_by_scatter),
    ("top_k_logits", top_k_by_sort),
    ("top_k_logits", lambda logits, k: torch.where(
        (logits[:, :, None] < logits[:, None]).sum(2) < k, logits, -torch.inf)),
    ("top_k_logits", lambda logits, k: torch.stack([torch.where(
        row >= row.sort(descending=True)[0][:k][-1], row, -math.inf) for row in logits])),
    ("top_p_logits", removed_and_shifted),
    ("top_p_logits", top_p_upwards),
    ("top_p_logits", top_p_by_numpy),
    ("top_p_logits", lambda logits, p: removed_and_shifted(logits.double(), p)),
    ("guided", lambda logits, null, scale: (1 - scale) * null + scale * logits),
    ("guided", lambda logits, null, scale: logits + (scale - 1) * (logits - null)),
    ("guided", lambda logits, null, scale: torch.lerp(null, logits, scale)),
    ("guided", lambda logits, null, scale: torch.sub(logits, null).mul_(scale).add_(null)),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"dalle.{name}", function, seed).passed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def joined(ids, codes, vocab):
    return torch.hstack([ids, codes + vocab])


def parts_apart(ids, codes, vocab):
    """Words and codes shifted each by itself: nothing says the first code."""
    return (torch.hstack([ids[:, :-1], codes[:, :-1] + vocab]),
            torch.hstack([ids[:, 1:], codes[:, 1:] + vocab]))


def crossing_dropped(logits, p):
    ordered, places = torch.sort(logits, descending=True)
    removed = torch.cumsum(F.softmax(ordered, dim=-1), dim=-1) > p
    return logits.masked_fill(removed.scatter(1, places, removed), float("-inf"))


def first_kept(logits, p):
    """The crossing code goes, but for the first."""
    ordered = torch.sort(logits, descending=True).values
    kept = (ordered.softmax(-1).cumsum(-1) <= p).sum(-1, keepdim=True).clamp(min=1)
    return logits.masked_fill(logits < ordered.gather(1, kept - 1), -math.inf)


def by_bare_exp(logits, p):
    """Above 88 an exp is infinite in float32, and then one code stays."""
    ordered = torch.sort(logits, descending=True).values
    share = ordered.exp() / ordered.exp().sum(-1, keepdim=True)
    kept = (share.cumsum(-1) - share < p).sum(-1, keepdim=True).clamp(min=1)
    return logits.masked_fill(logits < ordered.gather(1, kept - 1), -math.inf)


def not_scattered(logits, p):
    ordered = torch.sort(logits, descending=True).values
    share = F.softmax(ordered, dim=-1)
    return logits.masked_fill(share.cumsum(-1) - share >= p, float("-inf"))


def still_sorted(logits, p):
    ordered = torch.sort(logits, descending=True).values
    share = F.softmax(ordered, dim=-1)
    return ordered.masked_fill(share.cumsum(-1) - share >= p, float("-inf"))


def upwards(logits, p):
    ordered, places = logits.sort(dim=-1)
    share = ordered.softmax(-1)
    kept = share.cumsum(-1) - share < p
    return torch.where(kept.gather(1, places.argsort(1)), logits, -math.inf)


WRONG = [
    ("inputs_and_targets", "not shifted", lambda ids, codes, vocab: (
        (tokens := joined(ids, codes, vocab)[:, :-1]), tokens.clone())),
    ("inputs_and_targets", "shifted the wrong way", lambda ids, codes, vocab: tuple(
        reversed(sentence_in_place(ids, codes, vocab)))),
    ("inputs_and_targets", "words and codes in one range",
     lambda ids, codes, vocab: sentence_in_place(ids, codes, 0)),
    ("inputs_and_targets", "behind the largest word of the batch",
     lambda ids, codes, vocab: sentence_in_place(ids, codes, 1 + max(sum(ids.tolist(), [])))),
    ("inputs_and_targets", "rolled round", lambda ids, codes, vocab: (
        (tokens := joined(ids, codes, vocab)), torch.cat([tokens[:, 1:], tokens[:, :1]], 1))),
    ("inputs_and_targets", None, parts_apart),
    ("inputs_and_targets", None, lambda ids, codes, vocab: (
        joined(ids, codes, vocab)[:, 1:-1], joined(ids, codes, vocab)[:, 2:])),
    ("inputs_and_targets", None, lambda ids, codes, vocab: (
        joined(ids, codes, vocab)[:, :-1], joined(ids, codes, 0)[:, 1:])),
    ("inputs_and_targets", None, lambda ids, codes, vocab: (
        joined(ids, codes, vocab), joined(ids, codes, vocab))),
    ("inputs_and_targets", None, lambda ids, codes, vocab: joined(ids, codes, vocab)[:, :-1]),
    ("inputs_and_targets", None, lambda ids, codes, vocab: sentence_in_place(
        ids, codes, ids.size(1))),
    *[("inputs_and_targets", None, padding) for padding in (
        lambda ids, codes, vocab: sentence_in_place(
            torch.where(ids == 0, vocab + torch.arange(ids.size(1)), ids), codes, vocab),
        lambda ids, codes, vocab: sentence_in_place(ids.masked_fill(ids == 0, vocab), codes, vocab),
        lambda ids, codes, vocab: sentence_in_place(
            ids[:, :int((ids != 0).sum(1).max())], codes, vocab))],
    ("weighted_loss", "equal weights", lambda x, text, y, codes: torch.stack(
        [surprise(x, text), surprise(y, codes)]).mean()),
    ("weighted_loss", "mean over all places", lambda x, text, y, codes: torch.cat(
        [F.cross_entropy(x.mT, text, reduction="none").flatten(),
         F.cross_entropy(y.mT, codes, reduction="none").flatten()]).mean()),
    ("weighted_loss", "weights exchanged", lambda x, text, y, codes: (
        7 * surprise(x, text) + surprise(y, codes)) / 8),
    ("weighted_loss", "not divided",
     lambda x, text, y, codes: surprise(x, text) + 7 * surprise(y, codes)),
    ("weighted_loss", "divided by 7",
     lambda x, text, y, codes: (surprise(x, text) + 7 * surprise(y, codes)) / 7),
    ("weighted_loss", "viewed in place of transposed", lambda x, text, y, codes: (
        F.cross_entropy(x.view(len(x), -1, x.size(1)), text) / 8
        + F.cross_entropy(y.view(len(y), -1, y.size(1)), codes) * 7 / 8)),
    ("weighted_loss", None, lambda x, text, y, codes: -(
        surprise(x, text) + 7 * surprise(y, codes)) / 8),
    ("weighted_loss", None, lambda x, text, y, codes: (
        F.cross_entropy(x[:, :-1].mT, text[:, 1:]) + 7 * surprise(y, codes)) / 8),
    ("weighted_loss", None, lambda x, text, y, codes: (
        F.cross_entropy(x, text) + 7 * F.cross_entropy(y, codes)) / 8),
    ("weighted_loss", None, lambda x, text, y, codes: (
        surprise(x.clamp(-50, 50), text) + 7 * surprise(y.clamp(-50, 50), codes)) / 8),
    ("weighted_loss", None, lambda x, text, y, codes: -(
        ((x.softmax(-1) + 1e-9).log().gather(2, text[..., None])).mean()
        + 7 * ((y.softmax(-1) + 1e-9).log().gather(2, codes[..., None])).mean()) / 8),
    ("top_k_logits", "the smallest kept", lambda logits, k: torch.full_like(
        logits, -math.inf).scatter(1, (low := logits.topk(
            min(k, logits.size(1)), largest=False)).indices, low.values)),
    ("top_k_logits", "one too few", lambda logits, k: logits.masked_fill(
        logits <= logits.topk(min(k, logits.size(1))).values[:, -1:], -math.inf)),
    ("top_k_logits", "one too many", lambda logits, k: logits.masked_fill(
        logits < logits.sort(1, True).values[:, min(k, logits.size(1) - 1)][:, None], -math.inf)),
    ("top_k_logits", "k of the whole batch", lambda logits, k: logits.masked_fill(
        logits < logits.flatten().topk(min(k, logits.numel())).values[-1], -math.inf)),
    ("top_k_logits", "0 in place of -inf", lambda logits, k: torch.where(
        top_k_by_sort(logits, k) == -math.inf, 0, logits)),
    ("top_k_logits", "k larger than K", lambda logits, k: torch.full_like(
        logits, -math.inf).scatter(1, *torch.topk(logits, k)[::-1])),
    ("top_k_logits", None, lambda logits, k: top_k_by_sort(logits, k).log_softmax(-1)),
    ("top_k_logits", None, lambda logits, k: logits.masked_fill(
        (shares := logits.softmax(1)) < shares.topk(min(k, logits.size(1))).values[:, -1:],
        -math.inf)),
    ("top_k_logits", "never all of them", lambda logits, k: logits.masked_fill(
        logits <= logits.sort(1, True).values[:, min(k, logits.size(1) - 1)][:, None], -math.inf)),
    ("top_k_logits", None, lambda logits, k: top_k_by_sort(logits, min(k, 5))),
    ("top_k_logits", None, lambda logits, k: top_k_by_sort(logits, max(k, 2))),
    ("top_k_logits", None, lambda logits, k: top_k_by_sort(logits, k).clamp(min=-1e9)),
    ("top_k_logits", None, lambda logits, k: top_k_by_sort(logits.T, k).T),
    ("top_p_logits", "the crossing code dropped", crossing_dropped),
    ("top_p_logits", "the mask not put back", not_scattered),
    ("top_p_logits", "in sorted order", still_sorted),
    ("top_p_logits", "the rare ones kept", upwards),
    ("top_p_logits", "each compared singly", lambda logits, p: torch.where(
        logits.softmax(1) < p, -math.inf, logits)),
    ("top_p_logits", "a share of the largest", lambda logits, p: torch.where(
        (logits - logits.amax(1, keepdim=True)).exp() < p, -math.inf, logits)),
    ("top_p_logits", "0 in place of -inf", lambda logits, p: torch.where(
        top_p_by_numpy(logits, p) == -math.inf, 0, logits)),
    ("top_p_logits", "the crossing code dropped, the first kept", first_kept),
    ("top_p_logits", None, by_bare_exp),
    ("top_p_logits", None, lambda logits, p: torch.where(
        logits.softmax(1) < 1 - p, -math.inf, logits)),
    ("top_p_logits", None, lambda logits, p: removed_and_shifted(logits, 1 - p)),
    ("top_p_logits", None, lambda logits, p: removed_and_shifted(logits, p).log_softmax(1)),
    ("top_p_logits", None, lambda logits, p: removed_and_shifted(logits.T, p).T),
    ("top_p_logits", None, lambda logits, p: removed_and_shifted(
        logits.flatten()[None], p).view_as(logits)),
    ("top_p_logits", None, lambda logits, p: top_k_by_sort(logits, round(p * logits.size(1)))),
    ("top_p_logits", None, lambda logits, p: removed_and_shifted(logits / 2, p)
     .exp().log().mul(2)),
    ("guided", "scale counted from 0",
     lambda logits, null, scale: (1 + scale) * logits - scale * null),
    ("guided", "with and without exchanged",
     lambda logits, null, scale: (1 - scale) * logits + scale * null),
    ("guided", "sign turned", lambda logits, null, scale: (1 + scale) * null - scale * logits),
    ("guided", "logarithm of mixed probabilities", lambda logits, null, scale: torch.log(
        (1 - scale) * null.softmax(1) + scale * logits.softmax(1))),
    ("guided", "softmax at the end", lambda logits, null, scale: torch.lerp(
        null, logits, scale).softmax(1)),
    ("guided", "one step too few",
     lambda logits, null, scale: (scale - 1) * logits + (2 - scale) * null),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, abs(scale))),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, max(scale, 0.0))),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, min(scale, 10.0))),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, float(int(scale)))),
    ("guided", None, lambda logits, null, scale: logits),
    ("guided", None, lambda logits, null, scale: (logits + null) / 2),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, max(scale, 1.0))),
    ("guided", None, lambda logits, null, scale: torch.lerp(null, logits, min(scale, 5.0))),
    ("guided", None, lambda logits, null, scale: null + scale * logits),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"dalle.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- right numbers through which nothing could be learnt

CUT_OFF = [
    ("no gradient reaches text_logits", lambda x, text, y, codes: (
        surprise(x, text).item() + 7 * surprise(y, codes)) / 8),
    ("no gradient reaches code_logits", lambda x, text, y, codes: (
        surprise(x, text) + 7 * surprise(y.detach(), codes)) / 8),
    ("reaches text_logits is wrong", lambda x, text, y, codes: (
        2 * surprise(x, text) - surprise(x, text).detach() + 7 * surprise(y, codes)) / 8),
]


@pytest.mark.parametrize("words, function", CUT_OFF)
def test_right_losses_that_cut_a_gradient_off_are_told_where(words, function):
    for seed in SEEDS:
        verdict = judge("dalle.weighted_loss", function, seed)
        assert verdict.state == "detached" and words in verdict.message


# ---- the inputs

def test_no_sum_of_probabilities_is_near_p_so_every_way_of_rounding_keeps_the_same_codes():
    for seed in range(50):
        for logits, p in calls("dalle.top_p_logits", seed):
            total = logits.double().sort(descending=True).values.softmax(1).cumsum(1)[:, :-1]
            assert (total - p).abs().min() > 0.0009


def test_every_check_of_top_p_has_a_row_that_keeps_one_code_rows_that_differ_and_p_of_1():
    for seed in SEEDS:
        counts = [(top_p_by_numpy(logits, p) > -math.inf).sum(1).tolist()
                  for logits, p in calls("dalle.top_p_logits", seed)]
        assert any(1 in count for count in counts) and any(len(set(c)) > 1 for c in counts)
        assert any(p == 1 for _, p in calls("dalle.top_p_logits", seed))


def test_every_check_of_top_k_has_k_of_1_and_more_than_all_and_no_ties():
    for seed in SEEDS:
        rounds = calls("dalle.top_k_logits", seed)
        assert any(k == 1 for _, k in rounds) and any(k > x.shape[1] for x, k in rounds)
        assert all(row.unique().numel() == x.shape[1] for x, _ in rounds for row in x)


def test_every_check_of_guidance_has_scales_below_0_of_0_1_above_and_far_above():
    for seed in SEEDS:
        scales = sorted(scale for *_, scale in calls("dalle.guided", seed))
        assert scales[0] < 0 == scales[1] < 1 == scales[2] < scales[3] < 4 < 15 < scales[4]


def test_every_check_of_inputs_and_targets_has_padding_of_a_whole_batch_and_of_one_caption():
    for seed in SEEDS:
        ids = calls("dalle.inputs_and_targets", seed)[0][0]
        assert (ids[:, -1] == 0).all() and ids[0, -2] == 0 < ids[-1, -2]


@pytest.mark.parametrize("change", [torch.Tensor.detach, lambda x: x.data])
def test_guidance_through_which_nothing_is_learnt_is_told_so(change):
    for seed in SEEDS:
        one = judge("dalle.guided", lambda x, null, s: null + s * (change(x) - null), seed)
        assert one.state == "detached" and "no gradient reaches logits" in one.message


NEAR = [
    ("top_p_logits", lambda logits, p: removed_and_shifted(logits, p - 0.004 * (p < 1))),
    ("top_p_logits", lambda logits, p: removed_and_shifted(logits, max(p, 0.2))),
    ("inputs_and_targets", lambda ids, codes, vocab: joined_pair(ids, codes.clamp(max=62), vocab)),
    ("guided", lambda logits, null, scale: null + min(scale, 20) * (logits - null)),
    ("guided", lambda logits, null, scale: null + abs(scale) * (logits - null)),
]


def joined_pair(ids, codes, vocab):
    return joined(ids, codes, vocab)[:, :-1], joined(ids, codes, vocab)[:, 1:]


@pytest.mark.parametrize("name, function", NEAR)
def test_nearly_right_answers_never_pass(name, function):
    for seed in SEEDS:
        assert not judge(f"dalle.{name}", function, seed).passed
