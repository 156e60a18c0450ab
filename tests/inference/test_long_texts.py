"""Texts longer than a model's maximum: truncation and sliding windows."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from review_scoring.errors import ConfigurationError
from review_scoring.inference import tokens as tokens_module
from review_scoring.inference.classifier import Classifier
from review_scoring.inference.tokens import Tokeniser
from review_scoring.models.catalogue import BUNDLED, DEFAULT_MODEL, find_model
from review_scoring.reviews import Prediction

GOOD, BAD = "Un film magnifique, drôle et touchant. ", "Quel ennui, un scénario vide et des acteurs perdus. "
LONG = GOOD * 90 + BAD * 40
LIMIT = 512


@pytest.fixture(scope="module")
def in_windows() -> Classifier:
    return Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32", long_texts="windows")


def tokeniser(long_texts: str) -> Tokeniser:
    return Tokeniser(Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json")), LIMIT, long_texts)


def test_windows_contain_every_token_of_a_text_and_overlap() -> None:
    whole = Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json"))
    whole.no_truncation()
    expected = whole.encode(LONG, add_special_tokens=False).ids
    (found,) = tokeniser("windows").tokenise([LONG])
    step = LIMIT - 2 - (LIMIT - 2) // tokens_module.OVERLAP
    assert len(found.windows) > 2
    for n, window in enumerate(found.windows):
        assert window[1:-1] == expected[n * step : n * step + LIMIT - 2]
    assert found.windows[-1][-2] == expected[-1]


def test_the_probabilities_of_windows_are_averaged_by_their_tokens(in_windows: Classifier) -> None:
    (tokens,) = in_windows.tokeniser.tokenise([LONG])
    rows = [in_windows.forward([window])[0].tolist() for window in tokens.windows]
    lengths = [len(window) for window in tokens.windows]
    assert lengths[-1] < lengths[0]
    (result,) = in_windows.classify([LONG])
    assert isinstance(result, Prediction)
    mean = sum(length * row[0] for length, row in zip(lengths, rows, strict=True)) / sum(lengths)
    assert result.probabilities[0] == pytest.approx(mean, abs=1e-5)
    assert max(row[0] for row in rows) - min(row[0] for row in rows) > 0.01
    assert (result.token_count, result.truncated) == (sum(lengths), False)


def test_a_text_that_fits_gets_the_same_score_either_way(in_windows: Classifier) -> None:
    cut = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32")
    for one, other in zip(in_windows.classify([GOOD, BAD]), cut.classify([GOOD, BAD]), strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_token_counts_equal_the_tokens_that_are_read(in_windows: Classifier) -> None:
    cut = Classifier.load(find_model(DEFAULT_MODEL), device="cpu", precision="float32")
    assert cut.count_tokens([LONG]) == LIMIT
    (result,) = in_windows.classify([LONG])
    assert isinstance(result, Prediction)
    assert in_windows.count_tokens([LONG]) == result.token_count > LIMIT


def test_results_stay_in_order_if_some_texts_have_windows_and_some_no_tokens(in_windows: Classifier) -> None:
    results = in_windows.classify([BAD, "\x01", LONG, GOOD])
    counts = [result.token_count if isinstance(result, Prediction) else 0 for result in results]
    assert counts[1] == 0
    assert counts[2] > LIMIT > counts[0]
    assert [r.label for r in results if isinstance(r, Prediction)][::2] == ["neg", "pos"]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="long_texts is 'split'; it must be one of truncate, windows"):
        tokeniser("split")


def test_texts_are_tokenised_ahead_in_their_order(in_windows: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [BAD, GOOD, "mal", "bien", GOOD * 2]
    expected = in_windows.count_tokens(texts)
    together = in_windows.classify(texts)
    monkeypatch.setattr(tokens_module, "SORTED_TEXTS", 2)
    told: list[int] = []
    apart = in_windows.classify(texts, between_batches=told.append)
    for one, other in zip(apart, together, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert one.token_count == other.token_count
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert sum(r.token_count for r in apart if isinstance(r, Prediction)) == expected
    assert [done for done in told if done] == [2, 4, 5]


def test_texts_prepared_in_another_thread_are_not_tokenised_again(
    in_windows: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [BAD, "\x01", LONG, GOOD]
    expected = in_windows.classify(texts)
    looked: list[None] = []
    with ThreadPoolExecutor(1) as other:
        prepared = other.submit(in_windows.prepare, texts, between_slices=lambda: looked.append(None)).result()
        in_windows.classify(texts)
    monkeypatch.setattr(in_windows.tokeniser, "_tokenizer", None)
    assert looked == [None]
    for one, theirs in zip(in_windows.classify(prepared), expected, strict=True):
        assert type(one) is type(theirs)
        if isinstance(one, Prediction) and isinstance(theirs, Prediction):
            assert one.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


SIDED = "Quel ennui. " + "Un film magnifique, drôle et touchant. " * 3


def last_tokens(text: str, count: int) -> list[int]:
    """Return the tokens that transformers keeps with `truncation_side="left"`."""
    from transformers import AutoTokenizer

    load: Any = AutoTokenizer.from_pretrained
    tokenizer = load(BUNDLED / DEFAULT_MODEL, truncation_side="left")
    found: list[int] = tokenizer(text, truncation=True, max_length=count)["input_ids"]
    return found


@pytest.mark.parametrize("text", [SIDED, "sans " * 5000 + SIDED])
def test_truncation_on_the_left_keeps_the_end_of_a_text(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json"))
    (found,) = Tokeniser(tokenizer, 16, cut="left").tokenise([text])
    assert found.windows == (last_tokens(text, 16),)
    assert found.truncated


def test_the_truncation_side_of_tokenizer_json_is_the_default_of_the_config() -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json"))
    tokenizer.enable_truncation(99, direction="left")
    again = Tokenizer.from_str(tokenizer.to_str())
    assert Tokeniser(again, 16).tokenise([SIDED])[0].windows == (last_tokens(SIDED, 16),)
    assert Tokeniser(tokenizer, 16, cut="right").tokenise([SIDED])[0].windows != (last_tokens(SIDED, 16),)


def test_windows_contain_all_of_a_text_for_both_truncation_sides() -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / DEFAULT_MODEL / "tokenizer.json"))
    assert Tokeniser(tokenizer, LIMIT, "windows", cut="left").tokenise([LONG]) == tokeniser("windows").tokenise([LONG])


def test_the_truncation_side_of_a_model_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED / DEFAULT_MODEL, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation_side": "left"}))
    left, right = (Classifier.load(find_model(each), device="cpu") for each in (folder, BUNDLED / DEFAULT_MODEL))
    text = GOOD * 60 + BAD * 60
    assert [each.classify([text])[0].label for each in (left, right)] == ["neg", "pos"]  # type: ignore[union-attr]  # none is a reject
