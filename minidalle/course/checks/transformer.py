r"""The exercises of lesson 03: attention, written by hand.

in -> out   EXERCISES: softmax, attention, causal_mask, masked_attention, split_heads, cached_step
idea        Each mistake is the right function with one line changed, so that reading it beside
            transformer.py shows what went wrong.
"""
import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.transformer import KeysValues, attention, causal_mask

LESSON = "03_transformer"


def between(low: int, high: int, generator: Generator) -> int:
    """A whole number, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def of_section(number: int, *mistakes: Mistake) -> tuple[Mistake, ...]:
    """The mistakes, each with the section of the lesson that is to be read again."""
    return tuple(replace(one, message=f"{one.message[:-1]} (see section {number})"
                                      f"{one.message[-1]}") for one in mistakes)


# ---- softmax

def softmax(x: Tensor) -> Tensor:
    """x (B,T) -> (B,T): each row positive, with the sum 1."""
    return x.softmax(dim=-1)


def softmax_inputs(g: Generator) -> tuple:
    """Rows round 0, 1000 and -1000: their softmax is harmless, their exp is not. In the last row
    one number stands 1000 above the others: what is not its maximum will not do either."""
    x = torch.randn(4, between(5, 7, g), generator=g)
    x += torch.tensor([[0.0], [1000.0], [-1000.0], [0.0]])
    x[3, between(1, x.shape[1] - 2, g)] += 1000     # neither the first nor the last
    return (x,)


SOFTMAX = Exercise(
    "transformer.softmax", LESSON, 1, softmax, (softmax_inputs,),
    of_section(1,
        Mistake(
            "exp overflows",
            "The formula is right, but exp(1000) is infinite in a computer and exp(-1000) is 0, "
            "so some rows are NaN. What can you take away from a whole row that leaves its "
            "softmax as it was?",
            lambda x: x.exp() / x.exp().sum(dim=-1, keepdim=True)),
        Mistake(
            "one maximum for the whole table",
            "You subtract one maximum from all rows: in a row far below it every exp is 0, and 0 "
            "/ 0 is NaN. Each row needs a maximum of its own.",
            lambda x: (x - x.max()).exp() / (x - x.max()).exp().sum(dim=-1, keepdim=True)),
        Mistake(
            "not the maximum subtracted",
            "From each row you subtract something other than its maximum, such as the mean, the "
            "minimum or the first number. In a row like [0, 0, 1000, 0] too much is left over, and "
            "its exp is infinite: only below the maximum is no exp larger than 1.",
            lambda x: ((e := (x - x.mean(dim=-1, keepdim=True)).exp())
                       / e.sum(dim=-1, keepdim=True))),
        Mistake(
            "sums to 1 over the columns",
            "Your columns sum to 1, and the rows should. Look at the dim of your sum: the last "
            "dimension runs along a row.",
            lambda x: x.softmax(dim=0)),
        Mistake(
            "divided by the sums of the columns",
            "You take the maximum of each row, but divide by the sum of each column, so that the "
            "columns sum to 1 and not the rows. Give the sum the dim of the maximum, and "
            "keepdim=True so that it lies beside its row.",
            lambda x: (e := (x - x.amax(dim=-1, keepdim=True)).exp()) / e.sum(dim=0)),
        Mistake(
            "sums to 1 over the whole table",
            "All your numbers together sum to 1, where each row should do so by itself. Give the "
            "sum a dim, and keepdim=True so that it lies beside its row.",
            lambda x: (s := (x - x.amax(dim=-1, keepdim=True)).exp()) / s.sum()),
        Mistake(
            "not divided by the sum",
            "These are the exponentials, largest 1 in each row, but they do not sum to 1 yet: a "
            "division is missing.",
            lambda x: (x - x.amax(dim=-1, keepdim=True)).exp()),
        Mistake(
            "without exp",
            "You divide the numbers themselves by their sum. Then a negative score gives a "
            "negative weight; the exponential comes first.",
            lambda x: x / x.sum(dim=-1, keepdim=True)),
        Mistake(
            "log_softmax",
            "This is the logarithm of the answer (all your numbers are negative). Weights lie "
            "between 0 and 1.",
            lambda x: x.log_softmax(dim=-1)),
    ), "rows sum to 1, even where exp would overflow",
    # subtle: near 1000 two float32 are 6e-5 apart, so x - logsumexp(x), which is right, is half
    # of that off, and so is its exp
    tolerance=5e-5, learns=True)


# ---- attention

def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (B,h,Tq,d), k and v (B,h,Tk,d) -> (B,h,Tq,d)."""
    return attention(q, k, v)


