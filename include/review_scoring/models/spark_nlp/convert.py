"""Convert a Spark NLP archive to a Hugging Face folder with config, safetensors weights and tokenizer."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.architectures import (
    XLM_ROBERTA,
    Architecture,
    Sizes,
    check_weights,
    count_heads,
    find_architecture,
)
from review_scoring.models.spark_nlp.formats.object_graph import named_tensors
from review_scoring.models.spark_nlp.formats.safetensors_file import write_safetensors
from review_scoring.models.spark_nlp.formats.spark_ml import find_root, read_map
from review_scoring.models.spark_nlp.formats.tensor_bundle import Tensor, TensorBundle
from review_scoring.models.spark_nlp.formats.zip_archive import SafeZip
from review_scoring.models.spark_nlp.graph_constants import GraphConstants, read_constants
from review_scoring.models.spark_nlp.hugging_face import write_config, write_tokenizer
from review_scoring.models.spark_nlp.metadata import Metadata, read_metadata
from review_scoring.models.spark_nlp.refusals import damaged, unsupported
from review_scoring.models.spark_nlp.unigram import build_unigram
from review_scoring.models.spark_nlp.weight_names import torch_name
from review_scoring.models.spark_nlp.wordpiece import build_wordpiece

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

GRAPH, INDEX, DATA = "saved_model.pb", "variables.index", "variables.data-00000-of-00001"
SENTENCEPIECE = "xlmroberta_spp"
GRAPH_LIMIT, INDEX_LIMIT, SENTENCEPIECE_LIMIT = 32 * 1024**2, 16 * 1024**2, 32 * 1024**2
"""Bytes. A graph has 1 MB plus 500 kB for each layer, an index 20 kB, the SentencePiece model of XLM-RoBERTa 5 MB."""


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model.

    :param labels: in the order of the outputs
    :param max_tokens: longest text in tokens, special tokens included
    """

    architecture: str
    labels: tuple[str, ...]
    max_tokens: int
    case_sensitive: bool
    vocab_size: int
    parameters: int


def convert_archive(archive: Path, into: Path, *, progress: Callable[[str], None] = lambda _: None) -> ConvertedModel:
    """Convert an archive to a Hugging Face folder.

    Memory stays below the largest weight plus some 200 MB. The disk of `into` takes up to three times the size of the
    model: the graph file of the archive, its weights, and the new folder. The folder appears complete, by a rename, or
    not at all.

    :param archive: the zip file, which is untrusted
    :param into: the folder to create; it must not exist or must be empty, and its parent must exist
    :param progress: called with a line of text before each step that takes long
    :raises ArchiveError: for an archive that cannot be converted, and for a disk that fails or is full
    """
    try:
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.partial-") as work:
            folder = Path(work) / "model"
            folder.mkdir()
            converted = _convert(archive, folder, Path(work), progress)
            folder.rename(into)
    except OSError as error:
        raise ArchiveError(
            f"{archive} cannot be converted into {into}: {error.strerror or error}; make sure that it "
            f"can be read, that the new folder does not exist yet, and that the disk has space"
        ) from error
    return converted


def _convert(archive: Path, folder: Path, work: Path, progress: Callable[[str], None]) -> ConvertedModel:
    with SafeZip(archive, archive.name) as outer:
        root = find_root(outer)
        metadata = read_metadata(outer, root)
        architecture = find_architecture(metadata.annotator)
        _check_engine(outer, root, architecture)
        labels = _labels(read_map(outer, root, "labels"))
        progress(f"unpacking the weights of a {architecture.annotator}")
        constants, bundle = _unpack(outer, f"{root}{architecture.graph_file}", work)
        weights = _weights(architecture, bundle)
        sizes = check_weights(architecture, {weight.name: weight.shape for weight in weights})
        _check_labels(architecture, sizes, labels)
        heads = count_heads(architecture, sizes, constants)
        progress(f"building the tokenizer of {sizes.vocabulary} tokens")
        lowercase = not metadata.case_sensitive
        tokenizer, pad = _tokenizer(outer, root, architecture, sizes, lowercase=lowercase)
    max_tokens = _max_tokens(architecture, sizes, metadata)
    write_tokenizer(folder, architecture, tokenizer, max_tokens, lowercase=lowercase)
    write_config(
        folder / "config.json",
        architecture,
        sizes,
        labels,
        heads=heads,
        layer_norm_eps=constants.layer_norm_eps or architecture.layer_norm_eps,
        pad=pad,
    )
    parameters = sum(math.prod(weight.shape) for weight in weights)
    progress(f"checking and writing {len(weights)} weights with {parameters} parameters")
    write_safetensors(
        folder / "model.safetensors",
        [(weight.name, weight.shape) for weight in weights],
        _arrays(weights, bundle),
    )
    return ConvertedModel(
        architecture=architecture.name,
        labels=labels,
        max_tokens=max_tokens,
        case_sensitive=metadata.case_sensitive,
        vocab_size=sizes.vocabulary,
        parameters=parameters,
    )


