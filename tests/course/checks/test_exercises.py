"""Every exercise of checks/: right answers in any style pass, every mistake is told by its name.

The right answers here are written out with loops over single entries and Python's own numbers,
with nothing of the package: an oracle for the oracles.
"""
import dataclasses
import importlib
import math
import re

import numpy
import pytest
import styles_compare
import styles_dalle
import styles_diffusion
import styles_dvae
import styles_flow
import styles_gan
import styles_imagen
import styles_latent
import styles_prior
import styles_scale
import styles_unclip
import styles_unet
import styles_vae
import torch
from asking import calls, written_test
from torch import Tensor

from minidalle.course import checks
from minidalle.course.checks import judge
from minidalle.course.checks.metrics import frechet as frechet_of_gaussians
from minidalle.course.checks.transformer import split_heads as split_of_checks
from minidalle.data import COLOURS, DIGITS
from minidalle.metrics import frechet_distance
from minidalle.tokenizer import Tokenizer
from minidalle.transformer import MultiHeadAttention

EXERCISES = tuple(one for one in checks.exercises() if isinstance(one, checks.Exercise))
SEEDS = range(10)
LESSONS = ("00_map", "01_data", "02_tokenizer", "03_transformer", "04_clip", "05_metrics",
           "06_vae", "07_dvae", "08_dalle", "09_gan", "10_diffusion", "11_unet", "12_prior",
           "13_unclip", "14_latent", "15_imagen", "16_compare",
           "17_scale", "18_flow")
HUNTS = tuple(one for one in checks.exercises() if isinstance(one, checks.Hunt))
each_hunt = pytest.mark.parametrize("one", HUNTS, ids=lambda one: one.name)
each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
each_mistake = pytest.mark.parametrize(
    "exercise, mistake", [(one, mistake) for one in EXERCISES for mistake in one.mistakes],
    ids=lambda one: one.name)


# ---- the right answers again, with loops and Python's numbers

def softmax(x):
    rows = []
    for row in x.tolist():
        top = max(row)
        exps = [math.exp(value - top) for value in row]
        rows.append([value / sum(exps) for value in exps])
    return torch.tensor(rows)


def attend(q, k, v, see):
    """One query after the other, over the keys that see(i, j) allows."""
    out = torch.zeros(q.shape[0], q.shape[1], q.shape[2], v.shape[3])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                keys = [j for j in range(k.shape[2]) if see(i, j)]
                scores = [torch.dot(q[b, h, i], k[b, h, j]).item() for j in keys]
                weights = softmax(torch.tensor([scores]) / q.shape[3] ** 0.5)[0]
                out[b, h, i] = sum(w * v[b, h, j] for w, j in zip(weights, keys))
    return out


