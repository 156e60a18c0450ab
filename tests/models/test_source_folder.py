"""Model folders of users: a complete one is imported unchanged, an incomplete one is reported by its path."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from review_scoring.errors import ConfigurationError, ModelError
from review_scoring.importing import import_model
from review_scoring.inference.classifier import Classifier
from review_scoring.models.catalogue import find_model
from review_scoring.models.folder import open_folder
from review_scoring.models.settings import ModelSettings
from tests.inference.architectures import write_random_model
from tests.models.own_catalogue import entry, settings
from tests.models.spark_nlp.test_fixtures import FIXTURES

LABELS = 'labels = { LABEL_0 = "neg", LABEL_1 = "pos" }'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A model folder of a user."""
    write_random_model(tmp_path / "mine", "bert")
    return tmp_path / "mine"


def catalogue_of(folder: Path, source: Path, labels: str = LABELS) -> ModelSettings:
    return settings(
        folder, entry("mine", "folder", f'folder = "{source}"').replace('labels = { neg = "neg", pos = "pos" }', labels)
    )


def refused(tmp_path: Path, source: Path, told: str, labels: str = LABELS) -> str:
    """Import a folder that must be refused with one sentence about its path, and return the sentence."""
    own = catalogue_of(tmp_path, source, labels)
    with pytest.raises(ModelError, match=told) as error:
        import_model("mine", own)
    assert not (own.store / "mine").exists()
    message = str(error.value)
    assert len(message) < 500
    assert "\n" not in message
    assert ".partial" not in message
    return message


def change_config(source: Path, **changes: Any) -> None:
    file = source / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_parent_of_a_model_folder_is_reported_with_the_model_folder(tmp_path: Path, mine: Path) -> None:
    message = refused(tmp_path, tmp_path, r"lacks config\.json, and .*mine has it; use that folder")
    assert str(mine) in message


def test_a_missing_folder_is_not_reported_as_one_that_lacks_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the folder .*nowhere does not exist; correct its path"):
        open_folder(tmp_path / "nowhere", name="mine", labels=None, max_tokens=512)


def test_weights_of_another_kind_are_named_and_not_the_temporary_folder(tmp_path: Path, mine: Path) -> None:
    (mine / "model.safetensors").rename(mine / "pytorch_model.bin")
    message = refused(tmp_path, mine, r"lacks model\.safetensors and has pytorch_model\.bin, which is not loaded")
    assert str(mine) in message


def test_invalid_safetensors_are_reported_by_the_users_path(tmp_path: Path, mine: Path) -> None:
    (mine / "model.safetensors").write_bytes(b"\xff" * 100)
    assert str(mine) in refused(tmp_path, mine, "does not load")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_reported_with_the_command_that_downloads_the_file(
    tmp_path: Path, mine: Path, file: str
) -> None:
    (mine / file).write_text(POINTER)
    refused(tmp_path, mine, f"mine/{file} is a Git LFS pointer and not the file itself; run `git lfs pull`")
    with pytest.raises(ModelError, match=f"{file} is a Git LFS pointer"):
        open_folder(mine, name="mine", labels=None, max_tokens=512)


