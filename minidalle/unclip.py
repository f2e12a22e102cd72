r"""unCLIP, the model of DALL-E 2: caption -> image vector -> small picture -> large picture.

in -> out   captions list[str] -> images (B, 3, H, W) in [-1, 1]
idea        CLIP turns pictures into vectors; unCLIP walks back. The prior draws an image vector
            for the caption, the decoder draws a small picture that has this vector, and the
            upsampler redraws it large. Decoder and upsampler learn from vectors and small pictures
            with a little noise on them, so that they forgive what came out slightly wrong before.
equation    P(x | y) = P(x | z_image) P(z_image | y),  y the caption, x the picture
paper       Ramesh et al. 2022, arXiv:2204.06125, section 2; noise on the small picture:
            Ho et al. 2021 (cascades), arXiv:2106.15282, section 3
left out    the caption as a second condition of the decoder (the paper found it of little use),
            a second upsampler
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.ar_prior import ArPrior
from minidalle.clip import Clip
from minidalle.diffusion import (
    X0,
    Diffusion,
    clip_static,
    cosine_schedule,
    fine_weight,
    middle_times,
)
from minidalle.prior import Prior
from minidalle.tokenizer import Tokenizer
from minidalle.train import randn
from minidalle.unet import UNet, UNetConfig

STEPS = 12                     # from pure noise to a small picture


@dataclass(frozen=True)
class DecoderConfig:
    embed: int                 # E of the CLIP whose vectors are drawn
    size: int = 16             # height and width of the small picture
    width: int = 48
    widen: tuple[int, ...] = (1, 2)
    attend: tuple[bool, ...] = (False, False)  # one digit has no far parts that must agree
    patch: int = 2             # pixels per side that enter as one: a quarter of the time
    sketch: int = 8            # channels of the sketch that the image vector lays beside x_t
    steps: int = 1000          # noise levels
    drop: float = 0.1          # share of image vectors dropped in training, for guidance
    blur: float = 0.1          # noise on image vectors in training, whose entries have variance one


class Decoder(nn.Module):
    """Image vector (B, E) -> small picture (B, 3, h, w), by diffusion.

    The image vector enters twice: it scales and shifts every block, as in the paper, and a linear
    layer turns it into a rough sketch beside the noisy picture, as the small picture lies beside
    the large one in the upsampler. Scale and shift are the same everywhere in a picture, so without
    the sketch the network must find out by itself where a "seven" has ink: that takes it several
    times as many steps. For the same reason it predicts x_0: what it need not repeat is the noise.
    """

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.null = nn.Parameter(torch.zeros(config.embed))  # the vector that says nothing
        self.sketch = nn.Linear(config.embed, config.sketch * config.size ** 2)
        self.unet = UNet(UNetConfig(3 + config.sketch, 3, config.width, config.widen,
                                    config.attend, config.patch, condition=config.embed))
        self.diffusion = Diffusion(cosine_schedule(config.steps), X0, clip_static)

    def forward(self, x_t: Tensor, t: Tensor, image_vectors: Tensor, keep: Tensor | None = None):
        """The guess of x_0 (B, 3, h, w); where keep (B,) is False, without the image vector."""
        z = image_vectors * self.config.embed ** 0.5     # entries of variance one
        if keep is not None:
            z = torch.where(keep[:, None], z, self.null)                    # (B, E)
        sketch = self.sketch(z).unflatten(1, (-1, *x_t.shape[2:]))          # (B, S, h, w)
        return self.unet(torch.cat([x_t, sketch], dim=1), t, z)             # (B, 3, h, w)

    def loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None) -> Tensor:
        """batch = images (B, 3, H, W) of any size, their image vectors (B, E)."""
        images, z = batch
        small = shrink(images, self.config.size)                            # (B, 3, h, w)
        # in some directions no two pictures differ; a vector that was edited may lie far out there
        noise = randn(z.shape, z.device, generator) / self.config.embed ** 0.5
        return self.diffusion.loss(self, small, z + self.config.blur * noise, self.config.drop,
                                   generator, middle_times, fine_weight)

    @torch.no_grad()
    def sample(self, image_vectors: Tensor, guidance: float = 1.0, steps: int = STEPS,
               generator: Generator | None = None, trace: list | None = None) -> Tensor:
        """Small pictures (B, 3, h, w) that have these image vectors."""
        shape = (len(image_vectors), 3, self.config.size, self.config.size)
        return self.diffusion.sample(self, shape, image_vectors, steps=steps, guidance=guidance,
                                     generator=generator, trace=trace)


@dataclass(frozen=True)
class UpsamplerConfig:
    size: int = 32             # height and width of the large picture
    small: int = 16            # and of the small one
    width: int = 32
    widen: tuple[int, ...] = (1, 2)
    patch: int = 2             # large pictures are costly, and their details are all nearby
    steps: int = 1000          # noise levels
    blur: float = 0.2          # the most noise that is laid on the small picture in training


class Upsampler(nn.Module):
    """Small picture (B, 3, h, w) -> large picture (B, 3, H, W), by diffusion. It needs no
    caption and no guidance: the small picture says it all. The network only predicts what a plain
    enlargement lacks."""

    def __init__(self, config: UpsamplerConfig):
        super().__init__()
        self.config = config
        self.unet = UNet(UNetConfig(channels=6, width=config.width, widen=config.widen,
                                    attend=(False,) * len(config.widen), patch=config.patch,
                                    condition=1))
        self.diffusion = Diffusion(cosine_schedule(config.steps), X0, clip_static)

    def forward(self, x_t: Tensor, t: Tensor, condition: tuple[Tensor, Tensor], keep=None):
        """The guess of x_0 (B, 3, H, W). condition = noised small picture, its noise (B, 1)."""
        small, noise = condition
        rough = F.interpolate(small, x_t.shape[-2:], mode="bilinear", align_corners=False)
        return rough + self.unet(torch.cat([x_t, rough], dim=1), t, noise / self.config.blur)

    def loss(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """images (B, 3, H, W) at the large size."""
        rng = dict(generator=generator, device=images.device)
        small = shrink(images, self.config.small)                           # (B, 3, h, w)
        noise = self.config.blur * torch.rand(len(images), 1, **rng)        # (B, 1)
        small = small + noise[..., None, None] * torch.randn(small.shape, **rng)
        return self.diffusion.loss(self, images, (small, noise), generator=generator)

    @torch.no_grad()
    def sample(self, small: Tensor, noise: float = 0.0, steps: int = 5,
               generator: Generator | None = None) -> Tensor:
        """Large pictures of small ones (B, 3, h, w). `noise` covers their faults, and with them
        some of what was right: the better the decoder, the less of it is wanted."""
        small = small + noise * randn(small.shape, small.device, generator)
        level = torch.full((len(small), 1), noise, device=small.device)     # (B, 1)
        shape = (len(small), 3, self.config.size, self.config.size)
        return self.diffusion.sample(self, shape, (small, level), steps=steps,
                                     generator=generator)


def shrink(images: Tensor, size: int) -> Tensor:
    """Pictures (B, C, H, W) -> (B, C, size, size), each pixel the mean of those it replaces."""
    return F.interpolate(images, (size, size), mode="area")


@dataclass(frozen=True)
class Unclip:
    """The whole road: a tokenizer and four models; prior and decoder were taught by this CLIP."""
    tokenizer: Tokenizer
    clip: Clip
    prior: Prior | ArPrior
    decoder: Decoder
    upsampler: Upsampler
    prior_guidance: float = 1.0    # how far this prior exaggerates the caption, if nothing is asked


@torch.no_grad()
def caption_to_picture(road: Unclip, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       prior_guidance: float | None = None, guidance: float = 1.0,
                       steps: int = STEPS, trace: list | None = None) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]. With a list of generators, one a caption, no
    picture depends on the others. `trace` collects the decoder's steps, which are so many."""
    if prior_guidance is None:
        prior_guidance = road.prior_guidance
    device = next(road.decoder.parameters()).device
    ids = road.tokenizer.batch(captions).to(device)                         # (B, T)
    if not captions:
        return torch.zeros(0, 3, *2 * [road.upsampler.config.size], device=device)
    text = road.clip.encode_text(ids)                                       # (B, E)
    z = road.prior.sample(ids, text, prior_guidance, generator=generator)   # (B, E)
    small = road.decoder.sample(z, guidance, steps, generator, trace)       # (B, 3, h, w)
    return road.upsampler.sample(small, generator=generator)                # (B, 3, H, W)
