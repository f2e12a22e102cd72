r"""GAN: noise and a caption -> a picture in one pass, learnt in a game of two.

in -> out   noise z (B, Z), text vectors (B, E) -> images (B, 3, H, W) in [-1, 1]
idea        Nobody says what a good picture is: a second network, the critic, learns it. It scores
            pictures with their captions, the real ones up and the painted ones down; the painter
            goes where the score rises. A real picture with the caption of another is scored down as
            well, or the painter could win with fine pictures of anything. Each loss is a function
            of the scores of real and of painted pictures, and says what either player minimises.
            The penalties keep the critic from becoming a cliff, at which the game never settles.
equation    min_G max_D  E ln D(x, y) + E ln(1 - D(G(z, y), y)),  D = sigmoid(score)
            score(x, y) = w . phi(x) + (V y) . phi(x)
paper       Goodfellow et al. 2014, arXiv:1406.2661, sections 3 and 4; captions: Reed et al. 2016,
            arXiv:1605.05396, sections 4.1 and 4.2; the score: Miyato & Koyama 2018,
            arXiv:1802.05637, section 3; relativistic with R1 and R2: Huang et al. 2025,
            arXiv:2501.05441; truncation: BigGAN, arXiv:1809.11096, section 3.1
left out    spectral norm, self-attention, progressive growing, a style network
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.clip import Clip
from minidalle.tokenizer import Tokenizer
from minidalle.train import FitConfig

# ---- losses: scores of real and of painted pictures, each (B,) -> what critic and painter minimise


def minimax(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 1: one value, up for the critic and down for the painter. It saturates: where the
    critic is sure, the painter's gradient is nearly 0."""
    check_scores(real, fake)
    # ln D(x) and ln(1 - D(G(z))); subtle: as logarithms of a sigmoid, or both become -infinity
    painted = F.logsigmoid(-fake).mean()
    return -F.logsigmoid(real).mean() - painted, painted


def non_saturating(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The same critic; the painter goes up ln D(G(z)) in place of down ln(1 - D(G(z)))."""
    check_scores(real, fake)
    return F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


def hinge(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores above 1 and below -1 are good enough (Lim & Ye 2017, arXiv:1705.02894)."""
    check_scores(real, fake)
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()


def wasserstein(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """How far apart the scores are (arXiv:1701.07875); the critic must not be steeper than 1."""
    check_scores(real, fake)
    return fake.mean() - real.mean(), -fake.mean()


def relativistic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """In pairs: the real one shall score above the painted one (R3GAN, equation 2)."""
    check_scores(real, fake)
    return F.softplus(fake - real).mean(), F.softplus(real - fake).mean()


def check_scores(real: Tensor, fake: Tensor) -> None:
    # subtle: (B, 1) beside (B,) would silently become (B, B)
    if real.shape != fake.shape or real.dim() != 1:
        raise ValueError(f"scores of shapes {tuple(real.shape)} and {tuple(fake.shape)} came; pass "
                         "two tensors (B,), one number for each picture")


# ---- penalties: how steep is the critic? ----

def slopes(critic: Callable[..., Tensor], images: Tensor, *more: Tensor) -> Tensor:
    """The gradient of the score of each picture (B, ...) by that picture: as images."""
    images = images.detach().requires_grad_()
    # subtle: the gradient of the sum, because no score depends on another's picture
    gradient, = torch.autograd.grad(critic(images, *more).sum(), images, create_graph=True)
    return gradient


def r1(critic: Callable[..., Tensor], images: Tensor, *more: Tensor) -> Tensor:
    """Mean over the pictures (B, ...) of |gradient|^2, at real ones; R2 is the same at painted
    ones. Its weight gamma / 2 stands outside (arXiv:1801.04406, section 4.1)."""
    return slopes(critic, images, *more).flatten(1).square().sum(dim=1).mean()


def gradient_penalty(critic: Callable[..., Tensor], real: Tensor, fake: Tensor,
                     generator: Generator | None = None, *more: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 at places between a real and a painted picture, drawn for each
    pair; its weight, 10 in the paper, stands outside (WGAN-GP, arXiv:1704.00028, equation 3)."""
    share = torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator, device=real.device)
    between = torch.lerp(fake, real, share)                                 # as real
    return (slopes(critic, between, *more).flatten(1).norm(dim=1) - 1).square().mean()


# ---- the two networks -----------------------------------------------------------------------

@dataclass(frozen=True)
class GanConfig:
    embed: int                 # E of the text vectors
    size: int = 32             # H = W of the pictures
    noise: int = 32            # Z
    width: int = 64            # channels at a quarter of the size, of both networks


class Gan(nn.Module):
    """`loss` is one of the functions above."""

    def __init__(self, config: GanConfig, loss: Callable = relativistic):
        super().__init__()
        self.config, self.loss = config, loss

    def sample(self, text_vectors: Tensor, generator: Generator | list[Generator] | None = None,
               truncation: float | None = None) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] for text vectors (B, E)."""
        raise NotImplementedError


def play(gan: Gan, make_batch: Callable[[int, Generator], tuple[Tensor, Tensor]],
         config: FitConfig, seed: int = 0, path: Path | None = None,
         settings: dict | None = None) -> Gan:
    """Train both where they lie, as `fit` trains one, and return them with averaged weights.
    make_batch(n, generator) -> images (n, 3, H, W), their text vectors (n, E)."""
    raise NotImplementedError


# ---- the road -------------------------------------------------------------------------------

@dataclass(frozen=True)
class GanRoad:
    """Tokenizer, CLIP for its text vectors, and the painter with its critic."""
    tokenizer: Tokenizer
    clip: Clip
    gan: Gan


@torch.no_grad()
def caption_to_picture(road: GanRoad, captions: list[str],
                       generator: Generator | list[Generator] | None = None,
                       truncation: float | None = None) -> Tensor:
    """captions -> images (B, 3, H, W) in [-1, 1]."""
    ids = road.tokenizer.batch(captions)
    return road.gan.sample(road.clip.encode_text(ids), generator, truncation)
