"""Java serialisation streams of pairs, read as data: no class is loaded or run.

The format: https://docs.oracle.com/en/java/javase/17/docs/specs/serialization/protocol.html. A stream with a class that
is not in `ALLOWED_CLASSES` is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.byte_reader import Cursor
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

Value = str | int | float | None

_ARRAY_CLASS, _PAIR_CLASS = "[Lscala.Tuple2;", "scala.Tuple2"
_NUMBER_FIELDS = {"Byte": "B", "Short": "S", "Integer": "I", "Long": "J", "Float": "F", "Double": "D"}
ALLOWED_CLASSES = frozenset(
    {_ARRAY_CLASS, _PAIR_CLASS, "java.lang.Number", *(f"java.lang.{n}" for n in _NUMBER_FIELDS)}
)

_HEADER = bytes.fromhex("aced0005")
_FIRST_HANDLE = 0x7E0000
_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _ARRAY, _END_BLOCK = 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x78
_PLAIN_SERIALIZABLE = 2
"""Class flags without custom serialisation, which would add data of an unknown form."""

_SIZES = {"B": 1, "S": 2, "I": 4, "J": 8, "F": 4, "D": 8}
_MAX_DEPTH = 12
"""An array of pairs of numbers, with classes and superclasses, has a depth of six."""


@dataclass(frozen=True)
class _ClassDescription:
    name: str
    fields: tuple[tuple[str, str], ...]
    parent: _ClassDescription | None


@dataclass(frozen=True)
class _Unfinished:
    """Placeholder for an object that is being read, which detects an object that refers to itself."""


_Content = Value | tuple[Value, ...] | list["_Content"] | _ClassDescription | _Unfinished


def read_pairs(data: bytes, what: str) -> list[tuple[str, Value]]:
    """Return the pairs of one serialised `Array[Tuple2]`.

    :param what: the name of the file in error messages
    :raises ArchiveError: for other classes, for anything but one array of pairs that begin with text, and for damaged
        bytes
    """
    stream = _Stream(data, what)
    array = stream.content(0)
    if not isinstance(array, list):
        raise damaged(what, "the stream is not an array of pairs")
    if stream.cursor.remaining:
        raise damaged(what, f"{stream.cursor.remaining} bytes follow the array of pairs")
    pairs: list[tuple[str, Value]] = []
    for pair in array:
        if not (isinstance(pair, tuple) and isinstance(pair[0], str)):
            raise damaged(what, "an element of the array is not a pair that begins with text")
        pairs.append((pair[0], pair[1]))
    return pairs


class _Stream:
    """A stream, and the handles of the objects that were read so far."""

    def __init__(self, data: bytes, what: str) -> None:
        self.cursor = Cursor(data, what)
        self._what = what
        self._handles: list[_Content] = []
        self._described: set[str] = set()
        if self.cursor.take(len(_HEADER)) != _HEADER:
            raise damaged(what, "a value is not a Java serialisation stream of version 5")

    def content(self, depth: int) -> _Content:
        """Read the next element: `object` in the grammar."""
        if depth > _MAX_DEPTH:
            raise damaged(self._what, f"objects are nested more than {_MAX_DEPTH} deep")
        code = self.cursor.unsigned(1)
        if code == _NULL:
            return None
        if code == _REFERENCE:
            return self._reference()
        if code == _STRING:
            return self._keep(self._text())
        if code == _CLASS:
            return self._class_description(depth)
        if code == _OBJECT:
            return self._object(depth)
        if code == _ARRAY:
            return self._array(depth)
        raise unsupported(
            self._what, f"the Java stream has the element 0x{code:02x} at byte {self.cursor.position - 1}"
        )

    def _keep(self, value: _Content) -> _Content:
        self._handles.append(value)
        return value

    def _reference(self) -> _Content:
        index = self.cursor.unsigned(4) - _FIRST_HANDLE
        if not 0 <= index < len(self._handles):
            raise damaged(self._what, f"the Java stream refers to object {index} of {len(self._handles)}")
        return self._handles[index]

    def _text(self) -> str:
        return decode_modified_utf8(self.cursor.take(self.cursor.unsigned(2)), self._what)

    def _class_description(self, depth: int) -> _ClassDescription:
        name = self._text()
        if name not in ALLOWED_CLASSES:
            raise unsupported(self._what, f"it has an object of the Java class {name[:200]!r}, which is not supported")
        if name in self._described:
            raise damaged(self._what, f"the Java stream describes the class {name} twice")
        self._described.add(name)
        self.cursor.skip(8)  # serialVersionUID
        handle = len(self._handles)
        self._handles.append(_Unfinished())
        if (flags := self.cursor.unsigned(1)) != _PLAIN_SERIALIZABLE:
            raise unsupported(self._what, f"the Java class {name} has the flags 0x{flags:02x}, so it serialises itself")
        fields = tuple(self._field(depth) for _ in range(self.cursor.unsigned(2)))
        if self.cursor.unsigned(1) != _END_BLOCK:
            raise unsupported(self._what, f"the Java class {name} is annotated")
        parent = self._description(depth + 1)
        description = self._handles[handle] = _ClassDescription(name, fields, parent)
        return description

    def _field(self, depth: int) -> tuple[str, str]:
        code, name = chr(self.cursor.unsigned(1)), self._text()
        if code not in _SIZES and not (code == "L" and isinstance(self.content(depth + 1), str)):
            raise unsupported(self._what, f"the field {name[:200]!r} of a Java class has the type {code!r}")
        return code, name

    def _description(self, depth: int) -> _ClassDescription | None:
        found = self.content(depth)
        if found is not None and not isinstance(found, _ClassDescription):
            raise damaged(
                self._what,
                f"the Java stream lacks a class before byte {self.cursor.position}",
            )
        return found

    def _object(self, depth: int) -> _Content:
        description = self._description(depth + 1)
        handle = len(self._handles)
        self._handles.append(_Unfinished())
        values = self._field_values(description, depth)
        name = description.name if description else "none"
        value: _Content
        if name == _PAIR_CLASS and set(values) == {"_1", "_2"}:
            value = (values["_1"], values["_2"])
        elif name.startswith("java.lang.") and set(values) == {"value"} and values["value"] is not None:
            value = values["value"]
        else:
            raise damaged(self._what, f"an object of the Java class {name} has the fields {sorted(values)}")
        self._handles[handle] = value
        return value

    def _field_values(self, description: _ClassDescription | None, depth: int) -> dict[str, Value]:
        """Read the fields of an object, those of the topmost superclass first."""
        lineage = []
        while description:
            lineage.append(description)
            description = description.parent
        values: dict[str, Value] = {}
        for ancestor in reversed(lineage):
            for code, name in ancestor.fields:
                values[name] = self._field_value(code, depth)
        return values

    def _field_value(self, code: str, depth: int) -> Value:
        if code in "FD":
            return self.cursor.floating(_SIZES[code])
        if code != "L":
            return self.cursor.signed(_SIZES[code])
        value = self.content(depth + 1)
        if value is None or isinstance(value, str | int | float):
            return value
        raise damaged(self._what, f"a pair has neither text nor a number before byte {self.cursor.position}")

    def _array(self, depth: int) -> _Content:
        description = self._description(depth + 1)
        if description is None or description.name != _ARRAY_CLASS:
            raise damaged(self._what, "an array is not one of pairs")
        elements: list[_Content] = []
        self._handles.append(_Unfinished())
        count = self.cursor.signed(4)
        if not 0 <= count <= self.cursor.remaining:
            raise damaged(self._what, f"an array announces {count} pairs in {self.cursor.remaining} bytes")
        for _ in range(count):
            pair = self.content(depth + 1)
            if not isinstance(pair, tuple):
                raise damaged(self._what, "an element of the array is not a pair")
            elements.append(pair)
        return elements


def decode_modified_utf8(data: bytes, what: str) -> str:
    """Decode the modified UTF-8 of Java: NUL as two bytes, characters beyond the BMP as two surrogates.

    https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/io/DataInput.html#modified-utf-8
    """
    try:
        halves = data.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        return halves.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise damaged(what, "a Java string is not modified UTF-8, or has a lone surrogate") from None
