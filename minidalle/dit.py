r"""DiT: a diffusion transformer in the UNet's place, and a road that draws whole pictures with it.

in -> out   x (B, C, H, W), t (B,), condition (B, E), context (B, T, D) -> (B, C_out, H, W); and the
            road: captions list[str] -> images (B, 3, H, W) in [-1, 1]
idea        Cut the picture into patches, and each is a token: from there on it is a transformer.
            No halving and no skips; far parts are as near as neighbours, and where a patch lies it
            is told by sines of its row and its column. Time and text scale and shift what enters
            each part of a block, and a gate, which begins at 0, says how much of what comes out is
            added: so the deepest stack begins as the identity (adaLN-zero). Places ask the words
            too (cross-attention). Along a flow it draws pictures in pixels, in one go: no VAE, no
            second model that enlarges; what a VAE's decoder would make smooth, the seams between
            patches, a few small convolutions do. A student of its own paths needs one step.
equation    x <- x + gate(c) f((1 + scale(c)) norm(x) + shift(c)),   c = time + pooled text
paper       Peebles & Xie 2023, arXiv:2212.09748, section 3.2; cross-attention: PixArt-alpha, Chen
            et al. 2023, arXiv:2310.00426, section 2.3; patches of pixels and x_0 as the answer:
            Li & He 2025 (JiT), arXiv:2511.13720
tried       the VAE's latent in place of pixels: about as right and as near to real pictures after
            as many steps, but blotchier. Without the seams' convolutions: a little sooner right,
            and ragged
left out    in-context conditioning, rotary positions, registers
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.clip import Clip
from minidalle.diffusion import clip_static, fine_weight, middle_times, twice
from minidalle.flow import Data, Flow, few_times
from minidalle.latent import Sketching, Words, last_word, listen, no_words
from minidalle.tokenizer import Tokenizer
from minidalle.train import autocast
from minidalle.transformer import Block
from minidalle.unet import time_features

STEPS = 12                     # from pure noise to a picture
FEW = 4                        # up to so many are drawn by the student
GUIDANCE = 1.5
PAIRED = 5                     # steps from the noise to the picture that a student is shown


# ---- the network ----------------------------------------------------------------------------

@dataclass(frozen=True)
class DitConfig:
    channels: int = 3          # of the input
    out: int = 3               # of the output
    patch: int = 4             # pixels per side of a token: 64 tokens of a picture of 32 x 32
    width: int = 128           # D; more than the 48 numbers of a patch
    depth: int = 4             # blocks
    heads: int = 4
    condition: int = 0         # E, entries of the condition vector; 0 for none
    context: int = 0           # width of the text that patches may attend to; 0 for none


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, N, C patch^2): patches row by row, in each of them channel by channel."""
    return F.pixel_unshuffle(x, patch).flatten(2).mT


def unpatchify(tokens: Tensor, patch: int, rows: int) -> Tensor:
    """The inverse, of so many rows of patches: (B, N, C patch^2) -> (B, C, H, W)."""
    return F.pixel_shuffle(tokens.mT.unflatten(2, (rows, -1)), patch)


