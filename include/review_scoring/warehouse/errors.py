"""Classifies database errors by SQLSTATE, vendor number or type; never by text, which is in the server's language.

Only for SQLite and DuckDB, which have few codes and always use English, the beginning of the message is compared.
`cloud_errors.py` knows the warehouses.

Sources: PostgreSQL's documentation, appendix A; the error references of MySQL 8.4 and MariaDB 10.11; SQLite's result
codes (sqlite.org/rescode.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from review_scoring.warehouse.cloud_errors import cloud_error, forget_words
from review_scoring.warehouse.faults import PASSING, Fault

__all__ = [
    "NO_TLS",
    "PASSING",
    "Fault",
    "as_database_error",
    "describe",
    "fault_of",
    "is_passing",
    "lacks_tables",
    "of_driver",
    "took_too_long",
    "without_words",
]

NO_TLS = "28TLS"
"""Used as an SQLSTATE: the server answers, but TLS fails (`dialects/postgresql_login.py`)."""


# By code, or by its class, which is its first two characters. The longer match wins.
_SQLSTATES: Mapping[str, Fault] = {
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "57P05", "25P03"), Fault.AWAY),
    **dict.fromkeys(("40001", "40P01", "55P03", "53300"), Fault.BUSY),
    **dict.fromkeys(("57014", "25P04"), Fault.TIMEOUT),
    **dict.fromkeys(("3D", "57P04"), Fault.DATABASE),
    **dict.fromkeys(("42P01", "42703", "42S02", "3F"), Fault.MISSING),
    **dict.fromkeys(("21", "22", "38", "39", "54", "P0", "XX001"), Fault.DATA),
    **dict.fromkeys(("26000", "42P05"), Fault.POOLER),
    "53100": Fault.FULL,
    "28": Fault.LOGIN,
    NO_TLS: Fault.TLS,
    "42501": Fault.RIGHTS,
    "25006": Fault.READ_ONLY,
}
_MYSQL: Mapping[int, Fault] = {
    **dict.fromkeys((1053, 1152, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2055), Fault.AWAY),
    **dict.fromkeys((1020, 1040, 1203, 1205, 1213, 1412, 1615, 3572), Fault.BUSY),
    **dict.fromkeys((28, 1021, 1114), Fault.FULL),
    **dict.fromkeys((1317, 1969, 3024), Fault.TIMEOUT),
    **dict.fromkeys((1045, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 2059, 2061, 3118, 4151), Fault.LOGIN),
    **dict.fromkeys((2026, 3159), Fault.TLS),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1356, 1370), Fault.RIGHTS),
    **dict.fromkeys((1290, 1792, 1836), Fault.READ_ONLY),
    **dict.fromkeys((1054, 1146), Fault.MISSING),
    **dict.fromkeys((1139, 1242, 1264, 1265, 1292, 1300, 1301, 1365, 1366, 1411, 1416, 1644, 1690, 3141), Fault.DATA),
    **dict.fromkeys((1046, 1049), Fault.DATABASE),
}
_SQLITE: Mapping[str, Fault] = {
    "SQLITE_BUSY": Fault.BUSY,
    "SQLITE_LOCKED": Fault.BUSY,
    "SQLITE_FULL": Fault.FULL,
    "SQLITE_INTERRUPT": Fault.TIMEOUT,
    "SQLITE_READONLY": Fault.READ_ONLY,
    "SQLITE_PERM": Fault.RIGHTS,
    "SQLITE_AUTH": Fault.RIGHTS,
    "SQLITE_CANTOPEN": Fault.DATABASE,
    "SQLITE_NOTADB": Fault.DATABASE,
    "SQLITE_MISMATCH": Fault.DATA,
    "SQLITE_TOOBIG": Fault.DATA,
}
_DUCKDB: Mapping[str, Fault] = {
    "CatalogException": Fault.MISSING,
    "BinderException": Fault.MISSING,
    "TransactionException": Fault.BUSY,
    "InterruptException": Fault.TIMEOUT,
    "PermissionException": Fault.RIGHTS,
    "ConversionException": Fault.DATA,
    "InvalidInputException": Fault.DATA,
    "OutOfRangeException": Fault.DATA,
    "TypeMismatchException": Fault.DATA,
}
_WORDS: Mapping[str, Fault] = {
    "no such table": Fault.MISSING,
    "no such column": Fault.MISSING,
    "IO Error: Could not set lock on file": Fault.BUSY,
    "Invalid Input Error: Cannot execute statement of type": Fault.READ_ONLY,
}

_UNKNOWN_DATABASE = 1049


def fault_of(error: BaseException) -> Fault:
    """Return the kind of an error that SQLAlchemy raised; any other error is OTHER."""
    if isinstance(error, PoolTimeoutError):
        return Fault.BUSY
    if not isinstance(error, DBAPIError) or error.orig is None:
        return Fault.OTHER
    if error.connection_invalidated:
        return Fault.AWAY
    if _code(error.orig) == _UNKNOWN_DATABASE and error.statement is not None:
        return Fault.MISSING  # MySQL calls a schema a database, and this statement names one
    kept = getattr(error.orig, "review_scoring_fault", None)
    return kept if isinstance(kept, Fault) else _sorted(error)


def is_passing(error: BaseException) -> bool:
    """Return whether the same call may succeed later: a lost connection, a deadlock, a lock held by another."""
    return fault_of(error) in PASSING


def took_too_long(error: BaseException) -> bool:
    """Return whether a statement was cancelled because it exceeded its time limit."""
    return fault_of(error) is Fault.TIMEOUT


def lacks_tables(error: BaseException) -> bool:
    """Return whether a statement failed because the project's tables are missing or from an earlier version."""
    return fault_of(error) is Fault.MISSING


