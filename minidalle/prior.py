r"""The diffusion prior: from what a caption says to what its picture might be.

in -> out   ids (B, T), text vectors (B, E) -> image vectors (B, E)
idea        One caption fits many pictures, so its text vector is not the vector of any picture.
            The prior draws one: it starts from noise in the space of image vectors and lets a
            causal transformer say, step by step, which vector it may have been. The transformer
            reads the caption, its text vector, the time and the noisy vector as a sentence, and
            the answer stands at the last word, an empty query.
equation    L = E || f(x_t, t, ids, z_text) - x_0 ||^2,  x_0 = sqrt(E) z_image
paper       Ramesh et al. 2022 (DALL-E 2), arXiv:2204.06125, section 2.2
left out    nothing but size; the autoregressive prior of the same section is ar_prior.py
"""
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from minidalle.diffusion import (
    X0,
    Diffusion,
    cosine_schedule,
    early_times,
    fine_weight,
    randn,
)
from minidalle.transformer import Transformer, TransformerConfig
from minidalle.unet import time_features


@dataclass(frozen=True)
class PriorConfig:
    vocab: int                 # of the tokenizer
    context: int               # tokens of a caption
    embed: int                 # E of the CLIP whose vectors are learnt
    width: int = 128
    depth: int = 2             # enough for short captions; the paper has 24
    heads: int = 4
    steps: int = 1000          # noise levels
    drop: float = 0.1          # share of captions dropped in training, for guidance


class Prior(nn.Module):
    def __init__(self, config: PriorConfig):
        super().__init__()
        self.config = config
        width, words = config.width, config.context + 1
        self.token = nn.Embedding(config.vocab, width)
        self.text = nn.Linear(config.embed, width)
        self.noisy = nn.Linear(config.embed, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.null = nn.Parameter(0.02 * torch.randn(words, width))   # the caption that says nothing
        self.position = nn.Parameter(0.02 * torch.randn(words + 3, width))
        self.transformer = Transformer(TransformerConfig(width, config.depth, config.heads))
        self.answer = nn.Linear(width, config.embed)
        self.diffusion = Diffusion(cosine_schedule(config.steps), predict=X0)
        # two pictures of a caption have vectors that differ by a fifth of what vectors do at all:
        # only at little noise can they be told apart, so there it trains most
        self.weight = partial(fine_weight, power=0.75)
        nn.init.normal_(self.token.weight, std=0.02)

    @property
    def scale(self) -> float:
        """Unit vectors times this have entries of variance one, like the noise."""
        return math.sqrt(self.config.embed)

    def forward(self, x_t: Tensor, t: Tensor, condition: tuple[Tensor, Tensor],
                keep: Tensor | None = None) -> Tensor:
        """The guess of x_0 (B, E). condition = ids (B, T), text vectors (B, E); keep (B,) bool."""
        ids, text_vectors = condition
        text = self.text(text_vectors * self.scale)[:, None]                # (B, 1, D)
        words = torch.cat([self.token(ids), text], dim=1)                   # (B, T + 1, D)
        if keep is not None:   # subtle: padding is a word like any other, so no length leaks
            words = torch.where(keep[:, None, None], words, self.null)      # (B, T + 1, D)
        time = self.time(time_features(t, self.config.width))[:, None]      # (B, 1, D)
        noisy = self.noisy(x_t)[:, None]                                    # (B, 1, D)
        query = self.query.expand(len(ids), -1, -1)                         # (B, 1, D)
        x = torch.cat([words, time, noisy, query], dim=1)                   # (B, T + 4, D)
        x = self.transformer(x + self.position)                             # (B, T + 4, D)
        return self.answer(x[:, -1])                                        # (B, E)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor], generator: Generator | None = None):
        """batch = ids (B, T), text vectors (B, E), image vectors (B, E), both of length one."""
        ids, text_vectors, image_vectors = batch
        return self.diffusion.loss(self, self.scale * image_vectors, (ids, text_vectors),
                                   self.config.drop, generator, early_times, self.weight)

    @torch.no_grad()
    def sample(self, ids: Tensor, text_vectors: Tensor, guidance: float = 1.0, steps: int = 12,
               generator: Generator | None = None) -> Tensor:
        """Image vectors (B, E) of length one: of two drawn for each caption, the one whose dot
        product with the text vector is larger (section 2.2)."""
        condition = ids.repeat(2, 1), text_vectors.repeat(2, 1)             # (2B, ...)
        noise = torch.cat([randn(text_vectors.shape, ids.device, generator) for _ in range(2)])
        x_0 = self.diffusion.sample(self, noise.shape, condition, steps=steps, guidance=guidance,
                                    noise=noise)
        x_0 = nn.functional.normalize(x_0, dim=-1)                          # (2B, E)
        return better_of_two(*x_0.chunk(2), text_vectors)


def better_of_two(a: Tensor, b: Tensor, text_vectors: Tensor) -> Tensor:
    """Row by row, whichever of a and b (B, E) has the larger dot product with the text vector."""
    first = (a * text_vectors).sum(dim=-1) >= (b * text_vectors).sum(dim=-1)
    return torch.where(first[:, None], a, b)
