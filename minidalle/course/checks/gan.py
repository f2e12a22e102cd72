r"""The exercises of lesson 09: a game of two, and how it is lost.

in -> out   EXERCISES: best_critic, non_saturating, modes, r1, wrong_captions, matching_aware,
            relativistic
idea        A loss of a GAN with a sign turned or a term left out still trains something, and what
            it draws tells little. So the numbers are compared, and the gradients where a player
            learns through them: scores so large that a sigmoid is 0 or 1, densities that vanish,
            pictures at which the critic is flat, places exactly on the edge, captions that repeat.
"""
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle import gan
from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.transformer import between, of_section

LESSON = "09_gan"


# ---- the best critic

def best_critic(log_p: Tensor, log_q: Tensor) -> Tensor:
    """ln of the densities of real and painted things at some places, of one shape -> the best D
    there, in [0, 1]."""
    return (log_p - log_q).sigmoid()


def densities(sizes, *levels: float):
    """Places take the levels in turns: how probable both are there, as logarithms."""
    def draw(g: Generator) -> tuple:
        shape = sizes(g)
        level = torch.tensor(levels).repeat(math.prod(shape))[:math.prod(shape)].view(shape)
        log_p = level + 1.5 * torch.randn(shape, generator=g)
        return log_p, level + 1.5 * torch.randn(shape, generator=g)
    return draw


def row_of_places(g: Generator) -> tuple[int, ...]:
    return (between(6, 9, g),)


def plane_of_places(g: Generator) -> tuple[int, ...]:
    return between(3, 4, g), between(5, 7, g)


def tails(g: Generator) -> tuple:
    """Densities e^-1.5 times as large from place to place: whatever small number is added to them,
    or below which they are kept, one of them is about as large. At some places both are alike."""
    log_p = -1.5 * torch.arange(60.0) + torch.randn(60, generator=g)
    log_q = log_p + 1.5 * torch.randn(60, generator=g)
    log_q[::13] = log_p[::13]
    return log_p, log_q


def far_apart(g: Generator) -> tuple:
    """One of the two is e^1000 times as probable, or 8 or 12 times e; or is not there at all."""
    log_p = torch.tensor([0.0, -1000.0, 1000.0, -1.0, -math.inf, 2.0, -10.0, -1.0, -13.0])
    log_q = torch.tensor([-1000.0, 0.0, -1000.0, -9.0, 2.0, -math.inf, -1.0, -13.0, -1.0])
    shift = torch.randn(9, generator=g) / 4
    return log_p + shift, log_q + shift


def of_densities(answer):
    """answer(p, q) of the densities themselves."""
    return lambda log_p, log_q: answer(log_p.exp(), log_q.exp())


def below_one(log_p: Tensor, log_q: Tensor, top: Tensor) -> Tensor:
    p, q = (log_p - top).exp(), (log_q - top).exp()
    return p / (p + q)


BEST_CRITIC = Exercise(
    "gan.best_critic", LESSON, 1, best_critic,
    (densities(row_of_places, 0.0), densities(plane_of_places, -2.0, 1.0), tails, far_apart,
     densities(row_of_places, -300.0, 100.0, -1000.0), densities(lambda g: (1,), -900.0)),
    of_section(1,
        Mistake(
            "exp vanishes or overflows",
            "The formula is right, but e^-300 is 0 in a computer and e^100 infinite, so you divide "
            "0 by 0. Divide above and below by p: then only the difference of the logarithms is "
            "left, and a sigmoid.",
            of_densities(lambda p, q: p / (p + q))),
        Mistake(
            "exp vanishes or overflows in float64",
            "The formula is right, but e^-1000 is 0 in float64 too. Divide above and below by p: "
            "then only the difference of the logarithms is left, and a sigmoid.",
            lambda log_p, log_q: (p := log_p.double().exp()) / (p + log_q.double().exp())),
        *(Mistake(
            f"0 / 0 taken for {filled:g}",
            f"You compute the densities, and take {filled:g} where that gives NaN. Far from "
            "everything D says which of the two is nearer. Use the difference of the logarithms.",
            of_densities(lambda p, q, filled=filled: (p / (p + q)).nan_to_num(filled)))
          for filled in (0.0, 0.5, 1.0)),
        Mistake(
            "the ratio overflows",
            "You take r / (r + 1) of the ratio r = p / q. Where that is e^1000 you divide infinity "
            "by infinity; 1 / (1 + 1 / r) would not, and a sigmoid says the same.",
            lambda log_p, log_q: (r := (log_p - log_q).exp()) / (r + 1)),
        Mistake(
            "the painter's share",
            "You return q / (p + q), the probability that a thing is painted. D says how probable "
            "it is that it is real.",
            lambda log_p, log_q: best_critic(log_q, log_p)),
        Mistake(
            "p over q",
            "You return p / q, which has no upper end. Of all that lies at this place, which share "
            "is real? p / (p + q).",
            lambda log_p, log_q: (log_p - log_q).exp()),
        Mistake(
            "p over q, and at most 1",
            "You return p / q and cut it at 1. Of all that lies at this place, which share is "
            "real? p / (p + q).",
            lambda log_p, log_q: (log_p - log_q).exp().clamp(max=1)),
        Mistake(
            "1 / 1 added",
            "1 / 1 + x is 1 + x: a bracket is missing. 1 / (1 + q / p).",
            lambda log_p, log_q: 1 + (log_q - log_p).exp()),
        Mistake(
            "the logarithms added",
            "You add the logarithms, which multiplies p and q. Their ratio counts: subtract.",
            lambda log_p, log_q: (log_p + log_q).sigmoid()),
        Mistake(
            "the sigmoid of ln p alone",
            "You take the sigmoid of ln p. How sure one may be depends on q too: of ln p - ln q.",
            lambda log_p, log_q: log_p.sigmoid()),
        Mistake(
            "q over p",
            "You return q / p. Of all that lies at this place, which share is real? p / (p + q).",
            lambda log_p, log_q: (log_q - log_p).exp()),
        Mistake(
            "the score in place of D",
            "You return ln p - ln q, the best score. D is its sigmoid.",
            lambda log_p, log_q: log_p - log_q),
        Mistake(
            "ln D in place of D",
            "You return ln D. Asked for is D itself: sigmoid in place of logsigmoid.",
            lambda log_p, log_q: F.logsigmoid(log_p - log_q)),
        Mistake(
            "the difference of the densities",
            "You return p - q. Where both are small that is next to 0, however sure one may be. "
            "It is their ratio that counts.",
            of_densities(lambda p, q: p - q)),
        Mistake(
            "logarithms as densities",
            "You put the logarithms in the place of the densities. ln p / (ln p + ln q) is no "
            "share: take exp first, or their difference.",
            lambda log_p, log_q: log_p / (log_p + log_q)),
        Mistake(
            "p alone",
            "You return the density of what is real. How sure one may be depends on q too.",
            of_densities(lambda p, q: p)),
        Mistake(
            "one half everywhere",
            "You return 1/2 everywhere. That is the end of the game, when q has become p. Here it "
            "has not.",
            lambda log_p, log_q: torch.full_like(log_p, 0.5)),
        Mistake(
            "twice as large",
            "You divide by the mean of p and q. D is p divided by their sum.",
            lambda log_p, log_q: 2 * best_critic(log_p, log_q)),
        Mistake(
            "half as large",
            "Your answer is half of what it should be: D is 1 where only p is there.",
            lambda log_p, log_q: best_critic(log_p, log_q) / 2),
        Mistake(
            "squares of the densities",
            "You square the densities, or double the score. D is p / (p + q).",
            lambda log_p, log_q: best_critic(2 * log_p, 2 * log_q)),
        Mistake(
            "roots of the densities",
            "You halve the score. D is p / (p + q), so the score is ln p - ln q as it is.",
            lambda log_p, log_q: best_critic(log_p / 2, log_q / 2)),
        Mistake(
            "tanh in place of sigmoid",
            "Your answer lies between -1 and 1: that is (p - q) / (p + q). D is a probability.",
            lambda log_p, log_q: ((log_p - log_q) / 2).tanh()),
        Mistake(
            "tanh of the score",
            "You take tanh of the score, which lies between -1 and 1. D is a probability: the "
            "score's sigmoid.",
            lambda log_p, log_q: (log_p - log_q).tanh()),
        Mistake(
            "yes or no",
            "You say which of the two is larger. D says how sure one may be.",
            lambda log_p, log_q: (log_p > log_q).float()),
        Mistake(
            "yes or no, and yes where both are alike",
            "You say which of the two is larger. D says how sure one may be, and is 1/2 where both "
            "are alike.",
            lambda log_p, log_q: (log_p >= log_q).float()),
        Mistake(
            "yes, no, or one half",
            "You say which of the two is larger. D says how sure one may be.",
            lambda log_p, log_q: ((log_p - log_q).nan_to_num().sign() + 1) / 2),
        Mistake(
            "softmax over the places",
            "Your numbers sum to 1 over the places. At each place by itself p and q are shares of "
            "1: D needs nothing of its neighbours.",
            lambda log_p, log_q: (log_p - log_q).flatten().softmax(dim=0).view(log_p.shape)),
        *(Mistake(
            f"softmax over dimension {dim}",
            "Your numbers sum to 1 over the places. At each place by itself p and q are shares of "
            "1: D needs nothing of its neighbours.",
            lambda log_p, log_q, dim=dim: (log_p - log_q).softmax(dim=dim)) for dim in (0, -1)),
        Mistake(
            "one maximum for all places",
            "You take one maximum out for all places before exp, and far below it 0 is divided by "
            "0. Take it at each place, or use a sigmoid.",
            lambda log_p, log_q: below_one(log_p, log_q, torch.maximum(log_p, log_q).max())),
        *(Mistake(
            f"{eps:g} added below",
            f"You add {eps:g} to p + q so that it is not 0. Then D is 0 far from everything, where "
            "it should say which of the two is nearer. Use the difference of the logarithms.",
            of_densities(lambda p, q, eps=eps: p / (p + q + eps)))
          for eps in (1e-3, 1e-5, 1e-6, 1e-8, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)),
        *(Mistake(
            f"densities kept above {eps:g}",
            f"You keep both densities above {eps:g}. Then D is 1/2 far from everything, where it "
            "should say which of the two is nearer. Use the difference of the logarithms.",
            of_densities(lambda p, q, eps=eps: p.clamp(min=eps) / (
                p.clamp(min=eps) + q.clamp(min=eps))))
          for eps in (1e-5, 1e-8, 1e-12, 1e-20, 1e-30)),
        *(Mistake(
            f"logarithms clamped at {-limit}",
            f"You keep the logarithms within {limit}, where exp is safe. Then D is 1/2 where both "
            "lie below. It is their difference that counts.",
            lambda log_p, log_q, limit=limit: best_critic(
                log_p.clamp(-limit, limit), log_q.clamp(-limit, limit)))
          for limit in (10, 20, 30, 50, 80)),
        *(Mistake(
            f"logarithms kept above {-limit}",
            f"You keep the logarithms above {-limit}. Then D is 1/2 where both lie below. It is "
            "their difference that counts.",
            lambda log_p, log_q, limit=limit: best_critic(
                log_p.clamp(min=-limit), log_q.clamp(min=-limit))) for limit in (30, 50, 80, 100)),
        *(Mistake(
            f"the score kept within {limit}",
            f"You keep the score within {limit}, so D is never quite sure. It may be.",
            lambda log_p, log_q, limit=limit: (log_p - log_q).clamp(-limit, limit).sigmoid())
          for limit in (1, 2, 5, 8, 10)),
        *(Mistake(
            f"D kept {eps:g} away from 0 and 1",
            f"You keep D {eps:g} away from 0 and 1, so it is never quite sure. It may be.",
            lambda log_p, log_q, eps=eps: best_critic(log_p, log_q).clamp(eps, 1 - eps))
          for eps in (0.1, 0.05, 0.01, 1e-3, 1e-4)),
    ), "which share of what lies at a place is real, even where nearly nothing does",
    tolerance=2e-5)            # near 1000 two float32 are 6e-5 apart, and rounding errs by half


