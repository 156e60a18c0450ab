"""Classifies the errors of warehouses in the cloud, whose clients have codes of their own; never by text.

Sources: `errorcode.py` and `network.py` of snowflake-connector-python 4.8 for what its client and the login raise, and
Snowflake's documentation for its statements; BigQuery's documentation, "Error messages" (HTTP status and reason);
Databricks' documentation, "Error conditions", which have an SQLSTATE; PostgreSQL's SQLSTATEs for Redshift.

The clients are not imported: an error is known by the module of its class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from review_scoring.warehouse.faults import Fault


@dataclass(frozen=True)
class CloudError:
    """What is known of an error.

    :param code: for messages; None if it has none
    :param fault: None where the code is an SQLSTATE, which means the same on every database
    """

    code: str | None
    fault: Fault | None


_SNOWFLAKE: Mapping[int, Fault] = {
    # Of a statement.
    **dict.fromkeys((904, 2003, 2043, 90106), Fault.MISSING),  # 90106: the session has no schema
    **dict.fromkeys((606, 3001), Fault.RIGHTS),  # 606: no warehouse, or no privilege to use it
    **dict.fromkeys((604, 630), Fault.TIMEOUT),
    625: Fault.BUSY,
    90105: Fault.DATABASE,
    # Of the login, and of a session that has ended.
    **dict.fromkeys((390100, 390144, 390189, 390195, 390303, 390318, 390422), Fault.LOGIN),
    **dict.fromkeys(range(394300, 394308), Fault.LOGIN),  # JSON web tokens
    **dict.fromkeys((390110, 390111, 390112, 390113, 390114, 390115), Fault.AWAY),
    # Of the client: network, settings, results.
    **dict.fromkeys((250001, 250002, 250003, 250005, 251010, 251011, 251012, 252007, 252010, 252013), Fault.AWAY),
    **dict.fromkeys((251001, 251005, 251006, 251008, 290401, 290403, 290404), Fault.LOGIN),  # 290404: no such account
    **dict.fromkeys((252005, 255001), Fault.DATA),
    **dict.fromkeys((*range(290500, 290600), 290408, 290429), Fault.AWAY),
}
_HTTP_STATUS = 290_000
"""What the client adds to an HTTP status; once more for a request that it has given up trying again (`errors.py`)."""

_NO_SUCH_ACCOUNT = (250001, "08004")

_BIGQUERY_REASONS: Mapping[str, Fault] = {
    **dict.fromkeys(("backendError", "internalError", "tableUnavailable"), Fault.AWAY),
    **dict.fromkeys(("jobRateLimitExceeded", "quotaExceeded", "rateLimitExceeded"), Fault.BUSY),
    **dict.fromkeys(("stopped", "timeout"), Fault.TIMEOUT),
    **dict.fromkeys(("accessDenied", "billingNotEnabled", "blocked"), Fault.RIGHTS),
    "notFound": Fault.MISSING,
}
_HTTP: Mapping[int, Fault] = {
    **dict.fromkeys((408, 500, 502, 503, 504), Fault.AWAY),
    401: Fault.LOGIN,
    403: Fault.RIGHTS,
    404: Fault.MISSING,
    429: Fault.BUSY,
}
_GOOGLE_CLASSES: Mapping[str, Fault] = {
    "DefaultCredentialsError": Fault.LOGIN,
    "RefreshError": Fault.LOGIN,
    "RetryError": Fault.AWAY,
    "TransportError": Fault.AWAY,
}

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")
_SQLSTATE = re.compile(r"SQLSTATE: ?([0-9A-Z]{5})")

_WORDS = ("msg", "raw_msg", "query", "message", "telemetry_traceback")
_RECORDS = ("context", "response", "_errors", "_details", "_response")
"""Attributes of the clients' errors that quote the statement or a row: texts, and collections."""

CLIENTS = ("botocore", "databricks", "google", "redshift_connector", "requests", "snowflake", "urllib3")
"""Packages that raise errors of a warehouse."""


def cloud_error(original: BaseException) -> CloudError | None:
    """Return what is known of a client's error; None for an error of another database."""
    package = type(original).__module__.partition(".")[0]
    if package not in CLIENTS:
        return None
    return _READ.get(package, _network)(original)


