"""Settings of a training that contradict each other, refused before anything is loaded.

Contradictions that only weaken a training are printed once, and it goes on.
"""

from __future__ import annotations

from frenchcat.curate.errors import UserError
from frenchcat.curate.notices import say_once
from frenchcat.train.caption_columns import caption_columns_of
from frenchcat.train.lora import check_lora
from frenchcat.train.settings import (
    DiffusionSettings,
    OptimizerSettings,
    TextSettings,
    TrainSettings,
)


def check_settings(settings: TrainSettings, ranks: int) -> None:
    """Raise `UserError` for settings that do not go together; print those that weaken each other.

    `ranks` is the number of processes that train together.
    """
    batch, parts = settings.data.batch, settings.optimizer.accumulate
    if batch % (ranks * parts):
        raise UserError(
            f"data.batch {batch} does not divide into {ranks} ranks x {parts} parts "
            f"(optimizer.accumulate); give a multiple of {ranks * parts}"
        )
    if settings.data.caption is not None and settings.data.tars is None:
        raise UserError(
            "data.caption is the key of captions in the .json of data.tars; the captions of a "
            "selection are the dataset's: leave it out"
        )
    if caption_columns_of(settings) is not None and settings.run.task == "classifier":
        raise UserError("data.captions are for models that draw; a classifier learns from labels")
    _check_text(settings.text)
    _check_model(settings)
    _check_process(settings.diffusion)
    _check_optimizer(settings.optimizer)


def _check_model(settings: TrainSettings) -> None:
    model = settings.model
    if settings.run.task == "classifier" and (model.start or model.lora):
        raise UserError("model.start and model.lora are for models that draw; leave them out")
    if model.lora:
        check_lora()
    if model.lora and settings.run.shard_model:
        raise UserError(
            "model.lora trains few weights, and run.shard_model splits those that are trained over "
            "the ranks; leave one of them out"
        )
    for name in ("lora_alpha", "lora_text"):
        if getattr(model, name) and not model.lora:
            raise UserError(
                f"model.{name} is for the updates of model.lora, which is 0; set it, too"
            )
    if model.image_vector and not model.pooled:
        raise UserError(
            "model.image_vector stands beside the caption's embedding of model.pooled, which is "
            "false; set it to true"
        )


def _check_text(text: TextSettings) -> None:
    for template in text.templates:
        if "{caption}" not in template:
            raise UserError(f"text.templates has {template!r} without {{caption}}; put it in")
    if text.weights and text.separator is None:
        raise UserError(
            "text.weights is of a caption's variants, and text.separator, which separates them, "
            "is none; set it, too"
        )
    if text.template_weights and len(text.template_weights) != len(text.templates):
        raise UserError(
            f"text.template_weights has {len(text.template_weights)} numbers for "
            f"{len(text.templates)} text.templates; give one for each"
        )
    for name in ("weights", "template_weights"):
        given = getattr(text, name)
        if given and not any(given):
            raise UserError(f"text.{name} is 0 everywhere, so none is drawn; give one some weight")


def _check_optimizer(optimizer: OptimizerSettings) -> None:
    if optimizer.kind == "schedulefree" and optimizer.shape != "constant":
        raise UserError(
            f"optimizer.kind schedulefree needs no falling rate, and optimizer.shape is "
            f"{optimizer.shape}; set it to constant"
        )
    if optimizer.kind == "prodigy" and optimizer.rate < 0.1:
        say_once(f"optimizer.rate {optimizer.rate:g} scales Prodigy's own; it is meant to be 1")


def _check_process(process: DiffusionSettings) -> None:
    if process.zero_terminal and process.min_snr and process.target in ("v", "x0", "flow"):
        say_once(
            "diffusion.min_snr gives the last time of diffusion.zero_terminal, pure noise, the "
            "weight 0: what it is for is not learned there; set diffusion.min_snr to 0"
        )
