"""The form of the DAG import_model, and operators with a model folder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from airflow.sdk import DAG

from review_scoring.airflow.dags.importing import create_import_dag
from review_scoring.airflow.operators.score_reviews import ScoreReviewsOperator
from review_scoring.models.catalogue import DEFAULT_MODEL
from tests.models.own_catalogue import MINIATURES, settings


def test_the_form_of_imports_offers_every_model_but_the_bundled_and_marks_the_unverified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(settings(tmp_path).catalogue))
    schema = create_import_dag().params.get_param("model").schema
    assert DEFAULT_MODEL not in schema["enum"]
    assert set(MINIATURES) < set(schema["enum"]) == schema["values_display"].keys()
    assert schema["values_display"]["allocine-bert-multilingual"].endswith("(unverified)")
    assert schema["values_display"]["mini-bert"] == "A miniature, for tests"


def test_a_folder_stays_a_folder_when_the_operators_fields_are_rendered() -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
        operator = ScoreReviewsOperator(task_id="score", job="films", model=Path("/mnt/models/mine"))
    operator.render_template_fields({})
    assert operator.model == Path("/mnt/models/mine")
