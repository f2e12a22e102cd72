r"""What else the road of DALL-E 2 can do: vary, blend and edit pictures, and fill holes in them.

in -> out   images (B, 3, H, W) in [-1, 1], words, masks -> images (B, 3, H, W)
idea        A picture becomes two things: its image vector, which says what is in it, and the noise
            from which the decoder draws just this picture of all that have this vector. The noise
            is found by walking DDIM backwards. Draw from both, and the picture comes back; change
            the vector and keep the noise, and only what the vector says changes. Vectors are
            changed by turning them: towards another picture's, or in the direction in which one
            caption differs from another. A hole is filled by drawing the whole picture, while
            the known pixels are pasted in at every step, as noisy as the rest.
equation    slerp(a, b, t) = cos(t w) a + sin(t w) c,  w the angle from a to b, c the unit vector
            at right angles to a on the side of b
paper       Ramesh et al. 2022, arXiv:2204.06125, section 3; backwards DDIM: Song et al. 2020,
            arXiv:2010.02502, section 4.3; filling: Lugmayr et al. 2022 (RePaint),
            arXiv:2201.09865, algorithm 1
left out    noise that is blended together with the vectors (section 3.2 shows both ways)
"""
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from minidalle.clip import unit
from minidalle.data import Digits
from minidalle.diffusion import Diffusion, eps_from_x0, mix
from minidalle.metrics import Judge
from minidalle.train import randn
from minidalle.unclip import Unclip, shrink

STEPS = 16                     # of a walk, there or back
FAINT = 0.15                   # about what the decoder misses of a clean picture, root mean square


# ---- turning vectors ------------------------------------------------------------------------

def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """On the arc between unit vectors a and b (..., E): a at t = 0, b at t = 1, and between them as
    far along as t says; t is a number or (..., 1). Opposite vectors have many arcs; one is taken.
    """
    along = (a * b).sum(dim=-1, keepdim=True)                               # (..., 1) cosine
    across = b - along * a                                                  # (..., E)
    angle = torch.atan2(across.norm(dim=-1, keepdim=True), along)           # (..., 1)
    turn = angle * t
    return turn.cos() * a + turn.sin() * right_angle(a, across)


def right_angle(a: Tensor, across: Tensor) -> Tensor:
    """Unit vectors at right angles to a (..., E) on the side of `across`; on any side, where that
    is nothing but rounding."""
    # the axis to which a points least is surely another direction than a's
    axis = torch.nn.functional.one_hot(a.abs().argmin(dim=-1), a.shape[-1]).to(a)
    c = torch.where(across.norm(dim=-1, keepdim=True) > 1e-6, unit(across), axis)
    # subtle: rounding leaves a little of a in c, and that would make the arc longer than one
    return unit(c - (a * c).sum(dim=-1, keepdim=True) * a)


# ---- picture -> image vector and noise -> picture -------------------------------------------

@dataclass(frozen=True)
class Latent:
    """A picture taken apart: the paper's bipartite latent (section 3.1), and the upsampler's."""
    z: Tensor                  # image vectors (B, E): what is in it
    small: Tensor              # noise (B, 3, h, w) of the decoder: how it looks
    large: Tensor              # noise (B, 3, H, W) of the upsampler


def stairs(diffusion: Diffusion) -> list[int]:
    """The steps t_0, ..., T - 1 of a walk; t_0 is the first where the noise is as strong as FAINT.

    Subtle: a network cannot say everything about a picture. The way up takes what it misses for
    noise, and so carries it along. Where the noise is far weaker than that, at t = 0, the way up
    would find noise many times too strong.
    """
    sigma = (1 - diffusion.alpha_bar).sqrt()                                # (T,) it rises
    first = min(int((sigma < FAINT).sum()), len(sigma) - 1)
    return torch.linspace(first, len(sigma) - 1, STEPS).round().long().tolist()


