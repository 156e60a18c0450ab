"""One truth table for every setting and parameter that is on or off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from airflow.sdk import DAG

from review_scoring.airflow.config import settings
from review_scoring.airflow.operators import base
from review_scoring.airflow.operators.score_reviews import ScoreReviewsOperator
from review_scoring.errors import ConfigurationError
from review_scoring.evaluation.champion import as_required
from review_scoring.settings import as_bool, truth

ON = [True, 1, "1", "true", "True", " YES ", "on"]
OFF = [False, 0, None, "0", "false", "False", "No", "off", "OFF", "none", "None", "", "  "]


def estimated_only(value: object, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return what a scoring task makes of `estimate_only`."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(base, "preflight", lambda *_, **options: asked.update(options))
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
        job = {"name": "films", "source_conn_id": "reviews", "source_table": "reviews"}
        task = ScoreReviewsOperator(task_id="score", job=job, estimate_only=value)
    task.prepare()
    return bool(asked["dry_run"])


@pytest.mark.parametrize("value", ON)
def test_what_is_on_is_on_everywhere(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert truth(value) is True
    assert estimated_only(value, monkeypatch)
    assert as_required(value if isinstance(value, bool) else str(value)) == "any"
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__HIDE_TEXTS", str(value))
    assert settings().hide_texts


@pytest.mark.parametrize("value", OFF)
def test_what_is_off_is_off_everywhere(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert truth(value) is False
    assert not estimated_only(value, monkeypatch)
    assert as_required(value if isinstance(value, bool) or value is None else str(value)) is None
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__HIDE_TEXTS", str(value))
    assert not settings().hide_texts


@pytest.mark.parametrize("convert", [as_bool])
def test_what_is_neither_is_refused_by_name(convert: Callable[[object, str], bool]) -> None:
    with pytest.raises(ConfigurationError, match="dry_run is 'perhaps'; it must be on .true, 1, yes, on. or off"):
        convert("perhaps", "dry_run")


def test_texts_are_hidden_when_it_is_not_clear_whether_they_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__HIDE_TEXTS", "perhaps")
    assert settings().hide_texts
