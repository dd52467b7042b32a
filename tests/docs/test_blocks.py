"""Every code block of README.md, CONTRIBUTING.md and docs/*.md, run as printed."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from frenchcat.cli import app
from frenchcat.curate.config import resolve
from frenchcat.curate.report.terms import load_terms
from frenchcat.curate.verdict.rules import check_rules
from frenchcat.pipeline import BuildSettings
from frenchcat.scale.settings import ScaleSettings
from frenchcat.train.settings import TrainSettings
from tests.docs.blocks import LANGUAGES, PAGES, Block, blocks_of, missing
from tests.docs.world import World, world

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [block for block in BLOCKS if block.language in ("sh", "python")]
QUICK = [block for block in RUN if block.how != "not run"]
NOT_RUN = [block for block in RUN if block.how == "not run"]
DATA = [block for block in BLOCKS if block.language in ("toml", "json")]
EACH_TIME = ("README.md", "docs/python.md")
"""Pages whose blocks `make test` runs; `make soak` runs those of all pages."""
FULL = ("docs/tutorial.md",)
"""Pages that are also run as they are, without a stand-in, and whose printed output is compared."""
MOST_NOT_RUN = 15
"""The last three: docs/publish.md and docs/select.md (Lance), whose engines slow tests start, and
the training of minutes in docs/fine-tune.md, which `python -m bench.finetune` does.
"""


def output_after(block: Block) -> Block | None:
    """The output that the page prints below a block."""
    later = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    return later[0] if later and later[0].language == "text" else None


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("docs")) as made:
        yield made
        made.commands.end_page()
        if reporter := pytestconfig.pluginmanager.get_plugin("terminalreporter"):
            spent = made.commands.used_sec()
            reporter.write_line(f"\nthe blocks' commands took {spent:.0f} s of processor time")


def test_every_block_is_of_a_known_language_and_no_comment_is_misread() -> None:
    assert {block.language for block in BLOCKS} <= set(LANGUAGES)
    fences = sum(page.read_text(encoding="utf-8").count("```") for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    comments = sum(
        len(re.findall(r"^ *<!-- (?:not run|fails):", page.read_text(encoding="utf-8"), re.M))
        for page in PAGES
    )
    assert comments == sum(block.how != "run" for block in BLOCKS)


def test_few_blocks_are_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(QUICK)} blocks of documentation are run; {len(NOT_RUN)} are not:")
        for block in NOT_RUN:
            print(f"  {block.place}: {block.why}")
    assert all(block.why for block in NOT_RUN)
    assert len(NOT_RUN) <= MOST_NOT_RUN


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.place)
def test_a_block_that_is_not_run_gives_options_that_there_are(block: Block) -> None:
    commands = get_command(app)
    for line in block.text.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "torchrun":
            arguments = arguments[arguments.index("frenchcat") + 1 :]
        elif program != "frenchcat":
            continue
        verb, *rest = arguments
        commands.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]


@pytest.mark.server
@pytest.mark.timeout(1200)  # the first one makes the dataset of all
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, marks=() if block.page in EACH_TIME else pytest.mark.slow)
        for block in QUICK
    ],
    ids=lambda block: block.place,
)
def test_a_block_runs_as_printed(pages: World, block: Block) -> None:
    texts = [one.text for one in QUICK if one.page == block.page and one.how == "run"]
    where = pages.page(block.page, texts, empty=block.page in FULL)
    ended = pages.run(block, where)
    assert ended.status == (int(block.why) if block.how == "fails" else 0), ended.output
    shown = output_after(block)
    if block.how == "fails" and shown is not None:
        assert missing(shown.text, ended.output) is None, ended.output


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FULL)
def test_a_page_prints_what_it_shows(pages: World, tmp_path: Path, name: str) -> None:
    """All blocks of a page in their order, without stand-ins, in an empty folder."""
    for block in RUN:
        if block.page != name or block.how == "not run":
            continue
        ended = pages.run(block, tmp_path, full=True)
        assert ended.status == 0, (block.place, ended.output)
        shown = output_after(block)
        if shown is not None:
            assert missing(shown.text, ended.output) is None, (shown.place, ended.output)


@pytest.mark.parametrize("block", DATA, ids=lambda block: block.place)
def test_a_file_that_is_printed_can_be_read(block: Block, tmp_path: Path) -> None:
    """Settings, rules, word lists: each is taken by what reads such files."""
    if block.language == "json":
        assert json.loads(block.text)
        return
    values = tomllib.loads(block.text)
    if "terms" in values:
        file = tmp_path / "words.toml"
        file.write_text(block.text, encoding="utf-8")
        assert load_terms([file])
    elif all(isinstance(value, str) for value in values.values()):
        check_rules(values)
    elif {"data", "optimizer", "diffusion"} & values.keys():
        resolve(TrainSettings, values)
    elif {"machine", "prices"} & values.keys():
        resolve(ScaleSettings, values)
    else:
        resolve(BuildSettings, values)