def describe(error: BaseException | None) -> str:
    """Return the type and code of a database error, without the statement, its values or the server's address."""
    original = getattr(error, "orig", None) or error
    code = _code(original)
    name = type(original).__name__
    return f"{name} {code}" if code else name


def without_words(error: DBAPIError) -> None:
    """Remove the driver's message from an error, in place: it can quote the row that was read or written.

    Type, code, the statement without its values, and the result of :func:`fault_of` stay.
    """
    original = error.orig
    if original is None:
        return
    original.review_scoring_fault = _sorted(error)  # type: ignore[attr-defined]  # read by fault_of
    code, type_ = _code(original), type(original)
    original.review_scoring_code = code  # type: ignore[attr-defined]  # read by _code
    original.args = (code,) if isinstance(code, int) else (code or type_.__name__,)
    error.args = (f"({type_.__module__}.{type_.__name__}) {code or ''}".rstrip(),)
    forget_words(original, None if code is None else str(code))


def as_database_error(original: BaseException, statement: str | None = None) -> DBAPIError | None:
    """Return a database error, without words, for another error of a warehouse's client; None for any other error."""
    if not isinstance(original, Exception) or cloud_error(original) is None:
        return None
    error = OperationalError(statement, None, original, hide_parameters=True)
    without_words(error)
    return error


@contextmanager
def of_driver(connection: Connection) -> Iterator[None]:
    """Turn what a driver raises in the block into the error that SQLAlchemy raises for its own calls, without words.

    For calls of a driver's own, such as COPY, which SQLAlchemy does not see.
    """
    dialect = connection.dialect
    try:
        yield
    except dialect.loaded_dbapi.Error as original:
        lost = dialect.is_disconnect(original, None, None)
        kind = dialect.loaded_dbapi.Error
        error = DBAPIError.instance(None, None, original, kind, True, connection_invalidated=lost, dialect=dialect)
        assert isinstance(error, DBAPIError)
        without_words(error)
        raise error from None
    except Exception as original:  # noqa: BLE001 a client raises errors of its HTTP library, too
        raise as_database_error(original) or original from None


def _sorted(error: DBAPIError) -> Fault:
    original = error.orig
    assert original is not None
    code, cloud = _code(original), cloud_error(original)
    if cloud is not None and cloud.fault is not None:
        return cloud.fault
    if isinstance(code, int):
        return Fault.TLS if _cause_is_tls(original) else _MYSQL.get(code, _by_type(original))
    if code is not None:
        if code.startswith("SQLITE"):
            return next((fault for name, fault in _SQLITE.items() if code.startswith(name)), _by_words(original))
        return _SQLSTATES.get(code, _SQLSTATES.get(code[:2], _by_type(original)))
    if type(original).__module__.startswith("psycopg") and isinstance(error, OperationalError | InterfaceError):
        return Fault.AWAY  # no code: the server sent nothing
    return _by_words(original)


def _by_type(original: BaseException) -> Fault:
    """Classify by the class of the driver's exception if its code is not listed."""
    return Fault.DATA if type(original).__name__ == "DataError" else Fault.OTHER


def _by_words(original: BaseException) -> Fault:
    message = str(original)
    by_words = (fault for words, fault in _WORDS.items() if message.startswith(words))
    return next(by_words, _DUCKDB.get(type(original).__name__, _by_type(original)))


def _cause_is_tls(original: BaseException) -> bool:
    """Return whether TLS made PyMySQL fail, which has one number for all failures to connect."""
    cause = getattr(original, "original_exception", None)
    return any(base.__module__ == "ssl" for base in type(cause).__mro__)


def _code(original: BaseException | None) -> str | int | None:
    """Return the driver's code of an error: MySQL's number, an SQLSTATE, or SQLite's or a warehouse's name."""
    kept: str | int | None = getattr(original, "review_scoring_code", None)
    if kept is not None or original is None:
        return kept
    if (cloud := cloud_error(original)) is not None:
        return cloud.code
    first = original.args[0] if original.args else None
    if isinstance(first, int):
        return first  # not the SQLSTATE, which is HY000 for a lock wait and for many other errors
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    return str(code) if code else None
