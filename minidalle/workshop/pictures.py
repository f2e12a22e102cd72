r"""Pictures: between tensors, files and the page of a figure.

in -> out   images (B, 3, H, W) in [-1, 1] <-> pixels, files; captions and images -> a row on a page
idea        What the command line, the demo and the comparison share: which captions a figure shows,
            how a picture becomes pixels and comes back, and how it is laid on a page, in inches.
left out    any resampling of what was drawn: every pixel is shown as a clean square
"""
import math
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

CELL, GAP, LABEL, EDGE = 0.92, 0.05, 2.1, 0.3      # of a figure, in inches
LINE = 0.5                     # the grey between pictures, in [-1, 1]: no paper has it
RED, GREY = "#b3261e", "0.35"
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")     # no other program is asked
HALVES = ("left", "right", "top", "bottom")


# ---- pixels ---------------------------------------------------------------------------------

def to_pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8 for Pillow and matplotlib."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def tile(images: Tensor, columns: int, scale: int = 8, gap: int = 1) -> Tensor:
    """Pictures (N, 3, H, W) in rows of `columns`, enlarged, with grey gaps -> (3, h, w): white
    ones would not show where a picture on white paper ends."""
    images = images.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    gap *= scale
    images = torch.nn.functional.pad(images, (0, gap, 0, gap), value=LINE)
    rows = [torch.cat(list(row), dim=-1) for row in images.split(columns)]
    return torch.cat(rows, dim=-2)[:, :-gap, :-gap]


