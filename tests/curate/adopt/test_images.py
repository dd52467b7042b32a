"""Plain folders of images with their texts: a row for each image, every other file named."""

import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frenchcat.curate import tars
from frenchcat.curate.adopt import Adopted, ColumnNames, adopt
from frenchcat.curate.adopt.kept import NotKept, kept
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.download.list_source import Reading
from frenchcat.curate.errors import UserError
from frenchcat.curate.image import open_image, plugins
from frenchcat.curate.info import info
from frenchcat.curate.select import Choice, select
from tests.curate.adopt.folders import members, rows
from tests.sample.odd_images import drawn, people_have, saved
from tests.sample.pictures import noise, picture
from tests.trees import tree_digest


def put(folder: Path, **files: bytes | str) -> Path:
    """Files under names in which __ stands for a slash and _ for a dot."""
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def captions(adopted: Adopted) -> dict[str, str | None]:
    return {row["file_name"]: row["caption"] for row in rows(adopted.dataset)}


def test_texts_beside_images_are_their_captions(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "f",
        a_jpg=picture(0, kind="JPEG"),
        a_txt="a cat\n",
        sub__b_PNG=picture(1),
        sub__b_txt="ein Kätzchen",
        c_webp=picture(2, kind="WEBP"),
        c_caption="\ufeffun chat",
    )
    before = tree_digest(folder)
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.kind, adopted.rows, adopted.notes) == ("a folder of images", 3, ())
    assert tree_digest(folder) == before
    assert captions(adopted) == {"a.jpg": "a cat", "c.webp": "un chat", "sub/b.PNG": "ein Kätzchen"}
    found = members(adopted.dataset)
    assert found["000000000.jpg"] == picture(0, kind="JPEG")
    assert found["000000001.webp"] == picture(2, kind="WEBP")
    assert found["000000002.png"] == picture(1)
    assert found["000000002.txt"].decode() == "ein Kätzchen"
    told = rows(adopted.dataset)[2]
    assert told["sha256"] == told["stored_sha256"] == hashlib.sha256(picture(1)).hexdigest()
    assert (told["width"], told["height"], told["status"], told["url"]) == (8, 8, "success", None)
    assert len(select(adopted.dataset, "all", Choice(where="width = 8"))) == 3


def test_what_is_not_taken_is_counted_and_named(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "f",
        a_jpg=picture(0, kind="JPEG"),
        a_txt="a cat",
        alone_jpg=picture(1, kind="JPEG"),
        lost_txt="no image",
        one_psd=b"8BPS",
        two_psd=b"8BPS",
        broken_jpg=b"<html>",
        empty_png=b"",
        cut_png=picture(3)[:20],
        tied_bmp=picture(4, kind="BMP"),
    )
    (folder / ".DS_Store").write_bytes(b"x")
    adopted = adopt(folder, tmp_path / "d")
    said = "\n".join(adopted.notes)
    for part in (
        "files of no known kind: 2 (one.psd, two.psd)",
        "hidden files: 1 (.DS_Store)",
        "texts without an image: 1 (lost.txt)",
        "images without a text: 5 (alone.jpg, broken.jpg, cut.png, …)",
        "not an image or is damaged, kept as failed: 3 (broken.jpg: not_an_image, cut.png: "
        "undecodable",
        "converted to PNG (all others are kept byte for byte): 1 (tied.bmp)",
    ):
        assert part in said
    assert info(adopted.dataset).failed_reasons == {"not_an_image": 2, "undecodable": 1}
    assert adopted.rows == 3
    assert captions(adopted)["alone.jpg"] is None


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_metadata_of_hugging_face_s_imagefolder(tmp_path: Path, kind: str) -> None:
    listed = [
        {"file_name": "b.png", "text": 'a "blue", one', "seed": 7, "url": "http://a.org/b"},
        {"file_name": "sub/a.png", "text": "second", "seed": 8, "url": "http://a.org/a"},
        {"file_name": "gone.png", "text": "third", "seed": 9, "url": "http://a.org/c"},
    ]
    written = "".join(json.dumps(row) + "\n" for row in listed)
    if kind == "csv":
        lines = ["file_name,text,seed,url", 'b.png,"a ""blue"", one",7,http://a.org/b']
        lines += [f"{r['file_name']},{r['text']},{r['seed']},{r['url']}" for r in listed[1:]]
        written = "\n".join(lines) + "\n"
    folder = put(
        tmp_path / "f", b_png=picture(1), sub__a_png=picture(0), extra_png=picture(2), extra_txt="x"
    )
    (folder / f"metadata.{kind}").write_text(written)
    adopted = adopt(folder, tmp_path / "d")
    told = rows(adopted.dataset)
    assert [(row["file_name"], row["caption"], row["url"]) for row in told] == [
        ("b.png", 'a "blue", one', "http://a.org/b"),
        ("sub/a.png", "second", "http://a.org/a"),
        ("gone.png", "third", "http://a.org/c"),
        ("extra.png", "x", None),
    ]
    assert [row["seed"] for row in told] == [7, 8, 9, None]
    assert info(adopted.dataset).failed_reasons == {"missing_file": 1}
    assert any("gone.png" in note for note in adopted.notes)
    found = members(adopted.dataset)
    assert [found[f"00000000{n}.png"] for n in (0, 1, 3)] == [picture(1), picture(0), picture(2)]


