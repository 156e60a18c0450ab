"""The classifier with the bundled model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import pipeline

from review_scoring.demo import sample_reviews
from review_scoring.errors import ConfigurationError, ModelError
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.device import pick_device
from review_scoring.models.catalogue import BUNDLED, DEFAULT_MODEL, find_model
from review_scoring.models.folder import open_folder
from review_scoring.reviews import Prediction, Reject

TEXTS = [row["text"] for row in sample_reviews()[:60]]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32")


def predictions(results: list[Prediction | Reject]) -> list[Prediction]:
    assert all(isinstance(result, Prediction) for result in results)
    return [result for result in results if isinstance(result, Prediction)]


def test_scores_equal_those_of_transformers_own_pipeline(classifier: Classifier) -> None:
    theirs = pipeline("text-classification", model=str(BUNDLED / DEFAULT_MODEL), dtype=torch.float32, device="cpu")
    expected = theirs(TEXTS[:30], truncation=True, max_length=512, batch_size=1)
    for mine, their in zip(predictions(classifier.classify(TEXTS[:30])), expected, strict=True):
        assert mine.label == their["label"]
        assert mine.score == pytest.approx(their["score"], abs=TOLERANCE)


def test_results_come_in_the_order_of_the_texts(classifier: Classifier) -> None:
    forwards, backwards = classifier.classify(TEXTS[:12]), classifier.classify(TEXTS[11::-1])
    labels = [p.label for p in predictions(forwards)]
    assert labels == [p.label for p in predictions(backwards)][::-1]
    assert len(set(labels)) == 2


def test_a_text_longer_than_the_models_maximum_is_truncated_and_marked(classifier: Classifier) -> None:
    long, short = predictions(classifier.classify(["un film " * 2000, "un film"]))
    assert (long.token_count, long.truncated) == (512, True)
    assert (short.token_count, short.truncated) == (4, False)


def test_probabilities_sum_to_one_and_the_score_is_the_labels(classifier: Classifier) -> None:
    for each in predictions(classifier.classify(TEXTS[:5])):
        assert sum(each.probabilities) == pytest.approx(1, abs=1e-12)
        assert each.score == max(each.probabilities) == each.probabilities[classifier.labels.index(each.label)]


@pytest.mark.parametrize(
    "text", ["😀" * 10_000, "<script>alert(1)</script>", "\u202eà l'envers", "a\x00b", "x" * 1_000_000]
)
def test_an_odd_text_gets_a_score(classifier: Classifier, text: str) -> None:
    assert isinstance(classifier.classify([text])[0], Prediction)


def test_a_text_without_tokens_is_a_reject_and_the_others_are_scored(classifier: Classifier) -> None:
    results = classifier.classify(["bien", "\x01", "mal"])
    assert [type(result) for result in results] == [Prediction, Reject, Prediction]


def test_non_finite_outputs_are_rejects(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "forward", lambda ids: torch.full((len(ids), 2), torch.nan))
    assert [r.reason for r in classifier.classify(["bien"]) if isinstance(r, Reject)] == ["not_finite"]


def test_a_non_finite_output_in_float16_is_a_reject_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float16", fused=False)
    monkeypatch.setattr(classifier, "forward", lambda ids: torch.full((len(ids), 2), torch.nan))
    (result,) = classifier.classify(["bien"])
    assert isinstance(result, Reject)
    assert result.detail == "the model's output is not a finite number in float16: set precision='float32'"


def test_between_batches_may_raise(classifier: Classifier) -> None:
    class StopNow(Exception):  # noqa: N818 a signal, not an error
        pass

    def stop(done: int) -> None:
        raise StopNow

    with pytest.raises(StopNow):
        classifier.classify(TEXTS, between_batches=stop)


@pytest.mark.parametrize(("device", "precision", "named"), [("cuda:9", "auto", "'cuda:9'"), ("cpu", "int3", "'int3'")])
def test_an_unavailable_device_or_unknown_precision_is_refused(device: str, precision: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        pick_device(device, precision)


def test_a_model_with_other_labels_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / DEFAULT_MODEL, tmp_path / "model")
    with pytest.raises(ModelError, match=r"has the labels \['neg', 'pos'\].*map each of \['neg', 'pos'\]"):
        open_folder(tmp_path / "model", name="mine", labels={"LABEL_0": "neg", "LABEL_1": "pos"}, max_tokens=512)


def test_a_model_folder_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'mine'.* lacks config\.json, model\.safetensors"):
        open_folder(tmp_path, name="mine", labels={}, max_tokens=512)


def test_weights_that_do_not_match_the_config_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED / DEFAULT_MODEL, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"num_hidden_layers": 6', '"num_hidden_layers": 7'))
    opened = open_folder(folder, name="mine", labels={"neg": "neg", "pos": "pos"}, max_tokens=512)
    with pytest.raises(ModelError, match="lacks 16 of its weights"):
        Classifier.load(opened, device="cpu")


def test_the_revision_changes_with_every_file_that_affects_scores(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED / DEFAULT_MODEL, folder)
    labels = {"neg": "neg", "pos": "pos"}
    first = open_folder(folder, name="mine", labels=labels, max_tokens=512).revision
    assert first == find_model(DEFAULT_MODEL).revision
    with (folder / "tokenizer_config.json").open("a") as file:
        file.write("\n")
    assert open_folder(folder, name="mine", labels=labels, max_tokens=512).revision != first


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=f"no model 'gpt' in the catalogue; it has {DEFAULT_MODEL}"):
        find_model("gpt")


def test_a_config_without_labels_has_the_two_default_labels_of_transformers(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / DEFAULT_MODEL, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = {key: value for key, value in json.loads(file.read_text()).items() if "label" not in key}
    file.write_text(json.dumps(config))
    labels = {"LABEL_0": "neg", "LABEL_1": "pos"}
    opened = open_folder(tmp_path / "model", name="mine", labels=labels, max_tokens=512)
    assert opened.labels == ("neg", "pos")
    assert isinstance(Classifier.load(opened, device="cpu").classify(["bien"])[0], Prediction)


def test_a_config_that_loads_code_from_a_hub_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / DEFAULT_MODEL, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_attn_implementation": "somebody/kernel"}))
    with pytest.raises(ModelError, match="requires the attention code 'somebody/kernel'"):
        open_folder(tmp_path / "model", name="mine", labels={"neg": "neg", "pos": "pos"}, max_tokens=512)
