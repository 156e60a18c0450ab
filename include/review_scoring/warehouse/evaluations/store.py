"""Benchmark sets and evaluations in the warehouse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, delete, exists, insert, inspect, or_, select, update

from review_scoring.request import RunKey
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.evaluations.labelled import LabelledReview
from review_scoring.warehouse.schema import Tables, tables

ROWS_AT_ONCE = 1000
"""Rows that one INSERT sends."""


@dataclass(frozen=True, kw_only=True)
class StoredSet:
    """A benchmark set in the warehouse. `changed` says that another content of that name was loaded before it."""

    id: int
    name: str
    content_hash: str
    reviews: int
    is_new: bool
    changed: bool


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One line of an evaluation's table: a class, or an average over the classes."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model said of one labelled review. The columns of `benchmark_predictions`, whose schema explains them."""

    review_id: str
    expected: str
    predicted: str | None
    label: str | None
    score: float | None
    token_count: int | None
    truncated: bool | None
    reject_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation, as it is kept: the columns of `benchmark_runs` and the rows that belong to it."""

    columns: Mapping[str, Any]
    figures: Mapping[str, Any]
    classes: Sequence[ClassMetrics]
    judged: Sequence[Judged]


@dataclass(frozen=True)
class BenchmarkStore:
    """The benchmark tables in one schema of the target database."""

    engine: Engine
    schema: str | None = None

    @property
    def owned(self) -> Tables:
        """The tables."""
        return tables(self.schema)

    def keep_set(
        self,
        *,
        name: str,
        content_hash: str,
        source: str,
        sample_of: str | None,
        reviews: Sequence[LabelledReview],
        counts: Mapping[str, int],
    ) -> StoredSet:
        """Put a set into the warehouse, unless this very content is there under this name already."""
        sets = self.owned.benchmark_sets
        # Two loads of one set at once would both insert it.
        with writing(self.engine).begin() as connection, dialect_of(connection).one_at_a_time(connection, self.schema):
            before = connection.execute(
                select(sets).where(sets.c.name == name).order_by(sets.c.loaded_at.desc(), sets.c.id.desc())
            ).all()
            known = next((row for row in before if row.content_hash == content_hash), None)
            described = {
                "source": source,
                "sample_of": sample_of,
                "loaded_at": dialect_of(connection).now(connection),
                "replaces_id": next((row.id for row in before if row.content_hash != content_hash), None),
            }
            if known is not None:
                newest = before[0].id == known.id
                keep = {**described, "replaces_id": known.replaces_id} if newest else described
                connection.execute(update(sets).where(sets.c.id == known.id).values(keep))
                set_id = known.id
            else:
                sizes = {"reviews": len(reviews), "negative": counts["neg"], "positive": counts["pos"]}
                new = {"name": name, "content_hash": content_hash, **described, **sizes}
                set_id = _new_id(connection, sets, new)
                rows = [{"set_id": set_id, "review_id": r.id, "text": r.text, "label": r.label} for r in reviews]
                _insert(connection, self.owned.benchmark_reviews, rows)
        return StoredSet(
            id=set_id,
            name=name,
            content_hash=content_hash,
            reviews=len(reviews),
            is_new=known is None,
            changed=bool(before) and before[0].content_hash != content_hash,
        )

    def newest_set(self, name: str, source: str) -> StoredSet | None:
        """Return what a name means now, if it was loaded from this very source."""
        sets = self.owned.benchmark_sets
        newest = select(sets).where(sets.c.name == name).order_by(sets.c.loaded_at.desc(), sets.c.id.desc()).limit(1)
        with self.engine.connect() as connection:
            row = connection.execute(newest).one_or_none()
        if row is None or row.source != source:
            return None
        size = {"content_hash": row.content_hash, "reviews": row.reviews}
        return StoredSet(id=row.id, name=name, **size, is_new=False, changed=False)

    def now(self) -> datetime:
        """Return the database's own time."""
        with self.engine.connect() as connection:
            return dialect_of(connection).now(connection)

    def find_set(self, set_id: int) -> Row[Any]:
        """Return the row of a set that was loaded."""
        sets = self.owned.benchmark_sets
        with self.engine.connect() as connection:
            return connection.execute(select(sets).where(sets.c.id == set_id)).one()

    def reviews(self, set_id: int) -> list[LabelledReview]:
        """Return the reviews of a set in the order of their ids."""
        each = self.owned.benchmark_reviews
        with self.engine.connect() as connection:
            rows = connection.execute(select(each).where(each.c.set_id == set_id)).all()
        return sorted((LabelledReview(r.review_id, r.text, r.label) for r in rows), key=lambda review: review.id)

    def last_run(
        self, *, set_id: int, row_limit: int | None, model: str, revision: str, key: RunKey
    ) -> Row[Any] | None:
        """Return the evaluation that a new one is compared with: the last that passed, or else the last.

        One of this very revision goes before another revision's: a model in use that did not change must not become
        worse because a better one was looked at. Then one on this very content goes before one on what the set's name
        meant earlier, which has to have passed.

        :param key: the new one's task, whose own earlier tries do not count
        """
        runs, sets = self.owned.benchmark_runs, self.owned.benchmark_sets
        name = select(sets.c.name).where(sets.c.id == set_id).scalar_subquery()
        same_content, same_revision = runs.c.set_id == set_id, runs.c.revision == revision
        newest = (
            select(runs)
            .join(sets, sets.c.id == runs.c.set_id)
            .where(sets.c.name == name, runs.c.row_limit == row_limit, runs.c.model == model, ~self._mine(key))
            .where(or_(same_content, runs.c.passed.is_(True)))
            .order_by(runs.c.passed.desc(), same_revision.desc(), same_content.desc())
            .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        )
        with self.engine.connect() as connection:
            return connection.execute(newest.limit(1)).one_or_none()

    def judged(self, benchmark_run_id: int) -> dict[str, Judged]:
        """Return what was said in an evaluation, by review id."""
        each = self.owned.benchmark_predictions
        columns = [each.c[name] for name in Judged.__dataclass_fields__]
        with self.engine.connect() as connection:
            rows = connection.execute(select(*columns).where(each.c.benchmark_run_id == benchmark_run_id)).all()
        return {row.review_id: Judged(*row) for row in rows}

    def keep(self, key: RunKey, evaluation: Evaluation) -> int:
        """Write an evaluation in one transaction, and return its id.

        It takes the place of an earlier try of the same task at the same revision and reviews, unless a promotion rests
        on that, or another evaluation was compared with it: what they name stays.
        """
        owned = self.owned
        later = owned.benchmark_runs.alias("later")
        with writing(self.engine).begin() as connection:
            each_run = owned.benchmark_runs.c
            same = ("set_id", "row_limit", "model", "revision")
            mine = select(each_run.id).where(
                self._mine(key),
                *(each_run[name] == evaluation.columns[name] for name in same),
                ~exists().where(owned.promotions.c.benchmark_run_id == each_run.id),
                ~exists().where(later.c.compared_with == each_run.id),
            )
            for earlier in connection.scalars(mine).all():
                for each in (owned.benchmark_predictions, owned.benchmark_class_metrics):
                    connection.execute(delete(each).where(each.c.benchmark_run_id == earlier))
                connection.execute(delete(owned.benchmark_runs).where(owned.benchmark_runs.c.id == earlier))
            figures = {"figures": json.dumps(evaluation.figures, sort_keys=True)}
            run = _new_id(connection, owned.benchmark_runs, {**vars(key), **evaluation.columns, **figures})
            classes = [{"benchmark_run_id": run, **vars(each)} for each in evaluation.classes]
            _insert(connection, owned.benchmark_class_metrics, classes)
            fields = Judged.__dataclass_fields__
            judged = [{"benchmark_run_id": run, **{f: getattr(j, f) for f in fields}} for j in evaluation.judged]
            _insert(connection, owned.benchmark_predictions, judged)
        return run

    def newest(self, model: str, revision: str) -> list[Row[Any]]:
        """Return the newest evaluation of a model's revision on each whole set, the newest of all last."""
        runs, sets = self.owned.benchmark_runs, self.owned.benchmark_sets
        statement = (
            select(runs, sets.c.name.label("set_name"))
            .join(sets, sets.c.id == runs.c.set_id)
            .where(runs.c.model == model, runs.c.revision == revision, runs.c.row_limit.is_(None))
            .order_by(runs.c.ended_at, runs.c.id)
        )
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(runs.name, schema=self.schema):
                return []
            found = {row.set_name: row for row in connection.execute(statement)}
        return sorted(found.values(), key=lambda row: (row.ended_at, row.id))

    def find(self, benchmark_run_id: int) -> Row[Any] | None:
        """Return an evaluation and the name of its set."""
        runs, sets = self.owned.benchmark_runs, self.owned.benchmark_sets
        joined = select(runs, sets.c.name.label("set_name")).join(sets, sets.c.id == runs.c.set_id)
        with self.engine.connect() as connection:
            return connection.execute(joined.where(runs.c.id == benchmark_run_id)).one_or_none()

    def newest_run(self) -> Row[Any] | None:
        """Return the last evaluation of all and the name of its set."""
        runs, sets = self.owned.benchmark_runs, self.owned.benchmark_sets
        joined = select(runs, sets.c.name.label("set_name")).join(sets, sets.c.id == runs.c.set_id)
        with self.engine.connect() as connection:
            return connection.execute(joined.order_by(runs.c.id.desc()).limit(1)).one_or_none()

    def classes(self, benchmark_run_id: int) -> list[ClassMetrics]:
        """Return the lines of an evaluation's table: the classes, then the averages."""
        each = self.owned.benchmark_class_metrics
        columns = [each.c[name] for name in ClassMetrics.__dataclass_fields__]
        with self.engine.connect() as connection:
            rows = connection.execute(select(*columns).where(each.c.benchmark_run_id == benchmark_run_id)).all()
        lines = [ClassMetrics(**row._asdict()) for row in rows]
        return sorted(lines, key=lambda line: (" " in line.label, line.label))

    def _mine(self, key: RunKey) -> Any:
        runs = self.owned.benchmark_runs
        return and_(*(runs.c[name] == value for name, value in vars(key).items()))


def _new_id(connection: Connection, into: Any, values: Mapping[str, Any]) -> int:
    inserted = connection.execute(insert(into).values(values)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def _insert(connection: Connection, into: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.execute(insert(into), list(rows[start : start + ROWS_AT_ONCE]))
