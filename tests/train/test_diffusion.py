"""The chain against its closed form, targets against each other, weights cell by cell."""

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.train.diffusion import (
    Diffusion,
    cosine_betas,
    linear_betas,
    logit_normal,
    zero_terminal_snr,
)
from tests.train.gaussian import Gaussian, generator

KINDS = ("linear", "scaled_linear", "cosine", "flow")
TARGETS = ("eps", "x0", "v", "flow")
every = [(kind, zero) for kind in KINDS for zero in (False, True)]


def times(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")],
)
@pytest.mark.parametrize("zero", [False, True])
def test_schedules_are_diffusers(kind: str, theirs: str, zero: bool) -> None:
    ends = {"beta_start": 85e-5, "beta_end": 0.012} if kind == "scaled_linear" else {}
    oracle = DDPMScheduler(beta_schedule=theirs, rescale_betas_zero_snr=zero, **ends)
    ours = Diffusion.make(kind, zero_terminal=zero)
    torch.testing.assert_close(ours.a**2, oracle.alphas_cumprod.double(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "zero"), every)
def test_the_chain_step_by_step_has_the_moments_of_the_closed_form(kind: str, zero: bool) -> None:
    diffusion = Diffusion.make(kind, 50, zero_terminal=zero)
    x_0 = torch.full((40_000, 1, 1, 1), 0.8, dtype=torch.float64)
    x, chance = x_0, generator(1)
    for t in range(50):
        t_rows = torch.full((len(x),), t)
        x = diffusion.step(x, t_rows, torch.randn(x.shape, generator=chance, dtype=x.dtype))
        if t % 7 == 0 or t == 49:
            a, s = (float(part) for part in diffusion.coefficients(times(t)))
            assert float(x.mean()) == pytest.approx(a * 0.8, abs=4 * s / 200)
            assert float(x.std()) == pytest.approx(s, rel=0.02)


@pytest.mark.parametrize(("kind", "zero"), every)
def test_the_posterior_is_bayes_rule(kind: str, zero: bool) -> None:
    """Product of the two Gaussians in x_before, written out anew."""
    diffusion = Diffusion.make(kind, 40, zero_terminal=zero)
    for t, before in ((1, 0), (20, 19), (39, 30), (38, 2)):
        (a, s), (ab, sb) = (
            tuple(float(part) for part in diffusion.coefficients(times(time)))
            for time in (t, before)
        )
        ratio, x_0, x_t = a / ab, 0.3, -0.6
        forward = s**2 - ratio**2 * sb**2
        variance = 1 / (1 / sb**2 + ratio**2 / forward)
        mean = variance * (ab * x_0 / sb**2 + ratio * x_t / forward)
        found, spread = diffusion.posterior(
            torch.full((1, 1), x_0, dtype=torch.float64),
            torch.full((1, 1), x_t, dtype=torch.float64),
            times(t),
            times(before),
        )
        assert float(found) == pytest.approx(mean, rel=1e-9)
        assert float(spread) == pytest.approx(variance, rel=1e-9)


def test_the_posterior_before_the_first_step_is_the_picture() -> None:
    mean, variance = Diffusion.make("linear").posterior(
        torch.tensor([[0.25]]), torch.tensor([[9.0]]), times(0)
    )
    assert float(mean) == pytest.approx(0.25)
    assert float(variance) == 0.0


@pytest.mark.parametrize(("kind", "zero"), every)
@pytest.mark.parametrize("target", TARGETS)
def test_splitting_a_perfect_output_gives_picture_and_noise(
    kind: str, zero: bool, target: str
) -> None:
    diffusion = Diffusion.make(kind, 100, zero_terminal=zero)
    t = times(0, 3, 50, 98, 99)
    x_0 = torch.randn(5, 3, 2, 2, generator=generator(2), dtype=torch.float64)
    noise = torch.randn(5, 3, 2, 2, generator=generator(3), dtype=torch.float64)
    x_t = diffusion.noised(x_0, t, noise)
    found, eps = diffusion.split(target, diffusion.target(target, x_0, noise, t), x_t, t)
    rows = slice(0, 4) if zero and target == "eps" else slice(0, 5)
    torch.testing.assert_close(found[rows], x_0[rows])
    torch.testing.assert_close(eps[rows], noise[rows])


def test_eps_is_refused_where_the_schedule_ends_in_noise() -> None:
    ends_in_noise = Diffusion.make("cosine", zero_terminal=True)
    with pytest.raises(ValueError, match="take v, x0 or flow"):
        ends_in_noise.check("eps")
    for target in ("x0", "v", "flow"):
        ends_in_noise.check(target)
    Diffusion.make("cosine").check("eps")


