r"""Speedrun: from random weights to pictures that are right, against the clock.

in -> out   a road, a world, seeds -> one JSON line a seed, a summary with worst and mean
idea        Everything is trained from nothing, in a folder that is thrown away, and the clock runs
            from the first line of it to the last model. One seed is an anecdote: a record is three,
            and each of them has to be good. bench/README.md has the rules.
left out    the time to draw and to judge: `seconds` of the demo has it
"""
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from minidalle.checkpoint import read_checkpoint
from minidalle.workshop.demo import SAMPLES, score
from minidalle.workshop.recipes import ROADS, Workshop

LEAST = {"test": 0.99, "unseen": 0.98}             # all factors right, of a record's every seed
MOST = 1.5                                         # of FID, times its floor
SEEDS = 3                                          # of a record, at least
LOWER_IS_BETTER = ("fid", "fid_over_floor", "paper_error", "seconds")


def speedrun(model: str, data: str, seeds: Iterable[int], budget: str | None = None,
             device: str | None = None, say: Callable[[str], None] = print) -> Iterator[dict]:
    """A line for each seed, as soon as it is there."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="minidalle-speedrun-") as folder:
            yield run(model, data, seed, budget, folder, device, say)


def run(model: str, data: str, seed: int, budget: str | None, folder: str | Path,
        device: str | None, say: Callable[[str], None]) -> dict:
    """Train a road in an empty folder, and measure it: the line of one seed."""
    stages, began = ("judge", *ROADS[model].stages), time.perf_counter()
    workshop = Workshop(data, seed, budget, folder, device, say=say)
    workshop.make(stages)
    total = time.perf_counter() - began
    seconds = {stage: workshop.seconds[stage] for stage in stages}
    result = score(workshop, model, SAMPLES[workshop.budget])
    result["seconds"] = clock(seconds, total)
    result["steps"] = {stage: read_checkpoint(workshop.path(stage))["step"] for stage in stages}
    return rounded(result) | {"torch": torch.__version__, "commit": commit()}


def rounded(value):
    """Numbers as one reads them, in whatever they lie."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def clock(seconds: dict[str, float], total: float) -> dict[str, float]:
    """The seconds of each stage; `rest`: what was neither of them, such as glyphs and checkpoints;
    `total`: all of it, and that is what counts; `road`: without the judge and without CLIP."""
    shared = sum(s for stage, s in seconds.items() if stage in ("judge", "clip"))
    parts = {**seconds, "rest": total - sum(seconds.values()), "total": total,
             "road": total - shared}
    return {name: round(s, 1) for name, s in parts.items()}


def commit() -> str | None:
    """The commit that these files are of, with a + where they differ from it; None without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        asked = [subprocess.run([*git, *words], capture_output=True, text=True, timeout=10)
                 for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", ".."))]
    except (OSError, subprocess.SubprocessError):
        return None
    name, changes = (one.stdout.strip() for one in asked)
    return name + "+" * bool(changes) if asked[0].returncode == 0 else None


# ---- what comes of all seeds ----------------------------------------------------------------

def summary(lines: list[dict]) -> dict:
    """Worst and mean of the seeds, and whether that is a record, or what it missed."""
    first, numbers = lines[0], [figures(line) for line in lines]
    worst, mean = {}, {}
    for name in numbers[0]:
        values = [one[name] for one in numbers if name in one]
        worst[name] = round((max if name in LOWER_IS_BETTER else min)(values), 4)
        mean[name] = round(sum(values) / len(values), 4)
    missing = missed(lines)
    return {"summary": True, **{name: first[name] for name in ("model", "data", "budget", "samples",
                                                               "machine", "torch", "commit")},
            "seeds": [line["seed"] for line in lines], "worst": worst, "mean": mean,
            "parameters": sum(first["parameters"].values()),
            "peak_memory_bytes": max(line["peak_memory_bytes"] or 0 for line in lines) or None,
            "record": not missing, "missed": missing}


def figures(line: dict) -> dict[str, float]:
    """Of a seed's line what is put beside other seeds; what was not measured is left out."""
    found = {split: line[split]["all"] for split in ("test", "unseen") if split in line}
    found |= {"fid": line["fid"], "fid_over_floor": line["fid"] / line["fid_floor"]}
    found |= {name: line[name] for name in ("recall", "diversity", "paper_error") if name in line}
    return found | {"seconds": line["seconds"]["total"]}


def missed(lines: list[dict]) -> list[str]:
    """What keeps these seeds from being a record, each in a few words; empty for a record."""
    found = []
    if len(lines) < SEEDS:
        found.append(f"{len(lines)} of {SEEDS} seeds")
    if lines[0]["budget"] == "smoke":
        found.append("the smoke budget learns nothing")
    if "unseen" not in lines[0]:
        found.append(f"{lines[0]['data']} has no unseen combinations")
    for line in lines:
        for split, least in LEAST.items():
            if split in line and not line[split]["all"] >= least:
                found.append(f"seed {line['seed']}: {split} {line[split]['all']:.3f} < {least}")
        ratio = line["fid"] / line["fid_floor"]
        if not ratio <= MOST:
            found.append(f"seed {line['seed']}: FID {ratio:.2f} x floor > {MOST}")
    return found


def verdict(result: dict) -> str:
    """The summary as a sentence."""
    worst = result["worst"]
    splits = ", ".join(f"{name} {worst[name]:.3f}" for name in LEAST if name in worst)
    seeds = len(result["seeds"])
    ends = "a record by the rules" if result["record"] else \
        f"no record: {'; '.join(result['missed'])}"
    return (f"{result['model']} on {result['data']}, {seeds} seed{'s'[:seeds != 1]}, at worst "
            f"{splits}, FID {worst['fid_over_floor']:.2f} x floor, {worst['seconds']:.0f} s: "
            f"{ends}")


def keep(file: Path, result: dict, lines: list[dict], note: str) -> None:
    """One more line at the end of the file, and those before it as they were."""
    entry = {"note": note, "date": time.strftime("%Y-%m-%d"), **result, "runs": lines}
    with open(file, "a", encoding="utf8") as end:
        end.write(json.dumps(entry) + "\n")
