"""The right answers of checks/unclip.py again, with loops and Python's own numbers."""
import math

import torch


def slerp(a, b, t):
    """The angle from the chord, which is exact where a and b are near; equal ends need no turn."""
    rows = []
    for p, q, (s,) in zip(a.tolist(), b.tolist(), t.tolist()):
        angle = 2 * math.asin(min(1.0, math.dist(p, q) / 2))
        if angle == 0:
            rows.append(p)
            continue
        u, v = math.sin((1 - s) * angle) / math.sin(angle), math.sin(s * angle) / math.sin(angle)
        rows.append([u * x + v * y for x, y in zip(p, q)])
    return torch.tensor(rows)


def direction(before, after):
    rows = []
    for p, q in zip(before.tolist(), after.tolist()):
        change = [y - x for x, y in zip(p, q)]
        rows.append([value / math.hypot(*change) for value in change])
    return torch.tensor(rows)


def keep_known(x_t, known, mask, eps, alpha_bar):
    out = torch.empty_like(x_t)
    B, C, h, w = x_t.shape
    for b in range(B):
        for i in range(h):
            for j in range(w):
                for c in range(C):
                    out[b, c, i, j] = x_t[b, c, i, j] if mask[b, 0, i, j] else (
                        math.sqrt(alpha_bar) * known[b, c, i, j].item()
                        + math.sqrt(1 - alpha_bar) * eps[b, c, i, j].item())
    return out


def flip_share(read, wanted, which):
    hit = kept = both = 0
    for row, goal in zip(read.tolist(), wanted.tolist()):
        changed = row.pop(which) == goal.pop(which)
        stayed = row == goal
        hit, kept, both = hit + changed, kept + stayed, both + (changed and stayed)
    return hit / len(read), kept / len(read), both / len(read)


def small_mask(mask, factor):
    B, _, H, W = mask.shape
    out = torch.zeros(B, 1, H // factor, W // factor, dtype=torch.bool)
    for b, _, i, j in mask.nonzero().tolist():
        out[b, 0, i // factor, j // factor] = True
    return out


OTHER_STYLE = {
    "unclip.slerp": slerp,
    "unclip.direction": direction,
    "unclip.keep_known": keep_known,
    "unclip.flip_share": flip_share,
    "unclip.small_mask": small_mask,
}
