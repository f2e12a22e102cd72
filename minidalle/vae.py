r"""VAE: a picture as a small cloud of latents, and back; every place in the cloud is a picture.

in -> out   images (B, 3, H, W) in [-1, 1] <-> latent z (B, C, h, w), real numbers; h = w = grid
idea        The encoder answers with a cloud and not with a point: a Gaussian for each entry of the
            latent. The decoder paints from one draw of it. The KL pulls all clouds towards one
            common Gaussian, the prior, so that they overlap and leave no holes: then a draw of the
            prior is a picture too. The draw is written as mean + standard deviation * noise, so
            the gradient passes through it to both.
            Two uses: with few numbers and beta about 1 it generates; with many and a tiny beta it
            only makes pictures smaller, and latent.py draws the latents.
equation    -ELBO = E_q[-ln p(x | z)] + beta KL(q(z | x) || N(0, 1)),  ln p(x) >= ELBO at beta = 1
            KL = 1/2 sum(mean^2 + variance - 1 - ln variance)
paper       Kingma & Welling 2013, arXiv:1312.6114, sections 2.2 to 2.4 and 3, appendix B; beta:
            Higgins et al. 2017; the scale: Rombach et al. 2022, arXiv:2112.10752, appendix G
left out    what makes large ones sharp: perceptual and adversarial losses, attention; a learnt
            sigma (Rybkin et al. 2020, arXiv:2006.13202); covariances within the cloud
"""
import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from minidalle.dvae import decoder, encoder, widths
from minidalle.parallel import gathered


@dataclass(frozen=True)
class VaeConfig:
    size: int = 32             # H = W of the pictures
    grid: int = 8              # h = w of the latent; 1 to generate: a vector, and no two places
                               # that would have to agree
    channels: int = 4          # C; grid * grid * C numbers for a picture
    width: int = 64            # D, of both networks
    depth: int = 2             # residual blocks on each side, at the size of the grid
    beta: float = 0.01         # of the KL; about 1 to generate, as small to compress
    sigma: float = 0.1         # of the decoder's Gaussian, where colours span 2: what may be off


# ---- a cloud: mean and log-variance of a Gaussian in each entry ----

