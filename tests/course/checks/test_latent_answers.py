"""Lesson 14: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import torch

from minidalle.course.checks import judge

# ---- right answers in other styles

def maps_by_einsum(q, k, heard):
    scores = torch.einsum("bnd,btd->bnt", q, k) / math.sqrt(q.size(-1))
    scores[~heard[:, None].expand_as(scores)] = float("-inf")
    return torch.softmax(scores, -1)


def maps_with_a_large_number(q, k, heard):
    scores = (q / q.size(2) ** 0.5) @ k.transpose(1, 2)
    return (scores - 1e9 * (~heard)[:, None].float()).softmax(-1)


def maps_renormalised(q, k, heard):
    weights = (q @ k.mT / q.size(2) ** 0.5).exp() * heard[:, None]
    return weights / weights.sum(-1, keepdim=True)


def dropped_by_rows(heard, keep):
    out = heard.clone()
    out[~keep, 1:] = False
    return out


def start_by_numpy(z, eps, alpha_bar, strength):
    step = int(numpy.rint(strength * (alpha_bar.numel() - 1)))
    return alpha_bar[step] ** 0.5 * z + (1 - alpha_bar[step]) ** 0.5 * eps, step


STYLES = [
    ("encode", lambda mean, log_variance, eps, scale: torch.addcmul(
        mean, log_variance.exp().sqrt(), eps) * scale),
    ("encode", lambda mean, log_variance, eps, scale: scale * mean
        + scale * torch.exp(0.5 * log_variance) * eps),
    ("multiply_adds", lambda c_in, c_out, kernel, height, width: math.prod(
        (c_in, c_out, kernel, kernel, height, width))),
    ("word_maps", maps_by_einsum), ("word_maps", maps_with_a_large_number),
    ("word_maps", maps_renormalised),
    ("dropped", dropped_by_rows),
    ("dropped", lambda heard, keep: torch.where(keep.unsqueeze(1), heard,
                                                torch.arange(heard.size(1)) == 0)),
    ("guided", lambda yes, none, no, scale: torch.lerp(no, yes, scale)),
    ("guided", lambda yes, none, no, scale: scale * yes + (1 - scale) * no),
    ("noisy_start", start_by_numpy),
    ("noisy_start", lambda z, eps, alpha_bar, s: (
        (a := alpha_bar[(t := int(s * (len(alpha_bar) - 1) + 0.5))]).sqrt() * z
        + (1 - a).sqrt() * eps, t))]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"latent.{name}", function, seed).passed


# ---- mistakes in other words

STUDENTS = [
    ("encode", "log-variance as the standard deviation",
     lambda mean, log_variance, eps, scale: (mean + eps * log_variance) * scale),
    ("encode", "variance as the standard deviation",
     lambda mean, log_variance, eps, scale: scale * (mean + torch.exp(log_variance) * eps)),
    ("encode", "divided by the scale",
     lambda mean, log_variance, eps, scale: (mean + torch.exp(log_variance / 2) * eps) / scale),
    ("multiply_adds", "kernel not squared",
     lambda c_in, c_out, kernel, height, width: height * width * kernel * c_out * c_in),
    ("word_maps", "normalised over the places", lambda q, k, heard: (
        q @ k.mT / q.size(2) ** 0.5).masked_fill(~heard[:, None], -math.inf).softmax(1)),
    ("word_maps", "masked after the softmax", lambda q, k, heard: (
        q @ k.mT / q.size(2) ** 0.5).softmax(2).masked_fill(~heard[:, None], 0)),
    ("word_maps", "not divided by the root of d", lambda q, k, heard: (
        q @ k.mT).masked_fill(~heard[:, None], -1e9).softmax(2)),
    ("dropped", "nothing at all is heard", lambda heard, keep: torch.stack(
        [row if one else torch.zeros_like(row) for row, one in zip(heard, keep)])),
    ("guided", "added in place of replacing",
     lambda yes, none, no, scale: none + scale * (yes + no - 2 * none)),
    ("guided", "subtracted beside none",
     lambda yes, none, no, scale: none + scale * (yes - none) - scale * (no - none)),
    ("guided", "turned round", lambda yes, none, no, scale: scale * no + (1 - scale) * yes),
    ("noisy_start", "strength counted from the wrong end", lambda z, eps, alpha_bar, s: (
        (a := alpha_bar[(t := round((1 - s) * (len(alpha_bar) - 1)))]).sqrt() * z
        + (1 - a).sqrt() * eps, t))]


@pytest.mark.parametrize("name, mistake, function", STUDENTS)
def test_a_mistake_written_in_other_words_is_told_by_the_same_name(name, mistake, function):
    for seed in range(3):
        assert judge(f"latent.{name}", function, seed).mistake == mistake
