"""What the pages read: nights that agree with the tables, and engines that only read."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, make_url, update
from sqlalchemy.exc import DBAPIError

from review_scoring.job import Rescore
from review_scoring.warehouse import readonly
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.errors import Fault, fault_of, lacks_tables, took_too_long
from review_scoring.warehouse.history import daily_labels as days_module
from review_scoring.warehouse.history.daily_labels import Day, days
from review_scoring.warehouse.history.runs import STALLED, Night, night_of, nights
from review_scoring.warehouse.history.search import Conditions, Place, search
from review_scoring.warehouse.ledger.counts import add_labels
from review_scoring.warehouse.ledger.jobs import find_job
from review_scoring.warehouse.readonly import reading_engine
from tests.stubs import Warehouse


def read(warehouse: Warehouse) -> list[Night]:
    with warehouse.engine.connect() as connection:
        job = find_job(connection, warehouse.owned, warehouse.job.name)
        assert job is not None
        return nights(connection, warehouse.owned, job.id, last=10)


def found(warehouse: Warehouse, back: timedelta = timedelta(days=120)) -> list[Day]:
    with warehouse.engine.connect() as connection:
        return list(days(connection, warehouse.owned, job_id(warehouse), back=back))


def date_back(warehouse: Warehouse, run_id: str, back: timedelta) -> None:
    runs = warehouse.owned.runs
    with writing(warehouse.engine).begin() as connection:
        for row in connection.execute(runs.select().where(runs.c.run_id == run_id)).all():
            moved = {"started_at": row.started_at - back, "ended_at": row.ended_at - back}
            connection.execute(update(runs).where(runs.c.id == row.id).values(moved))


def job_id(warehouse: Warehouse) -> int:
    with warehouse.engine.connect() as connection:
        job = find_job(connection, warehouse.owned, warehouse.job.name)
    assert job is not None
    return job.id


def test_a_nights_labels_and_a_days_mean_score_are_those_of_the_table(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(70)
    warehouse.insert((100, None))
    warehouse.score("1", chunk_rows=16)
    (night,) = read(warehouse)
    rows = list(warehouse.scores().values())
    assert {label: count for label, (count, _) in night.counts.labels.items()} == Counter(row.label for row in rows)
    (day,) = found(warehouse)
    assert day.mean_score == pytest.approx(sum(row.score for row in rows) / len(rows))
    assert (day.date, day.labelled, day.shares) == (night.started_at.date(), 70, night.shares)
    assert sum(night.shares.values()) == pytest.approx(1)
    assert (night.state, night.counts.read, night.counts.rejected, night.labelled) == ("success", 71, 1, 70)
    warehouse.score("2", Rescore.ALL)
    assert read(warehouse)[0].counts.labels == night.counts.labels


def test_shards_of_one_dag_run_are_one_night(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(30)
    warehouse.score("1")
    with writing(warehouse.engine).begin() as connection:
        runs = warehouse.owned.runs
        row = connection.execute(runs.select()).one()._asdict()
        del row["id"]
        later = {"started_at": row["started_at"] + timedelta(hours=1), "ended_at": row["ended_at"] + timedelta(hours=2)}
        connection.execute(runs.insert().values({**row, **later, "map_index": 1, "state": "failed", "device": "gpu"}))
    (night,) = read(warehouse)
    assert (night.counts.read, night.state, night.shards, night.shards_done) == (60, "failed", 2, 1)
    assert night.labelled == 60
    assert night.devices == ("stub", "gpu")
    assert night.seconds > 7199
    with warehouse.engine.connect() as connection:
        same = night_of(connection, warehouse.owned, job_id(warehouse), night.dag_id, night.run_id)
    assert same is not None
    assert replace(same, seen_at=night.seen_at) == night


@pytest.mark.parametrize("rescore", [Rescore.CHANGED, Rescore.REVISION, Rescore.ALL])
def test_a_rescore_says_nothing_about_its_day(warehouse: Warehouse, rescore: Rescore) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.score("1")
    date_back(warehouse, "1", timedelta(days=3))
    before = found(warehouse)
    warehouse.fill(5, first=100)  # which a rescore that meets them scores as well
    assert warehouse.score("2", rescore).counts.scored >= 5
    assert found(warehouse) == before
    assert [night.is_rescore for night in read(warehouse)] == [True, False]
    assert [run.is_rescore for run in warehouse.runs()] == [False, True]


def test_a_day_is_all_its_runs_whatever_the_schedule(warehouse: Warehouse) -> None:
    warehouse.create()
    for n, back in enumerate((200, 2, 2, 1, 1, 0)):
        warehouse.fill(10 + n, first=100 * n)
        warehouse.score(str(n))
        date_back(warehouse, str(n), timedelta(days=back))
    warehouse.score("nothing new")
    assert [day.labelled for day in found(warehouse)] == [11 + 12, 13 + 14, 15]
    assert [day.labelled for day in found(warehouse, timedelta(days=1))] == [13 + 14, 15]
    first, second = (night.counts.labels for night in read(warehouse)[4:6])
    assert found(warehouse)[0].labels == add_labels(first, second)


def test_a_run_that_goes_is_no_part_of_its_day_yet(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    warehouse.score("1")
    warehouse.fill(20, first=100)
    for index in range(2):
        warehouse.score("2", map_index=index, chunk_rows=5, limit=10)
    runs = warehouse.owned.runs
    last = warehouse.runs()[-1]
    going = {"state": "running", "ended_at": None, "lease_until": last.lease_until + timedelta(hours=1)}
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(runs).where(runs.c.id == last.id).values(going))
    assert [day.labelled for day in found(warehouse)] == [10]
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(runs).where(runs.c.id == last.id).values(state="success"))
    assert [day.labelled for day in found(warehouse)] == [30]


def test_more_tasks_than_a_page_reads_shorten_the_days_and_cut_none(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days_module, "MOST_TASKS", 3)
    warehouse.create()
    for n, back in enumerate((2, 1, 1, 0)):
        warehouse.fill(10 + n, first=100 * n)
        warehouse.score(str(n))
        date_back(warehouse, str(n), timedelta(days=back))
    assert [day.labelled for day in found(warehouse)] == [13]


def test_a_run_tells_its_limit(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    warehouse.score("1", limit=4)
    warehouse.score("2")
    assert [night.limit for night in read(warehouse)] == [None, 4]


def test_a_run_without_a_sign_of_life_is_told_from_one_that_goes(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("1")
    runs = warehouse.owned.runs
    for lease, state in ((timedelta(hours=1), "running"), (-timedelta(hours=1), STALLED)):
        with writing(warehouse.engine).begin() as connection:
            seen = read(warehouse)[0].seen_at
            connection.execute(update(runs).values(state="running", ended_at=None, lease_until=seen + lease))
        assert read(warehouse)[0].state == state


def test_runs_of_before_the_labels_were_counted_are_read(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score("1")
    warehouse.run("UPDATE scoring_runs SET label_counts = NULL")
    assert read(warehouse)[0].shares == {}
    assert found(warehouse) == []


def test_a_reading_engine_cannot_write(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    engine.dispose()  # DuckDB: as when the process that writes has ended
    reading = reading_engine(engine.url)
    with pytest.raises(DBAPIError) as deleting, reading.begin() as connection:
        connection.exec_driver_sql("DELETE FROM reviews")
    with pytest.raises(DBAPIError) as creating, writing(reading).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE more (id INTEGER)")
    assert [fault_of(each.value) for each in (deleting, creating)] == [Fault.READ_ONLY, Fault.READ_ONLY]
    reading.dispose()


def test_whoever_has_looked_does_not_lock_out_whoever_writes(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    engine.dispose()
    reading = reading_engine(engine.url)
    with reading.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM reviews").all() == []
    warehouse.fill(1)
    reading.dispose()


def test_missing_tables_and_columns_are_told_from_other_failures(engine: Engine) -> None:
    Warehouse(engine).create()
    engine.dispose()
    reading = reading_engine(engine.url)
    told = []
    for statement in ("SELECT * FROM scoring_jobs", "SELECT label FROM reviews", "SELECT FROM FROM reviews"):
        with pytest.raises(DBAPIError) as raised, reading.connect() as connection:
            connection.exec_driver_sql(statement)
        told.append(lacks_tables(raised.value))
    assert told == [True, True, False]
    reading.dispose()


def test_a_statement_that_takes_long_is_ended_and_the_connection_lives_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name == "duckdb":
        pytest.skip("DuckDB has no limit of time")
    monkeypatch.setattr(readonly, "STATEMENT_S", 0.3)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    if engine.dialect.name == "mysql":  # which ends a recursion after 1,000 rows by itself
        endless = "SELECT sleep(60)"
    reading = reading_engine(engine.url)
    Warehouse(engine).create()
    started = time.monotonic()
    with pytest.raises(DBAPIError) as raised, reading.connect() as connection:
        connection.exec_driver_sql(endless)
    assert took_too_long(raised.value)
    assert time.monotonic() - started < 30
    with reading.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    reading.dispose()


@pytest.mark.parametrize("backend", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_is_away_is_not_waited_for_longer_than_a_page_may_take(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = reading_engine(make_url(f"{backend}://ada@127.0.0.1/films"))
    asked: dict[str, Any] = {}
    monkeypatch.setattr(reading.dialect.loaded_dbapi, "connect", lambda *_, **options: asked.update(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reading.connect()
    assert int(asked["connect_timeout"]) == readonly.CONNECT_S


@pytest.mark.parametrize(
    ("backend", "query"),
    [("postgresql+psycopg", {}), ("mysql+pymysql", {}), ("mysql+pymysql", {"read_timeout": "600"})],
)
def test_a_server_that_accepts_and_stays_silent_is_given_up(
    backend: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "STATEMENT_S", 0.5)
    monkeypatch.setattr(readonly, "GRACE_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = make_url(f"{backend}://ada:secret@127.0.0.1:{silent.getsockname()[1]}/films")
        reading = reading_engine(url.set(query=query))
        started = time.monotonic()
        with pytest.raises(DBAPIError) as raised:
            reading.connect()
    assert time.monotonic() - started < 10
    assert fault_of(raised.value) is Fault.AWAY


def test_a_peer_that_is_gone_is_noticed_by_tcp(postgres_engine: Engine) -> None:
    reading = reading_engine(postgres_engine.url)
    with reading.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as own:
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            probes = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
            idle, interval, count = (own.getsockopt(socket.IPPROTO_TCP, each) for each in probes)
            assert idle + interval * count <= 7
    reading.dispose()


def test_a_missing_sqlite_file_is_told_and_not_made(sqlite_engine: Engine) -> None:
    missing = sqlite_engine.url.set(database=f"{sqlite_engine.url.database}.missing")
    with pytest.raises(DBAPIError, match="SQLITE_CANTOPEN"):
        reading_engine(missing).connect()
    from pathlib import Path

    assert not Path(str(missing.database)).exists()


def test_the_least_certain_are_found_in_one_index(warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB reads columns whole, and no index in order")
    warehouse.create()
    warehouse.fill(20_000)
    warehouse.score("1", chunk_rows=5000)
    postgres = warehouse.engine.dialect.name == "postgresql"
    if postgres:
        with warehouse.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE review_scores")
    job = job_id(warehouse)
    sent: list[tuple[str, Any]] = []
    event.listen(warehouse.engine, "before_cursor_execute", lambda *of: sent.append((of[2], of[3])))
    with warehouse.engine.connect() as connection:
        for wanted in (Conditions(), Conditions(label="pos", score_to=0.8, truncated=False, model="stub")):
            for after in (None, Place(0.6, "700")):
                sent.clear()
                assert len(search(connection, warehouse.owned, job, wanted, after=after, rows=26)) == 26
                ((statement, parameters),) = [each for each in sent if "review_scores" in each[0]]
                if warehouse.engine.dialect.name == "mysql":
                    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
                    (read,) = [row for row in rows if row.key == "review_scores_certainty_filters"]
                    assert read.type == ("ref" if after is None and wanted.score_to is None else "range")
                    assert "Using index" in read.Extra
                    assert "filesort" not in read.Extra
                    plan = read.key
                elif postgres:
                    plan = json.dumps(
                        connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
                    )
                    assert '"Index Only Scan"' in plan
                    assert '"Seq Scan"' not in plan
                else:
                    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                    plan = "\n".join(row.detail for row in rows)
                    assert "SCAN review_scores" not in plan
                assert "review_scores_certainty" in plan, statement
