"""Files of labelled reviews as columns, read exactly or not at all: nothing is guessed, no row is shifted or cut."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from review_scoring.errors import BenchmarkError
from review_scoring.models.own_folders import is_pointer

GZIP = ".gz"
DELIMITED, LINES, PARQUET = (".csv", ".tsv"), ".jsonl", ".parquet"
SUFFIXES = (*DELIMITED, LINES, *(f"{suffix}{GZIP}" for suffix in (*DELIMITED, LINES)), PARQUET)
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
LONGEST_FIELD = 2**30
"""Characters of a field; the csv module's own limit is below the length of some texts."""


def read_columns(path: Path, wanted: Sequence[str], encoding: str | None) -> Mapping[str, Sequence[Any]]:
    """Return the columns of a file by name; None for a value that is missing.

    :param wanted: columns that the file must have; a delimiter is the one under which the header names them
    :param encoding: UTF-8, with or without a byte order mark, if None
    :raises BenchmarkError: for a file that cannot be read, with the line if one is to blame, never with its content
    """
    if not path.is_file():
        raise BenchmarkError(f"there is no file {path}, which its entry names")
    if is_pointer(path):
        raise BenchmarkError(f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` there")
    kind = Path(path.name.lower().removesuffix(GZIP)).suffix
    try:
        if kind == PARQUET:
            return _parquet(path)
        with _opened(path, encoding) as file:
            return _objects(file, path) if kind == LINES else _delimited(file, path, kind, wanted)
    except UnicodeError:
        raise BenchmarkError(
            f'{path} is not {encoding or "UTF-8"}; name its encoding in its entry, such as encoding = "cp1252"'
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # pandas' own errors and pyarrow's are ValueErrors
        raise BenchmarkError(f"{path} cannot be read as {kind} ({type(error).__name__})") from None


def _opened(path: Path, encoding: str | None) -> IO[str]:
    if encoding is None or codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # which is UTF-8 with or without a byte order mark
    if path.name.lower().endswith(GZIP):
        return cast("IO[str]", gzip.open(path, "rt", encoding=encoding, newline=""))
    return path.open(encoding=encoding, newline="")


def _delimited(file: IO[str], path: Path, kind: str, wanted: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    """Read CSV or TSV whose rows all have as many fields as the header: one comma too many shifts a row."""
    csv.field_size_limit(LONGEST_FIELD)
    first = file.readline()
    file.seek(0)
    headers = {each: next(csv.reader([first], delimiter=each), []) for each in DELIMITERS[kind]}
    fitting = (each for each, names in headers.items() if set(wanted) <= set(names))
    rows = _rows(file, path, next(fitting, DELIMITERS[kind][0]))
    _, header = next(rows, (0, []))
    if repeated := sorted({name for name in header if name in wanted and header.count(name) > 1}):
        raise BenchmarkError(f"{path} has two columns {repeated[0]!r}")
    columns: dict[str, list[Any]] = {name: [] for name in header}
    for line, row in rows:
        if len(row) != len(header):
            raise BenchmarkError(
                f"{path}, line {line}: it has {len(row)} fields, and the header {len(header)}; quote texts that hold a "
                "delimiter"
            )
        for name, value in zip(header, row, strict=True):
            columns[name].append(value)
    return columns


def _rows(file: IO[str], path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give the rows that are not blank, each with the line on which it ends."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise BenchmarkError(f"{path}, line {reader.line_num}: {error}; a quote in a text is doubled") from None
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _objects(file: IO[str], path: Path) -> Mapping[str, Sequence[Any]]:
    """Read JSON lines; what a line does not name is missing."""
    objects: list[dict[str, Any]] = []
    for line, content in enumerate(file.read().split("\n"), 1):
        if not content.strip():
            continue
        try:
            read = json.loads(content)  # exact beyond 2**53, too
        except json.JSONDecodeError as error:
            raise BenchmarkError(f"{path}, line {line}: {error.msg} at character {error.pos + 1}") from None
        if not isinstance(read, dict):
            raise BenchmarkError(f"{path}, line {line}: it is {type(read).__name__}, not an object")
        objects.append(read)
    names = dict.fromkeys(name for each in objects for name in each)
    return {name: [_present(each.get(name)) for each in objects] for name in names}


def _parquet(path: Path) -> Mapping[str, Sequence[Any]]:
    import pandas as pd

    # Nullable types: an id or a label that is missing must not turn the others into floats.
    frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    return {str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}


def _present(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 NaN is not itself
