"""Tokenizer files are kept or converted exactly; a tokenizer with unknown options is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers

from review_scoring.errors import ModelError
from review_scoring.importing import import_model
from tests.inference.architectures import write_random_model
from tests.models.own_catalogue import entry, settings
from tests.models.spark_nlp.test_fixtures import FIXTURES

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "Été",
    "été",
    "ete",
    "à",
    "a",
    "PARIS",
    "paris",
    "##s",
    "mot",
    "film",
    "fin",
]
TEXT = "Été à PARIS, mots"


def folder_of(folder: Path, kind: str, vocabulary: int) -> Path:
    """Write a model without a tokenizer."""
    write_random_model(folder, kind, vocab_size=vocabulary, pad_token_id=0)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    return folder


def imported(folder: Path, tmp_path: Path) -> Path:
    mine = entry("mine", "folder", f'folder = "{folder}"')
    own = settings(tmp_path, mine.replace('{ neg = "neg", pos = "pos" }', '{ LABEL_0 = "neg", LABEL_1 = "pos" }'))
    return import_model("mine", own).path


def refused(folder: Path, tmp_path: Path, told: str) -> None:
    with pytest.raises(ModelError, match=told) as error:
        imported(folder, tmp_path)
    assert str(folder) in str(error.value)
    assert len(str(error.value)) < 500


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "bert", "bert", len(WORDS))


def write_words(folder: Path, words: list[str], **options: Any) -> None:
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(options))


def test_a_folder_without_a_tokenizer_is_refused(bert: Path, tmp_path: Path) -> None:
    refused(bert, tmp_path, "has no tokenizer.json, and no vocabulary that can be converted exactly")


@pytest.mark.parametrize("options", [None, {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}])
def test_tokenizer_json_is_used_if_it_exists(bert: Path, tmp_path: Path, options: dict[str, Any] | None) -> None:
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token=WORDS[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(bert / "tokenizer.json"))
    if options is not None:
        (bert / "tokenizer_config.json").write_text(json.dumps(options))
    found = imported(bert, tmp_path)
    assert (found / "tokenizer.json").read_bytes() == (bert / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("lowercase", "expected"),
    [
        (False, ["[CLS]", "Été", "à", "PARIS", "[UNK]", "mot", "##s", "[SEP]"]),
        (True, ["[CLS]", "ete", "a", "paris", "[UNK]", "mot", "##s", "[SEP]"]),
    ],
)
def test_a_wordpiece_vocabulary_is_converted_with_the_case_of_its_config(
    bert: Path, tmp_path: Path, lowercase: bool, expected: list[str]
) -> None:
    write_words(bert, WORDS, do_lower_case=lowercase)
    assert Tokenizer.from_file(str(imported(bert, tmp_path) / "tokenizer.json")).encode(TEXT).tokens == expected


@pytest.mark.parametrize("options", [{}, {"tokenizer_class": "BertTokenizer"}])
def test_a_wordpiece_vocabulary_without_a_case_setting_is_refused(
    bert: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    write_words(bert, WORDS, **options)
    refused(bert, tmp_path, "tokenizer_config.json does not set do_lower_case")


def test_a_wordpiece_vocabulary_without_a_special_token_is_refused(bert: Path, tmp_path: Path) -> None:
    write_words(bert, [*WORDS[:4], *WORDS[5:], "other"], do_lower_case=False)
    refused(bert, tmp_path, r"a tokenizer built from its vocabulary has other tokens \('\[MASK\]'\)")


def test_a_wordpiece_vocabulary_for_another_kind_of_tokenizer_is_refused(bert: Path, tmp_path: Path) -> None:
    write_words(bert, WORDS, do_lower_case=False, tokenizer_class="BertJapaneseTokenizer")
    refused(bert, tmp_path, "no vocabulary that can be converted exactly")


@pytest.mark.parametrize("option", [{"do_basic_tokenize": False}, {"never_split": ["mot"]}])
def test_a_wordpiece_vocabulary_with_an_unknown_option_is_refused(
    bert: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    write_words(bert, WORDS, do_lower_case=False, **option)
    refused(bert, tmp_path, f"its tokenizer_config.json has {next(iter(option))}")


def test_byte_level_bpe_is_converted_to_the_same_tokens(tmp_path: Path) -> None:
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(
        ["un beau film, vraiment beau", "quel ennui"] * 9, vocab_size=300, special_tokens=special
    )
    roberta = folder_of(tmp_path / "roberta", "roberta", trained.get_vocab_size())
    trained.save_model(str(roberta))
    found = Tokenizer.from_file(str(imported(roberta, tmp_path) / "tokenizer.json"))
    text = "Un beau film — vraiment ; été"
    assert found.encode(text, add_special_tokens=False).ids == trained.encode(text).ids
    assert found.encode(text).ids[0] == special.index("<s>")


def sentencepiece_of(tmp_path: Path) -> tuple[bytes, Path]:
    """Return the SentencePiece model of the miniature, and the folder that its import writes."""
    with zipfile.ZipFile(FIXTURES / "xlm_roberta.zip") as archive:
        model = archive.read("xlmroberta_spp")
    (tmp_path / "theirs").mkdir()
    return model, import_model("mini-xlm-roberta", settings(tmp_path / "theirs")).path


def test_the_sentencepiece_of_xlm_roberta_is_converted_to_the_same_tokens(tmp_path: Path) -> None:
    model, theirs = sentencepiece_of(tmp_path)
    rows = json.loads((theirs / "config.json").read_text())["vocab_size"]
    mine = folder_of(tmp_path / "xlm", "xlm-roberta", rows)
    (mine / "sentencepiece.bpe.model").write_bytes(model)
    found, expected = (
        Tokenizer.from_file(str(path / "tokenizer.json")).encode(TEXT).ids
        for path in (imported(mine, tmp_path), theirs)
    )
    assert found == expected


@pytest.mark.parametrize("kind", ["camembert", "bert"])
def test_the_sentencepiece_of_another_architecture_is_refused(kind: str, tmp_path: Path) -> None:
    model, _ = sentencepiece_of(tmp_path)
    mine = folder_of(tmp_path / kind, kind, 2000)
    (mine / "sentencepiece.bpe.model").write_bytes(model)
    refused(mine, tmp_path, "no vocabulary that can be converted exactly")


def test_a_sentencepiece_model_with_added_tokens_is_refused(tmp_path: Path) -> None:
    model, _ = sentencepiece_of(tmp_path)
    mine = folder_of(tmp_path / "xlm", "xlm-roberta", 2000)
    (mine / "sentencepiece.bpe.model").write_bytes(model)
    (mine / "added_tokens.json").write_text('{"<emoji>": 1999}')
    refused(mine, tmp_path, "it has added tokens")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_tokenizer_config_that_is_not_an_object_is_refused(bert: Path, tmp_path: Path, content: str) -> None:
    write_words(bert, WORDS)
    (bert / "tokenizer_config.json").write_text(content)
    refused(bert, tmp_path, "tokenizer_config.json is not a JSON object")


def test_added_tokens_keep_the_ids_that_their_file_gives_them(bert: Path, tmp_path: Path) -> None:
    write_words(bert, WORDS[:-1], do_lower_case=False)
    (bert / "added_tokens.json").write_text(json.dumps({"😡": len(WORDS) - 1}))
    found = Tokenizer.from_file(str(imported(bert, tmp_path) / "tokenizer.json"))
    assert found.encode("mot 😡", add_special_tokens=False).ids == [WORDS.index("mot"), len(WORDS) - 1]


def test_added_tokens_whose_ids_cannot_be_kept_are_refused(bert: Path, tmp_path: Path) -> None:
    write_words(bert, WORDS[:-1], do_lower_case=False)
    (bert / "added_tokens.json").write_text(json.dumps({"😡": len(WORDS) + 30}))
    refused(bert, tmp_path, "a tokenizer built from its vocabulary has other tokens")
