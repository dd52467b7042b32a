"""The network: a U-Net that attends to the caption by cross-attention.

diffusers' `UNet2DConditionModel`, in pixels (-1 … 1) or in the latents of an `AutoencoderKL` that
is given by path. Conditioning is that of GLIDE (2112.10741) and LDM (2112.10752): each attention
block of the U-Net takes its queries from the image, and keys and values from the token states.
`Denoiser` is what trains; `network_of` is what samplers call (guidance.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import Diverged, UserError, first_line
from frenchcat.train.settings import ModelSettings
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    import torch
    from torch import Tensor


AT_ONCE = 8
"""Images that the autoencoder processes together."""


def vae_bytes(pixels: int) -> float:
    """Memory that Stable Diffusion's autoencoder takes for an image of so many pixels, in float32.

    .165 GB for 256 x 256 (measured on a CPU); it grows with the pixels.
    """
    return 0.165e9 * pixels / 256**2


def make_unet(
    settings: ModelSettings,
    size: int,
    text_width: int,
    channels: int = 3,
    pooled_width: int | None = None,
) -> Any:
    """A UNet2DConditionModel for images (or latents) of `channels` with `size` pixels per side.

    `pooled_width` is that of the captions' embeddings, which `model.pooled` needs. Raises
    `UserError` if the side cannot be halved once per level.
    """
    import diffusers

    levels = len(settings.channels)
    if size % 2 ** (levels - 1):
        raise UserError(
            f"{levels} levels of model.channels halve a side of {size} pixels {levels - 1} times; "
            f"give data.size as a multiple of {2 ** (levels - 1)}, or fewer channels"
        )
    projection: dict[str, Any] = {}
    if settings.pooled:
        projection = {"class_embed_type": "projection"}
        each = pooled_width or 0
        width = 2 * each if settings.image_vector else each
        projection["projection_class_embeddings_input_dim"] = width
    attends = [level >= settings.attention_from for level in range(levels)]
    unet_class: Any = diffusers.UNet2DConditionModel
    unet = unet_class(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        cross_attention_dim=text_width,
        # diffusers' name for the number of heads, kept for old checkpoints.
        attention_head_dim=[max(1, c // settings.head_dim) for c in settings.channels],
        norm_num_groups=groups_of(settings.channels),
        **projection,
    )
    if settings.checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def load_unet(folder: Path) -> Any:
    """The UNet2DConditionModel of a folder, in float32.

    Raises `UserError` if it does not load, or has weights that are not finite.
    """
    import diffusers

    unet_class: Any = diffusers.UNet2DConditionModel
    # Low memory use would ask accelerate, which is not a dependency.
    how = {"local_files_only": True, "low_cpu_mem_usage": False}
    try:
        unet = unet_class.from_pretrained(folder, **how).float()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder} does not load: {first_line(error, 200)}") from None
    check_weights(unet, folder)
    return unet


def check_weights(network: Any, folder: Path) -> None:
    """Raise `UserError` for weights that are not finite, from which nothing is drawn or trained."""
    import torch

    state = network.state_dict()
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise UserError(
            f"{folder} does not load: {len(bad)} of its {len(state)} tensors are not finite, such "
            f"as {bad[0]}; its training diverged, give another checkpoint"
        )


def unet_output(unet: Any, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
    """The U-Net's output at x_t with a caption, in the shape of x."""
    answer: Tensor = unet(
        x,
        t,
        encoder_hidden_states=condition.states.to(x.dtype),
        encoder_attention_mask=condition.mask,
        # diffusers adds its "class labels" to the time embedding if there is a projection.
        class_labels=None if condition.pooled is None else condition.pooled.to(x.dtype),
        return_dict=False,
    )[0]
    return answer


