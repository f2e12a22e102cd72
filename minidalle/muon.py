r"""Muon: an optimizer that turns every way at once.

in -> out   matrices with gradients -> the same matrices, one step further
idea        The gradient of a layer is nearly flat: a few directions have most of its length, and
            plain descent, or Adam, goes along those and hardly along any other. Muon keeps the
            directions and makes all of them equally long: of G = U S V^T it takes U V^T, the
            nearest matrix that turns and stretches nothing. A layer learns in fewer steps so.
            No singular values are needed for it: a polynomial that drives every number between
            0 and 1 towards 1, applied again and again, does it with products of matrices alone.
equation    M <- mu M + (1 - mu) G;  W <- W - lr 0.2 sqrt(max(m, n)) orthogonal(mu M + (1 - mu) G)
paper       Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the
            factor, with which one lr serves AdamW as well: Liu et al. 2025, arXiv:2502.16982
left out    its work shared among several GPUs, which all do the same; bfloat16
"""
import torch
from torch import Tensor, nn


def orthogonal(g: Tensor, rounds: int = 4) -> Tensor:
    """The directions of g (m, n) without their lengths: about U V^T of g = U S V^T (m, n).

    "About": singular values come out between 0.7 and 1.2, and smaller only where they were below
    a hundredth of all. A round is X <- P X with P = a + b A + c A^2 and A = X X^T. These commute,
    so A <- P A P keeps up without X, and its many columns are multiplied once, at the end.
    """
    if g.shape[0] > g.shape[1]:
        return orthogonal(g.T, rounds).T
    x = g / (g.norm() + 1e-7)                                               # no value above 1
    one = torch.eye(len(g), dtype=g.dtype, device=g.device)                 # (m, m)
    A = x @ x.T                                                             # (m, m)
    P = Q = quintic(A, one)
    for _ in range(rounds - 1):
        A = P @ A @ P
        P = quintic(A, one)
        Q = P @ Q
    return Q @ x                                                            # (m, n)


def quintic(A: Tensor, one: Tensor) -> Tensor:
    """Times X, it takes each singular value s of X to 3.4445 s - 4.7750 s^3 + 2.0315 s^5: steep at
    0, and near 1 only near, so that a few rounds suffice. A = X X^T."""
    return 3.4445 * one - 4.7750 * A + 2.0315 * (A @ A)                     # (m, m)


class Muon(torch.optim.Optimizer):
    """Muon for matrices; a convolution counts as one, (channels out, all that it sees)."""

    def __init__(self, params, lr: float = 1e-3, momentum: float = 0.95,
                 weight_decay: float = 0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group["lr"], group["momentum"], group["weight_decay"])

    def _step(self, weight: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(weight.grad, 1 - momentum)
        ahead = weight.grad.lerp(mean, momentum).flatten(1)                 # (m, n), Nesterov's
        step = orthogonal(ahead) * (0.2 * max(ahead.shape) ** 0.5)
        weight.mul_(1 - lr * weight_decay).sub_(lr * step.view_as(weight))


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """What Muon is for: the weights of linear and convolution layers. Embeddings, positions, biases
    and norms are no maps from space to space, but lists of numbers."""
    return [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
