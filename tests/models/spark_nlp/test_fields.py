"""Metadata, Hadoop SequenceFiles and Java streams: valid content is read, other content is refused by name."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.convert import convert_archive
from review_scoring.models.spark_nlp.formats.java_serialization import decode_modified_utf8, read_pairs
from review_scoring.models.spark_nlp.formats.sequence_file import read_records
from tests.models.spark_nlp import formats
from tests.models.spark_nlp.generator import Spec, generate
from tests.models.spark_nlp.refusals import generated_refusal, replacing

PAIRS = formats.java_pairs([("neg", 0), ("pos", 1)])


def with_metadata(**changes: Any) -> Any:
    return replacing("metadata/part-00000", lambda content: json.dumps({**json.loads(content), **changes}).encode())


def test_another_class_than_the_three_is_refused_by_name(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, edit=with_metadata(**{"class": "com.johnsnowlabs.nlp.NerDLModel"}))
    assert "its class is 'NerDLModel'; supported are BertForSequenceClassification" in said


def test_a_set_parameter_wins_over_its_default(tmp_path: Path) -> None:
    edit = with_metadata(
        paramMap={"caseSensitive": False}, defaultParamMap={"caseSensitive": True, "maxSentenceLength": 7}
    )
    generate(tmp_path / "archive.zip", Spec(), edit=edit)
    converted = convert_archive(tmp_path / "archive.zip", tmp_path / "model")
    assert (converted.case_sensitive, converted.max_tokens) == (False, 7)


@pytest.mark.parametrize("value", [0, -1, "512", True, 1.5, None, [512]])
def test_a_senseless_maximum_length_is_refused(tmp_path: Path, value: object) -> None:
    said = generated_refusal(tmp_path, edit=with_metadata(paramMap={"maxSentenceLength": value}))
    assert "its parameter maxSentenceLength is" in said


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"class": 1}',
        b'{"class": "a", "paramMap": 1}',
        b"[" * 100_000,
        b"9" * 9_999,
    ],
)
def test_metadata_that_is_no_such_json_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "metadata: it" in generated_refusal(tmp_path, edit=replacing("metadata/part-00000", lambda _: content))


@pytest.mark.parametrize("labels", [{"neg": 0, "pos": 2}, {"neg": 1, "pos": 2}, {"only": 0}])
def test_labels_that_are_not_numbered_from_zero_are_refused(tmp_path: Path, labels: dict[str, int]) -> None:
    assert "fields/labels: its labels have the numbers" in generated_refusal(tmp_path, Spec(labels=labels))


def test_more_labels_than_outputs_are_refused(tmp_path: Path) -> None:
    parts = [formats.sequence_file([formats.java_pairs([(name, n)])]) for n, name in enumerate("abc")]
    edit = lambda path, content: parts[int(path[-1])] if "labels/part" in path else content  # noqa: E731
    assert "it has 2 outputs and 3 labels" in generated_refusal(tmp_path, edit=edit)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(
        tmp_path,
        edit=replacing("labels/part-00002", lambda _: formats.sequence_file([formats.java_pairs([("neg", 5)])])),
    )
    assert "fields/labels: it has 'neg' twice" in said


def test_two_tokens_with_one_id_are_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, Spec(tokens={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 3}))
    assert "fields/vocabulary: two of its keys have the same number" in said


def test_an_archive_without_labels_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, edit=lambda path, content: None if "labels/part" in path else content)
    assert "fields/labels: it is empty" in said


# --- SequenceFile -------------------------------------------------------------------------------------------


def test_records_come_back_in_order_across_sync_markers() -> None:
    records = [bytes([n % 256]) * n for n in range(300)]
    assert list(read_records(formats.sequence_file(records, sync_every=7), "part")) == records


def test_an_empty_part_has_no_records() -> None:
    assert list(read_records(formats.sequence_file([]), "part")) == []
    assert list(read_records(b"", "part")) == []


def test_a_compressed_sequence_file_is_refused(tmp_path: Path) -> None:
    packed = formats.sequence_file([PAIRS], compressed=True)
    said = generated_refusal(tmp_path, edit=replacing("labels/part-00000", lambda _: packed))
    assert "fields/labels/part-00000: it is a compressed SequenceFile" in said


def test_another_version_of_a_sequence_file_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"part: it is a SequenceFile of version 5, not 6"):
        list(read_records(formats.sequence_file([PAIRS], version=5), "part"))


def test_foreign_value_classes_of_a_sequence_file_are_refused_by_name() -> None:
    data = formats.sequence_file([PAIRS]).replace(b"BytesWritable", b"OtherWritable")
    with pytest.raises(ArchiveError, match=r"its values are of class 'org.apache.hadoop.io.OtherWritable'"):
        list(read_records(data, "part"))


def test_a_wrong_sync_marker_is_refused() -> None:
    data = formats.sequence_file([b"a", b"b"], sync_every=1)
    at = data.rfind(formats.SYNC)
    with pytest.raises(ArchiveError, match="the sync marker"):
        list(read_records(data[:at] + b"\0" + data[at + 1 :], "part"))


def test_a_sequence_file_cut_off_anywhere_gives_whole_records_or_an_error() -> None:
    data = formats.sequence_file([PAIRS, PAIRS])
    for end in range(1, len(data)):
        try:
            assert list(read_records(data[:end], "part")) in ([], [PAIRS])
        except ArchiveError:
            continue


# --- Java serialisation -------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), st.integers(-(2**31), 2**31 - 1), max_size=10)
)
def test_any_pairs_come_back_as_java_wrote_them(pairs: dict[str, int]) -> None:
    assert dict(read_pairs(formats.java_pairs(list(pairs.items())), "part")) == pairs


@pytest.mark.parametrize("text", ["\0", "a\0b", "😀", "é", "\uffff", "\U0001d518nicode😀\0"])
def test_modified_utf8_is_read(text: str) -> None:
    assert decode_modified_utf8(formats.modified_utf8(text)[2:], "part") == text


@pytest.mark.parametrize("data", [b"\xed\xa0\xbd", b"\xff", b"\xc3", b"\xed\xb8\x80\xed\xa0\xbd"])
def test_half_characters_are_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError, match="is not modified UTF-8, or has a lone surrogate"):
        decode_modified_utf8(data, "part")


@pytest.mark.parametrize(
    "name", ["java.util.HashMap", "javax.management.BadAttributeValueExpException", "scala.Tuple3"]
)
def test_a_foreign_java_class_is_refused_by_name(tmp_path: Path, name: str) -> None:
    record = formats.java_pairs([("neg", 0)], number_class=name)
    said = generated_refusal(tmp_path, edit=replacing("labels/part-00000", lambda _: formats.sequence_file([record])))
    assert f"fields/labels/part-00000: it has an object of the Java class '{name}', which is not supported" in said


@pytest.mark.parametrize(
    ("flags", "what"),
    [(3, "serialises itself"), (4, "serialises itself"), (12, "serialises itself"), (18, "serialises itself")],
)
def test_a_java_class_that_serialises_itself_is_refused(flags: int, what: str) -> None:
    at = PAIRS.index(bytes.fromhex("2e94667d5b92f9f5")) + 8
    with pytest.raises(ArchiveError, match=what):
        read_pairs(PAIRS[:at] + bytes([flags]) + PAIRS[at + 1 :], "part")


def test_a_java_object_that_refers_to_itself_is_refused() -> None:
    at = PAIRS.index(b"\x74\x00\x03neg")
    data = PAIRS[:at] + b"\x71" + struct.pack(">I", 0x7E0004) + PAIRS[at + 6 :]
    with pytest.raises(ArchiveError, match="a pair has neither text nor a number"):
        read_pairs(data, "part")


def test_the_fields_of_a_java_superclass_come_first() -> None:
    first, second = (
        b"\0\1L" + formats.modified_utf8(name) + b"\x74" + formats.modified_utf8("Lx;") for name in ("_1", "_2")
    )
    parent = formats.java_class("java.lang.Number", "00" * 8, first)
    pair = formats.java_class("scala.Tuple2", "00" * 8, second, parent)
    array = formats.java_class("[Lscala.Tuple2;", "00" * 8, b"\0\0")
    data = PAIRS[:4] + b"\x75" + array + b"\0\0\0\1\x73" + pair + b"\x74\0\1a\x74\0\1b"
    assert read_pairs(data, "part") == [("a", "b")]


def test_a_java_class_that_is_described_twice_is_refused() -> None:
    at, end = PAIRS.index(b"\x73\x72"), PAIRS.index(b"\x73\x71")
    with pytest.raises(ArchiveError, match=r"the Java stream describes the class scala\.Tuple2 twice"):
        read_pairs(PAIRS[:end] + PAIRS[at:end], "part")


def test_java_arrays_that_lie_in_one_another_without_end_are_refused() -> None:
    nested = PAIRS[:4] + b"\x75\x72" * 50_000
    with pytest.raises(ArchiveError):
        read_pairs(nested, "part")
    object_in_object = PAIRS[: PAIRS.index(b"\x74\x00\x03neg")] + (b"\x73\x71" + struct.pack(">I", 0x7E0002)) * 50_000
    with pytest.raises(ArchiveError, match="more than 12 deep"):
        read_pairs(object_in_object, "part")


def test_a_java_array_that_announces_more_than_there_is_is_refused() -> None:
    at = PAIRS.index(b"\x78\x70\0\0\0\2") + 2
    with pytest.raises(ArchiveError, match="an array announces 2147483647 pairs"):
        read_pairs(PAIRS[:at] + b"\x7f\xff\xff\xff" + PAIRS[at + 4 :], "part")


def test_a_java_stream_cut_off_anywhere_is_refused() -> None:
    for end in range(len(PAIRS)):
        with pytest.raises(ArchiveError):
            read_pairs(PAIRS[:end], "part")


@given(st.integers(0, len(PAIRS) - 1), st.binary(min_size=1, max_size=4))
def test_a_changed_java_stream_is_read_or_refused(at: int, change: bytes) -> None:
    with suppress(ArchiveError):
        read_pairs(PAIRS[:at] + change + PAIRS[at + len(change) :], "part")
