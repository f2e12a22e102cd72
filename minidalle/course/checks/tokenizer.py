r"""The exercises of lesson 02: from letters to ids and back.

in -> out   EXERCISES: count_pairs, merge, encode, decode, batch
idea        Learning is counting pairs and merging the winner; encoding replays the merges. Words
            and merges are drawn so that each mistake shows: runs of one letter, letters of several
            bytes, pairs that are frequent but late in rank.
"""
from collections import Counter
from itertools import pairwise

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake
from minidalle.tokenizer import Tokenizer, apply_merges, replace_pair, to_bytes

LESSON = "02_tokenizer"


def drawn(things, n: int, g: Generator) -> list:
    """n different ones in random order."""
    return [things[i] for i in torch.randperm(len(things), generator=g)[:n]]


# ---- counting pairs

def count_pairs(words: list[list[int]], times: list[int]) -> dict[tuple[int, int], int]:
    """How often each pair of neighbours occurs; word i occurs times[i] times."""
    return total((pair, n) for word, n in zip(words, times) for pair in pairwise(word))


def total(counts) -> dict:
    """Pairs with how often each occurs, added up."""
    sums = Counter()
    for pair, n in counts:
        sums[pair] += n
    return dict(sums)


def count_inputs(g: Generator) -> tuple:
    """Words with a run of one id, with a pair and its mirror, and of several lengths."""
    a, b, c = drawn(range(3, 259), 3, g)
    words = drawn([[a, a, a, b], [b, a, b], [c, a], [a, c, b, c, b]], 4, g)
    return words, torch.randint(2, 9, (4,), generator=g).tolist()


COUNT = Exercise(
    "tokenizer.count_pairs", LESSON, 2, count_pairs, (count_inputs,), (
        Mistake(
            "every word counted once",
            "You count each distinct word once. A word that occurs seven times brings its pairs "
            "seven times: times says how often.",
            lambda words, times: count_pairs(words, [1] * len(words))),
        Mistake(
            "each pair once a word",
            "You count a pair only once in each word (a set?). In one word it may occur several "
            "times, and each of them counts.",
            lambda words, times: total((pair, n) for word, n in zip(words, times)
                                       for pair in set(pairwise(word)))),
        Mistake(
            "order ignored",
            "You count (a, b) and (b, a) as one pair. \"ab\" and \"ba\" are different pieces: "
            "keep the order.",
            lambda words, times: total((tuple(sorted(pair)), n) for word, n in zip(words, times)
                                       for pair in pairwise(word))),
        Mistake(
            "words glued together",
            "You count pairs that reach from the end of one word to the start of the next. A "
            "piece never crosses words: look at each word by itself.",
            lambda words, times: total(
                [*count_pairs(words, times).items()]
                + [((x[-1], y[0]), 1) for x, y in pairwise(words)])),
        Mistake(
            "every second pair",
            "You step two ids at a time, so that a b c gives (a, b) and never (b, c). Each id but "
            "the last begins a pair.",
            lambda words, times: total((pair, n) for word, n in zip(words, times)
                                       for pair in zip(word[::2], word[1::2]))),
        Mistake(
            "ids in place of pairs",
            "You count single ids. The keys are pairs of neighbours, (left, right).",
            lambda words, times: total((i, n) for word, n in zip(words, times) for i in word)),
    ), "every pair of neighbours, as often as its word occurs")


# ---- merging a pair

