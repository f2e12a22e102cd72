"""dvae.py against torch.distributions, PyTorch's gumbel_softmax, sums and gradients by hand."""
import copy
import math
import re
import signal
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import (
    Categorical,
    Laplace,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    kl_divergence,
)

from minidalle import train
from minidalle.dvae import (
    LOGIT_LAPLACE,
    SQUARED_ERROR,
    Dvae,
    DvaeConfig,
    Residual,
    VqConfig,
    VqVae,
    gaussian_nll,
    gumbel_softmax,
    imbalance,
    kl_to_uniform,
    kl_weight,
    logit_laplace_nll,
    map_pixels,
    nearest,
    straight_through,
    temperature,
    unmap_pixels,
    widths,
)

close = torch.testing.assert_close
TINY = dict(size=8, grid=4, codes=5, width=16, depth=1, steps=100)
DVAE, VQ = DvaeConfig(**TINY, kl=0.7), VqConfig(**TINY)
BOTH = pytest.mark.parametrize("tiny", [lambda **c: new(Dvae, DVAE, **c),
                                        lambda **c: new(VqVae, VQ, **c)], ids=["dvae", "vq"])


def rng(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new(kind, config, *parts, **changes):
    torch.manual_seed(0)
    return kind(replace(config, **changes), *parts)


def pictures(B=3, size=8, seed=1):
    return torch.rand(B, 3, size, size, generator=rng(seed)) * 2 - 1


def log_q(B=3, N=4, K=5, seed=0):
    x = 3 * torch.randn(B, N, K, generator=rng(seed), dtype=torch.float64)
    return x.log_softmax(dim=-1)


def uniform_like(log_p):
    return Categorical(logits=torch.zeros_like(log_p))


# ---- the KL and its halves

def test_kl_equals_torch_distributions_per_picture():
    q = log_q()
    close(kl_to_uniform(q), kl_divergence(Categorical(logits=q), uniform_like(q)).sum(dim=1))


def test_kl_of_a_picture_does_not_change_with_the_batch_around_it():
    q = log_q(B=6)
    one_by_one = torch.cat([kl_to_uniform(q[i:i + 1]) for i in range(6)])
    close(kl_to_uniform(q), one_by_one)
    assert kl_to_uniform(q).shape == (6,)


def test_kl_is_0_for_uniform_and_n_ln_k_for_certain_codes_without_overflow():
    close(kl_to_uniform(torch.full((2, 4, 5), -math.log(5))), torch.zeros(2), atol=1e-5, rtol=0)
    certain = (1e4 * torch.eye(5)[None, :4]).log_softmax(dim=-1)
    close(kl_to_uniform(certain), torch.tensor([4 * math.log(5)]))


def test_mean_kl_is_imbalance_plus_mutual_information():
    """The other half by torch.distributions: how far each place is from the average place."""
    q = log_q()
    average = q.exp().mean(dim=(0, 1)).expand_as(q)
    information = kl_divergence(Categorical(logits=q), Categorical(average)).mean()
    close(kl_to_uniform(q).mean() / 4, imbalance(q) + information)


def test_imbalance_is_0_for_certain_codes_used_evenly_and_ln_k_for_one_code():
    certain = (1e4 * torch.eye(5)).log_softmax(dim=-1)
    close(imbalance(certain[None]), torch.tensor(0.0), atol=1e-6, rtol=0)
    close(imbalance(certain[:1].expand(3, 4, 5)), torch.tensor(math.log(5)))


# ---- draws

@pytest.mark.parametrize("tau", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("ours, hard", [(gumbel_softmax, False), (straight_through, True)])
def test_draws_equal_pytorchs_own_from_the_same_seed(ours, hard, tau):
    logits = log_q()
    torch.manual_seed(3)
    drawn = ours(logits, tau)
    torch.manual_seed(3)
    close(drawn, F.gumbel_softmax(logits, tau, hard=hard))
    close(drawn.sum(dim=-1), torch.ones(3, 4, dtype=torch.float64))


def test_largest_entry_is_code_k_with_probability_q_k():
    """Chi-square over five codes in 20000 draws; four degrees of freedom."""
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5, -2.0])
    drawn = gumbel_softmax(logits.expand(20000, 5), 0.7, rng())
    counts, expected = drawn.argmax(dim=-1).bincount(minlength=5), 20000 * logits.softmax(dim=0)
    assert ((counts - expected) ** 2 / expected).sum() < 18.5      # one in a thousand is above


