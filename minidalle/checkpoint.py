r"""Checkpoints: a model on disk, whole or not at all, and never taken for another one.

in -> out   a trained model -> a .pt file, a CSV log and a picture of its loss, and back
idea        A file is written under a temporary name and renamed, so a crash leaves the old one. It
            carries every setting that made it, and is refused by the first one that differs. It is
            read without running any code that it may contain.
left out    sharded checkpoints, files shared between versions
"""
import csv
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

FORMAT = 1                     # of a checkpoint; counted up when an older one no longer fits


def read_checkpoint(path: Path, settings: dict | None = None) -> dict:
    """What `fit` wrote. ValueError, in one sentence, if it is none, or of other settings."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = state["settings"]
        assert state["format"] == FORMAT
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a whole checkpoint of this version of minidalle; "
                         "delete it, or train anew with --fresh") from error
    for name in {**kept, **settings} if settings is not None else {}:
        old, new = kept.get(name), settings.get(name)
        if old != new:
            raise ValueError(f"{path} was made with {name} = {old}, and this run has {name} = "
                             f"{new}; train anew with --fresh, or choose another --out")
    return state


def load(model: nn.Module, path: Path, settings: dict) -> dict | None:
    """Load a finished checkpoint into the model. Returns it, or None if there is none to load."""
    if not path.exists():
        return None
    state = read_checkpoint(path, settings)
    if not state["finished"]:
        return None
    fill(model, state["model"], path)
    model.eval()
    return state


def fill(model: nn.Module, weights: dict, path: Path) -> None:
    """Lay weights into a model; ValueError if they are those of a model of another shape."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} holds a model of another shape than this version of minidalle "
                         "builds; train anew with --fresh") from error


def fingerprint(model: nn.Module) -> str:
    """Twelve characters that change when any weight does: which CLIP did this prior learn from?"""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Write a file whole or not at all: save(temporary), then rename. OSError says what to do."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:   # torch.save reports a full disk as RuntimeError
        with suppress(OSError):
            temporary.unlink()
        raise OSError(f"{path} cannot be written ({error}); choose another folder with --out, "
                      "or make room") from error


def write_log(path: Path, columns: list[str], log: list[list[float]]) -> None:
    """The run as a table, with a line for its columns: step, loss, learning rate, seconds, ..."""
    def save(temporary: Path) -> None:
        with open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([columns, *log])
    write(path, save)


def draw_curve(path: Path, log: list[list[float]]) -> None:
    """The loss over the steps as a picture: each noted value, and their running mean."""
    from matplotlib.figure import Figure

    if not log:
        return
    steps, losses = [row[0] for row in log], [row[1] for row in log]
    width = max(1, len(log) // 20)
    smooth = [sum(losses[max(0, i - width):i + 1]) / len(losses[max(0, i - width):i + 1])
              for i in range(len(losses))]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="0.75", linewidth=1, label="one batch")
    axes.plot(steps, smooth, color="#1f6feb", linewidth=1.8, label="running mean")
    if min(losses) > 0:
        axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="loss",
             title=f"{path.stem}: the running mean ends at {smooth[-1]:.4g}")
    axes.legend(frameon=False)
    write(path, lambda temporary: figure.savefig(temporary, dpi=110))
