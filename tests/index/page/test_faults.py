"""What misled, or was lost: loading, what rows say, ways back, switches, keys of other sites."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from frenchcat.curate import select
from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from tests.index.page.conftest import Site, new_page
from tests.index.page.look import AT, CAPTIONS, KEY, KEYS, SECRET, make, serving
from tests.index.page.test_look import CARDS, everything, search, settled, shown
from tests.sample.pictures import picture

FRENCH = "a french cat with a beret"
PICTURES = "**/v1/thumbnails/**"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(ClipSettings())


@pytest.fixture(scope="module")
def two(site: Site, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of two datasets that asks for little at a time, without ratings and prompts."""
    other = make(tmp_path_factory.mktemp("two") / "dogs", clip)
    other.update_manifest({"name": "dogs"})
    with serving([site.dataset, other], clip, rate=10) as address:
        # What only the first search costs is not what is tested.
        httpx.post(f"{address}/v1/search", json={"text": "a cat"}, timeout=120).raise_for_status()
        yield address


def asked_searches(page: Page) -> list[dict[str, Any]]:
    """The bodies of the searches that a page sends from now on."""
    sent: list[dict[str, Any]] = []

    def keep(request: Request) -> None:
        if "/v1/search" in request.url:
            sent.append(request.post_data_json or {})

    page.on("request", keep)
    return sent


def sent_by_the_server(page: Page) -> list[str]:
    """The addresses of what the server sends from now on: not what the browser kept.

    Nor refusals: of a damaged image the page asks once more, to tell why.
    """
    sent: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def keep(event: dict[str, Any]) -> None:
        found = event["response"]
        if found["status"] == 200 and not found.get("fromDiskCache"):
            sent.append(found["url"])

    session.on("Network.responseReceived", keep)
    return sent


def held(page: Page, pattern: str) -> list[Route]:
    """The requests of a pattern, which wait for somebody to go on with them."""
    waiting: list[Route] = []
    page.route(pattern, lambda route: waiting.append(route))
    return waiting


def until(page: Page, there: Any) -> None:
    while not there():
        page.wait_for_timeout(10)


def test_a_rate_does_not_keep_a_fresh_page_blank(browser: Browser, two: str) -> None:
    refused: list[str] = []
    for page in new_page(browser, two):
        page.on("response", lambda one: refused.append(one.url) if one.status == 429 else None)
        search(page)
        expect(page.locator(f"{CARDS} img.loaded").nth(7)).to_be_visible()
    assert refused == []


def test_the_first_search_and_its_pictures_do_not_wait_for_the_pages_script(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("/", 3)[3]))
    sent = sent_by_the_server(page)
    script = held(page, "**/page-*.js")
    with page.expect_response("**/v1/thumbnails/**"):
        page.goto("/?query=french cat", wait_until="commit")
    until(page, lambda: script)
    assert asked.count("v1/search") == 1
    script[0].continue_()
    expect(shown(page, FRENCH).locator("img.loaded")).to_be_visible()
    settled(page)
    pictures = [url for url in sent if "/v1/thumbnails/" in url]
    assert pictures
    assert sorted(pictures) == sorted(set(pictures))  # none twice
    assert asked.count("v1/search") == 1
    columns = [path for path in asked if path.startswith("v1/columns")]
    assert len(columns) == 1
    assert len([path for path in asked if path.endswith(".js")]) == 1


def test_a_place_that_is_returned_to_is_asked_for_once(page: Page) -> None:
    search(page)
    page.keyboard.press("End")
    expect(page.locator("#more")).to_be_hidden()
    page.goto("/healthz")
    sent = asked_searches(page)
    page.go_back()
    settled(page)
    assert [body["k"] > 40 for body in sent] in ([], [True])  # []: the browser kept the page


