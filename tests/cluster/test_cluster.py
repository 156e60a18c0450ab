"""A real cluster on this machine, made of what docker-compose.yaml says: it loses no review when a worker dies."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from tests.cluster.cluster import Cluster
from tests.conftest import POSTGRES, PROVE
from tests.own_postgres import binaries
from tests.requirements import not_here

LONG = os.environ.get("REVIEW_SCORING_CLUSTER") != "short"
REVIEWS, CHARACTERS, CHUNK_ROWS, SHARDS = (20_000, 120, 250, 8) if LONG else (3_000, 400, 25, 3)
"""How many reviews, how much of each text, how many one transaction commits, and among how many tasks."""

WORKER = "worker-cpu"
"""The worker of the queue that scores, which is killed."""

SERVERS = ("api-server", "scheduler", "dag-processor", "triggerer")
NEVER = "0 0 29 2 *"
"""A schedule that no run of the test meets."""

pytestmark = [pytest.mark.services, pytest.mark.prove, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is up, with as many reviews as the test wants."""
    if LONG and not PROVE:
        pytest.skip("a cluster of eight processes takes minutes: make prove, or REVIEW_SCORING_CLUSTER=short")
    if not os.environ.get(POSTGRES) or not binaries() or not shutil.which("redis-server"):
        not_here(f"a cluster needs the programs of PostgreSQL and Redis, and {POSTGRES}, which promises services")
    settings = {"SCORING_SLOTS": "2", "SCHEDULE": NEVER, "BENCHMARK_SCHEDULE": NEVER, "RECONCILE_SCHEDULE": NEVER}
    overrides = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15"}
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), settings=settings, overrides=overrides)
    try:
        cluster.prepare()
        _fill(cluster)
        for name in SERVERS:
            cluster.start(name, *(["--host", "127.0.0.1"] if name == "api-server" else []))
        cluster.wait_until_healthy("api-server")
        for name in ("worker", WORKER):
            cluster.start_worker(name)
        cluster.wait_for(lambda: _is_parsed(cluster), "the DAG to be parsed", 300)
        yield cluster
    finally:
        cluster.stop()


def test_a_worker_killed_in_mid_run_costs_no_review_and_scores_none_twice(cluster: Cluster) -> None:
    started = time.monotonic()
    run = _trigger(cluster)
    _wait_until_a_shard_is_half_done(cluster, run)
    cluster.kill(WORKER)
    at_kill = _scored(cluster)
    assert _shards_at_work(cluster), "the kill met no shard at work"
    cluster.start_worker(WORKER)
    if not PROVE:
        _do_not_wait_for_the_retry(cluster, run)
    cluster.wait_for(lambda: _state(cluster, run) in {"success", "failed"}, "the run to end", 3000 if PROVE else 600)
    seconds = time.monotonic() - started

    assert _state(cluster, run) == "success"
    tries = [each["try_number"] for each in _tasks(cluster, run) if each["task_id"] == "score"]
    assert len(tries) == SHARDS
    assert max(tries) > 1, "no task was tried again, so the kill met none"
    (found,) = _query(
        cluster,
        "SELECT (SELECT count(*) FROM scoring.review_scores) AS scores,"
        " (SELECT count(DISTINCT review_id) FROM scoring.review_scores) AS scored,"
        " (SELECT count(*) FROM film_reviews r JOIN scoring.review_scores s ON s.review_id = r.id::text) AS known,"
        " (SELECT count(*) FROM scoring.review_rejects) AS rejects,"
        " (SELECT sum(read) FROM scoring.scoring_shards) AS read,"
        " (SELECT sum(scored) FROM scoring.scoring_shards) AS counted,"
        " (SELECT count(*) FROM scoring.scoring_shards WHERE state = 'success') AS succeeded",
    )
    assert found._asdict() == {
        "scores": REVIEWS,
        "scored": REVIEWS,
        "known": REVIEWS,
        "rejects": 0,
        "read": REVIEWS,
        "counted": REVIEWS,
        "succeeded": SHARDS,
    }
    print(
        f"{REVIEWS:,} reviews in {SHARDS} shards, {at_kill:,} of them scored when the worker was killed, "
        f"{sum(tries) - len(tries)} tasks tried again: {seconds:.0f} s"
    )


@pytest.mark.parametrize("name", [*SERVERS, WORKER, "redis"])
def test_the_health_check_of_a_service_tells_that_it_runs(cluster: Cluster, name: str) -> None:
    cluster.wait_until_healthy(name, 60)


def test_a_health_check_fails_when_its_service_is_away(cluster: Cluster) -> None:
    assert not cluster.is_healthy("worker-gpu")


def test_postgres_is_healthy_and_lets_no_worker_into_the_metadata(cluster: Cluster) -> None:
    assert cluster.is_healthy("postgres")
    assert cluster.is_healthy("reviews")
    address = f"postgresql://results@127.0.0.1:{cluster.postgres.port}"
    with psycopg.connect(f"{address}/results") as connection:
        assert connection.execute("SELECT count(*) FROM celery_taskmeta").fetchone() != (0,)
    with pytest.raises(psycopg.OperationalError, match='permission denied for database "airflow"'):
        psycopg.connect(f"{address}/airflow")


