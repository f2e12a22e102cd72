"""Flow against closed formulas: Gaussians, a single point, DDIM along the same path.

Oracles: the velocity field of Gaussian data, the path that it has, orders of convergence, the
density of a sigmoid, a diffusion's own sampler, and toy models worked out by hand.
"""
import math

import pytest
import torch
from torch.testing import assert_close

from minidalle.diffusion import (
    X0,
    Diffusion,
    Eps,
    V,
    clip_static,
    cosine_schedule,
    even_weight,
    fine_weight,
    linear_schedule,
    middle_times,
    mix,
    uniform_times,
)
from minidalle.flow import (
    Data,
    Flow,
    Velocity,
    alpha_bar_of,
    as_diffusion,
    as_flow,
    few_times,
    interpolate,
    leaps,
    like,
    logit_normal,
    scale_of,
    shortcut_loss,
    time_of,
)
from minidalle.train import seeded_each

MEAN, STD = 0.7, 0.4


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def spread(t: torch.Tensor) -> torch.Tensor:
    """The variance of x_t where the data is N(MEAN, STD^2)."""
    return (1 - t) ** 2 * STD ** 2 + t ** 2


def field(x_t, t, condition=None, keep=None):
    """E[eps - x_0 | x_t] of Gaussian data, by the formula for the conditional mean."""
    t = like(t, x_t)
    slope = (t - (1 - t) * STD ** 2) / spread(t)               # cov(eps - x_0, x_t) / var(x_t)
    return -MEAN + slope * (x_t - (1 - t) * MEAN)


def guess(x_t, t, condition=None, keep=None):
    """The same as a guess of x_0."""
    return x_t - like(t, x_t) * field(x_t, t)


def shifted(model, off: float):
    """The same answers, all wrong by so much."""
    return lambda *given: model(*given) + off


class Toy:
    """Answers 0.1 x_t plus its condition, or minus 1 without it; writes down every call."""

    def __init__(self):
        self.calls = []

    def __call__(self, x_t, t, condition, keep):
        self.calls.append((x_t, t, condition, keep))
        keep = torch.ones(len(x_t), dtype=torch.bool) if keep is None else keep
        return 0.1 * x_t + torch.where(keep[:, None], condition, -1.0)


# ---- the line -------------------------------------------------------------------------------

def test_the_line_begins_at_the_data_ends_at_the_noise_and_its_slope_is_the_target():
    x_0, eps = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]])
    ends = [interpolate(x_0, eps, torch.tensor([[t]])) for t in (0.0, 0.25, 1.0)]
    assert torch.equal(ends[0], x_0) and torch.equal(ends[2], eps)
    assert ends[1].tolist() == [[1.5, -0.5]]
    assert torch.equal(Velocity.target(x_0, eps), torch.tensor([[2.0, 6.0]]))
    assert_close((ends[2] - ends[1]) / 0.75, Velocity.target(x_0, eps))


def test_both_answers_hold_the_same_velocity():
    x_0, eps, t = (torch.randn(5, 3, generator=seed(n)) for n in range(3))
    t = t[:, :1].sigmoid()
    x_t = interpolate(x_0, eps, t)
    for predict in (Velocity, Data):
        v = predict.to_velocity(x_t, predict.target(x_0, eps), t)
        assert_close(v, eps - x_0, atol=1e-5, rtol=1e-4)


# ---- where in t one trains ------------------------------------------------------------------

@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (-0.8, 0.8), (0.5, 2.0)])
def test_the_logit_normal_density_is_that_of_a_sigmoid_of_normals(mean, std):
    """It sums to 1, and its mean and variance are those of many draws."""
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    density = logit_normal(t, mean, std)
    draws = (mean + std * torch.randn(400_000, generator=seed(), dtype=torch.float64)).sigmoid()
    assert density.mean().item() == pytest.approx(1, abs=1e-4)
    first, second = (t * density).mean(), (t ** 2 * density).mean()
    assert first.item() == pytest.approx(draws.mean().item(), abs=2e-3)
    assert (second - first ** 2).item() == pytest.approx(draws.var().item(), abs=2e-3)


