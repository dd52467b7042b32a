"""The stage: a row a stored picture, what is taken over, kill -9, any number of workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embed import embed
from frenchcat.curate.errors import UserError
from frenchcat.curate.score.builtin import COLUMNS
from frenchcat.curate.score.settings import IDENTITY
from tests.curate.clip.models import clip_settings, reference, reference_texts, save_folder
from tests.curate.score.folders import QUICK, run, scores
from tests.sample.downloaded import Pair, downloaded, given
from tests.sample.pictures import photographs
from tests.trees import tree_digest

ROOT = Path(__file__).parents[3]
BROKEN, NOT_STORED, NO_VECTOR = 2, 4, 5


def rows(count: int = 8, seed: int = 0) -> list[Pair]:
    listed: list[Pair] = [
        (data, f"picture {seed} number {row}") for row, data in enumerate(photographs(count, seed))
    ]
    listed[BROKEN] = (b"no picture", "broken")
    listed[NOT_STORED] = (None, "never stored")
    return listed


def test_each_stored_row_has_one_row_of_scores_in_key_order(tmp_path: Path) -> None:
    shards = {"00000": rows(), "00001": rows(seed=1)}
    dataset = given(tmp_path / "d", shards, without=("000000005",))
    report = run(dataset)
    assert (report.done, report.counts) == (2, {"scored": 14})
    table = pq.read_table(dataset.path("scores/00000.parquet"))
    assert table.column_names == [*IDENTITY, *(name for s in QUICK for name in COLUMNS[s])]
    keys = [f"00000000{row}" for row in range(8) if row != NOT_STORED]
    assert table["key"].to_pylist() == keys
    found = scores(dataset)
    for key, row in found.items():
        broken, without = key.endswith(str(BROKEN)), key.endswith(str(NO_VECTOR))
        assert (row["similarity"] is None) == without
        assert all((row[n] is None) == broken for n in ("sharpness", "bits_per_pixel", "pdq"))
        assert row["caption_words"] == (1 if broken else 4)
        assert row["hash"] is not None


def test_hashes_are_the_downloads_or_of_the_stored_bytes(tmp_path: Path) -> None:
    import hashlib

    listed = rows()
    whole = given(tmp_path / "whole", {"00000": listed})
    foreign = given(tmp_path / "foreign", {"00000": listed}, hashed=False)
    run(whole)
    run(foreign)
    for key, row in scores(whole).items():
        data = listed[int(key[5:])][0] or b""
        assert row["sha256"] == hashlib.sha256(b"original " + data).hexdigest()
        assert row["stored_sha256"] == hashlib.sha256(data).hexdigest()
        assert scores(foreign)[key]["stored_sha256"] == row["stored_sha256"]
        assert scores(foreign)[key]["sha256"] is None


def test_similarity_is_numpys_cosine(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()}, without=("000000001",))
    run(dataset)
    pictures, texts = (
        np.load(dataset.path(file.of("00000"))).astype(np.float64)
        for file in (files.IMG_EMB, files.TEXT_EMB)
    )
    lengths = np.linalg.norm(pictures, axis=1) * np.linalg.norm(texts, axis=1)
    cosines = (pictures * texts).sum(axis=1) / lengths
    keys = pq.read_table(dataset.path(files.METADATA.of("00000")))["image_path"].to_pylist()
    found = scores(dataset)
    for key, cosine in zip(keys, cosines, strict=True):
        assert found[key]["similarity"] == pytest.approx(cosine, abs=2e-3)
    assert np.ptp(cosines) > 0.1


def test_same_again_is_skipped_and_damage_is_repaired(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows(), "00001": rows(seed=1)})
    run(dataset)
    before = tree_digest(tmp_path / "d")
    assert run(dataset).done == 0
    path = Path(dataset.path("scores/00001.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    assert run(dataset).done == 1
    assert tree_digest(tmp_path / "d") == before


def head(tmp_path: Path, seed: int) -> dict[str, str]:
    file = tmp_path / f"head-{seed}.safetensors"
    weight = np.random.default_rng(seed).standard_normal((1, 16)).astype(np.float32)
    save_file({"weight": weight}, file)
    return {"name": "mine", "file": str(file)}


def test_another_head_does_not_read_pictures_or_captions_again(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()})
    run(dataset, heads=[head(tmp_path, 0)])
    before = scores(dataset)
    # Nobody can read these any more; whoever tries fails.
    Path(dataset.path("shards/00000.tar")).write_bytes(b"")
    assert run(dataset, heads=[head(tmp_path, 1)]).done == 1
    after = scores(dataset)
    assert {k: {**row, "mine": 0} for k, row in after.items()} == {
        k: {**row, "mine": 0} for k, row in before.items()
    }
    assert all(after[k]["mine"] != before[k]["mine"] for k in after if not k.endswith("2"))


def test_other_vectors_change_similarity_alone(tmp_path: Path) -> None:
    listed = {"00000": rows()}
    dataset = given(tmp_path / "d", listed)
    run(dataset)
    before = scores(dataset)
    given(tmp_path / "d", listed, seed=5)
    Path(dataset.path("shards/00000.tar")).write_bytes(b"")
    assert run(dataset).done == 1
    after = scores(dataset)
    assert all(after[key]["similarity"] != before[key]["similarity"] for key in after)
    assert [{**row, "similarity": 0} for row in after.values()] == [
        {**row, "similarity": 0} for row in before.values()
    ]


def test_a_pictures_change_is_seen(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows(seed=0)})
    run(dataset)
    before = scores(dataset)
    given(tmp_path / "d", {"00000": rows(seed=3)})
    run(dataset)
    after = scores(dataset)
    good = [key for key in after if not key.endswith(str(BROKEN))]
    assert all(after[key]["sharpness"] != before[key]["sharpness"] for key in good)


def test_a_shard_without_pictures(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": [(None, "gone"), (None, "gone too")]})
    assert run(dataset).counts == {"scored": 0}
    assert pq.read_schema(dataset.path("scores/00000.parquet")).names[:3] == list(IDENTITY)


def test_without_vectors_it_says_what_to_run(tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows()})
    with pytest.raises(UserError, match=r"no embed yet.*first: frenchcat embed .*/d; "):
        run(dataset)
    assert run(dataset, scores=["caption", "pdq"]).done == 1


def test_a_dataset_without_shards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no shards; first: frenchcat download URLS --out"):
        run(Dataset.create(tmp_path / "d", "d"))


def test_a_concept_is_numpys_softmax_and_turned_round_by_turned_prompts(tmp_path: Path) -> None:
    model = save_folder(tmp_path / "model")
    clip = clip_settings(model=f"local-dir:{model}", precision="fp32", decode_workers=1)
    dataset = downloaded(tmp_path / "d", {"00000": rows(6)})
    with dataset.lock():
        embed(dataset, clip)
    prompts = ["a picture of violence", "a peaceful picture"]
    named = {"scores": ["sharpness", "hash"], "clip": clip}
    run(dataset, concepts={"violence": prompts}, **named)
    scale = float(reference(model)[0].logit_scale.detach().exp())
    pictures = np.load(dataset.path(files.IMG_EMB.of("00000"))).astype(np.float64)
    logits = scale * pictures @ reference_texts(model, prompts).T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    keys = pq.read_table(dataset.path(files.METADATA.of("00000")))["image_path"].to_pylist()
    before = scores(dataset)
    for key, probability in zip(keys, expected[:, 0], strict=True):
        assert before[key]["violence"] == pytest.approx(probability, abs=2e-3)
    assert np.ptp(expected[:, 0]) > 0.01
    assert before["000000002"]["violence"] is None
    assert run(dataset, concepts={"violence": prompts}, **named).done == 0
    assert run(dataset, concepts={"violence": prompts[::-1]}, **named).done == 1
    after = scores(dataset)
    for key, row in before.items():
        turned = None if row["violence"] is None else pytest.approx(1 - row["violence"], abs=2e-3)
        assert after[key] == {**row, "violence": turned}
    foreign = clip_settings(model=f"local-dir:{save_folder(tmp_path / 'other', seed=1)}")
    with pytest.raises(UserError, match="were made by local-dir:model, not by local-dir:other"):
        run(dataset, concepts={"cat": ["a cat", "a dog"]}, scores=["hash"], clip=foreign)


# -- the same bytes ------------------------------------------------------------------------------

CODE = """
import sys
from pathlib import Path
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.stage import Engine
from tests.curate.score.folders import run
if __name__ == "__main__":
    engine = Engine(workers=int(sys.argv[2]))
    run(Dataset.open(sys.argv[1]), engine, scores=["similarity", "caption", "sharpness", "pdq"])
"""


def many(root: Path) -> Dataset:
    return given(root, {f"{shard:05d}": rows(24, shard) for shard in range(6)})


def command(script: Path, root: Path, workers: int) -> list[str]:
    script.write_text(CODE)
    return [sys.executable, str(script), str(root), str(workers)]


def test_kill_and_any_number_of_workers_end_byte_identical(tmp_path: Path) -> None:
    environment: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    script = tmp_path / "run.py"
    for name in ("alone", "cut"):
        many(tmp_path / name)
    subprocess.run(command(script, tmp_path / "alone", 1), check=True, **environment)
    markers = tmp_path / "cut" / "stages" / "score"
    process = subprocess.Popen(command(script, tmp_path / "cut", 2), **environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(markers.glob("*"))) > 0:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    subprocess.run(command(script, tmp_path / "cut", 2), check=True, **environment)
    assert tree_digest(tmp_path / "cut") == tree_digest(tmp_path / "alone")
