"""Pages require a login, accept no writes, and let browsers run files of this server only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from review_scoring.airflow.web.app import create_app
from review_scoring.airflow.web.rendering import HERE
from tests.stubs import Warehouse

ROUTES = [route.path for route in create_app().routes if isinstance(route, APIRoute)]


def test_the_route_table_holds_pages_and_static_files_alone() -> None:
    others = [route for route in create_app().routes if not isinstance(route, APIRoute)]
    assert [route.path for route in others if isinstance(route, Mount)] == ["/static"]
    assert len(others) == 1, "no /docs, no /openapi.json"
    assert len(ROUTES) >= 8


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_login_every_route_answers_401(path: str) -> None:
    answer = TestClient(create_app()).get(path, params={"id": "1", "dag_id": "a", "run_id": "b"})
    assert answer.status_code == 401
    assert "You are not logged in" in answer.text


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_writable(path: str, method: str) -> None:
    assert TestClient(create_app()).request(method, path).status_code == 405


@pytest.mark.parametrize("path", [*ROUTES, "/static/pages.js", "/static/pages.css", "/nowhere"])
def test_every_answer_carries_the_headers(path: str, pages: Callable[..., TestClient], warehouse: Warehouse) -> None:
    warehouse.create()
    headers = pages().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ("no-store" in headers["Cache-Control"]) is not path.startswith("/static")


def test_templates_and_scripts_need_nothing_that_the_policy_forbids() -> None:
    for file in [*HERE.glob("templates/*.html"), *HERE.glob("static/*.js")]:
        content = file.read_text()
        for forbidden in ("style=", "onclick=", "javascript:", "|safe", "| safe", "innerHTML", "eval(", "//cdn"):
            assert forbidden not in content, f"{file.name} has {forbidden}"
