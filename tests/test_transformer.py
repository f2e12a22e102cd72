"""transformer.py against the formula by hand, torch's own layer, and looks into the future."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidalle.transformer import (
    Block,
    MultiHeadAttention,
    Transformer,
    TransformerConfig,
    attention,
    attention_written_out,
    causal_mask,
)

close = torch.testing.assert_close
BOTH = pytest.mark.parametrize("attend", [attention, attention_written_out])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**changes) -> Transformer:
    """A tiny model with weights large enough that every token matters to every other."""
    model = Transformer(TransformerConfig(**dict(width=16, depth=2, heads=4) | changes))
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


def in_chunks(model, x, sizes, keep=None, mask=None, **context):
    """Run x through the cache, a few positions at a time, and glue the outputs together."""
    cache, out = model.cache(), []
    for size in sizes:
        a, b = cache.length, cache.length + size
        out.append(model(x[:, a:b], keep=None if keep is None else keep[:, :b],
                         mask=None if mask is None else mask[..., a:b, :b],
                         cache=cache, **context))
        assert cache.length == b
    return torch.cat(out, dim=1)


# ---- attention

@BOTH
def test_attention_by_hand_on_a_2x3_toy(attend):
    """d = 4 halves the scores: weights (1/2, 1/4, 1/4); with key 0 hidden (0, 1/2, 1/2)."""
    q = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])[None, None]
    k = torch.tensor([[2 * math.log(2), 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 7.0, 0]])[None, None]
    v = torch.tensor([[4.0], [8.0], [16.0]])[None, None]
    mask = torch.tensor([[True, True, True], [False, True, True]])
    close(attend(q, k, v, mask), torch.tensor([[[[8.0], [12.0]]]]))
    close(attend(q, k, v), torch.tensor([[[[8.0], [8.0]]]]))


@pytest.mark.parametrize("trial", range(8))
def test_fused_equals_written_out_with_gradients_on_random_shapes(trial):
    torch.manual_seed(trial)
    B, h, Tq, Tk, d = torch.randint(1, 7, (5,)).tolist()
    mask = [None, torch.rand(Tq, Tk) < 0.5, torch.rand(B, 1, 1, Tk) < 0.5,
            torch.rand(B, h, Tq, Tk) < 0.3][trial % 4]
    results = []
    shapes = ((B, h, Tq, d), (B, h, Tk, d), (B, h, Tk, d))
    qkv = [torch.randn(shape, requires_grad=True) for shape in shapes]
    for attend in (attention, attention_written_out):
        out = attend(*qkv, mask)
        results.append((out, *torch.autograd.grad(out.square().sum(), qkv)))
    close(results[0], results[1])


@BOTH
def test_a_row_that_may_attend_nowhere_gives_zeros_and_finite_gradients(attend):
    q, k, v = (torch.randn(2, 2, 3, 4, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[True, False, True], [False] * 3, [True] * 3])
    out = attend(q, k, v, mask)
    close(out[:, :, 1], torch.zeros(2, 2, 4))
    assert (out[:, :, [0, 2]] != 0).all()
    for grad in torch.autograd.grad(out.square().sum(), (q, k, v)):
        assert grad.isfinite().all()


def test_causal_mask_by_hand():
    assert causal_mask(3, 3).tolist() == [[True, False, False], [True, True, False], [True] * 3]
    assert causal_mask(2, 3).tolist() == [[True, True, False], [True, True, True]]
    assert causal_mask(1, 4).tolist() == [[True] * 4]


def test_the_trap_is_causal_aligns_top_left_and_ours_bottom_right():
    """The last 2 of 5 positions, as with a cache: is_causal lets them see keys 0..1 only."""
    q, k, v = (torch.randn(1, 2, 5, 4) for _ in range(3))
    whole = attention_written_out(q, k, v, causal_mask(5, 5))[:, :, 3:]
    top_left = torch.ones(2, 5).tril().bool()
    trap = F.scaled_dot_product_attention(q[:, :, 3:], k, v, is_causal=True)
    close(attention(q[:, :, 3:], k, v, causal_mask(2, 5)), whole)
    close(trap, attention_written_out(q[:, :, 3:], k, v, top_left))
    assert (trap - whole).abs().max() > 0.1


# ---- MultiHeadAttention against torch's own layer

def flat_gradient(out, inputs):
    return torch.cat([g.flatten() for g in torch.autograd.grad(out.square().sum(), inputs)])


def torch_twin(ours: MultiHeadAttention, cross: bool):
    """torch's layer with our weights, and those of its weights that make queries, keys, values."""
    D, S = ours.width, ours.context_width
    twin = nn.MultiheadAttention(D, ours.heads, kdim=S, vdim=S, batch_first=True)
    weights = ([twin.q_proj_weight, twin.k_proj_weight, twin.v_proj_weight] if cross
               else [twin.in_proj_weight])
    with torch.no_grad():
        copied = torch.cat([ours.q.weight.flatten(), ours.kv.weight.flatten()])
        nn.utils.vector_to_parameters(copied, weights)
        nn.init.normal_(ours.q.bias)
        nn.init.normal_(ours.kv.bias)
        twin.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.kv.bias]))
        twin.out_proj.load_state_dict(ours.out.state_dict())
    return twin, weights


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_equals_torch_multihead_attention_with_gradients(cross, padded):
    ours = MultiHeadAttention(12, 3, context_width=7 if cross else None)
    twin, weights = torch_twin(ours, cross)
    x = torch.randn(2, 5, 12, requires_grad=True)
    context = torch.randn(2, 4, 7, requires_grad=True) if cross else None
    source = context if cross else x
    keep = torch.arange(source.shape[1]) < torch.tensor([[2], [3]])
    a = ours(x, context, mask=keep[:, None, None] if padded else None)
    b, _ = twin(x, source, source, key_padding_mask=~keep if padded else None)
    close(a, b)

    mine = [x, source, ours.q.weight, ours.kv.weight, ours.q.bias, ours.kv.bias, ours.out.weight]
    theirs = [x, source, *weights, twin.in_proj_bias, twin.out_proj.weight]
    close(flat_gradient(a, mine), flat_gradient(b, theirs))


