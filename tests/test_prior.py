"""The prior: order of the sentence, dropping, the better of two, unit vectors."""
import math

import pytest
import torch
import torch.nn.functional as F

from minidalle.diffusion import X0, Diffusion, cosine_schedule
from minidalle.prior import Prior, PriorConfig, better_of_two


def small_prior(**more) -> Prior:
    torch.manual_seed(0)
    prior = Prior(PriorConfig(20, 6, 8, width=32, depth=2, heads=2, steps=50, **more))
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
    and it counts (1 + SNR)^0.5, which is 1 / sigma, with sigma at least 0.1."""
    prior, (ids, text, image, _, _) = small_prior(), inputs()
    torch.nn.init.zeros_(prior.answer.weight)
    torch.nn.init.constant_(prior.answer.bias, 0.5)
    u = torch.rand(len(ids), generator=torch.Generator().manual_seed(3)).square()
    steps = (u * prior.config.steps).long()
    sigma = (1 - cosine_schedule(prior.config.steps)[steps]).sqrt().float()[:, None]
    expected = ((0.5 - math.sqrt(8) * image).square() / sigma.clamp(min=0.1)).mean()
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
                                   steps=4, guidance=3.0, order=2,
                                   generator=torch.Generator().manual_seed(0))
    expected = better_of_two(*F.normalize(drawn, dim=-1).chunk(2), text)
    got = prior.sample(ids, text, 3.0, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, expected)


# ---- the cloud of one caption ----

def cloud(width: int = 8) -> torch.Tensor:
    """A covariance (E, E) that is long in some directions and flat in others."""
    half = torch.randn(width, width, generator=torch.Generator().manual_seed(4)).double()
    half = half * torch.logspace(0, -1.5, width)
    return half @ half.T / 50


def drawn_from(C: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    noise = torch.randn(n, len(C), generator=torch.Generator().manual_seed(seed)).double()
    return noise @ torch.linalg.cholesky(C).T


def clouded(C: torch.Tensor) -> Prior:
    """Whose cloud is C, told by two vectors for each of 50,000 captions."""
    prior, n = small_prior(), 50_000
    middle = 5 * drawn_from(torch.eye(8).double(), n, 1)        # captions differ by far more
    a, b = ((middle + drawn_from(C, n, k)) / math.sqrt(8) for k in (2, 3))
    return prior.fit_cloud(a.float(), b.float())


def test_the_cloud_is_the_covariance_within_a_caption_whatever_captions_differ_by():
    prior = clouded(cloud())
    found = prior.axes.mT * prior.variance @ prior.axes
    torch.testing.assert_close(found.double(), cloud(), atol=0.02 * cloud().trace().item(), rtol=0)


def test_the_answer_is_the_mean_of_all_x_0_that_the_cloud_and_the_noise_allow():
    """Bayes for Gaussians, with matrices: m + a C (a^2 C + (1 - a^2))^-1 (x_t - a m)."""
    prior = clouded(cloud())
    C = (prior.axes.mT * prior.variance @ prior.axes).double()
    g = torch.Generator().manual_seed(9)
    middle, x_t = torch.randn(2, 5, 8, generator=g)
    for step in (0, 7, 25, 49):
        a = cosine_schedule(50)[step].float().double().sqrt()
        gain = a * C @ torch.linalg.inv(a ** 2 * C + (1 - a ** 2) * torch.eye(8))
        expected = middle + (x_t - a * middle).double() @ gain.T
        got = prior.within(middle, x_t, torch.full((5,), step))
        torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-4)


def test_a_prior_that_knows_the_middle_draws_the_cloud_around_it():
    C, n = cloud(), 4000
    prior, middle = clouded(C), torch.linspace(-1, 1, 8)
    prior.diffusion = Diffusion(cosine_schedule(1000), X0)      # many levels, as in the recipe
    x_0 = prior.diffusion.sample(
        lambda x_t, t, *_: prior.within(middle.expand(n, 8), x_t, t), (n, 8), steps=12, order=2,
        generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x_0.mean(dim=0), middle, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(x_0.T).double(), C, atol=0.2 * C.max().item(), rtol=0)


def test_without_a_cloud_the_answer_is_the_networks_own_and_bf16_leaves_the_cloud_alone():
    prior, (*_, x_t, t) = small_prior(), inputs()
    middle = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(prior.within(middle, x_t, t), middle)
    prior = clouded(cloud())
    exact = prior.within(middle, x_t, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prior.within(middle, x_t, t), exact)
