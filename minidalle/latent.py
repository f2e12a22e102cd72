r"""Latent diffusion, the model of Stable Diffusion: drawn small, among words, then unfolded.

in -> out   captions list[str] -> images (B, 3, H, W) in [-1, 1]
idea        Most numbers of a picture are detail that a VAE can give back. So it is the latent that
            is drawn, of a twelfth of the numbers, and the VAE unfolds it at the end, in one go.
            And a caption is not one vector: its words stay side by side, as CLIP's text tower
            leaves them. In every block each place of the latent asks them (cross-attention), and
            takes from "red" and from "seven" what it needs there. Guidance pushes away from what no
            caption would give, or, with a negative prompt, from what that one would. From a picture
            one starts half way: its latent, as noisy as the strength says.
equation    z <- z + softmax(Q(z) K(w)^T / sqrt(d)) V(w),  w the states of the caption's tokens
paper       Rombach et al. 2022, arXiv:2112.10752, sections 3.1 to 3.3; from a picture: Meng et al.
            2021 (SDEdit), arXiv:2108.01073; filling: RePaint, arXiv:2201.09865, in manipulate.py
left out    an autoencoder with codes in place of a cloud, its perceptual and adversarial losses; a
            network for filling alone, which sees mask and picture
"""
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from minidalle.clip import Clip
from minidalle.diffusion import X0, Diffusion, cosine_schedule, fine_weight, middle_times
from minidalle.manipulate import each_its_mask, fill
from minidalle.tokenizer import Tokenizer
from minidalle.train import randn
from minidalle.transformer import MultiHeadAttention
from minidalle.unclip import shrink
from minidalle.unet import UNet, UNetConfig
from minidalle.vae import Vae

Words = tuple[Tensor, Tensor]  # states (B, T, D), and which of them are heard (B, T) bool
STEPS = 12                     # from pure noise to a latent
GUIDANCE = 1.5                 # at 2 a little surer, and less various


# ---- what the network hears -----------------------------------------------------------------

def listen(clip: Clip, ids: Tensor) -> Words:
    """ids (B, T) -> the states of all tokens; heard are those up to the caption's end."""
    ends = (ids == clip.config.end).int()
    return clip.text_tower.states(ids), ends.cumsum(dim=1) - ends == 0      # no end stands before


def last_word(words: Words) -> Words:
    """Only the end token is heard: the one vector that CLIP's text tower makes of a caption."""
    states, heard = words
    place = torch.arange(heard.shape[1], device=heard.device)
    return states, place == heard.sum(dim=1, keepdim=True) - 1


def no_words(words: Words) -> Words:
    """Only the start token is heard, whose state knows of no later one: the same for every caption.
    It is what a dropped caption leaves."""
    states, heard = words
    return states, (torch.arange(heard.shape[1], device=heard.device) == 0).expand_as(heard)


# ---- the network ----------------------------------------------------------------------------

@dataclass(frozen=True)
class LatentConfig:
    words: int                 # width of the text tower whose states are heard
    channels: int = 4          # of the latent
    grid: int = 8              # its height and width
    width: int = 64
    widen: tuple[int, ...] = (1, 2)
    attend: tuple[bool, ...] = (True, True)    # to each other and to the words, at which sizes
    asks: int = 8              # questions that are put to the words before anything is drawn
    sketch: int = 8            # channels of the sketch that the answers lay beside z_t
    steps: int = 1000          # noise levels
    drop: float = 0.1          # share of captions dropped in training, for guidance


