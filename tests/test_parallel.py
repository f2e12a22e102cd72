"""Several processes get what one gets, and begin, stop and die together. torchrun is the real one:
its processes are together.py."""
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import together
import torch

from minidalle import parallel, train
from minidalle.checkpoint import read_checkpoint
from minidalle.clip import contrastive_loss, repeats
from minidalle.train import FitConfig, fit, seeded
from minidalle.workshop.recipes import LATER, Workshop, fit_config

TOGETHER = Path(__file__).parent / "together.py"
ONE = [sys.executable, str(TOGETHER)]
TWO = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(TOGETHER)]
TRAIN = ["train", "textmodel", "--budget", "smoke", "--device", "cpu", "--out", "runs"]


def begin(command: list[str], folder: Path, sleep: float = 0) -> subprocess.Popen:
    root = str(TOGETHER.parent.parent)
    given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "SLEEP": str(sleep),
             "TORCHELASTIC_ERROR_FILE": ""}
    # subtle: pytest in the background ignores Ctrl-C, and its children would too
    return subprocess.Popen(command, cwd=folder, env=given, text=True, stderr=subprocess.PIPE,
                            stdout=subprocess.PIPE, start_new_session=True, preexec_fn=lambda:
                            signal.signal(signal.SIGINT, signal.default_int_handler))


def end(process: subprocess.Popen, within: float) -> tuple[str, float]:
    """What it said on stderr, and after how many seconds it ended."""
    began = time.monotonic()
    try:
        _, said = process.communicate(timeout=within)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return said, time.monotonic() - began


def sentences(said: str) -> list[str]:
    return re.findall("^minidalle: .*", said, re.MULTILINE)


# ---- the same as one process ----

@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What one process finds, 0.pt, and what two do, 1.pt; and a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("sums")
    runs = [begin([*ONE, "sums", "0.pt", *TRAIN], folder), begin([*TWO, "sums", "1.pt"], folder)]
    for run in runs:
        said, _ = end(run, 200)
        assert run.returncode == 0, said
    return folder


@pytest.fixture
def both(folder) -> list[dict]:
    return [torch.load(folder / f"{i}.pt") for i in range(2)]


@pytest.mark.parametrize("name", ["line", "muon", "clip", "dalle", "gan"])
def test_two_processes_with_half_a_batch_each_get_the_weights_of_one_with_the_whole(both, name):
    """Batch norm, every way to draw noise, and the contrastive loss over all rows take part."""
    one, two = (found["sums"][name] for found in both)
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize("name", ["micro", "recomputed"])
@pytest.mark.parametrize("which", [0, 1], ids=["one process", "two"])
def test_parts_in_turn_and_recomputing_give_the_weights_of_a_whole_batch(both, name, which):
    """So two processes of two parts each make four parts of eight rows."""
    for key, value in both[0]["sums"]["muon"].items():
        torch.testing.assert_close(both[which]["sums"][name][key], value, rtol=1e-9, atol=1e-9)


def test_a_sharded_dalle_has_the_losses_of_a_whole_one(both):
    whole, sharded = both[1]["shards"]["whole"], both[1]["shards"]["sharded"]
    assert whole == pytest.approx(sharded, abs=1e-9) and whole[-1] < whole[0]


# ---- together to the end ----

def checkpoint(folder: Path) -> Path:
    return folder / "runs" / "drawn-smoke-0" / "textmodel.pt"


