r"""Discrete VAE: a picture as a short sentence in an alphabet of K learnt codes, and back.

in -> out   images (B, 3, H, W) in [-1, 1] <-> codes (B, N) of 0..K-1, row by row; N = grid * grid
idea        An encoder says, for each place of a coarse grid, how well each code would fit; a
            decoder paints a picture from one code a place. Choosing has no gradient, so in
            training each place holds a soft mixture of codes: the softmax of noisy logits, at a
            temperature that falls until the mixture is nearly one code. Gumbel noise makes this
            an honest draw: its largest entry is code k with probability q_k.
            Beside it the vector quantiser: choose the nearest code, pretend that choosing were the
            identity when the gradient comes back, and pull code and vector towards each other.
equation    -ELBO = E_q[-ln p(x | z)] + beta KL(q(z | x) || uniform)
            Ours has beta = 0, and one half of the KL instead: KL(mean q || uniform), see imbalance
paper       Ramesh et al. 2021 (DALL-E), arXiv:2102.12092, section 2.1, appendices A.2 and A.3;
            Gumbel-softmax: Jang et al. 2017, arXiv:1611.01144; VQ-VAE: van den Oord et al. 2017,
            arXiv:1711.00937, section 3; the two halves of the KL: Hoffman & Johnson 2016
left out    the paper's bottlenecks, max-pooling and 8192 codes; the moving averages of VQ-VAE's A.1
"""
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.parallel import mean_of_all, processes


@dataclass(frozen=True)
class CodecConfig:
    size: int = 32             # H = W of the pictures
    grid: int = 8              # codes a side; with 4, a code has too many kinds of patch to tell
    codes: int = 64            # K: half as many read digits worse, twice as many no better
    width: int = 64            # D, of both networks and of a code's vector
    depth: int = 2             # residual blocks on each side, at the size of the grid
    steps: int = 1000          # of training: the schedules below are shares of it


@dataclass(frozen=True)
class DvaeConfig(CodecConfig):
    hot: float = 1.0           # temperature at the start
    cold: float = 0.1          # and at the end; the paper has 1/16, with far more steps
    sharp: float = 5.0         # logits are this much larger: near zero they drown in Gumbel noise
    kl: float = 0.0            # beta at its height; with 0.2, codes vary more, hard to predict
    balance: float = 1.5       # weight of the half of the KL that keeps all codes in use


@dataclass(frozen=True)
class VqConfig(CodecConfig):
    commitment: float = 0.25   # how hard a vector is pulled to its code; the paper's beta
    revive: int = 50           # steps between moves of unused codes; disuse shows after 45


# ---- likelihoods: what the decoder's channels mean ----

EPS = 0.1                      # of the pixel map: the logit of a pure black or white stays small


@dataclass(frozen=True)
class Likelihood:
    channels: int                               # that the decoder gives
    nll: Callable[[Tensor, Tensor], Tensor]     # (B, channels, H, W), images -> -ln p, (B, 3, H, W)
    picture: Callable[[Tensor], Tensor]         # (B, channels, H, W) -> images in [-1, 1]


def gaussian_nll(mean: Tensor, images: Tensor) -> Tensor:
    """-ln of a Gaussian with variance 1/2: the squared error and a constant."""
    return (images - mean).square() + 0.5 * math.log(math.pi)


def map_pixels(images: Tensor) -> Tensor:
    """[-1, 1] -> [EPS, 1 - EPS], appendix A.3."""
    return (1 - 2 * EPS) * (images + 1) / 2 + EPS


def unmap_pixels(x: Tensor) -> Tensor:
    """The inverse of map_pixels; what lies outside ends at -1 or 1."""
    return (2 * (x - EPS) / (1 - 2 * EPS) - 1).clamp(-1, 1)


