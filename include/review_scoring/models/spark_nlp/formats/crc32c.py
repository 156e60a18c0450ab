"""CRC-32C (Castagnoli) checksums as in TensorFlow, at a gigabyte per second without a C extension.

The checksum: RFC 3720, appendix B.4. The masking: https://github.com/google/leveldb/blob/main/util/crc32c.h.

A message is a polynomial over GF(2) and its checksum is the remainder of a division. For speed, rows of 32-bit words
are folded into one another, each word multiplied by a power of x that shifts it by the length of a row, and only the
last row is divided byte by byte.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
"""Bits reversed: the highest bit is the coefficient of x to the power of 0."""

_ONE = 0x80000000
_MASK_DELTA = 0xA282EAD8
_ROW_BYTES = (65_536, 1_024)
"""Wide rows first, narrow rows for the rest; what then remains is divided byte by byte."""


def crc32c(data: bytes | memoryview, checksum: int = 0) -> int:
    """Return the checksum of bytes.

    :param checksum: the checksum of the bytes before, for a message in several parts
    """
    view = memoryview(data)
    register = checksum ^ 0xFFFFFFFF
    for row_bytes in _ROW_BYTES:
        whole = len(view) // row_bytes * row_bytes
        if whole > row_bytes:
            register, view = _divide(_folded(view[:whole], row_bytes, register), 0), view[whole:]
    return _divide(bytes(view), register) ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """Return the masked form in which a checksum is stored next to its bytes."""
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _divide(data: bytes, register: int) -> int:
    """Divide byte by byte, and return the remainder."""
    table = _byte_table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _folded(view: memoryview, row_bytes: int, register: int) -> bytes:
    """Return one row with the same remainder as all rows of `view` after the register."""
    import numpy as np

    low, high = _fold_tables(row_bytes)
    rows = np.frombuffer(view, dtype="<u4").reshape(-1, row_bytes // 4)
    folded = rows[0].copy()
    folded[0] ^= np.uint32(register)
    for row in rows[1:]:
        folded = low[folded & 0xFFFF] ^ high[folded >> 16] ^ row
    return bytes(folded.tobytes())


@lru_cache
def _byte_table() -> tuple[int, ...]:
    def remainder(byte: int) -> int:
        for _ in range(8):
            byte = _times_x(byte)
        return byte

    return tuple(map(remainder, range(256)))


@lru_cache
def _fold_tables(row_bytes: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the products of every lower and every upper 16-bit half with x to the power of a row's bits."""
    import numpy as np

    factor = _power_of_x(8 * row_bytes)
    tables = []
    for shift in (0, 16):
        table = np.zeros(1, dtype="<u4")
        for bit in range(16):
            table = np.concatenate([table, table ^ np.uint32(_product(1 << (bit + shift), factor))])
        tables.append(table)
    return tables[0], tables[1]


def _power_of_x(exponent: int) -> int:
    result, square = _ONE, _times_x(_ONE)
    while exponent:
        if exponent & 1:
            result = _product(result, square)
        square, exponent = _product(square, square), exponent >> 1
    return result


def _product(left: int, right: int) -> int:
    """Return the product of two polynomials, modulo the checksum's."""
    result = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            result ^= right
        right = _times_x(right)
    return result


def _times_x(value: int) -> int:
    return value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