def split_heads(x, heads):
    B, T, D = x.shape
    out = torch.empty(B, heads, T, D // heads)
    for n in range(D):
        out[:, n // (D // heads), :, n % (D // heads)] = x[:, :, n]
    return out


def cached_step(q, k, v, keys, values):
    T = keys.shape[2]
    keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
    return attend(q, keys, values, lambda i, j: j <= T + i), keys, values


def unit(x):
    return torch.tensor([[value / math.hypot(*row) for value in row] for row in x.tolist()])


def dots(x, y):
    return torch.tensor([[sum(a * b for a, b in zip(row, other)) for other in y.tolist()]
                         for row in x.tolist()])


def loss_with_repeats(logits, same):
    losses = []
    for table in (logits, logits.T):
        for row, alike in zip(table.tolist(), same.tolist()):
            top = max(row)
            whole = top + math.log(sum(math.exp(value - top) for value in row))
            copies = [value for value, copy in zip(row, alike) if copy]
            losses.append(whole - sum(copies) / len(copies))
    return torch.tensor(sum(losses) / len(losses))


def to_pixels(images):
    def level(value):
        return min(255, max(0, math.floor(value * 127.5 + 128)))
    B, _, H, W = images.shape
    out = torch.empty(B, H, W, 3, dtype=torch.uint8)
    for b, picture in enumerate(images.tolist()):
        for c, plane in enumerate(picture):
            for i, row in enumerate(plane):
                for j, value in enumerate(row):
                    out[b, i, j, c] = level(value)
    return out


def count_parameters(parameters):
    return sum(math.prod(tensor.shape) for tensor in parameters)


def images(pixels):
    numbers = [[[[value[c] * 2 / 255 - 1 for value in row] for row in picture] for c in range(3)]
               for picture in pixels.tolist()]
    return torch.tensor(numbers)


def compose(mask, ink, paper):
    B, H, W = mask.shape
    out = torch.empty(B, 3, H, W)
    for b in range(B):
        for c in range(3):
            for i in range(H):
                for j in range(W):
                    m = mask[b, i, j]
                    out[b, c, i, j] = (1 - m) * paper[b, c] + m * ink[b, c]
    return out


def parse(caption):
    """Whatever stands before or after the word paper, background or on is paper."""
    words = re.findall(r"\w+", caption)
    paper = next(words[i + step] for mark, step in (("on", 1), ("background", -1), ("paper", -1))
                 for i, word in enumerate(words) if word == mark)
    ink = next((word for word in words if word in COLOURS and word != paper), paper)
    digit = next(int(w) if w.isdigit() else DIGITS.index(w) for w in words
                 if w.isdigit() or w in DIGITS)
    return digit, list(COLOURS).index(ink), list(COLOURS).index(paper)


def count_pairs(words, times):
    counts = {}
    for word, n in zip(words, times):
        for i in range(len(word) - 1):
            pair = (word[i], word[i + 1])
            counts[pair] = counts.get(pair, 0) + n
    return counts


def merge(ids, pair, new):
    out = list(ids)
    i = 0
    while i < len(out) - 1:
        if (out[i], out[i + 1]) == pair:
            out[i:i + 2] = [new]
        i += 1
    return out


def encode(text, merges):
    """Rank by rank over the whole word."""
    ids = [byte + 3 for byte in text.encode("utf-8")]
    for rank, pair in enumerate(merges):
        ids = merge(ids, pair, 259 + rank)
    return ids


def decode(ids, pieces):
    data = bytearray()
    for i in ids:
        data.extend(pieces[i])
    return str(data, "utf-8", "replace")


def batch(rows, context):
    out = torch.zeros(len(rows), context, dtype=torch.long)
    for b, row in enumerate(rows):
        n = min(len(row), context - 2)
        out[b, 0], out[b, n + 1] = 1, 2
        for t in range(n):
            out[b, t + 1] = row[t]
    return out


def covariance(x):
    N, F = x.shape
    mean = [sum(x[n, f].item() for n in range(N)) / N for f in range(F)]
    return torch.tensor([[sum((x[n, f].item() - mean[f]) * (x[n, g].item() - mean[g])
                              for n in range(N)) / (N - 1) for g in range(F)] for f in range(F)])


def frechet(mu_x, C_x, mu_y, C_y):
    """The eigenvalues of C_x C_y are not negative, though the product is not symmetric."""
    mu_x, C_x, mu_y, C_y = (part.numpy() for part in (mu_x, C_x, mu_y, C_y))
    roots = numpy.sqrt(numpy.linalg.eigvals(C_x @ C_y).real.clip(0))
    return ((mu_x - mu_y) ** 2).sum() + numpy.trace(C_x + C_y) - 2 * roots.sum()


def precision_recall(real, fake, k):
    def share(points, centres):
        radius = [sorted(math.dist(c, other) for other in centres)[k] for c in centres]
        hits = [any(math.dist(p, c) <= r for c, r in zip(centres, radius)) for p in points]
        return sum(hits) / len(hits)
    return [share(fake.tolist(), real.tolist()), share(real.tolist(), fake.tolist())]


def attribute_accuracy(read, wanted):
    hits = [[a == b for a, b in zip(*rows)] for rows in zip(read.tolist(), wanted.tolist())]
    shares = [sum(column) / len(hits) for column in zip(*hits)]
    return torch.tensor([*shares, sum(all(row) for row in hits) / len(hits)])


OTHER_STYLE = {
    "map.to_pixels": to_pixels,
    "map.chance": lambda n: torch.nn.functional.cross_entropy(
        torch.zeros(1, n), torch.tensor([0])).item(),
    "map.count_parameters": count_parameters,
    "data.images": images,
    "data.compose": compose,
    "data.parse": parse,
    "data.is_unseen": lambda factors: torch.tensor([(digit + ink + 3 * paper) % 10 == 0
                                                    for digit, ink, paper in factors.tolist()]),
    "tokenizer.count_pairs": count_pairs,
    "tokenizer.merge": merge,
    "tokenizer.encode": encode,
    "tokenizer.decode": decode,
    "tokenizer.batch": batch,
    "metrics.covariance": covariance,
    "metrics.frechet": frechet,
    "metrics.precision_recall": precision_recall,
    "metrics.attribute_accuracy": attribute_accuracy,
    "transformer.softmax": softmax,
    "transformer.attention": lambda q, k, v: attend(q, k, v, lambda i, j: True),
    "transformer.causal_mask": lambda Tq, Tk: torch.tensor(
        [[j - (Tk - Tq) <= i for j in range(Tk)] for i in range(Tq)]),
    "transformer.masked_attention": lambda q, k, v, mask: attend(q, k, v, lambda i, j: mask[i, j]),
    "transformer.split_heads": split_heads,
    "transformer.cached_step": cached_step,
    "clip.unit": unit,
    "clip.logits": lambda images, texts, s: dots(unit(images), unit(texts)) * math.exp(s),
    "clip.contrastive_loss": lambda logits: loss_with_repeats(
        logits, torch.tensor([[i == j for j in range(len(logits))] for i in range(len(logits))])),
    "clip.repeats": lambda ids: torch.tensor([[a == b for b in ids.tolist()]
                                              for a in ids.tolist()]),
    "clip.loss_with_repeats": loss_with_repeats,
    "clip.zero_shot": lambda images, texts, s: softmax(s * dots(images, texts)),
    **styles_vae.OTHER_STYLE,
    **styles_dvae.OTHER_STYLE,
    **styles_dalle.OTHER_STYLE,
    **styles_gan.OTHER_STYLE,
    **styles_diffusion.OTHER_STYLE,
    **styles_unet.OTHER_STYLE,
    **styles_prior.OTHER_STYLE,
    **styles_unclip.OTHER_STYLE,
    **styles_latent.OTHER_STYLE,
    **styles_imagen.OTHER_STYLE,
    **styles_compare.OTHER_STYLE,
    **styles_scale.OTHER_STYLE,
    **styles_flow.OTHER_STYLE,
}


def mapped(change, answer):
    """change() on every tensor of an answer."""
    if isinstance(answer, (list, tuple)):
        return type(answer)(mapped(change, part) for part in answer)
    if isinstance(answer, dict):
        return {mapped(change, key): mapped(change, value) for key, value in answer.items()}
    return change(answer)


def floats_to(dtype):
    return lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x


# ---- right answers

@each
def test_a_right_answer_by_loops_passes_so_the_oracle_agrees_with_one_written_out(exercise):
    """Python's own numbers carry no gradient: where one is asked for, it may be all that lacks."""
    for seed in range(5):
        state = judge(exercise.name, OTHER_STYLE[exercise.name], seed).state
        assert state == "passed" or exercise.learns and state == "detached"


@each
def test_the_package_s_own_function_passes_on_many_seeds(exercise):
    for seed in SEEDS:
        assert judge(exercise.name, exercise.function, seed).state == "passed"


@each
def test_a_right_answer_computed_in_float64_passes(exercise):
    def precise(*args):
        return exercise.function(*mapped(floats_to(torch.float64), args))
    assert judge(exercise.name, precise, 0).state == "passed"


def changed(exercise, change):
    """The state of a right answer whose tensors are changed; None if it has none of their kind."""
    met = []

    def answer(*args):
        def swapped(x):
            y = change(x) if isinstance(x, Tensor) else x
            met.append(y is not x)
            return y
        return mapped(swapped, exercise.function(*args))
    state = judge(exercise.name, answer, 0).state
    return state if any(met) else None


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_right_answer_rounded_to_half_precision_is_told_its_dtype(exercise, dtype):
    """No exercise gives tensors in half precision and asks for floats."""
    assert changed(exercise, floats_to(dtype)) in (None, "dtype")


@each
def test_zeros_in_floats_of_eight_bits_earn_nothing_since_no_dtype_excuses_a_wrong_value(exercise):
    """Two roundings of float8_e8m0fnu are 2: a tolerance that follows it lets zeros pass."""
    for dtype in (torch.float8_e5m2, getattr(torch, "float8_e8m0fnu", torch.float8_e4m3fn)):
        zeros = changed(exercise, lambda x, dtype=dtype: torch.zeros_like(x).to(dtype))
        assert zeros in (None, "dtype", "shape")


@each
def test_whole_numbers_have_the_dtype_that_is_asked(exercise):
    """Values that are right, in the wrong one of int64 and uint8."""
    other = {torch.int64: torch.int32, torch.uint8: torch.int64}
    assert changed(exercise, lambda x: x.to(other.get(x.dtype, x.dtype))) in (None, "dtype")


@each
def test_other_parameter_names_pass(exercise):
    assert judge(exercise.name, lambda *anything: exercise.function(*anything), 0).passed


def test_the_oracles_that_the_package_has_under_another_form_agree_with_it():
    """Heads with the layer's own, FID with that of samples, a batch with the tokenizer's."""
    x = torch.randn(2, 5, 12)
    assert torch.equal(split_of_checks(x, 3), MultiHeadAttention(12, 3).split(x))
    x, y = torch.randn(9, 3), 2 + torch.randn(8, 3)
    fid = frechet_of_gaussians(x.mean(dim=0), x.T.cov(), y.mean(dim=0), y.T.cov())
    assert fid == pytest.approx(frechet_distance(x, y), rel=1e-4)
    tokenizer = Tokenizer([], context=6)
    rows = [tokenizer.encode(text) for text in ("abcd", "a", "")]
    assert torch.equal(checks.find("tokenizer.batch").function(rows, 6),
                       tokenizer.batch(["abcd", "a", ""]))


# ---- wrong answers

@each_mistake
def test_every_mistake_is_told_by_its_own_name_on_many_seeds(exercise, mistake):
    for seed in SEEDS:
        verdict = judge(exercise.name, mistake.function, seed)
        assert (verdict.state, verdict.mistake) == ("mistake", mistake.name)
        assert verdict.message == mistake.message


@each
def test_no_mistake_hides_behind_half_precision(exercise):
    for mistake in exercise.mistakes:
        def coarse(*args, function=mistake.function):
            return mapped(floats_to(torch.float16), function(*args))
        assert not judge(exercise.name, coarse, 0).passed, mistake.name


def scores_of(q, k):
    return torch.einsum("bhqd,bhkd->bhqk", q, k) / q.size(3) ** 0.5


def exps_of_columns(x):
    exps = torch.stack([(row - row.max()).exp() for row in x])
    return exps / exps.sum(0)


def keys_viewed(q, k, v):
    B, h, T, d = k.shape
    return (q @ k.contiguous().view(B, h, d, T) / d ** 0.5).softmax(3) @ v


def all_sides(q, k, v):
    return (q @ k.mT * (q.size(1) * q.size(3)) ** -0.5).softmax(3) @ v


def own_triangle(q, k, v, mask):
    seen = torch.ones(q.size(2), k.size(2)).tril() > 0
    return scores_of(q, k).masked_fill(~seen, -1e9).softmax(3) @ v


def masked_columns(q, k, v, mask):
    return scores_of(q, k).masked_fill(~mask, -1e9).softmax(2) @ v


def step_by(q, k, v, keys, values, diagonal, divisor=None, gain=None):
    """The step with another diagonal or divisor, or with other values for v."""
    T = keys.size(2)
    keys, values = torch.cat([keys, k], 2), torch.cat([values, v if gain is None else gain], 2)
    table = q @ keys.mT / (divisor or q.size(3) ** 0.5)
    hidden = torch.ones(table.shape[2:]).triu(T + diagonal + 1) > 0
    return table.masked_fill(hidden, -1e9).softmax(3) @ values, keys, values


def step_without_past(q, k, v, keys, values):
    seen = attend(q, k, v, lambda i, j: j <= i)
    return [seen, torch.cat([keys, k], 2), torch.cat([values, v], 2)]


def step_exchanged(*args):
    seen, keys, values = cached_step(*args)
    return seen, values, keys


def softmax_wrong_way(q, k, v):
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.size(-1) ** 0.5
    return torch.einsum("bhqk,bhkd->bhqd", torch.softmax(scores, 2), v)


def masked_after(q, k, v, mask):
    scores = q @ k.transpose(2, 3) * q.size(-1) ** -0.5
    weights = torch.exp(scores - scores.amax(3, keepdim=True))
    return (weights / weights.sum(3, keepdim=True) * mask) @ v


def masked_with_zero(q, k, v, mask):
    scores = torch.where(mask, q @ k.transpose(2, 3) * q.size(-1) ** -0.5, torch.tensor(0.0))
    return torch.softmax(scores, 3) @ v


def pictures_only(logits):
    return sum(row.logsumexp(0) - row[i] for i, row in enumerate(logits)) / len(logits)


def loss_of_one_hot_targets(logits, same):
    targets = torch.eye(len(logits))
    return (torch.nn.functional.cross_entropy(logits, targets)
            + torch.nn.functional.cross_entropy(logits.T, targets)) / 2


def chosen(x):
    """The cross entropy of the rows."""
    return sum(row.logsumexp(0) - row[i] for i, row in enumerate(x)) / len(x)


def shared(x, same):
    return torch.nn.functional.cross_entropy(x, same / same.sum(1))


def without_copies(x, same):
    return torch.where(same & ~torch.eye(len(x)).bool(), -torch.inf, x)


def merge_every_start(ids, pair, new):
    out = []
    for i in range(len(ids)):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new)
        elif i == 0 or (ids[i - 1], ids[i]) != pair:
            out.append(ids[i])
    return out


def encode_by_frequency(text, merges):
    ids = [byte + 3 for byte in text.encode()]
    while True:
        count = {pair: list(zip(ids, ids[1:])).count(pair) for pair in merges}
        pair = max(merges, key=lambda pair: count[pair])
        if not count[pair]:
            return ids
        ids = merge(ids, pair, 259 + merges.index(pair))


def fid_by_numpy(mu_x, C_x, mu_y, C_y):
    with numpy.errstate(invalid="ignore"):
        mixed = numpy.sqrt((C_x @ C_y).numpy())
    return float(((mu_x - mu_y) ** 2).sum() + (C_x + C_y).trace()) - 2 * numpy.trace(mixed)


STUDENTS = [                   # (exercise, mistake, the mistake as somebody else would write it)
    ("map.to_pixels", "not clamped",
     lambda images: torch.round(127.5 * images + 127.5).to(torch.uint8).movedim(1, 3)),
    ("map.to_pixels", "cut off in place of rounded",
     lambda images: torch.stack([(x.clamp(-1, 1) / 2 + 0.5).mul(255).byte().permute(1, 2, 0)
                                 for x in images])),
    ("map.to_pixels", "viewed in place of permuted",
     lambda images: (images.clamp(-1, 1) * 127.5 + 127.5).round().byte().view(
         len(images), *images.shape[2:], 3)),
    ("map.chance", "the sign", lambda n: math.log(1 / n)),
    ("map.chance", "bits", lambda n: math.log(n) / math.log(2)),
    ("map.count_parameters", "only the first side",
     lambda parameters: sum((*p.shape, 1)[0] for p in parameters)),
    ("map.count_parameters", "the numbers added",
     lambda parameters: torch.cat([p.flatten() for p in parameters]).sum().item()),
    ("data.images", "viewed in place of permuted",
     lambda pixels: pixels.float().view(-1, 3, pixels.size(1), pixels.size(2)) * 2 / 255 - 1),
    ("data.compose", "paper shines through",
     lambda mask, ink, paper: torch.einsum("bhw,bc->bchw", mask, ink) + paper[..., None, None]),
    ("tokenizer.merge", "overlapping pairs merged twice", merge_every_start),
    ("tokenizer.encode", "most frequent pair first", encode_by_frequency),
    ("tokenizer.batch", "the end cut off",
     lambda rows, T: torch.tensor([([1] + row + [2] + [0] * T)[:T] for row in rows])),
    ("transformer.softmax", "exp overflows",
     lambda x: torch.stack([row.exp() / row.exp().sum() for row in x])),
    ("transformer.softmax", "not the maximum subtracted",
     lambda x: torch.stack([(row - row.mean()).exp() / (row - row.mean()).exp().sum()
                            for row in x])),
    ("transformer.softmax", "divided by the sums of the columns", exps_of_columns),
    ("transformer.attention", "divided by d",
     lambda q, k, v: torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) / q.size(3), 3) @ v),
    ("transformer.attention", "softmax over the queries", softmax_wrong_way),
    ("transformer.attention", "divided by d ** 1/2 without brackets",
     lambda q, k, v: (q @ k.mT * q.size(3) ** -1/2).softmax(3) @ v),
    ("transformer.attention", "divided by (d ** 1/2)",
     lambda q, k, v: (2 * q @ k.mT / q.size(3)).softmax(3) @ v),
    ("transformer.attention", "divided by the square root of the whole width", all_sides),
    ("transformer.attention", "keys reshaped in place of transposed", keys_viewed),
    ("transformer.causal_mask", "aligned at the first key",
     lambda Tq, Tk: torch.tensor([[j <= i for j in range(Tk)] for i in range(Tq)])),
    ("transformer.causal_mask", "cannot see itself",
     lambda Tq, Tk: torch.tensor([[j < Tk - Tq + i for j in range(Tk)] for i in range(Tq)])),
    ("transformer.causal_mask", "sees the next token",
     lambda Tq, Tk: torch.ones(Tk, Tk).tril(1)[-Tq:] > 0),
    ("transformer.causal_mask", "sees the next token: tril(diagonal=1)",
     lambda Tq, Tk: torch.tensor([[j <= i + 1 for j in range(Tk)] for i in range(Tq)])),
    ("transformer.masked_attention", "causal mask in place of the one given", own_triangle),
    ("transformer.masked_attention", "softmax over the queries", masked_columns),
    ("transformer.cached_step", "mask one off", lambda *args: step_by(*args, -1)),
    ("transformer.cached_step", "new positions see the next one",
     lambda *args: step_by(*args, 1)),
    ("transformer.cached_step", "not divided by sqrt(d)", lambda *args: step_by(*args, 0, 1)),
    ("transformer.cached_step", "values appended with k",
     lambda *args: step_by(*args, 0, gain=args[1])),
    ("transformer.cached_step", "only the new keys seen", step_without_past),
    ("transformer.cached_step", "keys and values exchanged", step_exchanged),
    ("transformer.masked_attention", "masked after the softmax", masked_after),
    ("transformer.masked_attention", "masked with 0 before the softmax", masked_with_zero),
    ("transformer.split_heads", "view without transpose",
     lambda x, heads: x.view(x.size(0), heads, x.size(1), x.size(2) // heads)),
    ("clip.logits", "multiplied by the logarithm",
     lambda images, texts, s: dots(unit(images), unit(texts)) * s),
    ("clip.contrastive_loss", "pictures only", pictures_only),
    ("clip.loss_with_repeats", "repeats as negatives", loss_of_one_hot_targets),
    ("clip.zero_shot", "softmax over the pictures",
     lambda images, texts, s: softmax((s * dots(images, texts)).T).T),
    ("clip.unit", "short rows left short",
     lambda x: torch.where(x.norm(dim=1, keepdim=True) > 1, unit(x), x)),
    ("clip.logits", "scale forgotten",
     lambda images, texts, s: dots(unit(images * s.exp()), unit(texts))),
    ("clip.logits", "only the captions normalised",
     lambda images, texts, s: math.exp(s) * dots(images, unit(texts))),
    ("clip.contrastive_loss", "one direction halved",
     lambda x: chosen(x) + chosen(x.T) / 2),
    ("clip.contrastive_loss", "mean over the whole table",
     lambda x: (chosen(x) + chosen(x.T)) / (2 * len(x))),
    ("clip.contrastive_loss", "exp overflows", lambda x: -((
        x.exp() / x.exp().sum(1, keepdim=True)).log() + (x.exp() / x.exp().sum(0)).log()).trace()
        / 2 / len(x)),
    ("clip.contrastive_loss", "logarithm of a softmax",
     lambda x: -(x.softmax(0) * x.softmax(1)).diag().log().mean() / 2),
    ("clip.repeats", "first token only", lambda ids: ids[:, :1] == ids[:, :1].T),
    ("clip.repeats", "sums compared",
     lambda ids: (ids[:, None] - ids[None]).sum(2) == 0),
    ("clip.repeats", "order lost", lambda ids: torch.tensor(
        [[set(a) == set(b) for b in ids.tolist()] for a in ids.tolist()])),
    ("clip.loss_with_repeats", "copies left out",
     lambda x, same: (chosen(without_copies(x, same)) + chosen(without_copies(x.T, same))) / 2),
    ("clip.loss_with_repeats", "only one direction shared",
     lambda x, same: (chosen(x) + shared(x.T, same)) / 2),
    ("clip.loss_with_repeats", "mean over all copies", lambda x, same: -(
        x.log_softmax(0)[same].mean() + x.log_softmax(1)[same].mean()) / 2),
    ("clip.zero_shot", "the scale as a logarithm",
     lambda images, texts, s: (math.exp(s) * images @ texts.T).softmax(1)),
    ("clip.zero_shot", "exp overflows", lambda images, texts, s: torch.stack(
        [row.exp() / row.exp().sum() for row in s * images @ texts.T])),
    ("metrics.covariance", "divided by N",
     lambda x: torch.from_numpy(numpy.cov(x.numpy(), rowvar=False, bias=True)).float()),
    ("metrics.frechet", "the square root element by element", fid_by_numpy),
    ("metrics.attribute_accuracy", "the shares multiplied",
     lambda read, wanted: torch.cat([(hits := (read == wanted) * 1.0).mean(0), hits.mean(0).prod(0)[
         None]])),
]


@pytest.mark.parametrize("name, mistake, function", STUDENTS,
                         ids=[f"{name}-{mistake}" for name, mistake, _ in STUDENTS])
def test_a_mistake_written_in_other_words_is_told_by_the_same_name(name, mistake, function):
    """So a mistake in the bank is really what its name says."""
    for seed in range(3):
        assert judge(name, function, seed).mistake == mistake


# ---- wrong answers that once passed, because no input was of the kind that shows them

def less(centre):
    """Softmax with something subtracted from each row that is not its maximum."""
    def answer(x):
        e = (x - centre(x)).exp()
        return e / e.sum(1, keepdim=True)
    return answer


def lone_token(answer):
    """Right for several new tokens; for one, what the answer makes of old and new."""
    def wrong(q, k, v, keys, values):
        _, both, seen = right = cached_step(q, k, v, keys, values)
        return right if q.size(2) > 1 else (answer(q, k, v, keys, values), both, seen)
    return wrong


def causal_but(special, answer):
    """Right, except where special(Tq, Tk)."""
    right = OTHER_STYLE["transformer.causal_mask"]
    return lambda Tq, Tk: answer(Tq, Tk) if special(Tq, Tk) else right(Tq, Tk)


ONCE_PASSED = {
    "softmax: the mean subtracted": less(lambda x: x.mean(1, keepdim=True)),
    "softmax: the minimum subtracted": less(lambda x: x.amin(1, keepdim=True)),
    "softmax: the median subtracted": less(lambda x: x.median(1, keepdim=True).values),
    "softmax: the first number subtracted": less(lambda x: x[:, :1]),
    "softmax: the last number subtracted": less(lambda x: x[:, -1:]),
    "softmax: the mean subtracted, in float64": lambda x: less(
        lambda x: x.mean(1, keepdim=True))(x.double()),
    "causal_mask: the future leaks in a square": causal_but(
        lambda Tq, Tk: Tq == Tk, lambda Tq, Tk: torch.ones(Tq, Tk).tril(1) > 0),
    "causal_mask: a square of numbers": causal_but(
        lambda Tq, Tk: Tq == Tk, lambda Tq, Tk: torch.ones(Tq, Tk).tril()),
    "causal_mask: one dimension for one query": causal_but(
        lambda Tq, Tk: Tq == 1, lambda Tq, Tk: torch.ones(Tk) > 0),
    "causal_mask: sees only the last five": lambda Tq, Tk: torch.ones(Tk, Tk).tril().triu(-4)[
        -Tq:] > 0,
    "cached_step: one token does not see itself": lone_token(
        lambda q, k, v, keys, values: attend(q, keys, values, lambda i, j: True)),
    "cached_step: one token does not see the past": lone_token(
        lambda q, k, v, keys, values: v),
}


def agree(part):
    """Captions are the same if all of a part of their tokens agrees."""
    return lambda ids: (ids[:, None, part] == ids[None, :, part]).all(2)


def gram(ids):
    table = ids @ ids.T
    return table == table.diag()[:, None]


def near_in_angle(ids):
    u = torch.nn.functional.normalize(ids.float(), dim=1)
    return u @ u.T > 0.999


def padding_agrees(ids):
    one, other = ids[:, None], ids[None]
    return ((one == other) | (one == 0) | (other == 0)).all(2)


def table_of(x):
    return x / x.norm(dim=1, keepdim=True)


ONCE_PASSED |= {
    "clip.repeats: tokens 1 and 2": agree(slice(1, 3)),
    "clip.repeats: the first four": agree(slice(4)),
    "clip.repeats: all but the last": agree(slice(-1)),
    "clip.repeats: all but the first": agree(slice(1, None)),
    "clip.repeats: nine tenths": lambda ids: (ids[:, None] == ids).float().mean(-1) > 0.9,
    "clip.repeats: dot products": gram,
    "clip.repeats: cosines": near_in_angle,
    "clip.repeats: padding agrees with all": padding_agrees,
    "clip.unit: at least one": lambda x: x / x.norm(dim=1, keepdim=True).clamp(min=1),
    "clip.logits: a scale of at most 20": lambda images, texts, s: (
        s.exp().clamp(max=20) * table_of(images) @ table_of(texts).T),
    "clip.zero_shot: as many captions as pictures": lambda images, texts, s: torch.stack(
        [(s * texts[:len(images)] @ picture).softmax(0) for picture in images]),
}


@pytest.mark.parametrize("place", range(16))
def test_every_place_of_a_caption_counts_in_every_check(place):
    others = [i for i in range(16) if i != place]
    for seed in SEEDS:
        assert not judge("clip.repeats", agree(others), seed).passed


def test_an_answer_that_is_true_everywhere_is_not_taken_for_any_token_equal():
    for seed in SEEDS:
        everywhere = judge("clip.repeats", lambda ids: torch.ones(2 * [len(ids)]) > 0, seed)
        assert everywhere.state == "wrong"


@pytest.mark.parametrize("name", ONCE_PASSED)
def test_a_wrong_answer_that_once_passed_never_passes(name):
    exercise = name.partition(":")[0]
    exercise = exercise if "." in exercise else f"transformer.{exercise}"
    for seed in SEEDS:
        assert not judge(exercise, ONCE_PASSED[name], seed).passed


@pytest.mark.parametrize("name", [name for name in ONCE_PASSED if "subtracted" in name])
def test_whatever_else_is_subtracted_than_the_maximum_is_told_by_one_name(name):
    for seed in SEEDS:
        assert judge("transformer.softmax", ONCE_PASSED[name], seed).mistake == \
            "not the maximum subtracted"


# ---- right answers in styles that are met, over many seeds

def softmax_in_place(x):
    """On a copy, and nothing is changed that a gradient needs."""
    y = x.clone()
    y -= x.amax(1, keepdim=True)
    return y.exp_() / y.sum(1, keepdim=True)


def softmax_of_base_two(x):
    powers = 2 ** ((x - x.amax(1, keepdim=True)) / math.log(2))
    return powers / powers.sum(1, keepdim=True)


def renormalised(q, k, v, mask):
    weights = scores_of(q, k).softmax(3) * mask
    return weights / weights.sum(3, keepdim=True) @ v


def one_by_one(q, k, v, keys, values):
    """Token after token, each of which sees all that there is so far."""
    seen = []
    for i in range(q.size(2)):
        keys = torch.cat([keys, k[:, :, i:i + 1]], 2)
        values = torch.cat([values, v[:, :, i:i + 1]], 2)
        seen.append(scores_of(q[:, :, i:i + 1], keys).softmax(3) @ values)
    return [torch.cat(seen, 2), keys, values]


def mask_of_parts(Tq, Tk):
    """All of the past, and a triangle behind it."""
    return torch.cat([torch.ones(Tq, Tk - Tq), torch.ones(Tq, Tq).tril()], 1) > 0


fused = torch.nn.functional.scaled_dot_product_attention
STYLES = [
    ("softmax", lambda x: (x - x.logsumexp(1, keepdim=True)).exp()),
    ("softmax", softmax_of_base_two),
    ("softmax", softmax_in_place),
    ("attention", fused),
    ("attention", lambda q, k, v: (q / q.size(3) ** 0.25 @ (k / k.size(3) ** 0.25).mT).softmax(3)
     @ v),
    ("causal_mask", lambda Tq, Tk: torch.ones(Tk, Tk).tril()[-Tq:].bool()),
    ("causal_mask", lambda Tq, Tk: ~torch.ones(Tq, Tk).triu(Tk - Tq + 1).bool()),
    ("causal_mask", mask_of_parts),
    ("masked_attention", renormalised),
    ("masked_attention", lambda q, k, v, mask: (scores_of(q, k) + mask.float().log()).softmax(3)
     @ v),
    ("masked_attention", lambda q, k, v, mask: fused(q, k, v, attn_mask=mask)),
    ("split_heads", lambda x, heads: x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3)),
    ("split_heads", lambda x, heads: torch.stack(x.chunk(heads, -1), 1)),
    ("cached_step", one_by_one),
    ("cached_step", lambda *args: step_by(*args, 0)),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"transformer.{name}", function, seed).passed


