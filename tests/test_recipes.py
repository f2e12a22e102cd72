"""Recipes: every stage learns from what it may see, and a stale checkpoint cannot slip in."""
import shutil
from dataclasses import asdict

import pytest
import torch

from minidalle import recipes
from minidalle.checkpoint import fingerprint, read_checkpoint
from minidalle.data import Digits, is_unseen
from minidalle.recipes import FITS, PURPOSE, SECONDS, STAGES, Workshop, fit_config
from minidalle.train import seeded

pytestmark = pytest.mark.usefixtures("quick")


def workshop(folder, **settings) -> Workshop:
    return Workshop(**{"budget": "smoke", "folder": folder, "device": "cpu",
                       "say": lambda line: None, **settings})


@pytest.fixture
def shop(smoke) -> Workshop:
    """A workshop over what the small demo trained; nothing in it is written to."""
    return workshop(smoke.folder)


@pytest.fixture
def copied(smoke, tmp_path):
    """A folder with a copy of what the small demo trained."""
    shutil.copytree(smoke.models, tmp_path / smoke.models.name)
    return tmp_path


@pytest.fixture
def batches(copied, monkeypatch):
    """How each stage makes its batches, and the workshop in which no model was trained at all."""
    kept = {}

    def fit(model, batch, config, seed, path, settings):
        kept[path.stem] = batch
        return model.eval()
    monkeypatch.setattr(recipes, "fit", fit)
    monkeypatch.setattr(recipes, "load", lambda *args: None)
    return kept, train_all(workshop(copied))


def train_all(shop: Workshop) -> Workshop:
    for stage in STAGES:
        getattr(shop, stage)()
    return shop


# ---- the table ------------------------------------------------------------------------------

