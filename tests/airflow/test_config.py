"""The deployment's settings are Airflow's configuration: environment, airflow.cfg, defaults, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from review_scoring.airflow.config import refuse_unknown_environment, settings
from review_scoring.airflow.provider import get_provider_info
from review_scoring.errors import ConfigurationError
from review_scoring.settings import Settings
from tests.airflow.runner import AirflowHome, airflow


def test_an_environment_variable_of_airflows_form_sets_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__POOL", " gpu ")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__QUEUE", "scoring")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__MODEL_STORE", "~/models")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__MODEL_HOSTS", "Mirror.example, other.example")
    found = settings()
    assert (found.pool, found.queue, found.import_queue) == ("gpu", "scoring", "scoring")
    assert found.models.store == Path("~/models").expanduser()
    assert found.models.hosts == ("mirror.example", "other.example")


def test_what_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__POOL", "")
    found = settings()
    assert found.model_copy(update={"queue": None, "import_queue": None}) == Settings()
    assert found.queue == found.import_queue == "default"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_airflow_lists_every_option_with_its_default(name: str) -> None:
    option = get_provider_info()["config"]["review_scoring"]["options"][name]
    read = Settings.read({name: option["default"]}.get)
    assert read == Settings()
    assert option["description"]


def test_airflows_own_command_and_configuration_file_know_the_options(airflow_home: AirflowHome) -> None:
    def value_of(option: str) -> str:
        command = [airflow(), "config", "get-value", "review_scoring", option]
        done = subprocess.run(command, env=airflow_home.environment(), text=True, capture_output=True, check=True)
        return done.stdout.splitlines()[-1]

    assert value_of("pool") == "default_pool"
    configuration = airflow_home.folder / "airflow.cfg"
    configuration.write_text("[review_scoring]\npool = of the file\n")
    try:
        assert value_of("pool") == "of the file"
    finally:
        configuration.unlink()


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("AIRFLOW__REVIEW_SCORING__POOLS", "no option of .review_scoring.: set AIRFLOW__REVIEW_SCORING__POOL$"),
        ("AIRFLOW__REVIEW_SCORING__ZZZ", "no option of .review_scoring.; the options are schedule, benchmark_schedule"),
        ("AIRFLOW__REVIEW_SCORING__SHARDS", "`airflow variables set review_scoring_shards …`"),
        ("REVIEW_SCORING_POOL", "REVIEW_SCORING_POOL is not read: set AIRFLOW__REVIEW_SCORING__POOL$"),
        ("REVIEW_SCORING_JOB", "`airflow variables set review_scoring_job …`"),
    ],
)
def test_an_environment_variable_that_nothing_reads_is_refused_with_what_to_set(variable: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        refuse_unknown_environment({variable: "secret", "PATH": "/bin"})


def test_environment_variables_of_others_are_left_alone() -> None:
    others = {"REVIEW_SCORING_TEST_POSTGRES": "x", "AIRFLOW__CORE__FERNET_KEY": "x", "POOL": "x"}
    refuse_unknown_environment({"AIRFLOW__REVIEW_SCORING__POOL": "gpu", **others})