def test_a_softmax_by_logsumexp_passes_though_float32_is_coarse_at_1000():
    for seed in range(200):
        assert judge("transformer.softmax", STYLES[0][1], seed).passed


# ---- and of lesson 04

def loss_by_loops(logits):
    total = 0
    for i in range(len(logits)):
        total = total - logits[i].log_softmax(0)[i] - logits[:, i].log_softmax(0)[i]
    return total / 2 / len(logits)


def shared_by_loops(logits, same):
    total = 0
    for i in range(len(logits)):
        copies = same[i].nonzero()[:, 0].tolist()
        for j in copies:
            total = total - logits[i].log_softmax(0)[j] / len(copies)
            total = total - logits[:, i].log_softmax(0)[j] / len(copies)
    return total / 2 / len(logits)


def cosine_by_outer(images, texts, s):
    return s.exp() * images @ texts.T / torch.outer(images.norm(dim=1), texts.norm(dim=1))


cosine = torch.nn.functional.cosine_similarity
CLIP_STYLES = [
    ("unit", lambda x: torch.nn.functional.normalize(x)),
    ("unit", lambda x: torch.stack([row / (row * row).sum() ** 0.5 for row in x])),
    ("unit", lambda x: (x.T / x.norm(dim=1)).T),
    ("unit", lambda x: x / (x.norm(dim=1, keepdim=True) + 1e-6)),
    ("unit", lambda x: x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt()),
    ("logits", cosine_by_outer),
    ("logits", lambda images, texts, s: s.exp() * cosine(images[:, None], texts[None], dim=2)),
    ("logits", lambda images, texts, s: torch.exp(s.clamp(max=math.log(100))) * torch.einsum(
        "be,ce->bc", table_of(images), table_of(texts))),
    ("contrastive_loss", loss_by_loops),
    ("contrastive_loss", lambda x: ((x.logsumexp(0) + x.logsumexp(1)) / 2 - x.diag()).mean()),
    ("contrastive_loss", lambda x: loss_of_one_hot_targets(x, None)),
    ("repeats", lambda ids: torch.cdist(ids.float(), ids.float(), p=0) == 0),
    ("repeats", lambda ids: (i := torch.unique(ids, dim=0, return_inverse=True)[1])[:, None] == i),
    ("repeats", lambda ids: (ids[:, None] - ids[None]).abs().sum(2) == 0),
    ("loss_with_repeats", shared_by_loops),
    ("loss_with_repeats", lambda x, same: (shared(x, same) + shared(x.T, same)) / 2),
    ("zero_shot", lambda images, texts, s: torch.stack(
        [(s * texts @ picture).softmax(0) for picture in images])),
    ("zero_shot", lambda images, texts, s: (table_of(images) @ table_of(texts).T * s).softmax(1)),
    ("zero_shot", lambda *args: OTHER_STYLE["clip.zero_shot"](*args)),
]


