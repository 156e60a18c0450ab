"""What several tests of runs share."""

from __future__ import annotations

import pytest

from tests.stubs import Warehouse


@pytest.fixture
def dated(warehouse: Warehouse) -> Warehouse:
    """A hundred reviews with a cursor."""
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(100)
    warehouse.run("UPDATE reviews SET seq = id")
    return warehouse
