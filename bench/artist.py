"""How good the artist is: does it draw what is asked, in words and colours, and did it only copy?

    python -m bench.artist --dataset FOLDER/dataset             the bundled artist
    python -m bench.artist --dataset FOLDER/dataset --run RUN   a run of the preset train-artist

FOLDER is that of ``python -m tools.artist make``. What each figure is:

(a) prompts of trained names in a style that was held out for that name ("red apple, flat"). The
    judge embeds drawings by mini's picture tower and takes the nearest real drawing in the other
    styles, among as many names as prompts; a second judge takes the nearest name by mini's text
    tower ("a picture of a ..."). Both judge the real held-out drawings, too: the ceiling.
    The same for concepts: names that were held out in all styles.
(b) as bench.steer: prompts in pairs, each picture with its own prompt against the other's.
(c) the nearest training picture of each drawing by cosine, as the model saw it; a near-copy has a
    cosine of COPY_COSINE or a PDQ distance within the default of `dedup.perceptual_distance`.
(d) "red car", "blue car" and others: whether most coloured pixels are of that colour.
(e) "un chat", "eine Katze", and so on: whether the judge of (a) finds a cat first.
(f) 64 prompts, nothing picked, as a grid: .bench/artist-grid.png. Beside it artist-nearest.png,
    drawings over their nearest training pictures.

Reads the dataset, draws with seeds from 0 on, writes .bench/results/artist.json.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import _common as common
from bench.steer import bootstrap, differences

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors = NDArray[np.float32]

SEED = 13
BATCH = 25  # pictures drawn at once
COPY_COSINE = 0.98
KNOWN = ("cat", "apple", "house", "fish", "rose", "car", "dog face", "pizza")
COLOURS = ("red", "yellow", "green", "blue")
THINGS = ("car", "heart", "book", "apple", "balloon", "t shirt")
CATS = ("un chat", "eine Katze", "un gato", "un gatto", "猫", "a french cat")
HUES = {"red": 0, "orange": 30, "yellow": 52, "green": 115, "blue": 215, "purple": 285, "pink": 330}
"""Degrees at the middle of each name, on the colour wheel; the nearest one names a pixel."""


def main() -> None:
    """Open, draw, judge, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="by default the bundled artist")
    parser.add_argument("--checkpoint", type=Path, help="of the run; by default the newest")
    parser.add_argument("--number", type=int, default=200, help="prompts of (a)")
    parser.add_argument("--seeds", type=int, default=4, help="pictures per prompt of (d) and (e)")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=25)
    given = parser.parse_args()
    load = common.load()
    artist = Artist(given.run, given.checkpoint, given.guidance, given.steps)
    material = Material(given.dataset, artist)
    found: dict[str, Any] = {"load_before": load, **artist.about}
    drawn = _asked(artist, material, given.number, found)
    _steering(artist, drawn, found)
    _copies(artist, material, drawn, found)
    _colours(artist, given.seeds, found)
    _languages(artist, material, given.seeds, found)
    _grid(artist, material)
    found["versions"] = common.our_versions("torch", "diffusers")
    common.keep("artist", found, {"asked_share_of_real": (">=", 0.5), "steering_low": (">=", 0.0)})


class Artist:
    """What draws, and the CLIP model that judges."""

    def __init__(self, run: Path | None, checkpoint: Path | None, guidance: float, steps: int):
        from frenchcat.train import checkpoint as checkpoints
        from frenchcat.train.artist import open_artist
        from frenchcat.train.run import open_run
        from frenchcat.train.steering import clip_of

        if run is None:
            self.parts, state, folder = open_artist()
        else:
            self.parts, state, folder = open_run(run, checkpoint or checkpoints.newest(run))
        self.how: dict[str, Any] = {"guidance": guidance, "steps": steps}
        self.clip = clip_of(self.parts.settings.text)
        self.about = {
            "checkpoint": folder.name,
            "step": state.step,
            "pictures_trained_on": state.planned,
            "selection": state.identity["selection"],
            "parameters": self.parts.unet.num_parameters(),
            **self.how,
        }

    def draw(self, prompts: Sequence[str], first_seed: int = 0) -> list[Image]:
        """One picture per prompt, each from a seed of its own."""
        from frenchcat.train.draw import SampleRequest, draw

        wanted = [SampleRequest(prompt, first_seed + n) for n, prompt in enumerate(prompts)]
        pictures: list[Image] = []
        for start in range(0, len(wanted), BATCH):
            pictures += draw(self.parts, wanted[start : start + BATCH], **self.how)
        return pictures

    def embed(self, pictures: Sequence[Image]) -> Vectors:
        """(N, D) unit rows."""
        return self.clip.encode_images(list(pictures))


