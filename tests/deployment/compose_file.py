"""docker-compose.yaml as compose reads it: merges applied, variables put in."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "docker-compose.yaml"
EXAMPLE = ROOT / ".env.example"

REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<operator>:[?-])(?P<rest>[^}]*))?\})")


@dataclass(frozen=True)
class Service:
    """One service, with what the tests look at."""

    name: str
    command: list[str]
    environment: dict[str, str]
    health_check: list[str]
    settings: dict[str, Any]


def made_up() -> dict[str, str]:
    """Return what deploy/env prints."""
    printed = subprocess.run(["sh", str(ROOT / "deploy/env")], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in printed.splitlines() if line and not line.startswith("#"))


def services(values: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of docker-compose.yaml.

    :param values: what `.env` would hold
    :raises KeyError: for a variable that has no default and no value
    """
    document: dict[str, Any] = interpolated(yaml.safe_load(COMPOSE.read_text()), values)
    return {
        name: Service(
            name=name,
            command=_words(settings.get("command", [])),
            environment={key: str(value) for key, value in settings.get("environment", {}).items()},
            health_check=_check(settings.get("healthcheck", {}).get("test", [])),
            settings=settings,
        )
        for name, settings in document["services"].items()
    }


def interpolated(node: Any, values: Mapping[str, str]) -> Any:
    """Put values in the place of `${NAME:?…}` and `${NAME:-default}`, and `$` in the place of `$$`."""
    if isinstance(node, dict):
        return {key: interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(each, values) for each in node]
    if not isinstance(node, str):
        return node

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        given = values.get(found["name"])
        if not given and found["operator"] != ":-":
            raise KeyError(f"{found['name']}: {found['rest']}")
        return given or found["rest"]

    return REFERENCE.sub(value, node)


def _words(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else command


def _check(test: list[str]) -> list[str]:
    if not test:
        return []
    kind, *rest = test
    return ["sh", "-c", *rest] if kind == "CMD-SHELL" else rest