def test_metadata_of_each_folder_and_another_caption_column(tmp_path: Path) -> None:
    one = '{"file_name": "a.png", "text": "no", "words": "one"}\n'
    two = '{"file_name": "a.png", "text": "no", "words": "two"}\n'
    folder = put(
        tmp_path / "f",
        train__a_png=picture(0),
        test__a_png=picture(1),
        train__metadata_jsonl=one,
        test__metadata_jsonl=two,
    )
    adopted = adopt(folder, tmp_path / "d", columns=ColumnNames(caption="words"))
    assert captions(adopted) == {"test/a.png": "two", "train/a.png": "one"}
    with pytest.raises(UserError, match=r"metadata\.jsonl: no column 'none'"):
        adopt(folder, tmp_path / "e", columns=ColumnNames(caption="none"))
    assert not (tmp_path / "e").exists()


def test_coco_captions_wherever_the_file_lies(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", train2017__1_jpg=picture(1), val2017__1_jpg=picture(2))
    put(folder, train2017__2_jpg=picture(3), annotations__instances_json='{"images": []}')
    texts = ["a cat", "a feline", "a dog"]
    coco = {
        "images": [
            {"id": 10, "file_name": "1.jpg", "coco_url": "http://images.org/1.jpg"},
            {"id": 20, "file_name": "2.jpg"},
            {"id": 30, "file_name": "3.jpg"},
        ],
        "annotations": [
            {"id": n, "image_id": i, "caption": text}
            for n, (i, text) in enumerate(zip((10, 10, 20), texts, strict=True))
        ],
    }
    (folder / "annotations/captions_train2017.json").write_text(json.dumps(coco))
    adopted = adopt(folder, tmp_path / "d")
    told = [(row["file_name"], row["caption"], row["coco_id"]) for row in rows(adopted.dataset)]
    assert told == [
        ("train2017/1.jpg", "a cat", 10),
        ("train2017/2.jpg", "a dog", 20),
        ("3.jpg", None, 30),
        ("val2017/1.jpg", None, None),
    ]
    assert rows(adopted.dataset)[0]["url"] == "http://images.org/1.jpg"
    said = "\n".join(adopted.notes)
    assert "the first was taken: 1 (1.jpg)" in said
    assert "instances.json" in said
    assert "missing_file): 1 (3.jpg)" in said
    longest = ColumnNames(reading=Reading(captions="longest"))
    assert captions(adopt(folder, tmp_path / "e", columns=longest))["train2017/1.jpg"] == "a feline"
    every = adopt(folder, tmp_path / "g", columns=ColumnNames(reading=Reading(captions="all")))
    told = [(row["file_name"], row["caption"], row["coco_id"]) for row in rows(every.dataset)]
    assert told[:3] == [
        ("train2017/1.jpg", "a cat", 10),
        ("train2017/1.jpg", "a feline", 10),
        ("train2017/2.jpg", "a dog", 20),
    ]
    assert members(every.dataset)["000000001.png"] == picture(1)


def test_coco_of_any_ids(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", **{f"{n}_jpg": picture(n) for n in range(4)})
    images = [{"id": i, "file_name": f"{n}.jpg"} for n, i in enumerate(("a", 1, [2], 1))]
    texts = {"a": "of a", 1: 7}
    captions_ = [{"image_id": i, "caption": text} for i, text in texts.items()]
    captions_ += [{"image_id": [2], "caption": "of a list"}, {"image_id": None, "caption": "lost"}]
    coco = {"images": [*images, "no object"], "annotations": [*captions_, 3]}
    (folder / "captions.json").write_text(json.dumps(coco))
    adopted = adopt(folder, tmp_path / "d")
    assert captions(adopted) == {
        "0.jpg": "of a",
        "1.jpg": "7",
        "2.jpg": "of a list",
        "3.jpg": "7",
    }
    said = "\n".join(adopted.notes)
    assert "images that are not objects: 1" in said
    assert "captions of no image of their file: 1 (captions.json: null)" in said


def test_metadata_is_read_as_the_settings_of_lists_say(tmp_path: Path) -> None:
    line = '{"file_name": "a.png", "caption": ["one", "number one"]}\n'
    folder = put(tmp_path / "f", a_png=picture(0), b_png=picture(1), metadata_jsonl=line)
    every = adopt(folder, tmp_path / "d", columns=ColumnNames(reading=Reading(captions="all")))
    told = [(row["file_name"], row["caption"]) for row in rows(every.dataset)]
    assert told == [("a.png", "one"), ("a.png", "number one"), ("b.png", None)]
    csv = put(tmp_path / "g", a_png=picture(0), metadata_csv="a.png,\u732b".encode("cp932"))
    how = Reading(columns=("file_name", "words"), encoding="cp932")
    adopted = adopt(csv, tmp_path / "e", columns=ColumnNames(caption="words", reading=how))
    assert captions(adopted) == {"a.png": "\u732b"}


def test_images_are_kept_byte_for_byte_with_the_size_they_are_looked_at(tmp_path: Path) -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x112] = 6
    noise(0, 30, 20).save(turned, "JPEG", exif=exif.tobytes())
    adopted = adopt(put(tmp_path / "f", a_jpg=turned.getvalue()), tmp_path / "d")
    assert members(adopted.dataset)["000000000.jpg"] == turned.getvalue()
    (row,) = rows(adopted.dataset)
    assert (row["width"], row["height"]) == (20, 30)


def test_a_name_says_nothing_of_the_format(tmp_path: Path) -> None:
    adopted = adopt(put(tmp_path / "f", a_jpg=picture(0)), tmp_path / "d")
    assert members(adopted.dataset)["000000000.png"] == picture(0)


def test_long_folders_are_cut_into_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frenchcat.curate.adopt.images.PER_SHARD", 2)
    folder = put(tmp_path / "f", **{f"{n}_png": picture(n) for n in range(5)})
    adopted = adopt(folder, tmp_path / "d")
    assert adopted.dataset.shards() == ["00000", "00001", "00002"]
    with Catalog(adopted.dataset) as catalog:
        table = catalog.table(["key", "file_name"], order="key")
    assert table["file_name"].to_pylist() == [f"{n}.png" for n in range(5)]
    whole = tree_digest(tmp_path / "d")
    (tmp_path / "d/stages/download/00001.json").unlink()
    adopt(folder, tmp_path / "d")
    assert tree_digest(tmp_path / "d") == whole


def test_links_to_nothing_and_names_of_other_bytes_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", a_png=picture(0), a_txt="x")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "round").symlink_to(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(picture(1))
    adopted = adopt(folder, tmp_path / "d")
    assert captions(adopted) == {"a.png": "x"}
    said = "\n".join(adopted.notes)
    assert "links to nothing and other things that are not files: 1 (gone.png)" in said
    assert "names are not UTF-8: 1 (caf\ufffd.png)" in said


def test_a_tar_beside_images_is_no_shard(tmp_path: Path) -> None:
    adopted = adopt(put(tmp_path / "f", a_png=picture(0), backup_tar=b"x"), tmp_path / "d")
    assert adopted.kind == "a folder of images"
    assert any("backup.tar" in note for note in adopted.notes)


def test_a_text_in_latin_1_is_read_and_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", a_png=picture(0), a_txt="chaîne".encode("latin-1"))
    put(folder, b_png=picture(1), b_txt="chaîne".encode("utf-16"))
    adopted = adopt(folder, tmp_path / "d")
    assert captions(adopted) == {"a.png": "chaîne", "b.png": "chaîne"}
    assert any("Latin-1: 1 (a.txt)" in note for note in adopted.notes)


def test_names_of_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", a_png=picture(0), a_txt="x")
    (folder / "\x1b[31mred.xyz").write_bytes(b"")
    (note,) = adopt(folder, tmp_path / "d").notes
    assert "\x1b" not in note
    assert "red.xyz" in note


def test_coco_of_halves_of_characters_and_of_lists(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", a_jpg=picture(1), b_jpg=picture(2))
    coco = {
        "images": [
            {"id": "\ud83d", "file_name": "a.jpg", "coco_url": "http://a.example/\udc00"},
            {"id": 2, "file_name": "b.jpg"},
            {"id": 3, "file_name": "\ud83d.jpg"},
        ],
        "annotations": [
            {"image_id": "\ud83d", "caption": "half \ud83d"},
            {"image_id": 2, "caption": ["", "one", "two"]},
        ],
    }
    (folder / "captions.json").write_text(json.dumps(coco))
    adopted = adopt(folder, tmp_path / "d")
    told = captions(adopted)
    assert told == {"a.jpg": "half \ufffd", "b.jpg": "one", "\ufffd.jpg": None}
    said = "\n".join(adopted.notes)
    assert "half a surrogate pair, replaced by U+FFFD: 3 (captions.json" in said
    assert "of which the first was taken: 1 (b.jpg)" in said


def test_a_second_text_of_an_image_is_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", a_jpg=picture(1), a_txt="a text", a_caption="a caption")
    adopted = adopt(folder, tmp_path / "d")
    assert captions(adopted) == {"a.jpg": "a caption"}
    assert any("beside another of the same image: 1 (a.txt)" in note for note in adopted.notes)


def test_a_folder_of_lists_is_told_the_verb(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", rows_csv="url\nhttp://a.example/1\n")
    with pytest.raises(UserError, match=r"contains no image; .*: frenchcat build .*f$"):
        adopt(folder, tmp_path / "d")


def test_a_dataset_is_not_adopted_again(tmp_path: Path) -> None:
    made = adopt(put(tmp_path / "f", a_jpg=picture(1)), tmp_path / "d").dataset
    with pytest.raises(UserError, match=r"is a dataset of frenchcat already.*: frenchcat info"):
        adopt(made.root, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_every_kind_of_image_that_people_have_is_adopted(tmp_path: Path) -> None:
    """As it looks: PNG, WebP and JPEG by their file, all others by what becomes of it."""
    endings = {"JPEG2000": "jp2", "TIFF": "tif", "HEIF": "heic"}
    have = {
        f"{number}.{endings.get(kind, kind.lower())}": (data, seen)
        for number, (name, (data, seen)) in enumerate(people_have().items())
        for kind in [name.split()[0]]
        if kind != "MPO"
    }
    folder = tmp_path / "f"
    folder.mkdir()
    for name, (data, _) in have.items():
        (folder / name).write_bytes(data)
    adopted = adopt(folder, tmp_path / "d")
    stored = members(adopted.dataset)
    for row in rows(adopted.dataset):
        data, seen = have[row["file_name"]]
        assert (row["error_message"], row["width"], row["height"]) == (None, *seen.size)
        names = [f"{row['key']}.{extension}" for extension in tars.IMAGE_EXTENSIONS]
        (file,) = (stored[name] for name in names if name in stored)
        difference = np.asarray(open_image(file), float) - np.asarray(seen, float)
        assert np.abs(difference).mean() < 8
        assert file == data or file.startswith(b"\x89PNG")


@pytest.mark.parametrize(("kind", "pip"), [("HEIF", "pi-heif"), ("JXL", "pillow-jxl-plugin")])
def test_an_image_without_a_decoder_names_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, pip: str
) -> None:
    data = saved(drawn(1), kind)
    for name in ("pi_heif", "pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    plugins.register.cache_clear()
    try:
        with pytest.raises(NotKept, match=f"^undecodable: .* is not read; pip install {pip}"):
            kept(data)
    finally:
        plugins.register.cache_clear()
