"""The command line as a person meets it: what it writes, what it says, how it ends."""
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from minidalle import dalle, data, dit, download, gan, latent, manipulate
from minidalle.caption import picture_to_caption
from minidalle.checkpoint import FORMAT, read_checkpoint, write
from minidalle.course.checks import listing
from minidalle.course.commands import main
from minidalle.train import seeded, seeded_each
from minidalle.workshop import looking, recipes
from minidalle.workshop.commands import folder_and_picture, printable, roads_with
from minidalle.workshop.pictures import to_pixels
from minidalle.workshop.recipes import Workshop

pytestmark = pytest.mark.usefixtures("quick")

COMMANDS = ("demo", "compare", "train", "draw", "vary", "blend", "edit", "inpaint", "caption",
            "score")
STAGES = ("judge", "clip", "prior", "decoder", "upsampler")    # of the demo, without --model
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


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]),
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
    with Image.open(smoke.folder / "smoke" / "demo.png") as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) >= 900


def test_demo_json_has_the_agreed_keys(smoke):
    result = json.loads((smoke.folder / "smoke" / "demo.json").read_text())
    agreed = {"data", "seed", "samples", "test", "unseen", "fid", "fid_floor", "seconds",
              "peak_memory_bytes", "machine"}
    assert agreed <= result.keys()
    assert set(result["test"]) == set(result["unseen"]) == {"digit", "ink", "paper", "all"}
    assert list(result["seconds"]) == [*STAGES, "score", "figure", "total"]
    assert smoke.trained == set(STAGES)                        # and nothing of the other road
    assert result["data"] == "drawn" and result["seed"] == 0
    assert all(0 <= share <= 1 for split in ("test", "unseen") for share in result[split].values())


def test_demo_says_each_stage_in_its_order_and_prints_the_table_of_demo_json(smoke):
    picture, lines = smoke.folder / "smoke" / "demo.png", smoke.out.splitlines()
    result = json.loads(picture.with_suffix(".json").read_text())
    assert [line.split(":")[0] for line in lines[:6]] == [*STAGES, "score"]
    assert all("training 4 steps" in line for line in lines[:5])
    for label, split in (("test captions", "test"), ("unseen combinations", "unseen")):
        row = next(line for line in lines if line.startswith(label))
        assert row.removeprefix(label).split() == [f"{v:.3f}" for v in result[split].values()]
    assert f"FID {result['fid']:.3f} (floor {result['fid_floor']:.3f})" in smoke.out
    assert smoke.out.endswith(f"picture: {picture}\nfigures: {picture.with_suffix('.json')}\n")


def test_a_second_demo_loads_every_model_says_so_and_measures_the_same(
        smoke, runs, no_training, capsys):
    assert call("demo", out=runs) == 0
    said = capsys.readouterr().out
    for stage in STAGES:
        assert f"{stage}: loaded from {runs / 'drawn-smoke-0' / stage}.pt" in said
    first, second = (json.loads((folder / "smoke" / "demo.json").read_text())
                     for folder in (smoke.folder, runs))
    changing = {"seconds", "peak_memory_bytes"}
    assert {k: v for k, v in first.items() if k not in changing} \
        == {k: v for k, v in second.items() if k not in changing}
    assert (runs / "smoke" / "demo.png").read_bytes() \
        == (smoke.folder / "smoke" / "demo.png").read_bytes()


def test_demo_of_the_other_road_writes_files_of_its_own_and_needs_nothing_of_the_first(
        runs, no_training, capsys):
    for stage in ("prior", "decoder", "upsampler"):
        (runs / "drawn-smoke-0" / f"{stage}.pt").unlink()
    assert call("demo", out=runs, model="dalle") == 0
    drawn = runs / "smoke"
    result, said = json.loads((drawn / "demo-dalle.json").read_text()), capsys.readouterr().out
    assert list(result["seconds"]) == ["judge", "clip", "dvae", "dalle", "score", "figure", "total"]
    assert result["model"] == "dalle" and f"picture: {drawn / 'demo-dalle.png'}\n" in said
    with Image.open(drawn / "demo-dalle.png") as picture:
        picture.load()
    assert not (drawn / "demo.png").exists()


@pytest.mark.parametrize("words, stages", [
    (["dalle"], ["dvae", "dalle"]), (["--model", "dalle"], ["judge", "clip", "dvae", "dalle"]),
    ([], list(STAGES)), (["--model", "dalle", "prior"], ["clip", "prior"])])
def test_train_trains_a_stage_of_any_road_and_what_it_needs_or_a_whole_road(
        tmp_path, monkeypatch, words, stages):
    """By a fit that notes the stage and leaves it as it is."""
    trained = []

    def fit(model, batch, config, seed, path, settings):
        trained.append(path.stem)
        state = {"format": FORMAT, "settings": {}, "step": 0, "log": [], "seconds": 0,
                 "finished": True, "model": {}}
        write(path, lambda part: torch.save(state, part))
        return model.eval()
    monkeypatch.setattr(recipes, "fit", fit)
    assert call("train", *words, out=tmp_path) == 0 and trained == stages


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
    picture = tmp_path / "smoke" / "demo-cifar10.png"          # and not over that of another world
    result, said = json.loads(picture.with_suffix(".json").read_text()), capsys.readouterr().out
    assert "unseen" not in result and "unseen" not in said
    assert set(result["test"]) == {"class", "all"} and result["data"] == "cifar10"
    with Image.open(picture) as page:
        page.load()


def test_demo_on_pairs_measures_both_slots_and_what_is_bound(tmp_path, capsys):
    names = ("digit_l", "ink_l", "digit_r", "ink_r", "paper")
    assert call("demo", out=tmp_path, data="pairs") == 0
    assert (tmp_path / "pairs-smoke-0" / "decoder.pt").exists()
    picture = tmp_path / "smoke" / "demo-pairs.png"
    result, said = json.loads(picture.with_suffix(".json").read_text()), capsys.readouterr().out
    for split in ("test", "unseen"):
        assert set(result[split]) == {*names, "all"}
        bound = result["binding"][split]
        parts = [result[split][name] for name in names[:4]]
        assert bound["product"] == pytest.approx(math.prod(parts))
        assert result[split]["all"] <= bound["both"] <= min(parts)
    assert "each digit in its ink" in said and "unseen combinations" in said
    with Image.open(picture) as page:
        page.load()


# ---- draw -----------------------------------------------------------------------------------

