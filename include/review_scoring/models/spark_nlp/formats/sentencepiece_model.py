"""SentencePiece models: the pieces with their scores and types, the trainer's options, the normalisation table.

The format: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from review_scoring.models.spark_nlp.formats.charsmap import check_charsmap
from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.refusals import damaged

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Types of a piece."""

UNIGRAM = 1
"""The type of a model of the kind Unigram, and the default."""

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SPACE_BEHIND, _BYTE_FALLBACK = 3, 24, 35
_CHARSMAP, _DUMMY_PREFIX, _ONE_SPACE, _ESCAPE_SPACE = 2, 3, 4, 5


@dataclass(frozen=True)
class Piece:
    """One piece of the vocabulary; `type` is one of the constants of this module."""

    text: str
    type: int
    message: Message
    what: str

    def score(self) -> float:
        """Return the score: a log probability.

        :raises ArchiveError: for a score that is not a finite number
        """
        raw = bytes(self.message.raw(_SCORE)) or bytes(4)
        score = struct.unpack("<f", raw)[0] if len(raw) == 4 else math.nan
        if not math.isfinite(score):
            raise damaged(self.what, "its score is not a finite number")
        return float(score)


class SentencePieceModel:
    """A SentencePiece `ModelProto`.

    :param what: the name of the file in error messages
    :raises ArchiveError: for damaged bytes
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._proto = Message(data, what)
        self._what = what

    def types(self) -> list[int]:
        """Return the type of the model, if it is stated."""
        return [trainer.integer(_MODEL_TYPE, UNIGRAM) for trainer in self._proto.messages(_TRAINER)]

    def has_byte_fallback(self) -> bool:
        """Return whether unknown characters become bytes."""
        return any(trainer.integer(_BYTE_FALLBACK) for trainer in self._proto.messages(_TRAINER))

    def marks_spaces_behind(self) -> bool:
        """Return whether a piece marks the space behind a word, instead of the one before."""
        return any(trainer.integer(_SPACE_BEHIND) for trainer in self._proto.messages(_TRAINER))

    def keeps_spaces(self) -> bool:
        """Return whether a default rule for spaces is off: one in front, no repeated ones, escaped ones."""
        rules = (_DUMMY_PREFIX, _ONE_SPACE, _ESCAPE_SPACE)
        return any(
            not normalizer.integer(rule, 1) for normalizer in self._proto.messages(_NORMALIZER) for rule in rules
        )

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces in the order of their ids."""
        for index, message in enumerate(self._proto.messages(_PIECES)):
            yield Piece(message.text(_PIECE), message.integer(_TYPE, NORMAL), message, f"{self._what}, piece {index}")

    def charsmap(self) -> bytes:
        """Return the normalisation table; empty bytes if there is none.

        :raises ArchiveError: for a damaged table
        """
        table = b"".join(bytes(normalizer.raw(_CHARSMAP)) for normalizer in self._proto.messages(_NORMALIZER))
        if table:
            check_charsmap(table, self._what)
        return table
