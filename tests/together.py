"""What test_parallel.py lets torchrun start: `together.py sums FILE` or `together.py train ...`;
or both in one process, `together.py sums FILE train ...`, which spares an import of torch.

In float64, so that the only thing that may differ from one process, the order of sums, is tiny.
"""
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from minidalle import parallel, train
from minidalle.clip import Clip, ClipConfig
from minidalle.dalle import Dalle, DalleConfig
from minidalle.gan import Gan, GanConfig, play
from minidalle.train import FitConfig, fit, seeded
from minidalle.workshop import commands, recipes


def in_float64() -> None:
    """All models; they ask for float32 in places, and get this."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    train.autocast = lambda device: nullcontext()


class Line(nn.Module):
    """A fit whose noise is drawn in every way that ours is drawn, with batch norm if asked for."""

    def __init__(self, normed: bool):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Linear(3, 8), nn.BatchNorm1d(8) if normed else nn.Identity()
        self.parts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.last = nn.Linear(8, 1)

    def forward(self, x):
        x = self.norm(self.first(x)).tanh()
        for part in self.parts:
            x = part(x).tanh()
        return self.last(x)

    def loss(self, batch, generator):
        x, y = batch
        bent = torch.empty(len(x), 2, 3).mT.exponential_(generator=generator).sum(dim=2)
        coin = torch.randint(0, 2, (len(x), 1), generator=generator)
        half = torch.randperm(len(x), generator=generator)[:, None] < len(x) // 2
        noise = torch.rand(y.numel(), generator=generator).view(y.shape) * coin * half
        return (self(x + 0.01 * bent) - y - noise).square().mean()


def batches(n, generator):
    x = torch.randn(n, 3, generator=generator)
    return x, x.sum(dim=1, keepdim=True)


def tiny_clip() -> Clip:
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Flatten(), nn.Linear(12, 8))
    return Clip(ClipConfig(vocab=9, context=4, embed=8, width=8, depth=1, heads=2), tower)


def clip_batch(n, generator):
    """Few captions, so that some repeat, in one part and in two."""
    ids = torch.randint(3, 6, (n, 4), generator=generator)
    ids[:, 1:] = 2
    return torch.randn(n, 3, 2, 2, generator=generator), ids


def tiny_dalle() -> Dalle:
    torch.manual_seed(0)
    return Dalle(DalleConfig(vocab=9, context=4, codes=5, grid=2, width=16, depth=2, heads=2))


def dalle_batch(n, generator):
    return (torch.randint(0, 9, (n, 4), generator=generator),
            torch.randint(0, 5, (n, 4), generator=generator))


def tiny_gan() -> Gan:
    torch.manual_seed(0)
    return Gan(GanConfig(embed=8, size=8, noise=4, width=32))


def gan_batch(n, generator):
    return torch.rand(n, 3, 8, 8, generator=generator), torch.randn(n, 8, generator=generator)


STEPS = FitConfig(steps=12, batch=8, lr=1e-2, decay=0.9)


def sums() -> dict:
    """Weights of small fits, and one loss with its gradients, whatever the number of processes."""
    weights = {
        "line": fit(Line(normed=True), batches, STEPS),
        "muon": fit(Line(normed=False), batches, replace(STEPS, muon=True)),
        "micro": fit(Line(normed=False), batches, replace(STEPS, micro=2, muon=True)),
        "recomputed": fit(Line(normed=False), batches, replace(STEPS, recompute=True, muon=True)),
        "clip": fit(tiny_clip(), clip_batch, replace(STEPS, muon=True)),
        "dalle": fit(tiny_dalle(), dalle_batch, STEPS),
        "gan": play(tiny_gan(), gan_batch, replace(STEPS, steps=2))}
    return {name: model.state_dict() for name, model in weights.items()}


def losses_of_shards() -> dict[str, list[float]]:
    """The losses of a few steps of a whole DALL-E with a whole batch, and of a sharded one of which
    each process sees a part."""
    found, batch = {}, dalle_batch(8, seeded(0))
    for name, of in (("whole", 1), ("sharded", parallel.processes())):
        model, generator, rank = tiny_dalle(), seeded(1), parallel.rank() % of
        mine = [part.chunk(of)[rank] for part in batch]
        if of > 1:
            parallel.sharded(model, torch.device("cpu"))
        descent, found[name] = torch.optim.AdamW(model.parameters(), 1e-2), []
        for _ in range(4):
            with parallel.Rows(generator, 8 // of, rank, of):
                loss = model.loss(mine, generator)
            loss.backward()
            descent.step()
            descent.zero_grad()
            found[name].append(parallel.mean_of_all(loss.detach()).item())
    return found


def slow_training(arguments: list[str]) -> int:
    """`python -m minidalle train`, of 60 steps that take their time, with a save every few."""
    Path(f"{os.environ.get('RANK', 0)}.pid").write_text(str(os.getpid()))
    small, batch = recipes.fit_config, recipes.Workshop._ids
    recipes.fit_config = lambda *which: replace(small(*which), steps=60)
    pause = float(os.environ["SLEEP"])
    train.SAVE_EVERY = 6 * pause or 60

    def sleepy(self, captions):
        time.sleep(pause)
        return batch(self, captions)
    recipes.Workshop._ids = sleepy
    return commands.main(arguments)


def main() -> int:
    in_float64()
    what, *rest = sys.argv[1:]
    if what == "train":
        return slow_training(sys.argv[1:])
    if rest[1:]:
        slow_training(rest[1:])
    parallel.join()
    found = {"sums": sums(), "shards": losses_of_shards() if parallel.processes() > 1 else {}}
    if parallel.first():
        torch.save(found, rest[0])
    parallel.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
