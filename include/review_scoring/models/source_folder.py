"""A user's model folder in Hugging Face layout: copy it for an import, report missing files and Git LFS pointers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from review_scoring.errors import ModelError
from review_scoring.models.joined_weights import INDEX, WEIGHTS, join_weights, weight_files

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
)
OTHER_WEIGHTS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.onnx", "adapter_model.safetensors")
_POINTER = b"version https://git-lfs.github.com/spec/"


def copy_model(source: Path, into: Path, name: str) -> None:
    """Copy the files of a classifier; sharded weights become one file.

    :param name: the name of the model in messages
    :raises ModelError: for a folder that does not exist or lacks files
    """
    if not (source / CONFIG).is_file():
        raise lacking(source, name, [CONFIG])
    if not (source / WEIGHTS).is_file() and not (source / INDEX).is_file():
        raise lacking(source, name, [WEIGHTS])
    for file in (CONFIG, *TOKENIZER_FILES):
        if (source / file).is_file():
            check_content(source / file)
            shutil.copyfile(source / file, into / file)
    if (source / WEIGHTS).is_file():
        check_content(source / WEIGHTS)
        shutil.copyfile(source / WEIGHTS, into / WEIGHTS)
    else:
        shards = weight_files(source)
        for shard in shards:
            check_content(shard)
        join_weights(shards, into / WEIGHTS)


def lacking(folder: Path, name: str, missing: Sequence[str]) -> ModelError:
    """Return the error for files that a folder lacks, with what its other files suggest to do."""
    if not folder.is_dir():
        return ModelError(f"model {name!r}: the folder {folder} does not exist; correct its path")
    lacks = f"model {name!r}: folder {folder} lacks {', '.join(missing)}"
    if CONFIG in missing and (inside := [*folder.glob(f"*/{CONFIG}"), *folder.glob(f"*/*/{CONFIG}")]):
        return ModelError(f"{lacks}, and {min(inside).parent} has it; use that folder")
    if CONFIG in missing and (folder / "metadata").is_dir():
        return ModelError(
            f"{lacks} and looks like a Spark NLP model; zip it, and set the file as `archive` in an entry of the kind "
            "`spark-nlp`"
        )
    if WEIGHTS in missing and (folder / INDEX).is_file():
        return ModelError(
            f"{lacks} and has its weights in several files; import it with a catalogue entry of the kind `folder`"
        )
    if WEIGHTS in missing and (other := [file for file in OTHER_WEIGHTS if (folder / file).is_file()]):
        return ModelError(
            f"{lacks} and has {other[0]}, which is not loaded; save the whole model as safetensors, with transformers' "
            "save_pretrained"
        )
    return ModelError(f"{lacks}; save the classifier and its tokenizer there with transformers' save_pretrained")


def check_content(file: Path) -> None:
    """Check that a file is not a Git LFS pointer, which a clone without LFS has in its place.

    :raises ModelError: for a pointer
    """
    if is_pointer(file):
        raise ModelError(f"{file} is a Git LFS pointer and not the file itself; run `git lfs pull` in {file.parent}")


def is_pointer(file: Path) -> bool:
    """Return whether a file is a Git LFS pointer."""
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER
