"""What can be typed after python -m minidalle: the commands, their options, their help."""
import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

from minidalle import __version__
from minidalle.train import BUDGETS
from minidalle.workshop.pictures import HALVES
from minidalle.workshop.recipes import ROADS, STAGES, WORLDS

EXAMPLES = """examples:
  python -m minidalle demo                  train everything, score it, draw runs/demo.png
  python -m minidalle draw "a red seven on blue" --out seven.png
  python -m minidalle draw "a red seven on blue" "a pink 3 on black paper" --samples 4
  python -m minidalle demo --data mnist     the same with handwritten digits
  python -m minidalle compare               every road on the same captions: runs/compare.png
  python -m minidalle draw --model dalle "a red seven on blue" --best 8
  python -m minidalle draw --complete half.png "a red seven on blue"
  python -m minidalle draw --from seven.png "a red two on blue" --strength 0.6
  python -m minidalle vary seven.png        other pictures of what is in this one
  python -m minidalle edit seven.png "a red seven on blue" "a red seven on pink"
  python -m minidalle inpaint seven.png "a red two on blue" --mask bottom
  python -m minidalle caption seven.png     what a picture shows, in words
  python -m minidalle train dalle           train (or load) this stage and what it learns from
  python -m minidalle score                 measure what is trained
  python -m minidalle speedrun              train three seeds anew, against the clock
  python -m minidalle grade hw/03*.ipynb    what passes in these notebooks of students"""
LARGEST = 2 ** 32 - 1          # seed
JUDGE = ("The judge measures; arprior is the other prior of DALL-E 2, which lesson 12 compares "
         "with the first; captioner is DALL-E once more, which has learnt to say what it sees.")
NOTES = """A run belongs to its data, budget and seed: its models lie in runs/DATA-BUDGET-SEED, each
with a CSV log and a picture of its loss. A second run loads them; --fresh trains anew; Ctrl-C stops
a training, and the same command takes it up again. What draws takes the models of seed 0, or those
of --train-seed: its own --seed draws another picture with the same models, and trains nothing."""


def epilog() -> str:
    """What stands below the commands: examples, the roads, and where things are."""
    roads = "; ".join(f"{model}, that of {road.idea} (stages {', '.join(road.stages)})"
                      for model, road in ROADS.items())
    roads = textwrap.fill(f"The roads from caption to picture are {roads}. {JUDGE}", 96)
    return f"{EXAMPLES}\n\n{roads}\n\n{NOTES}"


def parser() -> argparse.ArgumentParser:
    """All commands share the options that say which models are meant."""
    line = argparse.ArgumentParser(
        prog="python -m minidalle", epilog=epilog(),
        description="Captions become pictures, by models trained on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--version", action="version", version=f"minidalle {__version__}")
    commands = line.add_subparsers(dest="command", metavar="command")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=[common()])

    demo = command("demo", "train or load every model, score them, draw the demo picture")
    compare = command("compare", "train or load every road; one table and one picture of all")
    train = command("train", "train the models, or only some of them and what they need")
    draw = command("draw", "draw captions with the trained models")
    score = command("score", "measure the trained models with the judge")
    for one in (demo, train, draw, score):
        add_model(one)
    for one in (demo, compare, train, score):
        add_seed(one)
    train.add_argument("stages", nargs="*", metavar="stage",
                       help=f"{', '.join(STAGES)} (default: judge and those of --model)")
    for one in (score, compare):
        one.add_argument("--samples", type=whole(4, 10 ** 6), help="pictures a row (default 1000)")
    compare.add_argument("--roads", type=some_roads, default=tuple(ROADS), metavar="A,B",
                         help=f"which roads, in which order (default {','.join(ROADS)})")
    compare.add_argument("--json", type=Path, metavar="FILE",
                         help="where the table is written as JSON (default: beside the picture)")
    add_drawing(draw)
    add_models_of(draw)
    vary, blend, edit, inpaint = changing = [command(name, CHANGES[name]) for name in CHANGES]
    for change, add in zip(changing, (add_vary, add_blend, add_edit, add_inpaint), strict=True):
        add(change)
        add_page(change)
        add_models_of(change)
    for one in (draw, vary, blend, inpaint):
        add_noise(one)
    caption = command("caption", "say in words what pictures show")
    add_caption(caption)
    add_models_of(caption)
    add_speedrun(commands)
    checks = commands.add_parser("checks", help="list the exercises of the lessons",
                                 description="List the exercises of the lessons, and the mistakes "
                                             "that each of them knows by name.")
    checks.add_argument("--json", action="store_true", help="as JSON, for programs")
    add_grading(commands)
    for needy in (draw, score, caption, *changing):
        needy.add_argument("--train", action="store_true", help="train first what is missing")
    return line


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", choices=ROADS, help="the road: " + " or ".join(
        model + " (default)" * (i == 0) for i, model in enumerate(ROADS)))


