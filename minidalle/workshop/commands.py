"""The command line: python -m minidalle demo | compare | train | draw | vary | blend | edit |
inpaint | caption | score | speedrun; checks and grade belong to the course (course/commands.py)."""
import difflib
import json
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import MappingProxyType

from minidalle import parallel
from minidalle.data import plain_text, split_words
from minidalle.download import checkout
from minidalle.train import SAVE_EVERY, choose_budget, choose_device
from minidalle.workshop.looking import hidden
from minidalle.workshop.options import parser
from minidalle.workshop.recipes import ROADS, STAGES, Workshop

PAGE = 2 ** 27                 # pixels of the largest page: with all copies, some GB of memory
GUIDANCE = 4                   # right at 4, 6 and 10: dalle 0.93, 0.70, 0.35; unclip falls later
LESSONS = ("the lessons stay in the repository, and are no part of an installed package: in a "
           "clone of it make lab opens them")
FEW = 6                        # notes on captions that are printed one by one
PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf")


def folder_and_picture(out: Path | None, name: str, budget: str = "cpu") -> tuple[Path, Path]:
    """--out as the folder of the models and the file of the picture. What smoke draws lies apart,
    and not over what shows something."""
    if out is not None and out.suffix.lower() == ".png":
        return Path("runs"), out
    if out is not None and out.suffix.lower() in PICTURES:
        raise ValueError(f"--out is {out}, and pictures are written as .png only; name a .png, or "
                         "a folder")
    folder = out or Path("runs")
    return folder, folder / ("smoke" if budget == "smoke" else "") / name


# ---- the commands ---------------------------------------------------------------------------

def run_demo(args, workshop, picture: Path) -> None:
    from minidalle.workshop.demo import demo, table

    check_writable(picture.with_suffix(".json"))
    workshop.make(("judge", *ROADS[args.model].stages))
    if not parallel.first():                   # what follows is for one process
        return
    print(table(demo(workshop, args.model, picture)))
    print(f"picture: {picture}\nfigures: {picture.with_suffix('.json')}")
    if checkout() is None:
        print(LESSONS)


def run_compare(args, workshop, picture: Path) -> None:
    from minidalle.workshop.compare import compare, table

    file = args.json or picture.with_suffix(".json")
    if file.suffix.lower() != ".json":
        raise ValueError(f"--json is {file}; name a file that ends in .json, so that "
                         "nothing else is written over")
    if file.absolute() == picture.absolute():
        raise ValueError(f"--json and --out are both {picture}; name two files")
    check_writable(file, "--json")
    print(table(compare(workshop, picture, file, args.samples, args.roads)))
    print(f"picture: {picture}\nfigures: {file}")


def run_train(args, workshop, picture: Path) -> None:
    for stage in args.stages:
        if stage not in STAGES:
            raise ValueError(f"there is no stage {stage!r}; choose from {', '.join(STAGES)}")
    workshop.make(args.stages or ("judge", *ROADS[args.model].stages))
    for stage, seconds in workshop.seconds.items():
        print(f"{stage}: {seconds:.0f} s of training, {workshop.path(stage)}")


def run_draw(args, workshop, picture: Path) -> None:
    from minidalle.workshop.demo import draw_many

    check_captions(args.captions, workshop)
    check_pushing(args, workshop)
    paint = painter(args, workshop, picture)
    if (args.guidance or 0) > GUIDANCE:
        print(f"--guidance above {GUIDANCE} exaggerates until pictures get worse; 1 to "
              f"{GUIDANCE} is usual", file=sys.stderr)
    labels = row_labels(args, workshop)
    check_page(len(args.captions) * args.samples, args.samples, args.scale, workshop.world.size,
               labels.wide if labels else 0)
    need_models(args, workshop, ROADS[args.model].needs(args.best))
    captions = [workshop.world.grammar.known_words(caption) for caption in args.captions]
    workshop.tokenizer.batch(captions)         # says now, above the bars, if one is too long
    warnings.filterwarnings("ignore", message=".* captions cut to fit")    # and so not once more
    every = [caption for caption in captions for _ in range(args.samples)]
    numbers = [*range(args.samples)] * len(captions)           # whatever stands in the other rows
    images = draw_many(workshop, paint(), every, args.seed, args.best, numbers)
    write_page(picture, images, args.samples, args.scale, labels)
    print(f"{len(images)} picture{'s' * (len(images) > 1)} in {printable(picture)}")
    if len(captions) > 1:
        for i, caption in enumerate(args.captions):
            print(f"  row {i + 1}: {short(caption, 80)}")


