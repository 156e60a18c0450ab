"""A scratch table that scores are published to."""

from __future__ import annotations

from sqlalchemy import Table, delete, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import DropTable

from review_scoring.warehouse.dialects import dialect_name
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.publishing.destinations import Destination, publication_ddl


def published(destination: Destination) -> list[tuple[str, str, float]]:
    """Return the rows of the table: review id, label and score."""
    table = destination.table
    with destination.engine.connect() as connection:
        rows = connection.execute(select(table.c.review_id, table.c.label, table.c.score)).all()
    return [(row.review_id, row.label, row.score) for row in rows]


def create_as_a_dba(destination: Destination) -> None:
    """Create the table with the SQL that `review-scoring ddl --publish` prints."""
    table = destination.table
    with destination.engine.begin() as connection:
        for each in publication_ddl(dialect_name(connection), table.name, table.schema).split(";\n"):
            if each.strip():
                connection.execute(text(each.replace(":", "\\:")))


def lose_a_row(destination: Destination, review_id: str) -> None:
    """Delete a row, as somebody else may."""
    with destination.engine.begin() as connection:
        connection.execute(delete(destination.table).where(destination.table.c.review_id == review_id))


def can_still_apply(destination: Destination, staging: Table) -> bool:
    """Return whether a staging table of one row can be applied; False if it is missing.

    :raises sqlalchemy.exc.DBAPIError: for another error
    """
    try:
        destination.apply(staging, 1)
    except DBAPIError as error:
        if not lacks_tables(error):
            raise
        return False
    return True


def drop(destination: Destination) -> None:
    """Drop the table, and staging tables that are left."""
    destination.drop_all_staging()
    with destination.engine.begin() as connection:
        connection.execute(DropTable(destination.table, if_exists=True))
