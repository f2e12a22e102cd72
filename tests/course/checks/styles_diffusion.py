"""The right answers of checks/diffusion.py again, with loops and Python's own numbers."""
import math

import torch


def add_noise(x_0, t, eps, alpha_bar):
    out = torch.empty_like(x_0)
    for b, step in enumerate(t.tolist()):
        left = alpha_bar[step].item()
        out[b] = math.sqrt(left) * x_0[b] + math.sqrt(1 - left) * eps[b]
    return out


def posterior(x_0, x_t, t, alpha_bar):
    """The product of two Gaussians in x_{t-1}: what step t says of it, and what x_0 says."""
    levels = [1.0, *alpha_bar.tolist()]
    mean, variance = torch.empty_like(x_0), []
    for b, step in enumerate(t.tolist()):
        now, before = levels[step + 1], levels[step]
        alpha = now / before
        sharp_t, spread = alpha / (1 - alpha), 1 - before
        if spread == 0:
            mean[b] = x_0[b]
            variance.append(0.0)
            continue
        variance.append(1 / (sharp_t + 1 / spread))
        mean[b] = variance[-1] * (sharp_t / math.sqrt(alpha) * x_t[b]
                                  + math.sqrt(before) / spread * x_0[b])
    return mean, torch.tensor(variance)


def velocity(x_0, eps, alpha_bar):
    """By the angle on the circle: x_t = cos x_0 + sin eps."""
    out = torch.empty_like(x_0)
    for b, left in enumerate(alpha_bar.tolist()):
        angle = math.acos(math.sqrt(left))
        out[b] = math.cos(angle) * eps[b] - math.sin(angle) * x_0[b]
    return out


def ddim_step(x_t, eps, alpha_bar, previous):
    out = []
    for noisy, noise in zip(x_t.flatten().tolist(), eps.flatten().tolist()):
        clean = (noisy - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)
        out.append(math.sqrt(previous) * clean + math.sqrt(1 - previous) * noise)
    return torch.tensor(out).view(x_t.shape)


def guided(cond, uncond, scale):
    pairs = zip(cond.flatten(), uncond.flatten())
    return torch.stack([scale * c + (1 - scale) * u for c, u in pairs]).view(cond.shape)


OTHER_STYLE = {
    "diffusion.add_noise": add_noise,
    "diffusion.posterior": posterior,
    "diffusion.velocity": velocity,
    "diffusion.ddim_step": ddim_step,
    "diffusion.guided": guided,
}
