"""What a sample of a foreign tar is: webdataset's own rule, and nothing is lost without a word."""

import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest
from PIL import Image
from webdataset import tariterators

from frenchcat.curate.errors import UserError
from frenchcat.train.layout import rows_of_tars
from frenchcat.train.loop import train
from frenchcat.train.plan import Batch
from frenchcat.train.reader import Reader
from frenchcat.train.rows import TrainingRows
from frenchcat.train.run import anchored, prepare_rows
from frenchcat.train.tar_urls import tars_of
from tests.sample.pictures import picture
from tests.sample.tars import write_tar as write_members
from tests.train.runs import settings, steps_of
from tests.train.tars import write_tar

Members = list[tuple[str, bytes]]


def saved(number: int, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 12), (number, 9, 9)).save(out, kind)
    return out.getvalue()


def laid(tmp_path: Path, members: Members) -> tuple[TrainingRows, list[str]]:
    tmp_path.mkdir(exist_ok=True)
    tar = write_members(tmp_path / "a.tar", members)
    return rows_of_tars([str(tar)], tmp_path / "rows")


def trained(tmp_path: Path, members: Members) -> tuple[list[tuple[str, str, int]], list[str]]:
    """Key, caption and red level of every sample, and what was said."""
    import numpy as np

    rows, troubles = laid(tmp_path, members)
    numbers = np.arange(len(rows))
    read = Reader(rows.folder).read(Batch(numbers, np.zeros_like(numbers), 0))
    assert read.losses == []
    found = [(s.key, s.caption, s.picture.getpixel((0, 0))[0]) for s in read.samples]  # type: ignore[index]
    return found, troubles


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("JPG", "JPEG"),
        ("Jpeg", "JPEG"),
        ("gif", "GIF"),
        ("avif", "AVIF"),
        ("WebP", "WEBP"),
        ("bmp", "BMP"),
        ("TIFF", "TIFF"),
    ],
)
def test_every_kind_of_picture_in_any_case(tmp_path: Path, ending: str, kind: str) -> None:
    members = [(f"0.{ending}", saved(200, kind)), ("0.TXT", b"a cat")]
    ((key, caption, red),), troubles = trained(tmp_path, members)
    assert (key, caption, troubles) == ("0", "a cat", [])
    assert abs(red - 200) < 8


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("caption", b"a cat"),
        ("text", b"a cat"),
        ("json", b'{"caption": "a cat", "id": 1}'),
        ("json", b'{"prompt": "a cat"}'),
    ],
)
def test_every_kind_of_caption(tmp_path: Path, ending: str, text: bytes) -> None:
    found, troubles = trained(tmp_path, [("0.png", picture(7)), (f"0.{ending}", text)])
    assert [(caption, red) for _, caption, red in found] == [("a cat", 7)]
    assert troubles == []


def test_txt_counts_before_json(tmp_path: Path) -> None:
    members = [("0.json", b'{"caption": "no"}'), ("0.png", picture(7)), ("0.txt", b"yes")]
    assert trained(tmp_path, members)[0] == [("0", "yes", 7)]


def test_dotted_keys_go_with_their_own_captions(tmp_path: Path) -> None:
    members = [
        (f"22.{n:02d}.{ending}", data)
        for n in range(4)
        for ending, data in (("png", picture(n)), ("txt", f"cat {n}".encode()))
    ]
    found, troubles = trained(tmp_path, members)
    assert found == [(f"22.{n:02d}", f"cat {n}", n) for n in range(4)]
    assert troubles == []


def test_one_picture_and_one_caption_of_a_key_go_together(tmp_path: Path) -> None:
    assert trained(tmp_path, [("0.image.png", picture(3)), ("0.txt", b"a")]) == (
        [("0", "a", 3)],
        [],
    )


def test_a_doubled_sample_never_pairs_the_old_picture_with_the_new_caption(tmp_path: Path) -> None:
    old: Members = [("0.png", picture(1)), ("0.txt", b"old")]
    new: Members = [("0.png", picture(2)), ("0.txt", b"new")]
    between: Members = [("1.png", picture(9)), ("1.txt", b"other")]
    found, troubles = trained(tmp_path / "apart", old + between + new)
    assert found == [("0", "old", 1), ("1", "other", 9), ("0", "new", 2)]
    found, troubles = trained(tmp_path / "beside", old + new)
    assert found == [("0", "new", 2)]
    assert sum("replaced" in trouble for trouble in troubles) == 2
    found, troubles = trained(tmp_path / "caption", [*old, *between, ("0.txt", b"new")])
    assert ("0", "old", 1) in found
    assert len(found) == 2
    assert any(": 0 has no image" in trouble for trouble in troubles)


def test_parts_that_lie_apart_are_one_sample(tmp_path: Path) -> None:
    members = [(f"{n}.png", picture(n)) for n in range(3)]
    members += [(f"{n}.txt", f"cat {n}".encode()) for n in range(3)]
    assert trained(tmp_path, members) == ([(f"{n}", f"cat {n}", n) for n in range(3)], [])


