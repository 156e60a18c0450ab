"""TensorFlow graphs (GraphDef): the nodes, and the value of a constant with one number.

The format: `tensorflow/core/framework/graph.proto`, `function.proto`, `node_def.proto`, `attr_value.proto` and
`tensor.proto` of https://github.com/tensorflow/tensorflow. A graph is read, never run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.refusals import damaged

_NODES, _LIBRARY, _FUNCTIONS, _FUNCTION_NODES = 1, 2, 1, 3
_NAME, _OPERATION, _ATTRIBUTES, _ATTRIBUTE_KEY, _ATTRIBUTE_VALUE, _TENSOR = 1, 2, 5, 1, 2, 8
_DTYPE, _CONTENT, _FLOATS, _DOUBLES, _INTS, _LONGS = 1, 4, 5, 6, 7, 10
_FORMS = {1: ("<f", _FLOATS), 2: ("<d", _DOUBLES), 3: ("<i", _INTS), 9: ("<q", _LONGS)}
"""For each `DataType`: the struct format of one number, and the field that has it if `tensor_content` is empty."""


@dataclass(frozen=True)
class Node:
    """A node of a graph: its name and operation."""

    name: str
    operation: str
    message: Message
    what: str

    def number(self) -> float:
        """Return the value of a constant with one number.

        :raises ArchiveError: for a node without such a value
        """
        what = f"{self.what}, {self.name}"
        for attribute in self.message.messages(_ATTRIBUTES):
            if attribute.text(_ATTRIBUTE_KEY) != "value":
                continue
            for tensor in (t for value in attribute.messages(_ATTRIBUTE_VALUE) for t in value.messages(_TENSOR)):
                return _first_number(tensor, what)
        raise damaged(what, "the constant has no value")


def read_nodes(data: bytes, what: str) -> Iterator[Node]:
    """Yield the nodes of a bare GraphDef and of every function in its library.

    :param what: the name of the file in error messages
    :raises ArchiveError: for damaged bytes
    """
    for message in _messages(Message(data, what)):
        yield Node(message.text(_NAME), message.text(_OPERATION), message, what)


def _messages(graph: Message) -> Iterator[Message]:
    yield from graph.messages(_NODES)
    for library in graph.messages(_LIBRARY):
        for function in library.messages(_FUNCTIONS):
            yield from function.messages(_FUNCTION_NODES)


def _first_number(tensor: Message, what: str) -> float:
    form, field = _FORMS.get(tensor.integer(_DTYPE), ("", 0))
    if not form:
        raise damaged(what, f"the constant has the type {tensor.integer(_DTYPE)}, which is not a number")
    content = bytes(tensor.raw(_CONTENT))
    if not content and field in (_INTS, _LONGS):
        numbers = tensor.integers(field)
        return float(numbers[0]) if numbers else 0.0
    content = content or bytes(tensor.raw(field)) or b"\0" * struct.calcsize(form)
    if len(content) != struct.calcsize(form):
        raise damaged(what, f"the constant has {len(content)} bytes, and one number has {struct.calcsize(form)}")
    return float(struct.unpack(form, content)[0])
