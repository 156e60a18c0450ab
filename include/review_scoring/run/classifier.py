"""The classifier as a run sees it: what it must offer, and loaded only when there is a text to classify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.reviews import Prediction, Reject


class TextClassifier(Protocol):
    """What a run needs of a classifier; :class:`review_scoring.inference.classifier.Classifier` is the real one."""

    @property
    def device(self) -> object:
        """The device that classifies; its `str` is what is recorded."""

    def prepare(self, texts: Sequence[str], *, between_slices: Callable[[], None] = ...) -> Any:
        """Do for texts what can be done in another thread while others are classified."""

    def token_counts(self, prepared: Any) -> Sequence[int]:
        """Return how many tokens each of the prepared texts has, as far as they are known: the first ones'."""

    def classify(self, prepared: Any, *, between_batches: Callable[[int], None] = ...) -> list[Prediction | Reject]:
        """Return one result for each text that was prepared, in their order."""


class TokenCounter(TextClassifier, Protocol):
    """What a dry run needs of a classifier."""

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model would read of these texts."""


class LazyClassifier:
    """A classifier that is loaded at its first use, in whichever thread that is.

    :param load: called once at most
    :param stop: checked before loading
    """

    def __init__(self, load: Callable[[], TextClassifier], stop: StopFlag) -> None:
        self._load = load
        self._stop = stop
        self._classifier: TextClassifier | None = None

    def get(self) -> TextClassifier:
        """Return the classifier, loaded."""
        if self._classifier is None:
            self._stop.check()
            self._classifier = self._load()
        return self._classifier

    @property
    def device(self) -> str | None:
        """The device that classifies; None as long as nothing was loaded."""
        return None if self._classifier is None else str(self._classifier.device)
