r"""CLIP: captions and pictures as vectors in one space, each near its partner.

in -> out   images (B, 3, H, W) -> image vectors (B, E); ids (B, T) -> text vectors (B, E)
idea        Two towers, one for pictures and one for captions, end in vectors of length one. In a
            batch each picture must find its caption among all captions, and each caption its
            picture, by the dot product alone. Nobody names a colour or a digit: what tells the
            pairs of a batch apart is what the vectors must hold.
equation    loss = (H(rows) + H(columns)) / 2,  logits = exp(s) I T^t,  H the cross entropy
paper       Radford et al. 2021, arXiv:2103.00020, section 2.3 and figure 3
left out    augmentation
"""
import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from minidalle.parallel import gathered
from minidalle.transformer import Transformer, TransformerConfig

ROUNDING = 1e-6                # of a dot product of two vectors of length one, in float32


@dataclass(frozen=True)
class ClipConfig:
    vocab: int                 # of the tokenizer
    context: int               # tokens of a caption, start, end and padding included
    end: int = 2               # id of the end token: the text vector is read off there
    embed: int = 128           # E, width of the joint space
    width: int = 128           # of the text transformer
    depth: int = 2             # captions are short
    heads: int = 4


class TextTower(nn.Module):
    """ids (B, T) -> (B, E): a causal transformer, read at the end token, which has seen all."""

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.end = config.end
        self.token = nn.Embedding(config.vocab, config.width)
        self.position = nn.Parameter(0.01 * torch.randn(config.context, config.width))
        self.transformer = Transformer(TransformerConfig(config.width, config.depth, config.heads))
        self.project = nn.Linear(config.width, config.embed, bias=False)
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        end = (ids == self.end).int().argmax(dim=1)                         # (B,) the first one
        # what comes later can change nothing, and costs
        x = self.states(ids[:, :end.max() + 1])                             # (B, T, D)
        return self.project(x[torch.arange(len(x), device=x.device), end])  # (B, E)

    def states(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, D): each token in the light of those before it."""
        x = self.token(ids) + self.position[:ids.shape[1]]                  # (B, T, D)
        return self.transformer(x)                                          # (B, T, D)


class ConvTower(nn.Module):
    """images (B, 3, H, W) -> (B, E): four strided convolutions with batch norm. Learns digits in
    a tenth of the time of a ViT, because nearby pixels need not be told that they are near."""

    def __init__(self, size: int, embed: int, width: int = 32):
        super().__init__()
        c = [3, width, 2 * width, 4 * width, 4 * width]
        self.convs = nn.Sequential(*(layer for i in range(4) for layer in (
            nn.Conv2d(c[i], c[i + 1], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(c[i + 1]), nn.ReLU())))
        side = math.ceil(size / 16)
        self.project = nn.Linear(c[-1] * side * side, embed)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        x = self.convs(images)                                              # (B, C, H/16, W/16)
        return self.project(x.flatten(1))                                   # (B, E)


class VisionTransformer(nn.Module):
    """images (B, 3, H, W) -> (B, E): patches as words, a class token that reads them all.

    Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1.
    """

    def __init__(self, size: int, embed: int, patch: int = 4, width: int = 128, depth: int = 4,
                 heads: int = 4):
        super().__init__()
        if size % patch:
            raise ValueError(f"patches of {patch} do not fill a picture of {size}; choose a "
                             f"divisor of {size}")
        self.patch = nn.Conv2d(3, width, patch, stride=patch)
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn((size // patch) ** 2 + 1, width))
        self.transformer = Transformer(TransformerConfig(width, depth, heads, causal=False))
        self.project = nn.Linear(width, embed, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).mT                                # (B, N, D)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1)        # (B, 1 + N, D)
        x = self.transformer(x + self.position)                             # (B, 1 + N, D)
        return self.project(x[:, 0])                                        # (B, E)


class Clip(nn.Module):
    """The two towers and their temperature. Any image tower (B, 3, H, W) -> (B, E) will do."""

    whole_batch = "the loss of CLIP compares each picture with every caption of the batch"

    def __init__(self, config: ClipConfig, image_tower: nn.Module):
        super().__init__()
        self.config = config
        self.text_tower = TextTower(config)
        self.image_tower = image_tower
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))     # section 2.5

    def encode_image(self, images: Tensor) -> Tensor:
        """Image vectors (B, E) of length one."""
        return unit(self.image_tower(images))

    def encode_text(self, ids: Tensor) -> Tensor:
        """Text vectors (B, E) of length one."""
        return unit(self.text_tower(ids))

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Logits (images, captions): see `compare`."""
        return self.compare(self.encode_image(images), self.encode_text(ids))

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scaled dot products of vectors (B, E), the scale at most 100 (section 2.5)."""
        with torch.no_grad():  # subtle: clamp(log_scale) would give it the gradient 0 up there
            self.log_scale.clamp_(max=math.log(100))
        return self.log_scale.exp() * images @ texts.mT

    def loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None) -> Tensor:
        """batch = images (B, 3, H, W), ids (B, T); of several processes, over the rows of all."""
        images, ids = batch
        images, texts = gathered(self.encode_image(images)), gathered(self.encode_text(ids))
        return contrastive_loss(self.compare(images, texts).float(), repeats(gathered(ids)))


def unit(x: Tensor) -> Tensor:
    """Vectors (..., E) at length one, in float32."""
    return nn.functional.normalize(x.float(), dim=-1)


def repeats(ids: Tensor) -> Tensor:
    """same[i, j]: captions i and j are the same. ids (B, T) -> (B, B) bool, its diagonal True."""
    return (ids[:, None] == ids[None]).all(dim=-1)


def contrastive_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Symmetric cross entropy of logits (images, captions) with every equal caption a positive.

    Where a caption occurs k times, each of its pictures should give each copy 1/k. With no
    repeats this is the paper's loss; of random vectors it is ln B.
    """
    target = same.float() / same.sum(dim=1, keepdim=True)                   # (B, B) symmetric
    rows = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    columns = -(target * logits.log_softmax(dim=0)).sum(dim=0).mean()
    return (rows + columns) / 2


