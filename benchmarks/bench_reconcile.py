"""Duration of a reconciliation, against the statements that one would write by hand, on PostgreSQL.

    python benchmarks/bench_reconcile.py             # 1,000,000 scored reviews, of which 1% have left the source

Counted: how many scored reviews are no longer in the source. Erased: the same, and their scores deleted, by hand in
one statement, which has no limit, keeps no record, and locks all rows until it ends.
REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from bench_etl import JOB, create, database, mark_all_scored, run, vacuum
from report import report

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import OnDelete
from review_scoring.run.reconciling import reconcile
from review_scoring.run.recorded_job import open_recorded_job
from review_scoring.warehouse.erasure import ErasureReason, ErasureRequest

MISSING = "NOT EXISTS (SELECT 1 FROM reviews r WHERE CAST(r.id AS text) = s.review_id)"
COUNT = f"SELECT count(*) FROM review_scores s WHERE {MISSING}"
DELETE = f"DELETE FROM review_scores s WHERE {MISSING}"


def ours(engine: Any, *, dry_run: bool) -> int:
    """Reconcile, and return how many reviews are missing in the source."""
    recorded = open_recorded_job(JOB, lambda: engine, lambda: engine, StopFlag())
    assert recorded is not None
    request = ErasureRequest(ErasureReason.DELETED, "bench", "bench")
    return reconcile(recorded, request, on_delete=OnDelete.ERASE, max_share=0.05, dry_run=dry_run).deleted


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows: int = parser.parse_args().rows
    found: dict[str, list[float]] = {"counted": [], "erased": []}
    with database() as engine:
        create(engine, rows, longest=1)
        mark_all_scored(engine, JOB)
        vacuum(engine, "review_scores")
        run(engine, "DELETE FROM reviews WHERE id % 100 = 1")
        run(engine, "CREATE TABLE kept AS SELECT * FROM review_scores")
        assert ours(engine, dry_run=True) == run(engine, COUNT)[0][0] == rows // 100
        found["counted"] = [seconds(lambda: ours(engine, dry_run=True)), seconds(lambda: run(engine, COUNT))]
        found["erased"].append(seconds(lambda: ours(engine, dry_run=False)))
        assert run(engine, COUNT)[0][0] == 0
        run(engine, "TRUNCATE review_scores")
        run(engine, "INSERT INTO review_scores SELECT * FROM kept")
        vacuum(engine, "review_scores")
        found["erased"].append(seconds(lambda: run(engine, DELETE)))
    report(
        "reconcile",
        [
            {
                "what": what,
                "scored": rows,
                "seconds": round(mine, 2),
                "by_hand_seconds": round(by_hand, 2),
                "ratio": round(mine / by_hand, 1),
            }
            for what, (mine, by_hand) in found.items()
        ],
    )


if __name__ == "__main__":
    main()