class Material:
    """The dataset's rows: their names, styles and pictures as the model sees them."""

    def __init__(self, dataset: Path, artist: Artist) -> None:
        from frenchcat import api

        self.opened, self.data = api.open(dataset), artist.parts.settings.data
        found = self.opened.rows(["key", "name", "style", "held_out"], "keep")
        self.rows: list[dict[str, Any]] = found.to_pylist()

    def names(self, held_out: str) -> list[str]:
        """Names of what is held out as `concept` or `rendering`, or trained on (""), by lot."""
        there = sorted({row["name"] for row in self.rows if row["held_out"] == held_out})
        order = np.random.default_rng(SEED).permutation(len(there))
        return [there[n] for n in order]

    def of(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of some names, in every style."""
        wanted = set(names)
        return [row for row in self.rows if row["name"] in wanted]

    def pictures(self, rows: Sequence[dict[str, Any]]) -> list[Image]:
        """Pictures of rows, as the model saw them, or would have."""
        from frenchcat.train.seen import view_of

        view = view_of(self.data)
        return [view(self.opened.picture(row["key"])) for row in rows]


# -- (a) it draws what is asked --------------------------------------------------------------------


def _asked(
    artist: Artist, material: Material, number: int, found: dict[str, Any]
) -> list[tuple[str, Image]]:
    """Draw and judge renderings and concepts; gives prompts and drawings of the former."""
    kept: list[tuple[str, Image]] = []
    for kind, key in (("rendering", "asked"), ("concept", "concepts")):
        names = material.names(kind)[:number]
        if not names:
            continue
        rows = material.of(names)
        judge = Judge(rows, artist.embed(material.pictures(rows)))
        chosen = [next(r for r in rows if r["name"] == n and r["held_out"] == kind) for n in names]
        prompts = [f"{row['name']}, {row['style']}" for row in chosen]
        pictures = artist.draw(prompts)
        texts = artist.clip.encode_texts([f"a picture of a {name}" for name in names])
        both = {"drawn": artist.embed(pictures)}
        both["real"] = artist.embed(material.pictures(chosen))
        for whose, vectors in both.items():
            first, five = judge.shares(vectors, chosen)
            found[f"{key}_{whose}_first"], found[f"{key}_{whose}_five"] = first, five
            ranks = rank_of(vectors @ texts.T, np.arange(len(names)))
            found[f"{key}_{whose}_by_text_first"] = float((ranks < 1).mean())
            found[f"{key}_{whose}_by_text_five"] = float((ranks < 5).mean())
        found[f"{key}_prompts"], found[f"{key}_chance"] = len(names), 1 / len(names)
        real = found[f"{key}_real_first"]
        found[f"{key}_share_of_real"] = found[f"{key}_drawn_first"] / real if real else 0.0
        print({name: value for name, value in found.items() if name.startswith(key)}, flush=True)
        if kind == "rendering":
            kept = list(zip(prompts, pictures, strict=True))
    return kept


class Judge:
    """Names by the nearest real drawing in another style."""

    def __init__(self, rows: Sequence[dict[str, Any]], vectors: Vectors) -> None:
        self.names = sorted({row["name"] for row in rows})
        self.vectors = vectors
        self.number = np.array([self.names.index(row["name"]) for row in rows])
        self.styles = np.array([row["style"] for row in rows])

    def scores(self, drawn: Vectors, styles: Sequence[str]) -> NDArray[np.float64]:
        """(N, names): the cosine with each name's nearest drawing, none of the drawing's style."""
        cosines = np.asarray(drawn @ self.vectors.T, np.float64)
        cosines[np.asarray(styles)[:, None] == self.styles[None]] = -np.inf
        best = np.full((len(drawn), len(self.names)), -np.inf)
        np.maximum.at(best.T, self.number, cosines.T)
        return best

    def shares(self, drawn: Vectors, rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
        """Shares of drawings whose name is first, and within the first five."""
        wanted = np.array([self.names.index(row["name"]) for row in rows])
        ranks = rank_of(self.scores(drawn, [row["style"] for row in rows]), wanted)
        return float((ranks < 1).mean()), float((ranks < 5).mean())


def rank_of(scores: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) how many of a row's scores are above, or as high as, that of the wanted column."""
    own = scores[np.arange(len(scores)), wanted]
    better: NDArray[np.int64] = (scores >= own[:, None]).sum(1) - 1
    return better


# -- (b) steering, (c) copies ----------------------------------------------------------------------


def _steering(artist: Artist, drawn: Sequence[tuple[str, Image]], found: dict[str, Any]) -> None:
    """As bench.steer, over the drawings of (a), each with the next one's prompt."""
    even = drawn[: len(drawn) // 2 * 2]
    vectors = np.asarray(artist.embed([picture for _, picture in even]), np.float64)
    texts = np.asarray(artist.clip.encode_texts([prompt for prompt, _ in even]), np.float64)
    values = differences(vectors, texts)
    found["steering"] = float(values.mean())
    found["steering_low"], found["steering_high"] = bootstrap(values, SEED)


def _copies(
    artist: Artist, material: Material, drawn: Sequence[tuple[str, Image]], found: dict[str, Any]
) -> None:
    from frenchcat.curate.hashes import PDQ_DISTANCE
    from frenchcat.train.seen import thumbs_of

    trained = [row for row in material.rows if not row["held_out"]]
    pictures = material.pictures(trained)
    vectors, thumbs = artist.embed(pictures), thumbs_of(pictures).astype(np.float32)
    concepts = [f"a {name}" for name in material.names("concept")[:60]]
    groups = {"trained": list(drawn)}
    groups["held_out"] = list(zip(concepts, artist.draw(concepts, 1000), strict=True))
    shown: list[Image] = []
    titles: list[str] = []
    for group, members in groups.items():
        cosines = artist.embed([picture for _, picture in members]) @ vectors.T
        apart = thumbs_of([picture for _, picture in members]).astype(np.float32)
        copies, nearest = [], []
        for n, (prompt, picture) in enumerate(members):
            by_clip = np.argsort(-cosines[n])[:5]
            by_pixels = np.argsort(((thumbs - apart[n]) ** 2).sum(1))[:5]
            close = [pdq_distance(picture, pictures[m]) for m in {*by_clip, *by_pixels}]
            first = int(by_clip[0])
            nearest.append(float(cosines[n, first]))
            copies.append(nearest[-1] >= COPY_COSINE or min(close) <= PDQ_DISTANCE)
            if n < 16:
                shown += [picture, pictures[first]]
                titles += [prompt, f"{nearest[-1]:.2f} {trained[first]['name']}"]
        found[f"near_copies_{group}"] = float(np.mean(copies))
        found[f"nearest_cosine_{group}"] = float(np.median(nearest))
    found["copy_cosine"], found["copy_pdq"] = COPY_COSINE, PDQ_DISTANCE
    _sheet(shown, titles, "artist-nearest.png", 8)


def pdq_distance(one: Image, other: Image) -> int:
    """Bits of 256 in which the PDQ hashes of two pictures differ."""
    import pdqhash

    hashes = [pdqhash.compute(np.asarray(picture.convert("RGB")))[0] for picture in (one, other)]
    return int((hashes[0] != hashes[1]).sum())


# -- (d) colours, (e) languages, (f) look ----------------------------------------------------------


def _colours(artist: Artist, seeds: int, found: dict[str, Any]) -> None:
    prompts = [(colour, f"{colour} {thing}") for thing in THINGS for colour in COLOURS]
    right: dict[str, float] = {}
    for colour, prompt in prompts:
        drawn = artist.draw([prompt] * seeds)
        right[prompt] = float(np.mean([main_colour(picture) == colour for picture in drawn]))
    found["colour_right"], found["colours"] = float(np.mean(list(right.values()))), right


def main_colour(picture: Image) -> str | None:
    """The name of HUES that most coloured pixels are nearest to; None for a grey picture."""
    pixels = np.asarray(picture.convert("RGB"), np.float64).reshape(-1, 3) / 255
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels])
    coloured = hsv[(hsv[:, 1] > 0.3) & (hsv[:, 2] > 0.25)]
    if len(coloured) < len(pixels) / 100:
        return None
    names, middles = list(HUES), np.array(list(HUES.values()))
    apart = np.abs(coloured[:, :1] * 360 - middles[None])
    nearest = np.minimum(apart, 360 - apart).argmin(1)
    return names[int(np.bincount(nearest, minlength=len(names)).argmax())]


