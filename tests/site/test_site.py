"""The built site in a real browser: whole, offline, legible, printable, and linked as it says."""

import ast
import pkgutil
import re
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import isclass, isroutine
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import draw_icons
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from myst_book import toc_files
from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
TOPICS = {"tasks", "convolution", "architectures", "augmentation", "transfer", "segmentation"}
PHONE = {"width": 375, "height": 812}


PAGES = list(toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))
NOTEBOOKS = [p for p in PAGES if "\nkernelspec:" in (ROOT / f"{p}.md").read_text(encoding="utf-8")]
GENERATED = ["search", "genindex"]

every_page = pytest.mark.parametrize("name", PAGES + GENERATED)
every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])
both_ways = pytest.mark.parametrize("way", ["web", "folder"])


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[Callable[[str, str], str]]:
    """The address of a page: `address("web" or "folder", name)`."""
    assert (SITE / "index.html").is_file(), "there is no site in _build/html; run `make book` first"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        roots = {"web": f"http://127.0.0.1:{server.server_port}", "folder": SITE.as_uri()}
        yield lambda way, name: f"{roots[way]}/{name}.html"
        server.shutdown()


def settle(page: Page) -> None:
    """Wait until formulas are set and their fonts are there."""
    page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
    page.evaluate("document.fonts.ready.then(() => true)")


