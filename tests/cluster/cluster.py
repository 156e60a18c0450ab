"""The services of docker-compose.yaml as plain processes on this machine.

Commands, environments, scripts and health checks are those of the compose file; what is put in their place is what
containers give: host names, ports and folders. Each service gets a home of its own, and those for logs and models are
shared, as the volumes are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine

from review_scoring.warehouse.engine import make_engine
from tests.deployment.compose_file import ROOT, made_up, services
from tests.own_postgres import OwnPostgres

SQL = {"airflow": "metadata.sql", "reviews": "reviews.sql"}
"""Database -> the script of deploy/ that the PostgreSQL image runs in it."""


class Cluster:
    """A cluster that lives in a folder.

    :param settings: what `.env` says, beside the secrets
    :param overrides: environment variables whose value in the compose file is not for a test, such as time-outs
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        self.folder = folder
        self.secrets = made_up()
        self.services = services({**self.secrets, **settings})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._overrides = overrides
        self._ports = {name: _free_port() for name in ("api-server", "redis")}
        self._postgres: OwnPostgres | None = None
        for shared in ("logs", "models", "data"):
            (folder / shared).mkdir()

    @property
    def postgres(self) -> OwnPostgres:
        """The server of the metadata, of Celery's results and of the reviews."""
        assert self._postgres is not None, "the cluster was not prepared"
        return self._postgres

    @property
    def reviews(self) -> Engine:
        """The warehouse."""
        return make_engine(f"postgresql+psycopg://postgres@127.0.0.1:{self.postgres.port}/reviews")

    def prepare(self) -> None:
        """Start databases and broker, and run what the compose file runs before Airflow starts."""
        self._postgres = OwnPostgres()
        self._psql("postgres", "-c", "CREATE ROLE airflow SUPERUSER LOGIN")
        for database, script in SQL.items():
            self._psql("postgres", "-c", f"CREATE DATABASE {database} OWNER airflow")
            sample = ROOT / "include/review_scoring/data/sample_reviews.csv"
            sql = (ROOT / "deploy" / script).read_text().replace("/sample/sample_reviews.csv", str(sample))
            self._psql(database, "-f", "-", given=sql)
        self.start("redis")
        self.wait_until_healthy("redis", seconds=10)
        self.init()

    def init(self) -> None:
        """Run what the compose file runs at every start, before Airflow."""
        done = subprocess.run(
            self._translated("init", self.services["init"].command),
            env=self.environment("init"),
            cwd=self.home("init"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, name: str, *more: str) -> None:
        """Start a service in a session of its own; `more` are arguments that its command does not have."""
        with self.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [*self._translated(name, self.services[name].command), *more],
                env=self.environment(name),
                cwd=self.home(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_worker(self, name: str) -> None:
        """Start a Celery worker. On one host each needs a name of its own, which a container's host name gives."""
        self.start(name, "--celery-hostname", f"celery@{name}")

    def kill(self, name: str) -> None:
        """End a service as a power cut would: everything that it has started, at once."""
        process = self.processes.pop(name)
        for member in _session(process.pid):
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        """End all services, whatever state they are in, and take the database away."""
        sessions = [member for process in self.processes.values() for member in _session(process.pid)]
        for process in self.processes.values():
            process.terminate()
        psutil.wait_procs(sessions, timeout=10)
        for name in list(self.processes):
            self.kill(name)
        if self._postgres is not None:
            self._postgres.remove()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service."""
        check = self._translated(name, self.services[name].health_check)
        return not subprocess.run(
            check, env=self.environment(name), capture_output=True, check=False, timeout=60
        ).returncode

    def wait_until_healthy(self, name: str, seconds: float = 300) -> None:
        """Wait for the health check of a service."""
        self.wait_for(lambda: self.is_healthy(name), f"{name} to be healthy", seconds)

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float, *, every: float = 1) -> None:
        """Wait until something is so, while all services run. A server that is too busy to answer is asked again.

        :param every: seconds between two looks
        """
        deadline = time.monotonic() + seconds

        def is_so() -> bool:
            with suppress(OSError):
                return condition()
            return False

        while not is_so():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.tail(name)}"
            tails = "\n".join(f"--- {name}\n{self.tail(name)}" for name in self.processes)
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}:\n{tails}"
            time.sleep(every)

    def api(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """Ask Airflow's API, as the user admin.

        :param method: of HTTP; without it, GET, or POST where there is a body
        """
        headers = {"Content-Type": "application/json"}
        if path != "/auth/token":
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._ports['api-server']}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 http to this machine
            return json.load(answer)

    @cached_property
    def _token(self) -> str:
        login = {"username": "admin", "password": self.secrets["ADMIN_PASSWORD"]}
        return str(self.api("/auth/token", login)["access_token"])

    def log(self, name: str) -> Path:
        """Return the file that a service prints into."""
        return self.folder / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the last lines that a service printed."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])

    def home(self, name: str) -> Path:
        """Return what is /opt/airflow in a service's container."""
        home = self.folder / "homes" / name
        if not home.exists():
            (home / "tmp").mkdir(parents=True)
            (home / "airflow.cfg").touch()
            for folder, place in (
                ("dags", ROOT / "dags"),
                ("plugins", ROOT / "plugins"),
                ("logs", self.folder / "logs"),
                ("models", self.folder / "models"),
            ):
                (home / folder).symlink_to(place)
        return home

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service: that of the compose file, and none of Airflow's from outside."""
        home = self.home(name)
        given = self.services[name].environment
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "REVIEW_SCORING"))}
        overridden = {key: value for key, value in self._overrides.items() if key in given}
        return {
            **outside,
            **{key: self._local(value, home) for key, value in given.items()},
            **overridden,
            "AIRFLOW_HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "HOSTNAME": name,
            "PGPORT": str(self.postgres.port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def _translated(self, name: str, command: list[str]) -> list[str]:
        words = [self._local(word, self.home(name)) for word in command]
        if name == "api-server":
            words = [str(self._ports["api-server"]) if word == "8080" else word for word in words]
        return words

    def _local(self, value: str, home: Path) -> str:
        """Put this machine's addresses and folders into a value of the compose file."""
        postgres, redis = self.postgres.port, self._ports["redis"]
        places = {
            "@postgres:5432": f"@127.0.0.1:{postgres}",
            '"host": "reviews", "port": 5432': f'"host": "127.0.0.1", "port": {postgres}',
            "@redis:6379": f"@127.0.0.1:{redis}",
            "--dir /data": f"--dir {self.folder / 'data'} --bind 127.0.0.1 --port {redis}",
            "redis-cli ": f"redis-cli -p {redis} ",
            "http://api-server:8080": f"http://127.0.0.1:{self._ports['api-server']}",
            "/opt/review_scoring/": f"{ROOT / 'deploy'}/",
            "/opt/airflow/": f"{home}/",
            "/tmp/": f"{home / 'tmp'}/",  # noqa: S108 a container's own
        }
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], value)

    def _psql(self, database: str, *arguments: str, given: str | None = None) -> None:
        address = ["--host", "127.0.0.1", "--port", str(self.postgres.port), "--username", "postgres"]
        done = subprocess.run(
            ["psql", "--quiet", *address, "--dbname", database, "--set", "ON_ERROR_STOP=1", *arguments],
            env={**os.environ, **self.secrets},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _session(leader: int) -> list[psutil.Process]:
    """Return all processes of a session. Airflow gives each task a process group of its own, but not a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
