"""CLIP: the loss by hand and in closed form, repeats, the towers, retrieval."""
import math

import pytest
import torch
import torch.nn.functional as F

from minidalle.clip import (
    Clip,
    ClipConfig,
    ConvTower,
    VisionTransformer,
    contrastive_loss,
    recall_at,
    repeats,
    unit,
    zero_shot,
)


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def small_clip(embed: int = 16) -> Clip:
    torch.manual_seed(0)
    config = ClipConfig(vocab=20, context=8, embed=embed, width=32, depth=1, heads=2)
    return Clip(config, ConvTower(size=16, embed=embed, width=8))


def sentences(n: int) -> torch.Tensor:
    """n different captions: start 1, two words, end 2, padding 0."""
    words = torch.cartesian_prod(torch.arange(3, 20), torch.arange(3, 20))[torch.randperm(
        289, generator=seed())[:n]]
    ids = torch.zeros(n, 8, dtype=torch.long)
    ids[:, 0], ids[:, 1:3], ids[:, 3] = 1, words, 2
    return ids


def different(n: int) -> torch.Tensor:
    return torch.eye(n, dtype=torch.bool)


def test_loss_of_vectors_that_know_nothing_is_ln_B():
    assert contrastive_loss(torch.zeros(64, 64), different(64)).item() == pytest.approx(
        math.log(64), rel=1e-6)
    vectors = unit(torch.randn(2, 512, 4096, generator=seed()))
    loss = contrastive_loss(vectors[0] @ vectors[1].T, different(512))
    assert loss.item() == pytest.approx(math.log(512), abs=0.01)


def test_loss_without_repeats_equals_pytorchs_cross_entropy_in_both_directions():
    logits, label = torch.randn(32, 32, generator=seed()), torch.arange(32)
    expected = (F.cross_entropy(logits, label) + F.cross_entropy(logits.T, label)) / 2
    torch.testing.assert_close(contrastive_loss(logits, different(32)), expected)


def test_loss_is_symmetric_in_pictures_and_captions():
    logits, same = torch.randn(6, 6, generator=seed()), repeats(sentences(6)[[0, 1, 1, 2, 0, 1]])
    torch.testing.assert_close(contrastive_loss(logits, same), contrastive_loss(logits.T, same))


def test_loss_with_a_repeat_by_hand():
    """Two pictures of one caption: each spreads its target over both copies, so all-equal logits
    cost ln 2 and the perfect score costs ln 2 too."""
    same = torch.ones(2, 2, dtype=torch.bool)
    assert contrastive_loss(torch.zeros(2, 2), same).item() == pytest.approx(math.log(2))
    assert contrastive_loss(torch.full((2, 2), 50.0), same).item() == pytest.approx(math.log(2))


def test_on_free_logits_repeats_are_positives_and_the_plain_loss_fails_on_them():
    """Logits that are exactly right: our gradient vanishes, the plain loss still pushes."""
    ids = sentences(3)[[0, 0, 1, 2]]
    right = torch.where(repeats(ids), 20.0, -20.0).requires_grad_()
    ours, = torch.autograd.grad(contrastive_loss(right, repeats(ids)), right)
    plain, = torch.autograd.grad(F.cross_entropy(right, torch.arange(4)), right)
    assert ours.abs().max() < 1e-6 < 0.1 < plain.abs().max()


def test_in_the_model_twins_have_equal_vectors_so_the_plain_loss_is_the_same():
    """The text vector is a function of the words. So what fails on free logits does no harm here,
    neither to the loss nor to its gradient: see lesson 04."""
    clip, ids = small_clip().eval(), sentences(3)[[0, 0, 1, 2, 0]]
    images = torch.randn(5, 3, 16, 16)
    losses = [contrastive_loss(clip(images, ids), same)
              for same in (repeats(ids), torch.eye(5, dtype=torch.bool))]
    torch.testing.assert_close(*losses)
    slopes = [torch.cat([g.flatten() for g in torch.autograd.grad(loss, clip.parameters())])
              for loss in losses]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-5)


