#!/usr/bin/env python3
"""Install the emulators of Snowflake and BigQuery, and an environment with the real clients that tests them.

Three virtual environments below `.emulators/`, since no two of them agree on their packages: `snowflake` (fakesnow),
`bigquery` (bqemulator), and `tests`, with this package, its extras for warehouses and pytest, without torch. Does
nothing if they are up to date. Then run:

    REVIEW_SCORING_TEST_EMULATORS=.emulators .emulators/tests/bin/python -m pytest tests/warehouses
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from matrix import LOCK, ROOT, TOOLS, find_python, find_uv, without

FOLDER = Path(os.environ.get("REVIEW_SCORING_TEST_EMULATORS") or ROOT / ".emulators").absolute()
PYTHON = "3.11"

EXTRAS = ["benchmark", "bigquery", "databricks", "duckdb", "mysql", "postgres", "redshift", "snowflake"]
TOO_NEW = {"deprecated", "importlib-metadata", "protobuf", "python-dateutil", "sqlalchemy", "tenacity"}
"""Packages of the lock that are too new for the clients of the warehouses."""

SPATIAL = "from duckdb_extensions import import_extension; import_extension('spatial')"
"""What puts an extension of DuckDB in place that bqemulator would download otherwise."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    :param packages: what is installed, as arguments of `uv pip install`
    :param afterwards: a statement of Python that it runs once
    :param files: whose content the packages depend on
    """

    name: str
    packages: tuple[str, ...]
    afterwards: str = ""
    files: tuple[Path, ...] = ()

    @property
    def interpreter(self) -> Path:
        """Python in the virtual environment."""
        return FOLDER / self.name / "bin" / "python"

    @property
    def stamp(self) -> str:
        """A text that changes with what has to be installed."""
        content = b"".join(path.read_bytes() for path in self.files)
        return f"{PYTHON} {self.packages} {self.afterwards} {hashlib.sha256(content).hexdigest()}"


ENVIRONMENTS = (
    # snowflake-connector-python 5 has moved what fakesnow 0.12 imports.
    Environment("snowflake", ("fakesnow[server]==0.12.1", "snowflake-connector-python<5")),
    Environment(
        "bigquery",
        ("bqemulator==1.3.0", "duckdb==1.5.5", "duckdb-extensions==1.5.5", "duckdb-extension-spatial==1.5.5", "numpy"),
        afterwards=SPATIAL,
    ),
    Environment(
        "tests",
        ("--constraints", "tests.txt", "--editable", f"{ROOT}[{','.join(EXTRAS)}]", *TOOLS),
        files=(LOCK, ROOT / "pyproject.toml"),
    ),
)


def main() -> int:
    """Bring each environment up to date; return 1 if one cannot be installed."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "tests.txt").write_text(without(LOCK.read_text(), TOO_NEW | {"torch"}))
    for each in ENVIRONMENTS:
        stamp = FOLDER / f"{each.name}.stamp"
        if each.interpreter.exists() and stamp.exists() and stamp.read_text() == each.stamp:
            continue
        log = FOLDER / f"{each.name}.log"
        print(f"emulators: installing {each.name}, log in {log}", flush=True)
        try:
            install(each, log)
        except subprocess.CalledProcessError as error:
            print(f"emulators: {' '.join(error.cmd[:3])} failed; see {log}", file=sys.stderr)
            return 1
        stamp.write_text(each.stamp)
    return 0


def install(environment: Environment, log: Path) -> None:
    """Make a virtual environment, or bring it up to date."""
    with log.open("w") as output:

        def run(*command: str) -> None:
            subprocess.run(command, cwd=FOLDER, stdout=output, stderr=output, check=True)

        if not environment.interpreter.exists():
            run(find_uv(), "venv", "--python", find_python(PYTHON), environment.name)
        run(find_uv(), "pip", "install", "--python", str(environment.interpreter), *environment.packages)
        if environment.afterwards:
            run(str(environment.interpreter), "-c", environment.afterwards)


if __name__ == "__main__":
    sys.exit(main())
