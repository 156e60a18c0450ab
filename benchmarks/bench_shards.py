"""Duration and memory of planning the shards of a run in a large table.

Most reviews are scored already; the new ones are spread over all ids.

    python benchmarks/bench_shards.py                    # 10,000,000 reviews, 100,000 of them new
    python benchmarks/bench_shards.py --apart            # the same, as if the scores were in another database

REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

from bench_etl import JOB, MODEL, create, database, mark_all_scored, run, vacuum
from report import report

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.request import RunKey, RunRequest
from review_scoring.run.planning import plan_run
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.selection.shards import ShardLimits


def planned(url: str, shards: int, apart: bool) -> tuple[int, float, float]:
    """Plan in this process; return the number of shards, the seconds, and the peak resident memory in MB."""
    source = make_engine(url)
    target = make_engine(source.url.update_query_dict({"application_name": "scores"})) if apart else source
    ready = preflight(JOB, Resources(source=lambda: source, target=lambda: target, model=lambda: MODEL), StopFlag())
    started = time.perf_counter()
    request = RunRequest(key=RunKey("bench", "score", "run"), model=MODEL.name, revision=MODEL.revision)
    found = plan_run(ready, request, ShardLimits(most=shards, least=1))
    seconds = time.perf_counter() - started
    return len(found), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--apart", action="store_true", help="compare pages of ids, as between two databases")
    arguments = parser.parse_args()
    rows = []
    with database() as engine:
        create(engine, arguments.rows, longest=1)
        mark_all_scored(engine, JOB)
        every = arguments.rows // arguments.new
        run(engine, "DELETE FROM review_scores WHERE CAST(review_id AS bigint) % :every = 0", every=every)
        vacuum(engine, "review_scores")
        url = engine.url.render_as_string(hide_password=False)
        for shards in (8, 1000):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                number, seconds, peak_mb = pool.apply(planned, (url, shards, arguments.apart))
            assert number == shards, number
            rows.append(
                {
                    "reviews": arguments.rows,
                    "new": arguments.new,
                    "shards": number,
                    "seconds": round(seconds, 2),
                    "peak_rss_mb": round(peak_mb, 1),
                }
            )
    report("shards_apart" if arguments.apart else "shards", rows)


if __name__ == "__main__":
    main()
