r"""The exercises of lesson 16: numbers that say whether a comparison is one.

in -> out   EXERCISES: parts, swap_rate, copied, share_given, guided_shares, ring_distance, p_value;
            a test of copied
idea        A share is a count over a count, and nearly every mistake is about which of the two: so
            crowds are drawn in which the counts differ, and beside them stand those with ties, with
            one picture, with nothing to count. Where distances are to be equal, pictures stand in a
            row at whole numbers, so that they are equal in any arithmetic.
"""
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from minidalle.course.checks import Exercise, Mistake, hunt
from minidalle.course.checks.diffusion import in_section
from minidalle.course.checks.transformer import between

LESSON = "16_compare"


def share(hits: Tensor) -> float:
    """Of truths, the share that is True; of none, 0."""
    return hits.double().mean().item() if len(hits) else 0.0


# ---- the whole and its parts

def parts(right: Tensor) -> tuple[float, float]:
    """right (B,F) bool: is factor f of picture b as the caption says? -> the share of pictures with
    all factors right, and the product of the shares of the factors."""
    return share(right.all(dim=1)), shares(right).prod().item()


def shares(right: Tensor) -> Tensor:
    """Of each factor, (F,)."""
    return right.double().mean(dim=0)


def rights(size, *chances: float):
    """size(g) -> B, F; the factors' chances take turns. Of the first rows one has all right and one
    a single mistake, so that no share of whole pictures is 0 or 1."""
    def draw(g: Generator) -> tuple:
        B, n = size(g)
        right = torch.rand(B, n, generator=g) < torch.tensor(chances).repeat(n)[:n]
        right[0], right[1] = True, torch.arange(n) != between(0, n - 1, g)
        right[2] = torch.arange(n) == n - 1                 # right in the last alone
        right[3] = torch.arange(n) == 0                     # and in the first alone
        right[4] = torch.arange(n) <= n // 2                # and in a little more than half
        return (right,)
    return draw


def together(g: Generator) -> tuple:
    """Right in all or in nothing, but for one picture: the whole is far above the product."""
    right = (torch.arange(between(9, 11, g)) % 2 == 0)[:, None].repeat(1, 3)
    right[1] = torch.tensor([True, False, False])
    return (right,)


def never_together(g: Generator) -> tuple:
    """Each picture has one factor wrong: the product is not 0, the whole is."""
    return (torch.arange(between(9, 11, g))[:, None] % 4 != torch.arange(4),)


def both(of):
    """Two numbers out of the shares of the factors (F,) and of what is right (B,F)."""
    return lambda right: tuple(float(x) for x in of(right))


def with_product(product):
    """The whole as it should be, beside another second number."""
    return lambda right: (parts(right)[0], float(product(right)))


def with_whole(whole):
    """Another first number, beside the product as it should be."""
    return lambda right: (float(whole(right)), parts(right)[1])


