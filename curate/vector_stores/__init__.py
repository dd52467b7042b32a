"""Vector databases that people already run: where a dataset is published, searched and removed.

address.py      postgresql://… and milvus://…: what an address names, and how it is opened
store.py        what every database here can do: one small class
condition.py    a user's condition as the database's own filter, or refused
postgresql.py   PostgreSQL with pgvector; postgres_connection.py, postgres_condition.py
milvus.py       Milvus and Milvus Lite; milvus_connection.py, _collections.py, _condition.py
store_errors.py what a database's refusals mean to the user
published.py    which addresses a dataset was published to; removals follow there

The dataset stays the contract: what is in a database can be published again from it. What decides
which rows are shown is index/visible.py; here are its columns.
"""

from frenchcat.curate.vector_stores.address import StoreAddress, is_store, open_store
from frenchcat.curate.vector_stores.store import Contents, RowFilter, VectorDatabase

__all__ = ["Contents", "RowFilter", "StoreAddress", "VectorDatabase", "is_store", "open_store"]
