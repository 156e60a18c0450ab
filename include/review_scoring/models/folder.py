"""A model folder in Hugging Face layout: check files, labels and head, and compute the revision, without loading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from review_scoring.errors import ModelError
from review_scoring.models.source_folder import check_content, lacking

SHOWN, LONGEST_LABEL = 10, 50
"""Most labels that a message lists, and most characters of each."""

Side: TypeAlias = Literal["left", "right"]

REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ModelFolder:
    """A model that is ready to be loaded.

    :param revision: SHA-256 of the files, so two folders with the same revision give the same scores
    :param labels: labels in the warehouse, in the order of the outputs; outputs with the same label are one class
    :param max_tokens: longest text in tokens, special tokens included
    :param cut: the side on which longer texts are truncated; None for that of tokenizer.json
    """

    name: str
    revision: str
    path: Path
    labels: tuple[str, ...]
    max_tokens: int
    cut: Side | None = None


def open_folder(
    path: Path, *, name: str, labels: Mapping[str, str] | None, max_tokens: int, revision: str | None = None
) -> ModelFolder:
    """Check the files and labels of a model, and compute its revision.

    :param labels: label of the model -> label in the warehouse; None to keep the labels of the model
    :param max_tokens: longest text in tokens; a lower limit in tokenizer_config.json has precedence
    :param revision: the revision, if the checksums of the files have just been checked
    :raises ModelError: for missing files, an unreadable config, and labels that are not mapped
    """
    missing = [file for file in REQUIRED_FILES if not (path / file).is_file()]
    if missing:
        raise lacking(path, name, missing)
    for file in REQUIRED_FILES:
        check_content(path / file)
    own_limit, cut = _text_limits(path / "tokenizer_config.json", name)
    return ModelFolder(
        name=name,
        revision=revision or content_hash(path),
        path=path,
        labels=_mapped_labels(path / "config.json", name, labels),
        max_tokens=max_tokens if own_limit is None else min(max_tokens, own_limit),
        cut=cut,
    )


def content_hash(path: Path) -> str:
    """Return the SHA-256 over the names and contents of the files that determine a score, as hexadecimal."""
    return revision_of({file: file_hash(path / file) for file in REQUIRED_FILES})


def revision_of(hashes: Mapping[str, str]) -> str:
    """Return the revision of files, by their SHA-256; only files that determine a score count."""
    digest = hashlib.sha256()
    for file in REQUIRED_FILES:
        digest.update(f"{file}:{hashes[file]}\n".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mapped_labels(config_file: Path, name: str, labels: Mapping[str, str] | None) -> tuple[str, ...]:
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        attention = str(config.get("attn_implementation", config.get("_attn_implementation", "")))
        # transformers omits the key for its default: two labels, LABEL_0 and LABEL_1.
        id2label = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(int(config.get("num_labels", 2)))}
        own = [str(id2label[str(index)]) for index in range(len(id2label))]
        problem = config.get("problem_type")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model {name!r}: {config_file} has no usable id2label ({type(error).__name__})") from None
    if "/" in attention:
        raise ModelError(
            f"model {name!r}: its config requires the attention code {attention!r} from the hub; code of a model is "
            "never executed: remove that key"
        )
    _check_head(name, own, problem)
    if labels is None:
        labels = {label: label for label in own}
    unmapped = [label for label in own if label not in labels]
    if unmapped or not own or len(set(own)) < len(own):
        raise ModelError(
            f"model {name!r} has the labels {_some(own)}, and its catalogue entry maps {_some(labels)}: "
            f"map each of {_some(unmapped or own)} to a label of the warehouse"
        )
    mapped = tuple(labels[label] for label in own)
    if len(set(mapped)) == 1:
        raise ModelError(
            f"model {name!r}: its catalogue entry maps all of its labels to {mapped[0]!r}, so every review would get "
            "that label; map them to at least two labels"
        )
    return mapped


def _some(labels: Iterable[str]) -> str:
    known = [label if len(label) <= LONGEST_LABEL else f"{label[:LONGEST_LABEL]}…" for label in labels]
    return f"[{', '.join(map(repr, known[:SHOWN]))}{', …' if len(known) > SHOWN else ''}]"


def _check_head(name: str, labels: Sequence[str], problem: object) -> None:
    """Check that the outputs are classes that exclude each other, with softmax probabilities.

    :param problem: `problem_type` of the config; see `PretrainedConfig` of transformers
    """
    if len(labels) == 1 or problem == "regression":
        raise ModelError(
            f"model {name!r} has {'one output, which is a number' if len(labels) == 1 else 'outputs that are numbers'} "
            "and not the class of a review (regression); use a model with one output for each class"
        )
    if problem == "multi_label_classification":
        raise ModelError(
            f"model {name!r} has classes that do not exclude each other (multi_label_classification in its config): "
            "none of them is the label of a review; use a model of single-label classification"
        )


def _text_limits(tokenizer_config: Path, name: str) -> tuple[int | None, Side | None]:
    """Return the longest text in tokens and the side of truncation; None for what the file does not set.

    `max_len` is the name of `model_max_length` until transformers 3, which is still supported.
    """
    try:
        content = json.loads(tokenizer_config.read_text(encoding="utf-8"))
        limit = content.get("model_max_length", content.get("max_len"))
        side = content.get("truncation_side")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"model {name!r}: {tokenizer_config} is not JSON ({type(error).__name__})") from None
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 1
    return (int(limit) if is_number else None), (side if side in {"left", "right"} else None)
