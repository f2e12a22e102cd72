r"""Bench: how fast and how large is each model, as JSON lines.

in -> out   command line -> one JSON object a line on stdout, and nothing else there
idea        Build the models just as the demo does, but leave them untrained: speed does not
            depend on the weights. Each part runs in a process of its own, so its peak memory is
            its own too. Beside it stands a yardstick, one multiplication of 1024 x 1024 matrices:
            times divided by the yardstick's can be put beside those of another machine.
left out    quality: `python -m minidalle score` measures that
"""
import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from inspect import signature
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minidalle.clip import Clip
from minidalle.dalle import DalleConfig
from minidalle.data import Digits, drawn_masks
from minidalle.dvae import DvaeConfig
from minidalle.gan import Gan, adams, take_turns
from minidalle.tokenizer import Tokenizer
from minidalle.train import FitConfig, autocast, choose_device, descend, optimizers, seeded
from minidalle.unclip import shrink
from minidalle.workshop.demo import machine, peak_memory
from minidalle.workshop.recipes import FITS, ROADS, STAGES, Workshop

ROAD_PARTS = {f"road-{model}" if i else "road": model for i, model in enumerate(ROADS)}
PARTS = ("tokenizer", "data", *STAGES, *ROAD_PARTS)
LADDERS = {f"ladder-{stage}": stage for stage in ("decoder", "dalle")}     # only where asked for
SETTINGS = ("width", "depth", "heads", "patch", "codes", "grid")
NUMBERS = {
    "batch": "of a training step", "size": "of the large picture; the small one has half",
    **{name: "of every model that has this setting" for name in SETTINGS},
    "steps": "of sampling, by prior, decoder and upsampler", "threads": "of the CPU",
    "samples": "drawn at once (default 64)", "repeats": "timings for a median (default 5)"}
HELP = f"""parts: {", ".join(PARTS)}
(a road is from caption to picture: that of {", that of ".join(r.idea for r in ROADS.values())})
and, only where named: {", ".join(LADDERS)}

examples:
  make bench                              every part as the demo builds it
  make bench ARGS="--only clip,decoder --threads 1"
  make bench ARGS="--only prior --width 256 --depth 6 --heads 8 --batch 64"
  make bench ARGS="--only dalle --width 256 --depth 6 --heads 8 --codes 1024 --grid 8
                   --samples 16 --batch 16 --threads 1"
  make bench ARGS="--only ladder-decoder,ladder-dalle --threads 1"
  make -s bench > speed.jsonl             the lines alone, without make's own

Seconds are medians after one run to warm up; X_in_matmuls is X_seconds divided by the seconds of
one 1024 x 1024 float32 multiplication, timed just before. A training step is forward, loss,
backward, clipping and the optimizers' step, on a batch that lies ready; batch_seconds is the making
of one. Peak memory is that of the process, Python and torch included (they alone:
memory_at_start_bytes), and only grows. On a GPU, gpu_peak_memory_bytes is what its tensors took at
most. For dalle, whose codes are random here, textbook_multiply_adds is what a training step takes
by the book (three forward passes: each weight once a place, the head over words and codes alike,
attention over all places), and textbook_seconds the time of as many in that multiplication.

A ladder is the training step of one stage, made faster rung by rung, each on top of those before
it: float32 and plain memory; channels_last, pixels side by side; bf16, half as many bytes; fused,
the optimizer in one kernel; compiled, by torch.compile; graphs, launched as one on a GPU. gain is
the seconds of the rung before, divided by its own; mfu is the share of the machine that is used:
multiply-adds as counted, a second, over those of the largest multiplication in that precision."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.py", description="Measure speed and size of each part, as JSON lines.",
        epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,PART",
                        help="measure these alone")
    for name, text in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=text)
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best one here)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)    # the part that this process measures
    parser.set_defaults(samples=64, repeats=5)
    args = parser.parse_args(arguments)
    for part in args.only.split(","):
        if part not in (*PARTS, *LADDERS):
            parser.error(f"there is no part {part!r}; choose from "
                         f"{', '.join((*PARTS, *LADDERS))}")
    for name in NUMBERS:
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; give a number from 1 up")
    return args


class Untrained(Workshop):
    """The demo's models and batches, with first weights, no files, and sizes as asked for."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(budget="cpu", device=args.device)
        self.args, self.batches = args, {}
        config = replace(self.world.config, size=args.size or self.world.size)
        self.world = Digits(drawn_masks, config, self.device)

    def dvae(self) -> nn.Module:
        """For the part dalle no real one: speed does not depend on which codes are written."""
        if LADDERS.get(self.args.inside, self.args.inside) != "dalle":
            return super().dvae()
        asked = {name: getattr(self.args, name) for name in ("codes", "grid")}
        return RandomCodes(DvaeConfig(**{name: n for name, n in asked.items() if n}))

    def _stage(self, stage: str, config, build: Callable, batch: Callable,
               taught_by=(), measure=None, train=None) -> nn.Module:
        """In place of training: build the model, resized, and keep how its batches are made."""
        if stage not in self.models:
            model = self.resized(build()).to(self.device).eval()
            if self.args.steps and "sample_steps" in describe(model)["config"]:
                model.sample = partial(model.sample, steps=self.args.steps)
            self.models[stage], self.batches[stage] = model, batch
        return self.models[stage]

    def resized(self, model: nn.Module) -> nn.Module:
        """The model with those of the asked-for settings that its configuration has."""
        asked = {name: getattr(self.args, name) for name in SETTINGS
                 if getattr(self.args, name) and hasattr(model.config, name)}
        rest = [model.image_tower] if isinstance(model, Clip) else []
        return type(model)(replace(model.config, **asked), *rest) if asked else model


