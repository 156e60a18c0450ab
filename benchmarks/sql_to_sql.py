"""What is left of the classifier's own speed when Airflow takes reviews from PostgreSQL and brings scores back to it.

`airflow dags test score_reviews` scores the table with the bundled model, in one shard. The classifier alone, in this
process, takes its turns on as many of the same texts, in chunks of the same size: half before that, half after it. The
texts come in an order drawn at random, the same one each time.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench_etl import JOB, create, database, run, vacuum
from report import report
from sqlalchemy import Engine

from review_scoring.inference.classifier import Classifier
from review_scoring.inference.threads import CORES
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model

ROOT = Path(__file__).parent.parent
CHUNK = 1000
LOADED = re.compile(r"loaded in ([\d.]+) s")


def sql_to_sql(rows: int, texts: Sequence[str]) -> None:
    """Score `rows` reviews from SQL to SQL through Airflow, and print the share of the classifier's own speed."""
    classifier = Classifier.load(find_model(DEFAULT_MODEL))
    shuffled = random.Random(0).sample(texts, len(texts))  # noqa: S311 an order, not a secret
    classifier.classify(shuffled[:CHUNK])
    cycled = list(itertools.islice(itertools.cycle(shuffled), rows))
    with database() as engine:
        fill(engine, cycled)
        alone_s = seconds_alone(classifier, cycled[: rows // 2])
        through_s = seconds_through_airflow(engine)
        alone_s += seconds_alone(classifier, cycled[rows // 2 :])
        scored = run(engine, "SELECT count(*) FROM review_scores")[0][0]
    assert scored == rows, f"{scored} of {rows} reviews were scored"
    report(
        "inference_sql",
        [
            {
                "reviews": rows,
                "device": str(classifier.device),
                "through_airflow_per_s": round(rows / through_s, 1),
                "classifier_per_s": round(rows / alone_s, 1),
                "share": round(alone_s / through_s, 3),
            }
        ],
    )


def fill(engine: Engine, texts: Sequence[str]) -> None:
    """Make the table of reviews, with ids from 0."""
    create(engine, 1)
    run(engine, "TRUNCATE reviews")
    for start in range(0, len(texts), CHUNK):
        values = {str(start + n): text for n, text in enumerate(texts[start : start + CHUNK])}
        run(
            engine,
            "INSERT INTO reviews SELECT CAST(key AS bigint), value, now() FROM jsonb_each_text(CAST(:them AS jsonb))",
            them=json.dumps(values),
        )
    vacuum(engine, "reviews")


def seconds_alone(classifier: Classifier, texts: Sequence[str]) -> float:
    """Return what the classifier takes for texts, chunk by chunk."""
    started = time.perf_counter()
    for first in range(0, len(texts), CHUNK):
        classifier.classify(texts[first : first + CHUNK])
    seconds = time.perf_counter() - started
    CORES.leave()  # what waits for its turn is no other task
    return seconds


def seconds_through_airflow(engine: Engine) -> float:
    """Return what a run of the nightly DAG takes from its lease to its end, without loading the model."""
    url = engine.url
    connection: dict[str, str | int | None] = {"conn_type": "postgres", "host": url.host, "schema": url.database}
    connection |= {"login": url.username, "password": url.password, "port": url.port}
    job = {"source_conn_id": "bench", "source_table": "reviews", "text_column": "body"}
    airflow = str(Path(sys.executable).with_name("airflow"))
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_BENCH": json.dumps({key: value for key, value in connection.items() if value is not None}),
            "AIRFLOW_VAR_REVIEW_SCORING_JOBS": json.dumps({JOB.name: job}),
            "AIRFLOW_VAR_REVIEW_SCORING_JOB": JOB.name,
        }
        subprocess.run([airflow, "db", "migrate"], env=environment, check=True, capture_output=True)
        conf = json.dumps({"shards": 1, "chunk_rows": CHUNK})
        done = subprocess.run(
            [airflow, "dags", "test", "score_reviews", "--conf", conf],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    took = run(engine, "SELECT extract(epoch FROM ended_at - started_at) FROM scoring_runs")[0][0]
    (loaded,) = set(LOADED.findall(done.stdout))
    return float(took) - float(loaded)
