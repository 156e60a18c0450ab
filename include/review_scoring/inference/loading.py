"""Loading a sequence classifier from safetensors onto a device, in its precision; checks config, weights and labels."""

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
"""Architectures whose classification token has its own token type, which the forward passes here do not set."""


def load_model(folder: ModelFolder, device: Device) -> PreTrainedModel:
    """Load a sequence classifier onto a device: safetensors only, no code of the folder is executed.

    :raises ModelError: for files that are not a classifier with the folder's labels, and for `TYPED` models
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
                ignore_mismatched_sizes=True,  # check_weights refuses them by name
                output_loading_info=True,
            )
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 safetensors and transformers raise errors of many types
        raise ModelError(
            f"model {folder.name!r} in {folder.path} does not load ({in_short(error, without=folder.path)})"
        ) from None
    check_weights(folder.name, model, info)
    if model.config.num_labels != len(folder.labels):
        raise ModelError(
            f"model {folder.name!r} has {model.config.num_labels} outputs, but id2label in its config.json has "
            f"{len(folder.labels)} labels; add a label for each output there"
        )
    loaded: PreTrainedModel = model.to(device.device).eval()
    return loaded


def _check_config(name: str, config: PreTrainedConfig) -> None:
    if config.model_type in TYPED:
        raise ModelError(f"model {name!r}: the architecture {config.model_type} is not supported; use another model")
    if config.get_text_config().pad_token_id is None:
        raise ModelError(
            f"model {name!r}: its config.json names no padding token, which a {config.model_type} needs to score "
            "reviews in batches; set pad_token_id there to the one that it was fine-tuned with"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and weight tables out of the task log; errors are raised or logged here."""
    logs = cast("Any", transformers_logging)
    logs.disable_progress_bar()
    before = logs.get_verbosity()
    logs.set_verbosity_error()
    try:
        yield
    finally:
        logs.set_verbosity(before)
