"""A sample history for screenshots: forty daily runs of the sample reviews, scored by the bundled model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, func, select, update

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.demo import UNUSABLE, reviews, sample_reviews
from review_scoring.evaluation.benchmark_sets import DEFAULT_SET, benchmark_sets
from review_scoring.evaluation.evaluate import EvaluationRequest, evaluate_model
from review_scoring.evaluation.load_set import load_set
from review_scoring.inference.classifier import Classifier
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, catalogue, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey, RunRequest
from review_scoring.run.loop import score_run
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.engine import make_engine, writing
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.schema import tables

JOB = ScoringJob(name="film_reviews", source_conn_id="reviews", source_table="film_reviews")
RUNS = 40
EVALUATIONS = 3
FEWEST, MOST = 40, 90


def make(path: Path, newest: datetime) -> None:
    """Write a SQLite file with a table of reviews and the results of forty runs.

    :param newest: when the newest run began (aware)
    """
    engine = make_engine(f"sqlite:///{path}")
    reviews.metadata.create_all(engine)
    model = find_model(DEFAULT_MODEL)
    classifier = Classifier.load(model, device="cpu")
    for number, rows in enumerate(_drawn()):
        began = newest - timedelta(days=RUNS - 1 - number)
        with writing(engine).begin() as connection:
            first = (connection.scalar(select(func.max(reviews.c.id))) or 0) + 1
            connection.execute(reviews.insert(), [{"id": first + n, "text": row} for n, row in enumerate(rows)])
        stop = StopFlag()
        ready = preflight(JOB, Resources(source=lambda: engine, target=lambda: engine, model=lambda: model), stop)
        key = RunKey("score_film_reviews", "score", f"scheduled__{began.isoformat()}")
        report = score_run(
            ready, RunRequest(key=key, model=model.name, revision=model.revision), lambda: classifier, stop
        )
        shard = ready.existing_ledger.shards.of(key)[0].id
        _date_back(engine, shard, began, timedelta(seconds=report.seconds))
    evaluate(engine, classifier, model, newest)


def evaluate(engine: Engine, classifier: Classifier, model: ModelFolder, newest: datetime) -> None:
    """Add weekly evaluations of the model on the sample set."""
    store = BenchmarkStore(engine)
    loaded = load_set(benchmark_sets()[DEFAULT_SET], store, lambda _: engine)
    for weeks in range(EVALUATIONS - 1, -1, -1):
        at = newest - timedelta(weeks=weeks)
        request = EvaluationRequest(
            set_id=loaded.id,
            model=model,
            entry=catalogue()[model.name],
            key=RunKey("benchmark_models", "evaluate_model", f"scheduled__{at.isoformat()}"),
        )
        found = evaluate_model(store, request, load_classifier=lambda: classifier, stop=StopFlag())
        runs = tables().benchmark_runs
        with writing(engine).begin() as connection:
            connection.execute(update(runs).where(runs.c.id == found.id).values(ended_at=at))


def _drawn() -> Iterator[list[str | None]]:
    """Yield the texts of each run. Three runs in four have some texts that cannot be scored."""
    chosen = random.Random(1)  # noqa: S311 reproducible, not secret
    sample = sample_reviews()
    bad = [row for row in sample if row["label"] == "neg"]
    for number in range(RUNS):
        drawn = chosen.choices(sample, k=chosen.randint(FEWEST, MOST))
        if number == RUNS - 1:
            drawn = chosen.choices(bad, k=MOST)
        yield [*(row["text"] for row in drawn), *UNUSABLE[: number % 4]]


def _date_back(engine: Engine, shard: int, began: datetime, took: timedelta) -> None:
    ours = tables()
    ended = began + took
    with writing(engine).begin() as connection:
        run = connection.scalar(select(ours.shards.c.run_id).where(ours.shards.c.id == shard))
        for table, row in ((ours.runs, run), (ours.shards, shard)):
            connection.execute(update(table).where(table.c.id == row).values(started_at=began, ended_at=ended))
        connection.execute(update(ours.scores).where(ours.scores.c.shard_id == shard).values(scored_at=ended))
        connection.execute(update(ours.rejects).where(ours.rejects.c.shard_id == shard).values(first_seen=ended))
