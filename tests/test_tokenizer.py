"""The tokenizer against the textbook algorithm, hand-worked examples and its own inverse."""
import json
import os
import pickle
import random
import re
import sys
import time
import unicodedata
import warnings
from collections import Counter
from itertools import pairwise

import pytest
import torch

from minidalle import tokenizer as module
from minidalle.data import drawn
from minidalle.tokenizer import Tokenizer, apply_merges, learn_merges, replace_pair, split

CAPTIONS = ["a red seven on blue", "the digit 7 in red, blue background", "a red 3 on green",
            "blue paper, a red seven, top left", "a green seven on red", "the digit 3 in blue"]


def join_left_to_right(ids, pair, new):
    """Textbook: scan, and step over both tokens after a join."""
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i:i + 2]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def textbook_merges(counts, number):
    """Sennrich et al., algorithm 1: count all pairs anew before each merge."""
    words = [([3 + byte for byte in word], n) for word, n in counts.items()]
    merges = []
    for new in range(259, 259 + number):
        count = Counter()
        for ids, n in words:
            for pair in pairwise(ids):
                count[pair] += n
        if not count or max(count.values()) < 2:
            break
        best = min(pair for pair in count if count[pair] == max(count.values()))
        words = [(join_left_to_right(ids, best, new), n) for ids, n in words]
        merges.append(best)
    return merges


def random_text(rng, length):
    """Characters of every plane and class, many of them often."""
    some = [chr(rng.choice([rng.randrange(0x250), rng.randrange(0xd800),
                            rng.randrange(0xe000, 0x110000)])) for _ in range(length)]
    return "".join(rng.choice([c, *" \n\ta7_,"]) for c in some)


@pytest.fixture(scope="module")
def trained():
    return Tokenizer.train(CAPTIONS, vocab_size=330)


# ---- words

def test_split_joins_back_to_the_text_for_random_unicode():
    rng = random.Random(0)
    for _ in range(200):
        text = random_text(rng, 50)
        assert "".join(split(text)) == text


def test_split_covers_every_single_character_there_is():
    text = "".join(map(chr, range(sys.maxunicode + 1)))
    assert "".join(split(text)) == text


@pytest.mark.parametrize("text, words", [
    ("a red 42!", ["a", " red", " 4", "2", "!"]),
    ("it's snake_case...", ["it", "'", "s", " snake", "_", "case", "..."]),
    ("a  b\n\n c\nd ", ["a", " ", " b", "\n\n", " c", "\n", "d", " "]),
    ("\u7ea2\u8272 7\u00e9t\u00e9", ["\u7ea2\u8272", " 7", "\u00e9t\u00e9"]),
    ("", []),
])
def test_split_by_hand(text, words):
    assert split(text) == words


def test_digits_stand_alone_for_every_decimal_digit_of_unicode():
    digits = [chr(c) for c in range(sys.maxunicode) if unicodedata.category(chr(c)) == "Nd"]
    assert split("".join(digits)) == digits


# ---- training

def test_replaced_pairs_by_hand():
    """x a b c with (a, b): x new c; gone are xa, ab, bc; born are x-new and new-c."""
    ids, ended, begun = replace_pair([10, 11, 12, 13], (11, 12), 300)
    assert ids == [10, 300, 13]
    assert sorted(ended) == [(10, 11), (11, 12), (12, 13)]
    assert sorted(begun) == [(10, 300), (300, 13)]
    assert replace_pair([7, 7, 7, 7, 7], (7, 7), 300)[0] == [300, 300, 7]


def test_the_change_of_pairs_is_the_difference_of_two_counts():
    rng = random.Random(0)
    for _ in range(500):
        old = rng.choices([5, 6, 7], k=rng.randint(0, 12))
        new, ended, begun = replace_pair(old, (rng.choice(old or [5]), 6), 300)
        before, after = Counter(pairwise(old)), Counter(pairwise(new))
        before.subtract(ended)
        before.update(begun)
        assert {p: n for p, n in before.items() if n} == dict(after)


def test_merges_equal_the_textbook_algorithm_on_random_corpora():
    rng = random.Random(0)
    for alphabet in ["a", "ab", "abc", "abcdefgh"] * 40:
        words = ["".join(rng.choices(alphabet, k=rng.randint(1, 9))) for _ in range(20)]
        counts = {word.encode(): rng.randint(1, 4) for word in words}
        assert learn_merges(counts, 30) == textbook_merges(counts, 30), counts


def test_merges_of_the_papers_words_by_hand():
    """low 5, lower 2, newest 6, widest 3 (section 3.2): es 9, es+t 9, lo 7, lo+w 7, then ties."""
    texts = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    tokenizer = Tokenizer.train(texts, vocab_size=259 + 6)
    assert tokenizer.pieces[259:] == [b"es", b"est", b"lo", b"low", b"ew", b"new"]
    assert tokenizer.tokens("lowest newer") == [b"low", b"est", b" ", b"new", b"e", b"r"]


