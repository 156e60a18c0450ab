"""Scratch tables in a user's database, where `review-scoring check-connection` tries the promises; dropped afterwards.

All of them have names that begin with `review_scoring_check_`.
"""

from __future__ import annotations

import secrets

PREFIX = "review_scoring_check_"


def scratch_name() -> str:
    """Return a name that nothing else has."""
    return f"{PREFIX}{secrets.token_hex(6)}"
