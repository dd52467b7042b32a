"""The page's view of "has it been used?": rows, selections, nothing found, and a mistake."""

from playwright.sync_api import Page, expect

from frenchcat.curate import select
from tests.index.page.conftest import Site
from tests.index.page.test_look import search


def test_an_image_that_was_used_is_found_and_another_is_not(page: Page, site: Site) -> None:
    select.select(site.dataset, "asked-for", select.Choice(where="key < '000000004'"))
    search(page)
    page.get_by_role("button", name="Has it been used?").click()
    dialog, answer = page.locator("#used"), page.locator("#used-answer")
    rows = select.open_selection(site.dataset, "asked-for").table.to_pylist()
    dialog.get_by_label("Look for").select_option("url")
    dialog.get_by_label("Which").fill(rows[0]["url"])
    dialog.get_by_label("Which").press("Enter")
    expect(answer).to_contain_text("Yes: 1 row.")
    expect(answer).to_contain_text(rows[0]["caption"])
    expect(answer).to_contain_text("asked-for: 1 row")
    expect(answer).to_contain_text("Checkpoints that cannot forget")
    dialog.get_by_label("Look for").select_option("creator")
    dialog.get_by_label("Which").fill("nobody at all")
    dialog.get_by_role("button", name="Look", exact=True).click()
    expect(answer).to_contain_text("No row matches.")
    dialog.get_by_label("Look for").select_option("sha256")
    dialog.get_by_label("Which").fill("abc")
    dialog.get_by_role("button", name="Look", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("64 hex digits")
    expect(answer).to_be_empty()
    select.delete_selection(site.dataset, "asked-for")
