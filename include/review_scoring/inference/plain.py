"""The padded forward pass through transformers' modules: the reviews of a batch are padded to the longest.

It supports every model that :func:`review_scoring.inference.loading.load_model` loads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from review_scoring.inference.device import Device


class PlainEncoder:
    """Padded forward passes of any sequence classifier of transformers."""

    padded = True

    def __init__(self, model: PreTrainedModel, device: Device) -> None:
        self._model = model
        self._device = device
        self._pad_id: int = model.config.pad_token_id or 0

    def __call__(self, reviews: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run one batch.

        :param reviews: the token ids of each, special tokens included
        :returns: logits, of shape (reviews, outputs), on the device
        """
        longest = max(map(len, reviews))
        input_ids = torch.full((len(reviews), longest), self._pad_id)
        mask = torch.zeros((len(reviews), longest), dtype=torch.long)
        for n, row in enumerate(reviews):
            input_ids[n, : len(row)] = torch.tensor(row)
            mask[n, : len(row)] = 1
        output = self._model(input_ids=self._device.copy(input_ids), attention_mask=self._device.copy(mask))
        logits: torch.Tensor = output.logits
        return logits