def attention_inputs(g: Generator) -> tuple:
    """As many queries as keys, so that a softmax over the wrong one runs; d is larger, and not
    8 or 12, where h heads would make sqrt(h d) the same as d / 2."""
    B, h, T, d = between(1, 3, g), between(2, 3, g), between(4, 6, g), between(9, 11, g)
    q, k, v = torch.randn(3, B, h, T, d, generator=g)
    return q, k, v


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / math.sqrt(q.shape[-1])


ATTENTION = Exercise(
    "transformer.attention", LESSON, 2, plain_attention, (attention_inputs,),
    of_section(2,
        Mistake(
            "divided by d",
            "Your scores are divided by d, and so become too small: the softmax hardly prefers "
            "any key. A sum of d products is about sqrt(d) large, not d.",
            lambda q, k, v: (q @ k.mT / q.shape[-1]).softmax(dim=-1) @ v),
        Mistake(
            "not divided at all",
            "Your scores are never divided. The wider the head, the larger they get, until the "
            "softmax picks one key and its gradient dies; what does the formula have below Q K^T?",
            lambda q, k, v: (q @ k.mT).softmax(dim=-1) @ v),
        Mistake(
            "divided by d ** 1/2 without brackets",
            "Python reads d ** 1/2 as (d ** 1) / 2, and so your scores are divided by d, and then "
            "by 2. Write d ** 0.5, or math.sqrt(d).",
            lambda q, k, v: (q @ k.mT / q.shape[-1] ** 1/2).softmax(dim=-1) @ v),
        Mistake(
            "divided by (d ** 1/2)",
            "Python reads d ** 1/2 as (d ** 1) / 2, and so your scores are divided by half of d. "
            "Write d ** 0.5, or math.sqrt(d).",
            lambda q, k, v: (q @ k.mT / (q.shape[-1] ** 1/2)).softmax(dim=-1) @ v),
        Mistake(
            "multiplied by sqrt(d)",
            "You multiply the scores by sqrt(d), and they become larger still. Divide: look at the "
            "brackets, and at the sign of the exponent.",
            lambda q, k, v: (q @ k.mT * math.sqrt(q.shape[-1])).softmax(dim=-1) @ v),
        Mistake(
            "divided by the square root of the number of keys",
            "You divide by the square root of the number of keys T. It is the width d of a key "
            "that makes scores large: look at which entry of the shape you take.",
            lambda q, k, v: (q @ k.mT / math.sqrt(k.shape[-2])).softmax(dim=-1) @ v),
        Mistake(
            "divided by the square root of the whole width",
            "You divide by sqrt(h d), from the width of all heads together. Each head has a table "
            "of scores of its own, and they are sums of only d products: divide by sqrt(d).",
            lambda q, k, v: (q @ k.mT / math.sqrt(q.shape[1] * q.shape[-1])).softmax(dim=-1) @ v),
        Mistake(
            "softmax over the queries",
            "Your weights sum to 1 over the queries. Each query shares out its own attention over "
            "the keys, so each row of the table (Tq,Tk) must sum to 1: look at dim.",
            lambda q, k, v: scores(q, k).softmax(dim=-2) @ v),
        Mistake(
            "softmax over the heads",
            "Your softmax runs over the heads, or the batch. The table of scores is (B,h,Tq,Tk), "
            "and keys are its last dimension.",
            lambda q, k, v: scores(q, k).softmax(dim=1) @ v),
        Mistake(
            "no softmax",
            "You take the values with the bare scores as weights. Weights must be positive and "
            "sum to 1 for each query: something stands between the scores and V.",
            lambda q, k, v: scores(q, k) @ v),
        Mistake(
            "queries and keys swapped",
            "Your table of scores has the keys as rows and the queries as columns. The row "
            "belongs to the query, which is the one that asks: Q comes first, and K is "
            "transposed.",
            lambda q, k, v: scores(k, q).softmax(dim=-1) @ v),
        Mistake(
            "keys reshaped in place of transposed",
            "You bring the keys to (B,h,d,Tk) by view or reshape, which keeps the numbers in their "
            "old order and so mixes the keys. Exchange the last two dimensions: k.mT, or "
            "k.transpose(-2, -1).",
            lambda q, k, v: scores(q, k.reshape(k.mT.shape).mT).softmax(dim=-1) @ v),
        Mistake(
            "keys averaged in place of values",
            "You average the keys. The keys only say where to look; what is read there are the "
            "values.",
            lambda q, k, v: scores(q, k).softmax(dim=-1) @ k),
        Mistake(
            "divided after the softmax",
            "You divide by sqrt(d) after the softmax, so that your weights no longer sum to 1. It "
            "is the scores that are too large, before the softmax.",
            lambda q, k, v: (q @ k.mT).softmax(dim=-1) / math.sqrt(q.shape[-1]) @ v),
        Mistake(
            "a causal mask",
            "Your queries do not see what comes after them. No mask is asked for here: every query "
            "hears every key.",
            lambda q, k, v: attention(q, k, v, causal_mask(q.shape[2], k.shape[2]))),
    ), "the same as PyTorch's own attention, for several heads and widths", learns=True)


