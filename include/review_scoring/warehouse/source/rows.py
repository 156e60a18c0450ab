"""Rows of a source: as the driver gives them, or without a text that the database or its driver cannot give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, Row, Select
from sqlalchemy.exc import DBAPIError

from review_scoring.errors import ReviewScoringError
from review_scoring.request import NativeId
from review_scoring.reviews import Unreadable
from review_scoring.warehouse.errors import Fault, describe, fault_of

_CONVERSION_ERRORS = (TypeError, ValueError, ArithmeticError, NotImplementedError)
"""What a driver raises for a value that Python has no equal of, where it raises no error of a database."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of which the database or its driver cannot give more than its key and `updated_at`."""

    id: NativeId
    updated_at: Any
    text: Unreadable


SourceRow: TypeAlias = Row[Any] | UnreadableRow


class UnreadableValueError(ReviewScoringError):
    """A value that the database gives and Python has no equal of."""


READ_ERRORS = (DBAPIError, UnreadableValueError)
"""What :func:`fetch_all` raises."""


def fetch_all(connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
    """Return all rows of a statement.

    :raises UnreadableValueError: where a driver or SQLAlchemy cannot convert a value, whose own error can quote it
    """
    failed: Exception | None = None
    try:
        return connection.execute(statement).all()
    except _CONVERSION_ERRORS as error:
        failed = error
    raise UnreadableValueError(f"a value cannot be converted ({type(failed).__name__})")


def is_of_rows(error: BaseException) -> bool:
    """Return whether an error is that of single rows, and not of the whole source."""
    if isinstance(error, UnreadableValueError):
        return True
    # SQLite has one code for most of what a function or a conversion cannot do.
    return fault_of(error) is Fault.DATA or describe(error).endswith("SQLITE_ERROR")


def parse_id(canonical: str, id_type: str) -> NativeId:
    """Turn a canonical id back into what the source's driver takes.

    :raises ValueError: for text that is no id of this type
    """
    return {"integer": int, "uuid": UUID}.get(id_type, str)(canonical)
