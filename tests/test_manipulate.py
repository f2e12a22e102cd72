"""What can be done with pictures: arcs, the way to the noise and back, and what must stay."""
import inspect
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from minidalle import manipulate
from minidalle.clip import Clip, ClipConfig, ConvTower, unit
from minidalle.data import Batch, drawn
from minidalle.diffusion import X0, Diffusion, cosine_schedule
from minidalle.manipulate import (
    STEPS,
    Latent,
    blend,
    edit,
    fill,
    find_noise,
    flip_share,
    from_noise,
    inpaint,
    put_together,
    slerp,
    stairs,
    take_apart,
    vary,
    with_another,
)
from minidalle.prior import Prior, PriorConfig
from minidalle.tokenizer import Tokenizer
from minidalle.unclip import (
    Decoder,
    DecoderConfig,
    Unclip,
    Upsampler,
    UpsamplerConfig,
    shrink,
)

BEFORE, AFTER = "a red seven on blue", "a red one on blue"
COSINE = Diffusion(cosine_schedule(200), X0)


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def small_road() -> Unclip:
    """Pictures of 16 pixels, vectors of 8 entries; untrained, but every path can be felt."""
    tokenizer = Tokenizer.train([BEFORE] * 2, vocab_size=270, context=12)
    vocab, narrow = tokenizer.vocab_size, dict(width=16, steps=50)
    torch.manual_seed(0)
    clip = Clip(ClipConfig(vocab, 12, embed=8, width=16, depth=1, heads=2), ConvTower(16, 8, 8))
    prior = Prior(PriorConfig(vocab, 12, 8, depth=1, heads=2, **narrow))
    decoder = Decoder(DecoderConfig(embed=8, size=8, **narrow))
    upsampler = Upsampler(UpsamplerConfig(size=16, small=8, patch=1, **narrow))
    for model in (clip, prior, decoder, upsampler):
        for p in model.eval().requires_grad_(False).parameters():
            if p.abs().max() == 0:             # the layers that start at zero
                torch.nn.init.normal_(p, std=0.1)
    return Unclip(tokenizer, clip, prior, decoder, upsampler)


# ---- slerp ----------------------------------------------------------------------------------

def pairs(n=200, e=16):
    return (unit(torch.randn(n, e, generator=seed(i))) for i in range(2))


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_slerp_keeps_the_length_and_goes_the_stated_share_of_the_angle(t):
    a, b = pairs()
    c, whole = slerp(a, b, t), (a * b).sum(dim=1).double().acos()
    torch.testing.assert_close(c.norm(dim=1), torch.ones(200))
    torch.testing.assert_close((a * c).sum(dim=1).double().clamp(-1, 1).acos(), t * whole,
                               atol=2e-3, rtol=0)               # acos near 1 loses half the digits


def test_slerp_begins_at_a_and_ends_at_b():
    a, b = pairs()
    assert torch.equal(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)


def test_slerp_is_shoemakes_formula_and_takes_one_t_a_row():
    """sin((1 - t) w) / sin w a + sin(t w) / sin w b, in float64."""
    a, b = (x.double() for x in pairs())
    t = torch.rand(200, 1, generator=seed(7), dtype=torch.float64)
    w = (a * b).sum(dim=1, keepdim=True).acos()
    expected = ((1 - t) * w).sin() / w.sin() * a + (t * w).sin() / w.sin() * b
    torch.testing.assert_close(slerp(a, b, t), expected, atol=1e-6, rtol=0)


def test_slerp_by_hand_a_third_of_a_right_angle():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(slerp(a, b, 1 / 3), torch.tensor([[math.sqrt(0.75), 0.5]]))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("apart", [0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3])
def test_slerp_of_nearly_parallel_or_opposite_vectors_has_length_one_and_both_ends(sign, apart):
    """Where sin w, by which the usual formula divides, is nothing but rounding."""
    a, noise = pairs()
    b = unit(sign * a + apart * noise)
    for t in torch.linspace(0, 1, 5):
        torch.testing.assert_close(slerp(a, b, t).norm(dim=1), torch.ones(200))
    torch.testing.assert_close(slerp(a, b, 1.0), b, atol=2e-6, rtol=0)
    middle = (slerp(a, b, 0.5) * a).sum(dim=1)
    expected = torch.full((200,), 1.0 if sign == 1 else 0.0)
    torch.testing.assert_close(middle, expected, atol=2 * apart + 1e-6, rtol=0)


