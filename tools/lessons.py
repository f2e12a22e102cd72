"""Run the lessons at a real budget: store their outputs, and measure what should come out.

    python tools/lessons.py save [NAME ...]       run, and store the outputs in lessons/
    python tools/lessons.py results [NAME ...]    run with several seeds -> lessons/expected.json;
                                                  the outputs of the first seed are stored too
    python tools/lessons.py results --from FILE   from the cards in a file that `make gpu` wrote
    python tools/lessons.py refresh [NAME ...]    store anew what no training changes: maps, checks
    python tools/lessons.py card NAME             run once, and print its card as a JSON line

in -> out   lessons/*.ipynb -> the same with outputs; expected.json
idea        Each lesson runs in a fresh kernel with a folder of checkpoints of its own, so that what
            it shows does not depend on what was run before. Stored outputs hold nothing that
            changes from run to run: no times, no progress bars, no widgets.
"""
import argparse
import base64
import io
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from minidalle.workshop.demo import write_json

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
WIDGET = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    line = argparse.ArgumentParser(description="Run the lessons at a real budget.")
    line.add_argument("command", choices=("save", "results", "refresh", "card"))
    line.add_argument("names", nargs="*", help="lessons, such as 03_transformer (default: all)")
    line.add_argument("--budget", choices=("smoke", "cpu", "gpu"), default="cpu")
    line.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="for results")
    line.add_argument("--device", help="cpu: as if there were no GPU")
    line.add_argument("--from", dest="file", type=Path, metavar="FILE", help="for results")
    args = line.parse_args()
    if args.budget == "smoke" and args.command != "card":
        sys.exit("at the smoke budget nothing is learnt, so nothing of it is stored")
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if args.file:
        learn_from(args.file)
        return
    here = sorted(path.stem for path in LESSONS.glob("[0-9]*.ipynb"))
    if unknown := [name for name in args.names if name not in here]:
        sys.exit(f"there is no lesson {unknown[0]}; there are {', '.join(here)}")
    for name in args.names or here:
        if args.command == "save":
            save(name, args.budget)
        elif args.command == "refresh":
            refresh(name)
        elif args.command == "card":
            print(json.dumps(run(name, args.budget, args.seeds[0])[1]))
        else:
            measure(name, args.budget, args.seeds)


def run(name: str, budget: str, seed: int, learn: Callable[[dict], None] | None = None
        ) -> tuple[nbformat.NotebookNode, dict]:
    """One clean run -> the notebook with its outputs, and the record of its card. `learn` is told
    the record; after it the cell of the card runs once more, to show what is expected now."""
    notebook = nbformat.read(LESSONS / f"{name}.ipynb", 4)
    runs = Path(tempfile.mkdtemp(prefix="minidalle-"))
    os.environ.update(MINIDALLE_RUNS=str(runs), MINIDALLE_BUDGET=budget, MINIDALLE_QUIET="1",
                      MINIDALLE_SEED=str(seed), MPLBACKEND="module://matplotlib_inline.backend_inline")
    client = NotebookClient(notebook, timeout=1800, record_timing=False, coalesce_streams=True,
                            resources={"metadata": {"path": str(LESSONS)}})
    try:
        with client.setup_kernel():
            for i, cell in enumerate(notebook.cells):
                client.execute_cell(cell, i)
            card = json.loads((runs / "cards" / f"{name}-{budget}-{seed}.json").read_text())
            if learn:
                learn(card)
                i, cell = next((i, cell) for i, cell in enumerate(notebook.cells)
                               if cell.cell_type == "code" and "lesson.card(" in cell.source)
                client.execute_cell(cell, i, cell.execution_count, store_history=False)
    finally:
        shutil.rmtree(runs, ignore_errors=True)
    print(f"{name}, {budget}, seed {seed}: {card['seconds']} s, {card['metrics']}", flush=True)
    return clean(notebook), card


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without widgets, which need a kernel to be seen, and without the version of Python; pictures
    in fewer colours."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [one for one in cell.outputs if WIDGET not in one.get("data", {})]
            for output in cell.outputs:
                if picture := output.get("data", {}).get("image/png"):
                    output["data"]["image/png"] = smaller(picture)
    return notebook


