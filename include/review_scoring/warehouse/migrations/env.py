"""What Alembic runs for every migration. The caller hands over its connection, or a stream for printed DDL."""

from __future__ import annotations

from typing import Any

from alembic import context

from review_scoring.warehouse.schema import VERSION_TABLE, tables

handed_over = context.config.attributes
schema = handed_over.get("schema")
common: dict[str, Any] = {
    "target_metadata": tables(schema).metadata,
    "version_table": VERSION_TABLE,
    "version_table_schema": schema,
    "transactional_ddl": handed_over["dialect"] in {"postgresql", "sqlite"},
}
if context.is_offline_mode():
    context.configure(dialect_name=handed_over["dialect"], literal_binds=True, **common)
else:
    context.configure(connection=handed_over["connection"], **common)
with context.begin_transaction():
    context.run_migrations()
