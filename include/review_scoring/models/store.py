"""The model store: a folder of imported models by name and revision, complete and verified by checksums.

`<store>/<name>/<revision>/` has the files of a model and `manifest.json`, which is written last. A model is written to
a temporary folder, `.partial-…`, and appears by one rename. Several workers may share the store, mounted or synced: a
model that is not fully synced has no manifest, or files that do not match it, and is ignored.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from review_scoring.errors import ModelError
from review_scoring.models.manifest import (
    MANIFEST,
    changed,
    check_files,
    is_complete,
    read_manifest,
    sync,
    write_manifest,
)

log = logging.getLogger(__name__)

PARTIAL = ".partial-"
LOCK = "lock"


@dataclass(frozen=True)
class StoredModel:
    """A model of the store whose files match its manifest. `source` is where they were imported from."""

    name: str
    revision: str
    path: Path
    source: Mapping[str, Any]


@dataclass(frozen=True)
class ModelStore:
    """A folder of models. It is created with the first model."""

    root: Path

    def put(self, name: str, make: Callable[[Path, Path], Mapping[str, Any]]) -> StoredModel:
        """Store a model. A failure before the end has no effect.

        :param make: writes the files of the model into the first folder, may use the second one for temporary files,
            and returns the source of the files as values for JSON
        :raises ModelError: for a disk that fails or is full, and whatever `make` raises
        """
        try:
            with self._workshop() as work:
                folder, scratch = work / "model", work / "scratch"
                folder.mkdir()
                scratch.mkdir()
                source = make(folder, scratch)
                shutil.rmtree(scratch)
                revision = write_manifest(folder, name, source)
                self._publish(folder, name, revision)
        except OSError as error:
            raise ModelError(
                f"model {name!r} cannot be stored in the model store {self.root}: {error.strerror or error}; make sure "
                "that the folder is writable and has free space. The store is unchanged"
            ) from error
        place = self.root / name / revision
        return self._checked(place, read_manifest(place / MANIFEST))

    def find(self, name: str, revision: str = "") -> StoredModel | None:
        """Return a model whose files were all checked, or None if it is not there.

        :param revision: the revision or its first digits; without it, the one that was imported last
        :raises ModelError: for a model that was changed or damaged, and for digits that several revisions have
        """
        manifests, unusable = self._manifests(name, revision)
        if not manifests:
            if unusable:
                raise unusable[0]
            return None
        if revision and len(manifests) > 1:
            found = ", ".join(sorted(manifest["revision"][:16] for manifest in manifests))
            raise ModelError(
                f"model {name!r} has several revisions that begin with {revision}: {found}; give more digits"
            )
        manifests.sort(key=lambda each: (each["imported_at"], each["revision"]), reverse=True)
        complete = [each for each in manifests if is_complete(self.root / name / each["revision"], each)]
        if len(complete) < len(manifests):
            log.warning("a revision of model %s is incomplete and ignored; it may still be copied", name)
        manifest = (complete or manifests)[0]
        return self._checked(self.root / name / manifest["revision"], manifest)

    def revisions(self, name: str) -> list[tuple[str, str]]:
        """Return the revisions of a model with the times of their imports, the newest first. Files are not checked."""
        manifests, _ = self._manifests(name, "")
        found = [(str(manifest["imported_at"]), str(manifest["revision"])) for manifest in manifests]
        return [(revision, imported_at) for imported_at, revision in sorted(found, reverse=True)]

    def _checked(self, folder: Path, manifest: Mapping[str, Any]) -> StoredModel:
        check_files(folder, manifest)
        return StoredModel(manifest["name"], manifest["revision"], folder, manifest["source"])

    def _manifests(self, name: str, revision: str) -> tuple[list[dict[str, Any]], list[ModelError]]:
        """Return the manifests of the revisions with a prefix, and the errors of those that cannot be used."""
        manifests, unusable = [], []
        for file in sorted((self.root / name).glob(f"*/{MANIFEST}")):
            if not file.parent.name.startswith(revision):
                continue
            try:
                manifest = read_manifest(file)
                if (manifest["name"], manifest["revision"]) != (name, file.parent.name):
                    found = f"its manifest is of {manifest['name']!r}, revision {manifest['revision']}"
                    raise changed(file.parent, found)
                manifests.append(manifest)
            except ModelError as error:
                log.warning("%s", error)
                unusable.append(error)
        return manifests, unusable

    @contextmanager
    def _workshop(self) -> Iterator[Path]:
        """Create a temporary folder on the disk of the store, locked by this process; delete abandoned ones."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{LOCK}").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # otherwise a sweep could delete a folder before it is locked
            self._sweep()
            work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.root))
            lock = (work / LOCK).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            lock.close()

    def _sweep(self) -> None:
        for work in self.root.glob(f"{PARTIAL}*"):
            try:
                with (work / LOCK).open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # in use by another import
            except FileNotFoundError:
                pass  # its process died before locking it
            shutil.rmtree(work, ignore_errors=True)

    def _publish(self, folder: Path, name: str, revision: str) -> None:
        """Move a finished folder to its place, unless the store has the same model already."""
        place = self.root / name / revision
        place.parent.mkdir(exist_ok=True)
        while not _moved(folder, place):
            try:
                check_files(place, read_manifest(place / MANIFEST))
            except ModelError:  # the stored one is damaged and is replaced
                place.rename(folder.with_name("damaged"))
            else:  # the same files: only the time of import is new
                (folder / MANIFEST).replace(place / MANIFEST)
                break
        sync(place.parent)


def _moved(folder: Path, place: Path) -> bool:
    """Move a folder to a place; return False if the place is taken."""
    try:
        folder.rename(place)
    except OSError:
        if not place.exists():
            raise
        return False
    return True
