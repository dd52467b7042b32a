"""The training loop: batches in, weights out, and the same again after any interruption.

Reads a run's settings and rows, writes its folder (run.py). Every number that a step depends on
follows from (selection, seed, epoch, k): a killed run, started again, trains the same batches with
the same noise and reaches the same weights (bit for bit on as many ranks, to rounding on another
number of them).

Cost: the U-Net's. Loading runs beside it; `wait` in the log is what it failed to hide.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import as_dict
from frenchcat.curate.errors import Diverged, UserError
from frenchcat.curate.notices import say_once
from frenchcat.curate.outputs import check_outside
from frenchcat.curate.safe_text import for_terminal
from frenchcat.curate.system_errors import check_space, check_writable
from frenchcat.train import checkpoint
from frenchcat.train.distributed import Ranks
from frenchcat.train.export import scheduler_of
from frenchcat.train.image_vectors import vectors_of
from frenchcat.train.loader import Batches, Cursor, Loaded, load, noise_of, places
from frenchcat.train.log import Log
from frenchcat.train.lora import FOLDER as LORA
from frenchcat.train.lora import check_lora, save_lora
from frenchcat.train.optimizer import average, ema_decay, make_optimizer, own_average, rate_at
from frenchcat.train.permutation import key_of
from frenchcat.train.pipeline_text import PipelineText
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, identity_of, make_parts, prepare_rows, save_about
from frenchcat.train.settings import TextSettings, TrainSettings
from frenchcat.train.start import export_pipeline
from frenchcat.train.stored import with_null
from frenchcat.train.stored_fit import stored_of
from frenchcat.train.weights import TrainableWeights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from frenchcat.train.held_out import HeldOutLoss


@dataclass(frozen=True)
class StepReport:
    """What a step did; what the progress bar and the log show."""

    step: int
    loss: float  # mean over the global batch
    rate: float
    grad_norm: float
    wait_sec: float  # for the loader
    read_sec: float  # of this batch, in a worker: mostly beside the step before
    decode_sec: float  # likewise
    transfer_sec: float
    compute_sec: float
    substituted: int  # samples of this batch, over all ranks
    captions_cut: int = 0  # of this batch, over all ranks: longer than the text tower reads


Watch = Callable[[StepReport], None]


class Trainer:
    """A run at work."""

    def __init__(
        self, settings: TrainSettings, device: torch.device, ranks: Ranks, other_run: bool
    ) -> None:
        self.settings, self.device, self.ranks = settings, device, ranks
        self.folder = Path(settings.run.out)
        _check_parts(settings, ranks)
        _check_settings(settings)
        self.parts = self._make_parts()
        self.rows = self._rows()
        self.stored = replace(
            stored_of(settings, self.rows, self.parts.text),
            vectors=vectors_of(settings, self.rows, self.parts.text),
        )
        self._move(device)
        self.weights = TrainableWeights(self._network(), settings, device, ranks, self.parts.family)
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
        saved_at = time.monotonic()
        with contextlib.closing(self.log):
            for loaded, wait in _timed(self._batches(total - self.step)):
                report = self._train_step(loaded, wait)
                self.log.step(report, loaded)
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

    def _is_due(self, saved_at: float) -> bool:
        """Whether a checkpoint is due by the clock of any rank; all of them hear the same."""
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
        prepared = self._prepared(loaded)
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
                part = self._loss(prepared, chosen) / parts
                part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.weights.parameters, optimizer.clip)
        loss_value, norm_value = float(self.ranks.mean(loss)), float(norm)  # waits for the device
        if not math.isfinite(loss_value) or not math.isfinite(norm_value):
            raise self._diverged(loaded, prepared, loss_value, norm_value)
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

    def _x_0(self, loaded: Loaded) -> Tensor:
        """The images of a batch as the network sees them, encoded now or read."""
        if loaded.latents is not None:
            return loaded.latents.to(self.device).float()
        return self.parts.codec.encode(loaded.pixels.to(self.device))

    def _prepared(self, loaded: Loaded) -> dict[str, Any]:
        """A batch on the device: x_t, t, what to predict, weights, condition."""
        process = self.settings.diffusion
        diffusion, layout = self.parts.diffusion, self.weights.layout
        x_0 = self._x_0(loaded)
        noise = noise_of(loaded.noise_seeds, x_0.shape[1:]).to(self.device)
        if process.noise_offset:
            seeds = [key_of(seed, "offset") >> 1 for seed in loaded.noise_seeds]
            offset = noise_of(seeds, (x_0.shape[1], 1, 1)).to(self.device)
            noise = noise + process.noise_offset * offset
        t = loaded.times.to(self.device)
        weight = None
        if process.loss == "velocity":
            weight = diffusion.velocity_weight(process.target, t).float()
        elif isinstance(process.min_snr, float) and process.min_snr:
            weight = diffusion.min_snr_weight(process.target, t, process.min_snr).float()
        return {
            "x_t": diffusion.noised(x_0, t, noise).contiguous(memory_format=layout),
            "t": t,
            "target": diffusion.target(process.target, x_0, noise, t),
            "weight": weight,
            "condition": self._conditions(loaded),
        }

    def _loss(self, batch: dict[str, Any], chosen: slice) -> Tensor:
        """The mean over samples of the weighted squared error."""
        condition = batch["condition"].part(chosen.start, chosen.stop)
        with self.weights.autocast():
            output = self._asked(batch["x_t"][chosen], batch["t"][chosen], condition)
        error = (output.float() - batch["target"][chosen]).square().flatten(1).mean(1)
        if batch["weight"] is not None:
            error = error * batch["weight"][chosen]
        mean: Tensor = error.mean()
        return mean

    def _asked(self, x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        module = self.weights.module
        if self.settings.model.lora_text:  # which encodes the captions as well
            answer: Tensor = module(x_t, t, condition)
            return answer
        return self.parts.family.answer(module, x_t, t, condition)

    def _conditions(self, loaded: Loaded) -> Any:
        """What the network is given beside x_t: captions, encoded unless that is trained."""
        if self.settings.model.lora_text:
            from frenchcat.train.text_updates import Captions

            return Captions(loaded.captions, loaded.sizes)
        if loaded.condition is None:
            condition = self.parts.text(loaded.captions)
        else:
            condition = with_null(loaded.condition, loaded.captions, self.parts.text)
        if loaded.vectors is not None:
            condition = condition.with_images(loaded.vectors)
        return condition.to(self.device).sized(loaded.sizes)

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

    def _diverged(
        self, loaded: Loaded, prepared: dict[str, Any], loss: float, norm: float
    ) -> Diverged:
        """What to say of a step whose loss or gradient is no number; the weights are as before."""
        x_t = prepared["x_t"]
        sick = (~x_t.isfinite().flatten(1).all(1)).tolist()
        keys = [key for key, is_sick in zip(loaded.keys, sick, strict=True) if is_sick]
        which = (
            f"not finite before the model sees them: {', '.join(keys[:5])}"
            if keys
            else (
                f"its samples: {', '.join(loaded.keys[:5])}"
                + (" …" if len(loaded.keys) > 5 else "")
            )
        )
        return Diverged(
            f"training stopped at step {self.step + 1}: the loss is {loss:g} and the gradient's "
            f"norm {norm:g} in batch {loaded.k} of epoch {loaded.epoch} ({which}); "
            f"{self._last_good()}; lower optimizer.rate (now "
            f"{self.settings.optimizer.rate:g}), raise optimizer.warmup "
            "or set run.precision fp32, and start the same command again"
        )

    def _last_good(self) -> str:
        path = checkpoint.newest(self.folder)
        return f"{path} is the last good checkpoint" if path else "there is no checkpoint yet"

    def _check_sound(self, tensors: dict[str, Tensor], losses: HeldOutLoss | None) -> None:
        """Raise `Diverged` for weights, or a held-out loss, that are no numbers: none are kept."""
        import torch

        told = {n: t for n, t in tensors.items() if not n.startswith("group.")}  # may be infinite
        bad = [name for name, tensor in told.items() if not bool(torch.isfinite(tensor).all())]
        if not bad and (losses is None or math.isfinite(losses.mean)):
            return
        what = f"{len(bad)} tensors such as {bad[0]} are" if bad else "the held-out loss is"
        raise Diverged(
            f"training stopped after step {self.step}: {what} no finite number any more, and "
            f"nothing was saved; {self._last_good()}; lower optimizer.rate (now "
            f"{self.settings.optimizer.rate:g}) and start the same command again"
        )

    def _count(self, loaded: Loaded, substituted: int) -> None:
        self.step += 1
        self.cursor = Cursor(loaded.epoch, loaded.k + 1)
        self.planned += self.settings.data.batch
        self.substituted += substituted

    # -- beginning, going on, keeping ------------------------------------------------------------

    def _make_parts(self) -> Parts:
        return make_parts(self.settings)

    def _network(self) -> Any:
        """What is trained, once the rows are there."""
        if self.settings.model.lora_text:
            from frenchcat.train.text_updates import NetworkAndText

            return NetworkAndText(self.parts.unet, self.parts.family)
        return self.parts.unet

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
        from frenchcat.train.held_out import held_out_loss

        tensors = self.weights.tensors(self.optimizer)
        parts = self.weights.averaged_parts(self.parts)
        if self.ranks.first:
            losses = held_out_loss(parts, parts.unet, self.rows, self.device)
            self._check_sound(tensors, losses)
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


def _check_settings(settings: TrainSettings) -> None:
    """Raise `UserError` for settings that do not go together; say which fight each other."""
    process = settings.diffusion
    for template in settings.text.templates:
        if "{caption}" not in template:
            raise UserError(f"text.templates has {template!r} without {{caption}}; put it in")
    if settings.data.caption is not None and settings.data.tars is None:
        raise UserError(
            "data.caption is the key of captions in the .json of data.tars; the captions of a "
            "selection are the dataset's: leave it out"
        )
    if settings.run.task == "classifier" and (settings.model.start or settings.model.lora):
        raise UserError("model.start and model.lora are of models that draw; a classifier has none")
    if settings.model.lora:
        check_lora()
    if settings.model.lora and settings.run.shard_model:
        raise UserError(
            "model.lora trains little, and run.shard_model parts what is trained; drop one"
        )
    for name in ("lora_alpha", "lora_text"):
        if getattr(settings.model, name) and not settings.model.lora:
            raise UserError(
                f"model.{name} is of the updates of model.lora, which is 0; set it, too"
            )
    if settings.model.image_vector and not settings.model.pooled:
        raise UserError(
            "model.image_vector stands beside the caption's embedding of model.pooled, which is "
            "false; set it to true"
        )
    if process.zero_terminal and process.min_snr and process.target in ("v", "x0", "flow"):
        say_once(
            "diffusion.min_snr gives the last time of diffusion.zero_terminal, pure noise, the "
            "weight 0: what it is for is not learned there; set diffusion.min_snr to 0"
        )
    if settings.optimizer.kind == "schedulefree" and settings.optimizer.shape != "constant":
        raise UserError(
            f"optimizer.kind schedulefree needs no falling rate, and optimizer.shape is "
            f"{settings.optimizer.shape}; set it to constant"
        )
    _check_weights(settings.text)
    if settings.optimizer.kind == "prodigy" and settings.optimizer.rate < 0.1:
        say_once(
            f"optimizer.rate {settings.optimizer.rate:g} scales Prodigy's own; it is meant to be 1"
        )


def _check_weights(text: TextSettings) -> None:
    """Raise `UserError` for weights of captions that do not go with what they weigh."""
    if text.weights and text.separator is None:
        raise UserError(
            "text.weights is of a caption's variants, and text.separator, which parts them, is "
            "none; set it, too"
        )
    if text.template_weights and len(text.template_weights) != len(text.templates):
        raise UserError(
            f"text.template_weights has {len(text.template_weights)} numbers for "
            f"{len(text.templates)} text.templates; give one for each"
        )
    for name in ("weights", "template_weights"):
        given = getattr(text, name)
        if given and not any(given):
            raise UserError(f"text.{name} is 0 everywhere, so that none is drawn; give some more")


def _check_parts(settings: TrainSettings, ranks: Ranks) -> None:
    batch, parts = settings.data.batch, settings.optimizer.accumulate
    if batch % (ranks.world * parts):
        raise UserError(
            f"data.batch {batch} does not divide into {ranks.world} ranks x {parts} parts "
            f"(optimizer.accumulate); give a multiple of {ranks.world * parts}"
        )