def test_slerp_of_equal_vectors_stays_there_whichever_axis_they_lie_along():
    """The side axis is the one to which a points least, in size: -1 is not less than 0."""
    axes = torch.cat([torch.eye(4), -torch.eye(4)])
    for t in (0.0, 0.3, 1.0):
        torch.testing.assert_close(slerp(axes, axes, t), axes)
    quarter = slerp(axes, -axes, 0.5)                          # any direction at right angles
    torch.testing.assert_close(quarter.norm(dim=1), torch.ones(8))
    torch.testing.assert_close((quarter * axes).sum(dim=1), torch.zeros(8), atol=1e-6, rtol=0)


def test_slerp_leaves_its_vectors_as_they_were():
    a, b = pairs()
    before = a.clone(), b.clone()
    slerp(a, b, 0.3)
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


# ---- to the noise and back ------------------------------------------------------------------

VARIANCE = 0.3


def best_guess(x_t, t, condition, keep):
    """Of data from N(0, VARIANCE): E[x_0 | x_t], by the rule of Gauss."""
    alpha_bar = COSINE.at(t, x_t)
    return alpha_bar.sqrt() * VARIANCE / (alpha_bar * VARIANCE + 1 - alpha_bar) * x_t


def deviation(step: int) -> float:
    alpha_bar = COSINE.alpha_bar[step].item()
    return math.sqrt(alpha_bar * VARIANCE + 1 - alpha_bar)


def test_the_stairs_lead_from_faint_noise_to_the_last_step():
    up = stairs(COSINE)
    sigma = (1 - COSINE.alpha_bar).sqrt()
    assert len(up) == STEPS and up == sorted(set(up)) and up[-1] == 199
    assert sigma[up[0] - 1] < 0.15 <= sigma[up[0]]


def test_the_way_to_the_noise_is_a_straight_scaling_on_gaussian_data(monkeypatch):
    """DDIM in tiny steps maps each level's normal distribution onto the next one's: x_t grows as
    its standard deviation does."""
    monkeypatch.setattr(manipulate, "STEPS", 150)
    x_0 = torch.randn(5, 3, 4, 4, generator=seed())
    up = stairs(COSINE)
    ratio = deviation(up[-1]) / deviation(up[0])
    noise = find_noise(COSINE, best_guess, x_0, None)
    torch.testing.assert_close(noise, ratio * x_0, rtol=0.02, atol=1e-6)
    back = from_noise(COSINE, best_guess, noise, None)
    torch.testing.assert_close(back, x_0, rtol=0.02, atol=1e-6)


def test_the_way_back_is_the_exact_inverse_where_the_guess_does_not_depend_on_the_noise():
    """One fixed guess: both ways are the same straight line, in any number of steps."""
    fixed = torch.randn(5, 3, 4, 4, generator=seed(3))
    x_0 = fixed + 0.1 * torch.randn(5, 3, 4, 4, generator=seed(4))
    noise = find_noise(COSINE, lambda *args: fixed, x_0, None)
    torch.testing.assert_close(from_noise(COSINE, lambda *args: fixed, noise, None), x_0,
                               atol=1e-5, rtol=0)
    low, high = (COSINE.alpha_bar[stairs(COSINE)[i]] for i in (0, -1))
    eps = (x_0 - low.sqrt() * fixed) / (1 - low).sqrt()
    torch.testing.assert_close(noise, high.sqrt() * fixed + (1 - high).sqrt() * eps, atol=1e-5,
                               rtol=1e-5)


