"""Hadoop SequenceFiles, version 6, as Spark's `saveAsObjectFile` writes them.

The format: https://hadoop.apache.org/docs/stable/api/org/apache/hadoop/io/SequenceFile.html; the
variable-length integers before the class names: `org.apache.hadoop.io.WritableUtils.writeVLong`.
"""

from __future__ import annotations

from collections.abc import Iterator

from review_scoring.models.spark_nlp.formats.byte_reader import Cursor
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

_MAGIC, _VERSION = b"SEQ", 6
_KEY_CLASS, _VALUE_CLASS = "org.apache.hadoop.io.NullWritable", "org.apache.hadoop.io.BytesWritable"
_SYNC_BYTES = 16
_SYNC_ESCAPE = -1
_FIRST_NEGATIVE_LENGTH, _FIRST_LONG = -120, -112
"""A first byte of -112 or more is the number itself; from -120 to -113 it is the number of bytes that follow."""


def read_records(data: bytes, what: str) -> Iterator[bytes]:
    """Return the values of a SequenceFile's records, in order. A file without a single byte has no records.

    :param what: the name of the file in error messages
    :raises ArchiveError: for another version, other classes, compression, and damaged bytes
    """
    if not data:
        return
    cursor = Cursor(data, what)
    sync = _read_header(cursor, what)
    while cursor.remaining:
        length = cursor.signed(4)
        if length == _SYNC_ESCAPE:
            if cursor.take(_SYNC_BYTES) != sync:
                raise damaged(what, f"the sync marker before byte {cursor.position} is not that of the file")
            continue
        key_length = cursor.signed(4)
        if key_length != 0:
            raise damaged(what, f"a record before byte {cursor.position} has a key of {key_length} bytes, not 0")
        value = Cursor(cursor.take(length), what)
        if (announced := value.signed(4)) != value.remaining:
            raise damaged(what, f"a value announces {announced} bytes and has {value.remaining}")
        yield value.take(announced)


def _read_header(cursor: Cursor, what: str) -> bytes:
    """Check everything before the first record and return the sync marker."""
    if (magic := cursor.take(len(_MAGIC))) != _MAGIC:
        raise damaged(what, f"it begins with {magic!r}, and a Hadoop SequenceFile begins with {_MAGIC!r}")
    if (version := cursor.unsigned(1)) != _VERSION:
        raise unsupported(what, f"it is a SequenceFile of version {version}, not {_VERSION}")
    for role, expected in (("keys", _KEY_CLASS), ("values", _VALUE_CLASS)):
        if (found := _text(cursor, what)) != expected:
            raise unsupported(what, f"its {role} are of class {found[:200]!r}, not {expected}")
    if cursor.unsigned(1) or cursor.unsigned(1):
        raise unsupported(what, "it is a compressed SequenceFile, not an uncompressed one")
    for _ in range(2 * _pairs(cursor, what)):
        _text(cursor, what)
    return cursor.take(_SYNC_BYTES)


def _pairs(cursor: Cursor, what: str) -> int:
    """Return the number of pairs of metadata that follow; each has at least two bytes."""
    count = cursor.signed(4)
    if not 0 <= count <= cursor.remaining:
        raise damaged(what, f"it announces {count} pairs of metadata")
    return count


def _text(cursor: Cursor, what: str) -> str:
    """Return a Hadoop `Text`: a variable-length number of bytes, then UTF-8."""
    length = cursor.signed(1)
    if length < _FIRST_LONG:
        if length < _FIRST_NEGATIVE_LENGTH:
            raise damaged(what, f"a string before byte {cursor.position} has a negative length")
        length = cursor.unsigned(_FIRST_LONG - length)
    try:
        return cursor.take(length).decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(what, f"a string before byte {cursor.position} is not UTF-8") from None