# ---- losses: scores of real and of painted pictures -> what critic and painter minimise

def non_saturating(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) of real and of painted pictures -> the critic's loss, the painter's, each a
    tensor without dimensions."""
    return gan.non_saturating(real, fake)


def relativistic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The same, in pairs: real[i] is to score above fake[i]."""
    return gan.relativistic(real, fake)


def scores(many, *levels: float, parts: int = 2):
    """`parts` rows of B = many(g) scores, round a level each."""
    def draw(g: Generator) -> tuple:
        B = many(g)
        rows = torch.tensor(levels).repeat(parts)[:parts, None] + 2 * torch.randn(
            parts, B, generator=g)
        return tuple(rows.unbind())
    return draw


def several(g: Generator) -> int:
    return between(5, 8, g)


def one(g: Generator) -> int:
    return 1


def surprising(*far: tuple[int, float], parts: int = 2):
    """Usual scores, but of the given rows one score lies very far from 0."""
    def draw(g: Generator) -> tuple:
        rows = 2 * torch.randn(parts, several(g), generator=g)
        for row, score in far:
            rows[row, between(0, 4, g)] = score + torch.randn((), generator=g)
        return tuple(rows.unbind())
    return draw


def graded(which: int, parts: int = 2):
    """Usual scores, but one row runs from -70 to 70 in small steps: whatever small number is added
    to D, one of them is about as large. Further out e^x would be less than float32's smallest."""
    def draw(g: Generator) -> tuple:
        rows = 2 * torch.randn(parts, 71, generator=g)
        rows[which] = torch.linspace(-70, 70, 71) + torch.rand(71, generator=g)
        return tuple(rows.unbind())
    return draw


def nearly_sure(g: Generator) -> tuple:
    """Pairs 15.9 apart: float32 has two steps between the sigmoid of that and 1, so what is left
    of 1 is wrong by a twentieth, and one sees who took it."""
    fake = torch.randint(-3, 4, (several(g),), generator=g).float()
    return fake + 15.9, fake


def log_of_sigmoid(x: Tensor) -> Tensor:
    return x.sigmoid().log()


def log_of_the_rest(x: Tensor) -> Tensor:
    """ln(1 - sigmoid(-x)) is ln sigmoid(x) on paper."""
    return (1 - (-x).sigmoid()).log()


def pair_by(log_real, log_fake, log_painter):
    """Both losses by three functions that should all be ln sigmoid: of a real score, of a painted
    one for the critic, of a painted one for the painter."""
    return lambda real, fake: (-log_real(real).mean() - log_fake(-fake).mean(),
                               -log_painter(fake).mean())


def changed(change):
    """change(critic's, painter's) of the right losses."""
    return lambda real, fake: change(*non_saturating(real, fake))


def with_painter(painter):
    """The right critic, and painter(real, fake)."""
    return lambda real, fake: (non_saturating(real, fake)[0], painter(real, fake))


def with_critic(critic):
    """critic(real, fake), and the right painter."""
    return lambda real, fake: (critic(real, fake), non_saturating(real, fake)[1])


def kept_above_100(x: Tensor) -> Tensor:
    """What binary_cross_entropy does with a logarithm."""
    return log_of_sigmoid(x).clamp(min=-100)


def kept_above_100_of_the_rest(x: Tensor) -> Tensor:
    return log_of_the_rest(x).clamp(min=-100)


def with_added(eps: float):
    """Of real and of painted scores: ln(D + eps) and ln(1 - D + eps)."""
    return (lambda x: (x.sigmoid() + eps).log(), lambda x: (1 - (-x).sigmoid() + eps).log())


def kept_above(eps: float):
    """The same with D, and 1 - D, kept above eps."""
    return (lambda x: x.sigmoid().clamp(min=eps).log(),
            lambda x: (1 - (-x).sigmoid()).clamp(min=eps).log())


def kept_between(eps: float):
    """With D kept eps away from 0 AND 1: 1 - (1 - eps) is not eps in float32."""
    def log_d(x: Tensor) -> Tensor:
        return x.sigmoid().clamp(eps, 1 - eps).log()

    def log_rest(x: Tensor) -> Tensor:
        return (1 - (-x).sigmoid().clamp(eps, 1 - eps)).log()
    return log_d, log_rest


WAYS = {"right": F.logsigmoid, "log sigmoid": log_of_sigmoid, "log(1 - sigmoid)": log_of_the_rest}
OVERFLOWS = tuple(             # of a real score, of a painted one, of that for the painter
    names for names in itertools.product(
        ("right", "log sigmoid"), WAYS, ("right", "log sigmoid")) if set(names) != {"right"})


NON_SATURATING = Exercise(
    "gan.non_saturating", LESSON, 2, non_saturating,
    (scores(several, 1.0, -1.0), scores(several, -0.5, 2.0), scores(one, 0.5, 1.0),
     surprising((0, -2000.0)), surprising((1, 40.0)), surprising((1, -2000.0)),
     surprising((1, 2000.0), (0, 300.0)), graded(0), graded(1)),
    of_section(2,
        *(Mistake(
            f"overflows: {', '.join(names)}",
            "The formula is right, but sigmoid(-2000) is 0 in a computer, 1 - sigmoid(40) is too, "
            "and the logarithm of 0 is infinite. F.logsigmoid and F.softplus never compute the "
            "sigmoid; 1 - sigmoid(s) is sigmoid(-s).",
            pair_by(*(WAYS[name] for name in names))) for names in OVERFLOWS),
        Mistake(
            "sigmoid, then binary_cross_entropy",
            "You take the sigmoid and then binary_cross_entropy, which keeps each logarithm above "
            "-100: a critic that errs by 2000 is told that it errs by 100, and has no slope there. "
            "binary_cross_entropy_with_logits takes the scores.",
            pair_by(kept_above_100, kept_above_100_of_the_rest, kept_above_100)),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} so that the logarithm is finite. Then no error is larger than "
            f"{-math.log(eps):.0f}, and where the critic is surely wrong it has no slope. "
            "F.logsigmoid needs nothing added.",
            pair_by(*with_added(eps), with_added(eps)[0]))
          for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-20)),
        *(Mistake(
            f"D kept {eps:g} away from 0 and 1",
            f"You keep D {eps:g} away from 0 and 1 so that the logarithm is finite. Where the "
            "critic is surely wrong it has no slope then. F.logsigmoid needs nothing kept.",
            pair_by(*kept_above(eps), kept_above(eps)[0]))
          for eps in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-20)),
        *(Mistake(
            f"D kept between {eps:g} and 1 - {eps:g}",
            f"You keep D {eps:g} away from 0 and 1 so that the logarithm is finite. Where the "
            "critic is surely wrong it has no slope then. F.logsigmoid needs nothing kept.",
            pair_by(*kept_between(eps), kept_between(eps)[0]))
          for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-12)),
        *(Mistake(
            f"scores clamped at {limit}",
            f"You keep the scores within {limit}. Where the critic is surely wrong it has no slope "
            "then. F.logsigmoid needs no clamp.",
            lambda real, fake, limit=limit: non_saturating(
                real.clamp(-limit, limit), fake.clamp(-limit, limit)))
          for limit in (5, 10, 15, 20, 30, 50, 80)),
        Mistake(
            "the minimax painter",
            "Your painter minimises ln(1 - D). That saturates: where the critic is sure, it has no "
            "slope. Asked for is the other one: it goes up ln D.",
            lambda real, fake: gan.minimax(real, fake)),
        Mistake(
            "the painter helps the critic",
            "Your painter minimises -ln(1 - D): it wants to be seen through. It wants D to be 1.",
            with_painter(lambda real, fake: F.softplus(fake).mean())),
        Mistake(
            "the painter goes down ln D",
            "Your painter minimises ln D, and wants to be seen through. It goes up ln D: minimise "
            "-ln D.",
            with_painter(lambda real, fake: F.logsigmoid(fake).mean())),
        Mistake(
            "painted called real",
            "Your critic is rewarded for calling painted pictures real: it then says real to all. "
            "Its second term is -ln(1 - D), softplus of the score as it is.",
            with_critic(lambda real, fake: -F.logsigmoid(real).mean()
                        - F.logsigmoid(fake).mean())),
        Mistake(
            "labels swapped",
            "Your critic is rewarded for calling real pictures painted, and painted ones real.",
            with_critic(lambda real, fake: non_saturating(fake, real)[0])),
        Mistake(
            "real called painted",
            "Your critic is rewarded for calling real pictures painted: its first term is -ln D, "
            "softplus of minus the score.",
            with_critic(lambda real, fake: F.softplus(real).mean() + F.softplus(fake).mean())),
        Mistake(
            "real and fake swapped",
            "You take the painted scores for the real ones. real comes first.",
            lambda real, fake: non_saturating(fake, real)),
        Mistake(
            "painter first",
            "You return the painter's loss first. The critic's comes first.",
            changed(lambda critic, painter: (painter, critic))),
        Mistake(
            "the value in place of the loss",
            "You return what the critic MAXIMISES. Both losses are minimised: turn its sign.",
            changed(lambda critic, painter: (-critic, painter))),
        Mistake(
            "both signs turned",
            "Both signs are turned: what is returned is minimised.",
            changed(lambda critic, painter: (-critic, -painter))),
        Mistake(
            "the critic sees real pictures alone",
            "Your critic has no term for painted pictures. It would call everything real.",
            with_critic(lambda real, fake: F.softplus(-real).mean())),
        Mistake(
            "the critic sees painted pictures alone",
            "Your critic has no term for real pictures. It would call everything painted.",
            with_critic(lambda real, fake: F.softplus(fake).mean())),
        Mistake(
            "the critic's terms subtracted",
            "You subtract the second term. Both are errors, and both are minimised: add them.",
            with_critic(lambda real, fake: F.softplus(-real).mean() - F.softplus(fake).mean())),
        Mistake(
            "the critic halved",
            "You take the mean of the critic's two terms. They are added, so that a critic that "
            "knows nothing has the loss 2 ln 2 = ln 4.",
            changed(lambda critic, painter: (critic / 2, painter))),
        Mistake(
            "summed over the batch",
            "You sum over the batch. Take the mean, or the slope grows with its size.",
            lambda real, fake: (F.softplus(-real).sum() + F.softplus(fake).sum(),
                                F.softplus(-fake).sum())),
        Mistake(
            "the painter's summed over the batch",
            "You average for the critic, and sum for the painter. Take the mean for both.",
            with_painter(lambda real, fake: F.softplus(-fake).sum())),
        Mistake(
            "the critic's summed over the batch",
            "You average for the painter, and sum for the critic. Take the mean for both.",
            with_critic(lambda real, fake: F.softplus(-real).sum() + F.softplus(fake).sum())),
        Mistake(
            "one number for each picture",
            "You return a number for each picture, (B,). Average over the batch.",
            lambda real, fake: (F.softplus(-real) + F.softplus(fake), F.softplus(-fake))),
        Mistake(
            "the scores themselves",
            "You subtract the scores as they are: that is the Wasserstein loss. Here they pass "
            "through ln sigmoid.",
            lambda real, fake: gan.wasserstein(real, fake)),
        Mistake(
            "hinge",
            "This is the hinge loss, with relu in place of softplus.",
            lambda real, fake: gan.hinge(real, fake)),
        Mistake(
            "in pairs",
            "You compare real[i] with fake[i]. That is the relativistic loss, which comes later; "
            "here each score stands alone.",
            lambda real, fake: gan.relativistic(real, fake)),
        Mistake(
            "the scores as probabilities",
            "You take the logarithm of the scores. They are any numbers: sigmoid makes a "
            "probability of them.",
            lambda real, fake: (-real.log().mean() - (1 - fake).log().mean(), -fake.log().mean())),
        Mistake(
            "the sigmoid twice",
            "You pass the sigmoid of the scores to a function that takes it again.",
            lambda real, fake: non_saturating(real.sigmoid(), fake.sigmoid())),
        Mistake(
            "D in place of ln D",
            "You average D itself. The losses have its logarithm: without it a critic that is "
            "surely wrong has no slope.",
            lambda real, fake: (-real.sigmoid().mean() - (1 - fake.sigmoid()).mean(),
                                -fake.sigmoid().mean())),
        Mistake(
            "D in place of ln D, and no 1",
            "You average D itself. The losses have its logarithm: without it a critic that is "
            "surely wrong has no slope.",
            lambda real, fake: (fake.sigmoid().mean() - real.sigmoid().mean(),
                                -fake.sigmoid().mean())),
        Mistake(
            "the squared error",
            "You take the squared error of D. That is another GAN's loss: here it is the cross "
            "entropy, -ln.",
            lambda real, fake: ((1 - real.sigmoid()).square().mean()
                                + fake.sigmoid().square().mean(),
                                (1 - fake.sigmoid()).square().mean())),
        Mistake(
            "least squares of the scores",
            "You take the squared error of the scores. That is the loss of LSGAN: here it is the "
            "cross entropy, -ln of a sigmoid.",
            lambda real, fake: ((1 - real).square().mean() + fake.square().mean(),
                                (1 - fake).square().mean())),
        Mistake(
            "the logarithm of the mean",
            "You average D and take the logarithm then. Each picture has its own: the mean comes "
            "last.",
            lambda real, fake: (-real.sigmoid().mean().log() - (-fake).sigmoid().mean().log(),
                                -fake.sigmoid().mean().log())),
        Mistake(
            "the mean of the scores first",
            "You average the scores first. Each picture has its own error: the mean comes last.",
            lambda real, fake: non_saturating(real.mean()[None], fake.mean()[None])),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            changed(lambda critic, painter: (critic / math.log(2), painter / math.log(2)))),
        Mistake(
            "the painter sees the real pictures",
            "Your painter's loss has a term of the real scores. Nothing that it paints can change "
            "those.",
            with_painter(lambda real, fake: F.softplus(-fake).mean() + F.softplus(real).mean())),
        Mistake(
            "one loss for both",
            "You return the critic's loss for both. The painter's is -ln D of what it painted.",
            changed(lambda critic, painter: (critic, critic))),
        Mistake(
            "the painter loses what the critic wins",
            "You return minus the critic's loss for the painter. That is the minimax game; here "
            "the painter has a loss of its own.",
            changed(lambda critic, painter: (critic, -critic))),
        Mistake(
            "real labels of 0.9",
            "You smooth the labels of real pictures, to 0.9. A known trick, but not asked for.",
            with_critic(lambda real, fake: -(0.9 * F.logsigmoid(real) + 0.1 * F.logsigmoid(
                -real)).mean() + F.softplus(fake).mean())),
        Mistake(
            "the first picture alone",
            "You take the first picture of the batch alone. Average over all.",
            lambda real, fake: non_saturating(real[:1], fake[:1])),
        Mistake(
            "the hardest picture alone",
            "You take the largest error of the batch. Average over all.",
            lambda real, fake: (F.softplus(-real).max() + F.softplus(fake).max(),
                                F.softplus(-fake).max())),
        Mistake(
            "painted detached for the critic",
            "Your numbers are right, but you detach the painted scores in the critic's loss, so it "
            "never learns from what is painted. Detach the PICTURES, before the critic sees them.",
            lambda real, fake: (non_saturating(real, fake.detach())[0],
                                non_saturating(real, fake)[1])),
        Mistake(
            "real detached",
            "Your numbers are right, but you detach the real scores, so the critic never learns "
            "what is real. Detach nothing here.",
            lambda real, fake: non_saturating(real.detach(), fake)),
        Mistake(
            "painted detached for the painter",
            "Your numbers are right, but you detach the scores in the painter's loss, so it learns "
            "nothing at all. Detach nothing here.",
            lambda real, fake: (non_saturating(real, fake)[0],
                                non_saturating(real, fake.detach())[1])),
        Mistake(
            "painted detached",
            "Your numbers are right, but you detach the painted scores: the painter learns nothing "
            "at all. Detach nothing here.",
            lambda real, fake: non_saturating(real, fake.detach())),
    ), "both losses, however sure the critic is, and both players learn through them", learns=True)


