"""The catalogue of benchmark sets: where labelled reviews are, checked key by key before anything is read."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from review_scoring.errors import BenchmarkError
from review_scoring.evaluation.files import PARQUET, SUFFIXES
from review_scoring.models.entry import COMMIT, NAME, REPOSITORY

CATALOGUE = Path(__file__).with_name("sets.toml")
DEFAULT_SET = "sample"
NEG, POS = "neg", "pos"


class Kind(StrEnum):
    """Where a set's reviews come from."""

    BUNDLED = "bundled"
    HUB = "hub"
    FILE = "file"
    TABLE = "table"


SOURCE_KEYS: Mapping[Kind, tuple[set[str], set[str]]] = {
    Kind.BUNDLED: (set(), set()),
    Kind.HUB: ({"repository", "path"}, {"commit", "encoding"}),
    Kind.FILE: ({"path"}, {"encoding"}),
    Kind.TABLE: ({"conn_id", "table", "id_column"}, {"schema"}),
}
"""The keys that say where a set of a kind is: those it needs, and those it may have besides."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSet:
    """One set of a catalogue. The file `sets.toml` says what its keys mean."""

    name: str
    title: str
    kind: Kind
    text_column: str
    label_column: str
    labels: Mapping[str, str]
    where: Path
    excluded_labels: tuple[str, ...] = ()
    id_column: str | None = None
    sample_of: str | None = None
    unverified: bool = False
    repository: str | None = None
    commit: str | None = None
    path: str | None = None
    encoding: str | None = None
    conn_id: str | None = None
    schema: str | None = None
    table: str | None = None

    @property
    def shown(self) -> str:
        """What a form shows: the title, and whether anybody has loaded the set yet."""
        return f"{self.title} (unverified)" if self.unverified else self.title


def benchmark_sets(own: Path | None = None) -> Mapping[str, BenchmarkSet]:
    """Return the sets by name: the project's, then those of a deployment's own file.

    :param own: a file in the form of `sets.toml`; it may add sets, not change the project's
    :raises BenchmarkError: for a file that cannot be read, and for a bad set, by file, set and key
    """
    ours = _read(CATALOGUE)
    theirs = _read(own) if own is not None else {}
    for entry in theirs.values():
        if entry.name in ours:
            raise BenchmarkError(f"{own}, [{entry.name}]: the project has a set of this name; give yours another")
        if entry.kind is Kind.BUNDLED:
            raise BenchmarkError(f"{own}, [{entry.name}], key 'kind': only the project's own sets are bundled")
    return {**ours, **theirs}


def find_set(name: str, own: Path | None = None) -> BenchmarkSet:
    """Return the set of a name.

    :raises BenchmarkError: for an unknown name, with the names there are
    """
    sets = benchmark_sets(own)
    if name not in sets:
        raise BenchmarkError(f"there is no benchmark set {name!r}; there are {', '.join(sets)}")
    return sets[name]


def _read(path: Path) -> dict[str, BenchmarkSet]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BenchmarkError(
            f"the benchmark sets in {path} cannot be read ({error.strerror}); mend the setting that names the file"
        ) from None
    except ValueError as error:
        raise BenchmarkError(f"{path} is no TOML file in UTF-8: {error}") from None
    return {name: _read_set(name, values, path) for name, values in content.items()}


def _read_set(name: str, values: object, where: Path) -> BenchmarkSet:
    if not NAME.fullmatch(name):
        raise BenchmarkError(f"{where}, [{name}]: a name is letters, digits, `_`, `.` and `-`, 100 at most")
    if not isinstance(values, dict):
        raise BenchmarkError(f"{where}, [{name}]: a set is a table of keys, such as title and kind")

    def wrong(key: str, why: str) -> BenchmarkError:
        return BenchmarkError(f"{where}, [{name}], key {key!r}: {why}")

    for key, value in values.items():
        if key not in CHECKS:
            raise wrong(key, f"there is no such key; there are {', '.join(sorted(CHECKS))}")
        check, must = CHECKS[key]
        if not check(value):
            raise wrong(key, f"it must be {must}")
    for key in ("title", "kind", "text_column", "label_column", "labels"):
        if key not in values:
            raise wrong(key, "it is missing")
    kind = Kind(values["kind"])
    needed, allowed = SOURCE_KEYS[kind]
    for key in sorted(needed - values.keys()):
        raise wrong(key, f"it is missing; a set of the kind {kind.value!r} needs it")
    of_others = {each for others in SOURCE_KEYS.values() for each in (others[0] | others[1])} - {"id_column"}
    for key in sorted((of_others - needed - allowed) & values.keys()):
        raise wrong(key, f"it is not for sets of the kind {kind.value!r}")
    suffix = values.get("path", PARQUET).lower()
    if not suffix.endswith(SUFFIXES):
        raise wrong("path", f"the file's name must end in {', '.join(SUFFIXES)}")
    if "encoding" in values and suffix.endswith(PARQUET):
        raise wrong("encoding", "it is for text files, and a Parquet file has its own")
    return BenchmarkSet(**{**values, **_read_columns(values, wrong), "name": name, "kind": kind, "where": where})


def _read_columns(values: Mapping[str, Any], wrong: Callable[[str, str], BenchmarkError]) -> Mapping[str, Any]:
    columns = [values[key] for key in ("id_column", "text_column", "label_column") if key in values]
    if len(set(columns)) < len(columns):
        raise wrong("text_column", f"id, text and label are three columns, and these are {', '.join(columns)}")
    excluded = tuple(map(str, values.get("excluded_labels", ())))
    if both := sorted(values["labels"].keys() & set(excluded)):
        raise wrong("excluded_labels", f"{both[0]!r} is among the labels as well")
    return {"labels": MappingProxyType(dict(values["labels"])), "excluded_labels": excluded}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_labels(value: object) -> bool:
    each_is_one = isinstance(value, list) and all(isinstance(each, str | int) for each in value)
    return each_is_one and not any(isinstance(each, bool) for each in cast("list[object]", value))


def _is_encoding(value: object) -> bool:
    try:
        return isinstance(value, str) and codecs.lookup(value)._is_text_encoding
    except LookupError:
        return False


def _matches(pattern: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value)


CHECKS: Mapping[str, tuple[Any, str]] = {
    **dict.fromkeys(
        ("title", "path", "conn_id", "schema", "table", "id_column", "text_column", "label_column"),
        (_is_text, "a text"),
    ),
    "kind": (lambda value: value in list(Kind), f"one of {', '.join(Kind)}"),
    "labels": (
        lambda value: isinstance(value, dict) and bool(value) and set(value.values()) == {NEG, POS},
        "a table: what the set calls a class = neg or pos, with both of them",
    ),
    "excluded_labels": (_are_labels, "a list of the set's labels whose reviews are left out, such as [3]"),
    "encoding": (_is_encoding, "an encoding that Python knows, such as cp1252"),
    "sample_of": (_matches(NAME), "the name of a set"),
    "unverified": (lambda value: isinstance(value, bool), "true or false"),
    "repository": (_matches(REPOSITORY), "owner/name, as the hub spells it"),
    "commit": (_matches(COMMIT), "a commit of the repository: 40 hexadecimal digits in lower case"),
}
"""Key -> a check of its value, and what the value must be."""