@pytest.mark.parametrize("fresh", [0.0, 0.5, 1.0])
def test_fresh_noise_ends_as_the_last_guess_and_found_noise_as_the_faint_mixture(
        monkeypatch, fresh):
    """Gaussian data again, whose best guess is a multiple of x_t: so all deviations are known."""
    monkeypatch.setattr(manipulate, "STEPS", 100)
    up = stairs(COSINE)
    x = from_noise(COSINE, best_guess, torch.randn(20_000, 1, generator=seed()), None, fresh)
    guess = best_guess(torch.tensor([[deviation(up[1])]]), torch.tensor([up[1]]), None, None).item()
    expected = (1 - fresh) * deviation(up[0]) + fresh * guess
    assert x.std().item() == pytest.approx(expected, rel=0.03)


# ---- a road whose networks answer from their condition alone --------------------------------

class Fixed:
    """In place of a decoder's forward: a picture that depends on the vector, not on x_t or t."""

    def __init__(self, size: int):
        self.weights = torch.randn(8, 3 * size * size, generator=seed(9))
        self.seen = []

    def __call__(self, x_t, t, z, keep=None):
        self.seen.append(z)
        return (z @ self.weights).tanh().view(-1, *x_t.shape[1:])


@pytest.fixture
def road():
    """Small and untrained. Its decoder answers from the vector, its upsampler with an enlargement:
    so the way back is the exact inverse, and every path from vector to picture can be felt."""
    road = small_road()
    road.decoder.forward = Fixed(8)
    road.upsampler.forward = lambda x_t, t, condition, keep=None: F.interpolate(
        condition[0], x_t.shape[-2:], mode="bilinear")
    return road


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, generator=seed(5)) * 2 - 1


def test_put_together_is_the_inverse_of_take_apart(road, images):
    latent = take_apart(road, images)
    assert latent.z.shape == (3, 8) and latent.small.shape == (3, 3, 8, 8)
    assert latent.large.shape == images.shape
    torch.testing.assert_close(put_together(road, latent), images, atol=1e-4, rtol=0)
    torch.testing.assert_close(latent.z, road.clip.encode_image(images))


def test_what_is_put_together_stays_among_the_colours(road, images):
    """An upsampler that answers beyond 1: its pictures end at -1 and 1."""
    latent = take_apart(road, images)
    road.upsampler.forward = lambda x_t, t, condition, keep=None: 3 * torch.ones_like(x_t)
    latent = Latent(latent.z, latent.small, 5 * torch.randn(3, 3, 16, 16, generator=seed()))
    made = put_together(road, latent)
    assert made.max() == 1 and made.min() == -1


def test_variations_without_eta_are_the_picture_itself_and_with_it_differ(road, images):
    same = vary(road, images[0], 3, seed(), eta=0.0)
    torch.testing.assert_close(same, images[:1].expand(3, -1, -1, -1), atol=1e-4, rtol=0)
    road = small_road()                                        # whose answers depend on the noise
    other = vary(road, images[0], 3, seed())
    assert other.shape == (3, 3, 16, 16) and other.abs().max() <= 1
    apart = [(other[i] - other[j]).abs().max() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) > 1e-3
    assert torch.equal(other, vary(road, images[0], 3, seed()))
    assert not torch.equal(other, vary(road, images[0], 3, seed(1)))


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_that_is_no_share_is_refused(road, images, eta):
    with pytest.raises(ValueError, match="eta="):
        vary(road, images[0], 1, eta=eta)


