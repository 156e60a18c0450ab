"""Behind PgBouncer with transaction pooling, a run needs no setting: each transaction gets another of the sessions."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import URL, Engine, text

from review_scoring.errors import PreflightError
from review_scoring.job import Rescore
from review_scoring.warehouse import migrate
from review_scoring.warehouse.engine import Address, make_engine
from tests.own_pgbouncer import OwnPgBouncer, program
from tests.requirements import not_here
from tests.stubs import Warehouse


@pytest.fixture
def pooled(postgres_engine: Engine) -> Iterator[URL]:
    """The address of an empty database behind a PgBouncer."""
    if program() is None:
        not_here("PgBouncer is not installed")
    bouncer = OwnPgBouncer(postgres_engine.url)
    address = postgres_engine.url.set(host="127.0.0.1", port=bouncer.port)
    engine = make_engine(address)
    with engine.begin() as one, engine.begin() as other:  # so that it opens both of its sessions
        one.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
    engine.dispose()
    yield address
    bouncer.remove()


def test_night_after_night_goes_through(pooled: URL) -> None:
    warehouse = Warehouse(make_engine(pooled))
    warehouse.create()
    for night in range(1, 4):
        warehouse.fill(30, first=100 * night)
        assert warehouse.score(f"night {night}", chunk_rows=2).counts.scored == 30
    warehouse.run("UPDATE reviews SET body = 'changée' WHERE id = 110")
    assert warehouse.score("rescore", Rescore.CHANGED, chunk_rows=20).counts.scored == 1
    warehouse.engine.dispose()


def test_a_process_that_waits_for_its_turn_to_migrate_holds_no_session(pooled: URL) -> None:
    """A migration has two transactions at a time, as many as this pooler has sessions."""
    engine = make_engine(pooled)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate.upgrade(engine, None), range(4)))
    assert migrate.current(engine, None) == migrate.head()
    engine.dispose()


def test_prepared_statements_that_somebody_asks_for_are_told_with_their_setting(pooled: URL) -> None:
    warehouse = Warehouse(make_engine(Address(pooled, {"prepare_threshold": 0})))
    with pytest.raises(
        PreflightError, match="goes through a pooler that loses prepared statements .*`prepare_threshold`"
    ):
        for _ in range(5):
            warehouse.prepare()
    warehouse.engine.dispose()
