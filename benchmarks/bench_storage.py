"""Bytes of a scored review on PostgreSQL, table and indexes, and how much they grow when a tenth is scored again.

    python benchmarks/bench_storage.py             # 1,000,000 reviews

A stub takes the place of the model; its probabilities have as many digits as a real model's. Then every tenth text
changes, a run scores the changed reviews again, and VACUUM runs, as autovacuum would: the growth is what stays.
REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_etl import CHUNK, Stub, create, database, run, vacuum
from report import report
from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Rescore, ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey, RunRequest, Selection
from review_scoring.reviews import Prediction, Reject
from review_scoring.run.loop import score_run
from review_scoring.run.preflight import Resources, preflight

MODEL = ModelFolder("allocine_xlm_roberta_v2", "0123456789abcdef" * 4, Path(), ("neg", "pos"), 512)
JOB = ScoringJob(
    name="films", source_conn_id="bench", source_table="reviews", text_column="body", updated_at_column="created"
)


class RandomScores(Stub):
    """A classifier that returns random results at once."""

    def __init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311 results, not secrets

    def classify(self, texts: Any, *, between_batches: Callable[[int], None] = lambda done: None) -> Any:
        results: list[Prediction | Reject] = []
        for _ in texts:
            positive = self._random.random()
            label, score = ("pos", positive) if positive > 0.5 else ("neg", 1 - positive)
            results.append(Prediction(label, score, (1 - positive, positive), 100, truncated=False))
        between_batches(len(texts))
        return results


def score(engine: Engine, run_id: str, rescore: Rescore) -> int:
    """Run the job, and return how many reviews it has scored."""
    stop = StopFlag()
    ready = preflight(JOB, Resources(source=lambda: engine, target=lambda: engine, model=lambda: MODEL), stop)
    request = RunRequest(
        key=RunKey("bench", "score", run_id),
        model=MODEL.name,
        revision=MODEL.revision,
        selection=Selection(rescore=rescore),
        chunk_rows=CHUNK,
    )
    return score_run(ready, request, RandomScores, stop).counts.scored


def sizes(engine: Engine) -> dict[str, int]:
    """Return the bytes of the table and of each index of `review_scores`."""
    heap = run(engine, "SELECT pg_table_size('review_scores')")[0][0]
    indexes = run(
        engine,
        "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
        " WHERE indrelid = 'review_scores'::regclass ORDER BY 1",
    )
    return {"review_scores": heap, **dict(map(tuple, indexes))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows: int = parser.parse_args().rows
    with database() as engine:
        create(engine, rows, longest=4)
        assert score(engine, "first", Rescore.NOTHING) == rows
        vacuum(engine, "review_scores")
        before = sizes(engine)
        run(engine, "UPDATE reviews SET body = body || '!', created = created + interval '1 day' WHERE id % 10 = 0")
        assert score(engine, "changed", Rescore.CHANGED) == rows // 10
        vacuum(engine, "review_scores")
        after = sizes(engine)
    before["together"], after["together"] = sum(before.values()), sum(after.values())
    report(
        "storage",
        [
            {
                "relation": name,
                "rows": rows,
                "bytes_per_row": round(before[name] / rows, 1),
                "growth_bytes_per_row": round((after[name] - before[name]) / rows, 1),
            }
            for name in before
        ],
    )


if __name__ == "__main__":
    main()
