"""What a model's TensorFlow graph knows and its weights do not: the number of heads, the LayerNorm's epsilon.

The format: `tensorflow/core/framework/graph.proto`, `function.proto`, `node_def.proto`, `attr_value.proto`
and `tensor.proto` of https://github.com/tensorflow/tensorflow. The graph is searched for constants and never
run.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

_HEADS = re.compile(r"attention/(self/)?Reshape/shape/2$")
_EPSILON = re.compile(r"batchnorm/add/y$")
_FEED_FORWARD = re.compile(r"layer_\._\d+/(intermediate|ffn)/")
_OTHER_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus"})
"""Operations that the feed-forward part of a model with the exact GELU, which uses Erf, does not have."""

_NODES, _LIBRARY, _FUNCTIONS, _FUNCTION_NODES = 1, 2, 1, 3
_NAME, _OPERATION, _ATTRIBUTES, _ATTRIBUTE_KEY, _ATTRIBUTE_VALUE, _TENSOR = 1, 2, 5, 1, 2, 8
_DTYPE, _CONTENT, _FLOATS, _DOUBLES, _INTS, _LONGS = 1, 4, 5, 6, 7, 10
_FORMS = {1: ("<f", _FLOATS), 2: ("<d", _DOUBLES), 3: ("<i", _INTS), 9: ("<q", _LONGS)}
"""For each `DataType`, how one number is packed and which field holds it where `tensor_content` does not."""


@dataclass(frozen=True)
class GraphConstants:
    """The constants of a graph; None where it has none of that name."""

    heads: int | None
    layer_norm_eps: float | None


def read_constants(data: bytes, what: str) -> GraphConstants:
    """Search a bare GraphDef and its function library.

    :param what: the file's name in error messages
    :raises ArchiveError: for damaged bytes, constants that differ between layers, and an activation other
        than GELU
    """
    heads: set[float] = set()
    epsilons: set[float] = set()
    for node in _nodes(Message(data, what)):
        name, operation = node.text(_NAME), node.text(_OPERATION)
        if operation == "Const" and _HEADS.search(name):
            heads.add(_number(node, f"{what}, {name}"))
        elif operation == "Const" and _EPSILON.search(name):
            epsilons.add(float(f"{_number(node, f'{what}, {name}'):.6g}"))
        elif operation in _OTHER_ACTIVATIONS and _FEED_FORWARD.search(name):
            raise unsupported(what, f"its feed-forward layers use {operation} ({name}), not the exact GELU")
    count, epsilon = _single(heads, what, "numbers of heads"), _single(epsilons, what, "LayerNorm epsilons")
    if count is not None and not (count >= 1 and count.is_integer()):
        raise damaged(what, f"its number of heads is {count:g}")
    if epsilon is not None and not 0 < epsilon < 1:
        raise damaged(what, f"its LayerNorm epsilon is {epsilon:g}")
    return GraphConstants(heads=None if count is None else int(count), layer_norm_eps=epsilon)


def _nodes(graph: Message) -> Iterator[Message]:
    """Return the nodes of the graph and of every function in its library."""
    yield from graph.messages(_NODES)
    for library in graph.messages(_LIBRARY):
        for function in library.messages(_FUNCTIONS):
            yield from function.messages(_FUNCTION_NODES)


def _number(node: Message, what: str) -> float:
    """Return the value of a constant with one number."""
    for attribute in node.messages(_ATTRIBUTES):
        if attribute.text(_ATTRIBUTE_KEY) != "value":
            continue
        for tensor in (t for value in attribute.messages(_ATTRIBUTE_VALUE) for t in value.messages(_TENSOR)):
            return _first_number(tensor, what)
    raise damaged(what, "the constant has no value")


def _first_number(tensor: Message, what: str) -> float:
    form, field = _FORMS.get(tensor.integer(_DTYPE), ("", 0))
    if not form:
        raise damaged(what, f"the constant has the type {tensor.integer(_DTYPE)}, which is no number")
    content = bytes(tensor.raw(_CONTENT))
    if not content and field in (_INTS, _LONGS):
        numbers = tensor.integers(field)
        return float(numbers[0]) if numbers else 0.0
    content = content or bytes(tensor.raw(field)) or b"\0" * struct.calcsize(form)
    if len(content) != struct.calcsize(form):
        raise damaged(what, f"the constant has {len(content)} bytes, and one number has {struct.calcsize(form)}")
    return float(struct.unpack(form, content)[0])


def _single(found: set[float], what: str, name: str) -> float | None:
    if len(found) > 1:
        raise unsupported(
            what, f"its layers have different {name}: {', '.join(f'{value:g}' for value in sorted(found))}"
        )
    return next(iter(found), None)
