"""The right answers of checks/latent.py again, with loops and Python's own numbers."""
import math

import torch


def encode(mean, log_variance, eps, scale):
    values = [scale * (m + math.sqrt(math.exp(v)) * e) for m, v, e in zip(
        mean.flatten().tolist(), log_variance.flatten().tolist(), eps.flatten().tolist())]
    return torch.tensor(values).view(mean.shape)


def multiply_adds(c_in, c_out, kernel, height, width):
    count = 0
    for _ in range(height * width):
        for _ in range(c_out):
            count += c_in * kernel * kernel        # products that are added up there
    return count


def word_maps(q, k, heard):
    B, N, d = q.shape
    out = torch.zeros(B, N, k.shape[1])
    for b in range(B):
        words = [t for t in range(k.shape[1]) if heard[b, t]]
        for n in range(N):
            scores = [sum(x * y for x, y in zip(q[b, n].tolist(), k[b, t].tolist())) / math.sqrt(d)
                      for t in words]
            total = sum(math.exp(score - max(scores)) for score in scores)
            for t, score in zip(words, scores):
                out[b, n, t] = math.exp(score - max(scores)) / total
    return out


def dropped(heard, keep):
    rows = [row if kept else [True] + [False] * (len(row) - 1)
            for row, kept in zip(heard.tolist(), keep.tolist())]
    return torch.tensor(rows)


def guided(yes, none, no, scale):
    values = [a * scale + b * (1 - scale)
              for a, b in zip(yes.flatten().tolist(), no.flatten().tolist())]
    return torch.tensor(values).view(yes.shape)


def noisy_start(z, eps, alpha_bar, strength):
    last = len(alpha_bar) - 1
    step = min(range(last + 1), key=lambda t: abs(t / last - strength))
    kept = alpha_bar[step].item()
    values = [math.sqrt(kept) * x + math.sqrt(1 - kept) * e
              for x, e in zip(z.flatten().tolist(), eps.flatten().tolist())]
    return torch.tensor(values).view(z.shape), step


OTHER_STYLE = {
    "latent.encode": encode,
    "latent.multiply_adds": multiply_adds,
    "latent.word_maps": word_maps,
    "latent.dropped": dropped,
    "latent.guided": guided,
    "latent.noisy_start": noisy_start}
