"""A scratch table of reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, delete, insert, update
from sqlalchemy.schema import DropTable

from review_scoring.warehouse.column_types import ByteText, UtcDateTime, long_text_type
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.scratch import scratch_name

ROWS_PER_STATEMENT = 60
"""Databricks accepts 255 parameters in a statement, and a row has four."""


class ScratchReviews:
    """A table of reviews without a key: `id`, `text`, `written_at` and `updated_at`.

    :param has_text_ids: whether ids are text, not integers
    """

    def __init__(self, engine: Engine, schema: str | None, *, has_text_ids: bool = False) -> None:
        self.engine = engine
        self.table = Table(
            scratch_name(),
            MetaData(),
            Column("id", ByteText() if has_text_ids else BigInteger),
            Column("text", long_text_type().with_variant(String(65_535), "redshift")),  # whose TEXT has 256 bytes
            Column("written_at", UtcDateTime),
            Column("updated_at", UtcDateTime),
            schema=schema,
        )

    @property
    def has_times(self) -> bool:
        """Whether the database has a type for times."""
        return self.engine.dialect.name != "sqlite"

    def create(self) -> None:
        """Create the table."""
        with writing(self.engine).begin() as connection:
            self.table.create(connection)

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns."""
        with writing(self.engine).begin() as connection:
            for start in range(0, len(rows), ROWS_PER_STATEMENT):
                connection.execute(insert(self.table).values(list(rows[start : start + ROWS_PER_STATEMENT])))

    def change(self, id_: Any, **values: Any) -> None:
        """Change a row."""
        with writing(self.engine).begin() as connection:
            connection.execute(update(self.table).where(self.table.c.id == id_).values(**values))

    def delete(self, id_: Any) -> None:
        """Delete a row."""
        with writing(self.engine).begin() as connection:
            connection.execute(delete(self.table).where(self.table.c.id == id_))

    def drop(self) -> None:
        """Drop the table, if it exists."""
        with writing(self.engine).begin() as connection:
            connection.execute(DropTable(self.table, if_exists=True))
