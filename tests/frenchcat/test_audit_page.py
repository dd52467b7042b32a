"""The page of an audit: what it says of each copy, whatever strangers wrote."""

import re
from dataclasses import replace

from PIL import Image

from frenchcat.audit_page import MOST, page
from frenchcat.curate.errors import NotFound
from frenchcat.train.audit import Copy, CopyAudit
from frenchcat.train.copies import Limits
from frenchcat.train.stamps import Stamps

COPY = Copy(
    "<script>alert(1)</script> & cat",
    7,
    {"cosine": 0.99, "pixels": -1.0, "prompt": 0.1},
    ("cosine", "pixels"),
    "000000003",
    1.25,
    0.987,
    "http://a.example/3.png",
    "Ada <b>",
    "CC BY 4.0",
    "a caption",
    Image.new("RGB", (8, 8), "red"),
)
STAMPS = Stamps(4, 0, 4, 0, 20, 1, 1, 0.052, 1.0)


def audit(*copies: Copy) -> CopyAudit:
    limits = Limits(0.9, -5.0, 1.0, 300, 0.01)
    told = ("d", "step-1", 1, "0" * 64, 4, 4, 20, limits, copies, STAMPS, 20, 3.0, "dpm++", 0)
    return CopyAudit(*told, notes=("few <controls>",))


def image(key: str) -> Image.Image:
    if key == "gone":
        raise NotFound("no such row")
    return Image.new("RGB", (400, 300), "blue")


def test_a_copy_is_shown_beside_its_image_with_whose_it_is() -> None:
    shown = page(audit(COPY), "run", image)
    assert "1 of 4 drawings are near copies" in shown
    assert shown.count('src="data:image/png;base64,') == 2
    assert "above the limit: content (CLIP), pixels; cosine 0.987, pixels differ by 1.2" in shown
    assert "Ada &lt;b&gt; · CC BY 4.0 · http://a.example/3.png" in shown
    assert "drawn, seed 7" in shown
    assert "trained on: 000000003" in shown
    assert STAMPS.line().split(":")[0] in shown


def test_what_strangers_wrote_stays_text() -> None:
    shown = page(audit(COPY), "<i>run", image)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; cat" in shown
    assert "few &lt;controls&gt;" in shown
    assert "<i>" not in shown
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", shown)


def test_a_megabyte_of_a_strangers_words_is_cut() -> None:
    long = "x" * 1_000_000
    copy = replace(COPY, prompt=long, creator=long, licence=long, url=f"http://{long}/")
    assert len(page(audit(copy), "run", image)) < 10_000


def test_an_image_that_is_gone_is_said_and_the_page_is_whole() -> None:
    shown = page(audit(replace(COPY, key="gone"), replace(COPY, drawing=None)), "run", image)
    assert "it is no longer in the dataset" in shown
    assert shown.count("<article>") == 2
    assert shown.rstrip().endswith("</html>")


def test_copies_beyond_those_that_are_shown_are_counted() -> None:
    light = replace(COPY, key="gone", drawing=None)
    shown = page(audit(*[light] * (MOST + 3)), "run", image)
    assert shown.count("<article>") == MOST
    assert "And 3 more, in audit.json." in shown
    assert "more, in audit.json" not in page(audit(*[light] * MOST), "run", image)
