"""The image: what can be known of it without building one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from tests.deployment.compose_file import ROOT

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COPIED = [words for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE) if (words := line.split())]
SOURCES = [word for words in COPIED for word in words[:-1] if not word.startswith("--")]
MOUNTED = re.findall(r"type=bind,source=([^,]+),", TEXT)


@pytest.mark.parametrize("source", sorted({*SOURCES, *MOUNTED}))
def test_what_is_copied_is_there_and_is_sent_to_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert source in allowed


def test_what_is_sent_to_the_builder_is_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == {*SOURCES, *MOUNTED}


WAREHOUSES = {"bigquery", "databricks", "redshift", "snowflake"}
"""Extras whose clients need other versions than `requirements.txt` has, by which the image is built."""


def test_the_extras_that_it_installs_are_there_and_are_not_for_developers() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert set(re.findall(r"--extra (\w+)", TEXT)) == extras - {"dev"} - WAREHOUSES


def test_no_compiler_is_installed_and_the_last_user_is_not_root() -> None:
    assert not re.search(r"apt-get|build-essential|gcc", TEXT)
    assert re.findall(r"^USER (\d+)", TEXT, re.MULTILINE)[-1] != "0"


def test_what_its_steps_pick_from_the_lock_is_there() -> None:
    for name in ("torch", "uv"):
        assert f"grep '^{name}=='" in TEXT
        assert re.search(rf"^{name}==\d", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


def test_a_build_of_torch_that_is_none_is_told() -> None:
    (step,) = re.findall(r'case "\$TORCH_BUILD".*?esac', TEXT)
    done = subprocess.run(
        ["bash", "-euc", step], env={"TORCH_BUILD": "gpu", "torch": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "TORCH_BUILD is 'gpu'; it must be cpu or cuda" in done.stderr


def test_the_health_check_needs_no_package() -> None:
    """It runs in every container, again and again: with the standard library alone, and without Airflow."""
    done = subprocess.run(
        [sys.executable, "-IS", str(ROOT / "deploy/healthy"), "api"],
        env={"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:9/execution/"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the API server does not answer" in done.stdout
