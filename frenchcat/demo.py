"""`frenchcat demo`: the whole pipeline on the bundled sample, and what became of its faults.

Serves the sample's images at loopback, downloads them from their URL list, embeds, scores, finds
duplicates, judges, indexes, selects, searches, draws with the bundled artist, trains that artist
further on the selection for a few steps, and looks for copies of training images among the drawings
of that run. Writes everything into one folder; the same command resumes.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import UserError
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.system_errors import check_writable
from frenchcat.rich_terminal import Terminal, cell

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset

QUERY = "french cat"
DRAWN = ("a french cat", "a red apple", "a flag", "a flower")
GUIDANCE = 3.0
"""Classifier-free, as the artist's card measures it."""
SELECTION, WHERE = "well-captioned", "similarity > .2 and caption_words >= 2"
BRIEFLY = (
    "model.start=artist",
    "data.size=64",
    "data.flip=false",
    "data.batch=16",
    "data.workers=0",
    "optimizer.steps=20",
    "optimizer.warmup=5",
    "optimizer.rate=2e-4",
    "run.held_out=16",
    "run.checkpoint_every=20",
    "run.sample_every=20",
    "run.sample_steps=10",
    'run.prompts=["a cat", "a red apple", "a flag", "a flower"]',
)
"""Settings over the preset train-demo: the artist goes on learning, about twenty seconds long."""
console = Terminal()


