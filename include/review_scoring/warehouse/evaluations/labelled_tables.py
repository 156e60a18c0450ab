"""Read labelled reviews from a table or view of any connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, column, select, table
from sqlalchemy.exc import NoSuchTableError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import BenchmarkError, PreflightError
from review_scoring.warehouse.preflight_errors import with_explained_errors
from review_scoring.warehouse.source.columns import columns_of


def table_source(conn_id: str, place: str, id_column: str) -> str:
    """Return the source of a benchmark set from a table, as `benchmark_sets.source` names it.

    :param place: the table, with its schema if that is set
    """
    return f"connection {conn_id}, {place} ({id_column})"


def labelled_rows(
    engine: Engine, conn_id: str, schema: str | None, name: str, columns: tuple[str, str, str]
) -> list[tuple[Any, Any, Any]]:
    """Return id, text and label of all rows of a table or view.

    :param conn_id: the name of the connection in errors
    :raises BenchmarkError: for a table or column that does not exist or cannot be read, with the existing columns
    :raises WarehouseUnavailableError: for a server that does not answer
    """
    place = f"table {f'{schema}.{name}' if schema else name!r} of connection {conn_id!r}"

    def read() -> list[tuple[Any, Any, Any]]:
        present = list(columns_of(engine, name, schema))
        if missing := [each for each in columns if each not in present]:
            raise BenchmarkError(f"{place} has no column {', '.join(missing)}; it has {', '.join(present)}")
        clause = table(name, *map(column, columns), schema=schema)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*(clause.c[each] for each in columns)))]

    where = f"connection {conn_id!r}"
    cannot, otherwise = f"cannot read the table {name!r}", "grant SELECT on it to the connection's user"
    try:
        return with_explained_errors(read, where=where, cannot=cannot, otherwise=otherwise, stop=StopFlag())
    except NoSuchTableError:
        raise BenchmarkError(f"{place} does not exist") from None
    except PreflightError as error:
        raise BenchmarkError(error.problems[0]) from None
