"""What `review-scoring check-connection` tries holds on emulated warehouses, too."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect

from review_scoring.conformance.role import Role
from review_scoring.conformance.suite import check
from review_scoring.errors import PreflightError
from review_scoring.warehouse.scratch import PREFIX
from tests.warehouses.conftest import CONN_ID, Emulated

EMULATORS_FAULTS = {"bigquery": ["a table that was dropped is published again"]}
"""The emulator of BigQuery lists tables that were dropped."""


@pytest.mark.parametrize("role", [Role.SOURCE, Role.PUBLISH])
def test_the_promises_hold(warehouse: Emulated, role: Role) -> None:
    outcomes = list(check(warehouse.engine, CONN_ID, role, warehouse.schema))
    print(*outcomes, sep="\n")
    faults = EMULATORS_FAULTS.get(warehouse.name, [])
    assert [str(each) for each in outcomes if each.problem and each.promise not in faults] == []
    if not faults:
        assert [name for name in inspect(warehouse.engine).get_table_names(warehouse.schema) if PREFIX in name] == []


def test_a_warehouse_is_refused_as_a_ledger(warehouse: Emulated) -> None:
    with pytest.raises(PreflightError, match="cannot hold the scores"):
        next(check(warehouse.engine, CONN_ID, Role.LEDGER))
