"""The public functions of `import frenchcat`; `open` is in opened.py.

Each is the one call behind a verb of the command line. It takes the same settings (`config`: a TOML
file or a preset's name; `set`: overrides such as ``{"clip.model": "ViT-B-32"}``) and raises the
errors of `frenchcat.errors`. Progress is silent unless `progress` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import Overrides, layered, merged, read_layer, resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.outputs import check_page, write_page
from frenchcat.curate.vector_stores import is_store
from frenchcat.opened import OpenDataset, open

if TYPE_CHECKING:
    from fastapi import FastAPI

    from frenchcat.curate.credits import Credits
    from frenchcat.curate.diff import Diff
    from frenchcat.curate.stage import Progress
    from frenchcat.drawing import Steering
    from frenchcat.index.service.app import Stoppable
    from frenchcat.index.service.served_source import ServedSource
    from frenchcat.plan import BuildPlan
    from frenchcat.scale.plan import ScalePlan
    from frenchcat.train.audit import CopyAudit
    from frenchcat.train.credentials import Credentials
    from frenchcat.train.draw import Watch as DrawWatch
    from frenchcat.train.evaluate import Evaluation
    from frenchcat.train.step_report import Watch

Lists = str | Path | Sequence[str | Path]


def build(
    urls: Lists,
    out: str | Path,
    *,
    config: str | Path | None = None,
    set: Overrides = (),
    engine: str = "local",
    workers: int | None = None,
    allow_hosts: Sequence[str] = (),
    yes: bool = False,
    progress: Progress | None = None,
) -> OpenDataset:
    """Run every stage, from lists of URLs with captions to a searchable dataset. Resumable.

    An existing dataset keeps its settings, except for those given here. Raises `ConfirmationNeeded`
    before shards are downloaded or embedded again because a setting changed, unless `yes` is true,
    and `NothingDownloaded` if no row has an image.
    """
    from frenchcat import pipeline

    settings = pipeline.settings_for(pipeline.existing(out), config, set, allow_hosts)
    where = pipeline.engine_of(engine, workers)
    return OpenDataset(pipeline.build(_listed(urls), out, settings, where, progress, yes))


def plan(
    urls: Lists,
    out: str | Path,
    *,
    config: str | Path | None = None,
    set: Overrides = (),
    allow_hosts: Sequence[str] = (),
) -> BuildPlan:
    """What `build` with the same arguments would do, how long it takes and how large it gets.
    Writes nothing.
    """
    from frenchcat import pipeline
    from frenchcat.plan import plan_of

    settings = pipeline.settings_for(pipeline.existing(out), config, set, allow_hosts)
    return plan_of(out, _listed(urls), settings)


def scale_plan(
    lists: Lists,
    *,
    costs: str | Path | Sequence[str | Path] = (),
    machines: int | None = None,
    within_days: float | None = None,
    config: str | Path | None = None,
    set: Overrides = (),
) -> ScalePlan:
    """What lists, or a number of rows such as ``"5e9"``, would take on several machines.

    `costs` are datasets whose kept costs count, in place of tabled rates; `config` and `set` are
    of machines and prices (docs/settings.md). `within_days` finds the fewest `machines`. Raises
    `UserError`. Writes nothing.
    """
    from frenchcat.scale.plan import scale_plan as planned
    from frenchcat.scale.settings import ScaleSettings

    layers = [] if config is None else [read_layer(config)]
    resolved = layered(ScaleSettings, layers, set)
    measured = _listed(costs) if costs else []
    return planned(_listed(lists), measured, resolved, machines=machines, within_days=within_days)


def download(
    urls: Lists,
    out: str | Path,
    *,
    config: str | Path | None = None,
    set: Overrides = (),
    engine: str = "local",
    workers: int | None = None,
    allow_hosts: Sequence[str] = (),
    yes: bool = False,
    progress: Progress | None = None,
) -> OpenDataset:
    """Download lists of URLs into shards. Rows added to a list later become new shards.

    Settings and errors are those of `build`.
    """
    from frenchcat import pipeline
    from frenchcat.curate.adopted import refuse_adopted
    from frenchcat.curate.costs import Metered
    from frenchcat.curate.download import check_lists
    from frenchcat.curate.redo import confirm

    listed = _listed(urls)
    pipeline.only_used("download", config, set)
    settings = pipeline.settings_for(pipeline.existing(out), config, set, allow_hosts)
    check_lists(listed, settings.download)
    where = pipeline.engine_of(engine, workers)
    dataset = Dataset.create(out, settings.name or pipeline.list_name(listed))
    refuse_adopted(dataset)
    with dataset.lock():
        confirm(pipeline.redone(dataset, settings, "download"), yes)
        metered = Metered(dataset, progress, where)
        pipeline.download(dataset, listed, settings, where, metered)
    return OpenDataset(dataset)


def adopt(
    folder: str | Path,
    out: str | Path,
    *,
    config: str | Path | None = None,
    set: Overrides = (),
    url_column: str | None = None,
    caption_column: str | None = None,
    yes: bool = False,
    progress: Progress | None = None,
) -> OpenDataset:
    """Make a dataset of a folder of img2dataset, clip-retrieval or plain images, and index it.

    The folder is not changed. What was left out or changed is reported in the result's `notes`. The
    columns default to `download.url_column` and `download.caption_column`, then to their usual
    names; `download.captions` decides which of several captions is taken. An existing dataset keeps
    its settings. Raises `ConfirmationNeeded` if a changed setting means that images are embedded
    again, unless `yes` is true.
    """
    from frenchcat import pipeline
    from frenchcat.curate.adopt import ColumnNames, has_vectors
    from frenchcat.curate.adopt import adopt as adopt_folder
    from frenchcat.curate.clip.weights import find_weights
    from frenchcat.curate.costs import Metered
    from frenchcat.curate.download.list_source import Reading
    from frenchcat.curate.embed import embed
    from frenchcat.curate.redo import confirm
    from frenchcat.index.build import build_index

    pipeline.only_used("adopt", config, set)
    resolved = pipeline.resolved_for(pipeline.existing(out), config, set)
    settings = resolved.value
    if not has_vectors(folder):
        find_weights(settings.clip)  # check before an unusable dataset is made
    reading = {name: getattr(settings.download, name) for name in vars(Reading())}
    columns = ColumnNames(
        url_column or settings.download.url_column,
        caption_column or settings.download.caption_column,
        Reading(**reading | {"url_column": None, "caption_column": None}),
    )
    is_named = any(name.startswith("clip.") for name in resolved.origins)
    clip = settings.clip if is_named else None
    adopted = adopt_folder(Path(folder), str(out), clip, progress, columns)
    dataset = adopted.dataset
    progress = Metered(dataset, progress)
    with dataset.lock():
        if not adopted.embedded:
            confirm(pipeline.redone(dataset, settings, "clip"), yes)
            with pipeline.remembering(dataset, settings, "clip", progress=progress) as told:
                embed(dataset, settings.clip, progress=told)
        with pipeline.remembering(dataset, settings, "name", "index"):
            build_index(dataset, settings.index, progress)
    return OpenDataset(dataset, adopted.notes)


def credits(source: str | Path, name: str | None = None, to: str | Path | None = None) -> Credits:
    """Licences and authors of a dataset's selection `name`, or of all that a run has trained on.

    `source` is a dataset's folder or a run's. With `to`, a new or empty folder gets credits.csv
    and credits.html. Raises `NotFound` for a selection or dataset that is not there.
    """
    from frenchcat.credited import credited

    return credited(Path(source), name, None if to is None else Path(to))


def diff(before: str | Path, after: str | Path) -> Diff:
    """Compare two builds by uid: rows added, removed and changed, verdicts that changed."""
    from frenchcat.curate.diff import diff as compare

    return compare(open(before).dataset, open(after).dataset)


def train(
    config: str | Path | None = None,
    *,
    set: Overrides = (),
    watch: Watch | None = None,
    other_run: bool = False,
) -> Path:
    """Train a diffusion model, or resume its training; returns the run's folder."""
    from frenchcat.train.by_name import train_by_name

    return train_by_name(config, set=set, watch=watch, other_run=other_run)


