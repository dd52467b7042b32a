"""The pipeline's arguments mean what they mean in diffusers' own pipelines, and it saves itself."""

import sys
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from frenchcat.train.export import scheduler_of
from frenchcat.train.model import Codec, make_unet
from frenchcat.train.pipeline import FrenchcatPipeline, _joined
from frenchcat.train.settings import DiffusionSettings, ModelSettings

LONG = "a very long caption about a house with a red roof beside a river and nine green trees "


@pytest.fixture(scope="module")
def pipe() -> Any:
    torch.manual_seed(0)
    unet = make_unet(ModelSettings(channels=(8, 16), head_dim=8, attention_from=0), 16, 192)
    made = FrenchcatPipeline(unet.eval(), scheduler_of(DiffusionSettings()))
    if made.text.width != 192:
        made.unet = make_unet(
            ModelSettings(channels=(8, 16), head_dim=8, attention_from=0), 16, made.text.width
        ).eval()
    made.set_progress_bar_config(disable=True)
    return made


def noise(count: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def drawn(pipe: Any, *prompt: Any, **more: Any) -> Any:
    given = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "latent"} | more
    return pipe(*prompt, **given).images


def test_negative_prompts_are_a_text_a_list_or_none(pipe: Any) -> None:
    prompts, negatives, x = ["a cat", "a house"], ["a dog", LONG], noise(2)
    both = drawn(pipe, prompts, negative_prompt=negatives, latents=x)
    for n in range(2):
        alone = drawn(pipe, prompts[n], negative_prompt=negatives[n], latents=x[n : n + 1])
        torch.testing.assert_close(both[n : n + 1], alone, atol=1e-4, rtol=1e-3)
    assert torch.equal(
        drawn(pipe, "a cat", negative_prompt=None, latents=x[:1]),
        drawn(pipe, "a cat", negative_prompt="", latents=x[:1]),
    )
    doubled = drawn(pipe, prompts, negative_prompt=negatives, num_images_per_prompt=2)
    assert len(doubled) == 4
    with pytest.raises(ValueError, match="3 negative prompts for 2 prompts"):
        drawn(pipe, prompts, negative_prompt=["a"] * 3)


def test_height_and_width_are_pixels(pipe: Any) -> None:
    (picture,) = pipe("a cat", num_inference_steps=1, height=24, width=40).images
    assert picture.size == (40, 24)
    assert drawn(pipe, "a cat", height=8).shape == (1, 3, 8, 16)
    with pytest.raises(ValueError, match="height is 0"):
        drawn(pipe, "a cat", height=0)
    with pytest.raises(ValueError, match="latents are"):
        drawn(pipe, "a cat", height=24, latents=noise(1))


def test_embeddings_stand_for_prompts(pipe: Any) -> None:
    x = noise(2)
    (embeds, mask, pooled), (null, null_mask, _) = (
        pipe.encode_prompt(one) for one in (["a cat", LONG], ["", "a dog"])
    )
    assert pooled is None
    given = {"prompt_embeds": embeds, "prompt_attention_mask": mask, "latents": x}
    given |= {"negative_prompt_embeds": null, "negative_prompt_attention_mask": null_mask}
    expected = drawn(pipe, ["a cat", LONG], negative_prompt=["", "a dog"], latents=x)
    torch.testing.assert_close(drawn(pipe, **given), expected)
    alone = drawn(pipe, prompt_embeds=embeds[:1, : int(mask[0].sum())], latents=x[:1])
    torch.testing.assert_close(alone, drawn(pipe, "a cat", latents=x[:1]), atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="takes no pooled_prompt_embeds"):
        drawn(pipe, prompt_embeds=embeds, pooled_prompt_embeds=torch.zeros(2, 8))
    for wrong in ({}, {"prompt_embeds": embeds}):
        with pytest.raises(ValueError, match="either prompt or prompt_embeds"):
            drawn(pipe, *(["a cat"] if wrong else []), **wrong)


