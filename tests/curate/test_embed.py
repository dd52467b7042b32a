"""Embeddings by shard: each row its own picture's, in clip-retrieval's layout, resumable."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import frenchcat
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embed import embed
from frenchcat.curate.embeddings import model_of, require_same_model
from frenchcat.curate.errors import ConfirmationNeeded, UserError
from frenchcat.curate.stage import Engine, StageReport
from tests.curate.clip.models import CONFIG, clip_settings, save_folder
from tests.sample.downloaded import Pair, downloaded
from tests.sample.pictures import encoded
from tests.trees import tree_digest

BATCH = 4
UNDECODABLE = {0: b"no picture", 3: encoded(1)[0][:80], 4: b"", 9: b"\xff\xd8\xff"}
NOT_STORED = 6


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("models") / "other", CONFIG, seed=1)


def settings(model: Path, **named: object) -> ClipSettings:
    quick = {"precision": "fp32", "batch_size": BATCH, "decode_workers": 1}
    return clip_settings(model=f"local-dir:{model}", **{**quick, **named})


def run(dataset: Dataset, with_settings: ClipSettings, engine: Engine | None = None) -> StageReport:
    with dataset.lock():
        return embed(dataset, with_settings, engine)


def rows(count: int, seed: int = 0) -> list[Pair]:
    return [(data, f"caption {seed} {row}") for row, data in enumerate(encoded(count, seed))]


def damaged(count: int, seed: int) -> list[Pair]:
    """Rows with pictures that do not decode and one that was never stored."""
    listed: list[Pair] = [
        (UNDECODABLE.get(row, data), caption)
        for row, (data, caption) in enumerate(rows(count, seed))
    ]
    listed[NOT_STORED] = (None, "never stored")
    return listed


def tables(dataset: Dataset, shard: str) -> tuple[Any, Any, Any, dict[str, str]]:
    """A shard's pictures' and texts' vectors, metadata, failures."""
    folder = Path(dataset.path("embeddings"))
    failed = pq.read_table(folder / f"failed/failed_{shard}.parquet").to_pydict()
    return (
        np.load(folder / f"img_emb/img_emb_{shard}.npy"),
        np.load(folder / f"text_emb/text_emb_{shard}.npy"),
        pq.read_table(folder / f"metadata/metadata_{shard}.parquet"),
        dict(zip(failed["key"], failed["reason"], strict=True)),
    )


def check_rows(dataset: Dataset, clip: Clip, shard: str, listed: Sequence[Pair]) -> list[str]:
    """Each row is that of its own picture and caption, encoded alone; gives the keys."""
    pictures, texts, metadata, _ = tables(dataset, shard)
    keys: list[str] = metadata["image_path"].to_pylist()
    for row, key in enumerate(keys):
        data, caption = listed[int(key[5:])]
        assert metadata["caption"][row].as_py() == caption
        assert metadata["url"][row].as_py() == f"http://pictures.example/{key}.jpg"
        assert data is not None
        with Image.open(io.BytesIO(data)) as picture:
            (alone,) = clip.encode_images([picture])
        np.testing.assert_allclose(pictures[row], alone, atol=5e-4)
        np.testing.assert_allclose(texts[row], clip.encode_texts([caption])[0], atol=5e-4)
    # A row that were another's would not pass: the vectors are far apart.
    apart = pictures.astype(np.float32) @ pictures.astype(np.float32).T - np.eye(len(keys))
    assert apart.max() < 0.99
    return keys


def test_clip_retrievals_layout(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(5), "00001": rows(2, 1)})
    report = run(dataset, settings(model))
    assert report.counts == {"embedded": 7, "failed": 0}
    assert dataset.files("embeddings/img_emb") == ["img_emb_00000.npy", "img_emb_00001.npy"]
    assert dataset.files("embeddings/text_emb") == ["text_emb_00000.npy", "text_emb_00001.npy"]
    assert dataset.files("embeddings/metadata") == [
        "metadata_00000.parquet",
        "metadata_00001.parquet",
    ]
    pictures, texts, metadata, failed = tables(dataset, "00000")
    for vectors in (pictures, texts):
        assert vectors.dtype == np.float16
        assert vectors.shape == (5, 32)
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=2e-3)
    others = ["uid", "key", "url", "width", "height"]  # of the sidecar
    listed = ["list_image_path"]  # the list's own column of the name that the keys have
    assert metadata.column_names == ["image_path", "caption", *others, *listed]
    assert set(metadata["list_image_path"].to_pylist()) == {"the list's own column"}
    assert metadata["image_path"].to_pylist() == [f"00000000{row}" for row in range(5)]
    assert failed == {}


