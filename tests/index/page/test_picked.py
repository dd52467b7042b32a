"""Many rows at a time: picked by box, range and key; searched by, frozen, written out, removed."""

import csv
import io
import re
from typing import Any

from playwright.sync_api import Page, expect

from frenchcat.curate import select
from frenchcat.curate.removals import removed_keys
from tests.index.page.conftest import Site
from tests.index.page.look import KEY
from tests.index.page.test_look import CARDS, search, settled

BROKEN = KEY["a cat whose picture is broken"]


def keys_of(page: Page) -> list[str]:
    found: list[str] = page.locator(CARDS).evaluate_all("all => all.map(c => c.dataset.key)")
    return found


def test_rows_are_picked_by_box_range_and_key(page: Page) -> None:
    search(page)
    keys, bar = keys_of(page), page.locator("#picked")
    expect(bar).to_be_hidden()
    first = page.locator(CARDS).first
    first.hover()
    first.locator(".pick").check()
    expect(bar).to_contain_text("1 row picked")
    page.locator(f"{CARDS} .open").nth(3).click(modifiers=["Shift"])
    expect(page.locator("#detail")).to_be_hidden()
    expect(bar).to_contain_text("4 rows picked")
    chosen = page.locator(".card.chosen").evaluate_all("all => all.map(c => c.dataset.key)")
    assert chosen == keys[:4]
    page.locator(f"{CARDS} .open").nth(6).focus()
    page.keyboard.press("x")
    expect(bar).to_contain_text("5 rows picked")
    page.keyboard.press("x")
    expect(bar).to_contain_text("4 rows picked")
    page.keyboard.press("Control+a")
    # A picture that is broken may be hidden by now, or not yet.
    expect(bar).to_contain_text(re.compile(f"({len(keys) - 1}|{len(keys)}) rows picked"))
    expect(bar.get_by_role("button", name="Search by their sum")).to_be_disabled()
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(page.locator(".card.chosen")).to_have_count(0)


def pick(page: Page, number: int) -> list[str]:
    for at in range(number):
        page.locator(f"{CARDS} .open").nth(at).focus()
        page.keyboard.press("x")
    return keys_of(page)[:number]


def test_picked_rows_are_searched_by_frozen_and_written_out(page: Page, site: Site) -> None:
    search(page)
    keys, bar = pick(page, 3), page.locator("#picked")
    bar.get_by_role("button", name="Training selection").click()
    dialog = page.locator("#selecting")
    dialog.locator("#selection-name").fill("picked")
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("picked: 3 rows")
    made = select.open_selection(site.dataset, "picked").table["key"].to_pylist()
    assert made == sorted(keys)
    dialog.get_by_role("button", name="Close").click()
    with page.expect_download() as started:
        bar.get_by_role("combobox", name="Download as").select_option("csv")
    rows = list(csv.DictReader(io.StringIO(started.value.path().read_text())))
    assert [row["key"] for row in rows] == keys
    with page.expect_request("**/v1/search") as asked:
        bar.get_by_role("button", name="Search by their sum").click()
    terms: list[Any] = (asked.value.post_data_json or {})["terms"]
    assert [term["like"]["key"] for term in terms] == keys
    expect(page.locator("#asked img")).to_have_count(3)
    expect(bar).to_be_hidden()


def test_picked_rows_are_removed_together(page: Page, site: Site) -> None:
    search(page, "number 37")
    keys = pick(page, 2)
    page.locator("#picked").get_by_role("button", name="Remove…").click()
    dialog = page.locator("#removing")
    expect(dialog.locator("#remove-confirm")).to_have_text("Remove 2 rows")
    before = removed_keys(site.dataset)
    dialog.locator("#remove-confirm").click()
    expect(dialog).to_contain_text("2 rows are gone")
    assert removed_keys(site.dataset) - before == set(keys)
    dialog.get_by_role("button", name="Close").click()
    settled(page)
    expect(page.locator(f'{CARDS}[data-key="{keys[0]}"]')).to_have_count(0)
    expect(page.locator("#picked")).to_be_hidden()


def test_all_that_match_becomes_a_selection_whose_size_is_chosen(page: Page) -> None:
    search(page)
    pick(page, 1)
    page.locator("#picked").get_by_role("button", name=re.compile("All that match")).click()
    expect(page.locator("#selection-cut")).to_be_enabled()


def test_selections_are_renamed_downloaded_and_deleted(page: Page, site: Site) -> None:
    page.goto("/?where=caption like '%25number 2%25'")
    settled(page)
    page.get_by_role("button", name="Make this a training selection").click()
    making = page.locator("#selecting")
    making.locator("#selection-name").fill("twos")
    making.locator("#selection-limit").fill("3")
    making.get_by_role("button", name="Freeze it").click()
    expect(making.locator("h2")).to_have_text("twos: 3 rows")
    making.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Selections", exact=True).click()
    dialog = page.locator("#selections")
    item = dialog.locator("[data-name=twos]")
    with page.expect_download() as started:
        item.get_by_role("combobox", name="Download twos as").select_option("csv")
    rows = list(csv.DictReader(io.StringIO(started.value.path().read_text())))
    kept = select.open_selection(site.dataset, "twos").table["key"].to_pylist()
    assert [row["key"] for row in rows] == kept
    item.get_by_role("button", name="Rename…").click()
    item.get_by_label("New name").fill("deux")
    item.get_by_role("button", name="Rename").click()
    renamed = dialog.locator("[data-name=deux]")
    expect(renamed).to_contain_text("3 rows")
    for answer, there in (("Cancel", True), ("Delete it", False)):
        renamed.get_by_role("button", name="Delete…").click()
        page.locator("#confirm").get_by_role("button", name=answer).click()
        expect(renamed).to_have_count(1 if there else 0)
        assert ("deux" in select.names(site.dataset)) == there


def test_a_view_is_told_as_code_that_gives_the_same(page: Page, site: Site) -> None:
    search(page, more="&hybrid=1&hideImages=0")
    keys = keys_of(page)
    page.get_by_role("button", name="As code").click()
    code = page.locator("#as-code pre").nth(2).inner_text()
    curl = page.locator("#as-code pre").nth(1).inner_text()
    assert curl.startswith(f"curl {site.address}/v1/datasets/cats/search --json '")
    said: list[str] = []
    exec(code, {"print": lambda key, caption: said.append(key)})  # what the page says of itself
    # The page shows a broken picture's card until it knows, and may have more rows by then.
    keys, said = ([key for key in one if key != BROKEN] for one in (keys, said))
    both = min(len(keys), len(said))
    assert both > 30
    assert said[:both] == keys[:both]