def test_repeats_equals_a_double_loop():
    ids = sentences(5)[[0, 1, 0, 2, 2, 4]]
    expected = [[a.tolist() == b.tolist() for b in ids] for a in ids]
    assert repeats(ids).tolist() == expected


def test_vectors_have_length_one_and_logits_are_their_scaled_products():
    clip, images, ids = small_clip().eval(), torch.randn(5, 3, 16, 16), sentences(7)
    z, y = clip.encode_image(images), clip.encode_text(ids)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(y.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(clip(images, ids), (z @ y.T) / 0.07)     # the first temperature


def test_the_scale_never_exceeds_100():
    clip, images, ids = small_clip().eval(), torch.randn(5, 3, 16, 16), sentences(5)
    clip.log_scale.data.fill_(50.0)
    assert clip(images, ids).abs().max() <= 100.001
    assert clip.log_scale.item() == pytest.approx(math.log(100), rel=1e-6)


def test_a_scale_above_100_comes_back_by_itself_where_a_smaller_one_is_better():
    """Oracle: the slope by differences at the cap, which a clamp in the formula would make 0."""
    clip, images, ids = small_clip().eval(), torch.randn(5, 3, 16, 16), sentences(5)
    clip.log_scale.data.fill_(6.0)
    loss = clip.loss((images, ids))
    slope, = torch.autograd.grad(loss, clip.log_scale)
    clip.log_scale.data.sub_(0.01)
    with torch.no_grad():
        lower = clip.loss((images, ids))
    assert slope > 0.1 and ((loss - lower) / 0.01).item() == pytest.approx(slope.item(), rel=0.1)


def test_the_text_vector_sees_the_whole_caption_and_no_padding():
    clip, ids = small_clip().eval(), sentences(4)
    other_word, other_pad = ids.clone(), ids.clone()
    other_word[:, 1] = (other_word[:, 1] - 2) % 17 + 3
    other_pad[:, 4:] = 7
    vectors = clip.encode_text(ids)
    assert (clip.encode_text(other_word) - vectors).abs().max() > 1e-4
    torch.testing.assert_close(clip.encode_text(other_pad), vectors)
    torch.testing.assert_close(clip.encode_text(ids[:, :4]), vectors)


@pytest.mark.parametrize("tower", [
    lambda size: ConvTower(size, 24, width=8),
    lambda size: VisionTransformer(size, 24, patch=4, width=32, depth=1, heads=2)])
@pytest.mark.parametrize("size", [16, 32, 40])
def test_both_image_towers_have_one_signature_at_any_size(tower, size):
    assert tower(size)(torch.randn(3, 3, size, size)).shape == (3, 24)


def test_patches_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(ValueError, match="patches of 5 do not fill a picture of 32"):
        VisionTransformer(32, 24, patch=5)


@pytest.mark.parametrize("tower", [
    lambda: ConvTower(16, 16, width=8),
    lambda: VisionTransformer(16, 16, width=32, depth=1, heads=2)])
def test_it_overfits_one_batch(tower):
    torch.manual_seed(0)
    clip = Clip(small_clip().config, tower())
    images, ids = torch.randn(8, 3, 16, 16, generator=seed()), sentences(8)
    optimizer = torch.optim.Adam(clip.parameters(), lr=1e-3)
    for _ in range(100):
        loss = clip.loss((images, ids))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 < math.log(8)
    assert zero_shot(clip, images, ids).argmax(dim=1).tolist() == list(range(8))


def test_the_first_weights_of_places_and_of_the_first_token_are_small():
    tower = VisionTransformer(32, 24, width=512)
    for part in (tower.first, tower.position):
        assert part.std().item() == pytest.approx(0.02, rel=0.15)


def test_zero_shot_is_a_distribution_over_captions():
    p = zero_shot(small_clip().eval(), torch.randn(5, 3, 16, 16), sentences(9))
    assert p.shape == (5, 9)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5))


