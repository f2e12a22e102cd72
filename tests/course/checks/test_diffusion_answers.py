"""Lesson 10: answers that students really give, right and wrong, over many seeds."""
import math

import numpy
import pytest
import styles_diffusion
import torch
from asking import calls

from minidalle.course import checks
from minidalle.course.checks import judge
from minidalle.diffusion import Diffusion, Eps, V, mix


def over(weight, x):
    return weight.reshape((-1,) + (1,) * (x.dim() - 1))


# ---- right answers in other styles

def noise_in_place(x_0, t, eps, alpha_bar):
    x_t, left = x_0.clone(), alpha_bar.gather(0, t)
    while left.dim() < x_0.dim():
        left = left[..., None]
    x_t *= left ** 0.5
    x_t += (1 - left) ** 0.5 * eps
    return x_t


def noise_by_einsum(x_0, t, eps, alpha_bar):
    left = alpha_bar[t].double()
    return (torch.einsum("b,b...->b...", left.sqrt(), x_0.double())
            + torch.einsum("b,b...->b...", (1 - left).sqrt(), eps.double()))


def posterior_by_betas(x_0, x_t, t, alpha_bar):
    """With the whole tables, as most code on the web has it."""
    earlier = torch.nn.functional.pad(alpha_bar[:-1], (1, 0), value=1.0)
    alphas = alpha_bar / earlier
    betas = 1 - alphas
    c_0 = betas * earlier.sqrt() / (1 - alpha_bar)
    c_t = (1 - earlier) * alphas.sqrt() / (1 - alpha_bar)
    return (over(c_0[t], x_0) * x_0 + over(c_t[t], x_0) * x_t,
            (betas * (1 - earlier) / (1 - alpha_bar))[t])


def posterior_by_the_package(x_0, x_t, t, alpha_bar):
    mean, variance = Diffusion(alpha_bar).posterior(x_0, x_t, t)
    return [mean, variance.flatten()]


STYLES = [
    ("add_noise", noise_in_place),
    ("add_noise", noise_by_einsum),
    ("add_noise", lambda x_0, t, eps, alpha_bar: Diffusion(alpha_bar).add_noise(x_0, t, eps)),
    ("posterior", posterior_by_betas),
    ("posterior", posterior_by_the_package),
    ("velocity", lambda x_0, eps, alpha_bar: torch.stack(
        [V.target(x, e, a) for x, e, a in zip(x_0, eps, alpha_bar)])),
    ("velocity", lambda x_0, eps, alpha_bar: V.target(
        x_0.double(), eps.double(), over(alpha_bar, x_0).double())),
    ("ddim_step", lambda x_t, eps, now, to: (to / now) ** 0.5 * x_t + (
        (1 - to) ** 0.5 - (to * (1 - now) / now) ** 0.5) * eps),
    ("ddim_step", lambda x_t, eps, now, to: torch.tensor(to).sqrt() * Eps.to_x0(
        x_t, eps, torch.tensor(now)) + (1 - torch.tensor(to)).sqrt() * eps),
    ("guided", lambda cond, uncond, scale: torch.lerp(uncond, cond, scale)),
    ("guided", lambda cond, uncond, scale: cond + (scale - 1) * (cond - uncond)),
    *[(name.partition(".")[2], function)
      for name, function in styles_diffusion.OTHER_STYLE.items()],
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"diffusion.{name}", function, seed).passed, seed


# ---- wrong answers, some of them mistakes of the bank in other words

def noise_by_beta(x_0, t, eps, alpha_bar):
    beta = 1 - alpha_bar / torch.cat([torch.ones(1), alpha_bar])[:-1]
    return over((1 - beta[t]).sqrt(), x_0) * x_0 + over(beta[t].sqrt(), x_0) * eps