def test_a_second_start_leaves_alone_what_people_have_changed(cluster: Cluster) -> None:
    job, connection = "/api/v2/variables/review_scoring_jobs", "/api/v2/connections/reviews"
    before = cluster.api(connection)
    mine = json.dumps({"film_reviews": {"source_conn_id": "reviews", "source_table": "my_reviews"}})
    cluster.api(job, {"key": "review_scoring_jobs", "value": mine}, method="PATCH")
    changed = {"connection_id": "reviews", "conn_type": "postgres", "host": "db.example.com"}
    cluster.api(f"{connection}?update_mask=host", changed, method="PATCH")
    cluster.init()
    assert json.loads(cluster.api(job)["value"]) == json.loads(mine)
    assert cluster.api(connection) == {**before, "host": "db.example.com"}
    assert {pool["name"]: pool["slots"] for pool in cluster.api("/api/v2/pools")["pools"]}["gpu"] == 2
    assert cluster.api("/api/v2/variables/review_scoring_shards")["value"] == "4"
    assert cluster.api("/api/v2/variables/review_scoring_require_benchmark")["value"] == "none"


def _fill(cluster: Cluster) -> None:
    """Multiply the sample: each text gets a number at its end, so that no two are equal."""
    sample = _query(cluster, "SELECT count(*) FROM film_reviews")[0][0]
    assert sample > 400, "the sample reviews are not in the warehouse"
    _query(
        cluster,
        "CREATE TABLE sample AS SELECT row_number() OVER () AS n, text FROM film_reviews;"
        " TRUNCATE film_reviews;"
        " INSERT INTO film_reviews (id, text)"
        f" SELECT i, left(text, {CHARACTERS}) || ' ' || i"
        f" FROM generate_series(1, {REVIEWS}) i JOIN sample ON n = 1 + i % {sample}",
    )


def _is_parsed(cluster: Cluster) -> bool:
    return "score_film_reviews" in {dag["dag_id"] for dag in cluster.api("/api/v2/dags")["dags"]}


def _trigger(cluster: Cluster) -> str:
    conf = {"chunk_rows": CHUNK_ROWS, "shards": SHARDS}
    body = {"logical_date": None, "conf": conf}
    return str(cluster.api("/api/v2/dags/score_film_reviews/dagRuns", body)["dag_run_id"])


def _wait_until_a_shard_is_half_done(cluster: Cluster, run: str) -> None:
    def half_done() -> bool:
        return _shards_at_work(cluster, at_least=CHUNK_ROWS, at_most=REVIEWS // SHARDS // 2) > 0

    try:
        cluster.wait_for(half_done, "a shard to be half done", 600, every=0.05)
    except AssertionError:
        print(f"the run is {_state(cluster, run)}: {cluster.tail(WORKER)}")
        raise


def _shards_at_work(cluster: Cluster, at_least: int = 0, at_most: int = REVIEWS) -> int:
    """Count the shards that have begun and not ended, and have scored so many reviews."""
    if not _query(cluster, "SELECT to_regclass('scoring.scoring_shards') IS NOT NULL")[0][0]:
        return 0
    statement = f"state = 'running' AND scored BETWEEN {at_least} AND {at_most}"
    return int(_query(cluster, f"SELECT count(*) FROM scoring.scoring_shards WHERE {statement}")[0][0])


def _do_not_wait_for_the_retry(cluster: Cluster, run: str) -> None:
    """Clear the killed tasks as soon as they are given up, as a person would who does not wait for the minute."""

    def given_up() -> list[dict[str, Any]]:
        return [each for each in _tasks(cluster, run) if each["state"] == "up_for_retry"]

    cluster.wait_for(lambda: bool(given_up()), "the killed tasks to be given up", 180)
    tasks = [[each["task_id"], each["map_index"]] for each in given_up()]
    body = {"dry_run": False, "only_failed": False, "dag_run_id": run, "task_ids": tasks}
    cluster.api("/api/v2/dags/score_film_reviews/clearTaskInstances", body)


def _scored(cluster: Cluster) -> int:
    there = _query(cluster, "SELECT to_regclass('scoring.review_scores') IS NOT NULL")[0][0]
    return int(_query(cluster, "SELECT count(*) FROM scoring.review_scores")[0][0]) if there else 0


def _state(cluster: Cluster, run: str) -> str:
    return str(cluster.api(f"/api/v2/dags/score_film_reviews/dagRuns/{run}")["state"])


def _tasks(cluster: Cluster, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.api(f"/api/v2/dags/score_film_reviews/dagRuns/{run}/taskInstances")[
        "task_instances"
    ]
    return found


def _query(cluster: Cluster, statement: str) -> Any:
    with cluster.reviews.begin() as connection:
        result = connection.execute(text(statement))
        return result.all() if result.returns_rows else None
