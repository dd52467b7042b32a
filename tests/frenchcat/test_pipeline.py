"""Settings of a dataset: kept with what they made, taken up by the next command."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.config import load_settings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.stage import Engine
from frenchcat.pipeline import (
    BuildSettings,
    build,
    engine_of,
    list_name,
    save_settings,
    saved_settings,
    settings_for,
)
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

RULE = 'verdict.rules.small="width < 9"'


def frenchcat(*arguments: str) -> Any:
    """What a command prints as JSON."""
    ended = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout.splitlines()[-1])


def settings_of(dataset: Dataset) -> Any:
    return dataset.manifest().settings


def test_settings_come_back_as_they_were_kept(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    assert saved_settings(dataset) == BuildSettings()
    made = load_settings(BuildSettings, "vit-b-32", [RULE, "download.samples_per_shard=7"])
    save_settings(dataset, made)
    assert saved_settings(dataset) == made != BuildSettings()
    assert {"numpy", "duckdb", "pyarrow"} <= dataset.manifest().versions.keys()


def test_a_section_is_kept_beside_the_others_and_a_new_name_is_the_dataset_s(
    tmp_path: Path,
) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    made = load_settings(BuildSettings, None, [RULE, 'index.factory="Flat"', "name=cats"])
    save_settings(dataset, made, "index")
    assert settings_of(dataset).keys() == {"index"}
    save_settings(dataset, made, "verdict", "name")
    assert settings_of(dataset).keys() == {"index", "verdict", "name"}
    assert (saved_settings(dataset).verdict, dataset.manifest().name) == (made.verdict, "cats")


def test_keeping_the_same_settings_again_writes_nothing(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    save_settings(dataset, BuildSettings())
    with open(dataset.path("dataset.json"), "rb") as held:  # so that its inode is not used anew
        save_settings(dataset, BuildSettings())
        with open(dataset.path("dataset.json"), "rb") as now:
            assert Path(f"/proc/self/fd/{held.fileno()}").stat().st_ino == (
                Path(f"/proc/self/fd/{now.fileno()}").stat().st_ino
            )


def test_settings_of_a_broken_manifest_are_named(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    kept = {**dataset.read_json("dataset.json"), "settings": {"index": {"factry": "Flat"}}}
    dataset.write_json("dataset.json", kept)
    with pytest.raises(UserError, match=r"dataset\.json.*index\.factry"):
        saved_settings(dataset)


@pytest.mark.filterwarnings("ignore")  # of the runner's streams
def test_a_command_takes_up_the_settings_of_those_before_it(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    save_settings(dataset, BuildSettings(name="mine"))
    assert frenchcat("verdict", dataset.root, "--set", RULE, "--json")["dropped"] == {"small": 4}
    assert settings_of(dataset)["verdict"]["rules"] == {"small": "width < 9"}
    frenchcat("index", dataset.root, "--json", "--set", 'index.factory="Flat"')
    kept = settings_of(dataset)
    assert (kept["index"]["factory"], kept["name"]) == ("Flat", "mine")
    assert kept["verdict"]["rules"] == {"small": "width < 9"}
    assert frenchcat("verdict", dataset.root, "--json")["dropped"] == {"small": 4}
    other = tmp_path / "other.toml"
    other.write_text('[verdict.rules]\nnarrow = "width < 8.5"\n')
    judged = frenchcat("verdict", dataset.root, "--config", str(other), "--json")
    assert judged["dropped"] == {"narrow": 4}, "a file's rules take the place of all others"
    assert settings_of(dataset)["index"]["factory"] == "Flat", "and leave other sections alone"


@pytest.mark.filterwarnings("ignore")
def test_rules_of_a_file_take_the_place_of_all_others(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    frenchcat("verdict", dataset.root, "--set", RULE, "--json")
    rules = tmp_path / "rules.toml"
    rules.write_text("first = \"key <= '000000000'\"\n")
    judged = frenchcat("verdict", dataset.root, "--rules", str(rules), "--json")
    assert (judged["dropped"], judged["kept"]) == ({"first": 1}, 3)
    assert list(settings_of(dataset)["verdict"]["rules"]) == ["first"]


def test_hosts_that_are_allowed_join_those_of_the_settings(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    first = settings_for(None, None, ['download.fetch.allow_hosts=["127.0.0.1:2"]'])
    save_settings(dataset, first)
    joined = settings_for(dataset, None, [RULE], ["127.0.0.1:3"])
    assert joined.download.fetch.allow_hosts == ("127.0.0.1:2", "127.0.0.1:3")
    assert joined.verdict.rules == {"small": "width < 9"}
    assert settings_for(dataset, None, [], ["127.0.0.1:2"]) == first
    assert settings_for(None, None, []) == settings_for(None, "mini", []) == BuildSettings()
    assert settings_for(dataset, "mini", []) == first, "a preset changes what it names, no more"


def test_an_engine_by_its_name_or_address() -> None:
    assert engine_of("local", 3) == Engine("local", None, 3)
    assert engine_of("ray") == Engine("ray", None, None)
    assert engine_of("ray://head:10001", 2) == Engine("ray", "ray://head:10001", 2)
    for text in ("spark", "rayon", "ray:/head", ""):
        with pytest.raises(UserError, match="none of: local, ray"):
            engine_of(text)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://lists/cats.2024.parquet", "cats"),
        ("/data/lists/", "lists"),
        ("cats.csv.gz", "cats"),
        ("data/lists/*.parquet", "lists"),
        ("data/cats-*.parquet", "cats"),
        ("/data/[ab]*/*/*.csv", "data"),
        ("https://example.org/cats.csv?download=1", "cats"),
    ],
)
def test_a_dataset_is_called_after_its_first_list(address: str, name: str) -> None:
    assert list_name([address, "other.csv"]) == name


@pytest.mark.parametrize(
    ("urls", "override"),
    [
        ("url,caption\nhttp://127.0.0.1:1/b.jpg,a cat\n", 'verdict.rules.x="width <"'),
        ("a\n1\n", RULE),
    ],
)
def test_a_build_that_cannot_be_makes_no_folder(tmp_path: Path, urls: str, override: str) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(urls)
    with pytest.raises(UserError):
        build([str(listed)], tmp_path / "out", load_settings(BuildSettings, None, [override]))
    assert not (tmp_path / "out").exists()
