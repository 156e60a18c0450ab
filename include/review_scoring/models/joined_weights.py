"""Join sharded safetensors weights (`model.safetensors.index.json`) into one file.

The formats: https://github.com/huggingface/safetensors#format, and the index file of `save_pretrained`. Tensors are
copied as bytes, whatever their type, so the model need not fit into memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from review_scoring.errors import ModelError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library."""


def weight_files(folder: Path) -> Sequence[Path]:
    """Return the weight files that the index of a folder names, in order.

    :raises ModelError: for an index that cannot be read, and for files that do not exist
    """
    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        plain = bool(names) and all(Path(name).name == name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        plain = False
    if not plain:
        raise ModelError(f"{index} does not map weights to files; save the model again")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ModelError(f"{folder} lacks {missing[0]}, one of its {len(names)} weight files; download them all")
    return [folder / name for name in names]


def join_weights(shards: Sequence[Path], to: Path) -> None:
    """Write all tensors of several files into a new one.

    :raises ModelError: for a file that is not a safetensors file, or repeats a tensor of another one
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts = []
    end = 0
    for shard in shards:
        start, tensors = _read_header(shard)
        starts.append(start)
        for name, tensor in tensors.items():
            if name in header:
                raise ModelError(f"{shard} repeats the weight {name} of another file of the model; save it again")
            header[name] = {**tensor, "data_offsets": [end + offset for offset in tensor["data_offsets"]]}
        end += shard.stat().st_size - start
    encoded = json.dumps(header).encode()
    with to.open("xb") as joined:
        joined.write(len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded)
        for shard, start in zip(shards, starts, strict=True):
            with shard.open("rb") as file:
                file.seek(start)
                shutil.copyfileobj(file, joined)


def _read_header(shard: Path) -> tuple[int, dict[str, Any]]:
    """Return the offset of the tensors in a file, and their descriptions."""
    try:
        with shard.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            tensors: dict[str, Any] = json.loads(file.read(min(length, _LONGEST_HEADER)))
        tensors.pop("__metadata__", None)
        assert all(len(tensor["data_offsets"]) == 2 for tensor in tensors.values())
    except (ValueError, AttributeError, KeyError, TypeError, AssertionError):
        raise ModelError(f"{shard} is not a safetensors file; download it again") from None
    return _LENGTH_BYTES + length, tensors
