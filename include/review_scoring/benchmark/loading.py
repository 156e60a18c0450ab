"""Bring a benchmark set into the warehouse, so that every evaluation says on exactly what it ran."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Engine

from review_scoring.benchmark.datasets import read_set
from review_scoring.benchmark.sets import BenchmarkSet
from review_scoring.warehouse.benchmarks import BenchmarkStore, StoredSet

log = logging.getLogger(__name__)


def load_set(entry: BenchmarkSet, store: BenchmarkStore, engine_of: Callable[[str], Engine]) -> StoredSet:
    """Read a set and keep it, unless the warehouse has this very content already. Says so if it has changed.

    :param engine_of: gives the engine of an Airflow Connection
    :raises BenchmarkError: for a set that cannot be read or used
    """
    found = read_set(entry, engine_of)
    stored = store.keep_set(
        name=entry.name,
        content_hash=found.content_hash,
        source=found.source[:500],
        sample_of=entry.sample_of,
        reviews=found.reviews,
        counts=found.counts,
    )
    log.info(
        "benchmark set %s: %s reviews (%s neg, %s pos) from %s, content %s, %s",
        entry.name,
        f"{stored.reviews:,}",
        f"{found.counts['neg']:,}",
        f"{found.counts['pos']:,}",
        found.source,
        stored.content_hash[:12],
        "new" if stored.is_new else "as it was loaded before",
    )
    if stored.changed:
        log.warning(
            "benchmark set %s holds other reviews than the last time: the first evaluations on it are compared with "
            "earlier ones on the reviews that both have",
            entry.name,
        )
    return stored
