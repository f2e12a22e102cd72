"""The book's sources, laid out without its builder: what is shown, what is folded, what is linked.

The pages themselves are looked at in a browser: tests/browser/test_book.py.
"""
import importlib.util
import json
import re
from html import unescape
from pathlib import Path

import pytest

import minidalle

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))


def tool(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build():
    return tool("build_tool", ROOT / "book" / "build.py")


@pytest.fixture(scope="module")
def source(build, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("book") / "source"
    build.prepare(folder)
    return folder


def read(path: Path) -> str:
    return path.read_text(encoding="utf8")


def cells_of(path: Path) -> list[dict]:
    return [{**cell, "source": "".join(cell["source"])} for cell in json.loads(read(path))["cells"]]


def terms(build) -> list[tuple[str, str, str]]:
    return [found.groups() for found in build.TERM.finditer(read(ROOT / "book" / "glossary.md"))]


# ---- lessons ----

def test_every_lesson_is_in_the_book_and_in_its_list_in_order(source):
    assert [path.stem for path in sorted((source / "lessons").glob("*.ipynb"))] == NAMES
    assert re.findall(r"^.* <lessons/(\w+)>$", read(source / "index.md"), re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_shows_all_that_is_stored_but_folds_solutions_behind_what_a_student_gets(
        source, name):
    """Cell by cell beside the lesson: text and outputs are the same, pictures as files."""
    shown = iter(cells_of(source / "lessons" / f"{name}.ipynb"))
    for cell in cells_of(ROOT / "lessons" / f"{name}.ipynb"):
        here = next(shown)
        if "### BEGIN SOLUTION" in cell["source"]:
            assert here["source"].count("raise NotImplementedError") == 1
            assert "SOLUTION" not in here["source"] and not here["outputs"]
            here = next(shown)
            assert "hide-input" in here["metadata"]["tags"]
        if cell["cell_type"] == "code":
            assert here["source"] == cell["source"].removeprefix("# NBVAL_CHECK_OUTPUT\n")
            assert len(here["outputs"]) == len(cell["outputs"])
            for old, new in zip(cell["outputs"], here["outputs"]):
                if "image/png" not in old.get("data", {}):
                    assert new == old
        if "interact(" in cell["source"]:
            assert "sliders" in next(shown)["source"]
    assert next(shown, None) is None


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_a_file_with_the_words_that_are_stored_beside_it(source, name):
    stored = [output for cell in cells_of(ROOT / "lessons" / f"{name}.ipynb")
              for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    shown = re.findall(r'<a href=\\"\.\./_static/figures/([^"\\]+)\\"><img class=\\"figure\\" '
                       r'src=\\"\.\./_static/figures/([^"\\]+)\\" alt=\\"(.*?)\\" loading',
                       read(source / "lessons" / f"{name}.ipynb"))
    assert len(shown) == len(stored)
    for output, (whole, file, words) in zip(stored, shown):
        assert whole == file                            # a tap on it shows it alone
        assert (source / "static" / "figures" / file).read_bytes()[:4] == b"\x89PNG"
        alt = json.loads(f'"{words}"')
        assert unescape(alt) == output["metadata"]["image/png"]["alt"] and len(alt) >= 20


def test_nothing_is_executed_and_nothing_is_loaded_from_another_host():
    conf = tool("conf", ROOT / "book" / "conf.py")
    assert conf.nb_execution_mode == "off" and conf.nb_ipywidgets_js == {}
    assert not conf.mathjax_path.startswith(("http", "//"))
    assert "url(" not in read(ROOT / "book" / "static" / "book.css")


# ---- texts ----

def test_every_link_between_pages_leads_to_a_page(source):
    for path in sorted(source.rglob("*.md")) + sorted(source.rglob("*.ipynb")):
        texts = [read(path)] if path.suffix == ".md" else \
            [cell["source"] for cell in cells_of(path) if cell["cell_type"] == "markdown"]
        for target in re.findall(r"\[[^]]*\]\(([^)#\s]+)", "\n".join(texts)):
            assert re.match(r"https?://", target) or (path.parent / target).exists(), \
                (path.name, target)


@pytest.mark.parametrize("text, page, said", [
    ("[a](lessons/04_clip.ipynb)", "start.md", "[a](lessons/04_clip.ipynb)"),
    ("[a](../README.md#x) b", "bench/README.md", "[a](../index.md#x) b"),
    ("[bench/](bench/README.md)", "start.md", "[bench/](bench/README.md)"),
    ("[bench](../bench/)", "data/README.md", "[bench](../bench/README.md)"),
    ("[the licence](LICENSE), [b](#c), [d](https://e.f)", "start.md",
     "the licence, [b](#c), [d](https://e.f)"),
    ("![alt](figures/demo.png)", "start.md", "![alt](figures/demo.png)")])
def test_a_link_stays_or_leaves_its_words(build, text, page, said):
    pages = {"index.md", "start.md", "bench/README.md", "data/README.md", "lessons/04_clip.ipynb"}
    assert build.relinked(text, page, pages) == said


def test_a_heading_that_the_readme_has_no_more_is_told(build):
    with pytest.raises(ValueError, match="no heading '## Start' any more"):
        build.between("# a\n\n## Begin\n", "Start", "Begin")
    assert build.between("# a\n\n## b\n1\n\n## c\n", "b", "c") == "## b\n1\n\n"


def test_the_gallery_has_the_pictures_of_the_readme_and_one_of_each_lesson(source):
    text = read(source / "gallery.md")
    pictures = set(re.findall(r"\((figures/[^)]+)\)", read(ROOT / "README.md")))
    assert set(re.findall(r"\((figures/[^)]+)\)", text)) == pictures
    files = re.findall(r'src="_static/figures/([^"]+)"', text)
    drawn = [name for name in NAMES if "image/png" in read(ROOT / "lessons" / f"{name}.ipynb")]
    assert [file.rsplit("-", 1)[0] for file in files] == drawn
    assert all((source / "static" / "figures" / file).exists() for file in files)


# ---- the glossary ----

def test_the_glossary_has_each_term_and_each_letter_of_the_course_once(build):
    found = [term for term, _, _ in terms(build)]
    lines = [line for line in read(ROOT / "book" / "glossary.md").splitlines()
             if line.startswith("- ")]
    assert len(found) == len(lines) > 100                  # and none has another form
    assert len({term.lower() for term in found if len(term) > 3}) == \
        len([term for term in found if len(term) > 3])
    assert len(set(found)) == len(found)
    letters = re.search(r"Letters, in all files: (.*)", minidalle.__doc__, re.DOTALL)[1]
    named = set(re.findall(r"\b[A-Z]\b", letters))
    assert named and named <= {letter for term in found for letter in term.split(", ")}


def test_each_term_occurs_in_the_lesson_that_is_said_to_make_it(build):
    """A letter as a letter; a word in any case, as it begins a word."""
    lessons = {name[:2]: " ".join(" ".join(cell["source"] for cell in cells_of(
        ROOT / "lessons" / f"{name}.ipynb")).split()) for name in NAMES}
    for term, number, words in terms(build):
        assert number in lessons, term
        for part in term.split(", "):
            short = len(part) <= 2
            pattern = rf"\b{re.escape(part)}\b" if short else rf"\b{re.escape(part)}"
            assert re.search(pattern, lessons[number], 0 if short else re.IGNORECASE), term
        assert words.rstrip().endswith(".")


def test_the_words_of_the_last_lessons_are_each_an_entry(build):
    made = {term: number for term, number, _ in terms(build)}
    for number, words in (("16", "binding, swap rate, grain, Tree-Ring"),
                          ("17", "MFU, all-reduce, data parallel, scaling law, ZeRO, bf16"),
                          ("18", "flow, flow matching, reflow, DiT, adaLN-zero, patches, pupil")):
        assert {made.get(word) for word in words.split(", ")} == {number}


def test_a_term_of_a_lesson_that_is_not_there_is_refused(build):
    with pytest.raises(ValueError, match="'cat' is made in lesson 77, and there is none"):
        build.glossary("# G\n\n## Words\n\n- **cat** (77): an animal.\n", NAMES)


def test_a_term_becomes_an_entry_with_a_link_to_its_lesson(build):
    text = build.glossary("# G\n\nx\n\n## Words\n\n- **cat** (04): an\n  animal.\n", NAMES)
    assert "```{glossary}\ncat\n    An animal. {doc}`Lesson 04 <lessons/04_clip>`\n```" in text


# ---- where the course is ----

@pytest.mark.parametrize("address, said", [
    ("", ""),
    ("https://github.com/a/b.git",
     "https://colab.research.google.com/github/a/b/blob/main/lessons/04_clip.ipynb"),
    ("https://example.org/course", "https://example.org/course/blob/main/lessons/04_clip.ipynb")])
def test_a_lesson_links_to_a_hosted_notebook_where_the_course_has_an_address(build, address, said):
    text = build.hosted("04_clip", address)
    assert said in text and bool(text) == bool(address)


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """The tool that says where the course is, on copies of two lessons."""
    module = tool("repository_tool", ROOT / "tools" / "repository.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FILE", tmp_path / "repository.txt")
    (tmp_path / "lessons").mkdir()
    for name in NAMES[:2]:
        (tmp_path / "lessons" / f"{name}.ipynb").write_bytes(
            (ROOT / "lessons" / f"{name}.ipynb").read_bytes())
    return module


def test_every_lesson_says_the_address_that_is_set_in_one_place():
    address = read(ROOT / "book" / "repository.txt").strip()
    for path in (ROOT / "lessons").glob("*.ipynb"):            # the playground, too
        assert f'REPOSITORY = "{address}"\n' in "".join(cells_of(path)[1]["source"]), path.name


def test_an_address_is_set_in_all_lessons_at_once_and_taken_back_to_the_byte(repository, tmp_path):
    paths = [tmp_path / "lessons" / f"{name}.ipynb" for name in NAMES[:2]]
    before = [path.read_bytes() for path in paths]
    assert repository.main(["https://github.com/a/b"]) == 0
    for path in paths:
        assert 'REPOSITORY = "https://github.com/a/b"\n' in cells_of(path)[1]["source"]
    assert repository.main([""]) == 0
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("address", ['https://a.b/"c', "github.com/a/b", "http://a.b/c", "https://a"])
def test_what_is_no_address_is_refused_and_changes_nothing(repository, tmp_path, capsys, address):
    assert repository.main([address]) == 2 and not repository.FILE.exists()
    assert "name one, as in https://" in capsys.readouterr().err
