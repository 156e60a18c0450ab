"""Speed of a run through Airflow (PostgreSQL to PostgreSQL), as a share of the speed of the classifier alone.

Both sides take turns with the same texts. Each turn is a new process that has just loaded the bundled model, so that
neither side has warmer caches. `airflow dags test score_film_reviews` scores new rows of the table in one shard; the
classifier alone gets their texts in chunks of the same size. The side that goes first alternates. The report has the
median share of the rounds, with the lowest and the highest one, which show how much other processes disturbed it.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_etl import JOB, create, database, run, vacuum
from report import report
from sqlalchemy import Engine

from review_scoring.models.catalogue import DEFAULT_MODEL, find_model

ROOT = Path(__file__).parent.parent
AIRFLOW = str(Path(sys.executable).with_name("airflow"))
CHUNK = 1000
LOADED = re.compile(r"loaded in ([\d.]+) s")


def sql_to_sql(rows: int, texts: Sequence[str], rounds: int) -> None:
    """Score `rows` reviews through Airflow and with the classifier alone, and report the share of its speed.

    :param rounds: number of turns of each side, which the rows are divided into
    """
    shuffled = random.Random(0).sample(texts, len(texts))  # noqa: S311 an order, not a secret
    cycled = list(itertools.islice(itertools.cycle(shuffled), rows))
    turns: list[tuple[float, float]] = []
    device = ""
    with database() as engine, tempfile.TemporaryDirectory() as home:
        create(engine, 1)
        run(engine, "TRUNCATE reviews")
        environment = airflow_environment(engine, home)
        for number in range(rounds):
            part = cycled[number * rows // rounds : (number + 1) * rows // rounds]
            fill(engine, part, first=number * rows // rounds)
            if number % 2:
                through_s = seconds_through_airflow(engine, environment)
            alone_s, device = seconds_alone(part)
            if not number % 2:
                through_s = seconds_through_airflow(engine, environment)
            turns.append((alone_s, through_s))
            print(f"round {number + 1}: alone {alone_s:.1f} s, through Airflow {through_s:.1f} s", flush=True)
        scored = run(engine, "SELECT count(*) FROM review_scores")[0][0]
    assert scored == rows, f"{scored} of {rows} reviews were scored"
    shares = [alone_s / through_s for alone_s, through_s in turns]
    alone, through = (sum(seconds) for seconds in zip(*turns, strict=True))
    report(
        "inference_sql",
        [
            {
                "reviews": rows,
                "rounds": rounds,
                "device": device,
                "through_airflow_per_s": round(rows / through, 1),
                "classifier_per_s": round(rows / alone, 1),
                "share": round(statistics.median(shares), 3),
                "share_from": round(min(shares), 3),
                "share_to": round(max(shares), 3),
            }
        ],
    )


def fill(engine: Engine, texts: Sequence[str], first: int) -> None:
    """Insert reviews, with ids starting at `first`."""
    for start in range(0, len(texts), CHUNK):
        values = {str(first + start + n): text for n, text in enumerate(texts[start : start + CHUNK])}
        run(
            engine,
            "INSERT INTO reviews SELECT CAST(key AS bigint), value, now() FROM jsonb_each_text(CAST(:them AS jsonb))",
            them=json.dumps(values),
        )
    vacuum(engine, "reviews")


def seconds_alone(texts: Sequence[str]) -> tuple[float, str]:
    """Return the seconds that the classifier takes for texts in its own process, and its device."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_classify, (texts,))


def _classify(texts: Sequence[str]) -> tuple[float, str]:
    from review_scoring.inference.classifier import Classifier

    classifier = Classifier.load(find_model(DEFAULT_MODEL))
    started = time.perf_counter()
    for first in range(0, len(texts), CHUNK):
        classifier.classify(texts[first : first + CHUNK])
    return time.perf_counter() - started, str(classifier.device)


def airflow_environment(engine: Engine, home: str) -> dict[str, str]:
    """Create a temporary Airflow with its metadata database, and return its environment."""
    url = engine.url
    connection: dict[str, str | int | None] = {"conn_type": "postgres", "host": url.host, "schema": url.database}
    connection |= {"login": url.username, "password": url.password, "port": url.port}
    job = {"source_conn_id": "bench", "source_table": "reviews", "text_column": "body"}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_BENCH": json.dumps({key: value for key, value in connection.items() if value is not None}),
        "AIRFLOW_VAR_REVIEW_SCORING_JOBS": json.dumps({JOB.name: job}),
        "AIRFLOW_VAR_REVIEW_SCORING_JOB": JOB.name,
    }
    subprocess.run([AIRFLOW, "db", "migrate"], env=environment, check=True, capture_output=True)
    return environment


def seconds_through_airflow(engine: Engine, environment: Mapping[str, str]) -> float:
    """Return the seconds of a run of the DAG from its lease to its end, without loading the model."""
    conf = json.dumps({"shards": 1, "chunk_rows": CHUNK})
    done = subprocess.run(
        [AIRFLOW, "dags", "test", "score_film_reviews", "--conf", conf],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    newest = "SELECT extract(epoch FROM ended_at - started_at) FROM scoring_runs ORDER BY id DESC LIMIT 1"
    (loaded,) = set(LOADED.findall(done.stdout))
    return float(run(engine, newest)[0][0]) - float(loaded)
