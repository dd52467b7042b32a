"""The audit of a million captions: how long it takes and what it holds."""

import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.report.audit import audit, filters_of
from frenchcat.curate.report.outcomes import open_outcomes
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.terms import count_terms, load_terms

SHARDS, ROWS, DOMAINS = 100, 10_000, 50_000


def million(root: Path) -> Dataset:
    """A million captions of eight words, one in twenty of them on the lists."""
    dataset = Dataset.create(root, "million")
    random = np.random.default_rng(0)
    spoken = ["woman", "man", "Frau", "Paris", "Japanese", "doctor", "police officer", "東京の女性"]
    words = np.array(spoken + [f"word{n}" for n in range(500)])
    chance = np.array([0.05 / len(spoken)] * len(spoken) + [0.95 / 500] * 500)
    for number in range(SHARDS):
        shard = f"{number:05d}"
        keys = [f"{shard}{row:04d}" for row in range(ROWS)]
        captions = [" ".join(row) for row in random.choice(words, (ROWS, 8), p=chance)]
        domains = np.minimum((random.pareto(0.9, ROWS) * 20).astype(int), DOMAINS - 1)
        keep = random.random(ROWS) < 0.8
        sidecar = {
            "key": keys,
            "url": [f"http://s{domain}.org/x.jpg" for domain in domains],
            "caption": captions,
            "status": ["success"] * ROWS,
        }
        reasons = np.where(keep, None, random.choice(["small", "dull"], ROWS)).tolist()
        verdicts = {"key": keys, "keep": keep, "reason": reasons}
        with dataset.publish("test") as out:
            pq.write_table(pa.table(sidecar), out.path(f"shards/{shard}.parquet"))
            pq.write_table(pa.table(verdicts), out.path(f"verdicts/{shard}.parquet"))
            out.path(f"stages/download/{shard}.json").write_text('{"counts": {}}')
    return dataset


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_million_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = million(tmp_path / "d")
    terms = load_terms(ReportSettings().terms)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with open_outcomes(dataset) as catalog:
        counts = count_terms(catalog, terms)
    counted = time.perf_counter()
    filters = filters_of(counts.fates, ["small", "dull"])
    found = audit(counts, len(terms), filters)
    ended = time.perf_counter()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with capsys.disabled():
        print(
            f"\n{SHARDS * ROWS} captions, {len(counts.totals)} groups of domains: counted in "
            f"{counted - began:.0f} s, {len(found.effects)} pairs tested with 1000 replicates in "
            f"{ended - counted:.1f} s, {grown_mb:.0f} MB more than before"
        )
    assert counts.totals.sum() == SHARDS * ROWS
    assert found.by_domain
    assert not found.flagged  # all was dropped by chance
    assert ended - began < 180
    assert grown_mb < 1500
