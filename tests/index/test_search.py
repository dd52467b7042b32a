"""Search against brute force over the stored vectors; hits' rows and pictures by key."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.image import open_image
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.sample.embedded import add_shard, embedded
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write

DIM = 16
PICTURES = np.concatenate([unit_rows(60), unit_rows(41, seed=1)])
TEXTS = np.concatenate([unit_rows(60, seed=5), unit_rows(41, seed=6)])


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    dataset = Dataset.create(tmp_path_factory.mktemp("search") / "d", "d")
    add_shard(dataset, "00000", PICTURES[:60], TEXTS[:60])
    add_shard(dataset, "00003", PICTURES[60:], TEXTS[60:])
    build_index(dataset)
    return Searcher(dataset)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 150), by=st.sampled_from(["image", "text"]))
def test_search_is_brute_force_and_gives_exactly_k(
    searcher: Searcher, seed: int, k: int, by: str
) -> None:
    (query,) = unit_rows(1, seed=seed)
    stored = (PICTURES if by == "image" else TEXTS).astype(np.float16).astype(np.float32)
    expected = np.minimum(np.sort(stored @ query)[::-1][:k], 1)
    hits = searcher.query(vector=query, k=k, by=by)
    assert len(hits) == min(k, len(PICTURES))
    assert len({hit.key for hit in hits}) == len(hits)
    np.testing.assert_allclose([hit.similarity for hit in hits], expected, atol=2e-6)


def test_a_row_finds_itself_with_its_own_caption_url_and_picture(searcher: Searcher) -> None:
    for at, key in ((0, "000000000"), (59, "000000059"), (60, "000030000"), (100, "000030040")):
        (hit,) = searcher.query(vector=PICTURES[at], k=1)
        assert hit.key == key
        assert hit.similarity == pytest.approx(1, abs=1e-3)
        assert (hit.caption, hit.url) == (f"caption of {key}", f"http://example.org/{key}.png")
        assert searcher.picture(hit) == picture(int(key[-4:]))
        assert hit.as_dict()["width"] == 8
        (by_text,) = searcher.query(vector=TEXTS[at], k=1, by="text")
        assert by_text.key == key


def test_a_similarity_is_a_cosine_whatever_is_rounded(searcher: Searcher) -> None:
    """Stored vectors are float16: some are longer than 1 by up to half a thousandth."""
    found = [searcher.query(vector=row, k=1)[0].similarity for row in PICTURES]
    assert min(found) > 0.999
    assert max(found) == 1


def test_a_vector_of_any_length_is_made_a_unit(searcher: Searcher) -> None:
    (hit,) = searcher.query(vector=(7 * PICTURES[3]).tolist(), k=1)
    assert hit.similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "exactly one of: a text, an image, a vector"),
        ({"text": "a", "vector": [1.0]}, "exactly one of: a text, an image, a vector"),
        ({"text": "  "}, "the query is empty"),
        ({"vector": [1.0, 2.0]}, "has 2 numbers; the index has 16"),
        ({"vector": [[1.0] * DIM]}, "has the shape"),
        ({"vector": [float("nan")] * DIM}, "not a number"),
        ({"vector": [0.0] * DIM}, "is zero"),
        ({"vector": ["x"] * DIM}, "is not a list of 16 numbers"),
        ({"vector": [1.0] * DIM, "k": 0}, "k is 0"),
        ({"vector": [1.0] * DIM, "by": "smell"}, "one of: image, text"),
        ({"picture": "/nowhere/cat.jpg"}, "no such file"),
        ({"picture": b"GIF89a"}, "cannot be decoded"),
        ({"picture": b"hello"}, "it is not an image but text"),
    ],
)
def test_bad_queries_are_refused_in_words(
    searcher: Searcher, query: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        searcher.query(**query)  # type: ignore[arg-type]


def test_a_picture_that_claims_too_many_pixels_is_not_decoded() -> None:
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    with pytest.raises(UserError, match="claims"):
        open_image(out.getvalue())


@pytest.mark.parametrize(
    ("there", "chain"),
    [
        ("nothing", "frenchcat build URLS --out {}"),
        ("images", "frenchcat embed {0}, then frenchcat index {0}"),
        ("vectors", "frenchcat index {}"),
    ],
)
def test_without_an_index_every_command_that_is_missing_is_named(
    tmp_path: Path, there: str, chain: str
) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    if there == "images":
        write(dataset, "00000", [Row()])
    elif there == "vectors":
        add_shard(dataset, "00000", unit_rows(2))
    with pytest.raises(NotFound) as refused:
        Searcher(dataset)
    assert str(refused.value) == f"{dataset.root} has no index; run: {chain.format(dataset.root)}"


def test_no_index_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(5))
    with pytest.raises(UserError, match="has no index; run: frenchcat index"):
        Searcher(dataset)
    build_index(dataset)
    other = embedded(tmp_path / "e", unit_rows(6))
    build_index(other)
    foreign = {path.name.split("-")[0]: path for path in Path(other.path("index")).glob("*-*")}
    for path in Path(dataset.path("index")).glob("*-*"):
        own = path.read_bytes()
        path.write_bytes(foreign[path.name.split("-")[0]].read_bytes())
        with pytest.raises(UserError, match=r"bytes where index\.json says"):
            Searcher(dataset)
        path.write_bytes(b"\0" * len(own))
        with pytest.raises(UserError, match="run: frenchcat index"):
            Searcher(dataset)
        path.unlink()
        with pytest.raises(UserError, match="missing; run: frenchcat index"):
            Searcher(dataset)
        path.write_bytes(own)
    assert len(Searcher(dataset)) == 5
