"""A process that has imported Airflow, and forks for each command.

A run of `airflow dags test` in a process of its own takes 20 seconds of CPU time: 15 of them for imports, and for the
API that its tasks talk to. A fork of a process that has both takes 5.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OF_A_RUN = (
    "AIRFLOW_CONN_",
    "AIRFLOW_VAR_",
    "AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__REVIEW_SCORING__",
    "PYTEST_CURRENT_TEST",
)
"""Variables that a fork can change. Others may have been read by an import."""

LOADED_BY_RUNS = ("review_scoring.inference.classifier", "review_scoring.inference.loading")


class PreparedProcess:
    """Runs `airflow` commands in forks of a process, one at a time.

    :param environment: of the process
    :param folder: for the outputs of the commands
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._fixed = _fixed(environment)
        self._output = folder / "output_of_command"
        self._log = folder / "prepared_process.log"
        with self._log.open("w") as log:
            self._process: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, __file__],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process has been closed, or has died."""
        return self._process.poll() is not None

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Return whether the environment differs from that of the process only in what a fork can change."""
        return _fixed(environment) == self._fixed

    def run(self, command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command, and return its exit code and output."""
        asked = {"command": command, "environment": dict(environment), "output": str(self._output)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, f"the prepared process of Airflow has ended:\n{self._log.read_text()}"
            code = int(answer)
        except BaseException:  # a test's time is up: the answer would be taken for that of the next command
            self.close()
            raise
        return subprocess.CompletedProcess(command, code, self._output.read_text())

    def close(self) -> None:
        """End the process, and the command that it runs."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OF_A_RUN)}


def serve() -> None:
    """Import what runs need, then run each command of standard input in a fork, and answer with its exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    _import_all()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _import_all() -> None:
    import asyncio
    import importlib

    from airflow.cli.commands import dag_command  # noqa: F401 so that forks have it
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    api = in_process_api_server().app

    async def start_and_stop_api() -> None:
        """Let the API build its routes, in an event loop that ends: a fork has no threads."""
        async with api.router.lifespan_context(api):
            await _request(api, "/health")

    asyncio.run(start_and_stop_api())
    for module in LOADED_BY_RUNS if find_spec("torch") else ():
        importlib.import_module(module)


async def _request(api: Any, path: str) -> None:
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://api") as client:
        (await client.get(path)).raise_for_status()


def _run(command: list[str], environment: dict[str, str], output: str) -> int:
    """Run a command in this process, and return its exit code."""
    from airflow import settings

    os.environ.clear()
    os.environ.update(environment)
    configure_vars: Any = settings.configure_vars
    configure_vars()
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = command
    code: object = 0
    try:
        runpy.run_module("airflow", run_name="__main__")
    except SystemExit as exit_of_command:
        code = exit_of_command.code or 0
    except BaseException:  # noqa: BLE001 as the interpreter does
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
