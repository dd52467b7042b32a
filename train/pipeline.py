"""A checkpoint as a `DiffusionPipeline`; a copy of this file lies in every checkpoint.

    folder = "run/checkpoints/step-00000150"
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipe("a french cat", guidance_scale=5, num_inference_steps=20).images

U-Net, scheduler and the loop are diffusers' own; captions become token states by the text tower
that the run was trained with, which frenchcat holds, so that package has to be installed. With the
exported scheduler it draws what train/draw.py draws with the sampler ddim.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor

_Pipeline: Any = DiffusionPipeline  # of which a type checker sees nothing
_AutoencoderKL: Any = AutoencoderKL


class FrenchcatPipeline(_Pipeline):  # type: ignore[misc]
    """Prompts -> pictures, by the parts of a checkpoint."""

    model_cpu_offload_seq = "unet->vae"
    _optional_components = ["vae"]  # noqa: RUF012 - diffusers' own form

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        text_model: str = "mini",
        text_pretrained: str | None = None,
        vae_path: str | None = None,
        flow_end: float | None = None,
        flow_target: str = "flow",
        patch: int = 1,
    ) -> None:
        """`flow_end` is the noise of a flow's last time; None: the schedule is no flow.

        `flow_target` is what its U-Net predicts: the velocity (flow) or the picture (x0). The U-Net
        works on squares of `patch` pixels a side.

        Raises ImportError without frenchcat, OSError where the autoencoder is not at `vae_path`.
        """
        super().__init__()
        if vae is None and vae_path is not None:
            vae = _AutoencoderKL.from_pretrained(vae_path, low_cpu_mem_usage=False)
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae)
        self.register_to_config(
            text_model=text_model,
            text_pretrained=text_pretrained,
            vae_path=vae_path,
            flow_end=flow_end,
            flow_target=flow_target,
            patch=patch,
        )
        self.text = _text_encoder(text_model, text_pretrained)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str = "",
        guidance_scale: float = 3.0,
        num_inference_steps: int = 20,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw; the names are those of diffusers' pipelines.

        `latents` is the noise to start from, (N, C, H, W). A `guidance_scale` of 1 is the
        conditional model, 0 leaves the prompt out.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        prompts = [one for one in prompts for _ in range(num_images_per_prompt)]
        condition = self.text([negative_prompt] * len(prompts) + prompts)
        times = self._times(num_inference_steps)
        if latents is None:
            side = self.unet.config.sample_size
            shape = (len(prompts), self.unet.config.in_channels, side, side)
            latents = randn_tensor(shape, generator, self._execution_device, torch.float32)
        x = latents.to(self._execution_device, torch.float32) * self._first_sigma()
        for t in self.progress_bar(times):
            output = self._guided(self._scaled(x, t), t, condition, guidance_scale)
            x = self._step(output, t, x)
        self.maybe_free_model_hooks()
        images = self._pictures(x, output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _times(self, steps: int) -> torch.Tensor:
        """The scheduler's times; a flow's are those it was trained at, and their noise."""
        device, end = self._execution_device, self.config.flow_end
        if end is None:
            self.scheduler.set_timesteps(steps, device=device)
        else:
            total = self.scheduler.config.num_train_timesteps
            times = [int(total - n * total / steps + 0.5) - 1 for n in range(steps)]
            sigmas = [end * (t + 1) / total for t in times]
            self.scheduler.set_timesteps(sigmas=sigmas, timesteps=times, device=device)
        found: torch.Tensor = self.scheduler.timesteps
        return found

    def _first_sigma(self) -> float:
        return float(getattr(self.scheduler, "init_noise_sigma", 1.0))

    def _scaled(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scale = getattr(self.scheduler, "scale_model_input", None)
        return x if scale is None else scale(x, t)

    def _guided(
        self, x: torch.Tensor, t: torch.Tensor, condition: Any, weight: float
    ) -> torch.Tensor:
        """Classifier-free guidance; the first half of the condition is the negative prompts'."""
        count = len(x)
        if weight == 1:
            return self._answer(x, t, condition.part(count, 2 * count))
        if weight == 0:
            return self._answer(x, t, condition.part(0, count))
        without, with_prompt = self._answer(x.repeat(2, 1, 1, 1), t, condition).chunk(2)
        return without + weight * (with_prompt - without)

    def _answer(self, x: torch.Tensor, t: torch.Tensor, condition: Any) -> torch.Tensor:
        dtype, device = self.unet.dtype, x.device
        pooled = getattr(condition, "pooled", None)
        answer: torch.Tensor = self.unet(
            x.to(dtype),
            t,
            encoder_hidden_states=condition.states.to(device, dtype),
            encoder_attention_mask=condition.mask.to(device),
            class_labels=None if pooled is None else pooled.to(device, dtype),
            return_dict=False,
        )[0]
        return answer.float()

    def _step(self, output: torch.Tensor, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """One step of the scheduler, the predicted picture kept within -1 … 1 in pixel models."""
        more: dict[str, Any] = {}
        draws = self.config.flow_target == "x0"
        if self.config.flow_end is not None and (draws or self.vae is None):
            sigma = (
                self.config.flow_end * (float(t) + 1) / self.scheduler.config.num_train_timesteps
            )
            picture = output if draws else x - sigma * output
            if self.vae is None:
                picture = picture.clamp(-1, 1)
            output = (x - picture) / sigma
        if "use_clipped_model_output" in inspect.signature(self.scheduler.step).parameters:
            more["use_clipped_model_output"] = True
        before: torch.Tensor = self.scheduler.step(output, t, x, return_dict=False, **more)[0]
        return before

    def _pictures(self, x: torch.Tensor, output_type: str) -> Any:
        if output_type == "latent":
            return x
        if self.config.patch > 1:
            x = torch.nn.functional.pixel_shuffle(x, self.config.patch)
        if self.vae is not None:
            x = self.vae.decode((x / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return VaeImageProcessor().postprocess(x.float(), output_type=output_type)


def _text_encoder(model: str, pretrained: str | None) -> Any:
    try:
        from frenchcat.curate.config import resolve
        from frenchcat.train.settings import TextSettings
        from frenchcat.train.text import TextEncoder
    except ImportError as error:
        raise ImportError(
            "this pipeline reads its prompts by the text tower that frenchcat holds, and frenchcat "
            f"is not installed here ({error}); install it beside diffusers"
        ) from None
    return TextEncoder(resolve(TextSettings, {"model": model, "pretrained": pretrained}))
