"""Helpers of the tests: evaluations with given counts, and a scripted classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.evaluation.evaluate import EvaluationRequest, evaluate_model
from review_scoring.evaluation.metrics import Metrics
from review_scoring.evaluation.predictions import CountedPrediction, Predictions
from review_scoring.evaluation.result import EvaluationResult
from review_scoring.models.catalogue_entry import CatalogueEntry
from review_scoring.models.folder import ModelFolder
from review_scoring.request import RunKey
from review_scoring.reviews import Prediction, Reject
from review_scoring.warehouse import migrate
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.records import LabelledPrediction, LabelledReview, StoredSet
from tests.stubs import MODEL

REVIEWS = [LabelledReview(f"r{n:03}", f"review number {n}", "pos" if n % 2 else "neg") for n in range(100)]


def prediction(n: int, expected: str, predicted: str, positive: float, tokens: int = 20) -> CountedPrediction:
    """Return the prediction for one review."""
    row = LabelledPrediction(
        str(n), expected, predicted, predicted, max(positive, 1 - positive), tokens, truncated=False
    )
    return CountedPrediction(row, predicted, positive)


def predictions(each: Sequence[CountedPrediction], *, seconds: float = 10.0, steps: int = 5) -> Predictions:
    """Return the predictions of an evaluation."""
    tokens = sum(judged.row.token_count or 0 for judged in each)
    return Predictions(
        counted=each,
        left_out=[],
        labels={},
        rejects={},
        seconds=seconds,
        steps=steps,
        tokens=tokens,
        device="cpu",
        precision="float32",
    )


def counted(right: Mapping[str, int], support: Mapping[str, int], sure: float = 0.9) -> list[CountedPrediction]:
    """Return predictions with these numbers of correct predictions and of reviews for each class."""
    found: list[CountedPrediction] = []
    for label, other in (("neg", "pos"), ("pos", "neg")):
        for n in range(support[label]):
            predicted = label if n < right[label] else other
            found.append(prediction(len(found), label, predicted, sure if predicted == "pos" else 1 - sure))
    return found


def quick_metrics(right: Mapping[str, int], support: Mapping[str, int]) -> Metrics:
    """Return metrics with counts only, which are fast to make for thousands of verdicts."""
    confusion = {
        label: {label: right[label], other: support[label] - right[label]}
        for label, other in (("neg", "pos"), ("pos", "neg"))
    }
    reviews = sum(support.values())
    block = {"eval_accuracy": sum(right.values()) / reviews}
    return Metrics(reviews=reviews, classes=(), trainer=block, confusion=confusion, tokens_per_second=0.0, breakdown={})


@dataclass
class ScriptedClassifier:
    """A classifier whose result for a text is that of a function: a label, a reject, or probabilities."""

    says: Callable[[str], str | Reject | Sequence[float]]
    labels: tuple[str, ...] = ("neg", "pos")
    device: object = "cpu float32"
    asked: list[str] = field(default_factory=list)

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = lambda done: None
    ) -> list[Prediction | Reject]:
        """Return one result for each text."""
        self.asked += texts
        between_batches(0)
        found = [self._result(text) for text in texts]
        between_batches(len(texts))
        return found

    def _result(self, text: str) -> Prediction | Reject:
        said = self.says(text)
        if isinstance(said, Reject):
            return said
        if isinstance(said, str):
            rest = 0.2 / (len(self.labels) - 1)
            said = [0.8 if label == said else rest for label in self.labels]
        best = max(range(len(said)), key=said.__getitem__)
        return Prediction(self.labels[best], said[best], tuple(said), len(text.split()) + 2, truncated=False)


@dataclass
class Bench:
    """A warehouse with benchmark tables."""

    store: BenchmarkStore
    runs: int = 0

    @classmethod
    def on(cls, engine: Engine) -> Bench:
        """Create the tables in an empty database."""
        migrate.upgrade(engine, None)
        return cls(BenchmarkStore(engine))

    def load(self, reviews: Sequence[LabelledReview] = REVIEWS, name: str = "films", content: str = "a") -> StoredSet:
        """Load a set into the warehouse."""
        return self.store.keep_set(
            name=name,
            content_hash=content * 64,
            source="a test",
            sample_of=None,
            reviews=reviews,
            counts={"neg": 50, "pos": 50},
        )

    def evaluate(
        self,
        loaded: StoredSet,
        wrong: Sequence[str] = (),
        *,
        model: ModelFolder = MODEL,
        classifier: ScriptedClassifier | None = None,
        entry: CatalogueEntry | None = None,
        limit: int | None = None,
        run_id: str | None = None,
    ) -> EvaluationResult:
        """Evaluate a model that is wrong on the reviews with these ids, in a new Airflow run unless one is given."""
        self.runs += 1
        labels = {str(review.text): review for review in self.store.reviews(loaded.id)}

        def says(text: str) -> str:
            review = labels[text]
            return review.label if review.id not in wrong else {"neg": "pos", "pos": "neg"}[review.label]

        request = EvaluationRequest(
            set_id=loaded.id,
            model=model,
            entry=entry,
            key=RunKey("benchmark_models", "evaluate_model", run_id or f"run {self.runs}", 0),
            limit=limit,
        )
        return evaluate_model(
            self.store, request, load_classifier=lambda: classifier or ScriptedClassifier(says), stop=StopFlag()
        )
