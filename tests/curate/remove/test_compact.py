"""Compaction of a dataset with every stage's files: nothing is left, nothing else is touched."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import ResizeSettings, download, retry_failed
from frenchcat.curate.errors import NoSpace
from frenchcat.curate.info import info
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove, residue
from frenchcat.curate.score.stage import score
from frenchcat.curate.select import Choice, open_selection, select
from frenchcat.curate.stage import Silent
from frenchcat.index.search import Searcher
from tests.curate.remove.conftest import (
    DIMENSION,
    DROPPED,
    ONE,
    PER_SHARD,
    ROWS,
    UNEMBEDDED,
    Built,
    marks,
    run_all,
)
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

GONE = [0, UNEMBEDDED, 4, DROPPED, 12]
"""Rows of two of the three shards, one of each fate that a stored row can have."""


def take_out(built: Built, numbers: Sequence[int]) -> set[str]:
    """Remove rows by their URLs; gives their keys."""
    keys = set()
    with built.dataset.lock():
        for number in numbers:
            asked_for = RemovalQuery("url", f"{built.site.url(number)}?{marks(number)[0]}")
            found = matches(built.dataset, asked_for)
            remove(built.dataset, asked_for, found)
            keys |= {match.key for match in found}
    return keys


def run_compact(built: Built) -> str:
    """The verb, as a user types it; gives what it said."""
    done = CliRunner().invoke(app, ["compact", built.dataset.root], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def compacted(original: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The dataset without the rows `GONE`, not to be changed."""
    root = tmp_path_factory.mktemp("compacted") / "d"
    shutil.copytree(original.dataset.root, root)
    made = replace(original, dataset=Dataset.open(root))
    assert take_out(made, GONE) == keys_of(made, GONE)
    assert run_compact(made) == "5 rows taken out of 2 shards\n"
    return made


@pytest.fixture
def mine(compacted: Built, tmp_path: Path) -> Built:
    """A copy of the compacted dataset, to be changed."""
    shutil.copytree(compacted.dataset.root, tmp_path / "mine")
    return replace(compacted, dataset=Dataset.open(tmp_path / "mine"))


def keys_of(built: Built, numbers: Sequence[int]) -> set[str]:
    return {built.key(number) for number in numbers}


def contents(path: Path) -> Iterator[bytes]:
    """Everything that stands in a file, with what its format compresses laid open."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield repr(table.to_pylist()).encode()
        yield repr(table.schema.metadata).encode()
    if path.suffix == ".arrow":
        with pa.OSFile(str(path)) as source:
            yield repr(pa.ipc.open_file(source).read_all().to_pylist()).encode()
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                yield member.name.encode() + b"\n" + (file.read() if file else b"")
    if path.suffix == ".index":
        index = faiss.read_index(str(path))
        yield index.reconstruct_n(0, index.ntotal).astype("<f2").tobytes()


def traces(built: Built, numbers: Sequence[int], planted: dict[int, list[bytes]]) -> set[str]:
    """The files that hold anything of these rows; the log, which holds hashes, left out."""
    root, found = Path(built.dataset.root), set()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or name.startswith("removals/"):
            continue
        there = b"\n".join(contents(path))
        if any(text in there for number in numbers for text in planted[number]):
            found.add(name)
    return found


def unmistakable(built: Built, numbers: Sequence[int]) -> dict[int, list[bytes]]:
    """What is a row's own: key, uid, marked texts, digests, hash, stored bytes, both vectors."""
    found: dict[int, list[bytes]] = {}
    vectors = [unit_rows(ROWS, DIMENSION, seed).astype("<f2") for seed in (0, 1)]
    for number in numbers:
        key, shard = built.key(number), built.key(number)[:5]
        path = Path(built.dataset.path(f"shards/{shard}.parquet"))
        row = next(row for row in pq.read_table(path).to_pylist() if row["key"] == key)
        own = [*marks(number), row["uid"], row["sha256"], row["stored_sha256"], f"'{key}'"]
        with tarfile.open(path.with_suffix(".tar")) as tar:
            file = tar.extractfile(f"{key}.jpg")
            assert file is not None
            picture = file.read()
        scores = pq.read_table(built.dataset.path(f"scores/{shard}.parquet")).to_pylist()
        own += [score["pdq"] for score in scores if score["key"] == key]
        found[number] = [str(text).encode() for text in own if text]
        found[number] += [
            f"{key}.".encode(),
            picture,
            *(rows[number].tobytes() for rows in vectors),
        ]
    return found


