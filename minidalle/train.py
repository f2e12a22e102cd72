r"""The one training loop, and what every run needs around it.

in -> out   a model with `loss(batch, generator)` and a function that makes batches -> trained
idea        Draw a batch, compute the loss, go downhill, look. Around these four lines stand the
            habits that make a run trustworthy: the learning rate warms up and decays, gradients
            are clipped, an average of the weights is kept (it draws better pictures than the last
            weights do), every random number comes from one seed, and a run can be stopped with
            Ctrl-C at any step and goes on from there to the same result, bit for bit.
equation    theta <- theta - lr * AdamW(grad);    average <- decay * average + (1 - decay) theta
paper       AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101; the average: DDPM, appendix B
left out    several GPUs, gradient accumulation
"""
import copy
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from minidalle.checkpoint import FORMAT, draw_curve, fill, read_checkpoint, write, write_log

BUDGETS = ("smoke", "cpu", "gpu")


# ---- where and how much ---------------------------------------------------------------------

def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best one here: cuda, mps, cpu. ValueError if not there."""
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    if name is None:
        return torch.device(here[0])
    if name.split(":")[0] not in here:
        raise ValueError(f"device {name!r} is not there; this machine has {' and '.join(here)}")
    if name.startswith("cuda:") and not name[5:].isdigit() or \
            name.startswith("cuda:") and int(name[5:]) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not there; count from cuda:0 to "
                         f"cuda:{torch.cuda.device_count() - 1}")
    return torch.device(name)


def choose_budget(name: str | None = None, device: torch.device | None = None) -> str:
    """The budget of that name, or of MINIDALLE_BUDGET, or gpu on cuda and cpu elsewhere."""
    on_gpu = device is not None and device.type == "cuda"
    name = name or os.environ.get("MINIDALLE_BUDGET") or ("gpu" if on_gpu else "cpu")
    if name not in BUDGETS:
        raise ValueError(f"budget is {name!r}; choose one of {', '.join(BUDGETS)}")
    return name


def seeded(seed: int, device="cpu") -> Generator:
    """A source of random numbers on the device that depends on the seed alone."""
    return Generator(device=device).manual_seed(seed)


def seeded_each(seed: int, numbers: Iterable[int]) -> list[Generator]:
    """A source for each picture, which depends on the seed and the picture's number alone, so not
    on what is drawn beside it; that of number 0 is seeded(seed)."""
    # an odd factor meets each of the 2^32 seeds once; the golden one keeps neighbours far apart
    return [seeded((seed + 0x9E3779B1 * number) % 2 ** 32) for number in numbers]


def autocast(device: torch.device):
    """bf16 where the hardware multiplies it (it halves the time there); elsewhere nothing."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    if device.type == "cpu" and {"avx512_bf16", "amx_bf16"} & _cpu_flags():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()       # subtle: without such units bf16 on a CPU is ten times *slower*


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


# ---- the loop -------------------------------------------------------------------------------

@dataclass(frozen=True)
class FitConfig:
    steps: int = 1000
    batch: int = 64
    lr: float = 1e-3           # the peak; small models bear a large one
    warmup: float = 0.05       # share of the steps in which the rate climbs to its peak
    clip: float = 1.0          # gradients longer than this are shortened to it
    decay: float = 0.999       # of the average of the weights; 0 keeps none
    weight_decay: float = 0.01


