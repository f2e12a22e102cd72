"""The speedrun: trained from nothing, timed whole, and called a record by the rules alone."""
import json
import subprocess
from pathlib import Path

import pytest
import torch

from minidalle.checkpoint import read_checkpoint
from minidalle.course.commands import main
from minidalle.workshop import demo, recipes, speedrun
from minidalle.workshop.recipes import ROADS, Workshop
from minidalle.workshop.speedrun import clock, missed, rounded, summary, verdict

pytestmark = pytest.mark.usefixtures("quick")


def line(seed: int = 0, **changed) -> dict:
    """The line of a good seed: every bar is just reached."""
    return {"data": "drawn", "model": "unclip", "seed": seed, "budget": "cpu", "samples": 1000,
            "test": {"digit": 1.0, "all": 0.99}, "unseen": {"digit": 1.0, "all": 0.98},
            "fid": 3.0, "fid_floor": 2.0, "recall": 0.9, "recall_floor": 0.96, "diversity": 4.0,
            "seconds": {"clip": 50.0, "total": 300.0 + seed, "road": 200.0}, "machine": "two cores",
            "parameters": {"clip": 1000, "prior": 500}, "peak_memory_bytes": 10 ** 9 + seed,
            "torch": "2", "commit": "abc", **changed}


THREE = [line(0), line(1), line(2)]


# ---- a run ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def said(tmp_path_factory) -> tuple[list[dict], str, set, list]:
    """Two seeds of the shorter road at the smoke budget: the lines, stderr, which stages were
    trained for them, and what was left in the folder where it was called."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    here, out, err, trained = tmp_path_factory.mktemp("here"), StringIO(), StringIO(), []
    fit = recipes.fit
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(here)
        patch.setattr(recipes, "fit", lambda *args: trained.append((args[3], args[4]))
                      or fit(*args))
        assert main(["speedrun", "--model", "dalle", "--seeds", "2", "--budget", "smoke",
                     "--device", "cpu", "--out", str(here / "r.jsonl"), "--note", "a try"]) == 0
    kept = [json.loads(text) for text in (here / "r.jsonl").read_text().splitlines()]
    (here / "r.jsonl").unlink()
    lines = [json.loads(text) for text in out.getvalue().splitlines()]
    assert kept[0]["runs"] == lines[:2] and kept[0]["note"] == "a try" and len(kept) == 1
    assert {name: kept[0][name] for name in lines[2]} == lines[2]
    return lines, err.getvalue(), trained, list(here.iterdir())


def test_every_stage_is_trained_anew_for_each_seed_in_a_folder_that_is_gone(said):
    lines, _, trained, left = said
    stages = ["judge", "clip", "dvae", "dalle"]
    assert [(seed, path.stem) for seed, path in trained] == \
        [(seed, stage) for seed in (0, 1) for stage in stages]
    assert not any(path.exists() or path.parent.exists() for _, path in trained) and left == []
    assert [one.get("seed") for one in lines] == [0, 1, None]


def test_a_line_has_what_was_agreed_and_counts_all_seconds(said):
    for one in said[0][:2]:
        assert {"test", "unseen", "fid", "fid_floor", "recall", "recall_floor", "parameters",
                "peak_memory_bytes", "machine", "torch", "commit"} <= one.keys()
        stages = ["judge", "clip", "dvae", "dalle"]
        seconds = one["seconds"]
        assert list(seconds) == [*stages, "rest", "total", "road"]
        assert seconds["total"] == pytest.approx(
            sum(seconds[name] for name in (*stages, "rest")), abs=0.31)
        assert one["steps"] == dict.fromkeys(stages, 4) and list(one["parameters"]) == stages
        assert one["torch"] == torch.__version__


def test_a_line_is_the_score_of_that_road_and_seed(said, tmp_path):
    """Trained again by hand, in a folder of one's own."""
    shop = Workshop("drawn", 1, "smoke", tmp_path, "cpu", say=lambda line: None)
    alone, one = rounded(demo.score(shop, "dalle")), said[0][1]
    for name in ("test", "unseen", "judge", "parameters", "fid", "fid_floor", "recall"):
        assert one[name] == alone[name], name
    assert read_checkpoint(shop.path("dalle"))["step"] == one["steps"]["dalle"]


def test_a_smoke_run_is_no_record_and_says_so_in_a_sentence(said):
    lines, err, *_ = said
    assert lines[2]["record"] is False and lines[2]["seeds"] == [0, 1]
    assert {"2 of 3 seeds", "the smoke budget learns nothing"} <= set(lines[2]["missed"])
    assert "no record: 2 of 3 seeds; the smoke budget" in err


def test_the_clock_by_hand():
    assert clock({"judge": 10.04, "clip": 20.0, "dalle": 30.0}, 65.0) == {
        "judge": 10.0, "clip": 20.0, "dalle": 30.0, "rest": 5.0, "total": 65.0, "road": 35.0}


