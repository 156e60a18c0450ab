"""A publication that is killed, taken over or cut off at any statement leaves a table that the next one completes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, event, update

from review_scoring.errors import ReviewScoringError
from review_scoring.job import Rescore
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.publishing import changes
from tests.conftest import PROVE, engine_of_kind
from tests.run.publications import Mart
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


def change(mart: Mart, night: int) -> None:
    """Make a night with a change of each kind."""
    first = 100 * night
    mart.warehouse.fill(20, first=first)
    mart.warehouse.run(
        "UPDATE reviews SET body = :body WHERE id = :id", body=f"un autre avis {night}", id=first - 100 or 1
    )
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = :id", id=first - 99)
    mart.warehouse.score(f"{night} changed", Rescore.CHANGED)
    mart.warehouse.score(str(night))
    mart.warehouse.run("DELETE FROM reviews WHERE id = :id", id=first + 5)
    forgotten(mart.warehouse, str(first + 5))


class Statements:
    """Calls something at the n-th moment: before or after a statement, of both databases, counted from 0."""

    def __init__(self, moment: int, then: Callable[[], None], *engines: Engine) -> None:
        self._left = moment
        self._then = then
        self.happened = self.is_over = False
        for each in engines:
            event.listen(each, "before_cursor_execute", self._count)
            event.listen(each, "after_cursor_execute", self._count)
            event.listen(each, "commit", self._count)

    def _count(self, *_arguments: Any) -> None:
        self._left -= 1
        if self._left == -1 and not self.is_over:
            self.happened = True
            self._then()


def killed_at(mart: Mart, moment: int) -> bool:
    """Publish in a process of its own that is killed at a moment; return whether it was."""
    ledger, target = mart.warehouse.engine, mart.engine
    ledger.dispose()
    target.dispose()
    pid = os.fork()
    if pid == 0:
        try:
            mine = Mart(Warehouse(_again(ledger), job=mart.warehouse.job), _again(target), mart.to)
            Statements(moment, lambda: os.kill(os.getpid(), signal.SIGKILL), mine.engine, mine.warehouse.engine)
            mine.publish("2")
        except BaseException:  # noqa: BLE001 the exit status tells it
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _again(engine: Engine) -> Engine:
    return make_engine(engine.url.render_as_string(hide_password=False))


def test_the_next_publication_completes_one_that_was_killed_at_any_statement(mart: Mart) -> None:
    kills = 0
    for moment in MOMENTS:
        change(mart, moment + 1)
        was_killed = killed_at(mart, moment)
        report = mart.publish("2")
        assert mart.is_equal()
        assert report.why_full is None
        if not was_killed:
            break
        kills += 1
    print(f"killed at {kills} moments")
    assert 50 // MOMENTS.step < kills < len(MOMENTS)


def test_a_publication_that_is_given_up_for_dead_writes_nothing_over_the_next_one(mart: Mart) -> None:
    """At each statement of a publication, its lease expires, and another task publishes newer scores."""
    lost = 0
    for moment in MOMENTS:
        change(mart, moment + 1)
        first = Mart(mart.warehouse, _again(mart.engine), mart.to) if mart.engine.dialect.name != "duckdb" else mart

        other = Thread(target=publish_later, args=(mart, moment))
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


def publish_later(mart: Mart, moment: int) -> None:
    """Let the lease of the publication that is in progress expire, and publish newer scores."""
    table = mart.warehouse.tables.publications
    with writing(mart.warehouse.engine).begin() as connection:
        connection.execute(update(table).values(lease_until=datetime(2026, 1, 1, tzinfo=UTC)))
    mart.warehouse.run("UPDATE reviews SET body = :body WHERE id = 9", body=f"plus tard, {moment}")
    mart.warehouse.score(f"later {moment}", Rescore.CHANGED)
    mart.publisher("later", task="other").publish()
