"""A step against torch's own optimizer, schedules and average, and diffusers' noise and weights."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel, compute_snr
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.checkpoint import load_tensors, newest, read_state
from frenchcat.train.loader import Batches, Cursor, noise_of, places
from frenchcat.train.loop import train
from frenchcat.train.optimizer import average, ema_decay, make_optimizer, rate_at
from frenchcat.train.run import make_parts, order_of, prepare_rows
from frenchcat.train.settings import OptimizerSettings, TrainSettings
from frenchcat.train.trainer import compiling_pays
from tests.sample.tars import overwrite
from tests.train.runs import settings, steps_of, write_tars

STEPS, WARMUP = 5, 2
STRONG = {"rate": 5e-3, "decay": 20.0, "betas": [0.6, 0.8], "clip": 0.05, "ema": 0.15}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Of nets so small threads cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 1)


def peers_rate(optimizer: Any, chosen: OptimizerSettings) -> LRScheduler:
    """The same schedule out of torch's parts."""
    falling = CosineAnnealingLR(optimizer, max(1, chosen.steps - chosen.warmup))
    if chosen.warmup < 2:
        return falling
    rising = LinearLR(optimizer, 1 / chosen.warmup, total_iters=chosen.warmup - 1)
    return SequentialLR(optimizer, [rising, falling], [chosen.warmup])


def optimizer_of(**values: Any) -> OptimizerSettings:
    return resolve(OptimizerSettings, values)


@pytest.mark.parametrize(("steps", "warmup"), [(40, 10), (40, 2), (300, 100), (7, 0), (5, 1)])
def test_the_rate_is_torchs_warmup_and_cosine(steps: int, warmup: int) -> None:
    chosen = optimizer_of(steps=steps, warmup=warmup, rate=0.02)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=chosen.rate)
    schedule = peers_rate(optimizer, chosen)
    if warmup == 1:
        assert rate_at(0, chosen) == chosen.rate
    for step in range(warmup == 1, steps):
        assert rate_at(step, chosen) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_the_rate_ends_at_nothing_and_stays_there() -> None:
    chosen = optimizer_of(steps=50, warmup=10, rate=0.02)
    assert [rate_at(step, chosen) for step in (50, 51, 90, 91, 1000)] == [0.0] * 5
    assert rate_at(49, chosen) < 0.001 * chosen.rate * 2
    assert rate_at(5, optimizer_of(steps=4, warmup=10)) > 0  # all of it is warmup


def test_the_averages_decay_grows_as_diffusers_does_to_its_end() -> None:
    for end in (0.5, 0.99, 0.9999):
        theirs = EMAModel([torch.zeros(1)], decay=end)
        ours = [ema_decay(step, optimizer_of(ema=end)) for step in range(1, 2000, 7)]
        assert ours == pytest.approx([theirs.get_decay(n + 1) for n in range(1, 2000, 7)])
    assert ema_decay(0, optimizer_of(ema=0.999)) == pytest.approx(0.1)
    assert ema_decay(10**9, optimizer_of(ema=0.999)) == 0.999
    assert ema_decay(10**9, optimizer_of(ema=0.0)) == 0.0


def test_the_average_is_torchs() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(5, 3), torch.randn(7)]
    before = [weight.clone() for weight in weights]
    ours = [torch.randn_like(weight) for weight in weights]
    theirs = [one.clone() for one in ours]
    for decay in (0.1, 0.75, 0.999):
        average(ours, weights, decay)
        get_ema_multi_avg_fn(decay)(theirs, weights, None)
        torch.testing.assert_close(ours, theirs)
    assert all(torch.equal(one, other) for one, other in zip(weights, before, strict=True))


