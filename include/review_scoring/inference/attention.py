"""Attention over packed reviews (flash attention, or sdpa by length): each token attends to its own review only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from typing import TypeAlias, cast

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from review_scoring.inference.device import AMPERE, Device

ROUND_LENGTH = 16
"""On a CPU with AMX, torch caches attention kernels for each sequence length, over a megabyte each."""

LARGEST_HEAD = 256
"""Largest head size that flash attention supports."""


@dataclass(frozen=True)
class Rows:
    """The lengths of the reviews in a packed row; `ends` is 0 followed by each review's end, on the device."""

    lengths: Sequence[int]
    ends: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: Device) -> Rows:
        """Return the rows of reviews with these lengths."""
        return cls(lengths, device.copy(torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)))


Attention: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Rows, Rows], torch.Tensor]
"""(queries, keys, values, rows of the queries, rows of the keys) -> the attention output of each query.

Tensors have the shape (tokens, heads, head size). A review has as many queries as keys, or one query.
"""


def attention(device: Device) -> Attention:
    """Return the attention function for a device."""
    flash = flash_attention() if device.device.type == "cuda" else None
    if flash is not None:
        return flash
    in_bfloat16 = device.device.type == "cpu" and device.dtype is torch.bfloat16
    return partial(attend_by_length, multiple=ROUND_LENGTH if in_bfloat16 else 1)


def attend_by_length(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_rows: Rows, k_rows: Rows, *, multiple: int = 1
) -> torch.Tensor:
    """Attend within each review, with one call for adjacent reviews of the same length (reviews are sorted by length).

    :param multiple: round the lengths that torch sees up to a multiple of this. A review's part of the row then extends
        into the next review, whose keys are masked, and whose queries' outputs are dropped.
    """
    gathered = []
    query = key = 0
    for (own_queries, length), same in groupby(zip(q_rows.lengths, k_rows.lengths, strict=True)):
        count = len(list(same))
        seen = -(-length // multiple) * multiple
        if key + (count - 1) * length + seen > len(k):  # the row ends before that
            seen = length
        reach = query + (count - 1) * own_queries + seen
        queries = seen if own_queries == length and reach <= len(q) else own_queries
        mask = None
        if seen > length:
            mask = q.new_zeros(1, 1, 1, seen)
            mask[..., length:] = -torch.inf
        a = _windows(q, query, count, own_queries, queries)
        b, c = (_windows(part, key, count, length, seen) for part in (k, v))
        found = functional.scaled_dot_product_attention(a, b, c, attn_mask=mask)
        gathered.append(found.transpose(1, 2)[:, :own_queries].flatten(0, 1))
        query, key = query + count * own_queries, key + count * length
    return torch.cat(gathered)


def _windows(part: torch.Tensor, start: int, count: int, step: int, size: int) -> torch.Tensor:
    """Return views of `size` tokens of a row, `step` tokens apart: (count, heads, size, head size)."""
    token, head, number = part.stride()
    shape = (count, size, *part.shape[1:])
    found = part.as_strided(shape, (step * token, token, head, number), part.storage_offset() + start * token)
    return found.transpose(1, 2)


def flash_attention() -> Attention | None:
    """Return torch's flash attention over packed rows (CUDA only), or None if this version of torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_rows: Rows, k_rows: Rows) -> torch.Tensor:
        longest = max(q_rows.lengths), max(k_rows.lengths)
        return cast("torch.Tensor", varlen_attn(q, k, v, q_rows.ends, k_rows.ends, *longest))

    return attend


def flash_serves(model: PreTrainedModel, device: Device) -> bool:
    """Return whether flash attention supports this model and device: half precision, Ampere or later, head size."""
    head = model.config.hidden_size // model.config.num_attention_heads
    is_new = torch.cuda.get_device_capability(device.device) >= AMPERE
    return is_new and device.dtype is not torch.float32 and head % 8 == 0 and head <= LARGEST_HEAD