@torch.no_grad()
def zero_shot(clip: Clip, images: Tensor, ids: Tensor) -> Tensor:
    """For each picture (B, 3, H, W) the probability (B, C) of each of C captions, ids (C, T)."""
    logits = clip(images, ids).float()
    if not torch.isfinite(logits).all():
        raise ValueError("got logits with NaN or infinity, expected finite numbers; look at the "
                         "pictures and at the CLIP model")
    return logits.softmax(dim=1)


@torch.no_grad()
def recall_at(image_vectors: Tensor, text_vectors: Tensor, k: int = 1) -> float:
    """Share of captions whose own picture, the one in the same row, is among the k nearest.

    Vectors (N, E) of length one. Pictures that are equally near, up to rounding, stand in an order
    drawn by lot: what counts is how often the own one is then among the first k, on average.
    """
    shapes = tuple(image_vectors.shape), tuple(text_vectors.shape)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0] or k < 1:
        raise ValueError(f"got images {shapes[0]}, texts {shapes[1]} and k = {k}, expected both "
                         "(N, E), pair by pair, with N >= 1, and k >= 1")
    likeness = text_vectors @ image_vectors.mT                              # (captions, images)
    if not torch.isfinite(likeness).all():
        raise ValueError("got vectors with NaN or infinity, expected finite numbers; look at the "
                         "CLIP model")
    lead = likeness - likeness.diag()[:, None]
    # subtle: equal vectors have products that differ by the rounding of a sum
    better, tied = (lead > ROUNDING).sum(dim=1), (lead.abs() <= ROUNDING).sum(dim=1)
    return ((k - better) / tied).clamp(0, 1).mean().item()
