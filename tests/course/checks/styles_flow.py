"""The right answers of checks/flow.py again, with loops and Python's own numbers."""
import math

import torch


def line_by_line(x, other, weights):
    """Each sample of x and of the other, with two weights of its own."""
    out = torch.empty(x.shape)
    for b, (one, two) in enumerate(weights):
        out[b] = torch.tensor([one * p + two * q for p, q in zip(
            x[b].flatten().tolist(), other[b].flatten().tolist())]).view(x.shape[1:])
    return out


def interpolate(x_0, eps, t):
    return line_by_line(x_0, eps, [(1 - s, s) for s in t.tolist()])


def matching_loss(answer, x_0, eps):
    errors = [a - (e - x) for a, x, e in zip(*(part.flatten().tolist()
                                               for part in (answer, x_0, eps)))]
    return torch.tensor(math.fsum(error ** 2 for error in errors) / len(errors))


def euler_step(x_t, v, t, then):
    return line_by_line(x_t, v, [(1.0, b - a) for a, b in zip(t.tolist(), then.tolist())])


def straighten(x_t, eps, alpha_bar):
    weights = [(math.sqrt(a), math.sqrt(1 - a)) for a in alpha_bar.tolist()]
    x = line_by_line(x_t, eps, [(1 / (data + noise), 0.0) for data, noise in weights])
    t = torch.tensor([noise / (data + noise) for data, noise in weights])
    x_0 = line_by_line(x_t, eps, [(1 / data, -noise / data) for data, noise in weights])
    return x, t, eps - x_0


def patchify(x, patch):
    B, C, H, W = x.shape
    tokens = [[[x[b, c, i + k, j + m].item() for c in range(C) for k in range(patch)
                for m in range(patch)]
               for i in range(0, H, patch) for j in range(0, W, patch)] for b in range(B)]
    return torch.tensor(tokens)


def unpatchify(tokens, patch, rows):
    B, N, numbers = tokens.shape
    columns, C = N // rows, numbers // patch ** 2
    out = torch.empty(B, C, rows * patch, columns * patch)
    for n in range(N):
        i, j = divmod(n, columns)
        for k in range(numbers):
            c, place = divmod(k, patch ** 2)
            out[:, c, i * patch + place // patch, j * patch + place % patch] = tokens[:, n, k]
    return out


def adaln(x, weight, shift, scale, gate):
    out = torch.empty(x.shape)
    B, N, D = x.shape
    for b in range(B):
        for n in range(N):
            row = x[b, n].tolist()
            mean = sum(row) / D
            deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / D + 1e-5)
            h = [(1 + scale[b, d].item()) * (row[d] - mean) / deviation + shift[b, d].item()
                 for d in range(D)]
            for d in range(D):
                part = sum(h[k] * weight[k, d].item() for k in range(D))
                out[b, n, d] = row[d] + gate[b, d].item() * part
    return out


def logit_normal(t, mean, std):
    def density(s):
        z = (math.log(s) - math.log(1 - s) - mean) / std
        return math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * std * s * (1 - s))
    return torch.tensor([density(s) for s in t.flatten().tolist()]).view(t.shape)


OTHER_STYLE = {
    "flow.interpolate": interpolate,
    "flow.matching_loss": matching_loss,
    "flow.euler_step": euler_step,
    "flow.straighten": straighten,
    "flow.patchify": patchify,
    "flow.unpatchify": unpatchify,
    "flow.adaln": adaln,
    "flow.logit_normal": logit_normal}