@pytest.mark.parametrize("eta", [0.25, 1.0])
def test_of_the_noise_a_share_is_drawn_anew_and_its_strength_stays(road, images, monkeypatch, eta):
    """Where the found noise has variance one: correlation sqrt(1 - eta), variance one again."""
    walked, found = [], torch.randn(1, 3, 8, 8, generator=seed(3))
    latent = Latent(torch.ones(1, 8), found, torch.zeros(1, 3, 16, 16))
    monkeypatch.setattr(manipulate, "take_apart", lambda *args: latent)
    monkeypatch.setattr(manipulate, "put_together",
                        lambda road, latent, fresh: walked.append((latent.small, fresh)))
    vary(road, images[0], 500, seed(), eta)
    [(small, fresh)] = walked
    assert fresh == eta and small.var().item() == pytest.approx(1, abs=0.05)
    share = (small * found).sum().item() / (500 * found.square().sum().item())
    assert share == pytest.approx(math.sqrt(1 - eta), abs=0.02)


def test_variations_are_drawn_from_the_vector_of_the_picture(road, images):
    vary(road, images[1], 2, seed())
    expected = road.clip.encode_image(images[1:2]).expand(2, -1)
    assert all(torch.allclose(z, expected, atol=1e-6) for z in road.decoder.forward.seen[-5:])


def test_a_blend_goes_from_vector_to_vector_through_one_and_the_same_noise(road, images):
    """Its pictures, one by one, from vectors by Shoemake's formula and the generator's noise."""
    made = blend(road, images[0], images[1], 5, seed(2))
    g, (a, b) = seed(2), road.clip.encode_image(images[:2])
    small, large = (torch.randn(1, 3, size, size, generator=g) for size in (8, 16))
    w = torch.acos(a @ b)
    for i in range(5):
        z = ((1 - i / 4) * w).sin() / w.sin() * a + (i / 4 * w).sin() / w.sin() * b
        expected = put_together(road, Latent(z[None], small, large), fresh=1.0)
        torch.testing.assert_close(made[i:i + 1], expected, atol=1e-4, rtol=0)
    assert min((x - y).abs().max() for x, y in pairwise(made)) > 1e-4


def test_a_blend_of_a_picture_with_itself_stands_still(road, images):
    made = blend(road, images[0], images[0], 3, seed())
    torch.testing.assert_close(made, made[:1].expand(3, -1, -1, -1), atol=1e-5, rtol=0)
    assert blend(road, images[0], images[1], 1, seed()).shape == (1, 3, 16, 16)


def test_an_edit_of_strength_zero_is_the_picture_itself(road, images):
    made = edit(road, images, [BEFORE] * 3, [AFTER] * 3, 0.0)
    torch.testing.assert_close(made, images, atol=1e-4, rtol=0)


STRENGTH = torch.tensor([[0.25], [0.5], [1.0]])                # every row has its own


def turned(road, images) -> torch.Tensor:
    """The paper's formula of section 3.3, written out."""
    a, b = (road.clip.encode_text(road.tokenizer.batch([text])) for text in (BEFORE, AFTER))
    towards = (b - a) / (b - a).norm()
    z = road.clip.encode_image(images)
    w = (z @ towards.T).acos()
    return ((1 - STRENGTH) * w).sin() / w.sin() * z + (STRENGTH * w).sin() / w.sin() * towards


def test_an_edit_turns_the_vector_by_the_stated_share_towards_the_texts_difference(road, images):
    """A decoder that ignores `keep` cannot be guided: it gets the changed vector, and the noise of
    the picture."""
    expected = turned(road, images)
    made = edit(road, images, [BEFORE] * 3, [AFTER] * 3, STRENGTH)
    torch.testing.assert_close(road.decoder.forward.seen[-1], expected.repeat(2, 1), atol=1e-5,
                               rtol=0)
    latent, gone = take_apart(road, images), torch.tensor([0.5, 1.0, 1.0]).view(3, 1, 1, 1)
    expected = put_together(road, Latent(expected, latent.small, latent.large), gone)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)


