"""Lesson 12's exercises: right answers as they are met pass, wrong ones never do."""
import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from asking import calls

from minidalle.course.checks import find, judge

SEEDS = range(5)


# ---- right answers in styles that are met

def better_in_place(a, b, text):
    out = b.clone()
    rows = torch.einsum("be,be->b", a - b, text) > 0
    out[rows] = a[rows]
    return out


def better_by_index(a, b, text):
    both = torch.stack([a, b])                                              # (2, B, E)
    return both[(both * text).sum(-1).argmax(0), torch.arange(len(a))]


def by_svd(vectors, m, mean=None):
    mean = vectors.mean(0, keepdim=True) if mean is None else mean
    U, S, Vh = torch.linalg.svd(vectors - mean, full_matrices=False)
    return U[:, :m] * S[:m] @ Vh[:m] + mean


def by_eigh(vectors, m):
    mean = vectors.mean(dim=0)
    x = vectors - mean
    axes = torch.linalg.eigh(x.T @ x / (len(x) - 1)).eigenvectors[:, -m:]
    return mean + x @ (axes @ axes.T)


def by_numpy(vectors, m):
    values, columns = numpy.linalg.eig(numpy.cov(vectors.numpy(), rowvar=False))
    axes = torch.from_numpy(columns.real[:, numpy.argsort(-values.real)[:m]]).float()
    return (vectors - vectors.mean(0)) @ axes @ axes.T + vectors.mean(0)


def clamped_first(x, low, high, K):
    share = (torch.clamp(x, low, high) - low) / (high - low)
    return (share * K).long().clamp(max=K - 1)


def by_bucketize(x, low, high, K):
    steps = torch.arange(1, K) / K
    columns = [torch.bucketize(column.contiguous(), a + steps * (b - a), right=True)
               for column, a, b in zip(x.unbind(-1), low, high)]
    return torch.stack(columns, -1)


def by_floor_division(x, low, high, K):
    codes = (x - low) // ((high - low) / K)
    codes[codes < 0] = 0
    codes[codes >= K] = K - 1
    return codes.to(torch.int64)


STYLES = [
    ("gap", lambda text, image: torch.dist(text.mean(0), image.mean(0))),
    ("gap", lambda text, image: (text - image).mean(0).norm()),
    ("gap", lambda text, image: torch.tensor(numpy.linalg.norm(
        text.numpy().mean(0) - image.numpy().mean(0)))),
    ("gap", lambda text, image: torch.cdist(text.mean(0)[None], image.mean(0)[None]).squeeze()),
    ("gap", lambda text, image: (text.double().sum(0) / len(text)
                                 - image.double().sum(0) / len(image)).square().sum() ** 0.5),
    ("to_unit_variance", lambda z: z * z.size(-1) ** 0.5),
    ("to_unit_variance", lambda z: z * torch.tensor(float(z.shape[1])).sqrt()),
    ("to_unit_variance", lambda z: F.normalize(z) * numpy.sqrt(z.shape[-1])),
    ("to_unit_variance", lambda z: z / z.square().mean(1, keepdim=True).sqrt()),
    ("to_unit_variance", lambda z: z.clone().mul_(math.sqrt(len(z[0])))),
    ("better_of_two", better_in_place),
    ("better_of_two", better_by_index),
    ("better_of_two", lambda a, b, text: torch.stack(
        [p if p @ t > q @ t else q for p, q, t in zip(a, b, text)])),
    ("better_of_two", lambda a, b, text: torch.where(
        ((a * text).sum(1) - (b * text).sum(1) > 0).unsqueeze(1), a, b)),
    ("reconstruct", by_svd),
    ("reconstruct", by_eigh),
    ("reconstruct", by_numpy),
    ("reconstruct", lambda vectors, m: by_svd(vectors.double(), m)),
    ("quantise", clamped_first),
    ("quantise", by_bucketize),
    ("quantise", by_floor_division),
    ("quantise", lambda x, low, high, K: torch.floor(
        (x.double() - low) * K / (high - low)).clip(0, K - 1).long()),
]


