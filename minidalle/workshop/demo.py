r"""The demo: measure a road, and show it in one picture.

in -> out   a Workshop and a road -> a table, a JSON file, a figure
idea        Draw pictures for captions, among them combinations that the models were never shown,
            let the judge read them, and put what it says above the pictures, so that beauty and
            number stand together.
left out    choosing the prettiest samples: the figure shows the first ones that come
"""
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from minidalle.checkpoint import write
from minidalle.dalle import rerank
from minidalle.data import COLOURS, Batch
from minidalle.metrics import attribute_accuracy, binding, clip_score, distances, diversity
from minidalle.train import progress, seeded, seeded_each
from minidalle.workshop.pictures import (
    CELL,
    EDGE,
    GAP,
    GREY,
    LABEL,
    put_caption,
    put_picture,
    put_row,
    put_text,
    show_captions,
)
from minidalle.workshop.recipes import ROADS, Workshop

CHUNK = 250                    # pictures drawn at once: more saves no time on a CPU
BOUND = ("left", "right", "both", "product", "swapped", "chance")      # of `binding`, in a table
SAMPLES = {"smoke": 8, "cpu": 1000, "gpu": 1000}
FEW = 500                      # pictures: of fewer, a crowd's mean and spread are mostly luck


def draw_many(workshop: Workshop, paint: Callable, captions: list[str], seed: int,
              best_of: int = 1, numbers: Sequence[int] | None = None) -> Tensor:
    """Pictures (B, 3, H, W) of many captions, drawn in chunks by a painter of the workshop, with a
    progress bar. Of best_of = n pictures for each caption the one stays that CLIP likes best.

    Each picture has noise of its own, from the seed and its number (its place among the captions,
    unless `numbers` are given), so it does not depend on what is drawn beside it."""
    numbers, few = numbers or range(len(captions)), max(1, CHUNK // best_of)
    bar, parts = progress(len(captions), "drawing"), []
    for i in range(0, len(captions), few):
        some = captions[i:i + few]
        generators = seeded_each(seed, (number * best_of + k for number in numbers[i:i + few]
                                        for k in range(best_of)))
        images = paint([caption for caption in some for _ in range(best_of)], generators)
        if best_of > 1:
            ids = workshop.tokenizer.batch(some).to(images.device)
            images = rerank(workshop.clip(), ids, images.unflatten(0, (-1, best_of)))
        parts.append(images)
        bar.update(len(some))
    bar.close()
    return torch.cat(parts)


Look = Callable[[Tensor, Batch], dict]     # pictures of the captions of a batch -> what is seen


def measure(workshop: Workshop, paint: Callable, n: int, best_of: int = 1,
            also: Look = lambda images, batch: {}) -> dict:
    """What the judge says of n pictures for each split, and CLIP; `also` looks at those of test
    captions too. The captions and the real pictures depend on n and the seed alone, so two painters
    get the same ones."""
    world, judge, clip = workshop.world, workshop.judge(), workshop.clip()
    generator = seeded(workshop.seed + 1, workshop.device)     # not the pictures of training
    real, more = (world.batch(n, "test", generator) for _ in range(2))
    features = judge.features(real.images)
    floor = distances(features, judge.features(more.images))   # real against real
    result = {"samples": n, "judge": attribute_accuracy(judge, real.images, real.factors)}
    for split in world.splits[1:]:
        batch = world.batch(n, split, generator)
        images = draw_many(workshop, paint, batch.captions, workshop.seed, best_of)
        result[split] = attribute_accuracy(judge, images, batch.factors)
        if len(world.slots) == 2:
            result.setdefault("binding", {})[split] = binding(judge.read(images), batch.factors)
        if split == "test":
            drawn = judge.features(images)
            result |= distances(features, drawn)
            result |= {f"{name}_floor": value for name, value in floor.items()}
            ids = workshop.tokenizer.batch(batch.captions).to(workshop.device)
            result["clip_score"] = clip_score(clip.encode_image(images), clip.encode_text(ids))
            result |= beside_real(workshop, images, batch) | also(images, batch)
    return result


def beside_real(workshop: Workshop, images: Tensor, batch: Batch) -> dict[str, float]:
    """What is measured against real pictures of the very same captions, those of the batch: how far
    apart the pictures of one caption are, and how far a paper is from its colour."""
    result, grammar = {}, workshop.world.grammar
    groups = batch.factors.unique(dim=0, return_inverse=True)[1]
    for end, pictures in (("", images), ("_floor", batch.images)):
        if groups.bincount().max() > 1:        # of few pictures, no two may say the same
            result[f"diversity{end}"] = diversity(workshop.judge().features(pictures), groups)
        if "paper" in grammar.names:
            asked = batch.factors[:, grammar.names.index("paper")]
            result[f"paper_error{end}"] = paper_error(pictures, asked)
    return result


def paper_error(images: Tensor, papers: Tensor) -> float:
    """How far the paper of pictures (B, 3, H, W) is from the colours asked for, papers (B,) as
    indices into COLOURS: the mean over pictures and channels, of 255. The paper is the middle one
    of the pixels along the edge, so that a stroke that reaches it does not count."""
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], -1)
    palette = torch.tensor(list(COLOURS.values()), device=images.device) / 127.5 - 1
    return 127.5 * (edge.median(dim=-1).values - palette[papers]).abs().mean().item()