# ---- counting modes

def modes(samples: Tensor, centres: Tensor, radius: float, least: int) -> int:
    """samples (N,D), centres (K,D) -> how many centres have at least `least` samples. A sample
    belongs to the centre nearest to it, and only if it lies at most `radius` away."""
    return enough(near(samples, centres, radius), least)


def near(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    """How many samples belong to each centre, (K,)."""
    apart, which = distances(samples, centres).min(dim=1)
    return counts(which[apart <= radius], len(centres))


def counts(which: Tensor, K: int) -> Tensor:
    return which.bincount(minlength=K)


def enough(counts: Tensor, least: int) -> int:
    return int((counts >= least).sum())


def distances(samples: Tensor, centres: Tensor) -> Tensor:
    """(N,K), and exact where they are whole numbers."""
    return (samples[:, None] - centres).square().sum(dim=2).sqrt()


def in_order(samples: Tensor, g: Generator) -> Tensor:
    return samples[torch.randperm(len(samples), generator=g)]


def ring(K: int, g: Generator) -> Tensor:
    """K centres on a circle, turned by chance, each some 1.5 from the next."""
    angles = 2 * math.pi * (torch.arange(K) + torch.rand((), generator=g)) / K
    return K / 4 * torch.stack([angles.cos(), angles.sin()], dim=1)


def crowded(g: Generator) -> tuple:
    """Centres with many samples, with just enough, with too few, with samples a little too far
    away: so many of each kind that what takes one kind for another finds another number."""
    least = between(3, 4, g)
    kinds = ([(2 * least + 3, 0, 0)] * 3 + [(least, 0, 0)] + [(0, 0, 0)] * 2
             + [(least - 1, 0, 0)] * 4 + [(least + 1, 0.2, 0.2)] * 5       # 0.28 away: within
             + [(least + 1, 0.35, 0.05)] * 7                               # 0.35 away: beyond
             + [(least + 1, 0.35, 0.35)] * 9 + [(1, 0, 0)] * 10)           # 0.49 away
    kinds = [kinds[i] for i in torch.randperm(len(kinds), generator=g)]
    centres = ring(len(kinds), g)
    samples = torch.cat([centre + torch.tensor([x, y]) + (
        0.1 * torch.randn(n, 2, generator=g).clamp(-1.4, 1.4) if x == y == 0 else torch.zeros(n, 2))
        for centre, (n, x, y) in zip(centres, kinds)])
    return in_order(samples, g), centres, 0.3, least


def overlapping(g: Generator) -> tuple:
    """Circles overlap: a sample lies in two of them and belongs to the nearer. Three dimensions."""
    K, least = between(4, 5, g), 3
    centres = torch.zeros(K, 3)
    centres[:, 2] = 2.0 * torch.arange(K)
    step = torch.tensor([0.3, -0.2, 0.8])
    samples = torch.cat([centres[:1] + step + 0.02 * torch.randn(least + 2, 3, generator=g),
                         centres[2:3] + step + 0.02 * torch.randn(least, 3, generator=g),
                         centres[2:3] - step + 0.02 * torch.randn(least - 1, 3, generator=g)])
    return in_order(samples, g), centres, 1.6, least


def on_the_edge(g: Generator) -> tuple:
    """Exactly `radius` away, and exactly `least` of them. By 3, 4, 5 and by 6, 8, 10."""
    centres = 40.0 * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0],
                                   [0.0, 2.0]])
    centres += between(-3, 3, g)
    edge = torch.tensor([[3.0, 4.0], [-4.0, 3.0], [-3.0, -4.0], [0.0, 5.0]])
    least = between(2, 3, g)
    samples = torch.cat([centres[0] + edge[:least], centres[1] + edge[:least + 1] / 2,
                         centres[5] + edge[:least + 1],
                         centres[2] + 2 * edge, centres[3] + edge[:least - 1],
                         centres[4] + torch.tensor([[4.0, 4.0]]).expand(least + 1, -1)])
    return in_order(samples, g), centres, 5.0, least


def shrunken(g: Generator) -> tuple:
    """The same at a hundredth of the size, and away from 0."""
    samples, centres, radius, least = crowded(g)
    away = torch.tensor([[0.7, -0.4]])
    return samples / 100 + away, centres / 100 + away, radius / 100, least


def on_a_line(g: Generator) -> tuple:
    """One dimension; every sample of its own is enough."""
    K = between(6, 7, g)
    centres = 3.0 * torch.arange(K).float()[:, None] - 4
    samples = torch.cat([centres[::2] + 0.2, centres[::2] - 0.3, centres[1:2] + 1.2,
                         centres[3:4] + 0.1])
    return in_order(samples, g), centres, 0.5, 1


def nothing_near(g: Generator) -> tuple:
    """No sample belongs anywhere; they are fewer than the centres."""
    centres = torch.cat([ring(6, g), torch.zeros(6, 2)], dim=1)
    return centres[:between(3, 5, g)] * 1.5 + 0.1, centres, 0.4, 1