def test_the_density_as_it_stands_is_that_of_middle_times():
    """In each tenth, the share of draws; in the middle 4 / sqrt(2 pi)."""
    t = middle_times(200_000, torch.device("cpu"), seed())
    share = torch.histc(t, 10, 0, 1) / len(t)
    grid = (torch.arange(10_000) + 0.5) / 10_000
    assert_close(share, logit_normal(grid).view(10, -1).sum(dim=1) / 10_000, atol=5e-3, rtol=0)
    assert logit_normal(torch.tensor(0.5)).item() == pytest.approx(4 / math.sqrt(2 * math.pi))


def test_few_times_are_those_at_which_one_two_or_four_steps_ask_and_half_of_them_the_first():
    t = few_times(60_000, torch.device("cpu"), seed())
    assert t[:30_000].eq(1).all()
    share = {one: (t[30_000:] == one).float().mean().item() for one in (0.25, 0.5, 0.75)}
    assert sum(share.values()) == pytest.approx(1)
    assert all(one == pytest.approx(1 / 3, abs=0.01) for one in share.values())
    asked = {t for n in (1, 2, 4) for t in torch.linspace(1, 0, n + 1).tolist()[:-1]}
    assert asked == {1.0, *share} and few_times(1, t.device, seed()).tolist() == [1.0]


# ---- the field ------------------------------------------------------------------------------

@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_the_marginal_field_is_the_mean_of_the_lines_that_pass_there(at):
    """By counting: of many lines, those that pass near a place at this time."""
    eps = torch.randn(2_000_000, generator=seed(1))
    x_0 = MEAN + STD * torch.randn(2_000_000, generator=seed(2))
    x_t = interpolate(x_0, eps, torch.tensor(at))
    for place in ((1 - at) * MEAN, (1 - at) * MEAN + spread(torch.tensor(at)).sqrt().item()):
        near = (x_t - place).abs() < 0.02
        expected = field(torch.tensor([place]), torch.tensor([at])).item()
        assert (eps - x_0)[near].mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("predict, exact", [(Velocity, field), (Data, guess)])
def test_no_answer_has_a_smaller_loss_than_the_conditional_mean(predict, exact):
    flow, losses = Flow(predict), []
    for off in (-0.1, 0.0, 0.1):
        x_0 = MEAN + STD * torch.randn(200_000, 1, generator=seed(3))
        losses.append(flow.loss(shifted(exact, off), x_0, generator=seed(4)).item())
    assert losses[1] < min(losses[0], losses[2])


def test_the_loss_is_the_squared_error_at_the_drawn_times_weighted_by_hand():
    """The same draws again, in their order: times, keep, noise."""
    x_0, model = torch.randn(6, 4, generator=seed(9)), Toy()
    condition = torch.arange(6.0)[:, None]
    got = Flow(Data).loss(model, x_0, condition, 0.5, seed(1), uniform_times, fine_weight)
    g = seed(1)
    t, keep, eps = torch.rand(6, generator=g), torch.rand(6, generator=g) >= 0.5, \
        torch.randn(6, 4, generator=g)
    x_t, asked, told, kept = model.calls[0]
    assert_close(x_t, (1 - t[:, None]) * x_0 + t[:, None] * eps)
    assert torch.equal(asked, t) and torch.equal(kept, keep) and told is condition
    answer = 0.1 * x_t + torch.where(keep[:, None], condition, -1.0)
    snr = ((1 - t) / t)[:, None] ** 2
    assert_close(got, ((1 + snr).clamp(max=100) ** 0.5 * (answer - x_0) ** 2).mean())


def test_with_noises_given_the_loss_is_on_these_lines_and_no_others():
    x_0, eps, model = torch.zeros(3, 2), torch.arange(6.0).view(3, 2), Toy()
    Flow().loss(model, x_0, torch.zeros(3, 1), generator=seed(), eps=eps)
    x_t, t, *_ = model.calls[0]
    assert_close(x_t, t[:, None] * eps)


