"""Lesson 09's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls
from torch import nn

from minidalle.course.checks import judge
from minidalle.course.checks.gan import critic

SEEDS = range(20)


# ---- right answers in styles that are met

def losses_by_labels(real, fake):
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    loss = nn.BCEWithLogitsLoss()
    return loss(real, ones) + loss(fake, zeros), loss(fake, ones)


def losses_as_a_list(real, fake):
    return [-(F.logsigmoid(real) + F.logsigmoid(-fake)).mean(), -F.logsigmoid(fake).mean()]


def losses_by_exp(real, fake):
    def cost(x):
        return torch.logaddexp(torch.zeros_like(x), x).mean()
    return cost(-real) + cost(fake), cost(-fake)


def modes_by_cdist(samples, centres, radius, least):
    apart, which = torch.cdist(samples, centres, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    kept = which[apart <= radius]
    return sum(int((kept == k).sum()) >= least for k in range(len(centres)))


def modes_by_numpy(samples, centres, radius, least):
    apart = numpy.linalg.norm(samples.numpy()[:, None] - centres.numpy()[None], axis=-1)
    own = numpy.eye(len(centres), dtype=bool)[apart.argmin(1)]
    return ((own & (apart <= radius)).sum(0) >= least).sum()


def modes_one_by_one(samples, centres, radius, least):
    found = torch.zeros(len(centres))
    for sample in samples:
        apart = (centres - sample).pow(2).sum(1).sqrt()
        if apart.min() <= radius:
            found[apart.argmin()] += 1
    return (found >= least).sum()


def r1_by_autograd(images, weights, readout):
    x = images.clone().requires_grad_(True)
    grad = torch.autograd.grad(outputs=critic(x, weights, readout).sum(), inputs=x,
                               create_graph=True)[0]
    return (grad.reshape(len(x), -1) ** 2).sum(1).mean()


def r1_by_grad_outputs(images, weights, readout):
    x = images.detach().clone().requires_grad_()
    scores = critic(x, weights, readout)
    slope, = torch.autograd.grad(scores, x, torch.ones_like(scores), create_graph=True,
                                 retain_graph=True)
    return slope.pow(2).sum() / x.size(0)


def r1_by_the_chain_rule(images, weights, readout):
    h = torch.tanh(images.flatten(1) @ weights.T)
    return (((1 - h ** 2) * readout) @ weights).pow(2).sum(1).mean()


def r1_of_the_images_themselves(images, weights, readout):
    images.requires_grad_()
    slope, = torch.autograd.grad(critic(images, weights, readout).sum(), images, create_graph=True)
    return slope.flatten(1).norm(dim=1).square().mean()


def wrong_by_loops(factors):
    out = torch.zeros(len(factors), dtype=torch.long)
    for i in range(len(factors)):
        j = (i + 1) % len(factors)
        while torch.equal(factors[i], factors[j]) and j != i:
            j = (j + 1) % len(factors)
        out[i] = j
    return out


def wrong_by_rolls(factors):
    B = len(factors)
    where = torch.arange(B)
    found = where.clone()
    for step in reversed(range(1, B)):
        other = (factors.roll(-step, 0) != factors).any(1)
        found = torch.where(other, (where + step) % B, found)
    return found


def wrong_by_the_doubled_table(factors):
    """The table twice side by side, above its diagonal."""
    B = len(factors)
    differ = (factors[:, None] != factors[None]).any(-1)
    ahead = torch.cat([differ, differ], 1).triu(1)
    return ahead.float().argmax(1) % B


def wrong_by_the_chain(factors):
    """From neighbour to neighbour, until one differs from the one before it."""
    out = []
    for i in range(len(factors)):
        j = (i + 1) % len(factors)
        while factors[j].equal(factors[j - 1]):
            j = (j + 1) % len(factors)
        out.append(j)
    return torch.tensor(out)


STYLES = [
    ("best_critic", lambda p, q: 1 / (1 + (q - p).exp())),
    ("best_critic", lambda p, q: torch.stack([p, q]).softmax(0)[0]),
    ("best_critic", lambda p, q: (p - torch.logaddexp(p, q)).exp()),
    ("best_critic", lambda p, q: torch.from_numpy(1 / (1 + numpy.exp(
        (q - p).double().clamp(max=700).numpy())))),
    ("best_critic", lambda p, q: 0.5 + 0.5 * torch.tanh((p - q) / 2)),
    ("best_critic", lambda p, q: (top := torch.maximum(p, q), a := (p - top).exp())[1]
     / (a + (q - top).exp())),
    ("non_saturating", losses_by_labels), ("non_saturating", losses_as_a_list),
    ("non_saturating", losses_by_exp),
    ("non_saturating", lambda real, fake: (F.softplus(torch.cat([-real, fake])).mean() * 2,
                                           F.softplus(-fake).sum() / len(fake))),
    ("modes", modes_by_cdist), ("modes", modes_by_numpy), ("modes", modes_one_by_one),
    ("r1", r1_by_autograd), ("r1", r1_by_grad_outputs), ("r1", r1_by_the_chain_rule),
    ("r1", r1_of_the_images_themselves),
    ("relativistic", lambda real, fake: (-F.logsigmoid(real - fake).mean(),
                                         -F.logsigmoid(fake - real).mean())),
    ("relativistic", lambda real, fake: (
        F.binary_cross_entropy_with_logits(real - fake, torch.ones_like(real)),
        F.binary_cross_entropy_with_logits(real - fake, torch.zeros_like(real)))),
    ("relativistic", lambda real, fake: (torch.logaddexp(fake - real, 0 * real).mean(),
                                         torch.logaddexp(real - fake, 0 * real).mean())),
    ("relativistic", lambda real, fake: (
        (torch.logaddexp(real, fake) - real).mean(), (torch.logaddexp(real, fake) - fake).mean())),
    ("relativistic", lambda real, fake: tuple(F.cross_entropy(
        torch.stack([real, fake], 1), torch.full((len(real),), k)) for k in (0, 1))),
    ("wrong_captions", wrong_by_loops), ("wrong_captions", wrong_by_rolls),
    ("wrong_captions", wrong_by_the_chain),
    ("wrong_captions", wrong_by_the_doubled_table),
    ("matching_aware", lambda right, wrong, fake: -(
        F.logsigmoid(right) + (F.logsigmoid(-wrong) + F.logsigmoid(-fake)) / 2).mean()),
    ("matching_aware", lambda right, wrong, fake: F.softplus(-right).mean()
     + F.softplus(torch.cat([wrong, fake])).mean()),
    ("matching_aware", lambda right, wrong, fake: losses_by_labels(right, wrong)[0] / 2
     + losses_by_labels(right, fake)[0] / 2),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"gan.{name}", function, seed).passed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def by_bce(real, fake):
    """After a sigmoid: each logarithm is kept above -100."""
    real, fake, loss = real.sigmoid(), fake.sigmoid(), nn.BCELoss()
    return (loss(real, torch.ones_like(real)) + loss(fake, torch.zeros_like(fake)),
            loss(fake, torch.ones_like(fake)))


def by_logs(real, fake, eps=0.0):
    D = torch.sigmoid
    return (-torch.log(D(real) + eps).mean() - torch.log(1 - D(fake) + eps).mean(),
            -torch.log(D(fake) + eps).mean())


def penalty_of(images, weights, readout, of=torch.sum, graph=True):
    x = images.detach().requires_grad_()
    slope, = torch.autograd.grad(of(critic(x, weights, readout)), x, create_graph=graph)
    return slope.flatten(1)


def by_clamped(real, fake, eps=1e-6):
    """D is kept away from both ends, as people do."""
    real, fake = (x.sigmoid().clamp(eps, 1 - eps) for x in (real, fake))
    return -real.log().mean() - (1 - fake).log().mean(), -fake.log().mean()


def first_circle(samples, centres, radius, least):
    found = [0] * len(centres)
    for sample in samples:
        for k, centre in enumerate(centres):
            if (sample - centre).norm() <= radius:
                found[k] += 1
                break
    return sum(n >= least for n in found)


def means_within(samples, centres, radius, least):
    which = torch.cdist(samples, centres).argmin(1)
    return sum(int((which == k).sum()) >= least
               and (samples[which == k].mean(0) - centres[k]).norm().item() <= radius
               for k in range(len(centres)))


def of_numbers(number, none=None):
    """Pictures are alike where one number made of their factors is; `none` where all are."""
    def answer(factors):
        rows = [number(row) for row in factors.tolist()]
        B = len(rows)
        return torch.tensor([next(
            ((i + k) % B for k in range(1, B) if rows[(i + k) % B] != rows[i]),
            i if none is None else none) for i in range(B)])
    return answer


WRONG = [
    ("best_critic", "exp vanishes or overflows", lambda p, q: 1 / (1 + q.exp() / p.exp())
     if p.isfinite().all() and p.max() < 80 and p.min() > -80 else p.exp() / (p.exp() + q.exp())),
    ("best_critic", "the ratio overflows", lambda p, q: torch.exp(p - q) / (1 + torch.exp(p - q))),
    ("best_critic", "1e-08 added below", lambda p, q: p.exp() / (1e-8 + q.exp() + p.exp())),
    ("best_critic", "the painter's share", lambda p, q: torch.sigmoid(q - p)),
    ("best_critic", "the score in place of D", lambda p, q: -(q - p)),
    ("best_critic", "twice as large", lambda p, q: p.sub(q).sigmoid() * 2),
    ("best_critic", "yes or no", lambda p, q: torch.where(p > q, 1.0, 0.0)),
    ("best_critic", "squares of the densities", lambda p, q: 1 / (1 + (2 * (q - p)).exp())),
    ("best_critic", "D kept 0.001 away from 0 and 1", lambda p, q: torch.clamp(
        torch.sigmoid(p - q), 0.001, 0.999)),
    ("best_critic", None, lambda p, q: 1 / (1 + (q - p).exp().clamp(max=1e3))),
    ("best_critic", None, lambda p, q: (p - q).sigmoid()[..., None]),
    ("best_critic", None, lambda p, q: (p - q).sigmoid().mean()),
    ("best_critic", None, lambda p, q: (p - q).half().sigmoid()),
    ("best_critic", "the score kept within 10", lambda p, q: (p - q).clamp(-10, 10).sigmoid()),
    ("best_critic", "0 / 0 taken for 0.5", lambda p, q: torch.where(
        (d := p.exp() / (p.exp() + q.exp())).isnan(), 0.5, d)),
    ("best_critic", "p over q, and at most 1", lambda p, q: (p - q).exp().minimum(torch.ones(()))),
    ("best_critic", "softmax over dimension -1", lambda p, q: torch.softmax(p - q, -1)
     if p.ndim > 1 else torch.softmax(p - q, 0)),
    ("non_saturating", "D kept between 1e-06 and 1 - 1e-06", by_clamped),
    ("non_saturating", "the painter's summed over the batch", lambda real, fake: (
        losses_by_labels(real, fake)[0], -F.logsigmoid(fake).sum())),
    ("non_saturating", "overflows: log sigmoid, log(1 - sigmoid), log sigmoid", by_logs),
    ("non_saturating", "overflows: log sigmoid, right, log sigmoid",
     lambda real, fake: (-real.sigmoid().log().mean() + F.softplus(fake).mean(),
                         -fake.sigmoid().log().mean())),
    ("non_saturating", "sigmoid, then binary_cross_entropy", by_bce),
    ("non_saturating", "1e-08 inside the logarithm", lambda real, fake: by_logs(real, fake, 1e-8)),
    ("non_saturating", "the minimax painter", lambda real, fake: (
        losses_by_labels(real, fake)[0], F.logsigmoid(-fake).mean())),
    ("non_saturating", "painted called real", lambda real, fake: (
        F.softplus(-real).mean() + F.softplus(-fake).mean(), F.softplus(-fake).mean())),
    ("non_saturating", "the critic halved", lambda real, fake: (
        losses_by_labels(real, fake)[0] / 2, losses_by_labels(real, fake)[1])),
    ("non_saturating", "painter first", lambda real, fake: losses_by_labels(real, fake)[::-1]),
    ("non_saturating", "one loss for both", lambda real, fake: (
        losses_by_labels(real, fake)[0],) * 2),
    ("non_saturating", "the scores themselves", lambda real, fake: (
        -(real - fake).mean(), -fake.mean())),
    ("non_saturating", "hinge", lambda real, fake: (
        F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean())),
    ("non_saturating", None, lambda real, fake: losses_by_labels(real, fake)[0]),
    ("non_saturating", None, lambda real, fake: torch.stack(losses_by_labels(real, fake))),
    ("non_saturating", None, lambda real, fake: tuple(
        one.item() for one in losses_by_labels(real, fake))),
    ("non_saturating", None, lambda real, fake: losses_by_labels(
        real.nan_to_num().clamp(min=-1000), fake)),
    ("non_saturating", None, lambda real, fake: losses_by_labels(real.half(), fake.half())),
    ("modes", "nearer than radius", lambda x, c, r, n: int(((
        (d := torch.cdist(x, c)).argmin(1)[:, None] == torch.arange(len(c))) & (d < r)).sum(0).ge(
            n).sum())),
    ("modes", "counted for several centres", lambda x, c, r, n: int((
        (torch.cdist(x, c) <= r).sum(0) >= n).sum())),
    ("modes", "no radius", lambda x, c, r, n: int((torch.cdist(x, c).argmin(1).bincount(
        minlength=len(c)) >= n).sum())),
    ("modes", "one sample is enough", lambda x, c, r, n: len(set(torch.cdist(x, c).argmin(1)[
        torch.cdist(x, c).amin(1) <= r].tolist()))),
    ("modes", "one sample within the circle is enough", lambda x, c, r, n: int(
        (torch.cdist(x, c).amin(0) <= r).sum())),
    ("modes", "modes that are lost", lambda x, c, r, n: len(c) - modes_one_by_one(x, c, r, n)),
    ("modes", "the first circle", first_circle),
    ("modes", "the last circle", lambda x, c, r, n: first_circle(x, c.flip(0), r, n)),
    ("modes", "the mean within the circle", means_within),
    ("modes", "20 in place of least", lambda x, c, r, n: modes_one_by_one(x, c, r, 20)),
    ("modes", "0.2 in place of radius", lambda x, c, r, n: modes_one_by_one(x, c, 0.2, n)),
    ("modes", "the first eight centres", lambda x, c, r, n: sum(
        int((torch.cdist(x, c).argmin(1)[torch.cdist(x, c).amin(1) <= r] == k).sum()) >= n
        for k in range(8))),
    ("modes", None, lambda x, c, r, n: 0),
    ("modes", None, lambda x, c, r, n: float(modes_one_by_one(x, c, r, n))),
    ("modes", None, lambda x, c, r, n: modes_one_by_one(x, c, r, min(n, 2))),
    ("r1", "the mean of the scores differentiated", lambda x, w, r: penalty_of(
        x, w, r, torch.mean).square().sum(1).mean()),
    ("r1", "mean over everything", lambda x, w, r: penalty_of(x, w, r).pow(2).mean()),
    ("r1", "towards 1", lambda x, w, r: (penalty_of(x, w, r).norm(dim=1) - 1).pow(2).mean()),
    ("r1", "not squared", lambda x, w, r: penalty_of(x, w, r).norm(2, dim=1).mean()),
    ("r1", "the half inside", lambda x, w, r: 0.5 * penalty_of(x, w, r).pow(2).sum(1).mean()),
    ("r1", "requires_grad forgotten", lambda x, w, r: torch.autograd.grad(
        critic(x.detach(), w.detach(), r.detach()).sum(), x)[0].pow(2).sum()),
    ("r1", "summed over the batch", lambda x, w, r: penalty_of(x, w, r).pow(2).sum()),
    ("r1", "summed over the channels alone", lambda x, w, r: penalty_of(x, w, r).view(
        x.shape).pow(2).sum(1).mean()),
    ("r1", "dimensions 1, 2 and 3 named", lambda x, w, r: penalty_of(x, w, r).view(
        x.shape).pow(2).sum([1, 2, 3]).mean()),
    ("r1", "divided by B - 1", lambda x, w, r: penalty_of(x, w, r).pow(2).sum() / (len(x) - 1)),
    ("r1", None, lambda x, w, r: penalty_of(x, w, r).clamp(-1, 1).pow(2).sum(1).mean()),
    ("r1", None, lambda x, w, r: penalty_of(x, w, r).pow(2).sum(1).mean().view(1)),
    ("r1", None, lambda x, w, r: penalty_of(x, w, r).pow(2).sum(1).mean().item()),
    ("relativistic", "overflows: log sigmoid, or exp", lambda real, fake: (
        torch.log(1 + (fake - real).exp()).mean(), torch.log(1 + (real - fake).exp()).mean())),
    ("relativistic", "overflows: log sigmoid, or exp", lambda real, fake: (
        F.soft_margin_loss(real - fake, torch.ones_like(real)),
        F.soft_margin_loss(fake - real, torch.ones_like(real)))),
    ("relativistic", "1e-08 inside the logarithm, of 1 - D too", lambda real, fake: (
        -((real - fake).sigmoid() + 1e-8).log().mean(),
        -(1 - (real - fake).sigmoid() + 1e-8).log().mean())),
    ("relativistic", "1e-06 inside the logarithm, of 1 - D too", lambda real, fake: (
        -((real - fake).sigmoid() + 1e-6).log().mean(),
        -(1 - (real - fake).sigmoid() + 1e-6).log().mean())),
    ("relativistic", "difference clamped at 50", lambda real, fake: (
        F.softplus((fake - real).clamp(-50, 50)).mean(),
        F.softplus((real - fake).clamp(-50, 50)).mean())),
    ("relativistic", "the means compared", lambda real, fake: (
        F.softplus(fake.mean() - real.mean()), F.softplus(real.mean() - fake.mean()))),
    ("relativistic", "difference turned round", lambda real, fake: (
        F.softplus(real - fake).mean(), F.softplus(fake - real).mean())),
    ("relativistic", "every pair", lambda real, fake: (
        F.softplus(fake[:, None] - real).mean(), F.softplus(real - fake[:, None]).mean())),
    ("relativistic", "not in pairs", losses_by_labels),
    ("relativistic", "the painter loses what the critic wins", lambda real, fake: (
        F.softplus(fake - real).mean(), -F.softplus(fake - real).mean())),
    ("relativistic", None, lambda real, fake: (F.softplus(fake - real).mean(),)),
    ("relativistic", None, lambda real, fake: (
        F.softplus(fake - real, beta=2).mean(), F.softplus(real - fake, beta=2).mean())),
    ("wrong_captions", "the next one, whatever it shows", lambda f: torch.arange(len(f)).roll(-1)),
    ("wrong_captions", "the one before, whatever it shows",
     lambda f: torch.arange(len(f)).roll(1)),
    ("wrong_captions", "from the start of the batch", lambda f: torch.tensor(
        [next(j for j, other in enumerate(f) if not other.equal(row)) for row in f])),
    ("wrong_captions", "the first factor alone, or else -1", of_numbers(lambda row: row[0], -1)),
    ("wrong_captions", "sums compared, or else 0", of_numbers(sum, 0)),
    ("wrong_captions", "the most different one, from the start of the batch", lambda f: torch.stack(
        [(row != f).sum(1).argmax() for row in f])),
    ("wrong_captions", "products compared", of_numbers(math.prod)),
    ("wrong_captions", "the first 3 factors alone", of_numbers(lambda row: row[:3])),
    ("wrong_captions", "written side by side, from the left", of_numbers(
        lambda row: sum(n * 10 ** k for k, n in enumerate(reversed(row))))),
    ("wrong_captions", "written side by side, from the right", of_numbers(
        lambda row: sum(n * 10 ** k for k, n in enumerate(row)))),
    ("wrong_captions", "two places are looked at", lambda f: torch.where(
        (f.roll(-1, 0) != f).any(1), torch.arange(len(f)).roll(-1), torch.arange(len(f)).roll(-2))),
    ("wrong_captions", "a table", lambda f: (f[:, None] - f).abs().sum(2) > 0),
    ("wrong_captions", None, lambda f: wrong_by_loops(f).float()),
    ("matching_aware", "the half forgotten", lambda a, b, c: F.softplus(-a).mean()
     + F.softplus(b).mean() + F.softplus(c).mean()),
    ("matching_aware", "wrong as right", lambda a, b, c: F.softplus(-a).mean()
     + (F.softplus(-b).mean() + F.softplus(c).mean()) / 2),
    ("matching_aware", "only painted halved", lambda a, b, c: losses_by_labels(a, b)[0]
     + F.softplus(c).mean() / 2),
    ("matching_aware", "D kept between 1e-06 and 1 - 1e-06", lambda a, b, c: (
        by_clamped(a, b)[0] + by_clamped(a, c)[0]) / 2),
    ("matching_aware", "wrong captions left out", lambda a, b, c: losses_by_labels(a, c)[0]),
    ("matching_aware", "overflows: log sigmoid, log(1 - sigmoid), log(1 - sigmoid)",
     lambda a, b, c: by_logs(a, b)[0] / 2 + by_logs(a, c)[0] / 2),
    ("matching_aware", "sigmoid, then binary_cross_entropy", lambda a, b, c: (
        by_bce(a, b)[0] + by_bce(a, c)[0]) / 2),
    ("matching_aware", "a third each", lambda a, b, c: F.softplus(torch.cat([-a, b, c])).mean()),
    ("matching_aware", None, lambda a, b, c: float(losses_by_labels(a, b)[0])),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"gan.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


def test_a_mistake_of_relativistic_sends_back_to_the_section_that_it_stands_in():
    """The lesson's fourth, with the captions."""
    verdict = judge("gan.relativistic", lambda real, fake: losses_by_labels(real, fake), 0)
    assert "(see section 4)" in verdict.message


