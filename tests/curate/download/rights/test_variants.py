"""The decision over a site of opt-outs and of their look-alikes: precision and recall 1.0."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, FetchSettings, download
from frenchcat.curate.download.rights import OPT_OUTS, RightsSettings
from frenchcat.curate.stage import Engine
from tests.curate.download.rights.variants import AI, ROBOTS, Variant, look_alikes, opt_outs, serve

Row = dict[str, Any]


@dataclass(frozen=True)
class Crawl:
    """Variants, and what became of each."""

    variants: list[Variant]
    rows: list[Row]
    signals: list[Row]

    def of(self, name: str) -> tuple[Row, list[Row]]:
        row = self.rows[[each.name for each in self.variants].index(name)]
        return row, [signal for signal in self.signals if signal["key"] == row["key"]]


def crawl(variants: list[Variant], root: Path, rights: RightsSettings | None = None) -> Crawl:
    with serve(variants) as urls:
        listed = root / "urls.csv"
        lines = [f"{url},{number},Jo" for number, url in enumerate(urls)]
        listed.write_text("\n".join(["url,caption,Creator", *lines]) + "\n")
        settings = DownloadSettings(
            rights=rights or RightsSettings(),
            fetch=FetchSettings(
                allow_hosts=tuple(url.split("/")[2] for url in urls),
                requests_per_sec_per_host=None,
                backoff_sec=0.01,
            ),
        )
        dataset = Dataset.create(root / "dataset", "rights")
        with dataset.lock():
            download(dataset, str(listed), settings, Engine(workers=1))
    read = [pq.read_table(dataset.path(f"{f}/00000.parquet")) for f in ("shards", "rights")]
    return Crawl(variants, read[0].to_pylist(), read[1].to_pylist())


@pytest.fixture(scope="module")
def respected(tmp_path_factory: pytest.TempPathFactory) -> Crawl:
    return crawl([*opt_outs(), *look_alikes()], tmp_path_factory.mktemp("respect"))


def test_every_opt_out_is_found_by_its_name_and_nothing_else_is(respected: Crawl) -> None:
    expected = {each.name: each.signal for each in respected.variants}
    assert len(expected) == len(respected.variants)
    found = {}
    for each, row in zip(respected.variants, respected.rows, strict=True):
        message = row["error_message"] or ""
        opted_out = message.startswith("opted_out:")
        assert opted_out == (row["status"] == "failed_to_download"), message
        found[each.name] = row["failure_signal"]
        assert row["failure_reason"] == ("opted_out" if opted_out else None)
        if opted_out:
            told = f"opted_out:{row['failure_signal']}: {row['failure_detail']}"
            assert message == told
    assert found == expected
    assert {signal for signal in expected.values() if signal} == set(OPT_OUTS)
    assert sum(signal is None for signal in expected.values()) >= 30


def test_each_decision_is_backed_by_a_signal_with_value_place_and_time(respected: Crawl) -> None:
    for each in opt_outs():
        row, signals = respected.of(each.name)
        behind = [s for s in signals if (s["signal"], s["decision"]) == (each.signal, "opt_out")]
        assert behind, each.name
        for signal in behind:
            assert signal["value"]
            assert signal["where"]
            assert signal["time"].endswith("Z"), signal
        assert behind[0]["value"][:20] in row["error_message"]
    decisions = {s["decision"] for e in look_alikes() for s in respected.of(e.name)[1]}
    assert decisions <= {"allow", None}


def test_a_hop_is_named_as_the_place(respected: Crawl) -> None:
    _, signals = respected.of("first hop says noai")
    (signal,) = [s for s in signals if s["signal"] == "x_robots_tag"]
    assert signal["where"].endswith("/moved")
    _, signals = respected.of("last hop says noimageai")
    (signal,) = [s for s in signals if s["signal"] == "x_robots_tag"]
    assert signal["where"].endswith("/pictures/cat.jpg")


def test_facts_are_kept_beside_the_decision(respected: Crawl) -> None:
    _, signals = respected.of("exif copyright")
    facts = {(s["signal"], s["value"], s["where"]) for s in signals}
    assert facts == {
        ("copyright", "(c) noai", "exif"),
        ("creator", "A. Painter", "exif"),
        ("creator", "Jo", "list:Creator"),
    }


def test_what_robots_txt_forbids_is_not_asked_for(respected: Crawl) -> None:
    for each in respected.variants:
        files = each.asked.count(ROBOTS), each.asked.count(AI)
        assert files == (1, 1), each.name
        if each.signal == "robots_txt":
            assert "/pictures/cat.jpg" not in each.asked, each.name


def test_policy_record_stores_all_and_writes_the_same_down(tmp_path: Path) -> None:
    chosen = [each for each in opt_outs() if each.name in ("robots for all", "tag noai", "c2pa")]
    recorded = crawl(chosen, tmp_path, RightsSettings(policy="record"))
    assert [row["status"] for row in recorded.rows] == ["success"] * 3
    for each in chosen:
        said = {s["signal"] for s in recorded.of(each.name)[1] if s["decision"] == "opt_out"}
        assert said == {each.signal}


def test_files_that_are_not_asked_for_say_nothing(tmp_path: Path) -> None:
    chosen = [each for each in opt_outs() if each.name in ("robots for all", "tdmrep")]
    crawled = crawl(chosen, tmp_path, RightsSettings(site_files=()))
    assert [row["status"] for row in crawled.rows] == ["success"] * 2
    assert all(each.asked == ["/pictures/cat.jpg"] for each in chosen)
