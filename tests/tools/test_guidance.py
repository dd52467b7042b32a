"""The toy of docs/guidance.md: its exact parts are exact, its figures the same each time."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")

from frenchcat.train.diffusion import Diffusion
from frenchcat.train.guidance import classifier_gradient
from tools.guidance.learned import learn
from tools.guidance.mixture import hexagon, stamped
from tools.guidance.toy import LABEL, drawn, fooled, measured

DOCS = Path(__file__).parents[2] / "docs"
MIXTURE = hexagon(Diffusion.make("cosine"))
POINTS = 300


def test_the_bare_model_draws_the_data() -> None:
    found = drawn(MIXTURE, "", points=POINTS)
    assert found.right == pytest.approx(1 / 3, abs=0.1)
    assert found.off < 0.03
    assert found.spread == pytest.approx(1, abs=0.1)


def test_the_noise_is_that_of_a_draw_on_the_average() -> None:
    """E[eps | x_t] is the least squares answer: its residue has no correlation with x_t."""
    points, labels = MIXTURE.draw(20_000, seed=7)
    t = torch.full((len(points),), 400)
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(8)).double()
    x = MIXTURE.diffusion.noised(points, t, noise)
    for condition in (labels, torch.full_like(labels, -1)):
        residue = noise - MIXTURE.noise(x, t, condition)
        assert float((residue * x).mean().abs()) < 0.02
        assert float(residue.mean().abs()) < 0.02


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_an_exact_classifier_is_classifier_free_guidance(weight: float) -> None:
    """log p(y | x) = log p(x | y) - log p(x) + log p(y): in theory there is one guidance."""
    labels = torch.full((POINTS,), LABEL)
    gradient = classifier_gradient(MIXTURE.log_classes, labels, weight)
    by_classifier = drawn(MIXTURE, "", gradients=(gradient,), points=POINTS)
    free = drawn(MIXTURE, "", free=weight, points=POINTS)
    # Where a_t is below .02 gradients are left out, and classifier-free guidance is not.
    assert float((by_classifier.points - free.points).norm(dim=1).median()) < 0.05
    assert by_classifier.right == free.right == 1.0


def test_a_stamp_that_is_never_wrong_is_the_shortest_way_to_a_label() -> None:
    mixture = stamped(MIXTURE.diffusion)
    start, end = fooled(mixture, mixture.log_classes, points=50)
    across, upwards = (end - start).abs().mean(0).tolist()
    assert upwards > 5 * across
    sure = mixture.log_classes(end[..., None, None], torch.zeros(50, dtype=torch.int64))
    assert float(sure.softmax(1)[:, LABEL].min()) > 0.99
    assert float((end[:, 0] > 0).double().mean()) > 0.8


def test_a_classifier_of_clean_points_leads_off_the_data() -> None:
    labels = torch.full((POINTS,), LABEL)
    off = {}
    for noisy in (True, False):
        gradient = classifier_gradient(learn(MIXTURE, noisy, steps=300), labels, 1.0)
        off[noisy] = drawn(MIXTURE, "", gradients=(gradient,), points=POINTS).off
    assert off[False] > off[True] + 0.2


def test_the_pages_tables_are_those_of_the_files_beside_its_pictures() -> None:
    page = (DOCS / "guidance.md").read_text(encoding="utf-8")
    read = {
        name: json.loads((DOCS / "pictures" / f"guidance-{name}.json").read_text())
        for name in ("toy", "sample")
    }
    told = [line.replace("100 %", "100.0 %") for line in page.splitlines() if line[:2] == "| "]
    for panel in read["toy"]["panels"]:
        if not panel["title"].endswith("w = 2"):
            row = f" {panel['right']:.1%} | {panel['off']:.1%} | {panel['spread']:.2f} "
            row = row.replace("%", " %").replace(" 0.", " .")
            assert any(row in line for line in told), panel
    for way in read["sample"]["ways"]:
        shares = [f"{100 * way[who]:.0f} %" for who in ("steering", "judge", "clip")]
        row = " | ".join([*shares, f"{way['clip_score']:.2f} ± {way['interval']:.2f}"])
        assert row in page, way


@pytest.mark.slow
def test_the_figures_are_the_same_each_time(tmp_path: Path) -> None:
    told = measured(tmp_path / "a", points=60, steps=300)
    assert measured(tmp_path / "b", points=60, steps=300) == told
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