def handed_on(g: Generator) -> tuple:
    """Circles in pairs that overlap. Of six pairs, two have samples in both circles that belong to
    the second centre, one has such that belong to the first: to whichever circle is looked at
    first, or last, they must not go. One centre has samples round its circle, none within."""
    least = between(2, 4, g)
    centres = torch.stack([torch.arange(12) // 2 * 20.0, torch.arange(12) % 2 * 4.0], dim=1)
    centres += torch.randn(2, generator=g)
    samples = [centres[k] + torch.tensor([0.0, y]) + 0.05 * torch.randn(least, 2, generator=g)
               for k, y in ((0, -1), (1, -1), (2, -1), (3, -1), (4, 1), (5, 1))]
    round_it = torch.tensor([[3.6, 0.0], [-3.6, 0.0]]).repeat(least, 1)
    return in_order(torch.cat([*samples, centres[8] + round_it]), g), centres, 3.3, least


def in_reach(g: Generator) -> tuple:
    """Every centre is within the radius of every sample. Four dimensions."""
    least = between(2, 3, g)
    centres = torch.tensor([[0.0], [1.0], [2.0]]) * torch.tensor([1.0, 0.5, -1.0, 0.0])
    heaps = [centre + 0.05 * torch.randn(least, 4, generator=g) for centre in centres]
    return in_order(torch.cat(heaps), g), centres + 0.01, 20.0, least


def many_each(g: Generator) -> tuple:
    """More centres than eight, some with more samples than twenty; of others all lie just beyond
    the circle, on both sides of it, so that their mean lies within."""
    least, sides = between(4, 6, g), torch.tensor([[0.25, 0.27], [-0.25, -0.27]])
    kinds = [(25, 0)] * 4 + [(least, 0)] * 3 + [(least - 1, 0)] * 2 + [(0, 15)] * 2 + [(25, 0)] * 5
    kinds = [kinds[i] for i in torch.randperm(len(kinds), generator=g)]
    centres = ring(len(kinds), g)
    samples = torch.cat([torch.cat([
        centre + 0.1 * torch.randn(n, 2, generator=g).clamp(-1.2, 1.2),
        centre + sides.repeat(beyond, 1)]) for centre, (n, beyond) in zip(centres, kinds)])
    return in_order(samples, g), centres, 0.3, least


def some_circle(last: bool):
    """A sample goes to the first circle that it lies in, or to the last, and not to the nearest."""
    def count(samples, centres, radius, least):
        within = distances(samples, centres) <= radius
        order = within.flip(1) if last else within
        place = order.int().argmax(dim=1)
        return enough(counts((len(centres) - 1 - place if last else place)[within.any(dim=1)],
                             len(centres)), least)
    return count


def by_the_mean(samples: Tensor, centres: Tensor, radius: float, least: int) -> int:
    """Centres with enough samples nearest to them, whose mean lies within the radius."""
    which = distances(samples, centres).argmin(dim=1)
    return sum(int((which == k).sum()) >= least
               and bool((samples[which == k].mean(dim=0) - centre).norm() <= radius)
               for k, centre in enumerate(centres))


def counted_by(of_distances, least_of=lambda least: least, radius_of=lambda radius: radius):
    """modes() with another distance (N,K), another least or another radius."""
    def count(samples, centres, radius, least):
        apart, which = of_distances(samples, centres).min(dim=1)
        return enough(counts(which[apart <= radius_of(radius)], len(centres)), least_of(least))
    return count


def all_within(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    """Samples within the radius of each centre, whether they belong to it or not: (K,)."""
    return (distances(samples, centres) <= radius).sum(dim=0)


def strictly_near(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    apart, which = distances(samples, centres).min(dim=1)
    return counts(which[apart < radius], len(centres))


MODES = Exercise(
    "gan.modes", LESSON, 1, modes,
    (crowded, overlapping, on_the_edge, shrunken, on_a_line, nothing_near, handed_on, in_reach,
     many_each),
    of_section(3,
        Mistake(
            "more than least",
            "A centre with exactly `least` samples is not counted. It has at least so many: >=.",
            lambda samples, centres, radius, least: enough(
                near(samples, centres, radius), least + 1)),
        Mistake(
            "nearer than radius",
            "A sample exactly `radius` away is not counted. It lies at most so far away: <=.",
            lambda samples, centres, radius, least: enough(
                strictly_near(samples, centres, radius), least)),
        Mistake(
            "nearer than radius, and more than least",
            "Both edges belong inside: at most `radius` away, at least `least` samples.",
            lambda samples, centres, radius, least: enough(
                strictly_near(samples, centres, radius), least + 1)),
        Mistake(
            "no radius",
            "Every sample counts for the centre nearest to it, however far away that is. Leave out "
            "those beyond the radius.",
            lambda samples, centres, radius, least: enough(
                near(samples, centres, math.inf), least)),
        Mistake(
            "counted for several centres",
            "A sample in two circles counts for both. It belongs to the nearer one alone.",
            lambda samples, centres, radius, least: enough(
                all_within(samples, centres, radius), least)),
        *(Mistake(
            f"the {name} circle",
            f"A sample in two circles goes to the {name} one. It belongs to the NEAREST centre.",
            some_circle(name == "last")) for name in ("first", "last")),
        Mistake(
            "the mean within the circle",
            "You ask whether the MEAN of a centre's samples lies within the radius. Each sample "
            "by itself has to: painted points all round a heap are not in it.",
            by_the_mean),
        Mistake(
            "one too few is enough",
            "You count a centre with least - 1 samples. It needs at least `least` of them.",
            lambda samples, centres, radius, least: modes(samples, centres, radius, least - 1)),
        Mistake(
            "20 in place of least",
            "You want 20 samples of a centre, whatever `least` says. Use the argument.",
            lambda samples, centres, radius, least: modes(samples, centres, radius, 20)),
        Mistake(
            "0.2 in place of radius",
            "Your radius is 0.2, whatever `radius` says. Use the argument.",
            lambda samples, centres, radius, least: modes(samples, centres, 0.2, least)),
        Mistake(
            "the first eight centres",
            "You look at eight centres, as on the ring of the lesson. There are len(centres).",
            lambda samples, centres, radius, least: enough(
                near(samples, centres, radius)[:8], least)),
        Mistake(
            "the last centre left out",
            "You leave out the last centre. There are len(centres).",
            lambda samples, centres, radius, least: enough(
                near(samples, centres, radius)[:-1], least)),
        Mistake(
            "one sample is enough",
            "You count a centre that has a single sample. It needs at least `least` of them.",
            lambda samples, centres, radius, least: modes(samples, centres, radius, 1)),
        Mistake(
            "one sample within the circle is enough",
            "You ask each centre how near its nearest sample is. Ask each sample for its nearest "
            "centre; a centre needs at least `least` that belong to it.",
            lambda samples, centres, radius, least: enough(
                all_within(samples, centres, radius), 1)),
        Mistake(
            "one sample is enough, however far",
            "You count every centre that is nearest to some sample. The sample must lie within the "
            "radius, and there must be at least `least` of them.",
            lambda samples, centres, radius, least: modes(samples, centres, math.inf, 1)),
        Mistake(
            "the root forgotten",
            "You compare the sum of the squares with the radius. The distance is its root.",
            counted_by(lambda samples, centres: distances(samples, centres).square())),
        Mistake(
            "the differences summed",
            "You add the sizes of the differences. The distance is Euclid's: squares, sum, root.",
            counted_by(lambda samples, centres: (samples[:, None] - centres).abs().sum(dim=2))),
        Mistake(
            "the largest difference",
            "You take the largest of the differences. The distance is Euclid's: squares, sum, "
            "root.",
            counted_by(lambda samples, centres: (samples[:, None] - centres).abs().amax(dim=2))),
        Mistake(
            "the mean of the squares",
            "You take the root of the mean of the squares. It is the root of their sum.",
            counted_by(lambda samples, centres: (
                samples[:, None] - centres).square().mean(dim=2).sqrt())),
        Mistake(
            "the first coordinate alone",
            "You look at the first coordinate alone. The distance has all of them.",
            counted_by(lambda samples, centres: (samples[:, None, 0] - centres[:, 0]).abs())),
        Mistake(
            "samples counted",
            "You count the samples that belong somewhere. Asked for is the number of centres.",
            lambda samples, centres, radius, least: int(near(samples, centres, radius).sum())),
        Mistake(
            "samples of the counted centres",
            "You count the samples at centres that have enough. Asked for is the number of these "
            "centres.",
            lambda samples, centres, radius, least: int(
                (n := near(samples, centres, radius))[n >= least].sum())),
        Mistake(
            "modes that are lost",
            "You count the centres that have too few. Asked for are those that have enough.",
            lambda samples, centres, radius, least: len(centres) - modes(
                samples, centres, radius, least)),
        Mistake(
            "a share",
            "You return a share of the centres. Asked for is their number.",
            lambda samples, centres, radius, least: modes(
                samples, centres, radius, least) / len(centres)),
        Mistake(
            "all centres",
            "You return the number of centres. Asked for is how many of them have enough samples.",
            lambda samples, centres, radius, least: len(centres)),
        Mistake(
            "a truth for each centre",
            "You return a truth for each centre, (K,). Asked for is how many are True.",
            lambda samples, centres, radius, least: near(samples, centres, radius) >= least),
        Mistake(
            "a count for each centre",
            "You return how many samples each centre has, (K,). Asked for is how many centres have "
            "at least `least`.",
            lambda samples, centres, radius, least: near(samples, centres, radius)),
        Mistake(
            "the farthest centre",
            "You give each sample to the centre that is farthest from it.",
            lambda samples, centres, radius, least: enough(counts(
                (far := distances(samples, centres).max(dim=1)).indices[far.values <= radius],
                len(centres)), least)),
        Mistake(
            "the radius doubled",
            "You let a sample be twice the radius away: the radius reaches from the middle of the "
            "circle to its edge.",
            lambda samples, centres, radius, least: modes(samples, centres, 2 * radius, least)),
        Mistake(
            "the radius halved",
            "You let a sample be half the radius away: the radius reaches from the middle of the "
            "circle to its edge, and is no diameter.",
            lambda samples, centres, radius, least: modes(samples, centres, radius / 2, least)),
        Mistake(
            "beyond the radius",
            "You count the samples that lie BEYOND the radius of their centre.",
            lambda samples, centres, radius, least: enough(counts(
                (at := distances(samples, centres).min(dim=1)).indices[at.values > radius],
                len(centres)), least)),
        Mistake(
            "exactly least",
            "You count the centres with exactly `least` samples. At least so many: >=.",
            lambda samples, centres, radius, least: int(
                (near(samples, centres, radius) == least).sum())),
        Mistake(
            "at most least",
            "You count the centres with at most `least` samples. At least so many: >=.",
            lambda samples, centres, radius, least: int(
                (near(samples, centres, radius) <= least).sum())),
    ), "modes with enough samples, each sample once")


# ---- the penalty

def r1(images: Tensor, weights: Tensor, readout: Tensor) -> Tensor:
    """Real pictures (B,...) of any form and the numbers of a critic, weights (H,D) and readout
    (H,), D numbers a picture -> a tensor without dimensions: the mean of |gradient|^2, through
    which the critic learns. Nothing is learnt through the images."""
    return gan.r1(lambda x: critic(x, weights, readout), images)


def critic(images: Tensor, weights: Tensor, readout: Tensor) -> Tensor:
    """The critic of the lesson: a score (B,) for each picture."""
    return (images.flatten(1) @ weights.mT).tanh() @ readout


def critics(size, wide, flat: bool = False):
    """Pictures of size(g) = (B,...) and a critic of wide(g) units. The first picture may lie where
    the critic is quite flat, so that its slope is exactly 0."""
    def draw(g: Generator) -> tuple:
        shape, H = size(g), wide(g)
        D = math.prod(shape[1:])
        images = torch.randn(shape, generator=g)
        weights, readout = torch.randn(H, D, generator=g) / D ** 0.5, torch.randn(H, generator=g)
        readout += 0.5 * readout.sign()
        if flat:
            images[0] = 500 * weights.sum(dim=0).view(shape[1:]).sign() * (1 + images[0].abs())
            weights[:, :] = weights.abs() * images[0].flatten().sign() * (
                1 - 2 * (torch.arange(H)[:, None] % 2))
        return images, weights, readout
    return draw


def some_pictures(g: Generator) -> tuple[int, ...]:
    return between(3, 4, g), 3, between(2, 3, g), 4


def some_points(g: Generator) -> tuple[int, ...]:
    return between(5, 7, g), 2


def one_picture(g: Generator) -> tuple[int, ...]:
    return 1, between(4, 6, g)


def square_pictures(g: Generator) -> tuple[int, ...]:
    return 4, 4


def units(low: int, high: int):
    return lambda g: between(low, high, g)


def slopes(images: Tensor, weights: Tensor, readout: Tensor, of=lambda scores: scores) -> Tensor:
    """The gradient of of(score) of each picture by that picture, (B,D)."""
    return gan.slopes(lambda x: of(critic(x, weights, readout)), images).flatten(1)


def of_slopes(answer):
    """answer(slopes (B,D))."""
    return lambda images, weights, readout: answer(slopes(images, weights, readout))


def by(images: Tensor, weights: Tensor, readout: Tensor, which: int) -> Tensor:
    """|gradient|^2 of the sum of the scores by one of the three arguments."""
    args = [x.detach().requires_grad_() for x in (images, weights, readout)]
    gradient, = torch.autograd.grad(critic(*args).sum(), args[which])
    return gradient.square().sum() / len(images)


def by_the_weights(images: Tensor, weights: Tensor, readout: Tensor) -> Tensor:
    """The gradient of the sum of the scores by the weights, (H,D)."""
    x = weights.detach().requires_grad_()
    return torch.autograd.grad(critic(images.detach(), x, readout.detach()).sum(), x)[0]


def without_requires_grad(images: Tensor, weights: Tensor, readout: Tensor) -> Tensor:
    x, w, r = (one.detach() for one in (images, weights, readout))
    return torch.autograd.grad(critic(x, w, r).sum(), x)[0].square().sum()


def scores_not_summed(images: Tensor, weights: Tensor, readout: Tensor) -> Tensor:
    x = images.detach().requires_grad_()
    if len(x) > 1:
        return torch.autograd.grad(critic(x, weights, readout), x)[0].flatten(1).square().sum(
            dim=1).mean()
    return r1(images, weights, readout).detach()


def penalty(slopes: Tensor) -> Tensor:
    return slopes.square().sum(dim=1).mean()


R1 = Exercise(
    "gan.r1", LESSON, 3, r1,
    (critics(some_pictures, units(5, 7), flat=True), critics(some_points, units(8, 9)),
     critics(one_picture, units(3, 4)), critics(square_pictures, units(4, 4)),
     critics(some_pictures, units(1, 2))),
    of_section(3,
        Mistake(
            "create_graph forgotten",
            "Your number is right, but nothing can be learnt through it: autograd.grad gives a "
            "plain number unless you pass create_graph=True, and .detach() or .grad cut it off as "
            "well. The penalty would be printed and change nothing.",
            lambda *args: r1(*args).detach()),
        Mistake(
            "the weights detached",
            "Your number is right, but no gradient reaches the weights. Detach the images and "
            "nothing else.",
            lambda images, weights, readout: r1(images, weights.detach(), readout)),
        Mistake(
            "the readout detached",
            "Your number is right, but no gradient reaches the readout. Detach the images and "
            "nothing else.",
            lambda images, weights, readout: r1(images, weights, readout.detach())),
        Mistake(
            "a root, and squared again",
            "You take the root and square it again. Where the critic is flat the root of 0 has an "
            "infinite slope, and 0 times that is NaN: leave the squares as they are.",
            of_slopes(lambda s: s.square().sum(dim=1).sqrt().square().mean())),
        Mistake(
            "a root of a bit more, and squared again",
            "You take the root of a little more than the squares, and square it again. Leave the "
            "squares as they are: there is nothing to divide by.",
            of_slopes(lambda s: (s.square().sum(dim=1) + 1e-3).sqrt().square().mean())),
        Mistake(
            "the mean of the scores differentiated",
            "You differentiate the MEAN of the scores, so each slope is B times too small, and its "
            "square B^2 times. Differentiate the sum: no score depends on another's picture.",
            of_slopes(lambda s: penalty(s / len(s)))),
        Mistake(
            "the mean of the scores differentiated, then summed",
            "You differentiate the MEAN of the scores and sum the squares over the batch: B times "
            "too small. Differentiate the sum, and average the squares over the pictures.",
            of_slopes(lambda s: penalty(s) / len(s))),
        Mistake(
            "requires_grad forgotten",
            "PyTorch says that something does not require grad: it keeps no graph of the images "
            "unless they ask for it. images.detach().requires_grad_() does.",
            without_requires_grad),
        Mistake(
            "the scores not summed",
            "autograd.grad wants a single number, and you pass (B,). Pass the sum of the scores: "
            "no score depends on another's picture.",
            scores_not_summed),
        Mistake(
            "the half inside",
            "Your answer is half as large. The half of gamma / 2 stands outside, with the weight.",
            of_slopes(lambda s: penalty(s) / 2)),
        Mistake(
            "twice as large",
            "Your answer is twice as large.",
            of_slopes(lambda s: 2 * penalty(s))),
        Mistake(
            "summed over the batch",
            "You sum over the pictures. Take their mean, or the weight means another thing for "
            "each size of a batch.",
            of_slopes(lambda s: s.square().sum())),
        Mistake(
            "mean over everything",
            "You average over the numbers of a picture too. |gradient|^2 is their sum: average "
            "over the pictures alone.",
            of_slopes(lambda s: s.square().mean())),
        Mistake(
            "summed over the channels alone",
            "You sum over dim 1 alone and average over the rest. A picture may have more "
            "dimensions: flatten(1) first, then sum over dim 1 and average over the pictures.",
            lambda images, weights, readout: slopes(images, weights, readout).view(
                images.shape).square().sum(dim=1).mean()),
        Mistake(
            "dimensions 1, 2 and 3 named",
            "You sum over dimensions 1, 2 and 3, and some pictures here are a row of numbers. "
            "flatten(1) first: then it is always dim 1.",
            lambda images, weights, readout: slopes(images, weights, readout).view(
                images.shape).square().sum(dim=(1, 2, 3)).mean()),
        Mistake(
            "divided by B - 1",
            "You divide by B - 1. This is a mean, and no variance: divide by B.",
            of_slopes(lambda s: s.square().sum() / (len(s) - 1))),
        Mistake(
            "mean over the picture, summed over the batch",
            "You average over the numbers of a picture and sum over the pictures. It is the other "
            "way round.",
            of_slopes(lambda s: s.square().mean(dim=1).sum())),
        Mistake(
            "one number for each picture",
            "You return a number for each picture, (B,). Average over the batch.",
            of_slopes(lambda s: s.square().sum(dim=1))),
        Mistake(
            "not squared",
            "You average the lengths. R1 has their squares: smooth where the length is 0, and "
            "harsher where the critic is steep.",
            of_slopes(lambda s: s.norm(dim=1).mean())),
        Mistake(
            "towards 1",
            "You punish what differs from length 1: that is the gradient penalty of WGAN-GP. R1 "
            "wants the critic flat at what is real.",
            of_slopes(lambda s: (s.norm(dim=1) - 1).square().mean())),
        Mistake(
            "above 1 alone",
            "You punish only slopes longer than 1. R1 wants the critic flat at what is real.",
            of_slopes(lambda s: (s.norm(dim=1) - 1).relu().square().mean())),
        Mistake(
            "the length of the mean slope",
            "You average the slopes over the pictures first, where they cancel. Square first.",
            of_slopes(lambda s: s.mean(dim=0).square().sum())),
        Mistake(
            "the square of the mean length",
            "You square the mean of the lengths. Square each, then take the mean.",
            of_slopes(lambda s: s.norm(dim=1).mean().square())),
        Mistake(
            "slopes summed before the square",
            "You sum the slopes of a picture before you square. Squares first, then the sum.",
            of_slopes(lambda s: s.sum(dim=1).square().mean())),
        Mistake(
            "the sizes of the slopes",
            "You sum the sizes of the slopes. |gradient|^2 sums their squares.",
            of_slopes(lambda s: s.abs().sum(dim=1).mean())),
        Mistake(
            "the sizes of the slopes, squared",
            "You sum the sizes of the slopes, then square. Squares first, then the sum.",
            of_slopes(lambda s: s.abs().sum(dim=1).square().mean())),
        Mistake(
            "the largest slope",
            "You take the largest of a picture's slopes. |gradient|^2 sums the squares of all.",
            of_slopes(lambda s: s.abs().amax(dim=1).square().mean())),
        Mistake(
            "the steepest picture",
            "You take the steepest picture of the batch. Average over all.",
            of_slopes(lambda s: s.square().sum(dim=1).max())),
        Mistake(
            "the first picture alone",
            "You take the first picture alone. Average over all.",
            of_slopes(lambda s: penalty(s[:1]))),
        Mistake(
            "squared twice",
            "You square the squares. |gradient|^2 is the sum of the squares.",
            of_slopes(lambda s: s.square().sum(dim=1).square().mean())),
        Mistake(
            "sign turned",
            "The sign is turned: a penalty is added to what the critic minimises.",
            of_slopes(lambda s: -penalty(s))),
        Mistake(
            "slopes by the weights",
            "You differentiate by the weights. How steep is the critic from picture to picture? "
            "Differentiate by the images.",
            lambda *args: by(*args, 1)),
        *(Mistake(
            f"slopes by the weights, {name}",
            "You differentiate by the weights. How steep is the critic from picture to picture? "
            "Differentiate by the images.",
            lambda *args, rest=rest: rest(by_the_weights(*args)))
          for name, rest in (("each unit", lambda g: g.square().sum(dim=1).mean()),
                             ("summed", lambda g: g.square().sum()))),
        Mistake(
            "slopes by the readout",
            "You differentiate by the readout. How steep is the critic from picture to picture? "
            "Differentiate by the images.",
            lambda *args: by(*args, 2)),
        Mistake(
            "the scores squared",
            "You average the squares of the scores. R1 has the squares of their SLOPES.",
            lambda *args: critic(*args).square().mean()),
        Mistake(
            "the slope of D",
            "You differentiate the sigmoid of the score. R1 has the slope of the score itself.",
            lambda *args: penalty(slopes(*args, torch.sigmoid))),
        Mistake(
            "the slope of ln D",
            "You differentiate ln D. R1 has the slope of the score itself.",
            lambda *args: penalty(slopes(*args, F.logsigmoid))),
        Mistake(
            "the slope of the square",
            "You differentiate the square of the score. R1 has the slope of the score itself.",
            lambda *args: penalty(slopes(*args, torch.square))),
        *(Mistake(
            f"{eps:g} added",
            f"You add {eps:g}. Nothing is divided by here and no root is taken: add nothing.",
            of_slopes(lambda s, eps=eps: penalty(s) + eps)) for eps in (1e-2, 1.0)),
    ), "how steep the critic is at what is real, and it learns to be less so", learns=True)


# ---- in pairs

def related(of_difference):
    """Both losses by a function of real - fake; the painter's is the same of fake - real."""
    return lambda real, fake: (of_difference(real - fake), of_difference(fake - real))


def table(real: Tensor, fake: Tensor) -> Tensor:
    """Every real score with every painted one, (B,B)."""
    return real[:, None] - fake


def paired(change):
    """change(critic's, painter's) of the right losses."""
    return lambda real, fake: change(*relativistic(real, fake))


RELATIVISTIC = Exercise(
    "gan.relativistic", LESSON, 1, relativistic,
    (scores(several, 1.0, -1.0), scores(several, 2.0, 2.5), scores(one, 0.5, 1.0),
     surprising((0, -2000.0), (1, 700.0)), surprising((1, -2000.0), (0, 700.0)),
     scores(several, 200.0, 200.0), surprising((0, 40.0)), surprising((1, 40.0)), graded(0),
     nearly_sure),
    of_section(4,
        Mistake(
            "overflows: log sigmoid, or exp",
            "The formula is right, but sigmoid(-2000) is 0 in a computer, e^2000 is infinite, and "
            "so is the logarithm of either. F.logsigmoid and F.softplus never compute them.",
            related(lambda d: -log_of_sigmoid(d).mean())),
        Mistake(
            "overflows: log(1 - sigmoid)",
            "The formula is right, but 1 - sigmoid(40) is 0 in a computer and its logarithm "
            "infinite. 1 - sigmoid(s) is sigmoid(-s), and F.logsigmoid takes its logarithm.",
            related(lambda d: -log_of_the_rest(d).mean())),
        Mistake(
            "overflows: log sigmoid, log(1 - sigmoid)",
            "The formula is right, but sigmoid(-2000) is 0 in a computer, 1 - sigmoid(40) is too, "
            "and their logarithms are infinite. F.logsigmoid and F.softplus never compute them.",
            lambda real, fake: (-log_of_sigmoid(real - fake).mean(),
                                -log_of_the_rest(fake - real).mean())),
        Mistake(
            "sigmoid, then binary_cross_entropy",
            "You take the sigmoid and then binary_cross_entropy, which keeps each logarithm above "
            "-100. binary_cross_entropy_with_logits takes the scores.",
            related(lambda d: -kept_above_100(d).mean())),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} so that the logarithm is finite. Then no error is larger than "
            f"{-math.log(eps):.0f}. F.logsigmoid needs nothing added.",
            related(lambda d, eps=eps: -(d.sigmoid() + eps).log().mean()))
          for eps in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12)),
        *(Mistake(
            f"difference clamped at {limit}",
            f"You keep the difference within {limit}. A player that loses by more has no slope "
            "then. F.softplus needs no clamp.",
            lambda real, fake, limit=limit: related(lambda d: F.softplus(-d).mean())(
                (real - fake).clamp(-limit, limit), torch.zeros_like(real)))
          for limit in (10, 20, 30, 50, 80)),
        *(Mistake(
            f"D kept {eps:g} away from 0 and 1",
            f"You keep D {eps:g} away from 0 and 1 so that the logarithm is finite. A player that "
            "loses by more has no slope then. F.logsigmoid needs nothing kept.",
            related(lambda d, eps=eps: -kept_between(eps)[0](d).mean()))
          for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-12)),
        *(Mistake(
            f"D kept between {eps:g} and 1 - {eps:g}",
            f"You keep D {eps:g} away from 0 and 1 so that the logarithm is finite. A player that "
            "loses by more has no slope then. F.logsigmoid needs nothing kept.",
            lambda real, fake, eps=eps: (-kept_between(eps)[0](real - fake).mean(),
                                         -kept_between(eps)[1](fake - real).mean()))
          for eps in (1e-5, 1e-6, 1e-7, 1e-8)),
        *(Mistake(
            f"{eps:g} inside the logarithm, of 1 - D too",
            f"You add {eps:g} so that the logarithm is finite. Then no error is larger than "
            f"{-math.log(eps):.0f}. F.logsigmoid needs nothing added.",
            lambda real, fake, eps=eps: (-with_added(eps)[0](real - fake).mean(),
                                         -with_added(eps)[1](fake - real).mean()))
          for eps in (1e-6, 1e-7, 1e-8)),
        Mistake(
            "difference turned round",
            "Your critic wants the painted picture to score above the real one. It is the other "
            "way round, for both players.",
            lambda real, fake: relativistic(fake, real)),
        Mistake(
            "one loss for both",
            "Both players minimise the same. What is won by the one is lost by the other: the "
            "painter's difference is turned round.",
            paired(lambda critic, painter: (critic, critic))),
        Mistake(
            "one loss for both, the painter's",
            "Both players minimise the same, the painter's loss. The critic's difference is turned "
            "round.",
            paired(lambda critic, painter: (painter, painter))),
        Mistake(
            "the painter loses what the critic wins",
            "You return minus the critic's loss for the painter. That saturates; R3GAN's painter "
            "has the softplus of the difference turned round.",
            paired(lambda critic, painter: (critic, -critic))),
        Mistake(
            "both signs turned",
            "Both signs are turned: what is returned is minimised.",
            paired(lambda critic, painter: (-critic, -painter))),
        Mistake(
            "without ln",
            "You average the sigmoid. The losses have -ln of it: without the logarithm a player "
            "that surely loses has no slope.",
            related(lambda d: -d.sigmoid().mean())),
        Mistake(
            "the differences themselves",
            "You average the differences as they are: that is the Wasserstein loss. Here they pass "
            "through softplus.",
            related(lambda d: -d.mean())),
        Mistake(
            "not in pairs",
            "Each score stands alone in your losses: that is the non-saturating loss. Here each "
            "real score is compared with a painted one.",
            lambda real, fake: gan.non_saturating(real, fake)),
        Mistake(
            "the painter not in pairs",
            "Your painter's score stands alone. Its loss too compares each painted one with the "
            "real one beside it.",
            lambda real, fake: (relativistic(real, fake)[0], F.softplus(-fake).mean())),
        Mistake(
            "every pair",
            "You compare every real score with every painted one, (B,B): did a (B,1) meet a (B,)? "
            "Each real one has one partner.",
            lambda real, fake: (F.softplus(-table(real, fake)).mean(),
                                F.softplus(table(real, fake)).mean())),
        Mistake(
            "beside the mean of the painted",
            "You compare each real score with the MEAN of the painted ones. Here each has one "
            "partner.",
            lambda real, fake: (F.softplus(fake.mean() - real).mean(),
                                F.softplus(real.mean() - fake).mean())),
        Mistake(
            "beside the mean of the painted alone",
            "You compare real scores with the mean of the painted ones. Here each has one partner, "
            "for both players.",
            lambda real, fake: (F.softplus(fake.mean() - real).mean(),
                                F.softplus(real - fake.mean()).mean())),
        Mistake(
            "both terms, averages compared",
            "You add two terms with averages: that is the relativistic AVERAGE loss. Here each "
            "real score is compared with one painted one, and there is one term.",
            lambda real, fake: tuple(
                F.softplus(b.mean() - a).mean() + F.softplus(b - a.mean()).mean()
                for a, b in ((real, fake), (fake, real)))),
        Mistake(
            "both terms, averages compared, halved",
            "You take the mean of two terms with averages: that is the relativistic AVERAGE loss. "
            "Here each real score is compared with one painted one, and there is one term.",
            lambda real, fake: tuple(
                (F.softplus(b.mean() - a).mean() + F.softplus(b - a.mean()).mean()) / 2
                for a, b in ((real, fake), (fake, real)))),
        Mistake(
            "the means compared",
            "You average the scores first, then compare. Each pair has its own error: the mean "
            "comes last.",
            related(lambda d: F.softplus(-d.mean()))),
        Mistake(
            "sorted pairs",
            "You sort both. Each real score has the partner beside it, whatever both are.",
            lambda real, fake: relativistic(real.sort().values, fake.sort().values)),
        Mistake(
            "the batch turned round",
            "You pair the first with the last. real[i] belongs to fake[i].",
            lambda real, fake: relativistic(real, fake.flip(0))),
        Mistake(
            "the neighbour's partner",
            "You pair each with its neighbour's partner. real[i] belongs to fake[i].",
            lambda real, fake: relativistic(real, fake.roll(1))),
        Mistake(
            "summed over the batch",
            "You sum over the batch. Take the mean, or the slope grows with its size.",
            related(lambda d: F.softplus(-d).sum())),
        Mistake(
            "one number for each pair",
            "You return a number for each pair, (B,). Average over the batch.",
            related(lambda d: F.softplus(-d))),
        Mistake(
            "halved",
            "Your losses are half as large: a critic that knows nothing has ln 2 here.",
            paired(lambda critic, painter: (critic / 2, painter / 2))),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            paired(lambda critic, painter: (critic / math.log(2), painter / math.log(2)))),
        Mistake(
            "hinge",
            "You take relu(1 - difference). Here it is softplus of minus the difference.",
            related(lambda d: F.relu(1 - d).mean())),
        Mistake(
            "relu in place of softplus",
            "You take relu of the difference. softplus is its smooth form, and still has a slope "
            "where the pair is in order.",
            related(lambda d: F.relu(-d).mean())),
        Mistake(
            "squares",
            "You square the difference. Then a pair in good order costs as much as one in bad.",
            related(lambda d: d.square().mean())),
        Mistake(
            "the sigmoids compared",
            "You subtract the sigmoids. The scores themselves are compared.",
            lambda real, fake: relativistic(real.sigmoid(), fake.sigmoid())),
        Mistake(
            "the scores added",
            "You add the scores. They are compared: subtract.",
            lambda real, fake: relativistic(real, -fake)),
        Mistake(
            "real detached",
            "Your numbers are right, but you detach the real scores: the critic never learns what "
            "is real. Detach nothing here.",
            lambda real, fake: relativistic(real.detach(), fake)),
        Mistake(
            "painted detached",
            "Your numbers are right, but you detach the painted scores: the painter learns nothing "
            "at all. Detach nothing here.",
            lambda real, fake: relativistic(real, fake.detach())),
        Mistake(
            "painted detached for the critic",
            "Your numbers are right, but you detach the painted scores in the critic's loss, so it "
            "never learns from what is painted. Detach the PICTURES, before the critic sees them.",
            lambda real, fake: (relativistic(real, fake.detach())[0],
                                relativistic(real, fake)[1])),
        Mistake(
            "each player's opponent detached",
            "Your numbers are right, but you detach the painted scores for the critic and the real "
            "ones for the painter. Detach the PICTURES, before the critic sees them, and nothing "
            "here.",
            lambda real, fake: (relativistic(real, fake.detach())[0],
                                relativistic(real.detach(), fake)[1])),
        Mistake(
            "painted detached for the painter",
            "Your numbers are right, but you detach the scores in the painter's loss, so it learns "
            "nothing at all. Detach nothing here.",
            lambda real, fake: (relativistic(real, fake)[0],
                                relativistic(real, fake.detach())[1])),
    ), "each real one beside a painted one, however far they are apart", learns=True)


