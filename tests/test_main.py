"""The command line as a person meets it: what it writes, what it says, how it ends."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from PIL import Image

from minidalle import data, download, recipes
from minidalle.__main__ import folder_and_picture, main
from minidalle.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("quick")

COMMANDS = ("demo", "train", "draw", "score")
STAGES = ("judge", "clip", "prior", "decoder", "upsampler")
SEVEN = "a red seven on blue"


def call(command: str, *words, out: Path, **options) -> int:
    """main() at the smoke budget, on the CPU: the exit code."""
    more = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return main([command, *map(str, words), "--budget", "smoke", "--device", "cpu",
                 "--out", str(out), *more])


def shell(*words, **environment) -> subprocess.CompletedProcess:
    """python -m minidalle, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "minidalle", *map(str, words)], timeout=120,
                          capture_output=True, encoding="utf-8", env={**ENVIRONMENT, **environment})


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent),
               "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def runs(smoke, tmp_path) -> Path:
    """A copy of what the small demo trained, to spoil at will."""
    shutil.copytree(smoke.models, tmp_path / "runs" / smoke.models.name)
    return tmp_path / "runs"


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args):
        raise AssertionError("a training was started")
    monkeypatch.setattr(recipes, "fit", fit)


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The stages that are trained from here on."""
    names, fit = [], recipes.fit

    def noting(model, batch, config, seed, path, settings):
        names.append(path.stem)
        return fit(model, batch, config, seed, path, settings)
    monkeypatch.setattr(recipes, "fit", noting)
    return names


def same_weights(a: Path, b: Path) -> bool:
    a, b = read_checkpoint(a)["model"], read_checkpoint(b)["model"]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def says_one_sentence(error: str) -> bool:
    """One line that begins with our name; no traceback."""
    return bool(re.fullmatch(r"minidalle: [^\n]+\n", error))


# ---- demo -----------------------------------------------------------------------------------

def test_demo_writes_a_large_picture_that_opens(smoke):
    assert smoke.code == 0
    with Image.open(smoke.folder / "demo.png") as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) >= 900


def test_demo_json_has_the_agreed_keys(smoke):
    result = json.loads((smoke.folder / "demo.json").read_text())
    agreed = {"data", "seed", "samples", "test", "unseen", "fid", "fid_floor", "seconds",
              "peak_memory_bytes", "machine"}
    assert agreed <= result.keys()
    assert set(result["test"]) == set(result["unseen"]) == {"digit", "ink", "paper", "all"}
    assert list(result["seconds"]) == [*STAGES, "score", "figure", "total"]
    assert result["data"] == "drawn" and result["seed"] == 0
    assert all(0 <= share <= 1 for split in ("test", "unseen") for share in result[split].values())


def test_demo_says_each_stage_in_its_order_and_prints_the_table_of_demo_json(smoke):
    lines, result = smoke.out.splitlines(), json.loads((smoke.folder / "demo.json").read_text())
    assert [line.split(":")[0] for line in lines[:6]] == [*STAGES, "score"]
    assert all("training 4 steps" in line for line in lines[:5])
    for label, split in (("test captions", "test"), ("unseen combinations", "unseen")):
        row = next(line for line in lines if line.startswith(label))
        assert row.removeprefix(label).split() == [f"{v:.3f}" for v in result[split].values()]
    assert f"FID {result['fid']:.3f} (floor {result['fid_floor']:.3f})" in smoke.out
    assert smoke.out.endswith(f"picture: {smoke.folder / 'demo.png'}\n"
                              f"figures: {smoke.folder / 'demo.json'}\n")


def test_a_second_demo_loads_every_model_says_so_and_measures_the_same(
        smoke, runs, no_training, capsys):
    assert call("demo", out=runs) == 0
    said = capsys.readouterr().out
    for stage in STAGES:
        assert f"{stage}: loaded from {runs / 'drawn-smoke-0' / stage}.pt" in said
    first, second = (json.loads((folder / "demo.json").read_text())
                     for folder in (smoke.folder, runs))
    changing = {"seconds", "peak_memory_bytes"}
    assert {k: v for k, v in first.items() if k not in changing} \
        == {k: v for k, v in second.items() if k not in changing}
    assert (runs / "demo.png").read_bytes() == (smoke.folder / "demo.png").read_bytes()


def test_fresh_trains_anew_what_would_have_been_loaded(runs, trained):
    assert call("train", "clip", out=runs) == 0 and trained == []
    assert main(["train", "clip", "--budget", "smoke", "--device", "cpu", "--out", str(runs),
                 "--fresh"]) == 0 and trained == ["clip"]


def test_demo_on_photographs_has_no_table_of_unseen_combinations(tmp_path, monkeypatch, capsys):
    """Twenty photographs of two colours each, made by hand."""
    g = torch.Generator().manual_seed(0)
    photos = torch.randint(256, (20, 3, 1, 2), generator=g, dtype=torch.uint8)
    photos = photos.repeat_interleave(32, 2).repeat_interleave(16, 3)       # (20, 3, 32, 32)
    monkeypatch.setattr(data, "read_cifar10", lambda split: (photos, torch.arange(20) % 10))
    assert call("demo", out=tmp_path, data="cifar10") == 0
    result, said = json.loads((tmp_path / "demo.json").read_text()), capsys.readouterr().out
    assert "unseen" not in result and "unseen" not in said
    assert set(result["test"]) == {"class", "all"} and result["data"] == "cifar10"
    with Image.open(tmp_path / "demo.png") as picture:
        picture.load()


# ---- draw -----------------------------------------------------------------------------------

def test_draw_writes_the_same_bytes_for_the_same_seed_and_others_for_another(runs, smoke):
    shutil.copytree(smoke.models, runs / "drawn-smoke-1")      # the models of seed 0, as seed 1
    for stage in STAGES[1:]:
        path = runs / "drawn-smoke-1" / f"{stage}.pt"
        state = read_checkpoint(path)
        torch.save({**state, "settings": {**state["settings"], "seed": 1}}, path)
    pictures = []
    for seed in (0, 0, 1):
        assert call("draw", SEVEN, out=runs, seed=seed) == 0
        pictures.append((runs / "draw.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_draw_reads_capitals_and_wide_spaces_as_the_grammar_does(runs):
    pictures = []
    for caption in (SEVEN, "  A Red  SEVEN\ton blue "):
        assert call("draw", caption, out=runs) == 0
        pictures.append((runs / "draw.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_draw_lays_captions_in_rows_and_samples_in_columns(runs, capsys):
    """Two rows of three, each 32 pixels and a gap of one between, five screen pixels a pixel."""
    assert call("draw", SEVEN, "a pink 3 on black paper", out=runs, samples=3, scale=5) == 0
    with Image.open(runs / "draw.png") as picture:
        assert picture.size == (5 * (3 * 32 + 2), 5 * (2 * 32 + 1))
    said = capsys.readouterr().out
    assert f"6 pictures in {runs / 'draw.png'}\n  row 1: {SEVEN}\n  row 2: a pink 3 on" in said


def test_draw_with_a_png_as_out_keeps_models_in_runs_and_names_the_picture_so(
        smoke, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                                # where runs/ lies
    assert call("draw", SEVEN, out=Path("new/seven.png")) == 0
    with Image.open(tmp_path / "new" / "seven.png") as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize("caption, unknown", [
    ("a purple elephant on blue", "purple, elephant"),
    ("\u4e00\u53ea\u7ea2\u8272\u7684\u732b", "\u4e00\u53ea\u7ea2\u8272\u7684\u732b"),
    ("a red \U0001f600 on blue", "\U0001f600")])
def test_draw_names_the_words_it_does_not_know_and_draws_all_the_same(
        runs, capsys, caption, unknown):
    assert call("draw", caption, out=runs) == 0
    assert f"unknown here: {unknown};" in capsys.readouterr().err
    with Image.open(runs / "draw.png") as picture:
        picture.load()


def test_draw_says_nothing_of_words_when_it_knows_them_all(runs, capsys):
    assert call("draw", SEVEN, out=runs) == 0
    assert "unknown" not in capsys.readouterr().err


def test_a_caption_with_an_unknown_word_draws_the_picture_of_the_caption_without_it(runs):
    call("draw", SEVEN, out=runs)
    plain = (runs / "draw.png").read_bytes()
    call("draw", SEVEN.upper().replace(" ", " \U0001f600 ") + "!", out=runs)
    assert (runs / "draw.png").read_bytes() == plain


@pytest.mark.parametrize("caption", ["", "  \t\n ", "\u3000"])
def test_an_empty_caption_is_refused_in_one_sentence(runs, capsys, caption):
    assert call("draw", caption, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "a caption is empty" in error
    assert not (runs / "draw.png").exists()


@pytest.mark.parametrize("caption, note", [
    ("red " * 2500, "note: 1 of 2 captions cut to fit: of 2500 tokens in the longest, the first"),
    ("x" * 10_000, "unknown here: xxxxxxxxxxxxxxxxxxxxxxxxxxx...; the picture is drawn without")])
def test_of_ten_thousand_characters_it_notes_how_much_was_read_and_draws(
        runs, capsys, caption, note):
    assert call("draw", caption, SEVEN, out=runs) == 0
    said = capsys.readouterr()
    assert note in said.err
    lines = [line for line in (said.err + said.out).splitlines() if "|" not in line]   # no bars
    assert max(map(len, lines)) < 250
    with Image.open(runs / "draw.png") as picture:
        picture.load()


# ---- models that are missing or do not fit --------------------------------------------------

@pytest.mark.parametrize("command, words", [("draw", [SEVEN]), ("score", [])])
def test_before_any_training_the_command_to_run_is_named_and_is_the_right_one(
        tmp_path, monkeypatch, capsys, trained, command, words):
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    folder = tmp_path / "my runs"
    asked = [command, *words, "--seed", "3", "--out", str(folder)]
    assert main(asked) == 2 and trained == []
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "no trained clip, prior, decoder, upsampler in" in error
    advice = shlex.split(re.search("run '(.*)' first, or add --train", error)[1].replace("'", '"'))
    assert advice == ["python", "-m", "minidalle", "demo", "--seed", "3", "--out", str(folder)]


def test_the_options_that_are_named_make_drawing_possible(tmp_path, capsys):
    """`train` in place of `demo`, which does the same and then measures."""
    assert call("draw", SEVEN, out=tmp_path, seed=3) == 2
    advice = shlex.split(re.search("run '(.*?)' first", capsys.readouterr().err)[1])
    assert main(["train", "upsampler", "decoder", "prior", *advice[4:]]) == 0
    assert call("draw", SEVEN, out=tmp_path, seed=3) == 0


def test_draw_trains_when_asked_and_only_what_it_needs(tmp_path, trained):
    assert main(["draw", SEVEN, "--train", "--budget", "smoke", "--device", "cpu",
                 "--out", str(tmp_path)]) == 0
    assert trained == ["clip", "prior", "decoder", "upsampler"]
    assert (tmp_path / "draw.png").exists()


def test_a_truncated_checkpoint_is_named_and_fresh_helps(runs, capsys, trained):
    path = runs / "drawn-smoke-0" / "decoder.pt"
    path.write_bytes(path.read_bytes()[:100_000])
    assert call("draw", SEVEN, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"{path} is not a whole checkpoint" in error
    assert "--fresh" in error and trained == []
    assert main(["draw", SEVEN, "--fresh", "--budget", "smoke", "--device", "cpu",
                 "--out", str(runs)]) == 0


def test_a_checkpoint_of_another_configuration_is_refused_by_that_setting(
        runs, capsys, no_training):
    path = runs / "drawn-smoke-0" / "decoder.pt"
    state = read_checkpoint(path)
    state["settings"]["width"] = 4321
    torch.save(state, path)
    assert call("draw", SEVEN, out=runs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"minidalle: {path} was made with width = 4321, and this run has width = " in error


def test_a_prior_that_learned_from_another_clip_is_refused_by_that_clip(runs, capsys):
    """The same CLIP, but for one weight."""
    path = runs / "drawn-smoke-0" / "clip.pt"
    state = read_checkpoint(path)
    next(iter(state["model"].values())).view(-1)[0] += 1
    torch.save(state, path)
    assert call("draw", SEVEN, out=runs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"minidalle: \S*prior.pt was made with \w*clip\w* = (\w+), and this run has "
                    r"\w*clip\w* = (?!\1)\w+; ", error)


# ---- what cannot work, found before the training --------------------------------------------

@pytest.mark.parametrize("command, words", [("demo", []), ("train", []),
                                            ("draw", [SEVEN, "--train"])])
def test_a_file_in_the_folders_place_is_told_before_any_training(
        tmp_path, capsys, no_training, command, words):
    (tmp_path / "file").write_text("in the way")
    assert call(command, *words, out=tmp_path / "file") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "cannot be written" in error and "--out" in error
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_in_the_pictures_place_is_told_before_any_training(tmp_path, capsys, no_training):
    (tmp_path / "x.png").mkdir()
    assert call("draw", SEVEN, "--train", out=tmp_path / "x.png") == 2
    assert "x.png is a folder" in capsys.readouterr().err


def test_the_search_for_a_place_to_write_leaves_no_scraps_and_no_picture_undone(
        tmp_path, no_training):
    (tmp_path / "draw.png").write_text("an older picture")
    assert call("draw", SEVEN, out=tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["draw.png"]
    assert (tmp_path / "draw.png").read_text() == "an older picture"


@pytest.mark.parametrize("device", ["tpu", "cuda:99"])
def test_a_device_that_is_not_there_is_told_with_those_that_are(
        tmp_path, capsys, no_training, device):
    assert main(["demo", "--budget", "smoke", "--device", device, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"device '{device}' is not there" in error


def test_a_stage_that_does_not_exist_is_told_with_those_that_do(tmp_path, capsys, no_training):
    assert call("train", "clip", "vae", out=tmp_path) == 2
    assert "no stage 'vae'; choose from judge, clip, prior" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    [], ["paint"], ["draw"], ["demo", "--data", "faces"], ["demo", "--budget", "huge"],
    ["demo", "--seed", "-1"], ["demo", "--seed", "1.5"], ["demo", "--seed", "1" + "0" * 30],
    ["draw", SEVEN, "--samples", "0"], ["draw", SEVEN, "--scale", "65"],
    ["draw", SEVEN, "--samples", "\u00b2"], ["score", "--samples", "3"]])
def test_wrong_words_on_the_command_line_end_with_2_and_usage(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and capsys.readouterr().err.startswith("usage: python -m minidalle")


def test_mnist_without_files_and_network_is_one_sentence_that_says_what_to_do(
        tmp_path, monkeypatch, capsys):
    def refuse(*args, **options):
        raise URLError("no network")
    monkeypatch.setattr(download, "urlopen", refuse)
    monkeypatch.setenv("MINIDALLE_DATA", str(tmp_path / "data"))
    assert call("demo", out=tmp_path / "runs", data="mnist") == 2
    error = next(line for line in capsys.readouterr().err.splitlines() if "minidalle: " in line)
    assert "wanted train-images-idx3-ubyte.gz (9,912,422 bytes" in error
    assert "no network" in error and "put it there by hand" in error and "MINIDALLE_DATA" in error
    assert not list((tmp_path / "runs").rglob("*.pt"))


@pytest.mark.parametrize("out, expected", [
    (None, (Path("runs"), Path("runs/draw.png"))),
    (Path("a/b"), (Path("a/b"), Path("a/b/draw.png"))),
    (Path("a/x.PNG"), (Path("runs"), Path("a/x.PNG")))])
def test_out_is_a_folder_or_a_picture_by_hand(out, expected):
    assert folder_and_picture(out, "draw.png") == expected


def test_out_as_another_kind_of_picture_is_refused(tmp_path, capsys, no_training):
    assert call("draw", SEVEN, out=tmp_path / "x.jpg") == 2
    assert "written as .png only" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_main_leaves_the_callers_warnings_as_they_were(tmp_path):
    before = warnings.showwarning
    call("draw", SEVEN, out=tmp_path)
    assert warnings.showwarning is before


# ---- Ctrl-C ---------------------------------------------------------------------------------

def test_ctrl_c_ends_with_130_and_the_same_command_goes_on_to_the_same_bits(
        smoke, tmp_path, monkeypatch, capsys):
    """Stopped at the second of four steps; at the end the weights of the run never stopped."""
    batch, count = data.Digits.batch, iter(range(100))

    def interrupted(self, *args):
        if next(count) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, *args)
    monkeypatch.setattr(data.Digits, "batch", interrupted)
    assert call("train", "clip", out=tmp_path) == 130
    path, error = tmp_path / "drawn-smoke-0" / "clip.pt", capsys.readouterr().err
    assert "minidalle: stopped at step 2 of 4; the same command goes on from here" in error
    assert not read_checkpoint(path)["finished"]
    assert call("train", "clip", out=tmp_path) == 0 and next(count) == 4
    assert same_weights(path, smoke.models / "clip.pt")


def test_ctrl_c_during_fresh_says_that_without_it_the_run_goes_on(tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(data.Digits, "batch", stop)
    assert main(["train", "clip", "--fresh", "--budget", "smoke", "--out", str(tmp_path)]) == 130
    said = capsys.readouterr().err
    assert "minidalle: stopped; without --fresh, the same command goes on" in said


def test_ctrl_c_in_a_process_of_its_own_ends_with_130_and_no_traceback(tmp_path):
    words = [sys.executable, "-m", "minidalle", "train", "judge", "--budget", "cpu", "--device",
             "cpu", "--out", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout.readline().startswith("judge: ")
        process.stderr.read(len("judge: "))                    # the bar is there: it trains
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in error
    assert "the same command goes on from here" in error


# ---- in a process of its own ----------------------------------------------------------------

def test_help_names_every_command_and_is_quick_to_read(capsys):
    done = shell("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^    {command}  +\w", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 100
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        text = capsys.readouterr().out
        assert end.value.code == 0 and "--fresh" in text and "--device" in text


def test_draw_in_a_process_of_its_own_on_a_terminal_without_chinese(runs):
    done = shell("draw", "a red \u732b", SEVEN, "--budget", "smoke", "--device", "cpu",
                 "--out", runs, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "unknown here: \\u732b;" in done.stderr and "row 1: a red \\u732b" in done.stdout
    with Image.open(runs / "draw.png") as picture:
        assert picture.size == (256, 8 * 65)


def test_a_refusal_in_a_process_of_its_own_is_one_line_and_exit_code_2(tmp_path):
    done = shell("draw", SEVEN, "--out", tmp_path, MINIDALLE_BUDGET="smoke")
    assert done.returncode == 2 and says_one_sentence(done.stderr) and done.stdout == ""
