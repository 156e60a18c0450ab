"""From the names of TensorFlow's variables to those of PyTorch's weights.

The rules are those that `transformers` 4 wrote both sides with: `modeling_tf_pytorch_utils.py`.
"""

from __future__ import annotations

import re

from review_scoring.models.spark_nlp.refusals import unsupported

_LAYER = re.compile(r"_\._(\d+)")
_LAST_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}


def torch_name(variable: str, scope: str) -> tuple[str, bool]:
    """Return a variable's name in PyTorch, and whether its matrix is to be transposed.

    A TensorFlow kernel is (in, out), a PyTorch weight (out, in).

    :param variable: the full name, such as `tf_bert_for_sequence_classification/bert/pooler/dense/kernel`
    :param scope: the first part that the architecture's variables have; a model built twice has `_1` behind
        it
    :raises ArchiveError: for a name in another scope
    """
    first, _, rest = variable.partition("/")
    if not re.fullmatch(rf"{re.escape(scope)}(_\d+)?", first) or not rest:
        raise unsupported("variables.index", f"the variable {variable[:200]!r} is not in the scope {scope}")
    *parents, last = _LAYER.sub(r".\1", rest).split("/")
    return ".".join([*parents, _LAST_PARTS.get(last, last)]), last == "kernel"
