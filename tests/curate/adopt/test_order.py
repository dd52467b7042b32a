"""What is adopted keeps its order, its columns and its failures; what does not fit is refused."""

import io
import os
import shutil
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.adopt import adopt
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.info import info
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

PICTURES, TEXTS = unit_rows(6), unit_rows(6, seed=1)


def theirs(folder: Path, **columns: list[object]) -> Path:
    """clip-retrieval's folder of six rows, whose files sort otherwise by number than by name."""
    for name, rows in (("img_emb", PICTURES), ("text_emb", TEXTS)):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "a_10.npy", rows[:2])
        np.save(folder / name / "a_9.npy", rows[2:])
    (folder / "metadata").mkdir()
    given = {"caption": list("abcdef"), "url": [f"http://a.org/{n}" for n in range(6)]}
    table = pa.table({**given, **columns})
    pq.write_table(table.slice(0, 2), folder / "metadata/a_10.parquet")
    pq.write_table(table.slice(2), folder / "metadata/a_9.parquet")
    return folder


def stored(dataset: Dataset, what: str) -> np.ndarray:
    return np.load(dataset.path(f"embeddings/{what}_emb/{what}_emb_00000.npy"))


def metadata(dataset: Dataset) -> pa.Table:
    return pq.read_table(dataset.path("embeddings/metadata/metadata_00000.parquet"))


def test_rows_keep_the_order_of_the_files_names(tmp_path: Path) -> None:
    dataset = adopt(theirs(tmp_path / "theirs"), tmp_path / "d").dataset
    assert stored(dataset, "img") == pytest.approx(PICTURES, abs=1e-3)
    assert stored(dataset, "text") == pytest.approx(TEXTS, abs=1e-3)
    assert metadata(dataset)["caption"].to_pylist() == list("abcdef")
    with Catalog(dataset) as catalog:
        rows = catalog.table(["key", "caption", "url"], order="key").to_pylist()
    assert rows == [
        {"key": f"00000000{n}", "caption": letter, "url": f"http://a.org/{n}"}
        for n, letter in enumerate("abcdef")
    ]


def test_stored_vectors_are_preferred_to_an_index(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs")
    index = faiss.IndexFlatIP(16)
    index.add(unit_rows(6, seed=9))
    faiss.write_index(index, str(folder / "image.index"))
    dataset = adopt(folder, tmp_path / "d").dataset
    assert stored(dataset, "img") == pytest.approx(PICTURES, abs=1e-3)


def test_vectors_of_any_length_become_unit_vectors(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "theirs")
    np.save(folder / "img_emb/a_9.npy", PICTURES[2:] * [[3], [0.2], [1], [40]])
    dataset = adopt(folder, tmp_path / "d").dataset
    assert stored(dataset, "img") == pytest.approx(PICTURES, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("which", ["img", "text"])
def test_a_row_without_direction_leaves_the_others_beside_their_captions(
    tmp_path: Path, which: str, value: float
) -> None:
    folder = theirs(tmp_path / "theirs")
    before = {"img": PICTURES, "text": TEXTS}[which]
    rows = np.concatenate([before[2:4], np.full((1, 16), value, np.float32), before[5:]])
    np.save(folder / f"{which}_emb/a_9.npy", rows)
    dataset = adopt(folder, tmp_path / "d").dataset
    kept = [0, 1, 2, 3, 5]
    assert stored(dataset, "img") == pytest.approx(PICTURES[kept], abs=1e-3)
    assert stored(dataset, "text") == pytest.approx(TEXTS[kept], abs=1e-3)
    assert metadata(dataset)["caption"].to_pylist() == list("abcdf")
    assert pq.read_table(dataset.path("shards/00000.parquet"))["caption"].to_pylist() == list(
        "abcdef"
    )
    failed = pq.read_table(dataset.path("embeddings/failed/failed_00000.parquet")).to_pylist()
    reason = "nan_embedding" if value else "zero_embedding"
    assert failed == [{"key": "000000004", "reason": reason}]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (TEXTS[2:5], "6 vectors of images and 5 of captions"),
        (TEXTS[2:, :8], "vectors of several lengths"),
        (TEXTS[2], "vectors have two dimensions"),
    ],
)
def test_vectors_that_do_not_fit_together_are_refused(
    tmp_path: Path, rows: np.ndarray, said: str
) -> None:
    folder = theirs(tmp_path / "theirs")
    np.save(folder / "text_emb/a_9.npy", rows)
    with pytest.raises(UserError, match=said):
        adopt(folder, tmp_path / "d")


@pytest.mark.parametrize(("factory", "exact"), [("Flat", True), ("HNSW8", True), ("SQ4", False)])
def test_what_an_index_keeps_in_part_is_said(tmp_path: Path, factory: str, exact: bool) -> None:
    folder = tmp_path / "theirs"
    (folder / "metadata").mkdir(parents=True)
    pq.write_table(pa.table({"caption": list("abcdef")}), folder / "metadata/0.parquet")
    index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(PICTURES)
    index.add(PICTURES)
    faiss.write_index(index, str(folder / "image.index"))
    adopted = adopt(folder, tmp_path / "d")
    assert any("keeps them in part" in note for note in adopted.notes) == (not exact)
    assert any("no vectors of captions" in note for note in adopted.notes)
    assert any("no model was named" in note for note in adopted.notes)
    assert np.array_equal(stored(adopted.dataset, "text"), stored(adopted.dataset, "img"))
    assert metadata(adopted.dataset)["url"].to_pylist() == [None] * 6


