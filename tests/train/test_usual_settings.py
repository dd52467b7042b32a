"""Settings that people of other trainers expect: each by its formula, or by the library's own."""

import json
import math
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.select import select
from frenchcat.train import checkpoint
from frenchcat.train.diffusion import Diffusion
from frenchcat.train.guidance import Guided
from frenchcat.train.layout import rows_of_selection
from frenchcat.train.loader import Batches, drawn_time, in_template, weighted
from frenchcat.train.loop import train
from frenchcat.train.optimizer import make_optimizer, own_average, rate_at
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.run import order_of, prepare_rows
from frenchcat.train.sampler import karras_timesteps
from frenchcat.train.settings import DiffusionSettings, OptimizerSettings, TrainSettings
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.tars import write_tar as write_members
from tests.sample.vectors import unit_rows
from tests.train.runs import settings, write_tars


def process(**values: object) -> DiffusionSettings:
    return resolve(DiffusionSettings, values)


# -- times -------------------------------------------------------------------------------------

SHARES = (np.arange(4000) + 0.5) / 4000


def test_even_times_are_even() -> None:
    times = [drawn_time(share, process(steps=100)) for share in SHARES]
    assert set(np.bincount(times, minlength=100)) == {40}


def test_the_shift_is_that_of_diffusers_flow_scheduler() -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
    shifted = sorted(theirs.timesteps.tolist())
    ours = [drawn_time(n / 1000, process(shift=3.0)) + 0.5 for n in range(1, 1000)]
    np.testing.assert_allclose(ours, shifted[:-1], atol=0.51)


# -- losses ------------------------------------------------------------------------------------


def test_min_snr_is_off_for_flow_unless_told() -> None:
    assert process().min_snr == 5.0
    assert process(target="flow", schedule="flow").min_snr == 0.0
    assert process(target="flow", min_snr=5.0).min_snr == 5.0
    assert process(min_snr=0).min_snr == 0.0


def test_a_runs_identity_has_new_settings_only_where_they_are_used() -> None:
    plain = order_of(resolve(TrainSettings, {}))
    assert not {"caption", "templates", "held_out_keys"} & set(plain)
    used = {"text": {"templates": ["{caption}."]}, "run": {"held_out_keys": ["1"]}}
    assert order_of(resolve(TrainSettings, used))["templates"] == ["{caption}."]


# -- optimizers and rates ----------------------------------------------------------------------


def optimizer(**values: object) -> OptimizerSettings:
    return resolve(OptimizerSettings, {"rate": 0.1, "steps": 30, "warmup": 10} | values)


def test_rates_are_linear_constant_or_a_cosine_after_the_same_warmup() -> None:
    rates = {
        shape: [rate_at(n, optimizer(shape=shape)) for n in range(40)]
        for shape in ("linear", "constant", "cosine")
    }
    assert rates["linear"][:10] == rates["constant"][:10] == rates["cosine"][:10]
    assert rates["linear"][10:30] == pytest.approx([0.1 * (1 - n / 20) for n in range(20)])
    assert rates["linear"][30:] == [0.0] * 10
    assert rates["constant"][10:] == [0.1] * 30


def test_an_optimizer_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "prodigyopt", None)
    with pytest.raises(UserError, match=r"optimizer\.kind prodigy needs prodigyopt"):
        make_optimizer([torch.nn.Parameter(torch.zeros(2))], optimizer(kind="prodigy"))


@pytest.mark.slow
def test_prodigy_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("prodigyopt")
    tars = write_tars(tmp_path / "tars", 1)
    how = {"kind": "prodigy", "rate": 1.0, "warmup": 0, "shape": "constant"}
    few = {"data": {"batch": 4}, "run": {"checkpoint_every": 2}}
    whole = train(settings(tars, tmp_path / "whole", optimizer=how | {"steps": 4}, **few))
    parted = train(settings(tars, tmp_path / "parted", optimizer=how | {"steps": 2}, **few))
    train(settings(tars, parted, optimizer=how | {"steps": 4}, **few))
    one, other = (checkpoint.load_tensors(checkpoint.newest(run) or run) for run in (whole, parted))
    assert "group.d" in one
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=name)


# -- captions and held-out samples -------------------------------------------------------------


def test_templates_are_chosen_by_the_samples_own_chance() -> None:
    templates = ("a photo of {caption}", "{caption}, drawn")
    made = [in_template("a cat", templates, SampleRandomness(0, 0, str(n))) for n in range(400)]
    assert set(made) == {"a photo of a cat", "a cat, drawn"}
    assert 150 < made.count("a photo of a cat") < 250
    assert in_template("a {cat}", (), SampleRandomness(0, 0, "a")) == "a {cat}"