# ---- the causal mask

def causal(Tq: int, Tk: int) -> Tensor:
    """(Tq,Tk) bool, True = may attend: the queries are the last Tq of the Tk positions."""
    return causal_mask(Tq, Tk)


def causal_inputs(g: Generator) -> tuple:
    """Some new positions after a past: what lies off the diagonals of a square differs here."""
    Tq = between(2, 4, g)
    return Tq, Tq + between(2, 4, g)


def without_past(g: Generator) -> tuple:
    """The square of training."""
    T = between(3, 5, g)
    return T, T


def one_query(g: Generator) -> tuple:
    """The next token, when a text is written: far along, so that it must see far back."""
    return 1, between(7, 9, g)


def own_position(Tq: int, Tk: int) -> tuple[Tensor, Tensor]:
    """Positions of the queries (Tq,1) and of the keys (Tk,)."""
    return torch.arange(Tk - Tq, Tk)[:, None], torch.arange(Tk)


def compare_positions(rule):
    return lambda Tq, Tk: rule(*own_position(Tq, Tk))


CAUSAL = Exercise(
    "transformer.causal_mask", LESSON, 2, causal, (causal_inputs, without_past, one_query),
    of_section(4,
        Mistake(
            "cannot see itself",
            "Your token sees only what stands before it, and not itself, so the first token has "
            "nothing to look at. One comparison is strict that should not be, or a diagonal is "
            "one off.",
            compare_positions(lambda query, key: key < query)),
        Mistake(
            "sees the next token",
            "Your token sees one position too far: the next token, which it is to predict. Check "
            "the diagonal.",
            compare_positions(lambda query, key: key <= query + 1)),
        Mistake(
            "sees the next token: tril(diagonal=1)",
            "Your diagonal is always 1, so that without a past a token sees the next one, which it "
            "is to predict. The diagonal belongs at 0 in a square, and moves with the number of "
            "keys before the first query.",
            lambda Tq, Tk: torch.ones(Tq, Tk, dtype=torch.bool).tril(diagonal=1)),
        Mistake(
            "aligned at the first key",
            "Your first query sits at the first key, as if there were no past. The queries are "
            "the LAST Tq of the Tk positions: of 2 queries and 5 keys, the first query is "
            "position 3.",
            lambda Tq, Tk: torch.ones(Tq, Tk, dtype=torch.bool).tril()),
        Mistake(
            "True and False swapped",
            "Your mask is the exact opposite: here True means \"may attend\".",
            compare_positions(lambda query, key: key > query)),
        Mistake(
            "sees the future only",
            "Your token sees itself and what comes after it. It must see itself and what came "
            "before: turn the comparison round, or use the other triangle.",
            compare_positions(lambda query, key: key >= query)),
        Mistake(
            "nothing hidden",
            "Your mask is True everywhere, so every query sees the future. Compare the position of "
            "each key with that of the query.",
            lambda Tq, Tk: torch.ones(Tq, Tk, dtype=torch.bool)),
        Mistake(
            "keys as rows",
            "Your mask is transposed, (Tk,Tq). Rows are queries and columns are keys, as in the "
            "table of scores.",
            lambda Tq, Tk: causal_mask(Tq, Tk).mT),
        Mistake(
            "0 and -inf in place of True and False",
            "This is a mask to be added to the scores (0 and -inf). Return the bool mask, True = "
            "may attend; who uses it can turn it into scores.",
            lambda Tq, Tk: torch.zeros(Tq, Tk).masked_fill(~causal_mask(Tq, Tk), -math.inf)),
    ), "each query sees itself and all before it, with a past and without looking ahead")