def tables(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Relative path -> rows, of every parquet file but the lists."""
    root = Path(dataset.root)
    return {
        path.relative_to(root).as_posix(): pq.read_table(path).to_pylist()
        for path in sorted(root.rglob("*.parquet"))
        if path.parent.name not in ("lists", "duplicates", "selections")
    }


def test_nothing_of_a_removed_row_is_in_any_file(original: Built, compacted: Built) -> None:
    planted = unmistakable(original, GONE)
    before = traces(original, GONE, planted)
    assert {name.split("/")[0] for name in before} == {
        *("shards", "lists", "rights", "embeddings", "scores", "duplicates", "verdicts"),
        *("index", "selections"),
    }
    assert "embeddings/failed/failed_00000.parquet" in before
    assert traces(compacted, GONE, planted) == set()
    assert residue(compacted.dataset) == []


def test_what_stays_is_as_it_was_in_every_file(original: Built, compacted: Built) -> None:
    was, now, gone = original.dataset, compacted.dataset, keys_of(compacted, GONE)
    before, after = tables(was), tables(now)
    assert before.keys() == after.keys()
    for name, rows in after.items():
        key = "image_path" if "metadata" in name else "key"
        assert rows == [row for row in before[name] if row[key] not in gone], name
    for shard in was.shards():
        emptied = {int(key[5:]) for key in gone if key.startswith(shard)}
        lists = [pq.read_table(made.path(f"lists/{shard}.parquet")) for made in (was, now)]
        nothing = dict.fromkeys(lists[0].column_names)
        assert lists[1].to_pylist() == [
            nothing if n in emptied else row for n, row in enumerate(lists[0].to_pylist())
        ]
        left = [(name, data) for name, data in in_tar(was, shard) if name.split(".")[0] not in gone]
        assert in_tar(now, shard) == left
    assert by_key(now) == {k: v for k, v in by_key(was).items() if k not in gone}
    files = [tree_digest(Path(made.root)) for made in (was, now)]
    spanning = ("duplicates/", "stages/dedup/", "stages/verdict/")
    for name, digest in files[0].items():
        if "00002" in name and not name.startswith(spanning):
            assert files[1][name] == digest, name


def in_tar(dataset: Dataset, shard: str) -> list[tuple[str, bytes]]:
    with tarfile.open(dataset.path(f"shards/{shard}.tar")) as tar:
        return [(m.name, f.read()) for m in tar if (f := tar.extractfile(m)) is not None]


def by_key(dataset: Dataset) -> dict[str, tuple[bytes, bytes]]:
    """Key -> both vectors, of all shards."""
    found = {}
    for shard in dataset.shards("embed"):
        names = [dataset.path(f"embeddings/{n}_emb/{n}_emb_{shard}.npy") for n in ("img", "text")]
        path = dataset.path(f"embeddings/metadata/metadata_{shard}.parquet")
        keys = pq.read_table(path)["image_path"].to_pylist()
        for key, *rows in zip(keys, *map(np.load, names), strict=True):
            found[key] = (rows[0].tobytes(), rows[1].tobytes())
    return found


def test_after_a_compaction_no_stage_has_anything_to_do(mine: Built) -> None:
    asked, before = mine.site.asked.total(), tree_digest(Path(mine.dataset.root))
    assert set(run_all(mine).values()) == {0}
    assert mine.site.asked.total() == asked
    assert run_compact(mine) == "0 rows taken out of 0 shards\n"
    assert tree_digest(Path(mine.dataset.root)) == before


def test_markers_name_the_files_that_there_are(compacted: Built) -> None:
    """A digest of before would have the next stage redo what is as it was, or keep what is not."""
    root = Path(compacted.dataset.root)
    files = tree_digest(root)
    for path in sorted(root.glob("stages/*/*.json")):
        marker = json.loads(path.read_text())
        for name, said in marker["outputs"].items():
            assert said == {"bytes": (root / name).stat().st_size, "sha256": files[name]}
        for name, digest in marker["inputs"].items():
            assert files.get(name, digest) == digest, (path, name)


def test_counts_are_those_of_the_rows_that_are_left(compacted: Built) -> None:
    dataset = compacted.dataset
    summed: dict[str, dict[str, int]] = {"download": {}, "embed": {}, "score": {}}
    for shard in dataset.shards():
        rows = {
            name: pq.read_table(dataset.path(f"{name}_{shard}.parquet")).to_pylist()
            for name in ("embeddings/metadata/metadata", "embeddings/failed/failed")
        }
        sidecar = pq.read_table(dataset.path(f"shards/{shard}.parquet")).to_pylist()
        stored = [row for row in sidecar if row["status"] == "success"]
        scored = pq.read_table(dataset.path(f"scores/{shard}.parquet")).num_rows
        failed = len(sidecar) - len(stored)
        wanted = {
            "download": {
                "rows": len(sidecar),
                "downloaded": len(stored),
                "failed": failed,
                "failed.http_404": failed,
            },
            "embed": dict(zip(("embedded", "failed"), map(len, rows.values()), strict=True)),
            "score": {"scored": scored},
        }
        for stage, counts in wanted.items():
            assert dataset.read_json(f"stages/{stage}/{shard}.json")["counts"] == counts, stage
            for name, number in counts.items():
                summed[stage][name] = summed[stage].get(name, 0) + number
        stats = dataset.read_json(f"shards/{shard}_stats.json")
        assert (stats["count"], stats["successes"]) == (len(sidecar), len(stored))
        assert stats["status_dict"] == {"http_404": failed, "success": len(stored)}
    for stage, counts in summed.items():
        assert dataset.manifest().entry(stage).counts == counts, stage
    said = info(dataset)
    assert (said.rows, said.downloaded, said.failed) == (ROWS - len(GONE), 21 - len(GONE), 3)
    assert said.embedded == said.indexed == said.kept == 20 - len(GONE) + 1
    assert said.dropped == {}


class Killed(Exception):
    """As the end of the process would be."""


class AfterOneShard(Silent):
    """Dies when the first shard is published."""

    def shard_done(self, shard: str, counts: Any) -> None:
        raise Killed


class AfterAllShards(Silent):
    """Dies when the last shard is published, before what spans them is seen to."""

    def end(self) -> None:
        raise Killed


@pytest.mark.parametrize("at", [AfterOneShard, AfterAllShards])
def test_a_killed_compaction_goes_on_to_the_same_end(
    built: Built, compacted: Built, at: Callable[[], Silent]
) -> None:
    shutil.copytree(compacted.dataset.path("removals"), built.dataset.path("removals"))
    with pytest.raises(Killed), built.dataset.lock():
        compact(built.dataset, at())
    run_compact(built)
    assert tree_digest(Path(built.dataset.root)) == tree_digest(Path(compacted.dataset.root))


@pytest.mark.parametrize("at", [AfterOneShard, AfterAllShards])
def test_what_spans_shards_is_taken_out_by_the_second_call_alone(
    built: Built, at: Callable[[], Silent]
) -> None:
    """Nothing has to be made anew for the rows to be gone."""
    take_out(built, GONE)
    with built.dataset.lock():
        with pytest.raises(Killed):
            compact(built.dataset, at())
        compact(built.dataset)
    assert residue(built.dataset) == []


def test_a_compaction_whose_index_cannot_be_made_leaves_the_one_that_was_there(
    built: Built, compacted: Built
) -> None:
    """And the same command goes on once that is mended."""
    dataset, gone = built.dataset, keys_of(compacted, GONE)
    shutil.copytree(compacted.dataset.path("removals"), dataset.path("removals"))
    vectors = Path(dataset.path("embeddings/img_emb/img_emb_00001.npy"))
    whole: list[bytes] = []

    class Breaks(Silent):
        def end(self) -> None:  # the shards are compacted, what spans them is not yet made
            if not whole:
                whole.append(vectors.read_bytes())
                vectors.write_bytes(b"not an array")

    query = unit_rows(1, DIMENSION, 7)[0]
    before = Searcher(dataset).query(vector=query, k=ROWS, duplicates=True)
    opened = frenchcat.open(dataset.root)
    with pytest.raises(ValueError, match=r"allow_pickle|magic|load"):
        opened.compact(progress=Breaks())
    searcher = Searcher(dataset)
    hits = searcher.query(vector=query, k=ROWS, duplicates=True)
    assert [hit.key for hit in hits] == [hit.key for hit in before]
    assert not gone & {hit.key for hit in hits}
    for hit in hits:  # which do not lie any more where that index says
        assert searcher.picture(hit) == opened.picture_bytes(hit.key)
    vectors.write_bytes(whole[0])
    run_compact(built)
    assert tree_digest(Path(dataset.root)) == tree_digest(Path(compacted.dataset.root))


def test_a_shard_all_of_whose_rows_go_is_left_empty(built: Built) -> None:
    dataset, last = built.dataset, range(2 * PER_SHARD, 3 * PER_SHARD)
    stored = [number for number in last if number % PER_SHARD != 3]
    with dataset.lock():
        select(dataset, "last", Choice(where="shard = '00002'"))
    planted = unmistakable(built, stored)
    gone = take_out(built, stored)
    assert len(gone) == len(stored)
    run_compact(built)
    assert traces(built, stored, planted) == set()
    assert residue(dataset) == []
    assert in_tar(dataset, "00002") == []
    assert len(open_selection(dataset, "last")) == 0
    hits = Searcher(dataset).query(vector=unit_rows(1, DIMENSION, 7)[0], k=ROWS, duplicates=True)
    assert len(hits) == 20 - len(gone) - 1  # and the one that a rule dropped
    assert not gone & {hit.key for hit in hits}
    assert set(run_all(built).values()) == {0}


def test_selections_keep_their_rows_and_find_their_pictures(
    original: Built, compacted: Built
) -> None:
    dataset, gone = compacted.dataset, keys_of(compacted, GONE)
    before = {name: open_selection(original.dataset, name) for name in ("all", "some")}
    for name, was in before.items():
        path = Path(dataset.path(f"selections/{name}.parquet"))
        written = pq.read_table(path)
        about = json.loads(written.schema.metadata[b"frenchcat"])
        now = open_selection(dataset, name)
        assert now.digest == about["digest"] != was.digest
        assert (now.sql, now.choice) == (was.sql, was.choice)
        left = [row for row in was.table.to_pylist() if row["key"] not in gone]
        for old, new in zip(left, written.to_pylist(), strict=True):
            moved = {"offset": new["offset"]}
            assert old | moved == new
            tar = Path(dataset.path(f"shards/{new['shard']}.tar")).read_bytes()
            data = tar[new["offset"] :][: new["size"]]
            assert hashlib.sha256(data).hexdigest() == new["stored_sha256"]


def test_a_disk_that_cannot_hold_the_largest_shard_twice_is_named_first(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(built, [0])
    before = tree_digest(Path(built.dataset.root))
    size = (Path(built.dataset.root) / "shards/00000.tar").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size))
    with built.dataset.lock(), pytest.raises(NoSpace, match="compaction of 1 shards takes about"):
        compact(built.dataset)
    assert tree_digest(Path(built.dataset.root)) == before


def test_a_log_without_rows_has_nothing_rewritten(built: Built) -> None:
    before = tree_digest(Path(built.dataset.root))
    with built.dataset.lock():
        remove(built.dataset, RemovalQuery("domain", "elsewhere.example"), [])
        assert compact(built.dataset) == {"rows": 0, "shards": 0}
    log = built.dataset.path("removals/000001.json")
    assert tree_digest(Path(built.dataset.root)) == before | {
        "removals/000001.json": hashlib.sha256(Path(log).read_bytes()).hexdigest()
    }


def test_a_failed_row_of_a_removed_address_leaves_nothing_either(built: Built) -> None:
    """It has no picture; its address and caption are as personal."""
    planted = {3: [text.encode() for text in marks(3)]}
    assert traces(built, [3], planted)
    take_out(built, [3])
    run_compact(built)
    assert traces(built, [3], planted) == set()
    assert residue(built.dataset) == []
    assert info(built.dataset).failed == 2
    assert set(run_all(built).values()) == {0}


def test_what_was_out_of_date_is_so_afterwards(built: Built) -> None:
    """A compaction answers for the rows that it takes out, and for no other change."""
    dataset = built.dataset
    marker = dataset.read_json("stages/score/00000.json")
    with dataset.lock():
        dataset.write_json("stages/score/00000.json", {**marker, "digest": "0" * 64})
    take_out(built, [0])
    with dataset.lock():
        compact(dataset)
        assert score(dataset, built.settings.score, built.settings.clip, ONE).done == 1


def test_failed_rows_are_asked_again_after_a_compaction(mine: Built) -> None:
    """The sidecar has fewer rows than the list now: each outcome stays with its own row."""
    dataset, before = mine.dataset, tables(mine.dataset)
    with dataset.lock():
        retry_failed(dataset, mine.settings.download, ONE, permanent=True)
    for shard in dataset.shards():
        rows = {row["key"]: row for row in tables(dataset)[f"shards/{shard}.parquet"]}
        for row in before[f"shards/{shard}.parquet"]:
            assert rows[row["key"]] == row
        emptied = [row for key, row in rows.items() if key in keys_of(mine, GONE)]
        assert all((row["url"], row["caption"], row["uid"]) == (None,) * 3 for row in emptied)
        assert {row["error_message"] for row in emptied} <= {"no_url"}
    assert traces(mine, GONE, {number: texts(number) for number in GONE}) == set()


def texts(number: int) -> list[bytes]:
    return [mark.encode() for mark in marks(number)]


def test_a_row_removed_before_its_shard_was_fetched_is_not_asked_for(built: Built) -> None:
    """Its list was frozen with it; so is that of a shard that is done again."""
    take_out(built, [0, DROPPED])
    asked = built.site.asked.copy()
    other = changed(built.settings.download, resize=ResizeSettings(image_size=40))
    with built.dataset.lock():
        assert download(built.dataset, str(built.urls), other, ONE).done == 3
    again = built.site.asked - asked
    assert {0, DROPPED}.isdisjoint(again)
    assert {1, 11} <= again.keys()
    for shard in ("00000", "00001"):
        held = b"\n".join(contents(Path(built.dataset.path(f"shards/{shard}.tar"))))
        sidecar = repr(tables(built.dataset)[f"shards/{shard}.parquet"]).encode()
        for text in (*texts(0), *texts(DROPPED)):
            assert text not in held + sidecar
