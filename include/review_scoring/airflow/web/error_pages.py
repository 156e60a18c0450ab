"""Error pages: what went wrong, what to do about it, and a reference to the API server's log."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException as StarletteHTTPException

from review_scoring.airflow.web.rendering import html
from review_scoring.airflow.web.security import path_below
from review_scoring.errors import (
    ConfigurationError,
    ModelError,
    NoSuchJobError,
    PreflightError,
    WarehouseUnavailableError,
)
from review_scoring.warehouse.errors import Fault, describe, fault_of, lacks_tables, took_too_long
from review_scoring.warehouse.readonly import STATEMENT_S

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

REFUSALS = frozenset({Fault.LOGIN, Fault.TLS, Fault.DATABASE, Fault.RIGHTS})
"""Faults with which a warehouse refuses a connection or a query."""

NO_NAVIGATION: Mapping[str, Any] = {"job": "", "jobs": ()}
"""For users without access, who may not learn which jobs exist."""


@dataclass(frozen=True)
class Failure:
    """What an error page shows: a heading and an advice, without the error's own text unless that is ours."""

    status: int
    heading: str
    advice: str


NOT_FOUND = "Page not found."


class PageRoute(APIRoute):
    """A route whose errors become a page, or JSON for a client that accepts JSON, and never a stack trace."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler of the route."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, RequestValidationError) as error:
                failure = _refused(error)
                has_access = failure.status not in {401, 403}
                return _answer(request, failure, "", _navigation(request) if has_access else NO_NAVIGATION)
            except Exception as error:
                reference = secrets.token_hex(4)
                failure = failure_of(error)
                if failure.status == 500:
                    log.exception("page %s failed, reference %s", request.url.path, reference)
                else:
                    log.warning("page %s: %s, reference %s", request.url.path, named(error), reference)
                return _answer(request, failure, reference, _navigation(request))

        return handle


async def not_found(request: Request, error: Exception) -> Response:
    """Answer a request that matches no route, or not its method. The page is the same for everybody."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else 404
    failure = Failure(status, NOT_FOUND, "Check the address, or start from the overview.")
    return _answer(request, failure, "", NO_NAVIGATION)


def too_busy(request: Request, retry_after_s: int) -> Response:
    """Answer a request for which others have left no room."""
    failure = Failure(503, "Too many pages are being read.", "Try again in a few seconds.")
    answer = _answer(request, failure, "", NO_NAVIGATION)
    answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def named(error: Exception) -> str:
    """Describe an error for the log, without its statement, bound values or an address."""
    return str(error) if isinstance(error, ConfigurationError) else describe(error)


def _refused(error: HTTPException | RequestValidationError) -> Failure:
    """Return the failure of a request that was refused before anything was read."""
    if isinstance(error, RequestValidationError):
        fields = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return Failure(422, "The request is not valid.", f"Check these fields: {fields}.")
    if error.status_code == 401:
        return Failure(401, "You are not logged in.", "Log in to Airflow, then reload the page.")
    if error.status_code == 403:
        advice = "The pages of a job require the permission to read its DAG in Airflow."
        return Failure(403, "You have no access to this page.", advice)
    return Failure(error.status_code, NOT_FOUND, str(error.detail))


def failure_of(error: Exception) -> Failure:
    """Return what a page shows that raised an error: the first entry that matches it."""
    cases = [
        (
            lacks_tables(error),
            Failure(
                404,
                "The scoring tables do not exist, or are from an earlier version.",
                "Trigger the DAG: its next run creates or upgrades them.",
            ),
        ),
        (
            took_too_long(error),
            Failure(
                503,
                f"The warehouse took longer than {STATEMENT_S:.0f} seconds to answer.",
                "Narrow the search, or try again when the database has less load.",
            ),
        ),
        (
            isinstance(error, PoolTimeoutError),
            Failure(503, "All warehouse connections are in use.", "Try again in a few seconds."),
        ),
        (
            fault_of(error) in REFUSALS,
            Failure(
                503,
                "The warehouse refused the connection or the query.",
                "Check the login, the database and the privileges in the Connection of the job.",
            ),
        ),
        (
            isinstance(error, SQLAlchemyError | WarehouseUnavailableError),
            Failure(
                503,
                "The warehouse does not answer.",
                "Try again in a minute. If the problem persists, check the Connection of the job.",
            ),
        ),
        (
            isinstance(error, PreflightError),
            Failure(
                503,
                "The source of the reviews cannot be read.",
                "See the log of the task preflight in the DAG's next run.",
            ),
        ),
        (
            isinstance(error, ModelError),
            Failure(503, "The model catalogue cannot be read.", "See the import error of the DAG import_model."),
        ),
        (isinstance(error, NoSuchJobError), Failure(404, "There is no scoring job to show.", str(error))),
        (isinstance(error, ConfigurationError), Failure(503, "The scoring setup is incomplete.", str(error))),
    ]
    unknown = Failure(500, "This page could not be rendered.", "Report the reference to the administrator of Airflow.")
    return next((failure for matches, failure in cases if matches), unknown)


def _navigation(request: Request) -> Mapping[str, Any]:
    """Return the requested job and all jobs that the user may see, so that a job that fails does not hide the others.

    The page's dependency has left them with the request; it has not for users without access.
    """
    jobs: tuple[str, ...] = getattr(request.state, "jobs", ())
    if not jobs:
        return NO_NAVIGATION
    job = request.query_params.get("job")
    return {"job": job if job in jobs else jobs[0], "jobs": jobs}


def _answer(request: Request, failure: Failure, reference: str, navigation: Mapping[str, Any]) -> Response:
    texts = {"advice": failure.advice, "reference": reference}
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": failure.heading, **texts}, status_code=failure.status)
    up = "../" * (path_below(request.scope).count("/") - 1)
    return html("failure.html", failure.status, up=up, page="", heading=failure.heading, **texts, **navigation)
