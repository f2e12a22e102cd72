"""Counting: by hand, and beside PyTorch's own counter where that can follow."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minidalle.train import FitConfig, fit
from minidalle.transformer import Transformer, TransformerConfig
from minidalle.workshop.counting import Counter, multiply_adds
from minidalle.workshop.recipes import STAGES, Workshop

pytestmark = pytest.mark.usefixtures("quick")


def workshop(model: nn.Module, make_batch, **settings) -> SimpleNamespace:
    """What is asked of one: a frozen model, and how it was trained."""
    training = make_batch, fit, FitConfig(**settings)
    return SimpleNamespace(models={"toy": model.requires_grad_(False)}, seed=0,
                           trainings={"toy": training})


class Toy(nn.Module):
    """5 x 3 pictures, if one may call them so, times 3 x 4; every `lazy`-th time once more."""

    def __init__(self, lazy: int = 1, twice: bool = False):
        super().__init__()
        self.config, self.twice, self.times = SimpleNamespace(lazy=lazy), twice, 0
        self.weight = nn.Parameter(torch.ones(3, 4))

    def loss(self, batch, generator=None):
        self.times += 1
        again = self.twice and self.times % self.config.lazy == 0
        return sum((batch @ self.weight).sum() for _ in range(1 + again))


def five(n, generator):
    return torch.ones(5, 3)


def test_a_product_by_hand_forward_and_back_times_the_steps():
    """5 x 3 x 4 forward, as many for the gradient of the weight; none is asked of the batch."""
    assert multiply_adds(workshop(Toy(), five, steps=7), "toy") == 7 * 2 * 60


def test_what_makes_the_batch_is_counted_too():
    """Another product of 5 x 6 and 6 x 3, forward only."""
    shop = workshop(Toy(), lambda n, g: torch.ones(5, 6) @ torch.ones(6, 3), steps=7)
    assert multiply_adds(shop, "toy") == 7 * (2 * 60 + 5 * 6 * 3)


def test_what_comes_once_in_four_steps_counts_a_quarter():
    """As the penalty of the GAN: every fourth step is twice the work."""
    assert multiply_adds(workshop(Toy(4, twice=True), five, steps=8), "toy") == 8 * 120 * 5 / 4


def test_the_products_of_muon_are_counted_by_hand():
    """Of m = 3 and n = 4: X X^T and Q X, and 13 products of m x m in four rounds."""
    class Layer(nn.Linear):
        config = SimpleNamespace()

        def loss(self, batch, generator=None):
            return self(batch).sum()
    expected = 2 * 60 + 2 * 3 * 3 * 4 + 13 * 3 ** 3
    shop = workshop(Layer(3, 4), five, steps=2, muon=True)
    assert multiply_adds(shop, "toy") == 2 * expected


def test_a_transformer_equals_pytorchs_own_counter_and_scores_count_on_a_cpu():
    """Both with attention in its parts; without the scores and messages it would be fewer."""
    model = Transformer(TransformerConfig(width=16, depth=2, heads=2))
    x = torch.randn(3, 10, 16)
    with sdpa_kernel(SDPBackend.MATH):
        with Counter() as mine:
            model(x).sum().backward()
        with FlopCounterMode(display=False) as other:
            model(x).sum().backward()
    assert mine.multiply_adds == other.get_total_flops() / 2
    weights, attended = 2 * 12 * 16 ** 2, 2 * 2 * 10 * 16      # of a token, in both blocks
    assert mine.multiply_adds == 30 * 3 * (weights + attended)     # back twice as much as forward


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_counted_and_stays_as_it_was(smoke, stage, capsys):
    shop = Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=lambda line: None)
    model = getattr(shop, stage)()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert multiply_adds(shop, stage) > 4 * 8 * sum(p.numel() for p in model.parameters()) / 100
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())
    assert capsys.readouterr() == ("", "")                     # no bar