def test_rows_keep_their_keys_around_undecodable_pictures(model: Path, tmp_path: Path) -> None:
    listed = damaged(11, 2)
    dataset = downloaded(tmp_path / "d", {"00000": listed})
    report = run(dataset, settings(model))
    clip = load_clip(settings(model))
    keys = check_rows(dataset, clip, "00000", listed)
    lost = {*UNDECODABLE, NOT_STORED}
    assert keys == [f"00000{row:04d}" for row in range(11) if row not in lost]
    failed = tables(dataset, "00000")[3]
    assert set(failed) == {f"00000{row:04d}" for row in UNDECODABLE}
    assert all(reason.startswith("undecodable: ") for reason in failed.values())
    assert report.counts == {"embedded": 6, "failed": 4}


def test_rows_keep_their_keys_around_vectors_that_are_not_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that overflows on white pictures and on captions that say so."""
    white = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(white, "PNG")
    listed = rows(10, 3)
    listed[0] = listed[5] = (white.getvalue(), "white")
    listed[8] = (listed[8][0], "overflow")
    clip = load_clip(settings(model))
    dataset = downloaded(tmp_path / "d", {"00000": listed})
    _overflow(monkeypatch)
    report = run(dataset, settings(model))
    monkeypatch.undo()
    keys = check_rows(dataset, clip, "00000", listed)
    assert keys == [f"00000000{row}" for row in (1, 2, 3, 4, 6, 7, 9)]
    nan = {f"00000000{row}": "nan_embedding" for row in (0, 5, 8)}
    assert tables(dataset, "00000")[3] == nan
    assert report.counts == {"embedded": 7, "failed": 3}


def _overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, texts = Clip.encode_images, Clip.encode_texts

    def some_pictures(clip: Clip, given: Any) -> Any:
        vectors = pictures(clip, given)
        vectors[given.min(axis=(1, 2, 3)) == 255] = np.nan
        return vectors

    def some_texts(clip: Clip, given: Sequence[str]) -> Any:
        vectors = texts(clip, given)
        vectors[[text == "overflow" for text in given], 0] = np.inf
        return vectors

    monkeypatch.setattr(Clip, "encode_images", some_pictures)
    monkeypatch.setattr(Clip, "encode_texts", some_texts)


def test_a_shard_of_failures_only_has_empty_arrays(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": [(b"x", "a"), (None, "b")], "00001": rows(2)})
    assert run(dataset, settings(model)).counts == {"embedded": 2, "failed": 1}
    pictures, texts, metadata, failed = tables(dataset, "00000")
    assert pictures.shape == texts.shape == (0, 32)
    assert metadata.num_rows == 0
    assert set(failed) == {"000000000"}


def test_a_shards_bytes_do_not_depend_on_the_others(model: Path, tmp_path: Path) -> None:
    """Six rows in batches of four: a batch that crossed into the next shard would show."""
    shards: Mapping[str, Sequence[Pair]] = {f"0000{n}": rows(6, seed=n) for n in range(3)}
    together = downloaded(tmp_path / "together", shards)
    run(together, settings(model))
    alone = downloaded(tmp_path / "alone", {"00001": shards["00001"]})
    run(alone, settings(model, decode_workers=2))
    files = tree_digest(tmp_path / "alone" / "embeddings")
    assert len(files) == 4
    whole = tree_digest(tmp_path / "together" / "embeddings")
    assert {name: whole[name] for name in files} == files


def test_again_does_only_what_is_missing(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(3), "00001": rows(3, 1)})
    assert run(dataset, settings(model)).done == 2
    before = tree_digest(tmp_path)
    assert run(dataset, settings(model)).done == 0
    dataset.remove("embeddings/text_emb/text_emb_00001.npy")
    assert run(dataset, settings(model)).done == 1
    assert tree_digest(tmp_path) == before


def test_a_shard_is_embedded_again_when_its_sidecar_or_its_tar_changed_alone(
    model: Path, tmp_path: Path
) -> None:
    shards = {"00000": rows(2), "00001": rows(2, 1)}
    dataset = downloaded(tmp_path / "d", shards)
    run(dataset, settings(model))
    vectors = tables(dataset, "00000")[0]
    tar, sidecar = (Path(dataset.path(f"shards/00000.{ending}")) for ending in ("tar", "parquet"))

    before = tar.read_bytes()
    downloaded(tmp_path / "d", shards, licence="CC0")  # a column of every sidecar
    assert tar.read_bytes() == before
    assert run(dataset, settings(model)).done == 2
    assert tables(dataset, "00000")[2]["licence"].to_pylist() == ["CC0", "CC0"]
    assert run(dataset, settings(model)).done == 0

    before = sidecar.read_bytes()
    captions = [caption for _, caption in rows(2)]
    others = list(zip(encoded(2, 9), captions, strict=True))
    downloaded(tmp_path / "d", {**shards, "00000": others}, licence="CC0")
    assert sidecar.read_bytes() == before
    assert run(dataset, settings(model)).done == 1
    assert not np.array_equal(tables(dataset, "00000")[0], vectors)


def test_rows_are_those_of_their_keys_whatever_the_order_and_the_endings(
    model: Path, tmp_path: Path
) -> None:
    """A foreign tool's shard: not in key order, PNG and WebP beside JPEG, no caption for one."""
    listed = rows(7, 4)
    endings = ("png", "jpeg", "webp", "jpg")
    dataset = downloaded(tmp_path / "d", {"00000": listed}, endings=endings, backwards=True)
    path = dataset.path("shards/00000.parquet")
    sidecar = pq.read_table(path)
    captions = [None if c == listed[3][1] else c for c in sidecar["caption"].to_pylist()]
    place = sidecar.column_names.index("caption")
    sidecar = sidecar.set_column(place, "caption", pa.array(captions, pa.string()))
    pq.write_table(sidecar, path)
    assert run(dataset, settings(model)).counts == {"embedded": 7, "failed": 0}
    _, texts, metadata, _ = tables(dataset, "00000")
    assert metadata["image_path"].to_pylist() == [f"00000000{row}" for row in range(7)]
    clip = load_clip(settings(model))
    assert metadata["caption"][3].as_py() is None
    np.testing.assert_allclose(texts[3], clip.encode_texts([""])[0], atol=5e-4)
    captioned = dataset.path("embeddings/metadata/metadata_00000.parquet")
    assert pq.read_table(captioned)["url"].to_pylist()[0].endswith("000000000.jpg")
    for row, (data, caption) in enumerate(listed):
        assert data is not None
        with Image.open(io.BytesIO(data)) as picture:
            (alone,) = clip.encode_images([picture])
        np.testing.assert_allclose(tables(dataset, "00000")[0][row], alone, atol=5e-4)
        if row != 3:
            assert metadata["caption"][row].as_py() == caption
            np.testing.assert_allclose(texts[row], clip.encode_texts([caption])[0], atol=5e-4)


