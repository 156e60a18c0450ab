"""Number of CPU threads of a scoring task: the tasks on one machine divide its cores among them.

torch uses all cores by default; two such tasks on two cores run four threads that block each other. Each task that
classifies on the CPU therefore locks one of as many files as there are cores, counts the files that other tasks have
locked, and sets its share of the threads. It repeats this before each batch. A single task uses all cores, with any
executor and any concurrency. The kernel releases the lock of a killed task at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import torch

log = logging.getLogger(__name__)

FOLDER = Path(tempfile.gettempdir()) / f"review_scoring_cores_{os.getuid()}"
"""Folder of the lock files. Each container has its own, so a container should have a CPU quota."""

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""CPU quota of a container (cgroup v2): `max 100000`, or the microseconds per period and the period."""


class SharedCores:
    """The share of the cores that this process uses.

    :param folder: the folder of the lock files
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._held: IO[bytes] | None = None
        self._threads = 0

    def take_share(self) -> None:
        """Set torch's threads to this task's share. Do nothing if `OMP_NUM_THREADS` is set or the folder is unsafe."""
        if "OMP_NUM_THREADS" in os.environ:
            return
        with suppress(OSError):
            cores = available_cores()
            threads = max(1, cores // self._tasks(cores))
            if threads != self._threads:
                torch.set_num_threads(threads)
                log.info("using %d of %d cores", threads, cores)
                self._threads = threads

    def leave(self) -> None:
        """Release the lock; the end of the process does the same."""
        if self._held is not None:
            self._held.close()
            self._held = None
            self._threads = 0  # other code may change torch's threads before the next share is taken

    def _tasks(self, cores: int) -> int:
        """Return the number of tasks that classify on this machine, this one included; at most one more than cores."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _check_own(self._folder)
        others = 0
        for path in (self._folder / str(n) for n in range(cores)):
            if self._held is not None and path.name == Path(self._held.name).name:
                continue
            lock = open(path, "ab", opener=_no_link)  # noqa: SIM115 stays open while the share is held
            try:
                fcntl.flock(lock, fcntl.LOCK_NB | (fcntl.LOCK_SH if self._held else fcntl.LOCK_EX))
            except BlockingIOError:
                others += 1
            else:
                if self._held is None:
                    self._held = lock
                    continue
            lock.close()
        return others + 1


def _check_own(folder: Path) -> None:
    """Check that the folder, whose name is predictable, is not a link, and that only this user can write to it.

    :raises PermissionError: if not; the cores are not shared then
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} is a link, owned by another user, or writable by others")


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def available_cores() -> int:
    """Return the number of cores that this process may use, by its CPU affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # without a quota, the file has "max", which int() refuses
        quota, period = QUOTA.read_text().split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


CORES = SharedCores()
"""The share of this process, for all models that it loads."""
