"""A PgBouncer that belongs to a test: transaction pooling before the PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from sqlalchemy import URL


def program() -> str | None:
    """Return the path of `pgbouncer`, if it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class OwnPgBouncer:
    """Hands each transaction another session of the server, two in all."""

    def __init__(self, server: URL) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="review_scoring_pgbouncer_"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.host} port={server.port or 5432}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nserver_round_robin = 1\nquery_wait_timeout = 10\n"
            f"logfile = {self.folder / 'log'}\n"
        )
        # auth_type `any` takes the user from the database's own settings.
        settings.write_text(settings.read_text().replace("* = host", f"* = user={server.username} host"))
        command = [str(program()), "-q", str(settings)]
        if os.geteuid() == 0:  # as which PgBouncer refuses to run
            shutil.chown(self.folder, "postgres")
            command = ["runuser", "-u", "postgres", "--", *command]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("PgBouncer does not answer")

    def remove(self) -> None:
        """Stop it and take its folder away."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
