"""How many reviews go through the model together, by what it takes and what fits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

BATCH_SECONDS = 1.0
"""What one forward pass may take: a run that is told to stop looks up between them."""

SMALLEST, LARGEST, LARGEST_ON_CPU = 1024, 65_536, 4096
"""Tokens of one forward pass. On a CPU, larger batches leave its caches and are slower."""

ENOUGH, ALIKE = 2048, 0.97
"""A padded batch of so many tokens, or a quarter of its budget, ends at a review with less than this share of its
first's.

Of 1,000 AlloCiné reviews that adds 1.6 % of padding at a CPU's largest budget and 2.5 % at a GPU's; of 4,096, 0.8 and
1.5 %.
"""


def batch_size(lengths: Sequence[int], token_budget: int, *, padded: bool) -> int:
    """Return how many of the first reviews make one batch of at most `token_budget` tokens.

    :param lengths: tokens of the reviews that wait, longest first: so little is padded, and a device that is too small
        shows it at the first batch
    :param padded: whether each review takes as many tokens as the longest of its batch
    :returns: at least 1: a review that is longer than the budget goes alone
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
    """Tokens of the next forward pass: what takes about `BATCH_SECONDS`, and no more than fits into memory."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.tokens = min(SMALLEST, largest)
        self._largest = largest
        self._told = False

    def took(self, tokens: int, seconds: float) -> None:
        """Learn how long a batch took."""
        fits = int(tokens / max(seconds, 1e-6) * BATCH_SECONDS)
        self.tokens = min(max(SMALLEST, min(fits, 2 * self.tokens)), self._largest)

    def did_not_fit(self, tokens: int) -> None:
        """Halve the budget for good, after a batch of so many tokens did not fit into the device's memory."""
        self._largest = self.tokens = max(tokens // 2, 1)
        if not self._told:
            log.warning("a batch of %s tokens does not fit into the device's memory: smaller ones from now on", tokens)
        self._told = True