class Sketching(nn.Module):
    """What is learnt from the words before anything is drawn: a few learnt questions ask them, and
    a linear layer turns the answers into a rough sketch."""

    def __init__(self, words: int, width: int, asks: int, channels: int, size: int):
        super().__init__()
        self.questions = nn.Parameter(torch.randn(1, asks, width))
        self.ask = MultiHeadAttention(width, width // 32 or 1, words)
        self.sketch = nn.Linear(asks * width, channels * size ** 2)

    def draft(self, states: Tensor, heard: Tensor, size: tuple[int, int]) -> Tensor:
        """The sketch (B, S, h, w) of the words that are heard."""
        answers = self.ask(self.questions.expand(len(states), -1, -1), states,
                           heard[:, None, None])                            # (B, asks, width)
        return self.sketch(answers.flatten(1)).unflatten(1, (-1, *size))    # (B, S, h, w)


class Denoiser(Sketching):
    """Words -> latent (B, C, h, w), by diffusion.

    The words enter twice: in every block the places of the latent ask them, as in the paper, and
    they are asked for a sketch beside the noisy latent. It predicts x_0, and has a sketch, for the
    reasons that the decoder in unclip.py has.
    """

    def __init__(self, config: LatentConfig):
        super().__init__(config.words, config.width, config.asks, config.sketch, config.grid)
        self.config = config
        self.unet = UNet(UNetConfig(config.channels + config.sketch, config.channels, config.width,
                                    config.widen, config.attend, context=config.words))
        self.diffusion = Diffusion(cosine_schedule(config.steps), X0)

    def forward(self, z_t: Tensor, t: Tensor, words: tuple[Tensor, ...],
                keep: Tensor | None = None) -> Tensor:
        """The guess of z (B, C, h, w). Where keep (B,) is False, other words are heard: those that
        stand behind the first two in `words`, or none."""
        states, heard, *other = words
        if keep is not None:
            instead, also = other or no_words(words[:2])
            states = torch.where(keep[:, None, None], states, instead)      # (B, T, D)
            heard = torch.where(keep[:, None], heard, also)                 # (B, T)
        sketch = self.draft(states, heard, z_t.shape[2:])                   # (B, S, h, w)
        return self.unet(torch.cat([z_t, sketch], dim=1), t, context=states, keep=heard)

    def loss(self, batch: tuple[Tensor, ...], generator: Generator | None = None) -> Tensor:
        """batch = latents (B, C, h, w), states (B, T, D) of their captions, heard (B, T)."""
        z, *words = batch
        return self.diffusion.loss(self, z, tuple(words), self.config.drop, generator,
                                   middle_times, fine_weight)

    @torch.no_grad()
    def sample(self, words: tuple[Tensor, ...], guidance: float = GUIDANCE, steps: int = STEPS,
               generator: Generator | None = None, trace: list | None = None) -> Tensor:
        """Latents (B, C, h, w) for these words."""
        shape = (len(words[0]), self.config.channels, self.config.grid, self.config.grid)
        return self.diffusion.sample(self, shape, words, steps=steps, guidance=guidance,
                                     generator=generator, trace=trace)


# ---- the road -------------------------------------------------------------------------------

@dataclass(frozen=True)
class LatentRoad:
    """Tokenizer, CLIP for its text tower, VAE, and the denoiser that these two have taught."""
    tokenizer: Tokenizer
    clip: Clip
    vae: Vae
    denoiser: Denoiser

    def words(self, captions: list[str], negative: str | None = None) -> tuple[Tensor, ...]:
        """What is heard for these captions; after it, what guidance pushes away from, if given."""
        device = next(self.denoiser.parameters()).device
        words = listen(self.clip, self.tokenizer.batch(captions).to(device))    # (B, T, D), (B, T)
        if negative is None:
            return words
        return *words, *listen(self.clip,
                               self.tokenizer.batch([negative] * len(captions)).to(device))


@torch.no_grad()
def caption_to_picture(road: LatentRoad, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       guidance: float = GUIDANCE, negative: str | None = None,
                       steps: int = STEPS, trace: list | None = None) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]. With a list of generators, one a caption, no
    picture depends on the others. `trace` collects the steps in the latent, which are so many."""
    if not captions:
        return road.vae.decode(torch.zeros(0, *road.vae.shape, device=road.vae.scale.device))
    words = road.words(captions, negative)                                  # (B, T, D), (B, T)
    z = road.denoiser.sample(words, guidance, steps, generator, trace)      # (B, C, h, w)
    return road.vae.decode(z)                                               # (B, 3, H, W)


@torch.no_grad()
def redraw(road: LatentRoad, images: Tensor, captions: list[str], strength: float = 0.8,
           generator: Generator | list[Generator] | None = None, guidance: float = GUIDANCE,
           negative: str | None = None) -> Tensor:
    """images (B, 3, H, W), drawn on from a noisy latent so that the B captions hold ("img2img").

    The strength is the share of the way from pure noise that is gone: 0 gives back the picture, as
    the VAE does, and 1 knows nothing of it."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength} should lie between 0 (the picture as it is) and 1 "
                         "(nothing of it)")
    diffusion, z = road.denoiser.diffusion, road.vae.encode(images)         # (B, C, h, w)
    words, times = road.words(captions, negative), last_times(diffusion, strength)
    for k, (step, before) in enumerate(pairwise([*times, -1])):             # -1: the data itself
        t, t_before = (torch.full(z.shape[:1], s, device=z.device) for s in (step, before))
        if k == 0:
            z = diffusion.add_noise(z, t, randn(z.shape, z.device, generator))
        guess = diffusion.guess_x0(road.denoiser, z, t, words, guidance)
        z, _ = diffusion.ddim_step(z, guess, t, t_before, eta=0.0)
    return road.vae.decode(z)                                               # (B, 3, H, W)


def last_times(diffusion: Diffusion, strength: float) -> list[int]:
    """The steps from a noise of that strength down to 0; all STEPS of them from pure noise, and
    fewer in proportion."""
    top = strength * (len(diffusion.alpha_bar) - 1)
    return torch.linspace(top, 0, math.ceil(strength * STEPS)).round().long().tolist()


@torch.no_grad()
def inpaint(road: LatentRoad, images: Tensor, mask: Tensor, captions: list[str],
            generator: Generator | list[Generator] | None = None, guidance: float = GUIDANCE,
            negative: str | None = None, repeats: int = 5) -> Tensor:
    """images (B, 3, H, W), drawn anew where mask, (H, W) or (B, 1, H, W), is True so that the B
    captions hold. All other pixels stay exactly as they are; what is under the mask is not seen."""
    mask = each_its_mask(images, mask)
    known = road.vae.encode(images.masked_fill(mask, 0.0))                  # (B, C, h, w)
    # subtle: an entry beside the hole has seen into it, so it is drawn anew as well
    hole = shrink(mask.float(), road.denoiser.config.grid) > 0              # (B, 1, h, w)
    hole = nn.functional.max_pool2d(hole.float(), 3, stride=1, padding=1) > 0
    z = fill(road.denoiser.diffusion, road.denoiser, known, hole, road.words(captions, negative),
             guidance, STEPS, repeats, generator)                           # (B, C, h, w)
    return torch.where(mask, road.vae.decode(z), images)                    # (B, 3, H, W)
