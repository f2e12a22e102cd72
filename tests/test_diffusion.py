"""Diffusion against closed formulas: Gaussians, Bayes' rule on a grid, models that know the answer.

Oracles: the moments of q(x_t | x_0), the posterior by brute force, DDPM for DDIM with eta 1, the
optimal denoiser of Gaussian data, numpy, and toy models whose answers can be worked out by hand.
"""
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidalle.diffusion import (
    X0,
    Diffusion,
    Eps,
    V,
    clip_dynamic,
    clip_static,
    cosine_schedule,
    early_times,
    eps_from_x0,
    even_weight,
    fine_weight,
    linear_schedule,
    middle_times,
    mix,
    uniform_times,
)
from minidalle.train import randn

PREDICTIONS = [Eps, X0, V]
SCHEDULES = [linear_schedule, cosine_schedule]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Oracle:
    """Knows that the data is N(mean, std^2) per entry and answers with the exact E[x_0 | x_t]."""

    def __init__(self, diffusion, mean, std):
        self.diffusion, self.mean, self.std = diffusion, mean, std

    def __call__(self, x_t, t, condition, keep):
        alpha_bar = self.diffusion.alpha_bar[t].view(-1, *[1] * (x_t.dim() - 1))
        total = alpha_bar * self.std ** 2 + 1 - alpha_bar
        surprise = x_t - alpha_bar.sqrt() * self.mean
        x_0 = self.mean + self.std ** 2 * alpha_bar.sqrt() / total * surprise
        return self.diffusion.predict.target(x_0, eps_from_x0(x_t, x_0, alpha_bar), alpha_bar)


class Toy:
    """Answers x_t times 0.1 plus its condition, or minus 1 without it; writes down every call."""

    def __init__(self):
        self.calls = []

    def __call__(self, x_t, t, condition, keep):
        self.calls.append((x_t, t, condition, keep))
        keep = torch.ones(len(x_t), dtype=torch.bool) if keep is None else keep
        return 0.1 * x_t + torch.where(keep[:, None], condition, -1.0)


# ---- schedules ----

@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 10, 50, 1000, 4000])
def test_schedule_falls_strictly_within_0_and_1_in_float64(schedule, steps):
    alpha_bar = schedule(steps)
    assert alpha_bar.shape == (steps,) and alpha_bar.dtype == torch.float64
    assert (alpha_bar.diff() < 0).all() and 0 < alpha_bar[-1] and alpha_bar[0] < 1


def test_linear_schedule_equals_product_worked_by_hand():
    """The paper's betas; 4e-5 is left at the end."""
    alpha_bar = linear_schedule()
    assert_close(alpha_bar[0].item(), 1 - 1e-4)
    assert_close(alpha_bar[1].item(), (1 - 1e-4) * (1 - 1e-4 - (0.02 - 1e-4) / 999))
    assert_close(alpha_bar[-1].item(), math.prod(1 - b for b in np.linspace(1e-4, 0.02, 1000)))
    assert 4e-5 < alpha_bar[-1] < 4.1e-5


@pytest.mark.parametrize("steps", [100, 250, 4000])
def test_linear_schedule_of_other_lengths_follows_the_same_curve(steps):
    """Half way and at the end as much of the data is left as with 1000 steps."""
    here, there = linear_schedule(steps), linear_schedule(1000)
    assert abs(here[steps // 2 - 1] - there[499]) < 0.01
    assert abs(here[-1].log() / there[-1].log() - 1) < 0.1


def test_cosine_schedule_equals_closed_formula_but_for_the_clipped_end():
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    expected = torch.tensor([f_t / f[0] for f_t in f[1:]], dtype=torch.float64)
    alpha_bar = cosine_schedule()
    assert_close(alpha_bar[:-1], expected[:-1], rtol=1e-9, atol=0)
    assert_close((alpha_bar[-1] / alpha_bar[-2]).item(), 0.001, rtol=1e-9, atol=0)
    assert_close(alpha_bar[-1].item(), 2.4e-9, rtol=0.02, atol=0)


@pytest.mark.parametrize("table", [torch.rand(3, 2), torch.tensor([0.5, 0.6]),
                                   torch.tensor([1.0, 0.5]), torch.tensor([0.5, -0.1])])
def test_a_table_that_is_no_schedule_is_refused(table):
    with pytest.raises(ValueError, match="alpha_bar"):
        Diffusion(table)


def test_table_is_a_float32_buffer_outside_the_checkpoint():
    diffusion = Diffusion(cosine_schedule())
    assert diffusion.alpha_bar.dtype == torch.float32 and not diffusion.state_dict()
    assert_close(diffusion.alpha_bar.double(), cosine_schedule(), rtol=1e-7, atol=0)


# ---- eps, x_0 and v ----

@pytest.mark.parametrize("predict", PREDICTIONS)
def test_to_x0_is_inverse_of_target(predict):
    x_0, eps = torch.randn(2, 50, 3, dtype=torch.float64, generator=seeded())
    alpha_bar = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)[:, None]
    x_t = mix(x_0, eps, alpha_bar)
    back = predict.to_x0(x_t, predict.target(x_0, eps, alpha_bar), alpha_bar)
    assert_close(back, x_0)
    assert_close(eps_from_x0(x_t, back, alpha_bar), eps)


@pytest.mark.parametrize("source, wanted", itertools.permutations(PREDICTIONS, 2))
def test_each_prediction_converts_into_each_other(source, wanted):
    x_0, eps = torch.randn(2, 50, 3, dtype=torch.float64, generator=seeded(1))
    alpha_bar = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)[:, None]
    x_t = mix(x_0, eps, alpha_bar)
    guess = source.to_x0(x_t, source.target(x_0, eps, alpha_bar), alpha_bar)
    converted = wanted.target(guess, eps_from_x0(x_t, guess, alpha_bar), alpha_bar)
    assert_close(converted, wanted.target(x_0, eps, alpha_bar))


