"""Airflow Variables, read alike wherever a DAG file is parsed, a task runs or a page is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import Variable

CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
"""Tells Airflow's SDK where Variables are: `server` for the metadata database, `client` for the task's own API."""


def variable(name: str) -> str | None:
    """Return the text of a Variable, as it was set; None for one that is not set, or is empty."""
    with _metadata_outside_of_airflow():
        value = Variable.get(name, default=None)
    return str(value) if value else None


@contextmanager
def _metadata_outside_of_airflow() -> Iterator[None]:
    """Look in the metadata where Airflow has said neither where Variables are nor given a way to ask for them.

    `airflow dags test` and `airflow dags reserialize` parse DAG files in such a process. It would see the Variables
    of its environment alone, and then write those DAGs into the metadata. Airflow's commands about Connections set the
    same variable for the same reason.
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
