"""img2dataset's folders in all layouts: no image lost, no caption at another row."""

import gzip
import json
import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate import tars
from frenchcat.curate.adopt import ColumnNames, adopt
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.download.list_source import Reading
from frenchcat.curate.errors import UserError
from frenchcat.curate.info import info
from tests.curate.adopt.folders import example, img2dataset, keys, members, rows, sidecar
from tests.sample.pictures import picture
from tests.sample.tars import write_tar
from tests.trees import tree_digest

IMAGES = [picture(number, kind="JPEG") for number in range(4)]
WORDS = [f"picture {number}" for number in range(4)]
LAYOUTS = ["webdataset", "files", "parquet", "tfrecord"]


@pytest.mark.parametrize("captions", [WORDS, None], ids=["captions", "bare"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_its_images_and_captions_row_for_row(
    tmp_path: Path, layout: str, captions: list[str] | None
) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, captions, layout=layout)
    before = tree_digest(folder)
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.kind, adopted.rows) == ("img2dataset", 4)
    assert tree_digest(folder) == before
    found = members(adopted.dataset)
    assert [found[f"{key}.jpg"] for key in keys(4)] == IMAGES
    told = rows(adopted.dataset)
    assert [row["key"] for row in told] == keys(4)
    assert [row["caption"] for row in told] == (captions or [None] * 4)
    assert len({row["uid"] for row in told}) == 4
    if captions:
        assert [found[f"{key}.txt"].decode() for key in keys(4)] == captions
    else:
        assert not any(name.endswith(".txt") for name in found)
        assert any("there is no caption column" in note for note in adopted.notes)
    assert json.loads(found["000000002.json"])["key"] == "000000002"


@pytest.mark.parametrize("within", ["./", "00000/", "a/b/"])
def test_a_shard_that_was_packed_again_has_plain_names_now(tmp_path: Path, within: str) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, within=within)
    found = members(adopt(folder, tmp_path / "d").dataset)
    assert sorted(found) == sorted(f"{k}.{e}" for k in keys(4) for e in ("jpg", "txt", "json"))
    assert [found[f"{key}.jpg"] for key in keys(4)] == IMAGES


def test_a_tar_as_ours_is_linked_though_its_sidecar_is_completed(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    adopt(folder, tmp_path / "d")
    assert (tmp_path / "d/shards/00000.tar").samefile(folder / "00000.tar")
    assert not (tmp_path / "d/shards/00000.parquet").samefile(folder / "00000.parquet")


def test_captions_of_another_column_are_those_of_the_tar_too(tmp_path: Path) -> None:
    alt = [f"alt {number}" for number in range(4)]
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, more={"alt_words": alt})
    adopted = adopt(folder, tmp_path / "d", columns=ColumnNames(caption="alt_words"))
    assert [row["caption"] for row in rows(adopted.dataset)] == alt
    assert [row["list_caption"] for row in rows(adopted.dataset)] == WORDS
    assert members(adopted.dataset)["000000003.txt"] == b"alt 3"
    assert any("'alt_words'" in note for note in adopted.notes)
    with pytest.raises(UserError, match=r"no column 'none' \(caption_column\); the columns are: "):
        adopt(folder, tmp_path / "e", columns=ColumnNames(caption="none"))


def test_a_uid_that_is_none_is_kept_beside_ours(tmp_path: Path) -> None:
    hexes = [f"{n:032x}" for n in range(4)]
    for name, uids in (("hex", hexes), ("numbers", list(range(4))), ("some", [*hexes[:3], None])):
        folder = img2dataset(tmp_path / name, IMAGES, WORDS, more={"uid": uids})
        told = rows(adopt(folder, tmp_path / f"{name}-d").dataset)
        if name == "hex":
            assert [row["uid"] for row in told] == hexes
        else:
            assert [row["list_uid"] for row in told] == uids
            assert all(re.fullmatch("[0-9a-f]{32}", row["uid"]) for row in told)


