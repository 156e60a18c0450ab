"""A scoring job, the one thing a user defines: which table is scored, under which name, and where the scores go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationError

from review_scoring.check_settings import Checks, Share
from review_scoring.errors import ConfigurationError
from review_scoring.validation import CheckedModel, Must, Problem, Text, problems_of

DEFAULT_BUDGET = 100_000
"""New reviews of a run of a job that sets no budget: the first run over a large table must end, too."""

CHAMPION = "champion"
"""In place of a model's name: the model that was promoted last for the job."""

TABLE_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,62}$"
"""A table that is published to, as every database takes it: PostgreSQL has the shortest names."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Rescore(StrEnum):
    """Which reviews that already have a score or a reject are scored again."""

    NOTHING = "nothing"
    CHANGED = "changed"
    REVISION = "revision"
    REJECTS = "rejects"
    ALL = "all"


class OnChange(StrEnum):
    """What a nightly run does with reviews whose text has changed since they were scored."""

    RESCORE = "rescore"
    IGNORE = "ignore"


class OnDelete(StrEnum):
    """What the reconciliation does with scores and rejects of reviews that left the source."""

    KEEP = "keep"
    ERASE = "erase"


class Order(StrEnum):
    """Which new reviews are scored first: by the job's cursor column where there is one, otherwise by id."""

    NEWEST = "newest"
    OLDEST = "oldest"


class LongTexts(StrEnum):
    """How a text with more tokens than the model's maximum is read."""

    TRUNCATE = "truncate"
    WINDOWS = "windows"


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} may contain letters, digits, '_', '.' and '-' only, 200 at most")
    return name


Amount: TypeAlias = Annotated[int, Field(strict=True, ge=0), Must("a whole number of at least 0")]


class Publication(CheckedModel):
    """A table of another database that the scores of a job are published to."""

    conn_id: Text = Field(description="Airflow Connection of the database with the table.")
    table: Annotated[
        str, Field(pattern=TABLE_NAME), Must("a name of letters, digits and '_', 63 at most, that begins with a letter")
    ] = Field(description="The table. It is created if it does not exist; several jobs may share one.")
    table_schema: Text | None = Field(
        default=None,
        description="Its schema (on BigQuery, its dataset); the connection's default schema if not set. Publications "
        "create staging tables there.",
    )

    @property
    def name(self) -> str:
        """Connection and table, as messages and the table `publications` name them."""
        return f"{self.conn_id}/{f'{self.table_schema}.' if self.table_schema else ''}{self.table}"


