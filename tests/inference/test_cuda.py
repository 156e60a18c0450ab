"""What is written for CUDA, as far as it goes on a CPU: batches in flight, and the calls of flash attention."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import varlen

from review_scoring.demo import sample_reviews
from review_scoring.inference.attention import Rows, attend_by_length, flash_attention
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.device import Device
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.reviews import Prediction

CPU = Device(torch.device("cpu"), torch.float32)
CUDA = Device(torch.device("cuda"), torch.float32)


def test_results_of_batches_that_are_fetched_late_reach_their_texts() -> None:
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32")
    texts = [row["text"] for row in sample_reviews()[:30]]
    expected = classifier.classify(texts)
    classifier.device = CUDA  # its encoder stays where it is
    classifier.budget.tokens = 300
    told: list[int] = []
    for one, other in zip(classifier.classify(texts, between_batches=told.append), expected, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert told[-1] == len(texts)


@pytest.mark.parametrize("asked", [[3, 1, 4, 4], [1, 1, 1, 1]])
def test_flash_attention_is_told_where_each_review_begins_and_ends(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [3, 1, 4, 4]
    queries, rows = Rows.of(asked, CPU), Rows.of(lengths, CPU)
    q, k, v = torch.randn(sum(asked), 2, 8), torch.randn(12, 2, 8), torch.randn(12, 2, 8)

    def by_its_documentation(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        ends_q: torch.Tensor,
        ends_k: torch.Tensor,
        longest_q: int,
        longest_k: int,
    ) -> torch.Tensor:
        assert ends_q.dtype == ends_k.dtype == torch.int32
        assert (longest_q, longest_k) == (max(asked), max(lengths))
        parts = []
        for n in range(len(ends_q) - 1):
            own = q[ends_q[n] : ends_q[n + 1]]
            weights = torch.einsum("qhd,khd->hqk", own, k[ends_k[n] : ends_k[n + 1]]) / own.shape[-1] ** 0.5
            parts.append(torch.einsum("hqk,khd->qhd", weights.softmax(-1), v[ends_k[n] : ends_k[n + 1]]))
        return torch.cat(parts)

    monkeypatch.setattr(varlen, "varlen_attn", by_its_documentation)
    flash = flash_attention()
    assert flash is not None
    torch.testing.assert_close(flash(q, k, v, queries, rows), attend_by_length(q, k, v, queries, rows))
