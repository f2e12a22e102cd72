r"""DALL-E: write the picture after the caption, code by code, as a language model writes words.

in -> out   ids (B, T) -> codes (B, N) -> images (B, 3, H, W)
idea        The discrete VAE made a picture a grid of N = g * g codes, so caption and picture are
            one sentence: T text tokens, then N codes, row by row. A causal transformer learns to
            say the next token. To draw, give it the caption and let it go on. Guidance exaggerates
            what the caption changes in the next code; CLIP picks the best of several drawings.
equation    ln p(y, x) = sum_i ln p(y_i | y_<i) + sum_j ln p(x_j | x_<j, y),  y caption, x codes
paper       Ramesh et al. 2021, arXiv:2102.12092, section 2.2, appendix B.1 and figure 11;
            guidance: arXiv:2207.12598; top-p: Holtzman et al. 2020, arXiv:1904.09751
left out    BPE dropout, mixed precision with a scale for each block, sparse kernels

Each place knows whether a word or a code comes next, so words and codes have a head each: that is
one head over both with the other kind masked to -inf, for less work.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.clip import Clip
from minidalle.dvae import Codec
from minidalle.tokenizer import Tokenizer
from minidalle.train import rand
from minidalle.transformer import Cache, Transformer, TransformerConfig

TEXT_WEIGHT = 1 / 8        # and 7/8 for the codes: pictures are what we are after (section 2.2)
GUIDANCE = 1.75            # at 2 a little surer, and less various


@dataclass(frozen=True)
class DalleConfig:
    vocab: int                 # of the tokenizer
    context: int               # T, tokens of a caption, padding included
    codes: int                 # K of the discrete VAE
    grid: int                  # g of the discrete VAE: N = g * g codes a picture
    pad: int = 0               # id of the padding; a caption of nothing else is the null caption
    width: int = 256
    depth: int = 6             # the paper has 64 blocks of width 3968
    heads: int = 8
    drop: float = 0.1          # share of captions dropped in training, for guidance


# ---- patterns (figure 11): which codes before it a code sees; the caption is always seen ----

def full(context: int, grid: int) -> None:
    """All: no mask but the transformer's own."""


def row(context: int, grid: int) -> Tensor:
    """The last g codes in raster order: back to the one above it."""
    return pattern(context, torch.arange(grid * grid) <= grid)


def column(context: int, grid: int) -> Tensor:
    """Those above it."""
    return pattern(context, torch.arange(grid * grid) % grid == 0)