# ---- captions that are wrong

def wrong_captions(factors: Tensor) -> Tensor:
    """What the pictures of a batch show, (B,F) whole numbers -> (B,) whole numbers: for each the
    place of the next picture, round the end, that shows something else in any factor."""
    return next_where(unlike(factors))


def unlike(factors: Tensor) -> Tensor:
    """(B,B): do two pictures differ in any factor?"""
    return (factors[:, None] != factors).any(dim=2)


def next_where(table: Tensor, start: int = 1, step: int = 1) -> Tensor:
    """The first column from the diagonal on, round the end, that is True; its own where none is."""
    B = len(table)
    order = (torch.arange(B)[:, None] + step * (start + torch.arange(B))) % B
    ahead = table.gather(1, order)
    return torch.where(ahead.any(dim=1), order.gather(1, ahead.int().argmax(
        dim=1, keepdim=True))[:, 0], torch.arange(B))


def batches(many, *kinds):
    """B = many(g) pictures of which neighbours are often alike, also the last and the first; kinds
    differ from each other in a few factors."""
    def draw(g: Generator) -> tuple:
        B = many(g)
        which = torch.randint(len(kinds), (B,), generator=g)
        which[:5], which[-2:] = torch.tensor([0, 0, 1, 0, 2]), torch.tensor([0, 0])
        shift = torch.randint(3, (len(kinds[0]),), generator=g)
        return (torch.tensor(kinds)[which] + shift,)
    return draw


