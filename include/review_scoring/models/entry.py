"""One entry of a catalogue, checked key by key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from review_scoring.errors import ModelError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
LABEL = re.compile(r"\S(.{0,48}\S)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
SCHEMES = ("https", "s3")
CHAMPION = "champion"
"""The alias of the model that was promoted last for a job: the warehouse knows it, and no catalogue may take it."""


class Kind(StrEnum):
    """Where a model comes from, and as what."""

    BUNDLED = "bundled"
    SPARK_NLP = "spark-nlp"
    HUB = "hub"
    FOLDER = "folder"


SOURCE_KEYS = {
    Kind.BUNDLED: set[str](),
    Kind.SPARK_NLP: {"addresses", "archive", "size", "sha256"},
    Kind.HUB: {"repository", "commit"},
    Kind.FOLDER: {"folder"},
}
"""The keys that say where a model of a kind comes from."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that a model's publisher states: `value` as it was printed, digit for digit."""

    metric: str
    value: str
    label: str | None = None
    support: int | None = None


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One model of a catalogue. The file `catalogue.toml` says what its keys mean."""

    name: str
    title: str
    kind: Kind
    labels: Mapping[str, str]
    max_tokens: int
    language: str
    licence: str
    aliases: tuple[str, ...] = ()
    unverified: bool = False
    case_sensitive: bool = True
    addresses: tuple[str, ...] = ()
    archive: Path | None = None
    size: int | None = None
    sha256: str | None = None
    repository: str | None = None
    commit: str | None = None
    folder: Path | None = None
    figures: tuple[Figure, ...] = ()
    figures_source: str | None = None
    figures_set: str | None = None

    @property
    def shown(self) -> str:
        """What a form shows: the title, and whether anybody has loaded the model yet."""
        return f"{self.title} (unverified)" if self.unverified else self.title

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that the entry's addresses name, as they are when they are fetched."""
        return frozenset(urlsplit(https_form(address)).hostname or "" for address in self.addresses)


def https_form(address: str) -> str:
    """Return the https address of an object that `s3://bucket/key` names, and any other address as it is.

    The path-style form, since a bucket's name may hold dots, which no certificate for `*.s3.amazonaws.com` covers:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """
    scheme, _, rest = address.partition("://")
    return f"https://s3.amazonaws.com/{rest}" if scheme == "s3" else address


def read_entry(name: str, values: object, where: Path) -> CatalogueEntry:
    """Check an entry of a catalogue file, and return it. Paths in it may be relative to the file.

    :raises ModelError: naming the file, the entry and the key
    """
    if not NAME.fullmatch(name):
        raise ModelError(f"{where}, [{name}]: a name is letters, digits, `_`, `.` and `-`, 100 at most")
    if not isinstance(values, dict):
        raise ModelError(f"{where}, [{name}]: an entry is a table of keys, such as title and kind")

    wrong = partial(_wrong, where, name)
    _check_keys(values, wrong)
    kind = Kind(values["kind"])
    read = {key: _converted(key, value, where) for key, value in values.items() if key != "kind"}
    entry = CatalogueEntry(name=name, kind=kind, **read)
    if kind is Kind.SPARK_NLP and not (entry.addresses or entry.archive):
        raise wrong("addresses", "it is missing; a Spark NLP model needs it, or `archive`, a local file")
    if kind is Kind.HUB and entry.repository is None:
        raise wrong("repository", "it is missing; a model of the hub needs it")
    if kind is Kind.FOLDER and entry.folder is None:
        raise wrong("folder", "it is missing; a model of the kind `folder` needs it")
    if entry.figures_set and not _can_be_compared(entry.figures):
        raise wrong(
            "figures",
            "`figures_set` has evaluations compared with them, so they need an accuracy with its `support`, the "
            "reviews that it was measured on (or eval_accuracy, eval_runtime and eval_samples_per_second)",
        )
    return entry


