"""Other processes of these tests: they have an emulated warehouse of their own, and can be killed."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from sqlalchemy import Engine

from review_scoring.airflow.connections.engines import engine_of
from tests.exactly_once import worker
from tests.run import publications
from tests.warehouses.conftest import CONN_ID, as_the_emulator_takes_it, for_the_emulator, without_tls

# The clients take ten seconds to import. All modules that start processes share one server of them, and the last list
# counts, so it is set after these modules have set their own.
multiprocessing.get_context("forkserver").set_forkserver_preload(
    [
        worker.__name__,
        publications.__name__,
        "airflow.providers.google.cloud.hooks.bigquery",
        "airflow.providers.snowflake.hooks.snowflake",
        "snowflake.sqlalchemy",
        "sqlalchemy_bigquery",
    ]
)


def reopened(warehouse: str, environment: dict[str, str]) -> Engine:
    """Return an engine of the Connection of a test, in another process."""
    os.environ.update(environment)
    engine = engine_of(CONN_ID)
    if warehouse == "bigquery":
        as_the_emulator_takes_it(pytest.MonkeyPatch())
        for_the_emulator(engine)
    else:
        without_tls(engine)
    return engine
