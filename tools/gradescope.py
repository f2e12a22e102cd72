r"""The zip that Gradescope takes: it grades one lesson, whenever a student hands it in.

    python tools/gradescope.py 03 [--out build/gradescope_03.zip]                 `make gradescope`

in -> out   a lesson -> setup.sh, run_autograder, the package and what it needs, in one zip
idea        Gradescope unpacks the zip into /autograder/source, runs setup.sh once, copies
            run_autograder one folder up, and starts it with a submission beside it; it reads
            results/results.json (gradescope-autograders.readthedocs.io, Specifications). The
            grader is the same as on your own machine.
left out    several lessons in one assignment; a choice of the machine (take 2 GB of memory or more)
"""
import argparse
import sys
import zipfile
from pathlib import Path

from minidalle.checkpoint import write
from minidalle.course.grade import chosen_lesson

ROOT = Path(__file__).resolve().parent.parent
STAMP = (2026, 1, 1, 0, 0, 0)  # of every file, so that the same package makes the same zip
SETUP = """#!/usr/bin/env bash
# Once, when the machine is built.
set -e
apt-get update
apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -r /autograder/source/requirements.txt
"""
RUN = """#!/usr/bin/env bash
# For each submission. It lies beside the folders source, submission and results.
base="$(cd "$(dirname "$0")" && pwd)"
python="$base/venv/bin/python"
[ -x "$python" ] || python=python3
mkdir -p "$base/results"
cd "$base/submission" || exit 1
shopt -s nullglob
notebooks=(*.ipynb)
[ ${#notebooks[@]} -gt 0 ] || notebooks=("there is no notebook.ipynb")
PYTHONPATH="$base/source" "$python" -m minidalle grade --lesson LESSON --format gradescope \\
    --out "$base/results/results.json" -- "${notebooks[@]}"
[ -s "$base/results/results.json" ]       # 2, for what is no notebook, is a result too
"""


def main(arguments: list[str] | None = None) -> int:
    line = argparse.ArgumentParser(description="Write the zip that Gradescope takes.")
    line.add_argument("lesson", help="03, or 03_transformer")
    line.add_argument("--out", type=Path, help="default: build/gradescope_03.zip")
    args = line.parse_args(arguments)
    try:
        lesson = chosen_lesson(args.lesson)
        out = args.out or Path("build") / f"gradescope_{lesson[:2]}.zip"
        if out.suffix != ".zip":
            raise ValueError(f"--out is {out}; name a file that ends in .zip")
        write(out, lambda temporary: pack(temporary, lesson))
    except (ValueError, OSError) as error:
        print(f"gradescope.py: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0


def pack(path: Path, lesson: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        put(archive, "setup.sh", SETUP.encode(), 0o755)
        put(archive, "run_autograder", RUN.replace("LESSON", lesson).encode(), 0o755)
        put(archive, "requirements.txt", (ROOT / "requirements.txt").read_bytes(), 0o644)
        put(archive, "lessons/expected.json", (ROOT / "lessons/expected.json").read_bytes(), 0o644)
        for file in sorted((ROOT / "minidalle").rglob("*.py")):
            put(archive, file.relative_to(ROOT).as_posix(), file.read_bytes(), 0o644)


def put(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    info = zipfile.ZipInfo(name, STAMP)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


if __name__ == "__main__":
    sys.exit(main())