def convolution(context: int, grid: int, kernel: int = 3) -> Tensor:
    """Those in a square around it, an odd number wide. As in the paper, left of a row's first code
    lies the last code of the row above."""
    up, left = torch.arange(kernel // 2 + 1), torch.arange(-(kernel // 2), kernel // 2 + 1)
    return pattern(context, torch.isin(torch.arange(grid * grid), up[:, None] * grid + left))


def pattern(context: int, seen: Tensor) -> Tensor:
    """seen[s]: a code sees the one s places before it. (N,) -> (T + N, T + N) bool, causal."""
    place = torch.arange(len(seen))
    mask = seen[(place[:, None] - place).clamp(min=0)]                      # (N, N)
    return F.pad(mask, (context, 0, context, 0), value=True).tril()


class Dalle(nn.Module):
    """Block i uses patterns[i % len(patterns)]; only kernels made for sparse ones save time."""

    def __init__(self, config: DalleConfig, patterns: tuple[Callable, ...] = (full,)):
        super().__init__()
        self.config = config
        width, T, g = config.width, config.context, config.grid
        words = config.vocab + T       # padding is another token at each place (section 2.2)
        self.text = nn.Embedding(words, width)
        self.text_place = nn.Parameter(0.02 * torch.randn(T, width))
        self.code = nn.Embedding(config.codes, width)
        self.row = nn.Parameter(0.02 * torch.randn(g, 1, width))
        self.column = nn.Parameter(0.02 * torch.randn(g, width))
        self.transformer = Transformer(TransformerConfig(width, config.depth, config.heads))
        self.text_head = nn.Linear(width, words)
        self.code_head = nn.Linear(width, config.codes)
        for part in (self.text, self.code, self.text_head, self.code_head):
            nn.init.normal_(part.weight, std=0.02)
        # the same numbers, column by column in memory: sampling takes a tenth less on a CPU
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            linear.weight.data = linear.weight.data.t().contiguous().t()
        for i in range(config.depth):
            self.register_buffer(f"mask{i}", patterns[i % len(patterns)](T, g), persistent=False)

    def words(self, ids: Tensor) -> Tensor:
        """ids (B, T), padding replaced by vocab + its place."""
        place = torch.arange(self.config.context, device=ids.device)
        return torch.where(ids == self.config.pad, self.config.vocab + place, ids)

    def embed_text(self, ids: Tensor) -> Tensor:
        check_shape("ids", ids, len(ids), self.config.context)
        return self.text(self.words(ids)) + self.text_place                 # (B, T, D)

    def embed_codes(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes (B, n), of which the first stands at place `first`."""
        place = (self.row + self.column).flatten(0, 1)                      # (N, D)
        return self.code(codes) + place[first:first + codes.shape[1]]       # (B, n, D)

    def read(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """x (B, n, D) -> (B, n, D), each block in its pattern; with a cache x is what is new."""
        held = 0 if cache is None else cache.length
        end = held + x.shape[1]
        masks = (self.get_buffer(f"mask{i}") for i in range(self.config.depth))
        masks = [mask if mask is None else mask[held:end, :end] for mask in masks]
        return self.transformer(x, mask=masks, cache=cache)

    def forward(self, ids: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T), codes (B, N) -> text logits (B, T - 1, vocab + T), code logits (B, N, K).
        Each place says what comes next: the last word the first code, the last code nothing."""
        check_shape("codes", codes, len(ids), self.config.grid ** 2)
        text, image = self.embed_text(ids), self.embed_codes(codes[:, :-1])
        x = self.read(torch.cat([text, image], dim=1))                      # (B, T + N - 1, D)
        last = self.config.context - 1
        return self.text_head(x[:, :last]), self.code_head(x[:, last:])

    def loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None) -> Tensor:
        """batch = ids (B, T), codes (B, N). Each picture loses its caption with chance `drop`."""
        ids, codes = batch
        drop = rand(len(ids), ids.device, generator) < self.config.drop     # (B,)
        ids = ids.masked_fill(drop[:, None], self.config.pad)               # (B, T)
        text, image = self(ids, codes)
        text = F.cross_entropy(text.float().flatten(0, 1), self.words(ids)[:, 1:].flatten())
        image = F.cross_entropy(image.float().flatten(0, 1), codes.flatten())
        return TEXT_WEIGHT * text + (1 - TEXT_WEIGHT) * image

    @torch.no_grad()
    def log_likelihood(self, ids: Tensor, codes: Tensor) -> Tensor:
        """ln p(codes | caption) in nats (B,): the sum over j in the equation above."""
        log_p = self(ids, codes)[1].float().log_softmax(dim=-1)             # (B, N, K)
        return log_p.gather(-1, codes[..., None]).sum(dim=(1, 2))

    @torch.no_grad()
    def sample(self, ids: Tensor, guidance: float = 1.0, temperature: float = 1.0,
               top_k: int | None = None, top_p: float | None = None, given: Tensor | None = None,
               generator: Generator | None = None) -> Tensor:
        """Codes (B, N) for ids (B, T); the first n stay as `given` (B, n). guidance: 0 forgets the
        caption, 1 follows it as learnt, more exaggerates it; the other knobs: see `draw`."""
        codes = ids.new_zeros(len(ids), 0) if given is None else given.clone()  # (B, n)
        check_shape("given", codes, len(ids), min(codes.shape[-1], self.config.grid ** 2))
        if codes.numel() and not 0 <= codes.min() <= codes.max() < self.config.codes:
            raise ValueError(f"the given codes run from {codes.min()} to {codes.max()}; pass codes "
                             f"of this model's discrete VAE, 0..{self.config.codes - 1}")
        copies = 1 if guidance == 1 else 2     # with the caption; without it
        captions = torch.cat([ids, torch.full_like(ids, self.config.pad)][:copies])
        text, image = self.embed_text(captions), self.embed_codes(codes.repeat(copies, 1))
        x, cache = torch.cat([text, image], dim=1), self.transformer.cache()
        for n in range(codes.shape[1], self.config.grid ** 2):
            logits = self.code_head(self.read(x, cache)[:, -1]).float()     # (B or 2B, K)
            if copies == 2:
                logits, null = logits.chunk(2)                              # (B, K) each
                logits = null + guidance * (logits - null)
            code = draw(logits, temperature, top_k, top_p, generator)       # (B, 1)
            codes = torch.cat([codes, code], dim=1)                         # (B, n + 1)
            x = self.embed_codes(code.repeat(copies, 1), first=n)           # (B or 2B, 1, D)
        return codes


def check_shape(name: str, tensor: Tensor, *shape: int) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; pass {shape}")


def top_k_logits(logits: Tensor, k: int) -> Tensor:
    """logits (B, K) with -inf for every code below the k-th largest: ties all stay."""
    if k < 1:
        raise ValueError(f"top_k is {k}; keep at least 1 code, or pass None for all")
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]          # (B, 1)
    return logits.masked_fill(logits < least, -torch.inf)