def test_an_edit_is_guided_the_more_the_further_it_goes(images):
    """By 1 + 2 strength; row by row beside the walk with guidance in its usual place."""
    road = small_road()
    z, latent = turned(road, images), take_apart(road, images)
    made = edit(road, images, [BEFORE] * 3, [AFTER] * 3, STRENGTH)
    for i, (gone, scale) in enumerate(((0.5, 1.5), (1.0, 2.0), (1.0, 3.0))):
        small = from_noise(road.decoder.diffusion, road.decoder, latent.small[i:i + 1], z[i:i + 1],
                           gone, guidance=scale)
        large = from_noise(road.upsampler.diffusion, road.upsampler, latent.large[i:i + 1],
                           (small, torch.zeros(1, 1)), gone)
        torch.testing.assert_close(made[i:i + 1], large.clamp(-1, 1), atol=1e-4, rtol=1e-4)


def test_an_edit_between_equal_captions_is_refused(road, images):
    with pytest.raises(ValueError, match="say the same"):
        edit(road, images[:2], [BEFORE, AFTER], [AFTER, AFTER])


def test_equal_captions_are_refused_even_where_their_vectors_differ_by_rounding(road, images):
    """As they do where rows are cut to the longest caption of their batch."""
    exact, calls = road.clip.text_tower.forward, []

    def rounding(ids):
        calls.append(ids)
        return exact(ids) + 6e-8 * torch.randn(len(ids), 8, generator=seed(len(calls)))
    road.clip.text_tower.forward = rounding
    with pytest.raises(ValueError, match="say the same"):
        edit(road, images[:2], [BEFORE, AFTER], [AFTER, AFTER])


def test_a_strength_beyond_1_is_warned_of_and_1_is_not(road, images, recwarn):
    edit(road, images[:1], [BEFORE], [AFTER], 1.0)
    assert not recwarn
    with pytest.warns(UserWarning, match="strength=1.5 turns beyond .* pass 0 to 1"):
        edit(road, images[:1], [BEFORE], [AFTER], 1.5)


# ---- filling holes --------------------------------------------------------------------------

def half(size=16) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:, size // 2:] = True
    return mask


def test_known_pixels_stay_exactly_and_what_is_under_the_mask_is_never_looked_at(images):
    """There it may even be nothing: the same pictures come out."""
    road, mask = small_road(), half()
    made = inpaint(road, images, mask, [BEFORE] * 3, seed())
    assert torch.equal(made[..., ~mask], images[..., ~mask])
    empty = images.masked_fill(mask, math.nan)
    assert torch.equal(inpaint(road, empty, mask, [BEFORE] * 3, seed()), made)
    assert made.isfinite().all() and not torch.equal(made[..., mask], images[..., mask])


def test_what_is_drawn_depends_on_caption_seed_and_the_known_pixels(images):
    road, mask = small_road(), half()

    def drawn(captions=BEFORE, n=0, given=images):
        return inpaint(road, given, mask, [captions] * 3, seed(n))[..., mask]
    made = drawn()
    assert torch.equal(made, drawn())
    for other in (drawn(AFTER), drawn(n=1), drawn(given=-images)):
        assert (other - made).abs().max() > 1e-4


def test_a_mask_of_nothing_gives_the_picture_and_one_a_picture_is_taken_row_by_row(images):
    road = small_road()
    nothing = torch.zeros(16, 16, dtype=torch.bool)
    assert torch.equal(inpaint(road, images, nothing, [BEFORE] * 3, seed()), images)
    masks = torch.stack([half(), ~half(), half().mT])[:, None]              # (3, 1, 16, 16)
    made = inpaint(road, images, masks, [BEFORE] * 3, seed())
    assert torch.equal(made[~masks.expand_as(made)], images[~masks.expand_as(made)])


@pytest.mark.parametrize("mask", [half().float(), half()[:8], half(8)])
def test_a_mask_that_does_not_fit_is_refused(images, mask):
    with pytest.raises(ValueError, match=r"mask is torch.*pass torch.bool \(H, W\)"):
        inpaint(small_road(), images, mask, [BEFORE] * 3)


