r"""Parallel: several processes that train one model as one process would.

in -> out   `torchrun --nproc-per-node N -m minidalle ...` -> the weights that one process gets
idea        Each process has a copy of the model and a part of the batch; their gradients are
            averaged, so all copies take the same step and stay equal. What one process would see
            stays the same too: each draws the random numbers of the *whole* batch and keeps those
            of its own rows, which costs little beside a step. Most losses are means over rows, so
            the mean of the parts is the whole; those that compare rows with each other exchange
            what they compare. A part may also be one of several that one process works through in
            turn: gradient accumulation is the same split, in time. The first process alone keeps
            the average, and writes files; so a run may go on with another number of processes.
equation    grad of mean_{i=1..B} l_i = mean over r = 1..N of grad of mean_{i in part r} l_i
paper       Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704, section 3; shards: Rajbhandari
            et al. 2020 (ZeRO), arXiv:1910.02054, section 5; recomputing: Chen et al. 2016,
            arXiv:1604.06174, section 3
left out    several machines, which were never tried; GAN and vector quantiser; Muon of shards

All of this is written for a run of one process as well, where it does nothing.
"""
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

# ---- who is there ---------------------------------------------------------------------------

class Team:
    store = None               # where processes leave each other notes: torchrun's own
    parent = os.getppid()      # torchrun


def several() -> bool:
    """Has torchrun started more than one?"""
    return dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def join() -> None:
    """Meet the other processes, if there are any; each gets a GPU, where there are."""
    if not several() or dist.is_initialized():
        return
    here, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if gpus:
        if here >= gpus:
            raise ValueError(f"torchrun started more processes than there are GPUs, {gpus}; give "
                             f"it --nproc-per-node {gpus}, or hide them: CUDA_VISIBLE_DEVICES=")
        torch.cuda.set_device(here)
    Team.store, rank, size = next(dist.rendezvous("env://"))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", store=Team.store, rank=rank,
                            world_size=size)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Is this the process that keeps the average, writes files and talks?"""
    return rank() == 0


def speaks() -> bool:
    """May this process say what went wrong? Whoever asks first may, so that it is said once."""
    with suppress(RuntimeError):
        if Team.store is not None:
            return Team.store.add("said", 1) == 1
    return int(os.environ.get("RANK", 0)) == 0


def orphaned() -> bool:
    """Is torchrun, which would end the others if one of them were lost, gone itself?"""
    return processes() > 1 and os.getppid() != Team.parent


def lost(error: RuntimeError) -> bool:
    """Does this error say that another process is gone?"""
    signs = ("gloo", "NCCL", "peer", "Connection", "TCPStore")
    return processes() > 1 and (isinstance(error, dist.DistError)
                                or any(sign in str(error) for sign in signs))


# ---- what they tell each other --------------------------------------------------------------

class Sum(torch.autograd.Function):
    """y_r = sum_s x_s for every r, so the gradient by x_s is sum_r of that by y_r: the same."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return Sum.apply(gradient)


def mean_of_all(x: Tensor) -> Tensor:
    """The mean over all processes of a tensor that each has; gradients go back to all."""
    return x if processes() == 1 else Sum.apply(x) / processes()


def gathered(x: Tensor) -> Tensor:
    """The rows (b, ...) of all processes below each other (N b, ...); gradients go back to all."""
    if processes() == 1:
        return x
    nothing = torch.zeros_like(x)
    parts = torch.stack([x if r == rank() else nothing for r in range(processes())])
    return Sum.apply(parts).flatten(0, 1)                                   # (N b, ...)


def anyone(does: bool) -> bool:
    """Does any of the processes?"""
    if processes() > 1:
        flag = torch.tensor(int(does))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        does = bool(flag)
    return does


def divided(work: Callable[[Tensor], Tensor], xs: list[Tensor]) -> list[Tensor]:
    """[work(x) for x in xs], each like its x: every process does a share, and tells the others."""
    if processes() == 1:
        return [work(x) for x in xs]
    largest = sorted(range(len(xs)), key=lambda i: -xs[i].numel())
    shares = [largest[r::processes()] for r in range(processes())]
    sizes = [[xs[i].numel() for i in share] for share in shares]
    told = [torch.cat([xs[0].new_empty(0), *(work(xs[i]).flatten() for i in share)])
            if r == rank() else xs[0].new_empty(sum(sizes[r])) for r, share in enumerate(shares)]
    done = list(xs)
    for r, share in enumerate(shares):
        dist.broadcast(told[r], src=r)
        for i, result in zip(share, told[r].split(sizes[r])):
            done[i] = result.view_as(xs[i])
    return done


def as_the_first(model: nn.Module) -> None:
    """The weights and buffers of the first process, in all."""
    if processes() > 1:
        for value in model.state_dict().values():
            whole = value.contiguous()         # subtle: what is sent must not be a transposed view
            dist.broadcast(whole, src=0)
            value.copy_(whole)


def wait() -> None:
    """Until all are here."""
    anyone(False)


# ---- a batch in parts -----------------------------------------------------------------------

