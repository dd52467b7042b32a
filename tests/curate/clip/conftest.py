from pathlib import Path

import pytest

from tests.curate.clip.models import save_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights."""
    return save_folder(tmp_path_factory.mktemp("models") / "small")
