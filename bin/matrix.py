#!/usr/bin/env python3
"""Run the tests with each supported version of Airflow and Python, in virtual environments of their own.

`make matrix` runs all cells, without torch: what needs torch or a service is skipped. With REVIEW_SCORING_PROVE=1 it
installs torch too, and runs the whole suite without services. `--short` runs two cells: the oldest Airflow and the
newest Python. `--only 3.1.8-3.11 fab` picks cells; `fab` has
Airflow's FAB auth manager.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("REVIEW_SCORING_MATRIX", ROOT / ".matrix"))
PROVE = os.environ.get("REVIEW_SCORING_PROVE") == "1"
LOCK = ROOT / "requirements.txt"
LOCKED = "3.3.2"
"""The Airflow of requirements.txt."""

RELEASED = {"3.1.8": "2026-03-12", "3.2.2": "2026-05-30"}
"""Airflow -> the day after its release. Packages of that day replace Airflow's constraints if they cannot be read."""

CONSTRAINTS = "https://raw.githubusercontent.com/apache/airflow/constraints-{airflow}/constraints-{python}.txt"
TOOLS = ["httpx", "hypothesis", "import-linter", "psutil", "pytest", "pytest-timeout", "pytest-xdist", "pyyaml"]
EXTRAS = ["benchmark", "duckdb", "mysql", "postgres"]
EXTRAS_OF_ALL_TESTS = ["dev", "inference", "statsd"]
EXTRAS_OF_NEW_PROVIDERS = ["celery", "openlineage"]
"""Their providers are newer than the constraints of the earlier versions of Airflow."""

FAB = "apache-airflow-providers-fab"
FAB_EXCLUDES = {"deprecated", "python-dateutil"}
"""Packages of the lock that are too new for the FAB provider 3.10."""

USUAL = [
    "tests/airflow/connections",
    "tests/airflow/dags",
    "tests/airflow/test_dag_folder.py",
    "tests/airflow/test_idle_run.py",
    "tests/airflow/test_params.py",
    "tests/airflow/test_plugin.py",
    "tests/airflow/test_promote_model.py",
    "tests/airflow/test_resolve_run.py",
    "tests/airflow/web/test_selected_job.py",
    "tests/test_public_api.py",
]
"""What depends most on Airflow: DAG files, forms, the plugin, the pages, Connections, approvals, and a run by
`airflow dags test`."""

WHOLE = ["tests"]


@dataclass(frozen=True)
class Cell:
    """A version of Airflow on a version of Python."""

    airflow: str
    python: str
    fab: bool = False

    @property
    def name(self) -> str:
        """The name of the cell on the command line, and of its folder."""
        return "fab" if self.fab else f"{self.airflow}-{self.python}"

    @property
    def interpreter(self) -> Path:
        """Python in the virtual environment of the cell."""
        return FOLDER / self.name / "bin" / "python"


CELLS = [
    Cell("3.1.8", "3.11"),
    Cell("3.1.8", "3.12"),
    Cell("3.2.2", "3.11"),
    Cell(LOCKED, "3.11"),
    Cell(LOCKED, "3.12"),
    Cell(LOCKED, "3.13"),
    Cell(LOCKED, "3.11", fab=True),
]
IN_CI = ["3.1.8-3.12", f"{LOCKED}-3.13"]


@dataclass(frozen=True)
class Row:
    """What a cell did."""

    cell: Cell
    sqlalchemy: str = ""
    ran: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    left_out: str = ""