# ---- right numbers, and nothing can be learnt

CUT = [
    ("non_saturating", "painted detached", lambda real, fake: losses_by_labels(
        real, fake.detach())),
    ("non_saturating", "painted detached for the critic", lambda real, fake: (
        losses_by_labels(real, fake.detach())[0], F.softplus(-fake).mean())),
    ("non_saturating", None, torch.no_grad()(losses_by_labels)),
    ("non_saturating", None, lambda real, fake: [
        torch.tensor(one.item()) for one in losses_by_labels(real, fake)]),
    ("r1", "create_graph forgotten", lambda x, w, r: penalty_of(x, w, r, graph=False).pow(2).sum(
        1).mean()),
    ("r1", "create_graph forgotten", lambda x, w, r: penalty_of(x, w, r).detach().pow(2).sum(
        1).mean()),
    ("r1", "the weights detached", lambda x, w, r: penalty_of(x, w.detach(), r).pow(2).sum(
        1).mean()),
    ("r1", "a root, and squared again", lambda x, w, r: (penalty_of(x, w, r).pow(2).sum(
        1) ** 0.5).pow(2).mean()),
    ("r1", None, lambda x, w, r: (((1 - torch.tanh(x.flatten(1) @ w.T).detach() ** 2) * r) @ w).pow(
        2).sum(1).mean()),
    ("relativistic", "real detached", lambda real, fake: (
        F.softplus(fake - real.detach()).mean(), F.softplus(real.detach() - fake).mean())),
    ("matching_aware", "wrong detached", lambda a, b, c: F.softplus(-a).mean()
     + F.softplus(torch.cat([b.detach(), c])).mean()),
]