def sample(
    run: str | Path | None,
    prompts: str | Sequence[str],
    out: str | Path | None = None,
    *,
    number: int = 4,
    guidance: float = 3.0,
    negative: str = "",
    steps: int = 25,
    sampler: str = "dpm++",
    seed: int = 0,
    image: str | Path | None = None,
    strength: float | None = None,
    mask: str | Path | None = None,
    vary: str | Path | None = None,
    mix: float = 0.0,
    size: str | tuple[int, int] | None = None,
    rescale: float = 0.0,
    threshold: float | None = None,
    spacing: str = "even",
    neighbours: int = 5,
    credentials: Credentials | None = None,
    steering: Steering | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    refuse_copies: bool = False,
    kind: str = "png",
    mark: bool = False,
    lora_scale: float | None = None,
    watch: DrawWatch | None = None,
) -> list[Path]:
    """Draw prompts with a trained run: a signed file per image with its receipt, and the grid last.

    A `run` of None is the bundled artist. Without `out`, files go to the folder `drawn` in the run
    or, for the artist, in the current folder. `size` is ``"96x64"`` or (width, height) in pixels;
    None: the size it was trained at. `rescale` is phi of rescaled guidance, `threshold` the
    quantile of dynamic thresholding, `spacing` (`even` or `karras`) that of the sampler's times.
    An `image` is noised to `strength` (.6; 1 with a mask). With a `mask` of the same size, only
    what is white there is drawn. `vary` is an image, or a key of the run's dataset, that is varied
    by its CLIP vector (for a model of `model.image_vector`), moved by `mix` (0 to 1) towards the
    prompt's; the prompt may be "". `refuse_copies` draws near copies of training images again, and
    leaves out those that stay copies; the run has to be audited. `kind` is png, jpeg or webp;
    `mark` adds an invisible mark that resizing and cropping leave (docs/answering.md).
    `lora_scale` draws with the updates of `model.lora` unmerged, counted so many times. Raises
    `NotFound` if there is no such run.
    """
    from frenchcat.drawing import Steering, size_of
    from frenchcat.drawing_files import draw_to_files

    beside = Path("drawn") if run is None else Path(run) / "drawn"
    return draw_to_files(
        None if run is None else Path(run),
        [prompts] if isinstance(prompts, str) else list(prompts),
        beside if out is None else Path(out),
        number=number,
        guidance=guidance,
        negative=negative,
        steps=steps,
        sampler=sampler,
        seed=seed,
        image=None if image is None else Path(image),
        strength=strength,
        mask=None if mask is None else Path(mask),
        vary=None if vary is None else str(vary),
        mix=mix,
        size=size_of(size) if isinstance(size, str) else size,
        rescale=rescale,
        threshold=threshold,
        spacing=spacing,
        neighbours=neighbours,
        credentials=credentials,
        steering=steering or Steering(),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        refuse_copies=refuse_copies,
        kind=kind,
        mark=mark,
        lora_scale=lora_scale,
        device=device,
        watch=watch,
    )


