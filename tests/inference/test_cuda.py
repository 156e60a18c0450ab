"""The code for CUDA, tested on a CPU with stand-ins: precision, copies, batches in flight, flash attention."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

from review_scoring.demo import sample_reviews
from review_scoring.inference import packed as packing
from review_scoring.inference.attention import Rows, attend_by_length, flash_attention, flash_serves
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.device import Device, pick_device
from review_scoring.inference.loading import load_model
from review_scoring.inference.packed import PackedEncoder, packs
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.reviews import Prediction
from tests.inference.architectures import ARCHITECTURES, random_model

CPU = Device(torch.device("cpu"), torch.float32)
CUDA = Device(torch.device("cuda"), torch.float32)
HALF = Device(torch.device("cuda"), torch.bfloat16)

VOLTA, TURING, AMPERE, HOPPER = (7, 0), (7, 5), (8, 0), (9, 0)

REAL = inspect.signature(varlen.varlen_attn)


def on_cuda(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def by_its_documentation(*given: Any, **named: Any) -> torch.Tensor:
    """Compute what torch documents for `varlen_attn`, with the same arguments: softmax attention in each sequence."""
    bound = REAL.bind(*given, **named)
    bound.apply_defaults()
    q, k, v, ends_q, ends_k, longest_q, longest_k = bound.args[:7]
    assert ends_q.dtype == ends_k.dtype == torch.int32
    assert (longest_q, longest_k) == (int(ends_q.diff().max()), int(ends_k.diff().max()))
    assert (int(ends_q[-1]), int(ends_k[-1])) == (len(q), len(k))
    parts = []
    for n in range(len(ends_q) - 1):
        own = q[ends_q[n] : ends_q[n + 1]]
        weights = torch.einsum("qhd,khd->hqk", own, k[ends_k[n] : ends_k[n + 1]]) / own.shape[-1] ** 0.5
        parts.append(torch.einsum("hqk,khd->qhd", weights.softmax(-1), v[ends_k[n] : ends_k[n + 1]]))
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [(VOLTA, torch.float16), (TURING, torch.float16), (AMPERE, torch.bfloat16), (HOPPER, torch.bfloat16)],
)
def test_a_gpu_computes_in_bfloat16_from_ampere_on_otherwise_in_float16(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cuda(monkeypatch, capability)
    assert pick_device() == Device(torch.device("cuda"), dtype)
    assert pick_device(precision="float32") == CUDA


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "dtype"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_if_its_hardware_supports_it(
    avx512_bf16: bool, amx: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert pick_device("cpu") == Device(torch.device("cpu"), dtype)


@pytest.mark.parametrize(
    ("capability", "dtype", "head", "served"),
    [
        (AMPERE, torch.bfloat16, 64, True),
        (AMPERE, torch.float16, 256, True),
        (TURING, torch.float16, 64, False),
        (AMPERE, torch.float32, 64, False),
        (AMPERE, torch.bfloat16, 12, False),
        (AMPERE, torch.bfloat16, 264, False),
    ],
)
def test_flash_attention_is_used_for_half_precision_from_ampere_on_and_supported_head_sizes(
    capability: tuple[int, int],
    dtype: torch.dtype,
    head: int,
    served: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model(random_model(tmp_path, "bert", hidden_size=2 * head, num_attention_heads=2), CPU)
    on_cuda(monkeypatch, capability)
    device = Device(torch.device("cuda"), dtype)
    assert flash_serves(model, device) is served
    assert packs(model, device) is served


def test_a_torch_without_varlen_attention_uses_the_padded_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(random_model(tmp_path, "bert"), CPU)
    on_cuda(monkeypatch, HOPPER)
    assert packs(model, HALF)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    assert flash_attention() is None
    assert not packs(model, HALF)


def test_a_copy_to_cuda_is_asynchronous_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[object, ...]] = []

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        done.append(("pinned",))
        return tensor

    def to(tensor: torch.Tensor, device: torch.device, *, non_blocking: bool = False) -> torch.Tensor:
        done.append((device.type, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "to", to)
    CUDA.copy(torch.zeros(1))
    CPU.copy(torch.zeros(1))
    assert done == [("pinned",), ("cuda", True), ("cpu", False)]


def test_results_of_batches_in_flight_belong_to_their_texts() -> None:
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
def test_flash_attention_gets_the_bounds_of_each_review(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [3, 1, 4, 4]
    queries, rows = Rows.of(asked, CPU), Rows.of(lengths, CPU)
    q, k, v = torch.randn(sum(asked), 2, 8), torch.randn(12, 2, 8), torch.randn(12, 2, 8)
    monkeypatch.setattr(varlen, "varlen_attn", by_its_documentation)
    flash = flash_attention()
    assert flash is not None
    torch.testing.assert_close(flash(q, k, v, queries, rows), attend_by_length(q, k, v, queries, rows))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_an_encoder_with_flash_attention_gives_the_logits_of_transformers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def counted(*given: Any, **named: Any) -> torch.Tensor:
        asked.append((len(given[0]), len(given[1])))
        return by_its_documentation(*given, **named)

    monkeypatch.setattr(varlen, "varlen_attn", counted)
    monkeypatch.setattr(packing, "attention", lambda device: flash_attention())
    model = load_model(random_model(tmp_path, kind), CPU)
    encoder = PackedEncoder(model, CPU)
    reviews: Sequence[Sequence[int]] = [list(range(5, 5 + length)) for length in (30, 30, 17, 3)]
    with torch.inference_mode():
        found = encoder(reviews)
        for review, logits in zip(reviews, found, strict=True):
            expected = model(input_ids=torch.tensor([review])).logits[0]
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    layers = len(encoder._layers)
    assert asked == [(80, 80)] * (layers - 1) + [(len(reviews), 80)]
