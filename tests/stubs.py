"""A stand-in for the model, and a small warehouse around a database."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, func, select, text

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.conformance import stand_in
from review_scoring.job import Order, Rescore, ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.request import EVERYTHING, Budget, KeyRange, RunKey, RunRequest, Selection, TimeRange
from review_scoring.reviews import Prediction, Reject, RejectReason
from review_scoring.run.loop import score_run, score_shard
from review_scoring.run.preflight import PreparedJob, Resources, preflight
from review_scoring.run.report import RunReport
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.schema import Tables, tables
from review_scoring.warehouse.selection.shards import Shard

MODEL = ModelFolder("stub", "0" * 64, Path(), ("neg", "pos"), 512)


def asked(
    key: RunKey,
    *,
    model: ModelFolder = MODEL,
    rescore: Rescore = Rescore.NOTHING,
    keys: KeyRange = EVERYTHING,
    scored: TimeRange | None = None,
    reject_reason: RejectReason | None = None,
    order: Order = Order.OLDEST,
    start_after: int | str | None = None,
    limit: int | None = None,
    minutes: int | None = None,
    **options: Any,
) -> RunRequest:
    """Return a request for a run, by default for all new reviews."""
    return RunRequest(
        key=key,
        model=model.name,
        revision=model.revision,
        selection=Selection(
            rescore=rescore,
            reject_reason=reject_reason,
            keys=keys,
            scored=scored,
            order=order,
            start_after=start_after,
        ),
        budget=Budget(reviews=limit, minutes=minutes),
        **options,
    )


predicted = stand_in.predicted
"""What the stub says of a text."""


@dataclass
class StubClassifier(stand_in.StandIn):
    """The stand-in of the package, which counts how often it classifies each text."""

    device: object = "stub"
    calls: list[str] = field(default_factory=list)
    on_prepare: Callable[[Sequence[str]], None] = lambda texts: None

    def prepare(self, texts: Sequence[str], *, between_slices: Callable[[], None] = lambda: None) -> Sequence[str]:
        """Leave the texts as they are."""
        self.on_prepare(texts)
        return super().prepare(texts, between_slices=between_slices)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the texts have."""
        return sum(self.token_counts(texts))

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = lambda done: None
    ) -> list[Prediction | Reject]:
        """Return one prediction for each text."""

        def count(done: int) -> None:
            self.calls += texts
            between_batches(done)

        return super().classify(texts, between_batches=count)


@dataclass
class Warehouse:
    """One database with a source table `reviews (id, body, updated_at)` and the project's own tables."""

    engine: Engine
    target: Engine | None = None
    classifier: StubClassifier = field(default_factory=StubClassifier)
    stop: StopFlag = field(default_factory=StopFlag)
    job: ScoringJob = field(
        default_factory=lambda: ScoringJob(
            name="films", source_conn_id="reviews", source_table="reviews", text_column="body"
        )
    )

    @property
    def tables(self) -> Tables:
        """The project's tables."""
        return tables(self.job.target_schema)

    def create(self, id_type: str = "INTEGER PRIMARY KEY", *, extra: str = "") -> None:
        """Create the source table."""
        body = "TEXT"
        if self.engine.dialect.name == "mysql":  # whose TEXT is 64 KB and no key, and whose collations are caseless
            if "COLLATE" not in id_type:
                id_type = id_type.replace("TEXT", "VARCHAR(400)")
                id_type = re.sub(r"VARCHAR\(\d+\)", r"\g<0> COLLATE utf8mb4_nopad_bin", id_type)
            body = "LONGTEXT"
        self.run(f"CREATE TABLE reviews (id {id_type}, body {body} {extra})")

    def insert(self, *rows: tuple[object, object]) -> None:
        """Insert (id, text) rows into the source."""
        values = [{"id": str(id_) if isinstance(id_, UUID) else id_, "body": body} for id_, body in rows]
        with writing(self.engine).begin() as connection:
            connection.execute(text("INSERT INTO reviews (id, body) VALUES (:id, :body)"), values)

    def fill(self, count: int, first: int = 1) -> None:
        """Insert reviews with the ids first, first + 1, …"""
        self.insert(*((n, f"review number {n} " + "mot " * (n % 7)) for n in range(first, first + count)))

    def run(self, statement: str, **values: object) -> Any:
        """Run one statement of SQL, written by a test, and return its rows if it has any."""
        with writing(self.engine).begin() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None

    def prepare(self, **options: Any) -> PreparedJob:
        """Do the preflight of a new run."""
        self.stop = StopFlag()
        target = self.target or self.engine
        return preflight(
            self.job,
            Resources(source=lambda: self.engine, target=lambda: target, model=lambda: MODEL),
            self.stop,
            **options,
        )

    def score(
        self,
        run_id: str = "night 1",
        rescore: Rescore = Rescore.NOTHING,
        shard: Shard | None = None,
        prepared: PreparedJob | None = None,
        **options: Any,
    ) -> RunReport:
        """Score what waits with the stub, or one shard of it, which is then named by `map_index`."""
        key = RunKey(options.pop("dag_id", "dag"), "score", run_id, options.pop("map_index", -1))
        request = asked(key, rescore=rescore, **options)
        prepared = prepared or self.prepare()
        if shard is None:
            return score_run(prepared, request, lambda: self.classifier, self.stop)
        return score_shard(prepared, request, shard, lambda: self.classifier, self.stop)

    def runs(self) -> list[Any]:
        """Return the rows of `scoring_runs` in their order."""
        with (self.target or self.engine).connect() as connection:
            return list(connection.execute(select(self.tables.runs).order_by(self.tables.runs.c.id)).all())

    def shards(self) -> list[Any]:
        """Return the rows of `scoring_shards` in their order, each with its run's task and what it was asked to do."""
        runs, shards = self.tables.runs, self.tables.shards
        of_run = (runs.c[name] for name in ("dag_id", "task_id", "dag_run_id", "rescore", "max_reviews"))
        rows = select(shards, *of_run).join(runs, runs.c.id == shards.c.run_id).order_by(shards.c.id)
        with (self.target or self.engine).connect() as connection:
            return list(connection.execute(rows).all())

    def scores(self) -> dict[str, Any]:
        """Return the rows of `review_scores` by review id, with the names of their models."""
        return self._by_id("scores")

    def rejects(self) -> dict[str, Any]:
        """Return the rows of `review_rejects` by review id, with the names of their models."""
        return self._by_id("rejects")

    def contents(self) -> tuple[list[Any], list[Any]]:
        """Return what promise 1 compares: scores and rejects without times and run ids, in order."""
        scores, rejects = self.tables.scores, self.tables.rejects
        with (self.target or self.engine).connect() as connection:
            return (
                _all(connection, scores, {"scored_at", "shard_id"}),
                _all(connection, rejects, {"first_seen", "shard_id", "attempts"}),
            )

    def _by_id(self, name: str) -> dict[str, Any]:
        table, models = getattr(self.tables, name), self.tables.models
        named = select(table, models.c.name.label("model"), models.c.revision)
        with (self.target or self.engine).connect() as connection:
            rows = connection.execute(named.join(models, models.c.id == table.c.model_id)).all()
            assert len(rows) == connection.scalar(select(func.count()).select_from(table))
        return {row.review_id: row for row in rows}


def _all(connection: Connection, table: Any, without: set[str]) -> list[Any]:
    columns = [column for column in table.columns if column.name not in without]
    return list(connection.execute(select(*columns).order_by(table.c.job_id, table.c.review_id)).all())