class Split:
    """A batch as one part for each process, and of that `micro` parts in turn."""

    def __init__(self, model: nn.Module, batch: int, micro: int, generator: Generator):
        for name, value in (("batch", batch), ("micro", micro)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 on")
        self.of, self.micro, self.generator = processes() * micro, micro, generator
        if batch % self.of:
            turns = f", {micro} in turn in each process" * (micro > 1)
            fits = ", ".join(str(n) for n in range(1, 17) if batch % (n * micro) == 0)
            raise ValueError(f"a batch of {batch} does not split into {self.of} equal parts"
                             f"{turns}; start {fits or 'another number of'} processes")
        if micro > 1 and hasattr(model, "whole_batch"):
            raise ValueError(f"micro is {micro}, but {model.whole_batch}; set micro=1")
        self.rows = batch // self.of
        self.loss = model.loss
        if processes() > 1:    # subtle: it averages the gradients of what its *forward* computed
            self.loss = DistributedDataParallel(Loss(model))

    @contextmanager
    def part(self, number: int) -> Iterator[int]:
        """Inside, number 0..micro - 1 of this process's parts is at work: it has so many rows."""
        if self.of == 1:
            yield self.rows
            return
        # every part begins with the same random state, for each draws the whole batch's numbers
        self.start = self.generator.get_state() if number == 0 else self.start
        self.generator.set_state(self.start)
        last = number == self.micro - 1 or processes() == 1
        with Rows(self.generator, self.rows, rank() * self.micro + number, self.of), \
                nullcontext() if last else self.loss.no_sync():
            yield self.rows


class Loss(nn.Module):
    """The loss of a model as a forward."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch, generator: Generator) -> Tensor:
        return self.model.loss(batch, generator)


class Rows(TorchFunctionMode):
    """Inside, a part of so many rows is at work: whatever is drawn from this generator is drawn for
    the whole batch, row after row, and what comes is the share of part `number`. What does not come
    from it, such as the glyphs of a world, stays as it is."""

    def __init__(self, generator: Generator, rows: int, number: int, of: int):
        super().__init__()
        self.generator, self.rows, self.number, self.of = generator, rows, number, of

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return whole_batch_norm(*args, **kwargs)
        if kwargs.get("generator") is not self.generator:
            return func(*args, **kwargs)
        if func is torch.Tensor.exponential_ and args[0].stride(0) == args[0][0].numel():
            # subtle: numbers are laid down as memory runs, and that is not always as rows are read
            x, shape = args[0], (self.of * len(args[0]), *args[0].shape[1:])
            return x.copy_(self.own(x.new_empty_strided(shape, x.stride()).exponential_(**kwargs)))
        if func is torch.randperm:             # places in the whole batch, counted as if in a part
            if args[0] != self.rows:
                raise ValueError(f"randperm({args[0]}) draws from the run's generator in a part of "
                                 f"{self.rows} rows, and shuffles something else; to draw rows at "
                                 "random use randint")
            return self.own(func(self.of * args[0], **kwargs)) // self.of
        if func not in (torch.rand, torch.randn, torch.randint):
            raise ValueError(f"{func.__name__} draws from the run's generator, and is not known "
                             "how to share among the parts of a batch; use rand, randn or randint")
        if "size" in kwargs:
            before, size = args, kwargs["size"]
        else:
            *before, size = args if isinstance(args[-1], (tuple, list)) else (args,)
        return self.own(func(*before, **{**kwargs, "size": (self.of * size[0], *size[1:])}))

    def own(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.of)[self.number]


def whole_batch_norm(x: Tensor, running_mean, running_var, weight=None, bias=None,
                     training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """F.batch_norm with the mean and variance of the rows of all processes: (b, C, ...) -> same."""
    if not training or processes() == 1:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    dims, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    mean = mean_of_all(x.float().mean(dims))                                # (C,)
    centred = x.float() - mean.view(shape)
    var = mean_of_all(centred.square().mean(dims))                          # (C,)
    many = processes() * x.numel() / x.shape[1]
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((var * many / (many - 1)).to(running_var), momentum)
    return (centred * ((var + eps).rsqrt() * weight).view(shape) + bias.view(shape)).to(x)


# ---- a model that does not fit --------------------------------------------------------------

@contextmanager
def recomputed(model: nn.Module, on: bool = True) -> Iterator[None]:
    """Inside, what happens within a block, a module of a ModuleList, is forgotten on the way
    forward and computed again on the way back: memory for time."""
    blocks = [block for part in model.modules() if isinstance(part, nn.ModuleList)
              for block in part] if on else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False,
                                preserve_rng_state=False)      # nothing is drawn in a block
    try:
        yield
    finally:
        for block in blocks:
            del block.forward                  # and the one of its class is seen again


def sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with each weight cut into as many pieces as there are processes: a block's are put
    together when it works, and forgotten after it. Its loss must go through its forward. `fit`
    cannot take it, for it keeps whole averages: step with AdamW (tests/together.py has a loop)."""
    if processes() == 1:
        return model
    from torch.distributed.fsdp import fully_shard  # a second to import, so only where needed

    mesh = dist.init_device_mesh(device.type, (processes(),))
    for weight in model.parameters():          # pieces are cut of rows that lie below each other
        weight.data = weight.data.contiguous()
    for part in list(model.modules()):
        if isinstance(part, nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)
