"""docker-compose.yaml: what can be known of it without a container engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.runner import AirflowHome
from tests.deployment.compose_file import COMPOSE, EXAMPLE, REFERENCE, ROOT, Service, made_up, services

KNOWN_OPTIONS = """
import json
from airflow.configuration import conf
conf.load_providers_configuration()
known = {section: sorted(found["options"]) for section, found in conf.configuration_description.items()}
print(json.dumps(known))
"""
PARSE = """
import json, sys
from airflow.cli.cli_parser import get_parser
for words in json.loads(sys.argv[1]):
    get_parser().parse_args(words)
"""
CACHES = """
from huggingface_hub import constants
print(constants.HF_HUB_CACHE, constants.HF_XET_CACHE, constants.HF_ASSETS_CACHE)
"""
SECRET = re.compile(r"PASSWORD|SECRET|_KEY")
IMAGE = re.compile(r"^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-\w+)*$")


def example() -> dict[str, str]:
    """Return what .env.example sets."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def compose() -> dict[str, Service]:
    """The services, with secrets made up by deploy/env."""
    return services(made_up())


def printed(airflow_home: AirflowHome, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=airflow_home.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def airflow_services(compose: dict[str, Service]) -> dict[str, Service]:
    return {name: service for name, service in compose.items() if "AIRFLOW__CORE__EXECUTOR" in service.environment}


def test_every_variable_is_in_the_example_and_every_one_there_is_used() -> None:
    used = {found["name"] for found in REFERENCE.finditer(COMPOSE.read_text()) if found["name"]}
    assert used == set(example())


def test_it_refuses_to_start_without_any_of_the_secrets() -> None:
    secrets = {name for name in example() if SECRET.search(name)}
    assert len(secrets) == 9
    for name in secrets:
        with pytest.raises(KeyError, match=name):
            services({**made_up(), name: ""})


def test_no_secret_is_written_in_a_file() -> None:
    assert [name for name, value in example().items() if SECRET.search(name) and value] == []
    document = yaml.safe_load(COMPOSE.read_text())
    for service in document["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name) and not name.endswith("_FILE"):
                assert REFERENCE.fullmatch(value), f"{name} is {value!r}"
            without_references = REFERENCE.sub("", str(value))
            assert not re.search(r"://[^@/]*:[^@/]+@", without_references), f"{name} holds a password"


def test_deploy_env_makes_up_every_secret_anew_and_fits_into_addresses() -> None:
    first, second = made_up(), made_up()
    for name, value in example().items():
        assert (first[name] == value) is not bool(SECRET.search(name))
        assert (first[name] == second[name]) is not bool(SECRET.search(name))
        if SECRET.search(name):
            assert re.fullmatch(r"[\w=-]{24,}", first[name])


def test_every_airflow_command_parses(compose: dict[str, Service], airflow_home: AirflowHome) -> None:
    commands = [service.command[1:] for service in compose.values() if service.command[:1] == ["airflow"]]
    commands.append(["api-server", *compose["api-server"].command[1:]])
    assert len(commands) == 7
    printed(airflow_home, PARSE, json.dumps(commands))


def test_every_airflow_variable_is_an_option_that_airflow_knows(
    compose: dict[str, Service], airflow_home: AirflowHome
) -> None:
    known: dict[str, list[str]] = json.loads(printed(airflow_home, KNOWN_OPTIONS).splitlines()[-1])
    unknown = []
    for service in compose.values():
        for name in service.environment:
            if name.startswith("AIRFLOW__"):
                _, section, option = name.lower().split("__")
                if option not in known.get(section, []):
                    unknown.append(name)
    assert sorted(set(unknown)) == []


def test_every_variable_of_ours_is_one_that_the_code_reads(compose: dict[str, Service]) -> None:
    code = "".join(path.read_text() for room in ("include", "dags") for path in (ROOT / room).rglob("*.py"))
    ours = {name for service in compose.values() for name in service.environment if name.startswith("REVIEW_SCORING_")}
    assert {name for name in ours if f'"{name}"' not in code} == set()


def test_each_image_of_ours_is_built_by_one_service_and_pulled_by_none(compose: dict[str, Service]) -> None:
    """Two that build one tag side by side fail the first time; one that pulls it asks a registry that has none."""
    by_image: dict[str, list[Service]] = {}
    for service in airflow_services(compose).values():
        by_image.setdefault(service.settings["image"], []).append(service)
    assert {image.rsplit("-", 1)[1] for image in by_image} == {"cpu", "cuda"}
    for services_ in by_image.values():
        (builder,) = (each for each in services_ if "build" in each.settings)
        assert "pull_policy" not in builder.settings
        for other in services_:
            if other is not builder:
                assert other.settings["pull_policy"] == "never"
                assert builder.name in needed_by(other.name, compose), f"{other.name} can be started without its image"


def needed_by(name: str, compose: dict[str, Service]) -> set[str]:
    """Return all services that compose starts before a service."""
    direct = set(compose[name].settings.get("depends_on", {}))
    return direct.union(*(needed_by(each, compose) for each in direct))


def test_downloads_of_hugging_face_keep_their_files_on_a_volume(compose: dict[str, Service]) -> None:
    for service in airflow_services(compose).values():
        environment = {"HOME": "/opt/airflow", **service.environment}
        done = subprocess.run(
            [sys.executable, "-c", CACHES], env=environment, capture_output=True, text=True, check=True
        )
        volumes = [mount.split(":")[1] for mount in service.settings["volumes"]]
        for folder in done.stdout.split():
            assert any(Path(folder).is_relative_to(volume) for volume in volumes), f"{service.name} writes to {folder}"


def test_models_are_imported_where_no_gpu_waits(compose: dict[str, Service]) -> None:
    queue = compose["dag-processor"].environment["AIRFLOW__REVIEW_SCORING__IMPORT_QUEUE"]
    listening = [name for name, service in compose.items() if queue in service.command]
    assert listening == ["worker"]


def test_every_folder_and_file_that_is_mounted_or_run_is_there(compose: dict[str, Service]) -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in compose.values():
        for mount in service.settings.get("volumes", []):
            source = mount.split(":")[0]
            assert source in volumes or (ROOT / source).is_file(), f"{service.name}: {mount}"
        for word in [*service.command[:1], *service.health_check[:1]]:
            if word.startswith("/opt/review_scoring/"):
                script = ROOT / "deploy" / word.removeprefix("/opt/review_scoring/")
                assert script.is_file()
                assert script.stat().st_mode & 0o111, f"{script} cannot be executed"


def test_every_service_that_stays_is_watched_restarted_and_kept_small(compose: dict[str, Service]) -> None:
    for service in compose.values():
        settings = service.settings
        assert settings["read_only"] is True
        assert settings["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in settings["security_opt"]
        assert IMAGE.match(settings["image"]), settings["image"]
        if service.name == "init":
            assert settings["restart"] == "no"
        else:
            assert settings["restart"] == "unless-stopped"
            assert service.health_check, f"{service.name} has no health check"


def test_nobody_runs_as_root(compose: dict[str, Service]) -> None:
    ours = airflow_services(compose)
    for service in compose.values():
        assert service.name in ours or service.settings["user"] in {"postgres", "redis"}
    assert re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1] == "50000:50000"


def test_only_the_api_server_can_be_reached_and_only_from_this_machine(compose: dict[str, Service]) -> None:
    published = {name: service.settings["ports"] for name, service in compose.items() if "ports" in service.settings}
    assert published == {"api-server": ["127.0.0.1:8080:8080"]}


def test_a_worker_is_given_no_secret_of_the_server() -> None:
    secrets = made_up()
    ours = services(secrets)
    for name in ("worker", "worker-cpu", "worker-gpu"):
        values = " ".join(ours[name].environment.values())
        held = {secret for secret in example() if SECRET.search(secret) and secrets[secret] in values}
        assert held == {"REDIS_PASSWORD", "RESULTS_PASSWORD"}


def test_each_profile_has_one_scoring_worker_on_the_queue_that_the_dags_name(compose: dict[str, Service]) -> None:
    for profile in ("cpu", "gpu"):
        scoring = [each for each in compose.values() if each.settings.get("profiles") == [profile]]
        (worker,) = scoring
        queue = worker.command[worker.command.index("--queues") + 1]
        assert queue == compose["dag-processor"].environment["AIRFLOW__REVIEW_SCORING__QUEUE"]
    gpu = compose["worker-gpu"]
    assert gpu.environment["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == "1"
    (device,) = gpu.settings["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}


def test_what_waits_for_a_service_waits_for_one_that_can_become_so(compose: dict[str, Service]) -> None:
    for service in compose.values():
        needs: dict[str, Any] = service.settings.get("depends_on", {})
        for name, condition in needs.items():
            if condition["condition"] == "service_healthy":
                assert compose[name].health_check
            else:
                assert compose[name].settings["restart"] == "no"
            assert not compose[name].settings.get("profiles")
