"""The table that a job's scores are published to, and the staging table that a publication loads: columns and types.

A row is a review of a job, as in the view `review_labels`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, String, Table

from review_scoring.warehouse.column_types import ByteText, UtcDateTime

KEY = ("job", "review_id")
VALUES = ("label", "score", "model", "revision", "scored_at")
COLUMNS = (*KEY, *VALUES)

MYSQL: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
"""As of the scoring tables: names are compared byte by byte, and both statements are one transaction."""


def published_table(name: str, schema: str | None, *, has_key: bool = True) -> Table:
    """Return the table that scores are published to.

    :param has_key: whether the database enforces a primary key
    """
    return Table(
        name,
        MetaData(),
        Column("job", String(200), primary_key=has_key, nullable=False, comment="Scoring job"),
        Column("review_id", ByteText(), primary_key=has_key, nullable=False, comment="Id of the review, as text"),
        Column("label", String(50), nullable=False, comment="Class that the model predicts, such as neg or pos"),
        Column("score", Double, nullable=False, comment="Probability of the label, from 0 to 1"),
        Column("model", String(200), nullable=False, comment="Name of the model"),
        Column("revision", String(64), nullable=False, comment="Content hash of the model"),
        Column("scored_at", UtcDateTime, nullable=False, comment="When the review was scored (UTC)"),
        schema=schema,
        **MYSQL,
        comment="Sentiment of reviews: one row for each scored review of a job. Written by review_scoring.",
    )


def staging_table(prefix: str, attempt: int, schema: str | None, *, has_key: bool = False) -> Table:
    """Return the staging table of one attempt of a publication: rows to write, and reviews to remove.

    `position` is the order in which rows were loaded: of two rows of a review, the last one counts.

    :param has_key: whether it has a primary key, with `position`
    """
    return Table(
        f"{prefix}{attempt}",
        MetaData(),
        Column("job", String(200), primary_key=has_key, nullable=False),
        Column("review_id", ByteText(), primary_key=has_key, nullable=False),
        Column("label", String(50)),
        Column("score", Double),
        Column("model", String(200)),
        Column("revision", String(64)),
        Column("scored_at", UtcDateTime),
        Column("is_removed", Boolean, nullable=False),
        Column("position", BigInteger, primary_key=has_key, autoincrement=False, nullable=False),
        schema=schema,
        **MYSQL,
    )


def staging_prefix(job: str, table: str) -> str:
    """Return the beginning of the names of the staging tables of a job and a table, which no other job has."""
    digest = hashlib.sha256(f"{job}\n{table}".encode()).hexdigest()
    return f"review_scoring_staging_{digest[:16]}_"
