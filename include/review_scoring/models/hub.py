"""Download a model from the Hugging Face Hub at one commit: config, tokenizer and safetensors weights only."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from review_scoring.errors import ConfigurationError, DownloadFailedError, DownloadRefusedError, ModelError
from review_scoring.models.folder import file_hash
from review_scoring.models.joined_weights import INDEX, WEIGHTS, join_weights, weight_files
from review_scoring.models.source_folder import CONFIG, TOKENIZER_FILES

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)

FILES = (CONFIG, *TOKENIZER_FILES)
"""The files of a repository that are downloaded, besides safetensors weights: data, never code or pickles."""

SHARDS = "model-*-of-*.safetensors"

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}


def fetch_snapshot(repository: str, commit: str | None, into: Path) -> str:
    """Download the files of a classifier, and return their commit.

    Tokens and mirrors are settings of huggingface_hub (HF_TOKEN, HF_ENDPOINT).

    :param commit: the commit, or None for the newest
    :param into: an existing folder
    :raises ModelError: for a repository or commit that does not exist, or has no safetensors weights
    :raises DownloadFailedError: for a hub that cannot be reached
    """
    info = ask(repository, lambda: _model_info(repository, commit))
    names = {each.rfilename for each in info.siblings or ()}
    if not {WEIGHTS, INDEX} & names:
        raise ModelError(
            f"{repository} has no {WEIGHTS} at {commit or 'its newest commit'}, and weights in other formats (such "
            "as pickles) are not loaded; choose a commit that has it, or convert the model to safetensors"
        )
    found = str(info.sha)
    if commit not in {None, found}:
        raise DownloadRefusedError(f"{repository}: the hub returned commit {found} instead of {commit}")
    log.info("downloading %s at commit %s", repository, found)
    weights = (WEIGHTS,) if WEIGHTS in names else (INDEX, SHARDS)
    ask(repository, lambda: _download(repository, found, into, (*FILES, *weights)))
    shutil.rmtree(into / ".cache", ignore_errors=True)
    for each in info.siblings or ():
        file = into / each.rfilename
        if file.is_file() and each.lfs is not None and file_hash(file) != each.lfs.sha256:
            raise DownloadRefusedError(
                f"{repository}: the checksum of {each.rfilename} is not that of the hub; download it again"
            )
    if WEIGHTS not in names:
        join_weights(weight_files(into), into / WEIGHTS)
    return found


def _model_info(repository: str, commit: str | None) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi().model_info(repository, revision=commit, files_metadata=True, timeout=30)


def _download(repository: str, commit: str, into: Path, files: Sequence[str]) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(repository, revision=commit, local_dir=into, allow_patterns=list(files))


BY_HAND = "or download it elsewhere and set the folder in a catalogue entry of the kind `folder`"


def ask(repository: str, call: Any, *, by_hand: str = BY_HAND) -> Any:
    """Call the hub, and translate its errors.

    :param by_hand: what a user without access to the hub can do
    """
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        return call()
    except errors.OfflineModeIsEnabled:
        raise ConfigurationError(
            f"{repository} is on the Hugging Face Hub, and HF_HUB_OFFLINE is set on this worker: unset it, {by_hand}"
        ) from None
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.RemoteEntryNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise ModelError(
            f"the Hugging Face Hub has no {repository} at that commit ({type(error).__name__}); check the name and the "
            "commit. A private or gated repository needs HF_TOKEN"
        ) from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise _unreachable(repository, error, by_hand) from None
    except Exception as error:
        if type(error).__module__.startswith(("httpx", "httpcore", "requests")):  # the library depends on the version
            raise _unreachable(repository, error, by_hand) from None
        raise


def _unreachable(repository: str, error: Exception, by_hand: str) -> DownloadFailedError:
    return DownloadFailedError(
        f"{repository} cannot be downloaded from the Hugging Face Hub ({type(error).__name__}): this worker needs "
        f"access to it; try again, set HF_ENDPOINT to a mirror, {by_hand}"
    )
