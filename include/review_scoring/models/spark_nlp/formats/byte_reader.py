"""A cursor over bytes, which reads numbers in order and never beyond the end."""

from __future__ import annotations

import struct

from review_scoring.models.spark_nlp.refusals import damaged

_VARINT_BYTES = 10
"""Longest 64-bit varint in bytes, of seven bits each."""

_CONTINUES = 0x80


class Cursor:
    """A position in bytes. Numbers are big-endian, as in Java and Hadoop, except varints.

    :raises ArchiveError: from every method, if the bytes end before the value
    """

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data = memoryview(data)
        self._what = what
        self.position = 0

    @property
    def remaining(self) -> int:
        """The number of bytes that are left."""
        return len(self._data) - self.position

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes."""
        if not 0 <= count <= self.remaining:
            raise damaged(
                self._what,
                f"{count} bytes are announced at byte {self.position} and {self.remaining} are left",
            )
        self.position += count

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self.skip(count)
        return bytes(self._data[self.position - count : self.position])

    def unsigned(self, size: int) -> int:
        """Return an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def signed(self, size: int) -> int:
        """Return a two's complement integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def floating(self, size: int) -> float:
        """Return an IEEE 754 number of 4 or 8 bytes."""
        return float(struct.unpack(">d" if size == struct.calcsize("d") else ">f", self.take(size))[0])

    def varint(self) -> int:
        """Return an unsigned little-endian base-128 integer, as in protocol buffers and LevelDB.

        https://protobuf.dev/programming-guides/encoding/#varints
        """
        value = 0
        for index, byte in enumerate(self._data[self.position : self.position + _VARINT_BYTES]):
            value |= (byte & 0x7F) << (7 * index)
            if not byte & _CONTINUES:
                self.position += index + 1
                return value
        raise damaged(self._what, f"the varint at byte {self.position} does not end")
