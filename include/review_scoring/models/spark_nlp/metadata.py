"""Metadata of a Spark NLP classifier: the annotator's class, case sensitivity and longest sentence."""

from __future__ import annotations

from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.spark_ml import read_params
from review_scoring.models.spark_nlp.formats.zip_archive import SafeZip
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

_DEFAULTS = {"caseSensitive": True, "maxSentenceLength": 128, "engine": "tensorflow", "activation": "softmax"}
"""Spark NLP's own defaults, for an archive without a parameter and without its default."""


@dataclass(frozen=True)
class Metadata:
    """The annotator's class, without its package, and the parameters that a conversion uses."""

    annotator: str
    case_sensitive: bool
    max_sentence_length: int


def read_metadata(archive: SafeZip, root: str) -> Metadata:
    """Return the metadata of the classifier in the folder `root` of an archive.

    :raises ArchiveError: for damaged metadata, and for a model for another engine or with another activation
    """
    where = f"{root}metadata"
    annotator, found = read_params(archive, root)
    parameters = {**_DEFAULTS, **found}
    if parameters["engine"] != _DEFAULTS["engine"]:
        raise unsupported(where, f"its model is for {str(parameters['engine'])[:100]}, not TensorFlow")
    if parameters["activation"] != _DEFAULTS["activation"]:
        raise unsupported(
            where,
            f"its activation is {str(parameters['activation'])[:100]} instead of softmax: its classes do not exclude "
            "each other, so none of them is the label of a review",
        )
    case_sensitive, longest = parameters["caseSensitive"], parameters["maxSentenceLength"]
    if not isinstance(case_sensitive, bool):
        raise damaged(where, f"its parameter caseSensitive is {str(case_sensitive)[:100]!r}")
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise damaged(where, f"its parameter maxSentenceLength is {str(longest)[:100]!r}")
    return Metadata(annotator.rpartition(".")[2], case_sensitive, longest)
