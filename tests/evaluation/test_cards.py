"""Metrics equal the figures of the model cards for predictions with the same counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from sklearn.metrics import classification_report

from review_scoring.evaluation.metrics import metrics_of
from review_scoring.evaluation.published import references_of
from review_scoring.evaluation.text_tables import class_table_text
from review_scoring.models.catalogue import find_entry
from tests.evaluation.synthetic import counted, predictions

BERT = """\
              precision    recall  f1-score   support

         neg       0.95      0.96      0.96     10294
         pos       0.96      0.95      0.95      9706

    accuracy                           0.95     20000
   macro avg       0.95      0.95      0.95     20000
weighted avg       0.95      0.95      0.95     20000"""

DISTILBERT = """\
              precision    recall  f1-score   support

         neg       0.95      0.96      0.95     10269
         pos       0.96      0.94      0.95      9731

    accuracy                           0.95     20000
   macro avg       0.95      0.95      0.95     20000
weighted avg       0.95      0.95      0.95     20000"""


@pytest.mark.parametrize(
    ("model", "card"), [("allocine-bert-multilingual", BERT), ("allocine-distilbert-multilingual", DISTILBERT)]
)
def test_predictions_with_a_cards_counts_give_the_cards_table_digit_for_digit(model: str, card: str) -> None:
    accuracy, neg, pos = references_of(find_entry(model), "allocine")
    support = {"neg": neg.reviews, "pos": pos.reviews}
    # Of the counts that give every printed digit, the middle of neg's and what the accuracy then leaves for pos.
    right_neg = (neg.lowest + neg.highest) // 2
    right_pos = (accuracy.lowest + accuracy.highest) // 2 - right_neg
    assert pos.lowest <= right_pos <= pos.highest
    metrics = metrics_of(predictions(counted({"neg": right_neg, "pos": right_pos}, support)))
    assert class_table_text(metrics.classes, metrics.accuracy) == card


def test_the_table_is_that_of_scikit_learn_to_any_digit() -> None:
    each = counted({"neg": 61, "pos": 97}, {"neg": 103, "pos": 101})
    metrics = metrics_of(predictions(each))
    expected = [judged.row.expected for judged in each]
    predicted = [judged.predicted for judged in each]
    for digits in (2, 4):
        theirs = classification_report(expected, predicted, digits=digits)
        assert class_table_text(metrics.classes, metrics.accuracy, digits) == theirs.rstrip("\n")


def test_predictions_with_the_xlm_roberta_cards_counts_give_its_block() -> None:
    card = {f.metric: float(f.value) for f in find_entry("allocine-xlm-roberta-base").figures}
    (accuracy,) = references_of(find_entry("allocine-xlm-roberta-base"), "allocine")
    assert (accuracy.lowest, accuracy.highest, accuracy.reviews) == (19383, 19383, 20_000)
    # Wrong answers with the confidence 0.6, right ones with the one at which the mean cross entropy is the card's.
    wrong = 617 / 20_000
    sure = math.exp(-(card["eval_loss"] + wrong * math.log(0.4)) / (1 - wrong))
    each = counted({"neg": 9_683, "pos": 9_700}, {"neg": 10_000, "pos": 10_000}, sure)
    doubtful = {"neg": 0.4, "pos": 0.6}
    each = [j if j.predicted == j.row.expected else replace(j, positive=doubtful[j.predicted]) for j in each]
    block = dict(metrics_of(predictions(each, seconds=256.0691, steps=math.ceil(20_000 / 16))).trainer)
    assert block.pop("eval_loss") == pytest.approx(card.pop("eval_loss"), abs=1e-12)
    card.pop("epoch")  # of the training, which no evaluation knows
    assert block == card


def test_micro_averages_equal_the_accuracy() -> None:
    block = metrics_of(predictions(counted({"neg": 3, "pos": 8}, {"neg": 7, "pos": 9}))).trainer
    assert {block[f"eval_{name}"] for name in ("accuracy", "f1", "precision", "recall")} == {11 / 16}


def test_the_supports_of_the_cards_show_that_they_were_not_measured_on_the_same_rows() -> None:
    """As docs/benchmarks.md states: 52.0 % of the test split are neg according to its card, unlike in both tables."""
    shares = [
        references_of(find_entry(f"allocine-{name}-multilingual"), "allocine")[1].reviews / 20_000
        for name in ("bert", "distilbert")
    ]
    assert [f"{share:.2%}" for share in shares] == ["51.47%", "51.34%"]
