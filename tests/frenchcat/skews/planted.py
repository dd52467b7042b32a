"""Datasets whose skews are planted: which rows a query finds, and what these show, is chosen.

Rows of a query's group have vectors along a direction in which that query's text lies and no other
query's, so that a search for as many rows as the group has finds exactly the group. Rows of the
background are at right angles to all queries. What rows have is drawn per domain: a domain's rate
is Beta distributed about the rate of its group, so that images of a site resemble each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.config import as_dict
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.index.build import build_index
from tests.sample.row import Row
from tests.sample.write import write

QUERIES = ("doctor", "nurse", "teacher", "farmer", "soldier", "cook")
WORDS = ("alpha", "beta", "gamma", "delta")
YES, NO = "a photo taken outdoors", "a photo taken indoors"
COUNTRIES = {"com": 0.5, "de": 0.2, "fr": 0.15, "jp": 0.15}
LANGUAGES = {"en": 0.6, "fr": 0.25, "ja": 0.15}
SITES = 400  # domains of the background
ALIKE = 10.0  # a + b of a domain's Beta: rates of domains differ with a correlation of 1 / (1 + it)
SENSITIVITY, SPECIFICITY = 0.85, 0.9


@dataclass(frozen=True)
class Rates:
    """What the rows of a group have, each with which chance."""

    words: Mapping[str, float] = field(
        default_factory=lambda: {"alpha": 0.3, "beta": 0.15, "gamma": 0.08, "delta": 0.03}
    )
    countries: Mapping[str, float] = field(default_factory=lambda: COUNTRIES)
    languages: Mapping[str, float] = field(default_factory=lambda: LANGUAGES)
    outdoors: float = 0.3  # truly; what the classifier calls so errs at the rates above


BASE = Rates()
SKEWED = {
    "doctor": Rates(words={**BASE.words, "alpha": 0.08, "gamma": 0.3}, outdoors=0.05),
    "nurse": Rates(words={**BASE.words, "alpha": 0.7}, outdoors=0.3),
    "teacher": Rates(countries={"com": 0.1, "de": 0.1, "fr": 0.1, "jp": 0.7}),
    "farmer": Rates(outdoors=0.9, words={**BASE.words, "delta": 0.2}),
    "soldier": Rates(languages={"en": 0.2, "fr": 0.2, "ja": 0.6}),
}
"""Query -> its rates, where they are not the dataset's."""


@dataclass(frozen=True)
class Planted:
    """The dataset's files, and the word lists and concepts to audit it with."""

    dataset: Dataset
    terms: str
    attributes: str
    concepts: Path