def add_seed(command: argparse.ArgumentParser) -> None:
    """Of whatever trains or measures."""
    command.add_argument("--seed", dest="train_seed", type=whole(0, LARGEST), default=0,
                         metavar="N",
                         help="of the models, and of what is drawn to measure them (default 0)")


def add_models_of(command: argparse.ArgumentParser) -> None:
    """Of whatever draws: which models are meant."""
    command.add_argument("--train-seed", type=whole(0, LARGEST), default=0, metavar="N",
                         help="with which --seed the models were trained (default 0)")


def add_noise(command: argparse.ArgumentParser) -> None:
    """Of whatever draws at random; an edit does not."""
    command.add_argument("--seed", type=whole(0, LARGEST), default=0, metavar="N",
                         help="of the noise: another seed, another picture, by the same models; "
                              "same seed, same picture, whatever is drawn beside it (default 0); "
                              "only the rounding of a larger batch may move a pixel by 1/255")


def add_speedrun(commands) -> None:
    """It trains anew, for seeds from 0 up, and touches no run."""
    text = ("train a road from nothing, for several seeds, and say as JSON lines how good it is "
            "after how many seconds")
    speedrun = commands.add_parser("speedrun", help=text, description=f"{text}. The rules of a "
                                   "record are in bench/README.md.")
    add_model(speedrun)
    add_world(speedrun)
    speedrun.add_argument("--seeds", type=whole(1, 1000), default=3, metavar="N",
                          help="seeds 0 to N - 1 (default 3, as a record needs)")
    speedrun.add_argument("--out", type=Path, metavar="FILE",
                          help="add what came out to this file, for example bench/records.jsonl")
    speedrun.add_argument("--note", metavar="TEXT", help="the sentence on what made it, for --out")


CHANGES = {                    # what a road can do to pictures: manipulate.py
    "vary": "draw other pictures of what is in a picture",
    "blend": "draw the pictures between two pictures",
    "edit": "change a picture as one caption differs from another",
    "inpaint": "draw a part of a picture anew, so that a caption holds"}


def add_file(change: argparse.ArgumentParser, name: str = "file") -> None:
    change.add_argument(name, type=Path, metavar="FILE",
                        help="a square picture of any size; it is made as small as the models' own")


def add_vary(vary: argparse.ArgumentParser) -> None:
    add_file(vary)
    vary.add_argument("--eta", type=number(0, 1), default=1.0, metavar="E",
                      help="how much is drawn anew: 0 is the picture itself, 1 all that its vector "
                           "does not say (default 1)")


def add_blend(blend: argparse.ArgumentParser) -> None:
    add_file(blend, "first")
    add_file(blend, "second")


def add_edit(edit: argparse.ArgumentParser) -> None:
    add_file(edit)
    edit.add_argument("before", help="a caption of the picture as it is, in quotation marks")
    edit.add_argument("after", help="a caption of the picture as it should be")
    edit.add_argument("--strength", type=number(0, 1), default=0.5, metavar="S",
                      help="how far the last picture goes: 0 changes nothing, 1 forgets the "
                           "picture (default 0.5)")


