"""The diffusion transformer: patches and back, blocks that begin as nothing, every signal arrives;
the road on it, and the student that needs few steps."""
import inspect
import math

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.diffusion import twice
from minidalle.dit import (
    FEW,
    GUIDANCE,
    PAIRED,
    STEPS,
    Dit,
    DitBlock,
    DitConfig,
    FlowConfig,
    FlowModel,
    FlowRoad,
    Student,
    caption_to_picture,
    modulate,
    patchify,
    positions,
    unpatchify,
)
from minidalle.flow import few_times, interpolate, like
from minidalle.latent import listen, no_words
from minidalle.tokenizer import Tokenizer
from minidalle.transformer import Block
from minidalle.unet import UNet, UNetConfig, time_features

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


def dit(**changes) -> Dit:
    torch.manual_seed(0)
    return awake(Dit(DitConfig(**{"patch": 2, "width": 16, "depth": 2, "heads": 2, "condition": 8,
                                  "context": 12, **changes})))


def inputs(size=8, B=2, T=5):
    g = seed(1)
    heard = torch.arange(T) < torch.tensor([3, 5])[:B, None]
    return (torch.randn(B, 3, size, size, generator=g), torch.tensor([3.0, 700.0])[:B],
            torch.randn(B, 8, generator=g), torch.randn(B, T, 12, generator=g), heard)


# ---- patches --------------------------------------------------------------------------------

def test_patches_counted_by_hand():
    """Of 2 channels of 2 x 4 pixels two patches of 2 x 2: channel by channel, row by row."""
    x = torch.arange(16).view(1, 2, 2, 4)
    assert patchify(x, 2).tolist() == [[[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]]


@pytest.mark.parametrize("shape, patch", [((2, 3, 8, 8), 2), ((1, 4, 4, 12), 4), ((3, 1, 6, 3), 3),
                                          ((1, 2, 5, 5), 1)])
def test_unpatchify_is_the_inverse_of_patchify(shape, patch):
    x = torch.randn(shape, generator=seed())
    tokens = patchify(x, patch)
    assert tokens.shape == (shape[0], shape[2] * shape[3] // patch ** 2, shape[1] * patch ** 2)
    assert torch.equal(unpatchify(tokens, patch, shape[2] // patch), x)


def test_a_linear_layer_on_patches_is_a_convolution_of_that_stride():
    layer, conv = nn.Linear(3 * 16, 7), nn.Conv2d(3, 7, 4, stride=4)
    with torch.no_grad():
        conv.weight.copy_(layer.weight.view(7, 3, 4, 4))
        conv.bias.copy_(layer.bias)
    x = torch.randn(2, 3, 12, 8, generator=seed())
    assert_close(layer(patchify(x, 4)), conv(x).flatten(2).mT)


# ---- positions ------------------------------------------------------------------------------

def test_a_position_is_the_features_of_its_row_and_of_its_column():
    table = positions(3, 5, 16)
    for row in range(3):
        for column in range(5):
            own = torch.cat([time_features(torch.tensor([n]), 8)[0] for n in (row, column)])
            assert_close(table[5 * row + column], own)


def test_no_two_positions_are_alike_and_the_nearest_are_the_neighbours_in_both_directions():
    table = positions(8, 8, 128)
    far = torch.cdist(table, table)
    assert (far + 9 * torch.eye(64)).min() > 0.5
    middle = 8 * 4 + 4
    nearest = far[middle].argsort()[1:5].sort().values.tolist()
    assert nearest == [middle - 8, middle - 1, middle + 1, middle + 8]


# ---- blocks ---------------------------------------------------------------------------------

def test_a_block_begins_as_the_identity_and_its_gates_learn_at_once():
    torch.manual_seed(0)
    block = DitBlock(16, 2, 8, 12)
    x, signal, context = (torch.randn(2, *n, generator=seed(1)) for n in ((5, 16), (8,), (4, 12)))
    out = block(x, signal, context)
    assert torch.equal(out, x)
    (out - torch.randn(out.shape, generator=seed(2))).square().sum().backward()
    for last in (block.modulate, block.cross.out):
        assert last.weight.grad.abs().max() > 0


def test_with_scale_and_shift_0_and_gate_1_it_is_the_block_of_the_transformer():
    torch.manual_seed(0)
    own, plain = DitBlock(16, 2, 8, 12), Block(16, 2, 12)
    plain.load_state_dict({k: v for k, v in own.state_dict().items() if "modulate" not in k})
    with torch.no_grad():
        own.modulate.bias.copy_(torch.tensor([0.0, 0, 1, 0, 0, 1]).repeat_interleave(16))
    x, context = torch.randn(2, 5, 16, generator=seed(1)), torch.randn(2, 4, 12, generator=seed(2))
    keep = torch.tensor([[True, True, False, True]] * 2)[:, None, None]
    assert_close(own(x, torch.randn(2, 8), context, keep), plain(x, None, context, keep))


def test_modulation_by_hand():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    got = modulate(x, torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[1.0, -1.0]]]))
    assert got.tolist() == [[[2.5, 0.0], [6.5, 0.0]]]


# ---- the whole ------------------------------------------------------------------------------

def test_it_begins_by_predicting_zero():
    torch.manual_seed(0)
    assert Dit(DitConfig(width=16, heads=2)).forward(torch.randn(1, 3, 8, 8), torch.ones(1)).eq(
        0).all()


def test_it_is_called_as_the_unet_is_and_answers_in_the_same_shape():
    assert list(inspect.signature(Dit.forward).parameters) == \
        list(inspect.signature(UNet.forward).parameters)
    unet = UNet(UNetConfig(width=16, condition=8, context=12))
    assert dit()(*inputs()).shape == unet(*inputs()).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("shape, patch", [((2, 3, 8, 12), 2), ((2, 3, 4, 4), 4),
                                          ((2, 3, 9, 3), 3)])
def test_any_size_of_whole_patches_goes_in_and_comes_out(shape, patch):
    _, t, z, context, keep = inputs()
    assert dit(patch=patch, out=5)(torch.randn(shape), t, z, context, keep).shape == \
        (2, 5, *shape[2:])


@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (2, 3, 8, 7), (2, 4, 8, 8), (3, 8, 8)])
def test_a_picture_that_does_not_fit_is_told(shape):
    with pytest.raises(ValueError, match="expected .B, 3, H, W. with H and W multiples of 2"):
        dit()(torch.zeros(shape), *inputs()[1:])


