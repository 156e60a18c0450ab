"""A scoring task that is terminated or killed: SIGTERM from Airflow, SIGKILL of the whole DAG run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query, summary
from tests.conftest import long_form
from tests.stubs import Warehouse

ROWS = 3000
JOB = {"source_table": "reviews"}


def started(home: AirflowHome, engine: Engine, log: Path) -> subprocess.Popen[str]:
    """Start the DAG score_reviews with many reviews, and return when some are committed."""
    sample = "Un film " + "vraiment très long et assez ennuyeux " * 12
    fill(engine, [(n, f"{sample} {n}") for n in range(1, ROWS + 1)])
    with log.open("w") as output:
        process = home.start_dags_test("score_film_reviews", engine, JOB, output, chunk_rows=20)
    deadline = time.monotonic() + 120
    while committed(engine) < 40:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return process


def committed(engine: Engine) -> int:
    try:
        return int(query(engine, "SELECT count(*) FROM review_scores")[0][0])
    except DBAPIError:
        return 0  # the tables are not there yet


def test_sigterm_ends_the_task_as_failed_in_time_and_with_nothing_half_done(
    airflow_home: AirflowHome, engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = started(airflow_home, engine, log)
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    while "ScoringInterruptedError" not in log.read_text():
        assert time.monotonic() - told < 15, log.read_text()  # Airflow kills after 60
        time.sleep(0.02)
    seconds = time.monotonic() - told
    print(f"{engine.dialect.name}: ended {seconds:.2f} s after SIGTERM, {committed(engine)} reviews committed")
    os.killpg(process.pid, signal.SIGKILL)  # or this Airflow, which is no worker, would wait a minute and try again
    process.wait()
    assert "read=" not in log.read_text()
    assert query(engine, "SELECT state FROM scoring_shards")[0][0] == "failed"
    assert 0 < committed(engine) < ROWS
    assert committed(engine) % 20 == 0


@long_form
def test_the_next_dag_run_completes_one_that_was_killed(
    airflow_home: AirflowHome, engine: Engine, tmp_path: Path
) -> None:
    process = started(airflow_home, engine, tmp_path / "log")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = committed(engine)
    query(engine, "DELETE FROM reviews WHERE id <= :old", {"old": ROWS - done - 200})  # the newest are scored first
    left = query(engine, "SELECT count(*) FROM reviews")[0][0] - done
    rerun = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert rerun.returncode == 0, rerun.stdout
    assert summary(rerun.stdout) == f"read={left} scored={left} unchanged=0 rejected=0"
    warehouse = Warehouse(engine)
    assert len(warehouse.scores()) == done + left
    print(
        f"{engine.dialect.name}: killed with {done} reviews committed; the next run waited for the lease and did {left}"
    )
