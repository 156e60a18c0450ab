"""Refusals of an archive: errors for damaged bytes and for unsupported content, each with the remedy."""

from __future__ import annotations

from review_scoring.errors import ArchiveError

_LONGEST = 600
"""Longest part of a message in characters."""


def damaged(what: str, found: str) -> ArchiveError:
    """Return the error for bytes that violate their format.

    :param what: the path of the part in the archive
    :param found: what was found there, and what was expected
    """
    return ArchiveError(f"{_message(what, found)}; the archive is damaged or was tampered with: download it again")


def unsupported(what: str, found: str) -> ArchiveError:
    """Return the error for valid content that the converter does not support."""
    return ArchiveError(
        f"{_message(what, found)}; supported are BertForSequenceClassification, "
        f"DistilBertForSequenceClassification and XlmRoBertaForSequenceClassification of Spark NLP 3.3 and 3.4: choose "
        f"such a model, or one in Hugging Face layout"
    )


def _message(what: str, found: str) -> str:
    """Join the two parts, shortened: names in an archive can have any length."""
    return ": ".join(part if len(part) <= _LONGEST else f"{part[:_LONGEST]}…" for part in (what, found))
