"""Reading by offset: what tarfile reads; and a damaged sample costs itself alone."""

import hashlib
import http.server
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from frenchcat.curate.errors import UserError
from frenchcat.curate.select import select
from frenchcat.curate.tars import members
from frenchcat.train.layout import rows_of_selection, rows_of_tars
from frenchcat.train.plan import Batch, Plan
from frenchcat.train.ranges import Range, read_ranges
from frenchcat.train.reader import BadSample, Reader
from frenchcat.train.rows import TrainingRows, open_rows
from tests.sample.embedded import embedded
from tests.sample.tars import overwrite
from tests.sample.vectors import unit_rows
from tests.train.tars import numbered, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> list[Path]:
    return [
        write_tar(tmp_path / f"{shard:05d}.tar", range(shard * 100, shard * 100 + 100))
        for shard in range(3)
    ]


def reader_of(tars: list[Path], tmp_path: Path) -> Reader:
    rows_of_tars([str(tar) for tar in tars], tmp_path / "rows")
    return Reader(tmp_path / "rows")


def batch(*numbers: int) -> Batch:
    return Batch(np.array(numbers), np.zeros(len(numbers), np.int64), 0)


def test_samples_come_in_the_order_of_the_batch(tars: list[Path], tmp_path: Path) -> None:
    reader = reader_of(tars, tmp_path)
    read = reader.read(batch(250, 3, 3, 117))
    assert [s.key for s in read.samples] == [f"{n:09d}" for n in (250, 3, 3, 117)]
    assert [s.caption for s in read.samples] == ["cat 250", "cat 3", "cat 3", "cat 117"]
    assert [s.picture.getpixel((0, 0))[0] for s in read.samples] == [250, 3, 3, 117]  # type: ignore[index]
    assert read.losses == []


def test_an_epoch_reads_everything_once(tars: list[Path], tmp_path: Path) -> None:
    reader = reader_of(tars, tmp_path)
    plan = Plan(reader.rows.population, reader.rows.digest, 1, 30)
    keys = [s.key for k in range(plan.batches(0)) for s in reader.read(plan.at(0, k)).samples]
    assert sorted(keys) == [f"{n:09d}" for n in range(300)]


