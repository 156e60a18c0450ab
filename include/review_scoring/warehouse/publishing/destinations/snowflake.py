"""Snowflake as a destination: comments within CREATE TABLE, multi-row INSERTs below its limits, and MERGE."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, String, Table, insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, as_dicts

ROWS_PER_STATEMENT = 2_000
"""Snowflake refuses statements above a megabyte, which the driver sends with their values. A row has about 200 bytes
with an id of usual length."""


class SnowflakeDestination(Destination):
    """A table in Snowflake, whose keys are not enforced."""

    has_key = False

    def create(self) -> None:
        """Create the table in one statement, since each DDL statement commits."""
        with self.engine.begin() as connection:
            connection.execute(CreateCommentedTable(self.table))

    def ddl(self) -> str:
        """Return the statement that creates the table."""
        return f"{str(CreateCommentedTable(self.table).compile(dialect=self.engine.dialect)).strip()};\n"

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            connection.execute(insert(staging), as_dicts(staging, rows[start : start + ROWS_PER_STATEMENT]))


class CreateCommentedTable(DDLElement):
    """CREATE TABLE with its comments, for databases that take them in the same statement."""

    def __init__(self, table: Table) -> None:
        self.table = table


@compiles(CreateCommentedTable)
def _compile(create: CreateCommentedTable, compiler: DDLCompiler, **_options: Any) -> str:
    def literal(comment: str | None) -> str:
        return str(compiler.sql_compiler.render_literal_value(comment, String()))

    columns = [
        f"{compiler.get_column_specification(column)} COMMENT {literal(column.comment)}"
        for column in create.table.columns
    ]
    separator = ",\n\t"
    name = compiler.preparer.format_table(create.table)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n\t{separator.join(columns)}\n) COMMENT = {literal(create.table.comment)}"
    )
