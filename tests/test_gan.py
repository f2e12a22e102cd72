"""The GAN: its losses and penalties by PyTorch's own functions and by hand, its game, its road."""
import math
import os
import signal
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidalle.checkpoint import read_checkpoint
from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.gan import (
    Gan,
    GanConfig,
    GanRoad,
    caption_to_picture,
    gradient_penalty,
    hinge,
    minimax,
    non_saturating,
    play,
    r1,
    relativistic,
    truncate,
    wasserstein,
)
from minidalle.tokenizer import Tokenizer
from minidalle.train import FitConfig, seeded_each

CAPTIONS = ["a red seven on blue", "blue paper, a red 7"]
LOSSES = [minimax, non_saturating, hinge, wasserstein, relativistic]
E = 8


def seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def gan(loss=relativistic, n: int = 0, **changes) -> Gan:
    torch.manual_seed(n)
    return Gan(GanConfig(**{"embed": E, "size": 16, "noise": 6, "width": 32, **changes}), loss)


def texts(B: int = 4, n: int = 2) -> torch.Tensor:
    return F.normalize(torch.randn(B, E, generator=seed(n)), dim=-1)


def pictures(B: int = 4, n: int = 7) -> torch.Tensor:
    return torch.rand(B, 3, 16, 16, generator=seed(n)) * 2 - 1


@pytest.fixture(scope="module")
def road() -> GanRoad:
    tokenizer = Tokenizer.train(CAPTIONS * 2, vocab_size=270, context=16)
    torch.manual_seed(0)
    clip = Clip(ClipConfig(tokenizer.vocab_size, 16, embed=E, width=16, depth=1, heads=2),
                ConvTower(16, E, width=8)).eval()
    return GanRoad(tokenizer, clip, gan().eval())


# ---- losses ---------------------------------------------------------------------------------

def scores(n: int = 50) -> torch.Tensor:
    """Real and painted ones, in float64."""
    return 3 * torch.randn(2, n, generator=seed(1), dtype=torch.float64)


@pytest.mark.parametrize("loss", [minimax, non_saturating])
def test_the_critic_of_the_first_two_is_pytorchs_cross_entropy_with_the_labels_1_and_0(loss):
    real, fake = scores()
    entropy = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(loss(real, fake)[0], entropy(real, torch.ones_like(real))
                               + entropy(fake, torch.zeros_like(fake)))


def test_the_painter_raises_the_loss_of_label_0_or_lowers_that_of_label_1():
    (real, fake), entropy = scores(), F.binary_cross_entropy_with_logits
    torch.testing.assert_close(minimax(real, fake)[1], -entropy(fake, torch.zeros_like(fake)))
    torch.testing.assert_close(non_saturating(real, fake)[1], entropy(fake, torch.ones_like(fake)))


def test_the_painter_of_minimax_goes_exactly_against_the_critic_and_that_of_the_other_does_not():
    """By the gradients of both losses at the painted scores."""
    for loss, against in ((minimax, True), (non_saturating, False)):
        real, fake = scores()
        gradients = [torch.autograd.grad(one, fake, retain_graph=True)[0]
                     for one in loss(real, fake.requires_grad_())]
        assert torch.allclose(gradients[0], -gradients[1]) == against


def test_hinge_is_pytorchs_relu_of_what_is_left_to_a_margin_of_one():
    real, fake = scores()
    torch.testing.assert_close(hinge(real, fake)[0], (F.relu(1 - real) + F.relu(1 + fake)).mean())
    torch.testing.assert_close(hinge(real, fake)[1], -fake.mean())


def test_wasserstein_is_how_far_the_mean_scores_lie_apart():
    real, fake = scores()
    torch.testing.assert_close(wasserstein(real, fake)[0], -(real - fake).mean())
    torch.testing.assert_close(wasserstein(real, fake)[1], -fake.mean())


def test_relativistic_is_pytorchs_cross_entropy_of_differences_in_pairs():
    """Of real minus painted the critic wants the label 1, and the painter the label 0."""
    (real, fake), entropy = scores(), F.binary_cross_entropy_with_logits
    critic, painter = relativistic(real, fake)
    torch.testing.assert_close(critic, entropy(real - fake, torch.ones_like(real)))
    torch.testing.assert_close(painter, entropy(real - fake, torch.zeros_like(real)))


