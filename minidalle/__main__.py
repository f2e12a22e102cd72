"""The command line: python -m minidalle demo | train | draw | score."""
import argparse
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from minidalle.data import WORLDS
from minidalle.train import BUDGETS

EXAMPLES = """examples:
  python -m minidalle demo                  train everything, score it, draw runs/demo.png
  python -m minidalle draw "a red seven on blue" --out seven.png
  python -m minidalle draw "a red seven on blue" "a pink 3 on black paper" --samples 4
  python -m minidalle demo --data mnist     the same with handwritten digits
  python -m minidalle train clip            train (or load) only as far as CLIP
  python -m minidalle score                 measure what is trained

A run belongs to its data, budget and seed: its models lie in runs/DATA-BUDGET-SEED, each with a
CSV log and a picture of its loss. A second run loads them; --fresh trains anew; Ctrl-C stops a
training, and the same command takes it up again."""


PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf")


def parser() -> argparse.ArgumentParser:
    """All commands share the options that say which models are meant."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", choices=WORLDS, default="drawn",
                        help="digits drawn from fonts (default), MNIST's digits, or CIFAR-10")
    common.add_argument("--seed", type=whole(0, 2 ** 32 - 1), default=0,
                        help="same seed, same picture (default 0)")
    common.add_argument("--budget", choices=BUDGETS,
                        help="how long to train: smoke (seconds, learns nothing), cpu (minutes), "
                             "gpu; default: MINIDALLE_BUDGET, or gpu where there is one, else cpu")
    common.add_argument("--out", type=Path, metavar="PATH",
                        help="the folder of the models and of what is written (default runs); or, "
                             "ending in .png, only the picture's file")
    common.add_argument("--device", help="cuda, mps or cpu (default: the best one here)")
    common.add_argument("--fresh", action="store_true",
                        help="train anew, in place of what was trained before")
    line = argparse.ArgumentParser(
        prog="python -m minidalle", epilog=EXAMPLES,
        description="Captions become pictures, by models trained on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = line.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=[common])

    command("demo", "train or load every model, score them, draw the demo picture")
    train = command("train", "train the models, or only some of them and what they need")
    train.add_argument("stages", nargs="*", metavar="stage",
                       help="judge, clip, prior, decoder, upsampler (default: all)")
    draw = command("draw", "draw captions with the trained models")
    draw.add_argument("captions", nargs="+", metavar="caption",
                      help="what to draw, each in quotation marks; one row of pictures for each")
    draw.add_argument("--samples", type=whole(1, 1000), default=1,
                      help="pictures for each caption (default 1)")
    draw.add_argument("--scale", type=whole(1, 64), default=8,
                      help="screen pixels for each pixel of the picture (default 8)")
    score = command("score", "measure the trained models with the judge")
    score.add_argument("--samples", type=whole(4, 10 ** 6), help="pictures a row (default 1000)")
    for needy in (draw, score):
        needy.add_argument("--train", action="store_true", help="train first what is missing")
    return line


def whole(least: int, most: int) -> Callable[[str], int]:
    """For argparse: a text as a whole number between two others, both included."""
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} "
                                             f"to {most}")
        return int(text)
    return number


def folder_and_picture(out: Path | None, name: str) -> tuple[Path, Path]:
    """--out as the folder of the models and the file of the picture."""
    if out is not None and out.suffix.lower() == ".png":
        return Path("runs"), out
    if out is not None and out.suffix.lower() in PICTURES:
        raise ValueError(f"--out is {out}, and pictures are written as .png only; name a .png, or "
                         "a folder")
    folder = out or Path("runs")
    return folder, folder / name


def run_demo(args, workshop, picture: Path) -> None:
    from minidalle.demo import demo, table

    print(table(demo(workshop, picture)))
    print(f"picture: {picture}\nfigures: {picture.with_suffix('.json')}")


def run_train(args, workshop, picture: Path) -> None:
    from minidalle.recipes import STAGES

    for stage in args.stages:
        if stage not in STAGES:
            raise ValueError(f"there is no stage {stage!r}; choose from {', '.join(STAGES)}")
    for stage in args.stages or STAGES:
        getattr(workshop, stage)()
    for stage, seconds in workshop.seconds.items():
        print(f"{stage}: {seconds:.0f} s of training, {workshop.path(stage)}")


def run_draw(args, workshop, picture: Path) -> None:
    from PIL import Image

    from minidalle.checkpoint import write
    from minidalle.demo import draw_many, tile, to_pixels

    check_captions(args.captions, workshop)
    need_models(args, workshop)
    captions = [workshop.world.grammar.known_words(caption) for caption in args.captions]
    workshop.tokenizer.batch(captions)         # says now, above the bars, if one is too long
    every = [caption for caption in captions for _ in range(args.samples)]
    images = draw_many(workshop, every, args.seed)
    page = Image.fromarray(to_pixels(tile(images, args.samples, args.scale)))
    write(picture, lambda temporary: page.save(temporary))
    print(f"{len(images)} picture{'s' * (len(images) > 1)} in {picture}")
    if len(captions) > 1:
        for i, caption in enumerate(args.captions):
            print(f"  row {i + 1}: {short(caption, 80)}")


def run_score(args, workshop, picture: Path) -> None:
    from minidalle.demo import score, table

    need_models(args, workshop)
    print(table(score(workshop, args.samples)))


def check_captions(captions: list[str], workshop) -> None:
    """Refuse an empty caption; say which words this world does not know, or what is no sentence."""
    grammar = workshop.world.grammar
    for caption in captions:
        if not caption.strip():
            raise ValueError("a caption is empty; write one, for example "
                             f"{grammar.example()!r}")
        if unknown := grammar.unknown_words(caption):
            words = ", ".join(short(word, 30) for word in unknown[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            print(f"unknown here: {words}{more}; the picture is drawn without them",
                  file=sys.stderr)
        try:
            grammar.parse(grammar.known_words(caption))
        except ValueError:
            print(f"{short(caption, 60)!r} is no sentence of this world, so the picture may be "
                  f"anything; one that is: {grammar.example()!r}", file=sys.stderr)


def short(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 3] + "..."


def need_models(args, workshop) -> None:
    """Drawing and scoring need trained models, and train them only when asked to."""
    if args.train or args.fresh:
        return
    if missing := workshop.missing():
        raise ValueError(f"no trained {', '.join(missing)} in {workshop.folder}; run "
                         f"'{demo_command(args, workshop)}' first, or add --train")


def demo_command(args, workshop) -> str:
    """What to type so that the models are made which this command asked for."""
    words = ["python", "-m", "minidalle", "demo"]
    for name, value, usual in (("--data", args.data, "drawn"), ("--seed", args.seed, 0),
                               ("--budget", args.budget, None),
                               ("--out", workshop.folder.parent, Path("runs"))):
        words += [] if value == usual else [name, str(value)]
    return shlex.join(words)


RUN = {"demo": run_demo, "train": run_train, "draw": run_draw, "score": run_score}


def main(arguments: list[str] | None = None) -> int:
    """0: done. 2: something given was wrong, said in one sentence. 130: stopped with Ctrl-C."""
    args = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
            run(args)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"minidalle: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        again = "without --fresh, the same command" if args.fresh else "the same command"
        print(f"minidalle: {str(stop) or 'stopped'}; {again} goes on from here", file=sys.stderr)
        return 130
    return 0


def run(args) -> None:
    """One command, once its arguments are read."""
    from minidalle.recipes import Workshop

    folder, picture = folder_and_picture(args.out, f"{args.command}.png")
    if args.command != "score":
        check_writable(picture)
    workshop = Workshop(args.data, args.seed, args.budget, folder, args.device, args.fresh)
    RUN[args.command](args, workshop, picture)


def check_writable(picture: Path) -> None:
    """Find out before the training, not after it, that the picture cannot be written."""
    from minidalle.checkpoint import write

    if picture.is_dir():
        raise ValueError(f"{picture} is a folder, so no picture can be written there; name "
                         "another --out")
    probe = picture.with_name(f"{picture.name}.probe")
    write(probe, lambda temporary: temporary.touch())
    probe.unlink()


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")          # a terminal may lack Chinese
    sys.exit(main())