def test_a_small_pixel_is_known_only_where_all_its_pixels_are(images, monkeypatch):
    """One masked pixel at (5, 6) hides the small pixel (2, 3), and no other."""
    holes = []

    def noting(diffusion, model, known, mask, *args, **rest):
        holes.append(mask)
        return fill(diffusion, model, known, mask, *args, **rest)
    monkeypatch.setattr(manipulate, "fill", noting)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5, 6] = True
    inpaint(small_road(), images, mask, [BEFORE] * 3, seed())
    assert holes[0].nonzero().tolist() == [[i, 0, 2, 3] for i in range(3)]


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_known_region_is_as_noisy_as_each_step_says(repeats):
    """q(x_t | x_0) of a grey picture: mean sqrt(alpha_bar) grey, deviation sqrt(1 - alpha_bar); on
    every one of the repeated steps, however they went up and down."""
    seen = []

    def model(x_t, t, condition, keep):
        seen.append((t[0].item(), x_t.mean().item(), x_t.std().item()))
        return torch.zeros_like(x_t)
    known = torch.full((200, 1, 8, 8), 0.7)
    mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    made = fill(COSINE, model, known, mask, None, steps=6, repeats=repeats, generator=seed())
    assert torch.equal(made, known)
    assert [t for t, *_ in seen] == [t for t in COSINE.times(6) for _ in range(repeats)]
    for t, mean, std in seen[1:]:                              # the first x_t is noise alone
        alpha_bar = COSINE.alpha_bar[t].item()
        assert mean == pytest.approx(0.7 * math.sqrt(alpha_bar), abs=0.03)
        assert std == pytest.approx(math.sqrt(1 - alpha_bar), abs=0.03)


def test_what_is_filled_in_has_the_variance_of_gaussian_data():
    """All masked, the best guess: fill is then a sampler of N(0, VARIANCE), repeated or not."""
    known, mask = torch.zeros(20_000, 1, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    for repeats in (1, 2):
        made = fill(COSINE, best_guess, known, mask, None, steps=200, repeats=repeats,
                    generator=seed())
        assert made.std().item() == pytest.approx(math.sqrt(VARIANCE), rel=0.04)


CORRELATION, KNOWN = 0.8, 1.5


def of_a_pair(x_t, t, condition, keep):
    """The exact guess of two Gaussian numbers (B, 1, 1, 2) with this correlation."""
    both = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]])
    alpha_bar = COSINE.alpha_bar[t[0]]
    noisy = alpha_bar * both + (1 - alpha_bar) * torch.eye(2)
    return x_t @ (alpha_bar.sqrt() * both @ noisy.inverse())


def mean_of_the_fill(**settings) -> float:
    known = torch.tensor([KNOWN, 9.0]).expand(8000, 1, 1, 2)   # the 9 is under the mask
    made = fill(COSINE, of_a_pair, known, torch.tensor([False, True]).expand(1, 1, 1, 2), None,
                generator=seed(), **settings)
    return made[..., 1].mean().item()


def test_the_fill_listens_to_what_is_known_the_more_the_oftener_each_step_is_taken():
    """E[b | a] = 0.8 * 1.5 = 1.2. Once hears about half of it; the default nine tenths."""
    expected, once = CORRELATION * KNOWN, mean_of_the_fill(repeats=1)
    assert once == pytest.approx(0.56 * expected, abs=0.05)
    assert 0.85 * expected < mean_of_the_fill() < expected
    assert mean_of_the_fill(repeats=20) == pytest.approx(expected, abs=0.06)


def test_an_inpainting_takes_each_step_of_the_decoder_five_times_and_of_the_upsampler_once(
        images, monkeypatch):
    taken = []

    def noting(*args, repeats, **rest):
        taken.append(repeats)
        return fill(*args, repeats=repeats, **rest)
    monkeypatch.setattr(manipulate, "fill", noting)
    inpaint(small_road(), images, half(), [BEFORE] * 3, seed())
    assert taken == [5, 1]


