"""The autoregressive prior: axes and buckets, causality, the cache, dropping, guidance, levels."""
import pytest
import torch
import torch.nn.functional as F

from minidalle.ar_prior import ArPrior, ArPriorConfig, dequantise, pca, quantise
from minidalle.dalle import draw

B, T, E, M, K = 4, 6, 8, 5, 7


def seed(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def small_prior(**settings) -> ArPrior:
    """Untrained, with strong weights, so that whatever reaches the answer changes it visibly."""
    torch.manual_seed(0)
    config = ArPriorConfig(vocab=20, context=T, embed=E, axes=M, buckets=K, levels=4, width=32,
                           depth=2, heads=2)
    prior = ArPrior(ArPriorConfig(**{**vars(config), **settings}))
    for part in (prior.null, prior.token.weight, prior.level.weight, prior.code, prior.answer):
        torch.nn.init.normal_(part)
    for linear in (m for m in prior.transformer.modules() if isinstance(m, torch.nn.Linear)):
        torch.nn.init.normal_(linear.weight, std=0.2)
    return prior.fit_codes(*vectors(200)).eval()


def vectors(n, number=5) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and text vectors (n, E) of length one, along some axes longer than along others."""
    spread = torch.linspace(3, 0.5, E)
    image, text = torch.randn(2, n, E, generator=seed(number)) * spread
    return F.normalize(image, dim=-1), F.normalize(text + image, dim=-1)


def inputs():
    """ids (B, T), text and image vectors (B, E), levels (B,), codes (B, M)."""
    g = seed(1)
    ids, levels = (torch.randint(low, high, shape, generator=g)
                   for low, high, shape in ((3, 20, (B, T)), (0, 4, (B,))))
    image, text = vectors(B, 2)
    return ids, text, image, levels, torch.randint(K, (B, M), generator=g)


# ---- a vector as a row of codes -------------------------------------------------------------

def test_the_axes_are_the_eigenvectors_of_the_covariance_largest_eigenvalue_first():
    """Against torch.cov and eigh, up to the sign of each axis."""
    x = vectors(300)[0]
    mean, axes = pca(x, E)
    values, columns = torch.linalg.eigh(torch.cov(x.double().T))
    torch.testing.assert_close(mean, x.mean(dim=0))
    torch.testing.assert_close(axes @ axes.T, torch.eye(E), atol=1e-6, rtol=0)
    likeness = (axes.double() @ columns.flip(1)).abs()
    torch.testing.assert_close(likeness, torch.eye(E).double(), atol=1e-5, rtol=0)
    variance = ((x - mean) @ axes.T).double().var(dim=0)
    torch.testing.assert_close(variance, values.flip(0), rtol=1e-4, atol=0)
    assert (variance.diff() < 0).all()


def test_the_axes_do_not_depend_on_the_threads_and_each_has_its_largest_entry_above_0():
    """A library may turn an axis round when it finds fewer cores free: then other codes are learnt
    and other vectors drawn from one seed. Also with axes that hold nothing, as CLIP's do."""
    threads, found = torch.get_num_threads(), []
    x = F.normalize(torch.randn(400, 64, generator=seed()) @ torch.diag(0.8 ** torch.arange(64)))
    try:
        for n in (1, 2, 1):
            torch.set_num_threads(n)
            found.append(pca(x, 24))
    finally:
        torch.set_num_threads(threads)
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(one, again)
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    axes = found[0][1]
    assert (axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)) > 0).all()
    assert torch.equal(pca(-x, 24)[1], axes)                   # the same axes, whatever came in


def test_all_axes_give_the_vectors_back_exactly_and_fewer_lose_the_variance_left_out():
    x = vectors(300)[0]
    values = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0) * 299 / 300
    for m in (E, 3):
        mean, axes = pca(x, m)
        back = (x - mean) @ axes.T @ axes + mean
        lost = (back - x).square().sum(dim=1).mean()
        torch.testing.assert_close(lost, values[m:].sum(), atol=1e-7, rtol=1e-4)


