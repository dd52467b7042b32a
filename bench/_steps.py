"""One training loop's seconds per step, as JSON; bench.steps runs both.

    python -m bench._steps TOOL SETTINGS FOLDER    TOOL: frenchcat, diffusers

SETTINGS is a JSON file of TrainSettings, whose data.tars `frenchcat` trains on; FOLDER has the same
pictures as files. `frenchcat` is `train` as the command calls it, logs and all. `diffusers` is what
its `train_text_to_image` example does, with the same U-Net, batch, precision and text tower:
torchvision's transforms in a DataLoader, captions padded to the tower's whole context and encoded
in each step without a mask, noise from one generator, `DDPMScheduler.add_noise`, a min-SNR weighted
error, autocast over float32 weights, clipping, AdamW at torch's defaults, a cosine, `EMAModel`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from frenchcat.curate.config import resolve
from frenchcat.train.model import device_of, make_unet
from frenchcat.train.settings import TrainSettings


class Pictures(torch.utils.data.Dataset[Any]):
    """``0.jpg`` … of a folder with their captions, transformed as the example does."""

    def __init__(self, folder: Path, settings: TrainSettings) -> None:
        from torchvision import transforms

        self.captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
        self.folder, size = folder, settings.data.size
        self.transform = transforms.Compose(
            [
                transforms.Resize(size, interpolation=transforms.InterpolationMode.LANCZOS),
                transforms.CenterCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        """All pictures."""
        return len(self.captions)

    def __getitem__(self, row: int) -> tuple[Any, str]:
        """A picture (3, H, W) in -1 … 1 and its caption."""
        from PIL import Image

        with Image.open(self.folder / f"{row}.jpg") as picture:
            return self.transform(picture.convert("RGB")), self.captions[row]


def main(tool: str, settings: TrainSettings, folder: Path) -> None:
    """Train as many steps as the settings say; print the seconds of each."""
    taken = {"frenchcat": frenchcat, "diffusers": diffusers}[tool](settings, folder)
    print(json.dumps({**taken, "threads": torch.get_num_threads()}), flush=True)


class Clock:
    """Time from one step's end to the next: the clock's, and processor time, loaders' and all."""

    def __init__(self) -> None:
        self._ended = [(time.perf_counter(), _cpu_sec())]

    def step(self) -> int:
        """Note that a step has ended; gives how many have."""
        self._ended.append((time.perf_counter(), _cpu_sec()))
        return len(self._ended) - 1

    def taken(self) -> dict[str, list[float]]:
        """Seconds of each step."""
        clock, cpu = zip(*self._ended, strict=True)
        return {
            "step_sec": [b - a for a, b in pairwise(clock)],
            "cpu_sec": [b - a for a, b in pairwise(cpu)],
        }


def _cpu_sec() -> float:
    """Processor seconds of this process and of its children that still run."""
    found = time.process_time()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def frenchcat(settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """Ours, from one report to the next, so that all that is done between them counts."""
    from frenchcat.train.loop import train
    from frenchcat.train.step_report import StepReport

    clock, waited = Clock(), []

    def watch(report: StepReport) -> None:
        clock.step()
        waited.append(report.wait_sec)

    train(settings, watch)
    return {**clock.taken(), "wait_sec": waited}


def diffusers(settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """The example's."""
    device = device_of(settings.run.device)
    torch.manual_seed(settings.run.seed)
    data = torch.utils.data.DataLoader(
        Pictures(folder, settings),
        batch_size=settings.data.batch,
        shuffle=True,
        drop_last=True,
        num_workers=settings.data.workers,
        persistent_workers=settings.data.workers > 0,
    )
    return _steps(settings, device, data)


def _steps(settings: TrainSettings, device: torch.device, data: Any) -> dict[str, Any]:
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel, compute_snr

    from frenchcat.curate.clip.hardware import precision_of

    process, optimizing = settings.diffusion, settings.optimizer
    encode, width = _text_tower(settings, device)
    unet = make_unet(settings.model, settings.data.size, width).to(device).train()
    ema = EMAModel(unet.parameters(), decay=optimizing.ema)
    ema.to(device)
    optimizer = torch.optim.AdamW(
        unet.parameters(), optimizing.rate, optimizing.betas, weight_decay=optimizing.decay
    )
    schedule = get_scheduler(
        "cosine",
        optimizer,
        num_warmup_steps=optimizing.warmup,
        num_training_steps=optimizing.steps,
    )
    noising: Any = DDPMScheduler(
        num_train_timesteps=process.steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
    )
    bf16 = precision_of(settings.run.precision, device.type) == "bf16"
    clock = Clock()
    while True:
        for pixels, captions in data:
            x = pixels.to(device)
            noise = torch.randn_like(x)
            t = torch.randint(0, process.steps, (len(x),), device=device).long()
            x_t = noising.add_noise(x, noise, t)
            target = noising.get_velocity(x, noise, t)
            states = encode(captions)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                output = unet(x_t, t, states, return_dict=False)[0].float()
            error = torch.nn.functional.mse_loss(output, target.float(), reduction="none")
            snr = compute_snr(noising, t)
            weight = snr.clamp(max=process.min_snr) / (snr + 1)
            loss = (error.mean(dim=list(range(1, error.ndim))) * weight).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), optimizing.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            ema.step(unet.parameters())
            loss.detach().item()
            if clock.step() == optimizing.steps:
                return clock.taken()


def _text_tower(settings: TrainSettings, device: torch.device) -> tuple[Any, int]:
    """Captions -> (B, context, D) states, all of them padded to the tower's context; and D."""
    from frenchcat.curate.clip import ClipSettings
    from frenchcat.curate.clip.model import load_clip

    named = {"model": settings.text.model, "pretrained": settings.text.pretrained}
    plain = {"device": device.type, "precision": settings.run.precision, "compile": "no"}
    clip = load_clip(resolve(ClipSettings, named | plain))
    tokenizer, tower = clip.text_tower()
    tower.tower.output_tokens = True

    def encode(captions: Any) -> Any:
        with torch.no_grad():
            _, states = tower(tokenizer(list(captions)).to(device))
        return states.float()

    return encode, int(encode([""]).shape[-1])


if __name__ == "__main__":
    values = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    main(sys.argv[1], resolve(TrainSettings, values), Path(sys.argv[3]))