@pytest.mark.parametrize("name, function", STYLES)
def test_right_answers_in_other_styles_pass_on_many_seeds(name, function):
    for seed in range(10):
        assert judge(f"prior.{name}", function, seed).passed


# ---- wrong answers, and by which name they are told; None: by none, they are only refused

def projected(vectors, axes, mean=None):
    """On these columns (E, m)."""
    mean = vectors.mean(0) if mean is None else mean
    return ((vectors - mean).to(axes) @ axes @ axes.T + mean).float()


def smallest(vectors, m):
    mean = vectors.mean(0)
    axes = torch.linalg.eigh((vectors - mean).T.cov()).eigenvectors[:, :m]
    return (vectors - mean) @ axes @ axes.T + mean


def rows_of_table(vectors, m):
    mean = vectors.mean(0)
    axes = torch.linalg.eigh(torch.cov(vectors.T))[1][-m:]
    return (vectors - mean) @ axes.T @ axes + mean


def of_raw_products(vectors, m):
    axes = torch.linalg.eigh(vectors.T @ vectors)[1][:, -m:]
    return vectors @ axes @ axes.T


def no_way_back(vectors, m):
    x = vectors - vectors.mean(0)
    return x @ torch.linalg.svd(x, full_matrices=False)[2][:m].T


def mean_of_each(vectors, m):
    mean = vectors.mean(1, keepdim=True)
    x = vectors - mean
    axes = torch.linalg.svd(x, full_matrices=False)[2][:m]
    return x @ axes.T @ axes + mean


