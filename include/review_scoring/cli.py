"""The command line `review-scoring`: checks of job definitions and databases, DDL, downgrades, and erasures."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import Any
from uuid import uuid4

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.conformance.role import Role
from review_scoring.errors import ConfigurationError, ErasureRefusedError, PreflightError, ReviewScoringError, in_short
from review_scoring.warehouse import migrate
from review_scoring.warehouse.preflight_errors import explained
from review_scoring.warehouse.publishing.destinations import DESTINATIONS, publication_ddl
from review_scoring.warehouse.schema import LABELS_VIEW

DIALECTS = ("postgresql", "sqlite", "mariadb", "mysql")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; see `review-scoring --help`."""
    parser = argparse.ArgumentParser(prog="review-scoring", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ddl = commands.add_parser("ddl", help="print the SQL that creates the scoring tables, for a DBA to run")
    ddl.add_argument("dialect", choices=DIALECTS, nargs="?")
    ddl.add_argument(
        "--from", dest="since", metavar="REVISION", help="revision of the existing tables, to print only the upgrade"
    )
    ddl.add_argument(
        "--publish",
        choices=sorted(DESTINATIONS),
        metavar="DATABASE",
        help=f"print the table that scores are published to instead, for one of {', '.join(sorted(DESTINATIONS))}",
    )
    ddl.add_argument("--table", default=LABELS_VIEW, help="name of that table (default: %(default)s)")
    ddl.set_defaults(run=partial(_print_ddl, ddl))
    downgrade = commands.add_parser(
        "downgrade", help="bring the scoring tables back to the revision of an earlier version of the package"
    )
    downgrade.add_argument("conn_id", help="id of the Airflow Connection of the database with the tables")
    downgrade.add_argument("--to", required=True, metavar="REVISION", help="revision of the earlier version")
    downgrade.set_defaults(run=_downgrade)
    for command in (ddl, downgrade):
        command.add_argument("--schema", help="schema of the tables (default: the default schema of the connection)")
    _add_forget(commands)
    _add_jobs(commands)
    _add_check_connection(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except ReviewScoringError as error:
        raise SystemExit(f"review-scoring: {_in_one_line(error)}") from None


def _print_ddl(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if bool(given.publish) == bool(given.dialect):
        parser.error("name a database: as DIALECT for the scoring tables, or with --publish for a published table")
    if given.publish:
        print(publication_ddl(given.publish, given.table, given.schema), end="")
    else:
        print(migrate.ddl(given.dialect, given.schema, since=given.since))


def _add_jobs(commands: Any) -> None:
    jobs = commands.add_parser("jobs", help="the jobs that are defined").add_subparsers(
        required=True, metavar="COMMAND"
    )
    check = jobs.add_parser("check", help="check the definition of each job, without a database")
    check.add_argument(
        "--folder", type=Path, help="folder of job files (default: review_scoring_jobs in Airflow's DAG folder)"
    )
    check.set_defaults(run=_check_jobs)


def _check_jobs(given: argparse.Namespace) -> None:
    from review_scoring.airflow.dags.scoring import check_definition  # Airflow takes seconds to import
    from review_scoring.airflow.jobs import defined_jobs, no_jobs
    from review_scoring.airflow.variables import CONTEXT, has_metadata

    if not has_metadata():  # such as in a CI: Airflow would print a traceback for each Variable
        os.environ.setdefault(CONTEXT, "client")
    jobs = defined_jobs(given.folder)
    problems = [jobs.variable_problem] if jobs.variable_problem else []
    if not jobs and not problems:
        raise ConfigurationError(no_jobs(jobs.folder))
    for name in jobs:
        try:
            print(f"ok     {name}: {check_definition(jobs.definition(name))}")
        except ConfigurationError as error:
            problems.append(f"{name}: {error}")
    for problem in problems:
        print(f"wrong  {problem}")
    if problems:
        raise SystemExit(1)


def _add_check_connection(commands: Any) -> None:
    command = commands.add_parser(
        "check-connection", help="try in scratch tables, which are dropped, what a database has to do for this package"
    )
    command.add_argument("conn_id", help="id of the Airflow Connection of the database")
    command.add_argument(
        "--as",
        dest="role",
        choices=list(map(str, Role)),
        metavar="ROLE",
        help="`source` of reviews, `ledger` of the scores, or `publish` for a copy of them (default: all that it can)",
    )
    command.add_argument(
        "--schema",
        help="schema for the scratch tables; as a ledger, one without scoring tables (default: the default schema of "
        "the connection, and as a ledger a new one)",
    )
    command.set_defaults(run=_check_connection)


def _check_connection(given: argparse.Namespace) -> None:
    from review_scoring.airflow.connections.engines import engine_of  # Airflow takes seconds to import
    from review_scoring.conformance.suite import check, reach, refuse

    _read_metadata()
    engine = engine_of(given.conn_id)
    roles, broken = [], 0
    for role in [Role(given.role)] if given.role else list(Role):
        try:
            refuse(engine, given.conn_id, role)
            roles.append(role)
        except ConfigurationError as error:
            if given.role:
                raise
            print(f"{given.conn_id} as {role}: not possible; {_in_one_line(error)}")
    with _without_logs():
        reach(engine, given.conn_id, given.schema)
    for role in roles:
        print(f"{given.conn_id} as {role}:", flush=True)
        try:
            with _without_logs():  # of runs that are interrupted on purpose
                for found in check(engine, given.conn_id, role, given.schema):
                    broken += found.problem is not None
                    print(found, flush=True)
        except ReviewScoringError as error:
            if given.role:
                raise
            broken += 1
            print(f"wrong  {_in_one_line(error)}", flush=True)
    if broken:
        raise SystemExit(f"review-scoring: {broken} of the lines above are wrong")


def _read_metadata() -> None:
    """Have Airflow's SDK find Connections in the metadata database, as Airflow's own commands do."""
    from review_scoring.airflow.variables import CONTEXT

    os.environ.setdefault(CONTEXT, "server")


@contextmanager
def _without_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _in_one_line(error: ReviewScoringError) -> str:
    return "; ".join(error.problems) if isinstance(error, PreflightError) else str(error)


def _add_forget(commands: Any) -> None:
    command = commands.add_parser("forget", help="erase scores, rejects and benchmark texts of reviews, at once")
    command.add_argument("job", help="name of the job")
    command.add_argument("ids", nargs="*", metavar="ID", help="ids of the reviews")
    command.add_argument("--file", type=Path, help="a text file with one id per line; - for standard input")
    command.add_argument(
        "--even-if-in-source",
        action="store_true",
        help="erase reviews that the source still has, and that are scored again",
    )
    command.add_argument("--dry-run", action="store_true", help="count what would be erased, and erase nothing")
    command.set_defaults(run=_forget)


def _forget(given: argparse.Namespace) -> None:
    from review_scoring.airflow.connections.engines import (  # Airflow takes seconds to import
        engine_of,
        target_engine_of,
    )
    from review_scoring.airflow.jobs import job_named
    from review_scoring.run.forgetting import forget
    from review_scoring.run.recorded_job import open_recorded_job
    from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest

    _read_metadata()
    job = job_named(given.job)
    recorded = open_recorded_job(
        job,
        partial(engine_of, job.source_conn_id),
        partial(target_engine_of, job),
        StopFlag(),
        migrate_tables=False,
        dry_run=given.dry_run,
    )
    if recorded is None:
        raise ConfigurationError(f"job {job.name!r} has never been scored, so there is nothing to erase")
    request = ErasureRequest(ErasureReason.REQUESTED, _user(), f"review-scoring forget {uuid4()}")
    ids = [*given.ids, *_lines(given.file)]
    try:
        report = forget(recorded, ids, request, even_if_in_source=given.even_if_in_source, dry_run=given.dry_run)
    except ErasureRefusedError as error:
        print(*error.ids, sep="\n", file=sys.stderr)
        raise
    print(report.paragraph)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"user {os.getuid()}"


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of ids cannot be read: {in_short(error)}") from None
    return [line.removesuffix("\r") for line in text.split("\n")]  # an id may have other characters that end a line


def _downgrade(given: argparse.Namespace) -> None:
    from review_scoring.airflow.connections.engines import engine_of  # Airflow takes seconds to import

    _read_metadata()
    needed = "its user has to be the owner of the scoring tables"
    with explained(f"connection {given.conn_id!r}", cannot="cannot change the scoring tables", otherwise=needed):
        migrate.downgrade(engine_of(given.conn_id), given.schema, given.to)
    print(
        f"the scoring tables of connection {given.conn_id!r} are at revision {given.to}: install the version of "
        "review-scoring that uses it before the next run, which would upgrade them again"
    )
