"""A command of ours as it is printed: a line that can be copied into a POSIX shell as it stands.

Reads and writes nothing. Every command that a message or a page names goes through here, since the
paths, names and conditions in it may contain blanks, quotes and other characters that a shell
obeys.
"""

from __future__ import annotations

import shlex

_OBEYED = frozenset('"$`\\!')
"""What a shell does not take as it is between double quotes."""


def shell_command(*words: object) -> str:
    """``frenchcat index 'my data'``: each word is one argument, quoted where it has to be."""
    return " ".join(["frenchcat", *(shell_word(word) for word in words)])


def train_command(preset: str, out: object) -> str:
    """The command that trains a new run in `out`, on a selection that the reader names."""
    sets = ("data.dataset=DATASET", "data.selection=NAME", f"run.out={out}")
    return shell_command("train", preset, *(word for one in sets for word in ("--set", one)))


def shell_word(word: object) -> str:
    """A text as one word of a shell: `my-data`, '/tmp/my data', "a french cat".

    Prompts and conditions, which have no slash, are in double quotes where that is safe.
    """
    text = str(word)
    if "/" not in text and {" ", "'"} & set(text) and not _OBEYED & set(text):
        return f'"{text}"'
    return shlex.quote(text)