WRONG = [
    ("gap", "squared", lambda text, image: sum((text.mean(0) - image.mean(0)) ** 2)),
    ("gap", "the mean distance of the pairs",
     lambda text, image: F.pairwise_distance(text, image, eps=0).mean()),
    ("gap", "one minus the cosine", lambda text, image: 1 - torch.dot(
        F.normalize(text.mean(0), dim=0), F.normalize(image.mean(0), dim=0))),
    ("gap", "the means brought to length one", lambda text, image: torch.dist(
        F.normalize(text.sum(0), dim=0), F.normalize(image.sum(0), dim=0))),
    ("gap", "divided by the root of E", lambda text, image: F.mse_loss(
        text.mean(0), image.mean(0)).sqrt()),
    ("gap", "the mean distance of all with all",
     lambda text, image: torch.cdist(text.double(), image.double()).mean()),
    ("gap", "the mean of everything", lambda text, image: (text.mean() - image.mean()).abs()),
    ("gap", None, lambda text, image: text.mean(0) - image.mean(0)),
    ("gap", "the difference of the lengths",
     lambda text, image: abs(text.mean(0).norm() - image.mean(0).norm())),
    ("gap", "the largest difference",
     lambda text, image: torch.dist(text.mean(0), image.mean(0), p=math.inf)),
    ("gap", None, lambda text, image: torch.dist(text.mean(0), image.mean(0)).clamp(max=1)),
    ("gap", None, lambda text, image: torch.dist(text.mean(0)[:4], image.mean(0)[:4])),
    ("gap", None, lambda text, image: torch.dist(text.sum(0), image.sum(0)) / 9),
    ("gap", None, lambda text, image: (text * image).sum(1).mean()),
    ("gap", None, lambda text, image: torch.dist(text.mean(0), image.mean(0)).item()),
    ("gap", None, lambda text, image: numpy.linalg.norm(
        text.numpy().mean(0) - image.numpy().mean(0))),
    ("gap", "multiplied out", lambda text, image: torch.sqrt(
        text.mean(0) @ text.mean(0) - 2 * text.mean(0) @ image.mean(0)
        + image.mean(0) @ image.mean(0))),
    ("gap", "the root mean square of the pairs", lambda text, image: (
        2 - 2 * torch.einsum("ne,ne->n", text.double(), image.double()).mean()).sqrt()),
    ("gap", "the distance to the nearest", lambda text, image: torch.cdist(
        text, image, compute_mode="donot_use_mm_for_euclid_dist").min(1).values.mean()),
    ("gap", "half of it", lambda text, image: torch.dist(
        text.mean(0), torch.cat([text, image]).mean(0))),
    ("gap", "the length of the whole table", lambda text, image: torch.dist(text, image)),
    ("gap", "medians", lambda text, image: torch.dist(text.median(0)[0], image.median(0)[0])),
    ("to_unit_variance", "times E", lambda z: F.normalize(z) * z.size(1)),
    ("to_unit_variance", "the root of the batch", lambda z: z * z.size(0) ** 0.5),
    ("to_unit_variance", "divided by the deviation of the table", lambda z: z / z.std()),
    ("to_unit_variance", "each entry standardised",
     lambda z: (z - z.mean(0)) / (z.var(0) if len(z) > 1 else 0 * z[0] / 0).sqrt()),
    ("to_unit_variance", "each vector standardised",
     lambda z: torch.stack([(row - row.mean()) / row.std() for row in z])),
    ("to_unit_variance", "a norm layer", lambda z: F.layer_norm(z, z.shape[1:])),
    ("to_unit_variance", None, lambda z: z * math.log(z.size(1))),
    ("to_unit_variance", "11.3", lambda z: 11.3 * z),
    ("to_unit_variance", "half of E", lambda z: z * (z.shape[1] ** 1 / 2)),
    ("to_unit_variance", "a root in whole numbers", lambda z: z * int(z.size(1) ** 0.5)),
    ("to_unit_variance", "divided by the table's deviation, with n",
     lambda z: z / float(z.numpy().std())),
    ("to_unit_variance", "divided by the length of the table",
     lambda z: z / torch.linalg.norm(z) * z.size(1) ** 0.5),
    ("to_unit_variance", "the root of B times E", lambda z: z * z.numel() ** 0.5),
    ("to_unit_variance", "the root of E - 1", lambda z: z * math.sqrt(z.size(1) - 1)),
    ("to_unit_variance", "the factor for E = 128", lambda z: z * 128 ** 0.5),
    ("to_unit_variance", None, lambda z: (z * z.size(1) ** 0.5).clamp(-3, 3)),
    ("to_unit_variance", None, lambda z: z + 1),
    ("better_of_two", "the worse one", lambda a, b, text: better_by_index(a, b, -text)),
    ("better_of_two", "one choice for the batch", lambda a, b, text: max(
        (a, b), key=lambda x: (x * text).sum().item())),
    ("better_of_two", "the nearer one", lambda a, b, text: torch.where(
        ((a - text) ** 2).sum(1, True) < ((b - text) ** 2).sum(1, True), a, b)),
    ("better_of_two", "the larger cosine", lambda a, b, text: better_in_place(
        F.normalize(a), F.normalize(b), text) * torch.where(
            ((F.normalize(a) - F.normalize(b)) * text).sum(1) > 0, a.norm(dim=1),
            b.norm(dim=1))[:, None]),
    ("better_of_two", "the choice laid along the entries", lambda a, b, text: torch.where(
        torch.einsum("be,be->b", a, text) > torch.einsum("be,be->b", b, text), a, b)),
    ("better_of_two", "entry by entry the larger one", lambda a, b, text: torch.stack(
        [a, b]).amax(0)),
    ("better_of_two", "the longer one", lambda a, b, text: torch.where(
        (a.norm(dim=1) > b.norm(dim=1))[:, None], a, b)),
    ("better_of_two", "nothing where they are level", lambda a, b, text: a * (
        (a * text).sum(1) > (b * text).sum(1))[:, None] + b * (
            (b * text).sum(1) > (a * text).sum(1))[:, None]),
    ("better_of_two", "a wherever it points the caption's way", lambda a, b, text: torch.where(
        ((a * text).sum(1) > 0)[:, None], a, b)),
    ("better_of_two", "the text of the first row", lambda a, b, text: torch.where(
        (a @ text[0] > b @ text[0])[:, None], a, b)),
    ("better_of_two", None, lambda a, b, text: torch.where(
        ((a * text).sum(1) > (b * text).sum(1) + 0.05)[:, None], a, b)),
    ("better_of_two", None, lambda a, b, text: torch.where(
        ((a * text).sum(1) + 0.05 > (b * text).sum(1))[:, None], a, b)),
    ("better_of_two", None, lambda a, b, text: torch.where(
        ((a.half() * text.half()).sum(1) > (b.half() * text.half()).sum(1))[:, None], a, b)),
    ("better_of_two", None, lambda a, b, text: torch.where(
        ((a * text).sum(1) / a.norm() > (b * text).sum(1) / b.norm())[:, None], a, b)),
    ("better_of_two", None, lambda a, b, text: torch.cat(
        [better_in_place(a, b, text)[:-1], a[-1:]])),
    ("better_of_two", "always b", lambda a, b, text: torch.stack([a, b], 1).flatten(0, 1)[1::2]),
    ("better_of_two", "the best of the whole batch", lambda a, b, text: torch.vstack([a, b])[
        (text @ torch.vstack([a, b]).T).argmax(1)]),
    ("better_of_two", "a number in place of the vector", lambda a, b, text:
        ((a * text).sum(1) < (b * text).sum(1)).long()),
    ("better_of_two", "brought to length one", lambda a, b, text:
        F.normalize(better_in_place(a, b, text))),
    ("better_of_two", "a and b compared with each other", lambda a, b, text: torch.where(
        ((a * b).sum(1) > 0)[:, None], a, b)),
    ("better_of_two", "the best of all captions", lambda a, b, text: torch.where(
        ((a @ text.T).amax(1) > (b @ text.T).amax(1))[:, None], a, b)),
    ("reconstruct", "the smallest axes", smallest),
    ("reconstruct", "rows in place of columns", rows_of_table),
    ("reconstruct", "not centred", of_raw_products),
    ("reconstruct", "numbers along the axes", no_way_back),
    ("reconstruct", "the mean not added back",
     lambda vectors, m: by_svd(vectors, m) - vectors.mean(0)),
    ("reconstruct", "the first entries", lambda vectors, m: F.pad(
        vectors[:, :m], (0, vectors.size(1) - m))),
    ("reconstruct", "the axes of the correlations", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.double().T.corrcoef().nan_to_num())[1][:, -m:])),
    ("reconstruct", "rows taken for variables", lambda vectors, m: projected(
        vectors, torch.linalg.eigh((vectors - vectors.mean(0)).cov())[1][:, -m:])),
    ("reconstruct", "one mean for all entries",
     lambda vectors, m: by_svd(vectors - vectors.mean(), m, 0) + vectors.mean()),
    ("reconstruct", "right axes, one mean for all entries", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.T.cov())[1][:, -m:], vectors.mean())),
    ("reconstruct", None, lambda vectors, m: projected(
        vectors, torch.linalg.eig(vectors.T.cov())[1].real[:, :m])),
    ("reconstruct", "the mean of each vector", mean_of_each),
    ("reconstruct", "nothing but the mean", lambda vectors, m: vectors.mean(0).expand_as(vectors)),
    ("reconstruct", "the mean of each vector", lambda vectors, m:
        by_svd(vectors.T, min(m, vectors.size(1))).T),
    ("reconstruct", "brought to length one", lambda vectors, m: F.normalize(by_svd(vectors, m))),
    ("reconstruct", "axes of the vectors as they are", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.T @ vectors)[1][:, -m:])),
    ("reconstruct", "the widest axis left out", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.T.cov())[1][:, -m:-1])),
    ("reconstruct", "what the widest axes leave over", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.T.cov())[1][:, :-m])),
    ("reconstruct", "entries turned round", lambda vectors, m: projected(
        vectors, torch.linalg.eigh(vectors.T.cov())[1].flip(0)[:, :m])),
    ("reconstruct", "the singular values forgotten", lambda vectors, m: vectors.mean(0) + sum(
        torch.outer(u, v) for u, v in zip(*(M.T[:m] if M.shape[0] > M.shape[1] else M[:m]
                                            for M in torch.linalg.svd(
            vectors - vectors.mean(0), full_matrices=False)[::2])))),
    ("reconstruct", None, lambda vectors, m: torch.cat(
        [vectors[:, :m], vectors[:, m:].mean(0).expand(len(vectors), -1)], 1)),
    ("quantise", "rounded", lambda x, low, high, K: torch.round(
        (x - low) / ((high - low) / K)).clamp(0, K - 1).long()),
    ("quantise", "rounded to K levels", lambda x, low, high, K: torch.round(
        (x.clamp(low, high) - low) / (high - low) * (K - 1)).long()),
    ("quantise", "K - 1 buckets", lambda x, low, high, K: (
        (x.clamp(low, high) - low) / (high - low) * (K - 1)).long()),
    ("quantise", "an edge counted to the bucket below", lambda x, low, high, K: torch.stack(
        [torch.bucketize(column.contiguous(), a + torch.arange(1, K) / K * (b - a))
         for column, a, b in zip(x.unbind(-1), low, high)], -1)),
    ("quantise", None, lambda x, low, high, K: (
        (x - low) / (high - low) * K + 1e-4).floor().clamp(0, K - 1).long()),
    ("quantise", None, lambda x, low, high, K: (
        (x - low) / (high - low) * K - 1e-4).floor().clamp(0, K - 1).long()),
    ("quantise", None, lambda x, low, high, K: clamped_first(x, low, high, K).clamp(max=31)),
    ("quantise", None, lambda x, low, high, K: (
        ((x - low) / (high - low)).clamp(0, 0.999) * K).long()),
    ("quantise", "one more bucket on each side", lambda x, low, high, K: torch.stack(
        [torch.bucketize(column.contiguous(), a + torch.arange(K + 1) / K * (b - a), right=True)
         for column, a, b in zip(x.unbind(-1), low, high)], -1) - 1),
    ("quantise", "the division before the difference", lambda x, low, high, K: torch.floor(
        K * (x - low / (high - low))).clip(0, K - 1).long()),
    ("quantise", "the middle in place of the number", lambda x, low, high, K: low + (
        high - low) * (clamped_first(x, low, high, K) + 0.5) / K),
    ("quantise", "clamped at K", lambda x, low, high, K: (
        (x.clamp(low, high) - low) / (high - low) * K).long()),
    ("quantise", "cut off and not clamped",
     lambda x, low, high, K: ((x - low) / ((high - low) / K)).long()),
    ("quantise", "one range for all axes", lambda x, low, high, K: by_floor_division(
        x, low.amin().expand_as(low), high.amax().expand_as(high), K)),
    ("quantise", "low not taken away",
     lambda x, low, high, K: (x / (high - low) * K).floor().clamp(0, K - 1).long()),
    ("quantise", "one range of x", lambda x, low, high, K: clamped_first(x, x.amin(), x.amax(), K)),
    ("quantise", None, lambda x, low, high, K: clamped_first(x, low, high, K) % (K - 1)),
    ("quantise", "0 for all that lies outside", lambda x, low, high, K:
        by_floor_division(x, low, high, K)
     * ((x >= low) & (x <= high))),
    ("quantise", None, lambda x, low, high, K: clamped_first(x, 0 * low, high, K)),
    ("quantise", "the remainder in place of the nearest", lambda x, low, high, K:
        ((x - low) / (high - low) * K).floor().long() % K),
    ("quantise", "clamped above only", lambda x, low, high, K:
        ((x - low) / (high - low) * K).floor()
     .long().clamp(max=K - 1)),
]


