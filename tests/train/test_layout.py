"""A selection's rows are laid out once, and anew when what they were made from has changed."""

from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import Choice, select
from frenchcat.train.layout import rows_of_selection
from tests.train.embedded_run import make_dataset, mini


def test_rows_are_laid_out_again_only_after_a_change(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "dataset", mini())
    select(dataset, "some", Choice(where="key < '000000030'"))
    folder = tmp_path / "rows"
    first = rows_of_selection(dataset, "some", folder)
    written = (folder / "rows.arrow").stat().st_mtime_ns
    again = rows_of_selection(Dataset.open(dataset.root), "some", folder)
    assert (folder / "rows.arrow").stat().st_mtime_ns == written
    assert (again.digest, again.take(range(30))) == (first.digest, first.take(range(30)))
    assert rows_of_selection(dataset, "some", folder, held_out=3).held_out != ()
    assert len(rows_of_selection(dataset, "some", folder)) == len(first)
    wanted = RemovalQuery("url", str(_url(dataset)))
    with dataset.lock():
        remove(dataset, wanted, matches(dataset, wanted))
    less = rows_of_selection(dataset, "some", folder)
    assert len(less) == len(first) - 1
    assert less.digest != first.digest


def _url(dataset: Dataset) -> object:
    import pyarrow.parquet as pq

    return pq.read_table(dataset.path("shards/00000.parquet"))["url"][5].as_py()
