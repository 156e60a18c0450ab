"""The catalogue of benchmark sets: which labelled reviews exist, and their file, hub dataset or table, validated."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from review_scoring.errors import BenchmarkError
from review_scoring.evaluation.labelled_files import PARQUET, SUFFIXES
from review_scoring.models.catalogue_entry import Commit, Flag, NameOfSet, Repository
from review_scoring.validation import CheckedModel, InvalidKeysError, Must, Problem, Text, validated_table

CATALOGUE = Path(__file__).with_name("benchmark_sets.toml")
DEFAULT_SET = "sample"
NEG, POS = "neg", "pos"


class SetKind(StrEnum):
    """Where the reviews of a set come from."""

    BUNDLED = "bundled"
    HUB = "hub"
    FILE = "file"
    TABLE = "table"


SOURCE_KEYS: Mapping[SetKind, tuple[Sequence[str], Sequence[str]]] = {
    SetKind.BUNDLED: ((), ()),
    SetKind.HUB: (("path", "repository"), ("commit", "encoding")),
    SetKind.FILE: (("path",), ("encoding",)),
    SetKind.TABLE: (("conn_id", "id_column", "table"), ("schema",)),
}
"""The keys that name the source of a set, by its kind: those that are required, and those that are optional."""


def _both_classes(labels: Mapping[str, str]) -> Mapping[str, str]:
    if set(labels.values()) != {NEG, POS}:
        raise ValueError
    return MappingProxyType(dict(labels))


def _as_labels(labels: object) -> list[str]:
    """Return labels as text; TOML may have them as whole numbers."""
    if not isinstance(labels, list) or not all(isinstance(each, str) or type(each) is int for each in labels):
        raise ValueError
    return list(map(str, labels))


def _known_encoding(encoding: str) -> str:
    try:
        is_known = codecs.lookup(encoding)._is_text_encoding
    except LookupError:
        is_known = False
    if not is_known:
        raise ValueError
    return encoding


class BenchmarkSet(CheckedModel):
    """One benchmark set. Its fields are the keys of a set in `benchmark_sets.toml`."""

    title: Text = Field(description="Title in forms.")
    kind: Annotated[SetKind, Must(f"one of {', '.join(SetKind)}")] = Field(
        description="`bundled`: part of this package; `hub`: a file of a dataset of the Hugging Face Hub; `file`: a "
        "CSV, TSV, JSON Lines or Parquet file; `table`: a table or view of a database."
    )
    text_column: Text = Field(description="Column of the texts.")
    label_column: Text = Field(description="Column of the labels.")
    labels: Annotated[
        Mapping[str, str],
        AfterValidator(_both_classes),
        Must("a table: a label of the set = neg or pos, with both of them"),
    ] = Field(description="Each label of the set, and the class that it means.")
    excluded_labels: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_labels, json_schema_input_type=list[str | int]),
        Must("a list of labels of the set, such as [3]"),
    ] = Field(default=(), description="Reviews with these labels are left out. All other labels must be in `labels`.")
    id_column: Text | None = Field(
        default=None,
        description="Column of the ids. A file may do without: an id is then the number of its row, from 1.",
    )
    sample_of: NameOfSet | None = Field(
        default=None,
        description="The larger set that these reviews are a sample of. Figures published for it apply here.",
    )
    unverified: Flag = Field(default=False, description="The entry has not been checked against the real data.")
    repository: Repository | None = Field(default=None, description="Kind `hub`: the dataset.")
    commit: Commit | None = Field(
        default=None, description="Kind `hub`: the commit. Without one, the newest is taken and recorded."
    )
    path: Text | None = Field(
        default=None,
        description="Kind `hub`: the file in the dataset. Kind `file`: the file; the path may be relative to the file "
        "of this entry.",
    )
    encoding: (
        Annotated[str, AfterValidator(_known_encoding), Must("an encoding that Python knows, such as cp1252")] | None
    ) = Field(default=None, description="Kinds `hub` and `file`: encoding of a text file that is not UTF-8.")
    conn_id: Text | None = Field(default=None, description="Kind `table`: Airflow Connection of the database.")
    table: Text | None = Field(default=None, description="Kind `table`: the table or view.")
    table_schema: Text | None = Field(
        default=None, alias="schema", description="Kind `table`: its schema; by default the connection's."
    )
    _name: str = PrivateAttr("")
    _file: Path = PrivateAttr(Path())

    @property
    def name(self) -> str:
        """The name of the set: the heading of its table in the file."""
        return self._name

    @property
    def file(self) -> Path:
        """The file that has the entry."""
        return self._file

    @property
    def shown(self) -> str:
        """The title in forms, marked if the entry has not been checked against the real data."""
        return f"{self.title} (unverified)" if self.unverified else self.title

    def model_post_init(self, context: Any, /) -> None:
        """Take name and file from the validation context: they are not keys of the entry."""
        if context:
            self._name, self._file = context["name"], context["file"]

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield source keys that the kind lacks, and source keys of other kinds."""
        kind = values.get("kind")
        if kind not in list(SetKind):
            return
        required, optional = SOURCE_KEYS[SetKind(kind)]
        for key in required:
            if key not in values:
                yield Problem(key, f"it is missing; a set of the kind {kind!r} needs it")
        of_others = {key for keys in SOURCE_KEYS.values() for key in (*keys[0], *keys[1])} - {"id_column"}
        for key in sorted((of_others & values.keys()).difference(required, optional)):
            yield Problem(key, f"it is not for sets of the kind {kind!r}")

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        problems = []
        suffix = (self.path or PARQUET).lower()
        if not suffix.endswith(SUFFIXES):
            problems.append(Problem("path", f"the file's name must end in {', '.join(SUFFIXES)}"))
        if self.encoding and suffix.endswith(PARQUET):
            problems.append(Problem("encoding", "it is for text files; a Parquet file has its own"))
        columns = [each for each in (self.id_column, self.text_column, self.label_column) if each]
        if len(set(columns)) < len(columns):
            found = ", ".join(columns)
            problems.append(Problem("text_column", f"id, text and label must be different columns, not {found}"))
        if both := sorted(self.labels.keys() & set(self.excluded_labels)):
            problems.append(Problem("excluded_labels", f"{both[0]!r} is among the labels as well"))
        if problems:
            raise InvalidKeysError(problems)
        return self


