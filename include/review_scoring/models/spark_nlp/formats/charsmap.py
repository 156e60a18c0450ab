"""Check a SentencePiece normalisation table (charsmap), which the tokenizers library uses without checks.

The table is the size of a trie in bytes, the trie, and the replacement texts, each terminated by NUL. The trie is a
double array (https://github.com/s-yata/darts-clone), read as in https://github.com/huggingface/spm_precompiled. A
reader follows indices from unit to unit; an index outside of the array would abort the process without an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from review_scoring.models.spark_nlp.refusals import damaged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UNIT_BYTES = 4
_LEAF, _VALUE = 1 << 31, (1 << 31) - 1
_LABEL = _LEAF | 0xFF
_HAS_LEAF = 1 << 8
_WIDE_OFFSET = 1 << 9
_CONTINUATION, _CONTINUATION_MASK = 0x80, 0xC0
MAX_UNITS = 1 << 18
"""The table of `nmt_nfkc`, the most common one, has some 50,000."""

_FRONTIER = 4_096
_STEPS = (
    ((0x01, 0x7F, 0), (0xC2, 0xDF, 1), (0xE0, 0xEF, 2), (0xF0, 0xF4, 3)),
    ((0x80, 0xBF, 0),),
    ((0x80, 0xBF, 1),),
    ((0x80, 0xBF, 2),),
)
"""UTF-8: for each number of missing bytes of a character, the valid next bytes and the number missing after them."""


def check_charsmap(data: bytes, what: str) -> None:
    """Check every unit of the table that a valid text can reach.

    :raises ArchiveError: for a unit that refers to a place outside of the table or into the middle of a character
    """
    import numpy as np

    size = int.from_bytes(data[:_UNIT_BYTES], "little")
    if len(data) < _UNIT_BYTES + size or size % _UNIT_BYTES or not 0 < size <= _UNIT_BYTES * MAX_UNITS:
        raise damaged(what, f"its normalisation table announces a trie of {size} bytes in {len(data)}")
    units = np.frombuffer(data, dtype="<u4", count=size // _UNIT_BYTES, offset=_UNIT_BYTES)
    texts = data[_UNIT_BYTES + size :]
    try:
        texts.decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(what, "the texts of its normalisation table are not UTF-8") from None
    values = _reachable_values(units, what)
    starts = np.frombuffer(texts + b"\0", dtype=np.uint8)
    if values.size and (
        int(values.max()) >= len(starts) or ((starts[values] & _CONTINUATION_MASK) == _CONTINUATION).any()
    ):
        raise damaged(what, "its normalisation table has a replacement that begins outside of its texts")


def _reachable_values(units: NDArray[np.uint32], what: str) -> NDArray[np.int64]:
    """Follow the trie along every prefix of a valid text, and return the replacements that are reached."""
    import numpy as np

    seen = np.zeros((len(_STEPS), len(units)), dtype=bool)
    values = [np.zeros(0, dtype=np.int64)]
    waiting = [(0, np.zeros(1, dtype=np.int64))]
    while waiting:
        pending, positions = waiting.pop()
        if len(positions) > _FRONTIER:
            waiting.append((pending, positions[_FRONTIER:]))
            positions = positions[:_FRONTIER]
        bases = positions ^ _offsets(units[positions])
        leaves = bases[(units[positions] & _HAS_LEAF) != 0]
        if leaves.size and (pending or int(leaves.max()) >= len(units)):
            raise damaged(
                what,
                "the trie of its normalisation table ends inside of a character, or leads out of itself",
            )
        values.append((units[leaves] & _VALUE).astype(np.int64))
        for first, last, next_pending in _STEPS[pending]:
            labels = np.arange(first, last + 1)
            children = bases[:, None] ^ labels
            if int(children.max()) >= len(units):
                raise damaged(what, "the trie of its normalisation table leads out of itself")
            matches = np.unique(children[(units[children] & _LABEL) == labels])
            matches = matches[~seen[next_pending, matches]]
            seen[next_pending, matches] = True
            if matches.size:
                waiting.append((next_pending, matches))
    return np.concatenate(values)


def _offsets(units: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the offsets of the children of units: 21 bits, in steps of 256 for wide offsets."""
    return (units.astype("int64") >> 10) << ((units.astype("int64") & _WIDE_OFFSET) >> 6)