def add_inpaint(inpaint: argparse.ArgumentParser) -> None:
    add_file(inpaint)
    inpaint.add_argument("caption", help="what the whole picture should show, in quotation marks")
    inpaint.add_argument("--mask", required=True, metavar="|".join((*HALVES, "FILE")),
                         help=f"where to draw: {', '.join(HALVES)}, or a picture that is white "
                              "there and black where nothing may change")


def add_caption(caption: argparse.ArgumentParser) -> None:
    caption.add_argument("files", nargs="+", type=Path, metavar="FILE",
                         help="a picture of any size; of one that is not square the middle is read")


def add_page(change: argparse.ArgumentParser) -> None:
    """The row of pictures that is written: first what was given."""
    change.add_argument("--samples", type=whole(1, 1000), default=8,
                        help="pictures to draw (default 8)")
    change.add_argument("--scale", type=whole(1, 64), default=8,
                        help="screen pixels for each pixel of the picture (default 8)")


GRADING = """Run each notebook afresh, in a process of its own, and say exercise by exercise what
passes, with points. Only functions that the notebook itself defines count; where one is defined
several times, the last counts."""

CAREFUL = """This runs the students' code on this machine, with your rights: with --isolate none it
can read, change and send whatever you can, and otherwise it can still read much. Grade the work of
strangers in a container, or on a machine with nothing to lose. And a function that calls the
package's own answer passes, so glance at the code, and first at what is to be "read by eye".

The exit code is 0 if every file was graded, whatever its points, and 2 if some could not be: no
notebook, or one of no known lesson. Linux and macOS only."""