def test_a_picture_that_failed_once_is_asked_for_again(page: Page) -> None:
    failed: list[str] = []

    def once(route: Route) -> None:
        if route.request.url in failed:
            return route.continue_()
        failed.append(route.request.url)
        return route.fulfill(status=503, body="{}")

    page.route(PICTURES, once)
    search(page)
    card = shown(page, FRENCH)
    expect(card.locator("img.loaded")).to_be_visible()
    assert any(KEY[FRENCH] in url for url in failed)


def test_pictures_that_do_not_come_keep_their_places_and_no_page_is_asked_for(page: Page) -> None:
    sent = asked_searches(page)
    page.route(PICTURES, lambda route: route.abort())
    search(page)
    expect(page.locator("img[data-waiting]").first).to_be_attached()
    expect(page.locator(CARDS)).to_have_count(40)
    assert len(sent) == 1


def test_where_all_are_broken_nothing_is_fetched_without_being_asked(page: Page) -> None:
    sent = asked_searches(page)
    page.route(PICTURES, lambda route: route.fulfill(status=404, body="{}"))
    page.goto("/?query=french cat")
    # Pictures are fetched as they come near, so all are once those before them are hidden.
    expect(page.locator("#hidden [data-reason=broken]")).to_have_text("40 broken")
    assert len(sent) == 1
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#more")).to_be_hidden()
    assert [body["skip"] for body in sent] == [0, 40]


def test_a_jump_to_the_end_while_a_page_is_on_its_way_is_not_lost(page: Page) -> None:
    search(page)
    waiting = held(page, "**/v1/search")
    page.keyboard.press("End")
    until(page, lambda: waiting)
    page.keyboard.press("Home")
    page.keyboard.press("End")
    waiting[0].continue_()
    page.unroute("**/v1/search")
    expect(page.locator("#more")).to_be_hidden()


def test_while_the_server_is_slow_or_gone_the_results_stay(page: Page) -> None:
    search(page)
    waiting = held(page, "**/v1/search")
    page.locator("#query").fill("a red car")
    page.locator("#query").press("Enter")
    expect(page.locator("#status")).to_have_text("Searching…")
    expect(shown(page, FRENCH)).to_be_visible()
    until(page, lambda: waiting)
    waiting[0].abort()
    expect(page.locator("#problem")).to_contain_text("does not answer")
    expect(page.locator("#status")).to_contain_text("what was there before: french cat")
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_server_that_is_gone_at_first_is_asked_again(page: Page) -> None:
    page.route("**/v1/datasets", lambda route: route.abort())
    page.goto("/?query=french cat")
    expect(page.locator("#problem")).to_contain_text("does not answer")
    page.unroute("**/v1/datasets")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)


def test_rows_say_why_they_are_dropped_and_how_many_copies_they_have(page: Page) -> None:
    everything(page, "&hideDropped=0&hideImages=0")
    dropped = page.locator(".dropped")
    expect(dropped).to_have_count(1)
    expect(shown(page, "a cat that a verdict drops").locator(".dropped")).to_have_text(
        "dropped: too_small"
    )
    copies = page.locator(f"{CARDS} .card-actions button", has_text="cop")
    expect(copies).to_have_text(["1 copy", "1 copy"])
    shown(page, "a cat that a verdict drops").locator(".open").click()
    expect(page.locator("#detail .dropped")).to_have_text("dropped: too_small")
    expect(page.locator("#detail dt", has_text="punsafe")).to_be_visible()


def test_the_detail_says_what_another_row_says_of_the_same_image(page: Page) -> None:
    everything(page, "&hideImages=0")
    shown(page, "a cat, copied").locator(".open").click()
    line = page.locator("#detail .also-seen")
    expect(line).to_have_text("Also seen as “a cat, the copy” at example.org")
    line.get_by_role("button").click()
    expect(page.locator("#detail .words")).to_have_text("a cat, the copy")
    expect(line).to_have_count(0)  # which row it contradicts is not known


