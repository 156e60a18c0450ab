"""A model's weights from its mapped file into memory, in the precision in which they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from review_scoring.errors import ModelError
from review_scoring.inference.device import Device
from review_scoring.models.folder import ModelFolder

TYPED = {"xlnet", "funnel"}
"""Models that tell the token which the head reads by a type of its own, which the passes here do not give it."""


def load_model(folder: ModelFolder, device: Device) -> PreTrainedModel:
    """Load a sequence classifier onto a device: safetensors only, nothing of the folder is executed.

    :raises ModelError: for files that do not make a classifier with the folder's labels, and for `TYPED` models
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no annotations
    try:
        config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        if config.model_type in TYPED:
            raise ModelError(f"{config.model_type} is none of the architectures that can be scored; take another model")
        model_class = cast("Any", AutoModelForSequenceClassification)._model_mapping[type(config)]
        model, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=_weights(folder.path / "model.safetensors", device.dtype),
            dtype=device.dtype,
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 safetensors raises its own, transformers many
        raise ModelError(
            f"model {folder.name!r} in {folder.path} does not load: {type(error).__name__}: {error}"
        ) from None
    unmatched = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys") if info.get(key)}
    if unmatched:
        raise ModelError(f"model {folder.name!r}: the weights do not fit its config: {unmatched}")
    if model.config.num_labels != len(folder.labels):
        raise ModelError(f"model {folder.name!r} has {model.config.num_labels} outputs for labels {folder.labels}")
    loaded: PreTrainedModel = model.to(device.device).eval()
    return loaded


def _weights(file: Path, dtype: torch.dtype) -> Mapping[str, torch.Tensor]:
    """Read each tensor through a mapping of its own.

    The pages of a mapping count as resident until it is closed: through one for the whole file, a model that is
    converted on the way is in memory twice.
    """
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
    weights: dict[str, torch.Tensor] = {}
    for name in names:
        with safe_open(file, framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
        weights[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return weights