def until(true, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def losses(folder: Path) -> list[float]:
    state = read_checkpoint(checkpoint(folder))
    assert state["finished"]
    return [row[1] for row in state["log"]]


def left_over(folder: Path) -> list[str]:
    return [file.name for file in checkpoint(folder).parent.iterdir()
            if file.name.startswith(".") or ".part" in file.name]


def test_a_run_that_was_stopped_and_then_lost_a_process_ends_alone_with_the_same_losses(
        tmp_path, folder):
    """Ctrl-C, then kill -9 of one of two; each ends all within 30 s, with one sentence."""
    whole, folder = folder, tmp_path
    first = begin([*TWO, *TRAIN], folder, sleep=0.05)
    until(checkpoint(folder).exists, "the first checkpoint")
    first.send_signal(signal.SIGINT)
    said, seconds = end(first, 30)
    assert seconds < 30 and first.returncode != 0
    [sentence] = sentences(said)
    assert re.fullmatch("minidalle: stopped at step [0-9]+ of 60; the same command .*", sentence)
    held = read_checkpoint(checkpoint(folder))["step"]
    assert str(held) in sentence and 0 < held < 60 and not left_over(folder)

    second = begin([*TWO, *TRAIN], folder, sleep=0.05)
    until(lambda: read_checkpoint(checkpoint(folder))["step"] > held, "a checkpoint further on")
    victim = int((folder / "1.pid").read_text())
    os.kill(victim, signal.SIGKILL)
    said, seconds = end(second, 30)
    [sentence] = sentences(said)
    assert seconds < 30 and "another process of this run is gone" in sentence
    kept = read_checkpoint(checkpoint(folder))
    assert not kept["finished"] and held < kept["step"] < 60

    last = begin([*ONE, *TRAIN], folder)
    said, _ = end(last, 200)
    assert last.returncode == 0, said
    assert losses(folder) == pytest.approx(losses(whole), abs=2e-6) and len(losses(whole)) == 6
    assert not left_over(folder)


# ---- what needs no other process ----

def test_the_contrastive_loss_of_two_halves_is_not_that_of_the_whole():
    """Of random vectors the mean of two losses over B / 2 is near ln B/2, and the loss ln B."""
    logits = 1e-3 * torch.randn(64, 64, generator=seeded(0))
    ids = torch.arange(64)[:, None]
    whole = contrastive_loss(logits, repeats(ids))
    halves = [contrastive_loss(logits[part, part], repeats(ids[part]))
              for part in (slice(0, 32), slice(32, 64))]
    torch.testing.assert_close(whole, torch.tensor(64.0).log(), rtol=0, atol=1e-3)
    torch.testing.assert_close(sum(halves) / 2, torch.tensor(32.0).log(), rtol=0, atol=1e-3)


def test_models_whose_loss_needs_a_whole_batch_refuse_parts_and_say_why():
    with pytest.raises(ValueError, match="micro is 2, but the loss of CLIP compares .*; set micro"):
        fit(together.tiny_clip(), together.clip_batch, FitConfig(2, 8, micro=2))


def test_a_batch_that_does_not_split_into_equal_parts_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="batch of 8 does not split into 3 equal parts, 3 in turn"):
        fit(together.Line(False), together.batches, FitConfig(2, 8, micro=3))
    monkeypatch.setattr(parallel, "processes", lambda: 3)
    with pytest.raises(ValueError, match="256 .* 3 equal parts; start 1, 2, 4, 8, 16 processes"):
        parallel.Split(together.Line(False), 256, 1, seeded(0))


@pytest.mark.parametrize("name, value", [("micro", 0), ("micro", -1), ("micro", 1.5),
                                         ("batch", 0), ("batch", 2.0)])
def test_a_number_of_rows_or_parts_that_is_none_is_told(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be a whole number from 1 on"):
        fit(together.Line(False), together.batches, replace(FitConfig(2, 8), **{name: value}))


def test_the_parts_of_a_draw_laid_below_each_other_are_the_draw_of_the_whole():
    """Each kind of draw, and the generator ends where one draw of the whole leaves it."""
    def draws(n, g):
        return [torch.rand(n, generator=g), torch.randn((n, 2), generator=g),
                torch.randint(5, (n, 3), generator=g), torch.rand(size=(n, 2), generator=g),
                torch.randint(2, 5, size=(n,), generator=g),
                torch.randint(high=5, size=(n, 1), generator=g),
                torch.empty(n, 2).exponential_(generator=g)]
    whole = draws(6, source := seeded(1))
    parts = []
    for number in range(3):
        g = seeded(1)
        with parallel.Rows(g, 2, number, 3):
            parts.append(draws(2, g))
        assert torch.equal(g.get_state(), source.get_state())
    for i, value in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[i] for part in parts]), value)


