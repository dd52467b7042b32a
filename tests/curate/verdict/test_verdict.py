"""Verdicts: the first rule names the drop, nothing is dropped in silence, nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.config import load_settings, resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.info import info
from frenchcat.curate.markers import counts_of
from frenchcat.curate.removals import Request
from frenchcat.curate.verdict.settings import VerdictSettings, read_rules, rules_of
from frenchcat.curate.verdict.stage import verdict
from tests.curate.verdict.judged import verdicts
from tests.sample.row import Row
from tests.sample.write import write
from tests.trees import tree_digest

RULES = {
    "too_small": "least(width, height) < 200",
    "unsafe": "punsafe > .5",
    "unlike": "similarity < .2",
}


def ruled(rules: dict[str, str], **more: object) -> VerdictSettings:
    """Settings of these rules."""
    return resolve(VerdictSettings, {"rules": rules, **more})


BIG = {"width": 300, "height": 400}


def scored(similarity: float | None, punsafe: float | None) -> dict[str, float | None]:
    return {"similarity": similarity, "punsafe": punsafe}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two shards: six rows, two of them failed, one without a vector."""
    made = Dataset.create(tmp_path / "d", "d")
    first = [
        Row(columns=BIG, scores=scored(0.3, 0.9)),
        Row(columns={"width": 100, "height": 900}, scores=scored(0.1, 0.1)),
        Row(failed="http_404: not found"),
        Row(columns={"width": 150, "height": 150}, scores=scored(0.1, 0.9)),
    ]
    second = [
        Row(columns=BIG, scores=scored(0.5, 0.0)),
        Row(failed="opted_out:x_robots_tag: noai"),
        Row(columns=BIG, scores=scored(None, None)),
        Row(columns=BIG, scores=scored(0.5, 0.0), unembedded="undecodable: OSError"),
    ]
    write(made, "00000", first)
    write(made, "00001", second)
    return made