def main() -> int:
    """Install and test each cell, print the table, and return 1 if a test failed or a cell could not be installed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--short", action="store_true")
    options.add_argument("--only", nargs="+", choices=[cell.name for cell in CELLS], metavar="CELL")
    chosen = options.parse_args()
    names = chosen.only or (
        IN_CI if chosen.short else [cell.name for cell in CELLS if PROVE or cell.name != "3.1.8-3.12"]
    )
    FOLDER.mkdir(exist_ok=True)
    rows = [run(cell) for cell in CELLS if cell.name in names]
    print_table(rows)
    return int(any(row.failed or not row.passed for row in rows))


def run(cell: Cell) -> Row:
    """Install a cell and run its tests."""
    log = FOLDER / f"{cell.name}.log"
    print(f"matrix: {cell.name}, log in {log}", flush=True)
    started = time.monotonic()
    with log.open("w") as output:
        try:
            install(cell, output.fileno())
        except subprocess.CalledProcessError as error:
            return Row(cell, failed=1, left_out=f"not installed: {error.cmd[1]} {error.cmd[2]} failed")
        installed = time.monotonic() - started
        print(f"matrix: installed in {installed:.0f} s", flush=True)
        wanted = ["tests/airflow/web/test_fab_roles.py"] if cell.fab else WHOLE if PROVE else USUAL
        paths = [str(path.relative_to(ROOT)) for each in wanted for path in sorted(ROOT.glob(each))]
        command = [str(cell.interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations", "15"]
        command += ["-n", "2", "--dist", "loadfile", *([] if PROVE else ["-k", "not duckdb"])]
        subprocess.run([*command, *paths], cwd=ROOT, env=environment(), stdout=output, stderr=output, check=False)
    return row_of(cell, log.read_text(), wanted, time.monotonic() - started)


def install(cell: Cell, output: int) -> None:
    """Make the virtual environment of a cell, or bring it up to date."""

    def uv(*words: str, into: int = output) -> None:
        subprocess.run([find_uv(), *words], cwd=ROOT, stdout=into, stderr=output, check=True)

    if not cell.interpreter.exists():
        uv("venv", "--seed", "--python", find_python(cell.python), str(FOLDER / cell.name))
    constraints = FOLDER / f"{cell.name}.txt"
    if cell.airflow == LOCKED:
        constraints.write_text(without(LOCK.read_text(), FAB_EXCLUDES if cell.fab else set()))
    elif not constraints.exists():
        constraints.write_bytes(published(cell) or resolved(cell, output))
    extras = list(EXTRAS)
    if PROVE and not cell.fab:
        extras += EXTRAS_OF_ALL_TESTS
        extras += EXTRAS_OF_NEW_PROVIDERS if cell.airflow == LOCKED else []
    more = [FAB] if cell.fab else []
    uv(
        *("pip", "install", "--python", str(cell.interpreter), "--constraints", str(constraints)),
        *("--editable", f".[{','.join(extras)}]", f"apache-airflow=={cell.airflow}", *TOOLS, *more),
    )


def find_uv() -> str:
    """Return uv: that of the development environment, or the one on the PATH."""
    own = ROOT / ".venv" / "bin" / "uv"
    return str(own) if own.exists() else "uv"


def find_python(version: str) -> str:
    """Return the interpreter that pyenv has of a version; else the version, which uv finds on the PATH or downloads."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next((str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python")), version)


def without(requirements: str, excluded: set[str]) -> str:
    """Return requirements less some packages."""
    return "\n".join(line for line in requirements.splitlines() if line.partition("==")[0] not in excluded)


def published(cell: Cell) -> bytes | None:
    """Return Airflow's own constraints for a version, if its site answers."""
    try:
        address = CONSTRAINTS.format(airflow=cell.airflow, python=cell.python)
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 https
            content: bytes = answer.read()
            return content
    except OSError:
        return None


def resolved(cell: Cell, output: int) -> bytes:
    """Return the packages that an Airflow would have been installed with on the day of its release."""
    done = subprocess.run(
        [
            *(find_uv(), "pip", "compile", "-", "--quiet", "--no-annotate", "--no-header"),
            *("--python-version", cell.python, "--exclude-newer", RELEASED[cell.airflow]),
        ],
        input=f"apache-airflow=={cell.airflow}\n".encode(),
        stdout=subprocess.PIPE,
        stderr=output,
        check=True,
    )
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of the tests: without services and without the settings of this checkout's Airflow."""
    dropped = ("REVIEW_SCORING_TEST_", "REVIEW_SCORING_REQUIRE_ALL", "AIRFLOW", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "REVIEW_SCORING_TEST_ALLOCINE": "none"}


def row_of(cell: Cell, log: str, wanted: list[str], seconds: float) -> Row:
    """Read the counts of pytest and its reasons for skipping from the log."""
    counts = dict.fromkeys(("passed", "failed", "skipped", "error", "errors"), 0)
    closing = [
        line for line in log.splitlines() if re.search(r"\d+ (passed|failed|skipped|errors?)\b.* in [\d.]+s", line)
    ]
    for number, word in re.findall(r"(\d+) (\w+)", closing[-1]) if closing else []:
        if word in counts:
            counts[word] = int(number)
    reasons = re.findall(r"^\d+ skipped: .*$", log, re.MULTILINE)
    version = "import sqlalchemy; print(sqlalchemy.__version__)"
    sqlalchemy = subprocess.run(
        [str(cell.interpreter), "-c", version], capture_output=True, text=True, check=True
    ).stdout
    return Row(
        cell,
        sqlalchemy=sqlalchemy.strip(),
        ran=" ".join(each.removeprefix("tests/") for each in wanted),
        passed=counts["passed"],
        failed=counts["failed"] + counts["error"] + counts["errors"] + (0 if closing else 1),
        skipped=counts["skipped"],
        seconds=seconds,
        left_out="\n".join(reasons),
    )


def print_table(rows: list[Row]) -> None:
    """Print one line a cell, what was run, and each reason for which tests were left out."""
    print(f"\n{'Airflow':12}{'Python':8}{'SQLAlchemy':12}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}")
    for row in rows:
        airflow = f"{row.cell.airflow} FAB" if row.cell.fab else row.cell.airflow
        numbers = f"{row.passed:8}{row.failed:8}{row.skipped:8}{row.seconds:9.0f}"
        print(f"{airflow:12}{row.cell.python:8}{row.sqlalchemy:12}{numbers}")
    for ran in dict.fromkeys(row.ran for row in rows if row.ran):
        print(f"\nran in {', '.join(row.cell.name for row in rows if row.ran == ran)}: {ran}")
    print("\nleft out:")
    for row in rows:
        for reason in row.left_out.splitlines():
            print(f"  {row.cell.name}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
