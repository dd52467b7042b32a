"""The log of removals: every request counts, whatever it names and whenever it was made."""

from dataclasses import fields
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import Request, log, removed, together, without_removed

TIME = "2026-01-01T00:00:00Z"
NAMED = sorted(
    {one.name for one in fields(Request)} - {"number", "by", "time", "note", "undoes"}
)  # what a request names: keys, hashes, domains
VALUES = st.lists(st.sampled_from(["a.example", "b.example", "c.example"]), max_size=2).map(tuple)
REQUESTS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMED, VALUES)), max_size=4)


@given(REQUESTS)
def test_all_requests_are_in_force_together(given: list[dict[str, tuple[str, ...]]]) -> None:
    requests = [Request(n, "key", TIME, **named) for n, named in enumerate(given, 1)]
    found = together(requests)
    for name in NAMED:
        assert getattr(found, name) == {value for named in given for value in named[name]}
    assert found.requests == tuple(requests)
    assert bool(found) == bool(requests)


def test_a_request_is_read_as_it_was_logged(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    requests = [
        Request(n, "key", TIME, "by mail", **{name: (f"{n}-{name}.example",) for name in NAMED})
        for n in (1, 2)
    ]
    for request in requests:
        log(dataset, request)
    assert removed(dataset).requests == tuple(requests)
    assert removed(dataset) == together(requests)


def test_a_domain_in_an_older_log_blocks_every_spelling(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    log(dataset, Request(1, "domain", "2026-01-01T00:00:00Z", domains=("bücher.de",)))
    rows = pa.table({"uid": ["0"], "url": ["http://xn--bcher-kva.de/1.png"]})
    assert not without_removed(rows, removed(dataset)).num_rows
