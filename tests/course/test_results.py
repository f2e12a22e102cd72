"""Results: what is handed in comes back, is drawn the same everywhere, and is worth its bands.

In place of models that paint stands one that writes the factors down, and a judge that reads them.
"""
import pickle
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from test_grade import notebook
from torch import nn

from minidalle.course import results
from minidalle.course.checks import Result, exercises, find, valued
from minidalle.course.checks.apart import drawn_and_read
from minidalle.course.checks.messages import Line
from minidalle.course.grade import earned, graded, handed_in
from minidalle.course.reports import label
from minidalle.course.results import judge_from, read_result, reading, write_result
from minidalle.course.sandbox import Apart, Limits
from minidalle.dalle import Dalle, DalleConfig, column, convolution, full, row
from minidalle.data import drawn
from minidalle.dvae import Dvae, DvaeConfig
from minidalle.metrics import Judge, JudgeConfig

RESULTS = [one for one in exercises() if isinstance(one, Result)]
GRAMMAR, SEEN = drawn("cpu").grammar, {}


@dataclass(frozen=True)
class ToyConfig:
    sizes: tuple[int, ...] = (3, 2)


class Toy(nn.Module):
    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.rand(config.sizes))
        self.register_buffer("measured", torch.tensor(1 / 3))


class Reader:
    """A judge of pictures in which the factors are written down."""

    def read(self, images):
        return images


def honest(words, models):
    """Paints what the caption says, and every fourth time another digit."""
    def paint(captions, g):
        SEEN["captions"] = captions
        SEEN["noise"] = torch.rand(1, generator=g).item()
        factors = torch.tensor([GRAMMAR.parse(caption) for caption in captions])
        factors[::4, 0] += 1
        return factors
    return paint


TOY = Result("toy.result", "99_toy", {"toy": (ToyConfig, Toy)}, honest, 1 / 560, 0.0)


def handed(folder: Path, name="Anna Muster") -> Path:
    torch.manual_seed(0)
    return write_result(TOY, name, {"toy": Toy(ToyConfig())}, folder)


# ---- the file

def test_weights_come_back_as_half_precision_has_them_and_what_was_measured_to_the_last_bit(
        tmp_path):
    name, models = read_result(TOY, handed(tmp_path))
    torch.manual_seed(0)
    there = Toy(ToyConfig())
    assert name == "Anna Muster" and models["toy"].config == ToyConfig()
    assert torch.equal(models["toy"].weight, there.weight.half().float())
    assert torch.equal(models["toy"].measured, there.measured)
    assert not models["toy"].weight.requires_grad and models["toy"].weight.dtype == torch.float32


@pytest.mark.parametrize("patterns", [(full,), (convolution, full), (row, column, full)])
def test_a_dalle_says_the_same_when_it_comes_back_whatever_its_blocks_may_see(tmp_path, patterns):
    torch.manual_seed(0)
    here = Dalle(DalleConfig(30, 5, 16, 4, width=16, depth=3, heads=2), patterns)
    for weight in here.parameters():                     # as half precision has them
        weight.data.copy_((20 * weight).half())
    result = Result("toy.result", "99_toy", {"dalle": (DalleConfig, Dalle)}, honest, 1 / 560, 0.0)
    _, models = read_result(result, write_result(result, "Anna", {"dalle": here}, tmp_path))
    ids, codes = torch.randint(30, (3, 5)), torch.randint(16, (3, 16))
    for said, back in zip(here(ids, codes), models["dalle"](ids, codes), strict=True):
        torch.testing.assert_close(back, said)


@pytest.mark.parametrize("name, models, words", [
    ("", {"toy": Toy(ToyConfig())}, "the name is ''; write your own"),
    (None, {"toy": Toy(ToyConfig())}, "the name is None"),
    ("Anna", {}, "the models are none; this road has toy"),
    ("Anna\nBen", {"toy": Toy(ToyConfig())}, "the name is 'Anna\\\\nBen'; write your own"),
    ("Anna" * 50, {"toy": Toy(ToyConfig())}, "write your own"),
    ("Anna", {"dvae": Toy(ToyConfig())}, "the models are dvae; this road has toy")])
