r"""Compare: every road on the same captions, in one table and one figure.

in -> out   a Workshop -> a table, a JSON file, a figure
idea        The roads share tokenizer, CLIP and judge, and get the same captions, so that what is
            left of a difference belongs to the road. DALL-E has one more row: it may draw eight
            pictures for a caption and let CLIP pick one, as in the paper's figures (`best_of` in
            the list of roads). Two more look at the same pictures: a CLIP that no road has learnt
            from, and DALL-E's captioner, which says what it sees: is it the caption again?
paper       reranking: Ramesh et al. 2021, arXiv:2102.12092, section 2.6
left out    error bars: among n pictures a share p has a standard error of sqrt(p (1 - p) / n)
"""
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from minidalle.caption import picture_to_caption, said_right
from minidalle.checkpoint import write
from minidalle.clip import Clip
from minidalle.data import Batch
from minidalle.metrics import clip_score
from minidalle.train import seeded
from minidalle.workshop.counting import multiply_adds
from minidalle.workshop.demo import (
    BOUND,
    CHUNK,
    SAMPLES,
    Look,
    aligned,
    draw_many,
    measure,
    notes,
    score,
    smoke_note,
    write_json,
)
from minidalle.workshop.pictures import (
    CELL,
    EDGE,
    GAP,
    GREY,
    LABEL,
    put_caption,
    put_row,
    put_text,
    show_captions,
)
from minidalle.workshop.recipes import ROADS, Workshop

SHARED = ("data", "seed", "budget", "samples", "judge", "machine")     # the same for every road
OWN = ("model", "seconds", "peak_memory_bytes")                        # of score, not of a road
PART = 32                      # pictures that are captioned at once, each of them eight times


def compare(workshop: Workshop, picture: Path, file: Path, n: int | None = None,
            roads: Iterable[str] | None = None) -> dict:
    """Train or load these roads or all, measure them, and write the JSON file and the figure."""
    chosen = {model: ROADS[model] for model in roads or ROADS}
    stages = [stage for road in chosen.values() for stage in road.stages]
    telling = ["captioner"] * ("dalle" in chosen)              # which begins where DALL-E has ended
    workshop.make(("judge", *stages, *telling))
    look = looking(workshop, stranger(workshop), bool(telling))
    n = n or SAMPLES[workshop.budget]
    splits = len(workshop.world.splits[1:])
    seconds = splits * n * sum(road.seconds * (1 + (road.best_of > 1) * road.best_of / 2)
                               for road in chosen.values())
    about = f", about {seconds:.0f} s on two CPU cores" * (workshop.budget == "cpu")
    workshop.say(f"compare: the same {splits * n} captions along {listed(chosen)}{about}")
    scores = {model: score(workshop, model, n, look) for model in chosen}
    result = {name: next(iter(scores.values()))[name] for name in SHARED}
    real = workshop.world.batch(n, "test", seeded(workshop.seed + 1, workshop.device))
    result["real"] = look(real.images, real)                   # those that `measure` takes too
    counts = {stage: multiply_adds(workshop, stage) for stage in dict.fromkeys(stages)}
    result["roads"] = {model: road(workshop, model, scores[model], counts) for model in chosen}
    write_json(file, result)
    figure(workshop, result, picture)
    return result


def stranger(workshop: Workshop) -> Clip:
    """A CLIP that none of these roads has learnt from: that of the next seed, trained if it is not
    there."""
    next_door = Workshop(workshop.data, workshop.seed + 1, workshop.budget, workshop.folder.parent,
                         str(workshop.device), say=workshop.say, share=workshop.share)
    workshop.say(f"compare: the CLIP of seed {next_door.seed}, which none of these roads knows")
    return next_door.clip()


def looking(workshop: Workshop, clip: Clip, telling: bool) -> Look:
    """What only `compare` measures: how well this CLIP finds pictures to fit their captions and, if
    wanted, whether what the captioner says of them is what the captions say."""
    @torch.no_grad()
    def look(images: Tensor, batch: Batch) -> dict:
        ids = workshop.tokenizer.batch(batch.captions).to(images.device)
        seen = {"clip_score_other": clip_score(clip.encode_image(images), clip.encode_text(ids))}
        if not telling:
            return seen
        some, back, g = slice(CHUNK), workshop.caption_road(), seeded(workshop.seed)
        said = [text for part in images[some].split(PART)
                for text in picture_to_caption(back, part, g)]
        return seen | {"said": said_right(workshop.world.grammar, said, batch.factors[some])}
    return look


