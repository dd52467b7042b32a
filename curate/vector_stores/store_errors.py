"""What a database's refusals mean to the user, one line each, with the cure."""

from __future__ import annotations

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import NoSpace, UserError
from frenchcat.curate.vector_stores.address import StoreAddress


def publish_command(address: StoreAddress) -> str:
    """The command that publishes to an address."""
    return shell_command("publish", "DATASET", "--to", address)


def store_full(address: StoreAddress, said: str) -> NoSpace:
    """The database has no room; `said` is its own message, as in the others."""
    return NoSpace(f"{address} is full ({said}); make room there, then run it again")


def store_stale(address: StoreAddress, said: str) -> UserError:
    """A table or a column is missing that a publication makes."""
    return UserError(
        f"{address} is not as it was published ({said}); run: {publish_command(address)}"
    )


def store_refused(address: StoreAddress, said: str) -> UserError:
    """Any other refusal."""
    return UserError(f"{address} refuses: {said}")
