r"""The exercises of lesson 02: from letters to ids and back.

in -> out   EXERCISES: count_pairs, merge, encode, decode, batch
idea        Learning is counting pairs and merging the winner; encoding replays the merges. Words
            and merges are drawn so that each mistake shows: runs of one letter, letters of several
            bytes, pairs that are frequent but late in rank.
"""
from collections import Counter
from itertools import combinations, pairwise

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


def alone(word: list[int], pair: tuple[int, int]) -> int:
    """How often a pair occurs in a word if each id may be used once, from the left."""
    return len(word) - len(merge(word, pair, -1))


def count_in_words(pairs):
    """Count what pairs(word) gives, as often as the word occurs."""
    return lambda words, times: total((pair, n) for word, n in zip(words, times)
                                      for pair in pairs(word))


def first_counts(words: list[list[int]], times: list[int]) -> dict:
    """A pair keeps the count of the word in which it was met first."""
    counts = {}
    for word, n in zip(words, times):
        for pair in pairwise(word):
            counts.setdefault(pair, n)
    return counts


def count_inputs(g: Generator) -> tuple:
    """Words with a run of one id, with a pair and its mirror, and of several lengths."""
    a, b, c = drawn(range(3, 400), 3, g)
    words = drawn([[a, a, a, b], [b, a, b], [c, a], [a, c, b, c, b]], 4, g)
    return words, torch.randint(2, 9, (4,), generator=g).tolist()


def count_of_any_size(g: Generator) -> tuple:
    """Two to six words, of one id to seven."""
    few = drawn(range(3, 400), 3, g)
    words = [[few[i] for i in torch.randint(3, (n,), generator=g)]
             for n in drawn(range(1, 8), int(torch.randint(2, 7, (), generator=g)), g)]
    return words, torch.randint(1, 20, (len(words),), generator=g).tolist()


def count_by_hand(g: Generator) -> tuple:
    """A word of one id, a run of four, one word twice in the list, numbers of more than a byte, a
    pair that occurs once."""
    words = [[97], [300, 300, 300, 300], [5, 300, 5], [300, 5], [8, 9], [5, 300, 5]]
    return words, [7, 2, 3, 1, 1, 10]