def smaller(picture: str) -> str:
    """A PNG as base64, in 256 colours: half the size, and the eye sees no difference."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    file = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return min(picture, base64.b64encode(file.getvalue()).decode(), key=len)


def save(name: str, budget: str) -> None:
    """The notebook with its outputs; and what is known of its minutes is as old as they are."""
    notebook, card = run(name, budget, 0)
    nbformat.write(notebook, LESSONS / f"{name}.ipynb")
    known = expected()
    if record := known.get(name, {}).get(budget):
        record |= {"seconds": card["seconds"], "machine": card["machine"]}
        write_json(LESSONS / "expected.json", known)


def refresh(name: str) -> None:
    """Run at the smoke budget, and store of it what is the same at every budget: the map, which
    changes with the course, and what checks say, which changes with them."""
    stored = nbformat.read(LESSONS / f"{name}.ipynb", 4)
    for cell, anew in zip(stored.cells, run(name, "smoke", 0)[0].cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = anew.execution_count   # cells may have come in between
        if re.match(r"check\(", cell.source):
            cell.outputs = anew.outputs
        elif "lesson.map()" in cell.source:       # its first line names the budget
            cell.outputs = [one for one in cell.outputs if "data" not in one] + [
                one for one in anew.outputs if "data" in one]
    nbformat.write(stored, LESSONS / f"{name}.ipynb")


def measure(name: str, budget: str, seeds: list[int]) -> None:
    """Into expected.json: the values of the first seed, and a band round those of all seeds. What
    the run with the first seed showed is stored too: there the values come from."""
    cards = [run(name, budget, seed)[1] for seed in seeds[1:]]

    notebook, _ = run(name, budget, seeds[0], lambda first: store(name, budget, [first, *cards]))
    nbformat.write(notebook, LESSONS / f"{name}.ipynb")


def store(name: str, budget: str, cards: list[dict]) -> None:
    """Cards of one lesson and several seeds, the one that is shown first, into expected.json."""
    first, known = cards[0], expected()
    metrics = {metric: {"value": value, "band": band([card["metrics"][metric] for card in cards])}
               for metric, value in first["metrics"].items()}
    known.setdefault(name, {})[budget] = {
        "seed": first["seed"], "seeds": [card["seed"] for card in cards],
        "seconds": first["seconds"], "machine": first["machine"], "metrics": metrics,
        "reference": first["reference"]}
    write_json(LESSONS / "expected.json", dict(sorted(known.items())))


def learn_from(file: Path) -> None:
    """Into expected.json what such a file has of lessons; all else in it, and what learnt nothing,
    is passed over."""
    found: dict[tuple[str, str], list[dict]] = {}
    for line in map(json.loads, file.read_text().splitlines()):
        if line.get("part") == "lesson" and "metrics" in line and line["budget"] != "smoke":
            found.setdefault((line["lesson"], line["budget"]), []).append(line)
    for (name, budget), cards in found.items():
        store(name, budget, sorted(cards, key=lambda card: card["seed"]))
        print(f"{name}, {budget}: from {file}")
    if not found:
        sys.exit(f"{file} has no card of a lesson; it should be one that make gpu wrote")


def expected() -> dict:
    path = LESSONS / "expected.json"
    return json.loads(path.read_text()) if path.exists() else {}


def band(values: list[float]) -> list[float]:
    """As far below and above what was seen as that spreads; a share stays one, and a count that is
    always the same stays that."""
    if all(isinstance(value, int) and value == values[0] for value in values):
        return [values[0], values[0]]
    spread = max(max(values) - min(values), 0.02 * max(map(abs, values)))
    low, high = min(values) - spread, max(values) + spread
    if all(0 <= value <= 1 for value in values):
        low, high = max(0.0, low), min(1.0, high)
    # outwards: a value of 0.00002 lies in its band too
    return [math.floor(round(1e4 * low, 6)) / 1e4, math.ceil(round(1e4 * high, 6)) / 1e4]


if __name__ == "__main__":
    main()