def forget_words(original: BaseException, code: str | None) -> None:
    """Remove the words of a client's error, and the errors that it was raised from."""
    for name in (*_WORDS, *_RECORDS):
        if hasattr(original, name):
            setattr(original, name, code if name in _WORDS else {})
    original.__cause__ = original.__context__ = None


def _snowflake(original: Any) -> CloudError:
    number, state = getattr(original, "errno", None), getattr(original, "sqlstate", None)
    if number is None or number == -1:
        return CloudError(state, None if state else Fault.OTHER)
    code = f"{number:06d}"
    if type(original).__name__ == "NonRetryableTlsError":
        return CloudError(code, Fault.TLS)
    if (number, state) == _NO_SUCH_ACCOUNT:
        return CloudError(code, Fault.LOGIN)
    known = number - _HTTP_STATUS if number > 2 * _HTTP_STATUS else number
    if known in _SNOWFLAKE:
        return CloudError(code, _SNOWFLAKE[known])
    return CloudError(code, Fault.DATA if str(state).startswith("22") else Fault.OTHER)


def _google(original: Any) -> CloudError:
    """Read an error of Google's client, or of its DB-API, whose only argument is the client's."""
    inner = original.args[0] if original.args and isinstance(original.args[0], BaseException) else original
    name = type(inner).__name__
    if name in _GOOGLE_CLASSES:
        return CloudError(name, _GOOGLE_CLASSES[name])
    status = getattr(inner, "code", None)
    reasons = [each.get("reason") for each in getattr(inner, "errors", None) or () if isinstance(each, Mapping)]
    reason = next((each for each in reasons if each), None)
    if status is None:
        return CloudError(reason or name, Fault.OTHER)
    code = f"{int(status)} {reason}" if reason else str(int(status))
    return CloudError(code, _BIGQUERY_REASONS.get(reason or "", _HTTP.get(int(status), Fault.OTHER)))


def _databricks(original: Any) -> CloudError:
    """Read the SQLSTATE or the condition, which a message states as a code, or the HTTP status."""
    message = str(getattr(original, "message", None) or "")
    state, condition = _SQLSTATE.search(message), _CONDITION.search(message)
    if state:
        return CloudError(state[1], None)
    context = getattr(original, "context", None)
    status = context.get("http-code") if isinstance(context, Mapping) else None
    if status is not None:
        fault = Fault.LOGIN if int(status) == 403 else _HTTP.get(int(status), Fault.OTHER)
        return CloudError(str(status), fault)
    is_away = type(original).__name__ in {"RequestError", "MaxRetryDurationError", "SessionAlreadyClosedError"}
    return CloudError(condition[1] if condition else None, Fault.AWAY if is_away else Fault.OTHER)


def _redshift(original: Any) -> CloudError:
    """Read the SQLSTATE of a server's message, which has a letter for each field; without one, nothing was received."""
    fields = original.args[0] if original.args else None
    if isinstance(fields, Mapping) and fields.get("C"):
        return CloudError(str(fields["C"]), None)
    is_away = type(original).__name__ in {"InterfaceError", "OperationalError"}
    return CloudError(None, Fault.AWAY if is_away else Fault.OTHER)


def _aws(original: BaseException) -> CloudError:
    """Read an error of the request for a password by IAM: an answer of AWS, no credentials at all, or no answer."""
    name = type(original).__name__
    is_login = name in {"ClientError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
    return CloudError(name, Fault.LOGIN if is_login else Fault.AWAY)


def _network(original: BaseException) -> CloudError:
    """Read an error of an HTTP library, with the status if there was an answer: only logins are requested with it."""
    status = getattr(getattr(original, "response", None), "status_code", None)
    if status is None:
        return CloudError(type(original).__name__, Fault.AWAY)
    return CloudError(str(status), Fault.LOGIN if status in {400, 401, 403} else _HTTP.get(status, Fault.OTHER))


_READ: Mapping[str, Callable[[Any], CloudError]] = {
    "botocore": _aws,
    "databricks": _databricks,
    "google": _google,
    "redshift_connector": _redshift,
    "snowflake": _snowflake,
}