def test_losses_of_two_pairs_of_scores_by_hand():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert [x.item() for x in hinge(real, fake)] == [(0 + 1) / 2 + (0 + 2) / 2, 1.0]
    assert [x.item() for x in wasserstein(real, fake)] == [-1 - 1, 1.0]
    assert relativistic(real, fake)[0].item() == pytest.approx(
        (math.log1p(math.exp(-5)) + math.log1p(math.exp(1))) / 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_whatever_the_loss_the_critic_wants_real_scores_up_and_painted_ones_down_and_the_painter_up(
        loss):
    """By the signs of the gradients at scores near 0."""
    real, fake = (0.1 * scores()).requires_grad_().unbind()
    critic, painter = loss(real, fake)
    up, down = torch.autograd.grad(critic, (real, fake), retain_graph=True)
    wanted, = torch.autograd.grad(painter, fake)
    assert (up < 0).all() and (down > 0).all() and (wanted < 0).all()


def test_minimax_saturates_where_the_critic_is_sure_and_the_other_does_not():
    """At a score of -20: sigmoid(-20) beside 1 - sigmoid(-20), as the derivatives have it."""
    for loss, slope in ((minimax, -torch.tensor(-20.0).sigmoid()), (non_saturating, -1.0)):
        fake = torch.full((1,), -20.0, requires_grad=True)
        gradient, = torch.autograd.grad(loss(torch.zeros(1), fake)[1], fake)
        torch.testing.assert_close(gradient, torch.as_tensor([slope]))


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_as_large_as_they_get_give_no_infinity(loss):
    for big in (1e4, -1e4):
        critic, painter = loss(torch.full((2,), big), torch.full((2,), -big))
        assert math.isfinite(critic) and math.isfinite(painter)


def test_the_best_score_at_a_place_is_the_logarithm_of_p_over_q_so_that_d_is_p_over_p_plus_q():
    """A table of scores for three places, trained on all six probabilities at once."""
    p, q = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
    table = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=100, tolerance_grad=1e-12,
                                  tolerance_change=0)

    def loss():
        optimizer.zero_grad()
        value = sum(minimax(table[[i]], table[[j]])[0] * p[i] * q[j]
                    for i in range(3) for j in range(3))
        value.backward()
        return value
    optimizer.step(loss)
    torch.testing.assert_close(table.sigmoid(), p / (p + q), atol=1e-6, rtol=0)


def test_where_nobody_can_tell_them_apart_the_value_is_minus_ln_4():
    zeros = torch.zeros(5)
    assert -minimax(zeros, zeros)[0].item() == pytest.approx(-math.log(4))
    assert relativistic(zeros, zeros)[0].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("real, fake", [((4, 1), (4,)), ((4, 1), (4, 1)), ((4,), (3,)), ((), ())])
def test_scores_of_other_shapes_are_refused(loss, real, fake):
    with pytest.raises(ValueError, match="pass two tensors .B,., one number for each picture"):
        loss(torch.zeros(real), torch.zeros(fake))


# ---- penalties ------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(5, 2), (5, 3, 4, 4)])
def test_r1_of_a_linear_critic_is_the_squared_length_of_its_weights(shape):
    """Vectors or pictures: w . x has the gradient w everywhere."""
    w, x = (torch.randn(s, generator=seed(n)) for n, s in enumerate((shape[1:], shape)))
    torch.testing.assert_close(r1(lambda x: (x * w).flatten(1).sum(1), x), w.square().sum())


def test_r1_of_a_quadratic_critic_by_hand():
    """x . x / 2 has the gradient x: the mean of 3^2 + 4^2 and 0 + 1^2."""
    x = torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    assert r1(lambda x: x.square().sum(dim=1) / 2, x).item() == 13.0


def test_r1_is_the_squared_jacobian_of_pytorch_picture_by_picture_and_hands_on_what_is_more():
    critic, images, text = gan().critic.double(), pictures().double(), texts().double()
    expected = [torch.autograd.functional.jacobian(
        lambda x, i=i: critic(x, text[i:i + 1]), images[i:i + 1]).square().sum() for i in range(4)]
    torch.testing.assert_close(r1(critic, images, text), sum(expected) / 4)


def test_the_penalties_teach_the_critic_and_leave_the_callers_tensors_alone():
    """d / da of |a x|^2 for the critic a x . x / 2 is 2 a |x|^2."""
    a, x = torch.tensor(3.0, requires_grad=True), torch.tensor([[1.0, 2.0]])
    kept = x.clone()
    penalty = r1(lambda x: a * x.square().sum(dim=1) / 2, x)
    assert torch.autograd.grad(penalty, a)[0].item() == 2 * 3 * 5
    gradient_penalty(lambda x: a * x.sum(dim=1), x, x + 1, seed()).backward()
    assert a.grad is not None and torch.equal(x, kept) and not x.requires_grad


