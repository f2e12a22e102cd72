r"""The demo: measure a road, and show it in one picture.

in -> out   a Workshop -> a table, a JSON file, a figure
idea        Draw pictures for captions that the models were never shown, let the judge read them,
            and put what it says above the pictures, so that beauty and number stand together.
left out    choosing the prettiest samples: the figure shows the first ones that come
"""
import json
import os
import platform
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from minidalle.metrics import attribute_accuracy, clip_score, distances, diversity
from minidalle.recipes import Workshop
from minidalle.train import progress, seeded, write
from minidalle.unclip import caption_to_picture

CHUNK = 250                    # pictures drawn at once: more saves no time on a CPU
SAMPLES = {"smoke": 20, "cpu": 1000, "gpu": 1000}


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
    real = world.batch(n, "test", generator)
    result["judge"] = attribute_accuracy(judge, real.images, real.factors)
    features = judge.features(real.images)
    floor = distances(features, judge.features(world.batch(n, "test", generator).images))
    for split in world.splits[1:]:
        batch = world.batch(n, split, generator)
        images = draw_many(workshop, batch.captions, workshop.seed)
        result[split] = attribute_accuracy(judge, images, batch.factors)
        if split == "test":
            result |= {name: value for name, value in
                       distances(features, judge.features(images)).items()}
            result |= {f"{name}_floor": value for name, value in floor.items()}
            ids = road.tokenizer.batch(batch.captions).to(workshop.device)
            result["clip_score"] = clip_score(road.clip.encode_image(images),
                                              road.clip.encode_text(ids))
            groups = batch.factors @ torch.tensor([100, 10, 1][:batch.factors.shape[1]],
                                                  device=workshop.device)
            result["diversity"] = diversity(judge.features(images), groups)
    seconds = {**workshop.seconds, "score": time.perf_counter() - began}
    result["seconds"] = {name: round(s, 1) for name, s in seconds.items()}
    result["seconds"]["total"] = round(sum(seconds.values()), 1)
    result["parameters"] = {name: sum(p.numel() for p in model.parameters())
                            for name, model in workshop.models.items()}
    return result | {"peak_memory_bytes": peak_memory(), "machine": machine(workshop.device)}


def table(result: dict) -> str:
    """The score as a text that fits a terminal."""
    splits = [s for s in ("test", "unseen") if s in result]
    lines = [f"{'':24}" + "".join(f"{name:>9}" for name in result["test"])]
    names = {"test": "test captions", "unseen": "unseen combinations"}
    rows = [(f"real pictures, judged", result["judge"])]
    for label, row in rows + [(names[s], result[s]) for s in splits]:
        lines.append(f"{label:24}" + "".join(f"{value:9.3f}" for value in row.values()))
    lines.append(f"FID {result['fid']:.3f} (floor {result['fid_floor']:.3f}), "
                 f"precision {result['precision']:.3f} ({result['precision_floor']:.3f}), "
                 f"recall {result['recall']:.3f} ({result['recall_floor']:.3f}), "
                 f"CLIP score {result['clip_score']:.3f}")
    lines.append("seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in result["seconds"].items()))
    lines.append(f"{result['samples']} pictures a row, seed {result['seed']}, "
                 f"{sum(result['parameters'].values()) / 1e6:.1f} M parameters, "
                 f"{(result['peak_memory_bytes'] or 0) / 1e9:.2f} GB, {result['machine']}")
    return "\n".join(lines)


def demo(workshop: Workshop, picture: Path) -> dict:
    """Train or load every stage, score, and write the figure and the JSON file beside it."""
    workshop.judge()
    workshop.unclip()
    workshop.say("score: drawing and judging pictures of captions never trained on")
    result = score(workshop)
    figure(workshop, result, picture)
    text = json.dumps(result, indent=1)
    write(picture.with_suffix(".json"), lambda temporary: temporary.write_text(text + "\n"))
    return result


# ---- the figure -----------------------------------------------------------------------------

def show_captions(workshop: Workshop) -> tuple[list[str], list[bool]]:
    """One caption for each value of the first factor; every second one from `unseen`."""
    world, captions, unseen = workshop.world, [], []
    for value in range(len(world.grammar.values[0])):
        marked = "unseen" in world.splits and value % 2 == 1
        if "unseen" in world.splits:
            choices = world.combinations["unseen" if marked else "test"]
            choices = choices[choices[:, 0] == value].tolist()
        else:
            choices = [[value]]
        row = choices[7 * value % len(choices)]
        captions.append(world.grammar.caption(row, value % 2))
        unseen.append(marked)
    return captions, unseen


def figure(workshop: Workshop, result: dict, path: Path, samples: int = 4, steps: int = 9) -> None:
    """Captions in rows with their samples, unseen ones marked; below, one picture being made."""
    from matplotlib.figure import Figure

    captions, unseen = show_captions(workshop)
    every = [caption for caption in captions for _ in range(samples)]
    trace: list = []
    images = caption_to_picture(workshop.unclip(), every, seeded(workshop.seed), trace=trace)
    rows = (len(captions) + 1) // 2
    page = Figure(figsize=(10.4, 0.98 * rows + 2.2), facecolor="white")
    top, bottom = 0.89, 0.21
    grid = page.add_gridspec(rows, 2 * (samples + 3), left=0.01, right=0.99, top=top,
                             bottom=bottom, wspace=0.06, hspace=0.08)
    for i, caption in enumerate(captions):
        row, first = i % rows, (i // rows) * (samples + 3)
        label = page.add_subplot(grid[row, first:first + 3])
        label.axis("off")
        label.text(0.96, 0.5, _wrap(caption), ha="right", va="center", fontsize=11,
                   transform=label.transAxes)
        if unseen[i]:
            label.text(0.96, 0.06, "unseen combination", ha="right", va="center", fontsize=7.5,
                       color="#b3261e", transform=label.transAxes)
        for j in range(samples):
            _picture(page.add_subplot(grid[row, first + 3 + j]), images[i * samples + j],
                     frame="#b3261e" if unseen[i] else "0.6")
    which = len(captions) // 2 * samples
    strip = [trace[round(k * (len(trace) - 1) / (steps - 1))][0][which] for k in range(steps)]
    line = page.add_gridspec(1, steps + 1, left=0.03, right=0.97, top=0.15, bottom=0.03,
                             wspace=0.08)
    for k, small in enumerate([*strip, images[which]]):
        axes = page.add_subplot(line[0, k])
        _picture(axes, small, frame="0.6")
    page.text(0.03, 0.165, f"\u201c{captions[which // samples]}\u201d being made: the decoder "
              f"turns noise into {small_size(strip)}, the upsampler into "
              f"{images.shape[-1]}\u00d7{images.shape[-1]}", fontsize=9.5)
    page.suptitle(_title(result), fontsize=13, y=0.965)
    write(path, lambda temporary: page.savefig(temporary, dpi=130))


def small_size(strip: list[Tensor]) -> str:
    return f"{strip[0].shape[-2]}\u00d7{strip[0].shape[-1]}"


def _title(result: dict) -> str:
    text = f"minidalle draws captions: all factors right in {100 * result['test']['all']:.1f} %"
    if "unseen" in result:
        text += f", in {100 * result['unseen']['all']:.1f} % of unseen combinations"
    return text + f"  ({result['samples']} pictures each)"


def _wrap(caption: str) -> str:
    words, lines = caption.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 20:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def _picture(axes, image: Tensor, frame: str) -> None:
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
    if len(images) == 1:
        return images[0]
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
