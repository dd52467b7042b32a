"""On a phone nothing is cut or beyond the edge, in any state, and rows of buttons become menus."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.index.page.test_axe import (
    beside_query,
    cut_off,
    detail,
    facets,
    mapped,
    menu,
    opened,
)
from tests.index.page.test_look import CARDS, search, settled
from tests.index.page.test_picked import pick

WIDTHS = (320, 390)
CUT = """() => {
  const said = (e) => `${e.tagName} #${e.id} .${e.className}: ${e.textContent.trim().slice(0, 40)}`;
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide`);
  const all = (document.querySelector("dialog[open]") ?? document.body).querySelectorAll("*");
  for (const e of all) {
    if (e.closest(".unseen, .skip, svg, .tool input, .segments input")) continue;
    if (e.matches("[type=search]") && e.value) continue; // one moves in what one types
    if (!e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true })) continue;
    const { left, right, width } = e.getBoundingClientRect();
    if (width && (left < -1 || right > innerWidth + 1)) found.push(`beyond: ${said(e)}`);
    const { overflowX, overflowY, textOverflow } = getComputedStyle(e);
    const whole = textOverflow === "ellipsis" && e.closest("[title]"); // it is said in full
    if (overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1 && !whole)
      found.push(`cut: ${said(e)}`);
    if (overflowY === "hidden" && e.scrollHeight > e.clientHeight + 1 && !whole)
      found.push(`cut below: ${said(e)}`);
  }
  return found;
}"""


def cut(page: Page) -> list[str]:
    """What is cut or beyond the edge at any width of a phone."""
    found: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        found += [f"{width}: {one}" for one in page.evaluate(CUT)]
    page.set_viewport_size({"width": 390, "height": 844})
    return found


def results(page: Page) -> None:
    search(page, more="&similarities=1&fullCaptions=1")


def unfolded(place: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.locator(f"{place} summary").click()
        expect(page.locator(f"{place} summary + *")).to_be_visible()

    return act


def picked(page: Page) -> None:
    results(page)
    pick(page, 9)
    unfolded("#picked")(page)


def summed(page: Page) -> None:
    picked(page)
    page.get_by_role("button", name="Search by their sum").click()
    expect(page.locator("#asked")).to_contain_text("+6")
    settled(page)


def composed(page: Page) -> None:
    """As many parts as a query may have, of many words."""
    words = "a cat asleep on a chair by the window of a small house"
    search(page)
    for number in range(16):
        page.locator("#query").fill(f"{words} {number}")
        page.locator("#query").press("Shift+Enter")
    expect(page.locator("#terms .term")).to_have_count(16)
    settled(page)


def address(page: Page) -> None:
    page.goto(f"/?imageUrl=http://{'a-long-name.' * 6}test/cat.jpg")
    expect(page.locator("#problem")).to_be_visible()


def unknown_column(page: Page) -> None:
    page.goto(f"/?query=cat&where={'nope' * 20} > 3")
    expect(page.locator(".problem:visible, .error:visible").first).to_be_visible()


def within(page: Page) -> None:
    page.goto(f"/?selections={'s' * 90}&outside={'t' * 90}")
    expect(page.locator("#within button")).to_have_count(2)


def duplicates(page: Page) -> None:
    search(page, "a cat, copied")
    page.locator(f"{CARDS} .open").first.focus()
    page.keyboard.press("d")
    expect(page.locator("#drawer .copies li")).to_have_count(2)


def work(name: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.goto(f"/?work={name}")
        expect(page.locator("#work :text('Looking…')")).to_have_count(0)
        for reason in page.locator("#work details").all():
            reason.locator("summary").click()
            expect(reason.locator("li").first).to_be_visible()

    return act


def domain(page: Page) -> None:
    """All from a site are to be removed."""
    results(page)
    detail(page)
    page.locator("#detail").get_by_role("button", name="Remove…").click()
    page.locator("#removing select").select_option(label="all from example.org")
    expect(page.locator("#remove-total")).to_be_visible()


def with_results(state: Callable[[Page], Any]) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        results(page)
        state(page)

    return act


STATES: dict[str, Callable[[Page], None]] = {
    "results": results,
    "why rows are hidden": with_results(unfolded("#hidden")),
    "menu": with_results(unfolded("#doing")),
    "picked": picked,
    "searched by a sum": summed,
    "parts": composed,
    "an address": address,
    "an unknown column": unknown_column,
    "in selections": within,
    "detail": with_results(detail),
    "options": with_results(facets),
    "drawer": duplicates,
    "selection": with_results(cut_off),
    "selections": with_results(menu("Selections", "#selections")),
    "searches": with_results(menu("Searches", "#searches")),
    "used": with_results(menu("Has it been used?", "#used")),
    "code": with_results(menu("As code", "#as-code")),
    "keys": with_results(lambda page: page.keyboard.press("?")),
    "clusters": work("duplicates"),
    "dropped": work("dropped"),
    "failed": work("failed"),
    "outliers": work("outliers"),
    "decisions": work("decisions"),
    "removal of a row": with_results(opened("Remove…")),
    "removal of a site": domain,
    "map": with_results(mapped),
    "side by side": with_results(beside_query),
}


@pytest.mark.parametrize("state", list(STATES))
def test_nothing_is_cut(page: Page, state: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    STATES[state](page)
    found = cut(page)
    assert not found, "\n".join(found)


def test_results_are_seen_below_a_query_of_many_parts(page: Page) -> None:
    """The search bar stays at the top while one scrolls."""
    page.set_viewport_size({"width": 390, "height": 844})
    composed(page)
    page.evaluate("scrollTo(0, 2000)")
    bar = page.locator(".top").bounding_box()
    assert bar is not None
    assert bar["height"] < 844 / 2


def test_a_menu_closes_by_a_choice_escape_and_a_press_beside_it(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    results(page)
    menu, button = page.locator("#doing"), page.locator("#doing summary")
    choice = page.get_by_role("button", name="Searches", exact=True)
    expect(choice).to_be_hidden()
    button.click()
    choice.click()
    expect(page.locator("#searches")).to_be_visible()
    page.keyboard.press("Escape")
    expect(choice).to_be_hidden()
    expect(button).to_be_focused()
    for away in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.locator("#status").click(),
    ):
        button.click()
        expect(choice).to_be_visible()
        away()
        expect(choice).to_be_hidden()
    page.set_viewport_size({"width": 1280, "height": 860})
    expect(choice).to_be_visible()
    choice.click()
    page.keyboard.press("Escape")
    expect(menu).to_have_attribute("open", "")


def test_a_phone_says_how_many_rows_are_hidden_and_why(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    search(page, "a cat that is unsafe")
    expect(page.locator("#hidden summary")).to_have_text(re.compile(r"^\d not shown$"))
    unfolded("#hidden")(page)
    page.locator("#hidden [data-reason=unsafe]").click()
    expect(page.locator(CARDS).first).to_contain_text("a cat that is unsafe")
    expect(page.locator("#hidden [data-reason=unsafe]")).to_have_count(0)