def row_labels(args, workshop):
    """The captions as they will stand beside their rows; of one caption only if asked for."""
    from minidalle.workshop.pictures import Labels

    if not (len(args.captions) > 1 if args.labels is None else args.labels):
        return None
    return Labels([short(caption, 200) for caption in args.captions],
                  workshop.world.size * args.scale, args.scale)


def write_page(picture: Path, images, columns: int, scale: int, labels=None) -> None:
    """Pictures (N, 3, H, W) in rows of so many, as a file."""
    from PIL import Image

    from minidalle.checkpoint import write
    from minidalle.workshop.pictures import tile, to_pixels

    page = Image.fromarray(to_pixels(tile(images, columns, scale)))
    page = labels.beside(page) if labels else page
    write(picture, lambda temporary: page.save(temporary))


def painter(args, workshop, picture: Path) -> Callable[[], Callable]:
    """What makes ready what draws, with the knobs that were set; it goes on below a given picture,
    or starts from it, if there is one, which is read now and never to be written over."""
    from minidalle.workshop.pictures import read_picture, read_square

    road = ROADS[args.model]
    knobs = {knob.name: getattr(args, knob.name) for knob in road.knobs}
    paint, start = partial(workshop.painter, args.model), getattr(args, "from")
    if args.complete:
        paint = partial(road.complete, workshop, read_picture(args.complete))
        check_kept(picture, args.complete, "the picture to complete")
    if start:
        paint = partial(road.redraw, workshop, read_square(start, workshop.world.size))
        check_kept(picture, start, "the picture to start from")
        knobs["strength"] = args.strength
    elif args.strength is not None:
        raise ValueError("--strength says how much of a picture is forgotten, and there is none; "
                         "add --from PICTURE, or leave it out")
    knobs = {name: value for name, value in knobs.items() if value is not None}
    return lambda: partial(paint(), **knobs)


def check_pushing(args, workshop) -> None:
    """A negative caption is one like any other, and needs guidance that pushes."""
    if args.negative is None:
        return
    if args.guidance is not None and args.guidance <= 1:
        raise ValueError(f"--negative is pushed away from by guidance above 1, and --guidance is "
                         f"{args.guidance:g}; take 2, or leave one of them out")
    [args.negative] = known(workshop, args.negative)


def run_vary(args, workshop, picture: Path) -> None:
    from minidalle.manipulate import vary
    from minidalle.train import seeded_each

    [image] = given_pictures(args, workshop, picture, args.file)
    need_models(args, workshop, ROADS["unclip"].stages)
    images = vary(workshop.unclip(), image, args.samples,
                  seeded_each(args.seed, range(args.samples)), args.eta)
    write_row(args, picture, [image, *images], "after the given one")


def run_blend(args, workshop, picture: Path) -> None:
    from minidalle.manipulate import blend
    from minidalle.train import seeded

    first, second = given_pictures(args, workshop, picture, args.first, args.second)
    need_models(args, workshop, ROADS["unclip"].stages)
    images = blend(workshop.unclip(), first, second, args.samples, seeded(args.seed))
    write_row(args, picture, [first, *images, second], "between the two given ones")


