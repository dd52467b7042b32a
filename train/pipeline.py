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
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor

logger: Any = logging.get_logger(__name__)
_CODE = "pipeline.py"
_Text = str | Sequence[str] | None
_Given = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
_Encoded = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""States, mask (None: all positions count), pooled embeddings (None: the U-Net takes none)."""
_Pipeline: Any = DiffusionPipeline  # of which a type checker sees nothing
_AutoencoderKL: Any = AutoencoderKL


class FrenchcatPipeline(_Pipeline):  # type: ignore[misc]
    """Prompts -> images, by the parts of a checkpoint."""

    model_cpu_offload_seq = "unet->vae"
    _optional_components = ["vae"]  # noqa: RUF012 - diffusers' own form
    _callback_tensor_inputs = ("latents", "prompt_embeds", "negative_prompt_embeds")

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
        """`flow_end` is the noise of a flow's last time; None: the schedule is not a flow.

        `flow_target` is what its U-Net predicts: the velocity (flow) or the image (x0). The U-Net
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
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        guidance_scale: float = 3.0,
        num_inference_steps: int = 20,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        *,
        height: int | None = None,
        width: int | None = None,
        eta: float = 0.0,
        guidance_rescale: float = 0.0,
        prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        negative_prompt_attention_mask: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        callback: Callable[[int, Any, torch.Tensor], None] | None = None,
        callback_steps: int = 1,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw; the names are those of diffusers' pipelines, and mean what they mean there.

        `height` and `width` are pixels. `latents` is the noise to start from, (N, C, H, W).
        `prompt_embeds` (N, L, D) with `prompt_attention_mask` (N, L), and `pooled_prompt_embeds`
        (N, P) for a model that takes them, are what `encode_prompt` gives, in the prompt's place.
        A `guidance_scale` of 1 is the conditional model, 0 leaves the prompt out.
        `guidance_rescale` is phi of 2305.08891, section 3.4; `eta` is of DDIM (2010.02502).
        Raises ValueError for arguments that do not go together.
        """
        wanted = self._prompts(prompt, (prompt_embeds, prompt_attention_mask, pooled_prompt_embeds))
        negative = self._negatives(
            negative_prompt,
            (
                negative_prompt_embeds,
                negative_prompt_attention_mask,
                negative_pooled_prompt_embeds,
            ),
            len(wanted[0]),
        )
        condition = _joined(negative, wanted, num_images_per_prompt)
        count = len(condition.states) // 2
        unknown = set(callback_on_step_end_tensor_inputs) - {*self._callback_tensor_inputs}
        if unknown:
            known = ", ".join(self._callback_tensor_inputs)
            raise ValueError(f"callbacks are given {known}, not {', '.join(sorted(unknown))}")
        more = self._step_arguments(eta, generator)
        times = self._times(num_inference_steps)
        x = self._start(count, height, width, latents, generator) * self._first_sigma()
        self._interrupt = False
        with self.progress_bar(total=len(times)) as bar:
            for n, t in enumerate(times):
                if self._interrupt:
                    continue
                output = self._guided(
                    self._scaled(x, t), t, condition, guidance_scale, guidance_rescale
                )
                x = self._step(output, t, x, more)
                if callback_on_step_end is not None:
                    there = {"latents": x, "prompt_embeds": condition.states[count:]}
                    there["negative_prompt_embeds"] = condition.states[:count]
                    given = {name: there[name] for name in callback_on_step_end_tensor_inputs}
                    back = callback_on_step_end(self, n, t, given) or {}
                    x = back.get("latents", x)
                    condition = self._replaced(condition, back)
                if callback is not None and n % callback_steps == 0:
                    callback(n, t, x)
                bar.update()
        self.maybe_free_model_hooks()
        images = self._pictures(x, output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def encode_prompt(
        self, prompt: str | Sequence[str], num_images_per_prompt: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Prompts -> `prompt_embeds` (N, L, D), `prompt_attention_mask` (N, L) and
        `pooled_prompt_embeds` (N, P), None for a model that takes none. For a model that is told of
        images it is (N, 2 D): the second half is zeros, or sqrt(D) times an image's CLIP vector.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        condition = self.text([one for one in prompts for _ in range(num_images_per_prompt)])
        self._say_cut(prompts)
        if not self._pools:
            return condition.states, condition.mask, None
        # Behind the prompts' embeddings: that of no image, where the U-Net is told of one.
        missing = self.unet.config.projection_class_embeddings_input_dim - condition.pooled.shape[1]
        pooled = torch.nn.functional.pad(condition.pooled, (0, missing))
        return condition.states, condition.mask, pooled

    def save_pretrained(self, save_directory: str | os.PathLike[str], **more: Any) -> None:
        """Save so that `from_pretrained(folder, trust_remote_code=True)` opens it: with this class.

        An autoencoder is saved with it, and is no longer looked for where it came from.
        """
        super().save_pretrained(save_directory, **more)
        folder, own = Path(save_directory), Path(inspect.getfile(type(self)))
        if own.resolve() != (folder / _CODE).resolve():
            shutil.copyfile(own, folder / _CODE)
        path = folder / "model_index.json"
        index = json.loads(path.read_text(encoding="utf-8"))
        index["_class_name"] = [Path(_CODE).stem, "FrenchcatPipeline"]
        if self.vae is not None:
            index["vae_path"] = None
        path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    @property
    def _pools(self) -> bool:
        """Whether the U-Net takes pooled embeddings beside the states."""
        return self.unet.config.class_embed_type is not None

    def _prompts(self, prompt: _Text, given: _Given) -> _Encoded:
        if (prompt is None) == (given[0] is None):
            raise ValueError("give either prompt or prompt_embeds")
        return self.encode_prompt(prompt) if prompt is not None else self._checked(given, "")

    def _negatives(self, nothing: _Text, given: _Given, count: int) -> _Encoded:
        """The negative prompts, one per prompt; empty texts where none is given."""
        if nothing is not None and given[0] is not None:
            raise ValueError("give either negative_prompt or negative_prompt_embeds")
        if given[0] is not None:
            if len(given[0]) != count:
                raise ValueError(f"negative_prompt_embeds are {len(given[0])} for {count} prompts")
            return self._checked(given, "negative_")
        nothing = "" if nothing is None else nothing
        texts = [nothing] * count if isinstance(nothing, str) else list(nothing)
        if len(texts) != count:
            raise ValueError(f"{len(texts)} negative prompts for {count} prompts; give as many")
        return self.encode_prompt(texts)

    def _checked(self, given: _Given, which: str) -> _Encoded:
        """Embeddings that a caller gives, with pooled ones where the U-Net takes them."""
        states, mask, pooled = given
        assert states is not None
        if self._pools != (pooled is not None):
            needs = "needs" if self._pools else "takes no"
            raise ValueError(
                f"this model {needs} {which}pooled_prompt_embeds beside {which}prompt_embeds"
            )
        return states, mask, pooled

    def _replaced(self, condition: Any, back: dict[str, Any]) -> Any:
        """A condition with the states that a callback gave back."""
        count = len(condition.states) // 2
        null = back.get("negative_prompt_embeds", condition.states[:count])
        prompts = back.get("prompt_embeds", condition.states[count:])
        return replace(condition, states=torch.cat([null, prompts]))

    def _start(
        self,
        count: int,
        height: int | None,
        width: int | None,
        latents: torch.Tensor | None,
        generator: Any,
    ) -> torch.Tensor:
        """The noise to start from, (N, C, H, W) float32."""
        side, shrinks = self.unet.config.sample_size, self._shrinks
        sides = []
        for name, pixels in (("height", height), ("width", width)):
            if pixels is not None and (pixels < shrinks or pixels % shrinks):
                raise ValueError(f"{name} is {pixels}; give a multiple of {shrinks} pixels")
            sides.append(side if pixels is None else pixels // shrinks)
        shape = (count, self.unet.config.in_channels, *sides)
        device = self._execution_device
        if latents is None:
            noise: torch.Tensor = randn_tensor(shape, generator, device, torch.float32)
            return noise
        sized = height is not None or width is not None
        if len(latents) != count or (sized and tuple(latents.shape) != shape):
            raise ValueError(f"latents are {tuple(latents.shape)}, and {shape} are needed")
        return latents.to(device, torch.float32)

    @property
    def _shrinks(self) -> int:
        """Pixels a side of one of x's numbers."""
        if self.vae is None:
            return int(self.config.patch)
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def _step_arguments(self, eta: float, generator: Any) -> dict[str, Any]:
        """What the scheduler's step takes of these; an eta that it does not take is refused."""
        takes = inspect.signature(self.scheduler.step).parameters
        if eta and "eta" not in takes:
            raise ValueError(f"{type(self.scheduler).__name__} has no eta; leave it out")
        given = {"eta": eta, "generator": generator}
        return {name: value for name, value in given.items() if name in takes and value}

    def _say_cut(self, prompts: Sequence[str]) -> None:
        for prompt in self.text.too_long(prompts):
            logger.warning(f"cut to the text tower's {self.text.limit} tokens: {prompt!r}")

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
        self, x: torch.Tensor, t: torch.Tensor, condition: Any, weight: float, rescale: float
    ) -> torch.Tensor:
        """Classifier-free guidance; the first half of the condition is the negative prompts'."""
        count = len(x)
        if weight == 1:
            return self._answer(x, t, condition.part(count, 2 * count))
        if weight == 0:
            return self._answer(x, t, condition.part(0, count))
        without, with_prompt = self._answer(x.repeat(2, 1, 1, 1), t, condition).chunk(2)
        mixed = without + weight * (with_prompt - without)
        if not rescale:
            return mixed
        spread = [one.flatten(1).std(1).view(-1, 1, 1, 1) for one in (with_prompt, mixed)]
        return rescale * mixed * (spread[0] / spread[1]) + (1 - rescale) * mixed

    def _answer(self, x: torch.Tensor, t: torch.Tensor, condition: Any) -> torch.Tensor:
        dtype, device = self.unet.dtype, x.device
        pooled = condition.pooled
        answer: torch.Tensor = self.unet(
            x.to(dtype),
            t,
            encoder_hidden_states=condition.states.to(device, dtype),
            encoder_attention_mask=condition.mask.to(device),
            class_labels=None if pooled is None else pooled.to(device, dtype),
            return_dict=False,
        )[0]
        return answer.float()

    def _step(
        self, output: torch.Tensor, t: torch.Tensor, x: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        """One step of the scheduler, the predicted image kept within -1 … 1 in pixel models."""
        more = dict(arguments)
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


@dataclass(frozen=True)
class _Condition:
    """States (N, L, D), which positions count, (N, L), and pooled embeddings, (N, P) or None."""

    states: torch.Tensor
    mask: torch.Tensor
    pooled: torch.Tensor | None

    def part(self, start: int, stop: int) -> _Condition:
        """Those of some prompts."""
        pooled = None if self.pooled is None else self.pooled[start:stop]
        return _Condition(self.states[start:stop], self.mask[start:stop], pooled)


def _joined(negative: _Encoded, wanted: _Encoded, each: int) -> _Condition:
    """The states of the negative prompts, then those of the prompts, `each` times over."""
    both = (negative, wanted)
    length = max(states.shape[1] for states, _, _ in both)
    states, masks = zip(*(_padded(one, mask, length, each) for one, mask, _ in both), strict=True)
    pooled = [one.repeat_interleave(each, 0) for _, _, one in both if one is not None]
    return _Condition(torch.cat(states), torch.cat(masks), torch.cat(pooled) if pooled else None)


def _padded(
    states: torch.Tensor, mask: torch.Tensor | None, length: int, each: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """States and mask of one length, each row so many times; without a mask all of them count."""
    there = torch.ones(states.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    more = length - states.shape[1]
    longer = torch.nn.functional.pad(states, (0, 0, 0, more))
    its_mask = torch.nn.functional.pad(there.to(states.device), (0, more))
    return longer.repeat_interleave(each, 0), its_mask.repeat_interleave(each, 0)


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
