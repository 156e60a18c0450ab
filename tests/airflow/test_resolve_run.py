"""What a conf may say, and what is told of one that it may not."""

from __future__ import annotations

import pytest

from review_scoring.airflow.operators.resolve_run import refuse_unknown_keys
from review_scoring.errors import ConfigurationError

KNOWN = ["dry_run", "model", "limit", "chunk_rows"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("dryrun", "dry_run"), ("dry-run", "dry_run"), ("DRY_RUN", "dry_run"), ("chunkrows", "chunk_rows")],
)
def test_the_nearest_known_key_is_named(key: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"an unknown key: '{key}' .did you mean '{meant}'"):
        refuse_unknown_keys({key: True}, {key: True}, KNOWN)


def test_a_key_that_resembles_none_is_refused_without_a_guess_and_all_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown keys: 'zzz', 'modle' \(did you mean 'model'\?\)\. ") as told:
        refuse_unknown_keys({"zzz": "secret", "modle": "x"}, {}, KNOWN)
    assert "secret" not in str(told.value)


def test_known_keys_and_airflows_own_are_let_through() -> None:
    refuse_unknown_keys({"limit": 3, "airflow/task_span_detail_level": 2}, {"limit": 3}, KNOWN)
    refuse_unknown_keys({}, {"limit": None}, KNOWN)
