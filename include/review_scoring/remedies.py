"""What each kind of reject means and what to do about it. `docs/operations.md` says the same; a test compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from review_scoring.reviews import RejectReason


@dataclass(frozen=True)
class Remedy:
    """What is wrong with the review, and what to do."""

    review: str
    action: str


_NO_TEXT = Remedy(
    "has no text, or blanks only", "nothing, or mend the source and run `rescore_reviews` with *changed texts*"
)
_NO_ID = Remedy(
    "has no id, or one that is longer than 255 characters or no valid text; counted every night", "mend the source"
)

REMEDIES: Mapping[RejectReason, Remedy] = MappingProxyType(
    {
        RejectReason.NULL_TEXT: _NO_TEXT,
        RejectReason.EMPTY_TEXT: _NO_TEXT,
        RejectReason.NOT_TEXT: Remedy("its column holds bytes or a number", "name the right `text_column`"),
        RejectReason.UNREADABLE: Remedy(
            "makes the view or conversion that is read fail, by its detail's error",
            "correct the row or the view, and run `rescore_reviews` with *changed texts*",
        ),
        RejectReason.INVALID_UNICODE: Remedy("holds half a character or bytes that are no UTF-8", "mend the source"),
        RejectReason.NO_TOKENS: Remedy("holds nothing that the model's tokenizer knows", "nothing"),
        RejectReason.NOT_FINITE: Remedy(
            "made the model's output no number",
            'set `precision="float32"`, where its detail says so, and run `rescore_reviews` with *all*; else tell us',
        ),
        RejectReason.OUT_OF_MEMORY: Remedy(
            "alone has more tokens than the device has memory for",
            "score it on a worker with more memory, or import the model with fewer `max_tokens`",
        ),
        RejectReason.DUPLICATE_ID: Remedy("repeats another row's id; counted, not kept", "make the id unique"),
        RejectReason.NULL_ID: _NO_ID,
        RejectReason.UNUSABLE_ID: _NO_ID,
    }
)


def remedy_of(reason: str) -> Remedy:
    """Return what to do about a reason as the warehouse holds it, also one that a newer version wrote."""
    known = reason in list(RejectReason)
    return REMEDIES[RejectReason(reason)] if known else Remedy("cannot be scored", "see docs/operations.md")