def test_temperature_divides_logits_and_noise_together():
    """The same noise: tau times the log-odds of a draw is the same at every temperature."""
    def odds(tau):
        log_p = gumbel_softmax(log_q(), tau, rng()).log()
        return tau * (log_p - log_p[..., :1])
    close(odds(2.0), odds(0.8))


def test_cold_draw_is_one_hot_at_the_largest_of_logits_plus_noise():
    logits, noise = log_q(), -torch.empty_like(log_q()).exponential_(generator=rng()).log()
    cold = gumbel_softmax(logits, 1e-4, rng())
    close(cold, F.one_hot((logits + noise).argmax(dim=-1), 5).double())


def test_straight_through_is_hard_with_the_gradient_of_the_soft_draw():
    weight, grads = torch.randn(3, 4, 5, generator=rng(7), dtype=torch.float64), []
    for relax in (gumbel_softmax, straight_through):
        logits = log_q().requires_grad_()
        drawn = relax(logits, 0.9, rng())
        grads += torch.autograd.grad((drawn * weight).sum(), logits)
    close(drawn.detach().sort(dim=-1)[0], torch.eye(5).double()[4].expand(3, 4, 5))
    close(grads[0], grads[1])
    assert grads[0].abs().min() > 0


# ---- likelihoods

def test_gaussian_nll_equals_torch_distributions_with_variance_one_half():
    mean, images = pictures(seed=2), pictures()
    close(gaussian_nll(mean, images), -Normal(mean, math.sqrt(0.5)).log_prob(images))


