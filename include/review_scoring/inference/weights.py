"""A model's weights: read from its mapped file, and compared with what its architecture has."""

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
"""The name of a stack of layers, before a layer's number."""

CONSTANT = re.compile(r".*\.((attn|attention)\.(masked_)?bias|inv_freq|position_ids)")
"""What older versions of transformers saved although it is computed: causal masks, frequencies, positions."""

SHOWN = 3
"""Weights that a message names of many."""


def read_weights(file: Path, dtype: torch.dtype) -> Mapping[str, torch.Tensor]:
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


def check_weights(name: str, model: nn.Module, info: Mapping[str, Any]) -> None:
    """See that every weight of a model came from its file. What the model has no use for is logged in one line.

    :param name: the model's name in messages
    :param info: the loading info of transformers' `from_pretrained`
    :raises ModelError: for weights that are missing or of another shape, and for spare ones that belong to the model's
        own layers
    """
    if mismatched := sorted(info.get("mismatched_keys", ())):
        key, found, expected = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        raise ModelError(
            f"model {name!r}: the weight {key} has the shape {tuple(found)}, and config.json makes it "
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
            f"model {name!r} has {len(own)} weights in its layers that its config.json does not account for "
            f"({_some(own)}), as a quantized model has, one with adapters, or one with more layers; save it as a plain "
            "model, with its own config.json"
        )
    if spare:
        log.info("model %s: ignoring %d weights that a classifier does not have: %s", name, len(spare), _some(spare))


def _is_of_own_layer(key: str, model: nn.Module) -> bool:
    """Say whether a spare weight would change what the model computes.

    It would if it is in one of the model's stacks of numbered layers, or in a module that has parameters and no parts.
    """
    if CONSTANT.fullmatch(key):
        return False
    stacks = {match[0] for match in map(NUMBERED.match, model.state_dict()) if match}
    leaves = {f"{at}." for at, part in model.named_modules() if at and part._parameters and not part._modules}
    return key.startswith(tuple(stacks | leaves))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")
