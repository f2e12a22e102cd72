r"""The one training loop, and what every run needs around it.

in -> out   a model with `loss(batch, generator)` and a function that makes batches -> trained
idea        Draw a batch, compute the loss, go downhill, look. Around these four lines stand the
            habits that make a run trustworthy: the learning rate warms up and decays, gradients
            are clipped, an average of the weights is kept (it draws better pictures than the last
            weights do), every random number comes from one seed, and a run can be stopped with
            Ctrl-C at any step and goes on from there to the same result, bit for bit. Once a minute
            it saves itself, so a power cut costs no more than that.
equation    theta <- theta - lr * step(grad);    average <- decay * average + (1 - decay) theta
paper       AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101; matrices: muon.py; the average: DDPM,
            appendix B
left out    several processes, and batches in parts: parallel.py has what they add
"""
import copy
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from minidalle.checkpoint import (
    FORMAT,
    alone,
    fill,
    not_whole,
    plain,
    read_checkpoint,
    save_state,
    sweep,
    write_beside,
)
from minidalle.muon import Muon, matrices
from minidalle.parallel import (
    Split,
    anyone,
    as_the_first,
    first,
    mean_of_all,
    orphaned,
    processes,
    recomputed,
)

BUDGETS = ("smoke", "cpu", "gpu")
SAVE_EVERY = 60                # seconds: as much is lost, at most, when the power goes
PATIENCE = 20                  # seconds for a step to finish, if others may wait for it in vain


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
    kind, colon, index = name.partition(":")
    if kind not in here:
        raise ValueError(f"device {name!r} is not there; this machine has {' and '.join(here)}")
    many = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and index not in map(str, range(many)):
        raise ValueError(f"device {name!r} is not there; count from {kind}:0 to {kind}:{many - 1}")
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
    return Generator(device=device).manual_seed(int(seed))


def seeded_each(seed: int, numbers: Iterable[int]) -> list[Generator]:
    """A source for each picture, which depends on the seed and the picture's number alone, so not
    on what is drawn beside it; that of number 0 is seeded(seed)."""
    # an odd factor meets each of the 2^32 seeds once; the golden one keeps neighbours far apart
    return [seeded((seed + 0x9E3779B1 * number) % 2 ** 32) for number in numbers]


def randn(shape: tuple, device: torch.device,
          generator: Generator | list[Generator] | None) -> Tensor:
    """Normal noise, drawn where the generator lives and then moved: one seed, one noise, on every
    device. Of a list of generators each draws one row, so that no row depends on its company."""
    if isinstance(generator, list):
        rows = torch.cat([randn((1, *shape[1:]), device, one) for one in generator])
        if tuple(rows.shape) != tuple(shape):
            raise ValueError("the noise of one row for each generator has shape "
                             f"{tuple(rows.shape)} and should have {tuple(shape)}")
        return rows
    source = device if generator is None else generator.device
    return torch.randn(shape, device=source, generator=generator).to(device)


def rand(n: int, device: torch.device, generator: Generator | None) -> Tensor:
    """Uniform numbers (n,) in [0, 1), drawn where the generator lives and moved, as noise is."""
    source = device if generator is None else generator.device
    return torch.rand(n, device=source, generator=generator).to(device)