PARTS = Exercise(
    "compare.parts", LESSON, 1, parts,
    (rights(lambda g: (between(12, 16, g), 3), 0.9, 0.6, 0.75),
     rights(lambda g: 2 * (between(5, 6, g),), 0.8),
     together, never_together,
     lambda g: (torch.tensor([[True, True, False]]),),
     lambda g: (torch.ones(between(2, 5, g), 3) > 0,)), in_section(2,
        Mistake(
            "the two exchanged",
            "You return the product first. First comes the whole: the share of pictures with all "
            "factors right.",
            lambda right: parts(right)[::-1]),
        Mistake(
            "the product twice",
            "You take the product for the whole as well. That is what is to be found out: look at "
            "each picture, and ask whether ALL its factors are right.",
            lambda right: 2 * (parts(right)[1],)),
        Mistake(
            "the whole twice",
            "You multiply along each picture, and take the mean. That is the whole again: the "
            "product multiplies the SHARES of the factors.",
            lambda right: 2 * (parts(right)[0],)),
        Mistake(
            "any in place of all",
            "You count a picture as right if ANY of its factors is. All must be.",
            with_whole(lambda right: share(right.any(dim=1)))),
        Mistake(
            "the mean in place of the whole",
            "You take the mean of the shares for the whole. A picture with one factor wrong is "
            "wrong: ask for all of each picture, then count.",
            with_whole(lambda right: shares(right).mean())),
        Mistake(
            "the smallest share in place of the whole",
            "You take the smallest share for the whole. That would hold if every mistake fell on "
            "the same pictures: ask for all of each picture, then count.",
            with_whole(lambda right: shares(right).min())),
        Mistake(
            "one factor may be wrong",
            "You forgive one wrong factor in each picture. All must be right.",
            with_whole(lambda right: share((~right).sum(dim=1) <= 1))),
        Mistake(
            "most factors right",
            "You count a picture as right if more than half of its factors are. All must be.",
            with_whole(lambda right: share(right.double().mean(dim=1) > 0.5))),
        Mistake(
            "a count in place of the share",
            "You count the pictures. Asked for is their share: divide by B.",
            with_whole(lambda right: right.all(dim=1).sum().item())),
        Mistake(
            "all along the wrong side",
            "You ask which factors are right in all pictures. Ask of each PICTURE whether all its "
            "factors are right: dim 1.",
            with_whole(lambda right: share(right.all(dim=0)))),
        Mistake(
            "the mean in place of the product",
            "You average the shares of the factors. If they have nothing to do with each other, "
            "their chances multiply.",
            with_product(lambda right: shares(right).mean())),
        Mistake(
            "the smallest share in place of the product",
            "You take the smallest share of a factor. If the factors have nothing to do with each "
            "other, their chances multiply.",
            with_product(lambda right: shares(right).min())),
        Mistake(
            "the sum in place of the product",
            "You add the shares of the factors. Chances of things that must all happen multiply.",
            with_product(lambda right: shares(right).sum())),
        Mistake(
            "the geometric mean",
            "You take the F-th root of the product. That is a mean share of one factor; the "
            "product is that of all.",
            with_product(lambda right: shares(right).prod() ** (1 / right.shape[1]))),
        Mistake(
            "the product of the mistakes",
            "You multiply the shares that are WRONG. Multiply those that are right.",
            with_product(lambda right: (1 - shares(right)).prod())),
        Mistake(
            "at least one, if they were independent",
            "You take 1 minus the product of the mistakes: the chance that at least one factor is "
            "right. All must be: the product of the shares.",
            with_product(lambda right: 1 - (1 - shares(right)).prod())),
        Mistake(
            "the first two factors",
            "You multiply the first two factors, and leave out the others. Captions differ in how "
            "many they have: take all columns.",
            with_product(lambda right: shares(right)[:2].prod())),
        Mistake(
            "the last factor left out",
            "You leave out the last factor. It counts as the others do.",
            with_product(lambda right: shares(right)[:-1].prod())),
        Mistake(
            "the first factor left out",
            "You leave out the first factor. It counts as the others do.",
            with_product(lambda right: shares(right)[1:].prod())),
        Mistake(
            "shares along the wrong side",
            "You take the share of each picture, and multiply those. The shares are those of the "
            "FACTORS: the mean over the pictures, dim 0.",
            with_product(lambda right: right.double().mean(dim=1).prod())),
        Mistake(
            "percent",
            "You return percent. Shares lie between 0 and 1.",
            lambda right: tuple(100 * x for x in parts(right))),
        Mistake(
            "what is wrong",
            "You return 1 minus the shares. Asked for is what is right.",
            lambda right: tuple(1 - x for x in parts(right))),
        Mistake(
            "the whole alone",
            "You return one number. Asked for are two: the whole, and the product of the parts.",
            lambda right: parts(right)[0]),
        Mistake(
            "the difference",
            "You return the difference of the two. Asked for are both.",
            lambda right: parts(right)[0] - parts(right)[1]),
        Mistake(
            "the first three factors",
            "You take the first three factors, and leave out the others. Captions differ in how "
            "many they have: take all columns.",
            lambda right: parts(right[:, :3])),
        Mistake(
            "counts multiplied",
            "You multiply the counts of right pictures, and divide once by B. Each factor's "
            "count is divided by B.",
            with_product(lambda right: right.double().sum(dim=0).prod() / len(right))),
        Mistake(
            "the sum of the logarithms",
            "You add up the logarithms of the shares, and stop there. exp of that sum is the "
            "product.",
            with_product(lambda right: shares(right).log().sum())),
        Mistake(
            "the first and the last factor",
            "You ask only for the first and the last factor. All must be right.",
            with_whole(lambda right: share(right[:, 0] & right[:, -1]))),
        Mistake(
            "the mean to the power of their number",
            "You multiply the MEAN of the shares as often as there are factors. Each factor has a "
            "share of its own: multiply these.",
            with_product(lambda right: right.double().mean() ** right.shape[1])),
        Mistake(
            "three right in each picture",
            "You count the pictures with three factors right. All of them must be, however many "
            "there are.",
            with_whole(lambda right: share(right.sum(dim=1) == 3))),
        Mistake(
            "nothing right",
            "You count the pictures in which NO factor is right.",
            with_whole(lambda right: share((~right).all(dim=1)))),
        Mistake(
            "1 less the product",
            "You take the product away from 1. Asked for is the chance that all are right.",
            with_product(lambda right: 1 - shares(right).prod())),
        Mistake(
            "the last picture left out",
            "You leave out the last picture. Each counts.",
            lambda right: (right[:-1].all(dim=1).double().mean().item(),
                           shares(right[:-1]).prod().item())),
        Mistake(
            "divided by one picture less",
            "You divide by one picture less. That is for a variance; a share divides by all.",
            with_whole(lambda right: right.all(dim=1).sum() / max(1, len(right) - 1))),
        Mistake(
            "rounded to hundredths",
            "You round. Return the numbers as they are.",
            lambda right: tuple(round(x, 2) for x in parts(right))),
        Mistake(
            "the whole rounded down",
            "You divide the count with //, and nearly all becomes 0. Use /.",
            with_whole(lambda right: right.all(dim=1).sum() // len(right))),
        Mistake(
            "shares rounded down",
            "You divide the counts of the factors with //, and nearly all becomes 0. Use /.",
            with_product(lambda right: (right.sum(dim=0) // len(right)).prod())),
        Mistake(
            "counts, and their product",
            "You return counts, and the product of counts. Asked for are shares.",
            lambda right: (right.all(dim=1).sum().item(), right.sum(dim=0).prod().item())),
    ), "the share of whole pictures, and what it would be if factors were independent")


# ---- whose ink is it

def swap_rate(read: Tensor, said: Tensor) -> tuple[float, float]:
    """read, said (B,5) whole numbers: digit and ink of the left, digit and ink of the right, paper
    -> of the captions with two different digits and two different inks the share with both digits
    right and the inks exchanged, and half the share with both digits right and the said inks in
    either order; 0 and 0 where there is no such caption."""
    asked = visible(said)
    right_digits, right_inks, swapped = seen(read, said)
    return (share((right_digits & swapped)[asked]),
            share((right_digits & (right_inks | swapped))[asked]) / 2)


def visible(said: Tensor) -> Tensor:
    return two_digits(said) & two_inks(said)


def two_digits(said: Tensor) -> Tensor:
    return said[:, 0] != said[:, 2]


def two_inks(said: Tensor) -> Tensor:
    return said[:, 1] != said[:, 3]


def seen(read: Tensor, said: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Are both digits right, both inks right, the inks exchanged? (B,) each."""
    return ((read[:, [0, 2]] == said[:, [0, 2]]).all(dim=1),
            (read[:, [1, 3]] == said[:, [1, 3]]).all(dim=1),
            (read[:, [1, 3]] == said[:, [3, 1]]).all(dim=1))


# what may be read for "digit 3 in ink 1, digit 7 in ink 4, on 6", and how often a picture shows it:
# as said; inks exchanged; places exchanged; digits exchanged; one ink for both; ink and paper ...
READINGS = ((3, 1, 7, 4, 6), (3, 1, 7, 4, 6), (3, 1, 7, 4, 6), (3, 4, 7, 1, 6), (3, 4, 7, 1, 6),
            (3, 4, 7, 1, 5), (7, 4, 3, 1, 6), (7, 4, 3, 1, 6), (7, 1, 3, 4, 6), (3, 1, 7, 1, 6),
            (3, 1, 7, 1, 6), (3, 4, 7, 4, 6),
            (3, 4, 7, 2, 6), (3, 2, 7, 1, 6), (3, 4, 2, 1, 6), (3, 1, 2, 4, 6),
            (2, 4, 7, 1, 6), (2, 4, 7, 1, 6), (2, 4, 7, 1, 6), (2, 4, 7, 1, 6), (2, 4, 7, 1, 6),
            (2, 1, 7, 4, 6), (2, 1, 7, 4, 6), (3, 1, 7, 4, 5), (3, 2, 7, 4, 6), (3, 1, 7, 2, 6))


def worlds(g: Generator) -> tuple:
    """Every kind of reading, of captions with two digits and two inks; of some others the digits,
    or the inks, or both, are the same. All values renamed, and the rows shuffled."""
    said = torch.tensor([[3, 1, 7, 4, 6]]).repeat(len(READINGS), 1)
    read = torch.tensor(READINGS)
    same_ink = torch.tensor([[3, 1, 7, 1, 6]] * 4), torch.tensor(
        [[3, 1, 7, 1, 6], [3, 1, 7, 1, 6], [3, 4, 7, 1, 6], [3, 1, 7, 1, 5]])
    same_digit = torch.tensor([[3, 1, 3, 4, 6]] * 5), torch.tensor(
        [[3, 4, 3, 1, 6], [3, 4, 3, 1, 6], [3, 1, 3, 4, 6], [3, 1, 7, 4, 6], [3, 4, 3, 2, 6]])
    same_both = torch.tensor([[3, 1, 3, 1, 6]] * 2), torch.tensor(
        [[3, 1, 3, 1, 6], [3, 4, 3, 1, 6]])
    rows = torch.cat([torch.stack([read, said]), *(torch.stack([b, a]) for a, b in (
        same_ink, same_digit, same_both))], dim=1)                  # (2, B, 5)
    many = between(1, 2, g)
    rows = rows.repeat(1, many, 1)
    rows = rows[:, torch.randperm(rows.shape[1], generator=g)]
    digits, inks = torch.randperm(10, generator=g), torch.randperm(8, generator=g)
    rows[..., [0, 2]], rows[..., [1, 3, 4]] = digits[rows[..., [0, 2]]], inks[rows[..., [1, 3, 4]]]
    return rows[0], rows[1]


def any_worlds(g: Generator) -> tuple:
    """Of few values, so that readings hit often; digits and inks share their numbers."""
    said = torch.randint(3, (between(30, 40, g), 5), generator=g)
    read = said.clone()
    exchanged = torch.rand(len(said), generator=g) < 0.4
    read[exchanged] = read[exchanged][:, [0, 3, 2, 1, 4]]
    wrong = torch.rand(said.shape, generator=g) < 0.15
    read[wrong] = torch.randint(3, (int(wrong.sum()),), generator=g)
    return read, said


def nothing_to_exchange(g: Generator) -> tuple:
    """Captions with one ink for both digits, or one digit in two inks."""
    said = torch.tensor([[3, 1, 7, 1, 6], [5, 2, 5, 4, 0], [5, 2, 5, 2, 0]])
    read = said.clone()
    read[1] = read[1, [0, 3, 2, 1, 4]]
    return read, said


def same_sums(g: Generator) -> tuple:
    """Always the same, but for the order: other inks, or other digits, with the said ones' sum."""
    said = torch.tensor([[3, 1, 7, 4, 6]]).repeat(7, 1)
    read = torch.tensor([[3, 1, 7, 4, 6], [3, 4, 7, 1, 6], [3, 2, 7, 3, 6], [3, 0, 7, 5, 6],
                         [3, 2, 7, 2, 6], [4, 4, 6, 1, 6], [5, 1, 5, 4, 6]])
    order = torch.randperm(7, generator=g)
    return read[order], said[order]


def all_exchanged(g: Generator) -> tuple:
    said = torch.tensor([[3, 1, 7, 4, 6], [2, 0, 9, 5, 1], [4, 3, 4, 2, 7]])[:between(1, 3, g)]
    return said[:, [0, 3, 2, 1, 4]], said


def counted(hit, among=visible):
    """Another rule of what is a swap, hit(read, said) (B,), and among(said) (B,) which are asked;
    the chance belongs to it."""
    def answer(read, said):
        right_digits, right_inks, swapped = seen(read, said)
        asked = among(said)
        return (share(hit(read, said)[asked]),
                share((right_digits & (right_inks | swapped))[asked]) / 2)
    return answer


def with_chance(chance):
    """The rate as it should be, beside another chance(read, said)."""
    return lambda read, said: (swap_rate(read, said)[0], float(chance(read, said)))


def exchanged(read: Tensor, said: Tensor) -> Tensor:
    right_digits, _, swapped = seen(read, said)
    return right_digits & swapped


def among(read: Tensor, said: Tensor, which) -> tuple[float, float]:
    """Both numbers, of those visible captions for which which(read, said) holds."""
    asked = which(read, said) & visible(said)
    right_digits, right_inks, swapped = seen(read, said)
    return (share((right_digits & swapped)[asked]),
            share((right_digits & (right_inks | swapped))[asked]) / 2)


def of_digits(right):
    """Both numbers with another rule of which digits are right, right(read, said) (B,)."""
    def answer(read, said):
        asked, digits = visible(said), right(read, said)
        _, right_inks, swapped = seen(read, said)
        return (share((digits & swapped)[asked]),
                share((digits & (right_inks | swapped))[asked]) / 2)
    return answer


def of_inks(exchange):
    """Both numbers with another rule of what is an exchange of inks, exchange(read, said) (B,)."""
    def answer(read, said):
        asked, swapped = visible(said), exchange(read, said)
        right_digits, right_inks, _ = seen(read, said)
        return (share((right_digits & swapped)[asked]),
                share((right_digits & (right_inks | swapped))[asked]) / 2)
    return answer


SWAP = Exercise(
    "compare.swap_rate", LESSON, 2, swap_rate,
    (worlds, any_worlds, nothing_to_exchange, all_exchanged, worlds, same_sums), in_section(3,
        Mistake(
            "captions without two inks or digits counted",
            "You count all captions. Where both digits or both inks are the same, nothing can be "
            "exchanged: leave those captions out, above and below the line.",
            counted(exchanged, lambda said: said[:, 0] == said[:, 0])),
        Mistake(
            "divided by all captions",
            "You look at the captions with two digits and two inks, and divide by the number of "
            "ALL captions. Divide by how many you look at.",
            lambda read, said: tuple(x * share(visible(said)) for x in swap_rate(read, said))),
        Mistake(
            "one digit in two inks counted",
            "You ask for two different inks alone. With the same digit twice, an exchange is only "
            "an exchange of places: the digits must differ too.",
            counted(exchanged, two_inks)),
        Mistake(
            "two digits in one ink counted",
            "You ask for two different digits alone. With one ink for both nothing can be "
            "exchanged: the inks must differ too.",
            counted(exchanged, two_digits)),
        Mistake(
            "what is read decides who is asked",
            "You choose by what was READ. Which captions can show an exchange is decided by what "
            "they say: else a model that paints both in one ink is never asked.",
            lambda read, said: among_read(read, said)),
        Mistake(
            "digits not asked",
            "You ask only whether the inks are exchanged. Of other digits nobody knows whose ink "
            "that is: both digits must be right.",
            counted(lambda read, said: seen(read, said)[2])),
        Mistake(
            "the digits exchanged",
            "You look for exchanged DIGITS. On this picture the inks are to be exchanged, and the "
            "digits where they were said.",
            counted(lambda read, said: (read[:, [0, 2]] == said[:, [2, 0]]).all(dim=1)
                    & seen(read, said)[1])),
        Mistake(
            "the places exchanged",
            "You look for pictures in which digit AND ink have changed sides. There each ink is at "
            "its own digit: the digits must be where they were said.",
            counted(lambda read, said: (read[:, [0, 2]] == said[:, [2, 0]]).all(dim=1)
                    & seen(read, said)[2])),
        Mistake(
            "one ink at the wrong digit is enough",
            "You count a picture if ONE ink is at the other digit. Then two digits in one ink "
            "count as an exchange: both inks must be.",
            counted(lambda read, said: seen(read, said)[0] & (
                read[:, [1, 3]] == said[:, [3, 1]]).any(dim=1))),
        Mistake(
            "the left ink alone",
            "You ask only whether the LEFT digit has the ink of the right one. The other way round "
            "must hold as well.",
            counted(lambda read, said: seen(read, said)[0] & (read[:, 1] == said[:, 3]))),
        Mistake(
            "the right ink alone",
            "You ask only whether the RIGHT digit has the ink of the left one. The other way round "
            "must hold as well.",
            counted(lambda read, said: seen(read, said)[0] & (read[:, 3] == said[:, 1]))),
        Mistake(
            "the left digit alone",
            "You ask for the left digit alone. Both digits must be right.",
            counted(lambda read, said: (read[:, 0] == said[:, 0]) & seen(read, said)[2])),
        Mistake(
            "inks that are wrong",
            "You count every picture with both digits right and wrong inks. A green in place of a "
            "red is no exchange: the said inks must be there, at each other's digit.",
            counted(lambda read, said: seen(read, said)[0] & ~seen(read, said)[1])),
        Mistake(
            "what is right",
            "You count the pictures in which all is where it was said. Asked for is the exchange.",
            counted(lambda read, said: seen(read, said)[0] & seen(read, said)[1])),
        Mistake(
            "the paper asked too",
            "You ask for the right paper as well. Whose ink it is has nothing to do with the "
            "paper.",
            lambda read, said: of_right_papers(read, said)),
        Mistake(
            "divided by those with both digits right",
            "You divide by the pictures with both digits right. Divide by all captions in which "
            "an exchange can be seen, so that one number compares models that draw badly, too.",
            lambda read, said: among(read, said, lambda read, said: seen(read, said)[0])),
        Mistake(
            "divided by those that can be told",
            "You divide by the pictures with the right digits and the two inks in either order. "
            "Then the chance is always a half; divide by all captions in which an exchange can be "
            "seen.",
            lambda read, said: among(read, said, lambda read, said: seen(read, said)[0] & (
                seen(read, said)[1] | seen(read, said)[2]))),
        Mistake(
            "the chance not halved",
            "Your chance is not halved. A coin gives each ink to its own digit in one half of the "
            "cases, and exchanges them in the other.",
            with_chance(lambda read, said: 2 * swap_rate(read, said)[1])),
        Mistake(
            "a half whatever comes",
            "You return a chance of one half whatever was drawn. A coin can only deal the inks of "
            "pictures that have both: take half the share of those.",
            with_chance(lambda read, said: 0.5)),
        Mistake(
            "half of all with both digits right",
            "Your chance is half of ALL pictures with both digits right. Where a third ink was "
            "drawn no coin has dealt these two: leave those out.",
            with_chance(lambda read, said: share(seen(read, said)[0][visible(said)]) / 2)),
        Mistake(
            "half of the right ones",
            "Your chance is half the share of pictures in which all is right. Those with exchanged "
            "inks belong to it, too: the two said inks in EITHER order.",
            with_chance(lambda read, said: share((seen(read, said)[0] & seen(read, said)[1])[
                visible(said)]) / 2)),
        Mistake(
            "half of the exchanged ones",
            "Your chance is half the rate. It belongs to the two said inks in EITHER order.",
            with_chance(lambda read, said: swap_rate(read, said)[0] / 2)),
        Mistake(
            "digits not asked for the chance",
            "Your chance counts pictures with other digits, too. Both digits must be right there "
            "as well.",
            with_chance(lambda read, said: share((seen(read, said)[1] | seen(read, said)[2])[
                visible(said)]) / 2)),
        Mistake(
            "one in ten inks",
            "You take 1 / 8 for the chance, as if an ink were guessed. Both inks are there "
            "already: a coin decides who gets which.",
            with_chance(lambda read, said: 1 / 8)),
        Mistake(
            "the two exchanged",
            "You return the chance first. First comes the rate.",
            lambda read, said: swap_rate(read, said)[::-1]),
        Mistake(
            "the rate alone",
            "You return one number. Asked for are two: the rate, and what a coin would have.",
            lambda read, said: swap_rate(read, said)[0]),
        Mistake(
            "the rate over the chance",
            "You divide the rate by the chance. Asked for are both.",
            lambda read, said: swap_rate(read, said)[0] / max(1e-9, swap_rate(read, said)[1])),
        Mistake(
            "nan where nothing can be exchanged",
            "Where no caption has two digits and two inks you divide 0 by 0. Return 0 and 0 there.",
            lambda read, said: swap_rate(read, said) if visible(said).any() else 2 * (math.nan,)),
        Mistake(
            "counts in place of shares",
            "You count pictures. Asked for are shares: divide by the captions in which an exchange "
            "can be seen.",
            lambda read, said: tuple(x * visible(said).sum().item() for x in swap_rate(
                read, said))),
        Mistake(
            "digits or inks differ",
            "You ask for two different digits OR two different inks. An exchange can only be "
            "seen where both differ.",
            counted(exchanged, lambda said: two_digits(said) | two_inks(said))),
        Mistake(
            "all that is not right",
            "You count every picture that is not right. A wrong digit is no exchange: the said "
            "inks must be there, at each other's digit.",
            counted(lambda read, said: ~(seen(read, said)[0] & seen(read, said)[1]))),
        Mistake(
            "both inks in any order",
            "You count the pictures with both digits and the two inks in EITHER order. That is "
            "the coin's whole; an exchange is the other order alone.",
            counted(lambda read, said: seen(read, said)[0] & (
                seen(read, said)[1] | seen(read, said)[2]))),
        Mistake(
            "either digit right",
            "You ask for one right digit. Both must be.",
            counted(lambda read, said: (read[:, [0, 2]] == said[:, [0, 2]]).any(dim=1)
                    & seen(read, said)[2])),
        Mistake(
            "a half where nothing can be exchanged",
            "Where no caption has two digits and two inks you return a chance of one half. "
            "Nothing was dealt there: 0 and 0.",
            lambda read, said: swap_rate(read, said) if visible(said).any() else (0.0, 0.5)),
        Mistake(
            "each ink counted by itself",
            "You count each ink at the other digit by itself, and halve. Two digits in one ink "
            "would count as half an exchange: both inks must be exchanged.",
            lambda read, said: counted_halves(read, said)),
        Mistake(
            "the chance among those with both digits right",
            "Your chance is divided by the pictures with both digits right. Divide as you do for "
            "the rate: by all captions in which an exchange can be seen.",
            with_chance(lambda read, said: among(
                read, said, lambda read, said: seen(read, said)[0])[1])),
        Mistake(
            "inks that are alike",
            "You count the pictures in which both digits have the SAME ink. An exchange has both "
            "of the said inks.",
            lambda read, said: (share((read[:, 1] == read[:, 3])[visible(said)]),
                                swap_rate(read, said)[1])),
        Mistake(
            "digits asked nowhere",
            "You look at the inks alone, in both numbers. Of other digits nobody knows whose ink "
            "that is: both digits must be right.",
            of_digits(lambda read, said: said[:, 0] == said[:, 0])),
        Mistake(
            "one right digit is enough",
            "You ask for one right digit. Both must be.",
            of_digits(lambda read, said: (read[:, [0, 2]] == said[:, [0, 2]]).any(dim=1))),
        Mistake(
            "the left digit alone, in both",
            "You ask for the left digit alone, in both numbers. Both digits must be right.",
            of_digits(lambda read, said: read[:, 0] == said[:, 0])),
        Mistake(
            "digits on either side",
            "You let the digits stand on either side. Then nobody knows whose ink it is: they must "
            "be where they were said.",
            of_digits(lambda read, said: seen(read, said)[0] | (
                read[:, [0, 2]] == said[:, [2, 0]]).all(dim=1))),
        Mistake(
            "digits by their sum",
            "You compare the sum of the digits. 3 and 7 are not 4 and 6: compare each.",
            of_digits(lambda read, said: read[:, 0] + read[:, 2] == said[:, 0] + said[:, 2])),
        Mistake(
            "one ink is enough, in both",
            "You count a picture if ONE ink is at the other digit, in both numbers. Both inks must "
            "be.",
            of_inks(lambda read, said: (read[:, [1, 3]] == said[:, [3, 1]]).any(dim=1))),
        Mistake(
            "inks that are wrong, in both",
            "You take any wrong ink for an exchange, in both numbers. The said inks must be there, "
            "at each other's digit.",
            of_inks(lambda read, said: ~seen(read, said)[1])),
        Mistake(
            "both inks wrong",
            "You take two wrong inks for an exchange. The said inks must be there, at each other's "
            "digit.",
            of_inks(lambda read, said: (read[:, [1, 3]] != said[:, [1, 3]]).all(dim=1))),
        Mistake(
            "inks by their sum",
            "In the chance you compare the sum of the inks. 1 and 4 are not 2 and 3: compare each.",
            with_chance(lambda read, said: share((seen(read, said)[0] & (
                read[:, [1, 3]].sum(dim=1) == said[:, [1, 3]].sum(dim=1)))[visible(said)]) / 2)),
        Mistake(
            "one of the two inks for both digits",
            "In the chance you also count pictures with one of the said inks on BOTH digits. A "
            "coin deals two inks: both must be there.",
            with_chance(lambda read, said: share((seen(read, said)[0] & (
                read[:, [1, 3], None] == said[:, None, [1, 3]]).any(dim=2).all(dim=1))[
                    visible(said)]) / 2)),
        Mistake(
            "what is read and what is said decide",
            "You leave out pictures in which two different digits or inks are not READ. Which "
            "captions can show an exchange is decided by what they say.",
            lambda read, said: among(read, said, lambda read, said: visible(read))),
        Mistake(
            "four different numbers",
            "You ask that digits and inks be four different numbers. A digit 3 in ink 3 is nothing "
            "special: compare digits with digits, inks with inks.",
            lambda read, said: among(read, said, lambda read, said: (
                said[:, :4, None] == said[:, None, :4]).sum(dim=(1, 2)) == 4)),
        Mistake(
            "the last picture left out",
            "You leave out the last picture. Each counts.",
            lambda read, said: swap_rate(read[:-1], said[:-1])),
        Mistake(
            "one caption more",
            "You divide by the captions and one more. Only where there are none is the number "
            "raised, to 1.",
            lambda read, said: tuple(x * (n := int(visible(said).sum())) / (n + 1)
                                     for x in swap_rate(read, said))),
        Mistake(
            "division by zero",
            "Where no caption has two digits and two inks you divide by 0. Return 0 and 0 there.",
            lambda read, said: swap_rate(read, said) if visible(said).any() else 1 / 0),
        Mistake(
            "rounded down",
            "You divide with //, and nearly all becomes 0. Use /.",
            lambda read, said: (float(swap_rate(read, said)[0] == 1), 0.0)),
    ), "exchanged inks beside what a coin would exchange, where it can be seen")


def counted_halves(read: Tensor, said: Tensor) -> tuple[float, float]:
    asked, halves = visible(said), (read[:, [1, 3]] == said[:, [3, 1]]).double().mean(dim=1)
    return share((seen(read, said)[0] * halves)[asked]), swap_rate(read, said)[1]


def among_read(read: Tensor, said: Tensor) -> tuple[float, float]:
    asked = visible(read)
    right_digits, right_inks, swapped = seen(read, said)
    return (share((right_digits & swapped)[asked]),
            share((right_digits & (right_inks | swapped))[asked]) / 2)


def of_right_papers(read: Tensor, said: Tensor) -> tuple[float, float]:
    asked, paper = visible(said), read[:, 4] == said[:, 4]
    right_digits, right_inks, swapped = seen(read, said)
    return (share((paper & right_digits & swapped)[asked]),
            share((paper & right_digits & (right_inks | swapped))[asked]) / 2)


# ---- copies

def copied(samples: Tensor, fresh: Tensor, train: Tensor, level: float) -> tuple[float, float]:
    """samples (S,...), fresh (R,...), train (N,...), pictures of one shape, N at least 2 -> the
    share of samples whose nearest training picture is nearer than the limit, and the same share of
    the fresh real pictures. The limit is the quantile at `level` of the distances from each
    training picture to its nearest other one."""
    limit = nearest_others(train).quantile(level)
    return below(nearest(samples, train), limit), below(nearest(fresh, train), limit)


def below(x: Tensor, limit: Tensor) -> float:
    return share(x < limit)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, (len(a), len(b)) float64, by differences: a copy lies at 0 exactly."""
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return (a[:, None] - b).square().sum(dim=2).sqrt()


def nearest(a: Tensor, b: Tensor) -> Tensor:
    return distance(a, b).amin(dim=1)


def apart(x: Tensor) -> Tensor:
    """All distances within a crowd, infinite from each to itself."""
    return distance(x, x).fill_diagonal_(math.inf)


def nearest_others(x: Tensor) -> Tensor:
    return apart(x).amin(dim=1)


def on_the_grid(shape, g: Generator, halves: int = 2) -> Tensor:
    return torch.randint(-halves, halves + 1, shape, generator=g) / 2


def moved(x: Tensor, steps: int, g: Generator) -> Tensor:
    """Each picture with so many entries moved by a half."""
    flat = x.flatten(1).clone()
    for _ in range(steps):
        place = torch.randint(flat.shape[1], (len(x), 1), generator=g)
        flat.scatter_add_(1, place, (torch.randint(2, place.shape, generator=g) - 0.5))
    return flat.view_as(x)


def galleries(size, level, shape=(3, 2, 2)):
    """size(g) -> S, R, N, with N - 1 a multiple of 4; level a quarter, a half, 0 or 1. A third of
    the samples are copies, a third lie near, the others are new."""
    def draw(g: Generator) -> tuple:
        S, R, N = size(g)
        # subtle: between the places of the grid, or a limit that is rooted and squared again would
        # lie beside distances that equal it
        train, fresh, samples = (on_the_grid((n, *shape), g) + 0.1 * torch.rand(
            n, *shape, generator=g) for n in (N, R, S))
        near = train[torch.randint(N, (S,), generator=g)]
        samples[:S // 3] = near[:S // 3]
        samples[S // 3:2 * S // 3] = moved(near, 2, g)[S // 3:2 * S // 3]
        return samples, fresh, train, level
    return draw


def in_a_row(places) -> Tensor:
    """Pictures (n,1,1,2) that differ in one entry."""
    return torch.tensor([[[[float(x), 0.0]]] for x in places])


def on_the_limit(g: Generator) -> tuple:
    """Always the same: the limit is 2, and some lie exactly on it. The samples are near each other,
    and one training picture has a twin."""
    train = in_a_row([0, 2, 10, 13, 40])            # to the nearest other: 2, 2, 3, 3, 27
    # subtle: 8.003 is nearer than 2 to 10, and in half precision it is 8
    samples = in_a_row([4, 12, 11.5, 41, 42, 43, 44, 8.003])    # 2, 1, 1.5, 1, 2, 3, 4, 1.997
    fresh = in_a_row([-2, 1, 20, 9, 60])            # 2, 1, 7, 1, 20
    return samples, fresh, train, 0.25


def between_values(level: float):
    """Always the same: the distances are 1, 1, 4, 4, and the limit lies between the middle two."""
    def draw(g: Generator) -> tuple:
        train = in_a_row([0, 1, 10, 14])
        samples = in_a_row([-0.5, -1.3, -1.5, -1.8, -2, -3, -3.3, -3.45, -3.7, -6])
        return samples, in_a_row([-1.55, -3.2, -5]), train, level
    return draw


def twins(g: Generator) -> tuple:
    """Always the same: training pictures that occur twice lie at distance 0 from each other, and
    the limit is between."""
    train = in_a_row([0, 0, 5, 5, 9, 20, 30, 41, 53])       # 0, 0, 0, 0, 4, 10, 10, 11, 12
    return in_a_row([0, 3, 7, 12, 13.5, 22, 60]), in_a_row([5, 14, 15, 80]), train, 0.5


def in_pairs(g: Generator) -> tuple:
    """Always the same: 41 training pictures in pairs, 1, 2, 3 ... apart. The limit is 6."""
    train = in_a_row([*(100 * k for k in range(20)), *(101 * k + 1 for k in range(20)), 5000])
    samples = in_a_row([-0.5, -1.5, -4, -5.5, -6, -7, -20])
    return samples, in_a_row([-1.5, -5, -9, -6]), train, 0.25


def outlier(g: Generator) -> tuple:
    """Always the same: the limit is 97, and there is a sample to which all are nearer."""
    return in_a_row([60, -10, 300]), in_a_row([40, 500]), in_a_row([0, 1, 2, 3, 100]), 1.0


def askew(g: Generator) -> tuple:
    """Always the same: the limit is 5, of two on a side; by the sum of differences it is 6, of two
    on a diagonal."""
    train = torch.tensor([[0.0, 0], [3, 3], [100, 0], [105, 0], [300, 0]])
    samples = torch.tensor([[94.5, 0], [100, 4], [4, 4], [7, 7]])
    fresh = torch.tensor([[-3.5, 0], [0, -5.5], [305.5, 0], [90, 0], [103, 3]])
    return *(x.view(-1, 1, 1, 2) for x in (samples, fresh, train)), 0.5


def sideways(g: Generator) -> tuple:
    """Always the same: the entries of a picture are far from 0, and which picture is nearest is
    another one by the sum of differences, by the largest, or by the angle."""
    train = torch.tensor([[4.0, 4.0], [8.0, 8.0], [4.0, 9.5], [-6.0, 2.0], [1.0, -7.0]])
    samples = torch.tensor([[4.0, 7.0], [6.5, 6.0], [12.0, 12.0], [5.5, 5.5], [0.5, -3.5]])
    fresh = torch.tensor([[-9.0, 3.0], [7.0, 4.0], [2.0, 2.0]])
    return *(x.view(-1, 1, 1, 2) for x in (samples, fresh, train)), 0.5


def limited(limit):
    """Another limit(samples, fresh, train, level)."""
    def answer(samples, fresh, train, level):
        at = limit(samples, fresh, train, level)
        return below(nearest(samples, train), at), below(nearest(fresh, train), at)
    return answer


def interpolated(how: str):
    """The quantile as it should be, but for what is taken between two values."""
    return limited(lambda samples, fresh, train, level: nearest_others(train).quantile(
        level, interpolation=how))


def measured(apart_by):
    """Another distance of two crowds (len(a), len(b)), for the limit and for the pictures."""
    def answer(samples, fresh, train, level):
        own = apart_by(train, train).double().fill_diagonal_(math.inf)
        limit = own.amin(dim=1).quantile(level)
        return tuple(below(apart_by(x, train).double().amin(dim=1), limit)
                     for x in (samples, fresh))
    return answer


def by_norm(p: float):
    return lambda a, b: torch.cdist(a.flatten(1).double(), b.flatten(1).double(), p=p)


def by_angle(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(a.flatten(1).double()[:, None], b.flatten(1).double(), dim=2)


def by_means(a: Tensor, b: Tensor) -> Tensor:
    return (a.flatten(1).double().mean(1)[:, None] - b.flatten(1).double().mean(1)).abs()


def compared(of):
    """The limit as it should be, of(distances to the training pictures (n,N), limit) -> a share."""
    def answer(samples, fresh, train, level):
        limit = nearest_others(train).quantile(level)
        return of(distance(samples, train), limit), of(distance(fresh, train), limit)
    return answer


COPIED = Exercise(
    "compare.copied", LESSON, 3, copied,
    (on_the_limit, twins, in_pairs, outlier, askew, sideways, between_values(0.4),
     between_values(0.6),
     galleries(lambda g: (between(18, 21, g), between(13, 15, g), 17), 0.25),
     galleries(lambda g: (between(9, 12, g), between(15, 17, g), 13), 0.5),
     galleries(lambda g: (between(9, 10, g), between(3, 4, g), 9), 0.0),
     galleries(lambda g: (between(6, 7, g), between(8, 9, g), 5), 1.0, (1, 3, 2))), in_section(4,
        Mistake(
            "each is its own neighbour",
            "Each training picture finds itself, at distance 0, so your limit is 0 and nothing is "
            "ever a copy. Its nearest OTHER one is asked for: fill the diagonal with infinity.",
            limited(lambda samples, fresh, train, level: nearest(train, train).quantile(level))),
        Mistake(
            "twins left out",
            "You leave out all distances of 0, and with them the training pictures that occur "
            "twice. Only a picture's distance to ITSELF is left out: the diagonal.",
            limited(lambda samples, fresh, train, level: (d := distance(train, train)).masked_fill(
                d == 0, math.inf).amin(dim=1).quantile(level))),
        Mistake(
            "the limit itself counted",
            "A picture exactly at the limit counts as a copy for you. NEARER than the limit: < in "
            "place of <=.",
            compared(lambda d, limit: share(d.amin(dim=1) <= limit))),
        Mistake(
            "the limit from the fresh ones",
            "You take the limit from the distances of the fresh pictures. It comes from the "
            "training pictures among each other; the fresh ones are the baseline.",
            limited(lambda samples, fresh, train, level: nearest(fresh, train).quantile(level))),
        Mistake(
            "the limit from the samples",
            "You take the limit from the samples' own distances. Then their share is always near "
            "the level: it comes from the training pictures among each other.",
            limited(lambda samples, fresh, train, level: nearest(samples, train).quantile(level))),
        Mistake(
            "the limit from the samples among each other",
            "You take the limit from the samples among each other. It comes from the TRAINING "
            "pictures among each other.",
            limited(lambda samples, fresh, train, level: nearest_others(samples).quantile(level))),
        Mistake(
            "the fresh ones among each other",
            "You take the limit from the fresh pictures among each other. It comes from the "
            "TRAINING pictures among each other.",
            limited(lambda samples, fresh, train, level: nearest_others(fresh).quantile(level))),
        Mistake(
            "all pairs in place of neighbours",
            "You take the quantile over all pairs of training pictures. Of each only the NEAREST "
            "other one counts.",
            limited(lambda samples, fresh, train, level: (d := apart(train))[
                d.isfinite()].quantile(level))),
        Mistake(
            "the mean in place of the quantile",
            "You take the mean distance to the nearest other one. Asked for is the quantile at "
            "`level`.",
            limited(lambda samples, fresh, train, level: nearest_others(train).mean())),
        Mistake(
            "the median whatever comes",
            "You take the median, whatever level is given. Asked for is the quantile at `level`.",
            limited(lambda samples, fresh, train, level: nearest_others(train).quantile(0.5))),
        Mistake(
            "the smallest whatever comes",
            "You take the smallest of the distances, whatever level is given. Asked for is the "
            "quantile at `level`.",
            limited(lambda samples, fresh, train, level: nearest_others(train).amin())),
        Mistake(
            "a twentieth whatever comes",
            "You take the quantile at 0.05, whatever level is given.",
            limited(lambda samples, fresh, train, level: nearest_others(train).quantile(0.05))),
        Mistake(
            "level times the median",
            "You multiply the median by the level. Asked for is the quantile at `level`.",
            limited(lambda samples, fresh, train, level: level * nearest_others(
                train).quantile(0.5))),
        Mistake(
            "level times the mean",
            "You multiply the mean by the level. Asked for is the quantile at `level`.",
            limited(lambda samples, fresh, train, level: level * nearest_others(train).mean())),
        Mistake(
            "the quantile from above",
            "You take the quantile at 1 - level. Small distances are suspicious: count from below.",
            limited(lambda samples, fresh, train, level: nearest_others(train).quantile(
                1 - level))),
        Mistake(
            "the mean distance",
            "You compare the MEAN distance to the training pictures. One is enough to copy from: "
            "the nearest.",
            compared(lambda d, limit: share(d.mean(dim=1) < limit))),
        Mistake(
            "the farthest",
            "You compare the distance to the FARTHEST training picture. Take the nearest.",
            compared(lambda d, limit: share(d.amax(dim=1) < limit))),
        Mistake(
            "pairs counted",
            "You average over all pairs of a picture and a training picture. Ask of each picture "
            "whether its nearest is too near, and average over the pictures.",
            compared(lambda d, limit: share((d < limit).flatten()))),
        Mistake(
            "training pictures counted",
            "You count the training pictures that have been copied. Asked for is the share of "
            "samples: the minimum over the TRAINING pictures, dim 1.",
            compared(lambda d, limit: share(d.amin(dim=0) < limit))),
        Mistake(
            "those that are far",
            "You count the pictures beyond the limit. Copies lie nearer than it.",
            compared(lambda d, limit: share(d.amin(dim=1) > limit))),
        Mistake(
            "those that are not near",
            "You count the pictures that are NOT nearer than the limit. Copies are.",
            compared(lambda d, limit: share(d.amin(dim=1) >= limit))),
        Mistake(
            "exact copies alone",
            "You count pictures that equal a training picture in every pixel. A copy with a little "
            "noise is one: compare with the limit.",
            compared(lambda d, limit: share(d.amin(dim=1) == 0))),
        Mistake(
            "the sum of differences",
            "You add the absolute differences. Asked for is the Euclidean distance: the root of "
            "the sum of squares.",
            measured(by_norm(1))),
        Mistake(
            "the largest difference",
            "You take the largest difference of a pixel. Asked for is the Euclidean distance: the "
            "root of the sum of squares.",
            measured(by_norm(math.inf))),
        Mistake(
            "by the angle",
            "You compare by the cosine. A dark and a bright copy of a picture have the same angle: "
            "take the Euclidean distance.",
            measured(by_angle)),
        Mistake(
            "by the mean pixel",
            "You compare the pictures' means. Take the distance of all pixels.",
            measured(by_means)),
        Mistake(
            "the limit not rooted",
            "Your limit is a distance, and what you compare with it is a SQUARED distance. Take "
            "both rooted, or neither.",
            compared(lambda d, limit: share(d.amin(dim=1).square() < limit))),
        Mistake(
            "the limit squared",
            "Your limit is a squared distance, and what you compare with it is not. Take both "
            "rooted, or neither.",
            compared(lambda d, limit: share(d.amin(dim=1) < limit.square()))),
        Mistake(
            "the sample's nearest sample",
            "You look for the nearest other SAMPLE. That finds a model that repeats itself; a copy "
            "is near to a training picture.",
            lambda samples, fresh, train, level: (
                below(nearest_others(samples), limit := nearest_others(train).quantile(level)),
                below(nearest(fresh, train), limit))),
        Mistake(
            "near to a fresh one",
            "You look for the nearest FRESH picture of each sample. No model has seen those: look "
            "among the training pictures.",
            lambda samples, fresh, train, level: (
                below(nearest(samples, fresh), limit := nearest_others(train).quantile(level)),
                below(nearest(fresh, train), limit))),
        Mistake(
            "the level as the baseline",
            "You return the level itself as the baseline. Measure it: fresh pictures may lie "
            "nearer or farther than training pictures from each other.",
            lambda samples, fresh, train, level: (copied(samples, fresh, train, level)[0], level)),
        Mistake(
            "the training pictures as the baseline",
            "Your baseline is that of the training pictures among each other, which have set the "
            "limit. Take the FRESH ones.",
            lambda samples, fresh, train, level: (
                copied(samples, fresh, train, level)[0],
                below(nearest_others(train), nearest_others(train).quantile(level)))),
        Mistake(
            "the fresh ones' nearest fresh one",
            "For the baseline you look for the nearest other FRESH picture. Look for their nearest "
            "training picture, as you do for the samples.",
            lambda samples, fresh, train, level: (
                copied(samples, fresh, train, level)[0],
                below(nearest_others(fresh), nearest_others(train).quantile(level)))),
        Mistake(
            "no baseline",
            "You return one number. Asked for are two: the samples' share, and that of the fresh "
            "pictures.",
            lambda *args: copied(*args)[0]),
        Mistake(
            "the baseline taken away",
            "You take the baseline away. Asked for are both numbers.",
            lambda *args: copied(*args)[0] - copied(*args)[1]),
        Mistake(
            "the two exchanged",
            "You return the baseline first. First comes the share of the samples.",
            lambda *args: copied(*args)[::-1]),
        Mistake(
            "the second neighbour",
            "You take the distance to the SECOND other training picture. The limit comes from "
            "the nearest other one.",
            limited(lambda samples, fresh, train, level: apart(train).sort(dim=1).values[
                :, 1].quantile(level))),
        Mistake(
            "a limit of its own for the baseline",
            "For the baseline you take another limit, that of the fresh pictures among each "
            "other. Both shares want the same limit.",
            lambda samples, fresh, train, level: (
                copied(samples, fresh, train, level)[0],
                below(nearest(fresh, train), nearest_others(fresh).quantile(level)))),
        Mistake(
            "the fresh ones near to samples",
            "For the baseline you look for the nearest SAMPLE of each fresh picture. Look for "
            "its nearest training picture.",
            lambda samples, fresh, train, level: (
                copied(samples, fresh, train, level)[0],
                below(nearest(fresh, samples), nearest_others(train).quantile(level)))),
        Mistake(
            "a limit for each training picture",
            "You give each training picture a limit of its own. Asked for is one limit, the "
            "quantile of all.",
            lambda samples, fresh, train, level: tuple(share(
                (distance(x, train) < nearest_others(train)).any(dim=1)) for x in (
                    samples, fresh))),
        Mistake(
            "counts in place of shares",
            "You count pictures. Asked for are shares: divide by the number of samples, and of "
            "fresh ones.",
            lambda samples, fresh, train, level: tuple(
                len(x) * y for x, y in zip(
                    (samples, fresh), copied(samples, fresh, train, level)))),
        Mistake(
            "one column of one channel",
            "You look at the first column of the first channel alone. A distance goes over all "
            "pixels and channels.",
            lambda samples, fresh, train, level: copied(
                samples[:, :1, :, :1], fresh[:, :1, :, :1], train[:, :1, :, :1], level)),
        Mistake(
            "training pictures near to each sample",
            "You count how many training pictures lie near to a sample, and average. Ask of each "
            "sample whether ANY does.",
            compared(lambda d, limit: (d < limit).double().sum(dim=1).mean().item())),
        Mistake(
            "the farthest others",
            "Your limit comes from each training picture's FARTHEST other one. Take the nearest.",
            limited(lambda samples, fresh, train, level: distance(train, train).amax(
                dim=1).quantile(level))),
        Mistake(
            "brought to one length",
            "You bring all pictures to length 1, so that a dark and a bright one are the same. "
            "Compare them as they are.",
            lambda samples, fresh, train, level: copied(*(F.normalize(
                x.flatten(1).double(), dim=1) for x in (samples, fresh, train)), level)),
        Mistake(
            "the value below the limit",
            "Your limit is a distance that occurs, the one below. `quantile` goes between two of "
            "them, as far as the level says.",
            interpolated("lower")),
        Mistake(
            "the value above the limit",
            "Your limit is a distance that occurs, the one above. `quantile` goes between two of "
            "them, as far as the level says.",
            interpolated("higher")),
        Mistake(
            "the value nearest to the limit",
            "Your limit is a distance that occurs, the nearer one. `quantile` goes between two of "
            "them, as far as the level says.",
            interpolated("nearest")),
        Mistake(
            "the middle of two values",
            "Your limit is the middle between two distances. `quantile` goes as far from one to "
            "the other as the level says.",
            interpolated("midpoint")),
        Mistake(
            "the quantile of squares",
            "You take the quantile of SQUARED distances. Between two of them that is another "
            "place: take the root first.",
            limited(lambda samples, fresh, train, level: nearest_others(
                train).square().quantile(level).sqrt())),
        Mistake(
            "the largest whatever comes",
            "Your limit is the largest of the distances. Asked for is the quantile at `level`.",
            limited(lambda samples, fresh, train, level: nearest_others(train).amax())),
        Mistake(
            "the level as the limit",
            "You take the level for a distance. The limit is the quantile of distances at `level`.",
            limited(lambda samples, fresh, train, level: level)),
        Mistake(
            "divided by the training pictures",
            "You divide by the number of training pictures. The share is one of samples, and of "
            "fresh ones.",
            compared(lambda d, limit: (d.amin(dim=1) < limit).sum().item() / d.shape[1])),
        Mistake(
            "shares rounded down",
            "You divide with //, and nearly all becomes 0. Use /.",
            compared(lambda d, limit: (d.amin(dim=1) < limit).sum().item() // len(d))),
        Mistake(
            "the samples twice",
            "Both of your numbers are those of the samples. The second one is that of the fresh "
            "pictures.",
            lambda samples, fresh, train, level: copied(samples, samples, train, level)),
        Mistake(
            "the last training picture left out",
            "You leave out the last training picture. A sample may be a copy of it.",
            lambda samples, fresh, train, level: copied(samples, fresh, train[:-1], level)),
        Mistake(
            "the first channel alone",
            "You look at the first channel alone. A distance goes over all pixels and channels.",
            lambda samples, fresh, train, level: copied(
                samples[:, :1], fresh[:, :1], train[:, :1], level)),
        Mistake(
            "the second neighbour everywhere",
            "Of samples, too, you take the second neighbour. Only a training picture is its own "
            "first; a sample's nearest one counts.",
            lambda samples, fresh, train, level: [below(
                distance(x, train).sort(dim=1).values[:, 1], nearest_others(train).quantile(level))
                for x in (samples, fresh)]),
        Mistake(
            "the mean taken off each picture",
            "You take the mean off each picture, so that a darker copy has distance 0. Distances "
            "are those of the pixels as they are.",
            measured(lambda a, b: distance(*(x - x.flatten(1).mean(dim=1).view(-1, 1, 1, 1)
                                             for x in (a, b))))),
    ), "who lies nearer to a training picture than those to each other, beside real ones")


# ---- a bias

def share_given(digits: Tensor, inks: Tensor, digit: int, colours: int) -> Tensor:
    """digits, inks (B,) whole numbers, as read; inks below `colours` -> (colours,) floats: of the
    pictures of this digit, the share in each ink; zeros if there is none."""
    counts = F.one_hot(inks[digits == digit], colours).sum(dim=0)
    return counts / counts.sum().clamp(min=1)


def crowd(size, digit: int, colours: int, most: int):
    """size(g) -> B; a third shows the digit, mostly in one ink, and never in the last one, which
    other digits have."""
    def draw(g: Generator) -> tuple:
        B = size(g)
        digits = torch.randint(10, (B,), generator=g)
        inks = torch.randint(colours, (B,), generator=g)
        digits[:B // 3] = digit
        inks[:B // 3] = torch.where(torch.rand(B // 3, generator=g) < 0.7, most,
                                    inks[:B // 3])
        inks[(digits == digit) & (inks == colours - 1)] = most
        digits[0], inks[0] = digit, (most + 1) % (colours - 1)
        digits[-1], inks[-1] = (digit + 1) % 10, colours - 1
        order = torch.randperm(B, generator=g)
        return digits[order], inks[order], digit, colours
    return draw


def without_any(g: Generator) -> tuple:
    """Nobody drew the digit."""
    digits, inks, digit, colours = crowd(lambda g: between(20, 25, g), 7, 5, 2)(g)
    return torch.where(digits == digit, 1, digits), inks, digit, colours


def in_the_last_ink(g: Generator) -> tuple:
    """Some of the digit are drawn in the last ink; the last row shows the digit."""
    digits, inks, digit, colours = crowd(lambda g: between(21, 26, g), 6, 6, 1)(g)
    digits[-1] = digit
    inks[-4:] = torch.tensor([0, 5, 3, 5])
    digits[-3] = digit
    return digits, inks, digit, colours


def over_rows(counts):
    """Another share (colours,) from digits, inks, digit, colours."""
    return lambda digits, inks, digit, colours: counts(digits, inks, digit, colours).float()


def count(inks: Tensor, colours: int) -> Tensor:
    return inks.bincount(minlength=colours)


def as_floats(counts: Tensor, over) -> Tensor:
    return counts.float() / max(1, int(over))


GIVEN = Exercise(
    "compare.share_given", LESSON, 1, share_given,
    (crowd(lambda g: between(30, 40, g), 7, 8, 2), crowd(lambda g: between(24, 30, g), 0, 5, 0),
     crowd(lambda g: between(30, 36, g), 3, 10, 7), without_any,
     in_the_last_ink, lambda g: (torch.tensor([4]), torch.tensor([1]), 4, 3)), in_section(5,
        Mistake(
            "over all pictures",
            "You divide by all pictures: that is how often a picture is of this digit AND in this "
            "ink. Divide by the pictures of the digit.",
            lambda digits, inks, digit, colours: as_floats(
                count(inks[digits == digit], colours), len(inks))),
        Mistake(
            "the digits given the ink",
            "You divide by the pictures in each ink: of the red ones, the share that are sevens. "
            "The other way round: of the sevens, the share that are red.",
            lambda digits, inks, digit, colours: count(inks[digits == digit], colours).float()
                / count(inks, colours).clamp(min=1)),
        Mistake(
            "all digits together",
            "You count the inks of all pictures. Only those of this digit are asked.",
            lambda digits, inks, digit, colours: as_floats(count(inks, colours), len(inks))),
        Mistake(
            "the other digits",
            "You count the inks of all OTHER digits.",
            lambda digits, inks, digit, colours: as_floats(
                count(inks[digits != digit], colours), (digits != digit).sum())),
        Mistake(
            "counts in place of shares",
            "You return counts. Shares add up to 1: divide by the pictures of the digit.",
            lambda digits, inks, digit, colours: count(inks[digits == digit], colours).float()),
        Mistake(
            "whole numbers",
            "The counts are right, and whole numbers. Shares are floats, counts over the pictures "
            "of the digit.",
            lambda digits, inks, digit, colours: count(inks[digits == digit], colours)),
        Mistake(
            "rounded to whole numbers",
            "You divide whole numbers with //, and nearly all becomes 0. Use /.",
            lambda digits, inks, digit, colours: (c := count(inks[digits == digit], colours))
                // c.sum().clamp(min=1)),
        Mistake(
            "0 / 0 where there is none",
            "Where nobody drew the digit you divide 0 by 0. Return zeros there.",
            lambda digits, inks, digit, colours: count(inks[digits == digit], colours).float()
                / (digits == digit).sum()),
        Mistake(
            "even where there is none",
            "Where nobody drew the digit you return even shares. Nothing is known then: zeros.",
            lambda digits, inks, digit, colours: share_given(digits, inks, digit, colours)
                if (digits == digit).any() else torch.full((colours,), 1 / colours)),
        Mistake(
            "one more in each ink",
            "You count one picture more in each ink. Then an ink that was never drawn has a share: "
            "count what is there.",
            lambda digits, inks, digit, colours: (c := count(inks[digits == digit], colours) + 1)
                / c.sum()),
        Mistake(
            "only the inks that occur",
            "You return as many shares as the largest ink that occurs. Asked for is one for each "
            "of the colours, 0 for those that do not occur: bincount has minlength.",
            lambda digits, inks, digit, colours: as_floats(
                (c := inks[digits == digit].bincount()), c.sum())),
        Mistake(
            "without the zeros",
            "You leave out the inks that never occur, so that the others stand at wrong places. "
            "Asked for is one share for each colour, in their order.",
            lambda digits, inks, digit, colours: as_floats((c := inks[digits == digit].unique(
                return_counts=True)[1]), c.sum())),
        Mistake(
            "as many as digits",
            "You return ten shares. There are as many as `colours` says.",
            lambda digits, inks, digit, colours: F.pad(share_given(
                digits, inks, digit, colours), (0, 11 - colours))[:11 if colours == 10 else 10]),
        Mistake(
            "one place too many",
            "You return one share too many. The inks run from 0 to colours - 1.",
            lambda digits, inks, digit, colours: F.pad(share_given(
                digits, inks, digit, colours), (0, 1))),
        Mistake(
            "inks counted from 1",
            "Your shares stand one place too far: inks are counted from 0.",
            lambda digits, inks, digit, colours: share_given(
                digits, inks, digit, colours).roll(1)),
        Mistake(
            "a softmax of the counts",
            "You take the softmax of the counts. Divide them by their sum.",
            lambda digits, inks, digit, colours: count(
                inks[digits == digit], colours).float().softmax(dim=0)),
        Mistake(
            "over the largest",
            "You divide by the largest count. Divide by the sum, so that the shares add up to 1.",
            lambda digits, inks, digit, colours: as_floats(
                (c := count(inks[digits == digit], colours)), c.max())),
        Mistake(
            "over n - 1",
            "You divide by one picture less. That is for a variance; a share divides by all.",
            lambda digits, inks, digit, colours: as_floats(
                (c := count(inks[digits == digit], colours)), c.sum() - 1)),
        Mistake(
            "digits and inks exchanged",
            "You look for the digit among the INKS, and count digits.",
            lambda digits, inks, digit, colours: as_floats((c := count(
                digits[inks == digit].clamp(max=colours - 1), colours)), c.sum())),
        Mistake(
            "over what digit and ink would give",
            "You divide by the share that the ink has in all: that is how much more often than "
            "elsewhere. Asked for is the share itself.",
            lambda digits, inks, digit, colours: share_given(digits, inks, digit, colours) / (
                count(inks, colours) / len(inks)).clamp(min=1e-9)),
        Mistake(
            "the likeliest ink",
            "You return 1 for the ink that occurs most, and 0 for the others. Asked for is the "
            "share of each.",
            lambda digits, inks, digit, colours: F.one_hot(count(
                inks[digits == digit], colours).argmax(), colours).float()),
        Mistake(
            "always sevens",
            "You count sevens, whatever digit is asked.",
            lambda digits, inks, digit, colours: share_given(digits, inks, 7, colours)),
        Mistake(
            "red alone",
            "You return the share of red. Asked for is one for each colour.",
            lambda digits, inks, digit, colours: share_given(digits, inks, digit, colours)[2]),
        Mistake(
            "percent",
            "You return percent. Shares add up to 1.",
            lambda *args: 100 * share_given(*args)),
        Mistake(
            "sorted",
            "You sort the shares. Each stands at the place of its ink.",
            lambda *args: share_given(*args).sort(descending=True).values),
        Mistake(
            "nothing in the last ink",
            "The last ink is never counted. They run from 0 to colours - 1, and that one counts.",
            lambda digits, inks, digit, colours: as_floats(
                c := count(inks[digits == digit], colours) * (torch.arange(colours) < colours - 1),
                c.sum())),
        Mistake(
            "one place too few",
            "You return one share too few. The inks run from 0 to colours - 1.",
            lambda digits, inks, digit, colours: as_floats(
                c := count(inks[digits == digit], colours)[:-1], c.sum())),
        Mistake(
            "counting begins at ink 1",
            "Your first share is that of ink 1. Inks are counted from 0.",
            lambda digits, inks, digit, colours: as_floats(c := F.pad(count(
                inks[digits == digit], colours)[1:], (0, 1)), c.sum())),
        Mistake(
            "over n + 1",
            "You divide by one picture more. Only where there are none is the number raised, to 1.",
            lambda digits, inks, digit, colours: as_floats(
                c := count(inks[digits == digit], colours), c.sum() + 1)),
        Mistake(
            "that of all where there is none",
            "Where nobody drew the digit you return the shares of all digits. Nothing is known "
            "then: zeros.",
            lambda digits, inks, digit, colours: share_given(digits, inks, digit, colours)
                if (digits == digit).any() else as_floats(count(inks, colours), len(inks))),
        Mistake(
            "a single zero where there is none",
            "Where nobody drew the digit you return one zero. Return one for each colour.",
            lambda digits, inks, digit, colours: share_given(digits, inks, digit, colours)
                if (digits == digit).any() else torch.zeros(1)),
        Mistake(
            "each ink that occurs once",
            "You give each ink that occurs the same share. Count how often it occurs.",
            lambda digits, inks, digit, colours: as_floats(
                c := (count(inks[digits == digit], colours) > 0).long(), c.sum())),
        Mistake(
            "the last picture left out",
            "You leave out the last picture. Each counts.",
            lambda digits, inks, digit, colours: share_given(
                digits[:-1], inks[:-1], digit, colours)),
        Mistake(
            "this digit and larger ones",
            "You count larger digits as well. Those of this digit: ==.",
            lambda digits, inks, digit, colours: as_floats(
                c := count(inks[digits >= digit], colours), c.sum())),
        Mistake(
            "eight colours whatever comes",
            "You return eight shares. How many there are is given as `colours`.",
            lambda digits, inks, digit, colours: as_floats(
                c := count(inks[digits == digit], 8), c.sum())),
    ), "of one digit, the share of each ink, and zeros where there is none")


def guided_shares(given: Tensor, overall: Tensor, scale: float) -> Tensor:
    """given, overall (K,) shares with the sum 1, overall above 0 wherever given is; scale from 0 up
    -> (K,): given^scale overall^(1 - scale), brought to the sum 1; 0 where overall is 0. At scale 0
    it is overall, whatever is given."""
    return normalised(lifted(given, overall, scale))


def lifted(given: Tensor, overall: Tensor, scale: float) -> Tensor:
    """Logarithms: ln overall + scale (ln given - ln overall), -inf where the share is to be 0."""
    there = overall > 0
    if scale > 0:
        there = there & (given > 0)
    base = torch.where(there, overall, 1.0).log()
    push = torch.where(there & (given > 0), given, torch.where(there, overall, 1.0)).log() - base
    return torch.where(there, base + scale * push, -math.inf)


def normalised(logs: Tensor) -> Tensor:
    return logs.softmax(dim=0)


def shares_inputs(size, scale, rare: float = 0.0, missing: bool = False):
    """Shares of K kinds, size(g) -> K; one of them of the share `rare`; if missing, one that is
    never given, and one that never occurs at all."""
    def draw(g: Generator) -> tuple:
        K = size(g)
        given, overall = torch.rand(2, K, generator=g) + 0.1
        given[between(0, K // 2 - 1, g)] += 2
        if rare:
            given[-1], overall[-1] = rare, rare * (1 + torch.rand((), generator=g).item())
        if missing:
            given[[0, 1]], overall[0] = 0.0, 0.0
            given[2] += 1
        return given / given.sum(), overall / overall.sum(), scale(torch.rand(
            (), generator=g).item())
    return draw


def nearly_alike(g: Generator) -> tuple:
    """Shares that differ by some hundredths, and a scale that makes much of it."""
    overall = torch.rand(5, generator=g) + 0.5
    given = overall * (1 + 0.04 * torch.randn(5, generator=g))
    scale = 30 + 20 * torch.rand((), generator=g).item()
    return given / given.sum(), overall / overall.sum(), scale


def many_kinds(g: Generator) -> tuple:
    """So many that a power of a share runs over, though no share is rare."""
    overall = torch.rand(16, generator=g) + 1
    given = overall * (1 + 0.04 * torch.randn(16, generator=g))
    return given / given.sum(), overall / overall.sum(), 38 + 2 * torch.rand(
        (), generator=g).item()


def one_kind(g: Generator) -> tuple:
    """Given nearly always, and rare among all."""
    overall, given = torch.rand(2, 4, generator=g) + 0.5
    overall[1], given[1] = 0.05, 30.0
    return given / given.sum(), overall / overall.sum(), 50.0


def by_hand(g: Generator) -> tuple:
    """The lesson's own: 80 % of the sevens are red, and a third of all."""
    return torch.tensor([0.1, 0.8, 0.1]), torch.full((3,), 1 / 3), 2.0


def kept_above(least: float):
    """Shares of 0 replaced by a small one."""
    return lambda given, overall, scale: normalised(
        (1 - scale) * overall.clamp(min=least).log() + scale * given.clamp(min=least).log())


def pushed(of):
    """of(given, overall, scale), brought to the sum 1."""
    return lambda given, overall, scale: (x := of(given, overall, scale)) / x.sum()


GUIDED = Exercise(
    "compare.guided_shares", LESSON, 2, guided_shares,
    (by_hand,
     shares_inputs(lambda g: between(4, 6, g), lambda r: 1.5 + 2 * r),
     shares_inputs(lambda g: between(4, 5, g), lambda r: 1.0),
     shares_inputs(lambda g: between(4, 6, g), lambda r: 0.0),
     shares_inputs(lambda g: between(4, 6, g), lambda r: 0.3 + 0.4 * r),
     shares_inputs(lambda g: between(5, 6, g), lambda r: 2 + r, missing=True),
     shares_inputs(lambda g: between(5, 6, g), lambda r: 0.5, missing=True),
     shares_inputs(lambda g: between(5, 6, g), lambda r: 0.0, missing=True),
     shares_inputs(lambda g: between(5, 6, g), lambda r: 0.03 + 0.02 * r, missing=True),
     nearly_alike, many_kinds, one_kind,
     shares_inputs(lambda g: between(4, 5, g), lambda r: 40 + 20 * r, rare=1e-6)), in_section(5,
        Mistake(
            "shares mixed as they are",
            "You push the shares themselves. Guidance adds up scores, the gradients of LOGARITHMS: "
            "push the logarithms, and no share can fall below 0.",
            lambda given, overall, scale: overall + scale * (given - overall)),
        Mistake(
            "shares mixed and cut",
            "You push the shares themselves and cut at 0. Guidance adds up scores, the gradients "
            "of LOGARITHMS: push those.",
            pushed(lambda given, overall, scale: (overall + scale * (given - overall)).clamp(
                min=0))),
        Mistake(
            "not brought to the sum 1",
            "The powers are right, and their sum is not 1. Divide by it.",
            lambda given, overall, scale: lifted(given, overall, scale).exp()),
        Mistake(
            "given alone",
            "You take `given` to the power of the scale and leave out `overall`. What is pushed is "
            "the difference between the two: an ink that is frequent everywhere is not pushed.",
            pushed(lambda given, overall, scale: given.double() ** scale)),
        Mistake(
            "the scale counted from 0",
            "At scale 1 you push already. Our scale counts from overall: 0 is overall, 1 is given.",
            pushed(lambda given, overall, scale: given.double() ** (scale + 1) * torch.where(
                overall > 0, overall, 1.0).double() ** -scale)),
        Mistake(
            "the two exchanged",
            "You push from `given` through `overall`, so that what is rare grows. From overall "
            "through given.",
            lambda given, overall, scale: guided_shares(
                overall, torch.where(overall > 0, given, 0.0).clamp(min=0), scale)
                if (given > 0).all() else pushed(lambda a, b, s: torch.where(
                    a > 0, b.double() ** s * torch.where(a > 0, a, 1.0).double() ** (1 - s), 0.0))(
                        given, overall, scale)),
        Mistake(
            "the scale as a temperature",
            "You divide the logarithms of `given` by the scale. That is a temperature, and it "
            "makes shares more even, not more different.",
            lambda given, overall, scale: (torch.where(given > 0, given, 1e-30).log() / max(
                scale, 1e-9)).softmax(dim=0)),
        Mistake(
            "overall multiplied",
            "You multiply by overall^(scale - 1). It is 1 - scale: what is frequent anyway is "
            "taken away.",
            pushed(lambda given, overall, scale: given.double() ** scale
                   * torch.where(overall > 0, overall, 1.0).double() ** (scale - 1))),
        Mistake(
            "divided by overall once",
            "You divide by `overall` itself, whatever the scale. The quotient given / overall is "
            "what is taken to the power, and then multiplied by overall.",
            pushed(lambda given, overall, scale: given.double() ** scale
                   / torch.where(overall > 0, overall, 1.0).double())),
        Mistake(
            "the quotient alone",
            "You take the quotient given / overall to the power, and forget to multiply by overall "
            "again.",
            pushed(lambda given, overall, scale: (given.double() / torch.where(
                overall > 0, overall, 1.0).double()) ** scale)),
        Mistake(
            "the scale as a factor",
            "You multiply by the scale. In logarithms it is a factor, of shares it is a power.",
            pushed(lambda given, overall, scale: overall * scale * given / torch.where(
                overall > 0, overall, 1.0) if scale else overall)),
        Mistake(
            "given whatever the scale",
            "You return `given`, whatever the scale.",
            lambda given, overall, scale: given.clone()),
        Mistake(
            "overall whatever the scale",
            "You return `overall`, whatever the scale.",
            lambda given, overall, scale: overall.clone()),
        Mistake(
            "a scale of at least 1",
            "You raise scales below 1 to 1. Between 0 and 1 the answer lies between overall and "
            "given.",
            lambda given, overall, scale: guided_shares(given, overall, max(1.0, scale))),
        Mistake(
            "the scale cut to a whole number",
            "You cut the scale to a whole number. It is a float.",
            lambda given, overall, scale: guided_shares(given, overall, int(scale))),
        Mistake(
            "the softmax of shares",
            "You push the shares and take their softmax. Push their LOGARITHMS; a softmax of those "
            "is the powers, brought to the sum 1.",
            lambda given, overall, scale: (overall + scale * (given - overall)).softmax(dim=0)),
        Mistake(
            "the logarithm of 0",
            "Where a share is 0 its logarithm is -inf, and -inf - -inf is NaN. Set those places to "
            "0, apart.",
            lambda given, overall, scale: (overall.log() + scale * (
                given.log() - overall.log())).softmax(dim=0)),
        Mistake(
            "powers that underflow",
            "A share to the power of 50 is 0 in float32, its inverse infinite, and together they "
            "are NaN. Add up logarithms, and take a softmax.",
            pushed(lambda given, overall, scale: torch.where(overall > 0, given ** scale
                   * torch.where(overall > 0, overall, 1.0) ** (1 - scale), 0.0))),
        Mistake(
            "the largest takes all",
            "You give everything to the largest. At no finite scale do the others vanish.",
            lambda given, overall, scale: F.one_hot(lifted(given, overall, scale).argmax(),
                                                    len(given)).to(given)),
        Mistake(
            "logarithms returned",
            "You return logarithms. Asked for are shares: a softmax.",
            lambda given, overall, scale: lifted(given, overall, scale).log_softmax(dim=0)),
        Mistake(
            "a little of everything",
            "You add 0.01 to all shares against zeros. Then an ink that never occurs is drawn: set "
            "those places to 0, apart.",
            lambda given, overall, scale: guided_shares(
                (given + 0.01) / (given + 0.01).sum(), (overall + 0.01) / (overall + 0.01).sum(),
                scale)),
        Mistake(
            "zeros at scale 0 too",
            "At scale 0 nothing of `given` counts: the answer is `overall`, also for an ink that "
            "was never given.",
            lambda given, overall, scale: normalised(torch.where(
                given > 0, lifted(given, overall, scale), -math.inf))),
        Mistake(
            "the geometric mean",
            "You take the root of the product of both, whatever the scale. The scale is the "
            "power of the quotient.",
            pushed(lambda given, overall, scale: (given * overall).sqrt())),
        Mistake(
            "divided by the largest",
            "You divide by the largest. Shares have the sum 1: divide by the sum.",
            lambda given, overall, scale: (x := guided_shares(given, overall, scale)) / x.max()),
        Mistake(
            "a scale of at most 10",
            "You cut scales above 10. Add up logarithms, and no scale is too large.",
            lambda given, overall, scale: guided_shares(given, overall, min(10.0, scale))),
        Mistake(
            "logarithms of another base",
            "You take log2 or log10 in place of the natural logarithm, which the softmax undoes.",
            lambda given, overall, scale: normalised(lifted(given, overall, scale) / math.log(10))),
        Mistake(
            "a hundred-millionth in place of 0",
            "You raise shares of 0 to a small number. To a small power that is not small: set "
            "those places to 0, apart.",
            lambda given, overall, scale: normalised(
                (q := overall.clamp(min=1e-8).log()) + scale * (given.clamp(min=1e-8).log() - q))),
        Mistake(
            "the ends exchanged",
            "At scale 0 you return `given`, at 1 `overall`. It is the other way round.",
            lambda given, overall, scale: normalised(torch.lerp(
                torch.where(given > 0, given, 1e-30).log(),
                torch.where(overall > 0, overall, 1e-30).log(), scale))),
        Mistake(
            "powers as they are",
            "You take powers of the shares: where one is 0 or very small they are 0 or endless, "
            "and 0 times endless is no number. Add logarithms.",
            pushed(lambda given, overall, scale: overall ** (1 - scale) * given ** scale)),
        Mistake(
            "powers, and what is no number set to 0",
            "You set to 0 what is no number, and lose shares whose powers have run over. Add "
            "logarithms, and nothing runs over.",
            pushed(lambda given, overall, scale: (overall ** (1 - scale)
                                                  * given ** scale).nan_to_num(0))),
        Mistake(
            "two logarithms weighed, zeros not looked at",
            "You weigh two logarithms with 1 - scale and scale. ln 0 is minus infinity, and 0 "
            "times it is no number: look at the zeros first.",
            lambda given, overall, scale: normalised(
                (1 - scale) * overall.log() + scale * given.log())),
        Mistake(
            "1e-9 added to the shares",
            "You add a small number to the shares, and an ink that is never given gets one at a "
            "small scale. It has the share 0.",
            lambda given, overall, scale: normalised(
                (1 - scale) * (overall + 1e-9).log() + scale * (given + 1e-9).log())),
        Mistake(
            "shares kept above 1e-6",
            "You keep the shares above a small number, and an ink that is never given gets one at "
            "a small scale. It has the share 0.",
            kept_above(1e-6)),
        Mistake(
            "shares kept above 1e-30",
            "You keep the shares above a tiny number, and an ink that is never given gets one at "
            "a small scale. It has the share 0.",
            kept_above(1e-30)),
        Mistake(
            "exp that runs over",
            "You take exp of logarithms that may be large, and it runs over at a large scale. "
            "softmax takes the largest off first.",
            pushed(lambda given, overall, scale: lifted(given, overall, scale).exp())),
        Mistake(
            "the logarithms of the shares",
            "You return logarithms. Asked for are the shares: softmax, not log_softmax.",
            lambda *given: guided_shares(*given).log()),
        Mistake(
            "given at scale 0",
            "At scale 0 you return `given`. It is overall there.",
            lambda given, overall, scale: guided_shares(given, overall, scale) if scale else given),
        Mistake(
            "the scale turned",
            "You push away from `given`: the sign of the scale is turned.",
            pushed(lambda given, overall, scale: torch.where(
                given > 0, overall.double() ** (1 + scale) * given.clamp(
                    min=1e-30).double() ** -scale, 0.0) if scale else overall)),
        Mistake(
            "logarithms to base 2",
            "You take logarithms to the base 2, and softmax comes back with e. Take natural ones.",
            lambda given, overall, scale: normalised(lifted(given, overall, scale) / math.log(2))
            if scale else overall / overall.sum()),
    ), "what guidance makes of shares, in logarithms")


# ---- a mark in the noise

def ring_distance(noise: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """noise (B,C,h,w); key (C,h,w) complex; mask (h,w) bool, True somewhere -> (B,): the mean of
    |FFT(noise) - key| over channels and the places of the mask, with FFT over h and w,
    norm="ortho"."""
    return spectrum_off(noise, key, mask).abs().mean(dim=1)


def spectrum(noise: Tensor) -> Tensor:
    return torch.fft.fft2(noise, norm="ortho")


def spectrum_off(noise: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """(B, C * places)."""
    return (spectrum(noise) - key)[:, :, mask].flatten(1)


def noises(size, marked: bool = False):
    """size(g) -> B, C, h, w, with a mask that is not its own mirror image; if marked, the first
    noise carries the key but for a little."""
    def draw(g: Generator) -> tuple:
        B, C, h, w = size(g)
        noise = torch.randn(B, C, h, w, generator=g) + 0.3
        key = torch.complex(*torch.randn(2, C, h, w, generator=g))
        mask = torch.rand(h, w, generator=g) < 0.3
        mask[0, 1], mask[1, 0], mask[0, 0] = True, False, False
        if marked:
            key = spectrum(noise[0]) + 0.1 * key
        return noise, key, mask
    return draw


def one_place(g: Generator) -> tuple:
    noise, key, mask = noises(lambda g: (2, 2, between(3, 5, g), 4))(g)
    return noise, key, torch.zeros_like(mask).index_put_((torch.tensor(1), torch.tensor(2)),
                                                         torch.tensor(True))


def everywhere(g: Generator) -> tuple:
    noise, key, mask = noises(lambda g: (between(2, 3, g), 1, 4, between(5, 6, g)))(g)
    return noise, key, torch.ones_like(mask)


def off(of):
    """The mean of another distance, of(FFT, key), both (B,C,h,w), over the mask."""
    return lambda noise, key, mask: of(spectrum(noise), key.expand(
        noise.shape))[:, :, mask].flatten(1).mean(dim=1)


def of_spectrum(fft):
    """The right distance of another transform."""
    return lambda noise, key, mask: (fft(noise) - key)[:, :, mask].flatten(1).abs().mean(dim=1)


def over(reduce):
    """Something else than the mean of the distances |FFT - key|, (B, C, places)."""
    return lambda noise, key, mask: reduce((spectrum(noise) - key)[:, :, mask].abs())


RING = Exercise(
    "compare.ring_distance", LESSON, 2, ring_distance,
    (noises(lambda g: (between(2, 3, g), 3, between(5, 6, g), between(7, 8, g))),
     noises(lambda g: (4, 4, 4, 4)),
     noises(lambda g: (3, between(1, 2, g), 6, 6), marked=True), one_place, everywhere),
    in_section(6,
        Mistake(
            "not orthonormal",
            "You take the FFT as it is, which adds up h w numbers, so that it grows with the "
            "picture. norm=\"ortho\" divides by the root of h w: noise stays as strong as it was.",
            of_spectrum(torch.fft.fft2)),
        Mistake(
            "divided by all pixels",
            "Your FFT is divided by h w (norm=\"forward\"). norm=\"ortho\" divides by its root.",
            of_spectrum(lambda x: torch.fft.fft2(x, norm="forward"))),
        Mistake(
            "the way back",
            "You take the INVERSE transform, or the conjugate of the key: either turns the other "
            "way round. fft2 of the noise, and the key as it is.",
            of_spectrum(lambda x: torch.fft.ifft2(x, norm="ortho"))),
        Mistake(
            "shifted to the middle",
            "You shift the frequencies so that 0 stands in the middle. Key and mask count as the "
            "FFT does, with 0 at the corner: no fftshift.",
            of_spectrum(lambda x: torch.fft.fftshift(spectrum(x), dim=(2, 3)))),
        Mistake(
            "rows alone",
            "You transform along the rows alone. A picture has two sides: fft2.",
            of_spectrum(lambda x: torch.fft.fft(x, norm="ortho"))),
        Mistake(
            "the channels transformed too",
            "You transform over the channels as well. fft2 takes the last two dimensions, h and w.",
            of_spectrum(lambda x: torch.fft.fftn(x, dim=(1, 2, 3), norm="ortho"))),
        Mistake(
            "the whole batch transformed",
            "You transform over the batch and the channels as well, so that pictures mix. fft2 "
            "takes the last two dimensions, h and w.",
            of_spectrum(lambda x: torch.fft.fftn(x, norm="ortho"))),
        Mistake(
            "no transform",
            "You compare the noise itself with the key. The key stands in its spectrum: fft2.",
            of_spectrum(lambda x: x)),
        Mistake(
            "real parts alone",
            "You compare the real parts alone. The key is complex: half of it is in the imaginary "
            "parts.",
            off(lambda y, k: (y.real - k.real).abs())),
        Mistake(
            "imaginary parts alone",
            "You compare the imaginary parts alone.",
            off(lambda y, k: (y.imag - k.imag).abs())),
        Mistake(
            "strengths alone",
            "You compare |FFT| and |key|, and the phases are lost. Take the difference first, then "
            "its absolute value.",
            off(lambda y, k: (y.abs() - k.abs()).abs())),
        Mistake(
            "the difference not made positive",
            "You average |FFT| - |key|, in which too strong and too weak cancel. Take the "
            "difference of the complex numbers, then its absolute value.",
            off(lambda y, k: y.abs() - k.abs())),
        Mistake(
            "real and imaginary parts added",
            "You add the absolute differences of both parts. The absolute value of a complex "
            "number is the root of the sum of their squares: .abs().",
            off(lambda y, k: (y - k).real.abs() + (y - k).imag.abs())),
        Mistake(
            "squares",
            "You take the squared distance. That of the exercise is not squared.",
            off(lambda y, k: (y - k).abs().square())),
        Mistake(
            "the root of the mean square",
            "You take the root of the mean square. Asked for is the mean of the absolute values, "
            "in which single far ones count less.",
            over(lambda d: d.square().mean(dim=(1, 2)).sqrt())),
        Mistake(
            "the length of the whole difference",
            "You take the length of the whole difference, the root of the sum of squares. Asked "
            "for is the mean of the absolute values.",
            over(lambda d: d.square().sum(dim=(1, 2)).sqrt())),
        Mistake(
            "absolute value of the mean",
            "You average the complex differences, which cancel, and take the absolute value last. "
            "First the absolute value.",
            lambda noise, key, mask: spectrum_off(noise, key, mask).mean(dim=1).abs()),
        Mistake(
            "the sum",
            "You add up. Asked for is the mean over channels and places.",
            over(lambda d: d.sum(dim=(1, 2)))),
        Mistake(
            "the channels added",
            "You average over the places and ADD the channels. Average both.",
            over(lambda d: d.mean(dim=2).sum(dim=1))),
        Mistake(
            "the first channel",
            "You look at the first channel alone. The key has all of them.",
            over(lambda d: d[:, 0].mean(dim=1))),
        Mistake(
            "the last channel",
            "You look at the last channel alone. The key has all of them.",
            over(lambda d: d[:, -1].mean(dim=1))),
        Mistake(
            "the largest",
            "You take the largest distance. Asked for is the mean.",
            over(lambda d: d.amax(dim=(1, 2)))),
        Mistake(
            "one number for all",
            "You return one number. Each picture has a distance of its own: (B,).",
            over(Tensor.mean)),
        Mistake(
            "a number a channel",
            "You return a distance for each channel, (B,C). Average over the channels, too.",
            over(lambda d: d.mean(dim=2))),
        Mistake(
            "the mask turned round",
            "You compare where the mask is False. The key stands where it is True.",
            lambda noise, key, mask: ring_distance(noise, key, ~mask)),
        Mistake(
            "everywhere",
            "You compare everywhere. The key stands only where the mask is True: elsewhere the "
            "noise is free.",
            lambda noise, key, mask: ring_distance(noise, key, torch.ones_like(mask))),
        Mistake(
            "divided by all places",
            "You set the other places to 0 and average over all of them. Divide by the places of "
            "the mask.",
            lambda noise, key, mask: ring_distance(noise, key, mask) * mask.double().mean()),
        Mistake(
            "only the noise masked",
            "You mask the spectrum and not the key, so that its other places count as differences. "
            "Mask the difference.",
            lambda noise, key, mask: (spectrum(noise) * mask - key).abs().mean(dim=(1, 2, 3))),
        Mistake(
            "the mask transposed",
            "You exchange rows and columns of the mask.",
            lambda noise, key, mask: ring_distance(noise, key, mask.T if len(mask) == len(mask.T)
                                                   else mask.flip(0))),
        Mistake(
            "columns alone",
            "You transform along the columns alone. A picture has two sides: fft2.",
            of_spectrum(lambda x: torch.fft.fft(x, dim=2, norm="ortho"))),
        Mistake(
            "the key transformed too",
            "You transform the key as well. It is a spectrum already.",
            lambda noise, key, mask: ring_distance(noise, torch.fft.fft2(key, norm="ortho"), mask)),
        Mistake(
            "the mean pixel taken away",
            "You take the mean of each channel away. That is frequency 0, and a key may stand "
            "there.",
            of_spectrum(lambda x: spectrum(x - x.mean(dim=(2, 3), keepdim=True)))),
        Mistake(
            "brought to the strength 1",
            "You divide each noise by its own standard deviation. Compare it as it is: how "
            "strong it is, the p-value will ask.",
            of_spectrum(lambda x: spectrum(x / x.std(dim=(1, 2, 3), keepdim=True)))),
        Mistake(
            "the median",
            "You take the median. Asked for is the mean.",
            lambda noise, key, mask: spectrum_off(noise, key, mask).abs().median(dim=1).values),
        Mistake(
            "phases alone",
            "You compare the angles alone. Take the absolute value of the complex difference.",
            off(lambda y, k: (y.angle() - k.angle()).abs())),
        Mistake(
            "the complex mean",
            "You return complex numbers. A distance is real: .abs() of each difference, then the "
            "mean.",
            lambda noise, key, mask: spectrum_off(noise, key, mask).mean(dim=1)),
        Mistake(
            "channels averaged first",
            "You average the complex differences over the channels, where they cancel. First the "
            "absolute value, then the mean.",
            lambda noise, key, mask: (spectrum(noise) - key).mean(dim=1)[
                :, mask].abs().mean(dim=1)),
        Mistake(
            "divided by the width",
            "You divide by the width. norm=\"ortho\" divides by the root of h w, which is the "
            "width of a square alone.",
            of_spectrum(lambda x: torch.fft.fft2(x) / x.shape[3])),
        Mistake(
            "divided by the height",
            "You divide by the height. norm=\"ortho\" divides by the root of h w, which is the "
            "height of a square alone.",
            of_spectrum(lambda x: torch.fft.fft2(x) / x.shape[2])),
        Mistake(
            "shifted without the mask",
            "You shift spectrum and key to the middle, and the mask stays where it was. Shift "
            "none of them.",
            lambda noise, key, mask: torch.fft.fftshift(
                spectrum(noise) - key, dim=(2, 3))[:, :, mask].abs().mean(dim=(1, 2))),
    ), "the mean distance to the key, where it stands")


def p_value(found: Tensor, key: Tensor) -> Tensor:
    """found (B,M) complex, the coefficients in which a key (M,) complex may stand -> (B,): the
    chance that noise without a key comes as near. With s = mean |found|^2 of each row,
    d = 2 sum |found - key|^2 / s and l = 2 sum |key|^2 / s, noise has the mean 2 M + l and the
    variance 4 M + 4 l; the chance is the normal distribution's below d."""
    return torch.special.ndtr(standing(found, key))


def strength(found: Tensor) -> Tensor:
    """s, (B,)."""
    return found.abs().square().mean(dim=1)


def statistic(found: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """d and l, (B,) each."""
    s = strength(found)
    return (2 * (found - key).abs().square().sum(dim=1) / s,
            2 * key.abs().square().sum() / s)


def standing(found: Tensor, key: Tensor) -> Tensor:
    """How many standard deviations d lies above its mean."""
    d, extra = statistic(found, key)
    M = len(key)
    return (d - 2 * M - extra) / (4 * M + 4 * extra).sqrt()


def found_inputs(size, strength: float, near: float):
    """size(g) -> B, M; noise of some strength; in the first row the key, but for some noise; in the
    second its opposite, so that d is too large; in the third half of it."""
    def draw(g: Generator) -> tuple:
        B, M = size(g)
        found = torch.complex(*torch.randn(2, B, M, generator=g)) / 2 ** 0.5
        key = torch.complex(*torch.randn(2, M, generator=g)) / 2 ** 0.5
        found[0] = key + near * found[0]
        found[1] = (found[1] - 0.4 * key)
        if B > 2:
            found[2] = 0.2 * key + found[2]
        return strength * found, strength * key
    return draw


def standardised(of):
    """of(d, l, M) -> how many standard deviations."""
    def answer(found, key):
        d, extra = statistic(found, key)
        return torch.special.ndtr(of(d, extra, len(key)))
    return answer


def scaled_by(s):
    """Another strength, s(found, key)."""
    def answer(found, key):
        size, M = s(found, key), len(key)
        d = 2 * (found - key).abs().square().sum(dim=1) / size
        extra = 2 * key.abs().square().sum() / size
        return torch.special.ndtr((d - 2 * M - extra) / (4 * M + 4 * extra).sqrt())
    return answer


def through(of):
    """Another function than the normal distribution's."""
    return lambda found, key: of(standing(found, key))


P_VALUE = Exercise(
    "compare.p_value", LESSON, 3, p_value,
    (found_inputs(lambda g: (between(3, 4, g), between(5, 7, g)), 1.0, 0.6),
     found_inputs(lambda g: (between(3, 4, g), between(9, 12, g)), 0.3, 0.8),
     found_inputs(lambda g: 2 * (between(4, 5, g),), 5.0, 0.5),
     found_inputs(lambda g: (2, 1), 1.0, 0.3),
     found_inputs(lambda g: (3, between(60, 80, g)), 2.0, 0.1)), in_section(6,
        Mistake(
            "the chance above",
            "You take the chance of a LARGER d, or you add the key in place of taking it away. "
            "Near the key d is small: the chance below it.",
            through(lambda z: torch.special.ndtr(-z))),
        Mistake(
            "both sides",
            "You count both sides. Noise that lies far from the key is no sign of it: only the "
            "chance below d.",
            through(lambda z: 2 * torch.special.ndtr(-z.abs()))),
        Mistake(
            "the density",
            "You take the height of the bell curve. Asked for is the chance below: its area.",
            through(lambda z: (-z.square() / 2).exp() / (2 * math.pi) ** 0.5)),
        Mistake(
            "erf without the root of 2",
            "erf counts in units of the root of 2: ndtr(z) = (1 + erf(z / sqrt(2))) / 2.",
            through(lambda z: (1 + z.erf()) / 2)),
        Mistake(
            "erf not halved",
            "erf runs from -1 to 1. The chance is (1 + erf(z / sqrt(2))) / 2.",
            through(lambda z: (z / 2 ** 0.5).erf())),
        Mistake(
            "a sigmoid",
            "You take a sigmoid. It looks like the normal distribution's area, and its tails are "
            "far too heavy: torch.special.ndtr.",
            through(Tensor.sigmoid)),
        Mistake(
            "the standing itself",
            "You return how many standard deviations d lies above its mean. Asked for is the "
            "chance below: torch.special.ndtr.",
            standing),
        Mistake(
            "the logarithm",
            "You return the logarithm of the chance. Asked for is the chance.",
            through(torch.special.log_ndtr)),
        Mistake(
            "the key forgotten in the mean",
            "Your mean is 2 M. Noise stands away from the key by the key's own length as well: "
            "2 M + l.",
            standardised(lambda d, more, M: (d - 2 * M) / (4 * M + 4 * more).sqrt())),
        Mistake(
            "the key forgotten in the variance",
            "Your variance is 4 M. With a key it is 4 M + 4 l.",
            standardised(lambda d, more, M: (d - 2 * M - more) / (4 * M) ** 0.5)),
        Mistake(
            "the key forgotten",
            "You take mean and variance of noise that is compared with 0. The key belongs to both: "
            "2 M + l and 4 M + 4 l.",
            standardised(lambda d, more, M: (d - 2 * M) / (4 * M) ** 0.5)),
        Mistake(
            "the variance not rooted",
            "You divide by the variance. Divide by its root.",
            standardised(lambda d, more, M: (d - 2 * M - more) / (4 * M + 4 * more))),
        Mistake(
            "not divided",
            "You take the mean away and do not divide by the standard deviation.",
            standardised(lambda d, more, M: d - 2 * M - more)),
        Mistake(
            "the variance of l halved",
            "Your variance is 4 M + 2 l. It is 4 M + 4 l.",
            standardised(lambda d, more, M: (d - 2 * M - more) / (4 * M + 2 * more).sqrt())),
        Mistake(
            "the mean of M",
            "You count M numbers. A complex number has two parts: 2 M.",
            standardised(lambda d, more, M: (d - M - more) / (2 * M + 4 * more).sqrt())),
        Mistake(
            "the two forgotten",
            "Your d and l lack the factor 2. Of noise with mean |found|^2 = s each of the two "
            "parts has the variance s / 2.",
            standardised(lambda d, more, M: (d / 2 - 2 * M - more / 2) / (
                4 * M + 2 * more).sqrt())),
        Mistake(
            "the two forgotten in d",
            "Your d lacks the factor 2.",
            standardised(lambda d, more, M: (d / 2 - 2 * M - more) / (4 * M + 4 * more).sqrt())),
        Mistake(
            "the two forgotten in l",
            "Your l lacks the factor 2.",
            standardised(lambda d, more, M: (d - 2 * M - more / 2) / (4 * M + 2 * more).sqrt())),
        Mistake(
            "noise of strength 1",
            "You take for granted that the noise has strength 1. That which is found in a picture "
            "is weaker or stronger: measure s.",
            scaled_by(lambda found, key: 1.0)),
        Mistake(
            "one strength for all",
            "You take one strength for the whole batch. Each row has its own.",
            scaled_by(lambda found, key: found.abs().square().mean())),
        Mistake(
            "the key's strength",
            "You take the strength of the key. That of what was FOUND is asked.",
            scaled_by(lambda found, key: key.abs().square().mean())),
        Mistake(
            "the strength of what is left",
            "You take the strength of found - key. Then d is the same for every picture: take that "
            "of what was found.",
            scaled_by(lambda found, key: (found - key).abs().square().mean(dim=1))),
        Mistake(
            "the strength not squared",
            "You take the mean of |found|. The strength is the mean of its square.",
            scaled_by(lambda found, key: found.abs().mean(dim=1))),
        Mistake(
            "the strength rooted",
            "You divide by the root of the strength. Squares are divided by squares.",
            scaled_by(lambda found, key: strength(found).sqrt())),
        Mistake(
            "the strength round its mean",
            "You take the mean of what is found away before you measure its strength. Take "
            "|found|^2 as it is.",
            scaled_by(lambda found, key: (found - found.mean(dim=1, keepdim=True)).abs().square(
                ).mean(dim=1) + 1e-12)),
        Mistake(
            "added up in place of the mean",
            "Your s is the sum of |found|^2. It is their mean.",
            scaled_by(lambda found, key: found.abs().square().sum(dim=1))),
        Mistake(
            "distances not squared",
            "You add up |found - key|. Add up the squares.",
            lambda found, key: torch.special.ndtr(
                (2 * (found - key).abs().sum(dim=1) / strength(found) - 2 * len(key)
                 - statistic(found, key)[1])
                / (4 * len(key) + 4 * statistic(found, key)[1]).sqrt())),
        Mistake(
            "the mean in place of the sum",
            "You average over the coefficients. The more there are, the surer: add up.",
            lambda found, key: torch.special.ndtr((
                2 * (found - key).abs().square().mean(dim=1) / strength(found) - 2 * len(key)
                - statistic(found, key)[1])
                / (4 * len(key) + 4 * statistic(found, key)[1]).sqrt())),
        Mistake(
            "real parts alone",
            "You take the real parts alone. The numbers are complex: .abs() has both.",
            lambda found, key: real_p_value(found, key)),
        Mistake(
            "the key mirrored",
            "You compare with the conjugate of the key.",
            lambda found, key: p_value(found, key.conj().resolve_conj())),
        Mistake(
            "one number for all",
            "You return one number. Each picture has a chance of its own: (B,).",
            lambda found, key: p_value(found, key).mean()),
        Mistake(
            "the batch counted",
            "You take the number of pictures for M. M is how many coefficients each has.",
            lambda found, key: torch.special.ndtr(
                ((d := statistic(found, key))[0] - 2 * len(found) - d[1])
                / (4 * len(found) + 4 * d[1]).sqrt())),
        Mistake(
            "erfc not halved",
            "erfc runs from 2 to 0. The chance is erfc(-z / sqrt(2)) / 2.",
            through(lambda z: torch.special.erfc(-z / 2 ** 0.5))),
        Mistake(
            "the variance of l alone",
            "Your variance is 4 l. That would be right if s were measured on these very numbers "
            "alone; the paper's test adds 4 M and errs on the careful side.",
            standardised(lambda d, more, M: (d - 2 * M - more) / (4 * more).sqrt())),
        Mistake(
            "complex squares",
            "You square complex numbers, which may make them negative. .abs() first, then the "
            "square.",
            lambda found, key: torch.special.ndtr(
                (2 * (found - key).square().sum(dim=1).real / strength(found) - 2 * len(key)
                 - statistic(found, key)[1])
                / (4 * len(key) + 4 * statistic(found, key)[1]).sqrt())),
        Mistake(
            "cut at a thousandth",
            "You keep the chance above a small number. It may be as small as it is.",
            through(lambda z: torch.special.ndtr(z).clamp(min=1e-3))),
        Mistake(
            "the mean added",
            "You add the mean of noise. Take it away.",
            standardised(lambda d, more, M: (d + 2 * M + more) / (4 * M + 4 * more).sqrt())),
        Mistake(
            "exp(-d / 2)",
            "You take exp(-d / 2), the likelihood of d in itself. Asked for is how d stands "
            "among those of noise.",
            lambda found, key: (-statistic(found, key)[0] / 2).exp()),
    ), "how seldom noise without a mark comes as near to the key")


def real_p_value(found: Tensor, key: Tensor) -> Tensor:
    return p_value(torch.complex(found.real, torch.zeros_like(found.real)),
                   torch.complex(key.real, torch.zeros_like(key.real)))


TEST = hunt(COPIED, "each is its own neighbour", "the limit itself counted",
    "the limit from the fresh ones", "all pairs in place of neighbours",
    "the mean in place of the quantile", "the quantile from above", "training pictures counted",
    "the sum of differences", "the sample's nearest sample", "the level as the baseline")
EXERCISES = (PARTS, SWAP, COPIED, GIVEN, GUIDED, RING, P_VALUE, TEST)