@torch.no_grad()
def find_noise(diffusion: Diffusion, model: Callable, x_0: Tensor, condition) -> Tensor:
    """DDIM backwards: the noise (B, ...) from which `from_noise` comes back to x_0 (B, ...)."""
    x_t = x_0
    for step, after in pairwise(stairs(diffusion)):
        t, t_after = (torch.full(x_t.shape[:1], s, device=x_t.device) for s in (step, after))
        # asked about the upper step, as on the way down: so both ways lie close together
        guess = diffusion.guess_x0(model, x_t, t_after, condition, guidance=1.0)
        eps = eps_from_x0(x_t, guess, diffusion.at(t, x_t))
        x_t = mix(guess, eps, diffusion.at(t_after, x_t))
    return x_t


@torch.no_grad()
def from_noise(diffusion: Diffusion, model: Callable, noise: Tensor, condition,
               fresh: float | Tensor = 0.0, guidance: float | Tensor = 1.0) -> Tensor:
    """DDIM down the same stairs -> x_0 (B, ...). What is left of the noise at their end is the
    grain of the picture in which it was found. `fresh`, 0 to 1 or (B, 1, ...), says which share of
    the noise does not belong to what is drawn, and as much is taken away."""
    x_t = noise
    for step, before in pairwise(stairs(diffusion)[::-1]):
        t, t_before = (torch.full(x_t.shape[:1], s, device=x_t.device) for s in (step, before))
        guess = diffusion.guess_x0(model, x_t, t, condition, guidance)
        x_t, _ = diffusion.ddim_step(x_t, guess, t, t_before, eta=0.0)
    return x_t + fresh * (guess - x_t)


@torch.no_grad()
def take_apart(road: Unclip, images: Tensor) -> Latent:
    """images (B, 3, H, W) -> their vectors and noise."""
    small = shrink(images, road.decoder.config.size)                        # (B, 3, h, w)
    z = road.clip.encode_image(images)                                      # (B, E)
    return Latent(z, find_noise(road.decoder.diffusion, road.decoder, small, z),
                  find_noise(road.upsampler.diffusion, road.upsampler, images, clean(small)))


@torch.no_grad()
def put_together(road: Unclip, latent: Latent, fresh: float = 0.0) -> Tensor:
    """The inverse -> images (B, 3, H, W) in [-1, 1]. `fresh`: as in from_noise."""
    small = from_noise(road.decoder.diffusion, road.decoder, latent.small, latent.z, fresh)
    images = from_noise(road.upsampler.diffusion, road.upsampler, latent.large, clean(small), fresh)
    return images.clamp(-1, 1)                                              # (B, 3, H, W)


def clean(small: Tensor) -> tuple[Tensor, Tensor]:
    """The upsampler's condition: small pictures (B, 3, h, w), on which no noise was laid."""
    return small, small.new_zeros(len(small), 1)


# ---- what can be done with them -------------------------------------------------------------

