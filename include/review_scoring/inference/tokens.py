"""Tokenizing texts: truncation at the model's maximum, or sliding windows over long texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal, TypeVar

from tokenizers import Encoding, Tokenizer

from review_scoring.errors import ConfigurationError

SLICE_TEXTS = 256
"""Texts per call of the tokenizer."""

SORTED_TEXTS = 4096
"""Texts that are tokenised ahead, and sorted by length together to reduce padding."""

POLL_S = 0.5
"""Seconds between two calls of `waiting`."""

CHARACTERS_A_TOKEN = 100
"""Upper bound of characters per token. A text that exceeds it is tokenised as a whole, which is slower."""

PROBE = "bien"
"""A text that every working tokenizer and model can read."""

OVERLAP = 4
"""Each window starts with the last quarter (1 / `OVERLAP`) of the window before it."""


T = TypeVar("T")


class LongTexts(StrEnum):
    """How to read a text with more tokens than the model's maximum."""

    TRUNCATE = "truncate"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token ids of a text: one window, or several for a long text; each with its special tokens.

    `failure` is the class of the error if the tokenizer failed on the text; there are no windows then.
    """

    windows: tuple[list[int], ...]
    is_empty: bool
    truncated: bool
    failure: str | None = None

    @property
    def count(self) -> int:
        """Tokens that the model reads; those in the overlap of two windows count twice."""
        return sum(map(len, self.windows))


@dataclass(frozen=True)
class Prepared:
    """Texts to classify; `first` has the tokens of the first `SORTED_TEXTS` of them."""

    texts: Sequence[str]
    first: Sequence[Tokens]


class Tokeniser:
    """A model's tokenizer with its maximum length. Thread-safe.

    :param max_tokens: the model's maximum, special tokens included
    :param long_texts: a value of :class:`LongTexts`
    :param cut: the side on which `truncate` cuts a long text; None for the tokenizer's own
    :raises ConfigurationError: for an unknown `long_texts`, or a `max_tokens` that the special tokens use up
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_tokens: int,
        long_texts: str = LongTexts.TRUNCATE,
        cut: Literal["left", "right"] | None = None,
    ) -> None:
        if long_texts not in list(LongTexts):
            raise ConfigurationError(f"long_texts is {long_texts!r}; it must be one of {', '.join(LongTexts)}")
        self.max_tokens = max_tokens
        self._in_windows = long_texts == LongTexts.WINDOWS
        cut = cut or (tokenizer.truncation or {}).get("direction", "right")
        self._cuts_left = cut == "left" and not self._in_windows  # windows hold all of a text
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        content = max_tokens - tokenizer.num_special_tokens_to_add(is_pair=False)
        if content < 1:
            raise ConfigurationError(
                f"the model reads {max_tokens} tokens, of which {max_tokens - content} are special tokens, so none are "
                "left for the text; correct max_tokens in its catalogue entry, or model_max_length in "
                "tokenizer_config.json"
            )
        tokenizer.enable_truncation(
            max_tokens,
            stride=content // OVERLAP if self._in_windows else 0,
            direction="left" if self._cuts_left else "right",
        )

    @property
    def vocabulary(self) -> int:
        """The size of the vocabulary: one more than the largest token id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def prepare(self, texts: Sequence[str], between_slices: Callable[[], None]) -> Prepared:
        """Tokenise the first `SORTED_TEXTS` texts; :func:`tokenised_ahead` does the others."""
        return Prepared(texts, self.tokenise(texts[:SORTED_TEXTS], between_slices))

    def tokenise(self, texts: Sequence[str], between_slices: Callable[[], None] = lambda: None) -> list[Tokens]:
        """Tokenise texts in slices, and keep only the tokens that the model reads.

        :param between_slices: called after each slice; may raise
        """
        tokenised: list[Tokens] = []
        for start in range(0, len(texts), SLICE_TEXTS):
            tokenised += self._slice(texts[start : start + SLICE_TEXTS])
            between_slices()
        return tokenised

    def _slice(self, texts: Sequence[str]) -> list[Tokens]:
        if self._in_windows:
            return self._encoded(texts, self._windows)
        # The tokenizer reads all of a text even if it truncates it, so long texts are cut before.
        longest = self.max_tokens * CHARACTERS_A_TOKEN
        part = slice(-longest, None) if self._cuts_left else slice(longest)
        found = self._encoded([text[part] for text in texts], self._part)
        for n, text in enumerate(texts):
            if len(text) > longest and not found[n].truncated:
                (found[n],) = self._encoded([text], self._part)
        return found

    def _encoded(self, texts: Sequence[str], tokens: Callable[[Encoding], Tokens]) -> list[Tokens]:
        """Encode texts together; if that fails, one by one, so that only the texts that fail are rejected.

        :raises Exception: the tokenizer's error, if it fails on `PROBE` as well
        """
        together = _attempted(partial(self._tokenizer.encode_batch, list(texts)))
        if not isinstance(together, BaseException):
            return list(map(tokens, together))
        if isinstance(_attempted(partial(self._tokenizer.encode, PROBE)), BaseException):
            raise together
        alone = [_attempted(partial(self._tokenizer.encode, text)) for text in texts]
        return [
            Tokens((), is_empty=False, truncated=False, failure=type(each).__name__)
            if isinstance(each, BaseException)
            else tokens(each)
            for each in alone
        ]

    @staticmethod
    def _part(encoding: Encoding) -> Tokens:
        return Tokens((encoding.ids,), all(encoding.special_tokens_mask), bool(encoding.overflowing))

    @staticmethod
    def _windows(encoding: Encoding) -> Tokens:
        windows = (encoding.ids, *(window.ids for window in encoding.overflowing))
        return Tokens(windows, all(encoding.special_tokens_mask), truncated=False)


def _attempted(call: Callable[[], T]) -> T | BaseException:
    """Return the result of a call of the tokenizer, or its error. A Rust panic is not an `Exception`."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return error
        raise


def tokenised_ahead(
    tokeniser: Tokeniser, prepared: Prepared, waiting: Callable[[], None]
) -> Iterator[Sequence[Tokens]]:
    """Yield the tokens of `SORTED_TEXTS` texts at a time, and tokenise the next ones in a thread meanwhile.

    :param waiting: called every `POLL_S` seconds while the next tokens are not ready; may raise
    """
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set():
            raise InterruptedError

    pool = ThreadPoolExecutor(1, "tokenise")
    try:
        tokenised = prepared.first
        for start in range(SORTED_TEXTS, len(prepared.texts), SORTED_TEXTS):
            ahead = pool.submit(tokeniser.tokenise, prepared.texts[start : start + SORTED_TEXTS], check)
            yield tokenised
            while not ahead.done():
                wait([ahead], timeout=POLL_S)
                waiting()
            tokenised = ahead.result()
        yield tokenised
    finally:
        cancelled.set()
        pool.shutdown(wait=False, cancel_futures=True)