def two_kinds(g: Generator) -> tuple:
    """One picture is the other of all; where it stands is drawn."""
    B = between(6, 8, g)
    factors = torch.tensor([4, 2, 3]).repeat(B, 1)
    factors[between(2, B - 3, g), 1] = 5
    return (factors,)


def permuted(g: Generator) -> tuple:
    """The same numbers in another order, and others with the same sum that differ more."""
    kinds = torch.tensor([[1, 2, 3, 0], [3, 2, 1, 0], [2, 4, 0, 0]]) + between(0, 3, g)
    which = torch.cat([torch.tensor([0, 0, 1, 2]), torch.randint(3, (between(2, 4, g),),
                                                                 generator=g)])
    return (kinds[which],)


def all_unlike(g: Generator) -> tuple:
    """No two are alike in any factor."""
    B = between(5, 7, g)
    return (torch.stack([torch.randperm(B, generator=g) for _ in range(3)], dim=1),)


def with_ten_and_more(g: Generator) -> tuple:
    """Numbers of two digits: written side by side, or as one number of base ten, some are alike,
    in whichever order. And one factor more than three, in which alone some differ."""
    kinds = torch.tensor([[1, 1, 0, 5], [11, 0, 0, 5], [0, 11, 0, 5], [1, 1, 0, 6]])
    which = torch.cat([torch.tensor([0, 0, 1, 3, 0, 3, 2, 0, 2]),
                       torch.randint(4, (between(1, 3, g),), generator=g)])
    return (kinds[which],)


