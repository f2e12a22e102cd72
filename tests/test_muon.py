"""Muon against singular values: directions stay, lengths become one; and who steps by what."""
import pytest
import torch
from torch import nn

from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.muon import Muon, orthogonal
from minidalle.train import FitConfig, optimizers
from minidalle.unet import UNet, UNetConfig


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def matrix(m: int, n: int, values: torch.Tensor) -> torch.Tensor:
    """A matrix (m, n) with these singular values."""
    a, b = (torch.linalg.qr(torch.randn(size, len(values), generator=seed(size))).Q
            for size in (m, n))
    return a * values @ b.T


SIZES = pytest.mark.parametrize("m, n", [(6, 6), (6, 50), (50, 6), (1, 9), (9, 1), (48, 432)])


@SIZES
def test_directions_are_those_of_the_svd_and_all_lengths_are_near_one(m, n):
    g = torch.randn(m, n, generator=seed())
    U, S, V = torch.linalg.svd(g, full_matrices=False)
    lengths = U.T @ orthogonal(g) @ V.T                     # diagonal where directions are the same
    torch.testing.assert_close(lengths, lengths.diag().diag(), atol=1e-3, rtol=0)
    long = S > 0.01 * g.norm()
    assert lengths.diag()[long].min() > 0.65 and lengths.diag().max() < 1.2 and long.any()


@SIZES
def test_it_is_the_polynomial_applied_to_the_whole_matrix_again_and_again(m, n):
    g = torch.randn(m, n, generator=seed(1))
    a, b, c = 3.4445, -4.7750, 2.0315                       # of Jordan's page
    x = g.double() / g.double().norm()
    for _ in range(4):
        A = x @ x.T
        x = a * x + b * A @ x + c * A @ A @ x
    torch.testing.assert_close(orthogonal(g).double(), x, atol=1e-4, rtol=0)


def test_a_hundredth_of_the_length_is_lifted_to_that_of_all_and_the_scale_is_forgotten():
    g = matrix(20, 40, torch.logspace(0, -2, 8))
    values = torch.linalg.svdvals(orthogonal(g))[:8]
    assert values.min() > 0.65 and values.max() < 1.2
    for scale in (1e-3, 1e6):
        torch.testing.assert_close(orthogonal(scale * g), orthogonal(g), atol=2e-2, rtol=0)


def test_no_gradient_gives_no_step_and_no_nan():
    assert (orthogonal(torch.zeros(3, 5)) == 0).all()


def test_the_first_step_has_the_length_that_adamw_would_take():
    """RMS of U V^T is 1 / sqrt(max(m, n)), so the step's is 0.2 lr, as is usual for AdamW."""
    for shape in ((8, 64), (64, 8), (16, 4, 3, 3)):
        weight = nn.Parameter(torch.randn(shape, generator=seed()))
        before, weight.grad = weight.detach().clone(), torch.randn(shape, generator=seed(2))
        Muon([weight], lr=0.01, weight_decay=0).step()
        step = (weight.detach() - before).square().mean().sqrt().item()
        assert step == pytest.approx(0.2 * 0.01, rel=0.3)
        assert ((before - weight.detach()) * weight.grad).sum() > 0         # downhill


def test_three_steps_are_those_of_the_formula():
    weight, lr, mu, decay = nn.Parameter(torch.randn(4, 6, generator=seed())), 0.1, 0.9, 0.5
    expected, mean = weight.detach().clone(), torch.zeros(4, 6)
    muon = Muon([weight], lr, mu, decay)
    for n in range(3):
        g = torch.randn(4, 6, generator=seed(n))
        weight.grad = g.clone()
        muon.step()
        mean = mu * mean + (1 - mu) * g
        step = 0.2 * 6 ** 0.5 * orthogonal(mu * mean + (1 - mu) * g)
        expected = expected * (1 - lr * decay) - lr * step
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has its own since 2.9")
def test_it_steps_as_the_one_of_torch_does():
    """Theirs rounds to bfloat16 within, so the directions agree to some per cent."""
    ours, theirs = (nn.Parameter(torch.randn(24, 40, generator=seed())) for _ in range(2))
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw", ns_steps=4)
    muon, start = Muon([ours], 0.02, 0.95, 0.1), ours.detach().clone()
    for n in range(5):
        for weight, stepper in ((ours, muon), (theirs, other)):
            weight.grad = torch.randn(24, 40, generator=seed(n))
            stepper.step()
    ours, theirs = ours.detach() - start, theirs.detach() - start
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
    assert ours.norm().item() == pytest.approx(theirs.norm().item(), rel=0.02)


def test_layers_are_turned_and_all_else_is_left_to_adamw():
    clip = Clip(ClipConfig(30, 8, 1, width=16, depth=1, heads=2), ConvTower(16, 8))
    for model in (clip, UNet(UNetConfig(width=16, attend=(False, True), condition=4))):
        muon, adamw = (group["params"] for one in optimizers(model, FitConfig(muon=True))
                       for group in one.param_groups)
        names = {id(p): name for name, p in model.named_parameters()}
        assert sorted(map(id, muon + adamw)) == sorted(names)       # each once
        assert all(p.dim() > 1 and names[id(p)].endswith("weight") for p in muon)
        beside = {names[id(p)] for p in adamw if p.dim() > 1}
        assert beside <= {"text_tower.token.weight", "text_tower.position"}


def test_without_muon_adamw_has_all_and_rate_and_decay_reach_whoever_steps():
    model = nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 3))
    for muon in (False, True):
        config = FitConfig(lr=0.02, weight_decay=0.3, muon=muon)
        both = optimizers(model, config)
        assert [type(one) for one in both] == [Muon] * muon + [torch.optim.AdamW]
        assert {(g["lr"], g["weight_decay"]) for one in both for g in one.param_groups} \
            == {(0.02, 0.3)}
        assert sum(len(g["params"]) for one in both for g in one.param_groups) == 3
