"""Response times of the pages with 1,000,000 scored reviews on PostgreSQL, from the request to the last byte.

    python benchmarks/bench_web.py                  # every page, 50 times
    python benchmarks/bench_web.py --plans          # also print the query plans, and write results/web_plans.txt

REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end. Login and network are
not measured: routes are called in this process. Each run had 10,000 reviews. For every ten scored reviews there is one
reject, and there are 500 evaluations of three models.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any, cast

os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")

import bench_etl
from bench_etl import JOB, create, database, run, vacuum
from fastapi import FastAPI
from fastapi.testclient import TestClient
from report import RESULTS, report
from sqlalchemy import Engine, event
from starlette.datastructures import State

from review_scoring.airflow.web.app import create_app
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.run.preflight import Resources, preflight

PER_RUN = 10_000
TARGET_MS = 300.0
EVALUATIONS = 500
MODELS = ("french-reviews-small", "allocine-camembert", "stars-bert-multilingual")
LABELS = {"neg": [4800, 4100.0], "pos": [5200, 4700.0]}

PAGES = {
    "overview": "/",
    "live counts, not cached": "/live-counts",
    "live counts, cached": "/live-counts",
    "progress": "/progress",
    "reviews": "/reviews",
    "reviews, page 1,000": "/reviews?after_score=0.6&after_id=5",
    "reviews of a label and a model": "/reviews?label=neg&model=stub&truncated=no",
    "reviews of one day": "/reviews?scored_from=2026-03-01&scored_to=2026-03-01",
    "reviews, none of which match": "/reviews?scored_from=2030-01-01",
    "one review": "/review?id=500000",
    "one run": "/run?dag_id=score_film_reviews&run_id=run%201",
    "rejects": "/rejects",
    "rejects of a reason": "/rejects?reason=no_tokens",
    "models": "/models",
    "one model": "/model?name=french-reviews-small",
}


def fill(engine: Engine, rows: int) -> None:
    """Write scores, rejects, and one run for every 10,000 scores."""
    stop = StopFlag()
    preflight(JOB, Resources(source=lambda: engine, target=lambda: engine, model=lambda: bench_etl.MODEL), stop)
    run(
        engine,
        "INSERT INTO scored_models (id, name, revision, first_used_at) VALUES (1, 'stub', repeat('0', 64), now())",
    )
    counts = "read, scored, unchanged, rejected, relabelled, met_again, repeats_met_again, tokens, device_seconds,"
    run(
        engine,
        f"INSERT INTO scoring_runs (job_id, dag_id, task_id, dag_run_id, state, rescore, model_id, shards, {counts}"
        " unkeyed_rejects, label_counts, started_at, ended_at)"
        " SELECT j.id, 'score_film_reviews', 'score', 'run ' || n, 'success', 'nothing', 1, 1, 10000, 9990, 0, 10, 0,"
        " 0, 0, 1000000, 60, '{}', :labels, t, t + interval '2 minutes' FROM scoring_jobs j,"
        " generate_series(0, :runs - 1) n,"
        " LATERAL (SELECT date_trunc('day', now()) - (:runs - 1 - n) * interval '1 day' t) m",
        labels=json.dumps(LABELS),
        runs=rows // PER_RUN,
    )
    run(
        engine,
        f"INSERT INTO scoring_shards (run_id, map_index, state, lease_until, fencing_token, chunks, {counts}"
        " unkeyed_rejects, label_counts, model_id, device, started_at, ended_at)"
        " SELECT id, -1, state, started_at, id, 10, read, scored, unchanged, rejected, 0, 0, 0, tokens, device_seconds,"
        " unkeyed_rejects, label_counts, model_id, 'cpu', started_at, ended_at FROM scoring_runs ORDER BY id",
    )
    run(
        engine,
        "INSERT INTO review_scores (job_id, shard_id, scored_at, score, model_id, token_count, truncated, review_id,"
        " label, probabilities, text_hash)"
        " SELECT j.id, 1, timestamptz '2026-01-01 02:01Z' + (n / :per_run) * interval '1 day', 0.5 + s / 2, 1, 100,"
        " n % 50 = 0, CAST(n AS text), CASE WHEN h < 0.48 THEN 'neg' ELSE 'pos' END, '[0.25, 0.75]',"
        " decode(md5(n::text) || md5(n::text), 'hex')"
        " FROM scoring_jobs j, generate_series(1, CAST(:rows AS bigint)) n,"
        " LATERAL (SELECT random() h, sqrt(random()) s WHERE n > 0) r",
        rows=rows,
        per_run=PER_RUN,
    )
    run(
        engine,
        "INSERT INTO review_rejects (job_id, shard_id, first_seen, model_id, attempts, review_id, reason, detail,"
        " text_hash) SELECT j.id, 1, now(), 1, 1, 'r' || n,"
        " CASE WHEN n % 100 = 0 THEN 'no_tokens' ELSE 'null_text' END, 'the text is NULL',"
        " decode(repeat('0', 64), 'hex') FROM scoring_jobs j, generate_series(1, :rows) n",
        rows=rows // 10,
    )
    fill_evaluations(engine)
    for table in (
        "review_scores",
        "review_rejects",
        "scoring_runs",
        "scoring_shards",
        "benchmark_runs",
        "benchmark_class_metrics",
    ):
        vacuum(engine, table)


def fill_evaluations(engine: Engine) -> None:
    """Write evaluations of several models in turn, with metrics of a realistic size."""
    bins = [
        {"from": 0.5 + n / 20, "to": 0.55 + n / 20, "reviews": 2000, "confidence": 0.52 + n / 20, "accuracy": 0.9}
        for n in range(10)
    ]
    figures = {
        "confusion": {"neg": {"neg": 9400, "pos": 894}, "pos": {"neg": 470, "pos": 9236}},
        "intervals": {"accuracy": [0.93, 0.94]},
        "calibration": {"ece": 0.015, "bins": bins},
    }
    run(
        engine,
        "INSERT INTO benchmark_sets (id, name, content_hash, source, reviews, negative, positive, loaded_at)"
        " VALUES (1, 'bench', repeat('0', 64), 'made up', 20000, 10294, 9706, now())",
    )
    run(
        engine,
        "INSERT INTO benchmark_runs (set_id, model, revision, reviews, rejected, accuracy, macro_f1, loss,"
        " samples_per_second, tokens_per_second, device, precision, reference_verdict, last_run_verdict, passed,"
        " explanation, metrics, dag_id, task_id, dag_run_id, map_index, started_at, ended_at)"
        " SELECT 1, (CAST(:models AS text[]))[1 + n % :number], repeat('0', 64), 20000, 0, 0.93 + random() / 100, 0.93,"
        " 0.2, 130, 9000, 'cpu', 'float32', 'no reference', 'same', true, 'nothing to compare with', :figures,"
        " 'benchmark_models', 'evaluate_model', 'week ' || n, 0, t, t"
        " FROM generate_series(1, :rows) n, LATERAL (SELECT timestamptz '2016-01-01' + n * interval '1 week' t) m",
        models=list(MODELS),
        number=len(MODELS),
        figures=json.dumps(figures),
        rows=EVALUATIONS,
    )
    run(
        engine,
        "INSERT INTO benchmark_class_metrics SELECT id, label, 0.93, 0.93, 0.93, 10000 FROM benchmark_runs,"
        " unnest(ARRAY['neg', 'pos', 'macro avg', 'weighted avg']) label",
    )


def client(engine: Engine) -> TestClient:
    """Return a client of the pages on the database, without a login."""
    url = engine.url
    fields = {"host": url.host, "login": url.username, "password": url.password, "port": url.port}
    connection = {"conn_type": "postgres", "schema": url.database, **{k: v for k, v in fields.items() if v}}
    job = {"source_conn_id": "bench", "source_table": "reviews", "text_column": "body"}
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(connection)
    os.environ["AIRFLOW_VAR_REVIEW_SCORING_JOBS"] = json.dumps({JOB.name: job})
    app = create_app()
    for route in app.routes:
        for dependency in getattr(route, "dependencies", []):
            app.dependency_overrides[dependency.dependency] = lambda: None
    return TestClient(app)


def state(pages: TestClient) -> State:
    """Return what the app owns: its databases and the cache of live counts."""
    return cast(FastAPI, pages.app).state


def times(pages: TestClient, name: str, address: str, rounds: int) -> Iterator[float]:
    """Yield the milliseconds of each round. The first request, which opens connections, is not measured."""
    assert pages.get(address).status_code == 200, address
    for _ in range(rounds):
        if name.endswith("not cached"):
            state(pages).live_counts.clear()
        started = time.perf_counter()
        pages.get(address)
        yield 1000 * (time.perf_counter() - started)


def show_plans(pages: TestClient) -> None:
    """Print the plan of each statement that a page sends, as PostgreSQL executed it, and write them to a file."""
    engine = state(pages).databases.engine("bench")
    sent: list[tuple[str, Any]] = []
    plans: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *of: sent.append((of[2], of[3])))
    for name, address in PAGES.items():
        sent.clear()
        state(pages).live_counts.clear()
        pages.get(address)
        for statement, parameters in [each for each in sent if each[0].startswith("SELECT") and "FROM" in each[0]]:
            with engine.connect() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters).all()
            plans.append(f"== {name}: {statement}\n" + "\n".join(row[0] for row in plan))
    text = "\n\n".join(plans) + "\n"
    print(f"\n{text}")
    (RESULTS / "web_plans.txt").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--plans", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with database() as engine:
        create(engine, arguments.rows + PER_RUN)
        fill(engine, arguments.rows)
        pages = client(engine)
        rows = []
        for name, address in PAGES.items():
            taken = sorted(times(pages, name, address, arguments.rounds))
            p95 = taken[int(0.95 * (len(taken) - 1))]
            median = statistics.median(taken)
            rows.append(
                {
                    "page": name,
                    "median_ms": round(median, 1),
                    "p95_ms": round(p95, 1),
                    "target_ms": TARGET_MS,
                    "met": "yes" if p95 < TARGET_MS else "no",
                }
            )
        report("web", rows)
        if arguments.plans:
            show_plans(pages)


if __name__ == "__main__":
    main()
