"""Searching: words, pictures, every toggle, conditions, pages, and what is hidden and why."""

import base64
import contextlib
import json
from typing import Any

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.index.page.conftest import Site
from tests.index.page.look import AT, KEY, LONG, XSS, left
from tests.sample.pictures import picture

CARDS = "#results .card:not([hidden])"


def search(page: Page, text: str = "french cat", more: str = "") -> None:
    page.goto(f"/?query={text}{more}")
    settled(page)


def settled(page: Page) -> None:
    expect(page.locator("#results:not([aria-busy]) .card").first).to_be_attached()
    # Until the cards are painted the browser scrolls by keys as though they were not there.
    page.evaluate("new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))")


def shown(page: Page, caption: str) -> Any:
    return page.locator(f'{CARDS}[data-key="{KEY[caption]}"]')


def pointed(card: Any, name: str) -> Any:
    """A button that shows while the mouse is on its card; pictures that load move cards away."""
    button = card.get_by_role("button", name=name)
    for _ in range(30):
        card.evaluate("card => card.scrollIntoView({block: 'center'})")
        with contextlib.suppress(TimeoutError):
            card.hover(timeout=1000)
            button.click(timeout=1000, trial=True)
            break
    return button


def everything(page: Page, more: str = "") -> None:
    """All rows: a query with a condition that leaves those with a purpose."""
    search(page, "cat", f"&where=key < '{AT['a cat, number 0']:09d}'{more}")


def test_french_cat(page: Page) -> None:
    page.goto("/")
    page.locator("#query").fill("french cat")
    page.locator("#query").press("Enter")
    first = page.locator(CARDS).first
    expect(first).to_contain_text("a french cat with a beret")
    expect(first).to_contain_text("Colette, CC BY-SA 4.0")
    expect(first.get_by_role("img")).to_have_attribute("alt", "a french cat with a beret")
    expect(page).to_have_title("french cat - frenchcat")
    expect(page.locator("#status")).to_contain_text("nearest")


def test_pages_follow_while_scrolling(page: Page, site: Site) -> None:
    asked: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda request: asked.append(request.post_data_json) if request.post_data else None,
    )
    search(page)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("#more")).to_be_hidden()
    assert [(body["k"], body["skip"]) for body in asked] == [(40, 0), (40, 40)]
    keys = page.locator(CARDS).evaluate_all("cards => cards.map(card => card.dataset.key)")
    assert len(keys) == len(set(keys))
    # All but: unsafe, dropped, a copy, an address twice, broken, violent.
    expect(page.locator(CARDS)).to_have_count(left(site.dataset) - 6)


@pytest.mark.parametrize(
    ("toggle", "caption"),
    [
        ("safe", "a cat that is unsafe"),
        ("violence", "a black dog in the snow"),
        ("hideUrls", "a cat with the same address"),
        ("hideImages", "a cat, the copy"),
        ("hideDropped", "a cat that a verdict drops"),
    ],
)
def test_what_is_left_out_is_shown_when_switched_off(page: Page, toggle: str, caption: str) -> None:
    everything(page)
    switch = page.locator(f"#{toggle}")
    expect(switch).to_be_checked()
    expect(shown(page, caption)).to_have_count(0)
    switch.uncheck()
    pair = {"hideUrls": ["a cat with an address", caption]}.get(toggle, [caption])
    for one in pair:
        expect(shown(page, one)).to_have_count(1)
    switch.check()
    expect(page.locator(CARDS)).to_have_count(7)


def test_why_rows_are_hidden_is_counted_and_can_be_undone(page: Page) -> None:
    search(page, "a black dog in the snow")
    chip = page.locator("#hidden [data-reason=violence]")
    expect(chip).to_have_text("1 violent")
    chip.click()
    expect(page.locator("#violence")).not_to_be_checked()
    expect(page.locator(CARDS).first).to_contain_text("a black dog in the snow")
    expect(page.locator("#hidden")).to_contain_text("nearer")
    page.goto("/")
    settled(page)
    expect(page.locator("#hidden")).to_contain_text("not shown: 1 of an address already shown")
    expect(page.locator("#hidden")).not_to_contain_text("nearer")  # nothing is asked
    everything(page)
    for reason in ("url", "broken"):
        expect(page.locator(f"#hidden [data-reason={reason}]")).to_contain_text("1 ")
    page.locator("#hidden [data-reason=where]").click()
    expect(page.locator("#where")).to_have_value("")


