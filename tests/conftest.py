"""One small demo, run once, that the tests of the command line, the recipes and the demo share."""
import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from minidalle import data
from minidalle.__main__ import main
from minidalle.diffusion import Diffusion

full_sample, masks = Diffusion.sample, cache(data.drawn_masks)


def hurry(patch) -> None:
    """Three diffusion steps in place of 25, and glyphs drawn once: the same road, sooner."""
    patch.setattr(Diffusion, "sample", lambda self, *args, steps, **rest:
                  full_sample(self, *args, steps=min(steps, 3), **rest))
    patch.setattr(data, "drawn_masks", masks)


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


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """`demo --budget smoke` in a fresh folder, and what it said. Only to be looked at: copy it."""
    folder, out, err = tmp_path_factory.mktemp("smoke") / "runs", io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        hurry(patch)
        code = main(["demo", "--budget", "smoke", "--device", "cpu", "--out", str(folder)])
    return Smoke(folder, folder / "drawn-smoke-0", code, out.getvalue(), err.getvalue())
