r"""Counting: how many multiply-adds a training takes.

in -> out   a workshop and a stage -> multiply-adds
idea        Seconds belong to a machine, multiply-adds to a recipe. A few steps are made, and every
            product of matrices and every convolution in them is counted by the formulas that
            PyTorch has for its own kernels: forward, backward, the optimizer's, and those of the
            models that make the batch. The rest (norms, sums, noise) is left out, as is usual.
equation    a product of (m, k) and (k, n) takes m k n; a training, what a step takes, times steps
left out    how well a machine is filled by them: bench/
"""
import copy
from contextlib import redirect_stderr
from dataclasses import replace

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Counter(TorchDispatchMode):
    """What runs inside is counted. PyTorch's FlopCounterMode does the same, and follows modules
    too, which it cannot where a gradient is taken within the loss, as the GAN's penalty does."""

    def __init__(self):
        super().__init__()
        self.multiply_adds = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            # subtle: a multiplication and an addition are two for PyTorch
            self.multiply_adds += count(*args, **(kwargs or {}), out_val=out) // 2
        return out


def multiply_adds(workshop, stage: str) -> float:
    """Of all the training of a stage that is made or loaded; its model stays as it is."""
    model = copy.deepcopy(workshop.models[stage]).requires_grad_(True)
    batch, train, fits = workshop.trainings[stage]
    few = getattr(model.config, "lazy", 1)     # the GAN's penalty comes once in so many steps
    # subtle: a fused kernel of attention has no formula on a CPU, and its parts do
    with Counter() as counter, sdpa_kernel(SDPBackend.MATH), redirect_stderr(None):    # no bar
        train(model, batch, replace(fits, steps=few), workshop.seed)
    return counter.multiply_adds / few * fits.steps