def test_a_width_that_does_not_fall_into_sines_and_cosines_of_both_is_told():
    with pytest.raises(ValueError, match="width=18.* multiple of 4"):
        Dit(DitConfig(width=18, heads=2))


@pytest.mark.parametrize("which", range(4))
def test_picture_time_condition_and_text_all_change_the_answer(which):
    given = list(inputs())
    before = dit()(*given)
    given[which] = given[which] + 1.5
    assert (dit()(*given) - before).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_every_heard_word_changes_the_answer_and_no_other_does():
    x, t, z, context, keep = inputs()
    before = dit()(x, t, z, context, keep)
    for i in range(5):
        other = context.clone()
        other[:, i] += 1
        moved = (dit()(x, t, z, other, keep) - before).abs().amax(dim=(1, 2, 3))
        assert ((moved > 1e-5) == keep[:, i]).all(), i


def test_every_patch_sees_every_other_at_once():
    """A change in one corner reaches the other within one block; a UNet's convolutions do not."""
    model, (x, *rest) = dit(depth=1), inputs()
    other = x.clone()
    other[..., :2, :2] += 1
    assert (model(other, *rest) - model(x, *rest))[..., -2:, -2:].abs().amax(dim=(1, 2, 3)).min() \
        > 1e-4


def test_without_positions_patches_that_change_places_only_change_places(monkeypatch):
    """Attention has no order of its own: only the positions tell where a patch lies."""
    model, (x, *rest) = dit(), inputs()
    turned = x.flip(-1).unflatten(-1, (4, 2)).flip(-1).flatten(-2)         # columns of patches

    def turn(y):
        return y.flip(-1).unflatten(-1, (4, 2)).flip(-1).flatten(-2)
    assert (model(turned, *rest) - turn(model(x, *rest))).abs().max() > 1e-2
    monkeypatch.setattr("minidalle.dit.positions", lambda *args: torch.zeros(1))
    assert_close(model(turned, *rest), turn(model(x, *rest)), atol=1e-5, rtol=1e-4)


def test_the_multiply_adds_are_those_of_the_formula():
    """A token takes 12 D^2 a block, and attention 2 N D; a picture once 6 D S to be told."""
    model = Dit(DitConfig(patch=2, width=16, depth=3, heads=2))
    N, D, S, fine = 16, 16, 16, 12
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 3, 8, 8), torch.zeros(1))         # the fused kernel is not counted
    by_hand = 3 * (N * (12 * D * D + 2 * N * D) + 6 * D * S) + 2 * N * fine * D \
        + D * S + S * S + 2 * D * S
    assert counted.get_total_flops() == 2 * by_hand


# ---- the model of the road ------------------------------------------------------------------

def flow_model(kind=FlowModel, **changes):
    torch.manual_seed(0)
    return awake(kind(FlowConfig(**{"words": 16, "size": 8, "patch": 2, "width": 16, "depth": 1,
                                    "heads": 2, **changes})))


