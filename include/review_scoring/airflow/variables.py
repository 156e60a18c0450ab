"""Reads Airflow Variables, from every process: DAG processor, worker, API server, `airflow dags test`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow.sdk import Variable
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
"""Where Airflow's SDK reads Variables: `server` for the metadata database, `client` for the task API."""


def variable(name: str) -> str | None:
    """Return the text of a Variable, unparsed; None if it is not set or empty."""
    with _metadata_outside_of_airflow():
        value = Variable.get(name, default=None)
    return str(value) if value else None


def has_metadata() -> bool:
    """Return whether Airflow's metadata database is there, with its tables."""
    from airflow import settings  # not in tasks, which have no database

    with suppress(SQLAlchemyError):
        return inspect(settings.engine).has_table("variable")
    return False


@contextmanager
def _metadata_outside_of_airflow() -> Iterator[None]:
    """Read Variables from the metadata database in processes for which Airflow configures no source.

    `airflow dags test` and `airflow dags reserialize` parse DAG files in such a process. It would read Variables from
    its environment only, and then write the DAGs to the metadata database. Airflow's `connections` commands set the
    same environment variable for the same reason.
    """
    from airflow.sdk.execution_time import task_runner

    if CONTEXT in os.environ or getattr(task_runner, "SUPERVISOR_COMMS", None) is not None:
        yield
        return
    os.environ[CONTEXT] = "server"
    try:
        yield
    finally:
        del os.environ[CONTEXT]
