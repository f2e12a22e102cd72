"""The judge and its measures, against closed forms, brute force and hand-made toys."""
import math

import pytest
import torch
import torch.nn.functional as F

from minidalle.metrics import (
    CHUNK,
    Judge,
    JudgeConfig,
    attribute_accuracy,
    blur_half,
    clip_score,
    distances,
    diversity,
    frechet_distance,
    kernel_distance,
    precision_recall,
)

SMALL = JudgeConfig(factors=(3, 2), names=("shade", "side"), width=8, size=16)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def gaussian_set(mean, cov, n=50, seed=0):
    """Samples whose mean and covariance (n - 1) are exactly those given: whitened, coloured."""
    z = randn(n, len(mean), seed=seed)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / (n - 1))).T
    return z @ torch.linalg.cholesky(cov).T + mean


def rotation(n, seed=0):
    return torch.linalg.qr(randn(n, n, seed=seed))[0]


class HandJudge(Judge):
    """Whatever the picture: logits given by hand, the row number being the first pixel."""

    def __init__(self, config, logits):
        super().__init__(config)
        self.logits = logits

    def forward(self, images):
        return [x[images[:, 0, 0, 0].long()] for x in self.logits]


# ---- FID

def test_fid_of_a_set_with_itself_is_zero_also_with_fewer_samples_than_features():
    assert frechet_distance(randn(40, 6), randn(40, 6)) < 1e-9
    assert frechet_distance(randn(10, 30), randn(10, 30)) < 1e-5


def test_fid_of_diagonal_gaussians_is_the_closed_form():
    m1, s1 = torch.tensor([0., 1, -2]).double(), torch.tensor([1., 2, 0.5]).double()
    m2, s2 = torch.tensor([3., 1, 0]).double(), torch.tensor([2., 0.1, 4]).double()
    x, y = gaussian_set(m1, s1.square().diag()), gaussian_set(m2, s2.square().diag(), 80, seed=1)
    expected = ((m1 - m2).square() + (s1 - s2).square()).sum().item()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_fid_of_full_covariances_that_share_axes_is_the_closed_form():
    q, zero = rotation(3), torch.zeros(3).double()
    s1, s2 = torch.tensor([1., 2, 3]).double(), torch.tensor([3., 0.5, 1]).double()
    x = gaussian_set(zero, q @ s1.square().diag() @ q.T)
    y = gaussian_set(zero + 1, q @ s2.square().diag() @ q.T, seed=1)
    assert frechet_distance(x, y) == pytest.approx((s1 - s2).square().sum().item() + 3, rel=1e-9)


def test_fid_of_full_covariances_equals_brute_force_eigenvalues_of_the_product():
    x, y = randn(30, 5) @ randn(5, 5, seed=1), randn(25, 5, seed=2) @ randn(5, 5, seed=3) + 1
    cov_x = (x - x.mean(0)).T @ (x - x.mean(0)) / 29
    cov_y = (y - y.mean(0)).T @ (y - y.mean(0)) / 24
    root = torch.linalg.eigvals(cov_x @ cov_y).sqrt().sum().real
    expected = (x.mean(0) - y.mean(0)).square().sum() + cov_x.trace() + cov_y.trace() - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-9)


def test_fid_by_hand_in_one_dimension():
    """Means 1 and 10, variances 2 and 8 (n - 1): 81 + (sqrt 2 - sqrt 8)^2 = 83."""
    assert frechet_distance(torch.tensor([[0.], [2]]), torch.tensor([[8.], [12]])) == (
        pytest.approx(83, rel=1e-9))


def test_fid_is_symmetric_and_invariant_to_rotation_and_shift():
    x, y, q = randn(30, 6), randn(40, 6, seed=1) * 2 + 1, rotation(6, seed=2)
    fid = frechet_distance(x, y)
    assert fid > 1
    assert frechet_distance(y, x) == pytest.approx(fid, rel=1e-9)
    assert frechet_distance(x @ q + 5, y @ q + 5) == pytest.approx(fid, rel=1e-9)