# ---- attention with a mask

def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """As attention; mask (Tq,Tk) bool, True = may attend."""
    return attention(q, k, v, mask)


def masked_inputs(g: Generator) -> tuple:
    """Every query may look at some keys and not at others; the first not at itself."""
    q, k, v = attention_inputs(g)
    T = q.shape[-2]
    mask = torch.rand(T, T, generator=g) < 0.6
    diagonal = torch.eye(T, dtype=torch.bool)
    mask = (mask | diagonal) & ~diagonal.roll(1, dims=1)
    mask[0, 0], mask[0, 2], mask[1, 0] = False, True, True  # and each key is seen by some query
    return q, k, v, mask


def far_down(g: Generator) -> tuple:
    """All scores lie near -2000, in whole quarters, which float32 holds exactly: a forbidden one
    must lie far below."""
    *_, mask = masked_inputs(g)
    q, k, v = torch.randint(-1, 2, (3, 2, 2, len(mask), 16), generator=g).float()
    q[..., 0], k[..., 0] = 80, -100
    return q, k, v, mask


MASKED = Exercise(
    "transformer.masked_attention", LESSON, 2, masked_attention, (masked_inputs, far_down),
    of_section(4,
        Mistake(
            "masked with 0 before the softmax",
            "You set forbidden scores to 0 before the softmax. But exp(0) is 1: a forbidden key "
            "still gets weight, often more than an allowed one; which score does softmax turn "
            "into 0?",
            lambda q, k, v, mask: scores(q, k).masked_fill(~mask, 0).softmax(dim=-1) @ v),
        Mistake(
            "a number that is not small enough",
            "You set forbidden scores to some number such as -100, and scores can lie below it: "
            "then the forbidden keys get all the weight. Only -inf lies below every score.",
            lambda q, k, v, mask: scores(q, k).masked_fill(~mask, -100).softmax(dim=-1) @ v),
        Mistake(
            "masked after the softmax",
            "You remove forbidden weights after the softmax, so that the rest no longer sums to "
            "1: what the forbidden keys took is lost. Mask the scores, before they are shared "
            "out.",
            lambda q, k, v, mask: scores(q, k).softmax(dim=-1).masked_fill(~mask, 0) @ v),
        Mistake(
            "mask turned round",
            "You hide the keys that may be seen, and show the others: True means \"may attend\" "
            "here, while masked_fill fills where it is True.",
            lambda q, k, v, mask: scores(q, k).masked_fill(mask, -math.inf).softmax(dim=-1) @ v),
        Mistake(
            "mask transposed",
            "You use the mask with queries and keys exchanged. Its rows are the queries, like "
            "those of the scores.",
            lambda q, k, v, mask: attention(q, k, v, mask.mT)),
        Mistake(
            "mask not used",
            "Your answer is attention without any mask: every query sees every key. Did the "
            "result of masked_fill get lost (it returns a new tensor)?",
            lambda q, k, v, mask: attention(q, k, v)),
        Mistake(
            "causal mask in place of the one given",
            "You build a causal mask of your own, and the mask that is given goes unused. Any mask "
            "may come in: hide what that one forbids.",
            lambda q, k, v, mask: attention(q, k, v, causal_mask(*mask.shape))),
        Mistake(
            "softmax over the queries",
            "The mask is right, but your softmax runs over the queries (dim -2). Each query shares "
            "out its own attention over the keys, which are the last dimension.",
            lambda q, k, v, mask:
                scores(q, k).masked_fill(~mask, -math.inf).softmax(dim=-2) @ v),
        Mistake(
            "mask added to the scores",
            "You add the bool mask to the scores, so that allowed keys get 1 more. Forbidden ones "
            "must get minus infinity.",
            lambda q, k, v, mask: (scores(q, k) + mask.float()).softmax(dim=-1) @ v),
        Mistake(
            "not divided by sqrt(d)",
            "The mask is right, but the scores are not divided by sqrt(d), as in attention "
            "without a mask.",
            lambda q, k, v, mask: (q @ k.mT).masked_fill(~mask, -math.inf).softmax(dim=-1) @ v),
    ), "forbidden keys get no weight and the others sum to 1", learns=True)


