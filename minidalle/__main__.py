"""The command line: python -m minidalle demo | train | draw | score."""
import argparse
import sys
import warnings
from pathlib import Path

from minidalle.data import WORLDS
from minidalle.train import BUDGETS

EXAMPLES = """examples:
  python -m minidalle demo                               train everything, score it, draw runs/demo.png
  python -m minidalle draw "a red seven on blue" --out seven.png
  python -m minidalle draw "a red seven on blue" "a pink 3 on black paper" --samples 4
  python -m minidalle demo --data mnist                  the same with handwritten digits
  python -m minidalle train clip                         train (or load) only as far as CLIP
  python -m minidalle score                              measure what is trained

A run belongs to its data, budget and seed: its models lie in runs/DATA-BUDGET-SEED, each with a CSV
log and a picture of its loss. A second run loads them; --fresh trains anew; Ctrl-C stops a training,
and the same command takes it up again."""


def parser() -> argparse.ArgumentParser:
    """All commands share the options that say which models are meant."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", choices=WORLDS, default="drawn",
                        help="digits drawn from fonts (default), MNIST's digits, or CIFAR-10")
    common.add_argument("--seed", type=int, default=0, help="same seed, same picture (default 0)")
    common.add_argument("--budget", choices=BUDGETS, help="how long to train: smoke (seconds, learns "
                        "nothing), cpu (minutes), gpu; default: MINIDALLE_BUDGET, or what is here")
    common.add_argument("--out", type=Path, metavar="PATH", help="a folder for all that is written "
                        "(default runs), or, ending in .png, the picture's file")
    common.add_argument("--device", help="cuda, mps or cpu (default: the best one here)")
    common.add_argument("--fresh", action="store_true", help="train anew, also what is there")
    whole = argparse.ArgumentParser(
        prog="python -m minidalle", epilog=EXAMPLES,
        description="Captions become pictures, by models trained on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=[common])

    command("demo", "train or load every model, score them, draw the demo picture")
    train = command("train", "train the models, or only some of them and what they need")
    train.add_argument("stages", nargs="*", metavar="stage",
                       help="judge, clip, prior, decoder, upsampler (default: all)")
    draw = command("draw", "draw captions with the trained models")
    draw.add_argument("captions", nargs="+", metavar="caption")
    draw.add_argument("--samples", type=positive, default=1, help="pictures a caption (default 1)")
    draw.add_argument("--scale", type=positive, default=8,
                      help="screen pixels for each pixel of the picture (default 8)")
    draw.add_argument("--train", action="store_true", help="train first what is not there yet")
    score = command("score", "measure the trained models with the judge")
    score.add_argument("--samples", type=positive, help="pictures a row (default 1000)")
    return whole


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def folder_and_picture(out: Path | None, name: str) -> tuple[Path, Path]:
    """--out as the folder of the models and the file of the picture."""
    if out is not None and out.suffix.lower() == ".png":
        return Path("runs"), out
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

    from minidalle.demo import tile, to_pixels
    from minidalle.train import seeded, write
    from minidalle.unclip import caption_to_picture

    check_captions(args.captions, workshop)
    need_models(workshop, args.train or args.fresh)
    captions = [caption for caption in args.captions for _ in range(args.samples)]
    images = caption_to_picture(workshop.unclip(), captions, seeded(args.seed))
    page = Image.fromarray(to_pixels(tile(images, args.samples, args.scale)))
    write(picture, lambda temporary: page.save(temporary))
    print(f"{len(images)} picture{'s' * (len(images) > 1)} in {picture}"
          + "".join(f"\n  row {i + 1}: {caption}" for i, caption in enumerate(args.captions)
                    if len(args.captions) > 1))


def run_score(args, workshop, picture: Path) -> None:
    from minidalle.demo import score, table

    need_models(workshop, args.fresh)
    print(table(score(workshop, args.samples)))


def check_captions(captions: list[str], workshop) -> None:
    """Refuse an empty caption; say of the others which words this world does not know."""
    grammar = workshop.world.grammar
    for caption in captions:
        if not caption.strip():
            raise ValueError("a caption is empty; write one, for example "
                             f"{grammar.example()!r}")
        if unknown := grammar.unknown_words(caption):
            words = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more"
                                              if len(unknown) > 8 else "")
            print(f"unknown here: {words}; the picture follows the words that are known, such as "
                  f"in {grammar.example()!r}", file=sys.stderr)


def need_models(workshop, may_train: bool) -> None:
    """Drawing and scoring need trained models, and train them only when asked to."""
    missing = workshop.missing()
    if missing and not may_train:
        raise ValueError(f"no trained {', '.join(missing)} in {workshop.folder}; run "
                         f"'python -m minidalle demo' with the same --data, --budget, --seed and "
                         "--out first, or add --train")


RUN = {"demo": run_demo, "train": run_train, "draw": run_draw, "score": run_score}


def main(arguments: list[str] | None = None) -> int:
    """0: done. 2: something given was wrong, said in one sentence. 130: stopped with Ctrl-C."""
    args = parser().parse_args(arguments)
    warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
    from minidalle.recipes import Workshop

    folder, picture = folder_and_picture(args.out, f"{args.command}.png")
    try:
        if args.command != "score":
            check_writable(picture)
        workshop = Workshop(args.data, args.seed, args.budget, folder, args.device, args.fresh)
        RUN[args.command](args, workshop, picture)
    except (ValueError, OSError) as error:
        print(f"minidalle: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"minidalle: {stop or 'stopped'}; the same command goes on from here",
              file=sys.stderr)
        return 130
    return 0


def check_writable(picture: Path) -> None:
    """Find out before the training, not after it, that the picture cannot be written."""
    from minidalle.train import write

    probe = picture.with_name(f".{picture.stem}.probe")
    write(probe, lambda temporary: temporary.touch())
    probe.unlink()


if __name__ == "__main__":
    sys.exit(main())
