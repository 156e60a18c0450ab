"""The pages look up texts in an emulated warehouse, through the hook of its provider."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine

from review_scoring.airflow.web.databases import Databases
from review_scoring.job import ScoringJob
from tests.warehouses.conftest import CONN_ID, Emulated, for_the_emulator

JOB = ScoringJob(name="films", source_conn_id=CONN_ID, source_table="reviews", text_column="body")


def test_a_source_is_opened_once_until_its_connection_changes(
    bigquery: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    bigquery.run("CREATE TABLE {table} (id {integer}, body {text})")
    job = JOB.model_copy(update={"source_schema": bigquery.schema})
    pages = Databases()
    engine: Engine = pages.engine(CONN_ID)
    for_the_emulator(engine)
    assert pages.source(job).id_type == "integer"
    assert pages.source(job).engine is engine
    extra = {"project": "tests", "is_anonymous": True, "location": "EU"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "gcpbigquery", "extra": extra}))
    assert pages.engine(CONN_ID) is not engine
    pages.dispose()
