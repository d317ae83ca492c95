"""A real browser for the tests of pages: one process, a fresh context per page, nothing ignored."""

import os
import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOCAL_SCHEMES = ("file", "data", "blob", "about")
LOCAL_HOSTS = ("127.0.0.1", "localhost")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        message = (
            f"no browser; install one of {', '.join(NAMES)} (Debian: apt install chromium), "
            "or name yours in the variable CHROMIUM"
        )
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


class Watch:
    """What went wrong on a page: console errors, exceptions, failed and outside requests."""

    def __init__(self, context: BrowserContext, allow: tuple[str, ...] = ()):
        self.allow = allow
        self.found: list[str] = []
        context.on("console", lambda m: m.type == "error" and self.note(f"console: {m.text}"))
        context.on("weberror", lambda e: self.note(f"exception: {e.error}"))
        context.on("requestfailed", lambda r: self.note(f"failed: {r.url} ({r.failure})"))
        context.on("response", lambda r: r.status >= 400 and self.note(f"{r.status}: {r.url}"))
        context.on("request", self.request)

    def request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in LOCAL_SCHEMES and address.hostname not in LOCAL_HOSTS:
            self.note(f"outside: {request.url}")

    def note(self, sentence: str) -> None:
        if not any(known in sentence for known in self.allow):
            self.found.append(sentence)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address: `open_page(url, allow=(), **context settings)`; faults fail the test.

    `allow` names parts of sentences that are known and harmless, such as a theme's own error.
    The context settings are Playwright's: `viewport`, `color_scheme`, `reduced_motion` ...
    """
    opened: list[tuple[BrowserContext, Watch]] = []

    def open_it(url: str, allow: tuple[str, ...] = (), **settings: object) -> Page:
        context = browser.new_context(**settings)
        context.set_default_timeout(10_000)
        watch = Watch(context, allow)
        opened.append((context, watch))
        page = context.new_page()
        page.goto(url)
        return page

    yield open_it
    for context, _ in opened:
        context.close()
    assert [fault for _, watch in opened for fault in watch.found] == []


@pytest.fixture(scope="session")
def serious_findings() -> Callable[[Page], list[str]]:
    """Run axe-core on a page: one line for each serious or critical finding."""

    def run(page: Page) -> list[str]:
        # Without `preload`, which asks for style sheets by wrong addresses.
        options = {"preload": False, "resultTypes": ["violations"]}
        found = Axe().run(page, options=options).response["violations"]
        return [
            f"{violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in found
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    return run
