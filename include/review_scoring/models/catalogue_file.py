"""Catalogue files: the valid entries by name, the problems of the invalid ones, and unique names and aliases.

An invalid entry is left out and its problem is kept, so that the other entries can be used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from review_scoring.errors import ModelError
from review_scoring.job import CHAMPION
from review_scoring.models.catalogue_entry import CatalogueEntry, ModelKind, read_entry

WHOLE_FILE = ""
"""Key of a problem that concerns the file instead of one entry."""


@dataclass(frozen=True)
class Entries:
    """The valid entries of one or two files by name, and the problems of the others by name."""

    usable: Mapping[str, CatalogueEntry]
    problems: Mapping[str, ModelError]


@lru_cache(maxsize=8)
def read_catalogue(path: Path, modified: int, *, own: bool = False) -> Entries:
    """Read one catalogue file.

    :param modified: time of the last change of the file, so that the cache notices a change
    :param own: whether it is the file of a deployment, which has no bundled models
    """
    del modified
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        return Entries({}, {WHOLE_FILE: ModelError(f"{path} is not a TOML file in UTF-8: {error}")})
    except OSError as error:
        return unreadable(path, error)
    usable: dict[str, CatalogueEntry] = {}
    problems: dict[str, ModelError] = {}
    for name, values in content.items():
        try:
            usable[name] = _read(name, values, path, own=own)
        except ModelError as error:
            problems[name] = error
    return merged({}, Entries(usable, problems), path)


def unreadable(path: Path, error: OSError) -> Entries:
    """Return the entries of a file that cannot be read: none."""
    message = f"the catalogue {path} cannot be read ({error.strerror}); correct the setting that names it"
    return Entries({}, {WHOLE_FILE: ModelError(message)})


def _read(name: str, values: Any, path: Path, *, own: bool) -> CatalogueEntry:
    entry = read_entry(name, values, path)
    if own and entry.kind is ModelKind.BUNDLED:
        raise ModelError(f"{path}, [{name}], key 'kind': only the project's own models are bundled")
    return entry


def merged(first: Mapping[str, CatalogueEntry], more: Entries, path: Path) -> Entries:
    """Merge two catalogues, in which every name and alias must mean one model.

    :param path: the file of the second; an entry of it whose name or alias is taken is left out
    """
    taken = {CHAMPION: "the model promoted for a job"}
    taken |= {name: entry.name for entry in first.values() for name in (entry.name, *entry.aliases)}
    usable, problems = dict(first), dict(more.problems)
    for entry in more.usable.values():
        try:
            _refuse_taken(entry, taken, first, path)
        except ModelError as error:
            problems[entry.name] = error
        else:
            taken |= dict.fromkeys((entry.name, *entry.aliases), entry.name)
            usable[entry.name] = entry
    return Entries(usable, problems)


def _refuse_taken(
    entry: CatalogueEntry, taken: Mapping[str, str], first: Mapping[str, CatalogueEntry], path: Path
) -> None:
    for name in dict.fromkeys((entry.name, *entry.aliases)):
        if "@" in name or taken.get(name, entry.name) != entry.name or (name == entry.name and name in first):
            where = "name" if name == entry.name else "key 'aliases'"
            reason = "`@` is for revisions" if "@" in name else f"it already means {taken[name]!r}"
            raise ModelError(f"{path}, [{entry.name}], {where}: {name!r} cannot be used, {reason}")
