r"""The exercises of lesson 04: two towers, one space, and the loss that brings pairs together.

in -> out   EXERCISES: unit, logits, contrastive_loss, repeats, loss_with_repeats, zero_shot
idea        From vectors to logits to the loss, in the order in which the lesson needs them; each
            mistake is the right function with one line changed.
"""
import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from minidalle import clip
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.transformer import between, of_section

LESSON = "04_clip"


# ---- vectors of length one

def unit(x: Tensor) -> Tensor:
    """x (B,E) -> (B,E), each row at length one."""
    return clip.unit(x)


def unit_inputs(g: Generator) -> tuple:
    """The last row is shorter than 1: it must grow. The first is long."""
    x = 2 + 3 * torch.randn(between(3, 5, g), between(6, 8, g), generator=g)
    x[-1] *= 0.3 / x[-1].norm()
    x[0] *= 200 / x[0].norm()
    return (x,)


UNIT = Exercise(
    "clip.unit", LESSON, 1, unit, (unit_inputs,),
    of_section(1,
        Mistake(
            "along the batch",
            "You make the columns of length one, so that the pictures of a batch share out one "
            "length. Each vector is a row: look at dim.",
            lambda x: x / x.norm(dim=0, keepdim=True)),
        Mistake(
            "one length for the whole table",
            "You divide by the length of the whole table, one number. Each row needs its own: "
            "give the norm a dim, and keepdim=True.",
            lambda x: x / x.norm()),
        Mistake(
            "divided by the squared length",
            "You divide by the sum of the squares. The length is its square root.",
            lambda x: x / x.square().sum(dim=-1, keepdim=True)),
        Mistake(
            "divided by the sum of sizes",
            "You divide by the sum of the absolute values, so these add up to 1. The length of a "
            "vector is Euclid's: squares, sum, root.",
            lambda x: x / x.abs().sum(dim=-1, keepdim=True)),
        Mistake(
            "softmax",
            "This is a softmax: positive entries that sum to 1. A vector keeps its direction and "
            "its signs; only its length becomes 1.",
            lambda x: x.softmax(dim=-1)),
        Mistake(
            "standardised",
            "You take away the mean and divide by the standard deviation, as a norm layer does. "
            "Only the length is to change, not the direction.",
            lambda x: (x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, keepdim=True)),
        Mistake(
            "short rows left short",
            "You shorten long rows, and leave those shorter than 1 as they were. Each row gets the "
            "length one: divide by the length itself, and not by at least 1.",
            lambda x: x / x.norm(dim=-1, keepdim=True).clamp(min=1)),
        Mistake(
            "not normalised",
            "Your vectors come back as they were. Did you compute the length and forget to divide "
            "by it?",
            lambda x: x),
    ), "every row has length one and its old direction", learns=True)


# ---- logits

