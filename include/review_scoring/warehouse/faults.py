"""Kinds of database errors that are handled differently, whatever database raises them."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """Kinds of database errors that are handled differently."""

    AWAY = "the server does not answer, or the connection broke"
    BUSY = "a lock, a deadlock, or no free connection"
    FULL = "no space left"
    TIMEOUT = "a statement took longer than the server allows"
    LOGIN = "the server refuses the user, the password or the client's address"
    TLS = "the encrypted connection fails"
    DATABASE = "the database does not exist"
    RIGHTS = "the user lacks a privilege"
    READ_ONLY = "the database is read-only"
    MISSING = "a table, schema or column does not exist"
    DATA = "a value cannot be computed or converted"
    POOLER = "a pooler between client and server loses prepared statements"
    OTHER = "anything else"


PASSING = frozenset({Fault.AWAY, Fault.BUSY})
"""Transient errors: the same call may succeed later."""
