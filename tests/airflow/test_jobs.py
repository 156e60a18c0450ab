"""Jobs are found in files and in the Variable, and a wrong one does not affect the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.errors import ConfigurationError, NoSuchJobError
from tests.airflow.runner import AirflowHome

FILMS = 'source_conn_id = "warehouse"\nsource_table = "films"\n[checks]\nrejects = "warn"\n[dag]\npool = "gpu"\n'
BOOKS = {"source_conn_id": "warehouse", "source_table": "books"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films.toml").write_text(FILMS)
    return tmp_path


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"books": BOOKS}))


def test_jobs_are_those_of_the_files_and_of_the_variable(folder: Path) -> None:
    jobs = defined_jobs(folder)
    assert list(jobs) == ["books", "films"]
    films = jobs.definition("films")
    assert (films.job.source_table, films.job.checks.rejects, films.dag.pool) == ("films", "warn", "gpu")
    assert jobs.definition("books").source_table == "books"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"source_table = = 1", r"file wrong.toml in .*: it cannot be read as TOML \(TOMLDecodeError: .*line 1"),
        (b'source_table = "\xff"', "file wrong.toml in .*: it cannot be read as TOML"),
        (b'source_table = "wrong"', "file wrong.toml in .*: scoring job 'wrong': key 'source_conn_id': it is missing"),
    ],
)
def test_a_wrong_file_names_itself_and_leaves_the_others_alone(folder: Path, content: bytes, problem: str) -> None:
    (folder / "wrong.toml").write_bytes(content)
    jobs = defined_jobs(folder)
    assert jobs.definition("films").source_table == "films"
    with pytest.raises(ConfigurationError, match=problem):
        jobs.definition("wrong")


def test_a_file_whose_name_is_no_name_of_a_job_is_refused(folder: Path) -> None:
    (folder / "my films.toml").write_text(FILMS)
    with pytest.raises(ConfigurationError, match="may contain letters, digits"):
        defined_jobs(folder).definition("my films")


def test_a_job_that_is_defined_twice_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": BOOKS}))
    with pytest.raises(ConfigurationError, match="file films.toml .*defined here and in the Variable"):
        defined_jobs(folder).definition("films")


def test_a_broken_variable_does_not_affect_the_jobs_of_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", "{")
    jobs = defined_jobs(folder)
    assert jobs.definition("films").source_table == "films"
    with pytest.raises(NoSuchJobError, match=r"no scoring job 'books' in .*, and .* is not valid JSON"):
        jobs.definition("books")


def test_the_folder_is_that_of_the_settings_or_the_one_beside_the_dag_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs_folder(tmp_path / "ours.py") == tmp_path / "review_scoring_jobs"
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/dags")
    assert jobs_folder() == Path("/dags/review_scoring_jobs")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__JOBS_FOLDER", "/etc/jobs")
    assert jobs_folder() == jobs_folder(tmp_path / "ours.py") == Path("/etc/jobs")


def check(home: AirflowHome, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `review-scoring jobs check`."""
    command = [str(Path(sys.executable).with_name("review-scoring")), "jobs", "check", "--folder", str(folder)]
    environment = home.environment(AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps({"books": BOOKS}))
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def test_the_command_checks_every_job_and_fails_if_one_is_wrong(airflow_home: AirflowHome, folder: Path) -> None:
    good = check(airflow_home, folder)
    assert good.returncode == 0, good.stderr
    assert "ok     books: DAG score_books, 0 2 * * * UTC" in good.stdout
    (folder / "cron.toml").write_text(FILMS + 'schedule = "at night"\n')
    (folder / "notifier.toml").write_text(
        FILMS + '[[dag.notifications]]\non = ["failure"]\nnotifier = "json.JSONDecoder"\n'
    )
    wrong = check(airflow_home, folder)
    assert wrong.returncode == 1
    assert "ok     films: DAG score_films" in wrong.stdout
    assert "wrong  cron: key 'dag.schedule': 'at night' is not a cron expression" in wrong.stdout
    assert "wrong  notifier: 'json.JSONDecoder' is not a notifier" in wrong.stdout
