"""The models in `scored_models`: a name and revision that has scored, to which rows refer by a number."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.transactions import JobTransactions


class ScoredModels(JobTransactions):
    """The models that have scored, of all jobs."""

    def id_of(self, model: str, revision: str) -> int:
        """Return the number of a model and revision, which is registered before its first review is scored."""
        models = self.job.tables.models

        def find(connection: Connection) -> int | None:
            same = (models.c.name == model, models.c.revision == revision)
            found: int | None = connection.scalar(select(models.c.id).where(*same))
            return found

        def register(connection: Connection) -> None:
            now = dialect_of(connection).now(connection)
            connection.execute(insert(models).values(name=model, revision=revision, first_used_at=now))

        known = self._read("looking up the model", find)
        if known is None:
            with suppress(IntegrityError):  # another run registered it at the same moment
                self._write("registering the model", register)
            known = self._read("looking up the model", find)
        assert known is not None
        return known