# ---- heads

def split_heads(x: Tensor, heads: int) -> Tensor:
    """x (B,T,D) -> (B,h,T,d): head i gets the numbers i d to (i + 1) d of every token."""
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


def heads_inputs(B: int, h: int, T: int, d: int):
    """T is a multiple of the heads, so that wrong cuts fit too; B, h, T and d all differ."""
    return lambda g: (torch.randn(B, T, h * d, generator=g), h)


SPLIT = Exercise(
    "transformer.split_heads", LESSON, 2, split_heads,
    (heads_inputs(5, 2, 8, 7), heads_inputs(4, 3, 9, 5), heads_inputs(1, 4, 12, 6)),
    of_section(5,
        Mistake(
            "view without transpose",
            "The shape is right, but the numbers sit in the wrong places: a view straight to "
            "(B,h,T,d) cuts the tokens apart, and a head gets pieces of several. Cut the last "
            "dimension into (h,d) first, then move h forward.",
            lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1)),
        Mistake(
            "heads interleaved",
            "Your head i takes every h-th number of a token. It should take d neighbouring ones: "
            "cut D into (h,d), not into (d,h).",
            lambda x, heads: x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)),
        Mistake(
            "time cut in place of width",
            "You cut the T tokens into h groups, and so each head sees a part of the text at full "
            "width. Each head sees all tokens, and a part of the width D.",
            lambda x, heads: torch.stack(x.chunk(heads, dim=1), dim=1)),
        Mistake(
            "heads left behind the tokens",
            "Your shape is (B,T,h,d): the cut is right, but h and T must change places, so that "
            "each head is a small batch of its own.",
            lambda x, heads: x.unflatten(-1, (heads, -1))),
        Mistake(
            "heads before the batch",
            "Your shape is (h,B,T,d). Stack the heads behind the batch: (B,h,T,d).",
            lambda x, heads: torch.stack(x.chunk(heads, dim=-1), dim=0)),
        Mistake(
            "tokens and numbers exchanged",
            "Your shape is (B,h,d,T): one transpose too many, or of the wrong two dimensions. "
            "Only T and h change places.",
            lambda x, heads: torch.stack(x.chunk(heads, dim=-1), dim=1).mT),
    ), "each head holds its own neighbouring numbers of every token", learns=True)


# ---- one step with a cache

def cached_step(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor
                ) -> tuple[Tensor, Tensor, Tensor]:
    """The new positions q, k, v (B,h,n,d) after those held, keys and values (B,h,T,d).

    Returns what the new positions see (B,h,n,d), and all keys and values (B,h,T+n,d).
    """
    held = KeysValues()
    held.append(keys, values)
    keys, values = held.append(k, v)
    return attention(q, keys, values, causal_mask(q.shape[2], keys.shape[2])), keys, values


def cached_inputs(n: int):
    """n new positions, and more of them held."""
    def draw(g: Generator) -> tuple:
        B, h, d = between(2, 3, g), n + 1, between(3, 5, g)
        q, k, v = torch.randn(3, B, h, n, d, generator=g)
        return q, k, v, *torch.randn(2, B, h, n + between(1, 3, g), d, generator=g)
    return draw


def step(q, k, v, keys, values, see):
    """The step with another rule of what the new queries see: see(n, T + n) -> bool mask."""
    keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
    return attention(q, keys, values, see(q.shape[2], keys.shape[2])), keys, values


