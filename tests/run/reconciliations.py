"""Reconciliations and erasures in a small warehouse."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, func, inspect, select

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.evaluation.benchmark_sets import NEG, POS
from review_scoring.job import OnDelete
from review_scoring.reviews import text_hash
from review_scoring.run.forgetting import ForgetReport, forget
from review_scoring.run.reconciling import ReconcileReport, reconcile
from review_scoring.run.recorded_job import RecordedJob, open_recorded_job
from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.records import LabelledReview, StoredSet
from tests.stubs import Warehouse

OF_TABLE = "connection reviews, reviews (id)"
"""The source of a benchmark set that was loaded from the job's own table."""


def opened(warehouse: Warehouse) -> RecordedJob:
    """Open the job of a warehouse that has been scored before."""
    target = warehouse.target or warehouse.engine
    found = open_recorded_job(warehouse.job, lambda: warehouse.engine, lambda: target, StopFlag())
    assert found is not None
    return found


def request(run: str = "reconcile_reviews of week 1", reason: ErasureReason = ErasureReason.DELETED) -> ErasureRequest:
    """Return a request for an erasure."""
    return ErasureRequest(reason, "alice", run)


def reconciled(
    warehouse: Warehouse,
    run: str = "reconcile_reviews of week 1",
    *,
    on_delete: OnDelete = OnDelete.ERASE,
    max_share: float = 0.5,
    **options: Any,
) -> ReconcileReport:
    """Reconcile, and erase what left the source."""
    return reconcile(opened(warehouse), request(run), on_delete=on_delete, max_share=max_share, **options)


def forgotten(warehouse: Warehouse, *ids: str, run: str = "forget", **options: Any) -> ForgetReport:
    """Erase what is stored of these ids."""
    return forget(opened(warehouse), ids, request(run, ErasureReason.REQUESTED), **options)


def load_set(
    warehouse: Warehouse, reviews: list[LabelledReview], source: str = "a file", name: str = "set"
) -> StoredSet:
    """Load a benchmark set."""
    content = text_hash(repr(reviews)).hex()
    counts = {NEG: len(reviews), POS: 0}
    return store_of(warehouse).keep_set(
        name=name, content_hash=content, source=source, sample_of=None, reviews=reviews, counts=counts
    )


def store_of(warehouse: Warehouse) -> BenchmarkStore:
    """Return the benchmark store of a warehouse."""
    return BenchmarkStore(warehouse.target or warehouse.engine)


def erasures(warehouse: Warehouse) -> list[Any]:
    """Return the rows of `erasures` in their order."""
    table = warehouse.tables.erasures
    with (warehouse.target or warehouse.engine).connect() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def dump(warehouse: Warehouse) -> str:
    """Return every value of every table of the target as text."""
    engine = warehouse.target or warehouse.engine
    metadata = MetaData()
    metadata.reflect(engine)
    assert {"review_scores", "benchmark_texts", "erasures"} <= set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        return repr([connection.execute(select(each)).all() for each in metadata.sorted_tables])


def texts(warehouse: Warehouse) -> int:
    """Return how many texts of benchmark sets are stored."""
    with (warehouse.target or warehouse.engine).connect() as connection:
        return connection.scalar(select(func.count()).select_from(warehouse.tables.benchmark_texts)) or 0
