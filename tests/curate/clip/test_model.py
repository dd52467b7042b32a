"""Our vectors against open_clip's own, which run one input at a time in float32."""

import copy
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.errors import UserError
from tests.curate.clip.models import (
    CAPTIONS,
    CONFIG,
    clip_settings,
    reference,
    reference_pictures,
    reference_texts,
    save_folder,
)
from tests.sample.pictures import random_pictures


def load(folder: Path, **settings: object) -> Clip:
    return load_clip(clip_settings(model=f"local-dir:{folder}", **settings))


def lowest_cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours * theirs).sum(axis=1).min())


def test_pictures_equal_open_clip_in_float32(folder: Path) -> None:
    pictures = random_pictures(7)
    rows = load(folder, precision="fp32", batch_size=3).encode_images(pictures)
    expected = reference_pictures(folder, pictures)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    # Rows that were mixed up would not pass: pictures are far apart.
    assert (expected @ expected.T - np.eye(7)).max() < 0.98


def test_texts_equal_open_clip_in_float32(folder: Path) -> None:
    rows = load(folder, precision="fp32", batch_size=2).encode_texts(CAPTIONS)
    expected = reference_texts(folder, CAPTIONS)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert (expected @ expected.T - np.eye(len(CAPTIONS))).max() < 0.98


def test_rows_are_float32_and_of_unit_length(folder: Path) -> None:
    clip = load(folder, precision="bf16")
    for rows in (clip.encode_images(random_pictures(3)), clip.encode_texts(CAPTIONS)):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_bfloat16_stays_close_to_float32(folder: Path) -> None:
    clip, pictures = load(folder, precision="bf16"), random_pictures(8)
    expected = reference_pictures(folder, pictures)
    assert lowest_cosine(clip.encode_images(pictures), expected) >= 0.9995
    expected = reference_texts(folder, CAPTIONS)
    assert lowest_cosine(clip.encode_texts(CAPTIONS), expected) >= 0.9995


def test_the_logit_scale_is_open_clips(folder: Path) -> None:
    expected = float(reference(folder)[0].logit_scale.detach().exp())
    assert load(folder, precision="fp32").logit_scale == pytest.approx(expected)
    assert expected > 10


def test_a_model_that_gives_zeros_gives_no_unit_rows(tmp_path: Path) -> None:
    """Zeros would pass for vectors, at a cosine of 0 from everything."""
    file = save_folder(tmp_path) / "open_clip_model.safetensors"
    zero = {n: v * (n != "visual.proj") for n, v in load_file(file).items()}
    save_file(zero, file)
    clip = load(tmp_path, precision="fp32")
    assert np.isnan(clip.encode_images(random_pictures(2))).all()
    assert np.isfinite(clip.encode_texts(CAPTIONS)).all()


def test_nothing_in_gives_no_rows(folder: Path) -> None:
    clip = load(folder)
    assert clip.encode_images([]).shape == (0, 32)
    assert clip.encode_texts([]).shape == (0, 32)


@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_preprocessing_is_the_models_own(tmp_path: Path, mode: str) -> None:
    folder = save_folder(tmp_path, CONFIG)
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text().replace('"shortest"', f'"{mode}"'))
    pictures = random_pictures(4)
    rows = load(folder, precision="fp32").encode_images(pictures)
    np.testing.assert_allclose(rows, reference_pictures(folder, pictures), atol=1e-5)


def test_a_siglip_like_model_equals_open_clip(tmp_path: Path) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True, "init_logit_bias": -10}
    config["text_cfg"] |= {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    folder = save_folder(tmp_path, config)
    rows = load(folder, precision="fp32", batch_size=2).encode_texts(CAPTIONS)
    np.testing.assert_allclose(rows, reference_texts(folder, CAPTIONS), atol=1e-5)


def test_a_coca_gives_its_vectors_not_its_tokens(tmp_path: Path) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["vision_cfg"] |= {"attentional_pool": True, "output_tokens": True}
    config["vision_cfg"] |= {"attn_pooler_heads": 2, "attn_pooler_queries": 4}
    config["text_cfg"] |= {"context_length": 76, "embed_cls": True, "output_tokens": True}
    sizes = {"width": 64, "heads": 2, "layers": 1, "attn_pooler_heads": 2}
    config["multimodal_cfg"] = {"context_length": 76, "vocab_size": 49408, **sizes}
    folder, pictures = save_folder(tmp_path, config), random_pictures(2)
    clip = load(folder, precision="fp32")
    expected = reference_pictures(folder, pictures)
    np.testing.assert_allclose(clip.encode_images(pictures), expected, atol=1e-5)
    expected = reference_texts(folder, CAPTIONS)
    np.testing.assert_allclose(clip.encode_texts(CAPTIONS), expected, atol=1e-5)


def test_weights_of_another_architecture_are_refused_in_one_line(folder: Path) -> None:
    file = folder / "open_clip_model.safetensors"
    with pytest.raises(UserError, match="does not load") as refused:
        load_clip(clip_settings(model="ViT-B-32", pretrained=str(file)))
    assert "\n" not in str(refused.value)


def test_a_device_that_is_missing_is_named(folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="no CUDA device; use auto or cpu"):
        load(folder, device="cuda:1")


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a GPU")
def test_a_gpu_gives_the_same_vectors(folder: Path) -> None:
    pictures = random_pictures(5)
    clip = load(folder, device="cuda", precision="fp32")
    expected = reference_pictures(folder, pictures)
    np.testing.assert_allclose(clip.encode_images(pictures), expected, atol=1e-3)
    expected = reference_texts(folder, CAPTIONS)
    np.testing.assert_allclose(clip.encode_texts(CAPTIONS), expected, atol=1e-3)
