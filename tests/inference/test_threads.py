"""Tasks that classify on one machine share its cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from review_scoring.inference import threads
from review_scoring.inference.threads import SharedCores, available_cores

CORES = 4

ANOTHER_TASK = """
import sys, time
from pathlib import Path
from review_scoring.inference import threads
threads.available_cores = lambda: int(sys.argv[2])
task = threads.SharedCores(Path(sys.argv[1]))
task.take_share()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with four cores, and a temporary folder for the locks."""
    monkeypatch.setattr(threads, "available_cores", lambda: CORES)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield tmp_path / "cores"
    torch.set_num_threads(before)


def share(task: SharedCores) -> int:
    task.take_share()
    return torch.get_num_threads()


def test_a_single_task_uses_all_cores(folder: Path) -> None:
    task = SharedCores(folder)
    assert share(task) == CORES
    assert share(task) == CORES


def test_cores_are_divided_again_when_tasks_start_and_end(folder: Path) -> None:
    first, second, third = SharedCores(folder), SharedCores(folder), SharedCores(folder)
    assert share(first) == 4
    assert share(second) == 2
    assert share(first) == 2
    assert share(third) == 1
    second.leave()
    assert share(third) == 2
    third.leave()
    assert share(first) == 4


def test_with_more_tasks_than_cores_each_uses_one_core(folder: Path) -> None:
    tasks = [SharedCores(folder) for _ in range(CORES + 2)]
    assert [share(task) for task in tasks] == [4, 2, 1, 1, 1, 1]


def test_the_share_of_a_killed_task_is_free_at_once(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER_TASK, str(folder), str(CORES)], stdout=subprocess.PIPE, text=True
    ) as another:
        assert another.stdout is not None
        assert another.stdout.readline() == "ready\n"
        mine = SharedCores(folder)
        assert share(mine) == CORES // 2
        another.send_signal(signal.SIGKILL)
        another.wait()
        assert share(mine) == CORES


def test_omp_num_threads_turns_sharing_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert share(SharedCores(folder)) == 3
    assert not folder.exists()


def test_a_folder_that_cannot_be_created_turns_sharing_off(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = torch.get_num_threads()
    assert share(SharedCores(tmp_path / "file" / "cores")) == before


@pytest.mark.usefixtures("folder")
def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    before = torch.get_num_threads()
    assert share(SharedCores(tmp_path / "link")) == before
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_link_in_place_of_a_lock_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "0").symlink_to(tmp_path / "theirs")
    before = torch.get_num_threads()
    assert share(SharedCores(folder)) == before
    assert not (tmp_path / "theirs").exists()


def test_a_folder_that_others_can_write_to_is_not_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    before = torch.get_num_threads()
    assert share(SharedCores(folder)) == before
    assert list(folder.iterdir()) == []


def test_a_folder_of_another_user_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    before = torch.get_num_threads()
    assert share(SharedCores(folder)) == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("20000 100000", 1)])
def test_a_container_uses_the_cores_of_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert available_cores() == cores
