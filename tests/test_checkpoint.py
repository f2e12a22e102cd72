"""Checkpoints: whole or not at all, refused by the setting that differs, read without running."""
import csv
import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from minidalle.checkpoint import (
    FORMAT,
    RESUME,
    alone,
    draw_curve,
    fingerprint,
    load,
    plain,
    read_checkpoint,
    save_state,
    write,
)
from minidalle.train import FitConfig, fit

ROOT = str(Path(__file__).parents[1])
CONFIG = FitConfig(steps=40, batch=16, lr=1e-2, decay=0.9)


class Line(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))

    def loss(self, batch, generator=None):
        return (self.net(batch).sum(dim=1) - batch.sum(dim=1)).square().mean()


def new_line(seed=0, width=8):
    torch.manual_seed(seed)
    return Line(width)


def whole(**changes) -> dict:
    """The least that is a checkpoint, but for the changes; a change to None leaves that out."""
    state = {"format": FORMAT, "settings": {}, "step": 0, "log": [], "seconds": 0.0,
             "finished": True, "model": new_line(1).state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


def batches(n, generator):
    return torch.randn(n, 3, generator=generator)


def test_a_loaded_model_equals_the_one_that_was_saved_entry_by_entry(tmp_path):
    path = tmp_path / "line.pt"
    trained, loaded = fit(new_line(), batches, CONFIG, path=path), new_line(seed=1)
    load(loaded, path, {})
    pairs = zip(trained.state_dict().values(), loaded.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert load(loaded, tmp_path / "none.pt", {}) is None


def test_weights_of_another_shape_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path)
    with pytest.raises(ValueError, match="line.pt holds a model of another shape.*--fresh"):
        load(new_line(width=9), path, {})


def test_beside_the_checkpoint_lie_a_log_with_every_tenth_step_and_a_picture(tmp_path):
    fit(new_line(), batches, CONFIG, path=tmp_path / "line.pt")
    rows = list(csv.reader(open(tmp_path / "line.csv")))
    assert rows[0] == ["step", "loss", "lr", "seconds"]
    assert [int(row[0]) for row in rows[1:]] == [10, 20, 30, 40]
    assert (tmp_path / "line.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["line.csv", "line.png", "line.pt"]


def test_a_checkpoint_of_another_setting_is_refused_by_that_setting_and_kept(tmp_path):
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path, settings={"width": 8, "seed": 0})
    kept = path.read_bytes()
    with pytest.raises(ValueError, match="made with width = 8, and this run has width = 9"):
        fit(new_line(), batches, CONFIG, path=path, settings={"width": 9, "seed": 0})
    assert path.read_bytes() == kept


@pytest.mark.parametrize("spoil", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"hello"])
def test_a_truncated_or_foreign_checkpoint_is_refused_in_one_sentence(tmp_path, spoil):
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match="line.pt is not a whole checkpoint.*--fresh"):
        fit(new_line(), batches, CONFIG, path=path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)
    torch.save({"format": FORMAT, "settings": {}, "model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "evil").exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_scraps(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError("disk full")
    with pytest.raises(OSError, match="notes.txt cannot be written .disk full.; choose another"):
        write(path, fails)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        write(tmp_path / "file" / "x.txt", lambda temporary: temporary.write_text("x"))


def test_fingerprint_changes_with_any_one_weight():
    a, b = new_line(), new_line()
    assert fingerprint(a) == fingerprint(b)
    with torch.no_grad():
        b.net[2].bias += 1e-6
    assert fingerprint(a) != fingerprint(b)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path)
    torch.save({**read_checkpoint(path), "format": 0}, path)
    with pytest.raises(ValueError, match="not a whole checkpoint of this version"):
        read_checkpoint(path)


@pytest.mark.parametrize("kept, asked", [({}, {"seed": 1}), ({"seed": 1}, {})])
def test_a_setting_that_only_one_side_names_is_a_difference(tmp_path, kept, asked):
    torch.save(whole(settings=kept), tmp_path / "line.pt")
    with pytest.raises(ValueError, match="made with seed = .*, and this run has seed = "):
        read_checkpoint(tmp_path / "line.pt", asked)


def test_an_unfinished_checkpoint_is_not_loaded_and_a_finished_one_is_ready_for_use(tmp_path):
    path, model = tmp_path / "line.pt", new_line()
    before = fingerprint(model)
    torch.save(whole(finished=False, resume=dict.fromkeys(RESUME, {})), path)
    assert load(model, path, {}) is None and fingerprint(model) == before
    torch.save(whole(), path)
    assert load(model, path, {}) and fingerprint(model) != before and not model.training


def test_a_full_disk_that_torch_reports_as_a_runtime_error_leaves_the_old_file(tmp_path):
    (tmp_path / "x.pt").write_text("old")

    def fails(temporary):
        raise RuntimeError("unexpected pos")
    with pytest.raises(OSError, match="x.pt cannot be written .unexpected pos."):
        write(tmp_path / "x.pt", fails)
    assert (tmp_path / "x.pt").read_text() == "old"


# ---- damaged, wrong, or not to be read ------------------------------------------------------

def test_every_flipped_bit_of_the_weights_is_told_as_damage(tmp_path):
    """The bytes of the weights as they lie in the file, a bit of each tensor flipped in turn."""
    path = tmp_path / "line.pt"
    trained = fit(new_line(), batches, CONFIG, path=path)
    kept = path.read_bytes()
    for value in trained.state_dict().values():
        place = kept.index(value.numpy().tobytes())
        path.write_bytes(kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1:])
        with pytest.raises(ValueError, match="line.pt is damaged: .* --fresh"):
            load(new_line(), path, {})


