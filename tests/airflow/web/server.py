"""A running Airflow: all its components on SQLite and free ports, with the project's DAGs and pages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.airflow.runner import ROOT, AirflowHome

START_S = 300
STOP_S = 90
USERS = "admin:admin,colleague:op,reader:viewer,nobody:"


@dataclass(frozen=True)
class Server:
    """The address, passwords and log of a running Airflow."""

    address: str
    passwords: Mapping[str, str]
    log: Path


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Server]:
    """Start Airflow in a folder, wait until it answers, and stop it on exit.

    :param environment: more settings, such as Connections and Variables
    """
    home = AirflowHome(folder)
    home.migrate()
    port, logs, triggerer_logs = free_ports(3)
    address = f"http://localhost:{port}"
    settings = home.environment(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        PORT=str(port),
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="True",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=USERS,
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(logs),
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(triggerer_logs),
        **environment,
    )
    log = folder / "up.log"
    output = folder / "standalone.out"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / "standalone.py"), str(log)],
            env=settings,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(output, process, log)
        passwords = json.loads((folder / "simple_auth_manager_passwords.json.generated").read_text())
        yield Server(address, passwords, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_S)


def wait_for(output: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `bin/standalone.py` prints the address."""
    deadline = time.monotonic() + START_S
    while "Ctrl-C" not in output.read_text():
        message = f"Airflow did not start: {output.read_text()}\n{log.read_text()[-3000:] if log.exists() else ''}"
        assert process.poll() is None, message
        assert time.monotonic() < deadline, message
        time.sleep(0.5)


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
