"""An entry of the model catalogue: source, labels, licence, aliases and published figures of one model, validated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, StrictBool, ValidationInfo, model_validator

from review_scoring.errors import ModelError
from review_scoring.validation import NAME, CheckedModel, InvalidKeysError, Must, Problem, Text, validated_table

REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$"
SCHEMES = ("https", "s3")


class ModelKind(StrEnum):
    """Where a model comes from, and in which format."""

    BUNDLED = "bundled"
    SPARK_NLP = "spark-nlp"
    HUB = "hub"
    FOLDER = "folder"


SOURCE_KEYS: Mapping[ModelKind, Sequence[str]] = {
    ModelKind.BUNDLED: (),
    ModelKind.SPARK_NLP: ("addresses", "archive", "size", "sha256"),
    ModelKind.HUB: ("repository", "commit"),
    ModelKind.FOLDER: ("folder",),
}
"""The keys that name the source of a model, by its kind."""


def _below_the_file(value: object, info: ValidationInfo) -> object:
    """Return a path that may be relative to the catalogue file."""
    if not (isinstance(value, str) and value.strip()):
        raise ValueError
    return Path(info.context["file"] if info.context else "").parent / Path(value).expanduser()


def _all_fetchable(addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        try:
            parts = urlsplit(address)
        except ValueError:
            raise ValueError from None  # its text quotes the address
        if parts.scheme not in SCHEMES or not parts.hostname or "@" in parts.netloc:
            raise ValueError
    return addresses


def _frozen(labels: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


Count: TypeAlias = Annotated[int, Field(strict=True, gt=0), Must("a whole number above 0")]
Flag: TypeAlias = Annotated[StrictBool, Must("true or false")]
Repository: TypeAlias = Annotated[str, Field(pattern=REPOSITORY), Must("owner/name, as on the Hugging Face Hub")]
Commit: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{40}$"),
    Must("a commit of the repository: 40 hexadecimal digits in lower case"),
]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), Must("64 hexadecimal digits in lower case")]
NameOfSet: TypeAlias = Annotated[str, Field(pattern=rf"^{NAME.pattern}$"), Must("the name of a benchmark set")]


class PublishedFigure(CheckedModel):
    """A figure that a model's publisher states."""

    metric: Text = Field(description="Name of the metric, such as `accuracy`, `recall` or `eval_loss`.")
    value: Text = Field(description="The figure as it was printed, digit for digit.")
    label: Text | None = Field(default=None, description="The class, or the average, that the figure is of.")
    support: Count | None = Field(default=None, description="Number of reviews that it was measured on.")


