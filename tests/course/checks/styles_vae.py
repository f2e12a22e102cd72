"""The right answers of checks/vae.py again, written out with loops and Python's own numbers."""
import math

import torch


def evidence(log_joint, log_q):
    """Relative to the largest weight of a row."""
    out = []
    for joint, q in zip(log_joint.tolist(), log_q.tolist()):
        weights = [a - b for a, b in zip(joint, q)]
        top = max(weights)
        out.append(top + math.log(sum(math.exp(w - top) for w in weights) / len(weights)))
    return torch.tensor(out)


def kl(mean, log_variance):
    return torch.tensor([sum((m * m + math.exp(v) - 1 - v) / 2 for m, v in zip(*pair))
                         for pair in zip(mean.flatten(1).tolist(),
                                         log_variance.flatten(1).tolist())])


def reparameterise(mean, log_variance, eps):
    numbers = zip(*(x.flatten().tolist() for x in (mean, log_variance, eps)))
    return torch.tensor([m + math.sqrt(math.exp(v)) * e for m, v, e in numbers]).view(mean.shape)


def score_function(z, mean, log_variance, f):
    draws = list(zip(z.tolist(), f.tolist()))
    return torch.tensor([sum(value * (row[d] - m) / math.exp(v) for row, value in draws) / len(z)
                         for d, (m, v) in enumerate(zip(mean.tolist(), log_variance.tolist()))])


def loss(painted, images, kl, sigma, beta):
    """By the density, value by value: its logarithm would be infinite nowhere here."""
    total = 0.0
    for row, other, nats in zip(painted.flatten(1).tolist(), images.flatten(1).tolist(),
                                kl.tolist()):
        for a, b in zip(row, other):
            density = math.exp(-((a - b) / sigma) ** 2 / 2) / math.sqrt(2 * math.pi * sigma ** 2)
            total -= math.log(density)
        total += beta * nats
    return torch.tensor(total / len(painted))


def latent_scale(latents):
    numbers = latents.flatten().tolist()
    middle = math.fsum(numbers) / len(numbers)
    return math.sqrt(len(numbers) / math.fsum((x - middle) ** 2 for x in numbers))


OTHER_STYLE = {
    "vae.evidence": evidence,
    "vae.kl": kl,
    "vae.reparameterise": reparameterise,
    "vae.score_function": score_function,
    "vae.loss": loss,
    "vae.latent_scale": latent_scale,
}
