"""Protocol buffer messages, read field by field without compiled schemas.

The wire format: https://protobuf.dev/programming-guides/encoding/. Groups are not supported.
"""

from __future__ import annotations

from collections.abc import Iterator

from review_scoring.models.spark_nlp.formats.byte_reader import Cursor
from review_scoring.models.spark_nlp.refusals import damaged

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000
"""Most fields of one message. The largest expected one has the 250,000 pieces of a multilingual vocabulary."""


class Message:
    """One message: its fields by number, nested messages as bytes.

    An accessor is called for the type that the schema has. Bytes in place of a number, or a number in place of bytes,
    raise :class:`~review_scoring.errors.ArchiveError`. A missing field has its proto3 default.
    """

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._what = what
        self._fields: dict[int, list[int | memoryview]] = {}
        view = memoryview(data)
        cursor = Cursor(view, what)
        for _ in range(MAX_FIELDS):
            if not cursor.remaining:
                return
            key = cursor.varint()
            number, wire_type = key >> 3, key & 7
            value: int | memoryview
            if wire_type == _VARINT:
                value = cursor.varint()
            else:
                size = _size(wire_type, cursor, what)
                value = view[cursor.position : cursor.position + size]
                cursor.skip(size)
            self._fields.setdefault(number, []).append(value)
        raise damaged(what, f"a message has more than {MAX_FIELDS} fields")

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int, default: int = 0) -> int:
        """Return the last value of a varint field, unsigned."""
        value = self._fields.get(number, [default])[-1]
        if not isinstance(value, int):
            raise damaged(self._what, f"field {number} has bytes in place of a number")
        return value

    def all_bytes(self, number: int) -> list[memoryview]:
        """Return every value of a string, bytes, fixed32 or fixed64 field, in order."""
        values = self._fields.get(number, [])
        views = [value for value in values if isinstance(value, memoryview)]
        if len(views) < len(values):
            raise damaged(self._what, f"field {number} has a number in place of bytes")
        return views

    def raw(self, number: int) -> memoryview:
        """Return the last value of a string, bytes or fixed-size field; empty bytes for a missing one."""
        return (self.all_bytes(number) or [memoryview(b"")])[-1]

    def text(self, number: int) -> str:
        """Return the last value of a string field."""
        try:
            return str(self.raw(number), "utf-8")
        except UnicodeDecodeError:
            raise damaged(self._what, f"field {number} is not UTF-8") from None

    def messages(self, number: int) -> Iterator[Message]:
        """Yield every value of a message field in order; each is parsed when it is reached."""
        return (Message(value, self._what) for value in self.all_bytes(number))

    def integers(self, number: int) -> list[int]:
        """Return a repeated varint field, packed or not."""
        found: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            cursor = Cursor(value, self._what)
            while cursor.remaining:
                found.append(cursor.varint())
        return found


def _size(wire_type: int, cursor: Cursor, what: str) -> int:
    if wire_type == _BYTES:
        return cursor.varint()
    if wire_type in (_FIXED32, _FIXED64):
        return 4 if wire_type == _FIXED32 else 8
    raise damaged(what, f"a field at byte {cursor.position} has the wire type {wire_type}")
