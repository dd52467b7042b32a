"""The bundled model: no hub, small enough, and pictures found by words in six languages.

The pictures are the bundled sample's, on which it was never trained; open_clip alone loads it.
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from frenchcat import sample_data
from frenchcat.curate.clip.model import load_clip
from frenchcat.curate.clip.weights import MINI
from tests.curate.clip.models import clip_settings

LIMIT_BYTES = 32_000_000
NAME = f"local-dir:{MINI}"
# Part of a picture's path in Open Clip Art: words of that meaning, how many are looked at, and how
# many of those must be right.
MEANINGS = {
    "housecats": (
        ("french cat", "a cat", "chat français", "un chat", "Katze", "gato", "un gatto", "猫"),
        3,
        2,
    ),
    "clock": (("a clock", "une horloge", "Uhr", "reloj", "orologio", "時計"), 4, 3),
    "banana": (("a banana", "une banane", "eine Banane", "plátano", "una banana", "バナナ"), 1, 1),
    "guitar": (("a guitar", "une guitare", "Gitarre", "guitarra", "chitarra", "ギター"), 1, 1),
}

LOAD_WITHOUT_A_NETWORK = """
import socket, sys, numpy
def refuse(*_):
    raise OSError("this test has no network")
socket.socket.connect = socket.getaddrinfo = refuse
import open_clip, torch
model = open_clip.create_model(sys.argv[1]).eval()
tokens = open_clip.get_tokenizer(sys.argv[1])(["a french cat", "猫"])
with torch.inference_mode():
    numpy.save(sys.argv[2], model.encode_text(tokens, normalize=True).numpy())
"""


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any, Any]:
    loaded, _, prepare = open_clip.create_model_and_transforms(NAME)
    return loaded.eval(), prepare, open_clip.get_tokenizer(NAME)


def encode_texts(model: tuple[Any, Any, Any], texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        rows: torch.Tensor = model[0].encode_text(model[2](texts), normalize=True)
    return rows


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    """By source: every eighth ordinary picture of the sample, and all that MEANINGS name."""
    rows = [row for row in sample_data.read_list().to_pylist() if not row["planted"]]
    with tarfile.open(sample_data.PICTURES) as tar:
        found = {}
        for number, row in enumerate(rows):
            if number % 8 == 0 or any(part in row["source"] for part in MEANINGS):
                body = tar.extractfile(row["url"].split("/", 3)[3])
                assert body is not None
                found[row["source"]] = Image.open(io.BytesIO(body.read())).convert("RGB")
    return found


def test_the_folder_is_small_and_whole() -> None:
    files = {path.name: path.stat().st_size for path in MINI.iterdir() if path.is_file()}
    assert sum(files.values()) <= LIMIT_BYTES
    assert set(files) == {
        "README.md",
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_it_loads_without_a_network_or_a_cache(tmp_path: Path, model: tuple[Any, Any, Any]) -> None:
    home, out = tmp_path / "home", tmp_path / "rows.npy"
    home.mkdir()
    allowed = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = allowed | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD_WITHOUT_A_NETWORK, NAME, str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*.safetensors")), "something was fetched"
    expected = encode_texts(model, ["a french cat", "猫"]).numpy()
    np.testing.assert_allclose(np.load(out), expected, atol=1e-5)


def test_words_in_six_languages_find_their_pictures(
    model: tuple[Any, Any, Any], pictures: dict[str, Image.Image]
) -> None:
    sources = list(pictures)
    with torch.inference_mode():
        batch = torch.stack([model[1](picture) for picture in pictures.values()])
        rows = model[0].encode_image(batch, normalize=True)
    missed = []
    for part, (words, first, least) in MEANINGS.items():
        for word, scores in zip(words, encode_texts(model, list(words)) @ rows.T, strict=True):
            best = [sources[int(index)] for index in scores.topk(first).indices]
            if sum(part in source for source in best) < least:
                missed.append((word, best))
    assert not missed


def test_rows_are_float32_of_unit_length_and_open_clips_own(
    model: tuple[Any, Any, Any], pictures: dict[str, Image.Image]
) -> None:
    clip = load_clip(clip_settings(model="mini", precision="fp32"))
    some = list(pictures.values())[:4]
    ours = clip.encode_images(some)
    with torch.inference_mode():
        batch = torch.stack([model[1](each) for each in some])
        theirs = model[0].encode_image(batch, normalize=True).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    # The head works far out in GELU's tail, where float32 keeps few digits.
    assert (ours * theirs).sum(1).min() > 0.99999
    assert (ours @ ours.T - np.eye(4)).max() < 0.98


def test_case_accents_and_kana_do_not_matter(model: tuple[Any, Any, Any]) -> None:
    rows = encode_texts(model, ["Chat Français", "chat francais", "ねこ", "ネコ", "a clock"])
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[2], rows[3])
    assert float(rows[0] @ rows[2]) > float(rows[0] @ rows[4]) + 0.3