def _languages(artist: Artist, material: Material, seeds: int, found: dict[str, Any]) -> None:
    """The names among which a cat is found are those of (a), and every cat's."""
    cats = sorted({row["name"] for row in material.rows if "cat" in row["name"].split()})
    rows = material.of([*material.names("rendering")[:200], *cats])
    judge = Judge(rows, artist.embed(material.pictures(rows)))
    right = {}
    for prompt in CATS:
        scores = judge.scores(artist.embed(artist.draw([prompt] * seeds)), [""] * seeds)
        first = [judge.names[n] for n in scores.argmax(1)]
        right[prompt] = float(np.mean([name in cats for name in first]))
    found["cat_right"], found["cats"] = float(np.mean(list(right.values()))), right


def _grid(artist: Artist, material: Material) -> None:
    prompts = [*KNOWN, *(name for name in material.names("") if name not in KNOWN)][:64]
    _sheet(artist.draw(prompts), prompts, "artist-grid.png", 8)


def _sheet(pictures: Sequence[Image], titles: Sequence[str], name: str, columns: int) -> None:
    from frenchcat.train.draw import grid

    common.BENCH.mkdir(parents=True, exist_ok=True)
    grid(pictures, titles, columns).save(common.BENCH / name)
    print(f"written to {common.BENCH / name}", flush=True)


if __name__ == "__main__":
    main()
