"""Put the trained parts together as an open_clip ``local-dir:`` folder.

Reads ``<work>/text.pt``, ``head.pt``, ``tokenizer/`` and the trunk's package; writes
open_clip_config.json, open_clip_model.safetensors (float16) and the tokenizer's two files.

    python -m tools.mini.export --to curate/clip/mini
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from tools.mini.materials import work_folder
from tools.mini.tower import build, config, vocabulary_size
from tools.mini.trunk import load_trunk

LOGIT_SCALE = math.log(50)


def export(work: Path, folder: Path) -> None:
    """Write the folder; its README.md is left as it is."""
    size = vocabulary_size(work)
    model = build(size)
    trunk = {k: v for k, v in load_trunk().state_dict().items() if "classifier" not in k}
    model.visual.trunk.load_state_dict(trunk)
    model.visual.head.load_state_dict(torch.load(work / "head.pt"))
    model.text.load_state_dict(torch.load(work / "text.pt"))
    model.logit_scale.data.fill_(LOGIT_SCALE)
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(halves, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(config(size), indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(work / "tokenizer" / name, folder / name)
    total = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the model folder.")
    parser.add_argument("--work")
    parser.add_argument("--to", type=Path, default=Path("curate/clip/mini"))
    arguments = parser.parse_args()
    export(work_folder(arguments.work), arguments.to)
