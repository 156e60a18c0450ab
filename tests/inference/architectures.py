"""Small classifiers of each architecture, with random weights and the bundled tokenizer, as folders to load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from review_scoring.models.catalogue import BUNDLED, DEFAULT_MODEL
from review_scoring.models.folder import ModelFolder, open_folder

VOCABULARY = 20_892
"""Tokens of the bundled tokenizer."""

SIZES: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128},
    "distilbert": {"dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 128},
}
SIZES["xlm-roberta"] = {**SIZES["bert"], "max_position_embeddings": 514, "type_vocab_size": 1}
SIZES["camembert"] = SIZES["xlm-roberta"]
SIZES["electra"] = {**SIZES["bert"], "embedding_size": 32}
SIZES["deberta"] = {**SIZES["bert"], "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
SIZES["deberta-v2"] = {**SIZES["deberta"], "position_buckets": 32, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
SIZES["roberta-prelayernorm"] = SIZES["xlm-roberta"]
SIZES["mpnet"] = SIZES["data2vec-text"] = SIZES["ibert"] = SIZES["roberta"] = SIZES["xlm-roberta"]
SIZES["xmod"] = {**SIZES["xlm-roberta"], "languages": ["fr"], "default_language": "fr"}
SIZES["longformer"] = {**SIZES["xlm-roberta"], "attention_window": 32}
SIZES["fnet"] = {**SIZES["bert"], "type_vocab_size": 4}
SIZES["convbert"] = {**SIZES["bert"], "embedding_size": 64}
SIZES["yoso"] = SIZES["bert"]
SIZES["big_bird"] = {**SIZES["bert"], "block_size": 16, "num_random_blocks": 2, "max_position_embeddings": 512}
SIZES["gpt2"] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
SIZES["xlnet"] = {"d_model": 64, "n_layer": 3, "n_head": 4, "d_inner": 128}
ARCHITECTURES = ("bert", "xlm-roberta", "distilbert")
"""Those that the project promises; CamemBERT is packed as well."""


def random_model(folder: Path, kind: str, **changes: Any) -> ModelFolder:
    """Write and load a model whose weights are so large that each token and each position changes the scores."""
    write_random_model(folder, kind, **changes)
    return open_folder(folder, name=kind, labels={"LABEL_0": "neg", "LABEL_1": "pos"}, max_tokens=512)


def write_random_model(folder: Path, kind: str, **changes: Any) -> None:
    """Write such a model, possibly one that is refused."""
    torch.manual_seed(0)
    spread = {"initializer_range": 0.12, "pad_token_id": 1, "vocab_size": VOCABULARY, "num_labels": 2}
    model = cast("Any", AutoModelForSequenceClassification).from_config(
        AutoConfig.for_model(kind, **{**SIZES[kind], **spread, **changes})
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED / DEFAULT_MODEL / file, folder)
