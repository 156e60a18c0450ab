"""What a run says while it works."""

from __future__ import annotations

import logging
import time

import pytest

from review_scoring.progress import Progress, line


def test_a_line_tells_done_total_speed_time_left_and_rejects() -> None:
    assert line(1200, 5000, 130.5, 3) == "1,200 of 5,000 reviews, 130.5/s, 0:29 left, 3 rejects"
    assert line(10, 100_000, 1.0, 0) == "10 of 100,000 reviews, 1.0/s, 27:46:30 left, 0 rejects"


def test_without_a_total_no_time_is_guessed() -> None:
    assert line(1200, None, 130.5, 0) == "1,200 reviews, 130.5/s, 0 rejects"


def test_a_short_run_says_nothing_and_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(lambda: pytest.fail("counted"))
    progress.tick(5, 0, 0)
    assert caplog.messages == []


def test_the_total_is_counted_aside_and_told_when_it_is_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(lambda: 90, every_s=0.02)
    for _ in range(3):
        time.sleep(0.03)
        progress.tick(20, 10, 1)
    assert caplog.messages[-1].startswith("20 of 100 reviews, ")


def test_a_count_that_fails_does_not_fail_the_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(lambda: 1 // 0, every_s=0.01)
    for _ in range(3):
        time.sleep(0.02)
        progress.tick(20, 10, 1)
    assert caplog.messages[-1].startswith("20 reviews, ")
