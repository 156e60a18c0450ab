"""The tokenizers that are built: vocabularies with gaps, special tokens, normalisation, refusals."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review_scoring.errors import ArchiveError
from review_scoring.models.spark_nlp.convert import convert_archive
from review_scoring.models.spark_nlp.formats.charsmap import check_charsmap
from review_scoring.models.spark_nlp.unigram import build_unigram
from review_scoring.models.spark_nlp.wordpiece import build_wordpiece
from tests.models.spark_nlp import formats
from tests.models.spark_nlp.generator import Spec, generate
from tests.models.spark_nlp.refusals import generated_refusal, replacing
from tests.models.spark_nlp.test_real_size import charsmap_of_the_fixture

SHUFFLED = {"[SEP]": 11, "film": 0, "##s": 7, "[PAD]": 5, "[UNK]": 2, "[CLS]": 9, "Film": 3, "é": 1, "e": 4}
WORDS = (
    ("▁", -2.0),
    ("▁bon", -1.0),
    ("b", -3.0),
    ("o", -3.0),
    ("n", -3.0),
    ("▁film", -1.5),
    ("é", -3.0),
    ("B", -3.0),
)


def unigram(rows: int = 20, *, lowercase: bool = False, charsmap: bytes = b"", words: Any = WORDS) -> Any:
    return build_unigram(formats.sentencepiece_model(words, charsmap), rows, "spp", lowercase=lowercase)


# --- WordPiece ----------------------------------------------------------------------------------------------


def test_a_shuffled_vocabulary_with_gaps_keeps_its_ids() -> None:
    tokenizer = build_wordpiece(SHUFFLED, 14, lowercase=False)
    assert tokenizer.encode("films Film autre").ids == [9, 0, 7, 3, 2, 11]
    assert tokenizer.get_vocab_size() == 14


def test_no_text_gives_a_placeholder() -> None:
    tokenizer = build_wordpiece({**SHUFFLED, "[gap6]": 8}, 14, lowercase=False)
    placeholders = {tokenizer.id_to_token(n): n for n in (6, 10, 12, 13)}
    assert len(placeholders) == 4
    for text in placeholders:
        assert not set(tokenizer.encode(text).ids) & set(placeholders.values())


def test_an_uncased_vocabulary_loses_case_and_accents_and_a_cased_one_keeps_them() -> None:
    assert build_wordpiece(SHUFFLED, 14, lowercase=True).encode("Film é").tokens == [
        "[CLS]",
        "film",
        "e",
        "[SEP]",
    ]
    assert build_wordpiece(SHUFFLED, 14, lowercase=False).encode("Film é").tokens == [
        "[CLS]",
        "Film",
        "é",
        "[SEP]",
    ]


@pytest.mark.parametrize("token", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_vocabulary_without_a_special_token_is_refused(token: str) -> None:
    with pytest.raises(ArchiveError, match=rf"fields/vocabulary: it lacks \[{token[1:-1]}\]"):
        build_wordpiece({word: n for word, n in SHUFFLED.items() if word != token}, 14, lowercase=False)


def test_an_id_without_an_embedding_is_refused() -> None:
    with pytest.raises(ArchiveError, match="it has the id 11, and the model has embeddings for 11 tokens"):
        build_wordpiece(SHUFFLED, 11, lowercase=False)


def test_the_padding_of_the_config_is_the_vocabularys(tmp_path: Path) -> None:
    generate(tmp_path / "archive.zip", Spec(tokens=SHUFFLED))
    convert_archive(tmp_path / "archive.zip", tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))["pad_token_id"] == 5


# --- SentencePiece ------------------------------------------------------------------------------------------


def test_sentencepiece_ids_are_shifted_by_one_behind_the_four_special_tokens() -> None:
    assert unigram().encode("bon film").ids == [0, 5, 9, 2]


def test_runs_of_spaces_count_once() -> None:
    assert unigram().encode("  bon \n\t film  ").ids == unigram().encode("bon film").ids


def test_the_likeliest_pieces_are_chosen_not_the_longest() -> None:
    words = (*WORDS, ("▁bo", -0.1), ("on", -0.1))
    assert unigram(words=words).encode("bon").tokens == ["<s>", "▁bon", "</s>"]
    assert unigram(words=(*words[:1], *words[2:], ("▁b", -0.1))).encode("bon").tokens == [
        "<s>",
        "▁b",
        "on",
        "</s>",
    ]


def test_a_character_without_a_piece_is_unknown() -> None:
    assert unigram().encode("bon€").ids == [0, 5, 3, 2]


def test_only_an_archive_that_is_not_case_sensitive_is_lowercased() -> None:
    assert unigram(lowercase=True).encode("BON").tokens == ["<s>", "▁bon", "</s>"]
    assert "▁bon" not in unigram().encode("BON").tokens


def test_text_is_normalised_by_the_models_own_table() -> None:
    tokenizer = unigram(charsmap=charsmap_of_the_fixture())
    assert tokenizer.encode("\uff42\uff4f\uff4e\u3000\ufb01lm").tokens == tokenizer.encode("bon film").tokens


def test_the_mask_has_the_last_embedding_when_there_is_room_for_it() -> None:
    assert unigram(rows=13).token_to_id("<mask>") == 12
    assert unigram(rows=12).token_to_id("<mask>") is None


def test_more_pieces_than_embeddings_are_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, Spec(architecture="xlm_roberta", rows=11, words=WORDS))
    assert "xlmroberta_spp: it has 12 tokens, and the model has embeddings for 11" in said


def test_a_byte_pair_model_is_refused(tmp_path: Path) -> None:
    other = formats.sentencepiece_model(WORDS, model_type=2)
    said = generated_refusal(
        tmp_path, Spec(architecture="xlm_roberta"), edit=replacing("xlmroberta_spp", lambda _: other)
    )
    assert "xlmroberta_spp: it is a SentencePiece model of type 2, not Unigram" in said


@pytest.mark.parametrize(
    "words", [[("", -1.0)], [("a", -1.0), ("a", -2.0)], [("<pad>", -1.0)], [("a", float("nan"))], []]
)
def test_pieces_that_make_no_vocabulary_are_refused(words: list[tuple[str, float]]) -> None:
    with pytest.raises(ArchiveError, match="spp"):
        build_unigram(formats.sentencepiece_model(words), 20, "spp", lowercase=False)


def test_another_order_of_the_special_pieces_is_refused() -> None:
    model = formats.sentencepiece_model(WORDS).replace(b"<unk>", b"<pad>")
    with pytest.raises(ArchiveError, match="its piece 0 is '<pad>', not <unk>"):
        build_unigram(model, 20, "spp", lowercase=False)


def test_a_model_without_sentencepiece_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(
        tmp_path, Spec(architecture="xlm_roberta"), edit=replacing("xlmroberta_spp", lambda _: None)
    )
    assert "it has no xlmroberta_spp" in said


# --- The normalisation table --------------------------------------------------------------------------------


def test_the_table_of_a_real_model_is_accepted() -> None:
    check_charsmap(charsmap_of_the_fixture(), "spp")


@pytest.mark.parametrize("offset", [1 << 20, 300, 1 << 12])
def test_a_trie_that_leads_out_of_itself_is_refused(offset: int) -> None:
    units = [offset << 10, *[0] * 255]
    table = struct.pack("<I256I", 1024, *units)
    with pytest.raises(ArchiveError, match="the trie of its normalisation table leads out of itself"):
        check_charsmap(table, "spp")


def test_a_replacement_beyond_the_texts_is_refused() -> None:
    units = [0] * 256
    units[ord("a")] = ord("a") | 1 << 8 | 1 << 10
    units[ord("a") ^ 1] = 1 << 31 | 99
    with pytest.raises(ArchiveError, match="a replacement that begins outside of its texts"):
        check_charsmap(struct.pack("<I256I", 1024, *units) + b"short\0", "spp")


def trie(texts: bytes, value: int, path: bytes = b"a") -> bytes:
    """Return a table that replaces `path` by the text at `value`."""
    units, base = [0] * 1024, 0
    for index, byte in enumerate(path):
        at, offset = base ^ byte, 256 * (index + 1)
        base = at ^ offset
        units[at] = byte | offset << 10 | (index == len(path) - 1) << 8
    units[base] = 1 << 31 | value
    return struct.pack("<I1024I", 4096, *units) + texts


def test_a_custom_table_replaces_text() -> None:
    from tokenizers import normalizers

    table = trie(b"x\0\xc3\xa9t\xc3\xa9\0", 2)
    check_charsmap(table, "spp")
    assert normalizers.Precompiled(table).normalize_str("bab") == "bétéb"


def test_a_replacement_that_begins_inside_of_a_character_is_refused() -> None:
    with pytest.raises(ArchiveError, match="a replacement that begins outside of its texts"):
        check_charsmap(trie(b"x\0\xc3\xa9\0", 3), "spp")


def test_a_rule_for_half_a_character_is_refused() -> None:
    check_charsmap(trie(b"e\0", 0, "é".encode()), "spp")
    with pytest.raises(ArchiveError, match="ends inside of a character"):
        check_charsmap(trie(b"e\0", 0, "é".encode()[:1]), "spp")


def test_an_archive_with_a_table_that_leads_out_of_itself_is_refused(tmp_path: Path) -> None:
    said = generated_refusal(tmp_path, Spec(architecture="xlm_roberta", charsmap=trie(b"", 2**20)))
    assert "xlmroberta_spp: its normalisation table has a replacement that begins outside of its texts" in said


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_table_that_is_accepted_normalises_any_text_without_stopping_the_process(
    data: st.DataObject,
) -> None:
    table = bytearray(charsmap_of_the_fixture())
    for _ in range(data.draw(st.integers(1, 40))):
        table[data.draw(st.integers(4, len(table) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_charsmap(bytes(table), "spp")
    except ArchiveError:
        return
    from tokenizers import normalizers

    normalizer = normalizers.Precompiled(bytes(table))
    normalizer.normalize_str(data.draw(st.text(max_size=200)))
    normalizer.normalize_str("".join(map(chr, range(1, 0x3000))))
