"""Folders of img2dataset and clip-retrieval become datasets that search serves, row for row."""

import importlib.util
import os
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.adopt import adopt
from frenchcat.curate.adopt.clip_retrieval import PER_SHARD
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embed import embed
from frenchcat.curate.errors import UserError
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.sample.embedded import add_shard
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

ROWS = 60
PICTURES, TEXTS = unit_rows(ROWS), unit_rows(ROWS, seed=1)


def metadata_table(first: int = 0, last: int = ROWS) -> pa.Table:
    numbers = range(first, last)
    return pa.table(
        {
            "image_path": [f"old-{n}" for n in numbers],
            "caption": [f"caption {n}" for n in numbers],
            "url": [f"http://example.org/{n}.jpg" for n in numbers],
            "width": list(numbers),
        }
    )


def write_metadata(folder: Path, kind: str) -> None:
    if kind == "hdf5":
        if importlib.util.find_spec("h5py") is None:
            if os.environ.get("CI"):
                pytest.fail("h5py is missing; CI installs every extra")
            pytest.skip("h5py is not installed")
        h5py = importlib.import_module("h5py")
        with h5py.File(folder / "metadata.hdf5", "w") as file:
            group = file.create_group("dataset")
            for name, column in zip(
                metadata_table().column_names, metadata_table().columns, strict=True
            ):
                values = column.to_pylist()
                strings = isinstance(values[0], str)
                group.create_dataset(
                    name, data=values, dtype=h5py.string_dtype() if strings else None
                )
        return
    (folder / "metadata").mkdir()
    for number, (first, last) in enumerate([(0, 25), (25, ROWS)]):
        table = metadata_table(first, last)
        if kind == "parquet":
            pq.write_table(table, folder / f"metadata/metadata_{number}.parquet")
        else:
            with pa.ipc.new_file(folder / f"metadata/{number}.arrow", table.schema) as writer:
                writer.write_table(table)


def write_vectors(folder: Path, kind: str) -> None:
    folder.mkdir()
    for name, rows in (("image", PICTURES), ("text", TEXTS)):
        if kind == "npy":
            target = folder / f"{name.replace('image', 'img')}_emb"
            target.mkdir()
            np.save(target / "0.npy", rows[:25].astype(np.float16))
            np.save(target / "1.npy", rows[25:].astype(np.float16))
            continue
        index = faiss.index_factory(
            16, "IVF4,Flat" if kind != "Flat" else "Flat", faiss.METRIC_INNER_PRODUCT
        )
        index.train(rows)
        index.add(rows)
        path = folder / f"{name}.index"
        if kind == "folder":
            path.mkdir()
            lists = faiss.OnDiskInvertedLists(
                index.nlist, index.code_size, str(path / "merged_index.ivfdata")
            )
            lists.merge_from_1(index.invlists)
            index.replace_invlists(lists)
            faiss.write_index(index, str(path / "populated.index"))
            index.own_invlists = False
            del lists
        else:
            faiss.write_index(index, str(path))


@pytest.mark.parametrize("metadata", ["parquet", "arrow", "hdf5"])
@pytest.mark.parametrize("vectors", ["npy", "Flat", "IVF", "folder"])
def test_a_clip_retrieval_folder_is_searched_row_for_row(
    tmp_path: Path, vectors: str, metadata: str
) -> None:
    folder = tmp_path / "theirs"
    write_vectors(folder, vectors)
    write_metadata(folder, metadata)
    if vectors == "folder":  # its lists are found wherever it lies now
        folder = folder.rename(tmp_path / "moved")
    before = tree_digest(folder)
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.rows, adopted.kind) == (ROWS, "clip-retrieval")
    assert tree_digest(folder) == before
    build_index(adopted.dataset)
    searcher = Searcher(adopted.dataset)
    for number in (0, 24, 25, 59):
        (hit,) = searcher.query(vector=PICTURES[number], k=1)
        assert (hit.caption, hit.url) == (f"caption {number}", f"http://example.org/{number}.jpg")
        assert hit.similarity == pytest.approx(1, abs=1e-3)
        assert (hit.columns["original_key"], hit.columns["width"]) == (f"old-{number}", number)
        (hit,) = searcher.query(vector=TEXTS[number], k=1, by="text", where=f"width = {number}")
        assert hit.caption == f"caption {number}"
    with pytest.raises(UserError, match="has no image"):
        searcher.picture(hit)
    with pytest.raises(UserError, match="were made by unknown"):
        searcher.query(text="cat")


