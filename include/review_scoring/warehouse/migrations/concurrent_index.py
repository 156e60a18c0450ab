"""For migrations: creates and drops indexes of large tables while runs commit.

PostgreSQL cannot build an index concurrently in a transaction: what the migration did before is committed first. If the
build is then killed, the next attempt repeats the migration from its start, and fails because its columns exist. So an
index needs a migration of its own, after that of its columns. MySQL and MariaDB build an index online by default. On
SQLite and DuckDB, which have one writer, runs wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic import context, op
from sqlalchemy import func, select


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Create an index. On PostgreSQL, drop the invalid index that a killed attempt has left under this name first."""
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