def test_every_stage_has_a_recipe_a_purpose_a_time_and_a_method():
    assert list(STAGES) == list(FITS) == list(PURPOSE) == list(SECONDS)
    assert all(callable(getattr(Workshop, stage)) for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_smoke_is_short_and_gpu_sees_no_fewer_pictures_than_cpu(stage):
    smoke, cpu, gpu = (fit_config(stage, budget) for budget in ("smoke", "cpu", "gpu"))
    assert cpu == FITS[stage] and smoke.steps * smoke.batch <= 64
    assert gpu.steps * gpu.batch >= cpu.steps * cpu.batch


# ---- what is learned from what --------------------------------------------------------------

def test_only_the_judge_ever_sees_an_unseen_combination(batches, monkeypatch):
    """The oracle is the rule itself, over all factors that each stage is shown."""
    shown, render = [], Digits.render

    def noting(self, factors, split, generator=None):
        shown.append((factors, split))
        return render(self, factors, split, generator)
    monkeypatch.setattr(Digits, "render", noting)
    for stage in STAGES:
        shown.clear()
        batches[0][stage](100, seeded(0))
        (factors, split), = shown
        assert len(factors) == 100 and split != "test"
        assert is_unseen(factors).any() == (stage == "judge"), stage


def test_prior_and_decoder_learn_the_vectors_of_the_very_clip_they_are_used_with(batches):
    """The same batch, drawn again from the world and encoded by hand; no gradient hangs on it."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    ids, clip = shop.tokenizer.batch(drawn.captions), shop.clip()
    prior_ids, text, image = batches["prior"](16, seeded(5))
    assert torch.equal(prior_ids, ids) and torch.equal(text, clip.encode_text(ids))
    assert torch.equal(image, clip.encode_image(drawn.images)) and not image.requires_grad
    assert torch.equal(batches["decoder"](16, seeded(5))[1], image)


def test_models_fit_together_as_one_road_and_are_done_learning(shop):
    road = shop.unclip()
    assert [road.clip, road.prior, road.decoder, road.upsampler] == \
        [shop.models[stage] for stage in STAGES[1:]]
    assert road.upsampler.config.small == road.decoder.config.size
    assert road.upsampler.config.size == shop.world.size
    assert road.clip.config.vocab == road.tokenizer.vocab_size
    for model in shop.models.values():
        assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_a_model_is_loaded_once_and_counts_the_seconds_it_took_to_train(shop):
    assert shop.clip() is shop.clip() and shop.prior() is shop.prior()
    assert shop.seconds == {stage: read_checkpoint(shop.path(stage))["seconds"]
                            for stage in ("clip", "prior")}


# ---- seeds ----------------------------------------------------------------------------------

def test_the_same_seed_makes_the_same_weights_another_others_and_the_callers_are_untouched(
        smoke, shop, tmp_path):
    before = torch.get_rng_state()
    torch.rand(3)                                              # the caller's draws do not matter
    again, other = workshop(tmp_path, seed=0), workshop(tmp_path, seed=1)
    assert fingerprint(again.clip()) == fingerprint(shop.clip()) != fingerprint(other.clip())
    torch.set_rng_state(before)
    workshop(tmp_path / "new").clip()
    assert torch.equal(torch.get_rng_state(), before)


def test_data_seed_and_budget_each_have_a_folder_of_their_own(tmp_path, monkeypatch):
    assert workshop(tmp_path, seed=7).folder == tmp_path / "drawn-smoke-7"
    assert workshop(tmp_path, data="cifar10", budget="cpu").folder == tmp_path / "cifar10-cpu-0"
    monkeypatch.setenv("MINIDALLE_BUDGET", "gpu")
    assert workshop(tmp_path, budget=None).folder == tmp_path / "drawn-gpu-0"


# ---- checkpoints ----------------------------------------------------------------------------

def test_missing_names_what_a_caption_needs_and_an_unfinished_training_is_missing(copied):
    assert workshop(copied, seed=1).missing() == ["clip", "prior", "decoder", "upsampler"]
    shop = workshop(copied)
    assert shop.missing() == []
    state = read_checkpoint(shop.path("decoder"))
    torch.save({**state, "finished": False}, shop.path("decoder"))
    shop.path("judge").unlink()                                # measures, and draws nothing
    shop.path("upsampler").unlink()
    assert shop.missing() == ["decoder", "upsampler"]


@pytest.mark.parametrize("stage", ["prior", "decoder"])
def test_a_stage_that_learned_from_another_clip_is_refused_by_its_fingerprint(copied, stage):
    shop = workshop(copied)
    old = fingerprint(shop.clip())
    with torch.no_grad():
        next(shop.clip().parameters()).view(-1)[0] += 1
    new = fingerprint(shop.clip())
    with pytest.raises(ValueError, match=rf"{stage}.pt was made with \w*clip\w* = {old}, .*{new}"):
        getattr(shop, stage)()


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_keeps_each_setting_of_its_model_and_of_its_training(shop, stage):
    """A name that both have, such as steps, must not hide one value behind the other."""
    model = getattr(shop, stage)()
    kept = read_checkpoint(shop.path(stage))["settings"]
    for config in (model.config, fit_config(stage, "smoke")):
        for name, value in asdict(config).items():
            assert value in [v for key, v in kept.items() if key.endswith(name)], name
    assert kept["stage"] == stage and kept["data"] == "drawn" and kept["seed"] == 0


def test_fresh_throws_away_what_was_there_whole_or_not(copied):
    shop = workshop(copied, fresh=True)
    shop.path("judge").write_bytes(b"truncated")
    shop.judge()
    assert read_checkpoint(shop.path("judge"))["finished"]


def test_each_stage_says_what_it_does_and_on_the_cpu_budget_how_long(tmp_path, monkeypatch, smoke):
    said = []
    train_all(workshop(smoke.folder, say=said.append))
    assert said == [f"{stage}: loaded from {smoke.models / stage}.pt" for stage in STAGES]
    said.clear()

    def stop(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(recipes, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        workshop(tmp_path, budget="cpu", say=said.append).upsampler()
    assert said == [f"upsampler: {PURPOSE['upsampler']}; training {FITS['upsampler'].steps} steps, "
                    f"about {SECONDS['upsampler']} s on two CPU cores"]


def test_a_world_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    with pytest.raises(ValueError, match="data is 'faces'; choose one of drawn, mnist, cifar10"):
        workshop(tmp_path, data="faces")
