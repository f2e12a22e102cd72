r"""Results: a road that a student has trained, handed in as a file, drawn with and read.

in -> out   a name and the models of a road -> NN_stem.pt, to hand in beside the notebook; that
            file -> how many of its pictures show what their captions say, and points for it
idea        The captions are drawn from the student's own name, and so is the noise. So the same
            file gives the same pictures at home and where it is graded, and nobody has another's
            captions. The course's judge reads them, and each band that is reached is worth a
            point. The file holds numbers alone: no code of the student's runs to draw with it.
left out    whose training it was: a file can be copied; the name that stands in it is told
"""
import hashlib
import os
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

import torch
from torch import nn

from minidalle.checkpoint import write
from minidalle.course.checks import Result, find, in_colour, not_written, shown, valued
from minidalle.course.checks.hunting import known
from minidalle.course.sandbox import LARGEST
from minidalle.metrics import Judge, JudgeConfig
from minidalle.train import choose_budget, choose_device, seeded
from minidalle.workshop.recipes import Workshop

FORMAT = 1
PICTURES = 40                  # a half with combinations that were never trained on; one is 0.025
HOME = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reading:
    name: str                  # that stands in the file
    right: int                 # pictures whose digit, ink and paper are those of the caption
    of: int


# ---- the file

def write_result(result: Result, name: str, models: dict[str, nn.Module], folder: Path) -> Path:
    """Weights in half precision; what a model has measured, or was made with (the patterns of
    DALL-E), stays as it is. ValueError if the models are not those of the road, or nobody has
    signed."""
    if not is_name(name):
        raise ValueError(f"the name is {name!r}; write your own, under which you hand in")
    if set(models) != set(result.parts):
        raise ValueError(f"the models are {', '.join(models) or 'none'}; this road has "
                         f"{', '.join(result.parts)}")
    parts = {}
    for part, model in models.items():
        weights = {key for key, _ in model.named_parameters()}
        parts[part] = {"config": asdict(model.config), "state": {
            key: value.cpu().half() if key in weights else value.cpu()
            for key, value in held(model).items()}}
    file = folder / f"{result.lesson}.pt"
    write(file, lambda temporary: torch.save(
        {"format": FORMAT, "lesson": result.lesson, "name": name, "parts": parts}, temporary))
    return file


def held(model: nn.Module) -> dict[str, torch.Tensor]:
    """All of its numbers, those too that a checkpoint leaves out because its reader knows how the
    model was made."""
    return {**dict(model.named_buffers(remove_duplicate=False)), **model.state_dict()}


def read_result(result: Result, file: Path) -> tuple[str, dict[str, nn.Module]]:
    """The name and the models. ValueError, in one sentence, if it is no such file."""
    if not file.exists() or file.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 2 ** 20} MB, and no road needs so many")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if (state["format"], state["lesson"]) != (FORMAT, result.lesson) or \
                not is_name(state["name"]):
            raise ValueError
        models = {part: model_of(*result.parts[part], state["parts"][part])
                  for part in result.parts}
        return state["name"], models
    except Exception as error:
        raise ValueError(f"it is not what hand_in has written for {result.lesson}: write it again "
                         "with the notebook") from error


def model_of(kind: type, build: Callable, part: dict) -> nn.Module:
    """The model again, with weights in full precision."""
    config = {key: tuple(value) if isinstance(value, list) else value
              for key, value in part["config"].items()}
    model = build(kind(**config))
    state = {key: value.float() if value.dtype == torch.half else value
             for key, value in part["state"].items()}
    for key in state.keys() - model.state_dict().keys():
        model.get_buffer(key)                  # there, or an error
        owner, _, name = key.rpartition(".")
        setattr(model.get_submodule(owner), name, state.pop(key))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


# ---- drawn and read

def plain_name(name: str) -> str:
    """However it is typed: Anna  MUSTER is Anna Muster."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def is_name(name) -> bool:
    """On one line, and not without an end: it is read by whoever grades."""
    return isinstance(name, str) and bool(plain_name(name)) and name.isprintable() \
        and len(name) <= 100


def reading(result: Result, file: Path, judge: Judge, pictures: int = PICTURES) -> Reading:
    """Draw the captions of the name in the file, and have them read."""
    name, models = read_result(result, file)
    words = f"{result.lesson} {plain_name(name)}".encode()
    g = seeded(int.from_bytes(hashlib.sha256(words).digest()[:6], "big"))
    with redirect_stdout(StringIO()):
        workshop = Workshop("drawn", 0, "smoke", device="cpu")
    world = workshop.world
    world.combinations = {split: rows[(rows[:, 1:] < result.colours).all(dim=1)]
                          for split, rows in world.combinations.items()}
    factors = torch.cat([world.factors(pictures // 2, split, g) for split in ("test", "unseen")])
    paint = result.painter(workshop.tokenizer, models)
    images = paint(world.grammar.captions(factors, g), g)
    return Reading(name, int((judge.read(images) == factors).all(dim=1).sum()), len(factors))


def read_for(name: str, file: Path, judge: Path) -> Reading:
    """By the name of the exercise; as the grader asks."""
    return reading(known(name), file, judge_from(judge))


# ---- the judge

def judge_file(budget: str = "cpu") -> Path:
    """The judge of the course: trained once, in 20 seconds, in the folder of the models."""
    runs = os.environ.get("MINIDALLE_RUNS", HOME / "runs")
    workshop = Workshop("drawn", 0, budget, runs, "cpu", say=lambda line: None)
    workshop.judge()
    return workshop.path("judge")


def judge_from(file: Path) -> Judge:
    state = torch.load(file, map_location="cpu", weights_only=True)
    kept = {key: tuple(value) if isinstance(value, list) else value
            for key, value in state["settings"].items() if key in JudgeConfig.__dataclass_fields__}
    judge = Judge(JudgeConfig(**kept))
    judge.load_state_dict(state["model"])
    return judge.eval().requires_grad_(False)


# ---- in the notebook

def hand_in(name: str, function: Callable) -> None:
    """Write the file that is handed in, and say what it is worth; the grader will say the same."""
    result = find(name)
    budget = choose_budget(device=choose_device())
    smoke = budget == "smoke"
    try:
        said, models = function()
    except NotImplementedError:
        print(shown(not_written(result, ["result"]), in_colour()))
        return
    file = write_result(result, said, models, Path.cwd())
    judge = judge_from(judge_file("smoke" if smoke else "cpu"))
    found = reading(result, file, judge, 4 if smoke else PICTURES)
    print(shown(valued(result, found.name, found.right, found.of), in_colour()))
    print(f"hand in {file.name} with the notebook")