def learning_rate(step: int, config: FitConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero after the last step."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """One step of the moving average; early on it forgets faster, so that it starts unbiased."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, new in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(new, 1 - decay)
    for mean, new in zip(average.buffers(), model.buffers(), strict=True):
        mean.copy_(new)


def fit(model: nn.Module, make_batch: Callable[[int, Generator], object], config: FitConfig,
        seed: int = 0, path: Path | None = None, settings: dict | None = None) -> nn.Module:
    """Train the model where it lies and return it, with averaged weights, in eval mode.

    make_batch(n, generator) -> whatever `model.loss(batch, generator)` takes. With a path, the
    checkpoint, a CSV log and a picture of the loss curve are written there at the end and at
    Ctrl-C, and a run that was stopped goes on where it was. `settings` is stored with it and
    must agree with that of a checkpoint found there (ValueError).
    """
    device = next(model.parameters()).device
    generator = seeded(seed, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr,
                                  weight_decay=config.weight_decay, betas=(0.9, 0.99))
    run = Run(model, copy.deepcopy(model), optimizer, generator, settings or {})
    if path is not None and path.exists():
        run.resume(path)
    name = path.stem if path else type(model).__name__
    with stop_between_steps() as stopped, progress(config.steps, name, run.step) as bar:
        model.train()
        while run.step < config.steps and not stopped.is_set():
            lr = learning_rate(run.step, config)
            batch = make_batch(config.batch, generator)
            with autocast(device):
                loss = model.loss(batch, generator)
            descend(loss, model, optimizer, lr, config.clip)
            update_average(run.average, model, run.step, config.decay)
            run.step += 1
            if run.step % run.log_every == 0 or run.step == config.steps:
                run.note(loss.item(), lr, bar)
            bar.update()
    model.eval()
    if path is not None:
        run.save(path, finished=run.step == config.steps)
    if stopped.is_set():
        raise KeyboardInterrupt(f"stopped at step {run.step} of {config.steps}")
    model.load_state_dict(run.average.state_dict())
    return model


def descend(loss: Tensor, model: nn.Module, optimizer, lr: float, clip: float) -> None:
    """One step downhill; a loss that is not finite ends the run before it spoils the weights."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}: lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


@contextmanager
def stop_between_steps():
    """Ctrl-C inside sets the event and lets the step finish; a second Ctrl-C is obeyed at once."""
    stopped = threading.Event()

    def ask(signum, frame):
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped          # only the main thread may receive signals
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def progress(total: int, label: str, start: int = 0) -> tqdm:
    """The one progress bar: plain text, silent with MINIDALLE_QUIET=1, calm in a log file."""
    quiet = os.environ.get("MINIDALLE_QUIET") == "1"
    calm = 0.2 if sys.stderr.isatty() else 15
    return tqdm(total=total, desc=label, initial=start, disable=quiet, mininterval=calm,
                ncols=88, file=sys.stderr)


# ---- what is kept of a run ------------------------------------------------------------------

class Run:
    """A training run: everything that must be kept so that it can go on, and its log."""

    def __init__(self, model, average, optimizer, generator: Generator, settings: dict):
        self.model, self.average, self.optimizer = model, average, optimizer
        self.generator, self.settings = generator, settings
        self.step, self.log, self.log_every = 0, [], 10
        self.began, self.before = time.perf_counter(), 0.0

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.before + time.perf_counter() - self.began

    def watch(self) -> dict[str, float]:
        """What the model has to say of itself beside its loss, if anything."""
        return self.model.watch() if hasattr(self.model, "watch") else {}

    def note(self, loss: float, lr: float, bar: tqdm) -> None:
        more = self.watch()
        self.log.append([self.step, round(loss, 6), round(lr, 8), round(self.seconds(), 2),
                         *(round(value, 4) for value in more.values())])
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False,
                        **{name: f"{value:.4g}" for name, value in more.items()})

    def save(self, path: Path, finished: bool) -> None:
        """Checkpoint, log and curve. Only an unfinished run keeps what is needed to go on."""
        state = {"format": FORMAT, "settings": self.settings, "step": self.step, "log": self.log,
                 "seconds": self.seconds(), "finished": finished,
                 "model": self.average.state_dict()}
        if not finished:
            state["resume"] = {"model": self.model.state_dict(),
                               "optimizer": self.optimizer.state_dict(),
                               "generator": self.generator.get_state()}
        write(path, lambda temporary: torch.save(state, temporary))
        columns = ["step", "loss", "lr", "seconds", *self.watch()]
        write_log(path.with_suffix(".csv"), columns, self.log)
        draw_curve(path.with_suffix(".png"), self.log)

    def resume(self, path: Path) -> None:
        """Take up a run where its checkpoint left it."""
        state = read_checkpoint(path, self.settings)
        fill(self.average, state["model"], path)
        self.step, self.log, self.before = state["step"], state["log"], state["seconds"]
        if "resume" in state:
            self.model.load_state_dict(state["resume"]["model"])
            self.optimizer.load_state_dict(state["resume"]["optimizer"])
            self.generator.set_state(state["resume"]["generator"])
