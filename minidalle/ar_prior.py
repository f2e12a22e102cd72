r"""The autoregressive prior: an image vector written as a row of codes, one after another.

in -> out   ids (B, T), text vectors (B, E) -> codes (B, m) -> image vectors (B, E)
idea        What DALL-E does with a picture can be done with its vector. PCA turns the space of
            image vectors so that the first axis holds most of what they differ in, and the last
            ones hold nothing and are left out. Along each of the first m axes a number becomes
            one of K buckets. A causal transformer reads caption and text vector and writes the
            buckets one by one, those that matter most first. Before them stands how well picture
            and caption shall fit, their dot product: in training it is told, in sampling it is
            drawn from the better half.
equation    p(z | y) = prod_j p(c_j | c_<j, y),   c_j the bucket of axis_j . (z - mean)
paper       Ramesh et al. 2022 (DALL-E 2), arXiv:2204.06125, section 2.2: 319 of 1024 axes and
            1,024 buckets; the diffusion prior of the same section is prior.py
left out    nothing but size
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.clip import unit
from minidalle.dalle import draw
from minidalle.train import rand
from minidalle.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class ArPriorConfig:
    vocab: int                 # of the tokenizer
    context: int               # T, tokens of a caption
    embed: int                 # E of the CLIP whose vectors are learnt
    axes: int = 32             # m: a quarter of those of our image vectors; the paper has a third
    buckets: int = 32          # K: few, so that a short training meets each of them often
    levels: int = 8            # of the dot product of text and image vector
    width: int = 128
    depth: int = 2
    heads: int = 4
    drop: float = 0.1          # share of captions dropped in training, for guidance


# ---- a vector as a row of codes ----

def pca(vectors: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The mean (E,) of vectors (n, E) and the m axes (m, E) along which they vary most, as unit
    vectors at right angles, the largest variance first. ValueError with fewer vectors than m.

    Subtle: an axis may as well point the other way, and which way a library takes depends on how
    many threads it finds free. So the largest entry of each is made positive: a machine under
    load learns the same codes."""
    n, E = vectors.shape
    if not 1 <= m <= min(n, E):
        raise ValueError(f"got {n} vectors of {E} numbers for {m} axes; pass at least {m} vectors, "
                         f"and ask for 1 to {E} axes")
    x = vectors.cpu().double()
    mean = x.mean(dim=0)                                                    # (E,)
    columns = torch.linalg.eigh((x - mean).mT @ (x - mean)).eigenvectors    # (E, E), smallest first
    axes = columns.mT.flip(0)[:m]                                           # (m, E)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))        # (m, 1)
    # in memory row by row, as a loaded checkpoint lays them, or products differ in the last bit
    return mean.to(vectors), (axes * largest.sign()).contiguous().to(vectors)


