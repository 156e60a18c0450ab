"""Lineage: what OpenLineage is told of a run, as plain values and in DAG runs with the provider's file transport."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Engine, make_url

from review_scoring import ScoringJob
from review_scoring.airflow import lineage
from review_scoring.airflow.lineage import MODEL_FACET, checked_datasets, dataset, run_datasets
from review_scoring.demo import sample_reviews
from review_scoring.run.report import DryRunReport, RunReport
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.verdicts import FAILED, PASSED, SKIPPED, WARNED, Verdict
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query
from tests.conftest import LONG_FORM, ROOT, long_form
from tests.requirements import not_here

JOB = ScoringJob(name="film_reviews", source_conn_id="reviews", source_table="reviews", updated_at_column="changed")
SOURCE = make_url("postgresql+psycopg://reader:hunter2@shop.example.org:5433/shop?options=hunter2")
TARGET = make_url("postgresql+psycopg://writer:hunter3@dwh.example.org/dwh")
REPORT = RunReport(
    job="film_reviews",
    counts=Counts(
        read=10,
        scored=6,
        unchanged=1,
        rejected=3,
        unkeyed={"null_id": 1, "duplicate_id": 1},
        labels={"neg": (2, 1.5), "pos": (4, 3.75)},
    ),
    model="french-reviews-small",
    revision="f" * 64,
    device="cpu bfloat16",
    seconds=2.5,
    reviews_per_second=100.0,
)


def values() -> dict[str, Any]:
    return run_datasets(JOB, SOURCE, TARGET, REPORT, None)


@pytest.mark.parametrize(
    ("address", "schema", "namespace", "name"),
    [
        ("postgresql+psycopg://me:pw@db.example/shop", None, "postgres://db.example:5432", "shop.public.reviews"),
        ("postgresql+psycopg://me:pw@db.example:5433/shop", "raw", "postgres://db.example:5433", "shop.raw.reviews"),
        ("postgresql+psycopg://me:pw@", None, "postgres://localhost:5432", "me.public.reviews"),
        ("mysql+pymysql://me:pw@db.example/shop", None, "mysql://db.example:3306", "shop.reviews"),
        ("mariadb+pymysql://me:pw@db.example/shop", "raw", "mysql://db.example:3306", "raw.reviews"),
        ("sqlite:////data/shop.db", None, "sqlite:///data/shop.db", "main.reviews"),
        ("duckdb+duckdb_sqlalchemy:////data/shop.duckdb", None, "duckdb:///data/shop.duckdb", "shop.main.reviews"),
        ("oracle://me:pw@db.example:1521/shop", "raw", "oracle://db.example:1521", "shop.raw.reviews"),
    ],
)  # fmt: skip
def test_a_table_is_named_as_openlineage_names_it(address: str, schema: str | None, namespace: str, name: str) -> None:
    found = dataset(make_url(address), schema, "reviews")
    assert (found["namespace"], found["name"]) == (namespace, name)


def test_the_default_schema_of_a_database_in_use_is_named(sqlite_engine: Engine) -> None:
    found = dataset(SOURCE, None, "reviews", default_schema="warehouse")
    assert found["name"] == "shop.warehouse.reviews"


def test_a_run_names_its_tables_with_the_rows_that_it_read_and_wrote() -> None:
    (source,), (scores, rejects, labels) = values()["inputs"], values()["outputs"]
    assert source["namespace"] == "postgres://shop.example.org:5433"
    assert source["name"] == "shop.public.reviews"
    assert source["inputFacets"]["inputStatistics"] == {"rowCount": 10}
    assert source["inputFacets"]["dataQualityMetrics"]["columnMetrics"] == {"id": {"nullCount": 1}}
    assert {each["namespace"] for each in (scores, rejects, labels)} == {"postgres://dwh.example.org:5432"}
    assert [each["name"] for each in (scores, rejects, labels)] == [
        "dwh.public.review_scores",
        "dwh.public.review_rejects",
        "dwh.public.review_labels",
    ]
    assert scores["outputFacets"] == {"outputStatistics": {"rowCount": 6}}
    assert rejects["outputFacets"] == {"outputStatistics": {"rowCount": 1}}, "two of three have no row"
    assert "outputFacets" not in labels, "nothing is written to a view"
    assert scores["facets"]["dataQualityMetrics"]["columnMetrics"]["score"]["sum"] == 5.25


def test_labels_and_scores_come_from_the_text_and_ids_from_the_id() -> None:
    scores, rejects, labels = values()["outputs"]

    def origin(output: dict[str, Any]) -> dict[str, list[str]]:
        fields = output["facets"]["columnLineage"]["fields"]
        return {name: [each["field"] for each in found["inputFields"]] for name, found in fields.items()}

    assert origin(labels) == {"review_id": ["id"], "label": ["text"], "score": ["text"]}
    assert origin(scores) | origin(labels) == origin(scores)
    assert origin(scores)["source_updated_at"] == ["changed"]
    assert origin(rejects)["reason"] == ["text"]
    (hashed,) = scores["facets"]["columnLineage"]["fields"]["text_hash"]["inputFields"]
    assert hashed["transformations"] == [{"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": True}]
    assert (hashed["namespace"], hashed["name"]) == ("postgres://shop.example.org:5433", "shop.public.reviews")


def test_a_dry_run_has_inputs_alone_and_counts_nothing() -> None:
    dry = DryRunReport(job="film_reviews", waiting=9, reviews=9, tokens=99, seconds=1)
    found = run_datasets(JOB, SOURCE, TARGET, dry, None)
    assert [each["name"] for each in found["inputs"]] == ["shop.public.reviews"]
    assert "inputFacets" not in found["inputs"][0]
    assert (found["outputs"], found["run_facets"]) == ([], {})


def test_a_run_that_has_failed_names_its_tables_without_figures() -> None:
    found = run_datasets(JOB, SOURCE, TARGET, None, None)
    assert len(found["outputs"]) == 3
    assert "Facets" not in json.dumps(found)
    assert "rowCount" not in json.dumps(found)


def test_no_login_password_or_option_of_a_connection_is_in_any_value() -> None:
    for secret in ("hunter2", "hunter3", "reader", "writer", "options"):
        assert secret not in json.dumps(values())


def test_the_facet_of_the_model_is_what_its_schema_says() -> None:
    schema = json.loads((ROOT / "docs" / "reference" / "ReviewScoringModelRunFacet.json").read_text(encoding="utf-8"))
    _, own = schema["$defs"]["ReviewScoringModelRunFacet"]["allOf"]
    facet = values()["run_facets"][MODEL_FACET]
    jsonschema.validate(facet, own)
    assert set(facet) == set(own["properties"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**facet, "revision": None}, own)


def test_verdicts_are_assertions_and_a_skipped_check_asserts_nothing() -> None:
    verdicts = [
        Verdict("rejects", PASSED, 0.1, 0.5, "1 of 10 reviews were rejected."),
        Verdict("labels", FAILED, 0.9, 0.8, "90.0% are neg."),
        Verdict("truncated", WARNED, 0.5, 0.4, "Half of the texts are too long."),
        Verdict("volume", SKIPPED, None, None, "There is too little to compare."),
    ]
    (scores,) = checked_datasets(JOB, TARGET, verdicts, None)["inputs"]
    assert scores["name"] == "dwh.public.review_scores"
    asserted = scores["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(each["assertion"], each["success"], each["column"], each["severity"]) for each in asserted] == [
        ("rejects", True, None, "error"),
        ("labels", False, "label", "error"),
        ("truncated", False, "truncated", "warn"),
    ]
    assert (asserted[1]["actual"], asserted[1]["expected"]) == ("0.9", "0.8")
    assert checked_datasets(JOB, TARGET, verdicts[3:], None)["inputs"][0]["inputFacets"] == {}


def test_an_error_is_logged_without_its_words_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(job: Any) -> Any:
        raise RuntimeError("cannot connect to postgresql://writer:hunter3@dwh.example.org")

    monkeypatch.setattr(lineage, "as_job", broken)
    with caplog.at_level(logging.DEBUG):
        assert lineage.run_lineage("film_reviews", REPORT, None) is None
        assert lineage.check_lineage("film_reviews", [], None) is None
    assert "is not reported" in caplog.text
    assert "hunter3" not in caplog.text


@pytest.fixture
def provider() -> None:
    """The OpenLineage provider, which is not among the project's requirements."""
    if find_spec("airflow.providers.openlineage") is None:
        not_here("apache-airflow-providers-openlineage is not installed; the extra `openlineage` brings it")