def open_picture(path: Path) -> Image.Image:
    """A picture from a file of any mode and size: as RGB, what is transparent laid over white."""
    if not path.exists():
        raise ValueError(f"there is no file {path}; name a picture")
    if not path.is_file():     # a pipe would be waited for without end
        raise ValueError(f"{path} is not a picture that can be read: it is no file; name one")
    try:
        with Image.open(path, formats=FORMATS) as file:
            image = ImageOps.exif_transpose(file)              # as a camera held it
            deep = image.mode == "F" or image.mode == "I" and file.format != "PNG"
            if image.mode.startswith("I"):                     # 16 bits of grey
                image = Image.fromarray((np.asarray(image) // 256).clip(0, 255).astype(np.uint8))
            image = image.convert("RGBA")
    except Exception as error:                 # of a damaged file Pillow may say anything
        raise ValueError(f"{path} is not a picture that can be read: it is damaged, too large, or "
                         f"none of {', '.join(FORMATS)}; name one of these") from error
    if deep:
        raise ValueError(f"{path} has 32 bits a pixel, and nothing says how bright they are; save "
                         "it with 8 or 16")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def read_picture(path: Path) -> Image.Image:
    """A picture to be completed: it must not be taller than wide."""
    image = open_picture(path)
    if image.height > image.width:
        raise ValueError(f"{path} is {image.width} x {image.height} pixels; give a picture that is "
                         "as wide as high, or its upper part alone")
    return image


def read_square(path: Path, size: int) -> Tensor:
    """A whole picture, which must be square -> (3, size, size) in [-1, 1]."""
    image = open_picture(path)
    if image.height != image.width:
        raise ValueError(f"{path} is {image.width} x {image.height} pixels; give a picture that is "
                         "as wide as high")
    return middle(image, size)


def read_middle(path: Path, size: int) -> Tensor:
    """The middle square of a picture of any shape -> (3, size, size) in [-1, 1]."""
    return middle(open_picture(path), size)


def middle(image: Image.Image, size: int) -> Tensor:
    """The largest square around the middle -> (3, size, size) in [-1, 1]."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    part = (left, top, left + side, top + side)
    small = image.resize((size, size), Image.Resampling.BOX, part)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 127.5 - 1


def read_mask(which: str, size: int) -> Tensor:
    """Where to draw: one of HALVES, or the file of a square picture that is white there and black
    elsewhere -> (size, size) bool."""
    if which in HALVES:
        first = torch.arange(size) < size // 2
        half = first if which in ("left", "top") else ~first
        return (half if which in ("left", "right") else half[:, None]).expand(size, size)
    if not Path(which).exists():
        raise ValueError(f"the mask is {which!r}; choose one of {', '.join(HALVES)}, or name a "
                         "picture that is there")
    mask = read_square(Path(which), size).mean(dim=0) > 0      # the lighter half of the greys
    if mask.all() or not mask.any():
        raise ValueError(f"the mask {which} is {'all' if mask.all() else 'nowhere'} white; give "
                         "one that is white where to draw and black where to keep the picture")
    return mask


def upper_rows(image: Image.Image, size: int, step: int) -> Tensor:
    """What is given of a picture from `read_picture` -> (3, h, size), h a multiple of `step`.

    A square picture gives its upper half, a flatter one all that it shows; both from the top, and
    at least one step of it.
    """
    wide, high = image.size
    high = high / 2 if high == wide else high
    rows = max(1, int(high * size / wide / step)) * step
    part = (0, 0, wide, min(high, rows * wide / size))
    small = image.resize((size, rows), Image.Resampling.BOX, part)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 127.5 - 1


# ---- captions beside rows -------------------------------------------------------------------

class Labels:
    """Captions to the left of the rows of a page, each row `high` pixels and a gap below it. What
    is too long for its row ends in three dots."""

    def __init__(self, captions: list[str], high: int, gap: int):
        import matplotlib

        size = max(10, high // 12)             # pixels; below ten no letter can be read
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        self.font, self.step, self.high = ImageFont.truetype(str(path), size), high + gap, high
        lines = max(1, int(high / 1.4 / size))
        self.texts = [wrap(caption, lines=lines) for caption in captions]
        widest = max(self.font.getlength(line) for text in self.texts for line in text.split("\n"))
        self.margin, self.wide = size, math.ceil(widest) + 2 * size

    def beside(self, page: Image.Image) -> Image.Image:
        """The page, with the captions on white."""
        wider = Image.new("RGB", (self.wide + page.width, page.height), "white")
        wider.paste(page, (self.wide, 0))
        pen = ImageDraw.Draw(wider)
        for row, text in enumerate(self.texts):
            middle = (self.wide - self.margin, row * self.step + self.high / 2)
            pen.multiline_text(middle, text, "black", self.font, "rm", align="right")
        return wider


# ---- the page of a figure -------------------------------------------------------------------

def show_captions(world) -> tuple[list[str], list[bool]]:
    """One caption for each value of the first factor; every second one from `unseen`."""
    captions, unseen = [], []
    templates = len(world.grammar.templates)
    for value in range(len(world.grammar.values[0])):
        marked = "unseen" in world.splits and value % 2 == 1
        choices = [[value]]
        if "unseen" in world.splits:
            choices = world.combinations["unseen" if marked else "test"]
            choices = choices[choices[:, 0] == value]
            choices = choices[::len(choices) // 64 | 1].tolist()       # of thousands, from all over
        captions.append(world.grammar.caption(choices[7 * value % len(choices)], value % templates))
        unseen.append(marked)
    return captions, unseen


def put_text(page, left: float, bottom: float, text: str, **style) -> None:
    """Text at a place in inches."""
    page.text(left / page.get_figwidth(), bottom / page.get_figheight(), text, va="center", **style)


def put_picture(page, left: float, bottom: float, image: Tensor, side: float = CELL - GAP,
                frame: str = "0.6") -> None:
    """A picture at a place in inches, each of its pixels a clean square."""
    wide, high = page.get_size_inches()
    axes = page.add_axes((left / wide, bottom / high, side / wide, side / high))
    axes.imshow(to_pixels(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=1.2)


def put_row(page, left: float, bottom: float, images: Tensor, unseen: bool) -> None:
    """Pictures side by side; those of an unseen combination have a red frame."""
    for j, image in enumerate(images):
        put_picture(page, left + j * CELL, bottom, image, frame=RED if unseen else "0.6")


def put_caption(page, right: float, bottom: float, caption: str, unseen: bool) -> None:
    """A caption to the left of its row of pictures, marked when its combination is unseen."""
    text, middle = wrap(caption), bottom + CELL / 2
    put_text(page, right, middle + (0.09 if unseen else 0.0), text, ha="right", fontsize=11)
    if unseen:
        below = 0.1 * (text.count("\n") + 1) + 0.04
        put_text(page, right, middle - below, "unseen combination", ha="right", fontsize=9,
                 color=RED)


def wrap(caption: str, width: int = 22, lines: int | None = None) -> str:
    """As few lines as the width allows, of about equal length; what is beyond so many is cut."""
    fewest, more = len(textwrap.wrap(caption, width)), " ..."
    while width > len(more) and \
            len(textwrap.wrap(caption, width - 1)) == fewest <= (lines or fewest):
        width -= 1
    return textwrap.fill(caption, width, max_lines=lines, placeholder=more)
