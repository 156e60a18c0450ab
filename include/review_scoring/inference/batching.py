"""How many texts go through the model together."""

from __future__ import annotations

from collections.abc import Sequence


def batch_size(lengths: Sequence[int], token_budget: int) -> int:
    """Return how many of the first texts make one batch: padded to the first, at most `token_budget` tokens.

    :param lengths: tokens of the texts that wait, longest first, so that little is padded, and a device that is too
        small shows it at the first batch
    :returns: at least 1: a text that is longer than the budget goes alone
    """
    fits = max(1, token_budget // lengths[0])
    return min(fits, len(lengths))
