"""Texts in, labels and scores out, with a transformers model."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer

from review_scoring.errors import ModelError
from review_scoring.inference.batching import LARGEST, LARGEST_ON_CPU, TokenBudget, batch_size
from review_scoring.inference.device import Device, free_memory, is_out_of_memory, pick_device
from review_scoring.inference.loading import load_model
from review_scoring.inference.packed import PackedEncoder, packs
from review_scoring.inference.plain import PlainEncoder
from review_scoring.inference.threads import CORES
from review_scoring.inference.tokens import LongTexts, Prepared, Tokeniser, Tokens, tokenised_ahead
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject, RejectReason

log = logging.getLogger(__name__)

NO_LIMIT = 2**31
"""Tokens of a model whose positions have no end, such as T5's."""

ROBERTAS = {"roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl"}
"""Models whose positions begin behind the padding's own."""


class Window(NamedTuple):
    """What the model reads at once: a text, or a part of a long one."""

    text: int
    ids: Sequence[int]


class Batch(NamedTuple):
    """Windows that go through the model together, the tokens that takes, and the probabilities it made, if they fit."""

    windows: Sequence[Window]
    tokens: int
    probabilities: torch.Tensor | None


@dataclass
class Classifier:
    """A loaded model. Make it with :meth:`load`; it is used from one thread, except for :meth:`prepare`."""

    encoder: PackedEncoder | PlainEncoder
    tokeniser: Tokeniser
    device: Device
    labels: tuple[str, ...]
    budget: TokenBudget = field(default_factory=TokenBudget)
    _classes: tuple[int, ...] = ()
    """For each output of the model, the label that it counts for."""

    @classmethod
    def load(
        cls,
        folder: ModelFolder,
        *,
        device: str = "auto",
        precision: str = "auto",
        long_texts: str = LongTexts.TRUNCATE,
        fused: bool = True,
    ) -> Classifier:
        """Load a model from its folder: safetensors only, nothing of the folder is executed.

        :param long_texts: `truncate` cuts what is beyond the model's tokens off; `windows` reads a long text in
            overlapping windows and averages their probabilities by their tokens
        :param fused: False for transformers' own modules even where :mod:`review_scoring.inference.packed` is faster
        :raises ConfigurationError: for a device that is not there
        :raises ModelError: for files that do not make a classifier with the folder's labels
        """
        started = time.monotonic()
        chosen = pick_device(device, precision)
        tokenizer = _tokenizer(folder)
        model = load_model(folder, chosen)
        limit = min(folder.max_tokens, _positions(model.config))
        packed = fused and packs(model, chosen)
        log.info(
            "%s at revision %s on %s, %s, loaded in %.1f s",
            folder.name,
            folder.revision[:12],
            chosen,
            "packed" if packed else "padded",
            time.monotonic() - started,
        )
        labels = tuple(dict.fromkeys(folder.labels))
        return cls(
            encoder=PackedEncoder(model, chosen) if packed else PlainEncoder(model, chosen),
            tokeniser=Tokeniser(tokenizer, limit, long_texts),
            device=chosen,
            labels=labels,
            budget=TokenBudget(LARGEST_ON_CPU if chosen.device.type == "cpu" else LARGEST),
            _classes=tuple(labels.index(label) for label in folder.labels),
        )

    def prepare(self, texts: Sequence[str], *, between_slices: Callable[[], None] = lambda: None) -> Prepared:
        """Tokenise texts for :meth:`classify`, in whichever thread, also while others are classified.

        :param texts: valid Unicode strings, of any length
        :param between_slices: called now and then; may raise
        """
        return self.tokeniser.prepare(texts, between_slices)

    @staticmethod
    def token_counts(prepared: Prepared) -> Sequence[int]:
        """Return how many tokens the model reads of each prepared text that is tokenised already."""
        return [tokens.count for tokens in prepared.first]

    def classify(
        self, texts: Sequence[str] | Prepared, *, between_batches: Callable[[int], None] = lambda done: None
    ) -> list[Prediction | Reject]:
        """Classify texts and return one result for each, in their order.

        :param texts: valid Unicode strings, of any length, or what :meth:`prepare` made of them
        :param between_batches: called after each forward pass with the number of texts done so far; may raise
        """
        results: list[Prediction | Reject] = []

        def tell(done: int = 0) -> None:
            between_batches(len(results) + done)

        prepared = texts if isinstance(texts, Prepared) else self.prepare(texts, between_slices=tell)
        for tokenised in tokenised_ahead(self.tokeniser, prepared, tell):
            results.extend(self._classify(tokenised, tell))
        return results

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model would read of these texts."""
        return sum(tokens.count for tokens in self.tokeniser.tokenise(texts))

    def _classify(
        self, tokenised: Sequence[Tokens], between_batches: Callable[[int], None]
    ) -> list[Prediction | Reject]:
        """Classify texts that are sorted together: the longest first, in whatever batches fit."""
        windows = [
            Window(n, ids) for n, tokens in enumerate(tokenised) if not tokens.is_empty for ids in tokens.windows
        ]
        windows.sort(key=lambda window: -len(window.ids))
        found: list[list[tuple[int, Sequence[float] | None]]] = [[] for _ in tokenised]
        done = sum(tokens.is_empty for tokens in tokenised)
        for batch in self._batches(windows):
            rows = [None] if batch.probabilities is None else batch.probabilities.tolist()
            for window, together in zip(batch.windows, rows, strict=True):
                row = together
                if row is not None and len(batch.windows) > 1 and not all(map(math.isfinite, row)):
                    # A masked neighbour's NaN is still NaN: what is wrong with one review must not be another's fault.
                    alone = self._run([window], [len(window.ids)], 0).probabilities
                    row = None if alone is None else alone[0].tolist()
                found[window.text].append((len(window.ids), row))
                done += len(found[window.text]) == len(tokenised[window.text].windows)
            between_batches(done)
        return [self._result(tokens, each) for tokens, each in zip(tokenised, found, strict=True)]

    def _batches(self, windows: Sequence[Window]) -> Iterator[Batch]:
        """Run the model over windows. On CUDA, the next batch is made and copied while the device is at this one."""
        in_flight = 1 if self.device.device.type == "cuda" else 0
        running: deque[Batch] = deque()
        lengths = [len(window.ids) for window in windows]
        start, looked = 0, time.monotonic()
        while start < len(windows) or running:
            if start < len(windows):
                batch = self._run(windows, lengths, start)
                start += len(batch.windows)
                running.append(batch)
            if running and (len(running) > in_flight or start == len(windows)):
                batch = running.popleft()
                if batch.probabilities is not None:
                    batch = batch._replace(probabilities=batch.probabilities.cpu())
                    self.budget.took(batch.tokens, time.monotonic() - looked)
                yield batch
                looked = time.monotonic()

    def _run(self, windows: Sequence[Window], lengths: Sequence[int], start: int) -> Batch:
        """Run the model over as many of the windows from `start` as the budget and the device's memory take."""
        while True:
            budget = self.budget.tokens
            size = batch_size(lengths[start : start + budget], budget, padded=self.encoder.padded)
            batch = windows[start : start + size]
            tokens = size * lengths[start] if self.encoder.padded else sum(lengths[start : start + size])
            try:
                return Batch(batch, tokens, self._forward([window.ids for window in batch]))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Behind the except clause, whose exception keeps the tensors of the failed pass alive.
            free_memory(self.device)
            if size == 1:
                return Batch(batch, tokens, None)
            self.budget.did_not_fit(tokens)

    @torch.inference_mode()
    def _forward(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run the model over one batch and return the probabilities, of shape (windows, labels)."""
        if self.device.device.type == "cpu":
            CORES.take_share()
        wide = torch.float32 if self.device.device.type == "mps" else torch.float64  # which MPS does not have
        outputs = self.encoder(ids).to(wide).softmax(dim=-1)
        if len(self.labels) == len(self._classes):
            return outputs
        merged = torch.zeros(len(outputs), len(self.labels), dtype=outputs.dtype, device=outputs.device)
        return merged.index_add(1, torch.tensor(self._classes, device=outputs.device), outputs)

    def _result(self, tokens: Tokens, found: Sequence[tuple[int, Sequence[float] | None]]) -> Prediction | Reject:
        if tokens.is_empty:
            return Reject(RejectReason.NO_TOKENS, "the tokenizer finds nothing in the text")
        rows = [(length, row) for length, row in found if row is not None]
        if len(rows) < len(found):
            longest = max(length for length, row in found if row is None)
            return Reject(RejectReason.OUT_OF_MEMORY, f"{longest} tokens do not fit into the memory of {self.device}")
        probabilities = _averaged(rows)
        if not all(map(math.isfinite, probabilities)):
            small = " in float16: set precision='float32'" if self.device.dtype is torch.float16 else ""
            return Reject(RejectReason.NOT_FINITE, f"the model's output is not a finite number{small}")
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            label=self.labels[best],
            score=probabilities[best],
            probabilities=tuple(probabilities),
            token_count=tokens.count,
            truncated=tokens.truncated,
        )


def _averaged(rows: Sequence[tuple[int, Sequence[float]]]) -> Sequence[float]:
    """Average the probabilities of a text's windows by their tokens."""
    if len(rows) == 1:
        return rows[0][1]
    total = sum(length for length, _ in rows)
    return [sum(length * row[n] for length, row in rows) / total for n in range(len(rows[0][1]))]


def _tokenizer(folder: ModelFolder) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 tokenizers raises bare Exceptions
        raise ModelError(f"the tokenizer of model {folder.name!r} in {folder.path} does not load: {error}") from None


def _positions(config: Any) -> int:
    """Return how many tokens a model has positions for; RoBERTa's begin behind the padding's own."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return NO_LIMIT
    return positions - ((config.pad_token_id or 0) + 1 if config.model_type in ROBERTAS else 0)