def test_every_column_is_kept_but_those_that_are_ours(tmp_path: Path) -> None:
    folder = theirs(
        tmp_path / "theirs",
        image_path=[f"old-{n}" for n in range(6)],
        key=list("uvwxyz"),
        status=["theirs"] * 6,
        NSFW=["UNLIKELY"] * 6,
        similarity=[n / 8 for n in range(6)],
    )
    dataset = adopt(folder, tmp_path / "d").dataset
    keys = [f"00000000{n}" for n in range(6)]
    for table in (metadata(dataset), pq.read_table(dataset.path("shards/00000.parquet"))):
        assert table["original_key"].to_pylist() == [f"old-{n}" for n in range(6)]
        assert table["NSFW"].to_pylist() == ["UNLIKELY"] * 6
        assert table["similarity"].to_pylist() == [n / 8 for n in range(6)]
    assert table["key"].to_pylist() == keys
    assert table["status"].to_pylist() == ["success"] * 6


def theirs_of_img2dataset(root: Path) -> Path:
    """img2dataset's folder: two shards, one with a row that failed, and their stats."""
    source = Dataset.create(root / "made", "made")
    add_shard(source, "00000", unit_rows(5))
    add_shard(source, "00001", unit_rows(3))
    folder = Path(source.path("shards"))
    rows = pq.read_table(folder / "00001.parquet").to_pylist()
    failed = {"key": "000010003", "status": "failed_to_download", "error_message": "HTTP 404"}
    schema = pq.read_schema(folder / "00001.parquet")
    schema = schema.set(
        schema.get_field_index("error_message"), pa.field("error_message", "string")
    )
    table = pa.Table.from_pylist([*rows, {**rows[0], **failed}], schema)
    pq.write_table(table, folder / "00001.parquet")
    (folder / "00001_stats.json").write_text('{"count": 4}')
    return folder


@pytest.mark.parametrize("linked", [True, False])
def test_img2dataset_s_files_are_taken_over_with_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    folder = theirs_of_img2dataset(tmp_path)
    before = tree_digest(folder)
    if not linked:  # another disk

        def link(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", link)
    adopted = adopt(folder, tmp_path / "d")
    assert adopted.rows == 8
    assert tree_digest(folder) == before == tree_digest(tmp_path / "d/shards")
    said = info(adopted.dataset)
    assert (said.rows, said.downloaded, said.failed) == (9, 8, 1)
    counts = adopted.dataset.manifest().entry("download").counts
    assert counts == {"downloaded": 8, "failed": 1}
    nlink = (tmp_path / "d/shards/00000.tar").stat().st_nlink
    assert (nlink > 1) == linked


@pytest.mark.parametrize("column", ["key", "url", "status"])
def test_a_sidecar_without_a_column_is_refused(tmp_path: Path, column: str) -> None:
    folder = theirs_of_img2dataset(tmp_path)
    table = pq.read_table(folder / "00000.parquet")
    pq.write_table(table.drop_columns([column]), folder / "00000.parquet")
    with pytest.raises(UserError, match=f"has no column '{column}'"):
        adopt(folder, tmp_path / "d")
    assert not (tmp_path / "d/shards").exists()


def put_vectors(folder: Path, file: bytes | np.ndarray) -> None:
    """One file in the place of all files of the images' vectors."""
    for path in (folder / "img_emb").iterdir():
        path.unlink()
    path = folder / "img_emb/a.npy"
    path.write_bytes(file) if isinstance(file, bytes) else np.save(path, file)


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, PICTURES)
    return out.getvalue()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "is no .npy file"),
        (_npz(), "is a .npz archive"),
        (np.array([["a"] * 16] * 6), "holds <U1, not real numbers"),
        (PICTURES * (1 + 1j), "holds complex64, not real numbers"),
        (np.zeros((6, 16), [("a", "f4")]), "not real numbers"),
        (np.zeros((6, 16), "M8[s]"), "not real numbers"),
        (np.zeros((6, 0), np.float32), "at least one number each"),
        (np.zeros((6, 16)), "none of the 6 vectors .* is usable"),
        (np.full((6, 16), np.nan), "none of the 6 vectors .* is usable"),
    ],
    ids=["empty", "npz", "texts", "complex", "records", "times", "width 0", "zero", "nan"],
)
def test_what_is_no_vector_is_refused_and_leaves_nothing(
    tmp_path: Path, file: bytes | np.ndarray, said: str
) -> None:
    folder = theirs(tmp_path / "theirs")
    shutil.rmtree(folder / "text_emb")
    put_vectors(folder, file)
    with pytest.raises(UserError, match=said):
        adopt(folder, tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "stored_as",
    [
        np.asfortranarray(PICTURES),
        PICTURES.astype(np.float64) * 1e300,  # beyond float32, and so are its squares
        PICTURES.astype(np.float64) * 1e-300,
        PICTURES.astype(np.float16),
        np.rint(PICTURES * 1e6).astype(np.int64),
    ],
    ids=["fortran", "large", "small", "half", "integers"],
)
def test_vectors_of_any_number_type_and_order(tmp_path: Path, stored_as: np.ndarray) -> None:
    folder = theirs(tmp_path / "theirs")
    put_vectors(folder, stored_as)
    found = stored(adopt(folder, tmp_path / "d").dataset, "img")
    assert found == pytest.approx(PICTURES, abs=1e-3)
