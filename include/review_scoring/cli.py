"""The command line `review-scoring`: prints the DDL of the scoring tables, for a DBA."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from review_scoring.warehouse.migrate import ddl

DIALECTS = ("postgresql", "sqlite", "mariadb", "mysql")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; see `review-scoring --help`."""
    parser = argparse.ArgumentParser(prog="review-scoring", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("ddl", help="print the SQL that creates the scoring tables, for a DBA to run")
    command.add_argument("dialect", choices=DIALECTS)
    command.add_argument("--schema", help="schema of the tables (default: the default schema of the connection)")
    command.add_argument(
        "--from", dest="since", metavar="REVISION", help="revision of the existing tables, to print only the upgrade"
    )
    command.set_defaults(run=lambda given: print(ddl(given.dialect, given.schema, since=given.since)))
    given = parser.parse_args(arguments)
    given.run(given)