def test_v_equals_derivative_of_x_t_by_the_angle():
    """Appendix D of the v paper: x_t = cos(phi) x_0 + sin(phi) eps, v = d x_t / d phi."""
    x_0, eps, phi = 0.7, -1.3, torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    (phi.cos() * x_0 + phi.sin() * eps).backward()
    assert_close(V.target(x_0, eps, phi.detach().cos() ** 2), phi.grad)


def test_eps_and_x0_targets_are_eps_and_x0():
    x_0, eps, alpha_bar = torch.rand(3, 4, 1)
    assert Eps.target(x_0, eps, alpha_bar) is eps and X0.target(x_0, eps, alpha_bar) is x_0


# ---- noising ----

@pytest.mark.parametrize("step", [0, 30, 99])
def test_noising_has_moments_of_q(step):
    """Mean sqrt(alpha_bar) x_0, variance 1 - alpha_bar, over 200 000 draws."""
    diffusion, n = Diffusion(cosine_schedule(100)), 200_000
    x_0 = torch.tensor([1.5, -0.5]).expand(n, 2)
    x_t = diffusion.add_noise(x_0, torch.full((n,), step), torch.randn(n, 2, generator=seeded()))
    alpha_bar = cosine_schedule(100)[step].float()
    assert_close(x_t.mean(0), alpha_bar.sqrt() * x_0[0], rtol=0, atol=0.01)
    assert_close(x_t.var(0), (1 - alpha_bar).expand(2), rtol=0.02, atol=0)


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 3, 8, 8)])
def test_each_sample_is_noised_by_its_own_step_in_any_shape(shape):
    diffusion = Diffusion(linear_schedule(10))
    x_0, eps = torch.randn(2, *shape, generator=seeded())
    t = torch.tensor([0, 9, 4, 4])
    x_t = diffusion.add_noise(x_0, t, eps)
    for i in range(4):
        a = linear_schedule(10)[t[i]].item()
        assert_close(x_t[i], a ** 0.5 * x_0[i] + (1 - a) ** 0.5 * eps[i])


@pytest.mark.parametrize("t", [torch.zeros(3).long(), torch.zeros(4, 1).long(),
                               torch.tensor([0, 0, 0, 10]), torch.tensor([0, 0, 0, -1])])
def test_steps_of_wrong_shape_or_range_are_refused(t):
    diffusion, x = Diffusion(linear_schedule(10)), torch.zeros(4, 2)
    with pytest.raises(ValueError, match="steps? "):
        diffusion.add_noise(x, t, x)
    with pytest.raises(ValueError, match="steps? "):
        diffusion.posterior(x, x, t)


def test_noise_of_wrong_shape_is_refused():
    diffusion, x = Diffusion(linear_schedule(10)), torch.zeros(4, 2)
    with pytest.raises(ValueError, match="eps"):
        diffusion.add_noise(x, torch.zeros(4).long(), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="noise"):
        diffusion.sample(Toy(), (4, 2), steps=2, noise=torch.zeros(4, 1))


def test_noise_is_drawn_where_the_generator_lives_and_moved():
    """`meta` stands for a GPU: the CPU generator must have moved on, as it does for CPU tensors."""
    here, there = seeded(), seeded()
    expected = torch.randn(2, 3, generator=here)
    assert torch.equal(randn((2, 3), torch.device("cpu"), seeded()), expected)
    assert randn((2, 3), torch.device("meta"), there).device.type == "meta"
    assert torch.equal(here.get_state(), there.get_state())


def test_loss_draws_the_same_from_a_cpu_generator_on_every_device():
    states = []
    for device in ["cpu", "meta"]:
        diffusion, generator = Diffusion(linear_schedule(10)).to(device), seeded()
        x_0 = torch.zeros(4, 3, device=device)
        diffusion.loss(lambda x_t, *_: x_t, x_0, generator=generator)
        states.append(generator.get_state())
    assert torch.equal(*states) and not torch.equal(states[0], seeded().get_state())


# ---- the loss ----

def test_first_and_last_step_are_trained_all_equally_often():
    """Counts of 20 000 steps out of 10: each 2000, give or take six standard deviations."""
    diffusion, model = Diffusion(linear_schedule(10)), Toy()
    diffusion.loss(model, torch.zeros(20_000, 1), torch.zeros(1), generator=seeded())
    counts = model.calls[0][1].bincount(minlength=10)
    assert len(counts) == 10 and (counts - 2000).abs().max() < 6 * math.sqrt(2000 * 0.9)


