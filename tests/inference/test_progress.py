"""The progress lines of a run."""

from __future__ import annotations

import logging
import time

import pytest

from review_scoring.inference.progress import Progress, line


def test_a_line_has_done_total_speed_time_left_and_rejects() -> None:
    assert line(1200, 5000, 130.5, 3, 29.1) == "1,200 of 5,000 reviews, 130.5/s, 0:29 left, 3 rejects"
    assert line(10, 100_000, 1.0, 0, 99_990) == "10 of 100,000 reviews, 1.0/s, 27:46:30 left, 0 rejects"


def test_without_a_total_there_is_no_time_left() -> None:
    assert line(1200, None, 130.5, 0) == "1,200 reviews, 130.5/s, 0 rejects"


def test_a_short_run_logs_no_progress_and_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(lambda: pytest.fail("counted"))
    progress.tick(5, 0, 0)
    assert caplog.messages == []


def test_the_total_is_counted_in_the_background_and_logged_when_known(caplog: pytest.LogCaptureFixture) -> None:
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


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("review_scoring.inference.progress.time.monotonic", lambda: self.now)


def told(progress: Progress, caplog: pytest.LogCaptureFixture, *args: int, of_chunk: int) -> str:
    """Return the line that a tick logs when the total is known."""
    progress.tick(*args, done_of_chunk=of_chunk)
    while progress._known_total() is None:
        time.sleep(0.01)
    progress.tick(*args, done_of_chunk=of_chunk)
    return caplog.messages[-1]


def test_time_left_is_estimated_by_tokens_since_the_longest_reviews_go_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(monkeypatch)
    progress = Progress(lambda: 100, every_s=0.0)
    progress.begin_chunk(100, 100, [10] * 90 + [500] * 10)
    clock.now += 50  # a hundred tokens a second: the ten longest are done, and 900 tokens are left
    assert told(progress, caplog, 10, 0, 0, of_chunk=10) == "10 of 100 reviews, 0.2/s, 0:09 left, 0 rejects"


def test_reviews_that_are_not_read_yet_are_assumed_to_be_as_long_as_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(monkeypatch)
    progress = Progress(lambda: 300, every_s=0.0)
    progress.begin_chunk(100, 100, [10] * 100)
    clock.now += 10
    progress.begin_chunk(100, 50, [20] * 50)  # half of its reviews are rejected
    assert told(progress, caplog, 100, 0, 0, of_chunk=0).split(", ")[2] == "0:20 left"
    clock.now += 5
    assert told(progress, caplog, 150, 0, 0, of_chunk=25).split(", ")[2] == "0:15 left"


def test_the_speed_excludes_loading_the_model(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(monkeypatch)
    progress = Progress(lambda: 40, every_s=0.0)
    clock.now += 60  # the model is loaded
    progress.begin_chunk(40, 40, [10] * 40)
    clock.now += 2
    assert told(progress, caplog, 20, 0, 0, of_chunk=20) == "20 of 40 reviews, 10.0/s, 0:02 left, 0 rejects"


def test_texts_that_are_not_tokenised_yet_are_assumed_to_be_like_the_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(monkeypatch)
    progress = Progress(lambda: 200, every_s=0.0)
    progress.begin_chunk(200, 200, [10] * 50 + [30] * 50)
    clock.now += 20
    assert told(progress, caplog, 100, 0, 0, of_chunk=100).split(", ")[2] == "0:20 left"
