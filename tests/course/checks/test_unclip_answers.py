"""Lesson 13: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import styles_unclip
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course.checks import judge

# ---- right answers in other styles

def slerp_clamped(a, b, t, low=-1 + 1e-6, high=1 - 1e-6):
    """As most would write it: the cosine kept a little below 1."""
    angle = torch.acos((a * b).sum(-1, keepdim=True).clamp(low, high))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def slerp_with_a_line(a, b, t):
    """The form that is passed around: a straight line where the two are nearly equal."""
    dot = torch.einsum("be,be->b", a, b)[:, None]
    angle = dot.clamp(-1, 1).acos()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return torch.where(dot > 0.9995, a + t * (b - a), arc)


def slerp_with_a_where(a, b, t):
    cosine = (a * b).sum(1, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()
    sine = torch.where(angle == 0, torch.ones_like(angle), angle.sin())
    u = torch.where(angle == 0, 1 - t, ((1 - t) * angle).sin() / sine)
    v = torch.where(angle == 0, t, (t * angle).sin() / sine)
    return u * a + v * b


def slerp_by_numpy(a, b, t):
    a, b, t = (x.double().numpy() for x in (a, b, t))
    angle = 2 * numpy.arctan2(numpy.linalg.norm(a - b, axis=1), numpy.linalg.norm(a + b, axis=1))
    angle = numpy.maximum(angle, 1e-9)[:, None]
    return torch.from_numpy((numpy.sin((1 - t) * angle) * a + numpy.sin(t * angle) * b)
                            / numpy.sin(angle))


def pasted(x_t, known, mask, eps, alpha_bar):
    out = alpha_bar ** 0.5 * known + (1 - alpha_bar) ** 0.5 * eps
    where = mask.expand_as(out)
    out[where] = x_t[where]
    return out


def shares_of_numpy(read, wanted, which):
    right = (read == wanted).numpy()
    stay = numpy.delete(right, which, axis=1).all(1)
    return [right[:, which].mean(), stay.mean(), (right[:, which] & stay).mean()]


def shares_as_tensors(read, wanted, which):
    right = (read == wanted).double()
    return right[:, which].mean(), (right.sum(1) - right[:, which] == right.size(1) - 1
                                    ).double().mean(), right.prod(1).mean()


STYLES = [
    ("slerp", slerp_clamped),
    ("slerp", lambda a, b, t: slerp_clamped(a, b, t, -0.99999, 0.9999999)),
    ("slerp", slerp_with_a_line),
    ("slerp", slerp_with_a_where),
    ("slerp", slerp_by_numpy),
    ("direction", lambda before, after: F.normalize(after - before, dim=-1)),
    ("direction", lambda before, after: (after - before) / (
        (after - before).norm(dim=1, keepdim=True) + 1e-8)),
    ("direction", lambda before, after: torch.stack(
        [d / torch.linalg.vector_norm(d) for d in after.double() - before])),
    ("keep_known", pasted),
    ("keep_known", lambda x_t, known, mask, eps, alpha_bar: mask * x_t + (1 - mask.float()) * (
        math.sqrt(alpha_bar) * known + math.sqrt(1 - alpha_bar) * eps)),
    ("keep_known", lambda x_t, known, mask, eps, alpha_bar: torch.lerp(
        pasted(x_t, known, mask & False, eps, alpha_bar), x_t, mask.float())),
    ("flip_share", shares_of_numpy),
    ("flip_share", shares_as_tensors),
    ("small_mask", lambda mask, factor: mask.unflatten(3, (-1, factor)).unflatten(
        2, (-1, factor)).any(5).any(3)),
    ("small_mask", lambda mask, factor: F.avg_pool2d(mask.float(), factor) > 0),
    ("small_mask", lambda mask, factor: F.interpolate(
        mask.double(), scale_factor=1 / factor, mode="area") > 0),
    ("small_mask", lambda mask, factor: ~(F.max_pool2d((~mask).float() * -1, factor) == -1)),
    *[(name.partition(".")[2], function) for name, function in styles_unclip.OTHER_STYLE.items()],
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"unclip.{name}", function, seed).passed, seed


# ---- wrong answers, some of them mistakes of the bank in other words

def only_where_exactly_one(a, b, t):
    """A dot product of 1.0000001 slips through."""
    dot = (a * b).sum(1, keepdim=True)
    angle = dot.acos()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return torch.where(dot == 1, a, arc)


def in_degrees(a, b, t):
    angle = torch.rad2deg(torch.acos((a * b).sum(1, keepdim=True).clamp(-1, 1)))
    return torch.sin((1 - t) * angle) / torch.sin(angle) * a + (
        torch.sin(t * angle) / torch.sin(angle) * b)


def split(mask, factor):
    B, _, H, W = mask.shape
    return mask.reshape(B, 1, H // factor, factor, W // factor, factor)


def flip(read, wanted, which, kept):
    """Picture by picture, with another rule for kept: of the other factors' hits."""
    hits = [[int(x == y) for x, y in zip(*rows)] for rows in zip(read.tolist(), wanted.tolist())]
    rest = [row[:which] + row[which + 1:] for row in hits]
    n = len(hits)
    return (sum(row[which] for row in hits) / n, sum(map(kept, rest)) / n,
            sum(map(all, hits)) / n)