def test_the_first_rule_in_the_order_written_names_the_drop(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    assert verdicts(dataset) == {
        "000000000": (False, "unsafe"),
        "000000001": (False, "too_small"),
        "000000003": (False, "too_small"),
        "000010000": (True, None),
        "000010002": (True, None),
        "000010003": (False, "not_embedded:undecodable"),
    }
    verdict(dataset, ruled(dict(reversed(RULES.items()))))
    assert verdicts(dataset)["000000001"] == (False, "unlike")


def test_rows_lie_in_key_order_with_the_documented_columns(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    table = pq.read_table(dataset.path("verdicts/00001.parquet"))
    assert table.schema.names == ["key", "keep", "reason"]
    assert [str(kind) for kind in table.schema.types] == ["string", "bool", "string"]
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())


def test_each_rule_is_counted_first_alone_and_unknown(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    rules = info(dataset).rules
    assert list(rules) == list(RULES)
    assert (rules["too_small"].dropped, rules["too_small"].alone) == (2, 2)
    assert (rules["unsafe"].dropped, rules["unsafe"].alone) == (1, 2)
    assert (rules["unlike"].dropped, rules["unlike"].alone) == (0, 2)
    assert [rule.unknown for rule in rules.values()] == [0, 1, 1]


def test_null_drops_nothing_unless_the_rule_says_so(dataset: Dataset) -> None:
    verdict(dataset, ruled({"unsafe": "punsafe > .5"}))
    assert verdicts(dataset)["000010002"] == (True, None)
    verdict(dataset, ruled({"unsafe": "coalesce(punsafe, 1) > .5"}))
    assert verdicts(dataset)["000010002"] == (False, "unsafe")


def test_without_rules_all_that_has_a_vector_is_kept(dataset: Dataset) -> None:
    verdict(dataset)
    kept = [key for key, (keep, _) in verdicts(dataset).items() if keep]
    assert len(kept) == 5
    assert info(dataset).dropped == {"not_embedded:undecodable": 1}


def test_info_counts_every_row_once(dataset: Dataset) -> None:
    for settings in (None, ruled(RULES), ruled({"all": "true"})):
        if settings is not None:
            verdict(dataset, settings)
        shown = info(dataset)
        assert shown.kept + shown.failed + sum(shown.dropped.values()) == shown.rows == 8
        assert shown.failed_reasons == {"http_404": 1, "opted_out:x_robots_tag": 1}


def test_same_again_is_skipped_and_another_rule_redone(dataset: Dataset) -> None:
    assert verdict(dataset, ruled(RULES)).done == 2
    before = tree_digest(Path(dataset.root))
    assert verdict(dataset, ruled(RULES)).done == 0
    assert tree_digest(Path(dataset.root)) == before
    assert verdict(dataset, ruled(RULES | {"unsafe": "punsafe > .95"})).done == 2
    assert verdict(dataset, ruled(RULES)).done == 2
    assert tree_digest(Path(dataset.root)) == before
    assert verdict(dataset, ruled(dict(reversed(RULES.items())))).done == 2


def test_only_shards_whose_scores_changed_are_judged_again(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    write(dataset, "00001", [Row(scores=scored(0.5, 0.7))], ["scores"])
    assert verdict(dataset, ruled(RULES)).done == 1
    assert verdicts(dataset)["000010000"] == (False, "unsafe")


def test_a_removed_row_is_dropped_as_removed_at_once_and_after_judging(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    request = Request(1, "key", "2026-01-01T00:00:00Z", keys=("000010000",))
    dataset.write_json("removals/000001.json", request.as_json())
    assert info(dataset).dropped["removed"] == 1
    assert verdict(dataset, ruled(RULES)).done == 1
    assert verdicts(dataset)["000010000"] == (False, "removed")
    shown = info(dataset)
    assert shown.kept + shown.failed + sum(shown.dropped.values()) == shown.rows


def test_a_column_that_one_shard_lacks_is_null_there(dataset: Dataset) -> None:
    write(dataset, "00002", [Row(columns={**BIG, "artist": "Ann"})])
    verdict(dataset, ruled({"by_ann": "artist = 'Ann'", "other": "similarity > .4"}))
    assert verdicts(dataset)["000020000"] == (False, "by_ann")
    assert verdicts(dataset)["000010000"] == (False, "other")
    assert info(dataset).rules["by_ann"].unknown == 5


def test_the_catalog_of_a_shard_is_the_catalog(dataset: Dataset) -> None:
    write(dataset, "00002", [Row(columns={**BIG, "artist": "Ann"})])
    with Catalog(dataset) as catalog:
        names = ", ".join(catalog.columns())
        whole = catalog.run(f"SELECT {names} FROM samples ORDER BY key").to_pylist()
        parts = [
            catalog.run(f"SELECT {names} FROM ({catalog.of_shard(s)}) ORDER BY key")
            for s in dataset.shards("download")
        ]
    assert [row for part in parts for row in part.to_pylist()] == whole


def test_the_list_s_own_column_named_keep_does_not_pass_for_a_verdict(dataset: Dataset) -> None:
    write(dataset, "00002", [Row(columns={**BIG, "keep": "no", "reason": "mine"})])
    verdict(dataset, ruled({"theirs": "list_keep = 'no'"}))
    assert verdicts(dataset)["000020000"] == (False, "theirs")
    with Catalog(dataset) as catalog:
        assert catalog.keys("keep") == [
            "000000000",
            "000000001",
            "000000003",
            "000010000",
            "000010002",
        ]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"a": "widht < 3"}, r"rule a: no column 'widht' in 'widht < 3'; did you mean width\?"),
        ({"a": "pwatermark > 1"}, r"rule a: no column 'pwatermark'.*run frenchcat score"),
        ({"a": "keep"}, "rule a: no column 'keep'"),
        ({"a": "width"}, "rule a: 'width' is a integer, not a condition"),
        ({"a": "width > 1; drop table rows"}, "rule a: .*(not a condition|more than one)"),
        ({"a": "(select true)"}, "rule a: .*subquery"),
        ({"a": "read_text('/etc/passwd') <> ''"}, "rule a: the function read_text is not allowed"),
        ({"a": "count(*) > 1"}, "rule a: the function count_star is not allowed"),
        ({"good": "true", "a": "url::integer = 1"}, "rule a: .*fails"),
        ({"a": ""}, "rule a: an empty expression"),
    ],
)
def test_a_bad_rule_is_named_and_leaves_nothing(
    dataset: Dataset, rules: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        verdict(dataset, ruled(rules))
    assert "\n" not in str(caught.value)
    assert not dataset.exists("verdicts")


def test_a_failing_rule_leaves_the_verdicts_before_it(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    before = tree_digest(Path(dataset.root))
    with pytest.raises(UserError):
        verdict(dataset, ruled({"a": "widht < 3"}))
    assert tree_digest(Path(dataset.root)) == before


KILLED = """
import sys
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.verdict import VerdictSettings, verdict
dataset = Dataset.open(sys.argv[1])
with dataset.lock():
    verdict(dataset, VerdictSettings(rules={"odd": "width % 2 = 1"}))
"""


def test_killed_anywhere_then_again_is_byte_identical(tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "cut"]
    for folder in folders:
        made = Dataset.create(folder, "d")
        for shard in range(30):
            rows = [Row(columns={"width": n, "height": 1}) for n in range(20)]
            write(made, f"{shard:05d}", rows)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED]
    subprocess.run([*command, folders[0]], env=environment, check=True)
    done = []
    for _ in range(2):
        process = subprocess.Popen([*command, folders[1]], env=environment)
        enough = len(done) and done[-1] + 8
        while process.poll() is None and len(Dataset(str(folders[1])).shards("verdict")) <= enough:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done.append(len(Dataset(str(folders[1])).shards("verdict")))
    assert 0 < done[0] < 30, "killed at work"
    subprocess.run([*command, folders[1]], env=environment, check=True)
    assert tree_digest(folders[1]) == tree_digest(folders[0])


# -- settings ------------------------------------------------------------------------------------


def test_the_order_of_rules_survives_dataset_json(tmp_path: Path) -> None:
    import json

    from frenchcat.curate.config import as_dict

    settings = ruled({"b": "true", "a": "false"})
    kept = json.loads(json.dumps(as_dict(settings), sort_keys=True))
    again = resolve(VerdictSettings, kept)
    assert list(rules_of(again)) == ["b", "a"]
    kept["rules"]["0"] = "true"
    with pytest.raises(UserError, match="'0' names no rule"):
        resolve(VerdictSettings, kept)


def test_own_rules_follow_the_preset_s_and_take_the_place_of_their_name() -> None:
    own = {"mine": "true", "too_small": "false"}
    found = rules_of(ruled(own, preset="datacomp-basic"))
    preset = read_rules("datacomp-basic")
    assert list(found) == [*preset, "mine"]
    assert found["too_small"] == "false"


@pytest.mark.parametrize("preset", ["datacomp-basic", "laion-5b", "re-laion", "demo"])
def test_presets_are_settings_and_their_rules_conditions(preset: str, dataset: Dataset) -> None:
    from frenchcat.curate.verdict.rules import check_rules
    from frenchcat.pipeline import BuildSettings

    rules = read_rules(preset)
    check_rules(rules)
    whole = load_settings(BuildSettings, preset)
    assert rules_of(whole.verdict) == rules


def test_laions_5_kb_are_the_fetched_file_s_and_unknown_to_older_datasets(tmp_path: Path) -> None:
    rules = {"small_file": read_rules("laion-5b")["small_file"]}
    old = Dataset.create(tmp_path / "old", "old")
    write(old, "00000", [Row(columns=BIG, scores=scored(0.3, 0.1)) for _ in range(3)])
    verdict(old, ruled(rules))
    assert all(keep for keep, _ in verdicts(old).values())
    assert info(old).rules["small_file"].unknown == 3
    new = Dataset.create(tmp_path / "new", "new")
    sizes = (4_999, 5_000, None)
    write(new, "00000", [Row(columns={**BIG, "original_bytes": size}) for size in sizes])
    write(new, "00001", [Row(columns=BIG)])  # as it was before the list grew
    verdict(new, ruled(rules))
    assert [keep for keep, _ in verdicts(new).values()] == [False, True, True, True]
    assert info(new).rules["small_file"].unknown == 2
    with Catalog(old) as catalog:
        assert catalog.columns()["original_bytes"] == "BIGINT"
        assert catalog.keys("original_bytes is null") == catalog.keys()


def test_a_file_of_rules_alone(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('too_small = "width < 200"\n')
    assert read_rules(file) == {"too_small": "width < 200"}
    for text, said in (
        ("[clip]\nmodel = 'mini'\n", "has no rules"),
        ("a = 3\n", "has no rules"),
        ("a = '", "is not TOML"),
        ("removed = 'true'\n", "'removed' names no rule"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=said):
            read_rules(file)


def test_markers_count_what_the_file_says(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    counts = counts_of(dataset, "verdict", "00000")
    assert counts["rows"] == 3
    assert counts["kept"] == 0