def evaluate(
    run: str | Path,
    *,
    number: int = 64,
    guidance: float = 3.0,
    steps: int = 20,
    sampler: str = "dpm++",
    seed: int = 0,
    device: str = "auto",
    watch: DrawWatch | None = None,
) -> Evaluation:
    """Measure a run: CLIP score, CMMD, FID, precision and recall, held-out loss."""
    from frenchcat.train.evaluate import evaluate as measure

    return measure(
        Path(run),
        number=number,
        guidance=guidance,
        steps=steps,
        sampler=sampler,
        seed=seed,
        device=device,
        watch=watch,
    )


def audit(
    run: str | Path,
    *,
    prompts: int = 64,
    number: int = 4,
    false_alarms: float = 0.01,
    captions: Sequence[str] | None = None,
    guidance: float = 3.0,
    steps: int = 20,
    sampler: str = "dpm++",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    page: str | Path | None = None,
    watch: DrawWatch | None = None,
) -> CopyAudit:
    """Look for copies of training images among a model's drawings; writes audit.json and a page.

    `captions` are drawn instead of `prompts` trained ones; `page` is RUN/audit.html by default.
    """
    from frenchcat.audit_page import page as shown
    from frenchcat.train.audit import audit as measure

    to = Path(run) / "audit.html" if page is None else Path(page)
    check_page(to, "--page")
    found = measure(
        Path(run),
        prompts=prompts,
        number=number,
        false_alarms=false_alarms,
        captions=captions,
        guidance=guidance,
        steps=steps,
        sampler=sampler,
        seed=seed,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        device=device,
        watch=watch,
    )
    write_page(to, shown(found, Path(run).resolve().name, open(found.dataset).picture), "--page")
    return found


def verify(picture: str | Path, trust: str | Path | None = None) -> dict[str, Any]:
    """What an image says of its origin: Content Credentials (and whether any byte changed since it
    was signed), IPTC's digital source type, and the invisible mark.
    """
    from frenchcat.verify_file import verify_file

    return verify_file(Path(picture), None if trust is None else Path(trust))


def serve(
    datasets: str | Path | Sequence[str | Path],
    *,
    set: Mapping[str, Any] | Sequence[str] = (),
    draw: str | Path | None = None,
    told: Callable[[str], None] = lambda address: None,
    stoppable: Stoppable = lambda stop: nullcontext(),
    mcp: bool = False,
) -> None:
    """Serve datasets over HTTP until the process is stopped; `told` receives the address.

    One of `datasets` may be an address to which a dataset was published.

    With `mcp`, the Model Context Protocol is answered at /mcp (docs/mcp.md). `stoppable` is entered
    with a function that stops the service from another thread.
    """
    from frenchcat.index.service.app import serve as run
    from frenchcat.index.service.settings import ServeSettings

    given = set if isinstance(set, Mapping) else merged({}, set)
    settings = resolve(ServeSettings, given, "frenchcat serve")
    opened = [_source(place) for place in _listed(datasets)]
    backend = None
    if draw is not None:
        from frenchcat.draw_backend import draw_backend_of

        backend = draw_backend_of(Path(draw))
    from frenchcat.used_route import mount_used

    def extend(app: FastAPI) -> None:
        mount_used(app)
        if mcp:
            from frenchcat.mcp_server import mount

            mount(app)

    run(opened, settings, told, backend, stoppable, extend)


def _source(place: str) -> ServedSource:
    """What is served: a dataset's folder, or what was published at an address."""
    if not is_store(place):
        from frenchcat.index.service.served_dataset import FolderSource

        return FolderSource(open(place).dataset)
    from frenchcat.index.service.served_publication import PublishedSource

    return PublishedSource(place)


def _listed(given: Lists) -> list[str]:
    return [str(given)] if isinstance(given, str | Path) else [str(one) for one in given]