def test_a_picture_that_the_sidecar_does_not_know_is_named(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(3)})
    path = dataset.path("shards/00000.parquet")
    pq.write_table(pq.read_table(path).slice(0, 2), path)
    with pytest.raises(UserError, match="image 000000002 is in the shard's tar but not in its"):
        run(dataset, settings(model))
    assert not dataset.files("embeddings/img_emb")


def test_a_shard_that_cannot_be_embedded_is_named_before_anything_changes(
    model: Path, other: Path, tmp_path: Path
) -> None:
    """The second shard has no tar: the first one's vectors stay, and so does their model."""
    dataset = downloaded(tmp_path / "d", {"00000": rows(2), "00001": rows(2, 1)})
    run(dataset, settings(model))
    made = dataset.read_json("stages/download/00001.json")
    del made["outputs"]["shards/00001.tar"]
    dataset.write_json("stages/download/00001.json", made)
    before = tree_digest(tmp_path / "d")
    with pytest.raises(UserError, match=r"shard 00001 .* was adopted without images"):
        run(dataset, settings(other))
    assert tree_digest(tmp_path / "d") == before


def test_how_fast_it_runs_is_no_reason_to_do_it_again(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(3)})
    run(dataset, settings(model))
    assert run(dataset, settings(model, decode_workers=2, compile="no")).done == 0
    assert run(dataset, settings(model, precision="bf16")).done == 1


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    return b"no tar at all" * 100


@pytest.mark.parametrize("harm", [cut, overwritten, None])
def test_a_broken_tar_is_one_line_and_the_others_stay(
    harm: Callable[[bytes], bytes] | None, model: Path, tmp_path: Path
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(3), "00001": rows(3, 1)})
    tar = Path(dataset.path("shards/00001.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(harm(whole)) if harm else tar.unlink()
    with pytest.raises(UserError, match=r"broken tar: .*00001\.tar") as refused:
        run(dataset, settings(model))
    assert "\n" not in str(refused.value)
    again = shell_command("download", "URLS", "--out", dataset.root)
    assert str(refused.value).endswith(f"; delete it and run: {again}")
    assert dataset.files("embeddings/img_emb") == ["img_emb_00000.npy"]
    tar.write_bytes(whole)
    report = run(dataset, settings(model))
    assert (report.done, report.skipped) == (1, 1)


def test_a_broken_sidecar_is_one_line(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(2)})
    Path(dataset.path("shards/00000.parquet")).write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"00000\.parquet") as refused:
        run(dataset, settings(model))
    assert "\n" not in str(refused.value)