def test_too_few_vectors_for_the_axes_are_told():
    with pytest.raises(ValueError, match="got 3 vectors of 8 numbers for 5 axes; pass at least 5"):
        pca(torch.randn(3, E), 5)
    with pytest.raises(ValueError, match="ask for 1 to 8 axes"):
        pca(torch.randn(30, E), 9)


def test_buckets_by_hand():
    low, high = torch.tensor([0.0, -2.0]), torch.tensor([1.0, 2.0])
    x = torch.tensor([[0.0, -2.0], [0.6, 0.1], [0.99, 1.9], [1.0, 2.0], [-9.0, 9.0]])
    codes = torch.tensor([[0, 0], [2, 2], [3, 3], [3, 3], [0, 3]])
    assert torch.equal(quantise(x, low, high, 4), codes)
    middles = torch.tensor([[0.125, -1.5], [0.625, 0.5], [0.875, 1.5], [0.875, 1.5], [0.125, 1.5]])
    torch.testing.assert_close(dequantise(codes, low, high, 4), middles)


def test_what_lies_between_the_ends_comes_back_within_half_a_bucket_and_codes_come_back_as_such():
    low, high = torch.tensor([-1.0, 0.0, 5.0]), torch.tensor([2.0, 0.1, 5.0])   # one has no width
    x = low + (high - low) * torch.rand(500, 3, generator=seed())
    codes = quantise(x, low, high, K)
    assert codes.min() == 0 and codes.max() == K - 1
    off = (dequantise(codes, low, high, K) - x).abs()
    assert (off <= (high - low) / K / 2 + 1e-6).all()
    again = quantise(dequantise(codes, low, high, K), low, high, K)
    assert torch.equal(again[:, :2], codes[:, :2])


def test_decode_of_encode_is_within_half_a_bucket_along_each_axis_and_a_unit_vector():
    """Before it is given length one again, the vector differs by half a bucket along the axes that
    are kept, and by all of the others; the vectors are those that the codes were fitted to."""
    prior, image = small_prior(axes=E), vectors(200)[0]
    assert torch.equal(prior.encode(image).float().amax(dim=0), torch.full((E,), K - 1.0))
    half = (prior.high - prior.low) / K / 2
    back = dequantise(prior.encode(image), prior.low, prior.high, K) @ prior.axes + prior.mean
    assert (((back - image) @ prior.axes.T).abs() <= half + 1e-6).all()
    torch.testing.assert_close(prior.decode(prior.encode(image)), F.normalize(back, dim=-1))
    fine = small_prior(axes=E, buckets=4096)
    torch.testing.assert_close(fine.decode(fine.encode(image)), image, atol=2e-3, rtol=0)


def test_each_level_holds_the_same_share_of_the_pairs_and_sampling_takes_the_better_half():
    prior, (image, text) = small_prior(), vectors(200)
    dots = (image * text).sum(dim=-1)
    levels = torch.bucketize(dots, prior.edges)
    assert levels.bincount().tolist() == [50] * 4
    drawn = prior.better_half(2000, seed())
    assert drawn.unique().tolist() == [2, 3]
    assert dots[levels >= 2].min() > dots.median() >= dots[levels < 2].max()


def test_axes_buckets_and_levels_travel_with_the_weights():
    prior, other = small_prior(), ArPrior(small_prior().config)
    image = vectors(B, 2)[0]
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.encode(image), prior.encode(image))
    assert torch.equal(other.decode(prior.encode(image)), prior.decode(prior.encode(image)))


# ---- the sentence ---------------------------------------------------------------------------

def test_a_code_depends_on_those_before_it_and_on_none_after():
    """Each code is changed in turn: the logits of it and those before stay, all later ones move."""
    prior, (ids, text, _, levels, codes) = small_prior(), inputs()
    before = prior(codes[:, :-1], (ids, text, levels))
    assert before.shape == (B, M, K)
    for j in range(M - 1):
        changed = codes[:, :-1].clone()
        changed[:, j] = (changed[:, j] + 1) % K
        after = prior(changed, (ids, text, levels))
        torch.testing.assert_close(after[:, :j + 1], before[:, :j + 1])
        assert ((after - before)[:, j + 1:].abs().amax(dim=(0, 2)) > 1e-3).all()


