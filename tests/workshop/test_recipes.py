"""Recipes: every stage learns from what it may see, and a stale checkpoint cannot slip in."""
import shutil
from dataclasses import asdict, replace

import pytest
import torch

from minidalle import dalle, dit, gan, imagen, latent, unclip
from minidalle.ar_prior import ArPrior
from minidalle.checkpoint import fingerprint, read_checkpoint
from minidalle.data import Digits, is_unseen
from minidalle.train import seeded
from minidalle.workshop import recipes
from minidalle.workshop.recipes import (
    FITS,
    PURPOSE,
    ROADS,
    SECONDS,
    STAGES,
    STRETCH,
    Workshop,
    fit_config,
)

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
    for loop in ("fit", "play"):
        monkeypatch.setattr(recipes, loop, fit)
    monkeypatch.setattr(recipes, "load", lambda *args: None)
    return kept, train_all(workshop(copied))


def train_all(shop: Workshop) -> Workshop:
    shop.make(STAGES)
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


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("data", STRETCH)
def test_the_gpu_budget_doubles_steps_and_batch_and_a_harder_world_takes_more_steps(stage, data):
    """By hand from the table; nothing else changes, and what the smoke budget does never grows."""
    once, stretch = FITS[stage], STRETCH[data]
    if stage == "judge":                               # reads real pictures longer still
        stretch *= {"mnist": 5, "cifar10": 5}.get(data, 1)
    if (stage, data) == ("dalle", "pairs"):            # hears one word late
        stretch *= 2
    assert fit_config(stage, "cpu", data) == replace(once, steps=stretch * once.steps)
    assert fit_config(stage, "gpu", data) == replace(once, steps=2 * stretch * once.steps,
                                                     batch=2 * once.batch)
    assert fit_config(stage, "smoke", data) == fit_config(stage, "smoke")


