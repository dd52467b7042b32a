"""A request: what its log says, that it stays as it is, and the verb that makes one."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.hash_lists import HashList, with_removed
from frenchcat.curate.removals import removed, removed_by_shard, removed_keys, without_removed
from frenchcat.curate.remove import RemovalQuery, matches, remove
from tests.sample.columns import add_columns
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

VECTORS = unit_rows(4)
KEYS = [f"00000000{n}" for n in range(4)]
URLS = [f"http://example.org/{key}.png" for key in KEYS]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two shards, the first with scores."""
    made = embedded(tmp_path / "d", VECTORS, unit_rows(3, seed=1))
    add_columns(
        made,
        "scores",
        sha256=[digest(key.encode()) for key in KEYS],
        stored_sha256=[digest(picture(n)) for n in range(4)],
        pdq=[f"{n}{n}" * 32 for n in range(4)],
    )
    return made


def take_out(dataset: Dataset, by: str, value: str, note: str = "") -> None:
    query = RemovalQuery(by, value)
    remove(dataset, query, matches(dataset, query), note)


@pytest.mark.parametrize(
    ("by", "value"),
    [("url", URLS[2]), ("uid", f"{2:032x}"), ("key", KEYS[2]), ("sha256", digest(picture(2)))],
)
def test_a_request_names_all_by_which_its_row_is_known(
    dataset: Dataset, by: str, value: str
) -> None:
    take_out(dataset, by, value, "mail of 3 May")
    gone = removed(dataset)
    assert gone.keys == {KEYS[2]}
    assert gone.url_hashes == {digest(URLS[2].encode())}
    assert gone.uid_hashes == {digest(f"{2:032x}".encode())}
    assert gone.sha256 == {digest(KEYS[2].encode()), digest(picture(2))}
    assert gone.pdq == {"22" * 32}
    assert gone.vectors == {digest(VECTORS[2].astype("<f2").tobytes())}
    (request,) = gone.requests
    assert (request.number, request.by, request.note) == (1, by, "mail of 3 May")
    assert request.time.endswith("+00:00")


def test_requests_add_up_and_none_is_ever_changed(dataset: Dataset) -> None:
    folder, before = Path(dataset.path("removals")), dict[str, str]()
    for number, key in enumerate([KEYS[3], KEYS[0], "000010001"], 1):
        take_out(dataset, "key", key)
        now = tree_digest(folder)
        assert {name: now[name] for name in before} == before
        assert now.keys() - before.keys() == {f"{number:06d}.json"}
        before = now
    assert removed_keys(dataset) == {KEYS[3], KEYS[0], "000010001"}
    assert removed_by_shard(dataset) == {"00000": {KEYS[3], KEYS[0]}, "00001": {"000010001"}}
    assert len(removed(dataset).sha256) == 4
    assert [request.number for request in removed(dataset).requests] == [1, 2, 3]


def test_a_number_is_never_given_twice(dataset: Dataset) -> None:
    """Not even where an earlier file is missing."""
    for key in KEYS[:3]:
        take_out(dataset, "key", key)
    dataset.remove("removals/000001.json")
    before = tree_digest(Path(dataset.path("removals")))
    take_out(dataset, "key", KEYS[3])
    now = tree_digest(Path(dataset.path("removals")))
    assert now.keys() - before.keys() == {"000004.json"}
    assert {name: now[name] for name in before} == before


@pytest.mark.parametrize("before", ["", " "])
def test_what_no_row_matches_is_blocked_for_later_crawls(dataset: Dataset, before: str) -> None:
    later = {"url": "http://later.net/x", "uid": "f" * 32, "domain": "later.co.uk"}
    for by, value in later.items():
        take_out(dataset, by, before + value + before)
    take_out(dataset, "sha256", before + digest(b"later").upper() + before)
    rows = pa.table(
        {
            "uid": ["f" * 32, "b", "c", "d", ""],
            "url": ["u", "http://LATER.net:80/x", "https://a.later.co.uk/", "http://x.net/", None],
        }
    )
    assert without_removed(rows, removed(dataset))["uid"].to_pylist() == ["d", ""]
    lists = with_removed(HashList(), removed(dataset))
    assert lists.holds(b"later", b"") == lists.holds(b"", b"later") == "sha256"
    assert lists.holds(b"other", b"") is None
    with Catalog(dataset) as catalog:
        assert catalog.count() == 7


def test_what_a_user_lists_stays_listed_beside_what_was_removed(dataset: Dataset) -> None:
    take_out(dataset, "key", KEYS[1])
    mine = HashList(frozenset({"1" * 32}), frozenset({"2" * 64}), frozenset({"3" * 64}))
    both = with_removed(mine, removed(dataset))
    assert both.md5 == mine.md5
    assert both.sha256 == mine.sha256 | {digest(KEYS[1].encode()), digest(picture(1))}
    assert both.pdq == mine.pdq | {"11" * 32}
    assert both.holds(b"", picture(1)) == "sha256"


def test_a_picture_that_nothing_matches_is_no_request(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(picture(99))
    query = RemovalQuery("like", str(tmp_path / "x.png"))
    with pytest.raises(UserError, match=r"no row of .* matches --like"):
        remove(dataset, query, [])
    assert not dataset.exists("removals")


# -- the verb ------------------------------------------------------------------------------------


def verb(dataset: Dataset, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr. Raises what the verb raises."""
    done = CliRunner().invoke(app, ["remove", dataset.root, *arguments], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_nothing_is_removed_that_nobody_agreed_to(dataset: Dataset) -> None:
    status, shown, said = verb(dataset, "--url", URLS[1])
    assert status == 1
    assert "--yes" in said
    assert KEYS[1] in shown + said
    assert not dataset.exists("removals")


def test_a_request_that_matches_no_row_is_recorded_only_where_that_is_wanted(
    dataset: Dataset,
) -> None:
    status, _, said = verb(dataset, "--domain", "nowhere.example")
    assert (status, dataset.exists("removals")) == (1, False)
    assert "no row matches" in said
    assert verb(dataset, "--domain", "nowhere.example", "--yes")[0] == 0
    assert removed(dataset).domains == {"nowhere.example"}


def test_the_verb_removes_what_it_was_asked_for_and_says_so(dataset: Dataset) -> None:
    arguments = ("--key", KEYS[1], "--note", "a letter", "--yes", "--json")
    status, shown, said = verb(dataset, *arguments)
    assert status == 0
    row = {"key": KEYS[1], "url": URLS[1], "caption": f"caption of {KEYS[1]}", "why": "key"}
    assert json.loads(shown) == row
    assert "1 rows removed" in said
    (request,) = removed(dataset).requests
    assert (request.keys, request.note, request.by) == ((KEYS[1],), "a letter", "key")


@pytest.mark.parametrize("near", [True, False])
def test_near_copies_go_where_the_verb_is_told_so(tmp_path: Path, near: bool) -> None:
    dataset = embedded(tmp_path / "d", VECTORS[[0, 0, 1]])
    verb(dataset, "--key", KEYS[0], "--yes", *(["--near"] if near else []))
    assert removed_keys(dataset) == set(KEYS[:2] if near else KEYS[:1])


@pytest.mark.parametrize("given", [(), ("--key", KEYS[0], "--domain", "example.org")])
def test_a_removal_is_by_one_thing(dataset: Dataset, given: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="say what to remove with one of"):
        verb(dataset, *given, "--yes")
    assert not dataset.exists("removals")
