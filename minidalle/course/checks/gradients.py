r"""Gradients: whether anything could be learnt through a function whose numbers are right.

in -> out   a function -> one that answers with a gradient for each of its tensors of floats
idea        math.exp(log_scale) gives the right number, and a scale that never learns. So a right
            answer is asked for once more, from tensors that want a gradient, and these gradients
            are laid beside those of the right function.
left out    second derivatives
"""
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minidalle.course.checks.running import Outcome

ENOUGH = 0.01                  # of the largest entry: half precision loses less, a lost part more


def is_learnt(arg) -> bool:
    return isinstance(arg, Tensor) and arg.is_floating_point()


def gradients_of(function: Callable) -> Callable:
    """The function that answers with the gradients, None where none arrives."""
    def gradients(*args) -> list[Tensor | None]:
        learnt = [arg.requires_grad_() for arg in args if is_learnt(arg)]
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")    # PyTorch's own at math.exp(x): we say it in words
            answer = function(*args)
            parts = answer if isinstance(answer, (list, tuple)) else [answer]      # two losses
            answer = torch.cat([part.double().flatten() for part in parts])
            # subtle: equal weights would not do, the sum of a softmax never changes
            total = answer @ torch.arange(1, len(answer) + 1, device=answer.device).double().sin()
        if not total.requires_grad:
            return [None] * len(learnt)
        return list(torch.autograd.grad(total, learnt, allow_unused=True))
    return gradients


def arrives(got, want: Tensor) -> bool:
    """Anything but zeros. The shape comes first: a forged one could be endless."""
    return isinstance(got, Tensor) and got.shape == want.shape and bool(got.any())


def missing(theirs: Outcome, right: Outcome, names: Sequence[str],
            felt: Callable = lambda gradient: gradient) -> str:
    """What does not come through, in half a sentence; empty if all does. `felt` is what of a
    gradient counts: a linear map."""
    if theirs.error:
        return f"a gradient stops with {theirs.error.short()}"
    pairs = [(name, got, want) for name, got, want
             in zip(names, theirs.answer, right.answer, strict=True)
             if want is not None and want.any()]
    if lost := [name for name, got, want in pairs if not arrives(got, want)]:
        return f"no gradient reaches {' and '.join(lost)}"
    if wrong := [name for name, got, want in pairs
                 if not felt(got - want).abs().max() <= ENOUGH * felt(want).abs().max()]:  # NaN too
        return f"the gradient that reaches {' and '.join(wrong)} is wrong or lacks a part"
    return ""
