"""What the errors say."""

from __future__ import annotations

from review_scoring.errors import PreflightError


def test_a_problem_that_was_found_twice_is_told_once() -> None:
    told = PreflightError(["there is no Airflow Connection 'a'", "no table", "there is no Airflow Connection 'a'"])
    assert told.problems == ("there is no Airflow Connection 'a'", "no table")
    assert "preflight found 2 problems:" in str(told)