def test_draw_writes_the_same_bytes_for_the_same_seed_and_others_for_another_by_the_same_models(
        runs, no_training):
    pictures = []
    for seed in (0, 0, 1):
        assert call("draw", SEVEN, out=runs, seed=seed) == 0
        pictures.append((runs / "smoke" / "draw.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


@pytest.mark.parametrize("command", ["vary", "blend", "inpaint"])
def test_another_seed_changes_what_is_drawn_anew_and_trains_nothing(
        runs, given, no_training, command):
    """What was given stands first in every row, and is the same in all."""
    rows = []
    for seed in (0, 0, 1):
        assert call(command, *asked(given)[command], out=runs, scale=1, samples=2, seed=seed) == 0
        rows.append(pixels(runs / "smoke" / f"{command}.png"))
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[0][:, :32], rows[2][:, :32])


@pytest.mark.parametrize("command", ["draw", "vary", "blend", "edit", "inpaint"])
def test_train_seed_names_the_models_whatever_the_seed_of_the_drawing(
        runs, given, no_training, capsys, command):
    """Those of seed 0 are there, those of seed 1 are not; nothing random is in an edit."""
    words = {**asked(given), "draw": [SEVEN]}[command]
    assert call(command, *words, "--train-seed", 1, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and str(runs / "drawn-smoke-1") in error
    assert "--seed 1" in error                                 # of demo, which makes them
    if command == "edit":
        with pytest.raises(SystemExit):
            call(command, *words, out=runs, seed=1)


def test_draw_reads_capitals_and_wide_spaces_as_the_grammar_does(runs):
    pictures = []
    for caption in (SEVEN, "  A Red  SEVEN\ton blue "):
        assert call("draw", caption, out=runs) == 0
        pictures.append((runs / "smoke" / "draw.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_draw_lays_captions_in_rows_and_samples_in_columns(runs, capsys):
    """Two rows of three, each 32 pixels and a gap of one between, five screen pixels a pixel."""
    assert call("draw", SEVEN, "a pink 3 on black paper", "--no-labels", out=runs, samples=3,
                scale=5) == 0
    with Image.open(runs / "smoke" / "draw.png") as picture:
        assert picture.size == (5 * (3 * 32 + 2), 5 * (2 * 32 + 1))
    said = capsys.readouterr().out
    place = runs / "smoke" / "draw.png"
    assert f"6 pictures in {place}\n  row 1: {SEVEN}\n  row 2: a pink 3 on" in said


def test_several_captions_stand_in_ink_left_of_their_rows_and_one_only_if_asked_for(runs):
    """Right of the captions is the page without them, to the last bit; left, every row has ink of
    its own on white, and nothing touches the edge or the pictures."""
    captions = (SEVEN, "a pink 3 on black paper", "the digit 0 in green, white background")
    pages = {}
    for word in ("", "--labels", "--no-labels"):
        for several in (captions, captions[:1]):
            assert call("draw", *several, *word.split(), out=runs, samples=2) == 0
            pages[len(several), word] = pixels(runs / "smoke" / "draw.png")
    assert np.array_equal(pages[3, ""], pages[3, "--labels"])
    assert np.array_equal(pages[1, ""], pages[1, "--no-labels"])
    for number in (1, 3):
        page, plain = pages[number, "--labels"], pages[number, "--no-labels"]
        wide = page.shape[1] - plain.shape[1]
        assert wide > 100 and np.array_equal(page[:, wide:], plain)
        ink = (page[:, :wide] < 128).all(axis=-1)
        rows = [ink[264 * i:264 * i + 256] for i in range(number)]
        assert all(row[64:192].sum() > 100 for row in rows)
        assert len({row.tobytes() for row in rows}) == number
        assert not ink[:, :5].any() and not ink[:, -5:].any()


@pytest.mark.parametrize("model", recipes.ROADS)
def test_a_picture_of_the_page_is_that_of_its_caption_drawn_alone(runs, model):
    """The second sample of the second caption, beside two samples of that caption alone. Rounding
    may move a few pixels by 1/255; other noise moves most."""
    other = "a pink 3 on black paper"
    assert call("draw", other, SEVEN, "--no-labels", out=runs, samples=3, scale=1,
                model=model) == 0
    page = pixels(runs / "smoke" / "draw.png")[-32:, 33:65].astype(int)
    assert call("draw", SEVEN, out=runs, samples=2, scale=1, model=model) == 0
    moved = np.abs(page - pixels(runs / "smoke" / "draw.png")[-32:, 33:65])
    assert moved.max() <= 1 and moved.mean() < 0.01


@pytest.mark.parametrize("command", ["vary", "inpaint"])
def test_of_more_changes_the_first_ones_stay_as_they_were(runs, given, command):
    few = []
    for n in (1, 3):
        assert call(command, *asked(given)[command], out=runs, scale=1, samples=n) == 0
        few.append(pixels(runs / "smoke" / f"{command}.png")[:, 33:65].astype(int))
    moved = np.abs(few[0] - few[1])
    assert moved.max() <= 1 and moved.mean() < 0.01


def test_draw_with_a_png_as_out_keeps_models_in_runs_and_names_the_picture_so(
        smoke, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                                # where runs/ lies
    assert call("draw", SEVEN, out=Path("new/seven.png")) == 0
    with Image.open(tmp_path / "new" / "seven.png") as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize("caption, unknown", [
    ("a purple elephant on blue", "purple, elephant"),
    ("a red \u732b", "\u732b"),
    ("a red \U0001f600 on blue", "\U0001f600")])
def test_draw_names_the_words_it_does_not_know_and_draws_all_the_same(
        runs, capsys, caption, unknown):
    assert call("draw", caption, out=runs) == 0
    assert f"unknown here: {unknown};" in capsys.readouterr().err
    with Image.open(runs / "smoke" / "draw.png") as picture:
        picture.load()


def test_draw_says_nothing_of_words_when_it_knows_them_all(runs, capsys):
    assert call("draw", SEVEN, out=runs) == 0
    assert "unknown" not in capsys.readouterr().err


def test_a_caption_with_an_unknown_word_draws_the_picture_of_the_caption_without_it(runs):
    call("draw", SEVEN, out=runs)
    plain = (runs / "smoke" / "draw.png").read_bytes()
    call("draw", SEVEN.upper().replace(" ", " \U0001f600 ") + "!", out=runs)
    assert (runs / "smoke" / "draw.png").read_bytes() == plain


def test_of_a_misspelt_caption_the_words_and_the_sentence_that_were_meant_are_named(runs, capsys):
    assert call("draw", "a rde sevn on blau", "red red blue paper", out=runs, scale=1) == 0
    first, second, third = capsys.readouterr().err.splitlines()[:3]
    assert first.startswith("unknown here: rde (red?), sevn (seven?), blau (blue?); the picture")
    assert second.endswith("one that is: 'a red seven on blue'") and "red red blue" in third


def test_ink_of_the_papers_colour_is_told_and_never_proposed(runs, capsys):
    assert call("draw", "a red seven on red", SEVEN, "seven red red", out=runs, scale=1) == 0
    told, other = capsys.readouterr().err.splitlines()[:2]
    assert told.startswith("'a red seven on red' has ink of the paper's colour")
    proposed = recipes.WORLDS["drawn"]().grammar.parse(other.split("one that is: ")[1].strip("'"))
    assert proposed[1] != proposed[2]


@pytest.mark.parametrize("model", roads_with({"guidance"}))
@pytest.mark.parametrize("guidance, told", [(4, 0), (4.5, 1)])
def test_guidance_that_spoils_pictures_is_told_in_one_line(runs, capsys, model, guidance, told):
    assert call("draw", SEVEN, out=runs, scale=1, model=model, guidance=guidance) == 0
    assert capsys.readouterr().err.count("--guidance above 4") == told


@pytest.mark.parametrize("caption", ["", "  \t\n ", "\u3000"])
def test_an_empty_caption_is_refused_in_one_sentence(runs, capsys, caption):
    assert call("draw", caption, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "a caption is empty" in error
    assert not (runs / "smoke" / "draw.png").exists()


@pytest.mark.parametrize("caption", ["\u4e00\u53ea\u7ea2\u8272\u7684\u732b", "hello there", ",",
                                     "\x1b[31mred\x1b[0m"])
def test_a_caption_without_a_word_of_this_world_is_refused_in_one_printable_sentence(
        runs, capsys, caption):
    assert call("draw", SEVEN, caption, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "has no word of this world; write one, for" in error
    assert error[:-1].isprintable() and not (runs / "smoke" / "draw.png").exists()


def test_of_many_strange_captions_a_few_are_told_and_a_cut_is_told_once(runs, capsys):
    captions = [f"a red thing{i} on blue" for i in range(60)] + ["red " * 50]
    assert call("draw", *captions, out=runs, model="dalle", scale=1) == 0
    error = capsys.readouterr().err
    assert error.count("unknown here") + error.count("no sentence") == 6
    assert "and 115 more notes of this kind" in error and error.count("captions cut to fit") == 1


def test_what_would_move_the_cursor_is_printed_as_a_code(runs, capsys):
    assert call("draw", "a red \x1b[2Jseven on blue", "a red seven\non blue", out=runs,
                scale=1) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out and "\\x1b[2J" in said.out
    assert "row 2: a red seven\\non blue" in said.out
    assert call("draw", SEVEN, "--complete", "no\x1bfile.png", out=runs) == 2
    assert "there is no file no\\x1bfile.png" in capsys.readouterr().err


@pytest.mark.parametrize("caption, note", [
    ("red " * 2500, "note: 1 of 2 captions cut to fit: of 2500 tokens in the longest, the first"),
    ("red " + "x" * 10_000, f"unknown here: {27 * 'x'}...; the picture is drawn without them")])
def test_of_ten_thousand_characters_it_notes_how_much_was_read_and_draws(
        runs, capsys, caption, note):
    assert call("draw", caption, SEVEN, out=runs) == 0
    said = capsys.readouterr()
    assert note in said.err
    lines = [line for line in (said.err + said.out).splitlines() if "|" not in line]   # no bars
    assert max(map(len, lines)) < 250
    with Image.open(runs / "smoke" / "draw.png") as picture:
        picture.load()


# ---- draw: the other road, and the knobs ----------------------------------------------------

def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("options, knobs", [
    ({}, {}), ({"guidance": 3.5}, {"guidance": 3.5}), ({"temperature": 0}, {"temperature": 0.0}),
    ({"top-k": 2}, {"top_k": 2}), ({"top-p": 0.5}, {"top_p": 0.5}), ({"best": 3}, {"best_of": 3})])
def test_every_knob_on_the_command_line_is_that_of_caption_to_picture(runs, options, knobs):
    """The file, beside the picture that the function draws with the knob by its own name."""
    assert call("draw", SEVEN, out=runs, model="dalle", scale=1, **options) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    own = seeded_each(0, range(knobs.get("best_of", 1)))
    image = dalle.caption_to_picture(shop.dalle_road(), [SEVEN], own, **knobs)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


def test_the_truncation_of_the_gan_is_that_of_its_caption_to_picture(runs):
    assert call("draw", SEVEN, out=runs, model="gan", scale=1, truncation=0.4) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    image = gan.caption_to_picture(shop.gan_road(), [SEVEN], seeded_each(0, [0]), truncation=0.4)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


def test_guidance_of_unclip_is_that_of_its_caption_to_picture(runs):
    assert call("draw", SEVEN, out=runs, scale=1, guidance=0.5) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    image = shop.painter("unclip")([SEVEN], seeded(0), guidance=0.5)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


def test_train_dalle_is_enough_to_draw_with_it_and_the_best_of_n_needs_clip_too(tmp_path, capsys):
    assert call("train", "dalle", out=tmp_path) == 0
    assert call("draw", SEVEN, "--model", "dalle", out=tmp_path) == 0
    capsys.readouterr()
    assert call("draw", SEVEN, "--model", "dalle", "--best", 2, out=tmp_path) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "no trained clip in" in error
    assert "demo --model dalle --budget smoke --out" in error


@pytest.mark.parametrize("words", [["--temperature", "0.5"], ["--top-k", "3"], ["--top-p", "1"],
                                   ["--complete", "half.png", "--model", "unclip"]])
def test_a_knob_given_to_the_model_that_does_not_have_it_is_told_in_one_sentence(
        runs, capsys, words):
    assert call("draw", SEVEN, *words, out=runs) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"{words[0]} is of no use to unclip" in error
    assert "--model dalle" in error


# ---- draw --complete ------------------------------------------------------------------------

@pytest.fixture
def half(tmp_path) -> Path:
    """The upper half of a picture of random pixels, each of them eight by eight."""
    path, g = tmp_path / "half.png", torch.Generator().manual_seed(0)
    small = torch.randint(256, (16, 32, 3), generator=g, dtype=torch.uint8).numpy()
    Image.fromarray(small).resize((256, 128), Image.NEAREST).save(path)
    return path


def test_completion_keeps_the_given_rows_in_every_picture_and_the_file_as_it_was(runs, half):
    """Two captions, three samples, best of two; below the given rows the samples differ, if it is
    hot: what has learnt nothing may find one code the likeliest everywhere."""
    given, before = pixels(half), half.read_bytes()
    assert call("draw", SEVEN, "a pink 3 on black paper", "--complete", half, out=runs, samples=3,
                best=2, temperature=5) == 0
    page = pixels(runs / "smoke" / "draw.png")
    page = page[:, -8 * 98:]                   # right of the captions
    assert page.shape == (8 * 65, 8 * 98, 3) and half.read_bytes() == before
    pictures = [page[264 * i:, 264 * j:][:256, :256] for i in range(2) for j in range(3)]
    assert all(np.array_equal(picture[:128], given) for picture in pictures)
    assert len({picture[128:].tobytes() for picture in pictures}) == 6


def test_completion_is_that_of_the_function_complete(runs, half):
    assert call("draw", SEVEN, "--complete", half, out=runs, scale=1, temperature=0.5) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    upper = torch.from_numpy(pixels(half)[::8, ::8].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    image = dalle.complete(shop.dalle_road(), [SEVEN], upper, seeded(0), temperature=0.5)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


@pytest.mark.parametrize("completing", [False, True])
def test_the_likeliest_code_alone_is_temperature_zero(runs, half, completing):
    """--top-k 1 and a small --top-p leave one code to choose from, whatever the temperature."""
    given, drawn = ["--complete", half] if completing else ["--model", "dalle"], []
    for knob in ({}, {"temperature": 0}, {"top-k": 1, "temperature": 9}, {"top-p": 0.001}):
        assert call("draw", SEVEN, *given, out=runs, scale=1, **knob) == 0
        drawn.append(pixels(runs / "smoke" / "draw.png"))
    assert np.array_equal(drawn[1], drawn[2]) and np.array_equal(drawn[1], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_given_file_is_never_written_over_even_by_another_name(runs, half, capsys):
    before = half.read_bytes()
    (half.parent / "link.png").symlink_to(half)
    for out in (half, half.parent / "link.png"):
        assert main(["draw", SEVEN, "--complete", str(half), "--budget", "smoke", "--out",
                     str(out)]) == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and "written over the picture to complete" in error
    assert half.read_bytes() == before


def test_a_picture_that_cannot_be_completed_is_told_before_any_training(
        tmp_path, capsys, no_training):
    (tmp_path / "text.png").write_text("a red seven")
    Image.new("RGB", (20, 30)).save(tmp_path / "tall.png")
    for name, message in (("none", "there is no file"), ("text", "is not a picture"),
                          ("tall", "is 20 x 30 pixels")):
        assert call("draw", SEVEN, "--train", "--complete", tmp_path / f"{name}.png",
                    out=tmp_path / "runs") == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and message in error
    assert not (tmp_path / "runs").exists()


# ---- draw --from, --negative ----------------------------------------------------------------

def test_what_starts_from_a_picture_is_that_of_the_function_redraw_and_the_file_stays(runs, given):
    before = given[0].read_bytes()
    assert call("draw", SEVEN, "--from", given[0], out=runs, scale=1, strength=0.4,
                guidance=3) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    image = latent.redraw(shop.latent_road(), as_tensor(given[0])[None], [SEVEN], 0.4, seeded(0),
                          3.0)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))
    assert given[0].read_bytes() == before


def test_a_negative_caption_is_that_of_caption_to_picture_without_its_unknown_words(runs):
    assert call("draw", SEVEN, "--negative", "a Red elephant", out=runs, model="latent",
                scale=1) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    image = latent.caption_to_picture(shop.latent_road(), [SEVEN], seeded(0), negative="a red")[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_the_steps_that_are_asked_for_are_those_of_caption_to_picture(runs, steps):
    assert call("draw", SEVEN, "--steps", steps, out=runs, model="flow", scale=1) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    image = dit.caption_to_picture(shop.flow_road(), [SEVEN], seeded(0), steps=steps)[0]
    assert np.array_equal(pixels(runs / "smoke" / "draw.png"), to_pixels(image))


@pytest.mark.parametrize("words, said", [
    (["--steps", "0", "--model", "flow"], "'0' is not a whole number from 1 to 100"),
    (["--steps", "2"], "--steps is of no use to unclip; add --model flow, or leave that out")])
def test_steps_that_cannot_be_taken_are_told(tmp_path, capsys, words, said):
    try:
        assert call("draw", SEVEN, *words, out=tmp_path / "runs") == 2
    except SystemExit as end:                                  # argparse's own way to say so
        assert end.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words, said", [
    (["--negative", "red"], "--negative is of no use to unclip; add --model latent, or leave"),
    (["--strength", "0.5"], "--strength is of no use to unclip; add --model latent, or leave"),
    (["--truncation", "1"], "--truncation is of no use to unclip; add --model gan, or leave"),
    (["--from", "x.png", "--model", "dalle"], "--from is of no use to dalle; add --model latent"),
    (["--from", "x.png", "--complete", "x.png"], "--complete and --from are of no use to unclip"),
    (["--strength", "0.5", "--model", "latent"], "add --from PICTURE, or leave it out"),
    (["--from", "none.png"], "there is no file none.png"),
    (["--negative", "\u732b", "--model", "latent"], "has no word of this world"),
    (["--negative", "", "--model", "latent"], "a caption is empty"),
    (["--negative", "red", "--model", "latent", "--guidance", "1"], "guidance above 1")])
def test_what_cannot_start_or_push_is_told_in_one_sentence_before_anything_is_trained(
        tmp_path, capsys, no_training, words, said):
    assert call("draw", SEVEN, *words, "--train", out=tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and said in error and not (tmp_path / "runs").exists()


def test_the_picture_that_one_starts_from_is_never_written_over(runs, given, capsys):
    assert main(["draw", SEVEN, "--from", str(given[0]), "--budget", "smoke", "--out",
                 str(given[0])]) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "written over the picture to start from" in error


# ---- vary, blend, edit, inpaint -------------------------------------------------------------

@pytest.fixture
def given(tmp_path) -> list[Path]:
    """Two square pictures of random pixels, the second with pixels of eight by eight."""
    paths, g = [tmp_path / "first.png", tmp_path / "second.png"], seeded(0)
    for path, scale in zip(paths, (1, 8), strict=True):
        small = torch.randint(256, (32, 32, 3), generator=g, dtype=torch.uint8).numpy()
        Image.fromarray(small).resize((32 * scale, 32 * scale), Image.NEAREST).save(path)
    return paths


def as_tensor(path: Path, scale: int = 1) -> torch.Tensor:
    return torch.from_numpy(pixels(path)[::scale, ::scale].copy()).permute(2, 0, 1) / 127.5 - 1


NINE = "a red nine on blue"


def asked(given: list[Path]) -> dict[str, list]:
    """The words of each command, on these pictures."""
    first, second = given
    return {"vary": [first], "blend": [first, second], "edit": [first, SEVEN, NINE],
            "inpaint": [first, NINE, "--mask", "bottom"]}


@pytest.mark.parametrize("command", ["vary", "blend", "edit", "inpaint"])
def test_a_change_writes_what_was_given_and_beside_it_what_its_function_draws(
        runs, given, capsys, command):
    """Three pictures a row of cells of 33 pixels; with the knobs by the names of the function."""
    first, second = as_tensor(given[0]), as_tensor(given[1], 8)
    bottom = torch.arange(32)[:, None].expand(32, 32) >= 16
    words = {"vary": ["--eta", "0.5"], "edit": ["--strength", "0.3"]}.get(command, [])
    assert call(command, *asked(given)[command], *words, out=runs, scale=1, samples=3) == 0
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    road, three, own = shop.unclip(), first.expand(3, -1, -1, -1), seeded_each(0, range(3))
    made, shown = {
        "vary": lambda: (manipulate.vary(road, first, 3, own, 0.5), [first]),
        "blend": lambda: (manipulate.blend(road, first, second, 3, seeded(0)), [first, second]),
        "edit": lambda: (manipulate.edit(road, three, [SEVEN] * 3, [NINE] * 3, torch.tensor(
            [[0.1], [0.2], [0.3]])), [first]),
        "inpaint": lambda: (manipulate.inpaint(road, three, bottom, [NINE] * 3, own),
                            [first.masked_fill(bottom, 0.6)])}[command]()
    row = [shown[0], *made, *shown[1:]]
    page = pixels(runs / "smoke" / f"{command}.png")
    assert page.shape == (32, 33 * len(row) - 1, 3)
    for i, image in enumerate(row):
        assert np.array_equal(page[:, 33 * i:33 * i + 32], to_pixels(image))
    assert f"3 pictures in {runs / 'smoke' / command}.png" in capsys.readouterr().out


def test_of_many_pictures_ten_stand_in_a_row(runs, given):
    assert call("vary", given[0], out=runs, scale=1, samples=12) == 0
    page = pixels(runs / "smoke" / "vary.png")
    assert page.shape == (2 * 33 - 1, 10 * 33 - 1, 3)
    # 1 + 12 pictures: behind the third of the second row all is as grey as the gaps
    assert (page[33:, 3 * 33:] == page[32, 0]).all() and not (page[33:, 66:98] == page[32, 0]).all()


@pytest.mark.parametrize("half, rows, columns", [
    ("left", slice(None), slice(16)), ("right", slice(None), slice(16, None)),
    ("top", slice(16), slice(None)), ("bottom", slice(16, None), slice(None)), ("file", 3, 5)])
def test_inpaint_draws_only_in_the_named_half_or_where_a_picture_is_white(
        runs, given, tmp_path, half, rows, columns):
    """Everything else in the file is the given picture, pixel by pixel."""
    hole = np.zeros((32, 32), bool)
    hole[rows, columns] = True
    if half == "file":
        half = tmp_path / "mask.png"
        Image.fromarray(hole).resize((320, 320), Image.NEAREST).save(half)
    assert call("inpaint", given[1], NINE, "--mask", half, out=runs, scale=1, samples=1) == 0
    drawn, known = pixels(runs / "smoke" / "inpaint.png")[:, 33:], pixels(given[1])[::8, ::8]
    assert np.array_equal(drawn[~hole], known[~hole])
    assert not np.array_equal(drawn[hole], known[hole])


@pytest.mark.parametrize("command", ["vary", "blend", "edit", "inpaint"])
def test_a_change_refuses_pictures_it_cannot_use_before_any_training(
        tmp_path, given, capsys, no_training, command):
    """Each in place of the first file: none, none to be read, one that is not square."""
    (tmp_path / "text.png").write_text("a red seven")
    Image.new("RGB", (20, 30)).save(tmp_path / "tall.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "flat.png")
    for name, message in (("none", "there is no file"), ("text", "is not a picture"),
                          ("tall", "is 20 x 30 pixels"), ("flat", "is 30 x 20 pixels")):
        words = [tmp_path / f"{name}.png", *asked(given)[command][1:]]
        assert call(command, *words, "--train", out=tmp_path / "runs") == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and message in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["vary", "blend", "edit", "inpaint"])
def test_a_change_never_writes_over_a_picture_that_it_was_given(
        tmp_path, given, capsys, no_training, command):
    before = given[0].read_bytes()
    assert main([command, *map(str, asked(given)[command]), "--budget", "smoke", "--out",
                 str(given[0])]) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "written over the given picture" in error
    assert given[0].read_bytes() == before


@pytest.mark.parametrize("command", ["vary", "blend", "edit", "inpaint"])
def test_a_change_names_the_models_that_are_missing_and_how_to_get_them(
        tmp_path, given, capsys, no_training, command):
    assert call(command, *asked(given)[command], out=tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "no trained clip, prior, decoder, upsampler in" in error
    assert "minidalle demo --budget smoke" in error


def test_a_mask_of_one_colour_is_refused_and_a_mask_is_not_written_over(
        tmp_path, given, capsys, no_training):
    mask = tmp_path / "mask.png"
    for colour, message in (("white", "is all white"), ("black", "is nowhere white")):
        Image.new("RGB", (64, 64), colour).save(mask)
        assert call("inpaint", given[0], NINE, "--mask", mask, out=tmp_path / "runs") == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and message in error
    assert call("inpaint", given[0], NINE, "--mask", given[1], out=given[1]) == 2
    assert "written over the mask" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:                     # no mask at all
        call("inpaint", given[0], NINE, out=tmp_path / "runs")
    assert end.value.code == 2 and "--mask" in capsys.readouterr().err


def test_an_edit_between_equal_captions_and_an_empty_caption_are_refused(
        tmp_path, given, capsys, no_training):
    """Equal as this world reads them: capitals do not count."""
    for words, message in (((SEVEN, "A red SEVEN on blue"), "both captions say"),
                           ((SEVEN, " "), "a caption is empty")):
        assert call("edit", given[0], *words, out=tmp_path / "runs") == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and message in error
    assert call("inpaint", given[0], "", "--mask", "left", out=tmp_path / "runs") == 2
    assert "a caption is empty" in capsys.readouterr().err


def test_an_edit_tells_a_wrong_before_and_the_right_strength_once_clip_has_learnt(
        runs, given, monkeypatch, capsys):
    """Said by stand-ins; at the smoke budget, where CLIP has learnt nothing, not at all. Then the
    same small models are taken for trained ones."""
    asked_for, small = [], recipes.fit_config
    monkeypatch.setattr(looking, "wrong_before", lambda workshop, image, before, file:
                        asked_for.append((before, file)) or "wrong before")
    monkeypatch.setattr(looking, "right_strength", lambda workshop, images, after, strengths:
                        asked_for.append((len(images), after, strengths)) or "right strength")
    words = [given[0], SEVEN, NINE, "--strength", 0.4]
    assert call("edit", *words, out=runs, scale=1, samples=2) == 0 and asked_for == []
    (runs / "drawn-smoke-0").rename(runs / "drawn-cpu-0")
    monkeypatch.setattr(recipes, "fit_config", lambda stage, budget, data: small(stage, "smoke"))
    capsys.readouterr()
    assert main(["edit", *map(str, words), "--samples", "2", "--budget", "cpu", "--device", "cpu",
                 "--out", str(runs)]) == 0
    assert asked_for == [(SEVEN, given[0]), (2, NINE, pytest.approx([0.2, 0.4]))]
    assert "wrong before\n" in (error := capsys.readouterr().err) and "right strength\n" in error


def test_smoke_pictures_say_that_nothing_was_learnt_and_lie_in_a_folder_of_their_own(
        smoke, tmp_path, monkeypatch, capsys):
    """Beside what was drawn with trained models, which stays; one that is named lies there."""
    shutil.copytree(smoke.models, tmp_path / "runs" / smoke.models.name)
    (tmp_path / "runs" / "draw.png").write_text("a picture of trained models")
    monkeypatch.chdir(tmp_path)
    for place, *out in ((Path("runs", "smoke", "draw.png"),), (Path("runs", "smoke", "draw.png"),
                        "--out", "runs"), (Path("named.png"), "--out", "named.png")):
        assert main(["draw", SEVEN, "--budget", "smoke", "--device", "cpu", *out]) == 0
        said = capsys.readouterr()
        assert f"1 picture in {place}\n" in said.out
        assert f"smoke budget: nothing was learnt, so {place} shows nothing\n" in said.err
        with Image.open(place) as picture:
            picture.load()
        place.unlink()
    assert Path("runs", "draw.png").read_text() == "a picture of trained models"


@pytest.mark.parametrize("words", [["--mask", "upper"], []])
def test_a_mask_that_is_not_there_is_told_with_the_names_of_those_that_are(
        tmp_path, given, capsys, no_training, words):
    """Without --mask they stand in the usage."""
    code = 0
    try:
        code = call("inpaint", given[0], NINE, *words, out=tmp_path)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and all(name in error for name in ("left", "right", "top", "bottom"))
    assert not words or says_one_sentence(error) and "the mask is 'upper'; choose one of" in error


# ---- caption --------------------------------------------------------------------------------

def test_caption_prints_what_the_road_says_of_the_picture_and_writes_nothing(runs, given, capsys):
    """Oracle: the function itself, on the pixels of the file; of one picture, and of two."""
    before = sorted(runs.rglob("*"))
    shop = Workshop(budget="smoke", folder=runs, device="cpu", say=lambda line: None)
    images = torch.stack([as_tensor(given[0]), as_tensor(given[1], 8)])
    said = [picture_to_caption(shop.caption_road(), image[None], seeded(0))[0] for image in images]
    assert call("caption", given[0], out=runs) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == printable(said[0]) and "nothing was learnt" in err
    assert call("caption", *given, out=runs) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{file}: {printable(text)}" for file, text in zip(given, said)]
    assert sorted(runs.rglob("*")) == before


def test_of_a_picture_that_is_not_square_the_middle_is_captioned(runs, tmp_path, monkeypatch):
    """A square between two strips of another colour; lying and standing, and of odd width."""
    seen = []
    monkeypatch.setattr("minidalle.caption.picture_to_caption", lambda road, image, generator:
                        seen.append(image[0]) or ["a"])
    page = torch.randint(256, (64, 64, 3), generator=seeded(0), dtype=torch.uint8).numpy()
    Image.fromarray(page).save(tmp_path / "square.png")
    wide = Image.new("RGB", (165, 64), "red")
    wide.paste(Image.fromarray(page), (50, 0))
    wide.save(tmp_path / "wide.png")
    Image.fromarray(np.asarray(wide)[:, :164].swapaxes(0, 1)).save(tmp_path / "tall.png")
    names = ("square", "wide", "tall")
    assert call("caption", *(tmp_path / f"{name}.png" for name in names), out=runs) == 0
    square, wide, tall = seen
    torch.testing.assert_close(tall, square.mT)
    assert wide.shape == (3, 32, 32) and (wide - square).abs().mean() < 0.5


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (2000, 5), (33, 33)])
def test_a_picture_of_any_size_and_kind_is_captioned(runs, tmp_path, capsys, size):
    Image.new("LA", size, 90).save(tmp_path / "x.png")
    Image.new("L", size, 90).save(tmp_path / "x.jpg")
    assert call("caption", tmp_path / "x.png", tmp_path / "x.jpg", out=runs) == 0


def test_caption_of_what_is_no_picture_or_not_there_is_refused_before_any_training(
        tmp_path, given, capsys, no_training):
    (tmp_path / "text.png").write_text("a red seven")
    for name, message in (("none", "there is no file"), ("text", "is not a picture")):
        words = [given[0], tmp_path / f"{name}.png"]
        assert call("caption", *words, "--train", out=tmp_path / "runs") == 2
        error = capsys.readouterr().err
        assert says_one_sentence(error) and message in error and name in error
    assert not (tmp_path / "runs").exists()


def test_caption_names_the_models_that_are_missing_and_trains_only_those_it_needs(
        tmp_path, given, capsys, trained):
    assert call("caption", given[0], out=tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "no trained dvae, dalle, captioner in" in error
    assert "'python -m minidalle train captioner --budget smoke --out" in error and trained == []
    assert call("caption", given[0], "--train", out=tmp_path / "runs") == 0
    assert trained == ["dvae", "dalle", "captioner"]


@pytest.mark.parametrize("strange", ["a red red blue", "a white five on white"])
def test_words_that_say_nothing_to_be_seen_are_told_once_something_was_learnt(
        runs, given, capsys, monkeypatch, strange):
    """Here by hand, as if the budget were another one."""
    told = iter([SEVEN, strange])
    monkeypatch.setattr("minidalle.caption.picture_to_caption", lambda *args: [next(told)])
    monkeypatch.setattr(Workshop, "caption_road", lambda self: None)
    monkeypatch.setattr(Workshop, "missing", lambda self, stages: [])
    assert main(["caption", *map(str, given), "--budget", "cpu", "--out", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{given[0]}: {SEVEN}", f"{given[1]}: {strange}"]
    assert err == f"{strange!r} is nothing that is seen in this world, so {given[1]} may show " \
        "something else\n"


# ---- models that are missing or do not fit --------------------------------------------------

@pytest.mark.parametrize("command, words, missing, model", [
    ("draw", [SEVEN], "clip, prior, decoder, upsampler", []),
    ("score", [], "judge, clip, prior, decoder, upsampler", []),
    ("draw", [SEVEN, "--model", "dalle"], "dvae, dalle", ["--model", "dalle"]),
    ("score", ["--model", "dalle"], "judge, clip, dvae, dalle", ["--model", "dalle"])])
def test_before_any_training_the_command_to_run_is_named_and_is_the_right_one(
        tmp_path, monkeypatch, capsys, trained, command, words, missing, model):
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    folder = tmp_path / "my runs"
    seed = "--seed" if command == "score" else "--train-seed"
    asked = [command, *words, seed, "3", "--out", str(folder)]
    assert main(asked) == 2 and trained == []
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"no trained {missing} in" in error
    assert not folder.exists()
    advice = shlex.split(re.search("run '(.*)' first, or add --train", error)[1].replace("'", '"'))
    assert advice == ["python", "-m", "minidalle", "demo", *model, "--seed", "3", "--out",
                      str(folder)]


def test_the_options_that_are_named_make_drawing_possible(tmp_path, capsys):
    """`train` in place of `demo`, which does the same and then measures."""
    assert call("draw", SEVEN, "--train-seed", 3, out=tmp_path) == 2
    advice = shlex.split(re.search("run '(.*?)' first", capsys.readouterr().err)[1])
    assert main(["train", "upsampler", "decoder", "prior", *advice[4:]]) == 0
    assert call("draw", SEVEN, "--train-seed", 3, out=tmp_path) == 0


def test_draw_trains_when_asked_and_only_what_it_needs(tmp_path, trained):
    assert main(["draw", SEVEN, "--train", "--budget", "smoke", "--device", "cpu",
                 "--out", str(tmp_path)]) == 0
    assert trained == ["clip", "prior", "decoder", "upsampler"]
    assert (tmp_path / "smoke" / "draw.png").exists()


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
    del state["sha256"]                                        # or it would be called damaged
    torch.save(state, path)
    assert call("draw", SEVEN, out=runs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"minidalle: \S*prior.pt was made with \w*clip\w* = (\w+), and this run has "
                    r"\w*clip\w* = (?!\1)\w+; ", error)


# ---- what cannot work, found before the training --------------------------------------------

@pytest.mark.parametrize("command, words", [("demo", []), ("train", []), ("compare", []),
                                            ("draw", [SEVEN, "--train"])])
def test_a_file_in_the_folders_place_is_told_before_any_training(
        tmp_path, capsys, no_training, command, words):
    (tmp_path / "file").write_text("in the way")
    assert call(command, *words, out=tmp_path / "file") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "cannot be written" in error and "--out" in error
    assert "because" in error and f"{tmp_path / 'file'} is a file" in error
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("command", ["train", "score", "caption"])
def test_a_png_as_out_is_refused_where_no_picture_is_drawn(tmp_path, capsys, no_training, command):
    words = ["seven.png"] * (command == "caption")
    assert call(command, *words, out=tmp_path / "x.png") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"{command} draws no picture" in error


def test_a_folder_in_the_pictures_place_is_told_before_any_training(tmp_path, capsys, no_training):
    (tmp_path / "x.png").mkdir()
    assert call("draw", SEVEN, "--train", out=tmp_path / "x.png") == 2
    assert "x.png is a folder" in capsys.readouterr().err


def test_the_search_for_a_place_to_write_leaves_no_scraps_and_no_picture_undone(
        tmp_path, no_training):
    (tmp_path / "draw.png").write_text("an older picture")
    assert call("draw", SEVEN, out=tmp_path) == 2
    assert main(["draw", SEVEN, "--budget", "cpu", "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["draw.png"]
    assert (tmp_path / "draw.png").read_text() == "an older picture"


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:", "cpu:foo", "cpu:-1", "cpu:1",
                                    "cpu:\u00b2", ""])
def test_a_device_that_is_not_there_is_told_with_those_that_are(
        tmp_path, capsys, no_training, device):
    assert main(["demo", "--budget", "smoke", "--device", device, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"device '{device}' is not there" in error


@pytest.mark.parametrize("words", [["--samples", "1000", "--scale", "64"],
                                   ["--samples", "400", "--scale", "64"]])
def test_a_page_that_is_too_large_is_refused_before_anything_is_drawn(
        tmp_path, given, capsys, no_training, words):
    assert call("draw", SEVEN, "--train", *words, out=tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "pixels, and 134,217,728 in all is the most" in error
    assert call("vary", given[0], "--train", "--samples", 1000, "--scale", 64,
                out=tmp_path / "r") == 2
    assert "the page would have 21,120 x 213,312 pixels" in capsys.readouterr().err


def test_captions_beside_the_rows_count_as_part_of_the_page(tmp_path, capsys):
    """Two rows of fifteen pictures just fit, 31,680 x 4,224 pixels of 134,217,728, without text."""
    page = ["draw", SEVEN, "a pink 3 on black paper", "--samples", 15, "--scale", 64]
    for words, message in ([], "x 4,224 pixels"), (["--no-labels"], "no trained clip"):
        assert call(*page, *words, out=tmp_path / "runs") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("command, words", [("demo", []), ("train", ["clip"]), ("compare", []),
                                            ("draw", [SEVEN, "--train"])])
def test_a_place_where_models_cannot_lie_is_told_before_any_training(
        tmp_path, capsys, no_training, command, words):
    (tmp_path / "drawn-smoke-0").write_text("in the way")
    assert call(command, *words, out=tmp_path) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and f"{tmp_path / 'drawn-smoke-0'} is a file" in error


def test_a_link_that_leads_nowhere_or_in_a_circle_is_told_before_any_training(
        tmp_path, capsys, no_training):
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("broken", "loop"):
        for out in (tmp_path / name, tmp_path / name / "x.png"):
            assert call("draw", SEVEN, "--train", out=out) == 2
            error = capsys.readouterr().err
            assert says_one_sentence(error) and f"{name} is a link that leads nowhere" in error


def test_a_folder_without_the_right_to_write_is_told_before_any_training(
        tmp_path, monkeypatch, capsys, no_training):
    """As `runs/` may be written to and the folder in it not, or a read-only working directory."""
    (tmp_path / "drawn-smoke-0").mkdir()
    make = tempfile.NamedTemporaryFile

    def refuse(dir, **options):
        if Path(dir).name == "drawn-smoke-0":
            raise PermissionError(13, "Permission denied")
        return make(dir=dir, **options)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert call("train", "clip", out=tmp_path) == 2
    error = capsys.readouterr().err
    assert says_one_sentence(error) and "cannot be written (Permission denied)" in error


def test_the_search_for_a_place_leaves_the_half_picture_of_another_process(tmp_path, no_training):
    (tmp_path / ".draw.part.png").write_text("half")
    call("draw", SEVEN, out=tmp_path)
    assert (tmp_path / ".draw.part.png").read_text() == "half"


def test_a_temperature_that_is_all_but_zero_takes_the_likeliest(runs):
    drawn = []
    for temperature in (0, 1e-300, 1e-40):
        assert call("draw", SEVEN, out=runs, model="dalle", scale=1, temperature=temperature) == 0
        drawn.append(pixels(runs / "smoke" / "draw.png"))
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])


def test_a_stage_that_does_not_exist_is_told_with_those_that_do(tmp_path, capsys, no_training):
    assert call("train", "clip", "paint", out=tmp_path) == 2
    assert "no stage 'paint'; choose from judge, clip, prior" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["paint"], ["draw"], ["demo", "--data", "faces"], ["demo", "--budget", "huge"],
    ["demo", "--seed", "-1"], ["demo", "--seed", "1.5"], ["demo", "--seed", "1" + "0" * 30],
    ["draw", SEVEN, "--samples", "0"], ["draw", SEVEN, "--scale", "65"],
    ["draw", SEVEN, "--samples", "\u00b2"], ["score", "--samples", "3"],
    ["draw", SEVEN, "--model", "vqgan"], ["draw", SEVEN, "--best", "0"],
    ["draw", SEVEN, "--guidance", "-1"], ["draw", SEVEN, "--guidance", "nan"],
    ["draw", SEVEN, "--guidance", "much"], ["draw", SEVEN, "--temperature", "inf"],
    ["draw", SEVEN, "--top-p", "0"], ["draw", SEVEN, "--top-p", "1.01"],
    ["draw", SEVEN, "--top-k", "0"], ["compare", "--samples", "3"],
    ["compare", "--model", "dalle"]])
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


@pytest.mark.parametrize("out, budget, expected", [
    (None, "cpu", (Path("runs"), Path("runs/draw.png"))),
    (Path("a/b"), "gpu", (Path("a/b"), Path("a/b/draw.png"))),
    (Path("a/b"), "smoke", (Path("a/b"), Path("a/b/smoke/draw.png"))),
    (Path("a/x.PNG"), "smoke", (Path("runs"), Path("a/x.PNG")))])
def test_out_is_a_folder_or_a_picture_by_hand(out, budget, expected):
    assert folder_and_picture(out, "draw.png", budget) == expected


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


def test_a_fresh_training_that_was_stopped_leaves_the_finished_model_and_goes_on_to_the_same_bits(
        runs, monkeypatch, capsys):
    """Stopped at the second of four steps, over a trained CLIP; a command without --fresh uses the
    old one, the same command takes the new one up, and nothing else is lost."""
    path, batch, count = runs / "drawn-smoke-0" / "clip.pt", data.Digits.batch, iter(range(100))
    old = {file: file.read_bytes() for file in path.parent.iterdir()}
    shutil.copy(path, before := runs.parent / "before.pt")

    def interrupted(self, *args):
        if next(count) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, *args)
    monkeypatch.setattr(data.Digits, "batch", interrupted)
    fresh = ["train", "clip", "--fresh", "--budget", "smoke", "--device", "cpu", "--out", str(runs)]
    assert main(fresh) == 130
    assert "stopped at step 2 of 4; the same command goes on from here" in capsys.readouterr().err
    assert all(file.read_bytes() == text for file, text in old.items())
    state = read_checkpoint(path.parent / "new" / "clip.pt")
    assert not state["finished"] and state["step"] == 2
    assert call("train", "clip", out=runs) == 0 and path.read_bytes() == old[path]
    assert main(fresh) == 0 and next(count) == 2 + 2 + 0       # two steps were left
    assert same_weights(path, before) and path.read_bytes() != old[path]
    assert sorted(path.parent.iterdir()) == sorted(old)


def test_ctrl_c_during_fresh_says_that_the_run_goes_on(tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(data.Digits, "batch", stop)
    assert main(["train", "clip", "--fresh", "--budget", "smoke", "--out", str(tmp_path)]) == 130
    said = capsys.readouterr().err
    assert "minidalle: stopped; what is trained is kept; the same command goes on" in said


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


HUGE = ["--budget", "cpu", "--device", "cpu", "--out"]        # minutes of training


def test_kill_saves_as_ctrl_c_does(tmp_path):
    words = [sys.executable, "-m", "minidalle", "train", "judge", *HUGE, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}) as process:
        process.stderr.read(len("judge: "))                    # the bar is there: it trains
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in error
    [path] = tmp_path.rglob("judge.pt")
    state = read_checkpoint(path)              # of however few steps: the signal may come early
    assert "resume" in state and not state["finished"]


@pytest.mark.parametrize("streams", ["2>&1 | head -1", "2>/dev/full", ">&- 2>&-", "| true"])
def test_a_stream_that_breaks_off_ends_no_training_and_gives_no_traceback(tmp_path, streams):
    line = f"{sys.executable} -m minidalle train clip --budget smoke --device cpu --out {tmp_path}"
    done = subprocess.run(["bash", "-c", f"{line} {streams}; echo ${{PIPESTATUS[0]}} > "
                           f"{tmp_path}/code"], capture_output=True, text=True, env=ENVIRONMENT)
    assert (tmp_path / "code").read_text() == "0\n" and read_checkpoint(
        tmp_path / "drawn-smoke-0" / "clip.pt")["finished"]
    assert not re.search("Traceback|Error|Exception", done.stdout + done.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("words, code", [
    ("checks", 1), ("checks --json", 1), ("--help", 1), ("grade --help", 1), ("draw", 2),
    ("grade lessons/none.ipynb", 2), ("train clip --budget smoke --device cpu --out {}", 1)])
def test_what_cannot_be_printed_for_want_of_room_ends_with_1_and_one_sentence(
        tmp_path, words, code):
    """What should be written into files is there all the same."""
    line = f"{sys.executable} -m minidalle {words.format(tmp_path)} > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True,
                          env={**ENVIRONMENT, "MINIDALLE_QUIET": "1"})
    assert done.returncode == code and "Traceback" not in done.stderr
    said = "minidalle: what is printed could not be written (No space left on device)"
    assert said in done.stderr or words == "draw"
    assert code == 2 or says_one_sentence(done.stderr)
    assert "train" not in words or read_checkpoint(*tmp_path.rglob("clip.pt"))["finished"]


def test_without_a_command_the_help_is_printed_and_version_says_which_this_is(capsys):
    """The version of pyproject.toml and of the citation."""
    root = Path(__file__).parents[2]
    assert main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m minidalle") and "inpaint" in said
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    version = capsys.readouterr().out.removeprefix("minidalle ").strip()
    assert f'version = "{version}"' in (root / "pyproject.toml").read_text()
    assert f"version: {version}" in (root / "CITATION.cff").read_text()


def test_ctrl_c_in_the_first_second_is_quiet():
    """While Python and torch are still being read; on a fast machine the help may be out by then.
    """
    words = [sys.executable, "-m", "minidalle", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=ENVIRONMENT) as process:
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert error == "" and process.returncode in (130, 0) and (process.returncode == 130 or out)


# ---- in a process of its own ----------------------------------------------------------------

def test_help_names_every_command_and_is_quick_to_read(capsys):
    done = shell("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^    {command}  +\w", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert all(stage in done.stdout for stage in recipes.STAGES)
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
    with Image.open(runs / "smoke" / "draw.png") as picture:
        assert picture.height == 8 * 65


def test_a_refusal_in_a_process_of_its_own_is_one_line_and_exit_code_2(tmp_path):
    done = shell("draw", SEVEN, "--out", tmp_path, MINIDALLE_BUDGET="smoke")
    assert done.returncode == 2 and says_one_sentence(done.stderr) and done.stdout == ""


# ---- checks ---------------------------------------------------------------------------------

def test_checks_lists_every_exercise_under_its_lesson_and_as_json_the_listing_itself(capsys):
    assert main(["checks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listing()
    assert main(["checks"]) == 0
    lines, lesson = capsys.readouterr().out.splitlines(), None
    for one in listing():
        if one["lesson"] != lesson:
            lesson = one["lesson"]
            assert lines.pop(0) == lesson
        assert lines.pop(0).startswith(f"  {one['name']}, {one['points']} point")
        assert [lines.pop(0).strip() for _ in one["mistakes"]] == one["mistakes"]
    assert not lines


def test_compare_writes_its_table_over_nothing_that_is_not_json(tmp_path, capsys):
    kept = tmp_path / "model.pt"
    kept.write_bytes(b"weights")
    assert main(["compare", "--budget", "smoke", "--out", str(tmp_path / "runs"), "--json",
                 str(kept)]) == 2
    assert "ends in .json" in capsys.readouterr().err and kept.read_bytes() == b"weights"