@pytest.mark.parametrize("given, said", [
    (dict(drop=1.5), "drop=1.5 is a probability"),
    (dict(eps=torch.zeros(2, 3)), r"eps has shape \(2, 3\) and should have \(2, 2\)")])
def test_what_the_loss_cannot_use_is_told(given, said):
    with pytest.raises(ValueError, match=said):
        Flow().loss(lambda x, *rest: x, torch.zeros(2, 2), **given)


def test_an_answer_of_another_shape_is_told_before_it_broadcasts():
    with pytest.raises(ValueError, match="the model's answer has shape"):
        Flow().loss(lambda x, *rest: x[:, :1], torch.zeros(2, 2))


# ---- following it ---------------------------------------------------------------------------

def exact_end(noise):
    """Where the path of a noise ends: it keeps its place among the others."""
    return MEAN + STD * noise


@pytest.mark.parametrize("order, falls", [(1, 2), (2, 4)])
def test_with_twice_the_steps_the_error_falls_by_two_for_euler_and_by_four_for_order_two(
        order, falls):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    errors = [(Flow().sample(field, noise.shape, steps=n, noise=noise, order=order)
               - exact_end(noise)).abs().max().item() for n in (40, 80, 160)]
    for before, after in zip(errors, errors[1:]):
        assert before / after == pytest.approx(falls, rel=0.15)


@pytest.mark.parametrize("predict, model", [(Velocity, field), (Data, guess)])
def test_the_path_of_gaussian_data_is_the_closed_one_at_every_time(predict, model):
    """x_t = (1 - t) mean + sqrt((1 - t)^2 std^2 + t^2) eps: bent, though each line is straight."""
    noise, trace = torch.linspace(-2, 2, 5)[:, None], []
    Flow(predict).sample(model, noise.shape, steps=400, noise=noise, order=2, trace=trace)
    for k in (100, 200, 300):
        t = torch.tensor(1 - k / 400)
        assert_close(trace[k][0], (1 - t) * MEAN + spread(t).sqrt() * noise, atol=2e-3, rtol=0)
    bend = trace[200][0] - (trace[0][0] + exact_end(noise)) / 2
    assert bend.abs().max() > 0.2


def test_where_all_data_are_one_point_no_lines_cross_and_one_step_is_exact():
    point = torch.tensor([[0.3, -0.8]])
    for steps in (1, 2, 7):
        got = Flow(Data).sample(lambda x, *rest: point.expand_as(x), (4, 2), steps=steps)
        assert_close(got, point.expand(4, 2))


def test_after_reflow_the_lines_of_gaussian_data_cross_no_more_and_one_step_is_exact():
    """The best answer on the new lines, x_t = ((1 - t) std + t) eps + (1 - t) mean solved for eps,
    has no loss at all, and its paths are straight."""
    def straight(x_t, t, condition, keep):
        t = like(t, x_t)
        eps = (x_t - (1 - t) * MEAN) / ((1 - t) * STD + t)
        return eps - exact_end(eps)
    flow = Flow()
    eps, x_0 = flow.pairs(field, (200, 1), steps=400, generator=seed(), order=2)
    assert_close(x_0, exact_end(eps), atol=1e-4, rtol=0)
    assert flow.loss(straight, x_0, eps=eps, generator=seed()) < 1e-7
    assert flow.loss(field, x_0, eps=eps, generator=seed()) > 1e-2
    one = flow.sample(straight, eps.shape, steps=1, noise=eps)
    assert_close(one, exact_end(eps), atol=1e-5, rtol=0)
    crooked = flow.sample(field, eps.shape, steps=1, noise=eps)
    assert (crooked - exact_end(eps)).abs().max() > 0.5


def test_one_step_of_a_field_never_reflowed_draws_the_mean_of_the_data():
    assert_close(Flow().sample(field, (50, 1), steps=1, generator=seed()),
                 torch.full((50, 1), MEAN), atol=1e-5, rtol=0)


def test_many_draws_have_the_mean_and_the_deviation_of_the_data():
    x = Flow().sample(field, (100_000, 1), steps=25, generator=seed(), order=2)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(STD, abs=0.01)