def test_a_picture_is_saved_with_a_key(guarded: Page, site: Site) -> None:
    guarded.goto("/?query=french cat")
    guarded.locator("#key").fill(SECRET)
    guarded.locator("#key").press("Enter")
    expect(guarded.locator(CARDS).first).to_contain_text(FRENCH)
    guarded.locator(".open").first.click()
    with guarded.expect_download() as started:
        guarded.get_by_role("button", name="Save picture").click()
    assert started.value.suggested_filename == f"{KEY[FRENCH]}.png"
    with open(site.dataset.path("shards/00000.tar"), "rb") as tar:
        assert started.value.path().read_bytes() in tar.read()


def test_a_wrong_key_is_said(guarded: Page) -> None:
    guarded.goto("/")
    guarded.locator("#key").fill("a-key-that-nobody-gave")
    guarded.locator("#key").press("Enter")
    expect(guarded.locator("#problem")).to_contain_text("does not know the key")


def test_a_key_goes_to_another_site_only_where_that_is_agreed_to(
    browser: Browser, site: Site, clip: Clip, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(SECRET)
    with serving([site.dataset], clip, api_key_file=str(keys), cors=(site.address,)) as other:
        for page in new_page(browser, site.address, others=(other,)):
            told: list[str] = []
            page.on(
                "request",
                lambda request: (
                    told.append(request.headers.get("x-api-key", ""))  # noqa: B023
                    if request.url.startswith(other)
                    else None
                ),
            )
            page.goto(f"/?query=french cat&back={other}")
            expect(page.locator("#key-note")).to_contain_text("is not this page's site")
            for button in ("Cancel", "Send it"):
                page.locator("#key").fill(SECRET)
                page.locator("#key").press("Enter")
                expect(page.locator("#confirm")).to_contain_text(other)
                assert set(told) == {""}
                page.locator("#confirm").get_by_role("button", name=button).click()
            expect(page.locator(CARDS).first).to_contain_text(FRENCH)
            assert SECRET in told


def test_the_skip_link_keeps_a_picture(page: Page) -> None:
    page.goto("/")
    settled(page)
    file: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": picture(0, 64, 48)}
    page.locator("#upload").set_input_files(file)
    expect(page.locator("#status")).to_contain_text("nearest")
    first = str(page.locator(CARDS).first.get_attribute("data-key"))
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"{CARDS} .open").first).to_be_focused()
    expect(page.get_by_role("img", name="your picture")).to_be_visible()
    page.evaluate("location.hash = 'results'")  # as an address of a place in the page does it
    expect(page.get_by_role("img", name="your picture")).to_be_visible()
    expect(page.locator(CARDS).first).to_have_attribute("data-key", first)


def test_like_is_the_same_picture_in_another_dataset(browser: Browser, two: str) -> None:
    for page in new_page(browser, two):
        search(page)
        page.locator(f"{CARDS} .open").first.focus()
        page.keyboard.press("p")
        expect(page.locator("#asked img")).to_have_attribute(
            "alt", f"the picture {KEYS[0]} of cats"
        )
        with page.expect_request("**/v1/search") as asked:
            page.locator("#index").select_option("dogs")
        body = asked.value.post_data_json or {}
        assert (body["dataset"], body["like"]) == ("dogs", {"dataset": "cats", "key": KEYS[0]})
        expect(page.locator("#asked img")).to_have_attribute(
            "alt", f"the picture {KEYS[0]} of cats"
        )


def test_back_returns_to_the_place(page: Page) -> None:
    search(page)
    page.keyboard.press("End")
    expect(page.locator("#more")).to_be_hidden()
    card = page.locator(CARDS).nth(50)
    key = str(card.get_attribute("data-key"))
    card.scroll_into_view_if_needed()
    card.locator(".open").click()
    expect(page.locator("#detail")).to_be_visible()
    top = page.evaluate("scrollY")
    assert top > 500
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?query=french(\+|%20)cat$"))
    card.locator(".open").focus()
    sent = asked_searches(page)
    page.keyboard.press("c")  # another search
    expect(page.locator("#query")).not_to_have_value("french cat")
    settled(page)
    page.go_back()
    expect(page.locator("#query")).to_have_value("french cat")
    expect(page.locator(f'{CARDS}[data-key="{key}"]')).to_be_in_viewport()
    assert len(sent) == 1  # the list was there
    assert abs(page.evaluate("scrollY") - top) < 5
    page.reload()
    expect(page.locator(f'{CARDS}[data-key="{key}"]')).to_be_in_viewport()
    page.keyboard.press("/")
    page.keyboard.type("a red car")
    page.keyboard.press("Enter")  # another list begins at its top
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    assert page.evaluate("scrollY") == 0


