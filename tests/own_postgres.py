"""A PostgreSQL server that belongs to a test, so that it may be restarted and its disk filled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from review_scoring.warehouse.engine import make_engine


def binaries() -> Path | None:
    """Return the folder with `initdb` and `pg_ctl`, if there is one."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return installed[-1].parent if installed else None


class OwnPostgres:
    """A server with a data directory and a port of its own.

    :param disk_mb: put the data directory on a RAM disk of this size, which only root can mount
    :param conf: more lines of `postgresql.conf`
    :param hba: lines of `pg_hba.conf` that come before the one that trusts everybody
    """

    def __init__(self, disk_mb: int | None = None, *, conf: str = "", hba: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="review_scoring_pg_"))
        self.mounted = disk_mb is not None
        if disk_mb is not None:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk_mb}m", "tmpfs", str(self.folder)]
            subprocess.run(mount, check=True, capture_output=True)
        self.data = self.folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth", "trust", "--wal-segsize", "1")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"min_wal_size = 2MB\nmax_wal_size = 8MB\nunix_socket_directories = ''\n{conf}\n")
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"{hba}\n{rules.read_text()}")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` is what a crash does."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def engine(self) -> Engine:
        """Return an engine of the server."""
        return make_engine(self.url())

    def url(self, user: str = "postgres", database: str = "postgres", more: str = "") -> str:
        """Return the address of one of its databases for one of its users."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}{more}"

    def remove(self) -> None:
        """Stop the server and take its folder away."""
        subprocess.run(
            self._command("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop"), check=False, capture_output=True
        )
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        # To a file and not to a pipe: the server inherits it, and a pipe would be waited for.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(self._command(*command), stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read()

    def _command(self, program: str, *arguments: str) -> list[str]:
        folder = binaries()
        assert folder is not None
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        return [*as_postgres, str(folder / program), *arguments]
