"""Folders that img2dataset and clip-retrieval themselves made, in environments of their own.

The environments are those of `python -m bench.download` and `bench.embed`; they are made where they
are missing. The layout tfrecord needs tensorflow there, so protobuf alone encodes it, in
test_img2dataset.py. clip-retrieval embeds with a small model of random weights.
"""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bench import _common as common
from bench import embed as bench_embed
from bench.download import PEER
from frenchcat.curate.adopt import adopt
from frenchcat.curate.info import info
from frenchcat.curate.tars import image_members, read
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from tests.curate.adopt.folders import rows
from tests.sample.pictures import file_of, noise
from tests.sample.tars import write_tar
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
        stored = {key: read(tar, member) for key, member in image_members(tar).items()}
        for row in rows(adopted.dataset, shard):
            name = row["url"].rpartition("/")[2]
            assert row["caption"] == (f"of {name}" if captions else None)
            if name != "gone.jpg":
                assert stored.pop(row["key"]) == IMAGES[names.index(name)]
        assert not stored


MODEL = "ViT-S-32"
WORDS = [f"picture of number {number}" for number in range(7)]


@pytest.fixture(scope="module")
def clip_retrieval() -> Path:
    try:
        return common.peer("clip-retrieval", *bench_embed.PEER) / "clip-retrieval"
    except (SystemExit, OSError) as error:
        pytest.skip(f"clip-retrieval cannot be installed: {error}")


@pytest.fixture(scope="module")
def theirs(clip_retrieval: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images with their texts, as `clip-retrieval inference` leaves them in `emb`."""
    folder = tmp_path_factory.mktemp("theirs")
    members = [(f"{number}.jpg", data) for number, data in enumerate(IMAGES)]
    members += [(f"{number}.txt", words.encode()) for number, words in enumerate(WORDS)]
    write_tar(folder / "00000.tar", sorted(members))
    torch.manual_seed(0)
    torch.save(open_clip.create_model(MODEL).state_dict(), folder / "weights.pt")
    options = {
        "input_dataset": folder / "00000.tar",
        "input_format": "webdataset",  # its reader of files fails where texts lie beside images
        "wds_number_file_per_input_file": 7,
        "output_folder": folder / "emb",
        "clip_model": f"open_clip:{MODEL}/{folder / 'weights.pt'}",
        "batch_size": 4,
        "num_prepro_workers": 1,
    }
    command = [clip_retrieval, "inference", *(f"--{n}={v}" for n, v in options.items())]
    common.run(command, "clip-retrieval")
    return folder


def test_a_folder_of_clip_retrieval_itself(theirs: Path, tmp_path: Path) -> None:
    before = tree_digest(theirs / "emb")
    adopted = adopt(theirs / "emb", tmp_path / "d")
    assert (adopted.rows, adopted.kind) == (7, "clip-retrieval")
    assert tree_digest(theirs / "emb") == before
    told = rows(adopted.dataset)
    numbers = [int(Path(row["original_key"]).stem) for row in told]
    assert sorted(numbers) == list(range(7))
    assert [row["caption"] for row in told] == [WORDS[number] for number in numbers]
    for kind in ("img_emb", "text_emb"):
        given = np.load(theirs / f"emb/{kind}/{kind}_0.npy").astype(np.float32)
        unit = given / np.linalg.norm(given, axis=1, keepdims=True)
        made = np.load(adopted.dataset.path(f"embeddings/{kind}/{kind}_00000.npy"))
        np.testing.assert_allclose(made, unit, atol=1e-3)
    build_index(adopted.dataset)
    hits = Searcher(adopted.dataset).query(vector=unit[3], by="text", k=1)
    assert [hit.caption for hit in hits] == [told[3]["caption"]]


def test_an_index_of_clip_retrieval_itself(
    clip_retrieval: Path, theirs: Path, tmp_path: Path
) -> None:
    options = {
        "embeddings_folder": theirs / "emb",
        "index_folder": theirs / "index",
        "max_index_memory_usage": "100MB",
        "current_memory_available": "1GB",
    }
    words = [clip_retrieval, "index", *(f"--{n}={v}" for n, v in options.items())]
    common.run(words, "clip-retrieval")
    assert (theirs / "index/image.index").exists()
    adopted = adopt(theirs / "index", tmp_path / "d")
    assert (adopted.rows, adopted.kind) == (7, "clip-retrieval")
    numbers = [int(Path(row["original_key"]).stem) for row in rows(adopted.dataset)]
    assert sorted(numbers) == list(range(7))
    given = np.load(theirs / "emb/img_emb/img_emb_0.npy").astype(np.float32)
    build_index(adopted.dataset)
    for row in range(7):
        (hit,) = Searcher(adopted.dataset).query(vector=given[row], k=1)
        assert hit.caption == WORDS[numbers[row]]