def autocast(device: torch.device):
    """bf16 where the hardware multiplies it (it halves the time there); elsewhere nothing."""
    # is_bf16_supported() says yes where bf16 is only emulated; Ampere (8.0) has the units
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
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
    muon: bool = False         # matrices by muon.py, and only the rest by AdamW
    micro: int = 1             # parts of a batch, one after another: less memory, the same step
    recompute: bool = False    # forget what happens in blocks, and compute it again on the way back


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
    checkpoint, a CSV log and a picture of the loss curve are written there at the end and when the
    run is stopped, and a stopped run goes on where it was. `settings` is stored with it and must
    agree with that of a checkpoint found there (ValueError).
    """
    device = next(model.parameters()).device
    config = replace(config, **plain(asdict(config), "config"))
    generator, steppers = seeded(seed, device), optimizers(model, config)
    run = Run(model, steppers, generator, settings)
    split = Split(model, config.batch, config.micro, generator)
    with recomputed(model, config.recompute):
        for lr in run.rates(config, path):
            model.zero_grad(set_to_none=True)
            for number in range(config.micro):         # the parts of this process's share
                with split.part(number) as rows:
                    batch = make_batch(rows, generator)
                    with autocast(device):
                        loss = split.loss(batch, generator) / config.micro
                    go_back(loss)
                run.loss = loss.detach() + (run.loss if number else 0)
            take_step(model, steppers, lr, config.clip)
            if first():
                update_average(run.average, model, run.step, config.decay)
    return model


def optimizers(model: nn.Module, config: FitConfig) -> list[torch.optim.Optimizer]:
    """Those that share the weights of the model among them."""
    turned = matrices(model) if config.muon else []
    ids = {id(weight) for weight in turned}
    rest = [weight for weight in model.parameters() if id(weight) not in ids]
    adamw = torch.optim.AdamW(rest, config.lr, (0.9, 0.99), weight_decay=config.weight_decay)
    return [Muon(turned, config.lr, weight_decay=config.weight_decay), adamw] if turned else [adamw]


def descend(loss: Tensor, model: nn.Module, steppers: list, lr: float, clip: float) -> None:
    """One step downhill, in which each weight is in the hands of one of these optimizers; a loss
    that is not finite ends the run before it spoils the weights."""
    model.zero_grad(set_to_none=True)
    go_back(loss)
    take_step(model, steppers, lr, clip)


def go_back(loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}: lower the learning rate")
    loss.backward()


def take_step(model: nn.Module, steppers: list, lr: float, clip: float) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for stepper in steppers:
        for group in stepper.param_groups:
            group["lr"] = lr
        stepper.step()


@contextmanager
def stop_between_steps():
    """Ctrl-C inside sets the event and lets the step finish; a second one is obeyed at once. So it
    is with the signals of `kill` and of a terminal that is closed, unless they are ignored (nohup).
    """
    stopped = threading.Event()
    # subtle: what waits on a GPU for a process that was killed would wait for ever
    end = threading.Timer(PATIENCE, os._exit, (130,))
    end.daemon = True

    def ask(signum, frame):
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        if processes() > 1:
            end.start()

    if threading.current_thread() is not threading.main_thread():
        yield stopped          # only the main thread may receive signals
        return
    names = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    before = {name: signal.getsignal(name) for name in names if name is not None}
    for name in [name for name, does in before.items() if does is signal.SIG_IGN]:
        del before[name]
    for name in before:
        signal.signal(name, ask)
    try:
        yield stopped
    finally:
        end.cancel()
        for name, does in before.items():
            signal.signal(name, does)


class Lasting:
    """A stream that may break off, as in `2>&1 | head -1`: then what is said is lost, and nothing
    else. Not even the last flush, when Python ends, fails."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        with self._whatever_comes():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._whatever_comes():
            self.stream.flush()

    @contextmanager
    def _whatever_comes(self):
        try:
            yield
        except UnicodeError:
            raise
        except (OSError, ValueError):          # a full disk, a closed pipe; a closed stream
            with suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def progress(total: int, label: str, start: int = 0) -> tqdm:
    """The one progress bar: plain text, silent with MINIDALLE_QUIET=1, calm in a log file. In a
    notebook it stands among the other output: there stderr looks like an error."""
    notebook = type(sys.stdout).__module__.startswith("ipykernel")
    file = sys.stdout if notebook else sys.stderr
    quiet = file is None or file.closed or os.environ.get("MINIDALLE_QUIET") == "1" or not first()
    calm = 0.2 if notebook or not quiet and file.isatty() else 15
    return tqdm(total=total, desc=label, initial=start, disable=quiet, mininterval=calm,
                ncols=88, file=None if quiet else Lasting(file))


# ---- what is kept of a run ------------------------------------------------------------------

