"""The same process in diffusers' words, so that a checkpoint loads there.

UNet2DConditionModel.from_pretrained(checkpoint / "unet")
DDIMScheduler.from_pretrained(checkpoint / "scheduler")
"""

from __future__ import annotations

from typing import Any

from train.settings import DiffusionSettings

_NAMES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
_TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def scheduler_of(settings: DiffusionSettings, *, pixels: bool = True) -> Any:
    """A DDIMScheduler with our schedule; for flow the FlowMatchEulerDiscreteScheduler.

    In `pixels` the predicted picture is kept within -1 … 1, as train.draw does; latents are not.
    A loop that passes `use_clipped_model_output=True` to its `step` draws what train.draw draws
    with the sampler ddim, wherever the number of steps divides that of the schedule.

    The combinations that diffusers has no word for (a flow target on another schedule, another
    target on the flow schedule) are exported as the nearest schedule, and say so in the folder.
    """
    import diffusers

    made: Any
    if settings.schedule == "flow" or settings.target == "flow":
        made = diffusers.FlowMatchEulerDiscreteScheduler
        return made(num_train_timesteps=settings.steps)
    made = diffusers.DDIMScheduler
    scale = 1000 / settings.steps
    ends = (85e-5, 0.012) if settings.schedule == "scaled_linear" else (1e-4, 0.02)
    return made(
        num_train_timesteps=settings.steps,
        beta_schedule=_NAMES[settings.schedule],
        beta_start=scale * ends[0],
        beta_end=min(0.999, scale * ends[1]),
        prediction_type=_TARGETS[settings.target],
        rescale_betas_zero_snr=settings.zero_terminal,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=pixels,
    )