@pytest.mark.parametrize(
    ("reason", "caption"),
    [
        ("unsafe", "a cat that is unsafe"),
        ("dropped", "a cat that a verdict drops"),
        ("duplicate", "a cat, the copy"),
    ],
)
def test_judged_rows_are_counted_by_reason(page: Page, reason: str, caption: str) -> None:
    search(page, caption)
    page.locator(f"#hidden [data-reason={reason}]").click()
    expect(shown(page, caption)).to_have_count(1)
    expect(page.locator(f"#hidden [data-reason={reason}]")).to_have_count(0)


def test_broken_pictures_are_hidden(page: Page) -> None:
    everything(page)
    key = KEY["a cat whose picture is broken"]
    expect(page.locator(f'[data-key="{key}"]')).to_be_hidden()
    expect(page.locator("#hidden [data-reason=broken]")).to_have_text("1 broken")


def test_captions_full_captions_and_similarities(page: Page) -> None:
    everything(page)
    card = shown(page, LONG)
    caption = card.locator(".caption")
    expect(page.locator("#captions")).to_be_checked()
    expect(page.locator("#fullCaptions")).not_to_be_checked()
    expect(page.locator("#similarities")).not_to_be_checked()
    expect(caption).to_have_text(LONG[:50] + "…")
    page.locator("#fullCaptions").check()
    expect(caption).to_have_text(LONG)
    page.locator("#fullCaptions").uncheck()
    page.locator("#captions").uncheck()
    expect(caption).to_be_hidden()
    expect(card.locator(".similarity")).to_be_hidden()
    page.locator("#similarities").check()
    expect(card.locator(".similarity")).to_contain_text("0.")


def test_aesthetic_scoring_moves_the_query(page: Page) -> None:
    search(page)
    first = page.locator(CARDS).first
    expect(page.locator("#aesthetic")).not_to_be_checked()
    page.locator("#aesthetic").check()
    expect(page.locator("#score")).to_have_value("9")
    expect(page.locator("#weight")).to_have_value("0.5")
    page.locator("#weight").fill("5")
    page.locator("#weight").press("Tab")
    expect(first).to_contain_text("a red car")
    page.locator("#score").fill("3")
    expect(first).to_contain_text("a french cat with a beret")


def test_search_over_pictures_or_captions(page: Page) -> None:
    search(page)
    expect(page.locator("#by-image")).to_be_checked()
    page.get_by_text("Captions", exact=True).first.click()
    expect(page.locator("#by-text")).to_be_checked()
    # The caption vectors are those of other rows.
    expect(page.locator(CARDS).first).to_contain_text("a red car")


def test_multilingual_says_what_it_comes_to(page: Page) -> None:
    search(page)
    expect(page.locator("#mclip-note")).to_be_hidden()
    page.locator("#useMclip").check()
    expect(page.locator("#mclip-note")).to_contain_text("many languages")
    page.reload()
    expect(page.locator("#useMclip")).to_be_checked()


def test_defaults_come_back(page: Page) -> None:
    everything(page, "&safe=0&captions=0&by=text&similarities=1")
    page.get_by_role("button", name="Back to the defaults").click()
    for name in ("safe", "captions"):
        expect(page.locator(f"#{name}")).to_be_checked()
    expect(page.locator("#similarities")).not_to_be_checked()
    assert page.url.endswith("?query=cat")


