"""Jobs are found in files and in the Variable, and a wrong one does not affect the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from review_scoring.airflow.jobs import defined_jobs, jobs_folder, score_dag_id
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


def test_nested_beyond_measure_is_a_problem_of_that_file_alone(folder: Path) -> None:
    (folder / "deep.toml").write_text("x = " + "[" * 5000 + "]" * 5000)
    jobs = defined_jobs(folder)
    assert jobs.definition("films").source_table == "films"
    with pytest.raises(ConfigurationError, match="file deep.toml in .*: it cannot be read as TOML"):
        jobs.definition("deep")


def test_hidden_files_of_editors_are_no_jobs(folder: Path) -> None:
    for name in ("._films.toml", ".#films.toml", "films.toml~"):
        (folder / name).write_text("no TOML")
    assert list(defined_jobs(folder)) == ["books", "films"]


def test_an_invalid_name_never_has_the_dag_of_another_job() -> None:
    names = ["a_b", "a b", "a/b", "a\u00e9b", "None", "a" * 200, "a" * 201]
    ids = [score_dag_id(name) for name in names]
    assert len({*ids}) == len(names)
    assert [each for each in ids if each.startswith("score_")] == ["score_a_b", "score_None", "score_" + "a" * 200]
    assert all(len(each) <= 250 for each in ids)


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
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__JOBS_FOLDER", str(tmp_path))
    assert jobs_folder() == jobs_folder("/dags/ours.py") == tmp_path
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__JOBS_FOLDER", "/no/such/folder")
    with pytest.raises(ConfigurationError, match="option 'jobs_folder' .*: there is no folder /no/such/folder"):
        jobs_folder()


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


def test_the_command_needs_no_metadata_database(tmp_path: Path, folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("review-scoring")), "jobs", "check", "--folder", str(folder)]
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path / "home")}
    ran = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    assert ran.stdout.startswith("ok     films: DAG score_films")
    assert "Traceback" not in ran.stdout + ran.stderr
