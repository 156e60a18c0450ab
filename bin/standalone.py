"""Runs Airflow until Ctrl-C (`make up`): starts the API server first, prints URL and login, stops all components.

It replaces `airflow standalone`, which starts all components at once: under load, tasks started before the API server
listened, and their first tries failed with "connection refused". Here the API server runs before the scheduler starts.
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

STOP_TIMEOUT_S = 30


def main(log: Path) -> int:
    """Start the components, print URL and login, wait, stop them, and return the exit code."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", int(os.environ["PORT"]))) == 0:
            print(f"up: port {os.environ['PORT']} is in use; set another one: PORT=8081 make up")
            return 1
    address = f"http://localhost:{os.environ['PORT']}"
    passwords = Path(os.environ["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    components = [start("api-server", log)]
    try:
        while not (healthy(address) and passwords.exists()):
            if components[0].poll() is not None:
                print(f"up: Airflow did not start; see the log in {log}")
                return 1
            time.sleep(1)
        components.extend(start(name, log) for name in ("scheduler", "dag-processor", "triggerer"))
        print(f"up: {address}  user admin, password {json.loads(passwords.read_text())['admin']}")
        print("up: Ctrl-C stops it", flush=True)
        while all(component.poll() is None for component in components):
            time.sleep(1)
        print(f"up: a component of Airflow has ended; see the log in {log}")
        stop(components)
        return 1
    except KeyboardInterrupt:
        stop(components)
        return 0


def start(component: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a component in a new session, so that Ctrl-C in the terminal does not reach it."""
    with log.open("a") as output:
        return subprocess.Popen(
            ["airflow", component],  # noqa: S607 bin/environment has set the PATH
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def healthy(address: str) -> bool:
    """Return whether the API server answers."""
    try:
        with urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=2):  # noqa: S310 http to localhost
            return True
    except OSError:
        return False


def stop(components: list[subprocess.Popen[bytes]]) -> None:
    """Terminate each component, the API server last; kill those that are left after a timeout."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("\nup: stopping", flush=True)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for component in reversed(components):
        component.terminate()
        with suppress(subprocess.TimeoutExpired):
            component.wait(max(deadline - time.monotonic(), 1))
        with suppress(ProcessLookupError):
            os.killpg(component.pid, signal.SIGKILL)
    print("up: stopped", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
