"""The UNet: shapes at every size, skips in the right order, every signal arrives."""
import math

import pytest
import torch

from minidalle.unet import Attend, ResBlock, UNet, UNetConfig, time_features


def unet(**changes) -> UNet:
    torch.manual_seed(0)
    return awake(UNet(UNetConfig(**{"width": 16, "condition": 8, **changes})))


def awake(model):
    """The layers that start at zero, filled, so that every path can be felt."""
    for p in model.parameters():
        if p.abs().max() == 0:
            torch.nn.init.normal_(p, std=0.1)
    return model


def inputs(size=16, channels=3, B=2):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(B, channels, size, size, generator=g)
    return x, torch.tensor([3, 700])[:B], torch.randn(B, 8, generator=g)


@pytest.mark.parametrize("size", [8, 16, 24, 32])
@pytest.mark.parametrize("changes", [
    {}, {"patch": 2}, {"widen": (1, 1, 2), "attend": (False, False, True)},
    {"channels": 6, "out": 5}, {"widen": (1,), "attend": (True,)}])
def test_any_size_that_halves_evenly_goes_in_and_comes_out(size, changes):
    x, t, z = inputs(size, changes.get("channels", 3))
    assert unet(**changes)(x, t, z).shape == (2, changes.get("out", 3), size, size)


def test_time_features_equal_the_formula_entry_by_entry():
    t = torch.tensor([0, 5, 999])
    got = time_features(t, 8)
    for b, step in enumerate(t.tolist()):
        for i in range(4):
            angle = step * 10_000 ** (-i / 4)
            assert got[b, i].item() == pytest.approx(math.sin(angle), abs=1e-4)
            assert got[b, i + 4].item() == pytest.approx(math.cos(angle), abs=1e-4)


@pytest.mark.parametrize("width", [1, 7])
def test_time_features_of_an_odd_width_are_refused(width):
    """A sine and a cosine for each rate make an even number: one column would be missing."""
    with pytest.raises(ValueError, match=f"width {width} .* even"):
        time_features(torch.tensor([3]), width)


