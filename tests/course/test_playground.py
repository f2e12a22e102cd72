"""The playground: the same wish is the same picture as anywhere else, each control changes what it
says, and nothing is trained unasked."""
import json
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from minidalle.course import playground
from minidalle.course.playground import (
    STRENGTHS,
    Drawn,
    Playground,
    Wish,
    draw,
    edits,
    moment,
    side_by_side,
    usual,
    verdict,
)
from minidalle.train import seeded
from minidalle.workshop import recipes
from minidalle.workshop.demo import draw_many
from minidalle.workshop.recipes import ROADS, Workshop

SEVEN = "a red seven on blue"
NOTEBOOK = Path(__file__).resolve().parents[2] / "lessons" / "playground.ipynb"


@pytest.fixture(scope="module")
def shop(smoke) -> Workshop:
    return Workshop("drawn", 0, "smoke", smoke.folder, "cpu", say=lambda text: None)


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Workshop:
    """A workshop in which nothing is trained, and in which training would be an error."""
    for loop in ("fit", "play"):
        monkeypatch.setattr(recipes, loop, None)
    return Workshop("drawn", 0, "smoke", tmp_path, "cpu", say=lambda text: None)


def trained_roads(shop) -> list[str]:
    return [model for model in ROADS if not shop.missing(ROADS[model].needs(1))]


# ---- what is drawn ----

@pytest.mark.parametrize("model", list(ROADS))
def test_a_wish_is_the_picture_that_the_command_line_draws_with_that_seed(shop, model):
    if model not in trained_roads(shop):
        pytest.skip(f"{model} is not among the small models")
    image = draw(shop, Wish(model, SEVEN, 3)).image
    torch.testing.assert_close(image, draw_many(shop, shop.painter(model), [SEVEN], 3)[0])
    assert not torch.equal(image, draw(shop, Wish(model, SEVEN, 4)).image)


@pytest.mark.parametrize("model", [model for model in ROADS if "steps" in usual(model)])
def test_a_road_is_walked_in_the_steps_that_are_asked_and_with_that_guidance(shop, model):
    if model not in trained_roads(shop):
        pytest.skip(f"{model} is not among the small models")
    trace: list = []
    shop.painter(model)([SEVEN], seeded(0), steps=3, trace=trace)
    assert len(trace) == 3
    plain, other, louder = (draw(shop, Wish(model, SEVEN, 0, *knobs)).image
                            for knobs in ((None, None), (None, 3), (4.0, None)))
    assert not torch.equal(plain, other) and not torch.equal(plain, louder)
    torch.testing.assert_close(plain, draw(shop, Wish(model, SEVEN, 0, **usual(model))).image)


def test_the_making_begins_with_the_first_moment_and_ends_with_the_picture():
    images = [torch.full((3, 2, 2), float(k)) for k in range(4)]
    drawn = Drawn(images[3], "", [(images[0], "noise"), (images[1], ""), (images[2], "2x2")])
    said = [(image[0, 0, 0].item(), label) for image, label in (
        moment(drawn, share) for share in (0, 0.5, 0.9, 1))]
    assert said == [(0, "noise"), (1, "50% of the way"), (2, "2x2"), (3, "picture")]


def test_what_is_not_trained_is_told_and_nothing_is_trained(bare):
    for model in ROADS:
        with pytest.raises(ValueError, match=f"the road {model} needs .* press the button"):
            draw(bare, Wish(model, SEVEN))
    with pytest.raises(ValueError, match="an edit needs judge, clip, prior, decoder, upsampler"):
        edits(bare, torch.zeros(3, 32, 32), SEVEN, "a red seven on white")
    with pytest.raises(ValueError, match="needs"):
        side_by_side(bare, SEVEN, 0)
    assert verdict(bare, torch.zeros(3, 32, 32), SEVEN) == ["nobody reads it: no judge is trained"]