def add_grading(commands) -> None:
    grade = commands.add_parser("grade", help="say what passes in students' notebooks",
                                description=GRADING, epilog=CAREFUL,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    grade.add_argument("files", nargs="+", type=Path, metavar="FILE",
                       help="a notebook (.ipynb), or a folder: all that are in it")
    grade.add_argument("--csv", type=Path, metavar="FILE",
                       help="write a table too: a row a notebook, a column an exercise. What was "
                            "graded is kept beside it (.jsonl), and taken from there next time")
    grade.add_argument("--fresh", action="store_true", help="grade all anew, and keep nothing")
    grade.add_argument("--jobs", type=number(1, 1000), metavar="N",
                       help="so many notebooks at once (default: as many as there are cores)")
    grade.add_argument("--student", metavar="PATTERN", help="where the student's name stands in "
                       "the path: '{student}/03_*.ipynb', '*_{student}.ipynb'; {id} is a number")
    grade.add_argument("--format", choices=("moodle", "canvas", "gradescope"),
                       help="write what this system reads, into the file --out")
    grade.add_argument("--out", type=Path, metavar="FILE", help="a .csv, for gradescope a .json")
    grade.add_argument("--seconds", type=number(1, 10 ** 6), default=300, metavar="S",
                       help="end a notebook after so many seconds; what was judged before stands "
                            "(default 300)")
    grade.add_argument("--isolate", default="auto",
                       choices=("auto", "bwrap", "unshare", "landlock", "none"),
                       help="shut each notebook in a room without network, other processes and "
                            "places to write to (default auto: what this system has of them)")
    grade.add_argument("--lesson", metavar="03", help="the lesson of all these files, whatever "
                       "their names say")
    grade.add_argument("--budget", choices=BUDGETS, default="smoke",
                       help="how long the notebooks train (default smoke: a handful of steps)")
    grade.add_argument("--verbose", action="store_true", help="print what the student is told")


def common() -> argparse.ArgumentParser:
    """Options of every command: which models are meant, and where they are."""
    common = argparse.ArgumentParser(add_help=False)
    add_world(common)
    common.add_argument("--out", type=Path, metavar="PATH",
                        help="the folder of the models and of what is written (default runs); or, "
                             "ending in .png, only the picture's file")
    common.add_argument("--fresh", action="store_true",
                        help="train anew, in place of what was trained before")
    return common


def add_world(common: argparse.ArgumentParser) -> None:
    """What is drawn, how long is trained, and on what."""
    common.add_argument("--data", choices=WORLDS, default="drawn",
                        help="digits drawn from fonts (default), MNIST's digits, CIFAR-10, or "
                             "pairs of drawn digits")
    common.add_argument("--budget", choices=BUDGETS,
                        help="how long to train: smoke (seconds, learns nothing), cpu (minutes), "
                             "gpu; default: MINIDALLE_BUDGET, or gpu where there is one, else cpu")
    common.add_argument("--device", help="cuda, mps or cpu (default: the best one here)")


def add_drawing(draw: argparse.ArgumentParser) -> None:
    """What is drawn, and the knobs: those left alone stay as the model has them."""
    draw.add_argument("captions", nargs="+", metavar="caption",
                      help="what to draw, each in quotation marks; one row of pictures for each")
    draw.add_argument("--samples", type=whole(1, 1000), default=1,
                      help="pictures for each caption, each from noise of its own, the same in "
                           "every row (default 1)")
    draw.add_argument("--scale", type=whole(1, 64), default=8,
                      help="screen pixels for each pixel of the picture (default 8)")
    draw.add_argument("--best", type=whole(1, 1000), default=1, metavar="N",
                      help="draw N for each picture and keep the one that CLIP likes best")
    draw.add_argument("--labels", action=argparse.BooleanOptionalAction,
                      help="write each caption into the picture, left of its row (default: of "
                           "several captions, yes)")
    add_knobs(draw)


def add_knobs(draw: argparse.ArgumentParser) -> None:
    """What every road takes stands among the options; what some take, under their names."""
    knobs = {knob.name: knob for road in ROADS.values() for knob in road.knobs}
    groups = {tuple(ROADS): draw}
    for name in dict.fromkeys(name for road in ROADS.values() for name in road.options):
        able = tuple(model for model, road in ROADS.items() if name in road.options)
        if able not in groups:
            groups[able] = draw.add_argument_group(f"only with --model {' or '.join(able)}")
        if name in FROM_PICTURES:
            groups[able].add_argument(f"--{name}", **FROM_PICTURES[name])
            continue
        knob = knobs[name]
        groups[able].add_argument(
            f"--{name.replace('_', '-')}", metavar=knob.letter, help=knob.help + usually(name),
            type=str if knob.words else (whole if knob.whole else number)(knob.least, knob.most))


def usually(name: str) -> str:
    """What a knob is if it is left alone, where that differs from road to road."""
    usual: dict[float, list[str]] = {}
    for model, road in ROADS.items():
        for knob in road.knobs:
            if knob.name == name and knob.usual is not None:
                usual.setdefault(knob.usual, []).append(model)
    said = "; ".join(f"{value:g} with {', '.join(models)}" for value, models in usual.items())
    return f" (default {said})" if said else ""


def whole(least: int, most: int) -> Callable[[str], int]:
    """For argparse: a text as a whole number between two others, both included."""
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} "
                                             f"to {most}")
        return int(text)
    return read


def some_roads(text: str) -> tuple[str, ...]:
    """For argparse: names of roads, each once, between commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= set(ROADS) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} does not name roads, each once, between "
                                         f"commas; choose among {', '.join(ROADS)}")
    return names


def number(least: float, most: float) -> Callable[[str], float]:
    """For argparse: a text as a number between two others, both included."""
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")               # which lies nowhere
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from {least} to "
                                             f"{most}")
        return value
    return read


FROM_PICTURES = {              # what begins with a picture that is there
    "complete": dict(type=Path, metavar="FILE", help="go on below the upper half of this square "
                                                     "picture, or below all of a flatter one"),
    "from": dict(type=Path, metavar="FILE", help="start from this square picture, made noisy"),
    "strength": dict(type=number(0, 1), metavar="S",
                     help="how noisy, with --from: 0 keeps the picture, 1 forgets it "
                          "(default 0.8)")}