def test_arrows_go_on_past_the_fortieth_and_captions_are_announced(page: Page) -> None:
    search(page)
    cards = page.locator(CARDS)
    # By its number: the last one is another while scrolling to it loads more, and the card of the
    # picture that is broken may be hidden by then.
    cards.nth(cards.count() - 2).locator(".open").click()
    detail = page.locator("#detail")
    words = detail.locator(".words")
    for _ in range(3):
        before = words.inner_text()
        page.keyboard.press("ArrowRight")
        expect(words).not_to_have_text(before)
    expect(detail.get_by_role("status")).to_have_text(words.inner_text())
    after = detail.get_by_role("button", name="The next picture")
    after.focus()
    page.keyboard.press("Enter")
    expect(detail.get_by_role("button", name="The next picture")).to_be_focused()
    key = str(page.url.rpartition("row=")[2])
    page.keyboard.press("Escape")
    expect(page.locator(f'[data-key="{key}"] .open')).to_be_focused()


def test_switches_that_do_nothing_are_disabled_and_say_why(guarded: Page) -> None:
    guarded.goto("/")
    guarded.locator("#key").fill(SECRET)
    guarded.locator("#key").press("Enter")
    settled(guarded)
    violence = guarded.locator("#violence")
    expect(violence).to_be_disabled()
    expect(violence).not_to_be_checked()
    expect(guarded.locator("#violence-note")).to_contain_text("--violence")
    expect(guarded.locator("#aesthetic-note")).to_contain_text("--ratings")
    expect(guarded.locator("#similarities")).to_be_disabled()  # nothing is searched for
    expect(guarded.locator("#safe")).to_be_enabled()
    guarded.locator("#query").fill("cat")
    guarded.locator("#query").press("Enter")
    expect(guarded.locator("#similarities")).to_be_enabled()
    expect(guarded.locator("#captions")).to_be_enabled()
    guarded.locator("#fullCaptions").check()
    expect(guarded.locator("#captions")).to_be_disabled()


def test_an_unknown_dataset_in_the_address_is_said(page: Page) -> None:
    page.goto("/?query=french cat&index=rhinos")
    expect(page.locator("#problem")).to_contain_text("no dataset “rhinos”")
    expect(page.locator("#index")).to_have_value("rhinos")
    expect(page.locator("#results .card")).to_have_count(0)
    page.locator("#problem").get_by_role("button", name="cats").click()
    expect(page.locator(CARDS).first).to_contain_text(FRENCH)
    expect(page.locator("#problem")).to_be_hidden()


def test_what_is_wrong_with_a_condition_is_said_once(page: Page) -> None:
    page.goto("/?query=cat&where=widht > 5")
    wrong, problem = page.locator("#where-error"), page.locator("#problem")
    expect(wrong).to_contain_text("widht")
    expect(problem).to_be_hidden()
    page.locator("#open-options").click()
    expect(problem).to_contain_text("widht")
    expect(wrong).to_be_hidden()


def test_captions_have_their_direction_and_forced_colours_their_switches(page: Page) -> None:
    search(page)
    expect(page.locator(".caption").first).to_have_attribute("dir", "auto")
    page.emulate_media(forced_colors="active")
    style = "e => getComputedStyle(e).appearance"
    assert page.locator("#safe").evaluate(style) == "auto"
    chosen = page.locator("#by-image + span")
    assert chosen.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [390, 1280])