def vary(road: Unclip, image: Tensor, n: int, generator: Generator | None = None,
         eta: float = 1.0) -> Tensor:
    """Other pictures (n, 3, H, W) of what is in image (3, H, W). Section 3.1: eta = 0 gives the
    picture itself, 1 draws all anew that its vector leaves open.

    Here eta is the share of the noise x_T that is drawn anew. DDIM's own eta adds noise at every
    step, and of so few and long steps some stays in the picture, as speckle.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} should lie between 0 (the same picture) and 1 (a new draw)")
    one = take_apart(road, image[None])

    def renewed(noise: Tensor) -> Tensor:
        drawn = randn((n, *noise.shape[1:]), noise.device, generator)
        return (1 - eta) ** 0.5 * noise + eta ** 0.5 * drawn                # as in mix
    many = Latent(one.z.expand(n, -1), renewed(one.small), renewed(one.large))
    return put_together(road, many, fresh=eta)


def blend(road: Unclip, first: Tensor, second: Tensor, n: int,
          generator: Generator | None = None) -> Tensor:
    """n pictures (n, 3, H, W) on the arc from the vector of one picture (3, H, W) to that of
    another. Section 3.2; all from the same noise, so that only the vector changes."""
    a, b = road.clip.encode_image(torch.stack([first, second]))             # (E,) each
    t = torch.linspace(0, 1, n, device=a.device)[:, None]                   # (n, 1)
    small, large = (randn((1, 3, size, size), a.device, generator).expand(n, -1, -1, -1)
                    for size in (road.decoder.config.size, road.upsampler.config.size))
    return put_together(road, Latent(slerp(a, b, t), small, large), fresh=1.0)


@torch.no_grad()
def edit(road: Unclip, images: Tensor, before: list[str], after: list[str],
         strength: float | Tensor = 0.5) -> Tensor:
    """images (B, 3, H, W), changed as `after` differs from `before` (B captions each). Section 3.3.

    The strength, a number or (B, 1), is how far the image vector turns into the direction of the
    change: 0 is the picture itself; the paper goes to 0.25 or 0.5. At 1 nothing of its own vector
    is left, and beyond that it leaves whatever a picture could have: there is a warning. A digit
    is harder to change than a colour. Where it stops half way, try 0.6; further on more is lost
    than won. Nothing here is random.
    """
    ids = road.tokenizer.batch([*before, *after]).to(images.device)         # (2B, T)
    # asked of the ids: equal captions in other company have vectors that differ by rounding
    if (ids[:len(before)] == ids[len(before):]).all(dim=1).any():
        raise ValueError("before and after say the same, so there is no direction to go; pass two "
                         "captions that differ in what is to change")
    strength = torch.as_tensor(strength, device=images.device).reshape(-1, 1)
    if (strength > 1).any():
        warnings.warn(f"strength={strength.max():g} turns beyond the direction of the change, and "
                      "the picture melts; pass 0 to 1", stacklevel=2)
    latent = take_apart(road, images)
    a, b = road.clip.encode_text(ids).chunk(2)                              # (B, E) each
    z = slerp(latent.z, unit(b - a), strength)                              # (B, E)
    strength = strength[..., None, None]                                    # (B, 1, 1, 1)
    # the noise resists a new digit, so the vector must speak up, but only as far as it has changed
    louder = 1 + 2 * strength
    # the grain of a picture holds traces of its old digit, so it goes as the change comes
    gone = 2 * strength.clamp(max=0.5)
    small = from_noise(road.decoder.diffusion, road.decoder, latent.small, z, gone, louder)
    return from_noise(road.upsampler.diffusion, road.upsampler, latent.large, clean(small),
                      gone).clamp(-1, 1)                                    # (B, 3, H, W)


@torch.no_grad()
def fill(diffusion: Diffusion, model: Callable, known: Tensor, mask: Tensor, condition,
         guidance: float = 1.0, steps: int = 12, repeats: int = 5,
         generator: Generator | None = None) -> Tensor:
    """Draw x_0 (B, C, h, w) that is `known` wherever mask (B, 1, h, w) is False. Algorithm 1 of
    RePaint with long steps; each is taken `repeats` times, so that the sides of an edge can agree.

    Subtle: taken once, the hole hears the known part only by half. Of two Gaussian numbers with
    correlation 0.8, where 1.5 is known of the one, the other should have the mean 1.20; with 1, 2,
    5 and 10 repeats it has 0.67, 0.87, 1.05 and 1.11. The price is as many calls of the model.
    """
    def noise():
        return randn(known.shape, known.device, generator)
    x_t, times = noise(), diffusion.times(steps)
    for step, before in pairwise([*times, -1]):                             # -1: the data itself
        t, t_before = (torch.full(known.shape[:1], s, device=known.device) for s in (step, before))
        left = diffusion.at(t_before, known)                                # alpha_bar, 1 at -1
        for turn in range(repeats):
            if turn:                                                        # back up, and again
                x_t = mix(x_t, noise(), diffusion.at(t, known) / left)
            guess = diffusion.guess_x0(model, x_t, t, condition, guidance)
            mean, sigma = diffusion.ddim_step(x_t, guess, t, t_before, eta=1.0)
            x_t = torch.where(mask, mean + sigma * noise(), mix(known, noise(), left))
    return x_t


def each_its_mask(images: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, H, W) for images (B, 3, H, W), of a mask of that shape, or of one (H, W) for all."""
    if mask.dtype != torch.bool or mask.shape[-2:] != images.shape[-2:]:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)} for images "
                         f"{tuple(images.shape)}; pass torch.bool (H, W) or (B, 1, H, W)")
    return mask.expand(len(images), 1, -1, -1)


