"""Settings of a training that are wrong are refused before the seconds that torch takes."""

import sys
from pathlib import Path
from typing import Any

import pytest

import frenchcat
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from tests.command_line import main

UNKNOWN = r"--set nosuch\.key=1: unknown setting 'nosuch'"


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What imports torch cannot be imported."""
    for name in ("loop", "start", "forecast", "encode_dataset"):
        monkeypatch.setitem(sys.modules, f"frenchcat.train.{name}", None)


@pytest.mark.parametrize("more", [(), ("--plan",)])
def test_the_verb_refuses_an_unknown_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert main(monkeypatch, "train", "train-demo", "--set", "nosuch.key=1", *more) == 2
    assert "unknown setting 'nosuch'" in capsys.readouterr().err


@pytest.mark.parametrize("given", [{"set": ["nosuch.key=1"]}, {"config": "no-such-preset"}])
def test_so_does_python(given: dict[str, Any], tmp_path: Path) -> None:
    dataset = frenchcat.open(Dataset.create(tmp_path / "d", "d").root)
    for work in (frenchcat.train, dataset.latents):
        with pytest.raises(UserError, match=rf"{UNKNOWN}|no settings file no-such-preset"):
            work(**{"config": "train-demo"} | given)
