"""TensorFlow checkpoints: checksums, the table, the tensors, their names, and the graph."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.architectures import BERT, check_weights
from review_scoring.models.spark_nlp.formats.crc32c import crc32c, masked
from review_scoring.models.spark_nlp.formats.object_graph import OBJECT_GRAPH_KEY
from review_scoring.models.spark_nlp.formats.sstable import read_table
from review_scoring.models.spark_nlp.formats.tensor_bundle import TensorBundle
from review_scoring.models.spark_nlp.graph_constants import GraphConstants, read_constants
from review_scoring.models.spark_nlp.weight_names import torch_name
from tests.models.spark_nlp import formats
from tests.models.spark_nlp.generator import Spec, variables
from tests.models.spark_nlp.refusals import generated_refusal, replacing

FIRST_VARIABLE = b"variables/0/.ATTRIBUTES/VARIABLE_VALUE"

Entries = dict[bytes, bytes]


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksums_are_those_of_rfc_3720(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@pytest.mark.parametrize("size", [1_023, 2_047, 2_048, 70_001, 131_072, 300_007])
def test_a_long_message_has_the_checksum_that_its_short_parts_add_up_to(size: int) -> None:
    data = bytes(n * n % 251 for n in range(size))
    in_parts = 0
    for start in range(0, size, 500):
        in_parts = crc32c(data[start : start + 500], in_parts)
    assert crc32c(data) == in_parts


# --- The table ----------------------------------------------------------------------------------------------


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=20), min_size=1), st.integers(1, 9))
def test_any_table_comes_back(entries: Entries, per_block: int) -> None:
    assert read_table(formats.table(entries, per_block=per_block), "index") == entries


@pytest.mark.parametrize(("compression", "name"), [(1, "Snappy"), (2, "zlib"), (9, "method 9")])
def test_compressed_blocks_are_refused_with_their_compression(tmp_path: Path, compression: int, name: str) -> None:
    index = formats.table({b"key": b"value"}, compression=compression)
    said = generated_refusal(tmp_path, edit=replacing("variables.index", lambda _: index))
    assert f"variables.index: its blocks are compressed with {name}" in said


def test_a_changed_byte_in_a_block_is_noticed(tmp_path: Path) -> None:
    flip = replacing("variables.index", lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:])
    assert "variables.index: the checksum of the block at byte 0 does not match" in generated_refusal(
        tmp_path, edit=flip
    )


def test_a_table_cut_off_anywhere_is_refused() -> None:
    table = formats.table({b"key": b"value"})
    for end in range(len(table)):
        with pytest.raises(ArchiveError):
            read_table(table[:end], "index")


def test_an_index_block_that_names_a_block_twice_is_refused() -> None:
    entries = formats.block([(b"key", b"value")])
    handle = formats.varint(0) + formats.varint(len(entries) - 5)
    index = formats.block([(b"k", handle), (b"l", handle)])
    footer = b"\0\0" + formats.varint(len(entries)) + formats.varint(len(index) - 5)
    table = entries + index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    with pytest.raises(ArchiveError, match="two blocks share the bytes from 0 on"):
        read_table(table, "index")


def test_keys_that_grow_without_end_are_refused() -> None:
    entries = [(b"k" * n, b"") for n in range(1, 1_200)]
    with pytest.raises(ArchiveError, match="a key or a number of entries that no checkpoint has"):
        read_table(formats.table(dict(entries), per_block=2_000), "index")


# --- The tensors --------------------------------------------------------------------------------------------


def test_a_changed_byte_of_a_weight_is_noticed(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        at = entries[FIRST_VARIABLE].rfind(b"\x35") + 1  # field 6, fixed32
        entries[FIRST_VARIABLE] = entries[FIRST_VARIABLE][:at] + struct.pack("<I", 1)

    said = generated_refusal(tmp_path, edit_index=change)
    assert "the checksum of variables/0/.ATTRIBUTES/VARIABLE_VALUE does not match its bytes" in said


def test_a_partitioned_variable_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[FIRST_VARIABLE] += formats.text(7, b"")

    assert "the variable is partitioned" in generated_refusal(tmp_path, edit_index=change)


def test_a_checkpoint_in_two_data_files_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[b""] = formats.bundle_header(shards=2)

    assert "its tensors are in 2 data files, not in one" in generated_refusal(tmp_path, edit_index=change)


def test_a_tensor_in_another_data_file_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[FIRST_VARIABLE] += formats.number(3, 1)

    assert "it is in data file 1, and only number 0 is supported" in generated_refusal(tmp_path, edit_index=change)


def test_a_tensor_beyond_the_end_of_the_data_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[FIRST_VARIABLE] += formats.number(4, 2**50)

    assert "it ends at byte 11258999068" in generated_refusal(tmp_path, edit_index=change)


def test_a_shape_that_does_not_fit_the_bytes_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[FIRST_VARIABLE] += formats.number(1, 2)

    assert "has the type 2, the shape (" in generated_refusal(tmp_path, edit_index=change)


def test_tensors_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(bytes(400))
    shared = formats.bundle_entry(1, (100,), 0, 400, crc32c(bytes(400)))
    index = formats.table({b"": formats.bundle_header(), b"a": shared, b"b": shared})
    with pytest.raises(ArchiveError, match="its tensors have 800 bytes in total, and the data file has 400"):
        TensorBundle(index, data, "index")


def test_a_shape_of_more_dimensions_than_weights_have_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[FIRST_VARIABLE] = formats.bundle_entry(1, [1] * 100, 0, 4, 0)

    assert "its shape has 100 dimensions" in generated_refusal(tmp_path, edit_index=change)


@pytest.mark.parametrize(("dtype", "form"), [(1, "<f4"), (2, "<f8"), (3, "<i4"), (9, "<i8"), (19, "<f2")])
def test_every_numeric_type_is_read(tmp_path: Path, dtype: int, form: str) -> None:
    import numpy as np

    array = np.arange(6).reshape(2, 3).astype(form)
    (tmp_path / "data").write_bytes(b"odd" + array.tobytes())
    entry = formats.bundle_entry(dtype, (2, 3), 3, array.nbytes, crc32c(array.tobytes()))
    bundle = TensorBundle(formats.table({b"": formats.bundle_header(), b"a": entry}), tmp_path / "data", "index")
    np.testing.assert_array_equal(bundle.array(bundle.tensors["a"]), array)


# --- The names ----------------------------------------------------------------------------------------------


def test_a_checkpoint_without_an_object_graph_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, edit_index=lambda entries: entries.pop(OBJECT_GRAPH_KEY.encode()))
    assert "variables.index: it has no _CHECKPOINTABLE_OBJECT_GRAPH" in said


def test_a_tensor_that_the_object_graph_does_not_name_is_refused(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        entries[b"variables/99/.ATTRIBUTES/VARIABLE_VALUE"] = formats.bundle_entry(1, (0,), 0, 0, 0)

    assert "its object graph does not name 1 tensors, among them 'variables/99/" in generated_refusal(
        tmp_path, edit_index=change
    )


def test_a_name_without_its_tensor_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, edit_index=lambda entries: entries.pop(FIRST_VARIABLE))
    assert "as 'variables/0/.ATTRIBUTES/VARIABLE_VALUE', which is missing or was named before" in said


def test_a_message_stays_short_whatever_the_names_in_an_archive(tmp_path: Path) -> None:
    more = formats.text(1, formats.text(2, formats.text(2, "x" * 9_999) + formats.text(3, "y" * 9_999)))
    said = generated_refusal(tmp_path, edit_object_graph=lambda graph: graph + more)
    assert len(said) < 1_000
    assert said.endswith("the archive is damaged or was tampered with: download it again")


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    said = generated_refusal(
        tmp_path, edit_object_graph=lambda graph: graph.replace(b"self/query/bias", b"self/value/bias")
    )
    assert "self/value/bias' as 'variables/" in said


@pytest.mark.parametrize(
    ("variable", "name", "transposed"),
    [
        (
            "scope/bert/encoder/layer_._11/output/dense/kernel",
            "bert.encoder.layer.11.output.dense.weight",
            True,
        ),
        ("scope/bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight", False),
        ("scope/bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias", False),
        ("scope_1/bert/embeddings/word_embeddings/weight", "bert.embeddings.word_embeddings.weight", False),
        ("scope/x/position_embeddings/embeddings", "x.position_embeddings.weight", False),
    ],
)
def test_variables_get_their_pytorch_names(variable: str, name: str, transposed: bool) -> None:
    assert torch_name(variable, "scope") == (name, transposed)


def test_a_variable_of_another_scope_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"the variable 'Adam/m/classifier/kernel' is not in the scope scope"):
        torch_name("Adam/m/classifier/kernel", "scope")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    said = generated_refusal(
        tmp_path,
        Spec(architecture="distilbert"),
        edit=replacing("part-00000", lambda data: data.replace(b"DistilBertFor", b"BertFor")),
    )
    assert "it has no bert_classification_tensorflow" in said


def test_a_missing_layer_is_reported_as_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.spark_nlp import generator

    whole = generator.variables(Spec(layers=3))
    without = {name: shape for name, shape in whole.items() if "layer_._1/" not in name}
    monkeypatch.setattr(generator, "variables", lambda _: without)
    said = generated_refusal(tmp_path, Spec(layers=3))
    assert "with 2 layers: 16 missing ['bert.encoder.layer.1.attention" in said
    assert "16 unexpected ['bert.encoder.layer.2." in said


def test_an_extra_weight_is_reported_as_unexpected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.spark_nlp import generator

    more = {**generator.variables(Spec()), "bert/adapter/kernel": (8, 8)}
    monkeypatch.setattr(generator, "variables", lambda _: more)
    assert "0 missing [], 1 unexpected ['bert.adapter.weight']" in generated_refusal(tmp_path)


def test_a_single_missing_weight_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.spark_nlp import generator

    fewer = {name: shape for name, shape in generator.variables(Spec()).items() if name != "classifier/bias"}
    monkeypatch.setattr(generator, "variables", lambda _: fewer)
    assert "1 missing ['classifier.bias'], 0 unexpected []" in generated_refusal(tmp_path)


def test_a_weight_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.spark_nlp import generator

    changed = {**generator.variables(Spec()), "bert/pooler/dense/kernel": (8, 9)}
    monkeypatch.setattr(generator, "variables", lambda _: changed)
    assert "the weight bert.pooler.dense.weight has the shape (9, 8), not (8, 8)" in generated_refusal(tmp_path)


@pytest.mark.parametrize("shape", [(2**40, 0), (0, 8), (8,), (2, 2, 2), ()])
def test_embeddings_that_are_no_filled_matrix_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArchiveError, match=r"the weight bert\.embeddings\.word_embeddings\.weight has the shape"):
        check_weights(BERT, {"bert.embeddings.word_embeddings.weight": shape})


def test_more_tokens_than_any_model_has_are_refused_before_they_take_memory() -> None:
    names = [torch_name(f"{BERT.scope}/{variable}", BERT.scope)[0] for variable in variables(Spec())]
    with pytest.raises(ArchiveError, match="it has embeddings for 2000000 tokens, over 1000000"):
        check_weights(BERT, dict.fromkeys(names, (2_000_000, 1)))


# --- The graph ----------------------------------------------------------------------------------------------


def graph(*nodes: bytes) -> bytes:
    return formats.graph_def([], nodes)


def test_constants_are_found_in_the_graph_and_in_its_functions() -> None:
    heads = formats.constant("a/layer_._0/attention/Reshape/shape/2", 3)
    epsilon = formats.constant("a/LayerNorm/batchnorm/add/y", 1e-12)
    assert read_constants(formats.graph_def([heads], [epsilon]), "graph") == GraphConstants(3, 1e-12)


def test_a_constant_may_be_packed_into_tensor_content() -> None:
    tensor = formats.number(1, 3) + formats.text(4, struct.pack("<i", 12))
    node = formats.text(1, "a/attention/self/Reshape/shape/2") + formats.text(2, "Const")
    node += formats.text(5, formats.text(1, "value") + formats.text(2, formats.text(8, tensor)))
    assert read_constants(graph(node), "graph").heads == 12


def test_other_reshapes_are_not_taken_for_heads() -> None:
    assert read_constants(graph(formats.constant("bert/Reshape/shape/2", 1)), "graph").heads is None


def test_layers_with_different_numbers_of_heads_are_refused() -> None:
    nodes = [formats.constant(f"a/layer_._{n}/attention/self/Reshape/shape/2", n + 1) for n in range(2)]
    with pytest.raises(ArchiveError, match="its layers have different numbers of heads: 1, 2"):
        read_constants(graph(*nodes), "graph")


@pytest.mark.parametrize(
    ("heads", "said"), [(3, "a hidden size of 8 cannot have 3 heads"), (0, "its number of heads is 0")]
)
def test_a_number_of_heads_that_does_not_divide_the_hidden_size_is_refused(
    tmp_path: Path, heads: int, said: str
) -> None:
    assert said in generated_refusal(tmp_path, Spec(heads=heads))


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_epsilon_is_refused(tmp_path: Path, epsilon: float) -> None:
    assert "its LayerNorm epsilon is" in generated_refusal(tmp_path, Spec(graph_epsilon=epsilon))


def test_a_distilbert_with_an_epsilon_that_transformers_does_not_have_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, Spec(architecture="distilbert", graph_epsilon=1e-5))
    assert "its LayerNorm epsilon is 1e-05, and DistilBERT in transformers has 1e-12" in said


def test_another_activation_than_gelu_is_refused() -> None:
    node = formats.text(1, "bert/encoder/layer_._0/intermediate/Relu") + formats.text(2, "Relu")
    with pytest.raises(ArchiveError, match="its feed-forward layers use Relu"):
        read_constants(graph(node), "graph")


def test_a_saved_model_in_place_of_a_bare_graph_is_refused(tmp_path: Path) -> None:
    saved_model = formats.number(1, 1) + formats.text(2, formats.text(2, graph()))
    said = generated_refusal(tmp_path, edit=replacing("saved_model.pb", lambda _: saved_model))
    assert "saved_model.pb: field 1 has a number in place of bytes" in said


@given(st.binary(max_size=60))
def test_any_bytes_are_a_graph_or_an_error_of_ours(data: bytes) -> None:
    with suppress(ArchiveError):
        read_constants(data, "graph")


def test_the_mask_of_a_checksum_is_leveldbs() -> None:
    assert masked(0) == 0xA282EAD8
