"""unCLIP: dropping, the noised small picture, sizes as settings, the road as a whole."""
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.prior import Prior, PriorConfig
from minidalle.tokenizer import Tokenizer
from minidalle.unclip import (
    Decoder,
    DecoderConfig,
    Unclip,
    Upsampler,
    UpsamplerConfig,
    caption_to_picture,
    shrink,
)


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def awake(model):
    """The layers that start at zero, filled, so that every path can be felt."""
    torch.manual_seed(1)
    for p in model.parameters():
        if p.abs().max() == 0:
            torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def small_decoder(size=8) -> Decoder:
    torch.manual_seed(0)
    return awake(Decoder(DecoderConfig(embed=8, size=size, width=16, steps=50)))


def small_upsampler(small=8, size=16) -> Upsampler:
    torch.manual_seed(0)
    return awake(Upsampler(UpsamplerConfig(size=size, small=small, width=16, patch=1, steps=50)))


def small_road(size=16) -> Unclip:
    tokenizer = Tokenizer.train(["a red seven on blue"] * 2, vocab_size=270, context=12)
    torch.manual_seed(0)
    clip = Clip(ClipConfig(tokenizer.vocab_size, 12, embed=8, width=16, depth=1, heads=2),
                ConvTower(size, 8, width=8)).eval()
    prior = Prior(PriorConfig(tokenizer.vocab_size, 12, 8, width=16, depth=1, heads=2, steps=50))
    return Unclip(tokenizer, clip, prior.eval(), small_decoder(size // 2),
                  small_upsampler(size // 2, size))


def test_shrink_equals_the_mean_of_each_block_of_pixels():
    images = torch.randn(2, 3, 8, 8, generator=seed())
    expected = images.view(2, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    torch.testing.assert_close(shrink(images, 4), expected)


def test_decoder_drops_the_image_vector_row_by_row_and_wholly():
    decoder, x = small_decoder(), torch.randn(4, 3, 8, 8, generator=seed())
    z, t = F.normalize(torch.randn(4, 8, generator=seed(1)), dim=-1), torch.arange(4)
    keep = torch.tensor([True, False, True, False])
    answer, other = decoder(x, t, z, keep), decoder(x, t, -z, keep)
    assert torch.equal(answer[~keep], other[~keep])
    assert (answer[keep] - other[keep]).abs().max() > 1e-4
    torch.testing.assert_close(answer[keep], decoder(x, t, z)[keep])


def test_decoder_in_training_drops_the_stated_share():
    """A tenth of 2,000 rows, counted where the model is asked."""
    decoder, kept = small_decoder(), []
    decoder.register_forward_pre_hook(lambda module, args: kept.append(args[3]))
    decoder.loss((torch.zeros(2000, 3, 8, 8), torch.zeros(2000, 8)), seed())
    assert kept[0].float().mean().item() == pytest.approx(0.9, abs=0.035)    # five deviations


def test_decoder_lays_the_stated_noise_on_vectors_in_training_alone():
    """Vectors of nothing become pure noise; scaled as the network scales them, its deviation is
    `blur`. When drawing, a vector arrives as it is."""
    decoder, seen = small_decoder(), []
    decoder.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    decoder.loss((torch.zeros(4000, 3, 8, 8), torch.zeros(4000, 8)), seed())
    noise = seen.pop() * 8 ** 0.5
    assert noise.std().item() == pytest.approx(decoder.config.blur, rel=0.03)
    assert noise.mean().abs() < 0.003 and noise.std(dim=1).min() > 0         # each entry its own
    z = F.normalize(torch.randn(2, 8, generator=seed()), dim=-1)
    decoder.sample(z, steps=2, generator=seed())
    assert all(torch.equal(vectors, z) for vectors in seen)


def test_upsampler_sees_the_small_picture_and_how_noisy_it_is():
    upsampler, x, t = small_upsampler(), torch.randn(2, 3, 16, 16), torch.tensor([3, 40])
    small, level = torch.randn(2, 3, 8, 8), torch.full((2, 1), 0.1)
    answer = upsampler(x, t, (small, level))
    assert (upsampler(x, t, (small + 0.5, level)) - answer).abs().max() > 1e-4
    assert (upsampler(x, t, (small, level * 2)) - answer).abs().max() > 1e-5


def test_a_new_upsampler_is_a_plain_enlargement():
    """Before any training its guess of x_0 equals PyTorch's bilinear picture, whatever x_t is."""
    upsampler = Upsampler(UpsamplerConfig(size=16, small=8, width=16))
    torch.nn.init.zeros_(upsampler.unet.leave[-1].bias)
    small, level = torch.randn(2, 3, 8, 8, generator=seed()), torch.zeros(2, 1)
    expected = F.interpolate(small, (16, 16), mode="bilinear", align_corners=False)
    answer = upsampler(torch.randn(2, 3, 16, 16), torch.tensor([3, 40]), (small, level))
    torch.testing.assert_close(answer, expected)


def test_noise_on_the_small_picture_is_what_the_upsampler_is_told():
    """Small pictures of a grey batch are pure noise; their deviation is the stated level."""
    upsampler, seen = small_upsampler(), []
    upsampler.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    upsampler.loss(torch.zeros(500, 3, 16, 16), seed())
    small, level = seen[0]
    ratio = small.flatten(1).std(dim=1) / level[:, 0]
    assert ratio[level[:, 0] > 0.01].mean().item() == pytest.approx(1, abs=0.02)
    assert level.min() >= 0 and level.max() <= 0.2 and level.std() > 0.05


@pytest.mark.parametrize("make, batch", [
    (small_decoder, (torch.randn(6, 3, 8, 8, generator=seed()), torch.eye(8)[:6])),
    (small_upsampler, torch.randn(6, 3, 16, 16, generator=seed()))])
def test_a_loss_depends_on_its_generator_and_on_no_global_one(make, batch):
    model, losses = make(), []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss(batch, seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


def test_sizes_are_settings():
    for size in (16, 24, 32):
        images = caption_to_picture(small_road(size), ["a red seven"], seed())
        assert images.shape == (1, 3, size, size)


def test_the_road_is_prior_then_decoder_then_upsampler_and_repeats_with_the_seed():
    road, captions = small_road(), ["a red seven on blue", "\u732b \U0001f600", ""]
    a, b, c = (caption_to_picture(road, captions, seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (3, 3, 16, 16) and a.abs().max() <= 1
    g, ids = seed(), road.tokenizer.batch(captions)
    z = road.prior.sample(ids, road.clip.encode_text(ids), generator=g)
    small = road.decoder.sample(z, generator=g)
    torch.testing.assert_close(road.upsampler.sample(small, generator=g), a)


def test_the_guidance_of_the_prior_is_that_of_the_road_where_no_other_is_asked():
    road, captions = small_road(), ["a red seven on blue"]
    awake(road.prior)
    louder = replace(road, prior_guidance=4.0)
    plain, asked, own = (caption_to_picture(*args, **more) for args, more in (
        ((road, captions, seed()), {}),
        ((road, captions, seed()), {"prior_guidance": 4.0}),
        ((louder, captions, seed()), {})))
    assert torch.equal(asked, own) and not torch.equal(own, plain)
    again = caption_to_picture(louder, captions, seed(), prior_guidance=1.0)
    assert torch.equal(again, plain)


def test_no_captions_give_no_pictures():
    assert caption_to_picture(small_road(16), [], seed()).shape == (0, 3, 16, 16)


def test_the_trace_shows_each_step_of_the_decoder_from_noise_to_picture():
    trace = []
    decoder = small_decoder()
    small = decoder.sample(torch.zeros(2, 8), steps=5, generator=seed(), trace=trace)
    assert len(trace) == 5 and torch.equal(trace[-1][1], small)
    assert trace[0][0].std().item() == pytest.approx(1, abs=0.15)


def overfit(model, batch, steps=100) -> float:
    """The mean loss of the last steps on one batch."""
    g, optimizer, losses = seed(), torch.optim.Adam(model.parameters(), lr=5e-3), []
    for _ in range(steps):
        loss = model.loss(batch, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-20:]) / 20


def checks() -> torch.Tensor:
    """Two chequered pictures (2, 3, 16, 16) of ones and minus ones, their squares 2 pixels wide."""
    coarse = torch.rand(2, 3, 8, 8, generator=seed()).sub(0.5).sign()
    return coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_the_decoder_overfits_one_batch():
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(embed=8, size=8, width=16, steps=50))
    assert overfit(decoder, (checks(), torch.eye(8)[:2])) < 0.1      # the pictures' variance is 1


def test_the_upsampler_overfits_one_batch_far_beyond_a_plain_enlargement():
    torch.manual_seed(0)
    upsampler = Upsampler(UpsamplerConfig(size=16, small=8, width=16, patch=1, steps=50))
    images = checks()
    plain = F.interpolate(shrink(images, 8), (16, 16), mode="bilinear", align_corners=False)
    assert overfit(upsampler, images) < 0.3 * (plain - images).square().mean()


def test_decoder_draws_with_the_stated_guidance_from_vectors_of_variance_one():
    """As the diffusion does alone; entries of unit vectors are scaled by the root of E."""
    decoder, z = small_decoder(), F.normalize(torch.randn(500, 8, generator=seed()), dim=-1)
    expected = decoder.diffusion.sample(decoder, (2, 3, 8, 8), z[:2], 3, 0.0, 4.0, seed())
    torch.testing.assert_close(decoder.sample(z[:2], 4.0, 3, seed()), expected)
    seen = []
    decoder.unet.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    decoder(torch.zeros(500, 3, 8, 8), torch.zeros(500).long(), z)
    assert seen[0].square().mean().item() == pytest.approx(1, rel=1e-4)


def test_upsampler_lays_the_noise_it_tells_in_shares_of_the_most():
    upsampler, seen, told = small_upsampler(), [], []
    upsampler.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    upsampler.unet.register_forward_pre_hook(lambda module, args: told.append(args[2]))
    upsampler.sample(torch.zeros(50, 3, 8, 8), noise=0.1, steps=1, generator=seed())
    assert seen[0][0].std().item() == pytest.approx(0.1, rel=0.05)
    torch.testing.assert_close(told[0], torch.full((50, 1), 0.5))            # 0.1 of 0.2
    upsampler.sample(torch.ones(1, 3, 8, 8), steps=1, generator=seed())     # unasked, none at all
    assert seen[-1][0].equal(torch.ones(1, 3, 8, 8)) and seen[-1][1].item() == 0
    losses = [upsampler.loss(torch.zeros(4, 3, 16, 16), seed()) for _ in range(2)]
    assert torch.equal(*losses)