def test_texts_of_the_tar_are_captions_where_there_is_no_column(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    table = pq.read_table(folder / "00000.parquet").drop_columns(["caption"])
    pq.write_table(table, folder / "00000.parquet")
    adopted = adopt(folder, tmp_path / "d")
    assert [row["caption"] for row in rows(adopted.dataset)] == WORDS


@pytest.mark.parametrize(
    ("captions", "first", "note"),
    [
        ([[b"a cat", b"a dog"], [b""], [], None], ["a cat", None, None, None], "which the first"),
        ([b"a cat", b"caf\xc3\xa9", b"", None], ["a cat", "café", "", None], None),
        ([b"a cat", b"caf\xe9", b"", None], ["a cat", "caf\ufffd", "", None], "not UTF-8"),
        ([["a", "b", "c"], ["d"], None, []], ["a", "d", None, None], "first was taken: 2 "),
    ],
)
def test_captions_of_any_type_become_text(
    tmp_path: Path, captions: list[object], first: list[str | None], note: str | None
) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, captions)
    adopted = adopt(folder, tmp_path / "d")
    assert [row["caption"] for row in rows(adopted.dataset)] == first
    assert note is None or any(note in said for said in adopted.notes)
    found = members(adopted.dataset)  # an export copies these
    texts = [found.get(f"{key}.txt", b"").decode() for key in keys(4)]
    assert texts == [text or "" for text in first]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_of_several_captions_are_rows_with_the_image_each(tmp_path: Path, layout: str) -> None:
    captions = [["a", "a cat"], ["b"], None, [" ", "longer", "long"]]
    folder = img2dataset(tmp_path / "theirs", IMAGES, captions, layout=layout)
    names = ColumnNames(reading=Reading(captions="all"))
    adopted = adopt(folder, tmp_path / "d", columns=names)
    told = rows(adopted.dataset)
    assert [(row["original_key"], row["caption"]) for row in told] == [
        ("000000000", "a"),
        ("000000000", "a cat"),
        ("000000001", "b"),
        ("000000002", None),
        ("000000003", "longer"),
        ("000000003", "long"),
    ]
    found = members(adopted.dataset)
    images = [found[f"{row['key']}.jpg"] for row in told]
    assert images == [IMAGES[n] for n in (0, 0, 1, 2, 3, 3)]
    assert found["000000005.txt"] == b"long"
    assert any("captions are rows of their own" in note for note in adopted.notes)
    longest = ColumnNames(reading=Reading(captions="longest"))
    taken = rows(adopt(folder, tmp_path / "e", columns=longest).dataset)
    assert [row["caption"] for row in taken] == ["a cat", "b", None, "longer"]