def test_the_commit_is_that_of_git_and_none_without_it(monkeypatch):
    name = speedrun.commit()
    head = subprocess.run(["git", "-C", speedrun.__file__.rsplit("/", 1)[0], "rev-parse", "HEAD"],
                          capture_output=True, text=True)
    assert name is None if head.returncode else head.stdout.startswith(name.rstrip("+"))
    monkeypatch.setenv("PATH", "")
    assert speedrun.commit() is None


# ---- the rules ------------------------------------------------------------------------------

def test_three_seeds_that_just_reach_every_bar_are_a_record():
    assert missed(THREE) == [] and summary(THREE)["record"] is True
    assert verdict(summary(THREE)).endswith("302 s: a record by the rules")


@pytest.mark.parametrize("changed, sentence", [
    ({"test": {"all": 0.989}}, "seed 2: test 0.989 < 0.99"),
    ({"unseen": {"all": 0.979}}, "seed 2: unseen 0.979 < 0.98"),
    ({"fid": 3.02}, "seed 2: FID 1.51 x floor > 1.5"),
    ({"fid": float("nan")}, "seed 2: FID nan x floor > 1.5")])
def test_one_seed_that_misses_one_bar_spoils_the_record_and_is_named(changed, sentence):
    lines = [*THREE[:2], line(2, **changed)]
    assert missed(lines) == [sentence] and not summary(lines)["record"]
    assert verdict(summary(lines)).endswith(f"no record: {sentence}")


def test_two_seeds_the_smoke_budget_and_a_world_without_unseen_are_no_record():
    assert missed(THREE[:2]) == ["2 of 3 seeds"]
    assert missed([line(i, budget="smoke") for i in range(3)]) \
        == ["the smoke budget learns nothing"]
    photos = [{name: value for name, value in line(i, data="cifar10").items() if name != "unseen"}
              for i in range(3)]
    assert missed(photos) == ["cifar10 has no unseen combinations"]
    assert "unseen" not in summary(photos)["worst"]


def test_worst_and_mean_by_hand():
    lines = [line(0), line(1, test={"all": 1.0}, recall=0.6), line(2, fid=2.0, diversity=1.0)]
    result = summary(lines)
    assert result["worst"] == {"test": 0.99, "unseen": 0.98, "fid": 3.0, "fid_over_floor": 1.5,
                               "recall": 0.6, "diversity": 1.0, "seconds": 302.0}
    assert result["mean"] == {"test": 0.9933, "unseen": 0.98, "fid": 2.6667,
                              "fid_over_floor": 1.3333, "recall": 0.8, "diversity": 3.0,
                              "seconds": 301.0}
    assert result["parameters"] == 1500 and result["peak_memory_bytes"] == 10 ** 9 + 2


# ---- the file of records --------------------------------------------------------------------

def test_a_record_is_added_at_the_end_and_what_stood_there_stays(tmp_path):
    file = tmp_path / "records.jsonl"
    file.write_text('{"note": "older"}\n')
    speedrun.keep(file, summary(THREE), THREE, "fewer steps")
    first, second = map(json.loads, file.read_text().splitlines())
    assert first == {"note": "older"} and second["note"] == "fewer steps" and second["record"]
    assert second["runs"] == THREE


def test_what_the_file_of_records_says_of_its_runs_follows_from_them():
    """The rules and the means, applied again to the lines that were kept."""
    file = Path(__file__).parents[2] / "bench" / "records.jsonl"
    for text in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(text)
        again = summary(entry["runs"])
        assert {name: entry[name] for name in again} == again and entry["note"].strip()


@pytest.mark.parametrize("words, message", [
    (["--out", "x.json", "--note", "a"], "ends in .jsonl"),
    (["--out", "x.jsonl"], "needs a sentence"), (["--out", "x.jsonl", "--note", " "], "sentence"),
    (["--out", "folder/x.jsonl", "--note", "a"], "cannot be written")])
def test_a_record_that_could_not_be_kept_is_told_before_any_training(
        tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(recipes, "fit", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").write_text("in the way")
    assert main(["speedrun", "--budget", "smoke", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minidalle: ") and error.count("\n") == 1 and message in error


def test_ctrl_c_says_how_far_it_came_and_keeps_nothing(tmp_path, monkeypatch, capsys):
    def stop(*args):
        yield line(0)
        raise KeyboardInterrupt
    monkeypatch.setattr(speedrun, "speedrun", stop)
    out = tmp_path / "x.jsonl"
    assert main(["speedrun", "--out", str(out), "--note", "a"]) == 130
    assert "stopped; 1 of 3 seeds were run" in capsys.readouterr().err and not out.exists()


def test_the_road_the_world_and_three_seeds_are_those_that_were_asked_for(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(speedrun, "speedrun", lambda model, data, seeds, budget, device, say:
                        asked.append((model, data, list(seeds), budget, device)) or iter(THREE))
    assert main(["speedrun"]) == 0
    assert main(["speedrun", "--model", "dalle", "--data", "mnist", "--seeds", "1", "--budget",
                 "gpu", "--device", "cpu"]) == 0
    assert asked == [(next(iter(ROADS)), "drawn", [0, 1, 2], None, None),
                     ("dalle", "mnist", [0], "gpu", "cpu")]