class ScoringJob(CheckedModel):
    """A scoring job: a stable name for "this source table, scored for that purpose".

    :raises ConfigurationError: with everything that is wrong
    """

    name: Annotated[str, AfterValidator(_checked_name), Must("a name of letters, digits, '_', '.' and '-'")] = Field(
        description="Name of the job. Everything that is written belongs to it, so the name is permanent."
    )
    source_conn_id: Text = Field(description="Airflow Connection of the database with the reviews.")
    source_table: Text = Field(description="Table or view with the reviews.")
    source_schema: Text | None = Field(
        default=None, description="Its schema; the connection's default schema if not set."
    )
    id_column: Text = Field(default="id", description="Unique id of a review: integer, string or UUID.")
    text_column: Text = Field(default="text", description="The text to classify.")
    updated_at_column: Text | None = Field(
        default=None,
        description="Changes whenever the text does. Nightly runs then score changed reviews again; see `on_change`. "
        "Without it, changed texts are found by their hash: every week by `reconcile_reviews`, and by rescores.",
    )
    on_change: Annotated[OnChange, Must("'rescore' or 'ignore'")] = Field(
        default=OnChange.RESCORE,
        description="Whether a nightly run scores reviews again whose `updated_at_column` has changed, `rescore`, or "
        "leaves them as they are, `ignore`, as `reconcile_reviews` then does. An index on that column makes it fast.",
    )
    on_delete: Annotated[OnDelete, Must("'keep' or 'erase'")] = Field(
        default=OnDelete.KEEP,
        description="Whether the DAG `reconcile_reviews` erases scores, rejects and benchmark texts of reviews that "
        "left the source, `erase`, or only counts them, `keep`.",
    )
    max_deleted_share: Annotated[Share, Must("a number from 0 to 1")] = Field(
        default=0.05,
        description="Nothing is erased if a larger share of the recorded reviews is no longer in the source.",
    )
    cursor_column: Text | None = Field(
        default=None,
        description="An increasing integer or a time of insertion, with an index. A nightly run then reads the rows "
        "above the highest value seen, less `cursor_lookback`, and all rows every `full_pass_days` days.",
    )
    cursor_lookback: Amount = Field(
        default=86_400,
        description="How late a row may be committed and still be found by the next nightly run: in seconds, or in "
        "steps of an integer cursor.",
    )
    full_pass_days: Amount = Field(default=7, description="Days between two runs that read all rows.")
    max_reviews: Amount = Field(
        default=DEFAULT_BUDGET,
        description="The most reviews that one nightly run scores or rejects; the others wait for the next run. 0 for "
        "no limit.",
    )
    max_minutes: Amount = Field(
        default=0,
        description="Minutes after the planning of a run in which it scores new reviews; it stops between two chunks. "
        "0 for no limit.",
    )
    order: Annotated[Order, Must("'newest' or 'oldest'")] = Field(
        default=Order.NEWEST,
        description="Which new reviews are scored first, `newest` or `oldest`, by `cursor_column` or else by id.",
    )
    start_after: Annotated[int | str | None, Must("an id, or a value of cursor_column such as 2026-01-31")] = Field(
        default=None,
        description="New reviews up to this value of `cursor_column`, or up to this id without one, are not scored but "
        "counted as `excluded`.",
    )
    source_statement_s: Amount = Field(
        default=300,
        description="Seconds after which the source's database ends a statement of a run. Statements that take a "
        "quarter of it make the next ones read fewer rows. 0 for no limit. A standby that cancels long queries needs "
        "less.",
    )
    target_conn_id: Text | None = Field(
        default=None, description="Airflow Connection of the database for the scores; the source's if not set."
    )
    target_schema: Text | None = Field(
        default=None, description="Schema of this project's tables; the connection's default schema if not set."
    )
    moved_from: Text | None = Field(
        default=None,
        description="Where the same reviews were under the same ids before: `table.id_column` or "
        "`schema.table.id_column`. Reviews scored there are not scored again.",
    )
    publish: Annotated[tuple[Publication, ...], Must("a list of tables")] = Field(
        default=(),
        description="Tables of other databases, such as an analytical warehouse, that the scores are copied to after "
        "the checks of a run have passed: the keys below.",
    )
    model: Text = Field(
        default=CHAMPION,
        description="Model of the job's runs: a name or alias of the catalogue, `name@revision`, or `champion`, the "
        "model that was promoted for the job.",
    )
    long_texts: Annotated[LongTexts, Must("'truncate' or 'windows'")] = Field(
        default=LongTexts.TRUNCATE,
        description="How reviews with more tokens than the model's maximum are read: up to the maximum, `truncate`, or "
        "in overlapping windows whose probabilities are averaged, `windows`.",
    )
    benchmark_set: Text | None = Field(
        default=None,
        description="Benchmark set that models of the job are evaluated on; the Variable "
        "`review_scoring_benchmark_set` if not set.",
    )
    require_benchmark: Annotated[bool | Text | None, Must("the name of a benchmark set, `any`, true or false")] = Field(
        default=None,
        description="Benchmark set on which a model must have passed before it scores, or `any`; the Variable "
        "`review_scoring_require_benchmark` if not set.",
    )
    checks: Annotated[Checks, Must("an object of checks")] = Field(
        default=Checks(), description="Checks of what a run wrote: the keys below."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = "; ".join(map(str, problems_of(error, type(self))))
            raise ConfigurationError(f"scoring job {_shown(values.get('name'))}: {problems}") from None

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield problems of keys together."""
        columns = (values.get("id_column", "id"), values.get("text_column", "text"))
        if columns[0] == columns[1]:
            yield Problem("text_column", f"it and id_column are both {columns[0]!r}")
        published = values.get("publish")
        names = list(map(_place, published)) if isinstance(published, list | tuple) else []
        for place in dict.fromkeys(each for each in names if each is not None and names.count(each) > 1):
            yield Problem("publish", f"table {place[1]!r} of connection {place[0]!r} is there twice")

    def replace(self, **changes: Any) -> Self:
        """Return the job with some settings changed.

        :raises ConfigurationError: with everything that is wrong
        """
        return type(self)(**{**self.as_settings(), **changes})

    def as_settings(self) -> dict[str, Any]:
        """Return the job as plain values, to hand it on between tasks."""
        return self.model_dump(mode="json")

    def serialize(self) -> dict[str, Any]:
        """Return the job as Airflow stores it in a serialized DAG, where the pages read it."""
        return {"name": self.name, **self.model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def from_mapping(cls, name: str, settings: object) -> Self:
        """Build a job from a table of a job file, or a JSON object of an Airflow Variable.

        :raises ConfigurationError: naming every key that is unknown, missing or wrong
        """
        if not isinstance(settings, Mapping):
            raise ConfigurationError(
                f"scoring job {name!r}: expected an object of keys, found a {type(settings).__name__}"
            )
        if "name" in settings:
            raise ConfigurationError(
                f"scoring job {name!r}: key 'name' is not a setting: the name of the file, or the key in the Variable, "
                "is the name of the job"
            )
        return cls(**{"name": name, **{str(key): value for key, value in settings.items()}})


def target_conn_id(job: ScoringJob) -> str:
    """Return the id of the connection for the scores."""
    return job.target_conn_id or job.source_conn_id


def _place(publication: object) -> tuple[object, ...] | None:
    """Return what tells a publication from others; it is not validated yet."""
    keys = ("conn_id", "table", "table_schema")
    if isinstance(publication, Publication):
        return tuple(getattr(publication, key) for key in keys)
    return tuple(map(publication.get, keys)) if isinstance(publication, Mapping) else None


def _shown(name: object) -> str:
    return repr(name) if isinstance(name, str) else "without a name"
