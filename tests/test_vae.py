"""vae.py against torch.distributions, a linear Gaussian model whose evidence is known, and by hand.
"""
import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from minidalle import train
from minidalle.vae import (
    Vae,
    VaeConfig,
    bits_per_dimension,
    gaussian_nll,
    kl,
    reparameterise,
)

close = torch.testing.assert_close
TINY = VaeConfig(size=8, grid=4, channels=3, width=16, depth=1, beta=0.7, sigma=0.5)
SMALL = replace(TINY, grid=1, channels=8)              # one vector for a picture
BOTH = pytest.mark.parametrize("config", [TINY, SMALL], ids=["grid", "vector"])


def rng(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new(config=TINY, **changes) -> Vae:
    torch.manual_seed(0)
    return Vae(replace(config, **changes))


def pictures(B=3, size=8, seed=1):
    return torch.rand(B, 3, size, size, generator=rng(seed)) * 2 - 1


def clouds(*shape, seed=0):
    mean, log_variance = torch.randn(2, *shape, generator=rng(seed), dtype=torch.float64)
    return mean, 3 * log_variance


# ---- the KL

@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 7), (1, 2, 1, 1)])
def test_kl_equals_torch_distributions_per_picture(shape):
    mean, log_variance = clouds(*shape)
    q, prior = Normal(mean, log_variance.exp().sqrt()), Normal(torch.zeros_like(mean), 1.0)
    close(kl(mean, log_variance), kl_divergence(q, prior).flatten(1).sum(dim=1))


def test_kl_of_a_picture_does_not_change_with_the_batch_around_it():
    mean, log_variance = clouds(6, 3, 4, 4)
    one_by_one = torch.cat([kl(mean[i:i + 1], log_variance[i:i + 1]) for i in range(6)])
    close(kl(mean, log_variance), one_by_one)


