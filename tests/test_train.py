"""The loop: it resumes to the bit, its averages and rates follow the formulas, files are whole."""
import csv
import io
import os
import re
import signal
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from minidalle import train
from minidalle.ar_prior import ArPrior, ArPriorConfig
from minidalle.checkpoint import load, read_checkpoint
from minidalle.dalle import uniform
from minidalle.train import FitConfig, fit, learning_rate, randn, seeded, seeded_each
from minidalle.workshop.recipes import Workshop


class Line(nn.Module):
    """y = w x + b with dropout and batch norm, so that every kind of state takes part."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))

    def loss(self, batch, generator=None):
        x, y = batch
        noise = torch.randn(y.shape, generator=generator)
        return (self.net(x) - y - 0.1 * noise).square().mean()


def batches(n, generator):
    x = torch.randn(n, 3, generator=generator)
    return x, x.sum(dim=1, keepdim=True)


def new_line(seed=0):
    torch.manual_seed(seed)
    return Line()


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


CONFIG = FitConfig(steps=40, batch=16, lr=1e-2, decay=0.9)


def interrupted_batches(at: int):
    """Batches that send Ctrl-C to this very process while batch number `at` is made."""
    count = iter(range(10_000))

    def make(n, generator):
        if next(count) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return batches(n, generator)
    return make


def test_training_lowers_the_loss_and_returns_the_averaged_weights_in_eval_mode():
    model, batch = new_line(), batches(64, seeded(9))
    before = model.eval().loss(batch).item()
    trained = fit(model.train(), batches, FitConfig(steps=150, batch=32, lr=2e-2, decay=0.9))
    assert trained.loss(batch).item() < 0.2 * before and not trained.training


def test_same_seed_same_weights_bit_for_bit_and_another_seed_others():
    a, b, c = (fit(new_line(), batches, CONFIG, seed=s) for s in (0, 0, 1))
    assert same(a, b) and not same(a, c)


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("at", [0, 17, 39])
def test_a_run_stopped_with_ctrl_c_resumes_to_the_same_bits_as_one_never_stopped(tmp_path, at,
                                                                                 muon):
    config, path = replace(CONFIG, muon=muon), tmp_path / "line.pt"
    whole = fit(new_line(), batches, config)
    with pytest.raises(KeyboardInterrupt, match=f"stopped at step {at + 1} of 40"):
        fit(new_line(), interrupted_batches(at), config, path=path)
    resumed = fit(new_line(seed=5), batches, config, path=path)
    assert same(whole, resumed)
    assert read_checkpoint(path)["finished"] and "resume" not in read_checkpoint(path)


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path):
    path = tmp_path / "line.pt"
    first = fit(new_line(), batches, CONFIG, path=path)

    def no_batches(n, generator):
        raise AssertionError("trained again")
    assert same(first, fit(new_line(seed=3), no_batches, CONFIG, path=path))
    loaded = new_line(seed=4)
    assert load(loaded, path, {})["step"] == 40 and same(first, loaded)


def test_ctrl_c_works_as_before_once_training_is_over():
    before = signal.getsignal(signal.SIGINT)
    fit(new_line(), batches, FitConfig(steps=2, batch=4))
    assert signal.getsignal(signal.SIGINT) is before


class Watched(Line):
    """Says how many losses it has computed, and a third of that."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.tensor(0))

    def loss(self, batch, generator=None):
        self.seen += 1
        return super().loss(batch, generator)

    def watch(self):
        return {"seen": int(self.seen), "third": self.seen.item() / 3}


def read_csv(path):
    with open(path.with_suffix(".csv"), newline="") as file:
        return list(csv.reader(file))


def test_what_a_model_says_of_itself_stands_in_columns_by_hand(tmp_path):
    """Every tenth step and the last; rounded to four places."""
    path = tmp_path / "watched.pt"
    fit(Watched(), batches, FitConfig(steps=25, batch=4), path=path)
    columns, *rows = read_csv(path)
    assert columns == ["step", "loss", "lr", "seconds", "seen", "third"]
    assert [[row[0], *row[4:]] for row in rows] == [
        ["10", "10", "3.3333"], ["20", "20", "6.6667"], ["25", "25", "8.3333"]]
    assert [[str(value) for value in row] for row in read_checkpoint(path)["log"]] == rows