def test_map_pixels_by_hand_and_unmap_is_its_inverse():
    close(map_pixels(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([0.1, 0.5, 0.9]))
    close(unmap_pixels(map_pixels(pictures())), pictures())
    close(unmap_pixels(torch.tensor([0.0, 0.05, 0.95, 1.0])), torch.tensor([-1.0, -1, 1, 1]))


@pytest.mark.parametrize("mu", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("b", [0.1, 1.0, 2.5])
def test_logit_laplace_integrates_to_one_over_0_to_1(mu, b):
    """Midpoints of strips, narrower near 0 and 1, where the density may be steep."""
    t = torch.linspace(-25, 25, 50001, dtype=torch.float64)
    middle, width = t[:-1].lerp(t[1:], 0.5).sigmoid(), t.sigmoid().diff()
    images = ((middle - 0.1) / 0.8 * 2 - 1).expand(1, 3, 1, -1)
    stats = torch.tensor([mu] * 3 + [math.log(b)] * 3, dtype=torch.float64).view(1, 6, 1, 1)
    total = (logit_laplace_nll(stats, images).neg().exp() * width).sum(dim=-1)
    close(total, torch.ones(1, 3, 1, dtype=torch.float64), atol=1e-4, rtol=0)


def test_logit_laplace_equals_torch_distributions():
    stats, images = torch.randn(3, 6, 8, 8, generator=rng()), pictures()
    p = TransformedDistribution(Laplace(stats[:, :3], stats[:, 3:].exp()), [SigmoidTransform()])
    close(logit_laplace_nll(stats, images), -p.log_prob(0.8 * (images + 1) / 2 + 0.1))


def test_pictures_are_the_middle_of_the_likelihood_and_legal_colours():
    images = pictures()
    stats = torch.cat([(0.4 * (images + 1) + 0.1).logit(), torch.randn_like(images)], dim=1)
    close(LOGIT_LAPLACE.picture(stats), images)
    close(SQUARED_ERROR.picture(images), images)
    for likelihood, channels in ((SQUARED_ERROR, 3), (LOGIT_LAPLACE, 6)):
        assert likelihood.channels == channels
        wild = likelihood.picture(100 * torch.randn(2, channels, 4, 4))
        assert wild.shape == (2, 3, 4, 4) and wild.abs().max() == 1


# ---- schedules

def test_temperature_by_hand_at_both_ends_and_in_the_middle():
    """From 1 to 0.01 in the first 80 of 100 steps: a tenth at step 40, ten times per 40 steps."""
    config = DvaeConfig(steps=100, hot=1.0, cold=0.01)
    got = [temperature(step, config) for step in (0, 20, 40, 80, 90, 100, 10**6)]
    assert got == pytest.approx([1.0, 0.1 ** 0.5, 0.1, 0.01, 0.01, 0.01, 0.01])


def test_kl_weight_by_hand_at_both_ends_and_in_the_middle():
    config = DvaeConfig(steps=100, kl=2.0)
    got = [kl_weight(step, config) for step in (0, 5, 10, 20, 50, 10**6)]
    assert got == pytest.approx([0.0, 1 - 0.5 ** 0.5, 1.0, 2.0, 2.0, 2.0])


def test_schedules_are_monotone():
    for schedule, sign in ((temperature, -1), (kl_weight, 1)):
        values = torch.tensor([schedule(step, DVAE) for step in range(120)])
        assert (sign * values.diff() >= 0).all() and sign * (values[-1] - values[0]) > 0.1


@BOTH
def test_clock_ticks_once_a_training_loss_and_never_otherwise(tiny):
    model = tiny()
    for n in range(1, 4):
        model.loss(pictures(), rng())
        assert model.clock == n
    model.encode(pictures())
    state = copy.deepcopy(model.eval().state_dict())
    model.loss(pictures(), rng())
    assert all(x.equal(state[name]) for name, x in model.state_dict().items())


def test_loss_and_draw_follow_the_clock():
    """Late in training the same picture is drawn colder, and its KL weighs more."""
    model, taus = new(Dvae, DVAE), []
    model.relax = lambda logits, tau, generator: taus.append(tau) or logits.softmax(dim=-1)
    for step in (0, 40, 90):
        model.clock.fill_(step)
        model.loss(pictures())
    assert taus == [temperature(step, DVAE) for step in (0, 40, 90)]


@BOTH
def test_state_dict_carries_clock_and_usage_so_the_next_loss_is_the_same(tiny):
    model, resumed = tiny(), tiny()
    for n in range(3):
        model.loss(pictures(seed=n), rng())
    model.clock.fill_(60)
    resumed.load_state_dict(copy.deepcopy(model.state_dict()))
    assert resumed.clock == 60 and not model.usage.equal(torch.full((5,), 0.2))
    assert model.loss(pictures(), rng()).equal(resumed.loss(pictures(), rng()))
    assert model.usage.equal(resumed.usage)


@BOTH
def test_stopped_and_resumed_training_equals_one_never_stopped(tiny, tmp_path, monkeypatch):
    """Clock, usage, codes revived at every second step: all of it goes on."""
    monkeypatch.setattr("minidalle.checkpoint.draw_curve",              # matplotlib is slow
                        lambda path, log: path.touch())

    def make(n, generator):
        if next(count) == 3:
            signal.raise_signal(signal.SIGINT)
        return torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1
    config, path = train.FitConfig(steps=8, batch=4), tmp_path / "dvae.pt"
    changes = dict(steps=8, revive=2) if isinstance(tiny(), VqVae) else dict(steps=8)
    count = iter(range(4, 99))
    whole = train.fit(tiny(**changes), make, config)
    count = iter(range(99))
    with pytest.raises(KeyboardInterrupt, match="step 4 of 8"):
        train.fit(tiny(**changes), make, config, path=path)
    resumed = train.fit(tiny(**changes), make, config, path=path).state_dict()
    assert all(x.equal(resumed[name]) for name, x in whole.state_dict().items())


# ---- the discrete VAE

@pytest.mark.parametrize("relax", [gumbel_softmax, straight_through])
@pytest.mark.parametrize("likelihood", [SQUARED_ERROR, LOGIT_LAPLACE])
def test_loss_equals_the_elbo_and_the_balance_by_hand(relax, likelihood):
    """Sums over each picture by torch.distributions, then nats for each of its 192 numbers."""
    model, images = new(Dvae, DVAE, relax, likelihood), pictures()
    model.clock.fill_(10)                                       # beta is half of 0.7 here
    logits = 5 * model.encoder(images).flatten(2).transpose(1, 2)
    mixture = relax(logits.log_softmax(dim=-1), 0.1 ** (10 / 80), rng())
    vectors = torch.einsum("bnk,kd->bdn", mixture, model.book).view(3, 16, 4, 4)
    nll = likelihood.nll(model.decoder(vectors), images)
    kl = kl_divergence(Categorical(logits=logits), uniform_like(logits))
    mean = Categorical(logits.softmax(dim=-1).mean(dim=(0, 1)))
    even = kl_divergence(mean, Categorical(torch.ones(5)))
    by_hand = sum(nll[b].sum() + 0.35 * kl[b].sum() + 1.5 * 16 * even for b in range(3)) / 3 / 192
    close(model.loss(images, rng()), by_hand)


def test_encode_is_the_likeliest_code_of_the_noisy_forward():
    model, images = new(Dvae, DVAE), pictures()
    assert model.encode(images).equal(model(images)[1].argmax(dim=-1))


@pytest.mark.parametrize("relax", [gumbel_softmax, straight_through])
def test_cold_and_sharp_forward_equals_decode_of_encode(relax):
    model, images = new(Dvae, replace(DVAE, sharp=1e6, cold=1e-3), relax), pictures()
    model.clock.fill_(100)
    stats, _ = model(images, rng())
    close(model.likelihood.picture(stats), model.decode(model.encode(images)))


# ---- the vector quantiser

@pytest.mark.parametrize("K", [1, 5, 40])
def test_nearest_equals_brute_force(K):
    z, book = torch.randn(3, 16, 6, generator=rng()), torch.randn(K, 6, generator=rng(1))
    codes = [[min(range(K), key=lambda k: (v - book[k]).norm().item()) for v in line] for line in z]
    assert nearest(z, book).equal(torch.tensor(codes))


def test_nearest_is_the_same_under_bf16_autocast():
    """Codes that lie together far from zero: products in bf16 would mistake most of them."""
    center = 3 * torch.randn(64, generator=rng())
    z, book = (center + 0.3 * torch.randn(60, 64, generator=rng(s)) for s in (1, 2))
    exact = nearest(z.double(), book.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest(z, book).equal(exact)


def test_vq_forward_paints_the_vectors_of_the_codes():
    model, images = new(VqVae, VQ).eval(), pictures()
    stats, z, codes = model(images)
    assert codes.equal(model.encode(images)) and codes.equal(nearest(z, model.book))
    close(model.likelihood.picture(stats), model.decode(codes))


def test_vq_loss_and_its_gradients_equal_those_by_hand():
    """To z: the decoder's gradient at the code's vector, and the commitment. To the book: z - e."""
    model, images = new(VqVae, VQ).eval(), pictures()
    z = model.grid(images).detach().requires_grad_()
    model.grid = lambda images: z
    e = model.book[nearest(z, model.book)].detach().requires_grad_()
    nll = (model.paint(e) - images).square().mean() + 0.5 * math.log(math.pi)
    at_code, = torch.autograd.grad(nll, e)
    loss, apart = model.loss(images), (z - e).detach()
    close(loss, nll + 1.25 * apart.square().mean())
    loss.backward()
    close(z.grad, at_code + 0.25 * 2 * apart / z.numel())
    to_book = torch.zeros(5, 16).index_add_(0, nearest(z, model.book).flatten(),
                                            -2 * apart.flatten(0, 1) / z.numel())
    close(model.book.grad, to_book)


def test_at_the_start_all_codes_move_onto_vectors_of_the_batch():
    model, images = new(VqVae, VQ), pictures()
    model.loss(images, rng())
    z = model.grid(images).flatten(0, 1)
    assert all((z == code).all(dim=-1).any() for code in model.book)


def test_dead_codes_are_revived_onto_vectors_of_the_batch_and_live_ones_stay():
    """A fair share is 0.2: code 1 has less than a tenth of it, code 2 has more."""
    model, images = new(VqVae, VQ), pictures()
    model.clock.fill_(50)
    model.usage.copy_(torch.tensor([0.5, 0.019, 0.021, 0.46, 0.0]))
    before, z = model.book.clone(), model.grid(images)
    model.revive(z, rng())
    assert model.book[[0, 2, 3]].equal(before[[0, 2, 3]])
    assert all((z == code).all(dim=-1).any() for code in model.book[[1, 4]])
    usage = torch.tensor([0.5, 0.2, 0.021, 0.46, 0.2])          # the moved ones have a fair share
    close(model.usage, usage / usage.sum())


def test_shares_sum_to_one_whatever_is_revived_so_perplexity_never_exceeds_their_number():
    model = new(VqVae, VQ, revive=2)
    for n in range(20):
        model.loss(pictures(seed=n), rng(n))
        close(model.usage.sum(), torch.tensor(1.0))
        assert 1 <= model.watch()["perplexity"] <= 5


@pytest.mark.parametrize("K", [5, 49, 64, 100, 1000])
def test_even_use_reads_as_k_and_not_a_hair_above(K):
    model = new(Dvae, DVAE, codes=K)
    for seed in range(20):
        model.usage.copy_((1 / K) * (1 + 1e-7 * torch.randn(K, generator=rng(seed))))
        assert K * (1 - 1e-5) < model.watch()["perplexity"] <= K


@pytest.mark.parametrize("step, revived", [(49, False), (50, True), (51, False), (60, False),
                                           (100, False)])
def test_revival_comes_every_revive_steps_and_not_late(step, revived):
    model = new(VqVae, VQ)
    model.clock.fill_(step)
    model.usage.copy_(torch.eye(5)[0])
    before = model.book.clone()
    model.revive(model.grid(pictures()), rng())
    assert model.book.equal(before) != revived


def test_a_code_unused_for_50_steps_counts_as_dead():
    model = new(VqVae, VQ)
    for _ in range(VQ.revive):
        model.count(torch.zeros(1, 16, dtype=torch.long))
    assert (model.usage < 0.02).tolist() == [False, True, True, True, True]


# ---- the eye on the codes

def test_usage_after_one_count_by_hand():
    """Half of the places say 0, a quarter 1, a quarter 4; usage goes a twentieth of the way."""
    model = new(Dvae, DVAE)
    model.count(torch.tensor([[0, 0, 1, 4], [0, 0, 4, 1]]))
    close(model.usage, 0.95 * 0.2 + 0.05 * torch.tensor([0.5, 0.25, 0.0, 0.0, 0.25]))


@BOTH
def test_a_training_loss_counts_the_codes_that_encode_gives(tiny):
    model, images = tiny(), pictures()
    model.clock.fill_(1)                                        # or the vector quantiser revives
    share = F.one_hot(model.encode(images), 5).float().mean(dim=(0, 1))
    model.loss(images, rng())
    close(model.usage, 0.95 * 0.2 + 0.05 * share)


def test_watch_by_hand():
    """Entropy of 1/2, 1/4, 1/4 is 1.5 bits. A tenth of a fair share is 0.02."""
    model = new(Dvae, DVAE)
    assert model.watch() == {"codes": 5, "perplexity": pytest.approx(5)}
    model.usage.copy_(torch.tensor([0.5, 0.25, 0.25, 0.0, 0.0]))
    assert model.watch() == {"codes": 3, "perplexity": pytest.approx(2 ** 1.5)}
    model.usage.copy_(torch.tensor([0.48, 0.479, 0.0, 0.021, 0.019]))
    assert model.watch()["codes"] == 3


@BOTH
@pytest.mark.parametrize("K", [2, 5, 64])
def test_a_collapsed_codebook_warns_once_and_not_early(tiny, K):
    model = tiny(codes=K)
    model.usage.copy_(torch.eye(K)[0])
    model.clock.fill_(25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.watch()                                           # a quarter of 100 steps: too early
    model.clock.fill_(26)
    with pytest.warns(UserWarning, match=rf"collapsed.* 1\.0 of {K} codes") as seen:
        model.watch()
        model.watch()
    assert len(seen) == 1


def test_a_collapse_is_told_from_a_fifth_of_the_codes_on():
    """By hand: (64 + 4) / 5 = 13.6. Both planted collapses of lesson 07 lie far below, at 3 and 7;
    the healthy vector quantiser, the narrowest, at 24."""
    model = new(Dvae, DVAE, codes=64)
    model.clock.fill_(50)
    model.usage.copy_((torch.arange(64) < 13) / 13)
    with pytest.warns(UserWarning, match="13.0 of 64"):
        model.watch()


@pytest.mark.parametrize("kind, config", [(Dvae, DVAE), (VqVae, VQ)])
def test_the_cure_for_a_collapse_names_settings_that_this_model_has(kind, config):
    settings = {"balance", "sharp", "kl", "revive"}
    named = settings & set(re.findall(r"\w+", kind.cure))
    assert named == settings & set(vars(config))


@BOTH
@pytest.mark.parametrize("K, used", [(64, 14), (5, 2), (2, 2), (1, 1)])
def test_a_healthy_codebook_and_one_of_a_single_code_never_warn(tiny, K, used):
    model = tiny(codes=K)
    model.usage.copy_((torch.arange(K) < used) / used)
    model.clock.fill_(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.watch() == {"codes": used, "perplexity": pytest.approx(used)}


# ---- both, from outside

@BOTH
@pytest.mark.parametrize("size, grid", [(32, 2), (32, 4), (32, 8), (32, 16), (28, 7), (8, 1)])
def test_shapes_of_every_grid_one_picture_and_one_code(tiny, size, grid):
    model = tiny(size=size, grid=grid)
    codes = model.encode(pictures(1, size))
    assert codes.shape == (1, grid ** 2) and 0 <= codes.min() and codes.max() < 5
    images = model.decode(codes)
    assert images.shape == (1, 3, size, size) and images.abs().max() <= 1
    assert model.loss(pictures(1, size), rng()).shape == ()


@BOTH
def test_one_code_is_no_choice(tiny):
    model = tiny(codes=1)
    assert (model.encode(pictures()) == 0).all() and model.loss(pictures(), rng()).isfinite()
    a, b = model.decode(model.encode(pictures()))[:2]
    close(a, b)


def test_channels_by_hand():
    assert [widths(32, grid, 64) for grid in (16, 8, 4)] == [[64], [32, 64], [32, 64, 64]]


def test_a_residual_block_starts_as_the_identity():
    x = torch.randn(2, 16, 4, 4)
    assert Residual(16)(x).equal(x)


def centre(change):
    """Where a change (4, 4) is large: row and column, on average."""
    place, weight = torch.arange(4.0), change.square()
    return torch.stack([weight.sum(dim=1) @ place, weight.sum(dim=0) @ place]) / weight.sum()


@BOTH
def test_codes_lie_row_by_row(tiny):
    """Code n is about the pixels at row n // 4, column n % 4; and they are about code n."""
    model, images = tiny(), pictures(16)
    z, book = model.grid(images).detach(), model.book[model.encode(images)].detach()
    for n in range(16):
        here, other, moved = torch.tensor([n // 4, n % 4]), images.clone(), book.clone()
        other.unfold(2, 2, 2).unfold(3, 2, 2)[:, :, n // 4, n % 4] *= -3
        moved[:, n] += 9 * torch.randn(16, 16, generator=rng(n))
        with torch.no_grad():
            codes = (model.grid(other) - z).square().sum(dim=(0, 2)).view(4, 4)
            pixels = (model.paint(moved) - model.paint(book)).square().sum(dim=(0, 1))
        assert (centre(codes) - here).norm() < 1
        assert (centre(F.avg_pool2d(pixels[None], 2)[0]) - here).norm() < 1


@BOTH
def test_encode_and_decode_are_deterministic_and_leave_the_callers_tensors_alone(tiny):
    model, images = tiny(), pictures()
    codes = model.encode(images)
    kept, painted = codes.clone(), model.decode(codes)
    assert model.encode(images).equal(codes) and model.decode(codes).equal(painted)
    model.loss(images, rng())
    assert codes.equal(kept) and images.equal(pictures()) and not codes.requires_grad


@BOTH
def test_same_seed_same_loss_whatever_the_global_one(tiny):
    losses = []
    for seed, elsewhere in ((0, 1), (0, 2), (5, 1)):
        model = tiny()
        torch.manual_seed(elsewhere)
        losses.append(model.loss(pictures(), rng(seed)))
    assert losses[0].equal(losses[1]) and not losses[0].equal(losses[2])


@BOTH
def test_loss_under_bf16_autocast_is_that_of_float32(tiny):
    model, images = tiny(), pictures()
    exact = tiny().loss(images, rng())
    with torch.autocast("cpu", torch.bfloat16):
        loss, painted = model.loss(images, rng()), model.decode(model.encode(images))
    assert loss.dtype == painted.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)


OVERFIT = {
    "gumbel": partial(new, Dvae, DVAE, kl=0.0),
    "straight": partial(new, Dvae, DVAE, straight_through, kl=0.0),
    "laplace": partial(new, Dvae, DVAE, gumbel_softmax, LOGIT_LAPLACE, kl=0.0),
    "vq": partial(new, VqVae, VQ),
}


@pytest.mark.parametrize("name", OVERFIT)
def test_one_batch_is_overfitted(name):
    """Four coloured squares: decode(encode) errs less than a tenth of what the mean colour does.
    Logit-Laplace may give up a colour that two pictures share: any value between both is as likely,
    and where b is large no gradient is left. So three quarters of its numbers are asked for."""
    images = torch.randn(4, 3, 1, 1, generator=rng()).sign() * torch.ones(4, 3, 8, 8)
    images[:, :, 2:6, 2:6] *= -0.5
    model, generator = OVERFIT[name](steps=120, codes=16, width=32), rng()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        model.loss(images, generator).backward()
        optimizer.step()
    error = (model.decode(model.encode(images)) - images).abs()
    assert error.quantile(0.75) < 0.2
    if model.likelihood is SQUARED_ERROR:
        assert error.square().mean() < 0.1 * images.var(dim=(0, 2, 3)).mean()


# ---- errors

ERRORS = {
    "28 is not 8 halved": (lambda: new(Dvae, DVAE, size=28, grid=8), "grid of 8 .* of 28.* 14, 7"),
    "grid of 3": (lambda: new(VqVae, VQ, grid=3), "grid of 3 does not come from halving .* of 8"),
    "grid not halved": (lambda: new(Dvae, DVAE, grid=8), "grid of 8 .* pictures of 8"),
    "grid above size": (lambda: new(Dvae, DVAE, grid=16), "grid of 16"),
    "grid 0": (lambda: new(Dvae, DVAE, grid=0), "grid of 0"),
    "grid negative": (lambda: new(VqVae, VQ, grid=-4), "grid of -4"),
    "width": (lambda: new(Dvae, DVAE, width=24), "width is 24; choose a multiple of 16"),
    "width 0": (lambda: new(VqVae, VQ, width=0), "width is 0; choose a multiple of 16"),
    "large": (lambda: new(Dvae, DVAE).loss(pictures(2, 16)), r"\(2, 3, 16, 16\).*\(B, 3, 8, 8\)"),
    "one": (lambda: new(Dvae, DVAE).encode(pictures()[0]), r"images have shape \(3, 8, 8\)"),
    "grey": (lambda: new(VqVae, VQ).encode(pictures()[:, :1]), r"\(3, 1, 8, 8\)"),
    "few codes": (lambda: new(Dvae, DVAE).decode(torch.zeros(2, 15).long()), r"\(2, 15\).*B, 16\)"),
    "flat codes": (lambda: new(VqVae, VQ).decode(torch.zeros(16).long()), r"\(16,\).*B, 16\)"),
    "square": (lambda: new(VqVae, VQ).decode(torch.zeros(2, 4, 4).long()), r"\(2, 4, 4\).*B, 16\)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input_is_a_value_error_in_one_sentence(name):
    call, says = ERRORS[name]
    with pytest.raises(ValueError, match=says):
        call()