@pytest.mark.parametrize("shape", [(6, 2), (6, 3, 4, 4)])
def test_the_gradient_penalty_of_a_linear_critic_is_how_far_its_slope_is_from_one(shape):
    w, real, fake = (torch.randn(s, generator=seed(n)) for n, s in
                     enumerate((shape[1:], shape, shape)))
    penalty = gradient_penalty(lambda x: (x * w).flatten(1).sum(1), real, fake, seed())
    torch.testing.assert_close(penalty, (w.norm() - 1).square())


def test_the_gradient_penalty_looks_at_one_place_of_each_line_from_painted_to_real():
    """Noted as the critic is asked, with vectors of 0 painted and of 1 real: all entries of a row
    are its share, and the shares are those that the generator draws."""
    asked = []
    gradient_penalty(lambda x: asked.append(x) or x.sum(dim=1), torch.ones(9, 3), torch.zeros(9, 3),
                     seed(4))
    share = torch.rand(9, 1, generator=seed(4))
    torch.testing.assert_close(asked[0].detach(), share.expand(9, 3))


# ---- the networks ---------------------------------------------------------------------------

def test_the_painter_paints_in_one_pass_pictures_of_its_size_between_minus_1_and_1():
    model, passes = gan(), []
    model.painter.register_forward_pre_hook(lambda module, args: passes.append(args[0].shape))
    images = model.sample(texts(3), seed())
    assert images.shape == (3, 3, 16, 16) and images.dtype == torch.float32
    assert images.abs().max() <= 1 and passes == [(3, 6)] and not images.requires_grad


def test_noise_and_caption_both_reach_the_picture():
    model, z, text = gan(), torch.randn(1, 6, generator=seed()), texts(2)
    images = model.painter(z.expand(2, -1), text)
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert (model.painter(z + 1, text[:1]) - images[:1]).abs().max() > 1e-3


def test_the_score_is_how_real_it_is_plus_a_dot_product_that_is_linear_in_the_text():
    """For text vectors a, b and their sum, with f the score: f(a) + f(b) = f(a + b) + f(0), and
    f(0) is what the critic says of the picture alone."""
    critic, images, (a, b) = gan().critic, pictures(1), texts(2).split(1)
    f = lambda text: critic(images, text)                                   # noqa: E731
    torch.testing.assert_close(f(a) + f(b), f(a + b) + f(0 * a))
    torch.testing.assert_close(f(0 * a), critic.real(critic.look(images))[:, 0])
    assert (f(a) - f(b)).abs() > 1e-4


def test_no_score_depends_on_another_picture():
    critic, images, text = gan().critic, pictures(), texts()
    alone = torch.cat([critic(images[i:i + 1], text[i:i + 1]) for i in range(4)])
    torch.testing.assert_close(critic(images, text), alone)


def test_pictures_of_another_size_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="shape .2, 3, 8, 8.; pass .B, 3, 16, 16."):
        gan().critic(torch.zeros(2, 3, 8, 8), texts(2))


@pytest.mark.parametrize("changes", [{"size": 20}, {"width": 48}, {"noise": 0}, {"lazy": 0},
                                     {"gamma": -1.0}])
def test_a_setting_that_cannot_be_is_refused_by_name(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} is "):
        gan(**changes)


# ---- noise ----------------------------------------------------------------------------------

