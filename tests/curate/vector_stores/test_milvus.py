"""Milvus, as Milvus Lite has it: its answers to conditions, its limits, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import Unreachable, UserError
from frenchcat.curate.vector_stores import RowFilter, VectorDatabase, open_store
from frenchcat.index.publish import publication_notes, publish
from tests.curate.vector_stores.table_dataset import table_dataset
from tests.curate.vector_stores.test_milvus_condition import TRANSLATED, rows
from tests.sample import milvus
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with milvus.running() as address:
        yield address


@pytest.fixture(scope="module")
def asked(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorDatabase]:
    """The rows of test_condition.py, published."""
    made = table_dataset(tmp_path_factory.mktemp("asked") / "d")
    address = f"{server}?table=asked"
    done = publish(made, address)
    assert done.nulled_numbers == 3
    assert list(done.left_out) == ['odd "name%']
    assert any("3 numbers are NaN or infinite" in note for note in publication_notes(done))
    with open_store(address) as opened:
        yield opened


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return embedded(tmp_path / "d", unit_rows(6), unit_rows(5, seed=1), unit_rows(4, seed=2))


@pytest.mark.parametrize("where", [one for one in TRANSLATED if "key >" not in one])
def test_a_condition_has_the_rows_that_duckdb_finds(asked: VectorDatabase, where: str) -> None:
    ids, _ = asked.nearest(unit_rows(1)[0], 99, "image", RowFilter(where))
    assert sorted(ids.tolist()) == rows(where)


def test_long_texts_are_cut_and_counted(server: str, tmp_path: Path) -> None:
    made = embedded(tmp_path / "d")
    long = "é" * 40_000
    add_shard(made, "00000", unit_rows(2), captions=[long, "short"])
    address = f"{server}?table=long"
    assert publish(made, address).cut_texts == 1
    with open_store(address) as store:
        first, second = store.rows(np.array([0, 1]), ["caption"])
    assert first is not None
    assert second is not None
    assert len(first["caption"]) == 32_767
    assert long.startswith(first["caption"])
    assert second["caption"] == "short"


def test_more_rows_than_one_answer_holds_are_compared_here(
    server: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frenchcat.curate.vector_stores import milvus as module

    address = f"{server}?table=many"
    publish(dataset, address)
    (query,) = unit_rows(1, seed=7)
    with open_store(address) as store:
        expected = store.nearest(query, 15, "image", RowFilter())
        for name, value in {"MOST_ROWS": 10, "_ASKED": 4}.items():
            monkeypatch.setattr(module, name, value)
        found = store.nearest(query, 15, "image", RowFilter())
        assert found[0].tolist() == expected[0].tolist()
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
        assert len(store.ids(RowFilter(), 7)) == 7


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("milvus://me:pw@127.0.0.1:1/db", Unreachable, "does not answer"),
        ("milvus:///no/such/folder/x.db", UserError, "there is no folder /no/such/folder"),
        ("milvus://cats.db", UserError, "milvus:///path/to/cats.db"),
        ("milvus://", UserError, "neither a host nor a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    kind: type[Exception],
    said: str,
) -> None:
    pytest.importorskip("pymilvus", reason="the package pymilvus is not installed")
    monkeypatch.setattr("frenchcat.curate.vector_stores.milvus_connection.CONNECT_SEC", 1.0)
    with pytest.raises(kind, match=said) as refused:
        publish(dataset, address)
    assert "\n" not in str(refused.value)
    assert "pw" not in str(refused.value)
