"""Guidance against a Gaussian tilted by a known classifier, and against plain conditioning."""

import pytest
import torch
from torch import Tensor

from frenchcat.train.diffusion import Diffusion
from frenchcat.train.guidance import Guided, classifier_gradient, clip_gradient
from frenchcat.train.sampler import ddim, timesteps
from tests.train.gaussian import Gaussian, generator


def network(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    return torch.tanh(x + condition.view(-1, 1, 1, 1)) * (1 + t.view(-1, 1, 1, 1) / 1000)


X = torch.randn(4, 3, 2, 2, generator=generator(1))
T = torch.full((4,), 300)
PROMPT, NULL = torch.full((4,), 0.5), torch.zeros(4)


def guided(weight: float, **more: object) -> Guided:
    return Guided(network, Diffusion.make("cosine"), "v", PROMPT, NULL, weight, **more)  # type: ignore[arg-type]


def test_weight_one_is_the_conditional_model_bit_for_bit() -> None:
    ours = guided(1.0)(X, T)
    plain = Diffusion.make("cosine").split("v", network(X, T, PROMPT), X, T)
    assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))


def test_weight_nought_is_the_unconditional_model() -> None:
    plain = Diffusion.make("cosine").split("v", network(X, T, NULL), X, T)
    torch.testing.assert_close(guided(0.0)(X, T), plain)


@pytest.mark.parametrize("target", ["eps", "x0", "v", "flow"])
def test_the_noise_is_extrapolated_whatever_the_target(target: str) -> None:
    """eps_null + w (eps_cond - eps_null), for outputs of any kind."""
    diffusion = Diffusion.make("cosine")
    made = Guided(network, diffusion, target, PROMPT, NULL, 3.0)  # type: ignore[arg-type]
    _, with_prompt = diffusion.split(target, network(X, T, PROMPT), X, T)  # type: ignore[arg-type]
    _, without = diffusion.split(target, network(X, T, NULL), X, T)  # type: ignore[arg-type]
    torch.testing.assert_close(made(X, T)[1], without + 3.0 * (with_prompt - without))


def test_guidance_without_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"guidance 2\.0 needs"):
        Guided(network, Diffusion.make("cosine"), "v", PROMPT, None, 2.0)(X, T)