COUNT = Exercise(
    "tokenizer.count_pairs", LESSON, 2, count_pairs, (
        count_inputs, count_of_any_size, count_by_hand), (
        Mistake(
            "every word counted once",
            "You count each distinct word once. A word that occurs seven times brings its pairs "
            "seven times: times says how often (section 2).",
            lambda words, times: count_pairs(words, [1] * len(words))),
        Mistake(
            "each pair once a word",
            "You count a pair only once in each word (a set?). In one word it may occur several "
            "times, and each of them counts (section 2).",
            lambda words, times: total((pair, n) for word, n in zip(words, times)
                                       for pair in set(pairwise(word)))),
        Mistake(
            "order ignored",
            "You count (a, b) and (b, a) as one pair. \"ab\" and \"ba\" are different pieces: "
            "keep the order (section 2).",
            lambda words, times: total((tuple(sorted(pair)), n) for word, n in zip(words, times)
                                       for pair in pairwise(word))),
        Mistake(
            "words glued together",
            "You count pairs that reach from the end of one word to the start of the next. A "
            "piece never crosses words: look at each word by itself (section 2).",
            lambda words, times: total(
                [*count_pairs(words, times).items()]
                + [((x[-1], y[0]), 1) for x, y in pairwise(words)])),
        Mistake(
            "repeated words glued together",
            "You write each word as often as it occurs into one long list, and count pairs from "
            "the end of one to the start of the next. A piece never crosses words: look at each "
            "word by itself (section 2).",
            lambda words, times: total((pair, 1) for pair in pairwise(
                [i for word, n in zip(words, times) for _ in range(n) for i in word]))),
        Mistake(
            "runs counted without overlap",
            "In a run such as a a a you count (a, a) once, as text.count does. While counting, "
            "pairs may overlap: it begins twice (section 2).",
            lambda words, times: total(
                (pair, n * alone(word, pair)) for word, n in zip(words, times)
                for pair in set(pairwise(word)))),
        Mistake(
            "the last pair of a word forgotten",
            "You stop one pair too early: range(len(word) - 1) reaches the last pair, (word[i], "
            "word[i + 1]) (section 2).",
            lambda words, times: count_pairs([word[:-1] for word in words], times)),
        Mistake(
            "a word that stands twice counted once",
            "You keep words in a dictionary, and one that stands twice in the list is counted "
            "only once. Go through both lists side by side: zip(words, times) (section 2).",
            lambda words, times: count_pairs(*map(list, zip(*dict(
                zip(map(tuple, words), times)).items())))),
        Mistake(
            "the last word's count kept",
            "You write the count of a pair anew at each word, counts[pair] = n. Add to what is "
            "there: counts[pair] += n (section 2).",
            lambda words, times: {pair: n for word, n in zip(words, times)
                                  for pair in pairwise(word)}),
        Mistake(
            "pairs that occur once left out",
            "You leave out what occurs once. Learning stops there later; to count means to count "
            "all (section 2).",
            lambda words, times: {pair: n for pair, n in count_pairs(words, times).items()
                                  if n > 1}),
        Mistake(
            "all pairs of a word",
            "You count every two ids of a word, also far apart ones. Neighbours only: pairwise "
            "(section 2).",
            lambda words, times: total((pair, n) for word, n in zip(words, times)
                                       for pair in combinations(word, 2))),
        Mistake(
            "every second pair",
            "You step two ids at a time, so that a b c gives (a, b) and never (b, c). Each id but "
            "the last begins a pair (section 2).",
            lambda words, times: total((pair, n) for word, n in zip(words, times)
                                       for pair in zip(word[::2], word[1::2]))),
        Mistake(
            "ids in place of pairs",
            "You count single ids. The keys are pairs of neighbours, (left, right) (section 2).",
            lambda words, times: total((i, n) for word, n in zip(words, times) for i in word)),
        Mistake(
            "the first pair of a word forgotten",
            "You leave out the first pair of each word. An index that looks ahead, (word[i], "
            "word[i + 1]), begins at 0; one that looks back begins at 1 (section 2).",
            lambda words, times: count_pairs([word[1:] for word in words], times)),
        Mistake(
            "the last id beside the first",
            "You also count the last id with the first, as in a ring: word[i - 1] of i = 0 is the "
            "last one. A word has one pair fewer than ids (section 2).",
            count_in_words(lambda word: [(word[i - 1], word[i]) for i in range(len(word))])),
        Mistake(
            "right before left",
            "Your keys are (right, left). The key of \"ab\" is (a, b), left before right "
            "(section 2).",
            count_in_words(lambda word: [(right, left) for left, right in pairwise(word)])),
        Mistake(
            "only the first word",
            "You count the first word and leave the others. Does return stand inside the loop? It "
            "belongs behind it (section 2).",
            lambda words, times: count_pairs(words[:1], times[:1])),
        Mistake(
            "the last word forgotten",
            "You leave out the last word. Go through both lists to their end: zip(words, times) "
            "(section 2).",
            lambda words, times: count_pairs(words[:-1], times[:-1])),
        Mistake(
            "the first word's count kept",
            "A pair keeps the count of the first word that has it. Add what the other words bring: "
            "counts[pair] += n (section 2).",
            first_counts),
        Mistake(
            "two equal ids left out",
            "You leave out pairs of two equal ids. (a, a) is a pair like all others (section 2).",
            count_in_words(lambda word: [(x, y) for x, y in pairwise(word) if x != y])),
        Mistake(
            "pairs with a gap",
            "You pair each id with the one after the next. Neighbours are word[i] and word[i + 1] "
            "(section 2).",
            count_in_words(lambda word: zip(word, word[2:]))),
        Mistake(
            "counted from 1",
            "Each of your counts is one too large. A pair that was not met yet has the count 0 "
            "(section 2).",
            lambda words, times: {pair: n + 1 for pair, n in count_pairs(words, times).items()}),
    ), "every pair of neighbours, as often as its word occurs")


# ---- merging a pair