def test_ids_of_bytes_and_merges_are_shifted_by_the_three_specials():
    tokenizer = Tokenizer.train(["ab", "ab"])
    assert tokenizer.merges == [(3 + ord("a"), 3 + ord("b"))]
    assert tokenizer.encode("ab") == [259] and tokenizer.encode("\0") == [3]
    assert tokenizer.decode_bytes(range(259)) == bytes(range(256))
    assert tokenizer.vocab_size == 260


def test_a_tie_goes_to_the_smaller_pair_of_ids_in_any_order_of_the_texts():
    for texts in ["cd ab ba", "ba cd ab"]:
        tokenizer = Tokenizer.train(texts.split() * 2, vocab_size=262)
        assert tokenizer.pieces[259:] == [b"ab", b"ba", b"cd"]


def test_a_word_counts_as_often_as_it_occurs():
    assert Tokenizer.train(["xy"] * 3 + ["ab", "ab"], 260).pieces[259] == b"xy"
    assert Tokenizer.train(["xy,xy,xy", "ab", "ab"], 260).pieces[259] == b"xy"


def test_overlapping_pairs_by_hand():
    """aaaaa holds (a, a) four times, two of which can be joined, from the left: aa aa a."""
    a = 3 + ord("a")
    assert learn_merges({b"aaaaa": 1, b"bc": 3}, 1) == [(a, a)]
    tokenizer = Tokenizer([(a, a)])
    assert tokenizer.tokens("aaaaa") == [b"aa", b"aa", b"a"]
    assert tokenizer.tokens("aaa") == [b"aa", b"a"]


def test_no_piece_reaches_across_words():
    tokenizer = Tokenizer.train(["on a 77 on a 77"] * 9)
    assert sorted(tokenizer.pieces[259:]) == [b" 7", b" a", b" on", b"on"]


def test_training_stops_when_no_pair_occurs_twice():
    tokenizer = Tokenizer.train(["abc", "xbc"], vocab_size=1000)
    assert tokenizer.pieces[259:] == [b"bc"]
    assert Tokenizer.train([]).vocab_size == Tokenizer.train(["a"]).vocab_size == 259


def test_training_gives_the_asked_size_where_there_is_enough_text():
    assert Tokenizer.train(CAPTIONS, 280).vocab_size == 280
    assert Tokenizer.train(CAPTIONS, 259).merges == []
    assert Tokenizer.train(iter(CAPTIONS), 280).merges == Tokenizer.train(CAPTIONS, 280).merges


# ---- encoding

def test_encoding_equals_one_textbook_pass_per_merge_in_rank_order():
    rng = random.Random(0)
    for alphabet in ["a", "ab", "abcd"] * 30:
        counts = {"".join(rng.choices(alphabet, k=12)).encode(): 1 for _ in range(20)}
        merged = {pair: 259 + k for k, pair in enumerate(learn_merges(counts, 20))}
        for _ in range(20):
            expected = ids = [3 + ord(c) for c in rng.choices(alphabet, k=rng.randint(0, 30))]
            for pair, new in merged.items():
                expected = join_left_to_right(expected, pair, new)
            assert apply_merges(ids, merged) == expected


def test_merges_go_by_rank_and_not_by_frequency_in_the_text():
    """Learned: bc before ab. In this text ab is more frequent, and bc still comes first."""
    tokenizer = Tokenizer.train(["bc"] * 9 + ["ab"] * 5)
    assert tokenizer.tokens("abcababab") == [b"a", b"bc", b"ab", b"ab", b"ab"]


def test_every_training_text_is_encoded_as_training_left_it(trained):
    """Words as training left them, by the textbook passes, are what encode gives."""
    for word in {word for text in CAPTIONS for word in split(text)}:
        ids = [3 + byte for byte in word.encode()]
        for k, pair in enumerate(trained.merges):
            ids = join_left_to_right(ids, pair, 259 + k)
        assert trained.encode(word) == ids


def test_a_special_written_in_the_text_is_only_text(trained):
    ids = trained.encode("<start><end><pad>\0\1\2")
    assert min(ids) > trained.end
    assert trained.decode(ids) == "<start><end><pad>\0\1\2"


def test_a_long_word_costs_far_less_than_a_second(trained):
    """100,000 letters without a space; a quadratic method needs minutes."""
    a = 3 + ord("a")
    doubling = [(a, a), *((259 + k, 259 + k) for k in range(12))]
    start = time.process_time()
    assert len(Tokenizer(doubling).encode("a" * 2 ** 16)) == 2 ** 16 // 2 ** 13
    assert trained.decode(trained.encode("blue" * 2 ** 14)) == "blue" * 2 ** 14
    assert time.process_time() - start < 5


