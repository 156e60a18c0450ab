"""The trial of a model at import: every token, a text of maximum length, and other texts in the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from review_scoring.errors import ModelError
from review_scoring.inference.import_trial import try_model
from review_scoring.inference.packed import PackedEncoder
from tests.inference.architectures import random_model


@pytest.mark.parametrize("kind", ["fnet", "convbert", "yoso"])
def test_a_model_whose_scores_depend_on_the_batch_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"score of a text changes by 0\.\d+ depending on the other texts in its batch"
    ):
        try_model(random_model(tmp_path, kind))


def test_a_model_whose_scores_depend_on_earlier_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"changes by 0\.\d+ depending on the texts that were scored before it"):
        try_model(random_model(tmp_path, "big_bird"))


@pytest.mark.parametrize(
    "kind", ["bert", "distilbert", "camembert", "electra", "deberta-v2", "mpnet", "longformer", "gpt2"]
)
def test_a_model_that_masks_padding_passes(kind: str, tmp_path: Path) -> None:
    assert len(try_model(random_model(tmp_path, kind))) == 2


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "bert")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("😡")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="tokenizer has 20893 tokens, but the model has embeddings for 20892"):
        try_model(folder)


def test_a_tokenizer_that_knows_no_word_is_refused(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "bert")
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "日本": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=next(iter(words))))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="converts each word of a French sentence to the unknown token"):
        try_model(folder)


def test_a_model_that_cannot_read_max_tokens_of_its_entry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = random_model(tmp_path, "bert", max_position_embeddings=64)
    assert len(try_model(folder)) == 2
    # As for a model whose positions nobody knows.
    monkeypatch.setattr("review_scoring.inference.classifier.positions_of", lambda model: 2**31)
    with pytest.raises(ModelError, match="cannot score a text of 512 tokens, which max_tokens of its catalogue entry"):
        try_model(folder)
    assert len(try_model(replace(folder, max_tokens=64))) == 2


def test_a_model_that_cannot_score_gives_a_short_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = random_model(tmp_path, "bert")

    def fail(self: object, ids: object) -> None:
        raise RuntimeError("word " * 2000)

    monkeypatch.setattr(PackedEncoder, "__call__", fail)
    with pytest.raises(ModelError, match="fails on simple sentences") as told:
        try_model(folder)
    assert len(str(told.value)) < 500
