"""What the routes that write into one dataset share: its name, its lock, who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fastapi import Request

from frenchcat.index.service.dataset_registry import check_address
from frenchcat.index.service.models.removals import Removal
from frenchcat.index.service.models.selections import NewSelection

if TYPE_CHECKING:
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service


Named = TypeVar("Named", NewSelection, Removal)

Changed = TypeVar("Changed")


async def changed(
    request: Request,
    name: str,
    check: Callable[[Service], None],
    change: Callable[[ServedDataset], Changed],
) -> Changed:
    """What `change` makes of a dataset, whose lock is held, where `check` allows it."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    check(service)

    def locked() -> Changed:
        with served.dataset.lock():
            return change(served)

    return await service.work.disk(locked)


def of_dataset(asked: Named, name: str) -> Named:
    """A body with the dataset of its path. Raises `Refused` where it names another one."""
    check_address(name, asked.dataset)
    return asked.model_copy(update={"dataset": name})
