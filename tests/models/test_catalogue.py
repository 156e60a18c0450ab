"""The catalogue of the project, and the entries that a deployment adds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from review_scoring.errors import ModelError, ModelNotImportedError
from review_scoring.models.catalogue import DEFAULT_MODEL, catalogue, find_entry, find_model
from review_scoring.models.catalogue_entry import ModelKind, https_form
from review_scoring.models.settings import ModelSettings
from review_scoring.settings import Settings
from tests.models.own_catalogue import archive_entry, entry, settings

ALLOCINE = {
    "fr.classify.xlm_roberta.allocine": "xlm_roberta_base_sequence_classifier_allocine",
    "fr.classify.bert.multilingual": "bert_multilingual_sequence_classifier_allocine",
    "fr.classify.distilbert_sequence.allocine": "distilbert_multilingual_sequence_classifier_allocine",
}
"""NLU reference -> the name on the card."""


@pytest.mark.parametrize(("reference", "card"), ALLOCINE.items())
def test_a_published_model_is_found_by_its_card_and_by_its_nlu_reference(reference: str, card: str) -> None:
    entry = find_entry(card)
    assert find_entry(reference) is entry
    assert entry.name not in {reference, card}
    assert (entry.kind, entry.max_tokens, entry.case_sensitive, entry.unverified) == (
        ModelKind.SPARK_NLP,
        512,
        True,
        True,
    )
    assert entry.labels == {"neg": "neg", "pos": "pos"}
    (address,) = set(map(https_form, entry.addresses))
    assert re.fullmatch(
        rf"https://s3\.amazonaws\.com/auxdata\.johnsnowlabs\.com/public/models/{card}_fr_.*\.zip", address
    )


def test_the_published_figures_are_those_of_the_cards_digit_for_digit() -> None:
    figures = {f.metric: f.value for f in find_entry("allocine-xlm-roberta-base").figures}
    assert figures["eval_loss"] == "0.129339799284935"
    assert figures["eval_accuracy"] == figures["eval_f1"] == "0.96915"
    bert = {(f.metric, f.label): (f.value, f.support) for f in find_entry("allocine-bert-multilingual").figures}
    assert bert["f1-score", "neg"] == ("0.96", 10294)
    distilbert = {
        (f.metric, f.label): (f.value, f.support) for f in find_entry("allocine-distilbert-multilingual").figures
    }
    assert distilbert["recall", "pos"] == ("0.94", 9731)


def test_every_unverified_model_is_marked_in_forms() -> None:
    for each in catalogue().values():
        assert each.unverified == (each.kind is not ModelKind.BUNDLED)
        assert each.shown.endswith("(unverified)") == each.unverified


def test_the_catalogue_has_two_three_and_five_classes() -> None:
    assert {len(each.labels) for each in catalogue().values() if each.kind is ModelKind.HUB} == {2, 3, 5}


def test_the_bundled_model_needs_no_store(tmp_path: Path) -> None:
    nowhere = ModelSettings(store=tmp_path / "none")
    found = find_model(DEFAULT_MODEL, nowhere)
    assert find_model(f"{DEFAULT_MODEL}@{found.revision[:8]}", nowhere) == found
    with pytest.raises(ModelError, match="comes with this package at revision"):
        find_model(f"{DEFAULT_MODEL}@0000", nowhere)
    assert not (tmp_path / "none").exists()


def test_a_model_that_is_not_imported_is_reported_with_the_command_that_imports_it(tmp_path: Path) -> None:
    told = r"'mini-bert' .* not in the model store .*trigger import_model --conf '\{\"model\": \"mini-bert\"\}'"
    for name in ("mini-bert", "mini-bert-alias"):
        with pytest.raises(ModelNotImportedError, match=told):
            find_model(name, settings(tmp_path))


def test_an_entry_of_a_deployment_is_offered_after_those_of_the_project(tmp_path: Path) -> None:
    names = list(catalogue(settings(tmp_path).catalogue))
    assert names[0] == DEFAULT_MODEL
    assert names[-3:] == ["mini-bert", "mini-distilbert", "mini-xlm-roberta"]


def test_a_catalogue_that_was_changed_is_read_again(tmp_path: Path) -> None:
    assert "mini-bert" in catalogue(settings(tmp_path).catalogue)
    changed = settings(tmp_path, archive_entry("mini-distilbert")).catalogue
    assert "mini-bert" not in catalogue(changed)


BAD = [
    ("title", 'title = ""', "it must be a non-empty string"),
    ("kind", 'kind = "pickle"', "it must be one of bundled, spark-nlp, hub, folder, not 'pickle'"),
    ("max_tokens", "max_tokens = true", "it must be a whole number"),
    ("labels", "labels = {}", "it must be a table"),
    ("labels", 'labels = { neg = "" }', "it must be a table"),
    ("unverified", 'unverified = "no"', "it must be true or false"),
    ("addresses", 'addresses = ["http://example.org/a.zip"]', "it must be a list of https"),
    ("addresses", 'addresses = ["https://user:secret@example.org/a.zip"]', "it must be a list of https"),
    ("sha256", 'sha256 = "abc"', "64 hexadecimal"),
    ("colour", 'colour = "red"', "there is no such key; there are addresses, aliases, "),
    ("license", 'license = "MIT"', "there is no such key; did you mean 'licence'?"),
    ("name", 'name = "x"', "there is no such key"),
    ("repository", 'repository = "a/b"', "it is for the kind 'hub'"),
    (
        "figures",
        'figures_set = "allocine"\nfigures = [{ metric = "accuracy", value = "0.97" }]',
        "they need an accuracy with its `support`",
    ),
]


@pytest.mark.parametrize(("key", "line", "must"), BAD)
def test_an_invalid_entry_is_reported_by_file_entry_and_key(tmp_path: Path, key: str, line: str, must: str) -> None:
    lines = [each for each in archive_entry("mini-bert").splitlines() if not each.startswith(f"{key} =")]
    with pytest.raises(ModelError) as told:
        catalogue(settings(tmp_path, "\n".join([*lines, line])).catalogue)
    assert str(told.value).startswith(f"{tmp_path / 'own.toml'}, [mini-bert], key '{key}': ")
    assert must in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "wrong", ['[wrong]\nkind = "hub"\n', "wrong = 3\n", entry(DEFAULT_MODEL, "hub", 'repository = "a/b"')]
)
def test_an_invalid_entry_breaks_no_other_model(tmp_path: Path, wrong: str) -> None:
    own = settings(tmp_path, wrong + archive_entry("mini-bert"))
    assert find_model(DEFAULT_MODEL, own).name == DEFAULT_MODEL
    assert find_entry("mini-bert-alias", own.catalogue).name == "mini-bert"
    with pytest.raises(ModelError, match=r"no model 'other' .* these entries of .*own\.toml are invalid: "):
        find_entry("other", own.catalogue)


def test_looking_up_an_invalid_entry_reports_its_problem(tmp_path: Path) -> None:
    own = settings(tmp_path, '[wrong]\nkind = "hub"\n').catalogue
    with pytest.raises(ModelError, match=r"\[wrong\], key '\w+': it is missing"):
        find_entry("wrong", own)


def test_a_missing_catalogue_breaks_no_other_model(tmp_path: Path) -> None:
    for own in (tmp_path / "none.toml", settings(tmp_path, "x = ").catalogue):
        assert find_entry(DEFAULT_MODEL, own).name == DEFAULT_MODEL
        with pytest.raises(ModelError, match=r"none\.toml cannot be read|is not a TOML file"):
            find_entry("mine", own)


def test_everything_that_is_wrong_with_an_entry_is_listed_at_once_and_no_secret_is_quoted(tmp_path: Path) -> None:
    wrong = """
