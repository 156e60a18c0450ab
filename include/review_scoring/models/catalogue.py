"""The model catalogue: names, and what is known of each model before it is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from review_scoring.errors import ModelError
from review_scoring.models.folder import ModelFolder, open_folder

CATALOGUE = Path(__file__).with_name("catalogue.toml")
BUNDLED = Path(__file__).with_name("bundled")
DEFAULT_MODEL = "french-reviews-small"


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One model of the catalogue. The file itself says what its keys mean."""

    name: str
    title: str
    kind: str
    labels: Mapping[str, str]
    max_tokens: int
    language: str
    licence: str


@lru_cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return the entries by name, in the file's order."""
    entries = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {name: CatalogueEntry(name=name, **entry) for name, entry in entries.items()}


def find_model(name: str) -> ModelFolder:
    """Return the files of a model of the catalogue, looked at but not loaded.

    :raises ModelError: for an unknown name, with the names there are, and for files that are missing or unfit
    """
    entry = catalogue().get(name)
    if entry is None:
        raise ModelError(f"there is no model {name!r} in the catalogue; it has {', '.join(catalogue())}")
    return open_folder(BUNDLED / name, name=name, labels=entry.labels, max_tokens=entry.max_tokens)
