"""docs/train.md: its loop runs as printed, and it names every setting."""

import gc
import re
from pathlib import Path

import pytest

from frenchcat.curate.config import as_dict
from frenchcat.train.settings import TrainSettings
from tests.train.runs import write_tars

PAGE = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its last tar open
def test_the_loop_of_ones_own_reads_every_sample(tmp_path: Path) -> None:
    codes = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (code,) = [code for code in codes if "def samples" in code]
    names: dict[str, object] = {}
    exec(code, names)
    tars = [str(path) for path in sorted(write_tars(tmp_path / "tars").glob("*.tar"))]
    read = list(names["samples"](tars))  # type: ignore[operator]
    assert sorted(caption for _, caption in read) == sorted(f"cat {n}" for n in range(40))
    assert {picture.size for picture, _ in read} == {(16, 12)}
    gc.collect()


def test_every_setting_is_told() -> None:
    for section, entries in as_dict(TrainSettings()).items():
        for name in entries:
            assert f"`{section}.{name}`" in PAGE, f"{section}.{name}"


def test_the_defaults_are_those_that_are_told() -> None:
    """Row by row of the table of settings."""
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`\w+\.\w+`.*?) \| (.*?) \|", PAGE, re.M):
        keys = re.findall(r"`(\w+\.\w+)`", names)
        values = re.findall(r"\([^)]*\)|[^,\s]+", defaults)
        values = values if len(values) == len(keys) else values[:1] * len(keys)
        told |= dict(zip(keys, values, strict=True))
    for section, entries in as_dict(TrainSettings()).items():
        for name, value in entries.items():
            assert _read(told[f"{section}.{name}"], value), (section, name, value)


def _read(told: str, value: object) -> bool:
    """Whether a cell tells a default."""
    if value is None:
        return told in ("none", "mini")  # of the model `mini` there is one set of weights
    if isinstance(value, bool):
        return told == str(value).lower()
    if isinstance(value, int | float):
        return float(told) == value
    if isinstance(value, str):
        return told == value
    assert isinstance(value, list | tuple)
    if told == "four":
        return len(value) == 4
    return [float(one) for one in re.findall(r"[\d.]+", told)] == list(value)
