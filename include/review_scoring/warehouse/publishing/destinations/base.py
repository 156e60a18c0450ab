"""A destination in standard SQL: creates and checks the table, loads staging tables, and applies them atomically."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Subquery,
    Table,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    inspect,
    literal,
    select,
    true,
)
from sqlalchemy.schema import CreateTable, DropTable, SetColumnComment, SetTableComment

from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.publishing.merge import Merge
from review_scoring.warehouse.publishing.published_table import (
    COLUMNS,
    KEY,
    VALUES,
    published_table,
    staging_prefix,
    staging_table,
)

HASHES_PER_STATEMENT = 5_000

REMOVALS = 0
"""The position of reviews that the database itself finds and removes: what is loaded counts more."""

Rows = Sequence[tuple[Any, ...]]
"""Rows of a staging table, with all of its columns in their order."""


class Destination:
    """A table of another database that the scores of a job are published to.

    Each attempt of a publication loads a staging table of its own. Before it does so, it drops those of earlier
    attempts, so a process that was given up for dead and goes on fails at its next statement: nothing old is written
    over something new.

    :param engine: of the database with the table
    :param job: the name of the job
    """

    has_key = True
    """Whether the database enforces a primary key."""

    stages_key = False
    """Whether a staging table has a primary key, for joins that would otherwise compare all rows with all."""

    merges = True
    """Whether one MERGE applies a staging table; otherwise DELETE and INSERT do in one transaction."""

    def __init__(self, engine: Engine, job: str, table: str, schema: str | None) -> None:
        self.engine = engine
        self.job = job
        self.table = published_table(table, schema, has_key=self.has_key)
        self._prefix = staging_prefix(job, table)

    @property
    def name(self) -> str:
        """The name of the table in messages."""
        return f"{self.table.schema}.{self.table.name}" if self.table.schema else self.table.name

    def exists(self) -> bool:
        """Return whether the table exists.

        :raises ConfigurationError: if it lacks a column, or is a view
        """
        inspector = inspect(self.engine)
        if not inspector.has_table(self.table.name, self.table.schema):
            return False
        found = {each["name"].lower() for each in inspector.get_columns(self.table.name, self.table.schema)}
        if missing := [name for name in COLUMNS if name not in found]:
            raise ConfigurationError(
                f"table {self.name!r} has no column {missing[0]!r}, so scores cannot be published to it; it needs the "
                f"columns {', '.join(COLUMNS)}: publish to another table, or to one that was made as `review-scoring "
                "ddl --publish` prints it"
            )
        views = inspector.get_view_names(self.table.schema)
        if self.table.name in {*views, *(name.lower() for name in views)}:
            raise ConfigurationError(
                f"{self.name!r} is a view, so scores cannot be published to it; publish to a table of another name"
            )
        return True

    def create(self) -> None:
        """Create the table, with its comments."""
        with self.engine.begin() as connection:
            self.table.create(connection, checkfirst=True)

    def ddl(self) -> str:
        """Return the statements that create the table."""
        dialect = self.engine.dialect
        statements: list[Any] = [CreateTable(self.table)]
        if dialect.supports_comments and not dialect.inline_comments:
            statements += [SetTableComment(self.table), *(SetColumnComment(each) for each in self.table.columns)]
        return "".join(f"{str(each.compile(dialect=dialect)).strip()};\n\n" for each in statements)

    def count(self) -> int:
        """Return how many rows of the job the table has."""
        with self.engine.connect() as connection:
            mine = select(func.count()).select_from(self.table).where(self.table.c.job == self.job)
            return int(connection.execute(mine).scalar_one())

    def begin_staging(self, attempt: int) -> Table:
        """Drop the staging tables of earlier attempts, and create that of this one."""
        staging = self._staging(attempt)
        with self.engine.begin() as connection:
            self._drop_all_staging(connection)
            self._create_staging(connection, staging)
        return staging

    def drop_all_staging(self) -> None:
        """Drop the staging tables of all attempts."""
        with self.engine.begin() as connection:
            self._drop_all_staging(connection)

    def load(self, staging: Table, rows: Sequence[Row[Any]], *, after: int) -> None:
        """Load scores into a staging table.

        :param rows: with the columns of the table but `job`, in their order
        :param after: how many rows were loaded before
        """
        first = REMOVALS + after + 1
        self._load_rows(staging, [(self.job, *row, False, first + n) for n, row in enumerate(rows)])

    def load_removed(self, staging: Table, ids: Sequence[str], *, after: int) -> None:
        """Load ids of reviews whose rows are removed, as :meth:`load` does."""
        nothing, first = (None,) * len(VALUES), REMOVALS + after + 1
        self._load_rows(staging, [(self.job, id_, *nothing, True, first + n) for n, id_ in enumerate(ids)])

    def remove_hashed(self, staging: Table, hashes: Sequence[bytes]) -> None:
        """Stage the removal of the reviews with these hashes of their ids, as `review_hash` makes them."""
        hexadecimal = self._sha256(self.table.c.review_id)
        for start in range(0, len(hashes), HASHES_PER_STATEMENT):
            part = [each.hex() for each in hashes[start : start + HASHES_PER_STATEMENT]]
            one_of_them = dialect_of(self.engine).in_values(hexadecimal, part)
            self._stage_removal(staging, self._mine().where(one_of_them))

    def remove_others(self, staging: Table) -> None:
        """Stage the removal of all reviews of the job that are not staged."""
        is_staged = exists().where(*(staging.c[each] == self.table.c[each] for each in KEY))
        self._stage_removal(staging, self._mine().where(~is_staged))

    def apply(self, staging: Table, loaded: int) -> None:
        """Bring the table to what was staged: readers see all of it, or nothing.

        :param loaded: how many rows were loaded
        :raises WarehouseUnavailableError: if the staging table does not have them any more
        """
        staged = _newest(staging)
        with self.engine.begin() as connection:
            rows = select(func.count()).select_from(staging).where(staging.c.position > REMOVALS)
            if (found := int(connection.execute(rows).scalar_one())) != loaded:
                raise WarehouseUnavailableError(
                    f"the staging table of {self.name!r} has {found:,} of the {loaded:,} rows that were loaded; "
                    "nothing was published, and the next attempt loads them again"
                )
            if self.merges:
                connection.execute(Merge(self.table, staged))
                return
            # A join of both tables: MariaDB would look up each row of the table in a subquery.
            connection.execute(delete(self.table).where(*(staging.c[each] == self.table.c[each] for each in KEY)))
            written = select(*(staged.c[each] for each in COLUMNS)).where(~staged.c.is_removed)
            connection.execute(insert(self.table).from_select(list(COLUMNS), written))

    def drop_staging(self, staging: Table) -> None:
        """Drop a staging table."""
        with self.engine.begin() as connection:
            connection.execute(DropTable(staging, if_exists=True))

    def _drop_all_staging(self, connection: Connection) -> None:
        names = inspect(connection).get_table_names(schema=self.table.schema)
        for name in (each.lower() for each in names):
            if name.startswith(self._prefix):
                earlier = self._staging(int(name.removeprefix(self._prefix)))
                connection.execute(DropTable(earlier, if_exists=True))

    def _staging(self, attempt: int) -> Table:
        return staging_table(self._prefix, attempt, self.table.schema, has_key=self.stages_key)

    def _load_rows(self, staging: Table, rows: Rows) -> None:
        if rows:
            with self.engine.begin() as connection:
                self._load(connection, staging, rows)

    def _create_staging(self, connection: Connection, staging: Table) -> None:
        staging.create(connection)

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        connection.execute(insert(staging), as_dicts(staging, rows))

    def _sha256(self, column: Column[str]) -> ColumnElement[str]:
        """Return the SHA-256 of a text in UTF-8, in lower-case hexadecimal digits."""
        return func.sha2(column, 256, type_=Text)

    def _mine(self) -> Select[Any]:
        return select(self.table.c.review_id).where(self.table.c.job == self.job)

    def _stage_removal(self, staging: Table, ids: Select[Any]) -> None:
        found = ids.subquery()
        position = cast(literal(REMOVALS), BigInteger)
        rows = select(literal(self.job, staging.c.job.type), found.c.review_id, true(), position)
        with self.engine.begin() as connection:
            columns = ["job", "review_id", "is_removed", "position"]
            connection.execute(insert(staging).from_select(columns, rows, include_defaults=False))


def _newest(staging: Table) -> Subquery:
    """Return the staged rows, of each review the one that was loaded last."""
    recency = func.row_number().over(partition_by=[staging.c[each] for each in KEY], order_by=staging.c.position.desc())
    ranked = select(staging, recency.label("recency")).subquery("ranked")
    columns = [ranked.c[each] for each in (*COLUMNS, "is_removed")]
    return select(*columns).where(ranked.c.recency == 1).subquery("staged")


def as_dicts(staging: Table, rows: Rows) -> list[dict[str, Any]]:
    """Return rows by the names of their columns."""
    names = staging.columns.keys()
    return [dict(zip(names, row, strict=True)) for row in rows]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: a time as text, in UTC and without a zone."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() if isinstance(value, datetime) else value