@pytest.mark.parametrize("changes, wrong", [
    ({"finished": None}, "its finished is missing"), ({"model": None}, "its model is missing"),
    ({"seconds": None}, "its seconds is missing"), ({"settings": [1]}, "its settings is"),
    ({"step": "7"}, "its step is"), ({"log": {}}, "its log is"), ({"log": [[1, 2.0]]}, "its log"),
    ({"log": [["a", 1, 1, 1]]}, "its log is wrong"), ({"model": {"w": 1}}, "its model is wrong"),
    ({"finished": False}, "it is unfinished and holds nothing to go on with"),
    ({"finished": False, "resume": {"model": {}}}, "it is unfinished and holds nothing"),
    ({"finished": False, "resume": 3}, "it is unfinished and holds nothing"),
    ({"format": 99}, "its format is 99")])
def test_a_file_that_is_whole_and_yet_no_checkpoint_is_refused_by_what_is_wrong(
        tmp_path, changes, wrong):
    torch.save(whole(), tmp_path / "x.pt")
    assert read_checkpoint(tmp_path / "x.pt")["finished"]
    torch.save(whole(**changes), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x.pt is not a whole checkpoint .*\({wrong}.*--fresh"):
        read_checkpoint(tmp_path / "x.pt")
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="it holds no table"):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("spoil", [torch.Tensor.half, lambda x: x.to(torch.complex64),
                                   lambda x: x * float("nan")])
def test_weights_of_another_kind_or_not_finite_are_not_laid_into_a_model(tmp_path, spoil):
    """Without the sum over them, as in a checkpoint of before."""
    state, model = whole(), new_line()
    state["model"] = {name: spoil(value) for name, value in state["model"].items()}
    torch.save(state, tmp_path / "x.pt")
    before = fingerprint(model)
    with pytest.raises(ValueError, match="not a whole checkpoint .*net.0.weight is"):
        load(model, tmp_path / "x.pt", {})
    assert fingerprint(model) == before


def test_what_may_not_be_read_is_not_told_to_be_deleted(tmp_path, monkeypatch):
    def forbidden(*args, **options):
        raise PermissionError(13, "Permission denied")
    torch.save(whole(), tmp_path / "x.pt")
    monkeypatch.setattr(torch, "load", forbidden)
    with pytest.raises(ValueError, match="may not be read .Permission denied.; give yourself") as e:
        read_checkpoint(tmp_path / "x.pt")
    assert "delete" not in str(e.value)


def test_a_folder_or_a_pipe_in_a_checkpoints_place_is_told_and_hangs_nothing(tmp_path):
    (tmp_path / "x.pt").mkdir()
    os.mkfifo(tmp_path / "y.pt")
    for name in "xy":
        with pytest.raises(ValueError, match=f"{name}.pt is no file"):
            read_checkpoint(tmp_path / f"{name}.pt")


# ---- what is written can be read ------------------------------------------------------------

def test_numbers_of_numpy_and_paths_become_plain_by_hand():
    given = {"a": np.float32(0.5), "b": np.int64(3), "c": PurePosixPath("x/y"), "d": np.bool_(True),
             "e": (1, [np.float64(2.0), "t"], None), "f": torch.tensor(7), "g": np.str_("word")}
    made = plain(given, "settings")
    assert made == {"a": 0.5, "b": 3, "c": "x/y", "d": True, "e": (1, [2.0, "t"], None), "f": 7,
                    "g": "word"}
    assert [type(made[name]) for name in "abcdfg"] == [float, int, str, bool, int, str]
    for value in (np.zeros(2), object(), {1, 2}, torch.zeros(2), 1j):
        with pytest.raises(ValueError, match="(?s)settings.'x'. is .* keeps only numbers, texts"):
            plain({"x": value}, "settings")


def test_a_run_with_numbers_of_numpy_is_read_again_and_what_cannot_be_is_refused_before_training(
        tmp_path):
    config = FitConfig(steps=np.int64(12), batch=4, lr=np.float64(1e-3), decay=np.float32(0.9))
    settings = {"width": np.int32(8), "from": Path("a/b")}
    path = tmp_path / "line.pt"
    fit(new_line(), batches, config, np.int64(0), path, settings)
    assert read_checkpoint(path, settings)["settings"] == {"width": 8, "from": "a/b"}

    def none(n, generator):
        raise AssertionError("trained")
    with pytest.raises(ValueError, match="settings.'what'. is "):
        fit(new_line(), none, CONFIG, path=tmp_path / "new.pt", settings={"what": object()})
    assert not (tmp_path / "new.pt").exists()


def test_a_checkpoint_that_cannot_be_read_back_never_replaces_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    save_state(path, whole(step=1))
    kept, save = path.read_bytes(), torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, file)
                        or file.write_bytes(file.read_bytes()[:-100]))
    with pytest.raises(OSError, match="x.pt cannot be written .what was written cannot be read"):
        save_state(path, whole(step=2))
    assert path.read_bytes() == kept and list(tmp_path.iterdir()) == [path]