# ---- what a token may see

def test_no_look_into_the_future_and_each_token_sees_itself():
    """Changing token t leaves outputs before t alone and changes every one from t on."""
    model = small()
    x = torch.randn(2, 6, 16)
    before = model(x)
    for t in range(6):
        changed = x.clone()
        changed[:, t] = torch.randn(2, 16)
        moved = (model(changed) - before).abs().amax(dim=-1)        # (2,6)
        assert moved[:, :t].sum() == 0 and (moved[:, t:] > 1e-4).all()


def test_attention_itself_hears_its_own_token():
    """Without the residual path: a token that is its only key returns its own value."""
    layer = MultiHeadAttention(8, 2)
    x = torch.randn(1, 3, 8)
    own_value = layer.out(layer.kv(x)[..., 8:])
    close(layer(x, mask=torch.eye(3, dtype=torch.bool)), own_value)
    close(layer(x, mask=causal_mask(3, 3))[:, 0], own_value[:, 0])


def test_without_causal_every_token_sees_every_other():
    model = small(causal=False)
    x = torch.randn(1, 5, 16)
    for t in range(5):
        changed = x.clone()
        changed[:, t] = torch.randn(16)
        assert ((model(changed) - model(x)).abs().amax(dim=-1) > 1e-4).all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_never_changes_real_positions_and_equals_a_shorter_input(causal, side):
    model = small(causal=causal, context_width=5)
    x, context = torch.randn(2, 3, 16), torch.randn(2, 4, 5)
    real, pad, far = torch.ones(2, 3).bool(), torch.zeros(2, 2).bool(), 9 * torch.randn(2, 2, 16)
    x_padded, keep = ((torch.cat([x, far], 1), torch.cat([real, pad], 1)) if side == "right"
                      else (torch.cat([far, x], 1), torch.cat([pad, real], 1)))
    context_padded = torch.cat([context, 9 * torch.randn(2, 2, 5)], 1)
    context_keep = torch.arange(6).expand(2, 6) < 4
    out = model(x_padded, keep, context=context_padded, context_keep=context_keep)
    close(out[keep].view(2, 3, 16), model(x, context=context))
    assert out.isfinite().all()


def test_extra_mask_is_anded_with_the_causal_one():
    """Oracle: the product of the two, given to a model that is not causal."""
    model, free = small(), small(causal=False)
    free.load_state_dict(model.state_dict())
    x, mask = torch.randn(2, 5, 16), torch.rand(2, 5, 5) < 0.6
    close(model(x, mask=mask), free(x, mask=mask & causal_mask(5, 5)))
    close(model(x, mask=mask[0])[:1], free(x[:1], mask=mask[0] & causal_mask(5, 5)))
    close(model(x, mask=torch.ones(5, 5).bool()), model(x))