def test_the_optimizer_is_adamw_as_told() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(20))
    theirs = torch.nn.Parameter(ours.detach().clone())
    chosen = optimizer_of(rate=0.1, decay=0.7, betas=[0.5, 0.7])
    pair = (
        make_optimizer([ours], chosen),
        torch.optim.AdamW([theirs], 0.1, (0.5, 0.7), weight_decay=0.7),
    )
    for n in range(4):
        for weight, optimizer in zip((ours, theirs), pair, strict=True):
            weight.grad = torch.linspace(-1, 1, 20) * (n - 1.5) ** 3
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch": 4},
        {"size": 24},
        {"aspects": [0.5, 1.0]},
        {"flip": False},
        {"crop": "random"},
        {"shards_per_block": 3},
        {"held_out": 5},
    ],
)
def test_what_a_batch_holds_and_how_it_looks_is_what_a_run_goes_on_with(
    changed: dict[str, Any],
) -> None:
    nowhere = Path("nowhere")
    sections: tuple[dict[str, Any], ...] = (
        {},
        {"run": changed} if "held_out" in changed else {"data": changed},
    )
    plain, other = (order_of(settings(nowhere, nowhere, **one)) for one in sections)
    assert plain != other
    assert plain == order_of(settings(nowhere, nowhere, data={"workers": 3}))


# -- a whole run -----------------------------------------------------------------------------------


class Peer:
    """The same run by torch's and diffusers' parts, fed with the same batches."""

    def __init__(self, chosen: TrainSettings, rows: Path) -> None:
        self.parts, optimizer = make_parts(chosen), chosen.optimizer
        unet = self.parts.unet.train()
        self.names = [name for name, _ in unet.named_parameters()]
        self.weights = list(unet.parameters())
        self.first = [weight.detach().clone() for weight in self.weights]
        self.averaged = [weight.clone() for weight in self.first]
        self.noise = DDPMScheduler(
            beta_schedule="squaredcos_cap_v2",
            rescale_betas_zero_snr=chosen.diffusion.zero_terminal,
        )
        adamw = torch.optim.AdamW(
            self.weights, optimizer.rate, optimizer.betas, weight_decay=optimizer.decay
        )
        schedule = peers_rate(adamw, optimizer)
        batches = Batches(rows, chosen)
        self.log: list[dict[str, float]] = []
        for n, place in enumerate(places(batches.plan, Cursor(), optimizer.steps)):
            rate = adamw.param_groups[0]["lr"]
            adamw.zero_grad()
            loss = self.loss(chosen, batches[place])
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.weights, optimizer.clip)
            adamw.step()
            schedule.step()
            decay = min(optimizer.ema, (1 + n) / (10 + n))
            current = [weight.detach() for weight in self.weights]
            get_ema_multi_avg_fn(decay)(self.averaged, current, n)
            self.log.append({"loss": float(loss.detach()), "rate": rate, "grad_norm": float(norm)})

    def loss(self, chosen: TrainSettings, loaded: Any) -> torch.Tensor:
        """Section 3.4 of 2303.09556, by diffusers' SNR."""
        x_0, t = loaded.pixels / 127.5 - 1, loaded.times
        noise = noise_of(loaded.noise_seeds, x_0.shape[1:])
        x_t = self.noise.add_noise(x_0, noise, t)
        snr = compute_snr(self.noise, t)
        capped = snr.clamp(max=chosen.diffusion.min_snr)
        target, weight = noise, capped / snr
        if chosen.diffusion.target == "v":
            target, weight = self.noise.get_velocity(x_0, noise, t), capped / (snr + 1)
        words = self.parts.text(loaded.captions)
        output = self.parts.unet(
            x_t, t, encoder_hidden_states=words.states, encoder_attention_mask=words.mask
        ).sample
        error = torch.nn.functional.mse_loss(output, target, reduction="none").mean((1, 2, 3))
        return (weight * error).mean()


