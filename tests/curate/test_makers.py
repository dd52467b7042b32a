"""A column that a stage makes and a dataset lacks: what to run for it, as far as it is missing."""

from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.makers import how_to_make, score_command
from frenchcat.curate.score.builtin import SCORES
from frenchcat.curate.score.kinds import ImageScore
from frenchcat.curate.score_table import BUILTIN
from frenchcat.curate.verdict.settings import VerdictSettings, read_rules
from frenchcat.curate.verdict.stage import verdict
from tests.sample.row import Row
from tests.sample.write import write

VECTOR = np.eye(16, dtype=np.float16)[0]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Downloaded, in a folder with a blank."""
    made = Dataset.create(tmp_path / "my data", "d")
    write(made, "00000", [Row(columns={"original_width": 300, "original_bytes": 1})])
    return made


@pytest.mark.parametrize(
    ("column", "stages"),
    [
        ("punsafe", ("embed", "score")),
        ("CAPTION_chars", ("embed", "score")),
        ("caption_similarity", ("embed", "score")),
        ("duplicate_of", ("embed", "score", "dedup")),
        ("multiplicity", ("embed", "score", "dedup")),
        ("keep", ("verdict",)),
    ],
)
def test_every_stage_that_is_missing_is_named_in_order(
    dataset: Dataset, column: str, stages: tuple[str, ...]
) -> None:
    said = ", then ".join(f"frenchcat {stage} '{dataset.root}'" for stage in stages)
    assert how_to_make(dataset, [column]) == f"run {said}"
    with Catalog(dataset) as catalog, pytest.raises(UnknownColumn) as refused:
        catalog.count(f"{column} is null")
    assert str(refused.value) == f"no column {column!r} in '{column} is null'; run {said}"


@pytest.mark.parametrize("rules", ["laion-5b", "re-laion", "datacomp-basic"])
def test_rules_name_all_stages_that_they_need(dataset: Dataset, rules: str) -> None:
    """At once, so that nobody is sent from one stage to the next."""
    with pytest.raises(UserError) as refused:
        verdict(dataset, resolve(VerdictSettings, {"rules": read_rules(rules)}))
    stages = ("embed", "score", "dedup") if "laion" in rules else ("embed", "score")
    said = ", then ".join(f"frenchcat {stage} '{dataset.root}'" for stage in stages)
    assert str(refused.value).endswith(f"; run {said}")


def test_what_has_run_is_not_named_again(dataset: Dataset) -> None:
    write(dataset, "00000", [Row(vector=VECTOR, scores={"similarity": 0.3})], ("vectors", "scores"))
    assert how_to_make(dataset, ["kind"]) == f"run frenchcat dedup '{dataset.root}'"
    dataset.update_manifest({"settings": {"score": {"scores": ["similarity"]}}})
    more = f"frenchcat score '{dataset.root}' --set 'score.scores=[\"similarity\", \"pdq\"]'"
    assert how_to_make(dataset, ["pdq", "similarity"]) == f"run {more}"
    assert score_command(dataset, ["similarity"]) == f"frenchcat score '{dataset.root}'"


def test_a_column_of_nobody_has_a_near_name_instead(dataset: Dataset) -> None:
    assert how_to_make(dataset, ["widht"]) is None
    with pytest.raises(UserError, match=r"rule a: no column 'widht'.*did you mean width\?$"):
        verdict(dataset, VerdictSettings(rules={"a": "widht < 3", "b": "punsafe > 1"}))
    with pytest.raises(UserError, match=r"rule a: .*the rules decide about it"):
        verdict(dataset, VerdictSettings(rules={"a": "keep"}))


def test_the_table_says_which_scores_read_images() -> None:
    for name, entry in BUILTIN.items():
        assert entry.images == isinstance(SCORES[name], ImageScore)
