"""Lesson 02's exercises: right answers as they are met pass, wrong ones never do."""
import re
from collections import Counter, defaultdict
from itertools import pairwise, takewhile

import pytest
import torch

from minidalle.course.checks import find, judge
from minidalle.tokenizer import Tokenizer, replace_pair

SEEDS = range(30)


# ---- counting

def by_defaultdict(words, times):
    counts = defaultdict(int)
    for k in range(len(words)):
        for i in range(1, len(words[k])):
            counts[words[k][i - 1], words[k][i]] += times[k]
    return counts


def by_counter(words, times):
    counts = Counter()
    for word, n in zip(words, times):
        for pair, often in Counter(zip(word, word[1:])).items():
            counts[pair] += often * n
    return counts


def count_with(pairs, add=lambda n: n):
    def count(words, times):
        counts = Counter()
        for word, n in zip(words, times):
            for pair in pairs(word):
                counts[pair] += add(n)
        return dict(counts)
    return count


def greedy(word):
    i = 0
    while i < len(word) - 1:
        yield word[i], word[i + 1]
        i += 1 + (tuple(word[i + 1:i + 3]) == (word[i], word[i + 1]))


def glued(words, times):
    text = [i for word, n in zip(words, times) for i in word * n]
    return dict(Counter(pairwise(text)))


def returned_too_early(words, times):
    counts = {}
    for word, n in zip(words, times):
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 0) + n
        return counts


def kept_as_first_met(words, times):
    counts = {}
    for word, n in zip(words, times):
        counts = {**dict.fromkeys(pairwise(word), n), **counts}
    return counts


def by_dictionary(words, times):
    return by_defaultdict(*zip(*{tuple(w): n for w, n in zip(words, times)}.items()))


# ---- merging

def by_for_loop(ids, pair, new):
    out, used = [], False
    for left, right in pairwise([*ids, None]):
        if used:
            used = False
        elif (left, right) == pair:
            out.append(new)
            used = True
        else:
            out.append(left)
    return out


def by_deleting(ids, pair, new):
    ids, i = list(ids), 0
    while i + 1 < len(ids):
        if ids[i] == pair[0] and ids[i + 1] == pair[1]:
            ids[i] = new
            del ids[i + 1]
        i += 1
    return ids


def in_place(ids, pair, new):
    ids[:] = by_deleting(ids, pair, new)
    return ids


def by_text(ids, pair, new):
    """10, 5 is found inside 10, 55 and 110, 5."""
    text = ", ".join(map(str, ids)).replace(", ".join(map(str, pair)), str(new))
    return [int(part) for part in text.split(", ")]


def by_bytes(ids, pair, new):
    return list(bytes(ids).replace(bytes(pair), bytes([new])))


def as_ring(ids, pair, new):
    if (ids[-1], ids[0]) == pair:
        return [new, *by_deleting(ids[1:-1], pair, new)]
    return by_deleting(ids, pair, new)


