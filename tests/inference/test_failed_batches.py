"""A review on which the model fails is rejected and does not end the run; a broken device ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine
from tokenizers import AddedToken, Tokenizer

from review_scoring.inference.classifier import Classifier
from review_scoring.inference.device import Device
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject, RejectReason
from tests.inference.architectures import random_model
from tests.stubs import Warehouse

TEXTS = ["Un film magnifique.", "bien", "Quel ennui, deux heures perdues.", "secret", "mal", "Bof, sans plus."]
POISON = TEXTS.index("secret")


def loaded(**options: Any) -> Classifier:
    return Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32", **options)


class Failing:
    """An encoder that fails on batches that match a condition.

    :param fails: called with a batch's token ids and the number of earlier batches
    """

    def __init__(self, classifier: Classifier, fails: Callable[[Sequence[Sequence[int]], int], bool]) -> None:
        self._encoder = classifier.encoder
        self.padded = classifier.encoder.padded
        self._fails = fails
        self.batches = 0
        classifier.encoder = self  # type: ignore[assignment]  # a stand-in

    def __call__(self, reviews: Sequence[Sequence[int]]) -> torch.Tensor:
        self.batches += 1
        if self._fails(reviews, self.batches - 1):
            raise RuntimeError("the words of the error: secret")
        return self._encoder(reviews)


def ids_of(classifier: Classifier, text: str) -> list[int]:
    return classifier.tokeniser.tokenise([text])[0].windows[0]


@pytest.mark.parametrize("fused", [True, False])
def test_a_review_that_fails_alone_is_a_reject_and_the_others_get_their_scores(fused: bool) -> None:
    classifier = loaded(fused=fused)
    expected = classifier.classify(TEXTS)
    poison = ids_of(classifier, TEXTS[POISON])
    encoder = Failing(classifier, lambda reviews, before: poison in reviews)
    results = classifier.classify(TEXTS)
    assert [n for n, each in enumerate(results) if isinstance(each, Reject)] == [POISON]
    for mine, theirs in zip(results, expected, strict=True):
        if isinstance(mine, Prediction) and isinstance(theirs, Prediction):
            assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)
    assert encoder.batches < 2 * len(TEXTS)


def test_the_detail_of_a_model_error_has_the_class_of_the_error_but_not_its_message() -> None:
    classifier = loaded()
    poison = ids_of(classifier, TEXTS[POISON])
    Failing(classifier, lambda reviews, before: poison in reviews)
    detail = f"the model failed on the text's {len(poison)} tokens (RuntimeError)"
    assert classifier.classify([TEXTS[POISON]]) == [Reject(RejectReason.MODEL_ERROR, detail)]


def test_a_failure_of_one_window_rejects_only_its_text() -> None:
    classifier = loaded(long_texts="windows")
    Failing(classifier, lambda reviews, before: any(len(ids) < 500 and len(ids) > 20 for ids in reviews))
    results = classifier.classify(["un beau film " * 200, "bien"])
    assert [type(each) for each in results] == [Reject, Prediction]


def test_a_batch_that_fails_only_together_is_scored() -> None:
    classifier = loaded()
    Failing(classifier, lambda reviews, before: len(reviews) > 1)
    assert all(isinstance(each, Prediction) for each in classifier.classify(TEXTS))


@pytest.mark.parametrize("working", [0, 1])
def test_a_broken_device_ends_the_run_with_its_error_and_rejects_nothing(working: int) -> None:
    classifier = loaded()
    classifier.budget.tokens = 20
    Failing(classifier, lambda reviews, before: before >= working)
    with pytest.raises(RuntimeError, match="the words of the error"):
        classifier.classify(TEXTS)


def test_a_device_that_breaks_during_the_bisection_ends_the_run_too() -> None:
    classifier = loaded()
    Failing(classifier, lambda reviews, before: before == 0 or before > 2)
    with pytest.raises(RuntimeError, match="the words of the error"):
        classifier.classify(TEXTS)


def test_a_timeout_does_not_reject_reviews() -> None:
    class Timeout(BaseException):
        """Like Airflow's timeout, which a signal raises during a forward pass."""

    def ring(reviews: Sequence[Sequence[int]], before: int) -> bool:
        raise Timeout

    classifier = loaded()
    Failing(classifier, ring)
    with pytest.raises(Timeout):
        classifier.classify(TEXTS)


