"""The model catalogue: look up an entry by name or alias, and find the files of a model and revision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from review_scoring.errors import ModelError, ModelNotImportedError
from review_scoring.job import CHAMPION
from review_scoring.models.catalogue_entry import CatalogueEntry, ModelKind
from review_scoring.models.catalogue_file import WHOLE_FILE, Entries, merged, read_catalogue, unreadable
from review_scoring.models.folder import ModelFolder, open_folder
from review_scoring.models.settings import ModelSettings
from review_scoring.models.store import ModelStore

CATALOGUE = Path(__file__).with_name("catalogue.toml")
BUNDLED = Path(__file__).with_name("bundled")
DEFAULT_MODEL = "french-reviews-small"
UNKNOWN_MAX_TOKENS = 512
"""Longest text in tokens for a model folder without a catalogue entry."""


def catalogue(own: Path | None = None) -> Mapping[str, CatalogueEntry]:
    """Return the entries by name: the project's, then those of a deployment's own file, each in its file's order.

    :param own: a file of the deployment in the form of `catalogue.toml`; it may add models, not change the project's
    :raises ModelError: for a file that cannot be read, and for an invalid entry, with file, entry and keys
    """
    entries = readable_entries(own)
    for problem in entries.problems.values():
        raise problem
    return entries.usable


def readable_entries(own: Path | None = None) -> Entries:
    """Return the valid entries as :func:`catalogue` does, and the problems of the others.

    A typo in one entry of a deployment must not break runs with other models.
    """
    ours = read_catalogue(CATALOGUE, CATALOGUE.stat().st_mtime_ns)
    if own is None:
        return ours
    try:
        modified = own.stat().st_mtime_ns
    except OSError as error:
        return merged(ours.usable, unreadable(own, error), own)
    return merged(ours.usable, read_catalogue(own, modified, own=True), own)


def find_entry(name: str, own: Path | None = None) -> CatalogueEntry:
    """Return the entry of a name or an alias.

    :raises ModelError: for an invalid entry, and for an unknown name, with the known ones
    """
    if name == CHAMPION:
        raise ModelError(f"{CHAMPION!r} is the model of a job, and no job is given; name a model of the catalogue")
    entries = readable_entries(own)
    for entry in entries.usable.values():
        if name == entry.name or name in entry.aliases:
            return entry
    if (problem := entries.problems.get(name)) is not None:
        raise problem
    if (problem := entries.problems.get(WHOLE_FILE)) is not None:
        raise problem
    wrong = f"; these entries of {own} are invalid: {', '.join(entries.problems)}" if entries.problems else ""
    raise ModelError(f"there is no model {name!r} in the catalogue; it has {', '.join(entries.usable)}{wrong}")


def find_model(model: str | Path, settings: ModelSettings | None = None) -> ModelFolder:
    """Return the files of a model, checked but not loaded.

    :param model: a name or an alias of the catalogue, with or without `@` and the first digits of a revision; or a
        folder in Hugging Face layout, whose name and labels are then those of the model
    :param settings: the model store and the catalogue; the defaults if None
    :raises ModelError: for an unknown name, with the known ones, and for missing, changed or unsuitable files
    :raises ModelNotImportedError: for a model of the catalogue that is not imported, with the command that imports it
    """
    if isinstance(model, Path):
        folder = model.expanduser().resolve()
        return open_folder(folder, name=folder.name, labels=None, max_tokens=UNKNOWN_MAX_TOKENS)
    settings = settings or ModelSettings()
    name, at, revision = model.partition("@")
    if at and not revision:
        raise ModelError(f"model {model!r} has no revision after '@'; add its first digits, or remove the '@'")
    entry = find_entry(name, settings.catalogue)
    return _bundled(entry, revision) if entry.kind is ModelKind.BUNDLED else _stored(entry, revision, settings.store)


def _bundled(entry: CatalogueEntry, revision: str) -> ModelFolder:
    found = open_folder(BUNDLED / entry.name, name=entry.name, labels=entry.labels, max_tokens=entry.max_tokens)
    if not found.revision.startswith(revision):
        raise ModelError(
            f"model {entry.name!r} comes with this package at revision {found.revision[:12]}, not at {revision}"
        )
    return found


def _stored(entry: CatalogueEntry, revision: str, store: Path) -> ModelFolder:
    found = ModelStore(store).find(entry.name, revision)
    if found is None:
        wanted = f"revision {revision} of model {entry.name!r}" if revision else f"model {entry.name!r}"
        conf = json.dumps({"model": entry.name})
        raise ModelNotImportedError(
            f"{wanted} is in the catalogue, but not in the model store {store}: import it with the DAG import_model, "
            f"in Airflow's UI or with `airflow dags trigger import_model --conf '{conf}'`, or set "
            "[review_scoring] model_store to the store that has it"
        )
    return open_folder(
        found.path, name=entry.name, labels=entry.labels, max_tokens=entry.max_tokens, revision=found.revision
    )