@pytest.fixture
def events_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which a DAG run of the test writes its OpenLineage events."""
    file = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    return file


def events(file: Path, task: str, kind: str = "COMPLETE") -> list[dict[str, Any]]:
    """Return the events of a task, each with `inputs`, `outputs` and `run`."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    every = [json.loads(line) for line in lines]
    return [each for each in every if each["job"]["name"].endswith(f".{task}") and each["eventType"] == kind]


def named(engine: Engine, table: str) -> tuple[str, str]:
    """Return what a table of a test's database is called."""
    url = engine.url
    if engine.dialect.name == "sqlite":
        return f"sqlite://{url.database}", f"main.{table}"
    return f"postgres://{url.host}:{url.port or 5432}", f"{url.database}.public.{table}"


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=LONG_FORM), "postgres"])
def test_a_dag_run_reports_both_tables_and_the_rows_that_the_ledger_has(
    provider: None, events_file: Path, airflow_home: AirflowHome, kind: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(f"{kind}_engine")
    rows: list[tuple[int, str | None]] = [(int(r["id"]), r["text"]) for r in sample_reviews()[:40]]
    fill(engine, [*rows, (1000, None), (1001, "")])

    dry = airflow_home.dags_test("score_film_reviews", engine, {"source_table": "reviews"}, dry_run=True)
    assert dry.returncode == 0, dry.stdout
    (event,) = events(events_file, "summarise")
    assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [named(engine, "reviews")]
    assert event["outputs"] == []
    assert "rowCount" not in json.dumps(event)
    events_file.unlink()

    run = airflow_home.dags_test("score_film_reviews", engine, {"source_table": "reviews"})
    assert run.returncode == 0, run.stdout
    (event,) = events(events_file, "summarise")
    (source,) = event["inputs"]
    assert (source["namespace"], source["name"]) == named(engine, "reviews")
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 42
    written = {each["name"].rsplit(".", 1)[1]: each for each in event["outputs"]}
    assert set(written) == {"review_scores", "review_rejects", "review_labels"}
    for name, output in written.items():
        assert (output["namespace"], output["name"]) == named(engine, name)
        (found,) = output["facets"]["columnLineage"]["fields"]["review_id"]["inputFields"]
        assert (found["namespace"], found["name"], found["field"]) == (source["namespace"], source["name"], "id")
    for name in ("review_scores", "review_rejects"):
        kept = query(engine, f"SELECT count(*) FROM {name}")[0][0]
        assert written[name]["outputFacets"]["outputStatistics"]["rowCount"] == kept
        assert written[name]["facets"]["schema"]["fields"][0]["name"] == "job_id"
    ((model, revision),) = query(engine, "SELECT name, revision FROM scored_models")
    facet = event["run"]["facets"][MODEL_FACET]
    assert (facet["name"], facet["revision"]) == (model, revision)
    assert "ReviewScoringModelRunFacet.json#" in facet["_schemaURL"]
    assert facet["_producer"].startswith("https://github.com/review-scoring/review-scoring/tree/v")

    (checked,) = events(events_file, "check_run")
    (scores,) = checked["inputs"]
    assert (scores["namespace"], scores["name"]) == named(engine, "review_scores")
    verdicts = json.loads(query(engine, "SELECT checks FROM scoring_runs")[0][0])["verdicts"]
    asserted = scores.get("inputFacets", {}).get("dataQualityAssertions", {"assertions": []})["assertions"]
    assert [each["assertion"] for each in asserted] == [v["name"] for v in verdicts if v["state"] != "skipped"]

    (shard,) = events(events_file, "score")
    assert (shard["inputs"], shard["outputs"]) == ([], []), "the sum of the shards is reported once"
    text_of_events = events_file.read_text(encoding="utf-8")
    for _, body in rows:
        assert body is not None
        assert json.dumps(body)[1:41] not in text_of_events


ALONE = """
from datetime import datetime
from airflow.sdk import DAG
from review_scoring.airflow.operators import ScoreReviewsOperator

with DAG("alone", schedule=None, start_date=datetime(2026, 1, 1)):
    ScoreReviewsOperator(task_id="score", job="film_reviews", model="french-reviews-small")
"""


@long_form
def test_a_scoring_task_without_a_plan_reports_its_run_by_itself(
    provider: None, events_file: Path, airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path
) -> None:
    fill(sqlite_engine, [(1, "Une merveille"), (2, None)])
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "alone.py").write_text(ALONE, encoding="utf-8")
    run = airflow_home.dags_test("alone", sqlite_engine, {"source_table": "reviews"}, dags=folder)
    assert run.returncode == 0, run.stdout
    (event,) = events(events_file, "score")
    assert [each["name"] for each in event["inputs"]] == ["main.reviews"]
    rows = {each["name"]: each.get("outputFacets", {}).get("outputStatistics", {}) for each in event["outputs"]}
    assert [rows[name].get("rowCount") for name in ("main.review_scores", "main.review_rejects")] == [1, 1]
    assert event["run"]["facets"][MODEL_FACET]["device"].startswith("cpu")


@long_form
def test_a_check_that_fails_the_run_is_an_assertion_without_success(
    provider: None, events_file: Path, airflow_home: AirflowHome, sqlite_engine: Engine
) -> None:
    fill(sqlite_engine, [(n, "") for n in range(50)])
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, {"source_table": "reviews"})
    assert run.returncode == 1, run.stdout
    (event,) = events(events_file, "check_run", "FAIL")
    (asserted,) = event["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (asserted["assertion"], asserted["success"], asserted["severity"]) == ("rejects", False, "error")
    (summary,) = events(events_file, "summarise")
    counted = [each.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount") for each in summary["outputs"]]
    assert counted == [0, 50, None]