def test_recall_equals_a_count_over_sorted_neighbours():
    images, texts = unit(torch.randn(2, 30, 4, generator=seed()))
    for k in (1, 3, 30):
        nearest = (texts @ images.T).argsort(dim=1, descending=True)[:, :k]
        expected = sum(i in row for i, row in enumerate(nearest.tolist())) / 30
        assert recall_at(images, texts, k) == pytest.approx(expected)
    assert recall_at(texts, texts) == 1


def recall_by_lots(images, texts, k, draws=4000):
    """The pictures of each caption in an order in which lots decide between equal ones."""
    lots, hits = torch.Generator().manual_seed(1), 0
    for _ in range(draws):
        order = torch.randperm(len(images), generator=lots)
        nearest = order[(texts @ images[order].T).argsort(dim=1, descending=True, stable=True)]
        hits += (nearest[:, :k] == torch.arange(len(texts))[:, None]).any(dim=1).float().mean()
    return (hits / draws).item()


def test_recall_counts_equal_pictures_as_a_drawing_of_lots_would():
    images = unit(torch.randn(6, 5, generator=seed()))[[0, 0, 1, 2, 2, 2, 3, 4, 5]]
    texts = unit(images + 0.8 * torch.randn(9, 5, generator=seed(1)))
    for k in (1, 2, 3, 5):
        assert recall_at(images, texts, k) == pytest.approx(recall_by_lots(images, texts, k),
                                                            abs=0.02)


@pytest.mark.parametrize("n", [2, 7, 100])
def test_recall_of_equal_vectors_is_that_of_guessing(n):
    same = unit(torch.randn(1, 128, generator=seed())).expand(n, -1).contiguous()
    for k in (1, 2, n, n + 1):
        assert recall_at(same, same, k) == pytest.approx(min(1, k / n))
        assert recall_at(unit(torch.randn(n, 128)), same, k) <= 1


def test_rounding_breaks_no_tie():
    """Rows cut to the longest caption of their batch differ in the eighth digit."""
    same = unit(torch.randn(1, 128, generator=seed())).expand(50, -1)
    nearly = same + 6e-8 * torch.randn(50, 128, generator=seed(1))
    assert recall_at(nearly, same) == pytest.approx(1 / 50)


def test_a_clip_whose_relus_died_scores_as_guessing_does():
    clip, ids = small_clip().eval(), sentences(20)
    for layer in clip.image_tower.convs:
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(layer.bias, -100.0)
    vectors = clip.encode_image(torch.randn(20, 3, 16, 16)), clip.encode_text(ids)
    assert recall_at(*vectors) == pytest.approx(1 / 20)


def test_recall_refuses_nan_unlike_counts_and_no_neighbour():
    x, bad = unit(torch.randn(4, 3)), torch.full((4, 3), math.nan)
    for images, texts, k in [(bad, x, 1), (x, bad, 1), (x, x[:2], 1), (x[:0], x[:0], 1),
                             (x[0], x[0], 1), (x, x, 0)]:
        with pytest.raises(ValueError, match="expected"):
            recall_at(images, texts, k)


def test_zero_shot_refuses_logits_that_are_not_finite():
    with pytest.raises(ValueError, match="NaN or infinity"):
        zero_shot(small_clip().eval(), torch.full((2, 3, 16, 16), math.nan), sentences(3))


def test_the_order_of_words_and_of_patches_changes_the_vectors():
    clip, ids = small_clip().eval(), sentences(4)
    vit = VisionTransformer(16, 16, width=32, depth=1, heads=2)
    swapped, images = ids[:, [0, 2, 1, 3]], torch.randn(4, 3, 16, 16, generator=seed())
    differ = ids[:, 1] != ids[:, 2]
    moved = (clip.encode_text(swapped) - clip.encode_text(ids)).abs().amax(dim=1)
    assert differ.any() and (moved[differ] > 1e-4).all()
    assert (vit(images.roll(4, -1)) - vit(images)).abs().max() > 1e-4
