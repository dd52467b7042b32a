from collections.abc import Iterator
from pathlib import Path

import pytest

from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from tests.index.service.served import make_dataset
from tests.train.embedded_run import train_on_selection


@pytest.fixture(scope="session")
def clip() -> Clip:
    return load_clip(ClipSettings())


@pytest.fixture
def cats(tmp_path: Path, clip: Clip) -> Dataset:
    return make_dataset(tmp_path / "cats", clip)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Iterator[Path]:
    """A trained run, and a key of its own to sign with; its dataset lies beside it."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        yield train_on_selection(folder, clip)
