"""A server that stops answering while its connections stay open: a run logs it, times out, and can be cancelled."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from review_scoring.concurrency.background_thread import BackgroundThread
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ScoringInterruptedError, WarehouseUnavailableError
from review_scoring.warehouse import readonly
from review_scoring.warehouse import server_timeouts as watch
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.errors import Fault, fault_of
from review_scoring.warehouse.retry import with_retries
from tests.stubs import Warehouse
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.timeout(120)


@dataclass
class Behind:
    """A source behind a proxy, and the same database without it for the scores."""

    proxy: TcpProxy
    warehouse: Warehouse


@pytest.fixture(params=["postgres_engine", "mariadb_engine"])
def behind(request: pytest.FixtureRequest) -> Iterator[Behind]:
    """Sixty reviews behind a proxy."""
    engine: Engine = request.getfixturevalue(request.param)
    direct = Warehouse(engine)
    direct.create()
    direct.fill(60)
    port = engine.url.port or {"postgresql": 5432, "mysql": 3306}[engine.dialect.name]
    with TcpProxy(port) as proxy:
        through = make_engine(engine.url.set(host="127.0.0.1", port=proxy.port))
        yield Behind(proxy, Warehouse(through, target=engine))


def silent_from_the_second_chunk(behind: Behind) -> None:
    calls = []

    def before_batch(texts: object) -> None:
        calls.append(texts)
        if len(calls) == 1:
            behind.proxy.fall_silent()

    behind.warehouse.classifier.before_batch = before_batch


def test_a_source_that_falls_silent_is_told_in_the_log_and_given_up(
    behind: Behind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "WARN_EVERY_S", 0.5)
    monkeypatch.setattr("review_scoring.warehouse.retry.PATIENCE_S", 1.0)
    monkeypatch.setattr(watch, "ANSWER_WITHIN_S", 2.0)
    silent_from_the_second_chunk(behind)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(WarehouseUnavailableError, match="reading reviews"):
        behind.warehouse.score(chunk_rows=5)
    assert time.monotonic() - started < 30
    assert "reading reviews: the database has not answered for" in caplog.text


def test_a_run_that_is_told_to_stop_ends_although_its_source_is_silent(behind: Behind) -> None:
    silent_from_the_second_chunk(behind)
    threading.Timer(1.5, lambda: behind.warehouse.stop.set()).start()  # noqa: PLW0108 each run has a flag of its own
    started = time.monotonic()
    with pytest.raises(ScoringInterruptedError):
        behind.warehouse.score(chunk_rows=5)
    assert time.monotonic() - started < 30


def test_preflight_that_is_told_to_stop_ends_although_its_source_is_silent(behind: Behind) -> None:
    with behind.warehouse.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    behind.proxy.fall_silent()
    stop = StopFlag()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()

    def look() -> None:
        with behind.warehouse.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    with pytest.raises(ScoringInterruptedError):
        with_retries(look, what="looking", stop=stop)
    assert time.monotonic() - started < 30


def test_a_process_ends_although_a_thread_of_it_waits_for_ever() -> None:
    program = (
        "import threading; from review_scoring.concurrency.background_thread import BackgroundThread;"
        "BackgroundThread('waits').submit(threading.Event().wait); print('done')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "done\n"


def test_a_background_thread_does_one_thing_after_the_other_and_passes_errors_on() -> None:
    thread = BackgroundThread("one by one")
    order: list[int] = []
    first = thread.submit(lambda: order.append(1))
    second = thread.submit(lambda: 1 // 0)
    third = thread.submit(lambda: order.append(3))
    third.result(timeout=5)
    assert (first.result(), order) == (None, [1, 3])
    assert isinstance(second.exception(), ZeroDivisionError)
    thread.close()
    with pytest.raises(RuntimeError):
        thread.submit(lambda: None)


def test_a_watch_goes_on_in_a_forked_process() -> None:
    program = (
        "import os, time; from review_scoring.concurrency.cancellation import StopFlag\n"
        "from review_scoring.warehouse import server_timeouts as watch\n"
        "watch.WARN_EVERY_S = 0.1; watch.log.warning = lambda *a: print('told', flush=True)\n"
        "with watch.watched('parent', StopFlag()): pass\n"
        "if (child := os.fork()) == 0:\n"
        "    with watch.watched('child', StopFlag()): time.sleep(0.6)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "told" in ended.stdout


def test_a_page_whose_database_falls_silent_gives_its_thread_back(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "HELD_S", 2.0)
    with TcpProxy(postgres_engine.url.port or 5432) as proxy:
        reading = readonly.reading_engine(postgres_engine.url.set(host="127.0.0.1", port=proxy.port))
        started = time.monotonic()
        with pytest.raises(DBAPIError) as error, reading.connect() as connection:
            connection.execute(text("SELECT 1"))
            proxy.fall_silent()
            connection.execute(text("SELECT 1"))
    assert fault_of(error.value) is Fault.AWAY
    assert time.monotonic() - started < 20


def test_a_pages_connection_that_was_dropped_overnight_is_watched_no_longer(postgres_engine: Engine) -> None:
    reading = readonly.reading_engine(postgres_engine.url)
    with reading.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with postgres_engine.connect() as killer:
        killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with reading.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert watch._watch._steps == set()


def test_a_closed_connection_does_not_end_the_watch(sqlite_engine: Engine) -> None:
    stop = StopFlag()
    stop.set()
    step = watch._Step("a step", stop, endless=False)
    raw = sqlite_engine.raw_connection().driver_connection
    assert raw is not None
    raw.close()
    step.connections.append(raw)
    step.check(0.0)
    step.check(100.0)  # cuts, and raises nothing


def test_a_connection_that_was_given_back_is_not_cut_for_the_step_that_had_it(sqlite_engine: Engine) -> None:
    with watch.watched("a step", StopFlag()):
        with sqlite_engine.connect():
            pass
        (step,) = watch._watch._steps
        assert step.connections == []
