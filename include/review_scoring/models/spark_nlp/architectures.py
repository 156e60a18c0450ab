"""The supported architectures (BERT, DistilBERT, XLM-RoBERTa): names in Spark NLP and transformers, weights, shapes.

Names and shapes are those of `transformers`: `modeling_bert.py`, `modeling_distilbert.py`,
`modeling_xlm_roberta.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from review_scoring.models.spark_nlp.graph_constants import GraphConstants
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

Shape = tuple[int, ...]

_USUAL_HEAD_SIZE = 64
_MOST_TOKENS = 1_000_000
"""Rows of the word embeddings; XLM-RoBERTa, which has the most, has 250,002."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    :param annotator: the class in Spark NLP
    :param scope: the first part of the names of the TensorFlow variables
    :param layer_dense: dense layer -> the sizes (out, in) of its matrix: h(idden), i(ntermediate), l(abels)
    :param layer_norms: the LayerNorms of a layer
    :param heads: dense layers of the classification head -> the sizes of their matrices
    :param first_position: number of position embeddings before that of the first token
    """

    name: str
    annotator: str
    graph_file: str
    scope: str
    transformers_class: str
    body: str
    layer: str
    layer_dense: Mapping[str, str]
    layer_norms: tuple[str, ...]
    heads: Mapping[str, str]
    token_types: bool
    layer_norm_eps: float
    first_position: int = 0


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model, derived from the shapes of its weights."""

    vocabulary: int
    positions: int
    token_types: int
    hidden: int
    intermediate: int
    layers: int
    labels: int


_BERT_LAYER = {
    "attention.self.query": "hh",
    "attention.self.key": "hh",
    "attention.self.value": "hh",
    "attention.output.dense": "hh",
    "intermediate.dense": "ih",
    "output.dense": "hi",
}
_BERT_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")

BERT = Architecture(
    name="bert",
    annotator="BertForSequenceClassification",
    graph_file="bert_classification_tensorflow",
    scope="tf_bert_for_sequence_classification",
    transformers_class="BertForSequenceClassification",
    body="bert",
    layer="bert.encoder.layer",
    layer_dense=_BERT_LAYER,
    layer_norms=_BERT_NORMS,
    heads={"bert.pooler.dense": "hh", "classifier": "lh"},
    token_types=True,
    layer_norm_eps=1e-12,
)

DISTILBERT = Architecture(
    name="distilbert",
    annotator="DistilBertForSequenceClassification",
    graph_file="distilbert_classification_tensorflow",
    scope="tf_distil_bert_for_sequence_classification",
    transformers_class="DistilBertForSequenceClassification",
    body="distilbert",
    layer="distilbert.transformer.layer",
    layer_dense={
        "attention.q_lin": "hh",
        "attention.k_lin": "hh",
        "attention.v_lin": "hh",
        "attention.out_lin": "hh",
        "ffn.lin1": "ih",
        "ffn.lin2": "hi",
    },
    layer_norms=("sa_layer_norm", "output_layer_norm"),
    heads={"pre_classifier": "hh", "classifier": "lh"},
    token_types=False,
    layer_norm_eps=1e-12,
)

XLM_ROBERTA = Architecture(
    name="xlm-roberta",
    annotator="XlmRoBertaForSequenceClassification",
    graph_file="xlm_roberta_classification_tensorflow",
    scope="tfxlm_roberta_for_sequence_classification",
    transformers_class="XLMRobertaForSequenceClassification",
    body="roberta",
    layer="roberta.encoder.layer",
    layer_dense=_BERT_LAYER,
    layer_norms=_BERT_NORMS,
    heads={"classifier.dense": "hh", "classifier.out_proj": "lh"},
    token_types=True,
    layer_norm_eps=1e-5,
    first_position=2,
)

ARCHITECTURES = {architecture.annotator: architecture for architecture in (BERT, DISTILBERT, XLM_ROBERTA)}


def find_architecture(annotator: str) -> Architecture:
    """Return the architecture of a Spark NLP annotator.

    :raises ArchiveError: for an annotator that is not supported
    """
    if annotator not in ARCHITECTURES:
        raise unsupported("metadata", f"its class is {annotator[:200]!r}")
    return ARCHITECTURES[annotator]