def _check_engine(outer: SafeZip, root: str, architecture: Architecture) -> None:
    """Refuse an archive for another engine by name. Spark NLP names the graph file after the engine."""
    if f"{root}{architecture.graph_file}" in outer.members:
        return
    for engine in ("onnx", "openvino"):
        if any(engine in name.removeprefix(root).lower() for name in outer.members):
            raise unsupported(outer.name, f"its model is for {engine}, not TensorFlow")


@dataclass(frozen=True)
class _Weight:
    """A weight: its PyTorch name and shape, and its tensor in the checkpoint."""

    name: str
    shape: tuple[int, ...]
    tensor: Tensor
    transposed: bool


def _unpack(outer: SafeZip, graph_file: str, work: Path) -> tuple[GraphConstants, TensorBundle]:
    """Unpack the weights to disk, and read graph and index. The inner zip file is deleted then."""
    packed = work / "graph.zip"
    outer.extract(graph_file, packed)
    with SafeZip(packed, graph_file) as inner:
        constants = read_constants(inner.read(GRAPH, GRAPH_LIMIT), GRAPH)
        index = inner.read(INDEX, INDEX_LIMIT)
        inner.extract(DATA, work / "data")
    packed.unlink()
    return constants, TensorBundle(index, work / "data", INDEX)


def _weights(architecture: Architecture, bundle: TensorBundle) -> list[_Weight]:
    weights: dict[str, _Weight] = {}
    for variable, tensor in named_tensors(bundle, INDEX).items():
        name, transposed = torch_name(variable, architecture.scope)
        if name in weights:
            raise damaged(INDEX, f"two of its variables are the weight {name}")
        shape = tensor.shape[::-1] if transposed else tensor.shape
        weights[name] = _Weight(name, shape, tensor, transposed)
    return list(weights.values())


def _arrays(weights: list[_Weight], bundle: TensorBundle) -> Iterator[NDArray[Any]]:
    for weight in weights:
        array = bundle.array(weight.tensor)
        yield array.T if weight.transposed else array


def _labels(numbers: dict[str, int]) -> tuple[str, ...]:
    """Return the labels in the order of their numbers, which must be 0, 1, 2 and so on."""
    if sorted(numbers.values()) != list(range(len(numbers))) or len(numbers) < 2:
        raise damaged("fields/labels", f"its labels have the numbers {sorted(numbers.values())[:10]}")
    return tuple(sorted(numbers, key=numbers.__getitem__))


def _check_labels(architecture: Architecture, sizes: Sizes, labels: tuple[str, ...]) -> None:
    if sizes.labels != len(labels):
        raise damaged(architecture.graph_file, f"it has {sizes.labels} outputs and {len(labels)} labels")


def _tokenizer(
    outer: SafeZip, root: str, architecture: Architecture, sizes: Sizes, *, lowercase: bool
) -> tuple[Tokenizer, int]:
    """Return the tokenizer and the id of its padding token."""
    if architecture is XLM_ROBERTA:
        model = outer.read(f"{root}{SENTENCEPIECE}", SENTENCEPIECE_LIMIT)
        return build_unigram(model, sizes.vocabulary, SENTENCEPIECE, lowercase=lowercase), 1
    vocabulary = read_map(outer, root, "vocabulary")
    return build_wordpiece(vocabulary, sizes.vocabulary, lowercase=lowercase), vocabulary["[PAD]"]


def _max_tokens(architecture: Architecture, sizes: Sizes, metadata: Metadata) -> int:
    """Return the longest text in tokens: the setting of the archive, limited by the position embeddings."""
    positions = sizes.positions - architecture.first_position
    if positions < 1:
        raise damaged(architecture.graph_file, f"it has embeddings for {sizes.positions} positions")
    return min(metadata.max_sentence_length, positions)