def test_fid_of_float32_features_far_from_zero_is_still_that_of_float64():
    x, y = randn(500, 8).float() + 100, randn(500, 8, seed=1).float() + 100
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x.double() - 100,
                                                                    y.double() - 100), rel=1e-6)


# ---- KID

def test_kid_equals_a_double_loop_over_pairs():
    x, y = randn(7, 3), randn(5, 3, seed=1) + 0.5

    def mean_kernel(a, b, skip_self):
        values = [(float(a[i] @ b[j]) / 3 + 1) ** 3 for i in range(len(a)) for j in range(len(b))
                  if not (skip_self and i == j)]
        return sum(values) / len(values)
    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased_its_mean_over_small_draws_is_zero():
    draws = torch.tensor([kernel_distance(randn(10, 4, seed=2 * i), randn(15, 4, seed=2 * i + 1))
                          for i in range(400)])
    assert draws.mean().abs() < 4 * draws.std() / math.sqrt(len(draws))
    assert (draws < 0).any()


def test_kid_is_near_zero_for_one_distribution_and_not_for_two():
    x, y = randn(1500, 4), randn(1500, 4, seed=1)
    assert abs(kernel_distance(x, y)) < 0.02
    assert kernel_distance(x, y + 1) > 1


# ---- precision and recall

def brute_share_inside(points, centres, k):
    def apart(a, b):
        return (a - b).square().sum().sqrt().item()
    count = 0
    for p in points:
        for i, c in enumerate(centres):
            others = sorted(apart(c, d) for j, d in enumerate(centres) if j != i)
            if apart(p, c) <= others[k - 1]:
                count += 1
                break
    return count / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_brute_force(k):
    real, fake = randn(30, 3), randn(20, 3, seed=1) * 0.8 + 1.3
    expected = brute_share_inside(fake, real, k), brute_share_inside(real, fake, k)
    assert 0 < expected[0] < 1 and 0 < expected[1] < 1 and expected[0] != expected[1]
    assert precision_recall(real, fake, k) == pytest.approx(expected)


def test_fakes_that_know_one_of_two_clusters_have_precision_1_and_recall_half():
    left, right = randn(40, 2) * 0.1, randn(40, 2, seed=1) * 0.1 + 100
    real = torch.cat([left, right])
    assert precision_recall(real, left) == (1.0, 0.5)
    assert precision_recall(left, real) == (0.5, 1.0)


def test_where_no_k_is_given_it_is_3():
    """On a line: from 2 the second neighbour is 3 away, the third 4 and the fourth 5."""
    real = torch.tensor([[0.0], [-1], [-2], [-3], [2]])
    fake = torch.tensor([[4.9], [5.1], [6.0], [6.5], [9.0]])    # the ball round 2 reaches to 6
    assert precision_recall(real, fake)[0] == 0.6
    assert precision_recall(real, fake) == precision_recall(real, fake, 3)
    assert len({precision_recall(real, fake, k)[0] for k in (2, 3, 4)}) == 3


def test_a_point_on_the_surface_of_a_ball_is_inside_however_many_points_there_are():
    """On a grid of whole numbers, up to 30 x 30, each has four neighbours exactly 1 away."""
    for n in (3, 6, 30):
        grid = torch.cartesian_prod(torch.arange(n), torch.arange(n)).double()
        assert precision_recall(grid, grid + torch.tensor([0.0, 1.0]), 2) == (1.0, 1.0)
        assert precision_recall(grid, grid + 0.3 * n + 0.1, 1)[0] < 1


def test_copies_lie_inside_balls_without_extent():
    """Each sample stands there four times, so its third neighbour is 0 away: copies are inside.
    By matrix products the radii would come to 4e-5."""
    samples = 100 * randn(30, 40) + 300
    real = samples.repeat(4, 1)
    assert precision_recall(real, real) == precision_recall(real, samples) == (1.0, 1.0)
    assert precision_recall(real, samples + 1e-7)[0] == 0


