r"""Tokenizer: a caption becomes a short row of whole numbers, and comes back byte for byte.

in -> out   captions list[str] -> ids (B, T) -> captions; any byte string -> ids -> the same bytes
idea        Start with the 256 bytes as the alphabet, so that every text can be written, Chinese
            and emoji included. Then join the most frequent pair of neighbours in the training
            captions into a new piece, and again, and again: frequent words end up as one piece,
            rare ones as a few. Pieces never reach across words. A new text is cut by replaying
            the same joins in the order in which they were learned (by rank), whatever is
            frequent in that text. A model's tokenizer may be `plain`: small and large letters and
            the number of spaces then make no difference, as in CLIP (section 2.4).
equation    merge_k = argmax over pairs (x, y) of  sum over words w of count(w) * #(xy in w)
            where the words are written with merge_1 ... merge_(k-1) already made
paper       Sennrich et al. 2016, arXiv:1508.07909, algorithm 1; bytes as alphabet as in GPT-2
            (Radford et al. 2019, section 2.2)
left out    Unicode normalisation, special tokens written in the text, BPE dropout

    >>> tokenizer = Tokenizer.train(["a red 7", "a red 1", "red red"])
    >>> tokenizer.tokens("a red 8")
    [b'a', b' red', b' ', b'8']
"""
import json
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from minidalle.data import plain_text

FORMAT = 1             # of the saved file; goes up when an old file can no longer be read
CACHE_WORDS = 2 ** 15  # remembered words: some 10 MB at most, far more than captions use
CACHE_LENGTH = 64      # a longer word hardly ever comes back