def _can_be_compared(figures: Sequence[Figure]) -> bool:
    """Say whether figures tell an accuracy, and on how many reviews."""
    metrics = {figure.metric for figure in figures if figure.label is None}
    block = {"eval_accuracy", "eval_runtime", "eval_samples_per_second"}
    return block <= metrics or any(f.metric in {"accuracy", "eval_accuracy"} and f.support for f in figures)


def _check_keys(values: Mapping[str, object], wrong: Callable[[str, str], ModelError]) -> None:
    """See that there are the keys that there must be, no others, and each with a value that it can have."""
    known = CHECKS.keys()
    for key in values.keys() - known:
        raise wrong(key, f"there is no such key; there are {', '.join(sorted(known))}")
    for field in fields(CatalogueEntry):
        if field.name != "name" and field.default is MISSING and field.name not in values:
            raise wrong(field.name, "it is missing")
    for key, value in values.items():
        check, must = CHECKS[key]
        if not check(value):
            raise wrong(key, f"it must be {must}")
    for kind, keys in SOURCE_KEYS.items():
        for key in sorted(keys & values.keys()):
            if kind != values["kind"]:
                raise wrong(key, f"it is for the kind {kind.value!r}, and this entry's kind is {values['kind']!r}")


def _wrong(where: Path, name: str, key: str, must: str) -> ModelError:
    return ModelError(f"{where}, [{name}], key {key!r}: {must}")


def _converted(key: str, value: Any, where: Path) -> Any:
    if key in {"archive", "folder"}:
        return where.parent / Path(value).expanduser()
    if key == "figures":
        return tuple(Figure(**figure) for figure in value)
    if key == "labels":
        return MappingProxyType(dict(value))
    return tuple(value) if isinstance(value, list) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_labels(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(_is_text(v) and LABEL.fullmatch(v) for v in value.values())


def _are_addresses(value: object) -> bool:
    if not (isinstance(value, list) and value and all(map(_is_text, value))):
        return False
    try:
        parts = [urlsplit(address) for address in value]
    except ValueError:
        return False
    return all(part.scheme in SCHEMES and part.hostname and "@" not in part.netloc for part in parts)


def _are_figures(value: object) -> bool:
    if not isinstance(value, list):
        return False
    texts = {"metric", "value", "label"}
    return all(
        isinstance(figure, dict)
        and {"metric", "value"} <= figure.keys() <= texts | {"support"}
        and all(_is_text(figure[key]) for key in texts & figure.keys())
        and _is_count(figure.get("support", 1))
        for figure in value
    )


def _matches(pattern: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


CHECKS: Mapping[str, tuple[Any, str]] = {
    "title": (_is_text, "a text"),
    "kind": (lambda value: value in list(Kind), f"one of {', '.join(Kind)}"),
    "labels": (
        _are_labels,
        "a table: what the model calls a class = what the warehouse calls it, 50 characters at most",
    ),
    "max_tokens": (_is_count, "a whole number above 0"),
    "language": (_is_text, "a text"),
    "licence": (_is_text, "a text"),
    "aliases": (_are_texts, "a list of texts"),
    "unverified": (_is_bool, "true or false"),
    "case_sensitive": (_is_bool, "true or false"),
    "addresses": (_are_addresses, "a list of https:// or s3:// addresses without a user or password"),
    "archive": (_is_text, "the path of a file"),
    "size": (_is_count, "a whole number of bytes"),
    "sha256": (_matches(SHA256), "64 hexadecimal digits in lower case"),
    "repository": (_matches(REPOSITORY), "owner/name, as the hub spells it"),
    "commit": (_matches(COMMIT), "a commit of the repository: 40 hexadecimal digits in lower case"),
    "folder": (_is_text, "the path of a folder"),
    "figures": (_are_figures, "a list of tables with metric and value, both texts, and perhaps label and support"),
    "figures_source": (_is_text, "a text"),
    "figures_set": (_matches(NAME), "the name of a benchmark set"),
}
"""Key -> a check of its value, and what the value must be."""
