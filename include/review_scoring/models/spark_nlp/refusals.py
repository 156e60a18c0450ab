"""The two ways in which an archive is refused, each with what to do about it."""

from __future__ import annotations

from review_scoring.errors import ArchiveError

_LONGEST = 600
"""Characters of either part of a message."""


def damaged(what: str, found: str) -> ArchiveError:
    """Return the error for bytes that contradict their own format.

    :param what: the part of the archive, by its path there
    :param found: what was found in it, and what should have been
    """
    return ArchiveError(f"{_told(what, found)}; the archive is damaged or was tampered with: fetch it again")


def unsupported(what: str, found: str) -> ArchiveError:
    """Return the error for a part that may well be sound, but that this converter does not take."""
    return ArchiveError(
        f"{_told(what, found)}; what can be converted is Spark NLP's BertForSequenceClassification, "
        f"DistilBertForSequenceClassification and XlmRoBertaForSequenceClassification, as versions 3.3 and "
        f"3.4 save them: choose such a model, or one in Hugging Face layout"
    )


def _told(what: str, found: str) -> str:
    """Join the two, at a length that a log bears: names in an archive can be of any length."""
    return ": ".join(part if len(part) <= _LONGEST else f"{part[:_LONGEST]}…" for part in (what, found))