@pytest.mark.parametrize("dtype", [torch.long, torch.bfloat16, torch.float64])
def test_time_features_are_float32_whatever_comes_and_under_autocast(dtype):
    t, exact = torch.tensor([3, 256]), time_features(torch.tensor([3.0, 256.0]), 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = time_features(t.to(dtype), 8)
    assert got.dtype == torch.float32 and torch.equal(got, exact)


@pytest.mark.parametrize("width", range(8, 264, 8))
def test_every_width_that_is_a_multiple_of_8_makes_a_unet(width):
    """Heads of 32 channels or more, as many as split the width evenly."""
    with torch.device("meta"):                 # shapes only
        model = UNet(UNetConfig(width=width))
        assert model(torch.zeros(1, 3, 8, 8), torch.zeros(1)).shape == (1, 3, 8, 8)
    heads = model.middle.attend.pixels.heads
    assert 2 * width % heads == 0 and 2 * width // heads >= min(2 * width, 32)
    fewer = [h for h in range(heads + 1, 2 * width // 32 + 1) if 2 * width % h == 0]
    assert not fewer                           # no larger number would do


@pytest.mark.parametrize("width", [0, 4, 12, 60])
def test_a_width_that_is_no_multiple_of_8_is_refused_by_name(width):
    with pytest.raises(ValueError, match=f"width={width}. came; expected a multiple of 8"):
        UNet(UNetConfig(width=width))


def test_statistics_of_a_norm_stay_float32_when_its_input_is_half():
    """The answer is that of float32, rounded once: a mean summed in bfloat16 would be far off."""
    norm, x = torch.nn.GroupNorm(8, 32), (torch.randn(2, 32, 32, 32) + 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(norm(x).float(), norm(x.float()), atol=2 ** -9, rtol=2 ** -8)


def test_bfloat16_changes_the_answer_by_its_rounding_and_leaves_the_steps_as_they_are():
    """Some thirty layers on the way, each rounded to 8 bits, err by chance: sqrt(30) / 256. The
    steps 301 and 999 are no bfloat16: the features that enter are still those of float32."""
    model, (x, _, z), t, entered = unet(), inputs(), torch.tensor([301, 999]), []
    model.time.register_forward_hook(lambda layer, args, out: entered.append(args[0]))
    exact = model(x, t, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(x, t, z)
    assert half.dtype == torch.bfloat16 and torch.equal(*entered)
    assert (half.float() - exact).norm() / exact.norm() < 30 ** 0.5 / 256


def test_a_new_unet_predicts_zero_and_a_new_block_is_its_shortcut():
    x, t, z = inputs()
    fresh = UNet(UNetConfig(width=16, condition=8))
    bias = fresh.leave[-1].bias[None, :, None, None].expand(2, 3, 16, 16)
    torch.testing.assert_close(fresh(x, t, z), bias)
    block, h = ResBlock(16, 16, 32), torch.randn(2, 16, 4, 4)
    shift = block.conv2.bias[None, :, None, None]
    torch.testing.assert_close(block(h, torch.randn(2, 32)), h + shift)


def test_block_equals_the_formula_with_scale_and_shift_written_out():
    torch.manual_seed(0)
    block, x, signal = awake(ResBlock(8, 8, 4)), torch.randn(2, 8, 5, 5), torch.randn(2, 4)
    h = block.conv1(torch.nn.functional.silu(block.norm1(x)))
    scale, shift = block.modulate(signal).split(8, dim=1)
    rows = []
    for b in range(2):                         # GroupNorm of 8 groups of 1: one channel at a time
        normed = (h[b] - h[b].mean((1, 2), keepdim=True)) / (
            h[b].var((1, 2), unbiased=False, keepdim=True) + 1e-5).sqrt()
        normed = normed * block.norm2.weight[:, None, None] + block.norm2.bias[:, None, None]
        rows.append((1 + scale[b, :, None, None]) * normed + shift[b, :, None, None])
    expected = x + block.conv2(torch.nn.functional.silu(torch.stack(rows)))
    torch.testing.assert_close(block(x, signal), expected)


def test_time_and_condition_and_every_pixel_change_the_answer():
    model, (x, t, z) = unet(), inputs()
    answer = model(x, t, z)
    assert (model(x, t + 100, z) - answer).abs().max() > 1e-4
    assert (model(x, t, z + 1) - answer).abs().max() > 1e-4
    x2 = x.clone()
    x2[:, :, 0, 0] += 1
    far = (model(x2, t, z) - answer)[:, :, -1, -1]
    assert far.abs().max() > 1e-6              # one corner feels the other


def test_pictures_of_a_batch_do_not_touch_each_other():
    model, (x, t, z) = unet(), inputs()
    both = model(x, t, z)
    for b in range(2):
        torch.testing.assert_close(model(x[b:b + 1], t[b:b + 1], z[b:b + 1]), both[b:b + 1],
                                   atol=1e-5, rtol=1e-4)


def test_skips_are_concatenated_last_in_first_out():
    """Each way up starts from what came up, followed by the way down of the same size."""
    model, (x, t, z) = unet(widen=(1, 2, 3), attend=(False,) * 3), inputs()
    went_down, came_up = [], []
    for stage in model.down:
        stage.register_forward_hook(lambda m, args, out: went_down.append(out))
    for stage in model.up:
        stage.register_forward_hook(lambda m, args, out: came_up.append(args[0]))
    model(x, t, z)
    for skip, entered in zip(reversed(went_down), came_up, strict=True):
        assert entered.shape[-1] == skip.shape[-1]
        assert torch.equal(entered[:, -skip.shape[1]:], skip)


def test_pixels_attend_to_the_text_and_never_to_its_padding():
    model = unet(condition=0, context=12)
    x, t, _ = inputs()
    text, keep = torch.randn(2, 5, 12), torch.tensor([[True] * 3 + [False] * 2] * 2)
    answer = model(x, t, context=text, keep=keep)
    word, padding = text.clone(), text.clone()
    word[:, 0] += 1
    padding[:, 3:] += 1
    assert (model(x, t, context=word, keep=keep) - answer).abs().max() > 1e-4
    torch.testing.assert_close(model(x, t, context=padding, keep=keep), answer)


def test_attention_of_pixels_follows_them_when_they_are_moved():
    """Attention knows no places: rolling the picture rolls the answer."""
    torch.manual_seed(0)
    attend, x = awake(Attend(16, 0)), torch.randn(1, 16, 4, 4)
    torch.testing.assert_close(attend(x.roll(1, -1), None, None), attend(x, None, None).roll(1, -1))


@pytest.mark.parametrize("shape", [(2, 3, 15, 16), (2, 4, 16, 16), (3, 16, 16)])
def test_a_picture_of_another_shape_is_refused_by_name(shape):
    x, t, z = inputs()
    with pytest.raises(ValueError, match="expected .B, 3, H, W. with H and W multiples of 2"):
        unet()(torch.zeros(shape), t, z)


def test_the_callers_tensors_are_unchanged():
    x, t, z = inputs()
    kept = [v.clone() for v in (x, t, z)]
    unet()(x, t, z)
    assert all(torch.equal(a, b) for a, b in zip(kept, (x, t, z), strict=True))


def test_it_overfits_one_batch():
    torch.manual_seed(0)
    model, (x, t, z) = UNet(UNetConfig(width=16, condition=8)), inputs(8, B=2)
    target = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        loss = (model(x, t, z) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * target.square().mean()


def test_attention_that_says_nothing_leaves_its_input_as_it_was():
    attend, x = Attend(16, 12), torch.randn(2, 16, 4, 4)
    for p in attend.parameters():
        torch.nn.init.zeros_(p)
    assert torch.equal(attend(x, torch.randn(2, 5, 12), None), x)


def test_every_layer_takes_part_in_the_answer():
    """No layer is built in vain: a gradient reaches each one."""
    model, (x, t, z) = unet(context=12, attend=(True, True)), inputs()
    model(x, t, z, torch.randn(2, 5, 12)).square().sum().backward()
    for name, layer in model.named_modules():
        if own := list(layer.parameters(recurse=False)):
            assert any(p.grad is not None and p.grad.abs().max() > 0 for p in own), name