def test_a_review_on_which_the_model_fails_does_not_end_the_run(sqlite_engine: Engine) -> None:
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    warehouse.insert(*enumerate(TEXTS))
    classifier = loaded()
    poison = ids_of(classifier, TEXTS[POISON])
    Failing(classifier, lambda reviews, before: poison in reviews)
    warehouse.classifier = classifier  # type: ignore[assignment]  # the real one
    assert str(warehouse.score().counts) == "read=6 scored=5 unchanged=0 rejected=1"
    assert {review_id: row.reason for review_id, row in warehouse.rejects().items()} == {str(POISON): "model_error"}
    assert warehouse.score("night 2").counts.read == 0


def test_an_asynchronous_error_of_cuda_is_bisected_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = loaded()
    forward = classifier.forward
    poison = ids_of(classifier, TEXTS[POISON])

    class Late:
        def cpu(self) -> torch.Tensor:
            raise RuntimeError("an asynchronous error")

        tolist = cpu

    monkeypatch.setattr(classifier, "forward", lambda ids: Late() if poison in ids else forward(ids))
    classifier.device = Device(torch.device("cuda"), torch.float32)  # its encoder stays where it is
    results = classifier.classify(TEXTS)
    assert [n for n, each in enumerate(results) if isinstance(each, Reject)] == [POISON]


def with_one_token_more(folder: Path, kind: str) -> ModelFolder:
    """Write a model whose tokenizer has a token without an embedding."""
    made = random_model(folder, kind)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("😡")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return made


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_a_token_without_an_embedding_never_reaches_the_device(kind: str, tmp_path: Path) -> None:
    classifier = Classifier.load(with_one_token_more(tmp_path, kind), device="cpu", precision="float32")
    seen: list[int] = []
    Failing(classifier, lambda reviews, before: seen.extend(i for ids in reviews for i in ids) or False)  # type: ignore[func-returns-value]  # nothing
    told: list[int] = []
    results = classifier.classify(["bien", "Nul 😡", "mal"], between_batches=told.append)
    assert [type(each) for each in results] == [Prediction, Reject, Prediction]
    assert max(seen) < classifier.vocabulary
    assert told[-1] == 3


class Brittle:
    """A tokenizer that fails on texts with a certain word, by a panic in Rust or a missing unknown token."""

    def __init__(self, tokenizer: Any, word: str, error: type[BaseException]) -> None:
        self._tokenizer = tokenizer
        self._word = word
        self._error = error

    def encode(self, text: str) -> Any:
        if self._word in text:
            raise self._error("a message with the text: " + text)
        return self._tokenizer.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        return [self.encode(text) for text in texts]


class PanicException(BaseException):
    """Like the class of pyo3, not an `Exception`."""


@pytest.mark.parametrize("error", [Exception, PanicException])
@pytest.mark.parametrize("long_texts", ["truncate", "windows"])
def test_a_text_on_which_the_tokenizer_fails_is_a_reject(error: type[BaseException], long_texts: str) -> None:
    classifier = loaded(long_texts=long_texts)
    classifier.tokeniser._tokenizer = Brittle(classifier.tokeniser._tokenizer, "secret", error)  # type: ignore[assignment]  # a stand-in
    told: list[int] = []
    results = classifier.classify([*TEXTS, "un secret " * 30_000], between_batches=told.append)
    assert [n for n, each in enumerate(results) if isinstance(each, Reject)] == [POISON, len(TEXTS)]
    detail = f"the model's tokenizer failed on the text ({error.__name__})"
    assert results[POISON] == Reject(RejectReason.MODEL_ERROR, detail)
    assert told[-1] == len(TEXTS) + 1
    assert classifier.count_tokens(["un secret"]) == 0


def test_a_tokenizer_that_fails_on_every_text_ends_the_run() -> None:
    classifier = loaded()
    brittle = Brittle(classifier.tokeniser._tokenizer, "", ValueError)
    classifier.tokeniser._tokenizer = brittle  # type: ignore[assignment]  # a stand-in
    with pytest.raises(ValueError, match="a message"):
        classifier.classify(["bien"])


@pytest.mark.parametrize(
    "kind", ["mpnet", "data2vec-text", "xmod", "ibert", "longformer", "roberta", "roberta-prelayernorm", "bert", "gpt2"]
)
def test_a_text_of_maximum_length_is_scored_by_models_whose_positions_start_after_the_padding(
    kind: str, tmp_path: Path
) -> None:
    changes = {"n_positions": 130} if kind == "gpt2" else {"max_position_embeddings": 130}
    classifier = Classifier.load(random_model(tmp_path, kind, **changes), device="cpu", precision="float32")
    (result,) = classifier.classify(["mot " * 400])
    assert isinstance(result, Prediction)
    assert (result.token_count, result.truncated) == (130 if kind in {"bert", "gpt2"} else 128, True)
