"""How much memory classifying has taken."""

from __future__ import annotations

import resource
import sys

import torch

from review_scoring.inference.device import Device


def peak_memory(device: Device) -> int:
    """Return the most bytes that were in use: the device's own for CUDA, otherwise this process's since it began."""
    if device.device.type == "cuda":
        return torch.cuda.max_memory_allocated(device.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux KiB