def run(out: Path, *, train: bool = True, quiet: bool = False) -> Dataset:
    """Make `out`/dataset, french-cat.html and report.html; returns the dataset.

    With `train`, also drawn, run and audit.html. `quiet` prints nothing but progress bars. Raises
    `UserError` if `out` cannot be written or the port of its server is taken.
    """
    from frenchcat import pipeline
    from frenchcat.curate.config import changed
    from frenchcat.progress import Bars
    from frenchcat.sample_data import DEFAULT_PORT, write_urls
    from frenchcat.sample_site import SampleSite

    began = time.monotonic()
    console.quiet = quiet
    check_writable(out, "folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    urls = out / "urls.parquet"
    settings = pipeline.settings_for(pipeline.existing(out / "dataset"), "demo")
    with SampleSite(_port_of(urls) or DEFAULT_PORT) as site:
        if not urls.exists():
            write_urls(urls, site.base_url)
        console.rule("[bold]download, embed, score, judge, index[/bold]", align="left")
        if urls.exists() and _port_of(urls) != _port(site.base_url):
            raise UserError(
                f"{out} was made with a server on port {_port_of(urls)}, which another program "
                "uses now; stop that program or give another folder with --out"
            )
        fetch = changed(settings.download.fetch, allow_hosts=site.hosts)
        download = changed(settings.download, fetch=fetch)
        settings = changed(settings, download=download)
        dataset = pipeline.build([str(urls)], out / "dataset", settings, progress=Bars())
    console.rule("[bold]what became of the faults in the sample[/bold]", align="left")
    console.show(_planted_table(dataset))
    _select(dataset)
    console.rule(f'[bold]search "{QUERY}"[/bold]', align="left")
    page = _search(dataset, out)
    report = _report(dataset, out)
    run = None
    if train:
        console.rule("[bold]draw with the artist, signed, with receipts[/bold]", align="left")
        draw_signed(out / "drawn")
        console.rule("[bold]train it on the selection, briefly; audit[/bold]", align="left")
        run = train_briefly(dataset, out / "run")
        audit_briefly(run, out / "audit.html")
    console.rule("[bold]next[/bold]", align="left")
    _next_steps(dataset, page, report, run, time.monotonic() - began)
    return dataset


def _port_of(urls: Path) -> int | None:
    """The port of an earlier demo's list, so that the same command finds the same URLs."""
    if not urls.exists():
        return None
    listed = read_parquet(urls, columns=["url"])["url"].to_pylist()
    return Counter(map(_port, listed)).most_common(1)[0][0]


def _port(url: str) -> int | None:
    from urllib.parse import urlsplit

    return urlsplit(url).port


def _planted_table(dataset: Dataset) -> Table:
    """What became of each kind of planted fault: kept, dropped or failed, and why."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _rows(dataset):
        outcomes[row["planted"] or "ordinary images"][_outcome(row)] += 1
    table = Table(box=None, header_style="bold")
    table.add_column("planted")
    table.add_column("rows", justify="right")
    table.add_column("outcome")
    for kind in sorted(outcomes, key=lambda kind: (kind != "ordinary images", kind)):
        found = outcomes[kind]
        said = ", ".join(f"{number} {outcome}" for outcome, number in found.most_common())
        table.add_row(cell(kind.replace("_", " ")), str(sum(found.values())), cell(said))
    return table


def _rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Every row of the list with each stage's result; `failed` names why it failed."""
    from frenchcat.curate.catalog import Catalog
    from frenchcat.curate.failures import NAME_SQL

    with Catalog(dataset) as catalog:
        found = catalog.run(
            "SELECT planted, status, keep, reason, multiplicity FROM samples UNION ALL BY NAME "
            f"SELECT planted, status, {NAME_SQL} AS failed FROM rows WHERE status <> 'success'"
        )
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _outcome(row: Mapping[str, Any]) -> str:
    """What became of one row, in words."""
    if row["status"] != "success":
        return str(row["failed"])
    if not row["keep"]:
        return f"dropped ({row['reason']})"
    if "duplicate" in row["planted"] and row["multiplicity"] > 1:
        return "kept, its duplicate dropped"
    return "kept"


def _select(dataset: Dataset) -> None:
    """Freeze a selection and print its size."""
    from frenchcat.curate.info import info
    from frenchcat.curate.select import Choice, select

    with dataset.lock():
        made = select(dataset, SELECTION, Choice(where=WHERE), replace=True)
    counted = info(dataset)
    console.print(
        f"{counted.rows} rows: {counted.kept} kept, {sum(counted.dropped.values())} dropped, "
        f"{counted.failed} failed"
    )
    console.print(
        f"selection [bold]{made.name}[/bold] ({WHERE}): {len(made)} rows, digest {made.digest[:16]}"
    )


def _search(dataset: Dataset, out: Path) -> Path:
    from frenchcat.contact_sheet import contact_sheet
    from frenchcat.index.search import Searcher
    from frenchcat.tables import hits_table

    searcher = Searcher(dataset)
    hits_table(searcher.query(text=QUERY, k=10), console)
    page = out / "french-cat.html"
    contact_sheet(searcher.query(text=QUERY, k=24), QUERY, page, searcher.picture)
    return page


def _report(dataset: Dataset, out: Path) -> Path:
    """The page about the dataset."""
    from frenchcat.curate.report.page import write_report

    return write_report(dataset, out / "report.html")


def train_briefly(dataset: Dataset, run: Path, how: Sequence[str] = BRIEFLY) -> Path:
    """Train the artist on the demo's selection with the preset train-demo and `how`, or resume.

    Raises `UserError` if `run` was trained on another selection or with other settings.
    """
    from frenchcat.curate.config import load_settings
    from frenchcat.progress import Steps
    from frenchcat.train.checkpoint import newest, read_state
    from frenchcat.train.loop import train
    from frenchcat.train.settings import TrainSettings

    named = (f"data.dataset={dataset.root}", f"data.selection={SELECTION}", f"run.out={run}")
    settings = load_settings(TrainSettings, "train-demo", [*how, *named])
    with Steps(settings.optimizer.steps) as steps:
        train(settings, lambda report: steps.step(report.step, report.loss, report.wait_sec))
    checkpoint = newest(run)
    assert checkpoint is not None
    done = read_state(checkpoint).step
    console.print(
        f"{done} steps of {settings.data.batch} images of {settings.data.size} px, from the "
        f"artist's weights: the model is [bold]{checkpoint}[/bold], its drawings are in "
        f"[bold]{run / 'samples'}[/bold]"
    )
    return run


def draw_signed(out: Path, steps: int = 25) -> Path:
    """Draw a sheet of signed images with the artist, each with its nearest training images.

    Returns the sheet.

    Raises `UserError` where `out` cannot be written.
    """
    import json

    from frenchcat.drawing_files import draw_to_files
    from frenchcat.progress import DrawingBar
    from frenchcat.verify_file import verify_file

    with DrawingBar() as watch:
        *images, sheet = draw_to_files(
            None, DRAWN, out, number=2, steps=steps, guidance=GUIDANCE, watch=watch
        )
    console.print(
        f"{len(images)} images, drawn and signed: [bold]{sheet}[/bold]; their receipts, the "
        f"nearest training images, are in {images[0].with_suffix('.json').name} and so on"
    )
    receipt = json.loads(images[0].with_suffix(".json").read_text(encoding="utf-8"))
    nearest = receipt["nearest"][0]
    who = nearest["creator"] or "somebody unnamed"
    console.print(cell(f"nearest to {images[0].name}: {nearest['caption']!r} by {who}"))
    console.print(cell(f"{sheet.name}: {verify_file(sheet)['words'][0]}"))
    return sheet


def audit_briefly(run: Path, page: Path) -> Path:
    """Look for copies of training images among a few drawings; returns the page of pairs."""
    from frenchcat.api import audit
    from frenchcat.progress import DrawingBar

    with DrawingBar() as watch:
        found = audit(run, prompts=8, number=1, steps=10, page=page, watch=watch)
    console.print(
        f"{len(found.copies)} of {found.drawings} drawings look like copies; so few drawings of "
        f"so little training say nothing about a model: the pairs are in [bold]{page}[/bold]"
    )
    return page


def _next_steps(
    dataset: Dataset, page: Path, report: Path, run: Path | None, spent_sec: float
) -> None:
    root = Path(dataset.root)
    root = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    looks = f"[bold]{page}[/bold] and [bold]{report}[/bold]"
    console.print(f"done in {spent_sec:.0f} s; look at {looks} in a browser, then try:")
    selected = ("--set", f"data.dataset={root}", "--set", f"data.selection={SELECTION}")
    drawing = (
        ("sample", run, "a red apple", "-n", 4, "--guidance", 3),
        ("serve", root, "--draw", run),
    )
    for words in (
        ("search", root, "a red apple"),
        ("search", root, "chat français", "--html", "chat.html"),
        ("serve", root),
        ("info", root),
        ("verdict", root, "--rules", "datacomp-basic"),
        ("select", root, "cats", "--where", "caption ilike '%cat%'"),
        ("sample", "a french cat", "-n", 4, "--guidance", 3),
        *(() if run is None else drawing),
        ("train", "train-demo", *selected),
        ("build", "my-urls.parquet", "--out", "data/mine"),
    ):
        line = f"  {shell_command(*words)}"
        console.print(line, style="cyan", markup=False, soft_wrap=True)