@pytest.mark.parametrize("most", [0.3, 1.0, 2.0, 40.0])
def test_truncated_noise_has_the_bounds_and_the_variance_of_a_truncated_normal(most):
    """1 - 2 t phi(t) / (2 Phi(t) - 1), by the closed form."""
    z = truncate(torch.randn(200_000, generator=seed()), most)
    phi = math.exp(-most ** 2 / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * most * phi / math.erf(most / math.sqrt(2))
    assert z.abs().max() <= most and z.isfinite().all()
    assert z.var().item() == pytest.approx(variance, rel=0.02)
    assert z.mean().item() == pytest.approx(0, abs=0.01)


def test_a_truncation_so_wide_that_nothing_lies_outside_changes_nothing():
    z = torch.randn(1000, generator=seed())
    torch.testing.assert_close(truncate(z, 40.0), z)


@pytest.mark.parametrize("most", [0, -1.0, float("nan")])
def test_a_truncation_that_is_none_is_refused(most):
    with pytest.raises(ValueError, match="pass a number above 0"):
        gan().sample(texts(), seed(), truncation=most)


# ---- the game -------------------------------------------------------------------------------

CONFIG = FitConfig(steps=6, batch=4, lr=1e-3, decay=0.5, weight_decay=0.0)


def batches(n, generator):
    return (torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1,
            F.normalize(torch.randn(n, E, generator=generator), dim=-1))


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_the_game_depends_on_its_seed_and_on_no_global_one():
    one, again, other = (play(gan(), batches, CONFIG, n) for n in (3, 3, 4))
    assert same(one, again) and not same(one, other) and not one.training
    assert all(p.requires_grad for p in one.parameters())


@pytest.mark.parametrize("at", [0, 3, 4])
def test_a_game_that_was_stopped_goes_on_to_the_same_bits_as_one_never_stopped(tmp_path, at):
    """With penalties every other step, so that their clock takes part."""
    count, path = iter(range(100)), tmp_path / "gan.pt"

    def stopping(n, generator):
        if next(count) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return batches(n, generator)
    with pytest.raises(KeyboardInterrupt, match=f"stopped at step {at + 1} of 6"):
        play(gan(lazy=2), stopping, CONFIG, 0, path, {"stage": "gan"})
    resumed = play(gan(lazy=2, n=5), batches, CONFIG, 0, path, {"stage": "gan"})
    assert same(resumed, play(gan(lazy=2), batches, CONFIG, 0))
    state = read_checkpoint(path, {"stage": "gan"})
    assert state["finished"] and state["watched"] == ["critic", "slope"]


def test_each_turn_moves_its_own_player_and_leaves_the_other_as_it_was(monkeypatch):
    """One step, with the loss of the other player switched off: it has no gradient anywhere."""
    for moved, still in (("critic", "painter"), ("painter", "critic")):
        model = gan()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        off = torch.zeros((), requires_grad=True)
        monkeypatch.setattr(model, f"{still}_loss", lambda batch, generator, off=off: 0 * off)
        play(model, batches, FitConfig(1, 4, 1e-2, decay=0.0, weight_decay=0.0))
        changed = {name.split(".")[0] for name, value in model.state_dict().items()
                   if not torch.equal(value, before[name])}
        assert changed - {"clock"} == {moved}


def test_every_turn_of_every_step_has_noise_of_its_own():
    """Noted where it is asked for, in three steps."""
    model, noises = gan(), []
    model.painter.register_forward_pre_hook(lambda module, args: noises.append(args[0]))
    play(model, batches, replace(CONFIG, steps=3))
    # four for the critic, and for the painter twice as many
    assert [len(z) for z in noises] == [4, 8] * 3 and len(torch.cat(noises).unique(dim=0)) == 36


def test_the_turn_of_the_painter_works_out_no_gradient_for_the_critic(monkeypatch):
    """Those of its own turn, noted when the painter's begins, are still there when it is over."""
    model, noted, own = gan(), [], Gan.painter_loss
    monkeypatch.setattr(model, "painter_loss", lambda *args: noted.extend(
        p.grad.clone() for p in model.critic.parameters()) or own(model, *args))
    play(model, batches, replace(CONFIG, steps=1))
    grads = [p.grad for p in model.critic.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(noted, grads, strict=True))


def test_the_critic_sees_painted_pictures_and_captions_of_others_as_negatives():
    """Its loss by hand, without penalties: of the three captions of others for each picture, asked
    one by one, the one that fits best."""
    model, images, text = gan(minimax, gamma=0.0), pictures(), texts()
    painted = model.painter(model.noise(4, seed(3)), text)
    right, fake = model.critic(images, text), model.critic(painted, text)
    wrong = torch.stack([max(model.critic(images[i:i + 1], text[j:j + 1])[0]
                             for j in range(4) if j != i) for i in range(4)])
    # section 4.2: ln s_r + (ln(1 - s_w) + ln(1 - s_f)) / 2
    expected = F.logsigmoid(right) + (F.logsigmoid(-wrong) + F.logsigmoid(-fake)) / 2
    torch.testing.assert_close(model.critic_loss((images, text), seed(3)), -expected.mean())


def test_a_batch_without_another_caption_is_refused():
    with pytest.raises(ValueError, match="a batch of 1 .* at least 2"):
        gan().critic_loss((pictures(1), texts(1)), seed())


def test_the_penalties_stand_every_few_steps_with_half_of_gamma_and_as_many_times():
    """R1 at the real and R2 at the painted pictures, six steps, a penalty at each third."""
    model, plain, batch = gan(gamma=3.0, lazy=3), gan(gamma=0.0), (pictures(), texts())
    painted = model(batch[1], seed(3)).detach()
    slope = r1(model.critic, *batch) + r1(model.critic, painted, batch[1])
    for step in range(6):
        gap = model.critic_loss(batch, seed(3)) - plain.critic_loss(batch, seed(3))
        expected = 3 * 3.0 / 2 * slope * (step % 3 == 0)
        torch.testing.assert_close(gap, expected, atol=1e-4, rtol=1e-4)


def test_the_painters_loss_is_that_of_its_scores_and_no_gradient_comes_through_the_real_ones():
    """Of two painted pictures a caption, each beside the real one."""
    model, batch = gan(apart=0.0), (pictures().requires_grad_(), texts())
    loss = model.painter_loss(batch, seed(3))
    z = torch.randn(8, 6, generator=seed(3)).chunk(2)
    fakes = [model.critic(model.painter(one, batch[1]), batch[1]) for one in z]
    real = model.critic(*batch)
    torch.testing.assert_close(loss, sum(relativistic(real, fake)[1] for fake in fakes) / 2)
    loss.backward()
    assert batch[0].grad is None


def test_the_painter_is_rewarded_for_how_far_apart_two_pictures_of_one_caption_are():
    """The mean over captions of ln(distance + 0.01), by hand; and its gradient pushes them apart.
    """
    batch, far, near = (pictures(), texts()), gan(apart=0.7), gan(apart=0.0)
    one, other = (far.painter(z, batch[1]) for z in torch.randn(8, 6, generator=seed(3)).chunk(2))
    each = [((a - b).abs().mean() + 0.01).log() for a, b in zip(one, other)]
    gap = far.painter_loss(batch, seed(3)) - near.painter_loss(batch, seed(3))
    torch.testing.assert_close(gap, -0.7 * sum(each) / 4)
    apart = []
    for model in (near, far):
        play(model, lambda n, g: (pictures(), texts()), FitConfig(30, 4, 3e-3, decay=0.0))
        twice = model.sample(texts().repeat(2, 1), seed(5))
        apart.append((twice[:4] - twice[4:]).abs().mean().item())
    assert apart[1] > 2 * apart[0]


def test_a_loss_that_is_not_finite_stops_the_game():
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        play(gan(), lambda n, g: (torch.full((n, 3, 16, 16), torch.nan), texts(n)), CONFIG)


def test_the_game_overfits_one_batch():
    """Two captions, each with one flat picture: the painter learns which belongs to which."""
    images = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1).expand(2, 3, 16, 16).repeat(8, 1, 1, 1)
    text = texts(2).repeat(8, 1)
    model = play(gan(apart=0.0), lambda n, g: (images, text), FitConfig(
        120, 16, 3e-3, decay=0.9, weight_decay=0.0))
    off = (model.sample(text, seed(9)) - images).abs().mean()
    assert off < 0.15 < (model.sample(text.flip(0), seed(9)) - images).abs().mean()


# ---- the road -------------------------------------------------------------------------------

def test_the_road_is_text_vectors_then_pictures_and_repeats_with_the_seed(road):
    a, b, c = (caption_to_picture(road, CAPTIONS, seed(n)) for n in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    text = road.clip.encode_text(road.tokenizer.batch(CAPTIONS))
    z = torch.randn(2, 6, generator=seed())
    torch.testing.assert_close(a, road.gan.painter(z, text))
    torch.testing.assert_close(caption_to_picture(road, CAPTIONS, seed(), truncation=0.5),
                               road.gan.painter(truncate(z, 0.5), text))


def test_with_a_generator_each_no_picture_depends_on_the_others(road):
    both = caption_to_picture(road, CAPTIONS, seeded_each(4, [0, 1]))
    for i in range(2):
        alone = caption_to_picture(road, [CAPTIONS[i]], seeded_each(4, [i]))
        torch.testing.assert_close(alone[0], both[i], atol=1e-5, rtol=1e-4)


def test_no_captions_give_no_pictures(road):
    assert caption_to_picture(road, [], seed()).shape == (0, 3, 16, 16)