@torch.no_grad()
def inpaint(road: Unclip, images: Tensor, mask: Tensor, captions: list[str],
            generator: Generator | None = None, guidance: float = 1.0, repeats: int = 5) -> Tensor:
    """images (B, 3, H, W), drawn anew where mask, (H, W) or (B, 1, H, W), is True so that the B
    captions hold. All other pixels stay exactly as they are; what is under the mask is not seen.

    The vector is drawn for the caption alone, before the picture is seen. A caption that the known
    pixels contradict holds in the hole only: "a white seven on blue" with the left half of a red
    seven masked gives a seven that is half white and half red."""
    mask = each_its_mask(images, mask)
    images = images.masked_fill(mask, 0.0)
    ids = road.tokenizer.batch(captions).to(images.device)                  # (B, T)
    z = road.prior.sample(ids, road.clip.encode_text(ids), road.prior_guidance,
                          generator=generator)                              # (B, E)
    size = road.decoder.config.size
    # a small pixel is known where all the pixels that it stands for are known
    small = fill(road.decoder.diffusion, road.decoder, shrink(images, size),
                 shrink(mask.float(), size) > 0, z, guidance, repeats=repeats, generator=generator)
    # once is enough here: the small picture, which is given, has agreed with its edge already
    return fill(road.upsampler.diffusion, road.upsampler, images, mask, clean(small), steps=5,
                repeats=1, generator=generator)                             # (B, 3, H, W)


# ---- how well it works ----------------------------------------------------------------------

def flip_share(road: Unclip, judge: Judge, world: Digits, name: str, n: int = 200,
               strength: float = 0.5, generator: Generator | None = None) -> dict[str, float]:
    """Edit n test pictures so that the factor `name` takes another value, drawn at random, and let
    the judge read them: the share in which it does ("hit"), in which all the other factors stay
    ("kept"), and both ("all")."""
    which, grammar = world.grammar.names.index(name), world.grammar
    batch = world.batch(n, "test", generator)
    wanted = with_another(batch.factors, which, world.combinations["test"], generator)
    before, after = ([grammar.caption(row) for row in rows.tolist()]
                     for rows in (batch.factors, wanted))
    right = judge.read(edit(road, batch.images, before, after, strength)) == wanted   # (n, F)
    others = torch.arange(right.shape[1], device=right.device) != which
    hit, kept = right[:, which], right[:, others].all(dim=1)                # (n,) each
    return {key: share.cpu().double().mean().item()         # a Mac's GPU has no float64
            for key, share in (("hit", hit), ("kept", kept), ("all", hit & kept))}


def with_another(factors: Tensor, which: int, allowed: Tensor,
                 generator: Generator | None = None) -> Tensor:
    """For each row of factors (B, F) one of `allowed` (N, F) that differs in that factor alone."""
    same = factors[:, None] == allowed                                      # (B, N, F)
    others = torch.arange(factors.shape[1], device=factors.device) != which
    choices = ~same[..., which] & same[..., others].all(dim=-1)             # (B, N)
    return allowed[torch.multinomial(choices.float(), 1, generator=generator)[:, 0]]