def test_kl_by_hand():
    """Mean 2, variance 1: 2^2 / 2. Mean 0, variance e: (e - 1 - 1) / 2. The prior itself: 0."""
    mean, log_variance = torch.tensor([[2.0], [0.0], [0.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    close(kl(mean, log_variance), torch.tensor([2.0, (math.e - 2) / 2, 0.0]))


def test_kl_near_the_prior_keeps_its_digits_in_float32_and_is_never_negative():
    """For a variance of 1 + d it is d^2 / 4: exp(d) - 1 - d by itself would be noise."""
    d = 0.003 * torch.randn(500, 1, generator=rng())
    close(kl(torch.zeros(500, 1), d), (d.double().expm1() - d.double()).float()[:, 0] / 2,
          rtol=1e-3, atol=1e-10)
    assert (kl(torch.zeros(500, 1), d) >= 0).all()


def test_kl_of_a_very_narrow_cloud_is_finite_and_grows_with_its_log_variance():
    close(kl(torch.zeros(1, 1), torch.full((1, 1), -1e4)), torch.tensor([(1e4 - 1) / 2]))


# ---- the draw

def test_draws_have_the_moments_of_the_cloud():
    """Of 100000 draws, mean and variance within 4 standard errors."""
    mean, log_variance = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([0.0, 2.0, -3.0])
    z = reparameterise(mean.expand(100000, 3), log_variance.expand(100000, 3), rng())
    std = log_variance.exp().sqrt()
    assert ((z.mean(dim=0) - mean).abs() < 4 * std / math.sqrt(1e5)).all()
    assert ((z.var(dim=0) / std.square() - 1).abs() < 4 * math.sqrt(2 / 1e5)).all()


def test_draws_equal_those_of_torch_distributions_from_the_same_seed():
    mean, log_variance = clouds(4, 3, 2, 2)
    torch.manual_seed(3)
    drawn = reparameterise(mean, log_variance)
    torch.manual_seed(3)
    close(drawn, Normal(mean, log_variance.exp().sqrt()).rsample())


def test_gradient_through_the_draw_reaches_mean_and_log_variance():
    """By hand: dz/dmean = 1, dz/d ln variance = noise * std / 2 = (z - mean) / 2."""
    mean, log_variance = (x.requires_grad_() for x in clouds(4, 5))
    weight = torch.randn(4, 5, generator=rng(7), dtype=torch.float64)
    z = reparameterise(mean, log_variance, rng())
    to_mean, to_log = torch.autograd.grad((weight * z).sum(), (mean, log_variance))
    close(to_mean, weight)
    close(to_log, weight * (z - mean).detach() / 2)


def test_its_gradient_is_that_of_the_expectation():
    """E[z^2] = mean^2 + variance, so the gradients are 2 mean and the variance."""
    mean, log_variance = torch.tensor(0.7).requires_grad_(), torch.tensor(0.4).requires_grad_()
    z = reparameterise(mean.expand(400000), log_variance.expand(400000), rng())
    got = torch.autograd.grad(z.square().mean(), (mean, log_variance))
    close(torch.stack(got), torch.tensor([1.4, math.exp(0.4)]), atol=0.02, rtol=0)


# ---- likelihood and bits

@pytest.mark.parametrize("sigma", [0.02, 0.1, 1.0, 3.0])
def test_gaussian_nll_equals_torch_distributions(sigma):
    mean, images = pictures(seed=2), pictures()
    close(gaussian_nll(mean, images, sigma), -Normal(mean, sigma).log_prob(images))


def test_noise_over_all_256_levels_takes_8_bits_and_a_tenth_of_it_by_hand():
    """Evenly from -1 to 1 the density of each value is 1/2; and ln 2 nats are one bit."""
    elbo = torch.tensor([192 * math.log(1 / 2)])
    levels = math.log2(256 / 255)                          # 255 steps of 2/255 between 256 levels
    close(bits_per_dimension(elbo, 192), torch.tensor([8 - levels]))
    close(bits_per_dimension(elbo - 192 * math.log(2), 192), torch.tensor([9 - levels]))


# ---- a model whose evidence is known

class Apply(nn.Module):
    """A function in the place of a network."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Linear(Vae):
    """x = W z + b + sigma noise, with columns of W at right angles: then the true posterior is a
    cloud as ours, and ln p(x) = ln N(x; b, W W^T + sigma^2) in closed form."""

    def __init__(self, off=0.0, wide=0.0):
        super().__init__(replace(SMALL, channels=4))
        g, s2 = rng(5), SMALL.sigma ** 2
        W = torch.linalg.qr(torch.randn(192, 4, generator=g))[0] * torch.tensor([3.0, 2, 1, 0.5])
        b, length = torch.randn(192, generator=g), W.square().sum(dim=0)
        self.W, self.b = W, b
        self.decoder = Apply(lambda z: (z.flatten(1) @ W.T + b).unflatten(1, (3, 8, 8)))

        def posterior(images):
            mean = (images.flatten(1) - b) @ W / (length + s2) + off
            log_variance = (s2 / (length + s2)).log() + wide
            return torch.cat([mean, log_variance.expand_as(mean)], dim=1)[..., None, None]
        self.encoder = Apply(posterior)

    def evidence(self, images):
        covariance = self.W @ self.W.T + self.config.sigma ** 2 * torch.eye(192)
        p = MultivariateNormal(self.b.double(), covariance.double())
        return p.log_prob(images.flatten(1).double())


def drawn_from(model, n):
    z = torch.randn(n, 4, 1, 1, generator=rng(8))
    x = model.decoder(z)
    return x + model.config.sigma * torch.randn(x.shape, generator=rng(9))


def mean_elbo(model, images, draws=2000):
    repeated = images.repeat_interleave(draws, dim=0)
    return model.eval().elbo(repeated, rng()).view(len(images), draws).mean(dim=1).double()


def test_elbo_of_the_true_posterior_is_the_evidence():
    model = Linear()
    images = drawn_from(model, 5)
    close(mean_elbo(model, images), model.evidence(images), atol=0.2, rtol=0)


@pytest.mark.parametrize("off, wide", [(0.3, 0.0), (0.0, 1.5), (0.0, -1.5), (-0.2, 0.7)])
def test_elbo_of_another_cloud_lies_below_the_evidence_by_the_kl_to_the_posterior(off, wide):
    """The four lines of the derivation, in numbers: ln p(x) - ELBO = KL(q || posterior)."""
    model, exact = Linear(off, wide), Linear()
    images = drawn_from(model, 5)
    q, p = (Normal(mean, (log_variance / 2).exp())
            for mean, log_variance in (model.cloud(images), exact.cloud(images)))
    gap = kl_divergence(q, p).flatten(1).sum(dim=1).double()
    elbo, evidence = mean_elbo(model, images), model.evidence(images)
    assert (elbo < evidence).all()
    close(evidence - elbo, gap, atol=0.25, rtol=0.02)


# ---- the model

@BOTH
def test_loss_equals_the_elbo_with_beta_by_hand(config):
    """Sums over each picture by torch.distributions, then nats for each of its 192 numbers."""
    model, images = new(config), pictures()
    mean, log_variance = model.encoder(images).chunk(2, dim=1)
    q = Normal(mean, (log_variance / 2).exp())
    z = mean + q.stddev * torch.randn(mean.shape, generator=rng())
    nll = -Normal(model.decoder(z), 0.5).log_prob(images)
    nats = kl_divergence(q, Normal(torch.zeros_like(mean), 1.0))
    by_hand = sum(nll[b].sum() + 0.7 * nats[b].sum() for b in range(3)) / 3 / 192
    close(model.loss(images, rng()), by_hand)
    elbo = torch.stack([-nll[b].sum() - nats[b].sum() for b in range(3)])
    close(model.elbo(images, rng()), elbo)


def test_elbo_does_not_depend_on_beta():
    close(new(beta=5.0).elbo(pictures(), rng()), new(beta=0.0).elbo(pictures(), rng()))


def test_loss_of_a_batch_is_the_mean_over_its_pictures():
    model, images = new().eval(), pictures(4)
    noise = torch.randn(4, *model.shape, generator=rng())
    one = []
    for i in range(4):                                     # the same noise for each
        mean, log_variance = model.cloud(images[i:i + 1])
        z = mean + (log_variance / 2).exp() * noise[i:i + 1]
        nll = gaussian_nll(model.decoder(z), images[i:i + 1], 0.5).sum()
        one.append((nll + 0.7 * kl(mean, log_variance).sum()) / 192)
    close(model.loss(images, rng()), torch.stack(one).mean())


def test_the_gradient_of_the_error_alone_reaches_the_whole_encoder():
    model = new(beta=0.0)
    model.loss(pictures(), rng()).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoder[-1].parameters())
    to_mean, to_log_variance = model.encoder[-1].weight.grad.chunk(2)
    assert to_mean.abs().min() > 0 and to_log_variance.abs().min() > 0


def test_a_wild_encoder_gives_a_finite_loss():
    """ln variance of +-1000, whose exp is infinite or 0 in float32."""
    model = new()
    with torch.no_grad():
        model.encoder[-1].bias[3:] = torch.tensor([1e3, -1e3, 0.0])
    assert model.loss(pictures(), rng()).isfinite()


# ---- the scale

def test_encoded_training_pictures_have_variance_one():
    images = pictures(64)
    z = new().fit_scale(images).encode(images)
    close(z.std(), torch.tensor(1.0))


def test_the_scale_that_training_keeps_is_the_one_that_would_be_measured():
    """Of 100 steps on pictures that differ from batch to batch, in the weights that are kept."""
    def make(n, generator):
        return pictures(n, seed=int(torch.randint(999, (), generator=generator)))
    model = train.fit(new(), make, train.FitConfig(steps=100, batch=16, lr=2e-3, decay=0.9))
    kept = model.scale.clone()
    close(kept, model.fit_scale(pictures(256, seed=5)).scale, rtol=0.05, atol=0)
    assert not 0.9 < kept < 1.1


def test_the_scale_moves_a_twentieth_of_the_way_in_a_training_loss_and_never_otherwise():
    model, images = new(), pictures()
    target = 1 / model.cloud(images)[0].std().item()
    model.loss(images, rng())
    close(model.scale, torch.tensor(0.95 + 0.05 * target))
    kept = model.eval().scale.clone()
    model.loss(images), model.elbo(images), model.encode(images), model.sample(2, rng())
    assert model.scale.equal(kept)


def test_a_collapsed_encoder_has_a_finite_scale():
    model, images = new(), pictures()
    nn.init.zeros_(model.encoder[-1].weight), nn.init.zeros_(model.encoder[-1].bias)
    close(model.fit_scale(images).scale, torch.tensor(1000.0))
    assert model.encode(images).isfinite().all()


def test_the_scale_lies_in_the_state_dict_and_in_no_gradient():
    model, other = new().fit_scale(pictures()), new()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert other.scale.equal(model.scale) and not other.scale.equal(torch.tensor(1.0))
    assert not model.scale.requires_grad


# ---- encode, decode, sample

@BOTH
def test_decode_of_encode_paints_the_middle_of_the_cloud_whatever_the_scale(config):
    model, images = new(config), pictures()
    painted = model.decoder(model.cloud(images)[0]).clamp(-1, 1)
    for scale in (1.0, 0.2, 7.0):
        model.scale.fill_(scale)
        close(model.decode(model.encode(images)), painted)
        close(model.encode(images), scale * model.cloud(images)[0])


def test_encode_with_a_generator_draws_from_the_cloud():
    model, images = new().fit_scale(pictures()), pictures()
    expected = model.scale * reparameterise(*model.cloud(images), rng(4))
    close(model.encode(images, rng(4)), expected)


def test_samples_are_decoded_draws_of_the_prior_whatever_the_scale():
    model = new()
    painted = model.decoder(torch.randn(5, 3, 4, 4, generator=rng(2))).clamp(-1, 1)
    for scale in (1.0, 0.3):
        model.scale.fill_(scale)
        close(model.sample(5, rng(2)), painted)


@pytest.mark.parametrize("size, grid, channels", [
    (32, 1, 16), (32, 2, 8), (32, 4, 2), (32, 8, 4), (32, 16, 2), (28, 7, 1), (8, 1, 2)])
def test_shapes_of_every_grid_and_of_one_picture(size, grid, channels):
    model = new(size=size, grid=grid, channels=channels)
    z = model.encode(pictures(1, size))
    assert z.shape[1:] == model.shape == (channels, grid, grid)
    for images in (model.decode(z), model.sample(1, rng())):
        assert images.shape == (1, 3, size, size) and images.abs().max() <= 1
    assert model.loss(pictures(1, size), rng()).shape == ()
    assert model.elbo(pictures(2, size), rng()).shape == (2,)


@BOTH
def test_same_seed_same_numbers_whatever_the_global_one(config):
    got = []
    for seed, elsewhere in ((0, 1), (0, 2), (5, 1)):
        model = new(config)
        torch.manual_seed(elsewhere)
        got.append((model.loss(pictures(), rng(seed)), model.sample(2, rng(seed)),
                    model.encode(pictures(), rng(seed))))
    assert all(a.equal(b) and not a.equal(c) for a, b, c in zip(*got))


def test_training_depends_on_the_seed_alone():
    def trained(seed):
        torch.manual_seed(0)
        return train.fit(Vae(TINY), lambda n, g: torch.rand(n, 3, 8, 8, generator=g) * 2 - 1,
                         train.FitConfig(steps=5, batch=4), seed).state_dict()
    a, b, c = trained(0), trained(0), trained(1)
    assert all(a[name].equal(b[name]) for name in a)
    assert not all(a[name].equal(c[name]) for name in a)


def test_the_callers_tensors_stay_as_they_are_and_uses_give_no_gradient():
    model, images = new(), pictures()
    z = model.encode(images)
    kept = z.clone()
    model.decode(z), model.loss(images, rng()), model.encode(images, rng())
    assert z.equal(kept) and images.equal(pictures())
    assert not z.requires_grad and not model.sample(1, rng()).requires_grad


def test_decode_lets_gradients_through_to_the_latent():
    """latent.py may want to move a latent so that its picture changes."""
    z = new().encode(pictures()).requires_grad_()
    new().decode(z).sum().backward()
    assert z.grad.abs().sum() > 0


def test_loss_under_bf16_autocast_is_that_of_float32():
    model, images = new(), pictures()
    exact = new().loss(images, rng())
    with torch.autocast("cpu", torch.bfloat16):
        loss, painted = model.loss(images, rng()), model.decode(model.encode(images))
    assert loss.dtype == painted.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)


# ---- both uses

def squares():
    """Four coloured squares."""
    images = torch.randn(4, 3, 1, 1, generator=rng()).sign() * torch.ones(4, 3, 8, 8)
    images[:, :, 2:6, 2:6] *= -0.5
    return images


def fitted(config):
    model, generator, images = new(config), rng(), squares()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(images, generator).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("config", [replace(SMALL, beta=1.0, sigma=0.3), replace(TINY, beta=0.01)],
                         ids=["generates", "compresses"])
def test_one_batch_is_overfitted(config):
    """decode(encode) errs less than a tenth of what the mean colour does."""
    images, model = squares(), fitted(replace(config, width=32))
    error = (model.decode(model.encode(images)) - images).square().mean()
    assert error < 0.1 * images.var(dim=(0, 2, 3)).mean()


def test_beta_is_the_price_of_a_nat():
    """The larger it is, the less the latent says; at 1000 nothing: all clouds are the prior."""
    nats = [kl(*fitted(replace(TINY, width=32, beta=beta)).cloud(squares())).mean().item()
            for beta in (0.01, 1.0, 1000.0)]
    assert nats[0] > 1.5 * nats[1] > 3 * nats[2] and nats[2] < 0.5


# ---- errors

ERRORS = {
    "28 is not 8 halved": (lambda: new(size=28, grid=8), "grid of 8 .* of 28.* 14, 7"),
    "grid 3": (lambda: new(grid=3), "grid of 3 does not come from halving pictures of 8"),
    "width": (lambda: new(width=24), "width is 24; choose a multiple of 16"),
    "channels 0": (lambda: new(channels=0), "channels is 0; choose a whole number from 1 on"),
    "sigma 0": (lambda: new(sigma=0.0), "sigma is 0.0; choose a number above 0"),
    "beta": (lambda: new(beta=-1.0), "beta is -1.0; choose a number from 0 on"),
    "large": (lambda: new().loss(pictures(2, 16)), r"\(2, 3, 16, 16\).*\(B, 3, 8, 8\)"),
    "one": (lambda: new().encode(pictures()[0]), r"images have shape \(3, 8, 8\)"),
    "grey": (lambda: new().cloud(pictures()[:, :1]), r"\(3, 1, 8, 8\)"),
    "flat": (lambda: new().decode(torch.zeros(2, 48)), r"shape \(2, 48\); pass \(B, 3, 4, 4\)"),
    "one latent": (lambda: new().decode(torch.zeros(3, 4, 4)), r"\(3, 4, 4\); pass \(B, 3, 4, 4\)"),
    "half a cloud": (lambda: kl(torch.zeros(2, 3), torch.zeros(2, 1)),
                     r"mean \(2, 3\) and log_variance \(2, 1\).* of one shape"),
    "half a draw": (lambda: reparameterise(torch.zeros(2, 3), torch.zeros(3)), r"of one shape"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input_is_a_value_error_in_one_sentence(name):
    call, says = ERRORS[name]
    with pytest.raises(ValueError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
