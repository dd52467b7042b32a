"""The verbs search, index and adopt as a user types them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.config import as_dict
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embed import embed
from frenchcat.curate.errors import ConfirmationNeeded, ModelMismatch, ModelUnavailable, UserError
from frenchcat.curate.removals import Request, log
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher
from frenchcat.index.terms import QueryImage, Text
from tests.sample import memory_store
from tests.sample.embedded import add_shard
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write

CAPTIONS = ["a red square", "chat noir", "dog", "french cat"]
KEYS = [f"00000000{number}" for number in range(4)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset.create(tmp_path_factory.mktemp("cli") / "d", "d")
    add_shard(made, "00000", unit_rows(4), captions=CAPTIONS)
    made.remove("stages/embed/00000.json")
    clip = ClipSettings(model="mini", compile="no", decode_workers=1)
    with made.lock():
        embed(made, clip)
        made.update_manifest({"settings": {"clip": as_dict(clip)}})
        build_index(made)
    return made


def found(*arguments: str) -> tuple[list[str], str]:
    """Keys of the hits and what was said on stderr. Raises what the command raises."""
    done = CliRunner().invoke(app, ["search", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line)["key"] for line in done.stdout.splitlines()], done.stderr


def test_texts_pictures_and_sums(dataset: Dataset, tmp_path: Path) -> None:
    cat = tmp_path / "cat.png"
    cat.write_bytes(picture(2))
    assert found(dataset.root, "--image", str(cat), "-k", "1") == ([KEYS[2]], "")
    terms = [(1.0, Text("cat")), (1.0, QueryImage(cat)), (-1.0, Text("a drawing"))]
    expected = [hit.key for hit in Searcher(dataset).query(terms=terms, k=99)]
    assert len(expected) == 4
    sum_of = ("cat", "--plus", str(cat), "--minus", "a drawing", "-k", "99")
    assert found(dataset.root, *sum_of) == (expected, "")
    with pytest.raises(UserError, match="give one query"):
        found(dataset.root)
    with pytest.raises(UserError, match="no such file"):
        found(dataset.root, "cat", "--plus", "nowhere.jpg")
    with pytest.raises(UserError, match="no such file"):
        found(dataset.root, "cat", "--minus", "nowhere.HEIC")
    with pytest.raises(UserError, match="k is 0"):
        found(dataset.root, "cat", "-k", "0")


def test_hits_below_a_similarity_are_left_out_and_counted(dataset: Dataset) -> None:
    assert found(dataset.root, "cat", "--min-similarity", "0.99") == (
        [],
        "4 of 4 hits are below 0.99\n",
    )
    with pytest.raises(UserError, match=r"min_similarity is 7.0; .* from -1 to 1"):
        found(dataset.root, "cat", "--min-similarity", "7")


def test_words_are_joined_in(dataset: Dataset) -> None:
    assert KEYS[1] in found(dataset.root, "noir", "--hybrid", "-k", "2")[0]


def test_what_is_hidden_is_shown_when_asked(dataset: Dataset, tmp_path: Path) -> None:
    dataset = Dataset.open(shutil.copytree(dataset.root, tmp_path / "d"))
    keys, said = found(dataset.root, "cat", "--where", "caption LIKE '%cat%'")
    assert (keys, said) == ([KEYS[3]], "of the 10 nearest rows of all, hidden: 3 where\n")
    rows = [
        Row(scores={"punsafe": punsafe}, reason=reason, copy_of=2)
        for punsafe, reason in ((0.9, None), (0.1, "tiny"), (None, None), (0.5, None))
    ]
    write(dataset, "00000", rows, ("scores", "duplicates", "verdicts"))
    keys, said = found(dataset.root, "cat")
    assert (keys, "2 unsafe, 1 dropped" in said) == ([KEYS[2]], True)
    shown, _ = found(dataset.root, "cat", "--duplicates", "--unsafe")
    assert sorted(shown) == [KEYS[0], KEYS[2], KEYS[3]]
    everything = ("--duplicates", "--unsafe", "--dropped")
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(KEYS[3],)))
    keys, said = found(dataset.root, "cat", *everything)
    assert (len(keys), said) == (3, "of the 10 nearest rows of all, hidden: 1 removed\n")


def test_adopt_a_folder_of_images_and_search_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    lines = []
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number, 40, 40))
        row = {"file_name": f"{number}.png", "words": f"number {number}"}
        lines.append(json.dumps(row) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines))
    (folder / "left.psd").write_bytes(b"8BPS")
    out = str(tmp_path / "d")
    done = CliRunner().invoke(
        app, ["adopt", str(folder), "--out", out, "--caption-column", "words"]
    )
    assert done.exit_code == 0, done.output
    assert "note: left out, files of no known kind: 1 (left.psd)" in done.stderr
    done = CliRunner().invoke(app, ["search", out, "number 1", "-k", "3", "--duplicates", "--json"])
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(hit["caption"] for hit in hits) == ["number 0", "number 1", "number 2"]
    assert {hit["file_name"] for hit in hits} == {"0.png", "1.png", "2.png"}
    again = ["adopt", str(folder), "--out", out, "--caption-column", "words"]
    with pytest.raises(ConfirmationNeeded, match=r"clip\.precision auto -> fp32"):
        CliRunner().invoke(app, [*again, "--set", "clip.precision=fp32"], catch_exceptions=False)
    with pytest.raises(UserError, match=r"adopt does not use download\.resize\.image_size, only "):
        CliRunner().invoke(
            app, [*again, "--set", "download.resize.image_size=9"], catch_exceptions=False
        )


def test_adopt_takes_the_captions_that_the_setting_names_and_remembers_the_model(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "mine", str(tmp_path / "d")
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(picture(number, 40, 40))
    rows = [{"file_name": f"{n}.png", "caption": [f"c{n}", f"caption {n}"]} for n in range(2)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["adopt", str(folder), "--out", out, "--set", "download.captions=all"]
    done = CliRunner().invoke(
        app, [*command, "--set", "clip.precision=fp32", "--set", "name=art", "--json"]
    )
    assert (done.exit_code, json.loads(done.stdout)["downloaded"]) == (0, 4), done.output
    made = Dataset.open(out)
    assert made.manifest().name == "art"
    settings = made.manifest().settings
    assert set(settings) == {"name", "clip", "index"}
    assert CliRunner().invoke(app, command).exit_code == 0
    assert made.manifest().settings == settings
    first = [*command[:-1], "download.captions=first"]
    with pytest.raises(UserError, match="was adopted with other columns or captions"):
        CliRunner().invoke(app, first, catch_exceptions=False)


def test_weights_that_are_not_there_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.png").write_bytes(picture(0))
    missing = ["--set", "clip.model=ViT-B-32", "--set", "clip.pretrained=laion2b_s34b_b79k"]
    command = ["adopt", str(tmp_path / "mine"), "--out", str(tmp_path / "d"), *missing]
    with pytest.raises(ModelUnavailable):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "d").exists()


def test_adopt_and_a_recall_that_must_be_met(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    np.save(folder / "img_emb/0.npy", unit_rows(600, 32).astype(np.float16))
    table = pa.table({"caption": ["x"] * 600, "url": ["u"] * 600})
    pq.write_table(table, folder / "metadata/0.parquet")
    out = str(tmp_path / "d")
    done = CliRunner().invoke(app, ["adopt", str(folder), "--out", out, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["indexed"] == 600
    assert "no model was named" in done.stderr
    for verb, said in (("score", "punsafe"), ("dedup", "perceptual"), ("select", "csv")):
        done = CliRunner().invoke(app, [verb, out, *(["all"] if verb == "select" else [])])
        assert done.exit_code == 0, done.output
        assert "note: " in done.stderr
        assert "adopted without images" in done.stderr
        assert said in done.stderr
    narrow = ["--set", "index.factory=RaBitQ", "--set", "index.rerank=1"]
    command = ["index", out, *narrow, "--target-recall", "0.999"]
    with pytest.raises(UserError, match="recall@10 is"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_an_address_is_searched_as_the_folder_that_was_published_there(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(dataset.root, own)
    address, server = memory_store.started(monkeypatch)
    done = CliRunner().invoke(
        app, ["publish", str(own), "--to", address, "--json"], catch_exceptions=False
    )
    told = json.loads(done.stdout)
    assert (told["rows"], told["put"], told["recall"]) == (4, 1, 1.0)
    for asked in (["cat", "-k", "3"], ["cat", "--where", "caption LIKE '%noir%'"]):
        assert found(address, *asked) == found(dataset.root, *asked)
    with pytest.raises(UserError, match="--hybrid"):
        found(address, "cat", "--hybrid")
    kept = next(iter(server.kept.values()))
    assert kept.contents is not None
    kept.contents = kept.contents.changed(complete=False, shards=3)
    said = found(address, "cat")[1]
    assert said == "the publication is not complete: 1 of 3 shards are there\n"
    kept.contents = kept.contents.changed(complete=True, weights="0" * 64)
    with pytest.raises(ModelMismatch, match="use the weights that made them"):
        found(address, "cat")
