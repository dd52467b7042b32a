"""Doing: selections, duplicates, removals, keys, the map, phones, dark and light, API keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from frenchcat.curate import select
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.removals import removed_keys
from tests.index.page.conftest import Site, new_page
from tests.index.page.look import CAPTIONS, KEY, KEYS, LONG, SECRET, left, make, serving
from tests.index.page.test_look import CARDS, search, settled, shown

FRENCH = "a french cat with a beret"


def test_a_query_becomes_a_training_selection(page: Page, site: Site) -> None:
    search(page)
    page.get_by_role("button", name="Make this a training selection").click()
    dialog = page.locator("#selecting")
    expect(dialog.locator("#selection-name")).to_have_value("french-cat")
    dialog.locator("#selection-k").fill("5")
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("french-cat: 5 rows")
    command = dialog.locator("#train-command").inner_text()
    assert command == (
        "frenchcat train train-demo "
        f"--set data.dataset={site.dataset.root} --set data.selection=french-cat"
    )
    made = select.open_selection(site.dataset, "french-cat")
    assert len(made) == 5
    assert FRENCH in made.table["caption"].to_pylist()
    expect(dialog.locator("code")).to_have_text(made.digest[:16])


def test_a_filter_becomes_a_training_selection(page: Page, site: Site) -> None:
    page.goto("/?where=caption like '%25number 1%25' or caption like '%25copy'")
    settled(page)
    page.get_by_role("button", name="Make this a training selection").click()
    dialog = page.locator("#selecting")
    dialog.locator("#selection-name").fill("ones")
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("ones: 11 rows")
    captions = select.open_selection(site.dataset, "ones").table["caption"].to_pylist()
    assert sorted(captions) == sorted(text for text in CAPTIONS if "number 1" in text)
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Make this a training selection").click()
    dialog.locator("#selection-name").fill("no good")
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("A training selection")  # the field says why


def test_another_selections_name_is_taken_only_where_that_is_agreed_to(
    page: Page, site: Site
) -> None:
    def freeze(where: str) -> Any:
        page.goto(f"/?where={where}")
        settled(page)
        page.get_by_role("button", name="Make this a training selection").click()
        dialog = page.locator("#selecting")
        dialog.locator("#selection-name").fill("twice")
        dialog.get_by_role("button", name="Freeze it").click()
        return dialog

    expect(freeze("caption like 'a red%25'").locator("h2")).to_have_text("twice: 1 row")
    dialog = freeze("caption like 'a bridge%25' or caption like 'a red%25'")
    expect(dialog.locator(".error")).to_contain_text("has a selection 'twice' already")
    assert len(select.open_selection(site.dataset, "twice")) == 1
    dialog.locator("#selection-replace").check()
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("twice: 2 rows")


def test_a_removal_takes_what_is_shown_and_nothing_else(page: Page, site: Site) -> None:
    """While the preview of a whole site is on its way, that of one row is not to be confirmed."""
    last = CAPTIONS[-2]
    search(page, last)
    shown(page, last).locator(".open").click()
    page.get_by_role("button", name="Remove…").click()
    dialog = page.locator("#removing")
    confirm, total = dialog.locator("#remove-confirm"), dialog.locator("#remove-total")
    expect(confirm).to_have_text("Remove 1 row")
    held: list[Route] = []
    page.route("**/v1/remove", lambda route: held.append(route))
    dialog.locator("#remove-by").select_option("domain")
    expect(confirm).to_be_disabled()
    expect(confirm).to_have_text("Remove")
    confirm.evaluate("button => button.click()")
    while not held:
        page.wait_for_timeout(10)
    held[0].continue_()
    page.unroute("**/v1/remove")
    rows = left(site.dataset)
    expect(confirm).to_have_text(f"Remove {rows} rows")
    for typed, allowed in (("", False), (str(rows - 1), False), (str(rows), True)):
        total.fill(typed)
        expect(confirm).to_be_enabled(enabled=allowed)
    dialog.locator("#remove-by").select_option("key")
    expect(confirm).to_have_text("Remove 1 row")
    expect(total).to_be_hidden()
    confirm.click()
    expect(dialog).to_contain_text("1 row is gone")
    assert (left(site.dataset), KEYS[-2] in removed_keys(site.dataset)) == (rows - 1, True)


def test_the_drawer_holds_the_duplicates(page: Page) -> None:
    search(page, "a cat, copied")
    shown(page, "a cat, copied").locator(".open").focus()
    page.keyboard.press("d")
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("1 other row is a copy of this one, or nearly.")
    expect(drawer.locator("li")).to_have_count(2)
    drawer.locator(f"li[data-key='{KEY['a cat, the copy']}'] button").click()
    expect(drawer).to_be_hidden()
    expect(page.locator("#detail .words")).to_have_text("a cat, the copy")


def test_a_removed_picture_is_gone(page: Page, site: Site) -> None:
    last = CAPTIONS[-1]
    search(page, last)
    shown(page, last).locator(".open").click()
    page.get_by_role("button", name="Remove…").click()
    dialog = page.locator("#removing")
    confirm = dialog.locator("#remove-confirm")
    expect(confirm).to_have_text("Remove 1 row")
    assert KEYS[-1] not in removed_keys(site.dataset)
    confirm.click()
    expect(dialog).to_contain_text("1 row is gone")
    assert KEYS[-1] in removed_keys(site.dataset)
    dialog.get_by_role("button", name="Close").click()
    expect(shown(page, last)).to_have_count(0)
    expect(page.locator("#results .card").first).to_be_visible()


def test_a_key_is_asked_for_and_removals_are_reported(guarded: Page, site: Site) -> None:
    page = guarded
    page.goto("/?query=french cat")
    expect(page.locator("#problem")).to_contain_text("needs a key")
    expect(page.locator("#key")).to_be_focused()
    page.locator("#key").fill(SECRET)
    page.locator("#key").press("Enter")
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)
    expect(page.locator(f"{CARDS} img.loaded").first).to_be_visible()
    expect(page.get_by_role("button", name="Make this a training selection")).to_be_hidden()
    page.locator(".open").first.click()
    expect(page.get_by_role("button", name="Remove…")).to_have_count(0)
    report = page.get_by_role("link", name="Report…")
    address = str(report.get_attribute("href"))
    assert address.startswith("mailto:cats@example.org")
    assert KEY[FRENCH] in address
    assert SECRET not in page.url


def test_all_of_it_by_keys(page: Page) -> None:
    page.goto("/")
    settled(page)
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("french cat")
    page.keyboard.press("Enter")
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)
    opens = page.locator(f"{CARDS} .open")
    expect(page.locator(".open[tabindex='0']")).to_have_count(1)
    opens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(opens.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.closest('.card').offsetTop")
    assert below > opens.nth(1).evaluate("link => link.closest('.card').offsetTop")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    expect(opens.first).to_be_focused()
    outline = opens.first.evaluate("e => getComputedStyle(e.closest('.card')).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#detail .words")).to_have_text(FRENCH)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail .words")).not_to_have_text(FRENCH)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail .words")).to_have_text(FRENCH)
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(opens.first).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Search by this picture").first).to_be_focused()
    page.keyboard.press("p")
    expect(page.locator("#asked img")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    expect(page.locator("#map")).to_be_visible()


def test_the_map_is_wandered_in(page: Page, site: Site) -> None:
    whole = str(left(site.dataset) - 4)  # but what is unsafe, dropped, violent or a copy
    search(page, "french cat", "&view=map")
    canvas = page.locator("#canvas")
    expect(canvas).to_have_attribute("data-points", whole)
    expect(page.locator("#map-said")).to_contain_text("In the middle: ")
    canvas.focus()
    for _ in range(9):
        page.keyboard.press("+")
    expect(canvas).not_to_have_attribute("data-points", whole)
    page.keyboard.press("0")
    expect(canvas).to_have_attribute("data-points", whole)
    page.keyboard.press("Enter")
    words = page.locator("#detail .words")
    expect(words).not_to_be_empty()
    assert f"In the middle: {words.inner_text()}" in page.locator("#map-said").inner_text()
    page.keyboard.press("Escape")
    expect(canvas).to_be_focused()
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -1500)
    expect(canvas).not_to_have_attribute("data-points", whole)


def test_on_the_map_a_press_opens_and_a_drag_moves(page: Page) -> None:
    page.goto(f"/?view=map&where=key = '{KEYS[0]}'")
    canvas = page.locator("#canvas")
    expect(canvas).to_have_attribute("data-pictures", "1")  # in the middle, being alone
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y + 40, steps=3)
    page.mouse.up()
    expect(page.locator("#detail")).to_be_hidden()
    page.mouse.click(x + 20, y)  # where it was
    expect(page.locator("#detail")).to_be_hidden()
    page.mouse.click(x - 120, y + 40)
    expect(page.locator("#detail .words")).to_have_text(FRENCH)


def test_pictures_are_drawn_on_the_map(page: Page) -> None:
    page.goto(f"/?view=map&where=key in ('{KEYS[0]}', '{KEYS[2]}', '{KEYS[12]}')")
    expect(page.locator("#canvas")).to_have_attribute("data-pictures", "3")
    page.locator("#view-pictures").click()
    expect(page.locator(CARDS)).to_have_count(3)


def test_on_a_phone_in_the_dark(phone: Page) -> None:
    search(phone)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    columns = phone.locator("#results").evaluate("e => getComputedStyle(e).gridTemplateColumns")
    assert len(columns.split()) == 2
    assert phone.locator("html").get_attribute("data-theme") == "dark"
    expect(phone.locator("#options")).to_be_hidden()
    phone.locator("#open-options").tap()
    phone.locator("#fullCaptions").check()
    phone.get_by_role("button", name="Close the options").tap()
    expect(phone.locator("#options")).to_be_hidden()
    expect(shown(phone, LONG).locator(".caption")).to_have_text(LONG)
    phone.locator(".open").first.tap()
    expect(phone.locator("#detail .words")).to_have_text(FRENCH)
    width = phone.locator("#detail").evaluate("e => e.scrollWidth")
    assert width <= 390


def test_dark_and_light_by_a_switch_that_stays(page: Page) -> None:
    page.goto("/")
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark or light").click()
    expect(html).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    expect(html).to_have_attribute("data-theme", "dark")


@pytest.fixture
def two(browser: Browser, site: Site, tmp_path: Path) -> Iterator[Page]:
    """A page of a server of two datasets."""
    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.clip.settings import ClipSettings

    clip: Clip = load_clip(ClipSettings())
    other = make(tmp_path / "dogs", clip)
    other.update_manifest({"name": "dogs"})
    with serving([site.dataset, other], clip) as address:
        yield from new_page(browser, address, reduced_motion="reduce")


def test_another_dataset_is_chosen(two: Page) -> None:
    search(two)
    expect(two.locator("#index option")).to_have_count(2)
    with two.expect_request("**/v1/search") as asked:
        two.locator("#index").select_option("dogs")
    assert asked.value.post_data_json["dataset"] == "dogs"
    expect(two.locator("#about")).to_contain_text("dogs: 73 rows")
    assert "index=dogs" in two.url
    moved = two.locator("#safe").evaluate("e => getComputedStyle(e).transitionDuration")
    assert moved == "0s"  # motion is reduced


def test_a_back_end_that_is_none_is_said_and_left(page: Page, site: Site) -> None:
    search(page)
    for address, said in (
        ("nonsense", "is no back end's address"),
        (site.address + "/nothing", "there is nothing at"),
    ):
        page.locator("#back").fill(address)
        page.locator("#back").press("Enter")
        expect(page.locator("#problem")).to_contain_text(said)
        expect(page.locator("#results .card")).to_have_count(0)
    page.go_back()
    page.go_back()
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)
    expect(page.locator("#problem")).to_be_hidden()


def test_another_servers_pictures_are_seen_where_it_allows_this_page(
    browser: Browser, site: Site
) -> None:
    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.clip.settings import ClipSettings

    clip: Clip = load_clip(ClipSettings())
    with serving([site.dataset], clip, cors=(site.address,)) as other:
        for page in new_page(browser, site.address, others=(other,)):
            page.goto(f"/?query=french cat&back={other}")
            expect(page.locator(CARDS).first).to_contain_text(FRENCH)
            image = page.locator(f"{CARDS} img.loaded").first
            assert str(image.get_attribute("src")).startswith(other)
