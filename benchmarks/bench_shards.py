"""Duration and memory of planning the shards of a run in a large table.

Either most reviews are scored and the new ones are spread over all ids, or nothing is scored yet and the run has a
budget: then it is planned by the cursor, newest first, once for the first run and once after half the table is scored.

    python benchmarks/bench_shards.py                    # 10,000,000 reviews, 100,000 of them new
    python benchmarks/bench_shards.py --apart            # the same, as if the scores were in another database
    python benchmarks/bench_shards.py --backlog          # 10,000,000 new reviews, and a budget of 100,000

REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from typing import Any

from bench_etl import JOB, MODEL, create, database, mark_all_scored, run, vacuum
from report import report

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import Order, ScoringJob
from review_scoring.request import Budget, RunKey, RunRequest, Selection
from review_scoring.run.planning import plan_run
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.selection.shards import ShardLimits

Row = dict[str, Any]


def planned(url: str, job: ScoringJob, shards: int, budget: int | None, apart: bool) -> tuple[int, float, float]:
    """Plan in this process; return the number of shards, the seconds, and the peak resident memory in MB."""
    source = make_engine(url)
    target = make_engine(source.url.update_query_dict({"application_name": "scores"})) if apart else source
    ready = preflight(job, Resources(source=lambda: source, target=lambda: target, model=lambda: MODEL), StopFlag())
    request = RunRequest(
        key=RunKey("bench", "score", "run"),
        model=MODEL.name,
        revision=MODEL.revision,
        selection=Selection(order=Order.NEWEST if budget else Order.OLDEST),
        budget=Budget(reviews=budget),
    )
    started = time.perf_counter()
    found = plan_run(ready, request, ShardLimits(most=shards, least=1))
    seconds = time.perf_counter() - started
    return len(found), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(engine: Any, job: ScoringJob, shards: int, budget: int | None, apart: bool) -> Row:
    """Plan in a process of its own."""
    url = engine.url.render_as_string(hide_password=False)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        number, seconds, peak_mb = pool.apply(planned, (url, job, shards, budget, apart))
    return {"shards": number, "seconds": round(seconds, 2), "peak_rss_mb": round(peak_mb, 1)}


def spread(engine: Any, rows: int, new: int, *, apart: bool) -> list[Row]:
    """Plan for new reviews that are spread over all ids."""
    mark_all_scored(engine, JOB)
    run(engine, "DELETE FROM review_scores WHERE CAST(review_id AS bigint) % :every = 0", every=rows // new)
    vacuum(engine, "review_scores")
    found = [measured(engine, JOB, shards, None, apart) for shards in (8, 1000)]
    assert [each["shards"] for each in found] == [8, 1000], found
    return [{"reviews": rows, "new": new, **each} for each in found]


def backlog(engine: Any, rows: int, budget: int) -> list[Row]:
    """Plan the first run over a backlog, and one in the middle of it."""
    job = JOB.replace(cursor_column="id")
    first = measured(engine, job, 4, budget, apart=False)
    mark_all_scored(engine, job)
    half = rows // 2
    run(engine, "DELETE FROM review_scores WHERE CAST(review_id AS bigint) <= :half", half=half)
    state = {"seen": json.dumps(["id", rows]), "backlog": json.dumps(["id", half])}
    run(engine, "UPDATE scoring_jobs SET cursor_seen = :seen, cursor_backlog = :backlog, full_pass_at = now()", **state)
    vacuum(engine, "review_scores")
    later = measured(engine, job, 4, budget, apart=False)
    scored = {"scored": 0}, {"scored": rows - half}
    return [{"reviews": rows, "budget": budget, **s, **each} for s, each in zip(scored, (first, later), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--apart", action="store_true", help="compare pages of ids, as between two databases")
    parser.add_argument("--backlog", action="store_true", help="nothing is scored yet, and the run has a budget")
    arguments = parser.parse_args()
    with database() as engine:
        create(engine, arguments.rows, longest=1)
        if arguments.backlog:
            report("shards_backlog", backlog(engine, arguments.rows, arguments.new))
        else:
            found = spread(engine, arguments.rows, arguments.new, apart=arguments.apart)
            report("shards_apart" if arguments.apart else "shards", found)


if __name__ == "__main__":
    main()
