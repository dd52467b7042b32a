"""The training loop: batches in, weights out, the same weights after any interruption.

Reads a run's settings and rows, writes its folder (run.py). Every number that a step depends on
follows from (selection, seed, epoch, k): a killed run, started again, trains the same batches with
the same noise and reaches the same weights (bit for bit on as many ranks, to rounding on another
number of them). What a step minimizes is in loss.py.

Cost: that of the network. Batches are loaded meanwhile; `wait` in the log is how long a step still
waited for its batch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import as_dict
from frenchcat.curate.errors import UserError
from frenchcat.curate.notices import say_once
from frenchcat.curate.outputs import check_outside
from frenchcat.curate.safe_text import for_terminal
from frenchcat.curate.system_errors import check_space, check_writable
from frenchcat.train import checkpoint
from frenchcat.train.check_settings import check_settings
from frenchcat.train.distributed import Ranks
from frenchcat.train.divergence import check_finite, diverged_at
from frenchcat.train.export import scheduler_of
from frenchcat.train.families import PipelineFamily
from frenchcat.train.held_out import HeldOutLoss, held_out_loss
from frenchcat.train.image_vectors import vectors_of
from frenchcat.train.loader import Batches, Cursor, Loaded, load, places
from frenchcat.train.log import Log
from frenchcat.train.lora import FOLDER as LORA
from frenchcat.train.lora import save_lora
from frenchcat.train.loss import BatchLoss, DiffusionLoss
from frenchcat.train.optimizer import average, ema_decay, make_optimizer, own_average, rate_at
from frenchcat.train.pipeline_text import PipelineText
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, identity_of, make_parts, prepare_rows, save_about
from frenchcat.train.settings import (
    TrainSettings,
)
from frenchcat.train.start import export_pipeline
from frenchcat.train.step_report import StepReport, Watch
from frenchcat.train.stored_fit import stored_of
from frenchcat.train.weights import TrainableWeights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.train.families import PipelineFamily


class Trainer:
    """A run at work."""

    def __init__(
        self, settings: TrainSettings, device: torch.device, ranks: Ranks, other_run: bool
    ) -> None:
        self.settings, self.device, self.ranks = settings, device, ranks
        self.folder = Path(settings.run.out)
        check_settings(settings, ranks.world)
        self.parts = self._make_parts()
        self.rows = self._rows()
        self.stored = replace(
            stored_of(settings, self.rows, self.parts.text),
            vectors=vectors_of(settings, self.rows, self.parts.text),
        )
        self._move(device)
        self.weights = TrainableWeights(self._network(), settings, device, ranks, self.parts.family)
        self.loss = self._make_loss()
        self.optimizer = make_optimizer(self.weights.parameters, settings.optimizer)
        self.step, self.cursor, self.planned, self.substituted = 0, Cursor(), 0, 0
        self.cut = 0  # captions, since this process began
        self.identity = self._identity()
        self._resume(other_run)
        if ranks.first:
            check_space(self.folder, _checkpoint_bytes(self.weights), "a checkpoint")
        run = settings.run
        self.log = Log(self.folder, ranks, self.step, run.log_every, run.wandb)

    def _move(self, device: torch.device) -> None:
        """Autoencoder and text encoders on the device; stored states leave the latter idle."""
        if self.stored.texts is None:
            self.parts.to(device)
        else:
            self.parts.codec.to(device)

    # -- the run ---------------------------------------------------------------------------------

    def fit(self, watch: Watch) -> None:
        """Train to the end, with checkpoints and samples on the way."""
        run, total = self.settings.run, self.settings.optimizer.steps
        saved_at, first = time.monotonic(), None
        with contextlib.closing(self.log):
            for loaded, wait in _timed(self._batches(total - self.step)):
                report = self._train_step(loaded, wait)
                self.log.step(report, loaded)
                if first is None:
                    first = report
                elif report.step == first.step + 1:
                    self._judge_compiling(loaded, first.compute_sec)
                if self.ranks.first:
                    watch(report)
                last = self.step == total
                if self.step % run.sample_every == 0 or last:
                    self._sample_grid()
                if self.step % run.checkpoint_every == 0 or last or self._is_due(saved_at):
                    self.save()
                    saved_at = time.monotonic()
            if self.cut and self.ranks.first:
                say_once(f"{self.cut} captions were longer than the text tower reads, and were cut")

    def _judge_compiling(self, loaded: Loaded, first_sec: float) -> None:
        """Say whether torch.compile pays on a processor, where it often does not.

        `first_sec` is the time of the first step, in which it compiled.
        """
        if self.weights.uncompiled is None or self.device.type != "cpu" or self.ranks.world > 1:
            return
        prepared = self.loss.prepared(loaded)
        size = len(loaded.keys) // self.settings.optimizer.accumulate

        def passed() -> float:
            began = time.perf_counter()
            self.loss.of(prepared, slice(0, size)).backward()  # type: ignore[no-untyped-call]
            return time.perf_counter() - began

        compiled = min(passed(), passed())
        with self.weights.without_compiling():
            plain = min(passed(), passed())
        self.optimizer.zero_grad(set_to_none=True)
        say_once(compiling_pays(compiled, plain, first_sec, self.settings.optimizer.accumulate))

    def _is_due(self, saved_at: float) -> bool:
        """Whether a checkpoint is due by the clock of any rank; all ranks decide alike."""
        minutes = self.settings.run.checkpoint_minutes
        if minutes is None:
            return False
        return self.ranks.total(int(time.monotonic() - saved_at >= 60 * minutes)) > 0

    def _batches(self, steps: int) -> Iterator[Loaded]:
        place = self.ranks.rank, self.ranks.world
        batches = Batches(self.folder / "rows", self.settings, *place, self.stored)
        try:
            wanted = list(places(batches.plan, self.cursor, steps))
        except ValueError as error:
            raise UserError(str(error)) from None
        return load(batches, wanted, self.settings.data.workers)

    def _train_step(self, loaded: Loaded, wait_sec: float) -> StepReport:
        """One optimizer step on one global batch."""
        import torch

        began = time.perf_counter()
        prepared = self.loss.prepared(loaded)
        moved = time.perf_counter()
        optimizer, parts = self.settings.optimizer, self.settings.optimizer.accumulate
        rate = rate_at(self.step, optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = torch.zeros((), device=self.device)
        size = len(loaded.keys) // parts
        for n in range(parts):
            chosen = slice(n * size, (n + 1) * size)
            with self.weights.no_sync(n < parts - 1):
                part = self.loss.of(prepared, chosen) / parts
                part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.weights.parameters, optimizer.clip)
        loss_value, norm_value = float(self.ranks.mean(loss)), float(norm)  # waits for the device
        if not math.isfinite(loss_value) or not math.isfinite(norm_value):
            raise diverged_at(
                self.step + 1,
                loss_value,
                norm_value,
                loaded=loaded,
                x_t=prepared["x_t"],
                folder=self.folder,
                rate=optimizer.rate,
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = ema_decay(self.step, optimizer)
        average(self.weights.averaged, self.weights.plain(), decay)
        if optimizer.kind == "schedulefree":
            own_average(self.weights.averaged, self.weights.parameters, self.optimizer)
        substituted = self.ranks.total(len(loaded.losses))
        cut = self._cut_captions(loaded)
        self._count(loaded, substituted)
        ended = time.perf_counter()
        return StepReport(
            self.step,
            loss_value,
            rate,
            norm_value,
            wait_sec,
            loaded.read_sec,
            loaded.decode_sec,
            moved - began,
            ended - moved,
            substituted,
            cut,
        )

    def _cut_captions(self, loaded: Loaded) -> int:
        """How many captions of a batch, over all ranks, the text tower read in part only."""
        if self.parts.text is None:
            return 0
        found = len(self.parts.text.too_long(loaded.captions))
        cut = self.ranks.total(found if loaded.condition is None else loaded.captions_cut)
        if cut and self.ranks.first:
            say_once(
                f"captions of more than {self.parts.text.limit} tokens are cut to that: "
                f"captions_cut in {self.folder / 'log.jsonl'} counts them"
            )
        self.cut += cut
        return cut

    def _count(self, loaded: Loaded, substituted: int) -> None:
        self.step += 1
        self.cursor = Cursor(loaded.epoch, loaded.k + 1)
        self.planned += self.settings.data.batch
        self.substituted += substituted

    # -- starting, resuming, saving ---------------------------------------------------------------

    def _make_parts(self) -> Parts:
        return make_parts(self.settings)

    def _network(self) -> Any:
        """What is trained, once the rows are there."""
        if self.settings.model.lora_text:
            from frenchcat.train.text_updates import NetworkAndText

            family = self.parts.family
            assert isinstance(family, PipelineFamily)  # or the parts could not be made
            return NetworkAndText(self.parts.unet, family)
        return self.parts.unet

    def _make_loss(self) -> BatchLoss:
        return DiffusionLoss(self.settings, self.parts, self.weights)

    def _identity(self) -> dict[str, Any]:
        return identity_of(self.settings, self.rows, self.parts.text, self.parts.start)

    def _rows(self) -> Any:
        """Laid out by the first rank, opened by all."""
        if self.ranks.first:
            check_outside(self.folder, "run.out")
            check_writable(self.folder, "run.out")
            self.folder.mkdir(parents=True, exist_ok=True)
            rows, troubles = prepare_rows(self.settings, self.folder / "rows")
            if troubles is not None:
                lines = map(for_terminal, troubles)  # names of members are a stranger's
                (self.folder / "damaged.txt").write_text("\n".join(lines), encoding="utf-8")
            if rows.left_out:
                say_once(_left_out(rows, self.folder))
            save_about(self.folder, self.settings, rows, self.parts.text)
        self.ranks.barrier()
        found = open_rows(self.folder / "rows")
        assert found is not None
        return found

    def _resume(self, other_run: bool) -> None:
        path = checkpoint.newest(self.folder)
        if path is None:
            return
        state = checkpoint.read_state(path)
        if not other_run:
            checkpoint.check_identity(path, state, self.identity)
        self.weights.load(checkpoint.load_tensors(path), self.optimizer)
        self.step, self.cursor = state.step, Cursor(state.epoch, state.k)
        self.planned, self.substituted = state.planned, state.substituted

    def _check_finite(self, tensors: dict[str, Tensor], losses: HeldOutLoss | None) -> None:
        rate = self.settings.optimizer.rate
        check_finite(tensors, losses, step=self.step, folder=self.folder, rate=rate)

    def _state(self, losses: HeldOutLoss | None) -> checkpoint.State:
        return checkpoint.State(
            step=self.step,
            epoch=self.cursor.epoch,
            k=self.cursor.k,
            planned=self.planned,
            substituted=self.substituted,
            identity=self.identity,
            held_out_loss=losses.mean if losses else None,
            settings=as_dict(self.settings),
        )

    def save(self) -> None:
        """Write a checkpoint of this step, with its held-out loss."""
        tensors = self.weights.tensors(self.optimizer)
        parts = self.weights.averaged_parts(self.parts)
        if self.ranks.first:
            read = self.stored.images
            losses = held_out_loss(parts, parts.unet, self.rows, self.device, read)
            self._check_finite(tensors, losses)
            state = self._state(losses)
            pixels = self.parts.codec.vae is None
            scheduler = scheduler_of(self.settings.diffusion, pixels=pixels)
            more = partial(self._export_more, parts)
            part = parts.family.part
            checkpoint.save(self.folder, state, tensors, parts.unet, scheduler, more, part)
            checkpoint.prune(self.folder, self.settings.run.keep)
            self.log.held_out(self.step, losses)
        self.ranks.barrier()

    def _export_more(self, averaged: Parts, folder: Path) -> bool:
        """Updates of low rank, and the parts of the pipeline that the run started from."""
        model, start = self.settings.model, self.parts.start
        if model.lora:
            save_lora(folder / LORA, self.weights.averaged_state(), model, self.parts.family)
        if start is None or start.kind != "pipeline":
            return False
        trained: dict[str, Any] = {}
        if model.lora_text:
            assert isinstance(averaged.text, PipelineText)
            trained = averaged.text.encoders()
        export_pipeline(start, folder, trained)
        return True

    def _sample_grid(self) -> None:
        """The fixed prompts, drawn with the averaged weights."""
        from frenchcat.train.draw import SampleRequest, draw, grid

        run = self.settings.run
        if not run.prompts:
            return
        parts = self.weights.averaged_parts(self.parts)
        if self.ranks.first:
            requests = [SampleRequest(prompt, seed=0) for prompt in run.prompts]
            pictures = draw(parts, requests, steps=run.sample_steps, guidance=run.guidance)
            folder = self.folder / "samples"
            folder.mkdir(exist_ok=True)
            picture = grid(pictures, [sample_request.prompt for sample_request in requests])
            picture.save(folder / f"step-{self.step:08d}.png")
            self.log.picture(self.step, picture)
        self.ranks.barrier()


def _left_out(rows: TrainingRows, folder: Path) -> str:
    counts = ", ".join(f"{reason} {count}" for reason, count in rows.left_out.items())
    return (
        f"{len(rows)} samples of data.tars are trained on; {sum(rows.left_out.values())} members "
        f"are left out ({counts}): {folder / 'damaged.txt'} names each"
    )


def compiling_pays(compiled: float, plain: float, first_sec: float, passes: int = 1) -> str:
    """Whether torch.compile pays, in words: the seconds of a pass with and without, and of the
    first step; a step has so many passes.
    """
    figures = f"{compiled:.3g} s per pass instead of {plain:.3g} s"
    took = max(0.0, first_sec - passes * compiled)
    saved = passes * (plain - compiled)
    if saved <= 0.02 * passes * plain:  # within what is measured
        return (
            f"run.compile does not pay on this processor: {figures}, and {took:.3g} s to compile; "
            "leave it out"
        )
    return (
        f"run.compile pays on this processor: {figures}; the {took:.3g} s that it took to compile "
        f"are earned back in {math.ceil(took / saved):,} steps"
    )


def _checkpoint_bytes(weights: TrainableWeights) -> int:
    """Of the next checkpoint: weights, their average twice, and two moments of each, float32."""
    return 5 * 4 * sum(int(parameter.numel()) for parameter in weights.parameters)


def _timed(batches: Iterator[Loaded]) -> Iterator[tuple[Loaded, float]]:
    """Each batch, and the seconds that it was waited for."""
    while True:
        began = time.perf_counter()
        loaded = next(batches, None)
        if loaded is None:
            return
        yield loaded, time.perf_counter() - began
