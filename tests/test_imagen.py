"""Imagen: what is heard and what a dropped caption leaves, thresholds, told noise, the road."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidalle.diffusion import clip_dynamic, clip_static
from minidalle.imagen import (
    GUIDANCE,
    LEVEL,
    STEPS,
    Base,
    BaseConfig,
    ImagenRoad,
    SuperResolution,
    SuperResolutionConfig,
    augment,
    caption_to_picture,
    dropped,
    pool,
)
from minidalle.textonly import TextConfig, TextEncoder
from minidalle.tokenizer import Tokenizer

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


def new_base(**changes) -> Base:
    torch.manual_seed(0)
    return Base(BaseConfig(**{"words": 16, "size": 8, "width": 16, "steps": 50, **changes}))


def new_superres(**changes) -> SuperResolution:
    torch.manual_seed(0)
    return SuperResolution(SuperResolutionConfig(**{"words": 16, "size": 16, "small": 8,
                                                    "width": 16, "steps": 50, **changes}))


def small_road(size: int = 16) -> ImagenRoad:
    tokenizer = Tokenizer.train(CAPTIONS * 2, vocab_size=270, context=16)
    torch.manual_seed(0)
    text = TextEncoder(TextConfig(tokenizer.vocab_size, 16, width=16, depth=1, heads=2)).eval()
    return ImagenRoad(tokenizer, text, awake(new_base(size=size // 2)),
                      awake(new_superres(size=size, small=size // 2)))


@pytest.fixture(scope="module")
def road() -> ImagenRoad:
    return small_road()


@pytest.fixture(scope="module")
def base() -> Base:
    return awake(new_base())


@pytest.fixture(scope="module")
def superres() -> SuperResolution:
    return awake(new_superres())


def words(B=2, T=5, D=16, lengths=(3, 5)):
    heard = torch.arange(T) < torch.tensor(lengths)[:, None]
    return torch.randn(B, T, D, generator=seed(3)), heard


def pictures(B=2, size=16, n=1):
    return torch.rand(B, 3, size, size, generator=seed(n)) * 2 - 1


def noting(model, kept: list):
    """Keep what the model is called with, as long as the hook is not removed."""
    return model.register_forward_pre_hook(
        lambda module, args, named: kept.append((args, named)), with_kwargs=True)


# ---- what is heard --------------------------------------------------------------------------

def test_the_pooled_vector_is_the_mean_of_the_states_that_are_heard_row_by_row():
    states, heard = words()
    by_hand = torch.stack([row[mask].mean(dim=0) for row, mask in zip(states, heard, strict=True)])
    torch.testing.assert_close(pool((states, heard)), by_hand)


def test_a_dropped_caption_leaves_one_state_that_says_nothing_and_the_callers_words_as_they_were():
    (states, heard), null = words(), torch.arange(16.0)
    kept, keep = (states.clone(), heard.clone()), torch.tensor([True, False])
    left, still = dropped((states, heard), keep, null)
    assert torch.equal(left[0], states[0]) and torch.equal(still[0], heard[0])
    assert torch.equal(left[1][still[1]], null[None])          # all that is heard of the second
    assert torch.equal(states, kept[0]) and torch.equal(heard, kept[1])
    assert dropped((states, heard), None, null)[0] is states


@pytest.mark.parametrize("which", ["base", "superres"])
def test_every_heard_word_changes_the_answer_and_no_other_does(which, request):
    model, (states, heard), t = request.getfixturevalue(which), words(), torch.tensor([3, 40])
    answer = ask(model, t, (states, heard))
    for i in range(states.shape[1]):
        other = states.clone()
        other[:, i] += 1
        moved = (ask(model, t, (other, heard)) - answer).abs().amax(dim=(1, 2, 3))
        assert ((moved > 1e-5) == heard[:, i]).all(), i


def ask(model, t, heard_words, keep=None, small=None):
    """The guess of either model, for the same noisy and small pictures each time."""
    if isinstance(model, Base):
        return model(pictures(size=8), t, heard_words, keep)
    small = pictures(size=8, n=4) if small is None else small
    return model(pictures(), t, (small, torch.tensor([0.1, 0.6]), *heard_words), keep)


@pytest.mark.parametrize("which", ["base", "superres"])
def test_where_a_caption_is_dropped_nothing_of_it_is_left_and_elsewhere_all(which, request):
    model, (states, heard), t = request.getfixturevalue(which), words(), torch.tensor([3, 40])
    keep = torch.tensor([True, False])
    answer = ask(model, t, (states, heard), keep)
    others = ask(model, t, (-states, heard.flip(0)), keep)
    assert torch.equal(answer[1], others[1])
    assert (answer[0] - others[0]).abs().max() > 1e-4
    torch.testing.assert_close(answer[0], ask(model, t, (states, heard))[0])
    assert (answer[1] - ask(model, t, (states, heard))[1]).abs().max() > 1e-4


def test_a_dropped_caption_reaches_neither_the_sketch_nor_the_time_nor_the_places(base):
    """Noted where the words go in: the questions of the sketch, the condition, the context."""
    sketch, unet, null = [], [], base.null.detach()
    hooks = noting(base.ask, sketch), noting(base.unet, unet)
    base(pictures(size=8), torch.tensor([3, 40]), words(), torch.tensor([False, False]))
    for hook in hooks:
        hook.remove()
    (_, states, heard), _ = sketch[0]
    (_, _, told, context, keep), _ = unet[0]
    alone = torch.tensor([[True, False, False, False, False]] * 2)
    assert torch.equal(heard[:, 0, 0], alone) and torch.equal(keep, alone)
    for seen in (states, context, told[:, None]):
        assert torch.equal(seen, null.expand_as(seen))


def test_each_of_the_three_ways_carries_the_words_by_itself(base):
    """The two others are shut: their last layer is set to nothing."""
    ways = {"sketch": [base.sketch], "mean": [base.unet.condition],
            "places": [m.text.out for m in base.unet.modules() if getattr(m, "text", None)]}
    states, heard = words()
    for open_way in ways:
        shut = [p for way, layers in ways.items() if way != open_way
                for layer in layers for p in layer.parameters()]
        kept = [p.clone() for p in shut]
        with torch.no_grad():
            for p in shut:
                p.zero_()
            moved = ask(base, torch.tensor([3, 40]), (states, heard)) \
                - ask(base, torch.tensor([3, 40]), (-states, heard))
            for p, old in zip(shut, kept, strict=True):
                p.copy_(old)
        assert moved.abs().max() > 1e-4, open_way


def test_both_models_in_training_drop_the_stated_share(base, superres):
    """A tenth of 2,000 rows, counted where the model is asked."""
    for model, size in ((base, 8), (superres, 16)):
        asked = []
        hook = noting(model, asked)
        model.loss((torch.zeros(2000, 3, size, size), *words(2000, 2, lengths=[2] * 2000)), seed())
        hook.remove()
        assert asked[0][0][3].float().mean().item() == pytest.approx(0.9, abs=0.035)


# ---- guidance and thresholds ----------------------------------------------------------------

@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_goes_from_no_caption_through_the_caption_and_at_1_is_the_caption_alone(
        base, guidance):
    x, t = pictures(size=8), torch.tensor([3, 40])
    yes, no = (base(x, t, words(), torch.tensor([kept] * 2)) for kept in (True, False))
    guess = base.diffusion.within(None).guess_x0(base, x, t, words(), guidance)
    torch.testing.assert_close(guess, no + guidance * (yes - no), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(yes, base(x, t, words()))


def thresholded(x: np.ndarray, percentile: float = 0.995) -> np.ndarray:
    """Section 2.3 in numpy, a picture at a time."""
    out = np.empty_like(x)
    for i, picture in enumerate(x):
        s = max(np.quantile(np.abs(picture), percentile), 1)
        out[i] = np.clip(picture, -s, s) / s
    return out


@pytest.mark.parametrize("spread", [0.1, 0.9, 4.0])
def test_dynamic_thresholding_is_that_of_the_paper_in_numpy(spread):
    x = spread * torch.randn(5, 3, 16, 16, generator=seed())
    expected = torch.from_numpy(thresholded(x.double().numpy())).float()
    torch.testing.assert_close(clip_dynamic(x), expected)


def test_dynamic_is_static_where_199_of_200_pixels_are_within_the_range_and_else_saturates_less():
    """A few bright pixels are cut by both; a whole picture that is too bright is shrunk by one."""
    x = pictures(4, 32)
    x[:, :, 0, :5] = 3.0                                       # 15 of 3072, less than 1 of 200
    assert torch.equal(clip_dynamic(x), clip_static(x))
    loud = 3 * pictures(4, 32)
    lost = [(clip(loud).abs() == 1).float().mean() for clip in (clip_static, clip_dynamic)]
    assert lost[0] > 0.6 and lost[1] < 0.01


def test_the_threshold_that_is_passed_holds_every_guess_of_the_small_picture(base):
    """Noted where it is asked: the raw guesses, from which the steps in the trace follow."""
    for threshold in (clip_static, clip_dynamic):
        raw, trace = [], []

        def holding(x_0, threshold=threshold, raw=raw):
            raw.append(x_0)
            return threshold(x_0)
        small = base.sample(words(), 8.0, 4, seed(), trace, holding)
        assert len(raw) == len(trace) == 4 and torch.equal(small, threshold(raw[-1]))
        for before, (_, guess) in zip(raw, trace, strict=True):
            assert torch.equal(guess, threshold(before)) and guess.abs().max() <= 1
    assert torch.equal(base.sample(words(), 8.0, 4, seed(), threshold=clip_static),
                       base.sample(words(), 8.0, 4, seed()))


# ---- noise on the small picture -------------------------------------------------------------

def test_level_0_is_the_clean_picture_level_1_nothing_of_it_and_between_cosine_and_sine():
    small, eps = pictures(5, 8), torch.randn(5, 3, 8, 8, generator=seed())
    level = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0])
    noisy = augment(small, level, eps)
    assert torch.equal(noisy[0], small[0])
    torch.testing.assert_close(noisy[4], eps[4])
    for i, a in enumerate(level.double() * np.pi / 2):
        torch.testing.assert_close(noisy[i], (np.cos(a) * small[i] + np.sin(a) * eps[i]).float())


def test_noise_at_no_level_changes_the_variance_of_pictures_whose_variance_is_one():
    small, eps = torch.randn(2, 64, 3, 16, 16, generator=seed())
    for level in (0.0, 0.3, 0.7, 1.0):
        noisy = augment(small, torch.full((64,), level), eps)
        assert noisy.std().item() == pytest.approx(1, abs=0.02), level


def test_the_level_that_is_told_is_that_of_the_noise_in_training_any_from_0_to_1(superres):
    """Small pictures of a grey batch are pure noise, whose deviation is the sine."""
    asked = []
    hook = noting(superres, asked)
    superres.loss((torch.zeros(500, 3, 16, 16), *words(500, 2, lengths=[2] * 500)), seed())
    hook.remove()
    small, level, *_ = asked[0][0][2]
    ratio = small.flatten(1).std(dim=1) / (level * np.pi / 2).sin()
    assert ratio[level > 0.05].mean().item() == pytest.approx(1, abs=0.02)
    counts = level.histc(5, 0, 1)
    assert counts.sum() == 500 and counts.min() > 60           # five deviations below 100


def test_the_level_that_is_told_is_that_of_the_noise_in_drawing(superres):
    asked, told = [], []
    hooks = noting(superres, asked), noting(superres.unet, told)
    for level in (0.0, 0.5):
        superres.sample(torch.zeros(50, 3, 8, 8), words(50, 2, lengths=[2] * 50), level, steps=1,
                        generator=seed())
        small, levels, *_ = asked.pop()[0][2]
        assert small.std().item() == pytest.approx(np.sin(level * np.pi / 2), abs=0.02)
        assert (levels == level).all() and (told.pop()[0][2][:, -1] == level).all()
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_a_level_that_is_none_is_refused_in_one_sentence(superres, level):
    with pytest.raises(ValueError, match="should lie between 0 .the small picture as it is. and 1"):
        superres.sample(pictures(size=8), words(), level)


def test_a_new_enlargement_is_a_plain_one_as_far_as_the_small_picture_is_still_there():
    """Before any training its guess of x_0 equals PyTorch's bilinear picture, whatever x_t is; of
    one in noise the part that the noise has left."""
    model = new_superres()
    nn.init.zeros_(model.unet.leave[-1].bias)
    small = pictures(size=8)
    plain = F.interpolate(small, (16, 16), mode="bilinear", align_corners=False)
    left = torch.tensor([0.1, 0.6]).mul(np.pi / 2).cos()                    # the levels of `ask`
    torch.testing.assert_close(ask(model, torch.tensor([3, 40]), words(), small=small),
                               left.view(2, 1, 1, 1) * plain)


def test_a_dropped_caption_leaves_the_small_picture(superres):
    t, gone = torch.tensor([3, 40]), torch.tensor([False, False])
    a, b = (ask(superres, t, words(), gone, pictures(size=8, n=n)) for n in (4, 5))
    assert (a - b).abs().max() > 0.1


# ---- the road -------------------------------------------------------------------------------

def test_the_road_is_words_then_small_then_large_and_repeats_with_the_seed(road):
    a, b, c = (caption_to_picture(road, CAPTIONS, seed(n)) for n in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (2, 3, 16, 16) and a.abs().max() <= 1
    g, heard = seed(), road.text.encode(road.tokenizer.batch(CAPTIONS))
    small = road.base.sample(heard, GUIDANCE, STEPS, g)
    torch.testing.assert_close(road.superres.sample(small, heard, LEVEL, generator=g), a)


def test_the_knobs_are_those_of_the_two_models(road):
    g, heard = seed(), road.words(CAPTIONS)
    small = road.base.sample(heard, 5.0, generator=g)
    expected = road.superres.sample(small, heard, 0.7, generator=g)
    images = caption_to_picture(road, CAPTIONS, seed(), guidance=5.0, level=0.7)
    torch.testing.assert_close(images, expected)
    assert (images - caption_to_picture(road, CAPTIONS, seed())).abs().max() > 1e-3


def test_with_a_generator_each_no_picture_depends_on_the_others(road):
    both = caption_to_picture(road, CAPTIONS, [seed(4), seed(5)])
    for i, n in enumerate((4, 5)):
        alone = caption_to_picture(road, [CAPTIONS[i]], [seed(n)])
        torch.testing.assert_close(alone[0], both[i], atol=2e-4, rtol=1e-3)


def test_sizes_are_settings():
    for size in (16, 24, 32):
        images = caption_to_picture(small_road(size), CAPTIONS, seed())
        assert images.shape == (2, 3, size, size)


def test_no_captions_give_no_pictures_and_any_text_gives_one(road):
    assert caption_to_picture(road, [], seed()).shape == (0, 3, 16, 16)
    images = caption_to_picture(road, ["", "\u732b \U0001f600"], seed())
    assert images.shape == (2, 3, 16, 16) and images.isfinite().all()
    with pytest.raises(ValueError, match="got one str"):
        caption_to_picture(road, CAPTIONS[0], seed())


def test_the_trace_shows_each_step_of_the_small_picture_from_noise_to_picture(road):
    trace = []
    g, heard = seed(), road.words(CAPTIONS)
    images = caption_to_picture(road, CAPTIONS, seed(), trace=trace)
    assert len(trace) == STEPS and torch.equal(trace[0][0], torch.randn(2, 3, 8, 8, generator=g))
    expected = road.superres.sample(trace[-1][1], heard, generator=g)
    torch.testing.assert_close(images, expected)


# ---- learning -------------------------------------------------------------------------------

@pytest.mark.parametrize("which", ["base", "superres"])
def test_a_loss_depends_on_its_generator_and_on_no_global_one(which, request):
    model, losses = request.getfixturevalue(which), []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss((pictures(), *words()), seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


def overfit(model, batch, steps=120) -> float:
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


def test_the_base_overfits_one_batch():
    batch = checks(), *words()
    first = new_base().loss(batch, seed()).item()
    assert overfit(new_base(), batch) < 0.1 * first


def test_the_enlargement_overfits_one_batch_far_beyond_the_plain_one_that_it_begins_as():
    batch = checks(), *words()
    first = sum(new_superres().loss(batch, seed(n)).item() for n in range(20)) / 20
    assert overfit(new_superres(), batch) < 0.4 * first


def test_the_callers_tensors_are_unchanged(road):
    small, (states, heard) = pictures(size=8), road.words(CAPTIONS)
    kept = small.clone(), states.clone(), heard.clone()
    road.superres.sample(small, (states, heard), 0.5, generator=seed())
    road.base.sample((states, heard), generator=seed())
    assert all(map(torch.equal, (small, states, heard), kept))
