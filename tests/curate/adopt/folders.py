"""Folders as people have them: img2dataset's in its four layouts, clip-retrieval's."""

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from tests.sample.tars import write_tar
from tests.sample.vectors import unit_rows


def keys(count: int, shard: str = "00000") -> list[str]:
    return [f"{shard}{row:04d}" for row in range(count)]


def sidecar(
    names: Sequence[str], captions: Sequence[Any] | None, more: Mapping[str, Any] | None = None
) -> pa.Table:
    """img2dataset 1.47's columns; those of the list in front."""
    count = len(names)
    columns: dict[str, Any] = dict(more or {})
    if captions is not None:
        columns["caption"] = captions
    columns |= {
        "url": [f"http://example.org/{name}" for name in names],
        "key": list(names),
        "status": ["success"] * count,
        "error_message": pa.nulls(count, pa.string()),
        "width": [8] * count,
        "height": [8] * count,
        "original_width": [8] * count,
        "original_height": [8] * count,
        "exif": ["{}"] * count,
        "sha256": [f"{row:064x}" for row in range(count)],
    }
    return pa.table(columns)


def img2dataset(
    folder: Path,
    images: Sequence[bytes],
    captions: Sequence[Any] | None = None,
    *,
    layout: str = "webdataset",
    within: str = "",
    more: Mapping[str, Any] | None = None,
    shard: str = "00000",
    names: Sequence[str] | None = None,
) -> Path:
    """One shard as img2dataset lays it out; `within` stands before each name in the tar."""
    folder.mkdir(exist_ok=True)
    names = list(names or keys(len(images), shard))
    table = sidecar(names, captions, more)
    texts = None if captions is None else [str(caption) for caption in captions]
    if layout == "parquet":
        table = table.append_column("jpg", pa.array(images, pa.binary()))
        if texts is not None:
            table = table.append_column("txt", pa.array(texts))
    pq.write_table(table, folder / f"{shard}.parquet")
    (folder / f"{shard}_stats.json").write_text(json.dumps({"count": len(names)}))
    members = []
    for row, (name, data) in enumerate(zip(names, images, strict=True)):
        members.append((f"{within}{name}.jpg", data))
        if texts is not None:
            members.append((f"{within}{name}.txt", texts[row].encode()))
        members.append((f"{within}{name}.json", json.dumps({"key": name}).encode()))
    if layout == "webdataset":
        write_tar(folder / f"{shard}.tar", members)
    if layout == "files":
        (folder / shard).mkdir()
        for name, data in members:
            (folder / shard / name).write_bytes(data)
    if layout == "tfrecord":
        write_tfrecord(folder / f"{shard}.tfrecord", names, images, texts)
    return folder


def write_tfrecord(
    path: Path, names: Sequence[str], images: Sequence[bytes], texts: Sequence[str] | None
) -> None:
    """As tensorflow's TFRecordWriter does, through tensorboardX's and protobuf's own encoders."""
    from tensorboardX.record_writer import RecordWriter

    writer = RecordWriter(str(path))
    for row, (name, data) in enumerate(zip(names, images, strict=True)):
        features: dict[str, Any] = {"key": [name.encode()], "jpg": [data], "width": [8, -1]}
        if texts is not None:
            features["txt"] = [texts[row].encode()]
        writer.write(example(features))
    writer.close()


def example(features: Mapping[str, Sequence[bytes] | Sequence[int] | Sequence[float]]) -> bytes:
    """A tf.train.Example, encoded by protobuf."""
    message: Any = _example_class()()
    for name, values in features.items():
        feature = message.features.feature[name]
        kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
        getattr(feature, kind).value.extend(values)
    found: bytes = message.SerializeToString()
    return found


def _example_class() -> Any:
    """tensorflow/core/example/example.proto and feature.proto."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = file.message_type.add(name=name)
        for title, number, label, kind, of in fields:
            made.field.add(name=title, number=number, label=label, type=kind)
            if of:
                made.field[-1].type_name = of
        return made

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message("BytesList", ("value", 1, many, field.TYPE_BYTES, ""))
    message("FloatList", ("value", 1, many, field.TYPE_FLOAT, ""))
    message("Int64List", ("value", 1, many, field.TYPE_INT64, ""))
    message(
        "Feature",
        ("bytes_list", 1, one, field.TYPE_MESSAGE, ".tf.BytesList"),
        ("float_list", 2, one, field.TYPE_MESSAGE, ".tf.FloatList"),
        ("int64_list", 3, one, field.TYPE_MESSAGE, ".tf.Int64List"),
    )
    features = message(
        "Features", ("feature", 1, many, field.TYPE_MESSAGE, ".tf.Features.FeatureEntry")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=field.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=one, type=field.TYPE_MESSAGE, type_name=".tf.Feature"
    )
    message("Example", ("features", 1, one, field.TYPE_MESSAGE, ".tf.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


def clip_retrieval(
    folder: Path, *tables: pa.Table, images: NDArray[Any] | None = None, texts: bool = True
) -> Path:
    """Vectors of as many rows as the tables have, which become a file each."""
    count = sum(table.num_rows for table in tables)
    vectors = unit_rows(count) if images is None else images
    for name, rows in (("img_emb", vectors), ("text_emb", unit_rows(count, seed=1))):
        if name == "img_emb" or texts:
            (folder / name).mkdir(parents=True)
            np.save(folder / name / "0.npy", rows)
    (folder / "metadata").mkdir()
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"metadata/{number}.parquet")
    return folder


def rows(dataset: Dataset, shard: str = "00000") -> list[dict[str, Any]]:
    """A shard's sidecar."""
    return pq.read_table(dataset.path(f"shards/{shard}.parquet")).to_pylist()


def members(dataset: Dataset, shard: str = "00000") -> dict[str, bytes]:
    """The files of a shard's tar."""
    found = {}
    with tarfile.open(dataset.path(f"shards/{shard}.tar")) as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
    return found