def posterior_of(x_0, x_t, t, alpha_bar, at_data=None, variance=None, first=1.0, swap=False):
    """Written sample by sample."""
    mean, variances = torch.empty_like(x_0), []
    for b, step in enumerate(t.tolist()):
        now = alpha_bar[step]
        earlier = alpha_bar[step - 1] if step else torch.as_tensor(first)
        alpha = now / earlier
        beta = (earlier - now) / earlier
        c_0 = (at_data or torch.sqrt)(earlier) * beta / (1 - now)
        c_t = alpha.sqrt() * (1 - earlier) / (1 - now)
        c_0, c_t = (c_t, c_0) if swap else (c_0, c_t)
        mean[b] = c_0 * x_0[b] + c_t * x_t[b]
        right = (1 - earlier) / (1 - now) * beta
        variances.append(variance(now, earlier, beta, right) if variance else right)
    return mean, torch.stack(variances)


def posterior_by_alphas(x_0, x_t, t, alpha_bar, alpha=lambda now, earlier: now / earlier,
                        beta=lambda alpha, now: 1 - alpha):
    """As most would write it, with another alpha_t or another beta_t."""
    now, earlier = alpha_bar[t], torch.where(t > 0, alpha_bar[t - 1], 1.0)
    step = alpha(now, earlier)
    noise = beta(step, now)
    return (over(earlier.sqrt() * noise / (1 - now), x_0) * x_0
            + over(step.sqrt() * (1 - earlier) / (1 - now), x_0) * x_t,
            (1 - earlier) / (1 - now) * noise)


def back_at_the_same_level(x_t, eps, now, to):
    x_0 = (x_t - (1 - to) ** 0.5 * eps) / to ** 0.5
    return to ** 0.5 * x_0 + (1 - to) ** 0.5 * eps