@pytest.mark.parametrize("name, function", CLIP_STYLES)
def test_right_answers_of_lesson_04_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(25):
        assert judge(f"clip.{name}", function, seed).passed


# ---- right numbers through which nothing could be learnt

def half_detached(x):
    return (chosen(x) + chosen(x.T.detach())) / 2


without = torch.no_grad()
CUT_OFF = [
    ("clip.logits", "no gradient reaches log_scale",
     lambda images, texts, s: cosine_by_outer(images, texts, torch.tensor(math.exp(s)).log())),
    ("clip.logits", "no gradient reaches log_scale",
     lambda images, texts, s: s.exp().item() * table_of(images) @ table_of(texts).T),
    ("clip.logits", "no gradient reaches log_scale",
     lambda images, texts, s: cosine_by_outer(images, texts, s.detach())),
    ("clip.logits", "no gradient reaches images and texts",
     lambda images, texts, s: cosine_by_outer(images.detach(), texts.detach(), s)),
    ("clip.contrastive_loss", "no gradient reaches logits", without(loss_by_loops)),
    ("clip.contrastive_loss", "reaches logits is wrong", half_detached),
    ("clip.loss_with_repeats", "no gradient reaches logits", without(shared_by_loops)),
]


@pytest.mark.parametrize("name, words, function", CUT_OFF)
def test_right_numbers_that_cut_the_gradient_off_are_told_where(name, words, function):
    for seed in SEEDS:
        verdict = judge(name, function, seed)
        assert verdict.state == "detached" and words in verdict.message