def test_precision_and_recall_of_far_sets_are_0_and_of_a_set_with_itself_are_1():
    x = randn(60, 4) + 100
    assert precision_recall(x, x + 100) == (0.0, 0.0)
    assert precision_recall(x, x) == (1.0, 1.0)


def test_chunks_change_nothing(monkeypatch):
    x, y = randn(50, 3), randn(41, 3, seed=1) + 0.3
    whole = distances(x, y)
    monkeypatch.setattr("minidalle.metrics.CHUNK", 7)
    assert len(x) < CHUNK and distances(x, y) == pytest.approx(whole, rel=1e-9)


def test_distances_name_each_measure_and_keep_real_and_fake_apart():
    left, right = randn(40, 2) * 0.1, randn(40, 2, seed=1) * 0.1 + 100
    real = torch.cat([left, right])
    assert distances(real, left) == {
        "fid": frechet_distance(real, left), "kid": kernel_distance(real, left),
        "precision": 1.0, "recall": 0.5}


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision_recall])
def test_too_few_samples_nan_and_unlike_widths_are_refused(measure):
    x, nan = randn(9, 4), randn(9, 4)
    nan[3, 2] = math.nan
    for a, b in [(x, x[:1]), (x[:1], x), (x, nan), (nan, x), (x, x[:, :3]), (x[0], x)]:
        with pytest.raises(ValueError, match="expected"):
            measure(a, b)


def test_a_neighbour_beyond_the_set_is_refused():
    for k in (0, 5):
        with pytest.raises(ValueError, match="k = "):
            precision_recall(randn(9, 2), randn(5, 2), k)


# ---- CLIP score and diversity

def test_clip_score_is_1_for_identical_minus_1_for_opposite_and_ignores_length():
    x, y, scale = randn(9, 5), randn(9, 5, seed=1), torch.rand(9, 1, generator=rng()) + 0.1
    assert clip_score(x, x) == pytest.approx(1, abs=1e-6)
    assert clip_score(x, -x) == pytest.approx(-1, abs=1e-6)
    assert clip_score(3 * x, y * scale) == pytest.approx(clip_score(x, y), abs=1e-6)


def test_clip_score_by_hand_is_the_mean_cosine_of_pairs():
    """Cosines of 0, 45 and 90 degrees; the mean of all nine pairs would be another number."""
    images = torch.tensor([[2., 0], [1, 1], [0, 1]])
    texts = torch.tensor([[1., 0], [0, 3], [1, 0]])
    assert clip_score(images, texts) == pytest.approx((1 + math.sqrt(0.5) + 0) / 3, abs=1e-6)


def test_clip_score_refuses_unlike_shapes_and_nan():
    bad = torch.full((2, 3), math.nan)
    for x, y in [(randn(4, 3), randn(1, 3)), (randn(3), randn(3)), (bad, bad),
                 (randn(0, 3), randn(0, 3))]:
        with pytest.raises(ValueError, match="expected"):
            clip_score(x, y)


def test_diversity_equals_a_double_loop_within_each_caption():
    x, groups = randn(9, 4), [5, 2, 5, 2, 2, 5, 7, 5, 2]   # caption 7 has one picture
    means = []
    for g in (2, 5):
        rows = [i for i in range(9) if groups[i] == g]
        apart = [math.dist(x[i].tolist(), x[j].tolist()) for i in rows for j in rows if i < j]
        means.append(sum(apart) / len(apart))
    expected = sum(means) / 2
    assert diversity(x, groups) == pytest.approx(expected, rel=1e-9)
    assert diversity(x, torch.tensor(groups)) == pytest.approx(expected, rel=1e-9)


def test_diversity_of_identical_pictures_is_zero_however_far_the_captions():
    x = (randn(3, 4) * 100).repeat_interleave(5, dim=0)
    assert diversity(x, torch.arange(3).repeat_interleave(5)) == 0


def test_diversity_refuses_unlike_lengths_and_single_pictures():
    for groups in ([0, 0, 1], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="expected"):
            diversity(randn(4, 2), groups)


# ---- the judge

