"""What the road of DALL-E 2 can do with a picture, in one figure and a few numbers.

    python tools/changes.py [SEED]        figures/changes.png, and what the judge says of edits

in -> out   the models of `make demo` -> figures/changes.png; a line of shares for each factor
idea        One row for each: a picture varied, two blended, one edited further and further, one
            half drawn anew. The pictures that were given have a red frame.
"""
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from minidalle.checkpoint import write
from minidalle.manipulate import blend, edit, flip_share, inpaint, vary
from minidalle.train import seeded
from minidalle.workshop.demo import draw_many
from minidalle.workshop.pictures import (
    CELL,
    EDGE,
    GAP,
    LABEL,
    RED,
    put_caption,
    put_picture,
    put_text,
    read_mask,
)
from minidalle.workshop.recipes import Workshop

COLUMNS = 7
ROOT = Path(__file__).resolve().parent.parent
Row = tuple[str, torch.Tensor, tuple[int, ...]]        # label, pictures (7, 3, H, W), given ones


def rows(workshop: Workshop) -> list[Row]:
    """Seven pictures a row; which of them were given."""
    road, seed = workshop.unclip(), workshop.seed
    three, seven, nine = draw_many(workshop, workshop.painter("unclip"), [
        "a green three on white", "a red seven on yellow", "a blue nine on white"], seed)
    strengths = torch.linspace(0, 0.6, COLUMNS - 1)[:, None]
    many = three.expand(COLUMNS - 1, -1, -1, -1)
    edited = edit(road, many, ["a green three on white"] * len(many),
                  ["a red three on white"] * len(many), strengths)
    mask = read_mask("bottom", nine.shape[-1]).to(nine.device)
    filled = inpaint(road, nine.expand(COLUMNS - 1, -1, -1, -1), mask,
                     ["a blue eight on white"] * (COLUMNS - 1), seeded(seed))
    return [
        ("varied", torch.cat([three[None], vary(road, three, COLUMNS - 1, seeded(seed))]), (0,)),
        ("blended", torch.cat([three[None], blend(road, three, seven, COLUMNS - 2, seeded(seed)),
                               seven[None]]), (0, COLUMNS - 1)),
        ("edited: green becomes red", torch.cat([three[None], edited]), (0,)),
        ("lower half drawn anew: a nine becomes an eight", torch.cat([nine[None], filled]), (0,))]


def figure(workshop: Workshop, path: Path) -> None:
    drawn = rows(workshop)
    page = Figure(figsize=(LABEL + COLUMNS * CELL + EDGE, 0.7 + len(drawn) * CELL + EDGE - GAP),
                  facecolor="white")
    high = page.get_figheight()
    put_text(page, EDGE, high - 0.36, "A picture is a vector and noise: change one, keep the other",
             fontsize=14, weight="bold")
    for i, (label, images, given) in enumerate(drawn):
        bottom = high - 0.7 - (i + 1) * CELL
        put_caption(page, LABEL - 0.12, bottom, label, unseen=False)
        for j, image in enumerate(images):
            put_picture(page, LABEL + j * CELL, bottom, image,
                        frame=RED if j in given else "0.6")
    write(path, lambda temporary: page.savefig(temporary, dpi=150))


def main() -> None:
    workshop = Workshop("drawn", int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    figure(workshop, ROOT / "figures" / "changes.png")
    for name in workshop.world.grammar.names:
        shares = flip_share(workshop.unclip(), workshop.judge(), workshop.world, name, n=200,
                            generator=seeded(workshop.seed))
        print(f"{name} edited: " + ", ".join(f"{key} {one:.3f}" for key, one in shares.items()))


if __name__ == "__main__":
    main()
