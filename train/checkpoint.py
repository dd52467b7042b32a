"""Checkpoints: folders that appear by rename, hold all that a run resumes from, and are checked.

    <run>/checkpoints/step-00000500/
        unet/                   the averaged weights, as diffusers saves a UNet2DConditionModel;
                                transformer/ where the pipeline that was started from has one
        scheduler/              the same process for diffusers' samplers
        model_index.json        with pipeline.py: the folder as a pipeline of diffusers (export.py)
        classifier/             in place of those in a classifier's run (classifier.py)
        state.safetensors       the weights being trained, and the optimizer's moments
        state.json              cursor, step, counts; digests of selection, text tower and settings

A checkpoint of another selection, model or seed is refused by default. The newest `keep` stay, and
the best by held-out loss.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.atomic import move_folder
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.json_text import json_text
from frenchcat.curate.system_errors import writing
from frenchcat.curate.typed_json import loaded
from frenchcat.train.export import write_pipeline
from frenchcat.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "checkpoints"
OTHER_UNTIL = "other run until"
"""In an identity: the step until which the run had another order (`--other-run`), if it had."""
_NAME = re.compile(r"step-(\d{8,})")
_ORDER = ("selection", "seed", "data")
"""What of an identity decides the order of the rows."""


@dataclass(frozen=True)
class State:
    """The state of a run, and what identifies the run."""

    step: int  # optimizer steps done
    epoch: int
    k: int  # batches of the epoch that were trained
    planned: int  # samples requested so far
    substituted: int  # of those, replaced by substitutes
    identity: dict[str, Any]
    """What must be equal for the run to resume: selection, seed, model, text, data."""
    held_out_loss: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def save(
    run: Path,
    state: State,
    tensors: dict[str, Tensor],
    unet: Any,
    scheduler: Any,
    more: Callable[[Path], bool] | None = None,
    part: str = "unet",
) -> Path:
    """Write a diffusion model's checkpoint; it appears whole or not at all.

    `more` writes further files, and says whether they make the folder a pipeline already. `part` is
    the network's name in a pipeline.
    """

    def export(folder: Path) -> None:
        unet.save_pretrained(folder / part, safe_serialization=True)
        if more is not None and more(folder):
            return
        scheduler.save_pretrained(folder / "scheduler")
        write_pipeline(folder, resolve(TrainSettings, state.settings), scheduler)

    return publish(run, state, tensors, export)


def publish(
    run: Path, state: State, tensors: dict[str, Tensor], export: Callable[[Path], None]
) -> Path:
    """Write a checkpoint with what `export` puts into its folder.

    Raises `Unwritable` and `NoSpace`; earlier checkpoints stay.
    """
    base = run / FOLDER
    target = base / f"step-{state.step:08d}"
    with writing(base, "name another run.out"):
        base.mkdir(parents=True, exist_ok=True)
        _publish(base, target, state, tensors, export)
    return target


def _publish(
    base: Path,
    target: Path,
    state: State,
    tensors: dict[str, Tensor],
    export: Callable[[Path], None],
) -> None:
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory(prefix=".writing-", dir=base) as temporary:
        folder = Path(temporary) / "checkpoint"
        folder.mkdir()
        export(folder)
        save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "state.safetensors")
        (folder / "state.json").write_text(json_text(asdict(state), indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        move_folder(folder, target)


def newest(run: Path) -> Path | None:
    """The newest complete checkpoint of a run; None if there is none."""
    found = steps(run)
    return found[-1] if found else None


def best(run: Path) -> Path | None:
    """The checkpoint with the lowest held-out loss, or the newest if none was measured.

    A loss that is not finite counts as not measured.
    """
    measured = [(read_state(path).held_out_loss, path) for path in steps(run)]
    known = [(loss, path) for loss, path in measured if loss is not None and math.isfinite(loss)]
    return min(known)[1] if known else newest(run)


def steps(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [path for path in (run / FOLDER).glob("step-*") if (path / "state.json").exists()]
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=lambda p: p.name)


def read_state(path: Path) -> State:
    """The state.json of a checkpoint. Raises `UserError` if it is broken."""
    where = f"{path} is not a complete checkpoint: its state.json"
    cure = "delete it to use the one before"
    try:
        data = (path / "state.json").read_bytes()
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror}); {cure}") from None
    return loaded(State, data, where, cure)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of state.safetensors, on the CPU. Raises `UserError` if they are broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path / "state.safetensors")
    except (SafetensorError, OSError) as error:
        raise _not_whole(path, error) from None
    return found


def prune(run: Path, keep: int) -> None:
    """Delete all but the newest `keep` and the best, and what a killed run left incomplete."""
    staying = {*steps(run)[-keep:], best(run)}
    for path in steps(run):
        if path not in staying:
            # Else a partly deleted one would look complete.
            path.rename(path.with_name(f".deleting-{path.name}"))
    for left in (run / FOLDER).glob(".*-*"):
        shutil.rmtree(left, ignore_errors=True)


def check_identity(path: Path, state: State, identity: dict[str, Any]) -> None:
    """Raise `UserError` naming the first difference between a run and its checkpoint."""
    for name, now in identity.items():
        then = state.identity.get(name)
        if then != now:
            raise UserError(
                f"{path.parent.parent} was trained with another {name} ({_short(then)}, now "
                f"{_short(now)}); give another run.out, or resume anyway with --other-run"
            )


def orders_otherwise(state: State, identity: dict[str, Any]) -> bool:
    """Whether a run of this identity draws its rows in another order than a checkpoint's run."""
    return any(state.identity.get(name) != identity.get(name) for name in _ORDER)


def _not_whole(path: Path, error: Exception) -> UserError:
    reason = first_line(error, 200)
    return UserError(
        f"{path} is not a complete checkpoint ({reason}); delete it to use the one before"
    )


def _short(value: Any) -> str:
    text = json_text(value)
    return text if len(text) <= 60 else text[:57] + "…"