def test_what_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    members: Members = [
        ("0.png", picture(1)),
        ("0.txt", b"a"),
        ("0.mask.png", picture(1)),
        ("1.png", picture(1)),
        ("2.txt", b"b"),
        ("3.ppm", b"P6 1 1 255 abc"),
        ("3.txt", b"c"),
        ("4.png", picture(1)),
        ("4.json", b'{"alt": "d"}'),
        ("README", b"hello"),
        ("._5.png", b"a file of a Mac"),
        ("__index__/x.png", b"webdataset passes over it"),
    ]
    rows, troubles = laid(tmp_path, members)
    assert rows.keys() == ["0"]
    for name in ("0.mask.png", "1", "2", "3", "4.json", "README", "._5.png"):
        assert any(f": {name} " in trouble for trouble in troubles), name
    assert rows.left_out == {"no_caption": 2, "no_picture": 2, "no_sample": 2, "second_picture": 1}
    assert len(troubles) == 7
    assert any("its keys: alt" in trouble for trouble in troubles)
    assert any("among its fields: .ppm" in trouble for trouble in troubles)


def test_links_are_named(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(2))
    with tarfile.open(tar, "a") as opened:
        link = tarfile.TarInfo("7.png")
        link.type, link.linkname = tarfile.LNKTYPE, "000000001.png"
        opened.addfile(link)
    rows, troubles = rows_of_tars([str(tar)], tmp_path / "rows")
    assert len(rows) == 2
    assert any("7.png is a link" in trouble for trouble in troubles)


def test_tars_without_a_sample_are_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found 2 \.cls, 1 \.ppm"):
        laid(tmp_path, [("0.ppm", b"P6"), ("0.cls", b"1"), ("1.cls", b"2")])


def test_an_empty_shard_is_one(tmp_path: Path) -> None:
    empty = write_members(tmp_path / "0.tar", [])
    rows, _ = rows_of_tars(
        [str(empty), str(write_tar(tmp_path / "1.tar", range(3)))], tmp_path / "r"
    )
    assert len(rows) == 3


def test_names_of_any_bytes(tmp_path: Path) -> None:
    name = b"gr\xf6\xdfe".decode("utf-8", "surrogateescape")
    rows, _ = laid(tmp_path, [(f"{name}.png", picture(1)), (f"{name}.txt", b"a")])
    assert len(rows.keys()) == 1


def test_samples_are_webdatasets(tmp_path: Path) -> None:
    """Of tars whose samples webdataset finds whole, the same are found."""
    members: Members = []
    for n in range(6):
        key = ("a/b.c/" if n % 2 else "") + f"k{n}"
        members += [
            (f"{key}.txt", f"cat {n}".encode()),
            (f"{key}.PNG", picture(n)),
            (f"{key}.x", b""),
        ]
    tar = write_members(tmp_path / "a.tar", members)
    with tar.open("rb") as file:
        read = ({**one, "__url__": ""} for one in tariterators.tar_file_iterator(file))
        samples = list(tariterators.group_by_keys(read))
    theirs = [(sample["__key__"], sample["txt"].decode()) for sample in samples]
    found, _ = trained(tmp_path / "ours", members)
    assert [(key, caption) for key, caption, _ in found] == theirs


# -- data.tars as webdataset writes it ---------------------------------------------------------


def named(tmp_path: Path, text: str) -> TrainingRows:
    return prepare_rows(settings(Path(text), tmp_path), tmp_path / "rows")[0]


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for n in range(4):
        write_tar(tmp_path / f"{n:05d}.tar", range(n * 3, n * 3 + 3))
    return tmp_path


@pytest.mark.parametrize(
    ("form", "samples"),
    [
        ("{T}/{{00000..00002}}.tar", 9),
        ("{T}/{{00000,00003}}.tar", 6),
        ("{T}/00000.tar::{T}/00002.tar", 6),
        ("{T}/0000[01].tar::{T}/{{00002..00003}}.tar", 12),
        ("file:{T}/00001.tar", 3),
        ("pipe:cat {T}/00001.tar", 3),
        ("pipe:cat {T}/{{00001..00002}}.tar::{T}/00000.tar", 9),
        ("{T}", 12),
        ("{T}/**/0000[01].tar", 6),
    ],
)
def test_forms_of_urls(tars: Path, tmp_path: Path, form: str, samples: int) -> None:
    text = form.format(T=tars)
    made = settings(tars, tmp_path / "run", data={"tars": text})
    rows, _ = prepare_rows(made, tmp_path / "rows")
    assert len(rows) == samples
    again, troubles = prepare_rows(made, tmp_path / "rows")
    assert (again.digest, troubles) == (rows.digest, None)