@pytest.mark.parametrize("name, mistake, function", CUT)
def test_right_numbers_through_which_nothing_is_learnt_are_told_so(name, mistake, function):
    for seed in range(5):
        verdict = judge(f"gan.{name}", function, seed)
        assert verdict.mistake == mistake and verdict.state == (
            "mistake" if mistake else "detached")


def test_a_penalty_by_backward_changes_nothing_and_is_told_so():
    """.grad has no graph: the number is right."""
    def by_backward(images, weights, readout):
        x = images.detach().requires_grad_()
        critic(x, weights.detach(), readout.detach()).sum().backward()
        return x.grad.flatten(1).pow(2).sum(1).mean()
    for seed in range(5):
        assert judge("gan.r1", by_backward, seed).mistake == "create_graph forgotten"


# ---- the inputs

def test_every_check_of_the_best_critic_meets_densities_that_vanish_and_places_of_one_alone():
    for seed in SEEDS:
        rounds = calls("gan.best_critic", seed)
        assert any(((p.exp() + q.exp()) == 0).any() for p, q in rounds)
        assert any(p.exp().isinf().any() and q.exp().isinf().any() for p, q in rounds)
        assert any((p == -math.inf).any() and (q == -math.inf).any() for p, q in rounds)
        assert any((p == q).any() for p, q in rounds) and {p.ndim for p, _ in rounds} == {1, 2}
        assert any(p.numel() == 1 for p, _ in rounds)


