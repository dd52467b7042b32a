"""Text-to-picture recall of a model folder on the held-out photographs, by language.

Reads the folder through open_clip alone (as any user would) and Tux Paint's photographs; prints a
table. A text's rank is one more than the number of photographs nearer to it than its own.

    python -m tools.mini.evaluate --model curate/clip/mini
"""

import argparse
from pathlib import Path

import open_clip
import torch

from tools.mini.heldout import LANGUAGES, held_out, open_on_white
from tools.mini.materials import work_folder

CUTS = (1, 5, 10)


def recalls(texts: torch.Tensor, pictures: torch.Tensor) -> list[float]:
    """R@1, R@5, R@10 of unit rows, row i of one belonging to row i of the other."""
    scores = texts @ pictures.T
    ranks = (scores > scores.diag()[:, None]).sum(1)
    return [(ranks < cut).float().mean().item() for cut in CUTS]


def table(folder: Path, work: Path) -> str:
    """The recall table as Markdown."""
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    rows = held_out(work)
    with torch.inference_mode():
        images = torch.stack([prepare(open_on_white(row.path)) for row in rows])
        parts = [model.encode_image(part, normalize=True) for part in images.split(32)]
        pictures = torch.cat(parts)
        lines = [
            f"{len(rows)} photographs",
            "",
            "| language | R@1 | R@5 | R@10 |",
            "|---|---|---|---|",
        ]
        for language in LANGUAGES:
            tokens = tokenize([row.captions[language] for row in rows])
            found = recalls(model.encode_text(tokens, normalize=True), pictures)
            lines.append(f"| {language} | " + " | ".join(f"{r:.3f}" for r in found) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Recall on the held-out photographs.")
    parser.add_argument("--work")
    parser.add_argument("--model", type=Path, default=Path("curate/clip/mini"))
    arguments = parser.parse_args()
    print(table(arguments.model, work_folder(arguments.work)))
