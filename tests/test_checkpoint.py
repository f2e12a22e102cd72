"""Checkpoints: whole or not at all, refused by the setting that differs, read without running."""
import csv
import os

import pytest
import torch
from torch import nn

from minidalle.checkpoint import fingerprint, load, read_checkpoint, write
from minidalle.train import FitConfig, fit

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
    torch.save({"format": 1, "settings": {}, "model": Evil()}, tmp_path / "evil.pt")
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
    torch.save({"format": 1, "settings": kept}, tmp_path / "line.pt")
    with pytest.raises(ValueError, match="made with seed = .*, and this run has seed = "):
        read_checkpoint(tmp_path / "line.pt", asked)


def test_an_unfinished_checkpoint_is_not_loaded_and_a_finished_one_is_ready_for_use(tmp_path):
    path, model = tmp_path / "line.pt", new_line()
    state = {"format": 1, "settings": {}, "model": new_line(1).state_dict()}
    before = fingerprint(model)
    torch.save({**state, "finished": False}, path)
    assert load(model, path, {}) is None and fingerprint(model) == before
    torch.save({**state, "finished": True}, path)
    assert load(model, path, {}) and fingerprint(model) != before and not model.training


def test_a_full_disk_that_torch_reports_as_a_runtime_error_leaves_the_old_file(tmp_path):
    (tmp_path / "x.pt").write_text("old")

    def fails(temporary):
        raise RuntimeError("unexpected pos")
    with pytest.raises(OSError, match="x.pt cannot be written .unexpected pos."):
        write(tmp_path / "x.pt", fails)
    assert (tmp_path / "x.pt").read_text() == "old"
