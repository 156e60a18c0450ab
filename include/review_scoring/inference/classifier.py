"""The classifier: loads a transformers model, tokenizes and batches texts, and returns labels and scores."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from tokenizers import Tokenizer

from review_scoring.errors import ModelError, in_short
from review_scoring.inference.batching import LARGEST, LARGEST_ON_CPU, TokenBudget, batch_size
from review_scoring.inference.device import Device, pick_device
from review_scoring.inference.failed_batches import Narrowing, Row, lacks_memory, release_memory
from review_scoring.inference.limits import NO_LIMIT, positions_of, vocabulary_of
from review_scoring.inference.loading import load_model
from review_scoring.inference.packed import PackedEncoder, packs
from review_scoring.inference.plain import PlainEncoder
from review_scoring.inference.results import is_finite, result_of
from review_scoring.inference.threads import CORES
from review_scoring.inference.tokens import PROBE, LongTexts, Prepared, Tokeniser, Tokens, tokenised_ahead
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject, RejectReason

log = logging.getLogger(__name__)

UNKNOWN_TOKEN = Reject(RejectReason.MODEL_ERROR, "a token of the text has no row in the model's embeddings")


class Window(NamedTuple):
    """The input of one sequence: a text, or one of the sliding windows of a long text."""

    text: int
    ids: Sequence[int]


class Batch(NamedTuple):
    """The windows of one forward pass, its tokens with padding, and the probabilities or the error."""

    windows: Sequence[Window]
    tokens: int
    result: torch.Tensor | Exception


@dataclass
class Classifier:
    """A loaded model; create it with :meth:`load`. Only :meth:`prepare` is thread-safe."""

    encoder: PackedEncoder | PlainEncoder
    tokeniser: Tokeniser
    device: Device
    labels: tuple[str, ...]
    budget: TokenBudget = field(default_factory=TokenBudget)
    vocabulary: int = NO_LIMIT
    """Number of tokens that the model has embeddings for."""
    _classes: tuple[int, ...] = ()
    """For each output of the model, the index of its label."""

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
        """Load a model from its folder: safetensors only, no code of the folder is executed.

        :param long_texts: `truncate` cuts a text at the model's maximum; `windows` reads a long text in overlapping
            windows and averages their probabilities, weighted by tokens
        :param fused: False to use transformers' modules even where :mod:`review_scoring.inference.packed` is faster
        :raises ConfigurationError: for a device that is not available
        :raises ModelError: for files that are not a classifier with the folder's labels
        """
        started = time.monotonic()
        chosen = pick_device(device, precision)
        tokenizer = _tokenizer(folder)
        model = load_model(folder, chosen)
        limit = min(folder.max_tokens, positions_of(model))
        if (tokens := tokenizer.get_vocab_size()) > vocabulary_of(model):
            log.warning(
                "%s: the tokenizer has %d tokens, the model embeddings for %d; texts with other tokens are rejected",
                folder.name,
                tokens,
                vocabulary_of(model),
            )
        packed = fused and packs(model, chosen)
        log.info(
            "%s at revision %s on %s, %s, %s tokens per text, loaded in %.1f s",
            folder.name,
            folder.revision[:12],
            chosen,
            "packed" if packed else "padded",
            limit if limit < NO_LIMIT else "unlimited",
            time.monotonic() - started,
        )
        labels = tuple(dict.fromkeys(folder.labels))
        return cls(
            encoder=PackedEncoder(model, chosen) if packed else PlainEncoder(model, chosen),
            tokeniser=Tokeniser(tokenizer, limit, long_texts, folder.cut),
            device=chosen,
            labels=labels,
            budget=TokenBudget(LARGEST_ON_CPU if chosen.device.type == "cpu" else LARGEST),
            vocabulary=vocabulary_of(model),
            _classes=tuple(labels.index(label) for label in folder.labels),
        )

    def prepare(self, texts: Sequence[str], *, between_slices: Callable[[], None] = lambda: None) -> Prepared:
        """Tokenise texts for :meth:`classify`. Thread-safe, also while other texts are classified.

        :param texts: valid Unicode strings, of any length
        :param between_slices: called regularly; may raise
        """
        return self.tokeniser.prepare(texts, between_slices)

    @staticmethod
    def token_counts(prepared: Prepared) -> Sequence[int]:
        """Return the token counts of the prepared texts that are tokenised already."""
        return [tokens.count for tokens in prepared.first]

    def classify(
        self, texts: Sequence[str] | Prepared, *, between_batches: Callable[[int], None] = lambda done: None
    ) -> list[Prediction | Reject]:
        """Classify texts and return one result for each, in their order.

        :param texts: valid Unicode strings, of any length, or the result of :meth:`prepare`
        :param between_batches: called after each forward pass with the number of texts done so far; may raise
        """
        results: list[Prediction | Reject] = []

        def report_done(done: int = 0) -> None:
            between_batches(len(results) + done)

        prepared = texts if isinstance(texts, Prepared) else self.prepare(texts, between_slices=report_done)
        for tokenised in tokenised_ahead(self.tokeniser, prepared, report_done):
            results.extend(self._classify(tokenised, report_done))
        return results

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the number of tokens that the model would read of these texts."""
        return sum(tokens.count for tokens in self.tokeniser.tokenise(texts))

    def _classify(
        self, tokenised: Sequence[Tokens], between_batches: Callable[[int], None]
    ) -> list[Prediction | Reject]:
        """Classify texts that are sorted together, longest first, in batches that fit."""
        windows: list[Window] = []
        found: list[list[tuple[int, Row]]] = [[] for _ in tokenised]
        for n, tokens in enumerate(tokenised):
            for ids in () if tokens.is_empty else tokens.windows:
                if max(ids) < self.vocabulary:
                    windows.append(Window(n, ids))
                else:  # on CUDA, such a token triggers an assertion after which this process cannot use the device
                    found[n].append((len(ids), UNKNOWN_TOKEN))
        windows.sort(key=lambda window: -len(window.ids))
        done = sum(
            tokens.is_empty or len(rows) == len(tokens.windows) for tokens, rows in zip(tokenised, found, strict=True)
        )
        for batch in self._batches(windows):
            for window, row in zip(batch.windows, self._rows(batch), strict=True):
                found[window.text].append((len(window.ids), row))
                done += len(found[window.text]) == len(tokenised[window.text].windows)
            between_batches(done)
        return [result_of(*each, self.labels, self.device) for each in zip(tokenised, found, strict=True)]

    def _rows(self, batch: Batch) -> list[Row]:
        """Return the probabilities or the reject of each window. A window that fails does not affect the others."""
        ids = [window.ids for window in batch.windows]
        narrowing = Narrowing(self.forward, self.device, self._probe)
        if isinstance(batch.result, Exception):
            return narrowing.rows(ids, batch.result)
        rows: list[Sequence[float]] = batch.result.tolist()
        if len(rows) == 1:
            return [rows[0]]
        # Masking does not remove NaN: a window may get it from another one of its batch.
        return [row if is_finite(row) else narrowing.alone(window) for window, row in zip(ids, rows, strict=True)]

    def _probe(self) -> Sequence[int]:
        return self.tokeniser.tokenise([PROBE])[0].windows[0]

    def _batches(self, windows: Sequence[Window]) -> Iterator[Batch]:
        """Run the model over windows. On CUDA, the next batch is built and copied while this one is computed."""
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
                batch = _fetched(running.popleft())
                if not isinstance(batch.result, Exception):
                    self.budget.took(batch.tokens, time.monotonic() - looked)
                yield batch
                looked = time.monotonic()

    def _run(self, windows: Sequence[Window], lengths: Sequence[int], start: int) -> Batch:
        """Run the model over one batch of windows, from `start` on, that fits the budget and the device's memory."""
        while True:
            budget = self.budget.tokens
            size = batch_size(lengths[start : start + budget], budget, padded=self.encoder.padded)
            batch = windows[start : start + size]
            tokens = size * lengths[start] if self.encoder.padded else sum(lengths[start : start + size])
            try:
                return Batch(batch, tokens, self.forward([window.ids for window in batch]))
            except Exception as error:  # noqa: BLE001 any error is narrowed down to the reviews that cause it
                failure = error
            if lacks_memory(failure):
                release_memory(failure, self.device)
                if size > 1:
                    self.budget.did_not_fit(tokens)
                    continue
            return Batch(batch, tokens, failure)

    @torch.inference_mode()
    def forward(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run the model over one batch and return the probabilities, of shape (windows, labels)."""
        if self.device.device.type == "cpu":
            CORES.take_share()
        wide = torch.float32 if self.device.device.type == "mps" else torch.float64  # MPS has no float64
        outputs = self.encoder(ids).to(wide).softmax(dim=-1)
        if len(self.labels) == len(self._classes):
            return outputs
        merged = torch.zeros(len(outputs), len(self.labels), dtype=outputs.dtype, device=outputs.device)
        return merged.index_add(1, torch.tensor(self._classes, device=outputs.device), outputs)


def _fetched(batch: Batch) -> Batch:
    """Copy a batch's probabilities to the CPU. CUDA computes asynchronously and reports some errors only here."""
    if isinstance(batch.result, Exception):
        return batch
    try:
        return batch._replace(result=batch.result.cpu())
    except Exception as error:  # noqa: BLE001 as in `_run`
        return batch._replace(result=error)


def _tokenizer(folder: ModelFolder) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 tokenizers raises bare Exceptions
        raise ModelError(
            f"the tokenizer of model {folder.name!r} in {folder.path} does not load "
            f"({in_short(error, without=folder.path)})"
        ) from None
