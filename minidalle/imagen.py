r"""Imagen: a frozen text encoder, a small picture by diffusion, a large one by diffusion.

in -> out   captions list[str] -> images (B, 3, H, W) in [-1, 1]
idea        Neither CLIP nor a prior: the states of an encoder that only ever read text are enough.
            A first diffusion draws a small picture among them, a second one enlarges it and hears
            them too. The second learns from small pictures with noise on them and is told how much:
            so it forgives what the first did slightly wrong, and when drawing one chooses how much
            it shall forgive. Strong guidance drives a guess out of [-1, 1]; cut there it saturates,
            so Imagen shrinks the whole picture instead (`clip_dynamic`). Ours cuts: some colours of
            this world, like white, lie at the edge by right, and would fade.
equation    small~ = cos(a) small + sin(a) eps,  a = level pi / 2,  level in [0, 1]
paper       Saharia et al. 2022, arXiv:2205.11487: frozen text encoder, section 2.1; thresholding,
            2.3; noise conditioning augmentation, 2.4; pooled vector and cross-attention, 2.5;
            cascades: Ho et al. 2021, arXiv:2106.15282
left out    the second enlargement, to 1024 x 1024; the Efficient U-Net; a norm for the text's
            states, which leave the encoder normed already
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.diffusion import (
    X0,
    Diffusion,
    clip_static,
    cosine_schedule,
    fine_weight,
    middle_times,
    mix,
)
from minidalle.latent import Sketching, Words
from minidalle.textonly import TextEncoder
from minidalle.tokenizer import Tokenizer
from minidalle.train import rand, randn
from minidalle.unclip import shrink
from minidalle.unet import UNet, UNetConfig

STEPS = 12                     # from pure noise to a small picture
GUIDANCE = 1.5                 # at 2 a little surer, and less various
LEVEL = 0.0                    # of the noise on the small picture: ours are seldom wrong in details


# ---- what the networks hear -----------------------------------------------------------------

def pool(words: Words) -> Tensor:
    """The mean of the states that are heard: one vector (B, D) for a caption."""
    states, heard = words
    share = heard / heard.sum(dim=1, keepdim=True)                          # (B, T)
    return (states * share[..., None]).sum(dim=1)                           # (B, D)


def dropped(words: Words, keep: Tensor | None, null: Tensor) -> Words:
    """Where keep (B,) is False, one state alone is heard, `null` (D,): nothing of the caption."""
    if keep is None:
        return words
    states, heard = words
    first = torch.arange(heard.shape[1], device=heard.device) == 0          # (T,)
    return (torch.where(keep[:, None, None], states, null.to(states.dtype)),    # (B, T, D)
            torch.where(keep[:, None], heard, first))                       # (B, T)


# ---- a small picture ------------------------------------------------------------------------

@dataclass(frozen=True)
class BaseConfig:
    words: int                 # width of the text encoder whose states are heard
    size: int = 16             # height and width of the small picture
    width: int = 48
    widen: tuple[int, ...] = (1, 2)
    attend: tuple[bool, ...] = (True, True)    # to each other and to the words, at which sizes
    patch: int = 2             # pixels per side that enter as one: a quarter of the time
    asks: int = 8              # questions that are put to the words before anything is drawn
    sketch: int = 8            # channels of the sketch that the answers lay beside x_t
    steps: int = 1000          # noise levels
    drop: float = 0.1          # share of captions dropped in training, for guidance


class Base(Sketching):
    """Words -> small picture (B, 3, h, w), by diffusion.

    The words enter three times: places ask them (cross-attention), their mean joins the time
    (section 2.5), and a sketch is made of them, for the reasons that the decoder in unclip.py has.
    """

    def __init__(self, config: BaseConfig):
        super().__init__(config.words, config.width, config.asks, config.sketch, config.size)
        self.config = config
        self.null = nn.Parameter(torch.zeros(config.words))    # the state that says nothing
        self.unet = UNet(UNetConfig(3 + config.sketch, 3, config.width, config.widen, config.attend,
                                    config.patch, condition=config.words, context=config.words))
        self.diffusion = Diffusion(cosine_schedule(config.steps), X0, clip_static)

    def forward(self, x_t: Tensor, t: Tensor, words: Words, keep: Tensor | None = None) -> Tensor:
        """The guess of x_0 (B, 3, h, w); where keep (B,) is False, without the words."""
        words = dropped(words, keep, self.null)
        sketch = self.draft(*words, x_t.shape[2:])                          # (B, S, h, w)
        return self.unet(torch.cat([x_t, sketch], dim=1), t, pool(words), *words)

    def loss(self, batch: tuple[Tensor, ...], generator: Generator | None = None) -> Tensor:
        """batch = images (B, 3, H, W) of any size, states (B, T, D) of their captions, heard."""
        images, *words = batch
        small = shrink(images, self.config.size)                            # (B, 3, h, w)
        return self.diffusion.loss(self, small, tuple(words), self.config.drop, generator,
                                   middle_times, fine_weight)

    @torch.no_grad()
    def sample(self, words: Words, guidance: float = GUIDANCE, steps: int = STEPS,
               generator: Generator | None = None, trace: list | None = None,
               threshold: Callable[[Tensor], Tensor] = clip_static) -> Tensor:
        """Small pictures (B, 3, h, w) for these words; `threshold` holds each guess in [-1, 1]."""
        shape = (len(words[0]), 3, self.config.size, self.config.size)
        return self.diffusion.within(threshold).sample(self, shape, words, steps=steps,
                                                       guidance=guidance, generator=generator,
                                                       trace=trace)


# ---- a large one ----------------------------------------------------------------------------

def still_there(level: Tensor) -> Tensor:
    """The weight (B, 1, 1, 1) of a picture in its noised version: 1 at level (B,) 0, 0 at 1."""
    return (level.view(-1, 1, 1, 1) * math.pi / 2).cos()


def augment(small: Tensor, level: Tensor, eps: Tensor) -> Tensor:
    """Pictures (B, 3, h, w), as noisy as level (B,) says: 0 is the picture as it is, 1 is eps and
    nothing else. The variance stays, as in the diffusion itself (section 2.4)."""
    return mix(small, eps, still_there(level).square())


@dataclass(frozen=True)
class SuperResolutionConfig:
    words: int                 # width of the text encoder whose states are heard
    size: int = 32             # height and width of the large picture
    small: int = 16            # and of the small one
    width: int = 32
    widen: tuple[int, ...] = (1, 2)
    attend: tuple[bool, ...] = (False, True)   # where pictures are small enough
    patch: int = 2             # large pictures are costly, and their details are all nearby
    steps: int = 1000          # noise levels
    drop: float = 0.1          # share of captions dropped in training, for guidance


class SuperResolution(nn.Module):
    """Small picture (B, 3, h, w) and words -> large picture (B, 3, H, W), by diffusion. The network
    only predicts what a plain enlargement lacks."""

    def __init__(self, config: SuperResolutionConfig):
        super().__init__()
        self.config = config
        self.null = nn.Parameter(torch.zeros(config.words))    # the state that says nothing
        self.unet = UNet(UNetConfig(6, 3, config.width, config.widen, config.attend, config.patch,
                                    condition=config.words + 1, context=config.words))
        self.diffusion = Diffusion(cosine_schedule(config.steps), X0, clip_static)

    def forward(self, x_t: Tensor, t: Tensor, condition: tuple[Tensor, ...],
                keep: Tensor | None = None) -> Tensor:
        """The guess of x_0 (B, 3, H, W). condition = noised small picture, its level (B,), states
        (B, T, D), heard (B, T); where keep (B,) is False the words are dropped, and only they."""
        small, level, *words = condition
        words = dropped(tuple(words), keep, self.null)
        rough = F.interpolate(small, x_t.shape[-2:], mode="bilinear", align_corners=False)
        told = torch.cat([pool(words), level[:, None]], dim=1)              # (B, D + 1)
        believed = still_there(level) * rough            # of pure noise nothing, as a first guess
        return believed + self.unet(torch.cat([x_t, rough], dim=1), t, told, *words)

    def loss(self, batch: tuple[Tensor, ...], generator: Generator | None = None) -> Tensor:
        """batch = images (B, 3, H, W) at the large size, states (B, T, D), heard (B, T)."""
        images, *words = batch
        small = shrink(images, self.config.small)                           # (B, 3, h, w)
        level = rand(len(images), images.device, generator)                 # (B,)
        small = augment(small, level, randn(small.shape, images.device, generator))
        return self.diffusion.loss(self, images, (small, level, *words), self.config.drop,
                                   generator)

    @torch.no_grad()
    def sample(self, small: Tensor, words: Words, level: float = LEVEL, guidance: float = 1.0,
               steps: int = 5, generator: Generator | None = None) -> Tensor:
        """Large pictures of small ones (B, 3, h, w). `level` is the noise that covers their faults,
        and with them some of what was right."""
        if not 0 <= level <= 1:
            raise ValueError(f"level={level} should lie between 0 (the small picture as it is) and "
                             "1 (nothing of it)")
        levels = torch.full((len(small),), float(level), device=small.device)   # (B,)
        small = augment(small, levels, randn(small.shape, small.device, generator))
        shape = (len(small), 3, self.config.size, self.config.size)
        return self.diffusion.sample(self, shape, (small, levels, *words), steps=steps,
                                     guidance=guidance, generator=generator)


# ---- the road -------------------------------------------------------------------------------

@dataclass(frozen=True)
class ImagenRoad:
    """Tokenizer, the frozen text encoder, and the two models that it has taught."""
    tokenizer: Tokenizer
    text: TextEncoder
    base: Base
    superres: SuperResolution

    def words(self, captions: list[str]) -> Words:
        """What is heard for these captions."""
        device = next(self.base.parameters()).device
        return self.text.encode(self.tokenizer.batch(captions).to(device))


@torch.no_grad()
def caption_to_picture(road: ImagenRoad, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       guidance: float = GUIDANCE, level: float = LEVEL,
                       steps: int = STEPS, trace: list | None = None) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]. With a list of generators, one a caption, no
    picture depends on the others. `trace` collects the steps of the small picture, so many."""
    words = road.words(captions)                                            # (B, T, D), (B, T)
    if not captions:
        return torch.zeros(0, 3, *2 * [road.superres.config.size], device=words[0].device)
    small = road.base.sample(words, guidance, steps, generator, trace)      # (B, 3, h, w)
    return road.superres.sample(small, words, level, generator=generator)   # (B, 3, H, W)
