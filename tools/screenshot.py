r"""Photograph pages of the built site: two colour schemes, two widths.

    python tools/screenshot.py                            every page, into _build/screenshots/
    python tools/screenshot.py convolution/convolution    some pages
    python tools/screenshot.py --part "#summary" PAGE     one screen, from that element on
    python tools/screenshot.py --readme                   the README's picture, docs/site.png

Files are named <page>.<scheme>.<width>.png; look at them after every change of a page or of
site_static/course.css. Needs Chromium (`CHROMIUM` names its executable if it is not on the path)
and the site in _build/html (`make book`).
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
README = ROOT / "docs" / "site.png"
SIZES = {"wide": (1366, 768), "phone": (375, 812)}
SCHEMES = "light", "dark"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise SystemExit("no Chromium found; install it (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


def visit(browser: Browser, url: str, scheme: str, size: tuple[int, int]) -> Page:
    """Open a page of the site and wait until its formulas are set."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(url)
    page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
    page.wait_for_load_state("networkidle")
    return page


def photograph(browser: Browser, name: str, target: Path, part: str | None) -> None:
    """Save four pictures of one page, or of one screen of it that begins at `part`."""
    url = (SITE / "book" / f"{name}.html").as_uri()
    for scheme in SCHEMES:
        for label, size in SIZES.items():
            page = visit(browser, url, scheme, size)
            if part:
                page.locator(part).first.evaluate("e => e.scrollIntoView()")
            path = target / f"{name.replace('/', '-')}.{scheme}.{label}.png"
            page.screenshot(path=path, full_page=not part)
            page.close()
            print(path)


def picture_for_readme(browser: Browser) -> None:
    """Save the first screen of the landing page in few colours, which keeps the file small."""
    README.parent.mkdir(exist_ok=True)
    page = visit(browser, (SITE / "book" / "index.html").as_uri(), "light", (1280, 1000))
    page.screenshot(path=README)
    Image.open(README).quantize(128).save(README, optimize=True)
    print(f"{README}: {README.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="as in _toc.yml, without book/")
    parser.add_argument("--part", help="CSS selector: one screen from there, not the whole page")
    parser.add_argument("--to", type=Path, default=ROOT / "_build" / "screenshots")
    parser.add_argument("--readme", action="store_true", help="only write docs/site.png")
    arguments = parser.parse_args()
    found = sorted(p.relative_to(SITE / "book") for p in (SITE / "book").rglob("*.html"))
    pages = arguments.pages or [p.with_suffix("").as_posix() for p in found]
    with chromium() as browser:
        if arguments.readme:
            return picture_for_readme(browser)
        arguments.to.mkdir(parents=True, exist_ok=True)
        for name in pages:
            photograph(browser, name, arguments.to, arguments.part)


if __name__ == "__main__":
    main()