def test_an_archive_that_is_a_git_lfs_pointer_is_reported_too(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text(POINTER)
    own = settings(tmp_path, entry("mine", "spark-nlp", f'archive = "{tmp_path}/a.zip"'))
    with pytest.raises(ModelError, match=r"a\.zip is a Git LFS pointer"):
        import_model("mine", own)


def test_an_unpacked_spark_nlp_model_is_reported_as_one_to_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(FIXTURES / "bert.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    refused(tmp_path, tmp_path / "unpacked", "looks like a Spark NLP model; zip it")
    own = settings(tmp_path, entry("mine", "spark-nlp", f'archive = "{tmp_path}/unpacked"'))
    with pytest.raises(ModelError, match="unpacked of its catalogue entry is a folder; zip it"):
        import_model("mine", own)


def test_a_config_without_a_model_type_is_reported_by_the_users_path(tmp_path: Path, mine: Path) -> None:
    change_config(mine, model_type=None)
    assert str(mine) in refused(tmp_path, mine, "does not load")


def test_a_limit_below_the_special_tokens_is_refused(tmp_path: Path, mine: Path) -> None:
    (mine / "tokenizer_config.json").write_text('{"model_max_length": 2}')
    with pytest.raises(
        ConfigurationError, match="reads 2 tokens, of which 2 are special tokens, so none are left for the text"
    ):
        import_model("mine", catalogue_of(tmp_path, mine))


def split(source: Path) -> list[Path]:
    """Write the weights of a model as two files and an index, as save_pretrained does for large models."""
    weights = load_file(source / "model.safetensors")
    names = sorted(weights)
    files = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, own in files.items():
        save_file({name: weights[name] for name in own}, source / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, own in files.items() for name in own}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    (source / "model.safetensors").unlink()
    return [source / file for file in files]


def test_weights_in_several_files_become_the_same_weights_in_one(tmp_path: Path, mine: Path) -> None:
    expected = load_file(mine / "model.safetensors")
    expected["bert.pooler.dense.bias"] = expected["bert.pooler.dense.bias"].half()
    save_file(expected, mine / "model.safetensors", {"format": "pt"})
    split(mine)
    imported = import_model("mine", catalogue_of(tmp_path, mine))
    found = load_file(imported.path / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_file_of_weights_that_is_missing_is_named(tmp_path: Path, mine: Path) -> None:
    split(mine)[1].unlink()
    refused(tmp_path, mine, r"lacks model-00002-of-00002\.safetensors, one of its 2 weight files")


@pytest.mark.parametrize("index", ["{}", "[]", "no json", '{"weight_map": {"a": "../config.json"}}'])
def test_an_index_without_files_in_its_folder_is_refused(tmp_path: Path, mine: Path, index: str) -> None:
    split(mine)
    (mine / "model.safetensors.index.json").write_text(index)
    refused(tmp_path, mine, "does not map weights to files")


@pytest.mark.parametrize("content", [POINTER.encode(), b"\xff" * 100, b"\x02" + bytes(7) + b"[]"])
def test_an_invalid_weight_file_is_refused(tmp_path: Path, mine: Path, content: bytes) -> None:
    split(mine)[0].write_bytes(content)
    refused(tmp_path, mine, r"model-00001-of-00002\.safetensors is (not a safetensors file|a Git LFS pointer)")


def test_a_weight_that_two_files_hold_is_refused(tmp_path: Path, mine: Path) -> None:
    first, second = split(mine)
    shutil.copy(first, second)
    refused(tmp_path, mine, "of another file of the model")


def test_one_output_is_a_number_and_no_class(tmp_path: Path) -> None:
    write_random_model(tmp_path / "one", "bert", num_labels=1)
    refused(tmp_path, tmp_path / "one", "has one output, which is a number", 'labels = { LABEL_0 = "pos" }')


@pytest.mark.parametrize(
    ("problem", "told"),
    [("regression", "has outputs that are numbers"), ("multi_label_classification", "do not exclude each other")],
)
def test_outputs_that_are_no_classes_of_which_one_holds_are_refused(
    tmp_path: Path, mine: Path, problem: str, told: str
) -> None:
    change_config(mine, problem_type=problem)
    refused(tmp_path, mine, told)


def test_labels_that_all_become_one_are_refused(tmp_path: Path, mine: Path) -> None:
    refused(tmp_path, mine, "maps all of its labels to 'pos'", 'labels = { LABEL_0 = "pos", LABEL_1 = "pos" }')


def archive(tmp_path: Path, metadata: Callable[[dict[str, Any]], None], rename: str = "_tensorflow") -> ModelSettings:
    """Write an archive with other metadata, and optionally the graph file of another engine."""
    with zipfile.ZipFile(FIXTURES / "bert.zip") as whole, zipfile.ZipFile(tmp_path / "own.zip", "w") as own:
        for name in whole.namelist():
            body = whole.read(name)
            if name == "metadata/part-00000":
                content = json.loads(body)
                metadata(content["paramMap"])
                body = json.dumps(content).encode()
            own.writestr(name.replace("_tensorflow", rename), body)
    return settings(tmp_path, entry("own", "spark-nlp", f'archive = "{tmp_path}/own.zip"'))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("told_by", ["metadata", "file"])
def test_an_archive_for_another_engine_is_not_called_damaged(tmp_path: Path, engine: str, told_by: str) -> None:
    by_metadata = {"engine": engine} if told_by == "metadata" else {}
    own = archive(tmp_path, lambda parameters: parameters.update(by_metadata), f"_{engine}")
    with pytest.raises(ModelError, match=f"model 'own', .*its model is for {engine}, not TensorFlow") as told:
        import_model("own", own)
    assert "damaged" not in str(told.value)
    assert f"{tmp_path}/own.zip" in str(told.value)


def test_an_archive_whose_activation_is_sigmoid_is_refused(tmp_path: Path) -> None:
    own = archive(tmp_path, lambda parameters: parameters.update(activation="sigmoid"))
    with pytest.raises(ModelError, match="its activation is sigmoid instead of softmax: its classes do not exclude"):
        import_model("own", own)


def test_an_archives_max_sentence_length_is_obeyed(tmp_path: Path) -> None:
    own = archive(tmp_path, lambda parameters: parameters.update(maxSentenceLength=64))
    import_model("own", own)
    assert find_model("own", own).max_tokens == 64
    (result,) = Classifier.load(find_model("own", own), device="cpu").classify(["un film " * 200])
    assert result.token_count == 64  # type: ignore[union-attr]  # a reject has none, and fails


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"model_max_length": 128}, 128),
        ({"max_len": 128}, 128),
        ({"model_max_length": 1e30}, 512),
        ({"model_max_length": None}, 512),
        ({"model_max_length": 0}, 512),
        ({}, 512),
    ],
)
def test_a_smaller_model_max_length_is_obeyed(mine: Path, said: dict[str, Any], read: int) -> None:
    (mine / "tokenizer_config.json").write_text(json.dumps(said))
    assert open_folder(mine, name="mine", labels=None, max_tokens=512).max_tokens == read


def test_a_tokenizer_config_that_is_not_json_is_reported(mine: Path) -> None:
    (mine / "tokenizer_config.json").write_text("[")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json is not JSON"):
        open_folder(mine, name="mine", labels=None, max_tokens=512)