class RandomCodes(nn.Module):
    def __init__(self, config: DvaeConfig):
        super().__init__()
        self.config = config

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        shape = (len(images), self.config.grid ** 2)
        return torch.randint(self.config.codes, shape, device=images.device)


def describe(model: nn.Module) -> dict:
    """Size and settings of a model, with the numbers that its sampling takes unless told."""
    config = asdict(model.config)
    if isinstance(model, Clip):
        config["image_tower"] = type(model.image_tower).__name__
    if hasattr(model, "sample"):
        config |= numbers(model.sample)
    return {"parameters": sum(p.numel() for p in model.parameters()), "config": config}


def numbers(sample: Callable) -> dict:
    return {f"sample_{a.name}": a.default for a in signature(sample).parameters.values()
            if isinstance(a.default, int | float)}


# ---- the parts: each returns what its line says; timed(work) -> seconds ----------------------

def tokenizer(args, device, timed: Callable) -> dict:
    text, size = megabyte(), Tokenizer.first_merge + 512
    merges = Tokenizer.train([text], size).merges
    seconds = timed(lambda: Tokenizer(merges).encode(text))        # a new one remembers no word
    return {"bytes": len(text), "merges": len(merges), "encode_seconds": seconds,
            "encode_mb_per_second": len(text) / 1e6 / seconds,
            "train_seconds": timed(lambda: Tokenizer.train([text], size)),
            "target": "train_seconds <= 2, encode_mb_per_second >= 1"}