@pytest.mark.parametrize("rank, mine", [(0, [2, 4]), (1, [1, 3])])
def test_work_that_is_divided_is_done_by_one_and_told_to_the_others(monkeypatch, rank, mine):
    """Four matrices and two processes, which take turns from the largest on."""
    xs, worked = [torch.full((n, 2), float(n)) for n in (1, 4, 3, 2)], []
    results = {0: torch.tensor([40.0] * 8 + [20.0] * 4), 1: torch.tensor([30.0] * 6 + [10.0] * 2)}

    def broadcast(x, src):
        assert src != rank or torch.equal(x, results[src])
        x.copy_(results[src])

    def ten_times(x):
        worked.append(len(x))
        return 10 * x

    monkeypatch.setattr(parallel, "processes", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: rank)
    monkeypatch.setattr(parallel.dist, "broadcast", broadcast)
    found = parallel.divided(ten_times, xs)
    assert all(torch.equal(y, 10 * x) for x, y in zip(xs, found, strict=True))
    assert sorted(worked) == mine


def test_what_another_generator_draws_is_left_alone():
    with parallel.Rows(seeded(1), 4, 1, 2):
        drawn = torch.rand(3, generator=seeded(2))
    torch.testing.assert_close(drawn, torch.rand(3, generator=seeded(2)))


def test_a_kind_of_draw_that_nobody_knows_how_to_share_is_refused():
    g = seeded(0)
    with pytest.raises(ValueError, match="multinomial draws from the run's generator"), \
            parallel.Rows(g, 2, 0, 2):
        torch.multinomial(torch.ones(2, 3), 1, generator=g)


def test_places_are_shuffled_in_a_part_only_if_they_are_its_rows():
    """Of the rows of the whole batch each has a place; of an album in memory nobody knows."""
    g = seeded(0)
    with parallel.Rows(g, 4, 0, 2):
        assert len(torch.randperm(4, generator=g)) == 4
        with pytest.raises(ValueError, match=r"randperm\(100\) .* part of 4 rows.* use randint"):
            torch.randperm(100, generator=g)


def test_a_model_that_one_process_shards_is_left_whole():
    model = together.tiny_dalle()
    assert parallel.sharded(model, torch.device("cpu")) is model


def test_processes_whose_torchrun_was_killed_know_it_and_stop_where_they_may_go_on(
        monkeypatch, tmp_path):
    assert not parallel.orphaned()
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert parallel.orphaned()
    monkeypatch.undo()
    monkeypatch.setattr(train, "orphaned", lambda: True)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 0 of 2"):
        fit(together.Line(False), together.batches, FitConfig(2, 8), path=tmp_path / "line.pt")
    assert not read_checkpoint(tmp_path / "line.pt")["finished"]


def test_recomputing_keeps_less_of_a_forward_pass_and_leaves_the_model_as_it_was():
    """Counted: the tensors that are kept for the way back."""
    model, batch = together.tiny_dalle(), together.dalle_batch(8, seeded(0))
    before, kept = vars(model.transformer.blocks[0]).copy(), {}
    for on in (False, True):
        seen = []
        with parallel.recomputed(model, on), torch.autograd.graph.saved_tensors_hooks(
                lambda x, seen=seen: seen.append(x.numel()) or x, lambda x: x):
            model.loss(batch, seeded(0))
        kept[on] = sum(seen)
    assert kept[True] < 0.7 * kept[False]
    assert vars(model.transformer.blocks[0]) == before


def test_a_checkpoint_from_before_the_later_settings_still_loads(tmp_path):
    """Its settings have no word of them, as those of a training that leaves them as they are."""
    shop = Workshop("drawn", 0, "smoke", tmp_path, "cpu", say=lambda line: None)
    shop.textmodel()
    kept = read_checkpoint(shop.path("textmodel"))["settings"]
    assert not {f"fit_{name}" for name in LATER} & kept.keys() and kept["fit_batch"] == 8
    assert all(getattr(fit_config("textmodel", "cpu"), name) == value
               for name, value in LATER.items())
    again = Workshop("drawn", 0, "smoke", tmp_path, "cpu", say=lambda line: None)
    again._fits = lambda stage: replace(fit_config(stage, "smoke"), micro=2)
    with pytest.raises(ValueError, match="made with fit_micro = None, and this run has fit_micro"):
        again.textmodel()
