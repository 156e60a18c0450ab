"""Benchmark sets in the warehouse: write a set once per content hash, look one up, read its labelled reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, outerjoin, select, update

from review_scoring.reviews import text_hash
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.evaluations.inserting import insert_one, insert_rows
from review_scoring.warehouse.evaluations.records import LabelledReview, StoredSet
from review_scoring.warehouse.schema import Tables


def write_set(
    connection: Connection,
    tables: Tables,
    *,
    described: Mapping[str, Any],
    reviews: Sequence[LabelledReview],
    counts: Mapping[str, int],
) -> StoredSet:
    """Write a set, unless the warehouse has this content under this name already.

    :param described: `name`, `content_hash`, `source` and `sample_of` of the set
    :param counts: the number of `neg` and of `pos` reviews
    """
    sets = tables.benchmark_sets
    name, content_hash = described["name"], described["content_hash"]
    before = connection.execute(_newest_first(tables, name)).all()
    known = next((row for row in before if row.content_hash == content_hash), None)
    loaded = {
        "source": described["source"],
        "sample_of": described["sample_of"],
        "loaded_at": dialect_of(connection).now(connection),
        "replaces_id": next((row.id for row in before if row.content_hash != content_hash), None),
    }
    if known is not None:
        if before[0].id == known.id:
            loaded["replaces_id"] = known.replaces_id
        connection.execute(update(sets).where(sets.c.id == known.id).values(loaded))
        set_id = int(known.id)
        _restore_texts(connection, tables, set_id, reviews)
    else:
        sizes = {"reviews": len(reviews), "negative": counts["neg"], "positive": counts["pos"]}
        set_id = insert_one(connection, sets, {"name": name, "content_hash": content_hash, **loaded, **sizes})
        _write_reviews(connection, tables, set_id, reviews)
    return StoredSet(
        id=set_id,
        name=name,
        content_hash=content_hash,
        reviews=len(reviews),
        sample_of=described["sample_of"],
        is_new=known is None,
        changed=bool(before) and before[0].content_hash != content_hash,
    )


def newest_set(connection: Connection, tables: Tables, *, name: str, source: str) -> StoredSet | None:
    """Return the set that was loaded last under a name; None if it came from another source."""
    row = connection.execute(_newest_first(tables, name).limit(1)).one_or_none()
    if row is None or row.source != source:
        return None
    return _stored(row)


def find_set(connection: Connection, tables: Tables, *, set_id: int) -> StoredSet:
    """Return the set of an id."""
    sets = tables.benchmark_sets
    return _stored(connection.execute(select(sets).where(sets.c.id == set_id)).one())


def reviews_of_set(connection: Connection, tables: Tables, *, set_id: int) -> list[LabelledReview]:
    """Return the reviews of a set in the order of their ids."""
    each, texts = tables.benchmark_reviews, tables.benchmark_texts
    with_text = outerjoin(each, texts, texts.c.text_hash == each.c.text_hash)
    statement = select(each.c.review_id, texts.c.text, each.c.label).select_from(with_text)
    rows = connection.execute(statement.where(each.c.set_id == set_id)).all()
    return sorted((LabelledReview(*row) for row in rows), key=lambda review: review.id)


def _write_reviews(connection: Connection, tables: Tables, set_id: int, reviews: Sequence[LabelledReview]) -> None:
    """Write the reviews of a set, and the texts that no other set has."""
    hashes = [None if review.text is None else text_hash(review.text) for review in reviews]
    _write_texts(connection, tables, reviews)
    rows = [
        {"set_id": set_id, "review_id": review.id, "label": review.label, "text_hash": digest}
        for digest, review in zip(hashes, reviews, strict=True)
    ]
    insert_rows(connection, tables.benchmark_reviews, rows)


def _restore_texts(connection: Connection, tables: Tables, set_id: int, reviews: Sequence[LabelledReview]) -> None:
    """Write the texts that were erased while a later content had replaced this one, but not those of erased reviews."""
    each = tables.benchmark_reviews
    has_text = select(each.c.review_id).where(each.c.set_id == set_id, each.c.text_hash.is_not(None))
    ids = set(connection.scalars(has_text))
    _write_texts(connection, tables, [review for review in reviews if review.id in ids])


def _write_texts(connection: Connection, tables: Tables, reviews: Sequence[LabelledReview]) -> None:
    texts = {text_hash(review.text): review.text for review in reviews if review.text is not None}
    known = tables.benchmark_texts.c.text_hash
    for part in by_bytes(list(texts)):
        for digest in connection.scalars(select(known).where(known.in_(part))):
            del texts[digest]
    insert_rows(connection, tables.benchmark_texts, [{"text_hash": h, "text": text} for h, text in texts.items()])


def _stored(row: Row[Any]) -> StoredSet:
    return StoredSet(
        id=row.id, name=row.name, content_hash=row.content_hash, reviews=row.reviews, sample_of=row.sample_of
    )


def _newest_first(tables: Tables, name: str) -> Select[Any]:
    sets = tables.benchmark_sets
    return select(sets).where(sets.c.name == name).order_by(sets.c.loaded_at.desc(), sets.c.id.desc())
