"""Which errors pass by themselves, and how long a run waits for that."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import wait_fixed

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ScoringInterruptedError, WarehouseUnavailableError
from review_scoring.warehouse import retry
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.errors import is_passing
from review_scoring.warehouse.retry import with_retries


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return call


def cut() -> OperationalError:
    return OperationalError("SELECT", {}, ConnectionError("cut"), connection_invalidated=True)


def test_a_passing_error_is_retried_until_it_goes_through() -> None:
    assert with_retries(failing(2, cut()), what="reading", stop=StopFlag()) == "done"


def test_a_lasting_error_is_raised_at_once(engine: Engine) -> None:
    with pytest.raises(DBAPIError), engine.connect() as connection:
        with_retries(lambda: connection.execute(text("SELECT * FROM nowhere")), what="reading", stop=StopFlag())


def test_patience_ends_with_an_error_that_says_what_and_how_long() -> None:
    with pytest.raises(WarehouseUnavailableError, match="reading failed for 0 s: ConnectionError"):
        with_retries(failing(99, cut()), what="reading", stop=StopFlag(), patience_s=0.3)


def test_waiting_ends_at_once_when_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF", wait_fixed(60))
    stop = StopFlag()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(ScoringInterruptedError):
        with_retries(failing(99, cut()), what="reading", stop=stop)
    assert time.monotonic() - started < 30


def test_a_locked_sqlite_file_is_a_passing_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review_scoring.warehouse.dialects.sqlite.BUSY_TIMEOUT_S", 0.05)
    engine = make_engine(f"sqlite:///{tmp_path / 'db'}")
    other = sqlite3.connect(tmp_path / "db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DBAPIError) as error, writing(engine).begin():
        pass
    assert is_passing(error.value)


def test_a_backend_that_was_terminated_is_a_passing_error(postgres_engine: Engine) -> None:
    with pytest.raises(DBAPIError) as error, postgres_engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with postgres_engine.connect() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        connection.execute(text("SELECT 1"))
    assert is_passing(error.value)


def test_a_duckdb_file_that_another_process_has_open_is_a_passing_error(duckdb_engine: Engine) -> None:
    path = duckdb_engine.url.database
    holding = f"import duckdb; c = duckdb.connect({path!r}); print('open', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(DBAPIError) as error, duckdb_engine.connect():
        pass
    other.communicate(b"\n")
    assert is_passing(error.value)
    with duckdb_engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_errors_never_show_bound_values(engine: Engine) -> None:
    with pytest.raises(DBAPIError) as error, engine.connect() as connection:
        connection.execute(text("SELECT :review FROM nowhere"), {"review": "un texte secret"})
    assert "secret" not in str(error.value)
