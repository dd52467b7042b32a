"""Where a dataset was published: ``published.json``, and removals that follow there.

The one file of a dataset that names places outside it: addresses without passwords, and a random
token per address that tells this dataset's rows from another's. Whoever removes rows deletes them
there, too; whoever checks looks there.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import FrenchcatError, Unreachable
from frenchcat.curate.vector_stores.address import StoreAddress, open_store

FILE = "published.json"


def addresses(dataset: Dataset) -> dict[str, str]:
    """Address -> the token of what was published there."""
    if not dataset.exists(FILE):
        return {}
    found: dict[str, str] = dataset.read_json(FILE)["stores"]
    return found


def remember(dataset: Dataset, address: StoreAddress) -> str:
    """The token of an address, which is written down first where it is new."""
    known = addresses(dataset)
    if (token := known.get(str(address))) is not None:
        return token
    token = uuid.uuid4().hex
    with dataset.lock():
        dataset.write_json(FILE, {"stores": {**addresses(dataset), str(address): token}})
    return token


def delete_published(dataset: Dataset, keys: Collection[str], number: int) -> dict[str, int]:
    """Delete rows wherever the dataset was published: address -> the rows that there were.

    Every address is tried. Raises `Unreachable` at the end if one failed, which names it: the
    removal, request `number`, is logged then, but is not done there.
    """
    done, failed = dict[str, int](), dict[str, FrenchcatError]()
    for address, token in addresses(dataset).items() if keys else ():
        try:
            with open_store(address) as store:
                done[address] = store.delete(keys) if store.is_of(token) else 0
        except FrenchcatError as error:
            failed[address] = error
    if failed:
        first = next(iter(failed.values()))
        raise Unreachable(
            f"request {number} is logged and its rows are gone here, but not at "
            f"{', '.join(failed)}: {first}; then run: "
            + shell_command("publish", dataset.root, "--to", next(iter(failed)))
        )
    return done


def left_published(dataset: Dataset, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    """Address and key of removed rows that are still there. Raises `Unreachable`."""
    for address, token in addresses(dataset).items() if keys else ():
        with open_store(address) as store:
            if store.is_of(token):
                yield from ((address, key) for key in store.present(keys))
