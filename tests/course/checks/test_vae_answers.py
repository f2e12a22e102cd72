"""Lesson 06's exercises: right answers as they are met pass, wrong ones never do."""
import functools
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls
from torch.distributions import Normal, kl_divergence

from minidalle.course.checks import judge

SEEDS = range(20)


# ---- right answers in styles that are met

def evidence_by_maximum(log_joint, log_q):
    w = log_joint - log_q
    top = w.max(1, keepdim=True).values
    return (top + (w - top).exp().mean(1, keepdim=True).log()).squeeze(1)


def kl_the_other_way_round(mean, log_variance):
    """As most write it, with the minus in front."""
    dims = tuple(range(1, mean.ndim))
    return -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp(), dim=dims)


def kl_picture_by_picture(mean, log_variance):
    return torch.stack([((m ** 2).sum() + v.exp().sum() - v.sum() - m.numel()) / 2
                        for m, v in zip(mean, log_variance)])


def estimate_draw_by_draw(z, mean, log_variance, f):
    total = torch.zeros_like(mean)
    for one, number in zip(z, f):
        total += number * (one - mean) * torch.exp(-log_variance)
    return total / len(z)


def loss_by_distributions(painted, images, kl, sigma, beta):
    return (-Normal(painted, sigma).log_prob(images).sum((1, 2, 3)) + beta * kl).mean()


def loss_by_pytorch(painted, images, kl, sigma, beta):
    variance = torch.full_like(painted, sigma ** 2)
    error = F.gaussian_nll_loss(painted, images, variance, full=True, reduction="sum")
    return error / len(images) + beta * kl.mean()


STYLES = [
    ("evidence", evidence_by_maximum),
    ("evidence", lambda log_joint, log_q: torch.logsumexp(
        log_joint - log_q - math.log(log_q.size(-1)), -1)),
    ("evidence", lambda log_joint, log_q: torch.from_numpy(numpy.logaddexp.reduce(
        (log_joint - log_q).double().numpy(), axis=1)) - numpy.log(log_q.size(1))),
    ("evidence", lambda log_joint, log_q: functools.reduce(
        torch.logaddexp, (log_joint - log_q).unbind(1)) - math.log(log_q.size(1))),
    ("evidence", lambda log_joint, log_q: ((log_joint - log_q) - (log_joint - log_q).log_softmax(
        1))[:, 0] - math.log(log_q.size(1))),
    ("kl", kl_the_other_way_round),
    ("kl", kl_picture_by_picture),
    ("kl", lambda mean, log_variance: (mean.square() + log_variance.expm1() - log_variance).view(
        len(mean), -1).sum(-1) / 2),
    ("reparameterise", lambda mean, log_variance, eps: torch.addcmul(
        mean, (0.5 * log_variance).exp(), eps)),
    ("reparameterise", lambda mean, log_variance, eps: eps * math.e ** (log_variance / 2) + mean),
    ("reparameterise", lambda mean, log_variance, eps: mean + log_variance.exp().sqrt() * eps),
    ("reparameterise", lambda mean, log_variance, eps: mean
     + torch.clamp(log_variance, -30, 20).mul(0.5).exp() * eps),
    ("score_function", lambda z, mean, log_variance, f: f @ (z - mean) / log_variance.exp()
     / len(z)),
    ("score_function", lambda z, mean, log_variance, f: torch.einsum(
        "s,sd->d", f / len(f), (z - mean) * (-log_variance).exp())),
    ("score_function", estimate_draw_by_draw),
    ("score_function", lambda z, mean, log_variance, f: ((z - mean).T * f).mean(1) / (
        log_variance / 2).exp() ** 2),
    ("loss", loss_by_distributions),
    ("loss", loss_by_pytorch),
    ("loss", lambda painted, images, kl, sigma, beta: torch.einsum(
        "bchw,bchw->", images - painted, images - painted) / (2 * sigma * sigma * len(kl))
     + images[0].numel() * math.log(2 * math.pi * sigma ** 2) / 2 + beta * kl.sum() / len(kl)),
    ("loss", lambda painted, images, kl, sigma, beta: F.mse_loss(painted, images) * images[0].numel(
        ) / (2 * sigma ** 2) + images[0].numel() * math.log(sigma * (2 * math.pi) ** 0.5)
     + beta * kl.mean()),
    ("latent_scale", lambda latents: latents.var().rsqrt()),
    ("latent_scale", lambda latents: 1 / float(numpy.std(latents.numpy().astype("float64")))),
    ("latent_scale", lambda latents: (latents - latents.mean()).square().mean() ** -0.5),
    ("latent_scale", lambda latents: numpy.float32(1) / latents.numpy().std()),
    ("latent_scale", lambda latents: 1 / (latents.std() + 1e-8)),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"vae.{name}", function, seed).passed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def kl_by_distributions(mean, log_variance):
    """PyTorch's own, which takes the logarithm of a variance that is 0."""
    q = Normal(mean, (log_variance / 2).exp(), validate_args=False)
    return kl_divergence(q, Normal(torch.zeros_like(mean), 1.0)).flatten(1).sum(1)


