r"""Checkpoints: a model on disk, whole or not at all, and never taken for another one.

in -> out   a trained model -> a .pt file, a CSV log and a picture of its loss, and back
idea        A file is written under a temporary name and renamed, so a crash leaves the old one. It
            carries every setting that made it, and is refused by the first one that differs; and a
            sum over its weights, so that a spoilt one is told from a whole one. It is read without
            running any code that it may contain.
left out    sharded checkpoints, files shared between versions
"""
import csv
import hashlib
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

try:
    import fcntl
except ImportError:            # Windows, where two trainings in one folder are not told apart
    fcntl = None

FORMAT = 2                     # of a checkpoint; counted up when an older one no longer fits


FORM = {                       # what a checkpoint holds, and as what
    "format": int, "settings": dict, "step": int, "log": list, "seconds": (int, float),
    "finished": bool, "model": dict}
RESUME = ("model", "optimizers", "generator")       # what an unfinished one holds beside that
HOUR = 3600                    # no file takes so long to write: an older half one is rubbish


# ---- reading --------------------------------------------------------------------------------

def read_checkpoint(path: Path, settings: dict | None = None) -> dict:
    """What `fit` wrote. ValueError, in one sentence, if it is none, damaged, or of other settings;
    FileNotFoundError if there is none."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file, so it cannot be a checkpoint; move it away, or "
                         "choose another --out")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise ValueError(f"{path} may not be read ({error.strerror}); give yourself the right to, "
                         "or choose another --out") from error
    except Exception as error:
        raise ValueError(not_whole(path, "it cannot be read")) from error
    if wrong := fault(state):
        raise ValueError(not_whole(path, wrong))
    if "sha256" in state and state["sha256"] != digest(state):     # older ones have none
        raise ValueError(f"{path} is damaged: its weights are not those that were written; train "
                         "anew with --fresh")
    if settings is not None:
        compare_settings(path, state["settings"], plain(settings, "settings"))
    return state


def not_whole(path: Path, wrong: str) -> str:
    return (f"{path} is not a whole checkpoint of this version of minidalle ({wrong}); delete it, "
            "or train anew with --fresh")


def fault(state) -> str:
    """What keeps this from being a checkpoint, in a few words; nothing if it is one."""
    if not isinstance(state, dict):
        return "it holds no table"
    for name, kind in FORM.items():
        if not isinstance(state.get(name), kind):
            return f"its {name} is missing or wrong"
    if state["format"] != FORMAT:
        return f"its format is {state['format']}"
    if not all(isinstance(value, Tensor) for value in state["model"].values()):
        return "its model is wrong"
    if not all(isinstance(row, list) and len(row) >= 4
               and all(isinstance(value, (int, float)) for value in row) for row in state["log"]):
        return "its log is wrong"
    resume = state.get("resume")
    if not state["finished"] and not (isinstance(resume, dict) and {*RESUME} <= resume.keys()):
        return "it is unfinished and holds nothing to go on with"
    return ""


def digest(state: dict) -> str:
    """A sum over every weight, those to go on with included: it changes when a bit does."""
    whole = hashlib.sha256()

    def add(name: str, value) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                add(f"{name}.{key}", part)
        elif isinstance(value, Tensor):
            whole.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            whole.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    add("model", state["model"])
    add("resume", state.get("resume"))
    return whole.hexdigest()


def compare_settings(path: Path, kept: dict, asked: dict) -> None:
    for name in {**kept, **asked}:
        old, new = kept.get(name), asked.get(name)
        if old != new:
            raise ValueError(f"{path} was made with {name} = {old}, and this run has {name} = "
                             f"{new}; train anew with --fresh, or choose another --out")


def plain(value, name: str):
    """A setting, or a number for the log, as it can be read again without running code: numpy's
    numbers become Python's, a path its text. ValueError for what is neither."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return {plain(key, name): plain(part, f"{name}[{key!r}]") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([plain(part, name) for part in value])
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    with suppress(AttributeError, ValueError, RuntimeError):
        if type(number := value.item()) in (bool, int, float, str):    # of numpy, or a tensor
            return number
    raise ValueError(f"{name} is {value!r}, and a checkpoint keeps only numbers, texts, and lists "
                     "and tables of them; give it as one of these")


