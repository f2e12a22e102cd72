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
left out    bfloat16

Of several processes each turns a share of the matrices, for all of them.
"""
import torch
from torch import Tensor, nn

from minidalle.parallel import divided


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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            ahead = [self._ahead(weight, group["momentum"]) for weight in weights]
            for weight, step in zip(weights, divided(direction, ahead)):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(group["lr"] * step.view_as(weight))

    def _ahead(self, weight: Tensor, momentum: float) -> Tensor:
        """The mean of the gradients as it will be after the next one, about (m, n): Nesterov's."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum).flatten(1)


def direction(ahead: Tensor) -> Tensor:
    """A step as long as one of AdamW's: (m, n) -> (m, n)."""
    return orthogonal(ahead) * (0.2 * max(ahead.shape) ** 0.5)


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """What Muon is for: the weights of linear and convolution layers. Embeddings, positions, biases
    and norms are no maps from space to space, but lists of numbers."""
    return [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
