"""Emulators of Snowflake (fakesnow) and BigQuery (bqemulator), each in an environment of its own (`bin/emulators.py`).

Both run real SQL on DuckDB, and speak the protocol of the real clients. No test of this folder has seen a warehouse.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tests.requirements import not_here

EMULATORS = "REVIEW_SCORING_TEST_EMULATORS"
UP_WITHIN_S = 60


def program(environment: str, name: str) -> str:
    """Return a program of an emulator's environment; skip the test if there is none."""
    folder = os.environ.get(EMULATORS)
    if not folder:
        not_here(f"{EMULATORS} names no folder with emulators, such as .emulators; bin/emulators.py makes it")
        raise AssertionError
    if find_spec("snowflake") is None:
        not_here(f"the clients of the warehouses are not installed; run the tests with {folder}/tests/bin/python")
    path = Path(folder).absolute() / environment / "bin" / name
    if not path.is_file():
        not_here(f"there is no {path}; bin/emulators.py makes it")
    return str(path)


@contextmanager
def snowflake_emulator(log: Path) -> Iterator[str]:
    """Run an emulator of Snowflake, and yield its address."""
    port = free_port()
    with _running([program("snowflake", "fakesnow"), "-s", "-p", str(port)], port, log) as address:
        yield address


@contextmanager
def bigquery_emulator(log: Path) -> Iterator[str]:
    """Run an emulator of BigQuery, and yield its address."""
    port = free_port()
    ports = ["--rest-port", str(port), "--grpc-port", str(free_port())]
    command = [program("bigquery", "bqemulator"), "start", *ports, "--project", "tests"]
    with _running(command, port, log) as address:
        yield address


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + UP_WITHIN_S
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} is not up:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 http
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