def test_a_caption_of_3000_characters_pushes_nothing_away(page: Page, width: int) -> None:
    long = ("a very long caption " * 150)[:3000]
    page.set_viewport_size({"width": width, "height": 844})

    def lengthened(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["hits"][0]["caption"] = long
        route.fulfill(response=answer, json=body)

    page.route("**/v1/search", lengthened)
    search(page, more="&fullCaptions=1")
    card = page.locator(CARDS).first
    box = card.bounding_box()
    assert box is not None
    assert box["height"] < 844
    card.locator(".open").click()
    actions = page.locator("#detail .detail-actions")
    actions.scroll_into_view_if_needed()
    height = page.locator("#detail .words").evaluate("e => e.clientHeight")
    assert height < 844 / 2
    if width == 1280:
        expect(actions).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_selection_is_cut_off_by_similarity(page: Page, site: Site) -> None:
    search(page)
    page.get_by_role("button", name="Make this a training selection").click()
    dialog = page.locator("#selecting")
    rows, cut = dialog.locator("#selection-k"), dialog.locator("#selection-cut")
    expect(cut).to_be_enabled()
    proposed = int(rows.input_value())
    assert 0 < proposed < len(CAPTIONS) / 2  # not all of them
    expect(dialog.locator(".border .in")).to_have_count(min(4, proposed))
    rows.fill("6")
    expect(dialog.locator(".border .in")).to_have_count(4)
    said = [float(text) for text in dialog.locator(".border small").all_inner_texts()]
    assert said == sorted(said, reverse=True)
    cut.fill(str((said[1] + said[2]) / 2))  # between the fourth and the fifth
    expect(rows).to_have_value("4")
    expect(dialog.locator("#selection-count")).to_contain_text("4 of ")
    dialog.locator("#selection-name").fill("cut")
    dialog.get_by_role("button", name="Freeze it").click()
    expect(dialog.locator("h2")).to_have_text("cut: 4 rows")
    made = select.open_selection(site.dataset, "cut").table["key"].to_pylist()
    nearest = page.locator(CARDS).evaluate_all("cards => cards.slice(0, 4).map(c => c.dataset.key)")
    assert sorted(made) == sorted(nearest)


def test_values_are_counted_and_filter(page: Page) -> None:
    page.goto(f"/?where=key < '{AT['a cat, number 0']:09d}'")
    settled(page)
    page.locator("#facets summary").click()
    licence = page.locator("[data-facet=license] li button").first
    expect(licence).to_contain_text("creativecommons")
    expect(page.locator("[data-facet=reason] li button")).to_have_text(["too_small1"])
    page.locator("[data-facet=reason] li button").click()
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page.locator(".dropped")).to_have_text("dropped: too_small")
    expect(page.locator("#where")).to_have_value(
        f"key < '{AT['a cat, number 0']:09d}' AND reason = 'too_small'"
    )
    page.locator("[data-facet=reason] li button[aria-pressed=true]").click()
    expect(page.locator("#where")).to_have_value(f"key < '{AT['a cat, number 0']:09d}'")


def test_rows_are_put_in_the_order_of_a_column(page: Page) -> None:
    page.goto("/")
    settled(page)
    page.locator("#sort").select_option("-caption")
    expect(page.locator(CARDS).first).to_contain_text("a red car")
    assert "sort=-caption" in page.url
    page.locator("#sort").select_option("caption")
    expect(page.locator(CARDS).first).to_contain_text("<img src=x")


def test_a_phone_shows_bars_from_the_left(phone: Page) -> None:
    search(phone)
    phone.locator("#open-options").click()
    phone.locator("#facets summary").click()
    values = phone.locator("[data-facet=reason] li button, [data-facet=domain] li button")
    expect(values.first).to_be_visible()
    for value in values.all():
        edge, text, bar = (
            value.locator(one).evaluate("one => one.getBoundingClientRect().left")
            for one in ("xpath=.", ".value", "i")
        )
        assert edge <= text == bar < edge + 20
