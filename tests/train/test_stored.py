"""Latents and text states of a dataset: encoded once, read by training as if it had encoded."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate import files
from frenchcat.curate.config import as_overrides, load_settings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import ConfirmationNeeded, UserError
from frenchcat.curate.lineage import origin
from frenchcat.curate.markers import marker
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from frenchcat.curate.select import Choice, select
from frenchcat.train.forecast import Forecast, forecast
from frenchcat.train.loader import Batches
from frenchcat.train.loop import train
from frenchcat.train.model import Codec
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import with_start
from frenchcat.train.stored import LatentStore, Stored, TextStore
from tests.sample.pictures import file_of, noise
from tests.sample.row import Row
from tests.sample.write import write
from tests.train.pipelines import pixart, sdxl, stable_diffusion, tiny_vae
from tests.train.runs import settings, steps_of, write_tars

PER_SHARD = 8
SIZES = ((20, 20), (40, 20), (20, 40), (33, 31))  # of row n: SIZES[n % 4]
DAMAGED = "000000003"
LONG = "a cat that is told of in many more letters than the text towers read at once " * 5
MADE = [file for file in files.SHARD_FILES if file.stage in ("latents", "text_states")]


def rows_of(shard: int) -> list[Row]:
    found = []
    for n in range(PER_SHARD):
        width, height = SIZES[n % 4]
        number = shard * PER_SHARD + n
        image = file_of(noise(number, width, height))
        if f"{shard:05d}{n:04d}" == DAMAGED:
            image = image[:60]
        caption = LONG if n == 1 else f"cat {number}|chat {number}"
        sides = {"width": width, "height": height}
        found.append(Row(caption=caption, picture=image, columns=sides))
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = Dataset.create(tmp_path_factory.mktemp("stored") / "dataset", "cats")
    for shard in range(2):
        write(dataset, f"{shard:05d}", rows_of(shard), ["tar", "sidecar"])
    select(dataset, "all")
    select(dataset, "some", Choice(where="key < '000000002' OR key = '000010000'"))
    return Path(dataset.root)


@pytest.fixture
def dataset(plain: Path, tmp_path: Path) -> Dataset:
    shutil.copytree(plain, tmp_path / "dataset")
    return Dataset.open(tmp_path / "dataset")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("sd"))


def named(dataset: Dataset, start: Path | None, **more: Any) -> dict[str, Any]:
    """Settings as `set` takes them; each kind of chance is on."""
    return {
        "data.dataset": dataset.root,
        "data.selection": "all",
        "data.batch": 4,
        "data.size": 16,
        "data.aspects": [0.5, 1.0, 2.0],
        "data.workers": 0,
        "text.separator": "|",
        "text.templates": ["{caption}", "a drawing of {caption}"],
        "text.dropout": 0.3,
        "run.device": "cpu",
        "run.precision": "fp32",
        **({} if start is None else {"model.start": str(start)}),
        **more,
    }


def run(dataset: Dataset, start: Path | None, out: Path, **more: Any) -> Path:
    """Three steps."""
    own = {"optimizer.steps": 3, "optimizer.warmup": 0, "run.prompts": [], "run.held_out": 2}
    return frenchcat.train(set=named(dataset, start, **{"run.out": str(out), **own, **more}))


def encode(dataset: Dataset, start: Path | None, precision: str = "fp32", **more: Any) -> Any:
    opened = frenchcat.open(dataset.root)
    return opened.latents(set=named(dataset, start, **more), precision=precision)


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in steps_of(out)]


def same_steps(one: Path, other: Path, tolerance: float) -> None:
    """The same samples, the same substitutes, the same captions cut, the same losses."""
    assert len(losses(one)) == 3
    assert losses(one) == pytest.approx(losses(other), rel=tolerance)
    lost = [(out / "losses-0.jsonl").read_text() for out in (one, other)]
    assert lost[0] == lost[1]
    cut = [[line["captions_cut"] for line in steps_of(out)] for out in (one, other)]
    assert cut[0] == cut[1]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-3)])
def test_a_step_from_latents_is_the_step_that_encodes(
    dataset: Dataset,
    pipeline: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    precision: str,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoding = run(dataset, pipeline, tmp_path / "encodes")
    assert "images are encoded in every step: shard 00000 has no latents" in capfd.readouterr().err
    done = encode(dataset, pipeline, precision)
    assert [(one.stage, one.done) for one in done.stages] == [("latents", 2), ("text_states", 2)]
    assert done.unreadable == {"undecodable": 1}

    def none(self: Codec, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("an image was encoded")

    monkeypatch.setattr(Codec, "encode", none)
    reading = run(dataset, pipeline, tmp_path / "reads", **{"data.latents": "require"})
    assert "instead of encoded: latents and text states" in capfd.readouterr().err
    same_steps(encoding, reading, tolerance)
    (one,), (other,) = (
        [json.loads(line)["loss"] for line in (out / "held_out.jsonl").read_text().splitlines()]
        for out in (encoding, reading)
    )
    assert one == pytest.approx(other, rel=tolerance)


@pytest.mark.parametrize("make", [sdxl, pixart], ids=["sdxl", "pixart"])
def test_so_it_is_for_other_pipelines(make: Any, dataset: Dataset, tmp_path: Path) -> None:
    folder = make(tmp_path / "pipeline")
    encoding = run(dataset, folder, tmp_path / "encodes")
    encode(dataset, folder)
    reading = run(dataset, folder, tmp_path / "reads", **{"data.latents": "require"})
    same_steps(encoding, reading, 1e-5)


def test_so_it_is_for_a_network_of_our_own_with_an_autoencoder(
    dataset: Dataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tiny_vae().save_pretrained(tmp_path / "vae")
    own = {"model.vae": str(tmp_path / "vae"), "model.channels": [8, 16], "model.head_dim": 8}
    own |= {"model.pooled": True}
    still = own | {"data.flip": False}  # mirrored images are stored, and left unread
    encoding = run(dataset, None, tmp_path / "encodes", **still)
    encode(dataset, None, **own)
    reading = run(dataset, None, tmp_path / "reads", **still, **{"data.latents": "require"})
    same_steps(encoding, reading, 1e-5)


def test_a_plan_counts_no_encoding_where_latents_are_read(dataset: Dataset, pipeline: Path) -> None:
    def plan(**more: Any) -> Forecast:
        given = as_overrides(named(dataset, pipeline, **more))
        return forecast(with_start(load_settings(TrainSettings, None, given)))

    before = plan()
    assert before.flops["autoencoder"] > 0
    assert "shard 00000 has no latents" in (before.note or "")
    with pytest.raises(
        UserError, match=r"data\.latents is require, but shard 00000 has no latents"
    ):
        plan(**{"data.latents": "require"})
    encode(dataset, pipeline)
    after = plan()
    assert "autoencoder" not in after.flops
    assert after.flops["network"] == before.flops["network"]
    assert f"latents are read from {dataset.root}: no image is encoded" in "\n".join(after.lines())
    assert "autoencoder" in plan(**{"data.latents": "off"}).flops
    assert "differ in the sizes in pixels" in (plan(**{"data.size": 24}).note or "")


def test_a_worker_opens_what_is_stored_anew(
    dataset: Dataset, pipeline: Path, tmp_path: Path
) -> None:
    encode(dataset, pipeline)
    out = run(dataset, pipeline, tmp_path / "run", **{"optimizer.steps": 1})
    chosen = load_settings(TrainSettings, None, as_overrides(named(dataset, pipeline)))
    stored = Stored(LatentStore(dataset.root), TextStore(dataset.root, 5))
    batches = Batches(out / "rows", chosen, stored=stored)
    here, there = batches[0, 0], pickle.loads(pickle.dumps(batches))[0, 0]
    assert here.latents is not None
    assert torch.equal(here.latents, there.latents)
    assert torch.equal(here.condition.states, there.condition.states)


def test_what_is_stored_is_what_the_autoencoder_makes_of_the_image(
    dataset: Dataset, pipeline: Path
) -> None:
    encode(dataset, pipeline, **{"data.aspects": [1.0]})
    kind: Any = diffusers.AutoencoderKL
    vae = kind.from_pretrained(pipeline / "vae", low_cpu_mem_usage=False)
    image = np.asarray(noise(4, 20, 20).resize((16, 16), 4))  # 4: BOX
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        wanted = [vae.encode(one).latent_dist.mode() for one in (pixels, pixels.flip(3))]
    expected = torch.cat(wanted).flatten(1) * vae.config.scaling_factor
    found = np.load(dataset.path(files.LATENTS.of("00000")))
    assert found.shape == (PER_SHARD, 2, 4 * 8 * 8)
    torch.testing.assert_close(torch.from_numpy(found[4]), expected, atol=1e-5, rtol=1e-5)


def test_what_is_up_to_date_is_skipped_and_what_is_missing_is_made(
    dataset: Dataset, pipeline: Path
) -> None:
    encode(dataset, pipeline)
    bytes_before = Path(dataset.path(files.LATENTS.of("00000"))).read_bytes()
    assert [one.done for one in encode(dataset, pipeline).stages] == [0, 0]
    dataset.remove(files.LATENTS.of("00000"))
    assert [(one.done, one.skipped) for one in encode(dataset, pipeline).stages] == [(1, 1), (0, 2)]
    assert Path(dataset.path(files.LATENTS.of("00000"))).read_bytes() == bytes_before
    for shard in ("00000", "00001"):
        assert all(dataset.exists(file.of(shard)) for file in MADE)
    lineage = origin(dataset, files.LATENTS.of("00001"))
    assert lineage.made_by == "latents"
    assert len(lineage.settings["vae"]) == 64


def test_a_selection_s_rows_alone_are_encoded_and_more_of_them_later(
    dataset: Dataset, pipeline: Path
) -> None:
    some = {"data.selection": "some"}
    encode(dataset, pipeline, **some)
    keys = pq.read_table(dataset.path(files.LATENT_ROWS.of("00000")))["key"].to_pylist()
    assert keys == ["000000000", "000000001"]
    assert [one.done for one in encode(dataset, pipeline, **some).stages] == [0, 0]
    select(dataset, "few", Choice(where="key = '000000001' OR key = '000000006'"))
    encode(dataset, pipeline, **{"data.selection": "few"})
    keys = pq.read_table(dataset.path(files.LATENT_ROWS.of("00000")))["key"].to_pylist()
    assert keys == ["000000000", "000000001", "000000006"]  # those of before are kept
    assert [one.done for one in encode(dataset, pipeline, **some).stages] == [0, 0]


def test_a_removed_row_leaves_them_and_the_rest_is_up_to_date(
    dataset: Dataset, pipeline: Path, tmp_path: Path
) -> None:
    encode(dataset, pipeline)
    before = np.load(dataset.path(files.LATENTS.of("00000")))
    with dataset.lock():
        query = RemovalQuery("url", "http://example.org/000000002.png")
        remove(dataset, query, matches(dataset, query))
        compact(dataset)
    for file in MADE:
        if file.removal == "row":
            keys = pq.read_table(dataset.path(file.of("00000")))["key"].to_pylist()
            assert "000000002" not in keys
            assert "000000004" in keys
    after = np.load(dataset.path(files.LATENTS.of("00000")))
    assert np.array_equal(after, np.delete(before, 2, axis=0))
    made = marker(dataset, "latents", "00000")
    assert made is not None
    assert made.counts == {"images": PER_SHARD - 1}
    assert [one.done for one in encode(dataset, pipeline).stages] == [0, 0]
    run(dataset, pipeline, tmp_path / "reads", **{"data.latents": "require"})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"data.size": 24}, "latents of shard 00000 differ in the sizes in pixels"),
        ({"data.crop": "random"}, "data.crop is random, and each epoch crops elsewhere"),
        ({"data.crop": "pad"}, "differ in data.crop"),
        ({"text.templates": ["a {caption}"]}, "captions are encoded by the run: the text states"),
        ({"data.selection": "all"}, "rows of shard 00000 have no latents, such as 000000002"),
    ],
)
def test_what_does_not_fit_is_not_read_and_said(
    dataset: Dataset,
    pipeline: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    more: dict[str, Any],
    said: str,
) -> None:
    encode(dataset, pipeline, **{"data.selection": "some"})
    given: dict[str, Any] = {"data.selection": "some", "data.batch": 1, "run.held_out": 0} | more
    run(dataset, pipeline, tmp_path / "run", **given)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "encoded " in line][:1]
    assert said in line
    assert "to encode once: frenchcat latents" in line
    with pytest.raises(UserError, match=r"data\.latents is require, but "):
        run(dataset, pipeline, tmp_path / "other", **given, **{"data.latents": "require"})


def test_latents_of_another_autoencoder_are_not_read_and_replaced_only_if_agreed_to(
    dataset: Dataset, pipeline: Path, tmp_path: Path
) -> None:
    encode(dataset, pipeline)
    other = tmp_path / "other"
    shutil.copytree(pipeline, other)
    torch.manual_seed(1)
    tiny_vae().save_pretrained(other / "vae")
    with pytest.raises(UserError, match="latents of shard 00000 differ in the autoencoder"):
        run(dataset, other, tmp_path / "run", **{"data.latents": "require"})
    with pytest.raises(ConfirmationNeeded, match="2 shards will be encoded again: the autoencoder"):
        encode(dataset, other)
    opened = frenchcat.open(dataset.root)
    done = opened.latents(set=named(dataset, other), precision="fp32", yes=True)
    assert [one.done for one in done.stages] == [2, 0]  # the text encoders are the same
    run(dataset, other, tmp_path / "run", **{"data.latents": "require"})


def test_latents_of_a_tar_that_was_replaced_are_not_read(
    dataset: Dataset, pipeline: Path, tmp_path: Path
) -> None:
    encode(dataset, pipeline)
    write(dataset, "00001", list(reversed(rows_of(1))), ["tar", "sidecar"])
    select(dataset, "anew")
    more = {"data.latents": "require", "data.selection": "anew"}
    with pytest.raises(UserError, match="of shard 00001 are of another tar"):
        run(dataset, pipeline, tmp_path / "run", **more)


def test_what_cannot_be_stored_is_refused(dataset: Dataset, pipeline: Path) -> None:
    with pytest.raises(UserError, match=r"data\.crop is random"):
        encode(dataset, pipeline, **{"data.crop": "random"})
    with pytest.raises(UserError, match="--precision fp8 is not one of"):
        encode(dataset, pipeline, "fp8")
    found = encode(dataset, None)
    assert [one.stage for one in found.stages] == ["text_states"]
    assert found.notes == ("the network works on pixels, so there are no latents",)


def test_tars_have_none(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1)
    with pytest.raises(UserError, match=r"data\.latents is require, and data\.tars have none"):
        train(settings(tars, tmp_path / "run", data={"latents": "require"}))


def test_the_command_line(
    dataset: Dataset, pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(f'[model]\nstart = "{pipeline}"\n[data]\nsize = 16\n', encoding="utf-8")
    given = ["latents", dataset.root, "--config", str(config), "--set", "run.device=cpu"]
    ended = CliRunner().invoke(app, given)
    assert ended.exit_code == 0, ended.output
    assert "latents: 16 images; shards encoded 2, up to date 0" in ended.output
    assert "images without latents: 1 undecodable" in ended.output
    ended = CliRunner().invoke(app, [*given, "--json", "--selection", "some"])
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    assert [(one["done"], one["skipped"]) for one in told["stages"]] == [(0, 2), (0, 2)]
