"""Read the labelled reviews of a benchmark set from a file, the hub or a table, and check them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

import review_scoring
from review_scoring.errors import BenchmarkError
from review_scoring.evaluation.benchmark_sets import BenchmarkSet, SetKind
from review_scoring.evaluation.hub_dataset import fetch_data_file
from review_scoring.evaluation.labelled_files import read_columns
from review_scoring.reviews import canonical_id, screen_unicode
from review_scoring.warehouse.evaluations.labelled_tables import labelled_rows, table_source
from review_scoring.warehouse.evaluations.records import LabelledReview

SAMPLE = Path(review_scoring.__file__).parent / "data" / "sample_reviews.csv"
SHOWN = 5
"""Number of ids, labels or columns that an error lists."""

SHORT = 30
"""Longest id or label in characters that an error quotes: a longer one may be a text, if columns were mixed up."""

MAX_SOURCE = 500
"""Length of the column `benchmark_sets.source` in characters."""

FEW = 20
"""Most distinct labels that an error quotes: with more, the column is probably not the label column."""


@dataclass(frozen=True)
class LabelledSet:
    """The reviews of a set in the order of their ids, with their source and content hash."""

    source: str
    reviews: Sequence[LabelledReview]
    content_hash: str

    @property
    def counts(self) -> Counter[str]:
        """Number of reviews of each class."""
        return Counter(review.label for review in self.reviews)


def read_set(entry: BenchmarkSet, engine_of: Callable[[str], Engine]) -> LabelledSet:
    """Read a set and check it.

    :param engine_of: returns the engine of an Airflow Connection
    :raises BenchmarkError: for a set that cannot be read or used, with all problems of its rows
    :raises DownloadFailedError: for a hub that cannot be reached
    """
    source, rows = _rows(entry, engine_of)
    reviews = sorted(_checked(entry, rows), key=lambda review: review.id)
    return LabelledSet(source, reviews, content_hash(reviews))


def pinned_source(entry: BenchmarkSet) -> str | None:
    """Return the source of a set at a pinned commit, whose content cannot change; None for other sets."""
    return _hub_source(entry, entry.commit) if entry.kind is SetKind.HUB and entry.commit else None


def content_hash(reviews: Iterable[LabelledReview]) -> str:
    """Return the SHA-256 over one line of JSON for each review, `[id, text, label]`, in the order of the ids."""
    digest = hashlib.sha256()
    for each in sorted(reviews, key=lambda review: review.id):
        digest.update((json.dumps([each.id, each.text, each.label], ensure_ascii=False) + "\n").encode())
    return digest.hexdigest()


def _rows(entry: BenchmarkSet, engine_of: Callable[[str], Engine]) -> tuple[str, list[tuple[Any, Any, Any]]]:
    """Return the source of a set in words, and its rows: id, text and label as they are stored."""
    match entry.kind:
        case SetKind.BUNDLED:
            return f"review_scoring {review_scoring.__version__}, {SAMPLE.name}", _file_rows(entry, SAMPLE, SAMPLE.name)
        case SetKind.FILE:
            assert entry.path is not None
            path = entry.file.parent / Path(entry.path).expanduser()
            return path.name, _file_rows(entry, path, str(path))
        case SetKind.HUB:
            assert entry.repository is not None
            assert entry.path is not None
            with tempfile.TemporaryDirectory() as folder:
                commit, path = fetch_data_file(entry.repository, entry.commit, entry.path, Path(folder))
                return _hub_source(entry, commit), _file_rows(entry, path, f"{entry.path} of {entry.repository}")
        case SetKind.TABLE:
            assert entry.conn_id is not None
            assert entry.table is not None
            assert entry.id_column is not None
            columns = (entry.id_column, entry.text_column, entry.label_column)
            rows = labelled_rows(engine_of(entry.conn_id), entry.conn_id, entry.table_schema, entry.table, columns)
            place = f"{entry.table_schema}.{entry.table}" if entry.table_schema else entry.table
            return table_source(entry.conn_id, place, entry.id_column), rows


def _hub_source(entry: BenchmarkSet, commit: str) -> str:
    labels = ", ".join(f"{theirs} = {ours}" for theirs, ours in entry.labels.items())
    columns = ", ".join(filter(None, (entry.id_column, entry.text_column, entry.label_column)))
    without = f"; without {', '.join(entry.excluded_labels)}" if entry.excluded_labels else ""
    return f"{entry.repository}@{commit}, {entry.path} ({columns}; {labels}{without})"[:MAX_SOURCE]


def _file_rows(entry: BenchmarkSet, path: Path, shown: str) -> list[tuple[Any, Any, Any]]:
    """Return the rows of a file.

    :param shown: the name of the file in errors, since `path` may be temporary
    """
    required = [column for column in (entry.id_column, entry.text_column, entry.label_column) if column]
    try:
        columns = read_columns(path, required, entry.encoding)
    except BenchmarkError as error:
        raise BenchmarkError(f"benchmark set {entry.name!r}: {str(error).replace(str(path), shown)}") from None
    if not any(columns.values()):
        return []  # an empty file has no columns either
    if missing := [column for column in required if column not in columns]:
        raise BenchmarkError(
            f"benchmark set {entry.name!r}: {path.name} has no column {', '.join(map(repr, missing))}; it has "
            f"{_some(columns)}"
        )
    texts, labels = columns[entry.text_column], columns[entry.label_column]
    ids = columns[entry.id_column] if entry.id_column else range(1, len(texts) + 1)
    return list(zip(ids, texts, labels, strict=True))


def _checked(entry: BenchmarkSet, rows: Sequence[tuple[Any, Any, Any]]) -> list[LabelledReview]:
    """Return the rows as reviews with the labels `neg` and `pos`, or raise an error with all their problems."""
    rows = [row for row in rows if str(row[2]) not in entry.excluded_labels]
    if not rows:
        raise BenchmarkError(f"benchmark set {entry.name!r} is empty")
    problems = []
    ids = [canonical_id(id_) for id_, _, _ in rows]
    if unusable := ids.count(None):
        problems.append(f"{unusable} of {len(rows)} rows have no valid id (an integer, a string or a UUID)")
    if repeated := [id_ for id_, count in Counter(ids).items() if count > 1 and id_ is not None]:
        problems.append(f"{len(repeated)} ids occur more than once: {_some(_short(repeated))}")
    labels = [str(label) for _, _, label in rows]
    if unknown := sorted(set(labels) - entry.labels.keys()):
        problems.append(
            f"unknown labels in column {entry.label_column!r}: {_values(unknown)}; the labels of "
            f"the set's entry are {', '.join(map(repr, entry.labels))}; add them there, or to `excluded_labels`"
        )
    elif len(found := {entry.labels[label] for label in labels}) < 2:
        problems.append(f"all {len(rows)} reviews are {found.pop()!r}; an evaluation needs both neg and pos")
    if no_text := [id_ for id_, (_, text, _) in zip(ids, rows, strict=True) if not _storable(text)]:
        problems.append(
            f"{len(no_text)} reviews have a value in {entry.text_column!r} that is not text, is invalid Unicode or "
            f"contains a NUL character: {_some(_short(no_text))}"
        )
    if problems:
        raise BenchmarkError(f"benchmark set {entry.name!r} cannot be used: {'; '.join(problems)}")
    return [
        LabelledReview(str(id_), text, entry.labels[label])
        for id_, (_, text, _), label in zip(ids, rows, labels, strict=True)
    ]


def _storable(text: object) -> bool:
    """Return whether every database can store a text. Missing and empty ones are stored, and rejected later."""
    return text is None or (isinstance(text, str) and "\x00" not in text and screen_unicode(text) is None)


def _values(unknown: Sequence[str]) -> str:
    """Return labels for an error, unless they look like something else, such as texts of reviews."""
    if len(unknown) > FEW or any(len(each) > SHORT for each in unknown):
        return f"{len(unknown)} different values; is this the label column?"
    return _some(map(repr, unknown))


def _short(ids: Iterable[str | None]) -> list[str]:
    """Return ids for an error: long ones may be texts, and are not quoted."""
    return [repr(id_) if id_ is None or len(id_) <= SHORT else f"one of {len(id_)} characters" for id_ in ids]


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
