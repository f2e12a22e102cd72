"""The right answers of checks/unet.py again, with loops and Python's own numbers."""
import math

import torch


def time_features(t, width):
    rows = []
    for time in t.tolist():
        angles = [time / math.pow(10_000, 2 * i / width) for i in range(width // 2)]
        rows.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    return torch.tensor(rows)


def modulate(h, scale, shift):
    out = torch.empty_like(h)
    for b in range(len(h)):
        for c in range(h.shape[1]):
            out[b, c] = h[b, c] + scale[b, c] * h[b, c] + shift[b, c]
    return out


def join(x, skip):
    B, C, _, _ = x.shape
    _, D, H, W = skip.shape
    out = torch.empty(B, C + D, H, W)
    for i in range(H):
        for j in range(W):
            for c in range(C + D):
                out[:, c, i, j] = x[:, c, i // 2, j // 2] if c < C else skip[:, c - C, i, j]
    return out


def drop_condition(condition, null, keep):
    out = torch.empty_like(condition)
    for b, kept in enumerate(keep.tolist()):
        for e in range(len(null)):
            out[b, e] = condition[b, e] if kept else null[e]
    return out


def multiply_adds(c_in, c_out, kernel, height, width, stride):
    """By walking: the kernel's middle stops at every stride-th pixel of each side."""
    count = 0
    for _ in range(0, height, stride):
        for _ in range(0, width, stride):
            count += c_out * c_in * kernel * kernel
    return count


OTHER_STYLE = {
    "unet.time_features": time_features,
    "unet.modulate": modulate,
    "unet.join": join,
    "unet.drop_condition": drop_condition,
    "unet.multiply_adds": multiply_adds,
}