def check_weights(architecture: Architecture, shapes: Mapping[str, Shape]) -> Sizes:
    """Return the sizes of a model whose weights are exactly those of its architecture.

    :param shapes: the shape of every weight, by its name in `transformers`
    :raises ArchiveError: for weights that are missing, unexpected, or of another shape
    """
    sizes = _sizes(architecture, shapes)
    if sizes.vocabulary > _MOST_TOKENS:
        raise unsupported(
            architecture.graph_file, f"it has embeddings for {sizes.vocabulary} tokens, over {_MOST_TOKENS}"
        )
    expected = _expected(architecture, sizes)
    missing, unexpected = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    if missing or unexpected:
        raise unsupported(
            architecture.graph_file,
            f"its weights are not those of a {architecture.name} classifier with {sizes.layers} layers: "
            f"{len(missing)} missing {missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}",
        )
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise damaged(architecture.graph_file, f"the weight {name} has the shape {shape}, not {expected[name]}")
    return sizes


def count_heads(architecture: Architecture, sizes: Sizes, constants: GraphConstants) -> int:
    """Return the number of attention heads: that of the graph, otherwise one for each 64 of the hidden size."""
    heads = constants.heads or sizes.hidden // _USUAL_HEAD_SIZE
    if heads < 1 or sizes.hidden % heads:
        source = "from the graph" if constants.heads else "not in the graph; one for each 64"
        raise damaged(
            architecture.graph_file,
            f"a hidden size of {sizes.hidden} cannot have {heads} heads ({source})",
        )
    return heads


def _sizes(architecture: Architecture, shapes: Mapping[str, Shape]) -> Sizes:
    embeddings = f"{architecture.body}.embeddings"
    first_layer = f"{architecture.layer}.0"
    intermediate = next(name for name, sizes in architecture.layer_dense.items() if sizes == "ih")
    classifier = next(name for name, sizes in architecture.heads.items() if sizes == "lh")
    numbered = re.compile(rf"{re.escape(architecture.layer)}\.(\d+)\.")
    layers = {match[1] for match in map(numbered.match, shapes) if match}

    def matrix(name: str) -> tuple[int, int]:
        if name not in shapes:
            raise unsupported(architecture.graph_file, f"the weight {name} is missing")
        rows, columns = shapes[name] if len(shapes[name]) == 2 else (0, 0)
        if not (rows and columns):
            raise damaged(architecture.graph_file, f"the weight {name} has the shape {shapes[name]}")
        return rows, columns

    vocabulary, hidden = matrix(f"{embeddings}.word_embeddings.weight")
    return Sizes(
        vocabulary=vocabulary,
        hidden=hidden,
        positions=matrix(f"{embeddings}.position_embeddings.weight")[0],
        token_types=matrix(f"{embeddings}.token_type_embeddings.weight")[0] if architecture.token_types else 0,
        intermediate=matrix(f"{first_layer}.{intermediate}.weight")[0],
        labels=matrix(f"{classifier}.weight")[0],
        layers=len(layers),
    )


def _expected(architecture: Architecture, sizes: Sizes) -> dict[str, Shape]:
    """Return the expected shape of every weight."""
    letters = {"h": sizes.hidden, "i": sizes.intermediate, "l": sizes.labels}
    embeddings = f"{architecture.body}.embeddings"
    dense = dict(architecture.heads)
    norms = [f"{embeddings}.LayerNorm"]
    for index in range(sizes.layers):
        prefix = f"{architecture.layer}.{index}"
        dense |= {f"{prefix}.{name}": letters_of for name, letters_of in architecture.layer_dense.items()}
        norms += [f"{prefix}.{name}" for name in architecture.layer_norms]
    expected: dict[str, Shape] = {
        f"{embeddings}.word_embeddings.weight": (sizes.vocabulary, sizes.hidden),
        f"{embeddings}.position_embeddings.weight": (sizes.positions, sizes.hidden),
    }
    if architecture.token_types:
        expected[f"{embeddings}.token_type_embeddings.weight"] = (sizes.token_types, sizes.hidden)
    for name, letters_of in dense.items():
        rows, columns = (letters[letter] for letter in letters_of)
        expected |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    for name in norms:
        expected |= {f"{name}.weight": (sizes.hidden,), f"{name}.bias": (sizes.hidden,)}
    return expected