@pytest.mark.parametrize(
    ("form", "match"),
    [
        ("{T}/{{00003..00005}}.tar", r"00004\.tar matches no file"),
        ("{T}/00000.tar::{T}/*.tar", r"00000\.tar twice"),
        ("pipe:cat {T}/none.tar", r"pipe:cat .*none\.tar failed with status 1 \(.*No such file"),
        ("pipe:true", "prints nothing"),
        ("{T}/none", "matches no file"),
    ],
)
def test_forms_that_name_nothing_are_refused(
    tars: Path, tmp_path: Path, form: str, match: str
) -> None:
    made = settings(tars, tmp_path / "run", data={"tars": form.format(T=tars)})
    with pytest.raises(UserError, match=match):
        prepare_rows(made, tmp_path / "rows")


def test_tars_are_found_whatever_they_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In any case, in a folder whose name looks like a form; and what is not read is said."""
    folder = tmp_path / "a::b{c}"
    folder.mkdir()
    write_tar(folder / "0.TAR", range(3))
    write_tar(folder / "1.tar", range(3, 6))
    (folder / "2.tar.gz").write_bytes(b"")
    (folder / "deeper").mkdir()
    write_tar(folder / "deeper" / "3.tar", range(6, 9))
    for text, samples in ((folder, 6), (folder / "0.TAR", 3)):
        made = settings(tmp_path, tmp_path / "run", data={"tars": str(text)})
        assert len(prepare_rows(made, tmp_path / f"rows{samples}")[0]) == samples
        assert anchored(made).data.tars == str(text)
    said = capsys.readouterr().err
    assert "1 compressed tars are not read, such as 2.tar.gz" in said
    assert "1 tars in folders below it are not read" in said
    with pytest.raises(
        UserError, match=r"the folder has no \.tar; for those of its folders: .*/\*/"
    ):
        tars_of(str(tmp_path), tmp_path)


def test_a_signed_address_is_one_tar(tmp_path: Path) -> None:
    """What signs it stands behind the name."""
    tar = write_tar(tmp_path / "a.tar", range(3)).read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sound = self.path == "/b/a.tar?sig=x%2Fy&until=3"
            self.send_response(200 if sound else 403)
            self.send_header("Content-Length", str(len(tar)))
            self.end_headers()
            if self.command == "GET" and sound:
                self.wfile.write(tar)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/b/a.tar?sig=x%2Fy&until=3"
        assert tars_of(address, tmp_path) == [address]
        server.shutdown()


@pytest.mark.parametrize(
    ("data", "caption", "said"),
    [
        ("\ufeffcafé".encode(), "café", ""),
        ("café".encode("utf-16"), "café", ""),
        ("café".encode("cp1252"), "café", "that are not UTF-8 are read as Windows-1252"),
    ],
)
def test_captions_of_every_encoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, caption: str, said: str
) -> None:
    found, _ = trained(tmp_path / "a", [("0.png", picture(7)), ("0.txt", data)])
    assert [one for _, one, _ in found] == [caption]
    assert said in capsys.readouterr().err


def test_of_several_captions_under_a_key_the_first_is_taken_and_that_is_said(
    tmp_path: Path,
) -> None:
    members: Members = []
    for n, text in enumerate((b'{"caption": ["", "a", "b"]}', b'{"caption": ["c"]}', b"[" * 9999)):
        members += [(f"{n}.png", picture(n)), (f"{n}.json", text)]
    found, troubles = trained(tmp_path / "a", members)
    assert [caption for _, caption, _ in found] == ["a", "c"]
    assert (
        "0.json has 3 captions, of which the first is trained on (further_captions)" in troubles[0]
    )
    assert "2.json is not JSON (no_caption)" in troubles[1]
    assert len(troubles) == 2


def test_a_run_on_mixed_forms_says_what_it_leaves_out(
    tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_members(
        tars / "odd.tar",
        [
            ("5.png", picture(1)),
            *(
                (f"{n}.{kind}", data)
                for n in range(6, 10)
                for kind, data in (("png", picture(n)), ("txt", b"a very long caption " * 20))
            ),
        ],
    )
    text = f"{tars}/{{00000..00003}}.tar::pipe:cat {tars}/odd.tar"
    made = settings(
        tars,
        tmp_path / "run",
        data={"tars": text, "batch": 4},
        text={"dropout": 0.0},
        run={"held_out": 0},
        optimizer={"steps": 4, "warmup": 0},
    )
    train(made)
    said = capsys.readouterr().err
    assert "16 samples of data.tars are trained on; 1 members" in said
    assert "captions of more than 40 tokens are cut" in said
    cut = sum(step["captions_cut"] for step in steps_of(tmp_path / "run"))
    assert cut == 4
    assert f"{cut} captions were longer than the text tower reads" in said
    assert "5 has no caption" in (tmp_path / "run" / "damaged.txt").read_text()
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["left_out"] == {"no_caption": 1}