@pytest.fixture(scope="module")
def road() -> FlowRoad:
    tokenizer = Tokenizer.train(CAPTIONS * 2, vocab_size=270, context=16)
    torch.manual_seed(0)
    clip = Clip(ClipConfig(tokenizer.vocab_size, 16, embed=8, width=16, depth=1, heads=2),
                ConvTower(16, 8, width=8)).eval()
    student = flow_model(Student)
    with torch.no_grad():
        student.net.leave.bias.add_(0.3)                       # so that one is told from the other
    return FlowRoad(tokenizer, clip, flow_model(), student)


def words(B=2, T=5, D=16, lengths=(3, 5)):
    heard = torch.arange(T) < torch.tensor(lengths)[:, None]
    return torch.randn(B, T, D, generator=seed(3)), heard


def pictures(B=2, n=1):
    return torch.rand(B, 3, 8, 8, generator=seed(n)) * 2 - 1


def test_every_heard_word_changes_the_guess_and_no_other_does():
    model, (states, heard), t = flow_model(), words(), torch.tensor([0.2, 0.9])
    answer = model(pictures(), t, (states, heard))
    for i in range(states.shape[1]):
        other = states.clone()
        other[:, i] += 1
        moved = (model(pictures(), t, (other, heard)) - answer).abs().amax(dim=(1, 2, 3))
        assert ((moved > 1e-5) == heard[:, i]).all(), i


def test_a_dropped_caption_is_one_of_which_only_the_start_is_heard_row_by_row():
    model, told, t = flow_model(), words(), torch.tensor([0.2, 0.9])
    keep = torch.tensor([True, False])
    answer = model(pictures(), t, told, keep)
    assert_close(answer[:1], model(pictures(), t, told)[:1])
    assert_close(answer[1:], model(pictures(), t, no_words(told))[1:])
    assert (answer - model(pictures(), t, told))[1].abs().max() > 1e-4


def test_the_model_in_training_drops_the_stated_share_and_the_student_none():
    kept, none = [], torch.zeros(2000, 3, 8, 8)
    for kind, more in ((FlowModel, ()), (Student, (none,))):
        model = flow_model(kind)
        model.register_forward_pre_hook(lambda module, args: kept.append(args[3]))
        model.loss((*more, none, *words(2000, 3, lengths=[3] * 2000)), seed())
    assert kept[0].float().mean().item() == pytest.approx(0.9, abs=0.035)   # five deviations
    assert kept[1].all()


def test_the_seams_between_patches_begin_as_nothing_and_are_looked_across_when_learnt():
    """Beside a network that repeats what it is given pixel by pixel, so that only seams look."""
    def repeat(config):
        return lambda seen, *others: seen[:, :config.channels]
    model, t = FlowModel(FlowConfig(words=16, size=8, patch=2, width=16), repeat), torch.ones(2)
    x = pictures().requires_grad_()
    assert torch.equal(model(x, t, words()), x)
    guess = awake(model)(x, t, words())[0, 0, 4, 3]                # the last pixel of its patch
    [gradient] = torch.autograd.grad(guess, x)
    reached = gradient[0].abs().amax(dim=0) > 0                    # three layers look three pixels
    assert reached[1:8, 0:7].all() and reached.sum() == 49


def test_any_network_with_the_unets_signature_can_stand_in_its_place():
    def unet(config):
        return UNet(UNetConfig(config.channels + config.sketch, config.channels, 16, (1,), (True,),
                               config.patch, config.words, config.words))
    torch.manual_seed(0)
    model = awake(FlowModel(FlowConfig(words=16, size=8, patch=2, width=16), unet))
    assert model.sample(words(), steps=2, generator=seed()).shape == (2, 3, 8, 8)


def test_guidance_1_is_the_conditional_flow_and_more_of_it_another_picture():
    model = flow_model()
    plain, pushed = (model.sample(words(), g, 3, seed()) for g in (1.0, 3.0))
    by_hand = model.flow.sample(model, plain.shape, words(), 3, 1.0, seed(), order=2)
    assert torch.equal(plain, by_hand) and (plain - pushed).abs().max() > 1e-3


# ---- the student ----------------------------------------------------------------------------

def test_a_pair_is_a_noise_and_what_the_flow_makes_of_it_guidance_included():
    model = flow_model()
    noise, images = model.pairs(words(), seed(2))
    assert_close(model.sample(words(), GUIDANCE, PAIRED, noise=noise), images, atol=0.1, rtol=0)
    assert torch.equal(noise, torch.randn(noise.shape, generator=seed(2)))


