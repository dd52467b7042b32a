"""`frenchcat evaluate`: its figures are those of the metrics on what is stored and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.search import Searcher
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.evaluate import Evaluation, evaluate
from frenchcat.train.held_out import TIMES, held_out
from frenchcat.train.loop import train
from frenchcat.train.metrics import clip_score, cmmd, frechet_distance, precision_recall
from frenchcat.train.model import unet_output
from frenchcat.train.rows import open_rows
from frenchcat.train.run import open_run
from tests.train.embedded_run import mini, train_on_selection
from tests.train.runs import settings, write_tars


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_on_selection(tmp_path_factory.mktemp("evaluate"), mini())


@pytest.fixture(scope="module")
def found(run: Path) -> Evaluation:
    return evaluate(run, number=8, steps=2, guidance=1.5, sampler="ddim", seed=3)


def test_what_is_written_is_what_was_found(run: Path, found: Evaluation) -> None:
    kept = json.loads((run / "evaluation.json").read_text())
    assert (kept["fid"], kept["drawn"], kept["seed"]) == (found.fid, 8, 3)
    assert (kept["sampler"], kept["steps"], kept["guidance"]) == ("ddim", 2, 1.5)
    assert found.real == 27  # of 30 rows, the tenth that is held out not
    assert len(found.held_out_loss_by_time or {}) == TIMES
    assert found.held_out_loss == pytest.approx(
        np.mean(list((found.held_out_loss_by_time or {}).values()))
    )
    assert any("biased upwards" in note for note in found.notes)


def test_figures_are_of_the_stored_vectors_and_the_drawn_pictures(
    run: Path, found: Evaluation
) -> None:
    parts, state, _ = open_run(run)
    searcher = Searcher(Dataset.open(str(parts.settings.data.dataset)))
    rows = open_rows(run / "rows")
    assert rows is not None
    trained = [n for n in range(len(rows)) if n not in rows.held_out]
    stored = searcher.vectors(searcher.positions(trained))
    assert found.selection == rows.digest == state.identity["selection"]
    from frenchcat.train.real_images import trained_rows

    captions = [str(rows.row(n).caption) for n in trained_rows(rows, 8, 3)[:8]]
    wishes = [SampleRequest(caption, 3 + n) for n, caption in enumerate(captions)]
    pictures = draw(parts, wishes, steps=2, guidance=1.5, sampler="ddim")
    drawn = searcher.clip.encode_images(pictures)
    assert found.cmmd == pytest.approx(cmmd(drawn, stored), rel=1e-3)
    expected = clip_score(drawn, searcher.clip.encode_texts(captions)).mean
    assert found.clip_score == pytest.approx(expected, abs=1e-3)
    assert found.cmmd_unbiased == pytest.approx(cmmd(drawn, stored, unbiased=True), rel=1e-3)
    assert found.fid == pytest.approx(frechet_distance(drawn, stored), rel=1e-3)
    assert (found.precision, found.recall) == precision_recall(stored, drawn)
    of_the_captions = np.stack([stored[trained.index(n)] for n in trained_rows(rows, 8, 3)[:8]])
    real = clip_score(of_the_captions, searcher.clip.encode_texts(captions)).mean
    assert found.clip_score_real == pytest.approx(real, abs=1e-3)


def test_the_held_out_loss_is_the_error_at_ten_evenly_spaced_times(
    run: Path, found: Evaluation
) -> None:
    parts, state, _ = open_run(run)
    times = sorted(found.held_out_loss_by_time or {})
    assert times == [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]
    rows = open_rows(run / "rows")
    assert rows is not None
    still = held_out(parts.settings.data, parts.codec, rows, torch.device("cpu"))
    assert still is not None
    assert still.captions == [str(rows.row(n).caption) for n in rows.held_out]
    condition = parts.text(still.captions)
    for time in times[::4]:
        a, s = (float(one) for one in parts.diffusion.coefficients(torch.tensor([time])))
        t = torch.full((len(still.x_0),), time)
        with torch.no_grad():
            v = unet_output(parts.unet, a * still.x_0 + s * still.noise, t, condition)
        error = float((v - (a * still.noise - s * still.x_0)).square().mean())
        assert (found.held_out_loss_by_time or {})[time] == pytest.approx(error, rel=1e-4)
    assert state.held_out_loss == pytest.approx(found.held_out_loss, rel=1e-4)


def test_real_pictures_at_the_drawings_size_are_the_floor(run: Path, found: Evaluation) -> None:
    """Of pictures of one colour, whose vectors are those of whole pictures but for rounding."""
    parts, _, _ = open_run(run)
    searcher = Searcher(Dataset.open(str(parts.settings.data.dataset)))
    rows = open_rows(run / "rows")
    assert rows is not None
    from frenchcat.train.real_images import trained_rows

    chosen = trained_rows(rows, 8, 3)
    stored = searcher.vectors(searcher.positions(chosen))
    texts = searcher.clip.encode_texts([str(rows.row(n).caption) for n in chosen[:8]])
    assert found.size == "16x16"
    assert found.floor is not None
    assert found.floor["cmmd"] == pytest.approx(cmmd(stored[:8], stored[8:]), rel=1e-2)
    assert found.floor["recall"] == precision_recall(stored[8:], stored[:8])[1]
    assert found.floor["clip_score"] == pytest.approx(found.clip_score_real, abs=1e-6)
    assert found.full_size is not None
    assert found.full_size["clip_score_whole"] == pytest.approx(
        clip_score(stored[:8], texts).mean, abs=1e-3
    )
    assert found.held_out_prompts is not None
    unseen = [str(rows.row(n).caption) for n in rows.held_out]
    wishes = [SampleRequest(caption, 3 + n) for n, caption in enumerate(unseen)]
    drawn = searcher.clip.encode_images(draw(parts, wishes, steps=2, guidance=1.5, sampler="ddim"))
    expected = clip_score(drawn, searcher.clip.encode_texts(unseen)).mean
    assert found.held_out_prompts["drawn"] == len(unseen) == 3
    assert found.held_out_prompts["clip_score"] == pytest.approx(expected, abs=1e-3)


def test_the_same_again_is_the_same(run: Path, found: Evaluation) -> None:
    again = evaluate(run, number=8, steps=2, guidance=1.5, sampler="ddim", seed=3)
    assert again == found
    other = evaluate(run, number=8, steps=2, guidance=1.5, sampler="ddim", seed=4)
    assert other.cmmd != found.cmmd


def test_foreign_tars_are_encoded_and_the_verb_says_so(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1, 20)
    run = train(settings(tars, tmp_path / "run", optimizer={"steps": 1}))
    shown = CliRunner().invoke(app, ["evaluate", str(run), "-n", "5", "--steps", "1", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["drawn"], told["real"]) == (5, 18)
    assert any("foreign tars" in note for note in told["notes"])
    with pytest.raises(UserError, match=r"trained on tars outside a dataset.*frenchcat adopt"):
        frenchcat.credits(run)
    (tars / "00000.tar").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        evaluate(run, number=5, steps=1)


def test_mistakes_are_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="4 images are too few"):
        evaluate(run, number=4)
    with pytest.raises(UserError, match="28 images to draw, but only 27 were trained on"):
        evaluate(run, number=28)
    with pytest.raises(UserError, match=r"no sampler 'dpm'; known: .*dpm\+\+"):
        evaluate(run, number=5, sampler="dpm")
    with pytest.raises(UserError, match="give 1 to 1000"):
        evaluate(run, number=5, steps=0)
    with pytest.raises(UserError, match="is not a run"):
        evaluate(tmp_path)
    dataset = Path(open_run(run)[0].settings.data.dataset or "")
    dataset.rename(tmp_path / "away")
    try:
        with pytest.raises(UserError, match=f"on the dataset {dataset}, which is gone; put it"):
            evaluate(run, number=5)
    finally:
        (tmp_path / "away").rename(dataset)
