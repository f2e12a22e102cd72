"""Lesson 11: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import styles_unet
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course import checks
from minidalle.course.checks import judge

# ---- right answers in other styles

def features_by_numpy(t, width):
    rate = 1 / 10_000 ** numpy.linspace(0, 1, width // 2, endpoint=False)
    angle = numpy.outer(t.numpy(), rate)
    return torch.from_numpy(numpy.concatenate([numpy.sin(angle), numpy.cos(angle)], 1))


def features_in_place(t, width):
    out = torch.zeros(len(t), width)
    angle = torch.einsum("b,i->bi", t.float(), torch.exp(
        torch.arange(width // 2) * (-2 * math.log(10_000) / width)))
    out[:, :width // 2] = angle.sin()
    out[:, width // 2:] = angle.cos()
    return out


def replaced(condition, null, keep):
    out = condition.clone()
    out[~keep] = null
    return out


def measured(c_in, c_out, kernel, height, width, stride):
    """By a convolution without numbers: its output is as large as that of a real one."""
    layer = torch.nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False, device="meta")
    picture = torch.empty(1, c_in, height, width, device="meta")
    return layer(picture).numel() * layer.weight[0].numel()


def by_formula(c_in, c_out, kernel, height, width, stride):
    rows, columns = ((size + 2 * (kernel // 2) - kernel) // stride + 1
                     for size in (height, width))
    return c_in * c_out * kernel * kernel * rows * columns


STYLES = [
    ("time_features", features_by_numpy),
    ("time_features", features_in_place),
    ("modulate", lambda h, scale, shift: torch.einsum("bchw,bc->bchw", h, 1 + scale)
     + shift.view(*shift.shape, 1, 1)),
    ("modulate", lambda h, scale, shift: (
        h.permute(2, 3, 0, 1) * (scale + 1) + shift).permute(2, 3, 0, 1)),
    ("modulate", lambda h, scale, shift: torch.addcmul(
        h + shift[:, :, None, None], scale[:, :, None, None], h)),
    ("join", lambda x, skip: torch.cat(
        (x.repeat_interleave(2, 2).repeat_interleave(2, 3), skip), 1)),
    ("join", lambda x, skip: torch.hstack([torch.nn.Upsample(scale_factor=2)(x), skip])),
    ("join", lambda x, skip: torch.cat([F.interpolate(x, size=skip.shape[2:]), skip], 1)),
    ("join", lambda x, skip: torch.cat(
        [x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(
            len(x), -1, *skip.shape[2:]), skip], 1)),
    ("drop_condition", replaced),
    ("drop_condition", lambda condition, null, keep: (
        keep[:, None] * condition + ~keep[:, None] * null)),
    ("drop_condition", lambda condition, null, keep: torch.stack(
        [c if k else null for c, k in zip(condition, keep)])),
    ("multiply_adds", measured),
    ("multiply_adds", by_formula),
    ("multiply_adds", lambda c_in, c_out, k, H, W, s: numpy.int64(
        c_in * c_out * k * k) * math.ceil(H / s) * math.ceil(W / s)),
    *[(name.partition(".")[2], function) for name, function in styles_unet.OTHER_STYLE.items()],
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"unet.{name}", function, seed).passed, seed


# ---- wrong answers, some of them mistakes of the bank in other words

def features(t, width, base=10_000, half=None, first=0, factor=1.0):
    """Column by column."""
    half = half or width // 2
    rate = [factor * base ** (-(i + first) / half) for i in range(width // 2)]
    return torch.stack([(t * r).sin() for r in rate] + [(t * r).cos() for r in rate], 1)


def in_turns(t, width):
    out = torch.zeros(len(t), width)
    for i in range(width // 2):
        out[:, 2 * i] = torch.sin(t / 10_000 ** (2 * i / width))
        out[:, 2 * i + 1] = torch.cos(t / 10_000 ** (2 * i / width))
    return out


def floor_of(size, stride):
    return int(size / stride)


def pixels_of(c_in, c_out, kernel, height, width, stride):
    return c_in * c_out * kernel ** 2 * round(height / stride) * round(width / stride)


STUDENTS = [                   # (exercise, the bank's name or None, somebody's wrong answer)
    ("time_features", "sines and cosines take turns", in_turns),
    ("time_features", "divided by width", lambda t, width: features(t, width, half=width)),
    ("time_features", "divided by width / 2 - 1",
     lambda t, width: features(t, width, half=width // 2 - 1)),
    ("time_features", "i counted from 1", lambda t, width: features(t, width, first=1)),
    ("time_features", "turns in place of radians",
     lambda t, width: features(t, width, factor=2 * math.pi)),
    ("time_features", "rates forgotten", lambda t, width: torch.stack(
        [t.sin()] * (width // 2) + [t.cos()] * (width // 2), 1)),
    ("time_features", "another base", lambda t, width: features(t, width, base=1000)),
    ("time_features", "the base forgotten", lambda t, width: features(t, width, base=math.e)),
    ("time_features", "t divided by 1000", lambda t, width: features(t / 1000, width)),
    ("time_features", "t made whole", lambda t, width: features(t.long(), width)),
    ("time_features", None, lambda t, width: features(t.abs(), width)),
    ("time_features", "only sines",
     lambda t, width: features(t, width)[:, :width // 2].repeat(1, 2)),
    ("time_features", None, lambda t, width: features(t, 2 * width)),
    ("modulate", "the 1 forgotten", lambda h, scale, shift: torch.einsum(
        "bchw,bc->bchw", h, scale) + shift[:, :, None, None]),
    ("modulate", "the shift scaled as well", lambda h, scale, shift: (
        h + shift[..., None, None]) * scale[..., None, None] + h + shift[..., None, None]),
    ("modulate", "along height and width", lambda h, scale, shift: h * (1 + scale) + shift),
    ("modulate", "along the width", lambda h, scale, shift: h * (
        scale.unsqueeze(1).unsqueeze(1) + 1) + shift.unsqueeze(1).unsqueeze(1)),
    ("modulate", "the 1 added to the product", lambda h, scale, shift:
     styles_unet.modulate(h, scale - 1, shift + 1)),
    ("modulate", "the shift taken away",
     lambda h, scale, shift: styles_unet.modulate(h, scale, -shift)),
    ("modulate", None, lambda h, scale, shift: styles_unet.modulate(
        h, scale.mean(1, keepdim=True).expand_as(scale), shift)),
    ("modulate", "exp of the scale",
     lambda h, scale, shift: styles_unet.modulate(h, scale.exp() - 1, shift)),
    ("modulate", "each picture normed once more", lambda h, scale, shift: styles_unet.modulate(
        F.layer_norm(h, h.shape[1:]), scale, shift)),
    ("modulate", None, lambda h, scale, shift: styles_unet.modulate(h, scale, 2 * shift)),
    ("join", "the skip first", lambda x, skip: styles_unet.join(x, skip).roll(skip.size(1), 1)),
    ("join", "added", lambda x, skip: skip + x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ("join", "tiled", lambda x, skip: torch.cat(
        [torch.cat([torch.cat([x, x], 2)] * 2, 3), skip], 1)),
    ("join", None, lambda x, skip: torch.cat([F.avg_pool2d(skip, 2), x], 1)),
    ("join", "bicubic", lambda x, skip: torch.cat([F.interpolate(
        x, scale_factor=2, mode="bicubic"), skip], 1)),
    ("join", "enlarged along the height only", lambda x, skip:
        torch.cat([x.repeat_interleave(2, 2), skip], 1)),
    ("join", "four times along the rows", lambda x, skip: torch.cat(
        [x.repeat_interleave(4, 3).view(len(x), -1, *skip.shape[2:]), skip], 1)),
    ("join", "joined along the width", lambda x, skip:
        torch.cat([F.interpolate(x, scale_factor=2), skip], 3)),
    ("drop_condition", "keep turned round", lambda condition, null, keep: torch.where(
        keep[:, None], null, condition)),
    ("drop_condition", "zeros in place of null",
     lambda condition, null, keep: condition * keep.unsqueeze(1)),
    ("drop_condition", "all dropped if one is", lambda condition, null, keep: (
        condition if keep.all() else null.repeat(len(keep), 1))),
    ("drop_condition", "all kept if one is", lambda condition, null, keep: (
        condition.clone() if keep.any() else null.expand_as(condition))),
    ("drop_condition", "entry by entry", lambda condition, null, keep: (
        keep * condition + ~keep * null)),
    ("drop_condition", None, lambda condition, null, keep: condition if keep else null),
    ("drop_condition", "zeros taken for dropped", lambda condition, null, keep: torch.where(
        condition * keep[:, None] == 0, null, condition)),
    ("drop_condition", "the last row left as it is", lambda condition, null, keep: torch.cat(
        [replaced(condition, null, keep)[:-1], condition[-1:]])),
    ("drop_condition", "null added to all", lambda condition, null, keep: torch.where(
        keep[:, None], condition + null, null)),
    ("drop_condition", "one number of null", lambda condition, null, keep: torch.where(
        keep[:, None], condition, null.mean())),
    ("drop_condition", "kept rows first", lambda condition, null, keep: torch.cat(
        [condition[keep], null.expand((~keep).sum(), -1)])),
    ("multiply_adds", "the parameters", lambda c_in, c_out, k, H, W, s: torch.nn.Conv2d(
        c_in, c_out, k, bias=False).weight.numel()),
    ("multiply_adds", "rounded down", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * floor_of(H, s) * floor_of(W, s))),
    ("multiply_adds", "the padding forgotten", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * (1 + (H - k) // s) * (1 + (W - k) // s))),
    ("multiply_adds", "the bias counted", lambda *args: by_formula(*args)
     + by_formula(1, args[1], 1, *args[3:])),
    ("multiply_adds", "rounded to the nearest", pixels_of),
    ("multiply_adds", "the area rounded", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * math.ceil(H * W / s ** 2))),
    ("multiply_adds", "channels added", lambda c_in, c_out, k, H, W, s: (
        (c_in + c_out) * k * k * math.ceil(H / s) * math.ceil(W / s))),
    ("multiply_adds", "not rounded", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * (H / s) * (W / s))),
    ("multiply_adds", "more than 32 bits can count", lambda c_in, c_out, k, H, W, s: (
        torch.tensor(c_in, dtype=torch.int32) * c_out * k * k * math.ceil(H / s)
        * math.ceil(W / s))),
    ("multiply_adds", None, lambda *args: int(torch.tensor(float(args[0])) * by_formula(
        1, *args[1:]))),
    ("multiply_adds", "one stop too few", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * (math.ceil(H / s) - 1) * (math.ceil(W / s) - 1))),
    ("multiply_adds", "rounded down in the end", lambda c_in, c_out, k, H, W, s: int(
        c_in * c_out * k * k * H / s * W / s)),
    ("multiply_adds", "one bias a channel", lambda *args: by_formula(*args) + args[1]),
    ("multiply_adds", "the height for both sides", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * math.ceil(H / s) ** 2)),
    ("time_features", "the 2 counted twice", lambda t, width: features(t, width, half=width / 4)),
    ("time_features", "divided by width / 2 - 1", lambda t, width: torch.cat(
        [f(t[:, None] * torch.logspace(0, -4, width // 2)) for f in (torch.sin, torch.cos)], 1)),
    *[("time_features", None, lambda t, width, most=most: features(t.clamp(max=most), width))
      for most in (500, 998)],
    ("time_features", None, lambda t, width: features(t.clamp(min=0), width)),
    ("time_features", None, lambda t, width: features(t.half().float(), width)),
    ("time_features", None, lambda t, width: features(t.float().bfloat16().float(), width)),
    ("time_features", None, lambda t, width: features(t, min(width, 32)).repeat(
        1, 3)[:, :width]),
    ("modulate", "1 - scale", lambda h, scale, shift: styles_unet.modulate(h, -scale, shift)),
    ("modulate", "the mean over everything", lambda h, scale, shift: torch.lerp(
        shift.mean() + 0 * h, h + shift.mean(), 1 + scale.mean())),
    *[("modulate", None, lambda h, scale, shift, most=most: styles_unet.modulate(
        h, scale.clamp(-most, most), shift)) for most in (1, 10, 50)],
    ("modulate", None, lambda h, scale, shift: styles_unet.modulate(h, scale, shift.relu())),
    *[("modulate", None, lambda h, scale, shift, most=most: styles_unet.modulate(
        h, scale, shift.clamp(-most, most))) for most in (3, 5, 8)],
    ("modulate", None, lambda h, scale, shift: styles_unet.modulate(
        h, scale, shift).clamp(-100, 100)),
    ("modulate", None, lambda h, scale, shift: styles_unet.modulate(
        h, scale.flip(0), shift.flip(0))),
    ("modulate", "SiLU as well", lambda h, scale, shift:
        F.silu(styles_unet.modulate(h, scale, shift))),
    ("join", "bilinear, corners aligned", lambda x, skip: torch.cat([torch.nn.Upsample(
        scale_factor=2, mode="bilinear", align_corners=True)(x), skip], 1)),
    ("join", "another sample's skip", lambda x, skip: styles_unet.join(x, skip[range(
        len(skip) - 1, -1, -1)])),
    *[("join", None, lambda x, skip, most=most: styles_unet.join(x, skip).clamp(-most, most))
      for most in (3, 4, 10)],
    ("join", None, lambda x, skip: styles_unet.join(x.clamp(-3, 3), skip)),
    ("join", None, lambda x, skip: styles_unet.join(x, skip.relu())),
    ("join", "channels mixed", lambda x, skip:
        torch.cat([F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), skip], 1)),
    ("drop_condition", "the last sample decides for all", lambda condition, null, keep: (
        condition.clone() if keep[-1] else null.expand_as(condition))),
    ("drop_condition", "all dropped", lambda condition, null, keep: null.expand_as(condition)),
    *[("drop_condition", None, lambda condition, null, keep, most=most: replaced(
        condition, null, keep).clamp(-most, most)) for most in (5, 10)],
    ("drop_condition", None, lambda condition, null, keep: replaced(
        condition, null, keep.flip(0)) if len(keep) > 1 else condition),
    ("multiply_adds", "a float", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * numpy.ceil(H / s) * numpy.ceil(W / s))),
    ("multiply_adds", "rounded down, and one more", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * ((H + s) // s) * ((W + s) // s))),
    ("multiply_adds", "the stride on the width only", lambda c_in, c_out, k, H, W, s: by_formula(
        c_in * H, c_out, k, 1, W, s)),
    ("multiply_adds", "half rounded up", lambda c_in, c_out, k, H, W, s: (
        c_in * c_out * k * k * ((H + 1) // s) * ((W + 1) // s))),
    ("multiply_adds", "a kernel of 3 always", lambda c_in, c_out, k, H, W, s: by_formula(
        c_in, c_out, 3, H, W, s)),
    ("multiply_adds", "each addition counted", lambda c_in, c_out, k, H, W, s: (
        (2 * c_in * k * k - 1) * by_formula(1, c_out, 1, H, W, s))),
]


@pytest.mark.parametrize("name, mistake, function", STUDENTS)
def test_wrong_answers_never_pass_and_known_mistakes_get_their_name(name, mistake, function):
    for seed in range(30):
        verdict = judge(f"unet.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, (seed, verdict)


# ---- right numbers through which nothing can be learnt

CUT_OFF = [                    # (exercise, which inputs no gradient reaches, the answer)
    ("modulate", "h and scale and shift", lambda *args: styles_unet.modulate(*args).detach()),
    ("modulate", "h", lambda h, *more: styles_unet.modulate(h.data, *more)),
    ("modulate", "scale", lambda h, scale, shift: styles_unet.modulate(h, scale.detach(), shift)),
    ("modulate", "shift", lambda h, scale, shift: styles_unet.modulate(h, scale, shift.data)),
    ("modulate", "h and scale and shift", torch.no_grad()(styles_unet.modulate)),
    ("join", "x and skip", torch.no_grad()(styles_unet.join)),
    ("join", "x", lambda x, skip: styles_unet.join(x.detach(), skip)),
    ("join", "skip", lambda x, skip: styles_unet.join(x, skip.detach())),
    ("join", "x and skip", lambda x, skip: torch.from_numpy(numpy.concatenate(
        [x.detach().numpy().repeat(2, 2).repeat(2, 3), skip.detach().numpy()], 1))),
    ("drop_condition", "null", lambda condition, null, keep: replaced(condition, null.data, keep)),
    ("drop_condition", "null", lambda condition, null, keep: replaced(
        condition, torch.tensor(null.tolist()), keep)),
    ("drop_condition", "condition", lambda condition, null, keep: replaced(
        condition.detach(), null, keep)),
    ("drop_condition", "condition and null", torch.no_grad()(replaced)),
]


@pytest.mark.parametrize("name, lost, function", CUT_OFF)
def test_right_numbers_that_let_no_gradient_through_are_told_where(name, lost, function):
    for seed in range(30):
        verdict = judge(f"unet.{name}", function, seed)
        assert verdict.state == "detached" and f"reaches {lost}." in verdict.message, verdict


def test_each_message_names_the_section_to_read_again():
    exercises = {"join": 2, "multiply_adds": 3, "modulate": 4, "time_features": 5,
                 "drop_condition": 5}
    for name, section in exercises.items():
        for mistake in checks.find(f"unet.{name}").mistakes:
            assert f"(section {section} of the lesson)" in mistake.message


# ---- the oracle and the inputs

def test_every_check_counts_beyond_32_bits_and_no_condition_is_kept_without_a_zero():
    for seed in range(20):
        counts = [checks.find("unet.multiply_adds").function(*args)
                  for args in calls("unet.multiply_adds", seed)]
        assert [count % 2 for count in counts if count > 2 ** 31] == [1]
        for condition, _, keep in calls("unet.drop_condition", seed):
            assert condition.shape[1] == 1 or (condition[keep] == 0).any(1).all()


def test_the_count_is_that_of_a_real_convolution_for_every_odd_kernel_size_and_stride():
    count = checks.find("unet.multiply_adds").function
    for kernel in (1, 3, 5):
        for size in range(1, 9):
            for stride in range(1, 5):
                assert count(2, 3, kernel, size, size + 1, stride) == measured(
                    2, 3, kernel, size, size + 1, stride)


def test_every_check_drops_some_conditions_all_and_none():
    for seed in range(20):
        rounds = calls("unet.drop_condition", seed)
        kinds = [(bool(keep.any()), bool(keep.all())) for _, _, keep in rounds]
        assert set(kinds) == {(True, False), (True, True), (False, False)}