def test_callbacks_hear_of_each_step_and_may_change_it(pipe: Any) -> None:
    heard: list[Any] = []

    def watch(made: Any, n: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        heard.append((n, int(t), sorted(given)))
        made._interrupt = n == 1
        return {"latents": given["latents"] * 0 if n == 1 else given["latents"]}

    names = ["latents", "prompt_embeds"]
    given = {"callback_on_step_end": watch, "callback_on_step_end_tensor_inputs": names}
    x = drawn(pipe, "a cat", latents=noise(1), **given)
    assert [(n, names) for n, _, names in heard] == [(0, names), (1, names)]
    assert not x.any()
    older: list[int] = []
    drawn(pipe, "a cat", callback=lambda n, t, x: older.append(n), callback_steps=2)
    assert older == [0, 2]
    with pytest.raises(ValueError, match="callbacks are given latents"):
        drawn(pipe, "a cat", callback_on_step_end_tensor_inputs=["image"])


def test_guidance_rescale_is_diffusers_own(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2)
    ours = drawn(pipe, ["a cat", "a dog"], latents=x, guidance_rescale=0.7)

    def guided(x: torch.Tensor, t: Any, condition: Any, weight: float, rescale: float) -> Any:
        null, text = (pipe._answer(x, t, condition.part(n, n + 2)) for n in (0, 2))
        return rescale_noise_cfg(null + weight * (text - null), text, rescale)

    monkeypatch.setattr(pipe, "_guided", guided)
    theirs = drawn(pipe, ["a cat", "a dog"], latents=x, guidance_rescale=0.7)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    monkeypatch.undo()
    assert not torch.allclose(ours, drawn(pipe, ["a cat", "a dog"], latents=x), atol=1e-3)


def test_eta_is_the_schedulers(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def by(seed: int, eta: float) -> torch.Tensor:
        made: torch.Tensor = drawn(
            pipe, "a cat", latents=noise(1), eta=eta, generator=torch.Generator().manual_seed(seed)
        )
        return made

    assert torch.equal(by(1, 0.0), by(2, 0.0))
    assert torch.equal(by(1, 1.0), by(1, 1.0))
    assert not torch.allclose(by(1, 1.0), by(2, 1.0))
    other = diffusers.DPMSolverMultistepScheduler()
    monkeypatch.setattr(pipe, "scheduler", other)
    with pytest.raises(ValueError, match="DPMSolverMultistepScheduler has no eta"):
        by(1, 0.5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_times_may_be_given_where_the_scheduler_takes_them(
    pipe: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(ValueError, match="DDIMScheduler takes no timesteps"):
        drawn(pipe, "a cat", timesteps=[900, 500, 100])
    made = getattr(diffusers, name).from_config(pipe.scheduler.config)
    monkeypatch.setattr(pipe, "scheduler", made)
    heard: list[int] = []
    more = {"callback": lambda n, t, x: heard.append(int(t)), "latents": noise(1)}
    given = drawn(pipe, "a cat", timesteps=[900, 500, 100], **more)
    assert heard == [900, 500, 100]
    assert pipe.num_timesteps == 3
    usual = drawn(pipe, "a cat", num_inference_steps=3, **more)
    times = heard[3:]
    assert not torch.allclose(given, usual)
    torch.testing.assert_close(drawn(pipe, "a cat", timesteps=times, **more), usual)
    with pytest.raises(ValueError, match="give either timesteps or sigmas"):
        drawn(pipe, "a cat", timesteps=[900], sigmas=[1.0])


def test_a_flow_is_drawn_at_the_times_or_noise_that_is_given() -> None:
    torch.manual_seed(0)
    process = DiffusionSettings(schedule="flow", target="flow")
    unet = make_unet(ModelSettings(channels=(8, 16), head_dim=8, attention_from=0), 16, 256)
    made = FrenchcatPipeline(unet.eval(), scheduler_of(process), flow_end=0.999)
    made.set_progress_bar_config(disable=True)
    usual = drawn(made, "a cat", latents=noise(1), num_inference_steps=4)
    for given in ({"timesteps": [999, 749, 499, 249]}, {"sigmas": [0.999, 0.749, 0.4995, 0.2498]}):
        torch.testing.assert_close(drawn(made, "a cat", latents=noise(1), **given), usual)


def _after_a_step(pipe: Any, x: torch.Tensor) -> torch.Tensor:
    heard: list[torch.Tensor] = []
    drawn(pipe, "a cat", latents=x, callback=lambda n, t, now: heard.append(now))
    return heard[0]


def test_diffusers_own_callbacks_are_taken(pipe: Any) -> None:
    """Guidance ends after the first step: the conditional model alone, as in Stable Diffusion."""
    from diffusers.callbacks import MultiPipelineCallbacks, SDCFGCutoffCallback

    cut = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0)
    x = noise(1)
    for callback in (cut, MultiPipelineCallbacks([cut])):
        found = drawn(pipe, "a cat", latents=x, callback_on_step_end=callback)
        expected = _after_a_step(pipe, x)
        for t in pipe.scheduler.timesteps[1:]:
            states, mask, pooled = pipe.encode_prompt("a cat")
            condition = _joined((states, mask, pooled), (states, mask, pooled), 1)
            output = pipe._answer(expected, t, condition.part(1, 2))
            expected = pipe._step(output, t, expected, {})
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    names: list[Any] = []

    def watch(made: Any, n: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        names.append((made.guidance_scale, made.do_classifier_free_guidance, made.interrupt))
        return {"prompt_embeds": torch.zeros(3, 4, 192)}

    with pytest.raises(ValueError, match=r"a callback gave 3 prompt_embeds .* for 1 images"):
        drawn(pipe, "a cat", callback_on_step_end=watch, guidance_rescale=0.5)
    assert (names, pipe.guidance_rescale) == ([(4.0, True, False)], 0.5)


def test_attention_is_given_what_the_caller_says(pipe: Any) -> None:
    heard: list[Any] = []
    forward = pipe.unet.forward

    def listened(*given: Any, **more: Any) -> Any:
        heard.append(more["cross_attention_kwargs"])
        return forward(*given, **more | {"cross_attention_kwargs": None})

    pipe.unet.forward = listened
    try:
        drawn(pipe, "a cat", cross_attention_kwargs={"scale": 0.5}, num_inference_steps=1)
        drawn(pipe, "a cat", num_inference_steps=1)
    finally:
        del pipe.unet.forward
    assert heard == [{"scale": 0.5}, None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": []}, "prompt is an empty list"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"num_inference_steps": 0}, "num_inference_steps 0"),
        ({"callback_steps": 0}, "callback_steps 0"),
        ({"latents": torch.zeros(1, 4, 16, 16)}, r"latents are \(1, 4, 16, 16\), and \(1, 3, 16"),
        ({"generator": [torch.Generator()] * 2}, "2 generators for 1 images"),
    ],
)
def test_arguments_out_of_range_are_said(pipe: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        drawn(pipe, **({"prompt": "a cat"} | given))


def test_latents_of_an_autoencoder_with_a_shift_are_decoded_as_in_training(pipe: Any) -> None:
    torch.manual_seed(1)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=3, shift_factor=0.6
    ).eval()
    made = FrenchcatPipeline(pipe.unet, pipe.scheduler, vae=vae)
    x = noise(1)
    with torch.no_grad():
        ours = made._pictures(x, "np")[0]
    theirs = Codec(vae).decode(x)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(255 * ours, theirs, atol=1)


def test_what_is_saved_opens_again(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    opened: Any = diffusers.DiffusionPipeline
    expected = drawn(pipe, "a cat", latents=noise(1))
    saving, folder = pipe, tmp_path / "0"
    for n in range(2):  # also what was opened saves itself
        folder = tmp_path / str(n)
        saving.save_pretrained(folder)
        saving = opened.from_pretrained(folder, trust_remote_code=True, low_cpu_mem_usage=False)
        saving.set_progress_bar_config(disable=True)
        torch.testing.assert_close(drawn(saving, "a cat", latents=noise(1)), expected)
    assert np.asarray(saving("a cat", num_inference_steps=1).images[0]).shape == (16, 16, 3)


def test_prompts_that_are_cut_are_told(pipe: Any, caplog: pytest.LogCaptureFixture) -> None:
    text = pipe.text
    texts = (" ".join(["cat"] * n) for n in range(text.limit, 0, -1))
    fits = next(one for one in texts if not _too_long(text, one))
    assert text([fits]).mask.sum() == text.limit  # to the last token
    assert _too_long(text, fits + " cat")
    assert not _too_long(text, "")
    from diffusers.utils import logging

    logging.enable_propagation()
    drawn(pipe, fits + " cat", num_inference_steps=1)
    logging.disable_propagation()
    assert f"cut to the text tower's {text.limit} tokens" in caplog.text


def _too_long(text: Any, caption: str) -> bool:
    text([caption])
    return bool(text.too_long([caption]))
