"""ETL throughput and memory of a run with a stub instead of the model, compared with pandas and dlt, on PostgreSQL.

All engines use the same table and the same stub, and take turns in one run. Each one reads id and text, "classifies"
them, and writes id, label, score, model and time.

    python benchmarks/bench_etl.py                 # throughput, 200,000 reviews
    python benchmarks/bench_etl.py --what memory   # resident memory at 10,000 and 1,000,000 reviews
    python benchmarks/bench_etl.py --what new      # 10,000 new reviews among scored ones

REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from report import report
from sqlalchemy import Engine, text

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import ScoringJob
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey, RunRequest
from review_scoring.reviews import Prediction, Reject
from review_scoring.run.loop import score_run
from review_scoring.run.preflight import Resources, preflight
from review_scoring.run.report import RunReport
from review_scoring.warehouse.engine import make_engine

SERVER = os.environ.get("REVIEW_SCORING_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1/postgres")
DATABASE = os.environ.get("REVIEW_SCORING_BENCH_DATABASE", "review_scoring_bench")
CHUNK = 5_000
MODEL = ModelFolder("stub", "0" * 64, Path(), ("neg", "pos"), 512)
JOB = ScoringJob(name="bench", source_conn_id="bench", source_table="reviews", text_column="body")
RESULT = Prediction("pos", 0.75, (0.25, 0.75), 100, truncated=False)


class Stub:
    """A classifier that returns the same result at once."""

    device: object = "stub"

    def prepare(self, texts: Any, *, between_slices: Callable[[], None] = lambda: None) -> Any:
        between_slices()
        return texts

    @staticmethod
    def token_counts(texts: Any) -> list[int]:
        return [100] * len(texts)

    def classify(self, texts: Any, *, between_batches: Callable[[int], None] = lambda done: None) -> Any:
        results: list[Prediction | Reject] = [RESULT] * len(texts)
        between_batches(len(texts))
        return results


@contextmanager
def database(name: str = DATABASE) -> Iterator[Engine]:
    """A temporary database."""
    admin = make_engine(SERVER).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = make_engine(make_engine(SERVER).url.set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def run(engine: Engine, statement: str, **values: object) -> Any:
    """Run one statement in a transaction."""
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        return result.all() if result.returns_rows else None


def fill(engine: Engine, first: int, last: int, *, longest: int = 45) -> None:
    """Insert reviews of 1 to `longest` sentences of 25 characters: with 45, about as long as AlloCiné's (mean 560).

    The times of creation are 10,000 per day from 2020 on, in the order of the ids.
    """
    run(
        engine,
        "INSERT INTO reviews"
        " SELECT n, repeat('Un film ' || n || ' très attendu. ', 1 + (n * 7919 % :longest)::int),"
        " timestamptz '2020-01-01 00:00Z' + n * interval '8.64 seconds'"
        " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n",
        first=first,
        last=last,
        longest=longest,
    )


def create(engine: Engine, rows: int, *, longest: int = 45) -> None:
    """Create the source table with `rows` reviews."""
    run(engine, "DROP TABLE IF EXISTS reviews")
    run(engine, "CREATE TABLE reviews (id bigint PRIMARY KEY, body text NOT NULL, created timestamptz NOT NULL)")
    fill(engine, 1, rows, longest=longest)
    vacuum(engine, "reviews")


def vacuum(engine: Engine, table: str) -> None:
    """Update the planner's statistics, as autovacuum would do later."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"VACUUM ANALYZE {table}"))


def ours(engine: Engine, run_id: str, job: ScoringJob = JOB) -> RunReport:
    """Score the new reviews with review_scoring."""
    stop = StopFlag()
    ready = preflight(job, Resources(source=lambda: engine, target=lambda: engine, model=lambda: MODEL), stop)
    key = RunKey("bench", "score", run_id)
    request = RunRequest(key=key, model=MODEL.name, revision=MODEL.revision, chunk_rows=CHUNK)
    return score_run(ready, request, Stub, stop)


def with_pandas(engine: Engine, method: Any) -> None:
    """Score all reviews with pandas: `read_sql` in chunks and `to_sql`; no upsert, no restart, no rejects."""
    import pandas as pd  # half of a process's memory, which other benchmarks measure

    with engine.connect().execution_options(stream_results=True) as reading:
        for frame in pd.read_sql(text("SELECT id, body FROM reviews ORDER BY id"), reading, chunksize=CHUNK):
            results = Stub().classify(list(frame.pop("body")))
            frame["label"] = [each.label for each in results]
            frame["score"] = [each.score for each in results]
            frame["model"] = "stub"
            frame["scored_at"] = datetime.now(UTC)
            frame.to_sql("pandas_scores", engine, if_exists="append", index=False, method=method, chunksize=CHUNK)


def with_dlt(engine: Engine) -> None:
    """Score all reviews with the merge of dlt, which writes each row once."""
    import dlt

    def scored() -> Iterator[list[dict[str, Any]]]:
        with engine.connect().execution_options(stream_results=True) as reading:
            rows = reading.execute(text("SELECT id, body FROM reviews ORDER BY id"))
            for part in rows.partitions(CHUNK):
                results = Stub().classify([row.body for row in part])
                now = datetime.now(UTC)
                yield [
                    {"id": row.id, "label": r.label, "score": r.score, "model": "stub", "scored_at": now}
                    for row, r in zip(part, results, strict=True)
                ]

    # dlt requires a port and a password, even for a server that trusts local users.
    address = engine.url.set(
        drivername="postgresql", port=engine.url.port or 5432, password=engine.url.password or "none"
    )
    url = address.render_as_string(hide_password=False)
    pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(credentials=url), dataset_name="dlt_scores")
    pipeline.run(scored(), table_name="scores", write_disposition="merge", primary_key="id")


