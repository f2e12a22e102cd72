r"""The book: the course as a static site, made of what the lessons have stored.

    python book/build.py        in .venv-book, as `make book` does it -> build/book/index.html

in -> out   lessons/*.ipynb, README.md and other texts, book/*.md -> build/book-source -> build/book
idea        Nothing is executed, and nothing is typed twice: the lessons are there with their stored
            outputs, tables and instructions are cut out of the README, and only the front page and
            the glossary are written for the book. Of an exercise one sees what a student gets; the
            solution unfolds. Figures become files with the words that are stored beside them.
left out    sliders, which need a kernel: the static figure beside each of them is there
"""
import argparse
import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
MATHJAX = Path(sys.prefix) / "node_modules" / "mathjax" / "es5"
BEGIN = "### BEGIN SOLUTION"
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*$.*?^[ \t]*### END SOLUTION[ \t]*$",
                      re.DOTALL | re.MULTILINE)
# pages that are cut out of the README: from one heading up to another
CUT = {"start": ("Start", [("Start", "The lessons"), ("Settings", "In a course"),
                           ("What you need, and if something does not work", "Take part")]),
       "tables": ("Does it work?", [("Does it work?", "How it works")]),
       "how": ("How it works", [("How it works", "Settings")])}
WHOLE = ("INSTRUCTOR.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "data/README.md")
TERM = re.compile(r"^- \*\*(.+?)\*\* \((\d\d)\): (.*\n(?:  .*\n)*)", re.MULTILINE)
IMAGE = re.compile(r"!\[([^]]+)\]\(figures/([^)]+)\)")
LINK = re.compile(r"(?<!!)\[([^]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
ASIDES = ("Break it", "Drag it", "Heard elsewhere")     # what is shown there is wrong on purpose
NOTE = "*Run the lesson, and there are sliders here.*"


def main() -> int:
    line = argparse.ArgumentParser(description="Write the course as a static site.")
    line.add_argument("--out", type=Path, default=ROOT / "build" / "book")
    out = line.parse_args().out
    source = out.parent / f"{out.name}-source"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        prepare(source)
        put_mathjax(source / "static" / "mathjax")
    except (ValueError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    told = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d",
                           source.parent / f"{source.name}-trees", source, out],
                          env={**os.environ, "PYTHONHASHSEED": "0"})
    if told.returncode == 0:
        print(f"the book: {out / 'index.html'}")
    return told.returncode


def prepare(source: Path) -> None:
    """All that Sphinx reads, in a folder that is not there yet."""
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns("__pycache__", "build.py"))
    shutil.copytree(ROOT / "figures", source / "figures")
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    names = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))
    pages = {f"{name}.md" for name in ("index", "glossary", "gallery", *CUT)} | set(WHOLE) | \
        {f"lessons/{name}.ipynb" for name in names}
    for name, (title, parts) in CUT.items():
        text = "\n".join(between(readme, *part) for part in parts)
        text = re.sub(rf"\A## {re.escape(title)}\n", "", text)
        save(source / f"{name}.md", enlarged(relinked(f"# {title}\n{text}", "", pages)))
    for name in WHOLE:
        text = (ROOT / name).read_text(encoding="utf8")
        save(source / name, relinked(text, name, pages))
    shown = [put_lesson(name, source, pages) for name in names]
    front = enlarged((BOOK / "index.md").read_text(encoding="utf8"))
    save(source / "index.md", front.replace("LESSONS_TABLE", table_of(shown)).replace(
        "LESSONS_LIST", "\n".join(f"{one['title']} <lessons/{one['name']}>" for one in shown)))
    save(source / "gallery.md", enlarged(gallery(readme, shown)))
    save(source / "glossary.md", glossary((BOOK / "glossary.md").read_text(encoding="utf8"), names))


def save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf8")