def test_a_list_of_masks_gives_each_block_its_own():
    """Oracle: the blocks called one by one, each with its mask and the causal one."""
    model, past = small(depth=3), causal_mask(5, 5)
    x, masks = torch.randn(2, 5, 16), [torch.rand(5, 5) < 0.6, None, torch.rand(2, 5, 5) < 0.6]
    y = model.blocks[0](x, masks[0] & past)
    y = model.blocks[2](model.blocks[1](y, past), masks[2][:, None] & past)
    close(model(x, mask=masks), model.norm(y))
    close(model(x, mask=masks[:1] * 3), model(x, mask=masks[0]))
    close(model(x, mask=[None] * 3), model(x))


def test_cached_equals_uncached_with_a_mask_for_each_block():
    model, x = small(), torch.randn(2, 6, 16)
    masks, cache = [torch.rand(6, 6) < 0.6, None], model.cache()
    steps = [model(x[:, t:t + 1], mask=[masks[0][t:t + 1, :t + 1], None], cache=cache)
             for t in range(6)]
    close(torch.cat(steps, dim=1), model(x, mask=masks))


def test_context_reaches_every_token_and_its_order_does_not_matter():
    """Cross-attention is a weighted average over a set."""
    model = small(context_width=5)
    x, context = torch.randn(2, 3, 16), torch.randn(2, 4, 5)
    out = model(x, context=context)
    close(model(x, context=context.flip(1)), out)
    assert ((model(x, context=context + 1) - out).abs().amax(dim=-1) > 1e-4).all()


# ---- the cache

@pytest.mark.parametrize("sizes", [(1, 3, 2, 1, 4), (11,), (1,) * 11, (6, 5)])
@pytest.mark.parametrize("masks", ["none", "padding", "sparse"])
def test_cached_equals_uncached_at_every_position(sizes, masks):
    model = small(context_width=5)
    x, context = torch.randn(3, 11, 16), torch.randn(3, 4, 5)
    keep = torch.arange(11) >= torch.tensor([[0], [2], [3]]) if masks == "padding" else None
    mask = torch.rand(3, 11, 11) < 0.6 if masks == "sparse" else None
    whole = model(x, keep, mask, context)
    close(in_chunks(model, x, sizes, keep, mask, context=context), whole, atol=1e-5, rtol=1e-4)


def test_cache_projects_a_context_once_and_a_new_one_again():
    model = small(context_width=5)
    calls = []
    model.blocks[0].cross.kv.register_forward_hook(lambda *_: calls.append(1))
    x, first, second = torch.randn(2, 3, 16), torch.randn(2, 4, 5), torch.randn(2, 6, 5)
    cache = model.cache()
    for t, context in enumerate((first, first, second)):
        model(x[:, t:t + 1], context=context, cache=cache)
    assert len(calls) == 2


def test_gradients_through_the_cache_equal_those_without():
    model = small()
    x = torch.randn(2, 5, 16, requires_grad=True)
    grads = [torch.autograd.grad(out.pow(3).sum(), x)[0]
             for out in (model(x), in_chunks(model, x, (2, 1, 2)))]
    close(grads[0], grads[1], atol=1e-4, rtol=1e-4)


def test_callers_tensors_are_unchanged():
    model = small(context_width=5)
    some = torch.arange(4) < torch.tensor([[2], [3]])
    given = dict(x=torch.randn(2, 4, 16), keep=some.clone(), mask=causal_mask(4, 4).T.clone(),
                 context=torch.randn(2, 4, 5), context_keep=some.clone())
    copies = {name: tensor.clone() for name, tensor in given.items()}
    model(**given)
    model(**given, cache=model.cache())
    for name, tensor in given.items():
        assert tensor.equal(copies[name]), name


# ---- the whole

def test_zeroed_output_projections_leave_the_identity_before_the_final_norm():
    model = small(context_width=5)
    for block in model.blocks:
        for linear in block.residual_projections():
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    x, context = torch.randn(2, 4, 16), torch.randn(2, 3, 5)
    close(model.blocks[0](x, context=context), x)
    close(model(x, context=context), model.norm(x))