def run_edit(args, workshop, picture: Path) -> None:
    import torch

    from minidalle.manipulate import edit
    from minidalle.workshop.looking import right_strength, wrong_before

    [image] = given_pictures(args, workshop, picture, args.file)
    before, after = captions = known(workshop, args.before, args.after)
    if before == after:
        raise ValueError(f"both captions say {short(before, 60)!r}; let the second one say what "
                         "is to change")
    need_models(args, workshop, ROADS["unclip"].stages)
    if workshop.budget != "smoke":             # at which CLIP has learnt nothing either
        note(wrong_before(workshop, image, before, args.file))
    steps = torch.arange(1, args.samples + 1, device=workshop.device)
    strength = args.strength * steps / args.samples
    images = edit(workshop.unclip(), image.expand(args.samples, -1, -1, -1),
                  *([caption] * args.samples for caption in captions), strength[:, None])
    write_row(args, picture, [image, *images], "after the given one; strength "
              + " ".join(f"{s:.2g}" for s in strength.tolist()))
    if workshop.budget != "smoke":
        note(right_strength(workshop, images, after, strength.tolist()))


def note(text: str) -> None:
    """On stderr, if there is something to say."""
    if text:
        print(printable(text), file=sys.stderr)


def run_inpaint(args, workshop, picture: Path) -> None:
    from minidalle.manipulate import inpaint
    from minidalle.train import seeded_each
    from minidalle.workshop.pictures import HALVES, read_mask

    [image] = given_pictures(args, workshop, picture, args.file)
    mask = read_mask(args.mask, workshop.world.size).to(workshop.device)
    if args.mask not in HALVES:
        check_kept(picture, Path(args.mask), "the mask")
    captions = known(workshop, args.caption) * args.samples
    need_models(args, workshop, ROADS["unclip"].stages)
    images = inpaint(workshop.unclip(), image.expand(args.samples, -1, -1, -1), mask, captions,
                     seeded_each(args.seed, range(args.samples)))
    hole = image.masked_fill(mask, 0.6)                        # grey, as in the demo's strip
    write_row(args, picture, [hole, *images], "after what is known")


def run_caption(args, workshop, picture: Path) -> None:
    """A line for each picture, with its name where there are several."""
    import torch

    from minidalle.caption import picture_to_caption
    from minidalle.train import seeded
    from minidalle.workshop.pictures import read_middle

    images = torch.stack([read_middle(file, workshop.world.size) for file in args.files])
    need_models(args, workshop, ("dvae", "dalle", "captioner"), "train", "captioner")
    road = workshop.caption_road()             # one by one, so that none depends on its company
    captions = [picture_to_caption(road, image, seeded(0))[0]
                for image in images.to(workshop.device).split(1)]
    for file, caption in zip(args.files, captions, strict=True):
        print(f"{printable(file)}: " * (len(captions) > 1) + printable(caption))
    for file, caption in zip(args.files, captions, strict=True):
        if workshop.budget != "smoke" and not possible(caption, workshop.world.grammar):
            note(f"{short(caption, 60)!r} is nothing that is seen in this world, so {file} may "
                 "show something else")
    if workshop.budget == "smoke":
        note("smoke budget: nothing was learnt, so these words say nothing")


def possible(caption: str, grammar) -> bool:
    """Whether it is a sentence of this world, of something that could be seen."""
    try:
        return not hidden(caption, grammar)
    except ValueError:
        return False


def given_pictures(args, workshop, picture: Path, *files: Path) -> list:
    """Square pictures as large as the models', each (3, H, W); never to be written over."""
    from minidalle.workshop.pictures import read_square

    pictures = args.samples + len(files)
    check_page(pictures, min(pictures, 10), args.scale, workshop.world.size)
    images = [read_square(file, workshop.world.size).to(workshop.device) for file in files]
    for file in files:
        check_kept(picture, file, "the given picture")
    return images


def known(workshop, *captions: str) -> list[str]:
    """The captions, checked, without the words that this world does not know."""
    check_captions(list(captions), workshop)
    return [workshop.world.grammar.known_words(caption) for caption in captions]


