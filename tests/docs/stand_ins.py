"""What is smaller or nearer in the test than on a reader's machine; nothing else differs.

The text of a block is never changed. In the processes that run it (`tests.docs.server`):

- The web is the bundled sample's site on loopback, whose addresses are allowed, as are those of
  the list `my-urls.parquet` in the folder.
- The bundled sample's list has some fifty rows: cats, flags, food, others, a few faults.
- Every CLIP model is the bundled one, uncompiled: the weights of the others would be fetched.
- Training takes STEPS steps of BATCH pictures of SIZE pixels with a tiny U-Net; an evaluation draws
  EVALUATED pictures. `models/stable-diffusion` is a tiny pipeline with random weights.
- `frenchcat serve` listens at a free port in place of 1234.
- Who is asked whether rows may be removed says yes.

With FRENCHCAT_DOCS=full in the environment (pages that are run in full) none of these holds but
the last two.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EACH, WORDS = 12, ("cat", "flag", "food")
FAULTS = ("dead_link", "noai", "short_caption", "watermark", "html_as_jpg", "exact_duplicate")
STEPS, BATCH, SIZE, EVALUATED = 2, 2, 16, 6
SITE = "FRENCHCAT_DOCS_SITE"  # names the sample's hosts: "127.0.0.1:8418,127.0.0.1:8419"


def full() -> bool:
    return os.environ.get("FRENCHCAT_DOCS") == "full"


def install() -> None:
    """Put the stand-ins in place; called before anything else of frenchcat is imported."""
    from frenchcat import sample_data
    from frenchcat.curate import config

    _settings(config)
    _list(sample_data)

    import frenchcat.api
    import frenchcat.commands.remove
    import frenchcat.index.service.app as app
    import frenchcat.train.evaluate as evaluation

    measure = evaluation.evaluate

    def evaluate(run: Path, *, number: int = 64, **how: Any) -> Any:
        return measure(run, number=number if full() else EVALUATED, **how)

    evaluation.evaluate = evaluate
    frenchcat.commands.remove._agreed = lambda rows: True
    served = app.serve

    def serve(datasets: Any, settings: Any, told: Callable[[str], None], *how: Any) -> None:
        def tell(address: str) -> None:
            told(address)
            place = Path(os.environ["FRENCHCAT_DOCS_FOLDER"]) / "served"
            partial = place.with_name("served.partial")
            partial.write_text(f"127.0.0.1:{address.rstrip('/').rsplit(':', 1)[1]}")
            partial.rename(place)

        served(datasets, config.changed(settings, port=0), tell, *how)

    app.serve = serve


def _settings(config: Any) -> None:
    """Settings as they were read, but for the model, the hosts and the length of a training."""
    layered = config.layered

    def nearer(cls: Any, *given: Any, **named: Any) -> Any:
        made = layered(cls, *given, **named)
        if full():
            return made
        change = {"BuildSettings": _build, "TrainSettings": _train}.get(
            cls.__name__, lambda value, changed: value
        )
        return replace(made, value=change(made.value, config.changed))

    config.layered = nearer


def _build(made: Any, changed: Callable[..., Any]) -> Any:
    fetch = changed(made.download.fetch, allow_hosts=_hosts(), deadline_sec=2.0)
    clip = changed(
        made.clip, model="mini", pretrained=None, precision="fp32", compile="no", decode_workers=1
    )
    return changed(made, download=changed(made.download, fetch=fetch), clip=clip)


def _hosts() -> tuple[str, ...]:
    import pyarrow.parquet as pq

    named = set(os.environ.get(SITE, "").split(",")) - {""}
    listed = Path("my-urls.parquet")
    if listed.exists():
        urls = pq.read_table(listed, columns=["url"])["url"].to_pylist()
        named |= {urlsplit(url).netloc for url in urls}
    return tuple(sorted(named))


def _train(made: Any, changed: Callable[..., Any]) -> Any:
    return changed(
        made,
        data=changed(made.data, batch=BATCH, size=SIZE, workers=0),
        text=changed(made.text, model="mini", pretrained=None),
        model=changed(made.model, channels=(8, 16), head_dim=8, layers_per_block=1, vae=None),
        classifier=changed(made.classifier, channels=(8, 16)),
        optimizer=changed(made.optimizer, steps=STEPS, warmup=1, accumulate=1),
        run=changed(
            made.run,
            held_out=2,
            checkpoint_every=STEPS,
            sample_every=STEPS,
            sample_steps=1,
            device="cpu",
            precision="fp32",
            compile=False,
        ),
    )


def _list(sample_data: Any) -> None:
    read = sample_data.read_list

    def read_list(*where: str) -> Any:
        table = read(*where)
        return table if full() else table.take(rows(table["planted"].to_pylist(), table))

    sample_data.read_list = read_list


def rows(planted: Sequence[str], table: Any) -> list[int]:
    """Which rows of the sample the short list has: EACH of a few kinds, one of a few faults."""
    captions = [caption.lower() for caption in table["caption"].to_pylist()]
    ordinary = [n for n, kind in enumerate(planted) if not kind]
    shown = [[n for n in ordinary if word in captions[n]][:EACH] for word in WORDS]
    first = {kind: n for n, kind in reversed(list(enumerate(planted))) if kind in FAULTS}
    return sorted({*ordinary[:EACH], *first.values()}.union(*shown))
