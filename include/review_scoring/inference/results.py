"""The label and score of a text from the probabilities of its windows (averaged by tokens), or its reject."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from review_scoring.inference.device import Device
from review_scoring.inference.failed_batches import Row
from review_scoring.inference.tokens import Tokens
from review_scoring.reviews import Prediction, Reject, RejectReason


def result_of(
    tokens: Tokens, found: Sequence[tuple[int, Row]], labels: Sequence[str], device: Device
) -> Prediction | Reject:
    """Return the result of one text.

    :param found: for each window of the text, its number of tokens, and its probabilities or reject
    """
    if tokens.failure is not None:
        return Reject(RejectReason.MODEL_ERROR, f"the model's tokenizer failed on the text ({tokens.failure})")
    if tokens.is_empty:
        return Reject(RejectReason.NO_TOKENS, "the tokenizer finds no tokens in the text")
    rows: list[tuple[int, Sequence[float]]] = []
    for length, row in found:
        if isinstance(row, Reject):
            return row
        rows.append((length, row))
    probabilities = _averaged(rows)
    if not is_finite(probabilities):
        small = " in float16: set precision='float32'" if device.dtype is torch.float16 else ""
        return Reject(RejectReason.NOT_FINITE, f"the model's output is not a finite number{small}")
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return Prediction(
        label=labels[best],
        score=probabilities[best],
        probabilities=tuple(probabilities),
        token_count=tokens.count,
        truncated=tokens.truncated,
    )


def is_finite(row: Sequence[float]) -> bool:
    """Return whether all probabilities are finite numbers."""
    return all(map(math.isfinite, row))


def _averaged(rows: Sequence[tuple[int, Sequence[float]]]) -> Sequence[float]:
    """Average the probabilities of a text's windows, weighted by their tokens."""
    if len(rows) == 1:
        return rows[0][1]
    total = sum(length for length, _ in rows)
    return [sum(length * row[n] for length, row in rows) / total for n in range(len(rows[0][1]))]
