r"""GAN: noise and a caption -> a picture in one pass, learnt in a game of two.

in -> out   noise z (B, Z), text vectors (B, E) -> images (B, 3, H, W) in [-1, 1]
idea        Nobody says what a good picture is: a second network, the critic, learns it. It scores
            pictures with their captions, the real ones up and the painted ones down; the painter
            goes where the score rises. A real picture with the caption of another is scored down as
            well, or the painter could win with fine pictures of anything; taken is the one that
            fits best, as most others are betrayed by their colours. Each loss is a function of the
            scores of real and of painted pictures, and says what either player minimises. The
            penalties keep the critic from becoming a cliff, at which the game never settles. One
            fine picture for a caption, whatever the noise, would win too; so the painter is
            rewarded for two that differ.
equation    min_G max_D  E ln D(x, y) + E ln(1 - D(G(z, y), y)),  D = sigmoid(score)
            score(x, y) = w . phi(x) + (V y) . phi(x)
paper       Goodfellow et al. 2014, arXiv:1406.2661, sections 3 and 4; captions: Reed et al. 2016,
            arXiv:1605.05396, sections 4.1 and 4.2; the score: Miyato & Koyama 2018,
            arXiv:1802.05637, section 3; relativistic with R1 and R2: Huang et al. 2025,
            arXiv:2501.05441; two that differ, as in mode seeking: Mao et al. 2019,
            arXiv:1903.05628; truncation: BigGAN, arXiv:1809.11096, section 3.1
left out    spectral norm, self-attention, progressive growing, a style network
"""
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.clip import Clip
from minidalle.tokenizer import Tokenizer
from minidalle.train import (
    FitConfig,
    Run,
    autocast,
    descend,
    rand,
    randn,
    seeded,
    update_average,
)

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
    """In pairs: the real one shall score above the painted one (arXiv:1807.00734)."""
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
    share = rand(len(real), real.device, generator).view(-1, *[1] * (real.dim() - 1))
    between = torch.lerp(fake, real, share)                                 # as real
    return (slopes(critic, between, *more).flatten(1).norm(dim=1) - 1).square().mean()


# ---- the two networks -----------------------------------------------------------------------

@dataclass(frozen=True)
class GanConfig:
    embed: int                 # E of the text vectors
    size: int = 32             # H = W of the pictures; an eighth of it is where both networks turn
    noise: int = 64            # Z
    width: int = 64            # channels at a quarter of the size, of both networks
    gamma: float = 0.3         # of R1 and R2: half of it is their weight
    lazy: int = 8              # steps from one penalty to the next, which then counts as many times
    apart: float = 0.4         # reward for two pictures of one caption that differ; 0: all alike


def check_config(config: GanConfig) -> None:
    for name, right, wanted in (("size", config.size >= 8 and config.size % 8 == 0,
                                 "a multiple of 8, which is halved three times"),
                                ("width", config.width >= 32 and config.width % 32 == 0,
                                 "a multiple of 32, so that every norm has 8 groups"),
                                ("noise", config.noise >= 1, "a whole number from 1 on"),
                                ("gamma", config.gamma >= 0, "a number from 0 on"),
                                ("lazy", config.lazy >= 1, "a whole number from 1 on"),
                                ("apart", config.apart >= 0, "a number from 0 on")):
        if not right:
            raise ValueError(f"{name} is {getattr(config, name)}; choose {wanted}")


class Grow(nn.Module):
    """Twice the side. The signal scales and shifts each channel, as the condition in unet.py."""

    def __init__(self, c_in: int, c_out: int, signal: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, c_in, affine=False)
        self.tune = nn.Linear(signal, 2 * c_in)
        self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        scale, shift = self.tune(signal)[..., None, None].chunk(2, dim=1)   # (B, C, 1, 1)
        return self.conv(F.relu((1 + scale) * self.norm(x) + shift))        # (B, C', 2H, 2W)


