"""Converted miniatures give the outputs of the original models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from review_scoring.inference.classifier import Classifier
from review_scoring.models.folder import ModelFolder, open_folder
from review_scoring.models.spark_nlp.convert import ConvertedModel, convert_archive
from review_scoring.reviews import Prediction

FIXTURES = Path(__file__).parents[2] / "fixtures" / "spark_nlp"
LABELS = {"bert": ("neg", "pos"), "distilbert": ("pos", "neg"), "xlm_roberta": ("neg", "pos")}

Fixture = tuple[str, Path, ConvertedModel, dict[str, Any]]


@pytest.fixture(scope="module", params=sorted(LABELS))
def fixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    name = request.param
    into = tmp_path_factory.mktemp(name) / "model"
    converted = convert_archive(FIXTURES / f"{name}.zip", into)
    return name, into, converted, json.loads((FIXTURES / f"{name}.expected.json").read_text(encoding="utf-8"))


def test_the_token_ids_are_exactly_the_original_ones(fixture: Fixture) -> None:
    from tokenizers import Tokenizer

    _, folder, _, expected = fixture
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for record in expected["records"]:
        assert tokenizer.encode(record["text"]).ids == record["input_ids"]


def test_transformers_own_tokenizer_gives_the_same_ids(fixture: Fixture) -> None:
    from transformers import AutoTokenizer

    _, folder, _, expected = fixture
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for record in expected["records"]:
        assert tokenizer(record["text"])["input_ids"] == record["input_ids"]


def test_the_logits_are_the_original_ones_within_a_ten_thousandth(fixture: Fixture) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    _, folder, _, expected = fixture
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    for record in expected["records"]:
        with torch.inference_mode():
            logits = model.eval()(torch.tensor([record["input_ids"]])).logits[0].tolist()
        assert logits == pytest.approx(record["logits"], abs=1e-4)


def test_the_labels_are_in_the_order_of_the_outputs(fixture: Fixture) -> None:
    name, folder, converted, expected = fixture
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert converted.labels == LABELS[name]
    assert config["id2label"] == expected["config"]["id2label"]


def test_the_config_equals_the_original_one(fixture: Fixture) -> None:
    _, folder, _, expected = fixture
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    original = {**expected["config"], "dtype": "float32"}
    assert {key: original.get(key) for key in config} == {**config, "pad_token_id": original["pad_token_id"]}


def test_the_properties_of_a_converted_model_are_those_of_the_archive(fixture: Fixture) -> None:
    _, folder, converted, expected = fixture
    assert converted.architecture == expected["config"]["model_type"]
    assert (converted.max_tokens, converted.case_sensitive) == (512, True)
    assert converted.vocab_size == expected["config"]["vocab_size"]
    assert (folder / "model.safetensors").stat().st_size > 4 * converted.parameters


def test_the_classifier_scores_as_the_transformers_pipeline_does(fixture: Fixture) -> None:
    from transformers import pipeline

    _, folder, converted, expected = fixture
    texts = [record["text"] for record in expected["records"]]
    opened = open_folder(
        folder,
        name="fixture",
        labels={label: label for label in converted.labels},
        max_tokens=converted.max_tokens,
    )
    assert isinstance(opened, ModelFolder)
    own = Classifier.load(opened, device="cpu", precision="float32").classify(texts)
    for mine, theirs in zip(own, pipeline("text-classification", str(folder), device="cpu")(texts), strict=True):
        assert isinstance(mine, Prediction)
        assert mine.label == theirs["label"]
        assert mine.score == pytest.approx(theirs["score"], abs=1e-5)


def test_an_archive_converts_to_the_same_bytes_each_time(fixture: Fixture, tmp_path: Path) -> None:
    name, folder, _, _ = fixture
    convert_archive(FIXTURES / f"{name}.zip", tmp_path / "again")
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
