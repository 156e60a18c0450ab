"""The inference engines that `bench_inference.py` compares: review_scoring, transformers, OpenVINO.

An engine is created from a model's folder. It classifies a list of texts and returns a row of probabilities for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MAX_TOKENS = 512
BATCH = 16
SHAPES = 32
"""Lengths are rounded up to a multiple of this for OpenVINO, which compiles each new shape."""

Engine = Callable[[Sequence[str]], list[list[float]]]


def ours(folder: Path, *, fused: bool = True) -> Engine:
    """Load review_scoring's classifier like a scoring task."""
    from review_scoring.inference.classifier import Classifier
    from review_scoring.inference.threads import CORES
    from review_scoring.models.folder import ModelFolder
    from review_scoring.reviews import Prediction

    model = ModelFolder(folder.name, "0" * 64, folder, ("neg", "pos"), MAX_TOKENS)
    classifier = Classifier.load(model, device="cpu", fused=fused)

    def classify(texts: Sequence[str]) -> list[list[float]]:
        results = classifier.classify(texts)
        CORES.leave()  # the engines take turns: a waiting engine must not count as another task
        return [list(each.probabilities) for each in results if isinstance(each, Prediction)]

    return classify


def pipeline(folder: Path, *, batch: int = BATCH) -> Engine:
    """The pipeline of transformers, float32, without sorting."""
    import torch
    import transformers

    classifier: Any = transformers.pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=torch.float32, top_k=None
    )

    def classify(texts: Sequence[str]) -> list[list[float]]:
        found = classifier(list(texts), batch_size=batch, truncation=True, max_length=MAX_TOKENS)
        return [[score for _, score in sorted((each["label"], each["score"]) for each in row)] for row in found]

    return classify


def trainer_loop(folder: Path) -> Engine:
    """The loop of `Trainer.predict`, source of published figures: batches of 16, padded, float32, unsorted."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def classify(texts: Sequence[str]) -> list[list[float]]:
        encoded: Any = [tokenizer(text, truncation=True, max_length=MAX_TOKENS) for text in texts]
        loader: DataLoader[Any] = DataLoader(encoded, batch_size=BATCH, collate_fn=DataCollatorWithPadding(tokenizer))
        with torch.no_grad():
            return [row for batch in loader for row in model(**batch).logits.softmax(-1).tolist()]

    return classify


def openvino(folder: Path) -> Engine:
    """OpenVINO in bfloat16 with the graph of `export`, in its fastest configuration.

    Reviews are sorted by length, in batches of 16, padded to a multiple of 32 tokens, because each new shape costs
    compile time. Full batches of each length run before the first turn.
    """
    import numpy as np
    import openvino as ov
    from tokenizers import Tokenizer

    graph = ov.Core().compile_model(
        folder / "openvino.xml", "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)

    for length in range(SHAPES, MAX_TOKENS + 1, SHAPES):
        tried = np.ones((BATCH, length), dtype=np.int64)
        graph({"input_ids": tried, "attention_mask": tried})

    def classify(texts: Sequence[str]) -> list[list[float]]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda n: -len(ids[n]))
        found: dict[int, list[float]] = {}
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            longest = -(-len(ids[batch[0]]) // SHAPES) * SHAPES
            tokens = np.ones((len(batch), longest), dtype=np.int64)  # 1 is the padding of every model here
            mask = np.zeros_like(tokens)
            for row, n in enumerate(batch):
                tokens[row, : len(ids[n])] = ids[n]
                mask[row, : len(ids[n])] = 1
            logits = graph({"input_ids": tokens, "attention_mask": mask})[0]
            exponents = np.exp(logits - logits.max(-1, keepdims=True))
            for n, values in zip(batch, exponents / exponents.sum(-1, keepdims=True), strict=True):
                found[n] = values.tolist()
        return [found[n] for n in range(len(ids))]

    return classify


def export(folder: Path) -> None:
    """Export a model's graph for OpenVINO, with dynamic shapes."""
    import openvino as ov
    import torch
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    example = {
        "input_ids": torch.full((2, 9), 5),
        "attention_mask": torch.tensor([[1] * 9, [1] * 5 + [0] * 4]),
    }
    ov.save_model(ov.convert_model(Logits(), example_input=example), folder / "openvino.xml")


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "pipeline16": pipeline,
    "trainer16": trainer_loop,
    "openvino_bf16": openvino,
    "plain": lambda folder: ours(folder, fused=False),
    "review_scoring": ours,
    "pipeline1": lambda folder: pipeline(folder, batch=1),
    "pipeline32": lambda folder: pipeline(folder, batch=32),
}


def serve(name: str, folder: Path, connection: Connection, started: float) -> None:
    """Load an engine and classify the lists of texts that the connection receives, until it receives None.

    Sends the seconds from `started` (`time.monotonic()` before the process was started) to the loaded engine and to its
    first result; then for each list the seconds, the probabilities and the peak resident memory in MB.
    """
    engine = ENGINES[name](folder)
    loaded = time.monotonic() - started
    engine(["Un film magnifique, du début à la fin."])
    connection.send((loaded, time.monotonic() - started))
    while (texts := connection.recv()) is not None:
        started = time.perf_counter()
        found = engine(texts)
        connection.send((time.perf_counter() - started, found, peak_mb()))


def peak_mb() -> float:
    """Return the peak resident memory of this process in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
