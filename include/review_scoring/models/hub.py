"""Models of the Hugging Face hub: one commit of a repository, safetensors only."""

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
"""All that is ever fetched of a repository, beside weights as safetensors: data, never code and never a pickle."""

SHARDS = "model-*-of-*.safetensors"

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}


def fetch_snapshot(repository: str, commit: str | None, into: Path) -> str:
    """Download the files of a repository that a classifier needs, and return the commit that they are of.

    Tokens and mirrors are huggingface_hub's own settings (HF_TOKEN, HF_ENDPOINT).

    :param commit: the commit, or None for the newest
    :param into: a folder that is there
    :raises ModelError: for a repository or commit that is not there, or has no safetensors
    :raises DownloadFailedError: for a hub that cannot be reached
    """
    info = ask(repository, lambda: _model_info(repository, commit))
    names = {each.rfilename for each in info.siblings or ()}
    if not {WEIGHTS, INDEX} & names:
        raise ModelError(
            f"{repository} has no {WEIGHTS} at {commit or 'its newest commit'}, and weights of other kinds (pickles "
            "among them) are not loaded; choose a commit that has it, or convert the model to safetensors"
        )
    found = str(info.sha)
    if commit not in {None, found}:
        raise DownloadRefusedError(f"{repository}: the hub gives commit {found} for {commit}")
    log.info("fetching %s at commit %s", repository, found)
    weights = (WEIGHTS,) if WEIGHTS in names else (INDEX, SHARDS)
    ask(repository, lambda: _download(repository, found, into, (*FILES, *weights)))
    shutil.rmtree(into / ".cache", ignore_errors=True)
    for each in info.siblings or ():
        file = into / each.rfilename
        if file.is_file() and each.lfs is not None and file_hash(file) != each.lfs.sha256:
            raise DownloadRefusedError(f"{repository}: {each.rfilename} is not what the hub says it is; fetch it again")
    if WEIGHTS not in names:
        join_weights(weight_files(into), into / WEIGHTS)
    return found


def _model_info(repository: str, commit: str | None) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi().model_info(repository, revision=commit, files_metadata=True, timeout=30)


def _download(repository: str, commit: str, into: Path, files: Sequence[str]) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(repository, revision=commit, local_dir=into, allow_patterns=list(files))


BY_HAND = "or download it elsewhere and name the folder in a catalogue entry of the kind `folder`"


def ask(repository: str, call: Any, *, by_hand: str = BY_HAND) -> Any:
    """Call the hub, and say what is wrong in our own words.

    :param by_hand: what a user without a way to the hub can do
    """
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        return call()
    except errors.OfflineModeIsEnabled:
        raise ConfigurationError(
            f"{repository} is on the Hugging Face hub, and HF_HUB_OFFLINE is set on this worker: unset it, {by_hand}"
        ) from None
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.RemoteEntryNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise ModelError(
            f"the Hugging Face hub has no {repository} at that commit for us ({type(error).__name__}); look it up "
            "there. One that is private or gated needs HF_TOKEN"
        ) from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise _unreachable(repository, error, by_hand) from None
    except Exception as error:
        if type(error).__module__.startswith(("httpx", "httpcore", "requests")):  # which one it is, changes
            raise _unreachable(repository, error, by_hand) from None
        raise


def _unreachable(repository: str, error: Exception, by_hand: str) -> DownloadFailedError:
    return DownloadFailedError(
        f"{repository} cannot be fetched from the Hugging Face hub ({type(error).__name__}): this worker needs a way "
        f"to it; try again, set HF_ENDPOINT to a mirror, {by_hand}"
    )