def test_the_student_is_asked_on_the_lines_of_its_pairs_at_the_times_of_few_steps():
    student, asked = flow_model(Student), []
    student.register_forward_pre_hook(lambda module, args: asked.append(args))
    noise, images = torch.randn(2, 3, 8, 8, generator=seed(2)), pictures()
    student.loss((noise, images, *words()), seed(4))
    t = few_times(4, noise.device, seed(4))
    assert torch.equal(asked[0][1], t) and t[:2].eq(1).all() and t[2:].lt(1).all()
    assert_close(asked[0][0], interpolate(twice(images), twice(noise), like(t, twice(images))))
    for part, whole in zip(words(), asked[0][2], strict=True):
        assert torch.equal(twice(part), whole)


def test_a_student_that_knows_the_ends_of_all_paths_draws_them_in_one_step_and_in_four():
    """Its answer on a line is the picture at its end, wherever it is asked."""
    noise, images = torch.randn(2, 3, 8, 8, generator=seed(2)), pictures()
    student = flow_model(Student)
    for steps in (1, 2, 4):
        drawn = student.flow.sample(lambda x, t, told, keep: images, noise.shape, steps=steps,
                                    noise=noise)
        assert_close(drawn, images, atol=1e-5, rtol=1e-4)


def test_the_student_draws_as_learnt_in_the_steps_asked_for_and_one_if_none_are():
    student = flow_model(Student)
    for steps, given in ((1, {}), (3, {"steps": 3})):
        by_hand = student.flow.sample(student, (2, 3, 8, 8), words(), steps=steps, generator=seed())
        assert torch.equal(student.sample(words(), generator=seed(), **given), by_hand)


# ---- the road -------------------------------------------------------------------------------

def test_the_road_is_words_then_picture_and_repeats_with_the_seed(road):
    a, b, c = (caption_to_picture(road, CAPTIONS, seed(n)) for n in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (2, 3, 8, 8) and a.abs().max() <= 1 + 1e-5
    heard = listen(road.clip, road.tokenizer.batch(CAPTIONS))
    assert_close(road.model.sample(heard, generator=seed()), a)


@pytest.mark.parametrize("steps", [1, 2, FEW, FEW + 1, STEPS])
def test_up_to_four_steps_the_student_draws_with_one_call_each_and_then_the_flow(road, steps):
    calls = []
    hooks = [model.register_forward_pre_hook(lambda module, args, name=name: calls.append(name))
             for name, model in (("flow", road.model), ("student", road.student))]
    caption_to_picture(road, CAPTIONS, seed(), steps=steps)
    for hook in hooks:
        hook.remove()
    assert calls == [("student" if steps <= FEW else "flow")] * steps


def test_another_guidance_than_the_students_is_had_from_the_flow_in_as_few_steps(road):
    heard = listen(road.clip, road.tokenizer.batch(CAPTIONS))
    for guidance in (1.0, 3.0):
        assert_close(caption_to_picture(road, CAPTIONS, seed(), guidance, steps=2),
                     road.model.sample(heard, guidance, 2, seed()))


@pytest.mark.parametrize("steps", [1, 6])
def test_with_a_generator_each_no_picture_depends_on_the_others(road, steps):
    both = caption_to_picture(road, CAPTIONS, [seed(4), seed(5)], steps=steps)
    for i, n in enumerate((4, 5)):
        alone = caption_to_picture(road, [CAPTIONS[i]], [seed(n)], steps=steps)
        assert_close(alone[0], both[i], atol=1e-5, rtol=1e-4)


def test_no_captions_give_no_pictures(road):
    assert caption_to_picture(road, [], seed()).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("steps", [2, 6])
def test_the_trace_shows_each_step_from_noise_to_picture(road, steps):
    trace = []
    images = caption_to_picture(road, CAPTIONS, seed(), steps=steps, trace=trace)
    assert len(trace) == steps
    assert_close(trace[-1][1], images)


# ---- learning -------------------------------------------------------------------------------

def test_a_loss_depends_on_its_generator_and_on_no_global_one():
    model, losses = flow_model(), []
    for n, elsewhere in ((3, 1), (3, 2), (4, 2)):
        torch.manual_seed(elsewhere)
        losses.append(model.loss((pictures(), *words()), seed(n)))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[1], losses[2])


@pytest.mark.parametrize("kind", [FlowModel, Student])
def test_it_overfits_one_batch(kind):
    torch.manual_seed(0)
    model = kind(FlowConfig(words=16, size=8, patch=2, width=32, depth=2, heads=2))
    noise = () if kind is FlowModel else (torch.randn(2, 3, 8, 8, generator=seed(5)),)
    g, optimizer, losses = seed(), torch.optim.Adam(model.parameters(), lr=3e-3), []
    for _ in range(200):
        loss = model.loss((*noise, pictures().sign(), *words()), g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.1 * losses[0] and not math.isnan(losses[-1])
