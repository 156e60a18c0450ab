"""The two ways in which an archive is refused, each with what to do about it."""

from __future__ import annotations

from review_scoring.errors import ArchiveError


def damaged(what: str, found: str) -> ArchiveError:
    """Return the error for bytes that contradict their own format.

    :param what: the part of the archive, by its path there
    :param found: what was found in it, and what should have been
    """
    return ArchiveError(
        f"{what}: {found}; the archive is damaged or was tampered with: fetch it again from its publisher"
    )


def unsupported(what: str, found: str) -> ArchiveError:
    """Return the error for a part that may well be sound, but that this converter does not take."""
    return ArchiveError(
        f"{what}: {found}; what can be converted is Spark NLP's BertForSequenceClassification, "
        f"DistilBertForSequenceClassification and XlmRoBertaForSequenceClassification, as versions 3.3 and "
        f"3.4 save them: choose such a model, or one in Hugging Face layout"
    )
