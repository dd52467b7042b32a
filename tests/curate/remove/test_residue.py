"""The check names every kind of trace, in every kind of file, and nothing where there is none."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove, residue
from frenchcat.curate.remove.residue import Residue
from tests.sample.columns import add_columns
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.tars import write_tar
from tests.sample.vectors import unit_rows

VECTORS = unit_rows(5)
KEY, UID, URL = "000000001", f"{1:032x}", "http://example.org/000000001.png"
FETCHED = b"the bytes as they were fetched"
SUMS = [hashlib.sha256(data).hexdigest() for data in (FETCHED, picture(1))]
PDQ = "5a" * 32


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset from which a row was removed and its bytes taken out."""
    dataset = embedded(tmp_path_factory.mktemp("clean") / "d", VECTORS)
    ours = [f"00000000{n}" == KEY for n in range(5)]
    add_columns(
        dataset,
        "scores",
        sha256=[SUMS[0] if our else None for our in ours],
        stored_sha256=[hashlib.sha256(picture(n)).hexdigest() for n in range(5)],
        pdq=[PDQ if our else "00" * 32 for our in ours],
    )
    query = RemovalQuery("key", KEY)
    remove(dataset, query, matches(dataset, query))
    assert compact(dataset) == {"rows": 1, "shards": 1}
    return dataset


Plant = Callable[[Path], None]


def column(name: str, value: str, kind: pa.DataType | None = None) -> Plant:
    """A parquet or Arrow file with a value in its last row."""

    def plant(path: Path) -> None:
        array = pa.array([None, "nothing", value], pa.string()).cast(kind or pa.string())
        table = pa.table({"first": [1, 2, 3], name: array})
        if path.suffix == ".parquet":
            pq.write_table(table, path)
            return
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    return plant


def member(name: str, data: bytes) -> Plant:
    """A tar with that member behind another one."""

    def plant(path: Path) -> None:
        write_tar(path, [("000090000.png", b"other"), (name, data)])

    return plant


def array(path: Path) -> None:
    np.save(path, VECTORS[[0, 2, 1]].astype(np.float16))


def index(path: Path) -> None:
    made = faiss.index_factory(16, "SQfp16", faiss.METRIC_INNER_PRODUCT)
    made.train(VECTORS)
    made.add(VECTORS[[3, 1]].astype(np.float16).astype(np.float32))
    faiss.write_index(made, str(path))


def text(value: str) -> Plant:
    return lambda path: path.write_text(value) and None


LARGE, CODED = pa.large_string(), pa.dictionary(pa.int32(), pa.string())
TRACES: dict[str, tuple[str, Plant, str]] = {
    "tar-key": ("shards/00009.tar", member(f"{KEY}.png", b"x"), f"key {KEY}"),
    "tar-key-of-text": ("shards/00009.tar", member(f"{KEY}.txt", b"x"), f"key {KEY}"),
    "tar-stored-bytes": ("x.tar", member("000090001.png", picture(1)), f"bytes {SUMS[1][:16]}"),
    "tar-fetched-bytes": ("x.tar", member("000090001.jpg", FETCHED), f"bytes {SUMS[0][:16]}"),
    "key": ("rights/00009.parquet", column("key", KEY), f"key {KEY} in key"),
    "key-elsewhere": ("d/0.parquet", column("cluster", KEY), f"key {KEY} in cluster"),
    "key-large": ("d/0.parquet", column("key", KEY, LARGE), f"key {KEY} in key"),
    "key-coded": ("d/0.parquet", column("key", KEY, CODED), f"key {KEY} in key"),
    "key-arrow": ("index/rows-1.arrow", column("key", KEY), f"key {KEY} in key"),
    "fetched-digest": ("s.parquet", column("any", SUMS[0]), f"hash {SUMS[0][:16]} in any"),
    "stored-digest": ("s.parquet", column("any", SUMS[1]), f"hash {SUMS[1][:16]} in any"),
    "pdq": ("s.parquet", column("p", PDQ), f"perceptual hash {PDQ[:16]} in p"),
    "uid": ("lists/00009.parquet", column("uid", UID), f"uid {UID}"),
    "url": ("lists/00009.parquet", column("from", URL), f"url {URL}"),
    "url-spelt": ("a.arrow", column("url", URL.upper()[:19] + URL[19:]), "url HTTP://EXAMPLE.ORG/"),
    "vector": ("embeddings/img_emb/img_emb_00009.npy", array, "vector"),
    "code": ("index/image-9.index", index, "vector"),
    "json": ("runs/plan.json", text(json.dumps({"rows": ["000000003", KEY]})), f"key {KEY}"),
    "leftover": (".publishing/x/y.json", text(f'["{KEY}"]'), f"key {KEY}"),
}


@pytest.mark.parametrize("trace", TRACES)
def test_a_trace_is_found_by_itself(clean: Dataset, tmp_path: Path, trace: str) -> None:
    shutil.copytree(clean.root, tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert residue(dataset) == []
    name, plant, what = TRACES[trace]
    path = tmp_path / "d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    plant(path)
    (found,) = residue(dataset)
    assert found.file == name
    assert found.what.startswith(what)


def test_what_is_of_other_rows_is_no_trace(clean: Dataset, tmp_path: Path) -> None:
    shutil.copytree(clean.root, tmp_path / "d")
    dataset, root = Dataset.open(tmp_path / "d"), tmp_path / "d"
    for n, value in enumerate([KEY + "0", KEY[:-1], UID, URL + "?x", PDQ[:-2] + "00"]):
        column("other", value)(root / f"{n}.parquet")
    member(f"{KEY}0.png", picture(2))(root / "x.tar")
    np.save(root / "x.npy", -VECTORS.astype(np.float16))
    np.save(root / "y.npy", np.arange(5))
    text(f'"{KEY}0", {KEY}')(root / "x.json")
    assert residue(dataset) == []


def test_a_dataset_elsewhere_is_searched_as_well(clean: Dataset) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(clean.root + "/", "/residue/d/", recursive=True)
    dataset = Dataset.open("memory://residue/d")
    assert residue(dataset) == []
    fs.pipe("/residue/d/deep/er/rows.json", f'"{KEY}"'.encode())
    assert residue(dataset) == [Residue("deep/er/rows.json", f"key {KEY}")]


def test_the_verb_says_what_is_left_and_fails_for_it(clean: Dataset, tmp_path: Path) -> None:
    shutil.copytree(clean.root, tmp_path / "d")
    check = ["remove", str(tmp_path / "d"), "--check"]
    assert CliRunner().invoke(app, check).exit_code == 0
    column("key", KEY)(tmp_path / "d/x.parquet")
    done = CliRunner().invoke(app, check)
    assert (done.exit_code, done.stdout) == (1, f"x.parquet: key {KEY} in key\n")
    done = CliRunner().invoke(app, [*check, "--json"])
    assert json.loads(done.stdout) == {"file": "x.parquet", "what": f"key {KEY} in key"}


def test_nothing_removed_leaves_no_trace(tmp_path: Path) -> None:
    assert residue(embedded(tmp_path / "d", VECTORS)) == []
