r"""Lessons: what every notebook needs around its text.

in -> out   the name of a lesson -> its budget, its seed, its place on the map, its result card
idea        A notebook should be about its subject. What all of them share stands here: how long to
            train, where checkpoints lie, how a figure looks, and the card at the end, which sets
            what came out beside what should (lessons/expected.json, made by `make results`).
left out    anything about a single lesson
"""
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import display
from torch import Tensor, nn

from minidalle.checkpoint import read_checkpoint
from minidalle.download import checkout
from minidalle.train import FitConfig, choose_budget, choose_device, fit
from minidalle.workshop.demo import machine, write_json
from minidalle.workshop.pictures import to_pixels
from minidalle.workshop.recipes import Workshop

ROOT = checkout() or Path.cwd()
BLUE, RED, GOLD, GREY = "#1f6f8b", "#b3261e", "#8f6400", "0.43"   # healthy, broken, third, chance
FIGURES = {"figure.dpi": 100, "figure.figsize": (7, 3), "figure.constrained_layout.use": True,
           "font.size": 10, "axes.titlesize": 11, "axes.spines.top": False,
           "axes.spines.right": False, "axes.grid": False, "image.interpolation": "nearest",
           "lines.linewidth": 1.8, "savefig.facecolor": "white"}
ROWS = {                       # the map: rows of lessons, from caption to picture
    "what all roads share": ("01_data", "02_tokenizer", "03_transformer", "04_clip", "05_metrics"),
    "the road of DALL-E": ("07_dvae", "08_dalle"),
    "the road of the GAN": ("09_gan",),
    "the road of DALL-E 2": ("10_diffusion", "11_unet", "12_prior", "13_unclip"),
    "that of Stable Diffusion": ("06_vae", "14_latent"),
    "that of Imagen": ("15_imagen",),
    "behind the roads": ("16_compare", "17_scale"),
    "after the papers": ("18_flow",)}


