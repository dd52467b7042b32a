"""Folders that img2dataset itself made, in an environment of its own, with the images of a server.

The environment is that of `python -m bench.download`; it is made where it is missing. The layout
tfrecord needs tensorflow there, so protobuf alone encodes it, in test_img2dataset.py.
"""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import _common as common
from bench.download import PEER
from frenchcat.curate.adopt import adopt
from frenchcat.curate.info import info
from frenchcat.curate.tars import pictures, read
from tests.curate.adopt.folders import rows
from tests.sample.pictures import file_of, noise
from tests.trees import tree_digest

pytestmark = [pytest.mark.slow, pytest.mark.server]
IMAGES = [file_of(noise(number, 40, 30), "JPEG", quality=95) for number in range(7)]


@pytest.fixture(scope="module")
def img2dataset() -> Path:
    try:
        return common.peer("img2dataset", *PEER) / "img2dataset"
    except (SystemExit, OSError) as error:
        pytest.skip(f"img2dataset cannot be installed: {error}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Seven images at a loopback address."""
    folder = tmp_path / "site"
    folder.mkdir()
    for number, data in enumerate(IMAGES):
        (folder / f"{number}.jpg").write_bytes(data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("captions", [True, False], ids=["captions", "bare"])
@pytest.mark.parametrize("layout", ["webdataset", "files", "parquet"])
def test_a_folder_of_img2dataset_itself(
    img2dataset: Path, site: str, tmp_path: Path, layout: str, captions: bool
) -> None:
    names = [*(f"{number}.jpg" for number in range(7)), "gone.jpg"]
    listed = {"url": [f"{site}/{name}" for name in names], "words": [f"of {n}" for n in names]}
    pq.write_table(pa.table(listed), tmp_path / "list.parquet")
    folder = tmp_path / "theirs"
    options = {
        "url_list": tmp_path / "list.parquet",
        "input_format": "parquet",
        "url_col": "url",
        "output_format": layout,
        "output_folder": folder,
        "processes_count": 1,
        "thread_count": 2,
        "number_sample_per_shard": 5,
        "disable_all_reencoding": True,
        **({"caption_col": "words"} if captions else {}),
    }
    common.run([img2dataset, *(f"--{n}={v}" for n, v in options.items())], "img2dataset")
    before = tree_digest(folder)
    adopted = adopt(folder, tmp_path / "d")
    assert (adopted.rows, adopted.kind) == (7, "img2dataset")
    assert tree_digest(folder) == before
    assert sum(info(adopted.dataset).failed_reasons.values()) == 1
    for shard in adopted.dataset.shards():
        tar = Path(adopted.dataset.path(f"shards/{shard}.tar"))
        stored = {key: read(tar, member) for key, member in pictures(tar).items()}
        for row in rows(adopted.dataset, shard):
            name = row["url"].rpartition("/")[2]
            assert row["caption"] == (f"of {name}" if captions else None)
            if name != "gone.jpg":
                assert stored.pop(row["key"]) == IMAGES[names.index(name)]
        assert not stored
