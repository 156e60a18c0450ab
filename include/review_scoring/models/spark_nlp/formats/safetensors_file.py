"""Write a safetensors file weight by weight, so that the model need not fit into memory.

The format: https://github.com/huggingface/safetensors#format. The writer of the library requires all weights at once,
and a copy of each transposed one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITEM_BYTES = 4
_BLOCK_BYTES = 16 * 1024**2
_ALIGNMENT = 8


def write_safetensors(
    path: Path, shapes: Iterable[tuple[str, tuple[int, ...]]], arrays: Iterable[NDArray[Any]]
) -> None:
    """Write weights as float32.

    :param shapes: name and shape of each weight, in the order of `arrays`
    :param arrays: the weights, of any float type and layout; each is released before the next is requested
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes:
        start, end = end, end + _ITEM_BYTES * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with path.open("xb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for array in arrays:
            file.writelines(_blocks(array))


def _blocks(array: NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes of an array in row order, a block of rows at a time, which is the most that is copied."""
    import numpy as np

    rows = max(1, _BLOCK_BYTES // max(1, _ITEM_BYTES * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        block: Any = np.ascontiguousarray(array[start : start + rows], dtype="<f4")
        yield memoryview(block).cast("B")
