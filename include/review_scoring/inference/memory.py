"""Peak memory of inference: GPU memory on CUDA, otherwise resident memory of the process."""

from __future__ import annotations

import resource
import sys

import torch

from review_scoring.inference.device import Device


def peak_memory(device: Device) -> int:
    """Return the peak memory in bytes: of the device on CUDA, otherwise of this process since its start."""
    if device.device.type == "cuda":
        return torch.cuda.max_memory_allocated(device.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux KiB