class Lesson:
    """One lesson, at the budget and seed of MINIDALLE_BUDGET and MINIDALLE_SEED. Its clock runs."""

    def __init__(self, name: str):
        self.name, self.began = name, time.perf_counter()
        self.device = choose_device()
        self.budget = choose_budget(device=self.device)
        self.seed = choose_seed()
        self.runs = Path(os.environ.get("MINIDALLE_RUNS", ROOT / "runs"))
        plt.rcParams.update(FIGURES)
        print(self.announcement())

    def announcement(self) -> str:
        """How long it will take, as measured, and what is going to happen."""
        known = expected().get(self.name, {})
        minutes = [f"{max(1, round(one['seconds'] / 60))} min ({one['machine']})"
                   for one in known.values()]
        # subtle: quiet, as for stored outputs, which hold nothing that changes from run to run
        spoken = minutes and os.environ.get("MINIDALLE_QUIET") != "1"
        took = f"; measured: {', '.join(minutes)}" if spoken else ""
        if self.budget == "smoke":
            took += "; at this budget everything runs and nothing is learnt"
        return f"{self.name} at the {self.budget} budget, seed {self.seed}{took}"

    def pick(self, smoke, cpu, gpu=None):
        """That of the values which belongs to the budget; where gpu is left out, it is as cpu."""
        return {"smoke": smoke, "cpu": cpu, "gpu": cpu if gpu is None else gpu}[self.budget]

    def workshop(self, data: str = "drawn", share: float = 1) -> Workshop:
        """What makes, or loads, the models that lessons share; with a share below 1, sooner."""
        return Workshop(data, self.seed, self.budget, self.runs, self.device.type, share=share)

    def train(self, model: nn.Module, make_batch: Callable, config: FitConfig, name: str = "model"
              ) -> list[tuple[int, float]]:
        """Train a small model that only this lesson has; returns its curve: (step, loss), ...

        Nothing is kept, so a cell that was changed and run again trains anew.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.pt"
            fit(model, make_batch, config, self.seed, path)
            return [(step, loss) for step, loss, *_ in read_checkpoint(path)["log"]]

    def map(self) -> None:
        """Draw the map of the course, with the mark on this lesson."""
        high = 0.1 + 0.5 * len(ROWS)
        axes = plt.figure(figsize=(8.5, high), layout="none").add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 8.5), ylim=(0, high))
        axes.axis("off")
        for row, (label, names) in enumerate(ROWS.items()):
            y = high - 0.3 - 0.5 * row
            axes.text(0.05, y, label, va="center", fontsize=9, color="0.35")
            for i, name in enumerate(names):
                here = name == self.name
                left = 1.65 + 1.38 * i
                axes.add_patch(plt.Rectangle((left, y - 0.17), 1.16, 0.34, edgecolor="0.6",
                                             facecolor=BLUE if here else "white"))
                axes.text(left + 0.58, y, name.replace("_", " "), ha="center", va="center",
                          fontsize=9, color="white" if here else "0.2")
                if i:
                    axes.annotate("", (left, y), (left - 0.22, y),
                                  arrowprops={"arrowstyle": "->", "color": "0.6"})
        rows = "; ".join(f"{label}: {', '.join(names)}" for label, names in ROWS.items())
        if missing := to_come():
            axes.text(8.43, high - 0.8, missing, ha="right", va="center", fontsize=9, color="0.35")
        inside = any(self.name in names for names in ROWS.values())
        mark = f", with the mark on {self.name}" * inside
        see(f"The map of the course{mark}. {rows}. {missing}".rstrip())

    def card(self, metrics: dict[str, float], chance: dict[str, float] | None = None,
             broken: dict[str, float] | None = None) -> None:
        """Print what came out here beside what should, and keep it in runs/cards.

        chance: what a model scores that guesses; broken: what the lesson's planted bug scored.
        """
        chance, broken = chance or {}, broken or {}
        known = expected().get(self.name, {}).get(self.budget, {})
        bands = {name: one["band"] for name, one in known.get("metrics", {}).items()}
        print("\n".join(table(metrics, bands, chance, broken)))
        if self.budget == "smoke":
            print("at the smoke budget nothing is learnt, so these numbers mean nothing")
        write_json(self.runs / "cards" / f"{self.name}-{self.budget}-{self.seed}.json", {
            "lesson": self.name, "budget": self.budget, "seed": self.seed,
            "seconds": round(time.perf_counter() - self.began),
            "machine": machine(self.device), "metrics": metrics,
            "reference": {"chance": chance, "broken": broken}})


def to_come() -> str:
    """The numbers of the lessons that the map leaves out, as a sentence; nothing if all are there.
    """
    there = {int(name[:2]) for names in ROWS.values() for name in names}
    numbers = [f"{number:02}" for number in range(1, max(there)) if number not in there]
    *others, last = numbers or [""]
    return f"{', '.join(others)} and {last} are still to come." if others else \
        f"{last} is still to come." if last else ""


def choose_seed() -> int:
    """That of MINIDALLE_SEED, or 0."""
    text = os.environ.get("MINIDALLE_SEED", "0")
    if not text.isdecimal() or int(text) >= 2 ** 32:
        raise ValueError(f"MINIDALLE_SEED is {text[:40]!r}; set it to a whole number from 0 to "
                         f"{2 ** 32 - 1}")
    return int(text)


def expected() -> dict:
    """What the lessons should give: expected.json beside the notebook, or in lessons/."""
    for folder in (Path.cwd(), ROOT / "lessons"):
        if (folder / "expected.json").exists():
            return json.loads((folder / "expected.json").read_text())
    return {}


def table(metrics: dict, bands: dict, chance: dict, broken: dict) -> list[str]:
    """The card, line by line. A value outside its band is marked."""
    wide = max(map(len, metrics))
    lines = [f"{'':{wide}}  {'here':>8}  {'expected':>18}  {'chance':>8}  {'broken':>8}"]
    for name, value in metrics.items():
        low, high = bands.get(name, (None, None))
        band = "not measured yet" if low is None else f"{number(low)} to {number(high)}"
        mark = "" if low is None or low <= value <= high else "  <- outside"
        lines.append(f"{name:{wide}}  {number(value):>8}  {band:>18}  "
                     f"{number(chance.get(name)):>8}  {number(broken.get(name)):>8}{mark}")
    return lines


def number(value: float | None) -> str:
    """Three digits behind the point, one from 10 on, none for whole numbers."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show(images: Tensor, captions: list[str] | None = None, columns: int = 8, title: str = "",
         colours: list[str] | None = None, side: float = 1.05, alt: str = "") -> None:
    """Pictures (N, 3, H, W) in [-1, 1] in rows, each with its caption above it; a row without any
    takes no room for them. `alt` says what is to be seen, where title and captions do not."""
    rows, captions = -(-len(images) // columns), captions or []
    lines = [max((caption.count("\n") + bool(caption) for caption in captions[i:i + columns]),
                 default=0) for i in range(0, rows * columns, columns)]
    high = side * rows + sum(0.16 * n + 0.05 * bool(n) for n in lines)     # in inches
    high += 0.28 * (title.count("\n") + bool(title))
    figure, grid = plt.subplots(rows, columns, squeeze=False, figsize=(side * columns, high))
    for i, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        # white paper ends somewhere, too
        axes.spines[:].set(visible=i < len(images), color="0.75", linewidth=0.6)
        if i < len(images):
            axes.imshow(to_pixels(images[i]))
        if i < len(captions):
            axes.set_title(captions[i], fontsize=9, color=colours[i] if colours else "black")
    figure.suptitle(title, fontsize=11)
    words = alt or ". ".join(filter(None, (title, ", ".join(filter(None, captions)))))
    see(words.replace("\n", " "))


def see(alt: str) -> None:
    """Show the open figure, as plt.show() does, with words for those who cannot see it: what it
    shows and what is to be found in it, in one to three sentences."""
    if not alt.strip():
        raise ValueError("the figure has no alternative text; pass see(alt) a sentence that says "
                         "what it shows")
    figure = plt.gcf()
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)
