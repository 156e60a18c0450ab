"""The web app as tests use it: without Airflow's login, and with access to its caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import State


def without_login(app: FastAPI, instead: Callable[[], None] = lambda: None) -> FastAPI:
    """Replace the check for the permission to read the DAG, on every route."""
    for route in app.routes:
        for dependency in getattr(route, "dependencies", []):
            app.dependency_overrides[dependency.dependency] = instead
    return app


def state(client: TestClient) -> State:
    """Return what the app of a client owns: `databases` and `live_counts`."""
    return cast(FastAPI, client.app).state