def test_every_check_of_a_loss_meets_sigmoids_of_0_and_1_in_each_of_its_scores_and_one_alone():
    for name in ("non_saturating", "relativistic", "matching_aware"):
        for seed in SEEDS:
            rounds = calls(f"gan.{name}", seed)
            assert any(len(args[0]) == 1 for args in rounds)
            if name != "relativistic":
                for part in range(len(rounds[0])):
                    assert any((args[part].sigmoid() == (part > 0)).any() for args in rounds)
            else:
                assert any(((a - b).sigmoid() == 0).any() for a, b in rounds)
                assert any(((a - b).sigmoid() == 1).any() for a, b in rounds)


def test_every_check_of_modes_meets_both_edges_circles_that_overlap_and_one_dimension():
    for seed in SEEDS:
        rounds = calls("gan.modes", seed)
        assert any((torch.cdist(x, c) == r).any() for x, c, r, _ in rounds)
        assert any(((torch.cdist(x, c) <= r).sum(dim=1) > 1).any() for x, c, r, _ in rounds)
        assert {c.shape[1] for _, c, _, _ in rounds} >= {1, 2, 3}
        assert any(len(x) < len(c) for x, c, *_ in rounds)


def test_every_check_of_modes_meets_samples_that_are_in_an_earlier_and_in_a_later_circle_too():
    for seed in SEEDS:
        first = last = False
        for x, c, r, _ in calls("gan.modes", seed):
            within, nearest = torch.cdist(x, c) <= r, torch.cdist(x, c).argmin(dim=1)
            own = within[torch.arange(len(x)), nearest]
            at = torch.arange(len(c))
            first |= bool((own & (within & (at < nearest[:, None])).any(dim=1)).any())
            last |= bool((own & (within & (at > nearest[:, None])).any(dim=1)).any())
        assert first and last