def benchmark_sets(own: Path | None = None) -> Mapping[str, BenchmarkSet]:
    """Return the sets by name: the project's, then those of a deployment's own file.

    :param own: a file in the form of `benchmark_sets.toml`; it may add sets, not change the project's
    :raises BenchmarkError: for a file that cannot be read, and for an invalid set, with file, set and keys
    """
    ours = _read(CATALOGUE)
    theirs = _read(own) if own is not None else {}
    for entry in theirs.values():
        if entry.name in ours:
            raise BenchmarkError(f"{own}, [{entry.name}]: the project has a set of this name; choose another name")
        if entry.kind is SetKind.BUNDLED:
            raise BenchmarkError(f"{own}, [{entry.name}], key 'kind': only the project's own sets are bundled")
    return {**ours, **theirs}


def find_set(name: str, own: Path | None = None) -> BenchmarkSet:
    """Return the set of a name.

    :raises BenchmarkError: for an unknown name, with the known ones
    """
    sets = benchmark_sets(own)
    if name not in sets:
        raise BenchmarkError(f"there is no benchmark set {name!r}; there are {', '.join(sets)}")
    return sets[name]


def _read(file: Path) -> dict[str, BenchmarkSet]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BenchmarkError(
            f"the benchmark sets in {file} cannot be read ({error.strerror}); correct the setting that names the file"
        ) from None
    except ValueError as error:
        raise BenchmarkError(f"{file} is not a TOML file in UTF-8: {error}") from None
    return {
        name: validated_table(BenchmarkSet, name, values, file, called="a set", error=BenchmarkError)
        for name, values in content.items()
    }