def score(workshop: Workshop, model: str, n: int | None = None,
          also: Look = lambda images, batch: {}) -> dict:
    """A road in numbers: the content of demo.json."""
    stages = ("judge", *ROADS[model].stages)
    workshop.make(stages)
    began = time.perf_counter()
    result = {"data": workshop.data, "model": model, "seed": workshop.seed,
              "budget": workshop.budget}
    result |= measure(workshop, workshop.painter(model), n or SAMPLES[workshop.budget], also=also)
    result["seconds"] = with_total({stage: workshop.seconds[stage] for stage in stages}
                                   | {"score": time.perf_counter() - began})
    result["parameters"] = {stage: sum(p.numel() for p in workshop.models[stage].parameters())
                            for stage in stages}
    return result | {"peak_memory_bytes": peak_memory(), "machine": machine(workshop.device)}


def with_total(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of each part, rounded, and their sum. A loaded stage counts what it once took."""
    parts = {name: round(s, 1) for name, s in seconds.items() if name != "total"}
    return {**parts, "total": round(sum(parts.values()), 1)}


def table(result: dict) -> str:
    """The score as a text that fits a terminal."""
    splits = [s for s in ("test", "unseen") if s in result]
    lines = [aligned("", result["test"], 24)]
    names = {"test": "test captions", "unseen": "unseen combinations"}
    rows = [("real pictures, judged", result["judge"])]
    for label, row in rows + [(names[s], result[s]) for s in splits]:
        lines.append(aligned(label, (f"{value:.3f}" for value in row.values()), 24))
    lines += bound_lines(result.get("binding", {}), names)
    lines.append(f"FID {result['fid']:.3f} (floor {result['fid_floor']:.3f}), "
                 f"precision {result['precision']:.3f} ({result['precision_floor']:.3f}), "
                 f"recall {result['recall']:.3f} ({result['recall_floor']:.3f}), "
                 f"CLIP score {result['clip_score']:.3f}")
    lines += beside_lines(result)
    lines.append("seconds, training included: "
                 + ", ".join(f"{k} {v:.0f}" for k, v in result["seconds"].items()))
    lines.append(f"{result['samples']} pictures a row, seed {result['seed']}, "
                 f"{sum(result['parameters'].values()) / 1e6:.1f} M parameters, "
                 f"{(result['peak_memory_bytes'] or 0) / 1e9:.2f} GB, {result['machine']}")
    return "\n".join(lines + notes(result))


def beside_lines(result: dict) -> list[str]:
    """What stands beside real pictures of the same captions, as far as it was measured."""
    texts = {"diversity": "diversity within a caption {:.2f} (real {:.2f})",
             "paper_error": "error of the paper's colour {:.1f} of 255 (real {:.1f})"}
    said = [text.format(result[name], result[f"{name}_floor"]) for name, text in texts.items()
            if name in result]
    return [", ".join(said)] if said else []


def bound_lines(binding: dict[str, dict[str, float]], names: dict[str, str]) -> list[str]:
    """Of a world with two digits a picture: whether each ink is at its own digit."""
    lines = [aligned(names[split], (f"{value:.3f}" for value in row.values()), 24)
             for split, row in binding.items()]
    return [aligned("each digit in its ink", BOUND, 24), *lines] if lines else []


def aligned(label: str, cells: Iterable[str], width: int) -> str:
    """A line of a table: a label so many letters wide, and its cells below each other."""
    return f"{label:{width}}" + "".join(f"{cell:>9}" for cell in cells)


def smoke_note(result: dict) -> list[str]:
    return ["smoke budget: nothing was learnt, not even by the judge, so no number counts"] \
        if result["budget"] == "smoke" else []


def notes(result: dict) -> list[str]:
    """What has to be said of these numbers, if anything."""
    return smoke_note(result) or [f"FID, precision and recall of fewer than {FEW} pictures say "
                                  "little"] * (result["samples"] < FEW)


def demo(workshop: Workshop, model: str, picture: Path) -> dict:
    """Train or load every stage, score, and write the figure and the JSON file beside it."""
    workshop.make(("judge", *ROADS[model].stages))
    n = SAMPLES[workshop.budget] * len(workshop.world.splits[1:])
    about = f", about {n * ROADS[model].seconds:.0f} s on two CPU cores"
    workshop.say(f"score: what the judge reads off {n} drawn pictures"
                 + about * (workshop.budget == "cpu"))
    result = score(workshop, model)
    began = time.perf_counter()
    figure(workshop, result, picture)
    result["seconds"] = with_total(result["seconds"] | {"figure": time.perf_counter() - began})
    write_json(picture.with_suffix(".json"), result)
    return result


def write_json(path: Path, result: dict) -> None:
    text = json.dumps(result, indent=1) + "\n"
    write(path, lambda temporary: temporary.write_text(text))


# ---- the figure -----------------------------------------------------------------------------

def figure(workshop: Workshop, result: dict, path: Path, samples: int = 4) -> None:
    """Captions in two columns with their samples, unseen ones marked; below, one being made."""
    from matplotlib.figure import Figure

    captions, unseen = show_captions(workshop.world)
    which = len(captions) // 2 * samples                       # an unseen one, where there are any
    every = [caption for caption in captions for _ in range(samples)]
    paint = workshop.painter(result["model"])
    images, (text, strip) = ROADS[result["model"]].making(workshop, paint, every, which)
    rows = (len(captions) + 1) // 2
    panel = LABEL + samples * CELL - GAP + EDGE                # all lengths in inches
    page = Figure(figsize=(2 * panel, 0.9 + rows * CELL + 2.0), facecolor="white")
    high = page.get_figheight()
    put_text(page, EDGE, high - 0.36, _title(result), fontsize=15, weight="bold")
    put_text(page, EDGE, high - 0.66, _subtitle(result), fontsize=10, color=GREY)
    for i, caption in enumerate(captions):
        left, bottom = i // rows * panel + LABEL, high - 0.9 - (i % rows + 1) * CELL
        put_caption(page, left - 0.12, bottom, caption, unseen[i])
        put_row(page, left, bottom, images[i * samples:(i + 1) * samples], unseen[i])
    put_text(page, EDGE, 1.72, f"\u201c{every[which]}\u201d in the making: {text}", fontsize=10,
             color=GREY)
    cell = (page.get_figwidth() - 2 * EDGE + GAP) / 11
    for k, (image, label) in enumerate(strip):
        left = EDGE + k * cell
        put_picture(page, left, 1.55 - cell, image, cell - GAP)
        put_text(page, left + (cell - GAP) / 2, 1.42 - cell, label, ha="center", fontsize=9,
                 color=GREY)
    write(path, lambda temporary: page.savefig(temporary, dpi=150))


def _title(result: dict) -> str:
    who = ROADS[result["model"]].who
    text = f"{who} draws {100 * result['test']['all']:.1f} % of captions right"
    if "unseen" in result:
        text += f", and {100 * result['unseen']['all']:.1f} % of unseen combinations"
    return text


def _subtitle(result: dict) -> str:
    if note := smoke_note(result):
        return note[0]
    names = [name for name in result["test"] if name != "all"]
    return (f"right: {' and '.join(names)} as the caption says, read by a judge off "
            f"{result['samples']} pictures each; shown are the first samples, not the best")


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
    cores, threads = os.cpu_count(), torch.get_num_threads()
    used = f"{threads} of {cores}" if threads < cores else f"{cores}"
    return f"{kind}, {used} cores, torch {torch.__version__}"