def test_columns_of_a_resumed_run_equal_those_of_one_never_stopped(tmp_path):
    """And stay as they are when the finished run is asked for once more. Seconds may differ."""
    def log(path):
        return [row[:3] + row[4:] for row in read_csv(path)]
    whole, path = tmp_path / "whole.pt", tmp_path / "stopped.pt"
    torch.manual_seed(0)
    fit(Watched(), batches, CONFIG, path=whole)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        fit(Watched(), interrupted_batches(14), CONFIG, path=path)
    assert log(path) == log(whole)[:2]
    for _ in range(2):
        fit(Watched(), batches, CONFIG, path=path)
        assert log(path) == log(whole) and len(log(path)) == 1 + 4


def test_a_model_without_watch_has_the_four_columns(tmp_path):
    fit(new_line(), batches, FitConfig(steps=10, batch=4), path=tmp_path / "line.pt")
    columns, row = read_csv(tmp_path / "line.pt")
    assert columns == ["step", "loss", "lr", "seconds"] and len(row) == 4


def test_the_progress_bar_shows_the_loss_and_what_the_model_says(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINIDALLE_QUIET", raising=False)
    fit(Watched(), batches, FitConfig(steps=10, batch=4), path=tmp_path / "watched.pt")
    assert re.search(r"loss=[0-9.]+, seen=10, third=3\.333", capsys.readouterr().err)


def test_a_row_with_a_generator_of_its_own_is_drawn_as_if_it_were_alone():
    """Normal and uniform numbers, and the levels of the other prior; number 0 has the seed's own
    generator, and no two numbers share one."""
    prior = ArPrior(ArPriorConfig(vocab=9, context=4, embed=16))
    many, alone = seeded_each(5, [3, 0, 70_000]), [[one] for one in seeded_each(5, [3, 0, 70_000])]
    cpu = torch.device("cpu")
    for draw in (lambda n, g: randn((n, 4, 4), cpu, g), lambda n, g: uniform(n, cpu, g),
                 lambda n, g: prior.better_half(n, g)):
        rows = draw(3, many)
        assert torch.equal(rows, torch.cat([draw(1, own) for own in alone]))
    assert torch.equal(randn((1, 16), cpu, seeded_each(5, [0])), randn((1, 16), cpu, seeded(5)))
    seeds = {one.initial_seed() for seed in (0, 1) for one in seeded_each(seed, range(1000))}
    assert len(seeds) == 2000


def test_the_seed_of_each_picture_by_hand():
    """Spread by Knuth's prime, 2654435761, beyond 2^32 from the start again; number 0 keeps it."""
    seeds = [one.initial_seed() for one in seeded_each(10, (0, 1, 2))]
    assert seeds == [10, 2654435771, 10 + 5308871522 - 4294967296]


def test_more_or_fewer_generators_than_rows_are_refused():
    for draw in (lambda g: randn((3, 4), torch.device("cpu"), g),
                 lambda g: uniform(3, torch.device("cpu"), g)):
        with pytest.raises(ValueError, match="for each generator has shape .2, "):
            draw(seeded_each(0, range(2)))


def test_learning_rate_by_hand():
    """Ten steps, two of warm-up: up to the peak in a line, then half a cosine to zero."""
    config = FitConfig(steps=10, lr=1.0, warmup=0.2)
    rates = [learning_rate(step, config) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5) and rates[10] == pytest.approx(0.0)
    assert rates[4] == pytest.approx(0.5 * (1 + 0.5 ** 0.5))


def test_average_equals_the_closed_sum_once_it_has_warmed_up():
    model, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(2.0)
    expected = 2.0
    for step, value in enumerate([1.0, -3.0, 0.5], start=1000):    # (1 + step) / (10 + step) > .9
        model.weight.data.fill_(value)
        train.update_average(average, model, step, decay=0.9)
        expected = 0.9 * expected + 0.1 * value
    assert average.weight.item() == pytest.approx(expected, rel=1e-6)


def test_average_forgets_the_first_random_weights_early_on():
    model, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(1e6)
    model.weight.data.fill_(1.0)
    for step in range(100):
        train.update_average(average, model, step, decay=0.999)
    assert average.weight.item() == pytest.approx(1.0, abs=1e-3)


def test_gradients_longer_than_clip_move_the_weights_no_further():
    """SGD with rate 1 from a gradient of length 50: the step has length `clip`."""
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = model(torch.tensor([[30.0, 40.0]])).sum()
    train.descend(loss, model, [optimizer], lr=1.0, clip=0.5)
    torch.testing.assert_close(model.weight, torch.tensor([[-0.3, -0.4]]))


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoilt():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(FloatingPointError, match="the loss is nan: lower the learning rate"):
        train.descend(model(torch.tensor([[float("nan")]])).sum(), model, [optimizer], 1.0, 1.0)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_step_that_fails_leaves_no_lock_and_no_signal_caught_though_its_traceback_lives(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(FloatingPointError) as caught:
        fit(new_line(), lambda n, g: (torch.full((n, 3), torch.nan), torch.zeros(n, 1)), CONFIG,
            path=tmp_path / "line.pt")
    assert signal.getsignal(signal.SIGINT) is before and caught.traceback
    assert not list(tmp_path.glob(".*"))


def test_a_device_or_budget_that_is_not_there_is_named_with_those_that_are(monkeypatch):
    with pytest.raises(ValueError, match="device 'tpu' is not there; this machine has .*cpu"):
        train.choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda' is not there"):
            train.choose_device("cuda")
    monkeypatch.setenv("MINIDALLE_BUDGET", "huge")
    with pytest.raises(ValueError, match="budget is 'huge'; choose one of smoke, cpu, gpu"):
        train.choose_budget()
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    assert train.choose_budget() == "smoke" and train.choose_budget("cpu") == "cpu"


def test_progress_is_silent_when_asked(monkeypatch, capsys):
    monkeypatch.setenv("MINIDALLE_QUIET", "1")
    fit(new_line(), batches, FitConfig(steps=3, batch=4))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stage", ["judge", "clip", "prior", "decoder", "upsampler"])
def test_bf16_trains_every_model_with_the_loss_of_float32(stage, tmp_path, monkeypatch, quick):
    """The same four steps, as if the units for bf16 were there: the losses agree to a tenth, though
    prior and decoder learn from a CLIP that was trained in bf16 too; the weights are others."""
    kept = []
    for name, flags in (("float32", set()), ("bf16", {"amx_bf16"})):
        monkeypatch.setattr(train, "_cpu_flags", lambda flags=flags: flags)
        workshop = Workshop(budget="smoke", folder=tmp_path / name, device="cpu", say=str)
        getattr(workshop, stage)()
        kept.append(read_checkpoint(workshop.path(stage)))
    losses = [state["log"][-1][1] for state in kept]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    pairs = zip(*(state["model"].values() for state in kept), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_a_model_that_came_in_eval_mode_trains_and_its_buffers_count_the_steps():
    """Batch norm counts its batches in train mode alone; the count arrives with the average."""
    trained = fit(new_line().eval(), batches, FitConfig(steps=7, batch=4))
    assert trained.net[1].num_batches_tracked == 7


def test_seconds_go_on_where_the_stopped_run_left_them(tmp_path):
    path = tmp_path / "line.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(new_line(), interrupted_batches(3), CONFIG, path=path)
    torch.save({**read_checkpoint(path), "seconds": 5000.0}, path)
    fit(new_line(), batches, CONFIG, path=path)
    assert 5000 < read_checkpoint(path)["seconds"] < 5100


@pytest.mark.parametrize("steps", [39, 41, 400])
def test_a_finished_run_is_not_trained_for_more_or_fewer_steps_and_says_so(tmp_path, steps):
    """It keeps nothing to go on with; before, more steps began anew beside the loaded average."""
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path)
    kept = path.read_bytes()
    with pytest.raises(ValueError, match=f"was trained for 40 steps and this run has {steps}"):
        fit(new_line(), batches, FitConfig(steps, 16, 1e-2, decay=0.9), path=path)
    assert path.read_bytes() == kept


def test_saving_now_and_then_changes_no_bit_and_a_kill_loses_only_what_came_after(
        tmp_path, monkeypatch):
    """After every step; killed at step 23, where nothing more is written."""
    whole, path = fit(new_line(), batches, CONFIG, path=tmp_path / "whole.pt"), tmp_path / "line.pt"
    monkeypatch.setattr(train, "SAVE_EVERY", 0)
    count, saved = iter(range(100)), []

    def killed(n, generator):
        if path.exists():
            saved.append(read_checkpoint(path)["step"])
        if next(count) == 23:
            raise SystemError("power is gone")
        return batches(n, generator)
    with pytest.raises(SystemError):
        fit(new_line(), killed, CONFIG, path=path)
    assert saved == list(range(1, 24)) and not read_checkpoint(path)["finished"]
    assert same(whole, fit(new_line(seed=5), batches, CONFIG, path=path))
    assert same(whole, fit(new_line(), batches, CONFIG))       # without a path nothing is saved


def test_a_short_run_saves_itself_only_at_its_end(tmp_path, monkeypatch):
    saved, save = [], train.save_state
    monkeypatch.setattr(train, "save_state", lambda path, state, keep=True: saved.append(
        (state["step"], keep)) or save(path, state, keep))
    fit(new_line(), batches, CONFIG, path=tmp_path / "line.pt")
    assert saved == [(0, False), (40, True)]                   # the first one only tries


def test_what_cannot_be_kept_is_found_out_before_the_training(tmp_path, monkeypatch):
    def full(state, file):
        raise RuntimeError("no space left")

    def none(n, generator):
        raise AssertionError("trained")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="line.pt cannot be written .no space left"):
        fit(new_line(), none, CONFIG, path=tmp_path / "line.pt")
    assert not list(tmp_path.iterdir())
    (tmp_path / "line.pt").mkdir()
    with pytest.raises(ValueError, match="line.pt is no file"):
        fit(new_line(), none, CONFIG, path=tmp_path / "line.pt")


def test_a_run_of_a_gpu_goes_on_here_with_other_random_numbers_and_a_note(tmp_path):
    """The state of a GPU's generator has 16 bytes, that of a CPU's 5,056."""
    path = tmp_path / "line.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(new_line(), interrupted_batches(9), CONFIG, path=path)
    state = read_checkpoint(path)
    del state["sha256"]
    state["resume"]["generator"] = torch.zeros(16, dtype=torch.uint8)
    torch.save(state, path)
    with pytest.warns(UserWarning, match="begun on another kind of device, so from step 10 on"):
        assert fit(new_line(), batches, CONFIG, path=path).training is False
    assert read_checkpoint(path)["step"] == 40 and read_checkpoint(path)["finished"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_to_end_stops_between_steps_and_a_second_one_is_obeyed(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), train.stop_between_steps() as stopped:
        signal.raise_signal(number)
        assert stopped.is_set()
        signal.raise_signal(number)
        raise AssertionError("the second one was swallowed")
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_as_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with train.stop_between_steps() as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert not stopped.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


class Notebook(io.StringIO):
    """A stream as a notebook has it."""
    __module__ = "ipykernel.iostream"


def test_in_a_notebook_the_bar_stands_in_stdout_and_in_a_terminal_in_stderr(monkeypatch, capsys):
    monkeypatch.delenv("MINIDALLE_QUIET", raising=False)
    fit(new_line(), batches, FitConfig(steps=3, batch=4))
    assert "Line: 100%" in capsys.readouterr().err
    out, err = Notebook(), Notebook()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    fit(new_line(), batches, FitConfig(steps=3, batch=4))
    assert "Line: 100%" in out.getvalue() and err.getvalue() == ""


@pytest.mark.parametrize("stream", [None, "full", "closed"])
def test_a_stream_that_is_not_there_full_or_closed_ends_no_training(tmp_path, monkeypatch, stream):
    monkeypatch.delenv("MINIDALLE_QUIET", raising=False)
    file = stream and open("/dev/full" if stream == "full" else tmp_path / "x", "w")
    if stream == "closed":
        file.close()
    monkeypatch.setattr(sys, "stderr", file)
    fit(new_line(), batches, CONFIG, path=tmp_path / "line.pt")
    assert read_checkpoint(tmp_path / "line.pt")["finished"]
    if file:
        file.close()                                           # the last flush fails no more


@pytest.mark.parametrize("kind, flags, capability, expected", [
    ("cpu", {"avx512_bf16"}, None, torch.bfloat16), ("cpu", {"amx_bf16"}, None, torch.bfloat16),
    ("cpu", {"avx512f", "avx2"}, None, None), ("cpu", set(), (9, 0), None),
    ("cuda", set(), (8, 0), torch.bfloat16), ("cuda", set(), (9, 0), torch.bfloat16),
    ("cuda", {"amx_bf16"}, (7, 5), None), ("mps", {"amx_bf16"}, None, None)])
def test_bf16_is_taken_only_where_units_for_it_are(
        monkeypatch, kind, flags, capability, expected):
    """With pretended devices; the T4 (7.5) only emulates it, though torch says that it has it."""
    monkeypatch.setattr(train, "_cpu_flags", lambda: flags)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args: True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                        # no GPU is here
        made = train.autocast(torch.device(kind))
    assert getattr(made, "fast_dtype", None) == expected
    assert getattr(made, "device", kind) == kind


def test_a_second_ctrl_c_is_obeyed_at_once():
    with pytest.raises(KeyboardInterrupt), train.stop_between_steps() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped.is_set()
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one was swallowed")