def test_the_trace_holds_the_noise_first_and_the_result_as_the_last_guess():
    trace, noise = [], torch.randn(3, 1, generator=seed())
    for order in (1, 2):
        trace.clear()
        got = Flow().sample(field, (3, 1), steps=5, noise=noise, trace=trace, order=order)
        assert len(trace) == 5 and torch.equal(trace[0][0], noise)
        assert_close(trace[-1][1], got)


def test_a_step_to_a_later_time_goes_back_the_way_it_came():
    """Data to noise and back: the flow is a change of place that can be undone."""
    x_0 = torch.linspace(-1, 2, 5, dtype=torch.float64)[:, None]
    times = torch.linspace(1e-6, 1, 401).tolist()
    noise = Flow().follow(field, x_0, times, order=2)
    assert_close(noise, (x_0 - MEAN) / STD, atol=1e-3, rtol=0)
    assert_close(Flow().follow(field, noise, times[::-1], order=2), x_0, atol=1e-3, rtol=0)


def test_a_threshold_holds_every_guess_and_so_the_result():
    trace, wild = [], lambda x, *rest: 3 * x
    got = Flow(Data, clip_static).sample(wild, (4, 3), steps=6, generator=seed(), trace=trace,
                                         order=2)
    assert max(guess.abs().max() for _, guess in trace) <= 1 + 1e-5 and got.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("given, said", [
    (dict(steps=0), "steps=0 should be 1 or more"), (dict(order=3), "order=3 should be 1"),
    (dict(noise=torch.zeros(3, 1)), r"noise has shape \(3, 1\)"),
    (dict(guidance=2.0), "guidance=2.0 has no condition to strengthen")])
def test_what_cannot_be_sampled_is_told(given, said):
    with pytest.raises(ValueError, match=said):
        Flow().sample(field, (2, 1), **given)


# ---- guidance, and pictures that do not depend on each other --------------------------------

def test_guidance_1_is_the_conditional_answer_and_asks_once():
    model, x, t, c = Toy(), torch.randn(3, 2, generator=seed()), torch.rand(3), torch.ones(3, 1)
    v = Flow().velocity(model, x, t, c)
    assert_close(v, 0.1 * x + 1) and len(model.calls) == 1 and len(model.calls[0][0]) == 3


@pytest.mark.parametrize("predict", [Velocity, Data])
def test_guidance_goes_from_the_unconditional_velocity_through_the_conditional_one(predict):
    x, t, c = torch.randn(3, 2, generator=seed()), torch.rand(3) / 2 + 0.5, torch.ones(3, 1)
    flow = Flow(predict)
    yes = flow.velocity(Toy(), x, t, c)
    none = predict.to_velocity(x, 0.1 * x - 1, like(t, x))
    for scale in (0.0, 0.5, 3.0):
        assert_close(flow.velocity(Toy(), x, t, c, scale), none + scale * (yes - none))


def test_the_prompt_is_there_at_every_step_and_the_callers_tensors_are_unchanged():
    model, c, noise = Toy(), torch.ones(2, 1), torch.randn(2, 2, generator=seed())
    kept = c.clone(), noise.clone()
    Flow().sample(model, (2, 2), c, steps=4, guidance=2.0, noise=noise)
    assert torch.equal(c, kept[0]) and torch.equal(noise, kept[1])
    for _, _, told, keep in model.calls:
        assert torch.equal(told, torch.ones(4, 1)) and keep.tolist() == [True, True, False, False]
    assert [call[1][0].item() for call in model.calls] == [1.0, 0.75, 0.5, 0.25]


def test_with_a_generator_each_no_sample_depends_on_the_others():
    both = Flow().sample(field, (2, 3), generator=seeded_each(5, (0, 1)))
    for i in range(2):
        assert_close(Flow().sample(field, (1, 3), generator=seeded_each(5, (i,)))[0], both[i])


