"""Texts in, labels and scores out, with a transformers model."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from review_scoring.errors import ModelError
from review_scoring.inference.batching import batch_size
from review_scoring.inference.device import Device, pick_device
from review_scoring.models.folder import ModelFolder
from review_scoring.reviews import Prediction, Reject, RejectReason

log = logging.getLogger(__name__)

BATCH_SECONDS = 1.0
"""What one forward pass may take: a run that is told to stop looks up between them."""

SLICE_TEXTS = 256
"""Texts that are tokenised at once."""

NO_LIMIT = 2**31
"""Tokens of a model whose positions have no end, such as XLNet's."""

CHARACTERS_A_TOKEN = 100
"""No text is expected to need more; one that does is tokenised whole, and slower."""

SMALLEST_BUDGET, LARGEST_BUDGET = 1024, 65_536
"""Tokens of one forward pass."""

ROBERTAS = {"roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl"}
"""Models whose positions begin behind the padding's own."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the model reads of a text: at most its maximum, with its special tokens."""

    ids: list[int]
    is_empty: bool
    truncated: bool

    @classmethod
    def of(cls, encoding: Encoding) -> Tokens:
        """Take what is needed out of an encoding, which for a long text holds all that was cut off as well."""
        return cls(encoding.ids, all(encoding.special_tokens_mask), bool(encoding.overflowing))


@dataclass
class Classifier:
    """A loaded model. Make it with :meth:`load`; it is used from one thread."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    device: Device
    labels: tuple[str, ...]
    max_tokens: int
    token_budget: int = SMALLEST_BUDGET
    _pad_id: int = field(default=0)
    _classes: tuple[int, ...] = ()
    """For each output of the model, the label that it counts for."""

    @classmethod
    def load(cls, folder: ModelFolder, *, device: str = "auto", precision: str = "auto") -> Classifier:
        """Load a model from its folder: safetensors only, nothing of the folder is executed.

        :raises ConfigurationError: for a device that is not there
        :raises ModelError: for files that do not make a classifier with the folder's labels
        """
        started = time.monotonic()
        chosen = pick_device(device, precision)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no annotations
        try:
            tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder.path,
                dtype=chosen.dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # noqa: BLE001 tokenizers raises bare Exceptions, safetensors its own
            raise ModelError(
                f"model {folder.name!r} in {folder.path} does not load: {type(error).__name__}: {error}"
            ) from None
        unmatched = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys") if info.get(key)}
        if unmatched:
            raise ModelError(f"model {folder.name!r}: the weights do not fit its config: {unmatched}")
        if model.config.num_labels != len(folder.labels):
            raise ModelError(f"model {folder.name!r} has {model.config.num_labels} outputs for labels {folder.labels}")
        limit = min(folder.max_tokens, _positions(model.config))
        tokenizer.no_padding()
        tokenizer.enable_truncation(limit)
        log.info(
            "%s at revision %s on %s, loaded in %.1f s",
            folder.name,
            folder.revision[:12],
            chosen,
            time.monotonic() - started,
        )
        model = model.to(chosen.device).eval()
        labels = tuple(dict.fromkeys(folder.labels))
        return cls(
            model,
            tokenizer,
            chosen,
            labels,
            limit,
            _pad_id=model.config.pad_token_id or 0,
            _classes=tuple(labels.index(label) for label in folder.labels),
        )

    def classify(
        self, texts: Sequence[str], *, between_batches: Callable[[int], None] = lambda done: None
    ) -> list[Prediction | Reject]:
        """Classify texts and return one result for each, in their order.

        :param texts: valid Unicode strings, of any length: what is beyond the model's tokens is cut off, and said so
        :param between_batches: called after each forward pass with the number of texts done so far; may raise
        """
        tokenised = self._tokenise(texts, between_batches)
        results: dict[int, Prediction | Reject] = {
            n: Reject(RejectReason.NO_TOKENS, "the tokenizer finds nothing in the text")
            for n, tokens in enumerate(tokenised)
            if tokens.is_empty
        }
        waiting = sorted(set(range(len(texts))) - set(results), key=lambda n: (-len(tokenised[n].ids), n))
        while waiting:
            size = batch_size([len(tokenised[n].ids) for n in waiting], self.token_budget)
            batch, waiting = waiting[:size], waiting[size:]
            started = time.monotonic()
            probabilities = self._forward([tokenised[n].ids for n in batch])
            self._adapt_budget(sum(len(tokenised[n].ids) for n in batch), time.monotonic() - started)
            for n, row in zip(batch, probabilities, strict=True):
                results[n] = self._result(tokenised[n], row)
            between_batches(len(texts) - len(waiting))
        return [results[n] for n in range(len(texts))]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model would read of these texts."""
        return sum(len(tokens.ids) for tokens in self._tokenise(texts, lambda done: None))

    def _tokenise(self, texts: Sequence[str], between_batches: Callable[[int], None]) -> list[Tokens]:
        """Tokenise slice by slice, and keep no more of a text than the model reads of it."""
        tokenised: list[Tokens] = []
        for start in range(0, len(texts), SLICE_TEXTS):
            tokenised += self._encode(texts[start : start + SLICE_TEXTS])
            between_batches(0)
        return tokenised

    def _encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise the beginnings of texts, and the whole of those whose beginning does not fill the model."""
        longest = self.max_tokens * CHARACTERS_A_TOKEN
        found = [Tokens.of(encoding) for encoding in self.tokenizer.encode_batch([text[:longest] for text in texts])]
        for n, text in enumerate(texts):
            if len(text) > longest and not found[n].truncated:
                found[n] = Tokens.of(self.tokenizer.encode(text))
        return found

    @torch.inference_mode()
    def _forward(self, ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """Run the model over one batch and return the probabilities, one row a text."""
        longest = max(map(len, ids))
        input_ids = torch.full((len(ids), longest), self._pad_id)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for n, row in enumerate(ids):
            input_ids[n, : len(row)] = torch.tensor(row)
            mask[n, : len(row)] = 1
        logits = self.model(
            input_ids=input_ids.to(self.device.device), attention_mask=mask.to(self.device.device)
        ).logits
        outputs = logits.double().softmax(dim=-1)
        if len(self.labels) < len(self._classes):
            merged = torch.zeros(len(outputs), len(self.labels), dtype=outputs.dtype, device=outputs.device)
            outputs = merged.index_add(1, torch.tensor(self._classes, device=outputs.device), outputs)
        rows: list[list[float]] = outputs.tolist()
        return rows

    def _result(self, tokens: Tokens, probabilities: Sequence[float]) -> Prediction | Reject:
        if not all(map(math.isfinite, probabilities)):
            return Reject(RejectReason.NOT_FINITE, "the model's output is not a finite number")
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            label=self.labels[best],
            score=probabilities[best],
            probabilities=tuple(probabilities),
            token_count=len(tokens.ids),
            truncated=tokens.truncated,
        )

    def _adapt_budget(self, tokens: int, seconds: float) -> None:
        """Let the next batch take about `BATCH_SECONDS`, from what this one took."""
        fits = int(tokens / max(seconds, 1e-6) * BATCH_SECONDS)
        self.token_budget = max(SMALLEST_BUDGET, min(fits, 2 * self.token_budget, LARGEST_BUDGET))


def _positions(config: Any) -> int:
    """Return how many tokens a model has positions for; RoBERTa's begin behind the padding's own."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return NO_LIMIT
    return positions - ((config.pad_token_id or 0) + 1 if config.model_type in ROBERTAS else 0)
