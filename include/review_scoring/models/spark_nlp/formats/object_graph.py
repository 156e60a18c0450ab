"""Names of the variables of a TensorFlow checkpoint: its object graph maps a name to each numbered tensor.

The format: `tensorflow/core/protobuf/trackable_object_graph.proto` of
https://github.com/tensorflow/tensorflow.
"""

from __future__ import annotations

from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.formats.tensor_bundle import Tensor, TensorBundle
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_NODES, _ATTRIBUTES, _FULL_NAME, _CHECKPOINT_KEY = 1, 2, 2, 3


def named_tensors(bundle: TensorBundle, what: str) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint by the full name of its variable, in the order of the graph.

    :raises ArchiveError: for a checkpoint without an object graph, and a graph that does not name each tensor once
    """
    if OBJECT_GRAPH_KEY not in bundle.tensors:
        raise unsupported(what, f"it has no {OBJECT_GRAPH_KEY}, so the names of its tensors are unknown")
    graph = Message(bundle.string(bundle.tensors[OBJECT_GRAPH_KEY]), f"{what}, {OBJECT_GRAPH_KEY}")
    unnamed = set(bundle.tensors) - {OBJECT_GRAPH_KEY}
    named: dict[str, Tensor] = {}
    for node in graph.messages(_NODES):
        for attribute in node.messages(_ATTRIBUTES):
            name, key = attribute.text(_FULL_NAME), attribute.text(_CHECKPOINT_KEY)
            if key not in unnamed or name in named:
                raise damaged(what, f"its object graph names {name!r} as {key!r}, which is missing or was named before")
            unnamed.remove(key)
            named[name] = bundle.tensors[key]
    if unnamed:
        raise damaged(what, f"its object graph does not name {len(unnamed)} tensors, among them {min(unnamed)!r}")
    return named
