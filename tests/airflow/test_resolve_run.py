"""Checks of a run's conf: unknown keys are refused, with a hint for similar ones."""

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


def test_all_unknown_keys_are_named_at_once_with_a_hint_only_for_similar_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown keys: 'zzz', 'modle' \(did you mean 'model'\?\)\. ") as told:
        refuse_unknown_keys({"zzz": "secret", "modle": "x"}, {}, KNOWN)
    assert "secret" not in str(told.value)


def test_known_keys_and_airflows_own_are_accepted() -> None:
    refuse_unknown_keys({"limit": 3, "airflow/task_span_detail_level": 2}, {"limit": 3}, KNOWN)
    refuse_unknown_keys({}, {"limit": None}, KNOWN)
