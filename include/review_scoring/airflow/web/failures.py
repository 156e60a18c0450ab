"""What a reader is told when a page cannot be made: what happened, what to do, and a reference to the server's log."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException as StarletteHTTPException

from review_scoring.airflow.jobs import defined_jobs
from review_scoring.airflow.web.jobs import default_job
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

SLOW = f"The warehouse took longer than {STATEMENT_S:.0f} seconds to answer."
TABLES = "The scoring tables are not there, or of an earlier version."
BUSY = "Others are waiting for the warehouse, too."
AWAY = "The warehouse does not answer."
REFUSED = "The warehouse refused the connection or the query."
NOT_LET_IN = frozenset({Fault.LOGIN, Fault.TLS, Fault.DATABASE, Fault.RIGHTS})
SOURCE = "The source of the reviews cannot be read."
CATALOGUE = "The catalogue of models cannot be read."


class PageRoute(APIRoute):
    """A route whose errors become a page, or JSON where JSON was asked for, without a stack trace."""

    def get_route_handler(self) -> Handler:
        """Wrap the route."""
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, RequestValidationError) as error:
                status, heading, advice = _refused(error)
                known = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
                return _answer(request, status, heading, advice, "", _navigation(request) if known else NOWHERE)
            except Exception as error:
                reference = secrets.token_hex(4)
                status, heading, advice = _failed(error)
                if status == HTTPStatus.INTERNAL_SERVER_ERROR:
                    log.exception("page %s failed, reference %s", request.url.path, reference)
                else:
                    log.warning("page %s: %s, reference %s", request.url.path, named(error), reference)
                return _answer(request, status, heading, advice, reference, _navigation(request))

        return told


NOWHERE: Mapping[str, Any] = {"job": "", "jobs": ()}
"""No navigation: for those who may not know which jobs there are."""


def _navigation(request: Request) -> Mapping[str, Any]:
    """Return the job that was asked for and all jobs, so that one that cannot be shown does not hide the others.

    Only for those who may read the pages: Airflow is asked before a route does anything that could fail.
    """
    try:
        jobs = tuple(defined_jobs())
        if not jobs:
            return NOWHERE
        asked = request.query_params.get("job")
        return {"job": asked if asked in jobs else default_job(dict.fromkeys(jobs)), "jobs": jobs}
    except Exception as error:  # noqa: BLE001 the first error is the one to tell
        log.warning("no navigation on the page of an error: %s", named(error))
        return NOWHERE


def _refused(error: HTTPException | RequestValidationError) -> tuple[int, str, str]:
    if isinstance(error, RequestValidationError):
        fields = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return HTTPStatus.UNPROCESSABLE_ENTITY, "This cannot be looked up.", f"Check what was entered: {fields}."
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return HTTPStatus.UNAUTHORIZED, "Nobody is logged in.", "Log in to Airflow, then load the page again."
    if error.status_code == HTTPStatus.FORBIDDEN:
        return (
            403,
            "These pages are not open to you.",
            "They are open to those who may read the scoring DAG in Airflow.",
        )
    return error.status_code, "There is nothing here.", str(error.detail)


def _failed(error: Exception) -> tuple[int, str, str]:
    away, missing = HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND
    kinds: list[tuple[bool, tuple[int, str, str]]] = [
        (
            lacks_tables(error),
            (missing, TABLES, "The next run creates them, or brings them up to date. Trigger the DAG."),
        ),
        (took_too_long(error), (away, SLOW, "Narrow the search, or try again when the database has less to do.")),
        (isinstance(error, PoolTimeoutError), (away, BUSY, "Try again in a few seconds.")),
        (
            fault_of(error) in NOT_LET_IN,
            (away, REFUSED, "Check the login, the database and the privileges in the Connection of the job."),
        ),
        (
            isinstance(error, SQLAlchemyError | WarehouseUnavailableError),
            (away, AWAY, "Try again in a minute. If it stays so, check the Connection of the job."),
        ),
        (isinstance(error, PreflightError), (away, SOURCE, "The DAG's task preflight says what is wrong.")),
        (isinstance(error, ModelError), (away, CATALOGUE, "The DAG import_model has an import error that says why.")),
        (isinstance(error, NoSuchJobError), (missing, "There is no scoring job to show.", str(error))),
        (isinstance(error, ConfigurationError), (away, "This is not set up as it has to be.", str(error))),
    ]
    unknown = (HTTPStatus.INTERNAL_SERVER_ERROR, "This page could not be made.", "Tell it to whoever runs Airflow.")
    return next((answer for matches, answer in kinds if matches), unknown)


def named(error: Exception) -> str:
    """Name an error for the log, without its statement, its values or an address."""
    return str(error) if isinstance(error, ConfigurationError) else describe(error)


async def nothing_here(request: Request, error: Exception) -> Response:
    """Answer an address that no route has, or a method that none takes. It tells nothing, so nobody is asked."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else HTTPStatus.NOT_FOUND
    return _answer(
        request, status, "There is nothing here.", "Check the address, or go on from the overview.", "", NOWHERE
    )


def _answer(
    request: Request, status: int, heading: str, advice: str, reference: str, navigation: Mapping[str, Any]
) -> Response:
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": heading, "advice": advice, "reference": reference}, status_code=status)
    up = "../" * (path_below(request.scope).count("/") - 1)
    said = {"heading": heading, "advice": advice, "reference": reference}
    return html("failure.html", status, up=up, page="", **navigation, **said)
