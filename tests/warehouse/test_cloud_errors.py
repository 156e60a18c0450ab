"""What an error of a warehouse's client means, by its code; the clients themselves are not needed."""

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from review_scoring.warehouse.errors import Fault, as_database_error, describe, fault_of, without_words


def error_of(module: str, name: str, *args: object, **attributes: object) -> Exception:
    """Return an error as a client raises it."""
    error: Exception = type(name, (Exception,), {"__module__": module})(*args)
    for attribute, value in attributes.items():
        setattr(error, attribute, value)
    return error


def snowflake(number: int, state: str | None = None, name: str = "ProgrammingError") -> Exception:
    words = "a secret row"
    return error_of("snowflake.connector.errors", name, words, errno=number, sqlstate=state, msg=words, raw_msg=words)


def google(status: int, reason: str | None = None, name: str = "ClientError") -> Exception:
    errors = [{"reason": reason, "message": "a secret row"}] if reason else []
    inner = error_of("google.api_core.exceptions", name, "a secret row", code=status, errors=errors)
    return error_of("google.cloud.bigquery.dbapi.exceptions", "DatabaseError", inner)


def databricks(message: str, name: str = "ServerOperationError", **context: object) -> Exception:
    return error_of("databricks.sql.exc", name, message, message=message, context=context)


def redshift(code: str) -> Exception:
    return error_of("redshift_connector.error", "ProgrammingError", {"C": code, "M": "a secret row"})


CASES: list[tuple[Exception, Fault, str]] = [
    (snowflake(2003, "42S02"), Fault.MISSING, "002003"),
    (snowflake(904, "42000"), Fault.MISSING, "000904"),
    (snowflake(3001, "42501"), Fault.RIGHTS, "003001"),
    (snowflake(606, "57P03"), Fault.RIGHTS, "000606"),
    (snowflake(630, "57014"), Fault.TIMEOUT, "000630"),
    (snowflake(625, "57014"), Fault.BUSY, "000625"),
    (snowflake(100038, "22018"), Fault.DATA, "100038"),
    (snowflake(1003, "42000"), Fault.OTHER, "001003"),
    (snowflake(390100, "28000", "DatabaseError"), Fault.LOGIN, "390100"),
    (snowflake(394304, "28000", "DatabaseError"), Fault.LOGIN, "394304"),
    (snowflake(390114, "08001", "DatabaseError"), Fault.AWAY, "390114"),
    (snowflake(250001, "08001", "OperationalError"), Fault.AWAY, "250001"),
    (snowflake(250001, "08004", "ForbiddenError"), Fault.LOGIN, "250001"),
    (snowflake(250003, None, "NonRetryableTlsError"), Fault.TLS, "250003"),
    (snowflake(290503, "08001", "ServiceUnavailableError"), Fault.AWAY, "290503"),
    (snowflake(580500, "08001", "InternalServerError"), Fault.AWAY, "580500"),
    (google(404, "notFound"), Fault.MISSING, "404 notFound"),
    (google(403, "accessDenied"), Fault.RIGHTS, "403 accessDenied"),
    (google(403, "rateLimitExceeded"), Fault.BUSY, "403 rateLimitExceeded"),
    (google(403), Fault.RIGHTS, "403"),
    (google(401), Fault.LOGIN, "401"),
    (google(503, "backendError"), Fault.AWAY, "503 backendError"),
    (google(400, "invalidQuery"), Fault.OTHER, "400 invalidQuery"),
    (google(400, "timeout"), Fault.TIMEOUT, "400 timeout"),
    (error_of("google.auth.exceptions", "RefreshError", "a secret row"), Fault.LOGIN, "RefreshError"),
    (error_of("google.api_core.exceptions", "RetryError", "a secret row"), Fault.AWAY, "RetryError"),
    (databricks("[TABLE_OR_VIEW_NOT_FOUND] a secret row SQLSTATE: 42P01"), Fault.MISSING, "42P01"),
    (databricks("[CAST_INVALID_INPUT] a secret row SQLSTATE: 22018"), Fault.DATA, "22018"),
    (databricks("a secret row", "RequestError", **{"http-code": 403}), Fault.LOGIN, "403"),
    (databricks("a secret row", "RequestError", **{"http-code": 503}), Fault.AWAY, "503"),
    (databricks("a secret row", "RequestError"), Fault.AWAY, "RequestError"),
    (redshift("42P01"), Fault.MISSING, "42P01"),
    (redshift("42501"), Fault.RIGHTS, "42501"),
    (redshift("28000"), Fault.LOGIN, "28000"),
    (error_of("redshift_connector.error", "InterfaceError", "a secret row"), Fault.AWAY, "InterfaceError"),
    (
        error_of("botocore.exceptions", "ClientError", "a secret row", response={"a": "secret"}),
        Fault.LOGIN,
        "ClientError",
    ),
    (error_of("botocore.exceptions", "EndpointConnectionError", "a secret row"), Fault.AWAY, "EndpointConnectionError"),
    (error_of("requests.exceptions", "ReadTimeout", "a secret row"), Fault.AWAY, "ReadTimeout"),
    (
        error_of("requests.exceptions", "HTTPError", "a secret row", response=SimpleNamespace(status_code=401)),
        Fault.LOGIN,
        "401",
    ),
]


@pytest.mark.parametrize(("original", "fault", "code"), CASES, ids=lambda case: getattr(case, "name", None))
def test_an_error_is_sorted_by_its_code_and_loses_its_words(original: Any, fault: Fault, code: str) -> None:
    words = "a secret cause"
    original.__cause__ = ValueError(words)
    error = OperationalError("SELECT 1", None, original)
    without_words(error)
    assert fault_of(error) is fault
    assert describe(error).endswith(code)
    assert "secret" not in "".join(traceback.format_exception(error)) + repr(vars(original))


def test_an_error_that_is_none_of_the_database_becomes_one() -> None:
    error = as_database_error(error_of("google.auth.exceptions", "TransportError", "a secret row"), "SELECT 1")
    assert isinstance(error, DBAPIError)
    assert fault_of(error) is Fault.AWAY
    assert "secret" not in str(error)


@pytest.mark.parametrize("original", [ValueError("x"), KeyboardInterrupt(), KeyError("x")])
def test_errors_of_other_packages_stay_what_they_are(original: BaseException) -> None:
    assert as_database_error(original) is None
