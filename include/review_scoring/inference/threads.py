"""How many cores a scoring task takes, so that several on one machine share them.

torch takes all cores for itself, and two tasks that do so on two cores run four threads that wait for each other. So a
task that classifies on the CPU holds one of as many locked files as there are cores, sees how many others are held, and
takes its share; it looks again before each batch. A task that is alone has all cores, whatever the executor and its
concurrency, and the share of one that was killed is free at once, since the kernel lets go of its lock.
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
"""Where the tasks of a machine meet. Each container has its own, and a quota of cores should go with it."""

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use (cgroup v2): `max 100000`, or microseconds of each period."""


class SharedCores:
    """The share of the cores that one process takes.

    :param folder: where the locks are
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._held: IO[bytes] | None = None
        self._threads = 0

    def take_share(self) -> None:
        """Let torch use this task's share. `OMP_NUM_THREADS`, or a folder that is not ours, leave it as it is."""
        if "OMP_NUM_THREADS" in os.environ:
            return
        with suppress(OSError):
            cores = available_cores()
            threads = max(1, cores // self._tasks(cores))
            if threads != self._threads:
                torch.set_num_threads(threads)
                log.info("%d of %d cores", threads, cores)
                self._threads = threads

    def leave(self) -> None:
        """Give the share back, as the end of the process does."""
        if self._held is not None:
            self._held.close()
            self._held = None
            self._threads = 0  # somebody else may set torch's number before the next share is taken

    def _tasks(self, cores: int) -> int:
        """Return how many tasks classify here, this one included; beyond the number of cores it does not matter."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _check_own(self._folder)
        others = 0
        for path in (self._folder / str(n) for n in range(cores)):
            if self._held is not None and path.name == Path(self._held.name).name:
                continue
            place = open(path, "ab", opener=_no_link)  # noqa: SIM115 held as long as the share is
            try:
                fcntl.flock(place, fcntl.LOCK_NB | (fcntl.LOCK_SH if self._held else fcntl.LOCK_EX))
            except BlockingIOError:
                others += 1
            else:
                if self._held is None:
                    self._held = place
                    continue
            place.close()
        return others + 1


def _check_own(folder: Path) -> None:
    """See that a folder of this name, which anybody can guess, is no link and was made by this user for itself.

    :raises PermissionError: if it was not; the cores are not shared then
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} is a link, another user's, or open to others")


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def available_cores() -> int:
    """Return the cores that this process may use: by its affinity, and by its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # int("max") is a ValueError: no quota
        quota, period = QUOTA.read_text().split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


CORES = SharedCores()
"""The share of this process, however many models it loads."""
