"""axe-core finds no violation in any state of the page, light and dark, narrow and wide."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.index.page.look import AT
from tests.index.page.test_look import CARDS, search

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def opened(selector: str) -> Callable[[Page], Any]:
    """Press a button, and wait for the dialog that it opens."""

    def act(page: Page) -> None:
        page.locator(CARDS).first.locator(".open").focus()
        page.keyboard.press("x")
        page.locator("#picked details").evaluate("e => { e.open = true }")
        page.locator("#picked").get_by_role("button", name=selector).click()
        expect(page.locator("dialog[open]")).to_be_visible()

    return act


def detail(page: Page) -> None:
    page.locator(f"{CARDS} .open").first.click()
    expect(page.locator("#detail")).to_be_visible()


def facets(page: Page) -> None:
    if not page.locator("#options").is_visible():
        page.locator("#open-options").click()
    page.locator("#facets summary").click()
    expect(page.locator(".facet").first).to_be_visible()


def cut_off(page: Page) -> None:
    page.locator("#doing").evaluate("e => { e.open = true }")
    page.get_by_role("button", name="Make this a training selection").click()
    expect(page.locator("#selection-cut")).to_be_enabled()


def closed(page: Page) -> None:
    while page.locator("dialog[open]").count():
        page.keyboard.press("Escape")
    if page.locator("#options").is_visible() and page.viewport_size == PHONE:
        page.keyboard.press("Escape")


def menu(name: str, dialog: str) -> Callable[[Page], Any]:
    """Press a button beside the results, which opens a dialog."""

    def act(page: Page) -> None:
        page.locator("#doing").evaluate("e => { e.open = true }")
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(dialog)).to_be_visible()
        expect(page.locator(f"{dialog} :text('Looking…')")).to_have_count(0)

    return act


def composed(page: Page) -> None:
    """Parts with weights, and another query beside."""
    page.locator("#add-term").click()
    page.get_by_label("Subtract french cat").click()
    beside_query(page)


def beside_query(page: Page) -> None:
    page.locator("#doing").evaluate("e => { e.open = true }")
    page.get_by_role("button", name="Side by side").click()
    page.locator("#beside-query").fill("a cat")
    page.locator("#beside-query").press("Enter")
    expect(page.locator("#beside-results .card").first).to_be_visible()
    expect(page.locator("#results:not([aria-busy]) .card").first).to_be_visible()


def mapped(page: Page) -> None:
    page.locator("#view-map").click()
    expect(page.locator("#canvas[data-points]")).to_be_visible()


STATES: list[Callable[[Page], Any]] = [
    lambda page: None,  # the results
    detail,
    opened("Remove…"),
    cut_off,
    facets,
    lambda page: page.keyboard.press("?"),
    menu("Searches", "#searches"),
    menu("Work-lists", "#work"),
    menu("Has it been used?", "#used"),
    composed,
    mapped,
]
PHONE: Any = {"width": 390, "height": 844}
WIDE: Any = {"width": 1280, "height": 860}


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_no_state_has_a_violation(page: Page, size: Any, scheme: Any) -> None:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    # A card of each kind is enough: axe looks at every element of every state.
    few = f"&where=key < '{AT['a cat, number 3']:09d}'"
    search(page, more=f"&hideDropped=0&similarities=1{few}")
    axe, found = Axe(), {}
    for number, state in enumerate(STATES):
        state(page)
        results = axe.run(page, options=RULES)
        for one in results.response["violations"]:
            nodes = [node["html"][:120] for node in one["nodes"][:3]]
            found[f"{number} {one['id']}"] = nodes
        closed(page)
    assert found == {}


def test_no_width_scrolls_sideways(page: Page) -> None:
    """With rows picked, the options open, and a picture open."""
    search(page, more="&fullCaptions=1&similarities=1")
    page.locator(f"{CARDS} .open").first.focus()
    page.keyboard.press("x")
    expect(page.locator("#picked")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    for width in (320, 390, 768, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 844})
        wide = page.evaluate(
            "[document.documentElement, document.querySelector('#detail')]"
            ".map(e => e.scrollWidth - e.clientWidth)"
        )
        assert wide == [0, 0], width
