"""What travels between the rooms: reviews as read, predictions as made, and why a review could not be scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

MAX_ID_LENGTH = 255
"""Characters of a canonical id that every supported database can hold in a key."""

MAX_TIME_LENGTH = 100
"""Characters of an `updated_at` that are kept, for sources that keep times as text."""


class RejectReason(StrEnum):
    """Why a review has no score. The values are what `review_rejects.reason` holds."""

    NULL_ID = "null_id"
    DUPLICATE_ID = "duplicate_id"
    UNUSABLE_ID = "unusable_id"
    NULL_TEXT = "null_text"
    EMPTY_TEXT = "empty_text"
    NOT_TEXT = "not_text"
    UNREADABLE = "unreadable"
    INVALID_UNICODE = "invalid_unicode"
    NO_TOKENS = "no_tokens"
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    MODEL_ERROR = "model_error"


@dataclass(frozen=True, slots=True)
class Review:
    """One row of the source, as read.

    `id` is canonical text (see :func:`canonical_id`); `text` is whatever the column held; `updated_at` is canonical
    text too, since it is only ever compared for inequality.
    """

    id: str
    text: object
    updated_at: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a text that the database or its driver could not give. `error` is its type and code."""

    error: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said of one text.

    `probabilities` are in the order of the model's labels and sum to 1; `score` is the largest of them, the one of
    `label`. `token_count` is what the model read, special tokens included; `truncated` says that the text went on.
    """

    label: str
    score: float
    probabilities: tuple[float, ...]
    token_count: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """A review that has no score: the reason, and a detail that says more without quoting the text."""

    reason: RejectReason
    detail: str


def screen(text: object) -> Reject | None:
    """Say why a column's value is not a text that can be scored, or None if it is one."""
    if text is None:
        return Reject(RejectReason.NULL_TEXT, "the text is NULL")
    if isinstance(text, Unreadable):
        return Reject(RejectReason.UNREADABLE, f"the database cannot give this row's text ({text.error})")
    if not isinstance(text, str):
        return Reject(RejectReason.NOT_TEXT, f"the text is of type {type(text).__name__}, not a string")
    if not text.strip("\x00").strip():
        return Reject(RejectReason.EMPTY_TEXT, f"the text has {len(text)} characters, all of them blank")
    if (position := screen_unicode(text)) is not None:
        return Reject(RejectReason.INVALID_UNICODE, f"not valid Unicode at character {position}")
    return None


def screen_unicode(text: str) -> int | None:
    """Return the position of the first lone surrogate, which no encoder takes, or None."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def canonical_id(value: object) -> str | None:
    """Return the one text by which a review is known, or None for a value that no key can hold.

    Integers, strings and UUIDs have one (and decimals without a fraction, which is how some databases keep large
    integers); a float, bytes, a NUL character, half a surrogate pair or more than `MAX_ID_LENGTH` characters have not.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        storable = len(value) <= MAX_ID_LENGTH and "\x00" not in value and screen_unicode(value) is None
        return value if storable else None
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    return None


def canonical_time(value: object) -> str | None:
    """Return an `updated_at` as text that is equal exactly when the times are; None stays None."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    storable = str(value).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return storable[:MAX_TIME_LENGTH]


def text_hash(text: object) -> str:
    """Return the SHA-256 of a text as hexadecimal; anything that is not a text is hashed by its type and bytes."""
    if isinstance(text, str):
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return hashlib.sha256(f"{type(text).__name__}:{text!r}".encode()).hexdigest()


@dataclass(frozen=True)
class RejectHelp:
    """What a reject reason means and what to do about it. A test compares it with `docs/operations.md`."""

    review: str
    action: str


_NO_TEXT = RejectHelp(
    "has no text, or blanks only", "nothing, or mend the source and run `rescore_reviews` with *changed texts*"
)
_NO_ID = RejectHelp(
    "has no id, or one that is longer than 255 characters or no valid text; counted every night", "mend the source"
)

REJECT_HELP: Mapping[RejectReason, RejectHelp] = MappingProxyType(
    {
        RejectReason.NULL_TEXT: _NO_TEXT,
        RejectReason.EMPTY_TEXT: _NO_TEXT,
        RejectReason.NOT_TEXT: RejectHelp("its column holds bytes or a number", "name the right `text_column`"),
        RejectReason.UNREADABLE: RejectHelp(
            "makes the view or conversion that is read fail, by its detail's error",
            "correct the row or the view, and run `rescore_reviews` with *changed texts*",
        ),
        RejectReason.INVALID_UNICODE: RejectHelp(
            "holds half a character or bytes that are no UTF-8", "mend the source"
        ),
        RejectReason.NO_TOKENS: RejectHelp("holds nothing that the model's tokenizer knows", "nothing"),
        RejectReason.NOT_FINITE: RejectHelp(
            "made the model's output no number",
            'set `precision="float32"`, where its detail says so, and run `rescore_reviews` with *all*; else tell us',
        ),
        RejectReason.OUT_OF_MEMORY: RejectHelp(
            "alone has more tokens than the device has memory for",
            "score it on a worker with more memory, or import the model with fewer `max_tokens`",
        ),
        RejectReason.MODEL_ERROR: RejectHelp(
            "makes the model or its tokenizer fail, even on its own",
            "score it with another model; if there are many, import the model again, which checks it",
        ),
        RejectReason.DUPLICATE_ID: RejectHelp("repeats another row's id; counted, not kept", "make the id unique"),
        RejectReason.NULL_ID: _NO_ID,
        RejectReason.UNUSABLE_ID: _NO_ID,
    }
)


def help_for(reason: str) -> RejectHelp:
    """Return what to do about a reason as the warehouse holds it, also one that a newer version wrote."""
    known = reason in list(RejectReason)
    return REJECT_HELP[RejectReason(reason)] if known else RejectHelp("cannot be scored", "see docs/operations.md")
