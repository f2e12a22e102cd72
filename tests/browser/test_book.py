"""The book in a real browser: every page loads in silence and from its own host alone, every
formula is drawn, no picture lacks its words, no link is dead, and nothing is wider than a phone.

A maintainers' check (`make book-test`, or with ARGS="-k 04"). BOOK names another folder than
build/book. Screenshots, light and dark, wide and narrow, lie in build/browser.
"""
import functools
import http.server
import os
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from opening import LIMIT, ROOT, SHOTS, wait_for

if "MINIDALLE_BROWSER" not in os.environ:
    pytest.skip("a maintainers' check: run `make book-test`", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BOOK = Path(os.environ.get("BOOK", ROOT / "build" / "book"))
if not (BOOK / "index.html").exists():
    pytest.skip("there is no book yet: run `make book`", allow_module_level=True)

PAGES = sorted(str(path.relative_to(BOOK)) for path in BOOK.rglob("*.html")
               if "_static" not in path.parts)         # where the theme has its templates
LESSONS = [page for page in PAGES if re.match(r"lessons/\d\d_", page)]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1300, "height": 1000}
ERRORS = "mjx-merror, [data-mjx-error]"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="module")
def site():
    """The address of the book, served from this machine."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(BOOK)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def open_page(browser, address: str, size: dict = DESK):
    """A page whose formulas are drawn and whose pictures are there, and whatever went wrong."""
    page = browser.new_context(viewport=size, color_scheme="light").new_page()
    page.set_default_timeout(1000 * LIMIT)
    wrong, host = [], urlparse(address).netloc
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("requestfailed", lambda asked: wrong.append(f"failed: {asked.url}"))
    page.on("response", lambda came: wrong.append(f"{came.status}: {came.url}")
            if came.status >= 400 else None)
    page.on("request", lambda asked: wrong.append(f"another host: {asked.url}")
            if urlparse(asked.url).netloc not in (host, "") else None)
    page.goto(address)
    page.evaluate("""async () => {
        for (const image of document.images) { image.loading = "eager"; }
        await Promise.all([...document.images].map(image => image.decode().catch(() => 0)));
        if (document.querySelector(".math")) await MathJax.startup.promise;
    }""")
    return page, wrong


def shoot(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"book-{name.replace('/', '-').removesuffix('.html')}.png")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_in_silence_and_is_whole_in_light_and_in_the_dark_and_on_a_phone(
        browser, site, name):
    """Loaded once: to draw the formulas of a lesson takes seconds."""
    page, wrong = open_page(browser, f"{site}/{name}")
    try:
        assert not wrong
        every_formula_is_drawn(page)
        pictures = page.evaluate("""() => [...document.querySelectorAll("article img")].map(
            image => [image.alt, image.naturalWidth])""")
        assert all(len(alt) >= 20 and wide > 0 for alt, wide in pictures), pictures
        assert name not in LESSONS or pictures
        assert page.evaluate("""() => [...document.querySelectorAll("article img")].every(
            image => image.closest("a")?.href === image.src)""")     # a tap shows it as it is
        no_formula_that_fits_its_line_scrolls(page)
        wait_for(lambda: is_light(page))
        every_word_stands_out(page)
        shoot(page, name)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        wait_for(lambda: is_dark(page))
        every_word_stands_out(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert not page.evaluate("""() => [...document.querySelectorAll("article p, article h2")]
            .filter(one => !one.closest("table"))              // a table scrolls
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
            .map(one => one.innerText.slice(0, 60))""")
        shoot(page, f"{name.removesuffix('.html')}-phone")
        assert not wrong
    finally:
        page.context.close()


def every_formula_is_drawn(page) -> None:
    """And none is left as text; in code a dollar is a dollar."""
    assert page.locator(".math:has(mjx-container svg)").count() == page.locator(".math").count()
    assert not page.locator(ERRORS).count()
    prose = page.evaluate("""() => [
        ...document.querySelectorAll("article p, article li, article td")].map(one => {
            const copy = one.cloneNode(true);
            copy.querySelectorAll("code, pre, mjx-container").forEach(part => part.remove());
            return copy.textContent;
        })""")
    assert not [text for text in prose if re.search(r"\$|\\[a-z(\[]", text)]


def every_word_stands_out(page) -> None:
    """From its paper, by the ratio of 4.5 that WCAG 2 asks for; but the marks beside headings."""
    assert not page.evaluate("""() => {
        const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
        const light = ([red, green, blue]) => [[red, 0.2126], [green, 0.7152], [blue, 0.0722]].map(
            ([part, weight]) => weight * (part <= 10.3 ? part / 255 / 12.92
                                          : ((part / 255 + 0.055) / 1.055) ** 2.4)
        ).reduce((a, b) => a + b);
        const paper = one => {
            const colour = one ? numbers(getComputedStyle(one).backgroundColor) : [255, 255, 255];
            return colour[3] === 0 ? paper(one.parentElement) : colour;
        };
        const faint = one => {
            const [a, b] = [numbers(getComputedStyle(one).color), paper(one)].map(light);
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
        };
        return [...document.querySelectorAll("article :not(.headerlink, script, style)")].filter(
            one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())
                && one.getClientRects().length && !one.closest("mjx-container") && faint(one)
        ).map(one => one.innerText);
    }""")


def no_formula_that_fits_its_line_scrolls(page) -> None:
    """Headless, a scroll bar is not seen; where there is one, it hides such a formula."""
    assert not page.evaluate("""() => [...document.querySelectorAll("mjx-container")].filter(
        one => one.scrollWidth > one.clientWidth + 1
            && one.querySelector("svg").getBoundingClientRect().width < one.clientWidth + 1)
        .map(one => one.textContent)""")


def is_light(page) -> bool:
    paper, ink = colours(page)
    return min(paper) > 230 and max(ink) < 90


def is_dark(page) -> bool:
    paper, ink = colours(page)
    return max(paper) < 60 and min(ink) > 180


def colours(page) -> list[list[float]]:
    """Of the paper and of the ink: red, green and blue."""
    return page.evaluate("""() => {
        const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color].map(
            colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number));
    }""")


class Reading(HTMLParser):
    """The links of a page, and the places in it that a link can name."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places |= {attrs.get("id"), attrs.get("name")}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


