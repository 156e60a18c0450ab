"""From one job to another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.stubs import Warehouse

Pages = Callable[..., TestClient]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("/review?id=1", "reviews"),
        ("/run?dag_id=dag&run_id=night 1", "./"),
        ("/model?name=french-reviews-small", "models"),
        ("/reviews?label=neg", "reviews"),
        ("/rejects?reason=null_text", "rejects"),
        ("/models", "models"),
        ("/", "./"),
    ],
)
def test_another_job_is_one_step_away_from_every_page(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, asked: str, shown: str
) -> None:
    warehouse.create()
    warehouse.fill(2)
    warehouse.score()
    job = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": job, "books": job}))
    client = pages()
    form = re.search(r'<form class="job" method="get" action="([^"]*)"', client.get(asked).text)
    assert form is not None
    assert form[1] == shown
    answer = client.get("/" + form[1].removeprefix("./"), params={"job": "books"})
    assert answer.status_code == 200
    assert "<option selected>books</option>" in answer.text