def throughput(rows: int, rounds: int) -> None:
    """Compare reviews per second from the first read to the last commit."""
    engines: dict[str, Callable[[Engine, int], object]] = {
        "review_scoring": lambda engine, n: ours(engine, f"round {n}"),
        "pandas to_sql": lambda engine, n: with_pandas(engine, None),
        "pandas to_sql multi": lambda engine, n: with_pandas(engine, "multi"),
    }
    try:
        import dlt  # noqa: F401 checks that it is installed

        engines["dlt merge"] = lambda engine, n: with_dlt(engine)
    except ImportError:
        print("dlt is not installed: pip install 'dlt[postgres]' adds its merge to the comparison")
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    with database() as engine:
        create(engine, rows)
        for n in range(rounds):
            for name, work in engines.items():
                for schema in ("public", "dlt_scores"):
                    clean(engine, schema)
                started = time.perf_counter()
                work(engine, n)
                seconds[name].append(time.perf_counter() - started)
    rates = {name: rows / statistics.median(times) for name, times in seconds.items()}
    report(
        "etl_throughput",
        [
            {
                "engine": name,
                "reviews": rows,
                "reviews_per_s": round(rate),
                "ratio_to_pandas": round(rate / rates["pandas to_sql"], 2),
                "slowest_s": round(max(seconds[name]), 2),
                "fastest_s": round(min(seconds[name]), 2),
            }
            for name, rate in rates.items()
        ],
    )


def clean(engine: Engine, schema: str) -> None:
    """Drop the tables that an engine has written."""
    tables = run(engine, "SELECT tablename FROM pg_tables WHERE schemaname = :s AND tablename <> 'reviews'", s=schema)
    for (table,) in tables:
        run(engine, f'DROP TABLE "{schema}"."{table}" CASCADE')


def memory(_: argparse.Namespace) -> None:
    """Compare the resident memory of a run over few and over many reviews, each in its own process."""
    rows = []
    with database() as engine:
        for count in (10_000, 1_000_000):
            create(engine, count)
            clean(engine, "public")
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                seconds, peak_mb = pool.apply(_peak_of_run, (engine.url.render_as_string(hide_password=False),))
            rows.append({"reviews": count, "seconds": round(seconds, 1), "peak_rss_mb": round(peak_mb, 1)})
    for row in rows:
        row["growth_mb"] = round(row["peak_rss_mb"] - rows[0]["peak_rss_mb"], 1)
    report("etl_memory", rows)


def _peak_of_run(url: str) -> tuple[float, float]:
    started = time.perf_counter()
    ours(make_engine(url), "memory")
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def new(arguments: argparse.Namespace) -> None:
    """Measure how long a run takes to find and score 10,000 new reviews among many scored ones."""
    rows: list[dict[str, Any]] = []
    with database() as engine:
        create(engine, 1)
        run(engine, "CREATE INDEX reviews_created ON reviews (created)")
        have = 1
        for scored in (int(n) for n in arguments.sizes.split(",")):
            fill(engine, have + 1, scored, longest=4)
            have = scored
            for cursor in (None, "created"):
                job = JOB.replace(name=f"bench_{cursor}_{scored}", cursor_column=cursor)
                mark_all_scored(engine, job)
                vacuum(engine, "reviews")
                vacuum(engine, "review_scores")
                if cursor:
                    ours(engine, f"{job.name} full pass", job)
                fill(engine, have + 1, have + 10_000, longest=4)
                started = time.perf_counter()
                summary = ours(engine, job.name, job)
                seconds = round(time.perf_counter() - started, 2)
                assert summary.counts.scored == 10_000, summary
                rows.append({"scored": scored, "new": 10_000, "cursor": cursor or "none", "seconds": seconds})
                print(rows[-1], flush=True)
                run(engine, "DELETE FROM reviews WHERE id > :have", have=have)
                run(engine, "TRUNCATE review_scores")
    report("etl_new", rows)


def mark_all_scored(engine: Engine, job: ScoringJob) -> None:
    """Write a score for every review with SQL, which is faster than scoring."""
    stop = StopFlag()
    preflight(job, Resources(source=lambda: engine, target=lambda: engine, model=lambda: MODEL), stop)
    run(
        engine,
        "INSERT INTO review_scores (job_id, shard_id, scored_at, score, model_id, token_count, truncated, review_id,"
        " label, probabilities, text_hash)"
        " SELECT j.id, 0, now(), 0.75, 0, 100, false, CAST(r.id AS text), 'pos', '[0.25, 0.75]',"
        " decode(repeat('0', 64), 'hex') FROM reviews r, scoring_jobs j WHERE j.name = :name",
        name=job.name,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=["throughput", "memory", "new"], default="throughput")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="1000000", help="numbers of scored reviews for --what new")
    arguments = parser.parse_args()
    if arguments.what == "throughput":
        throughput(arguments.rows, arguments.rounds)
    else:
        {"memory": memory, "new": new}[arguments.what](arguments)


if __name__ == "__main__":
    main()
