"""The web app as tests use it: without Airflow's login, and with access to its caches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import State

from review_scoring.airflow.web.access import readable_dags


def without_login(app: FastAPI, readable: Callable[[Collection[str]], set[str]] = set) -> FastAPI:
    """Replace the check for the login and for the permission to read DAGs.

    :param readable: returns those of some DAGs that the user may read
    """
    app.dependency_overrides[readable_dags] = lambda: readable
    return app


def state(client: TestClient) -> State:
    """Return what the app of a client owns: `known_jobs`, `databases` and `live_counts`."""
    return cast(FastAPI, client.app).state
