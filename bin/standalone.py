"""Run `airflow standalone` until Ctrl-C, tell its address and login, and leave no process behind.

Standalone stops its children on SIGINT alone, and a second SIGINT interrupts the stopping. So it gets a session of its
own, where the terminal's Ctrl-C does not reach it, and one SIGINT from here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 30


def main(log: Path) -> int:
    """Start, tell, wait, stop; return the exit code."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", int(os.environ["PORT"]))) == 0:
            print(f"up: port {os.environ['PORT']} is taken; PORT=8081 make up takes another")
            return 1
    address = f"http://localhost:{os.environ['PORT']}"
    passwords = Path(os.environ["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with log.open("a") as output:
        airflow = subprocess.Popen(
            ["airflow", "standalone"],  # noqa: S607 the one of this checkout's environment
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not (healthy(address) and passwords.exists()):
            if airflow.poll() is not None:
                print(f"up: Airflow did not start; its log is {log}")
                return 1
            time.sleep(1)
        print(f"up: {address}  user admin, password {json.loads(passwords.read_text())['admin']}")
        print("up: Ctrl-C stops it", flush=True)
        return airflow.wait()
    except KeyboardInterrupt:
        stop(airflow)
        return 0


def healthy(address: str) -> bool:
    """Say whether the API server answers."""
    try:
        with urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=2):  # noqa: S310 http to localhost
            return True
    except OSError:
        return False


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """Ask once, wait, and end what is left of Airflow's session."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("\nup: stopping", flush=True)
    airflow.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        airflow.wait(PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(airflow.pid, signal.SIGKILL)
    print("up: stopped", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
