"""A model's weights: reads safetensors with little memory, and refuses missing, mismatched or spare weights."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from review_scoring.errors import ModelError

log = logging.getLogger(__name__)

NUMBERED = re.compile(r".*?\.(?=\d+\.)")
"""Matches the part of a weight's name before the number of its layer."""

CONSTANT = re.compile(r".*\.((attn|attention)\.(masked_)?bias|inv_freq|position_ids)")
"""Buffers that older versions of transformers saved, though they are computed: masks, frequencies, positions."""

SHOWN = 3
"""Maximum number of weights that a message names."""


def read_weights(file: Path, dtype: torch.dtype) -> Mapping[str, torch.Tensor]:
    """Read each tensor through its own memory mapping.

    The pages of a mapping count as resident memory until it is closed. With one mapping for the whole file, a model
    that is converted to another dtype would be in memory twice.
    """
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
    weights: dict[str, torch.Tensor] = {}
    for name in names:
        with safe_open(file, framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
        weights[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return weights


def check_weights(name: str, model: nn.Module, info: Mapping[str, Any]) -> None:
    """Check that every weight of a model came from its file. Weights that the model does not use are logged.

    :param name: the model's name, for errors
    :param info: the loading info of `from_pretrained` of transformers
    :raises ModelError: for weights that are missing or have another shape, and for spare ones in the model's layers
    """
    if mismatched := sorted(info.get("mismatched_keys", ())):
        key, found, expected = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        raise ModelError(
            f"model {name!r}: the weight {key} has the shape {tuple(found)}, but by config.json it must be "
            f"{tuple(expected)}{more}; use the config.json that the weights were saved with"
        )
    if missing := info.get("missing_keys"):
        raise ModelError(
            f"model {name!r} lacks {len(missing)} of its weights ({_some(missing)}), so it is not a trained "
            f"{type(model).__name__}; use a model that was fine-tuned for sequence classification"
        )
    spare = info.get("unexpected_keys") or ()
    if own := [key for key in spare if _is_of_own_layer(key, model)]:
        raise ModelError(
            f"model {name!r} has {len(own)} weights in its layers that its config.json does not describe "
            f"({_some(own)}); quantized models, models with adapters and models with more layers have such weights. "
            "Save it as a plain model, with its own config.json"
        )
    if spare:
        log.info("model %s: ignoring %d weights that the classifier does not use: %s", name, len(spare), _some(spare))


def _is_of_own_layer(key: str, model: nn.Module) -> bool:
    """Return whether a spare weight would change the model's output.

    It would if it belongs to one of the model's numbered layers, or to a module that has parameters and no submodules.
    """
    if CONSTANT.fullmatch(key):
        return False
    stacks = {match[0] for match in map(NUMBERED.match, model.state_dict()) if match}
    leaves = {f"{at}." for at, part in model.named_modules() if at and part._parameters and not part._modules}
    return key.startswith(tuple(stacks | leaves))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")
