"""The right answers of checks/compare.py again, with loops and Python's own numbers."""
import cmath
import math

import torch


def parts(right):
    rows = right.tolist()
    product = 1.0
    for column in zip(*rows):
        product *= sum(column) / len(column)
    return sum(all(row) for row in rows) / len(rows), product


def swap_rate(read, said):
    rows = [(r, s) for r, s in zip(read.tolist(), said.tolist())
            if s[0] != s[2] and s[1] != s[3]]
    swapped = either = 0
    for (digit_l, ink_l, digit_r, ink_r, _), s in rows:
        if (digit_l, digit_r) == (s[0], s[2]):
            swapped += (ink_l, ink_r) == (s[3], s[1])
            either += {ink_l, ink_r} == {s[1], s[3]}
    return (swapped / len(rows), either / len(rows) / 2) if rows else (0, 0)


def copied(samples, fresh, train, level):
    samples, fresh, train = (x.flatten(1).tolist() for x in (samples, fresh, train))
    own = sorted(min(math.dist(x, y) for j, y in enumerate(train) if j != i)
                 for i, x in enumerate(train))
    place = level * (len(own) - 1)
    first = min(int(place), len(own) - 2)
    limit = own[first] + (place - first) * (own[first + 1] - own[first])
    return [sum(min(math.dist(x, y) for y in train) < limit for x in crowd) / len(crowd)
            for crowd in (samples, fresh)]


def share_given(digits, inks, digit, colours):
    of_digit = [ink for d, ink in zip(digits.tolist(), inks.tolist()) if d == digit]
    return torch.tensor([of_digit.count(c) / max(1, len(of_digit)) for c in range(colours)])


def guided_shares(given, overall, scale):
    logs = []
    for p, q in zip(given.tolist(), overall.tolist()):
        if q == 0 or p == 0 and scale > 0:
            logs.append(-math.inf)
        elif scale == 0:
            logs.append(math.log(q))
        else:
            logs.append(scale * math.log(p) + (1 - scale) * math.log(q))
    powers = [math.exp(x - max(logs)) for x in logs]
    return torch.tensor([x / sum(powers) for x in powers])


def coefficient(plane, u, v):
    """One number of the orthonormal FFT, by its sum."""
    h, w = len(plane), len(plane[0])
    return sum(plane[y][x] * cmath.exp(-2j * math.pi * (u * y / h + v * x / w))
               for y in range(h) for x in range(w)) / math.sqrt(h * w)


def ring_distance(noise, key, mask):
    places = mask.nonzero().tolist()
    return torch.tensor([sum(abs(coefficient(plane, u, v) - key[c, u, v].item())
                             for c, plane in enumerate(picture) for u, v in places)
                         / (len(places) * len(picture)) for picture in noise.tolist()])


def p_value(found, key):
    chances, key = [], key.tolist()
    for row in found.tolist():
        s = sum(abs(y) ** 2 for y in row) / len(row)
        d = sum(abs(y - k) ** 2 for y, k in zip(row, key)) / (s / 2)
        own = sum(abs(k) ** 2 for k in key) / (s / 2)
        z = (d - 2 * len(key) - own) / math.sqrt(4 * len(key) + 4 * own)
        chances.append(math.erfc(-z / math.sqrt(2)) / 2)
    return torch.tensor(chances)


OTHER_STYLE = {
    "compare.parts": parts,
    "compare.swap_rate": swap_rate,
    "compare.copied": copied,
    "compare.share_given": share_given,
    "compare.guided_shares": guided_shares,
    "compare.ring_distance": ring_distance,
    "compare.p_value": p_value}
