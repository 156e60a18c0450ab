"""What a user may define as a job, and what the errors contain."""

from __future__ import annotations

import pytest

from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob


def test_everything_wrong_with_a_job_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        ScoringJob(name="films; --", source_conn_id="", source_table="reviews", id_column="text")
    assert "'films; --'" in str(error.value)
    assert "source_conn_id" in str(error.value)
    assert "both 'text'" in str(error.value)


def test_an_unknown_key_of_a_variable_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"key 'source_table': it is missing; key 'tabel': .* text_column"):
        ScoringJob.from_mapping("films", {"source_conn_id": "db", "tabel": "reviews"})


def test_a_job_that_is_no_object_is_told() -> None:
    with pytest.raises(ConfigurationError, match="expected an object of keys, found a str"):
        ScoringJob.from_mapping("films", "reviews")
