"""`frenchcat plan`: what kept costs say of more rows on more machines, against closed forms."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from frenchcat.api import scale_plan
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.scale import laion
from frenchcat.scale.plan import ScaledStage, ScalePlan
from frenchcat.scale.rates import fitted
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

CORES, START_SEC, PER_SHARD = 2, 5.0, 500
CORE_SEC = {"download": 0.01, "embed": 0.04, "score": 0.004, "verdict": 1e-5, "index": 1e-4}
READ = {"download": 1e5, "embed": 4e4, "score": 4e4, "verdict": 0.0, "index": 2e3}
WRITTEN = {"download": 4e4, "embed": 2e3, "score": 300.0, "verdict": 40.0, "index": 2500.0}
ON = {"measured.cores": CORES, "machine.cores": CORES}


def run(stage: str, rows: int, shards: int = 8) -> dict[str, Any]:
    """What a run of so many rows costs on CORES cores."""
    return {
        "shards": shards,
        "rows": rows,
        "wall_sec": START_SEC + CORE_SEC[stage] * rows / CORES,
        "cpu_sec": CORE_SEC[stage] * rows,
        "read_bytes": round(READ[stage] * rows),
        "written_bytes": round(WRITTEN[stage] * rows),
        "peak_bytes": 10**9,
    }


@pytest.fixture
def measured(tmp_path: Path) -> Dataset:
    """A dataset that keeps two runs of each stage but dedup; 4 of 5 rows have an image."""
    made = embedded(tmp_path / "measured", unit_rows(3, 512))
    made.update_manifest({"settings": {"download": {"samples_per_shard": PER_SHARD}}})
    for stage in CORE_SEC:
        sizes = (1000, 4000) if stage == "download" else (800, 3200)
        made.write_json(f"costs/{stage}.json", {"runs": [run(stage, rows) for rows in sizes]})
    return made


def planned(measured: Dataset, rows: str, machines: int = 1, **settings: Any) -> ScalePlan:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return scale_plan(rows, costs=measured.root, machines=machines, set={**ON, **named})


def stages(plan: ScalePlan) -> Mapping[str, ScaledStage]:
    return {one.stage: one for one in plan.stages}


def test_a_line_is_found_again_and_no_start_is_made_up() -> None:
    assert fitted([(x, 3.0 + 0.5 * x) for x in (10, 100, 1000)]) == pytest.approx((3.0, 0.5))
    assert fitted([(100, 20.0), (100, 22.0)]) == pytest.approx((0.0, 0.2))
    assert fitted([(100, 20.0), (50, 2.0)]) == pytest.approx((0.0, 0.2)), "no start below zero"
    assert fitted([(100, 20.0), (50, 30.0)])[1] > 0


def test_the_rows_that_were_measured_take_what_they_took(measured: Dataset) -> None:
    found = stages(planned(measured, "4000", rows__stored_share=1.0))
    for stage in CORE_SEC:
        assert found[stage].sec == pytest.approx(START_SEC + CORE_SEC[stage] * 2000), stage
        assert found[stage].written_bytes == pytest.approx(WRITTEN[stage] * 4000)
    assert found["download"].read_bytes == pytest.approx(1e5 * 4000)


def test_stages_by_shard_are_shared_and_the_others_are_not(measured: Dataset) -> None:
    plan = planned(measured, "1e6", 10, machine__cores=8, machine__network_gbit=1e6)
    found = stages(plan)
    assert plan.stored == 800_000
    assert found["download"].sec == pytest.approx(START_SEC + 0.01 * 1e6 / 80)
    assert found["embed"].sec == pytest.approx(START_SEC + 0.04 * 8e5 / 80)
    assert found["index"].sec == pytest.approx(START_SEC + 1e-4 * 8e5 / 8)
    assert (found["embed"].machines, found["index"].machines) == (10, 1)
    assert found["index"].machine_hours == pytest.approx(found["index"].sec / 3600)
    assert plan.sec == pytest.approx(sum(one.sec for one in plan.stages))
    assert plan.storage_bytes == pytest.approx(sum(one.written_bytes for one in plan.stages))
    twice = stages(planned(measured, "1e6", 10, machine__cores=8, machine__core_speed=2.0))
    assert twice["embed"].sec == pytest.approx(START_SEC + 0.04 * 8e5 / 160)


def test_no_more_machines_work_than_there_are_shards(measured: Dataset) -> None:
    found = stages(planned(measured, "1_500", 50, machine__network_gbit=1e6))
    assert found["download"].machines == 3
    assert found["download"].sec == pytest.approx(START_SEC + 0.01 * 1500 / 3), "a core each"


def test_a_slow_network_takes_the_time(measured: Dataset) -> None:
    found = stages(planned(measured, "1e6", machine__network_gbit=0.1))
    assert found["download"].limit == "network"
    assert found["download"].sec == pytest.approx(START_SEC + 1e6 * 1e5 * 8 / 1e8)
    assert found["score"].limit == "cores", "on one machine the dataset is on its disk"
    several = stages(planned(measured, "1e8", 4, machine__network_gbit=0.1, machine__cores=64))
    assert several["score"].sec == pytest.approx(START_SEC + 8e7 * 4e4 * 8 / 4e8)


def test_gpus_embed_at_the_rate_that_is_given_or_measured(measured: Dataset) -> None:
    gpus: dict[str, Any] = {"machine__gpus": 4, "machine__network_gbit": 1e6}
    given = planned(measured, "1e7", 2, machine__images_per_sec_per_gpu=312.0, **gpus)
    assert stages(given)["embed"].sec == pytest.approx(START_SEC + 8e6 / (8 * 312))
    assert stages(given)["embed"].limit == "GPUs"
    with pytest.raises(UserError, match="images_per_sec_per_gpu"):
        planned(measured, "1e7", **gpus)
    once = stages(planned(measured, "1e7", 2, measured__gpus=1, **gpus))["embed"]
    assert once.sec == pytest.approx(START_SEC + 8e6 * 0.02 / 8)
    with pytest.raises(UserError, match=r"machine\.gpus is 0"):
        planned(measured, "1e7", measured__gpus=1)


def test_money_is_that_of_the_prices_that_are_given_and_no_other(measured: Dataset) -> None:
    without = planned(measured, "1e6")
    assert (without.total, len(without.unpriced)) == (None, 3)
    prices = {"prices__machine_hour": 0.5, "prices__storage_tb_month": 20.0, "prices__months": 3}
    plan = planned(measured, "1e6", 7, **prices)
    expected = plan.machine_hours * 0.5 + plan.storage_bytes / 1e12 * 60
    assert plan.total == pytest.approx(expected)
    assert plan.unpriced == ("prices.traffic_in_tb",)
    whole = planned(measured, "1e6", 7, prices__traffic_in_tb=10.0, **prices)
    assert whole.total == pytest.approx(expected + 1e6 * 1e5 / 1e12 * 10)


def test_the_fewest_machines_for_a_time_are_found(measured: Dataset) -> None:
    def within(days: float) -> ScalePlan:
        return scale_plan("1e8", costs=measured.root, within_days=days, set=ON)

    plan = within(3)
    assert plan.sec <= 3 * 86_400 < planned(measured, "1e8", plan.machines - 1).sec
    with pytest.raises(UserError, match=r"dedup alone takes .* on any number"):
        within(0.01)


def test_a_stage_that_does_not_fit_is_named(measured: Dataset) -> None:
    plan = planned(measured, "5e9", 100, machine__memory_gb=64.0)
    assert not stages(plan)["index"].fits
    assert stages(plan)["index"].memory_bytes == 4e9 * 128, "RaBitQ: 2 bits per number"
    assert any("index takes 512 GB of memory" in note for note in plan.notes)
    assert any("more than 100 times the rows that were measured" in note for note in plan.notes)
    assert planned(measured, "4000").notes == ()


def test_an_index_of_many_rows_holds_codes(measured: Dataset) -> None:
    """RaBitQ: 2 bits per number of both vectors, where few rows had 16."""
    few, many = (stages(planned(measured, rows))["index"] for rows in ("4000", "1e6"))
    assert few.written_bytes == pytest.approx(2500 * few.rows)
    assert many.written_bytes == pytest.approx((2500 - 2 * 512 * (16 - 2) / 8) * many.rows)


def test_duplicates_take_more_than_their_share_where_rows_are_more(measured: Dataset) -> None:
    """As bench/results/dedup.json: 18.5 times the time for ten times the rows."""
    few, many = (stages(planned(measured, rows))["dedup"].sec for rows in ("1e6", "1e7"))
    assert many / few == pytest.approx(18.5, rel=0.02)


def test_what_nobody_gave_or_measured_is_named_with_its_source(measured: Dataset) -> None:
    assumed = scale_plan("1e6", costs=measured.root).assumed
    assert any("machine.cores = 16 (the node of LAION's" in one for one in assumed)
    assert any("rates of dedup" in one for one in assumed)
    assert not any("image_kb" in one or "stored_share" in one for one in assumed)
    nothing = scale_plan("1e6").assumed
    assert any("rows.image_kb = 100 (assumed on" in one for one in nothing)
    assert any("rates of download, embed," in one for one in nothing)
    assert not any("machine.cores" in one for one in planned(measured, "1e6").assumed)


def test_laion_s_run_is_beside_it_with_sources(measured: Dataset) -> None:
    beside = {one.name: one for one in planned(measured, "1e4").beside}
    assert beside["download"].published == 10 * 16 * 7 * 24
    assert beside["download"].planned == pytest.approx(laion.ROWS * 0.01 / 3600, rel=0.01)
    assert beside["images"].planned == pytest.approx(laion.ROWS * 4e4 / 1e12)
    assert all(one.source.startswith("https://") for one in beside.values())


def test_rows_of_lists_are_counted(tmp_path: Path) -> None:
    urls = [f"http://a.example/{n}.jpg" for n in range(7)]
    pq.write_table(pa.table({"url": urls}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("url,caption\n" + "".join(f"{u},x\n" for u in urls[:3]))
    lists = [tmp_path / "a.parquet", tmp_path / "b.csv"]
    assert scale_plan(lists[0]).rows == 7
    assert scale_plan(lists[1]).rows == 3
    assert scale_plan([lists[0], lists[0]]).rows == 14


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0"], "0 is not a number of rows"),
        (["1.5"], "1.5 is not a number of rows"),
        (["1e99"], "1e99 is not a number of rows"),
        (["nothing.parquet"], "nothing.parquet"),
        (["5e6", "--machines", "0"], "--machines 0"),
        (["5e6", "--within", "-1"], "--within -1"),
        (["5e6", "--within", "nan"], "--within nan"),
        (["5e6", "--machines", "2", "--within", "1"], "leave out one"),
        (["5e6", "--set", "prices.machine_hours=1"], "did you mean prices.machine_hour"),
        (["5e6", "--set", "machine.cores=0"], "machine.cores"),
        (["5e6", "--set", "prices.machine_hour=nan"], "prices.machine_hour"),
        (["5e6", "--costs", "no/where"], "no/where"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, ["plan", *arguments])
    assert isinstance(ended.exception, UserError)
    assert said in str(ended.exception)
    assert "\n" not in str(ended.exception)


def test_costs_that_are_not_kept_or_do_not_fit_together_are_refused(
    measured: Dataset, tmp_path: Path
) -> None:
    bare = embedded(tmp_path / "bare", unit_rows(3, 512))
    with pytest.raises(UserError, match="keeps no costs"):
        scale_plan("1e6", costs=[measured.root, bare.root])
    other = embedded(tmp_path / "other", unit_rows(3, 8))
    other.write_json("costs/embed.json", {"runs": [run("embed", 100)]})
    with pytest.raises(UserError, match="vectors of 8 and 512 numbers"):
        scale_plan("1e6", costs=[measured.root, other.root])


def test_the_command_prints_a_table_or_json(measured: Dataset) -> None:
    given = ["plan", "1e6", "--costs", measured.root, "--machines", "3"]
    given += ["--set", "prices.machine_hour=1", "--set", "prices.currency=EUR"]
    text = CliRunner().invoke(app, given).stdout
    assert text.splitlines()[0] == "1,000,000 rows, 800,000 of them stored, on 3 machines"
    assert [line.split()[0] for line in text.splitlines()[2:8]] == [
        *("download", "embed", "score", "dedup", "verdict", "index")
    ]
    assert " EUR (machines " in text
    assert "not in it, for want of a price: prices.storage_tb_month" in text
    told = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert told["machines"] == 3
    assert told["total"] == pytest.approx(told["machine_hours"])
    assert len(told["stages"]) == 6
