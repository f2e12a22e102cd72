"""The right answers of checks/dvae.py again, written out with loops and Python's own numbers."""
import math
from collections import Counter

import torch


def rows_of(x):
    """A tensor (...,K) as a list of rows."""
    return x.reshape(-1, x.shape[-1]).tolist()


def kl_to_uniform(log_q):
    """Place by place sum q (ln q - ln 1/K)."""
    K = log_q.shape[2]
    return torch.tensor([sum(math.exp(value) * (value - math.log(1 / K))
                             for place in picture for value in place)
                         for picture in log_q.tolist()])


def gumbel_softmax(logits, u, tau):
    out = []
    for row, noise in zip(rows_of(logits), rows_of(u)):
        cold = [(value - math.log(-math.log(x))) / tau for value, x in zip(row, noise)]
        exps = [math.exp(value - max(cold)) for value in cold]
        out.append([value / sum(exps) for value in exps])
    return torch.tensor(out).view(logits.shape)


def straight_through(soft):
    """Without a gradient: Python's numbers carry none."""
    rows = [[float(i == row.index(max(row))) for i in range(len(row))] for row in rows_of(soft)]
    return torch.tensor(rows).view(soft.shape)


def nearest(z, book):
    best = []
    for vector in z.tolist():
        lengths = [math.dist(vector, code) for code in book.tolist()]
        best.append(lengths.index(min(lengths)))
    return torch.tensor(best)


def perplexity(codes, K):
    """The other formula: the product of p ** -p."""
    n = codes.numel()
    return math.prod((count / n) ** (-count / n)
                     for count in Counter(codes.flatten().tolist()).values())


OTHER_STYLE = {
    "dvae.kl_to_uniform": kl_to_uniform,
    "dvae.gumbel_softmax": gumbel_softmax,
    "dvae.straight_through": straight_through,
    "dvae.nearest": nearest,
    "dvae.perplexity": perplexity,
}
