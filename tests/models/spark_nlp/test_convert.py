"""The converted folder is complete, or does not exist."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from review_scoring.errors import ArchiveError
from review_scoring.models.folder import REQUIRED_FILES
from review_scoring.models.spark_nlp import convert
from review_scoring.models.spark_nlp.convert import convert_archive
from tests.models.spark_nlp.generator import Spec, generate
from tests.models.spark_nlp.refusals import refusal


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    generate(tmp_path / "archive.zip", Spec())
    return tmp_path / "archive.zip"


def test_the_folder_has_exactly_the_files_that_a_model_needs(archive: Path) -> None:
    convert_archive(archive, archive.parent / "model")
    assert sorted(path.name for path in archive.parent.iterdir()) == ["archive.zip", "model"]
    assert sorted(path.name for path in (archive.parent / "model").iterdir()) == sorted(REQUIRED_FILES)


def test_each_long_step_reports_its_progress(archive: Path) -> None:
    told: list[str] = []
    convert_archive(archive, archive.parent / "model", progress=told.append)
    assert [line.split()[0] for line in told] == ["unpacking", "building", "checking"]


def test_a_full_disk_is_reported_and_leaves_nothing(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(convert, "write_safetensors", full)
    assert "No space left on device" in refusal(archive)


def test_a_folder_that_is_in_use_is_left_as_it_is(archive: Path) -> None:
    (archive.parent / "model").mkdir()
    (archive.parent / "model" / "config.json").write_text("{}")
    assert "make sure that it can be read, that the new folder does not exist yet" in refusal(archive)
    assert (archive.parent / "model" / "config.json").read_text() == "{}"


def test_a_missing_archive_is_reported_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"missing\.zip cannot be converted .* No such file or directory"):
        convert_archive(tmp_path / "missing.zip", tmp_path / "model")


def test_an_error_of_the_caller_in_progress_passes_through_and_leaves_nothing(archive: Path) -> None:
    def stop(_: str) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_archive(archive, archive.parent / "model", progress=stop)
    assert list(archive.parent.iterdir()) == [archive]


def test_a_killed_conversion_leaves_no_model(archive: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from review_scoring.models.spark_nlp.convert import convert_archive\n"
        "def wait(line):\n"
        "    print(line, flush=True)\n"
        "    time.sleep(60 if line.startswith('checking') else 0)\n"
        "convert_archive(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), progress=wait)\n"
    )
    into = archive.parent / "model"
    with subprocess.Popen([sys.executable, "-c", script, archive, into], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("checking"):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not into.exists()
    convert_archive(archive, into)
    assert into.is_dir()
