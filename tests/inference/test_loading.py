"""Weights that do not match the config: missing ones, and those that change scores, are refused; others are logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from review_scoring.errors import ModelError
from review_scoring.inference.classifier import Classifier
from review_scoring.models.folder import ModelFolder
from tests.inference.architectures import random_model

Weights = Mapping[str, torch.Tensor]


def changed(folder: ModelFolder, change: Callable[[Weights], Weights]) -> ModelFolder:
    """Change a model's weights on the disk."""
    file = folder.path / "model.safetensors"
    save_file(dict(change(load_file(file))), file, {"format": "pt"})
    return folder


def load(folder: ModelFolder) -> Classifier:
    return Classifier.load(folder, device="cpu", precision="float32")


@pytest.fixture
def bert(tmp_path: Path) -> ModelFolder:
    return random_model(tmp_path, "bert")


@pytest.mark.parametrize(
    "spare", ["roberta.pooler.dense.weight", "lm_head.layer_norm.bias", "roberta.embeddings.position_ids"]
)
def test_weights_that_do_not_change_scores_are_one_line_in_the_log(
    spare: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = random_model(tmp_path, "xlm-roberta")
    before: Any = load(folder).classify(["Quel ennui."])[0]
    with caplog.at_level(logging.INFO):
        after: Any = load(changed(folder, lambda w: {**w, spare: torch.ones(64, 64)})).classify(["Quel ennui."])[0]
    assert after.probabilities == pytest.approx(before.probabilities, abs=1e-6)
    told = [r.message for r in caplog.records if "weights that the classifier does not use" in r.message]
    assert len(told) == (spare != "roberta.embeddings.position_ids")  # which transformers itself leaves out


@pytest.mark.parametrize(
    "spare",
    [
        "bert.encoder.layer.3.output.dense.bias",
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",
        "bert.pooler.dense.weight_scale",
    ],
)
def test_a_spare_weight_of_a_layer_that_the_model_uses_is_refused(spare: str, bert: ModelFolder) -> None:
    with pytest.raises(ModelError, match="has 1 weights in its layers that its config.json does not describe"):
        load(changed(bert, lambda weights: {**weights, spare: torch.ones(64)}))


@pytest.mark.parametrize("constant", ["attn.bias", "attn.masked_bias"])
def test_causal_masks_that_an_older_transformers_saved_are_ignored(constant: str, tmp_path: Path) -> None:
    folder = random_model(tmp_path, "gpt2")
    load(changed(folder, lambda weights: {**weights, f"transformer.h.0.{constant}": torch.ones(1, 1, 4, 4)}))


def test_missing_weights_are_counted_and_only_some_are_named(bert: ModelFolder) -> None:
    with pytest.raises(ModelError, match=r"of its weights \(bert\.embeddings.*, …\), so it is not a trained") as told:
        load(changed(bert, lambda weights: {name.replace("bert.", "other."): w for name, w in weights.items()}))
    assert len(str(told.value)) < 500


def test_a_head_of_another_size_is_refused_with_both_shapes(bert: ModelFolder) -> None:
    with pytest.raises(
        ModelError, match=r"classifier\.bias has the shape \(3,\), but by config\.json it must be \(2,\)"
    ):
        load(changed(bert, lambda w: {**w, "classifier.weight": torch.ones(3, 64), "classifier.bias": torch.ones(3)}))


def test_a_model_without_a_padding_token_is_refused_with_the_key_to_set(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "gpt2", pad_token_id=None)
    with pytest.raises(ModelError, match=r"names no padding token, .* set pad_token_id there"):
        load(folder)


def test_a_decoder_with_a_padding_token_scores_reviews_together_as_alone(tmp_path: Path) -> None:
    classifier = load(random_model(tmp_path, "gpt2"))
    alone: Any = classifier.classify(["Quel ennui."])[0]
    together: Any = classifier.classify(["Quel ennui.", "Un film magnifique, du début à la fin."])[0]
    assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_an_error_of_a_library_is_quoted_by_its_truncated_first_line(
    bert: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ValueError("word " * 2000 + "\nanother line")

    monkeypatch.setattr("review_scoring.inference.loading.AutoConfig.from_pretrained", fail)
    with pytest.raises(ModelError, match="does not load") as told:
        load(bert)
    assert len(str(told.value)) < 500
    assert "another line" not in str(told.value)


def test_an_unknown_architecture_gives_a_short_error(bert: ModelFolder) -> None:
    (bert.path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(ModelError, match="does not load") as told:
        load(bert)
    assert len(str(told.value)) < 500