def load(model: nn.Module, path: Path, settings: dict) -> dict | None:
    """Load a finished checkpoint into the model. Returns it, or None if there is none to load. Log
    and curve are written again where they are missing, or older than it."""
    if not path.exists():
        return None
    state = read_checkpoint(path, settings)
    if not state["finished"]:
        return None
    fill(model, state["model"], path)
    model.eval()
    if any(older(path.with_suffix(end), path) for end in (".csv", ".png") if state["log"]):
        write_beside(path, state)
    return state


def older(file: Path, than: Path) -> bool:
    return not file.exists() or file.stat().st_mtime < than.stat().st_mtime


def fill(model: nn.Module, weights: dict, path: Path) -> None:
    """Lay weights into a model; ValueError if they are those of another one, or no numbers."""
    own = model.state_dict()
    for name, value in weights.items():
        if value.dtype != getattr(own.get(name), "dtype", value.dtype):
            raise ValueError(not_whole(path, f"{name} is {value.dtype}"))
        if not torch.isfinite(value).all():
            raise ValueError(not_whole(path, f"{name} is not finite"))
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


# ---- writing --------------------------------------------------------------------------------

def write(path: Path, save: Callable[[Path], None], keep: bool = True) -> None:
    """Write a file whole or not at all: save(temporary), then rename. OSError says what to do.
    With keep=False the file is tried, and everything is left as it was."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path, HOUR)
        save(temporary)
        if keep:
            os.replace(temporary, path)
    except (OSError, RuntimeError, ValueError) as error:   # torch has its own for a full disk
        raise OSError(f"{path} cannot be written ({error}); choose another folder with --out, "
                      "or make room") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(path: Path, age: float = 0.0) -> None:
    """Take away what writers of this file that were killed have left, if it is older than that."""
    name = rf"\.{re.escape(path.stem)}(\.\w+)?\.part{re.escape(path.suffix)}"
    with suppress(OSError):
        for file in path.parent.iterdir():
            if re.fullmatch(name, file.name) and time.time() - file.stat().st_mtime >= age:
                file.unlink()


@contextmanager
def alone(path: Path):
    """Nobody else trains this file meanwhile; ValueError says who does."""
    if fcntl is None:
        yield
        return
    lock = path.with_name(f".{path.stem}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "a+")
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error}); choose another folder with --out, "
                      "or make room") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(f"another process ({file.read().strip()}) is training {path}; wait "
                             "until it is done, or choose another --out") from error
        except OSError:        # a file system without locks
            pass
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def save_state(path: Path, state: dict, keep: bool = True) -> None:
    """A checkpoint, read back before it takes the place of the one before."""
    state = {**state, "sha256": digest(state)}

    def save(temporary: Path) -> None:
        torch.save(state, temporary)
        try:
            read_checkpoint(temporary)
        except ValueError as error:
            raise OSError("what was written cannot be read back") from error
    write(path, save, keep)


def write_beside(path: Path, state: dict) -> None:
    """Log and curve. The model is safe when they come, so a failure is only a note."""
    log, columns = state["log"], ["step", "loss", "lr", "seconds", *state.get("watched", [])]
    for file, save in ((path.with_suffix(".csv"), lambda file: write_log(file, columns, log)),
                       (path.with_suffix(".png"), lambda file: draw_curve(file, log))):
        try:
            save(file)
        except Exception as error:             # whatever a plotting library may come up with
            warnings.warn(f"{file} was not written ({error}); the model is safe in {path}",
                          stacklevel=2)


def write_log(path: Path, columns: list[str], log: list[list[float]]) -> None:
    """The run as a table, with a line for its columns: step, loss, learning rate, seconds, ..."""
    def save(temporary: Path) -> None:
        with open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([columns, *log])
    write(path, save)


def draw_curve(path: Path, log: list[list[float]]) -> None:
    """The loss over the steps as a picture: each noted value, and their running mean. It looks the
    same whatever the user's own settings of matplotlib are."""
    import matplotlib.style
    from matplotlib.figure import Figure

    if not log:
        return
    steps, losses = [row[0] for row in log], [row[1] for row in log]
    smooth = running_mean(losses, max(1, len(log) // 20))
    with matplotlib.style.context("default"):
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


def running_mean(values: list[float], width: int) -> list[float]:
    """Each value's mean with up to `width` values before it: [1, 3, 8] with width 1 -> [1, 2, 5.5].
    """
    rows = (values[max(0, i - width):i + 1] for i in range(len(values)))
    return [sum(row) / len(row) for row in rows]