def of_one_product(g: Generator) -> tuple:
    """Neighbours that differ and have the same product, the last and the first too."""
    return (torch.tensor([[2, 2], [2, 2], [1, 4], [3, 0], [0, 7], [5, 1], [4, 1]]),)


def by_other(other):
    """With another idea of what is unlike: other(factors) -> (B,B)."""
    return lambda factors: next_where(other(factors))


def or_else(other, filled):
    """The same, and where none is unlike the answer is filled(B): its place, or the next one."""
    def answer(factors: Tensor) -> Tensor:
        table = other(factors)
        return torch.where((table & ~torch.eye(len(table), dtype=torch.bool)).any(dim=1),
                           next_where(table), filled(len(table)))
    return answer


def base_ten(factors: Tensor) -> Tensor:
    return (factors * 10 ** torch.arange(factors.shape[1])).sum(dim=1)


def base_ten_from_the_left(factors: Tensor) -> Tensor:
    return base_ten(factors.flip(1))


def unlike_by(number):
    """number(factors) -> one for each picture, (B,): two pictures are unlike where these are."""
    return lambda factors: number(factors)[:, None] != number(factors)


def turned_round(factors: Tensor) -> Tensor:
    """As many places forwards as the last picture that differs lies behind."""
    B = len(factors)
    return (2 * torch.arange(B) - next_where(unlike(factors), step=-1)) % B


FILLED = {"-1": lambda B: torch.full((B,), -1), "0": lambda B: torch.zeros(B, dtype=torch.long),
          "the next one": lambda B: (torch.arange(B) + 1) % B}


