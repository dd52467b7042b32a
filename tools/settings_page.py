"""Write docs/settings.md from the settings classes, as `frenchcat settings` reads them.

python -m tools.settings_page
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frenchcat.curate.config import layered, shown
from frenchcat.described import DescribedSetting, described, entries_of, kinds, meanings, type_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

<!-- Made by `python -m tools.settings_page`, from the settings classes; do not edit. -->

Every setting, with its type, its default and its meaning. `frenchcat settings` prints the same, \
and `frenchcat settings data/mine` the values that the next build of a dataset uses and where each \
comes from: `default`, `preset NAME`, a file's path, `dataset` (remembered) or `--set`.

- A settings file is TOML: `[download.resize]` and below it `image_size = 256` is \
`download.resize.image_size`. `--config` takes such a file, or a preset's name. \
`--set download.resize.image_size=256` changes one setting.
- **A dataset remembers its settings.** A later command uses them; `--config` and `--set` change \
only what they name. A setting that is a table (`verdict.rules`, `score.concepts`) is one setting \
in a file, and `--set verdict.rules.small="width < 200"` changes one entry.
- `--set name=` (an empty value) takes the default again; `--set name=none` sets no value, where \
`none` is allowed.
- A setting is remembered once its stage has made something with it, so a mistake that fails is \
forgotten, and an interrupted command continues with its own settings.
- If a changed setting means that shards are downloaded or embedded again, the command first says \
how many and why, and asks. Where it cannot ask, it changes nothing and exits with status 2, \
unless you give `--yes`.
"""
TITLES = {
    "build": "`frenchcat build`, and the verbs of its stages",
    "plan": "`frenchcat plan`",
    "report": "`frenchcat report`",
    "serve": "`frenchcat serve`",
    "train": "`frenchcat train`",
}
COMPUTED = {"download.fetch.user_agent": "frenchcat/VERSION (+HOME PAGE)"}
"""Defaults that differ between installations."""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, cls in kinds().items():
        parts.append(f"\n## {TITLES[kind]}\n")
        parts += _sections(described(layered(cls)))
        for name, entry in entries_of(cls):
            parts.append(f"\n### An entry of `{name}`\n\n")
            parts.append(_table(_entry(entry)))
    return "".join(parts)


def _sections(settings: list[DescribedSetting]) -> Iterator[str]:
    groups: dict[str, list[DescribedSetting]] = {}
    for one in settings:
        groups.setdefault(one.name.rpartition(".")[0], []).append(one)
    for section, found in groups.items():
        yield f"\n### `[{section}]`\n\n" if section else "\n"
        yield _table(
            [
                (one.name, one.type, COMPUTED.get(one.name, one.default), one.meaning)
                for one in found
            ]
        )


def _entry(cls: type[Any]) -> list[tuple[str, str, Any, str]]:
    return [(name, type_of(cls, name), None, text) for name, text in meanings(cls).items()]


def _table(rows: list[tuple[str, str, Any, str]]) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, type_, default, meaning in rows:
        cells = (f"`{name}`", type_, f"`{shown(default)}`" if default != "" else "", meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
