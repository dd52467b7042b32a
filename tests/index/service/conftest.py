from pathlib import Path

import pytest

from curate.clip.model import Clip, load_clip
from curate.clip.settings import ClipSettings
from curate.dataset import Dataset
from tests.index.service.served import make_dataset


@pytest.fixture(scope="session")
def clip() -> Clip:
    return load_clip(ClipSettings())


@pytest.fixture
def cats(tmp_path: Path, clip: Clip) -> Dataset:
    return make_dataset(tmp_path / "cats", clip)
