"""The manifest of a stored model: sizes and SHA-256 checksums of its files, time and source of the import.

It is written last, after the files are synced to disk, and every file is compared with it before a model is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from review_scoring.errors import ModelError
from review_scoring.models.folder import REQUIRED_FILES, file_hash, revision_of

MANIFEST = "manifest.json"
FORMAT = 1


def write_manifest(folder: Path, name: str, source: Mapping[str, Any]) -> str:
    """Sync the files of a folder, write their checksums, and return the revision."""
    files = sorted(path for path in folder.iterdir())
    missing = set(REQUIRED_FILES) - {path.name for path in files}
    if missing or not all(path.is_file() and not path.is_symlink() for path in files):
        raise ModelError(f"model {name!r}: the import lacks {', '.join(sorted(missing)) or 'regular files'}")
    for path in files:
        sync(path)
    hashes = {path.name: file_hash(path) for path in files}
    revision = revision_of(hashes)
    manifest = {
        "format": FORMAT,
        "name": name,
        "revision": revision,
        "imported_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "source": dict(source),
        "files": {path.name: {"size": path.stat().st_size, "sha256": hashes[path.name]} for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sync(folder / MANIFEST)
    sync(folder)
    return revision


def read_manifest(file: Path) -> dict[str, Any]:
    """Return a manifest.

    :raises ModelError: for one that is missing or damaged
    """
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        sound = (
            manifest["format"] == FORMAT
            and all(isinstance(manifest[key], str) for key in ("name", "revision", "imported_at"))
            and isinstance(manifest["source"], dict)
            and all({"size", "sha256"} <= each.keys() for each in manifest["files"].values())
            and set(REQUIRED_FILES) <= manifest["files"].keys()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise changed(file.parent, f"its {MANIFEST} cannot be used")
    return dict(manifest)


def is_complete(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Return whether every file has its full size, which is not the case while a store is copied."""
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else -1 for name in manifest["files"]}
    return all(sizes[name] >= entry["size"] for name, entry in manifest["files"].items())


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every file with the manifest, and the manifest with the revision.

    :raises ModelError: naming the first difference
    """
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    present = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {MANIFEST}
    if unlisted := sorted(present ^ listed.keys()):
        raise changed(folder, f"{unlisted[0]} is either missing or not in its manifest")
    for name, entry in listed.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise changed(folder, f"{name} is not a regular file")
        if path.stat().st_size != entry["size"] or file_hash(path) != entry["sha256"]:
            raise changed(folder, f"{name} is not the imported file")
    if revision_of({name: each["sha256"] for name, each in listed.items()}) != folder.name:
        raise changed(folder, "its manifest is of another revision")


def changed(folder: Path, found: str) -> ModelError:
    """Return the error for a stored model whose files do not match its manifest."""
    return ModelError(
        f"the model in {folder} was changed or damaged: {found}; import it again (DAG import_model), "
        "which replaces it, or delete the folder"
    )


def sync(path: Path) -> None:
    """Sync a file, or the list of files of a folder, to disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
