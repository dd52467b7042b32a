"""Removal: matched, logged, absent at once, compacted, proven gone, never brought back."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from frenchcat.curate.adopt import adopt
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.hash_lists import HashList, read_hash_lists, with_removed
from frenchcat.curate.removals import removed, without_removed
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove, residue
from frenchcat.curate.select import open_selection, select
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.sample.columns import set_columns
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.tars import read_tar, write_tar
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

VECTORS = unit_rows(30)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", VECTORS, unit_rows(20, seed=1))
    build_index(made)
    select(made, "all")
    return made


def take_out(dataset: Dataset, by: str, value: str, near: bool = False) -> list[str]:
    asked_for = RemovalQuery(by, value, near)
    found = matches(dataset, asked_for)
    remove(dataset, asked_for, found)
    return [match.key for match in found]


@pytest.mark.parametrize(
    ("by", "value", "keys"),
    [
        ("url", "http://example.org/000000007.png", ["000000007"]),
        ("url", "HTTP://EXAMPLE.org:80/000000007.png", ["000000007"]),
        ("uid", f"{7:032x}", ["000000007"]),
        ("key", "000010003", ["000010003"]),
    ],
)
def test_a_wish_names_its_rows(dataset: Dataset, by: str, value: str, keys: list[str]) -> None:
    assert [match.key for match in matches(dataset, RemovalQuery(by, value))] == keys


def test_a_domain_names_all_its_rows(dataset: Dataset) -> None:
    assert len(matches(dataset, RemovalQuery("domain", "example.org"))) == 50
    assert matches(dataset, RemovalQuery("domain", "example.com")) == []


def test_removed_rows_are_absent_at_once(dataset: Dataset) -> None:
    searcher = Searcher(dataset)  # opened before the removal, as a server's is
    before = searcher.query(vector=VECTORS[7], k=50)
    digest = open_selection(dataset, "all").digest
    assert before[0].key == "000000007"
    take_out(dataset, "key", "000000007")
    after = searcher.query(vector=VECTORS[7], k=50)
    assert [hit.key for hit in after] == [hit.key for hit in before[1:]]
    with Catalog(dataset) as catalog:
        assert catalog.count() == 49
    chosen = open_selection(dataset, "all")
    assert "000000007" not in chosen.table["key"].to_pylist()
    assert chosen.digest != digest


def test_compaction_leaves_no_trace_and_the_rest_as_it_was(dataset: Dataset) -> None:
    hits = {hit.key: hit for hit in Searcher(dataset).query(vector=VECTORS[3], k=50)}
    gone = take_out(dataset, "key", "000000007") + take_out(dataset, "uid", f"{10019:032x}")
    assert residue(dataset)
    assert compact(dataset) == {"rows": 2, "shards": 2}
    build_index(dataset)
    assert residue(dataset) == []
    searcher = Searcher(dataset)
    left = {hit.key: hit for hit in searcher.query(vector=VECTORS[3], k=50)}
    assert set(left) == set(hits) - set(gone)
    for key, hit in left.items():
        assert hit.similarity == hits[key].similarity
        assert searcher.picture(hit) == picture(int(key[-4:]))
    for row in open_selection(dataset, "all").table.to_pylist():
        data = Path(dataset.path(f"shards/{row['shard']}.tar")).read_bytes()
        assert data[row["offset"] :][: row["size"]] == picture(int(row["key"][-4:]))


def test_compaction_knows_the_shard_of_a_key_with_fewer_digits(tmp_path: Path) -> None:
    """img2dataset writes three for the row where a shard holds a thousand."""
    source = embedded(tmp_path / "made", unit_rows(3))
    shards = Path(source.path("shards"))
    short = [f"00000{row:03d}" for row in range(3)]
    set_columns(source, "shards/00000.parquet", key=short)
    members = read_tar(shards / "00000.tar").items()
    write_tar(shards / "00000.tar", [(name[:5] + name[6:], data) for name, data in members])
    dataset = adopt(shards, tmp_path / "d").dataset
    assert take_out(dataset, "key", "00000001") == ["00000001"]
    assert compact(dataset) == {"rows": 1, "shards": 1}
    assert residue(dataset) == []


def test_compaction_again_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    take_out(dataset, "key", "000000007")
    compact(dataset)
    before = tree_digest(tmp_path / "d")
    assert compact(dataset) == {"rows": 0, "shards": 0}
    assert tree_digest(tmp_path / "d") == before


def test_every_kind_of_trace_is_found(dataset: Dataset) -> None:
    take_out(dataset, "key", "000000007")
    found = {(one.file, one.what.split()[0]) for one in residue(dataset)}
    assert ("shards/00000.tar", "key") in found
    assert ("shards/00000.parquet", "uid") in found
    assert ("embeddings/metadata/metadata_00000.parquet", "url") in found
    assert ("embeddings/img_emb/img_emb_00000.npy", "vector") in found
    assert any(what == "vector" for file, what in found if file.startswith("index/image-"))
    assert any(what == "key" for file, what in found if file.startswith("index/rows-"))
    assert ("selections/all.parquet", "key") in found


def test_the_log_holds_hashes_and_no_content(dataset: Dataset) -> None:
    take_out(dataset, "url", "http://example.org/000000007.png")
    text = Path(dataset.path("removals/000001.json")).read_text()
    assert "example.org" not in text
    assert "caption" not in text
    assert json.loads(text)["keys"] == ["000000007"]
    take_out(dataset, "key", "000000008")
    assert [request.number for request in removed(dataset).requests] == [1, 2]


def test_a_crawl_does_not_bring_it_back(dataset: Dataset) -> None:
    take_out(dataset, "url", "http://example.org/000000007.png")
    take_out(dataset, "domain", "example.co.uk")
    urls = [
        "http://EXAMPLE.org/000000007.png",
        "https://shop.example.co.uk/x.jpg",
        "http://example.org/000000008.png",
        None,
    ]
    rows = pa.table({"uid": ["a", "b", "c", "d"], "url": urls})
    assert without_removed(rows, removed(dataset))["uid"].to_pylist() == ["c", "d"]


def test_listed_hashes_are_told_by_length(tmp_path: Path) -> None:
    data = picture(5)
    (tmp_path / "a.txt").write_text(
        f"# known\n{hashlib.md5(data).hexdigest().upper()}\n{hashlib.sha256(b'x').hexdigest()}\n\n"
    )
    lists = read_hash_lists((str(tmp_path / "a.txt"),))
    assert lists.holds(b"other", data) == "md5"
    assert lists.holds(b"x", b"other") == "sha256"
    assert lists.holds(b"y", b"z") is None
    assert not HashList()
    (tmp_path / "b.txt").write_text("cats\n")
    with pytest.raises(UserError, match=r"b\.txt:1: 'cats' is not an md5"):
        read_hash_lists((str(tmp_path / "b.txt"),))
    with pytest.raises(UserError, match="no such file"):
        read_hash_lists(("nowhere.txt",))


def test_a_near_copy_of_a_listed_picture_is_held_back() -> None:
    import io

    from PIL import Image

    from frenchcat.curate.hashes import pdq

    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    original = Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    original.resize((200, 200)).save(out, "JPEG", quality=60)
    lists = with_removed(HashList(pdq=frozenset([pdq(original).hex()])), removed_nothing())
    assert lists.holds(b"", out.getvalue()) == "pdq"


def removed_nothing():  # type: ignore[no-untyped-def]
    from frenchcat.curate.removals import Removed

    return Removed()


@pytest.mark.parametrize(
    ("by", "value", "said"),
    [
        ("smell", "x", "removed by one of"),
        ("url", " ", "--url is empty"),
        ("sha256", "xyz", "is not an SHA-256"),
        ("domain", "http://a/b", "is not a domain"),
        ("domain", "example.org:8080", "is not a domain"),
        ("domain", "*.example.org", "is not a domain"),
        ("like", "nowhere.jpg", "no such image"),
    ],
)
def test_bad_wishes_are_one_line(dataset: Dataset, by: str, value: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        matches(dataset, RemovalQuery(by, value))
    assert not dataset.exists("removals")


def test_a_key_that_is_not_there_is_no_request(dataset: Dataset) -> None:
    asked_for = RemovalQuery("key", "999990000")
    with pytest.raises(UserError, match=r"no row of .* matches --key 999990000"):
        remove(dataset, asked_for, matches(dataset, asked_for))