# an eigenvector may point either way, and what these make of it may not be what the bank does
OF_EITHER_SIGN = ("rows in place of columns", "numbers along the axes")


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_never_pass_and_known_mistakes_have_their_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"prior.{name}", function, seed)
        assert not verdict.passed
        assert verdict.mistake == mistake or mistake in OF_EITHER_SIGN


def test_the_gap_is_a_tensor_without_dimensions_as_the_lesson_asks_and_a_number_is_told_so():
    for function in (lambda text, image: torch.dist(text.mean(0), image.mean(0)).item(),
                     lambda text, image: math.dist(text.mean(0), image.mean(0))):
        verdict = judge("prior.gap", function)
        assert verdict.state == "type"
        assert "is a number, and a tensor without dimensions was expected" in verdict.message


def test_each_message_names_the_section_to_read_again():
    sections = {"gap": 2, "to_unit_variance": 4, "better_of_two": 4, "reconstruct": 5,
                "quantise": 5}
    for name, section in sections.items():
        for mistake in find(f"prior.{name}").mistakes:
            assert f"(section {section} of the lesson)" in mistake.message
            assert mistake.message.count("section") == 1


def test_a_gap_by_the_squares_of_both_means_never_passes_however_it_is_summed():
    def multiplied_out(text, image):
        x, y = text.sum(0) / len(text), image.sum(0) / len(image)
        return ((x * x).sum() - 2 * (x * y).sum() + (y * y).sum()).clamp(min=0).sqrt()
    assert not any(judge("prior.gap", multiplied_out, seed).passed for seed in range(100))


