"""What the tests share: real databases, a stub in place of the model, and how a missing service is reported."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, make_url, text

from review_scoring.airflow.variables import CONTEXT
from review_scoring.warehouse.engine import make_engine
from tests.airflow.runner import AirflowHome
from tests.requirements import not_here
from tests.stubs import Warehouse

T = TypeVar("T", bound=Callable[..., object])
ROOT = Path(__file__).parent.parent
POSTGRES = "REVIEW_SCORING_TEST_POSTGRES"
MARIADB = "REVIEW_SCORING_TEST_MARIADB"
ALLOCINE = "REVIEW_SCORING_TEST_ALLOCINE"
PROVE = os.environ.get("REVIEW_SCORING_PROVE") == "1"
os.environ[CONTEXT] = "client"  # no test of this process looks for Variables in a metadata database


LONG_FORM = (pytest.mark.prove, pytest.mark.skipif(not PROVE, reason="a long check: make prove"))
"""Marks of parameters of a test that only `make prove` runs."""


def long_form(test: T) -> T:
    """Mark a test that only `make prove` runs."""
    for mark in LONG_FORM:
        test = mark(test)
    return test


def seeds(short: int, long: int) -> list[Any]:
    """Return the seeds of a random test: the first `short` of them always, and up to `long` with `make prove`."""
    return [*range(short), *(pytest.param(n, marks=LONG_FORM) for n in range(short, long))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a service or data from outside, so that CI can run just those once more.

    The modules that start all of Airflow, or dbt, take minutes each, and come first: at the end, one would run alone.
    """
    items.sort(key=lambda item: {"server", "deployment", "dbt"}.isdisjoint(getattr(item, "fixturenames", ())))
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        params = getattr(getattr(item, "callspec", None), "params", {})
        services = {"postgres_engine", "mariadb_engine", "allocine", "dbt", "french"}
        if names & services or any(word in str(params) for word in ("mariadb", "postgres")):
            item.add_marker(pytest.mark.services)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skipping once."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database in a file."""
    engine = make_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine() -> Iterator[Engine]:
    """An empty PostgreSQL database of its own, dropped afterwards."""
    with temporary_postgres() as engine:
        yield engine


@pytest.fixture
def mariadb_engine() -> Iterator[Engine]:
    """An empty MariaDB database of its own, dropped afterwards."""
    with temporary_mariadb() as engine:
        yield engine


@pytest.fixture
def duckdb_engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty DuckDB database in a file."""
    if {"exactly_once", "airflow"} & set(request.path.parts):
        pytest.skip("one process at a time opens a DuckDB file: tests of several processes leave it out")
    if find_spec("duckdb_sqlalchemy") is None:
        not_here("duckdb-sqlalchemy is not installed; the extra `duckdb` brings it")
    engine = make_engine(f"duckdb+duckdb_sqlalchemy:///{tmp_path / 'warehouse.duckdb'}")
    yield engine
    engine.dispose()


ENGINES = {
    "sqlite": "sqlite_engine",
    "postgresql": "postgres_engine",
    "mariadb": "mariadb_engine",
    "duckdb": "duckdb_engine",
}
"""Kind of database -> the fixture with an empty one."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty database, once of each kind."""
    return engine_of_kind(request)


def engine_of_kind(request: pytest.FixtureRequest) -> Engine:
    """Return an empty database of the kind that a fixture is asked for."""
    found: Engine = request.getfixturevalue(ENGINES[request.param])
    return found


@pytest.fixture
def warehouse(engine: Engine) -> Warehouse:
    """A table of reviews and a ledger in the same database."""
    return Warehouse(engine)


@pytest.fixture
def allocine() -> Path:
    """The folder with real AlloCiné rows, which are not part of the project; `none` for those who do not have it."""
    given = os.environ.get(ALLOCINE)
    if given == "none":
        pytest.skip(f"{ALLOCINE} is none: the AlloCiné sample is not available")
    folder = Path(given or ROOT.parent / "shared" / "data")
    if not (folder / "allocine_test_sample.csv").is_file():
        not_here(f"the AlloCiné sample is not in {folder}; {ALLOCINE} names its folder")
    return folder


class _Temporary:
    """A database that exists while the context does."""

    setting: str
    example: str
    drop: str

    def __enter__(self) -> Engine:
        address = os.environ.get(self.setting)
        if not address:
            not_here(f"{self.setting} names no server, such as {self.example}")
            raise AssertionError
        self._admin = make_engine(address).execution_options(isolation_level="AUTOCOMMIT")
        self._name = f"review_scoring_{uuid.uuid4().hex[:12]}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {self._name}"))
        self.engine = make_engine(make_url(address).set(database=self._name))
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        with self._admin.connect() as connection:
            connection.execute(text(self.drop.format(self._name)))
        self._admin.dispose()


class temporary_postgres(_Temporary):  # noqa: N801 used as a context manager
    """A PostgreSQL database."""

    setting, example = POSTGRES, "postgresql+psycopg://postgres@127.0.0.1/postgres"
    drop = "DROP DATABASE {} WITH (FORCE)"


class temporary_mariadb(_Temporary):  # noqa: N801 used as a context manager
    """A MariaDB database; with MySQL's driver, as an Airflow Connection of type MySQL has it."""

    setting, example = MARIADB, "mysql+pymysql://root@127.0.0.1"
    drop = "DROP DATABASE {}"


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowHome]:
    """An Airflow of its own, ready to run DAGs."""
    home = AirflowHome(tmp_path_factory.mktemp("airflow"))
    home.migrate()
    yield home
    home.close()
