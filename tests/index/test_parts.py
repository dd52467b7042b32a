"""What a part depends on, what opening and verifying find, and builds that overtake a reader."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.index.build import (
    JSON,
    IndexSettings,
    build_index,
    current,
    entries,
    index_version,
)
from frenchcat.index.check import verify
from frenchcat.index.part import PartEntry
from frenchcat.index.rows import id_of
from frenchcat.index.search import Searcher
from tests.sample.columns import set_columns
from tests.sample.embedded import add_shard, embedded
from tests.sample.tars import read_tar, write_tar
from tests.sample.vectors import unit_rows
from tests.sample.write import MODEL

EXACT, CODES = IndexSettings(factory="SQfp16"), IndexSettings(factory="RaBitQ2", rerank=3)


def names(dataset: Dataset) -> set[str]:
    """The parts' files."""
    return {name for name in dataset.files("index") if name != "index.json"}


def test_other_settings_make_another_index_under_other_names(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(60))
    seen: list[set[str]] = []
    for settings in (EXACT, CODES, IndexSettings(factory="RaBitQ2", rerank=9), IndexSettings()):
        (entry,) = entries(build_index(dataset, settings))
        if settings.rerank is not None:
            assert (entry.factory, entry.rerank) == ("RaBitQ2", settings.rerank)
        else:
            assert (entry.factory, entry.exact) == ("SQfp16", True)
        assert all(names(dataset).isdisjoint(earlier) for earlier in seen)
        seen.append(names(dataset))
    (entry,) = entries(build_index(dataset, IndexSettings(factory="IVF4,RaBitQ2", probes=3)))
    assert entry.probes == 3


def test_another_model_makes_another_index(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(20))
    build_index(dataset)
    before, version = names(dataset), index_version(dataset)
    record_entry(dataset, "embed", StageEntry(settings={**MODEL, "weights": "1" * 64}))
    found = build_index(dataset)
    assert found["made_of"]["weights"] == "1" * 64
    assert names(dataset).isdisjoint(before)
    assert index_version(dataset) != version


def test_a_reader_goes_on_with_what_it_opened(tmp_path: Path) -> None:
    """All that it reads was swapped meanwhile: parts, rows, vectors."""
    dataset = embedded(tmp_path / "d", unit_rows(60))
    for settings in (EXACT, CODES):
        build_index(dataset, settings)
        reader = Searcher(dataset)
        before = reader.query(vector=unit_rows(1)[0], k=60)
        add_shard(dataset, "00000", unit_rows(60, seed=5))
        build_index(dataset, CODES if settings is EXACT else EXACT)
        assert reader.query(vector=unit_rows(1)[0], k=60) == before
        assert reader.version != index_version(dataset)
        assert Searcher(dataset).query(vector=unit_rows(1)[0], k=60) != before
        add_shard(dataset, "00000", unit_rows(60))


def test_the_version_changes_with_vectors_of_the_same_size(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(20))
    build_index(dataset)
    seen = {index_version(dataset)}
    for seed in (1, 2):
        add_shard(dataset, "00000", unit_rows(20, seed=seed))
        build_index(dataset)
        assert index_version(dataset) not in seen
        seen.add(index_version(dataset))
        (hit,) = Searcher(dataset).query(vector=unit_rows(20, seed=seed)[7], k=1)
        assert (hit.key, round(hit.similarity, 2)) == ("000000007", 1)


def test_sixteen_parts_and_no_more(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(3))
    counts = [len(entries(build_index(dataset)))]
    for number in range(1, 17):
        add_shard(dataset, f"{number:05d}", unit_rows(1, seed=number))
        counts.append(len(entries(build_index(dataset))))
    assert counts == [*range(1, 17), 1]
    assert len(Searcher(dataset)) == 19


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_vector_that_is_no_number_is_refused(tmp_path: Path, wrong: float) -> None:
    vectors = unit_rows(9)
    vectors[7, 3] = wrong
    with pytest.raises(UserError, match="is not a number"):
        build_index(embedded(tmp_path / "d", unit_rows(4), vectors))


def test_an_index_of_another_version_is_none_and_is_made_anew(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(5))
    whole = build_index(dataset)
    older = {**whole, "made_of": {**whole["made_of"], "version": 1}}
    dataset.write_json(JSON, older)
    assert current(dataset) is None
    with pytest.raises(UserError, match="run: frenchcat index"):
        Searcher(dataset)
    assert build_index(dataset) == whole == current(dataset)


