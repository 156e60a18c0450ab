"""Download one file of a Hugging Face Hub dataset at one commit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from review_scoring.errors import DownloadRefusedError
from review_scoring.models.hub import ask

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo

log = logging.getLogger(__name__)

BY_HAND = "or download the file elsewhere and use it in a benchmark set of the kind `file`"


def fetch_data_file(repository: str, commit: str | None, path: str, into: Path) -> tuple[str, Path]:
    """Download one file of a dataset, and return its commit and its path on disk.

    :param commit: the commit, or None for the newest
    :param into: an existing folder
    :raises ModelError: for a repository, a commit or a file that does not exist
    :raises DownloadRefusedError: if the hub returns another commit than the requested one
    :raises DownloadFailedError: for a hub that cannot be reached
    """
    found = str(ask(repository, lambda: _info(repository, commit), by_hand=BY_HAND).sha)
    if commit not in {None, found}:
        raise DownloadRefusedError(f"{repository}: the hub returned commit {found} instead of {commit}")
    log.info("downloading %s of %s at commit %s", path, repository, found)
    return found, Path(ask(repository, lambda: _download(repository, found, path, into), by_hand=BY_HAND))


def _info(repository: str, commit: str | None) -> DatasetInfo:
    from huggingface_hub import HfApi

    return HfApi().dataset_info(repository, revision=commit, timeout=30)


def _download(repository: str, commit: str, path: str, into: Path) -> str:
    from huggingface_hub import hf_hub_download

    return hf_hub_download(repository, path, repo_type="dataset", revision=commit, local_dir=into)
