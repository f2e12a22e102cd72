r"""The exercises of lesson 15: an encoder that reads captions alone, a cascade that forgives.

in -> out   EXERCISES: hide_words, masked_loss, pooled, guess, dynamic_threshold, augment, told
idea        A wrong mask, mean or threshold still gives a picture, so all is compared as numbers.
            Inputs of every size take turns with the edges: nothing hidden and all of it, a draw
            that equals the share, one word that is heard, a percentile of exactly 1, a picture that
            needs no threshold beside one that does, no noise and nothing but noise.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.dvae import uniform
from minidalle.course.checks.transformer import between, of_section
from minidalle.diffusion import clip_dynamic, clip_static, mix

LESSON = "15_imagen"
PAD, START, END, FIRST = 0, 1, 2, 3        # as in tokenizer.py; words and their parts from 3 on


# ---- words that are hidden

def hide_words(ids: Tensor, draws: Tensor, share: float, gap: int) -> tuple[Tensor, Tensor]:
    """ids (B,T): start 1, words from 3 on, end 2, padding 0; draws (B,T) in [0, 1); share from 0 to
    1; gap, the id that stands for a hidden word -> ids (B,T) with the gap where a word's draw is
    below the share, and hidden (B,T) bool, True there."""
    return hide(ids, is_word(ids) & (draws < share), gap)


def is_word(ids: Tensor) -> Tensor:
    return ids >= FIRST


def hide(ids: Tensor, hidden: Tensor, gap: int) -> tuple[Tensor, Tensor]:
    return torch.where(hidden, gap, ids), hidden


def spoken(lengths: Tensor, T: int, g: Generator) -> Tensor:
    """ids (B,T) of captions with so many words each, at most T - 2."""
    ids, behind = torch.randint(FIRST, 40, (len(lengths), T), generator=g), lengths[:, None] + 1
    ids[torch.arange(T) >= behind] = PAD
    ids[torch.arange(T) == behind] = END
    ids[:, 0] = START
    return ids


def captions_inputs(size, share, low: float = 0.0, high: float = 1.0, least: int = 1):
    """size(g) -> B, T; the first caption fills its table, if there are several, the others end
    before. Of the draws of each caption start and end lie below the share, if anything does."""
    def draw(g: Generator) -> tuple:
        (B, T), s = size(g), share(g)
        lengths = torch.randint(least, T - 2, (B,), generator=g)
        if B > 1:
            lengths[0] = T - 2
        ids = spoken(lengths, T, g)
        draws = uniform((B, T), low, high, g)
        draws[(ids == START) | (ids == END)] *= s
        return ids, draws, s, between(50, 60, g)
    return draw


def tie_inputs(g: Generator) -> tuple:
    """Of the first caption one draw equals the share, one lies so little below that half precision
    takes it for the share, and others on either side; its first word is the one with the smallest
    id. Some padding of the last lies below the share."""
    ids, draws, s, gap = captions_inputs(lambda g: (between(3, 4, g), between(8, 9, g)),
                                          lambda g: 0.375)(g)
    ids[0, 1], draws[0, 1:6] = FIRST, torch.tensor([0.1, 0.375, 0.9, 0.2, 0.37495])
    draws[:, 1] = torch.where(ids[:, 1] >= FIRST, 0.05, draws[:, 1])
    draws[-1, -1] = 0.01
    ids[-1, -1] = PAD
    ids[-1, -2] = PAD if ids[-1, -2] != END else END
    return ids, draws, s, gap


def silent_inputs(g: Generator) -> tuple:
    """Captions without a word, and one with two."""
    T = between(6, 7, g)
    ids = spoken(torch.tensor([0, 2, 0]), T, g)
    return ids, uniform((3, T), 0.0, 0.3, g), 0.4, between(50, 60, g)


def by_place(choose):
    """Hidden where choose(ids, draws, share) says so."""
    return lambda ids, draws, share, gap: hide(ids, choose(ids, draws, share), gap)


def so_many(ids: Tensor, draws: Tensor, share: float) -> Tensor:
    """Of each caption the share of its words, rounded down, those with the smallest draws."""
    words = is_word(ids)
    ranks = draws.masked_fill(~words, 2.0).argsort(dim=1).argsort(dim=1)
    return words & (ranks < (share * words.sum(dim=1, keepdim=True)).long())


def at_least_one(ids: Tensor, draws: Tensor, share: float) -> Tensor:
    """In a caption where no draw is low, the word with the lowest."""
    low = is_word(ids) & (draws < share)
    first = torch.where(is_word(ids), draws, 2.0).argmin(dim=1)
    return low | (~low.any(dim=1, keepdim=True) & F.one_hot(first, ids.shape[1]).bool())


HIDE = Exercise(
    "imagen.hide_words", LESSON, 2, hide_words,
    (tie_inputs,
     captions_inputs(lambda g: 2 * (between(6, 7, g),), lambda g: 0.5),
     captions_inputs(lambda g: (between(3, 4, g), between(5, 6, g)), lambda g: 1.0),
     captions_inputs(lambda g: (between(2, 3, g), 8), lambda g: 0.0),
     captions_inputs(lambda g: (1, between(8, 9, g)), lambda g: 0.4, 0.0, 0.35, 3),
     silent_inputs), of_section(2,
        Mistake(
            "padding hidden too",
            "You hide padding as well. Behind the end nothing was said, so nothing is to be "
            "guessed: hide words alone, whose ids are 3 and more.",
            by_place(lambda ids, u, s: (u < s) & (ids != START) & (ids != END))),
        Mistake(
            "the start hidden too",
            "You hide the start token as well. It stands before every caption: hide words alone.",
            by_place(lambda ids, u, s: (u < s) & (is_word(ids) | (ids == START)))),
        Mistake(
            "the end hidden too",
            "You hide the end token as well. Where a caption ends is told by its padding: hide "
            "words alone.",
            by_place(lambda ids, u, s: (u < s) & (is_word(ids) | (ids == END)))),
        Mistake(
            "start and end hidden too",
            "You hide all but padding. Start and end are no words: their ids are 1 and 2.",
            by_place(lambda ids, u, s: (u < s) & (ids != PAD))),
        Mistake(
            "every kind of token hidden",
            "You hide whatever has a draw below the share, start, end and padding too. Hide words "
            "alone.",
            by_place(lambda ids, u, s: u < s)),
        Mistake(
            "a draw that equals the share",
            "You hide where the draw equals the share. Draws lie in [0, 1), so that BELOW the "
            "share lies just that share of them; at share 0 nothing is hidden.",
            by_place(lambda ids, u, s: is_word(ids) & (u <= s))),
        Mistake(
            "hidden and seen exchanged",
            "You hide the words whose draws are NOT below the share, so that 1 - share is hidden.",
            by_place(lambda ids, u, s: is_word(ids) & (u >= s))),
        Mistake(
            "hidden above the share",
            "You hide the words whose draws lie above the share, so that 1 - share is hidden.",
            by_place(lambda ids, u, s: is_word(ids) & (u > s))),
        Mistake(
            "padding in place of the gap",
            "You put padding, 0, where a word is hidden. Then its place looks like the end of the "
            "caption: put the gap's id.",
            lambda ids, draws, share, gap: hide_words(ids, draws, share, PAD)),
        Mistake(
            "ids multiplied by the truths",
            "You return 1 where a word is hidden, which is the start token. Put the gap's id "
            "there.",
            lambda ids, draws, share, gap: hide_words(ids, draws, share, START)),
        Mistake(
            "-100 in place of the gap",
            "You put -100 into the ids. That marks what a loss leaves out; the transformer needs "
            "an id that it knows, the gap's.",
            lambda ids, draws, share, gap: hide_words(ids, draws, share, -100)),
        Mistake(
            "the gap where nothing is hidden",
            "You keep the hidden words and put the gap everywhere else: exchange the two answers "
            "of torch.where.",
            lambda ids, draws, share, gap: (
                torch.where((h := hide_words(ids, draws, share, gap)[1]), ids, gap), h)),
        Mistake(
            "the truths turned round",
            "Your ids are right, and your truths are turned round: True is where a word is hidden.",
            lambda *args: ((r := hide_words(*args))[0], ~r[1])),
        Mistake(
            "numbers in place of bool",
            "The places are right, and your second answer holds 0 and 1 as numbers. A mask is "
            "bool.",
            lambda *args: ((r := hide_words(*args))[0], r[1].long())),
        Mistake(
            "targets in place of truths",
            "Your second answer holds the words that were hidden, and -100 elsewhere. Asked for "
            "are truths; the ids are there already.",
            lambda *args: ((r := hide_words(*args))[0], torch.where(r[1], args[0], -100))),
        Mistake(
            "the two answers exchanged",
            "You return the truths first. First come the ids, then where they are hidden.",
            lambda *args: hide_words(*args)[::-1]),
        Mistake(
            "the ids alone",
            "You return the ids alone. Asked for are two things: the ids, and where a word is "
            "hidden.",
            lambda *args: hide_words(*args)[0]),
        Mistake(
            "the truths alone",
            "You return the truths alone. Asked for are two things: the ids with gaps in them, "
            "and the truths.",
            lambda *args: hide_words(*args)[1]),
        Mistake(
            "the ids as they came",
            "Your truths are right, but the ids are as they came: the answer is still to be read "
            "in them.",
            lambda ids, *rest: (ids.clone(), hide_words(ids, *rest)[1])),
        Mistake(
            "the first caption's draws for all",
            "You use the draws of the first caption for the whole batch. Each has its own.",
            lambda ids, draws, share, gap: hide_words(ids, draws[:1], share, gap)),
        Mistake(
            "whole captions",
            "You hide all words of a caption or none, by its first draw. Each word has its own.",
            lambda ids, draws, share, gap: hide_words(ids, draws[:, :1], share, gap)),
        Mistake(
            "so many of each caption",
            "Of each caption you hide the share of its words, those with the smallest draws. Each "
            "word is hidden by its own draw, so of a short caption perhaps none is, or all.",
            by_place(so_many)),
        Mistake(
            "one word of each caption",
            "You hide the word with the smallest draw of each caption. Each word is hidden by its "
            "own draw: none may be, or several.",
            by_place(lambda ids, u, s: is_word(ids) & F.one_hot(u.masked_fill(
                ~is_word(ids), 2.0).argmin(dim=1), ids.shape[1]).bool())),
        Mistake(
            "all words hidden",
            "You hide every word, whatever its draw. Then nothing is left to guess from.",
            by_place(lambda ids, u, s: is_word(ids))),
        Mistake(
            "nothing hidden",
            "You hide nothing. Hide where the draw lies below the share.",
            by_place(lambda ids, u, s: torch.zeros_like(ids, dtype=torch.bool))),
        Mistake(
            "the first word spared",
            "You never hide the first word of a caption. It stands at place 1: place 0 is the "
            "start.",
            by_place(lambda ids, u, s: is_word(ids) & (u < s) & (torch.arange(ids.shape[1]) > 1))),
        Mistake(
            "the last place spared",
            "You look at the id at the NEXT place to see whether something is a word. Look at its "
            "own.",
            by_place(lambda ids, u, s: (u < s) & is_word(ids.roll(-1, 1)) & is_word(ids))),
        Mistake(
            "the smallest word spared",
            "You never hide the id 3. Words begin there: hide ids of 3 and more.",
            by_place(lambda ids, u, s: (ids > FIRST) & (u < s))),
        Mistake(
            "first and last place spared",
            "You spare the first and the last place of the table. Captions end at places of their "
            "own: look at the ids, and hide those of 3 and more.",
            by_place(lambda ids, u, s: F.pad((u < s)[:, 1:-1], (1, 1)))),
        Mistake(
            "truths wherever a draw is low",
            "Your ids are right, and your truths are True at start, end and padding too, where "
            "nothing was hidden. Both answers want the same places.",
            lambda ids, draws, share, gap: (hide_words(ids, draws, share, gap)[0], draws < share)),
        Mistake(
            "gaps wherever a draw is low",
            "Your truths are right, and your gaps stand in the place of start, end and padding "
            "too. Both answers want the same places.",
            lambda ids, draws, share, gap: (torch.where(draws < share, gap, ids),
                                            hide_words(ids, draws, share, gap)[1])),
        Mistake(
            "0.15 whatever comes",
            "You hide 0.15 of the words, whatever share is given. That is BERT's; our captions are "
            "short, and the share is an argument.",
            by_place(lambda ids, u, s: is_word(ids) & (u < 0.15))),
        Mistake(
            "a word of each caption at least",
            "Where no draw of a caption is low enough, you hide a word all the same. Each has a "
            "draw of its own: then nothing of it is hidden.",
            by_place(lambda ids, u, s: is_word(ids) & ((u < s) | (u == u.masked_fill(
                ~is_word(ids), 2.0).amin(dim=1, keepdim=True)) & ~(is_word(ids) & (u < s)).any(
                dim=1, keepdim=True)))),
        Mistake(
            "at least one word in each caption",
            "You hide a word in each caption, whatever its draws say. Each word has a coin of its "
            "own, and sometimes none is hidden.",
            by_place(at_least_one)),
        Mistake(
            "the first low draw alone",
            "You hide one word of a caption and stop. Each word with a low draw is hidden.",
            by_place(lambda ids, draws, share: (low := is_word(ids) & (draws < share))
                     & (low.cumsum(dim=1) == 1))),
        Mistake(
            "1 less the share",
            "You hide 1 - share of the words. Hidden is what has a draw below `share`.",
            by_place(lambda ids, draws, share: is_word(ids) & (draws < 1 - share))),
        Mistake(
            "the last caption left out",
            "You leave out the last caption: a loop over captions runs to len(ids), not to one "
            "less.",
            by_place(lambda ids, draws, share: is_word(ids) & (draws < share)
                     & (torch.arange(len(ids)) < len(ids) - 1)[:, None])),
        Mistake(
            "words or low draws",
            "You hide whatever is a word OR has a low draw. Both must hold: &.",
            by_place(lambda ids, draws, share: is_word(ids) | (draws < share))),
    ), "words alone are hidden, each by its own draw")


# ---- what a guess costs

def masked_loss(logits: Tensor, ids: Tensor, hidden: Tensor) -> Tensor:
    """logits (B,T,V); ids (B,T) of the words as they were; hidden (B,T) bool -> scalar: the mean
    cross entropy of the hidden places alone; 0 where nothing is hidden."""
    return costs(logits, ids)[hidden].sum() / hidden.sum().clamp(min=1)


def costs(logits: Tensor, ids: Tensor) -> Tensor:
    """-ln p of the word that was there, (B,T)."""
    return chosen(-logits.log_softmax(dim=2), ids)


def chosen(x: Tensor, ids: Tensor) -> Tensor:
    return x.gather(2, ids[..., None])[..., 0]


def guesses(size, share: float, *lifts: float):
    """size(g) -> B, T, V; the rows of logits are lifted in turns. Of the first caption more is
    hidden than of the last."""
    def draw(g: Generator) -> tuple:
        B, T, V = size(g)
        logits = 2 * torch.randn(B, T, V, generator=g)
        if lifts:
            logits += torch.tensor(lifts).repeat(T)[:T, None]
        hidden = torch.rand(B, T, generator=g) < share
        if 0 < share < 1:
            hidden[0] = torch.arange(T) < 3
            hidden[-1] = torch.arange(T) == 4
            if B == 1:
                hidden[0, 1] = False
        return logits, torch.randint(min(FIRST, V - 3), V, (B, T), generator=g), hidden
    return draw


def one_hidden(g: Generator) -> tuple:
    """One word, and it was thought impossible: e^-120 is 0 in float32."""
    logits, ids, hidden = guesses(lambda g: (3, between(5, 6, g), 8), 0.0)(g)
    hidden[1, 3], logits[1, 3, ids[1, 3]] = True, -120
    return logits, ids, hidden


def by_places(which):
    """The mean over other places."""
    return lambda logits, ids, hidden: costs(logits, ids)[which(ids, hidden)].mean()


def by_cost(cost):
    """The mean over the hidden places of another cost, cost(logits, ids) -> (B,T)."""
    def loss(logits, ids, hidden):
        return cost(logits, ids)[hidden].sum() / hidden.sum().clamp(min=1)
    return loss


def exp_overflows(logits, ids):
    return -(chosen(logits.exp(), ids) / logits.exp().sum(dim=2)).log()


def one_maximum(logits, ids):
    return exp_overflows(logits - logits.max(), ids)


def mean_of_means(logits, ids, hidden):
    """Each caption's own mean first, 0 where nothing of it is hidden."""
    sums = (costs(logits, ids) * hidden).sum(dim=1)
    return (sums / hidden.sum(dim=1).clamp(min=1)).mean()


