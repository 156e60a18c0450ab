"""Sharding on one machine with two cores: two tasks in parallel, compared with one task that uses both cores.

Each worker is a process with the bundled model, which scores a key range of the same PostgreSQL table. In each round,
every configuration scores all reviews once, in alternating order; ratios compare the same round.

    one task, two threads         a run with one shard
    two tasks, one thread each    two shards, each limited to one thread by OMP_NUM_THREADS
    two tasks, shared cores       two shards that share the cores (inference/threads.py), which is the default
    two tasks, two threads each   two shards that do not share the cores, which is torch's default

REVIEW_SCORING_TEST_POSTGRES names the server; a database is created there and dropped at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from report import report
from sqlalchemy import Engine, text

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.demo import sample_reviews
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.request import KeyRange, RunKey, RunRequest, Selection
from review_scoring.run.loop import score_shard
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.selection.shards import Shard

SERVER = os.environ.get("REVIEW_SCORING_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1/postgres")
DATABASE = "rs_cluster_bench"
JOB = ScoringJob(name="bench", source_conn_id="bench", source_table="reviews", text_column="body")
BASELINE = "one task, two threads"
WAYS = {
    BASELINE: (1, 2),
    "two tasks, one thread each": (2, 1),
    "two tasks, shared cores": (2, None),
    "two tasks, two threads each": (2, 2),
}
"""Name -> number of tasks, and threads of each; None lets them share the cores."""


def serve(orders: Connection, url: str) -> None:
    """Load the model, then score on request: run id, index and key range of the shard, number of threads."""
    import torch

    from review_scoring.inference.classifier import Classifier
    from review_scoring.inference.threads import CORES

    model = find_model(DEFAULT_MODEL)
    classifier = Classifier.load(model, device="cpu")
    engine, stop = make_engine(url), StopFlag()
    orders.send("ready")
    while (order := orders.recv()) is not None:
        run_id, index, keys, threads = order
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(threads)
            torch.set_num_threads(threads)
        prepared = preflight(JOB, Resources(source=lambda: engine, target=lambda: engine, model=lambda: model), stop)
        key = RunKey("bench", "score", run_id, index)
        request = RunRequest(key=key, model=model.name, revision=model.revision, chunk_rows=250)
        shard = Shard(selection=Selection(keys=keys))
        report = score_shard(prepared, request, shard, lambda: classifier, stop)
        CORES.leave()
        orders.send(report.counts.scored)


@contextmanager
def worker(url: str) -> Iterator[Connection]:
    """A worker process; yields the connection for its requests."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=serve, args=(its, url))
    process.start()
    its.close()
    try:
        yield mine
        mine.send(None)
        process.join(30)
    finally:
        process.kill()


@contextmanager
def database(rows: int) -> Iterator[Engine]:
    """A temporary database with `rows` reviews, which repeat the sample reviews."""
    admin = make_engine(SERVER).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    engine = make_engine(make_engine(SERVER).url.set(database=DATABASE))
    sample = [row["text"] for row in sample_reviews()]
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE reviews (id bigint PRIMARY KEY, body text NOT NULL)"))
            connection.execute(
                text("INSERT INTO reviews VALUES (:id, :body)"),
                [{"id": n, "body": sample[n % len(sample)]} for n in range(1, rows + 1)],
            )
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {DATABASE} WITH (FORCE)"))


def run(engine: Engine, workers: list[Connection], name: str, tasks: int, threads: int | None, rows: int) -> float:
    """Score all reviews in one configuration, and return the seconds."""
    with engine.begin() as connection:
        if connection.scalar(text("SELECT to_regclass('review_scores') IS NOT NULL")):
            connection.execute(text("TRUNCATE review_scores"))
    ends = [None, *(rows * n // tasks for n in range(1, tasks)), None]
    started = time.perf_counter()
    for index, orders in enumerate(workers[:tasks]):
        orders.send((name, index, KeyRange(ends[index], ends[index + 1]), threads))
    scored = sum(orders.recv() for orders in workers[:tasks])
    seconds = time.perf_counter() - started
    assert scored == rows, f"{scored} of {rows} reviews were scored"
    return seconds


def measure(rows: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each configuration by round."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with database(rows) as engine, ExitStack() as stack:
        url = engine.url.render_as_string(hide_password=False)
        workers = [stack.enter_context(worker(url)) for _ in range(2)]
        for orders in workers:
            assert orders.recv() == "ready"
        run(engine, workers, "warm up", 2, None, rows)
        names = list(WAYS)
        for n in range(rounds):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                seconds[name].append(run(engine, workers, f"{name} {n}", *WAYS[name], rows))
                print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    seconds = measure(arguments.rows, arguments.rounds)
    rows: list[dict[str, Any]] = []
    for name, times in seconds.items():
        ratios = [alone / mine for alone, mine in zip(seconds[BASELINE], times, strict=True)]
        rows.append(
            {
                "tasks": name,
                "reviews_per_s": round(arguments.rows / statistics.median(times), 1),
                "ratio_to_one_task": round(statistics.median(ratios), 3),
                "lowest_ratio": round(min(ratios), 3),
                "highest_ratio": round(max(ratios), 3),
            }
        )
    report("sharding", rows)


if __name__ == "__main__":
    main()
