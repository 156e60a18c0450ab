"""Archives of other sizes, label orders, head counts and vocabularies than the fixtures'."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review_scoring.models.spark_nlp.convert import ConvertedModel, convert_archive
from review_scoring.models.spark_nlp.formats import safetensors_file
from review_scoring.models.spark_nlp.weight_names import torch_name
from tests.models.spark_nlp.generator import SCOPES, Spec, generate, values, variables


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    heads = draw(st.integers(1, 6))
    architecture = draw(st.sampled_from(sorted(SCOPES)))
    names = draw(
        st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=2, max_size=7, unique=True)
    )
    order = draw(st.permutations(range(len(names))))
    return Spec(
        architecture=architecture,
        heads=heads,
        hidden=heads * draw(st.integers(1, 5)) * 2,
        intermediate=draw(st.integers(1, 30)),
        layers=draw(st.integers(1, 12)),
        positions=draw(st.integers(4, 40)),
        rows=draw(st.integers(9, 90)),
        labels=dict(zip(names, order, strict=True)),
        case_sensitive=draw(st.booleans()),
        max_tokens=draw(st.integers(1, 60)),
        graph_epsilon=None if architecture == "distilbert" else draw(st.sampled_from([None, 1e-6, 1e-5, 0.001])),
        parts=draw(st.integers(1, 9)),
        enclosing=draw(st.sampled_from(["", "folder/"])),
        seed=draw(st.integers(0, 2**20)),
    )


@settings(max_examples=25, deadline=None)
@given(spec=specs())
def test_every_weight_of_any_archive_arrives_under_its_name_and_in_its_shape(spec: Spec) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        converted = _converted(Path(folder), spec)
        weights = load_file(Path(folder) / "model" / "model.safetensors")
    assert sum(weight.size for weight in weights.values()) == converted.parameters
    for name, shape in variables(spec).items():
        torch, transposed = torch_name(f"{SCOPES[spec.architecture]}/{name}", SCOPES[spec.architecture])
        original = values(spec, name, shape)
        np.testing.assert_array_equal(weights.pop(torch), original.T if transposed else original)
    assert not weights


@settings(max_examples=15, deadline=None)
@given(spec=specs())
def test_transformers_loads_any_archive_with_no_weight_missing_or_left_over(spec: Spec) -> None:
    from transformers import AutoModelForSequenceClassification

    with tempfile.TemporaryDirectory() as folder:
        converted = _converted(Path(folder), spec)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            Path(folder) / "model", output_loading_info=True
        )
    assert not any(info.values())
    assert [model.config.id2label[n] for n in range(len(spec.labels))] == list(converted.labels)
    assert model.config.num_attention_heads == spec.heads
    if spec.graph_epsilon is not None:
        assert model.config.layer_norm_eps == spec.graph_epsilon


@settings(max_examples=25, deadline=None)
@given(spec=specs())
def test_the_properties_of_any_archive_are_those_it_was_made_of(spec: Spec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        converted = _converted(Path(folder), spec)
    assert [spec.labels[label] for label in converted.labels] == list(range(len(spec.labels)))
    assert converted.vocab_size == spec.rows
    assert converted.case_sensitive is spec.case_sensitive
    positions = spec.positions - (2 if spec.architecture == "xlm_roberta" else 0)
    assert converted.max_tokens == min(spec.max_tokens, positions)


def test_weights_of_any_type_and_layout_are_written_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    monkeypatch.setattr(safetensors_file, "_BLOCK_BYTES", 50)
    arrays = [
        np.arange(77.0).reshape(11, 7),
        np.arange(6, dtype="<f2").reshape(2, 3).T,
        np.zeros((0, 3)),
        np.ones(99),
    ]
    named = [(f"weight {n}", array.shape) for n, array in enumerate(arrays)]
    safetensors_file.write_safetensors(tmp_path / "file", named, iter(arrays))
    written = load_file(tmp_path / "file")
    for (name, _), array in zip(named, arrays, strict=True):
        assert written[name].dtype == np.float32
        np.testing.assert_array_equal(written[name], array)


def test_a_graph_without_the_number_of_heads_has_one_for_each_64_of_the_hidden_size(tmp_path: Path) -> None:
    _converted(tmp_path, Spec(hidden=192, graph_heads=False))
    assert _config(tmp_path)["num_attention_heads"] == 3


@pytest.mark.parametrize(("architecture", "epsilon"), [("bert", 1e-12), ("xlm_roberta", 1e-5)])
def test_a_graph_without_an_epsilon_has_its_architectures_own(
    tmp_path: Path, architecture: str, epsilon: float
) -> None:
    _converted(tmp_path, Spec(architecture=architecture))
    assert _config(tmp_path)["layer_norm_eps"] == epsilon


def _converted(folder: Path, spec: Spec) -> ConvertedModel:
    generate(folder / "archive.zip", spec)
    return convert_archive(folder / "archive.zip", folder / "model")


def _config(folder: Path) -> Any:
    return json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