def test_a_loss_depends_on_its_generator_and_on_no_global_one():
    losses = []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(Flow().loss(field, torch.ones(8, 2), generator=seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


# ---- leaps ----------------------------------------------------------------------------------

def leaper(predict):
    """What arrives exactly, on the paths of Gaussian data."""
    def answer(x_t, t, condition, keep, to):
        t, to = like(t, x_t), like(to, x_t)
        end = (1 - to) * MEAN + (spread(to) / spread(t)).sqrt() * (x_t - (1 - t) * MEAN)
        return predict.answer(x_t, (x_t - end) / (t - to), t)
    return answer


@pytest.mark.parametrize("predict", [Velocity, Data])
def test_an_answer_is_the_inverse_of_its_velocity(predict):
    x_t, v, t = (torch.randn(5, 3, generator=seed(n)) for n in range(3))
    t = t[:, :1].sigmoid()
    assert_close(predict.to_velocity(x_t, predict.answer(x_t, v, t), t), v)


@pytest.mark.parametrize("predict", [Velocity, Data])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_exact_leaps_end_where_the_path_does_in_any_number(predict, steps):
    noise = torch.linspace(-2, 2, 9)[:, None]
    assert_close(leaps(Flow(predict), leaper(predict), noise, steps), exact_end(noise))


@pytest.mark.parametrize("predict, exact", [(Velocity, field), (Data, guess)])
def test_exact_leaps_have_hardly_a_shortcut_loss_and_others_have_one(predict, exact):
    """What is left are the two steps of Euler's that the shortest is told to agree with."""
    x_0, flow = MEAN + STD * torch.randn(3000, 1, generator=seed(1)), Flow(predict)

    def loss(model, levels):
        return shortcut_loss(flow, model, exact, x_0, levels=levels, generator=seed(2)).item()
    left = [loss(leaper(predict), levels) for levels in (3, 4, 5)]
    assert left[0] < 0.01 and left[0] / left[1] > 4 and left[1] / left[2] > 4, left
    assert loss(lambda x, t, c, k, to: exact(x, t), 4) > 10 * left[1]      # that never looks ahead
    assert loss(lambda *given: leaper(predict)(*given) + 0.2, 4) > 10 * left[1]


def test_the_longest_leap_is_asked_from_pure_noise_and_every_leap_where_it_fits():
    asked = []

    def model(x, t, condition, keep, to):
        asked.append((t, to))
        return x
    shortcut_loss(Flow(), model, field, torch.zeros(300, 1), generator=seed())
    t, to = asked[-1]
    for rows, d in ((slice(0, 100), 1.0), (slice(100, 200), 0.5), (slice(200, 300), 0.25)):
        assert_close(t[rows] - to[rows], torch.full((100,), d))
        assert sorted(set(t[rows].tolist())) == [d * k for k in range(1, int(1 / d) + 1)]
    assert all(len(t) == 200 for t, _ in asked[:2])            # the rest is the teacher's


def test_only_the_shortest_leaps_ask_the_teacher_and_with_its_guidance():
    teacher, told = Toy(), torch.arange(6.0)[:, None]
    shortcut_loss(Flow(), lambda x, t, c, k, to: x + c, teacher, torch.zeros(6, 2), told, 2.0,
                  generator=seed())
    assert len(teacher.calls) == 2
    for _, _, condition, keep in teacher.calls:
        assert condition[:, 0].tolist() == [4, 5, 4, 5]
        assert keep.tolist() == [True, True, False, False]


def test_a_threshold_holds_a_leap_too():
    got = leaps(Flow(Data, clip_static), lambda x, *rest: 3 * x, torch.randn(4, 2), 1)
    assert got.abs().max() <= 1 + 1e-5


# ---- the same path as that of a diffusion ---------------------------------------------------

def test_time_and_alpha_bar_are_each_others_inverse_and_noise_is_as_loud_beside_the_data():
    t = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    assert_close(time_of(alpha_bar_of(t)), t)
    alpha_bar = cosine_schedule()
    assert_close(alpha_bar_of(time_of(alpha_bar)), alpha_bar)
    assert_close((t / (1 - t)).square(), 1 / alpha_bar_of(t) - 1)          # 1 / SNR
    assert alpha_bar_of(torch.tensor([0.0, 0.5, 1.0])).tolist() == [1.0, 0.5, 0.0]


def test_a_mixture_of_a_diffusion_is_that_of_the_flow_at_its_time_and_scale():
    x_0, eps = torch.randn(4, 3, generator=seed(1)), torch.randn(4, 3, generator=seed(2))
    alpha_bar = torch.tensor([0.999, 0.6, 0.1, 1e-5])[:, None]
    assert_close(mix(x_0, eps, alpha_bar),
                 scale_of(alpha_bar) * interpolate(x_0, eps, time_of(alpha_bar)))


def crooked(x_t, t, condition, keep):
    """A model of a diffusion as wild as a network: any function of place, step and condition."""
    told = condition if keep is None else torch.where(keep[:, None], condition, 0.0)
    return (2 * x_t + told + t[:, None] / 300).sin()


@pytest.mark.parametrize("predict", [Eps, X0, V])
@pytest.mark.parametrize("schedule", [linear_schedule, cosine_schedule])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_model_of_a_diffusion_followed_as_a_flow_draws_the_picture_that_ddim_draws(
        predict, schedule, guidance):
    """At the same steps, from the same noise; DDIM is Euler along the flow."""
    diffusion = Diffusion(schedule()[:-50], predict)           # the last steps of Eps amplify
    noise, told = torch.randn(5, 3, generator=seed()).double(), torch.randn(5, 1, generator=seed(1))
    steps = diffusion.times(12)
    ddim = diffusion.sample(crooked, noise.shape, told, steps=12, noise=noise, guidance=guidance)
    alpha_bar = diffusion.alpha_bar.double()[steps]
    times = [*time_of(alpha_bar).tolist(), 0.0]
    flow = Flow().follow(as_flow(diffusion, crooked), noise / scale_of(alpha_bar[0]), times, told,
                         guidance)
    assert (ddim - noise).abs().max() > 0.5
    assert_close(flow.float(), ddim.float(), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("predict", [Eps, X0, V])
def test_a_model_of_a_flow_asked_as_a_diffusion_draws_what_the_flow_draws(predict):
    diffusion = Diffusion(cosine_schedule()[:-5], predict)
    noise = torch.randn(5, 1, generator=seed()).double()
    alpha_bar = diffusion.alpha_bar.double()[diffusion.times(10)]
    times = [*time_of(alpha_bar).tolist(), 0.0]
    own = Flow(Data).follow(guess, noise / scale_of(alpha_bar[0]), times)
    asked = diffusion.sample(as_diffusion(Flow(Data), guess, diffusion), noise.shape, steps=10,
                             noise=noise)
    assert_close(asked.float(), own.float(), atol=1e-3, rtol=1e-3)


def test_there_and_back_again_is_the_same_model():
    diffusion = Diffusion(cosine_schedule(), V)
    x, step, told = torch.randn(4, 3, generator=seed()), torch.tensor([0, 10, 500, 900]), \
        torch.zeros(4, 1)
    back = as_diffusion(Flow(), as_flow(diffusion, crooked), diffusion)
    assert_close(back(x, step, told, None), crooked(x, step, told, None), atol=1e-4, rtol=1e-3)


def test_flow_matching_of_a_velocity_weighs_a_guess_of_x_0_by_the_noise():
    """The error of the velocity is that of x_0, divided by the time: fine_weight to the power 1, up
    to the factor (1 - t)^2 + t^2, is what it counts with."""
    t = torch.tensor([0.2, 0.5, 0.9])[:, None]
    x_0, eps, off = torch.zeros(3, 1), torch.ones(3, 1), 0.3
    error = Data.to_velocity(interpolate(x_0, eps, t), x_0 + off, t) - (eps - x_0)
    weight = fine_weight(alpha_bar_of(t), power=1) / ((1 - t) ** 2 + t ** 2)
    assert_close(error.square(), weight * off ** 2)
    assert torch.equal(even_weight(t), torch.ones(3, 1))
