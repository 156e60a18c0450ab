"""The first task of a run: it checks the conf, refuses backfills, and resolves the job."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from review_scoring.airflow.compat import AirflowFailException
from review_scoring.airflow.operators.resolve_run import ResolveRunOperator, refuse_unknown_keys
from review_scoring.errors import ConfigurationError

KNOWN = ["dry_run", "model", "limit", "chunk_rows"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("dryrun", "dry_run"), ("dry-run", "dry_run"), ("DRY_RUN", "dry_run"), ("chunkrows", "chunk_rows")],
)
def test_the_nearest_known_key_is_named(key: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"an unknown key: '{key}' .did you mean '{meant}'"):
        refuse_unknown_keys({key: True}, {key: True}, KNOWN)


def test_all_unknown_keys_are_named_at_once_with_a_hint_only_for_similar_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown keys: 'zzz', 'modle' \(did you mean 'model'\?\)\. ") as told:
        refuse_unknown_keys({"zzz": "secret", "modle": "x"}, {}, KNOWN)
    assert "secret" not in str(told.value)


def test_known_keys_and_airflows_own_are_accepted() -> None:
    refuse_unknown_keys({"limit": 3, "airflow/task_span_detail_level": 2}, {"limit": 3}, KNOWN)
    refuse_unknown_keys({}, {"limit": None}, KNOWN)


@dataclass
class Run:
    """What the operator asks of a running task: the DAG run, its params, and where XComs go."""

    params: dict[str, Any]
    run_type: str = "manual"
    pushed: dict[str, Any] = field(default_factory=dict)

    def resolve(self, **given: Any) -> list[dict[str, Any]]:
        operator = ResolveRunOperator(task_id="resolve_run", **given)
        context: Any = {
            "dag_run": SimpleNamespace(run_type=self.run_type, conf={}),
            "params": self.params,
            "dag": SimpleNamespace(params=self.params),
            "ti": SimpleNamespace(xcom_push=lambda *, key, value: self.pushed.update({key: value})),
        }
        return operator.execute(context)


@pytest.fixture
def two_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the job `films`; the job `books` is in the Variable."""
    films = 'source_conn_id = "db"\nsource_table = "films"\nrequire_benchmark = "any"\n[dag]\nshards = 7\n'
    (tmp_path / "films.toml").write_text(films)
    books = {"books": {"source_conn_id": "db", "source_table": "books"}}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps(books))
    return tmp_path


def test_a_backfill_is_refused_with_a_sentence() -> None:
    with pytest.raises(AirflowFailException, match="a backfill scores nothing: a run has no date"):
        Run({}, run_type="backfill").resolve(job=None)


def test_the_chosen_job_brings_its_shards_and_its_required_benchmark(two_jobs: Path) -> None:
    run = Run({"job": "films"})
    assert run.resolve(job="films", jobs_folder=two_jobs) == []
    assert run.pushed["job"]["source_table"] == "films"
    assert (run.pushed["most_shards"], run.pushed["require_benchmark"]) == (7, "any")
    other = Run({"job": "books"})
    other.resolve(job="books", jobs_folder=two_jobs)
    assert (other.pushed["most_shards"], other.pushed["require_benchmark"]) == (4, "none")


def test_a_run_that_names_no_job_starts_one_for_each_with_the_same_fields(two_jobs: Path) -> None:
    run = Run({"job": None, "dry_run": True})
    started = run.resolve(job="", jobs_folder=two_jobs, each_job=True)
    assert started == [{"job": "books", "dry_run": True}, {"job": "films", "dry_run": True}]
    assert run.pushed == {"is_one_job": False}


def test_a_run_that_names_no_job_of_several_is_refused_where_it_must(two_jobs: Path) -> None:
    with pytest.raises(AirflowFailException, match="no job is chosen: set the field 'job' to one of books, films"):
        Run({"job": None}).resolve(job="", jobs_folder=two_jobs)
    with pytest.raises(AirflowFailException, match="no scoring job 'flims'; there are books, films"):
        Run({"job": "flims"}).resolve(job="flims", jobs_folder=two_jobs)


def test_the_only_job_needs_not_be_named(two_jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS")
    run = Run({"job": None})
    assert run.resolve(job="", jobs_folder=two_jobs, each_job=True) == []
    assert run.pushed["job"]["name"] == "films"
