"""Lesson 00's exercises: right answers as they are met pass, wrong ones never do."""
import functools
import math

import numpy
import pytest
import torch
import torch.nn.functional as F

from minidalle.course.checks import find, judge

SEEDS = range(30)


def pixels(x):
    """(B,3,H,W), floats from 0 to 255 -> (B,H,W,3) uint8."""
    return x.round().to(torch.int64).to(torch.uint8).permute(0, 2, 3, 1)


def level(x):
    return ((x + 1) * 127.5).clamp(0, 255)


def by_loops(images):
    out = torch.zeros(images.shape[0], *images.shape[2:], 3, dtype=torch.uint8)
    for b in range(len(images)):
        for c in range(3):
            out[b, :, :, c] = (images[b, c].clamp(-1, 1) * 127.5 + 127.5).round()
    return out


def clamped_in_place(images):
    return pixels((images.clamp_(-1, 1) + 1) * 127.5)


def returned_early(parameters):
    total = 0
    for p in parameters:
        total += p.numel()
        return total


RIGHT = [
    ("to_pixels", by_loops),
    ("to_pixels", lambda x: torch.floor(127.5 * x.clamp(-1, 1) + 128).byte().movedim(1, -1)),
    ("to_pixels", lambda x: torch.einsum("bchw->bhwc", level(x).round()).to(torch.uint8)),
    ("to_pixels", lambda x: pixels(level(x.double()))),
    ("to_pixels", lambda x: torch.from_numpy(numpy.rint(numpy.clip(
        x.numpy().transpose(0, 2, 3, 1) * 127.5 + 127.5, 0, 255)).astype(numpy.uint8))),
    ("to_pixels", lambda x: pixels(torch.max(torch.min(x, torch.ones(())), -torch.ones(()))
                                   .add(1).mul(127.5))),
    ("chance", lambda n: -math.log(1 / n)),
    ("chance", lambda n: math.log2(n) * math.log(2)),
    ("chance", lambda n: float(numpy.log(n))),
    ("chance", lambda n: -sum([1 / n * math.log(1 / n)] * n)),
    ("chance", lambda n: F.cross_entropy(torch.zeros(1, n), torch.tensor([n - 1])).item()),
    ("count_parameters", lambda ps: sum(math.prod(p.shape) for p in ps)),
    ("count_parameters", lambda ps: sum(p.nelement() for p in ps)),
    ("count_parameters", lambda ps: sum(len(p.flatten()) for p in ps)),
    ("count_parameters", lambda ps: int(sum(numpy.prod(p.shape) for p in ps))),
    ("count_parameters", lambda ps: functools.reduce(lambda n, p: n + p.size().numel(), ps, 0)),
]

