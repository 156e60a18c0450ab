"""In float32, metrics equal those of `transformers.Trainer.evaluate` on the same model and reviews, loss included."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.evaluation.benchmark_sets import find_set
from review_scoring.evaluation.labelled_set import read_set
from review_scoring.evaluation.metrics import metrics_of
from review_scoring.evaluation.predictions import predict
from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.warehouse.evaluations.records import LabelledReview
from tests.conftest import LONG_FORM

COMPARED = ("eval_loss", "eval_accuracy", "eval_f1", "eval_precision", "eval_recall")

REAL = """
[allocine-sample]
title = "1,367 rows of AlloCiné's test split"
kind = "file"
path = "{path}"
id_column = "review_id"
text_column = "review_text"
label_column = "label"
labels = {{ neg = "neg", pos = "pos" }}
sample_of = "allocine"
"""


def no_engine(conn_id: str) -> Any:
    raise AssertionError(conn_id)


def theirs(folder: ModelFolder, reviews: list[LabelledReview], work: Path) -> dict[str, float]:
    """Return the metrics of the Trainer."""
    tokenizer: Any = cast("Any", PreTrainedTokenizerFast)(tokenizer_file=str(folder.path / "tokenizer.json"))
    model = AutoModelForSequenceClassification.from_pretrained(folder.path, dtype=torch.float32)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    # Sorted by length, which changes no figure and pads little.
    encoded = [
        {**tokenizer(str(r.text), truncation=True, max_length=512), "labels": folder.labels.index(r.label)}
        for r in sorted(reviews, key=lambda review: len(str(review.text)))
    ]

    def metrics(found: Any) -> dict[str, float]:
        predicted = found.predictions.argmax(axis=-1)
        averages = precision_recall_fscore_support(found.label_ids, predicted, average="micro")
        names = ("precision", "recall", "f1")
        values = dict(zip(names, map(float, averages[:3]), strict=True))
        return {"accuracy": float(accuracy_score(found.label_ids, predicted)), **values}

    arguments = TrainingArguments(
        output_dir=str(work), per_device_eval_batch_size=16, use_cpu=True, report_to=[], disable_tqdm=True
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorWithPadding(tokenizer),
        eval_dataset=encoded,
        compute_metrics=metrics,
    )
    return dict(trainer.evaluate())


def ours(folder: ModelFolder, reviews: list[LabelledReview]) -> dict[str, float]:
    """Return the metrics of an evaluation."""
    classifier = Classifier.load(folder, device="cpu", precision="float32")
    return dict(metrics_of(predict(reviews, classifier, StopFlag())).trainer)


def assert_equal(mine: dict[str, float], their: dict[str, float]) -> None:
    for name in COMPARED:
        print(f"{name}: {mine[name]:.6f}, Trainer.evaluate: {their[name]:.6f}")
        assert mine[name] == pytest.approx(their[name], abs=1e-4)


def test_figures_equal_the_trainers_on_sample_reviews(tmp_path: Path) -> None:
    found = read_set(find_set("sample"), no_engine)
    reviews = sorted(found.reviews, key=lambda review: len(review.text or ""))[:150:2]
    folder = find_model(DEFAULT_MODEL)
    assert_equal(ours(folder, reviews), theirs(folder, reviews, tmp_path))


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=LONG_FORM)])
def test_figures_equal_the_trainers_on_the_real_sample(allocine: Path, tmp_path: Path, every: int) -> None:
    own = tmp_path / "sets.toml"
    own.write_text(REAL.format(path=allocine / "allocine_test_sample.csv"), encoding="utf-8")
    sample = list(read_set(find_set("allocine-sample", own), no_engine).reviews)
    folder = find_model(DEFAULT_MODEL)
    reviews = sample[::every]
    mine = ours(folder, reviews)
    assert len(sample) == 1367
    if every == 1:
        assert mine["eval_accuracy"] == pytest.approx(0.9093, abs=5e-5)  # the model's card
    assert_equal(mine, theirs(folder, reviews, tmp_path))
