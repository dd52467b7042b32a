"""Markers and dataset.json: the bytes that they always had, and what is said of damaged ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import ClipWeights
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup.settings import DedupSettings
from frenchcat.curate.dedup.stage import signature_of
from frenchcat.curate.download import DownloadSettings, lists
from frenchcat.curate.download.stage import DownloadStage
from frenchcat.curate.embed import EmbedStage
from frenchcat.curate.errors import Damaged, UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import Signature, marker, record_entry
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.score.laion_hash import LaionHash
from frenchcat.curate.score.perceptual import Pdq
from frenchcat.curate.score.stage import ScoreStage
from frenchcat.curate.stage import Engine
from frenchcat.curate.verdict.stage import VerdictStage
from tests.sample.stages import Times

SHARDS = ["00000", "00001"]
HERE = Engine(workers=1)
WEIGHTS = ClipWeights("ViT-B-32", "ViT-B-32", None, "2" * 64, 512)

# What the first releases wrote: a dataset of theirs stays up to date, byte for byte.
NUMBER = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
MARKER = (
    '{"counts":{"rows":1},'
    '"digest":"5d5746750159f8a7dd1ef89cc2b86711e2a46d2d0e0600552fcadb321a4cc327",'
    '"inputs":{"number":"00001"},"outputs":{'
    f'"numbers/00001.bak":{{"bytes":1,"sha256":"{NUMBER}"}},'
    f'"numbers/00001.txt":{{"bytes":1,"sha256":"{NUMBER}"}}}}}}\n'
)
TIMES = {
    "counts": {"rows": 2},
    "digest": "bb544fc68e8cfb0788f6be9ad51e3960f5c35f59252ed0679a13a59272e4a6f7",
    "settings": {"factor": 2},
    "shards": 2,
    "version": 1,
}
LIST = {
    "name": "list.csv",
    "rows": 2,
    "sha256": "6c9d53eb80d80b95954404a21a4c90b87efd81478940fa8d69dd10fbc7e74b35",
}
LISTS = {
    "counts": {"rows": 2},
    "given": [{"caption_column": None, "files": [LIST], "url_column": None}],
    "shards": 1,
    "version": 1,
}
ROWS = {"rows": "1" * 64}
ALL = {"all": "3" * 64}


@pytest.mark.parametrize(
    ("signature", "inputs", "digest"),
    [
        (
            lists.SIGNATURE,
            {},
            "829767b28d63f67d950354a4f5983c70fd78e676c0084d8c83bfbb128b074742",
        ),
        (
            DownloadStage(DownloadSettings(decode_margin=None)).signature,
            ROWS,
            "5c37ee1f5c5bb15aa3d1b7cacbf9ac66840bd9d56004ec00453d54351a3bfe2b",
        ),
        (
            DownloadStage(DownloadSettings()).signature,
            ROWS,
            "287b17585c2db0366fda6d52f8101836d614bb60aa7ba205e9480567c8a22c7f",
        ),
        (
            EmbedStage(ClipSettings(model="ViT-B-32", precision="bf16"), WEIGHTS, 10).signature,
            ROWS,
            "c97c60ea3d936e23c023ef517585775a159c819b778c3334c91cb6fbc7004a55",
        ),
        (
            ScoreStage((Pdq(), LaionHash())).signature,
            ROWS,
            "7b82ca04a8ecf9b709c3a40290da7828af70f98edc5dde81f2dbf1857e9f796a",
        ),
        (
            signature_of(DedupSettings()),
            ALL,
            "d752cddbf0262a6561a0602e35a5b711e502d3da68fd3782b2f2d92c99d19611",
        ),
        (
            VerdictStage((("small", "width < 10"),)).signature,
            ROWS,
            "24c611a67b907d448b9fba0859545cee4a7fd94a14d46ee45d2fc7e60cb46aa2",
        ),
        (
            Signature("download", 1, {"adopted": "img2dataset"}),
            {},
            "5ebce7f2d6d4fc2005dde359683d5f588a59a4b1bc88da76c57fb6537645498e",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Signature) else "",
)
def test_the_digest_of_a_stage_is_the_one_in_datasets_that_there_are(
    signature: Signature, inputs: dict[str, str], digest: str
) -> None:
    """Another one would have every shard of every dataset made anew: bump a version instead."""
    assert signature.digest(inputs) == digest


def pretty(**stages: Any) -> bytes:
    value = {"format": 1, "name": "cats", "stages": stages}
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def test_the_bytes_of_markers_and_manifest_are_those_in_datasets_that_there_are(
    tmp_path: Path,
) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    run_stage(dataset, Times(), SHARDS, HERE)
    assert dataset.read_bytes("stages/times/00001.json") == MARKER.encode()
    assert dataset.read_bytes("dataset.json") == pretty(times=TIMES)
    rows = "url,caption\nhttp://a.example/1.jpg,a cat\nhttp://a.example/2.jpg,a dog\n"
    (tmp_path / "list.csv").write_text(rows)
    lists.freeze(dataset, str(tmp_path / "list.csv"), lists.Shape())
    assert dataset.read_bytes("dataset.json") == pretty(times=TIMES, lists=LISTS)


def test_a_dataset_of_another_release_is_up_to_date_and_left_alone(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    with dataset.publish("before") as out:
        for ending in ("txt", "bak"):
            out.path(f"numbers/00001.{ending}").write_text("2")
        out.path("stages/times/00001.json").write_text(MARKER)
        summed = "0c4c6b8cc8ab6b3a5ac1a57d5a7f4d54"
        manifest = pretty(times={**TIMES, "shards": 1, "counts": {"rows": 1}, "digest": summed})
        out.path("dataset.json").write_bytes(manifest)
    assert run_stage(dataset, Times(), ["00001"], HERE).done == 0
    assert dataset.read_bytes("stages/times/00001.json") == MARKER.encode()


# -- damage ----------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def without(name: str) -> Change:
    return lambda value: value.pop(name)


def with_(**values: Any) -> Change:
    return lambda value: value.update(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("digest"), "it has no digest"),
        (without("outputs"), "it has no outputs"),
        (with_(counts={"rows": "many"}), "counts.rows is 'many'"),
        (with_(counts={"rows": 1.5}), "counts.rows is 1.5"),
        (with_(digest=None), "digest is None"),
        (with_(outputs={"a/b.txt": {"sha256": NUMBER}}), r"it has no outputs.a/b.txt.bytes"),
        (with_(outputs={"a": {"bytes": "1", "sha256": NUMBER}}), "outputs.a.bytes is '1'"),
        (with_(inputs=["rows"]), r"inputs is \['rows'\]"),
    ],
)
def test_a_damaged_marker_is_refused_by_what_is_wrong_in_it(
    tmp_path: Path, change: Change, said: str
) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    run_stage(dataset, Times(), SHARDS, HERE)
    value = dataset.read_json("stages/times/00001.json")
    change(value)
    dataset.write_json("stages/times/00001.json", value)
    with pytest.raises(Damaged, match=said) as caught:
        run_stage(dataset, Times(), SHARDS, HERE)
    assert str(caught.value).startswith(dataset.path("stages/times/00001.json"))
    assert "\n" not in str(caught.value)
    dataset.remove("stages/times/00001.json")  # as it says
    assert run_stage(dataset, Times(), SHARDS, HERE).done == 1


@pytest.mark.parametrize("text", ["", "{", '{"digest": "1', "\x00", '["a"]', "3"])
def test_a_marker_that_was_cut_or_overwritten_is_refused(tmp_path: Path, text: str) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    run_stage(dataset, Times(), SHARDS, HERE)
    Path(dataset.path("stages/times/00000.json")).write_text(text)
    with pytest.raises(Damaged, match=r"times/00000\.json (is not JSON|holds no JSON object)"):
        marker(dataset, "times", "00000")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("name"), "it has no name"),
        (without("stages"), "it has no stages"),
        (with_(name=7), "name is 7"),
        (with_(stages=[]), r"stages is \[\]"),
        (with_(stages={"embed": {"version": "1"}}), "stages.embed.version is '1'"),
        (with_(stages={"embed": {"counts": {"embedded": None}}}), "counts.embedded is None"),
        (with_(stages={"lists": {"given": [{"files": []}]}}), "it has no stages.lists.given.0."),
        (with_(settings="none"), "settings is 'none'"),
    ],
)
def test_a_damaged_manifest_is_refused_by_what_is_wrong_in_it(
    tmp_path: Path, change: Change, said: str
) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    value = dataset.read_json("dataset.json")
    change(value)
    dataset.write_json("dataset.json", value)
    for use in (lambda: Dataset.open(tmp_path / "d"), dataset.manifest):
        with pytest.raises(Damaged, match=said) as caught:
            use()
        assert str(caught.value).startswith(dataset.path("dataset.json"))
        assert "\n" not in str(caught.value)


def test_another_format_is_named_before_what_else_it_has(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    dataset.write_json("dataset.json", {"format": 2, "parts": []})
    with pytest.raises(UserError, match="has format 2; this version of frenchcat reads 1"):
        Dataset.open(tmp_path / "d")


def test_what_a_later_release_wrote_beside_it_is_kept(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "cats")
    later = {"version": 1, "machines": 3}
    dataset.update_manifest({"stages": {"later": later}, "more": [1]})
    run_stage(dataset, Times(), SHARDS, HERE)
    record_entry(dataset, "embed", StageEntry(settings={}))
    record_entry(dataset, "embed", None)
    value = dataset.read_json("dataset.json")
    assert value["more"] == [1]
    assert value["stages"] == {"later": later, "times": TIMES}
    assert dataset.manifest().entry("later") == StageEntry(version=1)