@pytest.mark.parametrize("way", ["upload", "drop", "paste"])
def test_a_picture_is_a_query(page: Page, way: str) -> None:
    page.goto("/")
    settled(page)
    data = picture(0, 64, 48)
    with page.expect_request("**/v1/search") as asked:
        if way == "upload":
            file: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": data}
            page.locator("#upload").set_input_files(file)
        else:
            page.evaluate(_GIVE, [way, base64.b64encode(data).decode()])
    assert "picture" in asked.value.post_data_json
    expect(page.get_by_role("img", name="your picture")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("nearest")
    page.get_by_role("button", name="Search without the picture").click()
    expect(page.locator("#status")).to_contain_text("can be shown")
    page.go_back()
    expect(page.get_by_role("img", name="your picture")).to_be_visible()


def test_a_link_to_an_uploaded_picture_says_that_it_is_missing(page: Page) -> None:
    page.goto("/?where=width > 1")
    settled(page)
    note = page.locator("#unlinked")
    expect(note).to_be_hidden()
    file: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": picture(0, 64, 48)}
    page.locator("#upload").set_input_files(file)
    expect(note).to_contain_text("not in this page's address")
    link = page.url
    page.reload()
    expect(note).to_contain_text("not in this page's address")  # the tab has it still
    page.goto("about:blank")
    page.goto(link)
    expect(note).to_contain_text("Upload the picture again")
    expect(page.get_by_role("img", name="your picture")).to_be_hidden()
    page.locator("#view-map").click()  # nothing else is asked
    expect(note).to_contain_text("Upload the picture again")
    page.locator("#query").fill("a red car")
    page.locator("#query").press("Enter")
    expect(note).to_be_hidden()
    assert "uploaded" not in page.url


def test_what_is_no_picture_is_refused_in_words(page: Page) -> None:
    page.goto("/")
    settled(page)
    file: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator("#upload").set_input_files(file)
    expect(page.locator("#problem")).to_contain_text("cannot be decoded")


def test_search_by_a_results_picture_and_caption(page: Page) -> None:
    search(page)
    card = shown(page, LONG)
    with page.expect_response("**/v1/search"):
        pointed(card, "Search by this caption").click()
    settled(page)
    expect(page.locator("#query")).to_have_value(LONG)
    expect(page.locator(CARDS).first).to_contain_text(LONG[:50])
    key = page.locator(CARDS).nth(1).get_attribute("data-key")
    pointed(page.locator(CARDS).nth(1), "Search by this picture").click()
    expect(page.locator(CARDS).first).to_have_attribute("data-key", str(key))
    expect(page.locator("#query")).to_have_value("")
    assert f"like={key}" in page.url


def test_a_condition_is_completed_and_applied(page: Page) -> None:
    page.goto("/")
    settled(page)
    field = page.locator("#where")
    field.press_sequentially("capt")
    options = page.locator("#where-list li")
    expect(options.first).to_contain_text("caption")
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "where-0")
    field.press("Enter")
    expect(field).to_have_value("caption ")
    field.press_sequentially("like '%capt")
    expect(page.locator("#where-list")).to_be_hidden()  # inside a text nothing is completed
    field.fill("caption like '%car'")
    field.press("Enter")
    expect(page.locator("#status")).to_have_text("1 row meet the condition")
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page.locator(CARDS)).to_contain_text("a red car")


def test_a_wrong_condition_is_said(page: Page) -> None:
    search(page)
    field = page.locator("#where")
    field.fill("widht > 5")
    field.press("Enter")
    expect(page.locator("#where-error")).to_contain_text("widht")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("width > 5")
    field.press("Enter")
    expect(page.locator("#where-error")).to_be_hidden()
    expect(page.locator(CARDS).first).to_be_visible()


def test_the_list_is_downloaded(page: Page, site: Site) -> None:
    search(page)
    with page.expect_download() as started:
        page.get_by_role("button", name="Download list").click()
    rows = json.loads(started.value.path().read_text())
    assert started.value.suggested_filename == "cats-french-cat.json"
    assert rows[0]["key"] == KEY["a french cat with a beret"]
    assert len(rows) == left(site.dataset) - 4  # urls and broken pictures are the page's matter
    assert {"similarity", "url", "caption"} <= set(rows[0])


def test_captions_are_text_whatever_they_hold(page: Page) -> None:
    everything(page, "&fullCaptions=1")
    expect(shown(page, XSS).locator(".caption")).to_have_text(XSS)
    shown(page, XSS).locator(".open").click()
    expect(page.locator("#detail .words")).to_have_text(XSS)
    expect(page.locator('img[src$="/x"], img[src="x"]')).to_have_count(0)
    expect(page).to_have_title("cat - frenchcat")


def test_the_state_lies_in_the_address(page: Page, site: Site) -> None:
    search(page)
    page.locator("#similarities").check()
    page.locator("#safe").uncheck()
    page.locator("#where").fill("width >= 8")
    page.locator("#where").press("Enter")
    settled(page)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    settled(page)
    expect(page.locator("#query")).to_have_value("french cat")
    expect(page.locator("#where")).to_have_value("width >= 8")
    expect(page.locator("#similarities")).to_be_checked()
    expect(page.locator("#safe")).not_to_be_checked()
    page.locator("#query").fill("a red car")
    page.locator("#query").press("Enter")
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    page.go_back()
    expect(page.locator("#query")).to_have_value("french cat")
    expect(page.locator(CARDS).first).to_contain_text("a french cat")
    page.go_forward()
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    page.goto(f"/?back={site.address}/&index=cats&imageUrl=http://127.0.0.1:1/a.png")
    expect(page.locator("#back")).to_have_value(site.address + "/")
    expect(page.locator("#asked")).to_contain_text("picture at 127.0.0.1:1")
    expect(page.locator("#problem")).to_be_visible()


_GIVE = """([way, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], "cat.png", { type: "image/png" }));
  const event = way === "drop"
    ? new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: given, bubbles: true, cancelable: true });
  document.querySelector("#results").dispatchEvent(event);
}"""
