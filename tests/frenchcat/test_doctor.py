"""`frenchcat doctor`: every fault that a test plants is named with its cure, and nothing else."""

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate import files
from frenchcat.curate.adopt import adopt
from frenchcat.curate.dataset import Dataset
from frenchcat.doctor import installation, of_dataset
from frenchcat.index.build import build_index
from tests.curate.adopt.folders import clip_retrieval
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows
from tests.sample.write import publishing
from tests.trees import tree_digest

OF_THE_MACHINE = {"python", "packages", "extras", "disk", "temporary files", "memory", "open files"}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", unit_rows(6), unit_rows(4, seed=9))
    build_index(made)
    return made


def examined(*arguments: str) -> tuple[Result, list[dict[str, Any]]]:
    done = CliRunner().invoke(app, ["doctor", *arguments, "--json"], catch_exceptions=False)
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def findings(dataset: Dataset, **how: bool) -> dict[tuple[str, str], tuple[str, str]]:
    """Check and state -> what was found and the cure, where it is not well."""
    found = of_dataset(dataset.root, **how)
    return {(one.check, one.state): (one.found, one.cure) for one in found if one.state != "ok"}


UNFINISHED = {("score", "note"), ("dedup", "note"), ("verdict", "note")}
OF_A_SAMPLE = {*UNFINISHED, ("model", "fault")}
"""A sample dataset's vectors are drawn by chance, not by a model."""


def test_a_healthy_machine_is_told_without_a_dataset() -> None:
    done, found = examined()
    assert {one["check"] for one in found} == OF_THE_MACHINE
    assert done.exit_code == any(one["state"] == "fault" for one in found)
    said = next(one["found"] for one in found if one["check"] == "packages")
    assert said.startswith(f"frenchcat {metadata.version('frenchcat')}, ")


def test_a_package_that_is_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [*(metadata.requires("frenchcat") or []), "no-such-package>=2", "numpy>=999"]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    (fault,) = [one for one in installation() if one.check == "packages"]
    assert fault.state == "fault"
    assert "no-such-package is not installed" in fault.found
    assert f"numpy is {metadata.version('numpy')}, not >=999" in fault.found


def test_nothing_but_what_was_not_run_is_said_of_a_healthy_dataset(dataset: Dataset) -> None:
    before = tree_digest(Path(dataset.root))
    assert set(findings(dataset)) == OF_A_SAMPLE
    assert tree_digest(Path(dataset.root)) == before


def test_files_that_are_missing_cut_short_or_changed_are_named(dataset: Dataset) -> None:
    os.unlink(dataset.path("shards/00000.tar"))
    vectors = Path(dataset.path(files.IMG_EMB.of("00001")))
    data = vectors.read_bytes()
    vectors.write_bytes(data[:-1])
    found = [one for one in of_dataset(dataset.root) if one.check == "shards"]
    assert [(one.state, one.found) for one in found] == [
        ("fault", "1 files are missing: shards/00000.tar"),
        ("fault", f"1 files are not as their stage left them: {files.IMG_EMB.of('00001')}"),
    ]
    vectors.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.unlink(dataset.path("stages/download/00000.json"))
    assert ("shards", "fault") not in findings(dataset)
    assert files.IMG_EMB.of("00001") in findings(dataset, every_byte=True)["shards", "fault"][0]


def test_a_marker_that_cannot_be_read_is_named(dataset: Dataset) -> None:
    Path(dataset.path("stages/embed/00001.json")).write_text("{", encoding="utf-8")
    found = findings(dataset)
    assert found["markers", "fault"][0] == "1 markers cannot be read: stages/embed/00001.json"


def test_a_stage_whose_inputs_were_made_anew_is_stale(dataset: Dataset) -> None:
    marker = Path(dataset.path("stages/embed/00001.json"))
    value = json.loads(marker.read_text())
    value["inputs"] = {"shards/00001.tar": "0" * 64}
    marker.write_text(json.dumps(value))
    assert findings(dataset)["embed", "fault"] == (
        "1 shards were made from files that have changed since",
        f"frenchcat embed {dataset.root}",
    )


def test_an_index_without_all_shards_or_files_is_told(dataset: Dataset) -> None:
    add_shard(dataset, "00002", unit_rows(3, seed=20))
    found, cure = findings(dataset)["index", "fault"]
    assert (found, cure) == (
        "1 of 3 embedded shards are not in it as they are now",
        f"frenchcat index {dataset.root}",
    )
    build_index(dataset)
    assert ("index", "fault") not in findings(dataset)
    name = next(name for name in dataset.files("index") if name.startswith("image-"))
    os.unlink(dataset.path(f"index/{name}"))
    assert findings(dataset)["index", "fault"][0] == f"1 files are missing: index/{name}"


def test_a_writer_is_seen_and_so_is_what_an_interrupted_one_left(dataset: Dataset) -> None:
    with dataset.lock():
        assert ("writers", "note") in findings(dataset)
    assert ("writers", "note") not in findings(dataset)
    Path(dataset.path(".lock")).touch()  # as a process that was killed leaves it
    assert ("writers", "note") not in findings(dataset)
    with dataset.lock():  # looking did not take it
        pass
    os.makedirs(dataset.path(".tmp/embed-00003-x"))
    assert ".tmp" in findings(dataset)["writers", "note"][0]


def test_shards_that_are_not_downloaded_or_not_embedded_are_counted(dataset: Dataset) -> None:
    with publishing(dataset, "lists", "00000"), publishing(dataset, "lists", "00001"):
        pass
    for shard in ("00002", "00003"):
        with publishing(dataset, "lists", shard):
            pass
    os.unlink(dataset.path("stages/embed/00001.json"))
    found = findings(dataset)
    assert found["download", "note"][0] == "2 of 4 shards are not downloaded"
    assert found["embed", "note"] == (
        "1 of 2 shards are not done",
        f"frenchcat embed {dataset.root}",
    )


def test_vectors_of_other_weights_than_the_settings_name_are_a_fault(dataset: Dataset) -> None:
    found, cure = findings(dataset)["model", "fault"]
    assert "synthetic with other weights made the vectors" in found
    assert cure == f"frenchcat embed {dataset.root}"


def test_settings_that_cannot_be_used_are_a_fault(dataset: Dataset) -> None:
    dataset.update_manifest({"settings": {"clip": {"model": "local-dir:/no/such/folder"}}})
    assert "/no/such/folder" in findings(dataset)["model", "fault"][0]
    dataset.update_manifest({"settings": {"clip": {"modell": "mini"}}})
    assert "modell" in findings(dataset)["settings", "fault"][0]


def test_a_folder_that_is_no_dataset_is_a_fault_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 1
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("fault")]
    assert "is not a dataset" in line
    assert "frenchcat build" in line


def test_where_there_are_no_images_nothing_is_told_to_embed_again(tmp_path: Path) -> None:
    """Adopted from vectors alone: text is not searched until their model is named."""
    table = pa.table({"caption": ["a", "b"], "url": ["http://a.org/1.jpg", "http://a.org/2.jpg"]})
    dataset = adopt(clip_retrieval(tmp_path / "f", table), tmp_path / "d").dataset
    found = findings(dataset)
    assert ("model", "fault") not in found
    cure = f"frenchcat adopt FOLDER --out {dataset.root} --config FILE"
    assert found["model", "note"] == ("unknown made the vectors, and no image is here", cure)