def test_a_dataset_without_shards(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no shards; first: frenchcat download URLS --out"):
        run(Dataset.create(tmp_path, "empty"), settings(model))


def test_another_models_dataset_is_refused_in_words(
    model: Path, other: Path, tmp_path: Path
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(2)})
    with pytest.raises(UserError, match="has no embeddings; run: frenchcat embed"):
        model_of(dataset)
    run(dataset, settings(model))
    require_same_model(dataset, load_clip(settings(model)))
    assert model_of(dataset)["model"] == "local-dir:small"
    with pytest.raises(UserError, match="were made by local-dir:small, not by local-dir:other"):
        require_same_model(dataset, load_clip(settings(other)))


def test_other_weights_under_the_same_name_are_another_model(model: Path, tmp_path: Path) -> None:
    """A folder's name is all that a model of one's own has for a name."""
    namesake = save_folder(tmp_path / "elsewhere" / model.name, CONFIG, seed=2)
    dataset = downloaded(tmp_path / "d", {"00000": rows(2), "00001": rows(2, 1)})
    run(dataset, settings(model))
    with pytest.raises(UserError, match="were made by local-dir:small, not by local-dir:small"):
        require_same_model(dataset, load_clip(settings(namesake)))
    tar = Path(dataset.path("shards/00001.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(cut(whole))
    with pytest.raises(UserError, match="broken tar"):
        run(dataset, settings(namesake))
    with pytest.raises(UserError, match="has no embeddings"):
        model_of(dataset)


def test_a_change_of_model_that_is_cut_short_names_neither(
    model: Path, other: Path, tmp_path: Path
) -> None:
    """Else half of the vectors would go by the other model's name."""
    dataset = downloaded(tmp_path / "d", {"00000": rows(2), "00001": rows(2, 1)})
    run(dataset, settings(model))
    tar = Path(dataset.path("shards/00001.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(cut(whole))
    with pytest.raises(UserError, match="broken tar"):
        run(dataset, settings(other))
    with pytest.raises(UserError, match="has no embeddings"):
        model_of(dataset)
    tar.write_bytes(whole)
    assert run(dataset, settings(other)).done == 1
    assert model_of(dataset)["model"] == "local-dir:other"


def test_weights_that_are_none_leave_the_dataset_as_it_is(model: Path, tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(2)})
    run(dataset, settings(model))
    before = tree_digest(Path(dataset.root))
    broken = save_folder(tmp_path / "broken", CONFIG, seed=3)
    (broken / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(Exception, match=r"."):
        run(dataset, settings(broken))
    assert tree_digest(Path(dataset.root)) == before, "its vectors are still found by their model"


def test_another_model_takes_the_vectors_place_only_where_that_is_agreed_to(
    model: Path, other: Path, tmp_path: Path
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows(2), "00001": rows(2, 1)})
    opened = frenchcat.open(dataset.root)
    quick = {"clip.precision": "fp32", "clip.decode_workers": 1, "clip.compile": "no"}
    opened.embed(set={**quick, "clip.model": f"local-dir:{model}"})
    before = tree_digest(Path(dataset.root))
    opened.embed(set={"clip.batch_size": 2})
    assert opened.settings()[0].name == "name"
    said = {one.name: one.value for one in opened.settings() if one.origin == "dataset"}
    assert said == {**quick, "clip.model": f"local-dir:{model}", "clip.batch_size": 2}
    why = f"2 shards will be embedded again: clip.model local-dir:{model} -> local-dir:{other}"
    with pytest.raises(ConfirmationNeeded) as raised:
        opened.embed(set={"clip.model": f"local-dir:{other}"})
    assert raised.value.what == why
    now = tree_digest(Path(dataset.root))
    assert {name for name in now if now[name] != before[name]} == {"dataset.json"}
    opened.embed(set={"clip.model": f"local-dir:{other}"}, yes=True)
    assert model_of(dataset)["model"] == "local-dir:other"
    save_folder(other, CONFIG, seed=4)
    with pytest.raises(ConfirmationNeeded, match=r"2 shards .* weights of the model"):
        opened.embed()
    save_folder(other, CONFIG, seed=1)


@pytest.mark.ray
@pytest.mark.slow  # test_stage.py has a stage in processes of its own on two nodes of Ray
def test_ray_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    shards = {f"0000{n}": damaged(11, seed=n) for n in range(2)}
    digests = []
    for kind in ("local", "ray"):
        dataset = downloaded(tmp_path / kind, shards)
        run(dataset, settings(model), Engine(kind))
        digests.append(tree_digest(tmp_path / kind))
    assert digests[0] == digests[1]
