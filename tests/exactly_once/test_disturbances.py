"""What may happen to the database while a run is at work."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.warehouse import retry
from tests.conftest import long_form
from tests.own_postgres import OwnPostgres, binaries
from tests.requirements import not_here
from tests.stubs import StubClassifier, Warehouse, predicted


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    if binaries() is None:
        not_here("PostgreSQL's server programs are not installed")
    server = OwnPostgres()
    yield server
    server.remove()


@contextmanager
def meanwhile(work: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do something again and again in a thread."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(every_s):
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    over.set()
    thread.join()


def slow(seconds: float) -> StubClassifier:
    return StubClassifier(before_batch=lambda texts: time.sleep(seconds))


def test_rows_that_come_change_and_go_during_a_run_leave_counts_that_add_up(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(300)
    warehouse.classifier = slow(0.01)
    numbers = iter(range(1, 100_000))

    def change() -> None:
        n = next(numbers)
        warehouse.run("INSERT INTO reviews (id, body) VALUES (:id, 'nouveau')", id=10_000 + n)
        warehouse.run("INSERT INTO reviews (id, body) VALUES (:id, 'en retard')", id=-n)
        warehouse.run("DELETE FROM reviews WHERE id = :id", id=n * 2)
        warehouse.run("UPDATE reviews SET body = 'autre' WHERE id = :id", id=300 - n)

    with meanwhile(change, 0.005):
        first = warehouse.score("1", chunk_rows=10)
    assert first.counts.read == first.counts.scored == len(warehouse.scores())
    second = warehouse.score("2", chunk_rows=10)
    left = warehouse.run("SELECT id FROM reviews")
    assert {str(row.id) for row in left} <= warehouse.scores().keys()
    assert len(warehouse.scores()) == first.counts.scored + second.counts.scored


def test_connections_that_are_cut_again_and_again_cost_no_review_and_no_work_twice(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine, classifier=slow(0.02))
    warehouse.create()
    warehouse.fill(300)
    prepared = warehouse.prepare()  # a preflight that loses its connection fails for Airflow to try again
    killer = Warehouse(postgres_engine)
    cuts = []

    def cut() -> None:
        with suppress(DBAPIError):  # the pool gave it a connection that the last cut had ended
            cuts.extend(
                killer.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    with meanwhile(cut, 0.05):
        summary = warehouse.score(prepared=prepared, chunk_rows=10)
    assert str(summary.counts) == "read=300 scored=300 unchanged=0 rejected=0"
    assert len(warehouse.scores()) == len(warehouse.classifier.calls) == 300
    assert len(cuts) > 5


def test_a_database_that_restarts_is_waited_for(own_postgres: OwnPostgres) -> None:
    warehouse = Warehouse(own_postgres.engine(), classifier=slow(0.05))
    warehouse.create()
    warehouse.fill(200)
    warehouse.prepare()
    restarted: list[bool] = []

    def restart(texts: Sequence[str]) -> None:
        time.sleep(0.05)
        if len(warehouse.classifier.calls) >= 60 and not restarted:
            restarted.append(True)
            own_postgres.stop("immediate")
            threading.Timer(1.0, own_postgres.start).start()

    warehouse.classifier.before_batch = restart
    summary = warehouse.score(chunk_rows=20)
    assert restarted
    assert str(summary.counts) == "read=200 scored=200 unchanged=0 rejected=0"
    assert len(warehouse.scores()) == len(warehouse.classifier.calls) == 200
    warehouse.engine.dispose()


def test_a_database_that_stays_away_ends_the_run_with_a_clear_error_and_loses_nothing(
    own_postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PATIENCE_S", 1.0)
    warehouse = Warehouse(own_postgres.engine())
    warehouse.create()
    warehouse.fill(60)
    warehouse.prepare()

    def stop(texts: Sequence[str]) -> None:
        if len(warehouse.classifier.calls) == 20:
            own_postgres.stop("immediate")

    warehouse.classifier.before_batch = stop
    with pytest.raises(WarehouseUnavailableError, match="failed for 1 s"):
        warehouse.score("1", chunk_rows=20)
    own_postgres.start()
    warehouse.engine.dispose()
    warehouse.classifier.before_batch = lambda texts: None
    warehouse.run("UPDATE scoring_shards SET lease_until = '2026-01-01' WHERE state = 'running'")
    warehouse.score("2")
    assert len(warehouse.scores()) == 60
    warehouse.engine.dispose()


def test_a_full_sqlite_disk_ends_the_run_with_a_clear_error_and_loses_nothing(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.fill(2000)
    warehouse.prepare()
    pages = warehouse.run("PRAGMA page_count")[0][0] + 10

    def limit(connection: object, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]  # a sqlite3 connection

    event.listen(sqlite_engine, "connect", limit)
    sqlite_engine.dispose()
    with pytest.raises(WarehouseUnavailableError, match="no disk space left .*SQLITE_FULL"):
        warehouse.score("1", chunk_rows=50)
    event.remove(sqlite_engine, "connect", limit)
    sqlite_engine.dispose()
    kept = warehouse.scores()
    assert len(kept) % 50 == 0
    warehouse.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    warehouse.score("2")
    assert len(warehouse.scores()) == 2000
    assert all(row.score == predicted_score(warehouse, review_id) for review_id, row in kept.items())


@long_form
def test_a_full_postgresql_disk_ends_the_run_with_a_clear_error_and_loses_nothing() -> None:
    if binaries() is None or os.geteuid() != 0:
        not_here("a disk of a test's own needs root and PostgreSQL's server programs")
    try:
        server = OwnPostgres(disk_mb=120)
    except subprocess.CalledProcessError as error:
        not_here(f"no RAM disk can be mounted here: {error.stderr!r}")
        raise
    try:
        warehouse = Warehouse(server.engine())
        warehouse.create()
        warehouse.fill(20_000)
        warehouse.prepare()
        ballast = server.folder / "ballast"
        fill_up(ballast, leave_mb=3)
        with pytest.raises(WarehouseUnavailableError) as full:
            warehouse.score("1", chunk_rows=500)
        print(f"on a full disk: {full.value}")
        ballast.unlink()
        warehouse.engine.dispose()
        if subprocess.run(server._command("pg_ctl", "-D", str(server.data), "status"), check=False).returncode:
            server.start()  # a server that cannot write its log stops itself
        before = warehouse.scores()
        assert len(before) % 500 == 0
        warehouse.run("UPDATE scoring_shards SET lease_until = '2026-01-01' WHERE state = 'running'")
        warehouse.score("2")
        assert len(warehouse.scores()) == 20_000
        warehouse.engine.dispose()
    finally:
        server.remove()


def fill_up(ballast: Path, leave_mb: int) -> None:
    """Fill a disk but for some megabytes."""
    free = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(0, free.f_bavail * free.f_frsize - leave_mb * 2**20))


def predicted_score(warehouse: Warehouse, review_id: str) -> float:
    with warehouse.engine.connect() as connection:
        body = connection.scalar(text("SELECT body FROM reviews WHERE id = :id"), {"id": int(review_id)})
    return predicted(str(body)).score
