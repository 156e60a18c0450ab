"""What Alembic runs for every migration. The caller hands over its connection, or a stream for printed DDL."""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.ddl.impl import DefaultImpl
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from sqlalchemy.exc import OperationalError

from review_scoring.warehouse.schema import VERSION_TABLE, tables

DONE_BEFORE = frozenset({1050, 1051, 1060, 1061, 1091, 4092})
"""MySQL: table, column, key or view exists already; what is to be dropped does not."""


class _Repeatable(DefaultImpl):
    """Skip statements that an earlier, killed attempt has done: MySQL commits after each of them."""

    def _exec(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._exec(*arguments, **options)
        except OperationalError as error:
            ours = self.context_opts.get("version_table") == VERSION_TABLE
            if ours and error.orig is not None and error.orig.args[0] in DONE_BEFORE:
                return None
            raise


class _DuckDB(DefaultImpl):
    __dialect__ = "duckdb"
    transactional_ddl = True


class _MySQL(_Repeatable, MySQLImpl):
    __dialect__ = "mysql"


class _MariaDB(_Repeatable, MariaDBImpl):
    __dialect__ = "mariadb"


handed_over = context.config.attributes
schema = handed_over["schema"]
common: dict[str, Any] = {
    "target_metadata": tables(schema).metadata,
    "version_table": VERSION_TABLE,
    "version_table_schema": schema,
    "transactional_ddl": handed_over["dialect"] in {"postgresql", "sqlite", "duckdb"},
    "transaction_per_migration": True,  # an index that is built concurrently needs the columns before it committed
}
if context.is_offline_mode():
    context.configure(dialect_name=handed_over["dialect"], literal_binds=True, **common)
else:
    context.configure(connection=handed_over["connection"], **common)
with context.begin_transaction():
    context.run_migrations()
