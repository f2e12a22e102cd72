"""The lessons in a real browser: JupyterLab runs each from top to bottom, and sliders move figures.

A maintainers' check (`make browser`): it needs playwright and a Chromium that is installed here
(CHROMIUM names it). Screenshots lie in build/browser.
"""
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
LIMIT = float(os.environ.get("LIMIT", 240))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab at the smoke budget over a copy of the lessons; gives its address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "lessons", folder / "lessons")
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
         "--IdentityProvider.token=", "--ServerApp.root_dir=" + str(folder / "lessons"),],
        env={**os.environ, **places, "MINIDALLE_BUDGET": "smoke"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{address}/api"), 60)
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


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(done, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {done}"
        time.sleep(0.3)


def run_all(page, address: str) -> None:
    """Open a lesson, and run all of it."""
    page.goto(address)
    page.wait_for_selector('.jp-NotebookPanel-toolbar [data-status="idle"]', timeout=60_000)
    prompts = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")

    def started() -> bool:                     # a click that comes too early is lost
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(5000)
        return any(re.search(r"[*\d]", text) for text in prompts.all_inner_texts())
    wait_for(started, 60)
    errors = page.locator('.jp-OutputArea-output[data-mime-type*="stderr"]')

    def done() -> bool:
        assert not errors.count(), errors.first.inner_text()
        return all(re.search(r"\d", text) for text in prompts.all_inner_texts())
    wait_for(done, LIMIT)


@pytest.mark.parametrize("name", NAMES)
def test_lesson_runs_in_the_browser_and_its_slider_moves_the_figure(browser, lab, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, errors = browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        run_all(page, f"{lab}/lab/tree/{name}.ipynb?reset")
        text = page.locator(".jp-Notebook").inner_text()
        assert not re.search(r"Traceback|not yet\.", text)
        prose = page.locator(".jp-Notebook .jp-RenderedMarkdown").all_inner_texts()
        assert prose and not any("$" in words for words in prose)      # formulas are typeset
        shown = page.locator(".jp-OutputArea-output:has(.jupyter-widgets)").first
        control = shown.locator(".noUi-handle, select").first
        control.scroll_into_view_if_needed()
        picture = shown.locator("img").first
        before = picture.get_attribute("src")
        page.screenshot(path=SHOTS / f"{name}-before.png")
        control.focus()
        list_of_choices = control.evaluate("e => e.tagName") == "SELECT"
        for _ in range(4):
            page.keyboard.press("ArrowDown" if list_of_choices else "ArrowRight")
        wait_for(lambda: picture.get_attribute("src") != before, 60)
        page.wait_for_timeout(1000)
        assert not errors
    finally:
        page.screenshot(path=SHOTS / f"{name}.png")
        page.close()
