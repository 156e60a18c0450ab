"""A sequence classifier from its folder onto a device, in the precision in which it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from review_scoring.errors import ModelError, in_short
from review_scoring.inference.device import Device
from review_scoring.inference.weights import check_weights, read_weights
from review_scoring.models.folder import ModelFolder

TYPED = {"xlnet", "funnel"}
"""Models that tell the token which the head reads by a type of its own, which the passes here do not give it."""


def load_model(folder: ModelFolder, device: Device) -> PreTrainedModel:
    """Load a sequence classifier onto a device: safetensors only, nothing of the folder is executed.

    :raises ModelError: for files that do not make a classifier with the folder's labels, and for `TYPED` models
    """
    try:
        with _quiet_transformers():
            config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
            _check_config(folder.name, config)
            model_class = cast("Any", AutoModelForSequenceClassification)._model_mapping[type(config)]
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=read_weights(folder.path / "model.safetensors", device.dtype),
                dtype=device.dtype,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 safetensors raises its own, transformers many
        raise ModelError(
            f"model {folder.name!r} in {folder.path} does not load ({in_short(error, without=folder.path)})"
        ) from None
    check_weights(folder.name, model, info)
    if model.config.num_labels != len(folder.labels):
        raise ModelError(
            f"model {folder.name!r} has {model.config.num_labels} outputs, and its config.json {len(folder.labels)} "
            "labels in id2label; name a label for each output there"
        )
    loaded: PreTrainedModel = model.to(device.device).eval()
    return loaded


def _check_config(name: str, config: PreTrainedConfig) -> None:
    if config.model_type in TYPED:
        raise ModelError(
            f"model {name!r}: {config.model_type} is none of the architectures that can be scored; take another model"
        )
    if config.get_text_config().pad_token_id is None:
        raise ModelError(
            f"model {name!r}: its config.json names no padding token, without which a {config.model_type} cannot score "
            "reviews together; set pad_token_id there to the one that it was fine-tuned with"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep progress bars and tables of weights out of a task's log: what matters is an error, or a line of our own."""
    logs = cast("Any", transformers_logging)
    logs.disable_progress_bar()
    before = logs.get_verbosity()
    logs.set_verbosity_error()
    try:
        yield
    finally:
        logs.set_verbosity(before)
