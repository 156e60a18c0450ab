"""Limits of a loaded model: the size of its vocabulary, and the maximum length of a text (positions)."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

NO_LIMIT = 2**31
"""The limit of a model without one, such as T5, which has relative positions."""


def vocabulary_of(model: PreTrainedModel) -> int:
    """Return the number of tokens that a model has embeddings for; a larger token id fails the forward pass."""
    try:
        table: Any = model.get_input_embeddings()
        return int(table.weight.shape[0])
    except (NotImplementedError, AttributeError):  # for example CANINE, which hashes characters
        return NO_LIMIT


def positions_of(model: PreTrainedModel) -> int:
    """Return the maximum number of tokens of a text, by the model's position embeddings.

    In RoBERTa and the models derived from it (MPNet, Longformer, data2vec, X-MOD and others), the embedding table has a
    `padding_idx`, and the positions of a text start after it. The rows up to it are not available to texts.
    """
    for at, part in model.named_modules():
        padding: Any = getattr(part, "padding_idx", None)
        if at.endswith("position_embeddings") and padding is not None:
            table: Any = part
            return int(table.weight.shape[0]) - int(padding) - 1
    positions: Any = getattr(model.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions >= 1 else NO_LIMIT
