"""The table `dag` of a job file: what is checked without Airflow."""

from __future__ import annotations

from typing import Any

import pytest

from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob
from review_scoring.job_definition import Event, JobDefinition

KEYS: dict[str, Any] = {"source_conn_id": "warehouse", "source_table": "reviews"}
MAIL = {"on": ["failure"], "notifier": "package.module.Notifier"}


def test_a_definition_is_the_job_and_how_airflow_runs_it() -> None:
    given = {**KEYS, "max_reviews": 7, "dag": {"timezone": "Europe/Paris", "notifications": [MAIL]}}
    definition = JobDefinition.from_mapping("films", given)
    assert definition.job == ScoringJob(name="films", **KEYS, max_reviews=7)
    assert definition.dag.timezone == "Europe/Paris"
    assert definition.dag.notifications[0].on == (Event.FAILURE,)


def test_a_definition_without_a_dag_table_has_its_defaults() -> None:
    dag = JobDefinition.from_mapping("films", KEYS).dag
    assert (dag.schedule, dag.timezone, dag.assets, dag.retries, dag.notifications) == (None, "UTC", (), 3, ())


@pytest.mark.parametrize(
    ("dag", "problem"),
    [
        ({"schedul": "@daily"}, r"'dag.schedul': there is no such key; did you mean 'schedule'\?"),
        ({"timezone": "Europe/Pari"}, "'dag.timezone': there is no time zone 'Europe/Pari'"),
        ({"timezone": "../etc/passwd"}, "'dag.timezone': there is no time zone"),
        ({"retries": -1}, "'dag.retries': it must be a whole number from 0 to 1000, not -1"),
        ({"shards": 0}, "'dag.shards': it must be a whole number from 1 to 1000, not 0"),
        ({"timeout_minutes": 2000}, "'dag.timeout_minutes': it must be a number of minutes from 1 to 1440"),
        ({"tags": ["x" * 101]}, "'dag.tags.*': it must be a list of strings of 100 characters at most"),
        ({"assets_mode": "some"}, "'dag.assets_mode': it must be 'all' or 'any', not 'some'"),
        ({"deadline_minutes": 60}, r"'dag.deadline_minutes': it needs a notification with on = \[\"deadline\"\]"),
        ({"notifications": [{**MAIL, "on": ["deadline"]}]}, "'dag.notifications': .*deadline_minutes is not set"),
        (
            {"notifications": [{**MAIL, "on": []}]},
            r"'dag.notifications\[0\].on': it must be a list of 'success', .*, at least one",
        ),
        (
            {"notifications": [{**MAIL, "on": ["never"]}]},
            r"'dag.notifications\[0\].on': it must be a list of 'success'",
        ),
        (
            {"notifications": [{**MAIL, "dags": []}]},
            r"'dag.notifications\[0\].dags': it must be a list of 'score', .*, at least one",
        ),
        ({"notifications": [{**MAIL, "dags": ["import_model"]}]}, r"\[0\].dags': it must be a list of 'score', 'resc"),
        (
            {"notifications": [{**MAIL, "on": ["deadline"], "dags": ["promote_model"]}], "deadline_minutes": 9},
            r"\[0\].dags': a deadline is one of the job's own DAG",
        ),
        ({"notifications": [{**MAIL, "notifier": "rm -rf"}]}, r"\[0\].notifier': it must be the import path"),
        ({"notifications": [{"on": ["failure"]}]}, r"'dag.notifications\[0\].notifier': it is missing"),
        ("@daily", "'dag': it must be a table of keys"),
    ],
)
def test_each_wrong_key_is_named(dag: object, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        JobDefinition.from_mapping("films", {**KEYS, "dag": dag})


def test_problems_of_the_job_and_of_its_dag_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as refused:
        JobDefinition.from_mapping("films", {"source_tabel": "x", "dag": {"pol": "gpu"}})
    for key in ("source_conn_id", "source_table", "source_tabel", "dag.pol"):
        assert f"key '{key}'" in str(refused.value)


def test_a_secret_in_an_argument_is_not_quoted() -> None:
    wrong = {**MAIL, "arguments": "https://hooks.example.org/token-1234"}
    with pytest.raises(ConfigurationError) as refused:
        JobDefinition.from_mapping("films", {**KEYS, "dag": {"notifications": [wrong]}})
    assert "token-1234" not in str(refused.value)


def test_what_is_stored_of_a_job_is_what_differs_from_the_defaults() -> None:
    job = ScoringJob(name="films", **KEYS, checks={"rejects": "warn"})
    stored = job.serialize()
    assert stored == {"name": "films", **KEYS, "checks": {"rejects": "warn"}}
    assert ScoringJob(**stored) == job