def test_gradients_that_an_earlier_cell_has_switched_off_are_no_fault_of_the_function():
    with torch.no_grad():
        assert all(judge(exercise.name, exercise.function, 0).passed for exercise in EXERCISES)
        assert judge("clip.contrastive_loss", lambda x: chosen(x).detach() / 2
                     + chosen(x.T).detach() / 2, 0).state == "detached"


# ---- any exercise

def one_call(exercise) -> tuple:
    return exercise.calls(torch.Generator().manual_seed(0), 1)[0]


def blank(x):
    """The zero of its kind."""
    return torch.zeros_like(x) if isinstance(x, Tensor) else type(x)()


def noise(x):
    """Something random in the same shape and dtype."""
    if not isinstance(x, Tensor):
        return {int: 7, float: torch.rand(()).item(), str: "red", bool: False}.get(type(x), x)
    return torch.rand(x.shape) < 0.5 if x.dtype == torch.bool else torch.randn(x.shape).to(x.dtype)


@each
def test_zeros_noise_and_the_inputs_themselves_never_pass(exercise):
    torch.manual_seed(0)
    inputs = range(len(one_call(exercise)))
    wrong = [lambda *args: mapped(blank, exercise.function(*args)),
             lambda *args: mapped(noise, exercise.function(*args)),
             lambda *args: args, *(lambda *args, i=i: args[i] for i in inputs)]
    for seed in range(2):
        assert not any(judge(exercise.name, function, seed).passed for function in wrong)