@cache
def html(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


# --- every page -------------------------------------------------------------------------------


@both_ways
@every_page
def test_page_loads_without_a_fault_and_sets_its_formulas(open_page, address, name, way):
    page = open_page(address(way, name))
    settle(page)
    page.wait_for_load_state("networkidle")
    assert page.locator("html").get_attribute("lang") == "en"
    assert "Convolutional Networks You Can Check" in page.title()
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() == formulas
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    if formulas:
        fonts = page.evaluate(
            "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
        )
        assert any("MJXTEX" in family for family in fonts), fonts
    for image in page.locator("img").all():
        assert image.get_attribute("alt").strip(), image.get_attribute("src")
        assert image.evaluate("e => e.decode().then(() => e.naturalWidth > 0)")


@both_schemes
@every_page
def test_page_can_be_used_by_everybody(open_page, serious_findings, address, name, scheme):
    page = open_page(address("web", name), color_scheme=scheme, reduced_motion="reduce")
    settle(page)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert serious_findings(page) == []


@every_page
def test_page_fits_a_phone(open_page, address, name):
    page = open_page(address("web", name), viewport=PHONE)
    settle(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    here = SITE / f"{name}.html"
    dead = [link for link in local_links(here) if not leads_somewhere(here, link)]
    assert dead == []


def local_links(path: Path) -> set[str]:
    """Addresses inside the site that a page links to or loads."""
    tags = html(path).find_all(True)
    found = {tag.get(key) for tag in tags for key in ("href", "src") if tag.get(key)}
    return {link for link in found if not re.match(r"[a-z]+:|//|#$", link)}


def leads_somewhere(here: Path, link: str) -> bool:
    address, fragment = urldefrag(link)
    target = here.parent / unquote(address.partition("?")[0]) if address else here
    if not target.is_file():
        return False
    return not fragment or html(target.resolve()).find(id=unquote(fragment)) is not None


@every_page
def test_page_prints_as_text_alone(open_page, address, name):
    page = open_page(address("web", name), color_scheme="dark")
    settle(page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("html").get_attribute("data-theme") == "light", "dark ink on white paper"
    for part in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article"):
        for element in page.locator(part).all():
            expect(element).to_be_hidden()
    for answer in folded(page):
        expect(answer).to_be_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def folded(page: Page) -> list[Locator]:
    """The contents of everything that a reader can unfold, code behind figures apart."""
    boxes = "article .admonition.toggle > :not(.admonition-title, button)"
    cards = "article details:not(.hide) > :not(summary)"
    return page.locator(f":is({boxes}, {cards}):not(:empty)").all()


# --- the site ---------------------------------------------------------------------------------


@both_ways
def test_front_door_opens_the_landing_page(open_page, address, way):
    page = open_page(address(way, "index"))
    page.wait_for_url("**/book/index.html")
    expect(page.locator("article h1")).to_contain_text("Convolutional Networks You Can Check")


def test_a_click_changes_the_colour_scheme(open_page, address):
    page = open_page(address("folder", "book/index"), color_scheme="light")
    settle(page)
    seen = {page.locator("html").get_attribute("data-theme")}
    for _ in range(2):
        page.locator(".theme-switch-button").first.click()
        seen.add(page.locator("html").get_attribute("data-theme"))
    assert seen == {"light", "dark"}


@every_notebook
def test_figures_keep_a_white_card_in_the_dark(open_page, address, name):
    page = open_page(address("web", name), color_scheme="dark")
    settle(page)
    drawn = page.locator("article .cell_output img")
    styles = drawn.evaluate_all(
        "list => list.map(e => getComputedStyle(e)).map(s => [s.backgroundColor, s.filter])"
    )
    assert styles == [["rgb(255, 255, 255)", "none"]] * drawn.count()


@both_ways
def test_search_finds_a_word_and_opens_its_page(open_page, address, way):
    page = open_page(address(way, "book/index"))
    page.locator(".search-button-field:visible").first.click()
    page.locator("input[type=search]:visible").fill("dilation")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    expect(page.locator("#search-results")).to_contain_text("Search finished")
    results.filter(has_text="Glossary").first.click()
    expect(page.locator("article h1")).to_contain_text("Glossary")
    expect(page.locator("article")).to_contain_text("dilation")


def test_next_and_previous_lead_through_the_whole_book():
    following = dict(pairwise(PAGES))
    for name in PAGES:
        here = SITE / f"{name}.html"
        for end, neighbours in (
            (".right-next", following),
            (".left-prev", {b: a for a, b in following.items()}),
        ):
            links = [here.parent / a["href"] for a in html(here).select(f"a{end}")]
            expected = [SITE / f"{neighbours[name]}.html"] if name in neighbours else []
            assert [link.resolve() for link in links] == [link.resolve() for link in expected]


@every_notebook
def test_download_menu_offers_both_notebooks(open_page, address, name):
    page = open_page(address("web", name))
    page.get_by_label("Download this page").click()
    executed, student = (downloaded(page, kind) for kind in ("Executed", "Student"))
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells)
    assert not any(cell.get("outputs") for cell in student.cells)


def downloaded(page: Page, kind: str) -> nbformat.NotebookNode:
    """Click an entry of the open download menu; return the valid notebook that it leads to."""
    link = page.locator(".dropdown-menu a:visible", has_text=f"{kind} notebook")
    notebook = nbformat.reads(page.request.get(link.evaluate("a => a.href")).text(), as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_icon_belongs_to_every_page():
    for name in PAGES:
        here = SITE / f"{name}.html"
        (icon,) = html(here).select("link[rel=icon]")
        assert (here.parent / icon["href"]).read_text(encoding="utf-8") == draw_icons.icon()


# --- what the pages say of the book -----------------------------------------------------------


def test_landing_page_says_truly_what_is_written():
    written = {name.split("/")[1] for name in PAGES} & TOPICS
    cards = html(SITE / "book" / "index.html").select(".course-topics .sd-card")
    said = {card.select_one(".sd-card-title").text.strip().lower(): card for card in cards}
    assert said.keys() == TOPICS
    for topic, card in said.items():
        footer = card.select_one(".sd-card-footer").text.strip()
        assert footer == (stock(topic) if topic in written else "Planned")
        assert [a["href"].split("/")[0] for a in card.select("a")] == [topic] * (topic in written)


def stock(topic: str) -> str:
    """What the book holds on a topic, in the words of the landing page."""
    paths = [SITE / f"{name}.html" for name in PAGES if name.split("/")[1] == topic]
    exercises = sum(len(html(path).select(".course-exercise")) for path in paths)
    return f"Written: {len(paths)} pages, {exercises} exercises"


def test_api_reference_has_every_function_that_pages_may_import():
    listed = {tag["id"] for tag in html(SITE / "book" / "reference" / "api.html").select("[id]")}
    modules = {name.removeprefix("module-") for name in listed if name.startswith("module-")}
    assert imported_on_pages() - {"coursepkg"} <= modules
    for module in modules:
        public = {name: pkgutil.resolve_name(f"{module}:{name}") for name in all_of(module)}
        documented = {n: v for n, v in public.items() if isroutine(v) or isclass(v)}
        assert {f"{v.__module__}.{n}" for n, v in documented.items()} <= listed


def imported_on_pages() -> set[str]:
    """The modules of the package that code cells import."""
    cells = [
        cell.source
        for name in NOTEBOOKS
        for cell in nbformat.read(SITE / "_notebooks" / f"{name}-executed.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    statements = [
        node
        for node in ast.walk(ast.parse("\n".join(cells)))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("coursepkg")
    ]
    return {
        full if is_module(full := f"{node.module}.{alias.name}") else node.module
        for node in statements
        for alias in node.names
    }


def is_module(name: str) -> bool:
    return isinstance(pkgutil.resolve_name(name), ModuleType)


def all_of(module: str) -> list[str]:
    return pkgutil.resolve_name(module).__all__


def test_drawings_are_current():
    for name, text in draw_icons.drawings().items():
        committed = (ROOT / "site_static" / name).read_text(encoding="utf-8")
        assert committed == text, f"site_static/{name} is old; run python tools/draw_icons.py"


def test_errata_rows_are_those_of_the_pages():
    covered = [row for name in NOTEBOOKS for row in front_matter(name)["covers"]]
    rows = {row for row in covered if row.startswith("E")}
    listed = html(SITE / "book" / "reference" / "errata.html").find_all("h3")
    assert {heading.text.split(":")[0] for heading in listed} == rows


def front_matter(name: str) -> dict:
    text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---\n")[1])
