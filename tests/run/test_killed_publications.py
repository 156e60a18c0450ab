"""A publication that is killed, taken over or cut off at any statement leaves a table that the next one completes."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from threading import Thread

import pytest
from sqlalchemy import Engine, update

from review_scoring.errors import ReviewScoringError
from review_scoring.job import Rescore
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.publishing import changes
from tests.conftest import PROVE, engine_of_kind
from tests.run.publications import Mart, Statements, change, killed_at, reopened, url_of
from tests.run.reconciliations import forgotten
from tests.stubs import Warehouse

MOMENTS = range(0, 150, 1 if PROVE else 9)
"""Moments of a publication, up to more than it has. A moment is before or after a statement."""

WAITS_S = 1.0


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """The ledger's database."""
    return sqlite_engine


@pytest.fixture(params=["duckdb", "postgresql", "mariadb"])
def mart(request: pytest.FixtureRequest, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Mart:
    """A published night, and after it reviews that are new, relabelled, rejected and erased; pages of 10 rows."""
    monkeypatch.setattr(changes, "PAGE_ROWS", 10)
    warehouse.create()
    warehouse.fill(30)
    warehouse.score("1")
    mart = Mart(warehouse, engine_of_kind(request))
    mart.publish("1")
    return mart


@pytest.mark.prove
def test_the_next_publication_completes_one_that_was_killed_at_any_statement(mart: Mart) -> None:
    kills = 0
    for moment in MOMENTS:
        change(mart, moment + 1)
        was_killed = killed_at(mart, moment, partial(reopened, url_of(mart.engine)))
        report = mart.publish("2")
        assert mart.is_equal()
        assert report.why_full is None
        if not was_killed:
            break
        kills += 1
    print(f"killed at {kills} moments")
    assert 50 // MOMENTS.step < kills < len(MOMENTS)


@pytest.mark.prove
def test_a_publication_that_is_given_up_for_dead_writes_nothing_over_the_next_one(mart: Mart) -> None:
    """At each statement of a publication, its lease expires, and another task publishes newer scores."""
    if mart.engine.dialect.name == "duckdb":
        pytest.skip("one process at a time opens a DuckDB file")
    lost = 0
    for moment in MOMENTS:
        change(mart, moment + 1)
        first = Mart(mart.warehouse, reopened(url_of(mart.engine)), mart.to)
        other = Thread(target=publish_later, args=(mart, moment + 1))
        statements = Statements(moment, partial(start, other), first.engine)
        try:
            first.publish("2")
        except ReviewScoringError:
            lost += 1
        statements.is_over = True
        if statements.happened:
            other.join()
        mart.publish("3")
        assert mart.is_equal()
        if not statements.happened:
            break
    print(f"{lost} of {moment // MOMENTS.step} publications gave up")
    assert lost > 0


def start(other: Thread) -> None:
    """Start another thread, and let it end, unless it waits for a lock of this one."""
    other.start()
    other.join(WAITS_S)


def publish_later(mart: Mart, night: int) -> None:
    """Let the lease of the publication that is in progress expire, and publish newer scores of what it publishes."""
    table = mart.warehouse.tables.publications
    with writing(mart.warehouse.engine).begin() as connection:
        connection.execute(update(table).values(lease_until=datetime(2026, 1, 1, tzinfo=UTC)))
    changed, erased = 100 * night + 1, 100 * night + 2
    mart.warehouse.run("UPDATE reviews SET body = 'un avis changé plus tard' WHERE id = :id", id=changed)
    mart.warehouse.run("DELETE FROM reviews WHERE id = :id", id=erased)
    mart.warehouse.score(f"later {night}", Rescore.CHANGED)
    forgotten(mart.warehouse, str(erased))
    mart.publisher("later", task="other").publish()
