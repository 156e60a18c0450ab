"""TensorFlow checkpoints: an index of tensors, and a data file that is memory-mapped.

The format: `tensorflow/core/util/tensor_bundle/tensor_bundle.h` and
`tensorflow/core/protobuf/tensor_bundle.proto` of https://github.com/tensorflow/tensorflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from review_scoring.models.spark_nlp.formats.byte_reader import Cursor
from review_scoring.models.spark_nlp.formats.crc32c import crc32c, masked
from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.formats.sstable import read_table
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""The supported `DataType`s of `tensorflow/core/framework/types.proto` -> their names in numpy."""

STRING_DTYPE = 7
_MAX_DIMENSION, _MAX_DIMENSIONS = 2**40, 8
_MAX_STRING = 16 * 1024**2
"""Most bytes of a string tensor. Object graphs have some 100 kB."""

_CHUNK = 16 * 1024**2
_HEADER_SHARDS, _HEADER_ENDIANNESS = 1, 2
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE, _CRC32C, _SLICES = range(1, 8)


@dataclass(frozen=True)
class Tensor:
    """The index entry of a tensor: its type, its shape, and the place of its bytes in the data file."""

    key: str
    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


class TensorBundle:
    """An open checkpoint.

    :param index: the bytes of the file `variables.index`
    :param data: the file `variables.data-00000-of-00001`, which is memory-mapped
    :raises ArchiveError: for damaged files, partitioned variables, and several data files
    """

    def __init__(self, index: bytes, data: Path, what: str) -> None:
        self._data, self._what = data, what
        self._data_bytes = data.stat().st_size
        entries = read_table(index, what)
        _check_header(entries.pop(b"", b""), what)
        self.tensors: Mapping[str, Tensor] = {
            tensor.key: tensor for key, value in entries.items() for tensor in [self._tensor(key, value)]
        }
        if (total := sum(tensor.size for tensor in self.tensors.values())) > self._data_bytes:
            raise damaged(what, f"its tensors have {total} bytes in total, and the data file has {self._data_bytes}")

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """Return a numeric tensor as a read-only view of the data file, after checking its checksum.

        The view allocates no memory; its pages are released with the last reference to it.
        """
        import numpy as np

        dtype = DTYPES.get(tensor.dtype)
        if dtype is None or math.prod(tensor.shape) * np.dtype(dtype).itemsize != tensor.size:
            raise damaged(
                self._what,
                f"{tensor.key} has the type {tensor.dtype}, the shape {tensor.shape} and {tensor.size} bytes",
            )
        view = self._bytes(tensor)
        checksum = 0
        for start in range(0, tensor.size, _CHUNK):
            checksum = crc32c(view[start : start + _CHUNK], checksum)
        self._check(tensor, checksum)
        return np.frombuffer(view, dtype=dtype).reshape(tensor.shape)

    def string(self, tensor: Tensor) -> bytes:
        """Return the one string of a scalar string tensor.

        Its bytes are the length of the string as a varint, the masked checksum of that length as 32 bits, and the
        string. The checksum of the tensor covers the length as 32 bits, the checksum before it, and the string.
        """
        if tensor.dtype != STRING_DTYPE or tensor.shape or tensor.size > _MAX_STRING:
            raise damaged(
                self._what,
                f"{tensor.key} is not a single string: it has the type {tensor.dtype}, the shape {tensor.shape} "
                f"and {tensor.size} bytes",
            )
        cursor = Cursor(self._bytes(tensor), self._what)
        length = cursor.varint()
        length_checksum, text = cursor.take(4), cursor.take(cursor.remaining)
        if len(text) != length:
            raise damaged(self._what, f"{tensor.key} announces {length} bytes and has {len(text)}")
        self._check(tensor, crc32c(length.to_bytes(4, "little") + length_checksum + text))
        return text

    def _check(self, tensor: Tensor, checksum: int) -> None:
        if masked(checksum) != tensor.checksum:
            raise damaged(self._what, f"the checksum of {tensor.key} does not match its bytes")

    def _bytes(self, tensor: Tensor) -> memoryview:
        import numpy as np

        if not tensor.size:
            return memoryview(b"")
        mapped: Any = np.memmap(self._data, dtype=np.uint8, mode="r", offset=tensor.offset, shape=(tensor.size,))
        return memoryview(mapped)

    def _tensor(self, key: bytes, value: bytes) -> Tensor:
        where = f"{self._what}, {key!r}"
        entry = Message(value, where)
        if _SLICES in entry:
            raise unsupported(where, "the variable is partitioned")
        if shard := entry.integer(_SHARD):
            raise unsupported(where, f"it is in data file {shard}, and only number 0 is supported")
        shape = tuple(_dimensions(entry, where))
        if len(shape) > _MAX_DIMENSIONS:
            raise damaged(where, f"its shape has {len(shape)} dimensions")
        tensor = Tensor(
            key=key.decode("utf-8", "replace"),
            dtype=entry.integer(_DTYPE),
            shape=shape,
            offset=entry.integer(_OFFSET),
            size=entry.integer(_SIZE),
            checksum=int.from_bytes(entry.raw(_CRC32C), "little"),
        )
        if tensor.offset + tensor.size > self._data_bytes:
            raise damaged(
                where, f"it ends at byte {tensor.offset + tensor.size} of a data file with {self._data_bytes}"
            )
        return tensor


def _check_header(value: bytes, what: str) -> None:
    header = Message(value, what)
    if (shards := header.integer(_HEADER_SHARDS)) != 1:
        raise unsupported(what, f"its tensors are in {shards} data files, not in one")
    if header.integer(_HEADER_ENDIANNESS):
        raise unsupported(what, "its numbers are big-endian")


def _dimensions(entry: Message, where: str) -> Iterator[int]:
    for shape in entry.messages(_SHAPE):
        for dimension in shape.messages(2):
            size = dimension.integer(1)
            if size > _MAX_DIMENSION:
                raise damaged(where, f"a dimension of its shape is {size}")
            yield size
