r"""UNet: a picture in, a picture of the same size out, seen at several sizes on the way.

in -> out   x (B, C, H, W), t (B,), condition (B, E) or None -> (B, C_out, H, W)
idea        Go down: halve the picture, widen the channels, so that a few steps see all of it.
            Come up again, and at each size lay the picture from the way down beside the one from
            the way up, so that no detail is lost. Time and condition tell every block how to scale
            and shift its channels; where asked, pixels attend to each other and to a text.
equation    h <- (1 + scale(t, c)) norm(h) + shift(t, c)
paper       Ronneberger et al. 2015, arXiv:1505.04597; DDPM, arXiv:2006.11239, appendix B;
            scale and shift: Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1
left out    dropout, several attention resolutions by default
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidalle.transformer import MultiHeadAttention


@dataclass(frozen=True)
class UNetConfig:
    channels: int = 3          # of the input: 6 where a second picture lies beside the noisy one
    out: int = 3               # of the output
    width: int = 64            # channels at the first size; a multiple of 8
    widen: tuple[int, ...] = (1, 2)     # times the width, at each size; each size halves the last
    attend: tuple[bool, ...] = (False, True)   # attention at which sizes; costly above 16 x 16
    patch: int = 1             # pixels per side that enter as one position: 2 is four times faster
    condition: int = 0         # E, entries of the condition vector; 0 for none
    context: int = 0           # width of the text that pixels may attend to; 0 for none


def time_features(t: Tensor, width: int) -> Tensor:
    """Steps (B,) as sines and cosines (B, width) of falling frequency, as in a transformer. In
    float32 under autocast too: bfloat16 has no 301, its neighbours are 300 and 302."""
    if width % 2:
        raise ValueError(f"width {width} of the time features is odd, and each rate needs a sine "
                         "and a cosine: choose an even width.")
    rate = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angle = t[:, None].float() * rate                                       # (B, width / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)                     # (B, width)


class ResBlock(nn.Module):
    """Two convolutions beside a shortcut; time and condition scale and shift between them."""

    def __init__(self, c_in: int, c_out: int, signal: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.modulate = nn.Linear(signal, 2 * c_out)
        self.norm2 = nn.GroupNorm(8, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)      # the block begins as its shortcut

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))                               # (B, C_out, H, W)
        scale, shift = self.modulate(signal)[..., None, None].chunk(2, dim=1)
        h = (1 + scale) * self.norm2(h) + shift                             # (B, C_out, H, W)
        return self.shortcut(x) + self.conv2(F.silu(h))                     # (B, C_out, H, W)


def heads_of(c: int) -> int:
    """The largest number of heads that splits c channels evenly, 32 or more for each."""
    return next(heads for heads in range(max(1, c // 32), 0, -1) if c % heads == 0)


class Attend(nn.Module):
    """Pixels attend to each other, and to a text where there is one."""

    def __init__(self, c: int, context: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, c), nn.GroupNorm(8, c)
        self.pixels = MultiHeadAttention(c, heads_of(c))
        self.text = MultiHeadAttention(c, heads_of(c), context) if context else None

    def forward(self, x: Tensor, context: Tensor | None, keep: Tensor | None) -> Tensor:
        B, C, H, W = x.shape
        h = self.norm1(x).flatten(2).mT                                     # (B, HW, C)
        x = x + self.pixels(h).mT.view(B, C, H, W)                          # (B, C, H, W)
        if self.text is None:
            return x
        mask = None if keep is None else keep[:, None, None]                # (B, 1, 1, T)
        h = self.norm2(x).flatten(2).mT                                     # (B, HW, C)
        return x + self.text(h, context, mask=mask).mT.view(B, C, H, W)     # (B, C, H, W)


class Stage(nn.Module):
    """One block at one size, with attention or without."""

    def __init__(self, c_in: int, c_out: int, signal: int, attend: bool, context: int):
        super().__init__()
        self.block = ResBlock(c_in, c_out, signal)
        self.attend = Attend(c_out, context) if attend else None

    def forward(self, x: Tensor, signal: Tensor, context=None, keep=None) -> Tensor:
        x = self.block(x, signal)                                           # (B, C_out, H, W)
        return x if self.attend is None else self.attend(x, context, keep)


class UNet(nn.Module):
    def __init__(self, config: UNetConfig):
        super().__init__()
        if config.width < 8 or config.width % 8:
            raise ValueError(f"UNetConfig(width={config.width}) came; expected a multiple of 8, "
                             "because every norm has 8 groups of channels")
        self.config = config
        widths = [config.width * w for w in config.widen]
        signal = 4 * config.width
        fine = config.patch ** 2
        self.time = nn.Sequential(nn.Linear(config.width, signal), nn.SiLU(),
                                  nn.Linear(signal, signal))
        self.condition = nn.Linear(config.condition, signal) if config.condition else None
        self.enter = nn.Conv2d(config.channels * fine, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        before = widths[0]
        for width, attend in zip(widths, config.attend, strict=True):
            self.down.append(Stage(before, width, signal, attend, config.context))
            self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
            before = width
        self.shrink[-1] = nn.Identity()        # the smallest size is not halved again
        self.middle = Stage(before, before, signal, config.attend[-1], config.context)
        for width, attend in list(zip(widths, config.attend, strict=True))[::-1]:
            self.up.append(Stage(before + width, width, signal, attend, config.context))
            self.grow.append(nn.Conv2d(width, width, 3, padding=1))
            before = width
        self.grow[-1] = nn.Identity()
        self.leave = nn.Sequential(nn.GroupNorm(8, before), nn.SiLU(),
                                   nn.Conv2d(before, config.out * fine, 3, padding=1))
        nn.init.zeros_(self.leave[-1].weight)  # begins by predicting zero
        self.to(memory_format=torch.channels_last)     # half the time of a convolution on a CPU

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None,
                context: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """t may be any number (B,): a step, or a noise level. context (B, T, D), keep (B, T)."""
        self.check(x)
        signal = self.time(time_features(t, self.config.width))             # (B, S)
        if self.condition is not None:
            signal = signal + self.condition(condition)                     # (B, S)
        signal = F.silu(signal)
        x = self.enter(F.pixel_unshuffle(x, self.config.patch))             # (B, D, H, W)
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            x = stage(x, signal, context, keep)                             # (B, D, H, W)
            skips.append(x)
            x = shrink(x)                                                   # (B, D, H/2, W/2)
        x = self.middle(x, signal, context, keep)                           # (B, D, h, w)
        for stage, grow in zip(self.up, self.grow, strict=True):
            x = torch.cat([x, skips.pop()], dim=1)                          # (B, 2D, h, w)
            x = stage(x, signal, context, keep)                             # (B, D, h, w)
            if skips:
                x = grow(F.interpolate(x, scale_factor=2.0))                # (B, D, 2h, 2w)
        return F.pixel_shuffle(self.leave(x), self.config.patch)            # (B, C_out, H, W)

    def check(self, x: Tensor) -> None:
        """A picture must have the right channels and halve evenly down to the smallest size."""
        step = self.config.patch * 2 ** (len(self.config.widen) - 1)
        if x.dim() != 4 or x.shape[1] != self.config.channels or x.shape[2] % step \
                or x.shape[3] % step:
            raise ValueError(f"a picture of shape {tuple(x.shape)} came; expected (B, "
                             f"{self.config.channels}, H, W) with H and W multiples of {step}")
