"""Import a model of the catalogue into the model store: download, convert, check, store."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from review_scoring.errors import ArchiveError, DownloadFailedError, DownloadRefusedError, ModelError
from review_scoring.models.catalogue import find_entry, readable_entries
from review_scoring.models.catalogue_entry import CatalogueEntry, ModelKind, https_form
from review_scoring.models.download import Downloader
from review_scoring.models.folder import REQUIRED_FILES, file_hash, open_folder
from review_scoring.models.settings import ModelSettings
from review_scoring.models.source_folder import check_content, copy_model
from review_scoring.models.store import ModelStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedModel:
    """An imported model in the store.

    :param seconds: duration of the import
    """

    name: str
    revision: str
    path: Path
    seconds: float


def import_model(
    name: str,
    settings: ModelSettings,
    *,
    downloader: Downloader | None = None,
    between_steps: Callable[[], None] = lambda: None,
) -> ImportedModel:
    """Import a model. The import is complete, or the store is unchanged.

    :param name: a name or an alias of the catalogue
    :param downloader: downloads archives; one for the hosts of :func:`allowed_hosts` if None
    :param between_steps: called between steps and chunks of a download; may raise
    :raises ModelError: for a model that cannot be downloaded, read or loaded
    :raises DownloadFailedError: for a host that does not answer
    """
    started = time.monotonic()
    entry = find_entry(name, settings.catalogue)
    if entry.kind is ModelKind.BUNDLED:
        raise ModelError(f"model {entry.name!r} is part of this package and needs no import")
    downloader = downloader or Downloader(hosts=allowed_hosts(settings), between_chunks=between_steps)
    make = partial(_make, entry, downloader, between_steps)
    stored = ModelStore(settings.store).put(entry.name, make)
    seconds = round(time.monotonic() - started, 1)
    log.info("imported %s at revision %s in %.1f s", stored.name, stored.revision[:12], seconds)
    return ImportedModel(stored.name, stored.revision, stored.path, seconds)


def allowed_hosts(settings: ModelSettings) -> frozenset[str]:
    """Return the allowed hosts: those of the catalogue and of the setting. Redirects may lead to these only."""
    return frozenset(settings.hosts).union(
        *(entry.hosts for entry in readable_entries(settings.catalogue).usable.values())
    )


def _make(
    entry: CatalogueEntry, downloader: Downloader, between_steps: Callable[[], None], folder: Path, scratch: Path
) -> Mapping[str, Any]:
    """Write the files of a model, and return their source. Errors name the source, never the temporary folder."""
    try:
        source = _fetch(entry, downloader, folder, scratch)
        between_steps()
        for each in folder.iterdir():  # keep the files of the revision only
            if each.name not in REQUIRED_FILES:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        _check(entry, folder)
    except ModelError as error:
        source_shown = str(entry.folder or entry.archive or entry.repository or entry.addresses[0])
        of_archive = f"model {entry.name!r}, {source_shown}: " if isinstance(error, ArchiveError) else ""
        raise type(error)(of_archive + str(error).replace(str(folder), source_shown)) from None
    between_steps()
    return {"kind": entry.kind.value, **source}


def _fetch(entry: CatalogueEntry, downloader: Downloader, folder: Path, scratch: Path) -> Mapping[str, Any]:
    match entry.kind:
        case ModelKind.SPARK_NLP:
            return _from_archive(entry, downloader, folder, scratch)
        case ModelKind.HUB:
            return _from_hub(entry, folder)
        case _:
            return _from_folder(entry, folder)


def _from_archive(entry: CatalogueEntry, downloader: Downloader, folder: Path, scratch: Path) -> Mapping[str, Any]:
    from review_scoring.models.spark_nlp.convert import convert_archive

    if entry.archive is not None:
        archive = entry.archive
        source = _local_archive(entry, archive)
    else:
        archive = scratch / f"{entry.name}.zip"
        source = _download(entry, downloader, archive)
    folder.rmdir()
    converted = convert_archive(archive, folder, progress=lambda step: log.info("%s: %s", entry.name, step))
    if converted.case_sensitive != entry.case_sensitive:
        raise ModelError(
            f"model {entry.name!r}: the archive has case_sensitive = {str(converted.case_sensitive).lower()}, and its "
            "catalogue entry has the opposite; correct the entry"
        )
    return source


def _local_archive(entry: CatalogueEntry, archive: Path) -> Mapping[str, Any]:
    if not archive.is_file():
        state = "is a folder; zip it" if archive.is_dir() else "does not exist"
        raise ModelError(f"model {entry.name!r}: the file {archive} of its catalogue entry {state}")
    check_content(archive)
    size, sha256 = archive.stat().st_size, file_hash(archive)
    if entry.size not in {None, size} or entry.sha256 not in {None, sha256}:
        raise ModelError(
            f"model {entry.name!r}: {archive} has {size} bytes and the SHA-256 {sha256}, which differ from its "
            "catalogue entry; download it again"
        )
    return {"archive": archive.name, "size": size, "sha256": sha256}


def _download(entry: CatalogueEntry, downloader: Downloader, to: Path) -> Mapping[str, Any]:
    """Download an archive from the first of its addresses that works."""
    addresses = list(dict.fromkeys(map(https_form, entry.addresses)))  # an s3 address is often the same as an https one
    failures: list[DownloadFailedError | DownloadRefusedError] = []
    for address in addresses:
        try:
            fetched = downloader.fetch(address, to, size=entry.size, sha256=entry.sha256)
        except (DownloadFailedError, DownloadRefusedError) as error:
            log.warning("%s", error)
            failures.append(error)
        else:
            return {"address": fetched.address, "size": fetched.size, "sha256": fetched.sha256}
    # A failure that may pass is retried, whatever the errors of the other addresses.
    raise next((each for each in failures if isinstance(each, DownloadFailedError)), failures[-1])


def _from_hub(entry: CatalogueEntry, folder: Path) -> Mapping[str, Any]:
    from review_scoring.inference.tokenizer_files import complete_tokenizer
    from review_scoring.models.hub import fetch_snapshot

    assert entry.repository is not None
    commit = fetch_snapshot(entry.repository, entry.commit, folder)
    complete_tokenizer(folder, entry.name)
    return {"repository": entry.repository, "commit": commit}


def _from_folder(entry: CatalogueEntry, folder: Path) -> Mapping[str, Any]:
    from review_scoring.inference.tokenizer_files import complete_tokenizer

    assert entry.folder is not None
    copy_model(entry.folder, folder, entry.name)
    complete_tokenizer(folder, entry.name)
    return {"folder": entry.folder.name}


def _check(entry: CatalogueEntry, folder: Path) -> None:
    from review_scoring.inference.import_trial import try_model

    opened = open_folder(folder, name=entry.name, labels=entry.labels, max_tokens=entry.max_tokens)
    for n, prediction in enumerate(try_model(opened), 1):
        log.info("%s: check sentence %d is %s (%.4f)", entry.name, n, prediction.label, prediction.score)
