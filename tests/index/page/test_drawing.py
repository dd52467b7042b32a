""" "Draw this query": offered where there is a model, shown as drawn, with receipts that open."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.select import Choice, select
from frenchcat.draw_backend import draw_backend_of
from frenchcat.train.loop import train
from frenchcat.verify_file import verify_file
from tests.index.page.conftest import Site, new_page
from tests.index.page.look import serving
from tests.index.page.test_look import search, settled
from tests.index.page.test_narrow import cut
from tests.train.runs import settings

WORDS = "a french cat with a beret"


@pytest.fixture(scope="module")
def address(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the same rows that draws, with a run that was trained on them."""
    folder = tmp_path_factory.mktemp("drawing")
    clip: Clip = load_clip(ClipSettings())
    with site.dataset.lock():
        select(site.dataset, "to-draw-from", Choice(where="caption like 'a%'"))
    data = {"tars": None, "dataset": site.dataset.root, "selection": "to-draw-from"}
    few = {"steps": 1, "warmup": 0}
    run = train(settings(folder / "none", folder / "run", data=data, optimizer=few))
    words = folder / "words.txt"
    words.write_text("gore\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        given: dict[str, Any] = {"refused_words": str(words), "draw_steps": 3}
        with serving([site.dataset], clip, draw_backend_of(run), **given) as there:
            yield there


@pytest.fixture
def drawing(browser: Browser, address: str) -> Iterator[Page]:
    yield from new_page(browser, address)


def drawn(page: Page) -> Locator:
    page.get_by_role("button", name="Draw this query").click()
    dialog = page.locator("#drawing")
    expect(dialog.get_by_role("status")).to_contain_text("drawn in")
    return dialog


def test_nothing_of_a_drawing_is_cut_on_a_phone(drawing: Page) -> None:
    drawing.set_viewport_size({"width": 390, "height": 844})
    search(drawing, WORDS)
    expect(drawing.locator("#draw")).to_be_visible()
    found = cut(drawing)
    drawn(drawing)
    found += cut(drawing)
    assert not found, "\n".join(found)


def test_without_a_model_it_is_not_offered(page: Page) -> None:
    search(page)
    expect(page.locator("#draw")).to_be_hidden()


def test_it_is_offered_where_there_are_words(drawing: Page) -> None:
    drawing.goto("/")
    settled(drawing)
    expect(drawing.locator("#draw")).to_be_hidden()
    drawing.locator("#query").fill(WORDS)
    drawing.locator("#query").press("Enter")
    expect(drawing.locator("#draw")).to_be_visible()
    drawing.goto(f"/?query={WORDS}&where=key is null")  # nothing is found, and can be drawn
    expect(drawing.locator("#status")).to_contain_text("Nothing found")
    expect(drawing.locator("#draw")).to_be_visible()


def test_pictures_are_shown_as_drawn_and_saved_signed(drawing: Page, tmp_path: Path) -> None:
    search(drawing, WORDS)
    dialog = drawn(drawing)
    expect(dialog.get_by_role("heading", name="Drawn by a model")).to_be_visible()
    expect(dialog).to_contain_text("in no dataset")
    pictures = dialog.get_by_role("img", name=f"drawn by a model: {WORDS}")
    expect(pictures).to_have_count(2)
    assert pictures.first.evaluate("image => image.naturalWidth") == 16
    expect(dialog.locator(".badge").first).to_have_text("drawn by a model")
    expect(dialog.locator("figcaption")).to_have_text([re.compile("seed 0"), re.compile("seed 1")])
    with drawing.expect_download() as started:
        dialog.get_by_role("link", name="Save signed PNG").nth(1).click()
    assert started.value.suggested_filename == "a-french-cat-with-a-beret-1.png"
    started.value.save_as(tmp_path / "saved.png")
    said = verify_file(tmp_path / "saved.png")
    assert (said["intact"], said["generated"]) == (True, True)
    assert (said["facts"]["prompt"], said["facts"]["seed"]) == (WORDS, 1)
    expect(drawing.locator("#results img[src^=data]")).to_have_count(0)


def test_the_nearest_training_pictures_open(drawing: Page) -> None:
    search(drawing, WORDS)
    dialog = drawn(drawing)
    near = dialog.locator("li").first.locator(".near li")
    expect(near).to_have_count(5)
    expect(near.first.locator("small")).to_have_text(re.compile(r"^-?\d\.\d{3}$"))
    expect(dialog).to_contain_text("not copied from")
    shown = near.filter(has=drawing.locator("button")).first
    key = shown.get_attribute("data-key")
    shown.locator("button").click()
    expect(dialog).to_be_hidden()
    expect(drawing.locator("#detail")).to_be_visible()
    assert f"row={key}" in drawing.url


def test_a_training_picture_that_may_not_be_seen_is_not_shown(drawing: Page) -> None:
    seen: list[bool] = []

    def answered(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        first = told["pictures"][0]["nearest"][0]
        told["pictures"][0]["nearest"][0] = {n: first[n] for n in ("key", "similarity")}
        told["withheld"] = 1
        seen.extend("thumbnail" in one for one in told["pictures"][0]["nearest"])
        route.fulfill(response=answer, json=told)

    drawing.route("**/v1/draw", answered)
    search(drawing, WORDS)
    dialog = drawn(drawing)
    near = dialog.locator("li").first.locator(".near li")
    expect(near.first).to_contain_text("not shown here")
    expect(near.first.locator("img, button")).to_have_count(0)
    assert [bool(one.locator("img").count()) for one in near.all()] == seen
    assert any(seen)
    expect(dialog.get_by_role("status")).to_contain_text("1 picture was withheld as unsafe")


def test_others_are_drawn_as_asked(drawing: Page) -> None:
    search(drawing, WORDS)
    dialog = drawn(drawing)
    dialog.locator("#draw-prompt").fill("a red car")
    dialog.locator("#draw-number").fill("1")
    dialog.locator("#draw-guidance").fill("2.5")
    with drawing.expect_request("**/v1/draw") as asked:
        dialog.get_by_role("button", name="Draw others").click()
    body = asked.value.post_data_json
    assert (body["prompt"], body["number"], body["guidance"]) == ("a red car", 1, 2.5)
    assert (body["seed"], body["steps"], body["safe"]) == (2, 3, True)
    expect(dialog.get_by_role("img", name="drawn by a model: a red car")).to_have_count(1)
    expect(dialog.locator("figcaption")).to_contain_text("seed 2")


def test_what_is_refused_is_said(drawing: Page) -> None:
    search(drawing, WORDS)
    dialog = drawn(drawing)
    dialog.locator("#draw-prompt").fill("gore")
    dialog.get_by_role("button", name="Draw others").click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not answer that query")
    expect(dialog.get_by_role("button", name="Draw others")).to_be_enabled()
    drawing.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(drawing.locator("#draw")).to_be_focused()


def test_on_a_phone_nothing_is_cut_off(browser: Browser, address: str) -> None:
    for page in new_page(browser, address, has_touch=True):
        page.set_viewport_size({"width": 390, "height": 844})
        search(page, WORDS)
        dialog = drawn(page)
        assert dialog.evaluate("e => e.scrollWidth <= e.clientWidth")
