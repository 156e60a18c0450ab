"""The model catalogue: names, what is known of each model before it is loaded, and the way to its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from review_scoring.errors import ModelError, ModelNotImportedError
from review_scoring.models.catalogue_entry import CHAMPION, CatalogueEntry, ModelKind
from review_scoring.models.catalogue_file import WHOLE_FILE, Entries, joined, read_catalogue, unreadable
from review_scoring.models.folder import ModelFolder, open_folder
from review_scoring.models.settings import ModelSettings
from review_scoring.models.store import ModelStore

CATALOGUE = Path(__file__).with_name("catalogue.toml")
BUNDLED = Path(__file__).with_name("bundled")
DEFAULT_MODEL = "french-reviews-small"
UNKNOWN_MAX_TOKENS = 512
"""What is read of a text with a model that no catalogue knows."""


def catalogue(own: Path | None = None) -> Mapping[str, CatalogueEntry]:
    """Return the entries by name: the project's, then those of a deployment's own file, each in its file's order.

    :param own: a file of the deployment's, in the form of `catalogue.toml`; it may add models, not change the project's
    :raises ModelError: for a file that cannot be read, and for a bad entry, by file, entry and key
    """
    entries = readable_entries(own)
    for problem in entries.problems.values():
        raise problem
    return entries.usable


def readable_entries(own: Path | None = None) -> Entries:
    """Return the entries that can be used, as :func:`catalogue` does, and what is wrong with the others.

    A typo in one entry of a deployment's own must not break runs with other models.
    """
    ours = read_catalogue(CATALOGUE, CATALOGUE.stat().st_mtime_ns)
    if own is None:
        return ours
    try:
        modified = own.stat().st_mtime_ns
    except OSError as error:
        return joined(ours.usable, unreadable(own, error), own)
    return joined(ours.usable, read_catalogue(own, modified, own=True), own)


def find_entry(name: str, own: Path | None = None) -> CatalogueEntry:
    """Return the entry that a name or an alias means.

    :raises ModelError: for an entry that is wrong, and for an unknown name, with the names there are
    """
    if name == CHAMPION:
        raise ModelError(f"{CHAMPION!r} is a job's own model, and no job was asked; name a model of the catalogue")
    entries = readable_entries(own)
    for entry in entries.usable.values():
        if name == entry.name or name in entry.aliases:
            return entry
    if (problem := entries.problems.get(name)) is not None:
        raise problem
    if (problem := entries.problems.get(WHOLE_FILE)) is not None:
        raise problem
    wrong = f"; these entries of {own} cannot be used: {', '.join(entries.problems)}" if entries.problems else ""
    raise ModelError(f"there is no model {name!r} in the catalogue; it has {', '.join(entries.usable)}{wrong}")


def find_model(model: str | Path, settings: ModelSettings | None = None) -> ModelFolder:
    """Return the files of a model, looked at but not loaded.

    :param model: a name of the catalogue, an alias, either with `@` and a revision or its first digits; or a folder in
        Hugging Face layout, whose own name and labels are then the model's
    :param settings: where models are; the defaults if None
    :raises ModelError: for an unknown name, with the names there are, and for files that are missing, changed or unfit
    :raises ModelNotImportedError: for a model that is only in the catalogue yet, with the way to import it
    """
    if isinstance(model, Path):
        folder = model.expanduser().resolve()
        return open_folder(folder, name=folder.name, labels=None, max_tokens=UNKNOWN_MAX_TOKENS)
    settings = settings or ModelSettings()
    name, at, revision = model.partition("@")
    if at and not revision:
        raise ModelError(f"model {model!r} names no revision after '@'; give its first digits, or leave the '@' out")
    entry = find_entry(name, settings.catalogue)
    return _bundled(entry, revision) if entry.kind is ModelKind.BUNDLED else _stored(entry, revision, settings.store)


def _bundled(entry: CatalogueEntry, revision: str) -> ModelFolder:
    found = open_folder(BUNDLED / entry.name, name=entry.name, labels=entry.labels, max_tokens=entry.max_tokens)
    if not found.revision.startswith(revision):
        raise ModelError(
            f"model {entry.name!r} comes with this package at revision {found.revision[:12]}, and {revision} is wanted"
        )
    return found


def _stored(entry: CatalogueEntry, revision: str, store: Path) -> ModelFolder:
    found = ModelStore(store).find(entry.name, revision)
    if found is None:
        wanted = f"revision {revision} of model {entry.name!r}" if revision else f"model {entry.name!r}"
        conf = json.dumps({"model": entry.name})
        raise ModelNotImportedError(
            f"{wanted} is in the catalogue, and not in the model store {store}: import it with the DAG import_model, "
            f"in Airflow's UI or with `airflow dags trigger import_model --conf '{conf}'`, or point "
            "[review_scoring] model_store to the store that has it"
        )
    return open_folder(
        found.path, name=entry.name, labels=entry.labels, max_tokens=entry.max_tokens, revision=found.revision
    )
