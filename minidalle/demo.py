r"""The demo: measure a road, and show it in one picture.

in -> out   a Workshop -> a table, a JSON file, a figure
idea        Draw pictures for captions, among them combinations that the models were never shown,
            let the judge read them, and put what it says above the pictures, so that beauty and
            number stand together.
left out    choosing the prettiest samples: the figure shows the first ones that come
"""
import json
import os
import platform
import sys
import textwrap
import time
from pathlib import Path

import torch
from torch import Tensor

from minidalle.checkpoint import write
from minidalle.metrics import attribute_accuracy, clip_score, distances, diversity
from minidalle.recipes import Workshop
from minidalle.train import progress, seeded
from minidalle.unclip import caption_to_picture

CHUNK = 250                    # pictures drawn at once: more saves no time on a CPU
SAMPLES = {"smoke": 8, "cpu": 1000, "gpu": 1000}
SECONDS = 0.03                 # to draw one picture, on two CPU cores

CELL, GAP, LABEL, EDGE = 0.92, 0.05, 2.1, 0.3      # of the figure, in inches
RED, GREY = "#b3261e", "0.35"


def draw_many(workshop: Workshop, captions: list[str], seed: int) -> Tensor:
    """Pictures (B, 3, H, W) of many captions, drawn in chunks, with a progress bar."""
    road, generator = workshop.unclip(), seeded(seed)
    bar, parts = progress(len(captions), "drawing"), []
    for i in range(0, len(captions), CHUNK):
        parts.append(caption_to_picture(road, captions[i:i + CHUNK], generator))
        bar.update(len(parts[-1]))
    bar.close()
    return torch.cat(parts)


def score(workshop: Workshop, n: int | None = None) -> dict:
    """What the judge says of n pictures for each split: the content of demo.json."""
    n = n or SAMPLES[workshop.budget]
    world, judge, road = workshop.world, workshop.judge(), workshop.unclip()
    began = time.perf_counter()
    result = {"data": workshop.data, "seed": workshop.seed, "budget": workshop.budget,
              "samples": n}
    generator = seeded(workshop.seed + 1, workshop.device)     # not the pictures of training
    real, more = (world.batch(n, "test", generator) for _ in range(2))
    features = judge.features(real.images)
    floor = distances(features, judge.features(more.images))   # real against real
    result["judge"] = attribute_accuracy(judge, real.images, real.factors)
    for split in world.splits[1:]:
        batch = world.batch(n, split, generator)
        images = draw_many(workshop, batch.captions, workshop.seed)
        result[split] = attribute_accuracy(judge, images, batch.factors)
        if split == "test":
            drawn = judge.features(images)
            result |= distances(features, drawn)
            result |= {f"{name}_floor": value for name, value in floor.items()}
            ids = road.tokenizer.batch(batch.captions).to(workshop.device)
            result["clip_score"] = clip_score(road.clip.encode_image(images),
                                              road.clip.encode_text(ids))
            groups = batch.factors.unique(dim=0, return_inverse=True)[1]
            if groups.bincount().max() > 1:    # of few pictures, no two may say the same
                result["diversity"] = diversity(drawn, groups)
    result["seconds"] = with_total(workshop.seconds | {"score": time.perf_counter() - began})
    result["parameters"] = {name: sum(p.numel() for p in model.parameters())
                            for name, model in workshop.models.items()}
    return result | {"peak_memory_bytes": peak_memory(), "machine": machine(workshop.device)}


