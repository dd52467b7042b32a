"""PostgreSQL with pgvector: its own answers to conditions, its index, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import BadCondition, NoSpace, Unreachable, Unwritable, UserError
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.vector_stores import RowFilter, VectorDatabase, open_store
from frenchcat.index.publish import publish
from tests.curate.vector_stores.table_dataset import table_dataset
from tests.curate.vector_stores.test_condition import COLUMNS, TRANSLATED, keys
from tests.sample import postgres
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.running() as address:
        yield address


@pytest.fixture(scope="module")
def asked(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorDatabase]:
    """The rows of test_condition.py, published."""
    made = table_dataset(tmp_path_factory.mktemp("asked") / "d")
    address = f"{server}&table=asked"
    publish(made, address)
    with open_store(address) as opened:
        contents = opened.contents()
        assert contents is not None
        assert contents.columns["f"] == COLUMNS["f"]
        yield opened


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return embedded(tmp_path / "d", unit_rows(6), unit_rows(5, seed=1), unit_rows(4, seed=2))


@pytest.mark.parametrize("where", TRANSLATED)
def test_a_condition_has_the_rows_that_duckdb_finds(asked: VectorDatabase, where: str) -> None:
    ids, _ = asked.nearest(unit_rows(1)[0], 99, "image", RowFilter(where))
    assert sorted(ids.tolist()) == keys(where)


def test_with_an_index_a_search_gives_exactly_k_at_the_stated_recall(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frenchcat.curate.vector_stores import postgresql

    monkeypatch.setattr(postgresql, "INDEX_ROWS", 500)
    parts = [unit_rows(1000, 32, seed=seed) for seed in range(3)]
    made = embedded(tmp_path / "d", *parts)
    address = f"{server}&table=indexed"
    done = publish(made, address)
    vectors = np.concatenate(parts).astype(np.float16).astype(np.float32)
    with open_store(address) as store:
        contents = store.contents()
        assert contents is not None
        assert contents.search["index"] == "hnsw"
        assert done.recall == contents.search["recall@10"] >= 0.99
        found = []
        for query in unit_rows(50, 32, seed=77):
            _, cosines = store.nearest(query, 10, "image", RowFilter())
            best = np.sort(vectors @ query)[::-1][:10]
            found.append(np.mean(cosines >= best[-1] - 1e-6))
        assert np.mean(found) >= 0.95
        rare = RowFilter("key LIKE '%7' AND key < '000000100'")  # ten rows
        truth = np.arange(7, 100, 10)
        ids, cosines = store.nearest(query, 10, "image", rare)
        assert sorted(ids.tolist()) == truth.tolist()
        np.testing.assert_allclose(cosines, np.sort(vectors[truth] @ query)[::-1], atol=1e-6)
        for k in (11, 1500, 5000):
            assert len(store.nearest(query, k, "image", RowFilter())[0]) == min(k, 3000)
        assert len(store.nearest(query, 400, "image", rare)[0]) == 10
    assert publish(made, address).recall == done.recall


def admin(server: str, sql: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql)


def test_a_full_disk_is_named_and_the_same_command_goes_on(server: str, dataset: Dataset) -> None:
    address = f"{server}&table=full"
    publish(dataset, address)
    admin(
        server,
        """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.shard = '00001' THEN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END IF;
        RETURN NEW; END $$""",
    )
    admin(
        server,
        'CREATE TRIGGER full_disk BEFORE INSERT ON "full" '
        "FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    with open_store(address) as store:
        for shard in ("00001", "00002"):
            store.drop_shard(shard)
    with pytest.raises(NoSpace, match=r"is full.*; 1 of 3 shards are published there"):
        publish(dataset, address)
    admin(server, 'DROP TRIGGER full_disk ON "full"')
    assert (publish(dataset, address).put, publish(dataset, address).rows) == (2, 15)


def test_a_server_that_is_busy_for_too_long_is_named_and_a_removal_stays_logged(
    server: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from frenchcat.curate.vector_stores import postgres_connection

    address = f"{server}&table=busy"
    publish(dataset, address)
    monkeypatch.setattr(postgres_connection, "ANSWER_SEC", 1)
    query = RemovalQuery("key", "000000001")
    with psycopg.connect(server) as other:
        other.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        with (
            dataset.lock(),
            pytest.raises(Unreachable, match=r"request 1 is logged.*took too long"),
        ):
            remove(dataset, query, matches(dataset, query))
    assert removed_keys(dataset) == {"000000001"}
    assert publish(dataset, address).rows == 14


def test_no_server_and_no_rights_are_one_line(
    server: str, dataset: Dataset, tmp_path: Path
) -> None:
    for address in ("postgresql://me:pw@127.0.0.1:1/db", f"postgresql:///db?host={tmp_path}"):
        with pytest.raises(Unreachable, match="does not answer") as refused:
            publish(dataset, address)
        assert "\n" not in str(refused.value)
        assert ":pw" not in str(refused.value)
    admin(server, "CREATE ROLE reader LOGIN")
    address = server.replace("postgres:@", "reader@") + "&table=theirs"
    with pytest.raises(Unwritable, match="cannot be written"):
        publish(dataset, address)


def test_values_that_fail_and_tables_that_went_are_told(server: str, dataset: Dataset) -> None:
    address = f"{server}&table=gone"
    publish(dataset, address)
    with open_store(address) as store:
        with pytest.raises(BadCondition, match="fails at"):
            store.nearest(unit_rows(1)[0], 3, "image", RowFilter("width * 9000000000000000000 > 1"))
        assert len(store.nearest(unit_rows(1)[0], 3, "image", RowFilter())[0]) == 3
        admin(server, "DROP TABLE gone")
        with pytest.raises(UserError, match=r"is not as it was published.*frenchcat publish"):
            store.nearest(unit_rows(1)[0], 3, "image", RowFilter())