def coloured_squares(n, seed=0):
    """Pictures (n, 3, 16, 16): one of three colours, in the left or the right half."""
    g = rng(seed)
    factors = torch.stack([torch.randint(3, (n,), generator=g),
                           torch.randint(2, (n,), generator=g)], dim=1)
    images = torch.full((n, 3, 16, 16), -1.0)
    for image, (shade, side) in zip(images, factors.tolist()):
        image[shade, 4:12, 8 * side:8 * side + 8] = 1
    return images + 0.1 * torch.randn(images.shape, generator=g), factors


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    judge, batch = Judge(SMALL), coloured_squares(64)
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        judge.loss(batch, generator=rng(step)).backward()
        optimizer.step()
    return judge


def test_the_judge_overfits_one_batch_and_reads_new_squares_sharp_and_blurred(trained):
    assert trained.loss(coloured_squares(64)).item() < 0.05
    images, factors = coloured_squares(200, seed=1)
    assert attribute_accuracy(trained, images, factors) == {"shade": 1, "side": 1, "all": 1}
    assert torch.equal(trained.read(blur_half(images, rng())), factors)


def test_real_pictures_score_near_their_floor_and_noise_far_from_it(trained):
    real, again = (trained.features(coloured_squares(200, seed=s)[0]) for s in (1, 2))
    noise = trained.features(randn(200, 3, 16, 16).float())
    floor, score = distances(real, again), distances(real, noise)
    assert score["fid"] > 10 * floor["fid"] and score["kid"] > 10 * abs(floor["kid"])
    assert floor["precision"] > 0.8 and floor["recall"] > 0.8 and score["precision"] < 0.2


def test_the_untrained_loss_of_equal_logits_is_the_sum_of_log_n():
    judge = Judge(SMALL)
    for head in judge.heads:
        torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    assert judge.loss(coloured_squares(8)).item() == pytest.approx(math.log(3) + math.log(2))


def test_the_loss_is_that_of_the_half_blurred_batch_drawn_by_the_generator():
    torch.manual_seed(0)
    judge, (images, factors) = Judge(SMALL).train(), coloured_squares(16)
    shade, side = judge(blur_half(images, rng(3)))
    expected = -(shade.log_softmax(1)[range(16), factors[:, 0]]
                 + side.log_softmax(1)[range(16), factors[:, 1]]).mean()
    assert judge.loss((images, factors), rng(3)).item() == pytest.approx(expected.item())


