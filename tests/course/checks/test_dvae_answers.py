"""Lesson 07's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course.checks import judge

SEEDS = range(30)


# ---- right answers in styles that are met

def kl_by_pytorch(log_q):
    even = torch.full_like(log_q, -math.log(log_q.size(2)))
    return F.kl_div(even, log_q, reduction="none", log_target=True).sum((1, 2))


def kl_place_by_place(log_q):
    total = torch.zeros(len(log_q))
    for n in range(log_q.size(1)):
        q = log_q[:, n].exp()
        total += (q * log_q[:, n]).sum(1) + math.log(q.size(1))
    return total


def noisy_with_eps(logits, u, tau):
    """As many write it, against the logarithm of 0."""
    return F.softmax((logits - torch.log(-torch.log(u + 1e-10) + 1e-10)) / tau, -1)


def noisy_in_place(logits, u, tau):
    x = logits.clone()
    x -= u.log().neg().log()
    x /= tau
    return (x - x.logsumexp(-1, keepdim=True)).exp()


def straight_by_scatter(soft):
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1)
    return (hard - soft).detach() + soft


def straight_by_maximum(soft):
    hard = (soft == soft.amax(-1, keepdim=True)).float()
    return hard.detach() - soft.detach() + soft


def nearest_by_squares(z, book):
    z, book = z.double(), book.double()
    return (z.square().sum(1, keepdim=True) - 2 * z @ book.T + book.square().sum(1)).argmin(1)


def perplexity_with_eps(codes, K):
    p = F.one_hot(codes.flatten(), K).float().mean(0)
    return torch.exp(-(p * torch.log(p + 1e-10)).sum())


def perplexity_of_used(codes, K):
    _, n = codes.unique(return_counts=True)
    p = (n / n.sum()).numpy()
    return 2 ** -(p * numpy.log2(p)).sum()


STYLES = [
    ("kl_to_uniform", lambda log_q: log_q.size(1) * numpy.log(log_q.size(2)) - torch.stack(
        [torch.distributions.Categorical(logits=one).entropy().sum() for one in log_q])),
    ("kl_to_uniform", lambda log_q: (log_q.exp() * log_q).sum((1, 2)) - (
        log_q.exp() * -math.log(log_q.size(2))).sum((1, 2))),
    ("kl_to_uniform", kl_by_pytorch),
    ("kl_to_uniform", kl_place_by_place),
    ("kl_to_uniform", lambda log_q: torch.einsum(
        "bnk,bnk->b", log_q.exp(), log_q + math.log(log_q.size(-1)))),
    ("kl_to_uniform", lambda log_q: log_q.size(1) * math.log(log_q.size(2))
     - torch.special.entr(log_q.exp()).flatten(1).sum(1)),
    ("gumbel_softmax", noisy_with_eps),
    ("gumbel_softmax", noisy_in_place),
    ("gumbel_softmax", lambda logits, u, tau: torch.softmax(
        logits / tau - (-u.log()).log() / tau, dim=-1)),
    ("gumbel_softmax", lambda logits, u, tau: ((logits - torch.tensor(
        numpy.log(-numpy.log(u.detach().double().numpy())))) / tau).softmax(-1)),
    ("straight_through", straight_by_scatter),
    ("straight_through", straight_by_maximum),
    ("straight_through", lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)]
     + soft - soft.detach()),
    ("nearest", nearest_by_squares),
    ("nearest", lambda z, book: ((z[:, None] - book[None]) ** 2).sum(-1).min(1).indices),
    ("nearest", lambda z, book: (-torch.cdist(z.double(), book.double())).max(1)[1]),
    ("nearest", lambda z, book: torch.stack([(book - row).norm(dim=1).argmin() for row in z])),
    ("perplexity", perplexity_with_eps),
    ("perplexity", perplexity_of_used),
    ("perplexity", lambda codes, K: torch.distributions.Categorical(
        probs=codes.flatten().bincount(minlength=K).double()).entropy().exp()),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"dvae.{name}", function, seed).passed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def mean_of_all(log_q):
    """The mean over places and codes together."""
    return (log_q.exp() * (log_q + math.log(log_q.size(2)))).mean((1, 2))


def rowwise(codes, K):
    rows = codes.view(len(codes), -1)
    return sum(perplexity_of_used(row, K) for row in rows) / len(rows)


def entropy_by_loop(codes, K):
    p = [(codes == k).float().mean() for k in range(K)]
    return -sum(share * share.log() for share in p if share > 0)


WRONG = [
    ("kl_to_uniform", "summed over the batch", lambda log_q: kl_by_pytorch(log_q).sum(0)),
    ("kl_to_uniform", "mean over the batch", lambda log_q: F.kl_div(
        torch.full_like(log_q, -math.log(log_q.size(2))), log_q, log_target=True,
        reduction="batchmean")),
    ("kl_to_uniform", "KL(uniform || q)", lambda log_q: (
        -math.log(log_q.size(2)) - log_q).mean(-1).sum(-1)),
    ("kl_to_uniform", "sign turned", lambda log_q: torch.special.entr(log_q.exp()).sum((1, 2))
     - log_q.size(1) * math.log(log_q.size(2))),
    ("kl_to_uniform", "one number a place", lambda log_q: math.log(log_q.size(-1))
     + torch.einsum("bnk,bnk->bn", log_q.exp(), log_q)),
    ("kl_to_uniform", "bits", lambda log_q: torch.stack([(picture.exp() * (
        picture / math.log(2) + math.log2(picture.size(1)))).sum() for picture in log_q])),
    ("kl_to_uniform", "logarithm of a probability that is 0", lambda log_q: (
        (q := log_q.exp()) * (q * q.size(2)).log()).sum((1, 2))),
    ("kl_to_uniform", "mean over the codes and the places", mean_of_all),
    ("kl_to_uniform", "mean over everything", lambda log_q: mean_of_all(log_q).mean()),
    ("kl_to_uniform", "the entropy with a plus", lambda log_q: torch.special.entr(
        log_q.exp()).sum((1, 2)) + log_q.size(1) * math.log(log_q.size(2))),
    ("kl_to_uniform", "log K with a minus", lambda log_q: (
        log_q.exp() * (log_q - math.log(log_q.size(2)))).sum((1, 2))),
    ("kl_to_uniform", None, lambda log_q: kl_by_pytorch(log_q).clamp(min=0.5)),
    ("kl_to_uniform", None, lambda log_q: kl_by_pytorch(log_q.clamp(min=-5))),
    ("gumbel_softmax", "noise subtracted", lambda logits, u, tau: (
        (logits + torch.log(-torch.log(u))) / tau).softmax(-1)),
    ("gumbel_softmax", "temperature on the logits only", lambda logits, u, tau: torch.softmax(
        logits / tau - torch.log(-torch.log(u)), -1)),
    ("gumbel_softmax", "temperature on the noise only", lambda logits, u, tau: torch.softmax(
        logits - torch.log(-torch.log(u)) / tau, -1)),
    ("gumbel_softmax", "softmax over the first dimension", lambda logits, u, tau: torch.softmax(
        logits / tau - torch.log(-torch.log(u)) / tau, 0)),
    ("gumbel_softmax", "one logarithm only", lambda logits, u, tau: F.softmax(
        (logits + (1 / u).log()) / tau, -1)),
    ("gumbel_softmax", None, lambda logits, u, tau: F.gumbel_softmax(logits, tau)),
    ("gumbel_softmax", "u clamped at 0.01", lambda logits, u, tau: noisy_in_place(
        logits, u.clamp(0.01, 0.99), tau)),
    ("gumbel_softmax", "u clamped at 1e-05", lambda logits, u, tau: noisy_in_place(
        logits, u.clamp(1e-5, 1 - 1e-5), tau)),
    ("gumbel_softmax", "1e-06 added to u", lambda logits, u, tau: F.softmax(
        (logits - torch.log(-torch.log(u + 1e-6) + 1e-6)) / tau, -1)),
    ("gumbel_softmax", "noise clamped at 5", lambda logits, u, tau: torch.softmax(
        (logits + (-(-u.log()).log()).clamp(-5, 5)) / tau, -1)),
    ("gumbel_softmax", "F.softmax without a dim", lambda logits, u, tau: F.softmax(
        (logits - (-u.log()).log()) / tau, {1: 0, 2: 1, 3: 0}[u.ndim])),    # it warns as it guesses
    ("gumbel_softmax", None, lambda logits, u, tau: torch.softmax(
        (logits - u.log().log()) / tau, -1)),
    ("gumbel_softmax", None, lambda logits, u, tau: noisy_in_place(
        logits.clamp(-10, 10), u, tau)),
    ("gumbel_softmax", "no noise", lambda logits, u, tau: noisy_in_place(
        logits, u[..., :1].expand_as(u), tau)),
    ("gumbel_softmax", "softmax over the last dimension but one", lambda logits, u, tau: F.softmax(
        (logits - (-u.log()).log()) / tau, -2)),
    ("gumbel_softmax", "made hard", lambda logits, u, tau: F.one_hot(
        (logits - (-u.log()).log()).argmax(-1), u.size(-1)).float()),
    ("gumbel_softmax", "logarithm of a softmax", lambda logits, u, tau: F.log_softmax(
        (logits - (-u.log()).log()) / tau, -1)),
    ("gumbel_softmax", "temperature never below 0.1",
     lambda logits, u, tau: noisy_with_eps(logits, u, max(tau, 0.1))),
    ("gumbel_softmax", None, lambda logits, u, tau: noisy_with_eps(logits, u, min(tau, 1.0))),
    ("straight_through", "rounded", lambda soft: (soft > 0.5).float()),
    ("straight_through", "one-hot of whole numbers",
     lambda soft: (soft == soft.amax(-1, keepdim=True)).long()),
    ("straight_through", "soft added and not taken away",
     lambda soft: soft + torch.eye(soft.size(-1))[soft.argmax(-1)].detach()),
    ("straight_through", "the number of the code", lambda soft: soft.max(-1).indices),
    ("straight_through", "the smallest", lambda soft: torch.eye(soft.size(-1))[soft.argmin(-1)]),
    ("straight_through", None, lambda soft: soft == soft.amax(-1, keepdim=True)),
    ("straight_through", None, lambda soft: (20 * soft).softmax(-1)),
    ("straight_through", None, lambda soft: (1000 * soft).softmax(-1)),
    ("straight_through", None, lambda soft: (soft > soft.amax(-1, keepdim=True) - 0.05).float()),
    ("straight_through", None, lambda soft: soft - straight_by_scatter(soft).detach()),
    ("straight_through", None, lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)] - soft),
    ("nearest", "farthest", lambda z, book: (z[:, None] - book).norm(dim=2).max(1).indices),
    ("nearest", "the largest dot product", lambda z, book: torch.einsum(
        "nd,kd->nk", z, book).max(1).indices),
    ("nearest", "the nearest in angle", lambda z, book: (
        F.normalize(z) @ F.normalize(book).T).argmax(-1)),
    ("nearest", "sizes summed in place of squares",
     lambda z, book: torch.cdist(z, book, p=1).argmin(-1)),
    ("nearest", "the vector in place of its number", lambda z, book: torch.stack(
        [book[(book - row).norm(dim=1).argmin()] for row in z])),
    ("nearest", "the nearest vector for each code", lambda z, book: torch.stack(
        [(z - code).norm(dim=1).argmin() for code in book])),
    ("nearest", "the second nearest", lambda z, book: torch.cdist(z, book).argsort(1)[:, 1]),
    ("nearest", "the largest entry of the difference",
     lambda z, book: torch.cdist(z, book, p=math.inf).argmin(1)),
    ("nearest", "the last code left out", lambda z, book: torch.cdist(z, book[:-1]).argmin(1)),
    ("nearest", "squared after the sum",
     lambda z, book: (z.sum(1)[:, None] - book.sum(1)).abs().argmin(1)),
    ("nearest", "a best distance that starts at 100", lambda z, book: torch.tensor(
        [min((math.dist(row, code) ** 2, k) for k, code in enumerate(book.tolist()))[1]
         if min(math.dist(row, code) for code in book.tolist()) < 10 else 0
         for row in z.tolist()])),
    ("nearest", None, lambda z, book: (z.half()[:, None] - book.half()).square().sum(2).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(z, book, p=4).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(z / book.std(0), book / book.std(0)).argmin(1)),
    ("nearest", None, lambda z, book: ((z[:, None] - book).square() * torch.arange(
        1, z.size(1) + 1)).sum(2).argmin(1)),
    ("nearest", None, lambda z, book: ((z[:, None] - book).square() * torch.arange(
        z.size(1), 0, -1)).sum(2).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(z, book, p=3).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(z, book[:13]).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(
        z.bfloat16().float(), book.bfloat16().float()).argmin(1)),
    ("nearest", None, lambda z, book: torch.cdist(z, book).argmin(1).float()),
    ("nearest", None, lambda z, book: torch.cdist(z, book).argmin()),
    ("perplexity", "the entropy itself", entropy_by_loop),
    ("perplexity", "the number of codes in use", lambda codes, K: codes.unique().numel() * 1.0),
    ("perplexity", "sign turned", lambda codes, K: 1 / perplexity_of_used(codes, K)),
    ("perplexity", "2 to the power of nats", lambda codes, K: 2 ** entropy_by_loop(codes, K)),
    ("perplexity", "NaN for unused codes", lambda codes, K: torch.exp(-sum(
        p * p.log() for p in F.one_hot(codes.flatten(), K).float().mean(0)))),
    ("perplexity", "as a share of K", lambda codes, K: perplexity_of_used(codes, K) / K),
    ("perplexity", "K itself", lambda codes, K: float(K)),
    ("perplexity", "row by row", lambda codes, K: rowwise(codes.view(-1, codes.size(-1)), K)),
    ("perplexity", "counted in 8 bits", lambda codes, K: torch.special.entr(
        (n := F.one_hot(codes.flatten(), K).sum(0).to(torch.uint8)) / n.sum()).sum().exp()),
    ("perplexity", "rounded", lambda codes, K: torch.tensor(perplexity_of_used(codes, K)).round()),
    ("perplexity", "10 to the power of nats", lambda codes, K: 10 ** entropy_by_loop(codes, K)),
    ("perplexity", None, rowwise),
    ("perplexity", None, lambda codes, K: perplexity_of_used(codes.flatten()[:100], K)),
    ("perplexity", None, lambda codes, K: torch.tensor([perplexity_of_used(codes, K)])),
    ("perplexity", "code 0 not counted", lambda codes, K: perplexity_of_used(codes[codes > 0], K)
     if codes.any() else 1.0),
]


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"dvae.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake


# ---- one-hot is right, and nothing can be learnt

HARD = [
    ("no gradient reaches soft", lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)]),
    ("no gradient reaches soft", lambda soft: straight_by_scatter(soft.detach())),
    ("reaches soft is wrong", lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)]
     + 2 * (soft - soft.detach())),
]


@pytest.mark.parametrize("words, function", HARD)
def test_one_hot_rows_that_cut_the_gradient_off_or_turn_it_are_told_so(words, function):
    for seed in SEEDS:
        verdict = judge("dvae.straight_through", function, seed)
        assert verdict.state == "detached" and words in verdict.message


CANCELLED = [
    ("detach forgotten", lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)] + soft - soft),
    ("detach forgotten", lambda soft: soft - soft.clone() + straight_by_scatter(soft).detach()),
    ("the wrong one detached", lambda soft: torch.eye(soft.size(-1))[soft.argmax(-1)]
     + soft.detach() - soft),
    ("the winner's gradient only", lambda soft: (soft - soft.detach() + 1)
     * torch.eye(soft.size(-1))[soft.argmax(-1)]),
]


@pytest.mark.parametrize("mistake, function", CANCELLED)
def test_right_rows_whose_gradient_cancels_or_is_turned_are_told_by_the_name_of_it(
        mistake, function):
    """What is cancelled was never cut off, and .detach() is what lacks."""
    for seed in SEEDS:
        verdict = judge("dvae.straight_through", function, seed)
        assert verdict.mistake == mistake and "cut" not in verdict.message


CUT = [
    ("kl_to_uniform", lambda log_q: kl_by_pytorch(log_q.detach())),
    ("kl_to_uniform", torch.no_grad()(kl_place_by_place)),
    ("kl_to_uniform", lambda log_q: torch.tensor([kl_by_pytorch(one[None]) for one in log_q])),
    ("kl_to_uniform", lambda log_q: torch.from_numpy(kl_by_pytorch(log_q).detach().numpy())),
    ("kl_to_uniform", lambda log_q: 2 * kl_by_pytorch(log_q) - kl_by_pytorch(log_q).detach()),
    ("gumbel_softmax", lambda logits, u, tau: noisy_in_place(logits.detach(), u, tau)),
    ("gumbel_softmax", torch.no_grad()(noisy_in_place)),
    ("gumbel_softmax", lambda logits, u, tau: torch.from_numpy(
        noisy_in_place(logits, u, tau).detach().numpy())),
]


@pytest.mark.parametrize("name, function", CUT)
def test_right_numbers_through_which_nothing_is_learnt_are_told_so(name, function):
    for seed in SEEDS:
        assert judge(f"dvae.{name}", function, seed).state == "detached"


@pytest.mark.parametrize("learnt", [True, False])
def test_the_kl_may_have_any_gradient_that_is_the_same_behind_a_log_softmax(learnt):
    """N ln K and the sum of q ln K are equal; with q detached nothing is left of the slope."""
    def kl(log_q):
        q = log_q.exp() if learnt else log_q.exp().detach()
        return (q * (log_q + math.log(log_q.size(2)))).sum((1, 2))
    for seed in SEEDS:
        verdict = judge("dvae.kl_to_uniform", kl, seed)
        assert verdict.passed if learnt else verdict.mistake == "the weights detached"


# ---- the inputs

def test_every_check_of_nearest_meets_one_vector_squares_both_ends_and_ways_that_disagree():
    for seed in SEEDS:
        rounds = calls("dvae.nearest", seed)
        assert any(len(z) == 1 for z, _ in rounds) and any(len(z) < len(b) for z, b in rounds)
        assert any(len(z) == len(b) == b.shape[1] for z, b in rounds)
        z, book = rounds[0]
        assert {0, len(book) - 1} <= set(nearest_by_squares(z, book).tolist())


def test_every_check_of_perplexity_meets_codes_unused_all_used_evenly_used_and_one_alone():
    for seed in SEEDS:
        found = [(perplexity_of_used(codes, K), codes.unique().numel(), K)
                 for codes, K in calls("dvae.perplexity", seed)]
        assert any(used < K for _, used, K in found)
        assert any(p < used - 0.1 and used == K for p, used, K in found)
        assert any(p == pytest.approx(K) for p, _, K in found)
        assert any(p == pytest.approx(1) for p, _, K in found)


def test_every_check_of_the_kl_meets_a_uniform_picture_and_probabilities_that_are_0():
    for seed in SEEDS:
        found = [log_q for log_q, in calls("dvae.kl_to_uniform", seed)]
        assert any(kl_by_pytorch(log_q).abs().min() < 1e-5 for log_q in found)
        assert any((log_q.exp() == 0).any() for log_q in found)
