"""Sorted string tables: the LevelDB file format that TensorFlow uses for the index of a checkpoint.

The format: https://github.com/google/leveldb/blob/main/doc/table_format.md, and TensorFlow's copy of it,
`tensorflow/core/lib/io/format.h`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.byte_reader import Cursor
from review_scoring.models.spark_nlp.formats.crc32c import crc32c, masked
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

_FOOTER_BYTES, _MAGIC = 48, bytes.fromhex("57fb808b247547db")
_TRAILER_BYTES = 5
"""A byte for the compression and four for the checksum of both."""

_COMPRESSIONS = {1: "Snappy", 2: "zlib"}
MAX_ENTRIES, MAX_KEY_BYTES = 20_000, 1_024
"""A checkpoint of a large model has 400 entries. Keys share prefixes, so a small table could unpack to a huge one."""


@dataclass(frozen=True)
class _Handle:
    """The place of a block in the file."""

    offset: int
    size: int


def read_table(data: bytes, what: str) -> dict[bytes, bytes]:
    """Return a table's entries, in the order of their keys.

    :param what: the name of the file in error messages
    :raises ArchiveError: for damaged bytes, compressed blocks, and too many entries
    """
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise damaged(
            what,
            f"it does not end as a TensorFlow checkpoint index does ({footer[-8:].hex() or 'empty'})",
        )
    cursor = Cursor(footer, what)
    _handle(cursor)  # of the metadata block, which checkpoints do not have
    entries: dict[bytes, bytes] = {}
    end, last = 0, b""
    for _, value in _entries(data, _handle(cursor), what):
        handle = _handle(Cursor(value, what))
        if handle.offset < end:
            raise damaged(what, f"two blocks share the bytes from {handle.offset} on")
        end = handle.offset + handle.size
        for key, entry in _entries(data, handle, what):
            if entries and key <= last:
                raise damaged(what, f"the key {key!r} does not come after the one before it")
            entries[key], last = entry, key
        if len(entries) > MAX_ENTRIES:
            raise damaged(what, f"it has more than {MAX_ENTRIES} entries")
    return entries


def _handle(cursor: Cursor) -> _Handle:
    return _Handle(cursor.varint(), cursor.varint())


def _entries(data: bytes, handle: _Handle, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block, checked, with their full keys."""
    block = _block(data, handle, what)
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise damaged(what, f"the block at byte {handle.offset} announces {restarts} restarts in {len(block)} bytes")
    cursor, key, count = Cursor(block[:end], what), b"", 0
    while cursor.remaining:
        shared, unshared, value_bytes = cursor.varint(), cursor.varint(), cursor.varint()
        if shared > len(key) or shared + unshared > MAX_KEY_BYTES or count >= MAX_ENTRIES:
            raise damaged(
                what,
                f"the block at byte {handle.offset} has a key or a number of entries that no checkpoint has",
            )
        key = key[:shared] + cursor.take(unshared)
        yield key, cursor.take(value_bytes)
        count += 1


def _block(data: bytes, handle: _Handle, what: str) -> bytes:
    """Return the bytes of a block after checking its checksum."""
    end = handle.offset + handle.size
    if end + _TRAILER_BYTES > len(data):
        raise damaged(what, f"a block ends at byte {end + _TRAILER_BYTES} of {len(data)}")
    if compression := data[end]:
        raise unsupported(
            what, f"its blocks are compressed with {_COMPRESSIONS.get(compression, f'method {compression}')}"
        )
    if masked(crc32c(data[handle.offset : end + 1])) != int.from_bytes(data[end + 1 : end + _TRAILER_BYTES], "little"):
        raise damaged(what, f"the checksum of the block at byte {handle.offset} does not match")
    return data[handle.offset : end]
