"""Settings of `frenchcat plan`. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from frenchcat.curate.config import settings


@settings
class MachineSettings:
    """Each of the machines."""

    cores: int = Field(default=16, ge=1)
    """Cores that it has."""
    core_speed: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How many times as fast as a core of the measured machine one of its cores is."""
    memory_gb: float = Field(default=32.0, gt=0, allow_inf_nan=False)
    """Its memory in GB. A stage that takes more is named."""
    network_gbit: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Gigabits per second that it receives, and sends, on average."""
    gpus: int = Field(default=0, ge=0)
    """GPUs that it embeds with; 0: it embeds on its cores."""
    images_per_sec_per_gpu: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Images with captions that a GPU embeds per second; None: as many as `measured.gpus` did."""


@settings
class MeasuredSettings:
    """The machine on which the costs were measured."""

    cores: int | None = Field(default=None, ge=1)
    """Its cores (on Ray, those of all nodes); None: as many as this machine has."""
    gpus: int = Field(default=0, ge=0)
    """GPUs that it embedded with."""


@settings
class RowSettings:
    """The rows of the list."""

    stored_share: float | None = Field(default=None, gt=0, le=1)
    """The part of the rows whose image can be stored; None: as measured, else all of them."""
    image_kb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """kB that are fetched per stored image; None: as measured, else 100."""
    dimension: int | None = Field(default=None, ge=1)
    """Numbers of a vector; None: as measured, else 512."""


@settings
class PriceSettings:
    """What things cost. There are no defaults: prices differ by place, contract and day."""

    currency: str = Field(default="", max_length=20)
    """What amounts are called, such as EUR."""
    machine_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """For one machine for one hour."""
    storage_tb_month: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """For a TB (10^12 bytes) that is kept for a month."""
    months: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """How many months the dataset is kept."""
    traffic_in_tb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """For a TB that is fetched from the web."""


@settings
class ScaleSettings:
    """What a plan assumes."""

    machine: MachineSettings = MachineSettings()
    measured: MeasuredSettings = MeasuredSettings()
    rows: RowSettings = RowSettings()
    prices: PriceSettings = PriceSettings()


IMAGE_KB = 100.0
_NODE = "the node of LAION's downloads, https://laion.ai/blog/laion-5b/, 31 March 2022"
_NONE = "assumed on 29 November 2026, no source"
ASSUMED = {
    "machine.cores": _NODE,
    "machine.memory_gb": _NODE,
    "machine.network_gbit": _NODE,
    "machine.core_speed": _NONE,
}
"""Where the default of a setting comes from."""
NO_SOURCE = _NONE