def test_condition_is_dropped_per_sample_at_its_rate():
    diffusion, model = Diffusion(linear_schedule(10)), Toy()
    for drop in [0.0, 0.2, 1.0]:
        diffusion.loss(model, torch.zeros(20_000, 1), torch.zeros(1), drop, seeded())
        keep = model.calls[-1][3]
        assert keep.shape == (20_000,) and keep.dtype == torch.bool
        assert abs(keep.float().mean() - (1 - drop)) <= 6 * math.sqrt(drop * (1 - drop) / 20_000)


def test_no_condition_is_dropped_unless_it_is_asked_for():
    diffusion, model = Diffusion(linear_schedule(10)), Toy()
    diffusion.loss(model, torch.zeros(500, 1), torch.zeros(1), generator=seeded())
    keep = model.calls[-1][3]
    assert keep is None or keep.all()


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_loss_equals_mean_square_worked_out_from_what_the_model_saw(predict):
    """eps is found back from x_t; the model answers 0, so the loss is the target's mean square."""
    diffusion, seen = Diffusion(linear_schedule(10), predict), []

    def model(x_t, t, condition, keep):
        seen.append((x_t, t))
        return torch.zeros_like(x_t).bfloat16()

    x_0 = torch.randn(6, 3, generator=seeded(3))
    loss = diffusion.loss(model, x_0, generator=seeded())
    x_t, t = seen[0]
    a = diffusion.alpha_bar[t][:, None]
    eps = (x_t - a ** 0.5 * x_0) / (1 - a) ** 0.5
    target = {Eps: eps, X0: x_0, V: a ** 0.5 * eps - (1 - a) ** 0.5 * x_0}[predict]
    assert loss.dtype == torch.float32 and loss.dim() == 0
    assert_close(loss, (target ** 2).mean())


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_model_that_knows_the_data_has_no_loss(predict):
    diffusion = Diffusion(linear_schedule(100), predict)
    loss = diffusion.loss(Oracle(diffusion, 0.3, 0.0), torch.full((64, 3), 0.3), generator=seeded())
    assert loss < 1e-8


