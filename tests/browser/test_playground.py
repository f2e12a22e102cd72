"""The playground in a real browser: every control is moved, by keyboard, and the picture changes.

A maintainers' check (`make browser ARGS="-k playground"`). RUNS names a folder of models trained at
the cpu budget; without it small ones are trained, whose pictures show nothing, but change as well.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opening import ROOT, SHOTS, jupyterlab, move, open_page, run_all, wait_for, wait_for_kernel

if "MINIDALLE_BROWSER" not in os.environ:
    pytest.skip("a maintainers' check: run `make browser`", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def playing(tmp_path_factory):
    """The address of a JupyterLab with trained models."""
    folder = tmp_path_factory.mktemp("playing")
    budget, runs = "cpu", os.environ.get("RUNS")
    if not runs:
        from minidalle.workshop.recipes import ROADS

        budget, runs = "smoke", folder / "MINIDALLE_RUNS"
        stages = dict.fromkeys(stage for road in ROADS.values() for stage in road.stages)
        subprocess.run([sys.executable, "-m", "minidalle", "train", "judge", *stages, "--budget",
                        "smoke", "--out", runs], check=True, cwd=ROOT, capture_output=True)
    with jupyterlab(folder, MINIDALLE_BUDGET=budget,
                    MINIDALLE_RUNS=str(Path(runs).absolute())) as address:
        yield address


def test_every_control_of_the_playground_is_moved_and_the_picture_changes(browser, playing):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, errors = open_page(browser, f"{playing}/lab/tree/lessons/playground.ipynb?reset")
    try:
        wait_for_kernel(page)
        run_all(page)
        first, roads, edit = (page.locator(".jp-OutputArea-output:has(.jupyter-widgets)").nth(i)
                              for i in range(3))
        for output in (first, edit):
            wait_for(lambda output=output: output.locator("img").count() > 0)
        moved_one_after_the_other(page, first)
        written(page, first.locator("input[type=text]").first, first, "a white eight on black")
        read_off(first)
        page.screenshot(path=SHOTS / "playground-draw.png")
        button = roads.locator("button").first
        assert button.evaluate("it => it.scrollWidth <= it.clientWidth")       # all of its words
        button.click()
        wait_for(lambda: roads.locator("img").count() > 0)
        roads.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / "playground-roads.png")
        edit.scroll_into_view_if_needed()
        written(page, edit.locator("input[type=text]").first, edit, "a white three on black")
        move(page, edit.locator(".noUi-handle").first, edit.locator("img").first)
        page.screenshot(path=SHOTS / "playground-edit.png")
        text = page.locator(".jp-Notebook").inner_text()
        assert "Traceback" not in text and "press the button" not in text and not errors
    finally:
        page.screenshot(path=SHOTS / "playground.png")
        page.close()


def moved_one_after_the_other(page, output) -> None:
    """Every slider, the road too, each with a few steps by keyboard; but those that are grey."""
    handles = output.locator(".noUi-handle").all()
    assert len(handles) == 8
    for number in (0, 1, 2, 4, 5, 6, 7, 3):    # the road last: others may have no guidance
        if number == 7:
            back(page, handles[number], output)
        else:
            move(page, handles[number], output.locator("img").first)
        wait_for_kernel(page)                  # each key may have asked for a picture


def back(page, handle, output) -> None:
    """Through the making, towards the noise."""
    before = output.locator("img").first.get_attribute("src")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    wait_for(lambda: output.locator("img").count()
             and output.locator("img").first.get_attribute("src") != before)
    page.wait_for_timeout(1000)


def written(page, box, output, caption: str) -> None:
    """Into a field of words, until the picture is another one."""
    before = output.locator("img").first.get_attribute("src")
    wait_for_kernel(page)
    box.fill(caption)
    box.press("Enter")
    wait_for(lambda: output.locator("img").count()
             and output.locator("img").first.get_attribute("src") != before)


def read_off(output) -> None:
    """The judge and CLIP have their say, and beside it stands what was asked."""
    wait_for(lambda: all(words in output.inner_text() for words in (
        "the judge reads", "CLIP reads", "a white eight on black")))
