"""For migrations: creates and drops indexes of large tables while runs commit.

PostgreSQL builds an index concurrently, outside a transaction, and what the migration has done before is committed. It
would be done again if the build is killed, and fail: an index has a migration of its own, after that of its columns.
MySQL and MariaDB build it online without being asked. SQLite and DuckDB have one writer, who waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic import context, op
from sqlalchemy import func, select


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Create an index, in place of the invalid one that a killed attempt has left."""
    schema = context.config.attributes["schema"]
    if context.config.attributes["dialect"] != "postgresql":
        op.create_index(name, table, columns, schema=schema, **options)
        return
    if not context.is_offline_mode():
        written = op.get_bind().scalar(select(func.txid_current_if_assigned()))
        assert written is None, f"the index {name} is to be created in a migration of its own"
    drop_index(name, table)
    with op.get_context().autocommit_block():
        op.create_index(name, table, columns, schema=schema, postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    """Drop an index; on PostgreSQL, where it exists."""
    schema = context.config.attributes["schema"]
    if context.config.attributes["dialect"] != "postgresql":
        op.drop_index(name, table, schema=schema)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)