@each
def test_an_answer_of_other_inputs_never_passes(exercise):
    stale = exercise.function(*one_call(exercise))
    assert not judge(exercise.name, lambda *args: stale, 1).passed


@each
def test_unwritten_none_and_a_crash_are_told_apart(exercise):
    def unwritten(*args):
        raise NotImplementedError

    def crashing(*args):
        return [][7]

    states = [judge(exercise.name, f, 0).state for f in (unwritten, lambda *args: None, crashing)]
    assert states == ["unwritten", "type", "crashed"]


@each
def test_a_right_answer_that_changes_an_input_is_told_so(exercise):
    """Every input of a kind that can be changed, one after the other."""
    args = one_call(exercise)
    names = checks.names_of(exercise, args)
    for i, arg in enumerate(args):
        def greedy(*args, i=i):
            answer = exercise.function(*args)
            args[i].logical_not_() if isinstance(args[i], Tensor) and args[i].dtype == torch.bool \
                else args[i].add_(1) if isinstance(args[i], Tensor) else args[i].clear()
            return answer
        if isinstance(arg, (Tensor, list, dict)):
            verdict = judge(exercise.name, greedy, 0)
            assert verdict.state == "mutates" and f"input {names[i]} in" in verdict.message


@each
def test_nan_is_never_right(exercise):
    def spoil(x):
        return x * math.nan if isinstance(x, (float, Tensor)) else x
    answer = exercise.function(*one_call(exercise))
    if any(isinstance(x, float) or isinstance(x, Tensor) and x.is_floating_point()
           for x in (answer if isinstance(answer, tuple) else [answer])):
        verdict = judge(exercise.name, lambda *args: mapped(spoil, exercise.function(*args)), 0)
        assert verdict.state == "wrong" and "nan" in verdict.message.lower()


