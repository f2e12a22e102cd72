"""What the tests in a browser share: which browser, JupyterLab over the lessons, and how long to
wait."""
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
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHOTS = ROOT / "build" / "browser"
CHROMIUM = next(filter(None, [os.environ.get("CHROMIUM"), *map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))]), None)
LIMIT = float(os.environ.get("LIMIT", 600))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]


def wait_for(done, seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {done}"
        time.sleep(0.3)


@contextmanager
def jupyterlab(folder: Path, **environment: str):
    """JupyterLab over copies of the lessons without their outputs, so that nothing which was stored
    is taken for something that ran, and over what `make lab` opens, in student/; gives its
    address. At the smoke budget, if the environment does not say otherwise."""
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
        env={**os.environ, **places, "MINIDALLE_BUDGET": "smoke", "MINIDALLE_QUIET": "1",
             **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{address}/api"))
        yield address
    finally:
        server.terminate()
        server.wait(LIMIT)


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
    wait_for(lambda: not answered(page) and idle.count() > 0)


def answered(page) -> bool:
    """Whether there was a question, which may come late where the machine is slow."""
    question = page.locator(".jp-Dialog button.jp-mod-accept")
    if question.count():
        question.first.click()
        return True
    return False


def run_all(page) -> None:
    """All cells of the notebook that is open; no error, nothing on stderr."""
    prompts = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
    errors = page.locator('.jp-OutputArea-output[data-mime-type*="error"], '
                          '.jp-OutputArea-output[data-mime-type*="stderr"]')

    def started() -> bool:                     # a click that comes too early is lost
        answered(page)
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