def test_variants_and_templates_are_drawn_as_often_as_they_weigh() -> None:
    shares = [(n + 0.5) / 1000 for n in range(1000)]
    for choices, weights, expected in (
        ("ab", (), [500, 500]),
        ("ab", (3.0, 1.0), [750, 250]),
        ("abc", (2.0, 1.0), [500, 250, 250]),  # the last holds for further ones
        ("abc", (0.0, 1.0, 3.0), [0, 250, 750]),
        ("a", (0.0, 1.0), [1000]),  # there is no other
    ):
        made = [weighted(choices, weights, share) for share in shares]
        assert [made.count(one) for one in choices] == expected
    assert weighted("abc", (0.0, 0.0, 1.0), 0.0) == "c"
    assert weighted("ab", (1.0, 0.1), 1 - 2**-53) == "b"
    templates = ("1 {caption}", "2 {caption}")
    made = [
        in_template("a cat", templates, SampleRandomness(0, 0, str(n)), (0.0, 2.0))
        for n in range(20)
    ]
    assert made == ["2 a cat"] * 20


def test_batches_draw_variants_by_their_weights(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1)
    text = {"dropout": 0.0, "separator": " ", "weights": [0.0, 1.0]}
    chosen = settings(tars, tmp_path / "run", text=text)
    prepare_rows(chosen, tmp_path / "rows")
    captions = Batches(tmp_path / "rows", chosen)[0, 0].captions
    assert set(captions) <= {str(n) for n in range(20)}  # of "cat 3": 3
    more = {"text": {"templates": ["a {caption}"], "template_weights": [1.0]}}
    assert order_of(settings(tars, tmp_path, **more))["template_weights"] == [1.0]
    assert order_of(chosen)["weights"] == [0.0, 1.0]


def test_a_schedule_free_run_keeps_the_optimizers_own_average() -> None:
    kind = pytest.importorskip("schedulefree").AdamWScheduleFree
    torch.manual_seed(0)
    start = torch.randn(5)
    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    chosen = optimizer(kind="schedulefree", shape="constant", warmup=0, decay=0.01)
    ours = make_optimizer([mine], chosen)
    reference = kind([theirs], lr=0.1, betas=chosen.betas, weight_decay=0.01)
    reference.train()
    averaged = [start.clone()]
    for step in range(6):
        for weight, used in ((mine, ours), (theirs, reference)):
            used.zero_grad()
            (weight - step).square().sum().backward()
            used.step()
        own_average(averaged, [mine], ours)
    assert torch.equal(mine, theirs)
    reference.eval()  # which puts the average in the weights' place
    torch.testing.assert_close(averaged[0], theirs.detach())


@pytest.mark.parametrize(
    ("kind", "package", "moment"),
    [
        ("schedulefree", "schedulefree", torch.float32),
        # Its package is large, and no part of the tests' installation.
        pytest.param("adamw8bit", "bitsandbytes", torch.uint8, marks=pytest.mark.slow),
    ],
)
def test_an_optimizer_of_a_package_goes_on_where_it_was(
    tmp_path: Path, kind: str, package: str, moment: torch.dtype
) -> None:
    pytest.importorskip(package)
    tars = write_tars(tmp_path / "tars", 1)
    how = {"kind": kind, "rate": 1e-2, "warmup": 2, "shape": "constant"}
    few = {"data": {"batch": 4}, "run": {"checkpoint_every": 2}}
    whole = train(settings(tars, tmp_path / "whole", optimizer=how | {"steps": 4}, **few))
    parted = train(settings(tars, tmp_path / "parted", optimizer=how | {"steps": 2}, **few))
    train(settings(tars, parted, optimizer=how | {"steps": 4}, **few))
    one, other = (checkpoint.load_tensors(checkpoint.newest(run) or run) for run in (whole, parted))
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=name)
    kinds = {name.partition(".")[0]: tensor.dtype for name, tensor in one.items()}
    assert moment in (kinds.get("z"), kinds.get("state1"))
    if kind == "schedulefree":
        weight, z, mean = (one[f"{n}.conv_in.weight"] for n in ("weights", "z", "averaged"))
        torch.testing.assert_close(mean, weight.lerp(z, 1 - 1 / 0.9))


def test_mistakes_in_settings_are_one_line(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1, 4)
    for more, match in (
        ({"text": {"templates": ["a photo"]}}, "without {caption}"),
        ({"text": {"weights": [1.0]}}, r"text\.weights is of a caption's variants"),
        ({"text": {"separator": "|", "weights": [0.0]}}, r"text\.weights is 0 everywhere"),
        ({"text": {"template_weights": [1.0]}}, r"1 numbers for 0 text\.templates"),
        ({"optimizer": {"kind": "schedulefree"}}, r"optimizer\.shape is cosine; set it to const"),
        ({"data": {"tars": None, "dataset": "x", "caption": "alt"}}, r"data\.caption is the key"),
        ({"model": {"lora_alpha": 4.0}}, r"model\.lora_alpha is for the updates of model\.lora"),
        ({"model": {"image_vector": True}}, r"model\.pooled, which is false; set it to true"),
    ):
        with pytest.raises(UserError, match=match):
            train(settings(tars, tmp_path / "run", **more))


