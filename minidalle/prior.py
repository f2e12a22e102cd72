r"""The diffusion prior: from what a caption says to what its picture might be.

in -> out   ids (B, T), text vectors (B, E) -> image vectors (B, E)
idea        One caption fits many pictures, so its text vector is not the vector of any picture.
            The prior draws one: it starts from noise in the space of image vectors and lets a
            causal transformer say, step by step, which vector it may have been. The transformer
            reads the caption, its text vector, the time and the noisy vector as a sentence, and
            the answer stands at the last word, an empty query. What pictures of one caption differ
            by is a few percent of what vectors differ by at all, and would be learnt last. So it is
            not left to the network: its answer is the middle of a cloud of known form, and where
            in it x_0 lies is a matter of how much the noise in x_t lets one see.
equation    L = E || f(x_t, t, ids, z_text) - x_0 ||^2,  x_0 = sqrt(E) z_image
            f = m + S (x_t / sqrt(alpha_bar) - m),  m the network's answer,
            S = C (C + (1 - alpha_bar) / alpha_bar)^-1,  C the covariance of one caption's x_0
paper       Ramesh et al. 2022 (DALL-E 2), arXiv:2204.06125, section 2.2; the same for a cloud of
            one width about 0: EDM, Karras et al. 2022, arXiv:2206.00364, section 5
left out    size; the autoregressive prior of the same section is ar_prior.py
"""
import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from minidalle.ar_prior import pca
from minidalle.diffusion import X0, Diffusion, cosine_schedule, early_times, fine_weight
from minidalle.train import randn
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
        nn.init.normal_(self.token.weight, std=0.02)
        self.register_buffer("axes", torch.eye(config.embed))            # of the cloud, and how far
        self.register_buffer("variance", torch.zeros(config.embed))      # it reaches along each

    @property
    def scale(self) -> float:
        """Unit vectors times this have entries of variance one, like the noise."""
        return math.sqrt(self.config.embed)

    def fit_cloud(self, a: Tensor, b: Tensor) -> "Prior":
        """Axes and variances of what pictures of one caption differ by, from two image vectors
        (n, E) for each of n captions, and the prior itself. Until then the cloud is a point, and
        the network's answer all that counts."""
        apart = self.scale / math.sqrt(2) * (a - b)    # as far as one of them from their middle
        _, self.axes = pca(apart, self.config.embed)
        self.variance = (apart @ self.axes.mT).square().mean(dim=0)
        return self

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
        return self.within(self.answer(x[:, -1]), x_t, t)                   # (B, E)

    def within(self, middle: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The likeliest x_0 (B, E) in the cloud around the middle: along each axis x_t is believed
        by its share of the variance. In full precision: what is told apart here is small."""
        alpha_bar = self.diffusion.at(t, x_t)                               # (B, 1)
        with torch.autocast(x_t.device.type, enabled=False):
            off = (x_t.float() - alpha_bar.sqrt() * middle.float()) @ self.axes.mT      # (B, E)
            seen = alpha_bar.sqrt() * self.variance / (alpha_bar * self.variance + 1 - alpha_bar)
            return middle.float() + (seen * off) @ self.axes

    def loss(self, batch: tuple[Tensor, Tensor, Tensor], generator: Generator | None = None):
        """batch = ids (B, T), text vectors (B, E), image vectors (B, E), both of length one."""
        ids, text_vectors, image_vectors = batch
        return self.diffusion.loss(self, self.scale * image_vectors, (ids, text_vectors),
                                   self.config.drop, generator, early_times, fine_weight)

    @torch.no_grad()
    def sample(self, ids: Tensor, text_vectors: Tensor, guidance: float = 1.0, steps: int = 12,
               generator: Generator | None = None) -> Tensor:
        """Image vectors (B, E) of length one: of two drawn for each caption, the one whose dot
        product with the text vector is larger (section 2.2)."""
        condition = ids.repeat(2, 1), text_vectors.repeat(2, 1)             # (2B, ...)
        noise = torch.cat([randn(text_vectors.shape, ids.device, generator) for _ in range(2)])
        x_0 = self.diffusion.sample(self, noise.shape, condition, steps=steps, guidance=guidance,
                                    noise=noise, order=2)
        x_0 = nn.functional.normalize(x_0, dim=-1)                          # (2B, E)
        return better_of_two(*x_0.chunk(2), text_vectors)


def better_of_two(a: Tensor, b: Tensor, text_vectors: Tensor) -> Tensor:
    """Row by row, whichever of a and b (B, E) has the larger dot product with the text vector."""
    first = (a * text_vectors).sum(dim=-1) >= (b * text_vectors).sum(dim=-1)
    return torch.where(first[:, None], a, b)
