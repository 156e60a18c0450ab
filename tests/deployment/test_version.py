"""The version is written once, in `review_scoring/__init__.py`. Every other file that names a version has that one."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest
import yaml

from review_scoring import __version__
from tests.deployment.compose_file import ROOT

NAMED = re.compile(r"review[-_]scoring[:-]v?(\d+(?:\.\d+)+)|IMAGE_TAG[^\d\n]{1,3}(\d+(?:\.\d+)+)")
"""A version in the name of an image or a wheel, or as the tag of the images."""

NAMING = ["docker-compose.yaml", ".env.example", "docs/deployment.md"]
NOT_NAMING = ["Dockerfile", "deploy/env", "deploy/init", "README.md"]


def named(file: str) -> set[str]:
    """Return the versions of this project that a file names."""
    return {first or second for first, second in NAMED.findall((ROOT / file).read_text(encoding="utf-8"))}


def test_the_build_reads_the_version_from_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "include/review_scoring/__init__.py"
    assert version("review-scoring") == __version__


@pytest.mark.parametrize("file", NAMING)
def test_a_file_that_names_a_version_names_this_one(file: str) -> None:
    assert named(file) == {__version__}


@pytest.mark.parametrize("file", NOT_NAMING)
def test_no_other_file_has_to_be_changed_for_a_release(file: str) -> None:
    """The image builds the wheel from the sources, and its tag comes from the compose file."""
    assert named(file) == set()


def test_the_images_of_the_compose_file_are_tagged_with_the_version() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    images = {service["image"] for service in services.values() if service["image"].startswith("review-scoring:")}
    assert images == {f"review-scoring:${{IMAGE_TAG:-{__version__}}}-{build}" for build in ("cpu", "cuda")}


def test_the_changelog_names_the_version_as_released_or_as_the_next_one() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *released = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert unreleased.startswith("[Unreleased]\n")
    newest = re.match(r"\[([\d.]+)\] - \d{4}-\d\d-\d\d\n", released[0]) if released else None
    assert (newest and newest[1] == __version__) or f"To be released as {__version__}" in unreleased
