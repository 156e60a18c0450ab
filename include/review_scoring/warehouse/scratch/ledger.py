"""Scratch tables for scores, and what a database has to do for them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import Engine, MetaData, Table, column, delete, func, insert, inspect, select, table, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateSchema, DropSchema

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse import migrate
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.publishing.published_table import COLUMNS
from review_scoring.warehouse.schema import LABELS_VIEW, VERSION_TABLE, Tables, tables
from review_scoring.warehouse.scratch import scratch_name
from review_scoring.warehouse.source.columns import table_names

PAST = datetime(2020, 1, 1, tzinfo=UTC)


class ScratchLedger:
    """The scoring tables in a schema of their own; on SQLite, in a file of its own beside the database.

    :param schema: an existing one, without scoring tables; one is created if None. SQLite has none
    """

    def __init__(self, engine: Engine, schema: str | None) -> None:
        self.engine = engine
        self.schema: str | None = schema or scratch_name()
        self._is_given = bool(schema)
        self._file: str | None = None
        if engine.dialect.name == "sqlite":
            self._file = f"{engine.url.database}.{scratch_name()}"
            self.engine, self.schema = make_engine(engine.url.set(database=self._file)), None

    @property
    def tables(self) -> Tables:
        """The tables."""
        return tables(self.schema)

    def create(self) -> None:
        """Create schema and tables.

        :raises ConfigurationError: if the schema that was given does not exist, or has scoring tables
        """
        if self._is_given and self._file is None:
            self._check_schema()
        try:
            if not self._is_given and self._file is None:
                with self.engine.begin() as connection:
                    connection.execute(CreateSchema(str(self.schema)))
            migrate.upgrade(self.engine, self.schema)
            migrate.probe_rights(self.engine, self.schema)
        except BaseException:
            with suppress(DBAPIError):
                self.drop()
            raise

    def drop(self) -> None:
        """Drop what :meth:`create` has created."""
        if self._file is not None:
            self.engine.dispose()
            for log in ("", "-journal", "-wal", "-shm"):
                Path(f"{self._file}{log}").unlink(missing_ok=True)
        elif self._is_given:
            self._drop_tables()
        else:
            with self.engine.begin() as connection:
                cascades = self.engine.dialect.name not in {"mysql", "mariadb"}
                connection.execute(DropSchema(str(self.schema), cascade=cascades))

    def scores(self, job: str) -> dict[str, tuple[str, float]]:
        """Return what the view `review_labels` has of a job: review id -> label and score."""
        view = table(LABELS_VIEW, *map(column, COLUMNS), schema=self.schema)
        with self.engine.connect() as connection:
            rows = connection.execute(select(view.c.review_id, view.c.label, view.c.score).where(view.c.job == job))
            return {row.review_id: (row.label, row.score) for row in rows}

    def rejects(self, job: str) -> dict[str, str]:
        """Return the rejects of a job: review id -> reason."""
        jobs, rejects = self.tables.jobs, self.tables.rejects
        mine = select(rejects.c.review_id, rejects.c.reason).join(jobs, jobs.c.id == rejects.c.job_id)
        with self.engine.connect() as connection:
            return {row.review_id: row.reason for row in connection.execute(mine.where(jobs.c.name == job))}

    def expire_leases(self) -> None:
        """Let every task that scores seem dead."""
        with writing(self.engine).begin() as connection:
            connection.execute(update(self.tables.shards).values(lease_until=PAST))

    def refuses_a_second_score(self) -> bool:
        """Return whether the database refuses a copy of a row of scores."""
        scores = self.tables.scores
        with writing(self.engine).connect() as connection:
            copied = select(scores).limit(1)
            try:
                connection.execute(insert(scores).from_select(list(scores.c.keys()), copied))
            except IntegrityError:
                return True
            finally:
                connection.rollback()
        return False

    def undoes_what_is_rolled_back(self) -> bool:
        """Return whether rows that a transaction has deleted are there again after its rollback."""
        scores = self.tables.scores
        count = select(func.count()).select_from(scores)
        with writing(self.engine).connect() as connection:
            before = connection.scalar(count)
            connection.execute(delete(scores))
            connection.rollback()
            return bool(before) and connection.scalar(count) == before

    def locks_rows(self, waits_s: float = 0.5) -> bool | None:
        """Return whether a transaction waits for a row that another one has locked; None if only one can write."""
        if dialect_of(self.engine).single_writer:
            return None
        jobs, has_row = self.tables.jobs, Event()
        row = dialect_of(self.engine).locked(select(jobs.c.id).order_by(jobs.c.id).limit(1))

        def lock() -> None:
            with writing(self.engine).begin() as connection:
                connection.execute(row)
                has_row.set()

        other = Thread(target=lock, daemon=True)
        with writing(self.engine).begin() as connection:
            connection.execute(row)
            other.start()
            waited = not has_row.wait(waits_s)
        other.join()
        return waited and has_row.is_set()

    def _check_schema(self) -> None:
        if not inspect(self.engine).has_schema(str(self.schema)):
            raise ConfigurationError(f"there is no schema {self.schema!r}; create it, or leave it out for a new one")
        ours = {VERSION_TABLE, LABELS_VIEW, *(each.name for each in self.tables.metadata.tables.values())}
        if found := ours & set(table_names(self.engine, self.schema)):
            raise ConfigurationError(
                f"schema {self.schema!r} has {', '.join(sorted(found))}, which the check would drop at its end; name "
                "an empty one"
            )

    def _drop_tables(self) -> None:
        quote = self.engine.dialect.identifier_preparer.format_table
        with self.engine.begin() as connection:
            view = quote(table(LABELS_VIEW, schema=self.schema)).replace(":", "\\:")
            connection.execute(text(f"DROP VIEW IF EXISTS {view}"))
            self.tables.metadata.drop_all(connection)
            Table(VERSION_TABLE, MetaData(), schema=self.schema).drop(connection, checkfirst=True)
