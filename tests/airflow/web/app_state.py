"""The web app as tests use it: without Airflow's login, with access to its caches, and served on a port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import cast

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import State

from review_scoring.airflow.web.access import readable_dags
from tests.airflow.web.server import free_ports


def without_login(app: FastAPI, readable: Callable[[Collection[str]], set[str]] = set) -> FastAPI:
    """Replace the check for the login and for the permission to read DAGs.

    :param readable: returns those of some DAGs that the user may read
    """
    app.dependency_overrides[readable_dags] = lambda: readable
    return app


def state(client: TestClient) -> State:
    """Return what the app of a client owns: `known_jobs`, `databases` and `live_counts`."""
    return cast(FastAPI, client.app).state


class served:  # noqa: N801 used as a context manager
    """An app, served on a port."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def __enter__(self) -> str:
        (port,) = free_ports(1)
        self._server = uvicorn.Server(uvicorn.Config(self._app, port=port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