class CatalogueEntry(CheckedModel):
    """One model of a catalogue. Its fields are the keys of an entry in `catalogue.toml`."""

    title: Text = Field(description="Title in forms and on pages.")
    kind: Annotated[ModelKind, Must(f"one of {', '.join(ModelKind)}")] = Field(
        description="`bundled`: part of this package. The others are imported into the model store once: `spark-nlp`, "
        "a Spark NLP archive; `hub`, a repository of the Hugging Face Hub; `folder`, a folder on disk."
    )
    labels: Annotated[
        Mapping[str, Annotated[str, Field(pattern=r"^\S(.{0,48}\S)?$")]],
        Field(min_length=1),
        AfterValidator(_frozen),
        Must("a table: the model's name of a class = the label in the warehouse, 50 characters at most"),
    ] = Field(description="The model's name of each class, and the label it becomes; several may become one label.")
    max_tokens: Count = Field(description="Longest text in tokens, special tokens included; the rest is cut off.")
    language: Text = Field(description="Languages that the model was trained for.")
    licence: Text = Field(description="Licence of the weights.")
    aliases: Annotated[tuple[Text, ...], Must("a list of non-empty strings")] = Field(
        default=(), description="Other names of the model. The warehouse always records the entry's own name."
    )
    unverified: Flag = Field(default=False, description="The entry has not been checked against the real files.")
    case_sensitive: Flag = Field(default=True, description="`false` for a model that reads everything in lower case.")
    addresses: Annotated[
        tuple[Text, ...],
        Field(min_length=1),
        AfterValidator(_all_fetchable),
        Must("a list of https:// or s3:// addresses without a user or password"),
    ] = Field(default=(), description="Kind `spark-nlp`: where to download the archive, in the order of trial.")
    archive: Annotated[Path, BeforeValidator(_below_the_file), Must("the path of a file")] | None = Field(
        default=None,
        description="Kind `spark-nlp`: a local archive instead. The path may be relative to the catalogue file.",
    )
    size: Annotated[int, Field(strict=True, gt=0), Must("a whole number of bytes")] | None = Field(
        default=None, description="Kind `spark-nlp`: size of the archive in bytes, if known."
    )
    sha256: Sha256 | None = Field(None, description="Kind `spark-nlp`: checksum of the archive, if known.")
    repository: Repository | None = Field(default=None, description="Kind `hub`: the repository.")
    commit: Commit | None = Field(
        default=None,
        description="Kind `hub`: the commit. Without one, an import takes the newest and records which that was.",
    )
    folder: Annotated[Path, BeforeValidator(_below_the_file), Must("the path of a folder")] | None = Field(
        default=None,
        description="Kind `folder`: a folder in Hugging Face layout. The path may be relative to the catalogue file.",
    )
    figures: Annotated[tuple[PublishedFigure, ...], Must("a list of tables with the keys metric and value")] = Field(
        default=(), description="Figures that the publisher states; see the next table."
    )
    figures_source: Text | None = Field(default=None, description="Where the publisher states them.")
    figures_set: NameOfSet | None = Field(
        default=None,
        description="The benchmark set that the figures were measured on. Evaluations on this set, and on samples of "
        "it, are compared with the figures.",
    )
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name of the entry: the heading of its table in the catalogue file."""
        return self._name

    @property
    def shown(self) -> str:
        """The title in forms, marked if the entry has not been checked against the real files."""
        return f"{self.title} (unverified)" if self.unverified else self.title

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the entry's addresses, after :func:`https_form`."""
        return frozenset(urlsplit(https_form(address)).hostname or "" for address in self.addresses)

    def model_post_init(self, context: Any, /) -> None:
        """Take the name from the validation context: it is not a key of the entry."""
        self._name = context["name"] if context else ""

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield source keys of another kind, and source keys that the kind lacks."""
        kind = values.get("kind")
        if kind not in list(ModelKind):
            return
        for other, keys in SOURCE_KEYS.items():
            for key in keys:
                if key in values and kind != other:
                    yield Problem(key, f"it is for the kind {other.value!r}, and this entry's kind is {kind!r}")
        if kind == ModelKind.SPARK_NLP and not ({"addresses", "archive"} & values.keys()):
            yield Problem("addresses", "it is missing; a Spark NLP model needs it, or `archive`, a local file")
        if kind == ModelKind.HUB and "repository" not in values:
            yield Problem("repository", "it is missing; a model of the kind `hub` needs it")
        if kind == ModelKind.FOLDER and "folder" not in values:
            yield Problem("folder", "it is missing; a model of the kind `folder` needs it")

    @model_validator(mode="after")
    def _figures_can_be_compared(self) -> Self:
        """Require an accuracy and its number of reviews where evaluations are compared with the figures."""
        metrics = {figure.metric for figure in self.figures if figure.label is None}
        block = {"eval_accuracy", "eval_runtime", "eval_samples_per_second"}
        has_support = any(f.metric in {"accuracy", "eval_accuracy"} and f.support for f in self.figures)
        if self.figures_set and not (block <= metrics or has_support):
            raise InvalidKeysError(
                [
                    Problem(
                        "figures",
                        "evaluations on `figures_set` are compared with them, so they need an accuracy with its "
                        "`support`, the number of reviews that it was measured on (or eval_accuracy, eval_runtime and "
                        "eval_samples_per_second)",
                    )
                ]
            )
        return self


def https_form(address: str) -> str:
    """Return the https address of an object that `s3://bucket/key` names, and any other address unchanged.

    The path-style form, since a bucket's name may contain dots, which no certificate for `*.s3.amazonaws.com` covers:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """
    scheme, _, rest = address.partition("://")
    return f"https://s3.amazonaws.com/{rest}" if scheme == "s3" else address


def read_entry(name: str, values: object, file: Path) -> CatalogueEntry:
    """Validate an entry of a catalogue file. Paths in it may be relative to the file.

    :raises ModelError: with the file, the entry, and each key that is wrong
    """
    return validated_table(CatalogueEntry, name, values, file, called="an entry", error=ModelError)