# A word is an optional space and then letters, or one digit, or other signs; or it is whitespace.
# Four classes that cover every character, so that joining the words gives the text back.
# Whitespace leaves its last space to the word behind it: "a  b" is "a", " ", " b".
WORD = re.compile(r" ?[^\W\d_]+| ?\d| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def split(text: str) -> list[str]:
    """Words of a text: "a red 42!" -> ["a", " red", " 4", "2", "!"]."""
    return WORD.findall(text)


def to_bytes(word: str) -> bytes:
    """UTF-8; bytes that are not UTF-8 travel through a str as in Python's "surrogateescape"."""
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(f"{word!r} holds half a surrogate pair, no letter: remove it") from error


def replace_pair(ids: list[int], pair: tuple[int, int], new: int) -> tuple[list[int], list, list]:
    """Write `new` for the pair, from the left, and say which pairs that ends and which it begins.

    a b c with (a, b) becomes new c; ended: (a, b) and (b, c); begun: (new, c).
    """
    left, right = pair
    out, ended, begun = [-1], [], []  # -1 stands before the first token
    for i, token in enumerate(ids):
        # subtle: new is not left, so in a a a the middle one is not joined twice
        if token != right or out[-1] != left:
            out.append(token)
            continue
        out[-1] = new
        ended.append(pair)
        if out[-2] >= 0:
            ended.append((out[-2], left))
            begun.append((out[-2], new))
        if i + 1 < len(ids):
            ended.append((right, ids[i + 1]))
            begun.append((new, ids[i + 1]))
    return out[1:], ended, begun


def learn_merges(counts: dict[bytes, int], number: int) -> list[tuple[int, int]]:
    """Learn up to `number` merges from distinct words and how often each occurs.

    The most frequent pair wins; among equals the smaller pair of ids. a a a counts (a, a) twice,
    as in the paper. A pair that occurs once is not worth a piece: there learning stops early.
    Only the words that hold the pair are rewritten, never the whole text.
    """
    words = [[byte + Tokenizer.first_byte for byte in word] for word in counts]
    times = list(counts.values())
    count, where = defaultdict(int), defaultdict(set)  # pair -> occurrences, numbers of words
    for w, ids in enumerate(words):
        for pair in pairwise(ids):
            count[pair] += times[w]
            where[pair].add(w)
    heap = [(-n, pair) for pair, n in count.items()]
    heapify(heap)
    merges = []
    while heap and len(merges) < number:
        n, pair = heappop(heap)
        if count[pair] != -n:  # out of date: old pairs only ever get rarer, so put it back lower
            heappush(heap, (-count[pair], pair))
            continue
        if count[pair] < 2:
            break
        new = Tokenizer.first_merge + len(merges)
        merges.append(pair)
        fresh = set()
        for w in where.pop(pair):
            words[w], ended, begun = replace_pair(words[w], pair, new)
            for p in ended:
                count[p] -= times[w]
            for p in begun:
                count[p] += times[w]
                where[p].add(w)
            fresh.update(begun)
        for p in fresh:
            heappush(heap, (-count[p], p))
    return merges


def apply_merges(ids: list[int], merged: dict[tuple[int, int], int]) -> list[int]:
    """Make every merge in a word, lowest rank first, equal ones from the left; O(n log n).

    merged: pair -> id of the joined piece; a lower id is a lower rank. Tokens lie in a ring of
    neighbours closed by a -1, so that no end needs a special case; a swallowed token is a -1 too.
    """
    n = len(ids)
    ids = [*ids, -1]
    left, right = [n, *range(n)], [*range(1, n + 1), 0]
    heap = [(merged[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in merged]
    heapify(heap)
    while heap:
        new, i = heappop(heap)
        j = right[i]
        if merged.get((ids[i], ids[j])) != new:
            continue  # one of the two has been swallowed since
        ids[i], ids[j] = new, -1
        right[i] = right[j]
        left[right[i]] = i
        for a in (left[i], i):
            pair = ids[a], ids[right[a]]
            if pair in merged:
                heappush(heap, (merged[pair], a))
    return [token for token in ids if token >= 0]


class Tokenizer:
    """Ids: pad 0, start 1, end 2, the bytes 0..255 at 3..258, then the merges in rank order.

    merges: pairs of ids in rank order; context: T, the length of a row of `batch`; plain: texts are
    put into small letters and single spaces before they are cut, so "A  Red" has the ids of "a red"
    (bytes, in `encode_bytes`, never are).
    """
    pad, start, end = 0, 1, 2
    first_byte, first_merge = 3, 259

    def __init__(self, merges: list[tuple[int, int]], context: int = 16, plain: bool = False):
        if not isinstance(context, int) or context < 2:
            raise ValueError(f"context is {context!r}, but start and end need at least 2: "
                             "give a whole number, for captions 16")
        self.context, self.plain = context, plain
        self.merges = [(left, right) for left, right in merges]
        self.pieces = [b""] * self.first_byte + [bytes([b]) for b in range(256)]  # id -> bytes
        for left, right in self.merges:
            if not self.first_byte <= min(left, right) <= max(left, right) < len(self.pieces):
                raise ValueError(f"merge {left, right} makes id {len(self.pieces)}, so both must "
                                 f"lie in {self.first_byte}..{len(self.pieces) - 1}")
            self.pieces.append(self.pieces[left] + self.pieces[right])
        if len(set(self.pieces)) != len(self.pieces) - self.first_byte + 1:
            raise ValueError("two merges make the same piece: leave the later one out")
        self.vocab_size = len(self.pieces)
        self._merged = {pair: self.first_merge + k for k, pair in enumerate(self.merges)}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 512, context: int = 16,
              plain: bool = False) -> "Tokenizer":
        """Learn the merges (rules: `learn_merges`); few texts may give less than vocab_size."""
        if isinstance(texts, str):
            raise ValueError("train takes many texts and got one str: write train([text])")
        if vocab_size < cls.first_merge:
            raise ValueError(f"vocab_size is {vocab_size}, but 3 specials and 256 bytes need "
                             f"{cls.first_merge}: ask for at least that many")
        counts = Counter()
        for text in texts:
            counts.update(split(plain_text(text) if plain else text))
        counts = {to_bytes(word): n for word, n in counts.items()}
        return cls(learn_merges(counts, vocab_size - cls.first_merge), context, plain)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end. "<end>" in a text is five letters, no special."""
        return self._encode_text(plain_text(text) if self.plain else text)

    def _encode_text(self, text: str) -> list[int]:
        ids = []
        for word in split(text):
            known = self._cache.get(word)
            ids += self._encode_word(word) if known is None else known
        return ids

    def _encode_word(self, word: str) -> list[int]:
        ids = apply_merges([byte + self.first_byte for byte in to_bytes(word)], self._merged)
        if len(word) <= CACHE_LENGTH:
            if len(self._cache) >= CACHE_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes, UTF-8 or not: decode_bytes(encode_bytes(data)) == data."""
        return self._encode_text(data.decode("utf-8", "surrogateescape"))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Bytes of one row of ids, list or tensor (T,); specials are skipped."""
        ids = [int(i) for i in ids]
        wrong = [i for i in ids if not 0 <= i < self.vocab_size]
        if wrong:
            raise ValueError(f"id {wrong[0]} is not in 0..{self.vocab_size - 1}: decode with the "
                             "tokenizer that made these ids, and only ids of text")
        return b"".join([self.pieces[i] for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Text of one row of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def tokens(self, text: str) -> list[bytes]:
        """The pieces of a text, to look at; joined they are the text in UTF-8."""
        return [self.pieces[i] for i in self.encode(text)]

    def batch(self, texts: list[str]) -> Tensor:
        """Captions -> ids (B, T), int64: start, the caption, end, pads. Too long: cut, with a word.

        ["", "a red 7"] -> [[1, 2, 0, 0, ...], [1, 100, 261, 35, 58, 2, 0, ...]]
        """
        if isinstance(texts, str):
            raise ValueError("batch takes a list of captions and got one str: write batch([text])")
        room = self.context - 2
        rows = [self.encode(text) for text in texts]
        longest = max(map(len, rows), default=0)
        if longest > room:
            warnings.warn(f"{sum(len(row) > room for row in rows)} of {len(rows)} captions cut to "
                          f"fit: of {longest} tokens in the longest, the first {room} were read; "
                          "a larger context reads more", stacklevel=2)
        ids = torch.full((len(rows), self.context), self.pad)  # (B, T)
        for row, caption in zip(ids, rows):
            caption = [self.start, *caption[:room], self.end]
            row[:len(caption)] = torch.tensor(caption)
        return ids

    def state(self) -> dict:
        """Plain dict for JSON or a checkpoint. A byte is the character of that number (Latin-1)."""
        text = [piece.decode("latin-1") for piece in self.pieces]
        return {"kind": "minidalle tokenizer", "format": FORMAT,
                "context": self.context, "plain": self.plain,
                "specials": {"pad": self.pad, "start": self.start, "end": self.end},
                "merges": [[text[left], text[right]] for left, right in self.merges]}

    @classmethod
    def from_state(cls, state: dict) -> "Tokenizer":
        """The inverse of `state`."""
        empty = cls([]).state()
        if not isinstance(state, dict) or state.get("kind") != empty["kind"]:
            raise ValueError("this is not the state of a minidalle tokenizer: give what state() "
                             "returned or save() wrote")
        for key in ("format", "specials"):
            if state.get(key) != empty[key]:
                raise ValueError(f"the tokenizer's {key} is {state.get(key)} and this version "
                                 f"reads {empty[key]}: train the tokenizer again")
        ids = {chr(byte): cls.first_byte + byte for byte in range(256)}
        merges = []
        try:
            for left, right in state["merges"]:
                merges.append((ids[left], ids[right]))
                ids[left + right] = cls.first_byte + len(ids)
            return cls(merges, state["context"], bool(state.get("plain")))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the tokenizer's state is damaged after {len(merges)} merges "
                             f"({error}): train the tokenizer again") from error

    def save(self, path: str | Path) -> None:
        """Write JSON to a temporary name and rename: never half a file under the real name."""
        temporary = f"{path}.{os.getpid()}.tmp"  # two processes may save at once
        Path(temporary).write_text(json.dumps(self.state(), indent=1), encoding="ascii")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read what `save` wrote; any other file is one ValueError that says what is wrong."""
        try:
            return cls.from_state(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no tokenizer file: {error}") from error
