"""Weights by tag, from the hub's cache, from a folder and from a file; and what is said without."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained

from frenchcat.curate.clip.model import load_clip
from frenchcat.curate.clip.weights import find_weights
from frenchcat.curate.errors import UserError
from tests.curate.clip.models import (
    CAPTIONS,
    CONFIG,
    PREPROCESS,
    clip_settings,
    random_model,
    reference_pictures,
    reference_texts,
    save_folder,
)
from tests.sample.pictures import random_pictures


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small model's configuration under a name, as open_clip's own have one."""
    path = tmp_path_factory.mktemp("configs") / "small-of-the-tests.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hub's cache, as it is after `org/small` was fetched."""
    repository = tmp_path / "models--org--small"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return "org/small"


def tag(monkeypatch: pytest.MonkeyPatch, architecture: str, **source: Any) -> None:
    """Give the small model a pretrained tag, as open_clip's table has them."""
    known = {"mean": PREPROCESS["mean"], "std": PREPROCESS["std"], **source}
    monkeypatch.setitem(pretrained._PRETRAINED, architecture, {"of_the_tests": known})


def check_vectors(folder: Path, **named: object) -> None:
    clip = load_clip(clip_settings(precision="fp32", **named))
    pictures = random_pictures(2)
    expected = reference_pictures(folder, pictures)
    np.testing.assert_allclose(clip.encode_images(pictures), expected, atol=1e-5)
    expected = reference_texts(folder, CAPTIONS[:2])
    np.testing.assert_allclose(clip.encode_texts(CAPTIONS[:2]), expected, atol=1e-5)


def said(**named: object) -> str:
    """What is said when the model cannot be had: one line."""
    with pytest.raises(UserError) as refused:
        load_clip(clip_settings(**named))
    assert "\n" not in str(refused.value)
    return str(refused.value)


# -- where weights come from ---------------------------------------------------------------------


def test_a_model_of_the_hub(hub: str, folder: Path) -> None:
    check_vectors(folder, model=f"hf-hub:{hub}")
    assert find_weights(clip_settings(model=f"hf-hub:{hub}")).name == "hf-hub:org/small"


