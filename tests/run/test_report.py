"""A night, told to people."""

from __future__ import annotations

from typing import Any

import pytest

from review_scoring.run.report import paragraph, sentence

NIGHT: dict[str, Any] = {
    "job": "films",
    "read": 1205,
    "scored": 1200,
    "unchanged": 0,
    "rejected": 5,
    "labels": {"pos": 300, "neg": 900},
    "model": "french-reviews-small",
    "device": "cpu",
    "seconds": 61.2,
    "reviews_per_second": 19.7,
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {},
            "films: 1,205 reviews read, 1,200 scored (75% neg, 25% pos), 5 rejected. It took 61 s "
            "(19.7 reviews per second while classifying) with french-reviews-small on cpu.",
        ),
        ({"read": 0, "scored": 0, "rejected": 0}, "films: nothing was new, so nothing was scored."),
        (
            {"read": 1, "scored": 0, "rejected": 0, "unchanged": 1, "labels": {}, "device": None},
            "films: 1 review read, 0 scored, 1 unchanged. It took 61 s (19.7 reviews per second while classifying) "
            "with french-reviews-small.",
        ),
    ],
)
def test_a_night_is_summed_up_in_a_paragraph(changed: dict[str, Any], told: str) -> None:
    assert paragraph({**NIGHT, **changed}) == told


def test_a_dry_run_says_that_nothing_was_written() -> None:
    summary = {"job": "films", "dry_run": True, "waiting": 12_000, "tokens": 1_500_000, "seconds": 950}
    assert paragraph(summary) == (
        "films: 12,000 reviews waiting, 1,500,000 tokens, about 950 s to classify. This was a dry run; nothing was "
        "written."
    )
    assert sentence(NIGHT) == "read=1205 scored=1200 unchanged=0 rejected=5"