def top_p_logits(logits: Tensor, p: float) -> Tensor:
    """Keep a code if all strictly more probable ones sum to less than p. So the code that crosses
    p stays, and equals stay or go together: with p = 0.6, 1/2, 1/4 and 1/4 all stay."""
    if not 0 < p <= 1:
        raise ValueError(f"top_p is {p}; pass a share above 0 and at most 1, or None for all")
    ranked = logits.sort(descending=True).values                            # (B, K)
    share = ranked.softmax(dim=-1)
    # subtle: before the rarest the rounded sum may be 1, and yet p = 1 keeps them
    kept = ((share.cumsum(dim=-1) - share < p) | (p == 1)).sum(dim=-1, keepdim=True)  # (B, 1)
    return logits.masked_fill(logits < ranked.gather(-1, kept - 1), -torch.inf)


def uniform(n: int, device: torch.device, generator: Generator | list[Generator] | None) -> Tensor:
    """Numbers (n, 1) between 0 and 1, drawn where the generator lives. Of a list of generators each
    draws one, so that no row depends on its company."""
    if isinstance(generator, list):
        u = torch.cat([uniform(1, device, one) for one in generator])
        check_shape("one number for each generator", u, n, 1)
        return u
    source = device if generator is None else generator.device
    return torch.rand(n, 1, device=source, generator=generator).to(device)


