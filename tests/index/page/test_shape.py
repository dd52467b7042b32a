"""Shaping: queries of several parts, kept searches, selections, work-lists, very long lists."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from frenchcat.curate import select
from frenchcat.curate.decisions import decided
from tests.index.page.conftest import Site
from tests.index.page.look import KEY
from tests.index.page.test_look import CARDS, search, settled
from tests.index.page.test_picked import keys_of
from tests.sample.pictures import picture


def asked(page: Page, act: Any) -> dict[str, Any]:
    """The body of the search that an act sends, once it is answered and shown."""
    with page.expect_response("**/v1/search") as sent:
        act()
    sent.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    settled(page)
    body: dict[str, Any] = sent.value.request.post_data_json
    return body


def test_a_query_is_made_of_weighted_parts(page: Page) -> None:
    search(page, "a cat")
    asked(page, lambda: page.locator("#query").press("Shift+Enter"))
    page.locator("#query").fill("a red car")
    body = asked(page, lambda: page.locator("#query").press("Shift+Enter"))
    assert body["terms"] == [{"text": "a cat"}, {"text": "a red car"}]
    chips = page.locator("#terms")
    weight = chips.get_by_label("Weight of a red car")
    weight.fill("2.5")
    body = asked(page, lambda: weight.press("Enter"))
    assert body["terms"][1] == {"text": "a red car", "weight": 2.5}
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    body = asked(page, lambda: chips.get_by_label("Subtract a red car").click())
    assert body["terms"][1]["weight"] == -2.5
    card = page.locator(CARDS).nth(1)
    key = card.get_attribute("data-key")
    card.hover()
    body = asked(page, lambda: card.get_by_label("Subtract this picture from the query").click())
    assert body["terms"][2] == {"like": {"dataset": "cats", "key": key}, "weight": -1}
    page.reload()
    settled(page)
    expect(chips.locator(".term")).to_have_count(3)
    expect(chips.get_by_label("Weight of a red car")).to_have_value("2.5")
    body = asked(page, lambda: chips.get_by_label("Without a red car").click())
    assert [term.get("text") for term in body["terms"]] == ["a cat", None]
    page.locator("#query").fill("snow")
    body = asked(page, lambda: page.locator("#query").press("Enter"))
    assert body["terms"][0] == {"text": "snow"}  # beside the chips
    for name in ("Without a cat", f"Without picture {key}"):
        chips.get_by_label(name).click()
    expect(chips).to_be_hidden()


def test_two_queries_stand_side_by_side(page: Page) -> None:
    search(page, "a cat asleep")
    page.get_by_role("button", name="Side by side").click()
    field = page.locator("#beside-query")
    expect(field).to_be_focused()
    field.fill("a red car")
    field.press("Enter")
    other = page.locator("#beside-results .card")
    expect(other.first).to_contain_text("a red car")
    expect(page.locator("#beside-status")).to_contain_text(re.compile(r"of the first \d+ rows"))
    assert page.locator("#results .shared").count() > 0
    first = other.first.get_attribute("data-key")
    page.reload()
    settled(page)
    expect(other.first).to_have_attribute("data-key", str(first))
    page.locator("#close-beside").click()
    expect(page.locator("#beside")).to_be_hidden()
    expect(page.locator("#results .shared")).to_have_count(0)
    assert "beside" not in page.url


def test_searches_are_remembered_saved_and_forgotten(page: Page) -> None:
    search(page, "a red car", "&where=width > 1")
    search(page, "a bridge")
    page.get_by_role("button", name="Searches", exact=True).click()
    dialog = page.locator("#searches")
    links = dialog.locator(".searches a")
    expect(links).to_have_text(["a bridge", "a red car · width > 1"])
    dialog.get_by_label("Name of this search").fill("bridges")
    dialog.get_by_role("button", name="Save this search").click()
    dialog.get_by_role("button", name="Forget the recent ones").click()
    expect(links).to_have_text(["bridges"])
    page.goto("/")
    settled(page)
    page.get_by_role("button", name="Searches", exact=True).click()
    links.click()
    expect(page.locator("#query")).to_have_value("a bridge")
    page.get_by_role("button", name="Searches", exact=True).click()
    dialog.get_by_role("button", name="Forget bridges").click()
    expect(links).to_have_count(1)  # it is a recent one again


def test_selections_are_opened_and_compared(page: Page, site: Site) -> None:
    with site.dataset.lock():
        for name, where in (("ones", "'%number 1%'"), ("fives", "'%5'")):
            select.select(site.dataset, name, select.Choice(f"caption like {where}"))
    ones, fives = (
        set(select.open_selection(site.dataset, name).table["key"].to_pylist())
        for name in ("ones", "fives")
    )
    page.goto("/")
    settled(page)
    page.get_by_role("button", name="Selections", exact=True).click()
    item = page.locator("#selections [data-name=ones]")
    item.get_by_label("Compare ones with").select_option("fives")
    parts = item.locator(".compared button")
    expect(parts).to_have_text([
        f"Only in ones: {len(ones - fives)} rows",
        f"Only in fives: {len(fives - ones)} rows",
        f"In both: {len(ones & fives)} row" + ("s" if len(ones & fives) != 1 else ""),
    ])  # fmt: skip
    parts.first.click()
    expect(page.locator("#status")).to_contain_text(f"{len(ones - fives)} rows")
    assert set(keys_of(page)) == ones - fives
    page.locator("#within").get_by_label("not in the selection fives").click()
    expect(page.locator("#status")).to_contain_text(f"{len(ones)} rows")
    assert set(keys_of(page)) == ones
    page.get_by_role("button", name="Selections", exact=True).click()
    with page.expect_download() as started:
        item.get_by_label("Download ones as").select_option("tar")
    assert started.value.suggested_filename == "ones.tar"
    for name in ("ones", "fives"):
        select.delete_selection(site.dataset, name)


def test_a_cluster_is_decided_about_and_the_decision_undone(page: Page, site: Site) -> None:
    page.goto("/?work=duplicates")
    dialog = page.locator("#work")
    original, copy = KEY["a cat, copied"], KEY["a cat, the copy"]
    kept = dialog.locator(f'[data-key="{copy}"]')
    kept.get_by_role("button", name=re.compile("drop the others")).click()
    expect(dialog.get_by_role("status")).to_contain_text("1 row dropped")
    assert decided(site.dataset) == {original: False, copy: True}
    expect(dialog.locator(".cluster")).to_have_count(0)  # nothing is left undecided
    dialog.get_by_role("button", name="Decisions").click()
    expect(dialog.locator("[data-decision]")).to_have_count(2)
    for number in (2, 1):
        dialog.get_by_role("button", name=f"Undo decision {number}", exact=True).click()
        expect(dialog.get_by_role("status")).to_contain_text(f"Decision {number} is undone")
    assert decided(site.dataset) == {}
    dialog.get_by_role("button", name="Close").click()
    assert "work" not in page.url
    search(page, "a bridge over a river")
    first = page.locator(CARDS).first
    key = str(first.get_attribute("data-key"))
    first.locator(".open").focus()
    page.keyboard.press("x")
    page.locator("#picked").get_by_role("button", name="Drop").click()
    expect(page.locator(f'{CARDS}[data-key="{key}"]')).to_have_count(0)
    assert decided(site.dataset) == {key: False}
    page.locator("#decided").get_by_role("button", name="Undo").click()
    expect(page.locator(f'{CARDS}[data-key="{key}"]')).to_have_count(1)
    assert decided(site.dataset) == {}


def test_failed_rows_are_listed_by_reason_and_how_they_are_requested_again(page: Page) -> None:
    page.goto("/?work=failed")
    dialog = page.locator("#work")
    expect(dialog.locator("summary")).to_have_text([
        "http_404: 2 rows", "opted_out:x_robots_tag: 1 row",
    ])  # fmt: skip
    dialog.locator("summary").first.click()
    expect(dialog.locator("[data-reason=http_404] li")).to_have_count(2)
    expect(dialog.locator("li").first).to_contain_text("gone")
    command = "frenchcat download --retry-failed --out DATASET"  # it takes no list
    expect(dialog.locator("code")).to_have_text(command)


ROWS = 1200
_SCROLLED = """async () => {
  const seen = [...document.querySelectorAll("#results .card")]
    .find(card => card.getBoundingClientRect().top > 300);
  const before = seen.getBoundingClientRect().top;
  scrollBy(0, -300);
  for (let n = 0; n < 3; n += 1) await new Promise(requestAnimationFrame);
  return seen.getBoundingClientRect().top - before;
}"""


def many(route: Route) -> None:
    """A page of 1,200 rows of which every seventh has a long caption."""
    body = route.request.post_data_json or {}
    rows = [
        {
            **{"key": f"{at:09d}", "caption": f"row {at}" + " and more" * (at % 7 == 0) * 12},
            **{"stored": True, "thumbnail": "/v1/thumbnails/cats/x", "copies": 0},
        }
        for at in range(body["skip"], min(ROWS, body["skip"] + body["k"]))
    ]
    route.fulfill(json={"rows": rows, "total": ROWS, "dataset": "cats", "next": None})


def test_of_a_thousand_rows_some_hundred_are_in_the_document(page: Page) -> None:
    page.route("**/v1/browse", many)
    page.route("**/v1/thumbnails/**", lambda route: route.fulfill(body=picture(1)))
    page.goto("/?fullCaptions=1")
    settled(page)
    while page.locator("#more").is_visible():
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(20)
    shown = page.locator("#results .card")
    assert shown.count() < 400
    # What is seen moves as far as it is scrolled, while cards come and go above it.
    for _ in range(12):
        assert page.evaluate(_SCROLLED) == pytest.approx(300, abs=2)
    shown.first.locator(".open").focus()
    page.keyboard.press("Home")
    expect(page.locator(":focus")).to_have_attribute("href", re.compile("row=000000000$"))
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_attribute("href", re.compile("row=000000001$"))
    page.keyboard.press("End")
    last = page.locator(":focus")
    expect(last).to_have_attribute("href", re.compile(f"row={ROWS - 1:09d}$"))
    card = page.locator(f'[data-key="{ROWS - 1:09d}"]')
    expect(card).to_have_attribute("aria-posinset", str(ROWS))
    expect(card).to_have_attribute("aria-setsize", str(ROWS))
    expect(card).to_be_in_viewport()
    assert shown.count() < 400