# ---- the tables

def test_names_are_unique_and_belong_to_the_file_and_lesson_in_the_order_of_the_lessons():
    names = [exercise.name for exercise in EXERCISES]
    assert len(set(names)) == len(names)
    for exercise in EXERCISES:
        stem, what = exercise.name.split(".")
        assert what.isidentifier() and exercise.lesson in LESSONS
        assert exercise.lesson.split("_")[1] == stem and exercise.points >= 1
        assert exercise in importlib.import_module(f"minidalle.course.checks.{stem}").EXERCISES
    assert [e.lesson for e in EXERCISES] == sorted(e.lesson for e in EXERCISES)


def test_at_least_three_exercises_a_lesson_and_four_mistakes_an_exercise():
    for lesson in {exercise.lesson for exercise in EXERCISES}:
        assert sum(exercise.lesson == lesson for exercise in EXERCISES) >= 3
    for exercise in EXERCISES:
        names = [mistake.name for mistake in exercise.mistakes]
        assert len(set(names)) == len(names) >= 4


@each
def test_messages_are_short_and_plain(exercise):
    for mistake in exercise.mistakes:
        assert mistake.message.isascii() and len(mistake.message) <= 300
        assert 1 <= len(re.findall(r"[.?!](?= |$)", mistake.message)) <= 3
        assert mistake.message[-1] in ".?" and len(mistake.name) <= 60


