"""Names of weights: from variables in TensorFlow to weights in PyTorch.

The rules are those of `transformers` 4: `modeling_tf_pytorch_utils.py`.
"""

from __future__ import annotations

import re

from review_scoring.models.spark_nlp.refusals import unsupported

_LAYER = re.compile(r"_\._(\d+)")
_LAST_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}


def torch_name(variable: str, scope: str) -> tuple[str, bool]:
    """Return the name of a variable in PyTorch, and whether its matrix must be transposed.

    A TensorFlow kernel is (in, out), a PyTorch weight (out, in).

    :param variable: the full name, such as `tf_bert_for_sequence_classification/bert/pooler/dense/kernel`
    :param scope: the first part of the names of the architecture's variables; a model built twice appends `_1`
    :raises ArchiveError: for a name in another scope
    """
    first, _, rest = variable.partition("/")
    if not re.fullmatch(rf"{re.escape(scope)}(_\d+)?", first) or not rest:
        raise unsupported("variables.index", f"the variable {variable[:200]!r} is not in the scope {scope}")
    *parents, last = _LAYER.sub(r".\1", rest).split("/")
    return ".".join([*parents, _LAST_PARTS.get(last, last)]), last == "kernel"