def road(workshop: Workshop, model: str, scored: dict, counts: dict[str, float]) -> dict:
    """One road: its score, what it cost, and for DALL-E the best of eight, for half the captions
    (others than those of the rows above it; each costs as much as eight)."""
    stages, paint, best_of = ROADS[model].stages, workshop.painter(model), ROADS[model].best_of
    line = {name: value for name, value in scored.items() if name not in (*SHARED, *OWN)}
    line["parameters"] = sum(scored["parameters"][stage] for stage in stages)
    line["seconds_to_train"] = round(sum(workshop.seconds[stage] for stage in stages), 1)
    line["multiply_adds_to_train"] = sum(counts[stage] for stage in stages)
    line["seconds_for_64"] = round(seconds_for(workshop, paint, 64), 3)
    if best_of > 1:
        line[f"best_of_{best_of}"] = measure(workshop, paint, max(4, scored["samples"] // 2),
                                             best_of)
    return line


def ranked(roads: dict[str, dict]) -> dict[str, tuple[int, dict]]:
    """Of the roads those which CLIP may choose for: how many it sees, and what comes of it."""
    many = {model: ROADS[model].best_of for model in roads}
    return {model: (n, roads[model][f"best_of_{n}"]) for model, n in many.items() if n > 1}


def listed(names) -> str:
    """"unclip, dalle and gan"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def seconds_for(workshop: Workshop, paint: Callable, n: int) -> float:
    """From n captions to n pictures, after once to warm up."""
    captions = workshop.world.batch(n, "test", seeded(workshop.seed, workshop.device)).captions
    for _ in range(2):
        began = time.perf_counter()
        paint(captions, seeded(workshop.seed)).cpu()           # a GPU is done when they are here
    return time.perf_counter() - began


# ---- the table ------------------------------------------------------------------------------

def table(result: dict) -> str:
    """The roads as a text that fits a terminal."""
    roads, best = result["roads"], ranked(result["roads"])
    first = next(iter(roads.values()))
    lines = [aligned("", first["test"], 28),
             shares("real pictures, judged", result["judge"])]
    for split, name in (("test", "test captions"), ("unseen", "unseen combinations")):
        if split not in first:
            continue
        lines.append(name)
        for model, line in roads.items():
            lines.append(shares(f"  {model}", line[split]))
            if model in best:
                n, chosen = best[model]
                lines.append(shares(f"  {model}, best of {n} by CLIP", chosen[split]))
    lines += bound_roads(roads) + ["", aligned("", roads, 28)]
    for label, value, digits in columns(result["real"], first):
        cells = (f"{value(line):.{digits}f}" for line in roads.values())
        lines.append(aligned(label, cells, 28))
    with_clip = listed([model for model in roads if "clip" in ROADS[model].stages] or ["no road"])
    lines.append(f"CLIP is part of {with_clip}, in parameters and training; the judge of none")
    lines.append(f"CLIP score: by the CLIP of seed {result['seed'] + 1}, which no road knows")
    if "said" in result["real"]:
        few = min(CHUNK, result["samples"])
        lines.append(f"said again: of {few} pictures the captioner says all that was asked for")
    lines.append(f"{result['samples']} pictures a row{samples(best)}, seed {result['seed']}, "
                 f"{result['machine']}")
    return "\n".join(lines + notes(result))


def columns(real: dict, first: dict) -> list[tuple[str, Callable[[dict], float], int]]:
    """Below the shares: what stands there, with what real pictures have, how it is found in the
    numbers of a road, and its digits."""
    rows = [(f"FID (floor {first['fid_floor']:.3f})", lambda line: line["fid"], 3),
            (f"recall (floor {first['recall_floor']:.3f})", lambda line: line["recall"], 3)]
    if "diversity" in first:                   # where captions repeat
        rows.append((f"diversity (real {first['diversity_floor']:.2f})",
                     lambda line: line["diversity"], 2))
    rows.append((f"CLIP score (real {real['clip_score_other']:.3f})",
                 lambda line: line["clip_score_other"], 3))
    if "said" in real:
        rows.append((f"said again (real {real['said']['all']:.3f})",
                     lambda line: line["said"]["all"], 3))
    return [*rows, ("parameters, million", lambda line: line["parameters"] / 1e6, 2),
            ("10^12 multiply-adds to train", lambda line: line["multiply_adds_to_train"] / 1e12, 1),
            ("seconds to train", lambda line: line["seconds_to_train"], 0),
            ("seconds for 64 pictures", lambda line: line["seconds_for_64"], 2)]


def bound_roads(roads: dict[str, dict]) -> list[str]:
    """In a world of two digits: whether each ink is at its own, road by road."""
    lines = []
    for split, name in (("test", "test captions, bound"), ("unseen", "unseen, bound")):
        bound = {model: line["binding"][split] for model, line in roads.items()
                 if split in line.get("binding", {})}
        if bound:
            lines.append(aligned(name, BOUND, 28))
        lines += [shares(f"  {model}", row) for model, row in bound.items()]
    return lines


def samples(best: dict[str, tuple[int, dict]]) -> str:
    """How many pictures were chosen, where any were: " (best of 8: 500)"."""
    few = {f"best of {n}: {chosen['samples']}": None for n, chosen in best.values()}
    return f" ({', '.join(few)})" if few else ""


def shares(label: str, row: dict[str, float]) -> str:
    return aligned(label, (f"{value:.3f}" for value in row.values()), 28)


# ---- the figure -----------------------------------------------------------------------------

def figure(workshop: Workshop, result: dict, path: Path, samples: int = 4) -> None:
    """The same captions in the same rows, a group of columns for each road, unseen ones marked."""
    from matplotlib.figure import Figure

    captions, unseen = show_captions(workshop.world)
    every = [caption for caption in captions for _ in range(samples)]
    group = samples * CELL - GAP + EDGE                        # all lengths in inches
    groups = max(2, len(result["roads"]))                      # the title needs the room of two
    size = (EDGE + LABEL + groups * group, 1.3 + len(captions) * CELL + EDGE)
    page = Figure(figsize=size, facecolor="white")
    top = size[1] - 1.3
    put_text(page, EDGE, size[1] - 0.36, title(result), fontsize=14, weight="bold")
    put_text(page, EDGE, size[1] - 0.66, subtitle(result), fontsize=10, color=GREY)
    for i, caption in enumerate(captions):
        put_caption(page, EDGE + LABEL - 0.12, top - (i + 1) * CELL, caption, unseen[i])
    for j, (model, line) in enumerate(result["roads"].items()):
        left = EDGE + LABEL + j * group
        images = draw_many(workshop, workshop.painter(model), every, workshop.seed)
        put_text(page, left, top + 0.2, f"{model}: {line['seconds_for_64']:.2g} s for 64 pictures",
                 fontsize=11)
        for i, row in enumerate(images.split(samples)):
            put_row(page, left, top - (i + 1) * CELL, row, unseen[i])
    write(path, lambda temporary: page.savefig(temporary, dpi=150))


def title(result: dict) -> str:
    """Who draws how many captions right: the finding."""
    roads, best = result["roads"], ranked(result["roads"])
    parts = [f"{model} {'draws ' * (i == 0)}{percent(line['test'])}"
             + " of captions right" * (i == 0)
             + (f" (best of {best[model][0]}: {percent(best[model][1]['test'])})"
                if model in best else "") for i, (model, line) in enumerate(roads.items())]
    return ", ".join(parts)


def subtitle(result: dict) -> str:
    if note := smoke_note(result):
        return note[0]
    roads = result["roads"]
    text = (f"read by a judge off {result['samples']} pictures each{samples(ranked(roads))}; shown "
            "are the first samples")
    if all("unseen" in line for line in roads.values()):
        text += "; unseen combinations: " + ", ".join(
            f"{model} {percent(line['unseen'])}" for model, line in roads.items())
    return text


def percent(shares: dict[str, float]) -> str:
    return f"{100 * shares['all']:.1f} %"