def test_blur_half_leaves_half_as_it_is_and_averages_and_enlarges_the_rest():
    """Oracle: 2 x 2 means by hand, and 3/4 near + 1/4 far along each axis inside."""
    images = randn(10, 3, 8, 8).float()
    before, found = images.clone(), blur_half(images, rng(1))
    means = images.reshape(10, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    padded = F.pad(means, (1, 1, 1, 1), mode="replicate")            # (10, 3, 6, 6)
    rows = torch.stack([0.75 * padded[:, :, 1:5] + 0.25 * padded[:, :, 0:4],
                        0.75 * padded[:, :, 1:5] + 0.25 * padded[:, :, 2:6]], 3).flatten(2, 3)
    blurred = torch.stack([0.75 * rows[..., 1:5] + 0.25 * rows[..., 0:4],
                           0.75 * rows[..., 1:5] + 0.25 * rows[..., 2:6]], 4).flatten(3, 4)
    same = (found == images).flatten(1).all(1)
    assert same.sum() == 5
    torch.testing.assert_close(found[~same], blurred[~same])
    assert torch.equal(images, before)
    assert not torch.equal(same, (blur_half(images, rng(2)) == images).flatten(1).all(1))


def test_accuracy_by_hand_all_is_the_joint_share_and_not_the_product():
    """Four pictures: shade right in 3, side right in 2, both right in 1 (product 3/8)."""
    shade = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    side = F.one_hot(torch.tensor([1, 0, 1, 1]), 2).float()
    judge = HandJudge(SMALL, [shade, side])
    images = torch.arange(4.).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    factors = torch.tensor([[0, 1], [1, 1], [2, 0], [2, 1]])
    assert judge.read(images).tolist() == [[0, 1], [1, 0], [2, 1], [0, 1]]
    assert attribute_accuracy(judge, images, factors) == {"shade": 0.75, "side": 0.5, "all": 0.25}


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_mode_and_running_averages_as_found(training):
    judge, images = Judge(SMALL).train(training), coloured_squares(8)[0]
    before = {name: x.clone() for name, x in judge.state_dict().items()}
    for measured in (judge.read(images), judge.features(images)):
        assert not measured.requires_grad
    assert judge.training == training and judge.body[0][1].training == training
    assert all(torch.equal(x, before[name]) for name, x in judge.state_dict().items())


def test_mode_is_restored_also_after_an_error():
    judge = Judge(SMALL).train()
    with pytest.raises(ValueError, match="expected"):
        judge.read(torch.zeros(2, 3, 32, 32))
    assert judge.training


def test_features_of_a_picture_do_not_depend_on_its_company(trained, monkeypatch):
    images = coloured_squares(20)[0]
    whole = trained.features(images)
    torch.testing.assert_close(trained.features(images[3:4]), whole[3:4])
    monkeypatch.setattr("minidalle.metrics.CHUNK", 6)
    torch.testing.assert_close(trained.features(images), whole)
    assert trained.read(images).shape == (20, 2)


def test_logits_are_the_heads_of_the_features(trained):
    images = coloured_squares(6)[0]
    x = trained.features(images)                                     # (B, F)
    for head, logits in zip(trained.heads, trained.eval()(images)):
        torch.testing.assert_close(head(x), logits)


def test_the_default_judge_reads_the_captioned_digits_shapes():
    judge = Judge(JudgeConfig()).eval()
    assert [tuple(x.shape) for x in judge(torch.zeros(2, 3, 32, 32))] == [(2, 10), (2, 8), (2, 8)]
    assert 64 <= judge.features(torch.zeros(2, 3, 32, 32)).shape[1] <= 128


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 16, 16), (3, 16, 16)])
def test_images_of_another_shape_are_refused(shape):
    for method in (Judge(SMALL), Judge(SMALL).read, Judge(SMALL).features):
        with pytest.raises(ValueError, match="expected"):
            method(torch.zeros(shape))


def test_pictures_with_nan_are_refused_and_not_read_as_some_digit():
    with pytest.raises(ValueError, match="NaN"):
        Judge(SMALL).read(torch.full((2, 3, 16, 16), math.nan))


def test_a_judge_with_nan_in_its_weights_is_refused_and_reads_nothing():
    judge = Judge(SMALL)
    torch.nn.init.constant_(judge.heads[1].weight, math.nan)
    with pytest.raises(ValueError, match="NaN"):
        judge.read(torch.zeros(2, 3, 16, 16))
    torch.nn.init.constant_(judge.body[0][0].weight, math.inf)
    with pytest.raises(ValueError, match="NaN"):
        judge.features(torch.ones(2, 3, 16, 16))


def test_accuracy_of_no_pictures_is_refused_and_not_nan():
    with pytest.raises(ValueError, match="at least one"):
        attribute_accuracy(Judge(SMALL), torch.zeros(0, 3, 16, 16), torch.zeros(0, 2).long())


@pytest.mark.parametrize("shape", [(4,), (4, 3), (1, 2), (3, 2)])
def test_factors_that_do_not_fit_are_refused_and_not_broadcast(shape):
    images, factors = torch.zeros(4, 3, 16, 16), torch.zeros(shape, dtype=torch.long)
    for call in (lambda: Judge(SMALL).loss((images, factors)),
                 lambda: attribute_accuracy(Judge(SMALL), images, factors)):
        with pytest.raises(ValueError, match="expected"):
            call()


def test_configs_that_do_not_fit_are_refused():
    for config in (JudgeConfig(names=("digit",)), JudgeConfig(size=30)):
        with pytest.raises(ValueError, match="expected"):
            Judge(config)
