"""Every way in sees an image as people see it: stored, adopted, query, removal, score, training."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from frenchcat.contact_sheet import contact_sheet
from frenchcat.curate import tars
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.decode import decode
from frenchcat.curate.download.pictures import ImageProcessor, ResizeSettings
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY, pdq_and_quality
from frenchcat.curate.image import open_image
from frenchcat.curate.image.sniff import sniff
from frenchcat.curate.remove import RemovalQuery, matches
from frenchcat.curate.score.pictures import decode as scored
from frenchcat.index.search import Searcher
from frenchcat.train.layout import rows_of_tars
from frenchcat.train.plan import Batch
from frenchcat.train.reader import Reader
from tests.index.service.served import base64_of, index, named_by, served
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard
from tests.sample.odd_images import people_have
from tests.sample.tars import write_tar

FILES = people_have()
NAMES = list(FILES)
SAME = 0.98  # cosine


@dataclass(frozen=True)
class Ways:
    """A dataset with each file twice: stored by the download (shard 0), and as it was (shard 1)."""

    dataset: Dataset
    clip: Clip
    folder: Path  # of the files

    def path(self, name: str) -> Path:
        return self.folder / f"{NAMES.index(name):09d}.jpg"

    def keys(self, name: str) -> set[str]:
        return {f"{shard:05d}{NAMES.index(name):04d}" for shard in range(2)}


def vectors(clip: Clip, folder: Path, files: Mapping[str, bytes]) -> NDArray[np.float32]:
    """As the stage `embed` makes them, of a shard's tar."""
    folder.mkdir()
    tar = write_tar(folder / "00000.tar", [(f"{name}.jpg", data) for name, data in files.items()])
    found = decode(clip.preprocess, str(tar), list(tars.image_members(tar).values()))
    assert found.failed == {}
    assert found.pixels is not None
    return clip.encode_images(found.pixels)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Ways:
    folder = tmp_path_factory.mktemp("images")
    raw = {f"{n:09d}": data for n, (data, _) in enumerate(FILES.values())}
    process = ImageProcessor(ResizeSettings())
    stored = {key: process(data, sniff(data)).data for key, data in raw.items()}
    for key, data in raw.items():
        (folder / f"{key}.jpg").write_bytes(data)
    dataset = Dataset.create(folder / "dataset", "images")
    for shard, files in enumerate((stored, raw)):
        found = vectors(clip, folder / str(shard), files)
        add_shard(dataset, f"{shard:05d}", found, files=list(files.values()), captions=NAMES)
    named_by(dataset, clip)
    index(dataset)
    hashes = [pdq_and_quality(open_image(data)) for data in stored.values()]
    add_columns(dataset, "scores", pdq=[hash_.hex() for hash_, _ in hashes])
    return Ways(dataset, clip, folder)


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_vector_of_what_people_see(ways: Ways, name: str) -> None:
    seen = ways.clip.encode_images([FILES[name][1]])[0]
    for shard in range(2):
        rows = np.load(ways.dataset.path(f"embeddings/img_emb/img_emb_{shard:05d}.npy"))
        assert rows[NAMES.index(name)].astype(np.float32) @ seen >= SAME


@pytest.mark.parametrize("name", NAMES)
def test_a_file_as_a_query_finds_its_own_rows_first(ways: Ways, name: str) -> None:
    searcher = Searcher(ways.dataset, ways.clip)
    given: list[Any] = [ways.path(name), str(ways.path(name)), FILES[name][0]]
    if "floats" not in name:  # Pillow cannot open that one
        given.append(Image.open(io.BytesIO(FILES[name][0])))
    for query in given:
        hits = searcher.query(picture=query, k=2, duplicates=True)
        assert {hit.key for hit in hits} == ways.keys(name)
        assert min(hit.similarity for hit in hits) >= SAME


def test_the_service_sees_what_the_command_line_sees(ways: Ways) -> None:
    with served(ways.dataset, clip=ways.clip) as client:
        for name, (data, _) in FILES.items():
            body = {"picture": base64_of(data), "k": 2, "duplicates": True}
            answers = [client.post("/v1/search", json=body)]
            ask = {"k": 2, "duplicates": True}
            answers.append(client.post("/v1/search/picture", params=ask, content=data))
            for answer in answers:
                hits = answer.json()["hits"]
                assert {hit["key"] for hit in hits} == ways.keys(name), name
                assert min(hit["similarity"] for hit in hits) >= SAME, name
            asked = client.post("/v1/datasets/images/embed", json={"picture": base64_of(data)})
            seen = ways.clip.encode_images([FILES[name][1]])[0]
            assert np.array(asked.json()["vector"]) @ seen >= SAME, name


def test_a_removal_request_matches_by_model_and_by_hash(ways: Ways) -> None:
    def encode(path: Path) -> NDArray[np.float32]:
        return ways.clip.encode_images([open_image(path)])[0]

    for name, (data, _) in FILES.items():
        query = RemovalQuery("like", str(ways.path(name)))
        assert {match.key for match in matches(ways.dataset, query, encode)} >= ways.keys(name)
        assert pdq_and_quality(open_image(data))[1] >= PDQ_QUALITY, "the hash says something"
        by_hash = {match.key: match.why for match in matches(ways.dataset, query)}
        stored = min(ways.keys(name))
        assert stored in by_hash, name
        assert int(by_hash[stored].split()[1]) <= PDQ_DISTANCE


def test_scores_and_training_see_it_too(ways: Ways, tmp_path: Path) -> None:
    members = [
        (f"{n:09d}.{end}", part)
        for n, (data, _) in enumerate(FILES.values())
        for end, part in (("jpg", data), ("txt", b"a cat"))
    ]
    tar = write_tar(tmp_path / "00000.tar", members)
    rows_of_tars([str(tar)], tmp_path / "rows")
    whole, small = (Reader(tmp_path / "rows", at_least) for at_least in (None, (30, 20)))
    batch = Batch(np.arange(len(FILES)), np.zeros(len(FILES), np.int64), 0)
    samples, reduced = whole.read(batch).samples, small.read(batch).samples
    for (name, (data, seen)), sample, less in zip(FILES.items(), samples, reduced, strict=True):
        found = scored(data)
        assert found is not None, name
        for pixels in (found.rgb, np.asarray(sample.picture)):
            assert np.abs(pixels.astype(int) - np.asarray(seen, int)).mean() < 8, name
        assert less.picture.width >= 30, name
        assert abs(less.picture.width / less.picture.height - 1.5) < 0.1, name


def test_what_is_shown_is_upright(ways: Ways, tmp_path: Path) -> None:
    searcher = Searcher(ways.dataset, ways.clip)
    hits = searcher.query(picture=ways.path(NAMES[0]), k=2 * len(NAMES), duplicates=True)
    page = tmp_path / "page.html"
    contact_sheet(hits, "all", page, searcher.picture)
    shown = [part.split('"')[0] for part in page.read_text().split("base64,")[1:]]
    assert len(shown) == len(hits)
    with served(ways.dataset, clip=ways.clip) as client:
        for hit, text in zip(hits, shown, strict=True):
            seen = FILES[NAMES[int(hit.key[5:])]][1]
            small = client.get(f"/v1/thumbnails/images/{hit.key}", params={"size": 64}).content
            for data in (base64.b64decode(text), small):
                with Image.open(io.BytesIO(data)) as image:
                    wanted = np.asarray(seen.resize(image.size), int)
                    assert np.abs(np.asarray(image, int) - wanted).mean() < 16, hit.caption
