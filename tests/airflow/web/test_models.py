"""The model pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from review_scoring.airflow.web.pages import models as models_page
from review_scoring.models.catalogue import catalogue
from review_scoring.models.catalogue_entry import PublishedFigure
from review_scoring.request import RunKey
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.promotions import Promotion
from review_scoring.warehouse.evaluations.records import ClassMetrics, Evaluation, EvaluationDetails, LabelledReview
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]


def test_models_are_shown_with_their_evaluations_and_the_champion(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    client = pages()
    assert "No model has been evaluated yet" in client.get("/models").text
    warehouse.fill(3)
    warehouse.score()
    name = "french-reviews-small"
    evaluation = evaluate(warehouse, name)
    promotion = Promotion(
        model=name,
        revision="f" * 64,
        benchmark_run_id=evaluation,
        promoted_by="ada",
        approved_by="grace",
        reason="<b>fast</b>",
        dag_id="promote_model",
        dag_run_id="manual",
    )
    job = warehouse.run("SELECT id FROM scoring_jobs WHERE name = 'films'")[0][0]
    BenchmarkStore(warehouse.engine).promote(job, promotion)
    listed = client.get("/models").text
    who = "promoted by <bdi>ada</bdi>, approved by <bdi>grace</bdi>, on "
    for words in ("champion", "evaluated", "90.5", "no reference", "first run", who):
        assert words in listed
    assert "<b>fast" not in listed
    shown = client.get("/model", params={"name": name}).text
    for words in (
        "Confusion matrix",
        "Reliability",
        "History",
        "weighted avg",
        "../dags/benchmark_models/runs/week%201",
        f"<dt>Evaluation</dt><dd>{evaluation}</dd>",
        f'<td class="n">{evaluation}</td>',
    ):
        assert words in shown
    assert "Not evaluated yet" in client.get("/model?name=allocine-camembert").text
    assert client.get("/model?name=nothing").status_code == 404


def test_unverified_models_and_evaluations_of_another_revision_are_marked(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(1)
    warehouse.score()
    name = "french-reviews-small"
    entry = catalogue()[name].model_copy(update={"unverified": True})
    monkeypatch.setattr(models_page, "_catalogue", lambda: {name: entry})
    evaluation = evaluate(warehouse, name)
    job = warehouse.run("SELECT id FROM scoring_jobs WHERE name = 'films'")[0][0]
    client = pages()
    who: dict[str, Any] = {"promoted_by": "ada", "reason": "fast", "dag_id": "promote_model"}
    for revision, shows_it in (("f" * 64, False), ("e" * 64, True)):
        promotion = Promotion(model=name, revision=revision, dag_run_id=revision[0], benchmark_run_id=evaluation, **who)
        BenchmarkStore(warehouse.engine).promote(job, promotion)
        listed, shown = client.get("/models").text, client.get("/model", params={"name": name}).text
        assert ("not the champion's" in listed) is shows_it
        assert ("this is an evaluation of another revision" in shown) is shows_it
        assert listed.count("state-unverified") == 2, "next to the champion's name, and in the catalogue"
        assert "state-unverified" in shown


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("0.9093", "90.93 %"), ("0.96915", "96.915 %"), ("0.95", "95 %"), ("1.0", "100 %"), ("n/a", "n/a")],
)
def test_published_accuracy_is_shown_in_percent(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, printed: str, shown: str
) -> None:
    warehouse.create()
    name = "french-reviews-small"
    entry = catalogue()[name].model_copy(update={"figures": (PublishedFigure(metric="accuracy", value=printed),)})
    monkeypatch.setattr(models_page, "_catalogue", lambda: {name: entry})
    listed = pages().get("/models").text.replace("\N{NO-BREAK SPACE}", " ")
    assert f'<td class="n">{shown}' in listed


def evaluate(warehouse: Warehouse, model: str) -> int:
    """Store an evaluation with made-up metrics."""
    store = BenchmarkStore(warehouse.engine)
    loaded = store.keep_set(
        name="sample",
        content_hash="0" * 64,
        source="a test",
        sample_of=None,
        reviews=[LabelledReview("1", "texte", "neg")],
        counts={"neg": 1, "pos": 0},
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    numbers: Any = {"reviews": 200, "rejected": 0, "accuracy": 0.905, "macro_f1": 0.9, "loss": 0.3}
    speed: Any = {"samples_per_second": 130.0, "tokens_per_second": 9000.0, "device": "cpu", "precision": "float32"}
    verdicts: Any = {"reference_verdict": "no reference", "last_run_verdict": "first run", "passed": True}
    evaluation = Evaluation(
        set_id=loaded.id,
        model=model,
        revision="f" * 64,
        row_limit=None,
        compared_with=None,
        explanation="nothing to compare with",
        started_at=at,
        ended_at=at,
        **numbers,
        **speed,
        **verdicts,
    )
    bins = [{"from": 0.9, "to": 0.95, "reviews": 200, "confidence": 0.92, "accuracy": 0.905}]
    metrics = {
        "confusion": {"neg": {"neg": 90, "pos": 10}, "pos": {"neg": 9, "pos": 91}},
        "intervals": {"accuracy": [0.85, 0.94]},
        "calibration": {"ece": 0.015, "bins": bins},
    }
    classes = [
        ClassMetrics(label=label, precision=0.9, recall=0.9, f1=0.9, support=100)
        for label in ("neg", "pos", "macro avg", "weighted avg")
    ]
    key = RunKey("benchmark_models", "evaluate_model", "week 1", 0)
    return store.record(key, evaluation, EvaluationDetails(classes, metrics), [])
