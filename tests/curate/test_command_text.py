"""Commands that we print can be copied into a shell, whatever is in their paths and values."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from frenchcat.cli import VERBS
from frenchcat.curate.command_text import shell_command, shell_word

ROOT = Path(__file__).parents[2]
ODD = ["my data", "$HOME", "a'b", 'it\'s "so"', "`id`", "caption ilike '%cat%'", "", "#x", "a&b;c"]
_VALUE = "\0"
_VERB = rf"(?:{'|'.join(VERBS)}|{_VALUE})"
_BARE = re.compile(rf"\b(?:run|with|first|again):? frenchcat {_VERB}\b(?! [\"'A-Z\d-]| data/)")
"""A verb to run without what it is run on."""
_UNQUOTED = re.compile(rf"frenchcat (?:{'|'.join(VERBS)})(?: -[\w-]+| [A-Z]+)*[ =]'?{_VALUE}")


@pytest.mark.parametrize("word", ODD)
def test_a_shell_gives_the_words_back(word: str) -> None:
    line = shell_command("info", word, "--set", f"a.b={word}")
    assert shlex.split(line) == ["frenchcat", "info", word, "--set", f"a.b={word}"]
    asked = ["sh", "-c", f"printf %s {shell_word(word)}"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout == word


def test_plain_words_and_conditions_are_easy_to_read() -> None:
    assert shell_command("info", Path("data/mine"), "-n", 4) == "frenchcat info data/mine -n 4"
    assert shell_word("caption ilike '%cat%'") == "\"caption ilike '%cat%'\""
    assert shell_command("sample", "/my run", "a cat") == "frenchcat sample '/my run' \"a cat\""


def _files() -> list[Path]:
    found = [path for name in ("curate", "index", "train") for path in (ROOT / name).rglob("*.py")]
    own = (ROOT / "frenchcat").rglob("*.py")
    return found + [p for p in own if not any(parent.is_symlink() for parent in p.parents)]


def _texts(node: ast.JoinedStr) -> str:
    parts = (one.value if isinstance(one, ast.Constant) else _VALUE for one in node.values)
    return "".join(map(str, parts))


def test_every_command_that_an_error_names_is_whole() -> None:
    """What to run is told with the dataset: the line can be copied as it stands."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {said}"
        for path in _files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for said in [_texts(node) if isinstance(node, ast.JoinedStr) else str(node.value)]
        if "\n" not in said and _BARE.search(said)
    ]
    assert found == []


def test_no_message_puts_a_value_into_a_command_by_itself() -> None:
    """A value that stands in a command goes through `shell_command`."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _files()
        if "frenchcat " in (text := path.read_text(encoding="utf-8")) and 'f"' in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.JoinedStr) and _UNQUOTED.search(_texts(node))
    ]
    assert found == []