WRONG_CAPTIONS = Exercise(
    "gan.wrong_captions", LESSON, 1, wrong_captions,
    (batches(lambda g: between(8, 10, g), [7, 1, 2], [7, 1, 3], [7, 4, 2], [5, 1, 2]),
     batches(lambda g: between(6, 7, g), [0, 0], [1, 0], [0, 1]),
     two_kinds, permuted, all_unlike, with_ten_and_more, of_one_product,
     lambda g: (torch.tensor([[3, 1], [2, 1]]) + between(0, 3, g),)),
    of_section(4,
        Mistake(
            "the next one, whatever it shows",
            "You take the next picture's caption for all. Where two neighbours show the same, that "
            "caption is RIGHT, and the critic is told that it is wrong. Look for one that differs.",
            lambda factors: (torch.arange(len(factors)) + 1) % len(factors)),
        Mistake(
            "the one before, whatever it shows",
            "You take the caption of the picture before for all. Where both show the same, that "
            "caption is RIGHT. And look forwards.",
            lambda factors: (torch.arange(len(factors)) - 1) % len(factors)),
        Mistake(
            "the batch turned round",
            "You turn the batch round. Then the middle one has its own caption, and copies are "
            "called wrong. Look for the next that differs.",
            lambda factors: torch.arange(len(factors)).flip(0)),
        Mistake(
            "half a batch on",
            "You take the caption half a batch further. It may say the same. Look for the next "
            "that differs.",
            lambda factors: (torch.arange(len(factors)) + len(factors) // 2) % len(factors)),
        Mistake(
            "all factors must differ",
            "You look for a picture that differs in ALL factors. One is enough: a red seven is no "
            "blue seven.",
            by_other(lambda factors: (factors[:, None] != factors).all(dim=2))),
        *(Mistake(
            f"all factors must differ, or else {name}",
            "You look for a picture that differs in ALL factors. One is enough: a red seven is no "
            "blue seven.",
            or_else(lambda factors: (factors[:, None] != factors).all(dim=2), filled))
          for name, filled in FILLED.items()),
        Mistake(
            "the next that shows the same",
            "You look for the next picture that shows the SAME: that caption is right.",
            by_other(lambda factors: ~unlike(factors))),
        Mistake(
            "the first factor alone",
            "You compare the first factor alone. A red seven and a blue seven differ as well.",
            by_other(lambda factors: factors[:, None, 0] != factors[:, 0])),
        *(Mistake(
            f"the first factor alone, or else {name}",
            "You compare the first factor alone. A red seven and a blue seven differ as well.",
            or_else(unlike_by(lambda factors: factors[:, 0]), filled))
          for name, filled in FILLED.items()),
        Mistake(
            "the last factor alone",
            "You compare the last factor alone. Any factor may differ.",
            by_other(lambda factors: factors[:, None, -1] != factors[:, -1])),
        *(Mistake(
            f"the last factor alone, or else {name}",
            "You compare the last factor alone. Any factor may differ.",
            or_else(unlike_by(lambda factors: factors[:, -1]), filled))
          for name, filled in FILLED.items()),
        *(Mistake(
            f"the first {n} factors alone",
            f"You compare {n} factors. A batch may have more: compare all of them.",
            by_other(lambda factors, n=n: unlike(factors[:, :n]))) for n in (2, 3)),
        Mistake(
            "sums compared",
            "You compare the sums of the factors. A two on three is no three on two: compare "
            "factor by factor.",
            by_other(lambda factors: factors.sum(dim=1)[:, None] != factors.sum(dim=1))),
        *(Mistake(
            f"sums compared, or else {name}",
            "You compare the sums of the factors. A two on three is no three on two: compare "
            "factor by factor.",
            or_else(unlike_by(lambda factors: factors.sum(dim=1)), filled))
          for name, filled in FILLED.items()),
        Mistake(
            "products compared",
            "You compare the products of the factors. A two on two is no one on four: compare "
            "factor by factor.",
            by_other(unlike_by(lambda factors: factors.prod(dim=1)))),
        *(Mistake(
            f"written side by side, from the {side}",
            "You make one number of the factors, of base ten, and 10 is no digit: two pictures "
            "that differ have the same. Compare factor by factor.",
            by_other(unlike_by(number)))
          for side, number in (("left", base_ten_from_the_left), ("right", base_ten))),
        Mistake(
            "sets compared",
            "You compare which numbers occur. A two on three is no three on two: compare factor by "
            "factor.",
            by_other(lambda factors: unlike(factors.sort(dim=1).values))),
        Mistake(
            "backwards",
            "You look backwards. The NEXT picture, round the end, that shows something else.",
            lambda factors: next_where(unlike(factors), step=-1)),
        Mistake(
            "rolled the wrong way",
            "factors.roll(k, 0)[i] is what stands k places BEFORE i, and you return the place k "
            "places behind it. roll(-k, 0) looks forwards.",
            turned_round),
        Mistake(
            "two places are looked at",
            "Where the next one shows the same, you take the one after it, whatever that shows. "
            "Go on until one differs.",
            lambda factors: torch.where(
                unlike(factors)[at := torch.arange(len(factors)), (at + 1) % len(factors)],
                (at + 1) % len(factors), (at + 2) % len(factors))),
        Mistake(
            "from the start of the batch",
            "You take the first of the batch that differs, and nearly all get the same caption. "
            "Begin behind the picture itself, and go round the end.",
            lambda factors: unlike(factors).int().argmax(dim=1)),
        Mistake(
            "from the end of the batch",
            "You take the last of the batch that differs. Begin behind the picture itself, and go "
            "round the end.",
            lambda factors: len(factors) - 1 - unlike(factors).flip(1).int().argmax(dim=1)),
        Mistake(
            "not round the end",
            "At the end of the batch you find nothing and keep the picture's own caption, which is "
            "right. Go on at its start.",
            lambda factors: torch.where((ahead := unlike(factors).triu()).any(dim=1),
                                        ahead.int().argmax(dim=1), torch.arange(len(factors)))),
        Mistake(
            "not round the end, the first in its place",
            "At the end of the batch you find nothing and take the first picture, which may show "
            "the same. Go on at the start, and go on looking.",
            lambda factors: unlike(factors).triu().int().argmax(dim=1)),
        Mistake(
            "not round the end, the last in its place",
            "At the end of the batch you find nothing and take the last picture, which may show "
            "the same. Go on at the start, and go on looking.",
            lambda factors: torch.where((ahead := unlike(factors).triu()).any(dim=1),
                                        ahead.int().argmax(dim=1), len(factors) - 1)),
        Mistake(
            "places beyond the batch",
            "You go on looking at the start, and count on: some of your places are B or more. "
            "The place itself goes round the end, % B.",
            lambda factors: (at := torch.arange(len(factors)))
            + (wrong_captions(factors) - at) % len(factors)),
        Mistake(
            "the first that differs left out",
            "You begin to look two places further on. The next picture counts too.",
            lambda factors: next_where(unlike(factors), start=2)),
        Mistake(
            "its own place",
            "You return each picture's own place: the right captions.",
            lambda factors: torch.arange(len(factors))),
        Mistake(
            "the first picture for all",
            "You return the first picture's place for all. For those that show the same it is "
            "right.",
            lambda factors: torch.zeros(len(factors), dtype=torch.long)),
        Mistake(
            "how far away",
            "You return how many places further on it stands. Asked for is its place in the batch.",
            lambda factors: (wrong_captions(factors) - torch.arange(len(factors))) % len(factors)),
        Mistake(
            "a table",
            "You return a table of which captions are wrong for which picture, (B,B). Asked for is "
            "one place for each picture, (B,).",
            unlike),
        Mistake(
            "the factors there",
            "You return what is shown there. Asked for is the place in the batch, (B,).",
            lambda factors: factors[wrong_captions(factors)]),
        Mistake(
            "counted from 1",
            "Your places are counted from 1. The first is 0.",
            lambda factors: wrong_captions(factors) + 1),
        Mistake(
            "the most different one, from the start of the batch",
            "You take the first picture of the batch that differs in the most factors. Asked for "
            "is the next behind the picture itself that differs in any.",
            lambda factors: (factors[:, None] != factors).sum(dim=2).argmax(dim=1)),
        Mistake(
            "the most different one",
            "You take the picture that differs in the most factors. Asked for is the next that "
            "differs in any.",
            lambda factors: next_where((n := (factors[:, None] != factors).sum(dim=2))
                                       == n.amax(dim=1, keepdim=True))),
    ), "a caption that is surely wrong, for each picture")


# ---- the critic that listens

def matching_aware(right: Tensor, wrong: Tensor, fake: Tensor) -> Tensor:
    """Scores (B,) of real pictures with their captions, of the same with wrong ones, and of
    painted pictures with the captions they were painted for -> the critic's loss, a tensor without
    dimensions."""
    return losses_of(right, wrong, fake, 1, 0.5, 0.5)


def losses_of(right: Tensor, wrong: Tensor, fake: Tensor, a: float, b: float, c: float) -> Tensor:
    """The three errors, each with its weight."""
    return (a * F.softplus(-right).mean() + b * F.softplus(wrong).mean()
            + c * F.softplus(fake).mean())


def weighted(a: float, b: float, c: float):
    return lambda right, wrong, fake: losses_of(right, wrong, fake, a, b, c)


def aware_by(log_right, log_wrong, log_fake):
    """The loss by three functions that should all be ln sigmoid."""
    return lambda right, wrong, fake: (-log_right(right).mean() - (
        log_wrong(-wrong).mean() + log_fake(-fake).mean()) / 2)


AWARE_OVERFLOWS = tuple(
    names for names in itertools.product(("right", "log sigmoid"), WAYS, WAYS)
    if set(names) != {"right"})


MATCHING_AWARE = Exercise(
    "gan.matching_aware", LESSON, 1, matching_aware,
    (scores(several, 1.0, -0.5, -1.5, parts=3), scores(several, -1.0, 2.0, 0.5, parts=3),
     scores(one, 0.5, 1.0, -2.0, parts=3), surprising((0, -2000.0), parts=3),
     surprising((1, 40.0), parts=3), surprising((2, 40.0), parts=3),
     surprising((1, 2000.0), (0, 200.0), parts=3), surprising((2, 2000.0), (1, -50.0), parts=3),
     graded(0, parts=3), graded(1, parts=3), graded(2, parts=3)),
    of_section(4,
        *(Mistake(
            f"overflows: {', '.join(names)}",
            "The formula is right, but sigmoid(-2000) is 0 in a computer, 1 - sigmoid(40) is too, "
            "and the logarithm of 0 is infinite. F.logsigmoid and F.softplus never compute the "
            "sigmoid; 1 - sigmoid(s) is sigmoid(-s).",
            aware_by(*(WAYS[name] for name in names))) for names in AWARE_OVERFLOWS),
        Mistake(
            "sigmoid, then binary_cross_entropy",
            "You take the sigmoid and then binary_cross_entropy, which keeps each logarithm above "
            "-100. binary_cross_entropy_with_logits takes the scores.",
            aware_by(kept_above_100, kept_above_100_of_the_rest, kept_above_100_of_the_rest)),
        *(Mistake(
            f"{eps:g} inside the logarithm",
            f"You add {eps:g} so that the logarithm is finite. Then no error is larger than "
            f"{-math.log(eps):.0f}. F.logsigmoid needs nothing added.",
            aware_by(*with_added(eps), with_added(eps)[1]))
          for eps in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12)),
        *(Mistake(
            f"D kept between {eps:g} and 1 - {eps:g}",
            f"You keep D {eps:g} away from 0 and 1 so that the logarithm is finite. Where the "
            "critic is surely wrong it has no slope then. F.logsigmoid needs nothing kept.",
            aware_by(*kept_between(eps), kept_between(eps)[1]))
          for eps in (1e-5, 1e-6, 1e-7, 1e-8)),
        *(Mistake(
            f"scores clamped at {limit}",
            f"You keep the scores within {limit}. Where the critic is surely wrong it has no slope "
            "then. F.logsigmoid needs no clamp.",
            lambda *three, limit=limit: matching_aware(*(x.clamp(-limit, limit) for x in three)))
          for limit in (10, 20, 30, 50, 80)),
        Mistake(
            "the half forgotten",
            "The two kinds of error count in full. Each has a half, so that painted and wrong "
            "together weigh as much as right.",
            weighted(1, 1, 1)),
        Mistake(
            "a third each",
            "You average the three. Right weighs 1, the other two a half each.",
            weighted(1 / 3, 1 / 3, 1 / 3)),
        Mistake(
            "all halved",
            "Your loss is half as large: right weighs 1, the other two a half each.",
            weighted(0.5, 0.25, 0.25)),
        Mistake(
            "right halved too",
            "All three have a half. Right weighs 1.",
            weighted(0.5, 0.5, 0.5)),
        Mistake(
            "right halved, the others not",
            "You give right the half. Right weighs 1, the other two a half each.",
            weighted(0.5, 1, 1)),
        Mistake(
            "only wrong halved",
            "Painted pictures count in full. They weigh a half, as wrong captions do.",
            weighted(1, 0.5, 1)),
        Mistake(
            "only painted halved",
            "Wrong captions count in full. They weigh a half, as painted pictures do.",
            weighted(1, 1, 0.5)),
        Mistake(
            "halved twice",
            "The two kinds of error weigh a quarter each: you halve each of them, and their sum "
            "again.",
            weighted(1, 0.25, 0.25)),
        Mistake(
            "twice as large",
            "Your loss is twice as large: right weighs 1, the other two a half each.",
            weighted(2, 1, 1)),
        Mistake(
            "wrong captions left out",
            "Pictures with wrong captions do not occur in your loss. That is the plain game, in "
            "which nobody says that the caption matters.",
            weighted(1, 0, 1)),
        Mistake(
            "wrong captions left out, and a half",
            "Pictures with wrong captions do not occur in your loss: the other half is theirs.",
            weighted(1, 0, 0.5)),
        Mistake(
            "painted pictures left out",
            "Painted pictures do not occur in your loss: then nobody tells the painter what looks "
            "real.",
            weighted(1, 1, 0)),
        Mistake(
            "painted pictures left out, and a half",
            "Painted pictures do not occur in your loss: the other half is theirs.",
            weighted(1, 0.5, 0)),
        Mistake(
            "right left out",
            "Real pictures with their own captions do not occur in your loss: the critic would "
            "call everything wrong.",
            weighted(0, 0.5, 0.5)),
        Mistake(
            "wrong as right",
            "A real picture with a wrong caption counts as right, as if only the picture mattered. "
            "Its score is to be low.",
            lambda right, wrong, fake: losses_of(right, -wrong, fake, 1, 0.5, 0.5)),
        Mistake(
            "painted as right",
            "Painted pictures count as right. Their score is to be low.",
            lambda right, wrong, fake: losses_of(right, wrong, -fake, 1, 0.5, 0.5)),
        Mistake(
            "labels swapped",
            "All three labels are swapped: right is to score high, the others low.",
            lambda right, wrong, fake: matching_aware(-right, -wrong, -fake)),
        Mistake(
            "sign turned",
            "You return what the critic MAXIMISES. Turn the sign.",
            lambda *three: -matching_aware(*three)),
        Mistake(
            "the errors subtracted",
            "You subtract the two kinds of error. All are minimised: add them.",
            weighted(1, -0.5, -0.5)),
        Mistake(
            "right to score low",
            "Right pairs count as wrong, like the two others: the critic would say no to all. "
            "Their score is to be high.",
            lambda right, wrong, fake: matching_aware(-right, wrong, fake)),
        Mistake(
            "right and wrong swapped",
            "You take wrong for right. right comes first.",
            lambda right, wrong, fake: matching_aware(wrong, right, fake)),
        Mistake(
            "right and fake swapped",
            "You take the painted ones for the right ones. They come as right, wrong, fake.",
            lambda right, wrong, fake: matching_aware(fake, wrong, right)),
        Mistake(
            "summed over the batch",
            "You sum over the batch. Take the mean.",
            lambda right, wrong, fake: matching_aware(right, wrong, fake) * len(right)),
        Mistake(
            "one number for each picture",
            "You return a number for each picture, (B,). Average over the batch.",
            lambda right, wrong, fake: (F.softplus(-right) + F.softplus(wrong) / 2
                                        + F.softplus(fake) / 2)),
        Mistake(
            "scores averaged first",
            "You average the scores of wrong and painted pictures first. Each has its own error.",
            lambda right, wrong, fake: losses_of(right, (wrong + fake) / 2, fake, 1, 1, 0)),
        Mistake(
            "scores added first",
            "You add the scores of wrong and painted pictures. Each has its own error.",
            lambda right, wrong, fake: losses_of(right, wrong + fake, fake, 1, 1, 0)),
        Mistake(
            "the larger of the two",
            "You count only the worse of the two errors. Both count, with a half each.",
            lambda right, wrong, fake: F.softplus(-right).mean() + torch.maximum(
                F.softplus(wrong), F.softplus(fake)).mean()),
        Mistake(
            "in pairs",
            "You compare the scores with each other. In Reed's loss each stands alone.",
            lambda right, wrong, fake: (F.softplus(wrong - right) / 2
                                        + F.softplus(fake - right) / 2).mean()),
        Mistake(
            "the scores themselves",
            "You add and subtract the scores as they are. They pass through ln sigmoid.",
            lambda right, wrong, fake: (wrong.mean() + fake.mean()) / 2 - right.mean()),
        Mistake(
            "hinge",
            "This is the hinge loss, with relu in place of softplus.",
            lambda right, wrong, fake: F.relu(1 - right).mean() + (
                F.relu(1 + wrong).mean() + F.relu(1 + fake).mean()) / 2),
        Mistake(
            "the sigmoid twice",
            "You pass the sigmoid of the scores to a function that takes it again.",
            lambda *three: matching_aware(*(x.sigmoid() for x in three))),
        Mistake(
            "D in place of ln D",
            "You average D itself. The loss has its logarithm.",
            lambda right, wrong, fake: (wrong.sigmoid().mean() + fake.sigmoid().mean()) / 2
            - right.sigmoid().mean()),
        Mistake(
            "bits",
            "These are bits. Asked for are nats, natural logarithms.",
            lambda *three: matching_aware(*three) / math.log(2)),
        Mistake(
            "the painter's loss",
            "This is what the painter minimises. Asked for is the critic's loss.",
            lambda right, wrong, fake: F.softplus(-fake).mean()),
        Mistake(
            "right detached",
            "Your number is right, but you detach the scores of the right pairs: the critic never "
            "learns what is right. Detach nothing here.",
            lambda right, wrong, fake: matching_aware(right.detach(), wrong, fake)),
        Mistake(
            "wrong detached",
            "Your number is right, but you detach the scores of the wrong pairs: the critic never "
            "learns to read. Detach nothing here.",
            lambda right, wrong, fake: matching_aware(right, wrong.detach(), fake)),
        Mistake(
            "painted detached",
            "Your number is right, but you detach the scores of painted pictures: the critic never "
            "learns from them. Detach the PICTURES, before the critic sees them.",
            lambda right, wrong, fake: matching_aware(right, wrong, fake.detach())),
        Mistake(
            "wrong and painted detached",
            "Your number is right, but you detach the scores of wrong and of painted pairs: the "
            "critic learns from the right ones alone. Detach nothing here.",
            lambda right, wrong, fake: matching_aware(right, wrong.detach(), fake.detach())),
    ), "right pairs up, painted pictures and wrong captions down", learns=True)


TEST = hunt(MODES, "more than least", "nearer than radius", "no radius", "the last centre left out",
    "one sample is enough", "20 in place of least", "the root forgotten", "the largest difference",
    "samples counted", "modes that are lost")
EXERCISES = (
    BEST_CRITIC, NON_SATURATING, MODES, R1, WRONG_CAPTIONS, MATCHING_AWARE, RELATIVISTIC, TEST)
