r"""Transformer: tokens look at each other, choose what matters, and are updated by it.

in -> out   x (B, T, D), embedded tokens -> (B, T, D), the same tokens in the light of the others
idea        Each token asks a question (query), offers a label (key) and a message (value). It
            takes the average of all messages, weighted by how well the labels fit its question.
            Several heads do this side by side; a small MLP then works on each token alone. Both
            are added to what was there, so a deep stack starts close to the identity. A causal
            mask hides the future, and a cache spares the past from being computed again.
equation    attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V
paper       Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the norm before each part and
            the initialisation as in GPT-2 (Radford et al. 2019, section 2.3)
left out    positions (the caller adds them to x), dropout, rotary angles, grouped heads
"""
import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class TransformerConfig:
    width: int = 128                    # D; captions have about ten words out of a few dozen
    depth: int = 4                      # blocks; 0.8 million weights in all, light on a CPU
    heads: int = 4                      # 32 numbers a head, enough to tell keys apart
    causal: bool = True                 # True: a token sees the past and itself; False: all
    context_width: int | None = None    # width of a second sequence to look at; None: there is none


def attention_written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Equation 1. q (B,h,Tq,d), k and v (B,h,Tk,d) -> (B,h,Tq,d).

    mask: bool, broadcasts to (B,h,Tq,Tk), True = may attend. A query that may attend nowhere
    gets zeros: it heard nothing.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])       # (B,h,Tq,Tk)
    if mask is None:
        return scores.softmax(dim=-1) @ v                           # (B,h,Tq,d)
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)  # (B,h,Tq,Tk)
    # subtle: a row without any key is 0 / 0 = NaN up to here
    return weights.masked_fill(~mask, 0) @ v                        # (B,h,Tq,d)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """What attention_written_out computes, by the faster of two ways."""
    if mask is None:
        return fused(q, k, v)                                       # (B,h,Tq,d)
    if mask.dtype != torch.bool:
        raise ValueError(f"the mask is {mask.dtype}; pass bool, True = may attend")
    # subtle: kernels differ on rows without any key (NaN in some); such a row may attend
    # everywhere, so that its gradient stays finite too, and its result is dropped
    nowhere = ~mask.any(dim=-1, keepdim=True)                       # (..., Tq,1)
    mixed = fused(q, k, v, mask | nowhere)
    return mixed.masked_fill(nowhere, 0)                            # (B,h,Tq,d)


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """By the fused kernel: no table of scores in memory."""
    # subtle: on a CPU the kernel's way back takes three to seven times as long in bfloat16
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad:
        return attention_written_out(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def causal_mask(Tq: int, Tk: int, device: torch.device | None = None) -> Tensor:
    """(Tq,Tk) bool: the queries are the last Tq of the Tk positions, none sees a later key.

    causal_mask(2, 3) is [[True, True, False], [True, True, True]].
    """
    if Tq > Tk:
        raise ValueError(f"{Tq} queries cannot be the last of {Tk} keys; pass Tq <= Tk")
    position = torch.arange(Tk, device=device)
    return position <= position[Tk - Tq:, None]                     # (Tq,Tk)


class KeysValues:
    """What one attention remembers from call to call: keys and values (B,h,T,d)."""

    def __init__(self):
        self.k = self.v = self.context = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the new positions, return all. Copying costs little beside the projections."""
        held = self.k is not None
        self.k = torch.cat([self.k, k], dim=2) if held else k       # (B,h,T,d)
        self.v = torch.cat([self.v, v], dim=2) if held else v       # (B,h,T,d)
        return self.k, self.v

    def of(self, context: Tensor, project) -> tuple[Tensor, Tensor]:
        """Project a context when this tensor comes for the first time, afterwards remember.

        subtle: "this tensor" is the object; one changed in place counts as known.
        """
        if self.context is not context:
            self.context, (self.k, self.v) = context, project(context)
        return self.k, self.v


class Cache:
    """Per block the keys and values of the tokens so far, and those of the context."""

    def __init__(self, depth: int):
        self.blocks = [(KeysValues(), KeysValues()) for _ in range(depth)]

    @property
    def length(self) -> int:
        """Positions held so far."""
        first = self.blocks[0][0].k
        return 0 if first is None else first.shape[2]


def check_width(name: str, x: Tensor, width: int) -> None:
    if x.dim() != 3 or x.shape[-1] != width:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected (B, T, {width}), "
                         f"so embed it to width {width} or change the config")


def check_mask(name: str, mask: Tensor, *shapes: tuple[int, ...]) -> None:
    if mask.dtype != torch.bool or mask.shape not in shapes:
        raise ValueError(f"{name} is {mask.dtype} {tuple(mask.shape)}; pass bool "
                         f"{' or '.join(map(str, shapes))}, True = may be seen")


class MultiHeadAttention(nn.Module):
    """Section 3.2.2: several heads of width / heads numbers each, side by side."""

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not split into {heads} heads; "
                             "choose a width that is a multiple of heads")
        self.width, self.heads = width, heads
        self.context_width = context_width or width
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(self.context_width, 2 * width)          # keys first, then values
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)    # (B,T,D) -> (B,h,T,d)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        check_width("the source of keys and values", source, self.context_width)
        k, v = self.kv(source).chunk(2, dim=-1)                     # (B,S,D) each
        return self.split(k), self.split(v)                         # (B,h,S,d) each

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None,
                cache: KeysValues | None = None) -> Tensor:
        """x (B,Tq,D) attends to itself or to context (B,S,context_width) -> (B,Tq,D).

        mask: bool, broadcasts to (B,h,Tq,Tk). cache: x are the new positions only.
        """
        check_width("x", x, self.width)
        q = self.split(self.q(x))                                   # (B,h,Tq,d)
        if cache is None:
            k, v = self.keys_values(x if context is None else context)
        elif context is None:
            k, v = cache.append(*self.keys_values(x))               # (B,h,Tk,d) each
        else:
            k, v = cache.of(context, self.keys_values)              # (B,h,S,d) each
        mixed = attention(q, k, v, mask)                            # (B,h,Tq,d)
        return self.out(mixed.transpose(1, 2).flatten(2))           # (B,Tq,D)


class Block(nn.Module):
    """Look at each other, look at the context if there is one, think; each is added to x."""

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.attend_norm = nn.LayerNorm(width)
        self.attend = MultiHeadAttention(width, heads)
        if context_width is not None:
            self.cross_norm = nn.LayerNorm(width)
            self.cross = MultiHeadAttention(width, heads, context_width)
        self.has_context = context_width is not None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))

    def residual_projections(self) -> list[nn.Linear]:
        """The last layer of each part: what it writes is added to x."""
        return [self.attend.out, self.mlp[-1]] + ([self.cross.out] if self.has_context else [])

    def forward(self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None,
                context_mask: Tensor | None = None,
                cache: tuple[KeysValues, KeysValues] | None = None) -> Tensor:
        if (context is None) == self.has_context:
            raise ValueError(f"context is {'missing' if context is None else 'given'}, but the "
                             "block was built for the opposite; give both it and context_width, "
                             "or neither")
        own, other = cache or (None, None)
        x = x + self.attend(self.attend_norm(x), mask=mask, cache=own)              # (B,T,D)
        if self.has_context:
            x = x + self.cross(self.cross_norm(x), context, context_mask, other)    # (B,T,D)
        return x + self.mlp(self.mlp_norm(x))                                       # (B,T,D)


class Transformer(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.context_width)
                                    for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        # GPT-2: 2 * depth parts add up in x (3 * depth with a context, which changes little);
        # scaled so, the sum does not grow with the depth
        for linear in (p for block in self.blocks for p in block.residual_projections()):
            nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * config.depth))

    def cache(self) -> Cache:
        """An empty cache: given it, forward takes the new positions only, and appends them."""
        if not self.config.causal:
            raise ValueError("a cache needs causal=True: without it early tokens see later ones, "
                             "so what was computed for them does not stay true")
        return Cache(self.config.depth)

    def allowed(self, x: Tensor, held: int, keep: Tensor | None,
                mask: Tensor | None) -> Tensor | None:
        """All masks and-ed, (Tq,Tk) or (B,1,Tq or 1,Tk); None where nothing is forbidden."""
        (B, Tq), Tk = x.shape[:2], held + x.shape[1]
        # a single newest token sees everything: without a mask the kernel is faster
        hides = self.config.causal and Tq > 1
        parts = [causal_mask(Tq, Tk, x.device)] if hides else []
        if mask is not None:
            check_mask("mask", mask, (Tq, Tk), (B, Tq, Tk))
            parts.append(mask if mask.dim() == 2 else mask[:, None])
        if keep is not None:
            check_mask("keep", keep, (B, Tk))
            parts.append(keep[:, None, None])
        return functools.reduce(torch.logical_and, parts) if parts else None

    def forward(self, x: Tensor, keep: Tensor | None = None,
                mask: Tensor | list[Tensor | None] | None = None, context: Tensor | None = None,
                context_keep: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """x (B,Tq,D) -> (B,Tq,D). With a cache, x are the Tq new of Tk positions, else Tq = Tk.

        keep (B,Tk) bool, False = padding, seen by nobody; mask (Tq,Tk) or (B,Tq,Tk) bool, on top
        of the causal one, or a list with one for each block; context (B,S,context_width) with its
        own context_keep (B,S).
        """
        check_width("x", x, self.config.width)
        held = 0 if cache is None else cache.length
        depth = len(self.blocks)
        masks = mask if isinstance(mask, list) else [mask] * depth
        if len(masks) != depth:
            raise ValueError(f"got {len(masks)} masks for {depth} blocks; pass one for each")
        if context is not None and context_keep is not None:
            check_mask("context_keep", context_keep, (len(x), context.shape[1]))
            context_keep = context_keep[:, None, None]              # (B,1,1,S)
        caches = [None] * depth if cache is None else cache.blocks
        for block, mask, memory in zip(self.blocks, masks, caches):
            allowed = self.allowed(x, held, keep, mask)             # (Tq,Tk) or (B,1,..,Tk)
            x = block(x, allowed, context, context_keep, memory)    # (B,Tq,D)
        return self.norm(x)                                         # (B,Tq,D)