@each
def test_a_tolerance_is_no_larger_than_float32_needs(exercise):
    assert exercise.tolerance <= 1e-4


def test_every_check_of_a_step_has_one_new_token_and_every_mask_a_square_and_one_query():
    """So a branch for one token, or for no past, never goes unseen."""
    for seed in SEEDS:
        steps, masks = (calls(f"transformer.{name}", seed)
                        for name in ("cached_step", "causal_mask"))
        assert {q.shape[2] for q, *_ in steps} == {1, 2, 3}
        assert any(Tq == Tk > 2 for Tq, Tk in masks) and any(1 == Tq < Tk for Tq, Tk in masks)
        assert any(1 < Tq < Tk for Tq, Tk in masks)


@each
def test_an_exercise_documents_the_arguments_that_it_hands_over(exercise):
    args = one_call(exercise)
    assert len(checks.names_of(exercise, args)) == len(args) and exercise.verified
    assert dataclasses.is_dataclass(exercise)


# ---- tests that are written

@each_hunt
def test_the_test_in_the_lesson_catches_all_that_its_text_promises(one):
    test = written_test(one.lesson)
    for seed in range(5):
        said = judge(one.name, test, seed)
        assert said.passed, checks.shown(said, again=True)
    assert len(one.mistakes) == 10 and one.points == 3


@each_hunt
def test_the_test_in_the_lesson_lets_the_answer_by_loops_through(one):
    written_test(one.lesson)(OTHER_STYLE[one.exercise.name])


def test_a_hunt_is_the_last_exercise_of_its_lesson():
    for one in HUNTS:
        bank = importlib.import_module(f"minidalle.course.checks.{one.name.partition('.')[0]}")
        assert bank.EXERCISES[-1] is one
