"""The list of deliberate breaks: each applies to today's code, follows its function, changes it."""

from collections import Counter
from pathlib import Path

import pytest

from tools.mutants.mutant import DoesNotApply, Mutant, apply, load
from tools.mutants.reach import Reach
from tools.mutants.tree import ROOT

SOURCE = '''"""A module."""

LIMIT = 3


class Box:
    """A box."""

    def fits(self, size: int) -> bool:
        """Whether it does."""
        return size < LIMIT


def fits(size: int) -> bool:
    return size < LIMIT
'''


def test_every_break_applies_to_the_code_as_it_is() -> None:
    mutants = load()
    assert len(mutants) >= 150
    for mutant in mutants:
        changed = apply(mutant, ROOT)
        assert changed.source != (ROOT / changed.file).read_text(encoding="utf-8")
        assert mutant.promise
    assert min(Counter(mutant.area for mutant in mutants).values()) >= 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "curate").mkdir()
    (tmp_path / "curate" / "box.py").write_text(SOURCE)
    return tmp_path


def mutant(place: str, **how: str) -> Mutant:
    return Mutant("one", place, "a promise", **how)


def test_only_the_named_function_changes(root: Path) -> None:
    place = "frenchcat.curate.box:Box.fits"
    changed = apply(mutant(place, find="size < LIMIT", replace="True"), root)
    assert changed.file == "curate/box.py"
    assert changed.source == SOURCE.replace("size < LIMIT", "True", 1)
    changed = apply(mutant("frenchcat.curate.box:fits", body="return False"), root)
    assert changed.source.endswith("def fits(size: int) -> bool:\n    return False\n")
    changed = apply(mutant(place, body="return False"), root)
    assert '"""Whether it does."""\n        return False\n\n\ndef fits' in changed.source


def test_a_line_outside_functions_is_named_by_its_module(root: Path) -> None:
    changed = apply(mutant("frenchcat.curate.box", find="LIMIT = 3", replace="LIMIT = 4"), root)
    assert changed.source == SOURCE.replace("LIMIT = 3", "LIMIT = 4")


def test_a_moved_function_is_found_by_its_name(root: Path) -> None:
    moved = mutant("frenchcat.curate.crate:Box.fits", find="size < LIMIT", replace="True")
    assert apply(moved, root).file == "curate/box.py"
    (root / "curate" / "copy.py").write_text(SOURCE)
    with pytest.raises(DoesNotApply, match="found in 2 files"):
        apply(moved, root)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"find": "size > LIMIT", "replace": "True"}, "stands 0 times"),
        ({"find": "s", "replace": "t"}, "stands"),
        ({"find": "size < LIMIT", "replace": "size < LIMIT"}, "nothing changes"),
        ({"find": "size < LIMIT", "replace": "size <"}, "is not Python"),
    ],
)
def test_a_break_that_does_not_apply_is_named(root: Path, how: dict[str, str], why: str) -> None:
    with pytest.raises(DoesNotApply, match=why):
        apply(mutant("frenchcat.curate.box:fits", **how), root)


def test_the_tests_of_a_function_come_quickest_first_with_all_that_share_its_setup() -> None:
    ran = {"curate/box.py": {"fits": ["t.py::slow", "t.py::quick"], "Box.fits": ["u.py::*"]}}
    seconds = {"t.py::slow": 9.0, "t.py::quick": 0.1, "u.py::one": 1.0, "u.py::two": 2.0}
    reach = Reach(ran, seconds)
    assert reach.tests("curate/box.py", (14, 15), SOURCE) == ["t.py::quick", "t.py::slow"]
    assert reach.tests("curate/box.py", (9, 11), SOURCE) == ["u.py::one", "u.py::two"]
    assert reach.tests("curate/moved.py", (14, 15), SOURCE) == ["t.py::quick", "t.py::slow"]


def test_a_remembered_function_has_the_tests_of_its_whole_module() -> None:
    source = SOURCE.replace("\ndef fits(", "\n@cache\ndef fits(")
    ran = {"curate/box.py": {"fits": ["t.py::first"], "Box.fits": ["t.py::second"]}}
    reach = Reach(ran, {"t.py::first": 1.0, "t.py::second": 2.0})
    assert reach.tests("curate/box.py", (15, 16), source) == ["t.py::first", "t.py::second"]
    assert reach.tests("curate/box.py", (9, 11), source) == ["t.py::second"]