def megabyte() -> str:
    """1 MB of text, the same in every run: lines of this package among invented words."""
    dice, syllables = random.Random(0), [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(20_000)]
    often = [1 / (rank + 1) for rank in range(len(words))]         # as in real texts
    files = sorted(Path(__file__).parent.parent.glob("minidalle/**/*.py"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    lines += dice.choices(words, often, k=200_000)
    return " ".join(dice.sample(lines, len(lines)))[:10 ** 6]


def data(args, device, timed: Callable) -> dict:
    world, n, g = Untrained(args).world, args.batch or FITS["clip"].batch, seeded(0, device)
    seconds = timed(lambda: [world.batch(n, generator=g) for _ in range(10)]) / 10
    return {"config": asdict(world.config), "batch": n, "batch_seconds": seconds,
            "pictures_per_second": n / seconds,
            "target": "pictures_per_second >= 20000 on two cores"}


def stage(args, device, timed: Callable) -> dict:
    shop, n, g = Untrained(args), args.batch or FITS[args.inside].batch, seeded(0, device)
    model, bf16 = getattr(shop, args.inside)(), isinstance(autocast(device), torch.autocast)
    make = shop.batches[args.inside]
    step = training_step(model, FITS[args.inside], make(n, g), g)
    line = {**describe(model), "batch": n, "batch_seconds": timed(lambda: make(n, g)),
            "train_bf16": bf16, "samples": args.samples}
    model.train()
    line["train_step_seconds"] = timed(step)
    model.eval().requires_grad_(False)
    for name, work in uses(args.inside, model, make(args.samples, g)).items():
        line[f"{name}_seconds"] = timed(work)
    if args.inside == "dalle":
        line["textbook_multiply_adds"] = textbook(model.config, n)
    return line


def training_step(model: nn.Module, config: FitConfig, batch, g) -> Callable[[], object]:
    """As in minidalle.train.fit; of a GAN a turn of each player, as in minidalle.gan.play."""
    device = next(model.parameters()).device
    if isinstance(model, Gan):
        return partial(take_turns, model, adams(model, config), batch, g, lr=1e-6, clip=1.0)
    steppers = optimizers(model, config)

    def step():
        with autocast(device):
            loss = model.loss(batch, g)
        descend(loss, model, steppers, lr=1e-6, clip=1.0)
    return step


def uses(stage: str, model: nn.Module, batch) -> dict[str, Callable[[], object]]:
    """What the trained model of a stage does, with a batch like those of its training; of a stage
    that is not named here only the training is measured."""
    if stage == "vae":
        z = model.encode(batch)
        return {"encode": lambda: model.encode(batch), "decode": lambda: model.decode(z)}
    if stage == "dvae":
        codes = model.encode(batch)
        return {"encode": lambda: model.encode(batch), "decode": lambda: model.decode(codes)}
    if stage == "dalle":
        return {"sample": lambda: model.sample(batch[0]),
                "guided_sample": lambda: model.sample(batch[0], guidance=2.0)}
    if stage == "captioner":
        return {"caption": lambda: model.caption(batch[1])}
    work = {
        "judge": lambda: model.read(batch[0]),
        "clip": lambda: (model.encode_image(batch[0]), model.encode_text(batch[1])),
        "prior": lambda: model.sample(batch[0], batch[1]),
        "arprior": lambda: model.sample(batch[0], batch[1]),
        "decoder": lambda: model.sample(batch[1]),
        "upsampler": lambda: model.sample(shrink(batch, model.config.small)),
        "latent": lambda: model.sample(batch[1:]),
        "gan": lambda: model.sample(batch[1]),
        "imagen": lambda: model.sample(batch[1:]),
        "superres": lambda: model.sample(shrink(batch[0], model.config.small), batch[1:]),
        "flow": lambda: model.sample(batch[1:]),
        "student": lambda: model.sample(batch[2:])}
    return {"sample": work[stage]} if stage in work else {}


def textbook(config: DalleConfig, batch: int) -> int:
    """Multiply-adds of a training step of DALL-E: backward costs twice as much as forward."""
    places, D = config.context + config.grid ** 2, config.width             # T + N
    head = (config.vocab + config.context + config.codes) * D
    block = 12 * D ** 2 + 2 * places * D           # weights; scores and weighted messages
    return 3 * batch * places * (config.depth * block + head)


def beside_textbook(line: dict, matmul: float) -> dict:
    seconds = line["textbook_multiply_adds"] / 1024 ** 3 * matmul
    return {"textbook_seconds": seconds,
            "train_step_over_textbook": line["train_step_seconds"] / seconds,
            "guided_over_plain": line["guided_sample_seconds"] / line["sample_seconds"],
            "target": "train_step_over_textbook <= 1, guided_over_plain <= 2; 16 samples at width "
                      "256, depth 6, 1024 codes, grid 8: sample_seconds <= 0.6 on one thread"}


def road(args, device, timed: Callable) -> dict:
    shop, g = Untrained(args), seeded(0, device)
    paint = shop.painter(ROAD_PARTS[args.inside])
    captions = shop.world.batch(args.samples, "test", g).captions
    about = {name: describe(model) for name, model in shop.models.items()}
    return {"parameters": sum(model["parameters"] for model in about.values()),
            "config": about | numbers(paint), "samples": args.samples,
            "sample_seconds": timed(lambda: paint(captions, g)),
            "target": "64 samples of 32 x 32: sample_seconds <= 10 on two cores"}


# ---- the ladder: one step, made faster rung by rung ----

def ladder(args, device, timed: Callable) -> dict:
    stage = LADDERS[args.inside]
    shop, n, g = Untrained(args), args.batch or FITS[stage].batch, seeded(0, device)
    model = getattr(shop, stage)()
    batch, line = shop.batches[stage](n, g), {**describe(model), "batch": n, "rungs": []}
    line["multiply_adds"] = counted(model, batch, g)
    peaks = {dtype: peak(device, dtype, timed) for dtype in (torch.float32, torch.bfloat16)}
    for i, name in enumerate(RUNGS if device.type == "cuda" else RUNGS[:-1]):
        seconds = timed(rung(deepcopy(model).train(), batch, g, RUNGS[:i + 1]))
        fastest = peaks[torch.bfloat16 if "bf16" in RUNGS[:i + 1] else torch.float32]
        before = line["rungs"][-1]["seconds"] if line["rungs"] else seconds
        line["rungs"].append({"name": name, "seconds": seconds, "gain": before / seconds,
                              "mfu": line["multiply_adds"] / seconds / fastest})
    return line


RUNGS = ("float32", "channels_last", "bf16", "fused", "compiled", "graphs")


def rung(model: nn.Module, batch, g, on: tuple[str, ...]) -> Callable[[], object]:
    """A training step with all of these switched on; its optimizer is AdamW, which can be fused."""
    form = torch.channels_last if "channels_last" in on else torch.contiguous_format
    device, fused = next(model.parameters()).device, "fused" in on
    model.to(memory_format=form)
    if "compiled" in on:
        model.compile(mode="reduce-overhead" if "graphs" in on else None)
    steppers = [torch.optim.AdamW(model.parameters(), 1e-6, fused=fused, foreach=not fused)]

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled="bf16" in on):
            loss = model.loss(batch, g)
        descend(loss, model, steppers, lr=1e-6, clip=1.0)
    return step


def counted(model: nn.Module, batch, g) -> int:
    """Multiply-adds of a training step, counted operation by operation, there and back."""
    copy = deepcopy(model).train().requires_grad_()
    # subtle: what the fused attention of a CPU does is not counted, so it is written out
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        copy.loss(batch, g).backward()
    return counter.get_total_flops() // 2


def peak(device: torch.device, dtype: torch.dtype, timed: Callable) -> float:
    """Multiply-adds a second of a multiplication that is large for this device."""
    side = 8192 if device.type == "cuda" else 1024
    square = torch.randn(side, side, device=device, dtype=dtype)
    return side ** 3 / timed(lambda: square @ square)


# ---- one process a part ---------------------------------------------------------------------

def median_seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    seconds = []
    for _ in range(repeats + 1):                   # the first one warms up
        began = time.perf_counter()
        work()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def measure(args: argparse.Namespace) -> dict:
    """The line of one part, measured in this process."""
    torch.set_num_threads(args.threads or torch.get_num_threads())
    device, start = choose_device(args.device), peak_memory()
    square = torch.randn(1024, 1024, device=device)
    matmul = median_seconds(lambda: square @ square, 9, device)
    about = {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if args.inside == "machine":
        return about | {"matmul_seconds": matmul, "matmul_gflops": 2 * 1024 ** 3 / matmul / 1e9,
                        "machine": machine(device)}
    part = {"tokenizer": tokenizer, "data": data,
            **dict.fromkeys(ROAD_PARTS, road),
            **dict.fromkeys(LADDERS, ladder)}.get(args.inside, stage)
    line = part(args, device, partial(median_seconds, repeats=args.repeats, device=device))
    line |= {name.replace("seconds", "in_matmuls"): value / matmul
             for name, value in line.items() if name.endswith("_seconds")}
    if args.inside == "dalle":
        line |= beside_textbook(line, matmul)
    if device.type == "cuda":
        line["gpu_peak_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    return {**line, "matmul_seconds": matmul, "repeats": args.repeats,
            "peak_memory_bytes": peak_memory(), "memory_at_start_bytes": start, **about}


def main(arguments: list[str]) -> int:
    """0: measured. 2: a part could not be, and stderr says which. 130: stopped with Ctrl-C."""
    args = parse(arguments)
    try:
        if args.inside is None:
            command = [sys.executable, __file__, *arguments, "--inside"]
            for part in ("machine", *args.only.split(",")):
                if code := subprocess.call([*command, part]):
                    print(f"bench: {part} ended with exit code {code}", file=sys.stderr)
                    return 2
            return 0
        line = {name: float(f"{value:.4g}") if isinstance(value, float) else value
                for name, value in measure(args).items()}
        print(json.dumps({"part": args.inside, **line}), flush=True)
    except (ValueError, RuntimeError) as error:
        print(f"bench: {args.inside}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
