"""Texts of benchmark sets that are to be erased: those of erased reviews, and those that no current set has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, delete, exists, func, or_, select, update

from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.schema import Tables


@dataclass(frozen=True)
class ErasableTexts:
    """Texts of benchmark sets, by their hashes.

    :param owners: hash -> canonical id of the review that the text is erased with
    :param stored: the hashes whose texts are stored
    """

    owners: Mapping[bytes, str]
    stored: frozenset[bytes]


def texts_of_reviews(
    connection: Connection, tables: Tables, *, sources: Collection[str], ids: Sequence[str], hashes: Mapping[bytes, str]
) -> ErasableTexts:
    """Return the texts that are those of reviews, and those under their ids in sets from their own table.

    A text stays that a set from this table has under the id of another review as well.

    :param sources: values of `benchmark_sets.source` of sets that were loaded from the table of the reviews
    :param ids: canonical ids of the reviews
    :param hashes: hash of a review's text -> its id
    """
    reviews, texts = tables.benchmark_reviews, tables.benchmark_texts
    entries = select(reviews.c.text_hash, reviews.c.review_id).where(
        reviews.c.set_id.in_(_sets_from(tables, sources)), reviews.c.text_hash.is_not(None)
    )
    owners = dict(hashes)
    for part in by_bytes(ids):
        of_part = entries.where(dialect_of(connection).in_values(reviews.c.review_id, part))
        owners |= {row.text_hash: row.review_id for row in connection.execute(of_part)}
    erased, stored = set(ids), set[bytes]()
    for some in by_bytes(list(owners)):
        for row in connection.execute(entries.where(reviews.c.text_hash.in_(some))):
            if row.review_id not in erased:
                owners.pop(row.text_hash, None)
    for some in by_bytes(list(owners)):
        stored.update(connection.scalars(select(texts.c.text_hash).where(texts.c.text_hash.in_(some))))
    return ErasableTexts(owners, frozenset(stored))


def superseded_texts(connection: Connection, tables: Tables, *, most: int | None = None) -> ErasableTexts:
    """Return the texts that are only in contents of sets that a later content has replaced.

    :param most: how many at most; None for all
    """
    reviews, texts = tables.benchmark_reviews, tables.benchmark_texts
    current, later, same = tables.benchmark_sets, tables.benchmark_sets.alias("later"), reviews.alias("same_text")
    is_after = or_(
        later.c.loaded_at > current.c.loaded_at,
        and_(later.c.loaded_at == current.c.loaded_at, later.c.id > current.c.id),
    )
    is_current = ~exists().where(later.c.name == current.c.name, is_after)
    in_current = exists().where(same.c.text_hash == texts.c.text_hash, same.c.set_id == current.c.id, is_current)
    owner = func.min(reviews.c.review_id).label("review_id")
    statement = (
        select(texts.c.text_hash, owner)
        .join(reviews, reviews.c.text_hash == texts.c.text_hash)
        .where(~in_current)
        .group_by(texts.c.text_hash)
        .limit(most)
    )
    owners = {row.text_hash: row.review_id for row in connection.execute(statement)}
    return ErasableTexts(owners, frozenset(owners))


def erase_texts(connection: Connection, tables: Tables, hashes: Collection[bytes]) -> None:
    """Erase texts. A set whose content is loaded again has them again."""
    texts = tables.benchmark_texts
    for part in by_bytes(list(hashes)):
        connection.execute(delete(texts).where(texts.c.text_hash.in_(part)))


def unlink_texts(
    connection: Connection, tables: Tables, *, sources: Collection[str], ids: Sequence[str], hashes: Collection[bytes]
) -> None:
    """Take the hashes of erased texts out of the sets, which then cannot have these texts again.

    :param sources: as of :func:`texts_of_reviews`, like `ids`
    """
    reviews = tables.benchmark_reviews
    without = update(reviews).values(text_hash=None)
    for part in by_bytes(ids):
        under_ids = dialect_of(connection).in_values(reviews.c.review_id, part)
        connection.execute(without.where(reviews.c.set_id.in_(_sets_from(tables, sources)), under_ids))
    for some in by_bytes(list(hashes)):
        connection.execute(without.where(reviews.c.text_hash.in_(some)))


def _sets_from(tables: Tables, sources: Collection[str]) -> Select[tuple[int]]:
    sets = tables.benchmark_sets
    return select(sets.c.id).where(sets.c.source.in_(sources))
