"""The right answers of checks/imagen.py again, with loops and Python's own numbers."""
import math

import torch


def hide_words(ids, draws, share, gap):
    given, hidden = [], []
    for row, numbers in zip(ids.tolist(), draws.tolist()):
        hidden.append([token not in (0, 1, 2) and number < share
                       for token, number in zip(row, numbers)])
        given.append([gap if gone else token for token, gone in zip(row, hidden[-1])])
    return torch.tensor(given), torch.tensor(hidden)


def masked_loss(logits, ids, hidden):
    losses = []
    for b, t in hidden.nonzero().tolist():
        row = logits[b, t].tolist()
        top = max(row)
        whole = top + math.log(sum(math.exp(value - top) for value in row))
        losses.append(whole - row[ids[b, t]])
    return torch.tensor(sum(losses) / len(losses) if losses else 0.0)


def pooled(states, heard):
    rows = []
    for tokens, said in zip(states.tolist(), heard.tolist()):
        kept = [token for token, one in zip(tokens, said) if one]
        rows.append([sum(column) / len(kept) for column in zip(*kept)])
    return torch.tensor(rows)


def guess(x_t, yes, none, alpha_bar, scale):
    out = torch.empty(x_t.shape)
    for b in range(len(x_t)):
        kept = alpha_bar[b].item()
        values = [(x - math.sqrt(1 - kept) * ((1 - scale) * n + scale * y)) / math.sqrt(kept)
                  for x, y, n in zip(*(part[b].flatten().tolist() for part in (x_t, yes, none)))]
        out[b] = torch.tensor([min(1, max(-1, value)) for value in values]).view(x_t.shape[1:])
    return out


def dynamic_threshold(x_0, percentile):
    out = torch.empty(x_0.shape)
    for b, picture in enumerate(x_0):
        values = picture.flatten().tolist()
        sizes = sorted(map(abs, values))
        place = percentile * (len(sizes) - 1)
        below = min(math.floor(place), len(sizes) - 2)
        s = sizes[below] + (place - below) * (sizes[below + 1] - sizes[below])
        s = max(1, s)
        out[b] = torch.tensor([min(s, max(-s, v)) / s for v in values]).view(picture.shape)
    return out


def augment(small, level, eps):
    out = torch.empty(small.shape)
    for b in range(len(small)):
        angle = math.radians(90 * level[b].item())
        out[b] = torch.tensor([math.cos(angle) * x + math.sin(angle) * e for x, e in zip(
            small[b].flatten().tolist(), eps[b].flatten().tolist())]).view(small.shape[1:])
    return out


def between_pixels(place, count):
    """Of a place of the large picture: the two pixels of the small one round it, and how far."""
    place = max(0.0, place)
    first = min(int(place), count - 1)
    return first, min(first + 1, count - 1), place - first


def told(x_t, noisy, level, text):
    (B, C, H, W), (h, w) = x_t.shape, noisy.shape[2:]
    out = torch.empty(B, 2 * C, H, W)
    out[:, :C] = x_t
    for i in range(H):
        top, bottom, down = between_pixels((i + 0.5) * h / H - 0.5, h)
        for j in range(W):
            left, right, along = between_pixels((j + 0.5) * w / W - 0.5, w)
            upper = noisy[:, :, top, left] * (1 - along) + noisy[:, :, top, right] * along
            lower = noisy[:, :, bottom, left] * (1 - along) + noisy[:, :, bottom, right] * along
            out[:, C:, i, j] = upper * (1 - down) + lower * down
    return out, torch.tensor([[*row, one] for row, one in zip(text.tolist(), level.tolist())])


OTHER_STYLE = {
    "imagen.hide_words": hide_words,
    "imagen.masked_loss": masked_loss,
    "imagen.pooled": pooled,
    "imagen.guess": guess,
    "imagen.dynamic_threshold": dynamic_threshold,
    "imagen.augment": augment,
    "imagen.told": told}