def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Write new for each occurrence of the pair, from the left."""
    return replace_pair(ids, pair, new)[0]


def merge_runs(g: Generator) -> tuple:
    """A pair of equal ids, in runs of two, three and four; one ends the list."""
    a, b = drawn(range(3, 259), 2, g)
    parts = drawn([[a, a, b], [a, b, b], [a, a, a, a, b]], 3, g)
    return [*sum(parts, []), a, a, a], (a, a), 259


def merge_others(g: Generator) -> tuple:
    """A pair of two ids, also in its mirror image and each alone; it ends the list."""
    a, b, c = drawn(range(3, 259), 3, g)
    parts = drawn([[a, b], [c, a, c], [c, b, a, c], [a, b, b], [a, a, b]], 5, g)
    return [*sum(parts, []), c, a, b], (a, b), 259


def merge_by(rule):
    """Walk from the left; at the pair, rule(new, right) is written and so many ids are passed."""
    def walk(ids, pair, new):
        out, i = [], 0
        while i < len(ids):
            hit = tuple(ids[i:i + 2]) == tuple(pair)
            piece, step = rule(new, ids[i + 1]) if hit else ([ids[i]], 1)
            out, i = out + piece, i + step
        return out
    return walk


def merge_overlapping(ids, pair, new):
    """A place that begins a pair gives new; one that only ends a pair gives nothing."""
    begins = [p == tuple(pair) for p in pairwise(ids)] + [False]
    return [new if begins[i] else x for i, x in enumerate(ids)
            if begins[i] or not (i and begins[i - 1])]


def merge_first(ids, pair, new):
    places = [i for i, p in enumerate(pairwise(ids)) if p == tuple(pair)]
    return [*ids[:places[0]], new, *ids[places[0] + 2:]]


def merge_any_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        hit = sorted(ids[i:i + 2]) == sorted(pair)
        out, i = out + [new if hit else ids[i]], i + 1 + hit
    return out


MERGE = Exercise(
    "tokenizer.merge", LESSON, 2, merge, (merge_runs, merge_others), (
        Mistake(
            "overlapping pairs merged twice",
            "In a run such as a a a you merge twice, and the middle one serves both. An id that "
            "has been merged is used up: go on behind it.",
            merge_overlapping),
        Mistake(
            "only the first pair",
            "You merge the first pair and leave the others. Go on to the end of the list.",
            merge_first),
        Mistake(
            "from the right",
            "You merge from the right: a a a becomes a X in place of X a. Merges are made from "
            "the left, in learning and in encoding alike.",
            lambda ids, pair, new: merge(ids[::-1], pair[::-1], new)[::-1]),
        Mistake(
            "the right one kept",
            "You write the new id, but its right half stays behind it. The pair becomes ONE id: "
            "step over both halves.",
            merge_by(lambda new, right: ([new, right], 2))),
        Mistake(
            "either order",
            "You merge (b, a) as well as (a, b). The order matters: the new piece is spelled "
            "left, then right.",
            merge_any_order),
        Mistake(
            "the pair removed",
            "You take the pair out and write nothing in its place. The new id belongs there.",
            merge_by(lambda new, right: ([], 2))),
    ), "runs such as a a a from the left, and only in the right order")


# ---- encoding

def encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    """Ids of a word: bytes at 3..258, piece k of the merges at 259 + k."""
    return apply_merges(shifted_bytes(text), ranked(merges))


def shifted_bytes(text: str) -> list[int]:
    return [byte + Tokenizer.first_byte for byte in to_bytes(text)]


def ranked(merges: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    return {pair: Tokenizer.first_merge + k for k, pair in enumerate(merges)}


def encode_inputs(g: Generator) -> tuple:
    """In abc both bc and ab could be merged: bc has the lower rank, ab is more frequent here."""
    letters = drawn("abcdefghijklmnopqrstuvwxyz", 3, g) + drawn("\u00e9\u00fc\u00f1", 1, g)
    a, b, c, u, u2 = shifted_bytes("".join(letters))
    ab = Tokenizer.first_merge + 1
    merges = [(b, c), (a, b), (a, a), (c, a), (ab, ab), (u, u2), (c, ab)]
    words = ["aab", "ucab", *drawn(["abc", "abab", "bca", "u", "aba", "ab"], 6, g)]
    return "".join(dict(zip("abcu", letters))[x] for x in "".join(words)), merges


def encode_choosing(choose, start=shifted_bytes, new_id=ranked, everywhere=True):
    """Merge again and again; choose(pairs, merged) says which of the possible pairs is next."""
    def encode_so(text, merges):
        ids, merged, done = start(text), new_id(merges), set()
        while pairs := [p for p in pairwise(ids) if p in merged and p not in done]:
            pair = choose(pairs, merged)
            ids = (merge if everywhere else merge_first)(ids, pair, merged[pair])
            done |= set() if everywhere else {pair}
        return ids
    return encode_so


def lowest_rank(pairs, merged):
    return min(pairs, key=merged.get)


def encode_longest(text, merges):
    """At each place the longest piece that fits."""
    pieces, data, ids = Tokenizer(merges).pieces, to_bytes(text), []
    while data:
        best = max((i for i, piece in enumerate(pieces) if piece and data.startswith(piece)),
                   key=lambda i: len(pieces[i]))
        ids, data = [*ids, best], data[len(pieces[best]):]
    return ids


ENCODE = Exercise(
    "tokenizer.encode", LESSON, 3, encode, (encode_inputs,), (
        Mistake(
            "most frequent pair first",
            "You merge the pair that is most frequent in THIS text. Frequency decides while "
            "learning; a new text is cut by rank: the merge that was learned first comes first.",
            encode_choosing(lambda pairs, merged: max(
                pairs, key=lambda pair: (pairs.count(pair), -merged[pair])))),
        Mistake(
            "last merge first",
            "You begin with the merge that was learned last. The ranks run the other way: first "
            "learned, first made.",
            encode_choosing(lambda pairs, merged: max(pairs, key=merged.get))),
        Mistake(
            "leftmost pair first",
            "You merge whatever can be merged first from the left. Among all pairs in the word, "
            "the one of lowest rank comes first, wherever it stands.",
            encode_choosing(lambda pairs, merged: pairs[0])),
        Mistake(
            "longest piece first",
            "You take at each place the longest piece that fits. BPE does not search for pieces: "
            "it replays the merges in the order in which they were learned.",
            encode_longest),
        Mistake(
            "each merge made once",
            "You make each merge at its first place only. It is made wherever its pair stands, "
            "before the next merge has its turn.",
            encode_choosing(lowest_rank, everywhere=False)),
        Mistake(
            "characters in place of bytes",
            "You start from characters (ord), and this text holds letters of two bytes. Start "
            "from text.encode(\"utf-8\").",
            encode_choosing(lowest_rank, start=lambda text: [ord(letter) + 3 for letter in text])),
        Mistake(
            "specials forgotten among the bytes",
            "Your bytes are numbered from 0, and no merge fits them. Ids 0, 1 and 2 are pad, "
            "start and end, so byte b has the id b + 3.",
            encode_choosing(lowest_rank, start=lambda text: list(to_bytes(text)))),
        Mistake(
            "specials forgotten among the merges",
            "Your merged pieces are numbered from 256. There are 3 specials and 256 bytes before "
            "them, so merge k makes the id 259 + k.",
            encode_choosing(lowest_rank, new_id=lambda merges: {
                pair: 256 + k for k, pair in enumerate(merges)})),
    ), "merges by rank, letters of two bytes included")


# ---- decoding

def decode(ids: list[int], pieces: list[bytes]) -> str:
    """The text of the ids; piece i belongs to id i, and the specials have b""."""
    return b"".join([pieces[i] for i in ids]).decode("utf-8", "replace")


def decode_inputs(g: Generator) -> tuple:
    """Words of Latin, Chinese and emoji; merges cut the longer signs in the middle."""
    words = drawn(["red", "\u00e9t\u00e9", "\u4e03", "\U0001f3a8", "seven", "\u7ea2\u8272"], 4, g)
    text, few = " ".join(words), int(torch.randint(3, 7, (), generator=g))
    tokenizer = Tokenizer.train([text, text], Tokenizer.first_merge + few)
    return [tokenizer.start, *tokenizer.encode(text), tokenizer.end, 0, 0], tokenizer.pieces


DECODE = Exercise(
    "tokenizer.decode", LESSON, 1, decode, (decode_inputs,), (
        Mistake(
            "each piece decoded by itself",
            "You turn each piece into text by itself, and a sign of several bytes may be cut "
            "between two pieces. Join the bytes first, and decode once.",
            lambda ids, pieces: "".join(pieces[i].decode("utf-8", "replace") for i in ids)),
        Mistake(
            "Latin-1 in place of UTF-8",
            "You read every byte as a letter of its own (Latin-1). The text was written in UTF-8, "
            "in which a sign may take up to four bytes.",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode("latin-1")),
        Mistake(
            "spaces put between the pieces",
            "You put spaces between the pieces. The spaces are inside the pieces already, or "
            "encoding and decoding would not be each other's inverse.",
            lambda ids, pieces: b" ".join(pieces[i] for i in ids).decode("utf-8", "replace")),
        Mistake(
            "broken bytes left out",
            "You decode piece by piece and leave out what is no UTF-8 (errors=\"ignore\"): signs "
            "cut between two pieces vanish. Join the bytes first.",
            lambda ids, pieces: "".join(pieces[i].decode("utf-8", "ignore") for i in ids)),
        Mistake(
            "bytes in place of text",
            "Your bytes are right. One step is left: from UTF-8 to text.",
            lambda ids, pieces: b"".join(pieces[i] for i in ids)),
        Mistake(
            "a list of pieces",
            "You return the pieces one by one. Join them, and turn the bytes into one text.",
            lambda ids, pieces: [pieces[i] for i in ids]),
    ), "Chinese and emoji come back whole")


# ---- a batch

def batch(rows: list[list[int]], context: int) -> Tensor:
    """Rows of ids -> (B,T): start 1, the ids, end 2, pads 0; too long ones are cut, with an end."""
    return torch.tensor([padded([1, *row[:context - 2], 2], context) for row in rows])


def padded(row: list[int], context: int) -> list[int]:
    return row + [0] * (context - len(row))


def batch_inputs(g: Generator) -> tuple:
    """Rows that are too long by one and by four, that fit exactly, and that are short."""
    context = int(torch.randint(6, 9, (), generator=g))
    lengths = drawn([context - 1, context + 2, context - 2, context - 4], 4, g)
    return [torch.randint(3, 300, (n,), generator=g).tolist() for n in lengths], context


def batch_by(row_of):
    return lambda rows, context: torch.tensor([row_of(row, context) for row in rows])


BATCH = Exercise(
    "tokenizer.batch", LESSON, 2, batch, (batch_inputs,), (
        Mistake(
            "the end cut off",
            "In captions that are too long you cut the end token off too, and there CLIP reads "
            "the text vector. Cut the caption to T - 2 first, then add start and end.",
            batch_by(lambda row, T: padded([1, *row, 2][:T], T))),
        Mistake(
            "no start",
            "Your rows begin with the first piece of the caption. The start token comes before it.",
            batch_by(lambda row, T: padded([*row[:T - 1], 2], T))),
        Mistake(
            "no end",
            "Your rows never end: the end token is missing behind the caption.",
            batch_by(lambda row, T: padded([1, *row[:T - 1]], T))),
        Mistake(
            "padded in front",
            "You put the pads in front. They belong behind the end token, where a causal model "
            "never sees them.",
            batch_by(lambda row, T: padded([1, *row[:T - 2], 2], T)[len(row) + 2:]
                     + [1, *row[:T - 2], 2])),
        Mistake(
            "the end behind the pads",
            "Your end token always stands in the last place, behind the pads. It comes straight "
            "after the caption.",
            batch_by(lambda row, T: padded([1, *row[:T - 2]], T - 1) + [2])),
        Mistake(
            "padded with the end",
            "You fill up with the end token (2). The pad token is 0; the end comes once.",
            batch_by(lambda row, T: ([1, *row[:T - 2]] + [2] * T)[:T])),
        Mistake(
            "cut one too short",
            "You keep one id fewer than there is room for. With start and end, T - 2 ids of the "
            "caption fit.",
            batch_by(lambda row, T: padded([1, *row[:T - 3], 2], T))),
    ), "start, caption, end and pads, and no end lost in long captions")


EXERCISES = (COUNT, MERGE, ENCODE, DECODE, BATCH)
