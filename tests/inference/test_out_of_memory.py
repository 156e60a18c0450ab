"""Out of memory: batches get smaller, and only a review that does not fit alone is rejected."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import torch

from review_scoring.demo import sample_reviews
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.device import Device
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.reviews import Prediction, Reject

TEXTS = [row["text"] for row in sample_reviews()[:80]]


class SmallDevice:
    """An encoder on a device with memory for a limited number of tokens, padding included."""

    def __init__(self, encoder: object, tokens: int, error: RuntimeError) -> None:
        self._encoder: object = encoder
        self.padded: bool = encoder.padded  # type: ignore[attr-defined]  # both encoders have it
        self._tokens = tokens
        self._error = error
        self.asked: list[int] = []

    def __call__(self, reviews: Sequence[Sequence[int]]) -> torch.Tensor:
        taken = max(map(len, reviews)) * len(reviews) if self.padded else sum(map(len, reviews))
        self.asked.append(taken)
        if taken > self._tokens:
            raise self._error
        logits: torch.Tensor = self._encoder(reviews)  # type: ignore[operator]  # an encoder is called
        return logits


def on_a_small_device(
    tokens: int, *, fused: bool = True, error: RuntimeError | None = None
) -> tuple[Classifier, SmallDevice]:
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32", fused=fused)
    device = SmallDevice(classifier.encoder, tokens, error or torch.OutOfMemoryError("CUDA out of memory"))
    classifier.encoder = device  # type: ignore[assignment]  # a stand-in
    classifier.budget.tokens = 4096
    return classifier, device


@pytest.mark.parametrize("fused", [True, False])
def test_batches_that_do_not_fit_are_halved_and_the_smaller_budget_is_kept(
    fused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    classifier, device = on_a_small_device(700, fused=fused)
    with caplog.at_level(logging.WARNING):
        results = classifier.classify(TEXTS)
        failed = sum(asked > 700 for asked in device.asked)
        again = classifier.classify(TEXTS)
    assert 1 <= failed <= 4
    assert sum(asked > 700 for asked in device.asked) == failed
    assert [record.message for record in caplog.records if "does not fit" in record.message] == [
        f"a batch of {device.asked[0]} tokens does not fit into the device's memory: using smaller batches"
    ]
    expected = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32").classify(TEXTS)
    for one, other, third in zip(results, expected, again, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert isinstance(third, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert third.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_a_review_that_does_not_fit_alone_is_a_reject_and_the_others_are_scored() -> None:
    classifier, _ = on_a_small_device(100)
    results = classifier.classify(["un film " * 300, "bien", "mal"])
    assert [type(result) for result in results] == [Reject, Prediction, Prediction]
    assert isinstance(results[0], Reject)
    assert (results[0].reason, results[0].detail) == (
        "out_of_memory",
        "512 tokens do not fit into the memory of cpu float32",
    )


def test_a_review_that_does_not_fit_when_it_is_computed_again_is_a_reject_too() -> None:
    classifier, _ = on_a_small_device(100)
    encoder = classifier.encoder

    def without_numbers(reviews: Sequence[Sequence[int]]) -> torch.Tensor:
        if len(reviews) == 1 and len(reviews[0]) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits = encoder(reviews)
        return logits if len(reviews) == 1 else torch.full_like(logits, torch.nan)

    without_numbers.padded = False  # type: ignore[attr-defined]  # a stand-in
    classifier.encoder = without_numbers  # type: ignore[assignment]  # likewise
    results = classifier.classify(["un film " * 10, "bien", "mal"])
    assert [type(result) for result in results] == [Reject, Prediction, Prediction]
    assert isinstance(results[0], Reject)
    assert results[0].reason == "out_of_memory"


def test_a_batch_that_does_not_fit_does_not_affect_the_batch_in_flight() -> None:
    classifier, device = on_a_small_device(700)
    classifier.device = Device(torch.device("cuda"), torch.float32)  # its encoder stays where it is
    classifier.budget.tokens = 600
    told: list[int] = []

    def told_to_grow(done: int) -> None:
        told.append(done)
        classifier.budget.tokens = 4096 if len(told) == 2 else classifier.budget.tokens

    results = classifier.classify(TEXTS, between_batches=told_to_grow)
    assert any(asked > 700 for asked in device.asked)
    assert told == sorted(told)
    assert told[-1] == len(TEXTS)
    expected = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32").classify(TEXTS)
    for one, other in zip(results, expected, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_out_of_memory_errors_without_their_own_class_are_recognised_by_message(words: str) -> None:
    classifier, _ = on_a_small_device(700, error=RuntimeError(words))
    assert all(isinstance(result, Prediction) for result in classifier.classify(TEXTS[:20]))


def test_any_other_error_of_the_device_is_raised() -> None:
    classifier, _ = on_a_small_device(0, error=RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        classifier.classify(["bien"])
