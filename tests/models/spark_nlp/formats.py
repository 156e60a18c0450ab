"""Writers of the formats that a Spark NLP archive is made of: what Spark, Java, TensorFlow and SentencePiece
write.

They are for tests only, and know nothing of the readers but the checksum, which has known values of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from review_scoring.models.spark_nlp.formats.crc32c import crc32c, masked

SYNC = bytes(range(100, 116))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<I", value)


def float32(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


# --- Hadoop and Java ----------------------------------------------------------------------------------------


def sequence_file(
    records: Iterable[bytes], *, version: int = 6, compressed: bool = False, sync_every: int = 0
) -> bytes:
    """Write records; with `sync_every`, the marker comes again after so many of them."""
    names = [b"org.apache.hadoop.io.NullWritable", b"org.apache.hadoop.io.BytesWritable"]
    header = b"SEQ" + bytes([version]) + b"".join(bytes([len(name)]) + name for name in names)
    out = header + bytes([compressed, 0]) + struct.pack(">i", 0) + SYNC
    for index, record in enumerate(records):
        if sync_every and index and index % sync_every == 0:
            out += struct.pack(">i", -1) + SYNC
        out += struct.pack(">iii", len(record) + 4, 0, len(record)) + record
    return out


def modified_utf8(value: str) -> bytes:
    out = b""
    for unit in struct.unpack(f">{len(value.encode('utf-16-be')) // 2}H", value.encode("utf-16-be")):
        out += b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass")
    return struct.pack(">H", len(out)) + out


def java_class(name: str, version: str, fields: bytes, parent: bytes = b"\x70") -> bytes:
    return b"\x72" + modified_utf8(name) + bytes.fromhex(version) + b"\x02" + fields + b"\x78" + parent


def java_pairs(
    pairs: Sequence[tuple[str, int]],
    *,
    pair_class: str = "scala.Tuple2",
    number_class: str = "java.lang.Integer",
) -> bytes:
    """Write an `Array[Tuple2[String, Integer]]` as `ObjectOutputStream` does: what was described is then
    referred to.
    """
    object_fields = b"\0\2L" + modified_utf8("_1") + b"\x74" + modified_utf8("Ljava/lang/Object;")
    object_fields += b"L" + modified_utf8("_2") + b"\x71" + struct.pack(">I", 0x7E0003)
    pair = java_class(pair_class, "2e94667d5b92f9f5", object_fields)
    parent = java_class("java.lang.Number", "86ac951d0b94e08b", b"\0\0")
    integer = java_class(number_class, "12e2a0a4f7818738", b"\0\1I" + modified_utf8("value"), parent)
    out = bytes.fromhex("aced000575") + java_class("[Lscala.Tuple2;", "2ecc00dfd14fd7c0", b"\0\0")
    out += struct.pack(">i", len(pairs))
    for key, value in pairs:
        out += b"\x73" + pair + b"\x74" + modified_utf8(key) + b"\x73" + integer + struct.pack(">i", value)
        pair, integer = b"\x71" + struct.pack(">I", 0x7E0002), b"\x71" + struct.pack(">I", 0x7E0006)
    return out


# --- TensorFlow ---------------------------------------------------------------------------------------------


def block(entries: Sequence[tuple[bytes, bytes]], *, compression: int = 0) -> bytes:
    """Write a table's block with its trailer; every sixteenth key is whole, the others share a beginning."""
    out, restarts, last = b"", [], b""
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % 16 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    out += b"".join(struct.pack("<I", at) for at in restarts) + struct.pack("<I", len(restarts)) + bytes([compression])
    return out + struct.pack("<I", masked(crc32c(out)))


def table(entries: Mapping[bytes, bytes], *, per_block: int = 20, compression: int = 0) -> bytes:
    """Write a sorted string table."""
    out, index = b"", []
    ordered = sorted(entries.items())
    for start in range(0, len(ordered), per_block):
        part = ordered[start : start + per_block]
        written = block(part, compression=compression)
        index.append((part[-1][0], varint(len(out)) + varint(len(written) - 5)))
        out += written
    handles = b""
    for written in (block([]), block(index)):
        handles += varint(len(out)) + varint(len(written) - 5)
        out += written
    return out + handles.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def bundle_header(shards: int = 1) -> bytes:
    return number(1, shards) + text(3, number(1, 1))


def bundle_entry(dtype: int, shape: Sequence[int], offset: int, size: int, checksum: int) -> bytes:
    dimensions = b"".join(text(2, number(1, size)) for size in shape)
    entry = number(1, dtype) + text(2, dimensions)
    return entry + (number(4, offset) if offset else b"") + number(5, size) + fixed32(6, masked(checksum))


def string_tensor(value: bytes) -> tuple[bytes, int]:
    """Return the bytes of a scalar string tensor and its checksum."""
    length_checksum = struct.pack("<I", masked(crc32c(struct.pack("<I", len(value)))))
    checksum = crc32c(struct.pack("<I", len(value)) + length_checksum + value)
    return varint(len(value)) + length_checksum + value, checksum


def object_graph(names: Mapping[str, str]) -> bytes:
    """Write a graph whose root has a child for each variable: full name -> checkpoint key."""
    out = text(1, b"".join(text(1, number(1, index + 1)) for index in range(len(names))))
    for name, key in names.items():
        out += text(1, text(2, text(1, "VARIABLE_VALUE") + text(2, name) + text(3, key)))
    return out


def constant(name: str, value: float | int) -> bytes:
    """Write a Const node with one number, float32 or int32."""
    filled = number(1, 3) + text(2, b"") + text(7, varint(value)) if isinstance(value, int) else b""
    filled = filled or number(1, 1) + text(2, b"") + text(5, struct.pack("<f", value))
    return text(1, name) + text(2, "Const") + text(5, text(1, "value") + text(2, text(8, filled)))


def graph_def(nodes: Sequence[bytes], function_nodes: Sequence[bytes]) -> bytes:
    function = text(1, text(1, "__inference_serving_1")) + b"".join(text(3, node) for node in function_nodes)
    return b"".join(text(1, node) for node in nodes) + text(2, text(1, function))


# --- SentencePiece ------------------------------------------------------------------------------------------


def sentencepiece_model(words: Iterable[tuple[str, float]], charsmap: bytes = b"", *, model_type: int = 1) -> bytes:
    pieces = [text(1, text(1, "<unk>") + float32(2, 0.0) + number(3, 2))]
    pieces += [text(1, text(1, name) + float32(2, 0.0) + number(3, 3)) for name in ("<s>", "</s>")]
    pieces += [text(1, text(1, word) + float32(2, score)) for word, score in words]
    normalizer = text(1, "nmt_nfkc") + text(2, charsmap) if charsmap else text(1, "identity")
    return b"".join([*pieces, text(2, number(3, model_type)), text(3, normalizer)])
