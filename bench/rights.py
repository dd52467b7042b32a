"""`frenchcat download` beside `img2dataset`: which opt-outs each of them finds on the same sites.

    python -m bench.rights                   about a minute

The sites, each on a loopback port of its own, are those of the ledger's tests: pictures that are
opted out in every way we know of (headers of any hop, robots.txt, tdmrep.json, ai.txt, metadata,
Content Credentials), and as many that only look so. img2dataset runs with its own opt-out options:
its default X-Robots-Tag directives, and its name as the agent. Both may ask twice again.

Precision is the share of refused pictures that were opted out, recall that of opted-out pictures
that were refused. The sites were written along with the ledger, by the published definitions: 1.0
says that these forms are read, not that there are no others.

Writes .bench/results/rights.json: precision and recall of both, what each missed and refused in
error, and recall by signal.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench import _common as common
from bench._common import BENCH
from tests.curate.download.rights.variants import Variant, look_alikes, opt_outs, serve

GOALS = {"precision": (">=", 1.0), "recall": (">=", 1.0)}
_THEIRS = "Use of image disallowed"  # img2dataset's sentence


def main() -> None:
    """Crawl the sites with both, compare, keep."""
    common.parser(__doc__).parse_args()
    variants = [*opt_outs(), *look_alikes()]
    load = common.load()
    found = {"ours": ours(variants), "theirs": theirs(variants)}
    scores = {name: score(variants, refused) for name, refused in found.items()}
    print(f"{'':28} {'frenchcat':>12} {'img2dataset':>12}")
    for figure in ("precision", "recall"):
        line = " ".join(f"{scores[name][figure]:12.4f}" for name in found)
        print(f"{figure:28} {line}")
    names = ("img2dataset", "protego", "c2pa-python")
    result = {
        "precision": scores["ours"]["precision"],
        "recall": scores["ours"]["recall"],
        "opted_out": sum(each.signal is not None for each in variants),
        "look_alikes": sum(each.signal is None for each in variants),
        "load_before": load,
        "versions": common.our_versions(*names),
        **{name: scores[name] for name in found},
    }
    common.keep("rights", result, GOALS)


def ours(variants: list[Variant]) -> set[str]:
    """The names of the variants that `frenchcat download` did not store for their signals."""
    out = _fresh("ours-rights")
    with serve(variants) as urls:
        hosts = [f"--allow-host={url.split('/')[2]}" for url in urls]
        common.ours("download", str(_listed(urls)), "--out", str(out), *hosts)
    return refused(variants, out / "shards", "ours")


def theirs(variants: list[Variant]) -> set[str]:
    """Likewise, of img2dataset."""
    out = _fresh("theirs-rights")
    with serve(variants) as urls:
        options = {
            "url_list": _listed(urls),
            "input_format": "csv",
            "caption_col": "caption",
            "output_format": "webdataset",
            "output_folder": out,
            "thread_count": 8,
            "retries": 2,
            "user_agent_token": "img2dataset",
        }
        command = [Path(sys.executable).parent / "img2dataset"]
        common.run([*command, *(f"--{k}={v}" for k, v in options.items())], "img2dataset-rights")
    return refused(variants, out, "theirs")


def _fresh(name: str) -> Path:
    BENCH.mkdir(exist_ok=True)
    shutil.rmtree(BENCH / name, ignore_errors=True)
    return BENCH / name


def _listed(urls: list[str]) -> Path:
    path = BENCH / "rights.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("url", "caption"), *((u, n) for n, u in enumerate(urls))])
    return path


def refused(variants: list[Variant], folder: Path, who: str) -> set[str]:
    """What the sidecar says was refused; ends this program where a row failed otherwise."""
    rows = pq.read_table(folder / "00000.parquet").to_pylist()
    names = {}
    for row in rows:
        message = row["error_message"] or ""
        ours = row.get("failure_reason") == "opted_out"
        is_refused = ours if who == "ours" else message.startswith(_THEIRS)
        if row["status"] != "success" and not is_refused:
            sys.exit(f"{who}: {variants[int(row['caption'])].name} failed: {message}")
        names[variants[int(row["caption"])].name] = is_refused
    assert len(names) == len(variants), "rows are missing"
    return {name for name, is_refused in names.items() if is_refused}


def score(variants: list[Variant], found: set[str]) -> dict[str, Any]:
    """Precision and recall, whole and by signal, and where they fall short."""
    opted_out = {each.name: each.signal for each in variants if each.signal}
    right = found & opted_out.keys()
    by_signal: dict[str, list[bool]] = defaultdict(list)
    for name, signal in opted_out.items():
        by_signal[signal].append(name in found)
    return {
        "precision": len(right) / len(found) if found else 1.0,
        "recall": len(right) / len(opted_out),
        "recall_by_signal": {name: sum(hit) / len(hit) for name, hit in by_signal.items()},
        "missed": sorted(opted_out.keys() - found),
        "refused_in_error": sorted(found - opted_out.keys()),
    }


if __name__ == "__main__":
    main()
