"""Column types that mean the same on every database: aware UTC times, text compared byte by byte, hashes, long text."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import TIMESTAMP, BigInteger, DateTime, Integer, LargeBinary, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from review_scoring.reviews import HASH_BYTES, MAX_ID_LENGTH


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, TIMESTAMP on BigQuery, a naive UTC column elsewhere.

    Microseconds are kept everywhere.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Return the column type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        if dialect.name == "bigquery":
            return TIMESTAMP(timezone=True)  # the dialect's own descriptor of it has no name for DDL
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time, which is ambiguous, and convert others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc if dialect.name in {"postgresql", "bigquery"} else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return every time aware, in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class ByteText(TypeDecorator[str]):
    """Text compared byte by byte, trailing blanks included: `a1`, `A1` and `a1 ` are three reviews."""

    impl = String
    cache_ok = True

    def __init__(self, length: int = MAX_ID_LENGTH) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the type with a binary collation of the database; a `mysql://` address may lead to MariaDB."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.VARCHAR(self.length, collation="C"))
        if dialect.name in {"mysql", "mariadb"}:
            collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
            return dialect.type_descriptor(mysql.VARCHAR(self.length, charset="utf8mb4", collation=collation))
        return dialect.type_descriptor(String(self.length))


def surrogate_id_type() -> TypeEngine[int]:
    """Return a 64-bit key that every database fills by itself, SQLite included."""
    return BigInteger().with_variant(Integer(), "sqlite")


def long_text_type() -> TypeEngine[str]:
    """Return a text type long enough for any review."""
    return Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def hash_type() -> TypeEngine[bytes]:
    """Return a type for a SHA-256 as 32 bytes: half of its hexadecimal form."""
    return LargeBinary(HASH_BYTES).with_variant(mysql.BINARY(HASH_BYTES), "mysql", "mariadb")