class Painter(nn.Module):
    """Noise (B, Z), text vectors (B, E) -> images (B, 3, H, W): the generator of the paper."""

    def __init__(self, embed: int, noise: int, size: int, width: int):
        super().__init__()
        self.side, signal = size // 8, 2 * width
        self.hear = nn.Sequential(nn.Linear(noise + embed, signal), nn.ReLU(),
                                  nn.Linear(signal, signal), nn.ReLU())
        self.start = nn.Linear(signal, 2 * width * self.side ** 2)
        c = [2 * width, width, width // 2, width // 4]
        self.grow = nn.ModuleList(Grow(a, b, signal) for a, b in pairwise(c))
        # subtle: no norm here, or it would take away how bright the paper is
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(c[-1], 3, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, text: Tensor) -> Tensor:
        text = text * text.shape[1] ** 0.5                 # entries of variance one, as those of z
        signal = self.hear(torch.cat([z, text], dim=1))                     # (B, S)
        x = self.start(signal).unflatten(1, (-1, self.side, self.side))     # (B, 2D, H/8, W/8)
        for grow in self.grow:
            x = grow(x, signal)                                             # (B, D/4, H, W) at last
        return self.leave(x).float().tanh()                                 # (B, 3, H, W)


class Critic(nn.Module):
    """Images (B, 3, H, W), text vectors (B, E) -> scores (B,): the discriminator of the paper.

    No norm: one over the batch would make each score depend on the other pictures."""

    def __init__(self, embed: int, size: int, width: int):
        super().__init__()
        self.size, c = size, (3, width // 2, width, 2 * width)
        self.look = nn.Sequential(*(layer for i in range(3) for layer in (
            nn.Conv2d(c[i], c[i + 1], 4, stride=2, padding=1), nn.LeakyReLU(0.2))), nn.Flatten(),
            nn.Linear(c[3] * (size // 8) ** 2, c[3]), nn.LeakyReLU(0.2))
        self.real = nn.Linear(c[3], 1)
        self.fits = nn.Linear(embed, c[3], bias=False)
        for layer in self.look:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):  # or the scores start all the same
                nn.init.kaiming_normal_(layer.weight, a=0.2)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        if images.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"images have shape {tuple(images.shape)}; pass (B, 3, {self.size}, "
                             f"{self.size})")
        return self.score(self.look(images), text)                          # (B,)

    def score(self, seen: Tensor, text: Tensor) -> Tensor:
        """How real it is, and how well it fits the text: (..., F), (..., E) -> (...)."""
        # w . phi(x) + (V y) . phi(x)
        match = self.fits(text * text.shape[-1] ** 0.5)                     # (..., F)
        fit = (match * seen).sum(dim=-1) / seen.shape[-1] ** 0.5
        return (self.real(seen)[..., 0] + fit).float()


class Gan(nn.Module):
    """The painter and its critic; `loss` is one of the functions above."""

    def __init__(self, config: GanConfig, loss: Callable = relativistic):
        super().__init__()
        check_config(config)
        self.config, self.loss = config, loss
        self.painter = Painter(config.embed, config.noise, config.size, config.width)
        self.critic = Critic(config.embed, config.size, config.width)
        # subtle: a buffer, so a run that was stopped goes on with it
        self.register_buffer("clock", torch.zeros((), dtype=torch.long))
        self.seen = {"critic": 0.0, "slope": 0.0}

    def noise(self, n: int, generator: Generator | list[Generator] | None = None,
              truncation: float | None = None) -> Tensor:
        """z (n, Z), normal; with a truncation no entry lies further from 0 than it."""
        z = randn((n, self.config.noise), self.clock.device, generator)
        return z if truncation is None else truncate(z, truncation)

    def forward(self, text: Tensor, generator: Generator | None = None) -> Tensor:
        """Text vectors (B, E) -> painted pictures (B, 3, H, W)."""
        return self.painter(self.noise(len(text), generator), text)

    def critic_loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None
                    ) -> Tensor:
        """batch = images (B, 3, H, W), their text vectors (B, E)."""
        images, text = batch
        if len(text) < 2:
            raise ValueError("a batch of 1 picture has no caption of another; take at least 2")
        with torch.no_grad():
            painted = self(text, generator)                                 # (B, 3, H, W)
        seen, drawn = self.critic.look(torch.cat([images, painted])).chunk(2)   # (B, F) each
        pairs = self.critic.score(seen[:, None], text)                      # (B, B) each with each
        right, fake = pairs.diagonal(), self.critic.score(drawn, text)      # (B,)
        same = torch.eye(len(text), dtype=torch.bool, device=text.device)
        # of the other captions the one that fits best: most are wrong in their colours already.
        # subtle: one row in ten has a twin, which says the same in other words. Left out, pictures
        # of unseen combinations were right less often (0.978 for 0.991), and all were more alike
        wrong = pairs.masked_fill(same, -torch.inf).amax(dim=1)             # (B,)
        loss = (self.loss(right, fake)[0] + self.loss(right, wrong)[0]) / 2
        self.seen["critic"] = loss.detach()
        if self.clock % self.config.lazy == 0:
            slope = r1(self.critic, images, text) + r1(self.critic, painted, text)
            self.seen["slope"] = slope.detach()
            loss = loss + self.config.lazy * self.config.gamma / 2 * slope
        self.clock += self.training
        return loss

    def painter_loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None
                     ) -> Tensor:
        """The same batch: the real pictures are what painted ones are compared with. Each caption
        is painted twice, and it is rewarded that the two differ, or the noise is not heard."""
        images, text = batch
        with torch.no_grad():
            real = self.critic(images, text)                                # (B,)
        twice = text.repeat(2, 1)                                           # (2B, E)
        painted = self(twice, generator)                                    # (2B, 3, H, W)
        loss = self.loss(real.repeat(2), self.critic(painted, twice))[1]
        one, other = painted.chunk(2)                                       # (B, 3, H, W) each
        apart = (one - other).abs().flatten(1).mean(dim=1)                  # (B,)
        # subtle: the logarithm, so that it counts for much while they are alike, and later for
        # little: what is real is for the critic to say
        return loss - self.config.apart * (apart + 0.01).log().mean()

    def watch(self) -> dict[str, float]:
        """For the log: the critic's loss without penalties, and those of the last step with them.
        """
        return {name: float(value) for name, value in self.seen.items()}

    @torch.no_grad()
    def sample(self, text_vectors: Tensor, generator: Generator | list[Generator] | None = None,
               truncation: float | None = None) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] for text vectors (B, E)."""
        return self.painter(self.noise(len(text_vectors), generator, truncation), text_vectors)


def truncate(z: Tensor, most: float) -> Tensor:
    """Normal noise as if whatever lies further from 0 than `most` had been drawn again."""
    if not most > 0:
        raise ValueError(f"truncation is {most}; pass a number above 0, of which 2 leaves out the "
                         "rarest twentieth, or None")
    # each entry keeps its rank: F(z), pressed into the middle that is left, and back by 1 / F;
    # F(z) = (1 + erf(z / sqrt 2)) / 2; subtle: in float64, because erf is soon 1 in float32
    root = math.sqrt(2)
    inner = torch.erf(z.cpu().double() / root) * math.erf(most / root)
    return (root * torch.erfinv(inner)).clamp(-most, most).to(z)


# ---- the game -------------------------------------------------------------------------------

def play(gan: Gan, make_batch: Callable[[int, Generator], tuple[Tensor, Tensor]],
         config: FitConfig, seed: int = 0, path: Path | None = None,
         settings: dict | None = None) -> Gan:
    """Train both players where they lie, and stop, go on and save as `fit` does; returned with
    averaged weights. make_batch(n, generator) -> images (n, 3, H, W), their text vectors (n, E)."""
    generator, steppers = seeded(seed, gan.clock.device), adams(gan, config)
    run = Run(gan, steppers, generator, settings)
    for lr in run.rates(config, path):
        batch = make_batch(config.batch, generator)
        run.loss = take_turns(gan, steppers, batch, generator, lr, config.clip)
        update_average(run.average, gan, run.step, config.decay)
    return gan.requires_grad_(True)


def take_turns(gan: Gan, steppers: list, batch: tuple[Tensor, Tensor], generator: Generator,
               lr: float, clip: float) -> Tensor:
    """One step of the critic, then one of the painter -> the painter's loss."""
    turns = ((gan.critic, gan.critic_loss), (gan.painter, gan.painter_loss))
    for (player, loss_of), stepper in zip(turns, steppers, strict=True):
        gan.requires_grad_(False)              # the other one holds still
        player.requires_grad_(True)
        with autocast(gan.clock.device):
            loss = loss_of(batch, generator)
        descend(loss, player, [stepper], lr, clip)
    return loss


def adams(gan: Gan, config: FitConfig) -> list[torch.optim.Optimizer]:
    """One for each player. Without momentum: the direction of before was against another player."""
    return [torch.optim.AdamW(player.parameters(), config.lr, (0.0, 0.99),
                              weight_decay=config.weight_decay)
            for player in (gan.critic, gan.painter)]


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
    """captions -> images (B, 3, H, W) in [-1, 1]. With a list of generators, one a caption, no
    picture depends on the others."""
    ids = road.tokenizer.batch(captions).to(road.gan.clock.device)          # (B, T)
    if not captions:
        return torch.zeros(0, 3, *2 * [road.gan.config.size], device=ids.device)
    text = road.clip.encode_text(ids)                                       # (B, E)
    return road.gan.sample(text, generator, truncation)                     # (B, 3, H, W)
