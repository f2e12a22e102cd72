"""Lesson 16's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
from asking import calls

from minidalle import metrics
from minidalle.course.checks import find, judge
from minidalle.course.checks.answers import difference

SEEDS = range(20)


# ---- right answers in styles that are met

def parts_by_rows(right):
    whole = sum(1 for row in right if row.all()) / len(right)
    return torch.tensor(whole), torch.stack([column.float().mean() for column in right.T]).prod()


def swaps_by_hand(read, said):
    rate = either = n = 0
    for r, s in zip(read, said):
        if s[0] == s[2] or s[1] == s[3]:
            continue
        n += 1
        if r[0] == s[0] and r[2] == s[2]:
            crossed = bool(r[1] == s[3] and r[3] == s[1])
            rate += crossed
            either += crossed or bool(r[1] == s[1] and r[3] == s[3])
    return rate / max(n, 1), 0.5 * either / max(n, 1)


def swaps_by_sets(read, said):
    visible = said[:, 0].ne(said[:, 2]) & said[:, 1].ne(said[:, 3])
    if not visible.any():
        return 0, 0
    read, said = read[visible].numpy(), said[visible].numpy()
    digits = (read[:, ::2][:, :2] == said[:, ::2][:, :2]).all(1)
    rate = (digits & (read[:, [3, 1]] == said[:, [1, 3]]).all(1)).mean()
    same = (digits & (numpy.sort(read[:, [1, 3]]) == numpy.sort(said[:, [1, 3]])).all(1)).mean()
    return rate, same / 2


def copies_by_matmul(samples, fresh, train, level):
    def squares(a, b):
        a, b = a.flatten(1), b.flatten(1)
        return (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    own = squares(train, train) + torch.diag(torch.full((len(train),), 1e9))
    limit = torch.quantile(own.min(1)[0].clamp(min=0).sqrt(), level)
    return tuple((squares(x, train).min(1)[0].clamp(min=0).sqrt() < limit).float().mean()
                 for x in (samples, fresh))


def copies_by_topk(samples, fresh, train, level):
    def d(a, b):
        return torch.cdist(a.flatten(1), b.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    limit = d(train, train).topk(2, largest=False)[0][:, 1].quantile(level)
    return [(d(x, train).min(dim=1).values < limit).double().mean() for x in (samples, fresh)]


def copies_by_numpy(samples, fresh, train, level):
    flat = [x.numpy().reshape(len(x), -1).astype("float64") for x in (samples, fresh, train)]

    def d(a, b):
        return numpy.linalg.norm(a[:, None] - b[None], axis=-1)
    own = d(flat[2], flat[2])
    numpy.fill_diagonal(own, numpy.inf)
    limit = numpy.quantile(own.min(1), level)
    return [(d(x, flat[2]).min(1) < limit).mean() for x in flat[:2]]


def given_by_loop(digits, inks, digit, colours):
    rows = inks[digits == digit]
    return torch.tensor([(rows == c).sum().item() / max(len(rows), 1) for c in range(colours)])


def given_by_histogram(digits, inks, digit, colours):
    counts = torch.zeros(colours)
    for d, i in zip(digits, inks):
        counts[i] += float(d == digit)
    return counts if counts.sum() == 0 else counts / counts.sum()


def guided_in_float64(given, overall, scale):
    p, q = given.double(), overall.double()
    if scale == 0:
        return q.float()
    logs = scale * p.log() + (1 - scale) * q.clamp(min=1e-300).log()
    powers = (logs - logs[logs.isfinite()].max()).exp()
    return torch.where((p > 0) & (q > 0), powers, 0.0) / powers.nansum()


def guided_by_xlogy(given, overall, scale):
    alive = (overall > 0) & ((given > 0) | (scale == 0))
    logs = torch.full_like(given, -math.inf)
    if scale == 0:
        logs[alive] = overall[alive].log()
    else:
        ratio = given[alive] / overall[alive]
        logs[alive] = torch.log(overall[alive]) + scale * torch.log(ratio)
    return torch.nn.functional.softmax(logs, -1)


def ring_by_masking(noise, key, mask):
    off = (torch.fft.fft2(noise, norm="ortho") - key[None]) * mask
    return off.abs().sum((1, 2, 3)) / (mask.sum() * noise.shape[1])


def ring_by_two_ffts(noise, key, mask):
    rows = torch.fft.fft(torch.fft.fft(noise, dim=3), dim=2) / math.sqrt(noise[0, 0].numel())
    off = torch.view_as_real(rows - key).square().sum(-1).sqrt()
    return torch.stack([one[:, mask].mean() for one in off])


def ring_by_numpy(noise, key, mask):
    off = numpy.fft.fft2(noise.numpy(), norm="ortho")[:, :, mask.numpy()] - key[:, mask].numpy()
    return torch.tensor(numpy.abs(off).mean((1, 2)), dtype=torch.float32)


def p_by_parts(found, key):
    y, k = torch.view_as_real(found).flatten(1), torch.view_as_real(key).flatten()
    variance = y.square().sum(1) / len(key) / 2
    d, more = ((y - k) ** 2).sum(1) / variance, (k ** 2).sum() / variance
    z = (d - len(k) - more) / torch.sqrt(2 * (len(k) + 2 * more))
    return torch.distributions.Normal(0.0, 1.0).cdf(z)


def p_by_correlation(found, key):
    """Since s is measured, d less its mean is the correlation with the key alone."""
    s = found.abs().pow(2).mean(1)
    together = (found * key.conj()).real.sum(1)
    more = 2 * key.abs().pow(2).sum() / s
    return torch.special.ndtr(-2 * together / s / (len(key) + more).sqrt())


def p_by_erfc(found, key):
    M, out = key.numel(), []
    for y in found:
        s = (y * y.conj()).real.mean()
        d, more = (2 / s * v.abs().square().sum() for v in (y - key, key))
        out.append(torch.special.erfc(-(d - 2 * M - more) / (8 * (M + more)).sqrt()) / 2)
    return torch.stack(out)


STYLES = [
    ("parts", parts_by_rows),
    ("parts", lambda right: (right.all(1).float().mean(), right.float().mean(0).prod())),
    ("parts", lambda right: ((right.sum(1) == right.shape[1]).double().mean(),
                             right.double().mean(0).log().sum().exp())),
    ("parts", lambda right: [right.prod(1).sum() / len(right),
                             numpy.prod(right.numpy().mean(0))]),
    ("swap_rate", swaps_by_hand), ("swap_rate", swaps_by_sets),
    ("copied", copies_by_matmul), ("copied", copies_by_topk), ("copied", copies_by_numpy),
    ("share_given", given_by_loop), ("share_given", given_by_histogram),
    ("share_given", lambda digits, inks, digit, colours: torch.histc(
        inks[digits == digit].float(), colours, -0.5, colours - 0.5)
     / max(1, (digits == digit).sum())),
    ("guided_shares", guided_in_float64), ("guided_shares", guided_by_xlogy),
    ("ring_distance", ring_by_masking), ("ring_distance", ring_by_two_ffts),
    ("ring_distance", ring_by_numpy),
    ("p_value", p_by_parts), ("p_value", p_by_correlation), ("p_value", p_by_erfc)]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        verdict = judge(f"compare.{name}", function, seed)
        assert verdict.passed, verdict


# ---- wrong ones, each with the name that it is told, or none

def copies_below(at, share=lambda near: near.float().mean().item()):
    """The limit at(distances to the nearest other, level), and what is made of who is below it."""
    def answer(samples, fresh, train, level):
        limit = at(torch.cdist(train.flatten(1), train.flatten(1)).fill_diagonal_(
            math.inf).amin(1), level)
        return [share(torch.cdist(x.flatten(1), train.flatten(1)).amin(1) < limit)
                for x in (samples, fresh)]
    return answer


def swaps_of(digits, inks, as_said):
    """Three rules for a row: digits right, inks exchanged, inks as said."""
    def answer(read, said):
        n = hits = both = 0
        for r, s in zip(read.tolist(), said.tolist()):
            if s[0] != s[2] and s[1] != s[3]:
                n += 1
                right = digits(r[0], r[2], s[0], s[2])
                hits += right and inks(r[1], r[3], s[1], s[3])
                both += right and (inks(r[1], r[3], s[1], s[3]) or as_said(r[1], r[3], s[1], s[3]))
        return (hits / n, both / n / 2) if n else (0.0, 0.0)
    return answer


def equal(a, b, x, y):
    return (a, b) == (x, y)


def crossed(a, b, x, y):
    return (a, b) == (y, x)


def powers(given, overall, scale):
    x = overall ** (1 - scale) * given ** scale
    return x / x.sum()


def in_halves(x):
    return x.half().float()


WRONG = [
    ("parts", "three right in each picture", lambda right: (
        (right.sum(1) == 3).float().mean(), right.float().mean(0).prod())),
    ("parts", "the mean to the power of their number", lambda right: (
        right.all(1).float().mean(), right.float().mean() ** len(right.T))),
    ("swap_rate", "inks by their sum",
     swaps_of(equal, crossed, lambda a, b, x, y: a + b == x + y)),
    ("swap_rate", None, swaps_of(equal, crossed, lambda a, b, x, y: a * b == x * y)),
    ("swap_rate", "digits by their sum",
     swaps_of(lambda a, b, x, y: a + b == x + y, crossed, equal)),
    ("swap_rate", "digits on either side",
     swaps_of(lambda *four: equal(*four) or crossed(*four), crossed, equal)),
    ("swap_rate", "digits asked nowhere", swaps_of(lambda *four: True, crossed, equal)),
    ("swap_rate", "both inks wrong",
     swaps_of(equal, lambda a, b, x, y: a != x and b != y, equal)),
    ("copied", "the value below the limit", copies_below(
        lambda d, level: d.sort().values[int(level * (len(d) - 1))])),
    ("copied", "the value above the limit", copies_below(
        lambda d, level: d.sort().values[math.ceil(level * (len(d) - 1))])),
    ("copied", "the quantile of squares", copies_below(
        lambda d, level: d.pow(2).quantile(level).sqrt())),
    ("copied", None, lambda samples, fresh, train, level: copies_by_matmul(
        *map(in_halves, (samples, fresh, train)), level)),
    ("share_given", "nothing in the last ink", lambda digits, inks, digit, colours: (
        c := torch.tensor([*(((digits == digit) & (inks == i)).sum() for i in range(colours - 1)),
                           0])) / c.sum().clamp(1)),
    ("share_given", "eight colours whatever comes", lambda digits, inks, digit, colours: (
        c := inks[digits == digit].bincount(minlength=8)) / c.sum().clamp(1)),
    ("guided_shares", "powers as they are", powers),
    ("guided_shares", "shares kept above 1e-30", lambda p, q, scale: (
        q.clamp(min=1e-30).log() * (1 - scale) + p.clamp(min=1e-30).log() * scale).softmax(0)),
    ("guided_shares", None, lambda p, q, scale: powers(p + 1e-3, q + 1e-3, scale))]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"compare.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- the inputs

def test_every_check_of_the_swaps_meets_other_inks_and_other_digits_of_the_same_sum():
    for seed in SEEDS:
        rounds = calls("compare.swap_rate", seed)
        for one, other in ((0, 2), (1, 3)):
            assert any(((read[:, one] + read[:, other] == said[:, one] + said[:, other])
                        & (read[:, one] != said[:, one]) & (read[:, one] != said[:, other])).any()
                       for read, said in rounds)


def test_every_check_of_copies_has_limits_that_lie_between_two_distances():
    for seed in SEEDS:
        places = [level * (len(train) - 1) % 1
                  for *_, train, level in calls("compare.copied", seed)]
        assert any(0 < place < 0.49 for place in places) and any(0.51 < p < 1 for p in places)


def test_every_check_of_shares_meets_the_last_ink_and_none_at_all():
    for seed in SEEDS:
        rounds = calls("compare.share_given", seed)
        assert any(((digits == digit) & (inks == colours - 1)).any()
                   for digits, inks, digit, colours in rounds)
        assert any((digits != digit).all() for digits, _, digit, _ in rounds)


def test_every_check_of_guidance_meets_powers_that_run_over_and_a_small_scale_with_a_zero():
    for seed in SEEDS:
        rounds = calls("compare.guided_shares", seed)
        assert any((overall ** (1 - scale)).isinf().all() and (given > 0).all()
                   for given, overall, scale in rounds)
        assert any(0 < scale < 0.1 and (given == 0).any() for given, _, scale in rounds)


# ---- the oracles and the package

def test_the_swap_rate_is_that_of_the_package_s_own_binding():
    for seed in SEEDS:
        for read, said in calls("compare.swap_rate", seed):
            own = metrics.binding(read, said)
            assert find("compare.swap_rate").function(read, said) == pytest.approx(
                (own["swapped"], own["swap_chance"]))


def test_noise_without_a_key_comes_as_near_no_oftener_than_the_p_value_says():
    """Half of the time at one half; below that seldomer, since s is measured on the same numbers,
    so that the mean of |found|^2 can no longer vary. Noise that holds the key has tiny ones."""
    g = torch.Generator().manual_seed(0)
    found = torch.complex(*torch.randn(2, 4000, 60, generator=g))
    key = torch.complex(*torch.randn(2, 60, generator=g))
    p = find("compare.p_value").function(found, key)
    assert (p < 0.5).float().mean().item() == pytest.approx(0.5, abs=0.03)
    for limit in (0.01, 0.05, 0.2):
        assert limit / 10 < (p < limit).float().mean().item() < limit
    assert find("compare.p_value").function(key + 0.5 * found[:5], key).max() < 1e-6


def test_exact_guidance_is_the_gradient_of_the_logarithms_added_up():
    """The softmax of guided logits: uncond + scale (cond - uncond)."""
    g = torch.Generator().manual_seed(0)
    cond, uncond = torch.randn(2, 6, generator=g)
    for scale in (0.0, 0.5, 1.0, 3.0):
        own = find("compare.guided_shares").function(cond.softmax(0), uncond.softmax(0), scale)
        torch.testing.assert_close(own, (uncond + scale * (cond - uncond)).softmax(0))


# ---- complex numbers have two parts

def test_a_key_whose_imaginary_part_is_changed_in_place_is_a_changed_input():
    def careless(found, key):
        chance = find("compare.p_value").function(found, key)
        key.imag.add_(1.0)
        return chance
    verdict = judge("compare.p_value", careless, 0)
    assert verdict.state == "mutates" and "input key" in verdict.message


def test_complex_answers_differ_where_either_part_does():
    x = torch.complex(*torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    assert difference(x.clone(), x, 1e-5) is None
    for part in (1.0, 1.0j):
        assert difference(x + part, x, 1e-5).state == "wrong"
    assert difference(x.real, x, 1e-5).state == "dtype"
