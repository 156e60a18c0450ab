"""The Unigram tokenizer of XLM-RoBERTa, built from a SentencePiece model.

It is the tokenizer that `transformers` has for the model (`tokenization_xlm_roberta.py`). Ids are those of
SentencePiece plus one: Hugging Face's begin with `<s> <pad> </s> <unk>`, SentencePiece's with `<unk> <s> </s>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from review_scoring.models.spark_nlp.formats import sentencepiece_model
from review_scoring.models.spark_nlp.formats.sentencepiece_model import UNIGRAM, SentencePieceModel
from review_scoring.models.spark_nlp.refusals import damaged, unsupported

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FIRST, PADDING, LAST, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
_FRONT = (FIRST, PADDING, LAST, UNKNOWN)
_REPLACED_PIECES = (
    (UNKNOWN, sentencepiece_model.UNKNOWN),
    (FIRST, sentencepiece_model.CONTROL),
    (LAST, sentencepiece_model.CONTROL),
)
"""The pieces before the words, and their types."""


def build_unigram(model: bytes, rows: int, what: str, *, lowercase: bool) -> Tokenizer:
    """Return a complete tokenizer.

    :param model: a SentencePiece `ModelProto`
    :param rows: number of tokens that the model has embeddings for
    :param what: the name of the file in error messages
    :param lowercase: whether text is converted to lower case first
    :raises ArchiveError: for damaged bytes, for another kind of SentencePiece model than that of XLM-RoBERTa, and for a
        vocabulary that does not fit the embeddings
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    proto = SentencePieceModel(model, what)
    _check_options(proto, what)
    pieces, user_defined = _read_pieces(proto, what)
    words = [(token, 0.0) for token in _FRONT] + pieces
    if len(words) > rows:
        raise damaged(what, f"it has {len(words)} tokens, and the model has embeddings for {rows}")
    special = list(_FRONT)
    if len(words) < rows and all(word != MASK for word, _ in words):
        words.append((MASK, 0.0))
        special.append(MASK)
    tokenizer = Tokenizer(models.Unigram(vocab=words, unk_id=_FRONT.index(UNKNOWN), byte_fallback=False))
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if lowercase else []
    if charsmap := proto.charsmap():
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


def _check_options(proto: SentencePieceModel, what: str) -> None:
    """Refuse a model that this tokenizer would apply differently from SentencePiece."""
    for kind in proto.types():
        if kind != UNIGRAM:
            raise unsupported(what, f"it is a SentencePiece model of type {kind}, not Unigram")
    if proto.has_byte_fallback() or proto.marks_spaces_behind():
        raise unsupported(what, "it falls back to bytes, or marks spaces behind words")
    if proto.keeps_spaces():
        raise unsupported(what, "it keeps spaces as they are")


def _read_pieces(proto: SentencePieceModel, what: str) -> tuple[list[tuple[str, float]], list[str]]:
    """Return the words with their scores, and those that are user-defined symbols of SentencePiece."""
    pieces: list[tuple[str, float]] = []
    user_defined: list[str] = []
    seen = {*_FRONT}
    for index, piece in enumerate(proto.pieces()):
        if index < len(_REPLACED_PIECES):
            if (piece.text, piece.type) != _REPLACED_PIECES[index]:
                raise unsupported(what, f"its piece {index} is {piece.text[:100]!r}, not {_REPLACED_PIECES[index][0]}")
            continue
        if not piece.text or piece.text in seen or piece.type == sentencepiece_model.BYTE:
            raise damaged(what, f"its piece {index} is {piece.text[:100]!r}: empty, repeated, or a byte")
        seen.add(piece.text)
        pieces.append((piece.text, piece.score()))
        if piece.type == sentencepiece_model.USER_DEFINED:
            user_defined.append(piece.text)
    if not pieces:
        raise damaged(what, "it has no pieces")
    return pieces, user_defined
