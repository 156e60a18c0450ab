"""Connections to emulated warehouses, through the hooks of Airflow's providers."""

from __future__ import annotations

from sqlalchemy import text

from tests.warehouses.conftest import Emulated


def test_the_schema_of_a_connection_is_that_of_its_tables(warehouse: Emulated) -> None:
    warehouse.run("CREATE TABLE {table} (id {integer}, body {text})")
    warehouse.run("INSERT INTO {table} VALUES (1, 'bien')")
    with warehouse.engine.connect() as connection:
        assert connection.execute(text("SELECT id, body FROM reviews")).all() == [(1, "bien")]