def test_no_sample_of_modes_is_as_near_to_two_centres_nor_nearly_on_an_edge():
    """Then rounding would decide: only whole numbers lie exactly on it."""
    for seed in range(100):
        for x, c, r, _ in calls("gan.modes", seed):
            apart = torch.cdist(x.double(), c.double()).sort(dim=1).values
            assert (apart[:, 1] - apart[:, 0] > 0.02 * r).all()
            off = (apart[:, 0] - r).abs()
            assert ((off > 0.02 * r) | (off == 0)).all()


def test_the_first_call_of_the_penalty_meets_a_picture_at_which_the_critic_is_flat():
    """There the root of 0 would have an infinite slope; and others at which it is steep."""
    for seed in SEEDS:
        images, weights, readout = calls("gan.r1", seed)[0]
        slopes = penalty_of(images, weights, readout)
        assert not slopes[0].any() and slopes[1:].any(dim=1).all()


def test_every_check_of_wrong_captions_meets_copies_also_at_the_end_and_pictures_all_unlike():
    for seed in SEEDS:
        rounds = [factors for factors, in calls("gan.wrong_captions", seed)]
        assert any((f[0] == f[1]).all() and (f[-1] == f[0]).all() for f in rounds)
        assert any(len(set(map(tuple, f.tolist()))) == len(f) for f in rounds)
        assert {f.shape[1] for f in rounds} >= {2, 3, 4}
        for f in rounds:                       # each has one that is wrong for it
            assert (f != f[wrong_by_loops(f)]).any(dim=1).all()