def test_classifier_guidance_reproduces_the_tilted_gaussian() -> None:
    """p(x_0) exp(w b x_0) is the Gaussian moved by w b spread^2.

    The classifier on x_t that goes with it, E[exp(b x_0) | x_t], has a gradient in closed form:
    b times the slope of E[x_0 | x_t].
    """
    known = Gaussian(Diffusion.make("cosine"))
    tilt, weight = 1.5, 0.8

    def gradient(x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        a, s = (part.view(-1, 1, 1, 1) for part in known.diffusion.coefficients(t))
        return weight * tilt * a * known.spread**2 / (a**2 * known.spread**2 + s**2) + 0 * x

    def eps_model(x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        return known.predict(x, t)[1]

    made = Guided(eps_model, known.diffusion, "eps", NULL, gradients=[gradient])
    x = known.start(4000, 999)
    found = ddim(made, known.diffusion, x, timesteps(1000, 125))
    expected = known.mean + weight * tilt * known.spread**2
    assert float(found.mean()) == pytest.approx(expected, abs=0.03)
    assert float(found.std()) == pytest.approx(known.spread, rel=0.05)


def test_classifier_free_guidance_of_two_gaussians_is_the_gaussian_in_between_and_beyond() -> None:
    """Of equal spread s, the means mix linearly: mean_null + w (mean_cond - mean_null)."""
    diffusion = Diffusion.make("cosine")
    null, prompt = Gaussian(diffusion, 0.0), Gaussian(diffusion, 0.4)

    def eps_model(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        both = [known.predict(x, t)[1] for known in (null, prompt)]
        return torch.where(condition.view(-1, 1, 1, 1) > 0, both[1], both[0])

    x = null.start(1000, 999)
    ones, zeros = torch.ones(len(x)), torch.zeros(len(x))
    made = Guided(eps_model, diffusion, "eps", ones, zeros, 3.0)
    found = ddim(made, diffusion, x, timesteps(1000, 125))
    assert float(found.mean()) == pytest.approx(3 * 0.4, abs=0.03)


def test_the_classifiers_gradient_is_that_of_the_log_probability() -> None:
    weights = torch.randn(12, 5, generator=generator(3))

    def classifier(x: Tensor, t: Tensor) -> Tensor:
        return x.flatten(1) @ weights

    labels = torch.tensor([0, 1, 4, 2])
    slope = classifier_gradient(classifier, labels, 2.0)(X, T, X)
    chance = (X.flatten(1) @ weights).softmax(-1)
    closed = 2.0 * (weights.T[labels] - chance @ weights.T).view_as(X)
    torch.testing.assert_close(slope, closed)


def test_the_clip_gradient_climbs_the_cosine() -> None:
    texts = torch.nn.functional.normalize(torch.randn(4, 12, generator=generator(4)), dim=-1)

    def embed(pictures: Tensor) -> Tensor:
        return torch.nn.functional.normalize(pictures.flatten(1), dim=-1)

    slope = clip_gradient(embed, texts, 1.0, lambda x, _: 0.9 * x)(X, T, X)
    before, after = ((embed(x) * texts).sum(-1) for x in (X, X + 0.1 * slope))
    assert bool((after > before).all())


def test_gradients_add_to_classifier_free_guidance_and_keep_x_t() -> None:
    diffusion = Diffusion.make("cosine")
    x_0, eps = guided(3.0, gradients=[lambda x, t, x_0: 0.1 * x] * 2)(X, T)
    plain_x_0, plain_eps = guided(3.0)(X, T)
    _, s = (float(part[0]) for part in diffusion.coefficients(T))
    torch.testing.assert_close(eps, plain_eps - s * 0.2 * X)
    torch.testing.assert_close(diffusion.noised(x_0, T, eps), X)
    assert not torch.equal(x_0, plain_x_0)


def test_gradients_are_left_out_where_almost_nothing_of_the_picture_is_left() -> None:
    steep = [lambda x, t, x_0: 1e3 * x]
    for time, left_out in ((999, True), (990, True), (900, False)):
        t = torch.full((4,), time)
        same = torch.equal(guided(1.0, gradients=steep)(X, t)[1], guided(1.0)(X, t)[1])
        assert same == left_out


def test_clipping_keeps_the_noise_that_goes_with_it() -> None:
    x_0, eps = guided(8.0, clip_x_0=1.0)(X, T)
    assert float(x_0.abs().max()) <= 1.0
    torch.testing.assert_close(Diffusion.make("cosine").noised(x_0, T, eps), X)


@pytest.mark.parametrize("weight", [0.0, 1.0, 40.0])
def test_the_clip_gradient_goes_back_through_the_network(weight: float) -> None:
    """Against finite differences, by a network that is not linear."""
    texts = torch.nn.functional.normalize(
        torch.randn(4, 12, generator=generator(4), dtype=torch.float64), dim=-1
    )

    def embed(pictures: Tensor) -> Tensor:
        return torch.nn.functional.normalize(pictures.flatten(1), dim=-1)

    def predicted(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x.flip(-1) * 2 + t.view(-1, 1, 1, 1) / 1000) + x**3 / 9

    x = X.double()
    slope = clip_gradient(embed, texts, weight, predicted)(x, T, torch.zeros_like(x))
    way = torch.randn(x.shape, generator=generator(5), dtype=torch.float64)
    ends = [(embed(predicted(x + h * way, T)) * texts).sum() for h in (1e-5, -1e-5)]
    expected = weight * float(ends[0] - ends[1]) / 2e-5
    assert float((slope * way).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-9)