class Codec:
    """Images (B, 3, H, W) uint8 <-> what the U-Net works on: pixels in -1 … 1, or latents.

    With a `patch` of p, pixels move by space-to-depth: (B, 3, H, W) <-> (B, 3 p^2, H/p, W/p). Each
    pixel keeps its value, so that the map is orthonormal and white noise stays white.
    """

    def __init__(self, vae: Any = None, patch: int = 1) -> None:
        self.vae, self.patch = vae, patch
        self.channels = 3 * patch**2 if vae is None else int(vae.config.latent_channels)
        self.shrinks = patch if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)

    @classmethod
    def load(cls, path: str | None, patch: int = 1) -> Codec:
        """Pixels for None; else the AutoencoderKL in a folder. Raises `UserError` if it does not
        load.
        """
        if path is None:
            return cls(patch=patch)
        if patch != 1:
            raise UserError(
                f"model.patch {patch} is for pixels, and model.vae {path} gives latents; "
                "leave one of them out"
            )
        import diffusers

        if not (Path(path) / "config.json").exists():
            raise UserError(f"model.vae {path} has no config.json; give an AutoencoderKL's folder")
        try:
            vae_class: Any = diffusers.AutoencoderKL
            vae = vae_class.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            reason = first_line(error, 200)
            raise UserError(f"model.vae {path} does not load: {reason}") from None
        if getattr(vae.config, "latents_mean", None) is not None:
            raise UserError(
                f"model.vae {path} has a mean for each channel of its latents (latents_mean), "
                "which is not trained with here; give another autoencoder"
            )
        return cls(vae.eval().requires_grad_(False))

    def to(self, device: Any) -> Codec:
        """The same codec, its autoencoder on a device."""
        if self.vae is not None:
            self.vae.to(device)
        return self

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 images -> float32 x_0; latents are the posterior's mode, scaled."""
        import torch

        if self.vae is None:
            return torch.nn.functional.pixel_unshuffle(_scaled(pixels), self.patch)
        with torch.no_grad():
            latents = [
                self.vae.encode(_scaled(part).to(self.vae.dtype)).latent_dist.mode().float()
                for part in torch.split(pixels, AT_ONCE)
            ]
        return (torch.cat(latents) - self._shift()) * float(self.vae.config.scaling_factor)

    def decode(self, x: Tensor) -> Tensor:
        """x_0 -> uint8 images (B, 3, H, W). Raises `Diverged` if a VAE's are not finite."""
        import torch

        if self.vae is not None:
            with torch.no_grad():
                scaled = x / float(self.vae.config.scaling_factor) + self._shift()
                parts = torch.split(scaled.to(self.vae.dtype), AT_ONCE)
                x = torch.cat([self.vae.decode(part).sample.float() for part in parts])
            if not bool(x.isfinite().all()):
                raise Diverged(
                    "the autoencoder's images are not finite, though the latents are: its weights "
                    "are damaged, or too coarse for them; give another autoencoder"
                )
        x = self.pixels(x)
        return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def _shift(self) -> float:
        """What the latents' mean is moved by, before they are scaled: 0 up to SDXL."""
        return float(getattr(self.vae.config, "shift_factor", None) or 0.0)

    def pixels(self, x: Tensor) -> Tensor:
        """Patches -> pixels (B, 3, H, W), differentiable; other inputs are returned as they are."""
        import torch

        if self.vae is not None or self.patch == 1:
            return x
        return torch.nn.functional.pixel_shuffle(x, self.patch)


def _scaled(pixels: Tensor) -> Tensor:
    """0 … 255 -> -1 … 1, float32."""
    return pixels.float() / 127.5 - 1


def network_of(
    unet: Any, answer: Callable[[Any, Tensor, Tensor, Condition], Tensor] = unet_output
) -> Callable[[Tensor, Tensor, Condition], Tensor]:
    """A network as guidance.py asks for it: without gradients, float32 out.

    `answer` is how its family asks it.
    """
    import torch

    def network(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        with torch.no_grad():
            return answer(unet, x.to(unet.dtype), t, condition).float()

    return network


def groups_of(channels: tuple[int, ...]) -> int:
    """Groups of the normalisation: the largest common divisor of all widths, at most 32."""
    return next(n for n in range(32, 0, -1) if all(c % n == 0 for c in channels))


def device_of(name: str) -> torch.device:
    """The device of a name; `auto` is a GPU if there is one. Raises `UserError` for unknown
    names.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"there is no device {name!r}; give auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("the device is cuda, but there is no GPU; give auto or cpu")
    return torch.device(name)