class Run:
    """A training run: everything that must be kept so that it can go on, and its log."""

    def __init__(self, model, steppers: list, generator: Generator, settings: dict | None):
        self.model, self.average, self.steppers = model, copy.deepcopy(model), steppers
        self.generator, self.settings = generator, plain(settings or {}, "settings")
        self.step, self.loss, self.log, self.log_every = 0, None, [], 10
        self.began, self.before = time.perf_counter(), 0.0
        self.saved = self.began

    def rates(self, config: FitConfig, path: Path | None) -> Iterator[float]:
        """The learning rate of each step that is left: what stands around the steps of every loop.
        Whoever takes one makes a step, and leaves its loss in `loss`. The run is logged and saved
        in between, and at the end the model gets the averaged weights. Of several processes the
        first one writes, and all stop when one is asked to."""
        with alone(path) if path and first() else nullcontext(), stop_between_steps() as stopped:
            name = path.stem if path else type(self.model).__name__
            if path is not None:
                self.prepare(path, config.steps)
            with progress(config.steps, name, self.step) as bar:
                self.model.train()
                while self.step < config.steps and not anyone(stopped.is_set() or orphaned()):
                    lr = learning_rate(self.step, config)
                    yield lr
                    self.step += 1
                    if self.step % self.log_every == 0 or self.step == config.steps:
                        self.note(mean_of_all(self.loss).item(), lr, bar)
                    if path is not None and self.step < config.steps and self.due():
                        self.save(path)
                    bar.update()
            self.model.eval()
            if path is not None and first():
                self.save(path, finished=self.step == config.steps)
                write_beside(path, self.state(finished=True))
            stop = anyone(stopped.is_set() or orphaned())
        if stop:
            raise KeyboardInterrupt(f"stopped at step {self.step} of {config.steps}")
        self.model.load_state_dict(self.average.state_dict())
        as_the_first(self.model)

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.before + time.perf_counter() - self.began

    def watch(self) -> dict[str, float]:
        """What the model has to say of itself beside its loss, if anything."""
        return plain(self.model.watch() if hasattr(self.model, "watch") else {}, "watch()")

    def note(self, loss: float, lr: float, bar: tqdm) -> None:
        more = self.watch()
        self.log.append([self.step, round(loss, 6), round(lr, 8), round(self.seconds(), 2),
                         *(round(value, 4) for value in more.values())])
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False,
                        **{name: f"{value:.4g}" for name, value in more.items()})

    def state(self, finished: bool) -> dict:
        """What is kept. Only an unfinished run keeps what is needed to go on."""
        state = {"format": FORMAT, "settings": self.settings, "step": self.step, "log": self.log,
                 "watched": list(self.watch()) if self.log else [], "seconds": self.seconds(),
                 "finished": finished, "model": self.average.state_dict()}
        if not finished:
            state["resume"] = {"model": self.model.state_dict(),
                               "optimizers": [one.state_dict() for one in self.steppers],
                               "generator": self.generator.get_state()}
        return state

    def due(self) -> bool:
        """Is it time to save?"""
        return first() and time.perf_counter() - self.saved > SAVE_EVERY

    def save(self, path: Path, finished: bool = False) -> None:
        save_state(path, self.state(finished))
        self.saved = time.perf_counter()

    def prepare(self, path: Path, steps: int) -> None:
        """Take up a run where its checkpoint left it, and find out now, not after the training,
        whether what comes of it can be kept."""
        if first():
            sweep(path)
        if path.exists():
            self.resume(path, steps)
        if self.step < steps and first():
            save_state(path, self.state(finished=False), keep=False)

    def resume(self, path: Path, steps: int) -> None:
        state = read_checkpoint(path, self.settings)
        if state["step"] > steps or state["finished"] and state["step"] < steps:
            raise ValueError(f"{path} was trained for {state['step']} steps and this run has "
                             f"{steps}, but a finished run keeps nothing to go on with; train anew "
                             "with --fresh, or choose another --out")
        fill(self.average, state["model"], path)
        self.step, self.log, self.before = state["step"], state["log"], state["seconds"]
        if "resume" in state:
            self.take_up(path, state["resume"])

    def take_up(self, path: Path, state: dict) -> None:
        """What an unfinished run needs to go on, to the bit if it is on the same kind of device."""
        fill(self.model, state["model"], path)
        try:
            for one, kept in zip(self.steppers, state["optimizers"], strict=True):
                one.load_state_dict(kept)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(not_whole(path, "its optimizers are wrong")) from error
        try:
            self.generator.set_state(state["generator"])
        except (RuntimeError, TypeError):      # that of a GPU does not fit a CPU
            self.generator.manual_seed(self.generator.initial_seed() + self.step)
            warnings.warn(f"{path} was begun on another kind of device, so from step {self.step} "
                          "on other random numbers are drawn than there", stacklevel=2)
