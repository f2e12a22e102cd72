"""The right answers of checks/prior.py again, written out with loops and Python's own numbers."""
import math

import numpy
import torch


def centre(vectors):
    rows = vectors.tolist()
    return [sum(column) / len(rows) for column in zip(*rows)]


def to_unit_variance(z):
    return torch.tensor([[value * len(row) ** 0.5 for value in row] for row in z.tolist()])


def better_of_two(a, b, text):
    def fit(row, words):
        return sum(x * y for x, y in zip(row, words))
    return torch.tensor([max(rows[:2], key=lambda row: fit(row, rows[2]))
                         for rows in zip(a.tolist(), b.tolist(), text.tolist())])


def reconstruct(vectors, m):
    """Axis by axis: the eigenvectors of the covariance, the other way than by an SVD."""
    x = vectors.double().numpy()
    mean = x.mean(axis=0)
    values, columns = numpy.linalg.eigh(numpy.cov(x.T))
    out = numpy.tile(mean, (len(x), 1))
    for i in numpy.argsort(-values)[:m]:
        for n in range(len(x)):
            out[n] += sum((x[n] - mean) * columns[:, i]) * columns[:, i]
    return torch.from_numpy(out).float()


def quantise(x, low, high, buckets):
    """How many inner edges lie at or below the number."""
    m, out = x.shape[-1], []
    for i, value in enumerate(x.flatten().tolist()):
        a, b = low[i % m].item(), high[i % m].item()
        out.append(sum(value >= a + (b - a) * k / buckets for k in range(1, buckets)))
    return torch.tensor(out).view(x.shape)


OTHER_STYLE = {
    "prior.gap": lambda text, image: torch.tensor(math.dist(centre(text), centre(image))),
    "prior.to_unit_variance": to_unit_variance,
    "prior.better_of_two": better_of_two,
    "prior.reconstruct": reconstruct,
    "prior.quantise": quantise,
}
