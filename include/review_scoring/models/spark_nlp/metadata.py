"""What a Spark NLP archive says of its model: the annotator's class, its parameters and its maps.

The layout: `DefaultParamsWriter` of Apache Spark's `org.apache.spark.ml.util`, and
`ParamsAndFeaturesWritable` and `MapFeature` of Spark NLP's `com.johnsnowlabs.nlp`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from review_scoring.models.spark_nlp.formats.java_serialization import read_pairs
from review_scoring.models.spark_nlp.formats.sequence_file import read_records
from review_scoring.models.spark_nlp.formats.zip_archive import SafeZip
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

METADATA_LIMIT, MAP_LIMIT = 1024**2, 32 * 1024**2
"""Bytes of the metadata, and of all parts of one map together: multilingual BERT's vocabulary has 5 MB."""

_DEFAULTS = {"caseSensitive": True, "maxSentenceLength": 128, "engine": "tensorflow", "activation": "softmax"}
"""Spark NLP's own, for an archive that says neither what is set nor what the default is."""


@dataclass(frozen=True)
class Metadata:
    """The annotator's class, without its package, and the parameters that matter."""

    annotator: str
    case_sensitive: bool
    max_sentence_length: int


def find_root(archive: SafeZip) -> str:
    """Return the folder in the archive that holds the model: nothing, or one name and a slash.

    :raises ArchiveError: for an archive without `metadata/part-*` there
    """
    tops = {PurePosixPath(name).parts[0] for name in archive.members}
    for root in ("", *(f"{top}/" for top in tops if len(tops) == 1)):
        if _parts(archive, f"{root}metadata"):
            return root
    raise unsupported(
        "metadata", f"there is no metadata/part-00000 at the top of the archive, which has {sorted(tops)[:5]}"
    )


def read_metadata(archive: SafeZip, root: str) -> Metadata:
    """Return what `metadata/part-*` says. A parameter that was set wins over its default."""
    where = f"{root}metadata"
    lines = b"".join(archive.read(part, METADATA_LIMIT) for part in _parts(archive, where)).splitlines()
    try:
        content = json.loads(lines[0])
        annotator = content["class"]
        parameters: dict[str, Any] = {
            **_DEFAULTS,
            **content.get("defaultParamMap", {}),
            **content.get("paramMap", {}),
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(
            where, f"it is not a line of JSON with a class and its parameters ({type(error).__name__})"
        ) from None
    if not isinstance(annotator, str):
        raise damaged(where, "its class is no text")
    if parameters["engine"] != _DEFAULTS["engine"]:
        raise unsupported(where, f"its model is for {str(parameters['engine'])[:100]}, not TensorFlow")
    if parameters["activation"] != _DEFAULTS["activation"]:
        raise unsupported(
            where,
            f"its activation is {str(parameters['activation'])[:100]}: its classes do not exclude each other, so none "
            "is the label of a review",
        )
    case_sensitive, longest = parameters["caseSensitive"], parameters["maxSentenceLength"]
    if not isinstance(case_sensitive, bool):
        raise damaged(where, f"its parameter caseSensitive is {str(case_sensitive)[:100]!r}")
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise damaged(where, f"its parameter maxSentenceLength is {str(longest)[:100]!r}")
    return Metadata(annotator.rpartition(".")[2], case_sensitive, longest)


def read_map(archive: SafeZip, root: str, name: str) -> dict[str, int]:
    """Return a map of text to whole numbers from `fields/<name>/part-*`; parts may be empty.

    :raises ArchiveError: for a map that is missing or empty, names a key or a number twice, or holds anything
        else
    """
    where = f"{root}fields/{name}"
    entries: dict[str, int] = {}
    budget = MAP_LIMIT
    for part in _parts(archive, where):
        data = archive.read(part, budget)
        budget -= len(data)
        for key, value in _pairs(data, part):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise damaged(part, f"the number of {key[:100]!r} is {str(value)[:100]!r}")
            if key in entries:
                raise damaged(where, f"{key[:100]!r} is there twice")
            entries[key] = value
    if not entries:
        raise damaged(where, "there is nothing in it")
    if len(set(entries.values())) < len(entries):
        raise damaged(where, "two of its keys have the same number")
    return entries


def _pairs(data: bytes, part: str) -> Iterator[tuple[str, object]]:
    for record in read_records(data, part):
        yield from read_pairs(record, part)


def _parts(archive: SafeZip, folder: str) -> list[str]:
    """Return a folder's part files in order; checksum files (`.part-*.crc`) and `_SUCCESS` are none."""
    return sorted(name for name in archive.members if name.startswith(f"{folder}/part-"))