def test_a_caption_without_a_word_of_this_world_is_told_with_one_that_has(shop):
    with pytest.raises(ValueError, match="'cat' has no word of this world; write one"):
        draw(shop, Wish("gan", "cat"))
    torch.testing.assert_close(draw(shop, Wish("gan", f"shiny {SEVEN}")).image,
                               draw(shop, Wish("gan", SEVEN)).image)


# ---- what is read ----

@pytest.mark.parametrize("caption, seen, said", [
    ("blue paper, a red seven", SEVEN, [f"the judge reads '{SEVEN}', as asked"]),
    ("a red one on blue", SEVEN,
     [f"the judge reads '{SEVEN}', and asked was 'a red one on blue'"]),
    ("red red red", SEVEN, [f"the judge reads '{SEVEN}'"])])
def test_the_judge_and_clip_are_quoted_beside_what_was_asked(monkeypatch, caption, seen, said):
    """The judge reads a red seven on blue; CLIP the same, e^2 times as likely as anything else."""
    grammar = recipes.WORLDS["drawn"](torch.device("cpu")).grammar
    judge = SimpleNamespace(read=lambda images: torch.tensor([grammar.parse(seen)]))
    shop = SimpleNamespace(world=SimpleNamespace(grammar=grammar), judge=lambda: judge,
                           models={"judge": judge, "clip": None}, missing=lambda stages: [],
                           make=lambda stages: None)
    monkeypatch.setattr(playground, "read", lambda shop, image, sentence: seen)
    monkeypatch.setattr(playground, "lead", lambda *args: torch.tensor([2.0]))
    lines = verdict(shop, torch.zeros(3, 32, 32), caption)
    assert lines[:1] == said and lines[1].endswith("that is 7.39 times as likely to it as the next")
    assert lines[1].split(";")[0] == said[0].replace("the judge", "CLIP")


def test_an_edit_has_every_strength_from_the_picture_itself_and_none_where_nothing_changes(
        shop, monkeypatch):
    asked = []
    monkeypatch.setattr(playground, "edit", lambda road, images, before, after, strength:
                        asked.append((set(before), set(after), strength)) or images)
    image = torch.rand(3, 32, 32)
    assert edits(shop, image, SEVEN, SEVEN).shape == (len(STRENGTHS), 3, 32, 32) and not asked
    edits(shop, image, SEVEN, "a red one on blue")
    [(before, after, strength)] = asked
    assert (before, after) == ({SEVEN}, {"a red one on blue"})
    assert strength[:, 0].tolist() == pytest.approx([k / 10 for k in range(11)])


def test_models_are_loaded_without_a_word(smoke, capsys):
    """Where files lie is no part of what a figure says."""
    shop = Workshop("drawn", 0, "smoke", smoke.folder, "cpu")
    verdict(shop, draw(shop, Wish("gan", SEVEN)).image, SEVEN)
    assert capsys.readouterr().out == "" and {"gan", "clip", "judge"} <= set(shop.models)


def test_side_by_side_has_every_road_that_is_trained_and_no_other(shop, bare):
    found = side_by_side(shop, SEVEN, 1)
    assert list(found) == trained_roads(shop)
    image, seconds = found["gan"]
    torch.testing.assert_close(image, draw(shop, Wish("gan", SEVEN, 1)).image)
    assert 0 < seconds < 60


# ---- the controls ----

def test_words_move_the_sliders_and_sliders_write_the_words(shop):
    play = Playground(shop)
    play.caption.value = "white paper, a pink nine"
    assert [factor.value for factor in play.factors] == ["nine", "pink", "white"]
    play.factors[0].value = "two"
    assert play.caption.value == "a pink two on white"
    play.caption.value = "pink and two"                        # no sentence: they stay
    assert [factor.value for factor in play.factors] == ["two", "pink", "white"]
    assert play.caption.value == "pink and two"


def test_a_road_brings_its_own_guidance_and_steps_and_greys_what_it_has_not(shop):
    play = Playground(shop)
    for model in ROADS:
        play.road.value = model
        takes = usual(model)
        assert [play.guidance.disabled, play.steps.disabled] == [
            name not in takes for name in ("guidance", "steps")]
        assert play.wish() == Wish(model, play.caption.value, 0, **takes)


