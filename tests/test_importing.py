"""Imports by catalogue name: complete, checked, and with the scores of transformers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import DownloadRefusedError, ModelError, ScoringInterruptedError
from review_scoring.importing import allowed_hosts, import_model
from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import find_model
from review_scoring.models.download import Downloader
from review_scoring.models.folder import REQUIRED_FILES
from review_scoring.models.manifest import MANIFEST
from review_scoring.models.settings import ModelSettings
from review_scoring.reviews import Prediction
from tests.models.fake_hub import COMMIT, REPOSITORY, fake_hub, with_hub
from tests.models.own_catalogue import MINIATURES, archive_entry, entry, settings
from tests.models.spark_nlp.test_fixtures import FIXTURES
from tests.models.web_server import PUBLIC, Answer, web_server

TEXTS = ["Un film magnifique, à voir absolument !", "Quel ennui… deux heures perdues.", "Bof.", "Très bien joué"]
STARS = {"1 star": "neg", "2 stars": "neg", "3 stars": "neu", "4 stars": "pos", "5 stars": "pos"}


@pytest.mark.parametrize("name", MINIATURES)
def test_an_imported_model_scores_as_the_transformers_pipeline_does_on_its_folder(name: str, tmp_path: Path) -> None:
    from transformers import pipeline

    own = settings(tmp_path)
    imported = import_model(f"{name}-alias", own)
    found = find_model(f"{name}-alias", own)
    assert (found.name, found.revision, found.path) == (name, imported.revision, imported.path)
    scored = Classifier.load(found, device="cpu", precision="float32").classify(TEXTS)
    for mine, theirs in zip(scored, pipeline("text-classification", str(found.path), device="cpu")(TEXTS), strict=True):
        assert isinstance(mine, Prediction)
        assert mine.label == theirs["label"]
        assert mine.score == pytest.approx(theirs["score"], abs=1e-5)


def test_the_store_records_the_source_of_a_model(tmp_path: Path) -> None:
    imported = import_model("mini-bert", settings(tmp_path))
    manifest = json.loads((imported.path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["source"]["kind"] == "spark-nlp"
    assert manifest["source"]["archive"] == "bert.zip"
    assert manifest["source"]["size"] == (FIXTURES / "bert.zip").stat().st_size
    assert str(FIXTURES) not in json.dumps(manifest)


def test_no_log_holds_what_the_trial_sentences_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        import_model("mini-bert", settings(tmp_path))
    assert "check sentence 2 is" in caplog.text
    assert "ennui" not in caplog.text


def test_an_archive_is_fetched_from_the_next_address_when_the_first_fails(tmp_path: Path) -> None:
    addresses = 'addresses = ["https://gone.example/bert.zip", "s3://bucket/bert.zip"]'
    own = settings(tmp_path, entry("fetched", "spark-nlp", addresses))
    with web_server({"/bucket/bert.zip": Answer((FIXTURES / "bert.zip").read_bytes())}) as server:
        downloader = Downloader(
            hosts=frozenset({"gone.example", "s3.amazonaws.com"}), resolver=lambda host: [PUBLIC], opener=server.open
        )
        imported = import_model("fetched", own, downloader=downloader)
    source = json.loads((imported.path / MANIFEST).read_text(encoding="utf-8"))["source"]
    assert source["address"] == "https://s3.amazonaws.com/bucket/bert.zip"


def test_hosts_of_the_catalogue_and_of_the_setting_are_allowed_and_no_others(tmp_path: Path) -> None:
    own = settings(tmp_path, entry("x", "spark-nlp", 'addresses = ["https://own.example/a.zip"]'))
    assert allowed_hosts(own) == {"s3.amazonaws.com", "own.example"}
    more = ModelSettings(store=own.store, hosts=("mirror.example",))
    assert allowed_hosts(more) == {"s3.amazonaws.com", "mirror.example"}


def test_an_address_of_the_catalogue_inside_a_network_is_refused(tmp_path: Path) -> None:
    own = settings(
        tmp_path, entry("x", "spark-nlp", 'addresses = ["https://127.0.0.1/a.zip", "https://localhost/a.zip"]')
    )
    with pytest.raises(DownloadRefusedError, match="the host localhost has the address .* not public"):
        import_model("x", own)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('sha256 = "' + "0" * 64 + '"', "differ from its catalogue entry"),
        ("size = 7", "differ from its catalogue entry"),
        ("case_sensitive = false", "the archive has case_sensitive = true"),
    ],
)
def test_an_archive_that_differs_from_its_entry_is_refused_and_not_stored(tmp_path: Path, more: str, told: str) -> None:
    own = settings(tmp_path, archive_entry("mini-bert", more))
    with pytest.raises(ModelError, match=told):
        import_model("mini-bert", own)
    assert not (own.store / "mini-bert").exists()


def test_unmapped_labels_are_refused_and_the_model_is_not_stored(tmp_path: Path) -> None:
    own = settings(tmp_path, archive_entry("mini-bert").replace('neg = "neg"', 'bad = "neg"'))
    with pytest.raises(ModelError, match=r"map each of \['neg'\] to a label of the warehouse"):
        import_model("mini-bert", own)
    assert not (own.store / "mini-bert").exists()


def test_a_bundled_model_and_an_unknown_one_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs no import"):
        import_model("french-reviews-small", settings(tmp_path))
    with pytest.raises(ModelError, match="there is no model 'gpt' in the catalogue"):
        import_model("gpt", settings(tmp_path))


def test_a_stopped_import_leaves_nothing(tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    own = settings(tmp_path)
    with pytest.raises(ScoringInterruptedError):
        import_model("mini-bert", own, between_steps=stop.check)
    assert not (own.store / "mini-bert").exists()


def five_stars(folder: Path, bert: Path) -> Path:
    """Write a model of five classes in the layout of older repositories, whose tokenizer is a vocabulary file."""
    from transformers import BertConfig, BertForSequenceClassification

    words = json.loads((bert / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )
    config.id2label, config.label2id = dict(enumerate(STARS)), {label: n for n, label in enumerate(STARS)}
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{w}\n" for w in sorted(words, key=words.__getitem__)), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    return folder


STAR_LABELS = "labels = { " + ", ".join(f'"{star}" = "{label}"' for star, label in STARS.items()) + " }"
TWO_LABELS = 'labels = { neg = "neg", pos = "pos" }'


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    return five_stars(tmp_path / "stars", import_model("mini-bert", settings(tmp_path)).path)


def test_five_stars_become_three_labels_whose_probabilities_are_sums(stars: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    own = settings(tmp_path, entry("stars", "folder", f'folder = "{stars}"').replace(TWO_LABELS, STAR_LABELS))
    imported = import_model("stars", own)
    assert sorted(path.name for path in imported.path.iterdir()) == sorted([*REQUIRED_FILES, MANIFEST])
    classifier = Classifier.load(find_model("stars", own), device="cpu", precision="float32")
    assert classifier.labels == ("neg", "neu", "pos")
    theirs: Any = pipeline("text-classification", str(imported.path), device="cpu", top_k=None)(TEXTS)
    for mine, outputs in zip(classifier.classify(TEXTS), theirs, strict=True):
        assert isinstance(mine, Prediction)
        summed = dict.fromkeys(classifier.labels, 0.0)
        for output in outputs:
            summed[STARS[output["label"]]] += output["score"]
        assert mine.probabilities == pytest.approx(tuple(summed.values()), abs=1e-5)
        assert mine.score == max(mine.probabilities)
        assert mine.label == max(summed, key=summed.__getitem__)


def test_a_model_of_the_hub_is_imported_with_the_commit_on_record(stars: Path, tmp_path: Path) -> None:
    own = settings(tmp_path, entry("h", "hub", f'repository = "{REPOSITORY}"').replace(TWO_LABELS, STAR_LABELS))
    code = f"""
from pathlib import Path
from review_scoring.importing import import_model
from review_scoring.models.settings import ModelSettings
import_model("h", ModelSettings(store=Path({str(own.store)!r}), catalogue=Path({str(own.catalogue)!r})))
"""
    with fake_hub({path.name: path.read_bytes() for path in stars.iterdir()}) as hub:
        done = with_hub(code, tmp_path / "hub", HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    assert done.returncode == 0, done.stderr
    found = find_model("h", own)
    manifest = json.loads((found.path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["source"] == {"kind": "hub", "repository": REPOSITORY, "commit": COMMIT}


def test_a_model_with_spare_weights_of_another_task_is_imported(stars: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(stars / "model.safetensors")
    spare = {**weights, "cls.predictions.bias": weights["classifier.bias"]}
    save_file(spare, stars / "model.safetensors", {"format": "pt"})
    own = settings(tmp_path, entry("stars", "folder", f'folder = "{stars}"').replace(TWO_LABELS, STAR_LABELS))
    assert import_model("stars", own).name == "stars"


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    own = settings(tmp_path, entry("stars", "folder", 'folder = "nowhere"'))
    with pytest.raises(ModelError, match="the folder .*nowhere does not exist; correct its path"):
        import_model("stars", own)