def list_beside_tuple(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        found = ids[i:i + 2] == pair
        out, i = out + [new if found else ids[i]], i + 1 + found
    return out


def until_none_is_left(ids, pair, new):
    return by_deleting(by_deleting(ids, pair, new), (new, new), new)


def skipping_two(ids, pair, new):
    return [new if tuple(ids[i:i + 2]) == pair else x for i in range(0, len(ids), 2)
            for x in (ids[i:i + 2][:1] if tuple(ids[i:i + 2]) == pair else ids[i:i + 2])]


def stepping_in_a_for_loop(ids, pair, new):
    out = []
    for i in range(len(ids)):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
    return out


def walked(ids, pair, new, step=2):
    """To the last id but one."""
    out, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        out, i = out + [new if found else ids[i]], i + (step if found else 1)
    return out


def deleting_the_last(ids, pair, new):
    for i in range(len(ids) - 2, -1, -1):
        if (ids[i], ids[i + 1]) == pair:
            return ids[:i] + [new] + ids[i + 2:]
    return ids


def with_a_last_id(ids, pair, new):
    """Right, where there is one."""
    assert ids[-1] >= 0
    return by_deleting(ids, pair, new)


# ---- encoding

def start(text, shift=3):
    return [byte + shift for byte in text.encode("utf-8")]


def rank_by_rank(text, merges):
    ids = start(text)
    for k, pair in enumerate(merges):
        ids = by_deleting(ids, pair, 259 + k)
    return ids


def by_index(text, merges):
    ids = start(text)
    while True:
        known = [merges.index(pair) for pair in pairwise(ids) if pair in merges]
        if not known:
            return ids
        ids = replace_pair(ids, merges[min(known)], 259 + min(known))[0]


def choosing(choose, shift=3, first=259):
    def encode(text, merges):
        rank, ids = {pair: k for k, pair in enumerate(merges)}, start(text, shift)
        while known := [pair for pair in pairwise(ids) if pair in rank]:
            pair = choose(known, rank)
            ids = by_deleting(ids, pair, first + rank[pair])
        return ids
    return encode


def reversed_ranks(text, merges):
    ids = start(text)
    for k in reversed(range(len(merges))):
        ids = by_deleting(ids, merges[k], 259 + k)
    return ids


def only_once_round(text, merges):
    """One walk from the left; a piece made is not looked at again."""
    ids, out, i = start(text), [], 0
    while i < len(ids):
        pair = tuple(ids[i:i + 2])
        found = pair in merges
        out, i = out + [259 + merges.index(pair) if found else ids[i]], i + 1 + found
    return out


def bytes_once(text, merges):
    ids = start(text)
    for pair in [pair for pair in merges if pair in pairwise(ids)]:
        ids = by_deleting(ids, pair, 259 + merges.index(pair))
    return ids


def by_true_rank(text, merges):
    """0 is False."""
    rank, ids = {pair: k for k, pair in enumerate(merges)}, start(text)
    while known := [pair for pair in pairwise(ids) if rank.get(pair)]:
        pair = min(known, key=rank.get)
        ids = by_deleting(ids, pair, 259 + rank[pair])
    return ids


def backwards(text, merges):
    ids = start(text)[::-1]
    for k, (left, right) in enumerate(merges):
        ids = by_deleting(ids, (right, left), 259 + k)
    return ids[::-1]


def until_the_minimum_is_unknown(text, merges):
    """Right as long as two ids are left: else there is no minimum."""
    rank, ids = {pair: k for k, pair in enumerate(merges)}, start(text)
    while True:
        pair = min(pairwise(ids), key=lambda pair: rank.get(pair, 10 ** 9))
        if pair not in rank:
            return ids
        ids = by_deleting(ids, pair, 259 + rank[pair])


# ---- decoding

def growing(ids, pieces):
    data = bytearray()
    for i in ids:
        data += pieces[i]
    return data.decode(errors="replace")


def joined(ids, pieces):
    return b"".join(pieces[i] for i in ids)


# ---- batches

def by_stack(rows, T):
    return torch.stack([torch.tensor(([1] + row[:T - 2] + [2] + [0] * T)[:T]) for row in rows])


def by_filling(rows, T):
    out = torch.full((len(rows), T), 0)
    for b, row in enumerate(rows):
        row = [1, *row][:T - 1]
        out[b, :len(row)] = torch.tensor(row)
        out[b, len(row)] = 2
    return out


def by_padding(rows, T):
    rows = [torch.tensor([1, *row[:T - 2], 2]) for row in rows]
    out = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return torch.nn.functional.pad(out, (0, T - out.shape[1]))


def inserting(rows, T):
    for row in rows:
        row.insert(0, 1)
        del row[T - 1:]
        row.append(2)
    return torch.tensor([row + [0] * (T - len(row)) for row in rows])


def padded(make):
    return lambda rows, T: torch.tensor([(make(row, T) + [0] * T)[:T] for row in rows])


RIGHT = [
    ("count_pairs", by_defaultdict),
    ("count_pairs", by_counter),
    ("count_pairs", count_with(pairwise)),
    ("merge", by_for_loop),
    ("merge", by_deleting),
    ("merge", lambda *args: tuple(by_deleting(*args))),
    ("encode", rank_by_rank),
    ("encode", by_index),
    ("encode", choosing(lambda known, rank: min(known, key=rank.get))),
    ("decode", growing),
    ("decode", lambda ids, pieces: str(joined(ids, pieces), "utf-8", "replace")),
    ("decode", lambda ids, pieces: bytes(byte for i in ids for byte in pieces[i]).decode(
        "utf-8", "replace")),
    ("batch", by_stack),
    ("batch", by_filling),
    ("batch", by_padding),
]

WRONG = [                      # (exercise, its mistake's name or None, what somebody wrote)
    ("count_pairs", "every word counted once", count_with(pairwise, lambda n: 1)),
    ("count_pairs", "each pair once a word", count_with(lambda w: set(zip(w, w[1:])))),
    ("count_pairs", "order ignored", count_with(lambda w: map(tuple, map(sorted, pairwise(w))))),
    ("count_pairs", "every second pair", count_with(lambda w: zip(w[::2], w[1::2]))),
    ("count_pairs", "runs counted without overlap", count_with(greedy)),
    ("count_pairs", "repeated words glued together", glued),
    ("count_pairs", "a word that stands twice counted once", by_dictionary),
    ("count_pairs", "the last pair of a word forgotten",
     count_with(lambda w: [(w[i], w[i + 1]) for i in range(len(w) - 2)])),
    ("count_pairs", "the first pair of a word forgotten",
     count_with(lambda w: [(w[i], w[i + 1]) for i in range(1, len(w) - 1)])),
    ("count_pairs", "pairs with a gap", count_with(lambda w: zip(w[:-2], w[2:]))),
    ("count_pairs", "right before left", count_with(lambda w: [(b, a) for a, b in pairwise(w)])),
    ("count_pairs", None, count_with(lambda w: [f"{a} {b}" for a, b in pairwise(w)])),
    ("count_pairs", "the last id beside the first", count_with(lambda w: pairwise([*w, w[0]]))),
    ("count_pairs", "only the first word", returned_too_early),
    ("count_pairs", "the first word's count kept", kept_as_first_met),
    ("count_pairs", "the last word forgotten", lambda words, times: by_counter(
        *zip(*list(zip(words, times))[:-1]))),
    ("count_pairs", "two equal ids left out",
     count_with(lambda w: filter(lambda p: len(set(p)) == 2, pairwise(w)))),
    ("count_pairs", "counted from 1", lambda words, times: {
        pair: 1 + n for pair, n in by_counter(words, times).items()}),
    ("count_pairs", None, count_with(pairwise, lambda n: n + 1)),
    ("count_pairs", None, lambda words, times: by_defaultdict(words[:4], times[:4])),
    ("count_pairs", None, lambda words, times: by_defaultdict(words, sorted(times))),
    ("count_pairs", None, lambda words, times: list(by_counter(words, times).items())),
    ("count_pairs", None, lambda words, times: dict(by_counter(words, times).most_common(3))),
    ("count_pairs", "pairs that occur once left out", lambda words, times: {
        pair: n for pair, n in by_counter(words, times).items() if n >= 2}),
    ("merge", "overlapping pairs merged twice", lambda ids, pair, new: [
        new if tuple(ids[i:i + 2]) == pair else x for i, x in enumerate(ids)
        if tuple(ids[i:i + 2]) == pair or not (i and tuple(ids[i - 1:i + 1]) == pair)]),
    ("merge", "nothing merged", list_beside_tuple),
    ("merge", "always 259", lambda ids, pair, new: by_deleting(ids, pair, 259)),
    ("merge", None, by_text),
    ("merge", None, by_bytes),
    ("merge", None, as_ring),
    ("merge", "every second place", skipping_two),
    ("merge", None, lambda ids, pair, new: by_deleting(ids, pair, max(ids) + 1)),
    ("merge", "each half replaced", lambda ids, pair, new: [new if x in pair else x for x in ids]),
    ("merge", "on by one after the pair", stepping_in_a_for_loop),
    ("merge", "the last id written twice",
     lambda ids, pair, new: walked(ids, pair, new) + ids[-1:]),
    ("merge", "the last id lost", walked),
    ("merge", "a pair at the end left alone",
     lambda ids, pair, new: by_deleting(ids[:-1], pair, new) + ids[-1:]),
    ("merge", "three ids passed", lambda ids, pair, new: walked([*ids, 0], pair, new, step=3)),
    ("merge", "only the last pair", deleting_the_last),
    ("merge", "the pairs that changed as well", lambda *args: replace_pair(*args)),
    ("merge", None, with_a_last_id),
    ("merge", None, lambda ids, pair, new: by_deleting(ids, pair, pair)),
    ("merge", "the pair turned round",
     lambda ids, pair, new: by_deleting(ids, (pair[1], pair[0]), new)),
    ("merge", None, lambda ids, pair, new: torch.tensor(by_deleting(ids, pair, new))),
    ("merge", None, in_place),
    ("encode", "last merge first", choosing(lambda known, rank: max(known, key=rank.get))),
    ("encode", "leftmost pair first", choosing(lambda known, rank: known[0])),
    ("encode", "specials forgotten among the bytes",
     choosing(lambda known, rank: min(known, key=rank.get), shift=0)),
    ("encode", "specials forgotten among the merges",
     choosing(lambda known, rank: min(known, key=rank.get), first=256)),
    ("encode", "text split into words", lambda text, merges: Tokenizer(merges).encode(text)),
    ("encode", "made lower case", lambda text, merges: rank_by_rank(text.lower(), merges)),
    ("encode", "spaces stripped", lambda text, merges: rank_by_rank(text.strip(), merges)),
    ("encode", "nothing merged", lambda text, merges: start(text)),
    ("encode", "rightmost pair first", choosing(lambda known, rank: known[-1])),
    ("encode", "smallest ids first", choosing(lambda known, rank: sorted(known)[0])),
    *[("encode", name, choosing(lambda known, rank: min(known, key=rank.get), first=first))
      for name, first in (("merges numbered from 258", 258), ("merges numbered from 260", 260),
                          ("the rank as the id", 0), ("3 + rank as the id", 3))],
    ("encode", "the last merge has the first turn", reversed_ranks),
    ("encode", "only pairs of bytes", bytes_once),
    ("encode", "the first merge left out", by_true_rank),
    ("encode", "the last merge left out",
     lambda text, merges: rank_by_rank(text, merges[:len(merges) - 1])),
    ("encode", "runs merged from the right", backwards),
    ("encode", None, until_the_minimum_is_unknown),
    ("encode", None, lambda text, merges: sum(
        (rank_by_rank(word, merges) for word in re.findall(r" ?\w+|\W", text)), [])),
    ("encode", None, only_once_round),
    ("encode", None, lambda text, merges: rank_by_rank(text, merges[:7])),
    ("encode", None, lambda text, merges: rank_by_rank(text, sorted(merges))),
    ("encode", None, lambda text, merges: rank_by_rank(text.encode("ascii", "ignore").decode(),
                                                       merges)),
    ("encode", "split at spaces", lambda text, merges: sum(
        (rank_by_rank(word, merges) for word in text.split()), [])),
    ("encode", "start and end added",
     lambda text, merges: [1, *rank_by_rank(text, merges), 2]),
    ("decode", "no replacement", lambda ids, pieces: str(joined(ids, pieces), "utf-8")),
    ("decode", "what is no UTF-8 left out",
     lambda ids, pieces: joined(ids, pieces).decode(errors="ignore")),
    ("decode", "Latin-1 in place of UTF-8",
     lambda ids, pieces: "".join(chr(b) for b in joined(ids, pieces))),
    ("decode", "spaces stripped", lambda ids, pieces: growing(ids, pieces).strip(" ")),
    ("decode", "escapes in place of the sign",
     lambda ids, pieces: str(joined(ids, pieces), "utf-8", "backslashreplace")),
    ("decode", "ASCII in place of UTF-8",
     lambda ids, pieces: str(joined(ids, pieces), "ascii", "replace")),
    ("decode", "stopped at the end token", lambda ids, pieces: growing(
        takewhile(lambda i: i != 2, ids), pieces)),
    ("decode", "stopped at the first pad",
     lambda ids, pieces: growing(takewhile(bool, ids), pieces)),
    ("decode", "first and last id thrown away", lambda ids, pieces: growing(ids[1:-1], pieces)),
    ("decode", "the last id forgotten", lambda ids, pieces: growing(
        [ids[i] for i in range(len(ids) - 1)], pieces)),
    ("decode", "byte 0 taken for a special", lambda ids, pieces: growing(
        [i for i in ids if i not in (0, 1, 2, 3)], pieces)),
    ("decode", "specials written out", lambda ids, pieces: growing(
        ids, [b"<pad>", b"<start>", b"<end>", *pieces[3:]])),
    ("decode", "only single bytes", lambda ids, pieces: bytes(
        i - 3 for i in ids if 3 <= i < 259).decode(errors="replace")),
    ("decode", "ids taken for letters",
     lambda ids, pieces: "".join(chr(i - 3) if i > 3 else "\0" for i in ids)),
    ("decode", "pieces shifted by three", lambda ids, pieces: growing(
        ids, [pieces[i - 3] for i in range(len(pieces))])),
    ("decode", "a list of texts", lambda ids, pieces: [growing([i], pieces) for i in ids]),
    ("decode", None, lambda ids, pieces: growing(ids, pieces) if b"\x80" not in joined(ids, pieces)
     else "".join(growing([i], pieces) for i in ids)),
    ("decode", None, lambda ids, pieces: growing(ids[1:], pieces[3:])),
    ("decode", None, lambda ids, pieces: growing(ids[:-3], pieces)),
    ("decode", None, lambda ids, pieces: " ".join(growing(ids, pieces).split())),
    ("decode", "str of the bytes", lambda ids, pieces: f"{joined(ids, pieces)}"),
    ("decode", None, lambda ids, pieces: growing(sorted(ids), pieces)),
    ("batch", "the end cut off", padded(lambda row, T: [1, *row, 2])),
    ("batch", "cut one too short", padded(lambda row, T: [1, *row[:T - 3], 2])),
    ("batch", "start and end exchanged", padded(lambda row, T: [2, *row[:T - 2], 1])),
    ("batch", "floats", lambda rows, T: by_filling(rows, T) * 1.0),
    ("batch", "the front of the caption cut off",
     padded(lambda row, T: [1, *row[-(T - 2):], 2])),
    ("batch", "as wide as the longest row", lambda rows, T: torch.nn.utils.rnn.pad_sequence(
        [torch.tensor([1, *row[:T - 2], 2]) for row in rows], batch_first=True)),
    ("batch", "the end behind the pads",
     padded(lambda row, T: ([1, *row[:T - 2]] + [0] * T)[:T - 1] + [2])),
    ("batch", "the end cut off", padded(lambda row, T: [1, *row[:T - 1], 2])),
    ("batch", "no start, and a place lost", padded(lambda row, T: [*row[:T - 2], 2])),
    ("batch", "no end, and a place lost", padded(lambda row, T: [1, *row[:T - 2]])),
    ("batch", "padded with -1", lambda rows, T: torch.tensor(
        [([1, *row[:T - 2], 2] + T * [-1])[:T] for row in rows])),
    ("batch", "specials counted from 0", padded(lambda row, T: [0, *row[:T - 2], 1])),
    ("batch", "no end in a row that fits exactly",
     padded(lambda row, T: [1, *row[:T - 2], *([2] if len(row) != T - 2 else [])])),
    ("batch", "an empty caption without start and end",
     padded(lambda row, T: row and [1, *row[:T - 2], 2])),
    ("batch", "ids moved by 3", padded(lambda row, T: [1, *(3 + i for i in row[:T - 2]), 2])),
    ("batch", None, lambda rows, T: by_filling(rows, T).squeeze(0)),
    ("batch", None, padded(lambda row, T: [1, *row[:4], 2])),
    ("batch", None, padded(lambda row, T: [*row[:T - 2], 1, 2])),
    ("batch", None, lambda rows, T: by_filling(rows, T + 1)),
    ("batch", None, lambda rows, T: by_filling(rows, 8)),
    ("batch", None, lambda rows, T: by_filling(rows[:4], T)),
    ("batch", None, lambda rows, T: by_filling([row for row in rows if row], T)),
    ("batch", None, lambda rows, T: by_filling(rows, T).tolist()),
    ("batch", None, lambda rows, T: by_filling(sorted(rows, key=len), T)),
    ("batch", None, inserting),
]


@pytest.mark.parametrize("name, function", RIGHT)
def test_right_answers_in_other_styles_pass_on_every_seed(name, function):
    assert all(judge(f"tokenizer.{name}", function, seed).passed for seed in SEEDS)


@pytest.mark.parametrize("name, mistake, function", WRONG)
def test_wrong_answers_are_told_on_every_seed_and_frequent_ones_by_name(name, mistake, function):
    for seed in SEEDS:
        verdict = judge(f"tokenizer.{name}", function, seed)
        assert not verdict.passed and verdict.mistake == mistake, verdict


@pytest.mark.parametrize("mistake", [
    one for name in ("count_pairs", "merge", "encode", "decode", "batch")
    for one in find(f"tokenizer.{name}").mistakes], ids=lambda m: m.name)
def test_each_message_names_the_section_to_read_again(mistake):
    assert mistake.message.endswith(tuple(f" (section {n})." for n in (2, 4, 5, 8)))
