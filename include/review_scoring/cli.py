"""The command line `review-scoring`: prints the DDL of the scoring tables, for a DBA, or downgrades the tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from review_scoring.errors import PreflightError, ReviewScoringError
from review_scoring.warehouse import migrate
from review_scoring.warehouse.preflight_errors import explained

DIALECTS = ("postgresql", "sqlite", "mariadb", "mysql")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; see `review-scoring --help`."""
    parser = argparse.ArgumentParser(prog="review-scoring", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ddl = commands.add_parser("ddl", help="print the SQL that creates the scoring tables, for a DBA to run")
    ddl.add_argument("dialect", choices=DIALECTS)
    ddl.add_argument(
        "--from", dest="since", metavar="REVISION", help="revision of the existing tables, to print only the upgrade"
    )
    ddl.set_defaults(run=lambda given: print(migrate.ddl(given.dialect, given.schema, since=given.since)))
    downgrade = commands.add_parser(
        "downgrade", help="bring the scoring tables back to the revision of an earlier version of the package"
    )
    downgrade.add_argument("conn_id", help="id of the Airflow Connection of the database with the tables")
    downgrade.add_argument("--to", required=True, metavar="REVISION", help="revision of the earlier version")
    downgrade.set_defaults(run=_downgrade)
    for command in (ddl, downgrade):
        command.add_argument("--schema", help="schema of the tables (default: the default schema of the connection)")
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except PreflightError as error:
        raise SystemExit(f"review-scoring: {'; '.join(error.problems)}") from None
    except ReviewScoringError as error:
        raise SystemExit(f"review-scoring: {error}") from None


def _downgrade(given: argparse.Namespace) -> None:
    from review_scoring.airflow.connections.engines import engine_of  # Airflow takes seconds to import

    needed = "its user has to be the owner of the scoring tables"
    with explained(f"connection {given.conn_id!r}", cannot="cannot change the scoring tables", otherwise=needed):
        migrate.downgrade(engine_of(given.conn_id), given.schema, given.to)
    print(
        f"the scoring tables of connection {given.conn_id!r} are at revision {given.to}: install the version of "
        "review-scoring that uses it before the next run, which would upgrade them again"
    )