def test_block_equals_the_pre_norm_formula():
    """x + attend(norm(x)), then + cross(norm(x)), then + mlp(norm(x))."""
    block = Block(8, 2, context_width=5)
    x, context = 3 * torch.randn(2, 4, 8) + 1, torch.randn(2, 3, 5)
    plain = lambda y: F.layer_norm(y, (8,))                         # noqa: E731
    y = x + block.attend(plain(x))
    y = y + block.cross(plain(y), context)
    up, down = block.mlp[0], block.mlp[2]
    close(block(x, context=context), y + down(F.gelu(up(plain(y)))))
    assert up.out_features == 32


def test_initialisation_has_the_spread_of_gpt2():
    """std 0.02, residual projections 0.02 / sqrt(2 * depth), biases 0."""
    model = Transformer(TransformerConfig(width=128, depth=8, context_width=128))
    block = model.blocks[3]
    residual = block.residual_projections()
    assert len(residual) == 3
    for linear in (m for m in block.modules() if isinstance(m, nn.Linear)):
        expected = 0.005 if any(linear is r for r in residual) else 0.02
        assert linear.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert linear.bias.abs().sum() == 0


def test_runs_under_autocast_close_to_float32():
    model = small(context_width=5)
    x, context, keep = torch.randn(2, 4, 16), torch.randn(2, 3, 5), torch.ones(2, 4).bool()
    with torch.autocast("cpu", torch.bfloat16):
        half = in_chunks(model, x, (3, 1), keep, context=context)
    assert (half - model(x, keep, context=context)).abs().mean() < 0.05


def test_in_bfloat16_with_gradients_a_cpu_takes_no_kernel_and_has_the_gradients_of_float32(
        monkeypatch):
    """The kernel's way back is slow there. Without gradients it is asked as ever."""
    mask = torch.tensor([[True, False, True], [False] * 3])
    exact = [torch.randn(2, 3, n, 4, requires_grad=True) for n in (2, 3, 3)]
    attention(*exact, mask).sum().backward()
    half = [x.detach().bfloat16().requires_grad_() for x in exact]
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)
    attention(*half, mask).sum().backward()
    for a, b in zip(exact, half, strict=True):
        close(b.grad.float(), a.grad, atol=0.05, rtol=0.05)
    with pytest.raises(TypeError):
        attention(*(x.detach() for x in half), mask)


def test_overfits_one_batch_of_a_copy_task():
    """4 random symbols, then the same again: from the fifth on, the next one can be known."""
    first = torch.randint(8, (16, 4))
    ids = torch.cat([first, first], dim=1)
    model = Transformer(TransformerConfig(width=32, depth=2, heads=4))
    embed, place, head = nn.Embedding(8, 32), nn.Embedding(8, 32), nn.Linear(32, 8)
    weights = [p for part in (model, embed, place, head) for p in part.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    for _ in range(100):
        logits = head(model(embed(ids) + place.weight))[:, 3:-1]    # (16,4,8)
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 4:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 and logits.argmax(dim=-1).equal(first)


# ---- errors say what came and what was expected

X = torch.zeros(2, 3, 16)
ERRORS = {
    "wrong width": (lambda: small()(X[..., :9]), r"x has shape \(2, 3, 9\).*16"),
    "no batch": (lambda: small()(X[0]), "x has shape"),
    "heads": (lambda: MultiHeadAttention(10, 4), "width 10 .* 4 heads"),
    "context width": (lambda: small(context_width=5)(X, context=X), r"\(2, 3, 16\).*5"),
    "context missing": (lambda: small(context_width=5)(X), "context is missing"),
    "context given": (lambda: small()(X, context=X), "context is given"),
    "keep too short": (lambda: small()(X, keep=torch.ones(2, 2).bool()), r"keep .*\(2, 3\)"),
    "keep not bool": (lambda: small()(X, keep=torch.ones(2, 3)), "keep is torch.float32"),
    "mask shape": (lambda: small()(X, mask=torch.ones(2, 3).bool()), r"mask .*\(3, 3\)"),
    "masks": (lambda: small()(X, mask=[None]), "1 masks for 2 blocks"),
    "mask not bool": (lambda: attention(X, X, X, torch.ones(3, 3)), "torch.float32; pass bool"),
    "context_keep shape": (
        lambda: small(context_width=16)(X, context=X, context_keep=torch.ones(2, 4).bool()),
        r"context_keep .*\(2, 3\)"),
    "more queries than keys": (lambda: causal_mask(3, 2), "3 queries"),
    "cache without causal": (lambda: small(causal=False).cache(), "causal=True"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_input_is_a_value_error_in_one_sentence(name):
    call, says = ERRORS[name]
    with pytest.raises(ValueError, match=says):
        call()