def test_log_and_curve_that_are_missing_or_older_are_written_again_on_load(tmp_path):
    """As after a kill between the checkpoint and them; from the log in the checkpoint."""
    path = tmp_path / "line.pt"
    fit(new_line(), batches, CONFIG, path=path)
    table, curve = path.with_suffix(".csv"), path.with_suffix(".png")
    kept = table.read_bytes()
    table.unlink()
    curve.unlink()
    load(new_line(), path, {})
    assert table.read_bytes() == kept and curve.read_bytes()[:4] == b"\x89PNG"
    table.write_text("of a shorter run")
    os.utime(table, (0, 0))
    load(new_line(), path, {})
    assert table.read_bytes() == kept


def test_a_curve_that_cannot_be_drawn_is_a_note_and_the_model_is_safe(tmp_path, monkeypatch):
    def fails(self, *args, **options):
        raise RuntimeError("no font")
    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.warns(UserWarning, match="line.png was not written .*no font.*the model is safe"):
        fit(new_line(), batches, CONFIG, path=tmp_path / "line.pt")
    assert read_checkpoint(tmp_path / "line.pt")["finished"]


# ---- several writers ------------------------------------------------------------------------

def test_two_writers_of_one_file_have_a_name_each(tmp_path):
    """The second one writes while the first one is at it; the last to finish wins, nobody fails."""
    path, names = tmp_path / "x.txt", []

    def first(temporary):
        names.append(temporary)
        temporary.write_text("first")
        write(path, second)
        assert path.read_text() == "second"

    def second(temporary):
        names.append(temporary)
        temporary.write_text("second")
    write(path, first)
    assert path.read_text() == "first" and len(set(names)) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_half_files_of_killed_writers_go_and_those_of_living_ones_and_others_stay(tmp_path):
    old, young = tmp_path / ".x.1a2b.part.png", tmp_path / ".x.3c4d.part.png"
    before, other = tmp_path / ".x.part.png", tmp_path / ".x.y.1a2b.part.png"
    for file in (old, young, before, other):
        file.write_text("half")
    for file in (old, before, other):
        os.utime(file, (time.time() - 7200,) * 2)
    write(tmp_path / "x.png", lambda temporary: temporary.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == sorted([young, other, tmp_path / "x.png"])


def test_a_training_takes_away_what_a_killed_one_left_at_once(tmp_path):
    (tmp_path / ".line.1a2b.part.pt").write_text("half")
    fit(new_line(), batches, CONFIG, path=tmp_path / "line.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["line.csv", "line.png", "line.pt"]


def test_a_second_process_is_told_who_trains_and_may_go_on_when_that_one_is_gone(tmp_path):
    path = tmp_path / "line.pt"
    text = ("import sys, time\nfrom pathlib import Path\nfrom minidalle.checkpoint import alone\n"
            f"with alone(Path({str(path)!r})):\n    print('here', flush=True)\n    time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": ROOT}) as other:
        assert other.stdout.readline() == "here\n"
        with pytest.raises(ValueError, match=f"another process .{other.pid}. is training .*line"):
            fit(new_line(), batches, CONFIG, path=path)
        other.kill()
    fit(new_line(), batches, CONFIG, path=path)
    with alone(path), pytest.raises(ValueError, match="is training"), alone(path):
        raise AssertionError("two at once")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["line.csv", "line.png", "line.pt"]


# ---- the picture of the loss ----------------------------------------------------------------

@pytest.fixture
def figures(monkeypatch) -> list:
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: drawn.append(self)
                        or save(self, *args, **options))
    return drawn


