"""Small open_clip models with random weights, saved as a `local-dir:` folder or a checkpoint."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.config import resolve

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 64,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize_mode": "shortest"}
CAPTIONS = [
    "a french cat",
    "",
    "two grey cats asleep on a windowsill in the rain, watched by a dog",
    "cat",
    " ".join(["a very long caption"] * 40),  # longer than the context
]


def clip_settings(**values: object) -> ClipSettings:
    """Settings by name, checked."""
    return resolve(ClipSettings, values)


def random_model(config: dict[str, Any], seed: int = 0) -> Any:
    """An open_clip model of a configuration; weights drawn so wide that inputs tell apart."""
    import open_clip

    torch.manual_seed(seed)
    config = copy.deepcopy(config)
    custom = config.pop("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "multimodal_cfg" in config:
        kind = open_clip.CoCa
    return widened(kind(**config)).eval()


def widened(model: Any) -> Any:
    """The same model with larger random weights, so that different inputs give other vectors."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim >= 2:
                value.mul_(3)
            elif name.endswith("bias"):
                value.normal_(std=0.1)
    return model


def save_folder(folder: Path, config: dict[str, Any] = CONFIG, seed: int = 0) -> Path:
    """A `local-dir:` folder as open_clip's `push_to_hf_hub` lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    state = random_model(config, seed).state_dict()
    whole_rows = {name: value.contiguous() for name, value in state.items()}
    save_file(whole_rows, folder / "open_clip_model.safetensors")
    return folder


def reference(folder: Path) -> tuple[Any, Any, Any]:
    """open_clip's own model, preprocessing and tokenizer of a folder, in float32."""
    import open_clip

    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


def reference_pictures(folder: Path, pictures: list[Image.Image]) -> Any:
    """(N, D) float32 as open_clip computes them, one picture at a time."""
    model, preprocess, _ = reference(folder)
    with torch.inference_mode():
        rgb = [picture.convert("RGB") for picture in pictures]
        rows = [model.encode_image(preprocess(each)[None], normalize=True) for each in rgb]
    return torch.cat(rows).numpy()


def reference_texts(folder: Path, texts: list[str]) -> Any:
    """(N, D) float32 as open_clip computes them, one text at a time and at full length."""
    model, _, tokenizer = reference(folder)
    with torch.inference_mode():
        rows = [model.encode_text(tokenizer([text]), normalize=True) for text in texts]
    return torch.cat(rows).numpy()
