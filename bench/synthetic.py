"""Which images that say they are synthetic are found by `frenchcat download`, and which others.

    python -m bench.synthetic                a few seconds

A planted list: every form of tests/curate/download/rights/writers.py (how Stable Diffusion web UI,
ComfyUI, InvokeAI, Fooocus, NovelAI, Midjourney, editors, cameras and signers of Content Credentials
write), in every format, its images inside the list. Downloaded as any list; the catalog's column
`synthetic` is the answer.

Precision is the share of the found that were planted as synthetic, recall that of the planted that
were found. The forms were written along with the reader: 1.0 says that they are read, not that
there are no others. An image whose metadata was stripped says nothing and is not found.

Writes .bench/results/synthetic.json.
"""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq

from bench import _common as common
from bench._common import BENCH
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.crawl import download
from tests.curate.download.rights.writers import REAL, SYNTHETIC

GOALS = {"precision": (">=", 1.0), "recall": (">=", 1.0)}


def main() -> None:
    """Plant, download, compare, keep."""
    common.parser(__doc__).parse_args()
    load = common.load()
    forms = [(one, kind) for one in (*SYNTHETIC, *REAL) for kind in one.formats]
    work = BENCH / "synthetic"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows = [
        {"image": {"bytes": one.body(kind, number), "path": f"{number}.{kind}"}, "text": one.name}
        for number, (one, kind) in enumerate(forms)
    ]
    pq.write_table(pa.Table.from_pylist(rows), work / "list.parquet")
    dataset = Dataset.create(work / "dataset", "synthetic")
    with dataset.lock():
        download(dataset, [str(work / "list.parquet")])
    with Catalog(dataset) as catalog:
        told = catalog.table(["caption", "synthetic"], order="key").to_pylist()
    if len(told) != len(forms):
        raise SystemExit(f"{len(forms)} images were planted and {len(told)} stored")
    found = [row["synthetic"] is not None for row in told]
    wanted = [one.synthetic for one, _ in forms]
    right = sum(f and w for f, w in zip(found, wanted, strict=True))
    result = {
        "planted": sum(wanted),
        "others": len(wanted) - sum(wanted),
        "precision": right / max(1, sum(found)),
        "recall": right / sum(wanted),
        "missed": [r["caption"] for r, f, w in zip(told, found, wanted, strict=True) if w > f],
        "in_error": [r["caption"] for r, f, w in zip(told, found, wanted, strict=True) if f > w],
        "load_before": load,
        "versions": common.our_versions("c2pa-python", "Pillow"),
    }
    print(f"{result['planted']} synthetic, {result['others']} others: ", end="")
    print(f"precision {result['precision']:.3f}, recall {result['recall']:.3f}")
    common.keep("synthetic", result, GOALS)


if __name__ == "__main__":
    main()
