"""Labelled reviews, and the tables and views that a user keeps them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, column, inspect, select, table
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from review_scoring.errors import BenchmarkError, WarehouseUnavailableError
from review_scoring.warehouse.retry import describe, is_unreachable


@dataclass(frozen=True, slots=True)
class LabelledReview:
    """One review of a benchmark set: canonical id, text as it stands there, and `neg` or `pos`."""

    id: str
    text: str | None
    label: str


def labelled_rows(
    engine: Engine, conn_id: str, schema: str | None, name: str, columns: tuple[str, str, str]
) -> list[tuple[Any, Any, Any]]:
    """Return id, text and label of all rows of a table or view.

    :param conn_id: names the connection in errors
    :raises BenchmarkError: for a table or column that is not there or cannot be read, with those there are
    :raises WarehouseUnavailableError: for a server that does not answer
    """
    place = f"table {f'{schema}.{name}' if schema else name!r} of connection {conn_id!r}"
    try:
        present = [each["name"] for each in inspect(engine).get_columns(name, schema=schema)]
        if missing := [each for each in columns if each not in present]:
            raise BenchmarkError(f"{place} has no column {', '.join(missing)}; it has {', '.join(present)}")
        clause = table(name, *map(column, columns), schema=schema)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*(clause.c[each] for each in columns)))]
    except NoSuchTableError:
        raise BenchmarkError(f"{place} is not there") from None
    except DBAPIError as error:
        if is_unreachable(error):
            raise WarehouseUnavailableError(f"connection {conn_id!r} does not answer ({describe(error)})") from None
        raise BenchmarkError(f"{place} cannot be read ({describe(error)}); grant SELECT on it") from None
