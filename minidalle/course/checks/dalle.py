r"""The exercises of lesson 08: a caption and a picture as one sentence, and how to go on with it.

in -> out   EXERCISES: inputs_and_targets, weighted_loss, top_k_logits, top_p_logits, guided
idea        Each mistake is the right function with one line changed. No two logits of a row are
            equal and no sum comes near p, so that every way of rounding keeps the same codes.
"""
import math
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, nll_loss

from minidalle import dalle
from minidalle.course.checks import Exercise, Mistake, Result, hunt
from minidalle.course.checks.transformer import between, of_section
from minidalle.dvae import Dvae, DvaeConfig

LESSON = "08_dalle"


# ---- one sentence, and what comes next

def inputs_and_targets(ids: Tensor, codes: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """ids (B,T) below vocab, codes (B,N) -> inputs and targets (B,T+N-1), one token ahead."""
    tokens = sentence(ids, codes, vocab)
    return tokens[:, :-1], tokens[:, 1:]


def sentence(ids: Tensor, codes: Tensor, offset: int) -> Tensor:
    """(B,T+N): the words, then the codes, which become tokens from offset on."""
    return torch.cat([ids, offset + codes], dim=1)


def shifted(tokens: Tensor) -> tuple[Tensor, Tensor]:
    return tokens[:, :-1], tokens[:, 1:]


def sentence_inputs(sizes, rare: int = 3):
    """The largest id is `rare` below the end of the vocabulary; code 0 too. A vocabulary of which
    all occurs is larger than a byte can count. Captions of some length
    end in padding, which is 0: all in one, and the first in two."""
    def draw(g: Generator) -> tuple:
        (B, T, N), vocab = sizes(g), between(20, 40, g) if rare > 1 else between(300, 400, g)
        ids = torch.randint(1, vocab - rare, (B, T), generator=g)
        codes = torch.randint(1, 64, (B, N), generator=g)
        if T > 2:
            ids[:, -1], ids[0, -2] = 0, 0
        codes[-1, -1] = 63
        ids[-1, 0], codes[0, 0] = vocab - rare, 0
        return ids, codes, vocab
    return draw


def words_and_codes(g: Generator) -> tuple[int, int, int]:
    return between(2, 3, g), between(4, 5, g), between(6, 9, g)


def square(g: Generator) -> tuple[int, int, int]:
    return 3 * (between(3, 4, g),)


INPUTS = Exercise(
    "dalle.inputs_and_targets", LESSON, 2, inputs_and_targets,
    (sentence_inputs(words_and_codes), sentence_inputs(square, rare=1),
     sentence_inputs(lambda g: (1, 1, 1)), sentence_inputs(lambda g: (1, 6, 4), rare=1),
     sentence_inputs(lambda g: (4, 1, between(4, 9, g)), rare=7)),
    of_section(1,
        Mistake(
            "not shifted",
            "Your targets are the inputs themselves, and copying would be enough to be right. Each "
            "place should say the NEXT token.",
            lambda ids, codes, vocab: 2 * (sentence(ids, codes, vocab)[:, :-1],)),
        Mistake(
            "shifted the wrong way",
            "Your inputs are one token ahead of the targets, so each place says what came before. "
            "Exchange the two.",
            lambda ids, codes, vocab: shifted(sentence(ids, codes, vocab))[::-1]),
        Mistake(
            "words and codes in one range",
            "Code 7 and word 7 are the same token in your sentence. Codes need numbers of their "
            "own, behind the last word of the vocabulary.",
            lambda ids, codes, vocab: shifted(sentence(ids, codes, 0))),
        Mistake(
            "behind the largest word of the batch",
            "You number the codes behind the largest id that happens to occur. In another batch "
            "the same code would be another token: the vocabulary is the same everywhere.",
            lambda ids, codes, vocab: shifted(sentence(ids, codes, int(ids.max()) + 1))),
        Mistake(
            "one below",
            "Code 0 gets the number of the last word. Words are 0 to vocab - 1, so the first code "
            "is token vocab.",
            lambda ids, codes, vocab: shifted(sentence(ids, codes, vocab - 1))),
        Mistake(
            "one above",
            "You leave out a number between words and codes. Words are 0 to vocab - 1, so the "
            "first code is token vocab.",
            lambda ids, codes, vocab: shifted(sentence(ids, codes, vocab + 1))),
        Mistake(
            "the words moved in place of the codes",
            "You add vocab to the words. They keep their ids, and the codes move behind them.",
            lambda ids, codes, vocab: shifted(torch.cat([ids + vocab, codes], dim=1))),
        Mistake(
            "codes before the words",
            "Your sentence begins with the picture. Then the codes could not see the caption: it "
            "comes first.",
            lambda ids, codes, vocab: shifted(torch.cat([codes + vocab, ids], dim=1))),
        Mistake(
            "the last token kept in the inputs",
            "Your inputs are one token longer than the targets. Nothing comes after the last code, "
            "so it is no input.",
            lambda ids, codes, vocab: (sentence(ids, codes, vocab),
                                       sentence(ids, codes, vocab)[:, 1:])),
        Mistake(
            "rolled round",
            "You roll the sentence, so that after the last code the first word is to come. Nothing "
            "comes after the last code: leave out that place.",
            lambda ids, codes, vocab: (sentence(ids, codes, vocab),
                                       sentence(ids, codes, vocab).roll(-1, dims=1))),
    ), "one sentence, and every place says what comes next")


# ---- the loss with the paper's weights

def weighted_loss(text_logits: Tensor, text: Tensor, code_logits: Tensor, codes: Tensor) -> Tensor:
    """text_logits (B,T,V), text (B,T), code_logits (B,N,K), codes (B,N) -> scalar, in nats."""
    return weighted(dalle.TEXT_WEIGHT, 1 - dalle.TEXT_WEIGHT)(text_logits, text, code_logits, codes)


def entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def weighted(words: float, picture: float, loss=entropy):
    """The loss with other weights, or of another kind: loss(logits, targets)."""
    return lambda text_logits, text, code_logits, codes: (
        words * loss(text_logits, text) + picture * loss(code_logits, codes))


def summed(logits: Tensor, targets: Tensor) -> Tensor:
    return entropy(logits, targets, "sum")


def of_bare_exp(logits: Tensor, targets: Tensor) -> Tensor:
    """The formula as it stands, which overflows."""
    chosen = logits.gather(2, targets[..., None]).exp()
    return -(chosen / logits.exp().sum(dim=2, keepdim=True)).log().mean()


def of_log_softmax(logits: Tensor, targets: Tensor) -> Tensor:
    return nll_loss(logits.softmax(dim=2).log().flatten(0, 1), targets.flatten())


def viewed(logits: Tensor, targets: Tensor) -> Tensor:
    B, T, V = logits.shape
    return cross_entropy(logits.reshape(B, V, T), targets)


def over_all_places(text_logits, text, code_logits, codes):
    places = text.numel() + codes.numel()
    return (summed(text_logits, text) + summed(code_logits, codes)) / places


def loss_inputs(B: int, T: int, V: int, N: int, K: int, centre: float = 0.0, far: float = 0.0):
    """Logits round a centre; with far, a right code stands so far below the others."""
    def draw(g: Generator) -> tuple:
        text_logits = 2 * torch.randn(B, T, V, generator=g)
        code_logits = 2 * torch.randn(B, N, K, generator=g)
        text = torch.randint(V, (B, T), generator=g)
        codes = torch.randint(K, (B, N), generator=g)
        text_logits[-1, -1, text[-1, -1]] -= far
        code_logits[0, 0, codes[0, 0]] -= far
        return text_logits + centre, text, code_logits + centre, codes
    return draw


LOSS = Exercise(
    "dalle.weighted_loss", LESSON, 2, weighted_loss,
    (loss_inputs(3, 4, 7, 9, 5), loss_inputs(4, 4, 4, 4, 4), loss_inputs(1, 1, 3, 1, 6),
     loss_inputs(2, 6, 5, 4, 8, centre=100.0), loss_inputs(3, 2, 6, 5, 9, far=400.0)),
    of_section(3,
        Mistake(
            "mean over all places",
            "You average over words and codes together, so the longer of the two counts more. "
            "Average each kind by itself, then take 1/8 and 7/8 of them.",
            over_all_places),
        Mistake(
            "weights exchanged",
            "You give 7/8 to the words. Pictures are what we are after: 7/8 belongs to the codes.",
            weighted(7 / 8, 1 / 8)),
        Mistake(
            "equal weights",
            "You give words and codes the same weight. Words get 1/8 and codes 7/8.",
            weighted(1 / 2, 1 / 2)),
        Mistake(
            "weights forgotten",
            "You add the two means as they are. Words get 1/8 and codes 7/8.",
            weighted(1, 1)),
        Mistake(
            "codes only",
            "The words do not occur in your loss. They get 1/8, and help the model to read.",
            weighted(0, 7 / 8)),
        Mistake(
            "codes only, at full weight",
            "The words do not occur in your loss. They get 1/8 and the codes 7/8.",
            weighted(0, 1)),
        Mistake(
            "1/7 and 6/7",
            "You give the words 1/7. One part for the words and seven for the codes are eight "
            "parts in all.",
            weighted(1 / 7, 6 / 7)),
        Mistake(
            "divided by 7",
            "Your weights sum to 8/7. One part and seven parts are eight: divide by 8.",
            weighted(1 / 7, 1)),
        Mistake(
            "not divided",
            "You take the words once and the codes seven times. Divide by 8, so that the weights "
            "sum to 1.",
            weighted(1, 7)),
        Mistake(
            "sums in place of means",
            "You sum over batch and places, so that a larger batch has a larger loss. Average "
            "each kind over its own places.",
            weighted(1 / 8, 7 / 8, summed)),
        Mistake(
            "bits",
            "These are bits. cross_entropy and the natural logarithm give nats, which are asked "
            "for.",
            weighted(1 / 8 / math.log(2), 7 / 8 / math.log(2))),
        Mistake(
            "softmax twice",
            "You hand probabilities to cross_entropy, which makes a softmax itself. It wants the "
            "logits.",
            weighted(1 / 8, 7 / 8, lambda x, targets: entropy(x.softmax(dim=2), targets))),
        Mistake(
            "viewed in place of transposed",
            "You bring the classes to dimension 1 by view or reshape, which mixes places and "
            "classes. Transpose the logits, or flatten batch and places into one dimension.",
            weighted(1 / 8, 7 / 8, viewed)),
        Mistake(
            "exp overflows",
            "The formula is right, but exp(100) is infinite in float32. log_softmax and "
            "cross_entropy subtract the largest logit first.",
            weighted(1 / 8, 7 / 8, of_bare_exp)),
        Mistake(
            "logarithm of a softmax",
            "The formula is right, but a probability of e^-400 is 0 in float32, and the logarithm "
            "of 0 is infinite. log_softmax and cross_entropy never leave the logarithm.",
            weighted(1 / 8, 7 / 8, of_log_softmax)),
    ), "1/8 for the words and 7/8 for the codes, at large logits too",
    tolerance=5e-5, learns=True)  # near 100 two float32 are 8e-6 apart


# ---- which codes may be drawn

def top_k_logits(logits: Tensor, k: int) -> Tensor:
    """logits (B,K), k from 1 to any number -> (B,K), -inf below the k-th largest of each row."""
    return dalle.top_k_logits(logits, k)


def ranks(logits: Tensor) -> Tensor:
    """0 for the largest of each row, 1 for the next."""
    return logits.argsort(dim=1, descending=True).argsort(dim=1)


def keep(logits: Tensor, kept: Tensor) -> Tensor:
    return logits.masked_fill(~kept, -math.inf)


def untied(B: int, K: int, g: Generator) -> Tensor:
    """(B,K) numbers between -K/2 and K/2 in random order, no two of a row nearer than 1/2."""
    order = torch.rand(B, K, generator=g).argsort(dim=1)
    return order + torch.rand(B, K, generator=g) / 2 - K / 2


def top_k_inputs(B: int, K: int, low: int, high: int, size: float = 1.0):
    """k between low and high. Rows stand at different heights, so that a threshold of one row
    keeps too many of another or none."""
    def draw(g: Generator) -> tuple:
        heights = torch.linspace(-K, K, B)[torch.randperm(B, generator=g), None] * (B > 1)
        return size * (untied(B, K, g) + heights), between(low, high, g)
    return draw


def sorted_kept(logits: Tensor, k: int) -> Tensor:
    rows = logits.sort(dim=1, descending=True).values
    return keep(rows, torch.arange(rows.shape[1]).expand_as(rows) < k)


TOP_K = Exercise(
    "dalle.top_k_logits", LESSON, 2, top_k_logits,
    (top_k_inputs(4, 11, 3, 5), top_k_inputs(5, 5, 2, 3), top_k_inputs(3, 7, 1, 1, size=0.01),
     top_k_inputs(3, 8, 9, 11),
     top_k_inputs(1, 9, 3, 5, size=100.0)),
    of_section(4,
        Mistake(
            "the smallest kept",
            "You keep the k smallest logits, the least probable codes. The k largest stay.",
            lambda logits, k: keep(logits, ranks(-logits) < k)),
        Mistake(
            "0 in place of -inf",
            "You set the others to 0. A logit of 0 has a probability like any other number: only "
            "-inf is never drawn.",
            lambda logits, k: logits * (ranks(logits) < k)),
        Mistake(
            "one too many",
            "You keep k + 1 codes. The k-th largest is number k - 1, counted from 0.",
            lambda logits, k: top_k_logits(logits, k + 1)),
        Mistake(
            "one too few",
            "You drop the k-th largest as well, so with k = 1 nothing is left. What is SMALLER "
            "than the k-th largest becomes -inf.",
            lambda logits, k: keep(logits, ranks(logits) < min(k, logits.shape[1]) - 1)),
        Mistake(
            "k of the whole batch",
            "You keep k numbers of the whole table. Each row keeps its own k largest.",
            lambda logits, k: top_k_logits(logits.view(1, -1), k).view_as(logits)),
        Mistake(
            "one threshold for all rows",
            "You compare all rows with one threshold, the smallest of theirs. Each row has its own "
            "k-th largest: keep a dimension, (B,1).",
            lambda logits, k: keep(logits, logits >= logits[ranks(logits) < k].min())),
        Mistake(
            "in sorted order",
            "Your rows come back sorted, and place i no longer belongs to code i. Use the sorted "
            "ones to find the threshold only.",
            sorted_kept),
        Mistake(
            "only the largest returned",
            "You return the k largest alone, and nobody knows to which codes they belong. All K "
            "places stay, with -inf in the others.",
            lambda logits, k: logits.topk(min(k, logits.shape[1])).values),
        Mistake(
            "probabilities returned",
            "These are probabilities: you took a softmax at the end. Asked for are logits, for a "
            "top-p or a softmax may follow.",
            lambda logits, k: top_k_logits(logits, k).softmax(dim=1)),
        Mistake(
            "k larger than K",
            "Your function stops when k is larger than the number of codes. Then all of them stay: "
            "take the smaller of the two.",
            lambda logits, k: keep(logits, logits >= logits.topk(k).values[:, -1:])),
        Mistake(
            "never all of them",
            "Where k is the number of codes or more, you drop the last one. Then all of them "
            "stay.",
            lambda logits, k: keep(logits, ranks(logits) < min(k, logits.shape[1] - 1))),
    ), "the k largest of each row, for any k")


# ---- as many codes as it takes for a probability of p

def top_p_logits(logits: Tensor, p: float) -> Tensor:
    """logits (B,K), 0 < p <= 1 -> (B,K), -inf for all but the fewest most probable codes that have
    at least the probability p together."""
    return dalle.top_p_logits(logits, p)


def sums(ranked: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted logits -> the probability of each with all before it, and of all before it alone."""
    share = ranked.softmax(dim=1)
    return share.cumsum(dim=1), share.cumsum(dim=1) - share


def kept_ranks(logits: Tensor, p: float) -> Tensor:
    """Sorted by probability, which ones stay (B,K)."""
    return ranks(sorted_rows(logits)) < (top_p_logits(logits, p) > -math.inf).sum(1, keepdim=True)


def sorted_rows(logits: Tensor) -> Tensor:
    return logits.sort(dim=1, descending=True).values


def by_rank(logits: Tensor, kept: Tensor) -> Tensor:
    """Keep what `kept` says of the largest, the next, ... of each row."""
    return keep(logits, kept.gather(1, ranks(logits)))


def top_p_inputs(B: int, K: int, low: float, high: float, *sharpness: float, away: float = 0.0,
                 beside: float = 0.0):
    """p between low and high. Rows take the sharpnesses in turns: at 0.3 nearly all codes are
    needed, at 3 the first is enough. No sum of a row is nearer than 0.001 to p; with `beside` one
    of the first row lies so far from it, if it can: who cuts at p - 0.004 is found out."""
    def draw(g: Generator) -> tuple:
        p, many = low + (high - low) * torch.rand((), generator=g).item(), 40
        scale = torch.tensor(sharpness).repeat(B)[:B, None, None]
        rows = scale * untied(B * many, K, g).view(B, many, K)              # (B, many, K)
        total = rows.sort(dim=2, descending=True).values.softmax(dim=2).cumsum(dim=2)
        if beside:
            near = total[0, :, :-1]
            p = near.flatten()[(near - (low + high) / 2).abs().argmin()].item() + beside
        clear = ((total - p).abs() > 0.001)[..., :-1].all(dim=2)
        if beside:                             # the row from which p was taken
            clear[0] &= ((total[0, :, :-1] + beside - p).abs() < 1e-6).any(dim=1)
        heights = 3 * torch.randn(B, 1, generator=g) + away
        return rows[torch.arange(B), clear.int().argmax(dim=1)] + heights, p
    return draw


TOP_P = Exercise(
    "dalle.top_p_logits", LESSON, 3, top_p_logits,
    (top_p_inputs(4, 11, 0.7, 0.9, 0.3, 3.0, 0.8, beside=0.002),
     top_p_inputs(5, 5, 0.5, 0.7, 0.5, 0.2, 2.0, away=100.0),       # where a bare exp is infinite
     top_p_inputs(3, 9, 0.02, 0.08, 0.02, 1.0), top_p_inputs(3, 6, 1.0, 1.0, 0.3, 0.5),
     top_p_inputs(1, 13, 0.92, 0.98, 0.05, beside=-0.002)),
    of_section(4,
        Mistake(
            "the crossing code dropped",
            "You drop the code with which the sum reaches p, and what is left has less than p. A "
            "code stays if those BEFORE it have less than p: so the first always stays.",
            lambda logits, p: by_rank(logits, sums(sorted_rows(logits))[0] <= p)),
        Mistake(
            "the crossing code dropped, the first kept",
            "You keep the first code always, which is right, and else drop the one with which the "
            "sum reaches p: what is left has less than p. A code stays if those BEFORE it have "
            "less.",
            lambda logits, p: by_rank(logits, (sums(sorted_rows(logits))[0] <= p).index_fill(
                1, torch.tensor([0]), True))),
        Mistake(
            "one too many",
            "You keep one code more than needed: with those before it p is already reached.",
            lambda logits, p: by_rank(logits, torch.cat(
                [torch.ones(len(logits), 1).bool(), kept_ranks(logits, p)[:, :-1]], dim=1))),
        Mistake(
            "the rare ones kept",
            "You sort upwards and so keep the LEAST probable codes. Begin with the most probable "
            "one.",
            lambda logits, p: keep(logits, ranks(-logits) < (
                sums(logits.sort(dim=1).values)[1] < p).sum(dim=1, keepdim=True))),
        Mistake(
            "what should go is kept",
            "You keep exactly the codes that should go. Those stay that have p together, beginning "
            "with the most probable.",
            lambda logits, p: by_rank(logits, ~kept_ranks(logits, p))),
        Mistake(
            "sums of logits",
            "You add up logits. They become probabilities first: a softmax, then the running sum.",
            lambda logits, p: by_rank(logits, sorted_rows(logits).cumsum(dim=1)
                                      - sorted_rows(logits) < p)),
        Mistake(
            "each compared singly",
            "You compare each probability with p by itself. It is their running sum, from the "
            "most probable on, that must reach p.",
            lambda logits, p: keep(logits, logits.softmax(dim=1) >= p)),
        Mistake(
            "a share of the largest",
            "You keep what has at least p times the largest probability: that rule is called "
            "min-p. Here the running sum, from the most probable on, must reach p.",
            lambda logits, p: keep(logits, logits.softmax(dim=1)
                                   >= p * logits.softmax(dim=1).amax(dim=1, keepdim=True))),
        Mistake(
            "in sorted order",
            "Your rows come back sorted, and place i no longer belongs to code i. Put them back, "
            "or use the sorted ones to find a threshold only.",
            lambda logits, p: keep(sorted_rows(logits), kept_ranks(logits, p))),
        Mistake(
            "the mask not put back",
            "You found out in sorted order which ones stay, and lay this mask on the logits in "
            "their own order. Put it back first (scatter), or use a threshold.",
            lambda logits, p: keep(logits, kept_ranks(logits, p))),
        Mistake(
            "as many in every row",
            "You keep as many codes in every row as the first row needs. A sure row needs one, an "
            "unsure one many: count for each.",
            lambda logits, p: by_rank(logits, kept_ranks(logits, p)[:1].expand_as(logits))),
        Mistake(
            "one threshold for all rows",
            "You compare all rows with one threshold, the smallest of theirs. Each row has its "
            "own: keep a dimension, (B,1).",
            lambda logits, p: keep(logits, logits >= sorted_rows(logits)[
                kept_ranks(logits, p)].min())),
        Mistake(
            "0 in place of -inf",
            "You set the others to 0. A logit of 0 has a probability like any other number: only "
            "-inf is never drawn.",
            lambda logits, p: top_p_logits(logits, p).masked_fill(
                top_p_logits(logits, p) == -math.inf, 0.0)),
        Mistake(
            "probabilities returned",
            "These are probabilities: you took a softmax at the end. Asked for are logits, with "
            "-inf where a code may not be drawn.",
            lambda logits, p: top_p_logits(logits, p).softmax(dim=1)),
    ), "the fewest codes that reach p, with the one that crosses it")


# ---- guidance

def guided(logits: Tensor, null: Tensor, scale: float) -> Tensor:
    """logits with the caption and null without it (B,K), any scale -> logits (B,K)."""
    return null + scale * (logits - null)


def guided_inputs(B: int, K: int, low: float, high: float, size: float = 2.0):
    """A scale between low and high."""
    def draw(g: Generator) -> tuple:
        logits, null = size * torch.randn(2, B, K, generator=g) + 1
        return logits, null, low + (high - low) * torch.rand((), generator=g).item()
    return draw


def mixed(change):
    """Guidance of something else than the logits: change(logits)."""
    return lambda logits, null, scale: guided(change(logits), change(null), scale)


GUIDED = Exercise(
    "dalle.guided", LESSON, 1, guided,
    (guided_inputs(3, 7, 1.3, 3.7), guided_inputs(4, 4, -1.2, -0.7),       # away from the caption
     guided_inputs(2, 5, 1.0, 1.0), guided_inputs(3, 6, 0.0, 0.0),
     guided_inputs(1, 9, 24.0, 30.0)),
    of_section(5,
        Mistake(
            "scale counted from 0",
            "You start from the logits with the caption, so that your scale 0 is our scale 1. "
            "Start from null: at 0 the caption is forgotten, at 1 followed as learnt.",
            lambda logits, null, scale: logits + scale * (logits - null)),
        Mistake(
            "one step too few",
            "You take scale - 1 steps from null, so that your scale 1 gives null. It must give "
            "logits: take scale steps from null, or scale - 1 from logits.",
            lambda logits, null, scale: null + (scale - 1) * (logits - null)),
        Mistake(
            "sign turned",
            "You walk away from the caption: the larger the scale, the less it says. The "
            "difference is logits - null.",
            lambda logits, null, scale: null - scale * (logits - null)),
        Mistake(
            "with and without exchanged",
            "The two have changed places: your scale 1 gives null and your scale 0 gives logits. "
            "At 0 the caption is forgotten, at 1 followed as learnt.",
            lambda logits, null, scale: guided(null, logits, scale)),
        Mistake(
            "probabilities mixed",
            "You mix probabilities, and beyond scale 1 some become negative. Mix the logits; the "
            "softmax comes afterwards.",
            mixed(lambda x: x.softmax(dim=-1))),
        Mistake(
            "logarithm of mixed probabilities",
            "You mix probabilities and take the logarithm. Beyond scale 1 some are negative and "
            "have none: mix the logits themselves.",
            lambda logits, null, scale:
                guided(logits.softmax(dim=-1), null.softmax(dim=-1), scale).log()),
        Mistake(
            "logarithms of probabilities mixed",
            "You mix the logarithms of probabilities. The same codes would be drawn, but asked for "
            "is the mixture of the logits as they came: leave log_softmax out.",
            mixed(lambda x: x.log_softmax(dim=-1))),
        Mistake(
            "softmax at the end",
            "These are probabilities. Asked for are logits: temperature, top-k and top-p follow.",
            lambda logits, null, scale: guided(logits, null, scale).softmax(dim=-1)),
        Mistake(
            "the difference alone",
            "You return the exaggerated difference alone. It is a step, which begins at null.",
            lambda logits, null, scale: scale * (logits - null)),
        Mistake(
            "null forgotten",
            "null does not occur in your answer: you only make the logits larger, as a low "
            "temperature does. What the caption CHANGES is exaggerated.",
            lambda logits, null, scale: scale * logits),
        Mistake(
            "1 - scale",
            "You take 1 - scale steps from logits, and so walk towards null as the scale grows. It "
            "is scale - 1 steps from logits, or scale steps from null.",
            lambda logits, null, scale: logits + (1 - scale) * (logits - null)),
        Mistake(
            "one of null too many",
            "Your two weights sum to 2 * scale - 1, so that where both agree you do not keep what "
            "they say. They sum to 1: scale for logits, 1 - scale for null.",
            lambda logits, null, scale: scale * logits + (scale - 1) * null),
        Mistake(
            "divided by the scale",
            "You divide the difference by the scale. A large scale exaggerates: multiply.",
            lambda logits, null, scale: null + (logits - null) / scale),
    ), "0 forgets the caption, 1 follows it, more exaggerates it",
    tolerance=5e-5, learns=True)    # numbers near 100 may cancel, 8e-6 apart in float32


TEST = hunt(TOP_P, "the crossing code dropped", "the crossing code dropped, the first kept",
    "one too many", "the rare ones kept", "sums of logits", "a share of the largest",
    "in sorted order", "one threshold for all rows", "0 in place of -inf", "probabilities returned")
RESULT = Result(
    "dalle.result", LESSON, {"dvae": (DvaeConfig, Dvae), "dalle": (dalle.DalleConfig, dalle.Dalle)},
    lambda words, models: partial(dalle.caption_to_picture, dalle.DalleRoad(
        words, None, models["dvae"], models["dalle"])),
    chance=1 / 120, broken=0.0,                # broken: the targets not shifted
    colours=4, bands=(0.2, 0.45, 0.65))
EXERCISES = (INPUTS, LOSS, TOP_K, TOP_P, GUIDED, RESULT, TEST)
