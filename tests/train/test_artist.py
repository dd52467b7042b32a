"""The bundled artist: written from a run, opened without one, and what it says of its training."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.train.artist import (
    CONFIG,
    STATE,
    WEIGHTS,
    artist_folder,
    export_artist,
    open_artist,
    read_seen,
    write_seen,
)
from frenchcat.train.checkpoint import State
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.loop import train
from frenchcat.train.run import Parts, make_parts, open_run
from frenchcat.train.seen import Seen, thumbs_of
from frenchcat.train.start import start_of
from frenchcat.verify_file import verify_file
from tests.sample.pictures import picture
from tests.train.embedded_run import mini
from tests.train.runs import settings, values, write_tars

PROCESS = {"schedule": "flow", "target": "x0", "loss": "velocity", "min_snr": 0.0}
ROWS = 12


@pytest.fixture(scope="module")
def parts() -> Parts:
    model = {"patch": 4, "pooled": True}
    made = make_parts(settings(Path("tars"), Path("run"), model=model, diffusion=PROCESS))
    made.unet.eval()
    return made


@pytest.fixture(scope="module")
def artist(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artist")
    model = {"patch": 4, "pooled": True}
    chosen = values(Path("/home/me/tars"), Path("/home/me/run"), model=model, diffusion=PROCESS)
    state = State(7, 0, 7, 84, 0, {"selection": "5" * 64}, 0.5, chosen)
    digest = export_artist(parts.unet, state, folder)
    assert len(digest) == 64
    return folder


@pytest.fixture
def bundled(artist: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("frenchcat.train.artist.artist_folder", lambda: artist)
    return artist


def test_a_training_starts_from_it(
    artist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.train.start.artist_folder", lambda: tmp_path)
    with pytest.raises(NotFound, match=r"model\.start artist is not installed"):
        start_of("artist")
    monkeypatch.setattr("frenchcat.train.start.artist_folder", lambda: artist)
    tars = write_tars(tmp_path / "tars", 1)
    barely = {"steps": 1, "warmup": 0, "rate": 1e-9, "ema": 0.0, "decay": 0.0}
    for name, more in (("all", {}), ("updates", {"lora": 2})):
        model = {"start": "artist", "patch": 1, **more}  # its own patch is taken
        chosen = settings(tars, tmp_path / name, model=model, optimizer=barely)
        opened, state, _ = open_run(train(chosen))
        theirs, _, _ = open_artist(folder=artist)
        assert opened.settings.model.patch == 4
        assert opened.settings.diffusion.loss == "velocity"
        for one, other in zip(opened.unet.parameters(), theirs.unet.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        assert len(state.identity["start"]) == 64


def trained() -> list[Image.Image]:
    pictures = [Image.open(io.BytesIO(picture(n))).convert("RGB") for n in range(ROWS)]
    return [one.resize((16, 16)) for one in pictures]


def about(n: int) -> dict[str, str | None]:
    return {"caption": f"patch {n}", "url": f"http://x/{n}", "creator": "me", "licence": "MIT"}


def test_it_draws_what_its_run_drew(parts: Parts, artist: Path) -> None:
    opened, state, folder = open_artist(folder=artist)
    assert (state.step, folder) == (7, artist)
    assert opened.unet.dtype == torch.float32
    assert (artist / WEIGHTS).stat().st_size < 2.2 * parts.unet.num_parameters()
    wanted = [SampleRequest("a cat", 3)]
    (theirs,), (ours,) = (draw(one, wanted, steps=4) for one in (parts, opened))
    apart = np.abs(np.asarray(theirs, np.float64) - np.asarray(ours, np.float64))
    assert apart.mean() < 2  # 11 bits of each weight
    assert np.asarray(ours).std() > 1


def test_it_tells_no_path_of_its_run(artist: Path) -> None:
    assert "/home/me" not in (artist / STATE).read_text()
    for folder in (artist, artist_folder()):
        assert "_name_or_path" not in json.loads((folder / CONFIG).read_text())
        assert json.loads((folder / STATE).read_text())["settings"]["model"]["start"] is None


def test_diffusers_opens_it(artist: Path) -> None:
    import diffusers

    unet_class: Any = diffusers.UNet2DConditionModel
    unet = unet_class.from_pretrained(artist, low_cpu_mem_usage=False)
    assert unet.config.in_channels == 48


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", STATE])
def test_without_a_file_it_is_refused_in_a_line(artist: Path, tmp_path: Path, name: str) -> None:
    for path in artist.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(NotFound, match=rf"not installed: .* has no {name}; .*sample RUN PROMPT"):
        open_artist(folder=tmp_path)
    (tmp_path / name).write_bytes(b"\0\0")
    with pytest.raises(UserError):
        open_artist(folder=tmp_path)


def test_its_training_pictures_are_as_they_were_but_for_8_bits(tmp_path: Path) -> None:
    clip, pictures = mini(), trained()
    vectors = clip.encode_images(pictures)
    keys = tuple(f"{n:09d}" for n in range(ROWS))
    seen = Seen(keys, vectors.astype(np.float16), thumbs_of(pictures))
    assert read_seen(tmp_path) is None
    write_seen(tmp_path, seen, [about(n) for n in range(ROWS)])
    found = read_seen(tmp_path)
    assert found is not None
    again, told = found
    assert again.keys == keys
    assert (again.thumbs == seen.thumbs).all()
    assert [row["url"] for row in told] == [f"http://x/{n}" for n in range(ROWS)]
    assert np.abs(again.similarities(vectors) - vectors @ vectors.T).max() < 0.01


def sample(*given: str) -> Any:
    return CliRunner().invoke(app, ["sample", *given], catch_exceptions=False)


def test_a_prompt_alone_is_drawn_signed_with_its_receipt(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted memorised picture, here the drawing itself, is first by both measures."""
    monkeypatch.chdir(tmp_path)
    quick = ("-n", "1", "--steps", "2", "--device", "cpu")
    assert sample("a french cat", *quick).stdout.split()[0] == "drawn/a-french-cat-0.png"
    receipt = json.loads(Path("drawn/a-french-cat-0.json").read_text())
    assert "has no data about its training images" in receipt["note"]
    with Image.open("drawn/a-french-cat-0.png") as opened:
        pictures = [*trained(), opened.convert("RGB")]
    vectors = mini().encode_images(pictures).astype(np.float16)
    keys = (*(f"{n:09d}" for n in range(ROWS)), "planted")
    write_seen(bundled, Seen(keys, vectors, thumbs_of(pictures)), [about(n) for n in range(13)])
    sample("a french cat", "a dog", *quick)
    receipt = json.loads(Path("drawn/a-french-cat-0.json").read_text())
    assert (receipt["compared"], receipt["note"]) == (13, None)
    assert receipt["made"]["model"] == "frenchcat artist"
    first, alike = receipt["nearest"][0], receipt["nearest_by_pixels"][0]
    assert first["key"] == alike["key"] == "planted"
    assert first["similarity"] > 0.99
    assert (alike["difference"], alike["licence"]) == (0, "MIT")
    assert Path("drawn/a-dog-0.png").exists()
    found = verify_file(Path("drawn/a-french-cat-0.png"))
    assert (found["intact"], found["generated"]) == (True, True)


def test_what_is_no_prompt_is_said(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with pytest.raises(UserError, match="there is no prompt"):
        sample("run")
    with pytest.raises(NotFound, match=r"there is no folder rum; .*--artist"):
        sample("rum", "a cat")
    with pytest.raises(NotFound, match=r"run is not a run: it has no run\.json"):
        sample("run", "a cat")
    with pytest.raises(UserError, match="the bundled artist has no checkpoint"):
        sample("a cat", "--checkpoint", "run")
    quick = ("-n", "1", "--steps", "1", "--device", "cpu", "--artist")
    drawn = sample("rum", "run", *quick).stdout.split()
    assert drawn == ["drawn/rum-0.png", "drawn/run-0.png", "drawn/grid.png"]


def test_its_folder_is_the_packages_own() -> None:
    assert artist_folder().name == "artist"
    assert (artist_folder() / "__init__.py").exists()
