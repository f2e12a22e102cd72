"""Lesson 18's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls

from minidalle import dit, flow
from minidalle.course.checks import find, judge
from minidalle.diffusion import Diffusion, V, cosine_schedule

SEEDS = range(20)


def tall(t, x):
    return t.reshape(len(t), *(1,) * (x.ndim - 1))


# ---- right answers in styles that are met

def mixed_one_by_one(x_0, eps, t):
    return torch.stack([(1 - s) * x + s * e for x, e, s in zip(x_0, eps, t)])


def mixed_in_place(x_0, eps, t):
    out = x_0.clone()
    out.sub_(tall(t, x_0) * x_0).add_(tall(t, x_0) * eps)
    return out


def mixed_by_numpy(x_0, eps, t):
    s = t.numpy().reshape(-1, *[1] * (x_0.dim() - 1))
    return torch.from_numpy((1 - s) * x_0.numpy() + s * eps.numpy())


def straight_by_the_flow(z, eps, alpha_bar):
    """The velocity out of x and t: x - x_0 = t (eps - x_0), and x = (1 - t) x_0 + t eps."""
    weight = alpha_bar.sqrt() + (1 - alpha_bar).sqrt()
    t = (1 - alpha_bar).sqrt() / weight
    x = z / tall(weight, z)
    return [x, t, (eps - x) / tall(1 - t, z)]


def straight_by_ratio(z, eps, alpha_bar):
    ratio = (1 / alpha_bar - 1).sqrt()                        # noise beside data
    a = tall(alpha_bar, z)
    return (z / (a ** 0.5 + (1 - a) ** 0.5), ratio / (1 + ratio),
            eps - z / a ** 0.5 + tall(ratio, z) * eps)


def patches_by_loops(x, patch):
    B, C, H, W = x.shape
    rows = [x[:, :, i:i + patch, j:j + patch].reshape(B, -1)
            for i in range(0, H, patch) for j in range(0, W, patch)]
    return torch.stack(rows, 1)


def patches_by_unfold(x, patch):
    x = x.unfold(2, patch, patch).unfold(3, patch, patch)     # (B,C,rows,columns,p,p)
    return x.permute(0, 2, 3, 1, 4, 5).reshape(len(x), -1, x.shape[1] * patch * patch)


def pasted(tokens, patch, rows):
    B, N, numbers = tokens.shape
    columns, C = N // rows, numbers // patch ** 2
    out = tokens.new_zeros(B, C, rows * patch, columns * patch)
    for n in range(N):
        i, j = n // columns * patch, n % columns * patch
        out[:, :, i:i + patch, j:j + patch] = tokens[:, n].reshape(B, C, patch, patch)
    return out


def folded(tokens, patch, rows):
    columns = tokens.shape[1] // rows
    return F.fold(tokens.transpose(1, 2), (rows * patch, columns * patch), patch, stride=patch)


def gated_by_hand(x, weight, shift, scale, gate):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    h = (x - mean) / torch.sqrt(variance + 1e-5)
    h = h + h * scale.unsqueeze(1) + shift.unsqueeze(1)
    return torch.einsum("bnd,de->bne", h, weight) * gate.unsqueeze(1) + x


def gated_by_pictures(x, weight, shift, scale, gate):
    norm = torch.nn.LayerNorm(x.shape[-1], elementwise_affine=False)
    return torch.stack([x[b] + gate[b] * ((norm(x[b]) * (1 + scale[b]) + shift[b]) @ weight)
                        for b in range(len(x))])


def density_of_pytorch(t, mean, std):
    normal = torch.distributions.Normal(mean, std)
    return normal.log_prob(torch.logit(t)).exp() / (t - t * t)


def density_by_logarithms(t, mean, std):
    u = t.log() - torch.log1p(-t)
    return torch.exp(-0.5 * ((u - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
                     - t.log() - torch.log1p(-t))


STYLES = [
    ("interpolate", mixed_one_by_one), ("interpolate", mixed_in_place),
    ("interpolate", mixed_by_numpy),
    ("interpolate", lambda x_0, eps, t: torch.lerp(x_0, eps, tall(t, x_0))),
    ("interpolate", lambda x_0, eps, t: x_0 + tall(t, x_0) * (eps - x_0)),
    ("interpolate", lambda x_0, eps, t: torch.einsum("b,b...->b...", 1 - t, x_0)
        + torch.einsum("b,b...->b...", t, eps)),
    ("matching_loss", lambda a, x, e: F.mse_loss(a, e - x)),
    ("matching_loss", lambda a, x, e: ((x - e + a) ** 2).mean()),
    ("matching_loss", lambda a, x, e: torch.stack([(p - q).pow(2).mean()
                                                   for p, q in zip(a, e - x)]).mean()),
    ("matching_loss", lambda a, x, e: (a - e + x).flatten().dot((a - e + x).flatten()) / a.numel()),
    ("euler_step", lambda x, v, t, u: x - tall(t - u, x) * v),
    ("euler_step", lambda x, v, t, u: torch.stack([p + (b - a) * q
                                                   for p, q, a, b in zip(x, v, t, u)])),
    ("euler_step", lambda x, v, t, u: (x - tall(t, x) * v) + tall(u, x) * v),
    ("euler_step", lambda x, v, t, u: (1 - tall(u, x)) * (x - tall(t, x) * v)
        + tall(u, x) * (x + (1 - tall(t, x)) * v)),
    ("straighten", straight_by_the_flow), ("straighten", straight_by_ratio),
    ("patchify", patches_by_loops), ("patchify", patches_by_unfold),
    ("patchify", lambda x, p: F.unfold(x, p, stride=p).transpose(1, 2)),
    ("patchify", lambda x, p: F.pixel_unshuffle(x, p).flatten(2).permute(0, 2, 1)),
    ("unpatchify", pasted), ("unpatchify", folded),
    ("adaln", gated_by_hand), ("adaln", gated_by_pictures),
    ("adaln", lambda x, w, shift, scale, gate: torch.addcmul(x, gate[:, None], torch.addcmul(
        shift[:, None], 1 + scale[:, None], F.layer_norm(x, (x.shape[-1],))) @ w)),
    ("logit_normal", density_of_pytorch), ("logit_normal", density_by_logarithms),
    ("logit_normal", lambda t, mean, std: torch.from_numpy(
        (lambda s: numpy.exp(-(numpy.log(s / (1 - s)) - mean) ** 2 / (2 * std ** 2))
         / (s * (1 - s) * std * numpy.sqrt(2 * numpy.pi)))(t.double().numpy()))),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"flow.{name}", function, seed).passed, seed


def test_what_the_package_does_is_what_is_asked():
    """The loss of a flow, a step of it, a diffusion followed as one, a block, patches."""
    g = torch.Generator().manual_seed(0)
    x_0, eps, answer = torch.randn(3, 4, 3, 8, 8, generator=g)
    own = find("flow.matching_loss").function(answer, x_0, eps)
    torch.testing.assert_close(own, flow.Flow().loss(lambda *given: answer, x_0, eps=eps))
    t, then = torch.full((4,), 0.75), torch.full((4,), 0.5)
    torch.testing.assert_close(find("flow.euler_step").function(x_0, answer, t, then),
                               flow.Flow().follow(lambda *given: answer, x_0, [0.75, 0.5]))
    diffusion, level = Diffusion(cosine_schedule(), V), torch.tensor([100, 300, 500, 700])
    a = diffusion.at(level, x_0)
    x, at, v = find("flow.straighten").function(x_0, (1 - a).sqrt() * x_0 + a.sqrt() * answer,
                                                a.flatten())
    followed = flow.as_flow(diffusion, lambda *given: answer)(x, at, None, None)
    torch.testing.assert_close(v, followed, atol=1e-4, rtol=1e-4)


def test_the_exercise_on_adaln_is_half_a_block_of_the_transformer():
    torch.manual_seed(0)
    block = dit.DitBlock(8, 2, 5)
    torch.nn.init.normal_(block.modulate.weight)
    block.attend, block.mlp = torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8)
    torch.nn.init.zeros_(block.mlp.weight)
    torch.nn.init.zeros_(block.mlp.bias)                      # the other half says nothing
    x, signal = torch.randn(2, 3, 8), torch.randn(2, 5)
    shift, scale, gate, *_ = block.modulate(signal).chunk(6, dim=-1)
    torch.testing.assert_close(
        find("flow.adaln").function(x, block.attend.weight.mT, shift, scale, gate),
        block(x, signal))


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def right(name):
    return find(f"flow.{name}").function


def straightened(x=None, t=None, v=None):
    """The right three, one of them replaced."""
    def answer(z, eps, a):
        given = right("straighten")(z, eps, a)
        return (given[0] if x is None else x(z, tall(a, z)), given[1] if t is None else t(a),
                given[2] if v is None else v(z, eps, tall(a, z)))
    return answer


def data_of(z, eps, a):
    return (z - (1 - a).sqrt() * eps) / a.sqrt()


def normed(norm):
    return lambda x, w, shift, scale, gate: x + gate[:, None] * (
        (norm(x) * (1 + scale[:, None]) + shift[:, None]) @ w)


def off_by(x):
    return x - x.mean(-1, keepdim=True)


def at_logit(mean=lambda m: m, std=lambda s: s, slope=lambda t: t * (1 - t)):
    return lambda t, m, s: torch.distributions.Normal(mean(m), std(s)).log_prob(
        torch.logit(t)).exp() / slope(t)


def bent(a, x, e):
    return a - (e - x)


WRONG = [
    ("interpolate", "data and noise exchanged", lambda x, e, t: torch.lerp(e, x, tall(t, x))),
    ("interpolate", "on a circle", lambda x, e, t: (1 - tall(t, x) ** 2) ** 0.5 * x
        + tall(t, x) * e),
    ("interpolate", "the roots of a diffusion", lambda x, e, t: (1 - tall(t, x)) ** 0.5 * x
        + tall(t, x) ** 0.5 * e),
    ("interpolate", "times along the width", lambda x, e, t: torch.lerp(x, e, t)),
    ("interpolate", "times along the height", lambda x, e, t: torch.lerp(x, e, t[:, None])),
    ("interpolate", "away from the noise", lambda x, e, t: x - tall(t, x) * (e - x)),
    ("interpolate", "times rounded", lambda x, e, t: right("interpolate")(x, e, t.int().float())),
    ("interpolate", "the first time for all", lambda x, e, t: torch.lerp(x, e, t[0])),
    ("interpolate", None, lambda x, e, t: torch.lerp(x, torch.randn_like(e), tall(t, x))),
    ("interpolate", None, lambda x, e, t: torch.lerp(x, e, tall(t.clamp(1e-3, 0.999), x))),
    ("interpolate", None, lambda x, e, t: (1 - 0.99 * tall(t, x)) * x + tall(t, x) * e),
    ("interpolate", None, lambda x, e, t: torch.lerp(x, e / e.std(), tall(t, x))),
    ("matching_loss", "the way back", lambda a, x, e: F.mse_loss(a, x - e)),
    ("matching_loss", "the sum as the target", lambda a, x, e: ((a - e - x) ** 2).mean()),
    ("matching_loss", "sizes in place of squares", lambda a, x, e: F.l1_loss(a, e - x)),
    ("matching_loss", "a loss that is rounded at 0", lambda a, x, e: F.huber_loss(a, e - x)),
    ("matching_loss", "the sum", lambda a, x, e: F.mse_loss(a, e - x, reduction="sum")),
    ("matching_loss", "summed over a sample", lambda a, x, e: (bent(a, x, e) ** 2).sum() / len(a)),
    ("matching_loss", "the variance of the errors, with n - 1",
        lambda a, x, e: bent(a, x, e).var()),
    ("matching_loss", "summed over the channels",
        lambda a, x, e: (bent(a, x, e) ** 2).sum(1).mean()),
    ("matching_loss", "the middle of the errors", lambda a, x, e: (bent(a, x, e) ** 2).median()),
    ("matching_loss", "a row of one number", lambda a, x, e: F.mse_loss(a, e - x).view(1)),
    ("matching_loss", None, lambda a, x, e: F.mse_loss(a, e - x / 2)),
    ("matching_loss", None, lambda a, x, e: F.mse_loss(a, e - x).log()),
    ("euler_step", "sign of time turned", lambda x, v, t, u: x + tall(t - u, x) * v),
    ("euler_step", "never towards the noise", lambda x, v, t, u: x - tall((t - u).abs(), x) * v),
    ("euler_step", "steps to a later time left out",
        lambda x, v, t, u: x - tall((t - u).relu(), x) * v),
    ("euler_step", "all the way to the data", lambda x, v, t, u: x - tall(t, x) * v),
    ("euler_step", "times along the height", lambda x, v, t, u: x + (u - t)[:, None] * v),
    ("euler_step", "a step of 1/12, whatever the times", lambda x, v, t, u: x - v / 12),
    ("euler_step", None, lambda x, v, t, u: x + tall(u - t, x) * v + 0.01 * torch.randn_like(x)),
    ("euler_step", None, lambda x, v, t, u: x + tall(u - t, x) * (1 + tall(u - t, x) / 2) * v),
    ("euler_step", "small steps left out", lambda x, v, t, u: x + tall(
        F.hardshrink(u - t, 0.02), x) * v),
    ("euler_step", None, lambda x, v, t, u: x + v * (
        (u - t)[:, None] if x.dim() == 2 else (u - t)[:, None, None, None])),
    ("euler_step", "brackets forgotten before the minus",
        lambda x, v, t, u: x + tall(u, x) - tall(t, x) * v),
    ("straighten", "alpha_bar kept above 0.01",
        lambda z, e, a: right("straighten")(z, e, torch.maximum(a, torch.tensor(0.01)))),
    ("straighten", None, lambda z, e, a: right("straighten")(z, e, a.clamp(min=1e-4))),
    ("straighten", "alpha_bar kept below 0.999",
        lambda z, e, a: right("straighten")(z, e, a.clip(max=0.999))),
    ("straighten", "the way from the data, over the time", lambda z, e, a: (
        lambda x, t, v: (x, t, (x - data_of(z, e, tall(a, z))) / tall(t, z)))(
            *right("straighten")(z, e, a))),
    ("straighten", "data and noise added in the velocity",
        straightened(v=lambda z, e, a: e + data_of(z, e, a))),
    ("straighten", "1 - alpha_bar as the time", straightened(t=lambda a: 1 - a)),
    ("straighten", "noise divided by data", straightened(t=lambda a: ((1 - a) / a) ** 0.5)),
    ("straighten", "x not scaled", straightened(x=lambda z, a: z / (a + (1 - a)) ** 0.5)),
    ("straighten", "the velocity of a diffusion", straightened(
        v=lambda z, e, a: a ** 0.5 * e - (1 - a) ** 0.5 * data_of(z, e, a))),
    ("straighten", "from z to the noise", straightened(v=lambda z, e, a: e - z)),
    ("straighten", "the root of the data's weight forgotten", straightened(
        v=lambda z, e, a: e - (z - (1 - a) ** 0.5 * e) / a)),
    ("straighten", "the order turned round", lambda *given: right("straighten")(*given)[::-1]),
    ("straighten", None, straightened(t=lambda a: (1 - a) ** 2 / ((1 - a) ** 2 + a ** 2))),
    ("straighten", None, straightened(v=lambda z, e, a: (e - data_of(z, e, a)) / 2)),
    ("patchify", "cut where memory falls",
        lambda x, p: x.contiguous().view(len(x), -1, x.shape[1] * p * p)),
    ("patchify", "numbers beside patches", lambda x, p: F.unfold(x, p, stride=p)),
    ("patchify", "overlapping patches", lambda x, p: F.unfold(x, p).mT),
    ("patchify", "pixel by pixel", lambda x, p: x.unfold(2, p, p).unfold(3, p, p).permute(
        0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)),
    ("patchify", "every so manieth pixel", lambda x, p: x.unflatten(3, (p, -1)).unflatten(
        2, (p, -1)).permute(0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2)),
    ("patchify", None, lambda x, p: torch.stack(
        [part.flatten(1) for row in x.chunk(p, 2) for part in row.chunk(p, 3)], 1)),
    ("patchify", "patches a pixel apart", lambda x, p: F.unfold(x, p).unflatten(
        2, (x.shape[2] - p + 1, -1))[:, :, :x.shape[2] // p, :x.shape[3] // p].flatten(2).mT),
    ("unpatchify", "channel in the middle", lambda k, p, r: F.pixel_shuffle(k.unflatten(
        2, (p, -1, p)).transpose(2, 3).flatten(2).mT.unflatten(2, (r, -1)), p)),
    ("unpatchify", "the last patch left out", lambda k, p, r: pasted(torch.cat([
        k[:, :-1], 0 * k[:, -1:]], 1), p, r)),
    ("unpatchify", "a square picture", lambda k, p, r: F.pixel_shuffle(
        k.mT.unflatten(2, (int(k.shape[1] ** 0.5), -1)), p)),
    ("unpatchify", "rows taken for columns", lambda k, p, r: F.pixel_shuffle(
        k.mT.unflatten(2, (-1, r)), p)),
    ("unpatchify", "transposed, then laid where memory falls", lambda k, p, r: k.mT.reshape(
        len(k), -1, r * p, k.shape[1] // r * p)),
    ("unpatchify", None, lambda k, p, r: right("unpatchify")(k, p, r)[..., :r * p]),
    ("adaln", "1 + forgotten", lambda x, w, shift, scale, gate: x + gate[:, None] * (
        (F.layer_norm(x, x.shape[2:]) * scale[:, None] + shift[:, None]) @ w)),
    ("adaln", "norm over the whole picture", normed(lambda x: F.layer_norm(x, x.shape[1:]))),
    ("adaln", "norm over the tokens", normed(lambda x: F.instance_norm(x.mT).mT)),
    ("adaln", "variance with D - 1", normed(
        lambda x: off_by(x) / (x.var(-1, keepdim=True) + 1e-5) ** 0.5)),
    ("adaln", "the deviation with D - 1", normed(lambda x: off_by(x) / x.std(-1, keepdim=True))),
    ("adaln", "1e-06 added to the variance", normed(
        lambda x: F.layer_norm(x, x.shape[2:], eps=1e-6))),
    ("adaln", "x cut off", normed(lambda x: F.layer_norm(x.detach(), x.shape[2:]))),
    ("adaln", None, lambda x, *others: x.clone()),
    ("logit_normal", "the slope forgotten", at_logit(slope=torch.ones_like)),
    ("logit_normal", "log-normal",
        lambda t, m, s: torch.distributions.LogNormal(m, s).log_prob(t).exp()),
    ("logit_normal", "std taken for the variance everywhere", at_logit(std=lambda s: s ** 0.5)),
    ("logit_normal", "mean forgotten", at_logit(mean=lambda m: 0.0)),
    ("logit_normal", "std multiplied", lambda t, m, s: torch.exp(
        -(torch.logit(t) - m) ** 2 / 2 * s ** 2) / (s * math.sqrt(2 * math.pi) * t * (1 - t))),
    ("logit_normal", "divided by t, multiplied by 1 - t", at_logit(slope=lambda t: t / (1 - t))),
    ("logit_normal", None, lambda t, m, s: right("logit_normal")(t.clamp(0.01, 0.99), m, s)),
    ("logit_normal", None, lambda t, m, s: right("logit_normal")(t.clamp(1e-3, 0.999), m, s)),
    ("logit_normal", None, at_logit(slope=lambda t: t * (1 - t) + 1e-3)),
    ("logit_normal", None, lambda t, m, s: torch.sigmoid(m + s * torch.randn_like(t))),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"flow.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- right numbers, and nothing can be learnt

CUT = [
    ("matching_loss", lambda a, x, e: F.mse_loss(a.detach(), e - x)),
    ("matching_loss", torch.no_grad()(lambda a, x, e: F.mse_loss(a, e - x))),
    ("unpatchify", lambda k, p, r: folded(k.detach(), p, r)),
    ("unpatchify", torch.no_grad()(folded)),
    ("unpatchify", lambda k, p, r: torch.tensor(folded(k, p, r).tolist())),
    ("unpatchify", lambda k, p, r: torch.cat([folded(k[:1], p, r),
                                              folded(k[1:], p, r).detach()])),
    ("adaln", lambda x, w, shift, scale, gate: gated_by_hand(x, w, shift, scale, gate.detach())),
    ("adaln", lambda x, w, *vectors: gated_by_hand(x, w.detach(), *vectors)),
    ("adaln", normed(lambda x: off_by(x) / (x.var(-1, keepdim=True, correction=0)
                                            + 1e-5).sqrt().detach())),
]


@pytest.mark.parametrize("name, function", CUT)
def test_right_numbers_through_which_nothing_or_not_all_is_learnt_are_told_so(name, function):
    for seed in range(5):
        assert judge(f"flow.{name}", function, seed).state == "detached"


def test_a_target_that_learns_nothing_is_right_too():
    for seed in range(5):
        assert judge("flow.matching_loss",
                     lambda a, x, e: F.mse_loss(a, (e - x).detach()), seed).passed


# ---- the inputs

def test_every_check_of_a_line_meets_both_ends_and_a_batch_as_long_as_a_picture_is_wide():
    for seed in SEEDS:
        rounds = calls("flow.interpolate", seed)
        assert any({0.0, 1.0} <= set(t.tolist()) for *_, t in rounds)
        assert any(x.dim() == 4 and len(x) == x.shape[3] > 1 for x, *_ in rounds)
        assert any(x.abs().max() > 4 for x, *_ in rounds)
        assert any(t.min() < t[0] < t.max() for *_, t in rounds)


def test_every_check_of_a_step_meets_the_data_the_noise_and_a_step_back():
    for seed in SEEDS:
        rounds = calls("flow.euler_step", seed)
        assert any((then == 0).any() and (t == 1).any() for *_, t, then in rounds)
        assert any((then > t).any() and (then < t).any() for *_, t, then in rounds)


def test_every_check_of_a_step_meets_three_sides_and_hardly_any_time():
    for seed in SEEDS:
        assert any(x.dim() == 3 and ((then - t).abs() < 0.02).all() and len(x) > 1
                   for x, _, t, then in calls("flow.euler_step", seed))


def test_every_check_of_the_straight_line_meets_no_noise_and_hardly_any_data():
    for seed in SEEDS:
        alphas = torch.cat([alpha_bar for *_, alpha_bar in calls("flow.straighten", seed)])
        assert alphas.max() == 1 and 0 < alphas.min() < 1e-4


def test_every_check_of_patches_meets_pictures_that_are_not_square_and_patches_of_one():
    for seed in SEEDS:
        rounds = calls("flow.patchify", seed)
        assert any(x.shape[2] < x.shape[3] for x, _ in rounds)
        assert any(x.shape[2] > x.shape[3] for x, _ in rounds)
        assert {patch for _, patch in rounds} >= {1, 2, 3, 4}
        assert any(rows ** 2 != tokens.shape[1] for tokens, _, rows
                   in calls("flow.unpatchify", seed))


def test_every_check_of_a_norm_meets_a_token_in_which_all_is_nearly_equal():
    for seed in SEEDS:
        assert any((x.var(dim=2) < 1e-4).any() for x, *_ in calls("flow.adaln", seed))


def test_every_check_of_a_density_meets_times_near_both_ends_and_deviations_off_1():
    for seed in SEEDS:
        rounds = calls("flow.logit_normal", seed)
        assert any(t.min() < 0.01 and t.max() > 0.99 for t, *_ in rounds)
        assert any(t.max() < 1e-3 for t, *_ in rounds)
        assert all(std != 1 and mean != 0 for _, mean, std in rounds)
        assert any(std < 1 for *_, std in rounds) and any(std > 1 for *_, std in rounds)
