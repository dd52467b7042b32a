"""What a model's name means: which weights file, from where, and its digest.

Reads a folder, a checkpoint file, or the Hugging Face cache (and its hub, where it may be asked);
writes nothing. Random weights are never used: without a weights file there is a `UserError` that
says which one was wanted and how to give it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import ModelUnavailable, UserError, first_line

MINI = Path(__file__).resolve().parent / "mini"
_CONFIG = "open_clip_config.json"
# The orders in which open_clip looks, so that the digest is of the file that it loads.
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER = ("tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "vocab.txt")


@dataclass(frozen=True)
class ClipWeights:
    """A model that can be loaded."""

    name: str  # as it is shown and stored: mini, ViT-B-32/laion2b_s34b_b79k, …
    open_clip_name: str  # what open_clip.create_model takes
    checkpoint: str | None  # its `pretrained` argument
    digest: str  # SHA-256 over configuration, weights and the folder's tokenizer
    dimension: int  # D of the embeddings
    quick_gelu: bool = False  # the tag's weights were trained with it; an architecture may not say
    bundled: bool = False  # `mini`, by its name: it has towers of its own


def find_weights(settings: ClipSettings) -> ClipWeights:
    """The weights that the settings name. Raises `UserError` where they cannot be had."""
    if settings.model == "mini":
        return replace(_folder(MINI, "mini"), bundled=True)
    if settings.model.startswith("local-dir:"):
        folder = Path(settings.model.removeprefix("local-dir:")).expanduser()
        return _folder(folder, f"local-dir:{folder.name}")
    if settings.model.startswith("hf-hub:"):
        return _hub(settings.model)
    return _architecture(settings)


def _folder(folder: Path, name: str) -> ClipWeights:
    config = folder / _CONFIG
    if not config.is_file():
        raise UserError(f"{folder} contains no {_CONFIG}; give a folder that open_clip saved")
    found = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if found is None:
        raise UserError(f"{folder} contains no weights; expected {folder / _WEIGHTS[0]}")
    dimension = _dimension(config)
    tokenizer = [folder / file for file in _TOKENIZER if (folder / file).is_file()]
    digest = _joined(config, found, *tokenizer)
    return ClipWeights(name, f"local-dir:{folder}", None, digest, dimension)


def _hub(model: str) -> ClipWeights:
    repository = model.removeprefix("hf-hub:")
    try:
        config = Path(_from_hub(repository, _CONFIG))
        weights = next((path for file in _HUB_WEIGHTS if (path := _try_hub(repository, file))), "")
        if not weights:
            raise FileNotFoundError(f"it has none of {', '.join(_HUB_WEIGHTS)}")
    except Exception as error:  # the hub's client raises a dozen kinds for "not there"
        raise _unavailable(model, f"{repository}/{_HUB_WEIGHTS[0]}", error) from None
    return ClipWeights(model, model, None, _joined(config, Path(weights)), _dimension(config))


def _architecture(settings: ClipSettings) -> ClipWeights:
    import open_clip

    model = settings.model
    if model not in open_clip.list_models():
        near = difflib.get_close_matches(model, open_clip.list_models(), n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"clip.model {model!r} is not an open_clip architecture{hint}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    given = settings.pretrained
    if given is None:
        raise UserError(
            f"clip.model {model} needs weights: --set clip.pretrained=FILE or one of its tags: "
            f"{', '.join(tags) or 'none known'}"
        )
    dimension = int(open_clip.get_model_config(model)["embed_dim"])
    if Path(given).is_file():
        digest = hashlib.sha256(f"{model}\n{_digest(Path(given))}".encode()).hexdigest()
        return ClipWeights(f"{model}/{Path(given).name}", model, str(given), digest, dimension)
    if given not in tags:
        near = difflib.get_close_matches(given, tags, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else f"; tags: {', '.join(tags)}"
        raise UserError(f"clip.pretrained {given!r} is neither a file nor a tag of {model}{hint}")
    path = _download(model, given)
    digest = hashlib.sha256(f"{model}\n{_digest(Path(path))}".encode()).hexdigest()
    quick_gelu = bool(open_clip.get_pretrained_cfg(model, given).get("quick_gelu"))
    return ClipWeights(f"{model}/{given}", model, given, digest, dimension, quick_gelu)


def _download(model: str, tag: str) -> str:
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    source = get_pretrained_cfg(model, tag)
    wanted = source.get("hf_hub") or source.get("url") or tag
    try:
        path = download_pretrained(source, prefer_hf_hub=True)
    except Exception as error:  # see _hub
        raise _unavailable(f"{model}/{tag}", wanted, error) from None
    if not path:
        raise _unavailable(f"{model}/{tag}", wanted, FileNotFoundError(wanted))
    return str(path)


def _unavailable(model: str, wanted: str, error: Exception) -> ModelUnavailable:
    why = first_line(error, 120)
    return ModelUnavailable(
        f"the weights of {model} cannot be had ({why}); wanted is {wanted.rstrip('/')}: fetch it "
        "where there is a network and give it with --set clip.pretrained=FILE "
        "(or --set clip.model=local-dir:FOLDER)"
    )


def _from_hub(repository: str, file: str) -> str:
    from huggingface_hub import hf_hub_download

    return str(hf_hub_download(repository, file))


def _try_hub(repository: str, file: str) -> str | None:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return _from_hub(repository, file)
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None


def _dimension(config: Path) -> int:
    try:
        return int(json.loads(config.read_text(encoding="utf-8"))["model_cfg"]["embed_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{config} names no model_cfg.embed_dim ({error!r})") from None


def _joined(*files: Path) -> str:
    return hashlib.sha256("\n".join(map(_digest, files)).encode()).hexdigest()


def _digest(file: Path) -> str:
    status = file.stat()
    return _digest_of(file, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(32)
def _digest_of(file: Path, state: tuple[int, ...]) -> str:
    """A file's SHA-256, read once in a process while the file stays as it is."""
    return file_sha256(file)