def planted(
    root: Path,
    clip: Clip,
    skews: Mapping[str, Rates],
    *,
    seed: int = 0,
    group: int = 100,
    background: int = 1400,
    own_domains: int | None = 40,
    labelled: int = 300,
) -> Planted:
    """Write a dataset with an index: `group` rows per query and the background.

    Each group has `own_domains` domains of its own; None: all rows are of the same 400 domains.
    Of the background so many rows are `labelled`.
    """
    random = np.random.default_rng(seed)
    queries = clip.encode_texts(list(QUERIES)).astype(np.float64)
    towards = clip.encode_texts([YES])[0] - clip.encode_texts([NO])[0]
    span = np.linalg.qr(queries.T)[0]  # (D, Q), orthonormal
    aside = towards - span @ (span.T @ towards)
    dual = np.linalg.pinv(queries)  # (D, Q): a column is at right angles to all other queries
    rows: list[Row] = []
    labels: list[bool] = []
    for number, query in enumerate([*QUERIES, ""]):
        count = group if query else background
        site, sites = ("s", SITES) if own_domains is None or not query else (query, own_domains)
        rates = skews.get(query, BASE)
        start = dual[:, number] / np.linalg.norm(dual[:, number]) if query else 0 * towards
        of = np.sort(random.integers(0, sites, count))
        endings = _endings(site, sites, rates, seed)
        urls = [f"http://{site}-{n}.{endings[n]}/{number}-{at}.png" for at, n in enumerate(of)]
        made, truth = _rows(random, rates, of, urls, start, aside, towards, span)
        rows += made
        labels += truth
    dataset = Dataset.create(root / "dataset", "planted")
    with dataset.lock():
        keys = write(dataset, "00000", rows, ("sidecar", "vectors", "scores"))
        record_entry(dataset, "embed", StageEntry(settings=_model(clip)))
        settings = ClipSettings(model="mini", compile="no")
        dataset.update_manifest({"settings": {"clip": as_dict(settings)}})
        build_index(dataset)
    chosen = random.permutation(np.arange(len(QUERIES) * group, len(rows)))[:labelled]
    lines = [f"{keys[at]},{'yes' if labels[at] else 'no'}" for at in chosen]
    (root / "outdoors.csv").write_text("\n".join(["key,label", *lines]) + "\n")
    (root / "concepts.toml").write_text(
        f'title = "Planted"\n[concepts.outdoors]\nyes = ["{YES}"]\nno = ["{NO}"]\n'
        'labels = "outdoors.csv"\n'
    )
    return Planted(
        dataset,
        _list(root / "queries.toml", QUERIES),
        _list(root / "words.toml", WORDS),
        root / "concepts.toml",
    )


def _model(clip: Clip) -> dict[str, object]:
    return {
        "model": clip.name,
        "weights": clip.digest,
        "dimension": len(clip.encode_texts(["x"])[0]),
        "precision": "fp32",
    }


def _list(path: Path, names: Sequence[str]) -> str:
    terms = "".join(f'[terms.{name}]\nen = ["{name}"]\nfr = ["le {name}"]\n' for name in names)
    path.write_text(f'title = "{path.stem}"\n{terms}')
    return str(path)


def _rows(
    random: np.random.Generator,
    rates: Rates,
    of: NDArray[np.int64],
    urls: Sequence[str],
    start: NDArray[np.float64],
    aside: NDArray[np.float64],
    towards: NDArray[np.float64],
    span: NDArray[np.float64],
) -> tuple[list[Row], list[bool]]:
    """Rows of one group, and which of them are truly outdoors."""
    count = len(of)
    has = {word: _per_domain(random, rate, of) for word, rate in rates.words.items()}
    truth = _per_domain(random, rates.outdoors, of)
    right = random.random(count) < np.where(truth, SENSITIVITY, SPECIFICITY)
    called = np.where(right, truth, ~truth)
    languages = random.choice(list(rates.languages), count, p=list(rates.languages.values()))
    made = []
    for row in range(count):
        words = [word for word in rates.words if has[word][row]]
        noise = random.standard_normal(len(aside)) * 0.3 / np.sqrt(len(aside))
        noise -= span @ (span.T @ noise)
        noise -= aside * (noise @ aside) / (aside @ aside)
        wanted = 0.4 if called[row] else -0.4
        vector = start + aside * (wanted - start @ towards) / (aside @ aside) + noise
        made.append(
            Row(
                url=urls[row],
                caption=" ".join(["image", *words, f"number{row}"]),
                vector=(vector / np.linalg.norm(vector)).astype(np.float32),
                scores={"language": str(languages[row])},
            )
        )
    return made, truth.tolist()


def _endings(site: str, sites: int, rates: Rates, seed: int) -> list[str]:
    """The ending of each domain's name; the same for the same site."""
    random = np.random.default_rng([seed, *site.encode()])
    chances = list(rates.countries.values())
    return [str(one) for one in random.choice(list(rates.countries), sites, p=chances)]


def _per_domain(
    random: np.random.Generator, rate: float, of: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) who has it: by the rate of each row's domain."""
    rates = random.beta(ALIKE * rate, ALIKE * (1 - rate), int(of.max()) + 1)
    return np.asarray(random.random(len(of)) < rates[of])
