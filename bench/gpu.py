r"""All that wants a GPU, in one command: the most valuable part first, and cut off when time is up.

in -> out   a time limit in seconds -> runs/gpu/DATE-TIME.jsonl, one JSON object a line
idea        A GPU is at hand rarely and for minutes. So what should be known of one is listed in the
            order of its worth, each part runs in a process of its own with what is left of the
            time, and what it found is written down before the next one begins. A part that dies is
            a line with its error. Nothing is downloaded: a world that is not there is a line too.
            `tools/lessons.py results --from FILE` takes the cards of the lessons from such a file.
left out    several GPUs
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from minidalle.download import ARCHIVE, CIFAR10, MNIST, UNPACKED, data_folder
from minidalle.train import BUDGETS, choose_budget, choose_device, seeded
from minidalle.workshop.commands import folder_and_picture, picture_name
from minidalle.workshop.demo import machine
from minidalle.workshop.recipes import ROADS, STAGES, fit_config
from minidalle.workshop.speedrun import commit

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("demo", "lesson", "bench", "profile")
SHORT = ["--repeats", "1", "--samples", "2", "--batch", "2"]   # of bench, at the smoke budget
TOP = 8                                                        # operations named in a profile


@dataclass(frozen=True)
class Part:
    kind: str                  # one of KINDS
    name: str
    command: list[str]
    data: str = "drawn"        # the world that it needs
    picture: Path | None = None                                # what it draws; .json beside it


def parse(arguments: list[str]) -> argparse.Namespace:
    line = argparse.ArgumentParser(prog="gpu.py", description="Measure all that wants a GPU, the "
                                   "most valuable part first, as JSON lines in runs/gpu/.")
    line.add_argument("--seconds", type=float, default=480, metavar="S",
                      help="stop after so many seconds (default 480)")
    line.add_argument("--budget", choices=BUDGETS, help="default: gpu where there is one, else cpu")
    line.add_argument("--device", help="cuda, mps or cpu (default: the best one here)")
    line.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu", metavar="FOLDER",
                      help="where to write (default runs/gpu)")
    line.add_argument("--only", metavar="PART,PART", help=f"only these: {', '.join(KINDS)}, or the "
                      "name of a part, such as demo-mnist-unclip")
    line.add_argument("--list", action="store_true", help="name the parts in their order, and stop")
    line.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)     # to profile here
    return line.parse_args(arguments)


def parts(budget: str, device: str, folder: Path) -> list[Part]:
    """What is worth most comes first. The models of all demos lie in the folder, where the roads of
    one world share judge and CLIP."""
    python, where = sys.executable, ["--budget", budget, "--device", device]
    found = []
    for data, model in [*(("mnist", model) for model in ROADS), ("cifar10", next(iter(ROADS)))]:
        name = f"demo-{data}-{model}"
        command = [python, "-m", "minidalle", "demo", "--data", data, "--model", model, *where,
                   "--out", str(folder / data)]
        _, picture = folder_and_picture(folder / data, picture_name("demo", data, model), budget)
        found.append(Part("demo", name, command, data, picture))
    lessons = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9]*.ipynb"))
    tool = str(ROOT / "tools" / "lessons.py")
    found += [Part("lesson", name, [python, tool, "card", name, *where]) for name in lessons]
    short = SHORT * (budget == "smoke")
    found.append(Part("bench", "bench", [python, str(ROOT / "bench" / "bench.py"), "--device",
                                         device, *short]))
    return [*found, Part("profile", "profile", [python, __file__, "--inside", *where])]


def chosen(all_parts: list[Part], only: str | None) -> list[Part]:
    if only is None:
        return all_parts
    words = only.split(",")
    known = {*KINDS, *(part.name for part in all_parts)}
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"there is no part {unknown[0]!r}; see --list")
    return [part for part in all_parts if part.name in words or part.kind in words]


def at_hand(data: str) -> bool:
    """Whether the files of a world are there, so that nothing has to be fetched."""
    folder = data_folder()
    homes = (folder, *(folder / name for name in ("mnist", "cifar10", UNPACKED)))
    there = {path.name.removesuffix(".xz") for home in homes if home.is_dir()
             for path in home.iterdir()}
    if data == "cifar10":
        return ARCHIVE.name in there or {file.name for file in CIFAR10["train"]} <= there
    return data != "mnist" or {file.name for two in MNIST.values() for file in two} <= there


# ---- one part -------------------------------------------------------------------------------

def run(part: Part, seconds: float, scratch: Path) -> list[dict]:
    """The lines of a part that has so many seconds: what it found, or why it found nothing."""
    about = {"part": part.kind, "name": part.name}
    if not at_hand(part.data):
        return [about | {"skipped": f"the files of {part.data} are not in {data_folder()}; put "
                                    "them there, or set MINIDALLE_DATA"}]
    if seconds < 1:
        return [about | {"skipped": "no time was left"}]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = call(part.command, seconds, out, err, scratch)
        out.seek(0)
        err.seek(0)
        said, errors = out.read(), err.read()
    about["wall_seconds"] = round(time.perf_counter() - began, 1)
    found = results(part, said)
    lines = [{**about, **one, **about, "name": one.get("part", part.name)} for one in found]
    if code is None:
        lines.append(about | {"error": f"cut off after {seconds:.0f} s"})
    elif code:
        last = [line for line in errors.splitlines() if line.strip()] or ["it said nothing"]
        lines.append(about | {"error": last[-1][-500:], "code": code})
    elif not found:
        lines.append(about | {"error": "it ended well, and told nothing"})
    return lines


def results(part: Part, said: str) -> list[dict]:
    """What a part found: the file beside its picture, or the JSON among what it said."""
    if part.picture is not None:
        file = part.picture.with_suffix(".json")
        return [json.loads(file.read_text())] if file.exists() else []
    return [json.loads(line) for line in said.splitlines()
            if line.startswith("{") and line.endswith("}")]


def call(command: list[str], seconds: float, out, err, scratch: Path) -> int | None:
    """The exit code, or None if it had to be stopped; with it ends whatever it started, and what it
    left behind lies in the scratch folder."""
    environment = {**os.environ, "MINIDALLE_QUIET": "1", "TMPDIR": str(scratch),
                   "PYTHONPATH": os.pathsep.join(
                       [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=ROOT,
                               start_new_session=True)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


# ---- the profile of one training step -------------------------------------------------------

def profile(stage: str, device: torch.device, budget: str) -> dict:
    """Where the time of one training step goes: the operations that take most of it themselves."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    import bench  # the file beside this one

    shop = bench.Untrained(bench.parse(["--inside", stage, "--device", str(device)]))
    model, g = getattr(shop, stage)(), seeded(0, device)
    size = fit_config(stage, budget).batch
    batch = shop.batches[stage](size, g)
    step = bench.training_step(model.train(), fit_config(stage, budget), batch, g)
    for _ in range(3):
        step()
    on_gpu = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    with profiler(activities=kinds) as seen:
        began = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return {"part": stage, "batch": size, "step_ms": round(1000 * seconds, 3),
            **operations(seen.key_averages(), on_gpu)}


