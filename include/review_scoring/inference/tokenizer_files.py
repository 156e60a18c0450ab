"""Tokenizer files of an imported model: keeps `tokenizer.json`, or converts a vocabulary to it exactly.

If a folder has `tokenizer.json`, that file is the tokenizer. Otherwise a vocabulary is converted only if all of its
options are known: transformers would fill in defaults, such as lower case, with which the model returns wrong scores
without an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer

from review_scoring.errors import ModelError, in_short
from review_scoring.models.spark_nlp.unigram import FIRST, LAST, MASK, PADDING, UNKNOWN, build_unigram

TOKENIZER, OPTIONS = "tokenizer.json", "tokenizer_config.json"
SPECIAL = (FIRST, PADDING, LAST, UNKNOWN, MASK)
PLAIN_OPTIONS = {"tokenizer_class": "PreTrainedTokenizerFast"}
"""Makes transformers read `tokenizer.json` alone."""


@dataclass(frozen=True)
class Conversion:
    """A kind of tokenizer that can be converted exactly from its vocabulary.

    :param files: the files of the vocabulary; the first one has each token with its id
    :param needs: options that tokenizer_config.json has to set, because their defaults are often wrong
    :param transformers_class: the class that builds it; None for XLM-RoBERTa's, which is built here
    :param model_types: architectures that use it unless tokenizer_config.json names another class
    """

    files: tuple[str, ...]
    needs: tuple[str, ...]
    transformers_class: str | None
    model_types: frozenset[str]


CONVERSIONS = {
    "WordPiece": Conversion(
        ("vocab.txt",), ("do_lower_case",), "BertTokenizer", frozenset({"bert", "distilbert", "electra"})
    ),
    "byte-level BPE": Conversion(("vocab.json", "merges.txt"), (), "RobertaTokenizer", frozenset({"roberta"})),
    "SentencePiece": Conversion(("sentencepiece.bpe.model",), (), None, frozenset({"xlm-roberta"})),
}
CLASSES = {
    "BertTokenizer": "WordPiece",
    "DistilBertTokenizer": "WordPiece",
    "ElectraTokenizer": "WordPiece",
    "RobertaTokenizer": "byte-level BPE",
    "XLMRobertaTokenizer": "SentencePiece",
}


def complete_tokenizer(folder: Path, name: str) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` if a folder lacks them.

    :param name: the model's name, for errors
    :raises ModelError: if the folder has no tokenizer, or one that cannot be converted exactly
    """
    if not (folder / TOKENIZER).is_file():
        _convert(folder, name)
    if not (folder / OPTIONS).is_file():
        (folder / OPTIONS).write_text(json.dumps(PLAIN_OPTIONS, indent=2) + "\n", encoding="utf-8")


def _convert(folder: Path, name: str) -> None:
    options = _read(folder / OPTIONS, name)
    config = _read(folder / "config.json", name)
    named_class = str(options.get("tokenizer_class") or "").removesuffix("Fast")
    kind = CLASSES.get(named_class) if named_class else _kind_of(str(config.get("model_type")))
    conversion = CONVERSIONS.get(kind or "")
    if conversion is None or not all((folder / file).is_file() for file in conversion.files):
        raise _refused(folder, name, "and no vocabulary that can be converted exactly")
    if (unsplit := options.get("never_split")) or options.get("do_basic_tokenize") is False:
        raise _refused(
            folder, name, f"and its {OPTIONS} has {'never_split' if unsplit else 'do_basic_tokenize = false'}"
        )
    if unset := [option for option in conversion.needs if option not in options]:
        raise _refused(folder, name, f"and its {OPTIONS} does not set {', '.join(unset)}")
    try:
        built = _built(folder, conversion, config)
        named = _named_tokens(folder, conversion, options)
    except Exception as error:  # noqa: BLE001 tokenizers raises bare Exceptions
        raise _refused(folder, name, f"and its vocabulary cannot be read ({in_short(error, without=folder)})") from None
    if named is not None and (other := dict(built.get_vocab(with_added_tokens=True).items() ^ named.items())):
        raise _refused(folder, name, f"and a tokenizer built from its vocabulary has other tokens ({min(other)!r})")
    built.save(str(folder / TOKENIZER))


def _built(folder: Path, conversion: Conversion, config: Mapping[str, Any]) -> Tokenizer:
    if conversion.transformers_class is None:
        file = folder / conversion.files[0]
        return build_unigram(file.read_bytes(), int(config["vocab_size"]), file.name, lowercase=False)
    made = getattr(transformers, conversion.transformers_class).from_pretrained(folder, local_files_only=True)
    tokenizer: Tokenizer = made.backend_tokenizer
    return tokenizer


def _kind_of(architecture: str) -> str | None:
    return next((kind for kind, each in CONVERSIONS.items() if architecture in each.model_types), None)


def _named_tokens(folder: Path, conversion: Conversion, options: Mapping[str, Any]) -> Mapping[str, int] | None:
    """Return the token ids in the folder's files; None for SentencePiece, whose builder reads no other file."""
    added = folder / "added_tokens.json"
    more: dict[str, int] = json.loads(added.read_text(encoding="utf-8")) if added.is_file() else {}
    more |= {str(each["content"]): int(number) for number, each in options.get("added_tokens_decoder", {}).items()}
    if conversion.transformers_class is None:
        if more.keys() - set(SPECIAL):
            raise ValueError("it has added tokens")
        return None
    text = (folder / conversion.files[0]).read_text(encoding="utf-8")
    if conversion.files[0].endswith(".json"):
        return {**json.loads(text), **more}
    return {**{word: n for n, word in enumerate(text.removesuffix("\n").split("\n"))}, **more}


def _read(file: Path, name: str) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"model {name!r}: {file} is not a JSON object; save the tokenizer again")
    return content


def _refused(folder: Path, name: str, why: str) -> ModelError:
    return ModelError(
        f"model {name!r}: {folder} has no {TOKENIZER}, {why}; load the tokenizer that the model was trained with, and "
        f"save it to that folder with save_pretrained of transformers, which writes {TOKENIZER}"
    )