def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Write new for each occurrence of the pair, from the left."""
    return replace_pair(ids, pair, new)[0]


def new_id(g: Generator) -> int:
    """The id of some merge: nobody may count on 259, nor on the largest of all."""
    return int(torch.randint(259, 400, (), generator=g))


def merge_runs(g: Generator) -> tuple:
    """A pair of equal ids, in runs of two, three and four; one ends the list."""
    a, b = drawn(range(3, 259), 2, g)
    parts = drawn([[a, a, b], [a, b, b], [a, a, a, a, b]], 3, g)
    return [*sum(parts, []), 500, a, a, a], (a, a), new_id(g)


def merge_others(g: Generator) -> tuple:
    """A pair of two ids, also in its mirror image and each alone; it ends the list."""
    a, b, c = drawn(range(3, 259), 3, g)
    parts = drawn([[a, b], [c, a, c], [c, b, a, c], [a, b, b], [a, a, b]], 5, g)
    return [*sum(parts, []), c, a, b], (a, b), new_id(g)


def merge_by_hand(g: Generator) -> tuple:
    """The pair 5, 10 among numbers that begin or end alike; the last id and the first are a pair
    only if the list were a ring."""
    return [10, 15, 10, 5, 101, 5, 10, 105, 10, 5, 10, 5, 10, 15], (5, 10), 300


def merge_ring(g: Generator) -> tuple:
    """Begins with the right half and ends with the left; each half stands beside itself. Nothing
    is to be merged there."""
    a, b, c = drawn(range(3, 259), 3, g)
    return [b, c, a, a, c, b, b, c, a, b, c, c, a], (a, b), new_id(g)


def merge_short(g: Generator) -> tuple:
    """The pair and nothing else."""
    a, b = drawn(range(3, 259), 2, g)
    return [a, b], (a, b), new_id(g)


def merge_empty(g: Generator) -> tuple:
    """No ids at all: the text without letters."""
    a, b = drawn(range(3, 259), 2, g)
    return [], (a, b), new_id(g)


def merge_single(g: Generator) -> tuple:
    """The left half alone: nothing stands behind it."""
    a, b = drawn(range(3, 259), 2, g)
    return [a], (a, b), new_id(g)


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


def merge_if(hit):
    """Walk from the left; two ids become one where hit(left, right, pair)."""
    def walk(ids, pair, new):
        out, i = [], 0
        while i < len(ids):
            two = i + 1 < len(ids) and hit(ids[i], ids[i + 1], pair)
            out, i = out + [new if two else ids[i]], i + 1 + two
        return out
    return walk


def last_lost(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        two = (ids[i], ids[i + 1]) == tuple(pair)
        out, i = out + [new if two else ids[i]], i + 1 + two
    return out


def merge_overlapping(ids, pair, new):
    """A place that begins a pair gives new; one that only ends a pair gives nothing."""
    begins = [p == tuple(pair) for p in pairwise(ids)] + [False]
    return [new if begins[i] else x for i, x in enumerate(ids)
            if begins[i] or not (i and begins[i - 1])]


def places_of(ids, pair) -> list[int]:
    """Where the pair begins."""
    return [i for i, p in enumerate(pairwise(ids)) if p == tuple(pair)]


def merge_first(ids, pair, new):
    places = places_of(ids, pair)
    return [*ids[:places[0]], new, *ids[places[0] + 2:]] if places else list(ids)


def merge_at_every_place(ids, pair, new):
    """new at each place where the pair begins, and what stands there elsewhere."""
    begins = places_of(ids, pair)
    return [new if i in begins else x for i, x in enumerate(ids)]


def last_twice(ids, pair, new):
    """The last id is added after the walk, whether or not it was merged."""
    return last_lost(ids, pair, new) + ids[-1:]


def end_not_merged(ids, pair, new):
    """The last two ids are never looked at together."""
    out, i = [], 0
    while i < len(ids):
        two = i < len(ids) - 2 and (ids[i], ids[i + 1]) == tuple(pair)
        out, i = out + [new if two else ids[i]], i + 1 + two
    return out


def merge_two_by_two(ids, pair, new):
    twos = [ids[i:i + 2] for i in range(0, len(ids), 2)]
    return sum(([new] if tuple(two) == tuple(pair) else two for two in twos), [])


def merge_any_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        hit = sorted(ids[i:i + 2]) == sorted(pair)
        out, i = out + [new if hit else ids[i]], i + 1 + hit
    return out


MERGE = Exercise(
    "tokenizer.merge", LESSON, 2, merge, (
        merge_runs, merge_others, merge_by_hand, merge_ring, merge_short, merge_empty,
        merge_single), (
        Mistake(
            "overlapping pairs merged twice",
            "In a run such as a a a you merge twice, and the middle one serves both. An id that "
            "has been merged is used up: go on behind it (section 2).",
            merge_overlapping),
        Mistake(
            "only the first pair",
            "You merge the first pair and leave the others. Go on to the end of the list "
            "(section 2).",
            merge_first),
        Mistake(
            "from the right",
            "You merge from the right: a a a becomes a X in place of X a. Merges are made from "
            "the left, in learning and in encoding alike (section 2).",
            lambda ids, pair, new: merge(ids[::-1], pair[::-1], new)[::-1]),
        Mistake(
            "the right one kept",
            "You write the new id, but its right half stays behind it. The pair becomes ONE id: "
            "step over both halves (section 2).",
            merge_by(lambda new, right: ([new, right], 2))),
        Mistake(
            "either order",
            "You merge (b, a) as well as (a, b). The order matters: the new piece is spelled "
            "left, then right (section 2).",
            merge_any_order),
        Mistake(
            "nothing merged",
            "Your list comes back as it was. A list is never equal to a tuple: compare the two ids "
            "one by one, or make a tuple of them (section 2).",
            lambda ids, pair, new: list(ids)),
        Mistake(
            "any two of its halves",
            "You merge any two neighbours that both occur in the pair, also (a, a) or (b, a). Left "
            "must be the first half, right the second (section 2).",
            merge_if(lambda x, y, pair: x in pair and y in pair)),
        Mistake(
            "the left half alone is enough",
            "You merge wherever the left half stands, whatever follows. Look at both ids "
            "(section 2).",
            merge_if(lambda x, y, pair: x == pair[0])),
        Mistake(
            "the new id twice",
            "You write the new id for each half. The pair becomes ONE id (section 2).",
            merge_by(lambda new, right: ([new, new], 2))),
        Mistake(
            "the last id lost",
            "The last id gets lost where it is no half of a pair. Walk to the end of the list, "
            "and look for a right neighbour only where there is one (section 2).",
            last_lost),
        Mistake(
            "always 259",
            "You write 259. The new id is an argument: new (section 2).",
            lambda ids, pair, new: merge(ids, pair, 259)),
        Mistake(
            "the pair removed",
            "You take the pair out and write nothing in its place. The new id belongs there "
            "(section 2).",
            merge_by(lambda new, right: ([], 2))),
        Mistake(
            "on by one after the pair",
            "At the pair you write the new id and go on by one, so that its right half is looked "
            "at again. Go on by two; in a for loop, i += 2 changes nothing (section 2).",
            merge_at_every_place),
        Mistake(
            "the last id written twice",
            "You add the last id after the walk, also where it has been merged already. Add it "
            "only if it is left over (section 2).",
            last_twice),
        Mistake(
            "a pair at the end left alone",
            "A pair of the last two ids stays as it is. It is looked at as long as i + 1 is "
            "smaller than len(ids) (section 2).",
            end_not_merged),
        Mistake(
            "every second place",
            "You look at the places 0, 2, 4 ... only. A pair may begin anywhere: go on by two only "
            "behind a pair (section 2).",
            merge_two_by_two),
        Mistake(
            "the pair turned round",
            "You merge (b, a) in place of (a, b). Left must be the first half, right the second "
            "(section 2).",
            lambda ids, pair, new: merge(ids, pair[::-1], new)),
        Mistake(
            "each half replaced",
            "You write the new id for each id that occurs in the pair, wherever it stands. Only "
            "the two together, left before right, become one (section 2).",
            lambda ids, pair, new: [new if x in pair else x for x in ids]),
        Mistake(
            "three ids passed",
            "Behind a pair you go on by three, and lose an id. The pair has two ids: go on by two "
            "(section 2).",
            merge_by(lambda new, right: ([new], 3))),
        Mistake(
            "only the last pair",
            "You merge the last pair and leave the others. Keep what you have merged, and go on "
            "(section 2).",
            lambda ids, pair, new: merge_first(ids[::-1], pair[::-1], new)[::-1]),
        Mistake(
            "the pairs that changed as well",
            "You return what replace_pair returns. Here only the list is asked, its first part: "
            "replace_pair(...)[0] (section 2).",
            replace_pair),
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


def encode_by_hand(g: Generator) -> tuple:
    """A word with its space, a capital, signs of two, three and four bytes, and a digit; merges
    join across the spaces and the digit, and "Ab" is not "ab". In pqrs the lowest rank is in the
    middle, in wxyz the last one; in ljh the smaller ids stand behind. In
    mkp and kpm leftmost, rightmost, smallest and lowest rank are four ways to cut."""
    pairs = ("b7", "Ab", " A", "qr", "pq", "rs", "wx", "yz", "\u00e9", "lj", "jh", "a7", "xy",
             "g ", "mk", "pm", "kp")
    merges = [tuple(shifted_bytes(pair)) for pair in pairs]
    merges.insert(3, (261, 259))
    return " Ab7b7\u00e9\u4e03\U0001f3a8a7pqrswxyzljhg 2mkp2kpm ", merges


def encode_few(g: Generator) -> tuple:
    """One merge, or two; no run of more than two."""
    a, b = drawn(shifted_bytes("abcdefgh"), 2, g)
    merges = [(a, b), (259, 259)][:int(torch.randint(1, 3, (), generator=g))]
    word = "".join(chr(i - 3) for i in (a, b, a, b, a, b, b, a, a))
    return word, merges


def encode_run(g: Generator) -> tuple:
    """Runs of three, of letters and of pieces: from the left aaa is aa and a. The last merge is
    made, too."""
    a, b = drawn("abcdefgh", 2, g)
    merges = [tuple(shifted_bytes(a + a)), tuple(shifted_bytes(b + a)), (260, 260)]
    return a + a + a + b + a + b + a + b + a + b + b, [*merges, (260, merges[1][0])]


def encode_letter(g: Generator) -> tuple:
    """A word of one letter: it has no pair."""
    return drawn("abcdefgh", 1, g)[0], [tuple(shifted_bytes("ab")), (259, 259)]


def encode_whole(g: Generator) -> tuple:
    """A word that becomes a single piece: nothing is left to be looked at."""
    a, b, c = drawn("abcdefgh", 3, g)
    (x, y), z = shifted_bytes(a + b), shifted_bytes(c)[0]
    return a + b + c, [(x, y), (259, z)]


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


def encode_by_turns(turns):
    """Each merge has one turn, in an order that turns(ids, merged) gives."""
    def encode_so(text, merges):
        ids, merged = shifted_bytes(text), ranked(merges)
        for pair in turns(ids, merged):
            ids = merge(ids, pair, merged[pair])
        return ids
    return encode_so


def encode_from_right(text, merges):
    ids = shifted_bytes(text)
    for pair, new in ranked(merges).items():
        ids = merge(ids[::-1], pair[::-1], new)[::-1]
    return ids


def numbered_from(first: int):
    """Merge k makes the id first + k."""
    return encode_choosing(lowest_rank, new_id=lambda merges: {
        pair: first + k for k, pair in enumerate(merges)})


def encode_once(ids: list[int], merged: dict) -> list[int]:
    known = [pair for pair in pairwise(ids) if pair in merged]
    return merge(ids, first := lowest_rank(known, merged), merged[first]) if known else ids


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
    "tokenizer.encode", LESSON, 3, encode, (
        encode_inputs, encode_by_hand, encode_few, encode_run, encode_letter, encode_whole), (
        Mistake(
            "most frequent pair first",
            "You merge the pair that is most frequent in THIS text. Frequency decides while "
            "learning; a new text is cut by rank: the merge that was learned first comes first "
            "(section 4).",
            encode_choosing(lambda pairs, merged: max(
                pairs, key=lambda pair: (pairs.count(pair), -merged[pair])))),
        Mistake(
            "most frequent pair first, then the leftmost",
            "You merge the pair that is most frequent in THIS text. Frequency decides while "
            "learning; a new text is cut by rank: the merge that was learned first comes first "
            "(section 4).",
            encode_choosing(lambda pairs, merged: max(pairs, key=pairs.count))),
        Mistake(
            "last merge first",
            "You begin with the merge that was learned last. The ranks run the other way: first "
            "learned, first made (section 4).",
            encode_choosing(lambda pairs, merged: max(pairs, key=merged.get))),
        Mistake(
            "leftmost pair first",
            "You merge whatever can be merged first from the left. Among all pairs in the word, "
            "the one of lowest rank comes first, wherever it stands (section 4).",
            encode_choosing(lambda pairs, merged: pairs[0])),
        Mistake(
            "longest piece first",
            "You take at each place the longest piece that fits. BPE does not search for pieces: "
            "it replays the merges in the order in which they were learned (section 4).",
            encode_longest),
        Mistake(
            "each merge made once",
            "You make each merge at its first place only. It is made wherever its pair stands, "
            "before the next merge has its turn (section 4).",
            encode_choosing(lowest_rank, everywhere=False)),
        Mistake(
            "text split into words",
            "You cut the text into words first (perhaps with Tokenizer.encode), and a merge across "
            "a space or before a digit is never made. Here the text is one word: do not split it "
            "(section 4).",
            lambda text, merges: Tokenizer(merges).encode(text)),
        Mistake(
            "spaces stripped",
            "You take spaces away (strip, or split). They are bytes like all others, and \" red\" "
            "is another word than \"red\" (section 4).",
            lambda text, merges: encode(text.strip(), merges)),
        Mistake(
            "made lower case",
            "You make the text lower case. \"A\" and \"a\" are two bytes, and merges know only "
            "those they were learned from (section 4).",
            lambda text, merges: encode(text.lower(), merges)),
        Mistake(
            "nothing merged",
            "You return the bytes and merge nothing. Replay the merges, lowest rank first "
            "(section 4).",
            lambda text, merges: shifted_bytes(text)),
        Mistake(
            "one merge and done",
            "You make one merge and stop. Go on until no pair of neighbours is known "
            "(section 4).",
            lambda text, merges: encode_once(shifted_bytes(text), ranked(merges))),
        Mistake(
            "characters in place of bytes",
            "You start from characters (ord), and this text holds letters of two bytes. Start "
            "from text.encode(\"utf-8\") (section 4).",
            encode_choosing(lowest_rank, start=lambda text: [ord(letter) + 3 for letter in text])),
        Mistake(
            "specials forgotten among the bytes",
            "Your bytes are numbered from 0, and no merge fits them. Ids 0, 1 and 2 are pad, "
            "start and end, so byte b has the id b + 3 (section 4).",
            encode_choosing(lowest_rank, start=lambda text: list(to_bytes(text)))),
        Mistake(
            "specials forgotten among the merges",
            "Your merged pieces are numbered from 256. There are 3 specials and 256 bytes before "
            "them, so merge k makes the id 259 + k (section 4).",
            numbered_from(256)),
        Mistake(
            "merges numbered from 258",
            "The ids of your pieces are one too small. 3 specials and 256 bytes stand before them, "
            "so merge 0 makes the id 259 (section 4).",
            numbered_from(258)),
        Mistake(
            "merges numbered from 260",
            "The ids of your pieces are one too large. The first merge has the rank 0 and makes "
            "the id 259 (section 4).",
            numbered_from(260)),
        Mistake(
            "the rank as the id",
            "You write the rank where the id belongs. Merge k makes the id 259 + k (section 4).",
            numbered_from(0)),
        Mistake(
            "3 + rank as the id",
            "You write 3 + k for merge k, and that is the id of a byte. 256 bytes stand before the "
            "pieces: 259 + k (section 4).",
            numbered_from(3)),
        Mistake(
            "rightmost pair first",
            "You merge whatever can be merged first from the right. Among all pairs in the word, "
            "the one of lowest rank comes first, wherever it stands (section 4).",
            encode_choosing(lambda pairs, merged: pairs[-1])),
        Mistake(
            "smallest ids first",
            "Among the known pairs you take the smallest, that of the smallest ids. Take that of "
            "the lowest rank: min(pairs, key=rank.get) (section 4).",
            encode_choosing(lambda pairs, merged: min(pairs))),
        Mistake(
            "the last merge has the first turn",
            "You go through the merges from the last to the first. A merge needs pieces that "
            "earlier ones make: begin with rank 0 (section 4).",
            encode_by_turns(lambda ids, merged: [*merged][::-1])),
        Mistake(
            "only pairs of bytes",
            "You look for pairs among the bytes once, and never at the pieces that come about. "
            "Look again after each merge (section 4).",
            encode_by_turns(lambda ids, merged: sorted(
                {p for p in pairwise(ids) if p in merged}, key=merged.get))),
        Mistake(
            "the first merge left out",
            "You never make merge 0. Its rank is 0, and 0 is False: ask whether the pair is in the "
            "dictionary, or whether get returns None (section 4).",
            encode_by_turns(lambda ids, merged: [*merged][1:])),
        Mistake(
            "the last merge left out",
            "You never make the last merge. Go through all of them: range(len(merges)), or "
            "enumerate (section 4).",
            encode_by_turns(lambda ids, merged: [*merged][:-1])),
        Mistake(
            "runs merged from the right",
            "In a run such as a a a you merge the last two. Merges are made from the left, in "
            "learning and in encoding alike (section 2).",
            encode_from_right),
        Mistake(
            "split at spaces",
            "You split the text at its spaces, and they are lost. Here the text is one word, with "
            "all that is in it: do not split it (section 4).",
            lambda text, merges: [i for word in text.split() for i in encode(word, merges)]),
        Mistake(
            "start and end added",
            "You put start and end round the ids. They come in when a batch is made; here a word "
            "is cut (section 4).",
            lambda text, merges: [1, *encode(text, merges), 2]),
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


def decode_broken(g: Generator) -> tuple:
    """What is no UTF-8: half a sign at the end, a byte that begins nothing, spaces round it all.
    Between them a whole sign, byte by byte."""
    half = drawn([b"\xe4\xb8", b"\xf0\x9f\x8e", b"\xc3"], 1, g)[0]
    data = b" \x80  red \xe4\xb8\x83 " + half
    few = [b"", b"", b"", *(bytes([i]) for i in range(256)), b" red", b"\xc3\xa9"]
    return [1, *(byte + 3 for byte in data), 259, 260, 3 + 0xff, 3 + 32, 2, 0], few


def decode_nothing(g: Generator) -> tuple:
    """Start, end and pads alone: a text of no letters."""
    return [1, 2, 0, 0], bytes_alone()


def decode_bare(g: Generator) -> tuple:
    """Letters without specials round them, one of them twice, and byte 0 among them."""
    letters = shifted_bytes("".join(drawn("abcdefgh", 3, g)))
    return [*letters, 3, letters[0]], bytes_alone()


def decode_scattered(g: Generator) -> tuple:
    """Specials anywhere: letters stand before the start, and behind end and pad."""
    a, b, c, d = shifted_bytes("".join(drawn("abcdefgh", 4, g)))
    return [a, 1, b, 2, c, 0, d], bytes_alone()


def bytes_alone() -> list[bytes]:
    """The pieces of a tokenizer without merges."""
    return Tokenizer([]).pieces


def until(ids: list[int], stop: int) -> list[int]:
    return ids[:ids.index(stop)] if stop in ids else ids


DECODE = Exercise(
    "tokenizer.decode", LESSON, 1, decode, (
        decode_inputs, decode_broken, decode_nothing, decode_bare, decode_scattered), (
        Mistake(
            "each piece decoded by itself",
            "You turn each piece into text by itself, and a sign of several bytes may be cut "
            "between two pieces. Join the bytes first, and decode once (section 5).",
            lambda ids, pieces: "".join(pieces[i].decode("utf-8", "replace") for i in ids)),
        Mistake(
            "Latin-1 in place of UTF-8",
            "You read every byte as a letter of its own (Latin-1). The text was written in UTF-8, "
            "in which a sign may take up to four bytes (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode("latin-1")),
        Mistake(
            "spaces put between the pieces",
            "You put spaces between the pieces. The spaces are inside the pieces already, or "
            "encoding and decoding would not be each other's inverse (section 5).",
            lambda ids, pieces: b" ".join(pieces[i] for i in ids).decode("utf-8", "replace")),
        Mistake(
            "broken bytes left out",
            "You decode piece by piece and leave out what is no UTF-8 (errors=\"ignore\"): signs "
            "cut between two pieces vanish. Join the bytes first (section 5).",
            lambda ids, pieces: "".join(pieces[i].decode("utf-8", "ignore") for i in ids)),
        Mistake(
            "no replacement",
            "Your function stops at bytes that are no UTF-8. They become one sign that says so: "
            "decode(\"utf-8\", errors=\"replace\") (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode("utf-8")),
        Mistake(
            "what is no UTF-8 left out",
            "You leave out bytes that are no UTF-8 (errors=\"ignore\"), and nobody sees that "
            "something was there. Put the sign for it: errors=\"replace\" (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode("utf-8", "ignore")),
        Mistake(
            "spaces stripped",
            "You take spaces off the ends. They belong to the text (section 5).",
            lambda ids, pieces: decode(ids, pieces).strip()),
        Mistake(
            "read backwards",
            "You join the pieces from the last to the first. The row is read from the left "
            "(section 5).",
            lambda ids, pieces: decode(ids[::-1], pieces)),
        Mistake(
            "ids one off",
            "Your pieces are those of the ids before them. The list of pieces has one for each id, "
            "specials included: pieces[i], without a shift (section 5).",
            lambda ids, pieces: decode([max(0, i - 1) for i in ids], pieces)),
        Mistake(
            "bytes in place of text",
            "Your bytes are right. One step is left: from UTF-8 to text (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids)),
        Mistake(
            "a list of pieces",
            "You return the pieces one by one. Join them, and turn the bytes into one text "
            "(section 5).",
            lambda ids, pieces: [pieces[i] for i in ids]),
        Mistake(
            "a list of texts",
            "You return the text of each piece. Join the bytes of all, and turn them into one text "
            "(section 5).",
            lambda ids, pieces: [pieces[i].decode("utf-8", "replace") for i in ids]),
        Mistake(
            "stopped at the end token",
            "You stop at the first end token. Its piece is empty and vanishes by itself: join the "
            "pieces of all ids (section 5).",
            lambda ids, pieces: decode(until(ids, 2), pieces)),
        Mistake(
            "stopped at the first pad",
            "You stop at the first pad. Its piece is empty and vanishes by itself: join the pieces "
            "of all ids (section 5).",
            lambda ids, pieces: decode(until(ids, 0), pieces)),
        Mistake(
            "first and last id thrown away",
            "You throw away the first id and the last, as if they were always start and end. Those "
            "vanish by themselves, their pieces are empty (section 5).",
            lambda ids, pieces: decode(ids[1:-1], pieces)),
        Mistake(
            "the last id forgotten",
            "You leave out the last id. It may be a letter; end and pads vanish by themselves "
            "(section 5).",
            lambda ids, pieces: decode(ids[:-1], pieces)),
        Mistake(
            "byte 0 taken for a special",
            "You skip the id 3. Specials are 0, 1 and 2; 3 is byte 0, and you need not skip "
            "any: the pieces of specials are empty (section 5).",
            lambda ids, pieces: decode([i for i in ids if i > 3], pieces)),
        Mistake(
            "specials written out",
            "You write names for pad, start and end. Their pieces are empty: the text shows "
            "nothing of them (section 5).",
            lambda ids, pieces: decode(ids, [b"<pad>", b"<start>", b"<end>", *pieces[3:]])),
        Mistake(
            "only single bytes",
            "You leave out the ids of learnt pieces, from 259 on. pieces has the bytes of every id "
            "(section 5).",
            lambda ids, pieces: decode([i for i in ids if i < 259], pieces)),
        Mistake(
            "ids taken for letters",
            "You make a letter of each id, chr(i - 3). Look up the bytes of each: pieces[i] "
            "(section 5).",
            lambda ids, pieces: "".join(chr(max(i - 3, 0)) for i in ids)),
        Mistake(
            "pieces shifted by three",
            "You subtract 3 from each id. The list of pieces has one for each id, specials "
            "included: pieces[i], without a shift (section 5).",
            lambda ids, pieces: decode([i - 3 for i in ids], pieces)),
        Mistake(
            "ASCII in place of UTF-8",
            "You read the bytes as ASCII, which knows English letters only. The text was written "
            "in UTF-8 (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode("ascii", "replace")),
        Mistake(
            "escapes in place of the sign",
            "You write bytes that are no UTF-8 as escapes. One sign stands for them: "
            "errors=\"replace\" (section 5).",
            lambda ids, pieces: b"".join(pieces[i] for i in ids).decode(
                "utf-8", "backslashreplace")),
        Mistake(
            "str of the bytes",
            "str(bytes) shows how Python writes bytes, with b'...' round them. .decode makes a "
            "text of them (section 5).",
            lambda ids, pieces: str(b"".join(pieces[i] for i in ids))),
    ), "Chinese and emoji come back whole")


# ---- a batch

def batch(rows: list[list[int]], context: int) -> Tensor:
    """Rows of ids -> (B,T): start 1, the ids, end 2, pads 0; too long ones are cut, with an end."""
    return torch.tensor([padded([1, *row[:context - 2], 2], context) for row in rows])


def padded(row: list[int], context: int) -> list[int]:
    return row + [0] * (context - len(row))


def batch_inputs(g: Generator) -> tuple:
    """Rows that are too long by one and by four, that fit exactly, and that are short."""
    context = int(torch.randint(6, 12, (), generator=g))
    lengths = drawn([context - 1, context + 2, context - 2, context - 4], 4, g)
    return [torch.randint(3, 600, (n,), generator=g).tolist() for n in lengths], context


def batch_short(g: Generator) -> tuple:
    """One to five rows that all leave room, the first of them empty."""
    context, B = int(torch.randint(7, 16, (), generator=g)), int(torch.randint(5, (), generator=g))
    lengths = [0, *torch.randint(1, context - 3, (B,), generator=g).tolist()]
    return [torch.randint(3, 600, (n,), generator=g).tolist() for n in lengths], context


def batch_narrow(g: Generator) -> tuple:
    """Room for a single id; each row is one that ends where ids end otherwise."""
    return [[5], [6, 7], [], [8, 9, 10, 11], [12]], 3


def batch_alone(g: Generator) -> tuple:
    """A single row: the answer is still a batch."""
    return [torch.randint(3, 600, (3,), generator=g).tolist()], 7


def batch_by(row_of):
    return lambda rows, context: torch.tensor([row_of(row, context) for row in rows])


BATCH = Exercise(
    "tokenizer.batch", LESSON, 2, batch, (
        batch_inputs, batch_short, batch_narrow, batch_alone), (
        Mistake(
            "the end cut off",
            "In captions that are too long you cut the end token off too, and there CLIP reads "
            "the text vector. Cut the caption to T - 2 first, then add start and end "
            "(section 8).",
            batch_by(lambda row, T: padded([1, *row, 2][:T], T))),
        Mistake(
            "no start",
            "Your rows begin with the first piece of the caption. The start token comes before it "
            "(section 8).",
            batch_by(lambda row, T: padded([*row[:T - 1], 2], T))),
        Mistake(
            "no end",
            "Your rows never end: the end token is missing behind the caption (section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 1]], T))),
        Mistake(
            "padded in front",
            "You put the pads in front. They belong behind the end token, where a causal model "
            "never sees them (section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 2], 2], T)[len(row) + 2:]
                     + [1, *row[:T - 2], 2])),
        Mistake(
            "the end behind the pads",
            "Your end token always stands in the last place, behind the pads. It comes straight "
            "after the caption (section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 2]], T - 1) + [2])),
        Mistake(
            "padded with the end",
            "You fill up with the end token (2). The pad token is 0; the end comes once "
            "(section 8).",
            batch_by(lambda row, T: ([1, *row[:T - 2]] + [2] * T)[:T])),
        Mistake(
            "as wide as the longest row",
            "Your batch is as wide as its longest row. It is always context wide, so that all "
            "batches have one shape (section 8).",
            lambda rows, context: batch(rows, min(context, 2 + max(map(len, rows))))),
        Mistake(
            "the front of the caption cut off",
            "Of a caption that is too long you keep the end. Its beginning is kept (section 8).",
            batch_by(lambda row, T: padded([1, *row[max(0, len(row) - T + 2):], 2], T))),
        Mistake(
            "start and end exchanged",
            "You begin with 2 and end with 1. Start is 1, end is 2 (section 8).",
            batch_by(lambda row, T: padded([2, *row[:T - 2], 1], T))),
        Mistake(
            "floats",
            "Your ids are floats. They are places in a table: dtype=torch.long (section 8).",
            lambda rows, context: batch(rows, context).float()),
        Mistake(
            "the end doubled in long captions",
            "In a caption that fills the row you write over its last id, or add an end where there "
            "was one. Cut to T - 2 first, then add start and end once (section 8).",
            batch_by(lambda row, T: (padded([1, *row, 2], T)[:T - 2] + [2, 2])
                     if len(row) > T - 2 else padded([1, *row, 2], T))),
        Mistake(
            "cut one too short",
            "You keep one id fewer than there is room for. With start and end, T - 2 ids of the "
            "caption fit (section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 3], 2], T))),
        Mistake(
            "no start, and a place lost",
            "Your rows begin with the first piece of the caption. The start token comes before it "
            "(section 8).",
            batch_by(lambda row, T: padded([*row[:T - 2], 2], T))),
        Mistake(
            "no end, and a place lost",
            "Your rows never end: the end token is missing behind the caption (section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 2]], T))),
        Mistake(
            "padded with -1",
            "You fill up with -1. The pad token is 0, and -1 is no id at all (section 8).",
            batch_by(lambda row, T: ([1, *row[:T - 2], 2] + [-1] * T)[:T])),
        Mistake(
            "specials counted from 0",
            "You begin with 0 and end with 1. Pad is 0, start is 1, end is 2 (section 8).",
            batch_by(lambda row, T: padded([0, *row[:T - 2], 1], T))),
        Mistake(
            "no end in a row that fits exactly",
            "A caption of exactly T - 2 ids gets no end with you. It fits, and its end stands in "
            "the last place: <= in place of < (section 8).",
            batch_by(lambda row, T: padded([1, *row, 2], T)[:T - 1] + [0]
                     if len(row) == T - 2 else padded([1, *row[:T - 2], 2], T))),
        Mistake(
            "an empty caption without start and end",
            "A caption without ids becomes a row of pads with you. It, too, has a start and an end "
            "(section 8).",
            batch_by(lambda row, T: padded([1, *row[:T - 2], 2] if row else [], T))),
        Mistake(
            "ids moved by 3",
            "You add 3 to the ids. That was done when bytes became ids: here they are ids already "
            "(section 8).",
            batch_by(lambda row, T: padded([1, *(i + 3 for i in row[:T - 2]), 2], T))),
    ), "start, caption, end and pads, and no end lost in long captions")


EXERCISES = (COUNT, MERGE, ENCODE, DECODE, BATCH)