def test_captions_under_a_key_of_ones_own_and_held_out_samples_by_key(tmp_path: Path) -> None:
    members = []
    for n in range(6):
        about = json.dumps({"caption": f"no {n}", "alt": f"cat {n}"}).encode()
        members += [(f"{n}.png", picture(n)), (f"{n}.txt", b"no"), (f"{n}.json", about)]
    tar = write_members(tmp_path / "a.tar", members)
    data, run = {"caption": "alt"}, {"held_out_keys": ["4", "1"]}
    made = settings(tar, tmp_path / "run", data=data, run=run)
    rows, _ = prepare_rows(made, tmp_path / "rows")
    assert [row.caption for row in rows.take(range(6))] == [f"cat {n}" for n in range(6)]
    assert rows.held_out == (1, 4)
    assert prepare_rows(made, tmp_path / "rows")[1] is None
    for keys, match in (
        (["9"], "names 9, but no sample has that key"),
        (list("012345"), "every sample"),
    ):
        with pytest.raises(UserError, match=match):
            prepare_rows(
                settings(tar, tmp_path / "run", run={"held_out_keys": keys}), tmp_path / "r"
            )


def test_a_selections_held_out_rows_by_key(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(6))
    select(dataset, "all")
    keys = rows_of_selection(dataset, "all", tmp_path / "rows").keys()
    chosen = rows_of_selection(dataset, "all", tmp_path / "rows", held_out_keys=[keys[4]])
    assert chosen.held_out == (4,)
    with pytest.raises(UserError, match="but no sample has that key"):
        rows_of_selection(dataset, "all", tmp_path / "rows", held_out_keys=["none"])


@pytest.mark.slow
def test_weights_and_biases_hears_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    tars = write_tars(tmp_path / "tars", 1, 8)
    run = {"wandb": "cats", "log_every": 1, "prompts": ["a cat"], "held_out": 0}
    few = {"steps": 2, "warmup": 0}
    done = train(settings(tars, tmp_path / "run", data={"batch": 4}, run=run, optimizer=few))
    (kept,) = done.glob("wandb/offline-run-*/run-*.wandb")
    assert b"train/loss" in kept.read_bytes()
    assert list(done.glob("wandb/offline-run-*/files/media/images/samples_*.png"))


# -- guidance and the sampler's times ----------------------------------------------------------


def guided(x_0: torch.Tensor, **more: object) -> torch.Tensor:
    diffusion = Diffusion.make("cosine")
    null = torch.zeros(len(x_0), 1)

    def network(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        answers = [x_0 if bool(one) else 0.3 * x_0.flip(0) for one in condition[:: len(x_0)]]
        return torch.cat(answers)

    made = Guided(network, diffusion, "x0", null + 1, null, 4.0, **more)  # type: ignore[arg-type]
    return made(torch.zeros_like(x_0), torch.full((len(x_0),), 500))[0]


def test_rescaled_guidance_is_diffusers_own() -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    x_0 = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = guided(x_0)
    torch.testing.assert_close(
        guided(x_0, rescale=0.7), rescale_noise_cfg(plain, x_0, guidance_rescale=0.7)
    )


def test_dynamic_thresholding_is_that_of_diffusers_scheduler() -> None:
    x_0 = 3 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x_0[1] *= 0.01  # nothing to cut
    theirs = diffusers.DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1e9
    )
    ours = guided(x_0, clip_x_0=1.0, threshold=0.9)
    torch.testing.assert_close(ours, theirs._threshold_sample(guided(x_0)))
    assert ours.abs().max() <= 1


@pytest.mark.parametrize("kind", ["cosine", "scaled_linear", "flow"])
def test_karras_times_are_nearest_to_diffusers_sigmas(kind: str) -> None:
    diffusion = Diffusion.make(kind)  # type: ignore[arg-type]
    times = karras_timesteps(diffusion, 12)
    assert times == sorted(set(times), reverse=True)
    assert times[0] == 999
    sigmas = (diffusion.s / diffusion.a).numpy()
    theirs = diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)
    wanted = theirs._convert_to_karras(in_sigmas=sigmas[[-1, 0]], num_inference_steps=12)
    nearest = {int(np.abs(np.log(sigmas) - math.log(one)).argmin()) for one in wanted}
    assert set(times) == nearest | {999}
    assert karras_timesteps(diffusion, 12, 0.5) == times[len(times) - round(len(times) / 2) :]
    with pytest.raises(ValueError, match="give 1 to 1000"):
        karras_timesteps(diffusion, 0)
    assert karras_timesteps(Diffusion.make("cosine", zero_terminal=True), 5)[0] == 999
