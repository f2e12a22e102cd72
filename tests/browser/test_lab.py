"""The lessons in a real browser: JupyterLab runs each from top to bottom, and sliders move
figures, by keyboard; and the page that `make lab` opens leads to each of them.

A maintainers' check (`make browser`, or `make browser ARGS="-k 04"`): it needs playwright and a
Chromium that is installed here (CHROMIUM names it). LIMIT is how many seconds a lesson may take: on
a machine that is busy with other things, give it more. Screenshots lie in build/browser.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

if "MINIDALLE_BROWSER" not in os.environ:
    pytest.skip("a maintainers' check: run `make browser`", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parent.parent.parent
SHOTS = ROOT / "build" / "browser"
NAMES = sorted(path.stem for path in (ROOT / "lessons").glob("*.ipynb"))
CHROMIUM = next(filter(None, [os.environ.get("CHROMIUM"), *map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))]), None)
LIMIT = float(os.environ.get("LIMIT", 600))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab at the smoke budget over copies of the lessons without their outputs, so that
    nothing which was stored is taken for something that ran, and over what `make lab` opens, in
    student/; gives its address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "lessons", folder / "lessons")
    for path in (folder / "lessons").glob("*.ipynb"):
        path.write_text(stripped(path.read_text(encoding="utf8")), encoding="utf8")
    subprocess.run([sys.executable, ROOT / "tools" / "student.py", "--lab", "--out",
                    folder / "student"], check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: str(folder / name) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "MINIDALLE_RUNS")}
    for name, text in (        # cells that are out of sight stay in the page; no question of news
            ("notebook-extension/tracker", '{"windowingMode": "none"}'),
            ("apputils-extension/notification", '{"fetchNews": "false"}')):
        path = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
         "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"],
        env={**os.environ, **places, "MINIDALLE_BUDGET": "smoke", "MINIDALLE_QUIET": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{address}/api"))
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; name one with CHROMIUM=/path/to/it")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def stripped(text: str) -> str:
    """A notebook without what was stored when it ran."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return json.dumps(notebook, ensure_ascii=False)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(done, seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {done}"
        time.sleep(0.3)


def open_page(browser, address: str):
    """A page and the errors of its scripts."""
    page, errors = browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.set_default_timeout(1000 * LIMIT)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    return page, errors


def wait_for_kernel(page) -> None:
    """Until it is idle. Where JupyterLab asks which kernel to take, the one that it proposes."""
    idle = page.locator('.jp-NotebookPanel-toolbar [data-status="idle"]')
    question = page.locator(".jp-Dialog button.jp-mod-accept")

    def ready() -> bool:
        if question.count():
            question.first.click()
        return idle.count() > 0
    wait_for(ready)


def run_all(page) -> None:
    """All cells of the notebook that is open; no error, nothing on stderr."""
    prompts = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
    errors = page.locator('.jp-OutputArea-output[data-mime-type*="error"], '
                          '.jp-OutputArea-output[data-mime-type*="stderr"]')

    def started() -> bool:                     # a click that comes too early is lost
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(5000)
        return any(re.search(r"[*\d]", text) for text in prompts.all_inner_texts())

    def done() -> bool:
        assert not errors.count(), errors.first.inner_text()
        texts = prompts.all_inner_texts()
        return all(re.search(r"\d", text) for text in texts)
    wait_for(started)
    wait_for(done)


def move(page, slider, picture) -> None:
    """Some steps by keyboard, until the picture is another one."""
    before = picture.get_attribute("src")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    wait_for(lambda: picture.count() and picture.get_attribute("src") != before)
    page.wait_for_timeout(1000)                # those of the last step come later


@pytest.mark.parametrize("name", NAMES)
def test_lesson_runs_in_the_browser_and_each_of_its_sliders_moves_the_figure(browser, lab, name):
    """By keyboard. There is no menu: JupyterLab takes its arrow keys to walk from cell to cell."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, errors = open_page(browser, f"{lab}/lab/tree/lessons/{name}.ipynb?reset")
    try:
        wait_for_kernel(page)
        run_all(page)
        text = page.locator(".jp-Notebook").inner_text()
        assert not re.search(r"Traceback|not yet\.", text)
        prose = page.locator(".jp-Notebook .jp-RenderedMarkdown").all_inner_texts()
        assert prose and not any("$" in words for words in prose)      # formulas are typeset
        shown = page.locator(".jp-OutputArea-output:has(.jupyter-widgets)").first
        shown.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"{name}-before.png")
        sliders = shown.locator(".noUi-handle").all()
        assert sliders and not shown.locator("select").count()
        for slider in sliders:
            move(page, slider, shown.locator("img").first)
        assert not errors
    finally:
        page.screenshot(path=SHOTS / f"{name}.png")
        page.close()


def test_the_page_that_make_lab_opens_leads_to_every_lesson_and_its_blank_exercises(browser, lab):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, errors = open_page(browser, f"{lab}/lab/tree/student/start_here.ipynb?reset")
    try:
        wait_for_kernel(page)
        links = page.locator(".jp-RenderedMarkdown td a")
        assert links.all_inner_texts() == NAMES
        page.screenshot(path=SHOTS / "start_here.png")
        links.first.click()
        blank = page.get_by_text("raise NotImplementedError").first
        wait_for(lambda: blank.count() > 0)
        assert not errors
    finally:
        page.close()
