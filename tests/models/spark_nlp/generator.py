"""Spark NLP archives of any size with random weights, for the three architectures, written for the tests."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from review_scoring.models.spark_nlp.formats.crc32c import crc32c
from tests.models.spark_nlp import formats

ANNOTATORS = {
    "bert": "BertForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "xlm_roberta": "XlmRoBertaForSequenceClassification",
}
SCOPES = {
    "bert": "tf_bert_for_sequence_classification",
    "distilbert": "tf_distil_bert_for_sequence_classification",
    "xlm_roberta": "tfxlm_roberta_for_sequence_classification",
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Specification of an archive. The default sizes are small."""

    architecture: str = "bert"
    hidden: int = 8
    intermediate: int = 12
    layers: int = 1
    heads: int = 2
    positions: int = 20
    rows: int = 40
    """Rows of the word embeddings; the vocabulary may have fewer tokens."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Token -> id for BERT and DistilBERT; empty for a full vocabulary."""
    words: tuple[tuple[str, float], ...] = ()
    """Pieces and scores for XLM-RoBERTa; empty for one piece for each row."""
    charsmap: bytes = b""
    labels: dict[str, int] = field(default_factory=lambda: {"neg": 0, "pos": 1})
    case_sensitive: bool = True
    max_tokens: int = 16
    graph_heads: bool = True
    graph_epsilon: float | None = None
    parts: int = 3
    enclosing: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Member:
    """One file of the archive before packing: its bytes, or a function that writes them."""

    name: str
    content: bytes | Callable[[IO[bytes]], None]


Edit = Callable[[str, bytes], bytes | None]


def keep(_name: str, content: bytes) -> bytes | None:
    """The edit that changes nothing. An edit returns the new content of a file, or None to omit the file."""
    return content


@dataclass(frozen=True)
class Edits:
    """Edits of an archive: its files, the index entries of the checkpoint, the object graph."""

    files: Edit
    index: Callable[[dict[bytes, bytes]], object]
    object_graph: Callable[[bytes], bytes]