def logit_laplace_nll(stats: Tensor, images: Tensor) -> Tensor:
    """Appendix A.3, equation 2: a Laplace on the logit of x, as a density of x in (0, 1).

    stats (B, 6, H, W): mu, then ln b. Unlike a Gaussian it gives nothing to impossible colours.
    """
    (mu, log_b), x = stats.chunk(2, dim=1), map_pixels(images)              # (B, 3, H, W)
    # f(x) = exp(-|logit(x) - mu| / b) / (2 b x (1 - x))
    return (x.logit() - mu).abs() / log_b.exp() + log_b + math.log(2) + (x * (1 - x)).log()


SQUARED_ERROR = Likelihood(3, gaussian_nll, lambda mean: mean.clamp(-1, 1))
LOGIT_LAPLACE = Likelihood(6, logit_laplace_nll,
                           lambda stats: unmap_pixels(stats.chunk(2, dim=1)[0].sigmoid()))


# ---- the two networks ----

def ready(width: int) -> list[nn.Module]:
    """What stands before a convolution. Without the norm training takes twice the steps."""
    return [nn.GroupNorm(8, width), nn.ReLU()]


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(*ready(width), nn.Conv2d(width, width, 3, padding=1),
                                 *ready(width), nn.Conv2d(width, width, 1))
        for p in self.net[-1].parameters():
            nn.init.zeros_(p)                  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)                                              # (B, D, g, g)


