"""The one thing a user defines: which table is scored, under which name, and where the scores go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from review_scoring.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Rescore(StrEnum):
    """Which reviews that already have a score or a reject are scored again."""

    NOTHING = "nothing"
    CHANGED = "changed"
    REVISION = "revision"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """A scoring job: a stable name for "this source table, scored for that purpose".

    :param name: letters, digits, `_`, `.`, `-`; everything written belongs to it, so it never changes
    :param source_conn_id: Airflow Connection of the database that holds the reviews
    :param source_table: table or view with the reviews
    :param source_schema: its schema; None for the connection's default
    :param id_column: unique id of a review: integer, string or UUID
    :param text_column: the text to classify
    :param updated_at_column: changes whenever the text does; without one, changed texts are found by their hash
    :param cursor_column: an increasing integer or a time of insertion, with an index: a night then looks at the rows
        above the highest value seen, less `cursor_lookback`, and at everything every `full_pass_days` days
    :param cursor_lookback: how late a row may be committed and still be found the next night: in seconds, or in steps
        of an integer cursor
    :param target_conn_id: Connection of the warehouse that takes the scores; None for the source's own
    :param target_schema: schema of the tables that this project owns; None for the connection's default
    :param moved_from: the source as it was before, `table.id_column` or `schema.table.id_column`: what was scored
        there is not scored again, since the same reviews have the same ids here
    """

    name: str
    source_conn_id: str
    source_table: str
    source_schema: str | None = None
    id_column: str = "id"
    text_column: str = "text"
    updated_at_column: str | None = None
    cursor_column: str | None = None
    cursor_lookback: int = 86_400
    full_pass_days: int = 7
    target_conn_id: str | None = None
    target_schema: str | None = None
    moved_from: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a database, and tell everything that is wrong."""
        problems: list[str] = []
        numbers = {name: getattr(self, name) for name in ("cursor_lookback", "full_pass_days")}
        problems += [
            f"{name} must be a whole number of at least 0, not {value!r}"
            for name, value in numbers.items()
            if type(value) is not int or value < 0
        ]
        for field in fields(self):
            if field.name in numbers:
                continue
            value = getattr(self, field.name)
            required = field.name in {"name", "source_conn_id", "source_table", "id_column", "text_column"}
            if (required or value is not None) and not (isinstance(value, str) and value.strip()):
                problems.append(f"{field.name} must be a non-empty string, not {value!r}")
        if isinstance(self.name, str) and self.name.strip() and not NAME.fullmatch(self.name):
            problems.append(f"name {self.name!r} may hold letters, digits, '_', '.' and '-' only, 200 at most")
        if self.text_column == self.id_column:
            problems.append(f"id_column and text_column are both {self.id_column!r}")
        if problems:
            raise ConfigurationError("scoring job: " + "; ".join(problems))

    def as_settings(self) -> dict[str, Any]:
        """Return the job as plain values, to hand it on between tasks."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, name: str, settings: object) -> ScoringJob:
        """Build a job from the JSON object of an Airflow Variable.

        :raises ConfigurationError: naming every key that is unknown, missing or not a string
        """
        if not isinstance(settings, Mapping):
            raise ConfigurationError(f"scoring job {name!r}: expected a JSON object of settings, found {settings!r}")
        known = {field.name for field in fields(cls)} - {"name"}
        problems = [f"unknown key {key!r}" for key in settings if key not in known]
        problems += [f"missing key {key!r}" for key in ("source_conn_id", "source_table") if key not in settings]
        if problems:
            known_keys = ", ".join(sorted(known))
            raise ConfigurationError(f"scoring job {name!r}: {'; '.join(problems)}; the keys are {known_keys}")
        return cls(name=name, **settings)
