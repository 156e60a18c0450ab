"""Catalogue files: entries by name, in which every name and alias means one model."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from review_scoring.errors import ModelError
from review_scoring.models.entry import CHAMPION, CatalogueEntry, read_entry


@lru_cache(maxsize=8)
def read_catalogue(path: Path, modified: int) -> Mapping[str, CatalogueEntry]:
    """Read one catalogue file.

    :param modified: when the file was last changed, so that a change is noticed
    """
    del modified
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ModelError(f"{path} is no TOML file in UTF-8: {error}") from None
    return joined({}, {name: read_entry(name, values, path) for name, values in content.items()}, path)


def joined(
    first: Mapping[str, CatalogueEntry], more: Mapping[str, CatalogueEntry], path: Path
) -> Mapping[str, CatalogueEntry]:
    """Return two catalogues as one, in which every name and alias means one model.

    :param path: the file of the second
    :raises ModelError: for a name or an alias that is taken
    """
    taken = {CHAMPION: "the model promoted for a job"}
    taken |= {name: entry.name for entry in first.values() for name in (entry.name, *entry.aliases)}
    for entry in more.values():
        for name in dict.fromkeys((entry.name, *entry.aliases)):
            if (
                "@" in name
                or taken.setdefault(name, entry.name) != entry.name
                or (name == entry.name and name in first)
            ):
                where = "name" if name == entry.name else "key 'aliases'"
                reason = "`@` is for revisions" if "@" in name else f"it already means {taken[name]!r}"
                raise ModelError(f"{path}, [{entry.name}], {where}: {name!r} cannot be taken, {reason}")
    return {**first, **more}