WRONG = [                      # (exercise, its mistake's name or None, what somebody wrote)
    ("to_pixels", "not clamped", lambda x: pixels((x + 1) * 127.5)),
    ("to_pixels", "clamped to [0, 1]", lambda x: pixels(x.clamp(0, 1) * 127.5 + 127.5)),
    ("to_pixels", "times 128", lambda x: pixels((128 * (x + 1)).clamp(0, 255))),
    ("to_pixels", "rounded up", lambda x: torch.ceil(level(x)).byte().permute(0, 2, 3, 1)),
    ("to_pixels", "cut off in place of rounded",
     lambda x: level(x).floor().byte().permute(0, 2, 3, 1)),
    ("to_pixels", "red and blue exchanged", lambda x: pixels(level(x)).flip(3)),
    ("to_pixels", "height and width exchanged",
     lambda x: level(x).round().byte().transpose(1, 3)),
    ("to_pixels", "colours left in front", lambda x: level(x).round().byte()),
    ("to_pixels", None, lambda x: pixels(level(x))[:1]),
    ("to_pixels", None, lambda x: pixels(level(x)).squeeze(0)),
    ("to_pixels", None, lambda x: pixels(level(x)).flip(1)),
    ("to_pixels", None, lambda x: pixels((x.clamp(max=1) + 1) * 127.5)),
    ("to_pixels", None, lambda x: pixels((x.clamp(min=-1) + 1) * 127.5)),
    ("to_pixels", None, lambda x: pixels((x / x.abs().max() + 1) * 127.5)),
    ("to_pixels", None, lambda x: pixels((x + 1).clamp(0, 2) * 127)),
    ("to_pixels", None, lambda x: (level(x) + 0.4).byte().permute(0, 2, 3, 1)),
    ("to_pixels", None, lambda x: (level(x) + 0.6).byte().permute(0, 2, 3, 1)),
    ("to_pixels", None, lambda x: (level(x) / 255 * 255.99).byte().permute(0, 2, 3, 1)),
    ("to_pixels", None, lambda x: pixels(level(x)).numpy()),
    ("to_pixels", None, lambda x: pixels(level(torch.tanh(x)))),
    ("to_pixels", None, lambda x: pixels(level(x)).contiguous().view(2, 5, 4, 3)),
    ("to_pixels", None, clamped_in_place),
    ("chance", "the probability", lambda n: math.exp(-math.log(n))),
    ("chance", "rounded", lambda n: round(-math.log(1 / n), 2)),
    ("chance", "one choice too many", math.log1p),
    ("chance", "the sign", lambda n: math.log(1 / n)),
    ("chance", None, lambda n: round(math.log(n), 3)),
    ("chance", None, lambda n: -math.log(1 / n + 1e-8)),
    ("chance", None, lambda n: int(math.log(n))),
    ("chance", None, lambda n: {2: 0.693, 4: 1.386, 8: 2.079, 10: 2.303, 64: 4.159}.get(n, 5.5)),
    ("chance", None, lambda n: sum(1 / k for k in range(1, n + 1))),
    ("chance", None, lambda n: 2.303),
    ("chance", None, lambda n: 0.693147 * math.log2(n) if n < 10 ** 5 else 13.8),
    ("chance", None, lambda n: f"{math.log(n):.3f}"),
    ("count_parameters", "each shape once",
     lambda ps: sum({p.shape: p.numel() for p in ps}.values())),
    ("count_parameters", "only the first tensor", returned_early),
    ("count_parameters", "the largest tensor", lambda ps: max(map(torch.numel, ps))),
    ("count_parameters", "single numbers not counted",
     lambda ps: sum(p.numel() for p in ps if p.squeeze().dim())),
    ("count_parameters", None, lambda ps: sum(p.nbytes for p in ps) // 4),
    ("count_parameters", None, lambda ps: sum(p.numel() for p in ps[1:])),
    ("count_parameters", None, lambda ps: sum(p.numel() for p in ps[:6])),
    ("count_parameters", None, lambda ps: math.prod(p.numel() for p in ps)),
    ("count_parameters", None, lambda ps: sum(len(p.unique()) for p in ps)),
    ("count_parameters", None, lambda ps: sum(p.numel() for p in ps if p.any())),
    ("count_parameters", None, lambda ps: len(ps) * ps[0].numel()),
    ("count_parameters", None, lambda ps: [p.numel() for p in ps]),
    ("count_parameters", None, lambda ps: sum(p.numel() for p in ps) / 1),
    ("count_parameters", None, lambda ps: sum(p.squeeze().shape[0] for p in ps if p.numel() > 1)),
]


@pytest.mark.parametrize("name, function", RIGHT)
def test_right_answers_in_other_styles_pass_on_every_seed(name, function):
    assert all(judge(f"map.{name}", function, seed).passed for seed in SEEDS)


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_are_told_on_every_seed_and_frequent_ones_by_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"map.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, verdict


@pytest.mark.parametrize("mistake", [one for name in ("to_pixels", "chance", "count_parameters")
                                     for one in find(f"map.{name}").mistakes], ids=lambda m: m.name)
def test_each_message_names_the_section_to_read_again(mistake):
    assert mistake.message.endswith(("(section 2).", "(section 3).", "(section 7)."))