def test_loss_has_a_fresh_noise_per_entry_and_a_seed_that_repeats_it():
    diffusion, model = Diffusion(linear_schedule(10)), Toy()
    losses = [diffusion.loss(model, torch.zeros(50, 40), torch.zeros(1), generator=seeded(seed))
              for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert model.calls[0][0].unique().numel() > 1990


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_half_precision_enters_and_leaves_as_float32(predict):
    diffusion = Diffusion(linear_schedule(10), predict, clip_dynamic)
    loss = diffusion.loss(lambda x, *_: x.bfloat16(), torch.zeros(4, 3).bfloat16())
    x_0 = diffusion.sample(lambda x, *_: x.bfloat16(), (4, 3), steps=2)
    assert loss.dtype == x_0.dtype == torch.float32


def test_loss_refuses_an_answer_that_would_broadcast_and_a_drop_in_percent():
    diffusion, x_0 = Diffusion(linear_schedule(10)), torch.zeros(4, 3)
    with pytest.raises(ValueError, match="answer"):
        diffusion.loss(lambda x_t, t, condition, keep: x_t[:, :1], x_0)
    for drop in (10, 2.0, 1.01, -0.01):        # a probability, and both ends of it
        with pytest.raises(ValueError, match=f"drop={drop} is a probability"):
            diffusion.loss(Toy(), x_0, drop=drop)
    for drop in (0.0, 1.0):
        assert diffusion.loss(Toy(), x_0, torch.zeros(4, 1), drop=drop).isfinite()


# ---- one step back ----

@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("t", [1, 5, 19])
def test_posterior_equals_bayes_rule_on_a_grid(schedule, t):
    """q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0); brute force."""
    alpha_bar, x_0, x_t = schedule(20), 0.8, -0.6
    alpha, before = alpha_bar[t] / alpha_bar[t - 1], alpha_bar[t - 1]
    grid = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    log_weight = (-(x_t - alpha.sqrt() * grid) ** 2 / (2 * (1 - alpha))
                  - (grid - before.sqrt() * x_0) ** 2 / (2 * (1 - before)))
    weight = log_weight.softmax(0)
    expected_mean = (weight * grid).sum()
    expected_variance = (weight * (grid - expected_mean) ** 2).sum()
    mean, variance = Diffusion(alpha_bar).posterior(
        torch.tensor([x_0]), torch.tensor([x_t]), torch.tensor([t]))
    assert_close(mean.item(), expected_mean.item(), rtol=1e-4, atol=1e-5)
    assert_close(variance.item(), expected_variance.item(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_posterior_at_step_0_is_x0_without_variance(schedule):
    x_0, x_t = torch.randn(2, 5, 2, generator=seeded())
    mean, variance = Diffusion(schedule()).posterior(x_0, x_t, torch.zeros(5).long())
    assert torch.equal(mean, x_0) and (variance == 0).all() and variance.shape == (5, 1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_step_with_eta_1_has_ddpm_mean_and_variance(schedule):
    """At every step of the schedule, in float64."""
    diffusion, t = Diffusion(schedule()).double(), torch.arange(1000)
    x_0, x_t = torch.randn(2, 1000, 2, dtype=torch.float64, generator=seeded())
    mean, variance = diffusion.posterior(x_0, x_t, t)
    ddim_mean, sigma = diffusion.ddim_step(x_t, x_0, t, t - 1, eta=1.0)
    assert_close(ddim_mean, mean, rtol=1e-7, atol=1e-7)
    assert_close(sigma ** 2, variance, rtol=1e-7, atol=0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_keeps_the_marginals(eta):
    """Lemma 1 of the DDIM paper: x_t ~ q(x_t | x_0) lands on x_s ~ q(x_s | x_0), for any eta;
    sigma is equation 16."""
    diffusion, t, s = Diffusion(cosine_schedule(100)), torch.tensor([70]), torch.tensor([20])
    x_0, probes = torch.tensor([0.9]), torch.tensor([0.0, 1.0])
    alpha_bar = diffusion.alpha_bar[t]
    x_t = mix(x_0, probes, alpha_bar)                      # the step is linear: two probes tell all
    mean, sigma = diffusion.ddim_step(x_t, x_0, t, s, eta)
    assert_close(mean[0], diffusion.alpha_bar[20].sqrt() * 0.9)
    assert_close((mean[1] - mean[0]) ** 2 + sigma[0] ** 2, 1 - diffusion.alpha_bar[20])
    a_t, a_s = cosine_schedule(100)[[70, 20]].tolist()
    assert_close(sigma.item(), eta * math.sqrt((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)))


# ---- samplers ----

def test_ddim_with_eta_1_and_every_step_draws_the_pictures_of_ddpm():
    """Same seed, same noise at each step, so the same sample; the oracle is the other sampler."""
    diffusion = Diffusion(cosine_schedule(50), X0)
    oracle = Oracle(diffusion, 0.5, 0.3)
    ddim = diffusion.sample(oracle, (6, 3), steps=50, eta=1.0, generator=seeded())
    assert_close(ddim, diffusion.sample_ddpm(oracle, (6, 3), generator=seeded()),
                 rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("predict", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_data_of_one_point_is_sampled_exactly(predict, steps):
    diffusion = Diffusion(linear_schedule(100), predict)
    point = torch.tensor([0.3, -2.0])
    for eta in [0.0, 1.0]:
        x_0 = diffusion.sample(Oracle(diffusion, point, 0.0), (5, 2), steps=steps, eta=eta)
        assert_close(x_0, point.expand(5, 2), rtol=1e-3, atol=1e-3)
    x_0 = diffusion.sample_ddpm(Oracle(diffusion, point, 0.0), (5, 2))
    assert_close(x_0, point.expand(5, 2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_of_gaussian_data_nears_its_mean_and_std_as_one_over_steps(schedule):
    """The optimal denoiser of N(2, 0.5^2) is linear, so two starts tell mean and std exactly."""
    diffusion, starts = Diffusion(schedule(500)), torch.tensor([0.0, 1.0])
    for steps in [10, 25, 50, 100, 500]:
        oracle = Oracle(diffusion, 2.0, 0.5)
        mean, one_up = diffusion.sample(oracle, (2,), steps=steps, noise=starts)
        assert abs(mean - 2.0) < 0.01 and abs((one_up - mean) / 0.5 - 1) < 3 / steps


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_stochastic_samplers_draw_gaussian_data_with_its_mean_and_std(schedule):
    """10 000 draws, so two standard errors are 0.01 and 1.4 %; 200 steps cost some 3 % of std."""
    diffusion = Diffusion(schedule(200))
    oracle = Oracle(diffusion, 2.0, 0.5)
    for x_0 in [diffusion.sample_ddpm(oracle, (10_000,), generator=seeded()),
                diffusion.sample(oracle, (10_000,), steps=200, eta=0.5, generator=seeded())]:
        assert abs(x_0.mean() - 2.0) < 0.02 and abs(x_0.std() / 0.5 - 1) < 0.05


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 4, 4)])
def test_samplers_work_in_any_shape(shape):
    diffusion = Diffusion(cosine_schedule(20), threshold=clip_dynamic)
    oracle = Oracle(diffusion, 0.0, 1.0)
    assert diffusion.sample(oracle, shape, steps=5, eta=0.5).shape == shape
    assert diffusion.sample_ddpm(oracle, shape).shape == shape
    assert diffusion.loss(oracle, torch.zeros(shape)).isfinite()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_step_is_finite_for_every_leap(schedule):
    """Property: rounding in long leaps at eta 1 must not take the root of a negative number."""
    for length in [2, 3, 40, 1000]:
        diffusion, one = Diffusion(schedule(length)), torch.ones(1)
        previous, t = torch.combinations(torch.arange(-1, length)).T    # every pair
        mean, sigma = diffusion.ddim_step(one, one, t, previous, eta=1.0)
        assert mean.isfinite().all() and sigma.isfinite().all()


def test_steps_are_spread_from_last_to_first_and_each_is_seen_by_the_whole_batch():
    diffusion = Diffusion(linear_schedule(10))
    hand = {1: [9], 2: [9, 0], 4: [9, 6, 3, 0], 5: [9, 7, 4, 2, 0],
            10: [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}
    for steps, expected in hand.items():
        model = Toy()
        diffusion.sample(model, (3, 2), torch.zeros(3, 1), steps)
        assert [t.tolist() for _, t, _, _ in model.calls] == [[step] * 3 for step in expected]
    model = Toy()
    diffusion.sample_ddpm(model, (3, 2), torch.zeros(3, 1))
    assert [t.tolist() for _, t, _, _ in model.calls] == [[step] * 3 for step in hand[10]]


def test_steps_never_repeat_however_many():
    diffusion = Diffusion(linear_schedule(37))
    for steps in range(2, 38):
        times = diffusion.times(steps)
        assert times == sorted(set(times), reverse=True) and (times[0], times[-1]) == (36, 0)
        assert len(times) == steps


# ---- the sampler of second order ----

def half_log_snr(diffusion, step):
    a = diffusion.alpha_bar[step].double()
    return (a / (1 - a)).log().item() / 2


def test_order_2_takes_the_steps_of_dpm_solver_2m_written_by_its_own_formula():
    """x_s = sigma_s / sigma_t x_t - sqrt(alpha_bar_s) (exp(-h) - 1) D, of algorithm 2, on a model
    that is no oracle; the way to the data itself is its last guess."""
    diffusion, start = Diffusion(cosine_schedule(100), X0), torch.randn(4, 3, generator=seeded())

    def model(x, t, condition, keep):
        return torch.tanh(x + t[:, None] / 50)
    x, times, guesses = start.double(), diffusion.times(6, 2), []
    for i, t in enumerate(times):
        guesses.append(model(x, torch.full((4,), t), None, None))
        if i == len(times) - 1:
            break
        h = half_log_snr(diffusion, times[i + 1]) - half_log_snr(diffusion, t)
        D = guesses[-1]
        if i:
            r = (half_log_snr(diffusion, t) - half_log_snr(diffusion, times[i - 1])) / h
            D = (1 + 1 / (2 * r)) * guesses[-1] - 1 / (2 * r) * guesses[-2]
        a, b = diffusion.alpha_bar[[t, times[i + 1]]].double()
        x = ((1 - b) / (1 - a)).sqrt() * x - b.sqrt() * math.expm1(-h) * D
    got = diffusion.sample(model, (4, 3), steps=6, noise=start, order=2)
    assert_close(got.double(), guesses[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("std", [1.0, 0.3, 0.2, 0.1])
def test_in_12_steps_order_2_keeps_the_spread_of_gaussian_data_and_ddim_loses_it(std):
    """The optimal denoiser is linear, so two starts tell mean and spread exactly."""
    diffusion, starts = Diffusion(cosine_schedule(1000), X0), torch.tensor([0.0, 1.0])
    kept = []
    for order in (1, 2):
        mean, one_up = diffusion.sample(Oracle(diffusion, 2.0, std), (2,), steps=12, noise=starts,
                                        order=order)
        assert abs(mean - 2.0) < 1e-3
        kept.append((one_up - mean).item() / std)
    assert abs(kept[1] - 1) < 0.1 and abs(kept[1] - 1) < abs(kept[0] - 1)
    assert std > 0.2 or kept[0] < 0.75


def test_the_error_of_order_2_falls_with_the_square_of_the_steps_and_that_of_ddim_does_not():
    diffusion, starts = Diffusion(cosine_schedule(20_000), X0), torch.tensor([0.0, 1.0])
    errors = {}
    for order in (1, 2):
        for steps in (20, 40, 80):
            mean, one_up = diffusion.sample(Oracle(diffusion, 0.0, 0.5), (2,), steps=steps,
                                            noise=starts, order=order)
            errors[order, steps] = abs((one_up - mean).item() / 0.5 - 1)
    assert errors[1, 80] > errors[1, 20] / 6        # four times the steps: a fourth
    assert errors[2, 80] < errors[2, 20] / 8        # and here a sixteenth, but for rounding


def test_steps_of_order_2_are_squares_that_never_repeat():
    diffusion = Diffusion(linear_schedule(101))
    assert diffusion.times(6, 2) == [100, 64, 36, 16, 4, 0]
    assert diffusion.times(6) == [100, 80, 60, 40, 20, 0]       # of order 1 unless it is said
    for steps in range(1, 102):
        times = diffusion.times(steps, 2)
        assert times == sorted(set(times), reverse=True) and times[0] == 100 and len(times) == steps
        assert times[-1] == 0 or steps == 1


def test_a_guess_that_does_not_change_is_carried_nowhere_and_alpha_bar_0_does_no_harm():
    diffusion = Diffusion(torch.tensor([0.9, 0.5, 0.1, 0.0]), X0)
    point = torch.tensor([0.3, -2.0])
    x_0 = diffusion.sample(lambda x, *_: point.expand_as(x), (5, 2), steps=4, order=2)
    assert_close(x_0, point.expand(5, 2))
    assert diffusion.lean(3, 2, 1) == 0 and diffusion.lean(2, 1, -1) == 0
    by_hand = (math.log(9) - 0) / (0 - math.log(1 / 9)) / 2
    assert diffusion.lean(2, 1, 0) == pytest.approx(by_hand)


@pytest.mark.parametrize("order, eta", [(2, 0.5), (3, 0.0), (0, 0.0)])
def test_orders_that_are_not_there_are_refused(order, eta):
    with pytest.raises(ValueError, match=f"order={order} with eta={eta}: order is 1, or 2 where"):
        Diffusion(linear_schedule(10)).sample(Toy(), (2, 2), steps=5, eta=eta, order=order)


@pytest.mark.parametrize("wrong", [{"steps": 11}, {"steps": 0}, {"steps": 5, "eta": 1.5}])
def test_too_many_steps_and_eta_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="between"):
        Diffusion(linear_schedule(10)).sample(Toy(), (2, 2), torch.zeros(2, 1), **wrong)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_no_noise_is_added_at_the_last_step(eta):
    """The result is the last guess of x_0, bit for bit, and trace holds each x_t and each guess."""
    diffusion, trace, model = Diffusion(cosine_schedule(20)), [], Toy()
    noise = torch.randn(4, 3, generator=seeded())
    x_0 = diffusion.sample(model, (4, 3), torch.ones(4, 1), steps=6, eta=eta, noise=noise,
                           trace=trace)
    assert len(trace) == 6 and torch.equal(trace[0][0], noise) and torch.equal(trace[-1][1], x_0)
    assert all(torch.equal(x_t, call[0]) for (x_t, _), call in zip(trace, model.calls))


def test_ddpm_adds_no_noise_at_the_last_step():
    """The result is the guess made at step 0 (X0: the model's own answer), bit for bit."""
    answers = []
    diffusion = Diffusion(cosine_schedule(20), X0)
    x_0 = diffusion.sample_ddpm(lambda x, *_: answers.append(x.sin()) or answers[-1], (4, 3))
    assert torch.equal(x_0, answers[-1]) and not torch.equal(answers[-1], answers[-2])


def test_one_step_needs_no_noise_but_its_start():
    """Two generators, one start: a single step is also the last one, so eta 1 adds nothing."""
    diffusion, noise = Diffusion(cosine_schedule(20)), torch.randn(4, 3, generator=seeded())
    a, b = (diffusion.sample(Toy(), (4, 3), torch.ones(4, 1), 1, 1.0, noise=noise,
                             generator=seeded(seed)) for seed in (1, 2))
    assert torch.equal(a, b)


def test_eta_decides_whether_the_generator_matters_after_the_start():
    diffusion, noise = Diffusion(cosine_schedule(20)), torch.randn(4, 3, generator=seeded())
    for eta, same in [(0.0, True), (0.5, False)]:
        a, b = (diffusion.sample(Toy(), (4, 3), torch.ones(4, 1), 5, eta, noise=noise,
                                 generator=seeded(seed)) for seed in (1, 2))
        assert torch.equal(a, b) == same


def test_plain_ddim_draws_nothing_but_its_start():
    diffusion, after = Diffusion(cosine_schedule(20)), seeded()
    diffusion.sample(Toy(), (4, 3), torch.ones(4, 1), 5, generator=after, noise=torch.ones(4, 3))
    assert torch.equal(after.get_state(), seeded().get_state())


def test_same_seed_same_sample_other_seed_another():
    diffusion, condition = Diffusion(cosine_schedule(20)), torch.ones(4, 1)
    for sampler in [lambda g: diffusion.sample(Toy(), (4, 3), condition, 5, 0.7, generator=g),
                    lambda g: diffusion.sample_ddpm(Toy(), (4, 3), condition, generator=g)]:
        a, b, c = sampler(seeded(5)), sampler(seeded(5)), sampler(seeded(6))
        assert torch.equal(a, b) and not torch.equal(a, c)


# ---- guidance and conditions ----

def test_guidance_1_is_the_conditional_prediction_bit_for_bit_in_a_single_batch():
    diffusion, condition = Diffusion(cosine_schedule(20)), torch.randn(4, 1, generator=seeded())
    conditional, model = Toy(), Toy()
    x_0 = diffusion.sample(lambda x, t, c, keep: conditional(x, t, condition, None), (4, 3),
                           steps=5, generator=seeded())
    guided = diffusion.sample(model, (4, 3), condition, 5, guidance=1.0, generator=seeded())
    assert torch.equal(guided, x_0)
    assert all(len(x) == 4 and (keep is None or keep.all()) for x, _, _, keep in model.calls)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guided_answer_equals_formula_worked_by_hand(guidance):
    """The toy says 0.1 x + c with its condition, 0.1 x - 1 without: 0.1 x - 1 + w (c + 1)."""
    diffusion, t = Diffusion(cosine_schedule(20)), torch.zeros(4).long()
    x_t, condition = torch.randn(4, 3, generator=seeded()), torch.tensor([[0.], [1.], [2.], [3.]])
    answer = diffusion.guided(Toy(), x_t, t, condition, guidance)
    assert_close(answer, 0.1 * x_t - 1 + guidance * (condition + 1))


def test_guidance_is_worked_out_in_float32_when_the_answers_are_half():
    """1.0078125 and 1 are neighbours in bfloat16; 1 + 3.3 times their difference is no bfloat16."""
    def model(x_t, t, condition, keep):
        return torch.where(keep[:, None], 1.0078125, 1.0).expand(-1, 3).bfloat16()
    diffusion, x_t, t = Diffusion(cosine_schedule(20)), torch.zeros(4, 3), torch.zeros(4).long()
    answer = diffusion.guided(model, x_t, t, torch.zeros(4, 1), 3.3)
    assert_close(answer, torch.full((4, 3), 1 + 3.3 * 0.0078125))


def test_guidance_calls_the_model_once_per_step_with_conditional_then_unconditional_half():
    diffusion, condition = Diffusion(cosine_schedule(20)), torch.randn(4, 1, generator=seeded())
    for sampler, calls in [(lambda m: diffusion.sample(m, (4, 3), condition, 5, guidance=3.0), 5),
                           (lambda m: diffusion.sample_ddpm(m, (4, 3), condition, 3.0), 20)]:
        model = Toy()
        sampler(model)
        assert len(model.calls) == calls
        for x, t, c, keep in model.calls:
            assert torch.equal(x[:4], x[4:]) and torch.equal(t[:4], t[4:]) and len(x) == 8
            assert torch.equal(c, torch.cat([condition, condition]))
            assert keep.tolist() == [True] * 4 + [False] * 4


def test_guidance_is_the_same_in_eps_x0_and_v():
    """Two oracles that differ in the mean: guided by 2 in any prediction, the same sample."""
    def sampled(predict):
        diffusion = Diffusion(linear_schedule(50), predict)
        told, untold = Oracle(diffusion, 1.0, 0.5), Oracle(diffusion, -1.0, 0.5)

        def model(x_t, t, condition, keep):
            answers = told(x_t, t, condition, keep), untold(x_t, t, condition, keep)
            return torch.where(keep[:, None], *answers)
        return diffusion.sample(model, (4, 3), torch.zeros(4), 10, guidance=2.0, generator=seeded())
    assert_close(sampled(Eps), sampled(X0), rtol=1e-3, atol=1e-3)
    assert_close(sampled(V), sampled(X0), rtol=1e-3, atol=1e-3)


def test_tuple_of_conditions_is_doubled_entry_by_entry_and_none_stays_none():
    diffusion, seen = Diffusion(cosine_schedule(20)), []

    def model(x_t, t, condition, keep):
        seen.append(condition)
        return x_t

    text, small = torch.randn(2, 7, 5), torch.randn(2, 3, 4, 4)
    diffusion.sample(model, (2, 3), (text, None, small), steps=1, guidance=2.0)
    assert torch.equal(seen[0][0], torch.cat([text, text])) and seen[0][1] is None
    assert torch.equal(seen[0][2], torch.cat([small, small]))


def test_guidance_without_a_condition_is_refused():
    with pytest.raises(ValueError, match="guidance=3"):
        Diffusion(cosine_schedule(20)).sample(Toy(), (2, 3), steps=5, guidance=3.0)


def test_callers_tensors_are_unchanged_and_the_result_is_no_view_of_them():
    diffusion = Diffusion(cosine_schedule(20), X0, threshold=clip_dynamic)
    noise, condition = torch.randn(4, 3, generator=seeded()), torch.ones(4, 1)
    before = noise.clone(), condition.clone()
    for steps in [1, 5]:
        x_0 = diffusion.sample(lambda x, *_: x, (4, 3), condition, steps, 0.5, 2.0, noise=noise)
        x_0.zero_()
        assert torch.equal(noise, before[0]) and torch.equal(condition, before[1])


def test_sampling_keeps_no_gradients():
    diffusion, weight = Diffusion(cosine_schedule(5)), torch.ones(3, requires_grad=True)
    assert not diffusion.sample(lambda x, *_: x * weight, (4, 3), steps=5).requires_grad
    assert not diffusion.sample_ddpm(lambda x, *_: x * weight, (4, 3)).requires_grad


# ---- thresholds ----

@pytest.mark.parametrize("shape", [(6, 2001), (6, 3, 8, 8), (6,)])
def test_dynamic_threshold_equals_numpy_quantile_per_sample(shape):
    loudness = torch.arange(6.0).view(-1, *[1] * (len(shape) - 1))
    x_0 = loudness * torch.randn(shape, generator=seeded())
    for percentile in [0.5, 0.9, 0.995]:
        for x, got in zip(x_0.numpy(), clip_dynamic(x_0, percentile)):
            s = max(np.quantile(np.abs(x), percentile), 1.0)
            np.testing.assert_allclose(got, np.clip(x, -s, s) / s, rtol=1e-5, atol=1e-6)


def test_thresholds_leave_pictures_within_range_alone_and_bring_others_into_it():
    fine, loud = torch.tensor([[-1.0, 0.5, 1.0]]), torch.tensor([[-8.0, 0.5, 4.0]])
    for clip in [clip_static, clip_dynamic]:
        assert torch.equal(clip(fine), fine) and clip(loud).abs().max() <= 1
    assert clip_static(loud).tolist() == [[-1.0, 0.5, 1.0]]
    assert_close(clip_dynamic(loud, 1.0), loud / 8)


@pytest.mark.parametrize("clip", [clip_static, clip_dynamic])
def test_threshold_is_applied_at_every_step_of_both_samplers(clip):
    """The data is at 5; every guess, and so the result, is brought to 1."""
    diffusion, trace = Diffusion(cosine_schedule(20), threshold=clip), []
    oracle = Oracle(diffusion, 5.0, 0.1)
    x_0 = diffusion.sample(oracle, (4, 3), steps=5, trace=trace)
    assert all(guess.abs().max() <= 1 for _, guess in trace)
    assert x_0.abs().max() <= 1 and diffusion.sample_ddpm(oracle, (4, 3)).abs().max() <= 1


# ---- it learns ----

class Tiny(nn.Module):
    """Owns its null condition, a third class, as the contract asks."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Embedding(3, 32)
        self.net = nn.Sequential(nn.Linear(34, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(),
                                 nn.Linear(64, 1))

    def forward(self, x_t, t, condition, keep):
        classes = condition if keep is None else torch.where(keep, condition, 2)
        time = t[:, None] / 50
        return self.net(torch.cat([x_t, time, self.classes(classes)], dim=1))


def test_tiny_network_learns_two_points_with_and_without_their_condition():
    """Data is -1 or +1. Told which, it draws that one; untold (guidance 0), one or the other."""
    torch.manual_seed(0)
    diffusion, model = Diffusion(cosine_schedule(50)), Tiny()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        classes = torch.randint(2, (256,))
        loss = diffusion.loss(model, classes[:, None] * 2.0 - 1, classes, drop=0.3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    classes = torch.arange(500) % 2
    told = diffusion.sample(model, (500, 1), classes, steps=20)[:, 0]
    untold = diffusion.sample(model, (500, 1), classes, steps=20, guidance=0.0)[:, 0]
    assert (told - (classes * 2 - 1)).abs().mean() < 0.1
    assert ((untold.abs() - 1).abs() < 0.5).float().mean() > 0.65     # of N(0, 1) it is 0.48
    assert 0.3 < (untold > 0).float().mean() < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_tiny_network_overfits_one_batch(seed):
    """The same noise each time, at steps that lie apart: the loss falls to a tenth."""
    torch.manual_seed(seed)
    diffusion, model = Diffusion(cosine_schedule(50)), Tiny()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(600):
        loss = diffusion.loss(model, torch.ones(8, 1), torch.zeros(8).long(),
                              generator=seeded(seed),
                              times=lambda n, device, generator: torch.arange(n) / n)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


# ---- where in t one trains, and what an error counts there ----

CPU = torch.device("cpu")


@pytest.mark.parametrize("times, share_below", [
    (uniform_times, lambda u: u),                                       # P(u < x) = x
    (early_times, lambda u: math.sqrt(u)),                              # P(u^2 < x) = sqrt(x)
    (middle_times, lambda u: 0.5 * (1 + math.erf(math.log(u / (1 - u)) / math.sqrt(2))))])
def test_times_have_their_closed_distribution(times, share_below):
    t = times(20_000, CPU, torch.Generator().manual_seed(0))
    assert t.shape == (20_000,) and (t >= 0).all() and (t <= 1).all()
    for x in (0.05, 0.25, 0.5, 0.8, 0.95):
        assert (t < x).float().mean().item() == pytest.approx(share_below(x), abs=0.015)


def test_the_loss_takes_its_steps_from_times_and_never_one_too_many():
    """A time that is 1 itself, as sigmoid can give in float32, is the last step."""
    seen, diffusion = [], Diffusion(cosine_schedule(10), X0)

    def model(x_t, t, condition, keep):
        seen.append(t)
        return x_t
    given = torch.tensor([0.0, 0.0999, 0.1, 0.55, 1 - 2 ** -24, 1.0])
    diffusion.loss(model, torch.randn(6, 2), times=lambda n, device, generator: given[:n])
    assert seen[0].tolist() == [0, 0, 1, 5, 9, 9]


def test_fine_weight_is_a_power_of_one_plus_snr_up_to_a_hundred():
    alpha_bar = torch.tensor([0.0, 0.5, 0.9, 0.98, 0.999]).view(-1, 1, 1)
    snr = alpha_bar / (1 - alpha_bar)
    assert_close(fine_weight(alpha_bar), (1 + snr).clamp(max=100).sqrt())
    assert_close(fine_weight(alpha_bar, power=0.75), (1 + snr).clamp(max=100) ** 0.75)
    assert (even_weight(alpha_bar) == 1).all()


def test_the_weighted_loss_by_hand():
    """Answer 0, so each error is x_0 squared; the weight doubles that of the second sample."""
    diffusion, x_0 = Diffusion(cosine_schedule(4), X0), torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    loss = diffusion.loss(lambda x_t, t, condition, keep: torch.zeros_like(x_t), x_0,
                          weight=lambda alpha_bar: torch.tensor([[1.0], [2.0]]))
    assert loss.item() == pytest.approx((1 + 2 * 9) / 2)


def test_weighing_does_not_move_the_best_guess_at_any_step():
    """The minimiser at each noise is the mean of x_0 given x_t, whatever the weight: for a fixed
    step the loss of a constant guess is least at the mean of the data."""
    diffusion, x_0 = Diffusion(cosine_schedule(100), X0), torch.tensor([[0.0], [1.0], [5.0]])
    guess = torch.tensor(0.0, requires_grad=True)
    diffusion.loss(lambda x_t, t, condition, keep: guess.expand_as(x_t) + 0 * x_t, x_0,
                   times=lambda n, device, generator: torch.full((n,), 0.3),
                   weight=fine_weight).backward()
    slope = guess.grad.item()
    assert slope < 0
    guess.grad, guess.data = None, x_0.mean()
    diffusion.loss(lambda x_t, t, condition, keep: guess.expand_as(x_t) + 0 * x_t, x_0,
                   times=lambda n, device, generator: torch.full((n,), 0.3),
                   weight=fine_weight).backward()
    assert abs(guess.grad.item()) < 1e-6