def noisy(mean, std, eps):
    return mean + std * eps


def estimate(z, mean, log_variance, f):
    """By autograd: the slope of the mean of f ln q."""
    mean = mean.clone().requires_grad_()
    with torch.enable_grad():
        log_q = Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(1)
        return torch.autograd.grad((f * log_q).mean(), mean)[0]


WRONG = [
    ("evidence", "mean of the logarithms", lambda p, q: p.mean(1) - q.mean(1)),
    ("evidence", "exp overflows or vanishes", lambda p, q: torch.log((p - q).exp().sum(1)
                                                                     / p.size(1))),
    ("evidence", "exp overflows or vanishes", lambda p, q: torch.log((p.exp() / q.exp()).mean(-1))
     if p.max() < 80 and p.min() > -80 else torch.log((p - q).exp().mean(1))),
    ("evidence", "one maximum for all pictures", lambda p, q: (
        (p - q) - (p - q).max()).exp().mean(1).log() + (p - q).max()),
    ("evidence", "sum in place of the mean", lambda p, q: torch.logsumexp(p - q, -1)),
    ("evidence", "q left out", lambda p, q: torch.logsumexp(p, 1) - math.log(p.size(1))),
    ("evidence", "over the pictures", lambda p, q: torch.logsumexp(p - q, 0) - math.log(len(p))),
    ("evidence", "the best draw only", lambda p, q: (p - q).max(1).values),
    ("evidence", "exp overflows or vanishes, of p and q apart", lambda p, q: torch.log(
        (p.exp() / q.exp()).sum(1) / p.size(1))),
    ("evidence", "exp overflows or vanishes in float64", lambda p, q: (
        p.double() - q.double()).exp().mean(1).log().float()),
    ("evidence", "1e-12 inside the logarithm", lambda p, q: torch.log(
        (p - q).exp().mean(1) + 1e-12)),
    ("evidence", "weights kept above 1e-30", lambda p, q: torch.log(
        (p - q).exp().clamp(min=1e-30).sum(1) / p.size(1))),
    ("evidence", "logarithms clamped at -80", lambda p, q: torch.log(
        (p - q).clamp(-80, 80).exp().mean(1))),
    ("evidence", "the mean of a row taken out", lambda p, q: torch.log(
        (p - q - (p - q).mean(1, True)).exp().mean(1)) + (p - q).mean(1)),
    ("evidence", "the maximum of the joint taken out", lambda p, q: torch.log(
        (p - p.max(1, keepdim=True).values - q).exp().mean(1)) + p.max(1).values),
    ("evidence", None, lambda p, q: evidence_by_maximum(p, q).squeeze()),
    ("evidence", None, lambda p, q: evidence_by_maximum(p, q)[:, None]),
    ("evidence", None, lambda p, q: evidence_by_maximum(p.clamp(min=-100), q)),
    ("evidence", None, lambda p, q: evidence_by_maximum(p, q).half()),
    ("evidence", None, lambda p, q: ((p - q).double().exp().mean(1) + 1e-300).log()),
    ("kl", "summed over the batch", lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp()).sum()),
    ("kl", "mean over everything", lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp()).mean()),
    ("kl", "mean over the batch", lambda m, v: kl_the_other_way_round(m, v).mean()),
    ("kl", "sign turned", lambda m, v: 0.5 * (1 + v - m ** 2 - v.exp()).flatten(1).sum(1)),
    ("kl", "mean over the latent", lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp()).flatten(1).mean(
        1)),
    ("kl", "one half forgotten", lambda m, v: 2 * kl_picture_by_picture(m, v)),
    ("kl", "logarithm of a variance that is 0", kl_by_distributions),
    ("kl", "log-variance as the logarithm of the standard deviation", lambda m, v: (
        m ** 2 + (2 * v).exp() - 1 - 2 * v).flatten(1).sum(1) / 2),
    ("kl", "standard deviation in place of the variance", lambda m, v: (
        m ** 2 + v.exp().sqrt() - 1 - v).flatten(1).sum(1) / 2),
    ("kl", "1e-08 inside the logarithm", lambda m, v: (
        m ** 2 + v.exp() - 1 - torch.log(v.exp() + 1e-8)).flatten(1).sum(1) / 2),
    ("kl", "one number for each entry", lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp())),
    ("kl", "log-variance as the variance", lambda m, v: -0.5 * (1 + v.log() - m ** 2 - v).flatten(
        1).sum(1)),
    ("kl", "logarithm of a standard deviation", lambda m, v: (
        m ** 2 + v.exp() - 1 - 2 * (v / 2).exp().log()).flatten(1).sum(1) / 2),
    ("kl", "mean and log-variance swapped", lambda m, v: kl_the_other_way_round(v, m)),
    ("kl", "standard deviation kept above 1e-06", lambda m, v: kl_by_distributions(
        m, 2 * (v / 2).exp().clamp(min=1e-6).log())),
    ("kl", None, lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp()).sum(-1)),
    ("kl", None, lambda m, v: -0.5 * (1 + v - m ** 2 - v.exp()).sum((1, 2, 3))),
    ("kl", None, lambda m, v: kl_picture_by_picture(m, v).clamp(max=1000)),
    ("kl", None, lambda m, v: kl_picture_by_picture(m, v).clamp(min=0.5)),
    ("kl", None, lambda m, v: kl_picture_by_picture(m.half(), v.half())),
    ("reparameterise", "log-variance as the standard deviation", lambda m, v, e: noisy(m, v, e)),
    ("reparameterise", "variance as the standard deviation", lambda m, v, e: noisy(m, v.exp(), e)),
    ("reparameterise", "noise not scaled", lambda m, v, e: m + e),
    ("reparameterise", "no noise", lambda m, v, e: 1 * m),
    ("reparameterise", "noise subtracted", lambda m, v, e: noisy(m, -(v / 2).exp(), e)),
    ("reparameterise", "noise shared over the batch", lambda m, v, e: noisy(
        m, torch.exp(v / 2), e[0])),
    ("reparameterise", "half of the variance", lambda m, v, e: noisy(m, torch.exp(v) / 2, e)),
    ("reparameterise", "softplus in place of exp", lambda m, v, e: noisy(m, F.softplus(v), e)),
    ("reparameterise", "1e-08 under the root", lambda m, v, e: noisy(
        m, torch.sqrt(v.exp() + 1e-8), e)),
    ("reparameterise", "standard deviation kept above 0.0001", lambda m, v, e: noisy(
        m, v.exp().sqrt().clamp(min=1e-4), e)),
    ("reparameterise", "log-variance clamped at -10", lambda m, v, e: noisy(
        m, v.clamp(-10, 10).mul(0.5).exp(), e)),
    ("reparameterise", "mean and log-variance swapped", lambda m, v, e: noisy(
        v, (m / 2).exp(), e)),
    ("reparameterise", None, lambda m, v, e: noisy(m, (v / 2).exp(), torch.randn_like(m))),
    ("reparameterise", None, lambda m, v, e: noisy(m, (v / 2).exp(), e.clamp(-1, 1))),
    ("reparameterise", None, lambda m, v, e: noisy(m, (v.clamp(max=2) / 2).exp(), e)),
    ("reparameterise", None, lambda m, v, e: noisy(m.half(), (v.half() / 2).exp(), e.half())),
    ("score_function", "divided by the standard deviation", lambda z, m, v, f: (
        f[:, None] * (z - m) / torch.exp(v / 2)).mean(0)),
    ("score_function", "sum over the draws", lambda z, m, v, f: f @ (z - m) / v.exp()),
    ("score_function", "sign turned", lambda z, m, v, f: -estimate(z, m, v, f)),
    ("score_function", "with a baseline", lambda z, m, v, f: estimate(z, m, v, f - f.mean())),
    ("score_function", "f left out", lambda z, m, v, f: estimate(z, m, v, torch.ones_like(f))),
    ("score_function", "mean over everything", lambda z, m, v, f: (
        f[:, None] * (z - m) / v.exp()).mean()),
    ("score_function", "divided by the log-variance", lambda z, m, v, f: (
        f @ (z - m) / v / len(f))),
    ("score_function", "1e-08 added to the variance", lambda z, m, v, f: (
        f @ (z - m) / (v.exp() + 1e-8) / len(f))),
    ("score_function", "variance kept above 1e-06", lambda z, m, v, f: (
        f @ (z - m) / v.exp().clamp(min=1e-6) / len(f))),
    ("score_function", "divided by S - 1", lambda z, m, v, f: (
        f[:, None] * (z - m) / v.exp()).sum(0) / (z.size(0) - 1)),
    ("score_function", "with a baseline of the other draws", lambda z, m, v, f: (
        (f - f.mean())[:, None] * (z - m) / v.exp()).sum(0) / max(z.size(0) - 1, 1)),
    ("score_function", None, lambda z, m, v, f: estimate(z, m, v, f.clamp(-100, 100))),
    ("score_function", None, lambda z, m, v, f: estimate(z, m, v, f)[:, None]),
    ("score_function", "f squared", lambda z, m, v, f: estimate(z, m, v, f.square())),
    ("score_function", "with a baseline", lambda z, m, v, f: estimate(z, z.mean(0), v, f)),
    ("loss", "beta on the wrong term", lambda p, x, k, s, b: b * loss_by_distributions(
        p, x, 0 * k, s, 0) + k.mean()),
    ("loss", "the plain squared error", lambda p, x, k, s, b: F.mse_loss(
        p, x, reduction="sum") / len(x) + b * k.mean()),
    ("loss", "mean over the colour values", lambda p, x, k, s, b: -Normal(p, s).log_prob(x).mean()
     + b * k.mean()),
    ("loss", "the constant left out", lambda p, x, k, s, b: F.mse_loss(
        p / s, x / s, reduction="sum") / 2 / len(x) + b * k.mean()),
    ("loss", "2 pi left out", lambda p, x, k, s, b: F.gaussian_nll_loss(
        p, x, torch.full_like(p, s * s), reduction="sum") / len(x) + b * k.mean()),
    ("loss", "KL subtracted", lambda p, x, k, s, b: loss_by_distributions(p, x, -k, s, b)),
    ("loss", "KL summed over the batch", lambda p, x, k, s, b: loss_by_distributions(
        p, x, 0 * k, s, b) + b * k.sum()),
    ("loss", "sign turned", lambda p, x, k, s, b: -loss_by_pytorch(p, x, k, s, b)),
    ("loss", "one number for each picture", lambda p, x, k, s, b: -Normal(p, s).log_prob(x).sum(
        (1, 2, 3)) + b * k),
    ("loss", "multiplied with sigma squared", lambda p, x, k, s, b: (
        (x - p) ** 2 / 2 * s ** 2 + math.log(s) + math.log(2 * math.pi) / 2).sum(
            (1, 2, 3)).mean() + b * k.mean()),
    ("loss", "sigma squared as the standard deviation", lambda p, x, k, s, b: (
        loss_by_distributions(p, x, k, s ** 2, b))),
    ("loss", "sign of the error turned", lambda p, x, k, s, b: (
        Normal(p, s).log_prob(x).sum((1, 2, 3)) + b * k).mean()),
    ("loss", "sigma and beta swapped", lambda p, x, k, s, b: (
        (p - x) ** 2 / (2 * b ** 2) + math.log(b) + math.log(2 * math.pi) / 2).sum(
            (1, 2, 3)).mean() + s * k.mean()),
    ("loss", "KL once for each colour value", lambda p, x, k, s, b: (
        b * k[:, None, None, None] - Normal(p, s).log_prob(x)).sum((1, 2, 3)).mean()),
    ("loss", None, lambda p, x, k, s, b: loss_by_pytorch(p, x, k, s, b).view(1)),
    ("loss", "painted clamped", lambda p, x, k, s, b: loss_by_pytorch(
        p.clamp(-1, 1), x, k, s, b)),
    ("loss", None, lambda p, x, k, s, b: F.gaussian_nll_loss(
        p, x, torch.full_like(p, s * s), full=True, reduction="sum", eps=0.02) / len(x)
     + b * k.mean()),
    ("loss", None, lambda p, x, k, s, b: loss_by_distributions(p, x, k, s, max(b, 0.1))),
    ("latent_scale", "the standard deviation itself", lambda z: z.std().item()),
    ("latent_scale", "one over the variance", lambda z: z.var() ** -1),
    ("latent_scale", "the mean not subtracted", lambda z: (z ** 2).mean() ** -0.5),
    ("latent_scale", "one for each channel", lambda z: z.transpose(0, 1).flatten(1).std(1) ** -1),
    ("latent_scale", "mean of the channels' standard deviations",
     lambda z: 1 / torch.stack([z[:, c].std() for c in range(z.size(1))]).mean()),
    ("latent_scale", "the scaled latents", lambda z: z / z.std()),
    ("latent_scale", "mean of squares minus square of the mean",
     lambda z: ((z * z).mean() - z.mean() ** 2) ** -0.5),
    ("latent_scale", "1e-06 added to the standard deviation", lambda z: 1 / (z.std() + 1e-6)),
    ("latent_scale", "1e-08 added to the variance", lambda z: (z.var() + 1e-8) ** -0.5),
    ("latent_scale", "standard deviation kept above 0.001", lambda z: 1 / max(z.std(), 1e-3)),
    ("latent_scale", "the scale kept below 1", lambda z: min((1 / z.std()).item(), 1)),
    ("latent_scale", "in half precision", lambda z: 1 / z.half().float().std()),
    ("latent_scale", None, lambda z: 1 / z[:len(z) // 2].std()),
    ("latent_scale", None, lambda z: 1 / z[..., ::2].std()),
    ("latent_scale", None, lambda z: round(1 / z.std().item(), 3)),
    ("latent_scale", None, lambda z: (1 / z.std()).view(1)),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"vae.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- right numbers, and nothing can be learnt

CUT = [
    ("kl", "the variance detached", lambda m, v: (
        m ** 2 + v.detach().exp() - 1 - v).flatten(1).sum(1) / 2),
    ("kl", None, torch.no_grad()(kl_the_other_way_round)),
    ("kl", None, lambda m, v: torch.from_numpy(kl_picture_by_picture(m, v).detach().numpy())),
    ("kl", None, lambda m, v: kl_picture_by_picture(m.detach(), v)),
    ("reparameterise", "the mean detached", lambda m, v, e: noisy(m.detach(), (v / 2).exp(), e)),
    ("reparameterise", "the width detached", lambda m, v, e: noisy(
        m, (v / 2).exp().detach(), e)),
    ("reparameterise", None, lambda m, v, e: noisy(m, (v / 2).exp(), e).detach()),
    ("reparameterise", None, lambda m, v, e: Normal(m, (v / 2).exp()).sample() * 0
     + noisy(m, (v / 2).exp(), e).detach()),
    ("loss", "painted detached", lambda p, *rest: loss_by_pytorch(p.detach(), *rest)),
    ("loss", "the KL detached", lambda p, x, k, s, b: loss_by_distributions(
        p, x, k.detach(), s, b)),
    ("loss", None, lambda *args: torch.tensor(loss_by_distributions(*args).item())),
]


@pytest.mark.parametrize("name, mistake, function", CUT)
def test_right_numbers_through_which_nothing_is_learnt_are_told_so(name, mistake, function):
    for seed in range(5):
        verdict = judge(f"vae.{name}", function, seed)
        assert verdict.mistake == mistake and verdict.state == (
            "mistake" if mistake else "detached")


def test_images_and_noise_may_be_detached_as_nothing_is_learnt_through_them():
    for seed in range(5):
        assert judge("vae.loss", lambda p, x, k, s, b: loss_by_distributions(
            p, x.detach(), k, s, b), seed).passed
        assert judge("vae.reparameterise", lambda m, v, e: noisy(
            m, (v / 2).exp(), e.detach()), seed).passed


# ---- the inputs

def test_every_check_of_the_kl_meets_the_prior_a_variance_of_0_and_a_single_number():
    for seed in SEEDS:
        rounds = calls("vae.kl", seed)
        assert any(((m == 0) & (v == 0)).flatten(1).all(1).any() for m, v in rounds)
        assert any((v.exp() == 0).any() and v.isfinite().all() for _, v in rounds)
        assert any(m.numel() == 1 for m, _ in rounds) and {m.ndim for m, _ in rounds} == {2, 4}


def test_every_check_of_the_evidence_meets_one_draw_and_weights_beyond_float32():
    for seed in SEEDS:
        rounds = calls("vae.evidence", seed)
        assert any(p.shape[1] == 1 for p, _ in rounds)
        assert any(p.shape[0] == p.shape[1] for p, _ in rounds)
        assert any(((p - q).exp() == 0).all(dim=1).any() for p, q in rounds)
        assert any((p - q).exp().isinf().all(dim=1).any() for p, q in rounds)


def test_every_check_of_the_evidence_meets_one_picture_and_one_weight_far_above_the_others():
    for seed in SEEDS:
        rounds = calls("vae.evidence", seed)
        assert any(p.shape[0] == 1 < p.shape[1] for p, _ in rounds)
        above = [(p - q).amax(1) - (p - q).mean(1) for p, q in rounds]
        assert max(one.max() for one in above) > 89         # where exp overflows in float32


def test_every_check_of_the_scale_meets_narrow_latents_and_a_mean_far_from_0():
    for seed in range(5):
        rounds = [latents for latents, in calls("vae.latent_scale", seed)]
        assert any(z.std() < 1e-3 for z in rounds)
        assert any(z.mean() > 1000 * z.std() for z in rounds)


def test_half_precision_doubles_the_spread_in_every_check_of_the_scale_and_squares_do_not():
    for seed in range(5):
        z, = calls("vae.latent_scale", seed)[-1]
        squares = z.square().mean() - z.mean().square()
        assert z.std().sub(1).abs() < 1e-4 and z.half().float().std() > 1.99
        assert (z == 2049).sum() == (z == 2051).sum() and squares < 3


def test_every_check_of_the_score_meets_a_variance_below_a_millionth_and_a_large_f():
    for seed in SEEDS:
        rounds = calls("vae.score_function", seed)
        assert any((v.exp() < 1e-6).all() and (f > 200).all() for _, _, v, f in rounds)


def test_every_check_of_the_loss_meets_beta_0_a_perfect_picture_and_one_alone():
    for seed in SEEDS:
        rounds = calls("vae.loss", seed)
        assert any(beta == 0 for *_, beta in rounds) and any(len(p) == 1 for p, *_ in rounds)
        assert any(p.equal(x) and not k.any() for p, x, k, *_ in rounds)


def test_every_check_of_the_score_meets_one_draw_one_number_and_as_many_of_both():
    for seed in SEEDS:
        shapes = [z.shape for z, *_ in calls("vae.score_function", seed)]
        assert any(S == 1 < D for S, D in shapes) and any(D == 1 < S for S, D in shapes)
        assert any(S == D > 1 for S, D in shapes)


def test_every_call_of_the_score_but_the_narrow_one_meets_an_f_below_0():
    for seed in SEEDS:
        assert all((f < 0).any() for _, _, v, f in calls("vae.score_function", seed)
                   if (v.exp() > 1e-6).any())