def generate(
    path: Path,
    spec: Spec,
    *,
    edit: Edit = keep,
    edit_index: Callable[[dict[bytes, bytes]], object] = id,
    edit_object_graph: Callable[[bytes], bytes] = bytes,
) -> None:
    """Write an archive.

    :param edit: applied to every small file, the inner zip's `saved_model.pb` and `variables.index` included
    :param edit_index: may change the entries of the checkpoint's index in place before they are written
    :param edit_object_graph: returns the checkpoint's object graph as it is to be written, with a checksum
        that matches
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member in _members(spec, Edits(edit, edit_index, edit_object_graph)):
            name = f"{spec.enclosing}{member.name}"
            if callable(member.content):
                with archive.open(name, "w", force_zip64=True) as stream:
                    member.content(stream)
            elif (content := edit(member.name, member.content)) is not None:
                archive.writestr(name, content)


def _members(spec: Spec, edits: Edits) -> Iterator[Member]:
    parameters = {"caseSensitive": spec.case_sensitive, "maxSentenceLength": spec.max_tokens}
    metadata = {
        "class": f"com.johnsnowlabs.nlp.annotators.classifier.dl.{ANNOTATORS[spec.architecture]}",
        "sparkVersion": "3.0.2",
        "uid": "generated",
        "paramMap": {"inputCols": ["token"], **parameters},
        "defaultParamMap": {
            "caseSensitive": not spec.case_sensitive,
            "maxSentenceLength": 128,
            "batchSize": 8,
        },
    }
    yield Member("metadata/part-00000", json.dumps(metadata).encode() + b"\n")
    yield Member("metadata/_SUCCESS", b"")
    yield Member("metadata/.part-00000.crc", b"crc\0")
    yield from _map("labels", spec.labels, spec)
    if spec.architecture == "xlm_roberta":
        yield Member("xlmroberta_spp", formats.sentencepiece_model(words_of(spec), spec.charsmap))
    else:
        yield from _map("vocabulary", tokens_of(spec), spec)
    yield Member(f"{spec.architecture}_classification_tensorflow", lambda stream: _inner(stream, spec, edits))


def _map(name: str, entries: dict[str, int], spec: Spec) -> Iterator[Member]:
    """Write a map to several parts, unordered."""
    pairs = list(entries.items())
    random.Random(spec.seed).shuffle(pairs)  # noqa: S311 - a test's order
    for part in range(spec.parts):
        own = pairs[part :: spec.parts]
        records = [formats.java_pairs(own[start : start + 10]) for start in range(0, len(own), 10)]
        yield Member(f"fields/{name}/part-{part:05}", formats.sequence_file(records, sync_every=2))
        yield Member(f"fields/{name}/.part-{part:05}.crc", b"crc\0")


def tokens_of(spec: Spec) -> dict[str, int]:
    words = [*SPECIAL, *(f"mot{n}" for n in range(spec.rows - len(SPECIAL)))]
    return spec.tokens or {word: index for index, word in enumerate(words)}


def words_of(spec: Spec) -> tuple[tuple[str, float], ...]:
    return spec.words or tuple((f"▁mot{n}" if n else "▁", -1.0 - n / spec.rows) for n in range(spec.rows - 5))


def _inner(stream: IO[bytes], spec: Spec, edits: Edits) -> None:
    entries: dict[bytes, bytes] = {b"": formats.bundle_header()}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as inner:
        with inner.open("variables.data-00000-of-00001", "w", force_zip64=True) as data:
            _write_tensors(data, spec, entries, edits)
        edits.index(entries)
        for name, content in (("saved_model.pb", _graph(spec)), ("variables.index", formats.table(entries))):
            if (edited := edits.files(name, content)) is not None:
                inner.writestr(name, edited)


def _write_tensors(data: IO[bytes], spec: Spec, entries: dict[bytes, bytes], edits: Edits) -> None:
    """Write the tensors in a shuffled order, so that numbers do not reveal names, and add their entries."""
    named = list(variables(spec).items())
    random.Random(spec.seed).shuffle(named)  # noqa: S311 - a test's order
    offset, names = 0, {}
    for index, (name, shape) in enumerate(named):
        content = values(spec, name, shape).tobytes()
        key = f"variables/{index}/.ATTRIBUTES/VARIABLE_VALUE"
        data.write(content)
        entries[key.encode()] = formats.bundle_entry(1, shape, offset, len(content), crc32c(content))
        names[f"{SCOPES[spec.architecture]}/{name}"] = key
        offset += len(content)
    content, checksum = formats.string_tensor(edits.object_graph(formats.object_graph(names)))
    data.write(content)
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = formats.bundle_entry(7, (), offset, len(content), checksum)


def values(spec: Spec, name: str, shape: tuple[int, ...]) -> Any:
    """Return random float32 values of a variable, the same each time."""
    import numpy as np

    seed = [spec.seed, *name.encode()]
    return (np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(0.1)).astype("<f4")


def variables(spec: Spec) -> dict[str, tuple[int, ...]]:
    """Return the shape of every TensorFlow variable, by its name after the scope."""
    h, i, count = spec.hidden, spec.intermediate, len(spec.labels)
    body = {"bert": "bert", "distilbert": "distilbert", "xlm_roberta": "roberta"}[spec.architecture]
    found: dict[str, tuple[int, ...]] = {
        f"{body}/embeddings/word_embeddings/weight": (spec.rows, h),
        f"{body}/embeddings/position_embeddings/embeddings": (spec.positions, h),
    }
    norms = [f"{body}/embeddings/LayerNorm"]
    dense: dict[str, tuple[int, ...]] = {}
    if spec.architecture != "distilbert":
        found[f"{body}/embeddings/token_type_embeddings/embeddings"] = (
            2 if spec.architecture == "bert" else 1,
            h,
        )
    for n in range(spec.layers):
        if spec.architecture == "distilbert":
            layer = f"{body}/transformer/layer_._{n}"
            dense |= {f"{layer}/attention/{x}_lin": (h, h) for x in ("q", "k", "v", "out")}
            dense |= {f"{layer}/ffn/lin1": (h, i), f"{layer}/ffn/lin2": (i, h)}
            norms += [f"{layer}/sa_layer_norm", f"{layer}/output_layer_norm"]
        else:
            layer = f"{body}/encoder/layer_._{n}"
            dense |= {f"{layer}/attention/self/{x}": (h, h) for x in ("query", "key", "value")}
            dense |= {f"{layer}/attention/output/dense": (h, h), f"{layer}/intermediate/dense": (h, i)}
            dense |= {f"{layer}/output/dense": (i, h)}
            norms += [f"{layer}/attention/output/LayerNorm", f"{layer}/output/LayerNorm"]
    first, last = {
        "bert": ("bert/pooler/dense", "classifier"),
        "distilbert": ("pre_classifier", "classifier"),
        "xlm_roberta": ("classifier/dense", "classifier/out_proj"),
    }[spec.architecture]
    dense |= {first: (h, h), last: (h, count)}
    for name, shape in dense.items():
        found |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    for name in norms:
        found |= {f"{name}/gamma": (h,), f"{name}/beta": (h,)}
    return found


def _graph(spec: Spec) -> bytes:
    attention = "attention" if spec.architecture == "distilbert" else "attention/self"
    stem = "transformer" if spec.architecture == "distilbert" else "encoder"
    inside = [formats.text(1, "dense/MatMul") + formats.text(2, "MatMul")]
    for n in range(spec.layers):
        layer = f"model/{stem}/layer_._{n}"
        if spec.graph_heads:
            inside.append(formats.constant(f"{layer}/{attention}/Reshape/shape/2", spec.heads))
        if spec.graph_epsilon is not None:
            inside.append(formats.constant(f"{layer}/output/LayerNorm/batchnorm/add/y", spec.graph_epsilon))
    return formats.graph_def([formats.text(1, "saver_filename") + formats.text(2, "Placeholder")], inside)
