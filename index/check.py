"""Whether an index folder is what was built, and still fits the embeddings.

Reads sizes and markers (`check_files`, at each opening) or every byte (`verify`); writes nothing.
"""

from __future__ import annotations

from frenchcat.curate import embeddings
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import Damaged
from frenchcat.curate.markers import marker
from frenchcat.index.build import current, entries
from frenchcat.index.part import PartEntry


def check_files(dataset: Dataset, entry: PartEntry) -> None:
    """Raise `Damaged` if a part's files, or the vectors it reads, differ from what it records.

    Reads sizes and markers only, so that opening is fast; `verify` reads everything.
    """
    for relative, said in entry.files.items():
        size = dataset.size(relative)
        if size is not None and size != said["bytes"]:  # a missing one fails when it is opened
            raise _misaligned(dataset, f"{dataset.path(relative)} has {size} bytes", said["bytes"])
    if entry.exact:
        return  # it holds the numbers itself
    for shard, said in entry.shards.items():
        now = marker(dataset, embeddings.STAGE, shard)
        if now is None or now.digest != said["digest"]:
            raise Damaged(
                f"the vectors of shard {shard} of {dataset.root} changed after the index was made; "
                f"run: {shell_command('index', dataset.root)}"
            )


def verify(dataset: Dataset) -> None:
    """Read every file of the index and compare its digest. Raises `Damaged` if one differs."""
    for entry in entries(current(dataset) or {"parts": []}):
        for relative, said in sorted(entry.files.items()):
            with dataset.as_local(relative) as path:
                if file_sha256(path) != said["sha256"]:
                    raise Damaged(
                        f"{dataset.path(relative)} is not what was built; delete it and run: "
                        f"{shell_command('index', dataset.root)}"
                    )


def _misaligned(dataset: Dataset, found: str, expected: object) -> Damaged:
    return Damaged(
        f"{found} where index.json says {expected}; delete {dataset.path('index')} and run: "
        f"{shell_command('index', dataset.root)}"
    )
