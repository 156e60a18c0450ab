"""The settings of a deployment come from Airflow's configuration: environment, airflow.cfg, defaults."""

from __future__ import annotations

import subprocess
from configparser import InterpolationSyntaxError
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


def test_an_option_that_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__POOL", "")
    found = settings()
    assert found.model_copy(update={"queue": None, "import_queue": None}) == Settings()
    assert found.queue == found.import_queue == "default"


@pytest.mark.parametrize("wrong", ["~no-such-user/sets.toml", "/mnt/50%sets"])
def test_an_option_that_cannot_be_read_is_named_and_does_not_keep_the_pages_from_starting(wrong: str) -> None:
    def get(name: str) -> str | None:
        if name == "benchmark_sets" and "%" in wrong:
            raise InterpolationSyntaxError(name, "review_scoring", "'%' must be followed by '%' or '('")
        return {"benchmark_sets": wrong, "hide_texts": "yes"}.get(name)

    with pytest.raises(ConfigurationError, match="option 'benchmark_sets' of .review_scoring. .* cannot be read"):
        Settings.read(get)
    assert Settings.read_for_pages(get).hide_texts


def test_days_that_something_is_kept_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__KEEP_RUNS_DAYS", "400")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__KEEP_PREDICTIONS_DAYS", " 30 ")
    found = settings()
    assert (found.keep_runs_days, found.keep_predictions_days) == (400, 30)


@pytest.mark.parametrize(
    ("option", "wrong", "told"),
    [
        (
            "keep_runs_days",
            "100",
            "keep_runs_days is 100; it must be 0, .* or at least 125: the charts",
        ),
        ("keep_runs_days", "-1", "keep_runs_days is -1; it must be from 1 to 36500, or 0 for ever"),
        ("keep_predictions_days", "a year", "keep_predictions_days is 'a year'; it must be a whole number of days"),
    ],
)
def test_days_that_are_too_few_are_refused_with_the_reason(option: str, wrong: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"option '{option}' .* cannot be read .*{told}"):
        Settings.read({option: wrong}.get)


def test_pages_whose_own_options_cannot_be_read_show_no_texts() -> None:
    def refuse(name: str) -> str:
        raise KeyError(name)

    assert Settings.read_for_pages(refuse).hide_texts


@pytest.mark.parametrize("name", Settings.model_fields)
def test_airflow_lists_every_option_with_its_default(name: str) -> None:
    option = get_provider_info()["config"]["review_scoring"]["options"][name]
    read = Settings.read({name: option["default"]}.get)
    assert read == Settings()
    assert option["description"]


def test_airflows_own_command_and_configuration_file_know_the_options(
    airflow_home: AirflowHome, tmp_path: Path
) -> None:
    environment = airflow_home.environment(AIRFLOW_HOME=str(tmp_path))  # other tests need the secrets in the usual file

    def value_of(option: str) -> str:
        command = [airflow(), "config", "get-value", "review_scoring", option]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
        return done.stdout.splitlines()[-1]

    assert value_of("pool") == "default_pool"
    (tmp_path / "airflow.cfg").write_text("[review_scoring]\npool = of the file\n")
    assert value_of("pool") == "of the file"


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("AIRFLOW__REVIEW_SCORING__POOLS", "not an option of .review_scoring.: set AIRFLOW__REVIEW_SCORING__POOL$"),
        (
            "AIRFLOW__REVIEW_SCORING__ZZZ",
            "not an option of .review_scoring.; the options are schedule, benchmark_schedule",
        ),
        ("AIRFLOW__REVIEW_SCORING__SHARDS", "`airflow variables set review_scoring_shards …`"),
        ("REVIEW_SCORING_POOL", "REVIEW_SCORING_POOL is not read: set AIRFLOW__REVIEW_SCORING__POOL$"),
        ("REVIEW_SCORING_SHARDS", "`airflow variables set review_scoring_shards …`"),
        ("AIRFLOW__REVIEW_SCORING_POOL", "_SCORING_POOL is not read: set AIRFLOW__REVIEW_SCORING__POOL$"),
        ("AIRFLOW_REVIEW_SCORING__POOLS", "__POOLS is not read: set AIRFLOW__REVIEW_SCORING__POOL$"),
        ("AIRFLOW__REVIEW_SCORING_ZZZ", "AIRFLOW__REVIEW_SCORING_ZZZ is not read; the options are schedule"),
        ("AIRFLOW__REVIEW_SCORING_SHARDS", "`airflow variables set review_scoring_shards …`"),
    ],
)
def test_an_environment_variable_that_is_not_read_is_refused_with_what_to_set(variable: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        refuse_unknown_environment({variable: "secret", "PATH": "/bin"})


def test_other_environment_variables_are_accepted() -> None:
    other_section = "AIRFLOW__REVIEW_SCORING_REPORTS__POOL"
    others = ("REVIEW_SCORING_TEST_POSTGRES", "AIRFLOW__CORE__FERNET_KEY", other_section, "POOL")
    refuse_unknown_environment({"AIRFLOW__REVIEW_SCORING__POOL": "gpu", **dict.fromkeys(others, "x")})
