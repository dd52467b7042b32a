"""The bundled artist: what `frenchcat sample PROMPT` draws with if no run is named.

Reads ``frenchcat/artist/``, which `python -m tools.artist export RUN` writes::

    config.json                           with the weights: a UNet2DConditionModel of diffusers
    diffusion_pytorch_model.safetensors   the averaged weights, float16
    state.json                            as a checkpoint's: settings, step, selection
    seen.safetensors                      its training images for receipts (seen.py), in 8 bit
    seen.parquet                          key, caption, url, creator, licence of each

The weights are float32 once they are loaded: a CPU computes in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.parquets import read_parquet
from frenchcat.train import checkpoint
from frenchcat.train.model import device_of, load_unet
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import artist_folder

if TYPE_CHECKING:
    from frenchcat.train.run import Parts
    from frenchcat.train.seen import Seen

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = "config.json"
STATE = "state.json"
SEEN, ABOUT_SEEN = "seen.safetensors", "seen.parquet"


def open_artist(
    device: str = "cpu", folder: Path | None = None
) -> tuple[Parts, checkpoint.State, Path]:
    """The bundled artist's parts, on a device; its state and folder, as `open_run` returns a run's.

    Raises `NotFound` if a file is missing, `UserError` if one is broken.
    """
    from frenchcat.train.run import make_parts

    found = artist_folder() if folder is None else folder
    missing = [name for name in (CONFIG, WEIGHTS, STATE) if not (found / name).exists()]
    if missing:
        raise NotFound(
            f"the bundled artist is not installed: {found} has no {missing[0]}; draw with a run of "
            f"your own: {shell_command('sample', 'RUN', 'PROMPT')}"
        )
    state = checkpoint.read_state(found)
    parts = make_parts(resolve(TrainSettings, state.settings, str(found / STATE)))
    try:
        unet = load_unet(found)
    except UserError as error:
        raise UserError(f"the bundled artist in {error}; reinstall frenchcat") from None
    parts.unet = unet.eval().to(device_of(device))
    return parts.to(device_of(device)), state, found


def export_artist(unet: Any, state: checkpoint.State, folder: Path) -> str:
    """Write an artist's files into a folder, the weights in float16; returns their SHA-256.

    `unet` holds the averaged weights. The state keeps neither paths nor prompts of its run.
    """
    from dataclasses import asdict, replace

    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    half = {name: one.to(torch.float16).contiguous() for name, one in unet.state_dict().items()}
    save_file(half, folder / WEIGHTS, metadata={"format": "pt"})  # as diffusers expects it
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes files readable by their owner only
    config = json.loads(unet.to_json_string())
    config.pop("_name_or_path", None)  # where the run lies
    write_whole(folder / CONFIG, json_text(config, indent=2) + "\n")
    settings = {name: dict(section) for name, section in state.settings.items()}
    settings["data"] |= {"dataset": None, "tars": None}
    settings["model"] |= {"start": None}
    settings["run"] |= {"out": "artist", "prompts": []}
    told = replace(state, settings=settings)
    write_whole(folder / STATE, json_text(asdict(told), indent=1) + "\n")
    return file_sha256(folder / WEIGHTS)


def write_seen(folder: Path, seen: Seen, about: list[dict[str, str | None]]) -> None:
    """Write an artist's training images beside it; `about` has url, creator, licence, caption.

    Vectors are kept in 8 bit with a scale each: their cosines change by less than .01.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    vectors = seen.vectors.astype(np.float32)
    scales = np.abs(vectors).max(1, keepdims=True).clip(min=1e-6) / 127
    tensors = {
        "vectors": np.rint(vectors / scales).astype(np.int8),
        "scales": scales.astype(np.float32),
        "thumbs": seen.thumbs,
    }
    save_file(tensors, folder / SEEN)
    (folder / SEEN).chmod(0o644)
    names = ("caption", "url", "creator", "licence")
    columns = {"key": list(seen.keys)} | {name: [row[name] for row in about] for name in names}
    pq.write_table(pa.table(columns), folder / ABOUT_SEEN, compression="zstd")


def read_seen(folder: Path) -> tuple[Seen, list[dict[str, str | None]]] | None:
    """What `write_seen` wrote; None if it is missing."""
    from safetensors.numpy import load_file

    from frenchcat.train.seen import Seen

    if not ((folder / SEEN).exists() and (folder / ABOUT_SEEN).exists()):
        return None
    tensors = load_file(folder / SEEN)
    vectors = tensors["vectors"].astype(np.float32) * tensors["scales"]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-6)
    rows = read_parquet(folder / ABOUT_SEEN).to_pylist()
    keys = tuple(str(row["key"]) for row in rows)
    return Seen(keys, vectors.astype(np.float16), tensors["thumbs"]), rows
