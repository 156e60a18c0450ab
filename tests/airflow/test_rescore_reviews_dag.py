"""The DAG rescore_reviews, run by Airflow with the bundled model."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from review_scoring.demo import sample_reviews
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query
from tests.exactly_once.worker import wait_for

JOB = {"source_table": "reviews"}


def test_changed_texts_are_rescored_in_shards_and_changed_labels_are_counted(
    airflow_home: AirflowHome, mariadb_engine: Engine, tmp_path: Path
) -> None:
    engine, log = mariadb_engine, tmp_path / "log"
    fill(engine, [(int(row["id"]), row["text"]) for row in sample_reviews()[:40]])
    assert airflow_home.dags_test("score_film_reviews", engine, JOB, shards=3).returncode == 0
    assert query(engine, "SELECT count(*) FROM scoring_shards WHERE state = 'success'")[0][0] == 3
    query(engine, "UPDATE reviews SET text = 'Un film magnifique, une merveille.' WHERE id IN (1, 2, 3)")
    query(engine, "UPDATE reviews SET text = 'Nul, raté, à fuir absolument.' WHERE id IN (38, 39, 40)")
    before = dict(query(engine, "SELECT review_id, label FROM review_scores"))
    query(engine, "UPDATE scoring_jobs SET requested_by = 'the night', requested_until = '2100-01-01 00:00:00'")
    with log.open("w") as output:
        rescore = airflow_home.start_dags_test("rescore_reviews", engine, JOB, output, shards=2)
    wait_for(lambda: "is requested by the night" in log.read_text() or rescore.poll() is not None, 240)
    assert rescore.poll() is None, log.read_text()
    assert query(engine, "SELECT count(*) FROM scoring_shards")[0][0] == 3
    query(engine, "UPDATE scoring_jobs SET requested_until = NULL")
    assert rescore.wait(240) == 0, log.read_text()
    after = dict(query(engine, "SELECT review_id, label FROM review_scores"))
    changed = sum(after[id_] != label for id_, label in before.items())
    assert changed > 0
    assert f"read=40 scored=6 unchanged=34 rejected=0 relabelled={changed}" in log.read_text()