def write_row(args, picture: Path, images: list, where: str) -> None:
    """All pictures side by side; of many, ten a row, and the last row filled up with the grey of
    the gaps. It is said where among them those stand that were drawn."""
    import torch

    from minidalle.workshop.pictures import LINE

    columns = min(len(images), 10)
    blank = [torch.full_like(images[0], LINE)] * (-len(images) % columns)
    write_page(picture, torch.stack(images + blank), columns, args.scale)
    plural = "s" * (args.samples > 1)
    print(f"{args.samples} picture{plural} in {printable(picture)}, {where}")


def run_score(args, workshop, picture: Path) -> None:
    from minidalle.workshop.demo import score, table

    need_models(args, workshop, ("judge", *ROADS[args.model].stages))
    print(table(score(workshop, args.model, args.samples)))


def run_speedrun(args) -> int | None:
    """JSON lines on stdout, all else on stderr; it has a folder of its own, and so no `picture`."""
    from minidalle.workshop.speedrun import keep, speedrun, summary, verdict

    check_record(args)
    model, lines = args.model or next(iter(ROADS)), []
    try:
        for line in speedrun(model, args.data, range(args.seeds), args.budget, args.device,
                             partial(print, file=sys.stderr)):
            print(json.dumps(line), flush=True)
            lines.append(line)
    except KeyboardInterrupt:
        print(f"minidalle: stopped; {len(lines)} of {args.seeds} seeds were run, and nothing is "
              "kept", file=sys.stderr)
        return 130
    result = summary(lines)
    print(json.dumps(result), flush=True)
    print(verdict(result), file=sys.stderr)
    if args.out:
        keep(args.out, result, lines, args.note)
        print(f"one line more in {args.out}", file=sys.stderr)
    return None


def check_record(args) -> None:
    """Where the record will be written, and that it has its sentence."""
    if args.out is None:
        return
    if args.out.suffix.lower() != ".jsonl":
        raise ValueError(f"--out is {args.out}; name a file that ends in .jsonl, for example "
                         "bench/records.jsonl")
    if not args.note or not args.note.strip():
        raise ValueError(f"a line in {args.out} needs a sentence on what made it; add --note "
                         "\"...\"")
    check_writable(args.out)


# ---- what is said before anything is trained ------------------------------------------------

def choose_model(args) -> None:
    """The road that is meant, and nothing asked of it that it does not have."""
    # subtle: edit has a --strength too, and that is another one
    given = {name for road in ROADS.values() for name in road.options
             if getattr(args, name, None) is not None and args.command == "draw"}
    starting = {"complete", "from"} & given    # which chooses the road that can
    args.model = getattr(args, "model", None) or (roads_with(starting) or list(ROADS))[0]
    if useless := sorted(given - set(ROADS[args.model].options)):
        options = " and ".join(f"--{name.replace('_', '-')}" for name in useless)
        verb = "is" if len(useless) == 1 else "are"
        others = "".join(f"add --model {' or '.join(able)}, or "
                         for able in [roads_with(given)] if able)
        raise ValueError(f"{options} {verb} of no use to {args.model}; {others}leave that out")


def roads_with(options: set[str]) -> list[str]:
    """The roads that have all of these options."""
    return [model for model, road in ROADS.items() if options <= set(road.options)]


def check_captions(captions: list[str], workshop) -> None:
    """Refuse a caption without a word of this world; say which of the words it does not know, and
    what is no sentence. Of many captions, the first few stand for all."""
    grammar, notes = workshop.world.grammar, []
    for caption in captions:
        if not grammar.known_words(caption).strip(" ,"):
            what = f"{short(caption, 60)!r} has no word of this world" if caption.strip() else \
                "a caption is empty"
            raise ValueError(f"{what}; write one, for example {sentence_like(caption, grammar)!r}")
        if grammar.unknown_words(caption):
            notes.append(partial(unknown_note, caption, grammar))
        try:
            if hidden(grammar.known_words(caption), grammar):
                notes.append(partial(hidden_note, caption))
        except ValueError:
            notes.append(partial(sentence_note, caption, grammar))
    for note in notes[:FEW]:                   # only these are worked out
        print(note(), file=sys.stderr)
    if len(notes) > FEW:
        print(f"and {len(notes) - FEW} more notes of this kind", file=sys.stderr)


