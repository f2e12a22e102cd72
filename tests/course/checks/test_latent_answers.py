"""Lesson 14: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course.checks import find, judge

SEEDS = range(5)


# ---- right answers in other styles

def encode_in_place(mean, log_variance, eps, scale):
    z = mean.clone()
    z += log_variance.mul(0.5).exp_() * eps
    return z.mul_(scale)


def counted_by_pytorch(c_in, c_out, kernel, height, width):
    layer = torch.nn.Conv2d(c_in, c_out, kernel, padding="same", bias=False, device="meta")
    return layer.weight.numel() * height * width


def maps_by_einsum(q, k, heard):
    scores = torch.einsum("bnd,btd->bnt", q, k) / math.sqrt(q.size(-1))
    scores[~heard[:, None].expand_as(scores)] = float("-inf")
    return torch.softmax(scores, -1)


def maps_with_a_large_number(q, k, heard):
    scores = (q / q.size(2) ** 0.5) @ k.transpose(1, 2)
    return (scores - 1e9 * (~heard)[:, None].float()).softmax(-1)


def maps_below_their_maximum(q, k, heard):
    scores = (q @ k.mT / q.size(2) ** 0.5).masked_fill(~heard[:, None], -math.inf)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)


def maps_of_the_heard_alone(q, k, heard):
    out = torch.zeros(len(q), q.size(1), k.size(1))
    for b, mask in enumerate(heard):
        out[b, :, mask] = (q[b] @ k[b, mask].T * q.size(2) ** -0.5).softmax(-1)
    return out


def maps_by_pytorch(q, k, heard):
    """What attention gives of values that are one-hot."""
    values = torch.eye(k.size(1)).expand(len(k), -1, -1)
    return F.scaled_dot_product_attention(q, k, values, heard[:, None].expand(-1, q.size(1), -1))


def dropped_by_rows(heard, keep):
    out = heard.clone()
    out[~keep, 1:] = False
    return out


def start_by_numpy(z, eps, alpha_bar, strength):
    step = int(numpy.rint(strength * (alpha_bar.numel() - 1)))
    return alpha_bar[step] ** 0.5 * z + (1 - alpha_bar[step]) ** 0.5 * eps, step


def start_in_float64(z, eps, alpha_bar, strength):
    step = torch.tensor(strength * (len(alpha_bar) - 1)).round().long()
    a = alpha_bar.double()[step]
    return [a.sqrt() * z.double() + (1 - a).sqrt() * eps, step]


STYLES = [
    ("encode", encode_in_place),
    ("encode", lambda mean, log_variance, eps, scale: torch.addcmul(
        mean, log_variance.exp().sqrt(), eps) * scale),
    ("encode", lambda mean, log_variance, eps, scale: scale * mean
        + scale * torch.exp(0.5 * log_variance) * eps),
    ("encode", lambda mean, log_variance, eps, scale: scale * (
        mean + math.e ** (log_variance.clamp(-30, 20) / 2) * eps)),
    ("encode", lambda mean, log_variance, eps, scale: torch.stack(
        [(m + (v / 2).exp() * e) * scale for m, v, e in zip(mean.double(), log_variance, eps)])),
    ("multiply_adds", lambda c_in, c_out, kernel, height, width: math.prod(
        (c_in, c_out, kernel, kernel, height, width))),
    ("multiply_adds", counted_by_pytorch),
    ("multiply_adds", lambda *sizes: torch.tensor([*sizes, sizes[2]]).prod()),
    ("word_maps", maps_by_einsum), ("word_maps", maps_with_a_large_number),
    ("word_maps", maps_below_their_maximum), ("word_maps", maps_of_the_heard_alone),
    ("word_maps", maps_by_pytorch),
    ("word_maps", lambda q, k, heard: F.log_softmax(
        q @ k.mT / q.size(2) ** 0.5 + heard[:, None].float().log(), -1).exp()),
    ("dropped", dropped_by_rows),
    ("dropped", lambda heard, keep: torch.where(keep.unsqueeze(1), heard,
                                                torch.arange(heard.size(1)) == 0)),
    ("dropped", lambda heard, keep: torch.cat([heard[:, :1], heard[:, 1:] & keep[:, None]], 1)),
    ("guided", lambda yes, none, no, scale: torch.lerp(no, yes, scale)),
    ("guided", lambda yes, none, no, scale: scale * yes + (1 - scale) * no),
    ("guided", lambda yes, none, no, scale: yes + (scale - 1) * (yes - no)),
    ("noisy_start", start_by_numpy), ("noisy_start", start_in_float64),
    ("noisy_start", lambda z, eps, alpha_bar, s: (
        (a := alpha_bar[(t := int(s * (len(alpha_bar) - 1) + 0.5))]).sqrt() * z
        + (1 - a).sqrt() * eps, t))]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"latent.{name}", function, seed).passed, seed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def maps(change=lambda scores: scores, mask=lambda heard: heard, dim=-1, low=-math.inf):
    """Shares of the words, written as usual."""
    return lambda q, k, heard: change(q @ k.mT / q.size(2) ** 0.5).masked_fill(
        ~mask(heard)[:, None], low).softmax(dim)


def exponentials(scores, heard):
    weights = scores.exp() * heard[:, None]
    return weights / weights.sum(-1, keepdim=True)


def start(step=lambda T, s: round(s * (T - 1)), of_z=torch.sqrt, of_eps=lambda a: (1 - a).sqrt(),
          say=lambda t, T: t):
    """From a picture, written as usual."""
    def answer(z, eps, alpha_bar, s):
        t = step(len(alpha_bar), s)
        return of_z(alpha_bar[t]) * z + of_eps(alpha_bar[t]) * eps, say(t, len(alpha_bar))
    return answer


def only_the_start(heard):
    out = torch.zeros_like(heard)
    out[:, 0] = True
    return out


WRONG = [
    ("encode", "log-variance as the standard deviation", lambda m, v, e, s: (m + e * v) * s),
    ("encode", "half of the log-variance as the standard deviation",
     lambda m, v, e, s: (m + e * 0.5 * v) * s),
    ("encode", "variance as the standard deviation", lambda m, v, e, s: s * (m + v.exp() * e)),
    ("encode", "the root of the log-variance", lambda m, v, e, s: s * (m + v ** 0.5 * e)),
    ("encode", "divided by the scale", lambda m, v, e, s: (m + torch.exp(v / 2) * e) / s),
    ("encode", "the scale squared", lambda m, v, e, s: (m + torch.exp(v / 2) * e) / (1 / s) ** 2),
    ("encode", "by this batch's own deviation",
     lambda m, v, e, s: (z := m + torch.exp(v / 2) * e) / z.std()),
    ("encode", "1e-08 added to the variance",
     lambda m, v, e, s: s * (m + torch.sqrt(v.exp() + 1e-8) * e)),
    ("encode", "the log-variance clamped at -10",
     lambda m, v, e, s: s * (m + v.clamp(-10, 10).mul(0.5).exp() * e)),
    ("encode", "Stable Diffusion's scale", lambda m, v, e, s: 0.18215 * (m + (v / 2).exp() * e)),
    ("encode", "the deviation added, without eps", lambda m, v, e, s: s * (m + v.exp() ** 0.5)),
    ("encode", "noise without its sign", lambda m, v, e, s: s * (m + (v.exp() * e * e).sqrt())),
    ("encode", "the first cloud's width for all",
     lambda m, v, e, s: s * (m + (v[0] / 2).exp() * e)),
    ("encode", "mean and log-variance exchanged", lambda m, v, e, s: s * (v + (m / 2).exp() * e)),
    ("encode", "the scale in the log-variance too",
     lambda m, v, e, s: s * m + (s * v / 2).exp() * e),
    ("encode", None, lambda m, v, e, s: s * (m + (v / 2).exp() * torch.randn_like(m))),
    ("encode", None, lambda m, v, e, s: s * (m + 2 ** (v / 2) * e)),
    ("encode", None, lambda m, v, e, s: (s * (m + (v / 2).exp() * e)).bfloat16().float()),
    ("encode", None, lambda m, v, e, s: s * (
        m + (v.mean((2, 3), keepdim=True) / 2).exp() * e)),
    ("multiply_adds", "kernel not squared", lambda i, o, k, h, w: h * w * k * o * i),
    ("multiply_adds", "kernel ^ 2", lambda i, o, k, h, w: i * o * (k ^ 2) * h * w),
    ("multiply_adds", "a kernel of 3 x 3, whatever was given",
     lambda i, o, k, h, w: i * o * 3 * 3 * h * w),
    ("multiply_adds", "in 32 bits", lambda *sizes: torch.tensor(
        [*sizes, sizes[2]], dtype=torch.int32).prod(dtype=torch.int32).item()),
    ("multiply_adds", "the biases counted once each",
     lambda i, o, k, h, w: o * (i * k * k * h * w + 1)),
    ("multiply_adds", "one addition fewer than products",
     lambda i, o, k, h, w: h * w * o * (i * k * k + i * k * k - 1)),
    ("multiply_adds", "in millions", lambda i, o, k, h, w: i * o * k * k * h * w / 1_000_000),
    ("multiply_adds", "products with the padding left out", lambda i, o, k, h, w: i * o * sum(
        0 <= y + a - k // 2 < h for y in range(h) for a in range(k)) * sum(
        0 <= x + b - k // 2 < w for x in range(w) for b in range(k))),
    ("multiply_adds", None, lambda i, o, k, h, w: int(torch.tensor(float(i)) * o * k * k * h * w)),
    ("multiply_adds", None, lambda i, o, k, h, w: i * o * k * k * h * w / 1),
    ("word_maps", "normalised over the places", maps(dim=1)),
    ("word_maps", "normalised over the batch", maps(dim=0)),
    ("word_maps", "masked after the softmax", lambda q, k, heard: (
        q @ k.mT / q.size(2) ** 0.5).softmax(2).masked_fill(~heard[:, None], 0)),
    ("word_maps", "not divided by the root of d", lambda q, k, heard: (
        q @ k.mT).masked_fill(~heard[:, None], -1e9).softmax(2)),
    ("word_maps", "divided by the fourth root of d", lambda q, k, heard: (
        q @ k.mT / q.size(2) ** 0.25).masked_fill(~heard[:, None], -1e9).softmax(2)),
    ("word_maps", "exp overflows or vanishes",
     lambda q, k, heard: exponentials(q @ k.mT / q.size(2) ** 0.5, heard)),
    ("word_maps", "weighed with the padding, masked, and brought to the sum 1",
     lambda q, k, heard: exponentials((x := q @ k.mT / q.size(2) ** 0.5)
                                      - x.amax(-1, keepdim=True), heard)),
    ("word_maps", "scores clamped", maps(lambda scores: scores.clamp(-60, 60))),
    ("word_maps", "masked with 0 before the softmax", maps(low=1e-9)),
    ("word_maps", "masked with -1", maps(low=-1.0)),
    ("word_maps", "masked with -10", maps(low=-10.0)),
    ("word_maps", "masked with -20", maps(low=-20.0)),
    ("word_maps", "masked with a number that is not low enough", maps(low=-50.0)),
    ("word_maps", "masked with a number that is not low enough", maps(low=-1000.0)),
    ("word_maps", "masked with +inf", maps(low=math.inf)),
    ("word_maps", None, lambda q, k, heard: (
        q @ k.mT / q.size(2) ** 0.5 + (1 - heard[:, None].float()) * -math.inf).softmax(-1)),
    ("word_maps", "the scores' sign turned", maps(torch.neg)),
    ("word_maps", "divided by twice the root of d", maps(lambda scores: scores / 2)),
    ("word_maps", "the longest caption's mask for all", maps(
        mask=lambda heard: torch.arange(heard.size(1)).expand_as(heard) < heard.sum(1).max())),
    ("word_maps", "the first caption's mask for all", maps(mask=lambda heard: heard[:1])),
    ("word_maps", "the end not heard", maps(
        mask=lambda heard: heard & heard.roll(-1, 1) & (torch.arange(heard.size(1))
                                                        < heard.size(1) - 1))),
    ("word_maps", "one token too many", maps(
        mask=lambda heard: F.pad(heard, (1, 0), value=True)[:, :-1])),
    ("word_maps", "logarithms of the shares", lambda *given: maps()(*given).log()),
    ("word_maps", "softmax twice", lambda *given: maps()(*given).softmax(-1)),
    ("word_maps", "cosines, divided too", lambda q, k, heard: maps()(
        F.normalize(q, dim=-1), F.normalize(k, dim=-1), heard)),
    ("word_maps", "words and places exchanged, and normalised over the places",
     lambda q, k, heard: (k @ q.mT / q.size(2) ** 0.5).masked_fill(
         ~heard[..., None], -math.inf).softmax(-1)),
    ("word_maps", None, lambda *given: maps()(*given).bfloat16().float()),
    ("word_maps", None, lambda q, k, heard: (q @ k.mT / 8).masked_fill(
        ~heard[:, None], -math.inf).softmax(-1)),
    ("word_maps", None, lambda q, k, heard: exponentials(
        q @ k.mT / q.size(2) ** 0.5, heard).nan_to_num()),
    ("word_maps", None, lambda q, k, heard: maps()(q, k, heard)[:, :, heard.any(0)]),
    ("dropped", "nothing at all is heard", lambda heard, keep: torch.stack(
        [row if one else torch.zeros_like(row) for row, one in zip(heard, keep)])),
    ("dropped", "the end left in place of the start", lambda heard, keep: torch.where(
        keep[:, None], heard, heard & ~F.pad(heard, (0, 1))[:, 1:])),
    ("dropped", "the start only where the row has an end", lambda heard, keep: torch.where(
        keep[:, None], heard, heard & ~heard.roll(1, -1))),
    ("dropped", "two tokens left", lambda heard, keep: torch.where(
        keep[:, None], heard, heard & (torch.arange(heard.size(1)) <= 1))),
    ("dropped", "all kept as soon as one is", lambda heard, keep: heard.clone() if keep.any()
     else only_the_start(heard)),
    ("dropped", "short captions dropped", lambda heard, keep: torch.where(
        keep[:, None] & heard[:, 2:3], heard, only_the_start(heard))),
    ("dropped", "the dropped rows left out", lambda heard, keep: heard[keep.nonzero()[:, 0]]),
    ("dropped", "keep or heard", lambda heard, keep: torch.logical_or(heard, keep.unsqueeze(1))),
    ("dropped", "the end of kept captions lost", lambda heard, keep: torch.where(
        keep[:, None], F.pad(heard, (0, 1))[:, 1:] & heard, only_the_start(heard))),
    ("dropped", "whole numbers in place of bool", lambda heard, keep: dropped_by_rows(
        heard, keep).long()),
    ("dropped", None, lambda heard, keep: dropped_by_rows(heard, torch.rand(len(keep)) > 0.1)),
    ("dropped", None, lambda heard, keep: heard ^ ~keep[:, None]),
    ("dropped", None, lambda heard, keep: heard & (keep[:, None] | (torch.arange(16) == 0))),
    ("dropped", None, lambda heard, keep: dropped_by_rows(heard, keep).byte()),
    ("guided", "added in place of replacing",
     lambda yes, none, no, scale: none + scale * (yes + no - 2 * none)),
    ("guided", "subtracted beside none",
     lambda yes, none, no, scale: none + scale * (yes - none) - scale * (no - none)),
    ("guided", "turned round", lambda yes, none, no, scale: scale * no + (1 - scale) * yes),
    ("guided", "scale counted from 0", lambda yes, none, no, scale: (1 + scale) * yes - scale * no),
    ("guided", "scale less one", lambda yes, none, no, scale: torch.lerp(no, yes, scale - 1)),
    ("guided", "a push of strength one beside guidance",
     lambda yes, none, no, scale: scale * yes + (2 - scale) * none - no),
    ("guided", "away from the negative caption alone",
     lambda yes, none, no, scale: (1 + scale) * none - scale * no),
    ("guided", "towards no caption", lambda none, yes, no, scale: no + scale * (yes - no)),
    ("guided", "the negative caption ignored",
     lambda yes, no, none, scale: no + scale * (yes - no)),
    ("guided", "not guided up to scale 1",
     lambda yes, none, no, scale: no + max(scale, 1) * (yes - no)),
    ("guided", "no caption's answer at scale 0",
     lambda yes, none, no, scale: no + scale * (yes - no) if scale > 0 else none),
    ("guided", "the scale 7.5, whatever was given",
     lambda yes, none, no, scale: no + 7.5 * (yes - no)),
    ("guided", "the scale cut to a whole number",
     lambda yes, none, no, scale: no + math.floor(scale) * (yes - no)),
    ("guided", None, lambda yes, none, no, scale: no[:1] + scale * (yes - no[:1])),
    ("guided", None, lambda yes, none, no, scale: no + scale * (yes - no).abs()),
    ("guided", None, lambda yes, none, no, scale: (no + scale * (yes - no)).half().float()),
    ("noisy_start", "strength counted from the wrong end",
     start(lambda T, s: round((1 - s) * (T - 1)))),
    ("noisy_start", "the roots forgotten", start(of_z=lambda a: a, of_eps=lambda a: 1 - a)),
    ("noisy_start", "the latent's root forgotten", start(of_z=lambda a: a)),
    ("noisy_start", "the noise's root forgotten", start(of_eps=lambda a: 1 - a)),
    ("noisy_start", "one less the root", start(of_eps=lambda a: 1 - a ** 0.5)),
    ("noisy_start", "noise subtracted", start(of_eps=lambda a: -(1 - a) ** 0.5)),
    ("noisy_start", "shrunk, and without noise", start(of_eps=lambda a: 0)),
    ("noisy_start", "the latent not shrunk, the noise enlarged", start(
        of_z=lambda a: 1, of_eps=lambda a: (1 - a).sqrt() / a.sqrt())),
    ("noisy_start", "alpha_bar kept from its ends", start(
        of_z=lambda a: a.clamp(0.01, 0.99).sqrt(), of_eps=lambda a: (1 - a.clamp(
            0.01, 0.99)).sqrt())),
    ("noisy_start", "rounded down", start(lambda T, s: math.floor(s * (T - 1)))),
    ("noisy_start", "a share of T in place of T - 1", start(lambda T, s: min(round(s * T), T - 1))),
    ("noisy_start", "a share of T, beyond the table", start(lambda T, s: round(s * T))),
    ("noisy_start", "a table of 1000 steps, whatever was given", start(
        lambda T, s: round(999 * s))),
    ("noisy_start", "one step too few, and the last before the first", start(
        lambda T, s: round(s * (T - 1)) - 1)),
    ("noisy_start", "the step as a float", start(say=lambda t, T: torch.tensor(1.0 * t))),
    ("noisy_start", "the steps counted from the end", start(say=lambda t, T: T - t - 1)),
    ("noisy_start", "step and latent exchanged", lambda *given: start()(*given)[::-1]),
    ("noisy_start", "the latent itself at strength 0", lambda z, eps, alpha_bar, s: start()(
        z, eps, alpha_bar, s) if s > 0 else (1 * z, 0)),
    ("noisy_start", None, lambda z, eps, alpha_bar, s: start()(
        z, torch.randn_like(z), alpha_bar, s)),
    ("noisy_start", None, lambda z, eps, alpha_bar, s: start()(
        z, eps, alpha_bar.half().float(), s)),
    ("noisy_start", None, lambda *given: start()(*given)[0]),
    ("noisy_start", None, start(lambda T, s: round(s * (T - 2)))),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"latent.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, (seed, verdict)


@pytest.mark.parametrize("lost, function", [
    ("q and k", lambda *given: maps()(*given).detach()),
    ("q and k", lambda q, k, heard: torch.from_numpy(maps()(q, k, heard).detach().numpy())),
    ("q", lambda q, k, heard: maps()(q.data, k, heard)),
    ("k", lambda q, k, heard: maps()(q, k.detach(), heard))])
def test_right_maps_through_which_nothing_is_learnt_are_told_so(lost, function):
    for seed in SEEDS:
        verdict = judge("latent.word_maps", function, seed)
        assert verdict.state == "detached" and f"no gradient reaches {lost}." in verdict.message


def test_each_message_names_the_section_to_read_again():
    sections = {"encode": 1, "multiply_adds": 2, "word_maps": 4, "dropped": 4, "guided": 6,
                "noisy_start": 7}
    for name, section in sections.items():
        for mistake in find(f"latent.{name}").mistakes:
            assert mistake.message.endswith(f" (section {section} of the lesson).")


# ---- the inputs

def test_every_check_of_the_latent_meets_clouds_ten_thousand_times_narrower_than_one():
    for seed in range(20):
        assert any((variance.exp() < 1e-6).all() and scale > 1000
                   for _, variance, _, scale in calls("latent.encode", seed))


def test_every_check_counts_beyond_32_bits_and_beyond_what_float32_holds():
    for seed in range(20):
        rounds = calls("latent.multiply_adds", seed)
        largest = max(math.prod((*sizes, sizes[2])) for sizes in rounds)
        assert largest > 2 ** 31 and int(torch.tensor(float(largest))) != largest


def test_every_check_has_a_layer_from_few_channels_to_more_and_one_the_other_way():
    for seed in range(20):
        rounds = calls("latent.multiply_adds", seed)
        assert {c_in < c_out for c_in, c_out, *_ in rounds[:4]} == {True, False}


def test_no_way_of_multiplying_rounds_the_scores_that_no_exponential_holds():
    """The same by whole numbers; so any order of sums and products gives the same bits."""
    for seed in range(20):
        q, k, heard = calls("latent.word_maps", seed)[-1]
        exact = (8 * q).long() @ (8 * k).long().mT
        assert torch.equal(q @ k.mT * 64, exact.float()) and exact.abs().max() > 64 * 4 * 1000
        assert torch.equal(exact.float().long(), exact) and math.isqrt(q.size(2)) ** 2 == q.size(2)


def test_every_check_of_the_maps_has_a_caption_of_the_start_alone_and_first_is_not_the_longest():
    for seed in range(20):
        rounds = [heard.sum(1) for *_, heard in calls("latent.word_maps", seed)]
        assert any((length == 1).any() for length in rounds)
        assert any(length[0] < length.max() for length in rounds)


def test_every_check_keeps_and_drops_a_full_row_and_a_caption_of_two_tokens():
    for seed in range(20):
        found = {(int(length), bool(keep)) for heard, keeps in calls("latent.dropped", seed)
                 for length, keep in zip(heard.sum(1) - heard.size(1) * heard.all(1), keeps)}
        assert {(0, True), (0, False), (2, True), (2, False)} <= found


def test_every_check_from_a_picture_has_both_ends_of_a_real_table_and_no_share_near_a_half():
    for seed in range(20):
        rounds = [(alpha_bar, s) for _, _, alpha_bar, s in calls("latent.noisy_start", seed)]
        ends = {s for alpha_bar, s in rounds if len(alpha_bar) == 1000}
        assert ends == {0.0, 1.0}
        assert all(abs(s * (len(a) - 1) % 1 - 0.5) > 0.1 for a, s in rounds)