def test_a_pretrained_tag(
    hub: str, folder: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(monkeypatch, architecture, hf_hub=f"{hub}/")
    check_vectors(folder, model=architecture, pretrained="of_the_tests")
    weights = find_weights(clip_settings(model=architecture, pretrained="of_the_tests"))
    assert weights.name == f"{architecture}/of_the_tests"
    assert weights.dimension == 32


def test_a_tag_trained_with_quick_gelu_runs_with_it(
    hub: str, folder: Path, architecture: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The weights called ViT-B-32/openai are such; open_clip itself only warns."""
    tag(monkeypatch, architecture, hf_hub=f"{hub}/", quick_gelu=True)
    quick = shutil.copytree(folder, tmp_path / "quick")
    config = json.loads((quick / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (quick / "open_clip_config.json").write_text(json.dumps(config))
    check_vectors(quick, model=architecture, pretrained="of_the_tests")
    plain, pictures = reference_pictures(folder, random_pictures(2)), random_pictures(2)
    assert not np.allclose(plain, reference_pictures(quick, pictures), atol=1e-3)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_checkpoint_file(ending: str, architecture: str, tmp_path: Path) -> None:
    model = random_model(CONFIG)
    file = tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(model.state_dict(), file)
    else:
        shutil.copy(save_folder(tmp_path / "f") / "open_clip_model.safetensors", file)
    clip = load_clip(clip_settings(model=architecture, pretrained=str(file), precision="fp32"))
    assert clip.name == f"{architecture}/weights.{ending}"
    expected = model.encode_text(open_clip.tokenize(CAPTIONS), normalize=True).detach()
    np.testing.assert_allclose(clip.encode_texts(CAPTIONS), expected, atol=1e-5)


# -- digests -------------------------------------------------------------------------------------


def test_a_digest_is_of_content_not_of_place(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    first, second = (
        find_weights(clip_settings(model=f"local-dir:{where}")) for where in (folder, copied)
    )
    assert first.digest == second.digest
    assert re.fullmatch("[0-9a-f]{64}", first.digest)


@pytest.mark.parametrize(
    "file", ["open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json"]
)
def test_a_digest_changes_with_what_shapes_vectors(file: str, folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "changed")
    with (copied / file).open("ab") as changed:
        changed.write(b" ")
    before, after = (
        find_weights(clip_settings(model=f"local-dir:{where}")) for where in (folder, copied)
    )
    assert before.digest != after.digest


def test_one_checkpoint_in_two_architectures_is_two_models(
    architecture: str, tmp_path: Path
) -> None:
    """`ViT-B-32` and `ViT-B-32-quickgelu` take one file and give other vectors."""
    config = tmp_path / "small-of-the-tests-quickgelu.json"
    config.write_text(json.dumps(CONFIG | {"quick_gelu": True}))
    open_clip.add_model_config(config)
    file = tmp_path / "weights.pt"
    file.write_bytes(b"not loaded here")
    first, second = (
        find_weights(clip_settings(model=name, pretrained=str(file)))
        for name in (architecture, config.stem)
    )
    assert first.digest != second.digest
    file.write_bytes(b"other weights")
    changed = find_weights(clip_settings(model=architecture, pretrained=str(file)))
    assert changed.digest not in (first.digest, second.digest)


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_a_hub_model_s_digest_changes_with_what_shapes_vectors(
    file: str, hub: str, tmp_path: Path
) -> None:
    settings = clip_settings(model=f"hf-hub:{hub}")
    before = find_weights(settings).digest
    (cached,) = tmp_path.rglob(file)
    with cached.open("ab") as changed:
        changed.write(b" ")
    assert find_weights(settings).digest != before


def test_a_tag_s_digest_changes_with_its_weights(
    hub: str, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(monkeypatch, architecture, hf_hub=f"{hub}/")
    settings = clip_settings(model=architecture, pretrained="of_the_tests")
    before = find_weights(settings).digest
    (cached,) = tmp_path.rglob("open_clip_model.safetensors")
    with cached.open("ab") as changed:
        changed.write(b" ")
    assert find_weights(settings).digest != before


def test_the_digest_is_of_the_file_that_open_clip_loads(folder: Path, tmp_path: Path) -> None:
    """A folder with several weights files: change each, and digest and vectors change together."""
    both = shutil.copytree(folder, tmp_path / "both")
    other = save_folder(tmp_path / "other", CONFIG, seed=1)
    for name in ("open_clip_pytorch_model.safetensors", "model.safetensors"):
        shutil.copy(other / "open_clip_model.safetensors", both / name)
    first, again = (
        find_weights(clip_settings(model=f"local-dir:{where}")) for where in (folder, both)
    )
    assert first.digest == again.digest
    check_vectors(folder, model=f"local-dir:{both}")


# -- what is said without them -------------------------------------------------------------------


def test_a_tag_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    line = said(model="ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert "the weights of ViT-B-32/laion2b_s34b_b79k cannot be had" in line
    assert "laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in line
    assert "--set clip.pretrained=FILE" in line


def test_a_hub_model_that_cannot_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    line = said(model="hf-hub:timm/ViT-B-16-SigLIP2")
    assert "wanted is timm/ViT-B-16-SigLIP2/open_clip_model.safetensors" in line
    assert "--set clip.model=local-dir:FOLDER" in line


def test_a_text_tower_or_tokenizer_that_cannot_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xlm-roberta's configuration is not in open_clip: the weights alone do not do."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    config = copy.deepcopy(CONFIG)
    config["text_cfg"] = {"hf_model_name": "xlm-roberta-base", "hf_pooler_type": "mean_pooler"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"no matter")
    line = said(model=f"local-dir:{tmp_path}")
    assert "needs the text tower xlm-roberta-base, which is unavailable" in line
    folder = save_folder(tmp_path / "tokens", CONFIG)
    config = copy.deepcopy(CONFIG)
    config["text_cfg"]["hf_tokenizer_name"] = "org/tokens"
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    assert "needs the tokenizer org/tokens, which is unavailable" in said(
        model=f"local-dir:{folder}"
    )


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (
            {"model": "ViT-B-23"},
            "'ViT-B-23' is not an open_clip architecture; did you mean ViT-B-32?",
        ),
        ({"model": "ViT-B-32"}, "needs weights: --set clip.pretrained=FILE or one of its tags: op"),
        (
            {"model": "ViT-B-32", "pretrained": "laion2b_s34b"},
            "'laion2b_s34b' is neither a file nor a tag of ViT-B-32; "
            "did you mean laion2b_s34b_b79k?",
        ),
        ({"model": "local-dir:/nowhere"}, "/nowhere contains no open_clip_config.json"),
    ],
)
def test_names_that_are_not_known(named: dict[str, str], expected: str) -> None:
    assert expected in said(**named)


def test_a_folder_without_weights_names_the_file(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "open_clip_config.json", tmp_path)
    wanted = tmp_path / "open_clip_model.safetensors"
    assert f"contains no weights; expected {wanted}" in said(model=f"local-dir:{tmp_path}")


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04half a zip"])
def test_a_broken_checkpoint(content: bytes, architecture: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    assert "does not load" in said(model=architecture, pretrained=str(file))
