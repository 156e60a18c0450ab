"""What a Connection is tried as."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a Connection is used for."""

    SOURCE = "source"
    LEDGER = "ledger"
    PUBLISH = "publish"
