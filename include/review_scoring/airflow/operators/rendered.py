"""Conversion of templated operator parameters, which Airflow renders to strings, to numbers, ids and times."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from review_scoring.errors import ConfigurationError
from review_scoring.job import Rescore, ScoringJob
from review_scoring.request import Budget, NativeId
from review_scoring.warehouse.source.rows import parse_id

Choice = TypeVar("Choice", bound=StrEnum)

NOTHING = (None, "", "None")
"""Values that an empty parameter is rendered to."""


def as_int(value: int | str | None, name: str) -> int:
    """Convert a rendered number.

    :param name: the parameter, for the error
    :raises ConfigurationError: if it is not a whole number
    """
    try:
        return int(str(value))
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number") from None


def as_share(value: float | str | None, name: str) -> float:
    """Convert a rendered share.

    :param name: the parameter, for the error
    :raises ConfigurationError: if it is not a number from 0 to 1
    """
    try:
        share = float(str(value))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigurationError(f"{name} is {value!r}; it must be a number from 0 to 1")
    return share


def as_budget(reviews: int | str | None, minutes: int | str | None, job: ScoringJob, rescore: Rescore) -> Budget:
    """Convert a rendered budget. What is empty is the job's; a rescore has no limit then. 0 is no limit.

    :raises ConfigurationError: if it is not a whole number
    """
    of_job = (job.max_reviews, job.max_minutes) if rescore is Rescore.NOTHING else (0, 0)
    return Budget(
        reviews=(of_job[0] if reviews in NOTHING else as_int(reviews, "max_reviews")) or None,
        minutes=(of_job[1] if minutes in NOTHING else as_int(minutes, "max_minutes")) or None,
    )


def as_choice(value: str | None, kind: type[Choice], name: str) -> Choice:
    """Convert a rendered choice.

    :param name: the parameter, for the error
    :raises ConfigurationError: if it is unknown, with the known ones
    """
    if value not in list(kind):
        raise ConfigurationError(f"{name} is {value!r}; it must be one of {', '.join(kind)}")
    return kind(value)


def as_id(value: str | None, id_type: str) -> NativeId | None:
    """Convert a rendered id to the type that the source's driver takes.

    :raises ConfigurationError: if it is not an id of that type
    """
    try:
        return None if value in NOTHING else parse_id(str(value).strip(), id_type)
    except ValueError:
        raise ConfigurationError(f"{value!r} is not an id of this source, whose ids are of type {id_type}") from None


def as_time(value: str | None, name: str) -> datetime | None:
    """Convert a rendered ISO 8601 time; UTC if it has no time zone.

    :param name: the parameter, for the error
    :raises ConfigurationError: if it is not a time
    """
    try:
        moment = None if value in NOTHING else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; it must be a time such as 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
