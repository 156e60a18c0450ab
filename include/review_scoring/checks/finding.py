"""What a check has found, before the job's settings say whether it matters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A figure compared with its limit, or the reason why there is nothing to compare.

    :param text: one sentence that names figure and limit; it never quotes a review
    :param is_beyond: whether the figure is beyond its limit
    """

    text: str
    figure: float | None = None
    limit: float | None = None
    is_beyond: bool = False

    @property
    def is_comparable(self) -> bool:
        """Whether there was a figure and a limit to compare it with."""
        return self.figure is not None and self.limit is not None


def percent(share: float) -> str:
    """Return a share such as `12.3%`."""
    return f"{share:.1%}"