def unknown_note(caption: str, grammar) -> str:
    """With the known word that is written most like each, where one is alike."""
    unknown, words = grammar.unknown_words(caption), {*split_words(" ".join(grammar.texts()))}
    asked = [" ".join([short(word, 30), *(f"({near}?)" for near in
                                          difflib.get_close_matches(word, words, 1))])
             for word in unknown[:8]]
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    return f"unknown here: {', '.join(asked)}{more}; the picture is drawn without them"


def sentence_note(caption: str, grammar) -> str:
    return (f"{short(caption, 60)!r} is no sentence of this world, so the picture may be anything; "
            f"one that is: {sentence_like(caption, grammar)!r}")


def hidden_note(caption: str) -> str:
    return (f"{short(caption, 60)!r} has ink of the paper's colour, which no model has ever seen, "
            "so the picture may be anything")


def sentence_like(caption: str, grammar) -> str:
    """The sentence of this world that is written most like it, or else the usual example."""
    near = difflib.get_close_matches(plain_text(caption), grammar.texts(), 10)
    return next((text for text in near if not hidden(text, grammar)), grammar.example())


def short(text: str, most: int) -> str:
    return printable(text if len(text) <= most else text[:most - 3] + "...")


def printable(text) -> str:
    """A text of a user for a terminal: what would move or colour its cursor is shown as a code."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def check_page(pictures: int, columns: int, scale: int, size: int, labels: int = 0) -> None:
    """Find out before anything is drawn that the page, with labels so wide, is too large."""
    wide, high = columns * (size + 1) * scale, -(-pictures // columns) * (size + 1) * scale
    wide += labels
    if wide * high > PAGE:
        raise ValueError(f"the page would have {wide:,} x {high:,} pixels, and {PAGE:,} in all is "
                         "the most; take a smaller --scale, or fewer pictures")


def check_kept(picture: Path, given: Path, what: str) -> None:
    """Refuse to write over a file that was given, by whatever name."""
    if picture.exists() and picture.samefile(given):
        raise ValueError(f"{picture} would be written over {what}; name another --out")


def need_models(args, workshop, stages, *making: str) -> None:
    """Drawing and scoring need trained models, and train them only when asked to. What makes them
    is the demo, or another command."""
    if args.train or args.fresh:
        return
    if missing := workshop.missing(stages):
        command = command_line(args, workshop, *making or ["demo"])
        raise ValueError(f"no trained {', '.join(missing)} in {workshop.folder}; run '{command}' "
                         "first, or add --train")


def command_line(args, workshop, *command: str) -> str:
    """What to type so that the models are made which this command asked for."""
    words = ["python", "-m", "minidalle", *command]
    for name, value, usual in (("--model", args.model, next(iter(ROADS))),
                               ("--data", args.data, "drawn"), ("--seed", args.train_seed, 0),
                               ("--budget", args.budget, None),
                               ("--out", workshop.folder.parent, Path("runs"))):
        words += [] if value == usual else [name, str(value)]
    return shlex.join(words)


def main(arguments: list[str] | None = None, others: dict[str, Callable] = MappingProxyType({})
         ) -> int:
    """One command line. `others` are commands of later floors: name -> function of the arguments.
    0: done. 2: something given was wrong, said in one sentence. 130: stopped with Ctrl-C."""
    line = parser()
    args = line.parse_args(arguments)
    if args.command is None:
        line.print_help()
        return 0
    try:
        with warnings.catch_warnings(), of_several(args):
            warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
            return {"speedrun": run_speedrun, **others}.get(args.command, run)(args) or 0
    except (ValueError, OSError, FloatingPointError) as error:
        return end(2, printable(error))
    except KeyboardInterrupt as stop:
        return end(130, f"{str(stop) or 'stopped; what is trained is kept'}; the same command goes "
                        "on from here")
    except RuntimeError as error:
        if not parallel.lost(error):
            raise
        return end(3, "another process of this run is gone, so all end; the same command goes on "
                      f"from what was saved last, at most {SAVE_EVERY} s before")


def end(code: int, why: str) -> int:
    """That exit code, and why, in one sentence; of several processes, one says it."""
    if parallel.speaks():
        print(f"minidalle: {why}", file=sys.stderr, flush=True)
    return code


@contextmanager
def of_several(args):
    """Inside, this process has met the others that torchrun has started, if any, and only the first
    one is heard."""
    if args.command not in TOGETHER and parallel.several():
        raise ValueError(f"torchrun is for {' and '.join(TOGETHER)}; run {args.command} without it")
    parallel.join()
    with open(os.devnull, "w") as nowhere:
        out = sys.stdout if parallel.first() else nowhere
        err = sys.stderr if parallel.first() else nowhere
        with redirect_stdout(out), redirect_stderr(err):
            yield


RUN = {"demo": run_demo, "compare": run_compare, "train": run_train, "draw": run_draw,
       "vary": run_vary, "blend": run_blend, "edit": run_edit, "inpaint": run_inpaint,
       "caption": run_caption, "score": run_score}
TOGETHER = ("train", "demo")           # what several processes do together, up to the drawing
DRAWING = ("draw", "vary", "blend", "edit", "inpaint")         # the others' figures say it
SAYING = ("score", "caption")                                  # they write no picture


def run(args) -> None:
    """One command, once its arguments are read."""
    choose_model(args)
    budget = choose_budget(args.budget, choose_device(args.device))
    name = picture_name(args.command, args.data, args.model)
    folder, picture = folder_and_picture(args.out, name, budget)
    if args.command in ("train", *SAYING) and args.out == picture:
        raise ValueError(f"--out is {picture}, but {args.command} draws no picture; name the "
                         "folder of the models")
    if args.command not in SAYING:
        check_writable(picture)
    workshop = Workshop(args.data, args.train_seed, args.budget, folder, args.device, args.fresh)
    if args.command in ("demo", "compare", "train") or args.fresh or getattr(args, "train", False):
        check_writable(workshop.folder / "clip.pt")            # as where all models will lie
    RUN[args.command](args, workshop, picture)
    if workshop.budget == "smoke" and args.command in DRAWING:
        note(f"smoke budget: nothing was learnt, so {printable(picture)} shows nothing")


def picture_name(command: str, data: str, model: str) -> str:
    """Of a demo or compare also the world and the road, so that none takes another's place."""
    world = [data] * (command in ("demo", "compare") and data != "drawn")
    road = [model] * (command == "demo" and model != next(iter(ROADS)))
    return "-".join([command, *world, *road]) + ".png"


def check_writable(file: Path, option: str = "--out") -> None:
    """Find out before the training, not after it, that a file cannot be written. Leaves no trace:
    it tries in the nearest folder that is there."""
    if file.is_dir():
        raise ValueError(f"{file} is a folder, so no file can be written there; name another "
                         f"{option}")
    for link in (file, *file.parents):
        if link.is_symlink() and not os.path.exists(link):     # subtle: exists() may fail on a loop
            raise ValueError(f"{link} is a link that leads nowhere, so nothing can be written "
                             f"there; name another {option}")
    folder = next(folder for folder in file.parents if folder.exists())
    if not folder.is_dir():
        raise ValueError(f"{file} cannot be written, because {folder} is a file; name another "
                         f"{option}")
    try:                       # under a name that nobody else has, or their half file would go
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part"):
            pass
    except OSError as error:
        raise OSError(f"{file} cannot be written ({error.strerror}); choose another folder with "
                      f"{option}, or make room") from error
