"""The import contracts are about the whole package: no module, and none that comes later, is missed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "review_scoring"

FORBIDDEN = [
    ("checks/control_chart", "import torch"),
    ("evaluation/champion", "import sqlalchemy"),
    ("run/report", "import review_scoring.airflow.web.rendering"),
    ("run/report", "import fastapi"),
    ("reviews", "import airflow.sdk"),
    ("run/loop", "import transformers"),
    ("airflow/operators/plan_shards", "import sqlalchemy"),
    ("airflow/jobs", "import torch"),
    ("evaluation/metrics", "import alembic"),
    ("models/store", "import review_scoring.warehouse.engine"),
    ("models/spark_nlp/formats/graph_def", "import review_scoring.models.spark_nlp.architectures"),
    ("models/spark_nlp/formats/protobuf", "import review_scoring.models.folder"),
    ("warehouse/ledger/counts", "import review_scoring.warehouse.selection.cursor"),
    ("warehouse/source/table", "import review_scoring.warehouse.ledger.ledger"),
    ("warehouse/dialects/base", "import review_scoring.warehouse.engine"),
    ("run/reader", "import review_scoring.run.planning"),
    ("airflow/connections/engines", "import review_scoring.airflow.operators.base"),
    ("airflow/variables", "import review_scoring.airflow.config"),
    ("warehouse/a_new_module", "import json"),
    ("run/a_new_module", "import json"),
    ("airflow/a_new_module", "import json"),
    ("a_new_module", "import json"),
    ("a_new_module", "import torch"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's modules and its contracts."""
    folder = tmp_path_factory.mktemp("contracts")
    source = ROOT / "include" / PACKAGE
    for path in source.rglob("*.py"):
        target = folder / PACKAGE / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def broken(folder: Path) -> list[str]:
    """Return the contracts that do not hold."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    found = re.findall(r"^(.+) BROKEN\b", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout
    return found


def test_the_contracts_hold(copied: Path) -> None:
    assert broken(copied) == []


@pytest.mark.parametrize(("module", "line"), FORBIDDEN)
def test_an_import_that_is_forbidden_is_found_in_whatever_module(copied: Path, module: str, line: str) -> None:
    path = copied / PACKAGE / f"{module}.py"
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n")
        assert broken(copied) != [], f"{line} in {module}.py"
    finally:
        path.write_text(before) if before is not None else path.unlink()


def test_every_contract_is_about_the_whole_package_or_about_a_whole_package_of_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    containers = [contract["containers"] for contract in contracts if contract["type"] == "layers"]
    assert containers == [
        [PACKAGE],
        *([f"{PACKAGE}.{name}"] for name in ("warehouse", "run", "airflow", "models", "models.spark_nlp")),
    ]
    for contract in contracts:
        if contract["type"] == "layers":
            assert contract["exhaustive"] is True
        else:
            assert contract["source_modules"] == [PACKAGE], contract["name"]