def put_mathjax(folder: Path) -> None:
    """One file for all formulas, and what it may load for a rare command."""
    if not MATHJAX.exists():
        raise ValueError(f"there is no MathJax in {sys.prefix}; run `make book`, which gets it "
                         "with npm")
    folder.mkdir(parents=True)
    shutil.copy(MATHJAX / "tex-svg.js", folder)
    shutil.copytree(MATHJAX / "input" / "tex" / "extensions", folder / "input/tex/extensions")


# ---- texts ----------------------------------------------------------------------------------

def between(text: str, first: str, after: str) -> str:
    """From the heading `## first` up to `## after`."""
    for heading in (first, after):
        if f"\n## {heading}\n" not in text:
            raise ValueError(f"README.md has no heading '## {heading}' any more, and the book is "
                             "cut there; say in book/build.py where it should be")
    begin = text.index(f"\n## {first}\n") + 1
    return text[begin:text.index(f"\n## {after}\n", begin) + 1]


def relinked(text: str, page: str, pages: set[str]) -> str:
    """Links to what is in the book stay; README.md is the front page; a link to any other file
    leaves its words."""
    folder = Path(page).parent

    def link(found: re.Match) -> str:
        words, target, place = found[1], found[2], found[3] or ""
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        goal = os.path.normpath(folder / target)
        goal = "index.md" if goal == "README.md" else f"{goal}/README.md" \
            if f"{goal}/README.md" in pages else goal
        if goal not in pages:
            return words
        return f"[{words}]({os.path.relpath(goal, folder)}{place})"
    return LINK.sub(link, text)


def enlarged(text: str) -> str:
    """Each picture of a text leads to itself (Sphinx puts them into _images), as figures do."""
    return IMAGE.sub(r'<a href="_images/\2">![\1](figures/\2)</a>', text)


def table_of(shown: list[dict]) -> str:
    rows = [f"| [{one['title']}](lessons/{one['name']}.ipynb) | {one['question']} |"
            for one in shown]
    return "\n".join(["| lesson | the question |", "| --- | --- |", *rows])


def gallery(readme: str, shown: list[dict]) -> str:
    """The pictures of the README, then of each lesson its last figure, with their words."""
    parts = ["# Gallery\n", "What the models of this course draw. Each picture is one that came, "
             "and not the best of many; how it was made is said where it stands.\n"]
    parts += [f"![{words}]({file})\n\n*{words}.*\n"
              for words, file in re.findall(r"!\[([^]]+)\]\((figures/[^)]+)\)", readme)]
    parts.append("## From the lessons\n")
    for one in shown:
        if one["figure"]:
            file, words = one["figure"]
            parts.append(f"### [{one['title']}](lessons/{one['name']}.ipynb)\n\n"
                         f"{picture(f'_static/figures/{file}', words)}\n\n"
                         f"<p>{html.escape(words)}</p>\n")
    return "\n".join(parts)


def glossary(text: str, names: list[str]) -> str:
    """The list of terms, each with an address of its own and a link to its lesson."""
    lessons = {name[:2]: name for name in names}

    def entry(found: re.Match) -> str:
        term, number, words = found[1], found[2], " ".join(found[3].split())
        if number not in lessons:
            raise ValueError(f"the glossary says that {term!r} is made in lesson {number}, and "
                             "there is none; name one that is there")
        words = words[0].upper() + words[1:]
        return f"{term}\n    {words} {{doc}}`Lesson {number} <lessons/{lessons[number]}>`\n\n"
    parts = re.split(r"^(## .*\n)", TERM.sub(entry, text), flags=re.MULTILINE)
    blocks = [f"{head}\n```{{glossary}}\n{body.strip()}\n```\n\n"
              for head, body in zip(parts[1::2], parts[2::2])]
    return parts[0] + "".join(blocks)


# ---- lessons --------------------------------------------------------------------------------

