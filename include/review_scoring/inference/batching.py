"""Batch size: a token budget for each forward pass, by its duration and by out-of-memory errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

BATCH_SECONDS = 1.0
"""Target duration of a forward pass. A cancelled run stops between two passes."""

SMALLEST, LARGEST, LARGEST_ON_CPU = 1024, 65_536, 4096
"""Limits of the token budget. On a CPU, larger batches exceed its caches and are slower."""

ENOUGH, ALIKE = 2048, 0.97
"""A padded batch with at least `ENOUGH` tokens, or a quarter of its budget, ends before the first review that is
shorter than `ALIKE` times its longest one.

The padding is then 1.6 % (largest CPU budget) or 2.5 % (GPU) of 1,000 AlloCiné reviews, and 0.8 or 1.5 % of 4,096.
"""


def batch_size(lengths: Sequence[int], token_budget: int, *, padded: bool) -> int:
    """Return the number of reviews, from the first one on, that make a batch of at most `token_budget` tokens.

    :param lengths: token counts of the reviews that are left, longest first: this keeps padding low, and a device with
        too little memory fails at the first batch
    :param padded: whether each review is padded to the longest of its batch
    :returns: at least 1: a review that is longer than the budget is a batch of one
    """
    if padded:
        largest = min(max(1, token_budget // lengths[0]), len(lengths))
        enough = -(-min(ENOUGH, token_budget // 4) // lengths[0])
        return next((n for n in range(enough, largest) if lengths[n] < ALIKE * lengths[0]), largest)
    total = 0
    for n, length in enumerate(lengths):
        total += length
        if total > token_budget:
            return max(1, n)
    return len(lengths)


class TokenBudget:
    """The token budget of the next forward pass: about `BATCH_SECONDS` long, and small enough for the memory."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.tokens = min(SMALLEST, largest)
        self._largest = largest
        self._warned = False

    def took(self, tokens: int, seconds: float) -> None:
        """Adjust the budget to the duration of a batch."""
        fits = int(tokens / max(seconds, 1e-6) * BATCH_SECONDS)
        self.tokens = min(max(SMALLEST, min(fits, 2 * self.tokens)), self._largest)

    def did_not_fit(self, tokens: int) -> None:
        """Halve the budget permanently, after a batch of `tokens` tokens ran out of memory."""
        self._largest = self.tokens = max(tokens // 2, 1)
        if not self._warned:
            log.warning("a batch of %s tokens does not fit into the device's memory: using smaller batches", tokens)
        self._warned = True
