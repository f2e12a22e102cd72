"""Latent diffusion: which words are heard, what guidance pushes from, from a picture, in a hole."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.diffusion import X0, Diffusion, cosine_schedule
from minidalle.latent import (
    STEPS,
    Denoiser,
    LatentConfig,
    LatentRoad,
    caption_to_picture,
    inpaint,
    last_times,
    last_word,
    listen,
    no_words,
    redraw,
)
from minidalle.tokenizer import Tokenizer
from minidalle.vae import Vae, VaeConfig

CAPTIONS = ["a red seven on blue", "blue paper, a red 7"]


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def awake(model):
    """The layers that start at zero, filled, so that every path can be felt."""
    torch.manual_seed(1)
    for p in model.parameters():
        if p.abs().max() == 0:
            nn.init.normal_(p, std=0.1)
    return model.eval()


def denoiser(**changes) -> Denoiser:
    torch.manual_seed(0)
    return awake(Denoiser(LatentConfig(**{"words": 16, "channels": 4, "grid": 4, "width": 16,
                                          "steps": 50, **changes})))


@pytest.fixture(scope="module")
def road() -> LatentRoad:
    tokenizer = Tokenizer.train(CAPTIONS * 2, vocab_size=270, context=16)
    torch.manual_seed(0)
    clip = Clip(ClipConfig(tokenizer.vocab_size, 16, embed=8, width=16, depth=1, heads=2),
                ConvTower(16, 8, width=8)).eval()
    vae = Vae(VaeConfig(size=16, grid=4, channels=4, width=16, depth=1)).eval()
    with torch.no_grad():
        vae.scale.fill_(2.0)
    return LatentRoad(tokenizer, clip, vae, denoiser())


def words(B=2, T=5, D=16, lengths=(3, 5)):
    g = seed(3)
    heard = torch.arange(T) < torch.tensor(lengths)[:, None]
    return torch.randn(B, T, D, generator=g), heard


def latents(B=2, n=1):
    return torch.randn(B, 4, 4, 4, generator=seed(n))


# ---- which words are heard ------------------------------------------------------------------

def test_heard_are_the_tokens_up_to_the_end_counted_by_hand(road):
    ids = torch.tensor([[1, 9, 8, 2, 0, 0, 0], [1, 2, 0, 0, 2, 0, 0]])
    assert listen(road.clip, ids)[1].sum(dim=1).tolist() == [4, 2]
    for row, n in zip(listen(road.clip, ids)[1], (4, 2), strict=True):
        assert row[:n].all() and not row[n:].any()


def test_the_state_of_the_last_word_is_that_of_which_clip_makes_its_text_vector(road):
    states, alone = last_word(listen(road.clip, ids := road.tokenizer.batch(CAPTIONS)))
    assert alone.sum(dim=1).tolist() == [1, 1]
    vectors = F.normalize(road.clip.text_tower.project(states[alone]), dim=-1)
    torch.testing.assert_close(vectors, road.clip.encode_text(ids))


def test_a_text_tower_that_is_not_frozen_learns_from_what_is_drawn(road):
    """A gradient reaches the embedding of each heard token, and of no other."""
    ids, tower = road.tokenizer.batch(CAPTIONS), road.clip.text_tower
    denoiser().loss((latents(), *listen(road.clip, ids)), seed()).backward()
    learnt = tower.token.weight.grad.abs().sum(dim=1) > 0
    tower.zero_grad()
    assert set(learnt.nonzero()[:, 0].tolist()) == set(ids[ids != 0].tolist())


def test_no_words_are_the_same_for_every_caption(road):
    """The start token is heard alone, and by causality its state knows of nothing behind it."""
    states, heard = no_words(listen(road.clip, road.tokenizer.batch(CAPTIONS)))
    assert heard.sum(dim=1).tolist() == [1, 1]
    torch.testing.assert_close(states[heard][0], states[heard][1])
    assert (states[0, 1:] - states[1, 1:]).abs().max() > 1e-3


def test_every_heard_word_changes_the_answer_and_no_other_does():
    model, (states, heard), z = denoiser(), words(), latents()
    answer = model(z, torch.tensor([3, 40]), (states, heard))
    for i in range(states.shape[1]):
        other = states.clone()
        other[:, i] += 1
        moved = (model(z, torch.tensor([3, 40]), (other, heard)) - answer).abs().amax(dim=(1, 2, 3))
        assert ((moved > 1e-5) == heard[:, i]).all(), i


def test_words_are_mixed_as_pytorchs_multihead_attention_mixes_them():
    """The layer in which places ask the words, its weights copied into nn.MultiheadAttention."""
    layer, (states, heard) = denoiser().unet.middle.attend.text, words()
    width, place = layer.width, torch.randn(2, 4, layer.width, generator=seed(5))
    own = nn.MultiheadAttention(width, layer.heads, kdim=16, vdim=16, batch_first=True)
    with torch.no_grad():
        own.q_proj_weight.copy_(layer.q.weight)
        own.k_proj_weight.copy_(layer.kv.weight[:width])
        own.v_proj_weight.copy_(layer.kv.weight[width:])
        own.in_proj_bias.copy_(torch.cat([layer.q.bias, layer.kv.bias]))
        own.out_proj.load_state_dict(layer.out.state_dict())
    expected, _ = own(place, states, states, key_padding_mask=~heard)
    torch.testing.assert_close(layer(place, states, heard[:, None, None]), expected)


# ---- dropped captions and negative ones -----------------------------------------------------

def test_a_dropped_caption_is_one_of_which_only_the_start_is_heard_row_by_row():
    model, heard_words, z, t = denoiser(), words(), latents(), torch.tensor([3, 40])
    keep = torch.tensor([True, False])
    answer = model(z, t, heard_words, keep)
    torch.testing.assert_close(answer[:1], model(z, t, heard_words)[:1])
    torch.testing.assert_close(answer[1:], model(z, t, no_words(heard_words))[1:])
    assert (answer - model(z, t, heard_words))[1].abs().max() > 1e-4


def test_the_denoiser_in_training_drops_the_stated_share():
    """A tenth of 2,000 rows, counted where the model is asked."""
    model, kept = denoiser(), []
    model.register_forward_pre_hook(lambda module, args: kept.append(args[3]))
    model.loss((torch.zeros(2000, 4, 4, 4), *words(2000, 3, lengths=[3] * 2000)), seed())
    assert kept[0].float().mean().item() == pytest.approx(0.9, abs=0.035)    # five deviations


@pytest.mark.parametrize("guidance", [1.0, 2.0, 5.0])
def test_a_negative_caption_takes_the_place_of_none_in_guidance(guidance):
    """By hand: from its answer through that of the caption, and beyond; at 1 it is of no use."""
    model, pro, z, t = denoiser(), words(), latents(), torch.tensor([3, 40])
    con = words(lengths=(2, 4))[0] - 1, words(lengths=(2, 4))[1]
    yes, no = model(z, t, pro), model(z, t, con)
    guess = model.diffusion.guess_x0(model, z, t, (*pro, *con), guidance)
    torch.testing.assert_close(guess, no + guidance * (yes - no), atol=1e-4, rtol=1e-4)


def test_pushing_away_from_the_caption_itself_is_no_guidance_at_all(road):
    """uncond + g (cond - uncond) is cond, whatever g, where both are the same."""
    plain, pushed = (caption_to_picture(road, CAPTIONS[:1], seed(), guidance=g, negative=negative)
                     for g, negative in ((1.0, None), (6.0, CAPTIONS[0])))
    torch.testing.assert_close(pushed, plain, atol=1e-4, rtol=1e-4)


# ---- the road -------------------------------------------------------------------------------

def test_the_road_is_words_then_latent_then_vae_and_repeats_with_the_seed(road):
    a, b, c = (caption_to_picture(road, CAPTIONS, seed(n)) for n in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (2, 3, 16, 16) and a.abs().max() <= 1
    heard = listen(road.clip, road.tokenizer.batch(CAPTIONS))
    z = road.denoiser.sample(heard, generator=seed())
    torch.testing.assert_close(road.vae.decode(z), a)


def test_with_a_generator_each_no_picture_depends_on_the_others(road):
    both = caption_to_picture(road, CAPTIONS, [seed(4), seed(5)])
    for i, n in enumerate((4, 5)):
        alone = caption_to_picture(road, [CAPTIONS[i]], [seed(n)])
        torch.testing.assert_close(alone[0], both[i], atol=1e-5, rtol=1e-4)


def test_no_captions_give_no_pictures(road):
    assert caption_to_picture(road, [], seed()).shape == (0, 3, 16, 16)


def test_the_trace_shows_each_step_from_noise_to_latent(road):
    trace = []
    images = caption_to_picture(road, CAPTIONS, seed(), trace=trace)
    assert len(trace) == STEPS and trace[0][0].shape == (2, *road.vae.shape)
    torch.testing.assert_close(road.vae.decode(trace[-1][1]), images)


# ---- from a picture -------------------------------------------------------------------------

def pictures(B=2):
    return torch.rand(B, 3, 16, 16, generator=seed(7)) * 2 - 1


def test_strength_0_is_the_picture_as_the_vae_gives_it_back_and_1_knows_nothing_of_it(road):
    images = pictures()
    torch.testing.assert_close(redraw(road, images, CAPTIONS, 0.0, seed()),
                               road.vae.decode(road.vae.encode(images)))
    gone = redraw(road, images, CAPTIONS, 1.0, seed())
    torch.testing.assert_close(gone, redraw(road, -images, CAPTIONS, 1.0, seed()), atol=0.02,
                               rtol=0)


def test_with_strength_1_it_is_caption_to_picture(road):
    """From the same noise, up to the little that is left of the picture in it: of 50 steps, the
    last has alpha_bar = 1e-6."""
    torch.testing.assert_close(redraw(road, pictures(), CAPTIONS, 1.0, seed()),
                               caption_to_picture(road, CAPTIONS, seed()), atol=0.02, rtol=0)


def test_more_strength_begins_with_more_noise_and_takes_more_steps():
    """The stairs by hand: of 1000 steps, all twelve of diffusion.times at 1, none at 0."""
    diffusion = Diffusion(cosine_schedule(1000), X0)
    assert last_times(diffusion, 1.0) == diffusion.times(STEPS)
    assert last_times(diffusion, 0.0) == []
    assert last_times(diffusion, 0.5) == [500, 400, 300, 200, 100, 0]


def test_what_starts_from_a_picture_is_as_noisy_as_add_noise_makes_it(road):
    """Noted where the model is asked first."""
    asked = []
    hook = road.denoiser.register_forward_pre_hook(lambda module, args: asked.append(args[:2]))
    redraw(road, pictures(), CAPTIONS, 0.5, seed(), guidance=1.0)
    hook.remove()
    z, t = road.vae.encode(pictures()), torch.full((2,), 24)
    noise = torch.randn(z.shape, generator=seed())
    assert asked[0][1].equal(t) and len(asked) == 6
    torch.testing.assert_close(asked[0][0], road.denoiser.diffusion.add_noise(z, t, noise))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_that_is_no_share_is_refused(road, strength):
    with pytest.raises(ValueError, match="should lie between 0 .the picture as it is. and 1"):
        redraw(road, pictures(), CAPTIONS, strength)


# ---- in a hole ------------------------------------------------------------------------------

def left_half() -> torch.Tensor:
    return (torch.arange(16) < 8).expand(16, 16)


def test_pixels_outside_the_hole_stay_exactly_and_those_inside_are_never_seen(road):
    images, mask = pictures(), left_half()
    filled = inpaint(road, images, mask, CAPTIONS, seed(), repeats=2)
    assert torch.equal(filled[..., ~mask], images[..., ~mask])
    assert not torch.equal(filled[..., mask], images[..., mask])
    others = torch.where(mask, -images, images)
    assert torch.equal(inpaint(road, others, mask, CAPTIONS, seed(), repeats=2), filled)


@pytest.mark.parametrize("mask", [torch.ones(16, 16), torch.ones(8, 8, dtype=torch.bool)])
def test_a_mask_that_is_none_is_refused(road, mask):
    with pytest.raises(ValueError, match="pass torch.bool .H, W. or .B, 1, H, W."):
        inpaint(road, pictures(), mask, CAPTIONS)


# ---- learning -------------------------------------------------------------------------------

def test_a_loss_depends_on_its_generator_and_on_no_global_one():
    model, losses = denoiser(), []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss((latents(), *words()), seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


def test_the_denoiser_overfits_one_batch():
    torch.manual_seed(0)
    model = Denoiser(LatentConfig(words=16, grid=4, width=16, steps=50))
    g, optimizer, losses = seed(), torch.optim.Adam(model.parameters(), lr=5e-3), []
    for _ in range(150):
        loss = model.loss((latents().sign(), *words()), g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.1 * losses[0]


def test_the_callers_tensors_are_unchanged(road):
    images, mask = pictures(), left_half()
    kept = images.clone(), mask.clone()
    redraw(road, images, CAPTIONS, 0.5, seed())
    inpaint(road, images, mask, CAPTIONS, seed(), repeats=1)
    assert torch.equal(images, kept[0]) and torch.equal(mask, kept[1])