def test_what_is_no_road_or_not_signed_is_not_written(tmp_path, name, models, words):
    with pytest.raises(ValueError, match=words):
        write_result(TOY, name, models, tmp_path)
    assert not list(tmp_path.iterdir())


class Evil:
    def __reduce__(self):
        return Path.touch, (Path(Evil.mark),)


def spoilt(file: Path, kind: str) -> None:
    state = torch.load(file, weights_only=True)
    part = state["parts"]["toy"]
    if kind == "code":
        Evil.mark = str(file.parent / "harm")
        file.write_bytes(pickle.dumps(Evil()))
        return
    if kind == "wide":
        part["config"]["sizes"] = (2 ** 40, 2)
    if kind == "other shape":
        part["state"]["weight"] = torch.zeros(9, 9)
    if kind == "unknown number":
        part["state"]["forward"] = torch.zeros(())
    if kind in ("name", "long name"):
        state["name"] = ["Anna"] if kind == "name" else 1000 * "Anna"
    if kind == "lesson":
        state["lesson"] = "98_toy"
    if kind == "parts":
        state["parts"] = {}
    torch.save(state, file)
    if kind == "torn":
        file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize("kind", [
    "code", "wide", "other shape", "unknown number", "name", "long name",
    "lesson", "parts", "torn"])
def test_a_spoilt_file_is_refused_in_a_sentence_and_runs_nothing(tmp_path, kind):
    file = handed(tmp_path)
    spoilt(file, kind)
    with pytest.raises(ValueError, match="it is not what hand_in has written for 99_toy"):
        read_result(TOY, file)
    assert not (tmp_path / "harm").exists()


def test_a_file_that_is_too_large_is_not_even_opened(tmp_path):
    file = handed(tmp_path)
    with open(file, "ab") as out:
        out.truncate(results.LARGEST + 1)
    with pytest.raises(ValueError, match="more than 16 MB"):
        read_result(TOY, file)


# ---- drawn and read

def test_every_fourth_picture_is_wrong_and_that_is_what_is_read(tmp_path):
    found = reading(TOY, handed(tmp_path), Reader())
    assert (found.name, found.right, found.of) == ("Anna Muster", 30, 40)


def test_the_same_name_has_the_same_captions_and_noise_and_another_one_has_others(tmp_path):
    seen = {}
    for name in ("Anna Muster", "  anna  MUSTER ", "Ben"):
        reading(TOY, handed(tmp_path, name), Reader())
        seen[name] = SEEN["captions"], SEEN["noise"]
    assert seen["Anna Muster"] == seen["  anna  MUSTER "] != seen["Ben"]
    assert len(set(SEEN["captions"])) > 20


def test_half_of_the_captions_are_of_combinations_that_were_never_trained_on(tmp_path):
    reading(TOY, handed(tmp_path), Reader())
    factors = torch.tensor([GRAMMAR.parse(caption) for caption in SEEN["captions"]])
    unseen = (factors[:, 0] + factors[:, 1] + 3 * factors[:, 2]) % 10 == 0
    assert unseen.tolist() == 20 * [False] + 20 * [True]


@pytest.mark.parametrize("right, reached, state", [
    (0, 0, "some"), (11, 0, "some"), (12, 1, "some"), (24, 2, "some"), (35, 2, "some"),
    (36, 3, "passed")])
def test_each_band_that_is_reached_is_worth_a_point(monkeypatch, right, reached, state):
    """Of 40, from 0.3, 0.6 and 0.9 on: 12, 24 and 36."""
    said = valued(find("unclip.result"), "Anna", right, 40)
    assert said.state == state and earned(said) == reached
    assert f"ight in {right} of 40 pictures, for the captions of Anna (chance 0.002" in said.message
    assert state == "passed" or label(said).startswith(f"Right in {right} of 40")


# ---- in the notebook, and where it is graded