def with_total(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of each part, rounded, and their sum. A loaded stage counts what it once took."""
    parts = {name: round(s, 1) for name, s in seconds.items() if name != "total"}
    return {**parts, "total": round(sum(parts.values()), 1)}


def table(result: dict) -> str:
    """The score as a text that fits a terminal."""
    splits = [s for s in ("test", "unseen") if s in result]
    lines = [f"{'':24}" + "".join(f"{name:>9}" for name in result["test"])]
    names = {"test": "test captions", "unseen": "unseen combinations"}
    rows = [("real pictures, judged", result["judge"])]
    for label, row in rows + [(names[s], result[s]) for s in splits]:
        lines.append(f"{label:24}" + "".join(f"{value:9.3f}" for value in row.values()))
    lines.append(f"FID {result['fid']:.3f} (floor {result['fid_floor']:.3f}), "
                 f"precision {result['precision']:.3f} ({result['precision_floor']:.3f}), "
                 f"recall {result['recall']:.3f} ({result['recall_floor']:.3f}), "
                 f"CLIP score {result['clip_score']:.3f}")
    lines.append("seconds, training included: "
                 + ", ".join(f"{k} {v:.0f}" for k, v in result["seconds"].items()))
    lines.append(f"{result['samples']} pictures a row, seed {result['seed']}, "
                 f"{sum(result['parameters'].values()) / 1e6:.1f} M parameters, "
                 f"{(result['peak_memory_bytes'] or 0) / 1e9:.2f} GB, {result['machine']}")
    if result["budget"] == "smoke":
        lines.append("smoke budget: nothing was learnt, not even by the judge, so no number counts")
    return "\n".join(lines)


def demo(workshop: Workshop, picture: Path) -> dict:
    """Train or load every stage, score, and write the figure and the JSON file beside it."""
    workshop.judge()
    workshop.unclip()
    n = SAMPLES[workshop.budget] * len(workshop.world.splits[1:])
    about = f", about {n * SECONDS:.0f} s on two CPU cores" if workshop.budget == "cpu" else ""
    workshop.say(f"score: what the judge reads off {n} drawn pictures{about}")
    result = score(workshop)
    began = time.perf_counter()
    figure(workshop, result, picture)
    result["seconds"] = with_total(result["seconds"] | {"figure": time.perf_counter() - began})
    text = json.dumps(result, indent=1)
    write(picture.with_suffix(".json"), lambda temporary: temporary.write_text(text + "\n"))
    return result


# ---- the figure -----------------------------------------------------------------------------

def show_captions(workshop: Workshop) -> tuple[list[str], list[bool]]:
    """One caption for each value of the first factor; every second one from `unseen`."""
    world, captions, unseen = workshop.world, [], []
    templates = len(world.grammar.templates)
    for value in range(len(world.grammar.values[0])):
        marked = "unseen" in world.splits and value % 2 == 1
        choices = [[value]]
        if "unseen" in world.splits:
            choices = world.combinations["unseen" if marked else "test"]
            choices = choices[choices[:, 0] == value].tolist()
        captions.append(world.grammar.caption(choices[7 * value % len(choices)], value % templates))
        unseen.append(marked)
    return captions, unseen


def figure(workshop: Workshop, result: dict, path: Path, samples: int = 4) -> None:
    """Captions in two columns with their samples, unseen ones marked; below, one being made."""
    from matplotlib.figure import Figure

    captions, unseen = show_captions(workshop)
    every = [caption for caption in captions for _ in range(samples)]
    trace: list = []
    images = caption_to_picture(workshop.unclip(), every, seeded(workshop.seed), trace=trace)
    rows = (len(captions) + 1) // 2
    panel = LABEL + samples * CELL - GAP + EDGE                # all lengths in inches
    page = Figure(figsize=(2 * panel, 0.9 + rows * CELL + 2.0), facecolor="white")
    high = page.get_figheight()
    _text(page, EDGE, high - 0.36, _title(result), fontsize=15, weight="bold")
    _text(page, EDGE, high - 0.66, _subtitle(result), fontsize=10, color=GREY)
    for i, caption in enumerate(captions):
        left, bottom = i // rows * panel, high - 0.9 - (i % rows + 1) * CELL
        lines = _wrap(caption).count("\n") + 1
        lift = 0.09 if unseen[i] else 0.0
        _text(page, left + LABEL - 0.12, bottom + CELL / 2 + lift, _wrap(caption), ha="right",
              fontsize=11)
        if unseen[i]:
            _text(page, left + LABEL - 0.12, bottom + CELL / 2 - 0.1 * lines - 0.04,
                  "unseen combination", ha="right", fontsize=8, color=RED)
        for j, image in enumerate(images[i * samples:(i + 1) * samples]):
            _picture(page, left + LABEL + j * CELL, bottom, CELL - GAP, image,
                     RED if unseen[i] else "0.6")
    which = len(captions) // 2 * samples                       # an unseen one, where there are any
    _strip(page, captions[which // samples], [(x_t[which], x_0[which]) for x_t, x_0 in trace],
           images[which])
    write(path, lambda temporary: page.savefig(temporary, dpi=150))


def _strip(page, caption: str, trace: list[tuple[Tensor, Tensor]], large: Tensor,
           shown: int = 9) -> None:
    """One picture being made, along the foot of the page: noise, ever less of it, small, large."""
    noisy = [trace[round(k * (len(trace) - 1) / (shown - 1))][0] for k in range(shown)]
    small = trace[-1][1]
    cell = (page.get_figwidth() - 2 * EDGE + GAP) / (shown + 2)
    sizes = [f"{image.shape[-1]}\u00d7{image.shape[-2]}" for image in (small, large)]
    _text(page, EDGE, 1.72, f"\u201c{caption}\u201d in the making: the decoder turns noise into "
          f"{sizes[0]} pixels in {len(trace)} steps, the upsampler makes {sizes[1]} of them",
          fontsize=10, color=GREY)
    for k, image in enumerate([*noisy, small, large]):
        _picture(page, EDGE + k * cell, 1.55 - cell, cell - GAP, image, "0.6")
        label = "noise" if k == 0 else ["", *sizes][max(0, k - shown + 1)]
        _text(page, EDGE + k * cell + (cell - GAP) / 2, 1.42 - cell, label, ha="center",
              fontsize=8, color=GREY)


def _title(result: dict) -> str:
    text = f"minidalle draws {100 * result['test']['all']:.1f} % of captions right"
    if "unseen" in result:
        text += f", and {100 * result['unseen']['all']:.1f} % of unseen combinations"
    return text


def _subtitle(result: dict) -> str:
    names = [name for name in result["test"] if name != "all"]
    return (f"right: {' and '.join(names)} as the caption says, read by a judge off "
            f"{result['samples']} pictures each; shown are the first samples, not the best")


def _wrap(caption: str, width: int = 22) -> str:
    """As few lines as the width allows, of about equal length."""
    fewest = len(textwrap.wrap(caption, width))
    while width > 1 and len(textwrap.wrap(caption, width - 1)) == fewest:
        width -= 1
    return textwrap.fill(caption, width)


def _text(page, left: float, bottom: float, text: str, **style) -> None:
    """Text at a place in inches."""
    page.text(left / page.get_figwidth(), bottom / page.get_figheight(), text, va="center", **style)


def _picture(page, left: float, bottom: float, side: float, image: Tensor, frame: str) -> None:
    """A picture at a place in inches, each of its pixels a clean square."""
    wide, high = page.get_size_inches()
    axes = page.add_axes((left / wide, bottom / high, side / wide, side / high))
    axes.imshow(to_pixels(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=1.2)


def to_pixels(image: Tensor):
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8 for Pillow and matplotlib."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def tile(images: Tensor, columns: int, scale: int = 8, gap: int = 1) -> Tensor:
    """Pictures (N, 3, H, W) in rows of `columns`, enlarged, with white gaps -> (3, h, w)."""
    images = images.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    gap *= scale
    images = torch.nn.functional.pad(images, (0, gap, 0, gap), value=1.0)
    rows = [torch.cat(list(row), dim=-1) for row in images.split(columns)]
    return torch.cat(rows, dim=-2)[:, :-gap, :-gap]


# ---- where it ran ---------------------------------------------------------------------------

def peak_memory() -> int | None:
    """The most bytes that this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:        # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def machine(device: torch.device) -> str:
    """A line that says on what the numbers were made."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else \
        f"{platform.machine()} CPU"
    return f"{kind}, {os.cpu_count()} cores, torch {torch.__version__}"
