"""The prior: order of the sentence, dropping, the better of two, unit vectors."""
import math

import pytest
import torch
import torch.nn.functional as F

from minidalle.diffusion import cosine_schedule
from minidalle.prior import Prior, PriorConfig, better_of_two


def small_prior() -> Prior:
    torch.manual_seed(0)
    prior = Prior(PriorConfig(vocab=20, context=6, embed=8, width=32, depth=2, heads=2, steps=50))
    torch.nn.init.normal_(prior.null, std=1.0)
    torch.nn.init.normal_(prior.token.weight, std=1.0)
    return prior.eval()


def inputs(B=4):
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 20, (B, 6), generator=g)
    text, image = F.normalize(torch.randn(2, B, 8, generator=g), dim=-1)
    return ids, text, image, torch.randn(B, 8, generator=g), torch.arange(B) * 7


def test_every_part_of_the_sentence_changes_the_answer():
    prior, (ids, text, _, x_t, t) = small_prior(), inputs()
    answer = prior(x_t, t, (ids, text))
    first = ids.clone()
    first[:, 0] = (first[:, 0] - 2) % 17 + 3
    for changed in (prior(x_t + 1, t, (ids, text)), prior(x_t, t + 5, (ids, text)),
                    prior(x_t, t, (first, text)), prior(x_t, t, (ids, -text))):
        assert (changed - answer).abs().max() > 1e-3


def test_dropping_drops_both_paths_of_the_caption_and_only_for_those_rows():
    prior, (ids, text, _, x_t, t) = small_prior(), inputs()
    keep = torch.tensor([True, False, True, False])
    other = prior(x_t, t, (ids.flip(1), -text), keep)
    answer = prior(x_t, t, (ids, text), keep)
    assert torch.equal(other[~keep], answer[~keep])
    assert (other[keep] - answer[keep]).abs().max() > 1e-3
    torch.testing.assert_close(answer[keep], prior(x_t, t, (ids, text))[keep])


def test_the_length_of_a_dropped_caption_does_not_leak():
    prior, (ids, text, _, x_t, t) = small_prior(), inputs()
    padded = ids.clone()
    padded[:, 3:] = 0
    drop = torch.zeros(4, dtype=torch.bool)
    assert torch.equal(prior(x_t, t, (padded, text), drop), prior(x_t, t, (ids, text), drop))


def test_the_caption_never_sees_the_noisy_vector():
    """Causality: what stands at the caption's tokens does not depend on time or noise."""
    prior, (ids, text, _, x_t, t) = small_prior(), inputs()
    states = []
    prior.transformer.register_forward_hook(lambda m, args, out: states.append(out))
    prior(x_t, t, (ids, text))
    prior(x_t + 1, t + 5, (ids, text))
    torch.testing.assert_close(states[0][:, :7], states[1][:, :7])
    assert (states[0][:, 7:] - states[1][:, 7:]).abs().max() > 1e-3


def test_unit_vectors_times_the_scale_have_entries_of_variance_one():
    prior = small_prior()
    z = F.normalize(torch.randn(5000, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert (prior.scale * z).var().item() == pytest.approx(1, abs=0.05)
    assert prior.scale == pytest.approx(math.sqrt(8))


def test_the_loss_is_the_distance_to_x_0_itself_weighed_by_the_noise():
    """A prior that always answers c: each sample's loss is (c - sqrt(E) z)^2, whatever its noise,
    and it counts (1 + SNR)^0.75, which is sigma^-1.5, with sigma at least 0.1."""
    prior, (ids, text, image, _, _) = small_prior(), inputs()
    torch.nn.init.zeros_(prior.answer.weight)
    torch.nn.init.constant_(prior.answer.bias, 0.5)
    u = torch.rand(len(ids), generator=torch.Generator().manual_seed(3)).square()
    steps = (u * prior.config.steps).long()
    sigma = (1 - cosine_schedule(prior.config.steps)[steps]).sqrt().float()[:, None]
    expected = ((0.5 - math.sqrt(8) * image).square() / sigma.clamp(min=0.1) ** 1.5).mean()
    loss = prior.loss((ids, text, image), torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss, expected)


def test_better_of_two_equals_a_choice_row_by_row_ties_to_the_first():
    a, b, text = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0))
    b[5] = a[5]
    rows = [x if x @ y >= z @ y else z for x, z, y in zip(a, b, text, strict=True)]
    assert torch.equal(better_of_two(a, b, text), torch.stack(rows))


def test_samples_are_unit_vectors_repeat_with_the_seed_and_leave_the_inputs_alone():
    prior, (ids, text, _, _, _) = small_prior(), inputs()
    kept = ids.clone(), text.clone()
    a, b, c = (prior.sample(ids, text, steps=4, generator=torch.Generator().manual_seed(s))
               for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(4))
    assert torch.equal(ids, kept[0]) and torch.equal(text, kept[1])


def test_it_learns_which_vector_belongs_to_which_caption():
    torch.manual_seed(0)
    prior, (ids, text, image, _, _) = small_prior().train(), inputs()
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    batch = ids.repeat(8, 1), text.repeat(8, 1), image.repeat(8, 1)
    for _ in range(120):
        loss = prior.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = prior.eval().sample(ids, text, guidance=1.0, steps=10,
                                generator=torch.Generator().manual_seed(0))
    assert ((drawn @ image.T).argmax(dim=1) == torch.arange(4)).all()


def test_the_first_weights_of_places_query_and_null_are_small():
    prior = Prior(PriorConfig(vocab=20, context=6, embed=8, width=512, depth=1, heads=2))
    for part in (prior.query, prior.null, prior.position):
        assert part.std().item() == pytest.approx(0.02, rel=0.15)


def test_the_places_of_words_and_the_query_change_the_answer():
    prior, (ids, text, _, x_t, t) = small_prior(), inputs()
    answer = prior(x_t, t, (ids, text))
    for part in (prior.position, prior.query):
        kept = part.data.clone()
        torch.nn.init.normal_(part)
        assert (prior(x_t, t, (ids, text)) - answer).abs().max() > 1e-3
        part.data.copy_(kept)


def test_text_vectors_come_in_at_variance_one_and_a_tenth_of_captions_is_dropped():
    """Both counted over 2,000 rows; the same generator makes the same loss."""
    prior, seen, kept = small_prior(), [], []
    ids, text, image, _, _ = inputs(2000)
    prior.text.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    prior.register_forward_pre_hook(lambda module, args: kept.append(args[3]))
    losses = [prior.loss((ids, text, image), torch.Generator().manual_seed(0)) for _ in range(2)]
    assert seen[0].var().item() == pytest.approx(1, abs=0.05)
    assert kept[0].float().mean().item() == pytest.approx(0.9, abs=0.035)    # five deviations
    assert torch.equal(*losses)


def test_sample_is_the_better_of_two_guided_draws_made_by_hand():
    prior, (ids, text, _, _, _) = small_prior(), inputs()
    drawn = prior.diffusion.sample(prior, (8, 8), (torch.cat([ids, ids]), torch.cat([text, text])),
                                   steps=4, guidance=3.0,
                                   generator=torch.Generator().manual_seed(0))
    expected = better_of_two(*F.normalize(drawn, dim=-1).chunk(2), text)
    got = prior.sample(ids, text, 3.0, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, expected)