def put_lesson(name: str, source: Path, pages: set[str]) -> dict:
    """One lesson into the sources -> its name, title and question, and for the gallery the last
    figure of its own subject, with its words."""
    lesson = json.loads((ROOT / "lessons" / f"{name}.ipynb").read_text(encoding="utf8"))
    cells = [shown for cell in lesson["cells"]
             for shown in cells_of(cell, f"lessons/{name}.ipynb", pages)]
    figures, best, heading = [], None, ""
    for cell in cells:
        heading = (re.findall(r"^#+ (.*)", cell["source"], re.MULTILINE) or [heading])[-1] \
            if cell["cell_type"] == "markdown" else heading
        for output in cell.get("outputs", []):
            put_figure(output, source, name, figures)
            best = figures[-1] if figures and heading not in ASIDES else best
    head = "".join(lesson["cells"][0]["source"])
    title, question = re.match(r"# (\d\d\. [^:\n]*): (.*)", head).groups()
    if links := hosted(name, (BOOK / "repository.txt").read_text(encoding="utf8").strip()):
        cells.insert(1, markdown(links))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    text = json.dumps({**lesson, "cells": cells}, indent=1, ensure_ascii=False)
    save(source / "lessons" / f"{name}.ipynb", text + "\n")
    return {"name": name, "title": title, "question": question[0].upper() + question[1:],
            "figure": best}


def cells_of(cell: dict, page: str, pages: set[str]) -> list[dict]:
    """A cell as the book shows it: an exercise as it is handed out, and then its solution, folded;
    a note where sliders would be."""
    text = "".join(cell["source"]).removeprefix("# NBVAL_CHECK_OUTPUT\n")
    cell = {**cell, "source": text}
    if cell["cell_type"] == "markdown":
        return [{**cell, "source": relinked(text, page, pages)}]
    if cell["cell_type"] == "code" and BEGIN in text:
        blank = SOLUTION.sub(r"\1raise NotImplementedError", text)
        return [{**cell, "source": blank, "outputs": []}, folded(cell, "Show a solution")]
    if "REPOSITORY = " in text:
        return [folded(cell, "How the notebook finds the package")]
    return [cell, markdown(NOTE)] if "interact(" in text else [cell]


def folded(cell: dict, words: str) -> dict:
    """A code cell whose code is hidden until somebody asks for it."""
    prompt = {"code_prompt_show": words, "code_prompt_hide": "Hide it"}
    return {**cell, "metadata": {**cell["metadata"], "tags": ["hide-input"], "mystnb": prompt}}


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def put_figure(output: dict, source: Path, name: str, figures: list) -> None:
    """A stored picture becomes a file, and the output names it with its words."""
    data = output.get("data", {})
    if "image/png" not in data:
        return
    words = output["metadata"].get("image/png", {}).get("alt", "")
    file = f"{name}-{len(figures) + 1}.png"
    (source / "static" / "figures").mkdir(exist_ok=True)
    (source / "static" / "figures" / file).write_bytes(base64.b64decode("".join(data["image/png"])))
    output["data"] = {"text/html": picture(f"../_static/figures/{file}", words)}
    output["metadata"] = {}
    figures.append((file, words))


def picture(address: str, words: str) -> str:
    """It leads to itself alone: on a phone the words in it are small, until somebody taps on it."""
    return (f'<a href="{address}"><img class="figure" src="{address}" alt="{html.escape(words)}" '
            'loading="lazy"></a>')


def hosted(name: str, repository: str) -> str:
    """Where to run a lesson without installing anything, if the course has an address."""
    if not repository:
        return ""
    links = [f"[the notebook]({repository}/blob/main/lessons/{name}.ipynb)"]
    if found := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", repository):
        address = f"https://colab.research.google.com/github/{found[1]}/blob/main/lessons"
        links = [f"[run it on a hosted notebook]({address}/{name}.ipynb)",
                 f"[the notebook](https://github.com/{found[1]}/blob/main/lessons/{name}.ipynb)"]
    return "Elsewhere: " + ", ".join(links) + "."


if __name__ == "__main__":
    sys.exit(main())
