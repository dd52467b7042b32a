"""One browser and two servers for all: one that allows everything, one that asks for a key."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from tests.index.page.look import SECRET, content_policy, make, serving

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 20_000  # a busy machine is no failure


@dataclass(frozen=True)
class Site:
    """What is served, and where."""

    dataset: Dataset
    address: str
    guarded: str  # asks for a key, removes nothing


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    clip: Clip = load_clip(ClipSettings())
    folder = tmp_path_factory.mktemp("page")
    dataset = make(folder / "cats", clip)
    keys = folder / "keys.txt"
    keys.write_text(SECRET + "\n")
    files = content_policy(folder, clip)
    with serving([dataset], clip, allow_remove=True, confirm_rows=20, **files) as address:
        closed: dict[str, Any] = {"api_key_file": str(keys), "contact": "cats@example.org"}
        with serving([dataset], clip, allow_select=False, **closed) as guarded:
            yield Site(dataset, address, guarded)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        message = "no Chromium; apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield opened
        opened.close()


def new_context(browser: Browser, address: str, **options: Any) -> BrowserContext:
    context = browser.new_context(
        base_url=address, viewport={"width": 1280, "height": 860}, **options
    )
    context.set_default_timeout(WAIT_MS)
    return context


def watched(context: BrowserContext, *own: str) -> Iterator[Page]:
    """A page of a context, which must ask nobody but its own server, nor fail."""
    asked: list[str] = []
    wrong: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if "Refused to" in line.text else None)
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((*own, "data:", "blob:"))] == []
    assert wrong == []


def new_page(
    browser: Browser, address: str, others: tuple[str, ...] = (), **options: Any
) -> Iterator[Page]:
    """A page in a context of its own."""
    context = new_context(browser, address, **options)
    yield from watched(context, address, *others)
    context.close()


@pytest.fixture(scope="package")
def shared(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """A context for all tests: the page's modules are fetched and compiled once."""
    context = new_context(browser, site.address)
    yield context
    context.close()


@pytest.fixture
def page(shared: BrowserContext, site: Site) -> Iterator[Page]:
    """A page as of a new visitor, but that its modules are in the browser's cache."""
    for page in watched(shared, site.address):
        yield page
        with suppress(Error):  # of a page that nobody opened
            page.evaluate("localStorage.clear()")


@pytest.fixture
def phone(browser: Browser, site: Site) -> Iterator[Page]:
    size = {"width": 390, "height": 844}
    context = new_page(browser, site.address, has_touch=True, color_scheme="dark")
    for opened in context:
        opened.set_viewport_size(size)  # type: ignore[arg-type]
        yield opened


@pytest.fixture
def guarded(browser: Browser, site: Site) -> Iterator[Page]:
    yield from new_page(browser, site.guarded)
