"""The dbt project of examples/, built by dbt itself from published labels, compared with the ledger."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from sqlalchemy import Engine, text

from review_scoring.demo import UNUSABLE, sample_reviews
from review_scoring.job import Publication, Rescore, ScoringJob
from tests.requirements import not_here
from tests.run.publications import Mart
from tests.stubs import Warehouse

PROJECT = Path(__file__).parent.parent / "examples" / "dbt"
DBT = "REVIEW_SCORING_TEST_DBT"
JOB = ScoringJob(name="film_reviews", source_conn_id="reviews", source_table="reviews", text_column="body")
OF_ANOTHER_JOB = "INSERT INTO review_labels VALUES ('another_job', '1', 'other', 0.5, 'm', 'r', TIMESTAMP '2026-01-01')"

RunDbt = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def dbt() -> list[str]:
    """The command that runs dbt, which is in an environment of its own: it needs other packages than Airflow."""
    command = os.environ.get(DBT)
    if not command:
        not_here(f"{DBT} names no command of dbt with dbt-duckdb; CONTRIBUTING.md has one")
        raise AssertionError
    return shlex.split(command)


@pytest.fixture
def mart(duckdb_engine: Engine, sqlite_engine: Engine) -> Mart:
    """The sample reviews in DuckDB, without labels yet, and an empty ledger in SQLite."""
    warehouse = Warehouse(duckdb_engine, target=sqlite_engine, job=JOB)
    warehouse.create("INTEGER", extra=", written_at TIMESTAMP")
    rows: list[tuple[int, str | None, str]] = [
        (int(row["id"]), row["text"], row["written_at"]) for row in sample_reviews()
    ]
    rows += [(len(rows) + n, unusable, rows[0][2]) for n, unusable in enumerate(UNUSABLE, 1)]
    for row in rows:
        insert(warehouse, *row)
    return Mart(warehouse, duckdb_engine, Publication(conn_id="mart", table="review_labels"))


@pytest.fixture
def run(dbt: list[str], mart: Mart, tmp_path: Path) -> RunDbt:
    """Return a function that runs a command of dbt on the file of the mart."""

    def run_dbt(*command: str) -> subprocess.CompletedProcess[str]:
        mart.engine.dispose()  # another process cannot open the file otherwise
        folders: list[str | Path] = ["--project-dir", PROJECT, "--profiles-dir", PROJECT]
        folders += ["--target-path", tmp_path / "target", "--log-path", tmp_path / "logs"]
        environment = {**os.environ, "REVIEWS_DUCKDB": str(mart.engine.url.database)}
        return subprocess.run([*dbt, *command, *folders], env=environment, capture_output=True, text=True, check=False)

    return run_dbt


def test_the_models_have_what_the_ledger_has_after_each_night(run: RunDbt, mart: Mart) -> None:
    mart.warehouse.score("1")
    mart.publish("1")
    mart.run(OF_ANOTHER_JOB)
    assert_builds(run)
    assert len(labelled(mart)) == len(sample_reviews())
    assert_is_as_the_ledger(mart)

    mart.warehouse.run("UPDATE reviews SET body = body || '!' WHERE id = 5")
    mart.warehouse.run("UPDATE reviews SET body = ' ' WHERE id = 7")
    insert(mart.warehouse, 1000, "Un film de plus.", "2026-12-24 20:00:00")
    before = labelled(mart)
    mart.warehouse.score("2 changed", Rescore.CHANGED)
    mart.warehouse.score("2")
    report = mart.publish("2")
    assert (report.written, report.removed) == (2, 1)
    assert_builds(run)
    after = labelled(mart)
    assert after.keys() ^ before.keys() == {7, 1000}
    assert after[5].label != before[5].label
    assert_is_as_the_ledger(mart)


def test_a_label_without_its_review_fails_the_build(run: RunDbt, mart: Mart) -> None:
    mart.warehouse.score("1")
    mart.publish("1")
    mart.warehouse.run("DELETE FROM reviews WHERE id = 5")
    built = run("build")
    assert built.returncode == 1
    assert "relationships_film_labels_review_id__review_id__ref_labelled_reviews_" in built.stdout


def test_the_labels_are_as_fresh_as_the_newest_one_of_the_job(run: RunDbt, mart: Mart) -> None:
    mart.warehouse.score("1")
    mart.publish("1")
    assert "PASS freshness of reviews.review_labels" in run("source", "freshness").stdout
    mart.run("UPDATE review_labels SET scored_at = scored_at - INTERVAL 37 HOUR")
    mart.run(OF_ANOTHER_JOB.replace("TIMESTAMP '2026-01-01'", "now()::TIMESTAMP"))
    assert "WARN freshness of reviews.review_labels" in run("source", "freshness").stdout


def test_nothing_is_sent_to_the_makers_of_dbt(run: RunDbt) -> None:
    """Dbt keeps the id of a user whose usage it reports in a file beside the profiles."""
    run("parse")
    assert not (PROJECT / ".user.yml").exists()


def insert(warehouse: Warehouse, id_: int, body: str | None, written_at: str) -> None:
    statement = "INSERT INTO reviews VALUES (:id, :body, :written_at)"
    warehouse.run(statement, id=id_, body=body, written_at=written_at)


def assert_builds(run: RunDbt) -> None:
    """Build all models and run their tests, without a failure and without a deprecated setting."""
    built = run("build", "--warn-error")
    assert built.returncode == 0, built.stdout


def labelled(mart: Mart) -> dict[int, Any]:
    """Return the rows of `labelled_reviews` by id."""
    with mart.engine.connect() as connection:
        return {row.id: row for row in connection.execute(text("SELECT * FROM labelled_reviews"))}


def assert_is_as_the_ledger(mart: Mart) -> None:
    """Compare both models with the scores of the ledger."""
    scores = mart.warehouse.scores()
    found = labelled(mart)
    assert {str(id_): (row.label, row.score, row.model) for id_, row in found.items()} == {
        id_: (row.label, row.score, row.model) for id_, row in scores.items()
    }
    by_month: dict[datetime, list[Any]] = defaultdict(list)
    for review in mart.run("SELECT id, written_at FROM reviews"):
        if str(review.id) in scores:
            month = review.written_at.replace(day=1, hour=0, minute=0, second=0)
            by_month[month].append(scores[str(review.id)])
    months = {row.month: row for row in mart.run("SELECT * FROM monthly_sentiment")}
    assert {month: row.reviews for month, row in months.items()} == {
        month: len(of_month) for month, of_month in by_month.items()
    }
    for month, of_month in by_month.items():
        assert months[month].share_pos == pytest.approx(mean(row.label == "pos" for row in of_month))
        assert months[month].mean_score == pytest.approx(mean(row.score for row in of_month))