def test_a_row_without_its_image_fails_and_an_image_without_a_row_is_named(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    names = ["000000000", "000000001", "000000003", "000000777"]
    write_tar(folder / "00000.tar", [(f"{n}.jpg", d) for n, d in zip(names, IMAGES, strict=True)])
    adopted = adopt(folder, tmp_path / "d")
    assert adopted.rows == 3
    assert info(adopted.dataset).failed_reasons == {"missing_file": 1}
    assert [row["key"] for row in rows(adopted.dataset) if row["status"] != "success"] == [
        "000000002"
    ]
    said = "\n".join(adopted.notes)
    assert "000000002" in said
    assert "000000777" in said
    assert "000000777.jpg" not in members(adopted.dataset)


def test_files_of_no_shard_are_named(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    pq.write_table(sidecar(keys(4, "00001"), WORDS), folder / "00001.parquet")
    (folder / "README.md").write_text("about")
    adopted = adopt(folder, tmp_path / "d")
    assert any("00001.parquet" in note and "README.md" in note for note in adopted.notes)


def test_keys_of_another_tool_are_replaced_and_kept_aside(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    for shard in ("cats-1", "cats-10"):
        names = [f"{shard}x{n}" for n in range(4)]
        img2dataset(folder, IMAGES, WORDS, shard=shard, names=names)
    adopted = adopt(folder, tmp_path / "d")
    assert adopted.dataset.shards() == ["00000", "00001"]
    told = rows(adopted.dataset, "00001")
    assert [row["key"] for row in told] == keys(4, "00001")
    assert [row["original_key"] for row in told] == [f"cats-10x{n}" for n in range(4)]
    assert members(adopted.dataset, "00001")["000010003.jpg"] == IMAGES[3]
    assert json.loads(members(adopted.dataset, "00001")["000010003.json"])["key"] == "000010003"


def test_columns_that_differ_in_type_between_shards_are_one(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    for number, values in enumerate(([1, 2, None, 4], ["a", "b", "c", None], [[1], [], None, [2]])):
        shard = f"0000{number}"
        img2dataset(
            folder, IMAGES, WORDS, shard=shard, more={"seed": values, f"only{number}": values}
        )
    with Catalog(adopt(folder, tmp_path / "d").dataset) as catalog:
        table = catalog.table(["seed", "only0"], order="key")
    assert table["seed"].to_pylist() == [
        *("1", "2", None, "4"),
        *("a", "b", "c", None),
        *("[1]", "[]", None, "[2]"),
    ]
    assert table["only0"].to_pylist() == [1, 2, None, 4] + [None] * 8


def test_members_of_other_formats_become_png(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    gif = picture(9, kind="GIF")
    data = [
        *((f"{k}.jpg", d) for k, d in zip(keys(3), IMAGES, strict=False)),
        ("000000003.gif", gif),
    ]
    write_tar(folder / "00000.tar", data)
    adopted = adopt(folder, tmp_path / "d")
    assert members(adopted.dataset)["000000003.png"].startswith(b"\x89PNG")
    assert any("converted to PNG: 1" in note for note in adopted.notes)


def test_a_tfrecord_cut_short_or_of_other_bytes_is_refused(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, layout="tfrecord")
    path = folder / "00000.tfrecord"
    whole = path.read_bytes()
    for damaged in (whole[:-20], b"\1" + whole[1:], whole[:5]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"broken TFRecord file: .*00000\.tfrecord"):
            adopt(folder, tmp_path / "d")
        assert not (tmp_path / "d").exists()


def test_an_example_is_read_as_protobuf_writes_it() -> None:
    from frenchcat.curate.adopt.tfrecord import _features, crc32c

    large = bytes(range(256)) * 1000
    features = {"jpg": [large], "key": [b"1"], "none": [b""], "n": [1, -5], "f": [0.5, 2.0]}
    assert _features(example(features)) == {"jpg": large, "key": b"1", "none": b""}
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4 names this polynomial's check value


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_that_was_stopped_goes_on_and_ends_the_same(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "theirs"
    for shard in ("00000", "00001"):
        img2dataset(folder, IMAGES, WORDS, shard=shard, layout=layout)
    adopt(folder, tmp_path / "d")
    whole = tree_digest(tmp_path / "d")
    (tmp_path / "d/stages/download/00001.json").unlink()
    adopt(folder, tmp_path / "d")
    assert tree_digest(tmp_path / "d") == whole


def test_a_list_s_own_column_filename_is_kept(tmp_path: Path) -> None:
    names = {"filename": ["a", "b", "c", "d"]}
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, more=names)
    told = rows(adopt(folder, tmp_path / "d").dataset)
    assert [row["filename"] for row in told] == names["filename"]


def test_large_strings_and_categories_are_text(tmp_path: Path) -> None:
    captions = pa.array(WORDS, pa.large_string()).dictionary_encode()
    folder = img2dataset(tmp_path / "theirs", IMAGES, captions)
    assert [row["caption"] for row in rows(adopt(folder, tmp_path / "d").dataset)] == WORDS


@pytest.mark.parametrize("name", ["00000.a", "00000/a", "00000 a", "00000\n", "00000" + "x" * 150])
def test_keys_that_are_no_names_for_files_are_replaced(tmp_path: Path, name: str) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES[:1], WORDS[:1], layout="parquet", names=[name])
    adopted = adopt(folder, tmp_path / "d")
    (row,) = rows(adopted.dataset)
    assert (row["key"], row["original_key"]) == ("000000000", name)
    assert members(adopted.dataset)["000000000.jpg"] == IMAGES[0]
    assert any("cannot be file names" in note for note in adopted.notes)


def test_keys_that_became_numbers_find_their_images(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    table = pq.read_table(folder / "00000.parquet")
    at = table.schema.get_field_index("key")
    pq.write_table(table.set_column(at, "key", pa.array(range(4))), folder / "00000.parquet")
    adopted = adopt(folder, tmp_path / "d")
    found = members(adopted.dataset)
    assert [found[f"{key}.jpg"] for key in keys(4)] == IMAGES
    assert [row["original_key"] for row in rows(adopted.dataset)] == list("0123")


def test_further_files_of_a_sample_are_kept_or_named(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES[:1], WORDS[:1])
    more = {"000000000.seg": b"kept", "000000000.png": picture(9), f"000000000.{'e' * 150}": b"x"}
    with tarfile.open(folder / "00000.tar", "a") as tar:
        for name, data in more.items():
            tars.add(tar, name, data)
    adopted = adopt(folder, tmp_path / "d")
    found = members(adopted.dataset)
    assert sorted(found) == [f"000000000.{e}" for e in ("jpg", "json", "seg", "txt")]
    said = "\n".join(adopted.notes)
    assert "further images of a sample: 1 (000000000.png)" in said
    assert "too long for a tar: 1 (000000000.eee" in said


def not_utf8(texts: list[bytes]) -> pa.Array:
    """A column of texts as careless writers leave it."""
    given = pa.array(texts, pa.binary())
    return pa.StringArray.from_buffers(len(given), *given.buffers()[1:])


def test_texts_that_are_not_utf_8_are_mended_and_counted(tmp_path: Path) -> None:
    odd = not_utf8([b"a", b"caf\xe9", b"c", b"\xff"])
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, more={"title": odd})
    table = pq.read_table(folder / "00000.parquet")
    at = table.schema.get_field_index("caption")
    pq.write_table(table.set_column(at, "caption", odd), folder / "00000.parquet")
    adopted = adopt(folder, tmp_path / "d")
    for name in ("caption", "title"):
        assert [row[name] for row in rows(adopted.dataset)] == ["a", "caf\ufffd", "c", "\ufffd"]
    assert any("not UTF-8, shown as U+FFFD: 4 (" in note for note in adopted.notes)


def test_a_time_beyond_the_nanoseconds_of_another_file_is_refused(tmp_path: Path) -> None:
    fine, late = pa.array([1] * 4, pa.timestamp("ns")), pa.array([253_370_764_800] * 4)
    for shard, times in (("00000", fine), ("00001", late.cast(pa.timestamp("s")))):
        img2dataset(tmp_path / "theirs", IMAGES, WORDS, more={"at": times}, shard=shard)
    with pytest.raises(UserError, match=r"^00001\.parquet: 9999-01-01 00:00:00 in the column 'at'"):
        adopt(tmp_path / "theirs", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_texts_inside_lists_and_structs_are_mended_and_bytes_stay(tmp_path: Path) -> None:
    odd, raw = not_utf8([b"a", b"caf\xe9", b"c", b"\xff"]), [b"\xff\x00"] * 4
    more = {
        "tags": pa.ListArray.from_arrays([0, 2, 3, 4, 4], odd),
        "about": pa.StructArray.from_arrays([odd, pa.array(raw)], ["title", "raw"]),
    }
    adopted = adopt(img2dataset(tmp_path / "theirs", IMAGES, WORDS, more=more), tmp_path / "d")
    found = rows(adopted.dataset)
    assert [row["tags"] for row in found] == [["a", "caf\ufffd"], ["c"], ["\ufffd"], []]
    assert [row["about"]["title"] for row in found] == ["a", "caf\ufffd", "c", "\ufffd"]
    assert [row["about"]["raw"] for row in found] == raw
    assert any("not UTF-8, shown as U+FFFD: 4 (" in note for note in adopted.notes)


def test_links_to_nothing_in_a_folder_of_files_are_missing(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS, layout="files")
    (folder / "00000/000000001.jpg").unlink()
    (folder / "00000/000000001.jpg").symlink_to("nowhere")
    adopted = adopt(folder, tmp_path / "d")
    failed = {row["key"]: row["error_message"] for row in rows(adopted.dataset)}
    assert failed.pop("000000001") == "missing_file: 00000"
    assert set(failed.values()) == {None}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
@pytest.mark.parametrize("name", ["jpg", "JPG", "PNG"])
def test_a_column_of_images_of_any_case_and_size(
    tmp_path: Path, name: str, kind: pa.DataType
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    table = sidecar(keys(4), WORDS).append_column(name, pa.array(IMAGES, kind))
    pq.write_table(table, folder / "00000.parquet")
    found = members(adopt(folder, tmp_path / "d").dataset)
    assert [found[f"{key}.{name.lower()}"] for key in keys(4)] == IMAGES


def test_a_compressed_or_broken_tar_is_refused_with_a_cure(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "theirs", IMAGES, WORDS)
    tar = folder / "00000.tar"
    whole = tar.read_bytes()
    for data, said in (
        (gzip.compress(whole), r"00000\.tar is compressed \(gzip\); unpack it first"),
        (whole[:700], r"00000\.tar \(.*\); restore it, or leave it and its parquet out$"),
    ):
        tar.write_bytes(data)
        with pytest.raises(UserError, match=said):
            adopt(folder, tmp_path / "d")
