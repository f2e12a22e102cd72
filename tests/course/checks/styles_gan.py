"""The right answers of checks/gan.py again, written out with loops."""
import math

import torch


def best_critic(log_p, log_q):
    """From the smaller of the two exponentials, which never overflows."""
    out = []
    for a, b in zip(log_p.flatten().tolist(), log_q.flatten().tolist()):
        small = math.exp(-abs(a - b))
        out.append(1 / (1 + small) if a >= b else small / (1 + small))
    return torch.tensor(out).view(log_p.shape)


def cost(score):
    """-ln sigmoid(score) = ln(1 + e^-score)"""
    return math.log1p(math.exp(-score)) if score > 0 else math.log1p(math.exp(score)) - score


def mean(numbers):
    return torch.tensor(sum(numbers) / len(numbers))


def non_saturating(real, fake):
    real, fake = real.tolist(), fake.tolist()
    return (mean([cost(r) for r in real]) + mean([cost(-f) for f in fake]),
            mean([cost(f) for f in fake]))


def relativistic(real, fake):
    pairs = list(zip(real.tolist(), fake.tolist()))
    return mean([cost(r - f) for r, f in pairs]), mean([cost(f - r) for r, f in pairs])


def matching_aware(right, wrong, fake):
    return (mean([cost(s) for s in right.tolist()])
            + mean([cost(-s) for s in wrong.tolist() + fake.tolist()]))


def modes(samples, centres, radius, least):
    found = [0] * len(centres)
    for sample in samples.tolist():
        apart = [math.dist(sample, centre) for centre in centres.tolist()]
        if min(apart) <= radius:
            found[apart.index(min(apart))] += 1
    return sum(n >= least for n in found)


def r1(images, weights, readout):
    """By the chain rule: the slope of tanh is 1 - tanh^2. With tensors, for nothing is learnt
    through Python's numbers."""
    total = 0.0
    for picture in images.flatten(1):
        slope = torch.zeros_like(picture)
        for row, v in zip(weights, readout):
            h = sum(w * x for w, x in zip(row, picture)).tanh()
            slope = slope + v * (1 - h * h) * row
        total += sum(s * s for s in slope)
    return total / len(images)


def wrong_captions(factors):
    rows = factors.tolist()
    return torch.tensor([next((j % len(rows) for j in range(i + 1, i + len(rows))
                               if rows[j % len(rows)] != row), i) for i, row in enumerate(rows)])


OTHER_STYLE = {
    "gan.best_critic": best_critic,
    "gan.non_saturating": non_saturating,
    "gan.modes": modes,
    "gan.r1": r1,
    "gan.relativistic": relativistic,
    "gan.wrong_captions": wrong_captions,
    "gan.matching_aware": matching_aware,
}
