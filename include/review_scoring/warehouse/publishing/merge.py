"""`MERGE`, which SQLAlchemy has no element for: deletes, updates and inserts rows in one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Subquery, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from review_scoring.warehouse.publishing.published_table import COLUMNS, KEY, VALUES


class Merge(Executable, ClauseElement):
    """Bring a published table to what was staged for it.

    :param staged: rows with the columns of the table and `is_removed`, at most one for each key
    """

    inherit_cache = False

    def __init__(self, table: Table, staged: Subquery) -> None:
        self.table = table
        self.staged = staged


@compiles(Merge)
def _compile(merge: Merge, compiler: SQLCompiler, **options: Any) -> str:
    preparer = compiler.preparer

    def column(name: str, of: str = "") -> str:
        return f"{of}.{preparer.quote(name)}" if of else preparer.quote(name)

    staged = compiler.process(merge.staged, asfrom=True, **options)
    s, t = preparer.quote(merge.staged.name), "t"
    matching = " AND ".join(f"{column(each, t)} = {column(each, s)}" for each in KEY)
    changes = ", ".join(f"{column(each)} = {column(each, s)}" for each in VALUES)
    removed = column("is_removed", s)
    return (
        f"MERGE INTO {preparer.format_table(merge.table)} {t} USING {staged} ON {matching}"  # noqa: S608 our own names
        f" WHEN MATCHED AND {removed} THEN DELETE"
        f" WHEN MATCHED THEN UPDATE SET {changes}"
        f" WHEN NOT MATCHED AND NOT {removed} THEN INSERT ({', '.join(map(column, COLUMNS))})"
        f" VALUES ({', '.join(column(each, s) for each in COLUMNS)})"
    )