def test_the_cache_is_bounded_and_changes_no_answer(trained, monkeypatch):
    monkeypatch.setattr(module, "CACHE_WORDS", 10)
    words = [f"red{'ab' * k}" for k in range(40)]
    for _ in range(2):
        for word in words:
            assert b"".join(trained.tokens(word)) == word.encode()
            assert len(trained._cache) <= 10
    trained.encode("x" * 1000)
    assert max(map(len, trained._cache)) <= module.CACHE_LENGTH


def test_a_word_seen_before_is_looked_up(trained, monkeypatch):
    first = trained.encode("a red seven")
    monkeypatch.setattr(module, "apply_merges", None)
    assert trained.encode("a red seven") == first


def test_the_caller_may_change_the_ids_it_got(trained):
    first = trained.encode("red")
    first.append(0)
    assert trained.encode("red") == first[:-1]


# ---- small and large letters, and spaces

def test_a_plain_tokenizer_reads_every_caption_as_its_grammar_does():
    """Oracle: Grammar.parse, which does not care about the case or the number of spaces."""
    grammar = drawn().grammar
    plain = Tokenizer.train(grammar.every(), plain=True)
    for caption in grammar.every()[::37]:
        for style in (str.upper, str.title, lambda c: f"  {c.replace(' ', '  ')}\t\n"):
            assert grammar.parse(style(caption)) == grammar.parse(caption)
            assert plain.encode(style(caption)) == plain.encode(caption)


def test_a_plain_tokenizer_learns_the_same_from_texts_that_differ_in_case_and_spaces_alone():
    loud = [f" {text.upper()} " for text in CAPTIONS]
    assert Tokenizer.train(loud, plain=True).merges == Tokenizer.train(CAPTIONS, plain=True).merges


def test_a_plain_tokenizer_still_gives_bytes_back_as_they_were():
    plain = Tokenizer.train(CAPTIONS, plain=True)
    for data in (b"A  Red\n", bytes(range(256)), "\u00c9T\u00c9".encode()):
        assert plain.decode_bytes(plain.encode_bytes(data)) == data
    assert plain.decode(plain.encode("A  Red")) == "a red"


def test_a_tokenizer_is_not_plain_unless_asked(trained):
    assert trained.decode(trained.encode("A  Red")) == "A  Red"


@pytest.mark.parametrize("plain", [True, False])
def test_a_state_remembers_whether_it_is_plain_and_an_older_one_was_not(plain):
    state = Tokenizer.train(CAPTIONS, plain=plain).state()
    assert Tokenizer.from_state(json.loads(json.dumps(state))).plain is plain
    del state["plain"]
    assert Tokenizer.from_state(state).plain is False


# ---- there and back

@pytest.mark.parametrize("text", ["", " ", "a red 7", "\u4e00\u53ea\u7ea2\u8272\u7684\u4e03",
                                  "\U0001f469\u200d\U0001f680 e\u0301 \u0928\u092e\u0938\u094d",
                                  "\0\r\n\t\x1c\u2028\ufeff\ufffe", "a  b   c\n\n"])
def test_text_round_trips(trained, text):
    assert trained.decode(trained.encode(text)) == text
    assert b"".join(trained.tokens(text)) == text.encode()


def test_random_bytes_and_all_256_round_trip(trained):
    rng = random.Random(0)
    cases = [bytes(range(256)), *(bytes([b]) for b in range(256)),
             *(rng.randbytes(rng.randint(0, 60)) for _ in range(500)),
             *(random_text(rng, 20).encode()[rng.randrange(4):-rng.randint(1, 4)]
               for _ in range(500))]
    for data in cases:
        assert trained.decode_bytes(trained.encode_bytes(data)) == data


def test_encode_bytes_is_encode_where_the_bytes_are_utf8(trained):
    for text in [*CAPTIONS, "\u7ea2\u8272 \U0001f600"]:
        assert trained.encode_bytes(text.encode()) == trained.encode(text)


def test_bytes_that_are_no_utf8_decode_to_the_replacement_character(trained):
    ids = trained.encode("a\u7ea2")
    assert trained.decode(ids[:-1]) == "a\ufffd"


def test_padded_rows_decode_to_their_captions(trained):
    captions = ["", "a red 7", "on blue"]
    ids = trained.batch(captions)
    assert [trained.decode(row) for row in ids] == captions
    assert [trained.decode(row) for row in ids.tolist()] == captions


# ---- batches

