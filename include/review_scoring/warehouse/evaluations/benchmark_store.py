"""The benchmark store: writes benchmark sets, evaluations and promotions, each in one transaction that is retried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.request import RunKey
from review_scoring.warehouse import schema as warehouse_schema
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations import old_predictions, past_evaluations, promotions, stored_sets
from review_scoring.warehouse.evaluations.new_evaluation import write_evaluation
from review_scoring.warehouse.evaluations.promotions import Promotion
from review_scoring.warehouse.evaluations.records import (
    Evaluation,
    EvaluationDetails,
    LabelledPrediction,
    LabelledReview,
    StoredEvaluation,
    StoredSet,
)
from review_scoring.warehouse.retry import with_retries
from review_scoring.warehouse.schema import Tables

T = TypeVar("T")


@dataclass(frozen=True)
class BenchmarkStore:
    """The benchmark tables in one schema of a job's warehouse. Methods are retried while an error may pass.

    :param stop: ends the waiting for a retry
    """

    engine: Engine
    schema: str | None = None
    stop: StopFlag = field(default_factory=StopFlag)

    @property
    def tables(self) -> Tables:
        """The tables of the schema."""
        return warehouse_schema.tables(self.schema)

    def keep_set(
        self,
        *,
        name: str,
        content_hash: str,
        source: str,
        sample_of: str | None,
        reviews: Sequence[LabelledReview],
        counts: Mapping[str, int],
    ) -> StoredSet:
        """Write a benchmark set, unless the warehouse has this content under this name already."""
        described = {"name": name, "content_hash": content_hash, "source": source, "sample_of": sample_of}

        def write(connection: Connection) -> StoredSet:
            # Two loads of one set at the same time would both insert it.
            with dialect_of(connection).exclusive(connection, self.schema):
                return stored_sets.write_set(
                    connection, self.tables, described=described, reviews=reviews, counts=counts
                )

        return self._written(write, "loading the benchmark set")

    def newest_set(self, name: str, source: str) -> StoredSet | None:
        """Return the set that was loaded last under a name; None if it came from another source."""
        return self._read(
            lambda c: stored_sets.newest_set(c, self.tables, name=name, source=source), "looking up the benchmark set"
        )

    def find_set(self, set_id: int) -> StoredSet:
        """Return the benchmark set of an id."""
        return self._read(lambda c: stored_sets.find_set(c, self.tables, set_id=set_id), "looking up the benchmark set")

    def reviews(self, set_id: int) -> list[LabelledReview]:
        """Return the reviews of a benchmark set in the order of their ids."""
        return self._read(
            lambda c: stored_sets.reviews_of_set(c, self.tables, set_id=set_id), "reading the benchmark set"
        )

    def now(self) -> datetime:
        """Return the database's own time."""
        return self._read(lambda c: dialect_of(c).now(c), "reading the database's time")

    def previous(
        self, *, set_id: int, row_limit: int | None, model: str, revision: str, key: RunKey
    ) -> StoredEvaluation | None:
        """Return the evaluation to compare a new one with; see :func:`past_evaluations.previous_evaluation`."""
        same: Mapping[str, Any] = {"set_id": set_id, "row_limit": row_limit, "model": model, "revision": revision}
        return self._read(
            lambda c: past_evaluations.previous_evaluation(c, self.tables, **same, key=key),
            "looking up the previous evaluation",
        )

    def predictions(self, evaluation: int) -> dict[str, LabelledPrediction]:
        """Return the predictions of an evaluation by review id."""
        return self._read(
            lambda c: past_evaluations.predictions_of(c, self.tables, evaluation=evaluation),
            "reading the predictions of the previous evaluation",
        )

    def record(
        self,
        key: RunKey,
        evaluation: Evaluation,
        details: EvaluationDetails,
        predictions: Sequence[LabelledPrediction],
    ) -> int:
        """Write an evaluation, and return its id; see :func:`new_evaluation.write_evaluation`."""
        # Without the retries, a lost connection would cost an hour of the device's work.
        return self._written(
            lambda c: write_evaluation(
                c, self.tables, key=key, evaluation=evaluation, details=details, predictions=predictions
            ),
            "recording the evaluation",
        )

    def promote(self, job_id: int, promotion: Promotion) -> Promotion:
        """Record a promotion, and return what is recorded; see :func:`promotions.record_promotion`."""
        return self._written(
            lambda c: promotions.record_promotion(c, self.tables, job_id=job_id, promotion=promotion),
            "recording the promotion",
        )

    def remove_old_predictions(self, days: int, *, dry_run: bool = False) -> int:
        """Remove the predictions of old evaluations, and return how many; see :mod:`old_predictions`.

        Each transaction removes some of them, so it may be cancelled and called again at any time.

        :param days: how long ago an evaluation has ended, by the database's clock
        :param dry_run: count, and remove nothing
        """

        def find(connection: Connection) -> Mapping[int, int]:
            before = dialect_of(connection).now(connection) - timedelta(days=days)
            return old_predictions.old_predictions(connection, self.tables, before=before)

        found = self._read(find, "looking for old predictions")
        if dry_run:
            return sum(found.values())
        for each in found:
            more = True
            while more:
                self.stop.check()
                more = self._written(partial(self._remove_some, evaluation=each), "removing old predictions")
        left = self._read(
            lambda c: old_predictions.count_predictions(c, self.tables, evaluations=found), "counting what is left"
        )
        return sum(found.values()) - sum(left.values())

    def _remove_some(self, connection: Connection, *, evaluation: int) -> bool:
        return old_predictions.remove_some(connection, self.tables, evaluation=evaluation)

    def _read(self, work: Callable[[Connection], T], what: str) -> T:
        return self._transaction(self.engine, work, what)

    def _written(self, work: Callable[[Connection], T], what: str) -> T:
        return self._transaction(writing(self.engine), work, what)

    def _transaction(self, engine: Engine, work: Callable[[Connection], T], what: str) -> T:
        def once() -> T:
            with engine.begin() as connection:
                return work(connection)

        return with_retries(once, what=what, stop=self.stop)
