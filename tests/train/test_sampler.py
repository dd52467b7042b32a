"""Samplers against diffusers' schedulers, and against a Gaussian whose flow is known."""

import math
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from torch import Tensor

from frenchcat.train.diffusion import Diffusion
from frenchcat.train.sampler import (
    SAMPLERS,
    Sampler,
    ddim,
    ddpm,
    dpm_solver_pp,
    heun,
    sample,
    timesteps,
)
from tests.train.gaussian import Gaussian, generator

LINEAR = {"beta_schedule": "linear", "timestep_spacing": "trailing"}


def nonlinear(x: Tensor, t: Tensor) -> Tensor:
    """Some eps-model, smooth and not linear in x."""
    return torch.tanh(x * (0.5 + t.view(-1, 1, 1, 1) / 2000)) + 0.1 * torch.sin(3 * x)


def start(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 4, 4, generator=generator(seed), dtype=torch.float64)


def predict_with(diffusion: Diffusion):  # type: ignore[no-untyped-def]
    return lambda x, t: diffusion.split("eps", nonlinear(x, t), x, t)


@pytest.mark.parametrize("steps", [1, 10, 20, 50])
def test_ddim_is_diffusers(steps: int) -> None:
    diffusion = Diffusion.make("linear")
    theirs = DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(steps)
    times = timesteps(1000, steps)
    assert times == theirs.timesteps.tolist()
    x = start()
    for t in theirs.timesteps:
        x = theirs.step(nonlinear(x, t.expand(2)), t, x).prev_sample
    ours = ddim(predict_with(diffusion), diffusion, start(), times)
    torch.testing.assert_close(ours, x, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_is_diffusers_with_the_same(eta: float) -> None:
    diffusion = Diffusion.make("linear")
    theirs = DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(20)
    x = start()
    for n, t in enumerate(theirs.timesteps):
        drawn = start(100 + n)
        x = theirs.step(nonlinear(x, t.expand(2)), t, x, eta=eta, variance_noise=drawn).prev_sample
    times = timesteps(1000, 20)
    predict = predict_with(diffusion)
    ours = ddim(predict, diffusion, start(), times, lambda n: start(100 + n), eta)
    torch.testing.assert_close(ours, x, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_dpm_solver_is_diffusers(steps: int) -> None:
    diffusion = Diffusion.make("linear")
    theirs = DPMSolverMultistepScheduler(
        **LINEAR, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero"
    )
    theirs.set_timesteps(steps)
    times = [int(t) for t in theirs.timesteps]
    x = start()
    for t in theirs.timesteps:
        x = theirs.step(nonlinear(x, t.expand(2)), t, x).prev_sample
    ours = dpm_solver_pp(predict_with(diffusion), diffusion, start(), times)
    torch.testing.assert_close(ours, x, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_heun_is_diffusers_on_the_flow_schedule() -> None:
    diffusion = Diffusion.make("flow", 1000, zero_terminal=True)
    theirs = FlowMatchHeunDiscreteScheduler(num_train_timesteps=1000)
    theirs.set_timesteps(4)  # 1, .667, .334, .001
    x = start()
    for t in theirs.timesteps:
        x = theirs.step(nonlinear(x, t.round().expand(2)), t, x, return_dict=False)[0]
    sigmas = sorted(set(theirs.sigmas.tolist()) - {0.0}, reverse=True)
    times = [round(sigma * 1000) - 1 for sigma in sigmas]
    assert [t + 1 for t in times] == pytest.approx([sigma * 1000 for sigma in sigmas])

    def predict(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return diffusion.split("flow", nonlinear(x, t + 1), x, t)

    torch.testing.assert_close(heun(predict, diffusion, start(), times), x, atol=1e-3, rtol=1e-3)


def test_ddpm_is_diffusers_with_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion = Diffusion.make("linear", 40)
    betas = {"beta_start": 25 * 1e-4, "beta_end": 25 * 0.02, "num_train_timesteps": 40}
    theirs = DDPMScheduler(beta_schedule="linear", clip_sample=False, **betas)
    theirs.set_timesteps(40)
    draws = {int(t): start(100 + n) for n, t in enumerate(theirs.timesteps)}
    x = start()
    for t in theirs.timesteps:
        module = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
        monkeypatch.setattr(module, lambda *_, t=t, **__: draws[int(t)])
        x = theirs.step(nonlinear(x, t.expand(2)), t, x).prev_sample
    times = list(range(39, -1, -1))
    ours = ddpm(predict_with(diffusion), diffusion, start(), times, lambda n: start(100 + n))
    torch.testing.assert_close(ours, x, atol=1e-3, rtol=1e-3)


def error(name: str, kind: str, steps: int, strength: float = 1.0, zero: bool = False) -> float:
    """How far a sampler ends from where the Gaussian's flow ends, on average."""
    known = Gaussian(Diffusion.make(kind, 4096, zero_terminal=zero))
    times = timesteps(4096, steps, strength)
    x = known.start(64, times[0])
    exact = known.flowed(x, times[0])
    return float((sample(name, known.predict, known.diffusion, x, times) - exact).abs().mean())


@pytest.mark.parametrize(("name", "order"), [("ddim", 1.0), ("heun", 2.0), ("dpm++", 2.0)])
def test_orders_of_convergence(name: str, order: float) -> None:
    """On the flow schedule, whose steps are even to the very end, from three quarters of noise."""
    coarse, fine = error(name, "flow", 64, 0.75), error(name, "flow", 256, 0.75)
    assert math.log(coarse / fine, 4) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_second_order_pays_on_other_schedules_too(kind: str) -> None:
    euler = error("ddim", kind, 64)
    assert error("heun", kind, 64) < euler / 2
    assert error("dpm++", kind, 64) < euler / 2


@pytest.mark.parametrize("kind", ["linear", "cosine", "flow"])
@pytest.mark.parametrize("name", ["ddim", "heun", "dpm++"])
def test_samplers_start_from_noise_alone(name: str, kind: str) -> None:
    assert error(name, kind, 128, zero=True) < 0.03


@pytest.mark.parametrize("eta", [None, 1.0, 0.5])
def test_ancestral_sampling_gives_the_distribution(eta: float | None) -> None:
    known = Gaussian(Diffusion.make("cosine"))
    x, chance = known.start(10_000, 999), generator(9)

    def draw(_: int) -> Tensor:
        return torch.randn(x.shape, generator=chance, dtype=x.dtype)

    times = timesteps(1000, 100)
    if eta is None:
        found = ddpm(known.predict, known.diffusion, x, times, draw)
    else:
        found = ddim(known.predict, known.diffusion, x, times, draw, eta)
    assert float(found.mean()) == pytest.approx(known.mean, abs=0.02)
    assert float(found.std()) == pytest.approx(known.spread, rel=0.05)


def test_a_start_below_full_strength_begins_later() -> None:
    assert timesteps(1000, 10) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert timesteps(1000, 10, 0.3) == [299, 199, 99]
    assert timesteps(1000, 10, 0.01) == [99]


@pytest.mark.parametrize(("steps", "strength"), [(0, 1.0), (1001, 1.0), (10, 0.0), (10, 1.5)])
def test_bad_numbers_are_refused(steps: int, strength: float) -> None:
    with pytest.raises(ValueError, match=r"steps|strength"):
        timesteps(1000, steps, strength)


def test_times_that_do_not_fall_and_unknown_names_are_refused() -> None:
    known = Gaussian(Diffusion.make("linear"))
    with pytest.raises(ValueError, match="times must descend"):
        ddim(known.predict, known.diffusion, start(), [10, 20])
    with pytest.raises(ValueError, match="unknown sampler 'euler'"):
        sample("euler", known.predict, known.diffusion, start(), [10])
    with pytest.raises(ValueError, match="draw"):
        sample("ddpm", known.predict, known.diffusion, start(), [10])


def test_heun_calls_the_model_twice_a_step_but_for_the_last() -> None:
    known, calls = Gaussian(Diffusion.make("linear")), []

    def counting(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(int(t[0]))
        return known.predict(x, t)

    heun(counting, known.diffusion, start(), [999, 599, 199])
    assert calls == [999, 599, 599, 199, 199]


def test_a_sampler_that_is_added_to_the_table_is_run_by_its_name_with_noise_if_it_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Gaussian(Diffusion.make("linear"))

    def noisy(predict: Any, diffusion: Any, x: Tensor, times: Any, draw: Any) -> Tensor:
        return x + draw(7)

    monkeypatch.setitem(SAMPLERS, "noisy", Sampler("noisy", noisy, noisy=True))
    found = sample(
        "noisy", known.predict, known.diffusion, start(), [10], lambda n: torch.full((1,), n)
    )
    assert torch.equal(found, start() + 7)
    with pytest.raises(ValueError, match="the sampler noisy needs `draw`"):
        sample("noisy", known.predict, known.diffusion, start(), [10])
    with pytest.raises(ValueError, match=r"known: ddpm, .*, noisy"):
        sample("euler", known.predict, known.diffusion, start(), [10])