def logits(images: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
    """images (B,E), texts (C,E) straight from the towers, log_scale () -> (B,C)."""
    return log_scale.exp() * clip.unit(images) @ clip.unit(texts).mT


def logits_inputs(g: Generator, more: int = 2, low: float = 1.5, high: float = 2.2) -> tuple:
    """More captions than pictures, vectors of unequal lengths."""
    B, E = between(3, 5, g), between(4, 6, g)
    images, texts = 3 * torch.randn(B, E, generator=g), torch.randn(B + more, E, generator=g) / 2
    return images, texts, low + (high - low) * torch.rand((), generator=g)


def sharp_logits_inputs(g: Generator) -> tuple:
    """A scale of 90 to 99: below CLIP's own cap of 100, and so not to be capped."""
    return logits_inputs(g, -1, 4.5, 4.6)


def blunt_logits_inputs(g: Generator) -> tuple:
    """A scale below 1: its logarithm is below 0."""
    return logits_inputs(g, 1, -1.0, -0.4)


LOGITS = Exercise(
    "clip.logits", LESSON, 2, logits, (logits_inputs, sharp_logits_inputs, blunt_logits_inputs),
    of_section(2,
        Mistake(
            "not normalised",
            "Your dot products are of vectors at their full length, so that a long vector is near "
            "everybody. Bring both to length one first.",
            lambda images, texts, log_scale: log_scale.exp() * images @ texts.mT),
        Mistake(
            "only the pictures normalised",
            "You brought the pictures to length one, but not the captions. A long caption vector "
            "would win every comparison.",
            lambda images, texts, log_scale: log_scale.exp() * clip.unit(images) @ texts.mT),
        Mistake(
            "only the captions normalised",
            "You brought the captions to length one, but not the pictures. A long picture vector "
            "would be surer of its caption than a short one.",
            lambda images, texts, log_scale: log_scale.exp() * images @ clip.unit(texts).mT),
        Mistake(
            "multiplied by the logarithm",
            "You multiply by log_scale itself. It is the LOGARITHM of the scale, so that learning "
            "can never make the scale negative: undo the logarithm first.",
            lambda images, texts, log_scale: log_scale * clip.unit(images) @ clip.unit(texts).mT),
        Mistake(
            "divided by the logarithm",
            "You divide by log_scale as if it were a temperature. It is the logarithm of the "
            "scale, and the scale multiplies.",
            lambda images, texts, log_scale: clip.unit(images) @ clip.unit(texts).mT / log_scale),
        Mistake(
            "divided by the scale",
            "You divide by exp(log_scale). A temperature divides, but a scale is 1 / temperature, "
            "and so it multiplies.",
            lambda images, texts, log_scale:
                clip.unit(images) @ clip.unit(texts).mT / log_scale.exp()),
        Mistake(
            "scale forgotten",
            "These are bare cosines, between -1 and 1, and a softmax of those is nearly flat. The "
            "scale is missing, or it stands inside unit, which divides it away again.",
            lambda images, texts, log_scale: clip.unit(images) @ clip.unit(texts).mT),
        Mistake(
            "softmax",
            "These are probabilities: you took a softmax of the table. Logits go into the loss, "
            "which has a softmax of its own, once along the rows and once along the columns.",
            lambda images, texts, log_scale: logits(images, texts, log_scale).softmax(dim=-1)),
        Mistake(
            "captions as rows",
            "Your table is transposed: rows are pictures and columns are captions, (B,C).",
            lambda images, texts, log_scale: logits(texts, images, log_scale)),
    ), "scaled cosines, pictures as rows and captions as columns",
    tolerance=5e-5, learns=True)  # what a cosine lacks in float32, times a scale of 100


# ---- the loss, no caption twice

def contrastive_loss(logits: Tensor) -> Tensor:
    """logits (B,B), pair i on the diagonal -> scalar."""
    return clip.contrastive_loss(logits, torch.eye(len(logits), dtype=torch.bool))


def loss_inputs(g: Generator) -> tuple:
    """Unequal columns, so that both directions differ; large enough that rows and means do too."""
    B = between(4, 6, g)
    return (2 * torch.randn(B, B, generator=g) + 2 * torch.randn(B, generator=g),)


def near(args: tuple) -> tuple:
    """Cosines near 1 at the scale 100, CLIP's largest: exp is infinite from 89 on."""
    return 100 + args[0], *args[1:]


def lost(args: tuple) -> tuple:
    """At the scale 100 a picture that lies much nearer to another caption than to its own: the
    probability of its own is e^-120, and that is 0 in float32."""
    logits = args[0] + 0
    logits[0, 0] -= 60
    logits[0, 1:] += 60
    return logits, *args[1:]


def labels(logits: Tensor) -> Tensor:
    return torch.arange(len(logits))


OVERFLOW = "at CLIP's scale of 100 a logit is near 100, and exp(100) is infinite in float32"
UNDERFLOW = ("at CLIP's scale of 100 a probability can be e^-120, which is 0 in float32, and the "
             "logarithm of 0 is infinite")


def bare_softmax(x: Tensor) -> Tensor:
    """The formula as it stands, which overflows."""
    return x.exp() / x.exp().sum(dim=-1, keepdim=True)


def both_ways(loss, logits: Tensor) -> Tensor:
    """The mean of a loss that reads rows over both directions."""
    return (loss(logits) + loss(logits.mT)) / 2


CONTRASTIVE = Exercise(
    "clip.contrastive_loss", LESSON, 3, contrastive_loss,
    (loss_inputs, lambda g: near(loss_inputs(g)), lambda g: lost(loss_inputs(g))),
    of_section(3,
        Mistake(
            "pictures only",
            "Only the pictures look for their captions here (the rows). Let the captions look for "
            "their pictures too (the columns), and average the two: section 2.3 of the CLIP "
            "paper.",
            lambda x: cross_entropy(x, labels(x))),
        Mistake(
            "captions only",
            "Only the captions look for their pictures here (the columns). Let the pictures look "
            "for their captions too (the rows), and average the two.",
            lambda x: cross_entropy(x.mT, labels(x))),
        Mistake(
            "directions added",
            "You add the two directions, and your loss is twice what it should be. Their average "
            "is ln B for a model that guesses.",
            lambda x: 2 * contrastive_loss(x)),
        Mistake(
            "one direction halved",
            "You add one direction and half of the other: a + b / 2 divides b alone. Put brackets "
            "round the sum.",
            lambda x: cross_entropy(x, labels(x)) + cross_entropy(x.mT, labels(x)) / 2),
        Mistake(
            "sum over the batch",
            "You sum over the batch in place of averaging: your loss grows with the batch, and so "
            "would the steps of the optimiser.",
            lambda x: len(x) * contrastive_loss(x)),
        Mistake(
            "mean over the whole table",
            "Your loss is B times too small. Either you average over all B x B places, of which "
            "only the diagonal counts, or you divide a mean by B once more.",
            lambda x: contrastive_loss(x) / len(x)),
        Mistake(
            "the label is not the diagonal",
            "You give every row the label 0, as if all pictures had the first caption. Picture i "
            "belongs to caption i: row i has the label i.",
            lambda x: both_ways(lambda y: cross_entropy(y, torch.zeros_like(labels(y))), x)),
        Mistake(
            "softmax twice",
            "You hand probabilities to cross_entropy, which makes a softmax itself. It wants the "
            "logits.",
            lambda x: both_ways(lambda y: cross_entropy(y.softmax(dim=-1), labels(y)), x)),
        Mistake(
            "sign turned",
            "The size is right and the sign is not: a loss is minus the log of the probability, "
            "which is positive.",
            lambda x: -contrastive_loss(x)),
        Mistake(
            "probabilities without the logarithm",
            "You average the probabilities of the right pairs. Take minus their logarithm, which "
            "punishes a confident mistake far more.",
            lambda x: -both_ways(lambda y: y.softmax(dim=-1).diag().mean(), x)),
        Mistake(
            "exp overflows",
            f"The formula is right, but {OVERFLOW}. log_softmax and cross_entropy subtract the "
            "largest logit first.",
            lambda x: both_ways(lambda y: -bare_softmax(y).diag().log().mean(), x)),
        Mistake(
            "sum of exp overflows",
            f"The formula is right, but {OVERFLOW}. logsumexp subtracts the largest logit first.",
            lambda x: both_ways(lambda y: (y.exp().sum(dim=-1).log() - y.diag()).mean(), x)),
        Mistake(
            "logarithm of a softmax",
            f"The formula is right, but {UNDERFLOW}. log_softmax and cross_entropy never leave the "
            "logarithm.",
            lambda x: both_ways(lambda y: -y.softmax(dim=-1).diag().log().mean(), x)),
    ), "both directions, averaged over the batch, at scale 100 too",
    tolerance=5e-5, learns=True)  # near 100 two float32 are 8e-6 apart


# ---- captions that repeat

def repeats(ids: Tensor) -> Tensor:
    """ids (B,T) -> (B,B) bool: captions i and j are the same."""
    return clip.repeats(ids)


def ids_inputs(g: Generator, T: int = 16) -> tuple:
    """A caption; for each place one that differs there and nowhere else; one with two words
    exchanged, one that is its beginning, one that shares no token, one with the same sum and the
    same sum of places times tokens; and copies of some. Shuffled.
    """
    n = between(8, 12, g)
    words = [10 + 2 * int(i) for i in torch.randperm(12, generator=g)[:n]]
    lists = [words, words[1::-1] + words[2:], words[:between(4, n - 1, g)]]
    first, *others = torch.tensor([[1, *some, 2] + (T - 2 - len(some)) * [0] for some in lists])
    one_place = first + torch.diag(torch.where(first > 0, 1, 40))              # (T,T)
    balanced = first + 0
    balanced[2:5] += torch.tensor([1, -2, 1])
    ids = torch.cat([torch.stack([first, *others, first + 100, balanced]), one_place])  # (T + 5,T)
    copies = [0, 0, between(1, len(ids) - 1, g)]
    return (torch.cat([ids, ids[copies]])[torch.randperm(len(ids) + 3, generator=g)],)


REPEATS = Exercise(
    "clip.repeats", LESSON, 2, repeats, (ids_inputs, lambda g: ids_inputs(g, 24)),
    of_section(5,
        Mistake(
            "any token equal",
            "You call two captions the same when ANY token agrees. Every caption begins with the "
            "same start token: they are the same when all tokens agree.",
            lambda ids: (ids[:, None] == ids[None]).any(dim=-1)),
        Mistake(
            "first token only",
            "You compare the first token alone, and that is the start token of every caption. "
            "Compare the tokens at all T places.",
            lambda ids: ids[:, None, 0] == ids[None, :, 0]),
        Mistake(
            "last token left out",
            "Captions that differ in their last token only are the same to you: the end of a "
            "slice, as in ids[:, :-1], is not part of it.",
            lambda ids: clip.repeats(ids[:, :-1])),
        Mistake(
            "padding ignored",
            "You let the padding, id 0, agree with any token, and so a caption is the same as its "
            "own beginning. Padding is a token like the others here.",
            lambda ids: ((ids[:, None] == ids) | (ids[:, None] == 0) | (ids == 0)).all(dim=-1)),
        Mistake(
            "nearly all tokens",
            "You call two captions the same when NEARLY all tokens agree. One token is enough for "
            "another caption: red or blue.",
            lambda ids: (ids[:, None] == ids).float().mean(dim=-1) > 0.9),
        Mistake(
            "sums compared",
            "You compare one number for each caption, such as the sum of its tokens, and captions "
            "that differ can share it. Compare token by token.",
            lambda ids: ids.sum(dim=1)[:, None] == ids.sum(dim=1)),
        Mistake(
            "equal tokens counted",
            "You count how many tokens agree. Say True where that is all of them, and False "
            "elsewhere.",
            lambda ids: (ids[:, None] == ids[None]).sum(dim=-1)),
        Mistake(
            "order lost",
            "You compare which tokens occur, and not their order. \"Red on blue\" and \"blue on "
            "red\" have the same tokens and are two captions.",
            lambda ids: clip.repeats(ids.sort(dim=-1).values)),
        Mistake(
            "the diagonal only",
            "You return the diagonal alone, as if no caption ever came twice. Compare every "
            "caption with every other.",
            lambda ids: torch.eye(len(ids), dtype=torch.bool)),
        Mistake(
            "the diagonal left out",
            "Your captions are not the same as themselves: the diagonal must be True, each "
            "picture has its own caption.",
            lambda ids: clip.repeats(ids) & ~torch.eye(len(ids), dtype=torch.bool)),
        Mistake(
            "compared token by token",
            "You return (B,B,T), a comparison for each token. One question is left for each pair: "
            "do all of them agree?",
            lambda ids: ids[:, None] == ids[None]),
        Mistake(
            "different in place of same",
            "Your table is turned round: True where the captions differ.",
            lambda ids: ~clip.repeats(ids)),
    ), "equal captions and only those, word order counted")


def loss_with_repeats(logits: Tensor, same: Tensor) -> Tensor:
    """logits (B,B), same (B,B) bool, True where captions are equal -> scalar."""
    return clip.contrastive_loss(logits, same)


def repeats_inputs(g: Generator, B: int = 7) -> tuple:
    """One caption three times, one twice, others once, in random order."""
    caption = torch.tensor([0, 0, 0, 1, 1, *range(2, B - 3)])[torch.randperm(B, generator=g)]
    logits = 2 * torch.randn(B, B, generator=g) + torch.randn(B, generator=g)
    return logits, caption[:, None] == caption


def lost_repeats_inputs(g: Generator) -> tuple:
    """The lost picture has a caption without a copy, which stands first."""
    logits, same = repeats_inputs(g, 9)
    order = same.sum(dim=1).argsort()
    return lost((logits, same[order][:, order]))


def shares(same: Tensor) -> Tensor:
    return same.float() / same.sum(dim=1, keepdim=True)


def own(same: Tensor) -> Tensor:
    return torch.eye(len(same), dtype=torch.bool)


def rows(x: Tensor, target: Tensor) -> Tensor:
    return -(target * x.log_softmax(dim=-1)).sum(dim=-1).mean()


def towards(target):
    """The two-way loss towards another target: target(same) -> (B,B)."""
    return lambda x, same: both_ways(lambda y: rows(y, target(same)), x)


def any_copy(x: Tensor, same: Tensor) -> Tensor:
    return -(x.softmax(dim=-1) * same).sum(dim=-1).log().mean()


LOSS_WITH_REPEATS = Exercise(
    "clip.loss_with_repeats", LESSON, 3, loss_with_repeats,
    (repeats_inputs, lambda g: near(repeats_inputs(g, 8)), lost_repeats_inputs),
    of_section(5,
        Mistake(
            "repeats as negatives",
            "You use the diagonal alone: a copy of the own caption counts as a wrong answer. Each "
            "copy is a right one.",
            lambda x, same: contrastive_loss(x)),
        Mistake(
            "targets sum to more than 1",
            "You give every copy the full target 1, and so a caption that occurs three times "
            "counts threefold. The target of a row is a probability: its copies share the 1.",
            towards(lambda same: same.float())),
        Mistake(
            "shared by the batch",
            "You divide each target by the size of the batch. The 1 is shared among the copies of "
            "one caption, as many as its row has.",
            towards(lambda same: same.float() / len(same))),
        Mistake(
            "first copy only",
            "You take the first copy as the one right answer (argmax finds the first). A picture "
            "cannot know which of the equal captions was meant: share the target among them.",
            towards(lambda same: torch.eye(len(same))[same.int().argmax(dim=1)])),
        Mistake(
            "any copy will do",
            "You take the logarithm of the SUM over the copies: then all of it may go to one "
            "copy, another loss than asked for. Average the log probabilities of the copies.",
            lambda x, same: both_ways(lambda y: any_copy(y, same), x)),
        Mistake(
            "pictures only",
            "The targets are right, but only the rows are read: let the captions look for their "
            "pictures too (the columns), and average the two.",
            lambda x, same: rows(x, shares(same))),
        Mistake(
            "copies left out",
            "You take the copies out of the table (masked to -inf), so that each picture has its "
            "own caption alone. A softmax over fewer captions is another loss: keep the copies, "
            "and let them share the target.",
            lambda x, same: both_ways(lambda y: cross_entropy(y, labels(y)),
                                      x.masked_fill(same & ~own(same), -math.inf))),
        Mistake(
            "only one direction shared",
            "In one direction the copies share the target; in the other each asks for its own "
            "partner alone. The target is symmetric: use it in both.",
            lambda x, same: (rows(x, shares(same)) + rows(x.mT, own(same))) / 2),
        Mistake(
            "mean over all copies",
            "You average over all True places of the table, so that a caption that occurs three "
            "times counts nine times. Share the 1 within each row first, then average over the "
            "rows.",
            towards(lambda same: same * len(same) / same.sum())),
        Mistake(
            "directions added",
            "You add the two directions, and your loss is twice what it should be: average them.",
            lambda x, same: 2 * loss_with_repeats(x, same)),
        Mistake(
            "one direction halved",
            "You add one direction and half of the other: a + b / 2 divides b alone. Put brackets "
            "round the sum.",
            lambda x, same: rows(x, shares(same)) + rows(x.mT, shares(same)) / 2),
        Mistake(
            "mean over the whole table",
            "Your loss is B times too small. Either you average over all B x B places, or you "
            "divide a mean by B once more. Sum along each row, which is the cross entropy of that "
            "picture, and average over the batch alone.",
            lambda x, same: loss_with_repeats(x, same) / len(x)),
        Mistake(
            "exp overflows",
            f"The formula is right, but {OVERFLOW}. log_softmax subtracts the largest logit first.",
            lambda x, same: both_ways(
                lambda y: -(shares(same) * bare_softmax(y).log()).sum(dim=-1).mean(), x)),
        Mistake(
            "logarithm of a softmax",
            f"The formula is right, but {UNDERFLOW}. log_softmax never leaves the logarithm.",
            lambda x, same: both_ways(
                lambda y: -(shares(same) * y.softmax(dim=-1).log()).sum(dim=-1).mean(), x)),
    ), "copies of a caption share the target, in both directions",
    tolerance=5e-5, learns=True)  # near 100 two float32 are 8e-6 apart


# ---- zero-shot

def zero_shot(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """images (B,E) and texts (C,E) of length one -> for each picture probabilities (B,C)."""
    return (scale * images @ texts.mT).softmax(dim=-1)


def zero_shot_inputs(g: Generator) -> tuple:
    """More captions than pictures."""
    B, E = between(3, 5, g), between(5, 7, g)
    vectors = clip.unit(torch.randn(2 * B + 2, E, generator=g))
    return *vectors.split([B, B + 2]), 3 + 4 * torch.rand((), generator=g).item()


def certain_inputs(g: Generator) -> tuple:
    """A trained CLIP at its largest scale: each picture has a caption near it, some have two."""
    images, texts, _ = zero_shot_inputs(g)
    copies = torch.arange(len(texts)) % len(images)
    return images, clip.unit(images[copies] + texts / 10), 100.0


ZERO_SHOT = Exercise(
    "clip.zero_shot", LESSON, 2, zero_shot, (zero_shot_inputs, certain_inputs),
    of_section(6,
        Mistake(
            "softmax over the pictures",
            "Your columns sum to 1: each caption shares itself out over the pictures. Ask of each "
            "picture which caption it has, so that each row sums to 1.",
            lambda images, texts, scale: (scale * images @ texts.mT).softmax(dim=0)),
        Mistake(
            "scale forgotten",
            "Without the scale all probabilities are nearly equal, because cosines lie between -1 "
            "and 1. Multiply them before the softmax.",
            lambda images, texts, scale: (images @ texts.mT).softmax(dim=-1)),
        Mistake(
            "divided by the scale",
            "You divide by the scale, and so flatten the probabilities. It is 1 / temperature: "
            "multiply.",
            lambda images, texts, scale: (images @ texts.mT / scale).softmax(dim=-1)),
        Mistake(
            "scaled after the softmax",
            "You multiply by the scale after the softmax, and your rows no longer sum to 1. It "
            "belongs to the scores, before it.",
            lambda images, texts, scale: scale * (images @ texts.mT).softmax(dim=-1)),
        Mistake(
            "the scale as a logarithm",
            "You take exp of the scale. Here it comes as a plain number, not as its logarithm: "
            "multiply by it.",
            lambda images, texts, scale: (torch.tensor(scale).exp() * (images @ texts.mT)).softmax(
                dim=-1)),
        Mistake(
            "exp overflows",
            f"The formula is right, but {OVERFLOW}. softmax subtracts the largest score of a row "
            "first.",
            lambda images, texts, scale: bare_softmax(scale * images @ texts.mT)),
        Mistake(
            "log_softmax",
            "These are the logarithms of the probabilities (all your numbers are negative). The "
            "probabilities themselves are asked for, and each row is to sum to 1.",
            lambda images, texts, scale: (scale * images @ texts.mT).log_softmax(dim=-1)),
        Mistake(
            "no softmax",
            "These are scores, not yet probabilities: make each row positive with the sum 1.",
            lambda images, texts, scale: scale * images @ texts.mT),
        Mistake(
            "each caption by itself",
            "You use a sigmoid, which judges every caption by itself. The captions compete here: "
            "each row is to sum to 1.",
            lambda images, texts, scale: (scale * images @ texts.mT).sigmoid()),
        Mistake(
            "captions as rows",
            "Your table has the captions as rows. Pictures are rows, (B,C), and each row sums to "
            "1.",
            lambda images, texts, scale: (scale * texts @ images.mT).softmax(dim=-1)),
        Mistake(
            "the best caption only",
            "You return the number of the best caption. That is the next step; here the "
            "probabilities (B,C) are asked for.",
            lambda images, texts, scale: (images @ texts.mT).argmax(dim=-1)),
    ), "each picture shares 1 out over the captions",
    tolerance=1e-4)            # what a cosine lacks in float32, times a scale of 100


TEST = hunt(CONTRASTIVE, "pictures only", "captions only", "directions added", "sum over the batch",
    "mean over the whole table", "the label is not the diagonal", "softmax twice", "sign turned",
    "exp overflows", "logarithm of a softmax")
EXERCISES = (UNIT, LOGITS, CONTRASTIVE, REPEATS, LOSS_WITH_REPEATS, ZERO_SHOT, TEST)