def corrupt(path: Path, number: int, how: str) -> None:
    found = {(m.key, m.extension): m for m in members(path)}
    image, text = (found[f"{number:09d}", kind] for kind in ("png", "txt"))
    if how == "html":
        overwrite(path, image.offset, b"<html>not found</html>".ljust(image.size, b" "))
    elif how == "header":  # data is untouched: nothing is lost once it was indexed
        overwrite(path, image.offset - 512, b"\xff" * 512)
    elif how == "caption":
        overwrite(path, text.offset, b" " * text.size)
    elif how == "flip":
        overwrite(path, image.offset + image.size // 2, b"\x55\xaa\x55\xaa")


@pytest.mark.parametrize(
    ("how", "reason"),
    [("html", "undecodable"), ("caption", "empty_caption"), ("flip", "undecodable")],
)
def test_the_loss_is_the_damaged_samples_alone(
    tars: list[Path], tmp_path: Path, how: str, reason: str
) -> None:
    reader = reader_of(tars, tmp_path)
    for number in (110, 150):
        corrupt(tars[1], number, how)
    plan = Plan(reader.rows.population, reader.rows.digest, 1, 30)
    reads = [reader.read(plan.at(0, k)) for k in range(plan.batches(0))]
    losses = [loss for read in reads for loss in read.losses]
    assert {loss.key for loss in losses} == {"000000110", "000000150"}
    assert {loss.reason.split(":")[0] for loss in losses} == {reason}
    planned = sum(len(plan.at(0, k).rows) for k in range(plan.batches(0)))
    trained = sum(len(read.samples) for read in reads)
    assert planned == trained == 300
    bad = {loss.key for loss in losses}
    assert not any(sample.key in bad for read in reads for sample in read.samples)


def test_a_flipped_byte_that_decodes_is_found_by_its_digest(tmp_path: Path) -> None:
    """In a dataset's own selection, which knows every picture's SHA-256."""
    import pyarrow as pa

    tar = write_tar(tmp_path / "a.tar", range(20))
    rows_of_tars([str(tar)], tmp_path / "rows")
    path = tmp_path / "rows" / "rows.arrow"
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    digests = [hashlib.sha256(numbered(n)).hexdigest() for n in range(20)]
    table = table.set_column(table.schema.get_field_index("sha256"), "sha256", [digests])
    other = path.with_suffix(".new")
    with pa.OSFile(str(other), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    other.replace(path)
    entry = next(m for m in members(tar) if m.key == "000000004" and m.extension == "png")
    overwrite(tar, entry.offset + entry.size - 1, b"\x00")  # the end chunk's check sum
    read = Reader(tmp_path / "rows").read(batch(*range(20)))
    assert [(loss.key, loss.reason.split(":")[0]) for loss in read.losses] == [
        ("000000004", "changed")
    ]


def test_a_tar_cut_after_indexing_and_one_that_is_gone(tars: list[Path], tmp_path: Path) -> None:
    reader = reader_of(tars, tmp_path)
    reader.rows.check_tars()
    cut = next(m for m in members(tars[0]) if m.key == "000000090")
    tars[0].write_bytes(tars[0].read_bytes()[: cut.offset + 5])
    tars[2].unlink()
    with pytest.raises(UserError, match="when its samples were indexed"):
        reader.rows.check_tars()
    read = reader.read(batch(89, 90, 99, 120, 250))
    assert [loss.key for loss in read.losses] == ["000000090", "000000099", "000000250"]
    assert [loss.reason.split(":")[0] for loss in read.losses] == [
        "truncated",
        "truncated",
        "unreadable",
    ]
    again = Reader(tmp_path / "rows").read(batch(250, 99))
    assert [loss.substitute for loss in again.losses] == [
        read.losses[2].substitute,
        read.losses[1].substitute,
    ]


def test_nothing_sound_left_is_said(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(3))
    reader = reader_of([tar], tmp_path)
    for number in range(3):
        corrupt(tar, number, "html")
    with pytest.raises(BadSample, match="no_substitute"):
        reader.read(batch(1))


def test_rows_are_written_once_and_mapped(tars: list[Path], tmp_path: Path) -> None:
    made, troubles = rows_of_tars([str(tar) for tar in tars], tmp_path / "rows")
    mapped = open_rows(tmp_path / "rows")
    assert isinstance(mapped, TrainingRows)
    assert mapped.digest == made.digest
    assert len(mapped) == 300
    assert mapped.row(299) == made.row(299)
    assert troubles == []
    assert open_rows(tmp_path) is None


def test_samples_without_a_caption_are_named(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(3))
    text = next(m for m in members(tar) if m.extension == "txt" and m.key == "000000001")
    overwrite(tar, text.offset - 512, b"\xff" * 512)
    rows, troubles = rows_of_tars([str(tar)], tmp_path / "rows")
    assert len(rows) == 2
    assert any("000000001 has no caption" in trouble for trouble in troubles)


# -- ranges ------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """A file behind a loopback server that answers ranges and counts the bytes it sends."""
    data = bytes(range(256)) * 4000
    sent: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self) -> None:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1]
            sent.append(len(part))
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.tar", sent
    server.shutdown()
    thread.join()
    server.server_close()


def test_near_ranges_are_one_read_and_far_ones_cost_no_more_than_they_are(
    served: tuple[str, list[int]],
) -> None:
    address, sent = served
    data = bytes(range(256)) * 4000
    wanted = [Range(address, offset, 1000) for offset in (900_000, 0, 2000, 500_000)]
    found = read_ranges(wanted)
    assert found == [data[r.offset : r.offset + r.size] for r in wanted]
    assert sorted(sent) == [1000, 1000, 3000]


def test_a_missing_file_is_an_error_of_its_own_ranges(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    found = read_ranges(
        [
            Range(str(tmp_path / "a"), 2, 3),
            Range(str(tmp_path / "b"), 0, 3),
            Range(str(tmp_path / "a"), 8, 9),
        ]
    )
    assert found[0] == b"234"
    assert isinstance(found[1], FileNotFoundError)
    assert found[2] == b"89"


def test_pictures_of_unknown_height_are_taken_for_square(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(30))  # its sidecars have no heights
    select(dataset, "all")
    rows = rows_of_selection(dataset, "all", tmp_path / "rows", edges=(0.7, 1.4))
    assert rows.population.segments[:, 0].tolist() == [1]  # between the two edges


@examples(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 110_000), st.integers(0, 40_000)), max_size=12)
)
def test_any_ranges_are_what_the_files_hold(wanted: list[tuple[bool, int, int]]) -> None:
    """Overlapping, one within another, beyond the end, of two files, in any order."""
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        contents = {}
        for name in "ab":
            contents[f"{folder}/{name}"] = chance.bytes(100_000)
            Path(folder, name).write_bytes(contents[f"{folder}/{name}"])
        ranges = [Range(f"{folder}/{'ab'[which]}", offset, n) for which, offset, n in wanted]
        expected = [contents[r.path][r.offset : r.offset + r.size] for r in ranges]
        assert read_ranges(ranges) == expected
