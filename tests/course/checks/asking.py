"""What the tests of every bank ask: the inputs of a check."""
from torch import Generator

from minidalle.course.checks import find


def calls(name: str, seed: int) -> list[tuple]:
    """The arguments of each round of a check, as this seed draws them."""
    return find(name).calls(Generator().manual_seed(seed))
