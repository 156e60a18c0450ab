"""Promise 5: a score depends on the review's text only, not on its batch, and not on the forward pass."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from review_scoring.demo import sample_reviews
from review_scoring.errors import ModelError
from review_scoring.inference import packed as packing
from review_scoring.inference.attention import ROUND_LENGTH
from review_scoring.inference.batching import ENOUGH, LARGEST, LARGEST_ON_CPU, batch_size
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.packed import PACKED, ROUND_REVIEWS, ROUND_TOKENS, PackedEncoder
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
    """A classifier, with its results and those of transformers for each text alone."""

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


def test_packed_and_padded_passes_give_the_scores_of_transformers(case: Case, way: str) -> None:
    assert isinstance(case.classifier.encoder, PackedEncoder if way == "packed" else PlainEncoder)
    for text in TEXTS:
        assert case.alone[text].probabilities == pytest.approx(case.plain[text].probabilities, abs=case.tolerance)


def test_the_models_of_these_tests_give_different_scores_to_different_texts(case: Case) -> None:
    scores = [prediction.probabilities[0] for prediction in case.alone.values()]
    assert max(scores) - min(scores) > 0.1


def test_a_model_with_another_activation_uses_the_padded_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = random_model(tmp_path_factory.mktemp("model"), "bert", hidden_act="relu")
    assert isinstance(Classifier.load(folder, device="cpu", precision="float32").encoder, PlainEncoder)


def test_a_batch_takes_no_more_tokens_than_its_budget_and_at_least_one_review() -> None:
    assert batch_size([500, 490, 485], 1024, padded=True) == 2
    assert batch_size([500, 400, 100, 30], 1024, padded=False) == 3
    assert [batch_size([2000, 1], 1024, padded=padded) for padded in (True, False)] == [1, 1]
    assert [batch_size([10, 10], 1024, padded=padded) for padded in (True, False)] == [2, 2]


@pytest.mark.parametrize(
    ("reviews", "budget", "padding"),
    [(1000, LARGEST_ON_CPU, 0.02), (1000, LARGEST, 0.035), (4096, LARGEST_ON_CPU, 0.01), (4096, LARGEST, 0.015)],
)
def test_padded_batches_have_little_padding_and_are_not_tiny(reviews: int, budget: int, padding: float) -> None:
    tokenizer = Tokenizer.from_file(str(find_model(DEFAULT_MODEL).path / "tokenizer.json"))
    real = [len(encoding.ids) for encoding in tokenizer.encode_batch([row["text"] for row in sample_reviews()])]
    draw = random.Random(0)  # noqa: S311 a sample, not a secret
    waiting = sorted(draw.choices([length for length in real if length > 2], k=reviews), reverse=True)
    taken = []
    total = sum(waiting)
    while waiting:
        size = batch_size(waiting, budget, padded=True)
        taken.append(size * waiting[0])
        waiting = waiting[size:]
    assert sum(taken) / total - 1 < padding
    assert all(min(ENOUGH, budget // 4) <= tokens <= budget for tokens in taken[:-1])


def test_weights_have_the_requested_precision(folder: ModelFolder) -> None:
    loaded = Classifier.load(folder, device="cpu", precision="bfloat16", fused=False)
    assert isinstance(loaded.encoder, PlainEncoder)
    assert {parameter.dtype for parameter in loaded.encoder._model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "kind", [*ARCHITECTURES, "camembert", "electra", "deberta", "deberta-v2", "roberta-prelayernorm"]
)
def test_an_encoder_gives_the_logits_of_transformers_for_the_tokenizers_inputs(kind: str, tmp_path: Path) -> None:
    folder = random_model(tmp_path, kind)
    model: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    classifier = Classifier.load(folder, device="cpu", precision="float32")
    assert isinstance(classifier.encoder, PackedEncoder if kind in PACKED else PlainEncoder)
    for text, mine in zip(TEXTS, predictions(classifier.classify(TEXTS)), strict=True):
        inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            (theirs,) = model(**inputs).logits.double().softmax(-1).tolist()
        assert mine.probabilities == pytest.approx(theirs, abs=TOLERANCE["float32"])


def test_xlnet_whose_head_needs_token_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the architecture xlnet is not supported"):
        Classifier.load(random_model(tmp_path, "xlnet"), device="cpu")


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
@pytest.mark.parametrize("fused", [True, False])
def test_a_review_with_a_non_finite_output_does_not_reject_the_others_of_its_batch(
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


@pytest.mark.skipif(not packing._has_onednn(), reason="kernels are kept where oneDNN computes bfloat16")
def test_a_cpu_compiles_kernels_for_few_token_counts_review_counts_and_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: set[int] = set()
    keys: set[int] = set()
    linear, attend = packing._Linear.__call__, functional.scaled_dot_product_attention

    def counted(self: packing._Linear, x: torch.Tensor) -> torch.Tensor:
        met.add(len(x))
        return linear(self, x)

    def attended(q: torch.Tensor, k: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        keys.add(k.shape[-2])
        return attend(q, k, *rest, **named)

    monkeypatch.setattr(packing._Linear, "__call__", counted)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", attended)
    encoder = Classifier.load(random_model(tmp_path, "bert"), device="cpu", precision="bfloat16").encoder
    for n in range(1, 50):
        assert len(encoder([list(range(5, 5 + n))] * n)) == n
    draw = random.Random(0)  # noqa: S311 a sample, not a secret
    for _ in range(20):
        lengths = sorted(draw.choices(range(3, 200), k=draw.randrange(1, 20)), reverse=True)
        assert len(encoder([[5] * length for length in lengths])) == len(lengths)
    assert all(number % ROUND_TOKENS == 0 or (number % ROUND_REVIEWS == 0 and number < ROUND_TOKENS) for number in met)
    assert {length for length in keys if length % ROUND_LENGTH} <= {1}


def test_bfloat16_works_on_a_cpu_whose_onednn_does_not_support_it() -> None:
    code = """
from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="bfloat16")
print(*[each.label for each in classifier.classify(["Un film magnifique.", "Quel ennui !"])])
"""
    old = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run([sys.executable, "-c", code], env=old, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["pos", "neg"], done.stderr