[wrong]
kind = "hub"
tittle = "A typo"
labels = { a = "neg", b = "" }
max_tokens = 0
aliases = ["x", 3]
commit = "main"
addresses = ["https://user:secret@example.org/a.zip"]
figures = [{ metric = "accuracy", valeu = "0.9" }]
"""
    with pytest.raises(ModelError) as error:
        catalogue(settings(tmp_path, wrong).catalogue)
    told = str(error.value)
    assert told.startswith(f"{tmp_path / 'own.toml'}, [wrong], key 'title': it is missing; key ")
    for words in (
        "key 'labels': it must be a table: the model's name of a class = ",
        "key 'max_tokens': it must be a whole number above 0, not 0",
        "key 'language': it is missing",
        "key 'aliases': it must be a list of non-empty strings",
        "key 'commit': it must be a commit of the repository: 40 hexadecimal digits in lower case, not 'main'",
        "key 'figures[0].value': it is missing",
        "key 'figures[0].valeu': there is no such key; did you mean 'value'?",
        "key 'tittle': there is no such key; did you mean 'title'?",
        "key 'repository': it is missing; a model of the kind `hub` needs it",
        "key 'addresses': it is for the kind 'spark-nlp', and this entry's kind is 'hub'",
    ):
        assert words in told
    for never in ("secret", "pydantic", "input_value", "validation error"):
        assert never not in told


def test_a_missing_key_is_reported(tmp_path: Path) -> None:
    lines = [line for line in archive_entry("mini-bert").splitlines() if not line.startswith("licence")]
    with pytest.raises(ModelError, match=r"own\.toml, \[mini-bert\], key 'licence': it is missing"):
        catalogue(settings(tmp_path, "\n".join(lines)).catalogue)


@pytest.mark.parametrize("kind", ["spark-nlp", "hub", "folder"])
def test_an_entry_without_a_source_is_reported(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ModelError, match=r"\[x\], key '(addresses|repository|folder)': it is missing"):
        catalogue(settings(tmp_path, entry("x", kind)).catalogue)


@pytest.mark.parametrize(
    "taken",
    [
        entry(DEFAULT_MODEL, "hub", 'repository = "a/b"'),
        archive_entry("mini-bert") + archive_entry("mini-distilbert").replace("mini-distilbert-alias", "mini-bert"),
    ],
)
def test_a_name_that_is_taken_cannot_be_taken_again(tmp_path: Path, taken: str) -> None:
    with pytest.raises(ModelError, match="cannot be used, it already means"):
        catalogue(settings(tmp_path, taken).catalogue)


def test_only_the_project_has_bundled_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only the project's own models are bundled"):
        catalogue(settings(tmp_path, entry("mine", "bundled")).catalogue)


def test_a_catalogue_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    own = settings(tmp_path)
    assert own.catalogue is not None
    own.catalogue.write_text("\ufeff" + own.catalogue.read_text(encoding="utf-8"), encoding="utf-8")
    assert "mini-bert" in catalogue(own.catalogue)


def test_a_catalogue_that_is_missing_or_not_toml_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.toml cannot be read"):
        catalogue(tmp_path / "none.toml")
    with pytest.raises(ModelError, match="is not a TOML file"):
        catalogue(settings(tmp_path, "x = ").catalogue)


def test_the_store_is_beside_airflow_unless_a_setting_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    assert ModelSettings().store == Settings().models.store == tmp_path / "review_scoring" / "models"
    assert Settings.read({"model_store": "/mnt/models"}.get).models.store == Path("/mnt/models")


def test_a_folder_of_ones_own_is_a_model_with_its_own_name_and_labels(tmp_path: Path) -> None:
    bundled = find_model(DEFAULT_MODEL)
    (tmp_path / "mine").symlink_to(bundled.path)
    found = find_model(tmp_path / "mine")
    assert (found.name, found.labels, found.revision) == (DEFAULT_MODEL, ("neg", "pos"), bundled.revision)
