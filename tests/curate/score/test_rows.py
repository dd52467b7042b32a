"""Scores made from rows: captions, languages, LAION's hash."""

import mmh3
import py3langid
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.score.caption import Caption, is_boilerplate, is_filename
from frenchcat.curate.score.laion_hash import LaionHash, laion_hash
from frenchcat.curate.score.language import Language

CAPTIONS = {
    "en": "A french cat is asleep on the windowsill while it rains in the street",
    "fr": "Un chat français dort sur le rebord de la fenêtre pendant qu'il pleut",
    "de": "Eine französische Katze schläft auf der Fensterbank, während es regnet",
    "es": "Un gato francés duerme en el alféizar de la ventana mientras llueve",
    "it": "Un gatto francese dorme sul davanzale della finestra mentre piove",
    "ja": "フランスの猫が窓辺で眠っている間に雨が降っています",
}


def test_languages_are_py3langids() -> None:
    rows = pa.table({"caption": [*CAPTIONS.values(), "", "  ", None]})
    found = Language().of_rows(rows)
    assert list(found["language"]) == [*CAPTIONS, None, None, None]
    assert [py3langid.classify(text)[0] for text in CAPTIONS.values()] == list(CAPTIONS)
    confidences = list(found["language_confidence"])
    assert all(0.5 < confidence <= 1 for confidence in confidences[:-3])
    assert confidences[-3:] == [None] * 3


def test_what_is_no_language_says_so() -> None:
    rows = pa.table({"caption": ["1234 5678", "xqz"]})
    assert all(code in ("zxx", "und") for code in Language().of_rows(rows)["language"])


@pytest.mark.parametrize(
    ("text", "words", "chars"),
    [("a french cat", 3, 12), ("cat", 1, 3), (" two  words\n", 2, 12), ("", 0, 0), (None, 0, 0)],
)
def test_what_datacomps_basic_filter_counts(text: str | None, words: int, chars: int) -> None:
    found = Caption().of_rows(pa.table({"caption": pa.array([text], pa.string())}))
    assert (found["caption_words"][0], found["caption_chars"][0]) == (words, chars)
    # DataComp, baselines/apply_filter.py: more than one word and more than five characters.
    kept = found["caption_words"][0] > 1 and found["caption_chars"][0] > 5
    assert kept == (len((text or "").split()) > 1 and len(text or "") > 5)


FILES = (
    "IMG_0042.jpg", "DSC00017", "photo-1 (3).png", "uploads/2019/cat.webp", "a french cat.jpeg",
    "Screenshot 2020-01-02", "image001", "d41d8cd98f00b204", "20190304_112233", "P1010023.JPG",
)  # fmt: skip
BOILERPLATE = (
    "Click to enlarge", "no image available", "Stock photo", "image", "logo", "[IMAGE]",
    "Image may contain: 1 person, smiling", "A cat - click to enlarge", "Kein Bild vorhanden",
    "embedded image permalink", "This image has an empty alt attribute; its file name is a.jpg",
)  # fmt: skip
HONEST = (
    "a french cat", "cat", "1984", "Windows 95", "Photo of a french cat", "the image of a saint",
    "Route 66", "Deadbeef", "Chat français", "a logo of a cat club", "5 cats in 2 boxes",
    "download festival 2019 crowd", "No parking", "猫", "Mr. Jpg at the beach", "B-52",
)  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_names_of_files_and_cameras(text: str) -> None:
    assert is_filename(text)


@pytest.mark.parametrize("text", BOILERPLATE)
def test_templates_words(text: str) -> None:
    assert is_boilerplate(text)


@pytest.mark.parametrize("text", HONEST)
def test_captions_by_people_are_neither(text: str) -> None:
    assert not is_filename(text)
    assert not is_boilerplate(text)


@given(st.text(max_size=60))
def test_any_caption_gets_an_answer(text: str) -> None:
    assert is_filename(text) in (True, False)
    assert is_boilerplate(text) in (True, False)
    if not text.strip():
        assert not is_filename(text)
        assert not is_boilerplate(text)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=40))
def test_laions_hash(url: str, caption: str) -> None:
    caption = caption.encode(errors="ignore").decode()
    assert laion_hash(url, caption) == mmh3.hash64((url + caption).encode())[0]
    assert -(2**63) <= laion_hash(url, caption) < 2**63


def test_laions_hash_of_rows() -> None:
    rows = pa.table({"url": ["http://a.test/1.jpg", None], "caption": ["a cat", None]})
    expected = [mmh3.hash64(b"http://a.test/1.jpga cat")[0], mmh3.hash64(b"")[0]]
    assert LaionHash().of_rows(rows)["hash"] == expected