def test_batch_layout_by_hand():
    ids = Tokenizer([], context=6).batch(["", "ab", "abcd"])
    a, b, c, d = (3 + ord(letter) for letter in "abcd")
    expected = [[1, 2, 0, 0, 0, 0], [1, a, b, 2, 0, 0], [1, a, b, c, d, 2]]
    assert ids.dtype == torch.int64 and ids.tolist() == expected


def test_a_caption_that_just_fits_is_not_warned_about_and_one_more_token_is_cut():
    tokenizer = Tokenizer([], context=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = tokenizer.batch(["abcd"])
    with pytest.warns(UserWarning, match=r"2 of 4 .* 7 tokens .* first 4 were read") as seen:
        cut = tokenizer.batch(["abcdefg", "", "abcde", "abcd"])
    assert len(seen) == 1 and seen[0].filename == __file__
    assert cut[0].tolist() == cut[2].tolist() == cut[3].tolist() == whole[0].tolist()
    with pytest.warns(UserWarning, match=r"1 of 1 .* 5 tokens"):
        tokenizer.batch(["abcde"])


def test_batch_of_nothing_has_no_rows(trained):
    assert trained.batch([]).shape == (0, 16) and trained.batch([]).dtype == torch.int64


# ---- there and back through a file

def test_a_saved_tokenizer_loads_equal(tmp_path):
    texts = [*CAPTIONS, "\u7ea2\u8272 \u7ea2\u8272", "\0\0 \0\0", '"" \\\\ "" \\\\']
    tokenizer = Tokenizer.train(texts, context=9)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(str(tmp_path / "tokenizer.json"))
    assert again.merges == tokenizer.merges and again.context == 9
    assert again.state() == tokenizer.state() and again.pieces == tokenizer.pieces
    assert [again.encode(text) for text in texts] == [tokenizer.encode(text) for text in texts]
    lines = [line.strip() for line in (tmp_path / "tokenizer.json").read_text().splitlines()]
    assert '"context": 9,' in lines and '"re"' in lines  # a person can read it
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_state_is_plain_and_comes_back_through_json_pickle_and_a_safe_checkpoint(trained, tmp_path):
    state = trained.state()
    torch.save({"tokenizer": state}, tmp_path / "checkpoint.pt")
    safe = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["tokenizer"]
    for copy in [state, safe, json.loads(json.dumps(state)), pickle.loads(pickle.dumps(state))]:
        assert Tokenizer.from_state(copy).merges == trained.merges


def test_a_save_that_fails_leaves_the_old_file_whole(trained, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    trained.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Tokenizer([]).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"merges": []}',
                                     b"[" * 100_000, b'"minidalle tokenizer"'])
def test_a_foreign_file_is_one_value_error_with_its_name(tmp_path, content):
    (tmp_path / "foreign.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"foreign\.json is no tokenizer file"):
        Tokenizer.load(tmp_path / "foreign.json")


@pytest.mark.parametrize("change, message", [
    ({"kind": "model"}, "not the state"),
    ({"format": 99}, "format is 99"),
    ({"specials": {"pad": 0, "start": 2, "end": 1}}, "specials"),
    ({"context": "16"}, "context"),
    ({"context": 1}, "context"),
    ({"merges": None}, "damaged"),
    ({"merges": [["a", "b"], ["zz", "c"]]}, "after 1 merges .*zz"),
    ({"merges": [["a", "b"], ["a", "b"]]}, "same piece"),
    ({"merges": [["a", "b"], ["c"]]}, "damaged"),
    ({"merges": [[97, 98]]}, "damaged"),
    ({"merges": [[["a"], "b"]]}, "damaged"),
])
def test_a_damaged_state_is_a_value_error_that_says_where(trained, change, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_state(trained.state() | change)


@pytest.mark.parametrize("key", ["kind", "format", "specials", "context", "merges"])
def test_a_state_without_a_key_is_a_value_error_that_names_it(trained, key):
    state = trained.state()
    del state[key]
    with pytest.raises(ValueError, match="tokenizer"):
        Tokenizer.from_state(state)


# ---- wrong arguments

@pytest.mark.parametrize("call, message", [
    (lambda: Tokenizer.train("abc"), "train([text])"),
    (lambda: Tokenizer.train(["abc"], vocab_size=258), "258"),
    (lambda: Tokenizer.train(["abc"], context=1), "context is 1"),
    (lambda: Tokenizer([]).batch("abc"), "batch([text])"),
    (lambda: Tokenizer([]).decode([3, 259]), "id 259 is not in 0..258"),
    (lambda: Tokenizer([]).decode([-1]), "id -1"),
    (lambda: Tokenizer([]).encode("a \ud83d"), "surrogate"),
    (lambda: Tokenizer([(100, 259)]), "merge (100, 259)"),
    (lambda: Tokenizer([(2, 100)]), "merge (2, 100)"),
])
def test_a_wrong_argument_is_a_value_error_that_names_it(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