def test_a_wish_is_drawn_once_and_each_control_changes_what_is_drawn(shop, monkeypatch):
    drawn = []
    monkeypatch.setattr(playground, "draw", lambda shop, wish: drawn.append(wish) or Drawn(
        torch.zeros(3, 32, 32), "nothing", [(torch.zeros(3, 32, 32), "")] * 3))
    monkeypatch.setattr(playground, "show_moment", lambda *args: None)
    play = Playground(shop)
    play.draw()
    play.share.value = 0                                       # the same picture, earlier
    play.share.value = 100
    assert drawn == [Wish("unclip", play.caption.value, 0, **usual("unclip"))]
    for control, value in ((play.seed, 5), (play.guidance, 3), (play.steps, 4),
                           (play.factors[1], "pink"), (play.road, "gan"),
                           (play.caption, "a white nine on black")):
        control.value = value
    assert [wish.seed for wish in drawn] == [0, 5, 5, 5, 5, 5, 5]
    assert [wish.steps for wish in drawn] == [12, 12, 12, 4, 4, None, None]
    assert [wish.guidance for wish in drawn] == [1, 1, 3, 3, 3, None, None]
    assert "pink" in drawn[4].caption and drawn[5].road == "gan"
    assert drawn[6].caption == "a white nine on black"


def test_a_button_offers_to_train_what_is_missing_and_nothing_is_trained_before_it_is_pressed(
        bare, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(bare, "make", lambda stages: made.append(stages))
    play = Playground(bare)
    button, _ = play.training().children
    assert button.description.startswith("train judge, clip, prior") and not made
    play.road.value = "imagen"
    play.draw(), play.roads(), play.edit()
    assert not made and "textmodel" in button.description
    assert "the road imagen needs" in capsys.readouterr().out
    button.click()
    assert made == [["judge", "clip", "textmodel", "imagen", "superres"]]
    monkeypatch.setattr(bare, "missing", lambda stages: [])
    monkeypatch.setattr(playground, "draw", lambda *args: 1 / 0 if made[1:] else Drawn(
        torch.zeros(3, 32, 32), "", [(torch.zeros(3, 32, 32), "")]))
    monkeypatch.setattr(playground, "verdict", lambda *args: [])
    play.road.value = "gan"
    assert button.layout.display == "none"


def test_the_figure_of_a_moment_says_in_words_what_it_shows(monkeypatch):
    said = []
    monkeypatch.setattr(playground, "see", said.append)
    strip = [(torch.zeros(3, 16, 16), "noise"), (torch.zeros(3, 32, 32), "32x32")]
    playground.show_moment(Drawn(torch.zeros(3, 32, 32), "two moments", strip), 0,
                           Wish("unclip", SEVEN, 2), ["the judge reads nothing"])
    titles = [axes.get_title() for axes in plt.gcf().axes]
    plt.close()
    assert titles == [f"{SEVEN}\nnoise", "noise", "32x32"]
    assert said == [f"On the road unclip, '{SEVEN}' with seed 2, noise: the judge reads nothing. "
                    "Beside it: two moments."]


# ---- the notebook ----

def test_the_notebook_is_found_like_a_lesson_keeps_no_output_and_trains_nothing(
        monkeypatch, tmp_path, capsys):
    """Run from top to bottom where nothing is trained."""
    for loop in ("fit", "play"):
        monkeypatch.setattr(recipes, loop, None)
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setenv("MINIDALLE_RUNS", str(tmp_path))
    monkeypatch.setenv("MINIDALLE_BUDGET", "smoke")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"]
             if cell["cell_type"] == "code"]
    names = {"__name__": "__main__"}
    with plt.rc_context():
        for cell in cells:
            assert not cell["outputs"] and cell["execution_count"] is None
            exec("".join(cell["source"]), names)
    assert re.search(r"press the button that trains", capsys.readouterr().out)
    assert not list(tmp_path.rglob("*.pt"))