LOSS = Exercise(
    "imagen.masked_loss", LESSON, 2, masked_loss,
    (guesses(lambda g: (between(2, 3, g), between(5, 7, g), between(8, 9, g)), 0.4),
     guesses(lambda g: 3 * (6,), 0.5),
     guesses(lambda g: (2, between(5, 6, g), 10), 1.0),
     guesses(lambda g: (between(2, 3, g), 5, 9), 0.0),
     guesses(lambda g: (3, 6, between(8, 9, g)), 0.4, 120.0, -120.0),
     guesses(lambda g: (2, 5, between(6, 7, g)), 0.4, 120.0),
     one_hidden,
     guesses(lambda g: (1, between(6, 8, g), 11), 0.5)), of_section(2,
        Mistake(
            "nothing hidden is 0 / 0",
            "Where nothing is hidden you divide 0 by 0, and one such batch spoils all weights. "
            "Divide by at least 1.",
            by_places(lambda ids, hidden: hidden)),
        Mistake(
            "all places counted",
            "You average over all places. Where the word can be seen, guessing it is copying: "
            "count the hidden ones alone.",
            by_places(lambda ids, hidden: torch.ones_like(hidden))),
        Mistake(
            "the seen places counted",
            "You average over the places that can be seen. Count the hidden ones.",
            by_places(lambda ids, hidden: ~hidden)),
        Mistake(
            "sum in place of the mean",
            "You sum over the hidden places. Then a batch in which more is hidden pulls harder: "
            "divide by their number.",
            lambda logits, ids, hidden: (costs(logits, ids) * hidden).sum()),
        Mistake(
            "divided by all places",
            "You sum over the hidden places, and divide by the number of ALL. Divide by the number "
            "of hidden ones.",
            lambda logits, ids, hidden: (costs(logits, ids) * hidden).mean()),
        Mistake(
            "divided by the captions",
            "You sum over the hidden places, and divide by the number of captions. Divide by the "
            "number of hidden places.",
            lambda logits, ids, hidden: (costs(logits, ids) * hidden).sum() / len(ids)),
        Mistake(
            "mean of the captions' means",
            "You average each caption first, and then these means. So the one hidden word of a "
            "caption counts as much as three of another: one mean over all hidden places.",
            mean_of_means),
        Mistake(
            "divided by one more",
            "You divide by the number of hidden places and 1, so that it is never 0. Then every "
            "mean is too small: take at least 1.",
            lambda logits, ids, hidden: (costs(logits, ids) * hidden).sum() / (hidden.sum() + 1)),
        Mistake(
            "the next word",
            "You lay each guess beside the NEXT word. That is how DALL-E is trained; here the word "
            "at the same place is to be guessed.",
            lambda logits, ids, hidden: masked_loss(logits[:, :-1], ids[:, 1:], hidden[:, :-1])),
        Mistake(
            "the word before",
            "You lay each guess beside the word BEFORE. The word at the same place is to be "
            "guessed.",
            lambda logits, ids, hidden: masked_loss(logits[:, 1:], ids[:, :-1], hidden[:, 1:])),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: a loss is -ln p, above 0.",
            lambda *args: -masked_loss(*args)),
        Mistake(
            "the softmax forgotten",
            "You take the logit of the right word as its logarithm. Before that the softmax must "
            "make probabilities of all: log_softmax over the vocabulary.",
            by_cost(lambda logits, ids: -chosen(logits, ids))),
        Mistake(
            "softmax over the places",
            "Your softmax runs over the places of a caption. At each place the WORDS of the "
            "vocabulary compete: the last dimension.",
            by_cost(lambda logits, ids: chosen(-logits.log_softmax(dim=1), ids))),
        Mistake(
            "softmax over the captions",
            "Your softmax runs over the captions of the batch. At each place the WORDS of the "
            "vocabulary compete: the last dimension.",
            by_cost(lambda logits, ids: chosen(-logits.log_softmax(dim=0), ids))),
        Mistake(
            "softmax twice",
            "You give probabilities to a function that takes a softmax itself. cross_entropy "
            "wants the logits as they are.",
            by_cost(lambda logits, ids: costs(logits.softmax(dim=2), ids))),
        Mistake(
            "the logarithm forgotten",
            "You take the probability itself. Its logarithm makes a word that was thought "
            "impossible cost without limit.",
            by_cost(lambda logits, ids: -chosen(logits.softmax(dim=2), ids))),
        Mistake(
            "one minus the probability",
            "You count 1 - p. Asked for is the cross entropy, -ln p.",
            by_cost(lambda logits, ids: 1 - chosen(logits.softmax(dim=2), ids))),
        Mistake(
            "the logarithm of 1 - p",
            "You take the logarithm of what the OTHER words have together. It is that of the right "
            "word.",
            by_cost(lambda logits, ids: -(-costs(logits, ids).exp().reciprocal()).log1p())),
        Mistake(
            "exp overflows",
            "The formula is right, but exp(120) is infinite in float32. log_softmax takes the "
            "largest logit of each place out first.",
            by_cost(exp_overflows)),
        Mistake(
            "one maximum for all places",
            "You take one maximum out for the whole table; at a place far below it every exp is 0. "
            "Each place needs its own: log_softmax.",
            by_cost(one_maximum)),
        Mistake(
            "the logarithm of a softmax",
            "The formula is right, but a softmax of e^-120 is 0 in float32, and its logarithm "
            "infinite. log_softmax never leaves the logarithms.",
            by_cost(lambda logits, ids: -chosen(logits.softmax(dim=2), ids).log())),
        Mistake(
            "1e-08 inside the logarithm",
            "You add 1e-8 so that the logarithm is finite. Then no word costs more than 18: take "
            "log_softmax.",
            by_cost(lambda logits, ids: -(chosen(logits.softmax(dim=2), ids) + 1e-8).log())),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            lambda *args: masked_loss(*args) / math.log(2)),
        Mistake(
            "divided by the vocabulary",
            "You average over the vocabulary too. Of each place one number counts, that of the "
            "right word.",
            lambda logits, ids, hidden: masked_loss(logits, ids, hidden) / logits.shape[2]),
        Mistake(
            "mean over all words of the vocabulary",
            "You average -ln p over all words. Only that of the right one counts: gather it.",
            by_cost(lambda logits, ids: -logits.log_softmax(dim=2).mean(dim=2))),
        Mistake(
            "the likeliest word's cost",
            "You take the cost of the likeliest word. Asked for is that of the word that was "
            "there.",
            by_cost(lambda logits, ids: -logits.log_softmax(dim=2).amax(dim=2))),
        Mistake(
            "logits of seen places set to 0",
            "You set the logits of seen places to 0 and average over all. Then each of these costs "
            "ln V: leave them out of the mean.",
            lambda logits, ids, hidden: costs(logits * hidden[..., None], ids).mean()),
        Mistake(
            "seen words as padding",
            "You make the seen words 0 and average over all, so that padding is guessed there. "
            "Leave these places out, with ignore_index or a mask.",
            lambda logits, ids, hidden: costs(logits, ids * hidden).mean()),
        Mistake(
            "squared error",
            "You take the squared distance to the one-hot word. Asked for is the cross entropy.",
            by_cost(lambda logits, ids: (logits.softmax(dim=2) - F.one_hot(
                ids, logits.shape[2])).square().sum(dim=2))),
        Mistake(
            "one number for each place",
            "You return the cost of each hidden place. Asked for is their mean, one number.",
            lambda logits, ids, hidden: costs(logits, ids)[hidden]),
        Mistake(
            "a table of costs",
            "You return a table (B,T), 0 where nothing is hidden. Asked for is one number, the "
            "mean over the hidden places.",
            lambda logits, ids, hidden: costs(logits, ids) * hidden),
        Mistake(
            "one number for each caption",
            "You return a number for each caption. Asked for is one mean over all hidden places.",
            lambda logits, ids, hidden: (costs(logits, ids) * hidden).sum(dim=1)
                / hidden.sum(dim=1).clamp(min=1)),
        Mistake(
            "the first caption only",
            "You look at the first caption alone. Count the hidden places of all.",
            lambda logits, ids, hidden: masked_loss(logits[:1], ids[:1], hidden[:1])),
        Mistake(
            "the logits detached",
            "The number is right, but you detach the logits: nothing can be learnt through it.",
            lambda logits, ids, hidden: masked_loss(logits.detach(), ids, hidden)
                + 0 * logits.sum()),
        Mistake(
            "mean of the means that are not empty",
            "You average each caption first, and then the means of those in which something is "
            "hidden. So the one hidden word of a caption counts as much as three of another: one "
            "mean over all hidden places.",
            lambda logits, ids, hidden: ((costs(logits, ids) * hidden).sum(dim=1) / hidden.sum(
                dim=1).clamp(min=1)).sum() / hidden.any(dim=1).sum().clamp(min=1)),
        Mistake(
            "the seen places counted, at least one",
            "You average over the places that can be seen. Count the hidden ones.",
            lambda logits, ids, hidden: masked_loss(logits, ids, ~hidden)),
        Mistake(
            "the logarithm of a mean",
            "You average the probabilities, and take the logarithm last. So a word that was "
            "thought impossible hides among the others: first the logarithm, then the mean.",
            lambda logits, ids, hidden: -chosen(logits.softmax(dim=2), ids)[hidden].mean().log()
                if hidden.any() else 0 * logits.sum()),
        Mistake(
            "what is hidden one place before",
            "You lay each guess beside the NEXT word, where that is hidden. That is how DALL-E is "
            "trained; here the word at the same place is to be guessed.",
            lambda logits, ids, hidden: masked_loss(logits[:, :-1], ids[:, 1:], hidden[:, 1:])),
        Mistake(
            "reshaped in place of transposed",
            "You bring the vocabulary to dim 1 by reshape, which mixes places and words. "
            "transpose(1, 2) moves it.",
            by_cost(lambda logits, ids: chosen(-logits.reshape(
                len(ids), -1, ids.shape[1]).log_softmax(dim=1).transpose(1, 2), ids))),
        Mistake(
            "the entropy of the guess",
            "You take the entropy of the guess, and never ask which word it was. A sure guess of "
            "the wrong word would be cheap: take -ln p of the right one.",
            by_cost(lambda logits, ids: torch.distributions.Categorical(
                logits=logits, validate_args=False).entropy())),
        Mistake(
            "labels smoothed",
            "You smooth the labels. Asked for is the plain cross entropy of the word that is "
            "hidden.",
            by_cost(lambda logits, ids: 0.9 * costs(logits, ids)
                    - 0.1 * logits.log_softmax(dim=2).mean(dim=2))),
        Mistake(
            "a small number inside the logarithm",
            "You add a small number inside the logarithm, and no cost is larger than that of it. "
            "log_softmax needs no such help.",
            by_cost(lambda logits, ids: -(chosen(logits.softmax(dim=2), ids) + 1e-9).log())),
        Mistake(
            "wrong guesses counted",
            "You return the share of wrong guesses, through which nothing can be learnt. Asked for "
            "is the cross entropy.",
            by_cost(lambda logits, ids: (logits.argmax(dim=2) != ids).float())),
        Mistake(
            "the exponential of it",
            "You return the exponential of the loss, the perplexity. Asked for is the loss.",
            lambda logits, ids, hidden: masked_loss(logits, ids, hidden).exp()),
        Mistake(
            "divided by the length of a caption",
            "You divide by the places of one caption. Divide by the number of places that are "
            "hidden.",
            lambda logits, ids, hidden: costs(logits, ids)[hidden].sum() / ids.shape[1]),
    ), "nats for a hidden word, and 0 where none is hidden",
    tolerance=2e-5,            # logits of 120 are 8e-6 apart
    learns=True)


