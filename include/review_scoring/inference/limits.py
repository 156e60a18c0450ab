"""What a loaded model can read: how many different tokens, and how many of them in one text."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

NO_LIMIT = 2**31
"""Tokens of a model whose positions have no end, such as T5's."""


def vocabulary_of(model: PreTrainedModel) -> int:
    """Return how many tokens a model has embeddings for; a token id beyond them stops its forward pass."""
    try:
        table: Any = model.get_input_embeddings()
        return int(table.weight.shape[0])
    except (NotImplementedError, AttributeError):  # such as CANINE, which hashes characters
        return NO_LIMIT


def positions_of(model: PreTrainedModel) -> int:
    """Return how many tokens of one text a model has positions for.

    Models of RoBERTa's kind (MPNet, Longformer, data2vec, X-MOD and others) count from behind the padding's own
    position: their table of positions knows the padding, and its first rows are never a text's.
    """
    for at, part in model.named_modules():
        padding: Any = getattr(part, "padding_idx", None)
        if at.endswith("position_embeddings") and padding is not None:
            table: Any = part
            return int(table.weight.shape[0]) - int(padding) - 1
    positions: Any = getattr(model.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions >= 1 else NO_LIMIT