def test_every_part_of_the_condition_changes_the_first_code():
    prior, (ids, text, _, levels, _) = small_prior(), inputs()
    none = ids.new_zeros(B, 0)
    before = prior(none, (ids, text, levels))
    first = ids.clone()
    first[:, 0] = (first[:, 0] - 2) % 17 + 3
    for changed in ((first, text, levels), (ids.flip(1), text, levels), (ids, -text, levels),
                    (ids, text, (levels + 1) % 4)):
        assert (prior(none, changed) - before).abs().amax(dim=(1, 2)).min() > 1e-3


def test_the_text_vector_is_read_with_entries_of_variance_one():
    """Times sqrt(E), by hand; divided by it, or as it is, it would drown beside the tokens."""
    prior, (ids, text, _, levels, _) = small_prior(), inputs()
    row = prior.embed_condition(ids, text, levels)[:, T]                    # (B, D)
    expected = E ** 0.5 * text @ prior.text.weight.T + prior.text.bias + prior.position[T]
    torch.testing.assert_close(row, expected)


def test_the_first_weights_are_small_and_neighbouring_buckets_begin_alike():
    """Deviation 0.02; and sixteen waves along the buckets, 0.02^2 sum_w cos^2(pi w place)."""
    prior = ArPrior(ArPriorConfig(vocab=500, context=60, embed=32, axes=30, width=64, levels=100))
    for part in (prior.null, prior.position, prior.token.weight, prior.level.weight):
        assert part.std().item() == pytest.approx(0.02, rel=0.1)
    place = torch.pi * torch.arange(16)[:, None] * (torch.arange(32) + 0.5) / 32
    deviation = 0.02 * place.cos().square().sum(dim=0).sqrt()               # (K,)
    for codes in (prior.code, prior.answer.mT):                             # (m, K, D)
        torch.testing.assert_close(codes.std(dim=(0, 2)), deviation, rtol=0.1, atol=0)
        near, far = (F.cosine_similarity(codes[:, :-step], codes[:, step:], dim=2).mean()
                     for step in (1, 8))
        assert near > 0.5 > far + 0.3


def test_the_same_bucket_of_two_axes_is_not_the_same_code():
    prior = small_prior()
    same = torch.full((1, M), 3)
    rows = prior.embed_codes(same)[0]
    assert (torch.cdist(rows, rows) + torch.eye(M) > 1e-3).all()
    torch.testing.assert_close(prior.embed_codes(same[:, :2], first=3), rows[None, 3:])


def test_dropping_drops_every_path_of_the_caption_and_only_for_those_rows():
    """Ids, text vector and level; the codes stay."""
    prior, (ids, text, _, levels, codes) = small_prior(), inputs()
    keep, given = torch.tensor([True, False, True, False]), codes[:, :-1]
    answer = prior(given, (ids, text, levels), keep)
    other = prior(given, (ids.flip(1), -text, (levels + 1) % 4), keep)
    assert torch.equal(other[~keep], answer[~keep])
    assert (other[keep] - answer[keep]).abs().max() > 1e-3
    torch.testing.assert_close(answer[keep], prior(given, (ids, text, levels))[keep])
    assert (prior((given + 1) % K, (ids, text, levels), keep) - answer)[~keep].abs().max() > 1e-3


# ---- the loss -------------------------------------------------------------------------------

def test_the_loss_is_the_cross_entropy_of_the_codes_given_the_caption_by_hand():
    """Code by code, each from the true ones before it, with levels counted by hand."""
    prior, (ids, text, image, _, _) = small_prior(drop=0.0), inputs()
    codes = prior.encode(image)
    levels = ((image * text).sum(dim=1)[:, None] > prior.edges).sum(dim=1)
    total = 0
    for n in range(M):
        log_p = prior(codes[:, :n], (ids, text, levels))[:, n].log_softmax(dim=-1)
        total -= log_p[torch.arange(B), codes[:, n]].mean()
    torch.testing.assert_close(prior.loss((ids, text, image)), total / M)