def in_front(q, k, v, keys, values):
    keys, values = torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)
    return attention(q, keys, values, causal_mask(q.shape[2], keys.shape[2])), keys, values


def held_only(q, k, v, keys, values):
    return attention(q, keys, values), *step(q, k, v, keys, values, causal_mask)[1:]


def new_only(q, k, v, keys, values):
    n = q.shape[2]
    return attention(q, k, v, causal_mask(n, n)), *step(q, k, v, keys, values, causal_mask)[1:]


def not_returned(q, k, v, keys, values):
    return step(q, k, v, keys, values, causal_mask)[0], keys, values


def exchanged(q, k, v, keys, values):
    seen, keys, values = step(q, k, v, keys, values, causal_mask)
    return seen, values, keys


def not_divided(q, k, v, keys, values):
    return step(q * math.sqrt(q.shape[-1]), k, v, keys, values, causal_mask)


CACHED = Exercise(
    "transformer.cached_step", LESSON, 3, cached_step,
    # one new token is what writing does; several must not see ahead, and three tell "sees all
    # the new ones" from "sees the next one"
    (cached_inputs(3), cached_inputs(1), cached_inputs(2)),
    of_section(7,
        Mistake(
            "positions counted from 0",
            "Your first new query sees only the first key, as if nothing had been held. It stands "
            "at position T, after the T that are held, and sees all of those.",
            lambda *args: step(*args, lambda n, T: torch.ones(n, T, dtype=torch.bool).tril())),
        Mistake(
            "new positions see ahead",
            "Every new query sees all the new keys, later ones too. That goes unnoticed with one "
            "new token at a time; with several, they need the causal mask.",
            lambda *args: step(*args, lambda n, T: None)),
        Mistake(
            "cache overwritten",
            "You keep only the new keys and values, and the past is forgotten. Put them behind "
            "those that are held.",
            lambda q, k, v, keys, values: (attention(q, k, v, causal_mask(q.shape[2], k.shape[2])),
                                           k, v)),
        Mistake(
            "new keys in front",
            "You put the new keys and values before those that are held. They come later, so they "
            "belong behind: order is time.",
            in_front),
        Mistake(
            "new keys not seen",
            "You attend before appending, so that a new token sees neither itself nor the other "
            "new ones. Append first.",
            held_only),
        Mistake(
            "only the new keys seen",
            "The keys and values that you return are right, but your new tokens see only one "
            "another, and nothing of the past. Let them attend to all keys and values, those held "
            "and the new ones.",
            new_only),
        Mistake(
            "longer cache not returned",
            "What your queries see is right, but you return the old keys and values: the next "
            "step would not know these positions.",
            not_returned),
        Mistake(
            "values appended with k",
            "You append k to the values, as you do to the keys. The values go on with v.",
            lambda q, k, v, keys, values: step(q, k, k, keys, values, causal_mask)),
        Mistake(
            "keys and values exchanged",
            "What your queries see is right, but you return the values where the keys belong, and "
            "the keys where the values do. The order is: seen, keys, values.",
            exchanged),
        Mistake(
            "not divided by sqrt(d)",
            "Your cache and your mask are right, but the scores are not divided by sqrt(d). The "
            "attention with a mask that you have written does that.",
            not_divided),
        Mistake(
            "mask one off",
            "Your new tokens see the past, but not themselves. A token attends to itself as well: "
            "check the diagonal, with T positions held.",
            lambda *args: step(*args, compare_positions(lambda query, key: key < query))),
        Mistake(
            "new positions see the next one",
            "Each new token sees one position too far: the next token, which it is to predict. "
            "Check the diagonal, with T positions held.",
            lambda *args: step(*args, compare_positions(lambda query, key: key <= query + 1))),
    ), "appended and seen as in one pass over the whole text")


TEST = hunt(CACHED, "positions counted from 0", "new positions see ahead", "cache overwritten",
    "new keys in front", "new keys not seen", "only the new keys seen", "longer cache not returned",
    "values appended with k", "keys and values exchanged", "not divided by sqrt(d)")
EXERCISES = (SOFTMAX, ATTENTION, CAUSAL, MASKED, SPLIT, CACHED, TEST)
