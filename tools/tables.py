"""The tables that README.md and INSTRUCTOR.md take from the lessons and the banks of exercises.

    python tools/tables.py        write them anew

in -> out   lessons/*.ipynb, lessons/expected.json, the exercises -> what stands between marks of
            README.md and INSTRUCTOR.md
idea        What can be looked up is not typed: minutes, results, objectives, exercises and their
            common mistakes stand where they belong, and these two files quote them.
"""
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from minidalle.checkpoint import write
from minidalle.course.checks import Exercise, exercises
from minidalle.course.lesson import number

ROOT = Path(__file__).resolve().parent.parent
MARKS = "<!-- lessons: made by make tables -->", "<!-- end of lessons -->"


def main() -> None:
    for name, table in (("README.md", readme), ("INSTRUCTOR.md", instructor)):
        put(ROOT / name, table(lessons()))


def put(path: Path, text: str) -> None:
    """Between the two marks of a file."""
    before, rest = path.read_text(encoding="utf8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    whole = f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}"
    write(path, lambda temporary: temporary.write_text(whole, encoding="utf8"))


# ---- what is known of a lesson ----

@dataclass(frozen=True)
class Known:
    name: str                  # "03_transformer"
    head: str                  # the text of its first cell
    budgets: dict              # its entry in expected.json
    exercises: list[Exercise]

    @cached_property
    def title(self) -> str:
        return re.match(r"# (\d\d\. [^:]*): ", self.head)[1]

    @cached_property
    def question(self) -> str:
        text = re.match(r"# \d\d\. [^:]*: (.*)", self.head)[1]
        return text[0].upper() + text[1:]

    @cached_property
    def idea(self) -> str:
        """The paper that the lesson is about, where its file names one."""
        return PAPERS.get(self.name, "-")

    @cached_property
    def reading(self) -> int:
        """Minutes to read and write."""
        return int(re.search(r"[Aa]bout (\d+) minutes to read", self.head)[1])

    @cached_property
    def objectives(self) -> list[str]:
        """The items of "After this lesson you can", each on one line."""
        block = re.search(r"you can\**:?\**\s*\n((?:- .*\n(?:(?!- |\n).*\n)*)+)", self.head)[1]
        return [" ".join(item.split()).rstrip(";.") for item in re.split(r"^- ", block, flags=re.M)
                if item.strip()]

    def running(self, budget: str) -> str:
        """Minutes to run, as measured."""
        if budget not in self.budgets:
            return "-"
        return f"{max(1, round(self.budgets[budget]['seconds'] / 60))} min"

    @cached_property
    def result(self) -> str:
        """The first line of its card."""
        metric, entry = next(iter(self.budgets["cpu"]["metrics"].items()))
        return f"{metric}: {number(entry['value'])}"


PAPERS = {                     # the idea each lesson is about, and where it comes from
    "00_map": "the roads",
    "01_data": "captions and factors",
    "02_tokenizer": "byte-pair encoding ([1508.07909](https://arxiv.org/abs/1508.07909))",
    "03_transformer": "attention ([1706.03762](https://arxiv.org/abs/1706.03762))",
    "04_clip": "contrastive learning ([2103.00020](https://arxiv.org/abs/2103.00020))",
    "05_metrics": "FID ([1706.08500](https://arxiv.org/abs/1706.08500)), precision and recall "
                  "([1904.06991](https://arxiv.org/abs/1904.06991))",
    "06_vae": "the VAE ([1312.6114](https://arxiv.org/abs/1312.6114))",
    "07_dvae": "discrete codes ([1611.01144](https://arxiv.org/abs/1611.01144), "
               "[1711.00937](https://arxiv.org/abs/1711.00937))",
    "08_dalle": "DALL-E ([2102.12092](https://arxiv.org/abs/2102.12092))",
    "09_gan": "the GAN ([1406.2661](https://arxiv.org/abs/1406.2661)), with captions "
              "([1605.05396](https://arxiv.org/abs/1605.05396))",
    "10_diffusion": "DDPM ([2006.11239](https://arxiv.org/abs/2006.11239)), DDIM "
                    "([2010.02502](https://arxiv.org/abs/2010.02502))",
    "11_unet": "the UNet ([1505.04597](https://arxiv.org/abs/1505.04597))",
    "12_prior": "the priors of DALL-E 2 ([2204.06125](https://arxiv.org/abs/2204.06125), 2.2)",
    "13_unclip": "DALL-E 2 ([2204.06125](https://arxiv.org/abs/2204.06125))",
    "14_latent": "Stable Diffusion ([2112.10752](https://arxiv.org/abs/2112.10752))",
    "15_imagen": "Imagen ([2205.11487](https://arxiv.org/abs/2205.11487))",
    "16_compare": "composition ([2310.09336](https://arxiv.org/abs/2310.09336)), copying "
                  "([2505.17638](https://arxiv.org/abs/2505.17638)), bias "
                  "([2308.00755](https://arxiv.org/abs/2308.00755)), Tree-Ring "
                  "([2305.20030](https://arxiv.org/abs/2305.20030))",
    "17_scale": "scaling laws ([2001.08361](https://arxiv.org/abs/2001.08361)), data parallel "
                "([2006.15704](https://arxiv.org/abs/2006.15704))",
    "18_flow": "rectified flow ([2209.03003](https://arxiv.org/abs/2209.03003)), the diffusion "
               "transformer ([2212.09748](https://arxiv.org/abs/2212.09748))"}


def lessons() -> list[Known]:
    """All lessons that have been measured, in their order."""
    folder = ROOT / "lessons"
    measured = json.loads((folder / "expected.json").read_text())
    return [Known(name, nbformat.read(folder / f"{name}.ipynb", 4).cells[0].source + "\n", budgets,
                  [one for one in exercises() if one.lesson == name])
            for name, budgets in sorted(measured.items())]


# ---- the two texts ----

def readme(known: list[Known]) -> str:
    """A line for each lesson: its question, whose idea, what you write, how long, what comes."""
    return table(("lesson", "the question", "the idea", "you write", "to read", "to run: CPU",
                  "GPU", "comes out"), [
        (f"[{one.name}](lessons/{one.name}.ipynb)", one.question, one.idea,
         ", ".join(f"`{exercise.name.split('.')[1]}`" for exercise in one.exercises),
         f"{one.reading} min", one.running("cpu"), one.running("gpu"), one.result)
        for one in known])


def instructor(known: list[Known]) -> str:
    """Hours and points; then for each lesson its objectives and the mistakes to expect."""
    return "\n\n".join([hours(known), *map(chapter, known)])


def hours(known: list[Known]) -> str:
    rows = [(one.name, f"{one.reading} min", one.running("cpu"), str(len(one.exercises)),
             str(points(one)), f"{quarters(one.reading):.2f}".rstrip("0").rstrip("."))
            for one in known]
    total = ("all", f"{sum(one.reading for one in known)} min", "",
             str(sum(len(one.exercises) for one in known)), str(sum(map(points, known))),
             f"{sum(quarters(one.reading) for one in known):g}")
    return "### Hours and points\n\n" + table(
        ("lesson", "to read and write", "to run (two CPU cores)", "exercises", "points",
         "hours to plan"), [*rows, total])


def points(one: Known) -> int:
    return sum(exercise.points for exercise in one.exercises)


def quarters(minutes: int) -> float:
    """Hours to plan: half as much again as the reader in the head of the lesson needs, in steps
    of a quarter."""
    return math.ceil(1.5 * minutes / 15) / 4


def chapter(one: Known) -> str:
    """A lesson: its question, what students can do after it, and what they get wrong."""
    lines = [f"### {one.title}", "", f"*{one.question}* After it students can", "",
             *(f"- {item};" for item in one.objectives[:-1]), f"- {one.objectives[-1]}.", ""]
    for exercise in one.exercises:
        s = "s"[:exercise.points != 1]
        lines += [f"**`{exercise.name}`** ({exercise.points} point{s}). {told(exercise)}.", ""]
    return "\n".join(lines).rstrip()


def told(exercise) -> str:
    """What is known of its answers: the mistakes by name, or of a result its bands."""
    if not exercise.mistakes:
        bands = ", ".join(f"{band:g}" for band in exercise.bands)
        return f"A point each from these shares of right pictures on: {bands}"
    return "Known mistakes: " + "; ".join(mistake.name for mistake in exercise.mistakes)


def table(columns: tuple, rows: list[tuple]) -> str:
    """As Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (columns, *rows)]
    return "\n".join([lines[0], "| --- " * len(columns) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