def quantise(x: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """x (..., m) -> in which of the equally wide buckets between low and high (m,) each number
    lies, 0..K-1; what lies outside goes to the nearest. quantise(0.6, 0, 1, 4) is 2."""
    width = ((high - low) / buckets).clamp(min=1e-12)      # an axis along which nothing varies
    return ((x - low) / width).floor().clamp(0, buckets - 1).long()


def dequantise(codes: Tensor, low: Tensor, high: Tensor, buckets: int) -> Tensor:
    """The middle of each bucket: at most half a bucket from whatever lay in it."""
    return low + (codes + 0.5) * (high - low) / buckets


def in_a_row(axes: int, buckets: int, width: int, waves: int = 16) -> Tensor:
    """First weights (m, K, D) for the buckets of each axis: random, and smooth along K. Buckets,
    unlike words, stand in a row: where neighbours begin alike, what is learnt of one holds for
    those beside it."""
    place = (torch.arange(buckets) + 0.5) / buckets                         # (K,)
    smooth = torch.cos(math.pi * torch.arange(waves)[:, None] * place)      # (waves, K)
    return torch.einsum("mdw,wk->mkd", 0.02 * torch.randn(axes, width, waves), smooth)


class ArPrior(nn.Module):
    """Fit the codes first: ArPrior(config).fit_codes(image vectors, text vectors). Until then a
    code is an entry of the vector itself, and its buckets lie between -1 and 1."""

    def __init__(self, config: ArPriorConfig):
        super().__init__()
        self.config = config
        m, K, width, words = config.axes, config.buckets, config.width, config.context + 2
        self.token = nn.Embedding(config.vocab, width)
        self.text = nn.Linear(config.embed, width)
        self.level = nn.Embedding(config.levels, width)
        self.null = nn.Parameter(0.02 * torch.randn(words, width))   # the caption that says nothing
        self.position = nn.Parameter(0.02 * torch.randn(words, width))
        self.code = nn.Parameter(in_a_row(m, K, width))              # each axis has its own codes,
        self.answer = nn.Parameter(in_a_row(m, K, width).mT.contiguous())    # so needs no position
        self.transformer = Transformer(TransformerConfig(width, config.depth, config.heads))
        for part in (self.token, self.level):
            nn.init.normal_(part.weight, std=0.02)
        self.register_buffer("mean", torch.zeros(config.embed))
        self.register_buffer("axes", torch.eye(m, config.embed))
        self.register_buffer("low", -torch.ones(m))
        self.register_buffer("high", torch.ones(m))
        self.register_buffer("edges", torch.linspace(-1, 1, config.levels + 1)[1:-1].clone())

    # ---- vectors <-> codes ----

    def fit_codes(self, image_vectors: Tensor, text_vectors: Tensor) -> "ArPrior":
        """Axes, buckets and levels from training pairs (n, E), and the prior itself."""
        self.mean, self.axes = pca(image_vectors, self.config.axes)
        x = self.turn(image_vectors)                                        # (n, m)
        self.low, self.high = x.amin(dim=0), x.amax(dim=0)
        # each level holds the same share of the pairs, so the upper half of them is the better half
        shares = torch.arange(1, self.config.levels) / self.config.levels
        dots = (image_vectors * text_vectors).sum(dim=-1)
        self.edges = dots.quantile(shares.to(dots))
        return self

    def turn(self, image_vectors: Tensor) -> Tensor:
        """(B, E) -> what they are along each axis (B, m), in full precision: codes are exact."""
        with torch.autocast(image_vectors.device.type, enabled=False):
            return (image_vectors - self.mean) @ self.axes.mT

    def encode(self, image_vectors: Tensor) -> Tensor:
        """Image vectors (B, E) -> codes (B, m), those of the largest variance first."""
        return quantise(self.turn(image_vectors), self.low, self.high, self.config.buckets)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, m) -> image vectors (B, E) of length one."""
        x = dequantise(codes, self.low, self.high, self.config.buckets)     # (B, m)
        return unit(x @ self.axes + self.mean)

    # ---- the sentence: caption, text vector, level, codes ----

    def embed_condition(self, ids: Tensor, text_vectors: Tensor, levels: Tensor,
                        keep: Tensor | None = None) -> Tensor:
        """What stands before the codes (B, T + 2, D); where keep (B,) is False, nothing is said."""
        text = self.text(text_vectors * self.config.embed ** 0.5)[:, None]  # (B, 1, D)
        words = torch.cat([self.token(ids), text, self.level(levels)[:, None]], dim=1)
        if keep is not None:   # subtle: the level goes too, it tells of the caption
            words = torch.where(keep[:, None, None], words, self.null)      # (B, T + 2, D)
        return words + self.position

    def embed_codes(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes (B, n), of which the first belongs to axis `first` -> (B, n, D)."""
        axis = torch.arange(first, first + codes.shape[1], device=codes.device)
        return self.code[axis, codes]

    def logits(self, x: Tensor, first: int = 0) -> Tensor:
        """States x (B, n, D), each before a code, the first of axis `first` -> (B, n, K)."""
        return torch.einsum("bnd,ndk->bnk", x, self.answer[first:first + x.shape[1]])

    def forward(self, codes: Tensor, condition: tuple[Tensor, Tensor, Tensor],
                keep: Tensor | None = None) -> Tensor:
        """The first n codes (B, n) -> logits (B, n + 1, K) of them and of the next; n < m.
        condition = ids (B, T), text vectors (B, E), levels (B,); keep (B,) bool."""
        words = self.embed_condition(*condition, keep)                      # (B, T + 2, D)
        x = self.transformer(torch.cat([words, self.embed_codes(codes)], dim=1))
        return self.logits(x[:, words.shape[1] - 1:])                       # (B, n + 1, K)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor], generator: Generator | None = None):
        """batch = ids (B, T), text vectors (B, E), image vectors (B, E), both of length one.
        The mean cross entropy of a code, in nats."""
        ids, text_vectors, image_vectors = batch
        codes = self.encode(image_vectors)                                  # (B, m)
        levels = torch.bucketize((image_vectors * text_vectors).sum(dim=-1), self.edges)  # (B,)
        keep = rand(len(ids), ids.device, generator) >= self.config.drop    # (B,)
        logits = self(codes[:, :-1], (ids, text_vectors, levels), keep)
        return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())

    @torch.no_grad()
    def sample(self, ids: Tensor, text_vectors: Tensor, guidance: float = 1.0,
               temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """Image vectors (B, E) of length one, drawn code by code."""
        B, levels = len(ids), self.better_half(len(ids), generator).to(ids.device)
        condition, keep, copies = (ids, text_vectors, levels), None, 1
        if guidance != 1:      # each row once with its condition and once without
            condition, copies = [torch.cat([part, part]) for part in condition], 2
            keep = torch.arange(2 * B, device=ids.device) < B
        x, cache = self.embed_condition(*condition, keep), self.transformer.cache()
        codes = ids.new_zeros(B, 0)
        for n in range(self.config.axes):
            logits = self.logits(self.transformer(x, cache=cache)[:, -1:], n)[:, 0].float()
            if copies == 2:
                logits, null = logits.chunk(2)                              # (B, K) each
                logits = null + guidance * (logits - null)
            code = draw(logits, temperature, generator=generator)           # (B, 1)
            codes = torch.cat([codes, code], dim=1)                         # (B, n + 1)
            x = self.embed_codes(code.repeat(copies, 1), first=n)           # (B or 2B, 1, D)
        return self.decode(codes)

    def better_half(self, n: int, generator: Generator | None = None) -> Tensor:
        """Levels (n,), at random from the upper half of them (section 2.2)."""
        if isinstance(generator, list):        # one for each row, as in `draw`
            return torch.cat([self.better_half(1, one) for one in generator])
        source = self.edges.device if generator is None else generator.device
        L = self.config.levels
        return torch.randint(L // 2, L, (n,), device=source, generator=generator)
