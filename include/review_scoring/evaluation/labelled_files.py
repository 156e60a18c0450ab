"""Read CSV, TSV, JSON Lines and Parquet files of labelled reviews as columns: exactly, or with an error."""

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
from review_scoring.models.source_folder import is_pointer

GZIP = ".gz"
DELIMITED, LINES, PARQUET = (".csv", ".tsv"), ".jsonl", ".parquet"
SUFFIXES = (*DELIMITED, LINES, *(f"{suffix}{GZIP}" for suffix in (*DELIMITED, LINES)), PARQUET)
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
LONGEST_FIELD = 2**30
"""Characters; the default limit of the csv module is shorter than some texts."""


def read_columns(path: Path, required: Sequence[str], encoding: str | None) -> Mapping[str, Sequence[Any]]:
    """Return the columns of a file by name; a missing value is None.

    :param required: the required columns; the delimiter is the one that splits the header into them
    :param encoding: None for UTF-8 with or without a byte order mark
    :raises BenchmarkError: for a file that cannot be read, with the number of the line at fault, never with its content
    """
    if not path.is_file():
        raise BenchmarkError(f"the file {path} of its entry does not exist")
    if is_pointer(path):
        raise BenchmarkError(f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` there")
    kind = Path(path.name.lower().removesuffix(GZIP)).suffix
    try:
        if kind == PARQUET:
            return _parquet(path)
        with _opened(path, encoding) as file:
            return _objects(file, path) if kind == LINES else _delimited(file, path, kind, required)
    except UnicodeError:
        raise BenchmarkError(
            f'{path} is not {encoding or "UTF-8"}; set its encoding in its entry, such as encoding = "cp1252"'
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # the errors of pandas and pyarrow are ValueErrors
        raise BenchmarkError(f"{path} cannot be read as {kind} ({type(error).__name__})") from None


def _opened(path: Path, encoding: str | None) -> IO[str]:
    if encoding is None or codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # UTF-8 with or without a byte order mark
    if path.name.lower().endswith(GZIP):
        return cast("IO[str]", gzip.open(path, "rt", encoding=encoding, newline=""))
    return path.open(encoding=encoding, newline="")


def _delimited(file: IO[str], path: Path, kind: str, required: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    """Read CSV or TSV. All rows must have as many fields as the header: one comma too many would shift a row."""
    csv.field_size_limit(LONGEST_FIELD)
    first = file.readline()
    file.seek(0)
    headers = {each: next(csv.reader([first], delimiter=each), []) for each in DELIMITERS[kind]}
    fitting = (each for each, names in headers.items() if set(required) <= set(names))
    rows = _rows(file, path, next(fitting, DELIMITERS[kind][0]))
    _, header = next(rows, (0, []))
    if repeated := sorted({name for name in header if name in required and header.count(name) > 1}):
        raise BenchmarkError(f"{path} has two columns {repeated[0]!r}")
    columns: dict[str, list[Any]] = {name: [] for name in header}
    for line, row in rows:
        if len(row) != len(header):
            raise BenchmarkError(
                f"{path}, line {line}: it has {len(row)} fields and the header has {len(header)}; quote texts that "
                "contain the delimiter"
            )
        for name, value in zip(header, row, strict=True):
            columns[name].append(value)
    return columns


def _rows(file: IO[str], path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of its last line."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise BenchmarkError(f"{path}, line {reader.line_num}: {error}; double each quote inside a text") from None
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _objects(file: IO[str], path: Path) -> Mapping[str, Sequence[Any]]:
    """Read JSON Lines; a key that a line lacks is a missing value."""
    objects: list[dict[str, Any]] = []
    for line, content in enumerate(file.read().split("\n"), 1):
        if not content.strip():
            continue
        try:
            read = json.loads(content)  # exact for integers beyond 2**53 too
        except json.JSONDecodeError as error:
            raise BenchmarkError(f"{path}, line {line}: {error.msg} at character {error.pos + 1}") from None
        if not isinstance(read, dict):
            raise BenchmarkError(f"{path}, line {line}: it is a {type(read).__name__}, not an object")
        objects.append(read)
    names = dict.fromkeys(name for each in objects for name in each)
    return {name: [_present(each.get(name)) for each in objects] for name in names}


def _parquet(path: Path) -> Mapping[str, Sequence[Any]]:
    import pandas as pd

    # Nullable types: a missing id or label must not turn the other ones into floats.
    frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    return {str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}


def _present(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 NaN is not itself