def widths(size: int, grid: int, width: int) -> list[int]:
    """Channels from a picture to the grid, one entry for each time the size is halved."""
    halvings = int(math.log2(size / grid)) if 0 < grid < size else 0
    if grid * 2 ** halvings != size or not halvings:
        raise ValueError(f"a grid of {grid} does not come from halving pictures of {size}; choose "
                         f"{size // 2}, {size // 4}, ...")
    if width % 16 or width < 16:
        raise ValueError(f"width is {width}; choose a multiple of 16")
    return [width // 2] * (halvings > 1) + [width] * max(1, halvings - 1)


def encoder(config: CodecConfig, channels: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, channels, g, g)"""
    c = widths(config.size, config.grid, config.width)
    halve = [[*ready(a), nn.Conv2d(a, b, 4, 2, 1)] for a, b in zip(c, c[1:])]
    return nn.Sequential(nn.Conv2d(3, c[0], 4, 2, 1), *sum(halve, []),
                         *(Residual(config.width) for _ in range(config.depth)),
                         *ready(config.width), nn.Conv2d(config.width, channels, 1))


def decoder(config: CodecConfig, channels: int) -> nn.Sequential:
    """(B, D, g, g) -> (B, channels, H, W)"""
    c = widths(config.size, config.grid, config.width)[::-1]
    double = [[*ready(a), nn.ConvTranspose2d(a, b, 4, 2, 1)] for a, b in zip(c, c[1:])]
    return nn.Sequential(*(Residual(config.width) for _ in range(config.depth)), *sum(double, []),
                         *ready(c[-1]), nn.ConvTranspose2d(c[-1], channels, 4, 2, 1))


class Codec(nn.Module):
    """What both have in common: the networks, the codebook, `decode`, and an eye on the codes."""

    cure: str                  # of a collapsed codebook: which settings to change
    whole_batch = "the codebook counts its codes over a whole batch, and its clock counts batches"

    def __init__(self, config: CodecConfig, channels: int, likelihood: Likelihood):
        super().__init__()
        self.config, self.likelihood = config, likelihood
        self.encoder = encoder(config, channels)
        self.book = nn.Parameter(torch.randn(config.codes, config.width))   # (K, D)
        self.decoder = decoder(config, likelihood.channels)
        self.to(memory_format=torch.channels_last)
        # subtle: the clock of the schedules is a buffer, so a run that was stopped goes on with it
        self.register_buffer("clock", torch.zeros((), dtype=torch.long))
        self.register_buffer("usage", torch.full((config.codes,), 1 / config.codes))
        self.warned = False

    def grid(self, images: Tensor) -> Tensor:
        """What the encoder says of each place: (B, 3, H, W) -> (B, N, channels)."""
        H = self.config.size
        if images.shape[1:] != (3, H, H):
            raise ValueError(f"images have shape {tuple(images.shape)}; pass (B, 3, {H}, {H})")
        return self.encoder(images).flatten(2).mT.float()                   # (B, N, channels)

    def paint(self, vectors: Tensor) -> Tensor:
        """Vectors (B, N, D) -> the decoder's channels (B, channels, H, W)."""
        side = self.config.grid
        return self.decoder(vectors.mT.unflatten(2, (side, side))).float()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, N) -> images (B, 3, H, W) in [-1, 1]."""
        N = self.config.grid ** 2
        if codes.shape[1:] != (N,):
            raise ValueError(f"codes have shape {tuple(codes.shape)}; pass (B, {N})")
        return self.likelihood.picture(self.paint(self.book[codes]))

    @torch.no_grad()
    def count(self, codes: Tensor) -> None:
        """Let the clock tick and keep a moving average of how often each code is chosen."""
        self.clock += 1
        share = codes.flatten().bincount(minlength=self.config.codes) / codes.numel()
        self.usage.lerp_(mean_of_all(share), 0.05)

    def watch(self) -> dict[str, float]:
        """For the log: codes in use (at least a tenth of a fair share), and the perplexity: as
        many codes, used evenly, would be as much of a choice."""
        K = self.config.codes
        # subtle: even use may round to a hair above K
        perplexity = min(float(K), torch.special.entr(self.usage).sum().exp().item())
        # healthy ones have a third and more of K by then, collapsed ones an eighth and less; and
        # subtle: the limit is at least 1, or a small K never falls below it
        collapsed = perplexity < (K + 4) / 5
        if collapsed and self.clock > self.config.steps / 4 and not self.warned:
            self.warned = True
            warnings.warn(f"the codebook has collapsed: pictures are written with about "
                          f"{perplexity:.1f} of {K} codes; {self.cure}, or lower the learning rate",
                          stacklevel=2)
        return {"codes": int((self.usage > 0.1 / K).sum()), "perplexity": perplexity}


# ---- the discrete VAE ----

def gumbel_softmax(logits: Tensor, tau: float, generator: Generator | None = None) -> Tensor:
    """A soft draw from softmax(logits): (..., K) -> (..., K), nearly one-hot where it is cold."""
    noise = -torch.empty_like(logits).exponential_(generator=generator).log()   # Gumbel(0, 1)
    return ((logits + noise) / tau).softmax(dim=-1)


def straight_through(logits: Tensor, tau: float, generator: Generator | None = None) -> Tensor:
    """The same draw made hard, one-hot, with the gradient of the soft one."""
    soft = gumbel_softmax(logits, tau, generator)
    hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def kl_to_uniform(log_q: Tensor) -> Tensor:
    """KL(q || uniform) in nats, summed over the places of each picture: (B, N, K) -> (B,)."""
    return (log_q.exp() * log_q).sum(dim=(1, 2)) + log_q.shape[1] * math.log(log_q.shape[2])


def imbalance(log_q: Tensor) -> Tensor:
    """KL(mean q || uniform) in nats: 0 when all codes are used equally often, whatever the place.

    The mean KL to the uniform is this plus the information in a code: how far q at a place is from
    the mean q. That is what codes say about the picture, and also about where they stand: a code
    that is used along the left edge alone tells the place. So this half may be asked for without
    asking the encoder to forget.
    """
    mean = mean_of_all(log_q.exp().mean(dim=(0, 1)))                        # (K,)
    return math.log(len(mean)) - torch.special.entr(mean).sum()


def temperature(step: int, config: DvaeConfig) -> float:
    """Falls by the same factor each step for four fifths of the training, then stays cold."""
    share = min(1.0, step / (0.8 * config.steps))
    return config.hot * (config.cold / config.hot) ** share


def kl_weight(step: int, config: DvaeConfig) -> float:
    """Rises as half a cosine over the first fifth: codes first learn to say something (A.2)."""
    share = min(1.0, step / (0.2 * config.steps))
    return config.kl * 0.5 * (1 - math.cos(math.pi * share))


class Dvae(Codec):
    """`relax` draws codes for training: gumbel_softmax or straight_through."""

    cure = "raise balance or sharp, lower kl"

    def __init__(self, config: DvaeConfig, relax: Callable = gumbel_softmax,
                 likelihood: Likelihood = SQUARED_ERROR):
        super().__init__(config, config.codes, likelihood)
        self.relax = relax

    def logits(self, images: Tensor) -> Tensor:
        """How well each code would fit each place: (B, 3, H, W) -> (B, N, K)."""
        return self.config.sharp * self.grid(images)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) -> the likeliest code of each place (B, N)."""
        return self.logits(images).argmax(dim=-1)

    def forward(self, images: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) -> the decoder's channels for a soft draw of codes, and ln q."""
        log_q = self.logits(images).log_softmax(dim=-1)                     # (B, N, K)
        tau = temperature(int(self.clock), self.config)
        mixture = self.relax(log_q, tau, generator)                         # (B, N, K)
        return self.paint(mixture @ self.book), log_q                       # (B, C, H, W)

    def loss(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """-ELBO and the balance, in nats for each colour value of a picture (B, 3, H, W)."""
        stats, log_q = self(images, generator)
        nll = self.likelihood.nll(stats, images).sum(dim=(1, 2, 3))         # (B,)
        kl = kl_to_uniform(log_q)                                           # (B,)
        even = self.config.balance * log_q.shape[1] * imbalance(log_q)      # scalar
        beta = kl_weight(int(self.clock), self.config)
        if self.training:
            self.count(log_q.argmax(dim=-1))
        return (nll + beta * kl + even).mean() / images[0].numel()


# ---- the vector quantiser ----

def nearest(z: Tensor, book: Tensor) -> Tensor:
    """For each z (..., D) the number of the nearest vector in book (K, D) -> (...)."""
    return torch.cdist(z, book).argmin(dim=-1)     # subtle: in float32 also where bf16 is on


class VqVae(Codec):
    cure = "move unused codes more often (a smaller revive)"

    def __init__(self, config: VqConfig, likelihood: Likelihood = SQUARED_ERROR):
        super().__init__(config, config.width, likelihood)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) -> the nearest code of each place (B, N)."""
        return nearest(self.grid(images), self.book)

    def forward(self, images: Tensor, generator: Generator | None = None) -> tuple[Tensor, ...]:
        """images -> the decoder's channels (B, C, H, W), z (B, N, D), its codes (B, N)."""
        z = self.grid(images)                                               # (B, N, D)
        if self.training:
            self.revive(z, generator)
        codes = nearest(z, self.book)                                       # (B, N)
        # forward the code's vector, backward the identity: the gradient skips the choice
        straight = z + (self.book[codes] - z).detach()                      # (B, N, D)
        return self.paint(straight), z, codes

    def loss(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Equation 3: likelihood, codes drawn to vectors, vectors to codes; for each number."""
        stats, z, codes = self(images, generator)
        if self.training:
            self.count(codes)
        e = self.book[codes]                                                # (B, N, D)
        pull = F.mse_loss(e, z.detach()) + self.config.commitment * F.mse_loss(z, e.detach())
        return self.likelihood.nll(stats, images).mean() + pull

    @torch.no_grad()
    def revive(self, z: Tensor, generator: Generator | None = None) -> None:
        """Unused codes move onto vectors of this batch: at the start all, later those that get
        less than a tenth of a fair share; in the last two fifths of the training none. Each gets a
        fair share to begin with, at the cost of all, so that the shares still sum to 1."""
        step, K = int(self.clock), self.config.codes
        if processes() > 1:    # each would move the codes onto its own rows
            raise ValueError("the vector quantiser is not split among processes; leave torchrun "
                             "out, or take the discrete VAE")
        if step % self.config.revive or step > 0.6 * self.config.steps:
            return
        dead = self.usage < 0.1 / K if step else torch.ones_like(self.usage, dtype=torch.bool)
        z = z.flatten(0, 1)                                                 # (B N, D)
        pick = torch.randint(len(z), (int(dead.sum()),), generator=generator, device=z.device)
        self.book[dead], self.usage[dead] = z[pick], 1 / K
        self.usage /= self.usage.sum()