def test_an_inpainting_asks_the_prior_as_clearly_as_its_road_says(images, monkeypatch):
    road, heard = replace(small_road(), prior_guidance=5.0), []
    sample = road.prior.sample
    monkeypatch.setattr(road.prior, "sample", lambda ids, text, guidance=1.0, **rest:
                        heard.append(guidance) or sample(ids, text, guidance, **rest))
    inpaint(road, images, half(), [BEFORE] * 3, seed())
    assert heard == [5.0]


# ---- how well it works ----------------------------------------------------------------------

class Spelled:
    """A world and a judge whose pictures are their own factors."""
    grammar = drawn().grammar
    combinations = drawn().combinations

    def batch(self, n, split, generator):
        choices = self.combinations[split]
        factors = choices[torch.randint(len(choices), (n,), generator=generator)]
        return Batch(factors, self.grammar.captions(factors), factors)

    def read(self, images):
        return images


def spelled(captions: list[str]) -> torch.Tensor:
    return torch.tensor([Spelled.grammar.parse(caption) for caption in captions])


@pytest.mark.parametrize("outcome, expected", [
    ("after", {"hit": 1, "kept": 1, "all": 1}), ("before", {"hit": 0, "kept": 1, "all": 0}),
    ("ruined", {"hit": 1, "kept": 0, "all": 0}), ("half", {"hit": 0.5, "kept": 1, "all": 0.5})])
@pytest.mark.parametrize("name", ["digit", "ink", "paper"])
def test_flips_are_counted_as_made_missed_or_paid_for_with_another_factor(
        monkeypatch, name, outcome, expected):
    """By an edit that does all, nothing, too much, or every second one."""
    which = Spelled.grammar.names.index(name)

    def made(road, images, before, after, strength):
        was, wanted = spelled(before), spelled(after)
        assert torch.equal(images, was) and strength == 0.3
        assert ((was != wanted).sum(dim=1) == 1).all() and (was != wanted)[:, which].all()
        if outcome == "ruined":
            others = torch.arange(3) != which
            return torch.where(others, -1, wanted)
        every_second = torch.arange(len(was))[:, None] % 2 == 0
        return {"after": wanted, "before": was,
                "half": torch.where(every_second, wanted, was)}[outcome]
    monkeypatch.setattr(manipulate, "edit", made)
    world = Spelled()
    assert flip_share(None, world, world, name, 40, 0.3, seed()) == expected


def test_a_hole_is_filled_in_as_many_steps_as_the_decoder_draws_in():
    steps = [inspect.signature(made).parameters["steps"].default for made in (fill, Decoder.sample)]
    assert steps[0] == steps[1]


def test_flips_are_measured_at_the_strength_that_edit_has_when_none_is_named():
    strengths = [inspect.signature(made).parameters["strength"].default
                 for made in (edit, flip_share)]
    assert strengths == [0.5, 0.5]


def test_another_value_is_drawn_from_all_that_are_allowed_and_evenly():
    """A red seven on blue has six other inks and six other papers, less those of unseen ones."""
    allowed = Spelled.combinations["test"]
    row = spelled(["a red seven on blue"]).expand(3000, -1)
    for which in range(3):
        wanted = with_another(row, which, allowed, seed(which))
        choices = [r for r in allowed.tolist()
                   if [a == b for a, b in zip(r, row[0].tolist(), strict=True)]
                   == [i != which for i in range(3)]]
        values, counts = wanted.unique(dim=0, return_counts=True)
        assert sorted(values.tolist()) == sorted(choices)
        assert counts.min() > 0.7 * 3000 / len(choices)


def test_where_one_other_value_is_allowed_it_is_the_one_drawn():
    allowed = torch.tensor([[0, 0], [1, 0], [1, 1]])
    for which, other in ((0, [1, 0]), (1, [1, 1])):
        assert with_another(allowed[which][None], which, allowed).tolist() == [other]


def test_shrinking_a_mask_keeps_every_masked_pixel():
    mask = torch.rand(1, 1, 16, 16, generator=seed()) > 0.9
    small = shrink(mask.float(), 8) > 0
    expected = F.max_pool2d(mask.float(), 2) > 0
    assert torch.equal(small, expected)
