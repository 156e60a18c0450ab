"""The generated reference in docs/reference/ equals the code, and its JSON Schemas accept the project's own files."""

from __future__ import annotations

import json
import runpy
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import ROOT

REFERENCE = ROOT / "docs" / "reference"
COMMAND = ".venv/bin/python bin/reference.py"
PACKAGE = ROOT / "include" / "review_scoring"


@pytest.fixture(scope="module")
def documents() -> Mapping[str, str]:
    """The files as the code makes them now."""
    found: Mapping[str, str] = runpy.run_path(str(ROOT / "bin" / "reference.py"))["documents"]()
    return found


def test_the_reference_equals_the_code(documents: Mapping[str, str]) -> None:
    for name, content in documents.items():
        written = (REFERENCE / name).read_text(encoding="utf-8") if (REFERENCE / name).is_file() else ""
        assert written == content, f"docs/reference/{name} is not what the code says: run {COMMAND}"


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("catalogue.schema.json", PACKAGE / "models" / "catalogue.toml"),
        ("benchmark_sets.schema.json", PACKAGE / "evaluation" / "benchmark_sets.toml"),
    ],
)
def test_a_schema_accepts_the_projects_own_file_and_refuses_a_misspelled_key(
    documents: Mapping[str, str], schema: str, file: Path
) -> None:
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json.loads(documents[schema]))
    assert list(validator.iter_errors(content)) == []
    name = next(iter(content))
    content[name]["tittle"] = "a typo"
    assert ["'tittle' was unexpected" in error.message for error in validator.iter_errors(content)] == [True]