# ---- one vector beside the words

def pooled(states: Tensor, heard: Tensor) -> Tensor:
    """states (B,T,D), heard (B,T) bool, True somewhere in each row -> (B,D): the mean of the states
    that are heard."""
    return total(states, heard) / heard.sum(dim=1, keepdim=True)


def total(states: Tensor, heard: Tensor) -> Tensor:
    return (states * heard[..., None]).sum(dim=1)


def words_inputs(size, heard):
    """size(g) -> B, T, D; heard(B, T, g) bool. What is not heard is large, and its mean not 0."""
    def draw(g: Generator) -> tuple:
        B, T, D = size(g)
        said = heard(B, T, g)
        states = torch.randn(B, T, D, generator=g) + 0.5
        return torch.where(said[..., None], states, 4 * states + 3), said
    return draw


def silent_word(draw):
    """One word that is heard says nothing at all: it counts among them, with a state of zeros."""
    def silenced(g: Generator) -> tuple:
        states, heard = draw(g)
        states[0, 1] = 0
        return states, heard
    return silenced


def up_to_ends(B: int, T: int, g: Generator) -> Tensor:
    """Captions of 3 tokens and more; the first, if there are several, fills its table."""
    length = torch.randint(3, T, (B, 1), generator=g)
    if B > 1:
        length[0], length[-1] = T, 3
    return torch.arange(T) < length


def first_of(heard: Tensor) -> Tensor:
    return heard & (heard.cumsum(dim=1) == 1)


def last_of(heard: Tensor) -> Tensor:
    return heard & (heard.cumsum(dim=1) == heard.sum(dim=1, keepdim=True))


def over(which):
    """The mean of other tokens."""
    return lambda states, heard: total(states, which(heard)) / which(heard).sum(
        dim=1, keepdim=True)


