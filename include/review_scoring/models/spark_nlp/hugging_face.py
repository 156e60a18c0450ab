"""Write `config.json`, `tokenizer.json` and `tokenizer_config.json` of a Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from review_scoring.models.spark_nlp import unigram, wordpiece
from review_scoring.models.spark_nlp.architectures import DISTILBERT, XLM_ROBERTA, Architecture, Sizes
from review_scoring.models.spark_nlp.refusals import unsupported

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_EPSILON_TOLERANCE = 1e-3


def write_config(
    path: Path,
    architecture: Architecture,
    sizes: Sizes,
    labels: Sequence[str],
    *,
    heads: int,
    layer_norm_eps: float,
    pad: int,
) -> None:
    """Write `config.json`.

    :param labels: the labels in the order of the model's outputs
    :param pad: the id of the padding token
    :raises ArchiveError: for an epsilon that DistilBERT in `transformers` does not support
    """
    config: dict[str, object] = {
        "architectures": [architecture.transformers_class],
        "model_type": architecture.name,
        "dtype": "float32",
        "vocab_size": sizes.vocabulary,
        "max_position_embeddings": sizes.positions,
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "pad_token_id": pad,
    }
    if architecture is DISTILBERT:
        config |= _distilbert(sizes, heads, layer_norm_eps)
    else:
        config |= {
            "hidden_size": sizes.hidden,
            "intermediate_size": sizes.intermediate,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": heads,
            "hidden_act": "gelu",
            "layer_norm_eps": layer_norm_eps,
            "type_vocab_size": sizes.token_types,
            "position_embedding_type": "absolute",
        }
    if architecture is XLM_ROBERTA:
        config |= {"bos_token_id": 0, "eos_token_id": 2}
    _write_json(path, config)


def _distilbert(sizes: Sizes, heads: int, layer_norm_eps: float) -> dict[str, object]:
    fixed = DISTILBERT.layer_norm_eps
    if abs(layer_norm_eps - fixed) > _EPSILON_TOLERANCE * fixed:
        raise unsupported(
            DISTILBERT.graph_file,
            f"its LayerNorm epsilon is {layer_norm_eps:g}, and DistilBERT in transformers has {fixed:g}",
        )
    return {
        "dim": sizes.hidden,
        "hidden_dim": sizes.intermediate,
        "n_layers": sizes.layers,
        "n_heads": heads,
        "activation": "gelu",
        "sinusoidal_pos_embds": False,
    }


def write_tokenizer(
    folder: Path, architecture: Architecture, tokenizer: Tokenizer, max_tokens: int, *, lowercase: bool
) -> None:
    """Write `tokenizer.json`, which is self-contained, and `tokenizer_config.json` for `transformers`."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    source = unigram if architecture is XLM_ROBERTA else wordpiece
    tokens = {
        "cls_token": source.FIRST,
        "sep_token": source.LAST,
        "pad_token": source.PADDING,
        "unk_token": source.UNKNOWN,
        "mask_token": source.MASK,
    }
    if architecture is XLM_ROBERTA:
        tokens |= {"bos_token": source.FIRST, "eos_token": source.LAST}
    inputs = ["input_ids", *(["token_type_ids"] if architecture.name == "bert" else []), "attention_mask"]
    config = {name: token for name, token in tokens.items() if tokenizer.token_to_id(token) is not None}
    _write_json(
        folder / "tokenizer_config.json",
        config
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_tokens,
            "model_input_names": inputs,
            "do_lower_case": lowercase,
            "clean_up_tokenization_spaces": False,
        },
    )


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
