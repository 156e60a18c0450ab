"""The records that the layers exchange: Review, Prediction and Reject, with the reject reasons and their help."""

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
"""Maximum number of characters of a canonical id: what every supported database can store in a key."""

MAX_TIME_LENGTH = 100
"""Maximum number of characters kept of an `updated_at`, for sources that store times as text."""

HASH_BYTES = 32
"""Length of a SHA-256."""


class RejectReason(StrEnum):
    """Why a review has no score; the values of the column `review_rejects.reason`."""

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


STORED_REASONS = tuple(
    reason.value
    for reason in RejectReason
    if reason not in {RejectReason.NULL_ID, RejectReason.DUPLICATE_ID, RejectReason.UNUSABLE_ID}
)
"""Reasons of rejects that have a row in `review_rejects`: a key can hold the ids of their reviews."""


WITHOUT_TEXT = frozenset(
    {RejectReason.NULL_TEXT, RejectReason.EMPTY_TEXT, RejectReason.NOT_TEXT, RejectReason.UNREADABLE}
)
"""Reasons of rejects that had no text: the hash of their record is not that of a text, or of blanks."""


@dataclass(frozen=True, slots=True)
class Review:
    """One row of the source, as read.

    `id` is canonical text (see :func:`canonical_id`); `text` is the value of the column, of any type; `updated_at` is
    canonical text too, because it is only compared for inequality.
    """

    id: str
    text: object
    updated_at: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Placeholder for a text that the database or its driver could not return; `error` is the error's type and code."""

    error: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's result for one text.

    `probabilities` are in the order of the model's labels and sum to 1; `score` is the largest of them, the one of
    `label`. `token_count` is the number of tokens that the model read, special tokens included; `truncated` is set if
    the rest of the text was cut off.
    """

    label: str
    score: float
    probabilities: tuple[float, ...]
    token_count: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """A review that could not be scored: the reason, and a detail that never quotes the text."""

    reason: RejectReason
    detail: str


def screen(text: object) -> Reject | None:
    """Return why the value of the text column cannot be scored, or None if it can."""
    if text is None:
        return Reject(RejectReason.NULL_TEXT, "the text is NULL")
    if isinstance(text, Unreadable):
        return Reject(RejectReason.UNREADABLE, f"the database cannot return this row's text ({text.error})")
    if not isinstance(text, str):
        return Reject(RejectReason.NOT_TEXT, f"the text is of type {type(text).__name__}, not a string")
    if not text.strip("\x00").strip():
        return Reject(RejectReason.EMPTY_TEXT, f"the text has {len(text)} characters, all whitespace")
    if (position := screen_unicode(text)) is not None:
        return Reject(RejectReason.INVALID_UNICODE, f"not valid Unicode at character {position}")
    return None


def screen_unicode(text: str) -> int | None:
    """Return the position of the first lone surrogate, which cannot be encoded, or None."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def canonical_id(value: object) -> str | None:
    """Return the canonical text of an id, or None for a value that cannot be stored in a key.

    Integers, strings and UUIDs have a canonical text, and so do decimals without a fraction, which some databases
    return for large integers. Floats, bytes, and strings with a NUL character, a lone surrogate or more than
    `MAX_ID_LENGTH` characters have none.
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
    """Return an `updated_at` as text; two texts are equal if and only if the times are. None stays None."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    storable = str(value).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return storable[:MAX_TIME_LENGTH]


def text_hash(text: object) -> bytes:
    """Return the SHA-256 of a text; for any other value, that of its type and representation."""
    if isinstance(text, str):
        return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return hashlib.sha256(f"{type(text).__name__}:{text!r}".encode()).digest()


def review_hash(review_id: str) -> bytes:
    """Return what is kept of the canonical id of an erased review: its SHA-256 in UTF-8.

    Ids of few digits can be guessed from it; it shows who knows the id that the review was erased.
    """
    return hashlib.sha256(review_id.encode()).digest()


@dataclass(frozen=True)
class RejectHelp:
    """The meaning of a reject reason, and what to do about it. A test compares it with `docs/operations.md`."""

    review: str
    action: str


_NO_TEXT = RejectHelp("has no text, or only whitespace", "nothing, or correct the source and score the rejects again")
_NO_ID = RejectHelp(
    "has no id, or one that is longer than 255 characters or not valid text; counted in every run", "correct the source"
)

REJECT_HELP: Mapping[RejectReason, RejectHelp] = MappingProxyType(
    {
        RejectReason.NULL_TEXT: _NO_TEXT,
        RejectReason.EMPTY_TEXT: _NO_TEXT,
        RejectReason.NOT_TEXT: RejectHelp("its column contains bytes or a number", "set the right `text_column`"),
        RejectReason.UNREADABLE: RejectHelp(
            "makes the query fail, in a view or a conversion; the detail has the error",
            "correct the row or the view, and score the rejects again",
        ),
        RejectReason.INVALID_UNICODE: RejectHelp("contains a lone surrogate or invalid UTF-8", "correct the source"),
        RejectReason.NO_TOKENS: RejectHelp("has no characters that the model's tokenizer knows", "nothing"),
        RejectReason.NOT_FINITE: RejectHelp(
            "the model returned a non-finite value",
            'if the detail asks for it, set `precision="float32"` and score the rejects again; otherwise open an issue',
        ),
        RejectReason.OUT_OF_MEMORY: RejectHelp(
            "does not fit into the device's memory, even alone",
            "score it on a worker with more memory, or import the model with a smaller `max_tokens`",
        ),
        RejectReason.MODEL_ERROR: RejectHelp(
            "makes the model or its tokenizer fail, even alone",
            "score it with another model; if there are many, import the model again, which checks it",
        ),
        RejectReason.DUPLICATE_ID: RejectHelp(
            "has the same id as another row; counted, not stored", "make the id unique"
        ),
        RejectReason.NULL_ID: _NO_ID,
        RejectReason.UNUSABLE_ID: _NO_ID,
    }
)


def help_for(reason: str) -> RejectHelp:
    """Return the help for a reason as stored in the warehouse, including unknown ones of a newer version."""
    known = reason in list(RejectReason)
    return REJECT_HELP[RejectReason(reason)] if known else RejectHelp("cannot be scored", "see docs/operations.md")