def test_the_worlds_that_vary_more_than_fonts_are_stretched_in_steps_and_in_announced_seconds(
        tmp_path, monkeypatch):
    assert STRETCH["drawn"] == 1 and all(STRETCH[data] > 1 for data in ("mnist", "cifar10"))
    said = []

    def stop(model, batch, fits, *rest):
        said.append(fits.steps)
        raise KeyboardInterrupt
    monkeypatch.setattr(recipes, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        workshop(tmp_path, data="mnist", budget="cpu", say=said.append).upsampler()
    steps, seconds = (STRETCH["mnist"] * table["upsampler"] for table in
                      ({"upsampler": FITS["upsampler"].steps}, SECONDS))
    assert said[1] == steps and f"training {steps} steps, up to about {seconds} s" in said[0]


# ---- what is learned from what --------------------------------------------------------------

def test_only_the_judge_ever_sees_an_unseen_combination(batches, monkeypatch):
    """The oracle is the rule itself, over all factors that each stage is shown, or told of."""
    shown, draw = [], Digits.factors

    def noting(self, n, split, generator=None):
        shown.append((draw(self, n, split, generator), split))
        return shown[-1][0]
    monkeypatch.setattr(Digits, "factors", noting)
    for stage in STAGES:
        shown.clear()
        batches[0][stage](100, seeded(0))
        (factors, split), = shown
        assert len(factors) == 100 and split != "test"
        assert is_unseen(factors).any() == (stage == "judge"), stage


def test_both_priors_and_the_decoder_learn_the_vectors_of_the_very_clip_they_are_used_with(batches):
    """The same batch, drawn again from the world and encoded by hand; no gradient hangs on it."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    ids, clip = shop.tokenizer.batch(drawn.captions), shop.clip()
    for prior in ("prior", "arprior"):
        prior_ids, text, image = batches[prior](16, seeded(5))
        assert torch.equal(prior_ids, ids) and torch.equal(text, clip.encode_text(ids))
        assert torch.equal(image, clip.encode_image(drawn.images)) and not image.requires_grad
    assert torch.equal(batches["decoder"](16, seeded(5))[1], image)


def test_axes_and_buckets_come_from_training_pictures_of_this_clip_and_seed_alone(
        batches, monkeypatch):
    """Those of the loaded prior, found again by hand; no unseen combination is among them."""
    shop, shown, batch = batches[1], [], Digits.batch

    def noting(self, n, split, generator=None):
        shown.append((split, made := batch(self, n, split, generator)))
        return made
    monkeypatch.setattr(Digits, "batch", noting)
    prior = shop.models.pop("arprior")
    again = shop.arprior()
    (split, drawn), = shown
    assert split == "train" and len(drawn.captions) == 128 and not is_unseen(drawn.factors).any()
    image = shop.clip().encode_image(drawn.images)
    text = shop.clip().encode_text(shop.tokenizer.batch(drawn.captions))
    by_hand = ArPrior(prior.config).fit_codes(image, text)
    for name, value in by_hand.named_buffers():
        assert torch.equal(prior.get_buffer(name), value) and torch.equal(again.get_buffer(name),
                                                                          value), name


def test_the_other_prior_takes_its_place_on_the_road_and_paints(shop):
    road, other = shop.unclip(), shop.unclip(shop.arprior)
    assert road.prior is shop.models["prior"] and other.prior is shop.models["arprior"]
    assert [road.clip, road.decoder, road.upsampler] == [other.clip, other.decoder, other.upsampler]
    images = unclip.caption_to_picture(other, ["a red seven on blue"] * 2, seeded(0))
    assert images.shape == (2, 3, 32, 32) and images.abs().max() <= 1
    assert other.prior.config.vocab == road.prior.config.vocab


def test_the_diffusion_prior_alone_speaks_more_clearly_where_a_world_wants_it(shop, monkeypatch):
    """In handwriting five times as clearly; fonts need nothing, nor does the other prior."""
    shop.make(("judge", *ROADS["unclip"].stages, "arprior"))
    assert shop.unclip().prior_guidance == 1
    monkeypatch.setattr(shop, "data", "mnist")
    assert shop.unclip().prior_guidance == 5
    assert shop.unclip(shop.arprior).prior_guidance == 1


def test_captions_that_differ_in_case_and_spaces_alone_are_the_same_ids(shop):
    for one in shop.world.grammar.every()[::97]:
        assert torch.equal(shop.tokenizer.batch([one.title(), f" {one.replace(' ', '  ')}"]),
                           shop.tokenizer.batch([one, one]))


def test_models_fit_together_as_one_road_and_are_done_learning(shop):
    road = shop.unclip()
    assert [road.clip, road.prior, road.decoder, road.upsampler] == \
        [shop.models[stage] for stage in ROADS["unclip"].stages]
    assert road.upsampler.config.small == road.decoder.config.size
    assert road.upsampler.config.size == shop.world.size
    assert road.clip.config.vocab == road.tokenizer.vocab_size
    other = shop.dalle_road()
    assert [other.clip, other.dvae, other.dalle] == \
        [shop.models[stage] for stage in ROADS["dalle"].stages]
    assert other.dvae.config.size == shop.world.size and other.dalle.config.pad == 0
    assert (other.dalle.config.codes, other.dalle.config.grid, other.dalle.config.vocab) \
        == (other.dvae.config.codes, other.dvae.config.grid, road.tokenizer.vocab_size)
    third = shop.latent_road()
    assert [third.clip, third.vae, third.denoiser] == \
        [shop.models[stage] for stage in ROADS["latent"].stages]
    assert third.vae.config.size == shop.world.size
    assert (third.denoiser.config.channels, *2 * [third.denoiser.config.grid]) == third.vae.shape
    fourth = shop.gan_road()
    assert [fourth.clip, fourth.gan] == [shop.models[stage] for stage in ROADS["gan"].stages]
    assert (fourth.gan.config.size, fourth.gan.config.embed) \
        == (shop.world.size, fourth.clip.config.embed)
    fifth = shop.imagen_road()
    assert [fifth.text, fifth.base, fifth.superres] == \
        [shop.models[stage] for stage in ROADS["imagen"].stages]
    assert fifth.base.config.size == fifth.superres.config.small == shop.world.size // 2
    assert fifth.superres.config.size == shop.world.size
    assert fifth.text.config.vocab == fifth.tokenizer.vocab_size
    sixth = shop.flow_road()
    assert [sixth.clip, sixth.model, sixth.student] == \
        [shop.models[stage] for stage in ROADS["flow"].stages]
    assert sixth.model.config == sixth.student.config
    assert (sixth.model.config.words, sixth.model.config.size) \
        == (sixth.clip.config.width, shop.world.size)
    for model in shop.models.values():
        assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_dalle_learns_the_codes_of_the_very_dvae_that_paints_them(batches):
    """The same batch, drawn again from the world and encoded by hand."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    ids, codes = batches["dalle"](16, seeded(5))
    assert torch.equal(ids, shop.tokenizer.batch(drawn.captions))
    assert torch.equal(codes, shop.dvae().encode(drawn.images)) and codes.shape == (16, 64)


def test_the_captioner_begins_where_this_dalle_has_ended_and_learns_from_the_same_pages(batches):
    """No step was made here: its weights are those of DALL-E, but for the new vector."""
    batches, shop = batches
    mine, dalle = shop.captioner().state_dict(), shop.dalle().state_dict()
    assert set(mine) - set(dalle) == {"telling"}
    assert all(value.equal(mine[name]) for name, value in dalle.items())
    for part, other in zip(batches["captioner"](16, seeded(5)), batches["dalle"](16, seeded(5)),
                           strict=True):
        assert part.equal(other)
    road = shop.caption_road()
    assert [road.dvae, road.dalle] == [shop.models["dvae"], shop.models["captioner"]]


def test_the_denoiser_learns_latents_of_this_vae_and_the_words_of_this_clip(batches):
    """The same batch, drawn again from the world and encoded by hand; the latents are draws of
    their clouds."""
    batches, shop = batches
    g = seeded(5)
    drawn = shop.world.batch(16, "train", g)
    z, states, heard = batches["latent"](16, seeded(5))
    assert torch.equal(z, shop.vae().encode(drawn.images, g)) and not z.requires_grad
    ids = shop.tokenizer.batch(drawn.captions)
    assert torch.equal(states, shop.clip().text_tower.states(ids)) and states.shape[:2] == ids.shape
    assert torch.equal(heard, ids != shop.tokenizer.pad) and not states.requires_grad


def test_the_gan_learns_pictures_with_the_text_vectors_of_the_very_clip_it_is_used_with(batches):
    """The same batch, drawn again from the world and encoded by hand; no gradient hangs on it."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    images, text = batches["gan"](16, seeded(5))
    assert torch.equal(images, drawn.images) and not text.requires_grad
    assert torch.equal(text, shop.clip().encode_text(shop.tokenizer.batch(drawn.captions)))


def test_the_text_encoder_is_told_captions_and_never_shown_a_picture(batches, monkeypatch):
    """Its batch is ids alone, of captions of this world, and nothing is painted for it."""
    def no_pictures(*args):
        raise AssertionError("a picture was painted")
    monkeypatch.setattr(Digits, "render", no_pictures)
    batches, shop = batches
    ids = batches["textmodel"](16, seeded(5))
    assert ids.dtype == torch.long and ids.shape == (16, shop.tokenizer.context)
    assert all(shop.world.grammar.parse(shop.tokenizer.decode(row)) for row in ids)


@pytest.mark.parametrize("stage", ["imagen", "superres"])
def test_both_models_of_imagen_learn_pictures_and_the_states_of_this_text_encoder(batches, stage):
    """The same batch, drawn again from the world and encoded by hand; no gradient hangs on it."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    images, states, heard = batches[stage](16, seeded(5))
    ids = shop.tokenizer.batch(drawn.captions)
    assert torch.equal(images, drawn.images) and torch.equal(heard, ids != shop.tokenizer.pad)
    assert torch.equal(states, shop.textmodel().states(ids)) and not states.requires_grad


def test_the_flow_learns_pictures_and_the_words_of_the_very_clip_it_is_used_with(batches):
    """The same batch, drawn again from the world and encoded by hand; no gradient hangs on it."""
    batches, shop = batches
    drawn = shop.world.batch(16, "train", seeded(5))
    images, states, heard = batches["flow"](16, seeded(5))
    ids = shop.tokenizer.batch(drawn.captions)
    assert torch.equal(images, drawn.images) and torch.equal(heard, ids != shop.tokenizer.pad)
    assert torch.equal(states, shop.clip().text_tower.states(ids)) and not states.requires_grad


def test_the_student_learns_where_the_paths_of_this_flow_end_and_begins_as_it(batches):
    """Captions of training, whose pictures are the flow's own; its first weights are the flow's."""
    batches, shop = batches
    g = seeded(5)
    ids = shop.tokenizer.batch(shop.world.batch(16, "train", g).captions)
    noise, images, states, heard = batches["student"](16, seeded(5))
    assert torch.equal(heard, ids != shop.tokenizer.pad)
    assert torch.equal(noise, torch.randn(noise.shape, generator=g))
    paths = shop.flow().pairs((states, heard), seeded(0))[1]
    assert images.shape == paths.shape and not images.requires_grad and images.abs().max() <= 1.01
    for name, weight in shop.flow().state_dict().items():
        assert torch.equal(shop.student().state_dict()[name], weight), name


def test_the_schedules_of_the_dvae_end_with_its_training(shop):
    assert shop.dvae().config.steps == fit_config("dvae", "smoke").steps == 4


@pytest.mark.parametrize("model, alone, knob", [
    ("unclip", unclip.caption_to_picture, "guidance"),
    ("dalle", dalle.caption_to_picture, "guidance"),
    ("latent", latent.caption_to_picture, "guidance"),
    ("gan", gan.caption_to_picture, "truncation"),
    ("imagen", imagen.caption_to_picture, "guidance"),
    ("flow", dit.caption_to_picture, "guidance")])
def test_a_painter_is_caption_to_picture_of_that_road_with_its_models_in_place(
        shop, model, alone, knob):
    road = {"unclip": shop.unclip, "dalle": shop.dalle_road, "latent": shop.latent_road,
            "gan": shop.gan_road, "imagen": shop.imagen_road, "flow": shop.flow_road}[model]()
    captions = ["a red seven on blue", "a pink 3 on black paper"]
    images = shop.painter(model)(captions, seeded(3), **{knob: 3.0})
    assert torch.equal(images, alone(road, captions, seeded(3), **{knob: 3.0}))
    assert images.shape == (2, 3, 32, 32)


def test_dalle_and_imagen_paint_without_any_clip_and_a_road_that_is_none_is_told(copied):
    shop = workshop(copied)
    shop.path("clip").unlink()
    for model in ("dalle", "imagen"):
        shop.painter(model)(["a red seven on blue"], seeded(0))
    assert not shop.path("clip").exists()
    with pytest.raises(ValueError, match="no road 'none'; choose one of unclip, dalle, latent"):
        shop.painter("none")


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

def test_missing_names_what_is_asked_for_and_an_unfinished_training_is_missing(copied):
    assert workshop(copied, seed=1).missing(STAGES) == list(STAGES)
    shop = workshop(copied)
    assert shop.missing(STAGES) == []
    state = read_checkpoint(shop.path("decoder"))
    del state["sha256"]                                        # which knew of nothing to go on with
    resume = dict.fromkeys(("model", "optimizers", "generator"), {})
    torch.save({**state, "finished": False, "resume": resume}, shop.path("decoder"))
    shop.path("judge").unlink()
    shop.path("upsampler").unlink()
    assert shop.missing(ROADS["unclip"].stages) == ["decoder", "upsampler"]
    assert shop.missing(("judge", *ROADS["dalle"].stages)) == ["judge"]


@pytest.mark.parametrize("stage", ["prior", "arprior", "decoder"])
def test_a_stage_that_learned_from_another_clip_is_refused_by_its_fingerprint(copied, stage):
    shop = workshop(copied)
    old = fingerprint(shop.clip())
    with torch.no_grad():
        next(shop.clip().parameters()).view(-1)[0] += 1
    new = fingerprint(shop.clip())
    with pytest.raises(ValueError, match=rf"{stage}.pt was made with \w*clip\w* = {old}, .*{new}"):
        getattr(shop, stage)()


def test_dalle_that_learned_from_another_dvae_is_refused_by_its_fingerprint(copied):
    shop = workshop(copied)
    old = fingerprint(shop.dvae())
    with torch.no_grad():
        shop.dvae().book.view(-1)[0] += 1
    with pytest.raises(ValueError, match=rf"dalle.pt was made with taught_by_dvae = {old}, "):
        shop.dalle()


@pytest.mark.parametrize("teacher", ["clip", "vae"])
def test_a_denoiser_of_another_clip_or_vae_is_refused_by_its_fingerprint(copied, teacher):
    shop = workshop(copied)
    model = getattr(shop, teacher)()
    old = fingerprint(model)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(ValueError, match=rf"latent.pt was made with taught_by_{teacher} = {old}, "):
        shop.latent()


def test_a_gan_of_another_clip_is_refused_by_its_fingerprint(copied):
    shop = workshop(copied)
    old = fingerprint(shop.clip())
    with torch.no_grad():
        next(shop.clip().parameters()).add_(1)
    with pytest.raises(ValueError, match=rf"gan.pt was made with taught_by_clip = {old}, "):
        shop.gan()


@pytest.mark.parametrize("stage, teacher", [("flow", "clip"), ("student", "flow")])
def test_a_flow_of_another_clip_and_a_student_of_another_flow_are_refused(copied, stage, teacher):
    shop = workshop(copied)
    old = fingerprint(getattr(shop, teacher)())
    with torch.no_grad():
        next(getattr(shop, teacher)().parameters()).add_(1)
    with pytest.raises(ValueError,
                       match=rf"{stage}.pt was made with taught_by_{teacher} = {old}, "):
        getattr(shop, stage)()


@pytest.mark.parametrize("stage", ["imagen", "superres"])
def test_a_model_of_another_text_encoder_is_refused_by_its_fingerprint(copied, stage):
    shop = workshop(copied)
    old = fingerprint(shop.textmodel())
    with torch.no_grad():
        next(shop.textmodel().parameters()).add_(1)
    with pytest.raises(ValueError,
                       match=rf"{stage}.pt was made with taught_by_textmodel = {old}, "):
        getattr(shop, stage)()


def test_a_checkpoint_from_before_there_were_two_roads_still_loads(copied, monkeypatch):
    """Such a one says of every stage which CLIP taught it, and None where none did."""
    shop = workshop(copied)
    for stage in ("clip", "upsampler", "prior"):
        state = read_checkpoint(shop.path(stage))
        state["settings"].setdefault("taught_by_clip", None)
        torch.save(state, shop.path(stage))
    monkeypatch.setattr(recipes, "fit", None)                  # so nothing can be trained
    shop.make(("clip", "upsampler", "prior"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_keeps_each_setting_of_its_model_and_of_its_training(shop, stage):
    """A name that both have, such as steps, must not hide one value behind the other."""
    model = getattr(shop, stage)()
    kept = recipes.LATER | read_checkpoint(shop.path(stage))["settings"]
    for config in (model.config, fit_config(stage, "smoke")):
        for name, value in asdict(config).items():
            assert value in [v for key, v in kept.items() if key.endswith(name)], name
    assert kept["stage"] == stage and kept["data"] == "drawn" and kept["seed"] == 0


def test_fresh_throws_away_what_was_there_whole_or_not(copied):
    shop = workshop(copied, fresh=True)
    shop.path("judge").write_bytes(b"truncated")
    shop.judge()
    assert read_checkpoint(shop.path("judge"))["finished"]


def test_fresh_that_fails_or_is_stopped_at_once_leaves_what_was_there(copied, monkeypatch):
    shop = workshop(copied, fresh=True)
    before = {path: path.read_bytes() for path in shop.folder.iterdir()}

    def fail(*args):
        raise FloatingPointError("the loss is nan")
    monkeypatch.setattr(Digits, "batch", fail)
    with pytest.raises(FloatingPointError):
        shop.clip()
    assert {path: path.read_bytes() for path in shop.folder.iterdir()} == before


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
                    f"up to about {SECONDS['upsampler']} s on two CPU cores"]


def test_a_world_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    with pytest.raises(ValueError, match="data is 'faces'; choose one of drawn, mnist, cifar10"):
        workshop(tmp_path, data="faces")


def test_loading_a_prior_draws_no_pictures_to_measure_again(smoke, monkeypatch):
    workshop = Workshop(budget="smoke", folder=smoke.folder, device="cpu", say=str)

    def no_pictures(*args):
        raise AssertionError("rendered again")
    monkeypatch.setattr(type(workshop.world), "render", no_pictures)
    workshop.make(("clip", "prior", "arprior"))
    assert workshop.prior().variance.any() and workshop.arprior().axes.any()