STUDENTS = [                   # (exercise, the bank's name or None, somebody's wrong answer)
    ("add_noise", "the single step's formula", noise_by_beta),
    ("add_noise", "weights along the last dimension",
     lambda x_0, t, eps, alpha_bar: x_0 * alpha_bar[t] ** 0.5 + eps * (1 - alpha_bar[t]) ** 0.5),
    ("add_noise", "t counted from 1", lambda x_0, t, eps, alpha_bar: torch.stack(
        [a ** 0.5 * x + (1 - a) ** 0.5 * e for a, x, e in zip(alpha_bar.roll(1)[t], x_0, eps)])),
    ("add_noise", "data and noise exchanged",
     lambda x_0, t, eps, alpha_bar: styles_diffusion.add_noise(eps, t, x_0, alpha_bar)),
    ("add_noise", "one minus the root", lambda x_0, t, eps, alpha_bar: torch.lerp(
        eps, x_0, over(alpha_bar[t], x_0).sqrt())),
    ("add_noise", "noise taken away",
     lambda x_0, t, eps, alpha_bar: noise_in_place(x_0, t, -eps, alpha_bar)),
    ("add_noise", "three dimensions more, whatever x_0 has", lambda x_0, t, eps, alpha_bar: (
        alpha_bar[t][:, None, None, None].sqrt() * x_0
        + (1 - alpha_bar[t][:, None, None, None]).sqrt() * eps)),
    ("add_noise", "one dimension more, whatever x_0 has", lambda x_0, t, eps, alpha_bar: (
        x_0 * alpha_bar[t].unsqueeze(1) ** 0.5 + eps * (1 - alpha_bar[t].unsqueeze(1)) ** 0.5)),
    ("add_noise", "one step too late", lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, (t + 1).clamp(max=len(alpha_bar) - 1), eps, alpha_bar)),
    ("add_noise", "multiplied up again", lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, t, eps, alpha_bar.cumprod(0))),
    ("add_noise", "clipped", lambda x_0, t, eps, alpha_bar: noise_in_place(x_0, t, eps, alpha_bar)
     .clamp(-1, 1)),
    ("add_noise", None, lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, t, torch.randn_like(eps), alpha_bar)),
    ("posterior", "beta as the variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: 1 - now / earlier)),
    ("posterior", "the standard deviation as the variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: right ** 0.5)),
    ("posterior", "the weights exchanged", lambda *args: posterior_of(*args, swap=True)),
    ("posterior", "the first entry again before t = 0", lambda x_0, x_t, t, alpha_bar:
     posterior_of(x_0, x_t, t, alpha_bar, first=alpha_bar[0])),
    ("posterior", "the root forgotten in the weight of x_0",
     lambda *args: posterior_of(*args, at_data=lambda earlier: earlier)),
    ("posterior", None, lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: right.clamp(min=1e-20).log())),
    ("posterior", "beta forgotten in the variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: (1 - earlier) / (1 - now))),
    ("posterior", None, lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: right.clamp(min=1e-3))),
    ("posterior", "the weights exchanged",
     lambda x_0, x_t, t, alpha_bar: posterior_of(x_t, x_0, t, alpha_bar)),
    ("posterior", None, lambda *args: posterior_of(*args)[::-1]),
    ("posterior", "only the mean returned", lambda *args: posterior_of(*args)[0]),
    ("posterior", "alpha_bar in place of alpha throughout",
     lambda *args: posterior_by_alphas(*args, alpha=lambda now, earlier: now)),
    ("posterior", "1 - alpha_bar in place of beta",
     lambda *args: posterior_by_alphas(*args, beta=lambda alpha, now: 1 - now)),
    ("posterior", None, lambda *args: posterior_by_alphas(
        *args, beta=lambda alpha, now: (1 - alpha).clamp(max=0.999))),
    ("posterior", "the first entry again before t = 0", lambda x_0, x_t, t, alpha_bar: (
        torch.where(over(t > 0, x_0), (right := posterior_of(x_0, x_t, t, alpha_bar))[0], x_t),
        right[1])),
    ("posterior", None, lambda *args: posterior_of(*args, first=0.9999)),
    ("velocity", "the weights exchanged", lambda x_0, eps, alpha_bar:
     V.target(x_0, eps, over(1 - alpha_bar, x_0))),
    ("velocity", "data and noise exchanged", lambda x_0, eps, alpha_bar:
     V.target(eps, x_0, over(alpha_bar, x_0))),
    ("velocity", "the sign turned", lambda x_0, eps, alpha_bar: -V.target(
        x_0, eps, over(alpha_bar, x_0))),
    ("velocity", "weights along the last dimension",
     lambda x_0, eps, alpha_bar: eps * alpha_bar ** 0.5 - x_0 * (1 - alpha_bar) ** 0.5),
    ("velocity", "one dimension more, whatever x_0 has", lambda x_0, eps, alpha_bar: V.target(
        x_0, eps, alpha_bar.unsqueeze(-1))),
    ("velocity", "three dimensions more, whatever x_0 has", lambda x_0, eps, alpha_bar: V.target(
        x_0, eps, alpha_bar[:, None, None, None])),
    ("velocity", None, lambda x_0, eps, alpha_bar: V.target(
        x_0, eps, over(alpha_bar, x_0).sqrt())),
    ("velocity", "the mean level for the whole batch",
     lambda x_0, eps, alpha_bar: V.target(x_0, eps, alpha_bar.mean())),
    ("velocity", "one minus the root",
     lambda x_0, eps, alpha_bar: over(alpha_bar, x_0).sqrt() * eps - (
        1 - over(alpha_bar, x_0).sqrt()) * x_0),
    ("ddim_step", "x_0 returned at once", lambda x_t, eps, now, to: Eps.to_x0(
        x_t, eps, torch.tensor(now))),
    ("ddim_step", "one level for both halves", back_at_the_same_level),
    ("ddim_step", None, lambda x_t, eps, now, to: styles_diffusion.ddim_step(
        x_t, eps, now, to).clamp(-1, 1)),
    ("ddim_step", "divided by alpha_bar, not by its root", lambda x_t, eps, now, to: to ** 0.5 * (
        x_t - (1 - now) ** 0.5 * eps) / now + (1 - to) ** 0.5 * eps),
    ("ddim_step", "only the noise divided in the guess", lambda x_t, eps, now, to: to ** 0.5 * (
        x_t - math.sqrt(1 - now) * eps / math.sqrt(now)) + (1 - to) ** 0.5 * eps),
    ("ddim_step", "x_t in place of x_0", lambda x_t, eps, now, to: (
        math.sqrt(to) * x_t + math.sqrt(1 - to) * eps)),
    ("ddim_step", None, lambda x_t, eps, now, to: styles_diffusion.ddim_step(
        x_t if now > 0.01 else 0 * x_t, eps if now > 0.01 else 0 * eps, now, to)
        + (0 if now > 0.01 else (1 - to) ** 0.5 * eps)),
    ("ddim_step", None, lambda x_t, eps, now, to: to ** 0.5 * (x_t - (1 - now) ** 0.5 * eps)
     / max(now, 1e-3) ** 0.5 + (1 - to) ** 0.5 * eps),
    ("ddim_step", None, lambda x_t, eps, now, to: styles_diffusion.ddim_step(
        x_t, eps, max(now, 2e-4), to)),
    ("ddim_step", None, lambda x_t, eps, now, to: x_t - (now / to) ** 0.5 * eps),
    ("ddim_step", None, lambda x_t, eps, now, to: to * (x_t - (1 - now) ** 0.5 * eps)
     / now ** 0.5 + (1 - to) ** 0.5 * eps),
    ("guided", "the scale counted from 0",
     lambda cond, uncond, scale: (1 + scale) * cond - scale * uncond),
    ("guided", "the two exchanged",
     lambda cond, uncond, scale: (1 - scale) * cond + scale * uncond),
    ("guided", "cond alone, scaled", lambda cond, uncond, scale: uncond + scale * cond - uncond),
    ("guided", "one step too few",
     lambda cond, uncond, scale: (scale - 1) * cond + (2 - scale) * uncond),
    ("guided", "the scale without its sign",
     lambda cond, uncond, scale: torch.lerp(uncond, cond, abs(scale))),
    ("guided", "negative scales cut off",
     lambda cond, uncond, scale: torch.lerp(uncond, cond, max(scale, 0.0))),
    ("guided", None, lambda cond, uncond, scale: torch.lerp(uncond, cond, min(scale, 10.0))),
    ("guided", "the scale rounded down",
     lambda cond, uncond, scale: torch.lerp(uncond, cond, float(int(scale)))),
    ("guided", None, lambda cond, uncond, scale: cond + scale * uncond),
    ("add_noise", "data at full strength", lambda x_0, t, eps, alpha_bar: (
        x_0 + (1 - over(alpha_bar[t], x_0)).sqrt() * eps)),
    ("add_noise", "the table from behind", lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, len(alpha_bar) - 1 - t, eps, alpha_bar)),
    ("add_noise", "the mean level for the whole batch", lambda x_0, t, eps, alpha_bar: (
        alpha_bar[t].mean() ** 0.5 * x_0 + (1 - alpha_bar[t].mean()) ** 0.5 * eps)),
    *[("add_noise", None, lambda x_0, t, eps, alpha_bar, low=low, high=high: noise_in_place(
        x_0, t, eps, alpha_bar.clamp(low, high)))
      for low, high in ((1e-3, 1), (1e-4, 1), (0, 0.999), (0, 0.9985))],
    *[("add_noise", None, lambda x_0, t, eps, alpha_bar, most=most: noise_in_place(
        x_0, t, eps, alpha_bar).clamp(-most, most)) for most in (3, 30, 50)],
    ("add_noise", None, lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, t.sort().values, eps, alpha_bar)),
    ("add_noise", None, lambda x_0, t, eps, alpha_bar: noise_in_place(
        x_0, t.clamp(max=8), eps, alpha_bar)),
    ("posterior", "the prior's variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: 1 - earlier)),
    ("posterior", "the likelihood's variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: beta / (1 - beta))),
    ("posterior", "not divided in the variance", lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: (1 - earlier) * beta)),
    ("posterior", None, lambda *args: posterior_of(
        *args, variance=lambda now, earlier, beta, right: right.clamp(min=1e-4))),
    *[("posterior", None, lambda *args, low=low: posterior_by_alphas(
        *args, beta=lambda alpha, now: (1 - alpha).clamp(min=low))) for low in (0.002, 0.01, 0.05)],
    ("posterior", None, lambda *args: posterior_of(*args, first=0.99999)),
    ("posterior", None, lambda x_0, x_t, t, alpha_bar: posterior_of(
        x_0, x_t, t.clamp(min=1), alpha_bar) if len(alpha_bar) > 1 else (x_0, 0 * alpha_bar)),
    ("velocity", "the root of the noise's weight forgotten", lambda x_0, eps, alpha_bar: (
        over(alpha_bar, x_0) * eps - (1 - over(alpha_bar, x_0)).sqrt() * x_0)),
    ("velocity", "the first sample's level for all", lambda x_0, eps, alpha_bar: V.target(
        x_0, eps, over(alpha_bar[:1].expand_as(alpha_bar), x_0))),
    *[("velocity", None, lambda x_0, eps, alpha_bar, little=little: V.target(
        x_0, eps, over(alpha_bar, x_0).double().clamp(little, 1 - little)).float())
      for little in (1e-3, 1e-5, 1e-8)],
    *[("velocity", None, lambda x_0, eps, alpha_bar, most=most: V.target(
        x_0, eps, over(alpha_bar, x_0)).clamp(-most, most)) for most in (3, 6, 30)],
    ("velocity", None, lambda x_0, eps, alpha_bar: (     # 0 / 0 where there is no noise
        over(alpha_bar, x_0).sqrt() * mix(x_0, eps, over(alpha_bar, x_0)) - x_0)
        / (1 - over(alpha_bar, x_0)).sqrt()),
    ("ddim_step", "the guess clipped", lambda x_t, eps, now, to: to ** 0.5 * (
        (x_t - (1 - now) ** 0.5 * eps) / now ** 0.5).clip(-1, 1) + (1 - to) ** 0.5 * eps),
    ("ddim_step", "the posterior's mean", lambda x_t, eps, now, to: (
        x_t - (1 - now / to) / (1 - now) ** 0.5 * eps) / (now / to) ** 0.5),
    *[("ddim_step", None, lambda x_t, eps, now, to, most=most: styles_diffusion.ddim_step(
        x_t, eps, now, min(to, most))) for most in (0.999, 0.9999, 0.99999)],
    *[("ddim_step", None, lambda x_t, eps, now, to, little=little: to ** 0.5 * (
        x_t - (1 - now) ** 0.5 * eps) / (now + little) ** 0.5 + (1 - to) ** 0.5 * eps)
      for little in (1e-5, 1e-8)],
    ("guided", "uncond taken away whole",
     lambda cond, uncond, scale: torch.sub(cond * scale, uncond)),
    ("guided", "cond unscaled", lambda cond, uncond, scale: torch.sub(cond, uncond, alpha=scale)),
    ("guided", "0 taken for no scale", lambda cond, uncond, scale: torch.lerp(
        uncond, cond, scale if scale else 1.0)),
    *[("guided", None, lambda cond, uncond, scale, most=most: torch.lerp(
        uncond, cond, scale).clamp(-most, most)) for most in (3, 10, 100)],
    ("guided", None, lambda cond, uncond, scale: uncond + scale * (cond - uncond).mean()),
    ("guided", None, lambda cond, uncond, scale: (
        out := uncond + scale * (cond - uncond)) * cond.norm() / out.norm()),
    ("guided", "cond itself up to 1",
     lambda cond, uncond, scale: cond if scale <= 1 else uncond + scale * (
        cond - uncond)),
    ("guided", "cond itself up to 1",
     lambda cond, uncond, scale: uncond + max(scale, 1.0) * (cond - uncond)),
    ("guided", None, lambda cond, uncond, scale: (uncond.softmax(-1) + scale * (
        cond.softmax(-1) - uncond.softmax(-1))).log()),
]


