"""The doors: what a newcomer meets first says what is true of the repository as it is now."""
import json
import re
import subprocess
from pathlib import Path

import pytest

import minidalle
from minidalle.workshop import commands, demo
from minidalle.workshop.recipes import Workshop

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
STANDING_FOR = {"STEM": "imagen", "NN": "15"}          # in the names that the guide gives


def filled(text: str) -> str:
    for letters, meant in STANDING_FOR.items():
        text = text.replace(letters, meant)
    return text


def test_every_file_that_the_guide_names_is_there():
    named = {filled(name) for name in re.findall(r"`([\w./-]+\.(?:py|md|json|txt|ipynb))`", GUIDE)}
    places = ("", "minidalle/workshop")
    assert len(named) > 10
    assert not [name for name in named if not any((ROOT / p / name).exists() for p in places)]


def test_every_file_of_the_package_stands_in_the_readme_beside_what_it_does():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    table = text[text.index("\n## How it works\n"):text.index("\n## Settings\n")]
    rows = "\n".join(re.findall(r"^\| .*", table, re.MULTILINE))
    named = set(re.findall(r"`(?:workshop/)?(\w+\.py)`", rows))
    there = {path.name for path in (ROOT / "minidalle").rglob("*.py")
             if "checks" not in path.parts and not path.name.startswith("__")}
    assert named == there


def test_every_target_that_the_guide_and_the_readme_name_is_one_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in (GUIDE, (ROOT / "README.md").read_text(encoding="utf8")):
        named = set(re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE))
        assert named and {one or other for one, other in named} <= targets


def test_every_name_that_the_guide_gives_of_the_code_is_in_the_file_that_it_names():
    for name, file in (("ROWS", "minidalle/course/lesson.py"), ("PAPERS", "tools/tables.py"),
                       ("def exercises", "minidalle/course/checks/__init__.py"),
                       ("LESSONS", "tests/course/checks/test_exercises.py"),
                       ("FITS", "minidalle/workshop/recipes.py"),
                       ("PURPOSE", "minidalle/workshop/recipes.py"),
                       ("def of_section", "minidalle/course/checks/transformer.py")):
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(), re.MULTILINE), name


def test_the_version_is_the_same_wherever_it_stands_and_has_its_entry_in_the_list_of_changes():
    version = minidalle.__version__
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}, " in (ROOT / "CHANGELOG.md").read_text()


def test_every_folder_of_the_package_is_in_what_pip_installs():
    there = {".".join(path.parent.relative_to(ROOT).parts)
             for path in (ROOT / "minidalle").rglob("__init__.py")}
    listed = re.search(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    assert set(re.findall(r'"([\w.]+)"', listed)) == there


@pytest.mark.parametrize("root, said", [(None, True), (ROOT, False)])
def test_a_package_without_its_repository_says_where_the_lessons_are(
        monkeypatch, tmp_path, capsys, root, said):
    monkeypatch.setattr(commands, "checkout", lambda: root)
    monkeypatch.setattr(Workshop, "make", lambda self, stages: None)
    monkeypatch.setattr(demo, "demo", lambda *args: {})
    monkeypatch.setattr(demo, "table", lambda result: "a table")
    assert commands.main(["demo", "--budget", "smoke", "--out", str(tmp_path)]) == 0
    assert ("stay in the repository" in capsys.readouterr().out) == said


def test_a_container_finds_the_environment_that_its_setup_made(tmp_path):
    """make takes it for its own, and makes none anew: asked with -n, on files as setup.sh leaves
    them."""
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    script = container["postCreateCommand"].split()[-1]
    text = (ROOT / script).read_text()
    choice = re.search(r"echo '(\S+)' > \.venv/torch-choice", text)[1]
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "torch-choice").write_text(choice + "\n")
    (tmp_path / ".venv" / "ready").touch()

    def planned() -> str:
        return subprocess.run(["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True,
                              check=True, env={"PATH": "/usr/bin:/bin"}).stdout
    assert planned().split() == [".venv/bin/python", "-m", "minidalle", "demo"]
    (tmp_path / ".venv" / "torch-choice").write_text("torch==2.10\n")      # this one asks for it
    (tmp_path / ".venv" / "ready").unlink()
    assert "-m venv --clear .venv" in planned()
    assert text.rstrip().splitlines()[-2] == "touch .venv/ready"
