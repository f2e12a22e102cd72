r"""The exercises of lesson 11: how a U-Net hears the time, and what it costs.

in -> out   EXERCISES: time_features, modulate, join, drop_condition, multiply_adds
idea        Nearly every mistake here leaves all shapes as they should be, and the network learns
            on, only worse. So pictures come as wide as they have channels and batches as long as
            vectors, where a wrong broadcast goes unnoticed, beside pictures of other sizes.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import unet
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.diffusion import in_section
from minidalle.course.checks.transformer import between

LESSON = "11_unet"


# ---- the time as sines and cosines

def time_features(t: Tensor, width: int) -> Tensor:
    """t (B,), whole numbers or not; width even -> (B,width): sines at width / 2 rates that fall
    from 1 towards 1 / 10000, then the cosines at the same rates."""
    return unet.time_features(t, width)


def rates(width: int) -> Tensor:
    return 10_000 ** -(torch.arange(width // 2) / (width // 2))


def waves(rate):
    """Sines and cosines at other rates: rate(width) -> (width / 2,)."""
    return lambda t, width: sines_cosines(t[:, None].float() * rate(width))


def sines_cosines(angle: Tensor) -> Tensor:
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def wave_by_wave(t: Tensor, rate: Tensor) -> Tensor:
    """Half of the rates for the sines, the other half for the cosines."""
    first, second = (t[:, None].float() * rate).chunk(2, dim=1)
    return torch.cat([first.sin(), second.cos()], dim=1)


def step_times(g: Generator) -> tuple:
    """Whole numbers, the first step among them."""
    t = torch.cat([torch.tensor([0, 1, 5]), torch.randint(6, (between(1, 3, g),), generator=g)])
    return t[torch.randperm(len(t), generator=g)], 4


def level_times(g: Generator) -> tuple:
    """Noise levels: no whole numbers, and negative ones; many rates."""
    t = torch.linspace(-0.4, 0.4, between(3, 6, g)) + 0.05 * torch.rand((), generator=g)
    return t[torch.randperm(len(t), generator=g)], 2 * between(17, 40, g)


def wide_times(g: Generator) -> tuple:
    """Many rates, as many as there are samples."""
    return 0.02 + 0.06 * torch.rand(8, generator=g), 16


def single_times(g: Generator) -> tuple:
    return torch.tensor([between(1, 2, g)]), 6


def late_times(g: Generator) -> tuple:
    """Of a long schedule both ends and a step between."""
    return torch.tensor([between(300, 900, g), 0, 999]), 4


TIME_FEATURES = Exercise(
    "unet.time_features", LESSON, 2, time_features,
    (step_times, level_times, wide_times, single_times, late_times), in_section(5,
        Mistake(
            "the bare number",
            "You repeat t itself in every place. A network can hardly tell 500 from 501: give it "
            "sines and cosines of t at several rates.",
            lambda t, width: t[:, None].float().expand(-1, width)),
        Mistake(
            "rates forgotten",
            "All your sines are equal, and all cosines: t is not multiplied by the rates. Each of "
            "the width / 2 columns has a rate of its own.",
            waves(lambda width: torch.ones(width // 2))),
        Mistake(
            "rates rise",
            "Your rates rise from 1 towards 10000. They fall: the exponent is negative.",
            waves(lambda width: 10_000 ** (torch.arange(width // 2) / (width // 2)))),
        Mistake(
            "divided by width",
            "In the exponent you divide i by width. There are width / 2 rates, so i is divided by "
            "width / 2; yours fall to a hundredth only.",
            waves(lambda width: 10_000 ** -(torch.arange(width // 2) / width))),
        Mistake(
            "divided by width / 2 - 1",
            "In the exponent you divide i by width / 2 - 1, as some code does. Here it is "
            "width / 2, and the last rate stays a little above 1 / 10000.",
            waves(lambda width: 10_000 ** -(torch.arange(width // 2) / (width // 2 - 1)))),
        Mistake(
            "i counted from 1",
            "You count i from 1. The first rate is 1 itself, with i = 0.",
            waves(lambda width: 10_000 ** -(torch.arange(1, width // 2 + 1) / (width // 2)))),
        Mistake(
            "sines and cosines take turns",
            "Your sines and cosines take turns. Here all the sines come first, then all the "
            "cosines.",
            lambda t, width: time_features(t, width).unflatten(1, (2, -1)).mT.flatten(1)),
        Mistake(
            "cosines first",
            "You have the cosines first. The sines come first, then the cosines.",
            lambda t, width: time_features(t, width).roll(width // 2, dims=1)),
        Mistake(
            "turns in place of radians",
            "You multiply by 2 pi. Here the angle is t times the rate as it is.",
            waves(lambda width: 2 * math.pi * rates(width))),
        Mistake(
            "another logarithm",
            "You use the logarithm of 10000 to base 10 with exp. exp belongs to the natural one, "
            "math.log; or raise 10000 itself to the power.",
            waves(lambda width: torch.exp(-4.0 * torch.arange(width // 2) / (width // 2)))),
        Mistake(
            "the 2 counted twice",
            "Your exponent is -2i / n with n = width / 2, so the rates fall to nearly 1e-8. It is "
            "i / n, which is the same as 2i / width: the 2 belongs to one of them.",
            waves(lambda width: rates(width) ** 2)),
        Mistake(
            "another base",
            "Your rates fall towards 1 / 1000. The base is 10000.",
            waves(lambda width: rates(width) ** 0.75)),
        Mistake(
            "powers of two",
            "You halve the rate from one to the next. They fall from 1 towards 1 / 10000 in "
            "width / 2 even ratios: 10000 to the power -i / (width / 2).",
            waves(lambda width: 2.0 ** -torch.arange(width // 2))),
        Mistake(
            "rates on a straight line",
            "Your rates fall by equal steps. They fall by equal RATIOS: i stands in an exponent.",
            waves(lambda width: 1 - torch.arange(width // 2) / (width // 2))),
        Mistake(
            "t divided by 1000",
            "You divide t by 1000 first. Then the fastest wave does not turn once in the whole "
            "schedule: take t as it is.",
            waves(lambda width: rates(width) / 1000)),
        Mistake(
            "t made whole",
            "You make t a whole number. Noise levels between two steps are possible: .float(), and "
            "not .long().",
            lambda t, width: time_features(t.long(), width)),
        Mistake(
            "only sines",
            "Both of your halves are sines. The second half has the cosines at the same rates.",
            lambda t, width: time_features(t, width)[:, :width // 2].repeat(1, 2)),
        Mistake(
            "half a turn",
            "You multiply by pi. Here the angle is t times the rate as it is.",
            waves(lambda width: math.pi * rates(width))),
        Mistake(
            "in turns, cosines first",
            "Your cosines and sines take turns, cosines first. Here all the sines come first, then "
            "all the cosines.",
            lambda t, width: time_features(t, width).unflatten(1, (2, -1)).flip(1).mT.flatten(1)),
        Mistake(
            "rates in reverse",
            "Your rates rise from nearly 1 / 10000 to 1. The first is the fastest: i is counted "
            "upwards, and the exponent is -i / (width / 2).",
            waves(lambda width: rates(width).flip(0))),
        Mistake(
            "the base forgotten",
            "Your rates are exp(-i / (width / 2)) and fall to a third only. The base is 10000: "
            "raise it to that power, or multiply by math.log(10000) within exp.",
            waves(lambda width: torch.exp(-torch.arange(width // 2) / (width // 2)))),
        Mistake(
            "divided outside the exponent",
            "You raise 10000 to the power -i, and divide that by width / 2. A power comes before "
            "a division: put brackets round the whole exponent.",
            waves(lambda width: 10_000.0 ** -torch.arange(width // 2).float() / (width // 2))),
        Mistake(
            "a whole number in the exponent",
            "You divide by // in the exponent, which leaves whole numbers: all rates but the "
            "first are alike. Divide by /.",
            waves(lambda width: 10_000.0 ** (-torch.arange(width // 2) // (width // 2)))),
        Mistake(
            "each rate used once",
            "You make width rates, and give the first half to the sines and the others to the "
            "cosines. There are width / 2, and each has a sine AND a cosine.",
            lambda t, width: wave_by_wave(t, 10_000 ** -(torch.arange(width) / width))),
        Mistake(
            "rates on a rising line",
            "Your rates are i / (width / 2), and the first is 0. That is the exponent without its "
            "sign: 10000 is raised to the power -i / (width / 2).",
            waves(lambda width: torch.arange(width // 2) / (width // 2))),
        Mistake(
            "powers of two, rising",
            "You double the rate from one to the next. They fall from 1 towards 1 / 10000 in "
            "width / 2 even ratios: 10000 to the power -i / (width / 2).",
            waves(lambda width: 2.0 ** torch.arange(width // 2))),
        Mistake(
            "time turned round",
            "All your sines have the wrong sign, as those of -t. The minus belongs to the "
            "exponent of the rates, not to t.",
            lambda t, width: time_features(-t, width)),
        Mistake(
            "degrees",
            "You turn degrees into radians. Here the angle is t times the rate as it is.",
            waves(lambda width: math.pi / 180 * rates(width))),
        Mistake(
            "t added to the rates",
            "You add t and the rates. Each angle is a product: a column of times, times a row of "
            "rates.",
            lambda t, width: sines_cosines(t[:, None].float() + rates(width))),
        Mistake(
            "the first time for all",
            "All your rows are those of the first time. Each sample has its own: t[:, None] times "
            "the rates is a table (B,width/2).",
            lambda t, width: time_features(t[:1], width).repeat(len(t), 1)),
        Mistake(
            "t divided by the largest",
            "You divide t by the largest of the batch. Then a time looks different in other "
            "company: take t as it is.",
            lambda t, width: time_features(t / t.max(), width)),
        Mistake(
            "only cosines",
            "Both of your halves are cosines. The first half has the sines at the same rates.",
            lambda t, width: time_features(t, width)[:, width // 2:].repeat(1, 2)),
    ), "sines, then cosines, at rates that fall from 1")


# ---- scale and shift

def modulate(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """h (B,C,H,W), scale and shift (B,C) -> like h: (1 + scale) h + shift, channel by channel."""
    return (1 + wide(scale)) * h + wide(shift)


def wide(x: Tensor) -> Tensor:
    """(B,C) -> (B,C,1,1)."""
    return x[..., None, None]


def modulated(size, factor: float = 1.0):
    """Draws of h, scale and shift; size(g) of h. W = C or 1 nearly throughout, and H = B or B = 1,
    so that wrong dimensions meet without an error."""
    def draw(g):
        B, C, H, W = size(g)
        h = torch.randn(B, C, H, W, generator=g)
        scale, shift = torch.randn(2, B, C, generator=g)
        scale, shift = factor * scale, shift + 2
        h[0, 0, 0, 0], scale[0, 0], shift[0, 0], shift[-1, -1] = 4.0, -60.0, 9.0, -9.0
        return h, scale, shift                 # so far out that no clip goes unseen
    return draw


def square(g: Generator) -> tuple[int, ...]:
    return (between(3, 4, g),) * 4


MODULATE = Exercise(
    "unet.modulate", LESSON, 1, modulate,
    (modulated(square),
     modulated(lambda g: (2, between(3, 5, g)) * 2, 20.0),
     modulated(lambda g: (1, between(2, 5, g), 6, 1), 0.1),
     modulated(lambda g: (3, 1, 3, between(4, 6, g))),
     modulated(lambda g: (between(4, 5, g), 3) * 2)), in_section(4,
        Mistake(
            "the 1 forgotten",
            "You multiply by scale alone. The network begins with scales near 0 and would cut "
            "everything off: multiply by 1 + scale.",
            lambda h, scale, shift: wide(scale) * h + wide(shift)),
        Mistake(
            "the 1 added to the product",
            "You compute 1 + scale * h + shift: the product comes before the sum, so the 1 is "
            "added in the end. Put brackets round 1 + scale.",
            lambda h, scale, shift: 1 + wide(scale) * h + wide(shift)),
        Mistake(
            "the shift scaled as well",
            "You add the shift first and scale both. Scale h, and add the shift as it is.",
            lambda h, scale, shift: (1 + wide(scale)) * (h + wide(shift))),
        Mistake(
            "scale and shift exchanged",
            "You multiply by 1 + shift and add scale: they are exchanged.",
            lambda h, scale, shift: modulate(h, shift, scale)),
        Mistake(
            "the shift forgotten",
            "The scale is right. The shift of each channel is missing.",
            lambda h, scale, shift: (1 + wide(scale)) * h),
        Mistake(
            "along height and width",
            "You let scale (B,C) meet the LAST two dimensions of h, its height and width. Each "
            "number belongs to a sample and a channel: make it (B,C,1,1).",
            lambda h, scale, shift: (1 + scale) * h + shift),
        Mistake(
            "along the width",
            "Your scale has the shape (B,1,1,C), and so its numbers go to the columns of the "
            "picture. They belong to the channels: (B,C,1,1).",
            lambda h, scale, shift: (1 + scale[:, None, None]) * h + shift[:, None, None]),
        Mistake(
            "along the height",
            "Your scale has the shape (B,1,C,1), and so its numbers go to the rows of the "
            "picture. They belong to the channels: (B,C,1,1).",
            lambda h, scale, shift: (1 + scale[:, None, :, None]) * h + shift[:, None, :, None]),
        Mistake(
            "the mean over the batch",
            "You give every sample the mean scale and shift of the batch. Each sample has its own "
            "time and condition, and so its own two vectors.",
            lambda h, scale, shift: modulate(h, scale.mean(dim=0, keepdim=True),
                                             shift.mean(dim=0, keepdim=True))),
        Mistake(
            "the first sample's for all",
            "You give every sample the scale and shift of the first one. Each has its own.",
            lambda h, scale, shift: modulate(h, scale[:1], shift[:1])),
        Mistake(
            "1 - scale",
            "You multiply by 1 - scale. It is 1 + scale: at 0 nothing changes, and a positive "
            "scale makes the channel louder.",
            lambda h, scale, shift: modulate(h, -scale, shift)),
        Mistake(
            "exp of the scale",
            "You multiply by exp(scale), as some networks do. Here it is 1 + scale, which can also "
            "mute a channel or turn it round.",
            lambda h, scale, shift: modulate(h, scale.exp() - 1, shift)),
        Mistake(
            "the shift taken away",
            "The scale is right. You take the shift away, and it is added.",
            lambda h, scale, shift: modulate(h, scale, -shift)),
        Mistake(
            "the scale forgotten",
            "The shift is right. The scale of each channel is missing.",
            lambda h, scale, shift: h + wide(shift)),
        Mistake(
            "the mean over the channels",
            "You give all channels the mean scale and shift of the sample. Each channel has its "
            "own two numbers.",
            lambda h, scale, shift: modulate(h, scale.mean(dim=1, keepdim=True),
                                             shift.mean(dim=1, keepdim=True))),
        Mistake(
            "the mean over everything",
            "You take one mean scale and one mean shift for the whole batch. Each channel of each "
            "sample has its own two numbers.",
            lambda h, scale, shift: (1 + scale.mean()) * h + shift.mean()),
        Mistake(
            "without its sign",
            "You take 1 + scale without its sign. Below -1 the channel is turned round: that is "
            "meant to be possible.",
            lambda h, scale, shift: (1 + wide(scale)).abs() * h + wide(shift)),
        Mistake(
            "normed once more",
            "You take the mean of each channel out of h. h is normed already: scale and shift are "
            "all that is left to do.",
            lambda h, scale, shift: modulate(h - h.mean(dim=(2, 3), keepdim=True), scale, shift)),
        Mistake(
            "each channel normed once more",
            "You norm each channel of h. h is normed already: scale and shift are all that is left "
            "to do.",
            lambda h, scale, shift: modulate(F.instance_norm(h), scale, shift)),
        Mistake(
            "each picture normed once more",
            "You norm h over its channels and pixels. h is normed already: scale and shift are all "
            "that is left to do.",
            lambda h, scale, shift: modulate(F.group_norm(h, 1), scale, shift)),
        Mistake(
            "divided by 1 + scale",
            "You divide by 1 + scale. Multiply by it: a large scale makes the channel loud.",
            lambda h, scale, shift: h / (1 + wide(scale)) + wide(shift)),
        Mistake(
            "SiLU as well",
            "You put a SiLU behind the shift. It belongs to the block; this exercise ends with the "
            "formula.",
            lambda h, scale, shift: F.silu(modulate(h, scale, shift))),
        Mistake(
            "h added once more",
            "You add h once more. The 1 in 1 + scale stands for it already; the input is added at "
            "the end of the block, and not here.",
            lambda h, scale, shift: h + modulate(h, scale, shift)),
        Mistake(
            "nothing done",
            "You return h as it is. Scale and shift each channel: the formula stands above.",
            lambda h, scale, shift: 1 * h),
        Mistake(
            "1 + shift",
            "The scale is right. You add 1 + shift: the 1 belongs to the scale alone.",
            lambda h, scale, shift: modulate(h, scale, 1 + shift)),
        Mistake(
            "never turned round",
            "You do not let 1 + scale fall below 0. There a channel is turned round: that is "
            "meant to be possible.",
            lambda h, scale, shift: modulate(h, scale.clamp(min=-1), shift)),
    ), "each channel of each sample scaled and shifted by its own numbers",
    learns=True)


# ---- a skip connection

def join(x: Tensor, skip: Tensor) -> Tensor:
    """x (B,C,h,w), skip (B,D,2h,2w) from the way down -> (B,C+D,2h,2w): x with each pixel
    repeated, the skip behind it."""
    return torch.cat([enlarged(x), skip], dim=1)


def enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


def joined(size):
    """Draws of x and skip; size(g) -> B, C, D, h, w. C = D, or one of them is 1: so they can be
    added."""
    def draw(g):
        B, C, D, h, w = size(g)
        x = torch.randn(B, C, h, w, generator=g)
        skip = torch.randn(B, D, 2 * h, 2 * w, generator=g)
        for picture in (x, skip):              # so far out that no clip goes unseen
            picture.view(-1)[0], picture.view(-1)[-1] = 20.0, -20.0
        return x, skip
    return draw


JOIN = Exercise(
    "unet.join", LESSON, 2, join,
    (joined(lambda g: (2, 3, 3, between(2, 3, g), 4)),
     joined(lambda g: (between(2, 4, g),) * 5),
     joined(lambda g: (1, 1, between(2, 4, g), 3, 2)),
     joined(lambda g: (3, between(2, 4, g), 1, 2, 2)),
     joined(lambda g: (2, 2, 2, 1, 1))), in_section(2,
        Mistake(
            "added",
            "You add the two. A U-Net lays them beside each other as channels (torch.cat, dim=1), "
            "so that nothing of either is lost.",
            lambda x, skip: enlarged(x) + skip),
        Mistake(
            "the skip first",
            "Both parts are there, and the skip comes first. x comes first, the skip behind it.",
            lambda x, skip: torch.cat([skip, enlarged(x)], dim=1)),
        Mistake(
            "channels take turns",
            "Your channels take turns: one of x, one of the skip. All of x comes first, then all "
            "of the skip: torch.cat, and not torch.stack.",
            lambda x, skip: torch.stack([enlarged(x), skip], dim=2).flatten(1, 2)),
        Mistake(
            "joined along the height",
            "You put the skip UNDER x: a picture twice as high. Join along the channels, dim=1.",
            lambda x, skip: torch.cat([enlarged(x), skip], dim=2)),
        Mistake(
            "bilinear",
            "You enlarge x smoothly (bilinear). Repeat each pixel as it is: nearest, or "
            "repeat_interleave along both sides.",
            lambda x, skip: torch.cat(
                [F.interpolate(x, scale_factor=2.0, mode="bilinear"), skip], dim=1)),
        Mistake(
            "tiled",
            "You lay the whole of x beside itself, four times (x.repeat does that). Each PIXEL is "
            "to be repeated: repeat_interleave, or F.interpolate.",
            lambda x, skip: torch.cat([x.repeat(1, 1, 2, 2), skip], dim=1)),
        Mistake(
            "the skip made smaller",
            "You take every second pixel of the skip, so that it fits x. It is there for the "
            "details: enlarge x instead.",
            lambda x, skip: torch.cat([x, skip[..., ::2, ::2]], dim=1)),
        Mistake(
            "the skip forgotten",
            "You enlarge x, and the skip is not in your answer. It stands behind x as further "
            "channels.",
            lambda x, skip: enlarged(x)),
        Mistake(
            "gaps filled with zeros",
            "Only one of the four pixels has the value of x, the others are 0. Each pixel of x "
            "fills all four places that it stands for.",
            lambda x, skip: torch.cat(
                [enlarged(x) * torch.tensor([[1.0, 0.0], [0.0, 0.0]]).repeat(x.shape[2:]), skip],
                dim=1)),
        Mistake(
            "bicubic",
            "You enlarge x smoothly (bicubic). Repeat each pixel as it is: nearest, or "
            "repeat_interleave along both sides.",
            lambda x, skip: torch.cat(
                [F.interpolate(x, scale_factor=2.0, mode="bicubic"), skip], dim=1)),
        Mistake(
            "bilinear, corners aligned",
            "You enlarge x smoothly (bilinear, with aligned corners). Repeat each pixel as it is: "
            "nearest, or repeat_interleave along both sides.",
            lambda x, skip: torch.cat([F.interpolate(
                x, scale_factor=2.0, mode="bilinear", align_corners=True), skip], dim=1)),
        Mistake(
            "the columns tiled",
            "You repeat each pixel along the height, but lay the whole beside itself along the "
            "width (repeat). Take repeat_interleave for both.",
            lambda x, skip: torch.cat(
                [x.repeat_interleave(2, dim=2).repeat(1, 1, 1, 2), skip], dim=1)),
        Mistake(
            "the rows tiled",
            "You repeat each pixel along the width, but lay the whole below itself along the "
            "height (repeat). Take repeat_interleave for both.",
            lambda x, skip: torch.cat(
                [x.repeat(1, 1, 2, 1).repeat_interleave(2, dim=3), skip], dim=1)),
        Mistake(
            "four times along the rows",
            "You repeat each pixel four times in a row and then reshape, so that it lands on the "
            "wrong places. Repeat twice along the height, twice along the width.",
            lambda x, skip: torch.cat([x.repeat_interleave(4, dim=3).reshape(
                len(x), -1, *skip.shape[2:]), skip], dim=1)),
        Mistake(
            "shared out over four",
            "You divide by the number of places that a pixel fills. Each of the four gets its "
            "whole value.",
            lambda x, skip: torch.cat([enlarged(x) / 4, skip], dim=1)),
        Mistake(
            "another sample's skip",
            "Your skips come in reverse along the batch. The pile of a U-Net turns the SIZES "
            "round; a sample keeps its own skip.",
            lambda x, skip: torch.cat([enlarged(x), skip.flip(0)], dim=1)),
        Mistake(
            "x not as high as the skip",
            "Where you join them, x is half as high as the skip. Repeat each pixel along both "
            "sides first, height AND width.",
            lambda x, skip: torch.cat([x, skip], dim=1)),
        Mistake(
            "enlarged along the height only",
            "You repeat each pixel along the height only. x is half as high AND half as wide as "
            "the skip: repeat along both sides.",
            lambda x, skip: torch.cat([x.repeat_interleave(2, dim=2), skip], dim=1)),
        Mistake(
            "batch and channels repeated",
            "You repeat along dimensions 0 and 1, the samples and the channels. Pixels lie along "
            "2 and 3, height and width.",
            lambda x, skip: torch.cat(
                [x.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1), skip], dim=1)),
        Mistake(
            "enlarged fourfold",
            "You make each side of x four times as long. Twice is enough: 4 places come from 1 "
            "because there are two sides.",
            lambda x, skip: torch.cat([F.interpolate(x, scale_factor=4.0), skip], dim=1)),
        Mistake(
            "both enlarged",
            "You enlarge the skip too. It has the right size already: enlarge x alone.",
            lambda x, skip: torch.cat([enlarged(x), enlarged(skip)], dim=1)),
        Mistake(
            "as wide as high",
            "You make x square, as wide as it is high. Pictures need not be square: double each "
            "side on its own.",
            lambda x, skip: torch.cat([F.interpolate(x, size=2 * x.shape[2]), skip], dim=1)),
        Mistake(
            "height and width exchanged",
            "You exchange height and width of x. Enlarge it as it lies.",
            lambda x, skip: torch.cat([enlarged(x.mT), skip], dim=1)),
        Mistake(
            "the skip averaged",
            "You average the skip over blocks of 2 x 2, so that it fits x. It is there for the "
            "details: enlarge x instead.",
            lambda x, skip: torch.cat([x, F.avg_pool2d(skip, 2)], dim=1)),
        Mistake(
            "joined along the batch",
            "You join along dimension 0, so that there are twice as many pictures. Join along the "
            "channels, dim=1.",
            lambda x, skip: torch.cat([enlarged(x), skip], dim=0)),
        Mistake(
            "joined along the width",
            "You put the skip BESIDE x: a picture twice as wide. Join along the channels, dim=1.",
            lambda x, skip: torch.cat([enlarged(x), skip], dim=3)),
        Mistake(
            "a dimension too many",
            "torch.stack makes a new dimension, and wants as many channels on both sides. "
            "torch.cat along dim=1 lays the channels on each other.",
            lambda x, skip: torch.stack([enlarged(x), skip], dim=1)),
        Mistake(
            "x forgotten",
            "You return the skip alone. x, enlarged, stands before it.",
            lambda x, skip: 1 * skip),
        Mistake(
            "channels mixed",
            "You lay the channels of x out four times and shuffle them into pixels, so that a "
            "pixel's four places come from different channels. Repeat each PIXEL.",
            lambda x, skip: torch.cat([F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), skip], dim=1)),
    ), "each pixel repeated, and the skip's channels behind",
    learns=True)


# ---- a condition that is sometimes missing

def drop_condition(condition: Tensor, null: Tensor, keep: Tensor) -> Tensor:
    """condition (B,E), null (E,), keep (B,) bool -> (B,E): where keep is False, null."""
    return torch.where(keep[:, None], condition, null)


def conditions(keep, E=len):
    """Draws of condition, null and keep; keep(g) is a list, E(keep) the width. It is as wide as
    the batch is long, or one of the two is 1: there keep can land on the entries of a vector."""
    def draw(g):
        kept = torch.tensor(keep(g))
        condition = torch.randn(len(kept), E(kept), generator=g)
        null = 3 + torch.randn(E(kept), generator=g)
        condition[0, 0], null[0] = 9.0, -20.0  # so far out that no clip goes unseen
        condition[:, 1:2] = 0.0                # a number like others, and no sign of a dropped row
        return condition, null, kept
    return draw


def some(first: bool, low: int = 2, high: int = 4):
    """Draws of keep: the first sample's, low to high more, some kept and some dropped, and the
    last, which is not what the first is."""
    return lambda g: [first, *(torch.randperm(between(low, high, g), generator=g) % 2 == 0
                               ).tolist(), not first]


DROP_CONDITION = Exercise(
    "unet.drop_condition", LESSON, 1, drop_condition,
    (conditions(some(False)),
     conditions(some(True, 60, 80), lambda kept: 1),     # so many that no throw keeps them all
     conditions(lambda g: [False], lambda kept: 5),
     conditions(lambda g: [True] * between(2, 4, g)),
     conditions(lambda g: [False] * between(2, 4, g))), in_section(5,
        Mistake(
            "all dropped if one is",
            "If any sample loses its condition, you drop those of the whole batch (keep.all()). "
            "Decide for each sample on its own.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         keep.all().expand(len(keep)))),
        Mistake(
            "all kept if one is",
            "If any sample keeps its condition, you keep those of the whole batch (keep.any()). "
            "Decide for each sample on its own.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         keep.any().expand(len(keep)))),
        Mistake(
            "the first sample decides for all",
            "You decide for the whole batch by its first sample. Decide for each sample on its "
            "own.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         keep[:1].expand(len(keep)))),
        Mistake(
            "zeros in place of null",
            "Where a condition is dropped you leave zeros. The vector null belongs there, which "
            "the network learns: zeros could be a real condition.",
            lambda condition, null, keep: drop_condition(condition, 0 * null, keep)),
        Mistake(
            "keep turned round",
            "You drop where keep is True. True means that the condition stays.",
            lambda condition, null, keep: drop_condition(condition, null, ~keep)),
        Mistake(
            "entry by entry",
            "Your keep (B,) meets the entries of the vectors, so that every sample loses the same "
            "entries. Each answer belongs to a whole row: give it the shape (B,1).",
            lambda condition, null, keep: torch.where(keep, condition, null)),
        Mistake(
            "as many rows, but the first ones",
            "You keep as many conditions as keep says, but the FIRST ones. Which rows it names "
            "matters.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         torch.arange(len(keep)) < keep.sum())),
        Mistake(
            "null added",
            "Where a condition is dropped you add null to it. It must be gone: null stands in its "
            "place.",
            lambda condition, null, keep: torch.where(keep[:, None], condition, condition + null)),
        Mistake(
            "dropped rows left out",
            "You return only the rows that are kept. The batch keeps its length: where a "
            "condition is dropped, null stands in its row.",
            lambda condition, null, keep: condition[keep]),
        Mistake(
            "the last sample decides for all",
            "You decide for the whole batch by its last sample. Decide for each sample on its own.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         keep[-1:].expand(len(keep)))),
        Mistake(
            "nothing dropped",
            "You return the conditions as they are. Where keep is False, null belongs in the row.",
            lambda condition, null, keep: 1 * condition),
        Mistake(
            "all dropped",
            "Every row of yours is null. Where keep is True, the condition stays.",
            lambda condition, null, keep: null.repeat(len(keep), 1)),
        Mistake(
            "one number of null",
            "Where a condition is dropped you put the mean of null in every place. null is a "
            "vector: it stands in the row as it is.",
            lambda condition, null, keep: torch.where(keep[:, None], condition, null.mean())),
        Mistake(
            "kept rows first",
            "Your rows have changed places: the kept ones come first, then null. Each row keeps "
            "its place, since it belongs to a picture.",
            lambda condition, null, keep: torch.cat(
                [condition[keep], null.expand((~keep).sum(), -1)])),
        Mistake(
            "the mean condition in place of null",
            "Where a condition is dropped you put the mean of the batch's conditions. The vector "
            "null belongs there, which the network learns.",
            lambda condition, null, keep: drop_condition(condition, condition.mean(dim=0), keep)),
        Mistake(
            "kept conditions enlarged",
            "You make the conditions that are kept larger, as dropout does. They stay as they "
            "are.",
            lambda condition, null, keep: drop_condition(
                condition / keep.float().mean().clamp(min=0.01), null, keep)),
        Mistake(
            "null added to all",
            "You add null to every row. Where keep is True the condition stays as it is; null "
            "stands only where it is dropped.",
            lambda condition, null, keep: keep[:, None] * condition + null),
        Mistake(
            "null with the wrong sign",
            "Where a condition is dropped you put -null. null stands there as it is.",
            lambda condition, null, keep: drop_condition(condition, -null, keep)),
        Mistake(
            "the first number of null",
            "Where a condition is dropped you put the first number of null in every place. null "
            "is a vector: it stands in the row as it is.",
            lambda condition, null, keep: drop_condition(condition, null[:1], keep)),
        Mistake(
            "zeros taken for dropped",
            "You put null wherever the condition times keep is 0. A condition that is kept may "
            "hold zeros: ask keep, with torch.where.",
            lambda condition, null, keep: torch.where(keep[:, None] * condition != 0, condition,
                                                      null)),
        Mistake(
            "half of null",
            "Where a condition is dropped you put the mean of it and of null. It must be gone: "
            "null stands in its place.",
            lambda condition, null, keep: torch.where(keep[:, None], condition,
                                                      (condition + null) / 2)),
        Mistake(
            "kept conditions divided by 0.9",
            "You divide the conditions that are kept by 0.9, as dropout does. They stay as they "
            "are.",
            lambda condition, null, keep: drop_condition(condition / 0.9, null, keep)),
        Mistake(
            "the last row left as it is",
            "Your last row is always the condition: your loop or slice ends one too early.",
            lambda condition, null, keep: drop_condition(
                condition, null, keep | (torch.arange(len(keep)) == len(keep) - 1))),
        Mistake(
            "only the first dropped",
            "You put null in the first row that is dropped, and leave the others. Every row whose "
            "keep is False gets it.",
            lambda condition, null, keep: drop_condition(condition, null,
                                                         keep | ((~keep).cumsum(0) > 1))),
    ), "null in the rows that are dropped, and only there",
    learns=True)


# ---- what a convolution costs

def multiply_adds(c_in: int, c_out: int, kernel: int, height: int, width: int, stride: int) -> int:
    """Of one convolution without bias on a picture (c_in,height,width), padding kernel // 2, with
    an odd kernel. The output has height / stride rows, rounded up; columns likewise."""
    return c_in * c_out * kernel ** 2 * ceiled(height, stride) * ceiled(width, stride)


def ceiled(size: int, stride: int) -> int:
    return (size - 1) // stride + 1


def counted(places, weights=lambda c_in, c_out, kernel: c_in * c_out * kernel ** 2):
    """Another count: weights at each place times places(height, width, stride, kernel)."""
    return lambda c_in, c_out, kernel, height, width, stride: (
        weights(c_in, c_out, kernel) * places(height, width, stride, kernel))


def outputs(height: int, width: int, stride: int, kernel: int) -> int:
    return ceiled(height, stride) * ceiled(width, stride)


def inside(size: int, kernel: int, stride: int) -> int:
    """How many of the kernel's places, over all its stops on one side, lie on the picture."""
    return sum(0 <= stop + place < size for stop in range(0, size, stride)
               for place in range(-(kernel // 2), kernel // 2 + 1))


def convolution(kernels, sizes, strides):
    """Draws of one; height is a multiple of the stride + sizes[0], width one + sizes[1]."""
    def draw(g):
        stride = strides[between(0, len(strides) - 1, g)]
        kernel = kernels[between(0, len(kernels) - 1, g)]
        height, width = (between(2, 5, g) * stride + more for more in sizes)
        return between(2, 9, g), between(2, 9, g), kernel, height, width, stride
    return draw


def large_convolution(g: Generator) -> tuple:
    """More than 32 bits can count, and a product of odd numbers, which float32 cannot hold."""
    c_in, c_out, rows, columns = (2 * between(*ends, g) + 1 for ends in (
        (512, 767), (512, 767), (10, 20), (10, 20)))
    stride = 2 * between(1, 2, g)
    return c_in, c_out, 3, rows * stride, (columns - 1) * stride + 1, stride


def smallest_convolution(g: Generator) -> tuple:
    """A picture of one row, smaller than the kernel; half of 5 lies between two numbers."""
    return 1, between(1, 3, g), 3, 1, 5, 2


MULTIPLY_ADDS = Exercise(
    "unet.multiply_adds", LESSON, 2, multiply_adds,
    (convolution((3, 5), (1, 1), (3,)),                 # both sides leave a rest of 1
     convolution((3, 7), (0, 3), (1,)),
     large_convolution,
     convolution((1,), (-1, 1), (3, 4)),
     smallest_convolution), in_section(3,
        Mistake(
            "the parameters",
            "You count the weights, c_in * c_out * kernel * kernel. Each of them is used at every "
            "place of the OUTPUT, once.",
            counted(lambda *sizes: 1)),
        Mistake(
            "at the input's size",
            "You count every place of the input. With a stride the kernel stops at fewer places: "
            "those of the output.",
            counted(lambda height, width, stride, kernel: height * width)),
        Mistake(
            "the stride on one side only",
            "You divide the height by the stride, but not the width. A stride skips rows AND "
            "columns.",
            counted(lambda height, width, stride, kernel: ceiled(height, stride) * width)),
        Mistake(
            "the area divided by the stride once",
            "You divide height * width by the stride once. It shortens each side, and so the area "
            "twice.",
            counted(lambda height, width, stride, kernel: height * width // stride)),
        Mistake(
            "rounded down",
            "You round the output's size down. At 5 pixels and stride 2 the kernel stops at 0, 2 "
            "and 4, that is three times: round up.",
            counted(lambda height, width, stride, kernel: height // stride * (width // stride))),
        Mistake(
            "the padding forgotten",
            "Your output is smaller by kernel - 1 before the stride: you left the padding out. "
            "With padding kernel // 2 the kernel stops at the edges too.",
            counted(lambda height, width, stride, kernel:
                    ((height - kernel) // stride + 1) * ((width - kernel) // stride + 1))),
        Mistake(
            "c_in forgotten",
            "You leave c_in out. Each output channel looks at all the input channels.",
            counted(outputs, lambda c_in, c_out, kernel: c_out * kernel ** 2)),
        Mistake(
            "c_out forgotten",
            "You leave c_out out. Each output channel has a kernel of its own.",
            counted(outputs, lambda c_in, c_out, kernel: c_in * kernel ** 2)),
        Mistake(
            "the kernel not squared",
            "You multiply by the kernel's side once. It has kernel * kernel places.",
            counted(outputs, lambda c_in, c_out, kernel: c_in * c_out * kernel)),
        Mistake(
            "multiplications and additions counted singly",
            "Your count is twice what is asked for: a multiplication and the addition behind it "
            "count as one.",
            counted(outputs, lambda c_in, c_out, kernel: 2 * c_in * c_out * kernel ** 2)),
        Mistake(
            "the bias counted",
            "You count one more for each output number, the bias. This convolution has none.",
            counted(outputs, lambda c_in, c_out, kernel: c_out * (c_in * kernel ** 2 + 1))),
        Mistake(
            "a float",
            "The count is right, but a float. A count is a whole number: math.ceil gives one, "
            "np.ceil and round-about divisions do not.",
            lambda *sizes: float(multiply_adds(*sizes))),
        Mistake(
            "not rounded",
            "You divide by the stride and do not round, so that your count is no whole number. At "
            "5 pixels and stride 2 the kernel stops three times: round each side up.",
            counted(lambda height, width, stride, kernel: height / stride * (width / stride))),
        Mistake(
            "rounded to the nearest",
            "You round each side to the nearest whole number. A last stop counts even if little is "
            "left for it: round up.",
            counted(lambda height, width, stride, kernel:
                    round(height / stride) * round(width / stride))),
        Mistake(
            "rounded down, and one more",
            "You round each side down and add 1. That is one too many where the stride divides the "
            "size: at 4 pixels and stride 2 the kernel stops at 0 and 2.",
            counted(lambda height, width, stride, kernel:
                    (height // stride + 1) * (width // stride + 1))),
        Mistake(
            "half rounded up",
            "You compute (size + 1) // stride, which rounds up for stride 2 only. In general add "
            "stride - 1, or use -(-size // stride).",
            counted(lambda height, width, stride, kernel:
                    (height + 1) // stride * ((width + 1) // stride))),
        Mistake(
            "the area rounded",
            "You divide the area and round that up. Each SIDE is rounded up on its own, before "
            "they are multiplied.",
            counted(lambda height, width, stride, kernel:
                    ceiled(height * width, stride ** 2))),
        Mistake(
            "the area rounded down",
            "You divide the area and round that down. Each SIDE is rounded up on its own, before "
            "they are multiplied.",
            counted(lambda height, width, stride, kernel: height * width // stride ** 2)),
        Mistake(
            "the stride on the width only",
            "You divide the width by the stride, but not the height. A stride skips rows AND "
            "columns.",
            counted(lambda height, width, stride, kernel: height * ceiled(width, stride))),
        Mistake(
            "the height for both sides",
            "You take the height for both sides. Pictures need not be square: the width has its "
            "own number of columns.",
            counted(lambda height, width, stride, kernel: ceiled(height, stride) ** 2)),
        Mistake(
            "the width for both sides",
            "You take the width for both sides. Pictures need not be square: the height has its "
            "own number of rows.",
            counted(lambda height, width, stride, kernel: ceiled(width, stride) ** 2)),
        Mistake(
            "channels added",
            "You add the numbers of channels. Each of the c_out looks at each of the c_in: "
            "multiply them.",
            counted(outputs, lambda c_in, c_out, kernel: (c_in + c_out) * kernel ** 2)),
        Mistake(
            "the kernel forgotten",
            "You leave the kernel out. At each place it has kernel * kernel weights for each pair "
            "of channels.",
            counted(outputs, lambda c_in, c_out, kernel: c_in * c_out)),
        Mistake(
            "zeros of the padding left out",
            "You count only the kernel's places inside the picture. At the edges it multiplies the "
            "zeros of the padding too: every stop costs the same.",
            lambda c_in, c_out, kernel, height, width, stride: c_in * c_out * inside(
                height, kernel, stride) * inside(width, kernel, stride)),
        Mistake(
            "one bias a channel",
            "You count one more for each output channel, the bias. This convolution has none.",
            lambda c_in, c_out, *sizes: multiply_adds(c_in, c_out, *sizes) + c_out),
        Mistake(
            "the places alone",
            "You count the places of the output, and not what is done there: c_in * c_out * "
            "kernel * kernel uses at each.",
            counted(outputs, lambda c_in, c_out, kernel: 1)),
        Mistake(
            "the area divided by the stride once, rounded up",
            "You divide height * width by the stride once. It shortens each side, and so the area "
            "twice: -(-height // stride) first, then the width likewise.",
            counted(lambda height, width, stride, kernel: ceiled(height * width, stride))),
        Mistake(
            "rounded down in the end",
            "You multiply everything, divide by the stride twice, and round in the end. Each SIDE "
            "is rounded up on its own, before they are multiplied.",
            lambda c_in, c_out, kernel, height, width, stride: (
                c_in * c_out * kernel ** 2 * height * width // stride ** 2)),
        Mistake(
            "rounded up in the end",
            "You multiply everything, divide by the stride twice, and round up in the end. Each "
            "SIDE is rounded up on its own, before they are multiplied.",
            lambda c_in, c_out, kernel, height, width, stride: ceiled(
                c_in * c_out * kernel ** 2 * height * width, stride ** 2)),
        Mistake(
            "one stop too few",
            "You miss the last stop on each side: (size - 1) // stride counts the steps BETWEEN "
            "stops. Add 1.",
            counted(lambda height, width, stride, kernel:
                    (height - 1) // stride * ((width - 1) // stride))),
        Mistake(
            "c_in twice",
            "You multiply c_in by itself. Each of the c_out output channels looks at each of the "
            "c_in.",
            counted(outputs, lambda c_in, c_out, kernel: c_in ** 2 * kernel ** 2)),
        Mistake(
            "c_out twice",
            "You multiply c_out by itself. Each of the c_out output channels looks at each of the "
            "c_in.",
            counted(outputs, lambda c_in, c_out, kernel: c_out ** 2 * kernel ** 2)),
        Mistake(
            "a kernel of 3 always",
            "You count 9 places of the kernel, whatever its size. It has kernel * kernel.",
            counted(outputs, lambda c_in, c_out, kernel: c_in * c_out * 9)),
        Mistake(
            "multiplied by the stride",
            "You multiply by the stride. It makes the kernel stop at FEWER places: divide each "
            "side by it, and round up.",
            counted(lambda height, width, stride, kernel: height * stride * width * stride)),
        Mistake(
            "halved whatever the stride",
            "You halve each side, whatever the stride is. Divide by it.",
            counted(lambda height, width, stride, kernel: outputs(
                height, width, 1 + (stride > 1), kernel))),
        Mistake(
            "a padding of 1 always",
            "You count with a padding of 1, which fits a kernel of 3 only. It is kernel // 2, "
            "whatever the kernel.",
            counted(lambda height, width, stride, kernel: ((height + 2 - kernel) // stride + 1)
                    * ((width + 2 - kernel) // stride + 1))),
        Mistake(
            "only the height rounded up",
            "You round the height up and the width down. Both sides follow one rule: up.",
            counted(lambda height, width, stride, kernel:
                    ceiled(height, stride) * (width // stride))),
        Mistake(
            "only the width rounded up",
            "You round the width up and the height down. Both sides follow one rule: up.",
            counted(lambda height, width, stride, kernel:
                    height // stride * ceiled(width, stride))),
        Mistake(
            "a negative count",
            "Your count is right but for its sign: -(-size // stride) has two minus signs, and one "
            "of the sides lacks one.",
            lambda *sizes: -multiply_adds(*sizes)),
        Mistake(
            "more than 32 bits can count",
            "You count in 32 bits (int32), and beyond 2147483647 they go on below 0. Python's own "
            "whole numbers have no end: leave tensors out.",
            lambda *sizes: (multiply_adds(*sizes) + 2 ** 31) % 2 ** 32 - 2 ** 31),
        Mistake(
            "each addition counted",
            "You count the additions too, c_in * kernel * kernel - 1 for each output number. A "
            "multiplication and the addition behind it count as one.",
            counted(outputs, lambda c_in, c_out, kernel: c_out * (2 * c_in * kernel ** 2 - 1))),
    ), "every weight at every place of the output, whatever the stride",
    tolerance=1e-12)           # less than one of a count; a mistake in floats may round otherwise


TEST = hunt(DROP_CONDITION, "all dropped if one is", "all kept if one is",
    "the first sample decides for all", "zeros in place of null", "keep turned round",
    "as many rows, but the first ones", "null added", "dropped rows left out", "one number of null",
    "zeros taken for dropped")
EXERCISES = (TIME_FEATURES, MODULATE, JOIN, DROP_CONDITION, MULTIPLY_ADDS, TEST)
