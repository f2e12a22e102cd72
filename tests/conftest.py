"""One small demo, run once, that the tests of the command line, the recipes and the demo share."""
import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from minidalle import data
from minidalle.course.commands import main
from minidalle.diffusion import Diffusion
from minidalle.flow import Flow
from minidalle.workshop import compare

full_sample, full_flow = Diffusion.sample, Flow.sample
masks, timed = cache(data.drawn_masks), compare.seconds_for


def hurry(patch) -> None:
    """Three diffusion steps in place of 25, glyphs drawn once, few pictures where their time is
    measured, and no step of training counted: the same road, sooner."""
    patch.setattr(Diffusion, "sample", lambda self, *args, steps, **rest:
                  full_sample(self, *args, steps=min(steps, 3), **rest))
    patch.setattr(Flow, "sample", lambda self, *args, steps, **rest:
                  full_flow(self, *args, steps=min(steps, 3), **rest))
    patch.setattr(data, "drawn_masks", masks)
    patch.setattr(compare, "multiply_adds", lambda workshop, stage: 1e12 * len(stage))
    patch.setattr(compare, "seconds_for", lambda workshop, paint, n: timed(workshop, paint, 4))


@pytest.fixture
def quick(monkeypatch):
    hurry(monkeypatch)


@dataclass(frozen=True)
class Smoke:
    folder: Path               # what --out was
    models: Path               # where its checkpoints lie
    code: int
    out: str
    err: str
    trained: set[str]          # the stages that this command trained


def say(*words) -> tuple[int, str, str]:
    """main() at the smoke budget, on the CPU: the exit code, and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        hurry(patch)
        code = main([*map(str, words), "--budget", "smoke", "--device", "cpu"])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """`demo --budget smoke` in a fresh folder, and what it said; then the stages of the other roads
    and the other prior are trained there too. Only to be looked at: copy it."""
    folder = tmp_path_factory.mktemp("smoke") / "runs"
    said, models = say("demo", "--out", folder), folder / "drawn-smoke-0"
    trained = {path.stem for path in models.glob("*.pt")}
    say("train", "captioner", "arprior", "latent", "gan", "imagen", "superres", "flow", "student",
        "--out", folder)
    say("train", "clip", "--seed", 1, "--out", folder)         # with which `compare` measures
    return Smoke(folder, models, *said, trained)


@pytest.fixture(scope="session")
def compared(smoke) -> Smoke:
    """`compare` with the models of the small demo, its JSON file in a folder of its own."""
    before = {path.stem for path in smoke.models.glob("*.pt")}
    said = say("compare", "--out", smoke.folder, "--json", smoke.folder / "tables" / "both.json")
    after = {path.stem for path in smoke.models.glob("*.pt")}
    return Smoke(smoke.folder, smoke.models, *said, after - before)