@pytest.mark.parametrize("name, mistake, function", STUDENTS)
def test_wrong_answers_never_pass_and_known_mistakes_get_their_name(name, mistake, function):
    for seed in range(30):
        verdict = judge(f"diffusion.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, (seed, verdict)


# ---- right numbers through which nothing can be learnt

def add(x_0, t, eps, alpha_bar):
    return noise_by_einsum(x_0, t, eps, alpha_bar).float()


CUT_OFF = [                    # (exercise, which inputs no gradient reaches, the answer)
    ("add_noise", "x_0 and eps", lambda *args: add(*args).detach()),
    ("add_noise", "x_0 and eps", torch.no_grad()(add)),
    ("add_noise", "x_0", lambda x_0, *more: add(x_0.data, *more)),
    ("add_noise", "eps", lambda x_0, t, eps, alpha_bar: add(x_0, t, eps.detach(), alpha_bar)),
    ("add_noise", "x_0 and eps", lambda x_0, t, eps, alpha_bar: torch.from_numpy(numpy.asarray(
        add(x_0, t, eps, alpha_bar).detach()))),
    ("velocity", "x_0 and eps", torch.no_grad()(styles_diffusion.velocity)),
    ("velocity", "x_0", lambda x_0, *more: styles_diffusion.velocity(x_0.detach(), *more)),
    ("velocity", "eps", lambda x_0, eps, a: styles_diffusion.velocity(x_0, eps.data, a)),
    ("guided", "cond and uncond", lambda *args: styles_diffusion.guided(*args).detach()),
    ("guided", "uncond", lambda cond, uncond, scale: torch.lerp(uncond.data, cond, scale)),
    ("guided", "cond", lambda cond, uncond, scale: torch.lerp(uncond, cond.data, scale)),
]


@pytest.mark.parametrize("name, lost, function", CUT_OFF)
def test_right_numbers_that_let_no_gradient_through_are_told_where(name, lost, function):
    for seed in range(30):
        verdict = judge(f"diffusion.{name}", function, seed)
        assert verdict.state == "detached" and f"reaches {lost}." in verdict.message, verdict


def test_each_message_names_the_section_to_read_again():
    exercises = {"add_noise": 1, "velocity": 5, "posterior": 6, "ddim_step": 7, "guided": 8}
    for name, section in exercises.items():
        for mistake in checks.find(f"diffusion.{name}").mistakes:
            assert f"(section {section} of the lesson)" in mistake.message


# ---- the inputs

@pytest.mark.parametrize("name", ["add_noise", "posterior"])
def test_every_check_has_the_first_step_and_the_last_and_a_lone_sample(name):
    for seed in range(20):
        rounds = calls(f"diffusion.{name}", seed)
        for args in rounds:
            alpha_bar = args[3]
            t = args[2] if name == "posterior" else args[1]
            assert t.dtype == torch.long and t.shape == args[0].shape[:1]
            assert len(t) == 1 or {0, len(alpha_bar) - 1} <= set(t.tolist())
        assert any(len(args[0]) == 1 for args in rounds)
        assert {args[0].dim() for args in rounds} >= {1, 2, 4}


def test_the_last_step_of_a_posterior_may_leave_less_than_a_thousandth():
    for seed in range(20):
        tables = [args[3] for args in calls("diffusion.posterior", seed)]
        assert any(len(a) > 1 and a[-1] / a[-2] < 6e-4 for a in tables)


def test_leaps_begin_at_all_levels_and_an_answer_in_float32_is_well_within_the_tolerance():
    """The guess is divided by the root of alpha_bar, and so is the rounding of x_t."""
    exercise = checks.find("diffusion.ddim_step")
    for seed in range(50):
        rounds = calls("diffusion.ddim_step", seed)
        levels = sorted(now for *_, now, _ in rounds)
        assert 1e-4 <= levels[0] < 2e-4 < 2e-3 <= levels[1] < 3e-3 and levels[-1] > 0.8
        for args in rounds:
            exact = styles_diffusion.ddim_step(*args)
            assert torch.allclose(exercise.function(*args), exact, 5e-6, 5e-6)


def test_every_check_leaps_down_to_no_noise_and_guides_below_0_at_0_at_1_and_far_above():
    for seed in range(20):
        leaps, answers = (calls(f"diffusion.{name}", seed) for name in ("ddim_step", "guided"))
        assert sum(to == 1 for *_, to in leaps) == 2 and all(now < to for *_, now, to in leaps)
        scales = [scale for *_, scale in answers]
        assert {-1.0, 0.0, 1.0, 20.0} < set(scales)
