"""What a database's error means: by its code, in whatever language the server speaks, in a run and before it."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from review_scoring.errors import PreflightError, WarehouseUnavailableError
from review_scoring.warehouse import preflight_errors as explain
from review_scoring.warehouse.engine import Address, make_engine
from review_scoring.warehouse.errors import Fault, describe, fault_of
from tests.own_postgres import OwnPostgres, binaries
from tests.requirements import not_here
from tests.stubs import Warehouse

FRENCH = "fr_FR.UTF-8"


@pytest.fixture(scope="module")
def french() -> Iterator[OwnPostgres]:
    """A PostgreSQL server that speaks French, with a user who needs a password and one who is shut out."""
    locales = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout.split()
    if binaries() is None:
        not_here("PostgreSQL's own programs (initdb, pg_ctl) are not installed")
    if "fr_FR.utf8" not in locales:
        not_here(f"the locale {FRENCH} is not installed: localedef -i fr_FR -f UTF-8 {FRENCH}")
    rules = "host all secured 127.0.0.1/32 scram-sha-256\nhost all barred 127.0.0.1/32 reject"
    server = OwnPostgres(conf=f"lc_messages = '{FRENCH}'", hba=rules)
    with server.engine().begin() as connection:
        connection.execute(text("CREATE ROLE secured LOGIN PASSWORD 'right'"))
        connection.execute(text("CREATE ROLE barred LOGIN"))
    yield server
    server.remove()


LOGINS = {
    "a wrong password": ("secured:wrong", "postgres", "", Fault.LOGIN),
    "no password": ("secured", "postgres", "", Fault.LOGIN),
    "an unknown user": ("nobody_here", "postgres", "", Fault.LOGIN),
    "a user who is shut out": ("barred", "postgres", "", Fault.LOGIN),
    "an unknown database": ("postgres", "nowhere", "", Fault.DATABASE),
    "no encryption to be had": ("postgres", "postgres", "?sslmode=require", Fault.TLS),
    "no encryption, and a password": ("secured:right", "postgres", "?sslmode=require", Fault.TLS),
}


@pytest.mark.parametrize("case", LOGINS)
def test_a_refused_login_is_told_from_a_server_that_is_away_in_any_language(french: OwnPostgres, case: str) -> None:
    user, database, more, fault = LOGINS[case]
    engine = make_engine(french.url(user, database, more))
    with pytest.raises(DBAPIError) as error, engine.connect():
        pass
    assert fault_of(error.value) is fault


def test_the_server_of_these_tests_speaks_french(french: OwnPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentification"):
        psycopg.connect(host="127.0.0.1", port=french.port, user="secured", password="wrong", dbname="postgres")  # noqa: S106


@pytest.mark.parametrize("case", LOGINS)
def test_a_refused_login_is_tried_once_and_told_with_its_remedy(french: OwnPostgres, case: str) -> None:
    user, database, more, _ = LOGINS[case]
    warehouse = Warehouse(make_engine(french.url(user, database, more)))
    tries: list[object] = []
    event.listen(warehouse.engine, "handle_error", tries.append)
    with pytest.raises(
        PreflightError, match=r"connection 'reviews' (refuses the login|names a database that|answers, but)"
    ):
        warehouse.prepare()
    assert len(tries) == 2  # the source and the target


def test_a_server_that_is_not_there_may_come_back() -> None:
    with pytest.raises(DBAPIError) as error, make_engine("postgresql+psycopg://x@127.0.0.1:1/x").connect():
        pass
    assert fault_of(error.value) is Fault.AWAY


def test_tls_that_a_mariadb_server_does_not_have_is_told(mariadb_engine: Engine) -> None:
    with mariadb_engine.connect() as connection:
        if connection.scalar(text("SELECT @@have_ssl")) == "YES":
            pytest.skip("this server has TLS")
    encrypted = make_engine(Address(mariadb_engine.url, {"ssl": {"check_hostname": False, "verify_mode": "none"}}))
    with pytest.raises(DBAPIError) as error, encrypted.connect():
        pass
    assert fault_of(error.value) is Fault.TLS


def cut_while_preflight_reads(engine: Engine, times: int) -> list[int]:
    """Terminate the connection that reads a row of the source in preflight, as often as said; return the tries."""
    tries: list[int] = []

    def cut(cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("SELECT reviews.id AS id, reviews.body AS text"):
            tries.append(1)
            if len(tries) <= times:
                with engine.connect() as killer:
                    killer.execute(
                        text("SELECT pg_terminate_backend(:pid)"), {"pid": cursor.connection.info.backend_pid}
                    )

    event.listen(engine, "do_execute", cut)
    return tries


def test_a_connection_that_is_lost_in_preflight_is_tried_again(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    warehouse.fill(2)
    tries = cut_while_preflight_reads(postgres_engine, times=1)
    assert warehouse.score().counts.scored == 2
    assert len(tries) >= 2


def test_a_connection_that_is_lost_in_preflight_again_and_again_leaves_the_task_its_retry(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "PATIENCE_S", 0.5)
    warehouse = Warehouse(postgres_engine)
    warehouse.create()
    cut_while_preflight_reads(postgres_engine, times=99)
    with pytest.raises(WarehouseUnavailableError, match="connection 'reviews' does not answer"):
        warehouse.prepare()


def test_a_sqlite_file_that_another_process_writes_is_busy_and_not_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "PATIENCE_S", 0.2)
    warehouse = Warehouse(make_engine(Address(make_engine(f"sqlite:///{tmp_path / 'db'}").url, {"timeout": 0.05})))
    warehouse.create()
    warehouse.fill(2)
    other = sqlite3.connect(tmp_path / "db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(WarehouseUnavailableError, match=r"connection 'reviews' is busy \(OperationalError SQLITE_BUSY"):
        warehouse.prepare()
    other.rollback()
    assert warehouse.score().counts.scored == 2


def slow(warehouse: Warehouse) -> None:
    """Turn the source into a view of two rows that take a second each."""
    sleep = "pg_sleep(1) IS NOT NULL" if warehouse.engine.dialect.name == "postgresql" else "sleep(1) = 0"
    warehouse.create()
    warehouse.fill(2)
    warehouse.prepare()
    warehouse.run("ALTER TABLE reviews RENAME TO stored")
    warehouse.run(f"CREATE VIEW reviews AS SELECT id, body FROM stored WHERE {sleep}")


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_statement_that_takes_longer_than_allowed_is_told_with_what_to_raise(
    kind: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(f"{kind}_engine")
    warehouse = Warehouse(engine)
    slow(warehouse)
    if kind == "postgres":
        warehouse.run(f"ALTER DATABASE {engine.url.database} SET statement_timeout = '300ms'")
        limited = make_engine(engine.url)
    else:
        limited = make_engine(Address(engine.url, {"init_command": "SET SESSION max_statement_time = 0.3"}))
    with pytest.raises(
        WarehouseUnavailableError, match="cancelled a statement at its time limit .*raise `statement_timeout`"
    ):
        Warehouse(limited, job=warehouse.job).prepare()


@pytest.mark.parametrize("grant", ["SELECT ON {}.seen", "SELECT (id, body) ON {}.reviews"])
def test_a_view_or_two_columns_are_enough_to_read_on_mariadb(mariadb_engine: Engine, grant: str) -> None:
    warehouse = Warehouse(mariadb_engine)
    warehouse.create(extra=", secret TEXT")
    warehouse.fill(3)
    warehouse.run("CREATE VIEW seen AS SELECT id, body FROM reviews")
    database = mariadb_engine.url.database
    user = f"reader_{str(database)[-12:]}"
    warehouse.run(f"CREATE USER {user}@'%'")
    try:
        warehouse.run(f"GRANT {grant.format(database)} TO {user}@'%'")
        reader = Warehouse(make_engine(mariadb_engine.url.set(username=user)), target=mariadb_engine)
        table = "seen" if "seen" in grant else "reviews"
        reader.job = warehouse.job.replace(source_table=table, target_conn_id="target")
        assert reader.score().counts.scored == 3
    finally:
        warehouse.run(f"DROP USER {user}@'%'")


def test_a_deadlock_on_postgresql_is_a_passing_error(postgres_engine: Engine) -> None:
    with postgres_engine.begin() as connection:
        connection.execute(text("CREATE TABLE locked AS SELECT n FROM generate_series(1, 2) n"))
    update = "UPDATE locked SET n = n WHERE n = {}"
    with pytest.raises(DBAPIError) as error, postgres_engine.connect() as one, postgres_engine.connect() as other:
        one.execute(text(update.format(1)))
        other.execute(text(update.format(2)))
        deadlock(one, other, update)
    assert describe(error.value) == "DeadlockDetected 40P01"
    assert fault_of(error.value) is Fault.BUSY


def deadlock(one: Any, other: Any, update: str) -> None:
    """Have two transactions wait for each other; PostgreSQL ends one of them."""
    with ThreadPoolExecutor(2) as threads:
        both = [
            threads.submit(one.execute, text(update.format(2))),
            threads.submit(other.execute, text(update.format(1))),
        ]
        failed = [each.exception() for each in both]
    raise next(each for each in failed if each is not None)


SQLSTATES = {
    Fault.AWAY: ("08000", "08006", "57P01", "57P02", "57P03", "25P03"),
    Fault.BUSY: ("40001", "40P01", "55P03", "53300"),
    Fault.FULL: ("53100",),
    Fault.TIMEOUT: ("57014",),
    Fault.LOGIN: ("28000", "28P01"),
    Fault.DATABASE: ("3D000",),
    Fault.RIGHTS: ("42501",),
    Fault.READ_ONLY: ("25006",),
    Fault.MISSING: ("42P01", "42703", "3F000"),
    Fault.DATA: ("22P02", "22021", "22003", "P0001", "21000", "54000"),
    Fault.POOLER: ("26000",),
    Fault.OTHER: ("42601", "23505", "0A000", "42883"),
}
NUMBERS = {
    Fault.AWAY: (2002, 2003, 2006, 2013, 1053, 1927),
    Fault.BUSY: (1040, 1205, 1213, 1020),
    Fault.FULL: (28, 1021, 1114),
    Fault.TIMEOUT: (1969, 3024, 1317),
    Fault.LOGIN: (1045, 1130, 1698, 3118),
    Fault.TLS: (2026, 3159),
    Fault.RIGHTS: (1044, 1142, 1143, 1356),
    Fault.READ_ONLY: (1290, 1792, 1836),
    Fault.MISSING: (1146, 1054, 1049),
    Fault.DATA: (1264, 1366, 1644, 1690, 3141),
    Fault.OTHER: (1062, 1064),
}


@pytest.mark.parametrize("code", [(each, fault) for fault, codes in SQLSTATES.items() for each in codes], ids=str)
def test_each_sqlstate_means_one_kind_of_fault(code: tuple[str, Fault]) -> None:
    original = psycopg.errors.lookup(code[0])("la réponse est en français")
    assert fault_of(OperationalError("SELECT 1", None, original)) is code[1]


@pytest.mark.parametrize("code", [(each, fault) for fault, codes in NUMBERS.items() for each in codes], ids=str)
def test_each_number_of_mysql_means_one_kind_of_fault(code: tuple[int, Fault]) -> None:
    original = pymysql.err.OperationalError(code[0], "la réponse est en français")
    assert fault_of(OperationalError("SELECT 1", None, original)) is code[1]


def test_an_unknown_database_of_mysql_is_one_at_login_and_a_schema_in_a_statement() -> None:
    original = pymysql.err.OperationalError(1049, "inconnue")
    assert fault_of(OperationalError(None, None, original)) is Fault.DATABASE


class FakeServer:
    """Not a PostgreSQL server: it answers that it has no TLS, asks for a clear password, and keeps what it is sent."""

    def __init__(self) -> None:
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            line, _ = self._listener.accept()
            with line, suppress(OSError):
                first = line.recv(1024)
                self.received += first
                if first[4:8] == b"\x04\xd2\x16\x2f":  # the question for TLS
                    line.sendall(b"N")
                    self.received += line.recv(1024)
                line.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")  # a password in clear text, please
                self.received += line.recv(1024)


def test_looking_for_why_tls_fails_sends_no_password_wherever_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    server = FakeServer()
    engine = make_engine(f"postgresql+psycopg://somebody@127.0.0.1:{server.port}/films?sslmode=verify-full")
    with pytest.raises(DBAPIError) as error, engine.connect():
        pass
    assert fault_of(error.value) is Fault.TLS
    assert b"hunter2" not in server.received
    assert b"somebody" not in server.received


def test_an_outage_that_is_over_when_it_is_looked_into_is_no_refused_login(postgres_engine: Engine) -> None:
    connect, calls = psycopg.connect, []

    def failing_once(*arguments: Any, **parameters: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise psycopg.OperationalError("the server closed the connection unexpectedly")
        return connect(*arguments, **parameters)

    warehouse = Warehouse(make_engine(postgres_engine.url))
    warehouse.create()
    warehouse.fill(2)
    warehouse.engine.dispose()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg, "connect", failing_once)
        assert warehouse.score().counts.scored == 2
    assert len(calls) > 1
