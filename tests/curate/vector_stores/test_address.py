"""Addresses of vector databases."""

import pytest

from frenchcat.curate.errors import UserError
from frenchcat.curate.vector_stores.address import StoreAddress, is_store


@pytest.mark.parametrize(
    ("text", "connection", "table", "shown"),
    [
        (
            "postgresql://me:pw@h:5432/db?table=cats&sslmode=require",
            "postgresql://me:pw@h:5432/db?sslmode=require",
            "cats",
            "postgresql://me@h:5432/db?sslmode=require&table=cats",
        ),
        (
            "postgres://h/db?password=pw",
            "postgres://h/db?password=pw",
            "frenchcat",
            "postgres://h/db?table=frenchcat",
        ),
        (
            "milvus:///data/cats.db?table=cats",
            "milvus:///data/cats.db",
            "cats",
            "milvus:///data/cats.db?table=cats",
        ),
        (
            "postgresql:///db?host=%2Frun",
            "postgresql:///db?host=%2Frun",
            "frenchcat",
            "postgresql:///db?host=%2Frun&table=frenchcat",
        ),
    ],
)
def test_an_address_has_a_table_and_shows_no_password(
    text: str, connection: str, table: str, shown: str
) -> None:
    address = StoreAddress.of(text)
    assert (address.connection, address.table, str(address)) == (connection, table, shown)
    assert StoreAddress.of(shown).table == table


@pytest.mark.parametrize("table", ["", "Cats", "a b", 'x"; DROP', "9", "a" * 41])
def test_a_table_s_name_is_checked(table: str) -> None:
    with pytest.raises(UserError, match="is not a name"):
        StoreAddress.of(f"postgresql://h/db?table={table}")


def test_what_is_no_address_of_a_database() -> None:
    assert is_store("postgresql://h/db")
    assert not any(map(is_store, ("data/mine", "s3://bucket/cats", "postgresql")))
    with pytest.raises(UserError, match="known: postgresql://"):
        StoreAddress.of("mysql://h/db")
