"""What a dataset remembers of its settings, what is asked before costly work, and plans."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.api import plan
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.refusals import require_downloaded
from frenchcat.curate.errors import ConfirmationNeeded, NothingDownloaded, UserError
from frenchcat.curate.stage import Silent
from frenchcat.described import described, kinds
from frenchcat.pipeline import saved_settings, settings_for
from tests.curate.download.loopback import Answer, Site, healthy, jpeg, serve
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows
from tests.trees import tree_digest

QUICK = {"download.samples_per_shard": 4, "download.fetch.retries": 0}


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(healthy) as running:
        yield running


def download(site: Site, folder: Path, numbers: Any = range(8), **how: Any) -> Dataset:
    """Download these pictures in this process, with what else is given."""
    urls = site.write_list(folder / "urls.parquet", numbers)
    given = {**QUICK, **how.pop("set", {})}
    hosts = how.pop("allow_hosts", [f"127.0.0.1:{site.port}"])
    more = {"workers": 1, "allow_hosts": hosts, "set": given, **how}
    return frenchcat.download(urls, folder / "d", **more).dataset


def again(folder: Path, **how: Any) -> Dataset:
    """The same list, with nothing given but this."""
    return frenchcat.download(folder / "urls.parquet", folder / "d", workers=1, **how).dataset


def widths(dataset: Dataset) -> set[int]:
    return set(frenchcat.open(dataset.root).rows(["width"])["width"].to_pylist())


def frenchcat_json(*arguments: str) -> list[Any]:
    ended = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.stdout.splitlines()]


# -- remembered ----------------------------------------------------------------------------------


def test_a_dataset_keeps_its_settings_and_what_is_given_changes_what_it_names(
    site: Site, tmp_path: Path
) -> None:
    made = download(site, tmp_path, set={"download.resize.image_size": 32})
    before = tree_digest(Path(made.root))
    again(tmp_path)
    assert tree_digest(Path(made.root)) == before
    assert set(site.asked.values()) == {1}, "without yesterday's --set nothing is fetched again"
    one = tmp_path / "one.toml"
    one.write_text("[download.fetch]\ndeadline_sec = 9.0\n")
    again(tmp_path, config=one)
    assert set(site.asked.values()) == {1}, "a section that a file lacks stays as it was"
    kept = saved_settings(made).download
    assert (kept.resize.image_size, kept.fetch.deadline_sec) == (32, 9.0)
    assert kept.fetch.allow_hosts == (f"127.0.0.1:{site.port}",)
    back = settings_for(made, None, ["download.resize.image_size="])
    assert back.download.resize.image_size == 384, "an empty value is the default"
    assert settings_for(made, None, ["download.fetch.retries=1"]).download.resize.image_size == 32


def test_nothing_is_downloaded_again_for_a_setting_unless_that_is_agreed_to(
    site: Site, tmp_path: Path
) -> None:
    made = download(site, tmp_path, set={"download.resize.image_size": 32})
    before = tree_digest(Path(made.root))
    said = r"2 shards will be downloaded again: download\.resize\.image_size 32 -> 64"
    with pytest.raises(ConfirmationNeeded, match=said) as raised:
        again(tmp_path, set={"download.resize.image_size": 64})
    assert "--yes" in str(raised.value)
    assert "--set download.resize.image_size=32 keeps" in str(raised.value)
    arguments = ["download", str(tmp_path / "urls.parquet"), "--out", made.root]
    given = [*arguments, "--workers", "1", "--set", "download.resize.image_size=64"]
    with pytest.raises(ConfirmationNeeded, match=said):
        CliRunner().invoke(app, given, catch_exceptions=False)
    assert tree_digest(Path(made.root)) == before, "nothing is changed"
    assert set(site.asked.values()) == {1}
    (agreed,) = frenchcat_json(*given, "--yes", "--json")
    assert (agreed["downloaded"], widths(made)) == (8, {64})
    again(tmp_path)
    assert set(site.asked.values()) == {2}


def test_a_dataset_from_before_jpegs_were_shrunk_while_decoded_keeps_its_images(
    site: Site, tmp_path: Path
) -> None:
    name = "download.decode_margin"
    made = download(site, tmp_path, set={name: None})
    assert set(made.manifest().entry("download").settings or ()) == {"block", "resize", "rights"}
    kept = dict(made.manifest().settings)
    kept["download"] = {k: v for k, v in kept["download"].items() if k != "decode_margin"}
    made.update_manifest({"settings": kept})
    before = tree_digest(Path(made.root))
    del before["dataset.json"]
    again(tmp_path)
    frenchcat.open(made.root).retry_failed()
    after = tree_digest(Path(made.root))
    assert {path: after[path] for path in before} == before
    assert set(site.asked.values()) == {1}
    with pytest.raises(ConfirmationNeeded, match=rf"{name} none -> 4\.0") as raised:
        again(tmp_path, set={name: 4.0})
    assert f"--set {name}=none keeps" in str(raised.value)
    (tmp_path / "new").mkdir()
    new = download(site, tmp_path / "new", range(1))
    assert saved_settings(new).download.decode_margin == 4
    assert new.manifest().entry("download").setting("decode_margin") == 4
    (cost,) = frenchcat.open(new.root).costs()
    body = sum(frenchcat.open(new.root).rows(["original_bytes"])["original_bytes"].to_pylist())
    listed = Path(new.path("lists/00000.parquet")).stat().st_size
    assert (cost.stage, cost.runs[0].rows, cost.runs[0].read_bytes) == (
        "download",
        1,
        listed + body,
    )


def test_on_a_terminal_it_is_asked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frenchcat.commands import build

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers: list[str] = []

    def confirm(text: str, **how: Any) -> bool:
        answers.append(text)
        return len(answers) > 1

    monkeypatch.setattr(build.typer, "confirm", confirm)
    work: list[bool] = []

    def costly(yes: bool) -> str:
        work.append(yes)
        if not yes:
            raise ConfirmationNeeded("2 shards will be embedded again", "say --yes")
        return "done"

    with monkeypatch.context() as patch:
        patch.setattr(build.sys, "stdin", Terminal())
        patch.setattr(build.sys, "stderr", Terminal())
        with pytest.raises(build.typer.Exit) as ended:
            build.agreed(False, costly)
        assert (ended.value.exit_code, work) == (1, [False])
        assert build.agreed(False, costly) == "done"
    assert answers == ["2 shards will be embedded again. Go on?"] * 2
    assert work == [False, False, True]


def test_an_interrupted_command_s_settings_are_those_of_the_next(
    site: Site, tmp_path: Path
) -> None:
    class Stopped(Silent):
        def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(site, tmp_path, set={"download.resize.image_size": 32}, progress=Stopped())
    made = again(tmp_path)
    assert (widths(made), set(site.asked.values())) == ({32}, {1})


def test_what_was_agreed_to_and_interrupted_goes_on_without_a_question(
    site: Site, tmp_path: Path
) -> None:
    class Stopped(Silent):
        def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
            raise KeyboardInterrupt

    download(site, tmp_path, set={"download.resize.image_size": 32})
    larger = {"download.resize.image_size": 64}
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path, set=larger, yes=True, progress=Stopped())
    with pytest.raises(ConfirmationNeeded, match=r"1 shard will .*image_size 64 -> 32"):
        again(tmp_path, set={"download.resize.image_size": 32})
    assert widths(again(tmp_path)) == {64}


def test_a_setting_that_cannot_be_is_not_kept(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    opened = frenchcat.open(dataset.root)
    opened.verdict(set={"verdict.rules.small": "width < 9"})
    opened.index()
    before = dataset.read_bytes("dataset.json")
    for call in (
        lambda: opened.embed(set={"clip.model": "local-dir:nowhere"}),
        lambda: opened.embed(set={"clip.device": "tpu"}),
        lambda: opened.verdict(set={"verdict.rules.none": "no_such_column > 1"}),
        lambda: opened.index(set={"index.factory": "Nonsense"}),
        lambda: opened.dedup(set={"dedup.methods": ["perceptual"]}),
    ):
        with pytest.raises(UserError):
            call()
        assert dataset.read_bytes("dataset.json") == before
    assert len(opened.search(vector=unit_rows(4)[0], k=1, dropped=True)) == 1


def test_a_device_that_is_none_is_refused_by_every_verb_that_reads_it(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    opened = frenchcat.open(dataset.root)
    for device in ("tpu", "gpu", "cuda:", "cuda:x", ""):
        with pytest.raises(UserError, match=r"clip\.device = .* a device is auto, cpu, cuda"):
            opened.embed(set={"clip": {"device": device}})
    opened.embed(set={"clip.device": "cpu"})


def test_the_rule_that_emptied_a_selection_is_switched_off_as_its_message_says(
    tmp_path: Path,
) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    opened = frenchcat.open(dataset.root)
    opened.verdict(set={"verdict.rules.narrow": "width < 5000"})
    with pytest.raises(UserError, match=r"narrow 4; to switch that rule off: ") as refused:
        opened.select("all")
    line = str(refused.value).rpartition("frenchcat ")[2]
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert len(opened.select("all")) == 4


def test_a_verb_takes_the_settings_of_its_stage_alone(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    with pytest.raises(UserError, match=r"frenchcat index does not use clip\.model, only index"):
        frenchcat.open(dataset.root).index(set={"clip.model": "ViT-B-32"})
    whole = tmp_path / "whole.toml"
    whole.write_text('[clip]\nmodel = "ViT-B-32"\n[verdict.rules]\nsmall = "width < 9"\n')
    ended = CliRunner().invoke(
        app, ["verdict", dataset.root, "--config", str(whole)], catch_exceptions=False
    )
    assert "clip: not used by frenchcat verdict, and not remembered" in ended.stderr
    kept = dataset.manifest().settings
    assert kept.keys() == {"verdict"}
    assert kept["verdict"]["rules"] == {"small": "width < 9"}


def test_rules_of_a_verdict_are_those_of_the_next_build(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    rules = tmp_path / "rules.toml"
    rules.write_text('b = "width < 9"\na = "height < 9"\n')
    frenchcat.open(dataset.root).verdict(rules)
    assert settings_for(dataset, "mini").verdict.order == ("b", "a")
    other = tmp_path / "other.toml"
    other.write_text('[verdict.rules]\na = "height < 9"\nc = "width < 3"\n')
    taken = settings_for(dataset, other, ['verdict.rules.d="width < 4"']).verdict
    assert taken.order == ("a", "c", "d"), "a file's rules are all rules, an override one more"


# -- rows that a setting refused -----------------------------------------------------------------


def test_where_every_row_is_refused_the_cure_is_named_and_works(site: Site, tmp_path: Path) -> None:
    refused = download(site, tmp_path, allow_hosts=[])
    with pytest.raises(NothingDownloaded) as raised:
        require_downloaded(refused)
    said = str(raised.value)
    assert "all 8 failed as address_refused" in said
    assert f"--allow-host 127.0.0.1:{site.port}" in said
    assert "--retry-failed" in said
    assert not site.asked
    made = again(tmp_path, allow_hosts=[f"127.0.0.1:{site.port}"])
    assert (len(widths(made)), sum(site.asked.values())) == (1, 8)


def test_what_a_build_is_told_over_what_is_remembered_is_named(site: Site, tmp_path: Path) -> None:
    made = download(site, tmp_path, set={"download.resize.image_size": 32})
    frenchcat.open(made.root).verdict(set={"verdict.rules.small": "width < 9"})
    before = tree_digest(Path(made.root))
    urls = str(tmp_path / "urls.parquet")
    given = ["--config", "datacomp-basic", "--set", "download.resize.image_size=64"]
    ended = CliRunner().invoke(app, ["build", urls, "--out", made.root, *given])
    assert isinstance(ended.exception, ConfirmationNeeded)
    first, second = ended.stderr.splitlines()
    assert first == "download.resize.image_size: 32 (remembered) -> 64"
    assert second.startswith(
        'verdict.rules: {"small" = "width < 9"} (remembered) -> {"not_english"'
    )
    assert len(second) < 500
    assert tree_digest(Path(made.root)) == before


def test_build_stops_after_a_download_of_nothing(site: Site, tmp_path: Path) -> None:
    urls = site.write_list(tmp_path / "urls.parquet", range(4))
    with pytest.raises(NothingDownloaded, match="address_refused"):
        frenchcat.build(urls, tmp_path / "d", workers=1)
    assert not (tmp_path / "d" / "stages" / "embed").exists()


def test_a_host_that_is_allowed_later_is_asked_for_its_rows_alone(
    site: Site, tmp_path: Path
) -> None:
    listed = tmp_path / "urls.csv"
    hosts = ["127.0.0.1", "localhost"]
    rows = [f"http://{hosts[n % 2]}:{site.port}/{n}.jpg,picture {n}" for n in range(6)]
    listed.write_text("\n".join(["url,caption", *rows]))
    how: dict[str, Any] = {"workers": 1, "set": QUICK}
    first, second = (f"{host}:{site.port}" for host in hosts)
    frenchcat.download(listed, tmp_path / "d", allow_hosts=[first], **how)
    assert sorted(site.asked) == [0, 2, 4]
    made = frenchcat.download(listed, tmp_path / "d", allow_hosts=[second], **how)
    assert (made.info().downloaded, set(site.asked.values())) == (6, {1})
    assert saved_settings(made.dataset).download.fetch.allow_hosts == (first, second)
    frenchcat.download(listed, tmp_path / "d", allow_hosts=[second], **how)
    assert set(site.asked.values()) == {1}


def test_a_wider_limit_has_what_it_refused_asked_again(site: Site, tmp_path: Path) -> None:
    def answer(number: int) -> Answer:
        return 200, jpeg(number) if number else jpeg(0) + bytes(200_000)

    site.answer = answer
    made = download(site, tmp_path, set={"download.fetch.max_body_bytes": 100_000})
    assert frenchcat.open(made.root).info().failed_reasons == {"body_too_large": 1}
    again(tmp_path, set={"download.fetch.max_body_bytes": 50_000})
    assert site.asked[0] == 1, "a narrower limit asks nothing again"
    again(tmp_path, set={"download.fetch.max_body_bytes": 1_000_000})
    assert (site.asked[0], site.asked[1]) == (2, 1)
    assert frenchcat.open(made.root).info().downloaded == 8


def test_when_nothing_came_the_same_command_asks_again(site: Site, tmp_path: Path) -> None:
    site.answer = lambda number: (503, b"")
    failed = download(site, tmp_path, set={"download.fetch.max_host_failures": None})
    with pytest.raises(NothingDownloaded, match="all 8 failed as http_503"):
        require_downloaded(failed)
    site.answer = healthy
    assert len(widths(again(tmp_path))) == 1


# -- the verb `settings` -------------------------------------------------------------------------


def test_every_setting_has_a_meaning_a_type_and_a_default() -> None:
    from frenchcat.curate.config import layered

    for kind, cls in kinds().items():
        found = described(layered(cls))
        assert len({one.name for one in found}) == len(found) > 4, kind
        for one in found:
            assert one.meaning, f"{kind}: {one.name} has no text below it"
            assert one.type, one.name
            assert one.origin == "default"


def test_settings_are_printed_with_their_origin(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    frenchcat.open(dataset.root).verdict(set={"verdict.rules.small": "width < 9"})
    mine = tmp_path / "mine.toml"
    mine.write_text("[dedup]\nsemantic_cosine = 0.9\n")
    given = ("--config", str(mine), "--set", "index.factory=Flat", "--json")
    found = {one["name"]: one for one in frenchcat_json("settings", dataset.root, *given)}
    expected = {
        "verdict.rules": ({"small": "width < 9"}, "dataset"),
        "dedup.semantic_cosine": (0.9, str(mine)),
        "index.factory": ("Flat", "--set"),
        "clip.model": ("mini", "default"),
        "verdict.preset": (None, "default"),
    }
    assert {name: (found[name]["value"], found[name]["origin"]) for name in expected} == expected
    assert found["index.factory"]["default"] == "auto"
    preset = {
        one["name"]: one for one in frenchcat_json("settings", "--config", "vit-b-32", "--json")
    }
    assert preset["clip.model"]["origin"] == "preset vit-b-32"
    shown = CliRunner().invoke(app, ["settings", dataset.root], catch_exceptions=False).stdout
    assert 'verdict.rules = {"small" = "width < 9"}  (dataset)' in shown
    assert "verdict.preset = none  (default)" in shown
    train = frenchcat_json("settings", "--for", "train", "--config", "train-demo", "--json")
    assert {one["origin"] for one in train} == {"default", "preset train-demo"}
    with pytest.raises(UserError, match="known: build, plan, report, serve, train"):
        CliRunner().invoke(app, ["settings", "--for", "search"], catch_exceptions=False)


# -- `build --plan` ------------------------------------------------------------------------------


def test_a_plan_says_what_would_run_and_does_nothing(site: Site, tmp_path: Path) -> None:
    urls = site.write_list(tmp_path / "urls.parquet", range(8))
    out = tmp_path / "d"
    first = plan(urls, out, set=QUICK)
    assert (first.rows, first.new, {stage.rows for stage in first.stages}) == (8, 8, {8})
    assert not out.exists()
    assert first.sec > 0 < first.bytes
    assert first.free_bytes
    made = download(site, tmp_path)
    site.write_list(tmp_path / "urls.parquet", range(11))
    before = tree_digest(out)
    asked = site.asked.copy()
    (found,) = frenchcat_json("build", str(urls), "--out", str(out), "--plan", "--json")
    assert (found["rows"], found["new"], found["confirm"]) == (11, 3, [])
    assert {stage["stage"]: stage["rows"] for stage in found["stages"]} == {
        **dict.fromkeys(("embed", "score", "dedup", "verdict", "index"), 11),
        "download": 3,
    }
    other = plan(urls, out, set={"download.resize.image_size": 64})
    assert other.stages[0].rows == 11
    assert other.confirm == (
        "2 shards will be downloaded again: download.resize.image_size 384 -> 64",
    )
    shown = CliRunner().invoke(app, ["build", str(urls), "--out", str(out), "--plan"]).stdout
    assert "11 rows in the list, 3 of them new" in shown
    assert "nothing was done" in shown
    assert (tree_digest(out), site.asked) == (before, asked)
    assert made.root == str(out)