@pytest.mark.parametrize(("kind", "zero"), every)
@pytest.mark.parametrize("target", TARGETS)
def test_min_snr_weighs_an_error_in_any_target_as_one_in_the_picture(
    kind: str, zero: bool, target: str
) -> None:
    diffusion = Diffusion.make(kind, 1000, zero_terminal=zero)
    t = torch.arange(1000)
    weights = diffusion.min_snr_weight(target, t, 5.0)
    assert bool(torch.isfinite(weights).all())
    assert bool((weights >= 0).all())
    # The same error d in x_0, expressed in the target, has to cost min(SNR, gamma) d^2.
    t = torch.arange(0, 998, 7)
    x_0, noise, d = (torch.full((len(t), 1), v, dtype=torch.float64) for v in (0.4, -1.1, 0.01))
    x_t = diffusion.noised(x_0, t, noise)
    a, s = (part[:, None] for part in diffusion.coefficients(t))
    wrong = x_0 + d
    error = diffusion.target(target, wrong, (x_t - a * wrong) / s, t)
    error = error - diffusion.target(target, x_0, noise, t)
    cost = diffusion.min_snr_weight(target, t, 5.0)[:, None] * error**2
    torch.testing.assert_close(cost, diffusion.snr(t).clamp(max=5.0)[:, None] * d**2)


def test_min_snr_of_variance_preserving_schedules_is_the_papers_table() -> None:
    diffusion, t = Diffusion.make("cosine"), torch.arange(1000)
    snr = diffusion.snr(t)
    capped = snr.clamp(max=5)
    torch.testing.assert_close(diffusion.min_snr_weight("eps", t), capped / snr)
    torch.testing.assert_close(diffusion.min_snr_weight("v", t), capped / (snr + 1))


def test_all_targets_have_one_optimum_on_a_gaussian() -> None:
    """Least squares of each target on x_t, split, is E[x_0 | x_t]."""
    diffusion = Diffusion.make("linear")
    known = Gaussian(diffusion)
    x_0 = known.mean + known.spread * torch.randn(
        200_000, 1, 1, 1, generator=generator(5), dtype=torch.float64
    )
    noise = torch.randn(x_0.shape, generator=generator(6), dtype=torch.float64)
    for number in (100, 400, 700):
        t = torch.full((len(x_0),), number)
        x_t = diffusion.noised(x_0, t, noise)
        design = torch.cat([x_t.flatten(1), torch.ones(len(x_t), 1, dtype=x_t.dtype)], 1)
        for target in TARGETS:
            wanted = diffusion.target(target, x_0, noise, t).flatten(1)
            slope, level = torch.linalg.lstsq(design, wanted).solution.flatten()
            probe, probe_t = torch.linspace(-2, 2, 9).double().view(-1, 1, 1, 1), t[:9]
            found, _ = diffusion.split(target, slope * probe + level, probe, probe_t)
            torch.testing.assert_close(found, known.x_0(probe, probe_t), atol=0.02, rtol=0.02)


@given(st.integers(2, 400))
def test_zero_terminal_keeps_the_first_and_empties_the_last(steps: int) -> None:
    for betas in (linear_betas(steps), cosine_betas(steps)):
        before, after = Diffusion.of_betas(betas), Diffusion.of_betas(zero_terminal_snr(betas))
        assert float(after.a[0]) == pytest.approx(float(before.a[0]), rel=1e-9)
        assert float(after.a[-1]) == 0.0
        assert bool((after.a[:-1] > after.a[1:]).all())


def test_unknown_schedules_are_named() -> None:
    with pytest.raises(ValueError, match="unknown schedule 'cosin'"):
        Diffusion.make("cosin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least two"):
        Diffusion.make("linear", 1)


@pytest.mark.parametrize(("kind", "zero"), every)
@pytest.mark.parametrize("steps", [20, 1000])
def test_a_schedule_ends_in_noise_alone_only_where_told(kind: str, zero: bool, steps: int) -> None:
    diffusion = Diffusion.make(kind, steps, zero_terminal=zero)
    assert (float(diffusion.a[-1]) == 0.0) == zero
    assert float(diffusion.a[-1]) < 0.1
    assert float(diffusion.a[0]) > 0.9
    assert bool((diffusion.a[1:] < diffusion.a[:-1]).all())
    assert bool((diffusion.s[1:] > diffusion.s[:-1]).all())


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_shorter_schedules_are_diffusers_with_scaled_ends(kind: str, zero: bool) -> None:
    first, last = (1e-4, 0.02) if kind == "linear" else (85e-5, 0.012)
    oracle = DDPMScheduler(
        num_train_timesteps=50,
        beta_start=20 * first,
        beta_end=20 * last,
        beta_schedule=kind,
        rescale_betas_zero_snr=zero,
    )
    ours = Diffusion.make(kind, 50, zero_terminal=zero)
    torch.testing.assert_close(ours.a**2, oracle.alphas_cumprod.double(), atol=2e-5, rtol=1e-4)