def reparameterise(mean: Tensor, log_variance: Tensor,
                   generator: Generator | None = None) -> Tensor:
    """A draw of the cloud, of the same shape; gradients pass through it to both (section 2.4)."""
    check_cloud(mean, log_variance)
    eps = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    # z = mu + sigma eps; half of ln sigma^2 is ln sigma
    return mean + (log_variance / 2).exp() * eps


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q || N(0, 1)) in nats, summed over the latent of each picture: (B, ...) -> (B,)."""
    check_cloud(mean, log_variance)
    # subtle: variance - 1 by expm1, or near 1 nothing would be left of it in float32
    each = mean.square() + log_variance.expm1() - log_variance
    return each.flatten(1).sum(dim=1) / 2


def check_cloud(mean: Tensor, log_variance: Tensor) -> None:
    if mean.shape != log_variance.shape:
        raise ValueError(f"got mean {tuple(mean.shape)} and log_variance "
                         f"{tuple(log_variance.shape)}; pass two tensors of one shape")


def gaussian_nll(mean: Tensor, images: Tensor, sigma: float) -> Tensor:
    """-ln of a Gaussian: the squared error in units of sigma, and a constant. As images."""
    return ((images - mean) / sigma).square() / 2 + math.log(sigma * math.sqrt(2 * math.pi))


def bits_per_dimension(elbo: Tensor, dimensions: int) -> Tensor:
    """Nats for a picture of so many colour values -> bits for each, of 256 levels from -1 to 1.

    Colours that are drawn evenly take 8 at the least, whatever the model.
    """
    # a level is 2/255 wide, so its probability is about the density times that
    return -elbo / (dimensions * math.log(2)) + math.log2(255 / 2)


def check_config(config: VaeConfig) -> None:
    widths(config.size, config.grid, config.width)         # it says what is wrong with the sizes
    for name, right, wanted in (("channels", config.channels >= 1, "a whole number from 1 on"),
                                ("beta", config.beta >= 0, "a number from 0 on"),
                                ("sigma", config.sigma > 0, "a number above 0")):
        if not right:
            raise ValueError(f"{name} is {getattr(config, name)}; choose {wanted}")


class Vae(nn.Module):
    """`scale` is 1 / standard deviation of the means over the training pictures. The training keeps
    it itself, as batch norm does: a moving average, in the checkpoint; `fit_scale` measures it."""

    whole_batch = "the VAE measures its scale over a whole batch"

    def __init__(self, config: VaeConfig):
        super().__init__()
        check_config(config)
        self.config = config
        C, D = config.channels, config.width
        # subtle: the networks stop at 4 x 4: of a single place their norms would leave but signs
        inner = replace(config, grid=max(config.grid, 4))
        k = inner.grid // config.grid
        self.encoder = encoder(inner, 2 * C if k == 1 else D)
        self.decoder = nn.Sequential(nn.Conv2d(C, D, 1), *decoder(inner, channels=3))
        if k > 1:              # k x k places become one entry of the latent, and back
            self.encoder.append(nn.Conv2d(D, 2 * C, k, stride=k))
            self.decoder[0] = nn.ConvTranspose2d(C, D, k, stride=k)
        self.to(memory_format=torch.channels_last)
        self.register_buffer("scale", torch.ones(()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the latent of one picture: (C, h, w)."""
        return self.config.channels, self.config.grid, self.config.grid

    # ---- training: in the latent as it is ----

    def cloud(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) -> mean and log-variance, each (B, C, h, w)."""
        H = self.config.size
        if images.shape[1:] != (3, H, H):
            raise ValueError(f"images have shape {tuple(images.shape)}; pass (B, 3, {H}, {H})")
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)           # its exp stays a finite number

    def forward(self, images: Tensor, generator: Generator | None = None) -> tuple[Tensor, ...]:
        """images -> the decoder's mean (B, 3, H, W), mean and log-variance (B, C, h, w)."""
        mean, log_variance = self.cloud(images)
        z = reparameterise(mean, log_variance, generator)                   # (B, C, h, w)
        return self.decoder(z).float(), mean, log_variance

    def terms(self, images: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """-ln p(x | z) at one draw, and the KL: each (B,), in nats per picture."""
        painted, mean, log_variance = self(images, generator)
        if self.training:
            self.scale.lerp_(spread(gathered(mean.detach())), 0.05)
        nll = gaussian_nll(painted, images, self.config.sigma)              # (B, 3, H, W)
        return nll.sum(dim=(1, 2, 3)), kl(mean, log_variance)

    def loss(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """-ELBO with the weight beta, in nats for each colour value of a picture."""
        nll, nats = self.terms(images, generator)
        return (nll + self.config.beta * nats).mean() / images[0].numel()

    @torch.no_grad()
    def elbo(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """At most ln p(x), on average over draws: (B,), in nats per picture, beta = 1 as it is in
        the bound. bits_per_dimension makes bits of it."""
        nll, nats = self.terms(images, generator)
        return -nll - nats

    # ---- use: in the latent with entries of variance one ----

    @torch.no_grad()
    def fit_scale(self, images: Tensor) -> "Vae":
        """Measure the scale on these pictures."""
        self.scale.copy_(spread(self.cloud(images)[0]))
        return self

    @torch.no_grad()
    def encode(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """images (B, 3, H, W) -> scaled z (B, C, h, w): the middle of the cloud, or a draw of it
        where there is a generator."""
        mean, log_variance = self.cloud(images)
        z = mean if generator is None else reparameterise(mean, log_variance, generator)
        return self.scale * z

    def decode(self, z: Tensor) -> Tensor:
        """Scaled latents z (B, C, h, w) -> images (B, 3, H, W) in [-1, 1]."""
        if z.shape[1:] != self.shape:
            raise ValueError(f"latents have shape {tuple(z.shape)}; pass (B, "
                             f"{', '.join(map(str, self.shape))})")
        return self.decoder(z / self.scale).float().clamp(-1, 1)

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draws of the prior, decoded: images (n, 3, H, W) in [-1, 1]."""
        z = torch.randn(n, *self.shape, generator=generator, device=self.scale.device)
        return self.decode(self.scale * z)                 # the prior is one of unscaled latents


def spread(mean: Tensor) -> Tensor:
    """1 / standard deviation of all entries together, as in the paper; 1000 at most, where the
    encoder says the same of each picture."""
    return 1 / mean.detach().std().clamp(min=1e-3)