def draw(logits: Tensor, temperature: float, top_k: int | None = None,
         top_p: float | None = None,
         generator: Generator | list[Generator] | None = None) -> Tensor:
    """One code (B, 1) a row. Temperature first (0: the most probable), then top-k, then top-p.
    A code whose logit is -inf is never drawn."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; pass 0 for the likeliest code, or more")
    largest = logits.amax(dim=-1, keepdim=True)        # (B, 1), NaN where the row has one
    if not largest.isfinite().all():
        raise ValueError("a row of logits has NaN, infinity or nothing but -inf, so no code can be "
                         "drawn; look for the first loss that was NaN, or for a huge guidance")
    if temperature < torch.finfo(torch.float32).tiny:      # which divides as 0 does
        return logits.argmax(dim=-1, keepdim=True)
    # subtle: the largest becomes 0 first, or a tiny temperature would make it infinite; and what
    # float32 rounds to 0 would make it 0 / 0
    logits = (logits - largest) / max(temperature, torch.finfo(logits.dtype).tiny)
    logits = logits if top_k is None else top_k_logits(logits, top_k)
    logits = logits if top_p is None else top_p_logits(logits, top_p)
    total = logits.softmax(dim=-1).cumsum(dim=-1)                           # (B, K)
    u = uniform(len(total), total.device, generator)                        # (B, 1)
    # code i owns a stretch of length p_i between 0 and 1: whose stretch is u in?
    return torch.searchsorted(total, u * total[:, -1:], right=True)


@dataclass(frozen=True)
class DalleRoad:
    tokenizer: Tokenizer
    clip: Clip | None          # asked only when it ranks
    dvae: Codec                # images (B, 3, H, W) <-> codes (B, N): dvae.py
    dalle: Dalle               # it writes in the codes of this dvae


@torch.no_grad()
def caption_to_picture(road: DalleRoad, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       guidance: float = GUIDANCE, temperature: float = 1.0,
                       top_k: int | None = None, top_p: float | None = 0.9,
                       best_of: int = 1) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]: CLIP's choice of best_of = n drawn for each. With
    a list of generators, one for each of the B n drawn, none depends on the others."""
    if best_of < 1:
        raise ValueError(f"best_of is {best_of}; draw at least 1 picture for each caption")
    ids = road.tokenizer.batch(captions).to(road.dalle.row.device)          # (B, T)
    if not captions:
        return torch.zeros(0, 3, *2 * [road.dvae.config.size], device=ids.device)
    codes = road.dalle.sample(ids.repeat_interleave(best_of, dim=0), guidance, temperature,
                              top_k, top_p, generator=generator)            # (B n, N)
    images = road.dvae.decode(codes).unflatten(0, (-1, best_of))            # (B, n, 3, H, W)
    return images[:, 0] if best_of == 1 else rerank(road.clip, ids, images)


@torch.no_grad()
def rerank(clip: Clip, ids: Tensor, images: Tensor) -> Tensor:
    """Of images (B, n, 3, H, W) the one of n that fits each caption best -> (B, 3, H, W).
    Of equals the first, which is a drawing as random as any other."""
    z = clip.encode_image(images.flatten(0, 1)).unflatten(0, images.shape[:2])  # (B, n, E)
    best = (z * clip.encode_text(ids)[:, None]).sum(dim=-1).argmax(dim=1)       # (B,)
    return images[torch.arange(len(images), device=images.device), best]


@torch.no_grad()
def complete(road: DalleRoad, captions: list[str], upper: Tensor,
             generator: Generator | None = None, guidance: float = GUIDANCE,
             temperature: float = 1.0, top_k: int | None = None,
             top_p: float | None = 0.9) -> Tensor:
    """Go on below upper (B, 3, h, W), the first rows of pictures -> (B, 3, H, W)."""
    size, grid, h = road.dvae.config.size, road.dvae.config.grid, upper.shape[2]
    if h % (size // grid) or not 0 < h < size:
        raise ValueError(f"upper has {h} rows of pixels; pass more than 0 and fewer than {size}, "
                         f"in steps of {size // grid}, the height of a code")
    # the encoder wants whole pictures: below the edge, more of the last row
    whole = torch.cat([upper, upper[:, :, -1:].expand(-1, -1, size - h, -1)], dim=2)
    given = road.dvae.encode(whole)[:, :h * grid // size * grid]            # (B, n)
    ids = road.tokenizer.batch(captions).to(given.device)                   # (B, T)
    codes = road.dalle.sample(ids, guidance, temperature, top_k, top_p, given, generator)
    return torch.cat([upper, road.dvae.decode(codes)[:, :, h:]], dim=2)     # (B, 3, H, W)