def test_v_and_flow_are_what_the_papers_define() -> None:
    """v by diffusers' get_velocity; flow by the straight path's slope in s."""
    oracle, ours = DDPMScheduler(beta_schedule="squaredcos_cap_v2"), Diffusion.make("cosine")
    x_0, noise = (torch.randn(4, 3, 2, 2, generator=generator(n)) for n in (1, 2))
    t = times(0, 200, 700, 998)
    theirs = oracle.get_velocity(x_0, noise, t)
    torch.testing.assert_close(ours.target("v", x_0, noise, t), theirs, atol=1e-4, rtol=1e-3)
    flow = Diffusion.make("flow", zero_terminal=True)
    slope = (flow.noised(x_0, t + 1, noise) - flow.noised(x_0, t, noise)) * 1000
    torch.testing.assert_close(flow.target("flow", x_0, noise, t), slope, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_coefficients_are_not_rounded_to_a_coarse_picture(kind: str) -> None:
    diffusion, dtype = Diffusion.make("cosine"), getattr(torch, kind)
    t = torch.arange(0, 1000, 50)
    x_0, noise = (torch.randn(20, 1, 2, 2, generator=generator(n)).to(dtype) for n in (1, 2))
    exact = diffusion.noised(x_0.double(), t, noise.double())
    torch.testing.assert_close(diffusion.noised(x_0, t, noise).double(), exact, atol=1e-5, rtol=0)


@given(st.sampled_from(KINDS), st.sampled_from(("x0", "v", "flow")), st.integers(0, 999))
def test_the_velocity_loss_is_the_error_of_the_velocity_that_follows(
    kind: str, target: str, time: int
) -> None:
    """By `split`: the velocity eps - x_0 of an output that is wrong, against that of the truth."""
    diffusion, t = Diffusion.make(kind), times(time)
    x_0, noise, error = (torch.randn(1, 8, generator=generator(n)).double() for n in (1, 2, 3))
    x_t = diffusion.noised(x_0, t, noise)
    output = diffusion.target(target, x_0, noise, t) + error
    picture, eps = diffusion.split(target, output, x_t, t)
    wrong = (eps - picture) - (noise - x_0)
    weight = diffusion.velocity_weight(target, t, floor=0.0)
    torch.testing.assert_close(weight[:, None] * error**2, wrong**2, atol=1e-9, rtol=1e-6)


def test_the_velocity_loss_of_a_picture_is_the_papers() -> None:
    """|x' - x|^2 / max(1 - t, .05)^2 with the paper's t = 1 - s (2511.13720)."""
    diffusion, t = Diffusion.make("flow", zero_terminal=True), torch.arange(1000)
    theirs = 1 - (t + 1).double() / 1000
    expected = 1 / (1 - theirs).clamp(min=0.05) ** 2
    torch.testing.assert_close(diffusion.velocity_weight("x0", t), expected)
    assert float(diffusion.velocity_weight("x0", t).max()) == pytest.approx(400)


def test_logit_normal_times_are_the_papers() -> None:
    """JiT draws t = sigmoid(.8 n - .8) with 1 for the picture; here noise counts, 1 - t."""
    shares = [(n + 0.5) / 20_000 for n in range(20_000)]
    ours = torch.tensor([logit_normal(share, 0.8, 0.8) for share in shares]).double()
    logits = (ours / (1 - ours)).log()
    assert float(logits.mean()) == pytest.approx(0.8, abs=1e-3)
    assert float(logits.std()) == pytest.approx(0.8, abs=1e-3)
    theirs = torch.sigmoid(0.8 * torch.randn(20_000, generator=generator(4)) - 0.8)
    points = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    expected = 1 - theirs.double().quantile(1 - points.double())
    torch.testing.assert_close(ours.quantile(points.double()), expected, atol=0.01, rtol=0)
    assert 0 < logit_normal(0.0) < logit_normal(1 - 2**-53) < 1
