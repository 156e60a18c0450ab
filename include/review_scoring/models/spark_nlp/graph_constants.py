"""Model settings that only the TensorFlow graph has: the number of attention heads, and the epsilon of LayerNorm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.graph_def import read_nodes
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

_HEADS = re.compile(r"attention/(self/)?Reshape/shape/2$")
_EPSILON = re.compile(r"batchnorm/add/y$")
_FEED_FORWARD = re.compile(r"layer_\._\d+/(intermediate|ffn)/")
_OTHER_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus"})
"""Operations that do not occur in the feed-forward layers of a model with the exact GELU, which uses Erf."""


@dataclass(frozen=True)
class GraphConstants:
    """The constants of a graph; None for one that the graph lacks."""

    heads: int | None
    layer_norm_eps: float | None


def read_constants(data: bytes, what: str) -> GraphConstants:
    """Return the constants of a bare GraphDef, functions included.

    :param what: the name of the file in error messages
    :raises ArchiveError: for damaged bytes, constants that differ between layers, and an activation other than GELU
    """
    heads: set[float] = set()
    epsilons: set[float] = set()
    for node in read_nodes(data, what):
        if node.operation == "Const" and _HEADS.search(node.name):
            heads.add(node.number())
        elif node.operation == "Const" and _EPSILON.search(node.name):
            epsilons.add(float(f"{node.number():.6g}"))
        elif node.operation in _OTHER_ACTIVATIONS and _FEED_FORWARD.search(node.name):
            raise unsupported(
                what, f"its feed-forward layers use {node.operation} ({node.name}) instead of the exact GELU"
            )
    count, epsilon = _single(heads, what, "numbers of heads"), _single(epsilons, what, "LayerNorm epsilons")
    if count is not None and not (count >= 1 and count.is_integer()):
        raise damaged(what, f"its number of heads is {count:g}")
    if epsilon is not None and not 0 < epsilon < 1:
        raise damaged(what, f"its LayerNorm epsilon is {epsilon:g}")
    return GraphConstants(heads=None if count is None else int(count), layer_norm_eps=epsilon)


def _single(found: set[float], what: str, name: str) -> float | None:
    if len(found) > 1:
        raise unsupported(
            what, f"its layers have different {name}: {', '.join(f'{value:g}' for value in sorted(found))}"
        )
    return next(iter(found), None)
