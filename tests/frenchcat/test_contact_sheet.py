"""The contact sheet: one file that holds its pictures, asks nobody and runs no one's words."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from frenchcat.contact_sheet import contact_sheet
from frenchcat.curate.errors import UserError
from frenchcat.index.search import Hit


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture(width: int = 600, height: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(out, "PNG")
    return out.getvalue()


def hit(number: int, similarity: float, **more: Any) -> Hit:
    columns = more.pop("columns", {})
    base = {"caption": f"caption {number}", "url": f"https://example.org/{number}.png"}
    return Hit(
        key=f"{number:09d}", id=number, similarity=similarity, columns=columns, **base | more
    )


def test_every_hit_is_there_in_order_with_a_small_picture_of_its_own(tmp_path: Path) -> None:
    hits = [hit(1, 0.8), hit(2, 0.4), hit(3, -0.2)]
    asked = []

    def stored(one: Hit) -> bytes:
        asked.append(one.key)
        return picture()

    contact_sheet(hits, "a cat", tmp_path / "new" / "page.html", stored)
    page = Page(tmp_path / "new" / "page.html")
    assert asked == [one.key for one in hits]
    images = page.all("img")
    assert [image["alt"] for image in images] == ["caption 1", "caption 2", "caption 3"]
    for image in images:
        kind, data = str(image["src"]).split(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as small:
            assert small.size == (256, 128)
    for text in ("a cat", "0.800", "0.400", "-0.200", "3 nearest"):
        assert text in page.text
    assert [bar["style"] for bar in page.all("i")] == ["width:100%", "width:50%", "width:0%"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_nobodys_words_become_a_part_of_the_page(tmp_path: Path) -> None:
    evil = "\"'><script>alert(1)</script><img src=https://example.org/x>"
    columns = {"creator": evil, "license": evil}
    hits = [
        hit(1, 0.5, caption=evil, url='https://example.org/"><script>', columns=columns),
        hit(2, 0.5, url="javascript:alert(1)"),
        hit(3, 0.5, url=f"http://{evil}/"),
        hit(4, 0.5, caption=None, url=None),
    ]
    contact_sheet(hits, evil, tmp_path / "page.html", lambda _: picture())
    page = Page(tmp_path / "page.html")
    assert page.all("script") == []
    assert len(page.all("img")) == 4
    assert page.text.count("<script>alert(1)</script>") >= 3  # shown as what they are
    links = [str(link["href"]) for link in page.all("a")]
    assert len(links) == 2
    assert all(link.startswith(("http://", "https://")) for link in links)
    assert all("noreferrer" in str(link["rel"]) for link in page.all("a"))


def test_a_megabyte_of_a_strangers_words_is_cut(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    columns = {"creator": long, "license": long}
    hits = [hit(1, 0.5, caption=long, url=f"http://{long}/", columns=columns)]
    contact_sheet(hits, "a cat", tmp_path / "page.html", lambda _: picture())
    page = Page(tmp_path / "page.html")
    assert len(page.text) < 5_000
    assert page.all("a") == [], "no address is so long"


def test_it_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    contact_sheet([hit(1, 0.5)], "a cat", tmp_path / "page.html", lambda _: picture())
    page = Page(tmp_path / "page.html")
    assert {tag for tag, _ in page.tags} & {"link", "script", "iframe", "object", "base"} == set()
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert "url(" not in page.text
    assert "@import" not in page.text


def test_makers_are_named_before_hosts(tmp_path: Path) -> None:
    licence = "https://creativecommons.org/licenses/by/4.0/"
    hits = [hit(1, 0.5, columns={"creator": "Ann", "license": licence}), hit(2, 0.5)]
    contact_sheet(hits, "a cat", tmp_path / "page.html", lambda _: picture())
    text = Page(tmp_path / "page.html").text
    assert "Ann, CC BY 4.0" in text
    assert text.count("example.org") == 1


@pytest.mark.parametrize("data", [b"", b"no picture", picture()[:40]])
def test_a_broken_picture_leaves_its_place_empty(tmp_path: Path, data: bytes) -> None:
    contact_sheet([hit(1, 0.5)], "a cat", tmp_path / "page.html", lambda _: data)
    (image,) = Page(tmp_path / "page.html").all("img")
    assert image["src"] == "data:,"


def test_no_hits_are_a_page_too_and_a_bad_place_is_one_line(tmp_path: Path) -> None:
    contact_sheet([], "a cat", tmp_path / "page.html", lambda _: picture())
    assert "nothing found" in Page(tmp_path / "page.html").text
    with pytest.raises(UserError, match="cannot be written"):
        contact_sheet([], "a cat", tmp_path / "page.html" / "x.html", lambda _: picture())
