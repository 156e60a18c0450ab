"""The WordPiece tokenizer of BERT and DistilBERT, built from a vocabulary.

It is the tokenizer that `transformers` builds (`tokenization_bert.py`), since the models were trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from review_scoring.models.spark_nlp.refusals import damaged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, FIRST, LAST, PADDING, MASK = "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"
_NEEDED = (UNKNOWN, FIRST, LAST, PADDING)


def build_wordpiece(vocabulary: Mapping[str, int], rows: int, *, lowercase: bool) -> Tokenizer:
    """Return a complete tokenizer.

    :param vocabulary: token -> id; gaps between ids are filled with placeholders that no text contains
    :param rows: number of tokens that the model has embeddings for
    :param lowercase: whether text is converted to lower case and accents are stripped, as in BERT's uncased models
    :raises ArchiveError: for a vocabulary that does not fit the embeddings or lacks a special token
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    complete = _without_gaps(vocabulary, rows)
    tokenizer = Tokenizer(models.WordPiece(vocab=complete, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST}:0 $A:0 {LAST}:0",
        pair=f"{FIRST}:0 $A:0 {LAST}:0 $B:1 {LAST}:1",
        special_tokens=[(FIRST, complete[FIRST]), (LAST, complete[LAST])],
    )
    special = [token for token in (PADDING, UNKNOWN, FIRST, LAST, MASK) if token in complete]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def _without_gaps(vocabulary: Mapping[str, int], rows: int) -> dict[str, int]:
    """Return the vocabulary in the order of its ids, with a placeholder for each row without a token."""
    if missing := [token for token in _NEEDED if token not in vocabulary]:
        raise damaged("fields/vocabulary", f"it lacks {', '.join(missing)}")
    if (highest := max(vocabulary.values())) >= rows:
        raise damaged("fields/vocabulary", f"it has the id {highest}, and the model has embeddings for {rows} tokens")
    tokens = {number: token for token, number in vocabulary.items()}
    complete: dict[str, int] = {}
    for number in range(rows):
        token = tokens.get(number, f"[gap{number}]")
        while number not in tokens and token in vocabulary:
            token = f"[{token}]"
        complete[token] = number
    return complete