def test_a_tenth_of_captions_is_dropped_and_a_seed_repeats_the_loss():
    prior, kept = small_prior(), []
    image, text = vectors(2000)
    ids = torch.randint(3, 20, (2000, T), generator=seed())
    prior.register_forward_pre_hook(lambda module, args: kept.append(args[2]))
    losses = [prior.loss((ids, text, image), seed()) for _ in range(2)]
    assert kept[0].float().mean().item() == pytest.approx(0.9, abs=0.035)    # five deviations
    assert torch.equal(*losses)


def test_codes_are_exact_where_training_rounds_to_bf16():
    prior, image = small_prior(buckets=512), vectors(200)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = prior.encode(image)
    assert torch.equal(rounded, prior.encode(image))


# ---- sampling -------------------------------------------------------------------------------

def by_hand(prior, ids, text, guidance, temperature=1.0):
    """Without a cache, each code from a new reading of the whole sentence, with two passes."""
    g = seed()
    levels, codes = prior.better_half(len(ids), g), ids.new_zeros(len(ids), 0)
    nothing = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(M):
        said, null = (prior(codes, (ids, text, levels), keep)[:, -1]
                      for keep in (~nothing, nothing))
        code = draw(null + guidance * (said - null), temperature, generator=g)
        codes = torch.cat([codes, code], dim=1)
    return prior.decode(codes)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_sampling_with_a_cache_equals_sampling_without_one_and_guides_the_logits(guidance):
    """At guidance 1 the conditional answer alone, at 0 the unconditional one."""
    prior, (ids, text, _, _, _) = small_prior(), inputs()
    ids, text = ids.repeat(8, 1), text.repeat(8, 1)
    got = prior.sample(ids, text, guidance, generator=seed())
    torch.testing.assert_close(got, by_hand(prior, ids, text, guidance))


def test_guidance_1_reads_no_dropped_caption_and_guidance_0_no_caption_at_all():
    prior, (ids, text, _, _, _) = small_prior(), inputs()
    plain = prior.sample(ids, text, 0.0, generator=seed())
    assert torch.equal(prior.sample(ids.flip(1), -text, 0.0, generator=seed()), plain)
    kept = prior.sample(ids, text, generator=seed())
    torch.nn.init.normal_(prior.null)
    assert torch.equal(prior.sample(ids, text, generator=seed()), kept)
    assert not torch.equal(prior.sample(ids, text, 0.0, generator=seed()), plain)


def test_samples_are_unit_vectors_repeat_with_the_seed_and_leave_the_inputs_alone():
    prior, (ids, text, _, _, _) = small_prior(), inputs()
    kept = ids.clone(), text.clone()
    a, b, c = (prior.sample(ids, text, 2.0, generator=seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(B))
    assert torch.equal(ids, kept[0]) and torch.equal(text, kept[1])


def test_temperature_0_draws_the_likeliest_code_each_time():
    prior, (ids, text, _, _, _) = small_prior(levels=2), inputs()    # the upper half is one level
    a, b = (prior.sample(ids, text, temperature=0.0, generator=seed(s)) for s in (0, 1))
    assert torch.equal(a, b)
    torch.testing.assert_close(a, by_hand(prior, ids, text, 1.0, temperature=0.0))


def test_it_learns_which_vector_belongs_to_which_caption():
    """Overfit on four pairs, without levels, since each pair knows one alone: the likeliest codes
    are those of its own vector, and what is drawn is nearest to it."""
    prior, (ids, text, image, _, _) = small_prior(axes=E, buckets=16, levels=1).train(), inputs()
    batch = ids.repeat(8, 1), text.repeat(8, 1), image.repeat(8, 1)
    optimizer, losses = torch.optim.Adam(prior.parameters(), lr=3e-3), []
    for _ in range(120):
        losses.append(prior.loss(batch, seed(len(losses))))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    likely = prior.eval().sample(ids, text, temperature=0.0, generator=seed())
    torch.testing.assert_close(likely, prior.decode(prior.encode(image)))
    drawn = prior.sample(ids, text, generator=seed())
    assert ((drawn @ image.T).argmax(dim=1) == torch.arange(B)).all()
