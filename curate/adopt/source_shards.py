"""img2dataset's shards as it left them: four layouts, one sidecar per shard in each.

Reads, of each shard, ``00000.parquet`` (url, key, status, …) and its images::

    webdataset   00000.tar         key.jpg, key.json, key.txt; also behind ``./`` or a folder
    files        00000/            the same files, not packed
    parquet      00000.parquet     the column jpg, png or webp
    tfrecord     00000.tfrecord    features key, jpg, txt

Writes nothing. Memory: one sample, and of a parquet a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate import tars
from frenchcat.curate.adopt import tfrecord
from frenchcat.curate.adopt.kept import IMAGE_ENDINGS
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.schema import distinct, sound
from frenchcat.curate.adopt.shards import Sample
from frenchcat.curate.adopt.texts import text_of
from frenchcat.curate.dataset import digest_of
from frenchcat.curate.errors import Damaged, UserError, first_line
from frenchcat.curate.parquets import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUTS = ("webdataset", "files", "parquet", "tfrecord")
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_BESIDE = "left out, files of no shard"


@dataclass(frozen=True)
class SourceShard:
    """A shard as img2dataset left it."""

    name: str
    layout: str
    sidecar: Path
    content: Path  # the tar, folder, parquet or tfrecord with its images

    @property
    def digest(self) -> str:
        """Tells other files of this name from these: their sizes."""
        sizes = [[path.name, path.stat().st_size] for path in (self.sidecar, self.content)]
        return digest_of([self.layout, *sizes])

    @property
    def size(self) -> int:
        """The bytes of its images."""
        inside = _files(self.content) if self.content.is_dir() else [self.content]
        return sum(path.stat().st_size for path in inside)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the rows: those of the parquet file but for the images."""
        import pyarrow as pa

        fields = [field for field in _schema(self.sidecar) if field.name in self._columns]
        return distinct(pa.schema(fields))

    @cached_property
    def _columns(self) -> list[str]:
        found = _schema(self.sidecar)
        images = {image_column(found), "txt" if "caption" in found.names else None}
        return [name for name in found.names if self.layout != "parquet" or name not in images]

    def rows(self, left_out: LeftOut) -> pa.Table:
        """The rows, without images; texts that are not UTF-8 are counted."""
        table = read_parquet(self.sidecar, columns=self._columns)
        return sound(table, left_out, self.sidecar.name)

    def samples(self) -> Iterator[Sample]:
        """Each key with its files: extension -> bytes. Raises `Damaged` where broken."""
        return _READERS[self.layout](self)


def find(folder: Path, left_out: LeftOut) -> list[SourceShard]:
    """The shards of a folder, sorted; none where it is not img2dataset's.

    Raises `UserError` for a tar or TFRecord file without its sidecar.
    """
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    plain = any(path.suffix[1:].lower() in IMAGE_ENDINGS for path in there)
    shards: list[SourceShard] = []
    for layout, ending in (("webdataset", ".tar"), ("tfrecord", ".tfrecord")):
        packed = [path for path in there if path.suffix == ending and path.is_file()]
        lacking = [path for path in packed if not path.with_suffix(".parquet").exists()]
        if lacking == packed and plain:
            continue  # files beside the images of a plain folder
        if lacking:
            raise UserError(
                f"{lacking[0]} has no {lacking[0].stem}.parquet beside it; restore it, or "
                "download again with img2dataset"
            )
        shards = [SourceShard(p.stem, layout, p.with_suffix(".parquet"), p) for p in packed]
        if shards:
            break
    if not shards:
        shards = [shard for path in there if (shard := _of_parquet(path)) is not None]
    used = {path for shard in shards for path in (shard.sidecar, shard.content)}
    used |= {shard.sidecar.with_name(f"{shard.name}_stats.json") for shard in shards}
    if shards:
        for path in there:
            if path not in used and path.name != "_tmp":
                left_out.add(_BESIDE, path.name)
    return shards


def _of_parquet(path: Path) -> SourceShard | None:
    """The shard of a sidecar with a folder beside it, or with the images in it."""
    if path.suffix != ".parquet" or not path.is_file():
        return None
    if path.with_suffix("").is_dir():
        return SourceShard(path.stem, "files", path, path.with_suffix(""))
    found = _schema(path)
    if "key" in found.names and image_column(found) is not None:
        return SourceShard(path.stem, "parquet", path, path)
    return None


def image_column(schema: pa.Schema) -> str | None:
    """The column of the images' bytes, as img2dataset names it."""
    import pyarrow as pa

    bytes_ = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return next(
        (
            field.name
            for field in schema
            if field.name.lower() in tars.IMAGE_EXTENSIONS
            and any(is_kind(field.type) for is_kind in bytes_)
        ),
        None,
    )


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).remove_metadata()
    except (pa.ArrowException, OSError) as error:
        said = first_line(error, 80)
        raise UserError(f"{path} is not a parquet file ({said}); restore it") from None


def _of_tar(shard: SourceShard) -> Iterator[Sample]:
    with open(shard.content, "rb") as file:
        for key, members in by_key(shard.content).items():
            sample: dict[str, bytes] = {}
            for member in members:
                file.seek(member.offset)
                sample.setdefault(member.extension, file.read(member.size))
            yield key, sample


def members_of(tar: Path) -> list[tars.Member]:
    """The members of a tar that another tool wrote. Raises `Damaged` with a cure for such."""
    with open(tar, "rb") as file:
        begin = file.read(6)
    packed = next((name for mark, name in _PACKED if begin.startswith(mark)), None)
    try:
        return tars.members(tar)
    except Damaged as error:
        if packed is not None:
            raise Damaged(f"{tar} is compressed ({packed}); unpack it first") from None
        said = str(error).rpartition("; ")[0]
        raise Damaged(f"{said}; restore it, or leave it and its parquet out") from None


def by_key(tar: Path) -> dict[str, list[tars.Member]]:
    """Key without folders -> its members, in the tar's order. Raises `Damaged`."""
    found: dict[str, list[tars.Member]] = {}
    for member in members_of(tar):
        found.setdefault(member.key.rpartition("/")[2], []).append(member)
    return found


def _of_folder(shard: SourceShard) -> Iterator[Sample]:
    sample: dict[str, bytes] = {}
    last = None
    for path in _files(shard.content):
        key, extension = tars.split(path.name)
        if key != last and last is not None:
            yield last, sample
            sample = {}
        sample[extension], last = path.read_bytes(), key
    if last is not None:
        yield last, sample


def _files(folder: Path) -> list[Path]:
    """The files of a folder that can be read, sorted; folders and links to nothing are none."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _of_tfrecord(shard: SourceShard) -> Iterator[Sample]:
    for example in tfrecord.examples(shard.content):
        kinds = (*tars.IMAGE_EXTENSIONS, "txt")
        sample = {name: example[name] for name in kinds if name in example}
        yield example.get("key", b"").decode("utf-8", "replace"), sample


def _of_column(shard: SourceShard) -> Iterator[Sample]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(shard.content)
    image = image_column(file.schema_arrow)
    assert image is not None
    for batch in file.iter_batches(64, columns=["key", image]):
        for row in batch.to_pylist():
            if row[image] is not None:
                yield text_of(row["key"]) or "", {image.lower(): row[image]}


_READERS = {
    "webdataset": _of_tar,
    "files": _of_folder,
    "tfrecord": _of_tfrecord,
    "parquet": _of_column,
}
