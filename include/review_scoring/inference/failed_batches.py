"""Errors in a forward pass: bisects the failed batch, rejects the reviews that fail alone, and scores the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from review_scoring.inference.device import Device, free_memory, is_out_of_memory
from review_scoring.reviews import Reject, RejectReason

log = logging.getLogger(__name__)

Ids: TypeAlias = Sequence[int]
Row: TypeAlias = Sequence[float] | Reject
"""The result of one window: its probabilities, or why it has none."""


class Narrowing:
    """Finds the windows of a failed batch that fail alone.

    :param forward: runs the model over windows
    :param probe: returns a window that the model can always read, to detect a broken device
    """

    def __init__(
        self, forward: Callable[[Sequence[Ids]], torch.Tensor], device: Device, probe: Callable[[], Ids]
    ) -> None:
        self._forward = forward
        self._device = device
        self._probe = probe

    def rows(self, windows: Sequence[Ids], failure: Exception) -> list[Row]:
        """Return a row for each window of a failed batch.

        :raises Exception: the failure, if the model fails on every input, as after an assertion on a CUDA device, which
            this process cannot use any more
        """
        rows = self._halves(windows, failure)
        if isinstance(self._attempted([self._probe()]), Exception):
            raise failure
        if failed := sum(isinstance(row, Reject) and row.reason is RejectReason.MODEL_ERROR for row in rows):
            log.warning(
                "the model failed on %d of %d texts of a batch (%s): they are rejected",
                failed,
                len(rows),
                type(failure).__name__,
            )
        return rows

    def alone(self, window: Ids) -> Row:
        """Run the model over one window that got a non-finite value in its batch."""
        found = self._attempted([window])
        return reject_of(found, len(window), self._device) if isinstance(found, Exception) else found[0]

    def _halves(self, windows: Sequence[Ids], failure: Exception) -> list[Row]:
        if len(windows) == 1:
            return [reject_of(failure, len(windows[0]), self._device)]
        rows: list[Row] = []
        middle = len(windows) // 2
        for part in (windows[:middle], windows[middle:]):
            found = self._attempted(part)
            rows += self._halves(part, found) if isinstance(found, Exception) else found
        return rows

    def _attempted(self, windows: Sequence[Ids]) -> list[Row] | Exception:
        try:
            found: list[Row] = self._forward(windows).tolist()
        except Exception as error:  # noqa: BLE001 the caller rejects the window, or raises if the device is broken
            failure = error
        else:
            return found
        if lacks_memory(failure):
            release_memory(failure, self._device)
        return failure


def lacks_memory(failure: Exception) -> bool:
    """Return whether a batch failed because the device ran out of memory."""
    return isinstance(failure, RuntimeError) and is_out_of_memory(failure)


def release_memory(failure: Exception, device: Device) -> None:
    """Release the tensors of a failed forward pass, which the frames of its traceback keep alive."""
    failure.__traceback__ = None
    free_memory(device)


def reject_of(failure: Exception, tokens: int, device: Device) -> Reject:
    """Return the reject of a window that failed alone. The detail never quotes the error's message."""
    if lacks_memory(failure):
        return Reject(RejectReason.OUT_OF_MEMORY, f"{tokens} tokens do not fit into the memory of {device}")
    return Reject(
        RejectReason.MODEL_ERROR, f"the model failed on the text's {tokens} tokens ({type(failure).__name__})"
    )
