"""Spark ML stages on disk: the class and parameters in `metadata/`, and maps in `fields/`, from an archive.

The layout: `DefaultParamsWriter` of Apache Spark's `org.apache.spark.ml.util`, and `ParamsAndFeaturesWritable` and
`MapFeature` of Spark NLP's `com.johnsnowlabs.nlp`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from review_scoring.models.spark_nlp.formats.java_serialization import read_pairs
from review_scoring.models.spark_nlp.formats.sequence_file import read_records
from review_scoring.models.spark_nlp.formats.zip_archive import SafeZip
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

METADATA_LIMIT, MAP_LIMIT = 1024**2, 32 * 1024**2
"""Bytes of the metadata, and of all parts of one map together: the vocabulary of multilingual BERT has 5 MB."""


def find_root(archive: SafeZip) -> str:
    """Return the folder of the stage in the archive: the empty string, or one name and a slash.

    :raises ArchiveError: for an archive without `metadata/part-*` there
    """
    tops = {PurePosixPath(name).parts[0] for name in archive.members}
    for root in ("", *(f"{top}/" for top in tops if len(tops) == 1)):
        if _parts(archive, f"{root}metadata"):
            return root
    raise unsupported(
        "metadata", f"the archive has no metadata/part-00000 at its top level, where it has {sorted(tops)[:5]}"
    )


def read_params(archive: SafeZip, root: str) -> tuple[str, dict[str, Any]]:
    """Return the class of a stage and its parameters. A parameter that was set overrides its default.

    :raises ArchiveError: for metadata that is not a line of JSON with both
    """
    where = f"{root}metadata"
    lines = b"".join(archive.read(part, METADATA_LIMIT) for part in _parts(archive, where)).splitlines()
    try:
        content = json.loads(lines[0])
        class_name = content["class"]
        parameters: dict[str, Any] = {**content.get("defaultParamMap", {}), **content.get("paramMap", {})}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(
            where, f"it is not a line of JSON with a class and its parameters ({type(error).__name__})"
        ) from None
    if not isinstance(class_name, str):
        raise damaged(where, "its class is not a string")
    return class_name, parameters


def read_map(archive: SafeZip, root: str, name: str) -> dict[str, int]:
    """Return a map of text to whole numbers from `fields/<name>/part-*`; parts may be empty.

    :raises ArchiveError: for a map that is missing or empty, repeats a key or a number, or has other values
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
                raise damaged(where, f"it has {key[:100]!r} twice")
            entries[key] = value
    if not entries:
        raise damaged(where, "it is empty")
    if len(set(entries.values())) < len(entries):
        raise damaged(where, "two of its keys have the same number")
    return entries


def _pairs(data: bytes, part: str) -> Iterator[tuple[str, object]]:
    for record in read_records(data, part):
        yield from read_pairs(record, part)


def _parts(archive: SafeZip, folder: str) -> list[str]:
    """Return the part files of a folder in order, without checksum files (`.part-*.crc`) and `_SUCCESS`."""
    return sorted(name for name in archive.members if name.startswith(f"{folder}/part-"))