POOLED = Exercise(
    "imagen.pooled", LESSON, 1, pooled,
    (words_inputs(lambda g: (between(3, 4, g), between(5, 7, g), between(8, 9, g)), up_to_ends),
     silent_word(words_inputs(lambda g: 3 * (between(4, 5, g),), up_to_ends)),
     words_inputs(lambda g: (2, between(4, 6, g), 3), lambda B, T, g: torch.ones(B, T) > 0),
     words_inputs(lambda g: (between(2, 3, g), 6, 4), lambda B, T, g: (torch.arange(
         T) == 0).repeat(B, 1)),
     words_inputs(lambda g: (1, between(6, 8, g), 5), up_to_ends),
     words_inputs(lambda g: (3, 5, between(6, 7, g)), lambda B, T, g: torch.arange(
         T) % 2 == torch.arange(B)[:, None] % 2)), of_section(3,
        Mistake(
            "padding counted",
            "You average all tokens, padding too. What stands behind the end says nothing: count "
            "the heard ones alone.",
            lambda states, heard: states.mean(dim=1)),
        Mistake(
            "divided by all tokens",
            "You sum the heard states and divide by T. Then a short caption has a short vector: "
            "divide by the number that is heard.",
            lambda states, heard: total(states, heard) / heard.shape[1]),
        Mistake(
            "sum in place of the mean",
            "You sum the heard states. Then a long caption speaks louder: divide by their number.",
            total),
        Mistake(
            "the padding alone",
            "You average what is NOT heard: the mask is turned round.",
            over(lambda heard: ~heard)),
        Mistake(
            "divided by what the batch hears",
            "You divide by the number of heard tokens of the whole batch. Each caption has its own "
            "number: sum over the dim of the tokens, and keep it.",
            lambda states, heard: total(states, heard) / heard.sum()),
        Mistake(
            "divided by the mean number",
            "You divide by the mean number of heard tokens. Each caption has its own.",
            lambda states, heard: total(states, heard) / heard.float().sum(dim=1).mean()),
        Mistake(
            "divided by the root of the number",
            "You divide by the root of the number of heard tokens. A mean divides by the number.",
            lambda states, heard: total(states, heard) / heard.sum(dim=1, keepdim=True) ** 0.5),
        Mistake(
            "divided by one more",
            "You divide by the number of heard tokens and 1. The start is always heard, so the "
            "number is never 0: divide by it.",
            lambda states, heard: total(states, heard) / (heard.sum(dim=1, keepdim=True) + 1)),
        Mistake(
            "the first caption's mask for all",
            "You use the mask of the first caption for the whole batch. Each has its own length.",
            lambda states, heard: pooled(states, heard[:1])),
        Mistake(
            "the last token heard",
            "You take the last state that is heard. That is the vector of CLIP, whose tower is "
            "causal; here the mean is asked.",
            over(last_of)),
        Mistake(
            "the first token",
            "You take the first state. BERT has a token for that; here the mean of all heard ones "
            "is asked.",
            lambda states, heard: 1 * states[:, 0]),
        Mistake(
            "the largest of each entry",
            "You take the largest number of each entry. Asked for is the mean.",
            lambda states, heard: states.masked_fill(~heard[..., None], -math.inf).amax(dim=1)),
        Mistake(
            "the largest of each entry, padding too",
            "You take the largest number of each entry, padding included. Asked for is the mean of "
            "the heard states.",
            lambda states, heard: states.amax(dim=1)),
        Mistake(
            "the start left out",
            "You leave out the start. It is heard too; of a dropped caption it is all that is "
            "left.",
            over(lambda heard: heard & ~first_of(heard))),
        Mistake(
            "the end left out",
            "You leave out the last token that is heard. It counts as the others do.",
            over(lambda heard: heard & ~last_of(heard))),
        Mistake(
            "start and end left out",
            "You leave out start and end. They are heard too: average all of `heard`.",
            over(lambda heard: heard & ~first_of(heard) & ~last_of(heard))),
        Mistake(
            "over the entries",
            "You average the entries of each token. The tokens are to be averaged: dim 1.",
            lambda states, heard: states.mean(dim=2)),
        Mistake(
            "over the entries, padding set to 0",
            "You average the entries of each token. The tokens are to be averaged: dim 1.",
            lambda states, heard: (states * heard[..., None]).mean(dim=2)),
        Mistake(
            "over the captions",
            "You average over the captions of the batch. Each has a vector of its own.",
            lambda states, heard: (states * heard[..., None]).sum(dim=0) / heard.sum(
                dim=0)[:, None]),
        Mistake(
            "over captions and tokens together",
            "You return one mean for the whole batch. Each caption has a vector of its own.",
            lambda states, heard: states[heard].mean(dim=0)),
        Mistake(
            "a dimension too many",
            "Your numbers are right, and your answer is (B,1,D). Asked for is (B,D).",
            lambda states, heard: pooled(states, heard)[:, None]),
        Mistake(
            "brought to length one",
            "You bring the mean to length one. Asked for is the mean as it is.",
            lambda states, heard: F.normalize(pooled(states, heard), dim=1)),
        Mistake(
            "entries of mean 0 and variance 1",
            "You normalise the mean, as a layer norm does. That comes after it, with weights of "
            "its own: asked for is the mean.",
            lambda states, heard: F.layer_norm(pooled(states, heard), states.shape[2:])),
        Mistake(
            "padding set to 0, the states not averaged",
            "You set the padding to 0 and return the states. Asked for is their mean, (B,D).",
            lambda states, heard: states * heard[..., None]),
        Mistake(
            "the middle of each entry",
            "You take the median of each entry. Asked for is the mean.",
            lambda states, heard: states.masked_fill(~heard[..., None], math.nan).nanmedian(
                dim=1).values),
        Mistake(
            "the padding alone, at least one",
            "You average what is NOT heard: the mask is turned round.",
            lambda states, heard: total(states, ~heard) / (~heard).sum(dim=1, keepdim=True).clamp(
                min=1)),
        Mistake(
            "the last place",
            "You take the last state, heard or not. Asked for is the mean of the heard ones.",
            lambda states, heard: 1 * states[:, -1]),
        Mistake(
            "the state at the place that the number says",
            "You take one state, that at the place number heard - 1. That is the vector of CLIP, "
            "whose tower is causal; here the mean is asked.",
            lambda states, heard: states[torch.arange(len(states)), heard.sum(dim=1) - 1]),
        Mistake(
            "the first so many places",
            "You average the first places, as many as are heard. There may be gaps between those "
            "that are heard: `heard` says which.",
            lambda states, heard: pooled(states, torch.arange(heard.shape[1]) < heard.sum(
                dim=1, keepdim=True))),
        Mistake(
            "one mean for every caption",
            "You give every caption the mean of the whole batch. Each has a vector of its own.",
            lambda states, heard: states[heard].mean(dim=0).expand(len(states), -1)),
        Mistake(
            "states of zeros not counted",
            "You count the states that are not 0. A state that is heard counts, whatever it is: "
            "sum `heard`.",
            lambda states, heard: total(states, heard) / (states * heard[..., None] != 0).sum(
                dim=1)),
        Mistake(
            "the kept dimension forgotten",
            "You divide (B,D) by (B,), and PyTorch lays the numbers along D. Keep the dim: "
            "heard.sum(dim=1, keepdim=True).",
            lambda states, heard: total(states, heard) / heard.sum(dim=1)),
        Mistake(
            "the mask without its last dimension",
            "You multiply (B,T,D) by (B,T), and PyTorch lays the mask along T and D. Give it a "
            "dimension more: heard[..., None].",
            lambda states, heard: (states * heard).sum(dim=1) / heard.sum(dim=1, keepdim=True)),
        Mistake(
            "divided by one less",
            "You divide by the number of heard tokens less 1. A mean divides by the number.",
            lambda states, heard: total(states, heard) / (heard.sum(
                dim=1, keepdim=True) - 1).clamp(min=1)),
        Mistake(
            "the first place left out",
            "You leave out the first place. It is heard like the others: `heard` says which count.",
            lambda states, heard: total(states[:, 1:], heard[:, 1:]) / heard[:, 1:].sum(
                dim=1, keepdim=True).clamp(min=1)),
        Mistake(
            "the last place left out",
            "You leave out the last place, also where it is heard. `heard` says which count.",
            lambda states, heard: total(states[:, :-1], heard[:, :-1]) / heard[:, :-1].sum(
                dim=1, keepdim=True).clamp(min=1)),
        Mistake(
            "a softmax of the mask",
            "You weight by the softmax of the mask, and what is not heard has a weight too. It has "
            "none.",
            lambda states, heard: (states * heard.float().softmax(dim=1)[..., None]).sum(dim=1)),
        Mistake(
            "rounded down",
            "You divide with //, which rounds down. Use /.",
            lambda states, heard: total(states, heard) // heard.sum(dim=1, keepdim=True)),
        Mistake(
            "divided by the first caption's number",
            "You divide by the number of tokens that the first caption hears. Each has its own.",
            lambda states, heard: total(states, heard) / heard[0].sum()),
    ), "the mean of what is heard", learns=True)


# ---- guidance with a threshold

def guess(x_t: Tensor, yes: Tensor, none: Tensor, alpha_bar: Tensor, scale: float) -> Tensor:
    """x_t (B,C,h,w); the network's guesses of the noise, `yes` with the caption and `none` without;
    alpha_bar (B,); scale a float -> the guess of x_0 with guidance, cut to [-1, 1]."""
    return clip_static(unnoised(x_t, none + scale * (yes - none), per_picture(alpha_bar)))


def per_picture(x: Tensor) -> Tensor:
    """(B,) -> (B,1,1,1)"""
    return x.view(-1, 1, 1, 1)


def unnoised(x_t: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    return (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()


def answers_inputs(size, scale, low: float = 0.3, high: float = 0.8):
    """Noisy pictures and two guesses of their noise that are off by a little, so that most of the
    guesses of x_0 lie inside [-1, 1], and some beyond."""
    def draw(g: Generator) -> tuple:
        shape = size(g)
        x_0, eps = uniform(shape, -1, 1, g), torch.randn(shape, generator=g)
        alpha_bar = uniform(shape[:1], low, high, g)
        yes, none = (eps + 0.25 * torch.randn(shape, generator=g) for _ in range(2))
        return (mix(x_0, eps, per_picture(alpha_bar)), yes, none, alpha_bar,
                scale(torch.rand((), generator=g).item()))
    return draw


def late_inputs(g: Generator) -> tuple:
    """Near the last step hardly a hundredth of x_t is picture. The noise is small here, so that
    float32 still tells the rest apart."""
    x_0, eps = uniform((2, 3, 4, 3), -1.2, 1.2, g), 0.05 * torch.randn(2, 3, 4, 3, generator=g)
    alpha_bar = uniform((2,), 1e-4, 4e-4, g)
    yes, none = (eps + 0.003 * torch.randn(eps.shape, generator=g) for _ in range(2))
    return mix(x_0, eps, per_picture(alpha_bar)), yes, none, alpha_bar, 1.5


def with_eps(mixed):
    """Another noise, mixed(yes, none, scale); the rest is right."""
    def answer(x_t, yes, none, alpha_bar, scale):
        return clip_static(unnoised(x_t, mixed(yes, none, scale), per_picture(alpha_bar)))
    return answer


def with_x0(of):
    """Another x_0, of(x_t, eps, alpha_bar (B,1,1,1)); the rest is right."""
    def answer(x_t, yes, none, alpha_bar, scale):
        return clip_static(of(x_t, none + scale * (yes - none), per_picture(alpha_bar)))
    return answer


def uncut(x_t, yes, none, alpha_bar, scale):
    return unnoised(x_t, none + scale * (yes - none), per_picture(alpha_bar))


def cut_before(then):
    """Both guesses of x_0 are cut before they are mixed, and then(x_0) after."""
    def answer(x_t, yes, none, alpha_bar, scale):
        a, b = (clip_static(unnoised(x_t, x, per_picture(alpha_bar))) for x in (yes, none))
        return then(b + scale * (a - b))
    return answer


GUESS = Exercise(
    "imagen.guess", LESSON, 2, guess,
    (answers_inputs(lambda g: (between(2, 3, g), 3, 4, 5), lambda r: 1.5 + r),
     answers_inputs(lambda g: (1, between(2, 3, g), 4, 6), lambda r: 1.0),
     answers_inputs(lambda g: 4 * (between(3, 4, g),), lambda r: 3 + 3 * r),
     answers_inputs(lambda g: (3, 3, 5, between(6, 7, g)), lambda r: 0.0),
     answers_inputs(lambda g: (between(4, 5, g), 1, 3, 4), lambda r: 0.3 + 0.4 * r, 0.85, 0.97),
     answers_inputs(lambda g: (2, 3, 5, 4), lambda r: 1.2 + 0.3 * r, 0.05, 0.12),
     late_inputs), of_section(5,
        Mistake(
            "not cut",
            "Your guess leaves [-1, 1], where no picture is. The network has never seen such a "
            "thing in training: cut it off.",
            uncut),
        Mistake(
            "cut before the guidance",
            "You cut both guesses and then go from the one through the other, which leads outside "
            "again. Guide first, cut last.",
            cut_before(lambda x: x)),
        Mistake(
            "cut before the guidance and after",
            "You cut both guesses before the guidance too. So their difference is smaller than the "
            "network meant: guide first, cut once, at the end.",
            cut_before(clip_static)),
        Mistake(
            "the noise cut",
            "You cut the noise to [-1, 1]. Noise is normal and may be larger: cut the guess of the "
            "picture.",
            lambda x_t, yes, none, alpha_bar, scale: unnoised(
                x_t, clip_static(none + scale * (yes - none)), per_picture(alpha_bar))),
        Mistake(
            "cut to [0, 1]",
            "You cut to [0, 1]. Our pictures lie in [-1, 1].",
            lambda *args: uncut(*args).clamp(0, 1)),
        Mistake(
            "shrunk in place of cut",
            "You divide a picture by its largest value. That is near to a dynamic threshold, which "
            "comes next; here each value is cut by itself.",
            lambda *args: (x := uncut(*args)) / x.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(
                min=1)),
        Mistake(
            "squeezed by tanh",
            "You squeeze the guess by tanh. That changes values inside [-1, 1] too: clamp.",
            lambda *args: uncut(*args).tanh()),
        Mistake(
            "scale counted from 0",
            "You start from the answer for the caption, and go scale times further. Here 1 is as "
            "learnt: start from the one without.",
            with_eps(lambda yes, none, s: yes + s * (yes - none))),
        Mistake(
            "turned round",
            "You go from the answer with the caption to that without. Exchange the two.",
            with_eps(lambda yes, none, s: yes + s * (none - yes))),
        Mistake(
            "the sign of the difference turned",
            "You go away from the caption: your difference is turned round.",
            with_eps(lambda yes, none, s: none + s * (none - yes))),
        Mistake(
            "the difference alone",
            "You take the push alone. It starts from the answer without caption.",
            with_eps(lambda yes, none, s: s * (yes - none))),
        Mistake(
            "no guidance",
            "You take the answer with the caption, whatever the scale.",
            with_eps(lambda yes, none, s: yes)),
        Mistake(
            "without the caption",
            "You take the answer without the caption, whatever the scale.",
            with_eps(lambda yes, none, s: none)),
        Mistake(
            "scale on one answer only",
            "You multiply the answer with the caption alone. The scale belongs to the DIFFERENCE: "
            "set brackets.",
            with_eps(lambda yes, none, s: none + s * yes - none)),
        Mistake(
            "the mean of both",
            "You take the mean of the two answers, whatever the scale.",
            with_eps(lambda yes, none, s: (yes + none) / 2)),
        Mistake(
            "the roots forgotten",
            "You solve with alpha_bar and 1 - alpha_bar. The weights in x_t are their roots.",
            with_x0(lambda x, eps, a: (x - (1 - a) * eps) / a)),
        Mistake(
            "the root of the noise's weight forgotten",
            "You take away 1 - alpha_bar times the noise. Its weight in x_t is the root of that.",
            with_x0(lambda x, eps, a: (x - (1 - a) * eps) / a.sqrt())),
        Mistake(
            "the root of the picture's weight forgotten",
            "You divide by alpha_bar. The picture's weight in x_t is the root of that.",
            with_x0(lambda x, eps, a: (x - (1 - a).sqrt() * eps) / a)),
        Mistake(
            "not divided",
            "You take the noise away, and leave the picture shrunk: divide by the root of "
            "alpha_bar.",
            with_x0(lambda x, eps, a: x - (1 - a).sqrt() * eps)),
        Mistake(
            "multiplied in place of divided",
            "You multiply by the root of alpha_bar. The picture was shrunk by it: divide.",
            with_x0(lambda x, eps, a: (x - (1 - a).sqrt() * eps) * a.sqrt())),
        Mistake(
            "the noise not scaled",
            "You take the whole noise away. Its weight in x_t is the root of 1 - alpha_bar.",
            with_x0(lambda x, eps, a: (x - eps) / a.sqrt())),
        Mistake(
            "noise added",
            "You add the noise once more. Solve x_t for x_0: it is taken away.",
            with_x0(lambda x, eps, a: (x + (1 - a).sqrt() * eps) / a.sqrt())),
        Mistake(
            "the weights exchanged",
            "You give the picture the weight of the noise, and the other way round.",
            with_x0(lambda x, eps, a: (x - a.sqrt() * eps) / (1 - a).sqrt())),
        Mistake(
            "the guess of the noise returned",
            "You return the noise with guidance, cut. Asked for is the picture under it.",
            with_x0(lambda x, eps, a: eps)),
        Mistake(
            "the answer taken for x_0",
            "You take the noise away as if the network had guessed it with its weight. It guesses "
            "noise of variance 1: the root of 1 - alpha_bar is missing, and the division.",
            with_x0(lambda x, eps, a: x - eps)),
        Mistake(
            "the first alpha_bar for all",
            "You use the alpha_bar of the first picture for all. Each has its own step.",
            lambda x_t, yes, none, alpha_bar, scale: guess(
                x_t, yes, none, alpha_bar[:1].expand_as(alpha_bar), scale)),
        Mistake(
            "the mean alpha_bar for all",
            "You use the mean of alpha_bar for all. Each picture has its own step.",
            lambda x_t, yes, none, alpha_bar, scale: guess(
                x_t, yes, none, alpha_bar.mean().expand_as(alpha_bar), scale)),
        Mistake(
            "cut above alone",
            "You cut at 1 and not at -1: dark pixels still leave [-1, 1].",
            lambda *args: uncut(*args).clamp(max=1)),
        Mistake(
            "cut below alone",
            "You cut at -1 and not at 1: bright pixels still leave [-1, 1].",
            lambda *args: uncut(*args).clamp(min=-1)),
        Mistake(
            "the noise cut, and the picture",
            "You cut the noise to [-1, 1] before you solve. Noise is normal and may be larger: cut "
            "the picture alone.",
            lambda x_t, yes, none, alpha_bar, scale: clip_static(unnoised(
                x_t, clip_static(none + scale * (yes - none)), per_picture(alpha_bar)))),
        Mistake(
            "both answers cut",
            "You cut both answers of the network to [-1, 1]. They are noise, which may be larger: "
            "cut the picture alone.",
            lambda x_t, yes, none, *rest: guess(x_t, clip_static(yes), clip_static(none), *rest)),
        Mistake(
            "x_t cut",
            "You cut x_t to [-1, 1]. It is noisy, and noise may be larger: cut the guess of the "
            "picture alone.",
            lambda x_t, *rest: guess(clip_static(x_t), *rest)),
        Mistake(
            "one less than the scale",
            "You go scale - 1 times the difference, from the answer without the caption. From "
            "there it is scale times: 1 is as learnt.",
            with_eps(lambda yes, none, s: none + (s - 1) * (yes - none))),
        Mistake(
            "scale times the one, less the other",
            "You take the answer without caption away, and do not start from it: add it once more.",
            with_eps(lambda yes, none, s: s * yes - none)),
        Mistake(
            "brackets forgotten",
            "You divide the noise alone. The whole difference is to be divided: set brackets.",
            with_x0(lambda x, eps, a: x - (1 - a).sqrt() * eps / a.sqrt())),
        Mistake(
            "1 less the root",
            "You take 1 less the root of alpha_bar as the noise's weight. It is the root of 1 - "
            "alpha_bar.",
            with_x0(lambda x, eps, a: (x - (1 - a.sqrt()) * eps) / a.sqrt())),
        Mistake(
            "alpha_bar taken for the weight",
            "You take alpha_bar itself as the picture's weight, and the root of 1 - alpha_bar^2 as "
            "the noise's. The picture's weight is the root of alpha_bar.",
            with_x0(lambda x, eps, a: (x - (1 - a ** 2).sqrt() * eps) / a)),
        Mistake(
            "noised once more",
            "You mix x_t with noise, as the training does with a picture. Solve x_t for the "
            "picture under it.",
            with_x0(lambda x, eps, a: mix(x, eps, a))),
        Mistake(
            "the answer taken for v",
            "You solve as for a network that guesses v. Ours guesses the noise: divide by the root "
            "of alpha_bar.",
            with_x0(lambda x, eps, a: a.sqrt() * x - (1 - a).sqrt() * eps)),
        Mistake(
            "the root never below 0.1",
            "You keep the root of alpha_bar above 0.1, so that nothing is divided by too little. "
            "Late steps need it as it is: the cut holds the picture.",
            with_x0(lambda x, eps, a: (x - (1 - a).sqrt() * eps) / a.sqrt().clamp(min=0.1))),
        Mistake(
            "alpha_bar along the width",
            "Your alpha_bar (B,) runs along the width of the pictures, and only works where there "
            "are as many columns as pictures. Give it three dimensions more: (B,1,1,1).",
            lambda x_t, yes, none, alpha_bar, scale: clip_static(unnoised(
                x_t, none + scale * (yes - none), alpha_bar))),
        Mistake(
            "the one, and scale times the other",
            "You add scale times the guess with the caption to the one without. What is scaled is "
            "their difference.",
            with_eps(lambda yes, none, scale: none + scale * yes)),
        Mistake(
            "the mixed noise returned",
            "You return the guided noise. Take it away from x_t, and divide: that is the picture.",
            lambda x_t, yes, none, alpha_bar, scale: none + scale * (yes - none)),
    ), "guided, solved for the picture, cut at the end",
    tolerance=2e-5)            # what is small is divided by 0.2


# ---- a threshold that moves

def dynamic_threshold(x_0: Tensor, percentile: float) -> Tensor:
    """x_0 (B,C,h,w), percentile from 0 to 1 -> with s of each picture the quantile of its absolute
    values, as torch.quantile has it, and at least 1: cut to [-s, s], divided by s."""
    return clip_dynamic(x_0, percentile)


def quantile(x: Tensor, p: float, interpolation: str = "linear") -> Tensor:
    """Of each picture, (B,1,1,1)."""
    return per_picture(torch.quantile(x.flatten(1), p, dim=1, interpolation=interpolation))


def shrunk(x: Tensor, s: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(x, s), -s) / s


def by_s(of):
    """With another s, of(x, p), which is kept at least 1."""
    return lambda x_0, percentile: shrunk(x_0, of(x_0, percentile).clamp(min=1))


def between_values(x: Tensor, k: int, rest: float) -> float:
    """The percentile that lies `rest` of the way behind the k-th largest value but one."""
    n = x[0].numel()
    return (n - 1 - k + rest) / (n - 1)


def wild_inputs(size, k: int, rest: float):
    """Each picture wider than the one before; the last needs no threshold. What is far from 0 is
    mostly below it."""
    def draw(g: Generator) -> tuple:
        shape = size(g)
        x = torch.randn(shape, generator=g) - 0.4
        width = 1.2 * 1.5 ** torch.arange(shape[0])
        width[-1] = 0.2 if shape[0] > 1 else 1.5
        return per_picture(width) * x, between_values(x, k, rest)
    return draw


def tame_inputs(g: Generator) -> tuple:
    """Nothing leaves [-1, 1], and in the last picture nothing comes near."""
    x = uniform((between(2, 3, g), 3, 4, 5), -0.9, 0.9, g)
    x[-1] /= 3
    return x, 0.9


def whole_inputs(g: Generator) -> tuple:
    """A percentile of exactly 1: s is the largest."""
    return (1.5 + torch.rand((), generator=g)) * torch.randn(2, 3, 5, between(3, 4, g),
                                                             generator=g), 1.0


def at_one_inputs(g: Generator) -> tuple:
    """A picture in black and white, so that s is exactly 1, with a few values far beyond."""
    x = torch.where(torch.rand(2, 3, 6, 6, generator=g) < 0.5, -1.0, 1.0)
    x[0, 0, 0, :3], x[1, 1, 2, :2] = torch.tensor([4.0, -5.0, 3.0]), torch.tensor([-50.0, 9.0])
    return x, 0.9


def far_inputs(g: Generator) -> tuple:
    """Hardly anything inside [-1, 1]: whatever is taken of the sizes is above 1."""
    x = uniform((2, 3, 4, between(4, 5, g)), 1.5, 6, g)
    return x * torch.where(torch.rand(x.shape, generator=g) < 0.6, -1.0, 1.0), 0.8


def outlier_inputs(g: Generator) -> tuple:
    """One pixel of a million, which must not decide."""
    x = 1.5 * torch.randn(3, between(1, 2, g), 6, 5, generator=g)
    x[1, 0, 2, 3] = -1e6
    return x, 0.9


THRESHOLD = Exercise(
    "imagen.dynamic_threshold", LESSON, 3, dynamic_threshold,
    (wild_inputs(lambda g: (between(2, 3, g), 3, 4, 5), 4, 0.3),
     wild_inputs(lambda g: 4 * (4,), 9, 0.7),
     wild_inputs(lambda g: (1, 3, between(5, 6, g), 4), 6, 0.4),
     tame_inputs, whole_inputs, at_one_inputs, far_inputs, outlier_inputs), of_section(5,
        Mistake(
            "a static threshold",
            "You cut to [-1, 1]: that is the static threshold. The dynamic one cuts at s, and "
            "divides by it, so that values keep their order.",
            lambda x_0, percentile: clip_static(x_0)),
        Mistake(
            "divided and not cut",
            "You divide by s, and the values beyond s still leave [-1, 1]. Cut to [-s, s] first.",
            lambda x_0, percentile: x_0 / quantile(x_0.abs(), percentile).clamp(min=1)),
        Mistake(
            "cut and not divided",
            "You cut to [-s, s], which may be far outside [-1, 1]. Divide by s afterwards.",
            lambda x_0, percentile: shrunk(x_0, s := quantile(x_0.abs(), percentile).clamp(
                min=1)) * s),
        Mistake(
            "s below 1",
            "Where a picture stays well inside [-1, 1], your s is below 1, and you make its "
            "contrast stronger. s is at least 1.",
            lambda x_0, percentile: shrunk(x_0, quantile(x_0.abs(), percentile))),
        Mistake(
            "s at most 1",
            "You keep s BELOW 1, where it should be at least 1: min and max are exchanged.",
            lambda x_0, percentile: shrunk(x_0, quantile(x_0.abs(), percentile).clamp(max=1))),
        Mistake(
            "without absolute values",
            "You take the percentile of the values, and dark pixels lie below 0. Take that of "
            "their sizes, abs().",
            by_s(quantile)),
        Mistake(
            "one s for the whole batch",
            "You take one s for the whole batch, so that a picture depends on its company. Each "
            "has its own.",
            by_s(lambda x, p: x.abs().quantile(p))),
        Mistake(
            "the largest s of the batch",
            "You take the largest s of the batch for all. Each picture has its own.",
            by_s(lambda x, p: quantile(x.abs(), p).max())),
        Mistake(
            "the mean s of the batch",
            "You take the mean s of the batch for all. Each picture has its own.",
            by_s(lambda x, p: quantile(x.abs(), p).mean())),
        Mistake(
            "the first picture's s",
            "You take the s of the first picture for all. Each has its own.",
            by_s(lambda x, p: quantile(x.abs(), p)[:1])),
        Mistake(
            "one s for each channel",
            "You take an s for each channel, which turns colours. One for a picture.",
            by_s(lambda x, p: x.abs().flatten(2).quantile(p, dim=2)[..., None, None])),
        Mistake(
            "one s for each place",
            "You take an s for each place, over the pictures. One for a picture, over its places "
            "and channels.",
            by_s(lambda x, p: x.abs().quantile(p, dim=0))),
        Mistake(
            "one s for each row",
            "You take an s for each row of pixels. One for a picture: flatten it first.",
            by_s(lambda x, p: x.abs().quantile(p, dim=3, keepdim=True))),
        Mistake(
            "the largest value",
            "You take the largest value as s, and one wild pixel makes the whole picture grey. "
            "Take the percentile that was given.",
            by_s(lambda x, p: x.abs().amax(dim=(1, 2, 3), keepdim=True))),
        Mistake(
            "the percentile from the other end",
            "You take the percentile from the other end, 1 - percentile.",
            by_s(lambda x, p: quantile(x.abs(), 1 - p))),
        Mistake(
            "the percentile halved",
            "You leave out half of it above and half below. Sizes lie above 0, so all that is left "
            "out lies above: take the percentile as it is given.",
            by_s(lambda x, p: quantile(x.abs(), 1 - (1 - p) / 2))),
        Mistake(
            "0.995 whatever comes",
            "You take the percentile 0.995, whatever is given.",
            by_s(lambda x, p: quantile(x.abs(), 0.995))),
        Mistake(
            "the percentile divided by 100",
            "You divide the percentile by 100. It is given from 0 to 1.",
            by_s(lambda x, p: quantile(x.abs(), p / 100))),
        *(Mistake(
            f"{kind} of the neighbours",
            f"You take the {kind} of the two values between which the percentile lies. "
            "torch.quantile goes from the one to the other in proportion.",
            by_s(lambda x, p, kind=kind: quantile(x.abs(), p, kind)))
          for kind in ("lower", "higher", "nearest")),
        Mistake(
            "the standard deviation",
            "You take the standard deviation as s. Asked for is a percentile of the sizes.",
            by_s(lambda x, p: x.flatten(1).std(dim=1).view(-1, 1, 1, 1))),
        Mistake(
            "the mean size",
            "You take the mean size as s. Asked for is a percentile of the sizes.",
            by_s(lambda x, p: x.abs().mean(dim=(1, 2, 3), keepdim=True))),
        Mistake(
            "the span",
            "You take largest minus smallest as s. Asked for is a percentile of the sizes.",
            by_s(lambda x, p: x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3),
                                                                          keepdim=True))),
        Mistake(
            "cut above alone",
            "You cut at s and not at -s: dark pixels still leave [-1, 1].",
            lambda x_0, percentile: torch.minimum(
                x_0, s := quantile(x_0.abs(), percentile).clamp(min=1)) / s),
        Mistake(
            "cut below alone",
            "You cut at -s and not at s: bright pixels still leave [-1, 1].",
            lambda x_0, percentile: torch.maximum(
                x_0, -(s := quantile(x_0.abs(), percentile).clamp(min=1))) / s),
        Mistake(
            "cut to [0, s]",
            "You cut to [0, s]. Our pictures lie on both sides of 0: [-s, s].",
            lambda x_0, percentile: dynamic_threshold(x_0, percentile).clamp(min=0)),
        Mistake(
            "the sign lost",
            "You return sizes. The sign belongs to the colour: take abs() for s alone.",
            lambda x_0, percentile: dynamic_threshold(x_0, percentile).abs()),
        Mistake(
            "divided twice",
            "You divide by s twice. Once brings [-s, s] to [-1, 1].",
            lambda x_0, percentile: dynamic_threshold(x_0, percentile) / quantile(
                x_0.abs(), percentile).clamp(min=1)),
        Mistake(
            "divided by the root of s",
            "You divide by the root of s. That does not bring [-s, s] to [-1, 1].",
            lambda x_0, percentile: dynamic_threshold(x_0, percentile) * quantile(
                x_0.abs(), percentile).clamp(min=1).sqrt()),
        Mistake(
            "tanh",
            "You squeeze by tanh(x / s), which changes values inside too. Cut, then divide.",
            lambda x_0, percentile: (x_0 / quantile(x_0.abs(), percentile).clamp(min=1)).tanh()),
        Mistake(
            "divided first, cut at s",
            "You divide by s first, and then cut at s. After the division the bounds are -1 and 1.",
            lambda x_0, percentile: torch.maximum(torch.minimum(x_0 / (s := quantile(
                x_0.abs(), percentile).clamp(min=1)), s), -s)),
        Mistake(
            "all pictures as soon as one leaves",
            "You ask whether any picture of the batch needs a threshold, and then divide all by "
            "their s, be it below 1. Ask each one: at least 1.",
            lambda x_0, percentile: shrunk(x_0, s) if (s := quantile(
                x_0.abs(), percentile)).max() > 1 else 1 * x_0),
        Mistake(
            "nothing done",
            "You return the guess as it came.",
            lambda x_0, percentile: x_0.clone()),
        Mistake(
            "cut at 1, divided by s",
            "You cut at 1, and divide by s all the same. Cut at s: then the division brings the "
            "largest to 1.",
            lambda x_0, percentile: clip_static(x_0) / quantile(x_0.abs(), percentile).clamp(
                min=1)),
        Mistake(
            "one s for each pixel",
            "You take an s for each pixel, over its three colours. One for a picture: flatten it "
            "first.",
            by_s(lambda x, p: x.abs().quantile(p, dim=1, keepdim=True))),
        Mistake(
            "the mean of what each needs",
            "You take the mean of the pictures' s for all. Each picture has its own.",
            lambda x_0, percentile: shrunk(x_0, quantile(x_0.abs(), percentile).clamp(
                min=1).mean())),
        Mistake(
            "squares in place of sizes",
            "You take the percentile of the squares. Asked for is that of the sizes, abs().",
            by_s(lambda x, p: quantile(x.square(), p))),
        Mistake(
            "the root mean square",
            "You take the root mean square as s. Asked for is a percentile of the sizes.",
            by_s(lambda x, p: x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt())),
        Mistake(
            "1 added to s",
            "You add 1 to s. At least 1 is meant: clamp(min=1), so that tame pictures stay as they "
            "are.",
            by_s(lambda x, p: 1 + quantile(x.abs(), p))),
        Mistake(
            "multiplied by s",
            "You multiply by s, where it should be divided by it.",
            lambda x_0, percentile: clip_static(x_0 * quantile(x_0.abs(), percentile).clamp(
                min=1))),
        Mistake(
            "s along the width",
            "Your s (B,) runs along the width of the pictures, and only works where there are as "
            "many columns as pictures. Give it three dimensions more: (B,1,1,1).",
            lambda x_0, percentile: clip_static(x_0 / x_0.abs().flatten(1).quantile(
                percentile, dim=1).clamp(min=1))),
    ), "each picture cut at its own s, and divided by it")


# ---- noise on the small picture

def augment(small: Tensor, level: Tensor, eps: Tensor) -> Tensor:
    """small and eps (B,3,h,w), level (B,) from 0 to 1 -> (B,3,h,w): cos(a) small + sin(a) eps, with
    a = level pi / 2, each picture at its own level."""
    angle = per_picture(level) * math.pi / 2
    return angle.cos() * small + angle.sin() * eps


def smalls(size, *levels: float):
    """size(g) -> B, h, w. The first pictures have these levels, the others any."""
    def draw(g: Generator) -> tuple:
        B, h, w = size(g)
        level = uniform((B,), 0.15, 0.85, g)
        level[:len(levels)] = torch.tensor(levels[:B])
        return uniform((B, 3, h, w), -1, 1, g), level, torch.randn(B, 3, h, w, generator=g)
    return draw


def weighted(weights):
    """Other weights(level (B,1,1,1)) of picture and noise."""
    def answer(small, level, eps):
        of_small, of_eps = weights(per_picture(level))
        return of_small * small + of_eps * eps
    return answer


def turned(angle):
    """Another angle."""
    return weighted(lambda level: (angle(level).cos(), angle(level).sin()))


AUGMENT = Exercise(
    "imagen.augment", LESSON, 2, augment,
    (smalls(lambda g: (between(3, 4, g), 5, between(6, 7, g)), 0.3, 0.6),
     smalls(lambda g: 3 * (3,), 0.2, 0.8),
     smalls(lambda g: (3, 4, 5), 0.0, 1.0),
     smalls(lambda g: (1, between(4, 6, g), 3), 0.5),
     smalls(lambda g: (2, 4, 6), 0.05, 0.95)), of_section(6,
        Mistake(
            "the picture not shrunk",
            "You lay the noise on the picture as it is. Then the variance grows with the level: "
            "the picture's weight is the cosine.",
            weighted(lambda s: (1.0, (s * math.pi / 2).sin()))),
        Mistake(
            "level times the noise on top",
            "You add level times the noise, as lesson 13 does. Here the variance is kept: cosine "
            "and sine of an angle.",
            weighted(lambda s: (1.0, s))),
        Mistake(
            "the noise not scaled",
            "You shrink the picture and add the whole noise. Its weight is the sine.",
            weighted(lambda s: ((s * math.pi / 2).cos(), 1.0))),
        Mistake(
            "cosine and sine exchanged",
            "Your level 0 is nothing but noise. It should be the picture: exchange cosine and "
            "sine.",
            weighted(lambda s: ((s * math.pi / 2).sin(), (s * math.pi / 2).cos()))),
        Mistake(
            "squares of cosine and sine",
            "You mix with the squares. These are shares of the variance; the weights are their "
            "roots, cosine and sine themselves.",
            weighted(lambda s: ((s * math.pi / 2).cos() ** 2, (s * math.pi / 2).sin() ** 2))),
        Mistake(
            "1 - level and level",
            "You mix with 1 - level and level, so that half way the variance is halved. Cosine and "
            "sine keep it.",
            weighted(lambda s: (1 - s, s))),
        Mistake(
            "the roots of 1 - level and level",
            "You take the level for the noise's share of the variance. Here it is the share of a "
            "right angle: cosine and sine.",
            weighted(lambda s: ((1 - s).sqrt(), s.sqrt()))),
        Mistake(
            "the level as the noise's weight",
            "You take the level itself for the noise's weight, and keep the variance. Here it is "
            "the share of a right angle: the weight is its sine.",
            weighted(lambda s: ((1 - s ** 2).sqrt(), s))),
        Mistake(
            "divided by the root of 1 + level^2",
            "You add level times the noise, and bring the variance back by a division. Then level "
            "1 is half picture: cosine and sine reach pure noise.",
            weighted(lambda s: (1 / (1 + s ** 2).sqrt(), s / (1 + s ** 2).sqrt()))),
        Mistake(
            "pi / 2 forgotten",
            "You take the level for the angle. Then level 1 still is half picture: multiply by pi "
            "/ 2.",
            turned(lambda s: s)),
        Mistake(
            "pi in place of pi / 2",
            "Your angle is pi at level 1, and the picture comes back with its sign turned. A right "
            "angle is pi / 2.",
            turned(lambda s: s * math.pi)),
        Mistake(
            "the angle in degrees",
            "You give degrees to cosine and sine. They take radians: 90 degrees are pi / 2.",
            turned(lambda s: s * 90)),
        Mistake(
            "noise subtracted",
            "You subtract the noise. That would be as good a draw, but it is that of -eps.",
            lambda small, level, eps: augment(small, level, -eps)),
        Mistake(
            "the picture subtracted",
            "The picture's sign is turned. Add it.",
            lambda small, level, eps: augment(-small, level, eps)),
        Mistake(
            "the picture as it is",
            "You return the picture without noise.",
            lambda small, level, eps: small.clone()),
        Mistake(
            "the picture shrunk, without noise",
            "You shrink the picture, and add no noise. Its weight is the sine.",
            lambda small, level, eps: augment(small, level, 0 * eps)),
        Mistake(
            "the noise alone",
            "You return the noise, whatever the level.",
            lambda small, level, eps: eps.clone()),
        Mistake(
            "the first level for all",
            "You use the level of the first picture for all. In training each has its own.",
            lambda small, level, eps: augment(small, level[:1].expand_as(level), eps)),
        Mistake(
            "the mean level for all",
            "You use the mean level for all. In training each picture has its own.",
            lambda small, level, eps: augment(small, level.mean().expand_as(level), eps)),
        Mistake(
            "levels along the width",
            "Your levels run along the width of the pictures, and only work where there are as "
            "many columns as pictures. Give them three dimensions more: (B,1,1,1).",
            lambda small, level, eps: (level * math.pi / 2).cos() * small
                + (level * math.pi / 2).sin() * eps),
        Mistake(
            "the first picture's noise for all",
            "You lay the noise of the first picture on all. Each has its own.",
            lambda small, level, eps: augment(small, level, eps[:1])),
        Mistake(
            "one channel's noise for all three",
            "You lay the noise of the first channel on all three: grey noise. Each has its own.",
            lambda small, level, eps: augment(small, level, eps[:, :1])),
        Mistake(
            "cut to [-1, 1]",
            "You cut the noisy picture to [-1, 1]. Noise may lie outside; cut, it is no longer "
            "normal, and the level lies.",
            lambda small, level, eps: augment(small, level, eps).clamp(-1, 1)),
        Mistake(
            "2 / pi in place of pi / 2",
            "Your angle is 2 / pi at level 1: the fraction is turned round. A right angle is "
            "pi / 2.",
            turned(lambda s: s * 2 / math.pi)),
        Mistake(
            "half a right angle",
            "Your angle is pi / 4 at level 1, and still half of the variance is picture. A right "
            "angle is pi / 2.",
            turned(lambda s: s * math.pi / 4)),
        Mistake(
            "3.14 for pi",
            "You take 3.14 for pi, and some of the picture is left at level 1. math.pi has all "
            "digits.",
            turned(lambda s: s * 3.14 / 2)),
        Mistake(
            "1 less the cosine",
            "You give the noise 1 less the cosine. Then the variance falls half way: its weight is "
            "the sine.",
            weighted(lambda s: ((a := s * math.pi / 2).cos(), 1 - a.cos()))),
        Mistake(
            "1 less the sine",
            "You give the picture 1 less the sine. Then the variance falls half way: its weight is "
            "the cosine.",
            weighted(lambda s: (1 - (a := s * math.pi / 2).sin(), a.sin()))),
        Mistake(
            "the cosine for both",
            "You give picture and noise the cosine. The noise has the sine, 0 at level 0.",
            weighted(lambda s: 2 * ((s * math.pi / 2).cos(),))),
        Mistake(
            "the noise cut",
            "You cut the noise to [-1, 1]. It is normal, and may be larger: leave it.",
            lambda small, level, eps: augment(small, level, eps.clamp(-1, 1))),
        Mistake(
            "levels along the height",
            "Your levels (B,1) run along the height of the pictures, and only work where there are "
            "as many rows as pictures. Give them three dimensions more: (B,1,1,1).",
            lambda small, level, eps: (level * math.pi / 2).cos()[:, None] * small
                + (level * math.pi / 2).sin()[:, None] * eps),
        Mistake(
            "levels along the channels",
            "Your levels lie along the channels of a picture. (B,) must become (B,1,1,1).",
            lambda small, level, eps: (level * math.pi / 2).cos()[:, None, None] * small
            + (level * math.pi / 2).sin()[:, None, None] * eps),
        Mistake(
            "2 pi in place of pi / 2",
            "Your level 1 is a full turn, and so the picture again. It is a right angle: pi / 2.",
            turned(lambda level: 2 * math.pi * level)),
    ), "as noisy as its level, and the variance kept")


# ---- what the second stage is told

def told(x_t: Tensor, noisy: Tensor, level: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """x_t (B,3,H,W), the large picture under noise; noisy (B,3,h,w), the small one; level (B,) of
    its noise; text (B,D) -> (B,6,H,W), x_t and behind it the small picture, enlarged bilinearly
    (align_corners=False), and (B,D+1), the text and behind it the level."""
    return beside(x_t, enlarged(noisy, x_t)), with_level(text, level)


def enlarged(noisy: Tensor, x_t: Tensor) -> Tensor:
    return F.interpolate(noisy, x_t.shape[2:], mode="bilinear", align_corners=False)


def beside(x_t: Tensor, rough: Tensor) -> Tensor:
    return torch.cat([x_t, rough], dim=1)


def with_level(text: Tensor, level: Tensor) -> Tensor:
    return torch.cat([text, level[:, None]], dim=1)


def two_sizes(size, times: int, *levels: float):
    """size(g) -> B, h, w, D. The large picture is so many times as high and as wide."""
    def draw(g: Generator) -> tuple:
        B, h, w, D = size(g)
        level = uniform((B,), 0.15, 0.4, g)
        level[:len(levels)] = torch.tensor(levels[:B])
        return (torch.randn(B, 3, times * h, times * w, generator=g),
                1.3 * torch.randn(B, 3, h, w, generator=g), level, torch.randn(B, D, generator=g))
    return draw


def with_rough(rough):
    """Another enlargement, rough(noisy, size); the rest is right."""
    return lambda x_t, noisy, level, text: (beside(x_t, rough(noisy, x_t.shape[2:])),
                                            with_level(text, level))


def with_vector(vector):
    """Another vector(text, level (B,1)); the rest is right."""
    return lambda x_t, noisy, level, text: (beside(x_t, enlarged(noisy, x_t)),
                                            vector(text, level[:, None]))


def with_picture(picture):
    """Another picture(x_t, rough); the rest is right."""
    return lambda x_t, noisy, level, text: (picture(x_t, enlarged(noisy, x_t)),
                                            with_level(text, level))


TOLD = Exercise(
    "imagen.told", LESSON, 2, told,
    (two_sizes(lambda g: (between(2, 3, g), 4, between(5, 6, g), 7), 2),
     two_sizes(lambda g: (between(4, 5, g), 3, 3, 3), 3),
     two_sizes(lambda g: (1, 4, 2, between(5, 6, g)), 4),
     two_sizes(lambda g: (2, 3, between(4, 5, g), 1), 2, 0.0, 1.0),
     two_sizes(lambda g: (3, 2, 3, 4), 3)), of_section(6,
        Mistake(
            "the nearest pixel",
            "You enlarge by repeating pixels. Asked for is mode='bilinear': each new pixel is a "
            "mean of its neighbours.",
            with_rough(lambda x, size: F.interpolate(x, size))),
        Mistake(
            "bicubic",
            "You enlarge by mode='bicubic', which shoots over at edges. Asked for is 'bilinear'.",
            with_rough(lambda x, size: F.interpolate(x, size, mode="bicubic",
                                                     align_corners=False))),
        Mistake(
            "corners aligned",
            "You lay the centres of the corner pixels on each other, and the picture is stretched "
            "by a little. align_corners=False.",
            with_rough(lambda x, size: F.interpolate(x, size, mode="bilinear",
                                                     align_corners=True))),
        Mistake(
            "the small picture cut",
            "You cut the small picture to [-1, 1]. It is noisy on purpose, and the level says how "
            "much: leave it.",
            with_rough(lambda x, size: F.interpolate(x.clamp(-1, 1), size, mode="bilinear",
                                                     align_corners=False))),
        Mistake(
            "laid into a corner",
            "You fill the small picture up with 0 to the size of x_t. Then the places do not meet: "
            "enlarge it.",
            with_rough(lambda x, size: F.pad(x, (0, size[1] - x.shape[3],
                                                 0, size[0] - x.shape[2])))),
        Mistake(
            "tiled",
            "You repeat the small picture side by side. Enlarge it, so that the places meet.",
            with_rough(lambda x, size: x.repeat(1, 1, size[0] // x.shape[2],
                                                size[1] // x.shape[3]))),
        Mistake(
            "the width in the height's place",
            "You enlarge to a height that is the width of x_t. Sizes come as height, width: "
            "x_t.shape[2:].",
            lambda x_t, noisy, level, text: (
                torch.cat([x_t, F.interpolate(noisy, x_t.shape[:1:-1], mode="bilinear",
                                              align_corners=False)], dim=1),
                with_level(text, level))),
        Mistake(
            "the small picture first",
            "You put the small picture before x_t. The network was built for the other order: x_t "
            "first.",
            with_picture(lambda x_t, rough: torch.cat([rough, x_t], dim=1))),
        Mistake(
            "added",
            "You add the two pictures, and the network cannot take them apart again. Lay them "
            "beside each other: six channels.",
            with_picture(lambda x_t, rough: x_t + rough)),
        Mistake(
            "the difference",
            "You give the difference of the two pictures. Lay them beside each other: six "
            "channels.",
            with_picture(lambda x_t, rough: x_t - rough)),
        Mistake(
            "x_t and the difference",
            "Your second picture is x_t less the small one. Give the small one itself.",
            with_picture(lambda x_t, rough: torch.cat([x_t, x_t - rough], dim=1))),
        Mistake(
            "below each other",
            "You lay the pictures below each other, (B,3,2H,W). They belong to the same places: "
            "join the channels, dim 1.",
            with_picture(lambda x_t, rough: torch.cat([x_t, rough], dim=2))),
        Mistake(
            "side by side",
            "You lay the pictures side by side, (B,3,H,2W). They belong to the same places: join "
            "the channels, dim 1.",
            with_picture(lambda x_t, rough: torch.cat([x_t, rough], dim=3))),
        Mistake(
            "along the batch",
            "You join along the batch, (2B,3,H,W). Each x_t has its own small picture: join the "
            "channels, dim 1.",
            with_picture(lambda x_t, rough: torch.cat([x_t, rough], dim=0))),
        Mistake(
            "the channels in turns",
            "Your channels take turns, red of x_t, red of the small one. First all of x_t.",
            with_picture(lambda x_t, rough: torch.stack([x_t, rough], dim=2).flatten(1, 2))),
        Mistake(
            "the small picture alone",
            "You give the small picture alone. What is to be made clear is x_t: it comes first.",
            with_picture(lambda x_t, rough: rough)),
        Mistake(
            "x_t alone",
            "You leave the small picture out. Without it the second stage draws anything.",
            with_picture(lambda x_t, rough: x_t.clone())),
        Mistake(
            "x_t made small",
            "You make x_t small, and join at the small size. The network draws the large one: "
            "enlarge the small picture instead.",
            lambda x_t, noisy, level, text: (
                torch.cat([F.interpolate(x_t, noisy.shape[2:], mode="area"), noisy], dim=1),
                with_level(text, level))),
        Mistake(
            "the first small picture for all",
            "You lay the first small picture beside all. Each x_t has its own.",
            lambda x_t, noisy, level, text: told(x_t, noisy[:1].expand_as(noisy), level, text)),
        Mistake(
            "the level not told",
            "You give the text alone. Not told how noisy the small picture is, the network must "
            "guess what of it is noise.",
            with_vector(lambda text, level: text.clone())),
        Mistake(
            "level 0 told",
            "You always tell the level 0, and the network takes noise for detail.",
            with_vector(lambda text, level: with_level(text, 0 * level[:, 0]))),
        Mistake(
            "1 - level",
            "You tell how much of the picture is left. Asked for is the level of the noise.",
            with_vector(lambda text, level: with_level(text, 1 - level[:, 0]))),
        Mistake(
            "the sine of the level",
            "You tell the weight of the noise. Asked for is the level itself, as it came.",
            with_vector(lambda text, level: with_level(text, (level[:, 0] * math.pi / 2).sin()))),
        Mistake(
            "the level first",
            "You put the level before the text. The network was built for the other order.",
            with_vector(lambda text, level: torch.cat([level, text], dim=1))),
        Mistake(
            "the level alone",
            "You tell the level and not the text. Imagen's second stage hears the caption too.",
            with_vector(lambda text, level: level.clone())),
        Mistake(
            "the level added",
            "You add the level to the text. Give it an entry of its own, (B,D+1).",
            with_vector(lambda text, level: text + level)),
        Mistake(
            "the text times the level",
            "You multiply the text by the level. Give the level an entry of its own, (B,D+1).",
            with_vector(lambda text, level: text * level)),
        Mistake(
            "the first level for all",
            "You tell the level of the first picture for all. Each has its own.",
            with_vector(lambda text, level: with_level(text, level[:1, 0].expand(len(level))))),
        Mistake(
            "the answers exchanged",
            "You return the vector first. First come the pictures, then text and level.",
            lambda *args: told(*args)[::-1]),
        Mistake(
            "the pictures alone",
            "You return the pictures alone. The network is told two things: pictures, and text "
            "with the level.",
            lambda *args: told(*args)[0]),
        Mistake(
            "the height in the width's place",
            "You enlarge to a width that is the height of x_t. Sizes come as height, width: "
            "x_t.shape[2:].",
            with_rough(lambda x, size: F.interpolate(x, size[0], mode="bilinear",
                                                     align_corners=False))),
        Mistake(
            "twice as large, whatever x_t is",
            "You make the small picture twice as large, whatever the size of x_t. Take its size: "
            "x_t.shape[2:].",
            with_rough(lambda x, size: F.interpolate(x, scale_factor=2, mode="bilinear",
                                                     align_corners=False))),
        Mistake(
            "32 x 32 whatever comes",
            "You enlarge to 32 x 32, whatever the size of x_t. Take its size: x_t.shape[2:].",
            with_rough(lambda x, size: F.interpolate(x, (32, 32), mode="bilinear",
                                                     align_corners=False))),
        Mistake(
            "the enlarged picture cut",
            "You cut the enlarged picture to [-1, 1]. It is noisy on purpose, and the level says "
            "how much: leave it.",
            with_picture(lambda x_t, rough: torch.cat([x_t, rough.clamp(-1, 1)], dim=1))),
        Mistake(
            "x_t cut",
            "You cut x_t to [-1, 1]. It is noisy on purpose, as in any diffusion: leave it.",
            with_picture(lambda x_t, rough: torch.cat([x_t.clamp(-1, 1), rough], dim=1))),
        Mistake(
            "x_t twice",
            "You give x_t twice. Behind it comes the small picture, enlarged.",
            with_picture(lambda x_t, rough: torch.cat([x_t, x_t], dim=1))),
        Mistake(
            "the small picture twice",
            "You give the small picture twice. What is to be made clear is x_t: it comes first.",
            with_picture(lambda x_t, rough: torch.cat([rough, rough], dim=1))),
        Mistake(
            "stacked",
            "You stack the pictures in a dimension of their own, (B,2,3,H,W). Join the channels: "
            "torch.cat along dim 1.",
            with_picture(lambda x_t, rough: torch.stack([x_t, rough], dim=1))),
        Mistake(
            "the level as a seventh channel",
            "You lay the level beside the pictures too, as a seventh channel. It is told once, in "
            "the vector: six channels.",
            lambda x_t, noisy, level, text: (
                torch.cat([x_t, enlarged(noisy, x_t), per_picture(level).expand_as(x_t[:, :1])],
                          dim=1), with_level(text, level))),
        Mistake(
            "the small picture and the level first",
            "You put the small picture before x_t, and the level before the text. The network was "
            "built for the other order in both.",
            lambda x_t, noisy, level, text: (
                beside(enlarged(noisy, x_t), x_t), torch.cat([level[:, None], text], dim=1))),
        Mistake(
            "the angle of the level",
            "You tell the angle, level pi / 2. Asked for is the level itself, as it came.",
            with_vector(lambda text, level: with_level(text, level[:, 0] * math.pi / 2))),
        Mistake(
            "the cosine of the level",
            "You tell the weight of the picture. Asked for is the level itself, as it came.",
            with_vector(lambda text, level: with_level(text, (level[:, 0] * math.pi / 2).cos()))),
        Mistake(
            "a thousand times the level",
            "You multiply the level by 1000, as a step of the diffusion is counted. Asked for is "
            "the level itself, from 0 to 1.",
            with_vector(lambda text, level: with_level(text, 1000 * level[:, 0]))),
        Mistake(
            "the mean level for all",
            "You tell the mean level for all. Each has its own.",
            with_vector(lambda text, level: with_level(text, level[:, 0].mean().expand(
                len(level))))),
        Mistake(
            "three answers",
            "You return text and level apart. They are one vector, (B,D+1): the text, and the "
            "level behind it.",
            lambda x_t, noisy, level, text: (beside(x_t, enlarged(noisy, x_t)), text.clone(),
                                             level.clone())),
        Mistake(
            "the level rounded",
            "You round the level. It is a number from 0 to 1, as it is.",
            with_vector(lambda text, level: with_level(text, level.round()))),
    ), "both pictures place by place, and text with the level")


TEST = hunt(THRESHOLD, "a static threshold", "divided and not cut", "cut and not divided",
    "s below 1", "without absolute values", "one s for the whole batch", "one s for each channel",
    "the largest value", "the percentile from the other end", "cut above alone")
EXERCISES = (HIDE, LOSS, POOLED, GUESS, THRESHOLD, AUGMENT, TOLD, TEST)