def test_again_changes_nothing_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    write_vectors(tmp_path / "theirs", "npy")
    write_metadata(tmp_path / "theirs", "parquet")
    adopt(tmp_path / "theirs", tmp_path / "d")
    first = tree_digest(tmp_path / "d")
    adopt(tmp_path / "theirs", tmp_path / "d")
    assert tree_digest(tmp_path / "d") == first
    (tmp_path / "d/stages/embed/00000.json").unlink()
    adopt(tmp_path / "theirs", tmp_path / "d")
    assert tree_digest(tmp_path / "d") == first


def test_long_files_are_cut_into_shards(tmp_path: Path) -> None:
    count = PER_SHARD + 7
    folder = tmp_path / "theirs"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    rows = unit_rows(count, dimension=8)
    np.save(folder / "img_emb/0.npy", rows.astype(np.float16))
    table = pa.table({"TEXT": [str(n) for n in range(count)], "URL": ["u"] * count})
    pq.write_table(table, folder / "metadata/0.parquet")
    adopted = adopt(folder, tmp_path / "d")
    assert adopted.dataset.shards() == ["00000", "00001"]
    assert any("no vectors of captions" in note for note in adopted.notes)
    build_index(adopted.dataset)
    (hit,) = Searcher(adopted.dataset).query(vector=rows[-1], k=1)
    assert (hit.key, hit.caption, hit.url) == ("000010006", str(count - 1), "u")


def test_the_model_is_named_and_must_fit(tmp_path: Path) -> None:
    write_vectors(tmp_path / "theirs", "npy")
    write_metadata(tmp_path / "theirs", "parquet")
    with pytest.raises(UserError, match="have 16 numbers, those of mini"):
        adopt(tmp_path / "theirs", tmp_path / "d", ClipSettings(model="mini"))


def test_without_pictures_nothing_is_embedded_again(tmp_path: Path) -> None:
    write_vectors(tmp_path / "theirs", "npy")
    write_metadata(tmp_path / "theirs", "parquet")
    adopted = adopt(tmp_path / "theirs", tmp_path / "d")
    before = tree_digest(tmp_path / "d")
    with pytest.raises(UserError, match=r"shard 00000 .* was adopted without images"):
        embed(adopted.dataset, ClipSettings(model="mini"))
    assert tree_digest(tmp_path / "d") == before


def test_rows_that_do_not_match_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path / "theirs", "npy")
    (tmp_path / "theirs/metadata").mkdir()
    pq.write_table(metadata_table(0, 59), tmp_path / "theirs/metadata/0.parquet")
    with pytest.raises(UserError, match="has 60 vectors and 59 rows of metadata"):
        adopt(tmp_path / "theirs", tmp_path / "d")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("nothing", "no such folder"),
        ("empty", "is not a folder of img2dataset"),
        ("index", "gives no vectors back"),
        ("metadata", "vectors and no metadata"),
    ],
)
def test_what_cannot_be_adopted_is_refused_in_words(tmp_path: Path, broken: str, said: str) -> None:
    folder = tmp_path / "theirs"
    if broken != "nothing":
        folder.mkdir()
    if broken == "metadata":
        (folder / "img_emb").mkdir()
        np.save(folder / "img_emb/0.npy", PICTURES)
    if broken == "index":
        (folder / "image.index").write_bytes(b"no index")
    if broken != "metadata" and folder.exists():
        write_metadata(folder, "parquet")
    with pytest.raises(UserError, match=said):
        adopt(folder, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_an_img2dataset_folder_keeps_its_files_and_keys(tmp_path: Path) -> None:
    source = Dataset.create(tmp_path / "made", "made")
    keys = add_shard(source, "00000", unit_rows(5)) + add_shard(source, "00001", unit_rows(3))
    folder = Path(source.path("shards"))
    before = tree_digest(folder)
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.kind, adopted.rows, adopted.embedded) == ("img2dataset", 8, False)
    assert tree_digest(folder) == before == tree_digest(tmp_path / "d/shards")
    with adopted.dataset.lock():
        embed(adopted.dataset, ClipSettings(model="mini", compile="no", decode_workers=1))
        build_index(adopted.dataset)
    hits = Searcher(adopted.dataset).query(text="french cat", k=100, duplicates=True)
    assert sorted(hit.key for hit in hits) == keys
    assert Searcher(adopted.dataset).picture(hits[0]) == picture(int(hits[0].key[-4:]))


def test_a_tar_without_its_sidecar_or_cut_short_is_refused(tmp_path: Path) -> None:
    source = Dataset.create(tmp_path / "made", "made")
    add_shard(source, "00000", unit_rows(5))
    folder = Path(source.path("shards"))
    (folder / "00000.tar").write_bytes((folder / "00000.tar").read_bytes()[:1000])
    with pytest.raises(UserError, match="broken tar"):
        adopt(folder, tmp_path / "d")
    (folder / "00000.parquet").unlink()
    with pytest.raises(UserError, match=r"has no 00000\.parquet beside it"):
        adopt(folder, tmp_path / "e")
