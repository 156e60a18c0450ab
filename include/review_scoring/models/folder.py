"""A model's folder in Hugging Face layout, checked as far as that goes without loading it."""

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
"""Labels that a message names of many, and the characters of each."""

Side: TypeAlias = Literal["left", "right"]

REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ModelFolder:
    """A model ready to be loaded.

    `labels` are the warehouse's names of the classes, in the order of the model's outputs; outputs of the same name are
    one class. `revision` is the SHA-256 of the files, so two folders with the same revision give the same scores.
    `max_tokens` are read of a text at most, special tokens included; what is beyond them is cut off on the side `cut`,
    or the one that tokenizer.json names where that is None.
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
    """Check a model's files and labels, and compute its revision.

    :param labels: the model's label -> the warehouse's label; None where the warehouse takes the model's own
    :param max_tokens: what is read of a text at most; less if the model's own tokenizer_config.json says so
    :param revision: the revision, where the files' checksums were just looked at
    :raises ModelError: for missing files, an unreadable config, or labels that do not map
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
    """Return the SHA-256 over the names and contents of the files that decide a score, as hexadecimal."""
    return revision_of({file: file_hash(path / file) for file in REQUIRED_FILES})


def revision_of(hashes: Mapping[str, str]) -> str:
    """Return the revision of files by their SHA-256; files that decide nothing do not count."""
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
        # transformers leaves the key out where it says no more than its default: two labels, LABEL_0 and LABEL_1.
        id2label = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(int(config.get("num_labels", 2)))}
        own = [str(id2label[str(index)]) for index in range(len(id2label))]
        problem = config.get("problem_type")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model {name!r}: {config_file} has no usable id2label ({type(error).__name__})") from None
    if "/" in attention:
        raise ModelError(
            f"model {name!r}: its config asks for the attention code {attention!r} of a hub; nothing of a model is "
            "executed: remove that key"
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
            f"model {name!r}: its catalogue entry maps all of its labels to {mapped[0]!r}, so every review would be "
            "that; map them to two labels at least"
        )
    return mapped


def _some(labels: Iterable[str]) -> str:
    known = [label if len(label) <= LONGEST_LABEL else f"{label[:LONGEST_LABEL]}…" for label in labels]
    return f"[{', '.join(map(repr, known[:SHOWN]))}{', …' if len(known) > SHOWN else ''}]"


def _check_head(name: str, labels: Sequence[str], problem: object) -> None:
    """See that the outputs are classes that exclude each other, whose probabilities softmax gives.

    :param problem: `problem_type` of the config, as transformers' `PretrainedConfig` documents it
    """
    if len(labels) == 1 or problem == "regression":
        raise ModelError(
            f"model {name!r} has {'one output, which is a number' if len(labels) == 1 else 'outputs that are numbers'} "
            "and not the class of a review (regression); take a model with one output for each class"
        )
    if problem == "multi_label_classification":
        raise ModelError(
            f"model {name!r} has classes that do not exclude each other (multi_label_classification in its config): "
            "none of them is the label of a review; take a model of single-label classification"
        )


def _text_limits(tokenizer_config: Path, name: str) -> tuple[int | None, Side | None]:
    """Return how many tokens of a text a model reads, and on which side it cuts off the rest; None for what is open.

    `max_len` is what transformers called `model_max_length` until version 3, and still reads.
    """
    try:
        content = json.loads(tokenizer_config.read_text(encoding="utf-8"))
        limit = content.get("model_max_length", content.get("max_len"))
        side = content.get("truncation_side")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"model {name!r}: {tokenizer_config} is not JSON ({type(error).__name__})") from None
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 1
    return (int(limit) if is_number else None), (side if side in {"left", "right"} else None)
