r"""The address of the course, in the first code cell of every lesson and in the book.

    python tools/repository.py https://github.com/OWNER/NAME       set it everywhere
    python tools/repository.py                                     write anew what is set

in -> out   book/repository.txt -> `REPOSITORY = "..."` in lessons/*.ipynb
idea        A hosted notebook has nothing but itself, so each must say from where the course is
            cloned; and what stands in sixteen files should be typed once.
"""
import re
import sys
from pathlib import Path

from minidalle.checkpoint import write

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "book" / "repository.txt"
LINE = re.compile(r'(?<=REPOSITORY = \\")[^"\\]*(?=\\")')      # as it stands in the JSON
ADDRESS = re.compile(r"https://[\w.-]+(/[\w.~-]+)+")


def main(arguments: list[str] | None = None) -> int:
    """0: written. 2: refused, in one sentence."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) > 1 or words and words[0] and not ADDRESS.fullmatch(words[0]):
        print(f"repository.py: the address is {' '.join(words)[:80]!r}; name one, as in "
              "https://github.com/OWNER/NAME", file=sys.stderr)
        return 2
    if words:
        put(FILE, f"{words[0]}\n" if words[0] else "")
    address = FILE.read_text(encoding="utf8").strip()
    for path in sorted((ROOT / "lessons").glob("*.ipynb")):
        text = path.read_text(encoding="utf8")
        changed = LINE.sub(lambda found: address, text)
        if changed != text:
            put(path, changed)
            print(path.name)
    return 0


def put(path: Path, text: str) -> None:
    write(path, lambda temporary: temporary.write_text(text, encoding="utf8"))


if __name__ == "__main__":
    sys.exit(main())