def operations(events, on_gpu: bool) -> dict:
    """The largest of them by their own time, in ms; how many calls there were in all."""
    def own(event) -> float:
        if not on_gpu:
            return event.self_cpu_time_total / 1000
        old = getattr(event, "self_cuda_time_total", 0)        # its name in torch before 2.4
        return getattr(event, "self_device_time_total", old) / 1000
    ranked = sorted(events, key=own, reverse=True)
    return {"calls": sum(event.count for event in ranked),
            "cpu_ms": round(sum(event.self_cpu_time_total for event in ranked) / 1000, 3),
            "own_ms": round(sum(map(own, ranked)), 3),
            "largest": [[event.key[:60], event.count, round(own(event), 3)]
                        for event in ranked[:TOP]]}


# ---- all of them ----------------------------------------------------------------------------

def measure(args: argparse.Namespace, say: Callable[[str], None] = print) -> Path:
    """Run the parts one after the other, until all are done or the time is up -> the file."""
    began, device = time.perf_counter(), choose_device(args.device)
    budget = choose_budget(args.budget, device)
    file = args.out / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    with tempfile.TemporaryDirectory(prefix="minidalle-gpu-") as folder:
        some = chosen(parts(budget, str(device), Path(folder)), args.only)
        args.out.mkdir(parents=True, exist_ok=True)
        with open(file, "w", encoding="utf8") as lines:
            def note(line: dict) -> None:
                lines.write(json.dumps(line) + "\n")
                lines.flush()
                say(json.dumps(line)[:160])
            note({"part": "start", "machine": machine(device), "budget": budget,
                  "seconds": args.seconds, "torch": torch.__version__, "commit": commit()})
            for part in some:
                left = args.seconds - (time.perf_counter() - began)
                for line in run(part, left, Path(folder)):
                    note(line)
                if part.picture is not None and part.picture.exists():
                    shutil.copy(part.picture, file.with_name(f"{file.stem}-{part.name}.png"))
            note({"part": "end", "wall_seconds": round(time.perf_counter() - began, 1)})
    return file


def stop(signum, frame) -> None:
    raise KeyboardInterrupt                        # so that a part ends with us


def main(arguments: list[str]) -> int:
    """0: done, or out of time. 2: something given was wrong. 130: stopped; the lines are there."""
    args = parse(arguments)
    try:
        device = choose_device(args.device)
        budget = choose_budget(args.budget, device)
        if args.inside:
            for stage in STAGES:
                print(json.dumps(profile(stage, device, budget)), flush=True)
        elif args.list:
            print("\n".join(f"{part.kind:8} {part.name}"
                            for part in parts(budget, str(device), Path("."))))
        else:
            print(f"lines: {measure(args)}")
    except (ValueError, OSError) as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main(sys.argv[1:]))
