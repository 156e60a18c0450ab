"""Texts to the tokens that a model reads: cut at its maximum, or read in overlapping windows."""

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
"""Texts that are tokenised at once."""

SORTED_TEXTS = 4096
"""Texts that are tokenised ahead at most, and sorted together for little padding."""

POLL_S = 0.5
"""Seconds between two looks whether to go on waiting."""

CHARACTERS_A_TOKEN = 100
"""No text is expected to need more; one that does is tokenised whole, and slower."""

PROBE = "bien"
"""A text that every tokenizer and every model can read, unless it can read none."""

OVERLAP = 4
"""One window in so many parts repeats the end of the window before it."""


T = TypeVar("T")


class LongTexts(StrEnum):
    """What becomes of a text that has more tokens than the model reads at once."""

    TRUNCATE = "truncate"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the model reads of a text: one window, or several for a long text; each with its special tokens.

    `failure` is the class of the error with which the tokenizer failed on the text; there are no windows then.
    """

    windows: tuple[list[int], ...]
    is_empty: bool
    truncated: bool
    failure: str | None = None

    @property
    def count(self) -> int:
        """Tokens that the model reads, those that two windows share counted twice."""
        return sum(map(len, self.windows))


@dataclass(frozen=True)
class Prepared:
    """Texts to classify; `first` are the tokens of the first `SORTED_TEXTS` of them."""

    texts: Sequence[str]
    first: Sequence[Tokens]


class Tokeniser:
    """A model's tokenizer with its limit, for any number of threads.

    :param max_tokens: what the model reads at once, special tokens included
    :param long_texts: a value of :class:`LongTexts`
    :param cut: the side on which `truncate` cuts a long text off; None for the one that the tokenizer names
    :raises ConfigurationError: for a `long_texts` that is none, and a `max_tokens` that leaves no room for a text
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
                f"the model reads {max_tokens} tokens, and its special ones are {max_tokens - content}: that leaves "
                "none for a text; correct max_tokens in its catalogue entry, or model_max_length in "
                "tokenizer_config.json"
            )
        tokenizer.enable_truncation(
            max_tokens,
            stride=content // OVERLAP if self._in_windows else 0,
            direction="left" if self._cuts_left else "right",
        )

    @property
    def vocabulary(self) -> int:
        """How many token ids there can be: one more than the largest."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def prepare(self, texts: Sequence[str], between_slices: Callable[[], None]) -> Prepared:
        """Tokenise the first `SORTED_TEXTS` texts, and leave the others to :func:`tokenised_ahead`."""
        return Prepared(texts, self.tokenise(texts[:SORTED_TEXTS], between_slices))

    def tokenise(self, texts: Sequence[str], between_slices: Callable[[], None] = lambda: None) -> list[Tokens]:
        """Tokenise slice by slice, and keep no more of a text than the model reads of it.

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
        # A long text costs as much as all of it, so the part that is kept is tried first.
        longest = self.max_tokens * CHARACTERS_A_TOKEN
        part = slice(-longest, None) if self._cuts_left else slice(longest)
        found = self._encoded([text[part] for text in texts], self._part)
        for n, text in enumerate(texts):
            if len(text) > longest and not found[n].truncated:
                (found[n],) = self._encoded([text], self._part)
        return found

    def _encoded(self, texts: Sequence[str], tokens: Callable[[Encoding], Tokens]) -> list[Tokens]:
        """Encode texts together; if that fails, one by one, so that one text's failure is its own.

        :raises Exception: the tokenizer's own, if it fails on any text
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
    """Return what a call of the tokenizer gives, or its error: a panic in Rust is no `Exception`."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return error
        raise


def tokenised_ahead(
    tokeniser: Tokeniser, prepared: Prepared, waiting: Callable[[], None]
) -> Iterator[Sequence[Tokens]]:
    """Give the tokens of `SORTED_TEXTS` texts at a time, and tokenise the next ones in a thread meanwhile.

    :param waiting: called now and then while there is nothing to give; may raise
    """
    given_up = threading.Event()

    def look() -> None:
        if given_up.is_set():
            raise InterruptedError

    pool = ThreadPoolExecutor(1, "tokenise")
    try:
        tokenised = prepared.first
        for start in range(SORTED_TEXTS, len(prepared.texts), SORTED_TEXTS):
            ahead = pool.submit(tokeniser.tokenise, prepared.texts[start : start + SORTED_TEXTS], look)
            yield tokenised
            while not ahead.done():
                wait([ahead], timeout=POLL_S)
                waiting()
            tokenised = ahead.result()
        yield tokenised
    finally:
        given_up.set()
        pool.shutdown(wait=False, cancel_futures=True)
