"""Promise 5: a review's score depends on its own text, whatever is classified beside it, and in whichever way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from review_scoring.demo import sample_reviews
from review_scoring.inference import packed as packing
from review_scoring.inference.batching import batch_size
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.packed import ROUND_REVIEWS, ROUND_TOKENS, PackedEncoder
from review_scoring.inference.plain import PlainEncoder
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject
from tests.inference.architectures import ARCHITECTURES, random_model

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
"""Promise 5 of docs/architecture.md."""

TEXTS = [
    *(row["text"][:400] for row in sample_reviews()[:12]),
    "bien",
    "bien mal",
    "mal bien",
    "bien <pad> mal",
    "un film " * 400,
]
"""Short ones for the most part, and some of the same length: neighbours whose attention is one call."""


@dataclass
class Case:
    """A classifier, and what it and transformers' own modules say of each text alone."""

    classifier: Classifier
    tolerance: float
    alone: dict[str, Prediction]
    plain: dict[str, Prediction]
    compared: int = 0
    flips: int = 0


@pytest.fixture(scope="module", params=["bundled", *ARCHITECTURES])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    if request.param == "bundled":
        return find_model(DEFAULT_MODEL)
    return random_model(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module", params=["packed", "padded"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=sorted(TOLERANCE))
def case(request: pytest.FixtureRequest, folder: ModelFolder, way: str) -> Iterator[Case]:
    precision = request.param
    classifier = Classifier.load(folder, device="cpu", precision=precision, fused=way == "packed")
    plain = Classifier.load(folder, device="cpu", precision=precision, fused=False)
    made = Case(classifier, TOLERANCE[precision], each_alone(classifier), each_alone(plain))
    yield made
    print(f"{folder.name}, {way}, {precision}: {made.flips} of {made.compared} labels differ between two batchings")


def each_alone(classifier: Classifier) -> dict[str, Prediction]:
    return {text: predictions(classifier.classify([text]))[0] for text in TEXTS}


def predictions(results: list[Prediction | Reject]) -> list[Prediction]:
    assert all(isinstance(result, Prediction) for result in results)
    return [result for result in results if isinstance(result, Prediction)]


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.sampled_from(TEXTS), min_size=2, max_size=24),
    budget=st.sampled_from([1, 60, 300, 4096]),
)
def test_a_score_does_not_depend_on_batch_order_or_neighbours(case: Case, texts: list[str], budget: int) -> None:
    case.classifier.budget.tokens = budget
    for text, together in zip(texts, predictions(case.classifier.classify(texts)), strict=True):
        alone = case.alone[text]
        assert together.probabilities == pytest.approx(alone.probabilities, abs=case.tolerance)
        assert (together.token_count, together.truncated) == (alone.token_count, alone.truncated)
        case.compared += 1
        if together.label != alone.label:
            case.flips += 1
            assert max(alone.probabilities) - min(alone.probabilities) < 2 * case.tolerance


def test_every_way_gives_the_scores_of_transformers_own_modules(case: Case, way: str) -> None:
    assert isinstance(case.classifier.encoder, PackedEncoder if way == "packed" else PlainEncoder)
    for text in TEXTS:
        assert case.alone[text].probabilities == pytest.approx(case.plain[text].probabilities, abs=case.tolerance)


def test_the_models_of_these_tests_tell_texts_apart(case: Case) -> None:
    scores = [prediction.probabilities[0] for prediction in case.alone.values()]
    assert max(scores) - min(scores) > 0.1


def test_camembert_is_packed_and_gives_the_scores_of_transformers_own_modules(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = random_model(tmp_path_factory.mktemp("model"), "camembert")
    packed = Classifier.load(folder, device="cpu", precision="float32")
    plain = Classifier.load(folder, device="cpu", precision="float32", fused=False)
    assert isinstance(packed.encoder, PackedEncoder)
    for mine, other in zip(predictions(packed.classify(TEXTS)), predictions(plain.classify(TEXTS)), strict=True):
        assert mine.probabilities == pytest.approx(other.probabilities, abs=TOLERANCE["float32"])


def test_a_model_with_another_activation_goes_through_its_own_modules(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = random_model(tmp_path_factory.mktemp("model"), "bert", hidden_act="relu")
    assert isinstance(Classifier.load(folder, device="cpu", precision="float32").encoder, PlainEncoder)


def test_a_batch_takes_no_more_tokens_than_its_budget_and_at_least_one_review() -> None:
    assert batch_size([500, 400, 300], 1024, padded=True) == 2
    assert batch_size([500, 400, 100, 30], 1024, padded=False) == 3
    assert [batch_size([2000, 1], 1024, padded=padded) for padded in (True, False)] == [1, 1]
    assert [batch_size([10, 10], 1024, padded=padded) for padded in (True, False)] == [2, 2]


def test_weights_are_held_in_the_precision_that_was_asked_for(folder: ModelFolder) -> None:
    loaded = Classifier.load(folder, device="cpu", precision="bfloat16", fused=False)
    assert isinstance(loaded.encoder, PlainEncoder)
    assert {parameter.dtype for parameter in loaded.encoder._model.parameters()} == {torch.bfloat16}


def test_xlnet_whose_head_reads_the_last_token_is_padded_before_the_first(tmp_path: Path) -> None:
    classifier = Classifier.load(random_model(tmp_path, "xlnet"), device="cpu", precision="float32")
    alone = [predictions(classifier.classify([text]))[0] for text in TEXTS[:4]]
    for one, together in zip(alone, predictions(classifier.classify(TEXTS[:4])), strict=True):
        assert together.probabilities == pytest.approx(one.probabilities, abs=1e-5)


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
@pytest.mark.parametrize("fused", [True, False])
def test_a_review_that_the_model_cannot_compute_is_no_other_reviews_reject(
    precision: str, fused: bool, tmp_path: Path
) -> None:
    folder = random_model(tmp_path, "bert")
    weights = load_file(folder.path / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    fatal = tokenizer.encode("horrible", add_special_tokens=False).ids
    weights["bert.embeddings.word_embeddings.weight"][fatal] = torch.nan
    save_file(weights, folder.path / "model.safetensors", metadata={"format": "pt"})
    classifier = Classifier.load(folder, device="cpu", precision=precision, fused=fused)
    texts = ["un beau film avec de bons acteurs", "un film horrible", "beau"]
    results = classifier.classify(texts)
    assert [type(result) for result in results] == [Prediction, Reject, Prediction]
    assert isinstance(results[1], Reject)
    assert results[1].reason == "not_finite"


def test_a_cpus_kernels_are_made_for_few_numbers_of_tokens_and_reviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: set[int] = set()
    linear = packing._Linear.__call__

    def counted(self: packing._Linear, x: torch.Tensor) -> torch.Tensor:
        met.add(len(x))
        return linear(self, x)

    monkeypatch.setattr(packing._Linear, "__call__", counted)
    encoder = Classifier.load(random_model(tmp_path, "bert"), device="cpu", precision="bfloat16").encoder
    for n in range(1, 50):
        assert len(encoder([list(range(5, 5 + n))] * n)) == n
    assert all(number % ROUND_TOKENS == 0 or (number % ROUND_REVIEWS == 0 and number < ROUND_TOKENS) for number in met)