def test_verify_reads_every_file_of_every_part(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))
    build_index(dataset)
    add_shard(dataset, "00001", unit_rows(5, seed=1))
    build_index(dataset)
    assert len(names(dataset)) == 6
    for name in sorted(names(dataset)):
        path = Path(dataset.path(f"index/{name}"))
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(UserError, match=name):
            verify(dataset)
        path.write_bytes(whole)
    verify(dataset)


@pytest.mark.parametrize(
    ("rows", "dimension", "file"),
    [(30, 8, "image"), (30, 8, "text"), (29, 16, "image"), (29, 16, "text"), (29, 16, "rows")],
)
def test_files_of_another_index_are_refused_whatever_their_size(
    tmp_path: Path, rows: int, dimension: int, file: str
) -> None:
    """index.json names their sizes, so that only what is in them tells."""
    dataset, other = embedded(tmp_path / "d", unit_rows(30)), tmp_path / "e"
    (entry,) = entries(build_index(dataset))
    (theirs,) = entries(build_index(embedded(other, unit_rows(rows, dimension))))

    def of(one: PartEntry) -> str:
        return one.rows_file if file == "rows" else one.index_file(file)

    shutil.copy(other / of(theirs), dataset.path(of(entry)))
    said = dataset.read_json(JSON)
    said["parts"][0]["files"][of(entry)] = dict(theirs.files[of(theirs)])
    dataset.write_json(JSON, said)
    with pytest.raises(UserError, match=r"index\.json says"):
        Searcher(dataset)


def test_an_embedded_row_without_its_picture_is_refused(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    path = Path(dataset.path("shards/00000.tar"))
    kept = [(name, data) for name, data in read_tar(path).items() if "0002" not in name]
    write_tar(path, kept)
    with pytest.raises(UserError, match="has no image 000000002"):
        build_index(dataset)


def test_a_dataset_adopted_without_pictures_has_rows_and_says_so(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    for name in ("shards/00000.tar", "stages/download/00000.json"):
        dataset.remove(name)
    build_index(dataset)
    searcher = Searcher(dataset)
    (hit,) = searcher.query(vector=unit_rows(4)[2], k=1)
    assert (hit.key, hit.size) == ("000000002", 0)
    with pytest.raises(UserError, match="has no image of 000000002"):
        searcher.picture(hit)


def test_a_column_of_some_shards_is_null_in_the_others(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(2), unit_rows(2, seed=1), unit_rows(2, seed=2))
    for shard, column in (("00001", "artist"), ("00002", "year")):
        set_columns(dataset, files.METADATA.of(shard), **{column: [shard, None]})
    build_index(dataset)
    searcher = Searcher(dataset)
    rows = searcher.metadata([10000, 20000, 0, 10001], ["key", "artist", "year"])
    assert rows == [
        {"key": "000010000", "artist": "00001", "year": None},
        {"key": "000020000", "artist": None, "year": "00002"},
        {"key": "000000000", "artist": None, "year": None},
        {"key": "000010001", "artist": None, "year": None},
    ]


@given(st.one_of(st.text(), st.from_regex(r"\A[0-9]{1,40}\Z"), st.from_regex(r"\A[٠-٩²]{1,9}\Z")))
@example("9" * 19)
@example(str(2**63))
@example("0" * 30)
def test_an_id_is_a_number_of_63_bits_whatever_the_key(key: str) -> None:
    assert 0 <= id_of(key) < 2**63
    assert np.int64(id_of(key)) == id_of(key)


# -- builds that overtake a reader -----------------------------------------------------------------


@dataclass(frozen=True)
class Overtaken(Dataset):
    """A dataset in which something happens once, right after its index.json was read."""

    happens: list[Callable[[], object]] = field(default_factory=list, compare=False)

    def read_bytes(self, relative: str) -> bytes:
        """The file as it is before that."""
        found = super().read_bytes(relative)
        if relative == JSON and self.happens:
            self.happens.pop()()
        return found


def test_what_a_build_replaced_while_it_was_opened_is_opened_anew(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(20))
    build_index(dataset, EXACT)
    late = Overtaken(dataset.root, [lambda: build_index(dataset, IndexSettings(factory="Flat"))])
    searcher = Searcher(late)
    assert searcher.version == index_version(dataset)
    (hit,) = searcher.query(vector=unit_rows(20)[7], k=1)
    assert hit.key == "000000007"


def test_a_part_added_while_it_was_opened_shows_as_a_newer_version(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(20))
    build_index(dataset)

    def grow() -> None:
        add_shard(dataset, "00001", unit_rows(3, seed=1))
        build_index(dataset)

    searcher = Searcher(Overtaken(dataset.root, [grow]))
    assert (len(searcher) == 23) == (searcher.version == index_version(dataset))
    assert len(Searcher(dataset)) == 23
