"""Tries the promises of a role on a database, one after the other, and tells which hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from review_scoring.conformance import ledger, publication, source
from review_scoring.conformance.role import Role
from review_scoring.conformance.trial import BrokenPromiseError, NotApplicableError, Scratch
from review_scoring.errors import ConfigurationError, PreflightError, ReviewScoringError
from review_scoring.warehouse.dialects import dialect_name
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.errors import describe
from review_scoring.warehouse.preflight_errors import explained
from review_scoring.warehouse.publishing.destinations import destination_of
from review_scoring.warehouse.scoring_tables import refuse_warehouse
from review_scoring.warehouse.scratch import PREFIX
from review_scoring.warehouse.scratch.ledger import ScratchLedger
from review_scoring.warehouse.source.columns import has_schema
from review_scoring.warehouse.source.cost import statements_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

Promise: TypeAlias = Callable[[Scratch], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a promise.

    :param promise: in words
    :param problem: what does not hold; None if it holds
    :param reason: why it does not apply to the database; None if it does
    :param statements: how many the database ran for it
    """

    promise: str
    problem: str | None
    seconds: float
    statements: int
    reason: str | None = None

    def __str__(self) -> str:
        done = f"{self.promise} ({self.seconds:.1f} s, {self.statements:,} statements)"
        if self.reason is not None:
            return f"n/a    {done}: {self.reason}"
        return f"ok     {done}" if self.problem is None else f"wrong  {done}: {self.problem}"


PROMISES: dict[Role, Sequence[Promise]] = {
    Role.SOURCE: source.PROMISES,
    Role.LEDGER: ledger.PROMISES,
    Role.PUBLISH: publication.PROMISES,
}


def refuse(engine: Engine, conn_id: str, role: Role) -> None:
    """Refuse a database that cannot have a role, without a statement.

    :raises ConfigurationError: for a warehouse as a ledger, and for SQLite as a destination of publications
    """
    if role is Role.LEDGER:
        refuse_warehouse(conn_id, dialect_name(engine))
    elif role is Role.PUBLISH:
        destination_of(engine, "check", "check", None)


def reach(engine: Engine, conn_id: str, schema: str | None) -> None:
    """Log in, and look for a schema: what is wrong with them is reported once, and not by each promise.

    :param schema: None to log in only
    :raises ConfigurationError: if the login is refused, or there is no such schema
    :raises WarehouseUnavailableError: if the database does not answer
    """
    with _explained(conn_id), engine.connect():
        if not has_schema(engine, schema):
            raise ConfigurationError(f"connection {conn_id!r} has no schema {schema!r}; create it, or name another one")


def check(engine: Engine, conn_id: str, role: Role, schema: str | None = None) -> Generator[Outcome, None, None]:
    """Try the promises of a role in scratch tables, and drop these.

    :param schema: the schema for them. A ledger needs one without scoring tables, and creates one if None; otherwise
        None is the default schema of the connection
    :raises ConfigurationError: if the database cannot have that role, or scratch tables cannot be created
    :raises WarehouseUnavailableError: if it does not answer
    """
    refuse(engine, conn_id, role)
    with _scratch(engine, conn_id, role, schema) as scratch:
        for promise in PROMISES[role]:
            started = time.monotonic()
            with statements_of(scratch.ledger.engine if role is Role.LEDGER else engine) as statements:
                problem, reason = _tried(promise, scratch, conn_id)
            yield Outcome(in_words(promise), problem, time.monotonic() - started, len(statements), reason)


def in_words(promise: Promise) -> str:
    """Return a promise as a sentence."""
    return promise.__name__.replace("_", " ")


def _tried(promise: Promise, scratch: Scratch, conn_id: str) -> tuple[str | None, str | None]:
    """Try a promise, and return what is wrong, and why it does not apply; None for each that is not so."""
    try:
        with _explained(conn_id):
            promise(scratch)
    except NotApplicableError as error:
        return None, str(error)
    except PreflightError as error:
        return "; ".join(error.problems), None
    except (BrokenPromiseError, ReviewScoringError) as error:
        return str(error), None
    except Exception as error:  # noqa: BLE001  the other promises are tried, whatever a client raises
        return f"it ended with {describe(error)}", None
    return None, None


@contextmanager
def _scratch(engine: Engine, conn_id: str, role: Role, schema: str | None) -> Iterator[Scratch]:
    """Create the scoring tables: in the database as a ledger, otherwise in a temporary file of SQLite."""
    with TemporaryDirectory(prefix=PREFIX) as folder:
        is_tried = role is Role.LEDGER
        in_file = partial(make_engine, f"sqlite:///{Path(folder) / 'ledger'}")
        scores = ScratchLedger(engine, schema) if is_tried else ScratchLedger(in_file(), None)
        with _explained(conn_id):
            scores.create()
        try:
            yield {
                Role.SOURCE: Scratch(conn_id, engine, schema, scores),
                Role.LEDGER: Scratch(conn_id, scores.engine, scores.schema, scores),
                Role.PUBLISH: Scratch(conn_id, scores.engine, None, scores, engine, schema),
            }[role]
        finally:
            with _explained(conn_id):
                scores.drop()


def _explained(conn_id: str) -> AbstractContextManager[None]:
    return explained(
        f"connection {conn_id!r}",
        cannot="cannot use scratch tables",
        otherwise="for this check, its user needs privileges to create tables, to read, write and drop them, and for a "
        "ledger to create a schema; --schema names an existing one",
    )