@pytest.mark.parametrize("number, width", [(3, 1), (20, 1), (40, 2), (100, 5)])
def test_the_curve_shows_every_loss_and_its_mean_over_a_twentieth_of_the_run(
        tmp_path, figures, number, width):
    """Both lines, point by point; the mean with so many losses before each, counted in a loop."""
    losses = [(7 * i % 11) + 1.0 for i in range(number)]
    draw_curve(tmp_path / "x.png", [[10 * i, loss, 1e-3, 0.1] for i, loss in enumerate(losses)])
    [axes] = figures[0].axes
    raw, smooth = axes.lines
    means = []
    for i in range(number):
        before = [losses[j] for j in range(number) if i - width <= j <= i]
        means.append(sum(before) / len(before))
    for line in (raw, smooth):
        assert list(line.get_xdata()) == [10 * i for i in range(number)]
    assert list(raw.get_ydata()) == losses and list(smooth.get_ydata()) == pytest.approx(means)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("step", "loss", "log")
    assert axes.get_title() == f"x: the running mean ends at {means[-1]:.4g}"
    assert [text.get_text() for text in axes.get_legend().texts] == ["one batch", "running mean"]
    assert tuple(figures[0].get_size_inches()) == (6, 3.2)


def test_a_loss_that_falls_to_zero_is_shown_on_a_plain_axis(tmp_path, figures):
    draw_curve(tmp_path / "x.png", [[0, 1.0, 1, 1], [1, 0.0, 1, 1]])
    assert figures[0].axes[0].get_yscale() == "linear"
    draw_curve(tmp_path / "none.png", [])
    assert len(figures) == 1 and not (tmp_path / "none.png").exists()


def test_a_users_settings_of_matplotlib_change_nothing(tmp_path):
    log = [[i, 1.0 + i, 1e-3, 0.1] for i in range(5)]
    draw_curve(tmp_path / "a.png", log)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "font.size": 30,
                                "savefig.dpi": 7}):
        draw_curve(tmp_path / "b" / "a.png", log)
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b" / "a.png").read_bytes()


def test_a_file_is_written_into_folders_that_are_not_there_yet(tmp_path):
    path = tmp_path / "one" / "two" / "text.txt"
    write(path, lambda temporary: temporary.write_text("whole"))
    assert path.read_text() == "whole" and [file.name for file in path.parent.iterdir()] == [
        "text.txt"]
