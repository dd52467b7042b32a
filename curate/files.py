"""Which files each shard of a dataset has: one table, which everything that handles all files uses.

Reads and writes nothing. It is used by the catalog (what it joins), compaction (how a removed row
leaves each file), the verdicts (what makes them judge a shard again), lineage, and the names that a
user's score may not take. A test compares docs/on-disk.md with it. Add every file that holds rows
here: removed rows then leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Removal = Literal["row", "emptied", "member", "aligned", "counted", "remade"]
"""How a removed row leaves a file: the row goes; it is emptied, since its place numbers others; the
members of a tar go; the row of an array goes that lies beside a file's row; it is counted less;
the file goes, and is made again from all shards."""


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file that each shard has, or may have."""

    pattern: str  # its path, with {shard}
    stage: str  # that makes it
    removal: Removal
    key: str = "key"  # the column with the rows' keys, of a parquet file
    aligned: ShardFile | None = None  # of an array: the file whose rows its own lie beside
    counted: str = ""  # the count of the stage's marker that counts its rows
    joined: bool = False  # its columns are columns of the catalog: one row per stored image
    judged: bool = False  # verdicts depend on it
    columns: tuple[str, ...] = ()  # its columns beside the key, where these are always the same
    on_request: bool = False  # made by a command of its own, not by a build

    def of(self, shard: str) -> str:
        """Where a shard's file lies in the dataset."""
        return self.pattern.format(shard=shard)

    @property
    def folder(self) -> str:
        """The folder of all shards' files."""
        return self.pattern.rpartition("/")[0]


LIST = ShardFile("lists/{shard}.parquet", "lists", "emptied")
TAR = ShardFile("shards/{shard}.tar", "download", "member")
SIDECAR = ShardFile("shards/{shard}.parquet", "download", "row", judged=True)
STATS = ShardFile("shards/{shard}_stats.json", "download", "counted")
RIGHTS = ShardFile("rights/{shard}.parquet", "download", "row", judged=True)
RECHECKS = ShardFile("rechecks/{shard}.parquet", "recheck", "row", on_request=True)
"""Of `frenchcat recheck` alone: what sites say since the crawl."""
METADATA = ShardFile(
    "embeddings/metadata/metadata_{shard}.parquet",
    "embed",
    "row",
    key="image_path",
    counted="embedded",
)
IMG_EMB = ShardFile("embeddings/img_emb/img_emb_{shard}.npy", "embed", "aligned", aligned=METADATA)
TEXT_EMB = ShardFile(
    "embeddings/text_emb/text_emb_{shard}.npy", "embed", "aligned", aligned=METADATA
)
EMBEDDINGS = {"image": IMG_EMB, "text": TEXT_EMB}
"""Modality -> the file of its vectors."""
NOT_EMBEDDED = ShardFile(
    "embeddings/failed/failed_{shard}.parquet", "embed", "row", counted="failed", judged=True
)
SCORES = ShardFile(
    "scores/{shard}.parquet", "score", "row", counted="scored", joined=True, judged=True
)
DUPLICATES = ShardFile(
    "duplicates/{shard}.parquet",
    "dedup",
    "remade",
    joined=True,
    judged=True,
    columns=(
        *("cluster", "duplicate_of", "kind", "multiplicity"),
        *("also_seen", "also_seen_domains", "contradicting", "also_seen_as", "caption_distance"),
        "image_cluster",
    ),
)
VERDICTS = ShardFile(
    "verdicts/{shard}.parquet",
    "verdict",
    "row",
    joined=True,
    columns=("keep", "reason"),
)
LATENT_ROWS = ShardFile(
    "latents/rows/rows_{shard}.parquet", "latents", "row", counted="images", on_request=True
)
LATENTS = ShardFile(
    "latents/latents/latents_{shard}.npy",
    "latents",
    "aligned",
    aligned=LATENT_ROWS,
    on_request=True,
)
TEXT_ROWS = ShardFile(
    "text_states/rows/rows_{shard}.parquet",
    "text_states",
    "row",
    counted="captions",
    on_request=True,
)
TEXT_STATES = ShardFile(
    "text_states/states/states_{shard}.npy",
    "text_states",
    "aligned",
    aligned=TEXT_ROWS,
    on_request=True,
)
TEXT_POOLED = ShardFile(
    "text_states/pooled/pooled_{shard}.npy",
    "text_states",
    "aligned",
    aligned=TEXT_ROWS,
    on_request=True,
)
SHARD_FILES = (
    *(LIST, TAR, SIDECAR, STATS, RIGHTS, RECHECKS, METADATA, IMG_EMB, TEXT_EMB, NOT_EMBEDDED),
    *(SCORES, DUPLICATES, VERDICTS),
    *(LATENT_ROWS, LATENTS, TEXT_ROWS, TEXT_STATES, TEXT_POOLED),
)
"""All of them, in the order in which they are made."""
CAPTION_SIMILARITY = "caption_similarity"
RIGHTS_COLUMNS = ("opted_out", "synthetic", "licence_name")
"""Columns that the catalog makes of a row's signals in `RIGHTS`."""
DERIVED = ("shard", "domain", *RIGHTS_COLUMNS, CAPTION_SIMILARITY)
"""Columns that the catalog works out."""


def joined() -> dict[str, ShardFile]:
    """Folder -> the file whose columns the catalog joins, in the order of the columns."""
    return {file.folder: file for file in SHARD_FILES if file.joined}
