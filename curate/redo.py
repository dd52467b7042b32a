"""What a changed setting would have done again, found before anything is done.

Reads markers and dataset.json, writes nothing. Cost: one small file read per shard.

A shard that is done is made again when its stage's settings are others than those it was made
with. For a stage that costs a crawl or a pass of a model, that has to be agreed to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from frenchcat.curate.command_text import shell_word
from frenchcat.curate.config import shown
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import ConfirmationNeeded
from frenchcat.curate.markers import marker
from frenchcat.curate.stage import Stage

Changes = Mapping[str, tuple[Any, Any]]
"""Name of a setting -> its old and its new value."""
_DONE = {
    "download": "downloaded",
    "embed": "embedded",
    "latents": "encoded",
    "text_states": "encoded",
}
_DIGEST = 64  # hex digits; shown short


@dataclass(frozen=True)
class Redo:
    """Shards of a stage that are done and would be made again, and the changes that cause it."""

    stage: str
    shards: int
    changes: Changes = field(default_factory=dict)

    @property
    def words(self) -> str:
        """``12 shards will be downloaded again: download.resize.image_size 128 -> 384``."""
        many = f"{self.shards} shard{'' if self.shards == 1 else 's'}"
        changes = self.changes.items()
        why = ", ".join(f"{name} {_said(old)} -> {_said(new)}" for name, (old, new) in changes)
        done = _DONE.get(self.stage, "made")
        return f"{many} will be {done} again: {why or 'they were made with other settings'}"


def redo_of(
    dataset: Dataset,
    stage: Stage,
    shards: Sequence[str],
    names: Mapping[str, str],
    remembered: Changes,
) -> Redo | None:
    """What the stage would make again because of its settings; None where nothing is to be asked.

    `remembered` are the changes against what the dataset remembers. Where it remembers the same,
    `names` has what the settings of the stage's signature are called, by their dotted names there:
    a weights file or a list may have changed in its place. What was agreed to and then interrupted
    goes on without a further question: some shard has the new settings then, and the dataset
    remembers them.
    """
    signature, stale, begun = stage.signature, 0, False
    for shard in shards:
        made = marker(dataset, signature.name, shard)
        if made is None or dict(made.inputs) != (inputs := dict(stage.inputs(dataset, shard))):
            continue
        if made.digest == signature.digest(inputs):
            begun = True
        else:
            stale += 1
    if not stale or (begun and not remembered):
        return None
    entry = dataset.manifest().entry(signature.name)
    changes = dict(remembered) or _changes(entry.settings or {}, signature.settings, names)
    if entry.version not in (None, signature.version):
        changes["version of the stage"] = (entry.version, signature.version)
    return Redo(signature.name, stale, changes)


def confirm(redone: Sequence[Redo], yes: bool) -> None:
    """Raise `ConfirmationNeeded` where something would be done again and `yes` is not said."""
    if not redone or yes:
        return
    said = "; ".join(one.words for one in redone)
    if any(one.stage == "download" for one in redone):
        said += ", and so will be all that is made from them"
    back = [
        f"--set {shell_word(f'{name}={shown(old)}')}"
        for one in redone
        for name, (old, _) in one.changes.items()
        if "." in name and " " not in name
    ]
    keep = f", and {' '.join(back)} keeps them" if back else ""
    raise ConfirmationNeeded(said, f"nothing was changed; --yes agrees (yes=True in Python){keep}")


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, tuple[Any, Any]]:
    """The named settings in which two signatures differ; those that it lacked are not known."""
    old, new = _flat(before), _flat(after)
    return {
        full: (old[name], new[name])
        for name, full in names.items()
        if name in old and name in new and old[name] != new[name]
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _said(value: Any) -> str:
    text = shown(value)
    return text[:12] if len(text) == _DIGEST and set(text) <= set("0123456789abcdef") else text
