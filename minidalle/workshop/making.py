r"""Making: how one picture of a road came to be, step by step, for the foot of a figure.

in -> out   a workshop, what paints, captions, which of them -> pictures of all, a strip of that one
idea        Each road has one thing to show while it draws: noise that clears, codes that are
            written. It is seen at the very picture that stands in the figure, not at another.
left out    what goes on inside a stage: its lesson shows that
"""
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from minidalle.dalle import complete
from minidalle.latent import redraw
from minidalle.train import seeded
from minidalle.workshop.pictures import upper_rows

Strip = tuple[str, list[tuple[Tensor, str]]]       # what it shows; its pictures, each with a label


def making_unclip(workshop, paint: Callable, captions: list[str], which: int,
                  shown: int = 9) -> tuple[Tensor, Strip]:
    """Pictures, and how one of them was made: noise, ever less of it, small, large."""
    return cascade(workshop, paint, captions, which, shown, "decoder", "upsampler")


def making_imagen(workshop, paint: Callable, captions: list[str], which: int,
                  shown: int = 9) -> tuple[Tensor, Strip]:
    """The same of two models that both hear the words."""
    return cascade(workshop, paint, captions, which, shown, "first model", "second one")


def cascade(workshop, paint: Callable, captions: list[str], which: int, shown: int,
            small_maker: str, large_maker: str) -> tuple[Tensor, Strip]:
    """What the roads show that draw a small picture first and enlarge it."""
    images, trace, noisy = traced(workshop, paint, captions, which, shown)     # (9, 3, h, w)
    small, large = trace[-1][1][which], images[which]
    sizes = [f"{image.shape[-1]}\u00d7{image.shape[-2]}" for image in (small, large)]
    text = (f"the {small_maker} turns noise into {sizes[0]} pixels in {len(trace)} steps, the "
            f"{large_maker} makes {sizes[1]} of them")
    return images, (text, less_noisy(noisy, small, large, labels=sizes))


def making_dalle(workshop, paint: Callable, captions: list[str], which: int,
                 shown: int = 9) -> tuple[Tensor, Strip]:
    """Pictures, and how one of them was written: ever more rows of codes, what is to come grey."""
    images = paint(captions, seeded(workshop.seed))
    config, strip = workshop.dvae().config, []
    side = config.size // config.grid
    for row in sorted({round(k * config.grid / (shown - 1)) for k in range(shown)}):
        picture = images[which].clone()
        picture[:, row * side:] = 0.6
        strip.append((picture, f"{row} of {config.grid} rows"))
    text = (f"the transformer writes {config.grid}\u00d7{config.grid} codes row by row, each of "
            f"which becomes {side}\u00d7{side} pixels")
    return images, (text, strip)


def making_latent(workshop, paint: Callable, captions: list[str], which: int,
                  shown: int = 10) -> tuple[Tensor, Strip]:
    """Pictures, and how one of them was made: its latent, ever less noisy, as the VAE sees it."""
    images, trace, latents = traced(workshop, paint, captions, which, shown)    # (10, C, h, w)
    channels, grid, _ = latents.shape[1:]
    text = (f"noise of {channels}\u00d7{grid}\u00d7{grid} numbers becomes a latent in {len(trace)} "
            f"steps; shown is what the VAE makes of it")
    return images, (text, less_noisy(workshop.vae().decode(latents), images[which]))


def making_flow(workshop, paint: Callable, captions: list[str], which: int,
                shown: int = 10) -> tuple[Tensor, Strip]:
    """Pictures, and how one of them was made: ever less noisy, all at its full size."""
    images, trace, noisy = traced(workshop, paint, captions, which, shown)      # (10, 3, H, W)
    text = f"noise goes nearly straight to the picture, in {len(trace)} steps"
    return images, (text, less_noisy(noisy.clamp(-1, 1), images[which]))


def traced(workshop, paint: Callable, captions: list[str], which: int,
           shown: int) -> tuple[Tensor, list, Tensor]:
    """Pictures, the trace of their making, and what one of them was at a few of its steps."""
    trace: list = []
    images = paint(captions, seeded(workshop.seed), trace=trace)
    steps = [round(k * (len(trace) - 1) / (shown - 1)) for k in range(shown)]
    return images, trace, torch.stack([trace[k][0][which] for k in steps])


def less_noisy(pictures: Tensor, *last: Tensor,
               labels: Sequence[str] = ("picture",)) -> list[tuple[Tensor, str]]:
    """A strip that begins with noise, and ends with what came of it, labelled."""
    return list(zip([*pictures, *last], ["noise", *[""] * (len(pictures) - 1), *labels]))


def making_gan(workshop, paint: Callable, captions: list[str], which: int,
               shown: int = 11) -> tuple[Tensor, Strip]:
    """Pictures, and what else one of them could have been: made at once, it has no steps, but on
    the way from no noise to its own lie others."""
    images, road = paint(captions, seeded(workshop.seed)), workshop.gan_road()
    z = road.gan.noise(len(captions), seeded(workshop.seed))[which]         # (Z,) of that picture
    share = torch.linspace(0, 1, shown, device=z.device)[:, None]           # (11, 1)
    text = road.clip.encode_text(road.tokenizer.batch([captions[which]]).to(z.device))
    pictures = road.gan.painter(share * z, text.expand(shown, -1))          # (11, 3, H, W)
    labels = ["no noise", *[""] * (shown - 2), "its noise"]
    return images, ("in one pass; shown is what more and more of its noise makes",
                    list(zip(pictures, labels)))


def going_on(workshop, given: Image.Image) -> Callable[..., Tensor]:
    """What paints like the road of DALL-E, but goes on below the rows of a given picture."""
    road = workshop.dalle_road(ranked=False)
    config = road.dvae.config
    rows = upper_rows(given, config.size, config.size // config.grid).to(workshop.device)

    def paint(captions, generator, **knobs):
        return complete(road, captions, rows.expand(len(captions), -1, -1, -1), generator, **knobs)
    return paint


def drawing_on(workshop, given: Tensor) -> Callable[..., Tensor]:
    """What paints like the road of Stable Diffusion, but starts from a given picture (3, H, W)."""
    road = workshop.latent_road()

    def paint(captions, generator, **knobs):
        images = given.to(workshop.device).expand(len(captions), -1, -1, -1)
        return redraw(road, images, captions, generator=generator, **knobs)
    return paint