def positions(rows: int, columns: int, width: int, device: torch.device | None = None) -> Tensor:
    """(N, D): where each patch lies. Half of it are sines and cosines of its row, half of its
    column, so that neighbours are alike in both directions."""
    row, column = (time_features(torch.arange(n, device=device), width // 2)
                   for n in (rows, columns))
    return torch.cat([row[:, None].expand(-1, columns, -1),
                      column[None].expand(rows, -1, -1)], dim=-1).flatten(0, 1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (B, N, D), the other two (B, 1, D)."""
    return (1 + scale) * x + shift


class DitBlock(Block):
    """A transformer's block with adaLN-zero. It begins as the identity."""

    def __init__(self, width: int, heads: int, signal: int, context: int | None = None):
        super().__init__(width, heads, context)
        self.modulate = nn.Linear(signal, 6 * width)
        for last in (self.modulate, self.cross.out if context else None):
            if last is not None:
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, signal: Tensor, context: Tensor | None = None,
                keep: Tensor | None = None) -> Tensor:
        """x (B, N, D), signal (B, S); context (B, T, ...) of which keep (B, 1, 1, T) is heard."""
        shift, scale, gate, shift2, scale2, gate2 = \
            self.modulate(signal)[:, None].chunk(6, dim=-1)                 # (B, 1, D) each
        x = x + gate * self.attend(modulate(self.attend_norm(x), shift, scale))     # (B, N, D)
        if self.has_context:
            x = x + self.cross(self.cross_norm(x), context, keep)           # (B, N, D)
        return x + gate2 * self.mlp(modulate(self.mlp_norm(x), shift2, scale2))     # (B, N, D)


class Dit(nn.Module):
    """It has the UNet's signature, and can stand wherever one does."""

    def __init__(self, config: DitConfig):
        super().__init__()
        if config.width % 4:
            raise ValueError(f"DitConfig(width={config.width}) came; expected a multiple of 4, "
                             "because row and column each need sines and cosines")
        self.config, signal = config, config.width
        fine = config.patch ** 2
        self.time = nn.Sequential(nn.Linear(config.width, signal), nn.SiLU(),
                                  nn.Linear(signal, signal))
        self.condition = nn.Linear(config.condition, signal) if config.condition else None
        self.enter = nn.Linear(config.channels * fine, config.width)
        self.blocks = nn.ModuleList(DitBlock(config.width, config.heads, signal,
                                             config.context or None) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.modulate = nn.Linear(signal, 2 * config.width)
        self.leave = nn.Linear(config.width, config.out * fine)
        for last in (self.modulate, self.leave):               # begins by predicting zero
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None,
                context: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """t may be any number (B,): a step, or a noise level. context (B, T, D), keep (B, T)."""
        self.check(x)
        rows, columns = (n // self.config.patch for n in x.shape[2:])
        signal = self.time(time_features(t, self.config.width))             # (B, S)
        if self.condition is not None:
            signal = signal + self.condition(condition)                     # (B, S)
        signal = F.silu(signal)
        keep = None if keep is None else keep[:, None, None]                # (B, 1, 1, T)
        x = self.enter(patchify(x, self.config.patch))                      # (B, N, D)
        x = x + positions(rows, columns, self.config.width, x.device)       # (B, N, D)
        for block in self.blocks:
            x = block(x, signal, context, keep)                             # (B, N, D)
        x = modulate(self.norm(x), *self.modulate(signal)[:, None].chunk(2, dim=-1))
        return unpatchify(self.leave(x), self.config.patch, rows)           # (B, C_out, H, W)

    def check(self, x: Tensor) -> None:
        """A picture must have the right channels and fall into whole patches."""
        patch, channels = self.config.patch, self.config.channels
        if x.dim() != 4 or x.shape[1] != channels or x.shape[2] % patch or x.shape[3] % patch:
            raise ValueError(f"a picture of shape {tuple(x.shape)} came; expected (B, {channels}, "
                             f"H, W) with H and W multiples of {patch}")


# ---- words -> picture -----------------------------------------------------------------------

@dataclass(frozen=True)
class FlowConfig:
    words: int                 # width of the text tower whose states are heard
    channels: int = 3          # of what is drawn: pixels
    size: int = 32             # its height and width
    patch: int = 4
    width: int = 128
    depth: int = 4
    heads: int = 4
    asks: int = 8              # questions that are put to the words before anything is drawn
    sketch: int = 4            # channels of the sketch that the answers lay beside x_t
    seams: int = 24            # channels of the convolutions that look across seams
    drop: float = 0.1          # share of captions dropped in training, for guidance


def transformer(config: FlowConfig) -> Dit:
    """The network of the road: (B, C + S, H, W) -> (B, C, H, W), among the words."""
    return Dit(DitConfig(config.channels + config.sketch, config.channels, config.patch,
                         config.width, config.depth, config.heads, config.words, config.words))


def seams(channels: int, width: int, out: int) -> nn.Module:
    """What is added where patches meet, for each patch is written by itself, and strokes would be
    ragged there. It begins as nothing."""
    last = nn.Conv2d(width, out, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(),
                         nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), last)


class FlowModel(Sketching):
    """Words -> picture (B, C, H, W), along a flow, by the network that `build` makes.

    The words enter three times: places ask them, the last state of them joins the time, and a
    sketch is made of them, for the reasons that the decoder in unclip.py has.
    """

    def __init__(self, config: FlowConfig, build=transformer):
        grid = config.size // config.patch
        super().__init__(config.words, config.width, config.asks, config.sketch, grid)
        self.config, self.flow = config, Flow(Data, clip_static if config.channels == 3 else None)
        self.net = build(config)
        self.seams = seams(2 * config.channels + config.sketch, config.seams, config.channels)

    def forward(self, x_t: Tensor, t: Tensor, words: tuple[Tensor, ...],
                keep: Tensor | None = None) -> Tensor:
        """The guess of x_0 (B, C, H, W) at times t in [0, 1]; where keep (B,) is False, without
        the words."""
        states, heard = words
        if keep is not None:
            _, none = no_words(words)
            heard = torch.where(keep[:, None], heard, none)                 # (B, T)
        last = (states * last_word((states, heard))[1][..., None]).sum(dim=1)       # (B, D)
        grid = tuple(n // self.config.patch for n in x_t.shape[2:])
        sketch = self.draft(states, heard, grid)                            # (B, S, h, w)
        sketch = F.interpolate(sketch, x_t.shape[2:])                       # (B, S, H, W)
        seen = torch.cat([x_t, sketch], dim=1)                              # (B, C + S, H, W)
        drawn = self.net(seen, 1000 * t, last, states, heard)               # (B, C, H, W)
        return drawn + self.seams(torch.cat([drawn, seen], dim=1))          # (B, C, H, W)

    def loss(self, batch: tuple[Tensor, ...], generator: Generator | None = None) -> Tensor:
        """batch = images (B, C, H, W), states (B, T, D) of their captions, heard (B, T)."""
        images, *words = batch
        return self.flow.loss(self, images, tuple(words), self.config.drop, generator,
                              middle_times, fine_weight)

    def shape(self, words: Words) -> tuple[int, ...]:
        """Of the pictures for these words: (B, C, H, W)."""
        return len(words[0]), self.config.channels, *2 * [self.config.size]

    @torch.no_grad()
    def sample(self, words: Words, guidance: float = GUIDANCE, steps: int = STEPS,
               generator: Generator | list[Generator] | None = None,
               trace: list | None = None, noise: Tensor | None = None, order: int = 2) -> Tensor:
        """Pictures (B, C, H, W) for these words."""
        return self.flow.sample(self, self.shape(words), words, steps=steps, guidance=guidance,
                                generator=generator, noise=noise, trace=trace, order=order,
                                device=words[0].device)

    def pairs(self, words: Words, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """What a student learns from: noises (B, C, H, W), and what the flow makes of them."""
        with autocast(words[0].device):
            return self.flow.pairs(self, self.shape(words), words, PAIRED, GUIDANCE, generator,
                                   order=2, device=words[0].device)


class Student(FlowModel):
    """The same network on lines drawn anew: it learns where the paths of a flow, guidance included,
    end that begin at a noise (reflow). It needs no guidance, and few steps: one asks 24 times less
    than the twelve of the flow. It begins as the flow, and then some thousand paths suffice."""

    def loss(self, batch: tuple[Tensor, ...], generator: Generator | None = None) -> Tensor:
        """batch = noises (B, C, H, W), pictures (B, C, H, W) that became of them, states, heard.
        Each line is learnt from at its noise and once more: to find it took longer than that."""
        noise, images, *words = twice(tuple(batch))
        return self.flow.loss(self, images, tuple(words), generator=generator, times=few_times,
                              eps=noise)

    @torch.no_grad()
    def sample(self, words: Words, steps: int = 1,
               generator: Generator | list[Generator] | None = None, trace: list | None = None,
               noise: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W) for these words."""
        return super().sample(words, 1.0, steps, generator, trace, noise, order=1)


# ---- the road -------------------------------------------------------------------------------

@dataclass(frozen=True)
class FlowRoad:
    """Tokenizer, CLIP for its text tower, the flow, and its student for few steps."""
    tokenizer: Tokenizer
    clip: Clip
    model: FlowModel
    student: Student

    def words(self, captions: list[str]) -> Words:
        """What is heard for these captions."""
        device = next(self.model.parameters()).device
        return listen(self.clip, self.tokenizer.batch(captions).to(device))


@torch.no_grad()
def caption_to_picture(road: FlowRoad, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       guidance: float = GUIDANCE, steps: int = STEPS,
                       trace: list | None = None) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]. With a list of generators, one a caption, no
    picture depends on the others. In up to four steps the student draws, but for another guidance
    than the one it was taught with: that only the flow itself has. `trace` collects the steps."""
    words = road.words(captions)                                            # (B, T, D), (B, T)
    if not captions:
        return torch.zeros(0, 3, *2 * [road.model.config.size], device=words[0].device)
    if steps > FEW or guidance != GUIDANCE:
        return road.model.sample(words, guidance, steps, generator, trace)  # (B, 3, H, W)
    return road.student.sample(words, steps, generator, trace)              # (B, 3, H, W)
