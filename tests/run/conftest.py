"""What several tests of runs share."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.conftest import LONG_FORM, engine_of_kind
from tests.stubs import Warehouse


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", pytest.param("duckdb", marks=LONG_FORM)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty database; of DuckDB in the long form only, for which a run takes three times as long as for SQLite.

    What DuckDB does otherwise, `tests/warehouse` and `test_loop.py` show.
    """
    return engine_of_kind(request)


@pytest.fixture
def dated(warehouse: Warehouse) -> Warehouse:
    """A hundred reviews with a cursor."""
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(100)
    warehouse.run("UPDATE reviews SET seq = id")
    return warehouse
