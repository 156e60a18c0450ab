"""The tokenizer of XLM-RoBERTa, from a SentencePiece model.

The format: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto. What is built
from it is the tokenizer that `transformers` has for the model (`tokenization_xlm_roberta.py`): the ids are
SentencePiece's own plus one, because Hugging Face's begin with `<s> <pad> </s> <unk>` and SentencePiece's
with `<unk> <s> </s>`.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from review_scoring.models.spark_nlp.formats.charsmap import check_charsmap
from review_scoring.models.spark_nlp.formats.protobuf import Message
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FIRST, PADDING, LAST, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
_FRONT = (FIRST, PADDING, LAST, UNKNOWN)
_REPLACED_PIECES = ((UNKNOWN, 2), (FIRST, 3), (LAST, 3))
"""The pieces before the words, and their types: unknown is 2, control 3."""

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE, _NORMAL, _USER_DEFINED, _BYTE = 1, 2, 3, 1, 4, 6
_MODEL_TYPE, _UNIGRAM, _SPACE_BEHIND, _BYTE_FALLBACK = 3, 1, 24, 35
_CHARSMAP, _DUMMY_PREFIX, _ONE_SPACE, _ESCAPE_SPACE = 2, 3, 4, 5

Piece = tuple[str, float]


def build_unigram(model: bytes, rows: int, what: str, *, lowercase: bool) -> Tokenizer:
    """Return a complete tokenizer.

    :param model: a SentencePiece `ModelProto`
    :param rows: how many tokens the neural model has embeddings for
    :param what: the file's name in error messages
    :param lowercase: whether letters become lower-case before anything else
    :raises ArchiveError: for damaged bytes, another kind of model than XLM-RoBERTa's, and a vocabulary that
        does not fit
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    proto = Message(model, what)
    _check_kind(proto, what)
    pieces, user_defined = _read_pieces(proto, what)
    words = [(token, 0.0) for token in _FRONT] + pieces
    if len(words) > rows:
        raise damaged(what, f"it has {len(words)} tokens, and the model embeddings for {rows}")
    special = list(_FRONT)
    if len(words) < rows and all(word != MASK for word, _ in words):
        words.append((MASK, 0.0))
        special.append(MASK)
    tokenizer = Tokenizer(models.Unigram(vocab=words, unk_id=_FRONT.index(UNKNOWN), byte_fallback=False))
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if lowercase else []
    if charsmap := _charsmap(proto, what):
        steps.append(normalizers.Precompiled(charsmap))
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {LAST}",
        pair=f"{FIRST} $A {LAST} {LAST} $B {LAST}",
        special_tokens=[(token, _FRONT.index(token)) for token in (FIRST, LAST)],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True, lstrip=token == MASK) for token in special]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in user_defined])
    return tokenizer


def _check_kind(proto: Message, what: str) -> None:
    """Refuse what the tokenizer here would read differently from SentencePiece."""
    for trainer in proto.messages(_TRAINER):
        if (kind := trainer.integer(_MODEL_TYPE, _UNIGRAM)) != _UNIGRAM:
            raise unsupported(what, f"it is a SentencePiece model of type {kind}, not Unigram")
        if trainer.integer(_BYTE_FALLBACK) or trainer.integer(_SPACE_BEHIND):
            raise unsupported(what, "it falls back to bytes, or marks spaces behind words")
    for normalizer in proto.messages(_NORMALIZER):
        if not all(normalizer.integer(rule, 1) for rule in (_DUMMY_PREFIX, _ONE_SPACE, _ESCAPE_SPACE)):
            raise unsupported(what, "it keeps spaces as they are")


def _read_pieces(proto: Message, what: str) -> tuple[list[Piece], list[str]]:
    """Return the words with their scores, and which of them a user of SentencePiece had defined."""
    pieces: list[Piece] = []
    user_defined: list[str] = []
    seen = {*_FRONT}
    for index, message in enumerate(proto.messages(_PIECES)):
        piece, kind = message.text(_PIECE), message.integer(_TYPE, _NORMAL)
        if index < len(_REPLACED_PIECES):
            if (piece, kind) != _REPLACED_PIECES[index]:
                raise unsupported(what, f"its piece {index} is {piece[:100]!r}, not {_REPLACED_PIECES[index][0]}")
            continue
        if not piece or piece in seen or kind == _BYTE:
            raise damaged(what, f"its piece {index} is {piece[:100]!r}: empty, twice there, or a byte")
        seen.add(piece)
        pieces.append((piece, _score(message, f"{what}, piece {index}")))
        if kind == _USER_DEFINED:
            user_defined.append(piece)
    if not pieces:
        raise damaged(what, "it has no pieces")
    return pieces, user_defined


def _score(message: Message, what: str) -> float:
    raw = bytes(message.raw(_SCORE)) or bytes(4)
    score = struct.unpack("<f", raw)[0] if len(raw) == struct.calcsize("<f") else math.nan
    if not math.isfinite(score):
        raise damaged(what, "its score is not a finite number")
    return float(score)


def _charsmap(proto: Message, what: str) -> bytes:
    """Return the normalisation table, checked, or nothing."""
    table = b"".join(bytes(normalizer.raw(_CHARSMAP)) for normalizer in proto.messages(_NORMALIZER))
    if table:
        check_charsmap(table, what)
    return table