def test_no_link_is_dead_and_none_leads_to_a_place_that_is_not_there():
    pages = {name: Reading((BOOK / name).read_text(encoding="utf8")) for name in PAGES}
    dead = []
    for name, page in pages.items():
        for link in page.links:
            target = urlparse(link)
            if target.scheme or target.netloc:
                continue
            goal = (BOOK / name).parent / unquote(target.path) if target.path else BOOK / name
            goal = goal.resolve()
            there = goal.is_file() and (not target.fragment or goal.suffix != ".html" or unquote(
                target.fragment) in pages[str(goal.relative_to(BOOK.resolve()))].places)
            dead += [] if there else [f"{name}: {link}"]
    assert not dead


def test_from_the_front_page_next_leads_through_all_lessons_in_order_and_back():
    seen = ["index.html"]
    while link := arrow(seen[-1], "right-next"):
        seen.append(link)
        assert arrow(link, "left-prev") == seen[-2]
    assert [name for name in seen if name in LESSONS] == LESSONS and len(set(seen)) == len(seen)


def arrow(name: str, kind: str) -> str:
    """Where the arrow below a page leads, or nothing."""
    text = (BOOK / name).read_text(encoding="utf8")
    found = re.search(rf'<a class="{kind}"\s+href="([^"]+)"', text)
    return os.path.normpath((Path(name).parent / found[1]).as_posix()) if found else ""


@pytest.mark.parametrize("word, found", [("Gumbel", "07. The discrete VAE"),
                                         ("guidance", "Glossary"), ("inpaint", "13. unCLIP")])
def test_the_search_finds_a_word_in_its_lesson(browser, site, word, found):
    page, wrong = open_page(browser, f"{site}/search.html?q={word}")
    page.locator(".search li a").first.wait_for()
    page.wait_for_timeout(1500)
    titles = page.locator(".search li > a").all_inner_texts()
    assert any(title.startswith(found) for title in titles) and not wrong
    shoot(page, f"search-{word}")
    page.context.close()


def test_a_solution_is_folded_until_somebody_asks_and_the_reader_can_choose_the_dark(browser, site):
    page, wrong = open_page(browser, f"{site}/lessons/04_clip.html")
    fold = page.locator("details.hide", has_text="Show a solution").first
    inside = fold.locator("pre").first
    assert not inside.is_visible()
    fold.locator("summary").click()
    assert inside.is_visible() and "SOLUTION" in inside.inner_text()
    page.locator("button.theme-switch-button:visible").first.click()
    page.locator('button.theme-change-button[data-mode="dark"]:visible').first.click()
    assert page.locator("html").get_attribute("data-theme") == "dark" and not wrong
    page.context.close()


def test_on_a_phone_the_menu_leads_to_a_lesson(browser, site):
    page, wrong = open_page(browser, f"{site}/index.html", PHONE)
    page.locator("button.primary-toggle:visible, label.primary-toggle:visible").first.click()
    link = page.get_by_role("link", name="08. DALL-E").first
    link.wait_for(state="visible")
    page.wait_for_timeout(500)
    shoot(page, "menu-phone")
    link.click()
    page.wait_for_url("**/08_dalle.html")
    assert not wrong
    page.context.close()