STUDENTS = [                   # (exercise, the bank's name or None, somebody's wrong answer)
    ("slerp", "a straight line", lambda a, b, t: (1 - t) * a + t * b),
    ("slerp", "a straight line, then normalised",
     lambda a, b, t: F.normalize((1 - t) * a + t * b)),
    ("slerp", "t reversed", lambda a, b, t: slerp_with_a_where(b, a, t)),
    ("slerp", "nan where a equals b", lambda a, b, t: torch.sin(
        (1 - t) * torch.acos((a * b).sum(-1, keepdim=True))) / torch.sin(
            torch.acos((a * b).sum(-1, keepdim=True))) * a + torch.sin(
                t * torch.acos((a * b).sum(-1, keepdim=True))) / torch.sin(
                    torch.acos((a * b).sum(-1, keepdim=True))) * b),
    ("slerp", None, only_where_exactly_one),
    ("slerp", None, lambda a, b, t: slerp_clamped(a, b, t, high=0.9)),
    ("slerp", "obtuse angles taken for right ones",
     lambda a, b, t: slerp_clamped(a, b, t, low=0.0)),
    ("slerp", None, lambda a, b, t: slerp_clamped(a, b, t, low=-0.5)),
    ("slerp", "a line where the angle is not small", lambda a, b, t: torch.where(
        (a * b).sum(1, keepdim=True) > 0.99, torch.lerp(a, b, t), slerp_clamped(a, b, t))),
    ("slerp", "a line where the angle is not small", lambda a, b, t: torch.where(
        (a * b).sum(1, keepdim=True) > 0.95, a + t * (b - a), slerp_clamped(a, b, t))),
    ("slerp", None, lambda a, b, t: slerp_clamped(a, b, t ** 2)),
    ("slerp", None, lambda a, b, t: slerp_clamped(a, b, (1 - (math.pi * t).cos()) / 2)),
    ("slerp", "t reversed", lambda a, b, t: slerp_clamped(a, b, 1 - t)),
    ("slerp", "t reversed", lambda a, b, t: torch.where((a == b).all(1, keepdim=True), a, (
        (t * (w := torch.acos((a * b).sum(1, keepdim=True)))).sin() * a
        + ((1 - t) * w).sin() * b) / w.sin())),
    ("slerp", "zeros where a equals b",
     lambda a, b, t: slerp_clamped(a, b, t) * (a != b).any(1)[:, None]),
    ("slerp", "zeros where a equals b", lambda a, b, t: slerp_clamped(a, b, t, -1, 1).nan_to_num()),
    ("slerp", None, lambda a, b, t: torch.where(a == b, a, slerp_clamped(a, b, t))),
    ("slerp", "degrees in place of radians", lambda a, b, t: torch.where(
        (a == b).all(1, keepdim=True), a, in_degrees(a, b, t))),
    ("slerp", "degrees, and nan where a equals b", lambda a, b, t: in_degrees(a, b, t)),
    ("slerp", None, lambda a, b, t: torch.where(t < 0.5, a, b)),
    ("direction", "reversed", lambda before, after: F.normalize(before - after)),
    ("direction", "each normalised before", lambda before, after: F.normalize(
        F.normalize(after) - F.normalize(before))),
    ("direction", "divided by the squared length", lambda before, after: torch.stack(
        [(q - p) / ((q - p) @ (q - p)) for p, q in zip(before, after)])),
    ("direction", "along the batch", lambda before, after: F.normalize(after - before, dim=0)),
    ("direction", "divided by the sum of the sizes",
     lambda before, after: (after - before) / (after - before).abs().sum(1, keepdim=True)),
    ("direction", None, lambda before, after: F.normalize(after - before).abs()),
    ("direction", "divided by the length of after",
     lambda before, after: (after - before) / torch.linalg.vector_norm(
         after, dim=1, keepdim=True)),
    ("direction", None, lambda before, after: (after - before).sign()),
    ("direction", None, lambda before, after: F.normalize(after) - F.normalize(
        before) * (F.normalize(after) * F.normalize(before)).sum(1, keepdim=True)),
    ("direction", None, lambda before, after: (after - before) / (after - before).norm(
        dim=1, keepdim=True).clamp(min=1)),
    ("keep_known", "clean pixels pasted",
     lambda x_t, known, mask, eps, alpha_bar: x_t * mask + known * ~mask),
    ("keep_known", "the mask turned round",
     lambda x_t, known, mask, eps, alpha_bar: mask * (
         alpha_bar ** 0.5 * known + (1 - alpha_bar) ** 0.5 * eps) + ~mask * x_t),
    ("keep_known", "noise at full strength", lambda x_t, known, mask, eps, alpha_bar: pasted(
        x_t, known + eps * (1 - (1 - alpha_bar) ** 0.5) / alpha_bar ** 0.5, mask, eps,
        alpha_bar)),
    ("keep_known", "the root of the known part forgotten",
     lambda x_t, known, mask, eps, alpha_bar: x_t * mask + ~mask * (
         alpha_bar * known + math.sqrt(1 - alpha_bar) * eps)),
    ("keep_known", "the noise added everywhere",
     lambda x_t, known, mask, eps, alpha_bar: x_t * mask + ~mask * math.sqrt(alpha_bar) * known
         + math.sqrt(1 - alpha_bar) * eps),
    ("keep_known", "the known pixels not shrunk",
     lambda x_t, known, mask, eps, alpha_bar: torch.where(
         mask, x_t, known + (1 - alpha_bar) ** 0.5 * eps)),
    ("keep_known", "the noise's root forgotten", lambda x_t, known, mask, eps, alpha_bar: pasted(
        x_t, known, mask, (1 - alpha_bar) ** 0.5 * eps, alpha_bar)),
    ("keep_known", "1 - the root of alpha_bar",
     lambda x_t, known, mask, eps, alpha_bar: torch.where(
         mask, x_t, torch.lerp(eps, known, alpha_bar ** 0.5))),
    ("keep_known", None, lambda x_t, known, mask, eps, alpha_bar: torch.where(
        mask, x_t, x_t + eps)),
    ("keep_known", None, lambda x_t, known, mask, eps, alpha_bar: torch.where(
        mask, x_t, alpha_bar ** 0.5 * known + (1 - alpha_bar) ** 0.5 * x_t)),
    ("keep_known", None, lambda x_t, known, mask, eps, alpha_bar: torch.where(
        mask, eps, alpha_bar ** 0.5 * known + (1 - alpha_bar) ** 0.5 * eps)),
    ("keep_known", None, lambda x_t, known, mask, eps, alpha_bar: pasted(
        x_t, known, mask, torch.randn_like(eps), alpha_bar)),
    ("keep_known", "the masks of all pictures joined",
     lambda x_t, known, mask, eps, alpha_bar: torch.where(
         mask.any(0), x_t, alpha_bar ** 0.5 * known + (1 - alpha_bar) ** 0.5 * eps)),
    ("flip_share", "any in place of all", lambda *args: flip(*args, kept=any)),
    ("flip_share", "the mean of the other shares", lambda *args: flip(
        *args, kept=lambda rest: sum(rest) / len(rest))),
    ("flip_share", "kept counts the changed factor too",
     lambda *args: (lambda hit, kept, both: (hit, both, both))(*shares_of_numpy(*args))),
    ("flip_share", "the shares multiplied",
     lambda *args: (lambda hit, kept, both: (hit, kept, hit * kept))(*shares_of_numpy(*args))),
    ("flip_share", "kept among the hits only", lambda *args: (
        lambda hit, kept, both: (hit, both / hit, both))(*shares_of_numpy(*args))),
    ("flip_share", "kept among the hits only", lambda read, wanted, which: (
        lambda right: (right[:, which].float().mean(),
                       right[right[:, which]].all(1).float().mean(),
                       right.all(1).float().mean()))(read == wanted)),
    ("flip_share", None, lambda *args: shares_of_numpy(*args)[:2]),
    ("flip_share", None, lambda *args: torch.stack(shares_as_tensors(*args))),
    ("flip_share", "shares in percent",
     lambda *args: [100 * one for one in shares_of_numpy(*args)]),
    ("flip_share", None, lambda *args: [1 - one for one in shares_of_numpy(*args)]),
    ("flip_share", "the first factor always",
     lambda read, wanted, which: shares_of_numpy(read, wanted, 0)),
    ("flip_share", "the factor of the end",
     lambda read, wanted, which: shares_of_numpy(read, wanted, read.size(1) - 1)),
    ("flip_share", "kept where anything else is wrong",
     lambda *args: flip(*args, kept=lambda rest: not all(rest))),
    ("flip_share", None, lambda read, wanted, which: (lambda right: (
        right[:, which].float().mean(), (right.sum(1) >= right.size(1) - 1).float().mean(),
        right.all(1).float().mean()))(read == wanted)),
    ("flip_share", None, lambda read, wanted, which: shares_of_numpy(
        read, wanted, min(which + 1, read.size(1) - 1))),
    ("flip_share", None, lambda *args: flip(*args, kept=lambda rest: rest[0])),
    ("small_mask", "every factor-th pixel", lambda mask, factor: F.interpolate(
        mask.float(), scale_factor=1 / factor) > 0),
    ("small_mask", "all in place of any", lambda mask, factor: mask.unflatten(
        3, (-1, factor)).unflatten(2, (-1, factor)).all(5).all(3)),
    ("small_mask", "numbers in place of bool", lambda mask, factor: styles_unclip.small_mask(
        mask, factor).double()),
    ("small_mask", "pixels from far apart", lambda mask, factor: mask.view(
        len(mask), 1, factor, mask.size(2) // factor, factor, -1).any(4).any(2)),
    ("small_mask", "more than half", lambda mask, factor: F.avg_pool2d(
        mask.float(), factor).round().bool()),
    ("small_mask", "half or more", lambda mask, factor: 2 * split(mask, factor).sum(
        (3, 5)) >= factor ** 2),
    ("small_mask", "any in a row, all rows",
     lambda mask, factor: split(mask, factor).any(5).all(3)),
    ("small_mask", "any in a column, all columns",
     lambda mask, factor: split(mask, factor).any(3).all(-1)),
    ("small_mask", "all in a row, any row", lambda mask, factor: split(mask, factor).all(5).any(3)),
    ("small_mask", "all in a column, any column",
     lambda mask, factor: split(mask, factor).all(3).any(-1)),
    ("small_mask", "pixels that follow each other", lambda mask, factor: mask.view(
        len(mask), -1, factor ** 2).any(2).view(
            len(mask), 1, mask.size(2) // factor, mask.size(3) // factor)),
    ("small_mask", None, lambda mask, factor: styles_unclip.small_mask(mask, factor)[:, 0]),
    ("small_mask", None, lambda mask, factor: styles_unclip.small_mask(mask[..., :-1], factor)),
    ("small_mask", None, lambda mask, factor: styles_unclip.small_mask(
        mask, factor).any(0, keepdim=True).expand(len(mask), -1, -1, -1)),
    ("small_mask", None, lambda mask, factor: mask),
    ("small_mask", None, lambda mask, factor: mask[..., ::factor, ::factor]
     | mask[..., factor - 1::factor, factor - 1::factor]),
]


@pytest.mark.parametrize("name, mistake, function", STUDENTS)
def test_wrong_answers_never_pass_and_known_mistakes_get_their_name(name, mistake, function):
    for seed in range(10):
        verdict = judge(f"unclip.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, (seed, verdict)


@pytest.mark.parametrize("text, words", [
    ("One two. " * 30 + "\nthree", ("One two. " * 30)[:156]), ("x" * 300, "x" * 160),
    ("one " * 41, ("one " * 40)[:159]), ("one", "one")])
def test_what_a_crash_says_is_cut_between_two_words(text, words):
    def crash(*args):
        raise RuntimeError(text)
    message = judge("unclip.keep_known", crash, 0).message
    assert message.partition("RuntimeError: ")[2].partition(". Given: ")[0] == words.rstrip(" .")


def test_one_minus_a_mask_is_told_with_the_way_out():
    verdict = judge("unclip.keep_known", lambda x_t, known, mask, eps, alpha_bar: (
        mask * x_t + (1 - mask) * known), 0)
    assert verdict.state == "crashed" and "or `logical_not()` operator instead" in verdict.message


# ---- the inputs

def test_every_check_of_slerp_has_unit_vectors_equal_pairs_and_both_ends():
    for seed in range(20):
        rounds = calls("unclip.slerp", seed)
        equal = [(a * b).sum(1)[(a == b).all(1)].tolist() for a, b, _ in rounds]
        assert [sorted(dots)[0] == 1 < sorted(dots)[1] for dots in equal if dots] == [True] * 2
        for a, b, t in rounds:
            assert torch.allclose(torch.stack([a, b]).norm(dim=2), torch.ones(2, len(a)))
            assert (a * b).sum(1).min() > -0.9 and t.shape == (len(a), 1)
        assert {0, 1} <= set(torch.cat([t for _, _, t in rounds]).flatten().tolist())


def test_every_check_of_slerp_has_pairs_that_differ_and_share_one_entry_or_two():
    for seed in range(20):
        rounds = calls("unclip.slerp", seed)
        for a, b, t in rounds[0], rounds[4]:
            same = (a == b).sum(1)
            rows = (same > 0) & (same < a.size(1)) & (t[:, 0] * (1 - t[:, 0]) > 0)
            assert (rows & ((a - b).norm(dim=1) > 0.3)).sum() >= 2


def test_in_every_batch_of_two_or_three_masks_the_first_is_not_all_of_them_joined():
    for seed in range(100):
        for _, _, mask, *_ in calls("unclip.keep_known", seed):
            assert len(mask) not in (2, 3) or not torch.equal(mask.any(0), mask[0])


def test_small_masks_have_every_kind_of_block():
    for seed in range(20):
        mask, factor = calls("unclip.small_mask", seed)[0]
        blocks = split(mask, factor).transpose(3, 4).reshape(-1, factor, factor).long()
        kinds = {(int(one.sum()), int(one.sum(1).max()), int(one.sum(0).max())) for one in blocks}
        assert factor == 2 and kinds == {
            (0, 0, 0), (1, 1, 1), (3, 2, 2), (4, 2, 2), (2, 2, 1), (2, 1, 2), (2, 1, 1)}
