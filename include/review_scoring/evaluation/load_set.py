"""Load a benchmark set into the warehouse, so that each evaluation refers to the exact reviews it used."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Engine

from review_scoring.evaluation.benchmark_sets import BenchmarkSet
from review_scoring.evaluation.labelled_set import MAX_SOURCE, pinned_source, read_set
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.records import StoredSet

log = logging.getLogger(__name__)


def load_set(entry: BenchmarkSet, store: BenchmarkStore, engine_of: Callable[[str], Engine]) -> StoredSet:
    """Load a set, unless the warehouse has the same content already. A changed content is logged as a warning.

    A pinned commit of the hub is downloaded once: its content cannot change.

    :param engine_of: returns the engine of an Airflow Connection
    :raises BenchmarkError: for a set that cannot be read or used
    """
    pinned = pinned_source(entry)
    if pinned is not None and (known := store.newest_set(entry.name, pinned)) is not None:
        log.info("benchmark set %s: %s reviews, already loaded from %s", entry.name, f"{known.reviews:,}", pinned)
        return known
    found = read_set(entry, engine_of)
    stored = store.keep_set(
        name=entry.name,
        content_hash=found.content_hash,
        source=found.source[:MAX_SOURCE],
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
        "new" if stored.is_new else "already loaded",
    )
    if stored.changed:
        log.warning(
            "benchmark set %s has changed since it was last loaded: the first evaluations on it are compared with "
            "earlier ones on the reviews that both contents have",
            entry.name,
        )
    return stored
