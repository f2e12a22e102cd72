"""The right answers of checks/dalle.py again, written out with loops and Python's own numbers."""
import math

import torch


def inputs_and_targets(ids, codes, vocab):
    rows = [words + [vocab + code for code in picture]
            for words, picture in zip(ids.tolist(), codes.tolist())]
    return [torch.tensor([row[:-1] for row in rows]), torch.tensor([row[1:] for row in rows])]


def surprise(logits, targets):
    """The mean of -ln p over all rows and places."""
    lost = []
    for rows, wanted in zip(logits.tolist(), targets.tolist()):
        for row, target in zip(rows, wanted):
            top = max(row)
            lost.append(top + math.log(sum(math.exp(x - top) for x in row)) - row[target])
    return sum(lost) / len(lost)


def weighted_loss(text_logits, text, code_logits, codes):
    return torch.tensor((surprise(text_logits, text) + 7 * surprise(code_logits, codes)) / 8)


def top_k_logits(logits, k):
    out = []
    for row in logits.tolist():
        kept = sorted(range(len(row)), key=lambda i: -row[i])[:k]
        out.append([x if i in kept else -math.inf for i, x in enumerate(row)])
    return torch.tensor(out)


def top_p_logits(logits, p):
    out = []
    for row in logits.tolist():
        exps = [math.exp(x - max(row)) for x in row]
        kept, total = set(), 0.0
        for i in sorted(range(len(row)), key=lambda i: -row[i]):
            if total < p:
                kept.add(i)
                total += exps[i] / sum(exps)
        out.append([x if i in kept else -math.inf for i, x in enumerate(row)])
    return torch.tensor(out)


def guided(logits, null, scale):
    return torch.tensor([[(1 - scale) * b + scale * a for a, b in zip(*rows)]
                         for rows in zip(logits.tolist(), null.tolist())])


OTHER_STYLE = {
    "dalle.inputs_and_targets": inputs_and_targets,
    "dalle.weighted_loss": weighted_loss,
    "dalle.top_k_logits": top_k_logits,
    "dalle.top_p_logits": top_p_logits,
    "dalle.guided": guided,
}
