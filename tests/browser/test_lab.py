"""The lessons in a real browser: JupyterLab runs each from top to bottom, and sliders move
figures, by keyboard; and the page that `make lab` opens leads to each of them.

A maintainers' check (`make browser`, or `make browser ARGS="-k 04"`): it needs playwright and a
Chromium that is installed here (CHROMIUM names it). LIMIT is how many seconds a lesson may take: on
a machine that is busy with other things, give it more. Screenshots lie in build/browser.
"""
import os
import re

import pytest
from opening import ROOT, SHOTS, move, open_page, run_all, wait_for, wait_for_kernel

if "MINIDALLE_BROWSER" not in os.environ:
    pytest.skip("a maintainers' check: run `make browser`", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_lesson_runs_in_the_browser_and_each_of_its_sliders_moves_the_figure(browser, lab, name):
    """By keyboard. There is no menu: JupyterLab takes its arrow keys to walk from cell to cell."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, errors = open_page(browser, f"{lab}/lab/tree/lessons/{name}.ipynb?reset")
    try:
        wait_for_kernel(page)
        run_all(page)
        text = page.locator(".jp-Notebook").inner_text()
        # but a road of the smoke budget, handed in, is worth nothing
        assert not re.search(r"Traceback|(?<!\.result: )not yet\.", text)
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