# ---- the inputs

def test_two_crowds_of_every_check_nearly_meet_where_float32_loses_the_squares_not_the_gap():
    """By hand: of |x|^2 between 1/2 and 1 float32 keeps steps of 6e-8, and a gap of 0.0003 has a
    square of 9e-8; the root of the nearest step is more than 1e-5 off."""
    for seed in SEEDS:
        text, image = calls("prior.gap", seed)[2]
        x, y = text.double().mean(0), image.double().mean(0)
        steps = torch.arange(5) * 2.0 ** -24
        assert 0.5 < x @ x < 1 and 2e-4 < (x - y).norm() < 4e-4
        assert ((x - y).norm() - steps.sqrt()).abs().min() > 1.1e-5


def test_a_batch_prefers_a_once_and_b_once_and_so_does_the_last_row():
    """So nobody passes, or is taken for another, who takes the same side of a whole batch."""
    for seed in SEEDS:
        fits = [((a * text).sum(1), (b * text).sum(1)) for a, b, text
                in calls("prior.better_of_two", seed)[:2]]
        assert [bool(a.sum() > b.sum()) for a, b in fits] == [True, False]
        assert [bool(a[-1] > b[-1]) for a, b in fits] == [False, True]


def test_the_axes_of_every_cloud_are_well_apart_and_the_mean_is_not_0():
    for seed in SEEDS:
        for vectors, m in calls("prior.reconstruct", seed):
            assert len(vectors) > vectors.shape[1] >= m
            values = torch.linalg.eigvalsh(vectors.double().T.cov())
            values = values[values > 1e-9 * values.max()]      # one of the clouds is flat
            assert (values[1:] / values[:-1]).min() > 2 and vectors.mean(0).norm() > 0.5


def test_every_check_of_the_prior_meets_one_vector_and_as_many_as_entries():
    for name in ("gap", "to_unit_variance", "better_of_two"):
        for seed in SEEDS:
            shapes = [args[0].shape for args in calls(f"prior.{name}", seed)]
            assert any(B == 1 for B, E in shapes) and any(B == E for B, E in shapes)


def test_every_check_of_buckets_hits_both_ends_both_edges_and_lies_outside_on_both_sides():
    for seed in SEEDS:
        for x, low, high, K in calls("prior.quantise", seed)[:1]:
            assert {0, K - 1} <= set(by_bucketize(x, low, high, K).flatten().tolist())
            assert (x < low - (high - low)).any() and (x > high + (high - low)).any()
        rounds = calls("prior.quantise", seed)
        assert any((x == high).any() and (x == low).any() for x, low, high, _ in rounds)
        assert any(x.ndim == 1 for x, *_ in rounds) and any(x.ndim == 3 for x, *_ in rounds)