def squared(ones: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """The squared distance of all of them together."""
    pairs = zip(ones, others, strict=True)
    return sum(float((one - other.detach()).square().sum()) for one, other in pairs)


@pytest.mark.parametrize(("target", "parts"), [("v", 1), ("eps", 3)])
def test_a_run_is_that_of_torchs_and_diffusers_parts(
    tars: Path, tmp_path: Path, target: str, parts: int
) -> None:
    optimizer = STRONG | {"steps": STEPS, "warmup": WARMUP, "accumulate": parts}
    chosen = settings(
        tars,
        tmp_path / "run",
        data={"batch": 6},
        text={"dropout": 0.3},
        optimizer=optimizer,
        diffusion={"target": target, "zero_terminal": target == "v"},
        run={"held_out": 0, "seed": 3},
    )
    out = train(chosen)
    peer = Peer(chosen, out / "rows")
    ours = steps_of(out)
    for name in ("loss", "rate", "grad_norm"):
        wanted = [line[name] for line in peer.log]
        assert [line[name] for line in ours] == pytest.approx(wanted, rel=2e-3), name
    assert min(line["grad_norm"] for line in ours) > STRONG["clip"]  # or clipping is not tried
    tensors = load_tensors(newest(out) or out)
    for kind, wanted in (("weights", peer.weights), ("averaged", peer.averaged)):
        found = [tensors[f"{kind}.{name}"] for name in peer.names]
        apart, moved = (squared(one, wanted) for one in (found, peer.first))
        assert apart < 1e-4 * moved, (kind, apart, moved)


def test_a_run_that_goes_on_counts_on(tars: Path, tmp_path: Path) -> None:
    chosen = {"data": {"batch": 4}, "run": {"held_out": 0}}
    (tar,) = tars.glob("*.tar")
    overwrite(tar, 0, b"\xff" * 512)
    for steps in (1, 2):
        out = train(settings(tars, tmp_path / "run", optimizer={"steps": steps}, **chosen))
        state = read_state(newest(out) or out)
        assert (state.step, state.planned, state.substituted) == (steps, steps * 4, 0)
        assert "no sound header" in (out / "damaged.txt").read_text()
    other = {**chosen, "data": {"batch": 4, "flip": False}}
    with pytest.raises(UserError, match="another data"):
        train(settings(tars, out, **other))
    with open(tar, "ab") as file:
        file.write(b"\0" * 512)
    with pytest.raises(UserError, match="when its samples were indexed"):
        train(settings(tars, out, **chosen))


def test_rows_of_tars_are_laid_out_once_for_the_pictures_that_are_held_out(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1)
    found = []
    for held_out in (0, 2, 2):
        chosen = settings(tars, tmp_path, run={"held_out": held_out})
        found.append(prepare_rows(chosen, tmp_path / "rows"))
    assert [len(rows.held_out) for rows, _ in found] == [0, 2, 2]
    assert [troubles for _, troubles in found] == [[], [], None]
    bucketed = settings(tars, tmp_path, data={"aspects": [0.5, 1.0]}, run={"held_out": 2})
    laid = prepare_rows(bucketed, tmp_path / "rows")[0]  # 16 x 12 pixels are nearer to the square
    assert laid.population.segments[:, 0].tolist() == [1]


@pytest.mark.slow
def test_compiling_on_a_processor_says_whether_it_pays_and_trains_the_same(
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Traced by torch and run uncompiled: what a compiler makes of it takes a minute."""
    few = {"steps": 2, "warmup": 1}
    plain = train(settings(tars, tmp_path / "plain", optimizer=few))
    assert "run.compile" not in capfd.readouterr().err
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    traced = train(settings(tars, tmp_path / "traced", optimizer=few, run={"compile": True}))
    said = capfd.readouterr().err
    assert re.search(r"run\.compile (pays|does not pay) on this processor: \S+ s per pass", said)
    assert steps_of(traced) == steps_of(plain)


@pytest.mark.parametrize(
    ("compiled", "plain", "said"),
    [
        (0.5, 1.0, "pays on this processor: 0.5 s per pass instead of 1 s; the 60 s that it took"),
        (1.0, 1.01, "does not pay on this processor: 1 s per pass instead of 1.01 s, and 59.5 s"),
        (2.0, 1.0, "does not pay"),
    ],
)
def test_what_is_said_of_compiling(compiled: float, plain: float, said: str) -> None:
    told = compiling_pays(compiled, plain, 60.5)
    assert said in told
    assert ("in 120 steps" in told) == (compiled == 0.5)
