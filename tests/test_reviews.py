"""Ids, times, hashes, and which texts can be scored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from review_scoring.reviews import RejectReason, Unreadable, canonical_id, canonical_time, screen, text_hash


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (7, "7"),
        (-7, "-7"),
        (2**63 - 1, "9223372036854775807"),
        (Decimal("123456789012345678901234567890"), "123456789012345678901234567890"),
        ("a1 ", "a1 "),
        ("", ""),
        (UUID("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ],
)
def test_an_id_has_one_canonical_text(value: object, canonical: str) -> None:
    assert canonical_id(value) == canonical


@pytest.mark.parametrize("value", [None, 1.0, True, b"a", "a\x00b", "\ud800", "x" * 256, Decimal("1.5")])
def test_a_value_that_no_key_can_hold_has_no_canonical_text(value: object) -> None:
    assert canonical_id(value) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, RejectReason.NULL_TEXT),
        ("", RejectReason.EMPTY_TEXT),
        (" \t\r\n\u00a0\u2003", RejectReason.EMPTY_TEXT),
        ("\x00 \x00", RejectReason.EMPTY_TEXT),
        (b"octets", RejectReason.NOT_TEXT),
        (42, RejectReason.NOT_TEXT),
        ("bon \ud83d film", RejectReason.INVALID_UNICODE),
    ],
)
def test_a_value_that_is_no_scorable_text_is_rejected_with_its_reason(text: object, reason: RejectReason) -> None:
    reject = screen(text)
    assert reject is not None
    assert reject.reason is reason


@pytest.mark.parametrize("text", ["ok", "a\x00b", "😀" * 10_000, "<b>gras</b>", "\u202eà l'envers", "x" * 1_000_000])
def test_an_odd_text_is_still_a_text(text: str) -> None:
    assert screen(text) is None


def test_a_reject_never_quotes_the_text() -> None:
    reject = screen("secret \ud800")
    assert reject is not None
    assert "secret" not in reject.detail


def test_equal_times_have_equal_texts_whatever_their_zone() -> None:
    paris = timezone(timedelta(hours=1))
    assert canonical_time(datetime(2026, 1, 1, 13, tzinfo=paris)) == canonical_time(
        datetime(2026, 1, 1, 12, tzinfo=UTC)
    )
    assert canonical_time(datetime(2026, 1, 1, 12)) != canonical_time(datetime(2026, 1, 1, 12, 0, 0, 1))
    assert canonical_time(None) is None


def test_the_hash_tells_texts_from_other_values() -> None:
    assert len({text_hash(each) for each in ("1", 1, b"1", None, "\ud800")}) == 5


def test_a_text_is_screened_to_its_end() -> None:
    found = screen("é" * 1_000_000 + "\ud83d")
    assert found is not None
    assert (found.reason, found.detail) == (RejectReason.INVALID_UNICODE, "not valid Unicode at character 1000000")


def test_a_text_that_cannot_be_read_is_rejected_with_the_error_alone() -> None:
    found = screen(Unreadable("DataError 22P02"))
    assert found is not None
    assert found.reason is RejectReason.UNREADABLE
    assert "DataError 22P02" in found.detail
