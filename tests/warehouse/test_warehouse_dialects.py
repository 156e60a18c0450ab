"""Statements for warehouses that no test can reach."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import column, select
from sqlalchemy.types import BigInteger, Numeric, String, TypeEngine

from review_scoring.warehouse.dialects import dialect_named


@pytest.mark.parametrize(
    ("type_", "values", "element"),
    [
        (BigInteger(), [1, 2], "bigint"),
        (Numeric(20, 0), [Decimal(1), Decimal(2)], "decimal(38, 0)"),
        (String(), ["é", "it's"], "string"),
    ],
)
def test_a_statement_of_databricks_has_one_parameter_for_all_ids(
    type_: TypeEngine[Any], values: list[Any], element: str
) -> None:
    id_ = column("id", type_)
    compiled = select(id_).where(dialect_named("databricks").in_values(id_, values)).compile()
    (document,) = compiled.params.values()
    assert json.loads(document) == [str(each) if isinstance(each, Decimal) else each for each in values]
    assert f"explode(from_json(:param_1, 'array<{element}>'))" in str(compiled)