def test_what_is_not_written_is_told_and_nothing_is_handed_in(tmp_path, monkeypatch, capsys):
    def result():
        raise NotImplementedError
    monkeypatch.chdir(tmp_path)
    results.hand_in("dalle.result", result)
    assert "dalle.result: not written yet." in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("book, file, found", [
    ("08_dalle.ipynb", "08_dalle.pt", True), ("08_anna.ipynb", "08_anna.pt", True),
    ("work.ipynb", "08_dalle.pt", True), ("work.ipynb", "09_gan.pt", False),
    ("muster_1_2_08_dalle.ipynb", "muster_1_3_08_dalle.pt", True),
    ("muster_1_2_08_dalle.ipynb", "other_4_5_08_dalle.pt", False)])
def test_the_file_beside_a_notebook_is_found_and_nobody_else_s(tmp_path, book, file, found):
    (tmp_path / book).touch()
    (tmp_path / file).touch()
    (tmp_path / "muster_9_9_08_dalle.pt").touch()
    assert handed_in(tmp_path / book, "08_dalle") == (tmp_path / file if found else None)
    (tmp_path / "another.ipynb").touch()                 # 08_dalle.pt may be that one's
    mine = book.startswith("muster") or book[:-6] == file[:-3]
    assert handed_in(tmp_path / book, "08_dalle") == (tmp_path / file if found and mine else None)


def test_the_grader_reads_the_same_as_the_notebook_at_home(tmp_path, monkeypatch):
    """A small road that has learnt nothing, and a judge that has learnt nothing either."""
    torch.manual_seed(0)
    judge = tmp_path / "judge" / "judge.pt"
    judge.parent.mkdir()
    torch.save({"settings": {"factors": [10, 8, 8]}, "model": Judge(JudgeConfig()).state_dict()},
               judge)
    monkeypatch.setattr(results, "judge_file", lambda: judge)
    words = results.Workshop("drawn", 0, "smoke", device="cpu").tokenizer
    dvae = Dvae(DvaeConfig(width=16, depth=1))
    dalle = Dalle(DalleConfig(words.vocab_size, words.context, 64, 8, width=16, depth=1, heads=2))
    result = find("dalle.result")
    file = write_result(result, "Anna", {"dvae": dvae, "dalle": dalle}, tmp_path)
    home = reading(result, file, judge_from(judge))
    done = graded(notebook(tmp_path / "08_dalle.ipynb", "pass"))
    said = done.verdicts["dalle.result"]
    assert said == valued(result, home.name, home.right, home.of) and not done.note
    assert done.eye == (f"dalle.result: {said.message}",)      # else a copy that passes is not seen
    file.write_bytes(b"nothing")
    said = graded(notebook(tmp_path / "08_dalle.ipynb", "pass")).verdicts["dalle.result"]
    assert said.state == "crashed" and "it is not what hand_in has written" in said.message
    file.unlink()
    said = graded(notebook(tmp_path / "08_dalle.ipynb", "pass")).verdicts["dalle.result"]
    assert said.state == "undefined" and "no 08_dalle.pt lies beside" in said.message


def test_a_road_that_takes_for_ever_or_its_process_down_costs_its_own_points_and_no_others(
        monkeypatch):
    def endless(*anything):
        while True:
            pass
    monkeypatch.setattr(results, "read_for", endless)
    asked = {"result": "dalle.result", "hand_in.pt": "a", "judge.pt": "b", "seconds": 0.2}
    assert drawn_and_read(asked) == {"error": "it was not done after 0.2 seconds"}
    apart, (ours, theirs) = Apart.__new__(Apart), socket.socketpair()
    apart.bank, apart.limits, apart.beside = Line(ours), Limits(), {}
    apart.until = time.monotonic() + 5
    theirs.close()
    said = apart.result(find("dalle.result"))
    assert said.state == "crashed" and said.message.endswith("drawn with: its process ended.")


@pytest.mark.parametrize("one", RESULTS, ids=lambda one: one.name)
def test_a_result_lies_in_a_lesson_that_trains_a_road_and_chance_is_below_its_first_band(one):
    assert one.lesson in ("08_dalle", "13_unclip", "14_latent")
    assert max(one.chance, one.broken) < one.bands[0] and one.points == 3
    assert list(one.bands) == sorted(one.bands) and one.bands[-1] <= 0.9
